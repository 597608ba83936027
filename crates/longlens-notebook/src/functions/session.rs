//! Sessions that go to the terminal workbench and come back.

use longlens_app::prompt::PromptSource;
use longlens_app::session::SavedSession;
use longlens_app::settings::{Settings, params};
use longlens_app::steps::{Start, quoted};
use longlens_core::methods;
use rhai::plugin::*;
use rhai::{Dynamic, Map};

use crate::functions::calls::RunRequest;
use crate::host::{Host, OpenModel, Opening, Returned, host, raise, refuse};
use crate::options::Options;
use crate::table::{Datum, Table as Rows};
use crate::values::{Method, Prompt, Rope, Table, to_prompt};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::{Dynamic, Map};

    use crate::host::Returned;

    /// Hands a prompt and a method to the workbench: writes `workbench.json` and says the command that opens it in a terminal. What is
    /// done there comes back by `workbench("workbench.json")`.
    ///
    /// ```rhai
    /// workbench(needle(300, 0.5), streaming(#{ window: 64 }))
    /// ```
    #[rhai_fn(name = "workbench", return_raw)]
    pub fn workbench(context: NativeCallContext, prompt: Dynamic, method: Dynamic) -> Returned<String> {
        workbench_with(context, prompt, method, Map::new())
    }

    /// The same with the options of `run`, and `file`, the file's name.
    ///
    /// ```rhai
    /// workbench(needle(300, 0.5), full(), #{ rope: "yarn:factor=4", file: "yarn.json" })
    /// ```
    #[rhai_fn(name = "workbench", return_raw)]
    pub fn workbench_with(
        context: NativeCallContext,
        prompt: Dynamic,
        method: Dynamic,
        options: Map,
    ) -> Returned<String> {
        super::hand_over(&context, &prompt, &method, options)
    }

    /// What a session of the workbench holds: `prompt`, `method`, `rope` (`()` where it is the checkpoint's own), `options` (for `run`),
    /// `model` and `opening` (for `open(s.model, s.opening)`), and `runs`, a table of those that were pinned.
    ///
    /// ```rhai
    /// workbench(needle(300, 0.5), full());
    /// let s = workbench("workbench.json");
    /// run(s.prompt, s.method, s.options).found
    /// ```
    #[rhai_fn(name = "workbench", return_raw)]
    pub fn back(context: NativeCallContext, file: &str) -> Returned<Map> {
        super::back(&context, file)
    }
}

fn hand_over(context: &NativeCallContext, prompt: &Dynamic, method: &Dynamic, options: Map) -> Returned<String> {
    let host = host(context);
    let known = [crate::functions::calls::run_options(), vec!["file"]].concat();
    let mut options = Options::new("workbench", options, &known)?;
    let file = options.text("file")?.unwrap_or_else(|| "workbench.json".to_owned());
    if crate::functions::files::ending(&file) != "json" {
        return refuse(format!("`{file}` is no name for a session"), "let it end in .json");
    }
    let model = host.model()?;
    let prompt = to_prompt(&host, prompt, &model, "the prompt")?;
    let usual = Settings::default().max_tokens;
    let settings = RunRequest::new(method, &mut options, usual)?.settings(context, prompt.built.tokens.len())?;
    if methods::Method::parse(&settings.method.to_string()).is_err() {
        return refuse(
            format!("`{}` is a method of your own, which the workbench does not know", settings.method.name()),
            "hand over a method of the catalog",
        );
    }
    let trained_context = settings.trained_context.or(model.opening.trained_context);
    let settings = Settings { trained_context, ..settings };
    let session = SavedSession::beginning(start(&model), settings, from_root(&host, &prompt.built.source));
    // the workbench may have written it since; what is no session stays as it is
    let there = host.files().read_if_there(&file, crate::host::files::MAX_BYTES).map_err(raise)?;
    if there.is_some_and(|bytes| SavedSession::of_bytes(&bytes, &file).is_ok()) {
        host.files().replace(&file, &session.to_bytes()).map_err(raise)?;
    } else {
        host.files().save(&file, &session.to_bytes(), false).map_err(raise)?;
    }
    let path = host.files().root().join(&file);
    let path = std::path::absolute(&path).unwrap_or(path);
    Ok(format!("longlens workbench --session {}", quoted(&path.display().to_string())))
}

/// What the model inside the program is called.
const EMBEDDED: &str = "embedded";

