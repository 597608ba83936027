//! Bank conflicts: how many passes an access to shared memory takes.

/// Shared memory has 32 banks of 4 bytes.
const BANKS: usize = 32;

/// The passes that the lanes' accesses need beyond those without conflicts. `addresses`: of the lanes that take part, each for
/// `bytes` bytes; lanes go together in groups that read 128 bytes.
pub(crate) fn extra_passes(addresses: &[u32], bytes: usize) -> u64 {
    let lanes = 128 / bytes.clamp(4, 16);
    addresses.chunks(lanes).map(|group| passes(group, bytes) - 1).sum()
}

/// The most different words that a group wants from one bank.
fn passes(group: &[u32], bytes: usize) -> u64 {
    let mut words = [[0u32; BANKS]; BANKS];
    let mut counts = [0usize; BANKS];
    for address in group {
        for word in address / 4..(address + bytes as u32).div_ceil(4) {
            let bank = word as usize % BANKS;
            let known = &words[bank][..counts[bank]];
            if !known.contains(&word) && counts[bank] < BANKS {
                words[bank][counts[bank]] = word;
                counts[bank] += 1;
            }
        }
    }
    counts.iter().copied().max().unwrap_or(1).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::extra_passes;

    #[test]
    fn rows_conflict_and_neighbors_do_not() {
        let lanes = |stride: u32| (0..32).map(|lane| 1024 + lane * stride).collect::<Vec<_>>();
        assert_eq!(extra_passes(&lanes(4), 4), 0);
        assert_eq!(extra_passes(&lanes(0), 4), 0, "one word for all lanes is one pass");
        assert_eq!(extra_passes(&lanes(8), 4), 1);
        assert_eq!(extra_passes(&lanes(128), 4), 31);
        assert_eq!(extra_passes(&lanes(16), 16), 0);
        assert_eq!(extra_passes(&lanes(256), 16), 4 * 7);
        assert_eq!(extra_passes(&lanes(8), 8), 0);
    }
}
