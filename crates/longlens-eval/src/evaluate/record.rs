//! What is kept of a finished sample: one JSON line.

use longlens_core::trace::RunRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Attended, Run};
use crate::generate::StopReason;
use crate::sample::Sample;
use crate::scorers::Mode;

/// What is kept of a finished sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Tells it apart by all that decides it ([`super::Subject::key`]).
    pub key: String,
    /// The key of the sample whose answer this is, where it was computed under other settings of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<String>,
    /// The task's name.
    pub task: String,
    /// The task with its settings, as text.
    pub setting: String,
    /// The task's version.
    pub task_version: u32,
    /// The sample's name within its task.
    pub id: String,
    /// Part of the task that is averaged apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Target tokens of prompt and answer, where the task has lengths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// Share of the haystack before what is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<f64>,
    /// What ran.
    pub run: RunRecord,
    /// Tells models apart by what their weights hold.
    pub content: String,
    /// `cpu`, `wgpu` or `cuda`.
    pub device: String,
    /// The mode whose score counts.
    pub mode: Mode,
    /// What the prompt was wrapped in.
    pub template: String,
    /// SHA-256 of the prompt before it was cut.
    pub prompt_sha256: String,
    /// Tokens that were fed.
    pub n_prompt: usize,
    /// Of them, those that were computed for an earlier sample.
    #[serde(default)]
    pub n_shared: usize,
    /// What the task left out of the document, and the tokens that a limit cut from the prompt.
    #[serde(default)]
    pub n_truncated: usize,
    /// Tokens of prompt and answer at most, where the sample had more and so was cut or passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Right answers.
    pub answers: Vec<String>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Seconds in all.
    pub seconds: f64,
    /// What the token before the answer attended to, where that was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attended: Option<Attended>,
    /// When it was finished, in seconds since 1970.
    pub finished: u64,
}

/// What came of a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered.
    Answered(Box<Answer>),
    /// Losses of its own tokens were measured.
    Measured {
        /// Mean negative log-likelihood of a token, in nats.
        mean_nll: f64,
        /// Tokens whose loss counts.
        n_scored: usize,
        /// Mean loss by position: of tokens from `2^i` up to `2^(i+1)`, with how many they are.
        by_position: Vec<(usize, f64, usize)>,
    },
    /// It is longer than the limit and was passed over.
    Skipped,
}

/// A scored answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The whole text.
    pub output: String,
    /// What was scored of it, where that is not the whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extracted: Option<String>,
    /// Tokens that came.
    pub n_generated: usize,
    /// Why it ended.
    pub stop: StopReason,
    /// Name of the scorer.
    pub scorer: String,
    /// The score of a perfect answer.
    pub scale: f64,
    /// As the script scores it; an object with `error` where the script raises an exception.
    pub faithful: Value,
    /// As it should be scored.
    pub fixed: Value,
    /// Seconds until the first token.
    pub seconds_to_first_token: f64,
}

/// What becomes of samples beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TooLong {
    /// They are passed over and counted.
    #[default]
    Skip,
    /// Their middle is cut out, and the end of texts that are measured.
    Cut,
}

impl Record {
    /// A record of a sample that is about to be run.
    pub(super) fn of(run: &Run<'_>, sample: &Sample, n_prompt: usize, n_cut: usize) -> Self {
        let Run { task, setting, subject, .. } = run;
        Self {
            key: String::new(),
            copy_of: None,
            task: task.info.name.to_owned(),
            setting: setting.to_string(),
            task_version: task.version,
            id: sample.id.clone(),
            part: sample.part.clone(),
            length: sample.length,
            depth: sample.depth,
            run: RunRecord {
                model: subject.model.clone(),
                method: subject.method.clone(),
                rope: subject.rope.clone(),
                dtype: subject.dtype.clone(),
                trained_context: subject.trained_context,
                layer_windows: subject.layer_windows.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                n_prompt,
                ..RunRecord::default()
            },
            content: subject.content.clone(),
            device: subject.device.clone(),
            mode: task.mode(setting),
            template: task.template(setting),
            prompt_sha256: sample.prompt.sha256(),
            n_prompt,
            n_shared: 0,
            n_truncated: sample.n_truncated + n_cut,
            limit: None,
            answers: sample.answers.clone(),
            outcome: Outcome::Skipped,
            seconds: 0.0,
            attended: None,
            finished: now(),
        }
    }

    /// Takes losses of tokens 1, 2, … of which those from `from` on count.
    pub(super) fn measured(&mut self, nll: &[f32], from: usize) {
        let scored = &nll[(from.max(1) - 1).min(nll.len())..];
        let mean =
            |losses: &[f32]| losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len().max(1) as f64;
        let mut by_position = Vec::new();
        let mut start = 1;
        while start <= nll.len() {
            let end = (2 * start).min(nll.len() + 1);
            by_position.push((start, mean(&nll[start - 1..end - 1]), end - start));
            start = end;
        }
        self.outcome = Outcome::Measured { mean_nll: mean(scored), n_scored: scored.len(), by_position };
        self.finished = now();
    }

    /// The score that counts, between 0 and the scale: by the mode, a truth value as 0 or 1. `None` where there is none, as of a
    /// sample that was passed over or whose script raises an exception.
    pub fn score(&self) -> Option<f64> {
        number(self.value()?)
    }

    /// The score as a share of the perfect one.
    pub fn share(&self) -> Option<f64> {
        Some(self.score()? / self.answer()?.scale)
    }

    /// The value of the score that counts, as the scorer gave it.
    pub fn value(&self) -> Option<&Value> {
        let answer = self.answer()?;
        Some(match self.mode {
            Mode::Faithful => &answer.faithful,
            Mode::Fixed => &answer.fixed,
        })
    }

    /// The answer; `None` where none was asked for.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered(answer) => Some(answer),
            Outcome::Measured { .. } | Outcome::Skipped => None,
        }
    }
}

/// The number of a score, a truth value as 0 or 1; of several measures their geometric mean, or ROUGE-L, and of L-Eval's two about a fiction
/// the mean, as its script has it. `None` where the script raises an exception.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(hit) => Some(f64::from(u8::from(*hit))),
        Value::Number(number) => number.as_f64(),
        Value::Object(measures) => {
            let of = |name: &str| measures.get(name)?.as_f64();
            of("geometric_mean").or_else(|| of("rougeL")).or_else(|| Some(f64::midpoint(of("loyalty")?, of("fact")?)))
        }
        _ => None,
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