/// How another program opens the model.
fn start(model: &OpenModel) -> Start {
    let Opening { weights, device, adapter, kv_offload, .. } = model.opening.clone();
    // folders, wherever that program is started
    let whole = |name: &str| {
        let path = std::path::absolute(name).ok().filter(|path| name != EMBEDDED && path.exists());
        path.map_or_else(|| name.to_owned(), |path| path.display().to_string())
    };
    Start {
        model: whole(&model.info.source),
        device: device.filter(|device| device != "cpu"),
        weights,
        adapter: adapter.as_deref().map(whole),
        kv_offload: kv_offload.unwrap_or_default(),
    }
}

/// The prompt as another program finds it: files count from the folder of the cells here.
fn from_root(host: &Host, source: &PromptSource) -> PromptSource {
    let whole = |file: &std::path::Path| {
        let path = host.files().root().join(file);
        std::path::absolute(&path).unwrap_or(path)
    };
    match source.clone() {
        PromptSource::File(file) => PromptSource::File(whole(&file)),
        PromptSource::Document(mut ask) => {
            ask.file = whole(&ask.file);
            PromptSource::Document(ask)
        }
        PromptSource::Kept(mut ask) => {
            ask.file = whole(&ask.file);
            PromptSource::Kept(ask)
        }
        other => other,
    }
}

/// The prompt of a session; files are read where cells may read.
fn built(context: &NativeCallContext, source: &PromptSource) -> Returned<Prompt> {
    let name = |file: &std::path::Path| file.display().to_string();
    match source {
        PromptSource::File(file) => super::prompt::of_file(context, &name(file), |_| source.clone()),
        PromptSource::Document(ask) => super::prompt::of_file(context, &name(&ask.file), |_| source.clone()),
        PromptSource::Kept(ask) => super::kept::kept(&host(context), &name(&ask.file), &ask.text),
        _ => {
            let host = host(context);
            Prompt::build(&host, source, &host.model()?)
        }
    }
}

/// How the model of a session is opened, as `open` takes it.
fn opening(session: &SavedSession) -> Map {
    let Start { device, weights, adapter, kv_offload, .. } = session.start.clone();
    let texts = [("device", device), ("weights", weights), ("adapter", adapter)];
    let mut map: Map = texts.into_iter().filter_map(|(name, text)| Some((name.into(), text?.into()))).collect();
    if kv_offload {
        map.insert("kv_offload".into(), true.into());
    }
    if let Some(n_tokens) = session.settings.trained_context {
        map.insert("trained_context".into(), (n_tokens as i64).into());
    }
    map
}

fn back(context: &NativeCallContext, name: &str) -> Returned<Map> {
    let host = &host(context);
    let session = SavedSession::of_bytes(&crate::functions::files::read(host, name)?, name).map_err(raise)?;
    let settings = &session.settings;
    let mut map = Map::new();
    let prompt = session.source.as_ref().map(|source| built(context, source)).transpose()?;
    map.insert("prompt".into(), prompt.map_or(Dynamic::UNIT, Dynamic::from));
    map.insert("method".into(), Dynamic::from(Method::Plain(settings.method.clone())));
    map.insert("rope".into(), settings.rope.clone().map_or(Dynamic::UNIT, |rope| Dynamic::from(Rope(rope))));
    let mut options = Map::new();
    if let Some(rope) = &settings.rope {
        options.insert("rope".into(), Dynamic::from(Rope(rope.clone())));
    }
    for param in params::text() {
        let value = settings.get(param);
        let value = match value.to_string().parse::<i64>() {
            Ok(whole) => whole.into(),
            Err(_) if value.to_string().parse::<f64>().is_ok() => value.number().into(),
            Err(_) => value.to_string().into(),
        };
        options.insert(param.name.into(), value);
    }
    map.insert("options".into(), options.into());
    map.insert("model".into(), session.start.model.clone().into());
    map.insert("opening".into(), opening(&session).into());
    let runs = session.runs.list.iter().map(|run| {
        [
            ("run", Datum::Text(run.name.clone().unwrap_or_else(|| run.text.clone()))),
            ("method", Datum::Text(run.record.method.clone())),
            ("rope", Datum::Text(run.record.rope.clone())),
            ("loss", run.mean_nll.map_or(Datum::Empty, Datum::Real)),
            ("found", run.found.map_or(Datum::Empty, |found| Datum::Text(found.to_string()))),
            ("text", Datum::Text(run.output.clone())),
        ]
    });
    map.insert("runs".into(), Dynamic::from(Table::plain(Rows::from_records(runs))));
    Ok(map)
}
