//! Tokenizers of every form give the ids that Hugging Face's library gives.

use std::path::{Path, PathBuf};

use longlens_core::lens::{Conversation, Message, TextCodec};
use longlens_model::source::{CacheDirs, Source};
use longlens_model::tokenizer::HfTokenizer;
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Every line whose ids differ, with what came out instead.
fn differing(tokenizer: &HfTokenizer, lines: &[Value]) -> Vec<String> {
    let mut differing = Vec::new();
    for line in lines {
        let text = line["text"].as_str().unwrap();
        for (special, expected) in [(true, &line["ids"]), (false, &line["ids_without_special"])] {
            let found = tokenizer.encode(text, special).unwrap();
            if found != ids(expected) {
                differing.push(format!("{text:?} {special}: {found:?}, not {expected}"));
            }
        }
        if let Some(expected) = line.get("decoded_without_special").and_then(Value::as_str) {
            let found = tokenizer.decode(&ids(&line["ids"])).unwrap();
            if found != expected {
                differing.push(format!("{text:?} decodes to {found:?}, not {expected:?}"));
            }
        }
    }
    differing
}

fn open(path: &Path) -> HfTokenizer {
    let source = Source::resolve_in(path.to_str().unwrap(), &CacheDirs::default()).unwrap();
    HfTokenizer::open(&source, usize::MAX).unwrap().unwrap_or_else(|| panic!("{} has no tokenizer", path.display()))
}

#[test]
fn tokenizers_in_gguf_files_give_the_ids_of_their_tokenizer_json() {
    let all = lines(&fixtures().join("formats/tokens.jsonl"));
    for (models, folder) in [
        ("llama-*", "llama-gguf-q4_1"),
        ("phi3-gguf-f16", "phi3-gguf-f16"),
        ("gemma2-gguf-f16", "gemma2-gguf-f16"),
        ("qwen2-gguf-f16", "qwen2-gguf-f16"),
        ("llama31-gguf-f16", "llama31-gguf-f16"),
    ] {
        let tokenizer = open(&fixtures().join(format!("formats/{folder}/{folder}.gguf")));
        let lines: Vec<Value> = all.iter().filter(|line| line["models"] == models).cloned().collect();
        assert_eq!(lines.len(), 24);
        assert_eq!(differing(&tokenizer, &lines), Vec::<String>::new(), "{folder}");
    }
    let tokenizer = open(&fixtures().join("formats/llama-gguf-q4_1/llama-gguf-q4_1.gguf"));
    let chat = tokenizer.chat(&Conversation::new([Message::user("hi")])).unwrap();
    assert_eq!(chat, "<s>[user] hi</s>[assistant]");
    let tokens = tokenizer.encode(&chat, false).unwrap();
    assert_eq!(tokens.iter().filter(|token| **token == 1).count(), 1, "one first token: {tokens:?}");
}

/// Released models that goldens are there for; those without strings of their own share the vocabulary of another.
const FAMILIES: [&str; 11] = [
    "llama2",
    "llama3",
    "llama3_1",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma3",
    "phi3",
    "mistral-v1",
    "mistral-v3",
    "smollm2",
];

/// Tokenizers of released models, where `scripts/fetch-tokenizers` put them: they are too large to lie in the repository.
#[test]
fn tokenizers_of_released_models_give_the_same_ids() {
    let Some(folder) = std::env::var_os("LONGLENS_TOKENIZERS").map(PathBuf::from) else { return };
    let goldens = PathBuf::from(std::env::var_os("LONGLENS_TOKENIZER_GOLDENS").expect("LONGLENS_TOKENIZER_GOLDENS"));
    let place = |family: &str| match (family, std::env::var_os("LONGLENS_SMOLLM2")) {
        ("smollm2", Some(file)) => file.into(),
        ("smollm2", None) => folder.join("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
        _ => folder.join(family),
    };
    let missing: Vec<_> = FAMILIES.into_iter().filter(|family| !place(family).exists()).collect();
    assert_eq!(missing, Vec::<&str>::new(), "not in {}", folder.display());
    let mut n_chats = 0;
    for family in FAMILIES {
        let tokenizer = open(&place(family));
        let tokens = goldens.join(format!("{family}.tokens.jsonl"));
        let mut all = if tokens.is_file() { lines(&tokens) } else { Vec::new() };
        if family.starts_with("mistral") {
            // SentencePiece itself knows no special tokens in a text
            let has_special = |line: &Value| {
                ["<s>", "</s>", "<unk>", "[INST]", "[/INST]"]
                    .iter()
                    .any(|token| line["text"].as_str().unwrap().contains(token))
            };
            all.retain(|line| !has_special(line));
        }
        assert_eq!(differing(&tokenizer, &all), Vec::<String>::new(), "{family}");
        let chats = goldens.join(format!("{family}.chat.jsonl"));
        if !chats.is_file() {
            continue;
        }
        for chat in lines(&chats) {
            let messages: Vec<Message> = serde_json::from_value(chat["messages"].clone()).unwrap();
            let asks = chat["add_generation_prompt"].as_bool().unwrap();
            let conversation = Conversation { add_generation_prompt: asks, ..Conversation::new(messages) };
            match (tokenizer.chat(&conversation), chat.get("text").and_then(Value::as_str)) {
                (Ok(text), Some(expected)) => {
                    assert_eq!(text, expected, "{family}");
                    n_chats += 1;
                    if chat.get("ids").is_some() {
                        assert_eq!(tokenizer.encode(&text, false).unwrap(), ids(&chat["ids"]), "{family} {text:?}");
                    }
                }
                (Err(_), None) => n_chats += 1,
                (rendered, expected) => panic!("{family}: {rendered:?}, not {expected:?}"),
            }
        }
    }
    assert!(n_chats > 0, "no conversations in {}", goldens.display());
}
