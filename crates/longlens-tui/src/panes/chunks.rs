//! Heads × chunks of the selected query: where every head looks, and which chunks it chose.

use std::ops::Range;

use longlens_app::Problem;
use longlens_app::runs::RunId;
use longlens_app::views::TraceView;
use longlens_app::views::chunks::Chunks;
use longlens_app::views::ranking::HeadOrder;
use longlens_plot::color::ColorScale;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};

use super::attention::AttentionView;
use crate::app::App;
use crate::export::{self, Content};
use crate::pen::{Hit, Pen};
use crate::theme::{Depth, Pixel, Theme};
use crate::view::{Arrows, Step, View};

mod around;
pub mod columns;
pub mod inspected;

pub use around::ramp;
use columns::Columns;
use inspected::{Inspected, percent, placeholder};

/// Shares of attention below this look alike.
pub const FLOOR: f64 = 1e-4;
/// Cells of the bar before the needle's share.
const BAR: usize = 5;

/// Heads × chunks of the selected query.
pub struct ChunksView;

impl View for ChunksView {
    fn name(&self) -> &'static str {
        "Chunks"
    }

    fn help(&self) -> &'static str {
        "heads × chunks of the selected query"
    }

    fn hints(&self) -> &'static str {
        "↑↓ head · t order · ←→ query · enter shows its map"
    }

    fn title(&self, app: &App) -> String {
        let shown = app.heads.key().map(|key| (key.query, key.chunk_len));
        let (query, chunk_len) = shown.unwrap_or((app.query(), app.chunk_len()));
        let order = match app.order {
            HeadOrder::Layers => String::new(),
            _ => format!(" · by {} (t)", app.order_name()),
        };
        format!("{} · query {query} · chunks of {chunk_len}{order}", self.name())
    }

    fn run(&self, app: &App) -> Option<RunId> {
        app.heads.key().map(|key| key.run)
    }

    fn is_stale(&self, app: &App) -> bool {
        app.heads.is_stale()
    }

    fn step(&self, app: &App, Arrows { down, right, far }: Arrows) -> Step {
        if down != 0 {
            let selected = (app.controls.layer, app.controls.head);
            let listed = app.ranking.as_ref().and_then(|ranking| ranking.after(selected, down));
            let (layer, head) = listed.unwrap_or_else(|| app.head_after(0, down));
            return Step::Head(layer, head);
        }
        Step::Query(right * app.chunk_len() as i64 * if far { 4 } else { 1 })
    }

    fn enter(&self) -> Option<&'static dyn View> {
        Some(&AttentionView)
    }

    fn trace_view(&self) -> Option<&'static dyn TraceView> {
        Some(&Chunks)
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        export::contents::of_heads(app, &Chunks)
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        draw(app, area, pen);
    }
}

fn draw(app: &App, area: Rect, pen: &mut Pen) {
    let Some(inspected) = Inspected::of(app) else { return placeholder(app, area, pen) };
    show(&inspected, area, app.zoom.log, pen);
}

fn show(inspected: &Inspected, area: Rect, log: bool, pen: &mut Pen) {
    let layout = Layout::new(inspected, area);
    let scale = if log { ColorScale::Log { floor: FLOOR } } else { ColorScale::Linear };
    around::header(inspected, &layout, pen);
    rows(inspected, &layout, scale, pen);
    around::profile(inspected, &layout, pen);
    around::foot(inspected, &layout, scale, pen);
}

/// What stands where.
#[derive(Debug, Clone, PartialEq)]
struct Layout {
    area: Rect,
    /// Where the cells are.
    cells: Rect,
    columns: Columns,
    /// Rows above the cells: tokens, chunks, needle.
    above: Above,
    /// Where the numbers at the right begin, and how wide the first of them is.
    numbers: (u16, u16),
    /// Whether the first number has a bar.
    has_bars: bool,
    /// Heads that are shown, by their place among all.
    heads: Range<usize>,
    /// Empty rows between layers.
    gap: u16,
    /// Rows below the heads and above the foot.
    rest: Rect,
    /// Lines of the foot.
    foot: Foot,
}

/// Lines above the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Above {
    tokens: bool,
    chunks: bool,
    needle: bool,
}

/// Lines below the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Foot {
    summary: bool,
    detail: bool,
    legend: bool,
}

