//! Copies of a layer's cache that sequences go on from.

use std::ops::Range;

use burn::tensor::Tensor;
use longlens_core::plan::{ChunkChoice, ChunkScore};
use longlens_kernel::Kernels;

use super::{LayerCache, Representatives, SPARE, Store};
use crate::attention::heads_of;

/// The first tokens of a layer's cache, in memory of their own.
#[derive(Debug)]
pub struct LayerFork<B: Kernels> {
    query: Option<Tensor<B, 3>>, // [n_heads, n_tokens, head_dim], when queries are kept
    key: Tensor<B, 3>,           // [n_kv_heads, n_tokens, head_dim]
    value: Tensor<B, 3>,         // [n_kv_heads, n_tokens, head_dim]
    /// Of each group of heads with a rule.
    groups: Vec<Representatives<B>>,
}

impl<B: Kernels> LayerFork<B> {
    /// Numbers held.
    pub fn n_numbers(&self) -> usize {
        let chunks = self.groups.iter().flat_map(|chunks| [&chunks.complete, &chunks.pending]).flatten();
        let tensors = chunks.chain(&self.query).chain([&self.key, &self.value]);
        tensors.map(|t| t.dims().iter().product::<usize>()).sum()
    }

    /// Whether queries are held.
    pub fn keeps_queries(&self) -> bool {
        self.query.is_some()
    }

    /// A cache that goes on from these tokens, with room for a prompt of `n_prompt`. `n_groups` is given where another plan goes
    /// on: then nothing represents the chunks yet.
    pub fn cache(&self, n_prompt: usize, keep_queries: bool, n_groups: Option<usize>) -> LayerCache<B> {
        let mut cache = LayerCache::new(n_prompt, keep_queries, n_groups.unwrap_or(self.groups.len()));
        let n_tokens = self.key.dims()[1];
        let capacity = cache.capacity.max(n_tokens + SPARE);
        let write = |store: &mut Store<B>, rows: &Tensor<B, 3>| store.write(0, rows.clone(), capacity, 0);
        if let (Some(store), Some(rows)) = (&mut cache.query, &self.query) {
            write(store, rows);
        }
        write(&mut cache.key, &self.key);
        write(&mut cache.value, &self.value);
        (cache.len, cache.capacity) = (n_tokens, capacity);
        if n_groups.is_none() {
            for (group, chunks) in cache.groups.iter_mut().zip(&self.groups) {
                group.chunks = chunks.clone();
            }
        }
        cache
    }
}

impl<B: Kernels> LayerCache<B> {
    /// A copy of the first `n_tokens` tokens, at least one; `groups` are the layer's heads with how they choose. Nothing where a
    /// chunk is cut whose summary needs queries that were not kept.
    pub fn fork(&self, n_tokens: usize, groups: &[(Range<usize>, Option<ChunkChoice>)]) -> Option<LayerFork<B>> {
        let chunks = |(cache, (heads, choice)): (&super::GroupCache<B>, &(Range<usize>, Option<ChunkChoice>))| {
            let Some(choice) = choice else { return Some(Representatives::default()) };
            let complete = n_tokens / choice.chunk_len;
            let cut = complete * choice.chunk_len..n_tokens;
            let pending = match &cache.chunks.pending {
                _ if choice.score == ChunkScore::Bounds || cut.is_empty() => None,
                Some(pending) if complete == cache.chunks.n_chunks() => Some(rows(pending, 0..cut.len())),
                _ => Some(heads_of(&self.queries(cut)?, heads.clone()) + 0.0),
            };
            let complete = cache.chunks.complete.as_ref().filter(|_| complete > 0).map(|all| rows(all, 0..complete));
            Some(Representatives { complete, pending })
        };
        Some(LayerFork {
            groups: self.groups.iter().zip(groups).map(chunks).collect::<Option<_>>()?,
            query: self.query.as_ref().map(|store| store.first(n_tokens) + 0.0),
            key: self.key.first(n_tokens) + 0.0,
            value: self.value.first(n_tokens) + 0.0,
        })
    }
}

/// A copy of some rows of `t`, `[heads, rows, width]`: a view would keep all of it alive.
fn rows<B: Kernels>(t: &Tensor<B, 3>, rows: Range<usize>) -> Tensor<B, 3> {
    let [heads, _, width] = t.dims();
    t.clone().slice([0..heads, rows, 0..width]) + 0.0
}
