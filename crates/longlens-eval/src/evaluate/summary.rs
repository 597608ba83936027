//! Records become a table: one row for each task, length, method and part.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::measure::{Measure, hits, score};
use super::record::{Outcome, Record};
use crate::generate::StopReason;
use crate::scorers::Mode;
use crate::stats::{bootstrap95, wilson95};
use crate::tasks::{Mean, Task};

/// A table of scores.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Summary {
    /// By model, task, length, method.
    pub rows: Vec<Row>,
}

/// Samples of one task, length and part under one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the model.
    pub model: String,
    /// Tells models of one name apart by what their weights hold.
    pub content: String,
    /// The method's text form.
    pub method: String,
    /// The RoPE scaling's text form.
    pub rope: String,
    /// Tokens that the model counts as trained on.
    pub trained_context: usize,
    /// What became of windows that layers have of their own, where that is not as usual.
    pub layer_windows: Option<String>,
    /// Number format of weights and arithmetic.
    pub dtype: String,
    /// `cpu`, `wgpu` or `cuda`.
    pub device: String,
    /// The task's name.
    pub task: String,
    /// The task's version: rows of different ones do not compare.
    pub task_version: u32,
    /// The task with its settings but for length, samples and depths.
    pub setting: String,
    /// Whether prompts and scores are as the scripts have them.
    pub mode: Mode,
    /// What prompts are wrapped in.
    pub template: String,
    /// Target tokens, where the task has lengths.
    pub length: Option<usize>,
    /// Part of the task.
    pub part: Option<String>,
    /// Samples that were scored.
    pub n: usize,
    /// Samples that were passed over, since they were too long.
    pub n_skipped: usize,
    /// Samples of which something was left out.
    pub n_truncated: usize,
    /// Samples whose script raises an exception on the answer.
    pub n_errors: usize,
    /// Empty answers.
    pub n_empty: usize,
    /// Answers that ended at the most tokens.
    pub n_at_limit: usize,
    /// Name of the scorer, or `perplexity`.
    pub scorer: String,
    /// The score: in per cent of a perfect answer, or perplexity.
    pub score: f64,
    /// Its 95 % interval: of hits by Wilson, else by the bootstrap over samples. Not a number where it says nothing, as of one sample that
    /// is neither right nor wrong.
    pub interval: (f64, f64),
    /// Mean prompt tokens.
    pub mean_prompt: f64,
    /// Tokens whose loss counts, of perplexities.
    pub n_scored: usize,
    /// Seconds in all.
    pub seconds: f64,
    /// The limit of prompt and answer with what became of longer ones, as `300, cut`, in a table of runs under several; else `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Every sample's share of the perfect score, or its loss and tokens; by id, for comparisons of methods sample by sample.
    #[serde(skip)]
    pub shares: BTreeMap<String, f64>,
}

/// Draws of a bootstrap.
pub(super) const DRAWS: usize = 1000;

/// The rows of records, sorted by model, task, length, part and method. A task with parts has a row for each and one for all of them,
/// whose part is `None`. Samples count once, however often they were finished ([`once_each`]).
pub fn summarize<'a>(records: impl IntoIterator<Item = &'a Record>) -> Summary {
    let mut groups: BTreeMap<_, Vec<&Record>> = BTreeMap::new();
    for record in once_each(records) {
        let place = |part: Option<String>| {
            let run = &record.run;
            (
                (run.model.clone(), record.content.clone(), run.trained_context),
                (record.task.clone(), record.task_version, without_amounts(&record.setting)),
                (record.length, part),
                (run.method.clone(), run.rope.clone()),
                (run.dtype.clone(), record.device.clone(), run.layer_windows.clone()),
            )
        };
        groups.entry(place(None)).or_default().push(record);
        if record.part.is_some() {
            groups.entry(place(record.part.clone())).or_default().push(record);
        }
    }
    let rows = groups.into_iter().map(|(place, records)| {
        let ((model, content, trained_context), (task, task_version, setting), (length, part), (method, rope), ran) =
            place;
        let (dtype, device, layer_windows) = ran;
        let mean = Task::named(&task).map_or(Mean::Plain, |task| task.mean);
        let scores: Vec<&Record> =
            records.iter().copied().filter(|record| !matches!(record.outcome, Outcome::Skipped)).collect();
        let (score, interval, n_scored) = of_records(&scores, mean);
        let count = |is: &dyn Fn(&Record) -> bool| records.iter().filter(|record| is(record)).count();
        Row {
            model,
            content,
            method,
            rope,
            trained_context,
            layer_windows,
            dtype,
            device,
            task,
            task_version,
            setting,
            mode: records[0].mode,
            template: records[0].template.clone(),
            length,
            part,
            n: scores.len(),
            n_skipped: count(&|record| record.outcome == Outcome::Skipped),
            n_truncated: count(&|record| record.n_truncated > 0),
            n_errors: count(&|record| record.answer().is_some() && record.score().is_none()),
            n_empty: count(&|record| record.answer().is_some_and(|answer| answer.output.trim().is_empty())),
            n_at_limit: count(&|record| record.answer().is_some_and(|answer| answer.stop == StopReason::MaxTokens)),
            scorer: scores.first().map_or_else(String::new, |record| scorer(record)),
            score,
            interval,
            mean_prompt: scores.iter().map(|record| record.n_prompt as f64).sum::<f64>() / scores.len().max(1) as f64,
            n_scored,
            seconds: scores.iter().map(|record| record.seconds).sum(),
            limit: None,
            shares: scores.iter().map(|record| (record.id.clone(), share(record))).collect(),
        }
    });
    Summary { rows: rows.collect() }
}

