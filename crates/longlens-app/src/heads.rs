//! Where every head looks from one query: what the views of chunks, layers, usage and tokens share.

use std::ops::Range;
use std::sync::Arc;

use longlens_core::lens::ModelInfo;
use longlens_core::spec::ModelSpec;
use longlens_core::trace::{Choices, Chunks, Queries, RowPick, RunRecord, Trace, Watch, WatchMass};

use crate::npz::Array;
use crate::problem::Problem;

/// What every head attends to from one query token.
#[derive(Debug, Clone, PartialEq)]
pub struct Heads {
    /// What was run.
    pub run: RunRecord,
    /// The query token.
    pub query: usize,
    /// Tokens of a chunk.
    pub chunk_len: usize,
    /// Layers and query heads.
    pub shape: (usize, usize),
    trace: Arc<Trace>,
    /// The query's place among those whose attention by chunk was recorded.
    mass_row: usize,
    /// Places of the query's recorded rows, by layer and head; empty where they were not recorded.
    rows: Vec<usize>,
}

/// A chosen chunk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    pub chunk: usize,
    /// Its score; nothing where it was forced.
    pub score: Option<f32>,
}

impl Pick {
    /// Whether every choice holds it, whatever its score.
    pub fn is_forced(&self) -> bool {
        self.score.is_none()
    }
}

/// Tokens before the query that count as near.
pub const NEAR: usize = 64;
/// First tokens of a text, on which many heads rest.
pub const SINK: usize = 4;
/// Whole rows of all heads may take this many numbers; beyond it only attention per chunk is recorded.
const MAX_ROWS: usize = 64 << 20;

impl Heads {
    /// What to record for `query` of a text of `n_tokens`, and for hit rates the choices of `answering` queries.
    pub fn watch(model: &ModelInfo, query: usize, answering: Range<usize>, chunk_len: usize) -> Watch {
        let (n_layers, n_heads) = (model.spec.n_layers, model.spec.n_heads);
        let mut choosing: Vec<usize> = answering.chain([query]).collect();
        choosing.sort_unstable();
        choosing.dedup();
        let chunk_len = fitting_chunk_len(&model.spec, query, chunk_len);
        let mass = WatchMass { chunks: Chunks::Every(chunk_len), queries: Queries::Of(vec![query]) };
        let mut watch = Watch { choices: Queries::Of(choosing), mass: Some(mass), ..Watch::default() };
        if n_layers * n_heads * (query + 1) <= MAX_ROWS {
            let heads = |layer| (0..n_heads).map(move |head| RowPick { layer, head, query });
            watch.rows = (0..n_layers).flat_map(heads).collect();
        }
        watch
    }

    /// What a trace says of `query`; nothing where it did not record that query's attention by chunk.
    pub fn new(trace: impl Into<Arc<Trace>>, query: usize) -> Option<Self> {
        let trace = trace.into();
        let mass = trace.layers.first()?.mass.as_ref()?;
        let mass_row = mass.queries.iter().position(|known| *known == query)?;
        let Chunks::Every(chunk_len) = mass.chunks else { return None };
        let shape = (trace.layers.len(), mass.n_heads);
        let mut rows: Vec<usize> = (0..trace.rows.len()).filter(|at| trace.rows[*at].0.query == query).collect();
        rows.sort_by_key(|at| (trace.rows[*at].0.layer, trace.rows[*at].0.head));
        Some(Self { run: trace.run.clone(), query, chunk_len, shape, trace, mass_row, rows })
    }

    /// The same of a trace that has to have recorded it.
    pub fn of(trace: &Arc<Trace>, query: usize) -> Result<Self, Problem> {
        Self::new(trace.clone(), query)
            .ok_or_else(|| Problem::new(format!("no attention was recorded from token {query}"), None))
    }

    /// The trace behind it.
    pub fn trace(&self) -> &Arc<Trace> {
        &self.trace
    }

    /// Layers and heads, all of them.
    pub fn all(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (n_layers, n_heads) = self.shape;
        (0..n_layers).flat_map(move |layer| (0..n_heads).map(move |head| (layer, head)))
    }

    /// The query's place among those whose attention by chunk was recorded.
    pub fn mass_row(&self) -> usize {
        self.mass_row
    }

