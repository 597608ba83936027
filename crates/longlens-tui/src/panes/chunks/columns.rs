//! Chunks as columns: how many cells a chunk takes, or how many chunks share a cell.

use std::ops::Range;

/// Most cells of a column.
const WIDEST: usize = 4;

/// How chunks become columns: all columns hold as many chunks, the last one perhaps fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    /// Chunks in all.
    pub n_chunks: usize,
    /// Chunks of a column.
    pub per: usize,
    /// Cells of a column.
    pub cells: usize,
    /// Columns in all.
    pub n: usize,
}

impl Columns {
    /// The widest columns that fit.
    pub fn fit(n_chunks: usize, width: usize) -> Self {
        if width == 0 || n_chunks == 0 {
            return Self { n_chunks, per: 1, cells: 1, n: 0 };
        }
        let per = n_chunks.div_ceil(width);
        let n = n_chunks.div_ceil(per);
        Self { n_chunks, per, cells: (width / n).min(WIDEST), n }
    }

    /// Cells of all columns.
    pub fn width(&self) -> usize {
        self.n * self.cells
    }

    /// The columns that these chunks touch.
    pub fn of(&self, chunks: &Range<usize>) -> Range<usize> {
        let end = chunks.end.min(self.n_chunks);
        if chunks.start >= end { 0..0 } else { chunks.start / self.per..((end - 1) / self.per + 1).min(self.n) }
    }

    /// The largest value of every column.
    pub fn pool<'a>(&self, values: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        values.chunks(self.per).take(self.n).map(largest)
    }

    /// Columns between two numbers of `digits` digits.
    pub fn tick_step(&self, digits: usize) -> usize {
        (digits + 2).div_ceil(self.cells).next_power_of_two()
    }
}

/// The largest value; 0 where there is none.
pub fn largest(values: &[f32]) -> f32 {
    // several maxima at once: a frame may pool a million values
    let mut tops = [0.0f32; 8];
    let parts = values.chunks_exact(tops.len());
    let rest = parts.remainder();
    for part in parts {
        for (top, value) in tops.iter_mut().zip(part) {
            *top = if *value > *top { *value } else { *top };
        }
    }
    tops.iter().chain(rest).fold(0.0, |top, value| if *value > top { *value } else { top })
}

/// The chunks behind a bar when `n_bars` bars share them all.
pub fn behind(bar: usize, n_bars: usize, n_chunks: usize) -> Range<usize> {
    let start = (bar * n_chunks / n_bars.max(1)).min(n_chunks);
    start..((bar + 1) * n_chunks / n_bars.max(1)).max(start + 1).min(n_chunks)
}

/// The part of a bar in one of its rows, counted from the bottom; `eighths` is the bar's height.
pub fn bar(eighths: usize, row: usize) -> char {
    const PARTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    PARTS[eighths.saturating_sub(8 * row).min(8)]
}

/// The first of the entries shown, so that the selected one stands in the middle where it can.
pub fn scrolled(n: usize, room: usize, selected: usize) -> usize {
    selected.saturating_sub(room / 2).min(n.saturating_sub(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_wide_while_they_fit_and_shared_when_they_do_not() {
        let shape = |n_chunks, width| {
            let columns = Columns::fit(n_chunks, width);
            (columns.n, columns.per, columns.cells)
        };
        assert_eq!(shape(8, 80), (8, 1, 4));
        assert_eq!(shape(30, 80), (30, 1, 2));
        assert_eq!(shape(80, 80), (80, 1, 1));
        assert_eq!(shape(81, 80), (41, 2, 1));
        assert_eq!(shape(5, 0), (0, 1, 1));
        for (n_chunks, width) in [(1, 1), (7, 3), (100_000, 158), (100_000, 1), (159, 158)] {
            let columns = Columns::fit(n_chunks, width);
            assert!(columns.width() <= width && columns.n * columns.per >= n_chunks, "{n_chunks} in {width}");
            assert!((columns.n - 1) * columns.per < n_chunks, "no empty column: {n_chunks} in {width}");
        }
    }

    #[test]
    fn a_shared_column_shows_its_largest() {
        let columns = Columns::fit(7, 3);
        let values = [0.1, 0.5, 0.2, 0.0, 0.0, 0.3, 0.9];
        assert_eq!(columns.pool(&values).collect::<Vec<_>>(), [0.5, 0.3, 0.9]);
        assert_eq!((columns.of(&(2..4)), columns.of(&(6..9)), columns.of(&(7..9))), (0..2, 2..3, 0..0));
        let many: Vec<f32> = (0..1003).map(|at| if at == 1001 { 2.0 } else { 0.5 }).collect();
        assert_eq!((largest(&many), largest(&[f32::NAN, 0.25]), largest(&[])), (2.0, 0.25, 0.0));
    }

    #[test]
    fn bars_cover_all_chunks() {
        assert_eq!((0..3).map(|at| behind(at, 3, 8)).collect::<Vec<_>>(), [0..2, 2..5, 5..8]);
        assert_eq!((0..4).map(|at| behind(at, 4, 2)).collect::<Vec<_>>(), [0..1, 0..1, 1..2, 1..2]);
        assert_eq!([bar(0, 0), bar(3, 0), bar(11, 0), bar(11, 1), bar(11, 2)], [' ', '▃', '█', '▃', ' ']);
    }

    #[test]
    fn the_selected_row_stays_visible() {
        assert_eq!([scrolled(10, 20, 9), scrolled(24, 6, 0), scrolled(24, 6, 12), scrolled(24, 6, 23)], [0, 0, 9, 18]);
        for selected in 0..24 {
            for room in 1..30 {
                let first = scrolled(24, room, selected);
                assert!((first..first + room).contains(&selected), "{selected} of 24 in {room}");
            }
        }
    }
}
