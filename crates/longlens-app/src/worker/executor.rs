//! What the worker's thread does: it holds the model and the sequence that is loaded.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use longlens_core::lens::{CancelToken, Control, Lens, LensError, Rows, Setup};
use longlens_core::trace::{PooledMap, Trace, Watch};
use longlens_eval::EvalError;
use longlens_eval::evaluate::{Counted, Record};
use longlens_eval::generate::{Generation, PieceDecoder, Stop};
use longlens_eval::passkey::{Cells, Outcome};
use longlens_eval::progress::Part;
use longlens_eval::sampling::Sampler;
use longlens_eval::setup::PromptSize;
use longlens_eval::tasks::{Disk, Files};

use super::{
    DifferenceAsk, Earlier, EvaluateAsk, Event, Fault, GridAsk, GridWork, InspectAsk, Mailbox, PageAsk, Task, Watcher,
    caught,
};
use crate::problem::Problem;
use crate::prompt::Prompt;
use crate::results::{Results, counted};
use crate::runs::{RunAsk, RunId};
use crate::settings::{Settings, Swap};
use crate::sweep::{On, Unit, run_unit};

/// The model, and what it has computed last.
pub struct Executor<R: Fn(Event)> {
    lens: Box<dyn Lens>,
    report: R,
    mailbox: Arc<Mailbox>,
    /// The sequence that the model holds.
    loaded: Option<Loaded>,
    /// The grid of this number, between its cells.
    grid: Option<(u64, Cells)>,
    /// The samples of a task of the grid of this number, with those that are finished.
    samples: Option<(u64, Samples)>,
    /// The work on the grid of this number so far, whatever came between.
    on_grid: Option<(u64, Earlier)>,
    /// What computed the cache, which `reuse-kv` goes back to.
    base: Option<(Arc<Prompt>, Settings)>,
}

struct Loaded {
    run: RunId,
    /// Generated tokens that were fed again, of a run that is computed once more; as many as it has where it goes on.
    n_generated: usize,
    generation: Option<Generation>,
    /// Splits generated tokens into their own texts.
    pieces: Option<PieceDecoder>,
}

/// A prompt that was fed.
struct Fed {
    logits: Vec<f32>,
    /// The first token that was computed anew.
    from: usize,
    /// When that began; what a swap goes on from is not counted.
    started: Instant,
}

impl<R: Fn(Event)> Executor<R> {
    pub fn new(lens: Box<dyn Lens>, report: R, mailbox: Arc<Mailbox>) -> Self {
        Self { lens, report, mailbox, loaded: None, grid: None, samples: None, on_grid: None, base: None }
    }

    /// Works until the mailbox is closed.
    pub fn work(mut self) {
        let mailbox = self.mailbox.clone();
        while let Some((task, token)) = mailbox.next(|n_asked| (self.report)(Event::Idle(n_asked))) {
            match task {
                Task::Prompt(id, source) => {
                    let built = caught(|| source.build_under(self.lens.text()?, &token).map(Arc::new));
                    (self.report)(Event::Prompt(id, built.map_err(Problem::from)));
                }
                Task::Run(ask) => self.run(&ask, &token),
                Task::Inspect(ask) => self.inspect(ask, &token),
                Task::Token => self.token(&token),
                Task::Page(ask) => self.page(&ask, &token),
                Task::Difference(ask) => self.difference(&ask, &token),
                Task::Cell(ask, done) => self.cell(&ask, done, &token),
                Task::Samples(ask) => self.samples(&ask, &token),
            }
        }
    }

    fn run(&mut self, ask: &Arc<RunAsk>, token: &CancelToken) {
        match caught(|| self.prefill(ask, token)) {
            Ok(Some(loaded)) => {
                self.loaded = Some(loaded);
                let mut mail = self.mailbox.lock();
                // a newer run that came in meanwhile must not be answered with this one's text
                mail.generating = mail.run.is_none() && !token.is_cancelled();
                if !mail.generating {
                    drop(mail);
                    (self.report)(Event::Cancelled(ask.id));
                }
            }
            Ok(None) => (self.report)(Event::Cancelled(ask.id)),
            Err(fault) => {
                (self.loaded, self.base) = (None, None);
                (self.report)(Event::Failed(ask.id, fault.into()));
            }
        }
    }

