//! Views of a trace that have no pane of their own: what was recorded for each, and its figure in the size in which it is shown.
//!
//! The worker records what the view asks for; its figure is drawn on a thread of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use longlens_app::Problem;
use longlens_app::prompt::Prompt;
use longlens_app::runs::{Run, RunId, RunState};
use longlens_app::views::{Subject, TRACE_VIEWS, TraceView};
use longlens_app::worker::{Ask, InspectAsk, InspectKind};
use longlens_core::lens::{ModelInfo, Setup};
use longlens_core::setting::{Setting, SettingError, Value};
use longlens_core::trace::Trace;
use longlens_plot::{Canvas, Ground, Pixels, Screen};

use super::{App, Effect, Question};
use crate::view::Need;

/// What is known of every view, by its place in [`TRACE_VIEWS`].
#[derive(Debug, Default)]
pub struct Plots(BTreeMap<usize, Plotted>);

/// What is known of one view.
#[derive(Debug, Default)]
pub struct Plotted {
    /// What was recorded for it.
    pub trace: Question<PlotKey, Arc<Trace>>,
    /// Its figure.
    pub figure: Question<(PlotKey, FigureSize), Drawn>,
}

/// What a view was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct PlotKey {
    /// Which run.
    pub run: RunId,
    /// The query.
    pub query: usize,
    /// Its options.
    pub options: Setting,
    /// Queries whose choices count for hit rates.
    pub answer: Option<Range<usize>>,
    /// Whether the answer is all there, for views that look from it.
    pub is_answered: bool,
}

/// The cells that a figure fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FigureSize {
    /// Cells of a row.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// Pixels of a cell, where the terminal shows real images.
    pub cell_pixels: Option<(u16, u16)>,
    /// What it stands on.
    pub ground: Ground,
}

/// A figure as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// What it shows, in a sentence.
    pub text: String,
    /// As cells.
    pub cells: Screen,
    /// As an image, where the terminal has them.
    pub pixels: Option<Pixels>,
}

/// A figure to be drawn.
#[derive(Debug)]
pub struct DrawAsk {
    /// Its number.
    pub id: u64,
    /// The place of its view in [`TRACE_VIEWS`].
    pub at: usize,
    key: PlotKey,
    sequence: Sequence,
    trace: Arc<Trace>,
    size: FigureSize,
}

/// The sequence of a run, as views look at it.
#[derive(Debug, Clone)]
pub struct Sequence {
    model: ModelInfo,
    setup: Setup,
    n_tokens: usize,
    needle: Option<Range<usize>>,
    /// The queries that give the answer.
    pub(super) answer: Option<Range<usize>>,
    /// The token that is looked from.
    pub query: usize,
    chunk_len: usize,
    base: Option<String>,
    prompt: Arc<Prompt>,
}

impl Plots {
    /// What is known of the view at this place.
    pub fn of(&self, at: usize) -> &Plotted {
        static NOTHING: LazyLock<Plotted> = LazyLock::new(Plotted::default);
        self.0.get(&at).unwrap_or(&NOTHING)
    }

    fn of_mut(&mut self, at: usize) -> &mut Plotted {
        self.0.entry(at).or_default()
    }

    /// What is not recorded yet may be asked again.
    pub(super) fn cancel(&mut self) {
        self.0.values_mut().for_each(|plotted| plotted.trace.cancel());
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes in what was recorded for a view.
    pub(super) fn recorded(&mut self, at: usize, id: u64, trace: Trace) {
        self.of_mut(at).trace.answered(id, |_| Some(Arc::new(trace)));
    }

    /// Takes in why nothing was recorded for a view; false where that was not the newest question.
    pub(super) fn failed(&mut self, at: usize, id: u64, why: Problem) -> bool {
        self.of_mut(at).trace.failed(id, why).is_some()
    }

    /// Takes in a figure.
    pub(super) fn drawn(&mut self, at: usize, id: u64, drawn: Result<Drawn, Problem>) {
        match drawn {
            Ok(drawn) => drop(self.of_mut(at).figure.answered(id, |_| Some(drawn))),
            Err(why) => drop(self.of_mut(at).figure.failed(id, why)),
        }
    }
}

impl Sequence {
    /// The sequence of a run, looked at from a query.
    pub fn of(app: &App, run: &Run, query: usize) -> Result<Self, Problem> {
        let open = app.prompt.answer().filter(|prompt| prompt.source == run.source);
        let prompt = run.prompt.as_ref().or(open);
        let prompt =
            prompt.ok_or_else(|| Problem::new("the prompt of this run is not built", "run it again (r)".to_owned()))?;
        let (n_prompt, spec) = (prompt.tokens.len(), &app.opened.spec);
        let n_tokens = n_prompt + run.generated.len().saturating_sub(1);
        let needle = prompt.needle.as_ref().filter(|needle| !needle.tokens.is_empty());
        let last = n_prompt.saturating_sub(1);
        Ok(Self {
            model: app.opened.trained_on(run.settings.trained_context).into_owned(),
            setup: run.settings.setup_to_inspect(spec, n_prompt)?,
            n_tokens,
            needle: needle.map(|needle| needle.tokens.clone()),
            answer: needle.map(|needle| last..(last + needle.answer.len()).min(n_tokens).max(last)),
            query,
            chunk_len: app.chunk_len(),
            base: run.base.as_ref().map(|base| base.text(spec)),
            prompt: prompt.clone(),
        })
    }

