//! A prompt in the making: a text, or the turns of a conversation.

use longlens_app::prompt::PromptSource;
use longlens_app::turns;
use longlens_core::lens::Conversation;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_textarea::{CursorMove, TextArea};

/// Typed text, and what becomes of it.
#[derive(Debug, Clone)]
pub struct Editor {
    /// What was typed.
    pub area: TextArea<'static>,
    /// Whether lines that begin with a role are turns for the model's chat template.
    pub is_chat: bool,
    /// What a conversation has beside its turns.
    around: Conversation,
}

impl Editor {
    /// A text to go on with.
    pub fn new(text: &str) -> Self {
        let mut area = TextArea::from(text.split('\n'));
        area.move_cursor(CursorMove::Bottom);
        area.move_cursor(CursorMove::End);
        Self { area, is_chat: false, around: Conversation::new([]) }
    }

    /// A prompt as it would be typed, if it can be.
    pub fn of(source: &PromptSource) -> Option<Self> {
        match source {
            PromptSource::Text(text) => Some(Self::new(text)),
            PromptSource::Chat(conversation) => {
                let around = Conversation { messages: Vec::new(), ..conversation.clone() };
                Some(Self { is_chat: true, around, ..Self::new(&turns::typed(conversation)?) })
            }
            _ => None,
        }
    }

    /// What was typed.
    pub fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    /// The prompt that `text` is, in the form that is chosen.
    pub fn source(&self, text: String) -> PromptSource {
        if self.is_chat {
            PromptSource::Chat(self.around.clone().with_turns(turns::turns(&text)))
        } else {
            PromptSource::Text(text)
        }
    }

    /// Takes a key; gives the prompt when it is done.
    pub fn key(&mut self, key: KeyEvent) -> Option<PromptSource> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('l') if control => self.area = TextArea::default(),
            KeyCode::Char('t') if control => self.is_chat = !self.is_chat,
            // Enter makes a new line, so another key takes the text
            KeyCode::Char('s' | 'd') | KeyCode::Enter if control => return Some(self.source(self.text())),
            KeyCode::F(2) => return Some(self.source(self.text())),
            _ => drop(self.area.input(key)),
        }
        None
    }

    /// What is said below the text: how much it is, and the keys.
    pub fn note(&self) -> String {
        if self.is_chat {
            let n_turns = turns::turns(&self.text()).len();
            let turns = if n_turns == 1 { "turn" } else { "turns" };
            return format!("{n_turns} {turns} · ctrl-s or f2 runs it · ctrl-t plain text · ctrl-l clears · esc back");
        }
        let lines = self.area.lines();
        let n = lines.iter().map(|line| line.chars().count() + 1).sum::<usize>().saturating_sub(1);
        format!("{n} characters · ctrl-s or f2 runs it · ctrl-t conversation · ctrl-l clears · esc back")
    }
}
