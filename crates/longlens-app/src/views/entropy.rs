//! How widely every head spreads its attention from one query: the entropy of its weights.

use std::sync::Arc;

use longlens_core::setting::{Info, Setting};
use longlens_core::trace::{Trace, Watch};

use super::layers::{self, Measure};
use super::{Plot, Subject, TraceView};
use crate::heads::Heads;
use crate::problem::Problem;

/// Layers by heads, coloured by entropy.
pub struct Entropy;

static INFO: Info = Info {
    name: "entropy",
    title: "Attention entropy",
    source: "Clark et al., 2019, arXiv:1906.04341",
    summary: "how widely every head spreads its attention from one query: the entropy of its weights",
    params: &[super::QUERY, super::CHUNK_LEN],
};

impl TraceView for Entropy {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn watch(&self, subject: &Subject, options: &Setting) -> Result<Watch, Problem> {
        layers::watch(subject, options)
    }

    fn view(&self, subject: &Subject, options: &Setting, trace: &Arc<Trace>) -> Result<Plot, Problem> {
        let heads = Heads::of(trace, subject.query(options)?)?;
        let entropy = |(layer, head)| nats(heads.row(layer, head).unwrap_or_else(|| heads.mass(layer, head)));
        let entropies: Vec<f32> = heads.all().map(entropy).collect();
        let narrowest = heads.all().zip(&entropies).min_by(|a, b| a.1.total_cmp(b.1));
        let text = narrowest.map_or(String::new(), |((layer, head), nats)| {
            // so many keys of equal weight have that entropy
            format!("narrowest: layer {layer}, head {head}, {nats:.2} nats, as over {:.1} keys", nats.exp())
        });
        let measure = Measure { name: "entropy", unit: "nats", title: "entropy of attention in nats" };
        Ok(layers::measured(subject, options, heads, &measure, entropies, &text))
    }
}

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
