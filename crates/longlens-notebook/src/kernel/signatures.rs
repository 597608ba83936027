//! Signatures: who has the key of the connection file, and has not said the same before.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Signatures that are remembered, the newest; Jupyter's own kernel keeps as many.
const REMEMBERED: usize = 1 << 16;

/// Signs messages, and checks those of others.
pub(super) struct Signatures {
    /// Without one nothing is signed and everything is believed: the connection file asked for it.
    key: Option<Hmac<Sha256>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    all: HashSet<[u8; 32]>,
    in_order: VecDeque<[u8; 32]>,
}

/// A signature that is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signature(Option<[u8; 32]>);

impl Signatures {
    /// With the key of a connection file.
    pub(super) fn new(key: &str) -> Self {
        // an HMAC takes keys of every length
        let key = (!key.is_empty()).then(|| Hmac::new_from_slice(key.as_bytes()).ok()).flatten();
        Self { key, seen: Mutex::default() }
    }

    /// The signature of a message, in hexadecimal.
    pub(super) fn sign(&self, parts: &[Bytes]) -> Bytes {
        let Some(mac) = self.mac(parts) else { return Bytes::new() };
        hex::encode(mac.finalize().into_bytes()).into()
    }

    /// Checks a signature in hexadecimal.
    pub(super) fn check(&self, signature: &[u8], parts: &[Bytes]) -> Option<Signature> {
        let Some(mac) = self.mac(parts) else { return Some(Signature(None)) };
        let mut bytes = [0; 32];
        hex::decode_to_slice(signature, &mut bytes).ok()?;
        mac.verify_slice(&bytes).ok()?;
        Some(Signature(Some(bytes)))
    }

    /// Whether this is the first time that this signature comes; a second time somebody repeats what another has said.
    pub(super) fn is_new(&self, Signature(bytes): Signature) -> bool {
        let Some(bytes) = bytes else { return true };
        // an insertion that panicked has at worst not remembered
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.all.insert(bytes) {
            return false;
        }
        seen.in_order.push_back(bytes);
        if seen.in_order.len() > REMEMBERED
            && let Some(oldest) = seen.in_order.pop_front()
        {
            seen.all.remove(&oldest);
        }
        true
    }

    fn mac(&self, parts: &[Bytes]) -> Option<Hmac<Sha256>> {
        let mut mac = self.key.clone()?;
        for part in parts {
            mac.update(part);
        }
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(content: &'static str) -> [Bytes; 1] {
        [Bytes::from_static(content.as_bytes())]
    }

    #[test]
    fn a_known_signature() {
        // RFC 4231, test case 2
        let signatures = Signatures::new("Jefe");
        let signature = signatures.sign(&parts("what do ya want for nothing?"));
        assert_eq!(&signature[..], b"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn only_the_key_signs() {
        let signatures = Signatures::new("key");
        let signature = signatures.sign(&parts("1"));
        assert!(signatures.check(&signature, &parts("1")).is_some());
        assert!(signatures.check(&signature, &parts("2")).is_none());
        assert!(Signatures::new("other").check(&signature, &parts("1")).is_none());
        for wrong in [&b""[..], b"00", &signature[1..], b"\xff\xfe"] {
            assert!(signatures.check(wrong, &parts("1")).is_none());
        }
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let signatures = Signatures::new("key");
        let said = signatures.sign(&parts("1"));
        // in capitals it is the same signature
        let capitals = said.to_ascii_uppercase();
        let [first, again] = [&said[..], &capitals].map(|text| signatures.check(text, &parts("1")).unwrap());
        assert!(signatures.is_new(first) && !signatures.is_new(again));
        for content in 0..REMEMBERED {
            assert!(signatures.is_new(Signature(Some(std::array::from_fn(|i| (content >> (8 * (i % 8))) as u8)))));
        }
        let seen = signatures.seen.lock().unwrap();
        assert_eq!((seen.all.len(), seen.in_order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn without_a_key_nothing_is_signed() {
        let signatures = Signatures::new("");
        assert_eq!(signatures.sign(&parts("1")), "");
        let believed = signatures.check(b"", &parts("1")).unwrap();
        assert!(signatures.is_new(believed) && signatures.is_new(believed));
    }
}
