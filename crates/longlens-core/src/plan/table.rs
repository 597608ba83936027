//! Spans written out query by query: what a method made of a user's function needs, and no formula says.

use std::ops::Range;
use std::sync::Arc;

use super::PosTable;

/// The keys of every query of a span, first to last, and bits where some between them are hidden.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct ReachTable {
    /// First key of each query, and one past the last; both 0 where it meets none.
    ends: Vec<(u32, u32)>,
    /// Per query its first word in `words`, [`NO_HOLES`] where it meets all of its keys; empty when no query has holes.
    holes: Vec<u32>,
    /// Bits from a query's first key on, lowest first: 1 is met.
    words: Vec<u64>,
}

/// Mark of a query without holes.
const NO_HOLES: u32 = u32::MAX;

/// Which keys between the first and the last of one query are met.
#[derive(Debug, Clone, Copy)]
pub struct Holes<'a> {
    first: usize,
    n_keys: usize,
    words: &'a [u64],
}

/// What is known of a plan as a whole when its spans are tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The method's name in errors.
    pub name: String,
    /// The highest relative position of queries up to each, at least 0.
    highest: PosTable,
}

impl ReachTable {
    /// Adds the next query, which meets these keys, in ascending order.
    pub fn push(&mut self, keys: &[u32]) {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            self.ends.push((0, 0));
            self.push_holes(NO_HOLES);
            return;
        };
        let (first, end) = (*first, last + 1);
        self.ends.push((first, end));
        if keys.len() == (end - first) as usize {
            self.push_holes(NO_HOLES);
            return;
        }
        if self.holes.is_empty() {
            self.holes = vec![NO_HOLES; self.ends.len() - 1];
        }
        let start = self.words.len();
        self.holes.push(u32::try_from(start).expect("tables are far smaller than 2^32 words"));
        self.words.resize(start + ((end - first) as usize).div_ceil(64), 0);
        for key in keys {
            let at = (key - first) as usize;
            self.words[start + at / 64] |= 1 << (at % 64);
        }
    }

    fn push_holes(&mut self, mark: u32) {
        if !self.holes.is_empty() {
            self.holes.push(mark);
        }
    }

    /// Whether no query meets a key.
    pub fn is_empty(&self) -> bool {
        self.ends.iter().all(|(first, end)| first == end)
    }

    /// Whether some query has holes between its keys.
    pub fn has_holes(&self) -> bool {
        !self.words.is_empty()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.ends) + size_of_val(&*self.holes) + size_of_val(&*self.words)
    }

    /// The keys of query `i`, first to last; none past the table.
    pub fn keys(&self, i: usize) -> Range<usize> {
        self.ends.get(i).map_or(0..0, |(first, end)| *first as usize..*end as usize)
    }

    /// Which of its keys query `i` does not meet.
    #[inline]
    pub fn holes(&self, i: usize) -> Option<Holes<'_>> {
        let start = *self.holes.get(i).filter(|start| **start != NO_HOLES)? as usize;
        let keys = self.keys(i);
        let words = &self.words[start..start + keys.len().div_ceil(64)];
        Some(Holes { first: keys.start, n_keys: keys.len(), words })
    }

    /// The keys that any query of `queries` meets, first to last.
    pub fn keys_of_any(&self, queries: Range<usize>) -> Range<usize> {
        let rows = self.rows(&queries).iter().filter(|(first, end)| first < end);
        let hull = rows.fold((u32::MAX, 0), |hull, row| (hull.0.min(row.0), hull.1.max(row.1)));
        if hull.0 < hull.1 { hull.0 as usize..hull.1 as usize } else { 0..0 }
    }

    /// Keys that every query of `queries` meets; none where one has holes.
    pub fn keys_of_all(&self, queries: Range<usize>) -> Range<usize> {
        let rows = self.rows(&queries);
        let marks = self.holes.get(queries.start..queries.end.min(self.holes.len())).unwrap_or_default();
        if rows.len() < queries.len() || marks.iter().any(|mark| *mark != NO_HOLES) {
            return 0..0;
        }
        let common = rows.iter().fold((0, u32::MAX), |common, row| (common.0.max(row.0), common.1.min(row.1)));
        if common.0 < common.1 { common.0 as usize..common.1 as usize } else { 0..0 }
    }

    fn rows(&self, queries: &Range<usize>) -> &[(u32, u32)] {
        self.ends.get(queries.start..queries.end.min(self.ends.len())).unwrap_or_default()
    }
}

