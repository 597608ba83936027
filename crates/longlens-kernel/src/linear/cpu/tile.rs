//! Many rows times a matrix, a tile at a time.
//!
//! The inner loop keeps [`ROWS`] rows times a few vectors of outputs in registers. `d_in` is cut so that the weights of a
//! tile stay in the second cache while all rows of the task meet them, and the rows' own numbers come along from there.
//! Weights that are not f32 are decoded once per tile and task.

use std::marker::PhantomData;
use std::ops::Range;

use super::format::{self, F32, Format, with_format};
use crate::cpu::simd::{Aligned, Simd, WithSimd, load, store};
use crate::linear::Storage;

/// Rows of the inner loop. Six rows of four vectors fill the 32 registers of AVX-512 and NEON, six of two the 16 of AVX2.
pub(super) const ROWS: usize = 6;
/// Vectors of the inner loop at most.
const VECTORS: usize = 4;
/// Dimensions of a tile: whole blocks of every format.
const DEPTH: usize = 256;

/// Panels of a full tile.
pub(super) fn panels_of_tile<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 4 } else { 2 }
}

/// What a thread keeps from task to task.
pub(super) struct Scratch {
    weights: Aligned, // [VECTORS, DEPTH, lanes]
    edge: Aligned,    // [ROWS, VECTORS, lanes]
}

impl Scratch {
    pub fn new(lanes: usize) -> Self {
        Self { weights: Aligned::zeros(VECTORS * DEPTH * lanes), edge: Aligned::zeros(ROWS * VECTORS * lanes) }
    }
}

/// Some rows times some panels.
pub(super) struct Task<'a> {
    /// How the weights are written down.
    pub storage: Storage,
    /// The first panel's words.
    pub words: &'a [u32],
    /// Words from a panel to the next.
    pub panel_len: usize,
    /// Panels.
    pub n_panels: usize,
    /// `d_in` in blocks.
    pub n_blocks: usize,
    /// Row 0 of `x`; rows are as long as the blocks.
    pub x: *const f32,
    /// Numbers from a row of `x` to the next.
    pub x_stride: usize,
    /// Rows of `x` and `out`.
    pub rows: Range<usize>,
    /// The first panel's outputs of row 0.
    pub out: *mut f32,
    /// Numbers from a row of `out` to the next.
    pub out_stride: usize,
    /// Outputs of the panels; the last panel may have fewer than lanes.
    pub n_outputs: usize,
    /// Added to every row: as many numbers as the panels have lanes.
    pub bias: Option<&'a [f32]>,
    /// Whether the product is added to what `out` holds.
    pub add: bool,
}

impl Task<'_> {
    /// # Safety
    /// Panels and rows are readable, the outputs of the rows are writable, and nobody else touches those.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(&self, simd: S, scratch: &mut Scratch) {
        let full = panels_of_tile::<S>();
        let of_tile = DEPTH / format::facts(self.storage).0;
        for first in (0..self.n_blocks).step_by(of_tile) {
            let blocks = first..(first + of_tile).min(self.n_blocks);
            let mut panel = 0;
            while panel < self.n_panels {
                // SAFETY: as the caller promises
                unsafe {
                    panel += match (full >= 4, self.n_panels - panel) {
                        (true, 4..) => self.tile::<S, 4>(simd, blocks.clone(), panel, scratch),
                        (_, 2..) => self.tile::<S, 2>(simd, blocks.clone(), panel, scratch),
                        _ => self.tile::<S, 1>(simd, blocks.clone(), panel, scratch),
                    };
                }
            }
        }
    }

    /// All rows times some blocks of `NV` panels; returns `NV`.
    ///
    /// # Safety
    /// As [`Self::run`].
    #[inline(always)]
    unsafe fn tile<S: Simd, const NV: usize>(
        &self,
        simd: S,
        blocks: Range<usize>,
        panel: usize,
        scratch: &mut Scratch,
    ) -> usize {
        let lanes = S::F32_LANES;
        let (block_len, ..) = format::facts(self.storage);
        let depth = blocks.len() * block_len;
        let add = self.add || blocks.start > 0;
        let bias = self.bias.filter(|_| blocks.start == 0).map(|bias| bias[panel * lanes..].as_ptr());
        let decode = Decode { task: self, panels: panel..panel + NV, blocks: blocks.clone(), to: &mut scratch.weights };
        if self.storage != Storage::F32 {
            with_format!(self.storage, F => simd.vectorize(As::<F>(decode, PhantomData)));
        }
        // SAFETY: panels and blocks are inside, scratch is made for the largest tile
        unsafe {
            let (weights, stride) = if self.storage == Storage::F32 {
                let words = &self.words[panel * self.panel_len + blocks.start * F32::WORDS * lanes..];
                (words.as_ptr().cast::<f32>(), self.panel_len)
            } else {
                (scratch.weights.as_ptr(), DEPTH * lanes)
            };
            let n_outputs = (self.n_outputs - panel * lanes).min(NV * lanes);
            for row in self.rows.clone().step_by(ROWS) {
                let n_rows = (self.rows.end - row).min(ROWS);
                let mut x = [self.x; ROWS];
                for (r, x) in x.iter_mut().enumerate() {
                    // rows past the end repeat the last one and are dropped
                    *x = self.x.add((row + r.min(n_rows - 1)) * self.x_stride + blocks.start * block_len);
                }
                let out = self.out.add(row * self.out_stride + panel * lanes);
                let inner = Inner { x, depth, weights, stride, bias, add };
                if n_rows == ROWS && n_outputs == NV * lanes {
                    inner.run::<S, NV>(simd, out, self.out_stride);
                    continue;
                }
                let edge = scratch.edge.as_mut_ptr();
                if add {
                    for r in 0..n_rows {
                        out.add(r * self.out_stride).copy_to_nonoverlapping(edge.add(r * NV * lanes), n_outputs);
                    }
                }
                inner.run::<S, NV>(simd, edge, NV * lanes);
                for r in 0..n_rows {
                    out.add(r * self.out_stride).copy_from_nonoverlapping(edge.add(r * NV * lanes), n_outputs);
                }
            }
        }
        NV
    }
}

