//! Every kind of file that a checkpoint of a stranger may have.

use longlens_core::lens::{Conversation, Message, TextCodec};
use longlens_model::config::Config;
use longlens_model::error::OpenError;
use longlens_model::source::Source;
use longlens_model::tokenizer::{ChatTemplate, HfTokenizer};
use longlens_model::weights::{self, WeightFiles};
use serde_json::Map;

use super::mutate::Dice;
use super::seeds::{Seed, fixture, fixtures, sentencepiece, tokenizer};
use super::{CASES, fuzz};

fn said(error: &OpenError) -> String {
    format!("{error} | {}", error.help().unwrap_or_default())
}

/// Opens weights and config, and checks all that their headers say.
fn weights_of(source: &Source) -> Result<(), OpenError> {
    let mut files = WeightFiles::open(source)?;
    let mut config = Config::open(source)?;
    config.follow(&mut files);
    weights::check(&config, &files).map(drop)
}

fn open_file(seed: &Seed, bytes: &[u8]) -> Result<(), String> {
    let folder = seed.saved(bytes);
    let source = Source::file(&folder.path().join(seed.file)).expect("a file of weights");
    weights_of(&source).map_err(|error| said(&error))
}

/// Uses a tokenizer on a few texts; whatever it answers, it answers.
fn uses(tokenizer: &HfTokenizer) {
    for text in ["", "A bird.", "Ünïcödé \u{0}\u{fffd} 日本"] {
        let tokens = tokenizer.encode(text, true).unwrap_or_default();
        let _ = tokenizer.decode(&tokens);
    }
    let _ = tokenizer.decode(&[0, 1, 299, u32::MAX]);
}

fn tokenizer_of(seed: &Seed, bytes: &[u8]) -> Result<(), String> {
    let folder = seed.saved(bytes);
    let opened = HfTokenizer::open(&Source::folder(folder.path()), 1024).map_err(|error| said(&error))?;
    opened.iter().for_each(uses);
    Ok(())
}

#[test]
fn safetensors() {
    let model = "golden/models/llama2-mha";
    let whole = Seed::new("model.safetensors", fixture(&format!("{model}/model.safetensors")));
    let seed = whole.with("config.json", fixture(&format!("{model}/config.json")));
    let words = ["F32", "F64", "BF16", "F8_E4M3", "\"shape\":[", "data_offsets", "__metadata__", "lm_head.weight"];
    fuzz("safetensors", CASES, &[seed], &words, open_file);
}

#[test]
fn index_of_safetensors() {
    let model = "golden/models/llama2-mha";
    let shard = fixture(&format!("{model}/model.safetensors"));
    let names = safetensors::SafeTensors::deserialize(&shard).unwrap();
    let map: Map<_, _> = names.names().iter().map(|name| ((*name).to_owned(), "one.safetensors".into())).collect();
    let index = serde_json::json!({ "metadata": { "total_size": 1000 }, "weight_map": map }).to_string();
    let seed = Seed::new("model.safetensors.index.json", index)
        .or_named(&["one.safetensors"]) // which a changed index may say something wrong of
        .with("one.safetensors", shard)
        .with("config.json", fixture(&format!("{model}/config.json")));
    let words = ["../", "/etc/passwd", "two.safetensors", "weight_map", "\\u0000", "one.bin"];
    fuzz("index", CASES, &[seed], &words, |seed, bytes| {
        let folder = seed.saved(bytes);
        weights_of(&Source::folder(folder.path())).map_err(|error| said(&error))
    });
}

#[test]
fn configs() {
    let models =
        ["llama31-scaled", "gemma3", "phi3-longrope", "qwen3-moe", "mixtral", "granite", "qwen2-swa", "smollm3"];
    let seeds = models.map(|model| Seed::new("config.json", fixture(&format!("golden/models/{model}/config.json"))));
    let words = [
        "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 2},",
        "\"quantization_config\": {\"quant_method\": \"gptq\"},",
        "\"sliding_window\": 7,",
        "\"num_key_value_heads\"",
        "\"layer_types\"",
        "longrope",
        "model_type",
        "hidden_size",
    ];
    fuzz("config", CASES, &seeds, &words, |seed, bytes| {
        Config::parse(seed.file, bytes).map(drop).map_err(|error| said(&error))
    });
}

