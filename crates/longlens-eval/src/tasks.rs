//! The tasks of evaluations. A task yields [`Sample`]s, as the scripts make them from which published numbers come, or right where these
//! are wrong ([`Mode`]).
//!
//! A task with its settings has one text form, such as `ruler_vt:length=4k,samples=20`: that text, the tokenizer and the contents of the
//! files that it names decide its samples, and nothing else does.

use std::sync::LazyLock;

use longlens_core::lens::TextCodec;
use longlens_core::setting::{Fallback, Info, Kind, Param, Setting, SettingError, Value};
use longlens_core::spec::ModelSpec;

use crate::error::{EvalError, expect};
use crate::sample::{Sample, Wrapper};
use crate::scorers::Mode;

pub mod babilong;
mod cut;
pub mod haystack;
#[cfg(test)]
pub(crate) mod held;
pub mod infinitebench;
pub mod leval;
pub mod longbench;
mod modes;
pub mod needle;
pub mod passkey;
pub mod perplexity;
pub mod ruler;
pub mod scrolls;

pub use crate::files::{Disk, Files};

/// A task of the list.
pub struct Task {
    /// Name, source and settings.
    pub info: &'static Info,
    /// Rises when the samples of the same settings change, so that older results are told apart.
    pub version: u32,
    /// Its family, which is also the name under which all its tasks are asked for at once.
    pub family: &'static str,
    /// How scores of samples become one number.
    pub mean: Mean,
    make: fn(&Ask<'_>) -> Result<Samples, EvalError>,
}

/// How scores of samples become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mean {
    /// Their mean.
    Plain,
    /// The cube root of the product of the means of ROUGE-1, -2 and -L.
    RougeGeometric,
    /// `exp` of the mean loss.
    Perplexity,
    /// The same, but as the script computes it where its faults are kept: 2.71828 to the mean loss.
    SlidingPerplexity,
}

impl Mean {
    /// The perplexity of a mean loss in nats.
    pub fn perplexity(self, mean_nll: f64, mode: Mode) -> f64 {
        let as_script = self == Self::SlidingPerplexity && mode == Mode::Faithful;
        if as_script { SCRIPTS_E.powf(mean_nll) } else { mean_nll.exp() }
    }
}

/// What `ChunkLlama`'s and `LongLoRA`'s scripts take for e: 2.71828, to its last bit.
const SCRIPTS_E: f64 = 271_828.0 / 100_000.0;

/// Every task, in the order of help and lists.
pub static TASKS: LazyLock<Vec<&Task>> = LazyLock::new(|| FAMILIES.concat());

/// The tasks of families that keep a list of their own.
const FAMILIES: &[&[&Task]] = &[
    SINGLE,
    longbench::TASKS,
    longbench::TASKS_E,
    leval::TASKS,
    scrolls::TASKS,
    babilong::TASKS,
    infinitebench::TASKS,
];

/// Tasks that stand alone.
const SINGLE: &[&Task] = &[
    &passkey::OWN,
    &passkey::LONG_HEADS,
    &passkey::CHUNK_LLAMA,
    &passkey::LONG_LORA,
    &passkey::GRID,
    &passkey::STORED,
    &passkey::IN_HAYSTACK,
    &needle::GKAMRADT,
    &needle::FU,
    &perplexity::DOCUMENTS,
    &perplexity::SLIDING,
    &ruler::NIAH_SINGLE_1,
    &ruler::NIAH_SINGLE_2,
    &ruler::NIAH_SINGLE_3,
    &ruler::NIAH_MULTIKEY_1,
    &ruler::NIAH_MULTIKEY_2,
    &ruler::NIAH_MULTIKEY_3,
    &ruler::NIAH_MULTIVALUE,
    &ruler::NIAH_MULTIQUERY,
    &ruler::VARIABLES,
    &ruler::COMMON_WORDS,
    &ruler::FREQUENT_WORDS,
    &ruler::QA_SQUAD,
    &ruler::QA_HOTPOT,
    &ruler::STORED,
];

