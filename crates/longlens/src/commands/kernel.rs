//! `longlens kernel`: the Jupyter kernel.

use std::path::{Path, PathBuf};

use longlens_notebook::interpreter::{Interpreter, Nobody};
use longlens_notebook::kernel::{self, KernelError, Place};

use super::language::session;
use crate::args::language::{KernelCommand, KernelPlace, Session};
use crate::failure::Failure;
use crate::terminal::Terminal;

pub fn run(command: &KernelCommand) -> Result<(), Failure> {
    match command {
        KernelCommand::Install { place, session: args } => {
            // what is impossible is said here and not where a notebook is opened
            session(args, true, &Nobody::out())?;
            let words = Session { files: args.files.as_deref().map(absolute).transpose()?, ..(**args).clone() }.words();
            let program = std::env::current_exe()
                .map_err(|error| Failure::failed(format!("cannot tell where this program lies: {error}"), None))?;
            let folder = kernel::install(&place.name, &place_of(place), &program, &words).map_err(refused)?;
            Terminal::new(false).say(format_args!("installed {}", folder.display()))
        }
        KernelCommand::Uninstall(place) => {
            let folder = kernel::uninstall(&place.name, &place_of(place)).map_err(refused)?;
            Terminal::new(false).say(format_args!("removed {}", folder.display()))
        }
        KernelCommand::Run { connection, session: args } => {
            // what is impossible is said here, where Jupyter's log shows it
            session(args, true, &Nobody::out())?;
            let args = args.clone();
            let make = move || -> Box<dyn Interpreter> {
                Box::new(session(&args, true, &Nobody::out()).expect("the same flags made a session a moment ago"))
            };
            kernel::serve(connection, Box::new(make)).map_err(refused)?;
            // a cell that does not stop must not keep the process
            std::process::exit(0);
        }
    }
}

/// A folder as Jupyter can name it from wherever it starts kernels.
fn absolute(folder: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(folder).map_err(|error| Failure::io("use", folder, &error))
}

fn place_of(place: &KernelPlace) -> Place {
    match (&place.prefix, place.sys_prefix) {
        (Some(prefix), _) => Place::Prefix(prefix.clone()),
        (None, true) => Place::SysPrefix,
        (None, false) => Place::User,
    }
}

fn refused(error: KernelError) -> Failure {
    let help = error.help().map(str::to_owned);
    Failure::failed(error, help)
}
