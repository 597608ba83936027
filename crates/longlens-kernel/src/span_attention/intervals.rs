//! What a plan's spans show to some queries, written out as the numbers that GPU kernels read: no kernel knows a method, or a
//! formula of a reach.

use longlens_core::plan::{Holes, ReachTable, Span};

use crate::score::Score;

/// Numbers of [`Intervals`] before those of queries, for each span.
pub(crate) const HEADER: usize = 2;

/// Mark of a query that sees every key of its interval.
pub(crate) const NO_HOLES: u32 = u32::MAX;

/// Spans of consecutive queries as one list of 32-bit numbers, part after part:
///
/// | part | numbers | what |
/// |---|---|---|
/// | header | `[spans, 2]` | left to the launch: where the span's keys lie |
/// | bounds | `[spans, seq_q, 2]` | first key and one past the last |
/// | factors | `[seq_q]` | bits of the `f32` that products are multiplied by |
/// | holes | `[spans, seq_q]` | first word of a query's bits, or [`NO_HOLES`]; absent where no query has holes |
/// | words | | bits from an interval's first key on, lowest first: 1 is seen |
pub(crate) struct Intervals {
    pub numbers: Vec<u32>,
    pub has_holes: bool,
}

impl Intervals {
    /// Of the `seq_q` queries from token `first` on.
    pub fn of(spans: &[Span], first: usize, seq_q: usize, score: Score) -> Self {
        let mut numbers = vec![0; spans.len() * HEADER];
        let queries = first..first + seq_q;
        for span in spans {
            for query in queries.clone() {
                let keys = span.reach.keys(query);
                numbers.extend([keys.start as u32, keys.end.max(keys.start) as u32]);
            }
        }
        numbers.extend(queries.clone().map(|query| score.factor(query).to_bits()));
        let has_holes = spans.iter().any(|span| span.reach.table().is_some_and(ReachTable::has_holes));
        if has_holes {
            let mut words: Vec<u32> = Vec::new();
            for span in spans {
                for query in queries.clone() {
                    let holes = span.reach.holes(query);
                    numbers.push(holes.map_or(NO_HOLES, |_| words.len() as u32));
                    let of_query = holes.into_iter().flat_map(Holes::words);
                    words.extend(of_query.flat_map(|word| [*word as u32, (*word >> 32) as u32]));
                }
            }
            numbers.extend(words);
        }
        Self { numbers, has_holes }
    }

    /// Of the tokens of whole chunks, each of which sees its own chunk.
    pub fn of_chunks(n_tokens: usize, chunk_len: usize, factor: f32) -> Self {
        let mut numbers = vec![0; HEADER];
        for token in 0..n_tokens {
            let first = token / chunk_len * chunk_len;
            numbers.extend([first as u32, (first + chunk_len) as u32]);
        }
        numbers.extend(std::iter::repeat_n(factor.to_bits(), n_tokens));
        Self { numbers, has_holes: false }
    }

    /// Says where the keys of a span lie.
    pub fn place(&mut self, span: usize, header: [u32; HEADER]) {
        self.numbers[span * HEADER..][..HEADER].copy_from_slice(&header);
    }
}