    /// `mass[layer, head, chunk]`: the share of each head's attention on every chunk.
    pub fn mass_array(&self) -> Array {
        let mass = self.all().flat_map(|(layer, head)| self.mass(layer, head)).copied().collect();
        Array::new("mass", &[self.shape.0, self.shape.1, self.n_chunks()], mass)
    }

    /// Chunks up to the query's own.
    pub fn n_chunks(&self) -> usize {
        self.query / self.chunk_len + 1
    }

    /// Attention on every chunk up to the query's own.
    pub fn mass(&self, layer: usize, head: usize) -> &[f32] {
        self.trace.layers[layer].mass.as_ref().map_or(&[], |mass| mass.row(self.mass_row, head))
    }

    /// Attention on every key up to the query, where it was recorded.
    pub fn row(&self, layer: usize, head: usize) -> Option<&[f32]> {
        let key = |at: &usize| (self.trace.rows[*at].0.layer, self.trace.rows[*at].0.head);
        let found = self.rows.binary_search_by_key(&(layer, head), key);
        found.ok().map(|at| &self.trace.rows[self.rows[at]].1[..])
    }

    /// Tokens whose attention was recorded as one number: 1, or a chunk's where the text is too long for rows of all heads.
    pub fn tokens_per_weight(&self) -> usize {
        if self.rows.is_empty() { self.chunk_len } else { 1 }
    }

    /// Mean over all heads of the attention on every key; empty where rows were not recorded.
    pub fn mean_row(&self) -> Vec<f32> {
        let n = self.rows.len() as f32;
        let mut mean = vec![0.0; if self.rows.is_empty() { 0 } else { self.query + 1 }];
        for at in &self.rows {
            mean.iter_mut().zip(&self.trace.rows[*at].1).for_each(|(sum, weight)| *sum += weight / n);
        }
        mean
    }

    /// Attention on these tokens: exact where rows were recorded, else of all chunks that they touch.
    pub fn on(&self, layer: usize, head: usize, tokens: &Range<usize>) -> f32 {
        if let Some(row) = self.row(layer, head) {
            // the sum of nothing is -0
            return row.iter().take(tokens.end).skip(tokens.start).sum::<f32>() + 0.0;
        }
        let chunks = self.chunks_of(tokens);
        self.mass(layer, head).iter().take(chunks.end).skip(chunks.start).sum::<f32>() + 0.0
    }

    /// Attention beyond the nearest [`NEAR`] tokens and not on the first [`SINK`]: what tells far-looking heads apart where no
    /// needle is hidden.
    pub fn far(&self, layer: usize, head: usize) -> f32 {
        let near = (self.query + 1).saturating_sub(NEAR).max(SINK)..self.query + 1;
        if near.is_empty() {
            return 0.0;
        }
        (1.0 - self.on(layer, head, &(0..SINK)) - self.on(layer, head, &near)).clamp(0.0, 1.0)
    }

    /// What ranks a head: its attention on the needle, or far away where there is none.
    pub fn score(&self, layer: usize, head: usize, needle: Option<&Range<usize>>) -> f32 {
        needle.map_or_else(|| self.far(layer, head), |needle| self.on(layer, head, needle))
    }

    /// The chunks that these tokens touch.
    pub fn chunks_of(&self, tokens: &Range<usize>) -> Range<usize> {
        tokens.start / self.chunk_len..tokens.end.div_ceil(self.chunk_len)
    }

    /// Whether some head chose such chunks for the query.
    pub fn chooses(&self) -> bool {
        (0..self.shape.0).any(|layer| self.choice(layer).is_some())
    }

    /// The choices of a layer, if they are of chunks of this length.
    fn of_length(&self, layer: usize) -> Option<&Choices> {
        self.trace.layers.get(layer)?.choices.as_ref().filter(|choices| choices.chunk_len == self.chunk_len)
    }

    /// The choices of a layer and the row of the query in them.
    fn choice(&self, layer: usize) -> Option<(&Choices, usize)> {
        let choices = self.of_length(layer)?;
        let row = choices.queries.iter().position(|query| *query == self.query)?;
        Some((choices, row))
    }

