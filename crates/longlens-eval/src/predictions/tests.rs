use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{FileScore, PredictionFile, score_file};
use crate::error::EvalError;
use crate::scorers::Mode;
use crate::scorers::tests::golden;

fn file(path: &std::path::Path) -> PredictionFile<'_> {
    PredictionFile {
        path,
        task: None,
        source: None,
        references: None,
        scorer: None,
        prediction_field: None,
        answer_field: None,
    }
}

/// The score of a file of this name and text.
fn scored(name: &str, text: impl AsRef<[u8]>) -> Result<FileScore, EvalError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    score_file(file(&path), Mode::Faithful)
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// Rows of what the original gave, by the task that they are of.
fn golden_of(scorer: &str) -> BTreeMap<String, Vec<Map<String, Value>>> {
    let mut tasks: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for row in golden().into_iter().filter(|row| row["scorer"].as_str().unwrap().starts_with(scorer)) {
        tasks.entry(row["task"].as_str().unwrap().to_owned()).or_default().push(row);
    }
    tasks
}

fn scores(rows: &[Map<String, Value>]) -> Vec<Value> {
    rows.iter().map(|row| row["score"].clone()).collect()
}

fn percent(each: &[Value]) -> Value {
    let right = each.iter().filter(|score| **score == json!(true)).count() as f64;
    json!((1e4 * right / each.len() as f64).round() / 100.0)
}

#[test]
fn tables_of_babilong_score_as_its_script() {
    let mut n = 0;
    for (task, rows) in golden_of("babilong_compare_answers") {
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(["target", "output", "question"]).unwrap();
        for row in &rows {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            table.write_record([&row["references"][0], &row["prediction"], &row["question"]].map(text)).unwrap();
        }
        let name = format!("{}_4k_instruction_yes_examples_yes.csv", task.strip_prefix("babilong_").unwrap());
        let found = scored(&name, table.into_inner().unwrap()).unwrap();
        assert_eq!(found.each, scores(&rows), "{task}");
        assert_eq!((&found.score, found.scorer), (&percent(&found.each), "babilong_compare_answers"));
        n += rows.len();
    }
    assert_eq!(n, 30);
}

#[test]
fn files_of_infinitebench_score_as_its_script() {
    let mut n = 0;
    for (task, rows) in golden_of("infinitebench_") {
        let name = task.strip_prefix("infinitebench_").unwrap();
        let theirs: Vec<Value> = rows
            .iter()
            .map(|row| json!({ "id": 0, "prediction": row["prediction"], "ground_truth": row["references"] }))
            .collect();
        let found = scored(&format!("preds_{name}.jsonl"), lines(&theirs)).unwrap();
        assert_eq!(found.each, scores(&rows), "{task}");
        assert_eq!(found.score, percent(&found.each), "an exception counts 0");
        let of_infllm: Vec<Value> =
            rows.iter().map(|row| json!({ "pred": row["prediction"], "answers": row["references"] })).collect();
        assert_eq!(scored(&format!("{name}.jsonl"), lines(&of_infllm)).unwrap().each, found.each);
        n += rows.len();
    }
    assert_eq!(n, 16);
}

#[test]
fn needles_lie_in_a_folder_of_objects() {
    let folder = TempDir::new().unwrap();
    let rows = golden_of("niah_keyword_recall").into_values().next().unwrap();
    for (at, row) in rows.iter().enumerate() {
        let cell =
            json!({ "context_length": 1000, "needle": row["references"][0], "model_response": row["prediction"] });
        let text = serde_json::to_string_pretty(&cell).unwrap();
        fs::write(folder.path().join(format!("len_1000_depth_{at}.json")), text).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "not a result").unwrap();
    let found = score_file(file(folder.path()), Mode::Faithful).unwrap();
    assert_eq!(found.each, scores(&rows));
    let alone = score_file(file(&folder.path().join("len_1000_depth_0.json")), Mode::Faithful).unwrap();
    assert_eq!(alone.each, scores(&rows[..1]));
    let rouge =
        PredictionFile { scorer: Some("niah_rouge1_stemmed_x10"), answer_field: Some("needle"), ..file(folder.path()) };
    let rouge = score_file(rouge, Mode::Faithful).unwrap();
    assert_eq!((rouge.n_predictions, rouge.field.as_deref()), (rows.len(), Some("model_response")));
    assert!(rouge.score.as_f64().is_some_and(|percent| percent > 10.0 && percent <= 100.0), "{}", rouge.score);
}

#[test]
fn samples_of_the_harness_score_as_their_task() {
    let sample = |doc: Value, answer: &str| json!({ "doc_id": 0, "doc": doc, "target": "", "resps": [[answer]], "filtered_resps": [answer] });
    let of = |name: &str, rows: &[Value]| scored(name, lines(rows)).unwrap();
    let babilong =
        [sample(json!({ "input": "…", "question": "Where is Mary?", "target": "kitchen" }), "In the kitchen.")];
    let found = of("samples_babilong_qa1_2026-01-02T03-04-05.678.jsonl", &babilong);
    assert_eq!((found.score, found.task.as_str()), (json!(100.0), "qa1"));
    let longbench = [sample(json!({ "answers": ["blue paint"], "all_classes": null }), "paint")];
    let found = of("samples_longbench_qasper_2026-01-02T03-04-05.678.jsonl", &longbench);
    assert_eq!((found.score, found.scorer), (json!(66.67), "longbench_corpus"));
    let ruler = [sample(json!({ "outputs": ["12", "34"], "max_length": 4096 }), "it is 12")];
    let found = of("samples_niah_multivalue_2026-01-02T03-04-05.678.jsonl", &ruler);
    assert_eq!((found.score, found.scorer), (json!(50.0), "ruler_string_match_all_corpus"));
}

