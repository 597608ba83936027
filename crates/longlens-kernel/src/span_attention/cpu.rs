//! Span attention on the processor: the reference, with every key head and its queries on a thread of its own.
//!
//! burn-flex runs operations of a tile's size on one thread; heads are independent and tiles of one head stay in its cache.

use burn::backend::Flex;
use rayon::prelude::*;

use super::{SpanAttention, reference};
use crate::Attended;

/// Scores below this many are not worth another thread.
const PARALLEL: usize = 1 << 14;

/// Returns what [`reference`] returns.
pub fn by_head(problem: &SpanAttention<'_, Flex>) -> Attended<Flex> {
    let [n_heads, seq_q, _] = problem.query.dims();
    let [n_kv_heads, seq_k, _] = problem.key.dims();
    if n_kv_heads == 1 || n_heads * seq_q * seq_k < PARALLEL {
        return reference(problem);
    }
    let n_rep = n_heads / n_kv_heads;
    let heads = |kv_head: usize| reference(&problem.heads(kv_head * n_rep..(kv_head + 1) * n_rep));
    Attended::join((0..n_kv_heads).into_par_iter().map(heads).collect())
}
