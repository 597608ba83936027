//! Where numbers come from: what was run in all, every distinct thing that computed them, and the sweep that repeats it.

use std::collections::{BTreeSet, HashMap};

use longlens_eval::evaluate::{Outcome, Record};
use serde::Serialize;
use toml::{Table, Value};

/// What was run in all.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Totals {
    /// Finished samples.
    pub n_samples: usize,
    /// Distinct tasks.
    pub n_tasks: usize,
    /// Names of models.
    pub models: Vec<String>,
    /// Versions of the program.
    pub versions: Vec<String>,
    /// Prompt tokens.
    pub n_tokens: usize,
    /// Of them, those that were computed for an earlier sample.
    pub n_shared: usize,
    /// By how much sharing makes prompts cheaper: all tokens over those that were computed.
    pub factor: f64,
    /// Seconds of all samples.
    pub seconds: f64,
    /// When the first sample was finished, in seconds since 1970.
    pub first: u64,
    /// When the last one was.
    pub last: u64,
}

/// One distinct thing that computed samples.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    /// Name of the model.
    pub model: String,
    /// What its weights hold.
    pub content: String,
    /// Number format.
    pub dtype: String,
    /// `cpu`, `wgpu` or `cuda`.
    pub device: String,
    /// Backend and kernel bodies.
    pub kernel_path: String,
    /// Version of the program.
    pub version: String,
    /// Tokens that the model counts as trained on.
    pub trained_context: usize,
    /// The RoPE scaling's text form.
    pub rope: String,
    /// How keys were computed.
    pub mode: String,
    /// What became of windows that layers have of their own.
    pub layer_windows: Option<String>,
    /// What a user should know of the model, as sentences.
    pub warnings: Vec<String>,
    /// Samples.
    pub n: usize,
}

/// What the model in the program calls itself, and the word that opens it.
const EMBEDDED: (&str, &str) = ("longlens-tiny", "embedded");

/// Sums over finished samples.
pub fn totals(records: &[Record]) -> Totals {
    let names =
        |of: fn(&Record) -> &String| records.iter().map(of).collect::<BTreeSet<_>>().into_iter().cloned().collect();
    let n_tokens: usize = fed(records).map(|record| record.n_prompt).sum();
    let n_shared: usize = fed(records).map(|record| record.n_shared).sum();
    Totals {
        n_samples: records.iter().filter(|record| record.copy_of.is_none()).count(),
        n_tasks: records.iter().map(|record| &record.task).collect::<BTreeSet<_>>().len(),
        models: names(|record| &record.run.model),
        versions: names(|record| &record.run.version),
        n_tokens,
        n_shared,
        factor: n_tokens as f64 / n_tokens.saturating_sub(n_shared).max(1) as f64,
        seconds: fed(records).map(|record| record.seconds).sum(),
        first: records.iter().map(|record| record.finished).min().unwrap_or(0),
        last: records.iter().map(|record| record.finished).max().unwrap_or(0),
    }
}

/// Samples that were run, each once.
fn fed(records: &[Record]) -> impl Iterator<Item = &Record> {
    records.iter().filter(|record| record.outcome != Outcome::Skipped && record.copy_of.is_none())
}

/// Every distinct thing that computed samples, with how many.
pub fn origins(records: &[Record]) -> Vec<Origin> {
    let mut origins: Vec<Origin> = Vec::new();
    for record in fed(records) {
        let run = &record.run;
        let own = Origin {
            model: run.model.clone(),
            content: record.content.clone(),
            dtype: run.dtype.clone(),
            device: record.device.clone(),
            kernel_path: run.kernel_path.clone(),
            version: run.version.clone(),
            trained_context: run.trained_context,
            rope: run.rope.clone(),
            mode: run.mode.clone(),
            layer_windows: run.layer_windows.clone(),
            warnings: run.warnings.clone(),
            n: 0,
        };
        let place = origins.iter().position(|known| Origin { n: 0, ..known.clone() } == own).unwrap_or_else(|| {
            origins.push(own);
            origins.len() - 1
        });
        origins[place].n += 1;
    }
    origins
}

/// What opens a model of this name.
fn opens(model: &str) -> &str {
    if model == EMBEDDED.0 { EMBEDDED.1 } else { model }
}

