//! Weights packed for the processor, and their products.
//!
//! A few rows read the packed [`panels`] once, at the speed of memory ([`few`]); more rows go through in tiles ([`tile`]).
//! Both read every format of [`format`](self::format); [`multiply`](self::multiply) shares out the work.

use std::ops::Range;
use std::sync::Arc as Shared;

use burn_flex::{Flex, FlexDevice};
use burn_tensor::{Tensor, TensorPrimitive};
use rayon::prelude::*;

use super::{Matrix, Storage, StoredWeights, Weights};
use crate::cpu::simd::{self, Aligned, Arch};
use crate::cpu::{RowTensor, tensor};
use multiply::{Input, Job, Out, multiply};
use panels::Panels;

mod few;
pub(in crate::linear) mod format;
mod lines;
mod multiply;
mod panels;
mod tile;

/// A packed matrix.
#[derive(Debug, Clone)]
pub struct Packed(Shared<Panels>);

impl Matrix<Flex> for Packed {
    fn pack(weights: &Weights<'_>, storage: Storage, _: &FlexDevice) -> Self {
        Self::new(simd::arch(), weights, storage)
    }

    fn pack_stored(weights: &StoredWeights<'_>, _: &FlexDevice) -> Self {
        Self::stored(simd::arch(), weights)
    }

    fn shape(&self) -> [usize; 2] {
        [self.0.d_out, self.0.d_in]
    }

    fn product(&self, x: Tensor<Flex, 2>) -> Tensor<Flex, 2> {
        let [out] = Self::products([self], x);
        out
    }

    fn products<const N: usize>(matrices: [&Self; N], x: Tensor<Flex, 2>) -> [Tensor<Flex, 2>; N] {
        let [n_rows, _] = x.dims();
        let mut outs = matrices.map(|matrix| blank(n_rows * matrix.0.d_out));
        let mut at = 0;
        let jobs = outs.each_mut().map(|out| {
            at += 1;
            Job { panels: &matrices[at - 1].0, out: Out::new(out), add: false }
        });
        let width = matrices.iter().map(|matrix| matrix.0.width()).max().unwrap_or(0);
        whole_blocks(x, width, |input| multiply(&jobs, input));
        let mut widths = matrices.iter().map(|matrix| matrix.0.d_out);
        outs.map(|out| tensor(out, [n_rows, widths.next().expect("one of each")]))
    }

    fn product_add(&self, x: Tensor<Flex, 2>, residual: Tensor<Flex, 2>) -> Tensor<Flex, 2> {
        let [n_rows, _] = x.dims();
        assert_eq!(residual.dims(), [n_rows, self.0.d_out], "the residual has the product's shape");
        // contiguous and nobody else's: written in place
        let mut residual = residual.into_primitive().tensor();
        if !residual.is_contiguous() || residual.storage::<f32>().len() != n_rows * self.0.d_out {
            residual = residual.to_contiguous();
        }
        let job = Job { panels: &self.0, out: Out::new(residual.storage_mut()), add: true };
        whole_blocks(x, self.0.width(), |input| multiply(&[job], input));
        Tensor::from_primitive(TensorPrimitive::Float(residual))
    }

    fn rows(&self, rows: &[u32]) -> Tensor<Flex, 2> {
        let panels = &*self.0;
        let d_in = panels.d_in;
        let mut out = blank(rows.len() * d_in);
        out.par_chunks_mut(d_in).zip(rows).with_min_len(32).for_each(|(out, row)| panels.row(*row as usize, out));
        tensor(out, [rows.len(), d_in])
    }
}

impl Packed {
    /// Packs for an instruction set.
    pub fn new(arch: Arch, weights: &Weights<'_>, storage: Storage) -> Self {
        Self(Shared::new(Panels::new(arch, weights, storage)))
    }

    /// Keeps blocks of a file for an instruction set.
    pub fn stored(arch: Arch, weights: &StoredWeights<'_>) -> Self {
        Self(Shared::new(Panels::stored(arch, weights)))
    }

    /// Bytes of the weights, what blocks and panels are filled up with included.
    pub fn bytes(&self) -> usize {
        4 * self.0.n_words()
    }

    /// Products of groups of rows of `x`, each with a matrix of its own, all of one shape; `out` is `[rows, d_out]`.
    pub(crate) fn grouped(matrices: &[Self], x: Tensor<Flex, 2>, groups: &[(usize, Range<usize>)], out: &mut [f32]) {
        let width = groups.iter().map(|(matrix, _)| matrices[*matrix].0.width()).max().unwrap_or(0);
        whole_blocks(x, width, |input| {
            for (matrix, rows) in groups {
                let panels = &*matrices[*matrix].0;
                let out = &mut out[rows.start * panels.d_out..rows.end * panels.d_out];
                let numbers = &input.numbers[rows.start * input.stride..];
                let job = Job { panels, out: Out::new(out), add: false };
                multiply(&[job], &Input { numbers, n_rows: rows.len(), ..*input });
            }
        });
    }
}

/// Calls `run` with the rows of `x`, if there are any, where they lie; filled up with zeros to `width` numbers, where blocks end, if they
/// are shorter.
fn whole_blocks(x: Tensor<Flex, 2>, width: usize, run: impl FnOnce(&Input<'_>)) {
    let [n_rows, d_in] = x.dims();
    if n_rows == 0 {
        return;
    }
    let row_tensor = RowTensor::new(x);
    let rows = row_tensor.rows();
    if width == d_in {
        let all = rows.from(0, 0);
        return run(&Input { numbers: all.numbers, stride: all.stride, n_rows, width });
    }
    let mut numbers = Aligned::zeros(n_rows * width);
    for (row, out) in numbers.chunks_exact_mut(width).enumerate() {
        out[..d_in].copy_from_slice(rows.of(0, row, d_in));
    }
    run(&Input { numbers: &numbers, stride: width, n_rows, width });
}

/// Room for `n` results; in tests what nobody writes shows up.
pub(crate) fn blank(n: usize) -> Vec<f32> {
    vec![if cfg!(test) { f32::NAN } else { 0.0 }; n]
}
