//! From a name to a folder that is open and a name in it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use cap_fs_ext::DirExt;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use longlens_app::Problem;

use super::{Files, outside};

/// Where a file is, or will be.
#[derive(Debug)]
pub struct Place {
    /// The folder that holds it.
    pub folder: Dir,
    /// Its name there; no link.
    pub name: OsString,
    /// The whole path, for memory and messages.
    pub path: PathBuf,
}

/// Links on the way to one file; Linux gives up at as many.
const MAX_LINKS: usize = 40;

impl Files {
    /// The place of a file. `None` where a folder above it is missing, unless folders are to be made.
    pub(super) fn place(&self, name: &str, makes: bool) -> Result<Option<Place>, Problem> {
        let mut walk = Walk::start(self, name)?;
        let place = walk.go(makes)?;
        if place.as_ref().is_some_and(|place| place.name.is_empty()) {
            return Err(Problem::new(format!("`{name}` is a folder"), "give the name of a file".to_owned()));
        }
        Ok(place)
    }

    /// A folder, open.
    pub(super) fn folder(&self, name: &str) -> Result<Dir, Problem> {
        let missing = |error: io::Error| Problem::new(format!("cannot list `{name}`: {error}"), None);
        let mut walk = Walk::start(self, name)?;
        let place = walk.go(false)?.ok_or_else(|| missing(io::ErrorKind::NotFound.into()))?;
        if place.name.is_empty() {
            return Ok(place.folder);
        }
        place.folder.open_dir_nofollow(&place.name).map_err(missing)
    }
}

impl Place {
    /// Writes beside the file and puts it in place, as `write_whole` does, but in the folder that is open. Where a file is that
    /// this one does not replace, the error is [`io::ErrorKind::AlreadyExists`], whenever that file came to be.
    pub fn put(&self, bytes: &[u8], replaces: bool) -> io::Result<()> {
        let beside = longlens_app::part_name(&self.name);
        let fill = || -> io::Result<File> {
            let mut file = self.folder.open_with(&beside, OpenOptions::new().write(true).create_new(true))?.into_std();
            // a part that nobody holds is cleared away by the next program that writes here
            let _ = file.try_lock();
            if let Ok(there) = self.folder.symlink_metadata(&self.name)
                && there.is_file()
            {
                if there.permissions().readonly() {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                // before the first byte: nobody else may read what was not theirs to read
                file.set_permissions(there.permissions().into_std(&file)?)?;
            }
            file.write_all(bytes)?;
            file.sync_all().map(|()| file)
        };
        let written = fill().and_then(|_held| {
            if replaces {
                self.folder.rename(&beside, &self.folder, &self.name)
            } else {
                self.name_new(OsStr::new(&beside))
            }
        });
        if written.is_err() || !replaces {
            // the error of the write is the one worth telling
            let _ = self.folder.remove_file(&beside);
        }
        written
    }

    /// Gives what is written its name, unless something has that name by now: a second name is never taken from another file, as
    /// a rename would.
    fn name_new(&self, beside: &OsStr) -> io::Result<()> {
        match self.folder.hard_link(beside, &self.folder, &self.name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // a disk whose files have one name each
                self.folder.open_with(&self.name, OpenOptions::new().write(true).create_new(true))?;
                self.folder.rename(beside, &self.folder, &self.name)
            }
            linked => linked,
        }
    }
}

/// A way from the root to a file, folder by folder.
struct Walk<'a> {
    files: &'a Files,
    /// The name as the cell has it.
    name: &'a str,
    root: &'a Path,
    /// Open folders, the root first, each with its path.
    open: Vec<(Dir, PathBuf)>,
    /// Parts of the name that are still to go.
    ahead: VecDeque<OsString>,
    n_links: usize,
}

impl<'a> Walk<'a> {
    fn start(files: &'a Files, name: &'a str) -> Result<Self, Problem> {
        if name.trim().is_empty() || name.contains('\0') {
            return Err(Problem::new("there is no file name", "give one, as in \"results.csv\"".to_owned()));
        }
        let (dir, root) = files.open_root()?;
        let path = Path::new(name);
        let start = (clone(dir, name)?, root.clone());
        let mut walk = Self { files, name, root, open: vec![start], ahead: VecDeque::new(), n_links: 0 };
        walk.take(path)?;
        // said before a folder is made on the way
        let mut depth = 0_usize;
        for part in &walk.ahead {
            walk.seen(part)?;
            match part == ".." {
                true if depth == 0 && !files.is_anywhere() => return Err(walk.outside()),
                true => depth = depth.saturating_sub(1),
                false => depth += 1,
            }
        }
        Ok(walk)
    }

