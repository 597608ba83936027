//! Chunks of the text, all heads together: how many heads chose each of them, or how much attention they pay it.

use longlens_app::Problem;
use longlens_app::runs::RunId;
use longlens_app::views::TraceView;
use longlens_app::views::usage::{Shares, Usage};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

use super::attention::notes::{Notes, clean};
use super::chunks::columns::{Columns, bar};
use super::chunks::inspected::{Inspected, percent, placeholder};
use crate::app::App;
use crate::export::{self, Content};
use crate::pen::Pen;
use crate::view::{Arrows, Step, View};

/// Chunks of the text, all heads together.
pub struct UsageView;

/// Cells of the shares at the left.
const LABELS: u16 = 6;

impl View for UsageView {
    fn name(&self) -> &'static str {
        "Usage"
    }

    fn help(&self) -> &'static str {
        "how many heads chose each chunk of the text"
    }

    fn hints(&self) -> &'static str {
        "←→ query"
    }

    fn title(&self, app: &App) -> String {
        let query = app.heads.key().map_or(app.query(), |key| key.query);
        format!("{} · query {query} · all heads", self.name())
    }

    fn run(&self, app: &App) -> Option<RunId> {
        app.heads.key().map(|key| key.run)
    }

    fn is_stale(&self, app: &App) -> bool {
        app.heads.is_stale()
    }

    fn step(&self, _app: &App, Arrows { down, right, far }: Arrows) -> Step {
        if down != 0 { Step::Run(down) } else { Step::Query(right * if far { 16 } else { 1 }) }
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        let Some(inspected) = Inspected::of(app) else { return placeholder(app, area, pen) };
        let shares = Shares::of(inspected.heads, inspected.chooses);
        let mut notes = Notes::new(area);
        notes.line(pen, vec![Span::styled(shares.caption(inspected.chunks.as_ref()), pen.theme.text())]);
        // bars and their axis; the chunks used most below them, where a taller pane has room
        let n_listed = (notes.left.height / 3).min(6);
        let plot = notes.rows(notes.left.height.saturating_sub(n_listed));
        bars(&inspected, &shares, plot, pen);
        for chunk in order(&shares).take(usize::from(n_listed)) {
            let style = ink(&shares, chunk, &inspected, pen);
            let tokens = chunk * inspected.heads.chunk_len..((chunk + 1) * inspected.heads.chunk_len).min(app.n_fed());
            let text: String = tokens.map(|token| app.piece(token)).collect();
            let share = Span::styled(format!("chunk {chunk:>4} {:>4} ", percent(shares.of_chunk[chunk])), style);
            notes.line(pen, vec![share, Span::styled(clean(&text), pen.theme.faint())]);
        }
    }

    fn trace_view(&self) -> Option<&'static dyn TraceView> {
        Some(&Usage)
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        export::contents::of_heads(app, &Usage)
    }
}

/// Chunks by their share, the largest first; those that every choice holds come last, since they say least.
fn order(shares: &Shares) -> impl Iterator<Item = usize> + use<> {
    let mut order: Vec<usize> = (0..shares.of_chunk.len()).filter(|chunk| shares.of_chunk[*chunk] > 0.0).collect();
    order.sort_by(|a, b| {
        shares.always[*a].cmp(&shares.always[*b]).then(shares.of_chunk[*b].total_cmp(&shares.of_chunk[*a]))
    });
    order.into_iter()
}

fn ink(shares: &Shares, chunk: usize, inspected: &Inspected, pen: &Pen) -> Style {
    match () {
        () if inspected.chunks.as_ref().is_some_and(|needle| needle.contains(&chunk)) => pen.theme.alarm(),
        () if shares.always[chunk] => pen.theme.faint(),
        () => pen.theme.accent(),
    }
}

/// A bar for every chunk, or the tallest of those that share a column, above the numbers of the chunks.
fn bars(inspected: &Inspected, shares: &Shares, area: Rect, pen: &mut Pen) {
    let columns = Columns::fit(shares.of_chunk.len(), usize::from(area.width.saturating_sub(LABELS)));
    let height = area.height.saturating_sub(1);
    if height == 0 || columns.n == 0 {
        return;
    }
    let top = if shares.is_choice { 1.0 } else { shares.of_chunk.iter().copied().fold(1e-6, f32::max) };
    pen.text(area.x, area.y, &format!("{:>5}", percent(top)), LABELS, pen.theme.faint());
    let x = |column: usize| area.x + LABELS + (column * columns.cells) as u16;
    for column in 0..columns.n {
        let chunks = column * columns.per..((column + 1) * columns.per).min(shares.of_chunk.len());
        // the needle's chunk stands for its column: it is what one looks for
        let tallest = |a: &usize, b: &usize| shares.of_chunk[*a].total_cmp(&shares.of_chunk[*b]);
        let needle =
            chunks.clone().find(|chunk| inspected.chunks.as_ref().is_some_and(|needle| needle.contains(chunk)));
        let Some(chunk) = needle.or_else(|| chunks.max_by(tallest)) else { continue };
        let eighths = (shares.of_chunk[chunk] / top * 8.0 * f32::from(height)).round() as usize;
        let style = ink(shares, chunk, inspected, pen);
        // a cell between bars that are wide enough for one
        let wide = columns.cells - usize::from(columns.cells > 2);
        for row in 0..usize::from(height) {
            let sign = bar(eighths, row).to_string().repeat(wide);
            pen.text(x(column), area.y + height - 1 - row as u16, &sign, wide as u16, style);
        }
    }
    let (y, digits) = (area.y + height, shares.of_chunk.len().to_string().len());
    pen.text(area.x, y, "chunk", LABELS, pen.theme.faint());
    for column in (0..columns.n).step_by(columns.tick_step(digits)) {
        let text = (column * columns.per).to_string();
        let room = area.right().saturating_sub(x(column));
        if usize::from(room) >= text.len() {
            pen.text(x(column), y, &text, room, pen.theme.faint());
        }
    }
}
