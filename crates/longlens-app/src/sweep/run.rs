//! Running the units of a sweep, model by model and task by task.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;

use longlens_core::lens::{Control, DEFAULT_PREFILL_CHUNK, Lens, LensError, ModelInfo};
use longlens_core::memory::RunSize;
use longlens_core::plan::{Prefill, Warning};
use longlens_core::setting::Setting;
use longlens_eval::EvalError;
use longlens_eval::evaluate::{Counted, Record, Run, Store, Subject, Tally, With};
use longlens_eval::setup::PromptSize;
use longlens_eval::tasks::{Files, Task};

use super::{Opening, Shard, Unit};
use crate::distinct::distinct;
use crate::pace::Pace;
use crate::problem::Problem;
use crate::results::{Results, counted};
use crate::settings::Settings;

/// What a sweep is run with.
pub struct Job<'a> {
    /// The units, in order.
    pub units: &'a [Unit],
    /// Where tasks read the files that a user names.
    pub files: Rc<dyn Files>,
    /// The part that is run here; all of it without one.
    pub shard: Option<Shard>,
}

/// Who watches a sweep.
pub trait Watch: Control {
    /// A model is opened.
    fn opens(&mut self, opening: &Opening) -> Result<Box<dyn Lens>, Problem>;

    /// A unit begins: its number from 0, and what a user should know of its samples.
    fn begins(&mut self, _at: usize, _unit: &Unit, _notes: &[String]) {}

    /// A sample of a unit was finished.
    fn finished(&mut self, _at: usize, _record: &Record) {}

    /// A unit ended.
    fn ends(&mut self, _at: usize, _tally: &Tally) {}
}

/// What a sweep came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Done {
    /// One for each unit that began, in order of the units.
    pub tallies: Vec<(usize, Tally)>,
    /// Units that could not be run, with what is wrong.
    pub impossible: Vec<(usize, Problem)>,
    /// Tasks of a family that lack a file, by their first unit.
    pub left_out: Vec<(usize, Problem)>,
    /// Keys of all samples of the units that began, finished or not, by unit.
    pub keys: Vec<(usize, Vec<String>)>,
    /// Whether somebody stopped it.
    pub is_cancelled: bool,
}

/// What a sweep would take.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// One for each unit: samples, those that are finished, prompt tokens of what is missing, seconds and bytes of memory.
    pub units: Vec<Result<UnitForecast, Problem>>,
    /// Whether times follow from finished samples of the same model and device, and not from a guess.
    pub is_measured: bool,
}

/// What a unit would take.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UnitForecast {
    /// Samples.
    pub n_samples: usize,
    /// Of them, those that are finished.
    pub n_before: usize,
    /// Prompt tokens of what is missing.
    pub n_tokens: usize,
    /// Seconds that it takes at the pace of the machine, nothing shared.
    pub seconds: f64,
    /// Bytes that the longest sample takes, weights included.
    pub bytes: usize,
}

