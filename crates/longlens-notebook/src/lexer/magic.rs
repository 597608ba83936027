//! Lines for the session itself, `%time …` or `?name`: how they are written, and which there are.

use super::is_magic;

/// A cell that is for the session.
pub struct Magic<'a> {
    /// What stands before the name: `%` or `%%`, `?` or `??`.
    pub sign: &'a str,
    /// The name, or the sign where that is all.
    pub name: &'a str,
    /// The rest of its first line.
    pub rest: &'a str,
    /// The lines below.
    pub below: &'a str,
}

/// Every magic: name, what follows it, what it does.
pub const MAGICS: &[(&str, &str, &str)] = &[
    ("time", "CODE", "runs code and says how long it took"),
    ("timeit", "CODE", "runs code several times: fastest and median"),
    ("who", "", "lists variables"),
    ("functions", "[WORD]", "lists functions, or those whose name or help holds a word"),
    ("history", "[N]", "lists the cells so far, or the last N"),
    ("run", "FILE", "runs a .rhai file or the cells of a notebook here"),
    ("save", "FILE", "saves the cells so far as a notebook (.ipynb, with results) or as .rhai"),
    ("load", "FILE", "shows a file's cells, ready to be run with %run"),
    ("config", "[NAME VALUE]", "shows limits and the form of pictures, or sets them: operations, memory, figures"),
    ("theme", "[dark|light]", "shows pictures on a dark or a light ground from now on"),
    ("reset", "", "forgets variables and functions"),
    ("magics", "", "lists these lines"),
];

impl<'a> Magic<'a> {
    /// The magic that a cell is, if its first line is one.
    pub fn of(cell: &'a str) -> Option<Self> {
        let cell = cell.trim();
        let (line, below) = cell.split_once('\n').unwrap_or((cell, ""));
        let line = line.trim_end();
        if let Some(name) = line.strip_suffix("??").or(line.strip_suffix('?')).filter(|name| is_name(name)) {
            let sign = &line[name.len()..];
            return Some(Self { sign, name: sign, rest: name, below });
        }
        if !is_magic(line) {
            return None;
        }
        if let Some(rest) = line.strip_prefix("??").or(line.strip_prefix('?')) {
            let sign = &line[..line.len() - rest.len()];
            return Some(Self { sign, name: sign, rest: rest.trim(), below });
        }
        let bare = line.trim_start_matches('%');
        let (name, rest) = bare.split_once(char::is_whitespace).unwrap_or((bare, ""));
        Some(Self { sign: &line[..line.len() - bare.len()], name, rest: rest.trim(), below })
    }

    /// Code on the line and below it.
    pub fn code(&self) -> String {
        [self.rest, self.below].join("\n").trim().to_owned()
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}
