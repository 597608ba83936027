//! What one run leaves to look at.

use std::collections::BTreeMap;
use std::iter::repeat_n;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plan::{Plan, Prefill};
use crate::spec::ModelSpec;

/// What to record during a run. Everything is off by default; nothing query × key is kept unless asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watch {
    /// Negative log-likelihood of every fed token given those before it.
    pub nll: bool,
    /// Chosen chunks and their scores of these queries, all layers and heads.
    pub choices: Queries,
    /// Attention mass per chunk of these queries, all layers and heads.
    pub mass: Option<WatchMass>,
    /// Whole attention rows.
    pub rows: Vec<RowPick>,
    /// Pooled attention maps.
    pub maps: Vec<MapPick>,
    /// Layers whose attention output (before the output projection) is kept.
    pub attn_out: Vec<usize>,
    /// How many tokens after the prompt may be named as queries, too.
    pub beyond: usize,
}

/// A selection of query tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Queries {
    /// No query.
    #[default]
    None,
    /// Every query.
    All,
    /// These tokens.
    Of(Vec<usize>),
}

/// Attention mass per chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchMass {
    /// How keys are cut into chunks.
    pub chunks: Chunks,
    /// Whose attention.
    pub queries: Queries,
}

/// How the keys of a sequence are cut into chunks whose attention is summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunks {
    /// Every so many tokens, at least one.
    Every(usize),
    /// Before these tokens, ascending from 0: chunks as long as the passages of a text are.
    At(Arc<[usize]>),
}

/// One attention row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPick {
    /// Layer index.
    pub layer: usize,
    /// Query head index.
    pub head: usize,
    /// Query token index.
    pub query: usize,
}

/// One pooled attention map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapPick {
    /// Layer index.
    pub layer: usize,
    /// Query head index.
    pub head: usize,
    /// Cells of a side at most; longer prompts and windows are pooled.
    pub side: usize,
    /// Part of the map; all of it when absent.
    pub window: Option<MapWindow>,
}

/// A square part of an attention map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapWindow {
    /// First query token.
    pub query: usize,
    /// First key token.
    pub key: usize,
    /// Tokens of a side, at least 1; parts beyond the last token are empty.
    pub len: usize,
}

impl MapPick {
    /// All of a head's map.
    pub fn whole(layer: usize, head: usize, side: usize) -> Self {
        Self { layer, head, side, window: None }
    }
}

/// Everything that a run recorded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trace {
    /// What was run.
    pub run: RunRecord,
    /// Negative log-likelihood (nats) of token `t + 1` given tokens `..= t`. The first token that is fed has one only where a
    /// fork kept the logits before it.
    pub nll: Vec<f32>,
    /// One per layer.
    pub layers: Vec<LayerTrace>,
    /// Whole rows, as asked for, by layer, head and query: weight of every key up to the query.
    pub rows: Vec<(RowPick, Vec<f32>)>,
    /// Pooled maps, as asked for.
    pub maps: Vec<PooledMap>,
    /// Seconds by phase. `prefill` and `decode` hold `choose`, `attention` and `logits`; recording is in none of these.
    pub seconds: BTreeMap<&'static str, f64>,
    /// Tokens of a step of the prompt, at most; 0 where the lens does not tell.
    pub prefill_chunk: usize,
    /// Tokens at the beginning that were taken over from another sequence instead of computed.
    pub n_taken: usize,
    /// Highest resident memory of the process so far, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
    /// The most of the device's memory that the program has held so far, in bytes, where it has memory of its own.
    pub device_peak: Option<u64>,
}

/// What every result says of its run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name of the model.
    pub model: String,
    /// Method's text form with every parameter.
    pub method: String,
    /// RoPE scaling's text form.
    pub rope: String,
    /// Number format of weights and arithmetic.
    pub dtype: String,
    /// Which backend and kernel bodies computed it.
    pub kernel_path: String,
    /// `re-prefill` (exact) or `reuse-kv` (older keys were computed under another method).
    pub mode: String,
    /// longlens version.
    pub version: String,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Tokens that the model was trained on; 0 in records of older versions.
    #[serde(default)]
    pub trained_context: usize,
    /// `keep` or `off` where the model's layers have windows of their own that were not treated in the usual way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_windows: Option<String>,
    /// What a user should know of the model before trusting the numbers, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl RunRecord {
    /// The scaling in words, as [`rope_text`] has it.
    pub fn rope_text(&self) -> String {
        rope_text(&self.rope, self.trained_context)
    }
}

