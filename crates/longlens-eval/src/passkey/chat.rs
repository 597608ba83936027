//! How a prompt is fed: as it stands, or as what a user says in the model's chat template.
//!
//! A model that talks would answer "What is the pass key? The pass key is" with a sentence of its own, so in a template the words
//! behind the question are not the user's: they begin the answer, as in RULER (Hsieh et al., 2024, arXiv:2404.06654), and the key
//! is what the model goes on with, as without a template.

use std::fmt;

use longlens_core::lens::{Conversation, DATE, LensError, Message, TextCodec};
use serde::{Deserialize, Serialize};

/// What the chat template is told beside the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// What the system says first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The date, as `YYYY-MM-DD`.
    pub date: String,
}

/// Longest words, in bytes, that begin an answer.
const MAX_BEGUN: usize = 128;

impl Default for Chat {
    fn default() -> Self {
        Self { system: None, date: DATE.into() }
    }
}

/// What only a chat template reads, where prompts are put into none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTemplate {
    /// What the system says first.
    #[error("a system prompt is for the model's chat template")]
    System,
    /// The date.
    #[error("a date is for the model's chat template")]
    Date,
}

impl Chat {
    /// What the chat template is told, where `chats` puts prompts into it. Where it does not, system and date have no use and are
    /// refused.
    pub fn given(chats: bool, system: Option<String>, date: Option<String>) -> Result<Option<Self>, NoTemplate> {
        match (chats, &system, &date) {
            (true, ..) => Ok(Some(Self { system, date: date.unwrap_or_else(|| DATE.into()) })),
            (false, None, None) => Ok(None),
            (false, Some(_), _) => Err(NoTemplate::System),
            (false, None, Some(_)) => Err(NoTemplate::Date),
        }
    }

    /// A conversation whose user says a prompt, up to where the answer goes on with what follows the prompt's question.
    pub fn conversation(&self, prompt: &str) -> Conversation {
        let (asked, begun) = begun(prompt);
        self.asking(asked, begun.to_owned())
    }

    fn asking(&self, asked: &str, begun: String) -> Conversation {
        let system = self.system.iter().map(|system| Message::new("system", system));
        let answer = (!begun.is_empty()).then(|| Message::new("assistant", begun));
        let turns: Vec<_> = system.chain([Message::user(asked)]).chain(answer).collect();
        Conversation::asking(turns).dated(Some(&self.date))
    }
}

/// As protocols name it.
impl fmt::Display for Chat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in the model's chat template (date {}", self.date)?;
        self.system.iter().try_for_each(|system| write!(f, ", system {system:?}"))?;
        f.write_str(")")
    }
}

/// What is asked, and the words behind the last question that begin its answer; no words where the prompt ends with the question,
/// or where what follows it is more than a few words.
fn begun(prompt: &str) -> (&str, &str) {
    let prompt = prompt.trim_end();
    let end = prompt.rfind(['?', '？']).map(|at| at + prompt[at..].chars().next().map_or(0, char::len_utf8));
    let (asked, rest) = prompt.split_at(end.unwrap_or(prompt.len()));
    let rest = rest.trim_start();
    if rest.len() <= MAX_BEGUN && !rest.contains('\n') { (asked, rest) } else { (prompt, "") }
}

/// Makes tokens of prompts.
#[derive(Clone, Copy)]
pub(super) struct PromptEncoder<'a> {
    pub codec: &'a dyn TextCodec,
    /// The chat template's, where prompts are put into one.
    pub chat: Option<&'a Chat>,
}

impl PromptEncoder<'_> {
    /// The text that is fed.
    pub fn text(self, prompt: &str) -> Result<String, LensError> {
        match self.chat {
            Some(chat) => self.codec.chat(&chat.conversation(prompt)),
            None => Ok(prompt.to_owned()),
        }
    }

    /// The text that is fed and the right answer behind it.
    fn answered(self, prompt: &str, key: &str) -> Result<String, LensError> {
        match self.chat {
            Some(chat) => {
                let (asked, begun) = begun(prompt);
                let answer = if begun.is_empty() { key.to_owned() } else { format!("{begun} {key}") };
                self.codec.chat(&chat.asking(asked, answer))
            }
            None => Ok(format!("{prompt}{}{key}", blank(prompt))),
        }
    }

    /// Tokens of a text that is fed. A template writes the model's first token itself where it wants one.
    pub fn encode(self, text: &str) -> Result<Vec<u32>, LensError> {
        self.codec.encode(text, self.chat.is_none())
    }

    /// How many tokens the prompt has, with the right answer.
    pub fn n_tokens(self, prompt: &str, key: &str) -> Result<usize, LensError> {
        Ok(self.encode(&self.answered(prompt, key)?)?.len())
    }

    /// The tokens that follow `tokens`, those of the prompt, when the text goes on with the key.
    ///
    /// A tokenizer that would merge the prompt's last token with the key has no such continuation; then the key is
    /// tokenized on its own, as the authors' scripts do.
    pub fn answer(self, prompt: &str, key: &str, tokens: &[u32]) -> Result<Vec<u32>, LensError> {
        match self.encode(&self.answered(prompt, key)?)?.strip_prefix(tokens) {
            Some(rest) if !rest.is_empty() => Ok(rest.to_vec()),
            _ => self.codec.encode(&format!("{}{key}", blank(&self.text(prompt)?)), false),
        }
    }
}

