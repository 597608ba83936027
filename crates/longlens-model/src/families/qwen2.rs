//! Qwen2: a Llama whose queries, keys and values have biases. Qwen1.5 and Qwen2.5 carry the same `model_type`.
//!
//! Yang et al., 2024, arXiv:2407.10671. Fields carry the names of Hugging Face checkpoints, so a field's path is its tensor's name.
//! Windows (`use_sliding_window`, which no released model sets) are refused with the fields that no family here computes.

#![allow(clippy::struct_field_names)] // the checkpoint's names

use burn_tensor::Tensor;
use longlens_core::lens::LensError;
use longlens_kernel::gated::Activation;
use longlens_kernel::linear::Matrix;
use longlens_kernel::{Kernels, Operation};

use super::FamilyFile;
use crate::config::{self, Config};
use crate::decoder::{Attend, Decoder, Projected};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::weights::{Linear, Parameters};

/// Fields of `config.json` that other families have not, or call otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
}

/// A Qwen2 of matrices `M` and vectors `V`.
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
    const TITLE: &'static str = "Qwen2";
    const FIELDS: &'static [&'static str] = &["rms_norm_eps"];
    const DEFAULT_CONTEXT: usize = 32_768;
    type Model<M, V> = Model<M, V>;

    fn read(fields: Fields<'_>) -> Result<Self, OpenError> {
        Ok(Self { rms_norm_eps: config::rms_norm_eps(fields)? })
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Model<P::Matrix, P::Vector> {
        let (width, mlp_width, vocab_size) = (config.hidden_size, config.intermediate_size, config.vocab_size);
        let query = config.num_attention_heads * config.head_dim;
        let key = config.num_key_value_heads * config.head_dim;
        let embed_tokens = from.matrix(Linear::new("model.embed_tokens", [vocab_size, width]));
        let mut layer = |layer: usize| {
            let name = |field: &str| format!("model.layers.{layer}.{field}");
            let mut linear = |field: &str, shape, bias| from.matrix(Linear::new(&name(field), shape).bias(bias));
            let self_attn = Attention {
                q_proj: linear("self_attn.q_proj", [query, width], true),
                k_proj: linear("self_attn.k_proj", [key, width], true),
                v_proj: linear("self_attn.v_proj", [key, width], true),
                o_proj: linear("self_attn.o_proj", [width, query], false),
            };
            let mlp = Mlp {
                gate_proj: linear("mlp.gate_proj", [mlp_width, width], false),
                up_proj: linear("mlp.up_proj", [mlp_width, width], false),
                down_proj: linear("mlp.down_proj", [width, mlp_width], false),
            };
            let input_layernorm = from.norm_weight(&name("input_layernorm"), width, 0.0);
            let post_attention_layernorm = from.norm_weight(&name("post_attention_layernorm"), width, 0.0);
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

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// What is said of a config with these fields.
    fn read(inside: &str) -> Result<Vec<String>, String> {
        let text = format!(
            r#"{{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 256, "hidden_size": 64,
            "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512{inside}}}"#
        );
        let config = Config::parse("config.json", text.as_bytes()).map_err(|error| error.to_string());
        config.map(|config| config.all_warnings())
    }

    #[test]
    fn fields_of_released_configs_are_passed_over_and_windows_refused() {
        for released in [
            r#", "max_window_layers": 28, "sliding_window": 131072, "use_sliding_window": false, "use_mrope": false"#,
            r#", "sliding_window": null, "layer_types": ["full_attention", "full_attention"], "attention_dropout": 0.0"#,
        ] {
            assert_eq!(read(released), Ok(vec![]), "{released}");
        }
        for (refused, field) in [
            (r#", "use_sliding_window": true, "sliding_window": 64"#, "`use_sliding_window` = true"),
            (
                r#", "layer_types": ["full_attention", "sliding_attention"]"#,
                r#"`layer_types` = ["full_attention","sliding_attention"]"#,
            ),
        ] {
            assert_eq!(read(refused), Err(format!("config.json: {field} is not supported")));
        }
    }

    #[test]
    fn what_is_a_field_of_another_family_is_told() {
        let [told] = read(r#", "attention_bias": true"#).unwrap().try_into().unwrap();
        assert!(told.starts_with("config.json has `attention_bias` = true, which Qwen2 models have not"), "{told}");
    }
}