/// A scaling with the context that the model was trained on, such as `rope linear:factor=4 (trained on 4096 tokens)`; without a scaling
/// `rope none`, and without the context where that is 0.
pub fn rope_text(rope: &str, trained_context: usize) -> String {
    let trained = (rope != "none" && trained_context > 0).then(|| format!(" (trained on {trained_context} tokens)"));
    format!("rope {rope}{}", trained.unwrap_or_default())
}

/// One layer's part of a trace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerTrace {
    /// Chosen chunks.
    pub choices: Option<Choices>,
    /// Attention mass per chunk.
    pub mass: Option<ChunkMass>,
    /// Attention output before the output projection, row-major `[n_tokens, n_heads * head_dim]`; empty unless watched.
    pub attn_out: Vec<f32>,
}

/// Chosen chunks of one layer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Choices {
    /// Token index of every recorded query, ascending.
    pub queries: Vec<usize>,
    /// Tokens of a chunk; of heads that cut keys otherwise nothing is recorded here.
    pub chunk_len: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Slots of a row; shorter choices are padded with -1, and so are rows of heads that do not choose.
    pub n_slots: usize,
    /// Row-major `[n_queries, n_heads, n_slots]`: chunk of each slot, ascending.
    pub chunks: Vec<i32>,
    /// Same layout: score of each pick; NaN where the chunk was forced or the slot is padding.
    pub scores: Vec<f32>,
    /// Per query and head, the gap between the worst pick and the best chunk left out; infinite when all were taken, NaN where
    /// the head does not choose.
    pub margins: Vec<f32>,
}

/// Attention mass per chunk of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkMass {
    /// How keys were cut.
    pub chunks: Chunks,
    /// Token index of every recorded query.
    pub queries: Vec<usize>,
    /// Query heads.
    pub n_heads: usize,
    /// One list per query, head-major: `n_heads` times the mass on each chunk up to the query's own. Each head sums to 1.
    pub mass: Vec<Vec<f32>>,
}

/// Attention of one head, or of a window of it, pooled to at most `side × side` cells.
#[derive(Debug, Clone, PartialEq)]
pub struct PooledMap {
    /// Which head.
    pub pick: MapPick,
    /// Tokens per cell side.
    pub stride: usize,
    /// Tokens of the prompt, or of a side of the window.
    pub n_tokens: usize,
    /// Cells of a side.
    pub side: usize,
    /// Row-major `[side, side]`: attention from a query block to a key block, averaged over the block's recorded queries.
    pub mean: Vec<f32>,
    /// Row-major `[side, side]`: the largest single weight in the cell.
    pub max: Vec<f32>,
}

impl Chunks {
    /// Chunks that hold some of the first `n_tokens`.
    pub fn count(&self, n_tokens: usize) -> usize {
        match self {
            Self::Every(chunk_len) => n_tokens.div_ceil(*chunk_len),
            Self::At(starts) => starts.partition_point(|start| *start < n_tokens),
        }
    }

    /// The weight of every chunk, from the weights of the first keys.
    pub fn sums<'a>(&'a self, weights: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        let n_keys = weights.len();
        (0..self.count(n_keys)).map(move |chunk| {
            let keys = match self {
                Self::Every(chunk_len) => chunk * chunk_len..(chunk + 1) * chunk_len,
                Self::At(starts) => starts[chunk]..starts.get(chunk + 1).copied().unwrap_or(n_keys),
            };
            weights[keys.start..keys.end.min(n_keys)].iter().sum()
        })
    }
}

impl Queries {
    /// Whether token `query` is selected.
    pub fn contains(&self, query: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Of(list) => list.contains(&query),
        }
    }

    /// Whether all that is selected here is selected there.
    pub fn is_part_of(&self, other: &Self) -> bool {
        match self {
            Self::None => true,
            Self::All => *other == Self::All,
            Self::Of(list) => list.iter().all(|query| other.contains(*query)),
        }
    }

    /// How many of `tokens` are selected.
    pub fn count(&self, tokens: Range<usize>) -> usize {
        match self {
            Self::None => 0,
            Self::All => tokens.len(),
            Self::Of(list) => list.iter().filter(|query| tokens.contains(query)).count(),
        }
    }
}

