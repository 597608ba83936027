//! Finished samples as an SQLite database, for questions in SQL.
//!
//! `index.sqlite` in the folder holds nothing that the lines do not: it can be deleted at any moment, and is made anew where it is
//! missing, damaged or of another version. What is asked is asked of a copy in memory. Where lines have come since, they are added to
//! the copy, and the file is replaced whole: nobody sees half of one, two processes at once each replace it by a right one, a kill
//! leaves the old one, and where the folder may not be written to, the copy in memory serves.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use longlens_core::lens::{Control, LensError};
use longlens_eval::evaluate::{Record, Summary, summarize};
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSql, ToSqlOutput};
use rusqlite::{Connection, MAIN_DB, params};

use super::columns::{Column, Kind, SAMPLES, SCORES};
use super::{Datum, file_name, number_of, read_lines, wrong};
use crate::problem::Problem;

mod ask;
mod back;
mod functions;
#[cfg(test)]
mod tests;

pub use ask::{Asked, Refusal};

/// The index of a folder.
pub struct Index {
    connection: Connection,
    n_samples: usize,
    /// Samples that were not in the file.
    n_new: usize,
}

/// The file in a folder of results.
pub const FILE: &str = "index.sqlite";
/// Rises when the same columns hold something else than before.
const FORMAT: u32 = 1;
/// Bytes before the end of what was read of a file, by which it is known again.
const END: u64 = 4096;
/// Where SQLite keeps four bytes for the program that a file is of. They hold the checksum of the others here.
const CHECKSUM: std::ops::Range<usize> = 68..72;
/// Samples of a line's file begin at a multiple of this, so that row ids follow files and lines.
const LINES: i64 = 1 << 32;

/// What is known of a file of lines.
struct Known {
    name: String,
    /// Bytes that were read.
    read: u64,
    /// Lines that were read.
    n_lines: usize,
    /// Checksum of the bytes before the end of what was read.
    end: u32,
}

impl Index {
    /// The index of a folder, brought up to date. Progress counts bytes.
    pub fn open(folder: &Path, control: &mut dyn Control) -> Result<Self, Problem> {
        let files = super::files(folder);
        let path = folder.join(FILE);
        let (mut connection, known) = match load(&path).and_then(|connection| with_known(connection, &files)) {
            Some(loaded) => loaded,
            None => (fresh()?, Vec::new()),
        };
        let n_before = count(&connection)?;
        if update(&mut connection, &files, &known, control)? {
            // what cannot be kept is made again the next time
            let _ = written(&mut connection).map(|bytes| crate::write_whole(&path, &bytes));
        }
        let n_samples = count(&connection)?;
        Ok(Self { connection, n_samples, n_new: n_samples - n_before })
    }

    /// Finished samples.
    pub fn len(&self) -> usize {
        self.n_samples
    }

    /// Whether none is finished.
    pub fn is_empty(&self) -> bool {
        self.n_samples == 0
    }

    /// Samples that the file did not have.
    pub fn n_new(&self) -> usize {
        self.n_new
    }

    /// The scores, as [`summarize`] gives them of the records, but without the shares of samples.
    pub fn summary(&self) -> Result<Summary, Problem> {
        back::summary(&self.connection).map_err(failed)
    }
}

/// An index without samples.
fn fresh() -> Result<Connection, Problem> {
    let connection = Connection::open_in_memory().map_err(failed)?;
    connection.execute_batch(&schema()).map_err(failed)?;
    connection.execute("INSERT INTO about VALUES (?)", [version()]).map_err(failed)?;
    Ok(connection)
}

/// The tables.
fn schema() -> String {
    format!(
        "CREATE TABLE samples ({});\nCREATE TABLE scores ({});\n\
         CREATE TABLE files (name TEXT PRIMARY KEY, read INTEGER, n_lines INTEGER, end INTEGER);\n\
         CREATE TABLE about (version TEXT);",
        declared(SAMPLES).replacen("key TEXT", "key TEXT PRIMARY KEY", 1),
        declared(SCORES),
    )
}

fn declared<T>(columns: &[Column<T>]) -> String {
    let declare = |column: &Column<T>| {
        let kind = match column.kind {
            Kind::Text | Kind::Json => "TEXT",
            Kind::Integer => "INTEGER",
            Kind::Real => "REAL",
        };
        format!("{} {kind}", column.name)
    };
    columns.iter().map(declare).collect::<Vec<_>>().join(", ")
}

/// What an index is made by: one of another is made anew. Scores may be counted otherwise in another version of the program.
fn version() -> String {
    format!("{FORMAT} {} {:08x}", env!("CARGO_PKG_VERSION"), crc32fast::hash(schema().as_bytes()))
}

/// The index in a file; nothing where it is missing, damaged or of another version.
fn load(path: &Path) -> Option<Connection> {
    let mut bytes = fs::read(path).ok()?;
    let told = u32::from_be_bytes(bytes.get(CHECKSUM)?.try_into().ok()?);
    bytes[CHECKSUM].fill(0);
    if crc32fast::hash(&bytes) != told {
        return None;
    }
    let mut connection = Connection::open_in_memory().ok()?;
    // the folder may be a stranger's
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).ok()?;
    connection.deserialize_read_exact(MAIN_DB, &*bytes, bytes.len(), false).ok()?;
    let own: String = connection.query_row("SELECT version FROM about", [], |row| row.get(0)).ok()?;
    (own == version()).then_some(connection)
}

