//! Who is connected to a socket, and what waits to be sent to each of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::conversation::converse;
use super::frame::Unsigned;
use super::{Dropped, Socket};
use crate::kernel::complaints::Complaints;

/// Connections of a socket.
const MOST: usize = 128;
/// Bytes that may wait to be sent: publications all together, and replies to each peer that has signed a message.
const ROOM: usize = 64 << 20;
/// The same of a peer that has signed nothing, to whom heartbeats go back.
const UNSIGNED_ROOM: usize = 64 << 10;
/// What a message counts as at least, for each peer that it is sent to.
const LEAST: usize = 256;
/// How long a peer for which no more may wait is waited for; with publications, how long in all.
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
    /// Room for publications, each of which is held once however many peers it waits for.
    published: Arc<Semaphore>,
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
    standing: AtomicU8,
    /// What messages must begin with to be published to it.
    subscriptions: Mutex<Vec<Bytes>>,
    /// Room for replies.
    room: Arc<Semaphore>,
    /// Bytes that wait to be sent to it.
    n_waiting: AtomicUsize,
    /// Microseconds that publications have waited for it.
    waited_us: AtomicU64,
    outgoing: mpsc::UnboundedSender<Waiting>,
}

/// How far a peer has come towards proving that it belongs here; whoever has come least far leaves first when there are too
/// many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Connected, greeted at most.
    Silent,
    /// Has sent something that the protocol allows, a subscription or a heartbeat say.
    Spoke,
    /// Has signed a message.
    Signed,
}

/// A message on its way to a peer, and the room that it holds until it is written.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: Bytes,
    _room: Arc<OwnedSemaphorePermit>,
}

impl Peers {
    /// Nobody yet.
    pub(super) fn new(name: &'static str) -> Self {
        let (connected, unsigned, complaints) = Default::default();
        let published = Arc::new(Semaphore::new(ROOM));
        Self(Arc::new(Shared { name, connected, unsigned, published, complaints }))
    }

    /// Serves a connection in a task of its own.
    pub(super) fn connect<S: Socket, C>(&self, socket: &Arc<S>, connection: C)
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (outgoing, waiting) = mpsc::unbounded_channel();
        let Some(peer) = self.admit(outgoing) else {
            return self.complain(&format!("refused a connection: {MOST} clients are connected"));
        };
        let (peers, socket, number) = (self.clone(), Arc::clone(socket), peer.0.number);
        let task = tokio::spawn(async move {
            let _gone = Gone { peers: &peers, number };
            match converse(&*socket, &peer, peers.0.unsigned.clone(), connection, waiting).await {
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
        if let Err(why) = peer.answer(message).await {
            self.lose(peer, &why);
        }
    }

    /// Sends a message to all who subscribed to what it begins with.
    pub(in crate::kernel) async fn publish(&self, topic: &[u8], message: &Bytes) {
        let subscribed = self.all(|peer| peer.wants(topic));
        let n_bytes = message.len().max(LEAST * subscribed.len()).min(ROOM);
        let Some(room) = self.room(n_bytes as u32).await.map(Arc::new) else { return };
        for peer in subscribed {
            peer.put(message.clone(), Arc::clone(&room));
        }
    }

    /// Returns when nothing waits to be sent any more.
    pub(in crate::kernel) async fn sent(&self) {
        let _ = self.0.published.acquire_many(ROOM as u32).await;
        for peer in self.all(Peer::signed) {
            // closed with its peer, so nothing waits
            let _ = peer.0.room.acquire_many(ROOM as u32).await;
        }
    }

    /// Room for a publication. While there is none, the peers for which most waits are waited for, and leave when their time is
    /// over: so no number of peers that read slowly holds the kernel up for long, and none holds much of its memory.
    async fn room(&self, n_bytes: u32) -> Option<OwnedSemaphorePermit> {
        loop {
            let behind = self.all(|peer| peer.n_waiting() > 0);
            let most = behind.iter().map(Peer::n_waiting).max().unwrap_or(0);
            let slowest: Vec<Peer> = behind.into_iter().filter(|peer| peer.n_waiting() >= most / 2).collect();
            // with nobody behind, the room comes back when the tasks of those who left have ended
            let left = slowest.iter().map(Peer::patience_left).min().unwrap_or(PATIENCE);
            let begun = Instant::now();
            let acquired = timeout(left, Arc::clone(&self.0.published).acquire_many_owned(n_bytes)).await;
            for peer in &slowest {
                peer.0.waited_us.fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
            }
            if let Ok(permit) = acquired {
                // an error when it is closed, which it never is
                return permit.ok();
            }
            for peer in slowest.iter().filter(|peer| peer.patience_left().is_zero()) {
                self.lose(peer, &Dropped::Hung);
            }
        }
    }

    fn admit(&self, outgoing: mpsc::UnboundedSender<Waiting>) -> Option<Peer> {
        let mut connected = self.connected();
        if connected.peers.len() >= MOST {
            let leaves = connected.leaves()?;
            connected.remove(leaves);
        }
        connected.n_ever += 1;
        let number = connected.n_ever;
        let peer = Peer(Arc::new(PeerState {
            number,
            standing: AtomicU8::new(Standing::Silent as u8),
            subscriptions: Mutex::default(),
            room: Arc::new(Semaphore::new(UNSIGNED_ROOM)),
            n_waiting: AtomicUsize::new(0),
            waited_us: AtomicU64::new(0),
            outgoing,
        }));
        connected.peers.insert(number, (peer.clone(), None));
        Some(peer)
    }

    fn all(&self, chosen: impl Fn(&Peer) -> bool) -> Vec<Peer> {
        self.connected().peers.values().filter(|(peer, _)| chosen(peer)).map(|(peer, _)| peer.clone()).collect()
    }

    fn lose(&self, peer: &Peer, why: &Dropped) {
        self.complain(&format!("dropped a connection: {why}"));
        self.connected().remove(peer.0.number);
    }

    fn complain(&self, line: &str) {
        self.0.complaints.say(&format!("{} channel: {line}", self.0.name));
    }

    fn connected(&self) -> MutexGuard<'_, Connected> {
        // every change is one insertion or removal, so whoever panicked inside has left it whole
        self.0.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected {
    /// Who makes place for one more; nobody when all have signed a message.
    fn leaves(&self) -> Option<u64> {
        let mut unsigned = self.peers.iter().filter(|(_, (peer, _))| !peer.signed());
        let silent = |(_, (peer, _)): &(&u64, &(Peer, _))| peer.standing() == Standing::Silent as u8;
        // the oldest of the silent, so that one that has just come has the time to speak; of those that speak the last that
        // came, so that clients that were there before a crowd stay
        let leaves = unsigned.clone().find(silent).or_else(|| unsigned.next_back());
        leaves.map(|(number, _)| *number)
    }

    fn remove(&mut self, number: u64) {
        if let Some((peer, stop)) = self.peers.remove(&number) {
            // whoever waits for room waits no longer
            peer.0.room.close();
            stop.iter().for_each(AbortHandle::abort);
        }
    }
}

/// Removes a peer when its task ends, however that is.
struct Gone<'a> {
    peers: &'a Peers,
    number: u64,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.peers.connected().remove(self.number);
    }
}

impl Peer {
    /// What requests of this peer carry, so that replies find it.
    pub(in crate::kernel) fn name(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.number.to_be_bytes())
    }

