//! Keys that the data chooses: how they are cut into chunks, how chunks are scored, how many are picked and which always are,
//! and where the chosen ones stand.
//!
//! A choosing query attends to `n_slots` chunks. All but the last slot hold complete chunks in ascending order: the forced
//! ones and the best-scoring picks. The last slot holds the query's own, partial chunk.

use std::ops::Range;

use super::{Prefill, Relation};

/// A rule of choosing, made of what choosing methods differ in.
///
/// One way to choose cannot be said yet: keys that represent their chunk because later queries attended to them (`InfLLM`, Xiao et
/// al., 2024, arXiv:2402.04617). What represents a chunk is made once, when it is complete, of its own queries, keys and values
/// ([`ChunkScore`]). The first method that needs it adds a field here, and its reference in `longlens-kernel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkChoice {
    /// `w`: consecutive keys of a chunk.
    pub chunk_len: usize,
    /// `n`: chunks of a choice, the query's own included.
    pub n_slots: usize,
    /// Chunks at the start that every choice holds.
    pub n_first: usize,
    /// Newest complete chunks that every choice holds.
    pub n_newest: usize,
    /// How a query scores a chunk.
    pub score: ChunkScore,
    /// Where chosen chunks stand.
    pub slots: SlotPositions,
    /// Consecutive queries of the prompt that choose together, by the sum of their scores; 1: each for itself. It divides
    /// `chunk_len`, so that all of them have the same candidates.
    pub query_block: usize,
    /// Which queries of the prompt choose, and what they see of their own chunk.
    pub in_prompt: QueryRule,
    /// The same for generated tokens.
    pub generated: QueryRule,
}

/// Which queries choose, and what they see of their own chunk.
///
/// With chunks of 4 tokens and a choice from token 8 on, query 11 under `{ begin: 8, ahead: 0, sees: 1 }` ([`QueryRule::plain`]) is in chunk 2 and sees
/// keys 8 to 11 of it. With `sees: 0` it sees 8 to 10. With `ahead: 1` it counts as token 12: its own chunk is chunk 3, of which
/// it sees nothing yet, chunk 2 is the newest complete one, and choosing begins with query 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryRule {
    /// Query `t` chooses from `t + ahead >= begin` on; before, it sees what the spans show. [`QueryRule::NEVER`]: none does.
    pub begin: usize,
    /// Query `t` counts chunks as if it were token `t + ahead`: its own is `(t + ahead) / chunk_len`.
    pub ahead: usize,
    /// Of the own chunk the keys below `t + sees` are seen: 0 leaves the query's own key out, 1 includes it.
    pub sees: usize,
}

/// How a query scores a chunk: a product of a vector of the query with a vector that represents the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkScore {
    /// The query before rotation times a summary of the chunk: its keys, weighted by a query that stands for all queries of the
    /// chunk (LongHeads, arXiv:2402.10685, section 3.2).
    Summary,
    /// The highest product that the rotated query may have with a key between the chunk's least and greatest rotated key of
    /// every dimension: `sum_d max(q_d min_d, q_d max_d)` (Tang et al., 2024, arXiv:2406.10774, section 3.2).
    Bounds,
}

/// Where the keys of chosen chunks stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotPositions {
    /// Packed: slot `s` begins at position `s * chunk_len`, so a key keeps its offset in the chunk, and the query stands in the
    /// last slot.
    Packed,
    /// Where they are in the sequence; the query too.
    True,
}

/// The slots of one query before any score is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// Chunks to pick from by score.
    pub candidates: Range<usize>,
    /// The newest complete chunks, always chosen; so are chunks `0 .. candidates.start`.
    pub newest: Range<usize>,
    /// Picks by score.
    pub n_picks: usize,
    /// Keys of the last slot: the query's own partial chunk. May be empty.
    pub tail: Range<usize>,
    /// Where the query stands.
    pub query_pos: usize,
    /// Tokens of a chunk.
    pub chunk_len: usize,
    /// Where the keys stand.
    pub positions: SlotPositions,
}

impl QueryRule {
    /// A [`QueryRule::begin`] that no query reaches.
    pub const NEVER: usize = usize::MAX;

    /// Every query sees its own key and counts as itself, and chooses from token `begin` on.
    pub const fn plain(begin: usize) -> Self {
        Self { begin, ahead: 0, sees: 1 }
    }

    /// The first query that this rule lets choose.
    fn first(self) -> usize {
        if self.begin == Self::NEVER { usize::MAX } else { self.begin.saturating_sub(self.ahead) }
    }
}

impl ChunkChoice {
    /// Picks by score of every choice.
    pub fn n_picks(&self) -> usize {
        self.n_slots - 1 - self.n_first - self.n_newest
    }

