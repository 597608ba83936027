//! Lines of text beside or above a picture, from the top down as far as there is room.

use longlens_core::printable::is_command;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::pen::{Pen, Raster};
use crate::theme::{Depth, Pixel, Theme};

/// The part of an area that has no line yet.
pub struct Notes {
    /// What is free.
    pub left: Rect,
}

impl Notes {
    /// Lines in an area.
    pub fn new(area: Rect) -> Self {
        Self { left: area }
    }

    /// The next rows, as many of `n` as there are.
    pub fn rows(&mut self, n: u16) -> Rect {
        let height = n.min(self.left.height);
        let rows = Rect { height, ..self.left };
        (self.left.y, self.left.height) = (self.left.y + height, self.left.height - height);
        rows
    }

    /// An empty line, where at least `n` lines would follow.
    pub fn gap(&mut self, n: u16) {
        if self.left.height > n {
            self.rows(1);
        }
    }

    /// A line of differently styled parts; it ends in `…` where it is too long.
    pub fn line(&mut self, pen: &mut Pen, parts: Vec<Span>) {
        let row = self.rows(1);
        if !row.is_empty() {
            pen.line(row.x, row.y, &cut(parts, usize::from(row.width)), row.width);
        }
    }

    /// A line and what is said after it where there is room.
    pub fn line_with(&mut self, pen: &mut Pen, mut parts: Vec<Span<'static>>, more: Vec<Span<'static>>) {
        let mut taken: usize = parts.iter().map(Span::width).sum();
        for part in more {
            if taken + part.width() > usize::from(self.left.width) {
                break;
            }
            taken += part.width();
            parts.push(part);
        }
        self.line(pen, parts);
    }

    /// The first of some ways to say it that fits after `taken` cells, or the last, which is the shortest.
    pub fn fitting<'a>(&self, taken: usize, ways: &[&'a str]) -> &'a str {
        let room = usize::from(self.left.width).saturating_sub(taken);
        let fits = ways.iter().find(|way| wide(way) <= room);
        fits.or(ways.last()).copied().unwrap_or_default()
    }

    /// A text in at most `most` lines.
    pub fn text(&mut self, pen: &mut Pen, text: &str, style: Style, most: usize) {
        let lines = wrapped(text, usize::from(self.left.width));
        let n_lines = lines.len();
        for (at, mut line) in lines.into_iter().take(most).enumerate() {
            if at + 1 == most && n_lines > most {
                line = fitting(&line, usize::from(self.left.width).saturating_sub(1)) + "…";
            }
            self.line(pen, vec![Span::styled(line, style)]);
        }
    }

    /// The palette from its lower end to its upper one, and what both stand for.
    pub fn color_bar(&mut self, pen: &mut Pen, (low, high): (&str, &str), pixel: impl Fn(f64) -> Pixel) {
        const WIDEST: u16 = 32;
        let bar = self.rows(1);
        let bar = Rect { width: bar.width.min(WIDEST), ..bar };
        let (width, height) = pen.resolution(bar);
        let last = width.saturating_sub(1).max(1) as f64;
        pen.raster(bar, &Raster::new(width, height, |x, _| pixel(x as f64 / last)));
        let row = self.rows(1);
        if !row.is_empty() {
            let taken = pen.text(row.x, row.y, low, bar.width, pen.theme.faint());
            let wide = Span::raw(high).width() as u16;
            if taken + wide < bar.width {
                pen.text(row.x + bar.width - wide, row.y, high, wide, pen.theme.faint());
            }
        }
    }
}

/// What a pixel looks like, for legends.
pub fn swatch(theme: Theme, pixel: Pixel) -> Span<'static> {
    if theme.depth == Depth::Mono {
        return Span::raw(Theme::shade(pixel).to_string());
    }
    let ground = Style::new().bg(theme.ground());
    Span::styled("■", ground.fg(theme.pixel(pixel)))
}

