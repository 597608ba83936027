//! Keys and values of the tokens so far, keys before rotation: any method can rotate them to its own positions. Queries too,
//! before rotation, when somebody asked for them. They are on the device, or in the host's memory where this is asked for.

use std::cell::OnceCell;
use std::ops::Range;

use burn_tensor::{Int, Tensor};
use longlens_core::memory::SPARE_TOKENS;
use longlens_kernel::Kernels;

pub mod fork;
mod host;
pub mod kept;
mod resident;

use host::HostRows;
pub use resident::Brought;
use resident::Resident;

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
    device: B::Device,
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
    /// Chunks on the device while the cache is in the host's memory.
    resident: Option<Resident<B>>,
}

/// Keys and values of the first tokens of a layer, of all key heads, before rotation.
#[derive(Debug)]
pub struct Held<'a, B: Kernels> {
    key: &'a Store<B>,
    value: &'a Store<B>,
    /// Tokens of them.
    pub len: usize,
    device: &'a B::Device,
    /// All of them on the device, once somebody asked for them.
    fetched: OnceCell<(Tensor<B, 3>, Tensor<B, 3>)>,
}

/// Rows of tokens or of chunks, with room for more.
#[derive(Debug)]
struct Store<B: Kernels> {
    memory: Memory,
    rows: Option<Rows<B>>, // [heads, capacity, head_dim]
    /// Rows of the sequence that was begun where others were written since, and the first one's token.
    saved: Vec<(usize, Rows<B>)>,
}

/// Where rows lie.
#[derive(Debug)]
enum Rows<B: Kernels> {
    Here(Tensor<B, 3>),
    OnHost(HostRows),
}

impl<B: Kernels> Rows<B> {
    /// Rows of a device where they are to lie.
    fn lying(memory: Memory, rows: Tensor<B, 3>) -> Self {
        match memory {
            Memory::Device => Self::Here(rows),
            Memory::Host => {
                let mut on_host = HostRows::new(rows.dims()[1], &rows);
                on_host.write(0, rows);
                Self::OnHost(on_host)
            }
        }
    }

    fn n_numbers(&self) -> usize {
        match self {
            Self::Here(rows) => rows.dims().iter().product(),
            Self::OnHost(rows) => rows.n_numbers(),
        }
    }
}

