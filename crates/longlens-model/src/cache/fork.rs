//! Copies of a layer's cache that sequences go on from.

use std::ops::Range;

use burn_tensor::Tensor;
use longlens_core::lens::KeptPart;
use longlens_core::memory::SPARE_TOKENS;
use longlens_core::plan::{ChunkChoice, ChunkScore};
use longlens_kernel::Kernels;

use super::{GroupCache, LayerCache, Memory, Rows};
use crate::tensors::heads_of;

/// The first tokens of a layer's cache, in memory of their own: the device's, or the host's where the cache is there.
#[derive(Debug)]
pub struct LayerFork<B: Kernels> {
    query: Option<Rows<B>>, // [n_heads, n_tokens, head_dim], when queries are kept
    key: Rows<B>,           // [n_kv_heads, n_tokens, head_dim]
    value: Rows<B>,         // [n_kv_heads, n_tokens, head_dim]
    n_tokens: usize,
    device: B::Device,
    /// Of each group of heads with a rule.
    groups: Vec<ChunksFork<B>>,
}

/// What represents the chunks of some heads, as the cache of the group has it.
#[derive(Debug, Default)]
struct ChunksFork<B: Kernels> {
    complete: Option<Tensor<B, 3>>,
    pending: Option<Tensor<B, 3>>,
}

impl<B: Kernels> LayerFork<B> {
    /// A copy of its tensors, of which keys and values are there.
    pub(super) fn of(
        parts: Vec<(KeptPart, Tensor<B, 3>)>,
        (n_tokens, n_groups): (usize, usize),
        memory: Memory,
        device: B::Device,
    ) -> Self {
        let (mut query, mut key, mut value) = (None, None, None);
        let mut groups: Vec<_> = (0..n_groups).map(|_| ChunksFork { complete: None, pending: None }).collect();
        for (part, rows) in parts {
            match part {
                KeptPart::Key(_) => key = Some(Rows::lying(memory, rows)),
                KeptPart::Value(_) => value = Some(Rows::lying(memory, rows)),
                KeptPart::Query(_) => query = Some(Rows::lying(memory, rows)),
                KeptPart::Chunks(_, at) => groups[at].complete = Some(rows),
                KeptPart::Pending(_, at) => groups[at].pending = Some(rows),
            }
        }
        let (key, value) = key.zip(value).expect("every layer has keys and values");
        Self { query, key, value, n_tokens, device, groups }
    }

    /// Numbers held.
    pub fn n_numbers(&self) -> usize {
        let chunks = self.groups.iter().flat_map(|chunks| [&chunks.complete, &chunks.pending]).flatten();
        let of_chunks: usize = chunks.map(|t| t.dims().iter().product::<usize>()).sum();
        let rows = self.query.iter().chain([&self.key, &self.value]);
        of_chunks + rows.map(Rows::n_numbers).sum::<usize>()
    }

    /// A cache that goes on from these tokens, with room for a prompt of `n_prompt`. `n_groups` is given where another plan goes
    /// on: then nothing represents the chunks yet.
    pub fn cache(&self, n_prompt: usize, keep_queries: bool, n_groups: Option<usize>, memory: Memory) -> LayerCache<B> {
        let mut cache = {
            let n_groups = n_groups.unwrap_or(self.groups.len());
            LayerCache::new(n_prompt, keep_queries, n_groups, memory, self.device.clone())
        };
        let n_tokens = self.n_tokens;
        let capacity = cache.capacity.max(n_tokens + SPARE_TOKENS);
        if let (Some(store), Some(rows)) = (&mut cache.query, &self.query) {
            store.begin_with(rows, capacity);
        }
        cache.key.begin_with(&self.key, capacity);
        cache.value.begin_with(&self.value, capacity);
        (cache.len, cache.capacity) = (n_tokens, capacity);
        if n_groups.is_none() {
            for (group, chunks) in cache.groups.iter_mut().zip(&self.groups) {
                group.chunks.pending.clone_from(&chunks.pending);
                chunks.complete.iter().for_each(|complete| group.chunks.push(complete.clone()));
            }
        }
        cache
    }
}

impl<B: Kernels> LayerCache<B> {
    /// A copy of the first `n_tokens` tokens, a cut that was checked
    /// ([`Setup::check_fork`](longlens_core::lens::Setup::check_fork)); `groups` are the layer's heads with how they choose.
    pub fn fork(&self, n_tokens: usize, groups: &[(Range<usize>, Option<ChunkChoice>)]) -> LayerFork<B> {
        let chunks = |(cache, (heads, choice)): (&GroupCache<B>, &(Range<usize>, Option<ChunkChoice>))| {
            let Some(choice) = choice else { return ChunksFork::default() };
            let n_chunks = n_tokens / choice.chunk_len;
            let cut = n_chunks * choice.chunk_len..n_tokens;
            let pending = match &cache.chunks.pending {
                _ if choice.score == ChunkScore::Bounds || cut.is_empty() => None,
                Some(pending) if n_chunks == cache.chunks.n_chunks() => Some(rows(pending, 0..cut.len())),
                _ => Some(heads_of(&self.queries(cut).expect("kept where a chunk is cut"), heads.clone()) + 0.0),
            };
            let complete = cache.chunks.complete().filter(|_| n_chunks > 0).map(|all| rows(&all, 0..n_chunks));
            ChunksFork { complete, pending }
        };
        LayerFork {
            groups: self.groups.iter().zip(groups).map(chunks).collect(),
            query: self.query.as_ref().map(|store| store.copied(0..n_tokens)),
            key: self.key.copied(0..n_tokens),
            value: self.value.copied(0..n_tokens),
            n_tokens,
            device: self.device.clone(),
        }
    }
}

/// A copy of some rows of `t`, `[heads, rows, width]`: a view would keep all of it alive.
fn rows<B: Kernels>(t: &Tensor<B, 3>, rows: Range<usize>) -> Tensor<B, 3> {
    let [heads, _, width] = t.dims();
    t.clone().slice([0..heads, rows, 0..width]) + 0.0
}
