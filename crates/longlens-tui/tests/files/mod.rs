//! What an export wrote, read back as another program would read it.

use std::io::Cursor;
use std::path::PathBuf;

use longlens_app::settings::Settings;
use longlens_app::steps::Picture;
use longlens_core::methods::Method;
use longlens_tui::app::Options;
use longlens_tui::export::{self, Export};
use longlens_tui::view::View;
use npyz::NpyFile;
use serde_json::Value;
use tempfile::TempDir;
use zip::ZipArchive;

use crate::common::{Rig, lens, options};

/// What an export left in its folder.
pub struct Files {
    /// Where they are.
    folder: TempDir,
    /// What was written.
    pub export: Export,
    /// Rows of the table, its header first.
    pub rows: Vec<String>,
    /// Bytes of the arrays' file.
    npz: Vec<u8>,
}

/// Exports a view, and holds what is true of every view.
pub fn exported(rig: &Rig, view: &dyn View) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let export = export::of_view(&rig.app, view, folder.path().join("a.b")).unwrap();
    let said = export.write().unwrap();
    // a page that the model is asked for follows later
    let page = if export.content.page.is_none() { ", .html" } else { "" };
    assert!(said.starts_with("wrote ") && said.ends_with(&format!("a.b.png and .svg, .csv, .npz{page}")), "{said}");
    let read = |extension: &str| std::fs::read(folder.path().join(format!("a.b.{extension}"))).unwrap();

    let mut png = png::Decoder::new(Cursor::new(read("png"))).read_info().unwrap();
    let mut pixels = vec![0; png.output_buffer_size().unwrap()];
    png.next_frame(&mut pixels).unwrap();
    assert!(pixels.chunks(3).any(|pixel| pixel != [255, 255, 255]), "the picture is empty");
    is_well_formed(&String::from_utf8(read("svg")).unwrap());
    let rows: Vec<String> = String::from_utf8(read("csv")).unwrap().lines().map(str::to_owned).collect();
    if let Some(to) = std::env::var_os("LOOK") {
        static N: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let n = N.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::fs::write(
            PathBuf::from(to).join(format!("{view:?}-{n}-{}.png", export.content.settings.method.name())),
            read("png"),
        )
        .unwrap();
    }
    let files = Files { npz: read("npz"), folder, export, rows };
    let n_files = if files.export.content.page.is_none() { 5 } else { 4 };
    assert_eq!(std::fs::read_dir(files.folder.path()).unwrap().count(), n_files);
    let about = files.about();
    assert!(about["view"].is_string(), "{about}");
    files
}

/// Every tag of an SVG is closed.
fn is_well_formed(svg: &str) {
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.split_whitespace().next().unwrap_or_default();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None if tag.ends_with('/') || name.starts_with(['?', '!']) => (),
            None => open.push(name),
        }
    }
    assert!(svg.contains("<svg") && open.is_empty(), "{open:?}");
}

impl Files {
    fn npz(&self) -> ZipArchive<Cursor<&[u8]>> {
        ZipArchive::new(Cursor::new(self.npz.as_slice())).unwrap()
    }

    /// Shape and numbers of an array.
    pub fn array(&self, name: &str) -> (Vec<u64>, Vec<f32>) {
        let mut npz = self.npz();
        let file = npz.by_name(&format!("{name}.npy")).unwrap_or_else(|_| panic!("there is no array {name}"));
        let array = NpyFile::new(file).unwrap();
        (array.shape().to_vec(), array.into_vec().unwrap())
    }

    pub fn has(&self, name: &str) -> bool {
        self.npz().index_for_name(&format!("{name}.npy")).is_some()
    }

    /// What the arrays' file says of the run.
    pub fn about(&self) -> Value {
        let mut npz = self.npz();
        let about = NpyFile::new(npz.by_name("about.npy").unwrap()).unwrap();
        serde_json::from_slice(&about.into_vec::<u8>().unwrap()).unwrap()
    }

    /// What the picture shows, for the record.
    pub fn picture(&self) -> &Picture {
        &self.export.content.picture
    }

    /// The bytes of the file of an ending.
    pub fn bytes(&self, ending: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(format!("a.b.{ending}"))).unwrap()
    }

    pub fn svg(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("a.b.svg")).unwrap()
    }
}

/// A rig on a needle prompt under a method.
pub fn under(method: &str) -> Rig {
    let settings = Settings { method: Method::parse(method).unwrap(), max_tokens: 6, ..Settings::default() };
    let mut rig = Rig::with(Options { settings, ..options() }, lens());
    rig.settle();
    rig
}

/// Tokens that tell the hidden key.
pub fn needle(rig: &Rig) -> std::ops::Range<usize> {
    rig.app.prompt.answer().unwrap().needle.as_ref().unwrap().tokens.clone()
}

/// The same numbers, NaN included.
pub fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
