//! Tasks of evaluations: their samples under methods, each kept as soon as it is finished.

use rhai::plugin::*;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::{Dynamic, Map};

    use crate::host::{Returned, host};
    use crate::values::Table;

    /// Runs the samples of tasks, one or a list of them, on the open model under plain attention: a row of scores with 95 % intervals for
    /// each task, length and part, and a picture of them. A task is a text, with settings behind a colon; the name of a family, as
    /// `"ruler"`, stands for all of its tasks (`tasks()` lists them). Finished samples are kept: the same call again, with more methods,
    /// lengths or samples, runs only what is missing.
    ///
    /// ```rhai
    /// evaluate("niah_single_1:samples=1,length=1k")
    /// ```
    #[rhai_fn(name = "evaluate", return_raw)]
    pub fn evaluate(context: NativeCallContext, tasks: Dynamic) -> Returned<Table> {
        super::evaluate(&context, &tasks, Map::new())
    }

    /// The same with options: `methods` (or `method`), `lengths` (of prompt and answer together), `samples`, `seed`, `mode` (`"faithful"`
    /// repeats the scripts that published numbers came from, `"fixed"` is right where they are wrong), `template` and `haystack` (a file or folder of texts) go to every task
    /// that has such a setting; `limit` (tokens of prompt and answer at most) with `too_long` (`"skip"` or `"cut"`); `attention` (true to
    /// record how much every head attends to the evidence); `rope`, `layer_windows`, `model` (a handle or a name, for this call alone);
    /// `rows` (`"depths"` for a row of every depth, of one task that has several, or `"samples"` for one of every sample with its answer, in
    /// place of `"scores"`); `file` keeps every sample as a JSON line
    /// in a file, as `longlens evaluate` keeps those of a folder, so that other sessions go on with them.
    ///
    /// ```rhai
    /// evaluate("passkey:depths=2", #{ lengths: [200, 400], samples: 1, methods: [full(), "streaming:window=64"] })
    /// ```
    #[rhai_fn(name = "evaluate", return_raw)]
    pub fn evaluate_with(context: NativeCallContext, tasks: Dynamic, options: Map) -> Returned<Table> {
        super::evaluate(&context, &tasks, options)
    }

    /// Every task of evaluations: name, family, how many settings it has, and what it asks.
    ///
    /// ```rhai
    /// tasks().filter(|task| task.family == "ruler")
    /// ```
    #[rhai_fn(name = "tasks")]
    pub fn tasks() -> Table {
        super::tasks()
    }

    /// The settings of a task: name, default, values and what each is for; of a family its tasks.
    ///
    /// ```rhai
    /// tasks("ruler_vt")
    /// ```
    #[rhai_fn(name = "tasks", return_raw)]
    pub fn settings_of(task: &str) -> Returned<Table> {
        super::settings(task)
    }

    /// A sample of a task by its number, from 0, as it is fed to the open model: a map of `id`, `prompt`, `tokens` (how many), `answers`,
    /// `length`, `depth`, `part` and `scorer`, of which those that it lacks are `()`.
    ///
    /// ```rhai
    /// task_sample("ruler_vt:length=2k", 0).answers
    /// ```
    #[rhai_fn(name = "task_sample", return_raw)]
    pub fn task_sample(context: NativeCallContext, task: &str, at: i64) -> Returned<Map> {
        super::sample(&host(&context), task, at)
    }
}

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Instant;

use longlens_app::Problem;
use longlens_app::results::counted;
use longlens_app::settings::{Settings, params};
use longlens_app::sweep::{Axes, Unit};
use longlens_app::views;
use longlens_core::lens::LensError;
use longlens_core::setting::Setting;
use longlens_core::trace::RunRecord;
use longlens_eval::EvalError;
use longlens_eval::evaluate::{
    Attended, Counted, Entry, Outcome, Record, Run, Store, Subject, With, listing, without_amounts,
};
use longlens_eval::sample::{Prompt, Rule};
use longlens_eval::tasks::{Ask, Files, TASKS, Task};
use longlens_plot::color::Palette;
use rhai::{Array, Dynamic, Map, NativeCallContext};

use super::calls::{self, within};
use super::evaluate::with_setups;
use super::files::check_data;
use crate::host::files::MAX_BYTES;
use crate::host::{Host, OpenModel, Returned, host, raise, refuse};
use crate::options::{Options, each, wrong};
use crate::table::{Datum, Table as Rows};
use crate::values::{Method, Table, string};

/// What a call of `evaluate` asks for.
struct Asked {
    units: Vec<Unit>,
    methods: Vec<Method>,
    /// `rope` and `layer_windows`.
    conditions: Settings,
    model: Rc<OpenModel>,
}

