//! Prompts and answers of rows invented for it.

use serde_json::json;

use super::*;
use crate::scorers::{Mode, Scorer};
use crate::tasks::held::{Held, answering, text};

fn row(name: &str) -> Value {
    let (input, answer) = match name {
        "kv_retrieval" => ("\nKey: \"01234567-89ab-cdef-0123-456789abcdef\"\nThe value is: ", json!("fedc")),
        "longbook_choice_eng" => ("Who?", json!(["Bea"])),
        "math_find" => ("You?\nThe largest number of: ", json!(12)),
        "code_run" => ("What is func_x(1) or func_12(-3)?", json!([-7])),
        _ => ("What is the key?", json!(["71432"])),
    };
    json!({ "id": 7, "context": "A {text}.", "input": input, "answer": answer, "options": ["Al", "Bea", "Cy", "Di"] })
}

fn made(name: &str) -> Sample {
    Held::rows("f/x.jsonl", &[row(name)]).make(&format!("infinitebench_{name}:file=f/x.jsonl,template=off")).remove(0)
}

/// Both modes' score of an answer.
fn score(name: &str, prediction: &str) -> [Value; 2] {
    let sample = made(name);
    let answering = answering(&sample);
    let mut fields = answering.fields.clone();
    fields.insert("prediction".into(), json!(prediction));
    let scorer = Scorer::named(answering.scorer).unwrap();
    Mode::ALL.map(|mode| scorer.score(&fields, mode).unwrap())
}

#[test]
fn prompts_are_those_of_the_script() {
    let of = |name: &str| text(&made(name)).to_owned();
    assert_eq!(
        of("passkey"),
        "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you about the important \
         information there.\n\nA {text}.\n\nWhat is the key?"
    );
    assert_eq!(
        of("number_string"),
        "There is an important info hidden inside a lot of irrelevant text. Find it. I will quiz you about the important information \
         there.\n\nA {text}.\n\nWhat is the key?"
    );
    assert_eq!(
        of("kv_retrieval"),
        "Extract the value corresponding to the specified key \"01234567-89ab-cdef-0123-456789abcdef\" in the JSON object below.\n\nA \
         {text}.\n\n\nKey: \"01234567-89ab-cdef-0123-456789abcdef\"\nThe value is: "
    );
    assert_eq!(
        of("longbook_choice_eng"),
        "Read the book and answer the question.\n\nA {text}.\n\nQuestion: Who?\n\nOnly one of the following options is correct, tell me the \
         answer using one single letter (A, B, C, or D). Don't say anything else.\nA. Al\nB. Bea\nC. Cy\nD. Di"
    );
    assert_eq!(
        of("math_find"),
        "What is the largest number in the following list?\n\nA {text}.\n\nYou?\nThe largest number of: "
    );
    assert_eq!(
        of("code_run"),
        "Following is a set of Python functions. There is a function called named func_12.\n\nA {text}.\n\nPlease give me the exact number \
         of the return value of func_12(-3). Be concise. Your response must end with the final returned value."
    );
    let chat = Held::rows("f.jsonl", &[row("passkey")]).make("infinitebench_passkey:file=f.jsonl");
    assert!(text(&chat[0]).starts_with("user: There is") && text(&chat[0]).ends_with("\nassistant:"));
    assert_eq!(
        (&*chat[0].id, answering(&chat[0]).max_tokens, answering(&made("kv_retrieval")).max_tokens),
        ("7", 32, 100)
    );
}

#[test]
fn answers_are_compared_as_the_script_has_them() {
    for (name, prediction, expected) in [
        ("passkey", "It is 71432.", [true, true]),
        ("number_string", "71433", [false, false]),
        ("kv_retrieval", "\"fedc\"", [true, true]),
        ("longbook_choice_eng", "B", [true, true]),
        ("longbook_choice_eng", "C", [false, false]),
        // the option counts beside its letter, and any of its characters does
        ("longbook_choice_eng", "the answer is: everyone", [true, false]),
        ("math_find", "12", [true, true]),
        ("math_find", "-12", [true, false]),
        ("code_run", "It returns -7", [true, true]),
    ] {
        assert_eq!(score(name, prediction), expected.map(Value::from), "{name} {prediction}");
    }
    assert_eq!(made("math_find").answers, ["12"]);
    assert_eq!(made("longbook_choice_eng").answers, ["Bea", "B"]);
}

#[test]
fn parts_of_questions_are_found_as_the_script_finds_them() {
    assert_eq!(number("The x of y of z"), Some("The x of y"));
    assert_eq!(number("The of\nThe second largest of"), Some("The second largest"));
    assert_eq!(number("The  of"), None);
    assert_eq!(call("func_1 func_2( func_3() func_4(5 func_67(89))"), Some("func_67(89)"));
    assert_eq!(call("func_"), None);
}

#[test]
fn rows_of_other_tasks_are_refused() {
    let refused = |name: &str, field: &str, value: Value| {
        let mut row = row(name);
        row[field] = value;
        Held::rows("f.jsonl", &[row]).refused(&format!("infinitebench_{name}:file=f.jsonl"))
    };
    insta::assert_snapshot!(refused("kv_retrieval", "input", json!("\nKey: \"é\"")), @r#"line 1 of f.jsonl: `input` has no key as `Key: "…"` of 36 characters | is this the task's file?"#);
    insta::assert_snapshot!(refused("math_find", "input", json!("Which?")), @"line 1 of f.jsonl: `input` has no words as `The … of` | is this the task's file?");
    insta::assert_snapshot!(refused("math_find", "answer", json!("12")), @"line 1 of f.jsonl: `answer` does not hold numbers | is this the task's file?");
    insta::assert_snapshot!(refused("code_run", "input", json!("func_1(x)")), @"line 1 of f.jsonl: `input` has no call as `func_1(2)` | is this the task's file?");
    insta::assert_snapshot!(refused("passkey", "answer", json!([])), @"line 1 of f.jsonl: `answer` does not hold texts | is this the task's file?");
    insta::assert_snapshot!(refused("longbook_choice_eng", "options", json!(["a"])), @"line 1 of f.jsonl: there are 1 `options` | give four");
    insta::assert_snapshot!(refused("longbook_choice_eng", "answer", json!("Ed")), @"line 1 of f.jsonl: `answer` is none of the `options` | give one of them");
}
