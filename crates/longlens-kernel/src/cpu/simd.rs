//! The instruction set of this machine, vector loads, and the exponential.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

pub(crate) use pulp::bytemuck;
pub use pulp::{Arch, Simd, WithSimd};

/// The variable that asks for a lesser instruction set than the best, to compare: `portable`, `avx2`, `avx512` or `neon`.
pub const VARIABLE: &str = "LONGLENS_SIMD";

/// The best instruction set of this machine, or the one that [`VARIABLE`] names if it is there.
pub fn arch() -> Arch {
    static ARCH: OnceLock<Arch> = OnceLock::new();
    *ARCH.get_or_init(|| {
        let asked = std::env::var(VARIABLE).ok();
        let named = |arch: &Arch| asked.as_deref() == Some(name(*arch));
        arches().into_iter().find(named).unwrap_or_default()
    })
}

/// What [`VARIABLE`] names, if this machine does not have it.
pub fn absent() -> Option<String> {
    let asked = std::env::var(VARIABLE).ok()?;
    (!arches().into_iter().any(|arch| name(arch) == asked)).then_some(asked)
}

/// Every instruction set that this machine has, the best first.
pub fn arches() -> Vec<Arch> {
    let mut all = vec![Arch::new()];
    #[cfg(target_arch = "x86_64")]
    if let (Arch::V4(_), Some(v3)) = (Arch::new(), pulp::x86::V3::try_new()) {
        all.push(Arch::V3(v3));
    }
    if !matches!(all[0], Arch::Scalar) {
        all.push(Arch::Scalar);
    }
    all
}

/// What an instruction set is called.
pub fn name(arch: Arch) -> &'static str {
    match arch {
        #[cfg(target_arch = "x86_64")]
        Arch::V4(_) => "avx512",
        #[cfg(target_arch = "x86_64")]
        Arch::V3(_) => "avx2",
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(_) => "neon",
        _ => "portable",
    }
}

/// A vector from memory.
///
/// # Safety
/// `F32_LANES` numbers are readable at `from`.
#[inline(always)]
pub unsafe fn load<S: Simd>(_: S, from: *const f32) -> S::f32s {
    // SAFETY: readable by the caller's promise; any bits are a vector of numbers
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// A vector to memory.
///
/// # Safety
/// `F32_LANES` numbers are writable at `to`.
#[inline(always)]
pub unsafe fn store<S: Simd>(_: S, to: *mut f32, x: S::f32s) {
    // SAFETY: writable by the caller's promise
    unsafe { to.cast::<S::f32s>().write_unaligned(x) }
}

/// `2^x` for `-126 <= x <= 127`, relative error below 3e-7; 0 below -126.5, NaN of NaN.
///
/// `2^x = 2^n 2^r` with the nearest whole `n`: `2^r` is a polynomial fitted for the least relative error over
/// `[-1/2, 1/2]` (Remez, with the constant fixed to 1 so that `2^0 = 1`), `2^n` is made in the exponent bits.
#[inline(always)]
pub fn exp2<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const C: [f32; 6] = [1.0, 0.693_146_97, 0.240_221_2, 0.055_507_133, 0.009_675_541, 0.001_327_647_2];
    // adding it leaves the whole part of a number, plus 127, in the low bits
    const ROUND: f32 = 12_582_912.0 + 127.0;
    // not a maximum: some instruction sets drop the NaN there
    let lowest = simd.splat_f32s(-127.0);
    let x = simd.select_f32s(simd.less_than_f32s(x, lowest), lowest, x);
    let round = simd.splat_f32s(ROUND);
    let whole = simd.add_f32s(x, round);
    let r = simd.sub_f32s(x, simd.sub_f32s(whole, round));
    let mut p = simd.splat_f32s(C[5]);
    p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(C[4]));
    p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(C[3]));
    p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(C[2]));
    p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(C[1]));
    p = simd.mul_add_e_f32s(p, r, simd.splat_f32s(C[0]));
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(whole), simd.splat_u32s(23));
    simd.mul_f32s(p, simd.transmute_f32s_u32s(power))
}

