//! Where tokens stand, and how much of the sequence is known with each.

use std::sync::Arc;

/// Position of a token: `min(floor((t mod modulo) / divide) + add, cap)`, or what a table says.
#[derive(Debug, Clone, PartialEq)]
pub struct PosMap {
    /// Chunk length that positions restart at, if any.
    pub modulo: Option<usize>,
    /// Tokens that share one position.
    pub divide: usize,
    /// Shift; fractions are legal positions.
    pub add: f64,
    /// Highest position, if any.
    pub cap: Option<f64>,
    /// Positions written out token by token; the rule above does not count then.
    pub table: Option<PosTable>,
}

/// Positions of tokens, one after the other.
#[derive(Debug, Clone)]
pub struct PosTable(pub(crate) Arc<[f64]>);

/// The prompt of a sequence: tokens that are known together; every later one arrives alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefill {
    /// Tokens of the prompt.
    pub n_tokens: usize,
}

impl PosMap {
    /// The token's own index.
    pub const fn identity() -> Self {
        Self { modulo: None, divide: 1, add: 0.0, cap: None, table: None }
    }

    /// The same position for every token.
    pub const fn constant(position: f64) -> Self {
        Self { modulo: Some(1), divide: 1, add: position, cap: None, table: None }
    }

    /// Positions written out token by token; later tokens stand where the last one does.
    pub fn written(positions: impl Into<Arc<[f64]>>) -> Self {
        Self { table: Some(PosTable(positions.into())), ..Self::identity() }
    }

    /// Index inside chunks of `c` tokens.
    #[must_use]
    pub const fn modulo(mut self, c: usize) -> Self {
        self.modulo = Some(c);
        self
    }

    /// `g` tokens share a position.
    #[must_use]
    pub const fn divide(mut self, g: usize) -> Self {
        self.divide = g;
        self
    }

    /// Adds to every position.
    #[must_use]
    pub const fn shift(mut self, by: f64) -> Self {
        self.add = by;
        self
    }

    /// No position above `highest`.
    #[must_use]
    pub const fn cap(mut self, highest: f64) -> Self {
        self.cap = Some(highest);
        self
    }

    /// The position of token `t`.
    pub fn at(&self, t: usize) -> f64 {
        if let Some(table) = &self.table {
            return table.at(t);
        }
        let index = self.modulo.map_or(t, |c| t % c) / self.divide;
        let position = index as f64 + self.add;
        self.cap.map_or(position, |highest| position.min(highest))
    }
}

impl PosTable {
    /// The position of token `t`; later tokens stand where the last one does.
    pub fn at(&self, t: usize) -> f64 {
        self.0.get(t).or(self.0.last()).copied().unwrap_or(0.0)
    }
}

/// The same table is found by its address: equal rules share rotated keys, and the question is asked for every pair of spans.
impl PartialEq for PosTable {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Prefill {
    /// The sequence length that the model knows when it processes `token`.
    pub fn seen(self, token: usize) -> usize {
        if token < self.n_tokens { self.n_tokens } else { token + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_follow_their_rule() {
        let map = PosMap::identity().modulo(10).divide(2).shift(3.0).cap(6.0);
        assert_eq!((0..12).map(|t| map.at(t)).collect::<Vec<_>>(), [3., 3., 4., 4., 5., 5., 6., 6., 6., 6., 3., 3.]);
        assert_eq!(PosMap::constant(7.0).at(99).to_bits(), 7.0f64.to_bits());
    }
}
