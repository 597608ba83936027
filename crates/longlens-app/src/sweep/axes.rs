//! What varies in a sweep, and the runs that this makes.

use std::collections::HashSet;

use longlens_core::nearest::nearest;
use longlens_core::setting::Param;
use longlens_core::{methods, rope};
use longlens_eval::tasks::TASKS;
use toml::{Table, Value};

use super::{Unit, is_taken};
use crate::distinct::distinct;
use crate::problem::Problem;

/// What a sweep may say of its runs, with what it means.
pub const AXES: [(&str, &str); 21] = [
    ("model", "a folder, a file, `org/name`, or `embedded`"),
    ("device", "`cpu`, `wgpu` or `cuda`"),
    ("weights", "how matrices are kept in memory"),
    ("adapter", "a LoRA adapter"),
    ("kv_offload", "keys and values in the host's memory"),
    ("trained_context", "tokens that the model counts as trained on"),
    ("method", "attention method, as text"),
    ("rope", "RoPE scaling, as text"),
    ("prefill_chunk", "tokens of a prefill step"),
    ("layer_windows", "windows that layers have of their own"),
    ("task", "task, as text, or the name of a family"),
    ("length", "tokens of prompt and answer, of tasks that have lengths"),
    ("samples", "samples of a task, where it can be asked for so many"),
    ("seed", "start of the random numbers, of tasks that draw some"),
    ("mode", "`faithful` or `fixed`, of tasks that have both"),
    ("template", "what prompts are wrapped in, of tasks that have a choice"),
    ("haystack", "text around what is hidden, of tasks that hide something: a file, or a folder of texts"),
    ("limit", "tokens of prompt and answer at most"),
    ("too_long", "`skip` or `cut`"),
    ("attention", "whether attention to the evidence is recorded"),
    (
        "NAME.PARAMETER",
        "a parameter of the method, scaling or task of this name; NAME may be `method`, `rope` or `task`",
    ),
];

/// A run as texts, by name of the axis; of a name that is there twice the last counts.
pub type Given = Vec<(String, String)>;

/// What varies.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axes {
    /// What all runs have in common.
    pub fixed: Given,
    /// Values of which every combination is run, the last name fastest.
    pub grid: Vec<(String, Vec<String>)>,
    /// Lists of equal length that go side by side; several of them are combined.
    pub zip: Vec<Vec<(String, Vec<String>)>>,
    /// Runs that are written out, in place of the one that all have in common.
    pub list: Vec<Given>,
}

/// What a sweep file says beside its axes.
const OWN: [&str; 2] = ["name", "out"];
/// Runs of one sweep at most.
const MOST_UNITS: usize = 100_000;

impl Axes {
    /// Reads what a sweep file says. Names that nothing knows, values that are none, and lists of different lengths are errors.
    pub fn of(file: &Table) -> Result<Self, Problem> {
        let mut axes = Self::default();
        for (key, value) in file {
            match (key.as_str(), value) {
                (own, Value::String(_)) if OWN.contains(&own) => (),
                ("fixed", Value::Table(table)) => {
                    for (name, value) in flat(table) {
                        axes.fixed.push((known(&name)?, one(&name, value)?));
                    }
                }
                ("grid", Value::Table(table)) => axes.grid = lists(table)?,
                ("zip", Value::Table(table)) => axes.zip.push(side_by_side(table)?),
                ("zip", Value::Array(tables)) => {
                    for table in tables {
                        axes.zip.push(side_by_side(as_table("zip", table)?)?);
                    }
                }
                ("list", Value::Array(tables)) => {
                    for table in tables {
                        let values = flat(as_table("list", table)?);
                        let run = values.into_iter().map(|(name, value)| Ok((known(&name)?, one(&name, value)?)));
                        axes.list.push(run.collect::<Result<_, Problem>>()?);
                    }
                }
                (other, _) => {
                    let near = nearest(other, ["name", "out", "fixed", "grid", "zip", "list"]);
                    let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                    return Err(Problem::new(
                        format!("a sweep has no `{other}`, or it is of another type"),
                        format!(
                            "give texts `name` and `out`, tables [fixed], [grid] and [zip], and tables [[zip]] and [[list]]{near}"
                        ),
                    ));
                }
            }
        }
        Ok(axes)
    }

    /// Names of settings that change none of the runs, since no task, method or scaling of them has it.
    pub fn idle(&self, units: &[Unit]) -> Vec<String> {
        let lists = self.grid.iter().chain(self.zip.iter().flatten()).map(|(name, _)| name);
        let single = self.fixed.iter().chain(self.list.iter().flatten()).map(|(name, _)| name);
        let names = distinct(single.chain(lists).cloned());
        names.into_iter().filter(|name| !units.iter().any(|unit| is_taken(name, unit))).collect()
    }

    /// Adds an axis of values, as `--set method.group_size=1,2,4` names them. Values with commas of their own are separated by `;`.
    pub fn set(&mut self, text: &str) -> Result<(), Problem> {
        let (name, values) = text.split_once('=').ok_or_else(|| {
            Problem::new(format!("`{text}` names no values"), "write it as `length=512,1k`".to_owned())
        })?;
        let name = known(name.trim())?;
        let by = if values.contains(';') || values.contains(':') { ';' } else { ',' };
        let values: Vec<String> =
            values.split(by).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect();
        if values.is_empty() {
            return Err(Problem::new(format!("`{text}` names no values"), None));
        }
        self.fixed.retain(|(given, _)| *given != name);
        self.grid.retain(|(given, _)| *given != name);
        self.grid.push((name, values));
        Ok(())
    }

