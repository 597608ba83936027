//! Families of tasks as their papers report them: the mean over tasks, and over the tasks of a category.

use std::collections::BTreeSet;

use super::cell::Cell;
use crate::stats::{Weighted, sum95};
use crate::tasks::{TASKS, Task};

/// Tasks of a family that its paper averages together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Category {
    /// What the paper calls it.
    pub name: &'static str,
    /// Its tasks; the task's name, or what follows the family's name in it.
    pub tasks: &'static [&'static str],
}

/// A mean over tasks of a family.
#[derive(Debug, Clone, PartialEq)]
pub struct Average {
    /// What it is the mean of.
    pub name: String,
    /// How many tasks it is of where all were run.
    pub n_of: usize,
    /// How much each task that was run counts in it; together 1.
    pub weights: Vec<f64>,
}

impl Average {
    /// The mean of `cells`, one for each of `tasks`, of which the weights are; nothing where none of them is there. Counts are sums over them.
    pub fn of(&self, tasks: &[&str], cells: &[Option<&Cell>]) -> Option<Cell> {
        let weights = self.weights_where(tasks, |at| cells[at].is_some());
        let there: Vec<(&str, &Cell, f64)> = (0..tasks.len())
            .filter(|at| weights[*at] > 0.0)
            .filter_map(|at| Some((tasks[at], cells[at]?, weights[at])))
            .collect();
        let part = |(_, cell, weight): &(&str, &Cell, f64)| Weighted {
            value: cell.score,
            interval: cell.interval,
            weight: *weight,
        };
        let parts: Vec<Weighted> = there.iter().map(part).collect();
        let sum = |of: fn(&Cell) -> usize| there.iter().map(|(_, cell, _)| of(cell)).sum::<usize>();
        let n = sum(|cell| cell.n);
        let n_prompt: f64 = there.iter().map(|(_, cell, _)| cell.mean_prompt * cell.n as f64).sum();
        (!there.is_empty()).then(|| Cell {
            score: parts.iter().map(|part| part.weight * part.value).sum(),
            interval: sum95(&parts),
            n,
            n_tasks: there.iter().map(|(task, ..)| task).collect::<BTreeSet<_>>().len(),
            n_skipped: sum(|cell| cell.n_skipped),
            n_truncated: sum(|cell| cell.n_truncated),
            n_errors: sum(|cell| cell.n_errors),
            n_empty: sum(|cell| cell.n_empty),
            n_at_limit: sum(|cell| cell.n_at_limit),
            mean_prompt: n_prompt / n.max(1) as f64,
            n_scored: 0,
            seconds: there.iter().map(|(_, cell, _)| cell.seconds).sum(),
        })
    }

    /// How much each of `tasks` counts, of which the weights are, where only some have a score: a task by any of its settings counts as a
    /// whole one, and those that have none leave their weight to the others. 0 for what is not there.
    pub fn weights_where(&self, tasks: &[&str], is_there: impl Fn(usize) -> bool) -> Vec<f64> {
        let of_task = |at: usize| -> f64 {
            let same = |other: &usize| tasks[*other] == tasks[at];
            let whole: f64 = (0..tasks.len()).filter(same).map(|other| self.weights[other]).sum();
            whole / (0..tasks.len()).filter(same).filter(|other| is_there(*other)).count() as f64
        };
        let weights: Vec<f64> = (0..tasks.len()).map(|at| if is_there(at) { of_task(at) } else { 0.0 }).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| if sum > 0.0 { weight / sum } else { 0.0 }).collect()
    }
}

/// RULER's four categories (arXiv:2404.06654, section 3).
const RULER: &[Category] = &[
    Category {
        name: "retrieval (NIAH)",
        tasks: &[
            "niah_single_1",
            "niah_single_2",
            "niah_single_3",
            "niah_multikey_1",
            "niah_multikey_2",
            "niah_multikey_3",
            "niah_multivalue",
            "niah_multiquery",
        ],
    },
    Category { name: "multi-hop tracing", tasks: &["vt"] },
    Category { name: "aggregation", tasks: &["cwe", "fwe"] },
    Category { name: "question answering", tasks: &["qa_squad", "qa_hotpot"] },
];

/// `LongBench`'s six categories of English tasks, whose mean its table calls the average, and its Chinese tasks (README of the repository).
const LONGBENCH: &[Category] = &[
    Category { name: "single-document QA", tasks: &["narrativeqa", "qasper", "multifieldqa_en"] },
    Category { name: "multi-document QA", tasks: &["hotpotqa", "2wikimqa", "musique"] },
    Category { name: "summaries", tasks: &["gov_report", "qmsum", "multi_news"] },
    Category { name: "few-shot", tasks: &["trec", "triviaqa", "samsum"] },
    Category { name: "synthetic", tasks: &["passage_count", "passage_retrieval_en"] },
    Category { name: "code", tasks: &["lcc", "repobench-p"] },
    Category { name: "Chinese", tasks: &["multifieldqa_zh", "dureader", "vcsum", "lsht", "passage_retrieval_zh"] },
];