/// What samples are made from.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The task's name and settings.
    pub setting: &'a Setting,
    /// The model that they are for: of it, the trained context stands in for a length that is not given.
    pub spec: &'a ModelSpec,
    /// Its tokenizer.
    pub codec: &'a dyn TextCodec,
    /// Where files are read.
    pub files: &'a dyn Files,
}

/// The samples of a task, made one after the other.
pub struct Samples {
    /// How many there are.
    pub n: usize,
    /// Makes the sample of this number, from 0, in order, each once.
    pub make: Box<Make>,
    /// What a user should know of them, as sentences.
    pub notes: Vec<String>,
}

/// Makes the sample of a number.
pub type Make = dyn FnMut(usize, &dyn TextCodec) -> Result<Sample, EvalError>;

impl Task {
    /// The task of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TASKS.iter().copied().find(|task| task.info.name == name)
    }

    /// A task with its settings, from the text form.
    pub fn parse(text: &str) -> Result<Setting, SettingError> {
        let infos: Vec<_> = TASKS.iter().map(|task| task.info).collect();
        Setting::parse(text, "task", &infos)
    }

    /// Whether faults of the scripts are kept under these settings.
    pub fn mode(&self, setting: &Setting) -> Mode {
        let is_fixed = |value: &Value| *value == Value::Word(Mode::Fixed.name().into());
        if given(setting, MODE.name).is_some_and(is_fixed) { Mode::Fixed } else { Mode::Faithful }
    }

    /// What prompts are wrapped in under these settings; `off` where the task wraps them in nothing.
    pub fn template(&self, setting: &Setting) -> String {
        let own =
            || self.info.params.iter().find(|param| param.name == "template").map(|param| param.default.to_string());
        given(setting, "template").map(ToString::to_string).or_else(own).unwrap_or_else(|| "off".to_owned())
    }

    /// Whether it has prompts of any length that is asked for.
    pub fn has_lengths(&self) -> bool {
        self.info.params.iter().any(|param| param.name == LENGTH.name)
    }
}

fn given<'a>(setting: &'a Setting, name: &str) -> Option<&'a Value> {
    setting.given().find(|(given, _)| *given == name).map(|(_, value)| value)
}

/// Tokens of a prompt that is made at most.
pub const MAX_PROMPT: usize = 1 << 22;
/// Samples of a task with its settings at most.
const MOST_SAMPLES: usize = 1 << 20;

impl Ask<'_> {
    /// The samples of its task. More or longer ones than anybody can run are refused before they are made.
    pub fn samples(&self) -> Result<Samples, EvalError> {
        if self.task().has_lengths() {
            let (length, expected) = (self.length(), "at most 4194304 tokens");
            expect(length <= MAX_PROMPT, LENGTH.name, length, expected)?;
        }
        let samples = (self.task().make)(self)?;
        expect(samples.n <= MOST_SAMPLES, "samples", samples.n, "at most 1048576, depths and all")?;
        Ok(samples)
    }

    /// The task itself.
    pub fn task(&self) -> &'static Task {
        Task::named(self.setting.info().name).expect("settings of tasks are made from the list")
    }

    /// A whole number of the settings.
    pub fn count(&self, name: &str) -> usize {
        self.setting.count(name, self.spec)
    }

    /// A real number of the settings; `None` for `off`.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.setting.number(name, self.spec)
    }

    /// A word or text of the settings; `None` where a text is empty.
    pub fn text(&self, name: &str) -> Option<String> {
        self.setting.text(name, self.spec)
    }

    /// Whether a word of the settings is this one.
    pub fn is(&self, name: &str, word: &str) -> bool {
        self.setting.is(name, word, self.spec)
    }

    /// Tokens of prompt and answer together, of tasks that have lengths.
    pub fn length(&self) -> usize {
        self.count(LENGTH.name)
    }

    /// How many samples are asked for.
    pub fn n_samples(&self) -> usize {
        self.count("samples")
    }

    /// How many samples of a file are asked for at most, of `n` that it holds ([`ALL`]).
    pub fn n_of(&self, n: usize) -> usize {
        self.number(ALL.name).map_or(n, |most| n.min(most as usize))
    }

    /// Where random numbers begin.
    pub fn seed(&self) -> u64 {
        self.count("seed") as u64
    }

    /// Whether faults of the scripts are kept.
    pub fn mode(&self) -> Mode {
        self.task().mode(self.setting)
    }

    /// What prompts are wrapped in.
    pub fn wrapper(&self) -> Wrapper {
        self.text("template").and_then(|name| Wrapper::named(&name)).unwrap_or_default()
    }

    /// A file that has to be given: its name.
    pub fn file(&self, name: &'static str, help: &str) -> Result<String, EvalError> {
        self.text(name).ok_or_else(|| EvalError::NoFile {
            task: self.setting.info().name,
            parameter: name,
            help: help.to_owned(),
        })
    }
}

