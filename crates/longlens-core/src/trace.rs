//! What one run leaves to look at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// Tokens behind the prompt that may be named, too.
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
    /// Tokens of a chunk.
    pub chunk_len: usize,
    /// Whose attention.
    pub queries: Queries,
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
    /// Negative log-likelihood (nats) of token `t + 1` given tokens `..= t`; one less than the tokens fed.
    pub nll: Vec<f32>,
    /// One per layer.
    pub layers: Vec<LayerTrace>,
    /// Whole rows, as asked for, by layer, head and query: weight of every key up to the query.
    pub rows: Vec<(RowPick, Vec<f32>)>,
    /// Pooled maps, as asked for.
    pub maps: Vec<PooledMap>,
    /// Seconds by phase. `prefill` and `decode` hold `choose`, `attention` and `logits`; recording is in none of these.
    pub seconds: BTreeMap<&'static str, f64>,
    /// Highest resident memory of the process so far, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
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
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChunkMass {
    /// Tokens of a chunk.
    pub chunk_len: usize,
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

    /// How many of the first `n_tokens` are selected.
    pub fn count(&self, n_tokens: usize) -> usize {
        match self {
            Self::None => 0,
            Self::All => n_tokens,
            Self::Of(list) => list.len(),
        }
    }
}

impl Choices {
    /// Nothing recorded yet of `n_heads` heads that choose up to `n_slots` chunks of `chunk_len` tokens.
    pub fn new(n_heads: usize, n_slots: usize, chunk_len: usize) -> Self {
        Self { chunk_len, n_heads, n_slots, ..Self::default() }
    }

    /// Takes a head's choice for a query: chunks in slot order, their scores, and the margin.
    pub fn record(&mut self, query: usize, head: usize, chunks: &[i32], scores: &[f32], margin: f32) {
        let row_len = self.n_heads * self.n_slots;
        let row = self.queries.binary_search(&query).unwrap_or_else(|row| {
            self.queries.insert(row, query);
            let of_slots = row * row_len..row * row_len;
            self.chunks.splice(of_slots.clone(), std::iter::repeat_n(-1, row_len));
            self.scores.splice(of_slots, std::iter::repeat_n(f32::NAN, row_len));
            let of_heads = row * self.n_heads..row * self.n_heads;
            self.margins.splice(of_heads, std::iter::repeat_n(f32::NAN, self.n_heads));
            row
        });
        let start = row * row_len + head * self.n_slots;
        self.chunks[start..start + chunks.len()].copy_from_slice(chunks);
        self.scores[start..start + scores.len()].copy_from_slice(scores);
        self.margins[row * self.n_heads + head] = margin;
    }

    /// The chunks that `head` chose for the recorded query at `row`, ascending.
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
            (Some(mine), Some(theirs)) => {
                mine.chunk_len == theirs.chunk_len && mine.queries.is_part_of(&theirs.queries)
            }
            (Some(_), None) => false,
        };
        let lists = self.rows.iter().all(|row| other.rows.contains(row))
            && self.maps.iter().all(|map| other.maps.contains(map))
            && self.attn_out.iter().all(|layer| other.attn_out.contains(layer));
        mass && lists && self.choices.is_part_of(&other.choices) && (!self.nll || other.nll)
    }

    /// Bytes that the recorded arrays take for `n_tokens`, at most; temporary blocks are not counted.
    /// `n_choosing` queries choose among `n_slots` slots.
    pub fn bytes(&self, model: &crate::spec::ModelSpec, n_tokens: usize, n_choosing: usize, n_slots: usize) -> usize {
        let per_layer_head = model.n_layers * model.n_heads;
        let choices = self.choices.count(n_tokens).min(n_choosing) * per_layer_head * (8 * n_slots + 4);
        let mass = self
            .mass
            .as_ref()
            .map_or(0, |mass| mass.queries.count(n_tokens) * per_layer_head * n_tokens.div_ceil(mass.chunk_len) * 4);
        let rows: usize = self.rows.iter().map(|row| (row.query + 1).min(n_tokens) * 4).sum();
        let side = |map: &MapPick| map.side.min(map.window.map_or(n_tokens, |window| window.len));
        let maps = self
            .maps
            .iter()
            .fold(0, |sum: usize, map| sum.saturating_add(side(map).saturating_pow(2).saturating_mul(8)));
        let attn_out = self.attn_out.len() * n_tokens * model.n_heads * model.head_dim * 4;
        maps.saturating_add(choices + mass + rows + attn_out + n_tokens * 4)
    }
}
