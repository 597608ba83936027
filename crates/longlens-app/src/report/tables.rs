//! Scores by method and length: a table for every task with its settings, and for every family of tasks.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use longlens_eval::evaluate::{Cell, Compared, Difference, Record, compare, once_each, summarize, without_amounts};
use longlens_eval::scorers::Mode;
use longlens_eval::tasks::{TASKS, Task};
use serde::Serialize;

use super::families;
use super::subjects::{Subject, is_same, subject, subjects};

/// The tables of finished samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Tables {
    /// What answered, in the order in which it did so first; lines of all tables.
    pub subjects: Vec<Subject>,
    /// One for each task with its settings but for length, samples and depths, in the order of the list of tasks.
    pub tasks: Vec<Table>,
    /// Means over tasks of a family, and over those of a category.
    pub families: Vec<Table>,
}

/// Scores of one task, or of several of a family.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// The task with its settings but for length, samples and depths, or what is averaged.
    pub name: String,
    /// The task's name; of families their own.
    pub task: String,
    /// Its family.
    pub family: String,
    /// Name of the scorer, or `perplexity`; nothing of families.
    pub scorer: String,
    /// The mode that it was run in.
    pub mode: Mode,
    /// Tasks that are averaged; nothing of a task by itself.
    pub tasks: Vec<String>,
    /// Tasks of the family or category in all.
    pub n_of: usize,
    /// Lengths and parts, in order.
    pub columns: Vec<Column>,
    /// Scores as they were run under `run`, and under `faithful` and `fixed` where these differ.
    pub scores: BTreeMap<&'static str, Scores>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Column {
    /// Target tokens.
    pub length: Option<usize>,
    /// Part of the task that is averaged apart.
    pub part: Option<String>,
}

/// Scores under one mode.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Scores {
    /// By subject and column; nothing where there is no sample.
    pub cells: Vec<Vec<Option<Cell>>>,
    /// Differences between subjects on the same samples.
    pub differences: Vec<Against>,
}

/// The difference of one subject's score from another's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// The subject.
    pub subject: usize,
    /// The one that it is compared with.
    pub reference: usize,
    /// The column.
    pub column: usize,
    /// By how much, and how sure that is.
    #[serde(flatten)]
    pub difference: Difference,
}

/// Beyond so many subjects each is compared with the first alone, or `full` where it is there.
const MOST_COMPARED: usize = 12;

/// The tables of finished samples, each counted once ([`once_each`]); versions of a task have a table each.
pub fn tables(records: &[Record]) -> Tables {
    let subjects = subjects(records);
    let mut grouped: BTreeMap<(usize, String, Reverse<u32>), Vec<&Record>> = BTreeMap::new();
    for record in once_each(records) {
        let place = TASKS.iter().position(|task| task.info.name == record.task).unwrap_or(TASKS.len());
        let key = (place, without_amounts(&record.setting), Reverse(record.task_version));
        grouped.entry(key).or_default().push(record);
    }
    let pairs = pairs(&subjects);
    let grouped: Vec<(String, Vec<&Record>)> =
        grouped.into_values().map(|records| (table_name(records[0]), records)).collect();
    let tasks = grouped.iter().map(|(name, records)| of_task(name, records, &subjects, &pairs)).collect();
    let mut tables = Tables { subjects, tasks, families: Vec::new() };
    tables.families = families::tables(&tables, &grouped, &pairs);
    tables
}

impl Tables {
    /// The number of what answered a sample.
    pub fn subject_of(&self, record: &Record) -> Option<usize> {
        let own = subject(record);
        self.subjects.iter().position(|subject| is_same(subject, &own))
    }

    /// The task's table that a sample is in, and the column.
    pub fn place_of(&self, record: &Record) -> Option<(usize, usize)> {
        let name = table_name(record);
        let table = self.tasks.iter().position(|table| table.name == name)?;
        let own = column(record);
        Some((table, self.tasks[table].columns.iter().position(|column| *column == own)?))
    }
}

impl Table {
    /// The scores under a mode, or as they were run where the mode changes nothing.
    pub fn under(&self, mode: &str) -> &Scores {
        self.scores.get(mode).unwrap_or(&self.scores["run"])
    }
}

/// The task with its settings, and its version where that is not today's.
fn table_name(record: &Record) -> String {
    let setting = without_amounts(&record.setting);
    let is_newest = Task::named(&record.task).is_none_or(|task| task.version == record.task_version);
    if is_newest { setting } else { format!("{setting} (version {} of the task)", record.task_version) }
}