/// Runs the units, those of one model together and those of one task of it together, so that a model is opened once and samples are
/// made once. What is impossible is told and passed over; a store that cannot be written to ends it.
pub fn run<W: Watch>(job: &Job<'_>, results: &mut Results, watch: &mut W) -> Result<Done, Problem> {
    let (mut done, mut warned) = (Done::default(), HashSet::new());
    for opening in distinct(job.units.iter().map(|unit| &unit.opening)) {
        let of_model: Vec<usize> = (0..job.units.len()).filter(|at| job.units[*at].opening == *opening).collect();
        let mut lens = watch.opens(opening)?;
        let model = lens.model().clone();
        let device = opening.device.as_deref().unwrap_or("cpu");
        let takes =
            job.shard.map(|shard| parts(job, &of_model, &model, &*lens, results.folder(), shard)).transpose()?;
        for task in distinct(of_model.iter().map(|at| &job.units[*at].task)) {
            let of_task: Vec<usize> = of_model.iter().copied().filter(|at| job.units[*at].task == *task).collect();
            let mut made = match made(job, task, &model, &*lens, results.folder(), watch) {
                Err(error) if is_cancelled(&error) => {
                    done.is_cancelled = true;
                    return Ok(done);
                }
                Err(error) if error.lacks_a_file() && of_task.iter().all(|at| job.units[*at].of_family) => {
                    done.left_out.push((of_task[0], error.into()));
                    continue;
                }
                Err(error) => {
                    let problem = Problem::from(error);
                    done.impossible.extend(of_task.iter().map(|at| (*at, problem.clone())));
                    continue;
                }
                Ok(made) => made,
            };
            for at in of_task {
                let unit = &job.units[at];
                let checked = settings_for(unit, &made).check(&model, longest(unit, &made));
                let checked = checked.and_then(|checked| Ok(unit.options.check(&made).map(|()| checked)?));
                let unwise = match checked {
                    Ok(checked) => checked.forecast.warnings,
                    Err(problem) => {
                        done.impossible.push((at, problem));
                        continue;
                    }
                };
                // tasks of one length say the same of a method
                let length = made.entries.iter().map(|entry| entry.length).max().flatten();
                let is_news = |warning: &&Warning| {
                    let conditions = format!("{:?} {:?}", unit.opening, unit.settings);
                    warned.insert((conditions, length, std::mem::discriminant(*warning)))
                };
                let unwise: Vec<&Warning> = unwise.iter().filter(is_news).collect();
                let unwise = unwise.iter().map(|warning| format!("warning: {}: {warning}", unit.settings.method));
                let notes: Vec<String> = made.notes.iter().cloned().chain(unwise).collect();
                watch.begins(at, unit, &notes);
                let mine = takes.as_ref().map(|takes| &takes[of_model.iter().position(|of| *of == at).unwrap_or(0)]);
                let is_mine = |sample: usize| mine.is_none_or(|mine| mine[sample]);
                // progress and finished samples are heard by one and the same
                let both = RefCell::new(&mut *watch);
                let mut heard = Heard(&both);
                let on = On { lens: &mut *lens, device, store: results, control: &mut heard };
                let mut told = |record: &Record| both.borrow_mut().finished(at, record);
                let (tally, keys) = run_unit(unit, &mut made, on, &is_mine, &mut told)?;
                done.keys.push((at, keys));
                watch.ends(at, &tally);
                done.tallies.push((at, tally));
                if tally.is_cancelled {
                    done.is_cancelled = true;
                    return Ok(done);
                }
            }
        }
    }
    Ok(done)
}

/// What a unit is run on, and who hears of it.
pub struct On<'a> {
    /// An open model.
    pub lens: &'a mut dyn Lens,
    /// `cpu`, `wgpu` or `cuda`.
    pub device: &'a str,
    /// Where finished samples are kept.
    pub store: &'a mut dyn Store,
    /// Who watches, and may stop it.
    pub control: &'a mut dyn Control,
}

/// Runs those samples of a unit that are not finished and that `takes` gives to this run, by their number; `told` hears of each. Progress
/// counts prompt tokens of what is missing. Returns what came of it, and the keys of all samples of the unit. Errors: settings that are
/// impossible on the model, and those of [`Run::run`].
pub fn run_unit(
    unit: &Unit,
    made: &mut Counted,
    on: On<'_>,
    takes: &dyn Fn(usize) -> bool,
    told: &mut dyn FnMut(&Record),
) -> Result<(Tally, Vec<String>), Problem> {
    let On { lens, device, store, control } = on;
    let settings = settings_for(unit, made);
    let model = lens.model().clone();
    let subject = Subject::of(&model, device, &settings.setup(&model.spec, longest(unit, made))?);
    let task = Task::named(unit.task.info().name).expect("units have tasks of the list");
    let run = Run { task, setting: &unit.task, subject: &subject, options: &unit.options };
    let mut setup_for = |size: PromptSize| Ok(settings.setup(&model.spec, size.n_tokens)?);
    let mut with = With { lens, setup_for: &mut setup_for, store, control };
    let tally = run.run(&mut with, made, takes, told)?;
    Ok((tally, run.keys_in(made, with.store)))
}