    /// Loads a run and tells its losses; nothing when it was stopped.
    fn prefill(&mut self, ask: &RunAsk, token: &CancelToken) -> Result<Option<Loaded>, Problem> {
        let sampler = Sampler::new(&ask.settings.sampling)?;
        let stop = Stop { max_tokens: ask.settings.max_tokens, ..Stop::default() };
        let Some(Fed { logits, from, started }) = self.load(ask, Rows::Last, token)? else { return Ok(None) };
        let seconds = started.elapsed().as_secs_f64();
        let trace = self.lens.trace();
        let tokens = &ask.prompt.tokens;
        // a prompt that goes on from a kept one has losses of its own tokens alone
        let nll_from = if from > 0 { from + 1 } else { tokens.len() - trace.nll.len() };
        (self.report)(Event::Prefilled { run: ask.id, record: trace.run, nll: trace.nll, nll_from, seconds });
        let mut generation = Generation::new(self.lens.as_ref(), tokens, sampler, &stop, started)?;
        generation.take(Ok(logits))?;
        let pieces = self.lens.text().and_then(|text| PieceDecoder::after(tokens, text)).ok();
        Ok(Some(Loaded { run: ask.id, n_generated: usize::MAX, generation: Some(generation), pieces }))
    }

    /// Feeds a run's prompt, on the cache of its base where it reuses one. Nothing when it was stopped.
    fn load(&mut self, ask: &RunAsk, want: Rows, token: &CancelToken) -> Result<Option<Fed>, Problem> {
        (self.loaded, self.grid) = (None, None); // their memory is given back before another sequence takes its own
        let tokens = &ask.prompt.tokens;
        let last = tokens.len() - 1;
        let setup = ask.settings.setup_to_inspect(&self.lens.model().spec, tokens.len())?;
        let reused = ask.base.as_ref().filter(|_| ask.settings.swap == Swap::ReuseKv);
        let Some(base) = reused else { return self.compute(&ask.prompt, &ask.settings, &setup, want, token) };
        let is_there =
            self.base.as_ref().is_some_and(|(prompt, settings)| Arc::ptr_eq(prompt, &ask.prompt) && settings == base);
        if !is_there {
            let setup = base.setup_to_inspect(&self.lens.model().spec, tokens.len())?;
            if self.compute(&ask.prompt, base, &setup, Rows::None, token)?.is_none() {
                return Ok(None);
            }
        }
        let keep = setup.plan.whole_blocks(ask.query.unwrap_or(last).min(last));
        let started = Instant::now();
        self.lens.reuse(&setup, keep)?;
        let mut watcher = Watcher::new("reuse-kv", token, &self.report);
        let logits = stopped(self.lens.feed(&tokens[keep..], want, &mut watcher))?;
        Ok(logits.map(|logits| Fed { logits, from: keep, started }))
    }

    /// Runs a whole prompt.
    fn compute(
        &mut self,
        prompt: &Arc<Prompt>,
        settings: &Settings,
        setup: &Setup,
        want: Rows,
        token: &CancelToken,
    ) -> Result<Option<Fed>, Problem> {
        (self.loaded, self.base) = (None, None);
        let started = Instant::now();
        self.lens.begin(&Setup { takes_kept: prompt.takes_kept(), ..setup.clone() })?;
        let mut watcher = Watcher::new("prefill", token, &self.report);
        let logits = stopped(self.lens.feed(&prompt.tokens, want, &mut watcher))?;
        if logits.is_some() {
            self.base = Some((prompt.clone(), settings.clone()));
        }
        Ok(logits.map(|logits| Fed { logits, from: 0, started }))
    }

