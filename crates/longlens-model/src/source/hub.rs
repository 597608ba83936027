//! The Hugging Face cache on disk: `models--org--name/{refs/<revision>, snapshots/<commit>/…}`.

use std::env;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::small;
use crate::error::OpenError;

/// The variables that say where the cache is; they are given as values so that a test needs no environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheDirs {
    /// `HF_HUB_CACHE`: the cache itself.
    pub hf_hub_cache: Option<PathBuf>,
    /// `HF_HOME`: the cache is its `hub`.
    pub hf_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`: the cache is its `huggingface/hub`.
    pub xdg_cache_home: Option<PathBuf>,
    /// The home folder: the cache is its `.cache/huggingface/hub`.
    pub home: Option<PathBuf>,
}

impl CacheDirs {
    /// What the environment says; an empty variable counts as none.
    pub fn from_env() -> Self {
        let dir = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            hf_hub_cache: dir("HF_HUB_CACHE"),
            hf_home: dir("HF_HOME"),
            xdg_cache_home: dir("XDG_CACHE_HOME"),
            home: env::home_dir().filter(|home| !home.as_os_str().is_empty()),
        }
    }

    /// The cache: the first of the variables that is set.
    pub fn hub(&self) -> Option<PathBuf> {
        let expand = |path: &PathBuf| self.expand_path(path);
        (self.hf_hub_cache.as_ref().map(expand))
            .or_else(|| self.hf_home.as_ref().map(|home| expand(home).join("hub")))
            .or_else(|| self.xdg_cache_home.as_ref().map(|cache| expand(cache).join("huggingface/hub")))
            .or_else(|| self.home.as_ref().map(|home| home.join(".cache/huggingface/hub")))
    }

    /// A path, with `~/` standing for the home folder.
    pub(super) fn expand(&self, text: &str) -> PathBuf {
        self.expand_path(Path::new(text))
    }

    fn expand_path(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.into(),
        }
    }
}

/// `org/name@revision` as name and revision.
pub(super) fn split_revision(text: &str) -> (&str, Option<&str>) {
    text.split_once('@').map_or((text, None), |(name, revision)| (name, Some(revision)))
}

/// Name and snapshot folder of `org/name[@revision]`, if the cache has the model.
pub(super) fn find(hub: &Path, text: &str) -> Result<Option<(String, PathBuf)>, OpenError> {
    let (name, revision) = split_revision(text);
    // the folder's own name is a name too
    let name = &model_name(name).unwrap_or_else(|| name.to_owned());
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > 2 || parts.iter().any(|part| !is_plain(part)) {
        return Ok(None);
    }
    let model = hub.join(format!("models--{}", parts.join("--")));
    if !model.is_dir() {
        return Ok(None);
    }
    checkpoint(name, &model, revision).map(Some)
}

/// Name and snapshot where a folder of the cache is given instead of a name: `models--org--name`, its `snapshots`, or one of
/// those. Nothing when it is an ordinary folder.
pub(super) fn inside(path: &Path) -> Result<Option<(String, PathBuf)>, OpenError> {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let name_of = |folder: &Path| folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let model = |folder: &Path| name_of(folder).and_then(|name| model_name(&name));
    if let (Some(name), true) = (model(&whole), whole.join(SNAPSHOTS).is_dir()) {
        return checkpoint(&name, &whole, None).map(Some);
    }
    let Some(above) = whole.parent() else { return Ok(None) };
    if let (Some(name), Some(SNAPSHOTS)) = (model(above), name_of(&whole).as_deref()) {
        return checkpoint(&name, above, None).map(Some);
    }
    let is_snapshot = name_of(above).as_deref() == Some(SNAPSHOTS);
    let name = above.parent().filter(|_| is_snapshot).and_then(model);
    Ok(name.map(|name| (name, path.into())))
}

/// Name and snapshot of the model in a folder of the cache.
fn checkpoint(name: &str, model: &Path, revision: Option<&str>) -> Result<(String, PathBuf), OpenError> {
    snapshot(model, revision).map(|folder| (name.into(), folder)).ok_or_else(|| OpenError::NoRevision {
        name: name.into(),
        revision: revision.unwrap_or(DEFAULT_REVISION).into(),
        known: revisions(model),
    })
}

/// `org/name` of `models--org--name`.
fn model_name(folder: &str) -> Option<String> {
    Some(folder.strip_prefix("models--")?.replace("--", "/"))
}

const DEFAULT_REVISION: &str = "main";
/// A branch or tag is a file with the name of a commit.
const MAX_REF: u64 = 1 << 12;
const SNAPSHOTS: &str = "snapshots";

/// The snapshot of a branch, tag or commit. Without a revision: of the default branch, else the only one there is.
fn snapshot(model: &Path, revision: Option<&str>) -> Option<PathBuf> {
    let snapshots = model.join(SNAPSHOTS);
    let wanted = revision.unwrap_or(DEFAULT_REVISION);
    if wanted.is_empty() || !wanted.split('/').all(is_plain) {
        return None;
    }
    let commit = small::read(&model.join("refs").join(wanted), MAX_REF).ok().flatten();
    let commit = commit.and_then(|text| Some(String::from_utf8(text).ok()?.trim().to_owned()));
    let commits = [commit, Some(wanted.to_owned())];
    let named = commits.into_iter().flatten().filter(|commit| is_plain(commit));
    let found = named.map(|commit| snapshots.join(commit)).find(|folder| folder.is_dir());
    match (found, entries(&snapshots).as_slice()) {
        (None, [only]) if revision.is_none() => Some(snapshots.join(only)),
        (found, _) => found,
    }
}

/// A single file name: no separators, no `..`.
fn is_plain(part: &str) -> bool {
    let mut components = Path::new(part).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
}

/// Names of the models in the cache, sorted.
pub(super) fn models(hub: &Path) -> Vec<String> {
    entries(hub).iter().filter_map(|entry| model_name(entry)).collect()
}

/// Branches, tags and commits of a cached model.
fn revisions(model: &Path) -> Vec<String> {
    let mut revisions = entries(&model.join("refs"));
    revisions.extend(entries(&model.join(SNAPSHOTS)));
    revisions
}

/// Names in a folder, sorted; none when it cannot be read.
pub(super) fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Source;

    #[test]
    fn the_most_specific_variable_wins() {
        let dir = |path: &str| Some(PathBuf::from(path));
        let mut dirs = CacheDirs {
            hf_hub_cache: dir("/a"),
            hf_home: dir("~/b"),
            xdg_cache_home: dir("/c"),
            home: dir("/home/me"),
        };
        assert_eq!(dirs.hub(), dir("/a"));
        dirs.hf_hub_cache = None;
        assert_eq!(dirs.hub(), dir("/home/me/b/hub"));
        dirs.hf_home = None;
        assert_eq!(dirs.hub(), dir("/c/huggingface/hub"));
        dirs.xdg_cache_home = None;
        assert_eq!(dirs.hub(), dir("/home/me/.cache/huggingface/hub"));
        assert_eq!(CacheDirs::default().hub(), None);
    }

    #[test]
    fn names_and_revisions_lead_to_snapshots() {
        let hub = tempfile::tempdir().unwrap();
        let model = hub.path().join("models--meta-llama--Llama-2-7b-hf");
        for commit in ["01ab", "02cd"] {
            fs::create_dir_all(model.join("snapshots").join(commit)).unwrap();
        }
        fs::create_dir_all(model.join("refs/pr")).unwrap();
        fs::write(model.join("refs/main"), "01ab\n").unwrap();
        fs::write(model.join("refs/pr/7"), "02cd").unwrap();
        fs::create_dir_all(hub.path().join("models--gpt2/snapshots/03ef")).unwrap();
        fs::create_dir_all(hub.path().join("datasets--org--data")).unwrap();

        let dirs = CacheDirs { hf_hub_cache: Some(hub.path().into()), ..CacheDirs::default() };
        for (text, name, snapshot) in [
            ("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-hf", "01ab"),
            ("meta-llama/Llama-2-7b-hf@main", "meta-llama/Llama-2-7b-hf", "01ab"),
            ("meta-llama/Llama-2-7b-hf@pr/7", "meta-llama/Llama-2-7b-hf", "02cd"),
            ("meta-llama/Llama-2-7b-hf@02cd", "meta-llama/Llama-2-7b-hf", "02cd"),
            ("gpt2", "gpt2", "03ef"),
        ] {
            let source = Source::resolve_in(text, &dirs).unwrap();
            assert_eq!(source.name(), name);
            assert!(source.place().ends_with(snapshot), "{text} leads to {}", source.place());
        }

        // the cache's own folders lead to the same place
        for folder in ["", "snapshots", "snapshots/01ab"] {
            let source = Source::resolve_in(model.join(folder).to_str().unwrap(), &dirs).unwrap();
            assert_eq!(source.name(), "meta-llama/Llama-2-7b-hf");
            assert!(source.place().ends_with("01ab"), "{folder} leads to {}", source.place());
        }
        let by_folder = Source::resolve_in("models--meta-llama--Llama-2-7b-hf@02cd", &dirs).unwrap();
        assert!(by_folder.place().ends_with("02cd") && by_folder.name() == "meta-llama/Llama-2-7b-hf");

        let refused = |text: &str| Source::resolve_in(text, &dirs).unwrap_err();
        let slip = refused("meta-llama/llama-2-7b");
        assert!(slip.to_string().contains(&format!("the cache {}", hub.path().display())), "{slip}");
        assert_eq!(slip.help().unwrap(), "did you mean `meta-llama/Llama-2-7b-hf`?");
        let stranger = refused("someone/something-else");
        assert_eq!(stranger.help().unwrap(), "give a folder, or one of: gpt2, meta-llama/Llama-2-7b-hf");
        let revision = refused("gpt2@v2");
        assert_eq!(revision.to_string(), "`gpt2` is in the cache, but not its revision `v2`");
        assert_eq!(revision.help().unwrap(), "one of: 03ef");
        for outside in ["../gpt2", "gpt2@../../x", "gpt2@", "a/b/c", ""] {
            refused(outside);
        }
    }
}
