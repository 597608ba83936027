//! Keys and values of the tokens so far, keys before rotation: any method can rotate them to its own positions. Queries too,
//! before rotation, when somebody asked for them.

use std::ops::Range;

use burn_tensor::Tensor;
use longlens_core::memory::SPARE_TOKENS;
use longlens_kernel::Kernels;

pub mod fork;

/// What one layer keeps of the tokens so far: keys and values before rotation, queries where they are kept, and what its choices
/// of chunks made of them.
#[derive(Debug)]
pub struct LayerCache<B: Kernels> {
    /// `n_heads`, when queries are kept.
    query: Option<Store<B>>,
    key: Store<B>,   // n_kv_heads
    value: Store<B>, // n_kv_heads
    len: usize,
    capacity: usize,
    /// Tokens of the sequence that was begun, once another one goes on from them: their rows can be brought back.
    n_base: usize,
    /// What heads that choose chunks need beside keys and values, one for each group of heads with a rule.
    pub groups: Vec<GroupCache<B>>,
}

/// What a choice of chunks needs beside keys and values.
#[derive(Debug)]
pub struct GroupCache<B: Kernels> {
    /// What represents the chunks.
    pub chunks: Representatives<B>,
    /// What chunk attention made of the keys so far.
    pub chunk_keys: B::ChunkKeys,
}

/// Rows of tokens or of chunks, with room for more.
#[derive(Debug)]
struct Store<B: Kernels> {
    rows: Option<Tensor<B, 3>>, // [heads, capacity, head_dim]
    /// Rows of the sequence that was begun where others were written since: the first one's token, `[heads, n, head_dim]`.
    saved: Vec<(usize, Tensor<B, 3>)>,
}

/// Summaries or bounds of the complete chunks, and for summaries the queries of the chunk that is not complete yet.
#[derive(Debug)]
pub struct Representatives<B: Kernels> {
    complete: Store<B>, // [heads or key heads, n_chunks, width]
    n_chunks: usize,
    /// `[heads, fewer than chunk_len, head_dim]`, before rotation.
    pending: Option<Tensor<B, 3>>,
}

/// Room for chunks beyond those that are complete.
const SPARE_CHUNKS: usize = 16;

impl<B: Kernels> LayerCache<B> {
    /// An empty cache that will soon hold `n_tokens`, for a layer whose heads have `n_groups` rules.
    pub fn new(n_tokens: usize, keep_queries: bool, n_groups: usize) -> Self {
        Self {
            query: keep_queries.then(Store::new),
            key: Store::new(),
            value: Store::new(),
            len: 0,
            capacity: n_tokens + SPARE_TOKENS,
            n_base: 0,
            groups: (0..n_groups).map(|_| GroupCache::new()).collect(),
        }
    }

    /// Tokens held.
    pub fn n_tokens(&self) -> usize {
        self.len
    }

    /// Whether queries are kept.
    pub fn keeps_queries(&self) -> bool {
        self.query.is_some()
    }

