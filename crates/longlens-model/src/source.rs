//! Where the files of a checkpoint are: inside the program, in a folder, or in the Hugging Face cache. Nothing is downloaded.

mod hub;
mod mapped;
pub mod small;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use longlens_core::nearest::nearest;

use crate::error::OpenError;
use crate::gguf::{self, Gguf};
pub use hub::CacheDirs;
pub(crate) use mapped::Mapped;

/// The files of one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    place: Place,
    /// The file of its folder that holds the weights, where that was chosen.
    weights: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Embedded,
    Folder(PathBuf),
}

/// What names the model inside the program.
pub const EMBEDDED: &str = "embedded";

/// The files inside the program.
static EMBEDDED_FILES: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../../../fixtures/tiny-model/config.json")),
    ("generation_config.json", include_bytes!("../../../fixtures/tiny-model/generation_config.json")),
    ("model.safetensors", include_bytes!("../../../fixtures/tiny-model/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../../fixtures/tiny-model/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../../fixtures/tiny-model/tokenizer_config.json")),
];

impl Source {
    /// The model inside the program.
    pub fn embedded() -> Self {
        Self { name: "longlens-tiny".into(), place: Place::Embedded, weights: None }
    }

    /// `embedded`, a folder, a file of weights, or `org/name[@revision]` in the Hugging Face cache.
    pub fn resolve(text: &str) -> Result<Self, OpenError> {
        Self::resolve_in(text, &CacheDirs::from_env())
    }

    /// As [`Source::resolve`], with the cache at `dirs`.
    pub fn resolve_in(text: &str, dirs: &CacheDirs) -> Result<Self, OpenError> {
        if text == EMBEDDED {
            return Ok(Self::embedded());
        }
        let path = dirs.expand(text);
        if path.is_dir() {
            return hub::inside(&path).map(|found| match found {
                Some((name, folder)) => Self::cached(name, folder),
                None => Self::folder(&path),
            });
        }
        if path.is_file() {
            return Self::file(&path).ok_or_else(|| OpenError::NotAFolder { path: path.display().to_string() });
        }
        let hub = dirs.hub();
        if let Some(hub) = &hub
            && let Some((name, folder)) = hub::find(hub, text)?
        {
            return Ok(Self::cached(name, folder));
        }
        let cache = hub.as_ref().map_or_else(
            || "no cache (neither HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME nor HOME is set)".into(),
            |hub| format!("the cache {}", hub.display()),
        );
        let known = hub.map_or_else(Vec::new, |hub| hub::models(&hub));
        let (name, _) = hub::split_revision(text);
        Err(OpenError::NotFound {
            name: text.into(),
            looked: vec![format!("the folder {}", path.display()), cache],
            nearest: nearest(name, known.iter().map(String::as_str).chain([EMBEDDED])).map(Into::into),
            known,
        })
    }

    /// The checkpoint in a folder.
    pub fn folder(path: &Path) -> Self {
        let whole = fs::canonicalize(path);
        let name = whole.as_deref().unwrap_or(path).file_name();
        let name = name.map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        Self::cached(name, path.into())
    }

    /// The checkpoint whose weights are in this file, with the files beside it; `None` for a file of another kind.
    pub fn file(path: &Path) -> Option<Self> {
        let file = path.file_name()?.to_str()?;
        let (stem, end) = file.rsplit_once('.')?;
        if end != GGUF && !WEIGHTS.contains(&end) {
            return None;
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // a file with a usual name is called after its folder
        let is_usual =
            end != GGUF && ["model", "pytorch_model", "consolidated"].iter().any(|name| stem.starts_with(name));
        let name = if is_usual { Self::folder(folder).name } else { stem.into() };
        Some(Self { name, place: Place::Folder(folder.into()), weights: Some(file.into()) })
    }

    /// A folder under a name; the only GGUF file in it is the checkpoint if nothing else is.
    fn cached(name: String, folder: PathBuf) -> Self {
        let weights = only_gguf(&hub::entries(&folder));
        Self { name, place: Place::Folder(folder), weights }
    }

    /// The GGUF file that holds everything, or its first part, if the checkpoint is one.
    pub(crate) fn gguf_file(&self) -> Option<&str> {
        self.weights().filter(|file| end_of(file) == Some(GGUF))
    }

    /// The header of that file: its metadata hold config, tokenizer and chat template.
    pub fn gguf(&self) -> Result<Option<Gguf>, OpenError> {
        let Some(file) = self.gguf_file() else { return Ok(None) };
        Gguf::parse(&self.shown(file), &self.map(file)?).map(Some)
    }

    /// Maps a large file that must be there.
    pub(crate) fn map(&self, file: &str) -> Result<Mapped, OpenError> {
        let located = self.locate(file)?.ok_or_else(|| self.missing(file, Vec::new()))?;
        Mapped::new(&self.shown(file), located)
    }

    /// The file of its folder that holds the weights, where that was chosen.
    pub(crate) fn weights(&self) -> Option<&str> {
        self.weights.as_deref()
    }

    /// Name shown in titles: of the folder, or `org/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `embedded`, the folder, or the file that was chosen in it.
    pub fn place(&self) -> String {
        match (&self.place, self.weights()) {
            (Place::Embedded, _) => EMBEDDED.into(),
            (Place::Folder(folder), None) => folder.display().to_string(),
            (Place::Folder(folder), Some(file)) => folder.join(file).display().to_string(),
        }
    }

    /// How a file is called in errors.
    pub fn shown(&self, file: &str) -> String {
        match (&self.place, self.gguf_file()) {
            (Place::Embedded, _) => format!("{EMBEDDED} {file}"),
            (Place::Folder(folder), Some(all)) if file == CONFIG => folder.join(all).display().to_string(),
            (Place::Folder(folder), _) => folder.join(file).display().to_string(),
        }
    }

    /// The bytes of a small file, if it is there; refused by its kind, its size, or as a pointer of Git LFS. Of a GGUF file there is
    /// `config.json` alone, made from its metadata.
    pub fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>, OpenError> {
        if let Some(all) = self.gguf_file() {
            return if file == CONFIG { gguf::config(&self.shown(all), &self.map(all)?).map(Some) } else { Ok(None) };
        }
        match &self.place {
            Place::Embedded => Ok(embedded_file(file).map(Cow::Borrowed)),
            Place::Folder(folder) => {
                let read = small::read(&folder.join(file), limit(file));
                let bytes = read.map_err(|source| OpenError::Io { file: self.shown(file), source })?;
                if bytes.as_deref().is_some_and(|bytes| bytes.starts_with(LFS_POINTER)) {
                    return Err(OpenError::LfsPointer { file: self.shown(file) });
                }
                Ok(bytes.map(Cow::Owned))
            }
        }
    }

    /// The bytes of a small file that must be there.
    pub fn require(&self, file: &str) -> Result<Cow<'static, [u8]>, OpenError> {
        let is_gguf = |name: &String| file == CONFIG && end_of(name) == Some(GGUF);
        self.read(file)?.ok_or_else(|| self.missing(file, self.files().into_iter().filter(is_gguf).collect()))
    }

