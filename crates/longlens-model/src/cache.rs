//! Keys and values of the tokens so far, keys before rotation: any method can turn them to its own positions.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use longlens_kernel::Kernels;

/// Cache of one layer.
#[derive(Debug)]
pub struct LayerCache<B: Kernels> {
    key: Option<Tensor<B, 3>>,   // [n_kv_heads, capacity, head_dim]
    value: Option<Tensor<B, 3>>, // [n_kv_heads, capacity, head_dim]
    len: usize,
    reserve: usize,
    /// What a choice of chunks needs beside keys and values.
    pub summaries: Summaries<B>,
    /// What chunk attention made of the keys so far.
    pub chunk_keys: B::ChunkKeys,
}

/// Chunk summaries so far, and the queries of the chunk that is not complete yet.
#[derive(Debug)]
pub struct Summaries<B: Backend> {
    /// `[n_heads, n_complete_chunks, head_dim]`.
    pub complete: Option<Tensor<B, 3>>,
    /// `[n_heads, fewer than chunk_len, head_dim]`, before rotation.
    pub pending: Option<Tensor<B, 3>>,
}

/// Room for generated tokens beyond the prompt before the first copy.
const SPARE: usize = 256;

impl<B: Kernels> LayerCache<B> {
    /// An empty cache that will soon hold `n_tokens`.
    pub fn new(n_tokens: usize) -> Self {
        let summaries = Summaries { complete: None, pending: None };
        Self { key: None, value: None, len: 0, reserve: n_tokens + SPARE, summaries, chunk_keys: Default::default() }
    }

    /// Tokens held.
    pub fn n_tokens(&self) -> usize {
        self.len
    }

    /// Adds tokens, `[n_kv_heads, seq, head_dim]` each; returns all keys and values, `[n_kv_heads, len, head_dim]`.
    ///
    /// The room grows by an eighth when it is used up, so a token costs a constant share of copying, and little room is idle.
    pub fn append(&mut self, key: Tensor<B, 3>, value: Tensor<B, 3>) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let len = self.len + key.dims()[1];
        if self.key.is_none() || len > self.reserve {
            self.reserve = if len > self.reserve { len + (len / 8).max(SPARE) } else { self.reserve };
            self.key = Some(grow(self.key.take(), self.len, self.reserve, &key));
            self.value = Some(grow(self.value.take(), self.len, self.reserve, &value));
        }
        let write = |store: &mut Option<Tensor<B, 3>>, new: Tensor<B, 3>| {
            let [heads, _, head_dim] = new.dims();
            // taken out first: the only owner writes in place
            let whole = store.take().map(|whole| B::write_rows(whole, self.len, new));
            let seen = whole.clone().map(|whole| whole.slice([0..heads, 0..len, 0..head_dim]));
            *store = whole;
            seen.unwrap_or_else(|| unreachable!("the store was made above"))
        };
        let seen = (write(&mut self.key, key), write(&mut self.value, value));
        self.len = len;
        seen
    }
}

/// A store for `capacity` tokens that holds the first `len` tokens of `old`.
fn grow<B: Kernels>(old: Option<Tensor<B, 3>>, len: usize, capacity: usize, like: &Tensor<B, 3>) -> Tensor<B, 3> {
    let [heads, _, head_dim] = like.dims();
    let store = Tensor::zeros([heads, capacity, head_dim], &like.device());
    match old {
        Some(old) if len > 0 => B::write_rows(store, 0, old.slice([0..heads, 0..len, 0..head_dim])),
        _ => store,
    }
}

impl<B: Backend> Summaries<B> {
    /// Complete chunks that have a summary.
    pub fn n_chunks(&self) -> usize {
        self.complete.as_ref().map_or(0, |complete| complete.dims()[1])
    }

    /// Adds raw queries; returns those of newly completed chunks, `[n_heads, n_new * chunk_len, head_dim]`, if any.
    pub fn queue(&mut self, query: Tensor<B, 3>, chunk_len: usize) -> Option<Tensor<B, 3>> {
        let waiting = match self.pending.take() {
            Some(pending) => Tensor::cat(vec![pending, query], 1),
            None => query,
        };
        let [n_heads, n_tokens, head_dim] = waiting.dims();
        let ready = n_tokens / chunk_len * chunk_len;
        if ready < n_tokens {
            // a copy of its own: a view would keep the whole prompt's queries alive
            let rest = waiting.clone().slice([0..n_heads, ready..n_tokens, 0..head_dim]);
            self.pending = Some(rest + 0.0);
        }
        (ready > 0).then(|| waiting.slice([0..n_heads, 0..ready, 0..head_dim]))
    }

    /// Adds summaries of chunks that just became complete.
    pub fn push(&mut self, new: Tensor<B, 3>) {
        self.complete = Some(match self.complete.take() {
            Some(complete) => Tensor::cat(vec![complete, new], 1),
            None => new,
        });
    }
}
