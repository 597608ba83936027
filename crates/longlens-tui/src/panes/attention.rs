//! Attention map of the selected head: how much each query attends to each key.

use std::ops::Range;

use longlens_app::Problem;
use longlens_app::heads::Heads;
use longlens_app::runs::RunId;
use longlens_app::settings::Swap;
use longlens_app::views::TraceView;
use longlens_app::views::attention::Attention;
use longlens_core::trace::{MapWindow, PooledMap};
use longlens_plot::color::ColorScale;
use ratatui::layout::Rect;
use ratatui::text::Span;

use self::notes::{Notes, explain, number};
use self::square::{Axis, Square};
use super::output::words::shortened;
use crate::app::{App, MapKey, Opening};
use crate::export::{self, Content};
use crate::pen::{Hit, Pen, Raster};
use crate::theme::Pixel;
use crate::view::{Arrows, Need, Step, View};

pub(crate) mod notes;
pub(super) mod square;

/// The weight at the lower end of the logarithmic palette.
const FLOOR: f64 = 1e-5;
/// Columns that the panel beside the map needs.
const PANEL: u16 = 20;
/// Columns of a query's word at most.
const WIDEST_WORD: u16 = 12;
/// Letters of a key's word, from top to bottom.
const FEWEST_LETTERS: usize = 3;
const MOST_LETTERS: usize = 8;

/// Attention map of the selected head.
pub struct AttentionView;

impl View for AttentionView {
    fn name(&self) -> &'static str {
        "Attention"
    }

    fn help(&self) -> &'static str {
        "attention map of the selected head"
    }

    fn hints(&self) -> &'static str {
        "+ - zoom · ↑↓←→ pan"
    }

    fn title(&self, app: &App) -> String {
        let shown = app.map.key().map(|key| (key.layer, key.head));
        let (layer, head) = shown.unwrap_or((app.controls.layer, app.controls.head));
        format!("{} · layer {layer} head {head}", self.name())
    }

    fn run(&self, app: &App) -> Option<RunId> {
        app.map.key().map(|key| key.run)
    }

    fn is_stale(&self, app: &App) -> bool {
        app.map.is_stale()
    }

    fn need(&self) -> Option<Need> {
        Some(Need::Map)
    }

    fn step(&self, _app: &App, Arrows { down, right, far }: Arrows) -> Step {
        let by = if far { 4 } else { 1 };
        Step::Pan(down * by, right * by)
    }

    fn trace_view(&self) -> Option<&'static dyn TraceView> {
        Some(&Attention)
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        export::contents::map(app)
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        draw(app, area, pen);
    }
}

fn draw(app: &App, area: Rect, pen: &mut Pen) {
    if app.n_prompt() == 0 {
        return no_prompt(app, area, pen);
    }
    let window = app.window();
    let Some(square) = Square::fit(pen, area, window) else { return };
    // as the map will be pooled once it has as many cells as fit
    let side = square.size.0.max(8);
    pen.seen.map_side = Some(side);
    let stride = window.len.div_ceil(side).max(1);
    let square = square.even(pen, window.len.div_ceil(stride), stride);

    let needle = needle(app);
    let worded = with_words(app, pen, area, window);
    let square = worded.unwrap_or(square);
    match worded {
        Some(square) => {
            let (theme, query) = (pen.theme, app.query());
            let word = |token: usize, axis: Axis| {
                let is_needle = needle.as_ref().is_some_and(|needle| needle.contains(&token));
                let style = match axis {
                    Axis::Query if token == query => theme.accent(),
                    _ if is_needle => theme.alarm(),
                    _ => theme.faint(),
                };
                (word(app, token), style)
            };
            square.words(pen, word);
        }
        None => square.axes(pen, &needle.clone().unwrap_or(0..0)),
    }
    let map = app.map.keyed().filter(|(_, map)| is_whole(map));
    let scale = if app.zoom.log { ColorScale::Log { floor: FLOOR } } else { ColorScale::Linear };
    let top = map.map_or(0.0, |(_, map)| largest(cells(app, map)));
    if let Some((_, map)) = map {
        let raster = picture(&square, map, cells(app, map), |weight| scale.fraction(f64::from(weight), top));
        pen.raster(square.area, &raster);
    }
    pen.hit(square.area, Hit::Map);
    if let Some(needle) = &needle {
        square.mark_queries(pen, needle, pen.theme.alarm());
    }
    square.mark_query(pen, app.query(), pen.theme.accent());
    if let Some(needle) = needle {
        square.mark_keys(pen, &needle, pen.theme.alarm());
    }

    let x = square.outside().right() + 2;
    let width = area.right().saturating_sub(x);
    if width >= PANEL {
        panel(app, Rect { x, width, ..area }, map, (scale, top), pen);
    }
}

