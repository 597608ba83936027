//! What stands faintly behind the cursor: how an earlier entry went on, or the parameters of a function.

use rustyline::hint::Hint as Shown;
use unicode_width::UnicodeWidthStr;

use longlens_plot::terminal::cut;

/// What stands behind the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    display: String,
    /// What the right arrow takes over.
    rest: Option<String>,
}

impl Shown for Hint {
    fn display(&self) -> &str {
        &self.display
    }

    fn completion(&self) -> Option<&str> {
        self.rest.as_deref()
    }
}

/// Fewer columns are not worth a hint.
const ROOM: usize = 12;

impl Hint {
    /// The rest of an earlier entry, of which one line is shown in `room` columns.
    pub fn earlier(rest: &str, room: usize) -> Option<Self> {
        let first = rest.lines().next().unwrap_or_default();
        let more = if first.len() < rest.trim_end().len() { " …" } else { "" };
        let display = cut(&format!("{first}{more}"), room);
        (room >= ROOM && !rest.trim().is_empty()).then(|| Self { display, rest: Some(rest.to_owned()) })
    }

    /// The first line of what is known of a function.
    pub fn signature(known: &str, room: usize) -> Option<Self> {
        let line = known.lines().next()?;
        (room >= ROOM && line.contains('(')).then(|| Self { display: cut(&format!("   {line}"), room), rest: None })
    }
}

/// Columns left of `width` behind a cell whose first line stands behind a prompt.
pub fn room(cell: &str, prompt: usize, width: usize) -> usize {
    let (line, indent) = cell.rsplit_once('\n').map_or((cell, prompt), |(_, line)| (line, 0));
    width.saturating_sub((line.width() + indent) % width.max(1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_entry_goes_on() {
        let hint = Hint::earlier("(a) {\n    b\n}", 40).unwrap();
        assert_eq!((hint.display(), hint.completion()), ("(a) { …", Some("(a) {\n    b\n}")));
        assert_eq!(Hint::earlier("  ", 40), None);
        assert_eq!(Hint::earlier("abc", 5), None);
    }

    #[test]
    fn a_signature_is_shown_and_never_typed() {
        let hint = Hint::signature("chunks(trace, layer) -> figure\n    text", 20).unwrap();
        assert_eq!((hint.display(), hint.completion()), ("   chunks(trace, la…", None));
        assert_eq!(Hint::signature("x: int\n3", 80), None);
    }

    #[test]
    fn room_is_what_the_last_line_leaves() {
        assert_eq!(room("abc", 5, 80), 71);
        assert_eq!(room("abc\nde", 5, 80), 77);
        assert_eq!(room("abcdef", 5, 10), 8, "the line went on in the next row");
        assert_eq!(room("a", 1, 0), 0);
    }
}
