//! Scores as tables: a block for each model and task, a line for each method, a column for each length or part.

use std::fmt::Write;

use longlens_app::distinct::distinct;
use longlens_core::brief;
use longlens_eval::evaluate::{Row, Summary};
use longlens_eval::tasks::Task;

/// The blocks, as texts.
pub fn blocks(summary: &Summary) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rows = &summary.rows[..];
    while let Some(first) = rows.first() {
        let of = |row: &Row| (row.model.clone(), row.setting.clone(), row.task_version, row.scorer.clone());
        let is_same = |row: &&Row| of(row) == of(first);
        let n = rows.iter().take_while(is_same).count();
        blocks.push(block(&rows[..n]));
        rows = &rows[n..];
    }
    blocks
}

fn block(rows: &[Row]) -> String {
    let columns = distinct(rows.iter().map(column));
    let methods: Vec<(String, String)> = distinct(rows.iter().map(|row| (row.method.clone(), row.rope.clone())));
    let names =
        brief::names(&methods.iter().map(|(method, _)| method.as_str()).collect::<Vec<_>>(), rows[0].trained_context);
    let has_ropes = methods.iter().any(|(_, rope)| rope != "none");
    let names: Vec<String> = names
        .into_iter()
        .zip(&methods)
        .map(|(name, (_, rope))| if has_ropes { format!("{name} · rope {rope}") } else { name })
        .collect();
    let first = &rows[0];
    let scorer = rows.iter().map(|row| &*row.scorer).find(|scorer| !scorer.is_empty()).unwrap_or_default();
    let what = if scorer == "perplexity" {
        "perplexity".to_owned()
    } else if scorer.is_empty() {
        "no sample was scored".to_owned()
    } else {
        format!("{scorer}, % of a perfect answer")
    };
    let is_newest = Task::named(&first.task).is_none_or(|task| task.version == first.task_version);
    let version = if is_newest { String::new() } else { format!(" (version {} of the task)", first.task_version) };
    let mut text = format!("{} · {}{version} · {what}\n", first.model, first.setting);
    let cell = |method: &(String, String), column_of: &String| {
        let row =
            rows.iter().find(|row| (&row.method, &row.rope) == (&method.0, &method.1) && column(row) == *column_of);
        row.map_or_else(|| "-".to_owned(), score)
    };
    let cells: Vec<Vec<String>> =
        methods.iter().map(|method| columns.iter().map(|column| cell(method, column)).collect()).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            cells.iter().map(|line| line[at].chars().count()).chain([columns[at].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let head = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("method".len());
    let _ = write!(text, "{:<head$}", "method");
    for (column, width) in columns.iter().zip(&widths) {
        let _ = write!(text, "  {column:>width$}");
    }
    for (name, line) in names.iter().zip(&cells) {
        let _ = write!(text, "\n{name:<head$}");
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "  {cell:>width$}");
        }
    }
    let notes = notes(rows);
    if notes.is_empty() { text } else { format!("{text}\n{notes}") }
}

/// What a column is of.
fn column(row: &Row) -> String {
    match (row.length, &row.part) {
        (Some(length), Some(part)) => format!("{length} {part}"),
        (Some(length), None) => length.to_string(),
        (None, Some(part)) => part.clone(),
        (None, None) => "all".to_owned(),
    }
}

/// A score with its interval and how many samples it is of.
fn score(row: &Row) -> String {
    if row.n == 0 {
        return "-".to_owned();
    }
    let (low, high) = row.interval;
    if row.scorer == "perplexity" {
        return format!("{:.3} ({low:.3}–{high:.3})", row.score);
    }
    // whole per cents where these tell the ends apart from the score
    let digits = usize::from(high - low < 4.0 && high > low);
    format!("{:.1} ({low:.digits$}–{high:.digits$})", row.score)
}

/// What else a reader should know of the numbers.
fn notes(rows: &[Row]) -> String {
    // rows of parts are among those of all
    let rows: Vec<&Row> = rows.iter().filter(|row| row.part.is_none()).collect();
    let sum = |of: fn(&Row) -> usize| rows.iter().map(|row| of(row)).sum::<usize>();
    let n: Vec<usize> = rows.iter().map(|row| row.n).collect();
    let (least, most) = (n.iter().min().copied().unwrap_or(0), n.iter().max().copied().unwrap_or(0));
    let mut notes = vec![if least == most {
        format!("{most} samples a cell")
    } else {
        format!("{least} to {most} samples a cell")
    }];
    let counted = [
        (sum(|row| row.n_skipped), "passed over as too long"),
        (sum(|row| row.n_truncated), "truncated"),
        (sum(|row| row.n_empty), "empty answers"),
        (sum(|row| row.n_errors), "answers on which the script fails"),
    ];
    notes.extend(counted.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
    if sum(|row| row.n_scored) > 0 {
        notes.push(format!("{} tokens scored", sum(|row| row.n_scored)));
    }
    notes.join(", ")
}
