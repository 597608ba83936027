//! `numpy.random`, the global generator of old: `seed` and `randint`.

use super::MersenneTwister;

/// NumPy's `RandomState`, seeded by a number.
#[derive(Debug, Clone)]
pub struct NumPy(MersenneTwister);

impl NumPy {
    /// As after `numpy.random.seed(seed)`.
    pub fn seed(seed: u32) -> Self {
        Self(MersenneTwister::from_word(seed))
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// `numpy.random.randint(low, high)`: `high` is excluded. Numbers that stick out of the range are drawn again.
    ///
    /// Panics where the range is empty or does not fit 32 bits; the scripts draw no such numbers.
    pub fn randint(&mut self, low: i64, high: i64) -> i64 {
        assert!(low < high, "randint({low}, {high}) has nothing to draw from");
        let most = u32::try_from(high - 1 - low).unwrap_or_else(|_| panic!("randint({low}, {high}) exceeds 32 bits"));
        if most == 0 {
            return low; // nothing is drawn for the only number there is
        }
        let mask = u32::MAX >> most.leading_zeros();
        loop {
            let drawn = self.next_u32() & mask;
            if drawn <= most {
                return low + i64::from(drawn);
            }
        }
    }
}
