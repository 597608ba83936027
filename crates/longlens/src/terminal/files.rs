//! Files that commands write.

use std::fs;
use std::io;
use std::path::Path;

use longlens_app as workbench;

use crate::failure::Failure;

/// Writes a file whole or not at all; what is no file, such as a device or a pipe, is written where it stands.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    workbench::write_whole(path, bytes).map_err(|error| unwritable(path, &error))
}

/// Refuses a file that cannot be written, before anything is computed for it.
pub fn check_writable(path: &Path) -> Result<(), Failure> {
    workbench::check_writable(path).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "create the folder first",
        io::ErrorKind::IsADirectory => "give the name of a file",
        io::ErrorKind::StorageFull => "free some room, or choose another disk",
        io::ErrorKind::FileTooLarge => "raise the limit of a file's size (`ulimit -f`)",
        io::ErrorKind::PermissionDenied if path.is_file() => "choose another name, or allow writing to it",
        _ => "choose a folder you may write to",
    };
    Failure::failed(format!("cannot write {}: {error}", path.display()), Some(help.into()))
}

/// A file that grows beyond `ulimit -f` becomes an error of the write that says so, where the system would end the program.
pub fn limits_are_errors() {
    #[cfg(unix)]
    // SAFETY: made before any other thread starts; no handler runs
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Makes a folder for results.
pub fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| {
        let help = match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                "a file stands there: give --out the name of a folder, or one that is not there yet"
            }
            io::ErrorKind::StorageFull => "free some room, or choose another disk",
            _ => "choose a folder you may write to",
        };
        Failure::failed(format!("cannot make the folder {}: {error}", path.display()), Some(help.into()))
    })
}
