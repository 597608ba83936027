//! MLPs, with a gate or without one, or one for each of many experts.

use burn_tensor::Tensor;
use longlens_kernel::gated::Activation;
use longlens_kernel::linear::Matrix;
use longlens_kernel::{Kernels, Operation};

use super::Experts;
use super::projections::add_product;

/// What follows attention in a layer.
#[derive(Debug, Clone)]
pub(crate) enum Mlp<M> {
    /// `down(activation(gate(x)) * up(x))` (Shazeer, 2020, arXiv:2002.05202).
    Gated { gate: M, up: M, down: M, activation: Activation },
    /// `down(activation(up(x)))`.
    Plain { up: M, down: M, activation: Activation },
    /// The few of many gated MLPs that a router chooses for each token.
    Experts(Experts<M>),
}

impl<M> Mlp<M> {
    /// Numbers beside its input that it holds at once for each token, at most, `width` of them being its input.
    pub fn step_numbers(&self, width: usize, d_mlp: usize) -> usize {
        match self {
            Self::Gated { .. } => 2 * d_mlp,
            Self::Plain { .. } => d_mlp,
            // its input once for every expert
            Self::Experts(experts) => experts.n_used * width + 2 * d_mlp,
        }
    }

    /// `x`: `[seq, d_model]`; returns the same shape, plus the residual where one is given.
    pub fn run<B: Kernels<Matrix = M>>(&self, x: Tensor<B, 2>, residual: Option<Tensor<B, 2>>) -> Tensor<B, 2>
    where
        M: Matrix<B>,
    {
        match self {
            Self::Gated { gate, up, down, activation } => {
                let [gate, up] = Matrix::products([gate, up], x); // [seq, d_mlp]
                add_product(down, B::gated(*activation, gate, up), residual)
            }
            Self::Plain { up, down, activation } => {
                add_product(down, B::activated(*activation, up.product(x)), residual)
            }
            Self::Experts(experts) => experts.run(x, residual),
        }
    }

    /// What it runs.
    pub fn operations<B: Kernels<Matrix = M>>(&self) -> Vec<Operation<'_, B>>
    where
        M: Matrix<B>,
    {
        match self {
            Self::Gated { gate, up, down, activation } => {
                let matrices = [gate, up, down].map(Operation::Linear);
                matrices.into_iter().chain([Operation::Gated(*activation)]).collect()
            }
            Self::Plain { up, down, activation } => {
                vec![Operation::Linear(up), Operation::Linear(down), Operation::Activated(*activation)]
            }
            Self::Experts(experts) => experts.operations(),
        }
    }
}
