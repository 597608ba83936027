//! Jupyter's sockets: the part of `ZeroMQ`'s protocol that a kernel speaks, ZMTP 3 as a server with its NULL mechanism
//! (<https://rfc.zeromq.org/spec/23/>).
//!
//! Any program of any user reaches a port of this machine, and proves who it is only with its first signed message. So a frame's
//! length is compared with what its sender may say before anything is reserved, bytes are held as they come and no
//! further, and a greeting, a message, a connection that waits and what waits to be sent to it all have an end. A peer that
//! breaks a rule loses its connection and nothing else happens. Read `frame.rs` first, then
//! `peers.rs` and `conversation.rs`.

use std::io;
use std::time::Duration;

use bytes::Bytes;

pub(super) use self::frame::encode;
pub(super) use self::listener::Listener;
pub(super) use self::peers::{Peer, Peers};

mod conversation;
mod frame;
mod greeting;
mod listener;
mod peers;

/// What a socket does with its peers' messages.
pub(super) trait Socket: Send + Sync + 'static {
    /// What it is called in the handshake: `ROUTER`, `PUB`, `REP`.
    const TYPE: &'static str;
    /// The kinds of sockets that may connect to it.
    const PEERS: &'static [&'static str];
    /// What a message may be until the peer has signed one.
    const LIMITS: Limits;

    /// Takes a message. An error ends the connection; `Ok(true)` says that the peer has proved to know the key.
    fn take(&self, peer: &Peer, message: Vec<Bytes>) -> impl Future<Output = Result<bool, Dropped>> + Send;
}

/// How much a peer may say at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of a message.
    pub(super) n_bytes: usize,
    /// Frames of a message.
    pub(super) n_frames: usize,
    /// How long a message may take from its first byte to its last.
    pub(super) patience: Duration,
}

impl Limits {
    /// Of peers that have signed a message: as much as a cell with files in it can be.
    pub(super) const SIGNED: Self = Self { n_bytes: 256 << 20, n_frames: 1024, patience: Duration::from_mins(10) };
    /// Of peers that may send requests and have sent none yet: a long first cell.
    pub(super) const UNSIGNED: Self = Self { n_bytes: 16 << 20, n_frames: 64, patience: Duration::from_secs(30) };
    /// Of peers that have next to nothing to say: heartbeats and subscriptions.
    pub(super) const SMALL: Self = Self { n_bytes: 4 << 10, n_frames: 16, patience: Duration::from_secs(30) };
}

/// Why a connection ended, or a message was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Dropped {
    /// The peer went away between two messages.
    #[error("it went away")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// What came is no ZMTP 3, or not of a kind that fits.
    #[error("{0}")]
    Protocol(&'static str),
    /// More than it may say.
    #[error("it announced {n_bytes} bytes, and may send {most}")]
    TooLarge {
        /// What the frames announce together.
        n_bytes: u64,
        /// What is allowed.
        most: usize,
    },
    /// A message of too many frames.
    #[error("a message of more than {most} frames")]
    TooMany {
        /// What is allowed.
        most: usize,
    },
    /// A greeting or an unsigned message was not done in time.
    #[error("it took too long")]
    Slow,
    /// All unsigned peers together hold too much.
    #[error("peers that have signed nothing hold too much already")]
    Crowded,
    /// It does not take what is sent to it.
    #[error("it does not read what it is sent")]
    Hung,
    /// Its message is not signed as it should be.
    #[error("{0}")]
    Refused(&'static str),
}
