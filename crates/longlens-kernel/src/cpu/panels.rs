//! Keys and values as the tile reads them.
//!
//! A panel holds one vector of keys (as many as the instruction set has lanes), dimension by dimension: lane `l` of row
//! `d` is dimension `d` of the panel's key `l`. A score is then a sum over rows, and no lane ever meets another. Keys are
//! turned to their positions while they are packed, so each key is turned once.

use std::ops::Range;

use rayon::prelude::*;

use super::simd::{Aligned, Simd, WithSimd};
use super::tile::Values;
use super::turn::turn;
use super::{Angles, Rows};

/// Turned keys of some tokens, in groups that each start on a new panel: one group, or one per chunk.
pub(crate) struct Panels {
    numbers: Aligned, // [n_kv_heads, n_groups * per_group, head_dim, lanes]
    pub(crate) tokens: Range<usize>,
    pub(crate) lanes: usize,
    head_dim: usize,
    group_len: usize,
    per_group: usize, // panels
    per_head: usize,  // panels
}

/// Panels that one task packs.
const TASK: usize = 16;

impl Panels {
    /// Packs keys `tokens` of `key`, `[n_kv_heads, seq_k, head_dim]`, each turned by its row of `angles` if there are any.
    /// Every `group_len` tokens start on a new panel.
    #[inline(always)]
    pub(crate) fn keys<S: Simd>(
        simd: S,
        key: Rows<'_>,
        [n_kv_heads, head_dim]: [usize; 2],
        angles: Option<Angles<'_>>,
        tokens: Range<usize>,
        group_len: usize,
    ) -> Self {
        let lanes = S::F32_LANES;
        let per_group = group_len.div_ceil(lanes);
        let per_head = tokens.len().div_ceil(group_len.max(1)) * per_group;
        let mut packed = Self {
            numbers: Aligned::any(n_kv_heads * per_head * head_dim * lanes),
            tokens,
            lanes,
            head_dim,
            group_len,
            per_group,
            per_head,
        };
        let mut numbers = std::mem::take(&mut packed.numbers);
        let fill = |(at, out): (usize, &mut [f32])| {
            let (kv_head, tokens) = (at / per_head, packed.tokens_of(at % per_head));
            simd.vectorize(Pack { key, angles, kv_head, head_dim, tokens, out });
        };
        numbers.par_chunks_mut(head_dim * lanes).with_min_len(TASK).enumerate().for_each(fill);
        packed.numbers = numbers;
        packed
    }

    /// Tokens of a panel.
    fn tokens_of(&self, panel: usize) -> Range<usize> {
        let (group, within) = (panel / self.per_group, panel % self.per_group);
        let start = self.tokens.start + group * self.group_len;
        let end = (start + self.group_len).min(self.tokens.end);
        let first = (start + within * self.lanes).min(end);
        first..(first + self.lanes).min(end)
    }

    /// The panels of a key head, one after another.
    pub(crate) fn head(&self, kv_head: usize) -> &[f32] {
        let size = self.per_head * self.panel_len();
        &self.numbers[kv_head * size..(kv_head + 1) * size]
    }

    /// Numbers of a panel.
    pub(crate) fn panel_len(&self) -> usize {
        self.head_dim * self.lanes
    }

    /// The first panel of a group.
    pub(crate) fn group(&self, group: usize) -> usize {
        group * self.per_group
    }
}

/// A panel to fill.
pub(crate) struct Pack<'a> {
    pub key: Rows<'a>,
    pub angles: Option<Angles<'a>>,
    pub kv_head: usize,
    pub head_dim: usize,
    /// At most a vector of them.
    pub tokens: Range<usize>,
    pub out: &'a mut [f32],
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { key, angles, kv_head, head_dim, tokens, out } = self;
        let lanes = S::F32_LANES;
        if tokens.len() < lanes {
            out.fill(0.0);
        }
        let mut room = [0.0; 256];
        let mut more = Vec::new();
        let turned = if head_dim <= room.len() {
            &mut room[..head_dim]
        } else {
            more.resize(head_dim, 0.0);
            &mut more[..]
        };
        for (lane, token) in tokens.enumerate() {
            let row = key.of(kv_head, token, head_dim);
            let row = match angles {
                Some(angles) => {
                    turn(simd, row, angles.row(token), 1.0, turned);
                    &*turned
                }
                None => row,
            };
            for (panel, x) in out.chunks_exact_mut(lanes).zip(row) {
                panel[lane] = *x;
            }
        }
    }
}

/// Values whose rows are whole vectors.
pub(crate) struct WholeRows<'a> {
    rows: Rows<'a>,
    copy: Aligned, // [n_kv_heads, n_tokens, width], if rows are not whole vectors where they lie
    first: usize,
    n_tokens: usize,
    /// `head_dim` rounded up to whole vectors.
    pub(crate) width: usize,
}

impl<'a> WholeRows<'a> {
    /// Rows `tokens` of `value`, `[n_kv_heads, seq_k, head_dim]`: where they lie, or copied and filled up with zeros.
    pub(crate) fn new(value: Rows<'a>, [n_kv_heads, head_dim]: [usize; 2], tokens: Range<usize>, lanes: usize) -> Self {
        let width = head_dim.next_multiple_of(lanes);
        let (first, n_tokens) = (tokens.start, tokens.len());
        let mut whole = Self { rows: value, copy: Aligned::default(), first, n_tokens, width };
        if width > head_dim {
            whole.copy = Aligned::zeros(n_kv_heads * n_tokens * width);
            for (at, out) in whole.copy.chunks_exact_mut(width).enumerate() {
                let (head, token) = (at / n_tokens, first + at % n_tokens);
                out[..head_dim].copy_from_slice(value.of(head, token, head_dim));
            }
        }
        whole
    }

    /// The rows of a key head from `token` on.
    pub(crate) fn from(&self, kv_head: usize, token: usize) -> Values<'_> {
        if self.copy.is_empty() {
            return self.rows.from(kv_head, token);
        }
        let start = (kv_head * self.n_tokens + token - self.first) * self.width;
        Values { numbers: &self.copy[start..(kv_head + 1) * self.n_tokens * self.width], stride: self.width }
    }
}