/// `cap * tanh(x / cap)` in place, to 3e-7 of `cap`; minus infinity and what is not a number stay.
#[inline(always)]
pub(crate) fn soft_cap<S: Simd>(simd: S, x: &mut [f32], cap: f32) {
    for x in x.chunks_mut(S::F32_LANES) {
        if x.len() == S::F32_LANES {
            // SAFETY: a chunk is one vector
            unsafe { store(simd, x.as_mut_ptr(), capped(simd, load(simd, x.as_ptr()), cap)) };
        } else {
            let y = capped(simd, simd.partial_load_f32s(x), cap);
            simd.partial_store_f32s(x, y);
        }
    }
}

/// Up to 1 the hyperbolic tangent is the seventh convergent of Lambert's continued fraction, exact to 2e-12 there; beyond it is
/// `(e^2x - 1) / (e^2x + 1)`, where nothing cancels.
#[inline(always)]
fn capped<S: Simd>(simd: S, x: S::f32s, cap: f32) -> S::f32s {
    let share = simd.mul_f32s(x, simd.splat_f32s(cap.recip()));
    let size = simd.min_f32s(simd.abs_f32s(share), simd.splat_f32s(10.0)); // the tangent is 1 from 9.1 on
    let square = simd.mul_f32s(size, size);
    let over = cubic(simd, square, [135_135.0, 17_325.0, 378.0, 1.0]);
    let under = cubic(simd, square, [135_135.0, 62_370.0, 3_150.0, 28.0]);
    let power = exp2(simd, simd.mul_f32s(size, simd.splat_f32s(2.0 * std::f32::consts::LOG2_E)));
    let one = simd.splat_f32s(1.0);
    let is_near = simd.less_than_f32s(size, one);
    // one division for both
    let over = simd.select_f32s(is_near, simd.mul_f32s(size, over), simd.sub_f32s(power, one));
    let tangent = simd.div_f32s(over, simd.select_f32s(is_near, under, simd.add_f32s(power, one)));
    let is_negative = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    let bound = simd.select_f32s(is_negative, simd.splat_f32s(-cap), simd.splat_f32s(cap));
    simd.select_f32s(simd.less_than_f32s(simd.splat_f32s(f32::MIN), x), simd.mul_f32s(tangent, bound), x)
}

/// `c0 + c1 x + c2 x² + c3 x³`.
#[inline(always)]
fn cubic<S: Simd>(simd: S, x: S::f32s, c: [f32; 4]) -> S::f32s {
    let p = simd.mul_add_e_f32s(simd.splat_f32s(c[3]), x, simd.splat_f32s(c[2]));
    let p = simd.mul_add_e_f32s(p, x, simd.splat_f32s(c[1]));
    simd.mul_add_e_f32s(p, x, simd.splat_f32s(c[0]))
}

/// `a · b`.
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let mut sum = simd.splat_f32s(0.0);
    let (whole_a, rest_a) = a.split_at(a.len() / S::F32_LANES * S::F32_LANES);
    let (whole_b, rest_b) = b.split_at(whole_a.len());
    for (a, b) in whole_a.chunks_exact(S::F32_LANES).zip(whole_b.chunks_exact(S::F32_LANES)) {
        // SAFETY: a chunk is one vector
        sum = unsafe { simd.mul_add_e_f32s(load(simd, a.as_ptr()), load(simd, b.as_ptr()), sum) };
    }
    if !rest_a.is_empty() {
        sum = simd.mul_add_e_f32s(simd.partial_load_f32s(rest_a), simd.partial_load_f32s(rest_b), sum);
    }
    simd.reduce_sum_f32s(sum)
}