    /// Whether it has signed a message.
    pub(in crate::kernel) fn signed(&self) -> bool {
        self.standing() == Standing::Signed as u8
    }

    /// It has come this far at least.
    pub(super) fn rises_to(&self, standing: Standing) {
        let before = self.0.standing.fetch_max(standing as u8, Ordering::Relaxed);
        if standing == Standing::Signed && before < standing as u8 {
            self.0.room.add_permits(ROOM - UNSIGNED_ROOM);
        }
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

    /// Sends to it; an error when it takes nothing while as much as may wait is waiting.
    pub(in crate::kernel) async fn answer(&self, message: Bytes) -> Result<(), Dropped> {
        let most = if self.signed() { ROOM } else { UNSIGNED_ROOM };
        let n_bytes = message.len().clamp(LEAST, most) as u32;
        match timeout(PATIENCE, Arc::clone(&self.0.room).acquire_many_owned(n_bytes)).await {
            Ok(Ok(permit)) => self.put(message, Arc::new(permit)),
            // it is gone
            Ok(Err(_)) => {}
            Err(_) => return Err(Dropped::Hung),
        }
        Ok(())
    }

    /// A message has been written to its connection.
    pub(super) fn sent(&self, sent: &Waiting) {
        self.0.n_waiting.fetch_sub(sent.message.len(), Ordering::Relaxed);
        // who reads a megabyte a second is not waited for; who reads a byte now and then is
        let credit = sent.message.len() as u64;
        let _ =
            self.0.waited_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |us| Some(us.saturating_sub(credit)));
    }

    fn put(&self, message: Bytes, room: Arc<OwnedSemaphorePermit>) {
        self.0.n_waiting.fetch_add(message.len(), Ordering::Relaxed);
        // it may be gone, and then nobody misses the message
        let _ = self.0.outgoing.send(Waiting { message, _room: room });
    }

    fn n_waiting(&self) -> usize {
        self.0.n_waiting.load(Ordering::Relaxed)
    }

    fn patience_left(&self) -> Duration {
        PATIENCE.saturating_sub(Duration::from_micros(self.0.waited_us.load(Ordering::Relaxed)))
    }

    fn standing(&self) -> u8 {
        self.0.standing.load(Ordering::Relaxed)
    }

    fn wants(&self, topic: &[u8]) -> bool {
        self.subscriptions().iter().any(|subscribed| topic.starts_with(subscribed))
    }

    fn subscriptions(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.0.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
