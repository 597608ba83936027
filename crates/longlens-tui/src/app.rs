//! The state of the workbench. [`App::update`] is the only place where it changes; drawing reads it.
//!
//! What has to happen outside, computing and writing files, leaves as [`Effect`]s; what comes back is an [`Action`] again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use longlens_app::Problem;
use longlens_app::heads::Heads;
use longlens_app::pace::{self, Pace};
use longlens_app::prompt::{DocumentAsk, NeedleAsk, Prompt, PromptSource};
use longlens_app::runs::{RunAsk, RunId, Runs};
use longlens_app::session::SavedSession;
use longlens_app::settings::{Checked, Settings};
use longlens_app::steps::{Start, Step, WriteSteps};
use longlens_app::views::Plot;
use longlens_app::views::ranking::{HeadOrder, Ranking};
use longlens_core::lens::ModelInfo;
use longlens_core::methods::Method;
use longlens_core::printable::printable_line;
use longlens_core::trace::PooledMap;

use crate::dialogs::{Dialog, Editor};
use crate::fields::Controls;
use crate::panes::VIEWS;
use crate::pen::Seen;
use crate::theme::Theme;

mod asked;
mod asking;
mod commands;
mod grids;
mod inspections;
mod jobs;
mod layout;
mod log;
mod mouse;
mod parts;
mod plots;
mod question;
mod ranks;
mod reading;
mod record;
mod typing;
mod undo;
mod work;
mod zoom;

pub use asked::Asked;
pub use grids::{GridRun, Grids, Shown, ShownCell, percent};
pub use layout::{Focus, Layout};
pub use log::{Level, Log};
pub use parts::*;
pub use plots::{DrawAsk, Drawn, FigureSize, PlotKey, Plots, Sequence};
pub use question::Question;
pub use record::Record;
pub use work::Work;
pub use zoom::Zoom;

use undo::Undo;

/// The state of the workbench.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct App {
    /// How the program was started.
    pub start: Start,
    write_steps: WriteSteps,
    /// The model as its files say, from its config until it is open.
    pub opened: ModelInfo,
    /// The same, counted as trained on what the controls say.
    pub model: ModelInfo,
    /// Whether it is open.
    pub opening: Opening,
    /// Everything that the controls set.
    pub controls: Controls,
    /// What the settings would mean, or why they are impossible.
    pub verdict: Result<Checked, Problem>,
    /// How fast the newest whole prompt was; nothing before the first.
    pace: Option<Pace>,
    /// Seconds that the prompt would take under these settings at that pace.
    pub seconds: Option<f64>,
    /// Tokens of the chunks that the newest possible method chooses.
    own_chunk: Option<usize>,
    undo: Undo<Controls>,
    /// The last parameters of every method.
    methods: HashMap<String, Method>,
    /// The prompt, by where it comes from.
    pub prompt: Question<PromptSource, Arc<Prompt>>,
    /// All runs.
    pub runs: Runs,
    /// The newest run.
    pub current: Option<Arc<RunAsk>>,
    /// The newest run whose losses have arrived.
    pub shown: Option<RunId>,
    /// Runs that were asked for again as they were.
    again: HashSet<RunId>,
    /// What computed the cache that `reuse-kv` goes back to.
    base: Option<Settings>,
    /// The base of a run that is restored once its prompt is built.
    restored_base: Option<Settings>,
    /// Attention of every head from the selected query.
    pub heads: Question<HeadsKey, Heads>,
    /// What lists of heads are put in order by.
    pub order: HeadOrder,
    /// The heads of the newest inspection in that order.
    pub ranking: Option<Ranking>,
    /// Whether the best head is selected as soon as it is known: until somebody selects one.
    seeks_head: bool,
    /// The head that the key of the best ones selected last.
    walked: Option<(usize, usize)>,
    /// The selected head's map.
    pub map: Question<MapKey, PooledMap>,
    /// The selected head's maps under the two runs that are compared.
    pub difference: Question<DifferenceKey, Box<[PooledMap; 2]>>,
    /// Views of a trace that have no pane of their own.
    pub plots: Plots,
    /// Pages that the worker makes, by number: where each goes, and its view.
    pages: BTreeMap<u64, (PathBuf, Plot)>,
    /// How maps are shown.
    pub zoom: Zoom,
    /// Grids of pass keys and other tasks.
    pub grids: Grids,
    /// The grid whose time was told and that waits for being asked for again.
    warned_grid: Option<Asked>,
    /// Runs that are marked for the comparison, at most two, in the order of their marking.
    pub marked: Vec<RunId>,
    /// Views on the screen, and where keys go.
    pub layout: Layout,
    /// Selected control.
    pub field: usize,
    /// A typed value that is not taken yet.
    pub edit: Option<Edit>,
    /// A field that is dragged: its place and the column of its last step.
    drag: Option<(usize, u16)>,
    /// Selected run, by its place in the list from the newest.
    pub history: usize,
    /// What lies behind the tokens.
    pub token_color: TokenColor,
    /// Whether the log is shown in place of the output.
    pub show_log: bool,
    /// Lines that output and log are scrolled up.
    pub scroll: usize,
    /// What happened.
    pub log: Log,
    /// What lies over everything.
    pub dialog: Option<Dialog>,
    /// A typed prompt that was not run.
    draft: Option<Editor>,
    /// A question about a document that was not run.
    unasked: Option<DocumentAsk>,
    /// Colors.
    pub theme: Theme,
    /// Whether real images are wanted.
    pub images: bool,
    /// Whether the mouse belongs to the program.
    pub mouse: bool,
    /// What the worker does, and what has to happen outside.
    pub work: Work,
    /// What was done.
    pub record: Record,
    /// What the newest frame shows where.
    pub seen: Seen,
    /// Whether the program is to end.
    pub over: bool,
    /// Whether something changed since the session was kept.
    dirty: bool,
}

