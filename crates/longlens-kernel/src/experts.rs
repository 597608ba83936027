//! Products of a mixture of experts: every row meets the few experts that were chosen for it, and no other is read.
//!
//! Rows are grouped by expert once ([`Routes`]), so that the products of a layer's MLP are products of whole groups:
//! `y[p] = W[expert(p)] x[p]` for every pair `p` of a row and an expert, and at the end `out[r] += Σ weight(p) y[p]` over the
//! pairs of row `r` (Shazeer et al., 2017, arXiv:1701.06538).
//!
//! Launch: one product per chosen expert. Products agree as those of [`linear`](crate::linear), the sum to 1e-6 relative.

use std::ops::Range;

use burn_tensor::backend::Backend;
use burn_tensor::{Int, Tensor, TensorData};

use crate::linear::Matrix;

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;

/// The pairs of a row and an expert that was chosen for it, sorted by expert, then by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Routes {
    /// The row of each pair.
    pub rows: Vec<u32>,
    /// What the expert's result counts in each pair.
    pub weights: Vec<f32>,
    /// Every expert that was chosen, with its pairs.
    pub groups: Vec<(usize, Range<usize>)>,
}

impl Routes {
    /// `experts` and `weights` are row-major `[seq, n_used]`; an expert stands at most once in a row.
    pub fn new(experts: &[u32], weights: &[f32], n_used: usize) -> Self {
        assert_eq!(experts.len(), weights.len(), "a weight for every choice");
        let mut order: Vec<usize> = (0..experts.len()).collect();
        order.sort_by_key(|at| experts[*at]); // stable, so rows stay in order
        let mut groups: Vec<(usize, Range<usize>)> = Vec::new();
        for (pair, at) in order.iter().enumerate() {
            let expert = experts[*at] as usize;
            match groups.last_mut() {
                Some((last, pairs)) if *last == expert => pairs.end = pair + 1,
                _ => groups.push((expert, pair..pair + 1)),
            }
        }
        Self {
            rows: order.iter().map(|at| (at / n_used) as u32).collect(),
            weights: order.iter().map(|at| weights[*at]).collect(),
            groups,
        }
    }

    /// The row of every pair, `[n_pairs, d_in]`, from `x`, `[seq, d_in]`.
    pub fn gather<B: Backend>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let indices = self.indices(&x.device());
        x.select(0, indices)
    }

    fn indices<B: Backend>(&self, device: &B::Device) -> Tensor<B, 1, Int> {
        let rows: Vec<i32> = self.rows.iter().map(|row| *row as i32).collect();
        Tensor::from_data(TensorData::new(rows, [self.rows.len()]), device)
    }
}

/// `x`: `[n_pairs, d_in]`; returns `[n_pairs, d_out]`, each row's product with the matrix of its own expert.
pub fn products<B: Backend, M: Matrix<B>>(experts: &[M], x: &Tensor<B, 2>, routes: &Routes) -> Tensor<B, 2> {
    let [_, d_in] = x.dims();
    let of_group =
        |(expert, pairs): &(usize, Range<usize>)| experts[*expert].product(x.clone().slice([pairs.clone(), 0..d_in]));
    Tensor::cat(routes.groups.iter().map(of_group).collect(), 0)
}

