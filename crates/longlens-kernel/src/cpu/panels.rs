//! Keys and values as the tile reads them.
//!
//! A panel holds one vector of keys (as many as the instruction set has lanes), dimension by dimension: lane `l` of row
//! `d` is dimension `d` of the panel's key `l`. A score is then a sum over rows, and no lane ever meets another. Keys are
//! turned to their positions while they are packed, so each key is turned once.

use std::ops::Range;

use rayon::prelude::*;

use super::simd::{Aligned, Simd, WithSimd};
use super::turn::turn;
use super::{Angles, Parts, Rows};

/// Turned keys of some tokens, in groups that each start on a new panel: one group, or one per chunk.
pub(crate) struct Panels {
    numbers: Aligned, // [n_kv_heads, n_groups * panels_per_group, head_dim, lanes]
    pub(crate) tokens: Range<usize>,
    pub(crate) lanes: usize,
    head_dim: usize,
    group_len: usize,
    panels_per_group: usize,
    n_panels: usize, // of a head
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
        let panels_per_group = group_len.div_ceil(lanes);
        let n_panels = tokens.len().div_ceil(group_len.max(1)) * panels_per_group;
        let mut packed = Self {
            numbers: Aligned::zeros(n_kv_heads * n_panels * head_dim * lanes),
            tokens,
            lanes,
            head_dim,
            group_len,
            panels_per_group,
            n_panels,
        };
        let mut numbers = std::mem::take(&mut packed.numbers);
        let fill = |(at, out): (usize, &mut [f32])| simd.vectorize(Pack { packed: &packed, key, angles, at, out });
        numbers.par_chunks_mut(head_dim * lanes).with_min_len(TASK).enumerate().for_each(fill);
        packed.numbers = numbers;
        packed
    }

    /// The panels of a key head, one after another.
    pub(crate) fn head(&self, kv_head: usize) -> &[f32] {
        let size = self.n_panels * self.panel_len();
        &self.numbers[kv_head * size..(kv_head + 1) * size]
    }

    /// Numbers of a panel.
    pub(crate) fn panel_len(&self) -> usize {
        self.head_dim * self.lanes
    }

    /// The first panel of a group.
    pub(crate) fn group(&self, group: usize) -> usize {
        group * self.panels_per_group
    }

}

/// One panel to fill.
struct Pack<'a> {
    packed: &'a Panels,
    key: Rows<'a>,
    angles: Option<Angles<'a>>,
    at: usize, // among the panels of all heads
    out: &'a mut [f32],
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { packed: Panels { tokens, head_dim, group_len, panels_per_group, n_panels, .. }, key, .. } = self;
        let (lanes, head_dim) = (S::F32_LANES, *head_dim);
        let (head, panel) = (self.at / n_panels, self.at % n_panels);
        let (group, within) = (panel / panels_per_group, panel % panels_per_group);
        let start = tokens.start + group * group_len + within * lanes;
        let end = (start + lanes).min(tokens.start + (group + 1) * group_len).min(tokens.end);
        let mut turned = vec![0.0; head_dim];
        for (lane, token) in (start..end).enumerate() {
            let row = key.of(head, token, head_dim);
            let row = match self.angles {
                Some(angles) => {
                    turn(simd, row, angles.row(token), 1.0, &mut turned);
                    &turned
                }
                None => row,
            };
            for (panel, x) in self.out.chunks_exact_mut(lanes).zip(row) {
                panel[lane] = *x;
            }
        }
    }
}

/// Values row by row, each row a whole number of vectors, on cache lines.
pub(crate) struct Values {
    numbers: Aligned, // [n_kv_heads, n_tokens, width]
    first: usize,
    n_tokens: usize,
    /// `head_dim` rounded up to whole vectors.
    pub(crate) width: usize,
}

impl Values {
    /// Copies `tokens` of `value`, `[n_kv_heads, seq_k, head_dim]`.
    pub(crate) fn new(
        value: Rows<'_>,
        n_kv_heads: usize,
        head_dim: usize,
        tokens: Range<usize>,
        lanes: usize,
    ) -> Self {
        let width = head_dim.next_multiple_of(lanes);
        let n_tokens = tokens.len();
        let mut numbers = Aligned::zeros(n_kv_heads * n_tokens * width);
        let parts = Parts::new(&mut numbers);
        let step = 256;
        let tasks = n_kv_heads * n_tokens.div_ceil(step);
        (0..tasks).into_par_iter().for_each(|task| {
            let (head, start) = (task % n_kv_heads, task / n_kv_heads * step);
            let end = (start + step).min(n_tokens);
            // SAFETY: every task has its own head and tokens
            let out = unsafe { parts.slice((head * n_tokens + start) * width, (end - start) * width) };
            for (out, token) in out.chunks_mut(width).zip(tokens.start + start..) {
                out[..head_dim].copy_from_slice(value.of(head, token, head_dim));
            }
        });
        Self { numbers, first: tokens.start, n_tokens, width }
    }

    /// The rows of a key head from `token` on.
    pub(crate) fn from(&self, kv_head: usize, token: usize) -> &[f32] {
        let start = kv_head * self.n_tokens + token - self.first;
        &self.numbers[start * self.width..(kv_head + 1) * self.n_tokens * self.width]
    }
}
