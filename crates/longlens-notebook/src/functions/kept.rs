//! Prompts whose keys and values are kept in files: computed once, gone on from in any later session.

use std::path::Path;

use longlens_app::kept::{self, KeptFile, WriteError};
use longlens_app::prompt::{KeptAsk, PromptSource};
use longlens_app::settings::Settings;
use longlens_app::{Problem, bytes};
use rhai::plugin::*;

use crate::functions::calls;
use crate::host::{Host, Returned, host, raise, refuse};
use crate::options::Options;
use crate::values::{Method, Prompt, to_prompt};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::{Dynamic, Map};

    use crate::host::{Returned, host};
    use crate::values::Prompt;

    /// Computes a prompt once and keeps its keys, values and queries in a safetensors file, for `kept` in this or any later session
    /// and for `--cache` of the commands. Long prompts are kept by `longlens cache save`, which does not hold the file in memory.
    ///
    /// ```rhai
    /// keep(needle(300, 0.5), full(), "haystack.safetensors");
    /// run(kept("haystack.safetensors"), full()).found
    /// ```
    #[rhai_fn(name = "keep", return_raw)]
    pub fn keep(context: NativeCallContext, prompt: Dynamic, method: Dynamic, path: &str) -> Returned<String> {
        keep_with(context, prompt, method, path, Map::new())
    }

    /// The same with options: `rope`, `layer_windows`.
    ///
    /// ```rhai
    /// keep(needle(300, 0.5), full(), "haystack.safetensors", #{ rope: "yarn:factor=4" })
    /// ```
    #[rhai_fn(name = "keep", return_raw)]
    pub fn keep_with(
        context: NativeCallContext,
        prompt: Dynamic,
        method: Dynamic,
        path: &str,
        options: Map,
    ) -> Returned<String> {
        super::keep(&context, &prompt, &method, path, options)
    }

    /// The prompt of a file that `keep` or `longlens cache save` wrote. What runs it under the method and scaling of the file does not
    /// compute its tokens again: losses begin behind them. Under others it is computed whole. The model must be the one that kept it.
    ///
    /// ```rhai
    /// keep(prompt("The heron stands in the water and waits."), full(), "story.safetensors");
    /// kept("story.safetensors").n_tokens
    /// ```
    #[rhai_fn(name = "kept", return_raw)]
    pub fn kept(context: NativeCallContext, path: &str) -> Returned<Prompt> {
        super::kept(&host(&context), path, "")
    }

    /// The same with a text behind it. Of a document that was kept in the model's chat template, the text is what is asked about it.
    ///
    /// ```rhai
    /// keep(prompt("The heron stands in the water and waits."), full(), "story.safetensors");
    /// generate(kept("story.safetensors", " The heron"), full(), 4)
    /// ```
    #[rhai_fn(name = "kept", return_raw)]
    pub fn kept_and(context: NativeCallContext, path: &str, text: &str) -> Returned<Prompt> {
        super::kept(&host(&context), path, text)
    }
}

fn keep(
    context: &NativeCallContext,
    prompt: &rhai::Dynamic,
    method: &rhai::Dynamic,
    path: &str,
    options: rhai::Map,
) -> Returned<String> {
    let host = host(context);
    let mut options = Options::new("keep", options, &["rope", "layer_windows"])?;
    let model = host.model()?;
    let prompt = to_prompt(&host, prompt, &model, "the prompt")?;
    let method = Method::read(method, "the method")?.of(context, prompt.built.tokens.len())?;
    let settings = Settings { method, ..calls::conditions(&mut options)? };
    if crate::functions::files::ending(path) != "safetensors" {
        return refuse(format!("`{path}` is no name for a kept prompt"), "let it end in .safetensors");
    }
    let to_keep = model.text(|codec| prompt.built.to_keep(codec).map_err(raise))?;
    let mut lens = model.lens(None)?;
    let mut work = host.work("keep");
    let computed = kept::compute(&mut *lens, &settings, true, to_keep, &mut work);
    let computed = computed.map_err(raise)?;
    drop(work);
    let n_bytes = computed.n_bytes();
    if n_bytes > crate::host::files::MAX_BYTES {
        return refuse(
            format!("the kept prompt takes {}, more than cells write", bytes::text(n_bytes as usize)),
            "keep it with `longlens cache save --queries`",
        );
    }
    let mut file = Vec::with_capacity(n_bytes as usize);
    computed.write(&mut *lens, &mut file).map_err(|error| match error {
        WriteError::Lens(error) => raise(error),
        WriteError::Io(error) => raise(Problem::new(format!("cannot write `{path}`: {error}"), None)),
    })?;
    drop(lens);
    host.files().save(path, &file, false).map_err(raise)?;
    Ok(path.to_owned())
}

pub(super) fn kept(host: &Host, path: &str, text: &str) -> Returned<Prompt> {
    let Some(file) = host.files().open(path).map_err(raise)? else {
        return refuse(
            format!("cannot read `{path}`: there is no such file"),
            "check the name; it counts from the working directory",
        );
    };
    let file = KeptFile::of(file, Path::new(path)).map_err(raise)?;
    if !file.about.queries {
        return refuse(
            format!("`{path}` holds no queries, and cells look at earlier tokens"),
            "keep it again with `keep`, or with `longlens cache save --queries`",
        );
    }
    let model = host.model()?;
    model.take(&file)?;
    Prompt::of_kept(&PromptSource::Kept(KeptAsk { file: path.into(), text: text.into() }), &file, &model)
}
