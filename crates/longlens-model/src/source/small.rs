//! Files that are read whole: of a kind and a size that make sense, or an error before a byte is read.
//!
//! A checkpoint is what somebody else packed. A config that is a link to a device never ends, one that is a pipe waits for
//! ever, and one of gigabytes fills the memory.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Bytes of a config at most.
pub const CONFIG_LIMIT: u64 = 16 << 20;

/// The bytes of a file of at most `limit` bytes; `None` where nothing is.
pub fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let len = file.metadata()?.len();
    if len > limit {
        return Err(too_large(len, limit));
    }
    let mut bytes = Vec::with_capacity(len as usize);
    // the file may grow meanwhile
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large(bytes.len() as u64, limit)) } else { Ok(Some(bytes)) }
}

/// A file that is one: no folder, pipe or device. `None` where nothing is.
pub(crate) fn open(path: &Path) -> io::Result<Option<File>> {
    // looked at before it is opened, since opening a device can do things
    match fs::metadata(path) {
        Ok(metadata) => plain(metadata.file_type())?,
        Err(error) if error.kind() == ErrorKind::NotFound => return dangling(path).map_or(Ok(None), Err),
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // a pipe that took its place since would wait for a writer
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    plain(file.metadata()?.file_type())?;
    Ok(Some(file))
}

fn plain(kind: FileType) -> io::Result<()> {
    if kind.is_file() { Ok(()) } else { Err(io::Error::other(format!("it is {}, not a file", name(kind)))) }
}

#[cfg(unix)]
fn name(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn name(kind: FileType) -> &'static str {
    if kind.is_dir() { "a folder" } else { "something else" }
}

/// What is wrong where a link leads nowhere.
fn dangling(path: &Path) -> Option<io::Error> {
    let target = fs::read_link(path).ok()?;
    Some(io::Error::other(format!("it is a link to {}, which is not there", target.display())))
}

fn too_large(len: u64, limit: u64) -> io::Error {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    io::Error::other(format!("it has {} MiB, and such a file has at most {}", mib(len), mib(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        read(path, 1 << 20).unwrap_err().to_string()
    }

    #[test]
    fn files_are_read_up_to_their_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert_eq!(read(&path, 4).unwrap(), None);
        fs::write(&path, "1234").unwrap();
        assert_eq!(read(&path, 4).unwrap().unwrap(), b"1234");
        assert_eq!(read(&path, 3).unwrap_err().to_string(), "it has 1 MiB, and such a file has at most 1");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(refusal(&path), "it has 1048576 MiB, and such a file has at most 1");
        assert_eq!(refusal(folder.path()), "it is a folder, not a file");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_devices_and_links_to_nothing_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        assert_eq!(refusal(&at("pipe")), "it is a pipe, not a file");
        for (name, target, expected) in [
            ("zero", "/dev/zero", "it is a device, not a file"),
            ("to-pipe", "pipe", "it is a pipe, not a file"),
            ("gone", "../../blobs/abc", "it is a link to ../../blobs/abc, which is not there"),
        ] {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
            assert_eq!(refusal(&at(name)), expected);
        }
    }
}
