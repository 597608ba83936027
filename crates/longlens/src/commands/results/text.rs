//! An answer as a table of text that fits its terminal.

use console::{Alignment, measure_text_width, pad_str, truncate_str};
use longlens_app::results::{Answer, Datum};
use longlens_core::printable::printable_line;

/// A table, and what it leaves out of the answer.
pub struct Table {
    pub text: String,
    /// Sentences.
    pub left_out: Vec<String>,
}

/// A column is made narrower down to this, before others are left out.
const NARROWEST: usize = 8;
/// Blanks between columns.
const GAP: usize = 2;

impl Table {
    /// The first `n_rows` rows on lines of at most `width` columns of a terminal.
    pub fn of(answer: &Answer, n_rows: usize, width: usize) -> Self {
        let rows = &answer.rows[..answer.rows.len().min(n_rows)];
        let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        let names: Vec<String> = answer.columns.iter().map(|name| printable_line(name).into_owned()).collect();
        let widest = |at: usize| {
            let cells = cells.iter().map(|row| measure_text_width(&row[at]));
            cells.chain([measure_text_width(&names[at])]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..names.len()).map(widest).collect();
        let whole = widths.clone();
        let n_shown = fit(&mut widths, width);
        let is_number = |at: usize| {
            let mut filled = rows.iter().map(|row| &row[at]).filter(|cell| **cell != Datum::Empty).peekable();
            filled.peek().is_some() && filled.all(Datum::is_number)
        };
        let alignments: Vec<Alignment> =
            (0..n_shown).map(|at| if is_number(at) { Alignment::Right } else { Alignment::Left }).collect();
        let line = |texts: &[String]| {
            let padded = (0..n_shown).map(|at| {
                pad_str(&truncate_str(&texts[at], widths[at], "…"), widths[at], alignments[at], None).into_owned()
            });
            padded.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
        };
        let text = [line(&names)].into_iter().chain(cells.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n");
        let mut left_out = Vec::new();
        if rows.len() < answer.rows.len() {
            left_out.push(format!("{} of {} rows (--rows N shows more)", rows.len(), answer.rows.len()));
        }
        if n_shown < names.len() {
            left_out.push(format!("columns left out: {}", names[n_shown..].join(", ")));
        }
        if widths[..n_shown] != whole[..n_shown] {
            left_out.push("long texts are cut (--json and --csv have all)".to_owned());
        }
        Self { text, left_out }
    }
}

/// Makes the widest columns narrower until the line fits; how many columns, from the left, then have room.
fn fit(widths: &mut [usize], width: usize) -> usize {
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    while total(widths) > width {
        let second = |most: usize| widths.iter().copied().filter(|other| *other < most).max().unwrap_or(0);
        let most = widths.iter().copied().max().unwrap_or(0);
        if most <= NARROWEST {
            break;
        }
        let n_widest = widths.iter().filter(|other| **other == most).count();
        let excess = (total(widths) - width).div_ceil(n_widest);
        let to = most.saturating_sub(excess).max(second(most)).max(NARROWEST);
        widths.iter_mut().filter(|other| **other == most).for_each(|other| *other = to);
    }
    (1..=widths.len()).rev().find(|n| total(&widths[..*n]) <= width).unwrap_or(widths.len().min(1))
}

/// A cell on one line; numbers to six digits.
fn cell(cell: &Datum) -> String {
    match cell {
        Datum::Real(real) => number(*real),
        cell => printable_line(&cell.to_string()).into_owned(),
    }
}

fn number(real: f64) -> String {
    const DIGITS: i32 = 6;
    if real == 0.0 || !real.is_finite() {
        return format!("{real}");
    }
    let exponent = real.abs().log10().floor() as i32;
    if !(-5..15).contains(&exponent) {
        return format!("{real:.5e}");
    }
    let text = format!("{real:.*}", (DIGITS - 1 - exponent).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let rows = [("full", 0.5, "a\nb"), ("self_extend:group_size=4", 1.0 / 3.0, "日本語")];
        let row = |(method, share, output): &(&str, f64, &str)| {
            vec![Datum::from(*method), Datum::Real(*share), Datum::from(*output)]
        };
        Answer {
            columns: ["method", "share", "output"].map(str::to_owned).to_vec(),
            rows: rows.iter().map(row).collect(),
        }
    }

    #[test]
    fn a_table_fits_its_terminal_and_says_what_it_leaves_out() {
        let whole = Table::of(&answer(), usize::MAX, usize::MAX);
        insta::assert_snapshot!(whole.text, @r"
        method                       share  output
        full                           0.5  a␊b
        self_extend:group_size=4  0.333333  日本語
        ");
        assert!(whole.left_out.is_empty());
        let narrow = Table::of(&answer(), 1, 24);
        assert!(narrow.text.lines().all(|line| measure_text_width(line) <= 24), "{}", narrow.text);
        assert_eq!(narrow.left_out, ["1 of 2 rows (--rows N shows more)"]);
        for width in 1..60 {
            let table = Table::of(&answer(), 2, width);
            assert!(table.text.lines().all(|line| measure_text_width(line) <= width.max(NARROWEST)), "{}", table.text);
        }
        let tiny = Table::of(&answer(), 2, 20);
        assert_eq!(tiny.left_out, ["columns left out: output", "long texts are cut (--json and --csv have all)"]);
    }

    #[test]
    fn numbers_have_six_digits_and_whole_ones_stay() {
        let shown = [0.5, 1.0, 123_456.789, 1e-7, 1e20, -2.0 / 3.0, 100.0, f64::INFINITY, 0.0].map(number);
        assert_eq!(shown, ["0.5", "1", "123457", "1.00000e-7", "1.00000e20", "-0.666667", "100", "inf", "0"]);
    }
}
