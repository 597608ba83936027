//! Where the scales and the weights' bits stand in a block of 256.

/// Scale and minimum of a group of 32 in `Q4_K` and `Q5_K`, 6 bits each: eight of both in 12 bytes.
pub(crate) fn scale_and_minimum(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    let low = packed[group + 4];
    (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
}

/// The scale of a group of 16 in `Q3_K`: sixteen of 6 bits around 32 in 12 bytes.
pub(crate) fn q3_scale(packed: &[u8], group: usize) -> i8 {
    let low = packed[group % 8] >> (group / 8 * 4) & 15;
    let high = packed[8 + group % 4] >> (group / 4 * 2) & 3;
    (low | high << 4) as i8 - 32
}

/// The scale of a group of 32 in a block of `IQ4_XS`, 6 bits around 32.
pub(super) fn iq4_scale(block: &[u8], group: usize) -> i8 {
    let low = block[4 + group / 2] >> (group % 2 * 4) & 15;
    let high = block[2 + group / 4] >> (group % 4 * 2) & 3;
    (low | high << 4) as i8 - 32
}

/// Two bits of weight `at`: each 32 bytes hold 128 weights, those of one pair of bits are neighbours.
pub(crate) fn two_bits(bytes: &[u8], at: usize) -> u8 {
    bytes[at / 128 * 32 + at % 32] >> (at % 128 / 32 * 2) & 3
}

/// The lower four bits of weight `at` in `Q4_K` and `Q5_K`: each 32 bytes hold 64 weights, the lower halves first.
pub(crate) fn q45_low(bytes: &[u8], at: usize) -> u8 {
    bytes[at / 64 * 32 + at % 32] >> (at % 64 / 32 * 4) & 15
}

/// The six bits of weight `at` in a block of `Q6_K`: each 128 weights have 64 bytes of lower bits, two weights in one, and 32 of upper ones.
pub(crate) fn q6(block: &[u8], at: usize) -> u8 {
    let (half, quarter) = (at / 128, at % 128 / 32);
    let low = block[half * 64 + quarter % 2 * 32 + at % 32] >> (quarter / 2 * 4) & 15;
    let high = block[128 + half * 32 + at % 32] >> (quarter * 2) & 3;
    low | high << 4
}
