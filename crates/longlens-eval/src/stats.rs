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
