//! The RoPE part of `config.json`: base, scaling and the context before scaling.

use longlens_core::rope::RopeScaling;
use longlens_core::setting::{Param, SettingError, Value};

use crate::error::OpenError;
use crate::fields::Fields;

/// What a config says about rotary embeddings.
pub(super) struct RopeFields {
    /// RoPE base.
    pub theta: f64,
    /// RoPE scaling.
    pub scaling: RopeScaling,
    /// Trained context before scaling.
    pub original: usize,
}

/// Reads `rope_scaling`, else `rope_parameters`; of the two, transformers prefers the old one too.
pub(super) fn read(config: Fields<'_>, trained_context: usize) -> Result<RopeFields, OpenError> {
    let section = match config.object("rope_scaling", "rope_scaling.")? {
        Some(section) => Some(section),
        None => config.object("rope_parameters", "rope_parameters.")?,
    };
    let outer_theta = config.positive("rope_theta")?.unwrap_or(DEFAULT_THETA);
    whole_heads(config)?;
    let Some(section) = section else {
        return Ok(RopeFields { theta: outer_theta, scaling: RopeScaling::none(), original: trained_context });
    };
    whole_heads(section)?;
    Ok(RopeFields {
        theta: section.positive("rope_theta")?.unwrap_or(outer_theta),
        scaling: scaling(section, trained_context)?,
        original: section.count(ORIGINAL)?.unwrap_or(trained_context),
    })
}

const DEFAULT_THETA: f64 = 10_000.0;
const ORIGINAL: &str = "original_max_position_embeddings";

/// Fields that are no parameter of a scaling, or are read on their own.
const OTHER_FIELDS: &[&str] = &["rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned", ORIGINAL];

/// Fields of `yarn` that become its attention factor, or must have their usual value.
const YARN_FIELDS: &[&str] = &["mscale", "mscale_all_dim", "truncate"];

fn scaling(section: Fields<'_>, trained_context: usize) -> Result<RopeScaling, OpenError> {
    let key = if section.get("rope_type").is_some() { "rope_type" } else { "type" };
    let (name, needed): (&str, &[&str]) = match section.text(key)?.unwrap_or("default") {
        "default" => return Ok(RopeScaling::none()),
        "linear" => ("linear", &["factor"]),
        "dynamic" => ("dynamic", &["factor"]),
        "yarn" => ("yarn", &["factor"]),
        "llama3" => ("llama3", &["factor", "low_freq_factor", "high_freq_factor", ORIGINAL]),
        _ => return Err(section.unsupported(key, "supported types: default, linear, dynamic, yarn, llama3")),
    };
    for field in needed {
        section.require(field, section.positive(field), "a number")?;
    }
    let mut scaling = RopeScaling::parse(name).map_err(|error| OpenError::Rope { file: section.file.into(), error })?;
    let params = scaling.setting().info().params;
    for field in section.names().filter(|name| !OTHER_FIELDS.contains(name)) {
        let known = params.iter().any(|param| param.alias == field) || (name == "yarn" && YARN_FIELDS.contains(&field));
        if !known && section.get(field).is_some() {
            let aliases: Vec<_> = params.iter().map(|param| param.alias).filter(|alias| !alias.is_empty()).collect();
            return Err(section.unsupported(field, &format!("`{name}` takes: {}", aliases.join(", "))));
        }
    }
    for param in params.iter().filter(|param| !param.alias.is_empty()) {
        if let Some(value) = value_of(param, section, name, trained_context)? {
            scaling = scaling.with(param.name, &Value::Number(value)).map_err(|error| match error {
                SettingError::BadValue { expected, .. } => section.error(param.alias, &expected),
                error => OpenError::Rope { file: section.file.into(), error },
            })?;
        }
    }
    Ok(scaling)
}

/// The config's value of a parameter, if it has one.
fn value_of(
    param: &Param,
    section: Fields<'_>,
    scaling: &str,
    trained_context: usize,
) -> Result<Option<f64>, OpenError> {
    match (scaling, param.alias) {
        // transformers takes the longest context here, whatever the section says
        ("dynamic", ORIGINAL) => Ok(Some(trained_context as f64)),
        ("yarn", "attention_factor") => yarn_attention_factor(section),
        (_, field) => section.positive(field),
    }
}

/// The factor itself, or the quotient of two others that stands for it; otherwise the paper's.
fn yarn_attention_factor(section: Fields<'_>) -> Result<Option<f64>, OpenError> {
    if section.flag("truncate")? == Some(false) {
        return Err(section.unsupported("truncate", "YaRN's pair bounds are rounded here, as in its paper"));
    }
    let factor = section.positive("factor")?.unwrap_or(1.0);
    let scale = |mscale: f64| 0.1 * mscale * factor.ln() + 1.0;
    Ok(
        match (section.positive("attention_factor")?, section.positive("mscale")?, section.positive("mscale_all_dim")?)
        {
            (Some(given), ..) => Some(given),
            (None, Some(above), Some(below)) => Some(scale(above) / scale(below)),
            _ => None,
        },
    )
}

/// Llama turns every dimension of a head.
fn whole_heads(fields: Fields<'_>) -> Result<(), OpenError> {
    match fields.positive("partial_rotary_factor")? {
        Some(part) if part < 1.0 => Err(fields.unsupported("partial_rotary_factor", "Llama models rotate whole heads")),
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
                "config.json: `rope_parameters.factor` must be a number of at least 1, but is 0.5",
            ),
            (
                r#""rope_scaling": {"rope_type": "linear", "factor": 2, "speed": 3}"#,
                "config.json: `rope_scaling.speed` = 3 is not supported",
            ),
            (
                r#""rope_scaling": {"rope_type": "yarn", "factor": 2, "truncate": false}"#,
                "config.json: `rope_scaling.truncate` = false is not supported",
            ),
            (r#""rope_scaling": 4"#, "config.json: `rope_scaling` must be an object or null, but is 4"),
            (r#""partial_rotary_factor": 0.5"#, "config.json: `partial_rotary_factor` = 0.5 is not supported"),
        ] {
            assert_eq!(check(inside), Err(expected.into()), "{inside}");
        }
    }
}
