//! Pass keys by tokens, as LongHeads, ChunkLlama and LongLoRA score them.

use serde_json::{Value, json};

use super::Mode;
use super::error::Stop;
use super::row::Row;

/// Tokens of a chunk in LongHeads.
const CHUNK: u64 = 256;
/// The last multiple of [`CHUNK`] that the script looks at.
const LAST_BOUNDARY: u64 = 51_200;

/// Whether the last ids of the whole sequence are those of the answer.
///
/// The first id of the answer is taken for the one that begins every text, and dropped; what a model without such an id has there is lost. As
/// many ids are generated as are left, and where the model stops early, ids of the prompt are compared in their place.
pub(super) fn token_exact(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let expected = "a list of token ids";
    let ids = |field| -> Result<Vec<i64>, Stop> {
        let id = |item: &Value| item.as_i64().ok_or_else(|| row.refused(field, item, expected));
        row.items(field, expected)?.iter().map(id).collect()
    };
    let reference = row.reference()?;
    let listed = reference.as_array().and_then(|ids| ids.iter().map(Value::as_i64).collect());
    let answer: Vec<i64> =
        listed.ok_or_else(|| row.refused("references", reference, "a list with a list of token ids"))?;
    let generated = ids("prediction")?;
    if mode.is_fixed() {
        return Ok(json!(!answer.is_empty() && generated.starts_with(&answer)));
    }
    let begins = if row.maybe("bos").is_some() { ids("bos")? } else { Vec::new() };
    let compared: Vec<i64> = begins.iter().chain(&answer).skip(1).copied().collect();
    if compared.is_empty() {
        return Err(Stop::Raised("RuntimeError"));
    }
    let prompt = if row.maybe("prompt_ids").is_some() { ids("prompt_ids")? } else { Vec::new() };
    let output: Vec<i64> = prompt.into_iter().chain(generated.into_iter().take(compared.len())).collect();
    let last = &output[output.len().saturating_sub(compared.len())..];
    match last {
        // one id is compared with every one of several
        [id] => Ok(json!(compared.iter().all(|other| other == id))),
        last if last.len() < compared.len() => Err(Stop::Raised("RuntimeError")),
        last => Ok(json!(last == compared)),
    }
}

/// Whether the text begins with the key, and with no longer number: what token ids cannot tell where a tokenizer spells a number in several
/// ways.
pub(super) fn begins_with_key(row: Row<'_>, _: Mode) -> Result<Value, Stop> {
    let text = row.prediction()?;
    Ok(json!(row.references()?.iter().any(|key| reads_as(text, key))))
}

/// Whether `text` begins with `key`, and with no longer number.
pub fn reads_as(text: &str, key: &str) -> bool {
    let rest = text.trim_start().strip_prefix(key);
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// Whether the line with the key, from its first to its last token, lies in more than one chunk. The script also takes a line for split that
/// begins with a chunk, and looks at no chunk behind token 51200.
pub(super) fn straddles_chunks(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let expected = "a list of pairs of token positions";
    let straddles = |item: &Value| {
        let position = |at: usize| {
            item.get(at).and_then(Value::as_u64).filter(|_| item.as_array().is_some_and(|pair| pair.len() == 2))
        };
        let (start, end) = position(0).zip(position(1)).ok_or_else(|| row.refused("prediction", item, expected))?;
        let last_boundary = end / CHUNK * CHUNK;
        Ok(if mode.is_fixed() {
            start / CHUNK != end / CHUNK
        } else {
            start <= last_boundary.min(LAST_BOUNDARY) && start <= end
        })
    };
    let flags: Vec<bool> = row.items("prediction", expected)?.iter().map(straddles).collect::<Result<_, Stop>>()?;
    Ok(json!(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_not_the_start_of_a_longer_number() {
        assert!(reads_as(" 123.", "123") && reads_as("123", "123"));
        assert!(!reads_as(" 1234", "123") && !reads_as("the 123", "123"));
    }
}
