//! One question of an evaluation: what is fed, what is right, and how the answer is scored.
//!
//! A task ([`crate::tasks`]) yields samples, and [`crate::evaluate`] runs them one at a time, so that each is kept as soon as it is
//! finished.

use std::ops::Range;

use longlens_core::lens::{Conversation, LensError, Message, TextCodec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::scorers::longbench::first_line;

/// A question with its right answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Tells it from others of its task: the number or name that its file gives it, or its place and trial.
    pub id: String,
    /// What is fed.
    pub prompt: Prompt,
    /// Right answers.
    pub answers: Vec<String>,
    /// How the answer is scored.
    pub rule: Rule,
    /// Target tokens of prompt and answer, where the task has lengths.
    pub length: Option<usize>,
    /// Share of the haystack before what is asked for, 0 to 1, where there is one place of it.
    pub depth: Option<f64>,
    /// Part of the task that is averaged apart, such as a bucket of lengths.
    pub part: Option<String>,
    /// Bytes of the prompt's text that hold the answer, where the task knows.
    pub evidence: Vec<Range<usize>>,
    /// Tokens or words that the task itself left out of the document.
    pub n_truncated: usize,
}

/// What is fed to the model.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// A text, with the model's own first token where `special` says so.
    Text {
        /// The whole text, chat template included.
        text: String,
        /// Whether the model's own first token comes before it; a chat template writes it itself.
        special: bool,
    },
    /// Token ids as they stand, of texts that are measured.
    Tokens(Vec<u32>),
}

/// How an answer is had and scored.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// The model goes on with the prompt, greedily, and a scorer looks at what came.
    Answer(Answering),
    /// Losses of the prompt's own tokens from this one on; the first token has none.
    Loss {
        /// The first token whose loss counts, at least 1.
        from: usize,
    },
}

/// How an answer is generated and scored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answering {
    /// Tokens at most.
    pub max_tokens: usize,
    /// Tokens at least: until then the model's end token is passed over.
    pub min_tokens: usize,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Whether the model's end token ends the answer.
    pub eos: bool,
    /// Name of the scorer, as [`crate::scorers::SCORERS`] lists it.
    pub scorer: &'static str,
    /// What the scorer reads beside prediction and references; `references` stand for the sample's answers where these are no texts.
    pub fields: Map<String, Value>,
    /// Token ids of the right answer where the scorer compares ids: it is given the ids that came, and these as reference.
    pub ids: Option<Vec<u32>>,
    /// What is made of the text before it is scored.
    pub prediction: Prediction,
    /// A second question, whose answer is put behind the first one's as ` [fact: …]` (L-Eval's `sci_fi`).
    pub second: Option<Box<Prompt>>,
}

/// What is made of an answer before it is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prediction {
    /// The text as it came.
    #[default]
    Whole,
    /// The first piece between `Question:` that has more than a character, line ends not counted, and the whole text where none has
    /// (`ChunkLlama`'s few-shot script).
    FirstQuestion,
    /// The first line behind line ends that the text begins with (`LongBench`'s tasks whose prompts hold examples).
    FirstLine,
}

/// What a user's words are wrapped in before they are fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrapper {
    /// Nothing: for models that were not trained on conversations.
    #[default]
    Off,
    /// The model's own chat template.
    Model,
    /// `[INST] … [/INST]`, as RULER's scripts write it for Llama 2 chat models.
    Llama2,
    /// Llama 3's headers, as RULER's scripts write them.
    Llama3,
}

impl Wrapper {
    /// Words of a setting, in the order of help texts.
    pub const NAMES: [&str; 4] = ["off", "model", "llama2", "llama3"];

    /// The wrapper of a word of [`Self::NAMES`].
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Off, Self::Model, Self::Llama2, Self::Llama3];
        all.into_iter().find(|wrapper| wrapper.name() == name)
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Model => "model",
            Self::Llama2 => "llama2",
            Self::Llama3 => "llama3",
        }
    }

    /// What is fed when a user says `said`, with the words that begin the answer behind all wrapping.
    ///
    /// Errors: those of the model's template.
    pub fn wrap(self, codec: &dyn TextCodec, said: &str, begun: &str) -> Result<Prompt, LensError> {
        let text = match self {
            Self::Off => return Ok(Prompt::Text { text: format!("{said}{begun}"), special: true }),
            Self::Model => codec.chat(&Conversation::asking(vec![Message::user(said)]))?,
            Self::Llama2 => return Ok(Prompt::Text { text: format!("[INST] {said} [/INST]{begun}"), special: true }),
            Self::Llama3 => format!(
                "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{said}<|eot_id|>\
                 <|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
        };
        Ok(Prompt::Text { text: text + begun, special: false })
    }
}

impl Prompt {
    /// A text as base models get it, behind the model's own first token.
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), special: true }
    }

    /// The text; nothing of token ids.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            Self::Tokens(_) => None,
        }
    }

    /// The tokens.
    pub fn tokens(&self, codec: Result<&dyn TextCodec, LensError>) -> Result<Vec<u32>, LensError> {
        match self {
            Self::Text { text, special } => codec?.encode(text, *special),
            Self::Tokens(tokens) => Ok(tokens.clone()),
        }
    }

    fn digest(&self) -> Sha256 {
        let mut digest = Sha256::new();
        match self {
            Self::Text { text, special } => {
                digest.update([u8::from(*special)]);
                digest.update(text);
            }
            Self::Tokens(tokens) => {
                digest.update([2]);
                for token in tokens {
                    digest.update(token.to_le_bytes());
                }
            }
        }
        digest
    }

    /// SHA-256 of the prompt, in hexadecimal digits: of a text's UTF-8 bytes, or of the ids as 32-bit little-endian numbers.
    pub fn sha256(&self) -> String {
        match self {
            Self::Text { text, .. } => format!("{:x}", Sha256::digest(text)),
            Self::Tokens(tokens) => {
                let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
                format!("{:x}", Sha256::digest(bytes))
            }
        }
    }
}

