//! Methods and RoPE scalings: making them, and what they mean before anything runs.

use longlens_app::settings::Settings;
use longlens_core::methods::METHODS;
use longlens_core::plan::Plan;
use longlens_core::setting::{Info, Value};
use longlens_core::spec::ModelSpec;
use rhai::plugin::*;
use rhai::{Dynamic, FuncRegistration, Map};

use crate::host::{Returned, raise};
use crate::options::{Options, wrong};
use crate::values::Method;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use longlens_app::settings::Settings;
    use longlens_app::views;
    use longlens_core::methods;
    use longlens_core::plan::{Capacity, Prefill, Relation};
    use longlens_core::rope::{RopeScaling, SCALINGS};
    use rhai::{Dynamic, FnPtr, Map};

    use super::{catalog, place, setting_value, under};
    use crate::functions::calls::{self, count, index};
    use crate::host::{Returned, host, raise, refuse};
    use crate::options::Options;
    use crate::table::{Datum, Table as Rows};
    use crate::values::{Figure, Method, Rope, Table, TableValue};

    /// A method by its text form.
    ///
    /// ```rhai
    /// method("self_extend:group_size=4,neighbor_window=64")
    /// ```
    #[rhai_fn(name = "method", return_raw)]
    pub fn method(text: &str) -> Returned<Method> {
        methods::Method::parse(text).map(Method::Plain).map_err(raise)
    }

    /// A method by its name and a map of parameters; or a method of your own: `position` says at which relative position a
    /// query sees a key (`()` hides it), `sees` whether it sees it. Both take `|distance|` or `|query, key|`.
    ///
    /// ```rhai
    /// method("every_second", #{
    ///     sees: |query, key| (query - key) % 2 == 0 || query - key < 16,
    ///     position: |query, key| query - key,
    /// })
    /// ```
    #[rhai_fn(name = "method", return_raw)]
    pub fn method_of_map(context: NativeCallContext, name: &str, parameters: Map) -> Returned<Method> {
        match methods::INFOS.iter().find(|info| info.name == name) {
            Some(info) => super::made(info, &parameters),
            // a method of your own has functions, whatever they are called
            None if parameters.keys().any(|key| key == "position" || key == "sees")
                || parameters.values().any(Dynamic::is_fnptr) =>
            {
                Method::written_of_map(&context, name, parameters)
            }
            // says which names there are
            None => methods::Method::parse(name).map(Method::Plain).map_err(raise),
        }
    }

    /// A method of your own that sees every earlier key, at a position that a function gives: of the distance, or of query and
    /// key. Distances up to 64, and 64 for all keys further away:
    ///
    /// ```rhai
    /// method("capped", |distance| min(distance, 64))
    /// ```
    #[rhai_fn(name = "method", return_raw)]
    pub fn method_of_function(context: NativeCallContext, name: &str, position: FnPtr) -> Returned<Method> {
        Method::written(&context, name, position, None)
    }

    /// A RoPE scaling by its text form: `linear`, `ntk`, `dynamic`, `yarn`, `llama3`, `none`.
    ///
    /// ```rhai
    /// rope("yarn:factor=8")
    /// ```
    #[rhai_fn(name = "rope", return_raw)]
    pub fn rope(text: &str) -> Returned<Rope> {
        RopeScaling::parse(text).map(Rope).map_err(raise)
    }

    /// A RoPE scaling by its name and a map of parameters.
    ///
    /// ```rhai
    /// rope("yarn", #{ factor: 8 })
    /// ```
    #[rhai_fn(name = "rope", return_raw)]
    pub fn rope_of_map(name: &str, parameters: Map) -> Returned<Rope> {
        let pairs = parameters.iter().map(|(name, value)| Ok(format!("{name}={}", setting_value(name, value)?)));
        let pairs = pairs.collect::<Returned<Vec<_>>>()?.join(",");
        let text = if pairs.is_empty() { name.to_owned() } else { format!("{name}:{pairs}") };
        RopeScaling::parse(&text).map(Rope).map_err(raise)
    }

    /// Every method with its parameters and defaults, as a table.
    ///
    /// ```rhai
    /// methods().filter(|row| row.method == "long_heads")
    /// ```
    #[rhai_fn(name = "methods")]
    pub fn all_methods() -> Table {
        Table::plain(catalog("method", &methods::INFOS))
    }

    /// Every RoPE scaling with its parameters and defaults, as a table.
    ///
    /// ```rhai
    /// ropes().unique("rope").len()
    /// ```
    #[rhai_fn(name = "ropes")]
    pub fn all_ropes() -> Table {
        Table::plain(catalog("rope", &SCALINGS))
    }

    /// The relative position at which every query of `n` tokens sees every key; what was never trained stands out.
    ///
    /// ```rhai
    /// positions(self_extend(#{ group_size: 8, neighbor_window: 64 }), 1024)
    /// ```
    #[rhai_fn(name = "positions", return_raw)]
    pub fn positions(context: NativeCallContext, method: Dynamic, n: i64) -> Returned<Figure> {
        positions_with(context, method, n, Map::new())
    }

    /// The same under a RoPE scaling, which decides what counts as trained.
    ///
    /// ```rhai
    /// positions(full(), 1024, rope("yarn:factor=4"))
    /// ```
    #[rhai_fn(name = "positions", return_raw)]
    pub fn positions_under(context: NativeCallContext, method: Dynamic, n: i64, rope: Dynamic) -> Returned<Figure> {
        positions_with(context, method, n, Map::from([("rope".into(), rope)]))
    }

    /// The same with options: `rope`, `layer_windows`, and `layer` and `head` of methods that differ between them (the first layer
    /// that the method acts on and head 0 where they are not given).
    ///
    /// ```rhai
    /// positions(method("by_layer", #{ layers: "0=full/1-=streaming:window=64" }), 512, #{ layer: 1 })
    /// ```
    #[rhai_fn(name = "positions", return_raw)]
    pub fn positions_with(context: NativeCallContext, method: Dynamic, n: i64, options: Map) -> Returned<Figure> {
        let n_tokens = count("the length", n, 1)?;
        if n_tokens > MAX_TOKENS {
            return refuse(format!("a picture of {n_tokens} tokens is too long"), format!("give at most {MAX_TOKENS}"));
        }
        let model = host(&context).model()?;
        let spec = &model.info.spec;
        let mut options = Options::new("positions", options, &["rope", "layer_windows", "layer", "head"])?;
        let settings = under(&context, &method, n_tokens, &mut options)?;
        let plan = settings.plan(spec).map_err(raise)?;
        let place = place(&mut options, &plan, spec)?;
        let rope = settings.rope(spec).resolved(spec);
        let view = views::positions(&model.info, &plan, place, &rope, n_tokens, None);
        view.map(Figure::new).map_err(raise)
    }

    /// The relative position at which a query sees a key in a prompt of `n` tokens: a number, `()` where it does not, a text
    /// where the data decides.
    ///
    /// ```rhai
    /// position(self_extend(#{ group_size: 4, neighbor_window: 64 }), 1024, 1000, 10)
    /// ```
    #[rhai_fn(name = "position", return_raw)]
    pub fn position(context: NativeCallContext, method: Dynamic, n: i64, query: i64, key: i64) -> Returned<Dynamic> {
        position_with(context, method, n, query, key, Map::new())
    }

    /// The same with options: `layer_windows`, and `layer` and `head` of methods that differ between them (the first layer that the
    /// method acts on and head 0 where they are not given).
    ///
    /// ```rhai
    /// position("by_layer:0=full/1-=streaming:window=64", 512, 400, 10, #{ layer: 1 })
    /// ```
    #[rhai_fn(name = "position", return_raw)]
    pub fn position_with(
        context: NativeCallContext,
        method: Dynamic,
        n: i64,
        query: i64,
        key: i64,
        options: Map,
    ) -> Returned<Dynamic> {
        let n_tokens = count("the length", n, 1)?;
        let (query, key) = (index("query", query, n_tokens)?, index("key", key, n_tokens)?);
        let model = host(&context).model()?;
        let spec = &model.info.spec;
        let mut options = Options::new("position", options, &["layer_windows", "layer", "head"])?;
        let plan = under(&context, &method, n_tokens, &mut options)?.plan(spec).map_err(raise)?;
        let (layer, head) = place(&mut options, &plan, spec)?;
        Ok(match plan.of(layer, head).relation(query, key, Prefill { n_tokens }) {
            Relation::Hidden => Dynamic::UNIT,
            Relation::At(position, _) => position.into(),
            Relation::Chosen { between: (low, high), .. } => format!("{low} to {high}, if its chunk is chosen").into(),
        })
    }

    /// What running a method on `n` tokens would mean: capacity, highest position, memory, warnings.
    ///
    /// ```rhai
    /// forecast(self_extend(#{ group_size: 4, neighbor_window: 64 }), 2048)
    /// ```
    #[rhai_fn(name = "forecast", return_raw)]
    pub fn forecast(context: NativeCallContext, method: Dynamic, n: i64) -> Returned<Table> {
        forecast_with(context, method, n, Map::new())
    }

    /// The same with options: `rope` and `layer_windows`.
    ///
    /// ```rhai
    /// forecast(full(), 2048, #{ rope: "yarn:factor=8" })
    /// ```
    #[rhai_fn(name = "forecast", return_raw)]
    pub fn forecast_with(context: NativeCallContext, method: Dynamic, n: i64, options: Map) -> Returned<Table> {
        let n_tokens = count("the length", n, 1)?;
        let model = host(&context).model()?;
        let mut options = Options::new("forecast", options, &["rope", "layer_windows"])?;
        let settings = under(&context, &method, n_tokens, &mut options)?;
        let said = settings.check(&model.info, n_tokens).map_err(raise)?;
        let forecast = said.forecast;
        let capacity = match forecast.capacity {
            // nothing but the table ends there
            Capacity::Tokens(tokens) if said.plan.covers() == Some(tokens) => format!("at least {tokens} tokens"),
            capacity => capacity.to_string(),
        };
        let rows = vec![
            ("method", said.plan.method.clone()),
            ("rope", said.rope.to_string()),
            ("tokens", forecast.n_tokens.to_string()),
            ("capacity", capacity),
            ("highest position", crate::values::number_text(forecast.highest)),
            ("trained positions", forecast.trained.map_or("follow the length".into(), |n| n.to_string())),
            ("cache", longlens_app::bytes::text(forecast.cache_bytes)),
        ];
        let row = |(what, value): (&str, String)| [("what", Datum::Text(what.into())), ("value", Datum::Text(value))];
        let table = Rows::from_records(rows.into_iter().map(row));
        let warnings: Vec<_> = forecast.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
        Ok(Table(TableValue { table, protocol: warnings.join("\n"), ..TableValue::default() }.into()))
    }

    /// Tokens that a method covers without leaving the trained positions; `()` where there is no end. Of a method of your own,
    /// `()` says that none is near: functions of the distance are looked at for 16 times the trained context (at most 32768
    /// tokens), functions of query and key for 4 times (at most 4096).
    ///
    /// ```rhai
    /// capacity(self_extend(#{ group_size: 4, neighbor_window: 64 }))
    /// ```
    #[rhai_fn(name = "capacity", return_raw)]
    pub fn capacity(context: NativeCallContext, method: Dynamic) -> Returned<Dynamic> {
        capacity_with(context, method, Map::new())
    }

    /// The same with the option `layer_windows`.
    ///
    /// ```rhai
    /// capacity(full(), #{ layer_windows: "off" })
    /// ```
    #[rhai_fn(name = "capacity", return_raw)]
    pub fn capacity_with(context: NativeCallContext, method: Dynamic, options: Map) -> Returned<Dynamic> {
        let mut options = Options::new("capacity", options, &["layer_windows"])?;
        let model = host(&context).model()?;
        let spec = &model.info.spec;
        let method = Method::read(&method, "the method")?;
        let (times, most) = if method.is_of_pairs() { PAIRS_ASKED } else { DISTANCES_ASKED };
        let written_for = spec.trained_context.saturating_mul(times).min(most);
        let settings = Settings { method: method.of(&context, written_for)?, ..calls::conditions(&mut options)? };
        let plan = settings.plan(spec).map_err(raise)?;
        Ok(match plan.capacity(spec.trained_context) {
            // nothing but the table ends there
            Capacity::Tokens(tokens) if plan.covers() == Some(tokens) => Dynamic::UNIT,
            Capacity::Tokens(tokens) => (tokens as i64).into(),
            Capacity::Unlimited => Dynamic::UNIT,
        })
    }

    /// The name of a method.
    #[rhai_fn(get = "name", pure)]
    pub fn name(method: &mut Method) -> String {
        match method {
            Method::Plain(method) => method.name().to_owned(),
            Method::Written(written) => written.name.clone(),
        }
    }

    /// The text form of a method.
    ///
    /// ```rhai
    /// long_heads(#{ chunk_len: 16, attention_len: 128 }).text()
    /// ```
    #[rhai_fn(name = "text", pure)]
    pub fn text(method: &mut Method) -> String {
        match method {
            Method::Plain(method) => method.to_string(),
            Method::Written(written) => written.name.clone(),
        }
    }

    /// How far `capacity` looks for functions of the distance: times the trained context, tokens at most.
    const DISTANCES_ASKED: (usize, usize) = (16, longlens_core::written::MAX_TOKENS);
    /// The same for functions of query and key, which are asked about every pair.
    const PAIRS_ASKED: (usize, usize) = (4, 4096);
    /// A picture is no longer than this.
    const MAX_TOKENS: usize = 1 << 20;
}

