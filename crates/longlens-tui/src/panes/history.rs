//! Kept runs, newest first.

use std::fmt::Write;

use longlens_app::runs::{Run, RunState};
use longlens_app::settings::Swap;
use longlens_core::printable::printable_line;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use super::output::words::{rate, shortened};
use crate::app::{App, Focus};
use crate::pen::{Hit, Pen};
use crate::theme::Theme;

/// Cells before a run's name: state, pin, mark, a gap.
const SIGNS: u16 = 4;
/// Cells of a prompt's name that still tell it from another.
const LEAST_SOURCE: u16 = 10;

/// Draws the pane's inside.
pub fn draw(app: &App, area: Rect, pen: &mut Pen) {
    let n = app.runs.list.len();
    if n == 0 {
        pen.text(area.x, area.y, "runs are listed here", area.width, pen.theme.faint());
        return;
    }
    let n_rows = usize::from(area.height).max(1);
    let selected = app.history.min(n - 1);
    // whole pages, so that a clicked run stays under the mouse
    let first = selected / n_rows * n_rows;
    for (row, at) in (first..n.min(first + usize::from(area.height))).enumerate() {
        let place = Rect { y: area.y + row as u16, height: 1, ..area };
        pen.hit(place, Hit::Run(at));
        line(app, &app.runs.list[n - 1 - at], at == selected, place, pen);
    }
}

fn line(app: &App, run: &Run, selected: bool, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let focused = app.layout.focus() == Focus::History;
    if selected {
        let strong = if focused { Modifier::BOLD } else { Modifier::empty() };
        pen.buffer.set_style(area, theme.selected().add_modifier(strong));
    }
    // on the selected row only the ink changes; where it is reversed, ink would become ground
    let plain = selected && theme.selected().add_modifier.contains(Modifier::REVERSED);
    let ink = |style: Style| match (plain, selected) {
        (true, _) => Style::new(),
        (false, true) => Style { bg: None, ..style },
        (false, false) => style,
    };
    let (sign, style) = state(&run.state, theme);
    pen.text(area.x, area.y, sign, area.width, ink(style));
    if run.pinned {
        pen.text(area.x + 1, area.y, "★", area.width.saturating_sub(1), ink(theme.warn()));
    }
    let mark = app.marked.iter().position(|id| *id == run.id);
    if let Some(name) = mark.and_then(|at| ["A", "B"].get(at)) {
        pen.text(area.x + 2, area.y, name, area.width.saturating_sub(2), ink(theme.accent()));
    }
    let end = results(run, area, &ink, pen);
    let room = end.saturating_sub(area.x + SIGNS + 1);
    let is_shown = app.current.as_ref().is_some_and(|current| current.id == run.id);
    let style = if is_shown || run.pinned { theme.text() } else { theme.faint() };
    let name = named(run);
    let style = if selected { Style::new() } else { style };
    let is_mixed = app.runs.list.iter().any(|other| other.source != run.source);
    let most = if is_mixed && room > 3 * LEAST_SOURCE { room - LEAST_SOURCE - 1 } else { room };
    let taken = pen.text(area.x + SIGNS, area.y, &shortened(&name, most), most, style);
    let rest = room.saturating_sub(taken + 1);
    let source = printable_line(&run.source.brief()).into_owned();
    // where runs have several prompts, these are what tells them apart
    if Span::raw(&source).width() <= usize::from(rest) || is_mixed && rest >= LEAST_SOURCE {
        pen.text(area.x + SIGNS + taken + 1, area.y, &shortened(&source, rest), rest, ink(theme.faint()));
    }
}

/// Draws loss or speed and whether the key was found at the right; returns where they begin.
fn results(run: &Run, area: Rect, ink: &dyn Fn(Style) -> Style, pen: &mut Pen) -> u16 {
    let theme = pen.theme;
    let (number, style) = number(run);
    let found = match run.found {
        Some(true) => Some(("✓", theme.good().add_modifier(Modifier::BOLD))),
        Some(false) => Some(("✗", theme.alarm())),
        None => None,
    };
    let width = number.chars().count() as u16 + 2;
    if area.width < width + SIGNS {
        return area.right();
    }
    let x = area.right() - width;
    pen.text(x, area.y, &number, width, if style { ink(theme.text()) } else { ink(theme.faint()) });
    if let Some((sign, style)) = found {
        pen.text(area.right() - 1, area.y, sign, 1, ink(style));
    }
    x
}

/// Mean loss, or the speed while there is none; and whether it is final.
fn number(run: &Run) -> (String, bool) {
    match (run.mean_nll, run.speed.map_or(run.live_speed, |speed| speed.decode)) {
        // beside losses of whole prompts, one of a few tokens is no result
        (Some(loss), _) => (format!("{loss:.2}"), run.nll_from <= 1 || run.base.is_some()),
        (None, Some(speed)) => (format!("{}/s", rate(speed)), run.speed.is_some()),
        (None, None) => (String::new(), false),
    }
}

fn state(state: &RunState, theme: Theme) -> (&'static str, Style) {
    match state {
        RunState::Running | RunState::Generating => ("●", theme.warn()),
        RunState::Done => ("✓", theme.faint()),
        RunState::Failed(_) => ("✗", theme.alarm()),
        RunState::Cancelled => ("◼", theme.faint()),
    }
}

/// The user's name for a run, else its method and what else was given.
pub(super) fn named(run: &Run) -> String {
    if let Some(name) = &run.name {
        return name.clone();
    }
    let mut text = run.settings.method.to_string();
    if let Some(rope) = &run.settings.rope {
        let _ = write!(text, " rope={rope}");
    }
    if let Some(n_tokens) = run.settings.trained_context {
        let _ = write!(text, " trained_context={n_tokens}");
    }
    if run.settings.swap == Swap::ReuseKv && run.base.is_some() {
        text += " reuse-kv";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::output::rig::{app, everywhere, run, shown};
    use super::*;

    #[test]
    fn a_line_tells_state_marks_and_results() {
        let mut app = app();
        assert!(shown(draw, &app, 30, 3).contains("runs are listed here"));
        let id = {
            let first = run(&mut app, "full");
            (first.pinned, first.found, first.mean_nll) = (true, Some(false), Some(2.5));
            first.state = RunState::Done;
            first.id
        };
        app.marked = vec![0, id];
        let second = run(&mut app, "long_heads:chunk_len=32");
        second.live_speed = Some(1234.0);
        let text = shown(draw, &app, 30, 3);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "●   long_heads:chun… 1,234/s");
        assert_eq!(rows[1], "✓★B full needle=512:0.5 2.50 ✗");
        everywhere(draw, &app);
    }

    #[test]
    fn the_selected_run_is_on_the_page() {
        let mut app = app();
        for at in 0..10 {
            run(&mut app, "full").name = Some(format!("run {at}"));
        }
        app.history = 7; // from the newest: run 2
        let text = shown(draw, &app, 30, 3);
        assert!(text.contains("run 3") && text.contains("run 2") && text.contains("run 1"), "{text}");
        app.history = 99;
        assert!(shown(draw, &app, 30, 3).contains("run 0"));
    }
}
