//! longlens: a workbench for extending a language model's context without training.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

mod args;
mod backend;
mod commands;
mod config;
mod failure;
mod inputs;
mod journal;
mod kept;
mod memory;
mod misuse;
mod prompt;
mod steps;
mod terminal;
mod tty;

use args::{Cli, Command};
use failure::Failure;

/// What cells hold is limited, so it is counted.
#[global_allocator]
static ALLOCATOR: longlens_notebook::memory::Counted = longlens_notebook::memory::Counted;

fn main() -> ExitCode {
    memory::keep_freed_pages();
    terminal::limits_are_errors();
    if let Ok(program) = std::env::current_exe() {
        longlens_eval::document::extract_with(program);
    }
    let cli = match misuse::parse(args::language::in_one_word(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return misuse::tell(&error),
    };
    // a command does all of its work whether or not anybody reads what it says
    let ended = run(cli).and_then(|()| terminal::unwritten().map_or(Ok(()), Err));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.show();
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let Some(command) = cli.command else { return without_command(&cli.workbench) };
    match command {
        Command::Workbench(args) => commands::workbench::run(&args),
        Command::Screenshot(args) => commands::screenshot::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Generate(args) => commands::generate::run(&args),
        Command::Cache(args) => commands::cache::run(&args.command),
        Command::Chat(args) => commands::chat::run(&args),
        Command::Logits(args) => commands::logits::run(&args),
        Command::Passkey(args) => commands::passkey::run(&args),
        Command::Perplexity(args) => commands::perplexity::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(&args),
        Command::Sweep(args) => commands::evaluate::sweep(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Results(args) => commands::results::run(&args),
        Command::Tasks(args) => commands::tasks::run(&args),
        Command::Score(args) => commands::score::run(&args),
        Command::Positions(args) => commands::positions::run(&args),
        Command::Chunks(args) => commands::chunks::run(&args),
        Command::Attention(args) => commands::attention::run(&args),
        Command::Plot(args) => commands::plot::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Methods(args) => commands::methods::run(&args),
        Command::Model(args) => commands::model::run(&args),
        Command::Convert(args) => commands::convert::run(&args),
        Command::Repl(args) => commands::language::deep(|| commands::repl::run(&args)),
        Command::Notebook(args) => commands::language::deep(|| commands::notebook::run(&args.command)),
        Command::Kernel(args) => commands::kernel::run(&args.command),
        Command::ExtractText { format } => commands::extract::run(&format),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "longlens", &mut script);
            terminal::Terminal::new(false).say(String::from_utf8_lossy(&script).trim_end())
        }
    }
}

/// The workbench on a terminal; elsewhere, and with no flag, the comparison of all methods.
fn without_command(args: &args::WorkbenchArgs) -> Result<(), Failure> {
    let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if is_terminal || std::env::args_os().len() > 1 {
        return commands::workbench::run(args);
    }
    match Cli::parse_from(["longlens", "demo"]).command {
        Some(Command::Demo(demo)) => commands::demo::run(&demo),
        _ => unreachable!("demo is a command"),
    }
}
