//! Keys of a layer rotated to where they stand and packed, kept from call to call: neither an offset nor a position changes.

use crate::cpu::panels::{Groups, pack};
use crate::cpu::simd::{Aligned, Simd};
use crate::cpu::{Angles, Rows};

/// Packed keys of the tokens so far, every chunk on whole panels of its own: as many numbers as the keys where a chunk
/// fills whole vectors, more where it does not.
#[derive(Debug, Default)]
pub struct PackedKeys {
    heads: Vec<Aligned>, // one per key head: [n_panels, head_dim, lanes]
    groups: Groups,
    head_dim: usize,
}

impl PackedKeys {
    /// Packs what is new of the first `n_tokens` keys, `[n_kv_heads, n_tokens, head_dim]`.
    #[inline(always)]
    pub(super) fn cover<S: Simd>(
        &mut self,
        simd: S,
        key: Rows<'_>,
        [n_kv_heads, head_dim]: [usize; 2],
        angles: Angles<'_>,
        n_tokens: usize,
        chunk_len: usize,
    ) {
        if (self.heads.len(), self.head_dim, self.groups.len, self.groups.lanes)
            != (n_kv_heads, head_dim, chunk_len, S::F32_LANES)
        {
            self.heads = (0..n_kv_heads).map(|_| Aligned::default()).collect();
            self.groups = Groups { first: 0, end: 0, len: chunk_len, lanes: S::F32_LANES };
            self.head_dim = head_dim;
        }
        if n_tokens <= self.groups.end {
            return;
        }
        let from = self.groups.panel(self.groups.end / chunk_len); // a partial chunk is packed again
        self.groups.end = n_tokens;
        let (size, until) = (self.panel_len(), self.groups.n_panels());
        let mut new = Vec::new();
        for numbers in &mut self.heads {
            numbers.resize(until * size);
            new.push(&mut numbers[from * size..]);
        }
        pack(simd, key, head_dim, Some(angles), self.groups, from..until, new);
    }

    /// Chunks that hold any key.
    pub(super) fn n_chunks(&self) -> usize {
        self.groups.end.div_ceil(self.groups.len)
    }

    /// The panels of a key head from a chunk's first on.
    pub(super) fn panels(&self, kv_head: usize, chunk: usize) -> &[f32] {
        &self.heads[kv_head][self.groups.panel(chunk) * self.panel_len()..]
    }

    /// Numbers of a panel.
    pub(super) fn panel_len(&self) -> usize {
        self.head_dim * self.groups.lanes
    }
}
