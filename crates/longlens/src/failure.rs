//! What ends the program early: one line, where it was, what to do next, and the exit code.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use longlens_app::Problem;
use longlens_core::lens::LensError;
use longlens_core::setting::SettingError;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use crate::tty::is_dumb;
use excerpt::Excerpt;

mod excerpt;

/// A reason to stop.
#[derive(Debug)]
pub struct Failure {
    message: String,
    help: Option<String>,
    /// A config file and the place in it.
    place: Option<Box<Excerpt>>,
    /// 0, 1 or 2.
    pub code: u8,
}

impl Failure {
    /// The command could not be carried out.
    pub fn failed(message: impl fmt::Display, help: Option<String>) -> Self {
        Self { message: message.to_string(), help, place: None, code: 1 }
    }

    /// The command was not a good one.
    pub fn usage(message: impl fmt::Display, help: impl Into<Option<String>>) -> Self {
        Self { message: message.to_string(), help: help.into(), place: None, code: 2 }
    }

    /// What a command came upon, as a file or a model, which is not a matter of how it was put.
    pub fn met(problem: Problem) -> Self {
        Self::failed(problem.message, problem.help)
    }

    /// The reader of our output went away: no reason for a message.
    pub fn quiet() -> Self {
        Self { message: String::new(), help: None, place: None, code: 0 }
    }

    /// The user stopped the command; what is finished was kept.
    pub fn interrupted() -> Self {
        Self::failed("interrupted", None)
    }

    /// Nothing to say, and this exit code.
    pub fn silent(code: u8) -> Self {
        Self { code, ..Self::quiet() }
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// A file could not be read or written.
    pub fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::failed(format!("cannot {doing} {}: {error}", path.display()), None)
    }

    /// Points into a file.
    #[must_use]
    pub fn at(mut self, file: &Path, text: &str, span: std::ops::Range<usize>) -> Self {
        self.place = Some(Box::new(Excerpt::new(file, text, span)));
        self
    }

    /// Says it on stderr, in colour where that is wanted. A terminal obeys none of it, and it has an end, whatever the names
    /// and files of others in it hold.
    pub fn show(&self) {
        if self.is_quiet() {
            return;
        }
        let plain = std::env::var_os("NO_COLOR").is_some() || is_dumb() || !io::stderr().is_terminal();
        let theme = if plain { GraphicalTheme::unicode_nocolor() } else { GraphicalTheme::unicode() };
        let mut text = String::new();
        let shown = Shown { failure: self, message: excerpt::shortened(&self.message) };
        let handler = GraphicalReportHandler::new_themed(theme).with_links(false);
        if handler.render_report(&mut text, &shown).is_err() {
            text.clone_from(&shown.message);
        }
        // nothing is left to tell anyone when stderr is gone
        let _ = writeln!(io::stderr(), "{}", text.trim_end());
    }

    /// Whether there is something to say.
    pub fn is_quiet(&self) -> bool {
        self.message.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A failure as a terminal may show it.
#[derive(Debug)]
struct Shown<'a> {
    failure: &'a Failure,
    message: String,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.failure.help.as_ref().map(|help| Box::new(excerpt::shortened(help)) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.failure.place.as_deref().map(|place| place as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = self.failure.place.as_ref().map(|place| place.label());
        label.map(|label| Box::new(std::iter::once(label)) as Box<dyn Iterator<Item = _>>)
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        let help = error.help();
        Self::usage(error, help)
    }
}

/// What a view refuses is an option that does not fit.
impl From<longlens_app::Problem> for Failure {
    fn from(problem: longlens_app::Problem) -> Self {
        Self::usage(problem.message, problem.help)
    }
}

impl From<longlens_eval::EvalError> for Failure {
    fn from(error: longlens_eval::EvalError) -> Self {
        use longlens_eval::EvalError as E;
        match error {
            E::Lens(error) => error.into(),
            error => {
                let help = error.help();
                if error.is_about_a_file() { Self::failed(error, help) } else { Self::usage(error, help) }
            }
        }
    }
}

impl From<longlens_plot::PlotError> for Failure {
    fn from(error: longlens_plot::PlotError) -> Self {
        let help = error.help();
        match error {
            longlens_plot::PlotError::UnknownExtension { .. } => Self::usage(error, help),
            error => Self::failed(error, help),
        }
    }
}

impl From<LensError> for Failure {
    fn from(error: LensError) -> Self {
        match error {
            LensError::Setting(error) => error.into(),
            LensError::Cancelled => Self::interrupted(),
            error => {
                let help = error.help();
                let usage = matches!(error, LensError::EmptyPrompt | LensError::OutOfRange { .. });
                if usage { Self::usage(error, help) } else { Self::failed(error, help) }
            }
        }
    }
}