/// Says in the middle why there is no picture.
pub fn explain(pen: &mut Pen, area: Rect, lines: &[(&str, Style)]) {
    let width = area.width.saturating_sub(2).min(64);
    let all: Vec<(String, Style)> = lines
        .iter()
        .flat_map(|(text, style)| wrapped(text, usize::from(width)).into_iter().map(|line| (line, *style)))
        .collect();
    let top = area.y + area.height.saturating_sub(all.len() as u16) / 3;
    for (y, (text, style)) in (top..area.bottom()).zip(all) {
        let wide = Span::raw(text.as_str()).width() as u16;
        pen.text(area.x + area.width.saturating_sub(wide) / 2, y, &text, area.width, style);
    }
}

/// A text in lines of at most `width` cells, broken between words where it can be.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(char::is_whitespace) {
        let mut rest = clean(word);
        while !rest.is_empty() {
            let line = lines.last_mut().expect("there is a line from the start");
            let free = width.saturating_sub(wide(line));
            if wide(rest.trim_end()) <= free {
                *line += &rest;
                break;
            }
            if line.is_empty() {
                let cut = fitting(&rest, width);
                // a sign wider than the line stands alone
                let cut = if cut.is_empty() { rest.chars().take(1).collect() } else { cut };
                rest.drain(..cut.len());
                *line = cut;
                if rest.trim_end().is_empty() {
                    break;
                }
            }
            lines.push(String::new());
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    if lines.len() > 1 && lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// The beginning of a text that fits into `width` cells.
pub fn fitting(text: &str, width: usize) -> String {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += wide(c.encode_utf8(&mut [0; 4]));
        taken <= width
    };
    text.chars().take_while(fits).collect()
}

/// A line that ends in `…` where it is too long.
pub fn cut(parts: Vec<Span>, width: usize) -> Line {
    if parts.iter().map(Span::width).sum::<usize>() <= width {
        return Line::from(parts);
    }
    let mut room = width.saturating_sub(1);
    let mut kept = Vec::new();
    for mut part in parts {
        let own = part.width();
        if own > room {
            part.content = (fitting(&part.content, room) + if width > 0 { "…" } else { "" }).into();
            kept.push(part);
            break;
        }
        room -= own;
        kept.push(part);
    }
    Line::from(kept)
}

/// A text as it can stand in one line.
pub fn clean(text: &str) -> String {
    let sign = |c: char| match c {
        '\n' => '⏎',
        c if is_command(c) => '·',
        c => c,
    };
    text.chars().map(sign).collect()
}

/// Cells that a text takes.
pub fn wide(text: &str) -> usize {
    Span::raw(text).width()
}

/// A number with three digits.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value == 0.0 => "0".to_owned(),
        0.0..0.001 => format!("{value:.0e}"),
        0.001..0.1 => trimmed(format!("{value:.4}")),
        0.1..10.0 => trimmed(format!("{value:.2}")),
        10.0..1000.0 => trimmed(format!("{value:.1}")),
        _ => format!("{value:.0}"),
    }
}

fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("extraordinary", 5), ["extra", "ordin", "ary"]);
        assert_eq!(wrapped("漢字 x", 1), ["漢", "字", "x"]);
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("a\nb", 9), ["a⏎b"]);
    }

    #[test]
    fn what_is_cut_says_so() {
        let shown = |width| cut(vec![Span::raw("one"), Span::raw(" 漢字")], width).to_string();
        assert_eq!([8, 7, 6, 4, 3, 1, 0].map(shown), ["one 漢字", "one 漢…", "one …", "one…", "on…", "…", ""]);
    }

    #[test]
    fn numbers_are_short() {
        let shown: Vec<_> = [0.0, 1e-5, 0.0625, 0.5, 3.0, 511.25, 131_072.0, -0.25].map(number).into();
        assert_eq!(shown, ["0", "1e-5", "0.0625", "0.5", "3", "511.2", "131072", "-0.25"]);
    }
}
