//! What stands around the data of every plot: heading, axes, color bar.

use longlens_core::brief;
use longlens_core::trace::RunRecord;

use crate::color::{GRAY, INK, Rgb, WHITE};
use crate::legend::{Entry, Legend};
use crate::scene::{Anchor, Panel, Rect, Scene};
use crate::{text, ticks};

/// What a plot says of its run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heading {
    /// What ran: the method's text form.
    pub title: String,
    /// On what: model, `RoPE` scaling, number format.
    pub subtitle: String,
}

impl Heading {
    /// The heading of one run.
    pub fn of_run(run: &RunRecord) -> Self {
        let prompt = if run.n_prompt > 0 { format!("prompt of {} tokens", run.n_prompt) } else { String::new() };
        let rope = if run.rope.is_empty() { String::new() } else { run.rope_text() };
        // the exact mode is the default and needs no mention
        let mode = if run.mode == "re-prefill" { "" } else { &run.mode };
        let windows = run.layer_windows.as_ref().map_or(String::new(), |windows| format!("layer windows {windows}"));
        let parts = [&run.model, &rope, &windows, &run.dtype, &run.kernel_path, mode, &prompt];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Self { title: brief::name(&run.method, run.trained_context), subtitle: parts.join(" · ") }
    }
}

/// A mark of an axis.
pub struct Tick {
    /// Its place in pixels along the axis.
    pub at: f64,
    /// What it says.
    pub label: String,
    /// A second, paler line below the first (x axis only).
    pub below: Option<String>,
}

impl Tick {
    pub fn new(at: f64, label: impl Into<String>) -> Self {
        Self { at, label: label.into(), below: None }
    }
}

pub const TICK_SIZE: f64 = 12.0;
const TITLE_SIZE: f64 = 13.0;
/// Room an axis title takes.
pub const TITLE_ROOM: f64 = 21.0;
/// Room left free at the edge of the page.
pub const MARGIN: f64 = 16.0;

/// Pages lower than this have a heading of one line.
const LOW_PAGE: f64 = 256.0;
/// The share of the page below the heading that a legend takes at most while it can be made smaller.
const MOST_LEGEND: f64 = 0.4;

/// Draws heading and legend; returns the room between them.
pub fn frame(scene: &mut Scene, what: &str, heading: &Heading, entries: &[Entry]) -> Rect {
    let (width, height) = (f64::from(scene.size.0), f64::from(scene.size.1));
    let room = width - 2.0 * MARGIN;
    let mut y = MARGIN;
    let lines = [(what, 17.0, INK), (heading.title.as_str(), 14.0, INK), (heading.subtitle.as_str(), 12.0, GRAY)];
    // a low page, as in a small pane, has room for what is shown and not for all that ran
    let n_lines = if height < LOW_PAGE { 1 } else { lines.len() };
    for (text, size, color) in lines.into_iter().take(n_lines) {
        for line in text::wrap(text, size, room) {
            y += size * 0.7;
            scene.text(line, (MARGIN, y), Anchor::Start, size, color);
            y += size * 0.7;
        }
        y += if text.is_empty() { 0.0 } else { 2.0 };
    }
    let legend = Legend::fit(entries, room, (height - y) * MOST_LEGEND);
    let bottom = height - MARGIN - legend.height();
    legend.draw(scene, (MARGIN, bottom));
    let gap = if entries.is_empty() { 0.0 } else { 10.0 };
    Rect { x0: MARGIN, y0: y + 10.0, x1: width - MARGIN, y1: bottom - gap }
}

/// Room an x axis takes below the data.
pub fn x_axis_height(ticks: &[Tick], title: &str) -> f64 {
    let lines = if ticks.iter().any(|tick| tick.below.is_some()) { 2.0 } else { 1.0 };
    let title = if title.is_empty() { 0.0 } else { TITLE_ROOM };
    8.0 + lines * TICK_SIZE * 1.3 + title
}

/// Room a y axis takes left of the data.
pub fn y_axis_width(labels: impl IntoIterator<Item = impl AsRef<str>>, title: &str) -> f64 {
    let widest = labels.into_iter().map(|label| text::width(label.as_ref(), TICK_SIZE)).fold(0.0, f64::max);
    let title = if title.is_empty() { 0.0 } else { TITLE_ROOM };
    widest.ceil() + 10.0 + title
}

/// Marks, labels and title below `area`; labels without room are left out.
pub fn x_axis(scene: &mut Scene, area: Rect, ticks: &[Tick], title: &str) {
    let label_width = |tick: &Tick| {
        let below = tick.below.as_deref().unwrap_or_default();
        text::width(&tick.label, TICK_SIZE).max(text::width(below, TICK_SIZE - 1.0))
    };
    let places: Vec<_> = ticks.iter().map(|tick| (tick.at, label_width(tick))).collect();
    for (tick, shown) in ticks.iter().zip(ticks::evenly(&places, 8.0)) {
        let length = if shown { 5.0 } else { 3.0 };
        scene.rect(Rect { x0: tick.at - 0.5, y0: area.y1, x1: tick.at + 0.5, y1: area.y1 + length }, GRAY);
        if shown {
            let y = area.y1 + 8.0 + TICK_SIZE / 2.0;
            scene.text(&tick.label, (tick.at, y), Anchor::Middle, TICK_SIZE, INK);
            if let Some(below) = &tick.below {
                scene.text(below, (tick.at, y + TICK_SIZE * 1.3), Anchor::Middle, TICK_SIZE - 1.0, GRAY);
            }
        }
    }
    let y = area.y1 + x_axis_height(ticks, title) - TITLE_SIZE / 2.0;
    scene.text(title, (area.center().0, y), Anchor::Middle, TITLE_SIZE, INK);
}

