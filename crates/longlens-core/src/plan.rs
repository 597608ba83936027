//! A method is a plan: which keys each query meets, and at which positions their rotary embeddings stand.
//!
//! From the same plan come the kernels' tile schedule, the position picture, the capacity and the warnings.
//! A plan that exists is valid; nothing downstream checks it again.

use std::ops::Range;
use std::sync::Arc;

use crate::chunk_choice::ChunkChoice;
use crate::setting::SettingError;

mod table;

pub use table::{Holes, PosTable, ReachTable, Written};

/// What one attention method does to any (query, key).
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The method's text form with every parameter written out.
    pub method: String,
    /// Key intervals with one position rule each; the spans of one query are disjoint.
    pub spans: Vec<Span>,
    /// Keys chosen by the data instead of by the spans (LongHeads).
    pub choice: Option<ChunkChoice>,
    /// Factor on each query's scores.
    pub query_scale: QueryScale,
    /// Factor on queries and keys that grows with the length seen.
    pub temperature: Option<Temperature>,
    /// How far the plan goes, if its spans are tables.
    pub written: Option<Written>,
}

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
    /// `j < n_sink` and `i - j >= window`.
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
}

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

/// Factor on the scores of query `i`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QueryScale {
    /// 1.
    Off,
    /// `max(1, ln(i + 1) / ln(base))`.
    Log(f64),
}

/// `0.05 ln(seen / trained) + 1` past the trained length, on the query and on the key of the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// Length up to which the factor is 1.
    pub trained: usize,
}

/// The prompt of a sequence: tokens that are known together; every later one arrives alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt {
    /// Tokens of the prompt.
    pub n_tokens: usize,
}

/// How a query sees a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Relation {
    /// Not at all.
    Hidden,
    /// At this relative position, in the span of this index.
    At(f64, usize),
    /// If the key's chunk is chosen, at a relative position in this range; `forced` chunks always are.
    Chosen {
        /// Smallest and largest relative position.
        between: (f64, f64),
        /// Whether the chunk is in every choice.
        forced: bool,
    },
}

/// The longest prompt whose positions stay trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capacity {
    /// This many tokens.
    Tokens(usize),
    /// Positions never leave the trained range.
    Unlimited,
}

/// Worth knowing, and no reason to refuse.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// Some relative positions were never trained.
    BeyondCapacity {
        /// Longest prompt inside the trained range.
        capacity: usize,
        /// Tokens asked for.
        n_tokens: usize,
        /// Highest relative position used.
        highest: f64,
        /// Trained positions.
        trained: usize,
    },
    /// The prompt is squeezed into few of the trained positions.
    SparsePositions {
        /// Highest relative position used.
        highest: f64,
        /// Trained positions.
        trained: usize,
    },
    /// Positions jump where two spans meet.
    UnevenSeam {
        /// Distance of the seam.
        distance: usize,
        /// Relative position just inside.
        inside: f64,
        /// Relative position just outside.
        outside: f64,
    },
}

impl Plan {
    /// A plan of spans alone.
    pub fn new(method: String, spans: impl Into<Vec<Span>>) -> Self {
        let (query_scale, spans) = (QueryScale::Off, spans.into());
        Self { method, spans, choice: None, query_scale, temperature: None, written: None }
    }

    /// How query `i` sees key `j`.
    pub fn relation(&self, i: usize, j: usize, prompt: Prompt) -> Relation {
        if let Some(slots) = self.choice.as_ref().and_then(|choice| choice.query(i, prompt)) {
            return slots.relation(j);
        }
        let found = self.spans.iter().enumerate().find(|(_, span)| span.reach.sees(i, j));
        found.map_or(Relation::Hidden, |(at, span)| Relation::At(span.relative(i, j), at))
    }

    /// First query whose keys are chosen by the data; later ones all are. `usize::MAX` when there is no choice.
    pub fn first_choice(&self, prompt: Prompt) -> usize {
        self.choice.as_ref().map_or(usize::MAX, |choice| choice.first(prompt))
    }