    /// One token of the loaded run's text.
    fn token(&mut self, token: &CancelToken) {
        let Some(loaded) = self.loaded.as_mut().filter(|loaded| loaded.generation.is_some()) else {
            self.mailbox.lock().generating = false;
            return;
        };
        let run = loaded.run;
        let lens = self.lens.as_mut();
        let stepped = caught(|| {
            let Some(generation) = &mut loaded.generation else { return Ok(None) };
            // a token that was begun is finished: cutting it would end the sequence, and inspections and swaps with it
            let next = if token.is_cancelled() {
                generation.step(lens, &mut token.clone())
            } else {
                generation.step(lens, &mut ())
            };
            let Some(text) = next? else {
                generation.flush(lens)?;
                return Ok(None);
            };
            let newest = generation.generated().last().copied().unwrap_or_default();
            let own = loaded.pieces.as_mut().and_then(|pieces| pieces.push(newest, lens.text().ok()?).ok());
            let (piece, speed) = (own.unwrap_or_default(), generation.speed());
            Ok(Some(Event::Token { run, token: newest, piece, text, speed }))
        });
        match stepped {
            Ok(Some(event)) => (self.report)(event),
            Ok(None) => {
                self.mailbox.lock().generating = false;
                if let Some(generation) = loaded.generation.take() {
                    let generated = generation.finish(self.lens.as_mut());
                    (self.report)(Event::Finished(run, Box::new(generated)));
                }
            }
            Err(fault) => self.lose(fault.into()),
        }
    }

    /// What is loaded cannot be trusted any more; a text that was not over has failed.
    fn lose(&mut self, problem: Problem) {
        self.mailbox.lock().generating = false;
        self.base = None;
        if let Some(loaded) = self.loaded.take().filter(|loaded| loaded.generation.is_some()) {
            (self.report)(Event::Failed(loaded.run, problem));
        }
    }

    fn inspect(&mut self, ask: InspectAsk, token: &CancelToken) {
        let InspectAsk { id, run, generated, kind, watch } = ask;
        match caught(|| self.inspect_run(&run, &generated, &watch, token)) {
            Ok(Some(trace)) => (self.report)(Event::Inspected { id, run: run.id, kind, trace: Box::new(trace) }),
            Ok(None) => (), // it gave way: who asked for it asks again
            Err(fault) => {
                if let Fault::Broken(problem) = &fault {
                    self.lose(problem.clone());
                }
                (self.report)(Event::InspectFailed(id, kind, fault.into()));
            }
        }
    }

    fn inspect_run(
        &mut self,
        run: &RunAsk,
        generated: &[u32],
        watch: &Watch,
        token: &CancelToken,
    ) -> Result<Option<Trace>, Problem> {
        let holds = |loaded: &Loaded| loaded.run == run.id && loaded.n_generated >= generated.len();
        let is_loaded = self.loaded.as_ref().is_some_and(holds);
        if !is_loaded && !self.replay(run, generated, token)? {
            return Ok(None);
        }
        let mut watcher = Watcher::new("inspecting", token, &self.report);
        stopped(self.lens.inspect(watch, &mut watcher))
    }

    /// Computes a run again, with the text it gave; false when it was stopped.
    fn replay(&mut self, run: &RunAsk, generated: &[u32], token: &CancelToken) -> Result<bool, Problem> {
        if self.load(run, Rows::None, token)?.is_none() {
            return Ok(false);
        }
        // the last token of a text was never fed
        for next in &generated[..generated.len().saturating_sub(1)] {
            if token.is_cancelled() {
                return Ok(false);
            }
            self.lens.feed(&[*next], Rows::None, &mut ())?;
        }
        let n_generated = generated.len();
        self.loaded = Some(Loaded { run: run.id, n_generated, generation: None, pieces: None });
        Ok(true)
    }

