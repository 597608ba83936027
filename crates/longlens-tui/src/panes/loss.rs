//! Loss against position: one line per pinned run, and the newest.

use std::cmp::Ordering;
use std::ops::Range;

use longlens_app::Problem;
use longlens_app::runs::{Run, RunId};
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::history::named;
use super::output::words::{perplexity, shortened, tokens, wrap};
use crate::app::App;
use crate::export::{self, Content};
use crate::pen::Pen;
use crate::theme::Depth;
use crate::view::View;

use bins::{binned, mean};

mod bins;

/// Lines that can be told apart.
const MOST: usize = 8;
/// Cells of the losses at the left.
const LABELS: u16 = 5;
/// Dots of a cell: across and down.
const DOTS: (usize, usize) = (2, 4);
/// Signs of the lines where there are no colors.
const SIGNS: [char; MOST] = ['●', '×', '+', 'o', '#', '*', '~', '@'];

/// Loss against position.
pub struct LossView;

impl View for LossView {
    fn name(&self) -> &'static str {
        "Loss"
    }

    fn help(&self) -> &'static str {
        "loss against position, one line per pinned run"
    }

    fn hints(&self) -> &'static str {
        "P pins a run, in the history"
    }

    fn run(&self, app: &App) -> Option<RunId> {
        app.shown
    }

    fn is_stale(&self, app: &App) -> bool {
        app.is_stale() && app.shown.is_some()
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        export::contents::loss(app)
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        draw(app, area, pen);
    }
}

fn draw(app: &App, area: Rect, pen: &mut Pen) {
    let runs = runs(app);
    if runs.iter().all(|run| run.nll.is_empty()) {
        return explain(app, area, pen);
    }
    let n_tokens = runs.iter().map(|run| run.nll_from + run.nll.len()).max().unwrap_or(1);
    let n_names = runs.len().min(usize::from(area.height / 3)) as u16;
    let plot = Rect {
        x: area.x + LABELS + 1,
        y: area.y + n_names,
        width: area.width.saturating_sub(LABELS + 1),
        height: area.height.saturating_sub(n_names + 2),
    };
    if plot.width < 2 || plot.height < 2 {
        return names(app, &runs, area, 1, pen);
    }
    let n_dots = usize::from(plot.width) * DOTS.0;
    let smooth = (n_tokens / 32).clamp(1, 64);
    let lines: Vec<_> = runs.iter().map(|run| binned(&run.nll, run.nll_from, n_tokens, n_dots, smooth)).collect();
    let top = lines.iter().flatten().flatten().fold(0.0f64, |top, loss| top.max(*loss)).max(0.1);
    // the first row stays free for a name
    let rows = f64::from(plot.height);
    let axes = Axes { plot, n_tokens, top: top * rows / (rows - 1.0) };
    trained(app, &axes, pen);
    if pen.theme.depth == Depth::Mono {
        signs(&lines, &axes, pen);
    } else {
        curves(&lines, &axes, pen);
    }
    ticks(app, &axes, area, pen);
    names(app, &runs, Rect { height: n_names, ..area }, smooth.max(n_tokens / n_dots), pen);
}

/// Pinned runs, oldest first, and the newest that has something to show.
fn runs(app: &App) -> Vec<&Run> {
    let shown = app.shown_run();
    let is_other = |run: &&Run| shown.is_none_or(|shown| shown.id != run.id);
    let mut runs: Vec<&Run> = app.runs.pinned().filter(is_other).collect();
    // the newest pins, where there are too many
    let skipped = (runs.len() + usize::from(shown.is_some())).saturating_sub(MOST);
    runs.drain(..skipped);
    runs.extend(shown);
    runs
}

/// How tokens and losses become places.
#[derive(Debug, Clone, Copy)]
struct Axes {
    plot: Rect,
    n_tokens: usize,
    top: f64,
}

impl Axes {
    /// The column of a token.
    fn column(&self, token: usize) -> u16 {
        let width = usize::from(self.plot.width);
        self.plot.x + (token * width / self.n_tokens.max(1)).min(width - 1) as u16
    }

