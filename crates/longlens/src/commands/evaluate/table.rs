//! Scores as tables: a block for each model and task, and for each mean over tasks; a line for each method, a column for each length or part.

use std::fmt::Write;

use longlens_app::distinct::distinct;
use longlens_app::report::{Subject, subjects_of_rows};
use longlens_eval::evaluate::{FamilyMean, Row, Summary, means};
use longlens_eval::tasks::Task;

/// The blocks, as texts.
pub fn blocks(summary: &Summary) -> Vec<String> {
    let of = |row: &Row| (row.model.clone(), row.setting.clone(), row.task_version, row.scorer.clone());
    let block_of = |block| {
        let rows: Vec<&Row> = summary.rows.iter().filter(|row| of(row) == block).collect();
        self::block(&rows, &[])
    };
    let mut blocks: Vec<String> = distinct(summary.rows.iter().map(of)).into_iter().map(block_of).collect();
    let means = means(&summary.rows);
    for block in distinct(means.iter().map(|mean| of(&mean.row))) {
        let own: Vec<&FamilyMean> = means.iter().filter(|mean| of(&mean.row) == block).collect();
        let rows: Vec<&Row> = own.iter().map(|mean| &mean.row).collect();
        let most = own.iter().map(|mean| mean.n_tasks).max();
        let fewer = |mean: &&FamilyMean| (Some(mean.n_tasks) < most).then(|| format!("of {}", mean.n_tasks));
        let fewer: Vec<Option<String>> = own.iter().map(fewer).collect();
        blocks.push(format!("{}; {}", self::block(&rows, &fewer), tasks_of(&own)));
    }
    blocks
}

/// Of how many tasks means are.
fn tasks_of(means: &[&FamilyMean]) -> String {
    let counts = || means.iter().map(|mean| mean.n_tasks);
    let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    let n_of = means.iter().map(|mean| mean.n_of).max().unwrap_or(0);
    let n = if least == most { most.to_string() } else { format!("{least} to {most}") };
    if least == n_of { format!("{n} tasks") } else { format!("{n} of {n_of} tasks") }
}

/// `more` is what stands behind the scores of the rows, in their order; nothing where it is empty.
fn block(rows: &[&Row], more: &[Option<String>]) -> String {
    let columns = distinct(rows.iter().map(|row| column(row)));
    let subjects = subjects_of_rows(rows.iter().copied());
    let limits = distinct(rows.iter().map(|row| row.limit.as_deref()));
    let lines: Vec<(&Subject, Option<&str>)> =
        subjects.iter().flat_map(|subject| limits.iter().map(move |limit| (subject, *limit))).collect();
    let is_there = |(subject, limit): &(&Subject, Option<&str>)| {
        rows.iter().any(|row| row.limit.as_deref() == *limit && subject.has_row(row))
    };
    let lines: Vec<(&Subject, Option<&str>)> = lines.into_iter().filter(is_there).collect();
    let name = |(subject, limit): &(&Subject, Option<&str>)| match limit {
        Some(limit) => format!("{} · limit {limit}", subject.name),
        None => subject.name.clone(),
    };
    let names: Vec<String> = lines.iter().map(name).collect();
    let first = rows[0];
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
    let cell = |(subject, limit): &(&Subject, Option<&str>), column_of: &String| {
        let is_own = |row: &&Row| row.limit.as_deref() == *limit && subject.has_row(row) && column(row) == *column_of;
        rows.iter().position(is_own).map_or_else(
            || "-".to_owned(),
            |at| match more.get(at) {
                Some(Some(more)) => format!("{} {more}", score(rows[at])),
                _ => score(rows[at]),
            },
        )
    };
    let cells: Vec<Vec<String>> =
        lines.iter().map(|line| columns.iter().map(|column| cell(line, column)).collect()).collect();
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
    let ((low, high), is_loss) = (row.interval, row.scorer == "perplexity");
    if low.is_nan() {
        return if is_loss { format!("{:.3}", row.score) } else { format!("{:.1}", row.score) };
    }
    if is_loss {
        return format!("{:.3} ({low:.3}–{high:.3})", row.score);
    }
    // whole per cents where these tell the ends apart from the score
    let digits = usize::from(high - low < 4.0 && high > low);
    format!("{:.1} ({low:.digits$}–{high:.digits$})", row.score)
}

/// What else a reader should know of the numbers.
fn notes(rows: &[&Row]) -> String {
    // rows of parts are among those of all
    let rows: Vec<&Row> = rows.iter().copied().filter(|row| row.part.is_none()).collect();
    let sum = |of: fn(&Row) -> usize| rows.iter().map(|row| of(row)).sum::<usize>();
    let n: Vec<usize> = rows.iter().map(|row| row.n).collect();
    let (least, most) = (n.iter().min().copied().unwrap_or(0), n.iter().max().copied().unwrap_or(0));
    let mut notes = vec![match (least, most) {
        (1, 1) => "1 sample a cell".to_owned(),
        _ if least == most => format!("{most} samples a cell"),
        _ => format!("{least} to {most} samples a cell"),
    }];
    let counted = [
        (sum(|row| row.n_skipped), "passed over as too long"),
        (sum(|row| row.n_truncated), "truncated"),
        (sum(|row| row.n_empty), "empty answers"),
        (sum(|row| row.n_errors), "answers on which the script fails"),
    ];
    let mut sums: Vec<String> =
        counted.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if sum(|row| row.n_scored) > 0 {
        sums.push(format!("{} tokens scored", sum(|row| row.n_scored)));
    }
    if !sums.is_empty() {
        notes.push(format!("in all {}", sums.join(", ")));
    }
    notes.join("; ")
}
