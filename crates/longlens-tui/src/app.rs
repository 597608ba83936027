//! The state of the workbench. [`App::update`] is the only place where it changes; drawing reads it.
//!
//! What has to happen outside, computing and writing files, leaves as [`Effect`]s; what comes back is an [`Action`] again.

use std::collections::HashMap;
use std::sync::Arc;

use longlens_core::lens::ModelInfo;
use longlens_core::methods::Method;
use longlens_core::printable::printable_line;
use longlens_core::trace::PooledMap;
use longlens_workbench::Trouble;
use longlens_workbench::heads::Heads;
use longlens_workbench::prompt::{NeedleAsk, Prompt, PromptSource};
use longlens_workbench::runs::{RunAsk, RunId, Runs};
use longlens_workbench::session::Session;
use longlens_workbench::settings::{Checked, Settings};
use longlens_workbench::steps::{Start, Step};
use longlens_workbench::worker::Progress;

use crate::dialogs::Dialog;
use crate::fields::Controls;
use crate::panes::VIEWS;
use crate::pen::Seen;
use crate::theme::Theme;
use crate::view::View;

mod commands;
mod jobs;
mod looks;
mod mouse;
mod parts;
mod question;
mod reading;
mod typing;

pub use parts::*;
pub use question::Question;

/// The state of the workbench.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct App {
    /// How the program was started.
    pub start: Start,
    /// The model, from its config until it is open.
    pub model: ModelInfo,
    /// Whether it is open.
    pub opening: Opening,
    /// Everything that the controls set.
    pub controls: Controls,
    /// What the settings would mean, or why they are impossible.
    pub verdict: Result<Checked, Trouble>,
    /// Tokens of the chunks that the newest possible method chooses.
    own_chunk: Option<usize>,
    /// Changes that can be taken back, and taken back ones.
    pub undo: (Vec<Controls>, Vec<Controls>),
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
    /// What computed the cache that `reuse-kv` goes back to.
    base: Option<Settings>,
    /// The base of a run that is restored once its prompt is built.
    restored_base: Option<Settings>,
    /// Attention of every head from the selected query.
    pub heads: Question<HeadsKey, Heads>,
    /// The selected head's map.
    pub map: Question<MapKey, PooledMap>,
    /// The selected head's maps under the two runs that are compared.
    pub difference: Question<DifferenceKey, Box<[PooledMap; 2]>>,
    /// How the map is shown.
    pub map_state: MapState,
    /// Passkey grids, oldest first.
    pub grids: Vec<GridRun>,
    /// The grid that is shown, counted from the newest.
    pub grid_back: usize,
    /// Runs that are marked for the comparison, at most two, in the order of their marking.
    pub marked: Vec<RunId>,
    /// Views of the two panes.
    pub views: [&'static dyn View; 2],
    /// Whether the second is shown.
    pub split: bool,
    /// Where the keys go.
    pub focus: Focus,
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
    pub log: Vec<(Level, String)>,
    /// The newest line of the log, until a key is pressed.
    pub notice: Option<(Level, String)>,
    /// A step that counts once its files are written.
    unwritten: Option<Step>,
    /// What lies over everything.
    pub dialog: Option<Dialog>,
    /// A typed prompt that was not run.
    draft: Option<String>,
    /// Colors.
    pub theme: Theme,
    /// Whether real images are wanted.
    pub images: bool,
    /// Whether the mouse belongs to the program.
    pub mouse: bool,
    /// How far the work is; nothing while there is none.
    pub progress: Option<Progress>,
    /// Whether the worker has something to do.
    pub busy: bool,
    /// What was done, for the record.
    pub steps: Vec<Step>,
    /// What the newest frame shows where.
    pub seen: Seen,
    /// Whether the program is to end.
    pub over: bool,
    /// Whether something changed since the session was kept.
    dirty: bool,
    n_asked: u64,
    /// Questions that went to the worker.
    n_sent: u64,
    n_exported: usize,
    effects: Vec<Effect>,
}

/// Changes that can be taken back.
const UNDO_KEPT: usize = 500;
/// Steps that are recorded.
const STEPS_KEPT: usize = 1000;
/// Lines of the log that are kept.
const LOG_KEPT: usize = 1000;