    /// The highest relative position that a prompt of `n_tokens` uses. 0 for an empty prompt.
    pub fn highest_position(&self, n_tokens: usize) -> f64 {
        if let Some(written) = &self.written {
            return written.highest_position(n_tokens);
        }
        let dense = n_tokens.min(self.first_choice(Prompt { n_tokens }));
        let spans = self.spans.iter().map(|span| span.highest(dense)).fold(0.0, f64::max);
        self.choice.as_ref().map_or(spans, |choice| spans.max(choice.highest(n_tokens)))
    }

    /// Tokens that the plan covers; nothing where it goes on for ever.
    pub fn covers(&self) -> Option<usize> {
        self.written.as_ref().map(Written::n_tokens)
    }

    /// Refuses sequences of `n_tokens` that are longer than the plan.
    pub fn check_length(&self, n_tokens: usize) -> Result<(), SettingError> {
        match &self.written {
            Some(written) if n_tokens > written.n_tokens() => {
                let (name, covers) = (written.name.clone(), written.n_tokens());
                Err(SettingError::TooLong { name, covers, n_tokens })
            }
            _ => Ok(()),
        }
    }

    /// The longest prompt whose relative positions all stay below `trained`; at most what the plan covers.
    pub fn capacity(&self, trained: usize) -> Capacity {
        let fits = |n_tokens: usize| self.highest_position(n_tokens) <= trained.saturating_sub(1) as f64;
        if fits(FAR) {
            return self.covers().map_or(Capacity::Unlimited, Capacity::Tokens);
        }
        // the highest position never falls as the prompt grows
        let (mut fitting, mut beyond) = (0, FAR);
        while beyond - fitting > 1 {
            let middle = fitting.midpoint(beyond);
            if fits(middle) {
                fitting = middle;
            } else {
                beyond = middle;
            }
        }
        Capacity::Tokens(fitting)
    }

    /// What a user should know before running `n_tokens` on a model with `trained` positions.
    pub fn warnings(&self, n_tokens: usize, trained: usize) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let highest = self.highest_position(n_tokens);
        if let Capacity::Tokens(capacity) = self.capacity(trained)
            && n_tokens > capacity
        {
            warnings.push(Warning::BeyondCapacity { capacity, n_tokens, highest, trained });
        }
        let groups = self.spans.iter().any(|span| span.key_pos.divide > 1);
        // a third: the window of exact positions alone may be a quarter
        if groups && n_tokens > trained && highest < trained as f64 / 3.0 {
            warnings.push(Warning::SparsePositions { highest, trained });
        }
        warnings.extend(self.seam(n_tokens));
        warnings
    }

    /// The largest jump of the relative position between a nearest span and the span behind it.
    fn seam(&self, n_tokens: usize) -> Option<Warning> {
        let [near @ Span { reach: Reach::Nearer(w), .. }, far @ Span { reach: Reach::AtLeast(_), .. }] =
            &self.spans[..]
        else {
            return None;
        };
        let distance = *w;
        // where groups begin decides the jump, so one query of each place in a group is looked at, of huge groups some
        let queries = (distance..n_tokens).rev().take(far.query_pos.divide.min(LOOKED_AT));
        let steps = queries.map(|i| (near.relative(i, i + 1 - distance), far.relative(i, i - distance)));
        let off = |(inside, outside): &(f64, f64)| (outside - inside - 1.0).abs();
        let (inside, outside) = steps.max_by(|a, b| off(a).total_cmp(&off(b)))?;
        // a third of a position needs no 17 digits
        let outside_shown = (outside * 1000.0).round() / 1000.0;
        (off(&(inside, outside)) > 1e-9).then_some(Warning::UnevenSeam { distance, inside, outside: outside_shown })
    }

    /// Factor on the rotated query and key of a token.
    pub fn amplitude(&self, seen: usize) -> f64 {
        self.temperature.map_or(1.0, |temperature| temperature.at(seen))
    }
}

