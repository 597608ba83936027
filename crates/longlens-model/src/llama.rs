//! Llama: RMSNorm, rotary attention with grouped keys, SwiGLU.
//!
//! Touvron et al., 2023, arXiv:2302.13971 and arXiv:2307.09288; grouped keys by Ainslie et al., 2023, arXiv:2305.13245.
//! Fields carry the names of Hugging Face checkpoints, so a tensor's path is its name.

#![allow(clippy::struct_field_names)] // the checkpoint's names, also in the code that the derives write

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::silu;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use longlens_core::lens::LensError;

use crate::config::LlamaConfig;
use crate::decoder::{Attend, Decoder, Projected};

/// `LlamaForCausalLM`.
#[derive(Module, Debug)]
pub struct LlamaForCausalLM<B: Backend> {
    model: LlamaModel<B>,
    /// Absent when the embedding serves as output matrix.
    lm_head: Option<Linear<B>>,
}

#[derive(Module, Debug)]
struct LlamaModel<B: Backend> {
    embed_tokens: Embedding<B>,
    layers: Vec<LlamaLayer<B>>,
    norm: RmsNorm<B>,
}

#[derive(Module, Debug)]
struct LlamaLayer<B: Backend> {
    input_layernorm: RmsNorm<B>,
    self_attn: LlamaAttention<B>,
    post_attention_layernorm: RmsNorm<B>,
    mlp: LlamaMlp<B>,
}

#[derive(Module, Debug)]
struct LlamaAttention<B: Backend> {
    q_proj: Linear<B>,
    k_proj: Linear<B>,
    v_proj: Linear<B>,
    o_proj: Linear<B>,
}

#[derive(Module, Debug)]
struct LlamaMlp<B: Backend> {
    gate_proj: Linear<B>,
    up_proj: Linear<B>,
    down_proj: Linear<B>,
}

impl<B: Backend> LlamaForCausalLM<B> {
    /// A model of this shape, its weights still to be loaded.
    pub fn new(config: &LlamaConfig, device: &B::Device) -> Self {
        let spec = config.spec();
        let norm = || RmsNormConfig::new(spec.d_model).with_epsilon(config.rms_norm_eps).init(device);
        let linear = |from, to, bias| LinearConfig::new(from, to).with_bias(bias).init(device);
        let (query, key) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
        let layer = |_| LlamaLayer {
            input_layernorm: norm(),
            self_attn: LlamaAttention {
                q_proj: linear(spec.d_model, query, config.attention_bias),
                k_proj: linear(spec.d_model, key, config.attention_bias),
                v_proj: linear(spec.d_model, key, config.attention_bias),
                o_proj: linear(query, spec.d_model, config.attention_bias),
            },
            post_attention_layernorm: norm(),
            mlp: LlamaMlp {
                gate_proj: linear(spec.d_model, spec.d_mlp, config.mlp_bias),
                up_proj: linear(spec.d_model, spec.d_mlp, config.mlp_bias),
                down_proj: linear(spec.d_mlp, spec.d_model, config.mlp_bias),
            },
        };
        Self {
            model: LlamaModel {
                embed_tokens: EmbeddingConfig::new(spec.vocab_size, spec.d_model).init(device),
                layers: (0..spec.n_layers).map(layer).collect(),
                norm: norm(),
            },
            lm_head: (!config.tie_word_embeddings).then(|| linear(spec.d_model, spec.vocab_size, false)),
        }
    }
}

impl<B: Backend> Decoder<B> for LlamaForCausalLM<B> {
    fn n_layers(&self) -> usize {
        self.model.layers.len()
    }

    fn embed(&self, tokens: Tensor<B, 1, Int>) -> Tensor<B, 2> {
        self.model.embed_tokens.weight.val().select(0, tokens) // [seq, d_model]
    }

    fn layer(&self, layer: usize, hidden: Tensor<B, 2>, attend: &mut Attend<'_, B>) -> Result<Tensor<B, 2>, LensError> {
        let LlamaLayer { input_layernorm, self_attn, post_attention_layernorm, mlp } = &self.model.layers[layer];
        let hidden = hidden.clone() + self_attn.forward(input_layernorm.forward(hidden), attend)?;
        Ok(hidden.clone() + mlp.forward(post_attention_layernorm.forward(hidden)))
    }

    fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let hidden = self.model.norm.forward(hidden); // [seq, d_model]
        match &self.lm_head {
            Some(head) => head.forward(hidden), // [seq, vocab_size]
            None => hidden.matmul(self.model.embed_tokens.weight.val().transpose()),
        }
    }
}

impl<B: Backend> LlamaAttention<B> {
    /// `hidden`: `[seq, d_model]`; returns the same shape.
    fn forward(&self, hidden: Tensor<B, 2>, attend: &mut Attend<'_, B>) -> Result<Tensor<B, 2>, LensError> {
        let context = attend(Projected {
            query: self.q_proj.forward(hidden.clone()), // [seq, n_heads * head_dim]
            key: self.k_proj.forward(hidden.clone()),   // [seq, n_kv_heads * head_dim]
            value: self.v_proj.forward(hidden),
        })?; // [seq, n_heads * head_dim]
        Ok(self.o_proj.forward(context))
    }
}

impl<B: Backend> LlamaMlp<B> {
    /// `hidden`: `[seq, d_model]`; returns the same shape.
    fn forward(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let gate = silu(self.gate_proj.forward(hidden.clone())); // [seq, d_mlp]
        self.down_proj.forward(gate * self.up_proj.forward(hidden))
    }
}