    /// Puts a path in front of what is still to go: a name that a cell gave, or what a link holds.
    fn take(&mut self, path: &Path) -> Result<(), Problem> {
        let below = match path.strip_prefix(self.root).or_else(|_| path.strip_prefix(self.files.root())) {
            Ok(below) => {
                self.open.truncate(1);
                below
            }
            Err(_) if path.has_root() && self.files.is_anywhere() => {
                // at once: folders on the way may be closed to this user, who may use those below
                let there = path.ancestors().skip(1).find_map(|above| Some((above, above.canonicalize().ok()?)));
                let (above, real) = there.unwrap_or((path, path.to_owned()));
                let opened = Dir::open_ambient_dir(&real, ambient_authority());
                self.open = vec![(opened.map_err(|error| super::unwritable(self.name, &error))?, real)];
                path.strip_prefix(above).unwrap_or(path)
            }
            Err(_) if path.has_root() => return Err(self.outside()),
            Err(_) => path,
        };
        let parts: Vec<OsString> = below
            .components()
            .filter(|part| *part != Component::CurDir)
            .map(|part| part.as_os_str().to_owned())
            .collect();
        for part in parts.into_iter().rev() {
            self.ahead.push_front(part);
        }
        Ok(())
    }

    fn go(&mut self, makes: bool) -> Result<Option<Place>, Problem> {
        let failed = |name: &str, error: io::Error| {
            Problem::new(format!("cannot use `{name}`: {error}"), "choose a folder you may use".to_owned())
        };
        while let Some(part) = self.ahead.pop_front() {
            if part == ".." {
                self.up()?;
                continue;
            }
            self.seen(&part)?;
            let (dir, path) = self.open.last().expect("the root is open");
            let there = dir.symlink_metadata(&part);
            if there.as_ref().is_ok_and(cap_std::fs::Metadata::is_symlink) {
                self.n_links += 1;
                let target = dir.read_link_contents(&part).map_err(|error| failed(self.name, error))?;
                if self.n_links > MAX_LINKS {
                    return Err(failed(self.name, io::Error::other("too many links lead on from it")));
                }
                self.take(&target)?;
                continue;
            }
            if self.ahead.is_empty() && !there.as_ref().is_ok_and(cap_std::fs::Metadata::is_dir) {
                let place = Place { folder: clone(dir, self.name)?, path: path.join(&part), name: part };
                return Ok(Some(place));
            }
            let is_missing = there.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            if is_missing && !makes {
                return Ok(None);
            }
            if is_missing
                && let Err(error) = dir.create_dir(&part)
                && error.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(failed(self.name, error));
            }
            // what became a link meanwhile is not followed
            let next = dir.open_dir_nofollow(&part).map_err(|error| failed(self.name, error))?;
            let path = path.join(&part);
            self.open.push((next, path));
        }
        let (dir, path) = self.open.last().expect("the root is open");
        Ok(Some(Place { folder: clone(dir, self.name)?, name: OsString::new(), path: path.clone() }))
    }

    /// Refuses a part of a name, or of what a link holds, that is hidden.
    fn seen(&self, part: &OsString) -> Result<(), Problem> {
        let part = part.to_string_lossy();
        if self.files.is_anywhere() || part == ".." || !part.starts_with('.') {
            return Ok(());
        }
        Err(self.hidden(&part))
    }

    fn up(&mut self) -> Result<(), Problem> {
        if self.open.len() > 1 {
            self.open.pop();
            return Ok(());
        }
        let (dir, path) = self.open.last().expect("the root is open");
        if !self.files.is_anywhere() {
            return Err(self.outside());
        }
        let above = dir.open_parent_dir(ambient_authority()).map_err(|error| super::unwritable(self.name, &error))?;
        let path = path.parent().unwrap_or(path).to_owned();
        self.open = vec![(above, path)];
        Ok(())
    }

    fn outside(&self) -> Problem {
        outside(self.name, self.root)
    }

    fn hidden(&self, part: &str) -> Problem {
        let (name, part) = (self.name, part.to_owned());
        let what = if name == part {
            format!("`{name}` is hidden")
        } else {
            format!("`{name}` leads through `{part}`, which is hidden")
        };
        Problem::new(
            what,
            "cells touch no files and folders whose names begin with a dot; start with --allow-outside to lift that"
                .to_owned(),
        )
    }
}

fn clone(dir: &Dir, name: &str) -> Result<Dir, Problem> {
    dir.try_clone().map_err(|error| super::unwritable(name, &error))
}
