//! Where one run predicts better than the other, token by token.

use longlens_app::runs::Run;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use super::side;
use crate::app::App;
use crate::panes::attention::notes::{Notes, number};
use crate::panes::output::words::perplexity;
use crate::pen::Pen;
use crate::theme::Depth;

/// Log probability of each token under the second run minus that under the first.
pub struct Delta {
    /// The first token that both have.
    pub first: usize,
    /// One per token from there on.
    pub values: Vec<f32>,
    /// Mean losses over these tokens.
    means: [f64; 2],
}

impl Delta {
    /// Of the prompt's tokens that both runs have a loss for: what they wrote may differ.
    pub fn of([a, b]: [&Run; 2]) -> Self {
        let first = a.nll_from.max(b.nll_from);
        let [a, b] = [a, b].map(|run| run.prompt_nll().get(first - run.nll_from..).unwrap_or(&[]));
        let values: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let mean = |losses: &[f32]| {
            let losses = &losses[..values.len()];
            losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / losses.len().max(1) as f64
        };
        Self { first, means: [mean(a), mean(b)], values }
    }

    /// Tokens that the first run predicts better, and the second.
    fn better(&self) -> [usize; 2] {
        let count = |sign: f32| self.values.iter().filter(|delta| **delta * sign > EQUAL).count();
        [count(-1.0), count(1.0)]
    }

    /// Means of equal parts, one for each column at most.
    fn binned(&self, columns: usize) -> Vec<f64> {
        let n = self.values.len();
        let columns = columns.min(n);
        let bin = |at: usize| {
            let part = &self.values[at * n / columns..(at + 1) * n / columns];
            let finite = || part.iter().copied().filter(|delta| delta.is_finite()).map(f64::from);
            finite().sum::<f64>() / finite().count().max(1) as f64
        };
        (0..columns).map(bin).collect()
    }
}

/// Log probabilities that differ by less are the same.
const EQUAL: f32 = 1e-4;

/// Numbers, and a bar per token or mean of some.
pub fn draw(app: &App, runs: [&Run; 2], delta: &Delta, notes: &mut Notes, pen: &mut Pen) {
    let theme = pen.theme;
    let n = delta.values.len();
    if n == 0 {
        return notes.text(pen, "no token has a loss in both runs yet", theme.faint(), 2);
    }
    let [a, b] = delta.means.map(perplexity);
    notes.line(
        pen,
        vec![
            Span::styled("perplexity ", theme.text()),
            Span::styled(format!("A {a}"), side(theme, 0)),
            Span::styled(format!("  B {b}"), side(theme, 1)),
        ],
    );
    let mean = delta.means[0] - delta.means[1];
    let [by_a, by_b] = delta.better();
    let sign = if mean > 0.0 { "+" } else { "" };
    let winner = match mean {
        _ if mean.abs() < f64::from(EQUAL) => "",
        mean if mean > 0.0 => " (B better)",
        _ => " (A better)",
    };
    notes.text(pen, &format!("Δ log p = B − A: mean {sign}{}{winner}", number(mean)), theme.text(), 2);
    notes.line_with(
        pen,
        vec![
            Span::styled("better ", theme.text()),
            Span::styled(format!("A {by_a}"), side(theme, 0)),
            Span::styled(format!("  B {by_b}"), side(theme, 1)),
        ],
        vec![Span::styled(format!("  equal {} of {n}", n - by_a - by_b), theme.faint())],
    );
    if notes.left.height < 5 {
        return;
    }
    // the texts get the other half
    let height = ((notes.left.height - 3) / 4 * 2).clamp(2, 16);
    let rows = notes.rows(height);
    let mut bins = delta.binned(usize::from(rows.width));
    if by_a + by_b == 0 {
        bins.fill(0.0);
    }
    let most = bins.iter().fold(0.0, |most: f64, bin| most.max(bin.abs()));
    bars(&bins, rows, pen);
    axis(app, runs, delta, (rows.width, most), notes, pen);
}

/// First and last token, the scale, and where the needle lies.
fn axis(app: &App, [a, _]: [&Run; 2], delta: &Delta, (width, most): (u16, f64), notes: &mut Notes, pen: &mut Pen) {
    let (theme, row, n) = (pen.theme, notes.rows(1), delta.values.len());
    let (first, last) = (delta.first.to_string(), (delta.first + n - 1).to_string());
    let columns = usize::from(width).min(n);
    let end = row.x + columns as u16;
    pen.text(row.x, row.y, &first, row.width, theme.faint());
    let wide = last.len() as u16;
    if columns as u16 > wide + first.len() as u16 + 1 {
        pen.text(end - wide, row.y, &last, wide, theme.faint());
    }
    let scale = if most > 0.0 { format!("bars to {}", number(most)) } else { "no difference".to_owned() };
    let prompt = a.prompt.as_ref().or(app.prompt.answer());
    let needle = prompt.and_then(|prompt| prompt.needle.as_ref());
    let column = |token: usize| token.saturating_sub(delta.first).min(n - 1) * columns / n;
    let marks = needle.map(|needle| column(needle.tokens.start)..=column(needle.tokens.end.max(1) - 1));
    // between the first number and the needle's marks, else between them and the last number
    let from = first.len() + 2;
    let free = |from: usize| {
        let taken = from.saturating_sub(1)..=from + scale.len();
        let is_under = marks.as_ref().is_some_and(|marks| marks.start() <= taken.end() && taken.start() <= marks.end());
        !is_under && from + scale.len() + usize::from(wide) < columns
    };
    let behind = marks.as_ref().map_or(from, |marks| marks.end() + 3);
    if let Some(from) = [from, behind].into_iter().find(|from| free(*from)) {
        pen.text(row.x + from as u16, row.y, &scale, row.width, theme.faint());
    }
    for at in marks.into_iter().flatten() {
        pen.text(row.x + at as u16, row.y, "▲", 1, theme.alarm().remove_modifier(Modifier::DIM));
    }
}