impl Sample {
    /// Tells apart all that decides the answer and its score but for the model: SHA-256 over the task with its version, the prompt, the
    /// right answers, and how the answer is generated and scored, in hexadecimal digits.
    pub fn hash(&self, task: &str, version: u32) -> String {
        let rule = match &self.rule {
            Rule::Loss { from } => serde_json::json!({ "loss_from": from }),
            Rule::Answer(answering) => {
                let Answering { max_tokens, min_tokens, stop, eos, scorer, fields, ids, prediction, second } =
                    answering;
                let second = second.as_ref().map(|second| format!("{:x}", second.digest().finalize()));
                serde_json::json!({
                    "max_tokens": max_tokens, "min_tokens": min_tokens, "stop": stop, "eos": eos, "scorer": scorer, "fields": fields,
                    "ids": ids, "prediction": prediction, "second": second,
                })
            }
        };
        let prompt = format!("{:x}", self.prompt.digest().finalize());
        let decides = serde_json::json!([task, version, self.id, prompt, self.answers, rule]);
        format!("{:x}", Sha256::digest(decides.to_string()))
    }
}

impl Answering {
    /// An answer of so many tokens at most that the model may end, scored on its text.
    pub fn new(max_tokens: usize, scorer: &'static str) -> Self {
        Self { max_tokens, eos: true, scorer, ..Self::default() }
    }

    /// With a field that the scorer reads.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }
}

impl Prediction {
    /// What is scored of a text.
    pub fn of(self, text: &str) -> String {
        match self {
            Self::Whole => text.to_owned(),
            Self::FirstQuestion => {
                let has_words = |piece: &&str| piece.chars().filter(|c| *c != '\n').count() > 1;
                text.split("Question:").find(has_words).unwrap_or(text).replace("</s>", "")
            }
            Self::FirstLine => first_line(text).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::ByteCodec;

    use super::*;

    fn sample() -> Sample {
        Sample {
            id: "0".into(),
            prompt: Prompt::plain("What is it?"),
            answers: vec!["a heron".into()],
            rule: Rule::Answer(Answering::new(8, "scrolls_f1")),
            length: None,
            depth: None,
            part: None,
            evidence: Vec::new(),
            n_truncated: 0,
        }
    }

    #[test]
    fn all_that_decides_a_score_is_in_the_hash() {
        let hash = sample().hash("qa", 1);
        assert_eq!(sample().hash("qa", 1), hash);
        let changed: [fn(&mut Sample); 7] = [
            |sample| sample.id = "1".into(),
            |sample| sample.prompt = Prompt::plain("What is it"),
            |sample| sample.prompt = Prompt::Text { text: "What is it?".into(), special: false },
            |sample| sample.answers.push("a bird".into()),
            |sample| sample.rule = Rule::Answer(Answering::new(9, "scrolls_f1")),
            |sample| sample.rule = Rule::Answer(Answering::new(8, "scrolls_f1").with("task", "other")),
            |sample| sample.rule = Rule::Loss { from: 1 },
        ];
        let mut seen = vec![hash, sample().hash("qa", 2), sample().hash("other", 1)];
        for change in changed {
            let mut other = sample();
            change(&mut other);
            seen.push(other.hash("qa", 1));
        }
        let n = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), n);
    }

    #[test]
    fn words_that_begin_an_answer_stand_behind_the_wrapping() {
        let wrapped = |wrapper: Wrapper| match wrapper.wrap(&ByteCodec, "Who?", " It is").unwrap() {
            Prompt::Text { text, special } => (text, special),
            Prompt::Tokens(_) => panic!("a text is wrapped into a text"),
        };
        assert_eq!(wrapped(Wrapper::Off), ("Who? It is".into(), true));
        assert_eq!(wrapped(Wrapper::Llama2), ("[INST] Who? [/INST] It is".into(), true));
        let (text, special) = wrapped(Wrapper::Llama3);
        assert!(text.ends_with("<|end_header_id|>\n\n It is") && !special);
        for name in Wrapper::NAMES {
            assert_eq!(Wrapper::named(name).unwrap().name(), name);
        }
    }

    #[test]
    fn a_few_shot_answer_ends_before_the_next_question() {
        let of = |text| Prediction::FirstQuestion.of(text);
        assert_eq!(of(" Ada\nQuestion: Who?"), " Ada\n");
        assert_eq!(of("\nQuestion: Ada</s>"), " Ada");
        assert_eq!(of("7\nQuestion: Who?"), " Who?", "an answer of a character is passed over");
        assert_eq!(of("7"), "7", "but not where nothing follows");
        assert_eq!(Prediction::FirstLine.of("\n\nAda\nBob"), "Ada");
        assert_eq!(Prediction::Whole.of("7"), "7");
    }
}
