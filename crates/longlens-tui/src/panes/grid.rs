//! Pass keys found, or scores of another task, by length and depth, while the cells come in.

use longlens_app::Problem;
use longlens_app::session::Scored;
use longlens_eval::evaluate::{Outcome, Record};
use longlens_eval::passkey::Cell;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::chunks::inspected::joined;
use super::output::words::{shortened, tokens, wrap};
use crate::app::{App, Asked, GridRun, Shown, ShownCell, percent};
use crate::command::{self, Command};
use crate::export::{self, Content};
use crate::pen::Pen;
use crate::theme::{Depth, Pixel, Theme};
use crate::view::{Arrows, Step, View};

/// Narrowest and widest room for the names of rows at the left, in cells.
const NAMES: (u16, u16) = (5, 16);
/// Narrowest and widest column.
const COLUMN: (u16, u16) = (3, 24);
/// Tallest row.
const TALLEST: u16 = 9;

/// Pass keys found, or scores of another task, by length and depth.
pub struct GridView;

impl View for GridView {
    fn name(&self) -> &'static str {
        "Grid"
    }

    fn help(&self) -> &'static str {
        "pass keys found, or scores of another task, by length and depth"
    }

    fn hints(&self) -> &'static str {
        "g runs or stops · ←→ other grids"
    }

    fn step(&self, _app: &App, arrows: Arrows) -> Step {
        Step::Grid(arrows.right + arrows.down)
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        export::contents::grid(app)
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        draw(app, area, pen);
    }
}

fn draw(app: &App, area: Rect, pen: &mut Pen) {
    let Some(grid) = app.grids.shown().filter(|grid| grid.scored.is_some() || !grid.cells.is_empty()) else {
        return explain(app, area, pen);
    };
    let shown = grid.shown();
    let trained = app.opened.spec.trained_on(grid.settings.trained_context).trained_context;
    let about = about(app, grid, area.width, pen.theme);
    // in a low pane the cells need the row of the name
    let about = if area.height < 7 { &about[1..] } else { &about[..] };
    let layout = Layout::new(&shown, trained, area, about.len() as u16);
    for (line, row) in about.iter().zip(area.rows()) {
        pen.line(area.x, row.y, line, area.width);
    }
    cells(&shown, &layout, pen);
    axes(&shown, &layout, trained, area, pen);
    if layout.rows < shown.rows.len() && area.height > 0 {
        let what = if grid.scored.is_some() { "rows" } else { "depths" };
        let text = format!(" {} more {what} need a taller pane ", shown.rows.len() - layout.rows);
        let width = (text.len() as u16).min(area.width);
        pen.text(area.right() - width, area.y, &text, width, pen.theme.warn());
    }
}

/// Where the cells lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    /// The first cell's corner.
    x: u16,
    y: u16,
    /// Size of a cell.
    width: u16,
    height: u16,
    /// Rows and columns that fit.
    rows: usize,
    columns: usize,
    /// Columns inside the trained context, where a mark stands behind them.
    inside: Option<usize>,
    /// Rows for names and multiples of lengths.
    names: u16,
    /// Cells for the names of rows.
    left: u16,
}

impl Layout {
    fn new(shown: &Shown, trained: usize, area: Rect, above: u16) -> Self {
        let (n_rows, n_columns) = (shown.rows.len() as u16, shown.lengths.len() as u16);
        let inside = shown.lengths.iter().flatten().filter(|length| **length <= trained).count();
        let inside = (0 < inside && inside < shown.lengths.len()).then_some(inside);
        let names_width = shown.rows.iter().map(|name| name.chars().count() as u16 + 1).max().unwrap_or(0);
        let left = names_width.clamp(NAMES.0, NAMES.1);
        // names of the lengths first, their multiples where the cells leave room
        let free = area.height.saturating_sub(above + 1);
        let names = 1 + u16::from(free > n_rows);
        let above = above + u16::from(free > n_rows + 2);
        let room = area.height.saturating_sub(above + names);
        let across = area.width.saturating_sub(left + u16::from(inside.is_some()));
        let height = (room / n_rows.max(1)).clamp(1, TALLEST);
        let width = (across / n_columns.max(1)).clamp(COLUMN.0, COLUMN.1);
        Self {
            x: area.x + left,
            left,
            y: area.y + above,
            width,
            height,
            rows: usize::from((room / height).min(n_rows)),
            columns: usize::from((across / width).min(n_columns)),
            inside,
            names,
        }
    }

