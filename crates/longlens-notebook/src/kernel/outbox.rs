//! What the kernel says, in the order in which it says it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jupyter_protocol::{JupyterMessage, JupyterMessageContent, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::log;
use super::signatures::Signatures;
use super::wire;
use super::zmtp::{Peers, encode};

/// How long printed text waits for more of it, so that a loop that prints is no flood of messages.
const TOGETHER: Duration = Duration::from_millis(15);
/// Bytes of printed text that go out at once.
const MOST_TOGETHER: usize = 1 << 18;
/// Messages that may wait to be sent before the interpreter waits with them.
const WAITING: usize = 512;

/// Something to send, or the wish to know that everything before it has been sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    Message(Channel, Box<JupyterMessage>),
    /// Told when its turn comes.
    Flush(oneshot::Sender<()>),
}

/// A channel of the protocol that the kernel sends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// Replies to requests that wait their turn.
    Shell,
    /// Replies to requests that do not.
    Control,
    /// What all clients see.
    IoPub,
}

/// The sending sides of the sockets.
pub(super) struct Senders {
    pub(super) signatures: Arc<Signatures>,
    pub(super) shell: Peers,
    pub(super) control: Peers,
    pub(super) iopub: Peers,
}

/// Where the interpreter's thread puts messages.
#[derive(Debug, Clone)]
pub(super) struct Outbox(mpsc::Sender<Outgoing>);

/// A way in and a way out.
pub(super) fn queue() -> (mpsc::Sender<Outgoing>, mpsc::Receiver<Outgoing>) {
    mpsc::channel(WAITING)
}

impl Outbox {
    /// For the interpreter's thread alone: it waits when the sockets are behind.
    pub(super) fn new(sender: mpsc::Sender<Outgoing>) -> Self {
        Self(sender)
    }

    /// Answers a request on the shell channel.
    pub(super) fn reply(&self, content: impl Into<JupyterMessageContent>, request: &JupyterMessage) {
        self.put(reply(Channel::Shell, content, request));
    }

    /// Tells all clients something that comes from a request.
    pub(super) fn publish(&self, content: impl Into<JupyterMessageContent>, request: &JupyterMessage) {
        self.put(publish(content, Some(request)));
    }

    /// Puts a message in; waits while too many wait to be sent.
    pub(super) fn put(&self, outgoing: Outgoing) {
        // without a receiver the kernel is ending, and nobody listens
        let _ = self.0.blocking_send(outgoing);
    }
}

/// An answer to a request, on the channel that the request came by.
pub(super) fn reply(channel: Channel, content: impl Into<JupyterMessageContent>, request: &JupyterMessage) -> Outgoing {
    Outgoing::Message(channel, Box::new(message(content, Some(request))))
}

/// Something for all clients.
pub(super) fn publish(content: impl Into<JupyterMessageContent>, request: Option<&JupyterMessage>) -> Outgoing {
    let mut message = message(content, request);
    // what a subscriber filters by
    message.zmq_identities = vec![message.header.msg_type.clone().into()];
    Outgoing::Message(Channel::IoPub, Box::new(message))
}

/// The status at the start of a request's work.
pub(super) fn busy(request: &JupyterMessage) -> Outgoing {
    publish(Status::busy(), Some(request))
}

/// The status at its end.
pub(super) fn idle(request: &JupyterMessage) -> Outgoing {
    publish(Status::idle(), Some(request))
}

/// Sends until nobody puts anything in any more.
pub(super) async fn deliver(mut outgoing: mpsc::Receiver<Outgoing>, senders: Senders) {
    let mut kept = None;
    loop {
        let next = match kept.take() {
            Some(next) => Some(next),
            None => outgoing.recv().await,
        };
        match next {
            None => return,
            Some(Outgoing::Flush(done)) => {
                senders.sent().await;
                // who asked may have given up waiting
                let _ = done.send(());
            }
            Some(Outgoing::Message(channel, mut message)) => {
                kept = gather(&mut message, &mut outgoing).await;
                senders.send(channel, &message).await;
            }
        }
    }
}