/// What the units would take on models that are described; nothing is run.
pub fn forecast<W: Watch>(job: &Job<'_>, results: &mut Results, watch: &mut W) -> Result<Forecast, Problem> {
    let mut units: Vec<Option<Result<UnitForecast, Problem>>> = vec![None; job.units.len()];
    let records = results.records()?;
    // a look writes nothing where nothing is
    let folder = results.folder().filter(|folder| folder.is_dir()).map(Path::to_owned);
    let mut is_measured = false;
    for opening in distinct(job.units.iter().map(|unit| &unit.opening)) {
        let lens = watch.opens(opening)?;
        let model = lens.model().clone();
        let device = opening.device.as_deref().unwrap_or("cpu");
        let pace = measured(&records, &model, device).unwrap_or(Pace::guessed(device != "cpu"));
        is_measured |= measured(&records, &model, device).is_some();
        let of_model: Vec<usize> = (0..job.units.len()).filter(|at| job.units[*at].opening == *opening).collect();
        let takes =
            job.shard.map(|shard| parts(job, &of_model, &model, &*lens, folder.as_deref(), shard)).transpose()?;
        for (place, at) in of_model.into_iter().enumerate() {
            let unit = &job.units[at];
            let takes = takes.as_ref().map(|takes| &takes[place]);
            let is_mine = |sample: usize| takes.is_none_or(|takes| takes[sample]);
            let made = match made(job, &unit.task, &model, &*lens, folder.as_deref(), watch) {
                Err(error) if is_cancelled(&error) => return Err(error.into()),
                made => made.map_err(Problem::from),
            };
            units[at] = Some(made.and_then(|made| forecast_of(unit, &made, (&model, device, pace), results, &is_mine)));
        }
    }
    Ok(Forecast { units: units.into_iter().flatten().collect(), is_measured })
}

fn forecast_of(
    unit: &Unit,
    made: &Counted,
    (model, device, pace): (&ModelInfo, &str, Pace),
    results: &mut Results,
    is_mine: &dyn Fn(usize) -> bool,
) -> Result<UnitForecast, Problem> {
    unit.options.check(made)?;
    let settings = settings_for(unit, made);
    let n_longest = longest(unit, made);
    let setup = settings.setup(&model.spec, n_longest)?;
    let subject = Subject::of(model, device, &setup);
    let mine: Vec<_> = made.entries.iter().enumerate().filter(|(at, _)| is_mine(*at)).map(|(_, entry)| entry).collect();
    let mut forecast = UnitForecast { n_samples: mine.len(), ..UnitForecast::default() };
    let task = Task::named(unit.task.info().name).expect("units have tasks of the list");
    let run = Run { task, setting: &unit.task, subject: &subject, options: &unit.options };
    for entry in mine {
        if run.has(&subject.key(entry, &unit.options), entry, results) {
            forecast.n_before += 1;
            continue;
        }
        forecast.n_tokens += entry.n_prompt;
        forecast.seconds += seconds(&settings, model, entry.n_prompt, entry.max_tokens, pace);
    }
    let n_tokens = n_longest + settings.max_tokens;
    let prompt = Prefill { n_tokens: n_longest };
    forecast.bytes = RunSize::of(model, &setup.plan, prompt, n_tokens, settings.prefill_chunk).total();
    Ok(forecast)
}

