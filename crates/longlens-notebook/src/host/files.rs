//! Which files cells may touch, and the only way to them.
//!
//! Names count from one folder, the root, and lead nowhere outside it. No part of a name begins with a dot: hidden files belong to
//! other programs, and several of them run what they find there. For the same reason nothing is written below a root that lies in
//! a hidden folder, unless somebody named it. Every folder on the way is opened from the one above it, and
//! no link is followed but by this code, so that whatever somebody swaps in meanwhile leads to an error and not outside.
//! A file that cells did not write stays as it is.

mod obeyed;
mod place;
mod written;

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use longlens_app::Problem;

pub(crate) use self::obeyed::is_obeyed;
use self::place::Place;
use self::written::Written;

fn unreadable(name: &str, error: &io::Error) -> Problem {
    Problem::new(format!("cannot read `{name}`: {error}"), "choose a file you may read".to_owned())
}

/// A file beyond this is no result of ours.
pub const MAX_BYTES: u64 = 512 << 20;

/// Which files the language may touch.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    /// The root, once a cell has asked for it, and its path without links.
    opened: OnceCell<(Dir, PathBuf)>,
    anywhere: bool,
    /// Whether somebody said that this is the root: then it may be the home folder.
    named: bool,
    overwrites: bool,
    written: Written,
}

/// What a name says that lies outside of what is allowed.
fn outside(name: &str, root: &Path) -> Problem {
    Problem::new(
        format!("`{name}` lies outside {}", root.display()),
        "cells touch files of the working directory only; start with --files FOLDER for another one, or with --allow-outside \
         to lift that"
            .to_owned(),
    )
}

/// Endings of files that hold results and nothing that anything runs.
const RESULTS: [&str; 6] = ["csv", "jsonl", "parquet", "png", "svg", "npz"];

