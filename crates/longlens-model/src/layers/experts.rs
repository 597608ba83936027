//! A mixture of experts: a router gives every token the few MLPs that it scores highest (Shazeer et al., 2017, arXiv:1701.06538).

use burn_tensor::Tensor;
use burn_tensor::activation::sigmoid;
use longlens_kernel::experts::Routes;
use longlens_kernel::gated::Activation;
use longlens_kernel::linear::Matrix;
use longlens_kernel::{Kernels, Operation};

/// Gated MLPs of equal size, and what chooses among them.
#[derive(Debug, Clone)]
pub(crate) struct Experts<M> {
    /// One score for each expert.
    pub router: M,
    /// Of every expert.
    pub gate: Vec<M>,
    /// Of every expert.
    pub up: Vec<M>,
    /// Of every expert.
    pub down: Vec<M>,
    pub activation: Activation,
    /// Experts that a token uses.
    pub n_used: usize,
    /// Whether the weights of those are brought to the sum 1 (Mixtral, arXiv:2401.04088, section 2.1); else each is its share of
    /// the softmax over all experts.
    pub is_normalized: bool,
    /// An expert that every token uses beside the chosen ones (Qwen1.5-MoE).
    pub shared: Option<SharedExpert<M>>,
}

/// An expert of all tokens, times the sigmoid of its score.
#[derive(Debug, Clone)]
pub(crate) struct SharedExpert<M> {
    pub score: M,
    pub gate: M,
    pub up: M,
    pub down: M,
}

impl<M> Experts<M> {
    /// `x`: `[seq, d_model]`; returns the same shape, plus the residual where one is given.
    pub fn run<B: Kernels<Matrix = M>>(&self, x: Tensor<B, 2>, residual: Option<Tensor<B, 2>>) -> Tensor<B, 2>
    where
        M: Matrix<B>,
    {
        let residual = residual.unwrap_or_else(|| x.zeros_like());
        let routes = self.routes(self.router.product(x.clone())); // of [seq, n_experts]
        let rows = B::expert_rows(x.clone(), &routes); // [n_pairs, d_model]
        let gate = B::expert_products(&self.gate, rows.clone(), &routes); // [n_pairs, d_mlp]
        let up = B::expert_products(&self.up, rows, &routes);
        let down = B::expert_products(&self.down, B::gated(self.activation, gate, up), &routes); // [n_pairs, d_model]
        let sum = B::expert_sum(down, &routes, residual);
        match &self.shared {
            Some(shared) => sum + shared.run::<B>(self.activation, x),
            None => sum,
        }
    }

    /// The experts of every token, by their scores; of equal ones the first.
    fn routes<B: Kernels>(&self, scores: Tensor<B, 2>) -> Routes {
        let n_experts = self.gate.len();
        let scores = scores.into_data().convert::<f32>().to_vec::<f32>().expect("scores are converted to f32");
        let (mut experts, mut weights) = (Vec::new(), Vec::new());
        let mut order: Vec<u32> = Vec::with_capacity(n_experts);
        for scores in scores.chunks(n_experts) {
            order.clear();
            order.extend(0..n_experts as u32);
            // a score that is not a number comes first, and makes the result not a number
            let by_score = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
            order.select_nth_unstable_by(self.n_used - 1, by_score);
            order.truncate(self.n_used);
            order.sort_unstable_by(by_score);
            let most = scores[order[0] as usize];
            let share = |expert: &u32| (scores[*expert as usize] - most).exp();
            let sum: f32 = if self.is_normalized {
                order.iter().map(share).sum()
            } else {
                scores.iter().map(|score| (score - most).exp()).sum()
            };
            weights.extend(order.iter().map(|expert| share(expert) / sum));
            experts.extend_from_slice(&order);
        }
        Routes::new(&experts, &weights, self.n_used)
    }

    /// What it runs.
    pub fn operations<B: Kernels<Matrix = M>>(&self) -> Vec<Operation<'_, B>>
    where
        M: Matrix<B>,
    {
        let shared = self.shared.iter().flat_map(|shared| [&shared.score, &shared.gate, &shared.up, &shared.down]);
        let matrices = shared.chain([&self.router]).map(Operation::Linear);
        let experts = [&self.gate, &self.up, &self.down].map(|experts| Operation::Experts(experts));
        matrices.chain(experts).chain([Operation::Gated(self.activation)]).collect()
    }
}

impl<M> SharedExpert<M> {
    fn run<B: Kernels<Matrix = M>>(&self, activation: Activation, x: Tensor<B, 2>) -> Tensor<B, 2>
    where
        M: Matrix<B>,
    {
        let [score, gate, up] = Matrix::products([&self.score, &self.gate, &self.up], x);
        self.down.product(B::gated(activation, gate, up)) * sigmoid(score) // [seq, d_model] * [seq, 1]
    }
}
