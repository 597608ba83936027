//! Published scores, to stand beside measured ones: what a paper, or a file of its repository, says for a task, a model, a method and a length.
//!
//! A number is comparable where model, data and protocol are the same; [`Published::fits`] tells the same model from one of its family,
//! and everything else is for the reader to judge, so each number names where it is from.

use serde::Serialize;

mod closed;
mod losses;
mod names;
mod ruler;
mod texts;

/// A published score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Published {
    /// Task or family of this program that repeats the protocol.
    pub task: &'static str,
    /// The data, where the task takes any.
    pub data: &'static str,
    /// The model, as the source calls it.
    pub model: &'static str,
    /// What extends its context, as the source calls it; `none` for the model as it is.
    pub method: &'static str,
    /// Tokens.
    pub length: Option<usize>,
    /// In per cent of a perfect answer, or a perplexity.
    pub value: f64,
    /// Whether the source says only that it is above the value.
    pub is_above: bool,
    /// Where it is from.
    pub source: &'static str,
}

/// How a published model relates to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The same family, of another size or tuning.
    Family,
    /// The same name.
    Model,
}

/// Numbers of one line of a table: a value for each length.
struct Line {
    task: &'static str,
    data: &'static str,
    model: &'static str,
    method: &'static str,
    source: &'static str,
    /// Tokens, 0 where the task has no lengths, and the value, [`ABOVE_100`] for one of which the source says no more than that.
    values: &'static [(usize, f64)],
}

/// A perplexity that the source gives as above 100.
const ABOVE_100: f64 = f64::INFINITY;

/// Every published score, by source.
pub fn published() -> impl Iterator<Item = Published> {
    let tables = [losses::LINES, texts::LINES, closed::LINES, ruler::LINES];
    tables.into_iter().flatten().flat_map(|line| {
        line.values.iter().map(|(length, value)| Published {
            task: line.task,
            data: line.data,
            model: line.model,
            method: line.method,
            length: (*length > 0).then_some(*length),
            value: if *value == ABOVE_100 { 100.0 } else { *value },
            is_above: *value == ABOVE_100,
            source: line.source,
        })
    })
}

impl Published {
    /// Whether a model of this name is the published one, or of its family; nothing where it is neither.
    pub fn fits(&self, model: &str) -> Option<Fit> {
        names::fit(self.model, model)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::tasks::TASKS;

    #[test]
    fn published_numbers_are_of_tasks_of_the_list() {
        let mut seen = HashSet::new();
        for one in published() {
            assert!(TASKS.iter().any(|task| task.info.name == one.task || task.family == one.task), "{one:?}");
            assert!(!one.source.is_empty() && !one.model.is_empty() && one.value >= 0.0, "{one:?}");
            let place = (one.task, one.data, one.model, one.method, one.length, one.source);
            assert!(seen.insert(place), "twice: {one:?}");
        }
        assert!(seen.len() > 150, "{}", seen.len());
    }

    #[test]
    fn averages_of_sources_are_those_of_their_numbers() {
        let of = |model: &str, method: &str, tasks: &[&str]| -> f64 {
            let found: Vec<f64> = tasks
                .iter()
                .map(|task| {
                    let is = |one: &Published| (one.task, one.model, one.method) == (*task, model, method);
                    published().find(is).unwrap_or_else(|| panic!("{task} {model} {method}")).value
                })
                .collect();
            found.iter().sum::<f64>() / found.len() as f64
        };
        // the paper prints these averages
        let few_shot = ["fewshot_narrative_qa", "fewshot_qasper", "fewshot_quality", "fewshot_qmsum"];
        for (model, average) in [("Llama-2-7B", 24.6), ("Llama-2-13B", 29.7), ("Llama-2-70B", 37.8)] {
            let found = of(model, "DCA", &few_shot);
            assert!((found - average).abs() < 0.16, "{model}: {found}");
        }
        let closed = ["leval_tpo", "leval_quality", "leval_coursera", "leval_sci_fi"];
        for (model, average) in [("Llama-2-7B-chat", 46.64), ("Llama-2-13B-chat", 52.04), ("Llama-2-70B-chat", 63.20)] {
            let found = of(model, "DCA", &closed);
            assert!((found - average).abs() < 0.02, "{model}: {found}");
        }
    }

    #[test]
    fn a_perplexity_beyond_a_hundred_is_told_as_such() {
        let one = published().find(|one| one.model == "Llama-2-7B" && one.method == "none" && one.length == Some(8192));
        let one = one.unwrap();
        assert_eq!((one.is_above, one.value, one.task), (true, 100.0, "perplexity_sliding"));
    }
}
