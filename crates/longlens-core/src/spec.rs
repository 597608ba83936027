//! What methods and views need to know of a model: counts and positions, no tensors.

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::ranges::numbers;
use crate::rope::RopeScaling;

/// The numbers of a checkpoint that decide positions, shapes and memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Longest context that the model was trained on: what its config says of it, or the user.
    pub trained_context: usize,
    /// Decoder layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Dimensions of one head.
    pub head_dim: usize,
    /// Dimensions of a head that rotate.
    pub rotary_dim: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Width of the MLP.
    pub d_mlp: usize,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Numbers in the matrices that a token meets in all layers: of experts, those it uses.
    pub layer_weights: usize,
    /// Numbers in the matrix that gives logits.
    pub output_weights: usize,
    /// Numbers that a layer holds at once for each token of a step, at most: the stream and what becomes of it, without the cache.
    #[serde(default)]
    pub step_numbers: usize,
    /// RoPE base.
    pub rope_theta: f64,
    /// The RoPE scaling of the checkpoint itself.
    pub rope: RopeScaling,
    /// Factors of each frequency that belong to the checkpoint, for the scaling `longrope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_factors: Option<RopeFactors>,
    /// Trained context before the checkpoint's own scaling (`original_max_position_embeddings`), else the same.
    pub original_context: usize,
    /// What layers have of their own, one by one; empty where all are alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerSpec>,
    /// Factor on scores; `1 / sqrt(head_dim)` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_scale: Option<f64>,
    /// Scores become `cap * tanh(score / cap)` (Gemma 2, arXiv:2408.00118, section 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_cap: Option<f64>,
}

/// What each frequency is divided by, pair by pair (Ding et al., 2024, arXiv:2402.13753).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RopeFactors {
    /// Up to the trained context before scaling.
    pub short: Vec<f64>,
    /// Past it.
    pub long: Vec<f64>,
}

/// What a layer has of its own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LayerSpec {
    /// Newest keys that its queries see, their own included; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<usize>,
    /// Which frequencies rotate its queries and keys.
    #[serde(default)]
    pub rotation: Rotation,
}

/// The frequencies that rotate queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// The model's, under the RoPE scaling of the run.
    #[default]
    Model,
    /// Plain ones of this base, whatever the scaling: layers that the scaling leaves alone.
    Base(f64),
    /// None: the layer does not know positions.
    Off,
}

impl ModelSpec {
    /// Query heads that share one key head.
    pub fn n_rep(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// The key heads that serve these query heads.
    pub fn kv_heads_of(&self, heads: &Range<usize>) -> Range<usize> {
        heads.start / self.n_rep()..heads.end.div_ceil(self.n_rep())
    }

    /// The model as one that was trained on `n_tokens`; as it is where that is nothing. Without a scaling of its own these are its
    /// context before scaling, too.
    pub fn trained_on(&self, n_tokens: Option<usize>) -> Cow<'_, Self> {
        let Some(trained_context) = n_tokens else { return Cow::Borrowed(self) };
        let is_scaled = self.rope != RopeScaling::none();
        let original_context = if is_scaled { self.original_context } else { trained_context };
        Cow::Owned(Self { trained_context, original_context, ..self.clone() })
    }

    /// The same model with layers that all see everything.
    #[must_use]
    pub fn without_windows(&self) -> Self {
        let layers = self.layers.iter().map(|own| LayerSpec { window: None, ..own.clone() }).collect();
        Self { layers, ..self.clone() }
    }

    /// Whether some layer has a window of its own.
    pub fn has_windows(&self) -> bool {
        self.layers.iter().any(|own| own.window.is_some())
    }

    /// Numbers in a key and value cache of `n_tokens`, for all layers.
    pub fn cache_numbers(&self, n_tokens: usize) -> usize {
        2 * self.n_layers * self.n_kv_heads * self.head_dim * n_tokens
    }

