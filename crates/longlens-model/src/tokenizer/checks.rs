//! What is looked at in a `tokenizer.json` before its library reads it: numbers that make the library take all memory or time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// The parts that can ask for memory; tokens and merges are only as large as the file.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Sketch {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(default)]
    model: Option<ModelSketch>,
}

#[derive(Debug, Default, Deserialize)]
struct ModelSketch {
    #[serde(default)]
    dropout: Option<f64>,
}

/// How much longer a chain of replacements may make a text at most: real ones make a space a sign of three bytes.
const MAX_GROWTH: f64 = 4096.0;
/// Steps of a part at most. Real parts have a dozen; the library walks over the whole text in each, and nothing can stop it.
const MAX_STEPS: usize = 128;

impl Sketch {
    /// What is wrong with the parts, as the end of a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        charsmaps(&self.normalizer)?;
        for (part, value) in [
            ("normalizer", &self.normalizer),
            ("pre_tokenizer", &self.pre_tokenizer),
            ("post_processor", &self.post_processor),
            ("decoder", &self.decoder),
        ] {
            let n_steps = steps(value);
            if n_steps > MAX_STEPS {
                return Err(format!("its `{part}` has {n_steps} steps, and {MAX_STEPS} are the most that are run"));
            }
            let growth = growth(value);
            if growth > MAX_GROWTH {
                return Err(format!("its `{part}` makes texts {growth:.0e} times longer"));
            }
        }
        Ok(())
    }

    /// Whether it draws tokens at random.
    pub(super) fn drops_merges(&self) -> bool {
        self.model.as_ref().and_then(|model| model.dropout).is_some_and(|dropout| dropout > 0.0)
    }
}

/// The library takes eight bytes for each of the four that a character map says it has, before it looks how many there are.
fn charsmaps(value: &Value) -> Result<(), String> {
    match value {
        Value::Array(values) => values.iter().try_for_each(charsmaps),
        Value::Object(map) => {
            if let Some(text) = map.get("precompiled_charsmap").and_then(Value::as_str) {
                let has = text.len() / 4 * 3;
                let claims = first_number(text).unwrap_or(0) as usize;
                if claims > has {
                    return Err(format!("its `precompiled_charsmap` claims {claims} bytes and has {has}"));
                }
            }
            map.values().try_for_each(charsmaps)
        }
        _ => Ok(()),
    }
}

/// The first four bytes of a text in base 64, little endian.
fn first_number(text: &str) -> Option<u32> {
    let bytes = STANDARD.decode(text.get(..8)?).ok()?;
    bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// How many objects with a `type` a part is made of, one inside the other or in a row.
fn steps(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(steps).sum(),
        Value::Object(map) => usize::from(map.contains_key("type")) + map.values().map(steps).sum::<usize>(),
        _ => 0,
    }
}

/// How many times longer the steps of a part can make a text.
fn growth(value: &Value) -> f64 {
    match value {
        Value::Array(values) => values.iter().map(growth).product(),
        Value::Object(map) => {
            let own = match map.get("type").and_then(Value::as_str) {
                Some("Replace") => {
                    map.get("content").and_then(Value::as_str).map_or(1.0, |content| content.len() as f64)
                }
                // once a text, but a text may be a word between two added tokens
                Some("Prepend") => {
                    1.0 + map.get("prepend").and_then(Value::as_str).map_or(0.0, |text| text.len() as f64)
                }
                Some("TemplateProcessing") => {
                    let pieces = map.get("single").and_then(Value::as_array);
                    let is_text = |piece: &&Value| piece.get("Sequence").is_some();
                    pieces.map_or(1.0, |pieces| pieces.iter().filter(is_text).count() as f64)
                }
                Some("Sequence") => map.values().map(growth).product(),
                _ => 1.0,
            };
            own.max(1.0)
        }
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        serde_json::from_str::<Sketch>(text).unwrap().check()
    }

    #[test]
    fn what_would_fill_the_memory_is_refused() {
        let charsmap = r#"{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": "AAAA////"}]}}"#;
        assert_eq!(check(charsmap).unwrap_err(), "its `precompiled_charsmap` claims 4278190080 bytes and has 6");
        let replace = r#"{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"}"#;
        let chain = format!(r#"{{"decoder": {{"type": "Sequence", "decoders": [{}]}}}}"#, [replace; 9].join(","));
        assert_eq!(check(&chain).unwrap_err(), "its `decoder` makes texts 1e9 times longer");
        let twice =
            r#"{"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"Sequence": {"id": "A"}}]}"#;
        let chain =
            format!(r#"{{"post_processor": {{"type": "Sequence", "processors": [{}]}}}}"#, [twice; 40].join(","));
        assert!(check(&chain).is_err());
        let chain = |n: usize, text: &str| {
            let prepend = format!(r#"{{"type": "Prepend", "prepend": "{text}"}}"#);
            format!(r#"{{"normalizer": {{"type": "Sequence", "normalizers": [{}]}}}}"#, vec![prepend; n].join(","))
        };
        assert_eq!(check(&chain(2, &"a".repeat(1000))).unwrap_err(), "its `normalizer` makes texts 1e6 times longer");
    }

    #[test]
    fn more_steps_than_any_real_file_has_are_refused() {
        for (part, inner, step) in [
            ("normalizer", "normalizers", r#"{"type": "Prepend", "prepend": ""}"#),
            ("pre_tokenizer", "pretokenizers", r#"{"type": "Digits", "individual_digits": true}"#),
            ("decoder", "decoders", r#"{"type": "Fuse"}"#),
        ] {
            let chain =
                |n| format!(r#"{{"{part}": {{"type": "Sequence", "{inner}": [{}]}}}}"#, vec![step; n].join(","));
            assert_eq!(
                check(&chain(100_000)).unwrap_err(),
                format!("its `{part}` has 100001 steps, and 128 are the most that are run")
            );
            assert_eq!(check(&chain(100)), Ok(()));
        }
    }

    #[test]
    fn what_real_files_have_passes() {
        let llama = r#"{"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}, "post_processor": null, "model": {"dropout": null}}"#;
        assert_eq!(check(llama), Ok(()));
        assert!(!serde_json::from_str::<Sketch>(llama).unwrap().drops_merges());
        assert!(serde_json::from_str::<Sketch>(r#"{"model": {"dropout": 0.1}}"#).unwrap().drops_merges());
    }
}
