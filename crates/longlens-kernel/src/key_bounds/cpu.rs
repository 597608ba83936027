//! Bounds of keys on the processor: each key is rotated once, and stays in the cache while it is compared.

use burn_flex::Flex;
use burn_tensor::Tensor;

use super::KeyBounds;
use crate::cpu::rotate::rotate_row;
use crate::cpu::simd::{Arch, Simd, WithSimd, output};
use crate::cpu::{AngleTensors, Parts, RowTensor, in_turn, tensor};

/// Returns what [`reference`](super::reference) returns.
pub fn bounds(arch: Arch, problem: &KeyBounds<Flex>) -> Tensor<Flex, 3> {
    let [n_kv_heads, n_tokens, head_dim] = problem.key.dims();
    let n_chunks = n_tokens / problem.chunk_len;
    assert_eq!(n_tokens, n_chunks * problem.chunk_len, "only complete chunks have bounds");
    let mut out = output(n_kv_heads * n_chunks * 2 * head_dim);
    arch.dispatch(Bounds { problem, out: &Parts::new(&mut out) });
    tensor(out, [n_kv_heads, n_chunks, 2 * head_dim])
}

struct Bounds<'a> {
    problem: &'a KeyBounds<Flex>,
    out: &'a Parts<f32>,
}

impl WithSimd for Bounds<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { problem, out } = self;
        let [n_kv_heads, n_tokens, head_dim] = problem.key.dims();
        let (w, n_chunks) = (problem.chunk_len, n_tokens / problem.chunk_len);
        let (key, angles) = (RowTensor::new(problem.key.clone()), AngleTensors::new(&problem.rotary));
        let (key, angles) = (key.rows(), angles.rows());
        in_turn(
            n_kv_heads * n_chunks,
            || vec![0.0; head_dim],
            |task, rotated| {
                let (kv_head, chunk) = (task / n_chunks, task % n_chunks);
                // SAFETY: every task has a chunk of a head to itself
                let out = unsafe { out.slice(task * 2 * head_dim, 2 * head_dim) };
                let (max, min) = out.split_at_mut(head_dim);
                max.fill(f32::NEG_INFINITY);
                min.fill(f32::INFINITY);
                for token in chunk * w..(chunk + 1) * w {
                    rotate_row(simd, key.of(kv_head, token, head_dim), angles.row(token), 1.0, rotated);
                    for ((max, min), x) in max.iter_mut().zip(&mut *min).zip(&*rotated) {
                        (*max, *min) = (max.max(*x), min.min(*x));
                    }
                }
            },
        );
    }
}