#[test]
fn a_scorer_scores_rows_of_any_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("mine.csv");
    fs::write(&path, "said,right,answer\nthe blue paint,paint,x\n,paint,x\n").unwrap();
    let asked = |scorer, prediction_field, answer_field| PredictionFile {
        scorer: Some(scorer),
        prediction_field,
        answer_field,
        ..file(&path)
    };
    let found = score_file(asked("longbench_qa_f1", Some("said"), Some("right")), Mode::Faithful).unwrap();
    assert_eq!((found.score, found.each[1].clone()), (json!(33.33), json!(0.0)), "an empty answer is an answer");
    let refused = |file| {
        let error = score_file(file, Mode::Faithful).unwrap_err();
        format!("{error}: {}", error.help().unwrap_or_default())
    };
    assert!(refused(asked("longbench_qa_f1", None, None)).contains("`prediction-field`"));
    assert!(refused(asked("longbench_qa_f1", Some("say"), None)).contains("`say` is missing"));
    assert!(refused(asked("longbench_qa_f", None, None)).contains("did you mean `longbench_qa_f1`?"));
    assert!(refused(asked("longbench_corpus", None, None)).contains("does not score predictions one by one"));
    let classes = refused(asked("longbench_classification", Some("said"), None));
    assert!(classes.contains("line 2 of") && classes.contains("`all_classes` is missing"), "{classes}");
    fs::write(&path, "said,right\na,b,c\n").unwrap();
    assert!(refused(file(&path)).contains("it has 3 fields, and the first line names 2"));
}

#[test]
fn what_is_asked_for_counts_before_what_a_file_looks_like() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("one.json");
    let asked = |scorer, text: &str| {
        fs::write(&path, text).unwrap();
        score_file(PredictionFile { scorer: Some(scorer), ..file(&path) }, Mode::Faithful)
    };
    let one = r#"{"response": "the blue paint", "answer": "blue paint"}"#;
    assert_eq!(asked("scrolls_f1", one).unwrap().score, json!(100.0), "an object of texts may be a row");
    // of a data set the measures are averaged, and then their geometric mean is taken
    let rouge = "{\"pred\": \"12\", \"answer\": \"12\"}\n{\"pred\": \"a b c d\", \"answer\": \"a b c d\"}";
    assert_eq!(asked("scrolls_rouge", rouge).unwrap().score, json!(79.37));
    let choice =
        r#"{"doc": {"question": "?"}, "target": "2", "filtered_resps": [["-3.2", "False"], ["-1.2", "True"]]}"#;
    assert!(asked("ruler_string_match_part", choice).unwrap_err().to_string().contains("likelihoods"));
    let outer = r#"{"doc": {"question": "?"}, "target": "2", "filtered_resps": ["it is 2"]}"#;
    assert_eq!(asked("ruler_string_match_part", outer).unwrap().score, json!(100.0), "`target` stands beside `doc`");
    let listed = r#"{"pred": "2", "answer": "['2']"}"#;
    assert!(asked("ruler_string_match_part", listed).unwrap_err().to_string().contains("a list written as a text"));
    let letters = PredictionFile { scorer: Some("leval_multiple_choice"), task: Some("coursera"), ..file(&path) };
    fs::write(&path, r#"{"prediction": "A", "gt": "A"}"#).unwrap();
    assert_eq!(score_file(letters, Mode::Faithful).unwrap().score, json!(100.0));
    let references = PredictionFile { references: Some(&path), ..letters };
    assert!(score_file(references, Mode::Faithful).unwrap_err().to_string().contains("no object of predictions by id"));
}

#[test]
fn a_first_row_that_is_wrong_is_named_like_any_other() {
    let said = |name: &str, text: &str| scored(name, text).unwrap_err().to_string();
    assert!(said("preds_passkey.jsonl", "{\"prediction\": null, \"ground_truth\": \"1\"}\n").contains("line 1 of"));
    assert!(said("qasper.jsonl", "{\"pred\": null, \"answers\": [\"a\"]}\n").contains("`pred` is null, not a text"));
    // a mark of the byte order is no part of the text
    let by_id = said("quality.json", "\u{feff}{\"q1\": \"a\"}");
    assert!(by_id.contains("predictions by id, and no right answers"), "{by_id}");
}

#[test]
fn wrong_files_say_what_they_lack() {
    let refused = |name: &str, text: &str| scored(name, text).unwrap_err().to_string();
    let babilong = "target,output,question\nkitchen,kitchen,Where?\n";
    assert!(refused("mine.csv", babilong).contains("no task of BABILong is called `mine`"));
    let infinite = "{\"prediction\": \"1\", \"ground_truth\": \"1\"}";
    assert!(refused("preds_longbook_sum_eng.jsonl", infinite).contains("called `longbook_sum_eng`"));
    let missing = "{\"prediction\": \"1\", \"ground_truth\": \"1\"}\n{\"ground_truth\": \"1\"}\n";
    assert!(
        refused("preds_passkey.jsonl", missing).contains("line 2 of"),
        "{}",
        refused("preds_passkey.jsonl", missing)
    );
    assert!(refused("empty.csv", "").contains("it holds no rows"));
    let folder = TempDir::new().unwrap();
    assert!(score_file(file(folder.path()), Mode::Fixed).unwrap_err().to_string().contains("no .json files"));
}
