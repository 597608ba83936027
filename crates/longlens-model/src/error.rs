//! What can be wrong with a checkpoint, and what to do about it.

use longlens_core::setting::SettingError;
use longlens_kernel::linear::Unsupported;

/// Why a checkpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither a folder nor a model in the Hugging Face cache.
    #[error("no model `{name}`; looked in {}", looked.join(" and in "))]
    NotFound {
        /// What was asked for.
        name: String,
        /// Places searched.
        looked: Vec<String>,
        /// The closest name, if one is close.
        nearest: Option<String>,
        /// Models that are there.
        known: Vec<String>,
    },
    /// The cache has the model, in other revisions.
    #[error("`{name}` is in the cache, but not its revision `{revision}`")]
    NoRevision {
        /// The model.
        name: String,
        /// What was asked for.
        revision: String,
        /// Revisions that are there.
        known: Vec<String>,
    },
    /// A file where a folder is needed.
    #[error("{path} is a file; a model is a folder")]
    NotAFolder {
        /// The path.
        path: String,
    },
    /// A folder without a file that every checkpoint has.
    #[error("{folder} has no {file}")]
    MissingFile {
        /// The file.
        file: String,
        /// Where it should be.
        folder: String,
        /// Files there that may have been meant instead.
        instead: Vec<String>,
    },
    /// The system refused to read a file.
    #[error("cannot read {file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is not what its name says.
    #[error("{file} cannot be read: {problem}")]
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A field that is missing, of the wrong type or outside its range.
    #[error("{file}: `{field}` must be {expected}, but is {found}")]
    Field {
        /// The file.
        file: String,
        /// The field, with dots between levels.
        field: String,
        /// What is accepted.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A family that is not in [`crate::family::FAMILIES`].
    #[error("{file}: unknown `model_type` `{model_type}`")]
    UnknownFamily {
        /// The file.
        file: String,
        /// What is there.
        model_type: String,
        /// The closest name, if one is close.
        nearest: Option<&'static str>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// A field that asks for something longlens does not compute.
    #[error("{file}: `{field}` = {value} is not supported")]
    Unsupported {
        /// The file.
        file: String,
        /// The field, with dots between levels.
        field: String,
        /// What is there.
        value: String,
        /// What works.
        help: String,
    },
    /// RoPE parameters that are fine alone and impossible together.
    #[error("{file}: {error}")]
    Rope {
        /// The file.
        file: String,
        /// What is wrong with them.
        error: SettingError,
    },
    /// Weights that do not fit the model, or are no numbers: everything that was found.
    #[error("{file} cannot be loaded:{}", lines(problems))]
    Weights {
        /// The file, or the index of its parts.
        file: String,
        /// All problems, in the order of the model.
        problems: Vec<WeightProblem>,
    },
    /// A way to keep weights that the backend does not have.
    #[error(transparent)]
    Storage(#[from] Unsupported),
    /// More tokens than the model has embeddings.
    #[error("{file} has {tokenizer} tokens, but the model's `vocab_size` is {model}")]
    VocabularyMismatch {
        /// The tokenizer's file.
        file: String,
        /// Highest token id of the tokenizer, plus one.
        tokenizer: usize,
        /// Rows of the embedding.
        model: usize,
    },
}

/// One thing that is wrong with weights.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightProblem {
    /// A part that the index names.
    #[error("{file} is named by the index, but is not there")]
    MissingPart {
        /// The part.
        file: String,
    },
    /// A file that is cut short, or is no safetensors file.
    #[error("{file} {problem}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// A tensor that the model needs.
    #[error("`{name}` is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape than the config says.
    #[error("`{name}` has shape {found:?}, but the config needs {expected:?}")]
    WrongShape {
        /// The tensor.
        name: String,
        /// Shape by the config.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A number format that cannot be read.
    #[error("`{name}` is stored as {dtype}, which is not one of F32, F16, BF16")]
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// Its format.
        dtype: String,
    },
    /// NaN, infinity, or a number too large for the backend's format.
    #[error("`{name}` holds {value} at {index:?}; unusable numbers in it: {count}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// Place of the first one.
        index: Vec<usize>,
        /// The first one.
        value: f32,
        /// How many there are.
        count: usize,
    },
}

impl OpenError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotFound { nearest: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            Self::NotFound { known, .. } if known.is_empty() => {
                Some("give a folder with config.json; nothing is downloaded, and no cached models were found".into())
            }
            Self::NotFound { known, .. } => Some(format!("give a folder, or one of: {}", known.join(", "))),
            Self::NoRevision { known, .. } if known.is_empty() => Some("the download was not finished".into()),
            Self::NoRevision { known, .. } => Some(format!("one of: {}", known.join(", "))),
            Self::NotAFolder { .. } => Some("give the folder that holds config.json and the weights".into()),
            Self::MissingFile { instead, .. } if instead.is_empty() => None,
            Self::MissingFile { instead, .. } => Some(format!(
                "only safetensors weights are read; convert {} with transformers' `save_pretrained`",
                instead.join(", ")
            )),
            Self::UnknownFamily { nearest: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            Self::UnknownFamily { known, .. } => Some(format!("known families: {}", known.join(", "))),
            Self::Unsupported { help, .. } => Some(help.clone()),
            Self::Rope { error, .. } => error.help(),
            Self::Weights { problems, .. } => problems.iter().find_map(WeightProblem::help),
            Self::VocabularyMismatch { .. } => {
                Some("the tokenizer belongs to another model, or tokens were added".into())
            }
            Self::Storage(_) => Some("leave it out, or compute on the processor".into()),
            Self::Io { .. } | Self::Unreadable { .. } | Self::Field { .. } => None,
        }
    }
}

impl WeightProblem {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::MissingPart { .. } | Self::Damaged { .. } => Some("download the weights again".into()),
            Self::MissingTensor { name } if name == "lm_head.weight" => {
                Some("if the model shares its embedding, set `tie_word_embeddings` to true in config.json".into())
            }
            Self::MissingTensor { .. } | Self::WrongShape { .. } => {
                Some("config.json and the weights belong to different models".into())
            }
            Self::UnsupportedDtype { .. } => Some("use weights that are not quantized".into()),
            Self::NotFinite { .. } => None,
        }
    }
}

/// One line per problem.
fn lines(problems: &[WeightProblem]) -> String {
    problems.iter().flat_map(|problem| ["\n  ".into(), problem.to_string()]).collect()
}