/// The pace of a model's finished samples on a device, of prompts that were computed whole: the median, as other programs may have run
/// beside some of them.
fn measured(records: &[Record], model: &ModelInfo, device: &str) -> Option<Pace> {
    let of = |record: &Record| {
        let is_whole = record.content == model.content && record.device == device && record.n_shared == 0;
        let seconds = record.answer().map(|answer| answer.seconds_to_first_token).filter(|_| is_whole)?;
        let method = longlens_core::methods::Method::parse(&record.run.method).ok()?;
        let plan = method.plan(&model.spec).ok()?;
        // short prompts say more of what is done beside them
        let is_long = record.n_prompt * 4 >= model.spec.trained_context.min(2048);
        Pace::measured(&model.spec, &plan, record.n_prompt, DEFAULT_PREFILL_CHUNK, seconds).filter(|_| is_long)
    };
    let mut paces: Vec<Pace> = records.iter().rev().filter_map(of).take(101).collect();
    paces.sort_by(Pace::compare);
    paces.get(paces.len() / 2).copied()
}

/// Seconds of a prompt and its answer at a pace, where every token of the answer reads all weights.
fn seconds(settings: &Settings, model: &ModelInfo, n_prompt: usize, n_generated: usize, pace: Pace) -> f64 {
    let Ok(plan) = settings.plan(&model.spec) else { return 0.0 };
    let prompt = pace.seconds(&model.spec, &plan, n_prompt, settings.prefill_chunk);
    let step = pace.seconds(&model.spec, &plan, 1, 1);
    // a step of one token is bound by memory, some times slower than its arithmetic
    prompt + 4.0 * step * n_generated as f64
}

/// Which samples of a model's units are the shard's.
fn parts(
    job: &Job<'_>,
    of_model: &[usize],
    model: &ModelInfo,
    lens: &dyn Lens,
    folder: Option<&Path>,
    shard: Shard,
) -> Result<Vec<Vec<bool>>, Problem> {
    // whoever asks, the costs must be the same: they know neither this machine nor what is finished
    let pace = Pace::measured(&model.spec, &Settings::default().plan(&model.spec)?, 1024, 1024, 1.0)
        .unwrap_or(Pace::guessed(false));
    let mut costs = Vec::new();
    for at in of_model {
        let unit = &job.units[*at];
        let costs_of = |made: Counted| {
            let settings = settings_for(unit, &made);
            made.entries.iter().map(|entry| seconds(&settings, model, entry.n_prompt, entry.max_tokens, pace)).collect()
        };
        let made = made(job, &unit.task, model, lens, folder, &mut ());
        costs.push(made.map_or_else(|_| Vec::new(), costs_of));
    }
    Ok(shard.takes(&costs))
}

/// The samples of a task, as they were counted before or now.
fn made(
    job: &Job<'_>,
    task: &Setting,
    model: &ModelInfo,
    lens: &dyn Lens,
    folder: Option<&Path>,
    control: &mut dyn Control,
) -> Result<Counted, EvalError> {
    counted(folder, task, &model.spec, lens.text()?, &job.files, control)
}

/// Settings of a unit that leave room for the longest answer.
fn settings_for(unit: &Unit, made: &Counted) -> Settings {
    let max_tokens = made.entries.iter().map(|entry| entry.max_tokens).max().unwrap_or(0);
    Settings { max_tokens, ..unit.settings.clone() }
}

/// Tokens of the longest prompt that is run.
fn longest(unit: &Unit, made: &Counted) -> usize {
    let longest = made.entries.iter().map(|entry| entry.n_prompt).max().unwrap_or(1);
    longest.min(unit.options.limit.unwrap_or(usize::MAX)).max(1)
}

fn is_cancelled(error: &EvalError) -> bool {
    matches!(error, EvalError::Lens(LensError::Cancelled))
}

/// A watcher as a plain control.
struct Heard<'a, 'b, W>(&'a RefCell<&'b mut W>);

impl<W: Watch> Control for Heard<'_, '_, W> {
    fn progress(&mut self, done: usize, total: usize) {
        self.0.borrow_mut().progress(done, total);
    }

    fn cancelled(&self) -> bool {
        self.0.borrow().cancelled()
    }
}
