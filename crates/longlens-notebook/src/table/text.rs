//! A table as people read it: aligned text, and HTML.

use longlens_core::printable::is_command;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Datum, Table};

/// Columns of text between two columns of the table.
const GAP: usize = 2;
/// No cell is wider than this where the table would be too wide otherwise.
const WIDEST: usize = 24;
/// No cell is ever wider than this.
const MAX_CELL: usize = 400;

impl Table {
    /// Aligned lines, without a newline at the end: names, then rows. Of a longer table than `max_rows` the first and last rows
    /// stand around a line that says how many are left out; columns that would pass `max_width` are named in a last line.
    pub fn to_text(&self, max_rows: usize, max_width: usize) -> String {
        if self.columns.is_empty() {
            return "(no columns)".to_owned();
        }
        let (first, last) = self.ends(max_rows);
        let shown: Vec<&Vec<Datum>> = self.rows[..first].iter().chain(&self.rows[self.n_rows() - last..]).collect();
        let mut lines = vec![String::new(); 1 + shown.len()];
        let mut n_columns = 0;
        let widest = self.widest(&shown, max_width);
        for place in 0..self.n_columns() {
            let column = self.lined_up(place, &shown, widest);
            let width = GAP * usize::from(place > 0) + column[0].width();
            if place > 0 && lines[0].width() + width > max_width {
                break;
            }
            for (line, cell) in lines.iter_mut().zip(&column) {
                line.push_str(&" ".repeat(GAP * usize::from(place > 0)));
                line.push_str(cell);
            }
            n_columns += 1;
        }
        let mut lines: Vec<String> = lines.iter().map(|line| cut(line.trim_end(), max_width.max(1))).collect();
        if let Some(note) = self.left_out(first + last) {
            lines.insert(1 + first, cut(&note, max_width));
        }
        if self.is_empty() {
            lines.push("(no rows)".to_owned());
        }
        if n_columns < self.n_columns() {
            let names: Vec<_> = self.columns[n_columns..].iter().map(|name| plain(name)).collect();
            lines.push(cut(&format!("… {} left out: {}", count(names.len(), "column"), names.join(", ")), max_width));
        }
        lines.join("\n")
    }

    /// A plain `<table>` with at most `max_rows` rows, the first and the last, around a row that says how many are left out.
    pub fn to_html(&self, max_rows: usize) -> String {
        let (first, last) = self.ends(max_rows);
        let rows: Vec<&Vec<Datum>> = self.rows[..first].iter().chain(&self.rows[self.n_rows() - last..]).collect();
        let columns: Vec<Vec<String>> = (0..self.n_columns()).map(|place| self.words(place, &rows)).collect();
        let tag = |tag: &str, text: &str, right: bool| {
            let style = if right { "right" } else { "left" };
            format!("<{tag} style=\"text-align:{style}\">{}</{tag}>", escaped(text))
        };
        let names: String =
            self.columns.iter().enumerate().map(|(place, name)| tag("th", name, self.holds_numbers(place))).collect();
        let mut lines = vec!["<table>".to_owned(), format!("<thead><tr>{names}</tr></thead>"), "<tbody>".to_owned()];
        for (at, row) in rows.iter().enumerate() {
            let cell = |(place, cell): (usize, &Datum)| tag("td", &columns[place][at], is_number(cell));
            lines.push(format!("<tr>{}</tr>", row.iter().enumerate().map(cell).collect::<String>()));
        }
        if let Some(note) = self.left_out(first + last) {
            lines.insert(3 + first, format!("<tr><td colspan=\"{}\">{note}</td></tr>", self.n_columns()));
        }
        lines.extend(["</tbody>".to_owned(), "</table>".to_owned()]);
        lines.join("\n")
    }

    /// How many of the first and of the last rows are shown.
    fn ends(&self, max_rows: usize) -> (usize, usize) {
        if self.n_rows() <= max_rows { (self.n_rows(), 0) } else { (max_rows.div_ceil(2), max_rows / 2) }
    }

    fn left_out(&self, n_shown: usize) -> Option<String> {
        let hidden = self.n_rows() - n_shown;
        (hidden > 0).then(|| format!("… {} left out", count(hidden, "row")))
    }

