//! A connection from its handshake to its end.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, split};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::frame::{Incoming, Reader, Unsigned, encode_command};
use super::peers::{Standing, Waiting};
use super::{Dropped, Peer, Socket, greeting};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves a connection until there is a reason to end it.
pub(super) async fn converse<S: Socket, C: AsyncRead + AsyncWrite + Send>(
    socket: &S,
    peer: &Peer,
    unsigned: Unsigned,
    connection: C,
    mut waiting: mpsc::UnboundedReceiver<Waiting>,
) -> Dropped {
    let (source, mut sink) = split(connection);
    let mut reader = Reader::new(BufReader::new(source), S::LIMITS, unsigned);
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
        while let Some(next) = waiting.recv().await {
            sink.write_all(&next.message).await?;
            peer.sent(&next);
        }
        Err::<(), _>(Dropped::Closed)
    };
    let reads = async {
        loop {
            let incoming = reader.next().await?;
            peer.rises_to(Standing::Spoke);
            match incoming {
                Incoming::Command(command) => obey(command, peer).await?,
                Incoming::Message(message) => {
                    if socket.take(peer, message).await? && !peer.signed() {
                        peer.rises_to(Standing::Signed);
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
