//! All layers × heads as small panels: which ones fetch the needle, and where in the text each looks.

use std::ops::Range;

use longlens_app::Problem;
use longlens_app::heads::{NEAR, SINK};
use longlens_app::runs::RunId;
use longlens_app::views::TraceView;
use longlens_app::views::layers::Layers;
use longlens_app::views::ranking::{HeadOrder, Ranking};
use longlens_plot::color::ColorScale;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::attention::AttentionView;
use super::attention::notes::number;
use super::chunks::columns::{bar, behind, largest, scrolled};
use super::chunks::inspected::{Inspected, joined, placeholder};
use super::chunks::ramp;
use super::output::words::shortened;
use crate::app::App;
use crate::export::{self, Content};
use crate::pen::{Hit, Pen};
use crate::theme::{Depth, Pixel, Theme};
use crate::view::{Arrows, Step, View};

/// Largest panel: cells across and down, gaps included.
const LARGEST: (u16, u16) = (28, 6);
/// Most numbers that the profiles of a frame may pool.
const MOST_POOLED: usize = 4 << 20;
/// Shares below this look alike on a logarithmic scale, as long as the largest is far above it.
const FLOOR: f64 = 1e-3;
/// A list of the best stands beside so many heads or more.
const MANY: usize = 64;
/// Columns from which on the legend has room for the needle's bars.
const LEGEND: u16 = 52;
/// Columns of that list, and those that the panels keep.
const LIST: u16 = 18;
const FEWEST_COLUMNS: u16 = 34;

/// All layers × heads, and which of them fetch the needle.
pub struct LayersView;

impl View for LayersView {
    fn name(&self) -> &'static str {
        "Layers"
    }

    fn help(&self) -> &'static str {
        "all layers × heads: which ones fetch the needle"
    }

    fn hints(&self) -> &'static str {
        "↑↓←→ select · t order · i scale · enter shows its map"
    }

    fn title(&self, app: &App) -> String {
        let shown = app.heads.key().map(|key| key.query);
        format!("{} · query {}", self.name(), shown.unwrap_or(app.query()))
    }

    fn run(&self, app: &App) -> Option<RunId> {
        app.heads.key().map(|key| key.run)
    }

    fn is_stale(&self, app: &App) -> bool {
        app.heads.is_stale()
    }

    /// A panel to the right is the next head, one below the same head of the next layer.
    fn step(&self, app: &App, Arrows { down, right, .. }: Arrows) -> Step {
        let (spec, selected) = (&app.model.spec, &app.controls);
        let moved = |at: usize, by: i64, n: usize| (at as i64 + by).clamp(0, n as i64 - 1) as usize;
        Step::Head(moved(selected.layer, down, spec.n_layers), moved(selected.head, right, spec.n_heads))
    }

    fn enter(&self) -> Option<&'static dyn View> {
        Some(&AttentionView)
    }

    fn trace_view(&self) -> Option<&'static dyn TraceView> {
        Some(&Layers)
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        export::contents::of_heads(app, &Layers)
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        draw(app, area, pen);
    }
}

pub(super) fn draw(app: &App, area: Rect, pen: &mut Pen) {
    let Some(inspected) = Inspected::of(app) else { return placeholder(app, area, pen) };
    let Some(ranking) = inspected.ranking else { return placeholder(app, area, pen) };
    let scale = Scale::new(ranking, app.zoom.log);
    let (area, list) = aside(area, inspected.heads.shape);
    let grid = Grid::new(inspected.heads.shape, inspected.selected, area);
    names(&inspected, &grid, pen);
    for layer in grid.layers.clone() {
        for head in grid.heads.clone() {
            let place = grid.panel(layer, head);
            panel(&inspected, &grid, (layer, head), (ranking.number((layer, head)), scale), pen);
            pen.hit(Rect { width: grid.pitch.0, height: grid.pitch.1, ..place }, Hit::Head(layer, head));
        }
    }
    overview(&inspected, &grid, (ranking.numbers(), scale), pen);
    words(&inspected, &grid, ranking, scale, pen);
    if let Some(list) = list {
        best_heads(&inspected, ranking, list, pen);
    }
}

