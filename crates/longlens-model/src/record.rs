//! What a run writes down while it runs.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use burn::tensor::Tensor;
use longlens_core::lens::LensError;
use longlens_core::plan::{Plan, Prompt};
use longlens_core::spec::ModelSpec;
use longlens_core::trace::{Choices, ChunkMass, LayerTrace, PooledMap, Queries, RowPick, Trace, Watch};
use longlens_kernel::Kernels;

use crate::attention::{merge, numbers};

/// The trace in the making.
pub struct Recorder {
    watch: Watch,
    trace: Trace,
    n_heads: usize,
    /// Where a query's mass stands in its layer.
    mass_rows: HashMap<(usize, usize), usize>,
}

/// Recorded arrays of the prompt may take this much memory.
const ALLOWED: usize = 2 << 30;

impl Recorder {
    /// Checks that what is asked for exists and fits in memory.
    pub fn new(watch: Watch, model: &ModelSpec, plan: &Plan, prompt: Prompt) -> Result<Self, LensError> {
        let n_tokens = prompt.n_tokens;
        let rows = watch.rows.iter().map(|row| (row.layer, row.head, Some(row.query)));
        let maps = watch.maps.iter().map(|map| (map.layer, map.head, None));
        for (layer, head, query) in rows.chain(maps) {
            within("layer", layer, model.n_layers)?;
            within("head", head, model.n_heads)?;
            query.map_or(Ok(()), |query| within("query", query, n_tokens))?;
        }
        watch.attn_out.iter().try_for_each(|layer| within("layer", *layer, model.n_layers))?;
        for queries in [Some(&watch.choices), watch.mass.as_ref().map(|mass| &mass.queries)] {
            if let Some(Queries::Of(list)) = queries {
                list.iter().try_for_each(|query| within("query", *query, n_tokens))?;
            }
        }
        assert!(watch.mass.as_ref().is_none_or(|mass| mass.chunk_len > 0), "a chunk holds at least one token");
        let n_choosing = n_tokens.saturating_sub(plan.first_choice(prompt));
        let n_slots = plan.choice.map_or(0, |choice| choice.n_slots);
        let needed = watch.bytes(model, n_tokens, n_choosing, n_slots);
        if needed > ALLOWED {
            return Err(LensError::TraceTooLarge { needed: needed >> 20, allowed: ALLOWED >> 20 });
        }
        let mut trace = Trace { layers: vec![LayerTrace::default(); model.n_layers], ..Trace::default() };
        trace.maps = watch
            .maps
            .iter()
            .map(|pick| {
                let stride = n_tokens.div_ceil(pick.side.max(1)).max(1);
                let side = n_tokens.div_ceil(stride);
                let empty = vec![0.0; side * side];
                PooledMap { pick: *pick, stride, n_tokens, side, mean: empty.clone(), max: empty }
            })
            .collect();
        Ok(Self { watch, trace, n_heads: model.n_heads, mass_rows: HashMap::new() })
    }

    /// What was recorded; recording goes on.
    pub fn trace(&self) -> Trace {
        self.trace.clone()
    }

    /// What is to be recorded.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Adds to a phase's time.
    pub fn spend(&mut self, phase: &'static str, since: Instant) {
        *self.trace.seconds.entry(phase).or_default() += since.elapsed().as_secs_f64();
    }

    /// Adds losses, in nats.
    pub fn losses(&mut self, nll: &[f32]) {
        self.trace.nll.extend_from_slice(nll);
    }

    /// Queries of `tokens` whose choice is recorded, as ascending ranges.
    pub fn watched_choices(&self, tokens: Range<usize>) -> Vec<Range<usize>> {
        let mut ranges: Vec<_> = match &self.watch.choices {
            Queries::None => Vec::new(),
            Queries::All => vec![tokens.clone()],
            Queries::Of(list) => list.iter().filter(|query| tokens.contains(query)).map(|q| *q..*q + 1).collect(),
        };
        ranges.sort_by_key(|range| range.start);
        merge(&ranges)
    }

