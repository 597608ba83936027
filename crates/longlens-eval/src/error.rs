//! What can go wrong while generating and measuring.

use std::path::PathBuf;

use longlens_core::lens::LensError;
use longlens_core::setting::SettingError;

/// What can go wrong while generating and measuring.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The model refused or failed.
    #[error(transparent)]
    Lens(#[from] LensError),
    /// A value outside its range.
    #[error("{name} = {value} is not {expected}")]
    Value {
        /// Name of the value.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// Nothing to do.
    #[error("there are no {what}")]
    Nothing {
        /// What is missing.
        what: &'static str,
    },
    /// What was given as a depth is none.
    #[error("`{text}` is not a depth")]
    Depth {
        /// What was given.
        text: String,
        /// What was probably meant.
        help: String,
    },
    /// An answer that its scorer cannot read.
    #[error("{task} {id}: {problem}")]
    Score {
        /// The task.
        task: String,
        /// The sample.
        id: String,
        /// What the scorer says.
        problem: String,
        /// What to do about it.
        help: String,
    },
    /// A sample that is made otherwise than when it was counted.
    #[error(
        "{task} {id}: the sample is not the one that was counted: files that it is made from have changed meanwhile"
    )]
    Changed {
        /// The task.
        task: &'static str,
        /// The sample.
        id: String,
    },
    /// A finished sample that could not be kept, or a file that the place where samples are run does not give away.
    #[error("{problem}")]
    Store {
        /// What is wrong, and with which file.
        problem: String,
        /// What to do about it.
        help: String,
    },
    /// A task's file that was not given.
    #[error("`{task}` is made from a file, and `{parameter}` names none")]
    NoFile {
        /// The task.
        task: &'static str,
        /// The setting that names it.
        parameter: &'static str,
        /// What the file holds.
        help: String,
    },
    /// A task's file that is not in the folder that was given.
    #[error("{folder}: the folder holds no {files} (nor .json, .parquet, .csv)")]
    NotInFolder {
        /// The folder, as it was named.
        folder: String,
        /// Names of files that were looked for.
        files: String,
        /// What to do.
        help: String,
    },
    /// No template has this name.
    #[error("unknown passkey template `{name}`")]
    UnknownTemplate {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The prompt without any filler is longer than asked for.
    #[error("a `{template}` prompt cannot be {length} tokens long: without filler it already has {shortest}")]
    TooShort {
        /// Name of the template.
        template: &'static str,
        /// Tokens asked for, question and answer included.
        length: usize,
        /// Tokens of the shortest prompt.
        shortest: usize,
    },
    /// Filler that makes no prompt longer.
    #[error(
        "a `{template}` prompt cannot be made {length} tokens long: with {n_pieces} sentences of filler it has {n_tokens}"
    )]
    NoFiller {
        /// Name of the template.
        template: &'static str,
        /// Tokens asked for.
        length: usize,
        /// Sentences of filler in the longest prompt that was tried.
        n_pieces: usize,
        /// Tokens of that prompt.
        n_tokens: usize,
    },
    /// A prompt whose smallest haystack leaves no room for it.
    #[error(
        "a `{task}` prompt cannot be {length} tokens long: the shortest that was tried has {shortest}, answer included"
    )]
    NoRoom {
        /// The task.
        task: &'static str,
        /// Tokens asked for, answer included.
        length: usize,
        /// Tokens of the shortest prompt that was tried.
        shortest: usize,
        /// Whether the fixed mode has shorter ones.
        is_shorter_fixed: bool,
    },
    /// Fewer words than a list of words needs.
    #[error("a `{task}` prompt of this length lists {needed} different words, and there are {held}")]
    TooFewWords {
        /// The task.
        task: &'static str,
        /// Words that there are.
        held: usize,
        /// Words that are needed.
        needed: usize,
    },
    /// Too few tokens to measure.
    #[error("no document has {needed} tokens: the longest has {longest}")]
    ShortDocuments {
        /// Tokens of the longest length that was to be measured.
        needed: usize,
        /// Tokens of the longest document.
        longest: usize,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file as it was named; `stdin` for what came from there.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that holds something else than it should.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file as it was named; `stdin` for what came from there.
        path: PathBuf,
        /// What is wrong with it, and where.
        problem: String,
        /// What to do about it.
        help: String,
    },
    /// A token file that makes sense in two ways.
    #[error("{} makes sense as {}", path.display(), formats.join(" and as "))]
    AmbiguousTokens {
        /// The file as it was named; `stdin` for what came from there.
        path: PathBuf,
        /// Names of the formats.
        formats: Vec<&'static str>,
    },
    /// A line of a JSONL file that does not say what it should.
    #[error("line {line} of {}: {reason}", path.display())]
    Line {
        /// The file as it was named; `stdin` for what came from there.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
        /// What to do about it.
        help: String,
    },
}

