//! Conversations on the command line: a copy of the embedded model with a chat template talks.

mod common;

use std::io::Write;
use std::process::Stdio;

use common::{Sandbox, talking, words};
use serde_json::{Value, json};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    talking(&sandbox.path("talking"));
    sandbox
}

fn said(sandbox: &Sandbox, args: &[&str]) -> Value {
    let ran = sandbox.run(args);
    assert_eq!(ran.code, Some(0), "longlens {args:?}\n{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("longlens {args:?}: {error}\n{}", ran.stdout))
}

/// The command is refused with all of `expected`.
fn refused(sandbox: &Sandbox, args: &[&str], expected: &str) {
    let ran = sandbox.run(args);
    let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(ran.code.is_some_and(|code| code != 0) && said.contains(expected), "longlens {args:?}\n{}", ran.stderr);
}

/// `longlens chat` asked these questions through a pipe.
fn chat(sandbox: &Sandbox, flags: &str, questions: &str) -> Value {
    let mut command = sandbox.command(&words(&format!("chat --model talking --json {flags}")));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(questions.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether what is kept from turn to turn is used or not, an answer is that of its whole prompt.
#[test]
fn answers_are_those_of_whole_prompts() {
    let sandbox = sandbox();
    let questions = "The pass key is 48213. Remember it.\n\nWhat is the pass key?\nWhere does Mira live?\n";
    for method in
        ["full", "streaming:window=64", "long_heads:chunk_len=16,attention_len=64", "self_extend:group_size=4"]
    {
        let chatted = chat(&sandbox, &format!("--max-tokens 24 --method {method} --prefill-chunk 16"), questions);
        let turns = chatted["conversation"]["messages"].as_array().unwrap();
        assert_eq!(turns.len(), 6, "an empty line asks nothing");
        for (at, answer) in chatted["answers"].as_array().unwrap().iter().enumerate() {
            let messages = json!(turns[..=2 * at]).to_string();
            let flags = ["--max-tokens", "24", "--method", method, "--messages", &messages, "--json"];
            let anew = said(&sandbox, &[&["generate", "--model", "talking"][..], &flags].concat());
            for part in ["tokens", "text", "stop", "n_prompt", "run"] {
                assert_eq!(answer[part], anew["generated"][part], "{part} of turn {at} under {method}");
            }
            assert_eq!(turns[2 * at + 1]["content"], answer["text"]);
        }
    }
}

#[test]
fn a_result_says_which_conversation_it_goes_on_from() {
    let sandbox = sandbox();
    let generate = ["generate", "--model", "talking", "--max-tokens", "4", "--json"];
    let of = |flags: &[&str]| said(&sandbox, &[&generate[..], flags].concat());
    let plain = of(&["--prompt", "Hello"]);
    assert_eq!(plain["prompt"], Value::Null);
    let asked = of(&["--prompt", "Hello", "--chat", "--system", "Be brief.", "--date", "2025-01-31"]);
    let messages = json!([{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "Hello" }]);
    let expected = json!({ "messages": messages, "add_generation_prompt": true, "date": "2025-01-31" });
    assert_eq!(asked["prompt"], json!({ "chat": expected }));
    // what was recorded gives the same prompt again
    let again = of(&["--messages", &asked["prompt"]["chat"].to_string()]);
    assert_eq!((&again["prompt"], &again["generated"]["text"]), (&asked["prompt"], &asked["generated"]["text"]));
    // an answer that was begun goes on, one that is closed does not
    let turns = json!([{ "role": "user", "content": "The pass key is 48213." }, { "role": "assistant", "content": "The pass key is" }]);
    let begun = of(&["--messages", &turns.to_string()]);
    assert!(begun["generated"]["text"].as_str().unwrap().trim_start().starts_with("482"), "{begun}");
    let closed = json!({ "messages": turns, "add_generation_prompt": false });
    let n_prompt = |said: &Value| said["generated"]["n_prompt"].as_u64().unwrap();
    assert!(n_prompt(&of(&["--messages", &closed.to_string()])) > n_prompt(&begun), "the turn is ended");
    sandbox.write("run.toml", format!("[prompt]\nmessages = {}\n", "[{ role = 'user', content = 'The pass key is 48213.' }, { role = 'assistant', content = 'The pass key is' }]"));
    assert_eq!(of(&["--config", "run.toml"])["prompt"], begun["prompt"]);
}

#[test]
fn keys_are_hidden_in_what_a_user_says() {
    let sandbox = sandbox();
    let line = "passkey --model talking --lengths 160,240 --depths 0,1 --trials 2 --json";
    let plain = said(&sandbox, &words(line));
    let report = said(&sandbox, &words(&format!("{line} --chat --date 2025-01-31")));
    let protocol = report["protocol"].as_str().unwrap();
    assert!(
        protocol.contains("template longlens in the model's chat template (date 2025-01-31), 2 prompts"),
        "{protocol}"
    );
    for (cell, other) in report["cells"].as_array().unwrap().iter().zip(plain["cells"].as_array().unwrap()) {
        let mean = cell["mean_prompt_tokens"].as_f64().unwrap();
        let length = cell["length"].as_f64().unwrap();
        assert!(mean <= length - 5.0 && mean > length - 40.0, "{cell}");
        assert_eq!(cell["trials"][0]["key"], other["trials"][0]["key"], "the same key in both");
        assert_eq!(cell["hits_tokens"], 2, "{cell}");
    }
    sandbox.write(
        "run.toml",
        "[passkey]\nlengths = [160]\ndepths = [0.0]\ntrials = 2\nchat = true\ndate = \"2025-01-31\"\n",
    );
    let configured = said(&sandbox, &words("passkey --model talking --config run.toml --json"));
    assert_eq!(configured["protocol"], report["protocol"]);
    let needle = said(&sandbox, &words("generate --model talking --needle 200:0.3:40921 --chat --max-tokens 7 --json"));
    assert!(needle["generated"]["text"].as_str().unwrap().contains("40921"), "{needle}");
    assert_eq!(needle["prompt"]["needle"]["chat"], json!({ "date": "2024-07-26" }));
    sandbox.write("stored.jsonl", "{\"prompt\": \"The pass key is 48213. Remember it. 48213 is the pass key. What is it? The pass key is\", \"answer\": \"48213\"}\n");
    let stored = said(&sandbox, &words("passkey --model talking --prompts stored.jsonl --chat --json"));
    assert_eq!(stored["cells"][0]["hits_tokens"], 1, "{stored}");
}

/// Cells hide keys in conversations and end these as the command line does.
#[test]
fn cells_talk_as_the_command_line_does() {
    let sandbox = sandbox();
    sandbox.write(
        "cells.rhai",
        r#"// %%
open("talking");
fn holds(what, is_so) { if !is_so { throw what } }
let hidden = needle(200, 0.3, #{ key: "40921", chat: true, system: "Be brief." });
holds("system", hidden.text.starts_with("System: Be brief.\nUser: A pass key"));
holds("answer", hidden.text.ends_with("?\nAssistant: The pass key is"));
holds("map", needle(#{ length: 200, depth: 0.3, key: "40921", chat: true, system: "Be brief." }).tokens == hidden.tokens);
// %%
let turns = [#{ role: "user", content: "Two?" }, #{ role: "assistant", content: "It is" }];
holds("begun", chat(turns).text.ends_with("Assistant: It is"));
holds("closed", chat(turns, #{ add_generation_prompt: false }).text.ends_with("It is\n"));
holds("again", chat(turns, #{ add_generation_prompt: true }).text.ends_with("It is\nAssistant:"));
holds("goes on", chat("Hello", #{ continue_final_message: true }).text.ends_with("User: Hello"));
// %%
holds("found", accuracy(passkey(#{ lengths: [160], depths: [0.0], trials: 2, chat: true, date: "2025-01-31" })) == 1.0);
"#,
    );
    let ran = sandbox.done("notebook run cells.rhai");
    assert!(
        ran.stderr.contains("3 of 3 cells run") || ran.stdout.contains("3 of 3 cells run"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    for (cell, expected) in [
        ("needle(200, 0.3, #{ chat: true })", "the model has no chat template"),
        ("needle(200, 0.3, #{ system: \"x\" })", "`system` and `date` are told to a chat template"),
        ("passkey(#{ lengths: [200], chat: true })", "the model has no chat template"),
        ("chat(\"x\", #{ variables: 3 })", "option `variables` of `chat` must be a map"),
    ] {
        sandbox.write("wrong.rhai", format!("// %%\n{cell}\n"));
        let ran = sandbox.run(&words("notebook run wrong.rhai --overwrite"));
        let said = (ran.stdout + &ran.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(ran.code == Some(1) && said.contains(expected), "{cell}: {said}");
    }
}

#[test]
fn what_no_template_can_say_is_refused() {
    let sandbox = sandbox();
    for (args, expected) in [
        (&["passkey", "--chat", "--lengths", "200"][..], "the model has no chat template"),
        (&["chat"], "the model has no chat template"),
        (&["generate", "--prompt", "x", "--system", "y"], "--system is for the model's chat template help: add --chat"),
        (&["passkey", "--date", "2025-01-31"], "--date is for the model's chat template"),
        (
            &["generate", "--model", "talking", "--prompt", "x", "--chat", "--date", "today"],
            "the date `today` is no day of the calendar help: write it as 2024-07-26",
        ),
        (
            &["generate", "--messages", "[{\"role\": \"user\"}]"],
            "--messages is no list of turns: missing field `content`",
        ),
        (
            &["generate", "--messages", "{\"messages\": []}"],
            "--messages is no conversation: missing field `add_generation_prompt`",
        ),
        (&["generate", "--messages", "[]", "--chat"], "cannot be used with"),
        (
            &["generate", "--model", "talking", "--messages", "[{\"role\": \"tool\", \"content\": \"x\"}]"],
            "the chat template refuses the conversation: no tools here",
        ),
    ] {
        refused(&sandbox, args, expected);
    }
}

/// What a chat says on stdout and stderr after these lines on stdin.
fn chatted(sandbox: &Sandbox, args: &str, lines: &[u8]) -> common::Ran {
    let mut command = sandbox.command(&words(&format!("chat --model talking {args}")));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn answers_are_kept_when_a_later_question_cannot_be_read() {
    let sandbox = sandbox();
    let ran = chatted(&sandbox, "--max-tokens 3 --json --out chat.json", b"Say hi.\nAnd \xff\xfe?\nAnd bye.\n");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("line 2 of stdin is no UTF-8 from its byte 5 on"), "{}", ran.stderr);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["answers"].as_array().unwrap().len(), 1);
    assert_eq!(sandbox.json("chat.json"), printed);
}

#[test]
fn a_conversation_that_outgrows_the_model_is_told_so_once() {
    let sandbox = sandbox();
    let long = "The heron stands in the water and waits for the boat. ".repeat(40);
    let questions = format!("Say hi.\n{long}\nAnd bye.\nAnd again.\n");
    let ran = chatted(&sandbox, "--max-tokens 2", questions.as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("are beyond the capacity of").count(), 1, "{}", ran.stderr);
    let ran = chatted(&sandbox, "--max-tokens 2", b"Say hi.\n");
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
fn a_day_that_is_none_is_no_fault_of_the_model() {
    let sandbox = sandbox();
    let ran = sandbox.run(&words("generate --model talking --prompt Hi --chat --date 2024-13-01"));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("the date `2024-13-01` is no day of the calendar"), "{}", ran.stderr);
    assert!(ran.stderr.contains("write it as 2024-07-26") && !ran.stderr.contains("chat_template"), "{}", ran.stderr);
}

#[test]
fn a_document_is_kept_in_the_template_and_asked_about_in_later_runs() {
    let sandbox = sandbox();
    let text = "Mira keeps the boat in the old harbour. ".repeat(12) + "\n\nThe pass key is 48213. Remember it.\n";
    sandbox.write("text.txt", &text);
    let settings = "--method streaming:window=96 --prefill-chunk 64";
    let told = ["--chat", "--system", "Be brief.", "--date", "2025-01-31"];
    let save = format!("cache save --model talking {settings} --file text.txt --out text.safetensors");
    said(&sandbox, &[&words(&save)[..], &told, &["--json"]].concat());
    for question in ["What is the pass key?", "1", "\u{e9}?"] {
        let asks = ["--question", question, "--max-tokens", "12", "--json"];
        let line = format!("generate --model talking {settings} --file text.txt");
        let whole = said(&sandbox, &[&words(&line)[..], &told, &asks].concat());
        let kept = said(&sandbox, &[&words("generate --model talking --cache text.safetensors")[..], &asks].concat());
        for part in ["tokens", "n_prompt", "run"] {
            assert_eq!(kept["generated"][part], whole["generated"][part], "{part} after {question}");
        }
        let n_kept = kept["kept_tokens"].as_u64().unwrap();
        assert!(n_kept as usize > text.len() / 8 && n_kept < kept["generated"]["n_prompt"].as_u64().unwrap());
    }
    let questions = "What is the pass key?\nWhere is the boat?\n";
    let flags = "--max-tokens 12 --passages 1";
    // blocks of queries choose together, so that less is kept
    let settings = "--method long_heads:chunk_len=16,attention_len=64,query_block=16 --prefill-chunk 64";
    let save = format!("cache save --model talking {settings} --file text.txt --out text.safetensors");
    let anew = format!("{flags} {settings} --document text.txt --system Brief. --date 2025-01-31");
    let line = format!("{save} --chat --system Brief. --date 2025-01-31");
    sandbox.done(&line.replace("text.safetensors", "talk.safetensors"));
    let (anew, kept) =
        (chat(&sandbox, &anew, questions), chat(&sandbox, &format!("{flags} --cache talk.safetensors"), questions));
    assert_eq!(kept["conversation"], anew["conversation"]);
    assert_eq!(kept["answers"][0]["passages"][0]["place"], anew["answers"][0]["passages"][0]["place"]);

    // text outside the template is no turn, and what the system said is kept
    sandbox.done("cache save --model talking --file text.txt --out plain.safetensors");
    refused(&sandbox, &words("chat --model talking --cache plain.safetensors"), "was not kept in the chat template");
    refused(
        &sandbox,
        &words("generate --model talking --system A --cache text.safetensors --question A"),
        "no turn of a conversation",
    );
    refused(
        &sandbox,
        &words("cache save --model talking --chat --prompt A --out a.safetensors"),
        "give the text with --file",
    );
    refused(&sandbox, &words("cache save --model talking --file text.txt --out a.txt"), "no name for a kept prompt");
}
