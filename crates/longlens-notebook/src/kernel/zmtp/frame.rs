//! Frames: a byte of flags, a length, and so many bytes; a message is frames up to the one that says that no more follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use super::{Dropped, Limits};

/// Flags of a frame.
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
/// Bytes of a command: subscriptions and the properties of a handshake.
const MAX_COMMAND: u64 = 4 << 10;
/// Bytes that are asked for at once, whatever a frame announces.
const STEP: usize = 64 << 10;
/// Bytes of an unsigned message that are not counted against what all unsigned peers may hold, so that a first request
/// always finds room.
const FREE: usize = 64 << 10;
/// Bytes beyond that which all unsigned peers may hold together.
const MOST_UNSIGNED: usize = 64 << 20;

/// Something that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// For the protocol itself.
    Command(Bytes),
    /// For whoever owns the socket; at least one frame.
    Message(Vec<Bytes>),
}

/// Reads frames within limits.
pub(super) struct Reader<R> {
    source: R,
    limits: Limits,
    /// Whether the peer has signed a message.
    signed: bool,
    unsigned: Unsigned,
}

/// What all peers that have signed nothing hold together.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsigned(Arc<AtomicUsize>);

/// What one message holds of it; given back when dropped.
struct Reservation<'a> {
    unsigned: &'a Unsigned,
    n_bytes: usize,
}

impl<R: AsyncRead + Unpin + Send> Reader<R> {
    /// Reads from `source`, within `limits` until the peer has signed a message.
    pub(super) fn new(source: R, limits: Limits, unsigned: Unsigned) -> Self {
        Self { source, limits, signed: false, unsigned }
    }

    /// The peer has proved to know the key: it may say more.
    pub(super) fn trust(&mut self) {
        self.limits = Limits::SIGNED;
        self.signed = true;
    }

    /// So many bytes, without frames around them.
    pub(super) async fn exactly<const N: usize>(&mut self) -> Result<[u8; N], Dropped> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).await?;
        Ok(bytes)
    }

    /// The next command or message. A peer may be silent before it for as long as it likes.
    pub(super) async fn next(&mut self) -> Result<Incoming, Dropped> {
        let mut flags = [0];
        if self.source.read(&mut flags).await? == 0 {
            return Err(Dropped::Closed);
        }
        timeout(self.limits.patience, self.rest(flags[0])).await.map_err(|_| Dropped::Slow)?
    }

    async fn rest(&mut self, mut flags: u8) -> Result<Incoming, Dropped> {
        let Self { source, limits, signed, unsigned } = self;
        let mut held = Reservation { unsigned, n_bytes: 0 };
        let (mut frames, mut n_bytes) = (Vec::new(), 0);
        loop {
            let len = length(source, flags).await?;
            if flags & COMMAND != 0 {
                // nothing may stand between the frames of a message
                if flags & MORE != 0 || !frames.is_empty() {
                    return Err(Dropped::Protocol("a command inside a message"));
                }
                within(len, MAX_COMMAND as usize)?;
                return Ok(Incoming::Command(body(source, len as usize, |_| Ok(())).await?));
            }
            within(len.saturating_add(n_bytes as u64), limits.n_bytes)?;
            if frames.len() == limits.n_frames {
                return Err(Dropped::TooMany { most: limits.n_frames });
            }
            let frame = body(source, len as usize, |n| if *signed { Ok(()) } else { held.to(n_bytes + n) }).await?;
            n_bytes += frame.len();
            frames.push(frame);
            if flags & MORE == 0 {
                return Ok(Incoming::Message(frames));
            }
            flags = source.read_u8().await?;
        }
    }
}

impl Reservation<'_> {
    /// The message holds so many bytes now.
    fn to(&mut self, n_bytes: usize) -> Result<(), Dropped> {
        let counted = n_bytes.saturating_sub(FREE);
        let more = counted.saturating_sub(self.n_bytes);
        let before = self.unsigned.0.fetch_add(more, Ordering::Relaxed);
        self.n_bytes += more;
        if more > 0 && before + more > MOST_UNSIGNED { Err(Dropped::Crowded) } else { Ok(()) }
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.unsigned.0.fetch_sub(self.n_bytes, Ordering::Relaxed);
    }
}

/// The length of a frame with these flags.
async fn length<R: AsyncRead + Unpin>(source: &mut R, flags: u8) -> Result<u64, Dropped> {
    if flags & !(MORE | LONG | COMMAND) != 0 {
        return Err(Dropped::Protocol("a frame with flags that ZMTP does not know"));
    }
    Ok(if flags & LONG == 0 { source.read_u8().await?.into() } else { source.read_u64().await? })
}

fn within(n_bytes: u64, most: usize) -> Result<(), Dropped> {
    if n_bytes > most as u64 { Err(Dropped::TooLarge { n_bytes, most }) } else { Ok(()) }
}

/// The bytes of a frame. Room is made for what has come, a step ahead, and not for what was announced; `grows` hears how
/// many there are before more are read.
async fn body<R: AsyncRead + Unpin>(
    source: &mut R,
    len: usize,
    mut grows: impl FnMut(usize) -> Result<(), Dropped>,
) -> Result<Bytes, Dropped> {
    let mut body = BytesMut::new();
    while body.len() < len {
        let step = STEP.min(len - body.len());
        grows(body.len() + step)?;
        body.reserve(step);
        let n_read = (&mut *source).take(step as u64).read_buf(&mut body).await?;
        if n_read == 0 {
            return Err(Dropped::Protocol("it went away in the middle of a frame"));
        }
    }
    Ok(body.freeze())
}

