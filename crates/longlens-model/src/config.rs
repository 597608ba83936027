//! `config.json` of a checkpoint of any family, in the spelling of transformers 5 and the one before it.
//!
//! | new | old |
//! |---|---|
//! | `rope_parameters` with `rope_theta`, `rope_type` | `rope_theta`, and `rope_scaling` with `rope_type` or `type` |
//! | `dtype` | `torch_dtype` |

mod elsewhere;
pub(crate) mod moe;
mod quantized;
mod rope;
pub(crate) mod windows;

use longlens_core::lens::ModelInfo;
use longlens_core::rope::RopeScaling;
use longlens_core::spec::{ModelSpec, RopeFactors};
use longlens_kernel::gated::Activation;
use longlens_kernel::linear::Storage;
use serde_json::{Map, Value};

use crate::error::OpenError;
use crate::families::{self, Architecture, Family};
use crate::fields::{self, Fields};
use crate::layers::Sizes;
use crate::source::Source;
use crate::weights::{Counts, WeightFiles};

/// What a model is built from; names as in `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The family of its `model_type`.
    pub family: &'static Family,
    /// What that family reads beside the fields here.
    pub architecture: Architecture,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; where the field is missing, as many as query heads.
    pub num_key_value_heads: usize,
    /// Dimensions of one head; where the field is missing, the family's default or `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Dimensions of a head that rotate.
    pub rotary_dim: usize,
    /// Longest context the model is meant for, as the config has it; where the field is missing, the family's default.
    pub max_position_embeddings: usize,
    /// Context the model was trained on, as far as the config tells: under a linear scaling longer than the field above.
    pub trained_context: usize,
    /// Trained context before RoPE scaling; without scaling, `max_position_embeddings`.
    pub original_max_position_embeddings: usize,
    /// RoPE base.
    pub rope_theta: f64,
    /// What the checkpoint itself does to its rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Factors of each frequency, in checkpoints that were searched for them (`longrope`).
    pub rope_factors: Option<RopeFactors>,
    /// Whether the output matrix is the embedding.
    pub tie_word_embeddings: bool,
    /// First token of every text.
    pub bos_token: Option<u32>,
    /// Tokens that end a generated text.
    pub eos_tokens: Vec<u32>,
    /// Number format of the weights, as the config tells it.
    pub dtype: Option<String>,
    /// What a user should know before trusting numbers.
    pub warnings: Vec<String>,
    /// What a user should know of the trained context, as long as nobody gives it.
    pub context_warnings: Vec<String>,
}

impl Config {
    /// Reads `config.json` of a checkpoint, and the end tokens of `generation_config.json` where it has one.
    pub fn open(source: &Source) -> Result<Self, OpenError> {
        let (file, bytes) = (source.shown("config.json"), source.require("config.json")?);
        let mut map = fields::parse(&file, &bytes)?;
        if let Some(limit) = tokenizer_limit(source)? {
            map.insert(rope::TOKENIZER_LIMIT.into(), limit);
        }
        let mut config = Self::of(&file, map)?;
        if let Some(bytes) = source.read("generation_config.json")? {
            config.take_tokens(&source.shown("generation_config.json"), &bytes)?;
        }
        config.warnings.extend(config.tokens_beyond());
        Ok(config)
    }

