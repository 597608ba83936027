//! Packed weights.
//!
//! A panel holds one vector of outputs (as many as the instruction set has lanes), dimension by dimension: lane `l` of row
//! `k` is weight `k` of the panel's output `l`. A product is then a sum over rows, and no lane ever meets another. Panels
//! start on cache lines; `d_in` is filled up to whole blocks with zeros.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::format::{self, Bf16, Encode, F32, Format, Q4, Q8, Repack, with_format};
use super::lines::{LINE, Line, Lines};
use crate::blocks::BlockType;
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd};
use crate::linear::{Storage, StoredWeights, Weights};

/// The weights of a matrix, packed for one instruction set.
#[derive(Debug)]
pub(super) struct Panels {
    pub arch: Arch,
    pub storage: Storage,
    pub d_out: usize,
    pub d_in: usize,
    /// `d_in` in blocks.
    pub n_blocks: usize,
    /// Weights of a block.
    pub block_len: usize,
    /// Words of a panel.
    pub panel_len: usize,
    /// `[n_panels, lanes]`.
    pub bias: Option<Aligned>,
    /// Outputs of a panel.
    pub lanes: usize,
    lines: Lines, // [n_panels, n_blocks, words, lanes], each panel filled up to whole lines
}

impl Panels {
    /// Weights given as numbers; `storage` is no file's blocks.
    pub fn new(arch: Arch, weights: &Weights<'_>, storage: Storage) -> Self {
        let Weights { d_out, d_in, bias, .. } = weights;
        let mut panels = Self::empty(arch, [*d_out, *d_in], bias.as_deref(), storage);
        panels.lines = match storage {
            Storage::F32 => panels.encode::<F32>(weights),
            Storage::Bf16 => panels.encode::<Bf16>(weights),
            Storage::Q8 => panels.encode::<Q8>(weights),
            Storage::Q4 => panels.encode::<Q4>(weights),
            Storage::Blocks(kind) => panic!("numbers are not rounded to blocks of {kind}"),
        };
        panels
    }

    /// Weights in a file's blocks, which are kept.
    pub fn stored(arch: Arch, weights: &StoredWeights<'_>) -> Self {
        let StoredWeights { kind, d_out, d_in, bias, .. } = weights;
        match kind {
            BlockType::F32 => return weights.as_numbers(|weights| Self::new(arch, weights, Storage::F32)),
            BlockType::Bf16 => return weights.as_numbers(|weights| Self::new(arch, weights, Storage::Bf16)),
            _ => {}
        }
        let mut panels = Self::empty(arch, [*d_out, *d_in], bias.as_deref(), Storage::Blocks(*kind));
        panels.lines = match kind {
            BlockType::F32 | BlockType::Bf16 => unreachable!("packed above"),
            BlockType::F16 => panels.repack::<format::F16>(weights),
            BlockType::Q4_0 => panels.repack::<format::Q4_0>(weights),
            BlockType::Q4_1 => panels.repack::<format::Q4_1>(weights),
            BlockType::Q5_0 => panels.repack::<format::Q5_0>(weights),
            BlockType::Q5_1 => panels.repack::<format::Q5_1>(weights),
            BlockType::Q8_0 => panels.repack::<format::Q8_0>(weights),
            BlockType::Q2K => panels.repack::<format::Q2K>(weights),
            BlockType::Q3K => panels.repack::<format::Q3K>(weights),
            BlockType::Q4K => panels.repack::<format::Q4K>(weights),
            BlockType::Q5K => panels.repack::<format::Q5K>(weights),
            BlockType::Q6K => panels.repack::<format::Q6K>(weights),
            BlockType::Iq4Nl => panels.repack::<format::Iq4Nl>(weights),
            BlockType::Iq4Xs => panels.repack::<format::Iq4Xs>(weights),
        };
        panels
    }

    fn empty(arch: Arch, [d_out, d_in]: [usize; 2], bias: Option<&[f32]>, storage: Storage) -> Self {
        let (block_len, n_words, _) = format::facts(storage);
        let (lanes, n_blocks) = (arch.dispatch(Lanes), d_in.div_ceil(block_len));
        let panel_len = (n_blocks * n_words * lanes).next_multiple_of(LINE);
        let lines = Lines::default();
        let mut panels = Self { arch, storage, d_out, d_in, n_blocks, block_len, panel_len, bias: None, lanes, lines };
        panels.bias = bias.map(|bias| {
            assert_eq!(bias.len(), d_out, "a bias for every output");
            let mut padded = Aligned::zeros(panels.n_panels() * lanes);
            padded[..d_out].copy_from_slice(bias);
            padded
        });
        panels
    }