#[test]
fn gguf() {
    let names = ["llama-gguf-q4_1", "phi3-gguf-f16", "gemma2-gguf-f16", "qwen2-gguf-f16", "llama31-gguf-f16"];
    let seeds = names.map(|name| Seed::new("model.gguf", fixture(&format!("formats/{name}/{name}.gguf"))));
    let words =
        ["general.architecture", "tokenizer.ggml.tokens", "llama", "gpt2", "blk.0.attn_q.weight", "rope.freq_base"];
    fuzz("gguf", CASES, &seeds, &words, |seed, bytes| {
        let folder = seed.saved(bytes);
        let source = Source::file(&folder.path().join(seed.file)).expect("a file of weights");
        weights_of(&source).map_err(|error| said(&error))?;
        let opened = HfTokenizer::open(&source, 1024).map_err(|error| said(&error))?;
        opened.iter().for_each(uses);
        Ok(())
    });
}

#[test]
fn pickles() {
    let config = fixture("formats/llama-pt/config.json");
    let whole = |file: &'static str, path: &str| Seed::new(file, fixture(path)).with("config.json", config.clone());
    let seeds = [
        whole("model.bin", "formats/llama-pt/pytorch_model.bin"),
        whole("old.bin", "formats/llama-pt-legacy/pytorch_model.bin"),
    ];
    let words = [
        "ctorch\nFloatStorage\n",
        "cos\nsystem\n",
        "\u{8c}\u{4}eval",
        "R.",
        "}}}}",
        "((((",
        "data.pkl",
        "PK\u{3}\u{4}",
    ];
    fuzz("pickle", CASES, &seeds, &words, open_file);
}

#[test]
fn tokenizers() {
    let seeds = [Seed::new("tokenizer.json", tokenizer(300).to_string()), {
        let config = fixture("tiny-model/tokenizer_config.json");
        Seed::new("tokenizer.json", tokenizer(30).to_string()).with("tokenizer_config.json", config)
    }];
    let words = [
        "\"type\":\"Replace\",",
        "\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\",",
        "\"Regex\":\"(a*)*\"",
        "\"Unigram\"",
        "\"merges\":[[\"a\",\"b\"]]",
        "\"special\":true",
        "\"ByteLevel\"",
        "\"WordPiece\"",
        "\"id\":4294967295",
    ];
    fuzz("tokenizer", CASES, &seeds, &words, tokenizer_of);
}

#[test]
fn sentencepiece_models() {
    let seeds = [false, true].map(|unigram| Seed::new("tokenizer.model", sentencepiece(unigram)));
    fuzz("sentencepiece", CASES, &seeds, &["\u{a}\u{7f}", "<unk>", "\u{2581}", "\u{12}\u{2}\u{18}\u{3}"], tokenizer_of);
}

/// Every cut of a `tokenizer.model` is an error or a smaller vocabulary, and says so in the file's name.
#[test]
fn cut_sentencepiece_models() {
    for whole in [sentencepiece(false), sentencepiece(true)] {
        let seed = Seed::new("tokenizer.model", whole.clone());
        tokenizer_of(&seed, &whole).unwrap();
        let mut n_refused = 0;
        for end in (0..whole.len()).filter(|end| end % 64 == 0 || *end + 40 > whole.len()) {
            if let Err(error) = tokenizer_of(&seed, &whole[..end]) {
                assert!(error.contains("tokenizer.model"), "cut at {end}: {error}");
                n_refused += 1;
            }
        }
        assert!(n_refused > whole.len() / 64 / 2, "{n_refused}");
    }
}

#[test]
fn impossible_sentencepiece_models_say_what_is_wrong() {
    let piece = |fields: &[u8]| [&[0x0a, fields.len() as u8][..], fields].concat();
    for (bytes, expected) in [
        (Vec::new(), "it holds no pieces"),
        (
            vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            "it is cut short, or no SentencePiece model",
        ),
        (vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, b'a'], "it is cut short, or no SentencePiece model"),
        (vec![0xff; 16], "it is no SentencePiece model"),
        // groups are of old protocol buffers; 6 and 7 are no kinds of field at all
        (vec![0x0b, 0x0c], "it is no SentencePiece model"),
        (vec![0x0e, 1], "it is no SentencePiece model"),
        (piece(&[0x0a, 2, 0xc3, 0x28]), "piece 0 is not UTF-8"),
        (piece(&[0x0a, 9, b'a']), "it is cut short"),
        ([piece(&[0x0a, 1, b'a']), vec![0x12, 2, 0x18, 3]].concat(), "its model is of type 3, and unigram and BPE"),
        (b"{\"version\": \"1.0\"}".to_vec(), "SentencePiece model"),
    ] {
        let error = tokenizer_of(&Seed::new("tokenizer.model", bytes.clone()), &bytes).unwrap_err();
        assert!(error.contains("tokenizer.model") && error.contains(expected), "{bytes:?}: {error}");
    }
    // a field of the wrong kind is passed over, as every reader of protocol buffers does
    let odd = [piece(&[0x08, 1, 0x0a, 1, b'a', 0x11, 0, 0, 0, 0, 0, 0, 0, 0]), piece(&[0x0a, 1, b'b'])].concat();
    tokenizer_of(&Seed::new("tokenizer.model", odd.clone()), &odd).unwrap();
}

