//! Keys and values as the tile reads them.
//!
//! A panel holds one vector of keys (as many as the instruction set has lanes), dimension by dimension: lane `l` of row
//! `d` is dimension `d` of the panel's key `l`. A score is then a sum over rows, and no lane ever meets another. Keys are
//! rotated to their positions while they are packed, so each key is rotated once.

use std::ops::Range;

use rayon::prelude::*;

use super::rotate::rotate_row;
use super::simd::{Aligned, Simd, WithSimd};
use super::tile::Values;
use super::{Angles, Parts, Rows};

/// Consecutive tokens in groups that each start on a new panel: one group, or one per chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Groups {
    pub first: usize,
    pub end: usize,
    /// Tokens of a group; the last one may hold fewer.
    pub len: usize,
    /// Tokens of a panel.
    pub lanes: usize,
}

impl Groups {
    /// Panels of all groups.
    pub(crate) fn n_panels(&self) -> usize {
        self.panel((self.end - self.first).div_ceil(self.len.max(1)))
    }

    /// The first panel of a group.
    pub(crate) fn panel(&self, group: usize) -> usize {
        group * self.len.div_ceil(self.lanes)
    }

    fn tokens_of(&self, panel: usize) -> Range<usize> {
        let per_group = self.len.div_ceil(self.lanes);
        let start = self.first + panel / per_group * self.len;
        let end = (start + self.len).min(self.end);
        let first = (start + panel % per_group * self.lanes).min(end);
        first..(first + self.lanes).min(end)
    }
}

/// Panels that one task packs.
const TASK: usize = 16;

/// Packs the keys of `panels` of some groups, each rotated by its row of `angles` if there are any: `heads[h]` is where those
/// of key head `h` go.
#[inline(always)]
pub(crate) fn pack<S: Simd>(
    simd: S,
    key: Rows<'_>,
    head_dim: usize,
    angles: Option<Angles<'_>>,
    groups: Groups,
    panels: Range<usize>,
    heads: Vec<&mut [f32]>,
) {
    let (size, n_heads) = (head_dim * groups.lanes, heads.len());
    let heads: Vec<_> = heads.into_iter().map(Parts::new).collect();
    (0..n_heads * panels.len()).into_par_iter().with_min_len(TASK).for_each(|at| {
        let (kv_head, panel) = (at / panels.len(), at % panels.len());
        // SAFETY: every panel is filled once
        let out = unsafe { heads[kv_head].slice(panel * size, size) };
        let tokens = groups.tokens_of(panels.start + panel);
        simd.vectorize(Pack { key, angles, kv_head, head_dim, tokens, out });
    });
}

/// Rotated keys of some tokens.
pub(crate) struct Panels {
    numbers: Aligned, // [n_kv_heads, n_panels, head_dim, lanes]
    groups: Groups,
    head_dim: usize,
}

impl Panels {
    /// Packs keys `tokens` of `key`, `[n_kv_heads, seq_k, head_dim]`, in groups of `group_len`.
    #[inline(always)]
    pub(crate) fn keys<S: Simd>(
        simd: S,
        key: Rows<'_>,
        [n_kv_heads, head_dim]: [usize; 2],
        angles: Option<Angles<'_>>,
        tokens: Range<usize>,
        group_len: usize,
    ) -> Self {
        let groups = Groups { first: tokens.start, end: tokens.end, len: group_len, lanes: S::F32_LANES };
        let per_head = groups.n_panels() * head_dim * groups.lanes;
        let mut numbers = Aligned::any(n_kv_heads * per_head);
        if per_head > 0 {
            let heads = numbers.chunks_exact_mut(per_head).collect();
            pack(simd, key, head_dim, angles, groups, 0..groups.n_panels(), heads);
        }
        Self { numbers, groups, head_dim }
    }

    /// Tokens whose keys are here.
    pub(crate) fn tokens(&self) -> Range<usize> {
        self.groups.first..self.groups.end
    }

    /// The panels of a key head, one after another.
    pub(crate) fn head(&self, kv_head: usize) -> &[f32] {
        let size = self.groups.n_panels() * self.panel_len();
        &self.numbers[kv_head * size..(kv_head + 1) * size]
    }

    /// Numbers of a panel.
    pub(crate) fn panel_len(&self) -> usize {
        self.head_dim * self.groups.lanes
    }

    /// The first panel of a group.
    pub(crate) fn group(&self, group: usize) -> usize {
        self.groups.panel(group)
    }
}

/// A panel to fill.
struct Pack<'a> {
    key: Rows<'a>,
    angles: Option<Angles<'a>>,
    kv_head: usize,
    head_dim: usize,
    /// At most a vector of them.
    tokens: Range<usize>,
    out: &'a mut [f32],
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
        let rotated = if head_dim <= room.len() {
            &mut room[..head_dim]
        } else {
            more.resize(head_dim, 0.0);
            &mut more[..]
        };
        for (lane, token) in tokens.enumerate() {
            let row = key.of(kv_head, token, head_dim);
            let row = match angles {
                Some(angles) => {
                    rotate_row(simd, row, angles.row(token), 1.0, rotated);
                    &*rotated
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
            whole.copy.par_chunks_exact_mut(width).with_min_len(256).enumerate().for_each(|(at, out)| {
                let (head, token) = (at / n_tokens, first + at % n_tokens);
                out[..head_dim].copy_from_slice(value.of(head, token, head_dim));
            });
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
