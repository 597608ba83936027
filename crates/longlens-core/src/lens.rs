//! The seam between computing and looking: tokens and a method in, logits and a trace out.
//!
//! Left of [`Lens`] everything is generic over a tensor backend; right of it nothing knows tensors.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::methods::Method;
use crate::plan::Plan;
use crate::rope::RopeScaling;
use crate::setting::SettingError;
use crate::spec::ModelSpec;
use crate::trace::{Trace, Watch};

mod chat;
mod kept;
mod sequence;

pub use chat::{Conversation, DATE, Message};
pub use kept::{KeptPart, KeptTensor};
pub use sequence::{LensId, Sequence};

/// An open model.
pub trait Lens: Send {
    /// What is open.
    fn model(&self) -> &ModelInfo;

    /// Text to tokens and back; an error when the model came without a tokenizer.
    fn text(&self) -> Result<&dyn TextCodec, LensError>;

    /// Starts a sequence: forgets the cache of the one before. [`SettingError::TooLong`] when the plan was written out for
    /// fewer tokens than the prompt has; [`Lens::feed`] and [`Lens::reuse`] check their tokens too.
    fn begin(&mut self, setup: &Setup) -> Result<(), LensError>;

    /// Ends the sequence, if there is one, and gives its memory back: only a new one can follow.
    fn forget(&mut self) {}

    /// Feeds the next tokens, in any pieces. Returns the logits that `want` names, row-major `[rows, vocab_size]`.
    /// After an error, cancellation included, the sequence is over: call [`Lens::begin`]. One that [`Lens::reuse`] started can also
    /// be started by `reuse` again.
    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError>;

    /// What was recorded since [`Lens::begin`], [`Lens::begin_from`] or [`Lens::reuse`].
    fn trace(&mut self) -> Trace;

    /// Goes on from what is cached, under another setup: the first `keep` tokens keep their keys and values, whatever method
    /// computed them, later ones are forgotten, and [`Lens::feed`] takes the token after them. Results of such a sequence
    /// have the mode `reuse-kv`.
    ///
    /// The begun sequence decides how long the prompt is and whether queries are kept; [`Setup::n_prompt`] and
    /// [`Setup::keep_queries`] are ignored. Rows that a swapped sequence feeds anew are its own: the next `reuse` keeps
    /// keys and values as [`Lens::begin`]'s sequence computed them, also after an error in a swapped one.
    ///
    /// Errors, after which everything is as before: [`LensError::NotBegun`], also when the begun sequence ended in an error;
    /// [`LensError::NothingKept`] when a method needs queries that were not kept ([`Setup::keep_queries`]);
    /// [`LensError::OutOfRange`] when the begun sequence has fewer than `keep` tokens.
    fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError>;

    /// Queries, keys and values of a layer as the cache holds them, which needs a sequence that keeps queries
    /// ([`Setup::keep_queries`]): what attention is verified against.
    ///
    /// Errors: [`LensError::NotBegun`]; [`LensError::NothingKept`]; [`LensError::OutOfRange`] of a layer.
    fn cached(&mut self, _layer: usize) -> Result<Cached, LensError> {
        Err(LensError::NothingKept { what: "a look at keys and values" })
    }

    /// A copy of the sequence so far, cut to its first `n_tokens` tokens: any number of sequences can go on from it
    /// ([`Lens::begin_from`]).
    ///
    /// Errors, after which everything is as before: [`LensError::NotBegun`]; those of [`Setup::check_fork`].
    fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError>;

    /// Starts a sequence whose first tokens are those of `prefix`, without computing them again; [`Lens::feed`] takes the token
    /// after them. Where the prefix was computed under what `setup` asks for ([`Sequence::serves`]), results are those of
    /// [`Lens::begin`] with all tokens fed, else they have the mode `reuse-kv`. Only tokens fed since are recorded.
    ///
    /// Errors: those of [`Lens::begin`] and of [`Sequence::check`], and [`LensError::OtherModel`] when another lens made the prefix.
    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError>;

    /// The tensors that a file holds of a sequence of `n_tokens` under `setup`, in the order in which they are best written and read.
    /// [`LensError::NoFile`] where a lens cannot give its sequences away, which is the default.
    fn kept(&self, _setup: &Setup, _n_tokens: usize) -> Result<Vec<KeptTensor>, LensError> {
        Err(LensError::NoFile)
    }