/// The square with words at both axes, where it is zoomed to so few tokens that each has a row.
fn with_words(app: &App, pen: &Pen, area: Rect, window: MapWindow) -> Option<Square> {
    if window.len > usize::from(area.height) {
        return None;
    }
    let tokens = |first: usize| first..(first + window.len).min(app.map_span());
    let widest = tokens(window.query).map(|token| notes::wide(&word(app, token))).max().unwrap_or(0);
    let longest = tokens(window.key).map(|token| word(app, token).chars().count()).max().unwrap_or(0);
    // as much of the words as leaves the picture large enough
    (FEWEST_LETTERS..=longest.clamp(FEWEST_LETTERS, MOST_LETTERS)).rev().find_map(|below| {
        let left = widest.min(usize::from(WIDEST_WORD)) as u16;
        Square::with_words(pen, area, window, (left, below as u16))
    })
}

/// A token's text without blanks around it; a sign where it has no ink.
fn word(app: &App, token: usize) -> String {
    let text = notes::clean(app.piece(token));
    let text = text.trim();
    if text.is_empty() { "·".to_owned() } else { text.to_owned() }
}

/// The needle's tokens.
fn needle(app: &App) -> Option<Range<usize>> {
    Some(app.prompt.answer()?.needle.as_ref()?.tokens.clone())
}

fn cells<'a>(app: &App, map: &'a PooledMap) -> &'a [f32] {
    if app.zoom.max { &map.max } else { &map.mean }
}

/// Whether a map has all of its cells.
fn is_whole(map: &PooledMap) -> bool {
    let n_cells = map.side * map.side;
    map.side > 0 && map.mean.len() == n_cells && map.max.len() == n_cells
}

fn largest(cells: &[f32]) -> f64 {
    cells.iter().copied().filter(|weight| weight.is_finite()).fold(0.0, f32::max).into()
}

/// A map over the tokens of a square, the largest weight of a pixel's cells; empty where it holds nothing, or no weight.
fn picture(square: &Square, map: &PooledMap, cells: &[f32], amount: impl Fn(f32) -> f64) -> Raster {
    let held = map.pick.window.unwrap_or(MapWindow { query: 0, key: 0, len: map.n_tokens });
    square.picture((held, map.stride, map.side), |rows, columns| {
        let weights = rows.flat_map(|row| &cells[row * map.side..][columns.clone()]);
        let weight = weights.copied().fold(0.0, f32::max);
        if weight > 0.0 { Pixel::Amount(amount(weight)) } else { Pixel::Empty }
    })
}

fn no_prompt(app: &App, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let why = match &app.opening {
        Opening::Waiting => "the model is being opened".to_owned(),
        Opening::Failed(problem) => problem.to_string(),
        Opening::Done if app.prompt.waiting().is_some() => "the prompt is being built".to_owned(),
        Opening::Done => "there is no prompt yet".to_owned(),
    };
    let help = "n hides a pass key in filler, o opens a file, p types a text";
    explain(pen, area, &[(&why, theme.text()), (help, theme.faint())]);
}