impl Files {
    /// Files of a folder and the folders in it.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let (opened, written) = (OnceCell::new(), Written::default());
        Self { root, opened, anywhere: false, named: false, overwrites: false, written }
    }

    /// The same where the user named the folder, which may be any then.
    #[must_use]
    pub fn named(self) -> Self {
        Self { named: true, ..self }
    }

    /// All files, hidden ones and those of others too; names count from the root.
    #[must_use]
    pub fn anywhere(self) -> Self {
        Self { anywhere: true, ..self }
    }

    /// Files that cells did not write may be replaced.
    #[must_use]
    pub fn overwriting(self) -> Self {
        Self { overwrites: true, ..self }
    }

    /// What cells write is remembered in this file, so that later sessions may replace it.
    #[must_use]
    pub fn remembered_in(self, file: Option<PathBuf>) -> Self {
        Self { written: Written::new(file), ..self }
    }

    /// Where names start.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether files outside the root are allowed too.
    pub fn is_anywhere(&self) -> bool {
        self.anywhere
    }

    /// The bytes of a file; an error for what is no file, or larger than `most`.
    pub fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, Problem> {
        let missing = || {
            let help = "check the name; it counts from the working directory".to_owned();
            Problem::new(format!("cannot read `{name}`: there is no such file"), help)
        };
        self.read_if_there(name, most)?.ok_or_else(missing)
    }

    /// The same, or nothing where there is no file of that name.
    pub fn read_if_there(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Problem> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
        if bytes.len() as u64 > most {
            let help = format!("files go up to {} MiB", most >> 20);
            return Err(Problem::new(format!("`{name}` is too large"), help));
        }
        Ok(Some(bytes))
    }

    /// A file that is open, or nothing where there is none of that name; an error for what is no file.
    pub fn open(&self, name: &str) -> Result<Option<File>, Problem> {
        let open = |place: &Place| -> io::Result<Result<File, Problem>> {
            let there = place.folder.symlink_metadata(&place.name)?;
            if !there.is_file() {
                // a device or a pipe may never end
                return Ok(Err(Problem::new(format!("`{name}` is no file"), "give the name of a file".to_owned())));
            }
            let mut options = OpenOptions::new();
            // what was looked at may be another one by now: a pipe would wait for a writer
            options.read(true).follow(FollowSymlinks::No).nonblock(true);
            let file = place.folder.open_with(&place.name, &options)?;
            if !file.metadata()?.is_file() {
                return Ok(Err(Problem::new(format!("`{name}` is no file"), "give the name of a file".to_owned())));
            }
            Ok(Ok(file.into_std()))
        };
        let Some(place) = self.place(name, false)? else { return Ok(None) };
        match open(&place) {
            Ok(open) => open.map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(name, &error)),
        }
    }

    /// Writes a file whole or not at all, and makes the folders above it. One that cells did not write, or that somebody changed
    /// since, stays as it is; `overwrite` replaces it if it holds results. Returns whether it took the place of one of these.
    pub fn save(&self, name: &str, bytes: &[u8], overwrite: bool) -> Result<bool, Problem> {
        let place = self.place_to_write(name)?;
        let replaces_all = self.anywhere || self.overwrites;
        let there = if replaces_all { There::Any } else { self.there(&place, name)? };
        let theirs = there == There::Others;
        if theirs {
            let ending = Path::new(name).extension().map(|ending| ending.to_string_lossy().to_lowercase());
            let is_result = ending.is_some_and(|ending| RESULTS.contains(&ending.as_str()));
            if !(overwrite && is_result) {
                let how = if is_result && !overwrite {
                    "save it under another name, or say save(…, #{ overwrite: true })"
                } else {
                    "save it under another name, move the file away, or start with --overwrite"
                };
                return Err(not_ours(name, how));
            }
        }
        match self.put(&place, bytes, there != There::Nothing) {
            Err(error) if there == There::Nothing && error.kind() == io::ErrorKind::AlreadyExists => {
                Err(not_ours(name, "save it under another name, or run the cell again once the other program is done"))
            }
            put => put.map(|()| theirs).map_err(|error| unwritable(name, &error)),
        }
    }

    /// Writes a file whole or not at all, whatever is there: for files whose contents say that they are ours.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Problem> {
        self.put(&self.place_to_write(name)?, bytes, true).map_err(|error| unwritable(name, &error))
    }

    /// Puts a line below those of a file whose contents say that it is ours, or begins one.
    pub fn add_line(&self, name: &str, line: &str) -> Result<(), Problem> {
        let place = self.place_to_write(name)?;
        let add = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.create(true).read(true).append(true).follow(FollowSymlinks::No).nonblock(true);
            let mut file = place.folder.open_with(&place.name, &options)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            // below a line that a kill cut short
            let mut last = [b'\n'];
            if file.seek(SeekFrom::End(-1)).is_ok() {
                file.read_exact(&mut last)?;
            }
            let start = if last == *b"\n" { "" } else { "\n" };
            file.write_all(format!("{start}{line}\n").as_bytes())?;
            file.sync_data()
        };
        add().map_err(|error| unwritable(name, &error))
    }

    /// Names in a folder, with whether each is a folder itself; hidden ones only where they may be touched.
    pub fn list(&self, folder: &str) -> Result<Vec<(String, bool)>, Problem> {
        let failed = |error: io::Error| Problem::new(format!("cannot list `{folder}`: {error}"), None);
        let dir = self.folder(folder)?;
        let mut names = Vec::new();
        for entry in dir.entries().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if self.anywhere || !name.starts_with('.') {
                names.push((name, entry.file_type().is_ok_and(|kind| kind.is_dir())));
            }
        }
        names.sort();
        Ok(names)
    }

    /// A name as results have it: from the root where it lies in it.
    pub fn shown(&self, name: &str) -> String {
        let path = Path::new(name);
        let root = self.opened.get().map_or(self.root.as_path(), |(_, root)| root);
        let below = path.strip_prefix(&self.root).or_else(|_| path.strip_prefix(root)).unwrap_or(path);
        below
            .components()
            .filter(|part| *part != std::path::Component::CurDir)
            .collect::<PathBuf>()
            .display()
            .to_string()
    }

    fn place_to_write(&self, name: &str) -> Result<Place, Problem> {
        let place = self.place(name, false)?;
        let (_, root) = self.open_root()?;
        if !self.anywhere
            && !self.named
            && let Some(part) = hidden_part(root)
        {
            return Err(Problem::new(
                format!("cells write no files in {}: it lies in `{part}`, which is hidden", root.display()),
                "start in a folder for this work, or say that it is this one with --files FOLDER".to_owned(),
            ));
        }
        let place = match place {
            Some(place) => place,
            None => self.place(name, true)?.ok_or_else(|| unwritable(name, &io::ErrorKind::NotFound.into()))?,
        };
        // what may be written was decided by the name
        let ending = |path: &Path| path.extension().map(std::ffi::OsStr::to_ascii_lowercase);
        if !self.anywhere && ending(Path::new(&place.name)) != ending(Path::new(name)) {
            return Err(Problem::new(
                format!("`{name}` is a link to `{}`, another kind of file", place.name.to_string_lossy()),
                "choose another name".to_owned(),
            ));
        }
        let below = place.path.strip_prefix(root).unwrap_or(&place.path).to_string_lossy().to_lowercase();
        if !self.anywhere && is_obeyed(&below.replace('\\', "/")) {
            return Err(Problem::new(
                format!("`{name}` leads to `{below}`, from which other programs take orders"),
                "choose another name; start with --allow-outside to lift that".to_owned(),
            ));
        }
        Ok(place)
    }

    /// What is at a place where a cell saves.
    fn there(&self, place: &Place, name: &str) -> Result<There, Problem> {
        match place.folder.symlink_metadata(&place.name) {
            Ok(there) if there.is_file() => {}
            Ok(_) => return Err(Problem::new(format!("`{name}` is no file"), "choose another name".to_owned())),
            Err(_) => return Ok(There::Nothing),
        }
        let Some(mark) = self.written.mark(&place.path) else { return Ok(There::Others) };
        // what is larger than any file of ours is not as cells wrote it
        let there = self.read_if_there(name, MAX_BYTES);
        Ok(match there {
            Ok(None) => There::Nothing,
            Ok(Some(bytes)) if written::mark_of(&bytes) == mark => There::Ours,
            _ => There::Others,
        })
    }

    fn put(&self, place: &Place, bytes: &[u8], replaces: bool) -> io::Result<()> {
        place.put(bytes, replaces)?;
        self.written.remember(&place.path, written::mark_of(bytes));
        Ok(())
    }

    /// The root, which is opened once.
    fn open_root(&self) -> Result<&(Dir, PathBuf), Problem> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let failed = |error: io::Error| {
            let help = "start in a folder that you may read, or with --files FOLDER".to_owned();
            Problem::new(format!("cannot use {}: {error}", self.root.display()), help)
        };
        let path = self.root.canonicalize().map_err(failed)?;
        if !self.anywhere && !self.named && is_home_or_above(&path) {
            return Err(Problem::new(
                format!("cells touch no files of {}: too much lies there that is none of theirs", path.display()),
                "start in a folder for this work, or say which one with --files FOLDER".to_owned(),
            ));
        }
        let dir = Dir::open_ambient_dir(&path, ambient_authority()).map_err(failed)?;
        Ok(self.opened.get_or_init(|| (dir, path)))
    }
}

/// What is at a place where a cell saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    /// A file as cells wrote it.
    Ours,
    /// A file that cells did not write, or that somebody changed since.
    Others,
    /// Nobody looked: whatever it is may be replaced.
    Any,
}

/// The first part of a path that begins with a dot.
fn hidden_part(path: &Path) -> Option<String> {
    let parts = path.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.into_iter().find(|part| part.starts_with('.'))
}

/// The root of all files, the home folder, and what lies between.
fn is_home_or_above(path: &Path) -> bool {
    let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
    path.parent().is_none() || home.is_some_and(|home| home.parent().is_some() && home.starts_with(path))
}

fn not_ours(name: &str, how: &str) -> Problem {
    Problem::new(format!("`{name}` is there already, and not as cells wrote it: it stays as it is"), how.to_owned())
}

fn unwritable(name: &str, error: &io::Error) -> Problem {
    Problem::new(format!("cannot write `{name}`: {error}"), "choose a folder you may write to".to_owned())
}

#[cfg(test)]
mod tests;
