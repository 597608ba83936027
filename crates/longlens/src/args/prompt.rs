//! Flags of a prompt, of what answers it and of a talk.

use std::path::PathBuf;

use clap::Args;
use longlens_app::settings::params::{Given, param};
use longlens_core::setting::{SettingError, Value};

use super::CommonArgs;
use super::values::{given, help, setting, whole};

/// Help of `--system` where a chat template is a choice.
pub(super) const SYSTEM: &str = "What the system says first, with --chat";

/// Help of `--date`.
pub(super) const DATE: &str = "The date that the template is told, where it asks for one (default: 2024-07-26, so that results \
                               do not depend on the day)";

/// Where the prompt comes from.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct PromptArgs {
    /// The prompt itself
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["file", "needle", "messages"])]
    pub prompt: Option<String>,
    /// Read the prompt from a file, `-` for stdin: text, Markdown, HTML, PDF, or JSON lines with a `text` each; one newline at its
    /// end is left out
    #[arg(long, visible_alias = "pdf", value_name = "FILE", conflicts_with_all = ["needle", "messages"])]
    pub file: Option<PathBuf>,
    /// A question about the file, which follows it after a blank line
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["prompt", "needle", "messages"])]
    pub question: Option<String>,
    /// The prompt is what a user says: it is put into the model's chat template. Of a needle prompt the words behind its question begin
    /// the answer
    #[arg(long)]
    pub chat: bool,
    #[arg(long, value_name = "TEXT", help = SYSTEM)]
    pub system: Option<String>,
    /// Several turns for the chat template: a JSON list of objects with `role` and `content`, where a last turn of the assistant is an
    /// answer that goes on; or an object with `messages`, `add_generation_prompt`, `continue_final_message`, `date`, `variables`
    #[arg(long, value_name = "JSON", conflicts_with_all = ["needle", "chat"])]
    pub messages: Option<String>,
    /// The date that a chat template is told, where it asks for one (default: 2024-07-26, so that results do not depend on the day)
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<String>,
    /// Build a pass key prompt of this many tokens with the needle at this depth (0 to 1 or per cent; default: 0.5); the key is 1 to 32
    /// letters or digits, a number drawn from the seed without it
    #[arg(long, value_name = "TOKENS[:DEPTH[:KEY]]")]
    pub needle: Option<String>,
    /// Wording of that prompt: `longlens` (the default), `long_heads`, `chunk_llama` or `long_lm`
    #[arg(long, value_name = "NAME", requires = "needle", conflicts_with_all = ["prompt", "file"])]
    pub needle_template: Option<String>,
    /// Go on from a prompt that `cache save` kept, without computing it again: what --prompt or --question says follows it. Method,
    /// scaling and trained context are those of the file unless they are given
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "needle", "messages", "chat"])]
    pub cache: Option<PathBuf>,
    /// Seed of that prompt alone (default: --seed)
    #[arg(long, value_name = "N", requires = "needle", conflicts_with_all = ["prompt", "file"], value_parser = seed)]
    pub needle_seed: Option<u64>,
}

fn seed(text: &str) -> Result<u64, SettingError> {
    Ok(param("seed").read(text)?.number() as u64)
}

#[derive(Debug, Default, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Continue many prompts, a JSON object a line: `prompt`, `messages`, or `file` and `question`, and an `id`. What they begin alike
    /// with is computed once. --out takes the answers as .jsonl or .csv; the same command goes on where it was stopped
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "file", "question", "messages", "needle", "cache"])]
    pub prompts: Option<PathBuf>,
    /// Stop before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

/// How long an answer is, and how its tokens are drawn.
#[derive(Debug, Clone, Default, Args)]
pub struct SamplingArgs {
    #[arg(long, value_name = "N", help = help("max_tokens"), value_parser = setting("max_tokens"))]
    pub max_tokens: Option<Value>,
    #[arg(long, value_name = "T", help = help("temperature"), value_parser = setting("temperature"))]
    pub temperature: Option<Value>,
    #[arg(long, value_name = "K", help = help("top_k"), value_parser = setting("top_k"))]
    pub top_k: Option<Value>,
    #[arg(long, value_name = "P", help = help("top_p"), value_parser = setting("top_p"))]
    pub top_p: Option<Value>,
    #[arg(long, value_name = "P", help = help("min_p"), value_parser = setting("min_p"))]
    pub min_p: Option<Value>,
    #[arg(long, value_name = "R", help = help("repetition_penalty"), value_parser = setting("repetition_penalty"))]
    pub repetition_penalty: Option<Value>,
}

impl SamplingArgs {
    /// The settings of a run that these flags name, beside those of [`CommonArgs`].
    pub fn given(&self) -> Given {
        given([
            ("max_tokens", &self.max_tokens),
            ("temperature", &self.temperature),
            ("top_k", &self.top_k),
            ("top_p", &self.top_p),
            ("min_p", &self.min_p),
            ("repetition_penalty", &self.repetition_penalty),
        ])
    }
}

#[derive(Debug, Args)]
pub struct ChatArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// A document to talk about: text, Markdown, HTML, PDF, or JSON lines with a `text` each. It stands before the first question, and
    /// the passages that an answer attended to are shown below it
    #[arg(long, visible_aliases = ["pdf", "file"], value_name = "FILE")]
    pub document: Option<PathBuf>,
    /// A document that `cache save --chat --file` kept, with all that was computed of it: the first answer comes at once
    #[arg(long, value_name = "FILE", conflicts_with_all = ["document", "methods", "system", "date"])]
    pub cache: Option<PathBuf>,
    /// Passages of the document that are shown for each answer: those that gain most attention from its first 64 tokens
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<usize>)]
    pub passages: usize,
    /// Several methods that answer each question in turn, separated by `;` or commas
    #[arg(long, value_name = "LIST", conflicts_with = "method")]
    pub methods: Option<String>,
    /// What the system says first
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    #[arg(long, value_name = "YYYY-MM-DD", help = DATE)]
    pub date: Option<String>,
}
