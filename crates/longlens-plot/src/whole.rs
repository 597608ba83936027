//! Files that are written whole or not at all.
//!
//! Everything longlens writes for a user, but for what cells save, goes through here. Bytes grow in a file beside the one they are for, go down to the
//! disk and take its place in one step, so a reader never sees half a file and a crash leaves the old or the new one.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use tempfile::NamedTempFile;

/// Writes a file whole or not at all.
///
/// - A link is followed: what it leads to is written, and the link stays.
/// - A file that is there keeps its permissions; one that may not be written is not replaced either.
/// - What is no file, such as a device or a pipe, is written where it stands.
/// - What a killed program left half written in the folder is cleared away.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, |out| out.write_all(bytes), false)
}

/// The same of a file whose bytes `make` writes piece by piece, as of one that memory has no room for; after an error of its there is
/// no file, or the one that was there.
pub fn write_whole_with(path: &Path, make: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    write(path, make, false)
}

/// As [`write_whole`], and nobody but the user may read the file, whoever could before.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, |out| out.write_all(bytes), true)
}

/// Whether [`write_whole`] could write here, found out without touching what is there.
pub fn check_writable(path: &Path) -> io::Result<()> {
    if stands(path) {
        return if path.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) };
    }
    let path = target(path)?;
    may_replace(&path)?;
    part(&path, false)?.close()
}

fn write(path: &Path, make: impl FnOnce(&mut dyn Write) -> io::Result<()>, private: bool) -> io::Result<()> {
    if stands(path) {
        return make(&mut File::create(path)?);
    }
    let path = target(path)?;
    may_replace(&path)?;
    tidy(&path);
    let mut part = part(&path, private)?;
    if let Ok(there) = fs::metadata(&path).as_ref()
        && there.is_file()
        && !private
    {
        // before the first byte: nobody else may read what was not theirs to read
        part.as_file().set_permissions(there.permissions())?;
    }
    let mut out = BufWriter::new(part.as_file_mut());
    make(&mut out)?;
    out.flush()?;
    drop(out);
    part.as_file().sync_all()?;
    // locked until the file has its name, or another program could clear it away
    part.persist(&path).map(drop).map_err(|failed| failed.error)
}

/// Whether something is there that a file must not take the place of.
fn stands(path: &Path) -> bool {
    // a program's own outputs are known to others by handle: a file that takes the place of theirs is seen by nobody
    let is_handle = ["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"].iter().any(|handles| path.starts_with(handles));
    fs::metadata(path).is_ok_and(|there| is_handle || !there.is_file())
}

/// A rename asks the folder alone; somebody who took the right to write from a file meant the file.
fn may_replace(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.permissions().readonly() => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(()),
    }
}

/// Where a path leads; the end of a chain of links need not exist.
fn target(path: &Path) -> io::Result<PathBuf> {
    // a system that does not follow a stranger's link in a shared folder has a reason
    if let Err(error) = fs::metadata(path)
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        return Err(error);
    }
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links lead on from it"))
}

/// Links in a row; Linux gives up at as many.
const MAX_LINKS: usize = 40;

/// What the name of a part ends with: nobody else's files do.
const ENDING: &str = ".longlens.part";

/// The name under which a file grows until it is whole: `.NAME.PROCESS-COUNT.longlens.part`. A name that is long already loses
/// its end.
pub fn part_name(name: &OsStr) -> String {
    static N_MADE: AtomicUsize = AtomicUsize::new(0);
    let count = N_MADE.fetch_add(1, Ordering::Relaxed);
    let name = name.to_string_lossy();
    let end = name.floor_char_boundary(200);
    format!(".{}.{}-{count}{ENDING}", &name[..end], std::process::id())
}

/// A file that grows beside the one it is for, locked for as long as it is open. It goes away unless it takes that one's place.
fn part(path: &Path, private: bool) -> io::Result<NamedTempFile> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = private; // folders of a user are private there
    let name = part_name(path.file_name().unwrap_or_default());
    let mut part = tempfile::Builder::new();
    part.prefix(name.strip_suffix(ENDING).unwrap_or(&name)).suffix(ENDING);
    // opened here: an error of `tempfile` itself would name the part, which nobody knows
    let part = part.make_in(folder(path), |path| options.open(path))?;
    // where files cannot be locked, the number of the process alone tells others that it is still written
    let _ = part.as_file().try_lock();
    Ok(part)
}

