//! The files of lm-evaluation-harness: a folder for each run with `results_TIME.json` and, for each task, `samples_TASK_TIME.jsonl`.
//!
//! Names of fields are those of its version 0.4.13. As in its RULER tasks, scores of tasks with lengths stand under the lengths, and a sample has
//! -1 at the lengths that are not its own. Prompts are not kept with samples, so `arguments` holds none; `prompt_hash` is the hash that the
//! harness has for the same prompt. Samples that were passed over as too long are counted in `n-samples`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use longlens_eval::evaluate::{Outcome, Record, Row, without_amounts};
use longlens_eval::tasks::{Mean, Task};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::runs::{Run, Runs, unique};

/// What the harness calls answers that went through no filter.
const FILTER: &str = "none";
/// Bytes of a folder's name at most.
const LONGEST: usize = 200;

pub(super) fn files(runs: &Runs<'_>) -> Vec<(PathBuf, Vec<u8>)> {
    let mut taken = BTreeSet::new();
    runs.runs.iter().flat_map(|run| of_run(runs, run, &mut taken)).collect()
}

/// What a task's samples and scores stand under.
struct Group<'a> {
    name: String,
    version: u32,
    setting: &'a str,
    rows: Vec<&'a Row>,
    records: Vec<&'a Record>,
}

fn of_run(runs: &Runs<'_>, run: &Run<'_>, taken: &mut BTreeSet<String>) -> Vec<(PathBuf, Vec<u8>)> {
    let subject = &run.subject;
    let told = subject.name.replace(" · ", ",").replace(' ', "_");
    let model_name = if told.contains(&subject.model) { told } else { format!("{},{told}", subject.model) };
    let folder = unique(&sanitized(&model_name), taken);
    let time = iso(run.finished());
    let groups = groups(runs, run);
    let mut files = Vec::new();
    let mut hashes = Map::new();
    for group in &groups {
        let samples: Vec<Value> = scored(group).enumerate().map(|(at, record)| sample(group, at, record)).collect();
        let hash =
            |name: &str| samples.iter().map(|sample| sample[name].as_str().unwrap_or_default()).collect::<Vec<_>>();
        let (docs, prompts, targets) = (hash("doc_hash"), hash("prompt_hash"), hash("target_hash"));
        let all: String = (0..samples.len()).map(|at| [docs[at], prompts[at], targets[at]].concat()).collect();
        hashes.insert(group.name.clone(), json!(sha256(&all)));
        let mut lines: Vec<String> = samples.iter().map(Value::to_string).collect();
        lines.push(String::new());
        let file = PathBuf::from(&folder).join(format!("samples_{}_{time}.jsonl", group.name));
        files.push((file, lines.join("\n").into_bytes()));
    }
    let of = |value: &dyn Fn(&Group<'_>) -> Value| -> Value {
        groups.iter().map(|group| (group.name.clone(), value(group))).collect::<Map<_, _>>().into()
    };
    let seconds: f64 = run.records.iter().map(|record| record.seconds).sum();
    let results = json!({
        "results": of(&scores),
        "group_subtasks": of(&|_| json!([])),
        "configs": of(&config),
        "versions": of(&|group| json!(group.version)),
        "n-shot": of(&|_| json!(0)),
        "higher_is_better": of(&|group| {
            metrics(group).into_iter().map(|(name, _)| (name, json!(!is_loss(group)))).collect::<Map<_, _>>().into()
        }),
        "n-samples": of(&|group| json!({ "original": group.records.len(), "effective": scored(group).count() })),
        "config": {
            "model": "longlens",
            "model_args": {
                "pretrained": subject.model, "method": subject.method, "rope": subject.rope,
                "trained_context": subject.trained_context, "content": subject.content,
            },
            "model_dtype": subject.dtype,
            "device": subject.device,
        },
        "git_hash": null,
        "date": run.finished() as f64,
        "longlens_version": run.records.last().map(|record| &record.run.version),
        "task_hashes": hashes,
        "model_source": "longlens",
        "model_name": model_name,
        "model_name_sanitized": folder,
        "system_instruction": null,
        "system_instruction_sha": null,
        "fewshot_as_multiturn": null,
        "chat_template": null,
        "chat_template_sha": null,
        "total_evaluation_time_seconds": seconds.to_string(),
    });
    let bytes = serde_json::to_vec_pretty(&results).expect("numbers and names are JSON");
    files.push((PathBuf::from(&folder).join(format!("results_{time}.json")), bytes));
    files
}

/// The tasks of a run, in order of its scores.
fn groups<'a>(runs: &Runs<'_>, run: &'a Run<'_>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut taken = BTreeSet::new();
    for row in run.rows.iter().filter(|row| row.part.is_none()) {
        let is_same = |group: &&mut Group<'_>| {
            group.rows[0].task == row.task && group.setting == row.setting && group.version == row.task_version
        };
        if let Some(group) = groups.iter_mut().find(is_same) {
            group.rows.push(row);
            continue;
        }
        let name: String = runs.task(&row.task, &row.setting, row.task_version);
        let name = name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect::<String>();
        let name = unique(&name[..name.floor_char_boundary(LONGEST / 2)], &mut taken);
        let records = run.records.iter().copied().filter(|record| {
            (&record.task, record.task_version) == (&row.task, row.task_version)
                && without_amounts(&record.setting) == row.setting
        });
        let records = records.collect();
        groups.push(Group { name, version: row.task_version, setting: &row.setting, rows: vec![row], records });
    }
    groups
}

/// Samples that were not passed over.
fn scored<'a>(group: &Group<'a>) -> impl Iterator<Item = &'a Record> {
    group.records.clone().into_iter().filter(|record| record.outcome != Outcome::Skipped)
}

