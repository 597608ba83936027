//! Lengths and depths of a needle grid, spaced as gkamradt's script spaces them.

/// How depths are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Evenly, in whole per cent.
    Linear,
    /// Closer to both ends, by the logistic function.
    Sigmoid,
}

impl Spacing {
    /// Words of the setting.
    pub const NAMES: [&str; 2] = ["linear", "sigmoid"];

    /// Depths in per cent, ascending, each once.
    ///
    /// The script has a depth twice where there are more than a hundred of them, and passes over the second as one that is done. Its
    /// sigmoid depths between the ends descend, since a sign was lost; they are the same ones.
    pub fn depths(self, n: usize) -> Vec<f64> {
        let of = |x: f64| match self {
            Self::Linear => x.round_ties_even(),
            Self::Sigmoid if x <= 0.0 || x >= 100.0 => x,
            Self::Sigmoid => (1000.0 * (100.0 / (1.0 + (-0.1 * (x - 50.0)).exp()))).round_ties_even() / 1000.0,
        };
        let mut depths: Vec<f64> = evenly(0.0, 100.0, n).into_iter().map(of).collect();
        depths.sort_by(f64::total_cmp);
        depths.dedup();
        depths
    }
}

/// `n` lengths from `shortest` to `longest`, evenly, rounded to whole tokens; the longest alone where one is asked for.
pub fn lengths(shortest: usize, longest: usize, n: usize) -> Vec<usize> {
    if n < 2 || shortest >= longest {
        return vec![longest];
    }
    let mut lengths: Vec<usize> = evenly(shortest as f64, longest as f64, n)
        .into_iter()
        .map(|length| length.round_ties_even() as usize)
        .collect();
    lengths.dedup();
    lengths
}

/// NumPy's `linspace`, both ends included.
fn evenly(from: f64, to: f64, n: usize) -> Vec<f64> {
    let step = (to - from) / n.saturating_sub(1).max(1) as f64;
    (0..n).map(|at| if at > 0 && at + 1 == n { to } else { from + at as f64 * step }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_grid() {
        let lengths = lengths(1000, 16_000, 35);
        assert_eq!(
            (lengths.len(), &lengths[..4], &lengths[33..]),
            (35, &[1000, 1441, 1882, 2324][..], &[15_559, 16_000][..])
        );
        let linear = Spacing::Linear.depths(35);
        assert_eq!((linear.len(), &linear[..5], linear[34]), (35, &[0.0, 3.0, 6.0, 9.0, 12.0][..], 100.0));
        let sigmoid = Spacing::Sigmoid.depths(35);
        // depths that gkamradt's published results have
        assert_eq!((sigmoid.len(), &sigmoid[..4], sigmoid[34]), (35, &[0.0, 0.896, 1.199, 1.602][..], 100.0));
        assert_eq!(sigmoid[17..=17], [50.0]);
        assert_eq!(sigmoid[33..34], [99.104]);
    }

    #[test]
    fn small_and_large_grids() {
        assert_eq!((Spacing::Linear.depths(1), Spacing::Sigmoid.depths(2)), (vec![0.0], vec![0.0, 100.0]));
        assert_eq!(Spacing::Linear.depths(500).len(), 101, "whole per cent");
        assert_eq!(
            (lengths(1000, 500, 7), lengths(1000, 4000, 1), lengths(3, 5, 9)),
            (vec![500], vec![4000], vec![3, 4, 5])
        );
    }
}
