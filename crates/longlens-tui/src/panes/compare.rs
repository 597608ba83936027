//! Two runs side by side: what each predicts better, what each wrote, how the attention of one head differs.

use longlens_app::Problem;
use longlens_app::runs::{Run, RunState};
use longlens_app::settings::Settings;
use longlens_core::trace::{MapWindow, PooledMap};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use self::delta::Delta;
use super::attention::notes::{Notes, explain, number, swatch, wide};
use super::attention::square::Square;
use super::output::words::shortened;
use crate::app::{App, DifferenceKey};
use crate::export::{self, Content};
use crate::pen::{Pen, Raster};
use crate::theme::{Pixel, Theme};
use crate::view::{Arrows, Need, Step, View};

mod delta;
mod outputs;

/// From this size on the difference map has room beside the rest, or below it.
const BESIDE: (u16, u16) = (72, 12);
const BELOW: (u16, u16) = (24, 30);

/// Two runs side by side.
pub struct CompareView;

impl View for CompareView {
    fn name(&self) -> &'static str {
        "Compare"
    }

    fn help(&self) -> &'static str {
        "two runs side by side"
    }

    fn hints(&self) -> &'static str {
        "↑↓ layer · ←→ head · c marks runs"
    }

    fn need(&self) -> Option<Need> {
        Some(Need::Difference)
    }

    fn step(&self, app: &App, arrows: Arrows) -> Step {
        let (layer, head) = app.head_after(arrows.down, arrows.right);
        Step::Head(layer, head)
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        export::contents::compare(app)
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        draw(app, area, pen);
    }
}

fn draw(app: &App, area: Rect, pen: &mut Pen) {
    let Some(runs) = app.compared() else { return too_few(app, area, pen) };
    let [a, b] = runs;
    let same = a.same_prompt(b);
    let mut notes = Notes::new(area);
    titles(app, runs, &mut notes, pen);
    if !same {
        let text = "the prompts differ: only what was written is compared";
        notes.text(pen, text, pen.theme.warn(), 2);
    }
    let body = notes.left;
    let (left, right) = if !same {
        (body, Rect::ZERO)
    } else if body.width >= BESIDE.0 && body.height >= BESIDE.1 {
        // a picture is as wide as two times its rows
        let most = (2 * body.height).min(body.width / 2 - 1);
        let left = Rect { width: body.width - most - 2, ..body };
        (left, Rect { x: left.right() + 2, width: most, ..body })
    } else if body.width >= BELOW.0 && body.height >= BELOW.1 {
        let below = (body.width / 2 + 4).min(body.height / 2);
        let left = Rect { height: body.height - below - 1, ..body };
        (left, Rect { y: left.bottom() + 1, height: below, ..body })
    } else {
        (body, Rect::ZERO)
    };
    let mut notes = Notes::new(left);
    if same {
        delta::draw(app, runs, &Delta::of(runs), &mut notes, pen);
    }
    notes.gap(4);
    outputs::draw(runs, &mut notes, pen);
    if !right.is_empty() {
        difference(app, runs, right, pen);
    }
}

/// The color of the first run or the second, as in the difference of maps.
fn side(theme: Theme, at: usize) -> Style {
    theme.series(at)
}

fn too_few(app: &App, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let finished = |run: &&Run| matches!(run.state, RunState::Done | RunState::Cancelled | RunState::Generating);
    let n = app.runs.list.iter().filter(finished).count();
    let why = match (n, app.marked.len()) {
        (0, _) => "two runs are compared here; there is none yet",
        (1, _) => "two runs are compared here; there is one so far",
        (_, 1) => "one run is marked; mark another one",
        _ => "two runs are compared here",
    };
    explain(
        pen,
        area,
        &[
            (why, theme.text()),
            ("", theme.text()),
            ("P pins the selected run: the next runs are compared with it", theme.faint()),
            ("c marks a run in the history: two marked ones are compared", theme.faint()),
        ],
    );
}

/// Names and settings of both.
fn titles(app: &App, runs: [&Run; 2], notes: &mut Notes, pen: &mut Pen) {
    let theme = pen.theme;
    let texts = Settings::brief_names(&runs.map(|run| &run.settings), &app.opened.spec);
    for (at, (run, text)) in runs.into_iter().zip(texts).enumerate() {
        let name = ["A", "B"][at];
        let state = match &run.state {
            RunState::Running | RunState::Generating => " · running".to_owned(),
            RunState::Cancelled => " · cancelled".to_owned(),
            RunState::Failed(problem) => format!(" · failed: {problem}"),
            RunState::Done => String::new(),
        };
        let title = run.name.as_deref().map_or(String::new(), |name| format!("{name} · "));
        let others = 2 + wide(&title) + wide(&state);
        let room = usize::from(notes.left.width).saturating_sub(others).max(8);
        notes.line_with(
            pen,
            vec![
                Span::styled(format!("{name} "), side(theme, at).add_modifier(ratatui::style::Modifier::BOLD)),
                Span::styled(title, theme.accent()),
                Span::styled(shortened(&text, room as u16), theme.text()),
                Span::styled(state, theme.warn()),
            ],
            vec![Span::styled(format!(" · {}", run.source), theme.faint())],
        );
    }
}

