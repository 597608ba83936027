//! Prompts: text, a document, or a pass key hidden in filler whose place every view knows.

mod words;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use longlens_core::lens::{Control, Conversation, LensError, Message, TextCodec};
use longlens_core::printable::is_command;
use longlens_eval::EvalError;
use longlens_eval::document::{Document, Passage, locate};
use longlens_eval::generate::PieceDecoder;
use longlens_eval::passkey::{Chat, Place, Template, hiding};
use serde::{Deserialize, Serialize};

use crate::kept::{KeptDocument, KeptFile, KeptNeedle, ToKeep};
use crate::problem::Problem;
use crate::settings::params::MAX_PROMPT;

/// Where a prompt comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptSource {
    /// Typed or pasted.
    Text(String),
    /// The text of a file in any format that [`Document`] reads.
    File(PathBuf),
    /// A file with a question about it, or in a chat.
    Document(DocumentAsk),
    /// A pass key in filler.
    Needle(NeedleAsk),
    /// Turns, written as the model's chat template has them.
    Chat(Conversation),
    /// The prompt of a file that [`kept`](crate::kept) wrote, and what follows it.
    Kept(KeptAsk),
}

/// A kept prompt, and what follows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptAsk {
    /// The file.
    pub file: PathBuf,
    /// Text behind the kept prompt; the prompt as it is where this is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// A needle prompt to build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NeedleAsk {
    /// Target length in tokens, question and answer included.
    pub length: usize,
    /// Share of the filler before the needle, 0 to 1.
    pub depth: f64,
    /// The key to hide; drawn from the seed when absent.
    #[serde(default)]
    pub key: Option<String>,
    /// Wording.
    pub template: Template,
    /// Start of the random numbers.
    pub seed: u64,
    /// The chat template's, where the prompt is put into one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
}

/// A document, and what is asked about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentAsk {
    /// The document, in any format that [`Document`] reads.
    pub file: PathBuf,
    /// What is asked, behind a blank line after the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The chat template's, where both are what a user says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
}

/// A prompt, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// Where it came from.
    pub source: PromptSource,
    /// Its tokens, with the model's own first token.
    pub tokens: Vec<u32>,
    /// The text of every token; special ones as they are written.
    pub pieces: Vec<String>,
    /// What is hidden in it, if something is.
    pub needle: Option<HiddenNeedle>,
    /// The passages of its document, or of its whole text, with the tokens that tell each.
    pub passages: Arc<[Passage]>,
    /// The document that it is about, if there is one.
    pub document: Option<Arc<Document>>,
    /// What a user should know of how it was read, as sentences.
    pub warnings: Vec<String>,
}

/// A key hidden in a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenNeedle {
    /// Tokens that tell it.
    pub tokens: Range<usize>,
    /// What to find.
    pub key: String,
    /// Tokens of the right continuation.
    pub answer: Vec<u32>,
}

impl From<&HiddenNeedle> for KeptNeedle {
    fn from(needle: &HiddenNeedle) -> Self {
        let tokens = (needle.tokens.start, needle.tokens.end);
        Self { tokens, key: needle.key.clone(), answer: needle.answer.clone() }
    }
}

impl Default for NeedleAsk {
    fn default() -> Self {
        Self { length: 1024, depth: 0.5, key: None, template: Template::Longlens, seed: 0, chat: None }
    }
}

impl PromptSource {
    /// What tells prompts of one session apart where there is little room: the name of a file, without its folders, else the text form.
    pub fn brief(&self) -> String {
        let name = |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        match self {
            Self::File(path) => name(path),
            Self::Document(ask) => match &ask.question {
                Some(question) => format!("{} {question:?}", name(&ask.file)),
                None => name(&ask.file),
            },
            Self::Kept(ask) if ask.text.is_empty() => name(&ask.file),
            Self::Kept(ask) => format!("{} {:?}", name(&ask.file), ask.text.trim()),
            other => other.to_string(),
        }
    }

    /// Reads or makes the prompt.
    pub fn build(&self, codec: &dyn TextCodec) -> Result<Prompt, Problem> {
        self.build_under(codec, &())
    }

    /// The same; reading a document stops where `control` says so.
    pub fn build_under(&self, codec: &dyn TextCodec, control: &dyn Control) -> Result<Prompt, Problem> {
        match self {
            Self::Text(text) => self.of_text(text, true, None, codec),
            Self::File(path) => self.of_document(&read(path, control)?, codec),
            Self::Document(ask) => self.of_document(&read(&ask.file, control)?, codec),
            Self::Needle(ask) => self.hide(ask, codec, control),
            Self::Kept(ask) => self.of_kept(&KeptFile::open(&ask.file)?, codec),
            // the template writes the model's first token where it wants one
            Self::Chat(conversation) => self.of_text(&rendered(conversation, codec)?, false, None, codec),
        }
    }

