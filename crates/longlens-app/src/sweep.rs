//! Sweeps: which runs a file or the flags of a command ask for, and running them.
//!
//! A sweep is a list of [`Unit`]s, each a task under a method on a model. `fixed` says what all have in common, `grid` lists values of which
//! every combination is run, `zip` lists that go side by side, and `list` runs that are written out:
//!
//! ```toml
//! name = "windows"
//! out = "windows"
//! [fixed]
//! model = "embedded"
//! task = "passkey:samples=2"
//! [grid]
//! length = ["512", "1k"]
//! method = ["full", "self_extend"]
//! "self_extend.group_size" = [2, 4]
//! [[zip]]
//! rope = ["none", "linear:factor=2"]
//! trained_context = [256, 512]
//! ```

use longlens_core::methods::Method;
use longlens_core::nearest::nearest;
use longlens_core::rope::RopeScaling;
use longlens_core::setting::{Setting, Value};
use longlens_eval::evaluate::{Options, TooLong};
use longlens_eval::scorers::Mode;
use longlens_eval::tasks::{TASKS, Task};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::settings::Settings;
use crate::settings::params::{TRAINED_CONTEXT, param};

mod axes;
mod evaluation;
mod run;
mod shard;
#[cfg(test)]
mod tests;

pub use self::axes::{AXES, Axes};
pub use self::evaluation::Evaluation;
pub use self::run::{Done, Forecast, Job, On, Watch, forecast, run, run_unit};
pub use self::shard::Shard;

/// One task under one method on one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// How the model is opened.
    pub opening: Opening,
    /// What decides a run of it.
    pub settings: Settings,
    /// The task with its settings.
    pub task: Setting,
    /// How samples are run.
    pub options: Options,
    /// Whether the task was asked for by the name of its family: then one that lacks a file is left out, and no error.
    pub of_family: bool,
}

/// How a model is opened; what is absent is as usual.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Opening {
    /// As `--model` takes it.
    pub model: String,
    /// `cpu`, `wgpu` or `cuda`.
    pub device: Option<String>,
    /// How matrices are kept.
    pub weights: Option<String>,
    /// A LoRA adapter.
    pub adapter: Option<String>,
    /// Whether keys and values stay in the host's memory.
    pub kv_offload: bool,
}

impl Unit {
    /// The unit that texts ask for, by name of the axis. Names that are no axis, values that it does not take and settings that the
    /// method, the scaling or the task do not have are errors.
    pub fn of(given: &[(String, String)]) -> Result<Vec<Self>, Problem> {
        let get = |name: &str| given.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let opening = Opening {
            model: get("model").unwrap_or("embedded").to_owned(),
            device: get("device").map(str::to_owned),
            weights: get("weights").map(str::to_owned),
            adapter: get("adapter").map(str::to_owned),
            kv_offload: get("kv_offload").map(|text| truth("kv_offload", text)).transpose()?.unwrap_or(false),
        };
        let mut settings = Settings::default();
        if let Some(text) = get("method") {
            settings.method = Method::parse(text)?;
        }
        settings.rope = get("rope").map(RopeScaling::parse).transpose()?;
        for name in ["prefill_chunk", "layer_windows"] {
            if let Some(text) = get(name) {
                let param = param(name);
                settings.set(param, &param.read(text)?)?;
            }
        }
        if let Some(text) = get(TRAINED_CONTEXT.name) {
            let tokens = TRAINED_CONTEXT.read(text)?;
            TRAINED_CONTEXT.check(&tokens)?;
            settings.trained_context = Some(tokens.number() as usize);
        }
        let options = Options {
            limit: get("limit").map(|text| count("limit", text)).transpose()?,
            too_long: match get("too_long") {
                None | Some("skip") => TooLong::Skip,
                Some("cut") => TooLong::Cut,
                Some(other) => return Err(not_taken("too_long", other, "`skip` or `cut`")),
            },
            attention: get("attention").map(|text| truth("attention", text)).transpose()?.unwrap_or(false),
        };
        if let Some(mode) = get("mode").filter(|mode| Mode::ALL.iter().all(|known| known.name() != *mode)) {
            return Err(not_taken("mode", mode, "`faithful` or `fixed`"));
        }
        if let Some(name) = get("haystack").filter(|name| name.contains(',')) {
            let help = "give it, or a link to it, another name: settings of a task are separated by commas".to_owned();
            return Err(Problem::new(format!("`haystack` cannot be called `{name}`"), help));
        }
        let Some(text) = get("task") else {
            return Err(Problem::new(
                "a run has no task",
                "name one with `task`; `longlens tasks` lists them".to_owned(),
            ));
        };
        let mut units = Vec::new();
        let tasks = tasks(text)?;
        let of_family = tasks.len() > 1;
        for mut task in tasks {
            let mut settings = settings.clone();
            for name in OF_TASKS {
                let has = task.info().params.iter().any(|param| param.name == name);
                // what a task says of itself is meant for it alone
                if let Some(value) = get(name).filter(|_| has && !task.is_given(name)) {
                    task.set(name, &Value::read(value))?;
                }
            }
            for (key, value) in given.iter().filter(|(key, _)| key.contains('.')) {
                set_within(key, value, &mut task, &mut settings)?;
            }
            units.push(Self { opening: opening.clone(), settings, task, options: options.clone(), of_family });
        }
        Ok(units)
    }
}

