//! The line editor: rustyline with the language behind completion, hints, colours and Enter.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use rustyline::completion::Completer;
use rustyline::config::{BellStyle, Configurer};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::{MemHistory, SearchDirection};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Cmd, ColorMode, CompletionType, Config, Context, EventHandler, Helper, KeyCode, KeyEvent, Modifiers};

use longlens_plot::terminal::Depth;

use super::colours::{Paint, Role};
use super::highlight::{highlight, is_at_bracket};
use super::hint::{Hint, room};
use super::history::KEPT;
use super::keys::{Close, Closing, Enter, Tab, fallen_back};
use super::menu::{Entry, entries};
use super::{WIDTH, is_open};
use crate::interpreter::Interpreter;

/// Reads cells.
pub struct Editor<I: Interpreter> {
    line: rustyline::Editor<Language<I>, MemHistory>,
}

impl<I: Interpreter> Editor<I> {
    /// An editor that knows earlier entries.
    pub fn new(session: Rc<RefCell<I>>, entries: &[String], colours: Depth) -> Result<Self, ReadlineError> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .bell_style(BellStyle::None)
            // the colours are ours, and so are the signs for what a terminal would obey
            .color_mode(ColorMode::Forced)
            .tab_stop(4)
            .indent_size(4)
            .build();
        let history = MemHistory::with_config(&config);
        let mut line = rustyline::Editor::with_history(config, history)?;
        line.set_max_history_size(KEPT)?;
        for entry in entries {
            line.add_history_entry(entry.as_str())?;
        }
        let closing = Closing::default();
        line.set_helper(Some(Language {
            session,
            closing: closing.clone(),
            colours,
            width: Cell::new(WIDTH),
            prompt: Cell::new(0),
            is_final: Cell::new(false),
        }));
        let plain = |code| KeyEvent(code, Modifiers::NONE);
        for key in [plain(KeyCode::Enter), KeyEvent::ctrl('J'), KeyEvent::ctrl('M')] {
            line.bind_sequence(key, EventHandler::Conditional(Box::new(Enter)));
        }
        line.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), EventHandler::Simple(Cmd::Newline));
        line.bind_sequence(plain(KeyCode::Tab), EventHandler::Conditional(Box::new(Tab)));
        for bracket in [b')', b']', b'}'] {
            let handler = EventHandler::Conditional(Box::new(Close(bracket, closing.clone())));
            line.bind_sequence(plain(KeyCode::Char(bracket.into())), handler);
        }
        Ok(Self { line })
    }

    /// Asks for a cell; the terminal's columns are asked for unless `width` says them.
    pub fn read(&mut self, number: usize, width: Option<usize>) -> Result<String, ReadlineError> {
        let (prompt, width) = (format!("[{number}]: "), self.width(width));
        if let Some(language) = self.line.helper() {
            language.width.set(width);
            language.prompt.set(prompt.len());
        }
        self.line.readline(prompt.as_str())
    }

    /// Columns of the terminal now, unless `width` says them.
    pub fn width(&mut self, width: Option<usize>) -> usize {
        let columns = width.or_else(|| self.line.dimensions().map(|(columns, _)| usize::from(columns)));
        columns.filter(|columns| *columns > 0).unwrap_or(WIDTH)
    }

    /// Makes an entry one that the arrows and Ctrl-R find.
    pub fn remember(&mut self, cell: &str) -> Result<(), ReadlineError> {
        self.line.add_history_entry(cell).map(drop)
    }
}

/// The language as rustyline asks for it.
struct Language<I> {
    session: Rc<RefCell<I>>,
    closing: Closing,
    colours: Depth,
    /// Columns of the terminal.
    width: Cell<usize>,
    /// Columns of the prompt.
    prompt: Cell<usize>,
    /// Whether the line is drawn for the last time.
    is_final: Cell<bool>,
}

impl<I: Interpreter> Helper for Language<I> {}

impl<I: Interpreter> Completer for Language<I> {
    type Candidate = Entry;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Entry>)> {
        let bracket = self.closing.swap(0, Ordering::SeqCst);
        if let (1.., Some(start)) = (bracket, fallen_back(line, pos)) {
            return Ok((start, vec![Entry::plain(char::from(bracket).to_string())]));
        }
        let found = self.session.borrow().complete(line, pos);
        let start = found.replaces.start.min(pos);
        Ok((start, entries(found.candidates, &line[start..pos], self.width.get())))
    }
}

impl<I: Interpreter> Hinter for Language<I> {
    type Hint = Hint;

    fn hint(&self, line: &str, pos: usize, context: &Context<'_>) -> Option<Hint> {
        // without colours nothing tells a hint from what was typed
        if self.colours == Depth::Mono || line.trim().is_empty() || pos < line.len() {
            return None;
        }
        let room = room(line, self.prompt.get(), self.width.get());
        let newest = context.history_index().min(context.history().len().saturating_sub(1));
        let earlier = context.history().starts_with(line, newest, SearchDirection::Reverse).ok().flatten();
        let earlier = earlier.and_then(|found| Hint::earlier(&found.entry[pos..], room));
        earlier.or_else(|| {
            let at_name = line.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '(' || c == ',');
            let known = at_name.then(|| self.session.borrow().inspect(line, pos, false)).flatten()?;
            Hint::signature(&known.text, room)
        })
    }
}

impl<I: Interpreter> Highlighter for Language<I> {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        let cursor = (!self.is_final.get()).then_some(pos);
        Cow::Owned(highlight(line, cursor, self.colours))
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        self.colours.paint(if default { Role::Prompt } else { Role::Faint }, prompt)
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        self.colours.paint(Role::Faint, hint)
    }

    fn highlight_candidate<'c>(&self, candidate: &'c str, _: CompletionType) -> Cow<'c, str> {
        match candidate.split_once("  ") {
            Some((name, about)) => Cow::Owned(format!("{name}  {}", self.colours.paint(Role::Faint, about))),
            None => Cow::Borrowed(candidate),
        }
    }

    fn highlight_char(&self, line: &str, pos: usize, kind: CmdKind) -> bool {
        self.is_final.set(kind == CmdKind::ForcedRefresh);
        kind != CmdKind::MoveCursor || is_at_bracket(line, pos)
    }
}

/// Enter is a key of ours (`keys.rs`), which asks before it ends a cell.
impl<I: Interpreter> Validator for Language<I> {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let is_open = is_open(&*self.session.borrow(), context.input());
        Ok(if is_open { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}