/// Layer and head among the options; the first layer that the method acts on and the first head where they are not given.
fn place(options: &mut Options, plan: &Plan, spec: &ModelSpec) -> Returned<(usize, usize)> {
    let mut given = |name: &'static str, usual: usize, n: usize| {
        super::calls::index(name, options.count(name)?.unwrap_or(usual) as i64, n)
    };
    Ok((given("layer", plan.first_layer(), spec.n_layers)?, given("head", 0, spec.n_heads)?))
}

/// A method for `n_tokens` with what the options say beside it.
fn under(context: &NativeCallContext, method: &Dynamic, n_tokens: usize, options: &mut Options) -> Returned<Settings> {
    let method = Method::read(method, "the method")?.of(context, n_tokens)?;
    Ok(Settings { method, ..super::calls::conditions(options)? })
}

/// Registers a constructor for every method of the catalog, as in `self_extend(#{ group_size: 4, neighbor_window: 64 })`.
pub fn constructors(module: &mut Module) {
    for method in METHODS {
        let info = &method.info;
        let given: Vec<_> =
            info.params.iter().filter_map(|param| Some(format!("{}: {}", param.name, sample(param)?))).collect();
        let arguments = if given.is_empty() { String::new() } else { format!("#{{ {} }}", given.join(", ")) };
        let comments = documentation(info, &format!("{}({arguments})", info.name));
        FuncRegistration::new(info.name)
            .in_global_namespace()
            .with_params_info(["Method"])
            .with_comments(&comments)
            .set_into_module(module, move || -> Returned<Method> { made(info, &Map::new()) });
        if !info.params.is_empty() {
            FuncRegistration::new(info.name)
                .in_global_namespace()
                .with_params_info(["parameters: Map", "Method"])
                .with_comments(&comments)
                .set_into_module(module, move |parameters: Map| -> Returned<Method> { made(info, &parameters) });
        }
    }
}

