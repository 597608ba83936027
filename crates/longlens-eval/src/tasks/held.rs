//! Files in memory, and the samples of tasks that are made from them.

use std::collections::BTreeMap;

use longlens_core::scripted::ByteCodec;
use longlens_core::spec::ModelSpec;

use super::{Ask, Files, Task};
use crate::error::EvalError;
use crate::sample::{Answering, Prompt, Rule, Sample};

/// Names and contents.
pub struct Held(BTreeMap<String, Vec<u8>>);

impl Held {
    pub fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect())
    }

    /// A file of JSON lines.
    pub fn rows(name: &str, rows: &[serde_json::Value]) -> Self {
        let lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
        Self::new(&[(name, &lines.join("\n"))])
    }

    pub fn bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self([(name.to_owned(), bytes)].into())
    }

    /// All samples of a task and what it notes, for a model of 2048 tokens that are bytes.
    pub fn try_make(&self, text: &str) -> Result<(Vec<Sample>, Vec<String>), EvalError> {
        let (setting, spec) = (Task::parse(text)?, ModelSpec::tiny(2048));
        let mut samples = Ask { setting: &setting, spec: &spec, codec: &ByteCodec, files: self }.samples()?;
        let made: Result<Vec<_>, _> = (0..samples.n).map(|at| (samples.make)(at, &ByteCodec)).collect();
        Ok((made?, samples.notes))
    }

    pub fn make(&self, text: &str) -> Vec<Sample> {
        self.try_make(text).unwrap_or_else(|error| panic!("{text}: {error}; {:?}", error.help())).0
    }

    /// An error and its help, as a user reads them.
    pub fn refused(&self, text: &str) -> String {
        let error = self.try_make(text).expect_err("it is refused");
        format!("{error} | {}", error.help().unwrap_or_default())
    }
}

impl Files for Held {
    fn read(&self, name: &str) -> Result<Vec<u8>, EvalError> {
        let missing = || EvalError::Io { path: name.into(), source: std::io::ErrorKind::NotFound.into() };
        self.0.get(name).cloned().ok_or_else(missing)
    }

    fn folder(&self, name: &str) -> Result<Option<Vec<String>>, EvalError> {
        let inside = |file: &&String| file.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
        let direct = |file: &&String| !file[name.len() + 1..].contains('/');
        let all: Vec<_> = self.0.keys().filter(inside).collect();
        let files = all.iter().copied().filter(direct).cloned().collect();
        Ok((!all.is_empty()).then_some(files))
    }
}

/// The text of a prompt.
pub fn text(sample: &Sample) -> &str {
    sample.prompt.text().expect("a prompt of text")
}

/// Whether the model's own first token comes before a prompt.
pub fn is_special(prompt: &Prompt) -> bool {
    matches!(prompt, Prompt::Text { special: true, .. })
}

/// How the answer to a sample is had.
pub fn answering(sample: &Sample) -> &Answering {
    match &sample.rule {
        Rule::Answer(answering) => answering,
        Rule::Loss { .. } => panic!("{} is answered", sample.id),
    }
}
