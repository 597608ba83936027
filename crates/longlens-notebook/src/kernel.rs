//! The Jupyter kernel: the language behind five sockets.
//!
//! In: a connection file and a way to make an [`Interpreter`]. Out: Jupyter's messages, protocol 5.3. Two threads: one owns
//! the sockets, so that heartbeats, interrupts and shutdowns are answered while a cell runs; the other owns the
//! interpreter, which never leaves it. Only this machine can talk to a kernel: other addresses are refused.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jupyter_protocol::{ConnectionInfo, KernelInfoReply, ReplyStatus};
use longlens_core::printable::printable_line;
use tokio::runtime::Builder;

use crate::document::language_info;
use crate::interpreter::Interpreter;

pub use install::{Place, command, install, uninstall};

mod channels;
mod complaints;
mod connection;
mod cursor;
mod display;
mod history;
mod install;
mod interrupts;
mod outbox;
mod shell;
mod signatures;
mod sockets;
mod wire;
mod zmtp;

/// Makes the interpreter, on the thread that it then lives on.
pub type Make = Box<dyn FnOnce() -> Box<dyn Interpreter> + Send>;

/// Why there is no kernel, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A file or folder cannot be read, made, written or removed.
    #[error("cannot {what} {}: {cause}", path.display())]
    File {
        /// `read`, `make`, `write` or `remove`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The connection file is no connection file.
    #[error("{} is no Jupyter connection file: {cause}", path.display())]
    Connection {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// The connection file asks for an address that other machines reach.
    #[error("the connection file asks for address `{ip}`, which other machines can reach")]
    NotLoopback {
        /// The address.
        ip: String,
    },
    /// The connection file asks for signatures of another kind.
    #[error("the connection file asks for signatures by `{scheme}`, and this kernel knows hmac-sha256")]
    Signature { scheme: String },
    /// The connection file has no key, and other programs reach its ports.
    #[error("the connection file has an empty key, so any program on this machine could send cells")]
    NoKey,
    /// A socket cannot be bound.
    #[error("cannot listen on {address} for the {socket} channel: {cause}")]
    Bind {
        /// Which channel.
        socket: &'static str,
        /// Where.
        address: String,
        /// What the system says.
        cause: io::Error,
    },
    /// The system gave no thread, or nothing to wait on sockets with.
    #[error("cannot start the kernel: {0}")]
    Start(io::Error),
    /// The thread of the interpreter ended by itself.
    #[error("the interpreter ended unexpectedly")]
    Ended,
    /// A kernel's name that cannot be the name of its folder.
    #[error("`{name}` cannot be the name of a kernel")]
    Name { name: String },
    /// No folder is known where Jupyter keeps its data.
    #[error("{looked} is not set, so it is not known where Jupyter looks for kernels")]
    NoFolder {
        /// Variables that would tell.
        looked: &'static str,
    },
    /// A kernel of this name exists that is not longlens.
    #[error("{} holds another kernel", path.display())]
    NotOurs {
        /// Its folder.
        path: PathBuf,
    },
    /// There is no kernel of this name.
    #[error("there is no kernel in {}", path.display())]
    NotInstalled {
        /// Where its folder would be.
        path: PathBuf,
    },
}

impl KernelError {
    /// What to do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::File { .. } => Some("check that the path exists and that you may write there"),
            Self::Connection { .. } => Some(
                "Jupyter writes this file and names it when it starts a kernel; `longlens kernel install` sets it up",
            ),
            Self::NotLoopback { .. } => Some(
                "use 127.0.0.1, ::1 or localhost, or transport ipc; for another machine, tunnel the ports with ssh",
            ),
            Self::Signature { .. } => Some("set `signature_scheme` to hmac-sha256, Jupyter's default"),
            Self::NoKey => Some("let Jupyter make a key, as it does by default, or use transport ipc"),
            Self::Bind { .. } => Some("another program may use this port; start the kernel again for fresh ports"),
            Self::Start(_) => None,
            Self::Ended => Some("start the kernel again; its variables are lost"),
            Self::Name { .. } => Some("use letters, digits, `.`, `_` and `-`"),
            Self::NoFolder { .. } => Some("set it, or name a folder with `--prefix`"),
            Self::NotOurs { .. } => Some("choose another name with `--name`"),
            Self::NotInstalled { .. } => Some("`jupyter kernelspec list` shows where kernels are"),
        }
    }
}

/// Serves one Jupyter client after the other until a shutdown is asked for; `connection_file` is what Jupyter wrote.
///
/// Ends with [`KernelError::Ended`] when the interpreter's thread dies, so that Jupyter can start a new kernel. A cell that
/// does not stop when it is asked to is left behind: the caller ends the process.
pub fn serve(connection_file: &Path, make: Make) -> Result<(), KernelError> {
    let connection = connection::read(connection_file)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(KernelError::Start)?;
    let served = runtime.block_on(sockets::run(&connection, make));
    remove_socket_files(&connection);
    served
}

/// What the kernel is.
fn info() -> KernelInfoReply {
    let version = env!("CARGO_PKG_VERSION");
    KernelInfoReply {
        status: ReplyStatus::Ok,
        protocol_version: "5.3".into(),
        implementation: "longlens".into(),
        implementation_version: version.into(),
        language_info: serde_json::from_value(language_info())
            .expect("what a notebook says of the language is what a kernel says"),
        banner: format!("longlens {version}: long-context attention, in Rhai"),
        help_links: Vec::new(),
        debugger: false,
        error: None,
    }
}

/// A line for whoever reads the kernel's log.
fn log(line: &str) {
    // a log that cannot be written is no reason to stop
    let _ = writeln!(io::stderr(), "longlens kernel: {}", printable_line(line));
}

/// With transport ipc the sockets are files, which outlive the process that bound them.
fn remove_socket_files(connection: &ConnectionInfo) {
    for path in connection::socket_files(connection) {
        // some were perhaps never made
        let _ = std::fs::remove_file(path);
    }
}
