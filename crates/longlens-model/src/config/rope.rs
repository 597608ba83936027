//! The RoPE part of `config.json`: base, scaling, and how long the model was trained before and under it.

use longlens_core::rope::RopeScaling;
use longlens_core::setting::{Param, SettingError, Value};

use crate::error::OpenError;
use crate::fields::Fields;
pub(super) use linear::TOKENIZER_LIMIT;

mod linear;

/// What a config says about rotary embeddings.
pub(super) struct RopeFields {
    /// RoPE base.
    pub theta: f64,
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
pub(super) fn read(config: Fields<'_>, longest: usize) -> Result<RopeFields, OpenError> {
    let new = config.object("rope_parameters", "rope_parameters.")?;
    let old = config.object("rope_scaling", "rope_scaling.")?;
    let mut warnings = Vec::new();
    if let (Some(old), Some(new)) = (old, new)
        && old.names().chain(new.names()).any(|name| name != "rope_theta" && old.get(name) != new.get(name))
    {
        warnings.push(format!("{} has `rope_scaling` and another `rope_parameters`: the first counts", config.file));
    }
    let outer_theta = config.positive("rope_theta")?.unwrap_or(DEFAULT_THETA);
    if let Some(theta) = old.or(new).map(|section| section.positive("rope_theta")).transpose()?.flatten()
        && config.positive("rope_theta")?.is_some_and(|outer| outer.to_bits() != theta.to_bits())
    {
        // one of the two counts in transformers 4, the other in transformers 5
        let help = format!("beside it, the section with the scaling has a `rope_theta` of {theta}: make the two agree");
        return Err(config.unsupported("rope_theta", &help));
    }
    let Some(section) = old.or(new) else {
        let scaling = RopeScaling::none();
        let context_warnings = Vec::new();
        return Ok(RopeFields {
            theta: outer_theta,
            scaling,
            original: longest,
            trained: longest,
            warnings,
            context_warnings,
        });
    };
    whole_heads(section)?;
    // transformers prefers the one at the top
    let outer_original = config.count(ORIGINAL)?;
    let given = outer_original.or(section.count(ORIGINAL)?);
    let scaling = scaling(section, longest, given, &mut warnings)?;
    let mut context_warnings = Vec::new();
    if let Some(original) = given.filter(|original| *original > longest) {
        context_warnings.push(format!(
            "{} has an `{ORIGINAL}` of {original}, above its `max_position_embeddings` of {longest}, which is taken as the \
             trained context; `trained_context` says otherwise",
            config.file
        ));
    }
    let mut rope = RopeFields {
        theta: section.positive("rope_theta")?.unwrap_or(outer_theta),
        original: given.unwrap_or(longest),
        trained: longest,
        scaling,
        warnings,
        context_warnings,
    };
    if rope.scaling.setting().info().name == "linear" {
        linear::lengths(config, section, longest, given, &mut rope)?;
    }
    Ok(rope)
}

const DEFAULT_THETA: f64 = 10_000.0;
const ORIGINAL: &str = "original_max_position_embeddings";

/// Fields that are no parameter of a scaling, or are read on their own.
const OTHER_FIELDS: &[&str] = &["rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned", ORIGINAL];

/// Fields of `yarn` that become its attention factor, or are no numbers.
const YARN_FIELDS: &[&str] = &["mscale", "mscale_all_dim", "truncate"];

/// Fields of other programs that transformers passes over, harmless at 1.
const PASSED_OVER: &[&str] = &["attn_factor", "extrapolation_factor"];

fn scaling(
    section: Fields<'_>,
    longest: usize,
    original: Option<usize>,
    warnings: &mut Vec<String>,
) -> Result<RopeScaling, OpenError> {
    if let Some(nested) = section.names().find(|name| section.get(name).is_some_and(serde_json::Value::is_object)) {
        return Err(section
            .unsupported(nested, "one RoPE for all layers is computed: write its fields without a level between"));
    }
    if let (Some(new), Some(old)) = (section.text("rope_type")?, section.text("type")?)
        && new != old
    {
        return Err(section.unsupported("type", &format!("`rope_type` is \"{new}\": make the two agree")));
    }
    let key = if section.get("rope_type").is_some() { "rope_type" } else { "type" };
    let (name, needed): (&str, &[&str]) = match section.text(key)?.unwrap_or("default") {
        "default" => return unscaled(section).map(|()| RopeScaling::none()),
        "linear" => ("linear", &["factor"]),
        "dynamic" => ("dynamic", &["factor"]),
        "yarn" => ("yarn", &[]),
        "llama3" => ("llama3", &["factor", "low_freq_factor", "high_freq_factor"]),
        _ => return Err(section.unsupported(key, "supported types: default, linear, dynamic, yarn, llama3")),
    };
    for field in needed {
        section.require(field, section.positive(field), "a number")?;
    }
    let mut scaling = RopeScaling::parse(name).map_err(|error| OpenError::Rope { file: section.file.into(), error })?;
    let params = scaling.setting().info().params;
    for field in section.names().filter(|name| !OTHER_FIELDS.contains(name)) {
        let known = params.iter().any(|param| param.alias == field) || (name == "yarn" && YARN_FIELDS.contains(&field));
        match section.get(field) {
            None => {}
            Some(_) if known => {}
            Some(value) if PASSED_OVER.contains(&field) && value.as_f64() == Some(1.0) => {}
            Some(_) if PASSED_OVER.contains(&field) => warnings.push(format!(
                "{}: `{}` = {} is not used, as in transformers; other programs scale attention by it",
                section.file,
                section.path(field),
                section.shown(field)
            )),
            // what belongs to another type: transformers says so and goes on
            Some(_) if is_of_another_type(field) => warnings.push(format!(
                "{}: `{}` is no field of `{name}` and not used, as in transformers",
                section.file,
                section.path(field)
            )),
            Some(_) => {
                let aliases: Vec<_> =
                    params.iter().map(|param| param.alias).filter(|alias| !alias.is_empty()).collect();
                return Err(section.unsupported(field, &format!("`{name}` takes: {}", aliases.join(", "))));
            }
        }
    }
    for param in params.iter().filter(|param| !param.alias.is_empty()) {
        if let Some(value) = value_of(param, section, name, longest, original)? {
            scaling = scaling.with(param.name, &Value::Number(value)).map_err(|error| match error {
                SettingError::BadValue { expected, .. } => section.error(param.alias, &expected),
                error => OpenError::Rope { file: section.file.into(), error },
            })?;
        }
    }
    if name == "yarn" && section.flag("truncate")? == Some(false) {
        let set = scaling.with("truncate", &Value::Word("false".into()));
        scaling = set.map_err(|error| OpenError::Rope { file: section.file.into(), error })?;
    }
    Ok(scaling)
}

fn is_of_another_type(field: &str) -> bool {
    let params = || longlens_core::rope::SCALINGS.iter().flat_map(|info| info.params);
    params().any(|param| param.alias == field) || YARN_FIELDS.contains(&field)
}

/// A section that names no scaling must not describe one.
fn unscaled(section: Fields<'_>) -> Result<(), OpenError> {
    for field in section.names().filter(|name| !OTHER_FIELDS.contains(name)) {
        let idle = section.get(field).is_none_or(|value| value.as_f64() == Some(1.0));
        if !idle {
            let has_type = section.get("rope_type").or(section.get("type")).is_some();
            let without =
                if has_type { "the type `default` has no such field" } else { "without a type it has no effect" };
            let help = format!("{without}: set `rope_type` to linear, dynamic, yarn or llama3, or remove it");
            return Err(section.unsupported(field, &help));
        }
    }
    Ok(())
}

/// The config's value of a parameter, if it has one.
fn value_of(
    param: &Param,
    section: Fields<'_>,
    scaling: &str,
    longest: usize,
    original: Option<usize>,
) -> Result<Option<f64>, OpenError> {
    match (scaling, param.alias) {
        // transformers takes the longest context here, whatever the section says
        ("dynamic", ORIGINAL) => Ok(Some(longest as f64)),
        (_, ORIGINAL) => Ok(original.map(|original| original as f64)),
        ("yarn", "factor") => yarn_factor(section, longest, original).map(Some),
        ("yarn", "attention_factor") => yarn_attention_factor(section, yarn_factor(section, longest, original)?),
        (_, field) => section.positive(field),
    }
}

/// The factor, or how much longer the longest context is than the one before scaling.
fn yarn_factor(section: Fields<'_>, longest: usize, original: Option<usize>) -> Result<f64, OpenError> {
    match (section.positive("factor")?, original) {
        (Some(factor), _) => Ok(factor),
        (None, Some(original)) => Ok(longest as f64 / original as f64),
        (None, None) => Err(section.error("factor", &format!("a number, or `{ORIGINAL}` beside it"))),
    }
}

/// The factor itself, or the quotient of two others that stands for it; otherwise the paper's.
fn yarn_attention_factor(section: Fields<'_>, factor: f64) -> Result<Option<f64>, OpenError> {
    let scale = |mscale: f64| 0.1 * mscale * factor.ln() + 1.0;
    // zero counts as not given
    let (above, below) = (section.not_negative("mscale")?, section.not_negative("mscale_all_dim")?);
    Ok(match (section.positive("attention_factor")?, above, below) {
        (Some(given), ..) => Some(given),
        (None, Some(above), Some(below)) if above > 0.0 && below > 0.0 => Some(scale(above) / scale(below)),
        _ => None,
    })
}

/// Every dimension of a head is rotated.
fn whole_heads(fields: Fields<'_>) -> Result<(), OpenError> {
    match fields.positive("partial_rotary_factor")? {
        Some(part) if part < 1.0 => Err(fields.unsupported("partial_rotary_factor", "whole heads are rotated")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields;

    /// Scaling, base and original context of a config of 512 tokens with this text inside.
    fn check(inside: &str) -> Result<(String, f64, usize), String> {
        let map = fields::parse("config.json", format!("{{{inside}}}").as_bytes()).unwrap();
        let rope = read(Fields::new("config.json", &map), 512).map_err(|error| error.to_string())?;
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
                r#""rope_scaling": {"type": "longrope", "short_factor": []}"#,
                "config.json: `rope_scaling.type` = \"longrope\" is not supported",
            ),
            (
                r#""rope_scaling": {"type": "linear"}"#,
                "config.json: `rope_scaling.factor` must be a number, but is missing",
            ),
            (
                r#""rope_parameters": {"rope_type": "yarn", "factor": 0.5}"#,
                "config.json: `rope_parameters.factor` must be a number of at least 1 and at most 10^9, but is 0.5",
            ),
            (
                r#""rope_scaling": {"rope_type": "linear", "factor": 2, "speed": 3}"#,
                "config.json: `rope_scaling.speed` = 3 is not supported",
            ),
            (r#""rope_scaling": {"factor": 4.0}"#, "config.json: `rope_scaling.factor` = 4.0 is not supported"),
            (
                r#""rope_parameters": {"full_attention": {"factor": 4.0, "rope_type": "linear"}}"#,
                "config.json: `rope_parameters.full_attention` = {\"factor\":4.0,\"rope_type\":\"linear\"} is not supported",
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
            let rope = read(Fields::new("config.json", &map), 512).unwrap();
            assert_eq!(((rope.original, rope.trained), rope.context_warnings.len()), (lengths, n_warnings), "{inside}");
        }
    }

    #[test]
    fn what_transformers_passes_over_is_told() {
        for inside in [
            r#""rope_scaling": {"type": "yarn", "factor": 4, "attn_factor": 1.2}"#,
            r#""rope_scaling": {"type": "dynamic", "factor": 4, "beta_fast": 32}"#,
            r#""rope_scaling": {"type": "dynamic", "factor": 4}, "rope_parameters": {"rope_type": "yarn", "factor": 4}"#,
        ] {
            let map = fields::parse("config.json", format!("{{{inside}}}").as_bytes()).unwrap();
            assert_eq!(read(Fields::new("config.json", &map), 512).unwrap().warnings.len(), 1, "{inside}");
        }
    }
}