    /// Choices of a layer, empty at first.
    pub fn choices(&mut self, layer: usize, n_heads: usize, n_slots: usize) -> &mut Choices {
        let empty = || Choices { n_heads, n_slots, ..Choices::default() };
        self.trace.layers[layer].choices.get_or_insert_with(empty)
    }

    /// Queries of `tokens` whose attention weights in this head are wanted, as ascending ranges.
    pub fn watched(&self, layer: usize, head: usize, tokens: Range<usize>) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        if self.watch.maps.iter().any(|map| map.layer == layer && map.head == head) {
            ranges.push(tokens.clone());
        }
        match self.watch.mass.as_ref().map(|mass| &mass.queries) {
            Some(Queries::All) => ranges.push(tokens.clone()),
            Some(Queries::Of(list)) => ranges.extend(list.iter().map(|query| *query..query + 1)),
            _ => {}
        }
        let rows = self.watch.rows.iter().filter(|row| row.layer == layer && row.head == head);
        ranges.extend(rows.map(|row| row.query..row.query + 1));
        ranges.retain(|range| tokens.start <= range.start && range.end <= tokens.end);
        ranges.sort_by_key(|range| range.start);
        merge(&ranges)
    }

    /// Takes the weights of one query over the keys up to itself.
    pub fn row(&mut self, layer: usize, head: usize, query: usize, weights: &[f32]) {
        if let Some(mass) = &self.watch.mass
            && mass.queries.contains(query)
        {
            let n_chunks = weights.len().div_ceil(mass.chunk_len);
            let store = self.trace.layers[layer].mass.get_or_insert_with(|| ChunkMass {
                chunk_len: mass.chunk_len,
                n_heads: self.n_heads,
                ..ChunkMass::default()
            });
            let at = *self.mass_rows.entry((layer, query)).or_insert_with(|| {
                store.queries.push(query);
                store.mass.push(vec![0.0; self.n_heads * n_chunks]);
                store.queries.len() - 1
            });
            for (sum, chunk) in store.mass[at][head * n_chunks..].iter_mut().zip(weights.chunks(mass.chunk_len)) {
                *sum = chunk.iter().sum();
            }
        }
        if let Some(pick) = self.watch.rows.iter().find(|pick| **pick == RowPick { layer, head, query }) {
            self.trace.rows.push((*pick, weights.to_vec()));
        }
        let maps = self.trace.maps.iter_mut();
        for map in maps.filter(|map| map.pick.layer == layer && map.pick.head == head && query < map.n_tokens) {
            pool(map, query, weights);
        }
    }

    /// Keeps a layer's attention output, `[seq, n_heads * head_dim]`, when it is watched.
    pub fn keep_output<B: Kernels>(&mut self, layer: usize, context: &Tensor<B, 2>) {
        if self.watch.attn_out.contains(&layer) {
            self.trace.layers[layer].attn_out.extend(numbers(context.clone()));
        }
    }
}

/// Adds one query's weights to a pooled map.
fn pool(map: &mut PooledMap, query: usize, weights: &[f32]) {
    let block = query / map.stride;
    let n_queries = map.stride.min(map.n_tokens - block * map.stride) as f32;
    let cells = block * map.side..(block + 1) * map.side;
    let rows = map.mean[cells.clone()].iter_mut().zip(&mut map.max[cells]);
    for ((mean, max), keys) in rows.zip(weights.chunks(map.stride)) {
        *mean += keys.iter().sum::<f32>() / n_queries;
        *max = keys.iter().copied().fold(*max, f32::max);
    }
}

fn within(what: &'static str, index: usize, count: usize) -> Result<(), LensError> {
    if index < count { Ok(()) } else { Err(LensError::OutOfRange { what, index, count }) }
}

/// Highest resident memory of this process so far, in bytes, where the system tells.
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
