//! Looking inside: which chunks heads fetch, and their attention maps.

use std::sync::Arc;

use longlens_plot::color::ColorScale;
use longlens_plot::plots::{ChunkMap, ChunkRows};
use longlens_workbench::npz;
use rhai::plugin::*;

use crate::table::Table as Rows;
use crate::values::{Figure, FigureValue, Table, TableValue, Trace};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use std::sync::Arc;

    use longlens_core::trace::{MapPick, MapWindow, Watch};
    use longlens_plot::color::ColorScale;
    use longlens_plot::plots::{AttentionMap, Pooling};
    use longlens_workbench::npz;
    use rhai::{Array, Dynamic, Map};

    use super::by_score;
    use crate::desk::{Returned, desk, refuse};
    use crate::functions::calls::{self, Wanted, index};
    use crate::options::Options;
    use crate::table::{Datum, Table as Rows};
    use crate::values::{Figure, FigureValue, Run, Table, Trace, record_map, to_prompt};

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
    /// `prefill_chunk`, `model` (a handle or a name, for this call alone).
    ///
    /// ```rhai
    /// trace("One two three four five six", full(), #{ query: 3, chunk_len: 2 })
    /// ```
    #[rhai_fn(name = "trace", return_raw)]
    pub fn trace_with(context: NativeCallContext, prompt: Dynamic, method: Dynamic, options: Map) -> Returned<Trace> {
        let desk = desk(&context);
        let known = ["query", "chunk_len", "rope", "prefill_chunk", "model"];
        let mut options = Options::new("trace", options, &known)?;
        let model = calls::model(&desk, &mut options)?;
        let prompt = to_prompt(&prompt, &model, "the prompt")?;
        let (query, chunk_len) = (options.count("query")?, options.count("chunk_len")?);
        if chunk_len == Some(0) {
            return refuse("chunks of 0 tokens are none", "give `chunk_len` 1 or more");
        }
        let wanted = Wanted::new(&method, &mut options, Trace::n_beyond(&prompt))?;
        let settings = wanted.settings(&context, prompt.built.tokens.len())?;
        Trace::perform(&desk, &model, prompt, &settings, query, chunk_len)
    }

    /// The trace of a run's prompt under the run's method.
    ///
    /// ```rhai
    /// let r = run(needle(300, 0.5), full());
    /// trace(r).query
    /// ```
    #[rhai_fn(name = "trace", return_raw)]
    pub fn trace_of_run(context: NativeCallContext, run: &mut Run) -> Returned<Trace> {
        let (value, prompt) = (&run.0, run.0.prompt.clone());
        let settings = value.settings(&context, prompt.built.tokens.len() + Trace::n_beyond(&prompt))?;
        Trace::perform(&desk(&context), &value.model, prompt, &settings, None, None)
    }

    /// Which chunks every head attends to: those it chose where the method chooses chunks, else how much attention each gets.
    ///
    /// ```rhai
    /// chunks(trace(needle(400, 0.5), "long_heads:chunk_len=16,attention_len=128"))
    /// ```
    #[rhai_fn(name = "chunks", pure)]
    pub fn chunks(trace: &mut Trace) -> Figure {
        super::chunks_of(trace, None)
    }

    /// The same for the heads of one layer.
    ///
    /// ```rhai
    /// chunks(trace(needle(400, 0.5), full()), 1)
    /// ```
    #[rhai_fn(name = "chunks", return_raw)]
    pub fn chunks_of_layer(trace: &mut Trace, layer: i64) -> Returned<Figure> {
        let layer = index("layer", layer, trace.0.shape().0)?;
        Ok(super::chunks_of(trace, Some(layer)))
    }

    /// Every chunk that every head attends to, as a table: `layer`, `head`, `chunk`, `first_token`, `attention`, and, where the
    /// method chooses, `chosen`, `forced`, `score`.
    ///
    /// ```rhai
    /// let t = trace(needle(400, 0.5), "long_heads:chunk_len=16,attention_len=128");
    /// chunk_table(t).filter(|row| row.chosen).count("head")
    /// ```
    #[rhai_fn(name = "chunk_table", pure)]
    pub fn chunk_table(trace: &mut Trace) -> Table {
        let heads = &trace.0.heads;
        let (n_layers, n_heads) = trace.0.shape();
        let mut rows = Vec::new();
        for (layer, head) in (0..n_layers * n_heads).map(|at| (at / n_heads, at % n_heads)) {
            let picks = heads.picks(layer, head);
            for (chunk, mass) in heads.mass(layer, head).iter().enumerate() {
                let mut row = vec![
                    ("layer", Datum::Int(layer as i64)),
                    ("head", Datum::Int(head as i64)),
                    ("chunk", Datum::Int(chunk as i64)),
                    ("first_token", Datum::Int((chunk * heads.chunk_len) as i64)),
                    ("attention", Datum::Real(f64::from(*mass))),
                ];
                if heads.chooses() {
                    let pick = picks.iter().find(|pick| pick.chunk == chunk);
                    row.push(("chosen", Datum::Bool(pick.is_some())));
                    row.push(("forced", Datum::Bool(pick.is_some_and(longlens_workbench::heads::Pick::is_forced))));
                    let score = pick.and_then(|pick| pick.score);
                    row.push(("score", score.map_or(Datum::Empty, |score| Datum::Real(f64::from(score)))));
                }
                rows.push(row);
            }
        }
        super::table_of(trace, Rows::from_records(rows), None)
    }

    /// The heads that fetch the hidden key, best first: attention on the needle, and of methods that choose chunks how often
    /// the needle's chunks were chosen while the answer is given. Without a needle: attention far away.
    ///
    /// ```rhai
    /// retrieval_heads(trace(needle(400, 0.5), full())).head(3)
    /// ```
    #[rhai_fn(name = "retrieval_heads", pure)]
    pub fn retrieval_heads(trace: &mut Trace) -> Table {
        let value = &trace.0;
        let (needle, chooses) = (value.needle(), value.heads.chooses());
        let rows = by_score(value).into_iter().map(|(layer, head)| {
            let mut row = vec![
                ("layer", Datum::Int(layer as i64)),
                ("head", Datum::Int(head as i64)),
                ("attention", Datum::Real(f64::from(value.score(layer, head)))),
            ];
            if let (Some(needle), true) = (&needle, chooses) {
                let (hits, asked) = value.heads.hits(layer, head, needle);
                row.push(("hits", Datum::Int(hits as i64)));
                row.push(("queries", Datum::Int(asked as i64)));
            }
            row
        });
        super::table_of(trace, Rows::from_records(rows), Some(value.score_name()))
    }

    /// The attention map of one head. Prompts longer than 512 tokens are pooled to 512 cells a side.
    ///
    /// ```rhai
    /// attention(trace(needle(300, 0.5), full()), 1, 2)
    /// ```
    #[rhai_fn(name = "attention", return_raw)]
    pub fn attention(context: NativeCallContext, trace: &mut Trace, layer: i64, head: i64) -> Returned<Figure> {
        attention_with(context, trace, layer, head, Map::new())
    }

    /// The same with options: `side` (cells of a side, up to 2048), `pooling` (`max`, `mean`), `scale` (`log`, `linear`), and
    /// `query`, `key`, `len` for a part: `len` tokens a side from these first tokens.
    ///
    /// ```rhai
    /// attention(trace(needle(300, 0.5), full()), 1, 2, #{ query: 200, key: 100, len: 64, scale: "linear" })
    /// ```
    #[rhai_fn(name = "attention", return_raw)]
    pub fn attention_with(
        context: NativeCallContext,
        trace: &mut Trace,
        layer: i64,
        head: i64,
        options: Map,
    ) -> Returned<Figure> {
        let known = ["side", "pooling", "scale", "query", "key", "len"];
        let mut options = Options::new("attention", options, &known)?;
        let value = &trace.0;
        let (n_layers, n_heads) = value.shape();
        let (layer, head) = (index("layer", layer, n_layers)?, index("head", head, n_heads)?);
        let side = options.count("side")?.unwrap_or(SIDE);
        if side == 0 || side > MAX_SIDE {
            return refuse(format!("side {side} is out of range"), format!("give 1 to {MAX_SIDE}"));
        }
        let pooling = match options.word("pooling", &["max", "mean"])? {
            Some("mean") => Pooling::Mean,
            _ => Pooling::Max,
        };
        let scale = match options.word("scale", &["log", "linear"])? {
            Some("linear") => ColorScale::Linear,
            _ => ColorScale::Log { floor: MAP_FLOOR },
        };
        let (query, key, len) = (options.count("query")?, options.count("key")?, options.count("len")?);
        let is_part = query.is_some() || key.is_some() || len.is_some();
        let n_tokens = value.heads.run.n_prompt;
        let window = is_part.then(|| {
            let query = query.unwrap_or(0);
            MapWindow { query, key: key.unwrap_or(0), len: len.unwrap_or(n_tokens.saturating_sub(query)).max(1) }
        });
        let watch = Watch { maps: vec![MapPick { layer, head, side, window }], ..Watch::default() };
        let told = value.look(&desk(&context), &watch)?;
        let map = &told.maps[0];
        let figure = AttentionMap::pooled_map(&value.heads.run, map, pooling, scale);
        let text = format!("attention of layer {layer}, head {head}, {}", value.heads.run.method);
        let arrays = vec![
            npz::Array::new("mean", &[map.side, map.side], map.mean.clone()),
            npz::Array::new("max", &[map.side, map.side], map.max.clone()),
        ];
        Ok(Figure(FigureValue { figure: Arc::new(figure), text, arrays }.into()))
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
        let (n_layers, n_heads) = trace.0.shape();
        let rows = (0..n_layers * n_heads).map(|at| {
            let (layer, head) = (at / n_heads, at % n_heads);
            [
                ("layer", Datum::Int(layer as i64)),
                ("head", Datum::Int(head as i64)),
                ("attention", Datum::Real(f64::from(trace.0.heads.on(layer, head, &(first..last + 1))))),
            ]
        });
        Ok(super::table_of(trace, Rows::from_records(rows), None))
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

    /// Loss of every token of the prompt but the first, in nats.
    #[rhai_fn(get = "nll", pure)]
    pub fn nll(trace: &mut Trace) -> Array {
        trace.0.nll.iter().map(|loss| f64::from(*loss).into()).collect()
    }

    /// What was run, as a map.
    #[rhai_fn(get = "record", pure)]
    pub fn record(trace: &mut Trace) -> Map {
        record_map(&trace.0.heads.run)
    }

    /// Weights below this look alike.
    const MAP_FLOOR: f64 = 1e-5;
    /// Cells of a side of a map.
    const SIDE: usize = 512;
    /// Most cells of a side that a picture can show.
    const MAX_SIDE: usize = 2048;
}

