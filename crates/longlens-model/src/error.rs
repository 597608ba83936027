//! What can be wrong with a checkpoint, and what to do about it.

use std::borrow::Cow;

use longlens_core::setting::SettingError;
use longlens_kernel::linear::Unsupported;

/// Why a checkpoint could not be opened.
#[allow(missing_docs, reason = "what a field holds is said by the message that it stands in")]
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
    /// Weights in a format of another program's.
    #[error("{file}: the weights are quantized {format} (`{field}`), which is not read")]
    Quantized {
        file: String,
        /// The field of the config that says so.
        field: String,
        /// Its bits, where they are told, and what it is called.
        format: String,
    },
    /// A file where a folder is needed.
    #[error("{path} is no model: a model is a folder, or a file of weights (.gguf, .safetensors, .bin)")]
    NotAFolder { path: String },
    /// A folder without a file that every checkpoint has.
    #[error("{folder} has no {file}")]
    MissingFile {
        file: String,
        /// Where it should be.
        folder: String,
        /// Files there that may have been meant instead.
        instead: Vec<String>,
    },
    /// The system refused to read a file.
    #[error("cannot read {file}: {source}")]
    Io {
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system refused to write a file.
    #[error("cannot write {file}: {source}")]
    Unwritable {
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// What Git LFS leaves where a file was not fetched.
    #[error("{file} is a Git LFS pointer, not the file itself")]
    LfsPointer { file: String },
    /// A file that is not what its name says.
    #[error("{file} cannot be read: {}", cut(problem))]
    Unreadable {
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A field that is missing, of the wrong type or outside its range.
    #[error("{file}: `{}` must be {expected}, but is {found}", cut(field))]
    Field {
        file: String,
        /// The field, with dots between levels.
        field: String,
        /// What is accepted.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A family that is not in [`crate::families::FAMILIES`].
    #[error("{file}: unknown `model_type` `{}`", cut(model_type))]
    UnknownFamily {
        file: String,
        /// What is there.
        model_type: String,
        /// The closest name, if one is close.
        nearest: Option<&'static str>,
        /// All names.
        known: Vec<&'static str>,
    },
    /// A field that asks for something longlens does not compute.
    #[error("{file}: `{}` = {value} is not supported", cut(field))]
    Unsupported {
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
}

/// One thing that is wrong with weights.
#[allow(missing_docs, reason = "what a field holds is said by the message that it stands in")]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightProblem {
    /// A part that the index names.
    #[error("{} is named by the index, but is not there", cut(file))]
    MissingPart {
        /// The part.
        file: String,
    },
    /// A file that is cut short, or is no safetensors file.
    #[error("{} {}", cut(file), cut(problem))]
    Damaged {
        file: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// A part of several, without an index that names it.
    #[error("{file} is not there; of {n_parts} parts the folder has {n_found}")]
    AbsentPart {
        /// The part.
        file: String,
        /// How many there should be.
        n_parts: usize,
        /// How many there are.
        n_found: usize,
    },
    /// A tensor that the model needs.
    #[error("`{}` is missing", cut(name))]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// Layers of which nothing is there.
    #[error("layers {first} to {last} are missing: the config's `num_hidden_layers` is {}, the file has {first} layers", last + 1)]
    MissingLayers {
        /// The first of them.
        first: usize,
        /// The last one.
        last: usize,
    },
    /// Weights of GPTQ, AWQ and the like, in whole numbers with scales beside them.
    #[error("`{}` holds quantized weights in the format of {format}, which are not read", cut(name))]
    Quantized {
        /// One of their tensors.
        name: String,
        /// Whose format it is.
        format: &'static str,
    },
    /// None of the names is one of this family.
    #[error("none of its tensors has a name of the model that config.json describes; it holds {held}")]
    OtherNames {
        /// The first names.
        held: String,
        /// What it is, where that is known.
        help: String,
    },
    /// A tensor that would change the numbers, and that the model does not use.
    #[error("`{}` is in the file, and {reason}", cut(name))]
    Unused {
        /// The tensor.
        name: String,
        /// Why that matters, as the end of a sentence.
        reason: &'static str,
        /// What to do about it.
        help: &'static str,
    },
    /// A tensor of another shape than the config says.
    #[error("`{}` has shape {found:?}, but the config needs {expected:?}", cut(name))]
    WrongShape {
        /// The tensor.
        name: String,
        /// Shape by the config.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A number format that cannot be read.
    #[error("`{}` is stored as {dtype}, which is not read", cut(name))]
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// Its format.
        dtype: String,
    },
    /// A matrix of an adapter whose config says another rank.
    #[error("`{}` has rank {rank}, but `{field}` in adapter_config.json says {named}", cut(name))]
    WrongRank {
        /// The tensor.
        name: String,
        /// The field of the config.
        field: &'static str,
        /// The rank that it names.
        named: usize,
        /// The rank of the matrix.
        rank: usize,
    },
    /// NaN, infinity, or a number too large for the format that it is read or written in.
    #[error("`{}` holds {value} at {index:?}; unusable numbers in it: {count}", cut(name))]
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
            Self::NotFound { known, .. } => Some(format!("give a folder, or one of: {}", list(known))),
            Self::NoRevision { known, .. } if known.is_empty() => Some("the download was not finished".into()),
            Self::NoRevision { known, .. } => Some(format!("one of: {}", list(known))),
            Self::NotAFolder { .. } => Some("give the folder that holds config.json and the weights".into()),
            Self::MissingFile { instead, .. } => instead_of_weights(instead),
            Self::LfsPointer { .. } => Some("`git lfs pull` in the folder fetches it".into()),
            Self::UnknownFamily { nearest: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            Self::UnknownFamily { known, .. } => Some(format!("known families: {}", known.join(", "))),
            Self::Unsupported { help, .. } => Some(help.clone()),
            Self::Quantized { .. } => {
                Some("use the checkpoint that they were quantized from, or a GGUF file of the model".into())
            }
            Self::Rope { error, .. } => error.help(),
            Self::Weights { problems, .. } => problems.iter().find_map(WeightProblem::help),
            Self::Storage(_) => Some("leave it out, or compute on the processor".into()),
            Self::Unreadable { file, .. } if file.ends_with("tokenizer.json") => Some(
                "fetch the file again from where the model is, or write it with transformers' `save_pretrained`".into(),
            ),
            Self::Unreadable { file, .. } if file.ends_with("tokenizer.model") => {
                Some("fetch the file again from where the model is, or put its tokenizer.json beside it".into())
            }
            Self::Unwritable { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Some("no file is replaced: name another folder or file".into())
            }
            Self::Unwritable { .. } | Self::Io { .. } | Self::Unreadable { .. } | Self::Field { .. } => None,
        }
    }
}

impl WeightProblem {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Damaged { problem, .. } if problem.starts_with("asks Python") => {
                Some("do not load this file elsewhere either; take the weights from where you trust them, as safetensors".into())
            }
            Self::MissingPart { .. } | Self::AbsentPart { .. } | Self::Damaged { .. } => {
                Some("download the weights again".into())
            }
            Self::MissingTensor { name } if name == "lm_head.weight" => {
                Some("if the model shares its embedding, set `tie_word_embeddings` to true in config.json".into())
            }
            Self::Quantized { .. } => {
                Some("use the checkpoint that this one was quantized from, or a GGUF file of the model".into())
            }
            Self::OtherNames { help, .. } => Some(help.clone()),
            Self::Unused { help, .. } => Some((*help).into()),
            Self::MissingTensor { .. } | Self::MissingLayers { .. } | Self::WrongShape { .. } => {
                Some("config.json and the weights belong to different models".into())
            }
            Self::UnsupportedDtype { dtype, .. } if dtype.starts_with(['I', 'U']) => {
                Some("whole numbers are quantized weights; use the checkpoint that they were made from".into())
            }
            Self::UnsupportedDtype { .. } => Some(
                "read are F64, F32, F16, BF16, F8_E4M3 and F8_E5M2, and of GGUF files Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL \
                 and IQ4_XS"
                    .into(),
            ),
            Self::WrongRank { .. } => Some("config and matrices of the adapter belong to different trainings".into()),
            Self::NotFinite { .. } => None,
        }
    }
}

/// One line per problem, as far as one screen goes.
fn lines(problems: &[WeightProblem]) -> String {
    let shown = problems.iter().take(MAX_LINES).flat_map(|problem| ["\n  ".into(), problem.to_string()]);
    let more = problems.len().saturating_sub(MAX_LINES);
    shown.chain((more > 0).then(|| format!("\n  and {more} more"))).collect()
}

/// Names in a row, with an end.
fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(MAX_LINES);
    let shown: Vec<_> = names.iter().take(MAX_LINES).map(|name| cut(name)).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

/// What to do with the files that are there where weights are missing.
fn instead_of_weights(instead: &[String]) -> Option<String> {
    let is_adapter = |file: &String| file.starts_with("adapter_model.");
    let own: Vec<String> = instead.iter().filter(|file| !is_adapter(file)).cloned().collect();
    Some(match own.as_slice() {
        [] if instead.is_empty() => return None,
        [] => {
            "it holds an adapter alone: open the model that it was trained on, and give this folder as `adapter`".into()
        }
        [file, ..] if file.starts_with("consolidated") => {
            format!("{file} is in the layout of its authors' own code; use the checkpoint in Hugging Face's layout")
        }
        [file] => format!("if {file} holds the model, give that file as the model"),
        [file, ..] => {
            format!("several files may be meant: {}; give the one that is meant as the model, as in {file}", list(&own))
        }
    })
}

/// Lines of a list of problems, and names of a list.
const MAX_LINES: usize = 12;

/// A text of a file, as far as one line goes: whoever wrote the file may have written megabytes.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