impl EvalError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Lens(error) => error.help(),
            Self::Nothing { what } => Some(format!("give at least one of the {what}")),
            Self::UnknownTemplate { known, .. } => Some(format!("one of: {known}")),
            Self::NoFiller { .. } => Some(
                "the tokenizer makes one token of many words, as one without a `pre_tokenizer` does whose vocabulary lacks \
                 them: use the model's own tokenizer.json"
                    .into(),
            ),
            Self::NoRoom { shortest, is_shorter_fixed: true, .. } => Some(format!(
                "ask for at least {shortest} tokens, or for `mode=fixed`, whose prompts can be shorter than those of the script"
            )),
            Self::TooShort { shortest, .. } | Self::NoRoom { shortest, .. } => Some(format!("ask for at least {shortest} tokens")),
            Self::TooFewWords { .. } => Some(
                "ask for a shorter length, or give more words as `words=FILE`: RULER's english_words.json, or a text with a word a line, \
                 such as /usr/share/dict/words"
                    .into(),
            ),
            Self::ShortDocuments { longest, .. } => Some(format!("measure at most {longest} tokens, or longer text")),
            Self::AmbiguousTokens { .. } => {
                Some("say which with `token_format`: u16, u32 or i64".into())
            }
            Self::Score { help, .. } | Self::Store { help, .. } | Self::NoFile { help, .. } | Self::NotInFolder { help, .. } | Self::Depth { help, .. } | Self::File { help, .. } | Self::Line { help, .. } => Some(help.clone()),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("check the name; it counts from the working directory".into())
            }
            Self::Changed { .. } => {
                let again = "run the same command again; where that says the same, delete `tasks` in the folder of results";
                Some(format!("{again}. What is finished is kept"))
            }
            Self::Value { .. } | Self::Io { .. } => None,
        }
    }

    /// Whether a task has no file: of a family, the others may have theirs.
    pub fn lacks_a_file(&self) -> bool {
        matches!(self, Self::NoFile { .. } | Self::NotInFolder { .. })
    }

    /// Whether a file is to blame rather than how the call was put.
    pub fn is_about_a_file(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::File { .. }
                | Self::NotInFolder { .. }
                | Self::AmbiguousTokens { .. }
                | Self::Line { .. }
        )
    }
}

impl From<SettingError> for EvalError {
    fn from(error: SettingError) -> Self {
        Self::Lens(error.into())
    }
}

/// What is wrong with a line that is no JSON, without the number of the line, which is always 1 to a parser of one line.
pub fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(problem) => format!("{problem} at column {column}"),
        None => text,
    }
}

/// An error when `value` is not accepted.
pub(crate) fn expect(
    accepted: bool,
    name: &'static str,
    value: impl std::fmt::Display,
    expected: &'static str,
) -> Result<(), EvalError> {
    if accepted { Ok(()) } else { Err(EvalError::Value { name, value: value.to_string(), expected }) }
}
