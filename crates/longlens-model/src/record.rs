//! What a run writes down while it runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Instant;

use burn_tensor::Tensor;
use longlens_core::lens::LensError;
use longlens_core::plan::{Plan, Prefill};
use longlens_core::spec::ModelSpec;
use longlens_core::trace::{
    Choices, ChunkMass, Chunks, LayerTrace, MapPick, PooledMap, Queries, RowPick, Trace, Watch, WatchMass,
};
use longlens_kernel::pooled::{Cells, Pooled};
use longlens_kernel::{Body, Kernels, Operation};

use crate::tensors::numbers;

/// The trace in the making.
pub struct Recorder {
    watch: Watch,
    trace: Trace,
    n_heads: usize,
    /// Queries so far in every row of cells of every map. In the making, a map holds sums.
    pooled: Vec<Vec<usize>>,
    /// Where a query's mass stands in its layer.
    mass_rows: HashMap<(usize, usize), usize>,
    /// Tokens of a chunk and slots of the choices of every layer.
    chunks: Vec<(usize, usize)>,
    /// Operations that a reference computed, and why.
    references: BTreeMap<&'static str, Body>,
    /// Attention that CUDA texts computed, and which.
    texts: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

/// What pooled weights are for.
#[derive(Debug, Clone, Copy)]
pub enum Pool {
    /// A map, by its place in the trace.
    Map(usize),
    /// Every query's mass per chunk.
    Mass { layer: usize, head: usize },
}

/// Recorded arrays of the prompt may take this much memory.
const ALLOWED: usize = 2 << 30;

impl Recorder {
    /// Whether weights of attention are recorded: rows, maps or masses.
    pub fn records_weights(&self) -> bool {
        let Watch { mass, rows, maps, .. } = &self.watch;
        mass.is_some() || !rows.is_empty() || !maps.is_empty()
    }

    /// Checks that what is asked for exists, `n_tokens` being the tokens that may be asked for, and fits in memory.
    pub fn new(
        watch: Watch,
        model: &ModelSpec,
        plan: &Plan,
        prompt: Prefill,
        n_tokens: usize,
    ) -> Result<Self, LensError> {
        let n_tokens = n_tokens.saturating_add(watch.beyond);
        let rows = watch.rows.iter().map(|row| (row.layer, row.head));
        for (layer, head) in rows.chain(watch.maps.iter().map(|map| (map.layer, map.head))) {
            within("layer", layer, model.n_layers)?;
            within("head", head, model.n_heads)?;
        }
        watch.rows.iter().try_for_each(|row| within("query", row.query, n_tokens))?;
        for window in watch.maps.iter().filter_map(|map| map.window) {
            within("query", window.query, n_tokens)?;
            within("key", window.key, n_tokens)?;
        }
        watch.attn_out.iter().try_for_each(|layer| within("layer", *layer, model.n_layers))?;
        for queries in [Some(&watch.choices), watch.mass.as_ref().map(|mass| &mass.queries)] {
            if let Some(Queries::Of(list)) = queries {
                list.iter().try_for_each(|query| within("query", *query, n_tokens))?;
            }
        }
        let is_cut = |mass: &WatchMass| match &mass.chunks {
            Chunks::Every(chunk_len) => *chunk_len > 0,
            Chunks::At(starts) => starts.first() == Some(&0) && starts.is_sorted(),
        };
        assert!(watch.mass.as_ref().is_none_or(is_cut), "a chunk holds at least one token");
        let needed = watch.bytes(model, plan, prompt, n_tokens);
        if needed > ALLOWED {
            return Err(LensError::TraceTooLarge { needed: needed >> 20, allowed: ALLOWED >> 20 });
        }
        let mut trace = Trace { layers: vec![LayerTrace::default(); model.n_layers], ..Trace::default() };
        let map = |pick: &MapPick| {
            let n_tokens = pick.window.map_or(prompt.n_tokens, |window| window.len);
            let stride = n_tokens.div_ceil(pick.side.max(1)).max(1);
            let side = n_tokens.div_ceil(stride);
            let empty = vec![0.0; side * side];
            PooledMap { pick: *pick, stride, n_tokens, side, mean: empty.clone(), max: empty }
        };
        trace.maps = watch.maps.iter().map(map).collect();
        let pooled = trace.maps.iter().map(|map| vec![0; map.side]).collect();
        let chunks = (0..model.n_layers).map(|layer| plan.chunks_of(layer, model.n_heads)).collect();
        let (n_heads, mass_rows) = (model.n_heads, HashMap::new());
        let (references, texts) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { watch, trace, n_heads, pooled, mass_rows, chunks, references, texts })
    }

