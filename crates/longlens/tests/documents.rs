//! Documents of every format as prompts: what is read, what is refused, and the passages that answers attend to.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{Ran, Sandbox};
use serde_json::Value;

const BIRDS: &[u8] = include_bytes!("../../../fixtures/documents/birds.pdf");

/// Runs a command with a text on stdin.
fn piped(sandbox: &Sandbox, args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = sandbox.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // a command that refuses its flags reads nothing
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap().into()
}

/// The table of `plot passages` for a prompt: place, first token and text of each.
fn passages(sandbox: &Sandbox, args: &[&str]) -> Vec<(String, u64, String)> {
    let ran = sandbox.run(&[&["plot", "passages", "--json"], args].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    let rows = shown["table"]["rows"].as_array().unwrap();
    let text = |cell: &Value| cell.as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(&row[1]), row[2].as_u64().unwrap(), text(&row[5]))).collect()
}

#[test]
fn passages_of_a_pdf_have_its_pages() {
    let sandbox = Sandbox::new();
    sandbox.write("birds.pdf", BIRDS);
    for flag in ["--file", "--pdf"] {
        let found = passages(&sandbox, &[flag, "birds.pdf", "--question", "Who?"]);
        let places: Vec<&str> = found.iter().map(|(place, ..)| place.as_str()).collect();
        assert_eq!(places, ["page 1", "page 1", "page 2", "page 2"], "{found:?}");
        assert!(found[1].2.contains("where the water"), "a word that was divided is whole: {found:?}");
        assert!(found[2].2.contains("Amaranth") && found.is_sorted_by_key(|(_, token, _)| *token), "{found:?}");
    }
    let ran = piped(&sandbox, &["generate", "--file", "-", "--max-tokens", "1"], BIRDS);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn pages_without_text_are_told() {
    let sandbox = Sandbox::new();
    sandbox.write("birds.pdf", common::without_second_page(BIRDS));
    let ran = sandbox.run(&["generate", "--file", "birds.pdf", "--max-tokens", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("warning: these pages have no text: 2\n"), "{}", ran.stderr);
}

#[test]
fn every_format_says_the_same_text() {
    let sandbox = Sandbox::new();
    sandbox.write("a.txt", "A heron stands.\n\nA boat waits.\n");
    sandbox.write("a.md", "A heron stands.\n\nA boat waits.\n");
    sandbox.write("a.html", "<html><body><p>A heron\nstands.</p><p>A boat waits.</p></body></html>");
    sandbox.write("a.jsonl", "{\"text\": \"A heron stands.\"}\n{\"text\": \"A boat waits.\"}\n");
    let said = |name: &str| {
        let ran = sandbox.done(&format!("generate --file {name} --max-tokens 3 --json"));
        let result: Value = serde_json::from_str(&ran.stdout).unwrap();
        (result["generated"]["n_prompt"].clone(), result["generated"]["text"].clone())
    };
    let plain = said("a.txt");
    for name in ["a.md", "a.html", "a.jsonl"] {
        assert_eq!(said(name), plain, "{name}");
    }
}

#[test]
fn pdfs_that_cannot_be_read_are_refused_with_what_to_do() {
    let sandbox = Sandbox::new();
    let with = |name: &str, bytes: &[u8]| {
        sandbox.write(name, bytes);
        let ran = sandbox.run(&["generate", "--file", name, "--max-tokens", "1"]);
        (ran.code, ran.stderr)
    };
    let refused = [
        ("encrypted.pdf", &include_bytes!("../../../fixtures/documents/encrypted.pdf")[..], "it is encrypted"),
        ("scanned.pdf", include_bytes!("../../../fixtures/documents/scanned.pdf"), "its one page has no text"),
        ("cut.pdf", &BIRDS[..BIRDS.len() / 2], "it is no PDF that can be read"),
        ("empty.pdf", b"%PDF-1.7\n", "it is no PDF that can be read"),
        // a form that draws itself, and 4 GB of commands in 18 KB: the process that reads them ends, and no other
        (
            "recursive.pdf",
            include_bytes!("../../../fixtures/documents/recursive.pdf"),
            "crash, or take more than 2 GiB",
        ),
        ("bomb.pdf", include_bytes!("../../../fixtures/documents/bomb.pdf"), "crash, or take more than 2 GiB"),
    ];
    for (name, bytes, problem) in refused {
        let (code, said) = with(name, bytes);
        assert_eq!(code, Some(1), "{name}: {said}");
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(name) && words.contains(problem), "{name}: {said}");
    }
    // one that only forbids changes opens without a password
    let (code, said) = with("owner.pdf", include_bytes!("../../../fixtures/documents/owner-only.pdf"));
    assert_eq!(code, Some(0), "{said}");
    // every cut and every changed byte is read or refused, and nothing else
    for at in (0..BIRDS.len()).step_by(BIRDS.len() / 12) {
        let mut bytes = BIRDS.to_vec();
        bytes[at] ^= 0x55;
        for bytes in [&BIRDS[..at], &bytes] {
            let (code, said) = with("changed.pdf", bytes);
            assert!(matches!(code, Some(0..=2)) && !said.contains("panicked"), "{at}: {said}");
        }
    }
}

#[test]
fn a_chat_shows_the_passages_of_each_answer_by_method() {
    let sandbox = Sandbox::new();
    sandbox.write("birds.pdf", BIRDS);
    sandbox.done("convert --model embedded --out model");
    sandbox.write(
        "model/chat_template.jinja",
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:",
    );
    let args = ["chat", "--model", "model", "--document", "birds.pdf", "--max-tokens", "5", "--passages", "2"];
    let ran = piped(&sandbox, &args, b"Who lives there?\nAnd now?\n");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout.matches(" %  page ").count(), 4, "two passages for each answer: {}", ran.stdout);
    let two = [&args[..], &["--methods", "full;long_heads", "--json"]].concat();
    let ran = piped(&sandbox, &two, b"Who lives there?\n");
    let result: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    for (at, method) in ["full", "long_heads"].into_iter().enumerate() {
        let of_method = &result["methods"][at];
        assert!(of_method["method"].as_str().unwrap().starts_with(method), "{of_method}");
        let passages = of_method["answers"][0]["passages"].as_array().unwrap();
        let gain = |at: usize| passages[at]["gain"].as_f64().unwrap();
        assert!(passages.len() == 2 && gain(0) >= gain(1) && gain(1) > 0.0 && gain(0) < 1.0, "{passages:?}");
        assert_eq!(passages[0]["place"]["is_page"], true);
    }
    let ran = piped(&sandbox, &["chat", "--model", "model", "--document", "-"], b"x");
    assert!(ran.code == Some(2) && ran.stderr.contains("questions come from stdin"), "{}", ran.stderr);
}

#[test]
fn the_text_of_a_pdf_or_a_page_is_measured_like_any_text() {
    let sandbox = Sandbox::new();
    sandbox.write("birds.pdf", BIRDS);
    sandbox.write("a.html", "<html><body><p>A heron\nstands.</p><p>A boat waits.</p></body></html>");
    sandbox.write("a.txt", "A heron stands.\n\nA boat waits.\n");
    let ran = piped(&sandbox, &["extract-text", "pdf"], BIRDS);
    let answer: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let pages = answer["Ok"]["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap());
    sandbox.write("birds.txt", pages.collect::<Vec<_>>().join("\n\n"));
    let loss = |file: &str| {
        let ran = sandbox.done(&format!("perplexity --file {file} --lengths 8 --json"));
        let curves: Value = serde_json::from_str(&ran.stdout).unwrap();
        curves[0]["points"].clone()
    };
    for (file, text) in [("birds.pdf", "birds.txt"), ("a.html", "a.txt")] {
        assert!(loss(file).is_array());
        assert_eq!(loss(file), loss(text), "{file}");
    }
}
