//! Turning one row to its position.

use super::simd::{Simd, load, store};

/// Writes `scale * R x` to `out`: `x'[m] = x[m] cos - x[m + d/2] sin`, `x'[m + d/2] = x[m + d/2] cos + x[m] sin`, and what
/// lies beyond the angles as it is.
#[inline(always)]
pub(crate) fn rotate_row<S: Simd>(simd: S, x: &[f32], (cos, sin): (&[f32], &[f32]), scale: f32, out: &mut [f32]) {
    let (half, lanes) = (cos.len(), S::F32_LANES);
    assert!(sin.len() == half && x.len() >= 2 * half && out.len() == x.len(), "a row of {} numbers", x.len());
    let scales = simd.splat_f32s(scale);
    let whole = half / lanes * lanes;
    for m in (0..whole).step_by(lanes) {
        // SAFETY: `m + lanes <= half`, and rows hold twice that
        unsafe {
            let (first, second) = (load(simd, x.as_ptr().add(m)), load(simd, x.as_ptr().add(half + m)));
            let (cos, sin) = (load(simd, cos.as_ptr().add(m)), load(simd, sin.as_ptr().add(m)));
            let (a, b) = pair(simd, first, second, simd.mul_f32s(scales, cos), simd.mul_f32s(scales, sin));
            store(simd, out.as_mut_ptr().add(m), a);
            store(simd, out.as_mut_ptr().add(half + m), b);
        }
    }
    if whole < half {
        let (first, second) =
            (simd.partial_load_f32s(&x[whole..half]), simd.partial_load_f32s(&x[half + whole..2 * half]));
        let (cos, sin) = (simd.partial_load_f32s(&cos[whole..]), simd.partial_load_f32s(&sin[whole..]));
        let (a, b) = pair(simd, first, second, simd.mul_f32s(scales, cos), simd.mul_f32s(scales, sin));
        simd.partial_store_f32s(&mut out[whole..half], a);
        simd.partial_store_f32s(&mut out[half + whole..2 * half], b);
    }
    for (out, x) in out[2 * half..].iter_mut().zip(&x[2 * half..]) {
        *out = x * scale;
    }
}

#[inline(always)]
fn pair<S: Simd>(simd: S, first: S::f32s, second: S::f32s, cos: S::f32s, sin: S::f32s) -> (S::f32s, S::f32s) {
    let straight = simd.sub_f32s(simd.mul_f32s(first, cos), simd.mul_f32s(second, sin));
    (straight, simd.mul_add_e_f32s(second, cos, simd.mul_f32s(first, sin)))
}
