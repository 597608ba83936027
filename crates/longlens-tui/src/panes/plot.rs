//! The pane of a view of a trace that has none of its own: its figure, and the sentence that says what it shows.

use longlens_app::Problem;
use longlens_app::runs::RunId;
use longlens_app::views::{TRACE_VIEWS, TraceView};
use ratatui::layout::Rect;

use super::attention::notes::{Notes, explain};
use super::chunks::inspected::placeholder;
use crate::app::{App, FigureSize};
use crate::export::{self, Content};
use crate::pen::Pen;
use crate::view::{Arrows, Need, Step, View};

/// A view of a trace.
pub struct PlotView {
    /// Its place in [`TRACE_VIEWS`].
    at: usize,
    /// Its name with a capital.
    name: String,
}

/// Most lines of the sentence.
const CAPTION: usize = 2;
/// Rows below which a figure has no room.
const MIN_ROWS: u16 = 3;

impl PlotView {
    /// The view at a place of [`TRACE_VIEWS`].
    pub fn new(at: usize) -> Self {
        let mut name = TRACE_VIEWS[at].info().name.to_owned();
        name[..1].make_ascii_uppercase();
        Self { at, name }
    }

    /// Whether it shows the selected head.
    fn is_of_head(&self) -> bool {
        let has = |name: &str| TRACE_VIEWS[self.at].info().params.iter().any(|param| param.name == name);
        has("layer") && has("head")
    }
}

impl View for PlotView {
    fn name(&self) -> &str {
        &self.name
    }

    fn help(&self) -> &'static str {
        TRACE_VIEWS[self.at].info().summary
    }

    fn hints(&self) -> &'static str {
        if self.is_of_head() { "←→ query · ↑↓ head" } else { "←→ query" }
    }

    fn title(&self, app: &App) -> String {
        let query = app.plots.of(self.at).trace.key().map_or(app.query(), |key| key.query);
        let (layer, head) = (app.controls.layer, app.controls.head);
        let of_head = if self.is_of_head() { format!(" · layer {layer} head {head}") } else { String::new() };
        format!("{} · query {query}{of_head}", self.name)
    }

    fn run(&self, app: &App) -> Option<RunId> {
        app.plots.of(self.at).trace.key().map(|key| key.run)
    }

    fn is_stale(&self, app: &App) -> bool {
        let plotted = app.plots.of(self.at);
        // a figure may be of an answer before the one that is there
        let drawn = plotted.figure.keyed().map(|((key, _), _)| key);
        plotted.trace.is_stale()
            || plotted.figure.is_stale()
            || drawn.is_some_and(|key| plotted.trace.key() != Some(key))
    }

    fn need(&self) -> Option<Need> {
        Some(Need::Plot(self.at))
    }

    fn trace_view(&self) -> Option<&'static dyn TraceView> {
        Some(TRACE_VIEWS[self.at])
    }

    fn step(&self, app: &App, Arrows { down, right, far }: Arrows) -> Step {
        match down {
            0 => Step::Query(right * if far { 16 } else { 1 }),
            _ if self.is_of_head() => {
                let (layer, head) = app.head_after(0, down);
                Step::Head(layer, head)
            }
            _ => Step::Run(down),
        }
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        let theme = pen.theme;
        let plotted = app.plots.of(self.at);
        let problem = plotted.trace.refusal().or(plotted.figure.refusal());
        let rows = area.height.saturating_sub(CAPTION as u16);
        let figure = Rect { height: if rows < MIN_ROWS { area.height } else { rows }, ..area };
        let (columns, rows) = (figure.width, figure.height);
        let size = FigureSize { columns, rows, cell_pixels: pen.cell_pixels, ground: theme.figure_ground() };
        pen.seen.figures.push((self.at, size));
        match (plotted.figure.answer(), problem) {
            (_, Some(problem)) => explain(pen, area, &[(&problem.to_string(), theme.alarm())]),
            (None, None) => placeholder(app, area, pen),
            (Some(drawn), None) => {
                pen.cells(figure, &drawn.cells, drawn.pixels.as_ref());
                let below = Rect { y: figure.bottom(), height: area.height - figure.height, ..area };
                Notes::new(below).text(pen, &drawn.text, theme.faint(), CAPTION);
            }
        }
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        export::contents::of_plot(app, self.at)
    }
}
