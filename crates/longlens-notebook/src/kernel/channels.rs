//! What each of Jupyter's channels does with a message.

use std::sync::Arc;

use bytes::Bytes;
use jupyter_protocol::JupyterMessage;
use tokio::sync::mpsc;

use super::complaints::Complaints;
use super::signatures::Signatures;
use super::wire::{self, Unread};
use super::zmtp::{Dropped, Limits, Peer, Socket, encode};

/// Shell and control: requests with a signature.
pub(super) struct Requests {
    channel: &'static str,
    signatures: Arc<Signatures>,
    queue: mpsc::UnboundedSender<JupyterMessage>,
    complaints: Complaints,
}

impl Requests {
    /// The channel, and where its requests come out. As many as clients with the key send may wait: a front end that runs a
    /// whole notebook sends all of its cells, and those behind one that fails must be here to be skipped.
    pub(super) fn new(
        channel: &'static str,
        signatures: &Arc<Signatures>,
    ) -> (Self, mpsc::UnboundedReceiver<JupyterMessage>) {
        let (queue, queued) = mpsc::unbounded_channel();
        (Self { channel, signatures: Arc::clone(signatures), queue, complaints: Complaints::default() }, queued)
    }
}

impl Socket for Requests {
    const TYPE: &'static str = "ROUTER";
    const PEERS: &'static [&'static str] = &["DEALER", "REQ", "ROUTER"];
    const LIMITS: Limits = Limits::UNSIGNED;

    async fn take(&self, peer: &Peer, message: Vec<Bytes>) -> Result<bool, Dropped> {
        match wire::read(peer.name(), &message, &self.signatures) {
            Ok(request) => {
                // its buffers may be large, and nothing here reads them
                drop(message);
                // without a receiver the kernel is ending
                let _ = self.queue.send(request);
                Ok(true)
            }
            // whoever has signed nothing is let go; a client that has is not lost for one message
            Err(Unread::Unsigned(why)) if !peer.signed() => Err(Dropped::Refused(why)),
            Err(why) => {
                self.complaints.say(&format!("dropped a message on the {} channel: {why}", self.channel));
                Ok(matches!(why, Unread::Wrong(_)))
            }
        }
    }
}

/// Publications: everybody hears what they subscribe to.
pub(super) struct Publisher;

impl Socket for Publisher {
    const TYPE: &'static str = "PUB";
    const PEERS: &'static [&'static str] = &["SUB", "XSUB"];
    const LIMITS: Limits = Limits::SMALL;

    async fn take(&self, peer: &Peer, message: Vec<Bytes>) -> Result<bool, Dropped> {
        match message.first().and_then(|frame| frame.split_first().map(|(kind, _)| (*kind, frame.slice(1..)))) {
            Some((1, topic)) => peer.subscribe(topic)?,
            Some((0, topic)) => peer.unsubscribe(&topic),
            // a message from a subscriber that may publish too; nobody hears it
            _ => {}
        }
        Ok(false)
    }
}

/// Heartbeat: the same comes back.
pub(super) struct Heartbeat;

impl Socket for Heartbeat {
    const TYPE: &'static str = "REP";
    const PEERS: &'static [&'static str] = &["REQ", "DEALER"];
    const LIMITS: Limits = Limits::SMALL;

    async fn take(&self, peer: &Peer, message: Vec<Bytes>) -> Result<bool, Dropped> {
        peer.answer(encode(&message)).await?;
        Ok(false)
    }
}

/// Stdin: clients connect to it, but no cell ever asks for input.
pub(super) struct Stdin;

impl Socket for Stdin {
    const TYPE: &'static str = "ROUTER";
    const PEERS: &'static [&'static str] = &["DEALER", "REQ", "ROUTER"];
    const LIMITS: Limits = Limits::SMALL;

    async fn take(&self, _peer: &Peer, _message: Vec<Bytes>) -> Result<bool, Dropped> {
        Ok(false)
    }
}