    /// The widest that a cell may be: as much as lets every column stand in `max_width`, but at least [`WIDEST`].
    fn widest(&self, rows: &[&Vec<Datum>], max_width: usize) -> usize {
        let width = |place: usize| {
            let words = self.words(place, rows).into_iter().map(|word| plain(&word).width());
            words.chain([plain(&self.columns[place]).width()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.n_columns()).map(width).collect();
        let gaps = GAP * widths.len().saturating_sub(1);
        let fits = |cap: &usize| widths.iter().map(|width| width.min(cap)).sum::<usize>() + gaps <= max_width;
        (WIDEST..=max_width.min(MAX_CELL)).rev().find(fits).unwrap_or(WIDEST)
    }

    /// The name of a column and its cells, all of one width.
    fn lined_up(&self, place: usize, rows: &[&Vec<Datum>], widest: usize) -> Vec<String> {
        let right = self.holds_numbers(place);
        let name = cut(&plain(&self.columns[place]), widest);
        let cells = self.words(place, rows).into_iter().map(|word| cut(&plain(&word), widest));
        let words: Vec<(String, bool)> =
            [(name, right)].into_iter().chain(cells.zip(rows.iter().map(|row| is_number(&row[place])))).collect();
        let width = words.iter().map(|(word, _)| word.width()).max().unwrap_or(0);
        let padded = |(word, right): (String, bool)| {
            let space = " ".repeat(width - word.width());
            if right { format!("{space}{word}") } else { format!("{word}{space}") }
        };
        words.into_iter().map(padded).collect()
    }

    /// The cells of a column; where it holds real numbers, all its numbers have the decimals that the column needs.
    fn words(&self, place: usize, rows: &[&Vec<Datum>]) -> Vec<String> {
        let digits = Digits::of(self.cells(place));
        let word = |row: &&Vec<Datum>| match (&row[place], &digits) {
            (Datum::Int(whole), Some(digits)) => digits.write(*whole as f64),
            (Datum::Real(real), Some(digits)) => digits.write(*real),
            (cell, _) => cell.to_string(),
        };
        rows.iter().map(word).collect()
    }
}

/// How the numbers of a column are written.
enum Digits {
    /// So many decimals.
    Decimals(usize),
    /// With a power of ten: the column has no number of common size.
    Power,
}

impl Digits {
    /// For a column with real numbers: four significant digits for each of them, in one to four decimals.
    fn of<'a>(cells: impl Iterator<Item = &'a Datum>) -> Option<Self> {
        let reals: Vec<f64> = cells
            .filter_map(|cell| match cell {
                Datum::Real(real) => Some(*real),
                _ => None,
            })
            .collect();
        if reals.is_empty() {
            return None;
        }
        let sizes = || reals.iter().map(|real| real.abs()).filter(|size| size.is_finite() && *size > 0.0);
        let largest = sizes().fold(0.0, f64::max);
        if largest > 0.0 && !(1e-3..1e9).contains(&largest) {
            return Some(Self::Power);
        }
        let decimals = |size: f64| {
            let most = (3 - size.log10().floor() as i32).clamp(1, 4) as usize;
            let text = format!("{size:.most$}");
            let fraction = text.split('.').nth(1).unwrap_or_default();
            fraction.trim_end_matches('0').len()
        };
        Some(Self::Decimals(sizes().map(decimals).max().unwrap_or(1).max(1)))
    }

    fn write(&self, number: f64) -> String {
        match self {
            _ if !number.is_finite() => Datum::Real(number).to_string(),
            Self::Power if number == 0.0 => "0".to_owned(),
            Self::Power => format!("{number:.3e}"),
            // what would round to nothing says so with a power of ten
            Self::Decimals(_) if number != 0.0 && number.abs() < 5e-5 => format!("{number:.3e}"),
            Self::Decimals(decimals) => format!("{number:.decimals$}"),
        }
    }
}

fn is_number(cell: &Datum) -> bool {
    matches!(cell, Datum::Int(_) | Datum::Real(_))
}

/// One line: characters that would break or recolour it are written as escapes.
fn plain(text: &str) -> String {
    let one = |c: char| if is_command(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(one).collect()
}

/// At most `width` columns, with `…` where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let fits = |c: &char| {
        let needed = c.width().unwrap_or(0);
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        fits
    };
    text.chars().take_while(fits).collect::<String>() + "…"
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("<br>"),
            c if is_command(c) => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}