/// Bars up for the second run, down for the first, in one scale; zero lies where both have the room they need.
fn bars(bins: &[f64], rows: Rect, pen: &mut Pen) {
    const PARTS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    let (low, high) = bins.iter().fold((0.0, 0.0), |(low, high): (f64, f64), bin| (low.min(*bin), high.max(*bin)));
    let (above, per_row) = zero_line(low, high, rows.height);
    for (column, bin) in bins.iter().enumerate() {
        let eighths = (bin.abs() / per_row * 8.0).round() as usize;
        let style = side(pen.theme, usize::from(*bin > 0.0));
        let x = rows.x + column as u16;
        for row in 0..rows.height {
            let from_zero = if row < above { above - 1 - row } else { row - above };
            let part = eighths.saturating_sub(usize::from(from_zero) * 8).min(8);
            if row < above && *bin > 0.0 {
                pen.text(x, rows.y + row, PARTS[part], 1, style);
            } else if row >= above && *bin < 0.0 && part > 0 {
                // what hangs from above is what a block from below leaves free
                pen.text(x, rows.y + row, PARTS[8 - part], 1, hanging(pen, style));
            } else if row == above {
                pen.text(x, rows.y + row, "▔", 1, pen.theme.faint());
            }
        }
    }
}

/// Rows above zero, one at least on both sides of it, and how much a row stands for.
fn zero_line(low: f64, high: f64, rows: u16) -> (u16, f64) {
    let all = (high - low).max(f64::MIN_POSITIVE);
    let middle = if high > low { high / all } else { 0.5 };
    let above = ((f64::from(rows) * middle).round() as u16).clamp(1, rows.saturating_sub(1).max(1));
    let below = rows.saturating_sub(above).max(1);
    (above, (high / f64::from(above)).max(-low / f64::from(below)).max(f64::MIN_POSITIVE))
}

/// A style whose ink is the ground and whose ground is the ink.
fn hanging(pen: &Pen, style: Style) -> Style {
    match (pen.theme.depth, style.fg) {
        (Depth::Mono, _) | (_, None) => style.add_modifier(Modifier::REVERSED),
        (_, Some(ink)) => Style::new().fg(pen.theme.ground()).bg(ink),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use longlens_app::prompt::{Prompt, PromptSource};
    use longlens_app::runs::RunAsk;
    use longlens_app::settings::Settings;
    use longlens_core::spec::ModelSpec;

    use super::*;

    fn run(nll: &[f32], nll_from: usize) -> Run {
        let source = PromptSource::Text("x".into());
        let prompt = Prompt {
            source,
            tokens: vec![1; 6],
            pieces: vec!["x".into(); 6],
            needle: None,
            passages: [].into(),
            document: None,
            warnings: Vec::new(),
        };
        let ask = RunAsk { id: 1, settings: Settings::default(), base: None, prompt: Arc::new(prompt), query: None };
        Run { nll: nll.to_vec(), nll_from, ..Run::new(&ask, "m", &ModelSpec::tiny(32)) }
    }

    #[test]
    fn losses_meet_at_their_tokens() {
        // tokens 1 to 4 and 3 to 5
        let delta = Delta::of([&run(&[9.0, 9.0, 2.0, 1.0], 1), &run(&[1.0, 3.0, 7.0], 3)]);
        assert_eq!((delta.first, &delta.values[..]), (3, &[1.0, -2.0][..]));
        assert_eq!((delta.means, delta.better()), ([1.5, 2.0], [1, 1]));
        let longer = [&run(&[1.0; 9], 1), &run(&[2.0; 12], 1)];
        assert_eq!(Delta::of(longer).values.len(), 5, "the prompt has no more tokens");
        let apart = Delta::of([&run(&[1.0], 1), &run(&[1.0], 8)]);
        assert!(apart.values.is_empty());
    }

    #[test]
    fn both_sides_of_zero_have_one_scale() {
        assert_eq!(zero_line(-1.0, 3.0, 8), (6, 0.5));
        assert_eq!(zero_line(-1.0, 0.0, 4), (1, 1.0 / 3.0));
        assert_eq!(zero_line(0.0, 0.0, 4).0, 2);
    }

    #[test]
    fn many_tokens_share_a_bar() {
        let delta = Delta { first: 1, values: vec![1.0, 3.0, -1.0, f32::NAN, 0.5], means: [0.0; 2] };
        assert_eq!(delta.binned(2), [2.0, -0.25]);
        assert_eq!(delta.binned(9).len(), 5);
        assert!(delta.binned(9)[3].abs() < 1e-9);
        assert!(delta.binned(0).is_empty());
    }
}