    /// What a page shows. One that is stopped is not made.
    fn page(&mut self, ask: &PageAsk, token: &CancelToken) {
        let stopped = || Problem::new("stopped before the page was made", "export the view again".to_owned());
        let made = caught(|| {
            ask.of.page(&mut |watch| self.inspect_run(&ask.run, &ask.generated, watch, token)?.ok_or_else(stopped))
        });
        if let Err(Fault::Broken(problem)) = &made {
            self.lose(problem.clone());
        }
        (self.report)(Event::Page(ask.id, made.map_err(Problem::from)));
    }

    fn difference(&mut self, ask: &DifferenceAsk, token: &CancelToken) {
        let watch = Watch { maps: vec![ask.pick], ..Watch::default() };
        let map = |executor: &mut Self, run: &RunAsk| -> Result<Option<PooledMap>, Problem> {
            Ok(executor.inspect_run(run, &[], &watch, token)?.map(|mut trace| trace.maps.swap_remove(0)))
        };
        let both = caught(|| {
            let Some(a) = map(self, &ask.runs[0])? else { return Ok(None) };
            Ok(map(self, &ask.runs[1])?.map(|b| Box::new([a, b])))
        });
        if let Err(Fault::Broken(problem)) = &both {
            self.lose(problem.clone());
        }
        let Some(told) = both.map_err(Problem::from).transpose() else { return }; // it gave way and stays in the mailbox
        let mut mail = self.mailbox.lock();
        mail.difference = mail.difference.take().filter(|waiting| waiting.id != ask.id);
        drop(mail);
        (self.report)(Event::Difference(ask.id, told));
    }

    /// The samples of a task that are not finished. Those that were are kept where it gives way, and the rest is run later.
    fn samples(&mut self, ask: &EvaluateAsk, token: &CancelToken) {
        let id = ask.id;
        (self.loaded, self.base, self.grid) = (None, None, None);
        let earlier =
            self.on_grid.filter(|(known, _)| *known == id).map_or_else(Earlier::default, |(_, earlier)| earlier);
        let known = self.samples.take().filter(|(known, _)| *known == id);
        let ran = caught(|| {
            let mut watcher = Watcher::after(earlier, "grid", token, &self.report);
            let mut samples = if let Some((_, samples)) = known {
                samples
            } else {
                let samples = Samples::count(ask, &*self.lens, &mut watcher)?;
                (self.report)(Event::Counted(id, samples.n(), samples.notes.clone()));
                samples
            };
            let mut n = samples.n();
            let n_tokens = |made: &Counted| made.entries.iter().map(|entry| entry.n_prompt).sum::<usize>();
            let total = samples.units.iter().map(|(_, made)| n_tokens(made)).sum();
            let (mut before, mut is_whole, mut failed) = (0, true, None);
            for (unit, made) in &mut samples.units {
                let size = n_tokens(made);
                let mut part = Part { control: &mut watcher, before, size, total };
                let mut n_finished = samples.results.len();
                let mut told = |record: &Record| {
                    n_finished += 1;
                    (self.report)(Event::Sample(id, Box::new(record.clone()), n.saturating_sub(n_finished)));
                };
                let on = On {
                    lens: self.lens.as_mut(),
                    device: &ask.device,
                    store: &mut samples.results,
                    control: &mut part,
                };
                match run_unit(unit, made, on, &|_| true, &mut told) {
                    Ok((tally, _)) if tally.is_cancelled => {
                        is_whole = false;
                        break;
                    }
                    Ok(_) => (),
                    Err(problem) => {
                        // what is impossible at one length may be possible at the others
                        n -= made.entries.len();
                        (self.report)(Event::Counted(id, n, vec![format!("left out: {problem}")]));
                        failed.get_or_insert(problem);
                    }
                }
                before += size;
            }
            if let Some(problem) = failed.filter(|_| is_whole && n == 0) {
                return Err(problem);
            }
            self.on_grid = Some((id, watcher.pause()));
            self.samples = (!is_whole).then_some((id, samples));
            Ok(is_whole)
        });
        if matches!(&ran, Err(Fault::Refused(problem)) if token.is_cancelled() && *problem == LensError::Cancelled.into())
        {
            return; // it gave way while its samples were counted
        }
        let mut mail = self.mailbox.lock();
        let is_same = mail.grid.as_ref().is_some_and(|waiting| waiting.id() == id);
        if is_same && !matches!(ran, Ok(false)) {
            mail.grid = None;
        }
        drop(mail);
        if let Err(fault) = ran {
            (self.report)(Event::GridFailed(id, fault.into()));
        }
    }

