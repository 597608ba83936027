//! The handshake: a greeting of 64 bytes from both sides, then a command in which each says what kind of socket it is.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Dropped;

/// Bytes of a greeting.
pub(super) const LEN: usize = 64;

/// Version 3.0, under which subscriptions are messages; no security beyond what Jupyter's messages have themselves.
pub(super) fn ours() -> [u8; LEN] {
    let mut greeting = [0; LEN];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// Checks the other side's greeting.
pub(super) fn check(greeting: &[u8; LEN]) -> Result<(), Dropped> {
    if greeting[0] != 0xff || greeting[9] != 0x7f {
        return Err(Dropped::Protocol("it does not greet as ZeroMQ does"));
    }
    if greeting[10] < 3 {
        return Err(Dropped::Protocol("it speaks a version of ZMTP before 3"));
    }
    let mechanism = &greeting[12..32];
    if !mechanism.starts_with(b"NULL") || mechanism[4..].iter().any(|&byte| byte != 0) {
        return Err(Dropped::Protocol("it asks for another mechanism than NULL"));
    }
    Ok(())
}

/// The body of the command that ends the handshake.
pub(super) fn ready(socket_type: &str) -> Bytes {
    let mut body = BytesMut::new();
    body.put_slice(b"\x05READY\x0bSocket-Type");
    body.put_u32(socket_type.len() as u32);
    body.put_slice(socket_type.as_bytes());
    body.freeze()
}

/// Checks that the other side is ready, and one of the kinds in `allowed`.
pub(super) fn check_ready(command: &Bytes, allowed: &[&str]) -> Result<(), Dropped> {
    const WRONG: Dropped = Dropped::Protocol("its READY command is broken");
    let mut rest = command.clone();
    if name(&mut rest).as_deref() != Some(b"READY") {
        return Err(Dropped::Protocol("it begins with another command than READY"));
    }
    let mut socket_type = None;
    while rest.has_remaining() {
        let property = word(&mut rest).ok_or(WRONG)?;
        let len = rest.try_get_u32().map_err(|_| WRONG)? as usize;
        if len > rest.len() {
            return Err(WRONG);
        }
        let value = rest.split_to(len);
        if property.eq_ignore_ascii_case(b"Socket-Type") {
            socket_type = Some(value);
        }
    }
    match socket_type {
        Some(found) if allowed.iter().any(|kind| kind.as_bytes() == found) => Ok(()),
        _ => Err(Dropped::Protocol("its kind of socket does not belong here")),
    }
}

/// The name that a command begins with; what follows is left.
pub(super) fn name(command: &mut Bytes) -> Option<Bytes> {
    word(command)
}

/// A text with its length before it.
fn word(bytes: &mut Bytes) -> Option<Bytes> {
    let len = usize::from(bytes.try_get_u8().ok()?);
    (len <= bytes.len()).then(|| bytes.split_to(len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_handshake_is_accepted() {
        check(&ours()).unwrap();
        check_ready(&ready("DEALER"), &["REQ", "DEALER"]).unwrap();
        assert!(check_ready(&ready("PULL"), &["REQ", "DEALER"]).is_err());
    }

    #[test]
    fn other_properties_are_passed_over() {
        let command = Bytes::from_static(b"\x05READY\x08Identity\0\0\0\x02ab\x0bsocket-type\0\0\0\x03SUB\x01X\0\0\0\0");
        check_ready(&command, &["SUB"]).unwrap();
    }

    #[test]
    fn what_is_no_greeting_is_refused() {
        for (place, byte) in [(0, 0xfe), (9, 0), (10, 2), (12, b'P'), (16, b'X')] {
            let mut greeting = ours();
            greeting[place] = byte;
            assert!(check(&greeting).is_err(), "{place}");
        }
    }

    #[test]
    fn a_ready_that_lies_about_its_lengths_is_refused() {
        let whole = ready("DEALER");
        for end in 0..whole.len() {
            assert!(check_ready(&whole.slice(..end), &["DEALER"]).is_err(), "{end}");
        }
        for lie in [&b"\x05READY\x0bSocket-Type\xff\xff\xff\xffDEALER"[..], b"\xffREADY", b"\x05HELLO", b""] {
            assert!(check_ready(&Bytes::from_static(lie), &["DEALER"]).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(greeting in proptest::collection::vec(any::<u8>(), LEN), command: Vec<u8>) {
            let _ = check(&greeting.try_into().unwrap());
            prop_assert!(check_ready(&Bytes::from(command), &["DEALER"]).is_err());
        }

        #[test]
        fn a_changed_ready_is_judged(place in 0..32usize, byte: u8) {
            let mut command = ready("DEALER").to_vec();
            let place = place % command.len();
            command[place] = byte;
            let _ = check_ready(&Bytes::from(command), &["DEALER"]);
        }
    }
}
