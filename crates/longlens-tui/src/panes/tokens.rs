//! The token strip: the text around the query, with loss or attention behind every token.

use std::borrow::Cow;
use std::sync::Arc;

use longlens_app::runs::Run;
use longlens_core::printable::is_command;
use longlens_plot::color::ColorScale;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use super::attention::notes::cut;
use super::chunks::inspected::placeholder;
use super::chunks::{FLOOR, alarm_on, ramp};
use crate::app::{App, TokenColor};
use crate::pen::{Hit, Pen};
use crate::theme::{Depth, Pixel, Theme};

/// Losses from here on look alike, in nats.
const HIGH_LOSS: f64 = 8.0;
/// Lines break at multiples of so many tokens, so they stay where they are while the query moves.
const BLOCK: usize = 512;

/// Draws the pane's inside.
pub fn draw(app: &App, area: Rect, pen: &mut Pen) {
    let n_prompt = app.n_prompt();
    if n_prompt == 0 {
        return placeholder(app, area, pen);
    }
    let n = n_prompt + app.run().map_or(0, |run| run.pieces.len());
    let has_legend = area.height >= 3 && area.width >= 30;
    let text = Rect { height: area.height - u16::from(has_legend), ..area };
    let query = app.query().min(n - 1);
    let width = |token| {
        let mark = usize::from(token == n_prompt);
        Span::raw(shown(&text_of(app, token))).width().max(1) + mark
    };
    let parts = strip(n, query, (usize::from(text.width), usize::from(text.height)), width);
    let amounts = Amounts::of(app);
    let needle =
        app.prompt.answer().and_then(|prompt| prompt.needle.as_ref()).map_or(0..0, |needle| needle.tokens.clone());
    for part in &parts {
        let mut style = amounts.style(part.token, pen.theme);
        if needle.contains(&part.token) {
            let on = amounts
                .pixel(part.token)
                .map_or(pen.theme.text().patch(pen.theme.alarm()), |pixel| alarm_on(pen.theme, pixel));
            style = style.patch(on).add_modifier(Modifier::UNDERLINED);
        }
        if part.token == query {
            style = pen.theme.text().patch(pen.theme.accent()).add_modifier(Modifier::REVERSED | Modifier::BOLD);
        }
        let (mut x, y) = (text.x + part.x as u16, text.y + part.row as u16);
        let place = Rect { x, y, width: part.width as u16, height: 1 };
        if part.token >= n_prompt {
            style = style.add_modifier(Modifier::ITALIC);
        }
        if part.token == n_prompt {
            x += pen.text(x, y, "▏", place.width, pen.theme.accent());
        }
        pen.text(x, y, &shown(&text_of(app, part.token)), place.right() - x, style);
        pen.hit(place, Hit::Token(part.token));
    }
    if has_legend {
        let range = parts.first().zip(parts.last()).map(|(first, last)| (first.token, last.token));
        legend(app, &amounts, range, Rect { y: text.bottom(), height: 1, ..area }, pen);
    }
}

/// A token in the strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    token: usize,
    row: usize,
    x: usize,
    width: usize,
}

/// Lines of tokens around the query, which stands in the middle row where it can. Only tokens around it are looked at.
fn strip(n: usize, query: usize, (width, rows): (usize, usize), token_width: impl Fn(usize) -> usize) -> Vec<Part> {
    if width == 0 || rows == 0 {
        return Vec::new();
    }
    // no token is narrower than a cell, so this many always fill the rows above
    let start = query.saturating_sub(width * rows) / BLOCK * BLOCK;
    let mut parts: Vec<Part> = Vec::new();
    let (mut row, mut x, mut query_row) = (0, 0, 0);
    for token in start..n {
        let cells = token_width(token).clamp(1, width);
        if x > 0 && (x + cells > width || token % BLOCK == 0) {
            (row, x) = (row + 1, 0);
        }
        if token > query && row > query_row + rows {
            break;
        }
        parts.push(Part { token, row, x, width: cells });
        x += cells;
        if token == query {
            query_row = row;
        }
    }
    let last = parts.last().map_or(0, |part| part.row);
    let first = query_row.saturating_sub(rows / 2).min((last + 1).saturating_sub(rows));
    parts.retain(|part| (first..first + rows).contains(&part.row));
    for part in &mut parts {
        part.row -= first;
    }
    parts
}

/// Tokens that a sign may be made of.
const MOST_PARTS: usize = 4;

