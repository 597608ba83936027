//! Llama: RMSNorm, rotary attention with grouped keys, SwiGLU.
//!
//! Touvron et al., 2023, arXiv:2302.13971 and arXiv:2307.09288; grouped keys by Ainslie et al., 2023, arXiv:2305.13245.
//! Fields carry the names of Hugging Face checkpoints, so a field's path is its tensor's name.

#![allow(clippy::struct_field_names)] // the checkpoint's names

use burn_tensor::Tensor;
use longlens_core::lens::LensError;
use longlens_kernel::gated::Activation;
use longlens_kernel::linear::Matrix;
use longlens_kernel::{Kernels, Operation};

use super::{FamilyFile, Shape};
use crate::config::{self, Config};
use crate::decoder::{Attend, Decoder, Projected};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::weights::{Linear, Parameters};

/// Fields that other families have not, or call otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Whether the four attention products add a bias.
    pub attention_bias: bool,
    /// Whether the three MLP products add a bias.
    pub mlp_bias: bool,
}

/// A Llama of matrices `M` and vectors `V`.
#[derive(Debug, Clone)]
pub struct Model<M, V> {
    model: Body<M, V>,
    /// Absent when the embedding serves as output matrix.
    lm_head: Option<M>,
    rms_norm_eps: f64,
}

#[derive(Debug, Clone)]
struct Body<M, V> {
    embed_tokens: M,
    layers: Vec<Layer<M, V>>,
    norm: V,
}

#[derive(Debug, Clone)]
struct Layer<M, V> {
    input_layernorm: V,
    self_attn: Attention<M>,
    post_attention_layernorm: V,
    mlp: Mlp<M>,
}

#[derive(Debug, Clone)]
struct Attention<M> {
    q_proj: M,
    k_proj: M,
    v_proj: M,
    o_proj: M,
}

#[derive(Debug, Clone)]
struct Mlp<M> {
    gate_proj: M,
    up_proj: M,
    down_proj: M,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Llama";
    const FIELDS: &'static [&'static str] = &["rms_norm_eps", "attention_bias", "mlp_bias"];
    const DEFAULT_CONTEXT: usize = 2048;
    const SHAPES: &'static [Shape] = SHAPES;
    type Model<M, V> = Model<M, V>;

    fn read(fields: Fields<'_>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields)?,
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
        })
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Model<P::Matrix, P::Vector> {
        let (width, mlp_width, vocab_size) = (config.hidden_size, config.intermediate_size, config.vocab_size);
        let query = config.num_attention_heads * config.head_dim;
        let key = config.num_key_value_heads * config.head_dim;
        let embed_tokens = from.matrix(Linear::new("model.embed_tokens", [vocab_size, width]));
        let mut layer = |layer: usize| {
            let name = |field: &str| format!("model.layers.{layer}.{field}");
            let input_layernorm = from.norm_weight(&name("input_layernorm"), width, 0.0);
            let mut attn = |field: &str, shape| {
                from.matrix(Linear::new(&name(&format!("self_attn.{field}")), shape).bias(self.attention_bias))
            };
            let self_attn = Attention {
                q_proj: attn("q_proj", [query, width]),
                k_proj: attn("k_proj", [key, width]),
                v_proj: attn("v_proj", [key, width]),
                o_proj: attn("o_proj", [width, query]),
            };
            let post_attention_layernorm = from.norm_weight(&name("post_attention_layernorm"), width, 0.0);
            let mut mlp = |field: &str, shape| {
                from.matrix(Linear::new(&name(&format!("mlp.{field}")), shape).bias(self.mlp_bias))
            };
            let mlp = Mlp {
                gate_proj: mlp("gate_proj", [mlp_width, width]),
                up_proj: mlp("up_proj", [mlp_width, width]),
                down_proj: mlp("down_proj", [width, mlp_width]),
            };
            Layer { input_layernorm, self_attn, post_attention_layernorm, mlp }
        };
        let layers = (0..config.num_hidden_layers).map(&mut layer).collect();
        let norm = from.norm_weight("model.norm", width, 0.0);
        let output = (!config.tie_word_embeddings).then_some([vocab_size, width]);
        Model {
            model: Body { embed_tokens, layers, norm },
            lm_head: output.map(|shape| from.matrix(Linear::new("lm_head", shape))),
            rms_norm_eps: self.rms_norm_eps,
        }
    }
}

impl<B: Kernels> Decoder<B> for Model<B::Matrix, Tensor<B, 1>> {
    fn n_layers(&self) -> usize {
        self.model.layers.len()
    }

    fn operations(&self) -> Vec<Operation<'_, B>> {
        let embedding = &self.model.embed_tokens;
        let output = Operation::Linear(self.lm_head.as_ref().unwrap_or(embedding));
        vec![Operation::Embedding(embedding), output, Operation::RmsNorm, Operation::Gated(Activation::Silu)]
    }

    fn embed(&self, tokens: &[u32]) -> Tensor<B, 2> {
        self.model.embed_tokens.rows(tokens) // [seq, d_model]
    }

    fn layer(&self, layer: usize, hidden: Tensor<B, 2>, attend: &mut Attend<'_, B>) -> Result<Tensor<B, 2>, LensError> {
        let Layer { input_layernorm, self_attn, post_attention_layernorm, mlp } = &self.model.layers[layer];
        let Attention { q_proj, k_proj, v_proj, o_proj } = self_attn;
        let Mlp { gate_proj, up_proj, down_proj } = mlp;

        let normed = B::rms_norm(hidden.clone(), input_layernorm, self.rms_norm_eps); // [seq, d_model]
        let [query, key, value] = Matrix::products([q_proj, k_proj, v_proj], normed);
        let context = attend(Projected { query, key, value })?; // [seq, n_heads * head_dim]
        let hidden = o_proj.product_add(context, hidden); // [seq, d_model]

        let normed = B::rms_norm(hidden.clone(), post_attention_layernorm, self.rms_norm_eps);
        let [gate, up] = Matrix::products([gate_proj, up_proj], normed); // [seq, d_mlp]
        Ok(down_proj.product_add(B::gated(Activation::Silu, gate, up), hidden))
    }

    fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let normed = B::rms_norm(hidden, &self.model.norm, self.rms_norm_eps); // [seq, d_model]
        self.lm_head.as_ref().unwrap_or(&self.model.embed_tokens).product(normed) // [seq, vocab_size]
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[
    Shape {
        name: "tiny",
        config: r#"{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 128, "num_attention_heads": 4,
            "num_key_value_heads": 4, "head_dim": 32, "intermediate_size": 256, "vocab_size": 1024,
            "max_position_embeddings": 256, "rope_theta": 3000.0, "tie_word_embeddings": true, "rms_norm_eps": 1e-5}"#,
    },
    Shape {
        name: "1b-like",
        config: r#"{"model_type": "llama", "num_hidden_layers": 16, "hidden_size": 2048, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192, "vocab_size": 32000,
            "max_position_embeddings": 8192, "rope_theta": 500000.0, "rms_norm_eps": 1e-5}"#,
    },
    Shape {
        name: "llama2-7b",
        config: r#"{"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
            "num_key_value_heads": 32, "head_dim": 128, "intermediate_size": 11008, "vocab_size": 32000,
            "max_position_embeddings": 4096, "rope_theta": 10000.0, "rms_norm_eps": 1e-5}"#,
    },
    Shape {
        name: "llama3-8b",
        config: r#"{"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 14336, "vocab_size": 128256,
            "max_position_embeddings": 8192, "rope_theta": 500000.0, "rms_norm_eps": 1e-5}"#,
    },
];
