//! `longlens score`: pairs and files of predictions.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

mod common;

use common::Sandbox;

/// Lines of stdout as JSON.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

const PAIRS: &str = r#"{"id": 1, "scorer": "scrolls_f1", "prediction": "the blue paint", "references": ["blue paint", "red"]}

{"id": "b", "scorer": "longbench_retrieval", "prediction": "3", "references": ["paragraph 3"]}
{"id": null, "scorer": "babilong_compare_answers", "prediction": "none", "references": ["none"], "question": "How many?", "labels": ["none", "one"]}
"#;

#[test]
fn every_pair_gets_a_line() {
    let sandbox = Sandbox::new();
    sandbox.write("pairs.jsonl", PAIRS);
    let faithful = [
        json!({ "id": 1, "score": 100.0 }),
        json!({ "id": "b", "score": { "error": "IndexError" } }),
        json!({ "id": null, "score": false }),
    ];
    assert_eq!(lines(&sandbox.done("score --pairs pairs.jsonl").stdout), faithful);
    let fixed =
        [json!({ "id": 1, "score": 100.0 }), json!({ "id": "b", "score": 1.0 }), json!({ "id": null, "score": true })];
    assert_eq!(lines(&sandbox.done("score --pairs pairs.jsonl --mode fixed").stdout), fixed);
    sandbox.write("nothing.jsonl", "\n\n");
    assert_eq!(sandbox.done("score --pairs nothing.jsonl").stdout, "");
}