    /// The numbers of one of them, of the sequence so far, as a file has them ([`KeptTensor`]).
    ///
    /// Errors: [`LensError::NotBegun`]; [`LensError::NoFile`] of a sequence that went on from another plan's keys, and of tensors of
    /// another setup or length.
    fn kept_numbers(&mut self, _tensor: &KeptTensor) -> Result<Vec<u8>, LensError> {
        Err(LensError::NoFile)
    }

    /// A sequence to go on from ([`Lens::begin_from`]) out of a file: `read` gives the numbers of every tensor of [`Lens::kept`] with
    /// the same arguments, as many bytes as the tensor has.
    ///
    /// Errors: those of `read`; [`LensError::NoFile`].
    fn restore(
        &mut self,
        _setup: &Setup,
        _n_tokens: usize,
        _read: &mut dyn FnMut(&KeptTensor) -> Result<Vec<u8>, LensError>,
    ) -> Result<Sequence, LensError> {
        Err(LensError::NoFile)
    }

    /// What another watch would have recorded of the tokens so far, computed from cached queries and keys. Needs
    /// [`Setup::keep_queries`]. Any token so far may be named, generated ones too. Losses, times and attention outputs are
    /// not recorded again; of a swapped sequence only the tokens fed since count. After an error, a cancellation too, the
    /// sequence goes on.
    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError>;
}

/// Text to tokens and back.
pub trait TextCodec: Send + Sync {
    /// Tokens of `text`, with the model's own first token where `special` says so.
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError>;

    /// Text of `tokens`; special tokens are left out.
    fn decode(&self, tokens: &[u32]) -> Result<String, LensError>;

    /// How a special token is written, such as `<|im_start|>`, which [`TextCodec::decode`] leaves out; nothing of others.
    fn special(&self, _token: u32) -> Option<String> {
        None
    }

    /// Tokens of the vocabulary; nothing where it is not known.
    fn vocabulary(&self) -> Option<usize> {
        None
    }

    /// The text that the model's chat template makes of a conversation. It has the model's first token where the template writes
    /// one, so it is encoded without special tokens, as transformers' `apply_chat_template` does.
    ///
    /// Errors: [`LensError::NoChatTemplate`], which is the default, and [`LensError::ChatTemplate`].
    fn chat(&self, _conversation: &Conversation) -> Result<String, LensError> {
        Err(LensError::NoChatTemplate)
    }
}

/// How a sequence is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// The method's plan.
    pub plan: Plan,
    /// Changes the rotary frequencies, of every method alike; a layer that has frequencies of its own keeps them.
    pub rope: RopeScaling,
    /// Tokens of the prompt; tokens after them are fed one by one.
    pub n_prompt: usize,
    /// Tokens of a prefill step at most.
    pub prefill_chunk: usize,
    /// What to record.
    pub watch: Watch,
    /// Whether queries stay in memory beside keys and values, for [`Lens::inspect`] and for any swap by [`Lens::reuse`].
    pub keep_queries: bool,
    /// Whether a lens that holds a kept prompt may take over its tokens, which then have no losses.
    pub takes_kept: bool,
    /// Tokens that the model counts as trained on, where that is not what it was opened with. Results name them, and a scaling that
    /// does not say what context it begins from takes them.
    pub trained_context: Option<usize>,
}

/// What the cache of a layer holds of a sequence, before rotation, head after head, token after token.
#[derive(Debug, Clone, PartialEq)]
pub struct Cached {
    /// Tokens of the sequence.
    pub n_tokens: usize,
    /// `[n_heads, n_tokens, head_dim]`.
    pub query: Vec<f32>,
    /// `[n_kv_heads, n_tokens, head_dim]`.
    pub key: Vec<f32>,
    /// `[n_kv_heads, n_tokens, head_dim]`.
    pub value: Vec<f32>,
}

/// Which rows of logits a call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// None: the call only fills the cache.
    None,
    /// The last fed token's.
    Last,
    /// One per fed token.
    All,
}

