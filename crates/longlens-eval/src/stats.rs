//! How sure a measured share is.

/// The 95 % Wilson score interval of `hits` among `n`; everything when nothing was measured.
///
/// Unlike the plain normal interval it stays inside 0..1, and does not shrink to a point when all or none hit.
pub fn wilson95(hits: usize, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (n, share) = (n as f64, hits as f64 / n as f64);
    let z2 = Z95 * Z95;
    let center = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    // rounding must not make a share of none or all look like one between
    let low = if hits == 0 { 0.0 } else { (center - half).max(0.0) };
    (low, if hits as f64 >= n { 1.0 } else { (center + half).min(1.0) })
}

/// The 95 % interval of a statistic by the bootstrap: its 2.5 and 97.5 percentiles over `n_draws` samples with replacement, drawn from
/// seed 0. Of one value, or of values that are all alike, it is a point.
pub fn bootstrap95<T: Clone>(values: &[T], n_draws: usize, statistic: impl Fn(&[T]) -> f64) -> (f64, f64) {
    stratified95(&[values], n_draws, |_, drawn| statistic(drawn))
}

/// The same of a sum over groups, such as the weighted scores of a family's tasks: each group is drawn from by itself, so that it keeps
/// its weight. The statistic is given the number of the group and what was drawn from it.
pub fn stratified95<T: Clone>(groups: &[&[T]], n_draws: usize, statistic: impl Fn(usize, &[T]) -> f64) -> (f64, f64) {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let mut drawn = Vec::new();
    let mut of_group = |at: usize, values: &[T]| {
        drawn.clear();
        drawn.extend((0..values.len()).map(|_| values[random.random_range(0..values.len())].clone()));
        statistic(at, &drawn)
    };
    let mut found: Vec<f64> = (0..n_draws)
        .map(|_| groups.iter().enumerate().map(|(at, values)| of_group(at, values)).reduce(|a, b| a + b))
        .map(|sum| sum.unwrap_or(f64::NAN))
        .collect();
    found.sort_by(f64::total_cmp);
    let at = |share: f64| found.get(((found.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(f64::NAN);
    (at(0.025), at(0.975))
}

/// A measured number with its 95 % interval, and how much it counts in a sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighted {
    /// The number.
    pub value: f64,
    /// Its interval.
    pub interval: (f64, f64),
    /// How much it counts.
    pub weight: f64,
}

/// The 95 % interval of a weighted sum of numbers that were measured apart, from their own intervals (Zou and Donner, 2008, "Construction
/// of confidence limits about effect measures", Statistics in Medicine 27): where hits are all or none, intervals of Wilson keep
/// their width, of which a bootstrap would leave nothing.
pub fn sum95(parts: &[Weighted]) -> (f64, f64) {
    let sum: f64 = parts.iter().map(|part| part.weight * part.value).sum();
    let far = |distance: fn(&Weighted) -> f64| {
        parts.iter().map(|part| (part.weight * distance(part)).powi(2)).sum::<f64>().sqrt()
    };
    (sum - far(|part| part.value - part.interval.0), sum + far(|part| part.interval.1 - part.value))
}

/// The 95 % interval of the difference of a statistic between two measurements of the same samples, the first less the second: pairs are
/// drawn, so that what is hard or easy about a sample is on both sides and falls out.
pub fn paired95<T: Clone>(pairs: &[(T, T)], n_draws: usize, statistic: impl Fn(&[T]) -> f64) -> (f64, f64) {
    bootstrap95(pairs, n_draws, |drawn| difference(drawn, &statistic))
}

/// The difference of a statistic between the first and the second of each pair.
pub fn difference<T: Clone>(pairs: &[(T, T)], statistic: impl Fn(&[T]) -> f64) -> f64 {
    let (first, second): (Vec<T>, Vec<T>) = pairs.iter().cloned().unzip();
    statistic(&first) - statistic(&second)
}

/// Standard normal deviate that 95 % stay within.
const Z95: f64 = 1.959_963_984_540_054;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn intervals_agree_with_published_ones() {
        // R: prop.test(hits, n, correct = FALSE)$conf.int
        for (hits, n, low, high) in [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611), (20, 20, 0.8389, 1.0)] {
            let found = wilson95(hits, n);
            assert!((found.0 - low).abs() < 5e-5 && (found.1 - high).abs() < 5e-5, "{hits} of {n}: {found:?}");
        }
        assert_eq!(wilson95(0, 0), (0.0, 1.0));
    }

    #[test]
    fn the_bootstrap_covers_the_mean_of_a_normal_sample() {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        // 0, 1, …, 99 have a standard error of 2.9 around 49.5
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let (low, high) = bootstrap95(&values, 2000, mean);
        assert!((low - 43.9).abs() < 0.6 && (high - 55.1).abs() < 0.6, "{low} to {high}");
        assert_eq!(bootstrap95(&[2.0; 5], 100, mean), (2.0, 2.0));
    }

    #[test]
    fn pairs_tell_differences_that_scatter_hides() {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        // the second is higher by 0 or 2 in turn: by 1 on average, with a standard error of 0.1, where values scatter by 29
        let pairs: Vec<(f64, f64)> =
            (0..100).map(|at| (f64::from(at), f64::from(at) + 2.0 * f64::from(at % 2))).collect();
        assert!((difference(&pairs, mean) + 1.0).abs() < 1e-12);
        let (low, high) = paired95(&pairs, 2000, mean);
        assert!((low + 1.196).abs() < 0.03 && (high + 0.804).abs() < 0.03, "{low} to {high}");
        let same: Vec<(f64, f64)> = pairs.iter().map(|pair| (pair.0, pair.0)).collect();
        assert_eq!(paired95(&same, 100, mean), (0.0, 0.0));
        let turned: Vec<(f64, f64)> = pairs.iter().map(|pair| (pair.1, pair.0)).collect();
        let back = paired95(&turned, 2000, mean);
        assert!((back.0 + high).abs() < 1e-9 && (back.1 + low).abs() < 0.03, "{back:?}");
    }

    #[test]
    fn intervals_of_sums_keep_their_width() {
        let part = |value, interval, weight| Weighted { value, interval, weight };
        // of one number its own interval; of two alike it is narrower by the root of two
        assert_eq!(sum95(&[part(3.0, (1.0, 4.0), 1.0)]), (1.0, 4.0));
        let (low, high) = sum95(&[part(3.0, (1.0, 4.0), 0.5); 2]);
        assert!((low - (3.0 - 2f64.sqrt())).abs() < 1e-12 && (high - (3.0 + 0.5f64.sqrt())).abs() < 1e-12);
        // hits that are all right have a lower end all the same
        let (low, high) = sum95(&[part(1.0, wilson95(10, 10), 0.5); 2]);
        assert!((low - (1.0 - (1.0 - 0.7225) / 2f64.sqrt())).abs() < 1e-4, "{low}");
        assert_eq!(high.to_bits(), 1f64.to_bits());
    }

    #[test]
    fn groups_keep_their_weights() {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        // a thousand zeros and four values around 10 with a standard error of 0.5: half of that in the mean of both
        let (many, few) = (vec![0.0; 1000], [9.0, 9.0, 11.0, 11.0]);
        let (low, high) = stratified95(&[&many, &few], 2000, |_, drawn| mean(drawn) / 2.0);
        assert!((4.5..=4.75).contains(&low) && (5.25..=5.5).contains(&high), "{low} to {high}");
        let (low, high) = stratified95(&[&many, &few], 100, |at, drawn| if at == 0 { mean(drawn) } else { 0.0 });
        assert_eq!((low, high), (0.0, 0.0));
        let empty: &[&[f64]] = &[];
        assert!(stratified95(empty, 10, |_, drawn| mean(drawn)).0.is_nan());
    }

    proptest! {
        #[test]
        fn the_share_is_inside(n in 1..500usize, part in 0.0..=1.0f64) {
            let hits = (n as f64 * part) as usize;
            let (low, high) = wilson95(hits, n);
            let share = hits as f64 / n as f64;
            prop_assert!((0.0..=share + 1e-12).contains(&low) && (share - 1e-12..=1.0).contains(&high));
        }
    }
}
