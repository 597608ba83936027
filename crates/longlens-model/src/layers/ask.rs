//! Parameters of a stack, asked for under the names of Hugging Face checkpoints.

use longlens_kernel::gated::Activation;

use super::{Ends, Experts, Layer, Mlp, Norm, Projections, Stack};
use crate::weights::{Linear, Parameters};

/// The numbers of a config that decide shapes, under its names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    /// Numbers of all query heads of a token, and of all its key heads.
    pub head_widths: [usize; 2],
    /// Whether the embedding serves as output matrix.
    pub tie_word_embeddings: bool,
}

/// Asks for parameters of one layer, or of what lies outside the layers; names are completed to those of the checkpoint.
pub(crate) struct Asker<'a, P> {
    pub from: &'a mut P,
    pub sizes: Sizes,
    /// What names begin with, a dot included.
    prefix: String,
}

impl<M, V> Stack<M, V> {
    /// Asks for embedding, layers, the norm behind them and the output matrix, in this order.
    pub(crate) fn ask<P: Parameters<Matrix = M, Vector = V>>(
        from: &mut P,
        sizes: Sizes,
        ends: Ends,
        layer: impl Fn(&mut Asker<'_, P>, usize) -> Layer<M, V>,
        norm: impl FnOnce(&mut Asker<'_, P>) -> Norm<V>,
    ) -> Self {
        let vocabulary = [sizes.vocab_size, sizes.hidden_size];
        let mut outside = Asker { from, sizes, prefix: String::new() };
        let embed_tokens = outside.linear("model.embed_tokens", vocabulary, false);
        let layers = (0..sizes.num_hidden_layers).map(|at| {
            let prefix = format!("model.layers.{at}.");
            layer(&mut Asker { from: &mut *outside.from, sizes, prefix }, at)
        });
        let layers = layers.collect();
        let norm = norm(&mut outside);
        let lm_head = (!sizes.tie_word_embeddings).then(|| outside.linear("lm_head", vocabulary, ends.head_bias));
        Self { embed_tokens, layers, norm, lm_head, ends }
    }
}

impl<M, V> Stack<M, V> {
    /// A stack whose layers have an RMS norm before each sublayer and nothing else around them, as a Llama's: `attention` asks for
    /// the projections of a layer, `mlp` for the rest of the layer of this number.
    pub(crate) fn pre_norm<P: Parameters<Matrix = M, Vector = V>>(
        from: &mut P,
        sizes: Sizes,
        eps: f64,
        attention: impl Fn(&mut Asker<'_, P>) -> Projections<M, V>,
        mlp: impl Fn(&mut Asker<'_, P>, usize) -> Mlp<M>,
    ) -> Self {
        Self::ask(
            from,
            sizes,
            Ends::default(),
            |asker, layer| asker.pre_norm(eps, &attention, |asker| mlp(asker, layer)),
            |asker| asker.rms_norm("model.norm", sizes.hidden_size, eps, 0.0),
        )
    }
}

impl<P: Parameters> Asker<'_, P> {
    /// A matrix of shape `[d_out, d_in]`.
    pub fn linear(&mut self, name: &str, shape: [usize; 2], bias: bool) -> P::Matrix {
        self.from.matrix(Linear::new(&format!("{}{name}", self.prefix), shape).bias(bias))
    }

    /// Rows of a tensor that holds several matrices, from row `first` on.
    pub fn part(&mut self, name: &str, shape: [usize; 2], n_stored: usize, first: usize) -> P::Matrix {
        self.from.matrix(Linear::new(&format!("{}{name}", self.prefix), shape).part_of(n_stored, first))
    }

    /// An RMS norm over `width` numbers; `offset` is added to its stored factors.
    pub fn rms_norm(&mut self, name: &str, width: usize, eps: f64, offset: f32) -> Norm<P::Vector> {
        Norm::Rms { weight: self.from.norm_weight(&format!("{}{name}", self.prefix), width, offset), eps }
    }

    /// A layer norm over the stream, with its shifts.
    pub fn layer_norm(&mut self, name: &str, eps: f64) -> Norm<P::Vector> {
        let norm = self.from.layer_norm(&format!("{}{name}", self.prefix), self.sizes.hidden_size, true);
        Norm::Layer { weight: norm.weight, bias: norm.bias, eps }
    }

    /// `self_attn.q_proj`, `k_proj`, `v_proj` and the output matrix under its name; biases of the first three and of the last.
    pub fn projections(&mut self, out: &str, [qkv_bias, out_bias]: [bool; 2]) -> Projections<P::Matrix, P::Vector> {
        let (width, [query, key]) = (self.sizes.hidden_size, self.sizes.head_widths);
        let mut ask = |name: &str, rows| self.linear(&format!("self_attn.{name}"), [rows, width], qkv_bias);
        let qkv = [ask("q_proj", query), ask("k_proj", key), ask("v_proj", key)];
        let out = self.linear(&format!("self_attn.{out}"), [width, query], out_bias);
        Projections { qkv, out, qk_norm: None }
    }

    /// A layer with an RMS norm before each sublayer, under the names that most families have. What the sublayers are made of is
    /// asked for in their turn.
    pub fn pre_norm(
        &mut self,
        eps: f64,
        attention: impl FnOnce(&mut Self) -> Projections<P::Matrix, P::Vector>,
        mlp: impl FnOnce(&mut Self) -> Mlp<P::Matrix>,
    ) -> Layer<P::Matrix, P::Vector> {
        let width = self.sizes.hidden_size;
        let before_attention = self.rms_norm("input_layernorm", width, eps, 0.0);
        let attention = attention(self);
        let before_mlp = self.rms_norm("post_attention_layernorm", width, eps, 0.0);
        let mlp = mlp(self);
        Layer::pre_norm(before_attention, attention, before_mlp, mlp)
    }

    /// RMS norms of every head of queries and of keys, `self_attn.q_norm` and `self_attn.k_norm`, over these widths.
    pub fn qk_norm(&mut self, widths: [usize; 2], eps: f64, offset: f32) -> [Norm<P::Vector>; 2] {
        let [query, key] = widths;
        let query = self.rms_norm("self_attn.q_norm", query, eps, offset);
        [query, self.rms_norm("self_attn.k_norm", key, eps, offset)]
    }

    /// An MLP of `gate_proj`, `up_proj` and `down_proj` inside the module `name`.
    pub fn gated(&mut self, name: &str, d_mlp: usize, bias: bool, activation: Activation) -> Mlp<P::Matrix> {
        let [gate, up, down] = self.gate_up_down(name, ["gate_proj", "up_proj", "down_proj"], d_mlp, bias);
        Mlp::Gated { gate, up, down, activation }
    }

    /// The matrices of a gated MLP under these names, in the order gate, up, down.
    pub fn gate_up_down(&mut self, module: &str, names: [&str; 3], d_mlp: usize, bias: bool) -> [P::Matrix; 3] {
        let d_model = self.sizes.hidden_size;
        let [gate, up, down] = names;
        let mut ask = |name: &str, shape| self.linear(&format!("{module}.{name}"), shape, bias);
        [ask(gate, [d_mlp, d_model]), ask(up, [d_mlp, d_model]), ask(down, [d_model, d_mlp])]
    }

    /// A router `<module>.gate` and the gated MLPs in `<module>.experts` that it chooses among, without one that all tokens use.
    pub fn mixture(
        &mut self,
        module: &str,
        names: [&str; 3],
        d_mlp: usize,
        [n, n_used]: [usize; 2],
        activation: Activation,
    ) -> Experts<P::Matrix> {
        let router = self.linear(&format!("{module}.gate"), [n, self.sizes.hidden_size], false);
        let [gate, up, down] = self.experts(&format!("{module}.experts"), names, d_mlp, [n, n_used]);
        Experts { router, gate, up, down, activation, n_used, is_normalized: true, shared: None }
    }

    /// The matrices of `n` gated MLPs in the modules `<module>.0`, `<module>.1` and so on; of all first the gates, then the others.
    fn experts(
        &mut self,
        module: &str,
        names: [&str; 3],
        d_mlp: usize,
        [n, n_used]: [usize; 2],
    ) -> [Vec<P::Matrix>; 3] {
        let (sizes, prefix) = (self.sizes, self.prefix.clone());
        let all = self.from.experts(n, n_used, |from, expert| {
            let mut asker = Asker { from, sizes, prefix: prefix.clone() };
            asker.gate_up_down(&format!("{module}.{expert}"), names, d_mlp, false)
        });
        let mut out = [Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n)];
        for expert in all {
            out.iter_mut().zip(expert).for_each(|(all, one)| all.push(one));
        }
        out
    }
}
