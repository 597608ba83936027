//! Chunk attention on the processor: the reference, with every key head and its queries on a thread of its own.

use burn::backend::Flex;
use rayon::prelude::*;

use super::{ChunkAttention, reference};
use crate::Attended;

/// Returns what [`reference`] returns.
pub fn by_head(problem: &ChunkAttention<'_, Flex>) -> Attended<Flex> {
    let n_heads = problem.query.dims()[0];
    let n_kv_heads = problem.key.dims()[0];
    if n_kv_heads == 1 {
        return reference(problem);
    }
    let n_rep = n_heads / n_kv_heads;
    let heads = |kv_head: usize| reference(&problem.heads(kv_head * n_rep..(kv_head + 1) * n_rep));
    Attended::join((0..n_kv_heads).into_par_iter().map(heads).collect())
}
