//! Completions as a list below the line: names in columns, or one a line with what they are.

use longlens_core::printable::printable_line;
use longlens_plot::terminal::cut;
use rustyline::completion::Candidate as Listed;
use unicode_width::UnicodeWidthStr;

use crate::interpreter::Candidate;

/// One completion as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    display: String,
    text: String,
}

impl Listed for Entry {
    fn display(&self) -> &str {
        &self.display
    }

    fn replacement(&self) -> &str {
        &self.text
    }
}

impl Entry {
    /// A text that is shown as it is, as far as a terminal may show it.
    pub fn plain(text: String) -> Self {
        Self { display: printable_line(&text).into_owned(), text }
    }
}

/// As many are shown with their kind and help; more are names alone.
const EXPLAINED: usize = 24;

/// Entries for a terminal of `width` columns. Those that do not begin with what was `typed` come along only when there are no
/// others, so that Tab can go on to the longest common beginning.
pub fn entries(candidates: Vec<Candidate>, typed: &str, width: usize) -> Vec<Entry> {
    let begins = |candidate: &Candidate| candidate.text.starts_with(typed);
    let any = candidates.iter().any(begins);
    let shown: Vec<Candidate> = candidates.into_iter().filter(|candidate| !any || begins(candidate)).collect();
    let widest = |of: fn(&Candidate) -> &str| shown.iter().map(|candidate| of(candidate).width()).max().unwrap_or(0);
    let (texts, kinds) = (widest(|candidate| &candidate.text), widest(|candidate| candidate.kind));
    let explained = shown.len() <= EXPLAINED;
    let entry = |candidate: Candidate| {
        let Candidate { text, kind, help } = candidate;
        if !explained {
            return Entry::plain(text);
        }
        let pad = |text: &str, to: usize| " ".repeat(to - text.width() + 2);
        let help = help.lines().next().unwrap_or_default();
        let line = format!("{text}{}{kind}{}{help}", pad(&text, texts), pad(kind, kinds));
        Entry { display: cut(line.trim_end(), width.saturating_sub(3)), text }
    };
    shown.into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(text: &str, help: &str) -> Candidate {
        Candidate { text: text.into(), kind: "function", help: help.into() }
    }

    #[test]
    fn few_are_explained_and_many_are_names() {
        let few = vec![candidate("full", "full() -> method"), candidate("files", "files(pattern) -> array")];
        let lines: Vec<_> = entries(few.clone(), "f", 30).into_iter().map(|entry| entry.display).collect();
        assert_eq!(lines, ["full   function  full() ->…", "files  function  files(pat…"]);
        let many = entries((0..30).map(|n| candidate(&format!("f{n}"), "help")).collect(), "f", 80);
        assert_eq!((many.len(), many[3].display()), (30, "f3"));
    }

    #[test]
    fn those_that_begin_so_hide_those_that_only_hold_it() {
        let all = vec![candidate("self_extend", ""), candidate("myself", "")];
        assert_eq!(entries(all.clone(), "self", 80).len(), 1);
        assert_eq!(entries(all, "Self", 80).len(), 2);
    }
}
