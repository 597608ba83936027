//! A prompt's keys and values in a file, so that a long text is computed once and asked about in any later run.
//!
//! The file is in safetensors' format: the tensors of [`Lens::kept`], the prompt's tokens, and in its metadata what they were
//! computed with, and a checksum of each. It serves the same model (by what its weights hold), method and scaling, and prompts that begin with its tokens;
//! everything else is refused with the difference.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use longlens_core::lens::{Control, KeptTensor, Lens, LensError, ModelInfo, Rows, Sequence, Setup};
use longlens_core::methods::Method;
use longlens_core::plan::LayerWindows;
use longlens_core::rope::RopeScaling;
use longlens_core::trace::Watch;
use longlens_eval::document::Document;
use longlens_eval::passkey::Chat;
use longlens_plot::whole;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::settings::Settings;

mod lens;

pub use lens::{KeptLens, Manner};

/// What the tensors were computed with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Version of the layout.
    pub layout: u32,
    /// The model's name.
    pub model: String,
    /// [`ModelInfo::content`](longlens_core::lens::ModelInfo::content).
    pub content: String,
    /// Number format of weights and arithmetic.
    pub dtype: String,
    /// Device and kernels.
    pub kernel_path: String,
    /// The method's text form, every parameter written out.
    pub method: String,
    /// The scaling's, likewise.
    pub rope: String,
    /// What became of windows that layers of the model have of their own.
    pub layer_windows: LayerWindows,
    /// The context that a user said the model was trained on.
    pub trained_context: Option<usize>,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Tokens of them whose keys and values are kept: the last ones are computed again, for what follows them.
    pub n_kept: usize,
    /// Whether queries are kept too, for views of earlier tokens.
    pub queries: bool,
    /// The key that is hidden in the prompt, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needle: Option<KeptNeedle>,
    /// Version of the program.
    pub version: String,
}

/// A key hidden in a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptNeedle {
    /// First token that tells it, and one past the last.
    pub tokens: (usize, usize),
    /// What to find.
    pub key: String,
    /// Tokens of the right continuation.
    pub answer: Vec<u32>,
}

/// The document of a prompt: what is asked about it later follows its text, in the same turn where it is one of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptDocument {
    /// Its text and the places of its parts.
    pub document: Document,
    /// The chat template's, where it is told in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
}

/// A prompt that is to be kept.
#[derive(Debug, Clone)]
pub struct ToKeep {
    /// Its tokens, ready to feed.
    pub tokens: Vec<u32>,
    /// Tokens that it begins with whatever follows its text.
    pub n_alike: usize,
    /// The key that is hidden in it, if one is.
    pub needle: Option<KeptNeedle>,
    /// The document that it is about, if there is one.
    pub document: Option<KeptDocument>,
}

/// A file of a sequence, open.
#[derive(Debug)]
pub struct KeptFile {
    name: String,
    file: File,
    /// The document of the prompt, if it has one.
    pub document: Option<KeptDocument>,
    /// What it was computed with.
    pub about: About,
    /// The prompt.
    pub tokens: Vec<u32>,
    tensors: BTreeMap<String, Entry>,
    /// CRC-32 of every tensor's bytes.
    checksums: BTreeMap<String, u32>,
    /// Where the numbers begin.
    start: u64,
    len: u64,
}

/// A tensor as the header has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// Layouts that are read.
const LAYOUT: u32 = 2;
/// Where metadata say what a file holds.
const ABOUT: &str = "longlens.cache";
/// Where they hold the document.
const DOCUMENT: &str = "longlens.document";
/// The tensor of the prompt.
const TOKENS: &str = "tokens";
/// The last tensor: CRC-32 of the header and of every tensor before it, in their order.
const CHECKSUMS: &str = "checksums";
/// Headers beyond this are no header: a sequence of a thousand layers and a long document stay far below.
const MAX_HEADER: u64 = 64 << 20;

/// A prompt that was run, and is still with its lens.
pub struct Computed {
    /// What a file of it says.
    pub about: About,
    header: String,
    tokens: Vec<u32>,
    tensors: Vec<KeptTensor>,
}

