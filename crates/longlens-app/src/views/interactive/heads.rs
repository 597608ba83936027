//! Pages of all heads: where each attends to by chunk, from several queries, with one number a head.

use longlens_core::trace::Chunks;
use longlens_plot::page::packed;
use serde_json::{Map, Value, json};

use super::{Record, Room, on_shares};
use crate::heads::{Heads, fitting_chunk_len};
use crate::problem::Problem;
use crate::views::Subject;

/// Shares by chunk of all heads and queries together.
const MAX_SHARES: usize = 1_200_000;
/// Queries at most.
const MAX_QUERIES: usize = 16;
/// Heads whose weights on single tokens are stored.
const ROWS: usize = 8;
/// Weights on single tokens of these heads together.
const MAX_WEIGHTS: usize = 600_000;

/// One number of every head.
pub struct Number<'a> {
    /// What it is.
    pub name: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// The number of a layer's head.
    pub of: &'a dyn Fn(&Heads, (usize, usize)) -> f32,
    /// Whether the lowest stand out.
    pub lowest_first: bool,
}

/// What is shown first.
pub struct Shown<'a> {
    /// `chunks`, heads by chunks, or `grid`, layers by heads.
    pub first: &'a str,
    /// The query.
    pub query: usize,
    /// Tokens of a chunk.
    pub chunk_len: usize,
    /// The layer whose heads are shown; all where it is nothing.
    pub layer: Option<usize>,
    /// Whether chosen chunks are shown, where heads choose.
    pub is_choice: bool,
}

/// The data of such a page.
pub fn page(
    subject: &Subject,
    shown: &Shown,
    number: &Number,
    record: &mut Record,
) -> Result<Map<String, Value>, Problem> {
    let spec = &subject.model.spec;
    let (n_layers, n_heads) = (spec.n_layers, spec.n_heads);
    let chunk_len = fitting_chunk_len(spec, shown.query, shown.chunk_len);
    let mut room = Room::new();
    let texts = room.texts(subject.pieces);
    let mut of_queries = Vec::new();
    let mut rows = Vec::new();
    for query in queries(subject, shown.query, chunk_len) {
        let watch = Heads::watch(subject.model, query, subject.answering(query), chunk_len);
        let Some(heads) = Heads::new(record(&watch)?, query) else { continue };
        let numbers: Vec<f32> = heads.all().map(|head| (number.of)(&heads, head)).collect();
        if query == shown.query {
            rows = best_rows(&heads, &numbers, number.lowest_first, &mut room);
        }
        let shape = [n_layers, n_heads, heads.n_chunks()];
        let mass: Vec<f32> = heads.all().flat_map(|(layer, head)| heads.mass(layer, head)).copied().collect();
        let mass = room.take(format!("attention from token {query}"), packed::shares(&shape, &mass));
        if mass.is_null() {
            continue;
        }
        of_queries.push(json!({
            "query": query, "mass": mass, "number": packed::numbers(&[n_layers, n_heads], &numbers),
            "chosen": chosen(&heads, &mut room),
        }));
    }
    let all: Vec<String> = of_queries.iter().map(|query| query["query"].to_string()).collect();
    room.says(format!(
        "Attention by chunk of {chunk_len} tokens, of all {} heads, from {} {}.",
        n_layers * n_heads,
        if all.len() == 1 { "token" } else { "tokens" },
        all.join(", ")
    ));
    if !rows.is_empty() {
        room.says(format!(
            "Attention on single tokens of the {} heads that stand out, from token {}.",
            rows.len(),
            shown.query
        ));
    }
    room.says(on_shares());
    let data = json!({
        "kind": "heads", "first": shown.first, "n_layers": n_layers, "n_heads": n_heads, "chunk_len": chunk_len,
        "query": shown.query, "layer": shown.layer, "is_choice": shown.is_choice,
        "number": { "name": number.name, "unit": number.unit, "lowest_first": number.lowest_first },
        "queries": of_queries, "rows": rows, "texts": texts, "stored": room.sentences(),
    });
    Ok(data.as_object().cloned().unwrap_or_default())
}

/// The queries that can be picked, ascending: the one that is shown, those of the answer, the last of the needle and of the prompt,
/// and some between; as many as their shares fit.
fn queries(subject: &Subject, query: usize, chunk_len: usize) -> Vec<usize> {
    let n_heads = subject.model.spec.n_layers * subject.model.spec.n_heads;
    let last = subject.n_tokens - 1;
    let answer = subject.answer.clone().unwrap_or(last..last + 1).take(4);
    let needle = subject.needle.iter().flat_map(|needle| [needle.end.saturating_sub(1), needle.end]);
    let nearby = (1..=3).map(|back| query.saturating_sub(back));
    let between = (1..8).map(|part| part * last / 8);
    let mut queries = vec![query];
    let mut left = MAX_SHARES.saturating_sub(n_heads * Chunks::Every(chunk_len).count(query + 1));
    for query in answer.chain(needle).chain(nearby).chain(between).filter(|query| *query <= last) {
        let n_shares = n_heads * Chunks::Every(chunk_len).count(query + 1);
        if queries.len() < MAX_QUERIES && n_shares <= left && !queries.contains(&query) {
            left -= n_shares;
            queries.push(query);
        }
    }
    queries.sort_unstable();
    queries
}

/// Of every head and chunk 1 where it was chosen and 2 where every choice holds it; nothing where no head chooses.
fn chosen(heads: &Heads, room: &mut Room) -> Value {
    if !heads.chooses() {
        return Value::Null;
    }
    let mut chosen = vec![0; heads.shape.0 * heads.shape.1 * heads.n_chunks()];
    for (at, (layer, head)) in heads.all().enumerate() {
        for pick in heads.picks(layer, head) {
            chosen[at * heads.n_chunks() + pick.chunk] = if pick.is_forced() { 2 } else { 1 };
        }
    }
    let shape = [heads.shape.0, heads.shape.1, heads.n_chunks()];
    room.take(format!("chunks that token {} chose", heads.query), packed::bytes(&shape, &chosen))
}

/// Weights on single tokens of the heads that stand out, where rows were recorded.
fn best_rows(heads: &Heads, numbers: &[f32], lowest_first: bool, room: &mut Room) -> Vec<Value> {
    let mut order: Vec<_> = heads.all().zip(numbers).collect();
    order.sort_by(|a, b| if lowest_first { a.1.total_cmp(b.1) } else { b.1.total_cmp(a.1) });
    let n = ROWS.min(MAX_WEIGHTS / (heads.query + 1));
    let rows = order.into_iter().take(n).filter_map(|((layer, head), _)| {
        let weights = heads.row(layer, head)?;
        let what = format!("single tokens of layer {layer}, head {head}");
        let weights = room.take(what, packed::shares(&[weights.len()], weights));
        (!weights.is_null()).then(|| json!({ "layer": layer, "head": head, "query": heads.query, "weights": weights }))
    });
    rows.collect()
}
