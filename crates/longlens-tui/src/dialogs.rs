//! What lies over the workbench for a moment: help, palette, prompt builders, file names.

use std::path::PathBuf;

use longlens_app::Problem;
use longlens_app::prompt::{NeedleAsk, PromptSource};
use longlens_app::runs::{Run, RunId};
use longlens_app::settings::params;
use longlens_core::printable::is_command;
use longlens_eval::passkey::{Chat, Template};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_textarea::TextArea;

use crate::command::{Command, ENTRIES, Entry};
use crate::fields::read_count;

mod document;
mod draw;
mod editor;

pub use document::DocumentForm;
pub use draw::draw;
pub use editor::Editor;

/// An open dialog.
#[derive(Debug)]
pub enum Dialog {
    /// Every key.
    Help {
        /// Lines scrolled down.
        scroll: usize,
    },
    /// Every command by name.
    Palette {
        /// What was typed.
        input: Line,
        /// Selected entry.
        selected: usize,
    },
    /// The needle builder.
    Needle {
        /// Length, depth, key, seed.
        inputs: Box<[Line; 4]>,
        /// Wording.
        template: Template,
        /// Whether it is put into the chat template, and what that is told then.
        chat: (bool, Chat),
        /// The line that keys go to; the last two are template and chat.
        selected: usize,
    },
    /// A document and a question about it.
    Document(Box<DocumentForm>),
    /// A prompt to type.
    Text(Box<Editor>),
    /// One line, and what for.
    Ask(Question, Line),
    /// Whether to quit while something runs.
    ConfirmQuit,
}

/// What a line is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// A document.
    OpenFile,
    /// A run's name.
    Rename(RunId),
    /// What exported files are called.
    Export,
    /// The config file.
    SaveConfig,
    /// The notebook or script of the steps.
    Record,
}

/// What a closed dialog asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    /// Nothing.
    Closed,
    /// A command.
    Command(Command),
    /// A prompt.
    Prompt(PromptSource),
    /// The input is not possible; the dialog stays.
    Refused(Problem),
    /// A run's name.
    Rename(RunId, String),
    /// Files of the view, called this.
    Export(String),
    /// A config file.
    SaveConfig(PathBuf),
    /// A notebook or script of the steps.
    Record(PathBuf),
    /// Out.
    Quit,
}

/// One line of typed text.
#[derive(Debug)]
pub struct Line(pub TextArea<'static>);

/// Labels of the needle builder.
pub const NEEDLE_LABELS: [&str; 6] = ["length", "depth", "key", "seed", "template", "chat"];

impl Line {
    fn new(text: &str) -> Self {
        let mut area = TextArea::new(vec![text.to_owned()]);
        area.move_cursor(ratatui_textarea::CursorMove::End);
        Self(area)
    }

    /// What was typed.
    pub fn text(&self) -> &str {
        self.0.lines().first().map_or("", String::as_str)
    }

    fn key(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('u') {
            *self = Self::new("");
        // a line stays one line
        } else if !matches!(key.code, KeyCode::Enter | KeyCode::Tab) && !is_newline(key) {
            self.0.input(key);
        }
    }

    fn paste(&mut self, text: &str) {
        let one: String = text.chars().map(|c| if is_command(c) { ' ' } else { c }).collect();
        self.0.insert_str(one.trim_end());
    }
}

/// Keys that a text area takes for a new line.
fn is_newline(key: KeyEvent) -> bool {
    key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('m' | 'j'))
}

impl Dialog {
    /// The needle builder, filled in.
    pub fn needle(ask: &NeedleAsk) -> Self {
        let key = ask.key.clone().unwrap_or_default();
        let texts = [ask.length.to_string(), ask.depth.to_string(), key, ask.seed.to_string()];
        let chat = (ask.chat.is_some(), ask.chat.clone().unwrap_or_default());
        Self::Needle { inputs: Box::new(texts.map(|text| Line::new(&text))), template: ask.template, chat, selected: 0 }
    }

    /// A document's name, so far.
    pub fn open_file(name: &str) -> Self {
        Self::Ask(Question::OpenFile, Line::new(name))
    }