/// Queries that the search for an uneven seam looks at, at most: a warning must not take longer than the run.
const LOOKED_AT: usize = 1 << 14;
/// Longer than any prompt, short enough to add to.
const FAR: usize = 1 << 48;

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
    /// A span's keys stand lowest at its first key, and the query's distance to that key never falls as the query
    /// advances, inside its chunk where positions restart; so one query holds the maximum.
    fn highest(&self, n_tokens: usize) -> f64 {
        let last_of_fullest_chunk =
            |first: usize, c: usize| Some(first + n_tokens.checked_sub(first)?.min(c).checked_sub(1)?);
        let query = match self.reach {
            Reach::SameChunk(c) => last_of_fullest_chunk(0, c),
            Reach::PreviousChunk(c) => last_of_fullest_chunk(c, c),
            Reach::EarlierChunks(c) => last_of_fullest_chunk(2 * c, c),
            Reach::Causal | Reach::Nearer(_) | Reach::AtLeast(_) | Reach::Sinks { .. } => n_tokens.checked_sub(1),
            // the plan knows the highest position of its tables
            Reach::Table(_) => None,
        };
        let keys = |i: &usize| !self.reach.keys(*i).is_empty();
        query.filter(keys).map_or(0.0, |i| self.relative(i, self.reach.keys(i).start))
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

impl QueryScale {
    /// Factor on the scores of query `i`.
    pub fn at(self, i: usize) -> f64 {
        match self {
            Self::Off => 1.0,
            Self::Log(base) => ((i as f64 + 1.0).ln() / base.ln()).max(1.0),
        }
    }
}

impl Temperature {
    /// Factor on cosine and sine of a token processed when `seen` tokens were known.
    pub fn at(self, seen: usize) -> f64 {
        if seen <= self.trained { 1.0 } else { 0.05 * (seen as f64 / self.trained as f64).ln() + 1.0 }
    }
}

impl Prompt {
    /// The sequence length that the model knows when it processes `token`.
    pub fn seen(self, token: usize) -> usize {
        if token < self.n_tokens { self.n_tokens } else { token + 1 }
    }
}

impl std::fmt::Display for Capacity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tokens(n_tokens) => write!(f, "{n_tokens} tokens"),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BeyondCapacity { capacity, n_tokens, highest, trained } => write!(
                f,
                "{n_tokens} tokens are beyond the capacity of {capacity}: relative positions reach {highest}, the model \
                 was trained below {trained}"
            ),
            Self::SparsePositions { highest, trained } => write!(
                f,
                "sparse positions: the whole prompt is squeezed into positions up to {highest} of {trained} trained ones; \
                 smaller groups would tell tokens apart better"
            ),
            Self::UnevenSeam { distance, inside, outside } => write!(
                f,
                "uneven seam: at distance {distance} the relative position jumps from {inside} to {outside} for some \
                 queries; it is even when group_size divides neighbor_window"
            ),
        }
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
        fn key_ranges_of_a_block_bound_those_of_its_queries(reach in reach(), start in 0..80usize, len in 1..40usize) {
            let (any, all) = (reach.keys_of_any(start..start + len), reach.keys_of_all(start..start + len));
            for i in start..start + len {
                let keys = reach.keys(i);
                prop_assert!(keys.is_empty() || (any.start <= keys.start && keys.end <= any.end));
                prop_assert!(all.is_empty() || (keys.start <= all.start && all.end <= keys.end));
            }
        }
    }

    #[test]
    fn positions_follow_their_rule() {
        let map = PosMap::identity().modulo(10).divide(2).shift(3.0).cap(6.0);
        assert_eq!((0..12).map(|t| map.at(t)).collect::<Vec<_>>(), [3., 3., 4., 4., 5., 5., 6., 6., 6., 6., 3., 3.]);
        assert_eq!(PosMap::constant(7.0).at(99).to_bits(), 7.0f64.to_bits());
    }
}