/// The doc comment of a function that is made of a definition, with a call as its example.
pub fn documentation(info: &Info, example: &str) -> Vec<String> {
    let mut lines = vec![format!("/// {}: {}. {}.", info.title, info.summary, info.source)];
    if !info.params.is_empty() {
        lines.push("///".into());
    }
    for param in info.params {
        lines.push(format!("/// - `{}` ({}, default {}): {}", param.name, param.kind, param.default, param.help));
    }
    lines.extend(["///", "/// ```rhai"].map(str::to_owned));
    lines.extend([format!("/// {example}"), "/// ```".into()]);
    lines
}

/// A value to show in an example; nothing for parameters that are best left alone.
fn sample(param: &longlens_core::setting::Param) -> Option<&'static str> {
    Some(match (param.name, param.kind) {
        ("group_size" | "n_sink", _) => "4",
        ("chunk_len", _) => "16",
        ("attention_len", _) => "128",
        ("window" | "neighbor_window" | "local_window", _) => "64",
        ("chunk_size", _) => "192",
        _ => return None,
    })
}

/// A method of the catalog from a map of parameters.
fn made(info: &'static Info, parameters: &Map) -> Returned<Method> {
    let mut method = longlens_core::methods::Method::parse(info.name).map_err(raise)?;
    for (name, value) in parameters {
        let value = value.flatten_clone();
        if value.is_unit() {
            continue;
        }
        method = method.with(name, &setting_value(name, &value)?).map_err(raise)?;
    }
    Ok(Method::Plain(method))
}

