//! Where a checkpoint's files are: inside the program, in a folder, or in the Hugging Face cache as it lies on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use longlens_core::nearest::nearest;
use memmap2::Mmap;

use crate::error::OpenError;

/// The name that opens the model inside the program.
pub const EMBEDDED: &str = "embedded";

/// A checkpoint's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    name: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Embedded,
    Folder(PathBuf),
}

/// Bytes of a weights file.
#[derive(Debug)]
pub enum FileBytes {
    /// Compiled in.
    Static(&'static [u8]),
    /// Mapped, not read.
    Mapped(Mmap),
}

/// Where the Hugging Face cache may be.
#[derive(Debug, Clone, Default)]
pub struct CacheDirs {
    /// `HF_HUB_CACHE`.
    pub hub_cache: Option<PathBuf>,
    /// `HF_HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`, else `~/.cache`.
    pub user_cache: Option<PathBuf>,
}

/// The model inside the program, file by file.
static EMBEDDED_FILES: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../../../fixtures/tiny-model/config.json")),
    ("generation_config.json", include_bytes!("../../../fixtures/tiny-model/generation_config.json")),
    ("model.safetensors", include_bytes!("../../../fixtures/tiny-model/model.safetensors")),
    ("tokenizer.json", include_bytes!("../../../fixtures/tiny-model/tokenizer.json")),
    ("corpus/heldout.txt", include_bytes!("../../../fixtures/tiny-model/corpus/heldout.txt")),
];

impl Source {
    /// The model inside the program.
    pub fn embedded() -> Self {
        Self { name: "longlens-tiny".into(), place: Place::Embedded }
    }

    /// Finds `text`: `embedded`, a folder, or `org/name[@revision]` in the Hugging Face cache of this user.
    pub fn resolve(text: &str) -> Result<Self, OpenError> {
        Self::resolve_in(text, &CacheDirs::of_user())
    }

    /// Finds `text` with the cache in one of `dirs`. Nothing is downloaded.
    pub fn resolve_in(text: &str, dirs: &CacheDirs) -> Result<Self, OpenError> {
        if text == EMBEDDED {
            return Ok(Self::embedded());
        }
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self { name: folder_name(path), place: Place::Folder(path.into()) });
        }
        if path.is_file() {
            return Err(OpenError::NotAFolder { path: text.into() });
        }
        dirs.find(text)
    }

    /// Name shown in titles: the folder's, or `org/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `embedded`, or the folder.
    pub fn location(&self) -> String {
        match &self.place {
            Place::Embedded => EMBEDDED.into(),
            Place::Folder(folder) => folder.display().to_string(),
        }
    }

    /// What errors call a file.
    pub fn shown(&self, file: &str) -> String {
        match &self.place {
            Place::Embedded => format!("the embedded model's {file}"),
            Place::Folder(folder) => folder.join(file).display().to_string(),
        }
    }

    /// Whether a file is there.
    pub fn has(&self, file: &str) -> bool {
        match &self.place {
            Place::Embedded => EMBEDDED_FILES.iter().any(|(name, _)| *name == file),
            Place::Folder(folder) => folder.join(file).is_file(),
        }
    }

    /// A small file's bytes, if it is there.
    pub fn read(&self, file: &str) -> Result<Option<Vec<u8>>, OpenError> {
        match &self.place {
            Place::Embedded => {
                Ok(EMBEDDED_FILES.iter().find(|(name, _)| *name == file).map(|(_, bytes)| bytes.to_vec()))
            }
            Place::Folder(folder) => match fs::read(folder.join(file)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(OpenError::Io { file: self.shown(file), source }),
            },
        }
    }

    /// A small file's bytes; an error when it is not there.
    pub fn require(&self, file: &str) -> Result<Vec<u8>, OpenError> {
        self.read(file)?.ok_or_else(|| self.missing(file))
    }

    /// A large file's bytes, mapped into memory, if it is there.
    pub fn map(&self, file: &str) -> Result<Option<FileBytes>, OpenError> {
        match &self.place {
            Place::Embedded => {
                Ok(EMBEDDED_FILES.iter().find(|(name, _)| *name == file).map(|(_, bytes)| FileBytes::Static(bytes)))
            }
            Place::Folder(folder) => {
                let failed = |source| OpenError::Io { file: self.shown(file), source };
                let opened = match fs::File::open(folder.join(file)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    opened => opened.map_err(failed)?,
                };
                if opened.metadata().map_err(failed)?.len() == 0 {
                    return Ok(Some(FileBytes::Static(&[]))); // an empty file cannot be mapped
                }
                // SAFETY: weights are read-only data; like every program that maps them, we rely on nobody cutting the
                // file short while it is open
                let map = unsafe { Mmap::map(&opened) }.map_err(failed)?;
                Ok(Some(FileBytes::Mapped(map)))
            }
        }
    }

    /// The error for a file that every checkpoint has.
    pub fn missing(&self, file: &str) -> OpenError {
        let Place::Folder(folder) = &self.place else {
            unreachable!("the embedded model is whole");
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let weights = |name: &String| {
            file.ends_with(".safetensors")
                && (name.ends_with(".bin") || name.ends_with(".gguf") || name.ends_with(".pth"))
        };
        let mut instead: Vec<_> = names.filter(weights).collect();
        instead.sort();
        OpenError::MissingFile { file: file.into(), folder: folder.display().to_string(), instead }
    }
}

impl std::ops::Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}

