//! The command line. Help texts of methods and scalings come from the catalog in `longlens-core`.

use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use longlens_app::settings::params::{Given, param};
use longlens_core::setting::{SettingError, Value};
use longlens_kernel::linear::Storage;
use longlens_model::weights::{Keep, Written};
use serde::Deserialize;

pub mod language;

/// A workbench for extending a language model's context without training.
#[derive(Debug, Parser)]
#[command(
    name = "longlens",
    version,
    max_term_width = 120,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub workbench: WorkbenchArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Open the workbench in this terminal (what `longlens` alone does on one)
    Workbench(Box<WorkbenchArgs>),
    /// Compare the methods on the embedded model at growing lengths (what `longlens` alone does without a terminal)
    Demo(DemoArgs),
    /// Continue a prompt, greedily or sampled
    Generate(GenerateArgs),
    /// Talk with a model in its chat template: a question a line, from a terminal or a pipe
    Chat(ChatArgs),
    /// Write the logits of every position, prefill and decode
    Logits(LogitsArgs),
    /// Retrieve a pass key from any length and depth
    Passkey(PasskeyArgs),
    /// Measure perplexity against length
    Perplexity(PerplexityArgs),
    /// Draw and describe the relative positions of a method
    Positions(PositionsArgs),
    /// Draw which chunks every head attends to
    Chunks(ChunksArgs),
    /// Draw the attention map of one head
    Attention(AttentionArgs),
    /// Draw any view of a prompt under a method; without one, list them
    Plot(PlotArgs),
    /// Measure the speed of prefill and decode by method and length
    ///
    /// --model also takes the name of a shape, for a model of that shape with random weights, as `tiny`, `llama3-8b`,
    /// `mixtral-8x7b` or `gemma2-2b` (the README lists them); a folder of that name comes first. The prompt is made of random tokens.
    ///
    /// Prefill is the time of a whole prompt with the logits of its last token; decode is the time of one token after such
    /// a prompt. Beside each stand the arithmetic that the method's definition needs and the bytes that it reads at least,
    /// and what share they are of what this machine does, measured at the end: the operations a second of products of two
    /// 1024 x 1024 f32 matrices, one on every thread, and the bytes a second that all threads together read from a buffer of
    /// 256 MiB. Caches are faster than memory, so small models can read more than it offers. Peak memory is the highest
    /// while a method ran at a length, with what the process still held before.
    Bench(BenchArgs),
    /// List methods and RoPE scalings with their parameters
    Methods(MethodsArgs),
    /// Describe a model: config, parameters, memory at a length
    Model(ModelArgs),
    /// Save a checkpoint of any format as a folder in Hugging Face's layout or as a GGUF file, with an adapter merged into it where one
    /// is given
    ///
    /// A folder holds the weights as one safetensors file, bit for bit where nothing is converted; the blocks of GGUF files become the
    /// numbers that they stand for there. A GGUF file holds config, tokenizer and chat template as well, and blocks as they are or newly
    /// rounded.
    Convert(ConvertArgs),
    /// Open a prompt for experiments: a small language with every method, prompt, measure and picture
    Repl(language::ReplArgs),
    /// Run, convert and check notebooks
    Notebook(language::NotebookArgs),
    /// The Jupyter kernel: install it, take it away, serve
    Kernel(language::KernelArgs),
    /// Save a frame of the workbench as PNG or SVG
    Screenshot(Box<ScreenshotArgs>),
    /// Take the text out of a file on stdin: what the program starts for itself, so that a hostile file ends that process alone
    #[command(hide = true)]
    ExtractText {
        /// `html` or `pdf`
        format: String,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Flags of every command that opens a model.
#[derive(Debug, Clone, Default, Args)]
pub struct CommonArgs {
    /// `embedded`, a checkpoint folder, a file of weights (.gguf, .safetensors, .bin), or `org/name[@revision]` in the Hugging
    /// Face cache
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Attention method, as `self_extend:group_size=4,neighbor_window=64` (see `longlens methods`)
    #[arg(long, value_name = "TEXT")]
    pub method: Option<String>,
    /// RoPE scaling, as `yarn:factor=8`; without it the checkpoint's own
    #[arg(long, value_name = "TEXT")]
    pub rope: Option<String>,
    /// Settings from a TOML file; flags override it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub opening: OpeningArgs,
    #[arg(long, value_name = "N", help = help("seed"), value_parser = setting("seed"))]
    pub seed: Option<Value>,
    #[arg(long, value_name = "TOKENS", help = help("prefill_chunk"), value_parser = setting("prefill_chunk"))]
    pub prefill_chunk: Option<Value>,
    #[arg(long, value_name = "auto|keep|off", help = help("layer_windows"), value_parser = setting("layer_windows"))]
    pub layer_windows: Option<Value>,
    /// Print JSON on stdout; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
    /// Write pictures and data here: a file for one picture, a folder for several
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

/// How a model is opened.
#[derive(Debug, Clone, Default, Args)]
pub struct OpeningArgs {
    /// Where to compute
    #[arg(long, value_enum)]
    pub device: Option<Device>,
    /// How matrices are kept in memory: as in the file (default on the processor), or in 32, 16, 9 or 5 bits a weight; on other
    /// devices it is f32
    #[arg(long, value_name = "FORMAT", value_parser = keep())]
    pub weights: Option<Keep>,
    #[arg(long, value_name = "TOKENS", help = help("trained_context"), value_parser = setting("trained_context"))]
    pub trained_context: Option<Value>,
    /// A LoRA adapter, as PEFT saves it, to add to the weights: its folder, or `org/name` in the Hugging Face cache
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Option<String>,
}

impl OpeningArgs {
    /// How matrices are kept: what flag or config say, else as in the file where the device takes that.
    pub fn keep(&self, config: Option<Keep>, device: Device) -> Keep {
        let usual = if device == Device::Cpu { Keep::File } else { Keep::As(Storage::F32) };
        self.weights.or(config).unwrap_or(usual)
    }

    /// Tokens that the model counts as trained on, where that is given.
    pub fn trained_context(&self) -> Option<usize> {
        self.trained_context.as_ref().map(|n_tokens| n_tokens.number() as usize)
    }
}

impl CommonArgs {
    /// The settings of a run that these flags name.
    pub fn given(&self) -> Given {
        given([("seed", &self.seed), ("prefill_chunk", &self.prefill_chunk), ("layer_windows", &self.layer_windows)])
    }
}

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// burn-flex on the processor
    #[default]
    Cpu,
    /// wgpu (Vulkan, Metal, DX12); needs a build with `--features wgpu`
    Wgpu,
    /// CUDA; needs a build with `--features cuda`
    Cuda,
}

impl Device {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }
}

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
    /// What the system says first, with --chat
    #[arg(long, value_name = "TEXT")]
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
    /// Seed of that prompt alone (default: --seed)
    #[arg(long, value_name = "N", requires = "needle", conflicts_with_all = ["prompt", "file"], value_parser = seed)]
    pub needle_seed: Option<u64>,
}

