//! The connection file: where to listen, and with which key messages are signed.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jupyter_protocol::{ConnectionInfo, Transport};

use super::KernelError;

/// Reads a connection file and makes sure that only this machine is listened to.
pub(super) fn read(path: &Path) -> Result<ConnectionInfo, KernelError> {
    let text =
        fs::read_to_string(path).map_err(|cause| KernelError::File { what: "read", path: path.into(), cause })?;
    let connection =
        serde_json::from_str(&text).map_err(|cause| KernelError::Connection { path: path.into(), cause })?;
    check(connection)
}

/// Files that the sockets leave behind: none with transport tcp.
pub(super) fn socket_files(connection: &ConnectionInfo) -> Vec<PathBuf> {
    if connection.transport == Transport::TCP {
        return Vec::new();
    }
    [connection.shell_port, connection.iopub_port, connection.stdin_port, connection.control_port, connection.hb_port]
        .map(|port| PathBuf::from(format!("{}-{port}", connection.ip)))
        .into()
}

fn check(mut connection: ConnectionInfo) -> Result<ConnectionInfo, KernelError> {
    // an empty key means unsigned messages, whatever the scheme says: any program of any user could send them to a port, while
    // the files of ipc have an owner
    if connection.key.is_empty() && connection.transport == Transport::TCP {
        return Err(KernelError::NoKey);
    }
    if !connection.key.is_empty() && connection.signature_scheme != "hmac-sha256" {
        return Err(KernelError::Signature { scheme: connection.signature_scheme });
    }
    if connection.transport == Transport::TCP {
        connection.ip = loopback(&connection.ip).ok_or(KernelError::NotLoopback { ip: connection.ip })?;
    }
    Ok(connection)
}

/// The address as a socket wants it, if only this machine reaches it.
fn loopback(ip: &str) -> Option<String> {
    if ip == "localhost" {
        // clients look for it here, whatever the system's name service would answer
        return Some("127.0.0.1".into());
    }
    match ip.trim_start_matches('[').trim_end_matches(']').parse().ok()? {
        IpAddr::V4(address) => address.is_loopback().then(|| address.to_string()),
        IpAddr::V6(address) => address.is_loopback().then(|| format!("[{address}]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(ip: &str, transport: Transport) -> ConnectionInfo {
        ConnectionInfo {
            ip: ip.into(),
            transport,
            shell_port: 1,
            iopub_port: 2,
            stdin_port: 3,
            control_port: 4,
            hb_port: 5,
            key: "secret".into(),
            signature_scheme: "hmac-sha256".into(),
            kernel_name: None,
        }
    }

    #[test]
    fn only_this_machine_is_listened_to() {
        let bound = |ip: &str| check(connection(ip, Transport::TCP)).map(|connection| connection.shell_url());
        assert_eq!(bound("127.0.0.1").unwrap(), "tcp://127.0.0.1:1");
        assert_eq!(bound("127.3.2.1").unwrap(), "tcp://127.3.2.1:1");
        assert_eq!(bound("localhost").unwrap(), "tcp://127.0.0.1:1");
        assert_eq!(bound("::1").unwrap(), "tcp://[::1]:1");
        for ip in ["0.0.0.0", "192.168.1.4", "::", "example.com", "localhost.example.com", "*", ""] {
            let error = bound(ip).unwrap_err();
            assert!(matches!(&error, KernelError::NotLoopback { ip: refused } if refused == ip), "{ip}: {error}");
        }
    }

    #[test]
    fn a_path_is_listened_to_as_it_is() {
        let connection = check(connection("/tmp/kernel-1-ipc", Transport::IPC)).unwrap();
        assert_eq!(connection.shell_url(), "ipc:///tmp/kernel-1-ipc-1");
        assert_eq!(socket_files(&connection)[4], PathBuf::from("/tmp/kernel-1-ipc-5"));
    }

    #[test]
    fn messages_are_signed_unless_the_sockets_have_an_owner() {
        for transport in [Transport::TCP, Transport::IPC] {
            let mut other = connection("127.0.0.1", transport.clone());
            other.signature_scheme = "hmac-md5".into();
            assert!(matches!(check(other.clone()), Err(KernelError::Signature { .. })));
            other.key.clear();
            assert_eq!(check(other).is_ok(), transport == Transport::IPC);
        }
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel.json");
        assert!(read(&path).unwrap_err().to_string().starts_with("cannot read "));
        fs::write(&path, r#"{"ip": "127.0.0.1", "transport": "carrier-pigeon"}"#).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("carrier-pigeon"), "{error}");
        assert!(error.help().is_some());
    }
}
