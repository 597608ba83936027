//! The file of a task, where a user names it or the folder that it lies in.

use std::path::Path;

use super::{FORMATS, Row, read};
use crate::error::EvalError;
use crate::files::Files;

/// Endings of files with rows, in the order in which they are looked for.
const ENDINGS: [&str; 4] = ["jsonl", "json", "parquet", "csv"];

/// How names of files begin that hold what is evaluated, in the order in which they are looked for; at last any name.
const SPLITS: [&str; 3] = ["test", "validation", ""];

/// The rows of the task called by one of `stems`: those of `name` where it is a file, and else those of the folder's `STEM.jsonl`, `.json`,
/// `.parquet` or `.csv`, or of all such files in its folder `STEM`. A stem may have folders in it, as `qa1/4k`.
pub fn opened(files: &dyn Files, name: &str, stems: &[String]) -> Result<Vec<Row>, EvalError> {
    let mut rows = Vec::new();
    for file in find(files, name, stems)? {
        rows.extend(read(files, &file)?);
    }
    Ok(rows)
}

/// Names of those files, in order.
pub fn find(files: &dyn Files, name: &str, stems: &[String]) -> Result<Vec<String>, EvalError> {
    if files.folder(name)?.is_none() {
        return Ok(vec![name.to_owned()]);
    }
    for stem in stems {
        let (folder, stem) = stem.rsplit_once('/').map_or((name.to_owned(), &**stem), |(folder, stem)| {
            (Path::new(name).join(folder).to_string_lossy().into_owned(), stem)
        });
        let Some(listed) = files.folder(&folder)? else { continue };
        let named = |ending: &str| format!("{stem}.{ending}");
        let is_called = |file: &&String, ending: &str| file_name(file) == named(ending);
        if let Some(found) = ENDINGS.iter().find_map(|ending| listed.iter().find(|file| is_called(file, ending))) {
            return Ok(vec![found.clone()]);
        }
        // a split of several files, as data sets' hubs store it
        let is_part = |file: &&String| file_name(file).starts_with(&format!("{stem}-")) && has_rows(file);
        let parts: Vec<String> = listed.iter().filter(is_part).cloned().collect();
        if !parts.is_empty() {
            return Ok(parts);
        }
        let inner = Path::new(&folder).join(stem).to_string_lossy().into_owned();
        let inner = files.folder(&inner)?.unwrap_or_default();
        for split in SPLITS {
            let is_part = |file: &&String| file_name(file).starts_with(split) && has_rows(file);
            let parts: Vec<String> = inner.iter().filter(is_part).cloned().collect();
            if !parts.is_empty() {
                return Ok(parts);
            }
        }
    }
    let looked_for: Vec<_> = stems.iter().map(|stem| format!("`{stem}.jsonl`")).collect();
    Err(EvalError::NotInFolder {
        folder: name.into(),
        files: looked_for.join(" nor "),
        help: format!("name the file itself; {FORMATS}"),
    })
}

fn file_name(file: &str) -> &str {
    Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn has_rows(file: &str) -> bool {
    let ending = Path::new(file).extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.contains(&ending))
}
