//! Runs, prompts and grids: what is asked of the worker, and what comes back.

use std::sync::Arc;

use longlens_app::Problem;
use longlens_app::heads::Heads;
use longlens_app::pace::Pace;
use longlens_app::prompt::PromptSource;
use longlens_app::runs::{Run, RunAsk, RunId, RunState};
use longlens_app::settings::{Settings, Swap};
use longlens_app::steps::Step;
use longlens_app::worker::{Ask, EvaluateAsk, Event, GridAsk, InspectKind, Progress};
use longlens_core::printable::printable_line;
use longlens_eval::passkey::Cell;
use serde_json::{Map, Value};

use super::{App, Asked, Effect, GridRun, Level, Opening};
use crate::command::{Command, key};
use crate::export::PAGE;

/// Seconds of a grid that nobody starts without having heard of them.
const LONG_GRID: f64 = 600.0;

impl App {
    /// Asks for a prompt.
    pub(super) fn build(&mut self, source: PromptSource) {
        let id = self.work.number();
        self.prompt.ask(id, source.clone());
        self.dirty = true;
        if self.opening == Opening::Done {
            self.work.ask(Ask::Prompt(id, source));
        }
    }

    /// Runs the prompt under the settings; the run before is stopped.
    pub(super) fn start_run(&mut self) {
        let (Some(prompt), Opening::Done) = (self.prompt.answer(), &self.opening) else { return };
        if self.verdict.is_err() {
            return;
        }
        let settings = self.controls.settings.clone();
        let base = self.base.clone().filter(|_| settings.swap == Swap::ReuseKv);
        let query = self.controls.query.filter(|_| base.is_some());
        let prompt = prompt.clone();
        self.drop_running();
        // a swap that only looks further back takes the place of the one before
        let only_query =
            |ask: &RunAsk| ask.base.is_some() && (&ask.settings, &ask.base, &ask.prompt) == (&settings, &base, &prompt);
        if let Some(old) = self.current.as_ref().filter(|ask| only_query(ask)).map(|ask| ask.id) {
            self.runs.list.retain(|run| run.id != old || run.pinned);
        }
        let ask = Arc::new(RunAsk { id: self.runs.next_id(), settings, base, prompt, query });
        self.runs.push(Run::new(&ask, &self.model.name, &self.opened.spec));
        self.history = 0;
        self.current = Some(ask.clone());
        self.work.ask(Ask::Run(ask));
    }

    /// An earlier run of the same settings and prompt gives its place to the newest, as after a change that was taken back: it would be
    /// the same line twice. Those that were pinned, named or marked stay, and those that somebody ran again.
    fn drop_repeated(&mut self, newest: RunId) {
        let is_whole = |run: &&Run| run.state == RunState::Done && !self.again.contains(&newest);
        let Some(new) = self.runs.get(newest).filter(is_whole) else { return };
        let same = |run: &Run| (&run.settings, &run.base, &run.source) == (&new.settings, &new.base, &new.source);
        let is_kept = |run: &Run| {
            run.pinned || run.name.is_some() || self.marked.contains(&run.id) || self.again.contains(&run.id)
        };
        let gone: Vec<RunId> = self
            .runs
            .list
            .iter()
            .filter(|run| run.id != newest && same(run) && !is_kept(run))
            .map(|run| run.id)
            .collect();
        self.runs.list.retain(|run| !gone.contains(&run.id));
        let last = self.runs.list.len().saturating_sub(1);
        self.history = self.history.min(last);
    }

    /// Runs that gave nothing are forgotten, others end here.
    fn drop_running(&mut self) {
        self.runs.list.retain(|run| run.state != RunState::Running || run.pinned);
        for run in &mut self.runs.list {
            if matches!(run.state, RunState::Running | RunState::Generating) {
                run.state = RunState::Cancelled;
            }
        }
    }

