//! Tables as text: one header line, one row per thing.

/// A table that grows row by row.
pub struct Csv {
    text: String,
    n_columns: usize,
}

impl Csv {
    /// An empty table with these columns.
    pub fn new(columns: &[&str]) -> Self {
        let mut csv = Self { text: String::new(), n_columns: columns.len() };
        csv.row(columns.iter().map(|column| (*column).to_owned()));
        csv
    }

    /// Adds a row; cells with commas, quotes or line ends are quoted.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut n_cells = 0;
        for cell in cells {
            if n_cells > 0 {
                self.text.push(',');
            }
            n_cells += 1;
            if cell.contains([',', '"', '\n', '\r']) {
                self.text.extend(["\"", &cell.replace('"', "\"\""), "\""]);
            } else {
                self.text += &cell;
            }
        }
        assert_eq!(n_cells, self.n_columns, "a row has a cell for every column");
        self.text.push('\n');
    }

    /// The whole table.
    pub fn finish(self) -> String {
        self.text
    }
}

/// A number as a cell; empty where there is none.
pub fn number(value: f32) -> String {
    if value.is_nan() { String::new() } else { value.to_string() }
}

/// A flag as a cell.
pub fn flag(value: bool) -> String {
    u8::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_row_is_quoted() {
        let mut csv = Csv::new(&["run", "loss"]);
        csv.row(["full, \"a\"\nb".to_owned(), number(0.5)]);
        csv.row(["full".to_owned(), number(f32::NAN)]);
        assert_eq!(csv.finish(), "run,loss\n\"full, \"\"a\"\"\nb\",0.5\nfull,\n");
    }
}