impl Layout {
    fn new(inspected: &Inspected, area: Rect) -> Self {
        let ((n_layers, n_heads), height) = (inspected.heads.shape, area.height);
        let above =
            Above { tokens: height >= 20, chunks: height >= 3, needle: height >= 12 && inspected.needle.is_some() };
        let foot = Foot { summary: height >= 4, detail: height >= 11, legend: height >= 6 };
        let n_above = [above.tokens, above.chunks, above.needle].map(u16::from).iter().sum::<u16>();
        let n_foot = [foot.summary, foot.detail, foot.legend].map(u16::from).iter().sum::<u16>();
        let room = height.saturating_sub(n_above + n_foot);

        let n = n_layers * n_heads;
        let first = columns::scrolled(n, usize::from(room), inspected.place());
        let heads = first..n.min(first + usize::from(room));
        let gap = u16::from(n + n_layers - 1 <= usize::from(room) && !inspected.is_ranked());
        let taken = heads.len() as u16 + gap * (n_layers as u16).saturating_sub(1);

        // the label, its bracket, the cells, the numbers
        let label = (label((n_layers - 1, n_heads - 1)).len() as u16 + 3).min(area.width);
        let has_bars = area.width >= 90 && inspected.needle.is_some();
        let first_number = match inspected.needle {
            Some(_) => 7 + if has_bars { BAR as u16 + 1 } else { 0 },
            None => inspected.heads.n_chunks().to_string().len() as u16 + 6,
        };
        let second_number = inspected.hits(0, 0).map_or(0, |(_, n)| (2 * n.to_string().len() as u16 + 2).max(4));
        let numbers =
            if area.width >= label + first_number + second_number + 8 { first_number + second_number } else { 0 };
        let width = area.width - label - numbers;
        let columns = Columns::fit(inspected.heads.n_chunks(), usize::from(width));
        let (x, y) = (area.x + label, area.y + n_above);
        Self {
            area,
            cells: Rect { x, y, width: columns.width() as u16, height: taken },
            columns,
            above,
            numbers: (x + columns.width() as u16, if numbers == 0 { 0 } else { first_number }),
            has_bars,
            heads,
            gap,
            rest: Rect { x, y: y + taken, width: columns.width() as u16, height: room - taken },
            foot,
        }
    }

    /// The first cell of a column.
    fn x(&self, column: usize) -> u16 {
        self.cells.x + (column * self.columns.cells) as u16
    }
}

fn label((layer, head): (usize, usize)) -> String {
    format!("L{layer} H{head}")
}

/// What a column of a head's row shows beside its color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Forced,
    Chosen,
}

/// What of the needle lies in a column.
#[derive(Debug, Clone, Copy)]
struct Outline {
    inside: bool,
    left: bool,
    right: bool,
}

fn rows(inspected: &Inspected, layout: &Layout, scale: ColorScale, pen: &mut Pen) {
    let needle = inspected.chunks.as_ref().map_or(0..0, |chunks| layout.columns.of(chunks));
    let mut marks = vec![Mark::None; layout.columns.n];
    for (row, at) in layout.heads.clone().enumerate() {
        let (layer, head) = inspected.head_at(at);
        let y = layout.cells.y + row as u16 + layout.gap * layer as u16;
        let line = Rect { y, height: 1, ..layout.area };
        pen.hit(line, Hit::Head(layer, head));
        name(inspected, layout, (layer, head), row == 0, y, pen);
        marks.fill(Mark::None);
        for (chunk, is_forced) in inspected.picks(layer, head) {
            // where chunks share a column, a choice counts for more than a chunk that is always there
            if let Some(mark) = marks.get_mut(chunk / layout.columns.per) {
                *mark = if is_forced && *mark != Mark::Chosen { Mark::Forced } else { Mark::Chosen };
            }
        }
        let masses = layout.columns.pool(inspected.heads.mass(layer, head));
        for (column, mass) in masses.enumerate() {
            let pixel = pixel(mass, scale);
            let outline = Outline {
                inside: needle.contains(&column),
                left: needle.start == column,
                right: needle.end == column + 1,
            };
            cell(layout, column, y, pixel, marks[column], outline, pen);
        }
        numbers(inspected, layout, (layer, head), y, pen);
    }
}

/// A share of attention; none at all is not seen, which is less than little.
pub fn pixel(mass: f32, scale: ColorScale) -> Pixel {
    if mass > 0.0 { Pixel::Amount(scale.fraction(f64::from(mass), 1.0)) } else { Pixel::Empty }
}

/// A head's name and the bracket around its layer.
fn name(inspected: &Inspected, layout: &Layout, at: (usize, usize), is_top: bool, y: u16, pen: &mut Pen) {
    let ((layer, head), n_heads) = (at, inspected.heads.shape.1);
    let (area, theme) = (layout.area, pen.theme);
    let width = layout.cells.x - area.x;
    let is_selected = at == inspected.selected;
    let label = format!("{}{}", label(at), inspected.sign(at));
    let text = format!(" {label:<0$}", usize::from(width.saturating_sub(2)));
    let style = if is_selected { theme.selected().add_modifier(Modifier::BOLD) } else { theme.text() };
    pen.text(area.x, y, &text, width.saturating_sub(1), style);
    if head > 0 && !is_top && !is_selected && !inspected.is_ranked() {
        let layer = format!("L{layer}");
        pen.text(area.x + 1, y, &layer, width.saturating_sub(1), theme.faint());
    }
    let bracket = match head {
        _ if n_heads == 1 || inspected.is_ranked() => "╶",
        0 => "╭",
        _ if head + 1 == n_heads => "╰",
        _ => "│",
    };
    let style = if layer == inspected.selected.0 { theme.accent() } else { theme.faint() };
    pen.text(layout.cells.x.saturating_sub(1).max(area.x), y, bracket, width.min(1), style);
}