/// What the map shows, its colors, and where the selected query looks.
fn panel(app: &App, area: Rect, map: Option<(&MapKey, &PooledMap)>, colors: (ColorScale, f64), pen: &mut Pen) {
    let theme = pen.theme;
    let mut notes = Notes::new(area);
    let (layer, head) = (app.controls.layer, app.controls.head);
    let off = if app.switched_off().contains(&(layer, head)) { " × off" } else { "" };
    let title = format!("layer {layer} · head {head}{off}");
    let states: &[&str] = match map {
        None => &[" · being computed …", " …"],
        Some(_) if app.map.is_stale() => &[" · coming …", " …"],
        Some(_) => &[""],
    };
    let state = notes.fitting(notes::wide(&title), states);
    notes.line(pen, vec![Span::styled(title, theme.accent()), Span::styled(state, theme.warn())]);
    let (n, window) = (app.map_span(), app.window());
    let range = |first: usize| label(&(first..(first + window.len).min(n).max(first + 1)));
    let (queries, keys, all) =
        (format!("↓ queries {}", range(window.query)), format!("→ keys {}", range(window.key)), format!(" of {n}"));
    let both = format!("{queries}, {keys}{all}");
    if notes::wide(&both) <= usize::from(area.width) {
        notes.line(pen, vec![Span::styled(both, theme.text())]);
    } else {
        notes.line(pen, vec![Span::styled(queries, theme.text())]);
        notes.line_with(pen, vec![Span::styled(keys, theme.text())], vec![Span::styled(all, theme.text())]);
    }
    if let Some((_, map)) = map {
        let pooling = if app.zoom.max { "largest (m)" } else { "mean (m)" };
        let pooled = match map.stride {
            0 | 1 => ["exact: a token a cell".to_owned(), "a token a cell".to_owned()],
            stride => [format!("{stride}×{stride} a cell: {pooling}"), format!("{stride}×{stride}: {pooling}")],
        };
        let pooled = notes.fitting(0, &pooled.each_ref().map(String::as_str)).to_owned();
        notes.line(pen, vec![Span::styled(pooled, theme.text())]);
        let (scale, top) = colors;
        let (low, name) = match scale {
            ColorScale::Log { .. } => ("≤ 1e-5", "logarithmic (i)"),
            ColorScale::Linear => ("0", "linear (i)"),
        };
        notes.color_bar(pen, (low, &number(top)), Pixel::Amount);
        let blank = notes.fitting(notes::wide(name), &[" · blank: no weight at all", ""]);
        notes.line(pen, vec![Span::styled(name, theme.faint()), Span::styled(blank, theme.faint())]);
    }
    if let Some(anew) = computed_anew(app) {
        let text = format!("reuse-kv: only queries from {anew} on were computed anew, and only they are shown");
        notes.text(pen, &text, theme.warn(), 3);
    }
    notes.gap(3);
    query(app, &mut notes, pen);
}

/// The first query that a `reuse-kv` run computed.
fn computed_anew(app: &App) -> Option<usize> {
    let current = app.current.as_ref().filter(|run| run.settings.swap == Swap::ReuseKv && run.base.is_some())?;
    let last = current.prompt.tokens.len().saturating_sub(1);
    Some(current.query.unwrap_or(last).min(last))
}

