//! The scaling that a section of `config.json` describes, field by field.

use longlens_core::rope::RopeScaling;
use longlens_core::setting::{Param, SettingError, Value};

use super::ORIGINAL;
use crate::error::OpenError;
use crate::fields::Fields;

/// Fields that are no parameter of a scaling, or are read on their own.
const OTHER_FIELDS: &[&str] = &["rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned", ORIGINAL];

/// Fields of `yarn` that become its attention factor, or are no numbers.
const YARN_FIELDS: &[&str] = &["mscale", "mscale_all_dim", "truncate"];

/// Fields of `longrope` that are lists.
const LONGROPE_FIELDS: &[&str] = &["short_factor", "long_factor"];

/// Fields of other programs that transformers passes over, harmless at 1.
const PASSED_OVER: &[&str] = &["attn_factor", "extrapolation_factor"];

/// Reads a scaling; nothing but a base is the scaling `none`. `longest` is `max_position_embeddings`, `original` the context before
/// scaling, where the config has one.
pub(super) fn read(
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
        "longrope" | "su" => ("longrope", &[]),
        _ => return Err(section.unsupported(key, "supported types: default, linear, dynamic, yarn, longrope, llama3")),
    };
    for field in needed {
        section.require(field, section.positive(field), "a number")?;
    }
    let mut scaling = RopeScaling::parse(name).map_err(|error| OpenError::Rope { file: section.file.into(), error })?;
    let params = scaling.setting().info().params;
    warnings.extend(warnings_of(section, name, params));
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

/// What a user should know of fields that a scaling does not use.
fn warnings_of(section: Fields<'_>, scaling: &str, params: &[Param]) -> Vec<String> {
    let is_known = |field: &&str| {
        OTHER_FIELDS.contains(field)
            || params.iter().any(|param| param.alias == *field)
            || (scaling == "yarn" && YARN_FIELDS.contains(field))
            || (scaling == "longrope" && LONGROPE_FIELDS.contains(field))
    };
    let is_idle = |field: &&str| {
        let is_one = |value: &serde_json::Value| value.as_f64() == Some(1.0);
        section.get(field).is_none_or(|value| PASSED_OVER.contains(field) && is_one(value))
    };
    let unused = section.names().filter(|field| !is_known(field) && !is_idle(field));
    unused.map(|field| warning_of(section, field, scaling, params)).collect()
}

fn warning_of(section: Fields<'_>, field: &str, scaling: &str, params: &[Param]) -> String {
    let (file, path, shown) = (section.file, section.path(field), section.shown(field));
    if PASSED_OVER.contains(&field) {
        return format!(
            "{file}: `{path}` = {shown} is not used, as in transformers; other programs scale attention by it"
        );
    }
    // what belongs to another type: transformers says so and goes on
    if is_of_another_type(field) {
        return format!("{file}: `{path}` is no field of `{scaling}` and not used, as in transformers");
    }
    let aliases: Vec<_> = params.iter().map(|param| param.alias).filter(|alias| !alias.is_empty()).collect();
    let path = crate::error::cut(&path);
    format!("{file}: `{path}` = {shown} is unknown and not used; `{scaling}` takes: {}", aliases.join(", "))
}

fn is_of_another_type(field: &str) -> bool {
    let params = || longlens_core::rope::SCALINGS.iter().flat_map(|info| info.params);
    params().any(|param| param.alias == field) || YARN_FIELDS.contains(&field)
}

/// A section that names no scaling must not describe one.
pub(super) fn unscaled(section: Fields<'_>) -> Result<(), OpenError> {
    for field in section.names().filter(|name| !OTHER_FIELDS.contains(name)) {
        let idle = section.get(field).is_none_or(|value| value.as_f64() == Some(1.0));
        if !idle {
            let has_type = section.get("rope_type").or(section.get("type")).is_some();
            let without =
                if has_type { "the type `default` has no such field" } else { "without a type it has no effect" };
            let help = format!("{without}: set `rope_type` to linear, dynamic, yarn, longrope or llama3, or remove it");
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
        // with a context before scaling, transformers takes their quotient, whatever the section says
        ("longrope", "factor") => match original {
            Some(original) => Ok(Some((longest as f64 / original as f64).max(1.0))),
            None => section.positive("factor").map(|factor| factor.or(Some(1.0))),
        },
        ("longrope", "attention_factor") => section.positive("attention_factor"),
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