fn cell(layout: &Layout, column: usize, y: u16, pixel: Pixel, mark: Mark, outline: Outline, pen: &mut Pen) {
    let theme = pen.theme;
    let (base, is_mono) = (theme.ink_on(pixel), theme.depth == Depth::Mono);
    let ground = if is_mono { Theme::shade(pixel) } else { ' ' };
    let n = layout.columns.cells;
    let place = (n - 1) / 2;
    for at in 0..n {
        let (sign, style) = match mark {
            Mark::Chosen | Mark::Forced if at == place => {
                (chosen(theme, mark, pixel), if outline.inside { alarm_on(theme, pixel) } else { base })
            }
            _ if outline.left && at == 0 => (if is_mono { '[' } else { '▏' }, base.patch(theme.alarm())),
            _ if outline.right && at + 1 == n && n > 1 => (if is_mono { ']' } else { '▕' }, base.patch(theme.alarm())),
            _ => (ground, base),
        };
        if let Some(cell) = pen.buffer.cell_mut(Position::new(layout.x(column) + at as u16, y)) {
            cell.set_char(sign).set_style(style);
        }
    }
}

/// Signs of chosen chunks where there are no colors, and of those that always are: little, more, much.
const CHOSEN: &str = "oO@";
const ALWAYS: &str = "-=#";

/// The sign of a chosen chunk; it stands where the shade of the amount would, so without colors it tells the amount.
fn chosen(theme: Theme, mark: Mark, pixel: Pixel) -> char {
    let is_forced = mark == Mark::Forced;
    if theme.depth != Depth::Mono {
        return if is_forced { '○' } else { '●' };
    }
    let third = if let Pixel::Amount(amount) = pixel { (amount.clamp(0.0, 1.0) * 3.0) as usize } else { 0 };
    let signs = if is_forced { ALWAYS } else { CHOSEN };
    char::from(signs.as_bytes()[third.min(2)])
}

/// The needle's color where it reads on the ground, else plain bold ink.
pub fn alarm_on(theme: Theme, pixel: Pixel) -> Style {
    let base = theme.ink_on(pixel);
    match pixel {
        Pixel::Amount(amount) if amount > 0.55 => base.add_modifier(Modifier::BOLD),
        _ => base.patch(theme.alarm()),
    }
}

/// The share on the needle and how often it was chosen; without a needle the chunk with most.
fn numbers(inspected: &Inspected, layout: &Layout, (layer, head): (usize, usize), y: u16, pen: &mut Pen) {
    let (x, width) = layout.numbers;
    if width == 0 {
        return;
    }
    let (theme, end) = (pen.theme, layout.area.right());
    let plain = if (layer, head) == inspected.selected { theme.selected() } else { theme.text() };
    if let Some(text) = inspected.ranked_number((layer, head)) {
        pen.text(x, y, &format!("{text:>0$}", usize::from(width)), end.saturating_sub(x), plain);
        return;
    }
    let Some(share) = inspected.on_needle(layer, head) else {
        if let Some((chunk, mass)) = most(inspected.heads.mass(layer, head)) {
            let text = format!(" {chunk:>0$} {1:>4}", usize::from(width) - 6, percent(mass));
            pen.text(x, y, &text, end.saturating_sub(x), plain);
        }
        return;
    };
    let style = if share >= 0.1 { plain.patch(theme.alarm()) } else { plain };
    let mut text_x = x;
    if layout.has_bars {
        let eighths = (share.clamp(0.0, 1.0) * 8.0 * BAR as f32).round() as usize;
        let bar: String = (0..BAR).map(|at| part(eighths.saturating_sub(8 * at).min(8))).collect();
        pen.text(x + 1, y, &bar, BAR as u16, theme.text().patch(theme.alarm()));
        text_x += BAR as u16 + 1;
    }
    let text = format!("{:>7}", percent(share));
    pen.text(text_x, y, &text, end.saturating_sub(text_x), style);
    if let Some((hit, n)) = inspected.hits(layer, head) {
        let style = if hit == 0 { theme.faint() } else { plain };
        let text = format!(" {:>1$}", format!("{hit}/{n}"), (2 * n.to_string().len() + 1).max(3));
        pen.text(x + width, y, &text, end.saturating_sub(x + width), style);
    }
}

/// A part of a lying bar, in eighths.
fn part(eighths: usize) -> char {
    const PARTS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    PARTS[eighths.min(8)]
}

/// The chunk with most attention.
fn most(mass: &[f32]) -> Option<(usize, f32)> {
    let top = columns::largest(mass);
    let chunk = mass.iter().position(|value| *value >= top)?;
    Some((chunk, top))
}

#[cfg(test)]
mod tests;
