//! Changes to a file: bits and bytes, absurd numbers, pieces left out, doubled, moved, and words put in.

/// Random numbers that are the same everywhere (SplitMix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, or 0 where that is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }
}

/// Numbers that are at the edge of something.
const ABSURD: [u64; 12] =
    [0, 1, 0x7f, 0xff, 0xffff, 1 << 20, 1 << 31, u32::MAX as u64, 1 << 40, 1 << 62, i64::MAX as u64, u64::MAX];

/// The same as texts of JSON and templates.
const WORDS: [&str; 12] =
    ["0", "-1", "null", "true", "[]", "{}", "\"\"", "1e999", "18446744073709551615", "4294967296", "0.0000001", "NaN"];

/// A file with a few changes, of which words of its own kind are some.
pub fn mutated(whole: &[u8], words: &[&str], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=dice.below(4) {
        change(&mut bytes, words, dice);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, words: &[&str], dice: &mut Dice) {
    // headers stand first, and most of what can go wrong is in them
    let reach = if dice.below(2) == 0 { bytes.len().min(512) } else { bytes.len() };
    let at = dice.below(reach);
    let longest = if dice.below(4) == 0 { 256 } else { 12 };
    let len = 1 + dice.below(longest);
    let end = bytes.len().min(at + len);
    match dice.below(10) {
        _ if bytes.is_empty() => bytes.push(dice.next() as u8),
        0 | 1 => bytes[at] ^= 1 << dice.below(8),
        2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\n'][dice.below(8)],
        3 => {
            let number = ABSURD[dice.below(ABSURD.len())].to_le_bytes();
            let width = [1, 2, 4, 8][dice.below(4)].min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..end)),
        6 => {
            let piece = bytes[at..end].to_vec();
            let times = 1 + dice.below(40);
            bytes.splice(at..at, piece.repeat(times));
        }
        7 => {
            let (to, piece) = (dice.below(bytes.len()), bytes[at..end].to_vec());
            bytes.splice(to..to, piece);
        }
        8 => replace_number(bytes, at, dice),
        _ => {
            let word = match dice.below(3) {
                0 => WORDS[dice.below(WORDS.len())],
                _ if words.is_empty() => WORDS[dice.below(WORDS.len())],
                _ => words[dice.below(words.len())],
            };
            let gone = if dice.below(2) == 0 { at } else { end };
            bytes.splice(at..gone, word.bytes());
        }
    }
}

/// Puts another number in the place of the next one that is written out.
fn replace_number(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(start) = bytes[at..].iter().position(is_digit).map(|n| at + n) else { return };
    let end = bytes[start..].iter().position(|byte| !is_digit(byte)).map_or(bytes.len(), |n| start + n);
    bytes.splice(start..end, WORDS[dice.below(WORDS.len())].bytes());
}