/// How the workbench begins.
#[derive(Debug, Clone, Default, Args)]
pub struct WorkbenchArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Bring back prompt, settings and pinned runs: of a session that ended unexpectedly, else of the last one
    #[arg(long)]
    pub resume: bool,
    /// Colours of the workbench
    #[arg(long, value_enum, default_value_t)]
    pub theme: Theme,
    /// How many colours the terminal shows
    #[arg(long, value_enum, default_value_t)]
    pub colors: Colors,
    /// Real images by kitty, sixel or iTerm2, where the terminal has them; half blocks otherwise
    #[arg(long, value_enum, default_value_t)]
    pub images: Images,
}

/// Colours of the workbench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Theme {
    /// Light on dark
    #[default]
    Dark,
    /// Dark on light
    Light,
    /// White on black, nothing dimmed
    HighContrast,
}

/// How many colours a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Colors {
    /// What `NO_COLOR`, `COLORTERM` and `TERM` say
    #[default]
    Auto,
    /// 16 million
    True,
    /// 256
    #[value(name = "256")]
    Ansi256,
    /// 16
    #[value(name = "16")]
    Ansi16,
    /// None
    None,
}

/// Whether to draw real images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Images {
    /// Where the environment names a terminal that has them
    #[default]
    Auto,
    /// Wherever the terminal says that it has them
    On,
    /// Never
    Off,
}

