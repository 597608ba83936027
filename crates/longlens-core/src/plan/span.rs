//! Spans: which keys a query meets by a formula or a table, and where both stand.

use std::ops::Range;
use std::sync::Arc;

use super::{Holes, PosMap, ReachTable};

/// A key interval per query with one position rule for the query and one for the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What pictures call it.
    pub name: &'static str,
    /// The keys a query meets here.
    pub reach: Reach,
    /// Where the query stands.
    pub query_pos: PosMap,
    /// Where the keys stand.
    pub key_pos: PosMap,
}

/// The keys a query `i` meets in a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// `j <= i`.
    Causal,
    /// `i - j < window`.
    Nearer(usize),
    /// `i - j >= window`.
    AtLeast(usize),
    /// `j < n_sink` and `i - j >= window`: the first keys without those that a span `Nearer(window)` meets.
    Sinks {
        /// Keys kept at the start.
        n_sink: usize,
        /// Keys nearer than this belong to the window.
        window: usize,
    },
    /// Same chunk of this length, up to the query.
    SameChunk(usize),
    /// The chunk before the query's.
    PreviousChunk(usize),
    /// All chunks before the previous one.
    EarlierChunks(usize),
    /// Keys written out query by query, with holes where the method has them; none past the table.
    Table(Arc<ReachTable>),
    /// Those of another reach that lie in a range.
    Part {
        /// The other reach; no table.
        of: Box<Reach>,
        /// The range of keys.
        keys: Range<usize>,
        /// Whether a query meets its own key alone.
        own: bool,
    },
}

impl Span {
    /// A span named `name`.
    pub fn new(name: &'static str, reach: Reach, query_pos: PosMap, key_pos: PosMap) -> Self {
        Self { name, reach, query_pos, key_pos }
    }

    /// Relative position of query `i` and key `j`.
    pub fn relative(&self, i: usize, j: usize) -> f64 {
        self.query_pos.at(i) - self.key_pos.at(j)
    }

    /// The highest relative position among queries below `n_tokens`.
    ///
    /// A span's keys stand lowest at its first key, and the query's distance to that key never falls as the query advances,
    /// inside its chunk where positions restart. So the last query holds the maximum, or the last one of the fullest chunk.
    pub(super) fn highest(&self, n_tokens: usize) -> f64 {
        let last_of_fullest_chunk =
            |first: usize, c: usize| Some(first + n_tokens.checked_sub(first)?.min(c).checked_sub(1)?);
        let in_chunk = match self.reach {
            Reach::SameChunk(c) => last_of_fullest_chunk(0, c),
            Reach::PreviousChunk(c) => last_of_fullest_chunk(c, c),
            Reach::EarlierChunks(c) => last_of_fullest_chunk(2 * c, c),
            Reach::Causal | Reach::Nearer(_) | Reach::AtLeast(_) | Reach::Sinks { .. } => None,
            // the plan knows the highest position of its tables
            Reach::Table(_) => return 0.0,
            // no key of a part stands further than those of the whole
            Reach::Part { ref of, .. } => return Self { reach: (**of).clone(), ..self.clone() }.highest(n_tokens),
        };
        let queries = in_chunk.into_iter().chain(n_tokens.checked_sub(1)).filter(|i| !self.reach.keys(*i).is_empty());
        queries.map(|i| self.relative(i, self.reach.keys(i).start)).fold(0.0, f64::max)
    }
}

impl Reach {
    /// The keys that query `i` meets, first to last; a table may have holes between them.
    pub fn keys(&self, i: usize) -> Range<usize> {
        match *self {
            Self::Causal => 0..i + 1,
            Self::Nearer(window) => (i + 1).saturating_sub(window)..i + 1,
            Self::AtLeast(window) => 0..(i + 1).saturating_sub(window),
            Self::Sinks { n_sink, window } => 0..n_sink.min((i + 1).saturating_sub(window)),
            Self::SameChunk(c) => i / c * c..i + 1,
            Self::PreviousChunk(c) => (i / c).saturating_sub(1) * c..i / c * c,
            Self::EarlierChunks(c) => 0..(i / c).saturating_sub(1) * c,
            Self::Table(ref table) => table.keys(i),
            Self::Part { ref of, ref keys, own } => {
                let within = |key: usize| key.clamp(keys.start, keys.end);
                let of = of.keys(i);
                let start = within(if own { of.start.max(i) } else { of.start });
                start..within(of.end).max(start)
            }
        }
    }