    /// What attention of this model does otherwise than a Llama's, a sentence each: layers with a window or a rotation of their own,
    /// heads of which a part rotates, scores with a factor or bound of their own.
    pub fn own_attention(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.rotary_dim < self.head_dim {
            said.push(format!("{} of {} dimensions of a head rotate", self.rotary_dim, self.head_dim));
        }
        let mut kinds: Vec<(&LayerSpec, Vec<usize>)> = Vec::new();
        for (at, layer) in self.layers.iter().enumerate().filter(|(_, layer)| **layer != LayerSpec::default()) {
            match kinds.iter_mut().find(|(kind, _)| *kind == layer) {
                Some((_, places)) => places.push(at),
                None => kinds.push((layer, vec![at])),
            }
        }
        for (kind, places) in kinds {
            let window = kind.window.map(|window| format!("a window of {window} tokens"));
            let rotation = match kind.rotation {
                Rotation::Model => None,
                Rotation::Base(base) => Some(format!("RoPE base {base}, unscaled")),
                Rotation::Off => Some("no rotation".into()),
            };
            let both = window.into_iter().chain(rotation).collect::<Vec<_>>().join(", ");
            said.push(format!("{}: {both}", numbers("layer", &places).unwrap_or_default()));
        }
        let usual = (self.head_dim as f64).sqrt().recip();
        if let Some(scale) = self.score_scale.filter(|scale| (scale / usual - 1.0).abs() > 1e-9) {
            said.push(format!("scores times {scale}"));
        }
        said.extend(self.soft_cap.map(|cap| format!("scores bounded by {cap}")));
        said
    }

    /// A small model for tests and pictures: 2 layers of 4 heads, trained on `trained_context` tokens.
    pub fn tiny(trained_context: usize) -> Self {
        Self {
            trained_context,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 4,
            head_dim: 16,
            rotary_dim: 16,
            d_model: 64,
            d_mlp: 128,
            vocab_size: 256,
            layer_weights: 2 * 64 * (4 * 64 + 3 * 128),
            output_weights: 256 * 64,
            step_numbers: 2 * 64 + 2 * 128,
            rope_theta: 10_000.0,
            rope: RopeScaling::none(),
            rope_factors: None,
            original_context: trained_context,
            layers: Vec::new(),
            score_scale: None,
            soft_cap: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_knows_better_how_long_a_model_was_trained() {
        let plain = ModelSpec::tiny(64);
        assert_eq!(*plain.trained_on(None), plain);
        let longer = plain.trained_on(Some(256));
        assert_eq!((longer.trained_context, longer.original_context), (256, 256));
        let rope = RopeScaling::parse("linear:factor=4").unwrap();
        let scaled = ModelSpec { rope, trained_context: 64, original_context: 16, ..plain };
        let shorter = scaled.trained_on(Some(32));
        assert_eq!(
            (shorter.trained_context, shorter.original_context),
            (32, 16),
            "its own scaling starts where it did"
        );
    }

    #[test]
    fn what_a_llama_does_not_do_is_said_layers_alike_together() {
        assert_eq!(ModelSpec::tiny(64).own_attention(), Vec::<String>::new());
        let own = |layer: usize| match layer % 3 {
            0 => LayerSpec { window: Some(9), rotation: Rotation::Base(1e4) },
            1 => LayerSpec { window: None, rotation: Rotation::Off },
            _ => LayerSpec::default(),
        };
        let model = ModelSpec {
            n_layers: 6,
            layers: (0..6).map(own).collect(),
            rotary_dim: 8,
            score_scale: Some(0.5),
            soft_cap: Some(50.0),
            ..ModelSpec::tiny(64)
        };
        assert_eq!(
            model.own_attention(),
            [
                "8 of 16 dimensions of a head rotate",
                "layers 0, 3: a window of 9 tokens, RoPE base 10000, unscaled",
                "layers 1, 4: no rotation",
                "scores times 0.5",
                "scores bounded by 50",
            ]
        );
        // the usual factor is none of its own
        assert_eq!(ModelSpec { score_scale: Some(0.25), ..ModelSpec::tiny(64) }.own_attention(), Vec::<String>::new());
    }
}
