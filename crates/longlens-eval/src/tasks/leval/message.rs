//! What is asked of a document.
//!
//! The scripts leave `[/INST]` away behind worked examples and code, and send a message in which such a document stands through Python's
//! `format`; `mode=fixed` does neither. The data set's typing errors stand in both.

use longlens_core::lens::{Conversation, LensError, Message, TextCodec};

use super::Kin;
use super::format::formatted;
use crate::sample::Prompt;
use crate::scorers::Mode;
use crate::tasks::Ask;
use crate::tasks::cut::Keep;

/// Whose script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    LEval,
    ChunkLlama,
}

/// What a message is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrap {
    /// The scripts' form of Llama 2.
    Llama2,
    /// The model's chat template, with the system line as such, and the answer begun behind it.
    Model,
    /// None, for base models: the document, then the question between `Q:` and `A:`.
    Off,
}

/// How a task asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub name: &'static str,
    pub kin: Kin,
    pub script: Script,
    pub wrap: Wrap,
    pub mode: Mode,
}

impl Script {
    pub(super) fn of(ask: &Ask<'_>) -> Self {
        if ask.is("script", "chunkllama") { Self::ChunkLlama } else { Self::LEval }
    }

    /// What its scorer calls it.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::LEval => "OpenLMLab/LEval",
            Self::ChunkLlama => "HKUNLP/ChunkLlama",
        }
    }
}

impl Wrap {
    pub(super) const NAMES: [&str; 3] = ["llama2", "model", "off"];

    pub(super) fn of(ask: &Ask<'_>) -> Self {
        if ask.is("template", "model") {
            Self::Model
        } else if ask.is("template", "off") {
            Self::Off
        } else {
            Self::Llama2
        }
    }
}

const GSM: &str = "Given several question answer pairs, you need to follow a similar format to answer the last question. Make sure the \
                   response is end with The answer is _ . ";
const TOPIC: &str = "Below is a record of our previous conversation on many different topics. You are the ASSISTANT, and I am the USER. At \
                     the beginning of each topic, the USER will say 'I would like to discuss the topic of <TOPIC>'. Memorize each <TOPIC>. \
                     At the end of the record, I will ask you to retrieve the first/second/third topic names. Now the record start. ";
const COURSERA: &str = "Now you are given a very long document. Please follow the instruction based on this document. For multi-choice \
                        questions, there could be a sinlge correct option or multiple correct options. Please only provide the letter \
                        corresponding to the answer (like A or AB) when answering. ";
const CODE: &str = "Now you are given a code base consisting of a large amount of functions and the corresponding comments. In the end, I \
                    will call some functions defined in the code base. Please carefully read these codes and comments and answer the \
                    question.";
const STORY: &str = "Now you are given a scientific fiction. I will ask you some questions and the answer should be \"True\" or \"False\". \
                     Notice that you should answer the question based on the evidence in the document instead of your background knowledge.";
const EXAM: &str = "Now you are given a very long document. Please follow the instruction based on this document. For multi-choice \
                    questions, there is only a sinlge correct option. Please only provide the letter corresponding to the answer (like A \
                    or B) when answering. For other questions, please directly give the concise and accurate answer. ";
const OPEN: &str = "Now you are given a very long document. Please follow the instruction after this document. These instructions may include \
                    summarizing a document, answering questions based on the document, or writing a required paragraph. ";

