//! Who is connected to a socket: each connection is one task, which reads, and writes what waits to be sent to it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::frame::{Incoming, Reader, Unsigned, encode_command};
use super::{Dropped, Socket, greeting};
use crate::kernel::complaints::Complaints;

/// Connections of a socket; more are refused.
const MOST: usize = 128;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes that may wait to be sent to a peer, a message counting as [`LEAST`] at least.
const ROOM: usize = 64 << 20;
const LEAST: usize = 256;
/// How long everybody waits for a peer for which no more may wait.
const PATIENCE: Duration = Duration::from_secs(2);
/// Subscriptions of a peer.
const MOST_SUBSCRIPTIONS: usize = 64;

/// One side of the connections to a socket: finds a peer, or tells all of them.
#[derive(Debug, Clone)]
pub(in crate::kernel) struct Peers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Of the channel, for the log.
    name: &'static str,
    connected: Mutex<Connected>,
    unsigned: Unsigned,
    complaints: Complaints,
}

#[derive(Debug, Default)]
struct Connected {
    n_ever: u64,
    /// By number, so the oldest first.
    peers: BTreeMap<u64, (Peer, Option<AbortHandle>)>,
}

/// A connection.
#[derive(Debug, Clone)]
pub(in crate::kernel) struct Peer(Arc<PeerState>);

#[derive(Debug)]
struct PeerState {
    /// Its name here; what it calls itself could be another's name.
    number: u64,
    signed: AtomicBool,
    /// What messages must begin with to be published to it.
    subscriptions: Mutex<Vec<Bytes>>,
    room: Arc<Semaphore>,
    outgoing: mpsc::UnboundedSender<(Bytes, OwnedSemaphorePermit)>,
}

impl Peers {
    /// Nobody yet.
    pub(super) fn new(name: &'static str) -> Self {
        let (connected, unsigned, complaints) = Default::default();
        Self(Arc::new(Shared { name, connected, unsigned, complaints }))
    }

    /// Serves a connection in a task of its own.
    pub(super) fn connect<S: Socket, C>(&self, socket: &Arc<S>, connection: C)
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (outgoing, waiting) = mpsc::unbounded_channel();
        let Some(peer) = self.admit(outgoing) else {
            return self.complain(&format!("refused a connection: {MOST} are open"));
        };
        let (peers, socket, number) = (self.clone(), Arc::clone(socket), peer.0.number);
        let task = tokio::spawn(async move {
            let _gone = Gone { peers: &peers, number };
            match converse(&*socket, &peer, &peers, connection, waiting).await {
                Dropped::Closed | Dropped::Broken(_) => {}
                why => peers.complain(&format!("dropped a connection: {why}")),
            }
        });
        // it has not run yet: both are on one thread, or the entry is gone and there is nothing to stop
        if let Some((_, stop)) = self.connected().peers.get_mut(&number) {
            *stop = Some(task.abort_handle());
        }
    }

    /// The peer of this name, if it is still there.
    pub(in crate::kernel) fn named(&self, name: &[u8]) -> Option<Peer> {
        let number = u64::from_be_bytes(name.try_into().ok()?);
        self.connected().peers.get(&number).map(|(peer, _)| peer.clone())
    }

    /// Sends a message to a peer. One that takes nothing while as much as may wait is waiting loses its connection.
    pub(in crate::kernel) async fn send(&self, peer: &Peer, message: Bytes) {
        self.send_until(peer, message, Instant::now() + PATIENCE).await;
    }

    /// Sends a message to all who subscribed to what it begins with; nobody waits longer for many than for one.
    pub(in crate::kernel) async fn publish(&self, topic: &[u8], message: &Bytes) {
        let subscribed: Vec<Peer> = {
            let connected = self.connected();
            connected.peers.values().filter(|(peer, _)| peer.wants(topic)).map(|(peer, _)| peer.clone()).collect()
        };
        let deadline = Instant::now() + PATIENCE;
        for peer in subscribed {
            self.send_until(&peer, message.clone(), deadline).await;
        }
    }

    /// Returns when nothing waits to be sent any more.
    pub(in crate::kernel) async fn sent(&self) {
        let peers: Vec<Peer> = self.connected().peers.values().map(|(peer, _)| peer.clone()).collect();
        for peer in peers {
            // closed with its peer, so nothing waits
            let _ = peer.0.room.acquire_many(ROOM as u32).await;
        }
    }

    async fn send_until(&self, peer: &Peer, message: Bytes, deadline: Instant) {
        if peer.send(message, deadline).await.is_err() {
            self.complain(&format!("dropped a connection: {}", Dropped::Hung));
            self.end(peer.0.number);
        }
    }

    fn admit(&self, outgoing: mpsc::UnboundedSender<(Bytes, OwnedSemaphorePermit)>) -> Option<Peer> {
        let mut connected = self.connected();
        if connected.peers.len() >= MOST {
            // the oldest that has proved nothing makes place, but of sockets where nobody signs all are kept
            let signs = connected.peers.values().any(|(peer, _)| peer.signed());
            let oldest =
                connected.peers.iter().find(|(_, (peer, _))| signs && !peer.signed()).map(|(number, _)| *number);
            let (_, stop) = connected.peers.remove(&oldest?)?;
            stop.iter().for_each(AbortHandle::abort);
        }
        connected.n_ever += 1;
        let number = connected.n_ever;
        let peer = Peer(Arc::new(PeerState {
            number,
            signed: AtomicBool::new(false),
            subscriptions: Mutex::default(),
            room: Arc::new(Semaphore::new(ROOM)),
            outgoing,
        }));
        connected.peers.insert(number, (peer.clone(), None));
        Some(peer)
    }

    fn complain(&self, line: &str) {
        self.0.complaints.say(&format!("{} channel: {line}", self.0.name));
    }

    fn end(&self, number: u64) {
        let ended = self.connected().peers.remove(&number);
        if let Some((peer, stop)) = ended {
            // whoever waits for room waits no longer
            peer.0.room.close();
            stop.iter().for_each(AbortHandle::abort);
        }
    }

    fn connected(&self) -> MutexGuard<'_, Connected> {
        // every change is one insertion or removal, so whoever panicked inside has left it whole
        self.0.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a peer when its task ends, however that is.