fn evaluate(context: &NativeCallContext, tasks: &Dynamic, options: Map) -> Returned<Table> {
    let host = host(context);
    let known = [
        "methods",
        "method",
        "lengths",
        "samples",
        "seed",
        "mode",
        "template",
        "haystack",
        "limit",
        "too_long",
        "attention",
        "rope",
        "layer_windows",
        "model",
        "rows",
        "file",
    ];
    let mut options = Options::new("evaluate", options, &known)?;
    let model = calls::model(&host, &mut options)?;
    let of = options.word("rows", &["scores", "depths", "samples"])?;
    let file = options.text("file")?;
    let (units, idle) = units(tasks, &mut options)?;
    host.caution(&idle);
    let asked =
        Asked { units, methods: calls::methods(&mut options)?, conditions: calls::conditions(&mut options)?, model };
    let mut kept = Kept::open(&host, file.as_deref())?;
    let records = asked.run(context, &mut kept)?;
    let runs = distinct_runs(&records);
    for run in &runs {
        host.ran(run);
    }
    if of == Some("samples") {
        return Ok(samples_table(&records, runs));
    }
    match views::scores::scores(&records, Palette::default()) {
        Some(view) => scores_table(&Table::of_view(&view, runs)?, of == Some("depths")),
        None => Ok(Table::plain(Rows::default())),
    }
}

/// The rows of whole tasks, or those of single depths.
fn scores_table(table: &Table, by_depth: bool) -> Returned<Table> {
    let Some(depth) = table.0.table.columns().iter().position(|column| column == "depth") else {
        return Ok(table.clone());
    };
    let kept = table.keeping(|row| (row[depth] != Datum::Empty) == by_depth)?;
    if by_depth && kept.0.table.is_empty() {
        return refuse(
            "rows by depth are of one task with two depths or more",
            "leave `rows` out, or name one task with `depths`",
        );
    }
    Ok(kept)
}

/// The tasks at every length, each once, and what is to be told of options that none of them has.
fn units(tasks: &Dynamic, options: &mut Options) -> Returned<(Vec<Unit>, Vec<String>)> {
    let named = each(tasks, |task| task.clone().into_string().ok())
        .ok_or_else(|| wrong("what `evaluate` runs", "a task or a list of them, as \"ruler_vt\"", tasks))?;
    if named.is_empty() {
        return refuse("there are no tasks to evaluate", "name one, as in evaluate(\"passkey\"); tasks() lists them");
    }
    let mut axes = Axes { grid: vec![("task".to_owned(), named)], ..Axes::default() };
    if let Some(lengths) = options.counts("lengths")? {
        if lengths.is_empty() {
            return refuse("there are no lengths", "give at least one, or leave `lengths` out");
        }
        lengths.iter().try_for_each(|length| within("length", *length, params::MAX_PROMPT))?;
        axes.grid.push(("length".to_owned(), lengths.iter().map(ToString::to_string).collect()));
    }
    for name in ["samples", "seed", "limit"] {
        if let Some(count) = options.count(name)? {
            within(name, count, u32::MAX as usize)?;
            axes.fixed.push((name.to_owned(), count.to_string()));
        }
    }
    for name in ["mode", "template", "haystack", "too_long"] {
        axes.fixed.extend(options.text(name)?.map(|text| (name.to_owned(), text)));
    }
    axes.fixed.extend(options.flag("attention")?.map(|flag| ("attention".to_owned(), flag.to_string())));
    let units = axes.units().map_err(raise)?;
    let idle = axes.idle(&units).into_iter().map(|name| format!("`{name}` changes nothing: no run has it"));
    Ok((units, idle.collect()))
}

