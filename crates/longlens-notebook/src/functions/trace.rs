//! Looking inside: where heads attend to from one token. Pictures of it are in `view.rs`.

use rhai::plugin::*;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::{Array, Dynamic, Map};

    use crate::functions::calls::{self, RunRequest, index};
    use crate::host::{Returned, host, raise, refuse};
    use crate::options::Options;
    use crate::table::{Datum, Table as Rows};
    use crate::values::{Run, Table, TableValue, Trace, record_map, to_prompt};

    /// Runs a prompt under a method and looks where every head attends to from one token: of a needle prompt the token that
    /// fetches the key, else the last one.
    ///
    /// ```rhai
    /// trace(needle(400, 0.5), "long_heads:chunk_len=16,attention_len=128")
    /// ```
    #[rhai_fn(name = "trace", return_raw)]
    pub fn trace(context: NativeCallContext, prompt: Dynamic, method: Dynamic) -> Returned<Trace> {
        trace_with(context, prompt, method, Map::new())
    }

    /// The same with options: `query` (a token), `chunk_len` (where the method has no chunks of its own), `rope`,
    /// `layer_windows`, `prefill_chunk`, `model` (a handle or a name, for this call alone).
    ///
    /// ```rhai
    /// trace("One two three four five six", full(), #{ query: 3, chunk_len: 2 })
    /// ```
    #[rhai_fn(name = "trace", return_raw)]
    pub fn trace_with(context: NativeCallContext, prompt: Dynamic, method: Dynamic, options: Map) -> Returned<Trace> {
        let host = host(&context);
        let known = ["query", "chunk_len", "rope", "layer_windows", "prefill_chunk", "model"];
        let mut options = Options::new("trace", options, &known)?;
        let model = calls::model(&host, &mut options)?;
        let prompt = to_prompt(&host, &prompt, &model, "the prompt")?;
        let (query, chunk_len) = (options.count("query")?, options.count("chunk_len")?);
        if chunk_len == Some(0) {
            return refuse("chunks of 0 tokens are none", "give `chunk_len` 1 or more");
        }
        let request = RunRequest::new(&method, &mut options, Trace::n_beyond(&prompt))?;
        let settings = request.settings(&context, prompt.built.tokens.len())?;
        Trace::perform(&host, &model, prompt, &[], &settings, query, chunk_len)
    }

    /// The trace of a run's prompt under the run's method, with what it answered: `passages` shows what the answer attended to.
    ///
    /// ```rhai
    /// let r = run(needle(300, 0.5), full());
    /// trace(r).query
    /// ```
    #[rhai_fn(name = "trace", return_raw)]
    pub fn trace_of_run(context: NativeCallContext, run: &mut Run) -> Returned<Trace> {
        let (value, prompt) = (&run.0, run.0.prompt.clone());
        // of a hidden key the right answer is fed, of others the run's own
        let answer = if prompt.built.needle.is_some() { &[] } else { &value.kept.generated[..] };
        let n_beyond = Trace::n_beyond(&prompt).max(answer.len());
        let settings = value.settings(&context, prompt.built.tokens.len() + n_beyond)?;
        Trace::perform(&host(&context), &value.model, prompt, answer, &settings, None, None)
    }

    /// The heads that fetch the hidden key, best first: attention on the needle, and of methods that choose chunks how often
    /// the needle's chunks were chosen while the answer is given. Without a needle: attention far away.
    ///
    /// ```rhai
    /// retrieval_heads(trace(needle(400, 0.5), full())).head(3)
    /// ```
    #[rhai_fn(name = "retrieval_heads", return_raw)]
    pub fn retrieval_heads(trace: &mut Trace) -> Returned<Table> {
        let view = trace.0.layers()?;
        let table = Table::of_view(&view, view.records.clone())?;
        let table =
            TableValue { table: table.0.table.sort(&["attention"], true).map_err(raise)?, ..(*table.0).clone() };
        Ok(Table(table.into()))
    }

    /// What one head attends to from the traced token: one weight per key. Empty where the prompt is too long to keep rows.
    ///
    /// ```rhai
    /// let t = trace(needle(300, 0.5), full());
    /// row(t, 1, 2).len()
    /// ```
    #[rhai_fn(name = "row", return_raw)]
    pub fn row(trace: &mut Trace, layer: i64, head: i64) -> Returned<Array> {
        let (n_layers, n_heads) = trace.0.shape();
        let (layer, head) = (index("layer", layer, n_layers)?, index("head", head, n_heads)?);
        let row = trace.0.heads.row(layer, head).unwrap_or_default();
        Ok(row.iter().map(|weight| f64::from(*weight).into()).collect())
    }

    /// Attention on a range of tokens (first, last) of every head, as a table. On tokens 0 to 3 it shows attention sinks.
    ///
    /// ```rhai
    /// attention_on(trace(needle(300, 0.5), full()), 0, 3).head(3)
    /// ```
    #[rhai_fn(name = "attention_on", return_raw)]
    pub fn attention_on(trace: &mut Trace, first: i64, last: i64) -> Returned<Table> {
        let n_tokens = trace.0.heads.query + 1;
        let (first, last) = (index("token", first, n_tokens)?, index("token", last, n_tokens)?);
        if first > last {
            return refuse(format!("tokens {first} to {last} are no range"), "give the first token before the last");
        }
        let heads = &trace.0.heads;
        let rows = heads.all().map(|(layer, head)| {
            [
                ("layer", Datum::Int(layer as i64)),
                ("head", Datum::Int(head as i64)),
                ("attention", Datum::Real(f64::from(heads.on(layer, head, &(first..last + 1))))),
            ]
        });
        let value =
            TableValue { table: Rows::from_records(rows), records: vec![heads.run.clone()], ..TableValue::default() };
        Ok(Table(value.into()))
    }

    /// The token that is looked from.
    #[rhai_fn(get = "query", pure)]
    pub fn query(trace: &mut Trace) -> i64 {
        trace.0.heads.query as i64
    }

    /// Tokens of a chunk.
    #[rhai_fn(get = "chunk_len", pure)]
    pub fn chunk_len(trace: &mut Trace) -> i64 {
        trace.0.heads.chunk_len as i64
    }

    /// Loss of every token of the prompt but the first, in nats; NaN for tokens that a kept prompt has.
    #[rhai_fn(get = "nll", pure)]
    pub fn nll(trace: &mut Trace) -> Array {
        trace.0.nll.iter().map(|loss| f64::from(*loss).into()).collect()
    }

    /// What was run, as a map.
    #[rhai_fn(get = "record", pure)]
    pub fn record(trace: &mut Trace) -> Map {
        record_map(&trace.0.heads.run)
    }
}
