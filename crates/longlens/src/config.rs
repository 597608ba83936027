//! Settings of a run: a TOML file, overridden by flags.

use std::io::Read;
use std::path::{Path, PathBuf};

use longlens_app::settings::Settings;
use longlens_app::settings::params::{Given, MAX_PROMPT, param};
use longlens_core::lens::{Message, ModelInfo, Setup};
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_core::setting::{SettingError, Value, whole};
use longlens_eval::generate::Stop;
use longlens_eval::passkey;
use longlens_model::Options;
use longlens_model::source::small;
use longlens_model::weights::Keep;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::args::{CommonArgs, Device};
use crate::failure::Failure;

mod setting;
#[cfg(test)]
mod faces {
    mod tests;
}

use setting::SamplingFile;

/// What a config file may say; every key is optional.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub model: Option<String>,
    pub method: Option<Method>,
    pub rope: Option<RopeScaling>,
    pub device: Option<Device>,
    #[serde(default, deserialize_with = "keep")]
    pub weights: Option<Keep>,
    #[serde(default, deserialize_with = "setting::trained_context")]
    pub trained_context: Option<Value>,
    pub adapter: Option<String>,
    #[serde(default)]
    pub kv_offload: bool,
    #[serde(default, deserialize_with = "setting::seed")]
    pub seed: Option<Value>,
    #[serde(default, deserialize_with = "setting::prefill_chunk")]
    pub prefill_chunk: Option<Value>,
    #[serde(default, deserialize_with = "setting::layer_windows")]
    pub layer_windows: Option<Value>,
    pub out: Option<PathBuf>,
    #[serde(default)]
    pub prompt: PromptFile,
    #[serde(default)]
    pub sampling: SamplingFile,
    #[serde(default)]
    pub passkey: PasskeyFile,
    #[serde(default)]
    pub perplexity: PerplexityFile,
}

/// `[prompt]`: one of text, file and needle, as the flags of these names have it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptFile {
    pub text: Option<String>,
    pub file: Option<PathBuf>,
    /// A prompt that was kept; `text` or `question` follow it.
    pub cache: Option<PathBuf>,
    pub needle: Option<String>,
    /// Turns for the model's chat template, each with `role` and `content`.
    pub messages: Option<Vec<Message>>,
    /// A question about the file.
    pub question: Option<String>,
    /// How they end, where it is not as usual.
    pub add_generation_prompt: Option<bool>,
    pub continue_final_message: Option<bool>,
    /// What else the template is told.
    #[serde(default)]
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// Whether text, file or needle are what a user says.
    #[serde(default)]
    pub chat: bool,
    /// What the system says before that.
    pub system: Option<String>,
    /// The date that the template is told.
    pub date: Option<String>,
    pub template: Option<String>,
    #[serde(default, deserialize_with = "setting::seed")]
    pub seed: Option<Value>,
}

/// `[passkey]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasskeyFile {
    pub template: Option<String>,
    #[serde(default, deserialize_with = "lengths_of")]
    pub lengths: Option<Vec<usize>>,
    #[serde(default, deserialize_with = "depths_of")]
    pub depths: Option<Vec<f64>>,
    pub trials: Option<usize>,
    /// Whether prompts are what a user says.
    #[serde(default)]
    pub chat: bool,
    /// What the system says before that.
    pub system: Option<String>,
    /// The date that the template is told.
    pub date: Option<String>,
}

/// `[perplexity]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerplexityFile {
    #[serde(alias = "text")]
    pub file: Option<PathBuf>,
    pub split_documents: Option<bool>,
    #[serde(default, deserialize_with = "lengths_of")]
    pub lengths: Option<Vec<usize>>,
    pub documents: Option<usize>,
    pub stride: Option<usize>,
}

/// The settings that every command shares.
#[derive(Debug, Clone)]
pub struct RunConfig {
    pub model: String,
    /// What decides a run: `given` over the usual settings.
    pub settings: Settings,
    /// What config and flags say of the settings.
    pub given: Overrides,
    pub device: Device,
    pub weights: Keep,
    pub trained_context: Option<usize>,
    /// A LoRA adapter that is added to the model.
    pub adapter: Option<String>,
    /// Whether keys and values stay in the host's memory.
    pub kv_offload: bool,
    pub json: bool,
    pub out: Option<PathBuf>,
    /// Where the config file lies.
    pub config: Option<PathBuf>,
    /// The rest of the config file.
    pub file: File,
}

