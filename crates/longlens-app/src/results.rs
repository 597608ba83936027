//! A folder of finished samples: one JSON line each, written as soon as it is finished and synced while the next one is computed.
//!
//! Every process that writes has a file of its own, `samples.jsonl`, `samples-2.jsonl`, …, which it holds locked; those of others are
//! read. So several processes, on several machines where they share a file system with locks, work on one folder: each claims a sample
//! before it runs it, and a claim counts for as long as its writer lives. Killing one at any moment loses the sample that it was
//! running and nothing else.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use longlens_eval::EvalError;
use longlens_eval::evaluate::{Record, Store, listing};
use serde::Deserialize;
use serde_json::Value;

use crate::problem::Problem;

mod answer;
pub mod columns;
mod counted;
mod datum;
#[cfg(feature = "sql")]
mod index;
mod sync;

pub use answer::Answer;
pub use counted::counted;
pub use datum::Datum;
#[cfg(feature = "sql")]
pub use index::{Asked, FILE as INDEX, Index, Refusal};
use sync::Syncing;

/// Finished samples of a folder.
pub struct Results {
    /// Where they are; without one they are in memory alone.
    folder: Option<PathBuf>,
    in_memory: Vec<Record>,
    /// Keys of finished samples, each with what it is listed under.
    keys: HashMap<String, Rc<str>>,
    /// The same for each setting and length that lines have.
    listings: Listings,
    /// The files of others, and of earlier runs.
    others: Vec<Other>,
    own: Option<Own>,
}

/// A file that this process only reads.
struct Other {
    path: PathBuf,
    /// Bytes that were read.
    read: u64,
    /// Lines that were read.
    n_lines: usize,
    claims: HashSet<String>,
    /// Bytes of its claims that were read.
    claims_read: u64,
}

/// The file that this process writes.
struct Own {
    /// Its place among all, from 1.
    number: usize,
    path: PathBuf,
    file: File,
    sync: Syncing,
    claims: File,
    claims_path: PathBuf,
}

/// Files of one folder at most.
const MOST_FILES: usize = 4096;
/// Bytes of a line at most.
const MAX_LINE: usize = 64 << 20;
/// The ending of a file's claims.
const CLAIMS: &str = "claims";

impl Results {
    /// Results that are kept nowhere.
    pub fn in_memory() -> Self {
        Self {
            folder: None,
            in_memory: Vec::new(),
            keys: HashMap::new(),
            listings: Listings::new(),
            others: Vec::new(),
            own: None,
        }
    }

    /// The finished samples in a folder, to be read; a folder that is not there has none.
    pub fn read(folder: &Path) -> Result<Self, Problem> {
        if let Err(error) = fs::read_dir(folder).map(drop)
            && error.kind() != io::ErrorKind::NotFound
        {
            let help = "give a folder of results that you may read".to_owned();
            return Err(Problem::new(format!("cannot read {}: {error}", folder.display()), help));
        }
        let mut results = Self::in_memory();
        results.folder = Some(folder.to_owned());
        results.refresh()?;
        Ok(results)
    }

