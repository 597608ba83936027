//! Llama: RMSNorm, rotary attention with grouped keys, SwiGLU.
//!
//! Touvron et al., 2023, arXiv:2302.13971 and arXiv:2307.09288; grouped keys by Ainslie et al., 2023, arXiv:2305.13245.
//! Fields carry the names of Hugging Face checkpoints, so a field's path is its tensor's name.

#![allow(clippy::struct_field_names)] // the checkpoint's names

use burn::tensor::Tensor;
use longlens_core::lens::LensError;
use longlens_kernel::Kernels;
use longlens_kernel::linear::Matrix;

use crate::config::LlamaConfig;
use crate::decoder::{Attend, Decoder, Projected};
use crate::weights::{Blueprint, Parameters};

/// `LlamaForCausalLM` on a backend.
pub type LlamaForCausalLM<B> = Llama<<B as Kernels>::Matrix, Tensor<B, 1>>;

/// A Llama of matrices `M` and vectors `V`.
#[derive(Debug, Clone)]
pub struct Llama<M, V> {
    model: Model<M, V>,
    /// Absent when the embedding serves as output matrix.
    lm_head: Option<M>,
    rms_norm_eps: f64,
}

#[derive(Debug, Clone)]
struct Model<M, V> {
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

impl Blueprint for LlamaConfig {
    type Model<M, V> = Llama<M, V>;

    fn build<P: Parameters>(&self, from: &mut P) -> Llama<P::Matrix, P::Vector> {
        let spec = self.spec();
        let (query, key) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
        let embed_tokens = from.matrix("model.embed_tokens", [spec.vocab_size, spec.d_model], false);
        let mut layer = |layer: usize| {
            let name = |field: &str| format!("model.layers.{layer}.{field}");
            let input_layernorm = from.vector(&name("input_layernorm"), spec.d_model);
            let mut attn =
                |field: &str, shape| from.matrix(&name(&format!("self_attn.{field}")), shape, self.attention_bias);
            let self_attn = Attention {
                q_proj: attn("q_proj", [query, spec.d_model]),
                k_proj: attn("k_proj", [key, spec.d_model]),
                v_proj: attn("v_proj", [key, spec.d_model]),
                o_proj: attn("o_proj", [spec.d_model, query]),
            };
            let post_attention_layernorm = from.vector(&name("post_attention_layernorm"), spec.d_model);
            let mut mlp = |field: &str, shape| from.matrix(&name(&format!("mlp.{field}")), shape, self.mlp_bias);
            let mlp = Mlp {
                gate_proj: mlp("gate_proj", [spec.d_mlp, spec.d_model]),
                up_proj: mlp("up_proj", [spec.d_mlp, spec.d_model]),
                down_proj: mlp("down_proj", [spec.d_model, spec.d_mlp]),
            };
            Layer { input_layernorm, self_attn, post_attention_layernorm, mlp }
        };
        let layers = (0..spec.n_layers).map(&mut layer).collect();
        let norm = from.vector("model.norm", spec.d_model);
        let output = (!self.tie_word_embeddings).then_some([spec.vocab_size, spec.d_model]);
        Llama {
            model: Model { embed_tokens, layers, norm },
            lm_head: output.map(|shape| from.matrix("lm_head", shape, false)),
            rms_norm_eps: self.rms_norm_eps,
        }
    }
}

impl<B: Kernels> Decoder<B> for LlamaForCausalLM<B> {
    fn n_layers(&self) -> usize {
        self.model.layers.len()
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
        Ok(down_proj.product_add(B::swiglu(gate, up), hidden))
    }

    fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let normed = B::rms_norm(hidden, &self.model.norm, self.rms_norm_eps); // [seq, d_model]
        self.lm_head.as_ref().unwrap_or(&self.model.embed_tokens).product(normed) // [seq, vocab_size]
    }
}