    /// Rows of `x` that are as long as the blocks.
    pub fn width(&self) -> usize {
        self.n_blocks * self.block_len
    }

    pub fn n_panels(&self) -> usize {
        self.d_out.div_ceil(self.lanes)
    }

    /// Words of all panels.
    pub fn n_words(&self) -> usize {
        self.lines.n_words()
    }

    /// The words from a panel on.
    pub fn words(&self, panel: usize) -> &[u32] {
        self.lines.words(panel * self.panel_len / LINE)
    }

    /// Writes the weights of output `row` to `out`.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.d_out, "row {row} of {}", self.d_out);
        with_format!(self.storage, F => self.decode::<F>(row, out));
    }

    fn decode<F: Format>(&self, row: usize, out: &mut [f32]) {
        let words = self.words(row / self.lanes);
        for (block, out) in out.chunks_mut(F::WEIGHTS).enumerate() {
            let words = &words[block * F::WORDS * self.lanes..][..F::WORDS * self.lanes];
            // SAFETY: the block's words are inside the slice, those of a lane `lanes` words apart
            unsafe {
                F::decode(pulp::Scalar, words.as_ptr().add(row % self.lanes), self.lanes, |part, weights| {
                    if let Some(out) = out.chunks_mut(8).nth(part) {
                        out.copy_from_slice(&weights[..out.len()]);
                    }
                });
            }
        }
    }

    /// Reads the weights a panel at a time, in parallel, `row_len` items a row; `to_words` turns the rows of a panel into words.
    fn pack<T: Copy + Default + Send + Sync>(
        &self,
        row_len: usize,
        read: &(dyn Fn(usize, &mut [T]) + Sync),
        to_words: impl Fn(&[T], &mut [u32]) + Sync,
    ) -> Lines {
        let lanes = self.lanes;
        let n_lines = self.n_panels() * self.panel_len / LINE;
        let write = |room: &mut [MaybeUninit<Line>]| {
            let room = room.par_chunks_mut((self.panel_len / LINE).max(1));
            room.enumerate().for_each_init(
                || vec![T::default(); lanes * row_len],
                |rows, (panel, out)| {
                    for line in &mut *out {
                        line.write(Line([0; LINE]));
                    }
                    // SAFETY: a line is an array of words without gaps, and all were written above
                    let words = unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast(), out.len() * LINE) };
                    let first = panel * lanes;
                    let rows = &mut rows[..lanes.min(self.d_out - first) * row_len];
                    read(first, rows);
                    to_words(rows, words);
                },
            );
        };
        // SAFETY: every panel writes all of its lines
        unsafe { Lines::written(n_lines, write) }
    }

    fn encode<F: Encode>(&self, weights: &Weights<'_>) -> Lines {
        let d_in = self.d_in;
        self.pack(d_in, weights.rows, |rows, words| {
            self.arch.dispatch(Written::<F> { rows, d_in, words, format: PhantomData });
        })
    }

    fn repack<F: Repack>(&self, weights: &StoredWeights<'_>) -> Lines {
        let (lanes, row_len) = (self.lanes, weights.row_bytes());
        let block_bytes = F::WEIGHTS / F::TYPE.weights() * F::TYPE.bytes();
        self.pack(row_len, weights.rows, |rows, words| {
            for (lane, row) in rows.chunks_exact(row_len.max(1)).enumerate() {
                for (block, words) in row.chunks(block_bytes).zip(words.chunks_exact_mut(F::WORDS * lanes)) {
                    F::repack(block, |at, word| words[at * lanes + lane] = word);
                }
            }
        })
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

/// The blocks of a panel, made of numbers.
struct Written<'a, F> {
    rows: &'a [f32],
    d_in: usize,
    words: &'a mut [u32],
    format: PhantomData<F>,
}

impl<F: Encode> WithSimd for Written<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let lanes = S::F32_LANES;
        for (lane, row) in self.rows.chunks_exact(self.d_in).enumerate() {
            for (block, words) in row.chunks(F::WEIGHTS).zip(self.words.chunks_exact_mut(F::WORDS * lanes)) {
                F::encode(block, |at, word| words[at * lanes + lane] = word);
            }
        }
    }
}
