//! What holds for the samples of every task.

use std::collections::HashSet;

use longlens_core::scripted::ByteCodec;

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
    for task in TASKS {
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