    /// Starts a grid, one that takes long once it is asked for again, or stops the one that runs.
    pub(super) fn toggle_grid(&mut self) {
        if let Some(stopped) = self.grids.stop() {
            if stopped.n_done() == 0 {
                // a notebook of the session would measure for hours what nobody waited for
                let started = stopped.step();
                self.record.take_back(&|step| *step == started);
            }
            self.log.say(Level::Note, "the grid was stopped; its cells are kept");
            return self.work.add(Effect::CancelGrid);
        }
        if let Err(problem) = &self.verdict {
            let problem = problem.clone();
            self.fail(&problem);
            return;
        }
        if self.opening != Opening::Done {
            return self.log.say(Level::Warning, "the model is not open yet");
        }
        let (settings, asked) = (self.controls.settings.clone(), Asked::of(self));
        if matches!(&asked, Asked::Passkeys(grid) if grid.lengths.is_empty()) {
            return self.log.say(Level::Error, "every length of this grid is too long to make");
        }
        let what = match (&asked, asked.n_prompts()) {
            (Asked::Passkeys(_), n) => format!("a grid of {} prompts", n.unwrap_or(0)),
            (Asked::Task(evaluation), Some(n)) => format!("{n} samples of {}", evaluation.task),
            (Asked::Task(evaluation), None) => format!("the samples of {}", evaluation.task),
        };
        let time = self.grid_time().map_or(String::new(), |time| format!(", {time}"));
        let is_long = self.grid_seconds(&asked).is_some_and(|(seconds, _)| seconds > LONG_GRID);
        if is_long && self.warned_grid.as_ref() != Some(&asked) {
            let text = format!(
                "{what}{time}: {} again starts it; up_to, depths and trials make it smaller",
                key(Command::Grid)
            );
            self.warned_grid = Some(asked);
            return self.log.say(Level::Warning, text);
        }
        self.log.say(Level::Note, format!("{what}{time}; {} stops it", key(Command::Grid)));
        let id = self.work.number();
        self.record(asked.step(settings.clone()));
        match asked {
            Asked::Passkeys(grid) => {
                self.grids.start(GridRun::new(id, settings.clone(), &grid, &self.opened.spec));
                self.work.ask(Ask::Grid(GridAsk { id, settings, grid }));
            }
            Asked::Task(evaluation) => {
                self.grids.start(GridRun::of_task(id, settings.clone(), evaluation.clone(), &self.opened.spec));
                let device = self.start.device.clone().unwrap_or_else(|| "cpu".to_owned());
                self.work.ask(Ask::Evaluate(EvaluateAsk { id, settings, evaluation, device }));
            }
        }
    }

    /// Takes in what the worker tells. Results of runs that are no longer the newest change only that run.
    pub(super) fn job(&mut self, event: Event) {
        match event {
            Event::Opened(Ok(model)) => {
                let told = std::mem::take(&mut self.model.warnings);
                self.opened = *model;
                self.opening = Opening::Done;
                self.judge();
                self.clamp();
                // what the outline of the model said is in the log already
                let new = self.model.warnings.iter().filter(|warning| !told.contains(warning));
                for warning in new.map(|warning| printable_line(warning).into_owned()).collect::<Vec<_>>() {
                    self.log.say(Level::Warning, warning);
                }
                if let Some(source) = self.prompt.waiting().cloned() {
                    self.build(source);
                }
            }
            Event::Opened(Err(problem)) => {
                self.fail(&problem);
                self.opening = Opening::Failed(problem);
                self.work.stop();
            }
            Event::Prompt(id, built) => self.built(id, built),
            Event::Progress(progress) => self.work.advance(progress),
            event @ (Event::Prefilled { .. } | Event::Token { .. } | Event::Finished(..)) => self.advance(event),
            Event::Inspected { id, kind, trace, .. } => self.inspected(id, kind, *trace),
            Event::InspectFailed(id, kind, problem) => {
                let was_asked = match kind {
                    InspectKind::Heads => self.heads.failed(id, problem.clone()).is_some(),
                    InspectKind::Map => self.map.failed(id, problem.clone()).is_some(),
                    InspectKind::View(at) => self.plots.failed(at, id, problem.clone()),
                };
                if was_asked {
                    self.fail(&problem);
                }
            }
            Event::Page(id, made) => self.write_page(id, made),
            Event::Difference(id, Ok(maps)) => {
                self.difference.answered(id, |_| Some(maps));
            }
            Event::Difference(id, Err(problem)) => {
                self.difference.failed(id, problem);
            }
            Event::Cell(id, cell, left) => self.take_cell(id, &cell, left),
            Event::Counted(id, n, notes) => {
                if self.grids.counted(id, n) {
                    let say = |note: &String| self.log.say(Level::Note, printable_line(note));
                    notes.iter().for_each(say);
                }
            }
            Event::Sample(id, record, left) => {
                self.dirty = true;
                if let Some(grid) = self.grids.take_sample(id, *record, left) {
                    self.log.say(Level::Note, format!("the grid of {} is done", grid.text));
                    if let Some((asked, ran)) = self.grids.finish(id) {
                        self.record.replace(&asked, ran);
                    }
                }
            }
            Event::GridFailed(id, problem) => {
                if self.grids.fail(id) {
                    self.fail(&problem);
                }
            }
            Event::Cancelled(run) => self.end_run(run, RunState::Cancelled),
            Event::Failed(run, problem) => {
                if self.runs.get(run).is_some() {
                    self.fail(&problem);
                }
                self.end_run(run, RunState::Failed(problem));
            }
            Event::Idle(n_sent) => self.work.idle_after(n_sent),
        }
    }