/// What hostile templates are made of, between the beginning and the end of a loop.
const PIECES: [&str; 27] = [
    "{% set ns.s = ns.s + ns.s %}",
    "{% set ns.s = (ns.s + ns.s) | list %}",
    "{% set ns.t = ns.t ~ ns.t %}",
    "{{ ns.s ~ '' }}",
    "{{ ns.s | tojson(indent=9) }}",
    "{% set ns.s = [ns.s] * 9999 %}",
    "{% set ns.s = [ns.t] * 99999 %}",
    "{{ ns.s | join(ns.t) }}",
    "{{ ns.t | replace('x', ns.s) }}",
    "{% set ns.t = 'x' * 9999999 %}",
    "{% set ns.s = ns.t.split('x') %}",
    "{% set ns.s = ns.s | batch(9) | list %}",
    "{% set ns.s = ns.s | sort | unique | list %}",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(ns.s) }}",
    "{% set ns.s = dict(a=ns.s).items() | list %}",
    "{% if ns.s in ns.t %}{{ ns.t }}{% endif %}",
    "{{ ns.s | string | length }}",
    "{{ '%s' | format(ns.s) }}",
    "{{ '{}'.format(ns.s) }}",
    "{% set ns.s = ns.s | map('string') | list %}",
    "{% set ns.s = ns.t | list %}",
    "{% set ns.t = ns.s | upper %}",
    "{% set ns.s = ns.s[::-1] %}",
    "{% set ns.s = range(99999) | list %}",
    "{% set ns.s = (ns.s, ns.s) * 999 %}",
    "{% set ns.t = ns.t | indent(99999) %}",
    "{{ raise_exception(ns.s) }}",
];

#[test]
fn chat_templates() {
    let families = std::fs::read_to_string(fixtures().join("chat/families.jsonl")).unwrap();
    let template = |line: &str| {
        let family: serde_json::Value = serde_json::from_str(line).unwrap();
        Seed::new("chat_template.jinja", family["template"].as_str().unwrap())
    };
    let mut seeds: Vec<Seed> = families.lines().map(template).collect();
    seeds.retain(|seed| render(seed, &seed.bytes).is_ok());
    assert!(seeds.len() > 3);
    fuzz("template", CASES, &seeds, &PIECES, render);
}

/// Templates that are right as programs, and try to take as much as they can.
#[test]
fn hostile_chat_templates() {
    let seed = Seed::new("chat_template.jinja", "{% set ns = namespace(s=['x'], t='xx') %}");
    fuzz("hostile template", CASES / 8, &[seed], &[], |seed, changed| {
        // what was changed only says which pieces are taken
        let mut dice =
            Dice::new(changed.iter().fold(changed.len() as u64, |hash, byte| hash.wrapping_mul(31) + u64::from(*byte)));
        let n_pieces = if changed == seed.bytes { 0 } else { 1 + dice.below(6) };
        let pieces: String = (0..n_pieces).map(|_| PIECES[dice.below(PIECES.len())]).collect();
        let times = [1, 5, 40, 9999][dice.below(4)];
        let start = std::str::from_utf8(&seed.bytes).unwrap();
        render(seed, format!("{start}{{% for a in range({times}) %}}{pieces}{{% endfor %}}").as_bytes())
    });
}

fn render(seed: &Seed, bytes: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(bytes);
    let special = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(name, token)| (name.to_owned(), token.into()));
    let template = ChatTemplate::new(seed.file, &text, special.into_iter().collect());
    let turns = [Message::user("Hello"), Message::new("assistant", "Hi."), Message::user("And?")];
    template.render(&Conversation::new(turns)).map(drop).map_err(|error| error.to_string())
}
