//! Flags of the commands that measure: `demo`, `passkey`, `perplexity`, `bench`, `verify`, `logits`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::prompt::{DATE, SYSTEM};
use super::values::{at_least_one, whole};
use super::{CommonArgs, PromptArgs};

/// Compare the methods on the embedded model.
#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Longest prompt, in multiples of the trained context (a power of two)
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = whole::<usize>)]
    pub up_to: usize,
    /// Pass key prompts per cell
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<usize>)]
    pub trials: usize,
}

#[derive(Debug, Args)]
pub struct PasskeyArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Prompt template: `longlens`, `long_heads`, `chunk_llama` or `long_lm`
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// Prompt lengths in tokens, as `256,512,1k`
    #[arg(long, value_name = "LIST")]
    pub lengths: Option<String>,
    /// Depths of the key from 0 (start) to 1 (end), as `0,0.5,1` or `0%,50%,100%`
    #[arg(long, value_name = "LIST")]
    pub depths: Option<String>,
    /// Prompts per length and depth
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub trials: Option<usize>,
    /// Prompts from a JSONL file, or `-` for stdin, instead of a template: `prompt` and `answer`, or `input` and `target` as in the files of
    /// Self-Extend and the like; length and depth are counted where they are missing
    #[arg(long, value_name = "FILE", visible_alias = "file", conflicts_with_all = ["template", "depths", "trials"])]
    pub prompts: Option<PathBuf>,
    /// Every prompt is what a user says: it is put into the model's chat template, and the words behind its question begin the answer
    #[arg(long)]
    pub chat: bool,
    #[arg(long, value_name = "TEXT", help = SYSTEM)]
    pub system: Option<String>,
    #[arg(long, value_name = "YYYY-MM-DD", help = DATE)]
    pub date: Option<String>,
    /// Red-yellow-green instead of the colour-blind-safe colours
    #[arg(long)]
    pub red_green: bool,
}

#[derive(Debug, Args)]
pub struct PerplexityArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Text file or `-` for stdin, one document as it is; JSON lines (.jsonl) are a document each, by their `text` (default: the
    /// embedded model's held-out stories)
    #[arg(long, value_name = "FILE", visible_alias = "text")]
    pub file: Option<PathBuf>,
    /// Blank lines of the text file separate documents
    #[arg(long, conflicts_with = "tokens")]
    pub split_documents: bool,
    /// File of token ids, or `-` for stdin, instead of text: little-endian numbers of 16, 32 or 64 bits, .npy, or JSON
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub tokens: Option<PathBuf>,
    /// What the numbers of that file are, where it does not say enough: `u16`, `u32` or `i64`
    #[arg(long, value_name = "FORMAT", requires = "tokens", conflicts_with = "file")]
    pub token_format: Option<String>,
    /// Lengths in tokens, as `256,512,1k`
    #[arg(long, value_name = "LIST")]
    pub lengths: Option<String>,
    /// Documents at most (default: all of a file, 2 of the held-out stories); those shorter than the longest length are
    /// passed over
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub documents: Option<usize>,
    /// Sliding windows of each length, every token of a window scored, instead of one prefill per document: as the scripts of DCA and
    /// LongLoRA slide them, but over all whole windows and in powers of e (`longlens evaluate perplexity_sliding` repeats the scripts)
    #[arg(long)]
    pub sliding: bool,
    /// Tokens between windows, with --sliding
    #[arg(long, value_name = "TOKENS", requires = "sliding", value_parser = whole::<usize>)]
    pub stride: Option<usize>,
    /// Methods to compare, separated by `;` or commas (overrides --method)
    #[arg(long, value_name = "A;B")]
    pub methods: Option<String>,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Layers of a random model, where it should have fewer than its shape
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub layers: Option<usize>,
    /// A random model's attention alone, of random queries, keys and values: choices of chunks included, products with weights not
    #[arg(long)]
    pub attention_only: bool,
    /// Methods to measure, separated by `;` or commas (overrides --method)
    #[arg(long, value_name = "A;B")]
    pub methods: Option<String>,
    /// Lengths in tokens, as `1k,4k` (the default)
    #[arg(long, value_name = "LIST")]
    pub lengths: Option<String>,
    /// What to measure
    #[arg(long, value_enum, default_value_t = Phases::Both)]
    pub phase: Phases,
    /// Threads to compute with (default: one per core)
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// Measured runs; median, fastest and slowest are shown. Of decode, a run is --new-tokens tokens
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    pub repeat: usize,
    /// Runs before the measured ones; of decode, single tokens
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<usize>)]
    pub warmup: usize,
    /// Tokens of one run of decode; the time of each counts
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least_one)]
    pub new_tokens: usize,
}

/// What `bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Phases {
    /// A whole prompt
    Prefill,
    /// One token after the prompt
    Decode,
    /// First the one, then the other
    Both,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Tokens of a prompt that is random, where none is given
    #[arg(long, value_name = "TOKENS", default_value = "512", conflicts_with_all = ["prompt", "file", "needle", "messages"])]
    pub length: String,
    /// Methods to verify, separated by `;` or commas (overrides --method)
    #[arg(long, value_name = "A;B")]
    pub methods: Option<String>,
    /// Layers to verify, as `0,5,31` (default: all)
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = whole::<usize>)]
    pub layer: Vec<usize>,
    /// Layers of a random model, where it should have fewer than its shape
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub layers: Option<usize>,
    /// Queries of the prompt that are compared, at most: the first, the last, and others evenly between
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    pub queries: usize,
    /// Random tokens after the prompt, which are fed one by one and all compared
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole::<usize>)]
    pub new_tokens: usize,
}

#[derive(Debug, Args)]
pub struct LogitsArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// JSON file, or `-` for stdin, with an array of token ids, or an object with `tokens` or `input_ids`
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
    /// Tokens of the prompt; later ones are fed one by one (default: all)
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    pub prefill: Option<usize>,
    /// Safetensors file to write
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Also write `attn_out.<layer>` of the first and last layer, `chunk_queries` and `chunks.<layer>`
    #[arg(long)]
    pub trace: bool,
}