/// How numbers become colors and words.
#[derive(Debug, Clone, Copy)]
struct Scale {
    order: HeadOrder,
    top: f32,
    colors: ColorScale,
}

impl Scale {
    /// Up to the largest number of all heads. Most heads are near nothing, so that shares are told apart by powers of ten.
    fn new(ranking: &Ranking, is_log: bool) -> Self {
        let top = largest(ranking.numbers()).max(1e-6);
        let is_share = matches!(ranking.order, HeadOrder::Layers | HeadOrder::Score);
        let floor = FLOOR.min(f64::from(top) / 10.0);
        let colors = if is_log && is_share { ColorScale::Log { floor } } else { ColorScale::Linear };
        Self { order: ranking.order, top, colors }
    }

    fn pixel(self, number: f32) -> Pixel {
        Pixel::Amount(self.colors.fraction(f64::from(number), f64::from(self.top)))
    }

    /// A number in as many cells as there are.
    fn value(self, number: f32, width: usize) -> String {
        match self.order {
            HeadOrder::Layers | HeadOrder::Score => value(number, width),
            HeadOrder::Entropy if width > 3 => format!("{number:.2}"),
            HeadOrder::Entropy => fitting(format!("{number:.1}"), width),
            HeadOrder::Distance if width > 0 => {
                let whole = format!("{number:.0}");
                fitting(if whole.len() > width { format!("{:.0}k", number / 1e3) } else { whole }, width)
            }
            HeadOrder::Distance => String::new(),
        }
    }

    /// What the colors end at.
    fn ends(self) -> (String, String) {
        match self.colors {
            ColorScale::Log { floor } => (format!("≤ {}", number(floor)), self.value(self.top, 4)),
            ColorScale::Linear => ("0".to_owned(), self.value(self.top, 4)),
        }
    }
}

/// A text where it fits.
fn fitting(text: String, width: usize) -> String {
    if text.len() <= width { text } else { String::new() }
}

/// Where many heads are beside one another, room for a list of the best at the right.
fn aside(area: Rect, shape: (usize, usize)) -> (Rect, Option<Rect>) {
    if shape.0 * shape.1 < MANY || area.width < LIST + FEWEST_COLUMNS || area.height < 8 {
        return (area, None);
    }
    let list = Rect { x: area.right() - LIST, width: LIST, height: area.height - 2, ..area };
    (Rect { width: area.width - LIST, ..area }, Some(list))
}

/// The heads with the best numbers, best first; a click selects one.
fn best_heads(inspected: &Inspected, ranking: &Ranking, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let title = format!(" by {}", name_of(ranking.order, inspected.needle.is_some()));
    pen.text(area.x, area.y, &shortened(&title, area.width), area.width, theme.faint());
    let n = usize::from(area.height - 1).min(ranking.best.len());
    let place = ranking.best.iter().position(|head| *head == inspected.selected).unwrap_or(0);
    let first = scrolled(ranking.best.len(), n, place);
    for (row, (at, head)) in (first..first + n).map(|at| (at, ranking.best[at])).enumerate() {
        let y = area.y + 1 + row as u16;
        let style = if head == inspected.selected { theme.selected() } else { theme.text() };
        let number = Scale::new(ranking, false).value(ranking.number(head), 5);
        let text = format!("{:>4} {:<8}{number:>5}", at + 1, format!("L{}H{}{}", head.0, head.1, inspected.sign(head)));
        pen.text(area.x, y, &text, area.width, style);
        pen.hit(Rect { y, height: 1, ..area }, Hit::Head(head.0, head.1));
    }
}

/// What heads are compared by; in the order of layers it is the score.
fn name_of(order: HeadOrder, has_needle: bool) -> &'static str {
    match order {
        HeadOrder::Layers => HeadOrder::Score.name(has_needle),
        order => order.name(has_needle),
    }
}

