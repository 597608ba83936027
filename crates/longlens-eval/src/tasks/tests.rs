//! What holds for the samples of every task.

use std::collections::HashSet;

use longlens_core::scripted::ByteCodec;
use serde_json::{Value, json};

use super::held::Held;
use super::*;
use crate::sample::{Prompt, Rule};
use crate::scorers::Scorer;

/// A few small samples of every task that needs no file of the user's.
fn small() -> Vec<(String, Vec<Sample>)> {
    let spec = ModelSpec::tiny(2048);
    let made = TASKS.iter().filter_map(|task| {
        let has = |name: &str| task.info.params.iter().any(|param| param.name == name);
        // RULER's scripts put at least 500 words of a text into a prompt, and each byte is a token here
        let length = if task.family == "ruler" { 8192 } else { 2048 };
        let given = [("length", length), ("samples", 2)].into_iter().filter(|(name, _)| has(name));
        let given: Vec<_> = given.map(|(name, value)| format!("{name}={value}")).collect();
        let setting = Task::parse(&format!("{}:{}", task.info.name, given.join(","))).unwrap();
        let ask = Ask { setting: &setting, spec: &spec, codec: &ByteCodec, files: &Disk };
        let mut samples = match ask.samples() {
            Err(EvalError::NoFile { .. }) => return None,
            made => made.unwrap_or_else(|error| panic!("{setting}: {error}")),
        };
        let made = (0..samples.n).map(|at| (samples.make)(at, &ByteCodec).unwrap()).collect();
        Some((task.info.name.to_owned(), made))
    });
    made.collect()
}

#[test]
fn names_are_one_a_task() {
    let names: HashSet<_> = TASKS.iter().map(|task| task.info.name).collect();
    assert_eq!(names.len(), TASKS.len());
    for task in TASKS.iter() {
        assert!(std::ptr::eq(Task::named(task.info.name).unwrap(), *task));
        assert!(Task::parse(task.info.name).is_ok());
    }
}

#[test]
fn samples_can_be_run_and_scored() {
    for (task, samples) in small() {
        let ids: HashSet<_> = samples.iter().map(|sample| &sample.id).collect();
        assert_eq!(ids.len(), samples.len(), "{task}: every sample has an id of its own");
        for sample in samples {
            let Rule::Answer(answering) = &sample.rule else { continue };
            let scorer = Scorer::named(answering.scorer).unwrap_or_else(|error| panic!("{task}: {error}"));
            assert!(!scorer.is_aggregate && answering.max_tokens > 0, "{task}");
            assert!(!sample.answers.is_empty(), "{task} {}", sample.id);
            let Prompt::Text { text, .. } = &sample.prompt else { panic!("{task}: an answer follows a text") };
            for place in &sample.evidence {
                let told = &text[place.clone()];
                assert!(sample.answers.iter().any(|answer| told.contains(&**answer)), "{task}: {told:?}");
            }
        }
    }
}

#[test]
fn the_same_settings_make_the_same_samples() {
    let (first, second) = (small(), small());
    assert_eq!(first, second);
}

/// A row of every published data set at once, but for what a task alone has.
fn row(task: &Task) -> Value {
    let name = task.info.name;
    let evaluation = match (task.mean, task.family) {
        (Mean::RougeGeometric, _) => "rouge",
        (_, "leval") if name.ends_with("_qa") || name.ends_with("_question") => "f1",
        _ => "exam",
    };
    let target = ["bathroom", "apple", "yes", "one", "cinema", "cat", "gray", "n,e", "hungry"];
    let answer =
        if ["infinitebench_math_find", "infinitebench_code_run"].contains(&name) { json!(1) } else { json!("b") };
    json!({
        "id": "q", "pid": "q_0", "_id": "q", "context": "c", "length": 1, "answers": ["Paragraph 1 段落1"], "all_classes": ["a"],
        "input": "\nKey: \"01234567-89ab-cdef-0123-456789abcdef\" The sum of func_1(2)\n\n(A) a (D) d\n\nd", "query": "q", "output": "o",
        "query_examples": [], "output_examples": [], "instructions": ["i"], "outputs": ["True [fact: True]"], "evaluation": evaluation,
        "question": "q", "answer": answer, "options": ["a", "b", "c", "d"], "targets": target,
    })
}

#[test]
fn samples_of_published_rows_can_be_run_and_scored() {
    let stored = TASKS.iter().filter(|task| task.info.params.iter().any(|param| param.name == "file"));
    let mut n_tasks = 0;
    let own_files = ["passkey", "ruler", "perplexity"];
    for task in stored.filter(|task| !own_files.contains(&task.family)) {
        let mut row = row(task);
        let targets = row["targets"].as_array().cloned().unwrap_or_default();
        // of BABILong's tasks each knows some of the targets
        let made = targets.iter().find_map(|target| {
            row["target"] = target.clone();
            Held::rows("f.jsonl", std::slice::from_ref(&row)).try_make(&format!("{}:file=f.jsonl", task.info.name)).ok()
        });
        let Some((samples, _)) = made else {
            panic!(
                "{}: {}",
                task.info.name,
                Held::rows("f.jsonl", &[row]).refused(&format!("{}:file=f.jsonl", task.info.name))
            )
        };
        let answering = held::answering(&samples[0]);
        let mut fields = answering.fields.clone();
        fields.insert("prediction".into(), json!(answering.prediction.of("True [fact: 1]")));
        fields.entry("references").or_insert_with(|| json!(samples[0].answers));
        for mode in Mode::ALL {
            let score = Scorer::named(answering.scorer).and_then(|scorer| scorer.score(&fields, mode));
            let score = score.unwrap_or_else(|error| panic!("{}: {error}", task.info.name));
            assert!(score.get("error").is_none(), "{}: {score}", task.info.name);
        }
        n_tasks += 1;
    }
    assert_eq!(n_tasks, 21 + 13 + 20 + 16 + 20 + 6);
}