    /// The prompt whose document is read already: a question about it, a conversation in which it is told, or the document alone.
    pub fn of_document(&self, document: &Document, codec: &dyn TextCodec) -> Result<Prompt, Problem> {
        let (text, special) = self.text_of(document, codec)?;
        self.of_text(&text, special, Some(document), codec)
    }

    /// What is encoded of a prompt whose document is read, and whether special tokens are added.
    fn text_of(&self, document: &Document, codec: &dyn TextCodec) -> Result<(String, bool), Problem> {
        Ok(match self {
            Self::Document(ask) => match &ask.chat {
                Some(chat) => {
                    let conversation = question(chat.system.as_deref(), &ask.text(document));
                    (rendered(&conversation.dated(Some(&chat.date)), codec)?, false)
                }
                None => (ask.text(document), true),
            },
            Self::Chat(conversation) => (rendered(conversation, codec)?, false),
            _ => (document.text.clone(), true),
        })
    }

    /// The text of the prompt that begins with its document: of a conversation the turn in which it is told.
    fn document_turn(&self, document: &Document) -> String {
        match self {
            // whatever is asked follows it
            Self::Kept(_) => document.text.trim_end().to_owned(),
            Self::Document(ask) => ask.text(document),
            Self::Chat(conversation) => {
                let begins = |turn: &&Message| turn.content.starts_with(document.text.trim_end());
                conversation.messages.iter().rfind(begins).map_or_else(String::new, |turn| turn.content.clone())
            }
            _ => document.text.clone(),
        }
    }

    fn of_text(
        &self,
        text: &str,
        special: bool,
        document: Option<&Document>,
        codec: &dyn TextCodec,
    ) -> Result<Prompt, Problem> {
        if text.is_empty() {
            return Err(LensError::EmptyPrompt.into());
        }
        if text.len() as u64 > MAX_BYTES {
            return Err(too_long("this text"));
        }
        self.of(codec.encode(text, special)?, None, document, codec)
    }

    /// The prompt whose kept beginning is open already.
    pub fn of_kept(&self, file: &KeptFile, codec: &dyn TextCodec) -> Result<Prompt, Problem> {
        let text = if let Self::Kept(ask) = self { &ask.text[..] } else { "" };
        if let Some(kept) = &file.document {
            let question = text.strip_prefix("\n\n").or(kept.chat.is_some().then_some(text));
            let ask = |question: String| DocumentAsk {
                file: PathBuf::new(),
                question: Some(question),
                chat: kept.chat.clone(),
            };
            let tokens = match question.filter(|question| !question.is_empty()) {
                Some(question) => {
                    let source = Self::Document(ask(question.to_owned()));
                    let (text, special) = source.text_of(&kept.document, codec)?;
                    codec.encode(&text, special)?
                }
                None => [file.tokens.clone(), codec.encode(text, false)?].concat(),
            };
            return self.of(tokens, None, Some(&kept.document), codec);
        }
        let mut tokens = file.tokens.clone();
        // what follows is cut into tokens by itself: those before it stay as they are kept
        if !text.is_empty() {
            tokens.extend(codec.encode(text, false)?);
        }
        // a text behind the question of a hidden key asks for something else
        let needle = file.about.needle.as_ref().map(|needle| HiddenNeedle {
            tokens: needle.tokens.0..needle.tokens.1,
            key: needle.key.clone(),
            answer: if text.is_empty() { needle.answer.clone() } else { Vec::new() },
        });
        // what is asked behind it is no part of the text
        let kept = Document::plain(pieces(&file.tokens, codec)?.concat());
        self.of(tokens, needle, Some(&kept), codec)
    }

    fn hide(&self, ask: &NeedleAsk, codec: &dyn TextCodec, control: &dyn Control) -> Result<Prompt, Problem> {
        if ask.length > MAX_PROMPT {
            return Err(Problem::new(
                format!("a prompt of {} tokens is too long to make", ask.length),
                format!("give at most {MAX_PROMPT}"),
            ));
        }
        let place = Place { length: ask.length, depth: ask.depth, trial: 0, seed: ask.seed, shared: false };
        let made = hiding(codec, ask.template, ask.chat.as_ref(), &place, ask.key.as_deref(), control)?;
        let n_made = made.tokens.len();
        let needle = made.needle.map(|needle| HiddenNeedle {
            tokens: needle.start..needle.end,
            key: made.key,
            answer: made.answer,
        });
        let mut prompt = self.of(made.tokens, needle, None, codec)?;
        if n_made > ask.length {
            prompt.warnings.push(format!(
                "prompts of `{}` are cut by characters: the one asked for at {} tokens has {n_made}",
                ask.template.name(),
                ask.length
            ));
        }
        Ok(prompt)
    }

