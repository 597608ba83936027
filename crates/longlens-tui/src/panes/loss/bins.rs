//! Losses in as many means as there are dots to draw them.

use std::ops::Range;

/// The mean loss around every dot: of the tokens under it, and of as many around them as make up `smooth`. `nll[i]` is the
/// loss of token `first + i`.
pub fn binned(nll: &[f32], first: usize, n_tokens: usize, n_dots: usize, smooth: usize) -> Vec<Option<f64>> {
    let around = |tokens: Range<usize>| {
        let inside = |token: usize| token.saturating_sub(first).min(nll.len());
        mean(&nll[inside(tokens.start)..inside(tokens.end)])
    };
    let dot = |at: usize| {
        let start = at * n_tokens / n_dots;
        let end = ((at + 1) * n_tokens / n_dots).max(start + 1);
        if start < first || start >= first + nll.len() {
            return None;
        }
        let more = smooth.saturating_sub(end - start);
        around(start.saturating_sub(more / 2)..end + more.div_ceil(2))
    };
    (0..n_dots).map(dot).collect()
}

/// The mean of the losses that are numbers.
pub fn mean(losses: &[f32]) -> Option<f64> {
    // several sums at once: a long text is added up in every frame
    let mut sums = [0.0f64; 8];
    let parts = losses.chunks_exact(sums.len());
    let rest: f64 = parts.remainder().iter().map(|loss| f64::from(*loss)).sum();
    for part in parts {
        for (sum, loss) in sums.iter_mut().zip(part) {
            *sum += f64::from(*loss);
        }
    }
    let total = sums.iter().sum::<f64>() + rest;
    if total.is_finite() {
        return (!losses.is_empty()).then(|| total / losses.len() as f64);
    }
    let numbers: Vec<f32> = losses.iter().copied().filter(|loss| loss.is_finite()).collect();
    mean(&numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_means_of_their_tokens() {
        let losses = |first, n_dots, smooth| binned(&[1.0, 3.0, 5.0, 7.0], first, 4 + first, n_dots, smooth);
        assert_eq!(losses(0, 2, 1), [Some(2.0), Some(6.0)]);
        assert_eq!(losses(0, 4, 3), [Some(2.0), Some(3.0), Some(5.0), Some(6.0)]);
        // more dots than tokens, and nothing before the first loss
        assert_eq!(losses(0, 8, 1)[2..4], [Some(3.0), Some(3.0)]);
        assert_eq!(losses(4, 8, 1)[..5], [None, None, None, None, Some(1.0)]);
        assert_eq!(binned(&[f32::NAN, 2.0], 0, 2, 2, 1), [None, Some(2.0)]);
        assert_eq!(mean(&[1.0; 19]), Some(1.0));
        assert_eq!(mean(&[f32::INFINITY, 4.0]), Some(4.0));
    }
}