    /// Reads the text of a `config.json`; errors call it `file`.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, OpenError> {
        Self::of(file, fields::parse(file, bytes)?)
    }

    fn of(file: &str, mut map: Map<String, Value>) -> Result<Self, OpenError> {
        quantized::refuse(file, &map)?;
        rope::condense(file, &mut map)?;
        let fields = Fields::new(file, &map);
        let model_type = fields.require("model_type", fields.text("model_type"), "the name of a model family")?;
        let family = families::find(file, model_type)?;

        let count = |name: &str| fields.require(name, fields.count(name), "a whole number");
        let hidden_size = count("hidden_size")?;
        let num_attention_heads = count("num_attention_heads")?;
        let num_key_value_heads = fields.count("num_key_value_heads")?.unwrap_or(num_attention_heads);
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            return Err(fields.error("num_key_value_heads", &format!("a divisor of {num_attention_heads} query heads")));
        }
        let head_dim = match fields.count_up_to("head_dim", MAX_HEAD_DIM)?.or(family.defaults.head_dim) {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(num_attention_heads) => hidden_size / num_attention_heads,
            None => return Err(fields.error("hidden_size", &format!("a multiple of {num_attention_heads} heads"))),
        };
        if !head_dim.is_multiple_of(2) || head_dim > MAX_HEAD_DIM {
            let expected = format!("an even number up to {MAX_HEAD_DIM}, for rotary embeddings (it is {head_dim})");
            return Err(fields.error("head_dim", &expected));
        }
        let n_layers = fields.count_up_to("num_hidden_layers", MAX_LAYERS);
        let (mut warnings, mut context_warnings) = (elsewhere::check(fields, family, head_dim)?, Vec::new());
        let max_position_embeddings = fields.count("max_position_embeddings")?.unwrap_or_else(|| {
            context_warnings.push(format!(
                "{file} has no `max_position_embeddings`: {}, transformers' default, is taken; `trained_context` says otherwise",
                family.defaults.context
            ));
            family.defaults.context
        });
        let rope = rope::read(fields, family, head_dim, max_position_embeddings)?;
        warnings.extend(rope.warnings);
        context_warnings.extend(rope.context_warnings);
        let architecture = (family.read)(fields, &mut warnings)?;

        let config = Self {
            family,
            architecture,
            vocab_size: count("vocab_size")?,
            hidden_size,
            intermediate_size: count("intermediate_size")?,
            num_hidden_layers: fields.require("num_hidden_layers", n_layers, "a whole number")?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings,
            trained_context: rope.trained,
            original_max_position_embeddings: rope.original,
            rope_theta: rope.theta,
            rope_scaling: rope.scaling,
            rope_factors: rope.factors,
            rotary_dim: rope.rotary_dim,
            tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(family.defaults.is_tied),
            bos_token: fields.tokens("bos_token_id")?.first().copied(),
            eos_tokens: fields.tokens("eos_token_id")?,
            dtype: fields.text("dtype")?.or(fields.text("torch_dtype")?).map(Into::into),
            warnings,
            context_warnings,
        };
        let spec = config.spec();
        spec.rope.resolve(&spec).map_err(|error| OpenError::Rope { file: file.into(), error })?;
        Ok(config)
    }

    /// The numbers that decide positions, shapes and memory.
    pub fn spec(&self) -> ModelSpec {
        let (counts, stack) = Counts::with_model(self);
        let mut spec = ModelSpec {
            layer_weights: counts.layers,
            output_weights: counts.output,
            step_numbers: 0,
            trained_context: self.trained_context,
            n_layers: self.num_hidden_layers,
            n_heads: self.num_attention_heads,
            n_kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            rotary_dim: self.rotary_dim,
            d_model: self.hidden_size,
            d_mlp: self.intermediate_size,
            vocab_size: self.vocab_size,
            rope_theta: self.rope_theta,
            rope: self.rope_scaling.clone(),
            rope_factors: self.rope_factors.clone(),
            original_context: self.original_max_position_embeddings,
            layers: Vec::new(),
            score_scale: None,
            soft_cap: None,
        };
        self.architecture.specify(&mut spec);
        spec.step_numbers = stack.step_numbers(self.sizes(), spec.d_mlp);
        spec
    }

    /// Numbers of all query heads of a token, and of all its key heads.
    pub fn head_widths(&self) -> [usize; 2] {
        [self.num_attention_heads, self.num_key_value_heads].map(|n_heads| n_heads * self.head_dim)
    }

    /// The numbers that decide shapes of parameters.
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            head_widths: self.head_widths(),
            tie_word_embeddings: self.tie_word_embeddings,
        }
    }

    /// What the config tells of a model whose matrices are kept as `storage`; names, number formats and kernels are for the
    /// caller to fill in.
    pub fn info(&self, storage: Storage) -> ModelInfo {
        let counts = Counts::of(self);
        ModelInfo {
            name: String::new(),
            source: String::new(),
            family: self.family.model_type.into(),
            spec: self.spec(),
            n_parameters: counts.n_parameters,
            weight_bytes: counts.bytes(storage),
            bos_token: self.bos_token,
            eos_tokens: self.eos_tokens.clone(),
            dtype: String::new(),
            kernel_path: String::new(),
            max_position_embeddings: self.max_position_embeddings,
            warnings: self.all_warnings(),
            context_warnings: self.context_warnings.clone(),
            has_chat_template: false,
            content: String::new(),
        }
    }

    /// Everything that a user should know before trusting numbers.
    pub fn all_warnings(&self) -> Vec<String> {
        self.context_warnings.iter().chain(&self.warnings).cloned().collect()
    }

    /// Follows the weights where they and the config differ on what is shared: as transformers 5 does, a head of the file's own
    /// is used although the config calls it tied, and of two tied matrices one is enough, whichever it is.
    pub fn follow(&mut self, files: &mut WeightFiles) {
        const HEAD: &str = "lm_head.weight";
        const EMBEDDING: &str = "model.embed_tokens.weight";
        if self.tie_word_embeddings {
            files.alias(HEAD, EMBEDDING);
            match files.same(HEAD, EMBEDDING) {
                Some(true) => files.remove(HEAD),
                Some(false) => {
                    self.tie_word_embeddings = false;
                    self.warnings.push(
                        "config.json says that the output matrix is the embedding (`tie_word_embeddings`), but the weights \
                         hold another `lm_head.weight`: that one is used, as in transformers 5; transformers 4 used the embedding"
                            .into(),
                    );
                }
                None => {}
            }
        }
        self.warnings.extend(self.other_frequencies(files));
    }

    /// Older programs saved the frequencies of the rotary embedding, and computed with what the file holds.
    fn other_frequencies(&self, files: &WeightFiles) -> Option<String> {
        if self.rope_scaling != RopeScaling::none() {
            return None;
        }
        let n_pairs = self.rotary_dim / 2;
        let name = files.names().find(|name| name.ends_with("rotary_emb.inv_freq"))?;
        let stored = files.numbers(name, n_pairs).filter(|stored| stored.len() == n_pairs)?;
        let by_base = |pair: usize| self.rope_theta.powf(-(pair as f64) / n_pairs as f64);
        // they may be rounded to 16 bits, where small ones have few digits left
        let differs = |(pair, x): (usize, &f32)| (f64::from(*x) - by_base(pair)).abs() > 0.01 * by_base(pair) + 1e-7;
        stored.iter().enumerate().any(differs).then(|| {
            format!(
                "the weights hold rotary frequencies (`{name}`) that are not those of `rope_theta` {}: the latter are used, as \
                 in transformers; before 4.32 it used those of the file",
                self.rope_theta
            )
        })
    }

    /// First and last tokens that the model has no embedding for: a text that begins with one is refused, and no text ends.
    fn tokens_beyond(&self) -> Option<String> {
        let is_beyond = |id: &&u32| **id as usize >= self.vocab_size;
        let beyond = |name: &str, id: &u32| {
            format!("`{name}` {id} is outside the vocabulary of {}: the model cannot say it", self.vocab_size)
        };
        let eos = self.eos_tokens.iter().find(is_beyond).map(|id| beyond("eos_token_id", id));
        self.bos_token.as_ref().filter(is_beyond).map(|id| beyond("bos_token_id", id)).or(eos)
    }

    /// Generation obeys `generation_config.json` where the two files differ.
    fn take_tokens(&mut self, file: &str, bytes: &[u8]) -> Result<(), OpenError> {
        let map = fields::parse(file, bytes)?;
        let fields = Fields::new(file, &map);
        self.bos_token = fields.tokens("bos_token_id")?.first().copied().or(self.bos_token);
        let eos_tokens = fields.tokens("eos_token_id")?;
        if !eos_tokens.is_empty() {
            self.eos_tokens = eos_tokens;
        }
        Ok(())
    }
}

