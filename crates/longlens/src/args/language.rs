//! Flags of the commands that run cells: `repl`, `notebook`, `kernel`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use longlens_plot::Ground;

use super::{Colors, Device, OpeningArgs};

/// What every command that runs cells takes.
#[derive(Debug, Clone, Default, Args)]
pub struct SessionArgs {
    /// The model that cells open when they do not say which: `embedded`, a checkpoint folder, or `org/name[@revision]` in the
    /// Hugging Face cache
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    #[command(flatten)]
    pub opening: OpeningArgs,
    /// The folder whose files cells may read and write, without hidden ones (default: the working directory; read only
    /// where that lies in a hidden folder, and refused where it is the home folder or above it)
    #[arg(long, value_name = "FOLDER")]
    pub files: Option<PathBuf>,
    /// Let cells replace files that they did not write
    #[arg(long)]
    pub overwrite: bool,
    /// Let cells read and write all files: outside the folder, hidden ones, those of others
    #[arg(long)]
    pub allow_outside: bool,
    /// Steps of the language that one cell may take (default: two billion); cells can only lower it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_operations: Option<u64>,
    /// What the values of a session may take, as in 512m or 8g (default: a quarter of what the machine has left, 8g at most);
    /// cells can only lower it
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub memory_limit: Option<u64>,
}

impl SessionArgs {
    /// The same flags as words of a command line, to start another process with.
    pub fn words(&self) -> Vec<String> {
        let Self {
            model,
            opening: OpeningArgs { device, weights, trained_context, adapter, kv_offload },
            files,
            overwrite,
            allow_outside,
            max_operations,
            memory_limit,
        } = self;
        let values = [
            ("--model", model.clone()),
            ("--device", device.map(Device::name).map(str::to_owned)),
            ("--weights", weights.map(|weights| weights.to_string())),
            ("--trained-context", trained_context.as_ref().map(ToString::to_string)),
            ("--adapter", adapter.clone()),
            ("--files", files.as_ref().map(|folder| folder.to_string_lossy().into_owned())),
            ("--max-operations", max_operations.map(|n| n.to_string())),
            ("--memory-limit", memory_limit.map(|bytes| bytes.to_string())),
        ];
        let values = values.into_iter().filter_map(|(flag, value)| Some(format!("{flag}={}", value?)));
        let flags = [("--kv-offload", kv_offload), ("--overwrite", overwrite), ("--allow-outside", allow_outside)];
        values.chain(flags.into_iter().filter(|(_, is_set)| **is_set).map(|(flag, _)| flag.to_owned())).collect()
    }
}

fn size(text: &str) -> Result<u64, String> {
    longlens_notebook::memory::read_size(text)
        .ok_or_else(|| "not a size; write 512m, 1.5g or a number of bytes".to_owned())
}

/// The prompt.
#[derive(Debug, Args)]
pub struct ReplArgs {
    #[command(flatten)]
    pub session: SessionArgs,
    /// Neither read nor write the history of earlier sessions
    #[arg(long)]
    pub no_history: bool,
    /// How many colours the terminal shows
    #[arg(long, value_enum, default_value_t)]
    pub colors: Colors,
    /// How pictures are shown
    #[arg(long, value_enum, default_value_t)]
    pub images: Inline,
    /// What pictures stand on: a dark ground in a dark terminal, where it says so; `%theme` changes it
    #[arg(long, value_enum, default_value_t)]
    pub theme: TerminalGround,
}

/// What pictures stand on in a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum TerminalGround {
    /// As the terminal is: `COLORFGBG` says it, or the terminal when it is asked; light where neither does
    #[default]
    Auto,
    /// Dark on a white ground
    Light,
    /// Light on a dark ground
    Dark,
}

impl TerminalGround {
    /// The ground that this means; the terminal may be asked.
    pub fn ground(self) -> Ground {
        match self {
            Self::Auto => crate::terminal::ground::of_terminal().unwrap_or_default(),
            Self::Light => Ground::Light,
            Self::Dark => Ground::Dark,
        }
    }
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
pub struct NotebookArgs {
    #[command(subcommand)]
    pub command: NotebookCommand,
}

/// What can be done with notebooks.
#[derive(Debug, Subcommand)]
pub enum NotebookCommand {
    /// Run every cell and keep what it shows; the file is written after each cell
    Run(Box<NotebookRunArgs>),
    /// Turn `.ipynb` into `.rhai` with `// %%` between cells, or back
    Convert {
        /// The notebook
        #[arg(value_name = "IN")]
        input: PathBuf,
        /// The other form; without it the same name with the other ending
        #[arg(value_name = "OUT", conflicts_with = "named")]
        output: Option<PathBuf>,
        /// The same by a flag, as `run` has it
        #[arg(short = 'o', long = "output", value_name = "OUT")]
        named: Option<PathBuf>,
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
pub struct NotebookRunArgs {
    /// The notebook, `.ipynb` or `.rhai`
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// Where to keep it with its results (default: IN itself, for a `.rhai` file the same name as `.ipynb`; where that holds
    /// results they are replaced once no cell failed, and until then the new ones have the ending `.partial.ipynb`)
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// A parameter, also as two words; set in a cell after the one tagged `parameters`. Numbers, True, False and None are
    /// read as papermill does, lists and tables as TOML, anything else is text; a whole number is a float where the cell
    /// has one
    #[arg(short, long = "parameter", alias = "parameters", value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub parameters: Vec<String>,
    /// A parameter whose value is text whatever it looks like, also as two words
    #[arg(
        short = 'r',
        long = "parameter-raw",
        aliases = ["parameters_raw", "parameters-raw"],
        value_name = "NAME=TEXT",
        allow_hyphen_values = true
    )]
    pub parameters_raw: Vec<String>,
    /// Parameters in YAML; -p and -r go before them
    // a document may begin with `---`, a list with `- `
    #[arg(
        short = 'y',
        long = "parameters-yaml",
        alias = "parameters_yaml",
        value_name = "YAML",
        allow_hyphen_values = true
    )]
    pub parameters_yaml: Vec<String>,
    /// The same in base64
    #[arg(short = 'b', long = "parameters-base64", alias = "parameters_base64", value_name = "BASE64")]
    pub parameters_base64: Vec<String>,
    /// Parameters from a TOML, YAML or JSON file; -y, -p and -r go before it
    #[arg(short = 'f', long = "parameters-file", alias = "parameters_file", value_name = "FILE")]
    pub parameters_file: Vec<PathBuf>,
    /// Seconds that one cell may take
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Go on after a cell that fails
    #[arg(long)]
    pub keep_going: bool,
    /// Write the notebook with its results as one page, too, into an .html file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Go on where a run into the same OUT with the same parameters was stopped
    #[arg(long)]
    pub resume: bool,
    /// Note in the file when each cell ran
    #[arg(long)]
    pub timestamps: bool,
    #[command(flatten)]
    pub session: SessionArgs,
}