impl CacheDirs {
    /// This user's, from the environment.
    pub fn of_user() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            hub_cache: var("HF_HUB_CACHE"),
            home: var("HF_HOME"),
            user_cache: var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache"))),
        }
    }

    /// The folder of cached models: the first of the three that is set, as in `huggingface_hub`.
    pub fn hub(&self) -> Option<PathBuf> {
        let home = self.home.as_ref().map(|home| home.join("hub"));
        let user = self.user_cache.as_ref().map(|cache| cache.join("huggingface").join("hub"));
        self.hub_cache.clone().or(home).or(user)
    }

    fn find(&self, text: &str) -> Result<Source, OpenError> {
        let (name, revision) = text.split_once('@').map_or((text, None), |(name, revision)| (name, Some(revision)));
        let hub = self.hub();
        let model = hub.as_ref().map(|hub| hub.join(format!("models--{}", name.replace('/', "--"))));
        match model.filter(|model| model.is_dir() && is_repository(name)) {
            Some(model) => snapshot(&model, name, revision),
            None => {
                let known = hub.as_deref().map(cached).unwrap_or_default();
                Err(OpenError::NotFound {
                    name: text.into(),
                    looked: [Some(format!("the folder {text}")), hub.map(|hub| hub.display().to_string())]
                        .into_iter()
                        .flatten()
                        .collect(),
                    nearest: nearest(name, known.iter().map(String::as_str)).map(Into::into),
                    known,
                })
            }
        }
    }
}

/// `org/name` or `name`, and no path.
fn is_repository(name: &str) -> bool {
    !name.is_empty()
        && name.split('/').count() <= 2
        && name.split('/').all(|part| !part.is_empty() && part != ".." && part != ".")
}

/// The files of a revision: a branch or tag by `refs`, a commit by its whole name; without one, `main` or the only one.
fn snapshot(model: &Path, name: &str, revision: Option<&str>) -> Result<Source, OpenError> {
    let snapshots = model.join("snapshots");
    let wanted = revision.unwrap_or("main");
    let commit = fs::read_to_string(model.join("refs").join(wanted))
        .map_or_else(|_| wanted.to_owned(), |text| text.trim().to_owned());
    let mut known: Vec<String> = fs::read_dir(&snapshots)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    known.sort();
    let found = known.iter().find(|known| **known == commit).or(match (&known[..], revision) {
        ([only], None) => Some(only),
        _ => None,
    });
    match found {
        Some(commit) => Ok(Source { name: name.into(), place: Place::Folder(snapshots.join(commit)) }),
        None => Err(OpenError::NoRevision { name: name.into(), revision: wanted.into(), known }),
    }
}

/// Names of the models in a cache.
fn cached(hub: &Path) -> Vec<String> {
    let entries = fs::read_dir(hub).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_prefix("models--")?.replace("--", "/"))).collect();
    names.sort();
    names
}

fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    whole.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, CacheDirs) {
        let home = tempfile::tempdir().unwrap();
        let model = home.path().join("hub/models--meta-llama--Llama-2-7b-hf");
        for commit in ["aaa", "bbb"] {
            fs::create_dir_all(model.join("snapshots").join(commit)).unwrap();
        }
        fs::create_dir_all(model.join("refs")).unwrap();
        fs::write(model.join("refs/main"), "bbb\n").unwrap();
        fs::create_dir_all(home.path().join("hub/models--gpt2/snapshots/only")).unwrap();
        let dirs = CacheDirs { home: Some(home.path().into()), ..CacheDirs::default() };
        (home, dirs)
    }

    #[test]
    fn a_cached_model_is_found_by_name_and_revision() {
        let (_home, dirs) = cache();
        let find = |text: &str| Source::resolve_in(text, &dirs).unwrap();
        assert!(find("meta-llama/Llama-2-7b-hf").location().ends_with("snapshots/bbb"));
        assert!(find("meta-llama/Llama-2-7b-hf@aaa").location().ends_with("snapshots/aaa"));
        assert!(find("gpt2").location().ends_with("snapshots/only"));
        assert_eq!(find("meta-llama/Llama-2-7b-hf").name(), "meta-llama/Llama-2-7b-hf");
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        let (_home, dirs) = cache();
        let error = |text: &str| Source::resolve_in(text, &dirs).unwrap_err();
        let slip = error("meta-llama/Llama-2-7B");
        assert!(slip.to_string().starts_with("no model `meta-llama/Llama-2-7B`; looked in the folder"), "{slip}");
        assert_eq!(slip.help().unwrap(), "did you mean `meta-llama/Llama-2-7b-hf`?");
        assert!(error("mistral").help().unwrap().contains("gpt2, meta-llama/Llama-2-7b-hf"));
        assert!(matches!(error("gpt2@v9"), OpenError::NoRevision { .. }));
        assert!(matches!(error("../hub"), OpenError::NotFound { .. }));
        let nowhere = Source::resolve_in("x", &CacheDirs::default()).unwrap_err();
        assert!(nowhere.help().unwrap().contains("nothing is downloaded"));
    }

    #[test]
    fn a_folder_goes_before_the_cache_and_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
        let source = Source::resolve_in(folder.path().to_str().unwrap(), &CacheDirs::default()).unwrap();
        let error = source.missing("model.safetensors");
        assert!(error.to_string().ends_with("has no model.safetensors"));
        assert!(error.help().unwrap().contains("convert pytorch_model.bin"));
        assert!(matches!(source.require("config.json"), Err(OpenError::MissingFile { .. })));
    }
}
