//! From the product of a query and a key to their score.

use std::ops::Range;

use burn_tensor::{Tensor, TensorData};
use longlens_core::plan::QueryScale;
use longlens_core::spec::ModelSpec;

use crate::{Kernels, in_f32};

/// `score(i, j) = cap(scale * query_scale(i) * q_i · k_j)` with `cap(s) = soft_cap * tanh(s / soft_cap)`, both rotated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Factor on all products.
    pub scale: f64,
    /// Factor on the products of each query.
    pub query_scale: QueryScale,
    /// Bound that no score passes, if there is one (Gemma 2, arXiv:2408.00118, section 2).
    pub soft_cap: Option<f64>,
}

impl Score {
    /// A model's scores, with a method's factor on each query.
    pub fn new(model: &ModelSpec, query_scale: QueryScale) -> Self {
        let scale = model.score_scale.unwrap_or_else(|| (model.head_dim as f64).sqrt().recip());
        Self { scale, query_scale, soft_cap: model.soft_cap }
    }

    /// Factor on the products of token `query`.
    pub fn factor(&self, query: usize) -> f32 {
        (self.scale * self.query_scale.at(query)) as f32
    }

    /// The bound of scores that are powers of two, as the processor's kernels hold them.
    #[cfg(feature = "flex")]
    pub(crate) fn log2_cap(&self) -> Option<f32> {
        self.soft_cap.map(|cap| cap as f32 * std::f32::consts::LOG2_E)
    }

    /// Rows `rows` of `query`, `[n_heads, rows, head_dim]`, times their factors; row 0 is token `first`.
    pub(crate) fn scaled<B: Kernels>(&self, query: &Tensor<B, 3>, first: usize, rows: Range<usize>) -> Tensor<B, 3> {
        let [n_heads, _, head_dim] = query.dims();
        let factors: Vec<f32> = rows.clone().map(|row| self.factor(first + row)).collect();
        let factors = TensorData::new(factors, [1, rows.len(), 1]);
        in_f32(query.clone().slice([0..n_heads, rows, 0..head_dim])) * Tensor::from_data(factors, &query.device())
    }

    /// Scores of products that carry their factors.
    pub(crate) fn capped<B: Kernels, const D: usize>(&self, products: Tensor<B, D>) -> Tensor<B, D> {
        match self.soft_cap {
            Some(cap) => (products / cap).tanh() * cap,
            None => products,
        }
    }
}