    /// The dot of a loss, from the top.
    fn dot(&self, loss: f64) -> usize {
        let last = (usize::from(self.plot.height) * DOTS.1 - 1) as f64;
        ((1.0 - (loss / self.top).clamp(0.0, 1.0)) * last).round() as usize
    }
}

/// Draws lines of braille dots; a cell has the color of the later line.
fn curves(lines: &[Vec<Option<f64>>], axes: &Axes, pen: &mut Pen) {
    const BITS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
    let (width, height) = (usize::from(axes.plot.width), usize::from(axes.plot.height));
    let mut cells = vec![(0u8, 0usize); width * height];
    for (idx, line) in lines.iter().enumerate() {
        let mut before = None;
        for (x, loss) in line.iter().enumerate() {
            let Some(loss) = loss else {
                before = None;
                continue;
            };
            let y = axes.dot(*loss);
            let from = before.replace(y).unwrap_or(y);
            // down or up to the new height, without the dot that the column before has
            let (low, high) = match from.cmp(&y) {
                Ordering::Less => (from + 1, y),
                Ordering::Equal => (y, y),
                Ordering::Greater => (y, from - 1),
            };
            for dot in low..=high {
                let cell = &mut cells[dot / DOTS.1 * width + x / DOTS.0];
                let bit = BITS[x % DOTS.0][dot % DOTS.1];
                // where lines are the same, their colors take turns
                let is_theirs = cell.0 & bit != 0 && cell.1 != idx && x / (2 * DOTS.0) % (idx + 1) != idx;
                *cell = (cell.0 | bit, if is_theirs { cell.1 } else { idx });
            }
        }
    }
    for (at, (bits, idx)) in cells.into_iter().enumerate() {
        let place = (axes.plot.x + (at % width) as u16, axes.plot.y + (at / width) as u16);
        if let (1.., Some(cell)) = (bits, pen.buffer.cell_mut(place)) {
            let sign = char::from_u32(0x2800 + u32::from(bits)).unwrap_or('·');
            cell.set_char(sign).set_style(pen.theme.series(idx));
        }
    }
}

/// Draws a sign of its own for every line.
fn signs(lines: &[Vec<Option<f64>>], axes: &Axes, pen: &mut Pen) {
    for (idx, line) in lines.iter().enumerate() {
        for (column, losses) in line.chunks(DOTS.0).enumerate() {
            let Some(loss) = losses.iter().flatten().next() else { continue };
            let y = axes.plot.y + (axes.dot(*loss) / DOTS.1) as u16;
            if let Some(cell) = pen.buffer.cell_mut((axes.plot.x + column as u16, y)) {
                // where lines are the same, their signs take turns
                if column % (idx + 1) != idx && cell.symbol().starts_with(SIGNS) {
                    continue;
                }
                cell.set_char(SIGNS[idx % MOST]).set_style(pen.theme.series(idx));
            }
        }
    }
}

/// The end of the trained context.
fn trained(app: &App, axes: &Axes, pen: &mut Pen) {
    let trained = app.model.spec.trained_context;
    if trained >= axes.n_tokens {
        return;
    }
    let (x, style) = (axes.column(trained), pen.theme.warn());
    for y in axes.plot.top()..axes.plot.bottom() {
        pen.text(x, y, "┊", 1, style);
    }
    let text = format!(" beyond {} trained", tokens(trained));
    let room = axes.plot.right().saturating_sub(x + 1);
    if usize::from(room) >= text.len() {
        pen.text(x + 1, axes.plot.y, &text, room, style);
    }
}

