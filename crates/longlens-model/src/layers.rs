//! What every family is made of: a residual stream that attention and MLPs add to, and norms between.
//!
//! | family | norm before a sublayer | after it | added |
//! |---|---|---|---|
//! | Llama and most others | yes | | one sublayer after the other |
//! | Phi | one for both | | both at once |
//! | `OLMo` 2 | | yes | one after the other |
//! | Gemma 2 and 3 | yes | yes | one after the other |
//!
//! A family says which of these its layers have ([`Layer`]) and asks for their parameters by name ([`Asker`]).

use burn_tensor::Tensor;
use longlens_core::lens::LensError;
use longlens_core::memory::MLP_ROWS;
use longlens_kernel::linear::Matrix;
use longlens_kernel::{Kernels, Operation};

use crate::decoder::{Attend, Decoder};

mod ask;
mod experts;
mod mlp;
mod norm;
mod projections;

pub(crate) use ask::{Asker, Sizes};
pub(crate) use experts::{Experts, SharedExpert};
pub(crate) use mlp::Mlp;
pub(crate) use norm::Norm;
pub(crate) use projections::Projections;

/// A decoder of matrices `M` and vectors `V`.
#[derive(Debug, Clone)]
pub struct Stack<M, V> {
    embed_tokens: M,
    layers: Vec<Layer<M, V>>,
    norm: Norm<V>,
    /// Absent when the embedding serves as output matrix.
    lm_head: Option<M>,
    ends: Ends,
}

/// What is done to numbers at both ends of a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Ends {
    /// Factor on embeddings.
    pub embedding: Option<f64>,
    /// Whether the output matrix has a bias.
    pub head_bias: bool,
    /// Factor on logits.
    pub logits: Option<f64>,
    /// Bound of logits: they become `cap * tanh(logit / cap)` (Gemma 2, arXiv:2408.00118, section 2).
    pub logits_cap: Option<f64>,
}

/// Attention and MLP, each with a norm before it, after it, or both.
#[derive(Debug, Clone)]
pub(crate) struct Layer<M, V> {
    pub before_attention: Option<Norm<V>>,
    pub attention: Projections<M, V>,
    pub after_attention: Option<Norm<V>>,
    /// Not looked at where both sublayers meet the same numbers.
    pub before_mlp: Option<Norm<V>>,
    pub mlp: Mlp<M>,
    pub after_mlp: Option<Norm<V>>,
    /// Whether the MLP meets what attention meets, and both are added to the same stream.
    pub is_parallel: bool,
    /// Factor on what each sublayer adds.
    pub residual_scale: Option<f64>,
}

impl<M, V> Layer<M, V> {
    /// A norm before each sublayer, as in a Llama.
    pub fn pre_norm(before_attention: Norm<V>, attention: Projections<M, V>, before_mlp: Norm<V>, mlp: Mlp<M>) -> Self {
        Self {
            before_attention: Some(before_attention),
            attention,
            after_attention: None,
            before_mlp: Some(before_mlp),
            mlp,
            after_mlp: None,
            is_parallel: false,
            residual_scale: None,
        }
    }
}

impl<M, V> Stack<M, V> {
    /// Numbers that a layer holds at once for each token, at most; `d_mlp` is the width of all MLPs that a token meets.
    pub(crate) fn step_numbers(&self, sizes: Sizes, d_mlp: usize) -> usize {
        self.layers.iter().map(|layer| layer.step_numbers(sizes, d_mlp)).max().unwrap_or(0)
    }
}

impl<M, V> Layer<M, V> {
    fn step_numbers(&self, Sizes { hidden_size: width, head_widths: [query, key], .. }: Sizes, d_mlp: usize) -> usize {
        let normed = if self.is_parallel { width } else { 0 };
        // queries, keys and values with their norms; then queries, what they got, and the same token by token
        let attention = (2 * width + 2 * query + 3 * key).max(width + 3 * query);
        // the stream and the MLP's input
        normed + attention.max(2 * width + self.mlp.step_numbers(width, d_mlp))
    }
}