/// Some blocks of some panels, written out as numbers, [`DEPTH`] vectors a panel.
struct Decode<'a> {
    task: &'a Task<'a>,
    panels: Range<usize>,
    blocks: Range<usize>,
    to: &'a mut [f32],
}

/// That, from a format.
struct As<'a, F>(Decode<'a>, PhantomData<F>);

impl<F: Format> WithSimd for As<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Decode { task, panels, blocks, to } = self.0;
        let lanes = S::F32_LANES;
        let block_len = F::WORDS * lanes;
        for (panel, to) in panels.zip(to.chunks_exact_mut(DEPTH * lanes)) {
            let words = &task.words[panel * task.panel_len..][blocks.start * block_len..blocks.end * block_len];
            for (words, to) in words.chunks_exact(block_len).zip(to.chunks_exact_mut(F::WEIGHTS * lanes)) {
                // SAFETY: a block has its words, and `to` takes a vector for every weight
                unsafe {
                    F::decode(simd, words.as_ptr(), lanes, |part, weights| {
                        for (at, weights) in weights.into_iter().enumerate() {
                            store(simd, to.as_mut_ptr().add((8 * part + at) * lanes), weights);
                        }
                    });
                }
            }
        }
    }
}

/// [`ROWS`] rows times a tile's weights.
struct Inner {
    x: [*const f32; ROWS],
    depth: usize,
    weights: *const f32,
    /// Numbers from a panel to the next.
    stride: usize,
    bias: Option<*const f32>,
    add: bool,
}

impl Inner {
    /// # Safety
    /// Rows and weights are readable over the depth, `to` takes `NV` vectors at every `to_stride`.
    #[inline(always)]
    unsafe fn run<S: Simd, const NV: usize>(&self, simd: S, to: *mut f32, to_stride: usize) {
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); NV]; ROWS];
        // SAFETY: all inside by the contract
        unsafe {
            for k in 0..self.depth {
                let mut weights = [simd.splat_f32s(0.0); NV];
                for (v, weights) in weights.iter_mut().enumerate() {
                    *weights = load(simd, self.weights.add(v * self.stride + k * lanes));
                }
                for (sums, x) in sums.iter_mut().zip(&self.x) {
                    let x = simd.splat_f32s(*x.add(k));
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = simd.mul_add_e_f32s(x, weights, *sum);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (v, mut sum) in sums.into_iter().enumerate() {
                    let to = to.add(r * to_stride + v * lanes);
                    if let Some(bias) = self.bias {
                        sum = simd.add_f32s(sum, load(simd, bias.add(v * lanes)));
                    }
                    if self.add {
                        sum = simd.add_f32s(sum, load(simd, to));
                    }
                    store(simd, to, sum);
                }
            }
        }
    }
}
