//! Rows that cannot be scored.

use longlens_core::nearest::nearest;

use super::SCORERS;

/// A row that the original could not have been given.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScoreError {
    /// No scorer has this name.
    #[error("there is no scorer `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The scorer that it resembles.
        nearest: Option<&'static str>,
    },
    /// A field is not there.
    #[error("`{field}` is missing, which `{scorer}` reads")]
    Missing {
        /// The scorer.
        scorer: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// A field holds something else than it should.
    #[error("`{field}` is {found}, but `{scorer}` reads {expected}")]
    Type {
        /// The scorer.
        scorer: &'static str,
        /// Name of the field.
        field: &'static str,
        /// What the scorer reads.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A scorer of whole data sets does not know this one.
    #[error("`{scorer}` does not know the task `{task}`")]
    Task {
        /// The scorer.
        scorer: &'static str,
        /// What was given.
        task: String,
        /// What it knows, separated by commas.
        known: String,
    },
    /// Texts whose common words would take too much memory to find.
    #[error("the texts have too many words to be compared")]
    TooLong,
    /// Chinese text without a way to cut it into words.
    #[error("`{scorer}` cuts texts into Chinese words, and this build has no dictionary")]
    NoDictionary {
        /// The scorer.
        scorer: &'static str,
    },
}

impl ScoreError {
    /// No scorer is called `name`.
    pub(super) fn unknown(name: &str) -> Self {
        Self::Unknown { name: name.to_owned(), nearest: nearest(name, SCORERS.iter().map(|scorer| scorer.name)) }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown { nearest, .. } => {
                // a line for every source
                let family = |name: &'static str| name.split('_').next();
                let mut list = String::new();
                for (at, scorer) in SCORERS.iter().enumerate() {
                    let is_first = at == 0 || family(SCORERS[at - 1].name) != family(scorer.name);
                    list.push_str(if is_first { "\n" } else { ", " });
                    list.push_str(scorer.name);
                }
                nearest.map_or_else(|| format!("one of:{list}"), |near| format!("did you mean `{near}`? All:{list}"))
            }
            Self::Missing { field, .. } => format!("give the row a field `{field}`"),
            Self::Type { field, expected, .. } => format!("make `{field}` {expected}"),
            Self::Task { known, .. } => format!("one of: {known}"),
            Self::TooLong => "cut them: what is read has to stay below 16000 words times 16000".to_owned(),
            Self::NoDictionary { .. } => {
                "build with the feature `jieba`, or give words as `jieba_prediction` and `jieba_references`".to_owned()
            }
        }
    }
}

/// Why a scorer ends without a score.
#[derive(Debug)]
pub(super) enum Stop {
    /// The original raises this exception.
    Raised(&'static str),
    /// The original could not have been called so.
    Refused(ScoreError),
}

impl From<ScoreError> for Stop {
    fn from(error: ScoreError) -> Self {
        Self::Refused(error)
    }
}