/// A token's text. Where several tokens make one sign, their texts are empty but for the last one's: the first of them shows the
/// sign, and the others that they belong to it.
fn text_of(app: &App, token: usize) -> Cow<'_, str> {
    let is_empty = |token: usize| {
        // special tokens have no text either, and are no part of anything
        let id = app.prompt.answer().and_then(|prompt| prompt.tokens.get(token));
        let is_special = id.is_some_and(|id| app.opened.bos_token == Some(*id) || app.opened.eos_tokens.contains(id));
        app.piece(token).is_empty() && !is_special
    };
    let n = app.n_prompt() + app.run().map_or(0, |run| run.pieces.len());
    let own = app.piece(token);
    if is_empty(token) {
        // the sign is told by the first token behind it that has a text
        let last = (token + 1..n.min(token + MOST_PARTS)).find(|later| !is_empty(*later));
        let sign = last.and_then(|last| app.piece(last).chars().next()).filter(|sign| !sign.is_ascii());
        let is_first = token == 0 || !is_empty(token - 1);
        return match sign {
            Some(sign) if is_first => Cow::Owned(sign.to_string()),
            Some(_) => Cow::Borrowed(PART),
            None => Cow::Borrowed(own),
        };
    }
    let first = own.chars().next();
    if token > 0 && is_empty(token - 1) && first.is_some_and(|first| !first.is_ascii()) {
        // its first sign stands at the first of the tokens that make it
        return Cow::Owned(
            PART.to_owned() + own.trim_start_matches(|c| Some(c) == first).trim_start_matches('\u{fe0f}'),
        );
    }
    Cow::Borrowed(own)
}

/// What stands for a token that is part of the sign before it.
const PART: &str = "‥";

/// A token's text with a sign for everything that has none; a mark that joins what is before it stands on a circle.
fn shown(piece: &str) -> Cow<'_, str> {
    let sign = |c: char| match c {
        '\n' => '⏎',
        '\t' => '→',
        '\r' => '␍',
        _ if is_command(c) => '·',
        _ => c,
    };
    if piece.chars().any(is_command) {
        return Cow::Owned(piece.chars().map(sign).collect());
    }
    match piece.chars().next() {
        None => Cow::Borrowed("·"),
        Some(c) if Span::raw(c.to_string()).width() == 0 => Cow::Owned(format!("◌{piece}")),
        Some(_) => Cow::Borrowed(piece),
    }
}