/// A parameter's value.
pub fn setting_value(name: &str, value: &Dynamic) -> Returned<Value> {
    let value = value.flatten_clone();
    if let Some(number) = crate::options::number(&value) {
        return Ok(Value::Number(number));
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(Value::Word(flag.to_string()));
    }
    let word = value.clone().into_string();
    word.map(|word| Value::read(&word)).map_err(|_| wrong(&format!("parameter `{name}`"), "a number or a word", &value))
}

/// Names, parameters and defaults of a catalog.
fn catalog(what: &str, infos: &[&'static Info]) -> crate::table::Table {
    use crate::table::Datum;
    let text = |text: &dyn std::fmt::Display| Datum::Text(text.to_string());
    let rows = infos.iter().flat_map(|info| {
        let none = info
            .params
            .is_empty()
            .then(|| vec![(what.to_owned(), text(&info.name)), ("meaning".to_owned(), text(&info.summary))]);
        let each = info.params.iter().map(move |param| {
            vec![
                (what.to_owned(), text(&info.name)),
                ("parameter".to_owned(), text(&param.name)),
                ("value".to_owned(), text(&param.kind)),
                ("default".to_owned(), text(&param.default)),
                ("meaning".to_owned(), text(&param.help)),
            ]
        });
        none.into_iter().chain(each)
    });
    crate::table::Table::from_records(rows)
}
