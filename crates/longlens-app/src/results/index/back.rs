//! Rows of the index become values again: what scores are counted from, and the scores.

use longlens_core::trace::RunRecord;
use longlens_eval::evaluate::{Answer, Outcome, Record, Row, Summary};
use rusqlite::types::{FromSql, FromSqlError, ValueRef};
use rusqlite::{Connection, Result};
use serde::de::DeserializeOwned;

use super::super::columns::SCORES;

/// Records in order of files and lines, of which all that scores are counted from is as in the lines, and some else.
pub(super) fn records(connection: &Connection) -> Result<Vec<Record>> {
    let mut statement = connection.prepare(
        "SELECT model, content, trained_context, method, rope, dtype, task, task_version, setting, mode, part, length, id, outcome, \
         output, n_generated, stop, scorer, scale, faithful_value, fixed_value, seconds_to_first_token, mean_nll, n_scored, n_prompt, \
         n_truncated, seconds, device, layer_windows, prompt_sha256, finished, template FROM samples ORDER BY rowid",
    )?;
    let mut rows = statement.query([])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let run = RunRecord {
            model: row.get(0)?,
            trained_context: row.get(2)?,
            method: row.get(3)?,
            rope: row.get(4)?,
            dtype: row.get(5)?,
            layer_windows: row.get(28)?,
            ..RunRecord::default()
        };
        let outcome = match row.get_ref(13)?.as_str()? {
            "answered" => Outcome::Answered(Box::new(Answer {
                output: row.get(14)?,
                extracted: None,
                n_generated: row.get(15)?,
                stop: row.get::<_, Word<_>>(16)?.0,
                scorer: row.get(17)?,
                scale: row.get(18)?,
                faithful: row.get::<_, Json<_>>(19)?.0,
                fixed: row.get::<_, Json<_>>(20)?.0,
                seconds_to_first_token: row.get(21)?,
            })),
            "measured" => Outcome::Measured { mean_nll: row.get(22)?, n_scored: row.get(23)?, by_position: Vec::new() },
            _ => Outcome::Skipped,
        };
        records.push(Record {
            key: String::new(),
            copy_of: None,
            task: row.get(6)?,
            setting: row.get(8)?,
            task_version: row.get(7)?,
            id: row.get(12)?,
            part: row.get(10)?,
            length: row.get(11)?,
            depth: None,
            run,
            content: row.get(1)?,
            device: row.get(27)?,
            mode: row.get::<_, Word<_>>(9)?.0,
            template: row.get(31)?,
            prompt_sha256: row.get(29)?,
            n_prompt: row.get(24)?,
            n_shared: 0,
            n_truncated: row.get(25)?,
            limit: None,
            answers: Vec::new(),
            outcome,
            seconds: row.get(26)?,
            attended: None,
            finished: row.get::<_, i64>(30)? as u64,
        });
    }
    Ok(records)
}

/// The scores.
pub(super) fn summary(connection: &Connection) -> Result<Summary> {
    let names: Vec<&str> = SCORES.iter().map(|column| column.name).collect();
    let mut statement = connection.prepare(&format!("SELECT {} FROM scores ORDER BY rowid", names.join(", ")))?;
    let number =
        |row: &rusqlite::Row<'_>, name: &str| row.get::<_, Option<f64>>(name).map(|number| number.unwrap_or(f64::NAN));
    let rows = statement.query_map([], |row| {
        Ok(Row {
            model: row.get("model")?,
            method: row.get("method")?,
            rope: row.get("rope")?,
            trained_context: row.get("trained_context")?,
            layer_windows: row.get("layer_windows")?,
            dtype: row.get("dtype")?,
            device: row.get("device")?,
            content: row.get("content")?,
            limit: None,
            task: row.get("task")?,
            task_version: row.get("task_version")?,
            setting: row.get("setting")?,
            mode: row.get::<_, Word<_>>("mode")?.0,
            template: row.get("template")?,
            length: row.get("length")?,
            part: row.get("part")?,
            n: row.get("n")?,
            n_skipped: row.get("n_skipped")?,
            n_truncated: row.get("n_truncated")?,
            n_errors: row.get("n_errors")?,
            n_empty: row.get("n_empty")?,
            n_at_limit: row.get("n_at_limit")?,
            scorer: row.get("scorer")?,
            score: number(row, "score")?,
            interval: (number(row, "low")?, number(row, "high")?),
            mean_prompt: row.get("mean_prompt")?,
            n_scored: row.get("n_scored")?,
            seconds: row.get("seconds")?,
            shares: std::collections::BTreeMap::new(),
        })
    })?;
    Ok(Summary { rows: rows.collect::<Result<_>>()? })
}

/// A value that JSON writes as a word.
struct Word<T>(T);

/// A value as JSON text.
struct Json<T>(T);

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        let word = serde_json::Value::String(value.as_str()?.to_owned());
        serde_json::from_value(word).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> Result<Self, FromSqlError> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}
