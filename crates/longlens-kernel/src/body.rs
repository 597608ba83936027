//! Which body computes an operation: results name what no kernel of the device covers.

use std::fmt;

use burn_tensor::Tensor;

use crate::Kernels;
use crate::chunk_attention::ChunkAttention;
use crate::chunk_scores::ChunkScores;
use crate::chunk_summary::ChunkSummary;
use crate::gated::Activation;
use crate::key_bounds::KeyBounds;
use crate::rotary::Rotary;
use crate::span_attention::SpanAttention;

/// What computes an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A kernel of ours, and what it was made for: every GPU, or some vector instructions of the processor.
    Kernel(&'static str),
    /// A kernel of CUDA text, by its name.
    Text(&'static str),
    /// The kernel for every GPU, where the device takes CUDA text, and why no text computes this.
    Portable(&'static str),
    /// The reference, and why.
    Reference(&'static str),
}

impl Body {
    /// Whether no kernel computes it.
    pub fn is_reference(self) -> bool {
        matches!(self, Self::Reference(_))
    }
}

/// An operation, with the part of its problem that may decide which body computes it.
#[derive(Debug)]
pub enum Operation<'a, B: Kernels> {
    /// [`Matrix::rows`](crate::linear::Matrix::rows) of an embedding.
    Embedding(&'a B::Matrix),
    /// Every product of a [`Matrix`](crate::linear::Matrix).
    Linear(&'a B::Matrix),
    /// A product of a [`Matrix`](crate::linear::Matrix) with so many rows.
    Product(&'a B::Matrix, usize),
    /// [`Kernels::expert_rows`], [`Kernels::expert_products`] and [`Kernels::expert_sum`].
    Experts(&'a [B::Matrix]),
    /// [`Kernels::rms_norm`].
    RmsNorm,
    /// [`Kernels::layer_norm`].
    LayerNorm,
    /// [`Kernels::activated`].
    Activated(Activation),
    /// [`Kernels::gated`].
    Gated(Activation),
    /// [`Kernels::rotate`].
    Rotate(&'a Rotary<B>, &'a Tensor<B, 3>),
    /// [`Kernels::write_rows`].
    WriteRows,
    /// [`Kernels::span_attention`].
    SpanAttention(&'a SpanAttention<'a, B>),
    /// [`Kernels::chunk_summary`].
    ChunkSummary(&'a ChunkSummary<B>),
    /// [`Kernels::key_bounds`].
    KeyBounds(&'a KeyBounds<B>),
    /// [`Kernels::choose_chunks`].
    ChunkScores(&'a ChunkScores<B>),
    /// [`Kernels::chunk_attention`].
    ChunkAttention(&'a ChunkAttention<'a, B>),
    /// [`Kernels::pool_spans`].
    PoolSpans(&'a SpanAttention<'a, B>),
    /// [`Kernels::pool_chunks`].
    PoolChunks(&'a ChunkAttention<'a, B>),
}

impl<B: Kernels> Operation<'_, B> {
    /// What results call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedding(_) => "embedding",
            Self::Linear(_) | Self::Product(..) => "linear layers",
            Self::Experts(_) => "experts",
            Self::RmsNorm => "RMS norm",
            Self::LayerNorm => "layer norm",
            Self::Activated(_) => "activation",
            Self::Gated(_) => "gated activation",
            Self::Rotate(..) => "rotation",
            Self::WriteRows => "cache",
            Self::SpanAttention(_) => "span attention",
            Self::ChunkSummary(_) => "chunk summaries",
            Self::KeyBounds(_) => "key bounds",
            Self::ChunkScores(_) => "choice of chunks",
            Self::ChunkAttention(_) => "chunk attention",
            Self::PoolSpans(_) | Self::PoolChunks(_) => "pooled maps",
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(of) => write!(f, "kernel for {of}"),
            Self::Text(name) => write!(f, "CUDA text: {name}"),
            Self::Portable(why) => write!(f, "kernel for every GPU: {why}"),
            Self::Reference(why) => write!(f, "reference: {why}"),
        }
    }
}