/// The bytes of an index's file.
fn written(connection: &mut Connection) -> Option<Vec<u8>> {
    let mut bytes = connection.serialize(MAIN_DB).ok()?.to_vec();
    bytes.get_mut(CHECKSUM)?.fill(0);
    let checksum = crc32fast::hash(&bytes);
    bytes[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    Some(bytes)
}

/// An index with what it knows of files; nothing where one of them is gone, is shorter than what was read of it, or was changed there.
fn with_known(connection: Connection, files: &[PathBuf]) -> Option<(Connection, Vec<Known>)> {
    let known = known(&connection).ok()?;
    let is_there = |known: &Known| {
        let path = files.iter().find(|path| name_of(path) == known.name)?;
        (end(path, known.read).ok()? == known.end).then_some(())
    };
    known.iter().all(|known| is_there(known).is_some()).then_some((connection, known))
}

fn known(connection: &Connection) -> rusqlite::Result<Vec<Known>> {
    let mut statement = connection.prepare("SELECT name, read, n_lines, end FROM files")?;
    let known = |row: &rusqlite::Row<'_>| {
        Ok(Known { name: row.get(0)?, read: row.get::<_, i64>(1)? as u64, n_lines: row.get(2)?, end: row.get(3)? })
    };
    statement.query_map([], known)?.collect()
}

fn name_of(path: &Path) -> String {
    number_of(path).map(file_name).unwrap_or_default()
}

/// The checksum of the bytes of a file before byte `read`.
fn end(path: &Path, read: u64) -> std::io::Result<u32> {
    let mut file = File::open(path)?;
    let n = read.min(END);
    file.seek(SeekFrom::Start(read - n))?;
    let mut bytes = vec![0; n as usize];
    file.read_exact(&mut bytes)?;
    Ok(crc32fast::hash(&bytes))
}

/// Adds the lines that have come since, and says whether any have.
fn update(
    connection: &mut Connection,
    files: &[PathBuf],
    known: &[Known],
    control: &mut dyn Control,
) -> Result<bool, Problem> {
    let known_of = |path: &Path| {
        let name = name_of(path);
        known.iter().find(|known| known.name == name).map_or((0, 0), |known| (known.read, known.n_lines))
    };
    let left = |path: &Path| fs::metadata(path).map_or(0, |there| there.len()).saturating_sub(known_of(path).0);
    let total = files.iter().map(|path| left(path)).sum::<u64>() as usize;
    if total == 0 {
        return Ok(false);
    }
    let (mut done, mut is_changed) = (0, false);
    let transaction = connection.transaction().map_err(failed)?;
    {
        let mut insert = transaction.prepare(&insertion("samples", SAMPLES)).map_err(failed)?;
        let mut displace = transaction.prepare("DELETE FROM samples WHERE key = ? AND rowid > ?").map_err(failed)?;
        for path in files {
            let (from, n_before) = known_of(path);
            let number = number_of(path).unwrap_or_default() as i64;
            let (read, n_lines) = read_lines(path, from, n_before, &mut |at, line| {
                let record: Record = serde_json::from_slice(line).map_err(|error| wrong(path, at, &error))?;
                let place = number * LINES + at as i64;
                if !known.is_empty() {
                    // of several lines with one key the first in order of files counts, whichever was read first
                    displace.execute(params![record.key, place]).map_err(failed)?;
                }
                add(&mut insert, place, SAMPLES, &record).map_err(failed)?;
                done += line.len() + 1;
                control.progress(done.min(total), total);
                if control.cancelled() { Err(LensError::Cancelled.into()) } else { Ok(()) }
            })?;
            if read > from {
                is_changed = true;
                let end = end(path, read)
                    .map_err(|error| Problem::new(format!("cannot read {}: {error}", path.display()), None))?;
                let row = params![name_of(path), read as i64, n_lines, end];
                transaction.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row).map_err(failed)?;
            }
        }
    }
    if is_changed {
        scores(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(is_changed)
}

fn count(connection: &Connection) -> Result<usize, Problem> {
    connection.query_row("SELECT count(*) FROM samples", [], |row| row.get(0)).map_err(failed)
}

/// Counts the scores anew.
fn scores(connection: &Connection) -> rusqlite::Result<()> {
    let summary = summarize(&back::records(connection)?);
    connection.execute("DELETE FROM scores", [])?;
    let mut insert = connection.prepare(&insertion("scores", SCORES))?;
    summary.rows.iter().zip(1..).try_for_each(|(row, place)| add(&mut insert, place, SCORES, row))
}

fn insertion<T>(table: &str, columns: &[Column<T>]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let places = vec!["?"; columns.len() + 1].join(", ");
    format!("INSERT OR IGNORE INTO {table} (rowid, {}) VALUES ({places})", names.join(", "))
}

fn add<T>(insert: &mut rusqlite::Statement<'_>, place: i64, columns: &[Column<T>], value: &T) -> rusqlite::Result<()> {
    insert.raw_bind_parameter(1, place)?;
    for (column, at) in columns.iter().zip(2..) {
        insert.raw_bind_parameter(at, (column.of)(value))?;
    }
    insert.raw_execute().map(drop)
}

impl ToSql for Datum {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Empty => Ok(rusqlite::types::Null.into()),
            Self::Integer(whole) => Ok((*whole).into()),
            Self::Real(real) => Ok((*real).into()),
            Self::Text(text) => text.to_sql(),
        }
    }
}

/// The library fails on its own tables where memory ends, and nowhere else.
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn failed(error: rusqlite::Error) -> Problem {
    Problem::new(
        format!("the index of finished samples cannot be made: {error}"),
        "the samples themselves are as they were; a report of them needs no index".to_owned(),
    )
}