/// Numbers that start on a cache line.
#[derive(Debug, Clone, Default)]
pub struct Aligned {
    lines: Vec<Line>,
    len: usize,
    /// Whether the memory is kept for the next one that may hold any numbers.
    passing: bool,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Lines from which on a buffer is kept.
const LARGE: usize = 1 << 12;
/// Buffers kept at most: a layer packs keys by one rule, or by two.
const KEPT: usize = 2;

fn kept() -> MutexGuard<'static, Vec<Vec<Line>>> {
    static BUFFERS: Mutex<Vec<Vec<Line>>> = Mutex::new(Vec::new());
    BUFFERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives back the memory that is kept for later calls.
pub fn release() {
    kept().clear();
}

static NAN_FILLED: AtomicBool = AtomicBool::new(false);

/// From now on memory that a kernel is to overwrite holds NaN first: what a kernel forgets to write then shows. For tests.
pub fn fill_with_nan() {
    NAN_FILLED.store(true, Ordering::Relaxed);
}

/// `len` numbers of an output, to be overwritten.
pub(crate) fn output(len: usize) -> Vec<f32> {
    // zeros cost nothing until they are touched
    if NAN_FILLED.load(Ordering::Relaxed) { vec![f32::NAN; len] } else { vec![0.0; len] }
}

impl Aligned {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { lines: vec![Line::default(); len.div_ceil(16)], len, passing: false }
    }

    /// `len` numbers of any value, to be overwritten. Large ones come from memory kept after the last: fresh pages cost more
    /// than what is written to them.
    pub fn any(len: usize) -> Self {
        let n_lines = len.div_ceil(16);
        let mut lines = Vec::new();
        if n_lines >= LARGE {
            let mut buffers = kept();
            if let Some(at) = buffers.iter().position(|lines| lines.capacity() >= n_lines) {
                lines = buffers.swap_remove(at);
            } else {
                // the sequence has outgrown them; it will grow on
                buffers.clear();
                lines.reserve_exact(n_lines + n_lines / 8);
            }
        }
        lines.resize(n_lines, Line::default());
        if NAN_FILLED.load(Ordering::Relaxed) {
            lines.fill(Line([f32::NAN; 16]));
        }
        Self { lines, len, passing: true }
    }

    /// Makes room for `len` numbers; those that were there stay.
    pub fn resize(&mut self, len: usize) {
        self.lines.resize(len.div_ceil(16), Line::default());
        self.len = len;
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        if self.passing && self.lines.len() >= LARGE {
            let mut buffers = kept();
            if buffers.len() < KEPT {
                buffers.push(std::mem::take(&mut self.lines));
            }
        }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: lines are arrays of 16 numbers without gaps, and `len` is at most 16 per line
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exp2<'a>(&'a mut [f32]);

    impl WithSimd for Exp2<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for at in self.0.chunks_exact_mut(S::F32_LANES) {
                // SAFETY: a chunk holds that many numbers
                unsafe { store(simd, at.as_mut_ptr(), exp2(simd, load(simd, at.as_ptr()))) }
            }
        }
    }

    #[test]
    fn the_exponential_keeps_its_stated_error() {
        for arch in arches() {
            let x: Vec<f32> = (0..1 << 20).map(|i| -126.0 + 253.0 * i as f32 / (1 << 20) as f32).collect();
            let mut y = x.clone();
            arch.dispatch(Exp2(&mut y));
            let worst = x.iter().zip(&y).map(|(x, y)| (f64::from(*y) / f64::from(*x).exp2() - 1.0).abs());
            let worst = worst.fold(0.0, f64::max);
            assert!(worst < 3e-7, "{}: {worst:e}", name(arch));
        }
    }

    #[test]
    fn the_exponential_at_its_ends() {
        for arch in arches() {
            let mut x = [0.0; 16];
            x[..6].copy_from_slice(&[0.0, 1.0, f32::NEG_INFINITY, -200.0, -1e30, f32::NAN]);
            arch.dispatch(Exp2(&mut x));
            assert_eq!(x[..5], [1.0, 2.0, 0.0, 0.0, 0.0], "{}", name(arch));
            assert!(x[5].is_nan(), "{}", name(arch));
        }
    }
}
