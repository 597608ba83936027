//! A few rows times a matrix: every weight is read once, in the order in which it lies, and used while it is in a register.

use super::format::Format;
use crate::cpu::simd::{Simd, store};

/// Rows at most.
pub(super) const ROWS: usize = 5;

/// A panel that meets a few rows of `x`.
pub(super) struct Panel {
    /// The panel's blocks.
    pub words: *const u32,
    /// Blocks of the panel.
    pub n_blocks: usize,
    /// First numbers of the rows of `x`, each as long as the blocks; past `n_rows` the last one again.
    pub x: [*const f32; ROWS],
    /// Rows that count.
    pub n_rows: usize,
}

impl Panel {
    /// Writes one vector of outputs per row, one after another.
    ///
    /// # Safety
    /// Blocks and rows are readable, `out` takes [`ROWS`] vectors.
    #[inline(always)]
    pub unsafe fn multiply<S: Simd, F: Format>(&self, simd: S, out: *mut f32) {
        // SAFETY: by the contract
        unsafe {
            if F::FEW_ROWS == 1 {
                return self.rows::<S, F, 1, 8>(simd, out);
            }
            match self.n_rows {
                1 => self.rows::<S, F, 1, 8>(simd, out),
                2 => self.rows::<S, F, 2, 4>(simd, out),
                3 => self.rows::<S, F, 3, 2>(simd, out),
                4 => self.rows::<S, F, 4, 2>(simd, out),
                _ => self.rows::<S, F, 5, 2>(simd, out),
            }
        }
    }

    /// `R` rows, each with `U` sums side by side, so that no addition waits for the one before.
    ///
    /// # Safety
    /// As [`Self::multiply`].
    #[inline(always)]
    unsafe fn rows<S: Simd, F: Format, const R: usize, const U: usize>(&self, simd: S, out: *mut f32) {
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); U]; R];
        // SAFETY: all inside by the contract
        unsafe {
            for block in 0..self.n_blocks {
                F::decode(simd, self.words.add(block * F::WORDS * lanes), lanes, |part, weights| {
                    for (sums, x) in sums.iter_mut().zip(self.x) {
                        let x = x.add(block * F::WEIGHTS + part * 8);
                        for (at, weights) in weights.into_iter().enumerate() {
                            let x = simd.splat_f32s(*x.add(at));
                            sums[at % U] = simd.mul_add_e_f32s(x, weights, sums[at % U]);
                        }
                    }
                });
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let mut sum = sums[0];
                for more in &sums[1..] {
                    sum = simd.add_f32s(sum, *more);
                }
                store(simd, out.add(r * lanes), sum);
            }
        }
    }
}