    /// The place of a cell.
    fn cell(&self, row: usize, column: usize) -> Rect {
        let shift = u16::from(self.inside.is_some_and(|inside| column >= inside));
        let x = self.x + shift + column as u16 * self.width;
        Rect { x, y: self.y + row as u16 * self.height, width: self.width, height: self.height }
    }

    fn bottom(&self) -> u16 {
        self.y + self.rows as u16 * self.height
    }
}

fn cells(shown: &Shown, layout: &Layout, pen: &mut Pen) {
    for row in 0..layout.rows {
        for column in 0..layout.columns {
            let place = layout.cell(row, column).intersection(pen.buffer.area);
            let cell = shown.cells.get(row * shown.lengths.len() + column).and_then(Option::as_ref);
            one(cell, place, pen);
        }
    }
}

fn one(cell: Option<&ShownCell>, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let middle = area.y + area.height.saturating_sub(1) / 2;
    let centered = |width: u16| area.x + area.width.saturating_sub(width) / 2;
    let Some(cell) = cell else {
        pen.text(centered(1), middle, "·", 1, theme.faint());
        return;
    };
    let Some(share) = cell.share else {
        let width = cell.text.chars().count() as u16;
        pen.text(centered(width), middle, &cell.text, area.width, theme.text());
        return;
    };
    let pixel = Pixel::Amount(share);
    // a gap between cells that are large enough for one
    let filled = Rect { width: area.width - u16::from(area.width > 4), ..area };
    let style = theme.ink_on(pixel);
    let fill = if theme.depth == Depth::Mono { Theme::shade(pixel) } else { ' ' };
    for at in filled.positions() {
        if let Some(cell) = pen.buffer.cell_mut(at) {
            cell.set_char(fill).set_style(style);
        }
    }
    if area.height > 2 && theme.depth != Depth::Mono {
        for x in filled.left()..filled.right() {
            if let Some(cell) = pen.buffer.cell_mut((x, filled.bottom() - 1)) {
                cell.set_char('▄').set_fg(theme.ground());
            }
        }
    }
    let is_shaded = theme.depth == Depth::Mono && area.width > 5;
    let text = if is_shaded { format!(" {} ", cell.text.trim()) } else { cell.text.clone() };
    let width = text.chars().count() as u16;
    let x = filled.x + filled.width.saturating_sub(width) / 2;
    pen.text(x, middle, &text, filled.width, style.add_modifier(Modifier::BOLD));
}

/// Names of rows, lengths, their multiples, and the end of the trained context.
fn axes(grid: &Shown, layout: &Layout, trained: usize, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    for (row, name) in grid.rows.iter().take(layout.rows).enumerate() {
        let place = layout.cell(row, 0);
        let text = shortened(name, layout.left - 1);
        pen.text(area.x, place.y + (place.height - 1) / 2, &text, layout.left.min(area.width), theme.faint());
    }
    if layout.rows == 0 {
        return;
    }
    let bottom = layout.bottom();
    let mut free = [area.x, area.x];
    for (column, length) in grid.lengths.iter().take(layout.columns).enumerate() {
        let place = layout.cell(0, column);
        let beyond = layout.inside.is_some_and(|inside| column >= inside);
        let style = if beyond { theme.warn() } else { theme.text() };
        let named = length.map_or_else(|| vec!["all".to_owned()], |n| vec![tokens(n), times(n, trained)]);
        for (row, text) in named.into_iter().take(layout.names.into()).enumerate() {
            let width = text.chars().count() as u16;
            // as in the cells: the last cell of a column is a gap
            let x = place.x + (place.width - u16::from(place.width > 4)).saturating_sub(width) / 2;
            // names that would touch are left out
            if x >= free[row] && x + width <= area.right() && bottom + (row as u16) < area.bottom() {
                let style = if row == 0 { style } else { theme.faint() };
                pen.text(x, bottom + row as u16, &text, width, style);
                free[row] = x + width + 1;
            }
        }
    }
    let Some(inside) = layout.inside.filter(|inside| *inside <= layout.columns) else { return };
    let x = layout.cell(0, inside).x - 1;
    for y in layout.y..bottom {
        pen.text(x, y, "┊", u16::from(x < area.right()), theme.warn());
    }
    let text = format!("trained {} ", tokens(trained));
    let width = text.len() as u16;
    if layout.names > 1 && layout.y > area.y + 2 && x >= area.x + width {
        pen.text(x - width, layout.y - 1, &text, width, theme.warn());
        let beyond = "┊ beyond";
        if x + beyond.chars().count() as u16 <= area.right() {
            pen.text(x, layout.y - 1, beyond, 8, theme.warn());
        }
    }
}