    fn of(
        &self,
        tokens: Vec<u32>,
        needle: Option<HiddenNeedle>,
        document: Option<&Document>,
        codec: &dyn TextCodec,
    ) -> Result<Prompt, Problem> {
        if tokens.is_empty() {
            return Err(LensError::EmptyPrompt.into());
        }
        if tokens.len() > MAX_PROMPT {
            return Err(Problem::new(
                format!("a prompt of {} tokens is too long to run", tokens.len()),
                format!("give at most {MAX_PROMPT}"),
            ));
        }
        let text = pieces(&tokens, codec)?;
        let whole = || Document::plain(text.concat());
        let turn = document.map(|document| self.document_turn(document));
        let passages = match (document, turn) {
            (Some(document), Some(turn)) => locate(document, &turn, &text),
            _ => locate(&whole(), "", &text),
        };
        let mut warnings = document.map_or_else(Vec::new, |document| document.warnings.clone());
        if needle.is_none() {
            // filler and question are of the model's own words, or of its paper's
            warnings.extend(codec.vocabulary().and_then(|n_tokens| words::spelled_out(&text, n_tokens)));
        }
        let (document, pieces) = (document.map(|document| Arc::new(document.clone())), named(text, &tokens, codec));
        Ok(Prompt { source: self.clone(), tokens, pieces, needle, passages: passages.into(), document, warnings })
    }
}

impl Prompt {
    /// Whether it goes on from a kept one, whose tokens may be taken over.
    pub fn takes_kept(&self) -> bool {
        matches!(self.source, PromptSource::Kept(_))
    }

    /// What is kept of it in a file. Where it is about a document, other questions about that can follow.
    pub fn to_keep(&self, codec: &dyn TextCodec) -> Result<ToKeep, Problem> {
        let (tokens, needle) = (self.tokens.clone(), self.needle.as_ref().map(Into::into));
        let chat = match &self.source {
            PromptSource::File(_) => None,
            PromptSource::Document(ask) => ask.chat.clone(),
            PromptSource::Text(_) | PromptSource::Needle(_) => {
                return Ok(ToKeep { n_alike: tokens.len(), tokens, needle, document: None });
            }
            PromptSource::Chat(_) | PromptSource::Kept(_) => {
                return Err(Problem::new(
                    "a conversation and a prompt that goes on from a kept one cannot be kept",
                    "keep the document alone: a question about it can follow later, in the chat template too"
                        .to_owned(),
                ));
            }
        };
        let document = self.document.as_deref().cloned().expect("a prompt about a file holds its document");
        // a tokenizer may join the document's end with what is asked
        let mut n_alike = tokens.len();
        for question in [None, Some("A"), Some("1"), Some("?")] {
            let question = question.map(str::to_owned);
            let source = PromptSource::Document(DocumentAsk { file: PathBuf::new(), question, chat: chat.clone() });
            let (text, special) = source.text_of(&document, codec)?;
            let other = codec.encode(&text, special)?;
            n_alike = n_alike.min(tokens.iter().zip(&other).take_while(|(a, b)| a == b).count());
        }
        Ok(ToKeep { tokens, n_alike, needle, document: Some(KeptDocument { document, chat }) })
    }
}

impl DocumentAsk {
    /// The prompt that it is: the file alone where nothing is asked and nobody says it.
    pub fn source(self) -> PromptSource {
        if self.question.is_none() && self.chat.is_none() {
            return PromptSource::File(self.file);
        }
        PromptSource::Document(self)
    }

    /// The document with the question behind it.
    fn text(&self, document: &Document) -> String {
        self.question.as_ref().map_or_else(|| document.text.clone(), |question| about(document, question))
    }
}

/// The text of every token; nothing where a token's text is told by a later one, as those of a character in several are.
pub fn pieces(tokens: &[u32], codec: &dyn TextCodec) -> Result<Vec<String>, LensError> {
    let mut decoder = PieceDecoder::after(&[], codec)?;
    tokens.iter().map(|token| decoder.push(*token, codec)).collect()
}

/// The same with special tokens as they are written: what a reader is shown.
pub fn shown_pieces(tokens: &[u32], codec: &dyn TextCodec) -> Result<Vec<String>, LensError> {
    Ok(named(pieces(tokens, codec)?, tokens, codec))
}

