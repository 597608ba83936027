//! How widely every head spreads its attention from one query: the entropy of its weights.

use longlens_core::setting::Info;

use super::grid::HeadMeasure;

/// Layers by heads, coloured by entropy.
pub static ENTROPY: HeadMeasure = HeadMeasure {
    info: &Info {
        name: "entropy",
        title: "Attention entropy",
        source: "Clark et al., 2019, arXiv:1906.04341",
        summary: "how widely every head spreads its attention from one query: the entropy of its weights",
        params: &[super::QUERY, super::CHUNK_LEN],
    },
    unit: "nats",
    title: "entropy of attention in nats",
    number: |heads, (layer, head)| nats(heads.row(layer, head).unwrap_or_else(|| heads.mass(layer, head))),
    lowest_first: true,
    // so many keys of equal weight have that entropy
    remark: |head, nats| format!("narrowest: {head}, {nats:.2} nats, as over {:.1} equal weights", nats.exp()),
};

/// Entropy of weights that add up to 1.
fn nats(weights: &[f32]) -> f32 {
    weights.iter().map(|weight| f64::from(*weight)).filter(|weight| *weight > 0.0).map(|w| -w * w.ln()).sum::<f64>()
        as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_weights_are_as_wide_as_they_are_many() {
        assert!((nats(&[0.25; 4]).exp() - 4.0).abs() < 1e-5);
        assert!(nats(&[0.0, 1.0, 0.0]).abs() < 1e-9);
    }
}