/// The Jupyter kernel.
#[derive(Debug, Args)]
pub struct KernelArgs {
    #[command(subcommand)]
    pub command: KernelCommand,
}

/// What can be done with the kernel.
#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// Tell Jupyter of the kernel, to be started with the model, the weights, the device and the other flags given here
    Install {
        #[command(flatten)]
        place: KernelPlaceArgs,
        /// What Jupyter starts it with
        #[command(flatten)]
        session: Box<SessionArgs>,
    },
    /// Take it away again
    #[command(visible_alias = "uninstall")]
    Remove(KernelPlaceArgs),
    /// Serve a Jupyter client; Jupyter starts this
    Run {
        /// What Jupyter wrote for the connection
        #[arg(value_name = "CONNECTION_FILE")]
        connection: PathBuf,
        #[command(flatten)]
        session: SessionArgs,
    },
}

/// Where Jupyter looks for the kernel.
#[derive(Debug, Args)]
pub struct KernelPlaceArgs {
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

/// Arguments as papermill takes them, as this program does: `-p NAME VALUE` in two words becomes `-p=NAME=VALUE`. A first word
/// with `=` in it is a parameter on its own.
pub fn in_one_word(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let args: Vec<OsString> = args.into_iter().collect();
    let is_run = args.get(1).is_some_and(|arg| arg == "notebook") && args.get(2).is_some_and(|arg| arg == "run");
    if !is_run {
        return args;
    }
    let mut words = args.into_iter().peekable();
    let mut one = Vec::new();
    while let Some(word) = words.next() {
        let flag = match word.to_str() {
            Some("-p" | "--parameter" | "--parameters") => "--parameter",
            Some("-r" | "--parameter-raw" | "--parameters-raw" | "--parameters_raw") => "--parameter-raw",
            Some("--") => {
                one.push(word);
                one.extend(words.by_ref());
                continue;
            }
            _ => {
                one.push(word);
                continue;
            }
        };
        let Some(name) = words.next() else {
            one.push(word);
            continue;
        };
        let mut pair = OsString::from(flag);
        pair.push("=");
        pair.push(&name);
        let is_whole = name.to_string_lossy().contains('=') || name.to_string_lossy().starts_with('-');
        if let Some(value) = words.next_if(|_| !is_whole) {
            pair.push("=");
            pair.push(value);
        }
        one.push(pair);
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_in_words_are_the_same_flags() {
        #[derive(Debug, clap::Parser)]
        struct Words {
            #[command(flatten)]
            session: SessionArgs,
        }
        let read = |words: &[String]| {
            let program = std::iter::once("longlens".to_owned());
            <Words as clap::Parser>::try_parse_from(program.chain(words.iter().cloned())).unwrap().session
        };
        let line = "--model=a/b@c --device=cpu --weights=q8 --trained-context=16k --files=/data/my --max-operations=500 \
                    --memory-limit=1.5g --overwrite --allow-outside";
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let session = read(&words);
        assert_eq!(session.memory_limit, Some(3 << 29));
        assert_eq!(format!("{:?}", read(&session.words())), format!("{session:?}"));
        assert_eq!(session.words().len(), words.len());
        assert!(SessionArgs::default().words().is_empty());
    }

    #[test]
    fn parameters_come_in_one_word_or_two() {
        for (line, expected) in [
            ("notebook run in.ipynb -p trials 7", "notebook run in.ipynb --parameter=trials=7"),
            ("notebook run -p trials=7 in.ipynb", "notebook run --parameter=trials=7 in.ipynb"),
            (
                "notebook run -p a -3 -r name 007 in.ipynb",
                "notebook run --parameter=a=-3 --parameter-raw=name=007 in.ipynb",
            ),
            ("notebook run in.ipynb -p", "notebook run in.ipynb -p"),
            ("notebook run in.ipynb -p alone", "notebook run in.ipynb --parameter=alone"),
            ("notebook run -p a x=y -- -p b", "notebook run --parameter=a=x=y -- -p b"),
            ("generate -p a b", "generate -p a b"),
        ] {
            let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
            let program = std::iter::once(OsString::from("longlens"));
            let one = in_one_word(program.chain(words(line)));
            assert_eq!(one[1..], words(expected), "{line}");
        }
    }
}