    /// A run's name.
    pub fn rename(run: &Run) -> Self {
        Self::Ask(Question::Rename(run.id), Line::new(run.name.as_deref().unwrap_or_default()))
    }

    /// What exported files are called.
    pub fn export(stem: &str) -> Self {
        Self::Ask(Question::Export, Line::new(stem))
    }

    /// The config file's name.
    pub fn save_config() -> Self {
        Self::Ask(Question::SaveConfig, Line::new("longlens.toml"))
    }

    /// What the steps are written as: the ending decides.
    pub fn record() -> Self {
        Self::Ask(Question::Record, Line::new("longlens-steps.rhai"))
    }

    /// Every command by name.
    pub fn palette() -> Self {
        Self::Palette { input: Line::new(""), selected: 0 }
    }

    /// Takes a key; what comes back closes the dialog.
    pub fn key(&mut self, key: KeyEvent) -> Option<Done> {
        if key.code == KeyCode::Esc || (key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c'))
        {
            return Some(Done::Closed);
        }
        match self {
            Self::Help { scroll } => match key.code {
                KeyCode::Up | KeyCode::Char('k') => *scroll = scroll.saturating_sub(1),
                KeyCode::Down | KeyCode::Char('j') => *scroll = (*scroll + 1).min(ENTRIES.len()),
                KeyCode::PageUp => *scroll = scroll.saturating_sub(10),
                KeyCode::PageDown | KeyCode::Char(' ') => *scroll = (*scroll + 10).min(ENTRIES.len()),
                KeyCode::Home => *scroll = 0,
                KeyCode::End => *scroll = ENTRIES.len(),
                _ => return Some(Done::Closed),
            },
            Self::Palette { input, selected } => match key.code {
                KeyCode::Enter => {
                    let found = found(input.text());
                    let chosen = found.get((*selected).min(found.len().saturating_sub(1)));
                    return Some(chosen.map_or(Done::Closed, |entry| Done::Command(entry.command)));
                }
                KeyCode::Up => *selected = selected.saturating_sub(1),
                KeyCode::Down => *selected = (*selected + 1).min(found(input.text()).len().saturating_sub(1)),
                _ => {
                    input.key(key);
                    *selected = 0;
                }
            },
            Self::Needle { inputs, template, chat, selected } => match key.code {
                KeyCode::Enter => return Some(needle_prompt(inputs, *template, chat)),
                KeyCode::Left | KeyCode::Right | KeyCode::Char(' ') if *selected == inputs.len() => {
                    *template = next_template(*template, key.code == KeyCode::Left);
                }
                KeyCode::Left | KeyCode::Right | KeyCode::Char(' ') if *selected > inputs.len() => chat.0 = !chat.0,
                code => match (moved(*selected, NEEDLE_LABELS.len(), code), inputs.get_mut(*selected)) {
                    (Some(next), _) => *selected = next,
                    (None, Some(line)) => line.key(key),
                    (None, None) => (),
                },
            },
            Self::Document(form) => return form.key(key),
            Self::Text(editor) => return editor.key(key).map(Done::Prompt),
            Self::Ask(question, line) => {
                if key.code == KeyCode::Enter {
                    return Some(answered(*question, line.text().trim()));
                }
                line.key(key);
            }
            Self::ConfirmQuit => {
                let quits = matches!(key.code, KeyCode::Char('y' | 'Y' | 'q'));
                return Some(if quits { Done::Quit } else { Done::Closed });
            }
        }
        None
    }

    /// Takes pasted text.
    pub fn paste(&mut self, text: &str) {
        match self {
            Self::Palette { input, .. } | Self::Ask(_, input) => input.paste(text),
            Self::Needle { inputs, selected, .. } => {
                if let Some(line) = inputs.get_mut(*selected) {
                    line.paste(text);
                }
            }
            Self::Document(form) => {
                if let Some(line) = form.inputs.get_mut(form.selected) {
                    line.paste(text);
                }
            }
            Self::Text(editor) => {
                editor.area.insert_str(text);
            }
            Self::Help { .. } | Self::ConfirmQuit => (),
        }
    }

    /// A click on an entry.
    pub fn click(&mut self, at: usize) -> Option<Done> {
        match self {
            Self::Palette { input, .. } => found(input.text()).get(at).map(|entry| Done::Command(entry.command)),
            Self::Needle { selected, .. } => {
                *selected = at.min(NEEDLE_LABELS.len() - 1);
                None
            }
            Self::Document(form) => {
                form.selected = at.min(document::LABELS.len() - 1);
                None
            }
            _ => None,
        }
    }

    /// Scrolls a list.
    pub fn scroll(&mut self, by: i64) {
        match self {
            Self::Help { scroll } => *scroll = (*scroll as i64 + by).clamp(0, ENTRIES.len() as i64) as usize,
            Self::Palette { input, selected } => {
                let last = found(input.text()).len().saturating_sub(1) as i64;
                *selected = (*selected as i64 + by.signum()).clamp(0, last) as usize;
            }
            _ => (),
        }
    }
}

/// The line of a form, of `n`, that a key moves to.
fn moved(selected: usize, n: usize, key: KeyCode) -> Option<usize> {
    match key {
        KeyCode::Up | KeyCode::BackTab => Some((selected + n - 1) % n),
        KeyCode::Down | KeyCode::Tab => Some((selected + 1) % n),
        _ => None,
    }
}

fn next_template(template: Template, back: bool) -> Template {
    let all = Template::ALL;
    let at = all.iter().position(|known| *known == template).unwrap_or(0);
    all[(at + if back { all.len() - 1 } else { 1 }) % all.len()]
}

/// The prompt that the builder's lines ask for.
fn needle_prompt(inputs: &[Line; 4], template: Template, (chats, chat): &(bool, Chat)) -> Done {
    let refuse = |what: &str, text: &str, help: &str| {
        Done::Refused(Problem::new(format!("`{text}` is not a {what}"), help.to_owned()))
    };
    let [length, depth, key, seed] = [0, 1, 2, 3].map(|at| inputs[at].text().trim());
    let Some(n_tokens) = read_count(length) else {
        return refuse("length", length, "write tokens, as 1024 or 4k");
    };
    let share = match longlens_eval::passkey::depth(depth) {
        Ok(share) => share,
        Err(error) => return Done::Refused(error.into()),
    };
    let seed = match params::param("seed").read(seed) {
        Ok(seed) => seed.number() as u64,
        Err(error) => return Done::Refused(error.into()),
    };
    let key = Some(key.to_owned()).filter(|key| !key.is_empty());
    let chat = chats.then(|| chat.clone());
    Done::Prompt(PromptSource::Needle(NeedleAsk { length: n_tokens, depth: share, key, template, seed, chat }))
}

fn answered(question: Question, text: &str) -> Done {
    if text.is_empty() && !matches!(question, Question::Rename(_)) {
        return Done::Closed;
    }
    match question {
        Question::OpenFile => Done::Prompt(PromptSource::File(home(text))),
        Question::Rename(run) => Done::Rename(run, text.to_owned()),
        Question::Export => Done::Export(home(text).to_string_lossy().into_owned()),
        Question::SaveConfig => Done::SaveConfig(home(text)),
        Question::Record => Done::Record(home(text)),
    }
}

/// A path, `~` read as the home folder.
fn home(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(text),
    }
}

/// The commands whose names match what was typed, best first.
pub fn found(typed: &str) -> Vec<&'static Entry> {
    use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
    use nucleo_matcher::{Config, Matcher, Utf32Str};

    if typed.trim().is_empty() {
        return ENTRIES.iter().collect();
    }
    let mut matcher = Matcher::new(Config::DEFAULT);
    let pattern = Pattern::parse(typed, CaseMatching::Ignore, Normalization::Smart);
    let mut scratch = Vec::new();
    let mut scored: Vec<(u32, &Entry)> = Vec::new();
    for entry in ENTRIES.iter() {
        let name = pattern.score(Utf32Str::new(&entry.name, &mut scratch), &mut matcher).map(|score| 2 * score);
        let help = pattern.score(Utf32Str::new(&entry.help, &mut scratch), &mut matcher);
        if let Some(score) = name.max(help) {
            scored.push((score, entry));
        }
    }
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    scored.into_iter().map(|(_, entry)| entry).collect()
}