    /// Has a page written, with picture and table alone where no more could be had.
    fn write_page(&mut self, id: u64, made: Result<Option<Map<String, Value>>, Problem>) {
        let Some((path, plot)) = self.pages.remove(&id) else { return };
        let page = made.unwrap_or_else(|problem| {
            self.fail(&problem);
            None
        });
        match plot.with_page(page).bytes(PAGE) {
            Ok(bytes) => self.work.add(Effect::Save(path, bytes)),
            Err(problem) => self.fail(&problem),
        }
    }

    /// Says where the query is a written token, and another one than under the settings before: heads then look from other words, and
    /// what they attend to is no effect of the settings alone.
    fn compare_query(&mut self, newest: RunId) {
        let n_prompt = self.n_prompt();
        let query = self.controls.query.unwrap_or_else(|| self.default_query());
        let Some(run) = self.runs.get(newest).filter(|_| self.is_newest(newest) && query >= n_prompt) else { return };
        // as soon as it is fed, which is when the token behind it is known
        if run.generated.len() != query - n_prompt + 2 {
            return;
        }
        let mut before = self.runs.list.iter().rev().filter(|other| other.id != newest && other.same_prompt(run));
        let Some(before) = before.find(|other| other.generated.len() > query - n_prompt) else { return };
        let at = query - n_prompt;
        if run.generated[..=at] != before.generated[..=at] {
            let piece =
                |run: &Run| run.pieces.get(at).map(|piece| printable_line(piece).into_owned()).unwrap_or_default();
            let text = format!(
                "query {query} is “{}” now and was “{}” under the settings before: heads look from other words (query {} is the prompt's last)",
                piece(run),
                piece(before),
                n_prompt - 1
            );
            self.log.say(Level::Warning, text);
        }
    }

