//! Norms of rows, and of each head of queries and keys.

use burn_tensor::Tensor;
use longlens_kernel::{Kernels, Operation};

/// A norm with its factors.
#[derive(Debug, Clone)]
pub(crate) enum Norm<V> {
    /// `x / sqrt(mean(x^2) + eps) * weight`.
    Rms {
        weight: V,
        /// Added under the root.
        eps: f64,
    },
    /// `(x - mean(x)) / sqrt(var(x) + eps) * weight + bias`.
    Layer {
        weight: V,
        bias: Option<V>,
        /// Added under the root.
        eps: f64,
    },
}

impl<B: Kernels> Norm<Tensor<B, 1>> {
    /// Normalizes every `n` numbers of a row, where the norm has `n` factors: whole rows, or each head in them. Any width that `n`
    /// divides; returns the shape of `x`.
    pub fn apply(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let ([seq, width], [n]) = (x.dims(), self.weight().dims());
        if n == width {
            return self.rows(x);
        }
        self.rows(x.reshape([seq * (width / n), n])).reshape([seq, width])
    }

    fn rows(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Rms { weight, eps } => B::rms_norm(x, weight, *eps),
            Self::Layer { weight, bias, eps } => <B as Kernels>::layer_norm(x, weight, bias.as_ref(), *eps),
        }
    }

    fn weight(&self) -> &Tensor<B, 1> {
        match self {
            Self::Rms { weight, .. } | Self::Layer { weight, .. } => weight,
        }
    }

    /// The kernel that it calls.
    pub fn operation<'a>(&self) -> Operation<'a, B> {
        match self {
            Self::Rms { .. } => Operation::RmsNorm,
            Self::Layer { .. } => Operation::LayerNorm,
        }
    }
}