/// What is open, where it came from, and what computes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// Name shown in titles.
    pub name: String,
    /// `embedded`, or the folder it was read from.
    pub source: String,
    /// `model_type` of its config.
    pub family: String,
    /// The numbers that decide positions, shapes and memory.
    pub spec: ModelSpec,
    /// Parameters, tied ones counted once.
    pub n_parameters: usize,
    /// Bytes that they take in memory, as the matrices are kept.
    pub weight_bytes: usize,
    /// First token of every text, if the model has one.
    pub bos_token: Option<u32>,
    /// Tokens that end a generated text.
    pub eos_tokens: Vec<u32>,
    /// Number format of weights and arithmetic.
    pub dtype: String,
    /// Device and kernel bodies.
    pub kernel_path: String,
    /// `max_position_embeddings` of its config; what is used is [`ModelSpec::trained_context`].
    pub max_position_embeddings: usize,
    /// What a user should know before trusting its numbers, as sentences; shown wherever the model is opened.
    pub warnings: Vec<String>,
    /// Those of them about the trained context, which mean nothing once somebody gives it.
    #[serde(skip)]
    pub context_warnings: Vec<String>,
    /// Whether a chat template came with its tokenizer.
    pub has_chat_template: bool,
    /// Tells models apart by what their weights hold, not by where they lie: 16 digits.
    pub content: String,
}

/// Progress out, cancellation in.
pub trait Control {
    /// `done` of `total` steps of the current call are finished.
    fn progress(&mut self, _done: usize, _total: usize) {}

    /// Whether to stop as soon as possible.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches, nobody cancels.
impl Control for () {}

/// A flag that any thread can raise to stop a run.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

/// What can go wrong while a model runs.
#[allow(missing_docs, reason = "what a field holds is said by the message that it stands in")]
#[derive(Debug, thiserror::Error)]
pub enum LensError {
    /// The method or the scaling does not fit the model.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// No sequence was begun, or the one before ended in an error.
    #[error("no sequence has been begun")]
    NotBegun,
    /// Queries are needed that nobody asked to keep.
    #[error("{what} needs the queries of earlier tokens, and this sequence did not keep them")]
    NothingKept {
        /// What needs them.
        what: &'static str,
    },
    /// A sequence that no file can hold.
    #[error("this sequence cannot be kept in a file")]
    NoFile,
    /// A file of a sequence that cannot be read.
    #[error("{0}")]
    KeptFile(String),
    /// A fork of no tokens.
    #[error("a fork holds at least the first token of its sequence")]
    EmptyFork,
    /// A sequence that another lens made.
    #[error("these keys and values are of another model, or of this one opened another time")]
    OtherModel,
    /// Stopped by the user.
    #[error("cancelled")]
    Cancelled,
    /// No tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// A token outside the vocabulary.
    #[error("token {token} at position {position} is outside the vocabulary of {vocab_size}")]
    TokenOutOfRange {
        token: u32,
        /// Its place among the tokens of this call.
        position: usize,
        /// Tokens in the vocabulary.
        vocab_size: usize,
    },
    /// A token of the tokenizer that the model has no embedding for.
    #[error("the text has the token `{text}` (id {token}), which the model has no embedding for: its ids end at {}", vocab_size - 1)]
    NoEmbedding {
        token: u32,
        /// How the tokenizer writes it.
        text: String,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// No tokenizer beside the model.
    #[error("{model} has no tokenizer")]
    NoTokenizer {
        /// Where it was looked for.
        model: String,
    },
    /// The tokenizer refused.
    #[error("the tokenizer failed: {0}")]
    Tokenizer(String),
    /// A model that was not trained on conversations, or came without the template that says how they are written.
    #[error("the model has no chat template")]
    NoChatTemplate,
    /// The template cannot be read, or refuses the conversation.
    #[error("{file}: {problem}")]
    ChatTemplate {
        /// What the template stands in.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The day that a conversation is to take place on cannot be read.
    #[error("the date `{date}` is no day of the calendar")]
    NoDate { date: String },
    /// Recording would take too much memory.
    #[error("recording this would take {needed} MiB, more than the {allowed} MiB allowed")]
    TraceTooLarge {
        /// MiB needed.
        needed: usize,
        /// MiB allowed.
        allowed: usize,
    },
    /// Something was asked of a layer, head or token that is not there.
    #[error("{what} {index} does not exist: there are {count}")]
    OutOfRange {
        /// `layer`, `head`, `query`, `key` or `token`.
        what: &'static str,
        /// What was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A prompt that would have to begin with more tokens than it has.
    #[error("a prompt of {n_tokens} tokens cannot begin with {n_prefix} others")]
    ShortPrompt {
        /// Tokens of the prompt.
        n_tokens: usize,
        /// Tokens of the sequence that was to go on.
        n_prefix: usize,
    },
    /// More memory than the device has left.
    #[error("this takes {:.1} GiB of the device's memory, and {:.1} GiB are free", gib(*needed), gib(*free))]
    DeviceMemory {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that nobody holds, with those that the program holds and does not use.
        free: u64,
    },
    /// A block of the device's memory that could not be had.
    #[error("the device gives no block of {:.1} GiB", gib(*bytes))]
    DeviceBlock {
        /// Its bytes.
        bytes: u64,
    },
    /// Keys and values that the host's memory has no room for.
    #[error("keys and values take {:.1} GiB of the host's memory, and {:.1} GiB are free", gib(*needed), gib(*free))]
    HostMemory {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The device or its driver failed.
    #[error("the device failed: {0}")]
    Device(String),
    /// The model produced numbers that are not finite.
    #[error("the logits of token {position} are not finite")]
    NotFinite {
        /// Token whose logits are not finite.
        position: usize,
    },
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}

impl LensError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Setting(error) => error.help(),
            Self::EmptyPrompt => Some("give some text or at least one token".into()),
            Self::TokenOutOfRange { .. } => Some("the tokens were made for another model's vocabulary".into()),
            Self::NoEmbedding { .. } => {
                Some("leave it out of the text; tokens were added to the tokenizer alone".into())
            }
            Self::NoTokenizer { .. } => Some(
                "put its tokenizer.json beside the weights, or give token ids where they are taken".into(),
            ),
            Self::Tokenizer(_) => Some(
                "tokenizer.json asks for something that its library cannot do: fetch the file again, or use another text".into(),
            ),
            Self::NoChatTemplate => Some(
                "give a plain prompt, or put its `chat_template` into tokenizer_config.json or a chat_template.jinja beside it".into(),
            ),
            Self::NoDate { .. } => Some("write it as 2024-07-26".into()),
            Self::OtherModel => Some("run the prompt on this model".into()),
            Self::NoFile => Some("begin it anew under one method, on a model that is opened from its files".into()),
            Self::NothingKept { .. } => Some("run the prompt again with `keep_queries`".into()),
            Self::TraceTooLarge { .. } => Some("record fewer queries, rows or maps".into()),
            Self::HostMemory { .. } => Some("take a shorter prompt, or keep no queries (`keep_queries`)".into()),
            Self::DeviceMemory { .. } | Self::DeviceBlock { .. } => Some(
                "take a shorter prompt, fewer tokens a step (`prefill_chunk`), fewer bits a weight (`weights`: bf16, q8, q4), or leave keys and \
                 values in the host's memory (`kv_offload`)"
                    .into(),
            ),
            Self::Device(_) => Some("begin again; where it fails again, check the device".into()),
            Self::NotFinite { .. } => Some("check the weights for NaN or infinite values".into()),
            _ => None,
        }
    }
}

impl ModelInfo {
    /// Whether some of its matrices have 32 bits a number.
    pub fn has_32_bits(&self) -> bool {
        self.dtype.contains("f32")
    }