    /// A large file, opened, or its bytes when it is inside the program; `None` when it is not there.
    pub(crate) fn locate(&self, file: &str) -> Result<Option<Located>, OpenError> {
        match &self.place {
            Place::Embedded => Ok(embedded_file(file).map(Located::Bytes)),
            Place::Folder(folder) => {
                let opened = small::open(&folder.join(file));
                let failed = |source| OpenError::Io { file: self.shown(file), source };
                Ok(opened.map_err(failed)?.map(Located::File))
            }
        }
    }

    /// An error that says which file is missing, and which are there `instead`.
    pub(crate) fn missing(&self, file: &str, instead: Vec<String>) -> OpenError {
        OpenError::MissingFile { file: file.into(), folder: self.place(), instead }
    }

    /// Names of the files in the folder, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        match &self.place {
            Place::Embedded => EMBEDDED_FILES.iter().map(|(name, _)| (*name).into()).collect(),
            Place::Folder(folder) => hub::entries(folder),
        }
    }
}

const CONFIG: &str = "config.json";
/// The end of the name of a file that holds config, tokenizer and weights.
const GGUF: &str = "gguf";
/// Ends of names of files that hold weights alone.
const WEIGHTS: &[&str] = &["safetensors", "bin", "pt", "pth"];

fn end_of(file: &str) -> Option<&str> {
    file.rsplit_once('.').map(|(_, end)| end)
}

/// The GGUF file of a folder that holds no other weights, or the first part of it.
fn only_gguf(files: &[String]) -> Option<String> {
    if files.iter().any(|file| end_of(file).is_some_and(|end| WEIGHTS.contains(&end))) {
        return None;
    }
    let is_first = |file: &&String| gguf::part_of(file).is_none_or(|(number, _)| number == 1);
    let mut found = files.iter().filter(|file| end_of(file) == Some(GGUF)).filter(is_first);
    found.next().filter(|_| found.next().is_none()).cloned()
}

/// Bytes at most of a file that is read whole.
fn limit(file: &str) -> u64 {
    match file {
        "tokenizer.json" | "tokenizer.model" => 256 << 20,
        file if file.ends_with(".index.json") => 64 << 20,
        _ => small::CONFIG_LIMIT,
    }
}

/// How a file begins that Git LFS left in place of a large one.
pub(crate) const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// A large file: to be mapped, or already in memory.
#[derive(Debug)]
pub(crate) enum Located {
    File(fs::File),
    Bytes(&'static [u8]),
}

fn embedded_file(file: &str) -> Option<&'static [u8]> {
    EMBEDDED_FILES.iter().find(|(name, _)| *name == file).map(|(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_model_has_its_files() {
        let source = Source::resolve_in(EMBEDDED, &CacheDirs::default()).unwrap();
        assert_eq!((source.name(), source.place().as_str()), ("longlens-tiny", "embedded"));
        assert_eq!(source.files().len(), 5);
        assert!(source.require("config.json").unwrap().starts_with(b"{"));
        assert_eq!(source.require("vocab.txt").unwrap_err().to_string(), "embedded has no vocab.txt");
    }

    #[test]
    fn a_folder_is_named_after_itself_and_a_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("my-model");
        fs::create_dir(&model).unwrap();
        fs::write(model.join("config.json"), "{}").unwrap();
        let resolve = |path: &Path| Source::resolve_in(path.to_str().unwrap(), &CacheDirs::default());
        assert_eq!(resolve(&model).unwrap().name(), "my-model");
        assert_eq!(resolve(&model.join(".")).unwrap().name(), "my-model");
        assert!(matches!(resolve(&model.join("config.json")), Err(OpenError::NotAFolder { .. })));

        let home = CacheDirs { home: Some(folder.path().into()), ..CacheDirs::default() };
        assert_eq!(Source::resolve_in("~/my-model", &home).unwrap().name(), "my-model");
    }
}
