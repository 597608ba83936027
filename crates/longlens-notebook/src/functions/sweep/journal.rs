//! Finished rows of sweeps: in the session, and where a sweep names a file, with one line for each setting there.

use std::collections::HashSet;
use std::rc::Rc;

use longlens_core::trace::RunRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::functions::files;
use crate::host::files::MAX_BYTES;
use crate::host::{Files, Host, Part, Returned, raise, refuse};
use crate::table::Table as Rows;

/// Finished parts of one sweep, by their keys.
pub struct Journal<'a> {
    host: &'a Host,
    file: Option<File<'a>>,
    /// Keys whose earlier parts go once there is a new one; `None` where earlier parts are as good as new ones.
    stale: Option<&'a [String]>,
    fresh: bool,
}

/// Where parts are written.
struct File<'a> {
    files: &'a Files,
    name: String,
    /// Keys of its lines.
    written: HashSet<String>,
}

/// A line of the file. What a file of sweeps begins with, `{"key":`, rests on the order of these.
#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    rows: Value,
    records: Vec<RunRecord>,
}

/// What the first line begins with, also where a kill cut it short.
const START: &str = "{\"key\":\"[";

impl<'a> Journal<'a> {
    /// What is known of a sweep with these keys; an error when the file holds something else. `fresh` passes over all that is
    /// known, and lets go of it when the first new part is there.
    pub fn open(host: &'a Host, file: Option<&str>, keys: &'a [String], fresh: bool) -> Returned<Self> {
        let file = file.map(|name| File::open(host, name, fresh)).transpose()?;
        Ok(Self { host, file, stale: fresh.then_some(keys), fresh })
    }

    /// The part of a setting that was finished before. It is in the file afterwards.
    pub fn find(&mut self, key: &str) -> Returned<Option<Rc<Part>>> {
        if self.fresh {
            return Ok(None);
        }
        let found = self.host.rows.borrow().get(key).cloned();
        if let (Some(file), Some(part)) = (&mut self.file, &found) {
            file.add(key, part)?;
        }
        Ok(found)
    }

    /// Keeps a part that was just finished.
    pub fn keep(&mut self, key: &str, part: &Rc<Part>) -> Returned<()> {
        let stale = self.stale.take();
        let mut rows = self.host.rows.borrow_mut();
        for old in stale.unwrap_or_default() {
            rows.remove(old);
        }
        rows.insert(key.to_owned(), part.clone());
        drop(rows);
        match &mut self.file {
            Some(file) if stale.is_some() => file.start(key, part),
            Some(file) => file.add(key, part),
            None => Ok(()),
        }
    }
}

impl<'a> File<'a> {
    fn open(host: &'a Host, name: &str, fresh: bool) -> Returned<Self> {
        // its rows hold texts of cells
        files::check_data(host, name, true)?;
        let files = host.files();
        let mut file = Self { files, name: name.to_owned(), written: HashSet::new() };
        let Some(bytes) = files.read_if_there(name, MAX_BYTES).map_err(raise)? else { return Ok(file) };
        let text = String::from_utf8_lossy(&bytes);
        // a line that a kill cut short is computed again
        let lines: Vec<Line> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        // of any other file nothing is touched, also where a line in it looks like ours
        if !text.lines().all(|line| line.is_empty() || line.starts_with(START) || START.starts_with(line)) {
            return refuse(format!("`{name}` holds no rows of a sweep"), "name a new file, or one that a sweep wrote");
        }
        for Line { key, rows, records } in lines.into_iter().filter(|_| !fresh) {
            let Ok(rows) = Rows::from_json(rows.to_string().as_bytes()) else { continue };
            host.rows.borrow_mut().insert(key.clone(), Part { rows, records }.into());
            file.written.insert(key);
        }
        Ok(file)
    }

    /// Puts a part in the place of all that the file holds.
    fn start(&mut self, key: &str, part: &Part) -> Returned<()> {
        let line = format!("{}\n", line(key, part));
        self.files.replace(&self.name, line.as_bytes()).map_err(raise)?;
        self.written = HashSet::from([key.to_owned()]);
        Ok(())
    }

    /// Puts a part below the others, unless it is among them.
    fn add(&mut self, key: &str, part: &Part) -> Returned<()> {
        if self.written.contains(key) {
            return Ok(());
        }
        self.files.add_line(&self.name, &line(key, part)).map_err(raise)?;
        self.written.insert(key.to_owned());
        Ok(())
    }
}

fn line(key: &str, part: &Part) -> String {
    let rows = serde_json::from_slice(&part.rows.to_json()).unwrap_or_default();
    let line = Line { key: key.to_owned(), rows, records: part.records.clone() };
    serde_json::to_string(&line).unwrap_or_default()
}
