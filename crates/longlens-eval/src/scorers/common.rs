//! The longest common subsequence of two lists of words.

/// More pairs of words than this are not compared: each takes a byte.
const MAX_PAIRS: usize = 1 << 28;

/// Which way back is taken where both are as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tie {
    /// To the word before in the first list.
    First,
    /// To the word before in the second list.
    Second,
}

/// A longest common subsequence, found by going back from the ends of both lists.
#[derive(Debug)]
pub(super) struct Common {
    /// Places in the first list, the last one first.
    pub places: Vec<usize>,
    /// Steps until one of the lists was left.
    pub n_steps: usize,
}

#[derive(Clone, Copy)]
enum Way {
    Both,
    First,
    Second,
}

impl Common {
    /// `None` where the lists are too long.
    pub fn new<T: PartialEq>(first: &[T], second: &[T], tie: Tie) -> Option<Self> {
        let n_pairs = first.len().checked_mul(second.len()).filter(|n| *n <= MAX_PAIRS)?;
        let mut ways = Vec::with_capacity(n_pairs);
        let mut lengths = vec![0_u32; second.len() + 1]; // of the first words so far and each number of second ones
        for word in first {
            let mut diagonal = 0;
            for (j, other) in second.iter().enumerate() {
                let (up, left) = (lengths[j + 1], lengths[j]);
                let way = if word == other {
                    Way::Both
                } else if up > left || up == left && tie == Tie::First {
                    Way::First
                } else {
                    Way::Second
                };
                lengths[j + 1] = if matches!(way, Way::Both) { diagonal + 1 } else { up.max(left) };
                diagonal = up;
                ways.push(way);
            }
        }
        let (mut i, mut j) = (first.len(), second.len());
        let mut common = Self { places: Vec::new(), n_steps: 0 };
        while i > 0 && j > 0 {
            match ways[(i - 1) * second.len() + j - 1] {
                Way::Both => {
                    common.places.push(i - 1);
                    (i, j) = (i - 1, j - 1);
                }
                Way::First => i -= 1,
                Way::Second => j -= 1,
            }
            common.n_steps += 1;
        }
        Some(common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_broken_as_asked() {
        let common = |tie| Common::new(b"abcb", b"bacb", tie).unwrap();
        assert_eq!(common(Tie::First).places, [3, 2, 0]);
        assert_eq!(common(Tie::Second).places, [3, 2, 1]);
        assert_eq!((common(Tie::First).n_steps, Common::new(b"", b"ab", Tie::First).unwrap().n_steps), (4, 0));
    }
}
