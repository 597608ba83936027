//! Model families, each named like the `model_type` of its `config.json`.
//!
//! A family is one file: what it reads of the config, which tensors it is made of, and what its layers are made of. The list below
//! is all that has to name it; everything else opens a [`Config`] and runs a [`Stack`].

use longlens_core::nearest::nearest_within;
use longlens_core::spec::ModelSpec;

use crate::config::Config;
use crate::error::OpenError;
use crate::fields::Fields;
use crate::layers::Stack;
use crate::weights::{Blueprint, Parameters};

pub mod gemma;
pub mod gemma2;
pub mod gemma3_text;
pub mod granite;
pub mod llama;
pub mod mistral;
pub mod mixtral;
pub mod olmo2;
pub mod phi;
pub mod phi3;
pub mod qwen2;
pub mod qwen2_moe;
pub mod qwen3;
pub mod qwen3_moe;
pub mod smollm3;
pub mod stablelm;
pub mod starcoder2;

/// The list, and the type that holds what any family reads.
macro_rules! families {
    ($($family:ident,)*) => {
        /// Every family.
        pub static FAMILIES: &[Family] = &[$(Family {
            model_type: stringify!($family),
            title: $family::Architecture::TITLE,
            fields: $family::Architecture::FIELDS,
            defaults: $family::Architecture::DEFAULTS,
            shapes: $family::Architecture::SHAPES,
            read: |fields, warnings| Ok(Architecture::$family($family::Architecture::read(fields, warnings)?)),
        }),*];

        /// What a family reads of a config beside the fields that all have.
        #[allow(non_camel_case_types)] // the names of `model_type`
        #[derive(Debug, Clone, PartialEq)]
        pub enum Architecture {
            $(#[doc = concat!("`", stringify!($family), "`.")] $family($family::Architecture),)*
        }

        impl Architecture {
            /// Puts what this family's layers do otherwise than a Llama's into the spec.
            pub(crate) fn specify(&self, spec: &mut ModelSpec) {
                match self { $(Self::$family(own) => own.specify(spec),)* }
            }
        }

        impl Blueprint for Config {
            type Model<M, V> = Stack<M, V>;

            fn build<P: Parameters>(&self, from: &mut P) -> Stack<P::Matrix, P::Vector> {
                match &self.architecture { $(Architecture::$family(own) => own.build(self, from),)* }
            }
        }
    };
}

// a new family adds its line here and its module above; those that people know best come first
families! {
    llama,
    mistral,
    mixtral,
    qwen2,
    qwen2_moe,
    qwen3,
    qwen3_moe,
    phi,
    phi3,
    gemma,
    gemma2,
    gemma3_text,
    olmo2,
    smollm3,
    granite,
    stablelm,
    starcoder2,
}

/// What the file of a family gives: the fields of its own, and what its layers are made of.
pub(crate) trait FamilyFile: Sized {
    /// Its name in its papers.
    const TITLE: &'static str;
    /// Fields that `read` handles, in groups; `config/elsewhere` refuses or reports all other fields that foreign families have.
    const FIELDS: &'static [&'static [&'static str]];
    /// Values of shared fields that a config leaves out.
    const DEFAULTS: Defaults;
    /// Shapes of its models for random weights.
    const SHAPES: &'static [Shape] = &[];

    /// Reads the fields of its own: called after the sizes of heads and the fields of RoPE were checked, and before the numbers of
    /// layers and tokens and the size of the MLP are. What a user should know goes to `warnings`.
    fn read(fields: Fields<'_>, warnings: &mut Vec<String>) -> Result<Self, OpenError>;

    /// Changes the spec, already filled in from the shared fields, where attention is not a Llama's: `layers`, `score_scale`,
    /// `soft_cap`, and `d_mlp` where a token meets several MLPs.
    fn specify(&self, _spec: &mut ModelSpec) {}

    /// Asks for every parameter once, in the same order each time: the embedding first, what gives logits last (the last matrix
    /// outside the layers counts as such). Names of layers begin `model.layers.<n>.`.
    fn build<P: Parameters>(&self, config: &Config, from: &mut P) -> Stack<P::Matrix, P::Vector>;
}

/// What transformers takes where a config leaves a shared field out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Defaults {
    /// `max_position_embeddings`.
    pub context: usize,
    /// `head_dim`; where this is absent, too, the width of the stream divided by the heads.
    pub head_dim: Option<usize>,
    /// RoPE base.
    pub rope_theta: f64,
    /// Part of each head that rotates; absent in families that rotate whole heads whatever the config says.
    pub partial_rotary_factor: Option<f64>,
    /// `tie_word_embeddings`.
    pub is_tied: bool,
    /// Whether `max_position_embeddings` beside a linear scaling is the context after it.
    pub context_is_scaled: bool,
}

impl Defaults {
    /// Those of a Llama.
    pub const LLAMA: Self = Self {
        context: 2048,
        head_dim: None,
        rope_theta: 10_000.0,
        partial_rotary_factor: None,
        is_tied: false,
        context_is_scaled: false,
    };
}

/// A model family.
#[derive(Debug)]
pub struct Family {
    /// What `model_type` is in its configs, and its file here.
    pub model_type: &'static str,
    /// The name in its papers.
    pub title: &'static str,
    /// Fields of `config.json` that are its own, in groups.
    pub(crate) fields: &'static [&'static [&'static str]],
    /// Values of shared fields that a config leaves out.
    pub(crate) defaults: Defaults,
    /// Shapes of its models for random weights.
    pub(crate) shapes: &'static [Shape],
    /// Reads the fields of its own.
    pub(crate) read: fn(Fields<'_>, &mut Vec<String>) -> Result<Architecture, OpenError>,
}

/// A published config, or the part of it that decides speed, under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// What it is called.
    pub name: &'static str,
    /// The text of a `config.json`.
    pub config: &'static str,
}

impl Family {
    /// Whether a field of `config.json` is one of its own.
    pub(crate) fn reads(&self, field: &str) -> bool {
        self.fields.iter().any(|group| group.contains(&field))
    }

    /// What class names of its models begin with, in small letters: `qwen3moe` of `Qwen3MoeForCausalLM`.
    pub(crate) fn class(&self) -> String {
        self.model_type.trim_end_matches("_text").replace('_', "")
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.model_type == other.model_type
    }
}

/// The family of a `model_type` that stands in `file`.
pub fn find(file: &str, model_type: &str) -> Result<&'static Family, OpenError> {
    FAMILIES.iter().find(|family| family.model_type == model_type).ok_or_else(|| {
        let known: Vec<_> = FAMILIES.iter().map(|family| family.model_type).collect();
        OpenError::UnknownFamily {
            file: file.into(),
            model_type: model_type.into(),
            nearest: slip(model_type, &known),
            known,
        }
    })
}

/// The family that was meant by a misspelt name. One letter is a slip; another digit, or the name of another real family, is not.
fn slip(model_type: &str, known: &[&'static str]) -> Option<&'static str> {
    let digits = |name: &str| name.chars().filter(char::is_ascii_digit).collect::<String>();
    let is_other = REAL.contains(&model_type.to_ascii_lowercase().as_str());
    let alike = known.iter().copied().filter(|known| digits(known) == digits(model_type));
    (!is_other).then(|| nearest_within(model_type, alike, 1)).flatten()
}

/// Names of other families that are one letter away from a known one.
const REAL: &[&str] = &["mllama", "llava", "flava", "llama_moe", "phimoe", "olmo", "qwen2_vl"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_family_and_a_stranger_gets_the_list() {
        for family in FAMILIES {
            assert_eq!(find("config.json", family.model_type).unwrap(), family);
            let (model_type, meant) = (family.model_type, format!("did you mean `{}`?", family.model_type));
            for slip in [&model_type[1..], &format!("{}{model_type}", &model_type[..1]), &model_type.to_uppercase()] {
                let slip = find("config.json", slip).unwrap_err();
                assert!(slip.to_string().starts_with("config.json: unknown `model_type` `"), "{slip}");
                assert_eq!(slip.help().unwrap(), meant);
            }
        }
        let known: Vec<_> = FAMILIES.iter().map(|family| family.model_type).collect();
        let strangers =
            ["llama4", "llama4_text", "mllama", "llava", "llama2", "olmo", "phi4", "gemma3n", "mamba", "opt", ""];
        for stranger in strangers {
            let error = find("config.json", stranger).unwrap_err();
            assert_eq!(error.help().unwrap(), format!("known families: {}", known.join(", ")), "{stranger}");
        }
    }
}