/// What separates a text from a word behind it.
fn blank(text: &str) -> &'static str {
    if text.ends_with(char::is_whitespace) { "" } else { " " }
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;

    use super::*;

    #[test]
    fn system_and_date_are_for_a_template() {
        let given = |chats, system: Option<&str>, date: Option<&str>| {
            Chat::given(chats, system.map(str::to_owned), date.map(str::to_owned))
        };
        assert_eq!(given(true, None, None), Ok(Some(Chat::default())));
        let whole = Chat { system: Some("Be brief.".into()), date: "2025-01-31".into() };
        assert_eq!(given(true, Some("Be brief."), Some("2025-01-31")), Ok(Some(whole)));
        assert_eq!(given(false, None, None), Ok(None));
        assert_eq!(given(false, Some("Be brief."), Some("2025-01-31")), Err(NoTemplate::System));
        assert_eq!(given(false, None, Some("2025-01-31")), Err(NoTemplate::Date));
    }

    #[test]
    fn words_behind_the_question_begin_the_answer() {
        assert_eq!(begun("a? b?\nThe key is "), ("a? b?", "The key is"));
        assert_eq!(begun("What is it？答案是"), ("What is it？", "答案是"));
        assert_eq!(begun("What is it?\n"), ("What is it?", ""));
        assert_eq!(begun("The key is"), ("The key is", ""));
        assert_eq!(begun("Who? Read on.\nThe key is 5."), ("Who? Read on.\nThe key is 5.", ""));
        let long = format!("Who? {}", "x".repeat(MAX_BEGUN + 1));
        assert_eq!(begun(&long), (&*long, ""));
    }

    #[test]
    fn a_key_follows_the_words_or_the_place_of_the_answer() {
        let chat = Chat { system: Some("Be brief.".into()), ..Chat::default() };
        let encoder = PromptEncoder { codec: &ByteCodec, chat: Some(&chat) };
        let fed = |prompt: &str| {
            let text = encoder.text(prompt).unwrap();
            let tokens = encoder.encode(&text).unwrap();
            assert_eq!(tokens.len(), text.len(), "the template writes no first token, so there is none");
            let answer = encoder.answer(prompt, "77", &tokens).unwrap();
            assert_eq!(encoder.n_tokens(prompt, "77").unwrap(), tokens.len() + answer.len());
            (text, ByteCodec.decode(&answer).unwrap())
        };
        let turns = "system: Be brief.\nuser: What is it?\nassistant:";
        assert_eq!(fed("What is it? It is"), (format!("{turns} It is"), " 77".into()));
        assert_eq!(fed("What is it?"), (turns.into(), " 77".into()), "the template separates it");
        insta::assert_snapshot!(chat, @r#"in the model's chat template (date 2024-07-26, system "Be brief.")"#);
    }

    /// Merges what it is given into one token, so that no prompt's tokens begin those of a longer text.
    struct Merging;

    impl TextCodec for Merging {
        fn encode(&self, text: &str, _: bool) -> Result<Vec<u32>, LensError> {
            Ok(vec![text.len() as u32])
        }

        fn decode(&self, _: &[u32]) -> Result<String, LensError> {
            Ok("?".into())
        }
    }

    #[test]
    fn a_key_that_would_merge_with_the_prompt_is_tokenized_alone() {
        let encoder = PromptEncoder { codec: &Merging, chat: None };
        assert_eq!(encoder.answer("It is", "77", &[5]).unwrap(), [3], "a blank and the key");
        assert_eq!(encoder.answer("It is ", "77", &[6]).unwrap(), [2]);
    }
}