impl RunConfig {
    /// Reads the config file, if one is named, and lays the flags over it.
    pub fn new(common: &CommonArgs) -> Result<Self, Failure> {
        let file = common.config.as_deref().map_or(Ok(File::default()), read)?;
        let method = common.method.as_deref().map(Method::parse).transpose()?;
        let rope = common.rope.as_deref().map(RopeScaling::parse).transpose()?;
        let given = Overrides {
            method: method.or_else(|| file.method.clone()),
            rope: rope.or_else(|| file.rope.clone()),
            values: [file.given(), common.given()].concat(),
        };
        // a command's text may be longer than a cell's
        let mut settings = Settings { max_tokens: Stop::default().max_tokens, ..Settings::default() };
        given.apply(&mut settings)?;
        let file_lengths = [&file.passkey.lengths, &file.perplexity.lengths].into_iter().flatten().flatten();
        for length in file_lengths {
            prompt_length(&length.to_string())?;
        }
        let prompt = &file.prompt;
        let n_prompts =
            [prompt.text.is_some(), prompt.file.is_some(), prompt.needle.is_some(), prompt.messages.is_some()];
        let n_prompts = n_prompts.into_iter().chain([prompt.cache.is_some() && prompt.text.is_none()]);
        if n_prompts.filter(|given| *given).count() > 1 {
            return Err(Failure::usage(
                "[prompt] has several prompts",
                "keep one of text, file, cache, needle and messages".to_owned(),
            ));
        }
        let opening = &common.opening;
        let device = opening.device.or(file.device).unwrap_or_default();
        Ok(Self {
            model: common.model.clone().or_else(|| file.model.clone()).unwrap_or_else(|| "embedded".into()),
            settings,
            given,
            device,
            weights: opening.keep(file.weights),
            trained_context: opening.trained_context().or(file.trained_context.as_ref().map(|n| n.number() as usize)),
            adapter: opening.adapter.clone().or_else(|| file.adapter.clone()),
            // a file is for every device; the flag is refused where it means nothing
            kv_offload: opening.kv_offload || file.kv_offload && device != Device::Cpu,
            json: common.json,
            out: common.out.clone().or_else(|| file.out.clone()),
            config: common.config.clone(),
            file,
        })
    }

    /// How the model of this run is opened.
    pub fn opening(&self) -> Options {
        Options {
            weights: self.weights,
            trained_context: self.trained_context,
            adapter: self.adapter.clone(),
            kv_offload: self.kv_offload,
        }
    }

    /// The scaling of this run on a model: the one given, else the checkpoint's own.
    pub fn rope(&self, model: &ModelInfo) -> RopeScaling {
        self.settings.rope(&model.spec).resolved(&model.spec)
    }

    /// The method of this run, ready for a prompt of `n_prompt` tokens.
    pub fn setup(&self, model: &ModelInfo, n_prompt: usize) -> Result<Setup, Failure> {
        Ok(self.settings.setup(&model.spec, n_prompt)?)
    }

    /// Another method under the same settings.
    pub fn setup_of(&self, method: &Method, model: &ModelInfo, n_prompt: usize) -> Result<Setup, Failure> {
        let settings = Settings { method: method.clone(), ..self.settings.clone() };
        Ok(settings.setup(&model.spec, n_prompt)?)
    }
}

/// Settings that somebody named, to be laid over others.
#[derive(Debug, Clone)]
pub struct Overrides {
    method: Option<Method>,
    rope: Option<RopeScaling>,
    values: Given,
}

impl Overrides {
    /// Changes the settings that were named.
    pub fn apply(&self, settings: &mut Settings) -> Result<(), SettingError> {
        self.method.iter().for_each(|method| settings.method.clone_from(method));
        self.rope.iter().for_each(|rope| settings.rope = Some(rope.clone()));
        settings.lay_over(&self.values)
    }
}

impl File {
    /// The settings of a run that the file names, beside method and scaling.
    fn given(&self) -> Given {
        let own =
            [("seed", &self.seed), ("prefill_chunk", &self.prefill_chunk), ("layer_windows", &self.layer_windows)];
        let own = own.into_iter().filter_map(|(name, value)| Some((param(name), value.clone()?)));
        own.chain(self.sampling.given.iter().cloned()).collect()
    }
}

fn keep<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Keep>, D::Error> {
    let name = String::deserialize(from)?;
    name.parse()
        .map(Some)
        .map_err(|expected| D::Error::custom(format!("unknown weights `{name}`, expected {expected}")))
}

/// A number of tokens as such or, with k for 1024, as a text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "write a number of tokens, as 16384 or \"16k\"")]
enum Length {
    Number(usize),
    Text(String),
}

impl Length {
    fn read<E: Error>(self) -> Result<usize, E> {
        match self {
            Self::Number(n) => Ok(n),
            Self::Text(text) => length(&text).map_err(E::custom),
        }
    }
}

fn lengths_of<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Vec<usize>>, D::Error> {
    Vec::<Length>::deserialize(from)?.into_iter().map(Length::read).collect::<Result<_, _>>().map(Some)
}

/// Depths as numbers or, in per cent, as texts.
fn depths_of<'a, D: Deserializer<'a>>(from: D) -> Result<Option<Vec<f64>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Depth {
        Share(f64),
        Text(String),
    }
    let list = Vec::<Depth>::deserialize(from)?;
    let read = list.into_iter().map(|depth| match depth {
        Depth::Share(share) => passkey::depth_of(share),
        Depth::Text(text) => passkey::depth(&text),
    });
    read.collect::<Result<_, _>>()
        .map(Some)
        .map_err(|error| D::Error::custom(format!("{error}: {}", error.help().unwrap_or_default())))
}