fn is_loss(group: &Group<'_>) -> bool {
    group.rows.iter().any(|row| row.scorer == "perplexity")
}

/// Names of scores with their rows: the length where there is one, as in the harness' RULER tasks, else the scorer.
fn metrics<'a>(group: &Group<'a>) -> Vec<(String, &'a Row)> {
    let scored = group.rows.iter().filter(|row| row.n > 0);
    scored.map(|row| (metric(row.length, &row.scorer), *row)).collect()
}

fn metric(length: Option<usize>, scorer: &str) -> String {
    length.map_or_else(|| scorer.to_owned(), |length| length.to_string())
}

fn scores(group: &Group<'_>) -> Value {
    let mean = Task::named(group.rows[0].task.as_str()).map_or(Mean::Plain, |task| task.mean);
    let mut scores = Map::new();
    scores.insert("name".to_owned(), json!(group.name));
    scores.insert("alias".to_owned(), json!(group.name));
    scores.insert("sample_len".to_owned(), json!(scored(group).count()));
    for (name, row) in metrics(group) {
        // the harness counts from 0 to 1
        let score = if is_loss(group) { row.score } else { row.score / 100.0 };
        let of_row = scored(group).filter(|record| record.length == row.length).map(value);
        let error = (mean == Mean::Plain).then(|| standard_error(&of_row.collect::<Vec<_>>())).flatten();
        scores.insert(format!("{name},{FILTER}"), json!(score));
        scores.insert(format!("{name}_stderr,{FILTER}"), error.map_or_else(|| json!("N/A"), |error| json!(error)));
    }
    scores.into()
}

fn config(group: &Group<'_>) -> Value {
    let output_type = if is_loss(group) { "loglikelihood_rolling" } else { "generate_until" };
    let metrics: Vec<Value> = metrics(group)
        .into_iter()
        .map(|(name, _)| json!({ "metric": name, "higher_is_better": !is_loss(group) }))
        .collect();
    json!({
        "task": group.name, "output_type": output_type, "metric_list": metrics, "repeats": 1,
        "metadata": { "version": group.version, "setting": group.setting },
    })
}

fn sample(group: &Group<'_>, at: usize, record: &Record) -> Value {
    let doc = json!({
        "id": record.id, "outputs": record.answers, "max_length": record.length, "depth": record.depth, "part": record.part,
        "n_prompt": record.n_prompt, "n_truncated": record.n_truncated, "key": record.key,
    });
    let target = python_list(&record.answers);
    let (response, filtered) = match &record.outcome {
        Outcome::Answered(answer) => (answer.output.clone(), answer.extracted.clone()),
        Outcome::Measured { mean_nll, n_scored, .. } => ((-mean_nll * *n_scored as f64).to_string(), None),
        Outcome::Skipped => unreachable!("samples that were passed over have no line"),
    };
    let own = metric(record.length, group.rows[0].scorer.as_str());
    let names: Vec<String> = metrics(group).into_iter().map(|(name, _)| name).collect();
    let mut sample = json!({
        "doc_id": at,
        "doc_hash": sha256(&serde_json::to_string_pretty(&doc).expect("numbers and texts are JSON")),
        "doc": doc,
        "target_hash": sha256(&target),
        "target": target,
        "arguments": { "gen_args_0": { "arg_0": null } },
        "filtered_resps": [filtered.unwrap_or_else(|| response.clone())],
        "resps": [[response]],
        "filter": FILTER,
        "metrics": names,
        "prompt_hash": record.prompt_sha256,
    });
    for name in &names {
        sample[name] = if *name == own { json!(value(record)) } else { json!(-1.0) };
    }
    sample
}

/// What a sample adds to the mean of its task: its share of a perfect score, or its perplexity.
fn value(record: &Record) -> f64 {
    match record.outcome {
        Outcome::Measured { mean_nll, .. } => mean_nll.exp(),
        _ => record.share().unwrap_or(0.0),
    }
}

/// The standard error of a mean, as the harness computes it; nothing below two values.
fn standard_error(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt())
}

fn sha256(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

/// A list of texts as Python's `str` writes it, which is what the harness makes of a list of right answers.
pub(super) fn python_list(texts: &[String]) -> String {
    let quoted = |text: &String| {
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        let mut out = String::from(quote);
        for c in text.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c == quote => out.extend(['\\', c]),
                c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => _ = write!(out, "\\x{:02x}", u32::from(c)),
                c => out.push(c),
            }
        }
        out.push(quote);
        out
    };
    format!("[{}]", texts.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// A name of a model as a folder, by the harness' rule: runs of characters that file systems refuse become two underscores.
pub(super) fn sanitized(name: &str) -> String {
    let is_refused = |c: char| "\"<>:/|\\?*[]".contains(c) || c.is_control();
    let mut out = String::new();
    let mut is_run = false;
    for c in name.chars() {
        if !is_refused(c) {
            out.push(c);
        } else if !is_run {
            out.push_str("__");
        }
        is_run = is_refused(c);
    }
    if out.len() > LONGEST || out.trim_matches('.').is_empty() {
        let hash = &sha256(name)[..8];
        out = format!("{}-{hash}", &out[..out.floor_char_boundary(LONGEST)]);
    }
    out
}

/// Seconds since 1970 as the harness writes times in names, in UTC: `2026-01-31T12-34-56.000000`.
pub(super) fn iso(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86400, seconds % 86400);
    // years that begin in March end with the day that some of them lack; 719468 days from such a year 0 to 1970
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}.000000")
}