/// Runs a prompt and writes what a later run goes on from. Returns what was written and the file's bytes; nothing of a run that was
/// stopped is written.
pub fn save(
    path: &Path,
    lens: &mut dyn Lens,
    settings: &Settings,
    queries: bool,
    prompt: ToKeep,
    control: &mut dyn Control,
) -> Result<(About, u64), Problem> {
    whole::check_writable(path).map_err(|error| cannot("write", path, &error))?;
    let computed = compute(lens, settings, queries, prompt, control)?;
    let mut failed = None;
    let wrote = whole::write_whole_with(path, |out| {
        computed.write(lens, out).map_err(|error| match error {
            WriteError::Io(error) => error,
            WriteError::Lens(error) => {
                failed = Some(error);
                io::Error::other("the sequence cannot be read")
            }
        })
    });
    match (failed, wrote) {
        (Some(error), _) => Err(error.into()),
        (None, Err(error)) => Err(cannot("write", path, &error)),
        (None, Ok(())) => {
            let n_bytes = computed.n_bytes();
            Ok((computed.about, n_bytes))
        }
    }
}

/// Runs a prompt whose keys and values are to be kept.
pub fn compute(
    lens: &mut dyn Lens,
    settings: &Settings,
    queries: bool,
    prompt: ToKeep,
    control: &mut dyn Control,
) -> Result<Computed, Problem> {
    let ToKeep { tokens, n_alike, needle, document } = prompt;
    if Method::parse(&settings.method.to_string()).is_err() {
        return Err(Problem::new(
            format!("`{}` was written in a script, and a file could not say what it does", settings.method.name()),
            "keep a prompt under a method of the catalog".to_owned(),
        ));
    }
    let model = lens.model().clone();
    let setup = settings.setup(&model.spec, tokens.len())?;
    let setup = Setup { watch: Watch::default(), keep_queries: queries, ..setup };
    // the last token is run again where the sequence goes on: what follows it is not kept
    let n_kept = setup.plan.whole_blocks(n_alike.min(tokens.len().saturating_sub(1)));
    if n_kept == 0 {
        return Err(Problem::new("a prompt of so few tokens leaves nothing to keep", "keep a longer one".to_owned()));
    }
    let tensors = lens.kept(&setup, n_kept)?;
    lens.begin(&setup)?;
    lens.feed(&tokens[..n_kept], Rows::None, control)?;
    let about = About {
        layout: LAYOUT,
        model: model.name.clone(),
        content: model.content.clone(),
        dtype: model.dtype.clone(),
        kernel_path: lens.trace().run.kernel_path,
        method: setup.plan.method.clone(),
        rope: setup.rope.to_string(),
        layer_windows: settings.layer_windows,
        trained_context: settings.trained_context,
        n_prompt: tokens.len(),
        n_kept,
        queries,
        needle,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let header = header(&about, document.as_ref(), tokens.len(), &tensors);
    Ok(Computed { about, header, tokens, tensors })
}

/// Why a file could not be written.
#[derive(Debug)]
pub enum WriteError {
    /// The file.
    Io(io::Error),
    /// The sequence.
    Lens(LensError),
}

impl Computed {
    /// Bytes of its file.
    pub fn n_bytes(&self) -> u64 {
        let numbers: usize = self.tensors.iter().map(KeptTensor::n_bytes).sum();
        (8 + self.header.len() + 4 * self.tokens.len() + numbers + 4 * (2 + self.tensors.len())) as u64
    }

    /// Writes it, tensor by tensor, out of the lens that ran it and nothing since.
    pub fn write(&self, lens: &mut dyn Lens, out: &mut dyn Write) -> Result<(), WriteError> {
        let mut checksums = Vec::with_capacity(2 + self.tensors.len());
        let mut put = |bytes: &[u8]| {
            checksums.push(crc32fast::hash(bytes));
            out.write_all(bytes).map_err(WriteError::Io)
        };
        put(&[&(self.header.len() as u64).to_le_bytes(), self.header.as_bytes()].concat())?;
        put(&self.tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<_>>())?;
        self.tensors.iter().try_for_each(|tensor| put(&lens.kept_numbers(tensor).map_err(WriteError::Lens)?))?;
        checksums.iter().try_for_each(|checksum| out.write_all(&checksum.to_le_bytes()).map_err(WriteError::Io))
    }
}

/// The header, padded so that numbers begin at a multiple of 8.
fn header(about: &About, document: Option<&KeptDocument>, n_tokens: usize, tensors: &[KeptTensor]) -> String {
    let about = serde_json::to_string(about).expect("numbers and texts are JSON");
    let mut metadata = json!({ "format": "pt", ABOUT: about });
    if let Some(document) = document {
        metadata[DOCUMENT] = serde_json::to_string(document).expect("numbers and texts are JSON").into();
    }
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".into(), metadata);
    let mut at = 0;
    let mut add = |name: String, dtype: &str, shape: &[usize], n_bytes: usize| {
        entries.insert(name, json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, at + n_bytes] }));
        at += n_bytes;
    };
    add(TOKENS.into(), "U32", &[n_tokens], 4 * n_tokens);
    for tensor in tensors {
        add(tensor.part.to_string(), tensor.format, &tensor.shape, tensor.n_bytes());
    }
    let n_checked = 2 + tensors.len();
    add(CHECKSUMS.into(), "U32", &[n_checked], 4 * n_checked);
    let mut text = Value::Object(entries).to_string();
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    text
}