/// A message as bytes on the wire; at least one frame.
pub(in crate::kernel) fn encode(frames: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(frames.iter().map(|frame| frame.len() + 9).sum());
    for (idx, frame) in frames.iter().enumerate() {
        put(&mut bytes, frame, if idx + 1 < frames.len() { MORE } else { 0 });
    }
    bytes.freeze()
}

/// A command as bytes on the wire.
pub(super) fn encode_command(body: &Bytes) -> Bytes {
    let mut bytes = BytesMut::with_capacity(body.len() + 9);
    put(&mut bytes, body, COMMAND);
    bytes.freeze()
}

fn put(bytes: &mut BytesMut, body: &Bytes, flags: u8) {
    if let Ok(len) = u8::try_from(body.len()) {
        bytes.put_slice(&[flags, len]);
    } else {
        bytes.put_u8(flags | LONG);
        bytes.put_u64(body.len() as u64);
    }
    bytes.put_slice(body);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn now<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    /// Everything in these bytes, and why there is no more.
    fn read(bytes: &[u8], limits: Limits) -> (Vec<Incoming>, Dropped) {
        let unsigned = Unsigned::default();
        let mut reader = Reader::new(bytes, limits, unsigned.clone());
        let mut found = Vec::new();
        let why = now(async {
            loop {
                match reader.next().await {
                    Ok(incoming) => found.push(incoming),
                    Err(why) => return why,
                }
            }
        });
        assert_eq!(unsigned.0.load(Ordering::Relaxed), 0, "everything was given back");
        (found, why)
    }

    const LIMITS: Limits = Limits { n_bytes: 1000, n_frames: 4, patience: Duration::from_millis(50) };

    #[test]
    fn lengths_are_compared_before_anything_is_reserved() {
        for len in [1001, 8 << 30, 1 << 40, 1 << 62, u64::MAX] {
            for flags in [LONG, LONG | MORE, LONG | COMMAND] {
                let mut bytes = vec![flags];
                bytes.extend(len.to_be_bytes());
                let (found, why) = read(&bytes, LIMITS);
                let is_command = flags & COMMAND != 0 && len <= MAX_COMMAND;
                assert!(found.is_empty() && (is_command || matches!(why, Dropped::TooLarge { .. })), "{len}: {why}");
            }
        }
    }

    #[test]
    fn frames_add_up() {
        let frames = |n, len| encode(&vec![Bytes::from(vec![7; len]); n]);
        assert!(matches!(read(&frames(4, 250), LIMITS), (found, Dropped::Closed) if found.len() == 1));
        assert!(matches!(read(&frames(4, 251), LIMITS).1, Dropped::TooLarge { n_bytes: 1004, .. }));
        assert!(matches!(read(&frames(5, 0), LIMITS).1, Dropped::TooMany { most: 4 }));
    }

    #[test]
    fn what_the_protocol_does_not_know_is_refused() {
        for bytes in [&[8, 0][..], &[0x80, 0], &[COMMAND | MORE, 0], &[MORE, 0, COMMAND, 0], &[0, 5, 1], &[LONG, 0]] {
            assert!(!matches!(read(bytes, LIMITS).1, Dropped::Closed), "{bytes:?}");
        }
    }

    #[test]
    fn unsigned_peers_share_what_they_may_hold() {
        let unsigned = Unsigned::default();
        let mut first = Reservation { unsigned: &unsigned, n_bytes: 0 };
        first.to(FREE + MOST_UNSIGNED).unwrap();
        let mut second = Reservation { unsigned: &unsigned, n_bytes: 0 };
        second.to(FREE).unwrap();
        assert!(matches!(second.to(FREE + 1), Err(Dropped::Crowded)));
        drop(first);
        second.to(FREE + 2).unwrap();
    }

    #[test]
    fn an_unsigned_message_has_an_end() {
        now(async {
            let (mut peer, source) = tokio::io::duplex(64);
            tokio::io::AsyncWriteExt::write_all(&mut peer, &[0, 9, 1]).await.unwrap();
            let mut reader = Reader::new(source, LIMITS, Unsigned::default());
            assert!(matches!(reader.next().await, Err(Dropped::Slow)));
        });
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            messages in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..4), 0..4),
            piece in 1..700usize,
        ) {
            let messages: Vec<Vec<Bytes>> =
                messages.into_iter().map(|frames| frames.into_iter().map(Bytes::from).collect()).collect();
            let found = now(async {
                let (mut peer, source) = tokio::io::duplex(piece);
                let bytes: Vec<u8> = messages.iter().flat_map(|frames| encode(frames)).collect();
                tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut peer, &bytes).await });
                let mut reader = Reader::new(source, Limits { n_bytes: 2000, ..LIMITS }, Unsigned::default());
                let mut found = Vec::new();
                while let Ok(Incoming::Message(frames)) = reader.next().await {
                    found.push(frames);
                }
                found
            });
            prop_assert_eq!(found, messages);
        }

        #[test]
        fn any_bytes_end_in_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..300), flags in 0..8u8) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = flags;
            }
            let (found, _) = read(&bytes, LIMITS);
            for incoming in found {
                if let Incoming::Message(frames) = incoming {
                    prop_assert!(frames.len() <= 4 && frames.iter().map(Bytes::len).sum::<usize>() <= 1000);
                }
            }
        }
    }
}