/// The selected query and the keys that this head gives most weight.
fn query(app: &App, notes: &mut Notes, pen: &mut Pen) {
    let theme = pen.theme;
    let (layer, head) = (app.controls.layer, app.controls.head);
    let piece = |token: usize| format!("{:?}", notes::clean(app.piece(token)));
    let query = app.query();
    notes.line_with(
        pen,
        vec![Span::styled("▶ ", theme.accent()), Span::styled(format!("query {query} {}", piece(query)), theme.text())],
        vec![Span::styled(if query < app.n_prompt() { "" } else { " · generated" }, theme.faint())],
    );
    let heads = app.heads.answer();
    let heads = heads.filter(|heads| heads.query == query && layer < heads.shape.0 && head < heads.shape.1);
    if let Some(needle) = needle(app) {
        let tokens = label(&needle);
        let ways = match heads.map(|heads| format!("{:.1}%", 100.0 * heads.on(layer, head, &needle))) {
            Some(on) => vec![
                format!("needle {tokens}: {on} of its weight"),
                format!("needle {tokens}: {on}"),
                format!("needle {tokens} {on}"),
                format!("needle {on}"),
            ],
            None => vec![format!("needle {tokens}")],
        };
        let text = notes.fitting(2, &ways.iter().map(String::as_str).collect::<Vec<_>>()).to_owned();
        notes.line(pen, vec![Span::styled("▲ ", theme.alarm()), Span::styled(text, theme.text())]);
    }
    let Some(heads) = heads else { return };
    notes.gap(3);
    let (what, most) = top_keys(heads, layer, head, usize::from(notes.left.height).saturating_sub(1));
    let weight = notes.fitting(what.len(), &[" with the most weight", " with most weight", " by weight"]);
    if most.is_empty() {
        return;
    }
    notes.line(pen, vec![Span::styled(format!("{what}{weight}"), theme.faint())]);
    let largest = most.first().map_or(1.0, |(_, weight)| *weight).max(f32::MIN_POSITIVE);
    let needle = needle(app).unwrap_or(0..0);
    let number = most.iter().map(|(keys, _)| label(keys).len()).max().unwrap_or(0);
    for (keys, weight) in most {
        let row = notes.rows(1);
        if row.is_empty() {
            return;
        }
        let at_needle = keys.start < needle.end && needle.start < keys.end;
        let style = if at_needle { theme.alarm() } else { theme.text() };
        let shown = if keys.len() == 1 { piece(keys.start) } else { String::new() };
        let text = format!("{:>number$} {:>5.1}% ", label(&keys), 100.0 * weight);
        let mut x = row.x + pen.text(row.x, row.y, &text, row.width, style);
        let bar = row.right().saturating_sub(x).min(12) as usize;
        let share = f64::from(weight / largest).clamp(0.0, 1.0);
        let halves = (share * bar as f64 * 2.0).round() as usize;
        pen.text(x, row.y, &bar_of(halves), bar as u16, if at_needle { style } else { theme.accent() });
        x += bar as u16 + 1;
        let room = row.right().saturating_sub(x);
        pen.text(x, row.y, &shortened(&shown, room), room, theme.faint());
    }
}

fn label(keys: &Range<usize>) -> String {
    if keys.len() == 1 { keys.start.to_string() } else { format!("{}–{}", keys.start, keys.end.max(1) - 1) }
}

/// A bar of this many halves of cells.
fn bar_of(halves: usize) -> String {
    "━".repeat(halves / 2) + if halves % 2 == 1 { "╸" } else { "" }
}

