//! How byte-level tokenizers cut a text into words before they merge: GGUF files name the rule (`tokenizer.ggml.pre`), and every
//! reader has to know it. Names and what they stand for are those of llama.cpp's `llama-vocab.cpp`; the patterns are those of the
//! released `tokenizer.json` files.

use serde_json::{Value, json};

/// A rule by name: the steps before merging, whether texts are composed first (NFC), and whether a word that is a piece is taken whole.
pub(super) struct Rule {
    pub pre_tokenizer: Value,
    pub composes: bool,
    pub ignore_merges: bool,
    /// Whether a first token is put before texts where the file does not say so.
    pub first: bool,
}

const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The names that are known, for errors.
pub(super) const KNOWN: &str = "gpt-2, llama-bpe, qwen2, smollm, starcoder, refact, dbrx, tekken and their like";

/// One name of every rule.
const NAMES: &[&str] = &["gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "stablelm2", "tekken"];

/// The name of the rule that a `tokenizer.json` follows, if it has one.
pub(super) fn named(json: &Value) -> Option<&'static str> {
    let composes = match json["normalizer"]["type"].as_str() {
        None => false,
        Some("NFC") => true,
        Some(_) => return None,
    };
    let ignore_merges = json["model"]["ignore_merges"] == true;
    let cut = usual(&json["pre_tokenizer"]);
    NAMES.iter().copied().find(|name| {
        let is_alike = |rule: &Rule| usual(&rule.pre_tokenizer) == cut;
        rule(name)
            .is_some_and(|rule| is_alike(&rule) && (rule.composes, rule.ignore_merges) == (composes, ignore_merges))
    })
}

/// A step before merging without what does not change ids, and with what files may leave out.
fn usual(step: &Value) -> Value {
    match step {
        Value::Object(map) => {
            let mut map: serde_json::Map<_, _> = map.iter().map(|(name, value)| (name.clone(), usual(value))).collect();
            map.remove("trim_offsets");
            if map.get("type").is_some_and(|kind| kind == "ByteLevel") {
                map.entry("use_regex").or_insert(true.into());
            }
            map.into()
        }
        Value::Array(steps) => steps.iter().map(usual).collect(),
        other => other.clone(),
    }
}

/// The rule of a name, if it is known.
pub(super) fn rule(name: &str) -> Option<Rule> {
    let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let split = |pattern: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
    };
    let plain = |pre_tokenizer: Value| Rule { pre_tokenizer, composes: false, ignore_merges: false, first: false };
    Some(match name {
        "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "jina-v2-es" | "jina-v2-de" | "jina-v2-code" | "gigachat"
        | "roberta-bpe" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" => plain(bytes(true)),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            plain(json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}))
        }
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" => {
            Rule { ignore_merges: true, first: true, ..plain(split(LLAMA_3)) }
        }
        "dbrx" | "smaug-bpe" => plain(split(LLAMA_3)),
        "qwen2" | "deepseek-r1-qwen" | "megrez" => Rule { composes: true, ..plain(split(QWEN_2)) },
        "stablelm2" | "hunyuan" | "solar-open" => plain(split(QWEN_2)),
        "tekken" => Rule { ignore_merges: true, first: true, ..plain(split(TEKKEN)) },
        _ => return None,
    })
}