impl KeptFile {
    /// Opens a file and reads its header and tokens; numbers are read when a sequence is made of them.
    pub fn open(path: &Path) -> Result<Self, Problem> {
        Self::of(File::open(path).map_err(|error| cannot("read", path, &error))?, path)
    }

    /// The same of a file that is open; `path` is what errors call it.
    pub fn of(mut file: File, path: &Path) -> Result<Self, Problem> {
        let foreign = |what: &str| {
            Problem::new(
                format!("{} is no kept prompt: {what}", path.display()),
                "give a file that `cache save` or `keep` wrote".to_owned(),
            )
        };
        let len = file.metadata().map_err(|error| cannot("read", path, &error))?.len();
        let mut n_header = [0; 8];
        file.read_exact(&mut n_header).map_err(|_| foreign("it has no header"))?;
        let n_header = u64::from_le_bytes(n_header);
        if n_header > MAX_HEADER.min(len.saturating_sub(8)) {
            return Err(foreign("its header is longer than the file"));
        }
        let mut text = vec![0; n_header as usize];
        file.read_exact(&mut text).map_err(|error| cannot("read", path, &error))?;
        let mut header: BTreeMap<String, Value> =
            serde_json::from_slice(&text).map_err(|_| foreign("its header is no JSON"))?;
        let metadata = header.remove("__metadata__").unwrap_or_default();
        let about = metadata.get(ABOUT).and_then(Value::as_str).ok_or_else(|| foreign("it does not say of what"))?;
        let about: About = serde_json::from_str(about).map_err(|error| foreign(&error.to_string()))?;
        if about.layout != LAYOUT {
            return Err(Problem::new(
                format!(
                    "{} has layout {} of kept prompts, and this version reads {LAYOUT}",
                    path.display(),
                    about.layout
                ),
                "keep the prompt again".to_owned(),
            ));
        }
        let document = metadata.get(DOCUMENT).and_then(Value::as_str).map(serde_json::from_str::<KeptDocument>);
        let document = document.transpose().map_err(|error| foreign(&format!("its document: {error}")))?;
        if document.as_ref().is_some_and(|kept| !kept.document.is_sound()) {
            return Err(foreign("parts of its document lie outside"));
        }
        let entries = header.into_iter().map(|(name, entry)| Some((name, serde_json::from_value(entry).ok()?)));
        let tensors: BTreeMap<String, Entry> =
            entries.collect::<Option<_>>().ok_or_else(|| foreign("its header names no tensors"))?;
        let end = tensors.values().map(|entry| entry.data_offsets.1).max().unwrap_or(0);
        if (8 + n_header).checked_add(end) != Some(len) {
            return Err(foreign("it is longer or shorter than its header says"));
        }
        let name = path.display().to_string();
        let (tokens, checksums) = (Vec::new(), BTreeMap::new());
        let mut kept = Self { name, file, document, about, tokens, tensors, checksums, start: 8 + n_header, len };
        let mut names: Vec<String> = kept.tensors.keys().filter(|name| *name != CHECKSUMS).cloned().collect();
        names.sort_by_key(|name| kept.tensors[name].data_offsets.0);
        let range = kept.range(CHECKSUMS, "U32", &[1 + names.len()]).map_err(|what| foreign(&what))?;
        let sums = words(&kept.bytes(range).map_err(|error| cannot("read", path, &error))?);
        if crc32fast::hash(&[&n_header.to_le_bytes(), &text[..]].concat()) != sums[0] {
            return Err(damaged(&kept.name, "its header"));
        }
        kept.checksums = names.into_iter().zip(sums.into_iter().skip(1)).collect();
        let n_tokens = kept.about.n_prompt;
        if kept.about.n_kept == 0 || kept.about.n_kept >= n_tokens {
            return Err(foreign("it keeps none or all of its tokens"));
        }
        if kept
            .about
            .needle
            .as_ref()
            .is_some_and(|needle| needle.tokens.0 > needle.tokens.1 || needle.tokens.1 > n_tokens)
        {
            return Err(foreign("its needle lies outside the prompt"));
        }
        let range = kept.range(TOKENS, "U32", &[n_tokens]).map_err(|what| foreign(&what))?;
        let bytes = kept.bytes(range).map_err(|error| cannot("read", path, &error))?;
        if !kept.is_intact(TOKENS, &bytes) {
            return Err(damaged(&kept.name, "its tokens"));
        }
        kept.tokens = words(&bytes);
        Ok(kept)
    }