/// Heads wider and models deeper than this are a damaged config, not a model.
const MAX_HEAD_DIM: usize = 1 << 12;
const MAX_LAYERS: usize = 1 << 12;
const MAX_EXPERTS: usize = 1 << 12;

/// What an RMSNorm adds under the root, or the family's default.
pub(crate) fn rms_norm_eps(fields: Fields<'_>, default: f64) -> Result<f64, OpenError> {
    Ok(fields.positive("rms_norm_eps")?.unwrap_or(default))
}

/// The activation that a field names, or the family's default.
pub(crate) fn activation(fields: Fields<'_>, name: &str, default: Activation) -> Result<Activation, OpenError> {
    match fields.text(name)? {
        None => Ok(default),
        Some("silu" | "swish") => Ok(Activation::Silu),
        Some("gelu") => Ok(Activation::Gelu),
        Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate") => Ok(Activation::GeluTanh),
        Some(_) => Err(fields.unsupported(name, "known activations: silu, gelu, gelu_new, gelu_pytorch_tanh")),
    }
}

/// How many experts a layer has, under the first of these names that the config uses, and how many a token uses.
pub(crate) fn experts(fields: Fields<'_>, names: &[&str], defaults: [usize; 2]) -> Result<(usize, usize), OpenError> {
    let name = names.iter().find(|name| fields.get(name).is_some());
    let n = name.map_or(Ok(None), |name| fields.count_up_to(name, MAX_EXPERTS))?.unwrap_or(defaults[0]);
    let n_used = fields.count("num_experts_per_tok")?.unwrap_or(defaults[1]);
    if n_used > n {
        return Err(fields.error("num_experts_per_tok", &format!("at most the number of experts, {n}")));
    }
    Ok((n, n_used))
}