/// Every head, the one with the highest score first.
fn by_score(trace: &crate::values::TraceValue) -> Vec<(usize, usize)> {
    let (n_layers, n_heads) = trace.shape();
    let mut heads: Vec<_> = (0..n_layers * n_heads).map(|at| (at / n_heads, at % n_heads)).collect();
    heads.sort_by(|a, b| trace.score(b.0, b.1).total_cmp(&trace.score(a.0, a.1)));
    heads
}

fn chunks_of(trace: &Trace, layer: Option<usize>) -> Figure {
    let value = &trace.0;
    let told = value.heads.trace();
    let queries = told.layers.first().and_then(|layer| layer.choices.as_ref()).map(|choices| &choices.queries);
    let row = queries.and_then(|queries| queries.iter().position(|query| *query == value.heads.query));
    let mut figure = match row.filter(|_| value.chooses()) {
        Some(row) => ChunkMap::choices(told, row, value.heads.chunk_len),
        None => ChunkMap::mass(told, 0, ColorScale::Log { floor: FLOOR }),
    };
    if let Some(layer) = layer {
        match &mut figure.rows {
            ChunkRows::Choices(rows, _) => rows.retain(|row| row.layer == layer),
            ChunkRows::Mass(rows, _) => rows.retain(|row| row.layer == layer),
        }
    }
    if let Some(needle) = value.needle() {
        figure = figure.with_needle(needle);
    }
    let what = if value.chooses() { "chosen chunks" } else { "attention by chunk" };
    let heads = layer.map_or("every head".to_owned(), |layer| format!("the heads of layer {layer}"));
    let text = format!("{what} of {heads} from token {}, {}", value.heads.query, value.heads.run.method);
    let n_chunks = value.heads.n_chunks();
    let (n_layers, n_heads) = value.shape();
    let mass = (0..n_layers * n_heads).flat_map(|at| value.heads.mass(at / n_heads, at % n_heads).to_vec());
    let arrays = vec![npz::Array::new("mass", &[n_layers, n_heads, n_chunks], mass.collect())];
    Figure(FigureValue { figure: Arc::new(figure), text, arrays }.into())
}

fn table_of(trace: &Trace, table: Rows, protocol: Option<&str>) -> Table {
    let run = &trace.0.heads.run;
    let figure = protocol.map(|_| trace.0.grid());
    let protocol = protocol
        .map_or(String::new(), |what| format!("attention: {what}, from token {}, {}", trace.0.heads.query, run.method));
    Table(TableValue { table, figure, records: vec![run.clone()], protocol }.into())
}

/// Masses below this share look alike.
const FLOOR: f64 = 1e-4;