#[derive(Debug, Clone, Args)]
pub struct ScreenshotArgs {
    #[command(flatten)]
    pub workbench: WorkbenchArgs,
    /// Columns and rows
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "120x40")]
    pub size: String,
    /// Keys to press first, separated by blanks, as `L shift-left 2`; `text:` before text to type
    #[arg(long, value_name = "KEYS", default_value = "", allow_hyphen_values = true)]
    pub keys: String,
    /// Without a title bar
    #[arg(long)]
    pub bare: bool,
}

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

#[derive(Debug, Default, Args)]
pub struct GenerateArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Stop before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

/// How long an answer is, and how its tokens are drawn.
#[derive(Debug, Default, Args)]
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
    /// Passages of the document that are shown for each answer: those that gain most attention from its first 64 tokens
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<usize>)]
    pub passages: usize,
    /// Several methods that answer each question in turn, separated by `;`
    #[arg(long, value_name = "LIST", conflicts_with = "method")]
    pub methods: Option<String>,
    /// What the system says first
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// The date that the template is told, where it asks for one (default: 2024-07-26, so that results do not depend on the day)
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub date: Option<String>,
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
    /// What the system says first, with --chat
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// The date that the template is told, where it asks for one (default: 2024-07-26, so that results do not depend on the day)
    #[arg(long, value_name = "YYYY-MM-DD")]
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
    /// Sliding windows of each length, every token of a window scored (the protocol of the DCA and LongLoRA scripts),
    /// instead of one prefill per document
    #[arg(long)]
    pub sliding: bool,
    /// Tokens between windows, with --sliding
    #[arg(long, value_name = "TOKENS", requires = "sliding", value_parser = whole::<usize>)]
    pub stride: Option<usize>,
    /// Methods to compare, separated by `;` (overrides --method)
    #[arg(long, value_name = "A;B")]
    pub methods: Option<String>,
}

#[derive(Debug, Args)]
pub struct PositionsArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Tokens of the prompt (default: twice the trained context)
    #[arg(long, value_name = "TOKENS")]
    pub tokens: Option<String>,
    /// Only the relative position of this pair, as `QUERY,KEY`
    #[arg(long, value_name = "QUERY,KEY", allow_hyphen_values = true)]
    pub pair: Option<String>,
    /// Whose positions are shown where layers or heads follow different rules (default: the first layer that the method acts on)
    #[arg(long, value_name = "LAYER", value_parser = whole::<usize>)]
    pub layer: Option<usize>,
    /// The query head of that layer
    #[arg(long, value_name = "HEAD", value_parser = whole::<usize>, default_value_t = 0)]
    pub head: usize,
}

#[derive(Debug, Args)]
pub struct ChunksArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Query token (default: the last of the prompt; after --needle the one behind it, which should fetch the key)
    #[arg(long, value_name = "TOKEN", value_parser = whole::<usize>)]
    pub query: Option<usize>,
    /// One layer only
    #[arg(long, value_name = "LAYER", value_parser = whole::<usize>)]
    pub layer: Option<usize>,
    /// Attention on every chunk instead of the choice; the default for methods that choose nothing
    #[arg(long)]
    pub attention: bool,
    /// Tokens of a chunk (default: the method's, else 1/16 of the trained context or of a shorter prompt)
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    pub chunk_len: Option<usize>,
}