/// What is shown: method, then how much of it is done and how well it went.
fn about(app: &App, grid: &GridRun, width: u16, theme: Theme) -> [Line<'static>; 2] {
    let n = app.grids.list().len();
    let mut first = Vec::new();
    if n > 1 {
        let at = app.grids.place().map_or(n, |place| place + 1);
        first.push(Span::styled(format!("{at} of {n} ←→  "), theme.accent()));
    }
    let room = width.saturating_sub(first.iter().map(Span::width).sum::<usize>() as u16);
    let task = grid.scored.as_ref().map_or(String::new(), |scored| format!("{} · ", scored.evaluation.task));
    first.push(Span::styled(shortened(&format!("{task}{}", grid.text), room), theme.text()));
    let (done, n) = (grid.n_done(), grid.n_in_all());
    let state = match (grid.running, n == Some(done)) {
        (true, _) => ("● ", theme.warn()),
        (false, true) => ("✓ ", theme.good()),
        (false, false) => ("◼ ", theme.faint()),
    };
    let trained = app.opened.spec.trained_on(grid.settings.trained_context).trained_context;
    // short prompts come first, so a mean of some cells flatters
    let so_far = if n.is_none_or(|n| done < n) { " so far" } else { "" };
    let facts = match &grid.scored {
        Some(scored) => of_samples(scored, grid.running, trained, so_far),
        None => of_passkeys(grid, trained, so_far),
    };
    let second = vec![
        Span::styled(state.0, state.1),
        Span::styled(joined(&facts, usize::from(width).saturating_sub(2)), theme.text()),
    ];
    [Line::from(first), Line::from(second)]
}

/// How much of a grid of pass keys is done, and how well it went.
fn of_passkeys(grid: &GridRun, trained: usize, so_far: &str) -> Vec<String> {
    let mean = |is_in: &dyn Fn(usize) -> bool| {
        let columns = grid.lengths.len();
        let cells = grid.cells.iter().enumerate().filter(|(at, _)| is_in(grid.lengths[at % columns]));
        mean(cells.filter_map(|(_, cell)| cell.as_ref()))
    };
    let mut facts = vec![format!("{} of {} cells", grid.n_done(), grid.cells.len())];
    facts.extend(mean(&|_| true).map(|share| format!("found {}%{so_far}", percent(share))));
    if let Some(share) = mean(&|length| length > trained) {
        facts.push(format!("beyond {}%", percent(share)));
    }
    facts.push(format!("{} a cell", grid.trials));
    facts.extend(grid.chat.iter().map(|_| "chat".to_owned()));
    facts
}

/// How many samples of a task are done, and how well they went.
fn of_samples(scored: &Scored, running: bool, trained: usize, so_far: &str) -> Vec<String> {
    let done = scored.records.len();
    let mut facts = vec![match scored.n_samples {
        Some(n) => format!("{done} of {n} samples"),
        None if running => "counting samples".to_owned(),
        None => "not run; the log says why (v)".to_owned(),
    }];
    let mean = |is_in: &dyn Fn(&Record) -> bool| {
        let shares: Vec<f64> = scored.records.iter().filter(|record| is_in(record)).filter_map(Record::share).collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    };
    facts.extend(mean(&|_| true).map(|share| format!("score {}%{so_far}", percent(share))));
    let beyond = mean(&|record| record.length.is_some_and(|length| length > trained));
    facts.extend(beyond.map(|share| format!("beyond {}%", percent(share))));
    let is_measured = scored.records.iter().any(|record| matches!(record.outcome, Outcome::Measured { .. }));
    facts.extend(is_measured.then(|| "perplexities".to_owned()));
    facts
}

/// Mean accuracy over all prompts.
fn mean<'a>(cells: impl Iterator<Item = &'a Cell>) -> Option<f64> {
    let add = |(found, n): (usize, usize), cell: &Cell| (found + cell.hits_tokens, n + cell.n_trials);
    let (found, n) = cells.fold((0, 0), add);
    (n > 0).then(|| found as f64 / n as f64)
}