    /// The same, to be written to as well. The folder is made where it is not there.
    pub fn write(folder: &Path) -> Result<Self, Problem> {
        let failed = |path: &Path, error: &io::Error| {
            Problem::new(
                format!("cannot keep finished samples in {}: {error}", path.display()),
                "choose another folder, one that you may write to".to_owned(),
            )
        };
        fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        for number in 1..=MOST_FILES {
            let path = folder.join(file_name(number));
            let options = OpenOptions::new().create(true).read(true).append(true).open(&path);
            let mut file = options.map_err(|error| failed(&path, &error))?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => continue,
                // file systems without locks are used as they are
                Ok(()) | Err(TryLockError::Error(_)) => (),
            }
            // a process that ended in between took its empty file away: what is written to that is lost
            if !is_at(&file, &path) {
                return Self::write(folder);
            }
            end_lines(&mut file).map_err(|error| failed(&path, &error))?;
            let claims_path = path.with_extension(CLAIMS);
            let claims = File::create(&claims_path).map_err(|error| failed(&claims_path, &error))?;
            let sync = Syncing::of(&file).map_err(|error| failed(&path, &error))?;
            let own = Own { number, path, file, sync, claims, claims_path };
            let mut results = Self::in_memory();
            (results.folder, results.own) = (Some(folder.to_owned()), Some(own));
            results.refresh()?;
            return Ok(results);
        }
        Err(Problem::new(
            format!("{MOST_FILES} processes write to {} already", folder.display()),
            "wait for them, or choose another folder".to_owned(),
        ))
    }

    /// Waits until all that was finished is on the disk; an error says what of it may be lost.
    pub fn synced(&mut self) -> Result<(), Problem> {
        let Some(own) = &mut self.own else { return Ok(()) };
        if !is_at(&own.file, &own.path) {
            return Err(Problem::new(
                format!("{} was taken away while it was written: what was finished since is lost", own.path.display()),
                "run the same command again, and leave the folder alone meanwhile".to_owned(),
            ));
        }
        own.sync.finish().map_err(|error| {
            Problem::new(
                format!("{} may not be whole on the disk: {error}", own.path.display()),
                "make room, and run the same command again".to_owned(),
            )
        })
    }

    /// Finished samples.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none is finished.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Where they are, if they are kept.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The files of finished samples, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        self.folder.as_deref().map(files).unwrap_or_default()
    }

    /// Every finished sample, whole; of several with one key the first.
    pub fn records(&self) -> Result<Vec<Record>, Problem> {
        let (mut seen, mut records) = (HashSet::new(), self.in_memory.clone());
        for path in self.files() {
            read_lines(&path, 0, 0, &mut |number, line| {
                let record: Record = serde_json::from_slice(line).map_err(|error| wrong(&path, number, &error))?;
                if seen.insert(record.key.clone()) {
                    records.push(record);
                }
                Ok(())
            })?;
        }
        Ok(records)
    }

    /// Reads what others have finished and claimed since.
    fn refresh(&mut self) -> Result<(), Problem> {
        for path in self.files() {
            if !self.others.iter().any(|other| other.path == path) {
                self.others.push(Other { path, read: 0, n_lines: 0, claims: HashSet::new(), claims_read: 0 });
            }
        }
        let own = self.own.as_ref().map(|own| own.path.clone());
        for other in &mut self.others {
            let length = fs::metadata(&other.path).map_or(0, |there| there.len());
            if length > other.read {
                let (keys, listings) = (&mut self.keys, &mut self.listings);
                let path = &other.path;
                let (read, n_lines) = read_lines(path, other.read, other.n_lines, &mut |number, line| {
                    let Keyed { key, setting, length } =
                        serde_json::from_slice(line).map_err(|error| wrong(path, number, &error))?;
                    // of several lines with one key the first counts
                    keys.entry(key).or_insert_with(|| listed_under(listings, &setting, length));
                    Ok(())
                })?;
                (other.read, other.n_lines) = (read, n_lines);
            }
            if own.as_ref() != Some(&other.path) {
                other.read_claims();
            }
        }
        Ok(())
    }

    /// Whether another process that still runs has claimed a sample. Of two claims at once that in the earlier file counts.
    fn is_claimed(&self, key: &str, before: Option<usize>) -> bool {
        let claimed = |other: &&Other| other.claims.contains(key) && other.is_alive();
        let earlier = |other: &&Other| before.is_none_or(|before| number_of(&other.path) < Some(before));
        self.others.iter().filter(earlier).any(|other| claimed(&other))
    }
}

impl Other {
    /// Claims are short lines of keys; a line that is not whole yet is read the next time.
    fn read_claims(&mut self) {
        let path = self.path.with_extension(CLAIMS);
        let Ok(mut file) = File::open(&path) else { return };
        let length = file.metadata().map_or(0, |there| there.len());
        if length < self.claims_read {
            // another process took the file over
            self.claims.clear();
            self.claims_read = 0;
        }
        let mut text = String::new();
        if length == self.claims_read
            || file.seek(SeekFrom::Start(self.claims_read)).and_then(|_| file.read_to_string(&mut text)).is_err()
        {
            return;
        }
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.claims.extend(text[..whole].lines().map(str::to_owned));
        self.claims_read += whole as u64;
    }