/// The `n` keys with the most weight, the heaviest first; chunks where single keys were not recorded.
fn top_keys(heads: &Heads, layer: usize, head: usize, n: usize) -> (&'static str, Vec<(Range<usize>, f32)>) {
    let (what, unit, weights) = match heads.row(layer, head) {
        Some(row) => ("keys", 1, row),
        None => ("chunks", heads.chunk_len.max(1), heads.mass(layer, head)),
    };
    let mut most: Vec<(usize, f32)> = Vec::with_capacity(n + 1);
    for (at, weight) in weights.iter().enumerate() {
        let least = if most.len() < n { 0.0 } else { most.last().map_or(f32::INFINITY, |(_, least)| *least) };
        if *weight > least {
            let place = most.partition_point(|(_, other)| other >= weight);
            most.insert(place, (at, *weight));
            most.truncate(n);
        }
    }
    let tokens = |at: usize| at * unit..((at + 1) * unit).min(heads.query + 1);
    (what, most.into_iter().map(|(at, weight)| (tokens(at), weight)).collect())
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{Lens, Rows, Setup};
    use longlens_core::methods::Method;
    use longlens_core::scripted::ScriptedLens;
    use longlens_core::trace::MapPick;
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::pen::Seen;
    use crate::theme::Theme;

    /// A map of 16 tokens whose query 12 looks at key 5 alone.
    fn map(stride: usize, window: Option<MapWindow>) -> PooledMap {
        let (n_tokens, query, key) = window.map_or((16, 0, 0), |window| (window.len, window.query, window.key));
        let side = n_tokens.div_ceil(stride);
        let mut mean = vec![0.0; side * side];
        mean[(12 - query) / stride * side + (5 - key) / stride] = 0.5;
        let pick = MapPick { layer: 0, head: 0, side, window };
        PooledMap { pick, stride, n_tokens, side, max: mean.clone(), mean }
    }

    /// The tokens of all pixels that are not empty.
    fn seen(map: &PooledMap, rows: u16, window: MapWindow) -> Vec<(Range<usize>, Range<usize>)> {
        let area = Rect::new(0, 0, 2 * rows + 3, rows + 1);
        let (mut buffer, mut seen) = (Buffer::empty(area), Seen::default());
        let theme = Theme { name: crate::theme::ThemeName::Dark, depth: crate::theme::Depth::True };
        let pen = Pen { buffer: &mut buffer, theme, seen: &mut seen, cell_pixels: None };
        let square = Square::fit(&pen, area, window).unwrap();
        let raster = picture(&square, map, &map.mean, f64::from);
        let places = (0..raster.height).flat_map(|y| (0..raster.width).map(move |x| (x, y)));
        let lit = places.filter(|(x, y)| raster.at(*x, *y) == Pixel::Amount(0.5));
        lit.map(|(x, y)| (square.queries(y), square.keys(x))).collect()
    }

    #[test]
    fn a_weight_stays_at_its_tokens_in_every_size_and_window() {
        let all = MapWindow { query: 0, key: 0, len: 16 };
        let part = MapWindow { query: 8, key: 4, len: 8 };
        // as many pixels as tokens, fewer, and a part of it
        assert_eq!(seen(&map(1, None), 8, all), [(12..13, 5..6)]);
        assert_eq!(seen(&map(1, None), 4, all), [(12..14, 4..6)]);
        assert_eq!(seen(&map(2, None), 4, part), [(12..13, 4..5), (12..13, 5..6), (13..14, 4..5), (13..14, 5..6)]);
        // the map of a part, shown over all: the rest is empty
        assert_eq!(seen(&map(1, Some(part)), 8, all), [(12..13, 5..6)]);
        let elsewhere = MapWindow { query: 0, key: 0, len: 4 };
        assert_eq!(seen(&map(1, Some(part)), 4, elsewhere), []);
    }

    #[test]
    fn the_heaviest_keys_come_first() {
        let mut lens = ScriptedLens::saying("ok").attending(|_, head, _, key| match (head, key) {
            (1, 7) => 5.0,
            (1, 3) => 9.0,
            _ => 0.1,
        });
        let setup = Setup { keep_queries: true, ..Setup::new(&Method::full(), &lens.model().spec, 12).unwrap() };
        lens.begin(&setup).unwrap();
        lens.feed(&[9; 12], Rows::None, &mut ()).unwrap();
        let mut watch = Heads::watch(lens.model(), 11, 11..11, 4);
        let heads = Heads::new(lens.inspect(&watch, &mut ()).unwrap(), 11).unwrap();
        let keys = |heads: &Heads, n| top_keys(heads, 0, 1, n).1.into_iter().map(|(keys, _)| keys).collect::<Vec<_>>();
        assert_eq!(keys(&heads, 3), [3..4, 7..8, 0..1]);
        assert_eq!(keys(&heads, 0), []);
        // without rows, chunks
        watch.rows.clear();
        let heads = Heads::new(lens.inspect(&watch, &mut ()).unwrap(), 11).unwrap();
        assert_eq!(keys(&heads, 2), [0..4, 4..8]);
    }
}
