//! Names, values, code and model text of strangers that command a terminal: what each command shows of them obeys nothing.

use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::common::{Sandbox, checkpoint};
use crate::screen::Screen;

/// A title, a bell, a C1 introducer, an override and an isolate.
const EVIL: &str = "\u{1b}]0;PWN\u{7}\u{9b}2J\u{202e}x\u{2066}";

/// What commands a terminal in a text that should hold nothing of the kind.
fn command_in(text: &str) -> Option<char> {
    text.chars().find(|c| {
        (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    })
}

/// Runs a command through pipes and in a terminal that gets no colours of ours; neither sees a command, and something is said.
fn is_harmless(sandbox: &Sandbox, what: &str, args: &[&str]) {
    let ran = sandbox.command(args).stdin(Stdio::null()).output().unwrap();
    for (stream, bytes) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(command_in(&text), None, "{what}: {stream} of longlens {args:?}: {text:?}");
        assert!(text.len() < 40_000, "{what}: {stream} has {} bytes", text.len());
    }
    assert!(!ran.stdout.is_empty() || !ran.stderr.is_empty(), "{what} says nothing");
    let left = Screen::run(&sandbox.path(""), args, (24, 80), &[("TERM", "dumb"), ("NO_COLOR", "1")]);
    assert_eq!(command_in(&left.bytes), None, "{what}: longlens {args:?} in a terminal: {:?}", left.bytes);
    assert!(left.bytes.replace("^D\u{8}\u{8}", "").len() > 1, "{what} says nothing");
}

/// A checkpoint whose config was changed.
fn config(sandbox: &Sandbox, folder: &str, change: impl FnOnce(&mut Value)) {
    checkpoint(sandbox, folder, |_, config| change(config));
}

/// A checkpoint whose every token reads as a command.
fn evil_tokens(sandbox: &Sandbox, folder: &str) {
    checkpoint(sandbox, folder, |_, _| {});
    let vocab: Value = (0..256).map(|n| (format!("{EVIL}{n}"), json!(n))).collect::<serde_json::Map<_, _>>().into();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": format!("{EVIL}7") },
    });
    sandbox.write(&format!("{folder}/tokenizer.json"), tokenizer.to_string());
}

/// Puts a hostile value into a config.
type Change = fn(&mut Value, Value);

#[test]
fn names_and_values_of_a_model() {
    let sandbox = Sandbox::new();
    let evil = || Value::from(EVIL);
    is_harmless(&sandbox, "a model that is not there", &["model", "--model", EVIL]);
    is_harmless(&sandbox, "a folder that is not there", &["model", "--model", &format!("./{EVIL}")]);
    checkpoint(&sandbox, EVIL, |_, _| {});
    for command in ["model", "positions", "bench"] {
        let args = [command, "--model", EVIL];
        let more: &[&str] = if command == "bench" { &["--lengths", "32", "--repeat", "1"] } else { &[] };
        is_harmless(&sandbox, "a folder's name", &[&args[..], more].concat());
        is_harmless(&sandbox, "a folder's name", &[&args[..], more, &["--json"]].concat());
    }
    std::fs::create_dir(sandbox.path(&format!("empty{EVIL}"))).unwrap();
    is_harmless(&sandbox, "a folder without a model", &["model", "--model", &format!("empty{EVIL}")]);
    sandbox.write("hf/hub/models--org--na\u{1b}[2Jme/refs/main", EVIL);
    is_harmless(&sandbox, "a name in the cache", &["model", "--model", "org/na\u{1b}[2Jm"]);
    is_harmless(&sandbox, "a revision in the cache", &["model", "--model", "org/na\u{1b}[2Jme"]);

    let changes: [(&str, Change); 14] = [
        ("model_type", |config, evil| config["model_type"] = evil),
        ("torch_dtype", |config, evil| config["torch_dtype"] = evil),
        ("dtype", |config, evil| config["dtype"] = evil),
        ("hidden_act", |config, evil| config["hidden_act"] = evil),
        ("rope_scaling's key", |config, _| config["rope_scaling"] = json!({ "rope_type": "linear", EVIL: 1 })),
        ("rope_type", |config, evil| config["rope_scaling"] = json!({ "rope_type": evil, "factor": 2 })),
        ("factor", |config, evil| config["rope_scaling"] = json!({ "rope_type": "linear", "factor": evil })),
        ("rope_scaling", |config, evil| config["rope_scaling"] = evil),
        ("vocab_size", |config, evil| config["vocab_size"] = evil),
        ("hidden_size", |config, evil| config["hidden_size"] = evil),
        ("rope_theta", |config, evil| config["rope_theta"] = evil),
        ("quantization_config", |config, evil| config["quantization_config"] = json!({ EVIL: evil })),
        ("architectures", |config, evil| config["architectures"] = json!([evil])),
        ("_name_or_path", |config, evil| config["_name_or_path"] = evil),
    ];
    for (idx, (what, change)) in changes.into_iter().enumerate() {
        let folder = format!("config-{idx}");
        config(&sandbox, &folder, |config| change(config, evil()));
        is_harmless(&sandbox, what, &["model", "--model", &folder]);
        is_harmless(&sandbox, what, &["generate", "--prompt", "x", "--model", &folder]);
    }
    sandbox.write("config-0/config.json", format!("{{ {EVIL} }}"));
    is_harmless(&sandbox, "config.json that is no JSON", &["model", "--model", "config-0"]);
    sandbox.write("config-0/config.json", format!("{{\"{}\": ", "x".repeat(1 << 20)));
    is_harmless(&sandbox, "a long config.json", &["model", "--model", "config-0"]);
}

