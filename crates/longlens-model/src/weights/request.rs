//! What a blueprint asks for, and which stored rows answer it.

/// Gives parameters by name: names and shapes for the check of the headers, numbers of a file, or random ones.
pub trait Parameters {
    /// Weights of a linear layer or an embedding.
    type Matrix;
    /// Numbers of a norm.
    type Vector;

    /// A matrix, or rows of a larger one, with its bias where it has one.
    fn matrix(&mut self, ask: Linear<'_>) -> Self::Matrix;

    /// `<name>.weight`, `[len]`, with `offset` added to every stored number: 0, or 1 where a norm multiplies by `1 + weight`;
    /// random weights have none added.
    fn norm_weight(&mut self, name: &str, len: usize, offset: f32) -> Self::Vector;

    /// `<name>.bias`, `[len]`.
    fn norm_bias(&mut self, name: &str, len: usize) -> Self::Vector;

    /// Factors and shifts of a layer norm over `len` numbers.
    fn layer_norm(&mut self, name: &str, len: usize, bias: bool) -> LayerNorm<Self::Vector> {
        LayerNorm { weight: self.norm_weight(name, len, 0.0), bias: bias.then(|| self.norm_bias(name, len)) }
    }

    /// What `one` asks for, for each of `n` experts of equal size, of which a token uses `n_used`.
    fn experts<T>(&mut self, n: usize, _n_used: usize, mut one: impl FnMut(&mut Self, usize) -> T) -> Vec<T>
    where
        Self: Sized,
    {
        (0..n).map(|expert| one(self, expert)).collect()
    }
}

/// Vectors of a layer norm.
#[derive(Debug, Clone)]
pub struct LayerNorm<V> {
    /// `<name>.weight`.
    pub weight: V,
    /// `<name>.bias`.
    pub bias: Option<V>,
}

/// A matrix among the tensors of a checkpoint: `<name>.weight`, and `<name>.bias` where it has one.
#[derive(Clone, Copy)]
pub struct Linear<'a> {
    pub(super) name: &'a str,
    /// `[d_out, d_in]` of the matrix.
    pub(super) shape: [usize; 2],
    pub(super) bias: bool,
    /// Rows of the stored tensor.
    pub(super) n_stored: usize,
    /// The stored row that is the matrix's first.
    first: usize,
    /// The stored row, counted from `first`, that is row `r` of the matrix; row `r` itself where it is absent.
    order: Option<&'a (dyn Fn(usize) -> usize + Sync)>,
}

impl<'a> Linear<'a> {
    /// A tensor that is a matrix of shape `[d_out, d_in]`.
    pub fn new(name: &'a str, shape: [usize; 2]) -> Self {
        Self { name, shape, bias: false, n_stored: shape[0], first: 0, order: None }
    }

    /// Whether a bias is added to its products.
    #[must_use]
    pub fn bias(self, bias: bool) -> Self {
        Self { bias, ..self }
    }

    /// Rows `first ..` of a stored tensor of `n_stored` rows, where one tensor holds several matrices.
    #[must_use]
    pub fn part_of(self, n_stored: usize, first: usize) -> Self {
        assert!(first + self.shape[0] <= n_stored, "{} rows from {first} on, of {n_stored}", self.shape[0]);
        Self { n_stored, first, ..self }
    }

    /// Row `r` of the matrix is stored as row `order(r)`, where a format keeps rows in another order. Counted from the first row
    /// of a part.
    #[must_use]
    pub fn stored_as(self, order: &'a (dyn Fn(usize) -> usize + Sync)) -> Self {
        Self { order: Some(order), ..self }
    }

    /// Where row `row` of the matrix stands in the stored tensor.
    pub(super) fn stored_row(&self, row: usize) -> usize {
        self.first + self.order.map_or(row, |order| order(row))
    }

    pub(super) fn weight_name(&self) -> String {
        weight(self.name)
    }

    pub(super) fn bias_name(&self) -> String {
        bias(self.name)
    }

    /// Fills `out` with rows of the matrix, `width` numbers each, from row `first` on; `read(at, numbers)` reads the stored tensor
    /// from number `at` on.
    pub(super) fn read(&self, width: usize, read: &dyn Fn(usize, &mut [f32]), first: usize, out: &mut [f32]) {
        if self.order.is_none() {
            return read((self.first + first) * width, out);
        }
        for (row, out) in (first..).zip(out.chunks_mut(width)) {
            read(self.stored_row(row) * width, out);
        }
    }
}

pub(super) fn weight(name: &str) -> String {
    format!("{name}.weight")
}

pub(super) fn bias(name: &str) -> String {
    format!("{name}.bias")
}