/// Beyond so many heads lists begin with the best ones: not all of them are on a screen.
const MANY_HEADS: usize = 64;
/// Prompts beyond this take longer to count than a frame may.
const MOST_FORESEEN: usize = 1 << 18;

impl App {
    /// A workbench for a model that is being opened.
    pub fn new(opened: ModelInfo, options: Options) -> Self {
        let Options { start, write_steps, settings, prompt, theme, depth, resume, hint, notes } = options;
        let settings = resume.as_ref().map_or(settings, |session| session.settings.clone());
        let mut app = Self {
            start,
            write_steps,
            opening: Opening::Waiting,
            verdict: settings.check(&opened, 0),
            model: opened.trained_on(settings.trained_context).into_owned(),
            controls: Controls::new(settings),
            pace: None,
            seconds: None,
            own_chunk: None,
            undo: Undo::default(),
            methods: HashMap::new(),
            prompt: Question::default(),
            runs: Runs::default(),
            current: None,
            shown: None,
            again: HashSet::new(),
            base: None,
            restored_base: None,
            heads: Question::default(),
            order: HeadOrder::default(),
            ranking: None,
            seeks_head: false,
            walked: None,
            map: Question::default(),
            difference: Question::default(),
            plots: Plots::default(),
            pages: BTreeMap::new(),
            zoom: Zoom::default(),
            grids: Grids::default(),
            warned_grid: None,
            marked: Vec::new(),
            layout: Layout::new(VIEWS[0], None),
            field: 0,
            edit: None,
            drag: None,
            history: 0,
            token_color: TokenColor::Loss,
            show_log: false,
            scroll: 0,
            log: Log::default(),
            dialog: None,
            draft: None,
            unasked: None,
            theme: Theme { name: theme, depth },
            images: true,
            mouse: true,
            work: Work::default(),
            record: Record::default(),
            seen: Seen::default(),
            over: false,
            dirty: false,
            opened,
        };
        let needle = app.first_needle();
        let is_ours = prompt.is_none() && resume.as_ref().is_none_or(|session| session.source.is_none());
        if is_ours && needle.length < 4 * app.model.spec.trained_context {
            let text = format!("a first prompt of {} tokens, to begin at once: n makes a longer one", needle.length);
            app.log.say(Level::Note, text);
        }
        if hint {
            app.log.say(Level::Warning, "a session ended unexpectedly: `longlens --resume` brings it back");
        }
        for warning in app.model.warnings.clone() {
            app.log.say(Level::Warning, printable_line(&warning).into_owned());
        }
        app.controls.layer = app.controls.settings.plan(&app.model.spec).map_or(0, |plan| plan.first_layer());
        if app.model.spec.n_layers * app.model.spec.n_heads > MANY_HEADS {
            (app.order, app.seeks_head) = (HeadOrder::Score, true);
        }
        let mut source = prompt;
        if let Some(session) = resume {
            source = source.or(session.source);
            if let Some(selected) = session.selected {
                (app.controls.layer, app.controls.head, app.controls.query) = selected;
                app.seeks_head = false;
            }
            app.runs = session.runs;
            app.record = Record::of(session.steps);
            app.controls.chunk_len = session.chunk_len;
            let spec = &app.opened.spec;
            let grids = session.grids.into_iter().filter_map(|kept| GridRun::restored(app.work.number(), kept, spec));
            app.grids = Grids::new(grids.collect());
            app.dirty = true;
            app.log.say(Level::Note, "the session is back: prompt, settings and pinned runs");
            app.clamp();
        }
        // last, so that they are what the status line shows
        for note in notes {
            app.log.say(Level::Warning, note);
        }
        app.judge();
        app.prompt.ask(0, source.unwrap_or(PromptSource::Needle(needle)));
        app
    }