impl<'a> Holes<'a> {
    /// Bits from the query's first key on, lowest first: 1 is met.
    pub fn words(self) -> &'a [u64] {
        self.words
    }

    /// Whether the query meets `key`, which is one of [`ReachTable::keys`].
    #[inline]
    pub fn sees(&self, key: usize) -> bool {
        let at = key - self.first;
        self.words[at / 64] >> (at % 64) & 1 == 1
    }

    /// Keys that the query meets.
    pub fn n_seen(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Calls `each` with every hidden key of `keys` that lies between the query's first and last.
    #[inline]
    pub fn hidden(&self, keys: Range<usize>, mut each: impl FnMut(usize)) {
        let start = keys.start.max(self.first) - self.first;
        let end = keys.end.clamp(self.first, self.first + self.n_keys) - self.first;
        let mut at = start;
        while at < end {
            let until = ((at / 64 + 1) * 64).min(end);
            let mut hidden = !self.words[at / 64] >> (at % 64);
            if until - at < 64 {
                hidden &= (1 << (until - at)) - 1;
            }
            while hidden != 0 {
                each(self.first + at + hidden.trailing_zeros() as usize);
                hidden &= hidden - 1;
            }
            at = until;
        }
    }
}

impl Written {
    /// A plan for as many tokens as `highest` has; it holds the highest relative position of queries up to each.
    pub fn new(name: impl Into<String>, highest: impl Into<Arc<[f64]>>) -> Self {
        Self { name: name.into(), highest: PosTable(highest.into()) }
    }

    /// Tokens that the plan was written out for.
    pub fn n_tokens(&self) -> usize {
        self.highest.0.len()
    }

    /// The highest relative position that `n_tokens` use.
    pub fn highest_position(&self, n_tokens: usize) -> f64 {
        n_tokens.checked_sub(1).map_or(0.0, |last| self.highest.at(last))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_holds_what_was_pushed(
            rows in prop::collection::vec(prop::collection::btree_set(0..200u32, 0..90), 1..40), start in 0..40usize, len in 1..40usize,
        ) {
            let mut table = ReachTable::default();
            for row in &rows {
                table.push(&row.iter().copied().collect::<Vec<_>>());
            }
            let sees = |i: usize, j: usize| {
                table.keys(i).contains(&j) && table.holes(i).is_none_or(|holes| holes.sees(j))
            };
            for (i, row) in rows.iter().enumerate() {
                prop_assert!((0..210).all(|j| sees(i, j) == row.contains(&(j as u32))));
                let keys = table.keys(i);
                if let Some(holes) = table.holes(i) {
                    prop_assert_eq!(holes.n_seen(), row.len());
                    let mut hidden = Vec::new();
                    holes.hidden(start..start + 3 * len, |key| hidden.push(key));
                    let expected: Vec<_> = (start..start + 3 * len).filter(|j| keys.contains(j) && !sees(i, *j)).collect();
                    prop_assert_eq!(hidden, expected);
                } else {
                    prop_assert_eq!(keys.len(), row.len());
                }
            }
            let queries = start..start + len;
            let (any, all) = (table.keys_of_any(queries.clone()), table.keys_of_all(queries.clone()));
            let union: std::collections::BTreeSet<_> = queries.clone().flat_map(|i| (0..200).filter(move |j| sees(i, *j))).collect();
            prop_assert_eq!(union.first().copied().unwrap_or(0)..union.last().map_or(0, |last| last + 1), any);
            prop_assert!(queries.into_iter().all(|i| all.clone().all(|j| sees(i, j))));
            prop_assert!(table.keys(rows.len()).is_empty());
        }
    }
}
