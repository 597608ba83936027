//! A command line that does not parse.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{Error, ErrorKind};
use clap::{Arg, ColorChoice, Command, CommandFactory, FromArgMatches};
use longlens_core::printable::{excerpt, printable, printable_line};

use crate::args::Cli;
use crate::args::language::in_one_word;
use crate::failure::Failure;
use crate::tty::is_dumb;

/// Characters of an argument that are repeated to its author.
const REPEATED: usize = 160;

/// Reads a command line. clap colours its errors for whatever names a terminal, and where `CI` is set for `TERM=dumb` too.
pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, Error> {
    let color = if is_dumb() { ColorChoice::Never } else { ColorChoice::Auto };
    let mut command = with_negative_numbers(Cli::command()).color(color);
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// A number below zero is a value, to be refused by its flag, and no flag that does not exist.
fn with_negative_numbers(command: Command) -> Command {
    let takes = |argument: Arg| {
        if argument.get_action().takes_values() && !argument.is_positional() {
            argument.allow_negative_numbers(true)
        } else {
            argument
        }
    };
    command.mut_args(takes).mut_subcommands(with_negative_numbers)
}

/// Says what is wrong with the arguments, or the help that they ask for. clap repeats what it was given, so it is given the
/// arguments anew, as a terminal may show them and with an end.
pub fn tell(error: &Error) -> ExitCode {
    // nothing is left to tell anyone when stderr is gone
    let told = |error: &Error| drop(error.print());
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print().and_then(|()| io::stdout().flush()) {
            Ok(()) => ExitCode::SUCCESS,
            // a reader that went away has what it wanted
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                Failure::failed(format!("cannot write the output: {error}"), None).show();
                ExitCode::FAILURE
            }
        };
    }
    let shown = in_one_word(std::env::args_os()).into_iter().map(|argument| {
        let argument = argument.to_string_lossy();
        excerpt(&printable_line(&argument), 0, REPEATED).0.into_owned()
    });
    match parse(shown) {
        Err(again) if again.kind() == error.kind() => told(&again),
        // what was shortened is another mistake than the whole, or none
        _ => told(&Error::raw(error.kind(), excerpt(&printable(&error.to_string()), 0, 4 * REPEATED).0)),
    }
    ExitCode::from(2)
}
