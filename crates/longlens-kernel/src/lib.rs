//! Tensor operations of longlens: the reference of each, and the place where faster kernels match it.
//!
//! In: raw queries, keys and values of one layer and a [`longlens_core::plan::Plan`]'s spans or chosen chunks. Out: the
//! attention output and its log-sum-exp. Read [`Kernels`] first, then [`span_attention`].
//!
//! Attention, summaries and bounds take queries and keys before rotation, and rotate them to their own positions; the choice of
//! chunks takes what its scores multiply.

#![warn(missing_docs)]
// functions of GPU kernels: arguments that name types begin with an underscore and are used by what CubeCL makes of them, sizes are
// given by reference, and a kernel is one function
#![cfg_attr(
    feature = "cube",
    allow(
        clippy::duplicate_underscore_argument,
        clippy::used_underscore_binding,
        clippy::trivially_copy_pass_by_ref,
        clippy::too_many_lines,
        clippy::too_many_arguments,
        clippy::manual_is_multiple_of,
        clippy::collapsible_if
    )
)]
#![allow(clippy::needless_range_loop)] // registers of a tile are indexed by row and vector, all loops alike

use std::fmt::Debug;
use std::ops::Range;

use burn_tensor::backend::Backend;
use burn_tensor::{FloatDType, Int, Tensor};

pub mod blocks;
pub mod body;
pub mod chunk_attention;
pub mod chunk_scores;
pub mod chunk_summary;
#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cuda-text")]
pub mod cuda;
pub mod experts;
pub mod gated;
pub mod key_bounds;
pub mod layer_norm;
pub mod linear;
pub mod pooled;
pub mod rms_norm;
pub mod rotary;
pub mod score;
#[cfg(feature = "flex")]
pub mod selfcheck;
pub mod span_attention;
pub mod write_rows;

pub use body::{Body, Operation};
use chunk_attention::ChunkAttention;
use chunk_scores::ChunkScores;
use chunk_summary::ChunkSummary;
use experts::Routes;
use gated::Activation;
use key_bounds::KeyBounds;
use pooled::{Cells, Pooled};
use rotary::Rotary;
use span_attention::SpanAttention;

/// The operations a backend must offer. Every default body is the reference: a backend without a kernel is slow, never wrong.
pub trait Kernels: Backend {
    /// Weights of linear layers, and their products.
    type Matrix: linear::Matrix<Self>;
    /// What chunk attention keeps, from call to call, of the keys of a group of heads.
    type ChunkKeys: Default + Debug + Send;

    /// Rows divided by their root mean square.
    fn rms_norm(x: Tensor<Self, 2>, gamma: &Tensor<Self, 1>, eps: f64) -> Tensor<Self, 2> {
        rms_norm::reference(x, gamma, eps)
    }

    /// Rows shifted to mean 0 and divided by their standard deviation. Burn's backends have a function of that name too: call
    /// `<B as Kernels>::layer_norm`.
    fn layer_norm(
        x: Tensor<Self, 2>,
        gamma: &Tensor<Self, 1>,
        beta: Option<&Tensor<Self, 1>>,
        eps: f64,
    ) -> Tensor<Self, 2> {
        layer_norm::reference(x, gamma, beta, eps)
    }

    /// An activation of every number.
    fn activated(activation: Activation, x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        gated::activated(activation, x)
    }

    /// `activation(gate) * up`.
    fn gated(activation: Activation, gate: Tensor<Self, 2>, up: Tensor<Self, 2>) -> Tensor<Self, 2> {
        gated::reference(activation, gate, up)
    }

    /// Rows for the experts that were chosen for them, one per pair of the two: `[n_pairs, d_in]` from `x`, `[seq, d_in]`.
    fn expert_rows(x: Tensor<Self, 2>, routes: &Routes) -> Tensor<Self, 2> {
        routes.gather(x)
    }

    /// Products of rows with the experts chosen for them, one row per pair of the two.
    fn expert_products(experts: &[Self::Matrix], x: Tensor<Self, 2>, routes: &Routes) -> Tensor<Self, 2> {
        experts::products(experts, &x, routes)
    }

    /// `residual` plus what the experts chosen for each row gave, weighted.
    fn expert_sum(y: Tensor<Self, 2>, routes: &Routes, residual: Tensor<Self, 2>) -> Tensor<Self, 2> {
        experts::sum(y, routes, residual)
    }

    /// Gives back memory that kernels keep from call to call; a new sequence begins.
    fn release() {}

    /// What failed on a device since it was asked last: some runtimes go on after a failure, with numbers that nobody wrote.
    fn check(_device: &Self::Device) -> Result<(), String> {
        Ok(())
    }

    /// Waits until the device has computed everything that it was given; otherwise as [`Kernels::check`].
    fn wait(_device: &Self::Device) -> Result<(), String> {
        Ok(())
    }

