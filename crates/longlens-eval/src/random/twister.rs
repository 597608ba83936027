//! MT19937.

/// Words of the state.
const N: usize = 624;
/// How far behind a word the one stands that it is mixed with.
const M: usize = 397;
/// Multiplied in where the lowest bit was set.
const MATRIX: u32 = 0x9908_b0df;
const UPPER: u32 = 0x8000_0000;
const LOWER: u32 = 0x7fff_ffff;

/// The Mersenne twister with a period of 2^19937 - 1.
#[derive(Debug, Clone)]
pub struct MersenneTwister {
    state: [u32; N],
    /// The next word of the state to give out; all are made anew at `N`.
    position: usize,
}

impl MersenneTwister {
    /// Seeded with one word, as `init_genrand` of the reference does.
    pub fn from_word(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let before = state[i - 1];
            state[i] = 1_812_433_253_u32.wrapping_mul(before ^ before >> 30).wrapping_add(i as u32);
        }
        Self { state, position: N }
    }

    /// Seeded with any number of words, as `init_by_array` of the reference does; none count as one 0.
    pub fn from_words(words: &[u32]) -> Self {
        let words = if words.is_empty() { &[0] } else { words };
        let mut state = Self::from_word(19_650_218).state;
        let mixed = |before: u32, factor: u32| (before ^ before >> 30).wrapping_mul(factor);
        let (mut i, mut j) = (1, 0);
        for _ in 0..N.max(words.len()) {
            state[i] = (state[i] ^ mixed(state[i - 1], 1_664_525)).wrapping_add(words[j]).wrapping_add(j as u32);
            (i, j) = (i + 1, (j + 1) % words.len());
            if i == N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        for _ in 1..N {
            state[i] = (state[i] ^ mixed(state[i - 1], 1_566_083_941)).wrapping_sub(i as u32);
            i += 1;
            if i == N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        state[0] = UPPER;
        Self { state, position: N }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.position == N {
            self.twist();
        }
        let mut bits = self.state[self.position];
        self.position += 1;
        bits ^= bits >> 11;
        bits ^= bits << 7 & 0x9d2c_5680;
        bits ^= bits << 15 & 0xefc6_0000;
        bits ^ bits >> 18
    }

    /// Makes all words of the state anew, in place: those behind a word are the new ones already.
    fn twist(&mut self) {
        for i in 0..N {
            let bits = self.state[i] & UPPER | self.state[(i + 1) % N] & LOWER;
            let odd = if bits & 1 == 1 { MATRIX } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ bits >> 1 ^ odd;
        }
        self.position = 0;
    }
}