    /// Bytes of the file.
    pub fn n_bytes(&self) -> u64 {
        self.len
    }

    /// The settings that it was computed under, the others as usual.
    pub fn settings(&self) -> Result<Settings, Problem> {
        Ok(Settings {
            method: Method::parse(&self.about.method)?,
            rope: Some(RopeScaling::parse(&self.about.rope)?),
            layer_windows: self.about.layer_windows,
            trained_context: self.about.trained_context,
            ..Settings::default()
        })
    }

    /// Refuses a model that is another than the one that computed it.
    pub fn check_model(&self, model: &ModelInfo) -> Result<(), Problem> {
        let (about, name) = (&self.about, &self.name);
        if model.content != about.content {
            return Err(Problem::new(
                format!("{name} was kept by {}, whose weights are not those of {}", about.model, model.name),
                "open that model, or keep the prompt again".to_owned(),
            ));
        }
        if model.dtype != about.dtype {
            return Err(Problem::new(
                format!("{name} was kept with weights in {}, and they are in {} here", about.dtype, model.dtype),
                "give the same `weights`, or keep the prompt again".to_owned(),
            ));
        }
        Ok(())
    }

    /// The sequence on an open model, and its tokens; errors are those of [`KeptFile::check_model`], and of a damaged file.
    pub fn load(&self, lens: &mut dyn Lens) -> Result<Kept, Problem> {
        self.check_model(lens.model())?;
        let (about, name, model) = (&self.about, &self.name, lens.model());
        let vocab_size = model.spec.vocab_size;
        if let Some(at) = self.tokens.iter().position(|token| *token as usize >= vocab_size) {
            return Err(Problem::new(
                format!("{name} is damaged: its token {at} is none of the model's {vocab_size}"),
                "keep the prompt again".to_owned(),
            ));
        }
        let setup = self.settings()?.setup(&model.spec, about.n_prompt)?;
        let setup = Setup { keep_queries: about.queries, ..setup };
        let failed = |error: io::Error| LensError::KeptFile(format!("{name} cannot be read: {error}"));
        let sequence = lens.restore(&setup, about.n_kept, &mut |tensor| {
            let part = tensor.part.to_string();
            let range = self.range(&part, tensor.format, &tensor.shape);
            let range =
                range.map_err(|what| LensError::KeptFile(format!("{name} does not hold this sequence: {what}")))?;
            let bytes = self.bytes(range).map_err(failed)?;
            if !self.is_intact(&part, &bytes) {
                return Err(LensError::KeptFile(damaged(name, &format!("`{part}`")).message));
            }
            Ok(bytes)
        })?;
        Ok(Kept { sequence, tokens: self.tokens[..about.n_kept].to_vec(), name: name.clone() })
    }

