//! What makes queries, keys and values of a stream, and adds the context of all heads to it.

use burn_tensor::Tensor;
use longlens_kernel::linear::Matrix;
use longlens_kernel::{Kernels, Operation};

use super::Norm;
use crate::decoder::Projected;

/// The four products of attention.
#[derive(Debug, Clone)]
pub(crate) struct Projections<M, V> {
    /// Queries, keys, values.
    pub qkv: [M; 3],
    /// The output matrix.
    pub out: M,
    /// Norms of queries and of keys before they are rotated: of each head, or of all heads of a token together.
    pub qk_norm: Option<[Norm<V>; 2]>,
}

impl<B: Kernels> Projections<B::Matrix, Tensor<B, 1>> {
    /// `x`: `[seq, d_model]`.
    pub fn project(&self, x: Tensor<B, 2>) -> Projected<B> {
        let [q, k, v] = &self.qkv;
        let [mut query, mut key, value] = Matrix::attention_inputs([q, k, v], x);
        if let Some([of_query, of_key]) = &self.qk_norm {
            (query, key) = (of_query.apply(query), of_key.apply(key));
        }
        Projected { query, key, value }
    }

    /// `context`: `[seq, n_heads * head_dim]`; returns its product, `[seq, d_model]`, plus the residual where one is given.
    pub fn output(&self, context: Tensor<B, 2>, residual: Option<Tensor<B, 2>>) -> Tensor<B, 2> {
        add_product(&self.out, context, residual)
    }

    /// What it runs.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_, B>> {
        let matrices = self.qkv.iter().chain([&self.out]).map(Operation::Linear);
        matrices.chain(self.qk_norm.iter().flatten().map(Norm::operation))
    }
}

/// The product of `x`, plus the residual where one is given.
pub(super) fn add_product<B: Kernels>(
    matrix: &B::Matrix,
    x: Tensor<B, 2>,
    residual: Option<Tensor<B, 2>>,
) -> Tensor<B, 2> {
    match residual {
        Some(residual) => matrix.product_add(x, residual),
        None => matrix.product(x),
    }
}
