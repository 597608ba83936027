//! Queries of a prompt that choose chunks together: by the sum of their scores, which is the score of the sum of what stands for them.

use std::ops::Range;

use burn_tensor::{FloatDType, Tensor};
use longlens_core::plan::{ChunkChoice, Prefill};
use longlens_kernel::Kernels;

/// What stands for the queries of `tokens`, `[heads, tokens, width]`: for each the mean of its block. `query` holds the queries from
/// token `first` on; of a block those count that are there. The mean, since a sum might overflow numbers of 16 bits.
pub fn together<B: Kernels>(
    query: Tensor<B, 3>,
    first: usize,
    tokens: Range<usize>,
    choice: ChunkChoice,
    prompt: Prefill,
) -> Tensor<B, 3> {
    let [heads, seq, width] = query.dims();
    let dtype = query.dtype();
    let rows =
        |tokens: Range<usize>| query.clone().slice([0..heads, tokens.start - first..tokens.end - first, 0..width]);
    if choice.query_block == 1 || tokens.start >= prompt.n_tokens {
        return if tokens == (first..first + seq) { query } else { rows(tokens) };
    }
    let n = choice.query_block;
    let (mut parts, mut start) = (Vec::new(), tokens.start);
    while start < tokens.end {
        let block = choice.together(start, prompt);
        let n_whole = if start.is_multiple_of(n) { (tokens.end - start) / n } else { 0 };
        let (from, n_blocks, n_each) = match n_whole {
            0 => (block.start.max(first)..block.end.min(first + seq), 1, block.end.min(tokens.end) - start),
            _ => (start..start + n_whole * n, n_whole, n),
        };
        let in_blocks =
            rows(from.clone()).cast(FloatDType::F32).reshape([heads, n_blocks, from.len() / n_blocks, width]);
        let mean = in_blocks.mean_dim(2).expand([heads, n_blocks, n_each, width]);
        parts.push(mean.reshape([heads, n_blocks * n_each, width]).cast(dtype));
        start += n_blocks * n_each;
    }
    crate::tensors::cat(parts, 1)
}
