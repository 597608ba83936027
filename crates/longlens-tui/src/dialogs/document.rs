//! A document and a question about it, in the making.

use std::path::PathBuf;

use longlens_app::Problem;
use longlens_app::prompt::DocumentAsk;
use longlens_app::steps::one_line;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Done, Line, home, moved};

/// A file, what is asked about it, and whether in a chat.
#[derive(Debug)]
pub struct DocumentForm {
    /// What it began with.
    begun: DocumentAsk,
    /// File and question.
    pub inputs: [Line; 2],
    /// Whether a user says it, in the chat template.
    pub chats: bool,
    /// The line that keys go to.
    pub selected: usize,
    /// Whether a letter takes the place of the whole question, since that was answered.
    replaces: bool,
}

/// Labels of the lines.
pub const LABELS: [&str; 3] = ["document", "question", "chat"];

/// The question among these.
const QUESTION: usize = 1;

/// What the lines mean.
pub const HELP: [&str; LABELS.len()] = [
    "a file: text, Markdown, HTML, PDF, or JSON lines with a `text`",
    "stands behind the document; empty asks nothing",
    "whether a user says both, in the chat template (left, right)",
];

impl DocumentForm {
    /// A form filled in; keys go to the question where a file is named.
    pub fn new(begun: DocumentAsk) -> Self {
        let texts = typed(&begun);
        let selected = usize::from(!texts[0].is_empty());
        Self {
            inputs: texts.map(|text| Line::new(&text)),
            chats: begun.chat.is_some(),
            selected,
            replaces: false,
            begun,
        }
    }

    /// The same for a document whose question was asked: the first letter begins another one.
    pub fn again(begun: DocumentAsk) -> Self {
        let replaces = begun.question.is_some();
        Self { replaces, ..Self::new(begun) }
    }

    /// What was typed so far. What is as it was stays what it was: a line shows no line ends.
    pub fn ask(&self) -> DocumentAsk {
        let [file, question] = typed(&self.begun);
        let [new_file, new_question] = [0, 1].map(|at| self.inputs[at].text());
        let asked = Some(new_question.trim().to_owned()).filter(|text| !text.is_empty());
        DocumentAsk {
            file: if file == new_file { self.begun.file.clone() } else { home(new_file.trim()) },
            question: if question == new_question { self.begun.question.clone() } else { asked },
            chat: self.chats.then(|| self.begun.chat.clone().unwrap_or_default()),
        }
    }

    /// Takes a key; what comes back closes the dialog.
    pub fn key(&mut self, key: KeyEvent) -> Option<Done> {
        if key.code == KeyCode::Enter {
            return Some(self.done());
        }
        if let Some(selected) = moved(self.selected, LABELS.len(), key.code) {
            self.selected = selected;
            return None;
        }
        let replaces = std::mem::take(&mut self.replaces) && self.selected == QUESTION;
        if replaces && matches!(key.code, KeyCode::Char(_)) && !key.modifiers.contains(KeyModifiers::CONTROL) {
            self.inputs[QUESTION] = Line::new("");
        }
        match self.inputs.get_mut(self.selected) {
            Some(line) => line.key(key),
            None if matches!(key.code, KeyCode::Left | KeyCode::Right | KeyCode::Char(' ')) => self.chats = !self.chats,
            None => (),
        }
        None
    }

    fn done(&self) -> Done {
        let ask = self.ask();
        if ask.file == PathBuf::new() {
            let help = "give the name of a file, which counts from the folder that longlens was started in".to_owned();
            return Done::Refused(Problem::new("no document is named", help));
        }
        Done::Prompt(ask.source())
    }
}

/// File and question as the lines show them.
fn typed(ask: &DocumentAsk) -> [String; 2] {
    [one_line(&ask.file.to_string_lossy()), one_line(ask.question.as_deref().unwrap_or_default())]
}
