//! Names, shapes and counts of what a blueprint asks for, before anything is read.

use std::collections::HashSet;

use longlens_kernel::linear::Storage;

use super::files::WeightFiles;
use super::request;
use super::{Blueprint, Linear, Parameters};
use crate::error::WeightProblem;

/// How many numbers a model is made of, and meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Numbers in all parameters; a tied output matrix counts once.
    pub n_parameters: usize,
    /// Those in matrices, without biases: they are kept as the storage says, all others in 32 bits.
    pub in_matrices: usize,
    /// Numbers in the matrices that a token meets in all layers: of experts, as many as it uses.
    pub layers: usize,
    /// Numbers in the matrix that gives logits.
    pub output: usize,
}

impl Counts {
    /// Counts what a blueprint asks for.
    pub fn of(blueprint: &impl Blueprint) -> Self {
        Wanted::of(blueprint).counts
    }

    /// The same with what the blueprint builds of nothing.
    pub(crate) fn with_model<D: Blueprint>(blueprint: &D) -> (Self, D::Model<(), ()>) {
        let mut wanted = Wanted::default();
        let model = blueprint.build(&mut wanted);
        (wanted.counts, model)
    }

    /// Bytes of all parameters, the matrices kept as `storage`.
    pub fn bytes(&self, storage: Storage) -> usize {
        storage.bytes(self.in_matrices) + Storage::F32.bytes(self.n_parameters - self.in_matrices)
    }
}

/// Takes down names and shapes.
#[derive(Default)]
pub(super) struct Wanted {
    /// Each stored tensor once, in the order in which they were asked for.
    pub tensors: Vec<WantedTensor>,
    pub counts: Counts,
    /// Every matrix, in the same order.
    pub matrices: Vec<WantedMatrix>,
    names: HashSet<String>,
}

/// A matrix: the tensor that holds it, and what it takes of it.
pub(super) struct WantedMatrix {
    pub name: String,
    pub d_in: usize,
    pub n_numbers: usize,
}

pub(super) struct WantedTensor {
    pub name: String,
    shape: Vec<usize>,
}

impl Wanted {
    pub fn of(blueprint: &impl Blueprint) -> Self {
        let mut wanted = Self::default();
        blueprint.build(&mut wanted);
        wanted
    }

    /// Counts of a damaged config stop at the largest number.
    fn push(&mut self, name: String, shape: &[usize], n_numbers: usize) {
        self.counts.n_parameters = self.counts.n_parameters.saturating_add(n_numbers);
        if self.names.insert(name.clone()) {
            self.tensors.push(WantedTensor { name, shape: shape.into() });
        }
    }
}

impl Parameters for Wanted {
    type Matrix = ();
    type Vector = ();

    fn matrix(&mut self, ask: Linear<'_>) {
        let [d_out, d_in] = ask.shape;
        let n_numbers = d_out.saturating_mul(d_in);
        let counts = &mut self.counts;
        counts.in_matrices = counts.in_matrices.saturating_add(n_numbers);
        if layer_of(ask.name).is_some() {
            counts.layers = counts.layers.saturating_add(n_numbers);
        } else {
            // the last one outside the layers: a head of its own, else the embedding
            counts.output = n_numbers;
        }
        self.matrices.push(WantedMatrix { name: ask.weight_name(), d_in, n_numbers });
        self.push(ask.weight_name(), &[ask.n_stored, d_in], n_numbers);
        if ask.bias {
            self.push(ask.bias_name(), &[ask.n_stored], d_out);
        }
    }

    fn norm_weight(&mut self, name: &str, len: usize, _: f32) {
        self.push(request::weight(name), &[len], len);
    }

    fn norm_bias(&mut self, name: &str, len: usize) {
        self.push(request::bias(name), &[len], len);
    }

    fn experts<T>(&mut self, n: usize, n_used: usize, mut one: impl FnMut(&mut Self, usize) -> T) -> Vec<T> {
        let before = self.counts.layers;
        let experts = (0..n).map(|expert| one(self, expert)).collect();
        let all = self.counts.layers - before;
        self.counts.layers = before + all / n.max(1) * n_used;
        experts
    }
}

impl WantedTensor {
    pub fn layer(&self) -> Option<usize> {
        layer_of(&self.name)
    }

    /// What the headers say against this tensor.
    pub fn check(&self, files: &WeightFiles) -> Option<WeightProblem> {
        let name = self.name.clone();
        let Some(stored) = files.get(&name) else { return Some(WeightProblem::MissingTensor { name }) };
        if stored.shape() != self.shape {
            let (expected, found) = (self.shape.clone(), stored.shape().to_vec());
            return Some(WeightProblem::WrongShape { name, expected, found });
        }
        let format = stored.format();
        (!format.is_readable()).then(|| WeightProblem::UnsupportedDtype { name, dtype: format.name().into() })
    }
}

/// The layer that a tensor belongs to.
pub(super) fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}