/// What stands where.
#[derive(Debug, Clone, PartialEq)]
struct Grid {
    area: Rect,
    /// Where the panels are.
    panels: Rect,
    /// Cells from panel to panel.
    pitch: (u16, u16),
    /// Cells between panels.
    gap: (u16, u16),
    /// Layers and heads that are shown.
    layers: Range<usize>,
    heads: Range<usize>,
    has_names: bool,
    has_top: bool,
    has_legend: bool,
}

impl Grid {
    fn new(shape: (usize, usize), selected: (usize, usize), area: Rect) -> Self {
        let (has_names, has_top, has_legend) = (area.height >= 3, area.height >= 4, area.height >= 6);
        let label = ((shape.0 - 1).to_string().len() as u16 + 3).min(area.width.saturating_sub(1));
        let width = area.width - label;
        let height = area.height.saturating_sub(u16::from(has_names) + u16::from(has_top) + u16::from(has_legend));
        let pitch = |room: u16, n: usize, most: u16| ((usize::from(room) / n) as u16).clamp(1, most);
        let pitch = (pitch(width, shape.1, LARGEST.0), pitch(height, shape.0, LARGEST.1));
        let shown = |n: usize, room: u16, selected: usize| {
            let first = scrolled(n, usize::from(room), selected);
            first..n.min(first + usize::from(room))
        };
        Self {
            area,
            panels: Rect { x: area.x + label, y: area.y + u16::from(has_names), width, height },
            pitch,
            gap: (u16::from(pitch.0 >= 4), u16::from(pitch.1 >= 4)),
            layers: shown(shape.0, height / pitch.1, selected.0),
            heads: shown(shape.1, width / pitch.0, selected.1),
            has_names,
            has_top,
            has_legend,
        }
    }

    /// The colored cells of a head that is shown.
    fn panel(&self, layer: usize, head: usize) -> Rect {
        Rect {
            x: self.panels.x + (head - self.heads.start) as u16 * self.pitch.0,
            y: self.panels.y + (layer - self.layers.start) as u16 * self.pitch.1,
            width: self.pitch.0 - self.gap.0,
            height: self.pitch.1 - self.gap.1,
        }
    }

    /// Whether panels have room for bars over so many chunks.
    fn has_profiles(&self, n_chunks: usize) -> bool {
        let is_quick = self.layers.len() * self.heads.len() * n_chunks <= MOST_POOLED;
        self.pitch.1 - self.gap.1 >= 2 && self.pitch.0 - self.gap.0 >= 3 && is_quick
    }
}

/// Heads above, layers at the left.
fn names(inspected: &Inspected, grid: &Grid, pen: &mut Pen) {
    let theme = pen.theme;
    let style = |is_selected| if is_selected { theme.accent() } else { theme.faint() };
    for layer in grid.layers.clone() {
        let y = grid.panels.y + (layer - grid.layers.start) as u16 * grid.pitch.1;
        let width = grid.panels.x - grid.area.x;
        pen.text(
            grid.area.x + 1,
            y,
            &format!("L{layer}"),
            width.saturating_sub(1),
            style(layer == inspected.selected.0),
        );
    }
    if !grid.has_names {
        return;
    }
    let digits = grid.heads.end.to_string().len();
    let step = (digits + 2).div_ceil(usize::from(grid.pitch.0)).next_power_of_two();
    let selected = inspected.selected.1;
    for head in grid.heads.clone() {
        let is_near = head != selected && head.abs_diff(selected) < step;
        if head == selected || (head % step == 0 && !is_near) {
            let x = grid.panels.x + (head - grid.heads.start) as u16 * grid.pitch.0;
            let text = format!("H{head}");
            let inside = (grid.pitch.0 - grid.gap.0).saturating_sub(text.len() as u16) / 2;
            pen.text(x + inside, grid.area.y, &text, grid.area.right().saturating_sub(x), style(head == selected));
        }
    }
}