    /// Takes in what happened; returns what has to happen outside.
    pub fn update(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Do(command) => self.command(command),
            Action::Key(key) => {
                self.log.dismiss();
                self.key(key);
            }
            Action::Paste(text) => self.paste(&text),
            Action::Mouse(event) => self.mouse(event),
            Action::Job(event) => self.job(event),
            Action::Drawn(seen) => {
                // a view without a map leaves its size as it was
                let map_side = seen.map_side.or(self.seen.map_side);
                let resized = self.seen.map_side != map_side || self.seen.figures != seen.figures;
                self.seen = Seen { map_side, ..seen };
                self.scroll = self.scroll.min(self.seen.scroll_max);
                if resized {
                    self.inspect();
                }
            }
            Action::Figure(at, id, drawn) => self.plots.drawn(at, id, drawn),
            Action::Wrote(Ok(what), step) => {
                self.log.say(Level::Note, what);
                if let Some(step) = step {
                    self.record.add(*step);
                    self.dirty = true;
                }
            }
            Action::Wrote(Err(problem), _) => self.fail(&problem),
            Action::Tick => {
                if std::mem::take(&mut self.dirty) {
                    let session = Box::new(self.session(false));
                    self.work.add(Effect::Keep(session));
                }
            }
            Action::Stop => self.quit(),
        }
        self.work.take()
    }

    /// Ends the program and keeps the session as one that ended well.
    fn quit(&mut self) {
        self.over = true;
        let session = Box::new(self.session(true));
        self.work.add(Effect::Keep(session));
        self.work.add(Effect::Quit);
    }

    /// Heads whose output is zeros under the method of the controls.
    pub fn switched_off(&self) -> Vec<(usize, usize)> {
        let settings = &self.controls.settings;
        if settings.method.interventions().is_empty() {
            return Vec::new();
        }
        let spec = &self.model.spec;
        settings.plan(spec).map_or(Vec::new(), |plan| plan.switched_off(spec))
    }

    /// What survives a crash.
    pub fn session(&self, clean: bool) -> SavedSession {
        let runs = self.runs.only_pinned();
        SavedSession {
            clean,
            saved: 0,
            pid: 0,
            start: self.start.clone(),
            settings: self.controls.settings.clone(),
            source: self.prompt.waiting().or(self.prompt.key()).cloned(),
            runs,
            steps: self.record.steps().to_vec(),
            selected: Some((self.controls.layer, self.controls.head, self.controls.query)),
            grids: self.grids.list().iter().map(GridRun::keep).collect(),
            chunk_len: self.controls.chunk_len,
        }
    }

    fn fail(&mut self, problem: &Problem) {
        self.log.say(Level::Error, problem.to_string());
    }

    /// Takes changed controls; a change of settings runs at once, where it is possible.
    fn apply(&mut self, controls: Controls) {
        if controls == self.controls {
            return;
        }
        let before = std::mem::replace(&mut self.controls, controls);
        let rerun = before.settings != self.controls.settings;
        if rerun || before.grid != self.controls.grid {
            self.undo.remember(before);
        }
        self.settled(rerun);
    }

    /// Judges changed controls, and runs or inspects.
    fn settled(&mut self, rerun: bool) {
        self.dirty = true;
        let method = &self.controls.settings.method;
        self.methods.insert(method.name().to_owned(), method.clone());
        self.judge();
        if rerun && self.verdict.is_ok() {
            self.start_run();
        } else {
            self.inspect();
        }
    }

    /// Asks what the settings would mean.
    fn judge(&mut self) {
        let settings = &self.controls.settings;
        self.model = self.opened.trained_on(settings.trained_context).into_owned();
        self.verdict = settings.check(&self.opened, self.n_prompt());
        if let Ok(checked) = &self.verdict {
            self.own_chunk = checked.plan.chunk_len();
        }
        self.foresee();
        // another method has other fields
        self.field = self.field.min(self.fields().len().saturating_sub(1));
    }

    /// Asks how long the prompt would take.
    fn foresee(&mut self) {
        let step = self.controls.settings.prefill_chunk;
        let (n_tokens, spec) = (self.n_prompt(), &self.model.spec);
        let checked = self.verdict.as_ref().ok().filter(|_| n_tokens > 0);
        self.seconds = self.pace.zip(checked).map(|(pace, checked)| pace.seconds(spec, &checked.plan, n_tokens, step));
    }

    /// Seconds that a prompt of so many tokens would take; before a first one was measured, as guessed.
    pub fn seconds_of(&self, n_tokens: usize) -> Option<f64> {
        let checked = self.verdict.as_ref().ok().filter(|_| (1..=MOST_FORESEEN).contains(&n_tokens))?;
        let step = self.controls.settings.prefill_chunk;
        Some(self.pace_or_guess().seconds(&self.model.spec, &checked.plan, n_tokens, step))
    }

    /// How long the prompts of the grid of the controls would take, as `about 3 min`; nothing where that cannot be told.
    pub fn grid_time(&self) -> Option<String> {
        let (seconds, is_all) = self.grid_seconds(&Asked::of(self))?;
        let about = if is_all { "about" } else { "more than" };
        Some(format!("{about} {}", pace::text(seconds)))
    }

    /// Seconds that the prompts of a grid would take, as far as they are known, and whether all are.
    fn grid_seconds(&self, asked: &Asked) -> Option<(f64, bool)> {
        let (lengths, n_a_length) = (asked.lengths(), asked.n_a_length()?);
        let known: Vec<f64> = lengths.iter().filter_map(|length| self.seconds_of(*length)).collect();
        let seconds = known.iter().sum::<f64>() * n_a_length as f64;
        (!known.is_empty()).then_some((seconds, known.len() == lengths.len()))
    }

    fn pace_or_guess(&self) -> Pace {
        self.pace.unwrap_or_else(|| Pace::guessed(self.start.device.is_some()))
    }

    /// A needle prompt that is there in a few seconds.
    fn first_needle(&self) -> NeedleAsk {
        NeedleAsk { length: self.pace_or_guess().first_length(&self.model.spec), ..NeedleAsk::default() }
    }

    /// Adds to the record.
    fn record(&mut self, step: Step) {
        self.record.add(step);
        self.dirty = true;
    }

    /// Keeps the selected layer and head inside the model.
    fn clamp(&mut self) {
        let spec = &self.model.spec;
        self.controls.layer = self.controls.layer.min(spec.n_layers.saturating_sub(1));
        self.controls.head = self.controls.head.min(spec.n_heads.saturating_sub(1));
    }
}
