//! Qwen2: a Llama whose queries, keys and values have biases. Qwen1.5 and Qwen2.5 carry the same `model_type`.
//!
//! Yang et al., 2024, arXiv:2407.10671.

use longlens_core::spec::ModelSpec;
use longlens_kernel::gated::Activation;

use super::{Defaults, FamilyFile, Shape};
use crate::config::windows::Windows;
use crate::config::{self, Config};
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::Stack;
use crate::weights::Parameters;

/// What Qwen2 reads beside the fields that all families share.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// What the norms add under the root.
    pub rms_norm_eps: f64,
    /// Activation of the MLP's gate.
    pub hidden_act: Activation,
    /// Windows of the upper layers, where the config switches them on.
    pub windows: Windows,
}

impl FamilyFile for Architecture {
    const TITLE: &'static str = "Qwen2";
    const FIELDS: &'static [&'static [&'static str]] = &[&["rms_norm_eps"], Windows::SWITCHED];
    const DEFAULTS: Defaults = Defaults { context: 32_768, ..Defaults::LLAMA };
    const SHAPES: &'static [Shape] = SHAPES;

    fn read(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<Self, OpenError> {
        Ok(Self {
            rms_norm_eps: config::rms_norm_eps(fields, 1e-6)?,
            hidden_act: config::activation(fields, "hidden_act", Activation::Silu)?,
            windows: Windows::of_upper_layers(fields, warnings)?,
        })
    }

    fn specify(&self, spec: &mut ModelSpec) {
        self.windows.specify(spec);
    }

    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector> {
        let eps = self.rms_norm_eps;
        Stack::pre_norm(
            from,
            config.sizes(),
            eps,
            |asker| asker.projections("o_proj", [true, false]),
            |asker, _| asker.gated("mlp", config.intermediate_size, false, self.hidden_act),
        )
    }
}

/// The numbers of published configs that decide speed, the smallest first.
const SHAPES: &[Shape] = &[Shape {
    name: "qwen2.5-7b",
    config: r#"{"model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 3584, "num_attention_heads": 28,
        "num_key_value_heads": 4, "intermediate_size": 18944, "vocab_size": 152064, "use_sliding_window": false,
        "max_position_embeddings": 131072, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6}"#,
}];

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// What a config with these fields has for windows, and what is said of it.
    fn read(inside: &str) -> Result<(Vec<Option<usize>>, Vec<String>), String> {
        let text = format!(
            r#"{{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 256, "hidden_size": 64,
            "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512{inside}}}"#
        );
        let config = Config::parse("config.json", text.as_bytes()).map_err(|error| error.to_string())?;
        Ok((config.spec().layers.iter().map(|layer| layer.window).collect(), config.all_warnings()))
    }

    #[test]
    fn windows_are_those_of_the_upper_layers_where_they_are_switched_on() {
        for (released, windows) in [
            (
                r#", "max_window_layers": 28, "sliding_window": 131072, "use_sliding_window": false, "use_mrope": false"#,
                vec![],
            ),
            (r#", "sliding_window": null, "layer_types": ["full_attention", "full_attention"]"#, vec![]),
            (r#", "use_sliding_window": true, "sliding_window": 64, "max_window_layers": 2"#, vec![]),
            (r#", "use_sliding_window": true, "sliding_window": 512, "max_window_layers": 0"#, vec![Some(512); 2]),
            (r#", "use_sliding_window": true, "sliding_window": 64, "max_window_layers": 1"#, vec![None, Some(64)]),
            (
                r#", "use_sliding_window": true, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]"#,
                vec![Some(64), None],
            ),
        ] {
            assert_eq!(read(released), Ok((windows, vec![])), "{released}");
        }
        let refused = read(r#", "layer_types": ["full_attention", "chunked_attention"]"#).unwrap_err();
        assert_eq!(refused, r#"config.json: `layer_types` = ["full_attention","chunked_attention"] is not supported"#);
    }

    #[test]
    fn windows_that_the_config_both_lists_and_switches_off_are_told() {
        let inside = r#", "use_sliding_window": false, "layer_types": ["full_attention", "sliding_attention"]"#;
        let (windows, warnings) = read(inside).unwrap();
        assert_eq!(windows, []);
        let expected = "config.json names sliding_attention in `layer_types`, but `use_sliding_window` is false: no layer has a window";
        assert_eq!(warnings, [expected]);
    }

    #[test]
    fn what_is_a_field_of_another_family_is_told() {
        let [told] = read(r#", "attention_bias": true"#).unwrap().1.try_into().unwrap();
        assert!(told.starts_with("config.json has `attention_bias` = true, which Qwen2 models have not"), "{told}");
    }
}
