//! What a config says, as metadata of a GGUF file: the way back from `gguf/config.rs`. Whether all of it can be description there is for the
//! caller to see, who reads back what was written.

use longlens_core::rope::Rope;
use serde_json::{Map, Value as Json};

use crate::config::Config;
use crate::gguf::families::{Architecture, FIELDS, REALS};
use crate::gguf::{Entries, FREQS, LONG, SHORT, Value};

/// Metadata of a model, and the small tensors that say how its frequencies are scaled.
pub(crate) struct Description {
    pub entries: Entries,
    pub factors: Vec<(&'static str, Vec<f32>)>,
}

impl Description {
    /// Of a model called `name`, whose config has the fields `map`.
    pub fn new(architecture: &Architecture, config: &Config, map: &Map<String, Json>, name: &str) -> Self {
        let mut description = Self { entries: Vec::new(), factors: Vec::new() };
        description.add("general.architecture", Value::Text(architecture.arch.into()));
        description.add("general.name", Value::Text(name.into()));
        for (field, n) in [
            ("context_length", config.max_position_embeddings),
            ("embedding_length", config.hidden_size),
            ("block_count", config.num_hidden_layers),
            ("feed_forward_length", config.intermediate_size),
            ("attention.head_count", config.num_attention_heads),
            ("attention.head_count_kv", config.num_key_value_heads),
            ("attention.key_length", config.head_dim),
            ("attention.value_length", config.head_dim),
            ("rope.dimension_count", config.rotary_dim),
            ("vocab_size", config.vocab_size),
        ] {
            description.add(&architecture.key(field), whole(n));
        }
        description.add(&architecture.key("rope.freq_base"), Value::Real(config.rope_theta));
        for (name, field) in FIELDS {
            let value = map.get(*name).and_then(|value| match value {
                Json::Bool(flag) => Some(Value::Flag(*flag)),
                Json::Number(n) if n.is_f64() => n.as_f64().map(Value::Real),
                // what may have a fraction is a number of its own kind
                Json::Number(n) if REALS.contains(field) => n.as_f64().map(Value::Real),
                Json::Number(n) => n.as_u64().map(|n| Value::Whole(n.into())),
                _ => None,
            });
            if let Some(value) = value {
                description.add(&architecture.key(field), value);
            }
        }
        description.scaling(architecture, config);
        description.tokens(config);
        description
    }

    fn add(&mut self, key: &str, value: Value) {
        self.entries.push((key.into(), value));
    }

    fn scaling(&mut self, architecture: &Architecture, config: &Config) {
        let (spec, setting) = (config.spec(), config.rope_scaling.setting());
        let kind = setting.info().name;
        let Some(rope) = config.rope_scaling.resolve(&spec).ok().filter(|_| kind != "none") else { return };
        let original = config.original_max_position_embeddings;
        self.add(&architecture.key("rope.scaling.original_context_length"), whole(original));
        match kind {
            "linear" | "yarn" => {
                self.add(&architecture.key("rope.scaling.type"), Value::Text(kind.into()));
                let names = [("factor", "factor"), ("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")];
                for (name, field) in names.into_iter().filter(|(name, _)| *name == "factor" || setting.is_given(name)) {
                    let key = architecture.key(&format!("rope.scaling.{field}"));
                    if let Some(number) = setting.number(name, &spec) {
                        self.add(&key, Value::Real(number));
                    }
                }
            }
            "llama3" => {
                let plain = Rope::plain(config.rope_theta, config.rotary_dim).frequencies(0).inv_freq;
                let scaled = rope.frequencies(0).inv_freq;
                let factors = plain.iter().zip(scaled).map(|(plain, scaled)| (plain / scaled) as f32).collect();
                self.factors.push((FREQS, factors));
            }
            _ => {
                let Some(factors) = &config.rope_factors else { return };
                self.add(&architecture.key("rope.scaling.attn_factor"), Value::Real(rope.frequencies(0).amplitude));
                for (name, factors) in [(LONG, &factors.long), (SHORT, &factors.short)] {
                    self.factors.push((name, factors.iter().map(|factor| *factor as f32).collect()));
                }
            }
        }
    }

    /// First token, and up to three that end a text.
    fn tokens(&mut self, config: &Config) {
        let ends = ["eos", "eot", "eom"].into_iter().zip(&config.eos_tokens);
        for (name, id) in config.bos_token.iter().map(|id| ("bos", id)).chain(ends) {
            self.add(&format!("tokenizer.ggml.{name}_token_id"), Value::Whole((*id).into()));
        }
    }
}

fn whole(n: usize) -> Value {
    Value::Whole(n as i128)
}