    /// Whether query `i` meets key `j`.
    pub fn sees(&self, i: usize, j: usize) -> bool {
        self.keys(i).contains(&j) && self.holes(i).is_none_or(|holes| holes.sees(j))
    }

    /// How many keys query `i` meets.
    pub fn n_keys(&self, i: usize) -> usize {
        self.holes(i).map_or_else(|| self.keys(i).len(), |holes| holes.n_seen())
    }

    /// Which of [`Reach::keys`] query `i` does not meet; nothing where it meets them all.
    #[inline]
    pub fn holes(&self, i: usize) -> Option<Holes<'_>> {
        self.table().and_then(|table| table.holes(i))
    }

    /// The table, if the keys are written out.
    #[inline]
    pub fn table(&self) -> Option<&ReachTable> {
        if let Self::Table(table) = self { Some(table) } else { None }
    }

    /// The keys that any query of `queries` meets, first to last. But for tables, both ends of a reach never move back as
    /// the query advances.
    pub fn keys_of_any(&self, queries: Range<usize>) -> Range<usize> {
        if queries.is_empty() {
            return 0..0;
        }
        if let Self::Table(table) = self {
            return table.keys_of_any(queries);
        }
        let (first, last) = (self.keys(queries.start), self.keys(queries.end - 1));
        first.start.min(last.start)..last.end
    }

    /// Keys without holes that every query of `queries` meets; none where a query has holes.
    pub fn keys_of_all(&self, queries: Range<usize>) -> Range<usize> {
        if queries.is_empty() {
            return 0..0;
        }
        if let Self::Table(table) = self {
            return table.keys_of_all(queries);
        }
        let (first, last) = (self.keys(queries.start), self.keys(queries.end - 1));
        last.start..first.end.max(last.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reach() -> impl Strategy<Value = Reach> {
        prop_oneof![
            Just(Reach::Causal),
            (1..20usize).prop_map(Reach::Nearer),
            (1..20usize).prop_map(Reach::AtLeast),
            (0..9usize, 1..20usize).prop_map(|(n_sink, window)| Reach::Sinks { n_sink, window }),
            (1..20usize).prop_map(Reach::SameChunk),
            (1..20usize).prop_map(Reach::PreviousChunk),
            (1..20usize).prop_map(Reach::EarlierChunks),
        ]
    }

    proptest! {
        #[test]
        fn the_highest_position_over_earlier_chunks_is_found_whether_positions_restart_or_not(
            c in 1..20usize, group in 1..9usize, n_tokens in 1..120usize,
        ) {
            let plain = PosMap::identity;
            for query_pos in [plain(), plain().divide(group), plain().modulo(c).shift(c as f64)] {
                let span = Span::new("far", Reach::EarlierChunks(c), query_pos, plain().modulo(c));
                let of = |i: usize| span.reach.keys(i).map(|j| span.relative(i, j)).fold(0.0, f64::max);
                let highest = (0..n_tokens).map(of).fold(0.0, f64::max);
                prop_assert!((span.highest(n_tokens) - highest).abs() < 1e-9, "{} is not {highest}", span.highest(n_tokens));
            }
        }

        #[test]
        fn key_ranges_of_a_block_bound_those_of_its_queries(reach in reach(), start in 0..80usize, len in 1..40usize) {
            let (any, all) = (reach.keys_of_any(start..start + len), reach.keys_of_all(start..start + len));
            for i in start..start + len {
                let keys = reach.keys(i);
                prop_assert!(keys.is_empty() || (any.start <= keys.start && keys.end <= any.end));
                prop_assert!(all.is_empty() || (keys.start <= all.start && all.end <= keys.end));
            }
        }
    }
}