impl Samples {
    /// Samples that are there already.
    pub fn of(samples: Vec<Sample>) -> Self {
        let n = samples.len();
        let mut samples: Vec<_> = samples.into_iter().map(Some).collect();
        let make = move |at: usize, _: &dyn TextCodec| Ok(samples[at].take().expect("each sample is made once"));
        Self { n, make: Box::new(make), notes: Vec::new() }
    }

    /// `n` samples that are made when their turn comes.
    pub fn making(n: usize, make: impl FnMut(usize, &dyn TextCodec) -> Result<Sample, EvalError> + 'static) -> Self {
        Self { n, make: Box::new(make), notes: Vec::new() }
    }
}

/// Tokens of prompt and answer.
pub(crate) const LENGTH: Param = Param {
    name: "length",
    alias: "max_seq_length",
    kind: Kind::Count(16),
    default: Fallback::Trained(1, 1),
    help: "tokens of prompt and answer",
};

/// Whether faults of the scripts are kept.
pub(crate) const MODE: Param = Param {
    name: "mode",
    alias: "",
    kind: Kind::Word(&["faithful", "fixed"]),
    default: Fallback::Word("faithful"),
    help: "prompts and scores as the scripts have them, or right where these are wrong",
};

/// How many samples, by default so many.
pub(crate) const fn samples(default: usize) -> Param {
    Param {
        name: "samples",
        alias: "num_samples",
        kind: Kind::Count(1),
        default: Fallback::Number(default as f64),
        help: "samples at most",
    }
}

/// How many samples every depth has.
pub(crate) const fn trials(default: usize) -> Param {
    Param { help: "samples of every depth", ..samples(default) }
}

/// How many samples of those in a file.
pub(crate) const ALL: Param = Param {
    name: "samples",
    alias: "num_samples",
    kind: Kind::Count(1),
    default: Fallback::Word("all"),
    help: "samples at most, the first ones of the file",
};

/// Start of the random numbers, by default this one.
pub(crate) const fn seed(default: u32) -> Param {
    Param {
        name: "seed",
        alias: "random_seed",
        kind: Kind::Whole(0, 0xFFFF_FFFF),
        default: Fallback::Number(default as f64),
        help: "start of the random numbers",
    }
}

/// What prompts are wrapped in, by default this.
pub(crate) const fn template(default: &'static str) -> Param {
    Param {
        name: "template",
        alias: "model_template_type",
        kind: Kind::Word(&Wrapper::NAMES),
        default: Fallback::Word(default),
        help: "what prompts are wrapped in: the model's chat template, or that of a script",
    }
}

/// A file or folder of the user's.
pub(crate) const fn file(name: &'static str, help: &'static str) -> Param {
    Param { name, alias: "", kind: Kind::Text, default: Fallback::Word(""), help }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod golden {
    use std::fs::File;
    use std::io::Read;

    use flate2::read::GzDecoder;
    use serde_json::Value;

    /// What the original scripts made: arguments, drawn numbers, and the SHA-256 of every prompt.
    pub fn prompts() -> Vec<Value> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/golden-eval/prompts.jsonl.gz");
        let mut text = String::new();
        GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), 114);
        rows
    }
}