impl Asking {
    /// The line that tells a chat model what is to come.
    fn system(&self) -> &'static str {
        match self.kin {
            Kin::Maths => GSM,
            Kin::Topics => TOPIC,
            Kin::Choice if self.name == "coursera" => COURSERA,
            Kin::Choice => EXAM,
            Kin::Code => CODE,
            Kin::Story => STORY,
            Kin::F1 | Kin::Rouge => OPEN,
        }
    }

    /// What a document may have of tokens, how many words fewer each cut leaves, and which end stays; `max_length` tokens are those of the
    /// prompt.
    pub(super) fn cuts(&self, max_length: usize) -> (usize, usize, Keep) {
        let keep = if self.kin == Kin::Code { Keep::Last } else { Keep::First };
        match self.script {
            Script::LEval => (max_length, 250, keep),
            Script::ChunkLlama => (max_length - 200, 100, keep),
        }
    }

    /// The document and the question, as a user says them.
    fn said(&self, document: &str, instruction: &str, output: &str) -> String {
        match self.kin {
            Kin::Maths | Kin::Code | Kin::Topics => format!("{document}\n\n{instruction}"),
            Kin::Choice | Kin::Story => {
                let only = match self.script {
                    Script::LEval => "  Please directly give the answer",
                    Script::ChunkLlama => " Please directly give answer",
                };
                format!(
                    "Document is as follows. {document} \nQuestion: {instruction}.{only} without any additional output or \
                     explanation "
                )
            }
            Kin::F1 | Kin::Rouge => {
                let n_words = output.split_whitespace().count();
                format!(
                    "Document is as follows. {document} Instruction: {instruction} \nAnswer this question with {n_words} words."
                )
            }
        }
    }

    /// Whether an answer is begun.
    fn is_begun(&self) -> bool {
        matches!(self.kin, Kin::Choice | Kin::Story)
    }

    /// The prompt of a question.
    pub(super) fn prompt(
        &self,
        codec: &dyn TextCodec,
        document: &str,
        instruction: &str,
        output: &str,
    ) -> Result<Prompt, LensError> {
        let said = self.said(document, instruction, output);
        let system = self.system();
        match self.wrap {
            Wrap::Off => Ok(Prompt::plain(bare(document, instruction))),
            Wrap::Model => {
                let turns = vec![Message::new("system", system.trim_end()), Message::user(said)];
                let text = codec.chat(&Conversation::asking(turns))?;
                Ok(Prompt::Text { text: text + if self.is_begun() { "Answer:" } else { "" }, special: false })
            }
            Wrap::Llama2 => {
                let is_open = matches!(self.kin, Kin::Maths | Kin::Code) && self.mode == Mode::Faithful;
                let end = if is_open { "" } else { "[/INST]" };
                let begun = if self.is_begun() { "\nAnswer:" } else { "" };
                let message = format!("[INST]<<SYS>>\n{system}\n<</SYS>>\n\n{said}{end}{begun}");
                // elsewhere the document is an argument of the format, and its braces are safe
                let is_format = matches!(self.kin, Kin::Maths | Kin::Code | Kin::Topics) && self.mode == Mode::Faithful;
                let text = is_format.then(|| formatted(&message, document, instruction)).flatten();
                Ok(Prompt::plain(text.unwrap_or(message)))
            }
        }
    }

    /// The question about facts that follows one about a story, without document and system line.
    pub(super) fn second(&self, codec: &dyn TextCodec, instruction: &str) -> Result<Option<Box<Prompt>>, LensError> {
        if self.kin != Kin::Story {
            return Ok(None);
        }
        let story = "based on the world described in the document.";
        let facts = "based on the real-world knowledge and facts up until your last training";
        let asked = instruction.replace(story, facts);
        let only = match self.script {
            Script::LEval => "Please directly answer without any additional output or explanation. ",
            Script::ChunkLlama => "",
        };
        let prompt = match self.wrap {
            Wrap::Llama2 => Prompt::plain(format!("{asked}{only}\nAnswer:")),
            Wrap::Model => {
                let said = format!("{asked}{only}").trim_end().to_owned();
                let text = codec.chat(&Conversation::asking(vec![Message::user(said)]))?;
                Prompt::Text { text: text + "Answer:", special: false }
            }
            Wrap::Off => Prompt::plain(format!("Q: {asked}\nA:")),
        };
        Ok(Some(Box::new(prompt)))
    }
}

fn bare(document: &str, instruction: &str) -> String {
    format!("{document}\nQ: {instruction}\nA:")
}
