//! What `eval.py` reports for a task.

use serde_json::{Map, Value, json};

use super::super::error::{ScoreError, Stop};
use super::super::numbers::{numpy_round, numpy_sum, round};
use super::super::row::Row;
use super::{Mode, first_line};

type Score = fn(Row<'_>, Mode) -> Result<Value, Stop>;

/// Tasks, and how an answer of each is scored.
const TASKS: [(&str, Score); 21] = [
    ("narrativeqa", super::qa_f1),
    ("qasper", super::qa_f1),
    ("multifieldqa_en", super::qa_f1),
    ("multifieldqa_zh", super::qa_f1_zh),
    ("hotpotqa", super::qa_f1),
    ("2wikimqa", super::qa_f1),
    ("musique", super::qa_f1),
    ("dureader", super::rouge_zh),
    ("gov_report", super::rouge),
    ("qmsum", super::rouge),
    ("multi_news", super::rouge),
    ("vcsum", super::rouge_zh),
    ("trec", super::classification),
    ("triviaqa", super::qa_f1),
    ("samsum", super::rouge),
    ("lsht", super::classification),
    ("passage_retrieval_en", super::retrieval),
    ("passage_count", super::count),
    ("passage_retrieval_zh", super::retrieval_zh),
    ("lcc", super::code_sim),
    ("repobench-p", super::code_sim),
];

/// Names of the tasks.
pub fn tasks() -> impl Iterator<Item = &'static str> {
    TASKS.iter().map(|(name, _)| *name)
}

/// Tasks whose prompts hold examples, and where a model may go on with another one.
const FIRST_LINE: [&str; 4] = ["trec", "triviaqa", "samsum", "lsht"];

/// The mean of a task in percent, to two digits.
pub(in crate::scorers) fn corpus(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let (scores, n) = scores(row, row.text("task")?, mode)?;
    if n == 0 {
        return Err(Stop::Raised("ZeroDivisionError"));
    }
    Ok(json!(round(100.0 * scores.iter().sum::<f64>() / n as f64, 2)))
}

/// Means of a task of LongBench-E by the length of its documents; `null` where there are none of a length.
pub(in crate::scorers) fn corpus_by_length(row: Row<'_>, mode: Mode) -> Result<Value, Stop> {
    let task = row.text("task")?;
    let (scores, _) = scores(row, task.strip_suffix("_e").unwrap_or(task), mode)?;
    let mut buckets = [("0-4k", Vec::new()), ("4-8k", Vec::new()), ("8k+", Vec::new())];
    for (score, length) in scores.iter().zip(row.items("lengths", "a list of numbers")?) {
        let words = length.as_f64().ok_or_else(|| row.refused("lengths", length, "a list of numbers"))?;
        let bucket = if words < 4000.0 { 0 } else { 1 + usize::from(words >= 8000.0) };
        buckets[bucket].1.push(*score);
    }
    let mean = |scores: Vec<f64>| {
        let mean = 100.0 * (numpy_sum(&scores) / scores.len() as f64);
        if scores.is_empty() { Value::Null } else { json!(numpy_round(mean, 2)) }
    };
    Ok(buckets.into_iter().map(|(name, scores)| (name.to_owned(), mean(scores))).collect::<Map<_, _>>().into())
}

/// Scores of all predictions, and the number that their sum is divided by: that of the predictions, and where faults are mended that of
/// the questions, of which those without a prediction score 0.
fn scores(row: Row<'_>, task: &str, mode: Mode) -> Result<(Vec<f64>, usize), Stop> {
    let known = || tasks().collect::<Vec<_>>().join(", ");
    let found = TASKS.iter().find(|(name, _)| *name == task);
    let (_, score) =
        found.ok_or_else(|| ScoreError::Task { scorer: row.scorer(), task: task.to_owned(), known: known() })?;
    let (predictions, references) = (row.texts("prediction")?, row.lists("references")?);
    let classes = row.maybe("all_classes");
    let mut scores = Vec::with_capacity(predictions.len());
    for (prediction, references) in predictions.iter().zip(&references) {
        let prediction = if FIRST_LINE.contains(&task) { first_line(prediction) } else { prediction };
        let mut fields = Map::new();
        fields.insert("prediction".into(), json!(prediction));
        fields.insert("references".into(), json!(references));
        fields.extend(classes.map(|classes| ("all_classes".to_owned(), classes.clone())));
        scores.push(score(Row::new(row.scorer(), &fields), mode)?.as_f64().unwrap_or_default());
    }
    let n = if mode.is_fixed() { references.len() } else { predictions.len() };
    Ok((scores, n))
}