/// Losses at the left, tokens below, and where the needle lies.
fn ticks(app: &App, axes: &Axes, area: Rect, pen: &mut Pen) {
    let (theme, plot) = (pen.theme, axes.plot);
    let (x, bottom) = (plot.x - 1, plot.bottom());
    for y in plot.top()..bottom {
        pen.text(x, y, "│", 1, theme.faint());
    }
    let rows = usize::from(plot.height);
    let step = nice(axes.top / (rows as f64 / 2.5).clamp(1.0, 6.0));
    for nth in 0..=(axes.top / step) as usize {
        let y = plot.y + (axes.dot(nth as f64 * step) / DOTS.1) as u16;
        let text = number(nth as f64 * step, step);
        pen.text(area.x, y, &format!("{text:>4}"), LABELS.min(area.width), theme.faint());
        pen.text(x, y, "┤", 1, theme.faint());
    }
    pen.text(area.x, bottom + 1, "nats", LABELS, theme.faint());
    pen.text(x, bottom, "└", 1, theme.faint());
    pen.text(plot.x, bottom, &"─".repeat(plot.width.into()), plot.width, theme.faint());
    let per_label = axes.n_tokens.div_ceil((usize::from(plot.width) / 9).max(1)).next_power_of_two();
    let mut free = plot.x - 1;
    for token in (0..axes.n_tokens).step_by(per_label) {
        let text = tokens(token);
        let width = text.len() as u16;
        let column = axes.column(token);
        let start = column.saturating_sub(width / 2).max(plot.x - 1);
        if start < free || start + width > area.right() {
            continue;
        }
        pen.text(column, bottom, "┬", 1, theme.faint());
        pen.text(start, bottom + 1, &text, width, theme.faint());
        free = start + width + 1;
    }
    let unit = "tokens";
    if free + unit.len() as u16 <= area.right() {
        pen.text(area.right() - unit.len() as u16, bottom + 1, unit, unit.len() as u16, theme.faint());
    }
    if let Some(needle) = needle(app) {
        let last = axes.n_tokens.saturating_sub(1);
        let (from, to) = (axes.column(needle.start.min(last)), axes.column((needle.end - 1).min(last)));
        let width = to + 1 - from;
        pen.text(from, bottom, &"▀".repeat(width.into()), width, theme.alarm().remove_modifier(Modifier::DIM));
    }
}

/// The tokens that tell the key of the shown run's prompt.
fn needle(app: &App) -> Option<Range<usize>> {
    let prompt = app.shown_run().and_then(|run| run.prompt.as_ref()).or(app.prompt.answer())?;
    prompt.needle.as_ref().map(|needle| needle.tokens.clone()).filter(|tokens| !tokens.is_empty())
}

/// What each line is: its run, its mean loss and perplexity, inside the trained context and beyond it.
fn names(app: &App, runs: &[&Run], area: Rect, smooth: usize, pen: &mut Pen) {
    let theme = pen.theme;
    let shown: Option<RunId> = app.shown;
    let trained = app.model.spec.trained_context;
    let n_rows = usize::from(area.height);
    // the newest are the ones that stay
    let skipped = runs.len().saturating_sub(n_rows);
    for (row, (idx, run)) in runs.iter().enumerate().skip(skipped).enumerate() {
        let numbers = means(run, trained, area.width >= 80);
        let width = Span::raw(&numbers).width() as u16;
        let sign = if theme.depth == Depth::Mono { format!("{} ", SIGNS[idx % MOST]) } else { "━ ".to_owned() };
        let room = area.width.saturating_sub(width + 4);
        let ink = if shown == Some(run.id) { theme.text() } else { theme.faint() };
        let line = Line::from(vec![
            Span::styled(sign, theme.series(idx)),
            Span::styled(shortened(&named(run), room), ink),
            Span::styled(format!("  {numbers}"), theme.text()),
        ]);
        pen.line(area.x, area.y + row as u16, &line, area.width);
        if row > 0 {
            continue;
        }
        let mut spans = Vec::new();
        if skipped > 0 {
            spans.push(Span::styled(format!("{skipped} more above  "), theme.faint()));
        } else if needle(app).is_some() {
            spans.extend([Span::styled("▀ ", theme.alarm()), Span::styled("needle  ", theme.faint())]);
        }
        if smooth > 1 {
            spans.push(Span::styled(format!("mean of {smooth}"), theme.faint()));
        }
        let note = Line::from(spans);
        let (taken, own) = (line.width() as u16, note.width() as u16);
        if taken + own + 2 <= area.width {
            pen.line(area.right() - own, area.y, &note, own);
        }
    }
}

