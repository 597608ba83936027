//! Chunk attention on the processor: the reference, with every key head and its queries on a thread of its own.

use burn::backend::Flex;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{ChunkAttention, reference};
use crate::Attended;

/// Returns what [`reference`] returns.
pub fn by_head(problem: &ChunkAttention<'_, Flex>) -> Attended<Flex> {
    let [n_heads, seq_q, _] = problem.query.dims();
    let n_kv_heads = problem.key.dims()[0];
    if n_kv_heads == 1 {
        return reference(problem);
    }
    let n_rep = n_heads / n_kv_heads;
    let heads = |kv_head: usize| {
        let one = |t: &Tensor<Flex, 3>, n: usize| t.clone().slice([kv_head * n..(kv_head + 1) * n]);
        let len = n_rep * seq_q * problem.n_slots;
        reference(&ChunkAttention {
            query: one(&problem.query, n_rep),
            key: one(&problem.key, 1),
            value: one(&problem.value, 1),
            chunks: &problem.chunks[kv_head * len..(kv_head + 1) * len],
            ..*problem
        })
    };
    Attended::join((0..n_kv_heads).into_par_iter().map(heads).collect())
}
