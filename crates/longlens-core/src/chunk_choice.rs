//! Choosing chunks by the data: which keys a query of LongHeads meets once its chunks are picked.
//!
//! A query attends to `n_slots` chunks. All but the last slot hold complete chunks in ascending order: chunk 0, the newest
//! complete one, and the best-scoring picks. The last slot holds the query's own, partial chunk. Slot `s` stands at positions
//! `s * chunk_len ..`, so a key keeps its offset inside the chunk and only the query turns from slot to slot.

use std::ops::Range;

use crate::plan::{Prompt, Relation};

/// Which chunks may be chosen, and from where on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkChoice {
    /// `w`: tokens of a chunk.
    pub chunk_len: usize,
    /// `n`: slots, the query's own chunk included.
    pub n_slots: usize,
    /// `B`: queries before this see every key.
    pub begin_len: usize,
    /// Whose rule.
    pub variant: Variant,
}

/// The authors' code, or one rule for prompt and generated tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Prompt tokens do not see their own key; generated tokens follow a slightly different rule.
    Released,
    /// Every token sees itself, its own chunk and the one before.
    Consistent,
}

/// The slots of one query before the data has its say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// Chunks to pick from by score.
    pub candidates: Range<usize>,
    /// The newest complete chunk, always chosen beside chunk 0.
    pub newest: usize,
    /// Picks by score.
    pub n_picks: usize,
    /// Keys of the last slot: the query's own partial chunk. May be empty.
    pub tail: Range<usize>,
    /// Where the query stands; the first key of the first slot stands at 0.
    pub query_pos: usize,
    /// Tokens of a chunk.
    pub chunk_len: usize,
}

impl ChunkChoice {
    /// The slots of query `t`, or nothing while it sees every key.
    pub fn query(&self, t: usize, prompt: Prompt) -> Option<Slots> {
        if t < self.first(prompt) {
            return None;
        }
        let (w, n) = (self.chunk_len, self.n_slots);
        // (tokens before the own chunk's tail ends, query position)
        let (end, query_pos) = match self.variant {
            Variant::Consistent => (t + 1, (n - 1) * w + t % w),
            Variant::Released if t < prompt.n_tokens => (t, (n - 1) * w + t % w),
            Variant::Released => (t + 1, (n - 1) * w + (t + 1) % w - 1),
        };
        let own = match self.variant {
            Variant::Released if t >= prompt.n_tokens => (t + 1) / w,
            _ => t / w,
        };
        Some(Slots {
            candidates: 1..own - 1,
            newest: own - 1,
            n_picks: n - 3,
            tail: own * w..end,
            query_pos,
            chunk_len: w,
        })
    }

    /// The first query that chooses; all later ones do.
    pub fn first(&self, prompt: Prompt) -> usize {
        match self.variant {
            Variant::Consistent => self.begin_len,
            Variant::Released if self.begin_len < prompt.n_tokens => self.begin_len,
            // a generated token counts itself: it chooses one token earlier than a prompt token
            Variant::Released => prompt.n_tokens.max(self.begin_len - 1),
        }
    }

    /// The highest relative position among queries of a prompt of `n_tokens`: that of the largest offset in a chunk.
    pub fn highest(&self, n_tokens: usize) -> f64 {
        let first = self.first(Prompt { n_tokens });
        if n_tokens <= first {
            return 0.0;
        }
        let (w, newest) = (self.chunk_len, n_tokens - 1);
        // the last token of a chunk, if any query is one
        let offset = if first / w < n_tokens / w { w - 1 } else { newest % w };
        ((self.n_slots - 1) * w + offset) as f64
    }
}

impl Slots {
    /// Complete chunks in a choice: chunk 0, the newest, and the picks.
    pub fn n_complete(&self) -> usize {
        self.n_picks + 2
    }

    /// Whether a chunk is in every choice.
    pub fn forces(&self, chunk: usize) -> bool {
        chunk == 0 || chunk == self.newest
    }

    /// The chunks of a choice in ascending order, from one score per candidate (`scores[0]` is chunk 1's).
    /// Equal scores: the lower chunk wins.
    pub fn choose(&self, scores: &[f32]) -> Vec<u32> {
        assert_eq!(scores.len(), self.candidates.len(), "one score per candidate chunk");
        assert!(scores.len() >= self.n_picks, "{} candidates for {} picks", scores.len(), self.n_picks);
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        let better = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        if self.n_picks < order.len() {
            order.select_nth_unstable_by(self.n_picks, better);
            order.truncate(self.n_picks);
        }
        let mut chunks: Vec<u32> = order.into_iter().map(|at| at + self.candidates.start as u32).collect();
        chunks.extend([0, self.newest as u32]);
        chunks.sort_unstable();
        chunks
    }

    /// How the query sees key `j`.
    pub fn relation(&self, j: usize) -> Relation {
        let (w, n) = (self.chunk_len, self.n_complete());
        let at = |slot: usize| self.query_pos as f64 - (slot * w + j % w) as f64;
        if self.tail.contains(&j) {
            return Relation::Chosen { between: (at(n), at(n)), forced: true };
        }
        let chunk = j / w;
        match chunk {
            0 => Relation::Chosen { between: (at(0), at(0)), forced: true },
            _ if chunk == self.newest => Relation::Chosen { between: (at(n - 1), at(n - 1)), forced: true },
            _ if self.candidates.contains(&chunk) && self.n_picks > 0 => {
                // the slot is the number of chosen chunks before it, whatever the others are
                let before = chunk - self.candidates.start;
                let after = self.candidates.end - 1 - chunk;
                let highest = 1 + before.min(self.n_picks - 1);
                let lowest = 1 + (self.n_picks - 1).saturating_sub(after);
                Relation::Chosen { between: (at(highest), at(lowest)), forced: false }
            }
            _ => Relation::Hidden,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOICE: ChunkChoice = ChunkChoice { chunk_len: 4, n_slots: 5, begin_len: 20, variant: Variant::Released };

    #[test]
    fn ties_go_to_the_lower_chunk() {
        let slots = CHOICE.query(40, Prompt { n_tokens: 64 }).unwrap();
        assert_eq!((slots.candidates.clone(), slots.newest, slots.tail.clone()), (1..9, 9, 40..40));
        assert_eq!(slots.choose(&[1.0, 3.0, 2.0, 3.0, 3.0, 0.0, 0.0, 0.0]), [0, 2, 4, 9]);
    }

    #[test]
    fn a_generated_token_that_completes_its_chunk_has_no_tail() {
        let slots = CHOICE.query(43, Prompt { n_tokens: 30 }).unwrap();
        assert_eq!(
            (slots.candidates.clone(), slots.newest, slots.tail.clone(), slots.query_pos),
            (1..10, 10, 44..44, 15)
        );
        let before = CHOICE.query(42, Prompt { n_tokens: 30 }).unwrap();
        assert_eq!((before.newest, before.tail.clone(), before.query_pos), (9, 40..43, 18));
    }

    #[test]
    fn a_generated_token_chooses_one_token_earlier() {
        assert_eq!(CHOICE.first(Prompt { n_tokens: 64 }), 20);
        assert_eq!(CHOICE.first(Prompt { n_tokens: 20 }), 20);
        assert_eq!(CHOICE.first(Prompt { n_tokens: 8 }), 19);
    }
}