    /// What a device is and allows, as names and values.
    fn facts(_device: &Self::Device) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The device's memory; nothing of the processor, whose memory the system tells of.
    fn memory(_device: &Self::Device) -> Option<DeviceMemory> {
        None
    }

    /// Bytes of a number of the cache and of what attention meets: 2 on devices with tensor cores where no weights have 32 bits, else 4.
    fn attention_bytes(_device: &Self::Device, _weights_have_32_bits: bool) -> usize {
        size_of::<f32>()
    }

    /// Which body computes this problem.
    fn body(operation: &Operation<'_, Self>) -> Body {
        let _ = operation;
        Body::Reference("the device has no kernels of its own")
    }

    /// Heads rotated to the positions of their rows.
    fn rotate(rotary: &Rotary<Self>, x: Tensor<Self, 3>) -> Tensor<Self, 3> {
        rotary::reference(rotary, &x)
    }

    /// Room for a cache's store, `[n_heads, capacity, head_dim]`, for numbers such as those of `like`, all zeros.
    fn store(shape: [usize; 3], like: &Tensor<Self, 3>) -> Tensor<Self, 3> {
        Tensor::zeros(shape, &like.device())
    }

    /// A cache's store, `[n_heads, capacity, head_dim]`, with these rows, `[n_heads, seq, head_dim]`, from `at` on.
    fn write_rows(store: Tensor<Self, 3>, at: usize, rows: Tensor<Self, 3>) -> Tensor<Self, 3> {
        write_rows::reference(store, at, rows)
    }

    /// The first `n_rows` rows of a cache's store, where they lie.
    fn first_rows(store: &Tensor<Self, 3>, n_rows: usize) -> Tensor<Self, 3> {
        let [n_heads, _, head_dim] = store.dims();
        store.clone().slice([0..n_heads, 0..n_rows, 0..head_dim])
    }

    /// Attention over the spans of a plan.
    fn span_attention(problem: &SpanAttention<'_, Self>) -> Attended<Self> {
        span_attention::reference(problem)
    }

    /// One vector per complete chunk and query head.
    fn chunk_summary(problem: &ChunkSummary<Self>) -> Tensor<Self, 3> {
        chunk_summary::reference(problem)
    }

    /// Bounds of the keys of every complete chunk, `[n_kv_heads, n_chunks, 2 * head_dim]`.
    fn key_bounds(problem: &KeyBounds<Self>) -> Tensor<Self, 3> {
        key_bounds::reference(problem)
    }

    /// The chunks that every query chooses, `[n_heads, seq_q, n_slots]`.
    fn choose_chunks(problem: &ChunkScores<Self>) -> Tensor<Self, 3, Int> {
        chunk_scores::reference(problem)
    }

    /// Attention over the chunks that each query chose. `keys` belongs to the group of heads: it may
    /// hold what earlier calls made of
    /// the same keys and offsets.
    fn chunk_attention(problem: &ChunkAttention<'_, Self>, keys: &mut Self::ChunkKeys) -> Attended<Self> {
        let _ = keys;
        chunk_attention::reference(problem)
    }

    /// Attention weights of one head, pooled; `lse` is what [`span_attention`](Self::span_attention) gave for the problem.
    fn pool_spans(problem: &SpanAttention<'_, Self>, head: usize, lse: &Tensor<Self, 2>, cells: &Cells) -> Pooled {
        let _ = lse; // the reference makes the softmax anew
        pooled::of_spans(problem, head, cells)
    }

    /// The same over chosen chunks.
    fn pool_chunks(
        problem: &ChunkAttention<'_, Self>,
        keys: &mut Self::ChunkKeys,
        head: usize,
        lse: &Tensor<Self, 2>,
        cells: &Cells,
    ) -> Pooled {
        let _ = (keys, lse);
        pooled::of_chunks(problem, head, cells)
    }
}

/// The key heads that serve a range of query heads.
fn kv_heads_of(heads: &Range<usize>, n_heads: usize, n_kv_heads: usize) -> Range<usize> {
    let n_rep = n_heads / n_kv_heads;
    heads.start / n_rep..heads.end.div_ceil(n_rep)
}

/// The same numbers with 32 bits each: what references compute with.
fn in_f32<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, D> {
    tensor.cast(FloatDType::F32)
}

/// The memory of a device that has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Bytes that nobody holds, and all there are, where the driver tells.
    pub free: Option<(u64, u64)>,
    /// Bytes that this program holds, in use or for later: they only grow until the program ends, so this is also the most it held.
    pub held: u64,
    /// Those of them that are in use.
    pub used: u64,
}

impl DeviceMemory {
    /// Bytes that can be taken: what nobody holds, and what the program holds and does not use.
    pub fn available(&self) -> Option<u64> {
        Some(self.free?.0 + self.held.saturating_sub(self.used))
    }
}