impl Asked {
    /// Runs what is missing; returns all samples that were asked for, by task, method and number.
    fn run(&self, context: &NativeCallContext, kept: &mut Kept) -> Returned<Vec<Record>> {
        let (host, started) = (host(context), Instant::now());
        let files: Rc<dyn Files> = Rc::new(OfCells(host.clone()));
        let n_parts = self.units.len() * self.methods.len();
        let (mut records, mut refused, mut left_out) = (Vec::new(), None, Vec::new());
        // what is wrong with one of several is told, and the others are run
        let are_several = self.units.len() > 1;
        for (place, unit) in self.units.iter().enumerate() {
            let made = self.model.text(|codec| {
                let mut work = host.work(format!("samples of {}", unit.task.info().name));
                let counted = counted(None, &unit.task, &self.model.info.spec, codec, &files, &mut work);
                Ok(counted.and_then(|counted| unit.options.check(&counted).map(|()| counted)))
            });
            let mut made = match made? {
                Err(error) if unit.of_family && error.lacks_a_file() => {
                    // at every length
                    if !left_out.contains(&unit.task.info().name) {
                        left_out.push(unit.task.info().name);
                    }
                    refused.get_or_insert(error);
                    continue;
                }
                Err(error) if are_several && !matches!(error, EvalError::Lens(LensError::Cancelled)) => {
                    host.caution(&[format!("not run: {}: {error}", unit.task)]);
                    refused.get_or_insert(error);
                    continue;
                }
                made => made.map_err(raise)?,
            };
            host.caution(&made.notes);
            for (at, method) in self.methods.iter().enumerate() {
                let _part = host.part("evaluate", (place * self.methods.len() + at, n_parts, 0), started);
                records.extend(self.one(context, unit, method, &mut made, kept)?);
            }
        }
        if !left_out.is_empty() {
            host.caution(&[format!(
                "left out, as no file is named for them, or it is not there: {}",
                left_out.join(", ")
            )]);
        }
        match refused {
            Some(error) if records.is_empty() => Err(raise(error)),
            _ => Ok(records),
        }
    }

    /// Runs a task under a method; returns its samples.
    fn one(
        &self,
        context: &NativeCallContext,
        unit: &Unit,
        method: &Method,
        made: &mut Counted,
        kept: &mut Kept,
    ) -> Returned<Vec<Record>> {
        let (host, model) = (host(context), &self.model);
        let longest = made.entries.iter().map(|entry| entry.n_prompt).max().unwrap_or(1);
        let longest = longest.min(unit.options.limit.unwrap_or(usize::MAX)).max(1);
        let max_tokens = made.entries.iter().map(|entry| entry.max_tokens).max().unwrap_or(0).max(1);
        let conditions = Settings { max_tokens, ..self.conditions.clone() };
        let probe = Settings { method: method.of(context, longest + max_tokens)?, ..conditions.clone() };
        let probe = probe.setup(&model.info.spec, longest).map_err(raise)?;
        let mut subject = Subject::of(&model.info, model.opening.device.as_deref().unwrap_or("cpu"), &probe);
        // a name says nothing of what a written method does
        subject.spec.extend(method.rules(context));
        let task = Task::named(unit.task.info().name).expect("settings of tasks are made from the list");
        let run = Run { task, setting: &unit.task, subject: &subject, options: &unit.options };
        let mut work = host.work(format!("{} under {method}", task.info.name));
        let ran = with_setups(context, model, method, &conditions, max_tokens, |lens, setup_for| {
            let mut with = With { lens, setup_for, store: &mut *kept, control: &mut work };
            run.run(&mut with, made, &|_| true, &mut |_| ())
        });
        let tally = match ran {
            Ok(tally) => tally,
            Err(error) => {
                kept.advise();
                return Err(error);
            }
        };
        if tally.is_cancelled {
            kept.advise();
            return Err(raise(LensError::Cancelled));
        }
        run.keys_in(made, kept).iter().map(|key| kept.get(key)).collect()
    }
}

/// Finished samples: those of the session, and where a call names a file, a line for each there.
struct Kept {
    host: Rc<Host>,
    file: Option<String>,
    /// Keys of the file's lines.
    written: HashSet<String>,
    /// Samples that this call has finished.
    n_new: usize,
}

impl Kept {
    /// What is known already; an error when the file holds something else.
    fn open(host: &Rc<Host>, file: Option<&str>) -> Returned<Self> {
        let mut kept = Self { host: host.clone(), file: file.map(str::to_owned), written: HashSet::new(), n_new: 0 };
        let Some(name) = file else { return Ok(kept) };
        // its lines hold texts of cells
        check_data(host, name, true)?;
        let Some(bytes) = host.files().read_if_there(name, MAX_BYTES).map_err(raise)? else { return Ok(kept) };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            let is_last = line.as_ptr() == bytes[whole..].as_ptr();
            match serde_json::from_slice::<Record>(line) {
                Ok(record) => {
                    kept.written.insert(record.key.clone());
                    host.samples.borrow_mut().entry(record.key.clone()).or_insert_with(|| Rc::new(record));
                }
                // a line that a kill cut short is computed again
                Err(_) if is_last && (line.starts_with(START) || START.starts_with(line)) => {
                    host.files().replace(name, &bytes[..whole]).map_err(raise)?;
                }
                Err(error) => {
                    return refuse(
                        format!("`{name}`, line {}, is no finished sample: {error}", at + 1),
                        "name a new file, or one that `evaluate` wrote",
                    );
                }
            }
        }
        Ok(kept)
    }

    /// A finished sample. It is in the file afterwards.
    fn get(&mut self, key: &str) -> Returned<Record> {
        let found = self.host.samples.borrow().get(key).cloned();
        let Some(record) = found else {
            return refuse("a sample that was run is not there", "run the same call again");
        };
        self.write(&record).map_err(raise)?;
        Ok((*record).clone())
    }

    fn write(&mut self, record: &Record) -> Result<(), Problem> {
        let Some(name) = self.file.as_deref().filter(|_| !self.written.contains(&record.key)) else { return Ok(()) };
        let line = serde_json::to_string(record).map_err(|error| Problem::new(error.to_string(), None))?;
        self.host.files().add_line(name, &line)?;
        self.written.insert(record.key.clone());
        Ok(())
    }

    /// Says what becomes of what is finished, for a call that ends before its time.
    fn advise(&self) {
        if self.n_new > 0 {
            self.host.advise(format!("{} finished samples are kept: run the same call again to go on", self.n_new));
        }
    }
}

