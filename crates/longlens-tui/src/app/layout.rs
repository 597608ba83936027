//! Which views are on the screen, and where keys go.

use crate::panes::VIEWS;
use crate::view::{Need, View};

/// One view or two different ones, and the pane that has the focus, which is always on the screen.
#[derive(Debug, Clone)]
pub struct Layout {
    views: [&'static dyn View; 2],
    is_split: bool,
    focus: Focus,
}

/// Where the keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// Parameters.
    Controls,
    /// Kept runs.
    History,
    /// A view: the first or the second.
    View(usize),
    /// The token strip.
    Tokens,
    /// Text and log.
    Output,
}

impl Layout {
    /// A view, and a second one beside it where one is given; keys go to the controls.
    pub fn new(first: &'static dyn View, second: Option<&'static dyn View>) -> Self {
        let second = second.filter(|second| *second != first);
        Self { views: [first, second.unwrap_or(after(first))], is_split: second.is_some(), focus: Focus::Controls }
    }

    /// Where the keys go.
    pub fn focus(&self) -> Focus {
        self.focus
    }

    /// The views on the screen, by their pane.
    pub fn shown(&self) -> &[&'static dyn View] {
        &self.views[..=usize::from(self.is_split)]
    }

    /// Whether a view is on the screen.
    pub fn shows(&self, view: &dyn View) -> bool {
        self.pane_of(view).is_some()
    }

    /// Whether a view on the screen needs this.
    pub fn needs(&self, need: Need) -> bool {
        self.shown().iter().any(|view| view.need() == Some(need))
    }

    /// The pane of a view that is on the screen.
    pub fn pane_of(&self, view: &dyn View) -> Option<usize> {
        self.shown().iter().position(|shown| shown.name() == view.name())
    }

    /// The view that keys and files are about.
    pub fn active(&self) -> &'static dyn View {
        match self.focus {
            Focus::View(pane) => self.views[pane],
            _ => self.views[0],
        }
    }

    /// Moves the focus.
    pub(super) fn focus_on(&mut self, focus: Focus) {
        self.focus = if focus == Focus::View(1) && !self.is_split { Focus::View(0) } else { focus };
    }

    /// Moves the focus on through everything that is on the screen, or back.
    pub(super) fn step_focus(&mut self, by: i64) {
        let mut order = vec![Focus::Controls];
        order.extend((0..self.shown().len()).map(Focus::View));
        order.extend([Focus::Tokens, Focus::Output, Focus::History]);
        let now = order.iter().position(|focus| *focus == self.focus).unwrap_or(0) as i64;
        self.focus = order[(now + by).rem_euclid(order.len() as i64) as usize];
    }

    /// Shows a view in the focused pane; one that the other pane shows changes places with it.
    pub(super) fn show(&mut self, view: &'static dyn View) {
        let pane = usize::from(self.focus == Focus::View(1));
        if self.is_split && self.views[1 - pane] == view {
            self.views.swap(0, 1);
        } else {
            self.views[pane] = view;
        }
        self.focus = Focus::View(pane);
    }

    /// Shows a second view, or one alone.
    pub(super) fn toggle_split(&mut self) {
        self.is_split = !self.is_split;
        if self.views[0] == self.views[1] {
            self.views[1] = after(self.views[0]);
        }
        self.focus_on(self.focus);
    }
}

/// The view whose tab is the next.
fn after(view: &'static dyn View) -> &'static dyn View {
    let at = VIEWS.iter().position(|known| *known == view).unwrap_or(0);
    VIEWS[(at + 1) % VIEWS.len()]
}