/// Where the rows of a sequence are to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Memory {
    /// On the device that computes.
    #[default]
    Device,
    /// In the host's memory: fetched for every step that meets them.
    Host,
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
    pub fn new(n_tokens: usize, keep_queries: bool, n_groups: usize, memory: Memory, device: B::Device) -> Self {
        Self {
            query: keep_queries.then(|| Store::new(memory)),
            key: Store::new(memory),
            value: Store::new(memory),
            len: 0,
            capacity: n_tokens + SPARE_TOKENS,
            n_base: 0,
            device,
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

    /// Adds tokens, `[heads, seq, head_dim]` each; returns all keys and values, and what the groups keep beside them.
    ///
    /// The room grows by an eighth when it is used up, so a token costs a constant share of copying, and little room is idle.
    pub fn append(
        &mut self,
        query: &Tensor<B, 3>,
        key: Tensor<B, 3>,
        value: Tensor<B, 3>,
    ) -> (Held<'_, B>, &mut [GroupCache<B>]) {
        let (first, len) = (self.len, self.len + key.dims()[1]);
        if len > self.capacity {
            self.capacity = len + (len / 8).max(SPARE_TOKENS);
        }
        let write = |store: &mut Store<B>, rows| store.write(first, rows, self.capacity, self.n_base);
        if let Some(store) = &mut self.query {
            write(store, query.clone());
        }
        // of a prompt in one step nothing is fetched that has just been there
        let fetched = OnceCell::new();
        if first == 0 && self.key.memory == Memory::Host {
            let _ = fetched.set((key.clone(), value.clone()));
        }
        write(&mut self.key, key);
        write(&mut self.value, value);
        self.len = len;
        let Self { key, value, device, groups, .. } = self;
        (Held { key, value, len, device, fetched }, groups)
    }

    /// Keys and values of the first `n_tokens` tokens, and what the groups keep beside them.
    pub fn held(&mut self, n_tokens: usize) -> (Held<'_, B>, &mut [GroupCache<B>]) {
        let Self { key, value, device, groups, .. } = self;
        (Held { key, value, len: n_tokens, device, fetched: OnceCell::new() }, groups)
    }

    /// Keys and values of the first `n_tokens` tokens, `[n_kv_heads, n_tokens, head_dim]`.
    pub fn first(&self, n_tokens: usize) -> (Tensor<B, 3>, Tensor<B, 3>) {
        (self.key.first(n_tokens, &self.device), self.value.first(n_tokens, &self.device))
    }

    /// Queries of `tokens`, `[n_heads, tokens, head_dim]`, if they were kept.
    pub fn queries(&self, tokens: Range<usize>) -> Option<Tensor<B, 3>> {
        Some(self.query.as_ref()?.rows(tokens, &self.device))
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

impl<B: Kernels> Held<'_, B> {
    /// All of them, `[n_kv_heads, len, head_dim]` each.
    pub fn all(&self) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let fetch = || (self.key.first(self.len, self.device), self.value.first(self.len, self.device));
        self.fetched.get_or_init(fetch).clone()
    }

    /// Those of some tokens, `[n_kv_heads, tokens, head_dim]` each.
    pub fn tokens(&self, tokens: Range<usize>) -> (Tensor<B, 3>, Tensor<B, 3>) {
        match self.fetched.get() {
            Some(all) => {
                let [n_kv_heads, _, head_dim] = all.0.dims();
                let part = |t: &Tensor<B, 3>| t.clone().slice([0..n_kv_heads, tokens.clone(), 0..head_dim]);
                (part(&all.0), part(&all.1))
            }
            None => (self.key.rows(tokens.clone(), self.device), self.value.rows(tokens, self.device)),
        }
    }

    /// The chunks that one token chose, brought to the device, where the cache is in the host's memory and they are not there anyway.
    pub fn chosen(
        &self,
        cache: &mut GroupCache<B>,
        kv_heads: Range<usize>,
        chosen: &Tensor<B, 3, Int>,
        chunk_len: usize,
    ) -> Option<Brought<B>> {
        let (Some(Rows::OnHost(key)), Some(Rows::OnHost(value))) = (&self.key.rows, &self.value.rows) else {
            return None;
        };
        let [n_heads, n_tokens, n_slots] = chosen.dims();
        if n_tokens != 1 || self.fetched.get().is_some() {
            return None;
        }
        let n_rep = n_heads / kv_heads.len();
        let (n_chosen, n_chunks) = (n_rep * (n_slots - 1), self.len / chunk_len);
        if !cache.resident.as_ref().is_some_and(|resident| resident.holds(n_chosen, n_chunks, chunk_len)) {
            let like = crate::tensors::heads_of(&key.rows(0..1, self.device), kv_heads.clone());
            cache.resident = None; // its memory is given back before the new one takes its own
            cache.resident = Some(Resident::new(n_chosen, n_chunks, chunk_len, &like));
        }
        let numbers = chosen.clone().into_data().convert::<i32>();
        let numbers = numbers.as_slice::<i32>().expect("converted to i32");
        let choices: Vec<Vec<i32>> = numbers.chunks(n_slots).map(<[i32]>::to_vec).collect();
        let resident = cache.resident.as_mut()?;
        Some(resident.bring(&choices, n_rep, kv_heads, self.len, [key, value], self.device))
    }
}

impl<B: Kernels> Store<B> {
    fn new(memory: Memory) -> Self {
        Self { memory, rows: None, saved: Vec::new() }
    }

    /// Writes `new` from row `at` on; those of the first `n_base` rows that it covers are saved.
    fn write(&mut self, at: usize, new: Tensor<B, 3>, capacity: usize, n_base: usize) {
        let [heads, seq, head_dim] = new.dims();
        if at < n_base && self.rows.is_some() {
            self.saved.push((at, self.copied(at..(at + seq).min(n_base))));
        }
        // taken out: the only owner writes in place
        let rows = match (self.rows.take(), self.memory) {
            (Some(Rows::Here(rows)), _) if at + seq <= rows.dims()[1] => Rows::Here(B::write_rows(rows, at, new)),
            (Some(Rows::Here(old)), _) if at > 0 => {
                let old = old.slice([0..heads, 0..at, 0..head_dim]);
                Rows::Here(B::write_rows(B::write_rows(B::store([heads, capacity, head_dim], &new), 0, old), at, new))
            }
            (None | Some(Rows::Here(_)), Memory::Device) => {
                Rows::Here(B::write_rows(B::store([heads, capacity, head_dim], &new), at, new))
            }
            (rows, _) => {
                let mut rows = match rows {
                    Some(Rows::OnHost(rows)) if at + seq <= rows.capacity() => rows,
                    Some(Rows::OnHost(rows)) => rows.grown(capacity),
                    _ => HostRows::new(capacity, &new),
                };
                rows.write(at, new);
                Rows::OnHost(rows)
            }
        };
        self.rows = Some(rows);
    }

    /// Puts saved rows back.
    fn restore(&mut self) {
        for (at, rows) in std::mem::take(&mut self.saved) {
            match (&mut self.rows, rows) {
                (_, Rows::Here(rows)) => {
                    let capacity = at + rows.dims()[1]; // they were written there before
                    self.write(at, rows, capacity, 0);
                }
                (Some(Rows::OnHost(store)), Rows::OnHost(rows)) => store.put(at, &rows),
                (_, Rows::OnHost(_)) => unreachable!("rows are saved where they lie"),
            }
        }
    }

    /// A copy of some rows, where they lie.
    fn copied(&self, tokens: Range<usize>) -> Rows<B> {
        match self.rows.as_ref().expect("tokens were written before they are read") {
            Rows::Here(rows) => {
                let [heads, _, head_dim] = rows.dims();
                // a copy of its own: a view would keep all of the store alive, and from being written in place
                Rows::Here(B::first_rows(rows, tokens.end).slice([0..heads, tokens, 0..head_dim]) + 0.0)
            }
            Rows::OnHost(rows) => Rows::OnHost(rows.part(tokens)),
        }
    }

    /// Begins with a copy of `rows`, which lie where these are to lie, and room for more.
    fn begin_with(&mut self, rows: &Rows<B>, capacity: usize) {
        match rows {
            Rows::Here(rows) => self.write(0, rows.clone(), capacity, 0),
            Rows::OnHost(rows) => self.rows = Some(Rows::OnHost(rows.part(0..rows.capacity()).grown(capacity))),
        }
    }

    /// The first rows on the device, where they lie or copied to it.
    fn first(&self, n_tokens: usize, device: &B::Device) -> Tensor<B, 3> {
        match self.rows.as_ref().expect("tokens were written before they are read") {
            Rows::Here(rows) => B::first_rows(rows, n_tokens),
            Rows::OnHost(rows) => rows.rows(0..n_tokens, device),
        }
    }

    /// Some rows on the device, likewise.
    fn rows(&self, tokens: Range<usize>, device: &B::Device) -> Tensor<B, 3> {
        match self.rows.as_ref().expect("tokens were written before they are read") {
            Rows::Here(rows) => {
                let [heads, _, head_dim] = rows.dims();
                B::first_rows(rows, tokens.end).slice([0..heads, tokens, 0..head_dim])
            }
            Rows::OnHost(rows) => rows.rows(tokens, device),
        }
    }
}

impl<B: Kernels> GroupCache<B> {
    fn new() -> Self {
        Self { chunks: Representatives::default(), chunk_keys: Default::default(), resident: None }
    }
}

impl<B: Kernels> Default for Representatives<B> {
    fn default() -> Self {
        Self { complete: Store::new(Memory::Device), n_chunks: 0, pending: None }
    }
}

impl<B: Kernels> Representatives<B> {
    /// Complete chunks that are represented.
    pub fn n_chunks(&self) -> usize {
        self.n_chunks
    }

    /// `[heads or key heads, n_chunks, width]`; nothing where no chunk is represented.
    pub fn complete(&self) -> Option<Tensor<B, 3>> {
        let Some(Rows::Here(rows)) = &self.complete.rows else { return None };
        (self.n_chunks > 0).then(|| B::first_rows(rows, self.n_chunks))
    }

    /// The newest `n` queries of the chunk that is not complete yet, `[heads, n, head_dim]`, before rotation; nothing where they
    /// are not there.
    pub fn newest_queries(&self, n: usize) -> Option<Tensor<B, 3>> {
        let pending = self.pending.as_ref()?;
        let [heads, n_pending, head_dim] = pending.dims();
        (1..=n_pending).contains(&n).then(|| pending.clone().slice([0..heads, n_pending - n..n_pending, 0..head_dim]))
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
