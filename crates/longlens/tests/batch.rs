//! Many prompts of a file under the same settings.

mod common;

use std::fs;

use common::Sandbox;
use serde_json::Value;

const PROMPTS: &str = r#"{"id": "a", "prompt": "The heron stands in the water and the boat waits for the evening. The heron", "source": "book 1"}
{"prompt": "The heron stands in the water and the boat waits for the evening. The boat", "answers": ["waits"]}

{"id": 7, "file": "text.txt", "question": "Who waits?"}
"#;

fn lines(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(sandbox.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_prompt_has_the_answer_that_it_has_alone() {
    let sandbox = Sandbox::new();
    sandbox.write("prompts.jsonl", PROMPTS);
    sandbox.write("text.txt", "The boat waits.\n");
    let ran = sandbox.done("generate --prompts prompts.jsonl --max-tokens 8 --out answers.jsonl");
    assert!(ran.stderr.contains("note: prompts are read without their `answers`, `source`"), "{}", ran.stderr);
    let answers = lines(&sandbox, "answers.jsonl");
    let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&Value::from("a"), &Value::from(2), &Value::from(7)]);
    let alone = |args: &[&str]| -> Value {
        let ran = sandbox.run(&[&["generate", "--max-tokens", "8", "--json"], args].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stderr))
    };
    let heron = "--prompt=The heron stands in the water and the boat waits for the evening. The heron";
    assert_eq!(answers[0]["tokens"], alone(&[heron])["generated"]["tokens"]);
    let asked = alone(&["--file", "text.txt", "--question", "Who waits?"]);
    assert_eq!(answers[2]["tokens"], asked["generated"]["tokens"]);
    assert_eq!(answers[0]["run"], alone(&[heron])["generated"]["run"]);

    sandbox.done("generate --prompts prompts.jsonl --max-tokens 8 --out answers.csv");
    let table = fs::read_to_string(sandbox.path("answers.csv")).unwrap();
    assert!(table.starts_with("id,text,stop,"), "{table}");
}

#[test]
fn lines_that_are_no_prompts_are_refused_with_their_number() {
    let sandbox = Sandbox::new();
    let said = |line: &str| {
        sandbox.write("prompts.jsonl", format!("{{\"prompt\": \"A\"}}\n{line}\n"));
        let ran = sandbox.run(&["generate", "--prompts", "prompts.jsonl", "--max-tokens", "1"]);
        assert_eq!(ran.code, Some(1), "{line}: {}", ran.stderr);
        let said: String = ran.stderr.replace(['│', '×', '╰', '─', '▶'], " ");
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (line, expected) in [
        ("{\"promt\": \"B\"}", "prompts.jsonl, line 2: it has none of `prompt`, `messages` and `file`"),
        ("{\"prompt\": \"B\", \"file\": \"b.txt\"}", "prompts.jsonl, line 2: it has several prompts"),
        ("{\"prompt\": 5}", "prompts.jsonl, line 2: it is no prompt: invalid type: integer `5`, expected a string"),
        ("{\"prompt\": ", "prompts.jsonl, line 2: it is no prompt: EOF while parsing a value"),
        ("{\"id\": \"1\", \"prompt\": \"B\"}", "prompts.jsonl, line 2: its id is that of line 1"),
        ("{\"prompt\": \"B\", \"question\": \"C\"}", "prompts.jsonl, line 2: a question is about a `file`"),
        ("{\"file\": \"nothing.txt\"}", "prompts.jsonl, line 2: cannot read nothing.txt"),
    ] {
        let said = said(line);
        assert!(said.contains(expected) && !said.contains("at line 1"), "{line}: {said}");
    }
}

#[test]
fn a_picture_is_no_file_of_an_answer() {
    let sandbox = Sandbox::new();
    for name in ["answer.html", "answer.png"] {
        let ran = sandbox.run(&["generate", "--prompt", "A", "--max-tokens", "1", "--out", name]);
        assert!(ran.code == Some(2) && ran.stderr.contains("would hold JSON"), "{}", ran.stderr);
        assert!(!sandbox.path(name).exists());
    }
}