/// `y`: `[n_pairs, d]`, `residual`: `[seq, d]`; returns the residual plus the weighted rows of its pairs.
pub fn sum<B: Backend>(y: Tensor<B, 2>, routes: &Routes, residual: Tensor<B, 2>) -> Tensor<B, 2> {
    let device = y.device();
    let weights = TensorData::new(routes.weights.clone(), [routes.weights.len(), 1]);
    let weighted = y * Tensor::from_data(weights, &device);
    residual.select_assign(0, routes.indices(&device), weighted, burn_tensor::IndexingUpdateOp::Add)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::{Flex, FlexDevice};
    use burn_tensor::Distribution;

    use super::*;
    use crate::cpu::simd::{arches, name};
    use crate::linear::cpu::Packed;
    use crate::linear::{Dense, Storage, Weights};

    fn random(shape: [usize; 2]) -> Tensor<Flex, 2> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &FlexDevice)
    }

    fn numbers(x: Tensor<Flex, 2>) -> Vec<f32> {
        x.into_data().into_vec().unwrap()
    }

    #[test]
    fn pairs_are_sorted_by_expert_and_experts_without_rows_are_absent() {
        let routes = Routes::new(&[3, 0, 0, 3, 5, 3], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 2);
        assert_eq!(routes.rows, [0, 1, 0, 1, 2, 2]);
        assert_eq!(routes.weights, [0.2, 0.3, 0.1, 0.4, 0.6, 0.5]);
        assert_eq!(routes.groups, [(0, 0..2), (3, 2..5), (5, 5..6)]);
    }

    #[test]
    fn products_and_sums_are_those_of_every_pair_alone() {
        for (seq, n_experts, n_used, d_in, d_out) in
            [(1, 4, 2, 33, 17), (1, 3, 3, 64, 40), (7, 6, 3, 32, 65), (40, 4, 2, 40, 300), (30, 64, 1, 31, 8)]
        {
            let choose = |at: usize| ((at / n_used * 7 + at % n_used) % n_experts) as u32;
            let chosen: Vec<u32> = (0..seq * n_used).map(choose).collect();
            let weights: Vec<f32> = chosen.iter().enumerate().map(|(at, _)| (at % 5) as f32 / 4.0 - 0.2).collect();
            let routes = Routes::new(&chosen, &weights, n_used);
            let (x, residual) = (random([seq, d_in]), random([seq, d_out]));
            let matrices: Vec<Vec<f32>> = (0..n_experts).map(|_| numbers(random([d_out, d_in]))).collect();
            let biases: Vec<Vec<f32>> = (0..n_experts).map(|_| numbers(random([1, d_out]))).collect();

            let (rows, mut expected) =
                (numbers(x.clone()), numbers(residual.clone()).iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            let mut sizes: Vec<f64> = expected.iter().map(|x| x.abs()).collect();
            for (at, (expert, weight)) in chosen.iter().zip(&weights).enumerate() {
                let (row, expert) = (at / n_used, *expert as usize);
                for output in 0..d_out {
                    let (mut sum, mut size) =
                        (f64::from(biases[expert][output]), f64::from(biases[expert][output].abs()));
                    for at in 0..d_in {
                        let product =
                            f64::from(rows[row * d_in + at]) * f64::from(matrices[expert][output * d_in + at]);
                        sum += product;
                        size += product.abs();
                    }
                    expected[row * d_out + output] += f64::from(*weight) * sum;
                    sizes[row * d_out + output] += f64::from(weight.abs()) * size;
                }
            }
            let check = |name: &str, y: Tensor<Flex, 2>| {
                for ((y, expected), size) in numbers(y).iter().zip(&expected).zip(&sizes) {
                    let off = (f64::from(*y) - expected).abs();
                    assert!(off <= 3e-6 * size, "{name}, {seq} x {d_in} x {d_out}: {y} for {expected}");
                }
            };
            let packing = |expert: usize, pack: &mut dyn FnMut(&Weights<'_>)| {
                let rows = &|first: usize, out: &mut [f32]| {
                    out.copy_from_slice(&matrices[expert][first * d_in..][..out.len()]);
                };
                pack(&Weights { d_out, d_in, rows, bias: Some(biases[expert].clone()) });
            };
            let mut dense = Vec::new();
            for expert in 0..n_experts {
                packing(expert, &mut |weights| dense.push(Dense::<Flex>::pack(weights, Storage::F32, &FlexDevice)));
            }
            let gathered = routes.gather(x.clone());
            check("reference", sum(products(&dense, &gathered, &routes), &routes, residual.clone()));
            for arch in arches() {
                let mut packed = Vec::new();
                for expert in 0..n_experts {
                    packing(expert, &mut |weights| packed.push(Packed::new(arch, weights, Storage::F32)));
                }
                let y = cpu::products(&packed, gathered.clone(), &routes);
                check(name(arch), cpu::sum(arch, y, &routes, residual.clone()));
                // a view of a larger tensor, and a residual that somebody else holds
                let wide = Tensor::cat(vec![random([1, d_in]), gathered.clone()], 0).slice([1..routes.rows.len() + 1]);
                let y = cpu::products(&packed, wide, &routes);
                check(name(arch), cpu::sum(arch, y, &routes, residual.clone()));
            }
        }
    }
}
