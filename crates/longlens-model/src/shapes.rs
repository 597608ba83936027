//! Models of well-known shapes with random weights: how fast a shape runs does not depend on what its weights say.

use longlens_core::lens::{Lens, ModelInfo};
use longlens_core::rope::RopeScaling;
use longlens_kernel::Kernels;
use longlens_kernel::linear::Storage;

use crate::config::LlamaConfig;
use crate::error::OpenError;
use crate::lens::DecoderLens;
use crate::weights;

/// The numbers of a published config that decide speed, under a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// What it is called.
    pub name: &'static str,
    /// Decoder layers.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Dimensions of one head.
    pub head_dim: usize,
    /// Width of the MLP.
    pub d_mlp: usize,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Trained context.
    pub trained_context: usize,
    /// RoPE base.
    pub rope_theta: f64,
    /// Whether the output matrix is the embedding.
    pub tied: bool,
}

/// Every shape, the smallest first.
pub static SHAPES: [Shape; 4] = [
    Shape {
        name: "tiny",
        n_layers: 4,
        d_model: 128,
        n_heads: 4,
        n_kv_heads: 4,
        head_dim: 32,
        d_mlp: 256,
        vocab_size: 1024,
        trained_context: 256,
        rope_theta: 3_000.0,
        tied: true,
    },
    Shape {
        name: "1b-like",
        n_layers: 16,
        d_model: 2048,
        n_heads: 32,
        n_kv_heads: 8,
        head_dim: 64,
        d_mlp: 8192,
        vocab_size: 32_000,
        trained_context: 8192,
        rope_theta: 500_000.0,
        tied: false,
    },
    Shape {
        name: "llama2-7b",
        n_layers: 32,
        d_model: 4096,
        n_heads: 32,
        n_kv_heads: 32,
        head_dim: 128,
        d_mlp: 11_008,
        vocab_size: 32_000,
        trained_context: 4096,
        rope_theta: 10_000.0,
        tied: false,
    },
    Shape {
        name: "llama3-8b",
        n_layers: 32,
        d_model: 4096,
        n_heads: 32,
        n_kv_heads: 8,
        head_dim: 128,
        d_mlp: 14_336,
        vocab_size: 128_256,
        trained_context: 8192,
        rope_theta: 500_000.0,
        tied: false,
    },
];

impl Shape {
    /// The shape of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SHAPES.iter().find(|shape| shape.name == name)
    }

    /// Its config, with another number of layers where one is given. It has no first and no end token.
    pub fn config(&self, n_layers: Option<usize>) -> LlamaConfig {
        LlamaConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.d_model,
            intermediate_size: self.d_mlp,
            num_hidden_layers: n_layers.unwrap_or(self.n_layers),
            num_attention_heads: self.n_heads,
            num_key_value_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            max_position_embeddings: self.trained_context,
            trained_context: self.trained_context,
            original_max_position_embeddings: self.trained_context,
            rms_norm_eps: 1e-5,
            rope_theta: self.rope_theta,
            rope_scaling: RopeScaling::none(),
            tie_word_embeddings: self.tied,
            attention_bias: false,
            mlp_bias: false,
            bos_token: None,
            eos_tokens: Vec::new(),
            dtype: None,
            warnings: Vec::new(),
            context_warnings: Vec::new(),
        }
    }

    /// Numbers in its weights.
    pub fn n_parameters(&self, n_layers: Option<usize>) -> usize {
        let (query, key) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        let layer = self.d_model * (2 * query + 2 * key + 3 * self.d_mlp + 2);
        let embeddings = if self.tied { 1 } else { 2 } * self.vocab_size * self.d_model;
        n_layers.unwrap_or(self.n_layers) * layer + embeddings + self.d_model
    }

    /// What a model of this shape is, with its matrices kept as `storage`.
    pub fn info(&self, n_layers: Option<usize>, storage: Storage, kernel_path: &str) -> ModelInfo {
        let config = self.config(n_layers);
        ModelInfo {
            name: self.title(n_layers),
            source: "random weights".into(),
            family: "llama".into(),
            spec: config.spec(),
            n_parameters: weights::n_parameters(&config),
            bos_token: None,
            eos_tokens: Vec::new(),
            dtype: storage.name().into(),
            kernel_path: kernel_path.into(),
            max_position_embeddings: config.max_position_embeddings,
            warnings: Vec::new(),
        }
    }

    /// Its name, with the number of layers where that is not its own.
    fn title(&self, n_layers: Option<usize>) -> String {
        match n_layers.filter(|n| *n != self.n_layers) {
            Some(n) => format!("{}, {n} of {} layers, random weights", self.name, self.n_layers),
            None => format!("{}, random weights", self.name),
        }
    }
}

/// A model of this shape with random weights, its matrices kept as `storage`, and no tokenizer, on `device`.
pub fn random<B: Kernels>(
    shape: &Shape,
    n_layers: Option<usize>,
    seed: u64,
    storage: Storage,
    device: B::Device,
    kernel_path: &str,
) -> Result<Box<dyn Lens>, OpenError> {
    let model = weights::random::<B, _>(&shape.config(n_layers), seed, storage, &device)?;
    let info = shape.info(n_layers, storage, kernel_path);
    Ok(Box::new(DecoderLens::new(model, info, None, device)))
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::backend::flex::FlexDevice;
    use longlens_core::lens::{Rows, Setup};
    use longlens_core::methods::Method;

    use super::*;
    use crate::source::Source;

    #[test]
    fn the_tiny_shape_is_that_of_the_embedded_model() {
        let embedded = LlamaConfig::open(&Source::embedded()).unwrap();
        let tiny = SHAPES[0].config(None);
        assert_eq!(tiny.spec(), embedded.spec());
        assert_eq!(tiny.tie_word_embeddings, embedded.tie_word_embeddings);
    }

    #[test]
    fn parameters_are_those_of_the_published_models() {
        for (name, n) in [("tiny", 787_584), ("llama2-7b", 6_738_415_616), ("llama3-8b", 8_030_261_248)] {
            assert_eq!(Shape::find(name).unwrap().n_parameters(None), n, "{name}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_model() {
        let logits = |seed, storage| {
            let mut lens = random::<Flex>(&SHAPES[0], Some(2), seed, storage, FlexDevice, "cpu").unwrap();
            let model = lens.model().clone();
            assert_eq!(model.dtype, storage.name());
            assert_eq!(model.n_parameters, SHAPES[0].n_parameters(Some(2)));
            assert_eq!(model.name, "tiny, 2 of 4 layers, random weights");
            lens.begin(&Setup::new(&Method::full(), &model.spec, 3).unwrap()).unwrap();
            lens.feed(&[1, 2, 3], Rows::Last, &mut ()).unwrap()
        };
        for storage in Storage::ALL {
            assert_eq!(logits(1, storage), logits(1, storage));
            assert_ne!(logits(1, storage), logits(2, storage));
        }
    }
}