    /// A run's losses, tokens and end.
    fn advance(&mut self, event: Event) {
        match event {
            Event::Prefilled { run, record, nll, nll_from, seconds } => {
                let Some(kept) = self.runs.get_mut(run).filter(|kept| kept.state == RunState::Running) else { return };
                kept.prefilled(record, nll, nll_from, seconds);
                let computed = kept.base.is_none().then(|| kept.settings.clone());
                self.measure(computed.as_ref(), nll_from, seconds);
                if self.is_newest(run) {
                    self.shown = Some(run);
                    self.base = computed.or(self.base.take());
                    self.inspect();
                }
            }
            Event::Token { run, token, piece, text, speed } => {
                let Some(kept) = self.runs.get_mut(run).filter(|kept| kept.state == RunState::Generating) else {
                    return;
                };
                kept.generated.push(token);
                kept.pieces.push(piece);
                kept.output += &text;
                kept.live_speed = speed;
                let (done, total) = (kept.generated.len(), kept.settings.max_tokens);
                let seconds = speed.map_or(0.0, |speed| done as f64 / speed);
                self.work.advance(Progress { what: "text", done, total, seconds, before: 0 });
                if self.is_newest(run) && self.runs.get(run).is_some_and(|kept| kept.generated.len() == 2) {
                    // the token that fetches a hidden key has been fed
                    self.inspect();
                }
                self.compare_query(run);
            }
            Event::Finished(run, generated) => {
                let Some(kept) = self.runs.get_mut(run).filter(|kept| kept.state == RunState::Generating) else {
                    return;
                };
                kept.finish(&generated);
                // the first run has no cache to reuse, whatever is asked for
                let swap = if kept.base.is_some() { kept.settings.swap } else { Swap::RePrefill };
                let step = Step::Run(Settings { swap, ..kept.settings.clone() }, kept.source.clone());
                self.record(step);
                if self.is_newest(run) {
                    self.drop_repeated(run);
                    self.inspect();
                }
            }
            _ => (),
        }
    }

    /// Notes how fast a whole prompt was.
    fn measure(&mut self, settings: Option<&Settings>, nll_from: usize, seconds: f64) {
        let (Some(settings), true, Some(prompt)) = (settings, nll_from == 1, self.prompt.answer()) else { return };
        let (spec, n_tokens) = (&self.model.spec, prompt.tokens.len());
        let Ok(plan) = settings.plan(&self.opened.spec) else { return };
        self.pace = Pace::measured(spec, &plan, n_tokens, settings.prefill_chunk, seconds).or(self.pace);
        self.foresee();
    }

    fn take_cell(&mut self, id: u64, cell: &Cell, left: usize) {
        self.dirty = true;
        if let Some(grid) = self.grids.take_cell(id, cell, left) {
            self.log.say(Level::Note, format!("the grid of {} is done", grid.text));
        }
    }

    fn is_newest(&self, run: RunId) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == run)
    }

    pub(super) fn end_run(&mut self, run: RunId, state: RunState) {
        if let Some(kept) = self.runs.get_mut(run)
            && matches!(kept.state, RunState::Running | RunState::Generating)
        {
            kept.state = state;
        }
    }

    fn built(&mut self, id: u64, built: Result<Arc<longlens_app::prompt::Prompt>, Problem>) {
        let is_first = self.prompt.answer().is_none();
        match built {
            Ok(prompt) => {
                let warnings = prompt.warnings.clone();
                if !self.prompt.answered(id, |_| Some(prompt)) {
                    return;
                }
                for warning in warnings {
                    self.log.say(Level::Warning, printable_line(&warning));
                }
                if !is_first {
                    self.controls.query = None;
                }
                self.base = self.restored_base.take();
                self.zoom.reset();
                self.judge();
                match self.verdict.clone() {
                    Ok(_) => self.start_run(),
                    Err(problem) => {
                        // what is shown belongs to the prompt before
                        (self.current, self.shown) = (None, None);
                        self.heads.clear(None);
                        self.ranking = None;
                        self.map.clear(None);
                        self.plots.clear();
                        self.fail(&problem);
                    }
                }
            }
            Err(problem) => {
                let Some(source) = self.prompt.failed(id, problem.clone()) else { return };
                self.give_back(&source);
                self.fail(&problem);
                // what gave way to it goes on: the run, or what was inspected of it
                if self.run().is_some_and(|run| run.prefill_seconds.is_none()) {
                    self.start_run();
                } else {
                    self.drop_waiting();
                    self.inspect();
                }
            }
        }
    }

    fn inspected(&mut self, id: u64, kind: InspectKind, trace: longlens_core::trace::Trace) {
        match kind {
            InspectKind::Heads => {
                if self.heads.answered(id, |key| Heads::new(trace, key.query)) {
                    self.rank();
                }
            }
            InspectKind::Map => {
                self.map.answered(id, |key| trace.maps.into_iter().find(|map| map.pick == key.pick()));
            }
            InspectKind::View(at) => {
                self.plots.recorded(at, id, trace);
                self.draw_plot(at);
            }
        }
    }
}