/// The folder of a file.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Clears away what killed programs left in the folder of a file, once a folder.
fn tidy(path: &Path) {
    static DONE: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);
    let folder = folder(path);
    let is_new = DONE.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
    // a folder that cannot be listed can be written to all the same
    let files = is_new.then(|| fs::read_dir(folder)).and_then(Result::ok).into_iter().flatten().flatten();
    for file in files {
        let name = file.file_name();
        if name.to_str().is_some_and(|name| process_of(name).is_some_and(|process| !runs(process)))
            // a pipe of that name would wait for somebody to write
            && file.file_type().is_ok_and(|kind| kind.is_file())
            && is_unlocked(&file.path())
        {
            let _ = fs::remove_file(file.path()); // somebody else may have been quicker
        }
    }
}

/// The process that wrote a part of this name; nothing where it is none.
fn process_of(name: &str) -> Option<u32> {
    let (_, process) = name.strip_suffix(ENDING)?.strip_prefix('.')?.rsplit_once('.')?;
    process.split_once('-')?.0.parse().ok()
}

/// Whether a process of this number runs. Where nobody tells, it may.
fn runs(process: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new(&format!("/proc/{process}")).exists()
}

/// Numbers of processes differ between containers that share a folder; a lock holds in all of them.
fn is_unlocked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for bytes in [&b"one"[..], b"", b"three"] {
            check_writable(&path).unwrap();
            write_whole(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        let below = folder.path().join("none/a");
        for refused in [write_whole(&below, b""), check_writable(&below)] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        assert!(write_whole(folder.path(), b"").is_err() && check_writable(folder.path()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_killed_programs_left_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let own = std::process::id();
        let held = File::create(at(".held.4294967295-0.longlens.part")).unwrap();
        held.try_lock().unwrap();
        for name in [
            ".a.4294967295-7.longlens.part".to_owned(),
            ".b.c.4294967294-0.longlens.part".to_owned(),
            format!(".alive.{own}-0.longlens.part"),
            ".film.2021-05.part".to_owned(),
            "a.4294967295-7.longlens.part".to_owned(),
            ".longlens.part".to_owned(),
        ] {
            fs::write(at(&name), "half").unwrap();
        }
        write_whole(&at("new"), b"").unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let mut kept = vec![
            format!(".alive.{own}-0.longlens.part"),
            ".film.2021-05.part".to_owned(),
            ".held.4294967295-0.longlens.part".to_owned(),
            ".longlens.part".to_owned(),
            "a.4294967295-7.longlens.part".to_owned(),
            "new".to_owned(),
        ];
        if !Path::new("/proc/self").exists() {
            kept.extend([".a.4294967295-7.longlens.part".to_owned(), ".b.c.4294967294-0.longlens.part".to_owned()]);
            kept.sort();
        }
        assert_eq!(left, kept);
    }

    #[test]
    fn long_names_leave_room_for_the_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ü".repeat(120));
        write_whole(&path, b"x").unwrap();
        assert_eq!(fs::read(path).unwrap(), b"x");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        fs::create_dir(at("inner")).unwrap();
        fs::write(at("inner/file"), "old").unwrap();
        fs::set_permissions(at("inner/file"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("inner/file", at("near")).unwrap();
        symlink(at("near"), at("far")).unwrap();
        symlink("inner/new", at("dangling")).unwrap();
        symlink("round", at("round")).unwrap();
        write_whole(&at("far"), b"new").unwrap();
        write_whole(&at("dangling"), b"new").unwrap();
        assert!(write_whole(&at("round"), b"new").is_err());
        for name in ["near", "far", "dangling", "round"] {
            assert!(at(name).is_symlink(), "{name}");
        }
        assert_eq!(
            (fs::read(at("inner/file")).unwrap(), fs::read(at("inner/new")).unwrap()),
            (b"new".into(), b"new".into())
        );
        assert_eq!(mode("inner/file"), 0o640);
        assert_eq!(fs::read_dir(at("inner")).unwrap().count(), 2);
        write_private(&at("inner/file"), b"mine").unwrap();
        assert_eq!(mode("inner/file"), 0o600);
        fs::set_permissions(at("inner/file"), fs::Permissions::from_mode(0o444)).unwrap();
        for refused in [write_whole(&at("far"), b"no"), check_writable(&at("far"))] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
        assert_eq!(fs::read(at("inner/file")).unwrap(), b"mine");
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_written_where_they_stand() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        check_writable(&pipe).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_whole(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        std::os::unix::fs::symlink("/dev/null", folder.path().join("null")).unwrap();
        write_whole(&folder.path().join("null"), b"x").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        if cfg!(target_os = "linux") {
            assert!(write_whole(Path::new("/dev/full"), b"x").is_err());
        }
    }
}
