//! `longlens kernel`: the Jupyter kernel.

use std::path::{Path, PathBuf};

use longlens_notebook::interpreter::{Interpreter, Nobody};
use longlens_notebook::kernel::{self, KernelError, Place};

use super::language::{check_model, session};
use crate::args::OpeningArgs;
use crate::args::language::{KernelCommand, KernelPlaceArgs, SessionArgs};
use crate::failure::Failure;
use crate::terminal::Terminal;
use longlens_app::steps::quoted;

pub fn run(command: &KernelCommand) -> Result<(), Failure> {
    match command {
        KernelCommand::Install { place, session: args } => {
            // what is impossible is said here and not where a notebook is opened
            session(args, true, &Nobody::out())?;
            let files = args.files.as_deref().map(absolute).transpose()?.map(PathBuf::from);
            check_model(args)?;
            // Jupyter starts the kernel in the folder of a notebook
            let there = |name: &Option<String>| match name {
                Some(name) if Path::new(name).exists() => absolute(Path::new(name)).map(Some),
                other => Ok(other.clone()),
            };
            let opening = OpeningArgs { adapter: there(&args.opening.adapter)?, ..args.opening.clone() };
            let words = SessionArgs { model: there(&args.model)?, files, opening, ..(**args).clone() }.words();
            let program = std::env::current_exe()
                .map_err(|error| Failure::failed(format!("cannot tell where this program lies: {error}"), None))?;
            let folder = kernel::install(&place.name, &place_of(place), &program, &words).map_err(refused)?;
            let started = kernel::command(&folder).unwrap_or_default();
            let name = &place.name;
            let named = (name != "longlens").then(|| format!(" --name {name}"));
            // Jupyter looks below the prefix that its Python lives in, and nowhere below others
            let prefix = place.prefix.as_deref().map(absolute).transpose()?;
            let placed = prefix.as_ref().map(|prefix| format!(" --prefix {}", quoted(prefix)));
            let placed = placed.or_else(|| place.sys_prefix.then(|| " --sys-prefix".to_owned()));
            let elsewhere = prefix.map_or(String::new(), |prefix| {
                let path = quoted(&format!("{prefix}/share/jupyter"));
                format!("A Jupyter of another prefix finds it with JUPYTER_PATH={path} in its environment.\n\n")
            });
            Terminal::new(false).say(format_args!(
                "installed {}\nJupyter starts it as: {started}\n\n{elsewhere}\
                 jupyter lab                               then choose the kernel in the launcher\n\
                 jupyter console --kernel {name}\n\
                 jupyter nbconvert --to notebook --execute IN.ipynb\n\
                 jupyter nbconvert --to script --template longlens IN.ipynb\n\
                 longlens kernel remove{}",
                folder.display(),
                [named, placed].into_iter().flatten().collect::<String>(),
            ))
        }
        KernelCommand::Remove(place) => {
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

/// A folder as Jupyter can name it from wherever it starts kernels. Its files hold UTF-8 alone.
fn absolute(folder: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(folder).map_err(|error| Failure::io("use", folder, &error))?;
    path.into_os_string().into_string().map_err(|_| {
        let help = "rename it, or start the kernel's server in it".to_owned();
        Failure::usage(format!("{} is not named in UTF-8, and Jupyter's files are", folder.display()), help)
    })
}

fn place_of(place: &KernelPlaceArgs) -> Place {
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
