//! Where exports go: what is there already is replaced where longlens wrote it as the same format, and nothing else is.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use longlens_core::panics::caught;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::flat::NOTE;
use super::{Format, Written};
use crate::problem::Problem;
use crate::results::columns::SAMPLES;

/// What a folder says of itself.
#[derive(Serialize, Deserialize)]
struct Mark {
    longlens_export: String,
    version: String,
    files: Vec<PathBuf>,
}

/// The file that says it.
const MARK: &str = "longlens-export.json";
/// Bytes of a first line at most.
const MAX_LINE: u64 = 64 << 20;

/// Whether an export of this format stands here; an error where something else does.
pub(super) fn is_ours(format: Format, to: &Path) -> Result<bool, Problem> {
    let Ok(there) = fs::metadata(to) else { return Ok(false) };
    let refused = |what: &str| {
        Err(Problem::new(
            format!("{} {what}", to.display()),
            "nothing was written: name a place where nothing is, or an earlier export of the same format".to_owned(),
        ))
    };
    let name = format.name();
    if format.is_folder() {
        if !there.is_dir() {
            return refused(&format!("is no folder, and {name} is one"));
        }
        let is_empty = fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_none());
        return match mark(to) {
            _ if is_empty => Ok(false),
            Some(mark) if mark.longlens_export == name => Ok(true),
            Some(mark) => refused(&format!("holds an export as {}", mark.longlens_export)),
            None => refused("holds something else than an export of longlens"),
        };
    }
    if there.is_dir() {
        return refused(&format!("is a folder, and {name} is one file"));
    }
    // a device or a pipe takes what comes
    if !there.is_file() || there.len() == 0 {
        return Ok(false);
    }
    let is_own = match format {
        Format::Parquet => is_own_parquet(to),
        Format::Csv => first_line(to).is_some_and(|line| is_own_csv(&line)),
        _ => first_line(to).is_some_and(|line| is_own_json(&line)),
    };
    if is_own { Ok(true) } else { refused(&format!("was not written as {name} by longlens")) }
}

fn mark(folder: &Path) -> Option<Mark> {
    serde_json::from_slice(&fs::read(folder.join(MARK)).ok()?).ok()
}

fn is_own_parquet(path: &Path) -> bool {
    // the library asserts what a sound file would hold
    let read = caught(|| {
        let reader = SerializedFileReader::new(File::open(path).ok()?).ok()?;
        let notes = reader.metadata().file_metadata().key_value_metadata()?;
        let is_note = |key: &str, value: Option<&str>| (key, value) == (NOTE.0, Some(NOTE.1));
        Some(notes.iter().any(|note| is_note(&note.key, note.value.as_deref())))
    });
    read.ok().flatten().unwrap_or(false)
}

fn first_line(path: &Path) -> Option<String> {
    let mut line = String::new();
    BufReader::new(File::open(path).ok()?.take(MAX_LINE)).read_line(&mut line).ok()?;
    Some(line)
}

fn is_column(name: &str) -> bool {
    SAMPLES.iter().any(|column| column.name == name)
}

/// The columns of another version may be fewer.
fn is_own_csv(line: &str) -> bool {
    let mut names = line.trim_end().split(',');
    names.next() == Some(SAMPLES[0].name) && names.all(is_column)
}

fn is_own_json(line: &str) -> bool {
    let object: Option<Map<String, Value>> = serde_json::from_str(line).ok();
    object.is_some_and(|object| object.contains_key(SAMPLES[0].name) && object.keys().all(|name| is_column(name)))
}

pub(super) fn write_file(to: &Path, bytes: &[u8], is_replaced: bool) -> Result<Written, Problem> {
    if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| failed(to, &error))?;
    }
    crate::write_whole(to, bytes).map_err(|error| failed(to, &error))?;
    Ok(Written { n_files: 1, is_replaced })
}

/// Writes the files of a folder, each whole, and takes away those of an earlier export that are none of them. The mark names all that is
/// there at any moment, so that after a kill the same export can go on.
pub(super) fn write_folder(
    format: Format,
    to: &Path,
    files: &[(PathBuf, Vec<u8>)],
    is_replaced: bool,
) -> Result<Written, Problem> {
    let earlier = mark(to).map(|mark| mark.files).unwrap_or_default();
    let own: BTreeSet<&PathBuf> = files.iter().map(|(path, _)| path).collect();
    let stale: Vec<&PathBuf> = earlier.iter().filter(|path| !own.contains(path) && is_inside(path)).collect();
    fs::create_dir_all(to).map_err(|error| failed(to, &error))?;
    let write_mark = |files: Vec<PathBuf>| {
        let mark =
            Mark { longlens_export: format.name().to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), files };
        let bytes = serde_json::to_vec_pretty(&mark).expect("names are JSON");
        let path = to.join(MARK);
        crate::write_whole(&path, &bytes).map_err(|error| failed(&path, &error))
    };
    write_mark(own.iter().chain(&stale).map(|path| (*path).clone()).collect())?;
    for (name, bytes) in files {
        let path = to.join(name);
        let folder = path.parent().unwrap_or(to);
        fs::create_dir_all(folder)
            .and_then(|()| crate::write_whole(&path, bytes))
            .map_err(|error| failed(&path, &error))?;
    }
    for name in &stale {
        // what cannot be taken away stays
        let _ = fs::remove_file(to.join(name));
        let _ = name.parent().filter(|folder| *folder != Path::new("")).map(|folder| fs::remove_dir(to.join(folder)));
    }
    write_mark(own.iter().map(|path| (*path).clone()).collect())?;
    Ok(Written { n_files: files.len(), is_replaced })
}

/// A mark is a file like any other: what it names outside its folder is not touched.
fn is_inside(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn failed(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(format!("cannot write {}: {error}", path.display()), None)
}