/// Mean loss over the prompt and its perplexity in words.
fn means(run: &Run, trained: usize, long: bool) -> String {
    let losses = run.prompt_nll();
    let (inside, beyond) = losses.split_at(trained.saturating_sub(run.nll_from).min(losses.len()));
    let means = (mean(inside), mean(beyond));
    let n = losses.len() as f64;
    let both = match means {
        (Some(a), Some(b)) => (a * inside.len() as f64 + b * beyond.len() as f64) / n,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) if run.base.is_some() => return "no losses under reuse-kv".to_owned(),
        (None, None) => return "no losses".to_owned(),
    };
    // a kept prompt's own tokens have none
    let is_part = run.nll_from > 1 && run.base.is_none();
    let of = if is_part { format!(" of the last {}", losses.len()) } else { String::new() };
    let text = format!("{both:.2} nats · ppl {}{of}", perplexity(both));
    match means {
        (Some(inside), Some(beyond)) if long => format!("{text} · {inside:.2} inside, {beyond:.2} beyond"),
        _ => text,
    }
}

fn explain(app: &App, area: Rect, pen: &mut Pen) {
    let text = match app.run() {
        Some(run) if run.base.is_some() => "reuse-kv computed no losses: w goes back to re-prefill",
        Some(_) => "the losses come with the end of the prefill",
        None => "no run yet",
    };
    for (place, row) in wrap(text, area.width).into_iter().zip(area.rows()) {
        pen.text(area.x, row.y, &text[place], area.width, pen.theme.faint());
    }
}

/// The next of 1, 2, 5, 10, … that is as large.
fn nice(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|step| *step >= least).unwrap_or(10.0 * power)
}

/// A number with as many places as the step needs.
fn number(value: f64, step: f64) -> String {
    let places = if step >= 1.0 { 0 } else { (-step.log10().floor()) as usize };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::super::output::rig::{app, everywhere, run, shown};
    use super::*;

    #[test]
    fn higher_losses_are_drawn_higher_and_named() {
        let mut app = app();
        run(&mut app, "full").nll = (0..500).map(|token| if token < 255 { 1.0 } else { 3.0 }).collect();
        let text = shown(draw, &app, 90, 16);
        assert!(text.contains("full  1.98 nats · ppl 7.24 · 1.00 inside, 3.00 beyond"), "{text}");
        // what it generated does not count
        let losses = &mut app.runs.list[0].nll;
        losses.resize(505, 3.0);
        losses.resize(600, 90.0);
        assert!(shown(draw, &app, 90, 16).contains("full  1.99 nats · ppl 7.32 · 1.00 inside, 3.00 beyond"));
        assert!(text.contains("┊ beyond 256 trained") && text.contains("▀▀▀"), "{text}");
        let rows: Vec<&str> = text.lines().collect();
        let dots = |row: &&str| row.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c));
        let first = rows.iter().position(dots).unwrap();
        let left = |row: &str| row.chars().position(|c| ('\u{2801}'..='\u{28ff}').contains(&c)).unwrap();
        let last = rows.iter().rposition(dots).unwrap();
        assert!(left(rows[first]) > 40 && left(rows[last]) < 10 && last > first + 5, "{text}");
    }

    #[test]
    fn pinned_runs_and_the_newest_are_shown_once() {
        let mut app = app();
        for method in ["full", "streaming", "long_heads", "dual_chunk"] {
            let run = run(&mut app, method);
            run.pinned = method != "streaming";
            run.nll = vec![2.0; 40];
        }
        let names: Vec<_> = runs(&app).into_iter().map(named).collect();
        assert_eq!(names, ["full", "long_heads", "dual_chunk"]);
        everywhere(draw, &app);
    }
}