    /// The queries that query `t`, which chooses, chooses together with: all of its block of the prompt that choose.
    pub fn together(&self, t: usize, prompt: Prefill) -> Range<usize> {
        if self.query_block == 1 || t >= prompt.n_tokens {
            return t..t + 1;
        }
        let start = t / self.query_block * self.query_block;
        start.max(self.first(prompt))..(start + self.query_block).min(prompt.n_tokens)
    }

    /// The rule of a query.
    pub fn rule(&self, t: usize, prompt: Prefill) -> QueryRule {
        if t < prompt.n_tokens { self.in_prompt } else { self.generated }
    }

    /// The slots of query `t`, or nothing while it sees what the spans show.
    pub fn query(&self, t: usize, prompt: Prefill) -> Option<Slots> {
        if t < self.first(prompt) {
            return None;
        }
        let (w, QueryRule { ahead, sees, .. }) = (self.chunk_len, self.rule(t, prompt));
        let own = (t + ahead) / w;
        Some(Slots {
            candidates: self.n_first..own - self.n_newest,
            newest: own - self.n_newest..own,
            n_picks: self.n_picks(),
            tail: own * w..t + sees,
            query_pos: match self.slots {
                SlotPositions::Packed => (self.n_slots - 1) * w + (t + ahead) % w - ahead,
                SlotPositions::True => t,
            },
            chunk_len: w,
            positions: self.slots,
        })
    }

    /// The first query that chooses; all later ones do.
    pub fn first(&self, prompt: Prefill) -> usize {
        match self.in_prompt.first() {
            first if first < prompt.n_tokens => first,
            _ => prompt.n_tokens.max(self.generated.first()),
        }
    }

    /// The highest relative position among queries of a prompt of `n_tokens`. In packed slots the query with the largest offset
    /// in its chunk reaches it.
    pub fn highest(&self, n_tokens: usize) -> f64 {
        let first = self.first(Prefill { n_tokens });
        if n_tokens <= first {
            return 0.0;
        }
        let (w, newest) = (self.chunk_len, n_tokens - 1);
        if self.slots == SlotPositions::True {
            return newest as f64;
        }
        // the last token of a chunk, if any query is one
        let offset = if first / w < n_tokens / w { w - 1 } else { newest % w };
        ((self.n_slots - 1) * w + offset) as f64
    }
}

impl Slots {
    /// Complete chunks in a choice: the forced ones and the picks.
    pub fn n_complete(&self) -> usize {
        self.candidates.start + self.n_picks + self.newest.len()
    }

    /// Whether a chunk is in every choice.
    pub fn forces(&self, chunk: usize) -> bool {
        chunk < self.candidates.start || self.newest.contains(&chunk)
    }

    /// The chunks of a choice in ascending order, from one score per candidate (`scores[0]` is the first candidate's) and the chunks
    /// that a head picks whatever they score ([`HeadPlan::forced`](super::HeadPlan::forced)). Equal scores: the lower chunk wins.
    pub fn choose(&self, scores: &[f32], forced: &[u32]) -> Vec<u32> {
        assert_eq!(scores.len(), self.candidates.len(), "one score per candidate chunk");
        assert!(scores.len() >= self.n_picks, "{} candidates for {} picks", scores.len(), self.n_picks);
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        let score = |at: u32| {
            let is_forced = forced.contains(&(at + self.candidates.start as u32));
            if is_forced { f32::INFINITY } else { scores[at as usize] }
        };
        let better = |a: &u32, b: &u32| score(*b).total_cmp(&score(*a)).then(a.cmp(b));
        if self.n_picks < order.len() {
            order.select_nth_unstable_by(self.n_picks, better);
            order.truncate(self.n_picks);
        }
        let mut chunks: Vec<u32> = order.into_iter().map(|at| at + self.candidates.start as u32).collect();
        chunks.extend((0..self.candidates.start).chain(self.newest.clone()).map(|chunk| chunk as u32));
        chunks.sort_unstable();
        chunks
    }

