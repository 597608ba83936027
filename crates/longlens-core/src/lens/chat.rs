//! Conversations, which a model's chat template makes one text of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What one side says in one turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who says it: `user`, `assistant`, `system`, or what else a template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// All that a chat template is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// Turns, in order.
    pub messages: Vec<Message>,
    /// Whether the text ends where an answer begins.
    pub add_generation_prompt: bool,
    /// Whether the text ends where the last turn's words end, so that the model goes on with them; this comes before
    /// `add_generation_prompt`. The name is that of transformers, as are those beside it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continue_final_message: bool,
    /// What a template that asks for the date is told, as `YYYY-MM-DD`.
    #[serde(default = "usual_date")]
    pub date: String,
    /// Further variables, such as Qwen 3's `enable_thinking`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
}

/// The date that templates are told where nobody gives one, so that results do not depend on the day: the one that the template
/// of Llama 3.2 writes where its library tells none (`26 Jul 2024`).
pub const DATE: &str = "2024-07-26";

fn usual_date() -> String {
    DATE.to_owned()
}

/// What a turn that goes on ends with while its template runs: the text is cut there. The blank shows whether the template keeps
/// blanks at the end of a turn.
const MARK: &str = "CONTINUE_FINAL_MESSAGE ";

impl Message {
    /// A turn of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// What a user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }
}

impl Conversation {
    /// Turns whose next one is the model's answer.
    pub fn new(messages: impl Into<Vec<Message>>) -> Self {
        Self {
            messages: messages.into(),
            add_generation_prompt: true,
            continue_final_message: false,
            date: usual_date(),
            variables: Map::new(),
        }
    }

    /// Turns as somebody who wants an answer writes them: a last turn of the assistant is an answer that was begun, and goes on.
    pub fn asking(messages: impl Into<Vec<Message>>) -> Self {
        Self::new([]).with_turns(messages.into())
    }

    /// The same with other turns, which end as in [`Conversation::asking`].
    #[must_use]
    pub fn with_turns(self, messages: Vec<Message>) -> Self {
        let is_begun = messages.last().is_some_and(|last| last.role == "assistant");
        Self { messages, add_generation_prompt: !is_begun, continue_final_message: is_begun, ..self }
    }

    /// The same with the date that somebody gives, if somebody does.
    #[must_use]
    pub fn dated(self, date: Option<&str>) -> Self {
        Self { date: date.map_or(self.date, str::to_owned), ..self }
    }

    /// The text that `render` makes of the conversation, cut where a last turn that goes on ends; nothing where the text leaves
    /// that turn out. `render` gets a conversation that does not ask for this.
    pub fn rendered<E>(&self, render: impl FnOnce(&Self) -> Result<String, E>) -> Result<Option<String>, E> {
        if !self.continue_final_message {
            return render(self).map(Some);
        }
        let mut marked = Self { add_generation_prompt: false, continue_final_message: false, ..self.clone() };
        marked.messages.last_mut().into_iter().for_each(|last| last.content += MARK);
        let mut text = render(&marked)?;
        let Some(end) = text.rfind(MARK.trim_end()) else { return Ok(None) };
        let keeps_blanks = text[end..].starts_with(MARK);
        text.truncate(end);
        Ok(Some(if keeps_blanks { text } else { text.trim_end().to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A template in small: `<role>content|` for each turn, whose words may be trimmed.
    fn written(conversation: &Conversation, trims: bool) -> Result<Option<String>, String> {
        conversation.rendered(|conversation| {
            let line = |turn: &Message| {
                let content = if trims { turn.content.trim() } else { &turn.content };
                format!("<{}>{content}|", turn.role)
            };
            let answer = if conversation.add_generation_prompt { "<assistant>" } else { "" };
            Ok(conversation.messages.iter().map(line).collect::<String>() + answer)
        })
    }

    #[test]
    fn an_answer_that_was_begun_goes_on() {
        let turns = [Message::user("Two?"), Message::new("assistant", "It is ")];
        assert_eq!(written(&Conversation::asking(&turns[..1]), false), Ok(Some("<user>Two?|<assistant>".into())));
        let begun = Conversation::asking(turns);
        assert_eq!(written(&begun, false), Ok(Some("<user>Two?|<assistant>It is ".into())));
        assert_eq!(
            written(&begun, true),
            Ok(Some("<user>Two?|<assistant>It is".into())),
            "the template takes blanks away"
        );
        let closed = Conversation { continue_final_message: false, ..begun.clone() };
        assert_eq!(written(&closed, false), Ok(Some("<user>Two?|<assistant>It is |".into())));
        assert_eq!(begun.rendered(|_| Ok::<_, String>("only the system".into())), Ok(None));
        assert_eq!(written(&Conversation { messages: Vec::new(), ..begun }, false), Ok(None));
    }

    #[test]
    fn what_nobody_says_is_usual() {
        let read = |text: &str| serde_json::from_str::<Conversation>(text).map_err(|error| error.to_string());
        let asked = read(r#"{"messages": [{"role": "user", "content": "Two?"}], "add_generation_prompt": true}"#);
        assert_eq!(asked, Ok(Conversation::new([Message::user("Two?")])));
        let said = Conversation::asking([Message::new("assistant", "It is")]).dated(Some("2025-01-31"));
        assert_eq!(read(&serde_json::to_string(&said).unwrap()), Ok(said));
        assert!(read(r#"{"messages": [], "add_generation_prompt": true, "data": ""}"#).unwrap_err().contains("`data`"));
    }
}
