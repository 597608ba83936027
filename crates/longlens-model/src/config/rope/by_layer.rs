//! RoPE of layers that see everything and of layers that have a window, where a section of `config.json` has one for each.

use crate::config::LOCAL_ROPE;
use crate::error::OpenError;
use crate::families::Family;
use crate::fields::Fields;

const WHOLE: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

/// Both sections that may stand in a config, each with where its part for layers with a window stands.
const SECTIONS: [[&str; 3]; 2] = [
    ["rope_scaling", "rope_scaling.", "rope_scaling.sliding_attention."],
    ["rope_parameters", "rope_parameters.", "rope_parameters.sliding_attention."],
];

/// The part of a section that holds for layers which see everything, where it has one for each kind of layer.
pub(super) fn of_whole_layers<'a>(
    section: Fields<'a>,
    family: &Family,
    warnings: &mut Vec<String>,
) -> Result<Fields<'a>, OpenError> {
    let is_old = section.path(WHOLE).starts_with("rope_scaling");
    let prefix = if is_old { "rope_scaling.full_attention." } else { "rope_parameters.full_attention." };
    let Some(whole) = section.object(WHOLE, prefix)? else { return Ok(section) };
    let local = section.object(LOCAL, "")?;
    let differs = |local: Fields<'_>| local.names().chain(whole.names()).any(|name| local.get(name) != whole.get(name));
    if local.is_some_and(differs) && !family.reads(LOCAL_ROPE) {
        let help = format!("{} models have one RoPE for all layers", family.title);
        return Err(section.unsupported(LOCAL, &help));
    }
    for name in section.names().filter(|name| ![WHOLE, LOCAL].contains(name) && section.get(name).is_some()) {
        warnings.push(format!(
            "{}: `{}` is not used: it stands beside a section for each kind of layer",
            section.file,
            crate::error::cut(&section.path(name))
        ));
    }
    Ok(whole)
}

/// RoPE base of layers that have a window. Their section may hold nothing else: these layers rotate whole heads by plain frequencies.
pub(in crate::config) fn local_theta(config: Fields<'_>) -> Result<Option<f64>, OpenError> {
    let mut inner = None;
    for [name, prefix, local_prefix] in SECTIONS {
        let Some(section) = config.object(name, prefix)? else { continue };
        if let Some(local) = section.object(LOCAL, local_prefix)? {
            check_plain(local)?;
            inner = local.positive("rope_theta")?;
            break;
        }
    }
    Ok(inner.or(config.positive(LOCAL_ROPE)?))
}

/// Refuses a section that asks for more than a base.
fn check_plain(local: Fields<'_>) -> Result<(), OpenError> {
    const PART: &str = "partial_rotary_factor";
    for key in ["rope_type", "type"] {
        if local.text(key)?.is_some_and(|kind| kind != "default") {
            return Err(local.unsupported(key, "layers with a window rotate by a base alone"));
        }
    }
    if local.positive(PART)?.is_some_and(|part| part.to_bits() != 1f64.to_bits()) {
        return Err(local.unsupported(PART, "layers with a window rotate whole heads"));
    }
    super::scaling::unscaled(local)
}
