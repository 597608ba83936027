//! What a view of the workbench is. Each is one type in the file that draws it; [`crate::panes::VIEWS`] lists them.

use std::fmt;

use longlens_app::Problem;
use longlens_app::runs::RunId;
use longlens_app::views::TraceView;
use ratatui::layout::Rect;

use crate::app::App;
use crate::export::Content;
use crate::pen::Pen;

/// A view: a function of the state that fills a pane, and what keys and files mean there.
///
/// Views change nothing themselves. Keys come back as a [`Step`], which [`App::update`] takes.
pub trait View: Sync {
    /// The word on its tab; no other view has it.
    fn name(&self) -> &str;

    /// What it shows, in one line of the help.
    fn help(&self) -> &'static str;

    /// The keys that matter here, for the line at the bottom.
    fn hints(&self) -> &'static str;

    /// What the pane's frame says: the name, and what of it is shown.
    fn title(&self, _app: &App) -> String {
        self.name().to_owned()
    }

    /// The run behind what is shown, where there is one.
    fn run(&self, _app: &App) -> Option<RunId> {
        None
    }

    /// Whether what is shown is about to be replaced; it is dimmed then.
    fn is_stale(&self, _app: &App) -> bool {
        false
    }

    /// What the worker computes while the view is on the screen, beside the attention of the selected query.
    fn need(&self) -> Option<Need> {
        None
    }

    /// The view of a trace that it shows, where it is one of those that all faces have.
    fn trace_view(&self) -> Option<&'static dyn TraceView> {
        None
    }

    /// Draws the pane's inside.
    fn draw(&self, app: &App, area: Rect, pen: &mut Pen);

    /// What the arrows mean.
    fn step(&self, _app: &App, arrows: Arrows) -> Step {
        Step::Run(arrows.down)
    }

    /// The view of the selected thing that Enter goes on to.
    fn enter(&self) -> Option<&'static dyn View> {
        None
    }

    /// Picture, table and arrays of what is shown.
    ///
    /// # Errors
    ///
    /// Where there is nothing to write yet: why, and what to do.
    fn export(&self, app: &App) -> Result<Content, Problem>;
}

/// What a view needs computed while it is on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The attention map of the selected head.
    Map,
    /// The selected head's maps under the two runs that are compared.
    Difference,
    /// What the view at this place of [`longlens_app::views::TRACE_VIEWS`] records, and its figure.
    Plot(usize),
}

impl Need {
    /// The place of the view whose figure is needed.
    pub(crate) fn plot(self) -> Option<usize> {
        if let Self::Plot(at) = self { Some(at) } else { None }
    }
}

/// Arrow and page keys: steps down and to the right, either of them negative or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrows {
    /// Steps down.
    pub down: i64,
    /// Steps to the right.
    pub right: i64,
    /// Whether the shift key asks for large steps.
    pub far: bool,
}

/// What changes with the arrows of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The selected query moves by so many tokens.
    Query(i64),
    /// This layer and head are selected.
    Head(usize, usize),
    /// The zoomed map moves by eighths of its side, down and to the right.
    Pan(i64, i64),
    /// Another grid is shown, so many after this one.
    Grid(i64),
    /// The run so many lines below is selected in the history.
    Run(i64),
}

impl PartialEq for dyn View + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Debug for dyn View + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
