//! Means over the tasks of a family, as RULER and `LongBench` report them.

use std::collections::BTreeMap;

use longlens_eval::evaluate::{Average, Cell, Compared, Record, averages, compare, is_averaged};
use longlens_eval::scorers::Mode;
use longlens_eval::tasks::Task;

use super::subjects::{Subject, is_same, subject};
use super::tables::{Against, Column, Scores, Table, Tables, holds, in_mode};

/// Tasks of one family that were run alike.
struct Group<'a> {
    family: &'static str,
    mode: Mode,
    template: &'a str,
    /// Tables of its tasks with their samples; several of a task that was run with several settings.
    tasks: Vec<(&'a Table, &'a [&'a Record])>,
}

/// A table for each family of which two tasks or more were run, and for each category of which two were.
pub fn tables(tables: &Tables, grouped: &[(String, Vec<&Record>)], pairs: &[(usize, usize)]) -> Vec<Table> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (table, (_, records)) in tables.tasks.iter().zip(grouped) {
        // an earlier version of a task is another task
        let is_meant = |task: &&Task| is_averaged(task.family) && records[0].task_version == task.version;
        let Some(task) = Task::named(&table.task).filter(is_meant) else { continue };
        let own = (task.family, table.mode, &*records[0].template);
        let is_own = |group: &&mut Group<'_>| (group.family, group.mode, group.template) == own;
        match groups.iter_mut().find(is_own) {
            Some(group) => group.tasks.push((table, records)),
            None => groups.push(Group { family: own.0, mode: own.1, template: own.2, tasks: vec![(table, records)] }),
        }
    }
    let is_alone = |group: &Group<'_>| groups.iter().filter(|other| other.family == group.family).count() == 1;
    let all = groups.iter().flat_map(|group| {
        let told = if is_alone(group) {
            String::new()
        } else {
            format!(", {} mode, template {}", group.mode.name(), group.template)
        };
        let names: Vec<&str> = group.tasks.iter().map(|(table, _)| &*table.task).collect();
        averages(group.family, &names)
            .into_iter()
            .map(move |average| of_average(group, &average, &told, &tables.subjects, pairs))
    });
    all.collect()
}

/// A task of an average.
struct Part<'a> {
    table: &'a Table,
    records: Vec<&'a Record>,
}

fn of_average(
    group: &Group<'_>,
    average: &Average,
    told: &str,
    subjects: &[Subject],
    pairs: &[(usize, usize)],
) -> Table {
    let weighted = group.tasks.iter().zip(&average.weights).filter(|(_, weight)| **weight > 0.0);
    let run: Vec<Part<'_>> =
        weighted.clone().map(|((table, records), _)| Part { table, records: records.to_vec() }).collect();
    let average = &Average { weights: weighted.map(|(_, weight)| *weight).collect(), ..average.clone() };
    let mut columns: Vec<Column> = run.iter().flat_map(|part| part.table.columns.clone()).collect();
    columns.sort();
    columns.dedup();
    let mut modes = BTreeMap::from([("run", scores("run", average, &run, &columns, subjects, pairs))]);
    for mode in Mode::ALL {
        let rescored: Vec<Option<Vec<Record>>> = run.iter().map(|part| in_mode(&part.records, mode)).collect();
        if rescored.iter().any(Option::is_some) {
            let parts = run.iter().zip(&rescored).map(|(part, rescored)| Part {
                records: rescored.as_ref().map_or_else(|| part.records.clone(), |rescored| rescored.iter().collect()),
                ..*part
            });
            let parts: Vec<_> = parts.collect();
            modes.insert(mode.name(), scores(mode.name(), average, &parts, &columns, subjects, pairs));
        }
    }
    let mut tasks: Vec<String> = run.iter().map(|part| part.table.task.clone()).collect();
    tasks.dedup();
    Table {
        name: format!("{}: {}{told}", group.family, average.name),
        task: group.family.to_owned(),
        family: group.family.to_owned(),
        scorer: String::new(),
        mode: group.mode,
        tasks,
        n_of: average.n_of,
        columns,
        scores: modes,
    }
}

/// Scores of an average. At a place where a task has no sample the others take its weight.
fn scores(
    mode: &str,
    average: &Average,
    parts: &[Part<'_>],
    columns: &[Column],
    subjects: &[Subject],
    pairs: &[(usize, usize)],
) -> Scores {
    let mut by_place: Vec<Vec<Vec<Vec<&Record>>>> =
        vec![vec![vec![Vec::new(); parts.len()]; columns.len()]; subjects.len()];
    for (at, part) in parts.iter().enumerate() {
        for record in part.records.iter().filter(|record| record.answer().is_some()) {
            let own = subject(record);
            let line = subjects.iter().position(|subject| is_same(subject, &own));
            let places = (0..columns.len()).filter(|place| holds(&columns[*place], record));
            if let Some(line) = line {
                places.for_each(|place| by_place[line][place][at].push(record));
            }
        }
    }
    let names: Vec<&str> = parts.iter().map(|part| &*part.table.task).collect();
    let cell = |line: usize, place: usize| {
        let of_parts: Vec<Option<&Cell>> = parts
            .iter()
            .map(|part| {
                let own = part.table.columns.iter().position(|column| *column == columns[place])?;
                part.table.under(mode).cells[line][own].as_ref().filter(|cell| cell.n > 0)
            })
            .collect();
        average.of(&names, &of_parts)
    };
    let mut differences = Vec::new();
    for (subject, reference) in pairs {
        for (column, (ours, theirs)) in by_place[*subject].iter().zip(&by_place[*reference]).enumerate() {
            let weights = average.weights_where(&names, |at| !ours[at].is_empty() && !theirs[at].is_empty());
            let compared: Vec<Compared<'_>> = (0..parts.len())
                .filter(|at| weights[*at] > 0.0)
                .map(|at| Compared { ours: &ours[at], reference: &theirs[at], weight: weights[at] })
                .collect();
            let found = if compared.is_empty() { None } else { compare(&compared) };
            let at = |difference| Against { subject: *subject, reference: *reference, column, difference };
            differences.extend(found.map(at));
        }
    }
    let cells = (0..subjects.len()).map(|line| (0..columns.len()).map(|place| cell(line, place)).collect()).collect();
    Scores { cells, differences }
}