    /// The model as one that was trained on `n_tokens`; as it is where that is nothing.
    pub fn trained_on(&self, n_tokens: Option<usize>) -> Cow<'_, Self> {
        if n_tokens.is_none() {
            return Cow::Borrowed(self);
        }
        let spec = self.spec.trained_on(n_tokens).into_owned();
        let warnings =
            self.warnings.iter().filter(|warning| !self.context_warnings.contains(warning)).cloned().collect();
        Cow::Owned(Self { spec, warnings, context_warnings: Vec::new(), ..self.clone() })
    }
}

impl Setup {
    /// A method under the model's own RoPE scaling, recording nothing.
    pub fn new(method: &Method, model: &ModelSpec, n_prompt: usize) -> Result<Self, SettingError> {
        Ok(Self::of(method.plan(model)?, model, n_prompt))
    }

    /// The same with a plan that is made.
    pub fn of(plan: Plan, model: &ModelSpec, n_prompt: usize) -> Self {
        Self {
            plan,
            rope: model.rope.clone(),
            n_prompt,
            prefill_chunk: DEFAULT_PREFILL_CHUNK,
            watch: Watch::default(),
            keep_queries: false,
            takes_kept: false,
            trained_context: None,
        }
    }
}

/// Tokens of a prefill step when nobody says otherwise: large enough for fast products, small enough for little memory.
pub const DEFAULT_PREFILL_CHUNK: usize = 2048;

impl CancelToken {
    /// Asks the run to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Forgets that somebody asked.
    pub fn lower(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Control for CancelToken {
    fn cancelled(&self) -> bool {
        self.is_cancelled()
    }
}