#[test]
fn names_of_files_and_tensors() {
    let sandbox = Sandbox::new();
    for (folder, index) in [
        ("shard", json!({ "weight_map": { "model.norm.weight": format!("{EVIL}.safetensors") } })),
        ("inside", json!({ "weight_map": { "model.norm.weight": "model.safetensors", EVIL: "model.safetensors" } })),
        ("kind", json!({ "weight_map": EVIL })),
        ("outside", json!({ "weight_map": { "a": format!("../{EVIL}") } })),
    ] {
        checkpoint(&sandbox, folder, |_, _| {});
        sandbox.write(&format!("{folder}/model.safetensors.index.json"), index.to_string());
        if folder != "inside" {
            std::fs::remove_file(sandbox.path(&format!("{folder}/model.safetensors"))).unwrap();
        }
        is_harmless(&sandbox, folder, &["model", "--model", folder]);
        is_harmless(&sandbox, folder, &["generate", "--needle", "64", "--model", folder]);
    }
    checkpoint(&sandbox, "tensors", |tensors, _| {
        let norm = tensors.remove("model.norm.weight").unwrap();
        tensors.insert(EVIL.into(), norm.clone());
        tensors.insert(format!("model.layers.0.{EVIL}.weight"), norm);
    });
    is_harmless(&sandbox, "a tensor's name", &["generate", "--prompt", "x", "--model", "tensors"]);
    config(&sandbox, "others", |_| {});
    std::fs::remove_file(sandbox.path("others/model.safetensors")).unwrap();
    sandbox.write(&format!("others/pytorch_{EVIL}.bin"), "");
    sandbox.write(&format!("others/{EVIL}.gguf"), "");
    is_harmless(&sandbox, "names of other files", &["model", "--model", "others"]);
    is_harmless(&sandbox, "names of other files", &["generate", "--prompt", "x", "--model", "others"]);
    checkpoint(&sandbox, "tokenizer", |_, _| {});
    sandbox
        .write("tokenizer/tokenizer.json", json!({ "model": { "type": EVIL, "vocab": { EVIL: EVIL } } }).to_string());
    is_harmless(&sandbox, "tokenizer.json", &["generate", "--prompt", "x", "--model", "tokenizer"]);
    let not_text = std::ffi::OsStr::from_bytes(b"\x1b[2J\x9b2J\xff");
    let ran = sandbox.command(&["model", "--model"]).arg(not_text).output().unwrap();
    assert_eq!(command_in(&String::from_utf8_lossy(&ran.stderr)), None);
}