#[derive(Debug, Args)]
pub struct AttentionArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Layer (default: the first that the method acts on)
    #[arg(long, value_name = "LAYER", value_parser = whole::<usize>)]
    pub layer: Option<usize>,
    /// Query head
    #[arg(long, value_name = "HEAD", default_value_t = 0, value_parser = whole::<usize>)]
    pub head: usize,
    /// Also show where this query token looks, exactly
    #[arg(long, value_name = "TOKEN", value_parser = whole::<usize>)]
    pub query: Option<usize>,
    /// Cells of a side at most (default: 512); longer prompts are pooled
    #[arg(long, value_name = "CELLS", value_parser = whole::<usize>)]
    pub side: Option<usize>,
    /// Linear colours instead of logarithmic ones
    #[arg(long)]
    pub linear: bool,
    /// The largest weight of a cell instead of the mean
    #[arg(long)]
    pub max: bool,
}

#[derive(Debug, Args)]
pub struct PlotArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// View with its options, as `layers:scale=log`; --out takes .png, .svg, .csv and .npz
    #[arg(value_name = "VIEW")]
    pub view: Option<String>,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Layers of a random model, where it should have fewer than its shape
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub layers: Option<usize>,
    /// Methods to measure, separated by `;` (overrides --method)
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
pub struct MethodsArgs {
    /// One method or scaling
    pub name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Memory at this many tokens
    #[arg(long, value_name = "TOKENS")]
    pub tokens: Option<String>,
}

/// A checkpoint in another form.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// `embedded`, a checkpoint folder, a file of weights (.gguf, .safetensors, .bin), or `org/name[@revision]` in the Hugging
    /// Face cache
    #[arg(long, value_name = "MODEL")]
    pub model: String,
    /// The folder to write, or the file where the name ends in .gguf; no file is replaced
    #[arg(long, short, value_name = "FOLDER|FILE.gguf")]
    pub out: PathBuf,
    /// How numbers are written: as they are, or all in one form; blocks (`q8_0` to `q4_0`) to GGUF files alone, whose norms and biases
    /// stay in 32 bits
    #[arg(long, value_name = "FORMAT", default_value = "file", value_parser = written())]
    pub weights: Written,
    /// A LoRA adapter, as PEFT saves it, to merge into the weights: its folder, or `org/name` in the Hugging Face cache
    #[arg(long, value_name = "ADAPTER")]
    pub adapter: Option<String>,
    /// Print JSON on stdout; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
}

fn written() -> impl TypedValueParser<Value = Written> {
    let of = |name: String| Written::ALL.into_iter().find(|written| written.name() == name).expect("a possible value");
    PossibleValuesParser::new(Written::ALL.map(Written::name)).map(of)
}

fn keep() -> impl TypedValueParser<Value = Keep> {
    PossibleValuesParser::new(Keep::ALL.map(Keep::name)).try_map(|name| name.parse::<Keep>())
}

/// Reads a setting's value as its description has it.
fn setting(name: &str) -> impl Fn(&str) -> Result<Value, SettingError> + Clone + Send + Sync + 'static {
    let param = param(name);
    move |text| param.read(text)
}

/// What a setting's flag does and takes.
fn help(name: &str) -> String {
    let param = param(name);
    let (first, rest) = param.help.split_at(1);
    format!("{}{rest} ({})", first.to_uppercase(), param.kind)
}

/// The settings whose flags are there.
fn given<const N: usize>(flags: [(&str, &Option<Value>); N]) -> Given {
    flags.into_iter().filter_map(|(name, value)| Some((param(name), value.clone()?))).collect()
}

fn seed(text: &str) -> Result<u64, SettingError> {
    Ok(param("seed").read(text)?.number() as u64)
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match whole(text) {
        Ok(0) => Err("it must be at least 1".into()),
        Err(_) if is_negative(text) => Err("it must be at least 1".into()),
        read => read,
    }
}

fn whole<T: FromStr<Err = ParseIntError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => "it is too large".into(),
        _ if is_negative(text) => "it must not be below 0".into(),
        _ => "it is not a whole number".into(),
    })
}

fn is_negative(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(|number| number < 0.0)
}
