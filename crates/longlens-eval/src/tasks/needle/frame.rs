//! What stands around a haystack: the question, and the words that scripts put them in.

use longlens_core::lens::{Conversation, LensError, Message, TextCodec};

use crate::sample::{Prompt, Wrapper};

/// Words around context and question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// gkamradt's: turns where there is a chat template, and otherwise a text to go on with.
    Gkamradt,
    /// Fu et al.'s, a text to go on with.
    Book,
}

const SYSTEM: &str = "You are a helpful AI bot that answers questions for a user. Keep your response short and direct";
const ONLY: &str = "Don't give information outside the document or repeat your findings";

/// How much of the turns a chat template takes. Some refuse two turns of a user behind each other, and some any system turn; what is refused
/// becomes part of one turn, with a blank line between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// System, context and question, as in the script.
    Three,
    /// Context and question as one turn behind the system's.
    Two,
    /// All in one.
    One,
}

impl Form {
    /// Words of the setting.
    pub const NAMES: [&str; 2] = ["gkamradt", "book"];

    /// The form of a word.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Gkamradt, Self::Book]
            .into_iter()
            .zip(Self::NAMES)
            .find(|(_, known)| *known == name)
            .map(|(form, _)| form)
    }

    /// What is fed.
    pub fn prompt(
        self,
        codec: &dyn TextCodec,
        wrapper: Wrapper,
        turns: Turns,
        context: &str,
        question: &str,
    ) -> Result<Prompt, LensError> {
        match (self, wrapper) {
            (Self::Gkamradt, Wrapper::Off) => Ok(Prompt::plain(format!(
                "{SYSTEM}\n\nHuman: <context>\n{context}\n</context>\n\n{question} {ONLY}\n\n\
                 Assistant: Here is the most relevant sentence in the context:"
            ))),
            (Self::Gkamradt, Wrapper::Model) => {
                let text = codec.chat(&Conversation::asking(turns.messages(context, &format!("{question} {ONLY}"))))?;
                Ok(Prompt::Text { text, special: false })
            }
            (Self::Gkamradt, wrapper) => {
                wrapper.wrap(codec, &format!("{SYSTEM}\n\n{context}\n\n{question} {ONLY}"), "")
            }
            (Self::Book, wrapper) => wrapper.wrap(
                codec,
                &format!(
                    "<|im_start|> This is a very long story book: <book> {context} </book>.\n Based on the content of the book, \
                     Question: {question}\nAnswer:"
                ),
                "",
            ),
        }
    }
}

impl Turns {
    /// As many as the model's template takes; the error of the template where it takes none.
    pub fn taken(codec: &dyn TextCodec) -> Result<Self, LensError> {
        let takes = |turns: Self| codec.chat(&Conversation::asking(turns.messages("Text.", "Question?")));
        match takes(Self::Three) {
            // a template may drop turns that it does not expect
            Ok(text) if [SYSTEM, "Text.", "Question?"].iter().all(|part| text.contains(part)) => {
                return Ok(Self::Three);
            }
            Ok(_) | Err(LensError::ChatTemplate { .. }) => {}
            Err(other) => return Err(other),
        }
        match takes(Self::Two) {
            Ok(text) if text.contains(SYSTEM) => Ok(Self::Two),
            _ => takes(Self::One).map(|_| Self::One),
        }
    }

    /// What a user should know of it.
    pub fn note(self) -> Option<String> {
        match self {
            Self::Three => None,
            Self::Two => Some(
                "the chat template takes no two turns of a user in a row: context and question are one turn".into(),
            ),
            Self::One => {
                Some("the chat template takes no system turn: system words, context and question are one turn".into())
            }
        }
    }

    fn messages(self, context: &str, asked: &str) -> Vec<Message> {
        let system = Message::new("system", SYSTEM);
        match self {
            Self::Three => vec![system, Message::user(context), Message::user(asked)],
            Self::Two => vec![system, Message::user(format!("{context}\n\n{asked}"))],
            Self::One => vec![Message::user(format!("{SYSTEM}\n\n{context}\n\n{asked}"))],
        }
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;

    use super::*;

    /// A template that refuses or drops turns.
    struct Strict {
        drops_system: bool,
        refuses_repeats: bool,
    }

    impl TextCodec for Strict {
        fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
            ByteCodec.encode(text, special)
        }
        fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
            ByteCodec.decode(tokens)
        }
        fn chat(&self, conversation: &Conversation) -> Result<String, LensError> {
            let mut turns = conversation.messages.clone();
            if self.drops_system {
                turns.retain(|turn| turn.role != "system");
            }
            if self.refuses_repeats && turns.windows(2).any(|pair| pair[0].role == pair[1].role) {
                return Err(LensError::ChatTemplate {
                    file: "template".into(),
                    problem: "roles must alternate".into(),
                });
            }
            let said: Vec<_> = turns.iter().map(|turn| format!("[{}]{}", turn.role, turn.content)).collect();
            Ok(said.concat())
        }
    }

    #[test]
    fn the_scripts_words() {
        let text = |form: Form, wrapper| {
            let prompt = form.prompt(&ByteCodec, wrapper, Turns::Three, "Text {here}.", "What?").unwrap();
            prompt.text().unwrap().to_owned()
        };
        insta::assert_snapshot!(text(Form::Gkamradt, Wrapper::Off), @"
        You are a helpful AI bot that answers questions for a user. Keep your response short and direct

        Human: <context>
        Text {here}.
        </context>

        What? Don't give information outside the document or repeat your findings

        Assistant: Here is the most relevant sentence in the context:
        ");
        assert_eq!(
            text(Form::Book, Wrapper::Off),
            "<|im_start|> This is a very long story book: <book> Text {here}. </book>.\n Based on the content of the book, Question: What?\nAnswer:"
        );
        insta::assert_snapshot!(text(Form::Gkamradt, Wrapper::Model), @"
        system: You are a helpful AI bot that answers questions for a user. Keep your response short and direct
        user: Text {here}.
        user: What? Don't give information outside the document or repeat your findings
        assistant:
        ");
    }

    #[test]
    fn turns_that_a_template_refuses_become_one() {
        let taken = |drops_system, refuses_repeats| Turns::taken(&Strict { drops_system, refuses_repeats }).unwrap();
        assert_eq!(taken(false, false), Turns::Three);
        assert_eq!(taken(false, true), Turns::Two);
        assert_eq!(taken(true, true), Turns::One);
        assert!(Turns::Two.note().is_some() && Turns::Three.note().is_none());
        let strict = Strict { drops_system: true, refuses_repeats: true };
        let prompt = Form::Gkamradt.prompt(&strict, Wrapper::Model, Turns::One, "Text.", "What?").unwrap();
        assert!(prompt.text().unwrap().starts_with("[user]You are a helpful AI bot"));
        let prompt = Form::Gkamradt.prompt(&ByteCodec, Wrapper::Llama2, Turns::Three, "Text.", "What?").unwrap();
        assert!(prompt.text().unwrap().starts_with("[INST] You are a helpful AI bot"));
        assert_eq!(Form::NAMES.map(Form::named), [Some(Form::Gkamradt), Some(Form::Book)]);
    }
}
