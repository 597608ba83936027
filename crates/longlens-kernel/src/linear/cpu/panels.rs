//! Packed weights.
//!
//! A panel holds one vector of outputs (as many as the instruction set has lanes), dimension by dimension: lane `l` of row
//! `k` is weight `k` of the panel's output `l`. A product is then a sum over rows, and no lane ever meets another. Panels
//! start on cache lines; `d_in` is filled up to whole blocks with zeros.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::format::{BLOCK, Bf16, F32, Format, Q4, Q8};
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd};
use crate::linear::{Storage, Weights};

/// The weights of a matrix, packed for one instruction set.
#[derive(Debug)]
pub(super) struct Panels {
    pub arch: Arch,
    pub storage: Storage,
    pub d_out: usize,
    pub d_in: usize,
    /// `d_in` in blocks.
    pub n_blocks: usize,
    /// Words of a panel.
    pub panel_len: usize,
    /// `[n_panels, lanes]`.
    pub bias: Option<Aligned>,
    /// Outputs of a panel.
    pub lanes: usize,
    lines: Vec<Line>, // [n_panels, n_blocks, words, lanes], each panel filled up to whole lines
}

/// A cache line of words.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; LINE]);

const LINE: usize = 16;

impl Panels {
    pub fn new(arch: Arch, weights: &Weights<'_>, storage: Storage) -> Self {
        let Weights { d_out, d_in, .. } = *weights;
        let n_words = match storage {
            Storage::F32 => F32::WORDS,
            Storage::Bf16 => Bf16::WORDS,
            Storage::Q8 => Q8::WORDS,
            Storage::Q4 => Q4::WORDS,
        };
        let (lanes, n_blocks) = (arch.dispatch(Lanes), d_in.div_ceil(BLOCK));
        let panel_len = (n_blocks * n_words * lanes).next_multiple_of(LINE);
        let lines = Vec::new();
        let mut panels = Self { arch, storage, d_out, d_in, n_blocks, panel_len, bias: None, lanes, lines };
        panels.bias = weights.bias.as_ref().map(|bias| {
            assert_eq!(bias.len(), d_out, "a bias for every output");
            let mut padded = Aligned::zeros(panels.n_panels() * lanes);
            padded[..d_out].copy_from_slice(bias);
            padded
        });
        panels.lines = match storage {
            Storage::F32 => panels.pack::<F32>(weights),
            Storage::Bf16 => panels.pack::<Bf16>(weights),
            Storage::Q8 => panels.pack::<Q8>(weights),
            Storage::Q4 => panels.pack::<Q4>(weights),
        };
        panels
    }

    pub fn n_panels(&self) -> usize {
        self.d_out.div_ceil(self.lanes)
    }

    /// Words of all panels.
    pub fn n_words(&self) -> usize {
        self.lines.len() * LINE
    }

    /// The words from a panel on.
    pub fn words(&self, panel: usize) -> &[u32] {
        let lines = &self.lines[panel * self.panel_len / LINE..];
        // SAFETY: a line is an array of words without gaps
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
    }

    /// Writes the weights of output `row` to `out`.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.d_out, "row {row} of {}", self.d_out);
        match self.storage {
            Storage::F32 => self.decode::<F32>(row, out),
            Storage::Bf16 => self.decode::<Bf16>(row, out),
            Storage::Q8 => self.decode::<Q8>(row, out),
            Storage::Q4 => self.decode::<Q4>(row, out),
        }
    }

    fn decode<F: Format>(&self, row: usize, out: &mut [f32]) {
        let words = self.words(row / self.lanes);
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let words = &words[block * F::WORDS * self.lanes..][..F::WORDS * self.lanes];
            for (part, out) in out.chunks_mut(8).enumerate() {
                // SAFETY: the block's words are inside the slice, those of a lane `lanes` words apart
                let weights = unsafe { F::eight(pulp::Scalar, words.as_ptr().add(row % self.lanes), self.lanes, part) };
                out.copy_from_slice(&weights[..out.len()]);
            }
        }
    }

    /// Reads the weights a panel at a time, in parallel.
    fn pack<F: Format>(&self, weights: &Weights<'_>) -> Vec<Line> {
        let (lanes, d_in) = (self.lanes, self.d_in);
        let n_lines = self.n_panels() * self.panel_len / LINE;
        let mut lines = Vec::<Line>::with_capacity(n_lines);
        let room = lines.spare_capacity_mut()[..n_lines].par_chunks_mut((self.panel_len / LINE).max(1));
        room.enumerate().for_each_init(
            || vec![0.0; lanes * d_in],
            |rows, (panel, out)| {
                for line in &mut *out {
                    line.write(Line([0; LINE]));
                }
                // SAFETY: a line is an array of words without gaps, and all were written above
                let words = unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast(), out.len() * LINE) };
                let first = panel * lanes;
                let rows = &mut rows[..lanes.min(self.d_out - first) * d_in];
                (weights.rows)(first, rows);
                self.arch.dispatch(Encode::<F> { rows, d_in, words, format: PhantomData });
            },
        );
        // SAFETY: every panel wrote all of its lines
        unsafe { lines.set_len(n_lines) };
        lines
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// Writes the blocks of a panel.
struct Encode<'a, F> {
    rows: &'a [f32],
    d_in: usize,
    words: &'a mut [u32],
    format: PhantomData<F>,
}

impl<F: Format> WithSimd for Encode<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let lanes = S::F32_LANES;
        for (lane, row) in self.rows.chunks_exact(self.d_in).enumerate() {
            for (block, words) in row.chunks(BLOCK).zip(self.words.chunks_exact_mut(F::WORDS * lanes)) {
                F::encode(block, |at, word| words[at * lanes + lane] = word);
            }
        }
    }
}
