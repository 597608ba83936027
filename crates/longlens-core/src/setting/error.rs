//! What can be wrong with a setting, and what to do about it.

/// What can be wrong with a setting.
#[allow(missing_docs, reason = "what a field holds is said by the message that it stands in")]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingError {
    /// No entry of that name.
    #[error("unknown {what} `{name}`")]
    UnknownName {
        /// `method` or `RoPE scaling`.
        what: &'static str,
        /// What was given.
        name: String,
        /// The closest name, if one is close.
        nearest: Option<String>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// No such parameter.
    #[error("`{owner}` has no parameter `{name}`")]
    UnknownParameter {
        /// Method or scaling.
        owner: &'static str,
        /// What was given.
        name: String,
        /// The closest name, if one is close.
        nearest: Option<String>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// Not of the form `name:key=value,key=value`.
    #[error("cannot read `{text}`: {problem}")]
    Form {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value of the wrong type or outside its range.
    #[error("`{owner}`: {parameter} = {given} is not {expected}")]
    BadValue {
        /// Method or scaling.
        owner: &'static str,
        parameter: &'static str,
        /// What was given.
        given: String,
        /// What is accepted.
        expected: String,
    },
    /// A value of a run's setting that is of the wrong type or outside its range.
    #[error("{name} = {given} is not {expected}")]
    NotAccepted {
        /// The setting.
        name: &'static str,
        /// What was given.
        given: String,
        /// What is accepted.
        expected: String,
    },
    /// A parameter of a method that has none, since a script wrote it.
    #[error("`{name}` was written in a script and has no parameter `{parameter}`")]
    NoParameters {
        /// The method.
        name: String,
        /// What was given.
        parameter: String,
    },
    /// A method that another session's script wrote.
    #[error("`{name}` was written in a script and exists only where that script runs")]
    ScriptOnly {
        /// The method.
        name: String,
    },
    /// A sequence longer than what a method was written out for.
    #[error("`{name}` was written out for {covers} tokens, the sequence needs {n_tokens}")]
    TooLong {
        /// The method.
        name: String,
        /// Tokens that it covers.
        covers: usize,
        /// Tokens of the sequence.
        n_tokens: usize,
    },
    /// Every layer keeps a window of its own, and none is left for the method.
    #[error(
        "every layer of the model has a window of its own and layer_windows = keep keeps them all, so that `{method}` would act on no layer"
    )]
    NoLayerLeft {
        /// The method.
        method: String,
    },
    /// Values that are fine alone and impossible together.
    #[error("`{owner}` is impossible with these values: {inequality} does not hold")]
    Impossible {
        /// Method or scaling.
        owner: &'static str,
        /// The inequality that failed, with its numbers.
        inequality: String,
        /// The nearest values that work.
        nearest: String,
    },
}

impl SettingError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UnknownName { nearest: Some(name), .. } | Self::UnknownParameter { nearest: Some(name), .. } => {
                Some(format!("did you mean `{name}`?"))
            }
            Self::UnknownName { known, .. } => Some(format!("one of: {}", known.join(", "))),
            Self::UnknownParameter { known, owner, .. } if known.is_empty() => {
                Some(format!("`{owner}` takes no parameters"))
            }
            Self::UnknownParameter { known, .. } => Some(format!("its parameters: {}", known.join(", "))),
            Self::Form { .. } => Some("write `name:key=value,key=value`".into()),
            Self::NoParameters { .. } => Some("change the script, or choose a method of the catalog".into()),
            Self::ScriptOnly { .. } => Some("run the script that defines it".into()),
            Self::TooLong { n_tokens, .. } => {
                Some(format!("write it out for at least {n_tokens} tokens, or feed fewer"))
            }
            Self::NoLayerLeft { .. } => Some(
                "set layer_windows to auto, and the method takes the windows' place; or take the method `full`".into(),
            ),
            Self::BadValue { .. } | Self::NotAccepted { .. } => None,
            Self::Impossible { nearest, .. } => Some(nearest.clone()),
        }
    }
}
