//! What a model family offers: everything but attention, which is the method's.

use burn_tensor::Tensor;
use longlens_core::lens::LensError;
use longlens_kernel::{Kernels, Operation};

/// A decoder whose attention is given from outside.
pub trait Decoder<B: Kernels>: Send {
    /// Layers that [`Self::layer`] can be asked for.
    fn n_layers(&self) -> usize;

    /// What a step runs outside attention, each operation once: results name those that no kernel of the device computes.
    fn operations(&self) -> Vec<Operation<'_, B>>;

    /// Returns `[tokens, d_model]`.
    fn embed(&self, tokens: &[u32]) -> Tensor<B, 2>;

    /// `hidden`: `[seq, d_model]`; returns the same shape. Calls `attend` once.
    fn layer(&self, layer: usize, hidden: Tensor<B, 2>, attend: &mut Attend<'_, B>) -> Result<Tensor<B, 2>, LensError>;

    /// `hidden`: `[seq, d_model]` after the last layer; returns `[seq, vocab_size]`.
    fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2>;
}

/// Attention of one layer: projections in, `[seq, n_heads * head_dim]` out.
pub type Attend<'a, B> = dyn FnMut(Projected<B>) -> Result<Tensor<B, 2>, LensError> + 'a;

/// Queries, keys and values of the tokens of one call, before rotation.
#[derive(Debug, Clone)]
pub struct Projected<B: Kernels> {
    /// `[seq, n_heads * head_dim]`.
    pub query: Tensor<B, 2>,
    /// `[seq, n_kv_heads * head_dim]`.
    pub key: Tensor<B, 2>,
    /// `[seq, n_kv_heads * head_dim]`.
    pub value: Tensor<B, 2>,
}