/// Marks, labels and title left of `area`; labels without room are left out.
pub fn y_axis(scene: &mut Scene, area: Rect, ticks: &[Tick], title: &str) {
    let mut order: Vec<_> = ticks.iter().collect();
    order.sort_by(|a, b| a.at.total_cmp(&b.at));
    let places: Vec<_> = order.iter().map(|tick| (tick.at, TICK_SIZE)).collect();
    for (tick, shown) in order.iter().zip(ticks::evenly(&places, 2.0)) {
        let length = if shown { 5.0 } else { 3.0 };
        scene.rect(Rect { x0: area.x0 - length, y0: tick.at - 0.5, x1: area.x0, y1: tick.at + 0.5 }, GRAY);
        if shown {
            scene.text(&tick.label, (area.x0 - 8.0, tick.at), Anchor::End, TICK_SIZE, INK);
        }
    }
    let x = area.x0 - y_axis_width(ticks.iter().map(|tick| &tick.label), title) + TITLE_SIZE / 2.0;
    turned_title(scene, title, x, area);
}

/// A title that runs upwards beside `area`, smaller where the area is low.
fn turned_title(scene: &mut Scene, title: &str, x: f64, area: Rect) {
    let share = (area.height() * 1.3 / text::width(title, TITLE_SIZE)).min(1.0);
    scene.turned_text(title, (x, area.center().1), (TITLE_SIZE * share).max(8.0), INK);
}

/// A color bar: what each color stands for.
pub struct ColorBar<'a> {
    /// Color of every place from 0 (bottom) to 1.
    pub color: &'a dyn Fn(f64) -> Rgb,
    /// Places and what stands there.
    pub ticks: Vec<(f64, String)>,
    /// What is measured.
    pub title: &'a str,
}

impl ColorBar<'_> {
    const BAR: f64 = 16.0;
    const GAP: f64 = 18.0;

    /// Room it takes right of the data, gap included.
    pub fn width(&self) -> f64 {
        let widest = self.ticks.iter().map(|(_, label)| text::width(label, TICK_SIZE)).fold(0.0, f64::max);
        Self::GAP + Self::BAR + 8.0 + widest.ceil() + 8.0 + TITLE_SIZE
    }

    /// Draws it right of `area`, as high as the area.
    pub fn draw(&self, scene: &mut Scene, area: Rect) {
        let x0 = area.x1 + Self::GAP;
        let bar = Rect { x0, x1: x0 + Self::BAR, ..area };
        let n_rows = (bar.height() as usize).clamp(2, 256);
        let steps = Panel { area: bar, n_columns: 1, n_rows };
        scene.cells(&steps, |row, _| Some((self.color)(1.0 - row as f64 / (n_rows - 1) as f64)));
        scene.outline(bar.inset(-1.0), 1.0, GRAY);
        let mut places: Vec<_> =
            self.ticks.iter().map(|(at, label)| (bar.y1 - at * bar.height(), label.as_str())).collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        let room = ticks::with_room(&places.iter().map(|(y, _)| (*y, TICK_SIZE)).collect::<Vec<_>>(), 2.0);
        for ((y, label), shown) in places.into_iter().zip(room) {
            scene.rect(Rect { x0: bar.x1, y0: y - 0.5, x1: bar.x1 + 4.0, y1: y + 0.5 }, GRAY);
            if shown {
                scene.text(label, (bar.x1 + 8.0, y), Anchor::Start, TICK_SIZE, INK);
            }
        }
        let x = area.x1 + self.width() - TITLE_SIZE / 2.0;
        turned_title(scene, self.title, x, area);
    }
}

/// A dashed line at the trained context, with its name on a white ground at the top.
pub fn trained_line(scene: &mut Scene, area: Rect, x: f64, trained_context: usize) {
    scene.dashes(x, area.y0, area.y1, crate::color::ALARM);
    let size = 11.0;
    // beside narrow panels there are others
    let ways = [format!("trained context {trained_context}"), "trained".to_owned()];
    let fits = |label: &String| text::width(label, size) <= area.width();
    let Some(label) = ways.into_iter().find(fits) else { return };
    let half = text::width(&label, size) / 2.0 + 4.0;
    let middle = x.max(area.x0 + half).min(area.x1 - half);
    let ground = Rect { x0: middle - half, y0: area.y0 - 17.0, x1: middle + half, y1: area.y0 - 2.0 };
    scene.rect(ground, WHITE);
    scene.text(label, (middle, area.y0 - 9.0), Anchor::Middle, size, crate::color::ALARM);
}