    /// Notes which body computes an operation.
    pub fn ran<B: Kernels>(&mut self, operation: &Operation<'_, B>) {
        match B::body(operation) {
            body @ Body::Reference(_) => drop(self.references.entry(operation.name()).or_insert(body)),
            Body::Text(text) if matches!(operation, Operation::SpanAttention(_) | Operation::ChunkAttention(_)) => {
                self.texts.entry(operation.name()).or_default().insert(text);
            }
            Body::Kernel(_) | Body::Text(_) | Body::Portable(_) => {}
        }
    }

    /// The device's name, with the texts that attended so far and what was not computed by its kernels, as
    /// `cuda, span attention by decode and wgmma; norm by reference: …`.
    pub fn kernel_path(&self, device: &str) -> String {
        let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, body) in &self.references {
            reasons.entry(body.to_string()).or_default().push(name);
        }
        let list = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(" and ");
        let texts = self.texts.iter().map(|(name, texts)| format!(", {name} by {}", list(texts)));
        let words = reasons.into_iter().map(|(body, names)| format!("; {} by {body}", names.join(", ")));
        std::iter::once(device.to_owned()).chain(texts).chain(words).collect()
    }

    /// What was recorded; recording goes on.
    pub fn trace(&self) -> Trace {
        let mut trace = self.trace.clone();
        for (map, n_queries) in trace.maps.iter_mut().zip(&self.pooled) {
            for (row, n_queries) in map.mean.chunks_mut(map.side.max(1)).zip(n_queries) {
                for sum in row {
                    *sum /= (*n_queries).max(1) as f32;
                }
            }
        }
        // however the tokens were cut into calls
        trace.rows.sort_by_key(|(pick, _)| (pick.layer, pick.head, pick.query));
        trace
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

    /// Choices of a layer, empty at first; nothing where its choices are of chunks of another length.
    pub fn choices(&mut self, layer: usize, chunk_len: usize) -> Option<&mut Choices> {
        let (of_layer, n_slots) = self.chunks[layer];
        let empty = || Choices::new(self.n_heads, n_slots, of_layer);
        (of_layer == chunk_len).then(|| self.trace.layers[layer].choices.get_or_insert_with(empty))
    }

    /// What is pooled of `tokens` in this head.
    pub fn pools(&self, layer: usize, head: usize, tokens: &Range<usize>) -> Vec<(Pool, Cells)> {
        let maps = self.trace.maps.iter().enumerate();
        let maps = maps.filter(|(_, map)| map.pick.layer == layer && map.pick.head == head);
        let mut pools: Vec<_> = maps.map(|(at, map)| (Pool::Map(at), cells(map))).collect();
        if let Some(WatchMass { chunks: Chunks::Every(chunk_len), queries: Queries::All }) = &self.watch.mass {
            let all = 0..tokens.end;
            let cells = Cells { queries: all.clone(), keys: all, query_stride: 1, key_stride: *chunk_len };
            pools.push((Pool::Mass { layer, head }, cells));
        }
        pools.retain(|(_, cells)| !cells.queries_of(tokens).is_empty());
        pools
    }

    /// Takes what was pooled.
    pub fn pooled(&mut self, pool: Pool, pooled: &Pooled) {
        match pool {
            Pool::Map(at) => {
                let map = &mut self.trace.maps[at];
                let cells = cells(map);
                for (row, (sum, max)) in pooled.rows.clone().zip(pooled.rows_of()) {
                    let first = cells.queries.start + row * map.stride;
                    let until = first.saturating_add(map.stride).min(pooled.queries.end);
                    self.pooled[at][row] += until - first.max(pooled.queries.start);
                    let cells = row * map.side..(row + 1) * map.side;
                    map.mean[cells.clone()].iter_mut().zip(sum).for_each(|(old, sum)| *old += sum);
                    map.max[cells].iter_mut().zip(max).for_each(|(old, max)| *old = old.max(*max));
                }
            }
            Pool::Mass { layer, head } => {
                for (query, (sum, _)) in pooled.queries.clone().zip(pooled.rows_of()) {
                    let Some(mass) = self.mass_of(layer, head, query) else { return };
                    mass.iter_mut().zip(sum).for_each(|(mass, sum)| *mass = *sum);
                }
            }
        }
    }

    /// A query's mass on every chunk up to its own, to be written.
    fn mass_of(&mut self, layer: usize, head: usize, query: usize) -> Option<&mut [f32]> {
        let chunks = &self.watch.mass.as_ref()?.chunks;
        let (n_chunks, n_heads) = (chunks.count(query + 1), self.n_heads);
        let empty = || ChunkMass { chunks: chunks.clone(), n_heads, queries: Vec::new(), mass: Vec::new() };
        let store = self.trace.layers[layer].mass.get_or_insert_with(empty);
        let at = *self.mass_rows.entry((layer, query)).or_insert_with(|| {
            store.queries.push(query);
            store.mass.push(vec![0.0; n_heads * n_chunks]);
            store.queries.len() - 1
        });
        Some(&mut store.mass[at][head * n_chunks..(head + 1) * n_chunks])
    }

    /// Single queries of `tokens` whose attention weights in this head are wanted, as ascending ranges.
    pub fn watched(&self, layer: usize, head: usize, tokens: &Range<usize>) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        match &self.watch.mass {
            Some(WatchMass { queries: Queries::Of(list), .. }) => ranges.extend(list.iter().map(|q| *q..q + 1)),
            // kernels pool chunks of equal length alone
            Some(WatchMass { chunks: Chunks::At(_), queries: Queries::All }) => ranges.push(tokens.clone()),
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
        let is_watched = |mass: &&WatchMass| match &mass.queries {
            Queries::All => matches!(mass.chunks, Chunks::At(_)),
            some => some.contains(query),
        };
        if let Some(chunks) = self.watch.mass.as_ref().filter(is_watched).map(|mass| mass.chunks.clone()) {
            let mass = self.mass_of(layer, head, query).into_iter().flatten();
            mass.zip(chunks.sums(weights)).for_each(|(mass, sum)| *mass = sum);
        }
        if let Some(pick) = self.watch.rows.iter().find(|pick| **pick == RowPick { layer, head, query }) {
            self.trace.rows.push((*pick, weights.to_vec()));
        }
    }

    /// Keeps a layer's attention output, `[seq, n_heads * head_dim]`, when it is watched.
    pub fn keep_output<B: Kernels>(&mut self, layer: usize, context: &Tensor<B, 2>) {
        if self.watch.attn_out.contains(&layer) {
            self.trace.layers[layer].attn_out.extend(numbers(context.clone()));
        }
    }
}

/// The cells of a map.
fn cells(map: &PooledMap) -> Cells {
    let (query, key) = map.pick.window.map_or((0, 0), |window| (window.query, window.key));
    let tokens = |first: usize| first..first.saturating_add(map.n_tokens);
    Cells { queries: tokens(query), keys: tokens(key), query_stride: map.stride, key_stride: map.stride }
}

/// Ascending ranges with overlaps joined.
pub fn merge(ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range.clone()),
        }
    }
    merged
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