/// RoPE base of layers that have a window, `rope_local_base_freq` or that of `sliding_attention` in `rope_parameters`.
pub(crate) fn local_rope_theta(fields: Fields<'_>) -> Result<Option<f64>, OpenError> {
    rope::local_theta(fields)
}

/// The field that a family lists if its layers with a window have a RoPE base of their own.
pub(crate) const LOCAL_ROPE: &str = "rope_local_base_freq";

/// The longest text that the tokenizer is meant for, which tells what some models were trained on.
fn tokenizer_limit(source: &Source) -> Result<Option<Value>, OpenError> {
    const FILE: &str = "tokenizer_config.json";
    let Some(bytes) = source.read(FILE)? else { return Ok(None) };
    Ok(fields::parse(&source.shown(FILE), &bytes)?.remove("model_max_length"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::llama;

    /// The smallest config, with one field set to `value`.
    fn with(field: &str, value: &str) -> Result<Config, OpenError> {
        let text = r#"{"model_type": "llama", "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}"#;
        let mut map = fields::parse("config.json", text.as_bytes()).unwrap();
        match value {
            "absent" => map.remove(field),
            _ => map.insert(field.into(), serde_json::from_str(value).unwrap()),
        };
        Config::parse("config.json", serde_json::to_string(&map).unwrap().as_bytes())
    }

    #[test]
    fn fields_that_old_configs_leave_out_have_the_defaults_of_transformers() {
        let config = with("head_dim", "null").unwrap();
        assert_eq!((config.num_key_value_heads, config.head_dim), (4, 16));
        let hidden_act = Activation::Silu;
        let plain = llama::Architecture { rms_norm_eps: 1e-6, attention_bias: false, mlp_bias: false, hidden_act };
        assert_eq!((config.rope_theta, config.architecture), (10_000.0, Architecture::llama(plain)));
        assert!(!config.tie_word_embeddings);
        assert_eq!((config.bos_token, config.eos_tokens), (None, vec![]));
        assert_eq!(config.original_max_position_embeddings, 512);
        assert_eq!(config.warnings, Vec::<String>::new());
        let config = with("max_position_embeddings", "absent").unwrap();
        assert_eq!((config.spec().trained_context, config.all_warnings().len()), (2048, 1));
        assert_eq!(with("bos_token_id", "-1").unwrap().bos_token, None);
    }

    #[test]
    fn a_trained_context_that_is_given_takes_away_what_was_said_of_it() {
        let scaled = with("rope_scaling", r#"{"type": "linear", "factor": 4, "beta_fast": 32}"#).unwrap();
        let info = scaled.info(Storage::F32);
        assert_eq!((info.spec.trained_context, info.warnings.len()), (2048, 2), "{:?}", info.warnings);
        let given = info.trained_on(Some(1024));
        assert_eq!((given.spec.trained_context, given.spec.original_context), (1024, 512));
        assert!(given.warnings.len() == 1 && given.warnings[0].contains("beta_fast"), "{:?}", given.warnings);
    }

    #[test]
    fn the_tokenizer_tells_what_a_scaled_model_was_trained_on_and_tokens_without_an_embedding_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "config.json",
            r#"{"model_type": "llama", "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 8192, "eos_token_id": 256,
            "rope_scaling": {"type": "linear", "factor": 4.0}}"#,
        );
        let open = || Config::open(&Source::folder(folder.path())).unwrap();
        assert_eq!((open().trained_context, open().all_warnings().len()), (32_768, 2));
        // the length before scaling, as the tokenizer of the unscaled model has it
        write("tokenizer_config.json", r#"{"model_max_length": 8192}"#);
        assert_eq!((open().trained_context, open().all_warnings().len()), (32_768, 2));
        write("tokenizer_config.json", r#"{"model_max_length": 32768}"#);
        let config = open();
        assert_eq!((config.trained_context, config.original_max_position_embeddings), (32_768, 8192));
        assert_eq!(
            config.all_warnings(),
            ["`eos_token_id` 256 is outside the vocabulary of 256: the model cannot say it".to_owned()]
        );
        write("tokenizer_config.json", r#"{"model_max_length": 1000000000000000019884624838656}"#);
        assert_eq!(open().trained_context, 32_768);
    }

    #[test]
    fn explicit_fields_win() {
        assert_eq!(with("head_dim", "24").unwrap().spec().rotary_dim, 24);
        assert_eq!(with("num_key_value_heads", "2").unwrap().spec().n_rep(), 2);
        assert_eq!(with("eos_token_id", "[7, 9]").unwrap().eos_tokens, [7, 9]);
        assert_eq!(with("eos_token_id", "7").unwrap().eos_tokens, [7]);
        assert_eq!(with("torch_dtype", "\"bfloat16\"").unwrap().dtype.as_deref(), Some("bfloat16"));
        assert_eq!(with("hidden_act", "\"silu\"").unwrap(), with("head_dim", "16").unwrap());
    }

    #[test]
    fn errors_name_file_field_and_what_was_expected() {
        for (field, value, expected) in [
            ("model_type", "absent", "config.json: `model_type` must be the name of a model family, but is missing"),
            ("vocab_size", "absent", "config.json: `vocab_size` must be a whole number, but is missing"),
            (
                "hidden_size",
                "\"64\"",
                "config.json: `hidden_size` must be a whole number from 1 to 2147483648, but is \"64\"",
            ),
            ("hidden_size", "66", "config.json: `hidden_size` must be a multiple of 4 heads, but is 66"),
            (
                "num_hidden_layers",
                "1000000",
                "config.json: `num_hidden_layers` must be a whole number from 1 to 4096, but is 1000000",
            ),
            (
                "num_key_value_heads",
                "3",
                "config.json: `num_key_value_heads` must be a divisor of 4 query heads, but is 3",
            ),
            ("rms_norm_eps", "0", "config.json: `rms_norm_eps` must be a number above 0, but is 0"),
            ("tie_word_embeddings", "1", "config.json: `tie_word_embeddings` must be true or false, but is 1"),
            (
                "eos_token_id",
                "[1, -1]",
                "config.json: `eos_token_id` must be a token id or a list of token ids, but is [1,-1]",
            ),
            ("hidden_act", "\"relu2\"", "config.json: `hidden_act` = \"relu2\" is not supported"),
            ("rope_condense_ratio", "0", "config.json: `rope_condense_ratio` must be a number above 0, but is 0"),
            ("model_type", "\"lama\"", "config.json: unknown `model_type` `lama`"),
        ] {
            assert_eq!(with(field, value).unwrap_err().to_string(), expected);
        }
        let garbage = Config::parse("config.json", b"not json").unwrap_err().to_string();
        assert!(garbage.starts_with("config.json cannot be read: it is not JSON"), "{garbage}");
    }

    #[test]
    fn generation_config_decides_the_end_tokens() {
        let mut config = with("eos_token_id", "7").unwrap();
        config.take_tokens("generation_config.json", br#"{"eos_token_id": [7, 9], "bos_token_id": 1}"#).unwrap();
        assert_eq!((config.bos_token, config.eos_tokens), (Some(1), vec![7, 9]));
    }
}
