//! Which files cells may touch.

use std::path::{Path, PathBuf};

use longlens_workbench::Trouble;

/// Which files the language may touch.
#[derive(Debug, Clone)]
pub struct Files {
    /// Where relative names start, and what absolute ones must lie in.
    pub root: PathBuf,
    /// Whether files outside are allowed too.
    pub anywhere: bool,
}

impl Files {
    /// Where a file of this name lies. Files that do not exist yet are judged by their folder.
    pub fn path(&self, name: &str) -> Result<PathBuf, Trouble> {
        if name.trim().is_empty() {
            return Err(Trouble::new("there is no file name", "give one, as in \"results.csv\"".to_owned()));
        }
        let path = self.root.join(name);
        if self.anywhere {
            return Ok(path);
        }
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        let outside = || {
            Trouble::new(
                format!("`{name}` lies outside {}", root.display()),
                "cells touch files of the working directory only; start with --allow-outside to lift that".to_owned(),
            )
        };
        // links and `..` are followed as far as folders exist; what does not exist yet cannot lead anywhere else
        let mut there = path.as_path();
        let mut missing = Vec::new();
        let real = loop {
            match there.canonicalize() {
                Ok(real) => break real,
                // a link that leads nowhere could lead outside once its target exists
                Err(_) if there.is_symlink() => return Err(outside()),
                Err(_) => match (there.parent(), there.file_name()) {
                    (Some(parent), Some(name)) => {
                        missing.push(name.to_owned());
                        there = parent;
                    }
                    _ => return Err(outside()),
                },
            }
        };
        if !real.starts_with(&root) {
            return Err(outside());
        }
        Ok(missing.into_iter().rev().fold(real, |path, name| path.join(name)))
    }

    /// A path as results name it: from the root where it lies in it.
    pub fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        let root = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        path.strip_prefix(&self.root).or_else(|_| path.strip_prefix(root)).unwrap_or(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_the_working_directory() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("work");
        std::fs::create_dir_all(root.join("in")).unwrap();
        std::fs::write(outer.path().join("secret"), "x").unwrap();
        let files = Files { root: root.clone(), anywhere: false };
        let real = root.canonicalize().unwrap();
        assert_eq!(files.path("a.csv").unwrap(), real.join("a.csv"));
        assert_eq!(files.path("in/new/b.csv").unwrap(), real.join("in/new/b.csv"));
        assert_eq!(files.path("in/../c").unwrap(), real.join("c"));
        assert_eq!(files.path(real.join("d").to_str().unwrap()).unwrap(), real.join("d"));
        for name in ["../secret", "in/../../secret", "/etc/passwd", "nowhere/../../secret", ".."] {
            assert!(files.path(name).is_err(), "{name}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(outer.path(), root.join("out")).unwrap();
            std::os::unix::fs::symlink(outer.path().join("later"), root.join("dangling")).unwrap();
            assert!(files.path("out/secret").is_err() && files.path("out/new").is_err());
            assert!(files.path("dangling").is_err());
        }
        assert!(Files { anywhere: true, ..files }.path("../secret").is_ok());
    }
}