/// Special tokens by their names, in the places of the texts that they do not have.
fn named(pieces: Vec<String>, tokens: &[u32], codec: &dyn TextCodec) -> Vec<String> {
    let named = |(piece, token): (String, &u32)| {
        let name = piece.is_empty().then(|| codec.special(*token)).flatten();
        name.unwrap_or(piece)
    };
    pieces.into_iter().zip(tokens).map(named).collect()
}

/// The text of a conversation that is short enough to be a prompt.
fn rendered(conversation: &Conversation, codec: &dyn TextCodec) -> Result<String, Problem> {
    if conversation.messages.iter().map(|message| message.content.len() as u64).sum::<u64>() > MAX_BYTES {
        return Err(too_long("this conversation"));
    }
    Ok(codec.chat(conversation)?)
}

/// A document with a question behind it.
pub fn about(document: &Document, question: &str) -> String {
    format!("{}\n\n{question}", document.text.trim_end())
}

/// What `text` is as the first thing that a user says, after what a system says if something is.
pub fn question(system: Option<&str>, text: &str) -> Conversation {
    let system = system.map(|system| Message::new("system", system));
    Conversation::new(system.into_iter().chain([Message::user(text)]).collect::<Vec<_>>())
}

/// A text beyond this is no prompt.
const MAX_BYTES: u64 = 16 << 20;
/// A file beyond this is not read: pictures of a document take more room than its text.
const MAX_FILE: u64 = 256 << 20;

fn too_long(what: &str) -> Problem {
    Problem::new(format!("{what} is too long for a prompt"), format!("prompts go up to {} MiB", MAX_BYTES >> 20))
}

fn read(path: &Path, control: &dyn Control) -> Result<Document, Problem> {
    let failed = |error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "check the name; it counts from the folder that longlens was started in",
            std::io::ErrorKind::IsADirectory => "give the name of a text file",
            _ => "choose a file you may read",
        };
        Problem::new(format!("cannot read {}: {error}", path.display()), help.to_owned())
    };
    let there = std::fs::metadata(path).map_err(failed)?;
    if there.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    if !there.is_file() {
        // a device or a pipe may never end
        let help = "give the name of a text file".to_owned();
        return Err(Problem::new(format!("{} is no file", path.display()), help));
    }
    if there.len() > MAX_FILE {
        return Err(too_long(&path.display().to_string()));
    }
    Ok(document(path, std::fs::read(path).map_err(failed)?, control)?)
}

/// The document of a file that is to be a prompt: an editor's last newline is no part of it.
pub fn document(path: &Path, bytes: Vec<u8>, control: &dyn Control) -> Result<Document, EvalError> {
    let mut document = Document::of(path, bytes, control)?;
    if document.text.ends_with('\n') {
        document.text.pop();
    }
    Ok(document)
}

/// What run texts call it.
impl fmt::Display for PromptSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => {
                let short: String = text.chars().take(24).map(|c| if is_command(c) { ' ' } else { c }).collect();
                let more = if text.chars().count() > 24 { "…" } else { "" };
                write!(f, "text=\"{short}{more}\"")
            }
            Self::File(path) => write!(f, "file={}", path.display()),
            Self::Document(ask) => {
                let how = if ask.chat.is_some() { "chat, " } else { "" };
                write!(f, "{how}file={}", ask.file.display())?;
                ask.question.as_ref().map_or(Ok(()), |question| write!(f, " {}", Self::Text(question.clone())))
            }
            Self::Needle(ask) => write!(f, "needle={ask}"),
            Self::Kept(ask) => {
                write!(f, "cache={}", ask.file.display())?;
                if ask.text.is_empty() { Ok(()) } else { write!(f, " {}", Self::Text(ask.text.clone())) }
            }
            Self::Chat(conversation) => {
                let last = conversation.messages.last().map_or("", |message| message.content.as_str());
                write!(
                    f,
                    "chat({} turns, {}) {}",
                    conversation.messages.len(),
                    conversation.date,
                    Self::Text(last.into())
                )
            }
        }
    }
}

/// As the command line takes it, `1024:0.5` or `1024:0.5:12345`; template and seed follow where they are unusual.
impl fmt::Display for NeedleAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.length, self.depth)?;
        self.key.as_ref().map_or(Ok(()), |key| write!(f, ":{key}"))?;
        if self.template != Template::Longlens {
            write!(f, " template={}", self.template)?;
        }
        if self.seed != 0 {
            write!(f, " seed={}", self.seed)?;
        }
        let Some(chat) = &self.chat else { return Ok(()) };
        write!(f, " chat={}", chat.date)?;
        chat.system.iter().try_for_each(|system| write!(f, " system={system:?}"))
    }
}