    /// Whether its writer runs.
    fn is_alive(&self) -> bool {
        File::open(&self.path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

impl Store for Results {
    fn listed(&mut self, key: &str) -> Option<String> {
        self.keys.get(key).map(ToString::to_string)
    }

    fn has(&mut self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    fn with_keys(&mut self, keys: &HashSet<&str>) -> Result<Vec<Record>, EvalError> {
        let is_wanted = |key: &str| keys.contains(key);
        let mut found: Vec<Record> = self.in_memory.iter().filter(|record| is_wanted(&record.key)).cloned().collect();
        for path in self.files() {
            let read = read_lines(&path, 0, 0, &mut |number, line| {
                let Keyed { key, .. } = serde_json::from_slice(line).map_err(|error| wrong(&path, number, &error))?;
                if is_wanted(&key) {
                    found.push(serde_json::from_slice(line).map_err(|error| wrong(&path, number, &error))?);
                }
                Ok(())
            });
            read.map_err(store_error)?;
        }
        Ok(found)
    }

    fn claim(&mut self, key: &str) -> Result<bool, EvalError> {
        self.refresh().map_err(store_error)?;
        if self.keys.contains_key(key) || self.is_claimed(key, None) {
            return Ok(false);
        }
        let Some(own) = &mut self.own else { return Ok(true) };
        let number = own.number;
        let written = own.claims.write_all(format!("{key}\n").as_bytes());
        written.map_err(|error| full(&own.claims_path, &error))?;
        // somebody may have claimed it at the same moment
        if self.others.len() > 1 {
            self.refresh().map_err(store_error)?;
        }
        Ok(!self.is_claimed(key, Some(number)))
    }

    fn finished(&mut self, record: &Record) -> Result<(), EvalError> {
        let listed = listed_under(&mut self.listings, &record.setting, record.length);
        let Some(own) = &mut self.own else {
            self.keys.insert(record.key.clone(), listed);
            self.in_memory.push(record.clone());
            return Ok(());
        };
        let mut line = serde_json::to_vec(record).map_err(|error| full(&own.path, &error.into()))?;
        line.push(b'\n');
        // one write a line, so that a kill cuts the last line at most
        own.file.write_all(&line).and_then(|()| own.sync.written()).map_err(|error| full(&own.path, &error))?;
        if let Some(other) = self.others.iter_mut().find(|other| other.path == own.path) {
            other.read += line.len() as u64;
            other.n_lines += 1;
        }
        self.keys.insert(record.key.clone(), listed);
        Ok(())
    }
}

/// Whether an open file is the one that its path names.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |there: fs::Metadata| (there.dev(), there.ino());
    file.metadata().map(of).ok() == fs::metadata(path).map(of).ok()
}

/// A file that is open is not taken away here.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

impl Drop for Results {
    fn drop(&mut self) {
        // nobody needs the claims of a process that has ended, nor a file without samples
        if let Some(own) = &self.own {
            let _ = fs::remove_file(&own.claims_path);
            if own.file.metadata().is_ok_and(|there| there.len() == 0) {
                let _ = fs::remove_file(&own.path);
            }
        }
    }
}

fn store_error(problem: Problem) -> EvalError {
    EvalError::Store { problem: problem.message, help: problem.help.unwrap_or_default() }
}

fn full(path: &Path, error: &io::Error) -> EvalError {
    EvalError::Store {
        problem: format!("cannot write a finished sample to {}: {error}", path.display()),
        help: "what was finished before is kept: make room, and the same command goes on".to_owned(),
    }
}

fn file_name(number: usize) -> String {
    if number == 1 { "samples.jsonl".to_owned() } else { format!("samples-{number}.jsonl") }
}

/// The place of a file among those of its folder, from 1.
fn number_of(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_prefix("samples")?.strip_suffix(".jsonl")?;
    match number.strip_prefix('-') {
        Some(number) => number.parse().ok().filter(|number| *number > 1),
        None => number.is_empty().then_some(1),
    }
}

/// The files of finished samples in a folder, by number.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.filter_map(|entry| Some((number_of(&entry.path())?, entry.path()))).collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

/// Leaves whole lines alone: a last one that a kill cut short is taken away, since its sample is computed again, and one that lacks nothing
/// but its end, as editors and copies leave it, is given that.
fn end_lines(file: &mut File) -> io::Result<()> {
    let (whole, length) = (whole_bytes(file)?, file.metadata()?.len());
    if whole == length {
        return Ok(());
    }
    let mut last = Vec::new();
    file.seek(SeekFrom::Start(whole))?;
    file.take(length - whole).read_to_end(&mut last)?;
    if serde_json::from_slice::<Record>(&last).is_ok() {
        return file.write_all(b"\n");
    }
    file.set_len(whole)
}

/// Bytes up to the last line end.
fn whole_bytes(file: &mut File) -> io::Result<u64> {
    const BLOCK: u64 = 1 << 16;
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Takes the line of a number.
type Take<'a> = dyn FnMut(usize, &[u8]) -> Result<(), Problem> + 'a;

/// Reads whole lines of a file from byte `read` on, of which `n_lines` stand before; returns both behind what was read. A last line
/// without an end is being written.
fn read_lines(path: &Path, mut read: u64, mut n_lines: usize, take: &mut Take<'_>) -> Result<(u64, usize), Problem> {
    let failed = |error: io::Error| Problem::new(format!("cannot read {}: {error}", path.display()), None);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((read, n_lines)),
        Err(error) => return Err(failed(error)),
    };
    file.seek(SeekFrom::Start(read)).map_err(failed)?;
    let mut lines = BufReader::with_capacity(1 << 18, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = lines.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line).map_err(failed)?;
        if n > MAX_LINE {
            return Err(wrong_line(path, n_lines + 1, &format!("is longer than {} MiB", MAX_LINE >> 20)));
        }
        if line.last() != Some(&b'\n') {
            return Ok((read, n_lines));
        }
        (read, n_lines) = (read + n as u64, n_lines + 1);
        if !line.trim_ascii().is_empty() {
            take(n_lines, line.trim_ascii())?;
        }
    }
}

/// What is read of a line to know that its sample is finished.
#[derive(Deserialize)]
struct Keyed {
    key: String,
    setting: String,
    length: Option<usize>,
}

/// What samples are listed under, by setting and length.
type Listings = HashMap<(String, Option<usize>), Rc<str>>;

/// What a sample is listed under; there are far fewer settings than samples.
fn listed_under(listings: &mut Listings, setting: &str, length: Option<usize>) -> Rc<str> {
    listings.entry((setting.to_owned(), length)).or_insert_with(|| listing(setting, length).into()).clone()
}

fn wrong(path: &Path, line: usize, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or(&text);
    wrong_line(path, line, &format!("is no finished sample of this version: {text}"))
}

fn wrong_line(path: &Path, line: usize, what: &str) -> Problem {
    Problem::new(
        format!("{}, line {line}: it {what}", path.display()),
        "move the file away, or take the line out of it: its sample is then run again".to_owned(),
    )
}

/// What a folder says that it belongs to.
pub fn belongs_to(folder: &Path) -> Result<Option<String>, Problem> {
    let path = folder.join(OWNER);
    let Ok(bytes) = fs::read(&path) else { return Ok(None) };
    let name =
        serde_json::from_slice::<Value>(&bytes).ok().and_then(|value| Some(value.get("sweep")?.as_str()?.to_owned()));
    name.map(Some).ok_or_else(|| {
        Problem::new(
            format!("{} does not say whose results the folder holds", path.display()),
            "give another folder".to_owned(),
        )
    })
}

/// Whether a folder is known to be a sweep's; an error where it belongs to another one.
pub fn is_of(folder: &Path, sweep: &str) -> Result<bool, Problem> {
    match belongs_to(folder)? {
        Some(owner) if owner != sweep => Err(Problem::new(
            format!("{} holds results of the sweep `{owner}`, and this one is `{sweep}`", folder.display()),
            "give another folder, or name this sweep as that one to add to its results".to_owned(),
        )),
        owner => Ok(owner.is_some()),
    }
}

/// Says what a folder belongs to; an error where it belongs to another sweep.
pub fn claim_folder(folder: &Path, sweep: &str) -> Result<(), Problem> {
    if is_of(folder, sweep)? {
        return Ok(());
    }
    let failed = |error: io::Error| {
        let is_file = folder.is_file();
        let help = is_file.then(|| "it is a file: name a folder, which is made where it is not there".to_owned());
        Problem::new(format!("cannot write to {}: {error}", folder.display()), help)
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let text = serde_json::json!({ "sweep": sweep, "format": 1 }).to_string();
    crate::write_whole(&folder.join(OWNER), text.as_bytes()).map_err(failed)
}

/// The file that says what a folder belongs to.
const OWNER: &str = "sweep.json";

#[cfg(test)]
pub(crate) mod tests;
