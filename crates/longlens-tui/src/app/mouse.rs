//! The mouse: what lies under it was noted by the newest frame.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use super::{App, Focus};
use crate::panes::VIEWS;
use crate::panes::attention::AttentionView;
use crate::pen::Hit;

/// Entries that the wheel scrolls at once.
const WHEEL: i64 = 3;

impl App {
    pub(super) fn mouse(&mut self, event: MouseEvent) {
        let under = self.seen.at(event.column, event.row);
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => match under {
                Some((area, hit)) => self.click(area, hit, event),
                None if self.dialog.is_some() => self.close_dialog(),
                None => (),
            },
            MouseEventKind::Drag(MouseButton::Left) => {
                if let Some((field, column)) = self.drag {
                    let steps = i64::from(event.column) - i64::from(column);
                    if steps != 0 {
                        self.drag = Some((field, event.column));
                        self.nudge(field, steps > 0, false);
                    }
                }
            }
            MouseEventKind::Up(_) => self.drag = None,
            MouseEventKind::ScrollUp => self.wheel(under, event, true),
            MouseEventKind::ScrollDown => self.wheel(under, event, false),
            _ => (),
        }
    }

    fn click(&mut self, area: Rect, hit: Hit, event: MouseEvent) {
        if let Some(dialog) = &mut self.dialog {
            if let Hit::Entry(at) = hit
                && let Some(done) = dialog.click(at)
            {
                self.dialog_done(done);
            }
            return;
        }
        self.take_edit();
        // what was refused was told; the click is about something else
        self.edit = None;
        match hit {
            Hit::Field(at) => {
                self.layout.focus_on(Focus::Controls);
                if self.field == at
                    && self.drag.is_none()
                    && self.fields().get(at).is_some_and(crate::fields::Field::is_word)
                {
                    self.nudge(at, true, false);
                }
                // the click was at a frame of other settings if there are fewer fields now
                self.field = at.min(self.fields().len().saturating_sub(1));
                self.drag = Some((at, event.column));
            }
            Hit::Controls => self.layout.focus_on(Focus::Controls),
            Hit::Tab(pane, at) => {
                self.layout.focus_on(Focus::View(pane));
                self.show(VIEWS[at]);
            }
            Hit::View(pane) => self.layout.focus_on(Focus::View(pane)),
            Hit::Token(token) => {
                self.layout.focus_on(Focus::Tokens);
                let last = self.n_fed().saturating_sub(1);
                self.select(|controls| controls.query = Some(token.min(last)));
            }
            Hit::Tokens => self.layout.focus_on(Focus::Tokens),
            Hit::Head(layer, head) => {
                self.seeks_head = false;
                self.select(|controls| (controls.layer, controls.head) = (layer, head));
            }
            Hit::Run(at) => {
                self.layout.focus_on(Focus::History);
                if self.history == at {
                    self.command(crate::command::Command::Restore);
                }
                self.history = at;
            }
            Hit::History => self.layout.focus_on(Focus::History),
            Hit::Output => self.layout.focus_on(Focus::Output),
            Hit::Map => {
                let (query, _) = self.map_point(area, event);
                let last = self.n_fed().saturating_sub(1);
                self.layout.focus_on(Focus::View(self.layout.pane_of(&AttentionView).unwrap_or(0)));
                self.select(|controls| controls.query = Some(query.min(last)));
            }
            Hit::Entry(_) => (),
        }
    }

    fn wheel(&mut self, under: Option<(Rect, Hit)>, event: MouseEvent, up: bool) {
        let by = if up { -WHEEL } else { WHEEL };
        if let Some(dialog) = &mut self.dialog {
            return dialog.scroll(by);
        }
        match under {
            Some((area, Hit::Map)) => {
                let point = self.map_point(area, event);
                self.zoom(if up { 0.8 } else { 1.25 }, Some(point));
            }
            Some((_, Hit::Head(..))) => self.step_head(0, by.signum()),
            Some((_, Hit::Field(at))) => self.nudge(at, up, false),
            Some((_, Hit::Token(_) | Hit::Tokens)) => self.step_query(by * 4),
            Some((_, Hit::Run(_) | Hit::History)) => {
                let last = self.runs.list.len().saturating_sub(1) as i64;
                self.history = (self.history as i64 + by).clamp(0, last) as usize;
            }
            Some((_, Hit::Output)) => self.scroll = (self.scroll as i64 - by).max(0) as usize,
            Some((_, Hit::Controls)) => {
                let last = self.fields().len() as i64 - 1;
                self.field = (self.field as i64 + by).clamp(0, last) as usize;
            }
            _ => (),
        }
    }

    /// Query and key under a place of the map.
    fn map_point(&self, area: Rect, event: MouseEvent) -> (usize, usize) {
        let window = self.window();
        let at = |place: u16, start: u16, size: u16| {
            let share = (f64::from(place.saturating_sub(start)) + 0.5) / f64::from(size.max(1));
            (share * window.len as f64) as usize
        };
        let query = window.query + at(event.row, area.y, area.height);
        let key = window.key + at(event.column, area.x, area.width);
        let last = self.map_span().saturating_sub(1);
        (query.min(last), key.min(last))
    }
}