/// The tasks that a text names: one with its settings, or all of a family, each with those of the settings that it has.
pub fn tasks(text: &str) -> Result<Vec<Setting>, Problem> {
    let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let of_family: Vec<_> = TASKS.iter().filter(|task| task.family == name.trim()).collect();
    // a task may be called as its family
    if of_family.is_empty() || Task::named(name.trim()).is_some() {
        let name = name.trim();
        let is_like_a_task = nearest(name, TASKS.iter().map(|task| task.info.name)).is_some();
        // a family may be meant
        if !is_like_a_task && let Some(family) = nearest(name, TASKS.iter().map(|task| task.family)) {
            let help = format!("did you mean the tasks of `{family}`?");
            return Err(Problem::new(format!("unknown task `{name}`"), help));
        }
        return Ok(vec![Task::parse(text)?]);
    }
    let pairs: Vec<&str> = rest.into_iter().flat_map(|rest| rest.split(',')).collect();
    let has = |task: &Task, pair: &str| {
        let name = pair.split('=').next().unwrap_or_default().trim();
        task.info.params.iter().any(|param| param.name == name || !name.is_empty() && param.alias == name)
    };
    // a setting that none of them has is refused
    let is_meant = |task: &Task, pair: &str| has(task, pair) || !of_family.iter().any(|other| has(other, pair));
    let with = |task: &Task| {
        let own: Vec<&str> = pairs.iter().copied().filter(|pair| is_meant(task, pair)).collect();
        if own.is_empty() { task.info.name.to_owned() } else { format!("{}:{}", task.info.name, own.join(",")) }
    };
    of_family.iter().map(|task| Ok(Task::parse(&with(task))?)).collect()
}

/// Settings of tasks that have them, under names without the task's.
const OF_TASKS: [&str; 6] = ["length", "samples", "seed", "mode", "template", "haystack"];

/// Sets `NAME.PARAMETER`: where the name is that of a method, a scaling or a task, it is for runs of that one; `method.`, `rope.` and
/// `task.` are for all.
fn set_within(key: &str, value: &str, task: &mut Setting, settings: &mut Settings) -> Result<(), Problem> {
    let Some((owner, name)) = key.split_once('.') else { return Ok(()) };
    let read = Value::read(value);
    if owner == "task" || owner == task.info().name {
        task.set(name, &read)?;
    }
    let method = settings.method.setting().map(|setting| setting.info().name);
    if owner == "method" || Some(owner) == method {
        settings.method = settings.method.clone().with(name, &read)?;
    }
    if let Some(rope) = &settings.rope
        && (owner == "rope" || owner == rope.setting().info().name)
    {
        settings.rope = Some(rope.clone().with(name, &read)?);
    }
    Ok(())
}

/// Whether a setting of this name changes a run.
fn is_taken(key: &str, unit: &Unit) -> bool {
    let task = unit.task.info();
    let Some((owner, _)) = key.split_once('.') else {
        return !OF_TASKS.contains(&key) || task.params.iter().any(|param| param.name == key);
    };
    let method = unit.settings.method.setting().map(|setting| setting.info().name);
    let is_of_rope =
        unit.settings.rope.as_ref().is_some_and(|rope| ["rope", rope.setting().info().name].contains(&owner));
    ["task", "method", task.name].contains(&owner) || Some(owner) == method || is_of_rope
}

fn truth(name: &str, text: &str) -> Result<bool, Problem> {
    match text {
        "true" | "on" => Ok(true),
        "false" | "off" => Ok(false),
        other => Err(not_taken(name, other, "`true` or `false`")),
    }
}

fn count(name: &str, text: &str) -> Result<usize, Problem> {
    let number = longlens_core::setting::whole(text).filter(|number| *number > 0);
    number
        .map(|number| number as usize)
        .ok_or_else(|| not_taken(name, text, "a whole number of at least 1, as 4096 or 4k"))
}

fn not_taken(name: &str, value: &str, expected: &str) -> Problem {
    Problem::new(format!("`{name}` is `{value}`, which is not {expected}"), None)
}
