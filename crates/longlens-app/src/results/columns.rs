//! The columns of finished samples and of their scores: one list of each, from which SQL, CSV, JSON lines and Parquet have names, order,
//! types and words.

use longlens_eval::evaluate::{Outcome, Record, Row, number};
use serde::Serialize;

use super::Datum;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Words.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Real,
    /// Lists and objects, as JSON text: `json_extract` and `json_each` take them apart.
    Json,
}

impl Kind {
    /// Its name in help.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Json => "json",
        }
    }
}

/// A column of a table whose rows come from values of `T`.
#[derive(Debug)]
pub struct Column<T: 'static> {
    /// Its name in every format.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it says, in a line.
    pub doc: &'static str,
    /// Its cell of a row.
    pub of: fn(&T) -> Datum,
}

const fn text<T>(name: &'static str, doc: &'static str, of: fn(&T) -> Datum) -> Column<T> {
    Column { name, kind: Kind::Text, doc, of }
}

const fn integer<T>(name: &'static str, doc: &'static str, of: fn(&T) -> Datum) -> Column<T> {
    Column { name, kind: Kind::Integer, doc, of }
}

const fn real<T>(name: &'static str, doc: &'static str, of: fn(&T) -> Datum) -> Column<T> {
    Column { name, kind: Kind::Real, doc, of }
}

const fn json<T>(name: &'static str, doc: &'static str, of: fn(&T) -> Datum) -> Column<T> {
    Column { name, kind: Kind::Json, doc, of }
}

/// The columns of `samples`, one row for each finished sample.
pub static SAMPLES: &[Column<Record>] = &[
    text("key", "tells the sample apart by all that decides it", |record| (&record.key).into()),
    text("model", "name of the model", |record| (&record.run.model).into()),
    text("content", "tells models apart by what their weights hold", |record| (&record.content).into()),
    text("device", "cpu, wgpu or cuda", |record| (&record.device).into()),
    text("dtype", "number format of weights and arithmetic", |record| (&record.run.dtype).into()),
    text("method", "the attention method, with every parameter", |record| (&record.run.method).into()),
    text("rope", "the RoPE scaling, or none", |record| (&record.run.rope).into()),
    integer("trained_context", "tokens that the model counts as trained on", |record| {
        record.run.trained_context.into()
    }),
    text("layer_windows", "keep or off where windows of the model's layers were not treated as usual", |record| {
        record.run.layer_windows.as_ref().into()
    }),
    text("task", "name of the task", |record| (&record.task).into()),
    integer("task_version", "version of the task: samples of different ones do not compare", |record| {
        Datum::Integer(record.task_version.into())
    }),
    text("setting", "the task with its settings", |record| (&record.setting).into()),
    text("mode", "whose score counts: faithful (as the paper's script) or fixed (where it is wrong)", |record| {
        word(&record.mode)
    }),
    text("template", "what the prompt was wrapped in", |record| (&record.template).into()),
    text("part", "part of the task that is averaged apart", |record| record.part.as_ref().into()),
    integer("length", "tokens of prompt and answer that were asked for, where the task has lengths", |record| {
        record.length.into()
    }),
    real("depth", "share of the haystack before what is asked for", |record| record.depth.into()),
    text("id", "name of the sample within its task", |record| (&record.id).into()),
    text("outcome", "answered, measured (losses) or skipped (too long)", |record| outcome(record).into()),
    real("score", "the score that counts, on its scorer's scale", |record| record.score().into()),
    real("share", "that score as a share of a perfect one, 0 to 1", |record| record.share().into()),
    real("faithful", "score as the paper's script gives it; empty where the script fails", |record| {
        record.answer().and_then(|answer| number(&answer.faithful)).into()
    }),
    real("fixed", "score as it should be", |record| record.answer().and_then(|answer| number(&answer.fixed)).into()),
    json(
        "faithful_value",
        "what the script's scorer gave: a number, true or false, several measures, or its error",
        |record| written(record.answer().map(|answer| &answer.faithful)),
    ),
    json("fixed_value", "the same of the score as it should be", |record| {
        written(record.answer().map(|answer| &answer.fixed))
    }),
    text("scorer", "name of the scorer", |record| record.answer().map(|answer| &answer.scorer).into()),
    real("scale", "score of a perfect answer", |record| record.answer().map(|answer| answer.scale).into()),
    text("output", "the whole answer", |record| record.answer().map(|answer| &answer.output).into()),
    text("extracted", "what was scored of it, where that is not the whole answer", |record| {
        record.answer().and_then(|answer| answer.extracted.as_ref()).into()
    }),
    json("answers", "the right answers, a list", |record| written(Some(&record.answers))),
    text("stop", "why the answer ended: eos, stop_string or max_tokens", |record| {
        record.answer().map_or(Datum::Empty, |answer| word(&answer.stop))
    }),
    integer("n_prompt", "tokens that were fed", |record| record.n_prompt.into()),
    integer("n_shared", "of them, those that were computed for an earlier sample", |record| record.n_shared.into()),
    integer("n_truncated", "tokens that were left out of the prompt", |record| record.n_truncated.into()),
    integer("token_limit", "the limit of prompt and answer, where it cut the sample or passed it over", |record| {
        record.limit.into()
    }),
    integer("n_generated", "tokens of the answer", |record| record.answer().map(|answer| answer.n_generated).into()),
    real("mean_nll", "mean loss of a token, in nats", |record| measured(record).map(|(mean_nll, _)| mean_nll).into()),
    integer("n_scored", "tokens whose loss counts", |record| measured(record).map(|(_, n_scored)| n_scored).into()),
    integer(
        "attention",
        "1 where attention to the evidence was recorded: such a sample may be there without it too",
        |record| usize::from(record.attended.is_some()).into(),
    ),
    json(
        "heads",
        "attention of every head to the evidence, a list of layers: unfold it with json_each(heads)",
        |record| written(record.attended.as_ref().map(|attended| &attended.heads).filter(|heads| !heads.is_empty())),
    ),
    json("passages", "the passages that got most attention, a list", |record| {
        written(record.attended.as_ref().map(|attended| &attended.passages))
    }),
    json("by_position", "losses by position: a list of first position, mean loss and tokens", |record| {
        match &record.outcome {
            Outcome::Measured { by_position, .. } => written(Some(by_position)),
            Outcome::Answered(_) | Outcome::Skipped => Datum::Empty,
        }
    }),
    real("seconds", "seconds in all", |record| record.seconds.into()),
    real("seconds_to_first_token", "seconds until the first token of the answer", |record| {
        record.answer().map(|answer| answer.seconds_to_first_token).into()
    }),
    text("kernel_path", "backend and kernel bodies that computed it", |record| (&record.run.kernel_path).into()),
    text("keys", "re-prefill, or reuse-kv where older keys were computed under another method", |record| {
        (&record.run.mode).into()
    }),
    json("warnings", "what the model's files gave reason to say, a list", |record| written(Some(&record.run.warnings))),
    text("version", "version of longlens", |record| (&record.run.version).into()),
    integer("finished", "when, in seconds since 1970: datetime(finished, 'unixepoch')", |record| {
        Datum::Integer(record.finished as i64)
    }),
    text("prompt_sha256", "SHA-256 of the prompt before it was cut", |record| (&record.prompt_sha256).into()),
    text(
        "copy_of",
        "key of the sample whose answer this is, where it was computed under other settings of the task",
        |record| record.copy_of.as_ref().into(),
    ),
];