    /// The chunks that a head chose, ascending; empty where the method chooses none, in this head or at all.
    pub fn picks(&self, layer: usize, head: usize) -> Vec<Pick> {
        let Some((choices, row)) = self.choice(layer) else { return Vec::new() };
        let pick = |(chunk, score): (usize, f32)| Pick { chunk, score: Some(score).filter(|score| !score.is_nan()) };
        choices.row(row, head).map(pick).collect()
    }

    /// The gap between a head's worst pick and the best chunk that it left out; infinite where it took all. Nothing where the
    /// method chooses none.
    pub fn margin(&self, layer: usize, head: usize) -> Option<f32> {
        let (choices, row) = self.choice(layer)?;
        choices.margins.get(row * choices.n_heads + head).copied()
    }

    /// How many of a head's choices for the queries `answering` held a chunk of these tokens, and how many were recorded of
    /// them: its hit rate.
    pub fn hits(&self, layer: usize, head: usize, tokens: &Range<usize>, answering: &Range<usize>) -> (usize, usize) {
        let Some(choices) = self.of_length(layer) else { return (0, 0) };
        let chunks = self.chunks_of(tokens);
        let asked = (0..choices.queries.len()).filter(|row| answering.contains(&choices.queries[*row]));
        asked.fold((0, 0), |(hits, n), row| {
            let mut chosen = choices.row(row, head).map(|(chunk, _)| chunk).peekable();
            // a head that attends to every key chooses none
            let chose = chosen.peek().is_some();
            (hits + usize::from(chosen.any(|chunk| chunks.contains(&chunk))), n + usize::from(chose))
        })
    }
}

/// `chunk 17`, or `chunks 17–19`.
pub fn chunks_text(chunks: &Range<usize>) -> String {
    match chunks.len() {
        0 | 1 => format!("chunk {}", chunks.start),
        _ => format!("chunks {}–{}", chunks.start, chunks.end - 1),
    }
}

/// Tokens of a chunk: as asked, or more where the chunks up to `query` of all heads would be too many numbers.
pub fn fitting_chunk_len(model: &ModelSpec, query: usize, chunk_len: usize) -> usize {
    let fitting = (query + 1).div_ceil((MAX_ROWS / (model.n_layers * model.n_heads)).max(1));
    chunk_len.max(fitting).max(1)
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{Lens, Rows, Setup};
    use longlens_core::methods::Method;
    use longlens_core::scripted::ScriptedLens;

    use super::*;

    #[test]
    fn a_needle_is_found_by_mass_and_by_choice() {
        // head 2 of layer 1 looks at tokens 20 to 23
        let mut lens = ScriptedLens::saying("ok").attending(|layer, head, _, key| {
            if (layer, head) == (1, 2) && (20..24).contains(&key) { 50.0 } else { 1.0 }
        });
        let method = Method::parse("long_heads:chunk_len=4,attention_len=16").unwrap();
        let setup = Setup { keep_queries: true, ..Setup::new(&method, &lens.model().spec, 64).unwrap() };
        lens.begin(&setup).unwrap();
        lens.feed(&[9; 64], Rows::None, &mut ()).unwrap();
        let watch = Heads::watch(lens.model(), 63, 60..63, 4);
        let heads = Heads::new(lens.inspect(&watch, &mut ()).unwrap(), 63).unwrap();
        let needle = 20..24;
        assert_eq!((heads.n_chunks(), heads.chunks_of(&needle), heads.chooses()), (16, 5..6, true));
        assert!(heads.on(1, 2, &needle) > 0.9 && heads.on(1, 1, &needle) < 0.3);
        // the choice of query 63, which was looked from, is none of the answer's
        let hits = |layer, head| heads.hits(layer, head, &needle, &(60..63));
        assert_eq!((hits(1, 2), hits(0, 0)), ((3, 3), (0, 3)));
        let picks = heads.picks(1, 2);
        assert_eq!(picks.iter().map(|pick| pick.chunk).collect::<Vec<_>>(), [0, 5, 14, 15]);
        assert_eq!(picks.iter().map(Pick::is_forced).collect::<Vec<_>>(), [true, false, true, true]);
        assert!((heads.mean_row().iter().sum::<f32>() - 1.0).abs() < 1e-4);
    }
}
