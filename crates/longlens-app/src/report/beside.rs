//! Published numbers beside ours, and what our protocol has otherwise.

use std::collections::BTreeSet;

use longlens_core::setting::Setting;
use longlens_eval::evaluate::{Record, without_amounts};
use longlens_eval::published::{Fit, Published, published};
use longlens_eval::scorers::{Mode, Scorer};
use longlens_eval::tasks::Task;
use serde::Serialize;

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
    // a table may hold samples of several settings, which differ in how many were asked for
    let of_table = records.iter().filter(|record| without_amounts(&record.setting) == table.name);
    let texts: BTreeSet<&str> = of_table.map(|record| &*record.setting).collect();
    let settings: Vec<Setting> = texts.iter().filter_map(|text| Task::parse(text).ok()).collect();
    let given: Vec<_> = settings.iter().flat_map(Setting::given).collect();
    let Some(info) = settings.first().map(Setting::info) else { return said };
    for param in info.params.iter().filter(|param| !["mode", "length"].contains(&param.name)) {
        let values = given.iter().filter(|(name, _)| *name == param.name).map(|(_, value)| value.to_string());
        let own = param.default.to_string();
        let others: BTreeSet<String> = values.filter(|value| *value != own).collect();
        if !others.is_empty() {
            let own = if own.is_empty() { "nothing".to_owned() } else { own };
            let others: Vec<_> = others.into_iter().collect();
            said.push(format!("{} is {}, by itself it is {own}", param.name, others.join(" or ")));
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
