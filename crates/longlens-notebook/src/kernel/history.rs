//! Cells that were run, and what a client may ask of them.

use jupyter_protocol::{HistoryEntry, HistoryRequest};

/// The number of this session; those before are not kept.
const SESSION: usize = 1;
/// Characters of a value that are kept: clients ask for a line or two of it, and a kernel may run for weeks.
const KEPT: usize = 8 << 10;

/// Cells of this session that were to be kept, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    number: usize,
    input: String,
    output: String,
}

impl History {
    /// Starts with what the interpreter has run before, if anything.
    pub(super) fn new(cells: Vec<(usize, String)>) -> Self {
        let cells = cells.into_iter().map(|(number, input)| Cell { number, input, output: String::new() });
        Self { cells: cells.collect() }
    }

    /// The number of the newest cell, from 1; 0 before the first.
    pub(super) fn newest(&self) -> usize {
        self.cells.last().map_or(0, |cell| cell.number)
    }

    /// Keeps a cell and returns its number.
    pub(super) fn push(&mut self, input: &str) -> usize {
        let number = self.newest() + 1;
        self.cells.push(Cell { number, input: input.into(), output: String::new() });
        number
    }

    /// Keeps the newest cell's value, as text that ends in `…` where it is long.
    pub(super) fn set_output(&mut self, text: &str) {
        if let Some(cell) = self.cells.last_mut() {
            cell.output = match text.char_indices().nth(KEPT) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text.into(),
            };
        }
    }

    /// What a client asked for, oldest first.
    pub(super) fn answer(&self, ask: &HistoryRequest) -> Vec<HistoryEntry> {
        let (cells, output) = match ask {
            HistoryRequest::Range { session, start, stop, output, .. } => {
                // 0 is the current session, as its own number is; sessions before are negative
                let current = matches!(session.unwrap_or(0), 0 | 1);
                let within = |cell: &&Cell| {
                    let number = i64::try_from(cell.number).unwrap_or(i64::MAX);
                    current && (i64::from(*start)..i64::from(*stop)).contains(&number)
                };
                (self.cells.iter().filter(within).collect(), *output)
            }
            HistoryRequest::Tail { n, output, .. } => (newest(self.cells.iter().collect(), *n), *output),
            HistoryRequest::Search { pattern, unique, output, n, .. } => {
                let pattern: Vec<char> = pattern.chars().collect();
                let mut found: Vec<&Cell> = self.cells.iter().filter(|cell| matches(&pattern, &cell.input)).collect();
                if *unique {
                    found = without_repeats(&found);
                }
                (newest(found, *n), *output)
            }
        };
        cells.into_iter().map(|cell| cell.entry(output)).collect()
    }
}

impl Cell {
    fn entry(&self, with_output: bool) -> HistoryEntry {
        if with_output {
            HistoryEntry::InputOutput(SESSION, self.number, (self.input.clone(), self.output.clone()))
        } else {
            HistoryEntry::Input(SESSION, self.number, self.input.clone())
        }
    }
}

fn newest(mut cells: Vec<&Cell>, n: i32) -> Vec<&Cell> {
    let n = usize::try_from(n).unwrap_or(0);
    cells.split_off(cells.len().saturating_sub(n))
}

/// Of cells with the same input, the newest.
fn without_repeats<'a>(cells: &[&'a Cell]) -> Vec<&'a Cell> {
    let later = |place: usize| &cells[place + 1..];
    let last = |place: usize| later(place).iter().all(|cell| cell.input != cells[place].input);
    (0..cells.len()).filter(|&place| last(place)).map(|place| cells[place]).collect()
}

/// Whether the whole text fits a pattern where `*` is any text and `?` any one character.
fn matches(pattern: &[char], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // the last `*`, and the text that it has taken so far
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&sign) if sign == '?' || sign == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|&sign| sign == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history(inputs: &[&str]) -> History {
        let mut history = History::default();
        for input in inputs {
            history.push(input);
        }
        history
    }

    fn numbers(history: &History, ask: &HistoryRequest) -> Vec<usize> {
        let number = |entry: HistoryEntry| match entry {
            HistoryEntry::Input(_, number, _) | HistoryEntry::InputOutput(_, number, _) => number,
        };
        history.answer(ask).into_iter().map(number).collect()
    }

    fn search(pattern: &str, unique: bool, n: i32) -> HistoryRequest {
        HistoryRequest::Search { pattern: pattern.into(), unique, output: false, raw: true, n }
    }

    #[test]
    fn patterns_fit_whole_cells() {
        let fits = |pattern: &str, text: &str| matches(&pattern.chars().collect::<Vec<_>>(), text);
        for (pattern, text) in [("", ""), ("*", ""), ("*", "a\nb"), ("a?c", "aéc"), ("*b*", "abc"), ("a*b*c", "axxbyc")]
        {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("?", ""), ("a", "ab"), ("a*b", "abc"), ("*?*?*", "a"), ("[a]", "a")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_newest_come_oldest_first() {
        let history = history(&["a", "b", "a", "c"]);
        let tail = |n| HistoryRequest::Tail { n, output: false, raw: true };
        assert_eq!(numbers(&history, &tail(2)), [3, 4]);
        assert_eq!(numbers(&history, &tail(9)), [1, 2, 3, 4]);
        assert_eq!(numbers(&history, &tail(-1)), [] as [usize; 0]);
        assert_eq!(numbers(&history, &search("a", false, 9)), [1, 3]);
        assert_eq!(numbers(&history, &search("*", true, 9)), [2, 3, 4]);
        assert_eq!(numbers(&history, &search("*", true, 2)), [3, 4]);
    }

    #[test]
    fn a_range_is_of_this_session() {
        let history = history(&["a", "b", "c"]);
        let range =
            |session| HistoryRequest::Range { session: Some(session), start: 1, stop: 3, output: false, raw: true };
        assert_eq!(numbers(&history, &range(0)), [1, 2]);
        assert_eq!(numbers(&history, &range(1)), [1, 2]);
        assert_eq!(numbers(&history, &range(-1)), [] as [usize; 0]);
    }

    #[test]
    fn outputs_are_kept_with_their_cells() {
        let mut history = History::new(vec![(7, "before".into())]);
        assert_eq!(history.push("1 + 2"), 8);
        history.set_output("3");
        let entries = history.answer(&HistoryRequest::Tail { n: 1, output: true, raw: true });
        assert_eq!(serde_json::to_string(&entries).unwrap(), r#"[[1,8,["1 + 2","3"]]]"#);
    }

    proptest! {
        #[test]
        fn a_text_fits_itself_with_gaps(parts in prop::collection::vec("[a-c]{0,3}", 1..5), gaps in "[a-c]{0,4}") {
            let pattern: Vec<char> = parts.join("*").chars().collect();
            prop_assert!(matches(&pattern, &parts.join(&gaps)));
        }
    }
}
