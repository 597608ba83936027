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
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(0);
    let mut drawn = Vec::with_capacity(values.len());
    let mut found: Vec<f64> = (0..n_draws)
        .map(|_| {
            drawn.clear();
            drawn.extend((0..values.len()).map(|_| values[random.random_range(0..values.len())].clone()));
            statistic(&drawn)
        })
        .collect();
    found.sort_by(f64::total_cmp);
    let at = |share: f64| found.get(((found.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(f64::NAN);
    (at(0.025), at(0.975))
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