    /// Adds tokens, `[heads, seq, head_dim]` each; returns all keys and values, `[n_kv_heads, len, head_dim]`.
    ///
    /// The room grows by an eighth when it is used up, so a token costs a constant share of copying, and little room is idle.
    pub fn append(
        &mut self,
        query: &Tensor<B, 3>,
        key: Tensor<B, 3>,
        value: Tensor<B, 3>,
    ) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let (first, len) = (self.len, self.len + key.dims()[1]);
        if len > self.capacity {
            self.capacity = len + (len / 8).max(SPARE_TOKENS);
        }
        let write = |store: &mut Store<B>, rows| store.write(first, rows, self.capacity, self.n_base);
        if let Some(store) = &mut self.query {
            write(store, query.clone());
        }
        write(&mut self.key, key);
        write(&mut self.value, value);
        self.len = len;
        (self.key.first(len), self.value.first(len))
    }

    /// Keys and values of the first `n_tokens` tokens, `[n_kv_heads, n_tokens, head_dim]`.
    pub fn first(&self, n_tokens: usize) -> (Tensor<B, 3>, Tensor<B, 3>) {
        (self.key.first(n_tokens), self.value.first(n_tokens))
    }

    /// Queries of `tokens`, `[n_heads, tokens, head_dim]`, if they were kept.
    pub fn queries(&self, tokens: Range<usize>) -> Option<Tensor<B, 3>> {
        let all = self.query.as_ref()?.first(tokens.end);
        let [n_heads, _, head_dim] = all.dims();
        Some(all.slice([0..n_heads, tokens, 0..head_dim]))
    }

    /// Goes back to the first `keep` tokens of the `n_base` that the begun sequence computed, under a plan that has `n_groups`
    /// rules in this layer.
    pub fn go_back(&mut self, keep: usize, n_base: usize, n_groups: usize) {
        (self.len, self.n_base) = (keep, n_base);
        [Some(&mut self.key), Some(&mut self.value), self.query.as_mut()]
            .into_iter()
            .flatten()
            .for_each(Store::restore);
        self.groups = (0..n_groups).map(|_| GroupCache::new()).collect();
    }
}

impl<B: Kernels> Store<B> {
    fn new() -> Self {
        Self { rows: None, saved: Vec::new() }
    }

    /// Writes `new` from row `at` on; those of the first `n_base` rows that it covers are saved.
    fn write(&mut self, at: usize, new: Tensor<B, 3>, capacity: usize, n_base: usize) {
        let [heads, seq, head_dim] = new.dims();
        if at < n_base
            && let Some(old) = &self.rows
        {
            // a copy of its own: a view would keep the store from being written in place
            let old = old.clone().slice([0..heads, at..(at + seq).min(n_base), 0..head_dim]) + 0.0;
            self.saved.push((at, old));
        }
        // taken out: the only owner writes in place
        let rows = match self.rows.take() {
            Some(rows) if at + seq <= rows.dims()[1] => rows,
            old => {
                let room = B::store([heads, capacity, head_dim], &new);
                match old {
                    Some(old) if at > 0 => B::write_rows(room, 0, old.slice([0..heads, 0..at, 0..head_dim])),
                    _ => room,
                }
            }
        };
        self.rows = Some(B::write_rows(rows, at, new));
    }

    /// Puts saved rows back.
    fn restore(&mut self) {
        for (at, rows) in self.saved.drain(..) {
            self.rows = self.rows.take().map(|whole| B::write_rows(whole, at, rows));
        }
    }

    fn first(&self, n_tokens: usize) -> Tensor<B, 3> {
        B::first_rows(self.rows.as_ref().expect("tokens were written before they are read"), n_tokens)
    }
}

impl<B: Kernels> GroupCache<B> {
    fn new() -> Self {
        Self { chunks: Representatives::default(), chunk_keys: Default::default() }
    }
}

impl<B: Kernels> Default for Representatives<B> {
    fn default() -> Self {
        Self { complete: Store::new(), n_chunks: 0, pending: None }
    }
}

impl<B: Kernels> Representatives<B> {
    /// Complete chunks that are represented.
    pub fn n_chunks(&self) -> usize {
        self.n_chunks
    }

    /// `[heads or key heads, n_chunks, width]`; nothing where no chunk is represented.
    pub fn complete(&self) -> Option<Tensor<B, 3>> {
        (self.n_chunks > 0).then(|| self.complete.first(self.n_chunks))
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

    /// Adds what represents chunks that just became complete. Room grows as for tokens ([`LayerCache::append`]).
    pub fn push(&mut self, new: Tensor<B, 3>) {
        let (first, n_chunks) = (self.n_chunks, self.n_chunks + new.dims()[1]);
        self.complete.write(first, new, n_chunks + (n_chunks / 8).max(SPARE_CHUNKS), 0);
        self.n_chunks = n_chunks;
    }
}
