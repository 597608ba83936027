//! Which part of an attention map is shown, and how.

use longlens_core::trace::MapWindow;

/// Fewest tokens of a zoomed map's side.
const MIN_LEN: usize = 8;

/// How attention maps are shown. Lengths are in tokens; `n` is the side of the whole map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Zoom {
    window: Option<MapWindow>,
    /// Colors by powers of ten.
    pub log: bool,
    /// Largest weight of a cell instead of the mean.
    pub max: bool,
}

impl Default for Zoom {
    fn default() -> Self {
        Self { window: None, log: true, max: false }
    }
}

impl Zoom {
    /// The part that was zoomed to; nothing where the whole map is shown.
    pub fn window(&self) -> Option<MapWindow> {
        self.window
    }

    /// The part that is shown of a map of `n` tokens; a text that is generated anew may be shorter than the window was.
    pub fn part(&self, n: usize) -> MapWindow {
        inside(self.window.unwrap_or(MapWindow { query: 0, key: 0, len: n.max(1) }), n)
    }

    /// Back to the whole map.
    pub(super) fn reset(&mut self) {
        self.window = None;
    }

    /// Zooms by a factor around the query and key under the mouse, which stay where they are; without them towards the
    /// selected ones, as long as they are in view.
    pub(super) fn by(&mut self, factor: f64, around: Option<(usize, usize)>, selected: (usize, usize), n: usize) {
        if n == 0 {
            return;
        }
        let now = self.part(n);
        let len = ((now.len as f64 * factor).round() as usize).max(MIN_LEN.min(n));
        if len >= n {
            return self.reset();
        }
        let holds = |start: usize, at: usize| (start..start + now.len).contains(&at);
        let is_near = factor < 1.0 && holds(now.query, selected.0) && holds(now.key, selected.1);
        let middle = if is_near { selected } else { (now.query + now.len / 2, now.key + now.len / 2) };
        let begin = |at: usize, start: usize| {
            let share = if around.is_some() { at.saturating_sub(start) as f64 / now.len as f64 } else { 0.5 };
            (at as f64 - share * len as f64).max(0.0).round() as usize
        };
        let (query, key) = around.unwrap_or(middle);
        self.window = Some(inside(MapWindow { query: begin(query, now.query), key: begin(key, now.key), len }, n));
    }

    /// Moves the window by eighths of its side.
    pub(super) fn pan(&mut self, down: i64, right: i64, n: usize) {
        let Some(window) = self.window else { return };
        let step = (window.len / 8).max(1) as i64;
        let moved = |at: usize, by: i64| (at as i64 + by * step).max(0) as usize;
        let moved = MapWindow { query: moved(window.query, down), key: moved(window.key, right), len: window.len };
        self.window = Some(inside(moved, n));
    }
}

/// A window inside a map of `n` tokens.
fn inside(window: MapWindow, n: usize) -> MapWindow {
    let last = n.saturating_sub(window.len);
    MapWindow { query: window.query.min(last), key: window.key.min(last), len: window.len.min(n.max(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zooming_keeps_the_point_under_the_mouse_and_ends_at_the_whole_map() {
        let mut zoom = Zoom::default();
        zoom.by(0.5, Some((100, 25)), (0, 0), 200);
        assert_eq!(zoom.window(), Some(MapWindow { query: 50, key: 13, len: 100 }));
        zoom.pan(1, 99, 200);
        assert_eq!(zoom.window(), Some(MapWindow { query: 62, key: 100, len: 100 }), "it stays inside");
        assert_eq!(zoom.part(80), MapWindow { query: 0, key: 0, len: 80 }, "a shorter text");
        zoom.by(2.0, None, (0, 0), 200);
        assert_eq!((zoom.window(), zoom.part(200).len), (None, 200));
    }
}