/// The attention of one head under the second run minus that under the first.
fn difference(app: &App, [a, b]: [&Run; 2], area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let mut notes = Notes::new(area);
    let (layer, head) = (app.controls.layer, app.controls.head);
    let title = format!("attention B − A · layer {layer} head {head}");
    notes.line(pen, vec![Span::styled(title, theme.accent())]);
    let asked = |key: &DifferenceKey| (key.runs, key.layer, key.head) == ([a.id, b.id], layer, head);
    let maps = app.difference.keyed().filter(|(key, _)| asked(key));
    let Some((_, maps)) = maps else {
        let over = |run: &Run| matches!(run.state, RunState::Done | RunState::Cancelled);
        let (text, style) = match app.difference.refusal() {
            Some(problem) => (problem.to_string(), theme.alarm()),
            None if !over(a) || !over(b) => ("waits for the end of both runs".to_owned(), theme.faint()),
            None if a.prompt.is_none() || b.prompt.is_none() => (
                "a prompt of an earlier start is not built yet: b in the history brings it back".to_owned(),
                theme.faint(),
            ),
            None => ("being computed …".to_owned(), theme.warn()),
        };
        return notes.text(pen, &text, style, 4);
    };
    let [first, second] = &**maps;
    let n_cells = first.side * first.side;
    let fits = |map: &PooledMap| (map.side, map.stride, map.mean.len()) == (first.side, first.stride, n_cells);
    if first.side == 0 || !fits(first) || !fits(second) {
        return notes.text(pen, "the two maps have different sizes", theme.warn(), 2);
    }
    let cells: Vec<f32> = first.mean.iter().zip(&second.mean).map(|(a, b)| b - a).collect();
    let most = cells.iter().copied().filter(|cell| cell.is_finite()).fold(0.0, |most: f32, cell| most.max(cell.abs()));
    let pooled = if first.stride > 1 { format!(" · {0}×{0} a cell", first.stride) } else { String::new() };
    notes.line_with(
        pen,
        vec![
            swatch(theme, Pixel::Signed(-1.0)),
            Span::styled(" A more  ", theme.text()),
            swatch(theme, Pixel::Signed(1.0)),
            Span::styled(" B more", theme.text()),
        ],
        vec![Span::styled(format!("  ± {}", number(most.into())), theme.faint()), Span::styled(pooled, theme.faint())],
    );
    let window = MapWindow { query: 0, key: 0, len: first.n_tokens.max(1) };
    let Some(square) = Square::fit(pen, notes.left, window) else { return };
    let square = square.even(pen, first.side, first.stride);
    pen.raster(square.area, &picture(&square, first, &cells, most));
    let needle = a.prompt.as_ref().and_then(|prompt| prompt.needle.as_ref());
    let needle = needle.map_or(0..0, |needle| needle.tokens.clone());
    square.axes(pen, &needle);
    square.mark_query(pen, app.query(), theme.accent());
    square.mark_keys(pen, &needle, theme.alarm());
}

/// Differences as shares of the largest; of a pixel's cells the one that differs most.
fn picture(square: &Square, map: &PooledMap, cells: &[f32], most: f32) -> Raster {
    let held = MapWindow { query: 0, key: 0, len: map.n_tokens };
    square.picture((held, map.stride, map.side), |rows, columns| {
        let all = rows.flat_map(|row| &cells[row * map.side..][columns.clone()]);
        let furthest = all.copied().fold(0.0, |far: f32, cell| if cell.abs() > far.abs() { cell } else { far });
        Pixel::Signed(if most > 0.0 { f64::from(furthest / most) } else { 0.0 })
    })
}

#[cfg(test)]
mod tests {
    use longlens_core::trace::MapPick;
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::pen::Seen;
    use crate::theme::{Depth, ThemeName};

    #[test]
    fn the_furthest_difference_of_a_pixel_shows() {
        // 8 tokens in 4 pixels
        let mut cells = vec![0.0; 64];
        (cells[6 * 8], cells[6 * 8 + 1], cells[7 * 8 + 4]) = (0.25, -0.5, 0.5);
        let pick = MapPick::whole(0, 0, 8);
        let map = PooledMap { pick, stride: 1, n_tokens: 8, side: 8, mean: cells.clone(), max: cells.clone() };
        let (mut buffer, mut seen) = (Buffer::empty(Rect::new(0, 0, 5, 3)), Seen::default());
        let theme = Theme { name: ThemeName::Dark, depth: Depth::True };
        let pen = Pen { buffer: &mut buffer, theme, seen: &mut seen, cell_pixels: None };
        let window = MapWindow { query: 0, key: 0, len: 8 };
        let square = Square::fit(&pen, Rect::new(0, 0, 5, 3), window).unwrap();
        assert_eq!(square.size, (4, 4), "beside the room for marks");
        let raster = picture(&square, &map, &cells, 0.5);
        let last = square.size.1 - 1;
        let shown: Vec<_> = (0..4).map(|x| raster.at(x, last)).collect();
        assert_eq!(shown, [-1.0, 0.0, 1.0, 0.0].map(Pixel::Signed));
        assert_eq!([raster.at(0, 0), raster.at(1, 0)], [Pixel::Signed(0.0), Pixel::Empty]);
    }
}