impl<B: Kernels> Layer<B::Matrix, Tensor<B, 1>> {
    /// `hidden`: `[seq, d_model]`; returns the same shape.
    fn run(&self, hidden: Tensor<B, 2>, attend: &mut Attend<'_, B>) -> Result<Tensor<B, 2>, LensError> {
        let normed = self.before_attention.as_ref().map_or_else(|| hidden.clone(), |norm| norm.apply(hidden.clone()));
        // what nobody needs again is not held while attention runs
        let (normed, kept) = if self.is_parallel { (normed.clone(), Some(normed)) } else { (normed, None) };
        let context = attend(self.attention.project(normed))?; // [seq, n_heads * head_dim]
        let hidden =
            self.add(self.after_attention.as_ref(), hidden, |residual| self.attention.output(context, residual));
        let [seq, width] = hidden.dims();
        if seq <= MLP_ROWS {
            return Ok(self.after_attention(hidden, kept));
        }
        // a long prompt at once: the MLP's numbers are the widest
        let mut hidden = hidden;
        for start in (0..seq).step_by(MLP_ROWS) {
            let rows = start..(start + MLP_ROWS).min(seq);
            let part = |t: &Tensor<B, 2>| t.clone().slice([rows.clone(), 0..width]);
            let done = self.after_attention(part(&hidden), kept.as_ref().map(part));
            hidden = hidden.slice_assign([rows.clone(), 0..width], done);
        }
        Ok(hidden)
    }

    /// What the MLP makes of rows of the stream; `normed` is what it meets, where attention met the same.
    fn after_attention(&self, hidden: Tensor<B, 2>, normed: Option<Tensor<B, 2>>) -> Tensor<B, 2> {
        let normed = normed.unwrap_or_else(|| match &self.before_mlp {
            Some(norm) => norm.apply(hidden.clone()),
            None => hidden.clone(),
        });
        self.add(self.after_mlp.as_ref(), hidden, |residual| self.mlp.run::<B>(normed, residual))
    }

    /// What a sublayer gives, added to the stream; `sublayer` adds it itself where nothing comes between.
    fn add(
        &self,
        after: Option<&Norm<Tensor<B, 1>>>,
        hidden: Tensor<B, 2>,
        sublayer: impl FnOnce(Option<Tensor<B, 2>>) -> Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        match (after, self.residual_scale) {
            (None, None) => sublayer(Some(hidden)),
            (Some(norm), None) => hidden + norm.apply(sublayer(None)),
            (Some(norm), Some(scale)) => hidden + norm.apply(sublayer(None)).mul_scalar(scale),
            (None, Some(scale)) => hidden + sublayer(None).mul_scalar(scale),
        }
    }

    fn operations(&self) -> Vec<Operation<'_, B>> {
        let norms = [&self.before_attention, &self.after_attention, &self.before_mlp, &self.after_mlp];
        let norms = norms.into_iter().flatten().map(Norm::operation);
        norms.chain(self.attention.operations()).chain(self.mlp.operations::<B>()).collect()
    }
}

impl<B: Kernels> Decoder<B> for Stack<B::Matrix, Tensor<B, 1>> {
    fn n_layers(&self) -> usize {
        self.layers.len()
    }

    fn operations(&self) -> Vec<Operation<'_, B>> {
        let output = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
        let ends = [Operation::Embedding(&self.embed_tokens), Operation::Linear(output), self.norm.operation()];
        ends.into_iter().chain(self.layers.iter().flat_map(Layer::operations)).collect()
    }

    fn embed(&self, tokens: &[u32]) -> Tensor<B, 2> {
        let rows = self.embed_tokens.rows(tokens); // [seq, d_model]
        match self.ends.embedding {
            Some(factor) => rows.mul_scalar(factor),
            None => rows,
        }
    }

    fn layer(&self, layer: usize, hidden: Tensor<B, 2>, attend: &mut Attend<'_, B>) -> Result<Tensor<B, 2>, LensError> {
        self.layers[layer].run(hidden, attend)
    }

    fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let normed = self.norm.apply(hidden); // [seq, d_model]
        let logits = self.lm_head.as_ref().unwrap_or(&self.embed_tokens).product(normed); // [seq, vocab_size]
        let logits = match self.ends.logits {
            Some(factor) => logits.mul_scalar(factor),
            None => logits,
        };
        match self.ends.logits_cap {
            Some(cap) => logits.div_scalar(cap).tanh().mul_scalar(cap),
            None => logits,
        }
    }
}