/// One head: its score on its color, below it where in the text it looks.
fn panel(inspected: &Inspected, grid: &Grid, at: (usize, usize), (score, scale): (f32, Scale), pen: &mut Pen) {
    let (theme, place) = (pen.theme, grid.panel(at.0, at.1));
    let pixel = scale.pixel(score);
    let (style, is_selected) = (theme.ink_on(pixel), at == inspected.selected);
    let has_profile = grid.has_profiles(inspected.heads.n_chunks());
    // without a profile below it the whole panel has its color
    let n_rows = if has_profile { 1 } else { place.height };
    let ground = if theme.depth == Depth::Mono { Theme::shade(pixel) } else { ' ' };
    for position in (Rect { height: n_rows, ..place }).positions() {
        if let Some(cell) = pen.buffer.cell_mut(position) {
            cell.set_char(ground).set_style(style);
        }
    }
    let width = usize::from(place.width);
    // the marks of the selected one stand at the edges
    let room = if is_selected && width >= 6 { width - 2 } else { width };
    let value = marked(inspected.sign(at), |width| scale.value(score, width), room);
    let has_gap = grid.gap.0 > 0;
    let y = place.y + (n_rows - 1) / 2;
    let x = place.x + (width.saturating_sub(value.chars().count()) / 2) as u16;
    let selected = theme.text().patch(theme.accent()).add_modifier(Modifier::REVERSED);
    // the selected head: marks at both edges or beside them, where they leave its color visible, else all of it
    let marks = match width {
        6.. => Some((place.x, place.right() - 1)),
        _ if has_gap => Some((place.x - 1, place.right())),
        _ => None,
    };
    let style = if is_selected { style.add_modifier(Modifier::BOLD) } else { style };
    match (is_selected, marks) {
        (true, None) => {
            let sign = if value.is_empty() { "◆".to_owned() } else { format!("{value:<width$}") };
            pen.text(place.x, y, &sign, place.width, selected);
        }
        _ => {
            pen.text(x, y, &value, place.right().saturating_sub(x), style);
        }
    }
    if let Some((left, right)) = marks.filter(|_| is_selected) {
        for y in place.y..place.y + n_rows {
            pen.text(left, y, "▸", 1, if has_gap && width < 6 { theme.accent() } else { selected });
            pen.text(right, y, "◂", 1, if has_gap && width < 6 { theme.accent() } else { selected });
        }
    }
    if has_profile {
        profile(inspected, at, Rect { y: place.y + 1, height: place.height - 1, ..place }, pen);
    }
}

/// A head's number behind the sign of one that is switched off, in so many cells: the sign takes the place of the point, where there is
/// no room for both.
fn marked(sign: &str, value: impl Fn(usize) -> String, width: usize) -> String {
    match (sign, width) {
        ("", _) => value(width),
        (sign, 0..3) => sign.chars().take(width).collect(),
        (sign, 3) => {
            let rest: String = value(width).trim_start_matches('.').chars().take(width - 1).collect();
            format!("{sign}{}", rest.trim_end_matches('.'))
        }
        (sign, 4..6) => format!("{sign}{}", value(width - 1)),
        (sign, _) => format!("{sign} {}", value(width - 2)),
    }
}

/// The color of a profile.
fn bars(theme: Theme) -> Style {
    if theme.depth == Depth::Mono { theme.text() } else { theme.series(0) }
}

/// A score in as many cells as there are.
fn value(score: f32, width: usize) -> String {
    match width {
        0..3 => String::new(),
        // as most of many heads are
        _ if score < 0.005 => "·".to_owned(),
        3 if score >= 0.995 => "1.0".to_owned(),
        3 => format!("{score:.2}").trim_start_matches('0').to_owned(),
        _ => format!("{score:.2}"),
    }
}