/// Axes of a sweep with one value each.
type Run = Vec<(&'static str, String)>;

/// What runs the same samples again: the text of a sweep's file.
pub fn sweep_file(name: &str, records: &[Record]) -> String {
    let mut alike: Vec<(Run, Vec<&Record>)> = Vec::new();
    let mut places: HashMap<Run, usize> = HashMap::new();
    for record in records {
        let run = vec![
            ("model", opens(&record.run.model).to_owned()),
            ("device", record.device.clone()),
            ("trained_context", record.run.trained_context.to_string()),
            ("task", record.setting.clone()),
            ("method", record.run.method.clone()),
            ("rope", record.run.rope.clone()),
        ];
        let at = *places.entry(run.clone()).or_insert_with(|| {
            alike.push((run, Vec::new()));
            alike.len() - 1
        });
        alike[at].1.push(record);
    }
    let runs: Vec<Run> = alike.iter().flat_map(|(run, own)| with_options(run, own)).collect();
    let mut text = String::new();
    if records.iter().any(|record| record.limit.is_none() && record.outcome == Outcome::Skipped) {
        text += "# some samples were passed over beyond a limit that their lines do not hold: add `limit` to [fixed]\n";
    }
    if records.iter().any(|record| opens(&record.run.model) != EMBEDDED.1) {
        text += "# models are named as they call themselves: give the folder, file or name that opens them\n";
    }
    let mut file = Table::new();
    file.insert("name".into(), name.into());
    let of = |name: &str| -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for (_, value) in runs.iter().flatten().filter(|(key, _)| *key == name) {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        values
    };
    let mut fixed = Table::new();
    let in_all = |name: &str| runs.iter().all(|run| run.iter().any(|(own, _)| *own == name));
    let axes = ["model", "device", "trained_context", "task", "method", "rope", "attention", "limit", "too_long"];
    let axes = axes.into_iter().filter(|name| !of(name).is_empty());
    let (alike, varying): (Vec<&str>, Vec<&str>) = axes.partition(|name| of(name).len() == 1 && in_all(name));
    for name in alike {
        fixed.insert(name.into(), of(name).swap_remove(0).into());
    }
    file.insert("fixed".into(), Value::Table(fixed));
    let n_combinations: usize = varying.iter().map(|name| of(name).len()).product();
    if n_combinations == runs.len() && !varying.is_empty() && varying.iter().all(|name| in_all(name)) {
        let grid = varying.iter().map(|name| ((*name).to_owned(), of(name).into()));
        file.insert("grid".into(), Value::Table(grid.collect()));
    } else if !varying.is_empty() {
        let run = |run: &Run| -> Table {
            let varying = run.iter().filter(|(name, _)| varying.contains(name));
            varying.map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect()
        };
        file.insert("list".into(), Value::Array(runs.iter().map(|of| Value::Table(run(of))).collect()));
    }
    text + &toml::to_string_pretty(&file).unwrap_or_default()
}

/// A run with the limits that its samples met, and with attention where that was recorded of its answers.
fn with_options(run: &Run, records: &[&Record]) -> Vec<Run> {
    let mut limits: Vec<Run> = Vec::new();
    for record in records {
        let Some(limit) = record.limit else { continue };
        let too_long = if record.outcome == Outcome::Skipped { "skip" } else { "cut" };
        let limit = vec![("limit", limit.to_string()), ("too_long", too_long.to_owned())];
        if !limits.contains(&limit) {
            limits.push(limit);
        }
    }
    // what is longer than a limit and was run all the same was run without one
    let met = |record: &&&Record| record.limit.is_none() && !limits.is_empty();
    let is_beyond = |record: &&Record| {
        limits.iter().any(|limit| limit[0].1.parse().is_ok_and(|limit: usize| record.n_prompt > limit))
    };
    if records.iter().filter(met).any(is_beyond) {
        limits.push(Vec::new());
    }
    let is_answered =
        |is: bool| records.iter().any(|record| record.answer().is_some() && record.attended.is_some() == is);
    let attention: &[&str] = match (is_answered(true), is_answered(false)) {
        (true, true) => &["false", "true"],
        (true, false) => &["true"],
        (false, _) => &[""],
    };
    let limits = if limits.is_empty() { vec![Vec::new()] } else { limits };
    let mut runs = Vec::new();
    for limit in &limits {
        for attention in attention {
            let attention = Some(("attention", (*attention).to_owned())).filter(|(_, value)| !value.is_empty());
            runs.push(run.iter().cloned().chain(attention).chain(limit.iter().cloned()).collect());
        }
    }
    runs
}