    /// The next cell of a grid.
    fn cell(&mut self, ask: &GridAsk, n_done: usize, token: &CancelToken) {
        let GridAsk { id, settings, grid } = ask;
        (self.loaded, self.base, self.samples) = (None, None, None);
        let spec = self.lens.model().spec.clone();
        let mut setup_for =
            |size: PromptSize| -> Result<Setup, LensError> { Ok(settings.setup(&spec, size.n_tokens)?) };
        let earlier =
            self.on_grid.filter(|(known, _)| known == id).map_or_else(Earlier::default, |(_, earlier)| earlier);
        let known = self.grid.take().filter(|(known, cells)| known == id && cells.n_done() == n_done);
        let ran = caught(|| {
            let mut cells = match known {
                Some((_, cells)) => cells,
                None => Cells::new(self.lens.as_ref(), grid)?,
            };
            cells.skip(n_done);
            let mut watcher = Watcher::after(earlier, "grid", token, &self.report);
            let outcome = cells.next(self.lens.as_mut(), &mut setup_for, &mut watcher, &mut ());
            self.on_grid = Some((*id, watcher.pause()));
            let outcome = outcome?;
            let left = cells.n_left();
            self.grid = (left > 0).then_some((*id, cells));
            Ok((outcome, left))
        });
        let mut mail = self.mailbox.lock();
        let is_same = mail.grid.as_ref().is_some_and(|waiting| waiting.id() == *id);
        match ran {
            Ok((Outcome::Whole(cell), left)) => {
                if is_same {
                    mail.grid = (left > 0).then(|| GridWork::Passkeys(ask.clone(), n_done + 1));
                }
                drop(mail);
                (self.report)(Event::Cell(*id, Box::new(cell), left));
            }
            Ok((Outcome::Cancelled(_), _)) => (), // it gave way and is done again, or was stopped
            Err(fault) => {
                if is_same {
                    mail.grid = None;
                }
                drop(mail);
                (self.report)(Event::GridFailed(*id, fault.into()));
            }
        }
    }
}

/// The samples of a task, counted at each of its lengths.
struct Samples {
    units: Vec<(Unit, Counted)>,
    /// What a user should know of them, as sentences.
    notes: Vec<String>,
    /// Those that are finished.
    results: Results,
}

impl Samples {
    /// A length at which the task has no samples is left out, and an error where all are.
    fn count(ask: &EvaluateAsk, lens: &dyn Lens, control: &mut dyn Control) -> Result<Self, Problem> {
        let files: Rc<dyn Files> = Rc::new(Disk);
        let (mut units, mut notes, mut refused) = (Vec::new(), Vec::new(), None);
        for unit in ask.evaluation.units(&ask.settings)? {
            match counted(None, &unit.task, &lens.model().spec, lens.text()?, &files, control) {
                Ok(made) => {
                    notes.extend(made.notes.clone());
                    units.push((unit, made));
                }
                Err(EvalError::Lens(LensError::Cancelled)) => return Err(LensError::Cancelled.into()),
                Err(error) => {
                    notes.push(format!("left out: {error}"));
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) if units.is_empty() => Err(error.into()),
            _ => Ok(Self { units, notes, results: Results::in_memory() }),
        }
    }

    fn n(&self) -> usize {
        self.units.iter().map(|(_, made)| made.entries.len()).sum()
    }
}

/// A cancellation is no problem.
fn stopped<T>(done: Result<T, LensError>) -> Result<Option<T>, Problem> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(LensError::Cancelled) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
