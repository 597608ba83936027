//! Scores of families: means over tasks that were run alike.

use std::collections::BTreeMap;

use longlens_core::setting::Setting;
use serde::Serialize;

use super::cell::Cell;
use super::family::{Average, averages, is_averaged};
use super::summary::Row;
use crate::scorers::Mode;
use crate::tasks::Task;

/// A mean over tasks of a family at one length, under one subject.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FamilyMean {
    /// Tasks that it is of.
    pub n_tasks: usize,
    /// Tasks that it would be of if all were run.
    pub n_of: usize,
    /// The score: `task` is the family, `setting` the family with mode and template where these are not as usual, `scorer` says what it is
    /// the mean of. Counts are sums over the tasks.
    #[serde(flatten)]
    pub row: Row,
}

/// What rows of one mean have in common.
#[derive(PartialEq)]
struct Group<'a> {
    family: &'static str,
    mode: Mode,
    template: &'a str,
    model: (&'a str, &'a str, usize),
    method: (&'a str, &'a str, Option<&'a str>),
    ran: (&'a str, &'a str, Option<&'a str>),
}

/// The means that papers report, by family, model, mean, length and method: of the rows of whole tasks that were scored, where two tasks at
/// least were run. Where a task has no score at a length that others have, these take its weight.
pub fn means(rows: &[Row]) -> Vec<FamilyMean> {
    let mut groups: Vec<(Group<'_>, Vec<&Row>)> = Vec::new();
    for row in rows.iter().filter(|row| row.part.is_none() && row.n > 0) {
        let Some(group) = group(row) else { continue };
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, of)) => of.push(row),
            None => groups.push((group, vec![row])),
        }
    }
    let mut all: Vec<(usize, FamilyMean)> = groups.iter().flat_map(|(group, rows)| of_group(group, rows)).collect();
    all.sort_by(|(place, mean), (other_place, other)| {
        let key = |place: &usize, mean: &FamilyMean| {
            (mean.row.task.clone(), mean.row.model.clone(), mean.row.setting.clone(), *place, mean.row.length)
        };
        key(place, mean).cmp(&key(other_place, other))
    });
    all.into_iter().map(|(_, mean)| mean).collect()
}

/// `None` of a task that is not averaged, and of earlier versions of it.
fn group(row: &Row) -> Option<Group<'_>> {
    let task = Task::named(&row.task).filter(|task| is_averaged(task.family) && task.version == row.task_version)?;
    Some(Group {
        family: task.family,
        mode: row.mode,
        template: &row.template,
        model: (&row.model, &row.content, row.trained_context),
        method: (&row.method, &row.rope, row.layer_windows.as_deref()),
        ran: (&row.dtype, &row.device, row.limit.as_deref()),
    })
}

/// The means of a group, each with its place among those of its family.
fn of_group(group: &Group<'_>, rows: &[&Row]) -> Vec<(usize, FamilyMean)> {
    let mut settings: Vec<(&str, &str)> = rows.iter().map(|row| (&*row.task, &*row.setting)).collect();
    settings.sort_unstable();
    settings.dedup();
    let mut lengths: Vec<Option<usize>> = rows.iter().map(|row| row.length).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let names: Vec<&str> = settings.iter().map(|(task, _)| *task).collect();
    let mut means = Vec::new();
    for (place, average) in averages(group.family, &names).into_iter().enumerate() {
        for length in &lengths {
            let of = |setting: &str| rows.iter().find(|row| row.length == *length && row.setting == setting);
            let there: Vec<Option<&Row>> = settings.iter().map(|(_, setting)| of(setting).copied()).collect();
            let cells: Vec<Option<Cell>> = there.iter().map(|row| row.map(Cell::of)).collect();
            let cells: Vec<Option<&Cell>> = cells.iter().map(Option::as_ref).collect();
            let first = there.iter().zip(&average.weights).find_map(|(row, weight)| row.filter(|_| *weight > 0.0));
            if let (Some(cell), Some(first)) = (average.of(&names, &cells), first) {
                means.push((place, family_mean(group, &average, &cell, first)));
            }
        }
    }
    means
}

