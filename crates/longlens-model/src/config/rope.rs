//! The RoPE part of `config.json`: base, scaling, and how long the model was trained before and under it.

use longlens_core::rope::RopeScaling;
use longlens_core::spec::RopeFactors;

use crate::error::OpenError;
use crate::families::Family;
use crate::fields::Fields;
pub(super) use by_layer::local_theta;
pub(super) use linear::{TOKENIZER_LIMIT, condense};

mod by_layer;
mod linear;
mod scaling;

/// What a config says about rotary embeddings.
pub(super) struct RopeFields {
    /// RoPE base.
    pub theta: f64,
    /// Dimensions of a head that rotate.
    pub rotary_dim: usize,
    /// Factors of each frequency, of a `longrope`.
    pub factors: Option<RopeFactors>,
    /// What stands in `rope_scaling` or `rope_parameters`.
    pub scaling: RopeScaling,
    /// Trained context before scaling.
    pub original: usize,
    /// Trained context under it.
    pub trained: usize,
    /// What a user should know.
    pub warnings: Vec<String>,
    /// What a user should know of the trained context.
    pub context_warnings: Vec<String>,
}

/// Reads `rope_scaling`, else `rope_parameters`; of the two, transformers prefers the old one too. `longest` is
/// `max_position_embeddings`.
pub(super) fn read(
    config: Fields<'_>,
    family: &Family,
    head_dim: usize,
    longest: usize,
) -> Result<RopeFields, OpenError> {
    let new = config.object("rope_parameters", "rope_parameters.")?;
    let old = config.object("rope_scaling", "rope_scaling.")?;
    let mut warnings = Vec::new();
    if let (Some(old), Some(new)) = (old, new)
        && old.names().chain(new.names()).any(|name| name != "rope_theta" && old.get(name) != new.get(name))
    {
        warnings.push(format!("{} has `rope_scaling` and another `rope_parameters`: the first counts", config.file));
    }
    let section = old.or(new).map(|section| by_layer::of_whole_layers(section, family, &mut warnings)).transpose()?;
    let outer_theta = config.positive("rope_theta")?;
    let inner_theta = section.map(|section| section.positive("rope_theta")).transpose()?.flatten();
    if let (Some(outer), Some(inner)) = (outer_theta, inner_theta)
        && outer.to_bits() != inner.to_bits()
    {
        // one of the two counts in transformers 4, the other in transformers 5
        let help = format!("beside it, the section with the scaling has a `rope_theta` of {inner}: make the two agree");
        return Err(config.unsupported("rope_theta", &help));
    }
    let rotary_dim = rotary_dim(config, section, family, head_dim)?;
    let mut rope = RopeFields {
        theta: inner_theta.or(outer_theta).unwrap_or(family.defaults.rope_theta),
        rotary_dim,
        factors: None,
        original: longest,
        trained: longest,
        scaling: RopeScaling::none(),
        warnings,
        context_warnings: Vec::new(),
    };
    let Some(section) = section else { return Ok(rope) };
    // transformers prefers the one at the top
    let given = config.count(ORIGINAL)?.or(section.count(ORIGINAL)?);
    rope.scaling = scaling::read(section, longest, given, &mut rope.warnings)?;
    rope.original = given.unwrap_or(longest);
    if let Some(original) = given.filter(|original| *original > longest) {
        rope.context_warnings.push(format!(
            "{} has an `{ORIGINAL}` of {original}, above its `max_position_embeddings` of {longest}, which is taken as the \
             trained context; `trained_context` says otherwise",
            config.file
        ));
    }
    match rope.scaling.setting().info().name {
        "linear" if family.defaults.context_is_scaled && given.is_none() => {
            let factor = section.positive("factor")?.unwrap_or(1.0);
            rope.original = ((longest as f64 / factor) as usize).max(1);
        }
        "linear" => linear::lengths(config, section, longest, given, &mut rope)?,
        "longrope" => rope.factors = Some(factors(section, rotary_dim / 2)?),
        _ => {}
    }
    Ok(rope)
}

/// Dimensions of a head that rotate.
fn rotary_dim(
    config: Fields<'_>,
    section: Option<Fields<'_>>,
    family: &Family,
    head_dim: usize,
) -> Result<usize, OpenError> {
    const PART: &str = "partial_rotary_factor";
    let inner = section.map(|section| section.positive(PART)).transpose()?.flatten();
    let Some(default) = family.defaults.partial_rotary_factor else {
        return match (section, inner) {
            (Some(section), Some(part)) if part < 1.0 => {
                Err(section.unsupported(PART, &format!("{} models rotate whole heads", family.title)))
            }
            _ => Ok(head_dim),
        };
    };
    let part = inner.or(config.positive(PART)?).unwrap_or(default);
    let rotary_dim = (head_dim as f64 * part) as usize;
    if part > 1.0 || rotary_dim < 2 || !rotary_dim.is_multiple_of(2) {
        let expected = format!("such that an even part of {head_dim} dimensions rotates (it is {rotary_dim})");
        let holder = if inner.is_some() { section.unwrap_or(config) } else { config };
        return Err(holder.error(PART, &expected));
    }
    Ok(rotary_dim)
}