impl Store for Kept {
    fn listed(&mut self, key: &str) -> Option<String> {
        self.host.samples.borrow().get(key).map(|record| listing(&record.setting, record.length))
    }

    fn with_keys(&mut self, keys: &HashSet<&str>) -> Result<Vec<Record>, EvalError> {
        let samples = self.host.samples.borrow();
        Ok(keys.iter().filter_map(|key| samples.get(*key)).map(|record| (**record).clone()).collect())
    }

    fn claim(&mut self, _: &str) -> Result<bool, EvalError> {
        Ok(true)
    }

    fn finished(&mut self, record: &Record) -> Result<(), EvalError> {
        self.host.samples.borrow_mut().insert(record.key.clone(), Rc::new(record.clone()));
        self.n_new += 1;
        self.write(record).map_err(outside)
    }
}

/// What the line of a finished sample begins with.
const START: &[u8] = b"{\"key\":\"";

/// Files that tasks are made from, as far as cells may read them.
struct OfCells(Rc<Host>);

impl Files for OfCells {
    fn read(&self, name: &str) -> Result<Vec<u8>, EvalError> {
        self.0.files().read(name, MAX_BYTES).map_err(outside)
    }

    fn folder(&self, name: &str) -> Result<Option<Vec<String>>, EvalError> {
        // what cannot be listed is no folder, or is refused when it is read
        let Ok(entries) = self.0.files().list(name) else { return Ok(None) };
        let is_file = |(entry, is_folder): &(String, bool)| !is_folder && !entry.starts_with('.');
        let names = entries.iter().filter(|entry| is_file(entry)).map(|(entry, _)| format!("{name}/{entry}"));
        Ok(Some(names.collect()))
    }
}

fn outside(problem: Problem) -> EvalError {
    EvalError::Store { problem: problem.message, help: problem.help.unwrap_or_default() }
}

