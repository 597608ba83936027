//! Where connections come from: a port of this machine, or a file.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jupyter_protocol::{ConnectionInfo, Transport};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::{Peers, Socket};

/// After a connection that could not be taken, for want of file handles say.
const PAUSE: Duration = Duration::from_millis(50);

/// A place where peers connect.
pub(in crate::kernel) struct Listener(Kind);

enum Kind {
    Tcp(TcpListener),
    #[cfg(unix)]
    Ipc {
        listener: tokio::net::UnixListener,
        owner: u32,
    },
}

impl Listener {
    /// Listens at a port of a connection file; with transport ipc the port is the end of a file's name.
    pub(in crate::kernel) async fn bind(connection: &ConnectionInfo, port: u16) -> io::Result<Self> {
        match connection.transport {
            Transport::TCP => {
                let address = format!("{}:{port}", connection.ip);
                Ok(Self(Kind::Tcp(TcpListener::bind(address).await?)))
            }
            Transport::IPC => Self::bind_file(&format!("{}-{port}", connection.ip)),
        }
    }

    #[cfg(unix)]
    fn bind_file(path: &str) -> io::Result<Self> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
        use std::os::unix::net::UnixStream;
        use std::{fs, path::Path};

        let path = Path::new(path);
        let is_left = |path: &Path| {
            fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
                && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        if is_left(path) {
            // of a kernel that was killed; nobody listens there
            fs::remove_file(path)?;
        }
        let listener = tokio::net::UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let owner = fs::symlink_metadata(path)?.uid();
        Ok(Self(Kind::Ipc { listener, owner }))
    }

    #[cfg(not(unix))]
    fn bind_file(_path: &str) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "transport ipc needs Unix"))
    }

    /// Takes connections as long as the program runs; the log calls them by the name of the channel.
    pub(in crate::kernel) fn serve<S: Socket>(self, name: &'static str, socket: S) -> Peers {
        let peers = Peers::new(name);
        tokio::spawn(self.accept(Arc::new(socket), peers.clone()));
        peers
    }

    async fn accept<S: Socket>(self, socket: Arc<S>, peers: Peers) {
        loop {
            if self.accept_one(&socket, &peers).await.is_err() {
                sleep(PAUSE).await;
            }
        }
    }

    async fn accept_one<S: Socket>(&self, socket: &Arc<S>, peers: &Peers) -> io::Result<()> {
        match &self.0 {
            Kind::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // replies are small, and somebody waits for each; it fails for a peer that has left already
                let _ = stream.set_nodelay(true);
                peers.connect(socket, stream);
            }
            #[cfg(unix)]
            Kind::Ipc { listener, owner } => {
                let (stream, _) = listener.accept().await?;
                // the file's mode says so too, but only from a moment after it is bound, and not all systems look at it
                if [*owner, 0].contains(&stream.peer_cred()?.uid()) {
                    peers.connect(socket, stream);
                }
            }
        }
        Ok(())
    }
}
