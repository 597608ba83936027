//! Hashes that every version of this program agrees on: short, and the same in every session.

/// FNV-1a of 64 bits over parts with their lengths, so that no part runs into the next.
pub fn hash64<const N: usize>(parts: [&[u8]; N]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut take = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for part in parts {
        (part.len() as u64).to_le_bytes().into_iter().for_each(&mut take);
        part.iter().copied().for_each(&mut take);
    }
    hash
}

/// FNV-1a of 128 bits over a text, as 32 hexadecimal digits.
pub fn hash128(text: &str) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    format!("{:032x}", text.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_fnv() {
        assert_eq!(hash128(""), "6c62272e07bb014262b821756295c58d");
        assert_eq!(hash128("a"), "d228cb696f1a8caf78912b704e4a8964");
    }
}