impl Senders {
    async fn send(&self, channel: Channel, message: &JupyterMessage) {
        let frames = match wire::write(message, &self.signatures) {
            Ok(frames) => frames,
            Err(error) => return log(&format!("could not send {}: {error}", message.header.msg_type)),
        };
        match channel {
            Channel::Shell => answer(&self.shell, &frames).await,
            Channel::Control => answer(&self.control, &frames).await,
            Channel::IoPub => self.iopub.publish(&frames[0], &encode(&frames)).await,
        }
    }

    /// Returns when everything has been handed to the system.
    async fn sent(&self) {
        tokio::join!(self.shell.sent(), self.control.sent(), self.iopub.sent());
    }
}

/// Sends to the peer that the first frame names.
async fn answer(peers: &Peers, frames: &[Bytes]) {
    let Some((name, frames)) = frames.split_first() else { return };
    // who asked may be gone
    if let Some(peer) = peers.named(name) {
        peers.send(&peer, encode(frames)).await;
    }
}

/// Adds to printed text what is printed right after it; returns the message that ended this.
async fn gather(message: &mut JupyterMessage, outgoing: &mut mpsc::Receiver<Outgoing>) -> Option<Outgoing> {
    let deadline = Instant::now() + TOGETHER;
    loop {
        match &message.content {
            JupyterMessageContent::StreamContent(stream) if stream.text.len() < MOST_TOGETHER => {}
            _ => return None,
        }
        let next = timeout_at(deadline, outgoing.recv()).await.ok().flatten()?;
        if let Some(other) = join(message, next) {
            return Some(other);
        }
    }
}

/// Appends printed text of the same request; anything else comes back.
fn join(message: &mut JupyterMessage, next: Outgoing) -> Option<Outgoing> {
    let Outgoing::Message(channel, mut more) = next else { return Some(next) };
    let parent = |message: &JupyterMessage| message.parent_header.as_ref().map(|header| header.msg_id.clone());
    if parent(message) == parent(&more)
        && let JupyterMessageContent::StreamContent(stream) = &mut message.content
        && let JupyterMessageContent::StreamContent(text) = &mut more.content
    {
        stream.text.push_str(&text.text);
        return None;
    }
    Some(Outgoing::Message(channel, more))
}

fn message(content: impl Into<JupyterMessageContent>, request: Option<&JupyterMessage>) -> JupyterMessage {
    let mut message = JupyterMessage::new(content, request);
    message.header.username = "longlens".into();
    message
}

#[cfg(test)]
mod tests {
    use jupyter_protocol::{ExecuteRequest, StreamContent};

    use super::*;

    fn printed(text: &str, request: &JupyterMessage) -> Outgoing {
        publish(StreamContent::stdout(text), Some(request))
    }

    fn gathered(outgoing: Vec<Outgoing>) -> (String, Option<Outgoing>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (sender, mut receiver) = queue();
            for outgoing in outgoing {
                sender.send(outgoing).await.unwrap();
            }
            let Some(Outgoing::Message(Channel::IoPub, mut message)) = receiver.recv().await else { panic!("no text") };
            let kept = gather(&mut message, &mut receiver).await;
            let JupyterMessageContent::StreamContent(stream) = message.content else { panic!("no text") };
            (stream.text, kept)
        })
    }

    #[test]
    fn text_of_one_request_goes_out_together() {
        let request: JupyterMessage = ExecuteRequest::new("1".into()).into();
        let (text, kept) = gathered(vec![printed("a", &request), printed("b\n", &request), idle(&request)]);
        assert_eq!(text, "ab\n");
        assert!(matches!(kept, Some(Outgoing::Message(_, message)) if message.header.msg_type == "status"));
    }

    #[test]
    fn text_of_another_request_does_not() {
        let (one, other): (JupyterMessage, JupyterMessage) =
            (ExecuteRequest::new("1".into()).into(), ExecuteRequest::new("2".into()).into());
        let (text, kept) = gathered(vec![printed("a", &one), printed("b", &other)]);
        assert_eq!(text, "a");
        assert!(kept.is_some());
    }

    #[test]
    fn what_is_published_names_its_request_and_its_kind() {
        let request: JupyterMessage = ExecuteRequest::new("1".into()).into();
        let Outgoing::Message(Channel::IoPub, message) = busy(&request) else { panic!("no message") };
        assert_eq!(message.parent_header.unwrap().msg_id, request.header.msg_id);
        assert_eq!(&message.zmq_identities[0][..], b"status");
    }
}
