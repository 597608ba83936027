//! A model that is open, and the sequence that it holds.

mod weighed;

use std::cell::{Cell, RefCell, RefMut};
use std::ops::{Deref, DerefMut};
use std::time::UNIX_EPOCH;

use longlens_app::kept::KeptFile;
use longlens_core::lens::{CancelToken, Conversation, Lens, LensError, ModelInfo, TextCodec};

use super::{Opening, Returned, raise, refuse};
use crate::memory::Gauge;

use self::weighed::Weighed;

/// A model that was opened.
pub struct OpenModel {
    /// What is open.
    pub info: ModelInfo,
    /// How it was opened.
    pub opening: Opening,
    /// Its files when it was opened: a line each with name, bytes and nanoseconds of the last change; empty where it has no
    /// folder.
    pub files: String,
    lens: RefCell<Weighed>,
    /// The sequence that the model holds.
    loaded: Cell<Option<u64>>,
    /// The flag that stops what runs.
    cancel: CancelToken,
    /// Whether it failed inside while it ran: it may be half changed.
    broken: Cell<bool>,
}

/// A model while something runs on it. Should that panic, the model is not used again.
pub struct Running<'a> {
    lens: RefMut<'a, Weighed>,
    model: &'a OpenModel,
}

impl Deref for Running<'_> {
    type Target = dyn Lens;

    fn deref(&self) -> &Self::Target {
        &*self.lens
    }
}

impl DerefMut for Running<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.lens
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.model.broken.set(true);
        }
    }
}

impl OpenModel {
    /// A model that has just been opened and takes so many bytes; `cancel` stops what runs on it.
    pub fn new(lens: Box<dyn Lens>, opening: Opening, cancel: CancelToken, gauge: &Gauge, bytes: i64) -> Self {
        let info = lens.model().clone();
        let files = model_files(&info.source);
        let lens = RefCell::new(Weighed::new(lens, bytes, gauge.models()));
        Self { info, opening, files, lens, loaded: Cell::new(None), cancel, broken: Cell::new(false) }
    }

    /// Whether it failed inside, and is not used again.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    fn usable(&self) -> Returned<()> {
        if !self.is_broken() {
            return Ok(());
        }
        let name = &self.info.source;
        refuse(
            format!("the model {} failed inside and may be half changed: it is not used again", self.info.name),
            format!("open it again: open({name:?})"),
        )
    }

    /// The model itself, to run something; whatever sequence it held is gone unless `keep` names it.
    pub fn lens(&self, keep: Option<u64>) -> Returned<Running<'_>> {
        self.usable()?;
        let Ok(lens) = self.lens.try_borrow_mut() else { return running() };
        if keep.is_none() || keep != self.loaded.get() {
            self.loaded.set(None);
        }
        Ok(Running { lens, model: self })
    }

    /// Takes a kept prompt in the place of the one before: prompts that begin with it go on from it.
    pub fn take(&self, file: &KeptFile) -> Returned<()> {
        self.usable()?;
        let Ok(mut lens) = self.lens.try_borrow_mut() else { return running() };
        self.loaded.set(None);
        lens.take(file).map_err(raise)
    }

    /// Asks the tokenizer; the model keeps the sequence that it holds.
    pub fn text<T>(&self, ask: impl FnOnce(&dyn TextCodec) -> Returned<T>) -> Returned<T> {
        self.usable()?;
        let Ok(lens) = self.lens.try_borrow() else { return running() };
        ask(&Stoppable { codec: lens.text().map_err(raise)?, cancel: &self.cancel })
    }

    /// Remembers which sequence the model holds.
    pub fn set_loaded(&self, sequence: u64) {
        self.loaded.set(Some(sequence));
    }

    /// Whether the model holds this sequence.
    pub fn holds(&self, sequence: u64) -> bool {
        self.loaded.get() == Some(sequence)
    }
}

/// A tokenizer that stops between two calls: making a long prompt takes many.
struct Stoppable<'a> {
    codec: &'a dyn TextCodec,
    cancel: &'a CancelToken,
}

impl Stoppable<'_> {
    fn go_on(&self) -> Result<(), LensError> {
        if self.cancel.is_cancelled() { Err(LensError::Cancelled) } else { Ok(()) }
    }
}

impl TextCodec for Stoppable<'_> {
    fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, LensError> {
        self.go_on()?;
        self.codec.encode(text, special)
    }

    fn decode(&self, tokens: &[u32]) -> Result<String, LensError> {
        self.go_on()?;
        self.codec.decode(tokens)
    }

    fn special(&self, token: u32) -> Option<String> {
        self.codec.special(token)
    }

    fn vocabulary(&self) -> Option<usize> {
        self.codec.vocabulary()
    }

    fn chat(&self, conversation: &Conversation) -> Result<String, LensError> {
        self.go_on()?;
        self.codec.chat(conversation)
    }
}

fn running<T>() -> Returned<T> {
    refuse(
        "the model is running already",
        "functions of a written method cannot run the model themselves; compute what they need before",
    )
}

/// The files of a folder that make a model, as [`OpenModel::files`] has them.
fn model_files(folder: &str) -> String {
    let is_of_model = |name: &str| {
        let is_weights = name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
        is_weights
            || ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"].contains(&name)
    };
    // what has no folder is called by another name here
    let Ok(entries) = std::fs::read_dir(folder) else { return String::new() };
    let line = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|name| is_of_model(name))?;
        // a link counts as what it leads to
        let about = std::fs::metadata(entry.path()).ok()?;
        let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(format!("{name} {} {}\n", about.len(), changed.as_nanos()))
    };
    let mut lines: Vec<String> = entries.filter_map(|entry| line(entry.ok()?)).collect();
    lines.sort_unstable();
    lines.concat()
}