impl Choices {
    /// Nothing recorded yet of `n_heads` heads that choose up to `n_slots` chunks of `chunk_len` tokens.
    pub fn new(n_heads: usize, n_slots: usize, chunk_len: usize) -> Self {
        Self { chunk_len, n_heads, n_slots, ..Self::default() }
    }

    /// Makes empty rows for those of consecutive queries that have none. Later rows move once for all that lie side by side.
    pub fn make_rows(&mut self, queries: Range<usize>) {
        let row_len = self.n_heads * self.n_slots;
        let mut next = queries.start;
        while next < queries.end {
            let row = self.queries.partition_point(|known| *known < next);
            let until = self.queries.get(row).map_or(queries.end, |known| queries.end.min(*known));
            let (n, of_slots, of_heads) = (until - next, row * row_len, row * self.n_heads);
            self.queries.splice(row..row, next..until);
            self.chunks.splice(of_slots..of_slots, repeat_n(-1, n * row_len));
            self.scores.splice(of_slots..of_slots, repeat_n(f32::NAN, n * row_len));
            self.margins.splice(of_heads..of_heads, repeat_n(f32::NAN, n * self.n_heads));
            next = until + 1;
        }
    }

    /// Takes a head's choice for a query: chunks in slot order, their scores, and the margin.
    pub fn record(&mut self, query: usize, head: usize, chunks: &[i32], scores: &[f32], margin: f32) {
        self.make_rows(query..query + 1);
        let row = self.queries.partition_point(|known| *known < query);
        let start = (row * self.n_heads + head) * self.n_slots;
        self.chunks[start..start + chunks.len()].copy_from_slice(chunks);
        self.scores[start..start + scores.len()].copy_from_slice(scores);
        self.margins[row * self.n_heads + head] = margin;
    }

    /// Chunk and score of every filled slot of `head` for the recorded query at `row`, in the order of slots.
    pub fn row(&self, row: usize, head: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let start = (row * self.n_heads + head) * self.n_slots;
        let chunks = self.chunks[start..start + self.n_slots].iter().zip(&self.scores[start..]);
        chunks.filter(|(chunk, _)| **chunk >= 0).map(|(chunk, score)| (*chunk as usize, *score))
    }
}

impl ChunkMass {
    /// Mass per chunk of `head` for the recorded query at `row`.
    pub fn row(&self, row: usize, head: usize) -> &[f32] {
        let all = &self.mass[row];
        let n_chunks = all.len() / self.n_heads;
        &all[head * n_chunks..(head + 1) * n_chunks]
    }
}

impl Watch {
    /// Whether a run that recorded `other` has recorded all of this.
    pub fn is_part_of(&self, other: &Self) -> bool {
        let mass = match (&self.mass, &other.mass) {
            (None, _) => true,
            (Some(mine), Some(theirs)) => mine.chunks == theirs.chunks && mine.queries.is_part_of(&theirs.queries),
            (Some(_), None) => false,
        };
        let lists = self.rows.iter().all(|row| other.rows.contains(row))
            && self.maps.iter().all(|map| other.maps.contains(map))
            && self.attn_out.iter().all(|layer| other.attn_out.contains(layer));
        mass && lists && self.choices.is_part_of(&other.choices) && (!self.nll || other.nll)
    }

    /// The first query of which anything is recorded: tokens before it need not be fed for that. `usize::MAX` where nothing is recorded.
    pub fn first_query(&self) -> usize {
        if self.nll || !self.maps.is_empty() || !self.attn_out.is_empty() {
            return 0;
        }
        let of = |queries: &Queries| match queries {
            Queries::None => usize::MAX,
            Queries::All => 0,
            Queries::Of(list) => list.iter().copied().min().unwrap_or(usize::MAX),
        };
        let mass = self.mass.as_ref().map_or(usize::MAX, |mass| of(&mass.queries));
        self.rows.iter().map(|row| row.query).chain([of(&self.choices), mass]).min().unwrap_or(usize::MAX)
    }