/// What lies behind the tokens.
enum Amounts<'a> {
    Nothing(&'static str),
    /// Losses of these tokens from the first of them on; those of the prompt alone while another text is generated.
    Loss(&'a Run, usize),
    /// Weight of every token.
    Attention(&'a [f32], String),
    /// Weight of every chunk, and tokens of a chunk.
    Chunks(&'a [f32], usize, String),
}

impl<'a> Amounts<'a> {
    fn of(app: &'a App) -> Self {
        let is_shown =
            |run: &Run| run.prompt.as_ref().zip(app.prompt.answer()).is_some_and(|(a, b)| Arc::ptr_eq(a, b) || a == b);
        match app.token_color {
            TokenColor::Loss => {
                let Some(run) = app.shown_run().filter(|run| is_shown(run)) else {
                    return Self::Nothing("no losses yet");
                };
                let end = if app.is_stale() { app.n_prompt() } else { usize::MAX };
                Self::Loss(run, end)
            }
            TokenColor::Attention => {
                let found = app.heads.keyed().filter(|(key, heads)| {
                    heads.shape.0 * heads.shape.1 > 0 && app.runs.get(key.run).is_some_and(is_shown)
                });
                let Some((_, heads)) = found else { return Self::Nothing("no attention yet") };
                let layer = app.controls.layer.min(heads.shape.0 - 1);
                let head = app.controls.head.min(heads.shape.1 - 1);
                let name = format!("L{layer} H{head}");
                match heads.row(layer, head) {
                    Some(row) => Self::Attention(row, name),
                    None => Self::Chunks(heads.mass(layer, head), heads.chunk_len.max(1), name),
                }
            }
        }
    }

    /// The color of a token; nothing where nothing is known of it.
    fn pixel(&self, token: usize) -> Option<Pixel> {
        let scale = ColorScale::Log { floor: FLOOR };
        let attention = |weight: f32| super::chunks::pixel(weight, scale);
        match self {
            Self::Nothing(_) => None,
            Self::Loss(run, end) => {
                let loss = run.nll.get(token.checked_sub(run.nll_from)?).filter(|_| token < *end)?;
                Some(Pixel::Amount((f64::from(*loss) / HIGH_LOSS).clamp(0.0, 1.0)))
            }
            Self::Attention(row, _) => row.get(token).map(|weight| attention(*weight)),
            Self::Chunks(mass, chunk_len, _) => mass.get(token / chunk_len).map(|weight| attention(*weight)),
        }
    }

    fn style(&self, token: usize, theme: Theme) -> Style {
        match (theme.depth, self.pixel(token)) {
            (_, None) => theme.text(),
            // where there are no colors, more is bolder
            (Depth::Mono, Some(Pixel::Amount(amount))) if amount >= 0.5 => Style::new().add_modifier(Modifier::BOLD),
            (Depth::Mono, Some(Pixel::Amount(amount))) if amount >= 0.125 => Style::new(),
            (Depth::Mono, Some(_)) => Style::new().add_modifier(Modifier::DIM),
            (_, Some(pixel)) => theme.ink_on(pixel),
        }
    }
}

/// The scale, the signs, and which tokens are shown.
fn legend(app: &App, amounts: &Amounts, range: Option<(usize, usize)>, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let scale: [String; 2] = match amounts {
        Amounts::Nothing(why) => [(*why).to_owned(), String::new()],
        Amounts::Loss(..) => ["loss 0 ".to_owned(), format!(" {HIGH_LOSS} nats")],
        Amounts::Attention(_, name) => [format!("attention of {name} ≤ 1e-4 "), " 1".to_owned()],
        Amounts::Chunks(_, _, name) => [format!("chunk attention of {name} ≤ 1e-4 "), " 1".to_owned()],
    };
    let [low, high] = scale;
    let mut spans = vec![Span::styled(low, theme.faint())];
    match (amounts, theme.depth) {
        (Amounts::Nothing(_), _) => (),
        (_, Depth::Mono) => spans.extend([
            Span::styled("low", Style::new().add_modifier(Modifier::DIM)),
            Span::raw(" mid "),
            Span::styled("high", Style::new().add_modifier(Modifier::BOLD)),
        ]),
        _ => spans.extend(ramp(theme, 8)),
    }
    spans.push(Span::styled(high, theme.faint()));
    let query = theme.text().patch(theme.accent()).add_modifier(Modifier::REVERSED);
    let mut signs = vec![[Span::raw("  "), Span::styled("query", query)]];
    if app.prompt.answer().is_some_and(|prompt| prompt.needle.is_some()) {
        signs.push([Span::raw("  "), Span::styled("needle", theme.alarm().add_modifier(Modifier::UNDERLINED))]);
    }
    if app.run().is_some_and(|run| !run.pieces.is_empty()) {
        signs.push([
            Span::styled("  ▏", theme.accent()),
            Span::styled("generated", theme.text().add_modifier(Modifier::ITALIC)),
        ]);
    }
    let mut line = cut(spans, usize::from(area.width));
    for sign in signs {
        if line.width() + sign.iter().map(Span::width).sum::<usize>() <= usize::from(area.width) {
            line.spans.extend(sign);
        }
    }
    pen.line(area.x, area.y, &line, area.width);
    let text = range.map_or(String::new(), |(first, last)| format!("tokens {first}–{last}"));
    let width = text.chars().count() as u16;
    if line.width() + 2 + usize::from(width) <= usize::from(area.width) {
        pen.text(area.right() - width, area.y, &text, width, theme.faint());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Rows of token numbers.
    fn rows(parts: &[Part]) -> Vec<Vec<usize>> {
        parts.chunk_by(|a, b| a.row == b.row).map(|row| row.iter().map(|part| part.token).collect()).collect()
    }

    #[test]
    fn tokens_wrap_by_their_width() {
        let parts = strip(5, 0, (6, 3), |token| [2, 3, 2, 9, 1][token]);
        assert_eq!(rows(&parts), [vec![0, 1], vec![2], vec![3]]);
        assert_eq!(parts[3], Part { token: 3, row: 2, x: 0, width: 6 }, "a token wider than the pane is cut");
    }

    #[test]
    fn the_query_stands_in_the_middle_row_and_the_last_row_is_filled() {
        let query_row = |query| {
            let parts = strip(400, query, (10, 5), |_| 1);
            (parts.iter().find(|part| part.token == query).unwrap().row, parts.len())
        };
        assert_eq!([query_row(0), query_row(14), query_row(205), query_row(399)], [(0, 50), (1, 50), (2, 50), (4, 50)]);
    }

    #[test]
    fn lines_stay_where_they_are_while_the_query_moves() {
        let line_of = |query: usize, token: usize| {
            let parts = strip(1 << 20, query, (40, 4), |token| 1 + token * 7 % 11);
            let row = parts.iter().find(|part| part.token == token)?.row;
            parts.iter().find(|part| part.row == row).map(|part| part.token)
        };
        let before = line_of(70_000, 70_000);
        assert!(before.is_some());
        let after: Vec<_> = (69_990..70_010).filter_map(|query| line_of(query, 70_000)).collect();
        assert!(after.len() >= 10 && after.iter().all(|first| Some(*first) == before), "{before:?}: {after:?}");
    }

    #[test]
    fn a_long_text_is_only_looked_at_around_the_query() {
        let looked_at = Cell::new(0);
        let width = |_| {
            looked_at.set(looked_at.get() + 1);
            4
        };
        let parts = strip(1 << 20, 1 << 19, (150, 4), width);
        assert!(parts.iter().any(|part| part.token == 1 << 19));
        assert!(looked_at.get() < 2000, "{} tokens", looked_at.get());
        assert_eq!(strip(9, 4, (0, 3), |_| 1), strip(9, 4, (3, 0), |_| 1));
    }

    #[test]
    fn what_has_no_sign_gets_one() {
        assert_eq!(
            [shown("a\n\tb"), shown(""), shown("\u{7f}"), shown(" x"), shown("語")],
            ["a⏎→b", "·", "·", " x", "語"]
        );
        assert_eq!(Span::raw(shown("語")).width(), 2);
    }
}
