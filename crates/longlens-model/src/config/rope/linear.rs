//! Linear scaling: an older name of it, and how long such a model was trained, which its config says in one of several ways.

use serde_json::{Map, Value, json};

use super::{ORIGINAL, RopeFields};
use crate::error::OpenError;
use crate::fields::Fields;

/// Where `model_max_length` of `tokenizer_config.json` is put.
pub(in crate::config) const TOKENIZER_LIMIT: &str = "model_max_length of tokenizer_config.json";
/// Factors of a damaged config lead no further.
const MAX_CONTEXT: f64 = (1u64 << 31) as f64;

/// Whether a longest context and a factor look like those of a released model whose config names the context after scaling
/// (LLaMA-2-7B-32K: 32768 and factor 8; deepseek-coder: 16384 and factor 4): undone, the factor leads back to what the first
/// Llamas were trained on.
fn is_scaled_already(longest: usize, factor: f64) -> bool {
    factor > 1.0 && longest >= 16_384 && [2048.0, 4096.0].contains(&(longest as f64 / factor))
}

/// Position interpolation leaves `max_position_embeddings` at the length before it (Vicuna-16k: 4096 and factor 4), unless
/// another field says what the model was trained at (LLaMA-2-7B-32K: 32768 and factor 8, and so says its `max_length`).
pub(super) fn lengths(
    config: Fields<'_>,
    section: Fields<'_>,
    longest: usize,
    given: Option<usize>,
    rope: &mut RopeFields,
) -> Result<(), OpenError> {
    let factor = section.positive("factor")?.unwrap_or(1.0);
    let scaled = |n: usize| (n as f64 * factor).min(MAX_CONTEXT) as usize;
    if let Some(original) = given.filter(|original| *original < longest) {
        if scaled(original) > longest {
            rope.context_warnings.push(format!(
                "trained context taken as {longest}, which is less than `{ORIGINAL}` {original} times the linear factor \
                 {factor}; `trained_context` says otherwise"
            ));
        }
        return Ok(());
    }
    let known = ["max_sequence_length", "tokenizer_model_max_length"].map(|name| config.count(name));
    let known = known.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().next();
    // these hold other things as well, such as how much is generated, so they count where they name one of the two lengths
    let named = |length: usize, names: &[&'static str]| {
        let is_it = |name: &&&'static str| config.get(name).and_then(Value::as_u64) == Some(length as u64);
        names.iter().find(is_it).map(|name| (*name, length))
    };
    // tokenizer and `max_length` are taken over from the model before scaling, so they say something where they were changed
    let as_is: &[_] =
        if is_scaled_already(longest, factor) { &["model_max_length", "max_length"] } else { &["model_max_length"] };
    let limit = named(scaled(longest), &["max_length", "model_max_length", TOKENIZER_LIMIT]).or(named(longest, as_is));
    let unscaled = |trained: usize| given.unwrap_or(((trained as f64 / factor) as usize).max(1));
    let why = match (known, limit) {
        (Some(known), _) => {
            (rope.trained, rope.original) = (known, unscaled(known));
            return Ok(());
        }
        (None, Some((name, limit))) => {
            (rope.trained, rope.original) = (limit, unscaled(limit));
            // a length before scaling may have been left in it, too
            (limit != scaled(longest)).then(|| format!("as `{name}` has it, not {}", scaled(longest)))
        }
        (None, None) if is_scaled_already(longest, factor) => {
            (rope.trained, rope.original) = (longest, unscaled(longest));
            let (before, after) = (rope.original, scaled(longest));
            Some(format!("as models have it that were trained on {before} tokens before scaling, not {after}"))
        }
        (None, None) => {
            rope.trained = scaled(longest);
            (rope.trained != longest).then(|| format!("{longest} times the linear factor {factor}"))
        }
    };
    rope.context_warnings.extend(
        why.map(|why| format!("trained context taken as {}, {why}; `trained_context` says otherwise", rope.trained)),
    );
    Ok(())
}

/// `rope_condense_ratio` of the first long Llamas is a linear scaling under another name.
pub(in crate::config) fn condense(file: &str, config: &mut Map<String, Value>) -> Result<(), OpenError> {
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