fn read(path: &Path) -> Result<File, Failure> {
    let failed = |error: std::io::Error| Failure::io("read", path, &error);
    // a pipe will do, as in `--config <(…)`, but not one without an end
    let mut bytes = Vec::new();
    let file = open(path).map_err(failed)?;
    let is_pipe = is_pipe(&file).map_err(failed)?;
    file.take(small::CONFIG_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.is_empty() && is_pipe {
        return Err(failed(std::io::Error::other("it is a pipe that nobody writes into")));
    }
    if bytes.len() as u64 > small::CONFIG_LIMIT {
        return Err(failed(std::io::Error::other(format!("it has more than {} MiB", small::CONFIG_LIMIT >> 20))));
    }
    let text = longlens_eval::text::text_of(path, bytes)?;
    toml::from_str(&text).map_err(|error| {
        let failure = Failure::usage(in_words(error.message()), None);
        match error.span() {
            Some(span) => failure.at(path, &text, span),
            None => failure,
        }
    })
}

/// What the parser says, without the names that Rust has for numbers.
fn in_words(message: &str) -> String {
    let number = ["usize", "u64"].map(|name| (name, "a whole number")).into_iter().chain([("f32", "a number")]);
    number.fold(message.to_owned(), |said, (name, word)| {
        said.replace(&format!("expected {name}"), &format!("expected {word}"))
    })
}

#[cfg(unix)]
fn is_pipe(file: &std::fs::File) -> std::io::Result<bool> {
    Ok(std::os::unix::fs::FileTypeExt::is_fifo(&file.metadata()?.file_type()))
}

#[cfg(not(unix))]
fn is_pipe(_: &std::fs::File) -> std::io::Result<bool> {
    Ok(false)
}

/// Opens a file, or a pipe whether somebody has it open for writing or not.
fn open(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::fd::AsRawFd;
        // opening waits for no writer; reading waits for those that are there
        // SAFETY: the descriptor is open, and these calls change no memory
        let is_set = unsafe {
            let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
            flags != -1 && libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) != -1
        };
        if !is_set {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(file)
}

/// Reads lengths of prompts, as `256,512,1k` (k is 1024).
pub fn lengths(text: &str) -> Result<Vec<usize>, Failure> {
    text.split(',').map(|part| prompt_length(part.trim())).collect()
}

/// Reads the length of a prompt that is to be made and run.
pub fn prompt_length(text: &str) -> Result<usize, Failure> {
    match length(text)? {
        n if n > MAX_PROMPT => Err(Failure::usage(
            format!("a prompt of {n} tokens is too long to make"),
            format!("give at most {MAX_PROMPT}"),
        )),
        n => Ok(n),
    }
}

/// What is measured when nobody says: the trained context and up to three doublings of it.
pub fn doublings(trained: usize) -> Result<Vec<usize>, Failure> {
    let lengths: Vec<_> = (0..4).map(|n| trained << n).filter(|length| (1..=MAX_PROMPT).contains(length)).collect();
    if lengths.is_empty() {
        return Err(Failure::usage(
            format!("the model's trained context of {trained} tokens is longer than any prompt that can be made"),
            "say which lengths are to be measured, as in --lengths 4k,8k".to_owned(),
        ));
    }
    Ok(lengths)
}

/// Sums and products of lengths stay far from overflowing.
pub const MAX_TOKENS: usize = 1 << 40;

/// Reads `512` or `1k` (k is 1024).
pub fn length(text: &str) -> Result<usize, Failure> {
    match whole(text).and_then(|n| usize::try_from(n).ok()) {
        Some(n) if n > MAX_TOKENS => Err(Failure::usage(
            format!("{text} tokens are more than longlens counts"),
            format!("give at most {MAX_TOKENS}"),
        )),
        Some(n) if n > 0 => Ok(n),
        _ => Err(Failure::usage(
            format!("`{text}` is not a number of tokens"),
            "write a whole number, or one with k for 1024, as in `512,1k,2k`".to_owned(),
        )),
    }
}

/// Reads `0,0.5,1` or `0%,50%,100%`.
pub fn depths(text: &str) -> Result<Vec<f64>, Failure> {
    text.split(',').map(|part| depth(part.trim())).collect()
}

/// Reads a depth from 0 to 1, or in per cent.
pub fn depth(text: &str) -> Result<f64, Failure> {
    Ok(passkey::depth(text)?)
}

#[cfg(all(test, unix))]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_pipe_is_read_to_its_end_and_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let read_soon = || {
            let (sender, receiver) = mpsc::channel();
            let pipe = pipe.clone();
            std::thread::spawn(move || sender.send(read(&pipe).map(|_| ()).map_err(|error| error.to_string())));
            receiver.recv_timeout(Duration::from_secs(20)).expect("no writer is waited for")
        };
        assert!(read_soon().unwrap_err().contains("a pipe that nobody writes into"));
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::write(pipe, "seed = 7\n").unwrap()
        });
        // the reader opens the pipe once the writer waits there
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(read_soon(), Ok(()));
        writer.join().unwrap();
        assert!(read(Path::new("/dev/null")).is_ok(), "nothing is a config, too");
    }
}