    /// Where a tensor's bytes lie in the file, or why it is not the one that is meant.
    fn range(&self, name: &str, format: &str, shape: &[usize]) -> Result<Range<u64>, String> {
        let entry = self.tensors.get(name).ok_or_else(|| format!("`{name}` is missing"))?;
        if entry.dtype != format || entry.shape != shape {
            return Err(format!("`{name}` is {} {:?}, and {format} {shape:?} is needed", entry.dtype, entry.shape));
        }
        let n_bytes = shape.iter().product::<usize>() as u64 * if ["F32", "U32"].contains(&format) { 4 } else { 2 };
        let (start, end) = entry.data_offsets;
        match (self.start.checked_add(start), self.start.checked_add(end)) {
            (Some(from), Some(to)) if from <= to && to - from == n_bytes && to <= self.len => Ok(from..to),
            _ => Err(format!("`{name}` does not lie in the file")),
        }
    }

    /// Whether a tensor's bytes are those that were written.
    fn is_intact(&self, name: &str, bytes: &[u8]) -> bool {
        self.checksums.get(name) == Some(&crc32fast::hash(bytes))
    }

    fn bytes(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut file = &self.file;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.seek(SeekFrom::Start(range.start))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A sequence out of a file.
#[derive(Debug)]
pub struct Kept {
    /// What prompts go on from.
    pub sequence: Sequence,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The file, for errors.
    pub name: String,
}

impl Kept {
    /// Refuses prompts, and settings of a run, that cannot go on from it.
    pub fn check(&self, setup: &Setup, tokens: &[u32]) -> Result<(), Problem> {
        let (name, of) = (&self.name, &self.sequence.setup);
        let again = "leave the file out, or keep the prompt again with these settings";
        let alike = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        if alike < self.tokens.len() {
            return Err(Problem::new(
                format!(
                    "the prompt does not begin with the {} tokens of {name}: they differ from token {alike} on",
                    self.tokens.len()
                ),
                "give what follows the kept text alone, or leave the file out".to_owned(),
            ));
        }
        if of.plan.method != setup.plan.method {
            return Err(Problem::new(
                format!("{name} was kept under {}, not {}", of.plan.method, setup.plan.method),
                again.to_owned(),
            ));
        }
        if of.rope != setup.rope {
            return Err(Problem::new(
                format!("{name} was kept under rope {}, not {}", of.rope, setup.rope),
                again.to_owned(),
            ));
        }
        if !self.sequence.serves(setup) {
            let what = if of.trained_context != setup.trained_context {
                "another trained_context".to_owned()
            } else if of.n_prompt != setup.n_prompt {
                format!(
                    "a prompt of {} tokens, on which its numbers depend under this method or scaling; this one has {}",
                    of.n_prompt, setup.n_prompt
                )
            } else {
                "other windows of layers".to_owned()
            };
            return Err(Problem::new(format!("{name} was kept for {what}"), again.to_owned()));
        }
        if setup.keep_queries && !of.keep_queries {
            return Err(Problem::new(
                format!("{name} holds no queries, and this run looks at earlier ones"),
                "keep the prompt again with its queries".to_owned(),
            ));
        }
        Ok(())
    }
}

/// A file that is no longer as it was written.
fn damaged(name: &str, what: &str) -> Problem {
    let message = format!("{name} is damaged: the checksum of {what} is another");
    Problem::new(message, "keep the prompt again, and look whether the disk is full or failing".to_owned())
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Problem {
    Problem::new(format!("cannot {what} {}: {error}", path.display()), "look at the path and its rights".to_owned())
}