/// Bars over the text, as high as the head's largest; those on the needle stand out.
fn profile(inspected: &Inspected, (layer, head): (usize, usize), area: Rect, pen: &mut Pen) {
    let (mass, theme) = (inspected.heads.mass(layer, head), pen.theme);
    let (n, top) = (usize::from(area.width), largest(mass));
    if top <= 0.0 {
        return;
    }
    let plain = bars(theme);
    for at in 0..n {
        let chunks = behind(at, n, mass.len());
        let share = largest(&mass[chunks.clone()]) / top;
        let eighths = (share * 8.0 * f32::from(area.height)).round() as usize;
        let on_needle =
            inspected.chunks.as_ref().is_some_and(|needle| needle.start < chunks.end && chunks.start < needle.end);
        let style = if on_needle { theme.text().patch(theme.alarm()) } else { plain };
        for row in 0..area.height.min(eighths.div_ceil(8) as u16) {
            let place = Position::new(area.x + at as u16, area.bottom() - 1 - row);
            if let Some(cell) = pen.buffer.cell_mut(place) {
                cell.set_char(bar(eighths, usize::from(row))).set_style(style);
            }
        }
    }
}

/// Where not all layers fit: the best score of all of them in one column, from first to last.
fn overview(inspected: &Inspected, grid: &Grid, (scores, scale): (&[f32], Scale), pen: &mut Pen) {
    let (n_layers, n_heads) = inspected.heads.shape;
    let used = grid.heads.len() as u16 * grid.pitch.0;
    if grid.layers.len() == n_layers || grid.panels.width < used + 2 {
        return;
    }
    let theme = pen.theme;
    let n = usize::from(grid.panels.height);
    let best = |part: usize, n_parts: usize| {
        let layers = behind(part, n_parts, n_layers);
        scale.pixel(largest(&scores[layers.start * n_heads..layers.end * n_heads]))
    };
    let x = grid.panels.x + used + 1;
    for row in 0..n {
        let Some(cell) = pen.buffer.cell_mut(Position::new(x, grid.panels.y + row as u16)) else { continue };
        if theme.depth == Depth::Mono {
            cell.set_char(Theme::shade(best(row, n)));
        } else {
            let (upper, lower) = (best(2 * row, 2 * n), best(2 * row + 1, 2 * n));
            cell.set_char('▀').set_fg(theme.pixel(upper)).set_bg(theme.pixel(lower));
        }
    }
}

/// The best heads in words, and the legend.
fn words(inspected: &Inspected, grid: &Grid, ranking: &Ranking, scale: Scale, pen: &mut Pen) {
    let (area, theme) = (grid.area, pen.theme);
    let (n_layers, n_heads) = inspected.heads.shape;
    let mut y = area.bottom();
    let (x, width) = (area.x + 1, area.width.saturating_sub(1));
    if grid.has_legend {
        y -= 1;
        let is_long = width >= 83;
        let name = match scale.order {
            HeadOrder::Entropy => "entropy in nats",
            HeadOrder::Distance => "distance in tokens",
            _ if inspected.needle.is_some() => "on the needle",
            _ => "on far tokens",
        };
        let attention = if matches!(scale.order, HeadOrder::Layers | HeadOrder::Score) { "attention " } else { "" };
        let what = if is_long { format!("colour and number: {attention}") } else { String::new() };
        let (low, high) = scale.ends();
        let mut spans = vec![Span::styled(format!("{what}{name} {low} "), theme.faint())];
        spans.extend(ramp(theme, if is_long { 6 } else { 4 }));
        spans.push(Span::styled(format!(" {high}"), theme.faint()));
        if grid.has_profiles(inspected.heads.n_chunks()) {
            spans.push(Span::styled(" ▃▆", bars(theme)));
            spans.push(Span::styled(" chunks", theme.faint()));
            // without colors its bars look like the others
            if inspected.needle.is_some() && theme.depth != Depth::Mono && width >= LEGEND {
                spans.push(Span::styled(" ▆", theme.alarm()));
                spans.push(Span::styled(" needle", theme.faint()));
            }
        }
        if !inspected.off.is_empty() {
            let taken = spans.iter().map(Span::width).sum::<usize>();
            let ways = [" × switched off", " × off"];
            let way = ways.iter().find(|way| taken + way.chars().count() <= usize::from(width));
            spans.push(Span::styled(*way.unwrap_or(&""), theme.text()));
        }
        pen.line(x, y, &Line::from(spans), width);
    }
    if grid.has_top {
        y -= 1;
        let mut parts = vec![best(inspected, ranking, scale, usize::from(width))];
        if grid.layers.len() < n_layers {
            parts.push(format!("layers {}–{} of {n_layers}", grid.layers.start, grid.layers.end - 1));
        }
        if grid.heads.len() < n_heads {
            parts.push(format!("heads {}–{} of {n_heads}", grid.heads.start, grid.heads.end - 1));
        }
        match inspected.needle_name() {
            Some(name) => parts.push(format!("needle: {name}")),
            None => parts.push(format!("far: not the nearest {NEAR} tokens, not the first {SINK}")),
        }
        pen.text(x, y, &joined(&parts, usize::from(width)), width, theme.text());
    }
}