    /// Whether choices are counted that held the needle.
    pub fn counts_hits(&self) -> bool {
        self.answer.is_some() && self.setup.plan.chunk_len().is_some()
    }

    /// The same as views take it.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            query: self.query,
            chunk_len: self.chunk_len,
            answer: self.answer.clone(),
            base: self.base.clone(),
            passages: &self.prompt.passages,
            pieces: &self.prompt.pieces,
            ..Subject::new(&self.model, &self.setup, self.n_tokens, self.needle.clone())
        }
    }
}

impl App {
    /// The options of a view that shows what is selected, all that a command needs to show the same.
    pub fn options(
        &self,
        view: &'static dyn TraceView,
        run: &Run,
        query: usize,
        chunk_len: usize,
    ) -> Result<Setting, SettingError> {
        let mut options = Setting::new(view.info());
        let own = run.settings.plan(&self.opened.spec).ok().and_then(|plan| plan.chunk_len());
        let has = |name: &str| view.info().params.iter().any(|param| param.name == name);
        // a view of one head, or of all of a layer where no head can be given
        let is_of_head = has("layer") && has("head");
        let selected = [
            ("layer", self.controls.layer, is_of_head),
            ("head", self.controls.head, is_of_head),
            ("query", query, has("query")),
            // without a token of its own it is of the whole answer
            ("token", query, has("token") && self.controls.query.is_some()),
            ("chunk_len", chunk_len, has("chunk_len") && own.is_none()),
        ];
        for (name, number, _) in selected.into_iter().filter(|(.., is_set)| *is_set) {
            options.set(name, &Value::Number(number as f64))?;
        }
        Ok(options)
    }

    /// Asks for what the views on the screen that have no pane of their own need of the newest run, and has it drawn.
    pub(super) fn inspect_plots(&mut self) {
        let shown: Vec<usize> =
            self.layout.shown().iter().filter_map(|view| view.need()).filter_map(Need::plot).collect();
        for at in shown {
            self.record_plot(at);
            self.draw_plot(at);
        }
    }

    fn record_plot(&mut self, at: usize) {
        let Some(ask) = self.current.clone() else { return };
        let Some(run) = self.runs.get(ask.id) else { return };
        let view = TRACE_VIEWS[at];
        let watched = Sequence::of(self, run, self.query()).and_then(|sequence| {
            let (query, answer) = (sequence.query, sequence.answer.clone());
            let options = self.options(view, run, query, self.chunk_len())?;
            let watch = view.watch(&sequence.subject(), &options)?;
            let is_answered =
                !sequence.prompt.passages.is_empty() && matches!(run.state, RunState::Done | RunState::Cancelled);
            Ok((PlotKey { run: ask.id, query, options, answer, is_answered }, watch))
        });
        let generated = run.generated.clone();
        let question = &mut self.plots.of_mut(at).trace;
        match watched {
            Ok((key, watch)) if question.is_new(&key) => {
                let id = self.work.number();
                question.ask(id, key);
                let kind = InspectKind::View(at);
                self.work.ask(Ask::Inspect(InspectAsk { id, run: ask, generated, kind, watch }));
            }
            Ok(_) => (),
            Err(problem) => question.clear(Some(problem)),
        }
    }

    /// Has a view drawn that is recorded and on the screen.
    pub(super) fn draw_plot(&mut self, at: usize) {
        let size = self.seen.figures.iter().find(|(shown, _)| *shown == at).map(|(_, size)| *size);
        let (Some(size), Some((key, trace))) = (size, self.plots.of(at).trace.keyed()) else { return };
        let (key, trace) = (key.clone(), trace.clone());
        let asked = (key.clone(), size);
        let Some(run) = self.runs.get(key.run).filter(|_| self.plots.of(at).figure.is_new(&asked)) else { return };
        let Ok(sequence) = Sequence::of(self, run, key.query) else { return };
        let id = self.work.number();
        self.plots.of_mut(at).figure.ask(id, asked);
        self.work.add(Effect::Draw(Box::new(DrawAsk { id, at, key, sequence, trace, size })));
    }
}

impl DrawAsk {
    /// Makes the view and draws it.
    pub fn draw(&self) -> Result<Drawn, Problem> {
        let plot = TRACE_VIEWS[self.at].view(&self.sequence.subject(), &self.key.options, &self.trace)?;
        let plot = plot.on(self.size.ground);
        let problem = |error: longlens_plot::PlotError| Problem::new(error.to_string(), error.help());
        let (columns, rows) = (usize::from(self.size.columns), usize::from(self.size.rows));
        let cells = Screen::of_figure(plot.figure.as_ref(), columns, rows).map_err(problem)?;
        let pixels = self.size.cell_pixels.map(|cell| {
            let (width, height) = (columns as f64 * f64::from(cell.0), rows as f64 * f64::from(cell.1));
            // letters as large as those of the cells, on a page that is large enough for the figure
            let scale = (f64::from(cell.0) / PAGE_CELL).min(width / MIN_PAGE.0).min(height / MIN_PAGE.1);
            let size = Some(((width / scale) as u32, (height / scale) as u32));
            Canvas { size, scale }.to_rgb(plot.figure.as_ref()).map_err(problem)
        });
        Ok(Drawn { text: plot.text, cells, pixels: pixels.transpose()? })
    }
}

/// Logical pixels of a cell's width.
const PAGE_CELL: f64 = 8.0;
/// The smallest page that figures draw on.
const MIN_PAGE: (f64, f64) = (320.0, 240.0);
