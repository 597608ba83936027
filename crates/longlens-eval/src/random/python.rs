//! Python's `random.Random`, its calls that evaluation scripts use.

use super::MersenneTwister;

/// Python's `random.Random`, seeded by a whole number.
#[derive(Debug, Clone)]
pub struct Python(MersenneTwister);

impl Python {
    /// As after `random.seed(seed)`: the sign is dropped, and the words of the number seed the twister, lowest first.
    pub fn seed(seed: i128) -> Self {
        let seed = seed.unsigned_abs();
        let mut words: Vec<u32> = (0..4).map(|word| (seed >> (32 * word)) as u32).collect();
        while words.last() == Some(&0) {
            words.pop();
        }
        Self(MersenneTwister::from_words(&words))
    }

    /// `getrandbits(n_bits)`, up to 128 of them.
    pub fn getrandbits(&mut self, n_bits: u32) -> u128 {
        assert!(n_bits <= 128, "getrandbits({n_bits}) exceeds 128 bits");
        let (mut bits, mut n_drawn) = (0, 0);
        while n_drawn < n_bits {
            let n_here = (n_bits - n_drawn).min(32);
            bits |= u128::from(self.0.next_u32() >> (32 - n_here)) << n_drawn;
            n_drawn += n_here;
        }
        bits
    }

    /// A number below `n`, which is not 0: what `randrange(n)` gives.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "there is no number below 0");
        let n_bits = u64::BITS - n.leading_zeros();
        loop {
            let drawn = self.getrandbits(n_bits) as u64;
            if drawn < n {
                return drawn;
            }
        }
    }

    /// `randint(low, high)`: both ends are included.
    pub fn randint(&mut self, low: i64, high: i64) -> i64 {
        assert!(low <= high, "randint({low}, {high}) has nothing to draw from");
        low + self.below(high.abs_diff(low) + 1) as i64
    }

    /// `random()`: 53 bits, from 0 to below 1.
    pub fn random(&mut self) -> f64 {
        let high = f64::from(self.0.next_u32() >> 5);
        let low = f64::from(self.0.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `choice(items)`; `items` are not empty.
    pub fn choice<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// `choices(items, k=n)`: `n` of them, each drawn from all; `items` are not empty.
    pub fn choices<T: Clone>(&mut self, items: &[T], n: usize) -> Vec<T> {
        (0..n).map(|_| items[(self.random() * items.len() as f64) as usize].clone()).collect()
    }

    /// `shuffle(items)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// `sample(items, n)`: `n` different places of `items`, in the order drawn. Of few items a shrinking pool is drawn from, of many
    /// anew until the place is a new one, as Python weighs the memory of a list against that of a set.
    pub fn sample<T: Clone>(&mut self, items: &[T], n: usize) -> Vec<T> {
        assert!(n <= items.len(), "cannot sample {n} of {}", items.len());
        let places = self.places(items.len(), n);
        places.into_iter().map(|place| items[place].clone()).collect()
    }

    fn places(&mut self, n_items: usize, n: usize) -> Vec<usize> {
        let mut pool_size = 21;
        if n > 5 {
            let mut power = 1;
            while power < 3 * n {
                power *= 4;
            }
            pool_size += power;
        }
        if n_items <= pool_size {
            let mut pool: Vec<usize> = (0..n_items).collect();
            return (0..n)
                .map(|i| {
                    let left = n_items - i;
                    let place = self.below(left as u64) as usize;
                    let drawn = pool[place];
                    pool[place] = pool[left - 1];
                    drawn
                })
                .collect();
        }
        let mut seen = std::collections::HashSet::new();
        (0..n)
            .map(|_| {
                loop {
                    let place = self.below(n_items as u64) as usize;
                    if seen.insert(place) {
                        return place;
                    }
                }
            })
            .collect()
    }

    /// `str(uuid.UUID(int=getrandbits(128), version=4))`.
    pub fn uuid(&mut self) -> String {
        let bits = self.getrandbits(128);
        let version = bits & !(0xf << 76) | 4 << 76;
        let variant = version & !(0x3 << 62) | 2 << 62;
        let hex = format!("{variant:032x}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}