impl App {
    /// A workbench for a model that is being opened.
    pub fn new(model: ModelInfo, options: Options) -> Self {
        let Options { start, settings, prompt, theme, depth, resume, hint, notes } = options;
        let mut app = Self {
            start,
            opening: Opening::Waiting,
            verdict: settings.check(&model, 0),
            controls: Controls::new(settings),
            own_chunk: None,
            undo: (Vec::new(), Vec::new()),
            methods: HashMap::new(),
            prompt: Question::default(),
            runs: Runs::default(),
            current: None,
            shown: None,
            base: None,
            restored_base: None,
            heads: Question::default(),
            map: Question::default(),
            difference: Question::default(),
            map_state: MapState { window: None, log: true, max: false },
            grids: Vec::new(),
            grid_back: 0,
            marked: Vec::new(),
            views: [VIEWS[0], VIEWS[1]],
            split: false,
            focus: Focus::Controls,
            field: 0,
            edit: None,
            drag: None,
            history: 0,
            token_color: TokenColor::Loss,
            show_log: false,
            scroll: 0,
            log: Vec::new(),
            notice: None,
            unwritten: None,
            dialog: None,
            draft: None,
            theme: Theme { name: theme, depth },
            images: true,
            mouse: true,
            progress: None,
            busy: true,
            steps: Vec::new(),
            seen: Seen::default(),
            over: false,
            dirty: false,
            n_asked: 0,
            n_sent: 0,
            n_exported: 0,
            effects: Vec::new(),
            model,
        };
        if hint {
            app.say(Level::Warning, "a session ended unexpectedly: `longlens --resume` brings it back");
        }
        for warning in app.model.warnings.clone() {
            app.say(Level::Warning, printable_line(&warning).into_owned());
        }
        let needle = NeedleAsk { length: (4 * app.model.spec.trained_context).min(4096), ..NeedleAsk::default() };
        let mut source = prompt;
        if let Some(session) = resume {
            source = source.or(session.source);
            app.controls.settings = session.settings;
            (app.controls.layer, app.controls.head, app.controls.query) = session.selected;
            app.runs = session.runs;
            app.steps = session.steps;
            app.controls.chunk_len = session.chunk_len;
            for kept in session.grids {
                let id = app.next_number();
                app.grids.extend(GridRun::back(id, kept, &app.model.spec));
            }
            app.dirty = true;
            app.say(Level::Note, "the session is back: prompt, settings and pinned runs");
            app.clamp();
        }
        // last, so that they are what the status line shows
        for note in notes {
            app.say(Level::Warning, note);
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
                self.notice = None;
                self.key(key);
            }
            Action::Paste(text) => self.paste(&text),
            Action::Mouse(event) => self.mouse(event),
            Action::Job(event) => self.job(event),
            Action::Drawn(seen) => {
                // a view without a map leaves its size as it was
                let map_side = seen.map_side.or(self.seen.map_side);
                let resized = self.seen.map_side != map_side;
                self.seen = Seen { map_side, ..seen };
                self.scroll = self.scroll.min(self.seen.scroll_max);
                if resized {
                    self.look();
                }
            }
            Action::Wrote(Ok(what)) => {
                self.say(Level::Note, what);
                if let Some(step) = self.unwritten.take() {
                    self.record(step);
                }
            }
            Action::Wrote(Err(trouble)) => {
                self.unwritten = None;
                self.fail(&trouble);
            }
            Action::Tick => {
                if std::mem::take(&mut self.dirty) {
                    let session = Box::new(self.session(false));
                    self.effects.push(Effect::Keep(session));
                }
            }
            Action::Stop => self.quit(),
        }
        std::mem::take(&mut self.effects)
    }

    /// Ends the program and keeps the session as one that ended well.
    fn quit(&mut self) {
        self.over = true;
        let session = Box::new(self.session(true));
        self.effects.extend([Effect::Keep(session), Effect::Quit]);
    }

    /// What survives a crash.
    pub fn session(&self, clean: bool) -> Session {
        let runs = self.runs.only_pinned();
        Session {
            clean,
            saved: 0,
            pid: 0,
            model: self.start.model.clone(),
            trained_context: self.start.trained_context,
            settings: self.controls.settings.clone(),
            source: self.prompt.waiting().or(self.prompt.key()).cloned(),
            runs,
            steps: self.steps.clone(),
            selected: (self.controls.layer, self.controls.head, self.controls.query),
            grids: self.grids.iter().map(GridRun::keep).collect(),
            chunk_len: self.controls.chunk_len,
        }
    }

    /// Adds a line to the log.
    pub fn say(&mut self, level: Level, text: impl Into<String>) {
        self.log.push((level, text.into()));
        self.notice = self.log.last().cloned();
        if self.log.len() > LOG_KEPT {
            self.log.remove(0);
        }
    }

    fn fail(&mut self, trouble: &Trouble) {
        self.say(Level::Error, trouble.to_string());
    }

    /// A number that no question had before.
    fn next_number(&mut self) -> u64 {
        self.n_asked += 1;
        self.n_asked
    }

    /// Takes changed controls; a change of settings runs at once, where it is possible.
    fn apply(&mut self, controls: Controls) {
        if controls == self.controls {
            return;
        }
        let before = std::mem::replace(&mut self.controls, controls);
        let rerun = before.settings != self.controls.settings;
        if rerun || before.grid != self.controls.grid {
            self.remember(before);
        }
        self.settled(rerun);
    }

    /// Keeps controls that undo goes back to.
    fn remember(&mut self, before: Controls) {
        self.undo.0.push(before);
        self.undo.1.clear();
        if self.undo.0.len() > UNDO_KEPT {
            self.undo.0.remove(0);
        }
    }

    /// Judges changed controls, and runs or looks.
    fn settled(&mut self, rerun: bool) {
        self.dirty = true;
        let method = &self.controls.settings.method;
        self.methods.insert(method.name().to_owned(), method.clone());
        self.judge();
        if rerun && self.verdict.is_ok() {
            self.start_run();
        } else {
            self.look();
        }
    }

    /// Asks what the settings would mean.
    fn judge(&mut self) {
        self.verdict = self.controls.settings.check(&self.model, self.n_prompt());
        if let Ok(checked) = &self.verdict {
            self.own_chunk = checked.plan.chunk_len();
        }
        // another method has other fields
        self.field = self.field.min(self.fields().len().saturating_sub(1));
    }

    /// Adds to the record.
    fn record(&mut self, step: Step) {
        self.steps.push(step);
        if self.steps.len() > STEPS_KEPT {
            self.steps.remove(0);
        }
        self.dirty = true;
    }

    /// Keeps selections inside the model and the text.
    fn clamp(&mut self) {
        let spec = &self.model.spec;
        self.controls.layer = self.controls.layer.min(spec.n_layers.saturating_sub(1));
        self.controls.head = self.controls.head.min(spec.n_heads.saturating_sub(1));
    }
}