#[test]
fn a_pair_is_answered_before_the_next_one_is_read() {
    let sandbox = Sandbox::new();
    let mut child =
        sandbox.command(&["score", "--pairs", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    for id in 0..3 {
        writeln!(to, r#"{{"id": {id}, "scorer": "scrolls_f1", "prediction": "a b", "references": ["b"]}}"#).unwrap();
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        assert_eq!(lines(&line), [json!({ "id": id, "score": 100.0 })]);
    }
    drop(to);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_wrong_line_is_named_and_what_was_before_it_stands() {
    let sandbox = Sandbox::new();
    let good = r#"{"id": 1, "scorer": "scrolls_f1", "prediction": "b", "references": ["b"]}"#;
    let cases: [(&[u8], &[&str]); 10] = [
        (
            br#"{"id": 2, "scorer": "scrols_f1"}"#,
            &["there is no scorer `scrols_f1`", "did you mean `scrolls_f1`?", "ruler_string_match_all"],
        ),
        (
            br#"{"id": 2, "scorer": "qwertz"}"#,
            &["there is no scorer `qwertz`", "one of: scrolls_f1,", "longheads_key_line_straddles_256"],
        ),
        (br#"{"scorer": "scrolls_f1"}"#, &["`id` is missing"]),
        (br#"{"id": 2, "prediction": ""}"#, &["`scorer` is missing"]),
        (br#"{"id": 2, "scorer": 3}"#, &["`scorer` is not a text"]),
        (
            br#"{"id": 2, "scorer": "scrolls_f1", "references": ["b"]}"#,
            &["`prediction` is missing, which `scrolls_f1` reads"],
        ),
        (
            br#"{"id": 2, "scorer": "scrolls_f1", "prediction": ["b"], "references": ["b"]}"#,
            &["`prediction` is a list of something else", "reads a text"],
        ),
        (
            br#"{"id": 2, "scorer": "babilong_compare_answers", "prediction": "b", "references": ["b"], "labels": []}"#,
            &["`question` is missing"],
        ),
        (b"[1, 2]", &["invalid type: sequence, expected a map"]),
        (b"{\"id\": \"\xff\"}", &["byte 0xff at column 9 is not UTF-8", "UTF-8, uncompressed"]),
    ];
    for (line, expected) in cases {
        sandbox.write("pairs.jsonl", [good.as_bytes(), b"\n\n", line].concat());
        let said = sandbox.refused("score --pairs pairs.jsonl", 1, &[&["line 3 of pairs.jsonl"], expected].concat());
        assert_eq!(lines(&said), [json!({ "id": 1, "score": 100.0 })]);
    }
    sandbox.refused("score --pairs missing.jsonl", 1, &["missing.jsonl"]);
    sandbox.refused("score", 2, &["--pairs", "--list"]);
    sandbox.refused("score --list --pairs pairs.jsonl", 2, &["cannot be used with"]);
    sandbox.refused("score --pairs pairs.jsonl --mode right", 2, &["faithful, fixed"]);
    sandbox.refused("score --pairs pairs.jsonl --task qasper", 2, &["cannot be used with"]);
}

#[test]
fn scorers_are_listed_with_what_fixed_changes() {
    let sandbox = Sandbox::new();
    let text = sandbox.done("score --list").stdout;
    for part in [
        "longbench_rouge_zh",
        "THUDM/LongBench: LongBench/metrics.py",
        "up to 100",
        "fixed: letters count as whole words",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let listed: Value = serde_json::from_str(&sandbox.done("score --list --json").stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 44);
    let is_told =
        |scorer: &Value| ["name", "source", "summary"].iter().all(|field| !scorer[field].as_str().unwrap().is_empty());
    assert!(listed.as_array().unwrap().iter().all(is_told));
}

#[test]
fn files_of_repositories_are_scored_whole() {
    let sandbox = Sandbox::new();
    let rows = |rows: &[Value]| rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let longbench = |pred: &str, answer: &str, length: usize| json!({ "pred": pred, "answers": [answer], "all_classes": ["Date", "Number"], "length": length });
    sandbox.write("trec.jsonl", rows(&[longbench("Date\nx", "Date", 100), longbench("Date", "Number", 9000)]));
    assert_eq!(sandbox.done("score --predictions trec.jsonl").stdout, "50.0\n");
    let by_length: Value =
        serde_json::from_str(&sandbox.done("score --predictions trec.jsonl --task trec_e --json").stdout).unwrap();
    assert_eq!(by_length["scored"]["score"], json!({ "0-4k": 100.0, "4-8k": null, "8k+": 0.0 }));
    // tasks may be called as they are listed
    assert_eq!(sandbox.done("score --predictions trec.jsonl --task longbench_trec").stdout, "50.0\n");
    let listed = sandbox.done("score --predictions trec.jsonl --task longbench_e_trec --json");
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["scored"]["score"], by_length["scored"]["score"]);
    sandbox.refused("score --predictions trec.jsonl --task news", 1, &["does not know the task `news`", "narrativeqa"]);

    let leval = |pred: &str, gt: &str| json!({ "query": "", "gt": gt, "m-7b_pred": pred, "evaluation": "exam" });
    sandbox.write("quality.pred.jsonl", rows(&[leval("Answer: C", "C"), leval("", "(B) yes")]));
    let exam = |flags: &str| sandbox.done(&format!("score --predictions quality.pred.jsonl {flags}")).stdout;
    assert!(exam("").contains("{'exact_match': 0.0, 'num_predicted': 2,"));
    assert!(exam("--source HKUNLP/ChunkLlama").contains("{'exact_match': 12.5, 'num_predicted': 2,"));
    assert!(exam("--mode fixed").contains("{'exact_match': 50.0, 'num_predicted': 2,"));
    sandbox.refused("score --predictions quality.pred.jsonl --source me", 1, &["reads `OpenLMLab/LEval` or"]);

    sandbox.write("qa_1.jsonl", rows(&[json!({ "index": 0, "pred": "in Bergen", "outputs": ["Bergen", "Oslo"] })]));
    assert_eq!(sandbox.done("score --predictions qa_1.jsonl").stdout, "100.0\n");
    assert_eq!(sandbox.done("score --predictions qa_1.jsonl --task niah_single_1").stdout, "50.0\n");

    sandbox.write("quality.json", r#"{"q1": "blue", "q1": "red"}"#);
    sandbox.write("gold.jsonl", rows(&[json!({ "id": "q1", "output": "red" }), json!({ "id": "q2", "output": "x" })]));
    let scrolls = |flags: &str| -> Value {
        serde_json::from_str(
            &sandbox.done(&format!("score --predictions quality.json --references gold.jsonl {flags}")).stdout,
        )
        .unwrap()
    };
    assert_eq!(scrolls("")["scrolls_score"], 100.0, "an id without a prediction is left out");
    assert_eq!(scrolls("--mode fixed")["scrolls_score"], 50.0);
    sandbox.refused("score --predictions quality.json", 1, &["no right answers", "references"]);
    sandbox.write("other.jsonl", "{\"text\": \"a\", \"n\": 1}\n");
    sandbox.refused(
        "score --predictions other.jsonl",
        1,
        &["of no repository's predictions", "LongBench writes", "name a scorer"],
    );
    sandbox.write("empty.jsonl", "");
    sandbox.refused("score --predictions empty.jsonl", 1, &["it holds no rows"]);
    sandbox.write("broken.jsonl", "{\"pred\": \"a\", \"answers\": []}\n{");
    sandbox.refused("score --predictions broken.jsonl", 1, &["line 2 of broken.jsonl"]);
}

#[test]
#[cfg(target_os = "linux")]
fn scores_that_cannot_be_written_are_no_success() {
    let sandbox = Sandbox::new();
    sandbox.write("pairs.jsonl", PAIRS);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = sandbox.command(&["score", "--pairs", "pairs.jsonl"]).stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(1) && said.contains("cannot write the output"), "{said}");
}

#[test]
fn rows_of_other_files_are_scored_one_by_one() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "qa1_4k.csv",
        "target,output,question\nkitchen,In the kitchen.,Where is Mary?\ngarden,kitchen,Where is Ann?\n",
    );
    let ran = sandbox.done("score --predictions qa1_4k.csv");
    assert_eq!(ran.stdout, "50.0\n");
    assert!(
        ran.stderr.contains("qa1_4k: babilong_compare_answers of 2 predictions in `output`, faithful"),
        "{}",
        ran.stderr
    );
    let named: Value =
        serde_json::from_str(&sandbox.done("score --predictions qa1_4k.csv --task babilong_qa1 --json").stdout)
            .unwrap();
    assert_eq!(named["scored"]["each"], json!([true, false]));
    sandbox.write("preds_math_find.jsonl", "{\"prediction\": \"it is 12.5\", \"ground_truth\": 12}\n");
    let ran = sandbox.done("score --predictions preds_math_find.jsonl");
    assert!(ran.stderr.contains("of 1 the script raises an exception"), "{}", ran.stderr);
    sandbox.write("mine.csv", "said,right\nthe blue paint,blue paint\n");
    sandbox.refused("score --predictions mine.csv", 1, &["of no repository's predictions"]);
    let any = "score --predictions mine.csv --scorer scrolls_f1 --prediction-field said";
    sandbox.refused(any, 1, &["line 2 of mine.csv", "said, right", "answer-field"]);
    assert_eq!(sandbox.done(&format!("{any} --answer-field right")).stdout, "100.0\n");
    sandbox.refused("score --scorer scrolls_f1", 2, &["--predictions"]);
}

#[test]
fn rows_that_are_not_as_the_repository_writes_them_are_named() {
    let sandbox = Sandbox::new();
    let good = "{\"pred\": \"a\", \"answers\": [\"a\"], \"length\": 5}\n";
    let files = [
        (
            "qasper.jsonl",
            format!("{good}{{\"pred\": null, \"answers\": [\"a\"]}}\n"),
            "line 2 of qasper.jsonl: `pred` is null, not a text",
        ),
        ("trec.jsonl", format!("{good}{{\"pred\": \"a\"}}\n"), "line 2 of trec.jsonl: `answers` is missing"),
        (
            "qasper_e.jsonl",
            format!("{good}\n{{\"pred\": \"a\", \"answers\": [\"a\"]}}\n"),
            "line 3 of qasper_e.jsonl: `length` is missing",
        ),
        ("mine.jsonl", "{\"pred\": \"a\", \"outputs\": [\"a\"]}\n".to_owned(), "no task of RULER is called `mine`"),
    ];
    for (name, text, said) in &files {
        sandbox.write(name, text);
        sandbox.refused(&format!("score --predictions {name}"), 1, &[said]);
    }
    let ran = sandbox.done("score --predictions mine.jsonl --task qa_1");
    assert!(ran.stderr.contains("ruler_string_match_part_corpus of 1 predictions in `pred`"), "{}", ran.stderr);
    sandbox.write("whole.jsonl", good);
    let line = "score --predictions whole.jsonl --task qasper --references whole.jsonl";
    sandbox.refused(line, 1, &["right answers of their own", "leave the references out"]);
}
