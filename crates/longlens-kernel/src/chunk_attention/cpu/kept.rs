//! Keys of a layer turned to their offsets and packed, kept from call to call: an offset never changes.

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::panels::Pack;
use crate::cpu::simd::{Aligned, Simd};
use crate::cpu::{Angles, Parts, Rows};

/// Packed keys of the tokens so far, every chunk on panels of its own.
#[derive(Debug, Default)]
pub struct Kept {
    heads: Vec<Aligned>, // one per key head: [n_chunks * panels_per_chunk, head_dim, lanes]
    n_tokens: usize,
    chunk_len: usize,
    head_dim: usize,
    lanes: usize,
}

/// Panels that one task packs.
const TASK: usize = 16;

impl Kept {
    /// Packs what is new of the first `n_tokens` keys, `[n_kv_heads, n_tokens, head_dim]`.
    #[inline(always)]
    pub(super) fn cover<S: Simd>(
        &mut self,
        simd: S,
        key: Rows<'_>,
        [n_kv_heads, head_dim]: [usize; 2],
        offsets: Angles<'_>,
        n_tokens: usize,
        chunk_len: usize,
    ) {
        let shape = (n_kv_heads, head_dim, chunk_len, S::F32_LANES);
        if (self.heads.len(), self.head_dim, self.chunk_len, self.lanes) != shape {
            let heads = (0..n_kv_heads).map(|_| Aligned::default()).collect();
            *self = Self { heads, n_tokens: 0, chunk_len, head_dim, lanes: S::F32_LANES };
        }
        if n_tokens <= self.n_tokens {
            return;
        }
        let from = self.chunk(self.n_tokens / chunk_len); // a partial chunk is packed again
        let until = self.chunk(n_tokens.div_ceil(chunk_len));
        self.n_tokens = n_tokens;
        let size = self.panel_len();
        let mut heads = std::mem::take(&mut self.heads);
        let new: Vec<_> = heads
            .iter_mut()
            .map(|numbers| {
                numbers.resize(until * size);
                Parts::new(&mut numbers[from * size..])
            })
            .collect();
        (0..n_kv_heads * (until - from)).into_par_iter().with_min_len(TASK).for_each(|at| {
            let (kv_head, panel) = (at % n_kv_heads, at / n_kv_heads);
            // SAFETY: every panel is filled once
            let out = unsafe { new[kv_head].slice(panel * size, size) };
            let tokens = self.tokens_of(from + panel);
            simd.vectorize(Pack { key, angles: Some(offsets), kv_head, head_dim, tokens, out });
        });
        self.heads = heads;
    }

    /// Chunks that hold any key.
    pub(super) fn n_chunks(&self) -> usize {
        self.n_tokens.div_ceil(self.chunk_len)
    }

    /// The panels of a key head from a chunk's first on.
    pub(super) fn panels(&self, kv_head: usize, chunk: usize) -> &[f32] {
        &self.heads[kv_head][self.chunk(chunk) * self.panel_len()..]
    }

    /// Numbers of a panel.
    pub(super) fn panel_len(&self) -> usize {
        self.head_dim * self.lanes
    }

    /// A chunk's first panel.
    fn chunk(&self, chunk: usize) -> usize {
        chunk * self.chunk_len.div_ceil(self.lanes)
    }

    fn tokens_of(&self, panel: usize) -> Range<usize> {
        let per_chunk = self.chunk_len.div_ceil(self.lanes);
        let start = panel / per_chunk * self.chunk_len;
        let end = (start + self.chunk_len).min(self.n_tokens);
        let first = (start + panel % per_chunk * self.lanes).min(end);
        first..(first + self.lanes).min(end)
    }
}