/// The factors of a `longrope`, one for each of `n` pairs.
fn factors(section: Fields<'_>, n: usize) -> Result<RopeFactors, OpenError> {
    let list = |name: &str| {
        let numbers = |value: &serde_json::Value| {
            let numbers = value.as_array()?.iter().map(|x| x.as_f64().filter(|x| x.is_finite() && *x > 0.0));
            numbers.collect::<Option<Vec<_>>>().filter(|numbers| numbers.len() == n)
        };
        let found = section.get(name).and_then(numbers);
        found.ok_or_else(|| section.error(name, &format!("a list of {n} numbers above 0, one for each rotated pair")))
    };
    Ok(RopeFactors { short: list("short_factor")?, long: list("long_factor")? })
}

const ORIGINAL: &str = "original_max_position_embeddings";

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::{families, fields};

    /// A Llama's, with heads of 16 dimensions and 512 tokens.
    fn llama(config: &Map<String, serde_json::Value>) -> Result<RopeFields, OpenError> {
        read(Fields::new("config.json", config), families::find("", "llama").unwrap(), 16, 512)
    }

    /// Scaling, base and original context of a config of 512 tokens with this text inside.
    fn check(inside: &str) -> Result<(String, f64, usize), String> {
        let map = fields::parse("config.json", format!("{{{inside}}}").as_bytes()).unwrap();
        let rope = llama(&map).map_err(|error| error.to_string())?;
        Ok((rope.scaling.to_string(), rope.theta, rope.original))
    }

    #[test]
    fn both_spellings_of_every_type() {
        for (inside, scaling, theta, original) in [
            (r#""rope_scaling": null"#, "none", 1e4, 512),
            (r#""rope_theta": 5e5"#, "none", 5e5, 512),
            (r#""rope_parameters": {"rope_type": "default", "rope_theta": 5e5}"#, "none", 5e5, 512),
            (r#""rope_scaling": {"type": "linear", "factor": 4}, "rope_theta": 2e4"#, "linear:factor=4", 2e4, 512),
            (r#""rope_scaling": {"type": "dynamic", "factor": 2.0}"#, "dynamic:factor=2,original=512", 1e4, 512),
            (
                r#""rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128,
                   "beta_fast": 16, "beta_slow": 2, "attention_factor": 1.5, "truncate": true}"#,
                "yarn:factor=4,original=128,beta_fast=16,beta_slow=2,attention_factor=1.5",
                1e4,
                128,
            ),
            (
                r#""rope_scaling": {"type": "yarn", "factor": 4.0, "finetuned": true, "mscale": 1, "mscale_all_dim": 1}"#,
                "yarn:factor=4,attention_factor=1",
                1e4,
                512,
            ),
            (
                r#""rope_scaling": {"type": "yarn", "factor": null, "original_max_position_embeddings": 128,
                   "mscale": 1.0, "mscale_all_dim": 0, "attn_factor": 1, "truncate": false}"#,
                "yarn:factor=4,original=128,truncate=false",
                1e4,
                128,
            ),
            (
                r#""rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 4, "rope_theta": 5e5}}"#,
                "linear:factor=4",
                5e5,
                512,
            ),
            (
                r#""original_max_position_embeddings": 64, "rope_scaling": {"type": "su",
                   "short_factor": [1, 1, 1, 1, 1, 1, 1, 1], "long_factor": [1, 2, 3, 4, 5, 6, 7, 8]}"#,
                "longrope:factor=8,original=64",
                1e4,
                64,
            ),
            (
                r#""original_max_position_embeddings": 64,
                   "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}"#,
                "llama3:factor=8,low_freq_factor=1,high_freq_factor=4,original=64",
                1e4,
                64,
            ),
            (
                r#""rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                   "high_freq_factor": 4.0, "original_max_position_embeddings": 64}"#,
                "llama3:factor=8,low_freq_factor=1,high_freq_factor=4,original=64",
                1e4,
                64,
            ),
        ] {
            assert_eq!(check(inside), Ok((scaling.into(), theta, original)), "{inside}");
        }
    }

    #[test]
    fn errors_name_the_nested_field() {
        for (inside, expected) in [
            (
                r#""rope_scaling": {"type": "spiral", "short_factor": []}"#,
                "config.json: `rope_scaling.type` = \"spiral\" is not supported",
            ),
            (
                r#""rope_scaling": {"type": "longrope", "short_factor": [1, 2]}"#,
                "config.json: `rope_scaling.short_factor` must be a list of 8 numbers above 0, one for each rotated pair, but is [1,2]",
            ),
            (
                r#""rope_scaling": {"type": "linear"}"#,
                "config.json: `rope_scaling.factor` must be a number, but is missing",
            ),
            (
                r#""rope_parameters": {"rope_type": "yarn", "factor": 0.5}"#,
                "config.json: `rope_parameters.factor` must be a number of at least 1 and at most 10^9, but is 0.5",
            ),
            (r#""rope_scaling": {"factor": 4.0}"#, "config.json: `rope_scaling.factor` = 4.0 is not supported"),
            (
                r#""rope_parameters": {"full_attention": {"factor": 4.0, "rope_type": "linear"}, "sliding_attention": {"rope_type": "default"}}"#,
                "config.json: `rope_parameters.sliding_attention` = {\"rope_type\":\"default\"} is not supported",
            ),
            (
                r#""rope_scaling": {"type": "yarn"}"#,
                "config.json: `rope_scaling.factor` must be a number, or `original_max_position_embeddings` beside it, but is missing",
            ),
            (
                r#""rope_scaling": {"rope_type": "linear", "type": "dynamic", "factor": 2}"#,
                "config.json: `rope_scaling.type` = \"dynamic\" is not supported",
            ),
            (
                r#""rope_theta": 1e4, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}"#,
                "config.json: `rope_theta` = 10000.0 is not supported",
            ),
            (r#""rope_scaling": 4"#, "config.json: `rope_scaling` must be an object or null, but is 4"),
            (
                r#""rope_parameters": {"partial_rotary_factor": 0.5}"#,
                "config.json: `rope_parameters.partial_rotary_factor` = 0.5 is not supported",
            ),
        ] {
            assert_eq!(check(inside), Err(expected.into()), "{inside}");
        }
    }

    #[test]
    fn a_linear_factor_says_how_long_the_model_was_trained_unless_another_field_does() {
        for (inside, lengths, n_warnings) in [
            (r#""rope_scaling": {"type": "linear", "factor": 4}"#, (512, 2048), 1),
            (r#""rope_scaling": {"type": "linear", "factor": 4}, "max_sequence_length": 2048"#, (512, 2048), 0),
            (r#""rope_scaling": {"type": "linear", "factor": 4}, "max_sequence_length": 512"#, (128, 512), 0),
            (r#""rope_scaling": {"type": "linear", "factor": 4}, "max_length": 512"#, (512, 2048), 1),
            (r#""rope_scaling": {"type": "linear", "factor": 4}, "max_length": 20"#, (512, 2048), 1),
            (r#""rope_scaling": {"type": "linear", "factor": 4}, "model_max_length": 2048"#, (512, 2048), 0),
            (
                r#""rope_scaling": {"type": "linear", "factor": 4, "original_max_position_embeddings": 512}"#,
                (512, 2048),
                1,
            ),
            (
                r#""original_max_position_embeddings": 2048, "rope_scaling": {"type": "yarn", "factor": 2}"#,
                (2048, 512),
                1,
            ),
            (
                r#""rope_scaling": {"type": "linear", "factor": 4, "original_max_position_embeddings": 128}"#,
                (128, 512),
                0,
            ),
            (r#""rope_scaling": {"type": "dynamic", "factor": 4}"#, (512, 512), 0),
            (r#""rope_scaling": {"type": "linear", "factor": 1}"#, (512, 512), 0),
        ] {
            let map = fields::parse("config.json", format!("{{{inside}}}").as_bytes()).unwrap();
            let rope = llama(&map).unwrap();
            assert_eq!(((rope.original, rope.trained), rope.context_warnings.len()), (lengths, n_warnings), "{inside}");
        }
    }

    #[test]
    fn what_transformers_passes_over_is_told() {
        for inside in [
            r#""rope_scaling": {"type": "yarn", "factor": 4, "attn_factor": 1.2}"#,
            r#""rope_scaling": {"type": "dynamic", "factor": 4, "beta_fast": 32}"#,
            r#""rope_scaling": {"type": "dynamic", "factor": 4, "speed": 3}"#,
            r#""rope_scaling": {"type": "dynamic", "factor": 4}, "rope_parameters": {"rope_type": "yarn", "factor": 4}"#,
        ] {
            let map = fields::parse("config.json", format!("{{{inside}}}").as_bytes()).unwrap();
            assert_eq!(llama(&map).unwrap().warnings.len(), 1, "{inside}");
        }
    }
}
