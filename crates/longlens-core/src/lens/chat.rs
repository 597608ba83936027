//! Conversations, which a model's chat template makes one text of.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What one side says in one turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it: `user`, `assistant`, `system`, or what else a template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// All that a chat template is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    /// Turns, in order.
    pub messages: Vec<Message>,
    /// Whether the text ends where an answer begins.
    pub add_generation_prompt: bool,
    /// What a template that asks for the date is told, as `YYYY-MM-DD`.
    pub date: String,
    /// Further variables, such as Qwen 3's `enable_thinking`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
}

/// The date that templates are told where nobody gives one, so that results do not depend on the day: the one that the template
/// of Llama 3.2 writes where its library tells none (`26 Jul 2024`).
pub const DATE: &str = "2024-07-26";

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
        Self { messages: messages.into(), add_generation_prompt: true, date: DATE.into(), variables: Map::new() }
    }
}
