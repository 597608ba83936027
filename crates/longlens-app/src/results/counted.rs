//! What is known of a task's samples, kept in the results' folder so that they are not made again to see that all are finished.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use longlens_core::lens::{Control, TextCodec};
use longlens_core::setting::Setting;
use longlens_core::spec::ModelSpec;
use longlens_eval::EvalError;
use longlens_eval::evaluate::{Counted, Entry, tokenizer_hash};
use longlens_eval::tasks::{Ask, Files, Task};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What is known of the samples of a task with its settings under one tokenizer.
#[derive(Serialize, Deserialize)]
struct Known {
    format: u32,
    task: String,
    version: u32,
    /// Files that the samples were made from, with the SHA-256 of their contents.
    files: Vec<(String, String)>,
    notes: Vec<String>,
    entries: Vec<Entry>,
}

/// Raised where more is known of a sample, or prompts are made otherwise.
const FORMAT: u32 = 3;

/// Reads files and notes what they hold.
struct Noting<'a> {
    files: &'a dyn Files,
    read: RefCell<Vec<(String, String)>>,
}

impl Files for Noting<'_> {
    fn read(&self, name: &str) -> Result<Vec<u8>, EvalError> {
        let bytes = self.files.read(name)?;
        self.read.borrow_mut().push((name.to_owned(), format!("{:x}", Sha256::digest(&bytes))));
        Ok(bytes)
    }

    fn folder(&self, name: &str) -> Result<Option<Vec<String>>, EvalError> {
        let names = self.files.folder(name)?;
        self.read.borrow_mut().push((name.to_owned(), listed(names.as_deref())));
        Ok(names)
    }
}

/// Stands for the names of a folder where others have a hash of contents.
fn listed(names: Option<&[String]>) -> String {
    names.map_or_else(|| "no folder".to_owned(), |names| format!("folder {:x}", Sha256::digest(names.join("\n"))))
}

/// The samples of a task: as they were counted before, where nothing has changed that they are made from, else counted now.
///
/// `folder` is where results are kept; without one nothing is remembered. Progress counts samples.
pub fn counted(
    folder: Option<&Path>,
    setting: &Setting,
    spec: &ModelSpec,
    codec: &dyn TextCodec,
    files: &Rc<dyn Files>,
    control: &mut dyn Control,
) -> Result<Counted, EvalError> {
    let task = Task::named(setting.info().name).expect("settings of tasks are made from the list");
    let again = {
        let (setting, spec, files) = (setting.clone(), spec.clone(), files.clone());
        Box::new(move |codec: &dyn TextCodec| Ask { setting: &setting, spec: &spec, codec, files: &*files }.samples())
    };
    let text = setting.resolved(spec).to_string();
    let of = format!("{text} {} {}", task.version, tokenizer_hash(codec)?);
    let path =
        folder.map(|folder| folder.join("tasks").join(format!("{}.json", &format!("{:x}", Sha256::digest(of))[..16])));
    if let Some(known) = path.as_ref().and_then(|path| known(path, task, &text, &**files)) {
        return Ok(Counted::known(known.entries, known.notes, again));
    }
    let noting = Noting { files: &**files, read: RefCell::default() };
    let ask = Ask { setting, spec, codec, files: &noting };
    let counted = Counted::new(&ask, again, control)?;
    if let Some(path) = path {
        let known = Known {
            format: FORMAT,
            task: text,
            version: task.version,
            files: noting.read.into_inner(),
            notes: counted.notes.clone(),
            entries: counted.entries.clone(),
        };
        // what is not remembered is counted again
        let _ = path.parent().map(fs::create_dir_all);
        let _ = serde_json::to_vec(&known).map(|bytes| crate::write_whole(&path, &bytes));
    }
    Ok(counted)
}

fn known(path: &Path, task: &Task, text: &str, files: &dyn Files) -> Option<Known> {
    let known: Known = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let is_same = |(name, hash): &(String, String)| {
        if hash.starts_with("folder ") || hash == "no folder" {
            return files.folder(name).is_ok_and(|names| listed(names.as_deref()) == *hash);
        }
        files.read(name).is_ok_and(|bytes| format!("{:x}", Sha256::digest(bytes)) == *hash)
    };
    (known.format == FORMAT && known.task == text && known.version == task.version && known.files.iter().all(is_same))
        .then_some(known)
}
