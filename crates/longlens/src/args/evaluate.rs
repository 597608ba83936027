//! Flags of `evaluate`, `sweep`, `tasks`, `results` and `report`.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use longlens_app::export::Format;

use super::CommonArgs;
use super::values::{at_least_one, seconds};

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Tasks, as `niah_single_1` or `ruler_vt:samples=20`, or names of families, as `ruler` (`longlens tasks` lists them)
    #[arg(value_name = "TASK")]
    pub tasks: Vec<String>,
    #[command(flatten)]
    pub common: CommonArgs,
    /// More tasks, one a line; `#` begins a comment
    #[arg(long, value_name = "FILE")]
    pub tasks_file: Option<PathBuf>,
    /// Methods to compare, separated by `;` or commas (overrides --method)
    #[arg(long, value_name = "A;B")]
    pub methods: Option<String>,
    /// RoPE scalings to compare, separated by `;` (overrides --rope)
    #[arg(long, value_name = "A;B")]
    pub ropes: Option<String>,
    /// Lengths in tokens, prompt and answer together, as `4k,8k`, for tasks that have lengths (default: the trained context; `perplexity` takes whole documents)
    #[arg(long, value_name = "LIST")]
    pub lengths: Option<String>,
    /// Samples of every task and length, for tasks that can be asked for so many
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub samples: Option<usize>,
    /// `faithful` repeats the scripts that published numbers came from, faults included; `fixed` is right where they are wrong
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// What prompts are wrapped in, where a task has a choice: `off`, `model` (its chat template), `llama2`, `llama3`
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// A text of yours around what is hidden, of tasks that hide something (default: an excerpt of six novels)
    #[arg(long, value_name = "FILE|DIR")]
    pub haystack: Option<String>,
    /// Tokens of prompt and answer at most
    #[arg(long, value_name = "TOKENS")]
    pub limit: Option<String>,
    /// What becomes of samples beyond the limit
    #[arg(long, value_enum, value_name = "WHAT")]
    pub too_long: Option<TooLongArg>,
    /// Record how much every head attends to the evidence before it answers, and which passages get most
    #[arg(long)]
    pub attention: bool,
    #[command(flatten)]
    pub running: RunningArgs,
}

/// What becomes of samples beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TooLongArg {
    /// They are passed over and counted
    Skip,
    /// Their middle is cut out
    Cut,
}

/// Flags of commands that run samples.
#[derive(Debug, Args)]
pub struct RunningArgs {
    /// Run nothing: say how many samples there are, how many are finished, and what time and memory the rest would take
    #[arg(long)]
    pub dry_run: bool,
    /// Run one of several equal parts, as 2/8: parts depend on nothing but the sweep, and share a folder
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SweepArgs {
    #[command(subcommand)]
    pub command: Option<SweepCommand>,
    /// What to run: a TOML file with [fixed], [grid], [[zip]] and [[list]]
    #[arg(value_name = "FILE.toml", required = true)]
    pub file: Option<PathBuf>,
    /// One more axis, or other values of one, as `length=4k,8k` or `self_extend.group_size=2,4`; values with commas of their own are
    /// separated by `;`
    #[arg(long, value_name = "NAME=A,B")]
    pub set: Vec<String>,
    /// Where results are kept (default: `out` of the file, else a folder of the file's name)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON on stdout; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub running: RunningArgs,
}

/// What can be done with a sweep beside running it here.
#[derive(Debug, Subcommand)]
pub enum SweepCommand {
    /// Write a job array for a cluster and submit it: every task of the array runs its part, all keep samples in one folder
    Submit(SubmitArgs),
}

#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The sweep's file
    #[arg(value_name = "FILE.toml")]
    pub file: PathBuf,
    /// Submit to Slurm, with sbatch
    #[arg(long, required = true)]
    pub slurm: bool,
    /// Tasks of the array: parts of the sweep that cost about the same
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    pub jobs: usize,
    /// Tasks that run at once, at most
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub at_once: Option<usize>,
    /// An option for sbatch, as --sbatch=--partition=gpu; may be given several times
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// One more axis, or other values of one, as for `sweep`
    #[arg(long, value_name = "NAME=A,B")]
    pub set: Vec<String>,
    /// Where samples are kept, on a file system that all machines share (default: as for `sweep`)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the script instead of submitting it
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON on stdout; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct TasksArgs {
    /// One task with its settings: it is described
    #[arg(value_name = "TASK")]
    pub task: Option<String>,
    /// Show the sample of this number, from 0, as it is fed
    #[arg(long, value_name = "N", requires = "task")]
    pub sample: Option<usize>,
    /// Write all samples of the task, a JSON object a line
    #[arg(long, value_name = "FILE.jsonl", requires = "task")]
    pub export: Option<PathBuf>,
    /// The model whose tokenizer and trained context samples are made for (default: the embedded one)
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[cfg_attr(not(feature = "sql"), allow(dead_code, reason = "a build without SQL says so, whatever else is asked for"))]
pub struct ResultsArgs {
    /// The folder that samples were kept in
    #[arg(value_name = "DIR", required_unless_present = "schema")]
    pub folder: Option<PathBuf>,
    /// A question, as `SELECT method, length, avg(share) FROM samples GROUP BY 1, 2`
    #[arg(value_name = "SQL", conflicts_with_all = ["export", "schema"])]
    pub sql: Option<String>,
    /// List the columns that questions and exports have, with what they hold
    #[arg(long)]
    pub schema: bool,
    /// Print JSON: rows as objects
    #[arg(long)]
    pub json: bool,
    /// Print comma-separated values
    #[arg(long, conflicts_with_all = ["json", "schema", "export"])]
    pub csv: bool,
    /// Rows of a table at most (default: 40 on a terminal, else all)
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "sql")]
    pub rows: Option<usize>,
    /// Seconds that a question may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    pub timeout: f64,
    /// Write all samples for another program
    #[arg(long, value_name = "FORMAT", value_parser = formats(), requires = "to", conflicts_with = "schema")]
    pub export: Option<Format>,
    /// Where to: a file or, for formats that are folders, a folder; an earlier export of the same format is replaced, and nothing else
    #[arg(long, value_name = "PATH", requires = "export")]
    pub to: Option<PathBuf>,
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let values = Format::ALL.map(|format| PossibleValue::new(format.name()).help(format.doc()));
    let named = |name: String| Format::ALL.into_iter().find(|format| format.name() == name);
    PossibleValuesParser::new(values).map(move |name| named(name).expect("other names were refused"))
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The folder that samples were kept in
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The page (default: `report.html` in the folder)
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
    /// Dark on light, light on dark, or as the reader's system prefers
    #[arg(long, value_enum, value_name = "THEME", default_value = "auto")]
    pub theme: ThemeArg,
    /// Print the page's tables as JSON on stdout as well
    #[arg(long)]
    pub json: bool,
}

/// Colours of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ThemeArg {
    /// As the reader's system prefers
    Auto,
    /// Dark on light
    Light,
    /// Light on dark
    Dark,
}