    /// Bytes that the recorded arrays take for `n_tokens`, at most; temporary blocks are not counted.
    pub fn bytes(&self, model: &ModelSpec, plan: &Plan, prompt: Prefill, n_tokens: usize) -> usize {
        let product = |factors: &[usize]| factors.iter().fold(1, |product: usize, n| product.saturating_mul(*n));
        // a layer keeps a row of all its heads for every query that chooses in some of them
        let choices = (0..model.n_layers).map(|layer| {
            let (chunk_len, n_slots) = plan.chunks_of(layer, model.n_heads);
            let rules = plan.groups(layer, model.n_heads).into_iter().map(|group| &plan.rules()[group.rule]);
            let recorded = rules.filter(|rule| rule.choice.is_some_and(|choice| choice.chunk_len == chunk_len));
            let first = recorded.map(|rule| rule.first_choice(prompt)).min().unwrap_or(usize::MAX);
            let n_rows = self.choices.count(first.min(n_tokens)..n_tokens);
            product(&[n_rows, model.n_heads, 8 * n_slots + 4])
        });
        let mass = self.mass.iter().map(|mass| {
            let n_chunks = mass.chunks.count(n_tokens);
            product(&[mass.queries.count(0..n_tokens), model.n_layers, model.n_heads, n_chunks, 4])
        });
        let rows = self.rows.iter().map(|row| product(&[(row.query + 1).min(n_tokens), 4]));
        let side = |map: &MapPick| map.side.min(map.window.map_or(n_tokens, |window| window.len));
        let maps = self.maps.iter().map(|map| product(&[side(map), side(map), 8]));
        let attn_out = product(&[self.attn_out.len(), n_tokens, model.n_heads, model.head_dim, 4]);
        let parts = choices.chain(mass).chain(rows).chain(maps).chain([attn_out, product(&[n_tokens, 4])]);
        parts.fold(0, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::Method;

    #[test]
    fn choices_of_later_heads_find_their_rows_among_those_that_are_there() {
        let mut choices = Choices::new(2, 1, 4);
        choices.make_rows(20..23);
        (20..23).for_each(|query| choices.record(query, 1, &[query as i32], &[1.0], 0.5));
        choices.make_rows(18..25);
        choices.record(19, 0, &[7], &[2.0], 0.25);
        choices.record(40, 0, &[8], &[3.0], 0.125);
        assert_eq!(choices.queries, [18, 19, 20, 21, 22, 23, 24, 40]);
        let chosen = |head: usize| (0..8).map(|row| choices.row(row, head).next()).collect::<Vec<_>>();
        assert_eq!(chosen(0), [None, Some((7, 2.0)), None, None, None, None, None, Some((8, 3.0))]);
        let of_later = [None, None, Some((20, 1.0)), Some((21, 1.0)), Some((22, 1.0)), None, None, None];
        assert_eq!(chosen(1), of_later);
        let margins: Vec<_> = choices.margins.iter().filter(|margin| !margin.is_nan()).collect();
        assert_eq!(margins, [&0.25, &0.5, &0.5, &0.5, &0.125]);
    }

    #[test]
    fn bytes_are_those_of_what_is_recorded() {
        let model = ModelSpec { n_layers: 3, ..ModelSpec::tiny(64) };
        let bytes = |method: &str, choices: Queries| {
            let plan = Method::parse(method).unwrap().plan(&model).unwrap();
            Watch { choices, ..Watch::default() }.bytes(&model, &plan, Prefill { n_tokens: 100 }, 100) - 400
        };
        let chosen = "long_heads:chunk_len=4,attention_len=32";
        assert_eq!(bytes(chosen, Queries::All), 3 * 68 * 4 * (8 * 8 + 4));
        assert_eq!(bytes(chosen, Queries::Of(vec![3, 50, 99])), 3 * 2 * 4 * (8 * 8 + 4));
        // one layer chooses, in two heads
        assert_eq!(bytes(&format!("by_layer:0-=full/1h1-2={chosen}"), Queries::All), 68 * 4 * (8 * 8 + 4));
        // generated tokens alone choose
        assert_eq!(bytes("quest", Queries::All), 0);
        let all = Watch { maps: vec![MapPick::whole(0, 0, usize::MAX)], attn_out: vec![0], ..Watch::default() };
        let plan = Method::full().plan(&model).unwrap();
        assert_eq!(all.bytes(&model, &plan, Prefill { n_tokens: 9 }, usize::MAX), usize::MAX);
    }
}