/// A mean as a row; `first` is that of one of its tasks.
fn family_mean(group: &Group<'_>, average: &Average, cell: &Cell, first: &Row) -> FamilyMean {
    let mut told = Vec::new();
    if group.mode != Mode::default() {
        told.push(format!("mode={}", group.mode.name()));
    }
    let usual = Task::named(&first.task).map(|task| task.template(&Setting::new(task.info)));
    if usual.as_deref() != Some(group.template) {
        told.push(format!("template={}", group.template));
    }
    let setting =
        if told.is_empty() { group.family.to_owned() } else { format!("{}:{}", group.family, told.join(",")) };
    let row = Row {
        task: group.family.to_owned(),
        // that of no task
        task_version: 0,
        setting,
        scorer: average.name.clone(),
        score: cell.score,
        interval: cell.interval,
        n: cell.n,
        n_skipped: cell.n_skipped,
        n_truncated: cell.n_truncated,
        n_errors: cell.n_errors,
        n_empty: cell.n_empty,
        n_at_limit: cell.n_at_limit,
        mean_prompt: cell.mean_prompt,
        n_scored: cell.n_scored,
        seconds: cell.seconds,
        shares: BTreeMap::new(),
        ..first.clone()
    };
    FamilyMean { n_tasks: cell.n_tasks, n_of: average.n_of, row }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A score of 10 samples.
    fn row(setting: &str, length: Option<usize>, method: &str, score: f64) -> Row {
        let task = Task::parse(setting).unwrap().info().name;
        Row {
            model: "m".into(),
            content: String::new(),
            method: method.into(),
            rope: "none".into(),
            trained_context: 256,
            layer_windows: None,
            dtype: "f32".into(),
            device: "cpu".into(),
            task: task.into(),
            task_version: Task::named(task).unwrap().version,
            setting: setting.into(),
            mode: Task::named(task).unwrap().mode(&Task::parse(setting).unwrap()),
            template: "off".into(),
            length,
            part: None,
            n: 10,
            n_skipped: 0,
            n_truncated: 0,
            n_errors: 0,
            n_empty: 0,
            n_at_limit: 0,
            scorer: String::new(),
            score,
            interval: (score - 4.0, score + 3.0),
            mean_prompt: 100.0,
            n_scored: 0,
            seconds: 1.0,
            limit: None,
            shares: BTreeMap::new(),
        }
    }

    fn told(means: &[FamilyMean]) -> Vec<String> {
        let line = |FamilyMean { n_tasks, n_of, row }: &FamilyMean| {
            let length = row.length.map(|length| format!(" at {length}")).unwrap_or_default();
            format!("{}: {}{length}, {}: {:.1} of {n_tasks} of {n_of}", row.setting, row.scorer, row.method, row.score)
        };
        means.iter().map(line).collect()
    }

    #[test]
    fn tasks_of_a_family_are_averaged_where_they_were_run_alike() {
        let (short, long) = (Some(512), Some(1024));
        let rows = [
            row("niah_single_1:mode=fixed", short, "full", 100.0),
            row("niah_single_1:mode=fixed", long, "full", 40.0),
            row("niah_single_2:mode=fixed", short, "full", 50.0),
            row("ruler_vt:mode=fixed", short, "full", 0.0),
            // one task alone, another mode, and a family of variants
            row("niah_single_1", short, "full", 70.0),
            row("passkey", short, "full", 100.0),
            row("passkey_chunkllama", short, "full", 100.0),
        ];
        let found = means(&rows);
        assert_eq!(
            told(&found),
            [
                "ruler:mode=fixed: mean of all tasks at 512, full: 50.0 of 3 of 13",
                "ruler:mode=fixed: mean of all tasks at 1024, full: 40.0 of 1 of 13",
                "ruler:mode=fixed: mean of retrieval (NIAH) at 512, full: 75.0 of 2 of 8",
                "ruler:mode=fixed: mean of retrieval (NIAH) at 1024, full: 40.0 of 1 of 8",
            ]
        );
        assert_eq!((found[0].row.n, found[0].row.seconds), (30, 3.0));
        // three measurements apart: each distance counts a third, by Pythagoras
        let (low, high) = found[0].row.interval;
        let apart = |distance: f64| 3f64.sqrt() * distance / 3.0;
        assert!((50.0 - low - apart(4.0)).abs() < 1e-12 && (high - 50.0 - apart(3.0)).abs() < 1e-12, "{low} {high}");
    }

    #[test]
    fn a_task_counts_whole_by_the_settings_that_a_length_has() {
        let rows = [
            row("niah_single_1:seed=1", Some(512), "full", 0.0),
            row("niah_single_1:seed=2", Some(700), "full", 80.0),
            row("niah_single_2:seed=1", Some(512), "full", 100.0),
        ];
        let found = told(&means(&rows));
        assert_eq!(found[0], "ruler: mean of all tasks at 512, full: 50.0 of 2 of 13");
        assert_eq!(found[1], "ruler: mean of all tasks at 700, full: 80.0 of 1 of 13");
    }

    #[test]
    fn a_template_is_told_where_it_is_not_the_tasks_own() {
        let told_of = |template: &str| {
            let mut rows =
                ["passkey", "kv_retrieval"].map(|name| row(&format!("infinitebench_{name}:file=a"), None, "full", 1.0));
            for row in &mut rows {
                row.template = template.into();
            }
            told(&means(&rows))[0].split(": ").next().unwrap().to_owned()
        };
        assert_eq!((told_of("model"), told_of("off")), ("infinitebench".into(), "infinitebench:template=off".into()));
    }

    #[test]
    fn methods_stand_side_by_side_and_a_task_with_two_settings_counts_once() {
        let mut rows = Vec::new();
        for (method, offset) in [("full", 0.0), ("streaming", 10.0)] {
            rows.push(row("longbench_qasper:file=a", None, method, 20.0 + offset));
            rows.push(row("longbench_qasper:file=b", None, method, 40.0 + offset));
            rows.push(row("longbench_hotpotqa:file=a", None, method, 60.0 + offset));
        }
        let found = means(&rows);
        assert_eq!(
            told(&found),
            [
                "longbench: mean of all tasks, full: 45.0 of 2 of 21",
                "longbench: mean of all tasks, streaming: 55.0 of 2 of 21",
                "longbench: mean of 2 of 6 English categories, full: 45.0 of 2 of 16",
                "longbench: mean of 2 of 6 English categories, streaming: 55.0 of 2 of 16",
            ]
        );
        rows[0].task_version += 1;
        let found = told(&means(&rows[..3]));
        assert_eq!(found[0], "longbench: mean of all tasks, full: 50.0 of 2 of 21", "another version is another task");
    }
}