/// The five best heads, best first, or as many of them as fit.
fn best(inspected: &Inspected, ranking: &Ranking, scale: Scale, width: usize) -> String {
    let mut text = String::new();
    for (layer, head) in ranking.best.iter().take(5).copied() {
        let before = if text.is_empty() { "top: " } else { ", " };
        let (sign, number) = (inspected.sign((layer, head)), scale.value(ranking.number((layer, head)), 4));
        let told = format!("{before}L{layer}H{head}{sign} {number}");
        if !text.is_empty() && text.chars().count() + told.chars().count() > width {
            break;
        }
        text.push_str(&told);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(shape: (usize, usize), selected: (usize, usize), width: u16, height: u16) -> Grid {
        Grid::new(shape, selected, Rect::new(3, 2, width, height))
    }

    #[test]
    fn panels_are_as_large_as_fits() {
        let small = grid((2, 4), (0, 0), 86, 23);
        assert_eq!((small.pitch, small.gap), ((20, 6), (1, 1)));
        let wide = grid((12, 12), (0, 0), 76, 15);
        assert_eq!((wide.pitch, wide.gap, wide.layers, wide.heads), ((5, 1), (1, 0), 0..12, 0..12));
    }

    #[test]
    fn many_heads_have_a_cell_each_and_the_selected_layer_is_shown() {
        for layer in 0..32 {
            let many = grid((32, 32), (layer, 31), 76, 15);
            assert_eq!((many.pitch, many.heads.clone()), ((2, 1), 0..32));
            assert!(many.layers.contains(&layer) && many.layers.len() == 12, "{layer}: {:?}", many.layers);
        }
    }

    #[test]
    fn panels_lie_inside_at_any_size() {
        for (width, height) in (1..90).flat_map(|width| (1..30).map(move |height| (width, height))) {
            for shape in [(1, 1), (2, 4), (30, 9), (32, 64)] {
                let grid = grid(shape, (shape.0 - 1, shape.1 - 1), width, height);
                for (layer, head) in grid.layers.clone().flat_map(|l| grid.heads.clone().map(move |h| (l, h))) {
                    let place = grid.panel(layer, head);
                    assert_eq!(place.intersection(grid.panels), place, "{shape:?} in {width} x {height}");
                    assert!(!place.is_empty());
                }
                assert!(grid.layers.contains(&(shape.0 - 1)) && grid.heads.contains(&(shape.1 - 1)));
            }
        }
    }

    #[test]
    fn a_number_behind_a_sign_takes_no_more_cells() {
        let of = |score: f32, width: usize| marked("×", |width| value(score, width), width);
        assert_eq!([1, 2, 3, 4, 6].map(|width| of(0.934, width)), ["×", "×", "×93", "×.93", "× 0.93"]);
        assert_eq!([of(0.999, 3), of(0.0, 3), of(0.999, 4)], ["×1", "×·", "×1.0"]);
        assert_eq!(marked("", |width| value(0.934, width), 3), ".93");
    }

    #[test]
    fn scores_are_told_in_the_cells_there_are() {
        assert_eq!([3, 4, 2].map(|width| value(0.934, width)), [".93", "0.93", ""]);
        assert_eq!([3, 4].map(|width| value(0.999, width)), ["1.0", "1.00"]);
    }
}