    /// The runs, each once, in the order in which they are named.
    pub fn units(&self) -> Result<Vec<Unit>, Problem> {
        let mut runs: Vec<Given> = vec![self.fixed.clone()];
        if !self.list.is_empty() {
            runs = self.list.iter().map(|run| [self.fixed.clone(), run.clone()].concat()).collect();
        }
        for zip in &self.zip {
            let n = zip.first().map_or(0, |(_, values)| values.len());
            let rows = (0..n).map(|at| zip.iter().map(|(name, values)| (name.clone(), values[at].clone())).collect());
            runs = combined(&runs, &rows.collect::<Vec<Vec<_>>>())?;
        }
        for (name, values) in &self.grid {
            let rows: Vec<_> = values.iter().map(|value| vec![(name.clone(), value.clone())]).collect();
            runs = combined(&runs, &rows)?;
        }
        let (mut units, mut seen) = (Vec::new(), HashSet::new());
        for run in runs {
            for unit in Unit::of(&run)? {
                if seen.insert(format!("{unit:?}")) {
                    units.push(unit);
                }
            }
        }
        Ok(units)
    }
}

fn combined(runs: &[Given], with: &[Given]) -> Result<Vec<Given>, Problem> {
    if runs.len().saturating_mul(with.len()) > MOST_UNITS {
        let help = "leave out some values, or make several sweeps".to_owned();
        return Err(Problem::new(format!("the sweep has more than {MOST_UNITS} runs"), help));
    }
    Ok(runs.iter().flat_map(|run| with.iter().map(|row| [run.clone(), row.clone()].concat())).collect())
}

/// Entries of a table; those of tables in it have both names with a point between.
fn flat(table: &Table) -> Vec<(String, &Value)> {
    let entries = table.iter().flat_map(|(name, value)| match value {
        Value::Table(inner) => {
            flat(inner).into_iter().map(|(below, value)| (format!("{name}.{below}"), value)).collect::<Vec<_>>()
        }
        value => vec![(name.clone(), value)],
    });
    entries.collect()
}

/// The name of an axis.
fn known(name: &str) -> Result<String, Problem> {
    let names = AXES.iter().map(|(name, _)| *name);
    if names.clone().any(|axis| axis == name) {
        return Ok(name.to_owned());
    }
    if let Some((owner, parameter)) = name.split_once('.') {
        let has = |params: &[Param]| params.iter().any(|param| param.name == parameter);
        let tasks = TASKS.iter().filter(|task| owner == "task" || task.info.name == owner).map(|task| task.info);
        let methods = methods::INFOS.iter().copied().filter(|info| owner == "method" || info.name == owner);
        let ropes = rope::SCALINGS.iter().copied().filter(|info| owner == "rope" || info.name == owner);
        if tasks.chain(methods).chain(ropes).any(|info| has(info.params)) || parameter == "heads" {
            return Ok(name.to_owned());
        }
        return Err(Problem::new(
            format!("nothing called `{owner}` has a parameter `{parameter}`"),
            "`longlens methods` and `longlens tasks` list them".to_owned(),
        ));
    }
    let near = nearest(name, names.clone()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    let all: Vec<_> = names.collect();
    Err(Problem::new(format!("a sweep has no axis `{name}`"), format!("one of: {}{near}", all.join(", "))))
}

/// A value as text.
fn one(name: &str, value: &Value) -> Result<String, Problem> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Array(_) => Err(Problem::new(
            format!("`{name}` is a list where one value is asked for"),
            "several values belong under [grid] or [[zip]]".to_owned(),
        )),
        Value::Datetime(_) | Value::Table(_) => Err(Problem::new(format!("`{name}` is neither text nor number"), None)),
    }
}

/// Lists of values by name; a value by itself is a list of one.
fn lists(table: &Table) -> Result<Vec<(String, Vec<String>)>, Problem> {
    let list = |(name, value): (String, &Value)| {
        let values = match value {
            Value::Array(values) => values.iter().map(|value| one(&name, value)).collect::<Result<Vec<_>, _>>()?,
            value => vec![one(&name, value)?],
        };
        if values.is_empty() {
            return Err(Problem::new(format!("the list of `{name}` is empty"), None));
        }
        Ok((known(&name)?, values))
    };
    flat(table).into_iter().map(list).collect()
}

fn side_by_side(table: &Table) -> Result<Vec<(String, Vec<String>)>, Problem> {
    let lists = lists(table)?;
    if let [(first, values), rest @ ..] = &lists[..]
        && let Some((other, others)) = rest.iter().find(|(_, others)| others.len() != values.len())
    {
        return Err(Problem::new(
            format!("`{first}` has {} values and `{other}` {}, which go side by side", values.len(), others.len()),
            "give both as many, or put one under [grid]".to_owned(),
        ));
    }
    Ok(lists)
}

fn as_table<'a>(name: &str, value: &'a Value) -> Result<&'a Table, Problem> {
    value
        .as_table()
        .ok_or_else(|| Problem::new(format!("an entry of `{name}` is no table"), format!("write [[{name}]]")))
}
