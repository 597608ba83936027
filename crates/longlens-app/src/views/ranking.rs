//! Heads in the order of what they do from one query: which fetch the needle, which look narrowly, which look far.

use std::ops::Range;

use super::distance::DISTANCE;
use super::entropy::ENTROPY;
use crate::heads::Heads;

/// What heads are put in order by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadOrder {
    /// Layer by layer.
    #[default]
    Layers,
    /// Attention on the needle, or far away where there is none; most first.
    Score,
    /// Entropy of attention, the narrowest first.
    Entropy,
    /// Mean distance to keys, the farthest first.
    Distance,
}

/// Heads in an order, with the number of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// What they are put in order by.
    pub order: HeadOrder,
    /// Layers and heads from the first place to the last.
    pub heads: Vec<(usize, usize)>,
    /// Those with the best numbers first, also where the order is by layers.
    pub best: Vec<(usize, usize)>,
    /// `[n_layers, n_heads]`.
    numbers: Vec<f32>,
    n_heads: usize,
}

impl HeadOrder {
    /// The order after this one; after the last the first.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Layers => Self::Score,
            Self::Score => Self::Entropy,
            Self::Entropy => Self::Distance,
            Self::Distance => Self::Layers,
        }
    }

    /// What is put in order, in words.
    pub fn name(self, has_needle: bool) -> &'static str {
        match self {
            Self::Layers => "layer",
            Self::Score if has_needle => "needle attention",
            Self::Score => "far attention",
            Self::Entropy => "entropy",
            Self::Distance => "distance",
        }
    }
}

impl Ranking {
    /// The heads of an inspection; `needle` are the tokens that tell one.
    pub fn new(heads: &Heads, order: HeadOrder, needle: Option<&Range<usize>>) -> Self {
        let number = |(layer, head)| match order {
            HeadOrder::Layers | HeadOrder::Score => heads.score(layer, head, needle),
            HeadOrder::Entropy => (ENTROPY.number)(heads, (layer, head)),
            HeadOrder::Distance => (DISTANCE.number)(heads, (layer, head)),
        };
        let numbers: Vec<f32> = heads.all().map(number).collect();
        let n_heads = heads.shape.1;
        let of = |(layer, head): &(usize, usize)| numbers[layer * n_heads + head];
        let mut best: Vec<(usize, usize)> = heads.all().collect();
        // stable: equal heads stay in the order of layers
        match order {
            HeadOrder::Entropy => best.sort_by(|a, b| of(a).total_cmp(&of(b))),
            _ => best.sort_by(|a, b| of(b).total_cmp(&of(a))),
        }
        let listed = if order == HeadOrder::Layers { heads.all().collect() } else { best.clone() };
        Self { order, heads: listed, best, numbers, n_heads }
    }

    /// A head's number: its share of attention on the needle or far away, its entropy in nats, or its distance in tokens.
    pub fn number(&self, (layer, head): (usize, usize)) -> f32 {
        self.numbers.get(layer * self.n_heads + head).copied().unwrap_or(f32::NAN)
    }

    /// Every head's number, layer by layer.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// The place of a head in the order; the first where it has none.
    pub fn place(&self, head: (usize, usize)) -> usize {
        self.heads.iter().position(|known| *known == head).unwrap_or(0)
    }

    /// The head so many places on, at most the last.
    pub fn after(&self, head: (usize, usize), by: i64) -> Option<(usize, usize)> {
        let last = self.heads.len().checked_sub(1)?;
        let at = (self.place(head) as i64).saturating_add(by).clamp(0, last as i64);
        self.heads.get(at as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{Lens, Rows, Setup};
    use longlens_core::methods::Method;
    use longlens_core::scripted::ScriptedLens;

    use super::*;

    #[test]
    fn heads_come_in_the_order_of_what_they_do() {
        // head 2 of layer 1 looks at tokens 20 to 23, head 1 of layer 0 at its neighbours
        let mut lens = ScriptedLens::saying("ok").attending(|layer, head, query, key| match (layer, head) {
            (1, 2) if (20..24).contains(&key) => 500.0,
            (0, 1) if query - key < 2 => 5000.0,
            _ => 1.0,
        });
        let setup = Setup { keep_queries: true, ..Setup::new(&Method::full(), &lens.model().spec, 64).unwrap() };
        lens.begin(&setup).unwrap();
        lens.feed(&[9; 64], Rows::None, &mut ()).unwrap();
        let heads = Heads::new(lens.inspect(&Heads::watch(lens.model(), 63, 60..63, 4), &mut ()).unwrap(), 63).unwrap();
        let ranking = |order| Ranking::new(&heads, order, Some(&(20..24)));
        let by_layer = ranking(HeadOrder::Layers);
        assert_eq!((by_layer.heads[5], by_layer.best[0], by_layer.place((1, 2))), ((1, 1), (1, 2), 6));
        let by_needle = ranking(HeadOrder::Score);
        assert_eq!((by_needle.heads[0], by_needle.heads.len(), by_needle.place((1, 2))), ((1, 2), 8, 0));
        assert!(by_needle.number((1, 2)) > 0.9 && by_needle.number((0, 0)) < 0.1);
        assert_eq!(by_needle.after((1, 2), 1), Some((0, 0)), "equal heads stay in the order of layers");
        assert_eq!(by_needle.after((1, 2), i64::MAX), by_needle.heads.last().copied());
        assert_eq!(ranking(HeadOrder::Entropy).heads[0], (0, 1), "the narrowest first");
        assert_eq!(*ranking(HeadOrder::Distance).heads.last().unwrap(), (0, 1), "the nearest last");
        let mut order = HeadOrder::Layers;
        let names: Vec<_> = (0..5)
            .map(|_| {
                order = order.next();
                order.name(true)
            })
            .collect();
        assert_eq!(names, ["needle attention", "entropy", "distance", "layer", "needle attention"]);
    }
}