fn scorer(record: &Record) -> String {
    match &record.outcome {
        Outcome::Answered(answer) => answer.scorer.clone(),
        Outcome::Measured { .. } => "perplexity".to_owned(),
        Outcome::Skipped => String::new(),
    }
}

/// A sample's share of the perfect score; an exception of the script counts as 0, a loss as itself.
fn share(record: &Record) -> f64 {
    match &record.outcome {
        Outcome::Measured { mean_nll, .. } => *mean_nll,
        _ => record.share().unwrap_or(0.0),
    }
}

/// Score, interval and tokens of perplexities.
fn of_records(records: &[&Record], mean: Mean) -> (f64, (f64, f64), usize) {
    let measures: Vec<Measure> = records.iter().filter_map(|record| Measure::of(record, mean)).collect();
    let mode = records.first().map(|record| record.mode).unwrap_or_default();
    let n_scored: f64 = measures.iter().map(|measure| measure.n_scored()).sum();
    let of = |measures: &[Measure]| score(measures, mean, mode);
    let interval = match hits(&measures) {
        _ if measures.is_empty() => (f64::NAN, f64::NAN),
        Some(n_hits) => {
            let (low, high) = wilson95(n_hits, measures.len());
            (100.0 * low, 100.0 * high)
        }
        None if measures.len() < 2 => (f64::NAN, f64::NAN),
        None => bootstrap95(&measures, DRAWS, of),
    };
    (of(&measures), interval, n_scored as usize)
}

/// Finished samples, each once: one can be finished more than once under the same model and method, as with and without recorded attention,
/// or under several limits of tokens. One that was answered whole counts before one that was cut, and that before one that was passed over;
/// of several alike the last. In the order in which each was finished first.
pub fn once_each<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<&'a Record> {
    let mut at: HashMap<_, usize> = HashMap::new();
    let mut kept: Vec<&Record> = Vec::new();
    for record in records {
        let run = &record.run;
        let subject = (
            (&*run.model, &*record.content, run.trained_context, run.layer_windows.as_deref()),
            (&*run.method, &*run.rope, &*run.dtype, &*record.device),
        );
        let sample =
            (without_amounts(&record.setting), record.task_version, record.length, &*record.id, &*record.prompt_sha256);
        match at.entry((subject, sample)) {
            Entry::Occupied(place) => {
                let known = &mut kept[*place.get()];
                if counts(record) <= counts(known) {
                    *known = record;
                }
            }
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(record);
            }
        }
    }
    kept
}

/// The lowest of a sample counts.
fn counts(record: &Record) -> (bool, usize, Reverse<u64>) {
    (record.outcome == Outcome::Skipped, record.n_truncated, Reverse(record.finished))
}

/// A setting's text without length, samples and depths, and without what is as usual: what a table is of. A sample is run once however many
/// are asked for, and lengths stand side by side.
pub fn without_amounts(setting: &str) -> String {
    const AMOUNTS: [&str; 3] = ["length", "samples", "depths"];
    let Some((name, pairs)) = setting.split_once(':') else { return setting.to_owned() };
    let params = Task::named(name).map_or(&[][..], |task| task.info.params);
    let is_usual = |name: &str, value: &str| {
        params.iter().any(|param| param.name == name && !value.is_empty() && param.default.to_string() == value)
    };
    let is_told = |pair: &&str| {
        pair.split_once('=').is_none_or(|(name, value)| !AMOUNTS.contains(&name) && !is_usual(name, value))
    };
    let kept: Vec<_> = pairs.split(',').filter(is_told).collect();
    if kept.is_empty() { name.to_owned() } else { format!("{name}:{}", kept.join(",")) }
}
