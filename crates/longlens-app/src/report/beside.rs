//! Published numbers beside ours, and what our protocol has otherwise.

use longlens_eval::published::{Fit, Published, published};
use longlens_eval::scorers::{Mode, Scorer};
use longlens_eval::tasks::Task;
use serde::Serialize;

use longlens_eval::evaluate::Record;

use super::tables::{Table, Tables};

/// What papers say of the tasks of a report.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Beside {
    /// Numbers of a model of the report, or of one of its family.
    pub fitting: Vec<Fitting>,
    /// Numbers of other models.
    pub others: Vec<Published>,
    /// For each task's table what was done otherwise than the task does by itself, as sentences.
    pub protocol: Vec<Vec<String>>,
}

/// A published number with the places of ours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fitting {
    /// What is published.
    #[serde(flatten)]
    pub published: Published,
    /// Whether a model of the report is the published one.
    pub fit: Fit,
    /// Ours of the same task and length.
    pub ours: Vec<Ours>,
}

/// The place of a score of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ours {
    /// `tasks` or `families`.
    pub list: &'static str,
    /// The table in it.
    pub table: usize,
    /// The line.
    pub subject: usize,
    /// The column.
    pub column: usize,
}

/// Published numbers for the tasks of a report.
pub fn beside(records: &[Record], tables: &Tables) -> Beside {
    let mut beside = Beside::default();
    for one in published().filter(|one| tables.tasks.iter().chain(&tables.families).any(|table| table.task == one.task))
    {
        let fits: Vec<Option<Fit>> = tables.subjects.iter().map(|subject| one.fits(&subject.model)).collect();
        match fits.iter().flatten().max() {
            None => beside.others.push(one),
            Some(fit) => beside.fitting.push(Fitting { published: one, fit: *fit, ours: ours(&one, &fits, tables) }),
        }
    }
    beside.protocol = tables.tasks.iter().map(|table| protocol(table, records)).collect();
    beside
}

/// Scores of the models that fit, of the same task and length.
fn ours(one: &Published, fits: &[Option<Fit>], tables: &Tables) -> Vec<Ours> {
    let lists = [("tasks", &tables.tasks), ("families", &tables.families)];
    let mut ours = Vec::new();
    for (list, of) in lists {
        for (table, of) in of.iter().enumerate().filter(|(_, table)| table.task == one.task) {
            let columns =
                of.columns.iter().enumerate().filter(|(_, column)| column.length == one.length || one.length.is_none());
            for (column, _) in columns {
                let subjects = fits.iter().enumerate().filter(|(_, fit)| fit.is_some());
                let is_there = |subject: usize| of.under("run").cells[subject][column].is_some();
                let found = subjects.filter(|(subject, _)| is_there(*subject));
                ours.extend(found.map(|(subject, _)| Ours { list, table, subject, column }));
            }
        }
    }
    ours
}

/// What the runs of a table have otherwise than the task by itself, which repeats the script that published numbers are from.
fn protocol(table: &Table, records: &[Record]) -> Vec<String> {
    let mut said = Vec::new();
    let Ok(setting) = Task::parse(&table.name) else { return said };
    for (name, value) in setting.given() {
        let param = setting.info().params.iter().find(|param| param.name == name);
        let own = param.map(|param| param.default.to_string()).unwrap_or_default();
        if own != value.to_string() && name != "mode" {
            let own = if own.is_empty() { "nothing".to_owned() } else { own };
            said.push(format!("{name} is {value}, by itself it is {own}"));
        }
    }
    if table.mode == Mode::Fixed {
        let mended = Scorer::named(&table.scorer).map(|scorer| scorer.fixed).unwrap_or_default();
        let mended = if mended.is_empty() { String::new() } else { format!("; of the score: {mended}") };
        said.push(format!("mode fixed: prompts and scores are right where the script is wrong{mended}"));
    }
    let of_table = || records.iter().filter(|record| record.task == table.task);
    let template = of_table().map(|record| &*record.template).find(|template| *template != "off");
    if let Some(template) = template {
        said.push(format!("prompts are wrapped in the template `{template}`"));
    }
    said
}
