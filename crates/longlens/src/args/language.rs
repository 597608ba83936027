//! Flags of the commands that run cells: `repl`, `notebook`, `kernel`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use longlens_kernel::linear::Storage;

use super::{Colors, Device, storage};

/// What every command that runs cells takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Session {
    /// The model that cells open when they do not say which: `embedded`, a checkpoint folder, or `org/name[@revision]` in the
    /// Hugging Face cache
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Where to compute
    #[arg(long, value_enum)]
    pub device: Option<Device>,
    /// How matrices are kept in memory: 32, 16, 9 or 5 bits a weight (default: f32); fewer need --device cpu
    #[arg(long, value_name = "FORMAT", value_parser = storage())]
    pub weights: Option<Storage>,
    /// Tokens that this model was trained on, where its config says otherwise: `16384` or `16k` (k is 1024)
    #[arg(long, value_name = "TOKENS", value_parser = super::context_length)]
    pub trained_context: Option<usize>,
    /// Let cells read and write files outside the working directory
    #[arg(long)]
    pub allow_outside: bool,
}

/// The prompt.
#[derive(Debug, Args)]
pub struct Repl {
    #[command(flatten)]
    pub session: Session,
    /// Neither read nor write the history of earlier sessions
    #[arg(long)]
    pub no_history: bool,
    /// How many colours the terminal shows
    #[arg(long, value_enum, default_value_t)]
    pub colors: Colors,
    /// How pictures are shown
    #[arg(long, value_enum, default_value_t)]
    pub images: Inline,
}

/// How the prompt shows pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Inline {
    /// As real images where the terminal has them, else as half blocks
    #[default]
    Auto,
    /// As half blocks
    Blocks,
    /// By kitty's protocol
    Kitty,
    /// By sixels
    Sixel,
    /// By iTerm2's protocol
    Iterm2,
    /// As a line of text
    Off,
}

/// Notebooks.
#[derive(Debug, Args)]
pub struct Notebook {
    #[command(subcommand)]
    pub command: NotebookCommand,
}

/// What can be done with notebooks.
#[derive(Debug, Subcommand)]
pub enum NotebookCommand {
    /// Run every cell and keep what it shows; the file is written after each cell
    Run(Box<NotebookRun>),
    /// Turn `.ipynb` into `.rhai` with `// %%` between cells, or back
    Convert {
        /// The notebook
        #[arg(value_name = "IN")]
        input: PathBuf,
        /// The other form; without it the same name with the other ending
        #[arg(value_name = "OUT")]
        output: Option<PathBuf>,
    },
    /// Parse every cell without running it
    Check {
        /// The notebooks
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// How a notebook is run.
#[derive(Debug, Args)]
pub struct NotebookRun {
    /// The notebook, `.ipynb` or `.rhai`
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// Where to keep it with its results (default: IN itself, for a `.rhai` file the same name as `.ipynb`)
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// A parameter; set in a cell after the one tagged `parameters`
    #[arg(short, long = "parameter", value_name = "KEY=VALUE")]
    pub parameters: Vec<String>,
    /// Parameters from a TOML file; -p goes before it
    #[arg(short = 'f', long = "parameters-file", value_name = "FILE")]
    pub parameters_file: Option<PathBuf>,
    /// Seconds that one cell may take
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Go on after a cell that fails
    #[arg(long)]
    pub keep_going: bool,
    /// Write the notebook with its results as one page, too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Go on where a run into the same OUT was stopped
    #[arg(long)]
    pub resume: bool,
    /// Note in the file when each cell ran
    #[arg(long)]
    pub timestamps: bool,
    #[command(flatten)]
    pub session: Session,
}

/// The Jupyter kernel.
#[derive(Debug, Args)]
pub struct Kernel {
    #[command(subcommand)]
    pub command: KernelCommand,
}

/// What can be done with the kernel.
#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// Tell Jupyter of the kernel
    Install(KernelPlace),
    /// Take it away again
    Uninstall(KernelPlace),
    /// Serve a Jupyter client; Jupyter starts this
    Run {
        /// What Jupyter wrote for the connection
        #[arg(value_name = "CONNECTION_FILE")]
        connection: PathBuf,
        #[command(flatten)]
        session: Session,
    },
}

/// Where Jupyter looks for the kernel.
#[derive(Debug, Args)]
pub struct KernelPlace {
    /// The name that `jupyter --kernel` takes
    #[arg(long, value_name = "NAME", default_value = "longlens")]
    pub name: String,
    /// In the active Python environment instead of the user's folder
    #[arg(long)]
    pub sys_prefix: bool,
    /// Below this folder, in share/jupyter/kernels
    #[arg(long, value_name = "FOLDER", conflicts_with = "sys_prefix")]
    pub prefix: Option<PathBuf>,
}