/// The columns of `scores`: a row for each model, task, length, part and method.
pub static SCORES: &[Column<Row>] = &[
    text("model", "name of the model", |row| (&row.model).into()),
    text("method", "the attention method, with every parameter", |row| (&row.method).into()),
    text("rope", "the RoPE scaling, or none", |row| (&row.rope).into()),
    integer("trained_context", "tokens that the model counts as trained on", |row| row.trained_context.into()),
    text("layer_windows", "keep or off where windows of the model's layers were not treated as usual", |row| {
        row.layer_windows.as_ref().into()
    }),
    text("dtype", "number format of weights and arithmetic", |row| (&row.dtype).into()),
    text("device", "cpu, wgpu or cuda", |row| (&row.device).into()),
    text("content", "tells models apart by what their weights hold", |row| (&row.content).into()),
    text("task", "name of the task", |row| (&row.task).into()),
    integer("task_version", "version of the task", |row| Datum::Integer(row.task_version.into())),
    text("setting", "the task with its settings, but for length, samples and depths", |row| (&row.setting).into()),
    text("mode", "faithful or fixed", |row| word(&row.mode)),
    text("template", "what prompts are wrapped in", |row| (&row.template).into()),
    integer("length", "tokens that were asked for, where the task has lengths", |row| row.length.into()),
    text("part", "part of the task; empty in the row of all of it", |row| row.part.as_ref().into()),
    real("score", "per cent of a perfect answer, or perplexity", |row| row.score.into()),
    real("low", "lower end of its 95 % interval; empty of one sample that is neither right nor wrong", |row| {
        row.interval.0.into()
    }),
    real("high", "upper end", |row| row.interval.1.into()),
    text("scorer", "name of the scorer, or perplexity", |row| (&row.scorer).into()),
    integer("n", "samples that were scored", |row| row.n.into()),
    integer("n_skipped", "samples that were passed over as too long", |row| row.n_skipped.into()),
    integer("n_truncated", "samples of which something was left out", |row| row.n_truncated.into()),
    integer("n_errors", "answers on which the script fails", |row| row.n_errors.into()),
    integer("n_empty", "empty answers", |row| row.n_empty.into()),
    integer("n_at_limit", "answers that ended at the most tokens", |row| row.n_at_limit.into()),
    real("mean_prompt", "mean prompt tokens", |row| row.mean_prompt.into()),
    integer("n_scored", "tokens whose loss counts, of perplexities", |row| row.n_scored.into()),
    real("seconds", "seconds in all", |row| row.seconds.into()),
];

fn outcome(record: &Record) -> &'static str {
    match record.outcome {
        Outcome::Answered(_) => "answered",
        Outcome::Measured { .. } => "measured",
        Outcome::Skipped => "skipped",
    }
}

fn measured(record: &Record) -> Option<(f64, usize)> {
    match record.outcome {
        Outcome::Measured { mean_nll, n_scored, .. } => Some((mean_nll, n_scored)),
        Outcome::Answered(_) | Outcome::Skipped => None,
    }
}

/// The word that a value is in JSON.
fn word(value: &impl Serialize) -> Datum {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Datum::Text(word),
        _ => Datum::Empty,
    }
}

/// A value as JSON text.
fn written(value: Option<&impl Serialize>) -> Datum {
    value.and_then(|value| serde_json::to_string(value).ok()).map_or(Datum::Empty, Datum::Text)
}