#[test]
fn text_of_a_model() {
    let sandbox = Sandbox::new();
    evil_tokens(&sandbox, "evil");
    let generate = ["generate", "--model", "evil", "--prompt", "x", "--max-tokens", "12"];
    let left = Screen::run(&sandbox.path(""), &generate, (24, 80), &[("TERM", "dumb"), ("NO_COLOR", "1")]);
    assert_eq!(command_in(&left.bytes), None, "{:?}", left.bytes);
    assert!(left.code == 0 && left.text.contains("␛]0;PWN␇"), "{}", left.text);
    // what nobody looks at is what the model said
    let ran = sandbox.command(&generate).output().unwrap();
    assert!(String::from_utf8_lossy(&ran.stdout).contains(EVIL), "{:?}", ran.stdout);
    for line in [
        "attention --model evil --prompt x --query 0",
        "attention --model evil --prompt x --query 0 --json",
        "chunks --model evil --prompt x",
        "generate --model evil --prompt x --max-tokens 4 --json",
    ] {
        is_harmless(&sandbox, "tokens", &crate::common::words(line));
    }
    let said = sandbox.run(&[&generate[..], &["--json"]].concat()).stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["generated"]["text"].as_str().unwrap().contains(EVIL), "JSON means what the model said: {said}");
}

#[test]
fn arguments_and_configs() {
    let sandbox = Sandbox::new();
    for flag in ["--method", "--rope", "--config", "--device", "--weights", "--seed", "--prefill-chunk", "--out", EVIL]
    {
        is_harmless(&sandbox, flag, &["positions", flag, EVIL]);
    }
    for args in [
        &["positions", "--method", &format!("full:{EVIL}=1")][..],
        &["positions", "--method", &format!("self_extend:group_size={EVIL}")],
        &["positions", "--pair", EVIL],
        &["positions", "--tokens", EVIL],
        &["positions", "--out", &format!("{EVIL}.gif")],
        &["positions", "--out", &format!("{EVIL}.svg")],
        &["positions", "--out", &format!("nowhere/{EVIL}.svg")],
        &["methods", EVIL],
        &[EVIL],
        &[&"x".repeat(100_000)],
        &["generate", "--needle", EVIL],
        &["generate", "--needle", "64", "--needle-template", EVIL],
        &["generate", "--file", EVIL],
        &["passkey", "--lengths", EVIL],
        &["passkey", "--depths", EVIL],
        &["passkey", "--template", EVIL],
        &["passkey", "--prompts", EVIL],
        &["passkey", "--lengths", "64", "--depths", "0", "--trials", "1", "--out", EVIL],
        &["perplexity", "--text", EVIL],
        &["perplexity", "--tokens", EVIL],
        &["perplexity", "--methods", EVIL],
        &["logits", "--tokens", EVIL, "--output", EVIL],
        &["bench", "--lengths", EVIL],
        &["screenshot", "--size", EVIL, "--out", "a.svg"],
        &["screenshot", "--keys", EVIL, "--out", "a.svg"],
        &["completions", EVIL],
        &["kernel", "run", EVIL],
        &["kernel", "uninstall", "--name", EVIL],
        &["kernel", "install", "--prefix", EVIL, "--name", "fine"],
        &["repl", "--model", EVIL, "--device", EVIL],
    ] {
        is_harmless(&sandbox, "an argument", args);
    }
    let long = format!("model = \"{}\"\nmethod = \"{EVIL}{}\"\n", "y".repeat(4 << 20), "z".repeat(4 << 20));
    for (what, text) in [
        ("key", "\"a\\u001b]0;PWN\\u0007\\u009b\\u202e\" = 1\n".to_owned()),
        ("bare key", format!("{EVIL} = 1\n")),
        ("value", format!("method = \"{EVIL}\"\n")),
        ("comment beside a fault", format!("seed = 1 # {EVIL}\nmethod = 7\n# {EVIL}\n")),
        ("model", "model = \"a\\u001b]0;PWN\\u0007\\u009b\\u202e\"\n".to_owned()),
        ("weights", "weights = \"a\\u001b]0;PWN\\u0007\\u009b\\u202e\"\n".to_owned()),
        ("device", "device = \"a\\u001b]0;PWN\\u0007\\u009b\\u202e\"\n".to_owned()),
        ("long lines", long),
        ("many lines", format!("method = [\n{}", "1,\n".repeat(100_000))),
        ("bytes", "\u{0}\u{1}\u{2}".to_owned()),
    ] {
        sandbox.write("a.toml", &text);
        is_harmless(&sandbox, what, &["generate", "--needle", "32", "--config", "a.toml"]);
        sandbox.write(&format!("{EVIL}.toml"), &text);
        is_harmless(&sandbox, what, &["generate", "--needle", "32", "--config", &format!("{EVIL}.toml")]);
    }
    sandbox.write("p.jsonl", format!("{{\"{EVIL}\": 1}}\n"));
    is_harmless(&sandbox, "prompts", &["passkey", "--prompts", "p.jsonl"]);
    sandbox.write("t.json", format!("[\"{EVIL}\"]"));
    is_harmless(&sandbox, "tokens", &["logits", "--tokens", "t.json", "--output", "o"]);
}

