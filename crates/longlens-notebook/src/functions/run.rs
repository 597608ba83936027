//! Running prompts and comparing runs.

use rhai::plugin::*;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use longlens_app::settings::Settings;
    use longlens_app::views::{self, Plot};
    use rhai::{Array, Dynamic, Map};

    use super::{hidden, names, series};
    use crate::functions::calls::{self, RunRequest, count};
    use crate::host::{Returned, host, refuse};
    use crate::options::Options;
    use crate::table::{Datum, Table as Rows};
    use crate::values::{Figure, Run, Table, TableValue, record_map, to_prompt};

    /// Runs a prompt (a handle or a text) under a method: loss of every token, then up to 16 tokens of text.
    ///
    /// ```rhai
    /// let r = run(needle(400, 0.5), self_extend(#{ group_size: 8, neighbor_window: 64 }));
    /// r.found
    /// ```
    #[rhai_fn(name = "run", return_raw)]
    pub fn run(context: NativeCallContext, prompt: Dynamic, method: Dynamic) -> Returned<Run> {
        run_with(context, prompt, method, Map::new())
    }

    /// The same with options: `rope`, `max_tokens`, `temperature`, `top_k`, `top_p`, `min_p`, `repetition_penalty`, `seed`,
    /// `stop`, `prefill_chunk`, `layer_windows` (`"auto"`, `"keep"` or `"off"`: what becomes of windows of the model's layers), `model`
    /// (a handle or a name, for this call alone).
    ///
    /// ```rhai
    /// run("Once upon a time", full(), #{ max_tokens: 8, temperature: 0.7, seed: 3 }).text
    /// ```
    #[rhai_fn(name = "run", return_raw)]
    pub fn run_with(context: NativeCallContext, prompt: Dynamic, method: Dynamic, options: Map) -> Returned<Run> {
        let host = host(&context);
        let mut options = Options::new("run", options, &[calls::run_options(), vec!["model"]].concat())?;
        let model = calls::model(&host, &mut options)?;
        let prompt = to_prompt(&host, &prompt, &model, "the prompt")?;
        let request = RunRequest::new(&method, &mut options, Settings::default().max_tokens.max(hidden(&prompt)))?;
        let settings = request.settings(&context, prompt.built.tokens.len())?;
        Run::perform(&context, &model, prompt, &request.method, settings, &request.stop)
    }

    /// Text of `max_tokens` tokens after a prompt.
    ///
    /// ```rhai
    /// generate("The pass key is", full(), 4)
    /// ```
    #[rhai_fn(name = "generate", return_raw)]
    pub fn generate(context: NativeCallContext, prompt: Dynamic, method: Dynamic, max_tokens: i64) -> Returned<String> {
        let mut options = Map::new();
        options.insert("max_tokens".into(), (count("max_tokens", max_tokens, 0)? as i64).into());
        Ok(run_with(context, prompt, method, options)?.0.kept.output.clone())
    }

    /// The same with the options of `run`.
    ///
    /// ```rhai
    /// generate("The pass key is", "streaming:window=32", #{ max_tokens: 4, seed: 1 })
    /// ```
    #[rhai_fn(name = "generate", return_raw)]
    pub fn generate_with(
        context: NativeCallContext,
        prompt: Dynamic,
        method: Dynamic,
        options: Map,
    ) -> Returned<String> {
        Ok(run_with(context, prompt, method, options)?.0.kept.output.clone())
    }

    /// Two runs of one prompt, token by token: where the second predicts better or worse, and what each said.
    ///
    /// ```rhai
    /// let p = needle(400, 0.5);
    /// compare(run(p, full()), run(p, "self_extend:group_size=8,neighbor_window=64"))
    /// ```
    #[rhai_fn(name = "compare", return_raw)]
    pub fn compare(a: &mut Run, b: Run) -> Returned<Table> {
        let (a, b) = (&*a, &b);
        let (left, right) = (&a.0.kept, &b.0.kept);
        if !left.same_prompt(right) {
            return refuse("these runs have different prompts", "compare runs of one prompt on one model");
        }
        let [left_name, right_name] = &names(&[a, b])[..] else { unreachable!("a name for each run") };
        let from = left.nll_from.max(right.nll_from);
        let row = |run: &Run, name: &String| {
            let kept = &run.0.kept;
            let (loss, _) = kept.mean_from(from);
            let number = |value: Option<f64>| value.map_or(Datum::Empty, Datum::Real);
            [
                ("method", Datum::Text(name.clone())),
                ("rope", Datum::Text(kept.record.rope.clone())),
                ("loss", number(loss)),
                ("perplexity", number(loss.map(f64::exp))),
                ("found", kept.found.map_or(Datum::Empty, Datum::Bool)),
                ("text", Datum::Text(kept.output.clone())),
            ]
        };
        let table = Rows::from_records([row(a, left_name), row(b, right_name)]);
        let names = [left_name.clone(), right_name.clone()];
        let Plot { figure, text, .. } = views::compare([left, right], names, None, &a.0.model.info.spec);
        let records = vec![left.record.clone(), right.record.clone()];
        Ok(Table(TableValue { table, figure: Some(figure), records, protocol: text }.into()))
    }

    /// Loss by token of several runs, smoothed over `smooth` tokens.
    ///
    /// ```rhai
    /// let p = needle(400, 0.5);
    /// losses([run(p, full()), run(p, "streaming:window=64")], 16)
    /// ```
    #[rhai_fn(name = "losses", return_raw)]
    pub fn losses(runs: Array, smooth: i64) -> Returned<Figure> {
        let runs = series(&runs)?;
        let names = names(&runs.iter().collect::<Vec<_>>());
        let named: Vec<_> = runs.iter().zip(names).map(|(run, name)| (&run.0.kept, name)).collect();
        let spec = &runs[0].0.model.info.spec;
        Ok(Figure::new(views::losses(&named, spec, count("smooth", smooth, 0)?)))
    }

    /// What a run said.
    #[rhai_fn(get = "text", pure)]
    pub fn text(run: &mut Run) -> String {
        run.0.kept.output.clone()
    }

    /// Whether a run said the hidden key; `()` where none was hidden.
    #[rhai_fn(get = "found", pure)]
    pub fn found(run: &mut Run) -> Dynamic {
        run.0.kept.found.map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Mean loss of the prompt's tokens, in nats.
    #[rhai_fn(get = "loss", pure)]
    pub fn loss(run: &mut Run) -> Dynamic {
        run.0.kept.mean_nll.map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Perplexity of the prompt.
    #[rhai_fn(get = "perplexity", pure)]
    pub fn perplexity(run: &mut Run) -> Dynamic {
        run.perplexity().map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Loss of every token of the prompt but the first, in nats; of a prompt that goes on from a kept one those behind it.
    #[rhai_fn(get = "nll", pure)]
    pub fn nll(run: &mut Run) -> Array {
        run.0.kept.prompt_nll().iter().map(|loss| f64::from(*loss).into()).collect()
    }

    /// Seconds of the prefill.
    #[rhai_fn(get = "seconds", pure)]
    pub fn seconds(run: &mut Run) -> Dynamic {
        run.0.kept.prefill_seconds.map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// Generated tokens a second, after the first; `()` where there were fewer than two.
    #[rhai_fn(get = "tokens_per_second", pure)]
    pub fn tokens_per_second(run: &mut Run) -> Dynamic {
        let speed = run.0.kept.speed.and_then(|speed| speed.decode);
        speed.map_or(Dynamic::UNIT, Dynamic::from)
    }

    /// What was run, as a map: model, method, RoPE scaling, number format, kernel path, mode, version.
    #[rhai_fn(get = "record", pure)]
    pub fn record(run: &mut Run) -> Map {
        record_map(&run.0.kept.record)
    }
}

/// Tokens of a hidden key's answer.
fn hidden(prompt: &crate::values::Prompt) -> usize {
    prompt.built.needle.as_ref().map_or(0, |needle| needle.answer.len())
}

/// The methods of runs, in titles. Different ones of one name, which scripts can write, are numbered.
fn names(runs: &[&crate::values::Run]) -> Vec<String> {
    let methods: Vec<_> = runs.iter().map(|run| (&run.0.kept.record.method, &run.0.rules)).collect();
    let name = |(title, rules): &(&String, &Option<String>)| {
        let mut same: Vec<&Option<String>> = Vec::new();
        for (_, rules) in methods.iter().filter(|(other, _)| other == title) {
            if !same.contains(rules) {
                same.push(rules);
            }
        }
        match same.iter().position(|known| known == rules) {
            Some(at) if same.len() > 1 => format!("{title} #{}", at + 1),
            _ => (*title).clone(),
        }
    };
    methods.iter().map(name).collect()
}

/// A list of runs, at least one.
fn series(runs: &rhai::Array) -> crate::host::Returned<Vec<crate::values::Run>> {
    if runs.is_empty() {
        return crate::host::refuse("there are no runs", "give at least one, as in `losses([r], 16)`");
    }
    let run = |value: &rhai::Dynamic| {
        let run = value.flatten_clone().try_cast::<crate::values::Run>();
        run.ok_or_else(|| crate::options::wrong("every one of the runs", "a run", value))
    };
    runs.iter().map(run).collect()
}
