//! What several functions read from their arguments.

use std::rc::Rc;

use longlens_app::settings::{Settings, params};
use longlens_core::lens::ModelInfo;
use longlens_core::rope::RopeScaling;
use longlens_core::trace::rope_text;
use longlens_eval::generate::Stop;
use rhai::{Dynamic, NativeCallContext};

use crate::host::{Host, OpenModel, Returned, raise, refuse};
use crate::options::{Options, wrong};
use crate::values::{Method, Model, to_rope};

/// Options that say how a run goes on.
pub fn run_options() -> Vec<&'static str> {
    std::iter::once("rope").chain(params::text().map(|param| param.name)).chain(["stop"]).collect()
}

/// Settings that can be made once the length of the prompt is known.
pub struct RunRequest {
    /// How tokens attend.
    pub method: Method,
    settings: Settings,
    /// When the text ends.
    pub stop: Stop,
}

impl RunRequest {
    /// Reads method and options; `max_tokens` is what they say when they do not say it.
    pub fn new(method: &Dynamic, options: &mut Options, max_tokens: usize) -> Returned<Self> {
        let mut settings = Settings { rope: rope(options)?, max_tokens, ..Settings::default() };
        settings.lay_over(&options.settings(params::text())?).map_err(raise)?;
        let strings = options.texts("stop")?.unwrap_or_default();
        let stop = Stop { max_tokens: settings.max_tokens, strings, eos: true };
        Ok(Self { method: Method::read(method, "the method")?, settings, stop })
    }

    /// The settings for a prompt of `n_prompt` tokens.
    pub fn settings(&self, context: &NativeCallContext, n_prompt: usize) -> Returned<Settings> {
        let n_tokens = n_prompt.saturating_add(self.settings.max_tokens);
        Ok(Settings { method: self.method.of(context, n_tokens)?, ..self.settings.clone() })
    }
}

/// What options say of a run beside its method: `rope` and `layer_windows`. Nothing is generated.
pub fn conditions(options: &mut Options) -> Returned<Settings> {
    let mut settings = Settings { rope: rope(options)?, max_tokens: 0, ..Settings::default() };
    settings.lay_over(&options.settings(std::iter::once(&params::LAYER_WINDOWS))?).map_err(raise)?;
    Ok(settings)
}

/// The RoPE scaling that options name; the checkpoint's own when absent.
fn rope(options: &mut Options) -> Returned<Option<RopeScaling>> {
    options.take("rope").map(|value| to_rope(&value, "option `rope`")).transpose()
}

/// The methods that options name, as one or a list, under `method` or `methods`.
pub fn methods(options: &mut Options) -> Returned<Vec<Method>> {
    let given = match (options.take("methods"), options.take("method")) {
        (Some(_), Some(_)) => {
            return refuse("`methods` and `method` are both given", "put every method into `methods`");
        }
        (given, None) | (None, given) => given,
    };
    let Some(given) = given else { return Method::read(&"full".into(), "the method").map(|method| vec![method]) };
    let methods: Vec<_> = match given.read_lock::<rhai::Array>() {
        Some(list) if list.is_empty() => {
            return refuse("there are no methods", "give at least one, as in `methods: [full()]`");
        }
        Some(list) => {
            list.iter().map(|method| Method::read(method, "every one of `methods`")).collect::<Returned<_>>()?
        }
        None => vec![Method::read(&given, "`methods`")?],
    };
    let written = |method: &Method| match method {
        Method::Plain(_) => None,
        Method::Written(written) => Some(written.clone()),
    };
    let written: Vec<_> = methods.iter().filter_map(written).collect();
    for (at, one) in written.iter().enumerate() {
        // rows tell methods apart by their names
        if written[..at].iter().any(|other| other.name == one.name && !Rc::ptr_eq(other, one)) {
            return refuse(
                format!("two of the methods are called `{}`", one.name),
                "give each a name of its own, as in method(\"window_8\", …)",
            );
        }
    }
    Ok(methods)
}

/// The model that options name, for this call alone; else the open one.
pub fn model(host: &Host, options: &mut Options) -> Returned<Rc<OpenModel>> {
    let Some(given) = options.take("model") else { return host.model() };
    if let Some(model) = given.clone().try_cast::<Model>() {
        return Ok(model.0);
    }
    match given.clone().into_string() {
        Ok(name) => host.open_beside(&name),
        Err(_) => Err(wrong("option `model`", "a model or its name", &given)),
    }
}

/// Refuses what would fill the memory before it fails.
pub fn within(what: &str, value: usize, most: usize) -> Returned<()> {
    if value > most { refuse(format!("{what} {value} is too large"), format!("give at most {most}")) } else { Ok(()) }
}

/// A layer or head by its number.
pub fn index(what: &'static str, index: i64, count: usize) -> Returned<usize> {
    match usize::try_from(index).ok().filter(|index| *index < count) {
        Some(index) => Ok(index),
        None => refuse(format!("{what} {index} does not exist"), format!("they go from 0 to {}", count - 1)),
    }
}

/// A count that is an argument of its own.
pub fn count(what: &str, value: i64, least: usize) -> Returned<usize> {
    match usize::try_from(value).ok().filter(|value| *value >= least) {
        Some(value) => Ok(value),
        None => refuse(format!("{what} {value} is not a whole number of at least {least}"), "give a larger one"),
    }
}

/// What figures say below their title.
pub fn subtitle(model: &ModelInfo, rope: &RopeScaling) -> String {
    let rope = rope_text(&rope.to_string(), model.spec.trained_context);
    format!("{} · {rope} · {}", model.name, model.dtype)
}