fn of_task(name: &str, records: &[&Record], subjects: &[Subject], pairs: &[(usize, usize)]) -> Table {
    let first = records[0];
    let task = Task::named(&first.task);
    let columns = distinct_columns(records);
    let run = scores(records, &columns, subjects, pairs);
    let other = match first.mode {
        Mode::Faithful => Mode::Fixed,
        Mode::Fixed => Mode::Faithful,
    };
    let mut modes = BTreeMap::from([("run", run)]);
    if let Some(rescored) = in_mode(records, other) {
        let rescored: Vec<&Record> = rescored.iter().collect();
        modes.insert(other.name(), scores(&rescored, &columns, subjects, pairs));
    }
    let scored = records.iter().find_map(|record| Some(record.answer()?.scorer.clone()));
    Table {
        name: name.to_owned(),
        task: first.task.clone(),
        family: task.map_or(String::new(), |task| task.family.to_owned()),
        scorer: scored.unwrap_or_else(|| if is_loss(records) { "perplexity".to_owned() } else { String::new() }),
        mode: first.mode,
        tasks: Vec::new(),
        n_of: 0,
        columns,
        scores: modes,
    }
}

fn is_loss(records: &[&Record]) -> bool {
    use longlens_eval::evaluate::Outcome;
    records.iter().any(|record| matches!(record.outcome, Outcome::Measured { .. }))
}

/// The same samples scored in another mode; nothing where that changes no score.
pub(super) fn in_mode(records: &[&Record], mode: Mode) -> Option<Vec<Record>> {
    let differs = |record: &&Record| record.answer().is_some_and(|answer| answer.faithful != answer.fixed);
    if !records.iter().any(|record| record.mode != mode && differs(record)) {
        return None;
    }
    Some(records.iter().map(|record| Record { mode, attended: None, ..(*record).clone() }).collect())
}

fn scores(records: &[&Record], columns: &[Column], subjects: &[Subject], pairs: &[(usize, usize)]) -> Scores {
    let mut cells: Vec<Vec<Vec<&Record>>> = vec![vec![Vec::new(); columns.len()]; subjects.len()];
    for record in records {
        let own = subject(record);
        let line = subjects.iter().position(|subject| is_same(subject, &own));
        let places = (0..columns.len()).filter(|place| holds(&columns[*place], record));
        if let Some(line) = line {
            places.for_each(|place| cells[line][place].push(record));
        }
    }
    let mut differences = Vec::new();
    for (subject, of) in pairs {
        for (column, (ours, reference)) in cells[*subject].iter().zip(&cells[*of]).enumerate() {
            let found = compare(&[Compared { ours, reference, weight: 1.0 }]);
            let at = |difference| Against { subject: *subject, reference: *of, column, difference };
            differences.extend(found.map(at));
        }
    }
    Scores { cells: cells.iter().map(|line| line.iter().map(|records| cell(records)).collect()).collect(), differences }
}

/// The score of samples, whatever parts of the task they are of; nothing of none.
fn cell(records: &[&Record]) -> Option<Cell> {
    if records.iter().all(|record| record.part == records[0].part) {
        return summarize(records.iter().copied()).rows.first().map(Cell::of);
    }
    let whole: Vec<Record> =
        records.iter().map(|record| Record { part: None, attended: None, ..(*record).clone() }).collect();
    summarize(&whole).rows.first().map(Cell::of)
}

/// Subjects that are compared.
fn pairs(subjects: &[Subject]) -> Vec<(usize, usize)> {
    let n = subjects.len();
    if n <= MOST_COMPARED {
        return (0..n).flat_map(|reference| (reference + 1..n).map(move |subject| (subject, reference))).collect();
    }
    let plain = |subject: &Subject| subject.method == "full" && subject.rope == "none";
    let reference = subjects.iter().position(plain).unwrap_or(0);
    (0..n).filter(|subject| *subject != reference).map(|subject| (subject, reference)).collect()
}

/// Columns of samples, in order; where a task has parts, one for all of them stands before.
fn distinct_columns(records: &[&Record]) -> Vec<Column> {
    let whole = |record: &&Record| Column { part: None, ..column(record) };
    let mut columns: Vec<Column> =
        records.iter().map(|record| column(record)).chain(records.iter().map(whole)).collect();
    columns.sort();
    columns.dedup();
    columns
}

/// Whether a sample is one of a column's.
pub(super) fn holds(column: &Column, record: &Record) -> bool {
    column.length == record.length && (column.part.is_none() || column.part == record.part)
}

fn column(record: &Record) -> Column {
    Column { length: record.length, part: record.part.clone() }
}
