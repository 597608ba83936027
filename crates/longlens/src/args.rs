//! The command line. Help texts of methods and scalings come from the catalog in `longlens-core`.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

mod cache;
mod common;
mod evaluate;
pub mod language;
mod measure;
mod model;
mod prompt;
mod score;
mod values;
mod views;
mod workbench;

pub use cache::{CacheArgs, CacheCommand, OpenArgs, SaveArgs};
pub use common::{CommonArgs, Device, OpeningArgs};
pub use evaluate::{
    EvaluateArgs, ReportArgs, ResultsArgs, RunningArgs, SubmitArgs, SweepArgs, SweepCommand, TasksArgs, ThemeArg,
    TooLongArg,
};
pub use measure::{BenchArgs, DemoArgs, LogitsArgs, PasskeyArgs, PerplexityArgs, Phases, VerifyArgs};
pub use model::{ConvertArgs, DoctorArgs, MethodsArgs, ModelArgs};
pub use prompt::{ChatArgs, GenerateArgs, PromptArgs};
pub use score::ScoreArgs;
pub use views::{AttentionArgs, ChunksArgs, PlotArgs, PositionsArgs};
pub use workbench::{Colors, ScreenshotArgs, WorkbenchArgs};

/// A workbench for extending a language model's context without training.
#[derive(Debug, Parser)]
#[command(name = "longlens", version, max_term_width = 120, args_conflicts_with_subcommands = true)]
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
    /// Keep a prompt's keys and values in a file, and go on from it in later runs
    Cache(CacheArgs),
    /// Talk with a model in its chat template: a question a line, from a terminal or a pipe
    Chat(ChatArgs),
    /// Write the logits of every position, prefill and decode
    Logits(LogitsArgs),
    /// Retrieve a pass key from any length and depth
    Passkey(PasskeyArgs),
    /// Measure perplexity against length
    Perplexity(PerplexityArgs),
    /// Run tasks of long-context evaluations under methods, lengths and RoPE scalings: every sample is kept as soon as it is finished
    Evaluate(Box<EvaluateArgs>),
    /// Run what a file asks for: combinations of models, methods, scalings, tasks and lengths
    Sweep(SweepArgs),
    /// Make one page of finished samples, which fetches nothing: tables, curves, heat maps, and every sample to look at
    Report(ReportArgs),
    /// List the scores of finished samples, ask for anything else in SQL, or write samples for other programs
    ///
    /// There are two tables: `samples`, a row for each finished sample, and `scores`, the rows that are listed without a question;
    /// `--schema` names their columns. Questions only read. What they are asked of is an index that is made from the samples and brought
    /// up to date at every call; it can be deleted at any moment.
    Results(ResultsArgs),
    /// List the tasks of evaluations with their settings, show a sample, write all samples of one
    Tasks(TasksArgs),
    /// Score predictions as the scripts of long-context benchmarks do: pairs of texts, or files that they wrote
    ///
    /// Scores are those of the original scripts, number for number, with their faults; `--mode fixed` gives the right ones. A line of
    /// `--pairs` is an object with `id`, `scorer`, `prediction`, `references` and what else the scorer reads (`--list` names it), and gets a line
    /// with `id` and `score`; where the original fails, the score is `{"error": NAME}`.
    Score(ScoreArgs),
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
    /// while a method ran at a length, with what the process still held before. Of a GPU the product is one of larger matrices, of the
    /// numbers that it attends to, the bytes are those of copies, and the peak is of its own memory, the most held so far.
    Bench(BenchArgs),
    /// Compare attention with its definition in f64, on any device: an error for every head
    ///
    /// The prompt runs under the method, then some tokens one by one. The definition is computed from the queries, keys and values that the
    /// run left in its cache: every key that the plan shows to a query, at its positions, in one softmax, with no kernel of ours. An
    /// error is the largest difference of a head's output as a part of its largest number. Of heads that choose chunks the error of the
    /// choice stands beside it: by how much a chunk that was left out scores above one that was taken. --model also takes the name of a
    /// shape, as `bench` does.
    Verify(VerifyArgs),
    /// Check the processor and GPUs: what is there, what is missing and how to mend it, and a small problem of every kernel
    Doctor(DoctorArgs),
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