struct Gone<'a> {
    peers: &'a Peers,
    number: u64,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.peers.end(self.number);
    }
}

impl Peer {
    /// What requests of this peer carry, so that replies find it.
    pub(in crate::kernel) fn name(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.number.to_be_bytes())
    }

    /// Whether it has signed a message.
    pub(in crate::kernel) fn signed(&self) -> bool {
        self.0.signed.load(Ordering::Relaxed)
    }

    /// From now on it hears what begins with `topic`.
    pub(in crate::kernel) fn subscribe(&self, topic: Bytes) -> Result<(), Dropped> {
        let mut subscriptions = self.subscriptions();
        if subscriptions.len() == MOST_SUBSCRIPTIONS {
            return Err(Dropped::Protocol("it subscribes to too much"));
        }
        subscriptions.push(topic);
        Ok(())
    }

    /// Takes one subscription back.
    pub(in crate::kernel) fn unsubscribe(&self, topic: &Bytes) {
        let mut subscriptions = self.subscriptions();
        if let Some(idx) = subscriptions.iter().position(|subscribed| subscribed == topic) {
            subscriptions.swap_remove(idx);
        }
    }

    /// Sends to it from its own connection.
    pub(in crate::kernel) async fn answer(&self, message: Bytes) -> Result<(), Dropped> {
        self.send(message, Instant::now() + PATIENCE).await
    }

    fn wants(&self, topic: &[u8]) -> bool {
        self.subscriptions().iter().any(|subscribed| topic.starts_with(subscribed))
    }

    fn subscriptions(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.0.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, message: Bytes, deadline: Instant) -> Result<(), Dropped> {
        let n_bytes = message.len().clamp(LEAST, ROOM) as u32;
        let room = Arc::clone(&self.0.room).acquire_many_owned(n_bytes);
        match timeout_at(deadline, room).await {
            Ok(Ok(permit)) => {
                // it may be gone, and then nobody misses the message
                let _ = self.0.outgoing.send((message, permit));
                Ok(())
            }
            Ok(Err(_)) => Ok(()),
            Err(_) => Err(Dropped::Hung),
        }
    }
}

/// Serves a connection until there is a reason to end it.
async fn converse<S: Socket, C: AsyncRead + AsyncWrite + Send>(
    socket: &S,
    peer: &Peer,
    peers: &Peers,
    connection: C,
    mut waiting: mpsc::UnboundedReceiver<(Bytes, OwnedSemaphorePermit)>,
) -> Dropped {
    let (source, mut sink) = split(connection);
    let mut reader = Reader::new(BufReader::new(source), S::LIMITS, peers.0.unsigned.clone());
    let handshake = async {
        sink.write_all(&greeting::ours()).await?;
        greeting::check(&reader.exactly().await?)?;
        sink.write_all(&encode_command(&greeting::ready(S::TYPE))).await?;
        match reader.next().await? {
            Incoming::Command(command) => greeting::check_ready(&command, S::PEERS),
            Incoming::Message(_) => Err(Dropped::Protocol("a message before READY")),
        }
    };
    match timeout(HANDSHAKE, handshake).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => return why,
        Err(_) => return Dropped::Slow,
    }
    let writes = async {
        while let Some((message, _permit)) = waiting.recv().await {
            sink.write_all(&message).await?;
        }
        Err::<(), _>(Dropped::Closed)
    };
    let reads = async {
        loop {
            match reader.next().await? {
                Incoming::Command(command) => obey(command, peer).await?,
                Incoming::Message(message) => {
                    if socket.take(peer, message).await? && !peer.signed() {
                        peer.0.signed.store(true, Ordering::Relaxed);
                        reader.trust();
                    }
                }
            }
        }
    };
    let ended: Result<(), Dropped> = tokio::select! {
        ended = writes => ended,
        ended = reads => ended,
    };
    ended.err().unwrap_or(Dropped::Closed)
}

/// Does what a command after the handshake asks for; what is unknown is passed over.
async fn obey(mut command: Bytes, peer: &Peer) -> Result<(), Dropped> {
    let name = greeting::name(&mut command).ok_or(Dropped::Protocol("a command without a name"))?;
    match &name[..] {
        b"PING" => {
            // two bytes of time, then up to 16 that come back
            let context = command.get(2..command.len().min(18)).unwrap_or_default();
            let pong = [b"\x04PONG", context].concat();
            peer.answer(encode_command(&pong.into())).await
        }
        b"SUBSCRIBE" => peer.subscribe(command),
        b"CANCEL" => {
            peer.unsubscribe(&command);
            Ok(())
        }
        b"ERROR" => Err(Dropped::Closed),
        _ => Ok(()),
    }
}