/// L-Eval's closed-ended tasks (arXiv:2307.11088, table 3), and the others.
const LEVAL: &[Category] = &[
    Category {
        name: "closed-ended",
        tasks: &["coursera", "gsm100", "quality", "tpo", "codeU", "sci_fi", "topic_retrieval_longchat"],
    },
    Category { name: "the four of ChunkLlama", tasks: &["tpo", "quality", "coursera", "sci_fi"] },
];

/// Families whose tasks are variants of one test, of which no paper makes a mean.
const VARIANTS: [&str; 3] = ["passkey", "needle", "perplexity"];

/// Whether the tasks of a family are averaged.
pub fn is_averaged(family: &str) -> bool {
    !VARIANTS.contains(&family)
}

/// The categories of a family, in the order of its paper; none where the paper averages over all tasks alone.
pub fn categories(family: &str) -> &'static [Category] {
    match family {
        "ruler" => RULER,
        "longbench" | "longbench_e" => LONGBENCH,
        "leval" => LEVAL,
        _ => &[],
    }
}

/// The means of a family's tasks as its paper reports them, of which two or more were run: that of all tasks first. A task that stands
/// several times, since it was run with several settings, counts once in all.
pub fn averages(family: &str, tasks: &[&str]) -> Vec<Average> {
    let categories = categories(family);
    // tasks that stand in no category of a family that has some are no part of what its paper reports
    let is_counted = |task: &Task| categories.is_empty() || categories.iter().any(|category| category.holds(task));
    let n_of = TASKS.iter().filter(|task| task.family == family && is_counted(task)).count();
    let mut averages: Vec<Average> =
        average(tasks, "mean of all tasks".to_owned(), n_of, is_counted).into_iter().collect();
    if family == "longbench" {
        averages.extend(mean_of_english(tasks, categories));
    }
    averages.extend(categories.iter().filter_map(|category| {
        average(tasks, format!("mean of {}", category.name), category.tasks.len(), |task| category.holds(task))
    }));
    averages
}

fn average(tasks: &[&str], name: String, n_of: usize, is_in: impl Fn(&Task) -> bool) -> Option<Average> {
    let (n, weights) = weights(tasks, is_in);
    (n > 1).then_some(Average { name, n_of, weights })
}

/// The average of `LongBench`'s own table: of its six English categories, each the mean of its tasks.
fn mean_of_english(tasks: &[&str], categories: &[Category]) -> Option<Average> {
    let of_categories = categories[..6].iter().map(|category| weights(tasks, |task| category.holds(task)));
    let parts: Vec<Vec<f64>> = of_categories.filter(|(n, _)| *n > 0).map(|(_, weights)| weights).collect();
    let mean = |at: usize| parts.iter().map(|part| part[at]).sum::<f64>() / parts.len() as f64;
    (parts.len() > 1).then(|| Average {
        name: format!("mean of {} of 6 English categories", parts.len()),
        n_of: categories[..6].iter().map(|category| category.tasks.len()).sum(),
        weights: (0..tasks.len()).map(mean).collect(),
    })
}

/// How many tasks are in a mean, and how much each counts.
fn weights(tasks: &[&str], is_in: impl Fn(&Task) -> bool) -> (usize, Vec<f64>) {
    let names: Vec<Option<&str>> =
        tasks.iter().map(|name| Task::named(name).filter(|task| is_in(task)).map(|_| *name)).collect();
    let n = names.iter().flatten().collect::<BTreeSet<_>>().len();
    let times = |name: &str| names.iter().flatten().filter(|other| **other == name).count();
    let weight = |name: Option<&str>| name.map_or(0.0, |name| 1.0 / (n * times(name)) as f64);
    (n, names.iter().copied().map(weight).collect())
}

impl Category {
    /// Whether a task belongs to it.
    pub fn holds(&self, task: &Task) -> bool {
        let name = task.info.name;
        let below = name.strip_prefix(task.family).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name);
        self.tasks.contains(&below) || self.tasks.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_of_a_category_is_one_of_its_family() {
        for (family, n_tasks) in [("ruler", 13), ("longbench", 21), ("longbench_e", 13)] {
            let tasks: Vec<_> = TASKS.iter().filter(|task| task.family == family).collect();
            let held = tasks.iter().filter(|task| categories(family).iter().any(|category| category.holds(task)));
            assert_eq!(held.count(), n_tasks, "{family}");
        }
        for (family, n) in [("ruler", 13), ("longbench", 21), ("leval", 7)] {
            for task in categories(family).iter().flat_map(|category| category.tasks) {
                let is_there = |name: &str| Task::named(name).is_some_and(|known| known.family == family);
                assert!(is_there(task) || is_there(&format!("{family}_{task}")), "{family} has no {task}");
            }
            let of: BTreeSet<_> = categories(family).iter().flat_map(|category| category.tasks).collect();
            assert_eq!(of.len(), n, "{family}");
        }
    }
}