/// Before the first grid: what would run.
fn explain(app: &App, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let key = command::key(Command::Grid);
    let (form, trained) = (&app.controls.grid, app.model.spec.trained_context);
    let n_lengths = form.up_to.max(1).ilog2() + 1;
    let lengths: Vec<String> = (0..n_lengths).map(|power| tokens(trained << power)).collect();
    let lengths =
        format!("lengths {} (×1 to ×{} of the {trained} tokens trained on)", lengths.join(" "), 1 << (n_lengths - 1));
    let time = app.grid_time().map_or(String::new(), |time| format!("; {time} in all"));
    let asked = Asked::of(app);
    let (what, prompts) = match &asked {
        Asked::Passkeys(_) => (
            "a passkey grid".to_owned(),
            format!(
                "{} prompts: {lengths}, {} depths, {} each{}{time}",
                n_lengths as usize * form.n_depths * form.trials,
                form.n_depths,
                form.trials,
                if form.chat { ", in the chat template" } else { "" },
            ),
        ),
        Asked::Task(evaluation) => {
            let n = asked.n_prompts().map_or_else(|| "all samples".to_owned(), |n| format!("{n} samples"));
            let at = if evaluation.lengths.is_empty() { "as long as they are".to_owned() } else { lengths };
            (evaluation.task.clone(), format!("{n}: {at}{time}"))
        }
    };
    let parts: [(String, Style); 4] = [
        (format!("{key} runs {what}"), theme.accent()),
        (format!("with {}", app.controls.settings.brief(&app.model.spec)), theme.text()),
        (prompts, theme.text()),
        (
            "task, up_to, depths, trials and chat are controls; cells fill in while you work on".to_owned(),
            theme.faint(),
        ),
    ];
    let mut y = area.y;
    for (text, style) in &parts {
        for place in wrap(text, area.width) {
            if y < area.bottom() {
                pen.text(area.x, y, &text[place], area.width, *style);
            }
            y += 1;
        }
    }
}

/// A length in multiples of the trained context.
fn times(n: usize, trained: usize) -> String {
    let times = n as f64 / trained.max(1) as f64;
    format!("×{}", (times * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::output::rig::{app, everywhere, shown};
    use super::*;
    use crate::app::Grids;

    fn grid(lengths: Vec<usize>, n_depths: usize, done: usize) -> GridRun {
        let n = lengths.len() * n_depths;
        let one = |at: usize| Cell {
            length: lengths[at % lengths.len()],
            depth: 0.0,
            n_trials: 2,
            hits_tokens: if at == 1 { 1 } else { 2 },
            hits_text: 2,
            wilson95: (0.0, 1.0),
            mean_prompt_tokens: 0.0,
            run: longlens_core::trace::RunRecord::default(),
            trials: Vec::new(),
        };
        let cells = (0..n).map(|at| (at < done).then(|| one(at))).collect();
        GridRun {
            id: 1,
            settings: longlens_app::settings::Settings::default(),
            text: "full".into(),
            lengths,
            depths: (0..n_depths).map(|at| at as f64 / (n_depths - 1) as f64).collect(),
            cells,
            record: longlens_core::trace::RunRecord::default(),
            trials: 2,
            chat: None,
            scored: None,
            scores: longlens_app::views::scores::ScoreGrid::default(),
            running: true,
        }
    }

    #[test]
    fn cells_say_their_share_and_unfinished_ones_nothing() {
        let mut app = app();
        app.grids = Grids::new(vec![grid(vec![256, 512, 1024], 2, 4)]);
        let text = shown(draw, &app, 46, 10);
        let expected = [
            "full",
            "● 4 of 6 cells · found 88% so far · beyond 75%",
            "      trained 256 ┊ beyond",
            "  0%     100      ┊     50          100",
            "                  ┊",
            "100%     100      ┊      ·            ·",
        ];
        for line in expected {
            assert!(text.contains(line.trim_end()), "{line:?} is missing:\n{text}");
        }
        assert!(text.contains("512") && text.contains("1k") && text.contains("×4"), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let mut app = app();
        app.grids = Grids::new(vec![grid(vec![256, 512], 21, 9), grid(vec![256], 2, 2)]);
        app.grids.step(-1);
        let text = shown(draw, &app, 46, 10);
        assert!(text.contains("1 of 2 ←→") && text.contains("more depths need a taller pane"), "{text}");
        everywhere(draw, &app);
        app.grids = Grids::default();
        assert!(shown(draw, &app, 60, 9).contains("g runs a passkey grid"));
        let text = shown(draw, &app, 60, 9);
        assert!(text.contains("40 prompts: lengths 256 512 1k 2k") && text.contains("; about "), "{text}");
        assert!(text.contains(" in all"), "{text}");
        // what takes too long to count is told as such
        app.controls.grid.up_to = 4096;
        assert!(shown(draw, &app, 60, 12).contains("; more than "));
        app.controls.grid.up_to = 8;
        everywhere(draw, &app);
    }

    #[test]
    fn shares_and_lengths_are_short_and_honest() {
        assert_eq!([0.0, 0.001, 0.5, 0.999, 1.0].map(percent), [0, 1, 50, 99, 100]);
        assert_eq!(times(384, 256), "×1.5");
    }
}