    /// How the query sees key `j`.
    pub fn relation(&self, j: usize) -> Relation {
        let chunk = j / self.chunk_len;
        let in_slot = |slot: usize| match self.positions {
            SlotPositions::Packed => self.query_pos as f64 - (slot * self.chunk_len + j % self.chunk_len) as f64,
            SlotPositions::True => self.query_pos as f64 - j as f64,
        };
        let forced = |slot| Relation::Chosen { between: (in_slot(slot), in_slot(slot)), forced: true };
        if self.tail.contains(&j) {
            forced(self.n_complete())
        } else if chunk < self.candidates.start {
            forced(chunk)
        } else if self.newest.contains(&chunk) {
            forced(self.candidates.start + self.n_picks + chunk - self.newest.start)
        } else if self.candidates.contains(&chunk) && self.n_picks > 0 {
            // the slot is the number of chosen chunks before it, whatever the others are
            let before = chunk - self.candidates.start;
            let after = self.candidates.end - 1 - chunk;
            let highest = self.candidates.start + before.min(self.n_picks - 1);
            let lowest = self.candidates.start + (self.n_picks - 1).saturating_sub(after);
            Relation::Chosen { between: (in_slot(highest), in_slot(lowest)), forced: false }
        } else {
            Relation::Hidden
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LongHeads as its authors' code has it.
    const CHOICE: ChunkChoice = ChunkChoice {
        chunk_len: 4,
        n_slots: 5,
        n_first: 1,
        n_newest: 1,
        score: ChunkScore::Summary,
        slots: SlotPositions::Packed,
        query_block: 1,
        in_prompt: QueryRule { begin: 20, ahead: 0, sees: 0 },
        generated: QueryRule { begin: 20, ahead: 1, sees: 1 },
    };

    #[test]
    fn ties_go_to_the_lower_chunk() {
        let slots = CHOICE.query(40, Prefill { n_tokens: 64 }).unwrap();
        assert_eq!((slots.candidates.clone(), slots.newest.clone(), slots.tail.clone()), (1..9, 9..10, 40..40));
        let scores = [1.0, 3.0, 2.0, 3.0, 3.0, 0.0, 0.0, 0.0];
        assert_eq!(slots.choose(&scores, &[]), [0, 2, 4, 9]);
        assert_eq!(slots.choose(&scores, &[7, 30]), [0, 2, 7, 9], "a forced chunk is picked, one to come is not");
    }

    #[test]
    fn a_generated_token_that_completes_its_chunk_has_no_tail() {
        let slots = CHOICE.query(43, Prefill { n_tokens: 30 }).unwrap();
        let found = (slots.candidates.clone(), slots.newest.clone(), slots.tail.clone(), slots.query_pos);
        assert_eq!(found, (1..10, 10..11, 44..44, 15));
        let before = CHOICE.query(42, Prefill { n_tokens: 30 }).unwrap();
        assert_eq!((before.newest.clone(), before.tail.clone(), before.query_pos), (9..10, 40..43, 18));
    }

    #[test]
    fn a_generated_token_chooses_one_token_earlier() {
        assert_eq!(CHOICE.first(Prefill { n_tokens: 64 }), 20);
        assert_eq!(CHOICE.first(Prefill { n_tokens: 20 }), 20);
        assert_eq!(CHOICE.first(Prefill { n_tokens: 8 }), 19);
    }

    #[test]
    fn a_prompt_that_never_chooses_begins_with_its_first_generated_token() {
        let choice = ChunkChoice { in_prompt: QueryRule::plain(QueryRule::NEVER), ..CHOICE };
        let first = |n_tokens| choice.first(Prefill { n_tokens });
        assert_eq!([first(64), first(8)], [64, 19]);
    }

    #[test]
    fn blocks_of_a_prompt_hold_the_queries_that_choose() {
        let choice = ChunkChoice { query_block: 4, in_prompt: QueryRule::plain(21), ..CHOICE };
        let prompt = Prefill { n_tokens: 31 };
        let together = |t| choice.together(t, prompt);
        assert_eq!(
            [together(21), together(23), together(24), together(30), together(31)],
            [21..24, 21..24, 24..28, 28..31, 31..32]
        );
        assert_eq!(CHOICE.together(23, prompt), 23..24);
        for t in 21..31 {
            let candidates = |t| choice.query(t, prompt).unwrap().candidates;
            assert!(together(t).all(|other| candidates(other) == candidates(t)), "{t}");
        }
    }

    #[test]
    fn at_true_positions_every_key_stands_where_it_is() {
        let plain = QueryRule::plain(20);
        let choice = ChunkChoice {
            n_first: 0,
            n_newest: 2,
            slots: SlotPositions::True,
            in_prompt: plain,
            generated: plain,
            ..CHOICE
        };
        let slots = choice.query(30, Prefill { n_tokens: 64 }).unwrap();
        assert_eq!((slots.candidates.clone(), slots.newest.clone(), slots.n_picks), (0..5, 5..7, 2));
        let at = |j| match slots.relation(j) {
            Relation::Chosen { between: (low, high), forced } => (low, high, forced),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [at(0), at(19), at(20), at(30)],
            [(30.0, 30.0, false), (11.0, 11.0, false), (10.0, 10.0, true), (0.0, 0.0, true)]
        );
        assert_eq!(slots.relation(31), Relation::Hidden);
    }
}