/// What ran, each once.
fn distinct_runs(records: &[Record]) -> Vec<RunRecord> {
    let mut runs: Vec<RunRecord> = Vec::new();
    for record in records {
        // prompts of one task differ in length by a token or two
        let run = RunRecord { n_prompt: 0, ..record.run.clone() };
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    runs
}

/// The mean attention of all heads to the evidence, where it was recorded and is known.
fn on_evidence(attended: &Attended) -> Option<f64> {
    let heads: Vec<f64> = attended.heads.iter().flatten().map(|mass| f64::from(*mass)).collect();
    (!heads.is_empty()).then(|| heads.iter().sum::<f64>() / heads.len() as f64)
}

/// A row for every sample.
fn samples_table(records: &[Record], runs: Vec<RunRecord>) -> Table {
    let text = |text: &str| Datum::Text(text.to_owned());
    let count = |count: usize| Datum::Int(count as i64);
    let real = |number: Option<f64>| number.map_or(Datum::Empty, Datum::Real);
    let row = |record: &Record| {
        let answer = record.answer();
        let outcome = match &record.outcome {
            Outcome::Answered(_) => "answered",
            Outcome::Measured { .. } => "measured",
            Outcome::Skipped => "skipped",
        };
        let loss = match &record.outcome {
            Outcome::Measured { mean_nll, .. } => Some(*mean_nll),
            Outcome::Answered(_) | Outcome::Skipped => None,
        };
        let columns = vec![
            ("task", text(&without_amounts(&record.setting))),
            ("id", text(&record.id)),
            ("length", record.length.map_or(Datum::Empty, count)),
            ("part", record.part.as_deref().map_or(Datum::Empty, text)),
            ("depth", real(record.depth)),
            ("method", text(&record.run.method)),
            ("rope", text(&record.run.rope)),
            ("outcome", text(outcome)),
            ("share", real(record.share())),
            ("loss", real(loss)),
            ("answers", text(&record.answers.join(" | "))),
            ("output", answer.map_or(Datum::Empty, |answer| text(&answer.output))),
            ("stop", answer.map_or(Datum::Empty, |answer| text(&stop(answer)))),
            ("prompt_tokens", count(record.n_prompt)),
            ("shared", count(record.n_shared)),
            ("truncated", count(record.n_truncated)),
            ("attention", real(record.attended.as_ref().and_then(on_evidence))),
            ("seconds", Datum::Real(record.seconds)),
        ];
        columns.into_iter().map(|(name, datum)| (name.to_owned(), datum)).collect::<Vec<_>>()
    };
    let table = Rows::from_records(records.iter().map(row));
    Table(crate::values::TableValue { table, records: runs, ..Default::default() }.into())
}

fn stop(answer: &longlens_eval::evaluate::Answer) -> String {
    serde_json::to_value(answer.stop).ok().and_then(|stop| Some(stop.as_str()?.to_owned())).unwrap_or_default()
}

fn tasks() -> Table {
    list(&TASKS)
}

fn list(tasks: &[&'static Task]) -> Table {
    let row = |task: &&Task| {
        let text = |text: &str| Datum::Text(text.to_owned());
        vec![
            ("name".to_owned(), text(task.info.name)),
            ("family".to_owned(), text(task.family)),
            ("settings".to_owned(), Datum::Int(task.info.params.len() as i64)),
            ("summary".to_owned(), text(task.info.summary)),
        ]
    };
    Table::plain(Rows::from_records(tasks.iter().map(row)))
}

fn settings(task: &str) -> Returned<Table> {
    let of_family: Vec<&'static Task> = TASKS.iter().copied().filter(|known| known.family == task).collect();
    if !of_family.is_empty() && Task::named(task).is_none() {
        return Ok(list(&of_family));
    }
    let setting = Task::parse(task).map_err(raise)?;
    let row = |param: &longlens_core::setting::Param| {
        vec![
            ("name".to_owned(), Datum::Text(param.name.to_owned())),
            ("default".to_owned(), Datum::Text(param.default.to_string())),
            ("values".to_owned(), Datum::Text(param.kind.to_string())),
            ("what".to_owned(), Datum::Text(param.help.to_owned())),
        ]
    };
    Ok(Table::plain(Rows::from_records(setting.info().params.iter().map(row))))
}

fn sample(host: &Rc<Host>, task: &str, at: i64) -> Returned<Map> {
    let setting: Setting = Task::parse(task).map_err(raise)?;
    let at = calls::count("sample", at, 0)?;
    let model = host.model()?;
    let files = OfCells(host.clone());
    model.text(|codec| {
        let ask = Ask { setting: &setting, spec: &model.info.spec, codec, files: &files };
        let mut samples = ask.samples().map_err(raise)?;
        if at >= samples.n {
            return refuse(
                format!("there is no sample {at} of `{setting}`"),
                format!("samples are counted from 0, up to {}", samples.n.saturating_sub(1)),
            );
        }
        // samples are made in order
        for before in 0..at {
            (samples.make)(before, codec).map_err(raise)?;
        }
        let sample = (samples.make)(at, codec).map_err(raise)?;
        let entry = Entry::of(ask.task(), &sample, Ok(codec)).map_err(raise)?;
        let text = match &sample.prompt {
            Prompt::Text { text, .. } => text.clone(),
            Prompt::Tokens(tokens) => codec.decode(tokens).map_err(raise)?,
        };
        let scorer = match &sample.rule {
            Rule::Answer(answering) => answering.scorer,
            Rule::Loss { .. } => "perplexity",
        };
        let or_nothing = |value: Option<Dynamic>| value.unwrap_or(Dynamic::UNIT);
        let answers: Array = sample.answers.iter().map(|answer| string(answer.as_str())).collect();
        Ok(Map::from([
            ("id".into(), string(sample.id.as_str())),
            ("prompt".into(), string(text)),
            ("tokens".into(), Dynamic::from_int(entry.n_prompt as i64)),
            ("answers".into(), answers.into()),
            ("length".into(), or_nothing(sample.length.map(|length| Dynamic::from_int(length as i64)))),
            ("depth".into(), or_nothing(sample.depth.map(Dynamic::from_float))),
            ("part".into(), or_nothing(sample.part.as_deref().map(string))),
            ("scorer".into(), string(scorer)),
        ]))
    })
}
