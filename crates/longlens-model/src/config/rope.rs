//! The RoPE part of `config.json`: base, scaling, and how long the model was trained before and under it.

use longlens_core::rope::RopeScaling;
use longlens_core::setting::{Param, SettingError, Value};
use longlens_core::spec::RopeFactors;
use serde_json::{Map, json};

use crate::config::LOCAL_ROPE;
use crate::error::OpenError;
use crate::families::Family;
use crate::fields::Fields;
pub(super) use linear::TOKENIZER_LIMIT;

mod linear;

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
    let section = old.or(new).map(|section| of_whole_layers(section, family)).transpose()?;
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
    rope.scaling = scaling(section, longest, given, &mut rope.warnings)?;
    rope.original = given.unwrap_or(longest);
    if let Some(original) = given.filter(|original| *original > longest) {
        rope.context_warnings.push(format!(
            "{} has an `{ORIGINAL}` of {original}, above its `max_position_embeddings` of {longest}, which is taken as the \
             trained context; `trained_context` says otherwise",
            config.file
        ));
    }
    match rope.scaling.setting().info().name {
        "linear" => linear::lengths(config, section, longest, given, &mut rope)?,
        "longrope" => rope.factors = Some(factors(section, rotary_dim / 2)?),
        _ => {}
    }
    Ok(rope)
}

/// `rope_condense_ratio` of the first long Llamas is a linear scaling under another name.
pub(super) fn condense(file: &str, config: &mut Map<String, serde_json::Value>) -> Result<(), OpenError> {
    const RATIO: &str = "rope_condense_ratio";
    let fields = Fields::new(file, config);
    let Some(ratio) = fields.positive(RATIO)?.filter(|ratio| ratio.to_bits() != 1f64.to_bits()) else { return Ok(()) };
    let sections =
        [fields.object("rope_scaling", "rope_scaling.")?, fields.object("rope_parameters", "rope_parameters.")?];
    let scaled: Vec<_> = sections.into_iter().flatten().filter(|section| section.get("factor").is_some()).collect();
    match scaled.first() {
        Some(section) if section.positive("factor")? == Some(ratio) => {}
        Some(_) => {
            let help = "beside it, another scaling has a `factor`: remove one of the two";
            return Err(fields.unsupported(RATIO, help));
        }
        None => {
            config.insert("rope_scaling".into(), json!({"rope_type": "linear", "factor": ratio}));
        }
    }
    Ok(())
}

/// The part of a section that holds for layers which see everything, where it has one for each kind of layer.
fn of_whole_layers<'a>(section: Fields<'a>, family: &Family) -> Result<Fields<'a>, OpenError> {
    let Some(whole) = section.object(WHOLE, "rope_parameters.full_attention.")? else { return Ok(section) };
    let local = section.object(LOCAL, "rope_parameters.sliding_attention.")?;
    let differs = |local: Fields<'_>| local.names().chain(whole.names()).any(|name| local.get(name) != whole.get(name));
    if local.is_some_and(differs) && !family.fields.contains(&LOCAL_ROPE) {
        let help = format!("{} models have one RoPE for all layers", family.title);
        return Err(section.unsupported(LOCAL, &help));
    }
    Ok(whole)
}

/// RoPE base of layers that have a window.
pub(super) fn local_theta(config: Fields<'_>) -> Result<Option<f64>, OpenError> {
    let section = config.object("rope_parameters", "rope_parameters.")?;
    let local = match section {
        Some(section) => section.object(LOCAL, "rope_parameters.sliding_attention.")?,
        None => None,
    };
    if let Some(local) = local
        && local.text("rope_type")?.is_some_and(|kind| kind != "default")
    {
        return Err(local.unsupported("rope_type", "layers with a window rotate by a base alone"));
    }
    let inner = local.map(|local| local.positive("rope_theta")).transpose()?.flatten();
    Ok(inner.or(config.positive(LOCAL_ROPE)?))
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

const WHOLE: &str = "full_attention";
const LOCAL: &str = "sliding_attention";
const ORIGINAL: &str = "original_max_position_embeddings";

/// Fields that are no parameter of a scaling, or are read on their own.
const OTHER_FIELDS: &[&str] = &["rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned", ORIGINAL];

/// Fields of `yarn` that become its attention factor, or are no numbers.
const YARN_FIELDS: &[&str] = &["mscale", "mscale_all_dim", "truncate"];

/// Fields of `longrope` that are lists.
const LONGROPE_FIELDS: &[&str] = &["short_factor", "long_factor"];

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
        "longrope" | "su" => ("longrope", &[]),
        _ => return Err(section.unsupported(key, "supported types: default, linear, dynamic, yarn, longrope, llama3")),
    };
    for field in needed {
        section.require(field, section.positive(field), "a number")?;
    }
    let mut scaling = RopeScaling::parse(name).map_err(|error| OpenError::Rope { file: section.file.into(), error })?;
    let params = scaling.setting().info().params;
    for field in section.names().filter(|name| !OTHER_FIELDS.contains(name)) {
        let known = params.iter().any(|param| param.alias == field)
            || (name == "yarn" && YARN_FIELDS.contains(&field))
            || (name == "longrope" && LONGROPE_FIELDS.contains(&field));
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
                warnings.push(format!(
                    "{}: `{}` = {} is unknown and not used; `{name}` takes: {}",
                    section.file,
                    crate::error::cut(&section.path(field)),
                    section.shown(field),
                    aliases.join(", ")
                ));
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

#[cfg(test)]
mod tests {
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