/// Result of an attention operation.
#[derive(Debug, Clone)]
pub struct Attended<B: Backend> {
    /// `[n_heads, seq_q, head_dim]`.
    pub out: Tensor<B, 3>,
    /// `[n_heads, seq_q]`: logarithm of the sum of exponentiated scores.
    pub lse: Tensor<B, 2>,
}

#[cfg(feature = "flex")]
impl Kernels for burn_flex::Flex {
    type Matrix = linear::cpu::Packed;
    type ChunkKeys = chunk_attention::cpu::PackedKeys;

    fn store(shape: [usize; 3], _: &Tensor<Self, 3>) -> Tensor<Self, 3> {
        cpu::tensor(cpu::pages::zeros(shape.iter().product()), shape)
    }

    fn rms_norm(x: Tensor<Self, 2>, gamma: &Tensor<Self, 1>, eps: f64) -> Tensor<Self, 2> {
        rms_norm::cpu::rms_norm(cpu::simd::arch(), x, gamma, eps)
    }

    fn layer_norm(
        x: Tensor<Self, 2>,
        gamma: &Tensor<Self, 1>,
        beta: Option<&Tensor<Self, 1>>,
        eps: f64,
    ) -> Tensor<Self, 2> {
        layer_norm::cpu::layer_norm(cpu::simd::arch(), x, gamma, beta, eps)
    }

    fn activated(activation: Activation, x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        gated::cpu::activated(cpu::simd::arch(), activation, x)
    }

    fn gated(activation: Activation, gate: Tensor<Self, 2>, up: Tensor<Self, 2>) -> Tensor<Self, 2> {
        gated::cpu::gated(cpu::simd::arch(), activation, gate, up)
    }

    fn expert_products(experts: &[Self::Matrix], x: Tensor<Self, 2>, routes: &Routes) -> Tensor<Self, 2> {
        experts::cpu::products(experts, x, routes)
    }

    fn expert_sum(y: Tensor<Self, 2>, routes: &Routes, residual: Tensor<Self, 2>) -> Tensor<Self, 2> {
        experts::cpu::sum(cpu::simd::arch(), y, routes, residual)
    }

    fn release() {
        cpu::simd::release();
    }

    fn body(operation: &Operation<'_, Self>) -> Body {
        match operation {
            Operation::ChunkScores(problem) if let Some(reason) = problem.refused() => Body::Reference(reason),
            _ => Body::Kernel(cpu::simd::name(cpu::simd::arch())),
        }
    }

    fn rotate(rotary: &Rotary<Self>, x: Tensor<Self, 3>) -> Tensor<Self, 3> {
        rotary::cpu::rotate(cpu::simd::arch(), rotary, x)
    }

    fn write_rows(store: Tensor<Self, 3>, at: usize, rows: Tensor<Self, 3>) -> Tensor<Self, 3> {
        write_rows::cpu::write(store, at, rows)
    }

    fn span_attention(problem: &SpanAttention<'_, Self>) -> Attended<Self> {
        span_attention::cpu::attend(cpu::simd::arch(), problem)
    }

    fn pool_spans(problem: &SpanAttention<'_, Self>, head: usize, lse: &Tensor<Self, 2>, cells: &Cells) -> Pooled {
        pooled::cpu::of_spans(cpu::simd::arch(), problem, head, lse, cells)
    }

    fn pool_chunks(
        problem: &ChunkAttention<'_, Self>,
        keys: &mut Self::ChunkKeys,
        head: usize,
        lse: &Tensor<Self, 2>,
        cells: &Cells,
    ) -> Pooled {
        pooled::cpu::of_chunks(cpu::simd::arch(), problem, keys, head, lse, cells)
    }

    fn chunk_summary(problem: &ChunkSummary<Self>) -> Tensor<Self, 3> {
        chunk_summary::cpu::summarise(cpu::simd::arch(), problem)
    }

    fn key_bounds(problem: &KeyBounds<Self>) -> Tensor<Self, 3> {
        key_bounds::cpu::bounds(cpu::simd::arch(), problem)
    }

    fn choose_chunks(problem: &ChunkScores<Self>) -> Tensor<Self, 3, Int> {
        match problem.refused() {
            None => chunk_scores::cpu::choose(cpu::simd::arch(), problem),
            Some(_) => chunk_scores::reference(problem),
        }
    }

    fn chunk_attention(problem: &ChunkAttention<'_, Self>, keys: &mut Self::ChunkKeys) -> Attended<Self> {
        chunk_attention::cpu::attend(cpu::simd::arch(), problem, keys)
    }
}

#[cfg(feature = "cube")]
pub mod gpu;
#[cfg(feature = "simulated")]
pub mod simulated;