#[test]
fn notebooks_of_strangers() {
    let sandbox = Sandbox::new();
    let notebook = |cells: Value, metadata: Value| {
        json!({ "cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5 }).to_string()
    };
    let code = |source: &str| json!({ "cell_type": "code", "id": "a", "execution_count": null, "metadata": {}, "outputs": [], "source": source });
    let kernel = json!({ "kernelspec": { "name": "longlens", "display_name": "longlens", "language": "rhai" } });
    let odd = |language: &str| json!({ "kernelspec": { "name": language, "display_name": language, "language": language }, "language_info": { "name": language } });
    let sweep = format!("sweep(#{{ \"{EVIL}\": [1] }}, |p| 1.0)");
    for (what, text) in [
        ("language", notebook(json!([code("1")]), odd(EVIL))),
        (
            "cell type",
            notebook(json!([{ "cell_type": EVIL, "id": "a", "metadata": {}, "source": "1" }]), kernel.clone()),
        ),
        ("code", notebook(json!([code(&format!("let a = \"{EVIL}\"; a; b"))]), kernel.clone())),
        ("first line", notebook(json!([code(&format!("\"{EVIL}\" // {EVIL}"))]), kernel.clone())),
        ("comment", notebook(json!([code(&format!("1 + // {EVIL}"))]), kernel.clone())),
        ("message", notebook(json!([code(&format!("throw \"{EVIL}\""))]), kernel.clone())),
        ("print", notebook(json!([code(&format!("print(\"{EVIL}\"); \"{EVIL}\""))]), kernel.clone())),
        ("sweep", notebook(json!([code(&sweep)]), kernel.clone())),
        (
            "a long line",
            notebook(json!([code(&format!("let a = \"{}\"; b {EVIL}", "x".repeat(1 << 20)))]), kernel.clone()),
        ),
        ("model", notebook(json!([code(&format!("open(\"{EVIL}\")"))]), kernel.clone())),
    ] {
        for name in ["a.ipynb".to_owned(), format!("{EVIL}.ipynb")] {
            sandbox.write(&name, &text);
            is_harmless(&sandbox, what, &["notebook", "check", &name]);
            is_harmless(&sandbox, what, &["notebook", "run", &name, "--keep-going", "-o", "out.ipynb"]);
            is_harmless(&sandbox, what, &["notebook", "convert", &name, &format!("{EVIL}.rhai")]);
        }
    }
    sandbox.write("a.rhai", "// %% [parameters]\nlet a = 1;\n");
    is_harmless(&sandbox, "a parameter", &["notebook", "run", "a.rhai", "-p", &format!("{EVIL}=1")]);
    is_harmless(&sandbox, "a parameter", &["notebook", "run", "a.rhai", "-p", &format!("b={EVIL}")]);
    is_harmless(&sandbox, "a form", &["notebook", "check", &format!("a.{EVIL}")]);
    is_harmless(&sandbox, "an output", &["notebook", "run", "a.rhai", "-o", &format!("a.{EVIL}")]);
}

#[test]
fn scripts_on_a_terminal() {
    let sandbox = Sandbox::new();
    // a terminal reads them, and stdin is none
    sandbox.write("cells.rhai", format!("print(\"{EVIL}\"); \"{EVIL}\"\n"));
    sandbox.write("fails.rhai", format!("throw \"{EVIL}\"\n"));
    for (name, shown) in [("cells.rhai", true), ("fails.rhai", true)] {
        let line = format!("{} repl < {name}", env!("CARGO_BIN_EXE_longlens"));
        let left = Screen::run_shell(&sandbox.path(""), &line, (24, 80), &[("TERM", "dumb"), ("NO_COLOR", "1")]);
        assert_eq!(command_in(&left.bytes), None, "{:?}", left.bytes);
        assert_eq!(left.text.contains("␛]0;PWN␇"), shown, "{}", left.text);
    }
}
