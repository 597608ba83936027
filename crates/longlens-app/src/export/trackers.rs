//! Runs for trackers of experiments: `runs.json`, and a script that logs it by the tracker's own interface.
//!
//! What W&B keeps of an offline run is a log of messages that only its own program reads and that change with its versions, and
//! Trackio's `import_csv` takes one run into a new project and cuts the names of metrics to ten letters. Both have `init`, `log` and
//! `finish`, which stay, so that a few lines of Python log everything, offline too.

use std::path::PathBuf;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Format;
use super::runs::{Run, Runs};

const SCRIPT: &str = include_str!("trackers/import.py");
/// What `init` takes beside project, name and config, for each tracker.
const OPTIONS: [(Format, &str); 2] =
    [(Format::Wandb, "{\"id\": run[\"id\"], \"resume\": \"allow\"}"), (Format::Trackio, "{\"embed\": False}")];

pub(super) fn files(format: Format, project: &str, runs: &Runs<'_>) -> Vec<(PathBuf, Vec<u8>)> {
    let options = OPTIONS.iter().find(|(tracker, _)| *tracker == format).map_or("{}", |(_, options)| options);
    let script = SCRIPT.replace("TRACKER", format.name()).replace("OPTIONS", options);
    let all: Vec<Value> = runs.runs.iter().map(|run| of(runs, run)).collect();
    let data = json!({ "project": project, "runs": all });
    let bytes = serde_json::to_vec_pretty(&data).expect("numbers and names are JSON");
    vec![(PathBuf::from("runs.json"), bytes), (PathBuf::from("import.py"), script.into_bytes())]
}

/// A run: at the step of each length the scores of tasks, the ends of their intervals, and how many samples they are of.
fn of(runs: &Runs<'_>, run: &Run<'_>) -> Value {
    let subject = &run.subject;
    let config = json!({
        "model": subject.model, "content": subject.content, "method": subject.method, "rope": subject.rope, "dtype": subject.dtype,
        "device": subject.device, "trained_context": subject.trained_context, "layer_windows": subject.layer_windows,
        "longlens_version": run.records.last().map(|record| &record.run.version),
    });
    let mut steps: std::collections::BTreeMap<usize, Map<String, Value>> = std::collections::BTreeMap::new();
    for row in &run.rows {
        let task = runs.task(&row.task, &row.setting, row.task_version);
        let name = row.part.as_ref().map_or_else(|| task.clone(), |part| format!("{task}/{part}"));
        let metrics = steps.entry(row.length.unwrap_or(0)).or_default();
        if let Some(length) = row.length {
            metrics.insert("length".to_owned(), json!(length));
        }
        let (low, high) = row.interval;
        for (group, number) in [("score", row.score), ("interval_low", low), ("interval_high", high)] {
            if number.is_finite() {
                metrics.insert(format!("{group}/{name}"), json!(number));
            }
        }
        metrics.insert(format!("samples/{name}"), json!(row.n));
    }
    let history: Vec<Value> =
        steps.into_iter().map(|(step, metrics)| json!({ "step": step, "metrics": metrics })).collect();
    let id = format!("{:x}", Sha256::digest(json!([config, history]).to_string()));
    json!({ "id": &id[..16], "name": subject.name, "config": config, "history": history })
}
