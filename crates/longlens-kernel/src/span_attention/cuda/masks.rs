//! What queries see of spans, as texts read it.

use std::ops::Range;

use cubecl::client::ComputeClient;
use cubecl::server::Handle;
use longlens_core::plan::{ReachTable, Span};

use crate::cube::GpuRuntime;
use crate::cube::known::upload_lists_once;
use crate::score::Score;
use crate::span_attention::intervals::NO_HOLES;

/// What every query sees of every span, and the factors of queries.
pub(super) struct Masks {
    /// First keys, one past the last ones, beginnings of bits, each `[spans, seq_q]`; factors, `[seq_q]`; words of bits.
    parts: [Vec<u32>; 5],
    /// Bit `s`: span `s` has holes.
    pub holes_of: u32,
}

impl Masks {
    pub fn of(spans: &[Span], queries: &Range<usize>, score: Score) -> Self {
        let (mut lo, mut hi, mut hole_start) = (Vec::new(), Vec::new(), Vec::new());
        let (mut words, mut holes_of) = (Vec::new(), 0);
        for (at, span) in spans.iter().enumerate() {
            if span.reach.table().is_some_and(ReachTable::has_holes) {
                holes_of |= 1 << at;
            }
            for query in queries.clone() {
                let keys = span.reach.keys(query);
                lo.push(keys.start as u32);
                hi.push(keys.end.max(keys.start) as u32);
                let Some(holes) = span.reach.holes(query) else {
                    hole_start.push(NO_HOLES);
                    continue;
                };
                // a word stands for 32 keys from a multiple of 32 on
                hole_start.push(words.len() as u32);
                let first = words.len();
                words.resize(first + keys.end.div_ceil(32) - keys.start / 32, 0);
                for key in keys.clone().filter(|key| holes.sees(*key)) {
                    words[first + key / 32 - keys.start / 32] |= 1 << (key % 32);
                }
            }
        }
        let factors = queries.clone().map(|query| score.factor(query).to_bits()).collect();
        Self { parts: [lo, hi, hole_start, factors, words], holes_of }
    }

    /// First keys, ends, beginnings of bits, factors, words of bits, and `more` numbers, which are at least one.
    pub fn upload<R: GpuRuntime>(&self, client: &ComputeClient<R>, device: &R::Device, more: &[u32]) -> [Handle; 6] {
        let [lo, hi, hole_start, factors, words] = &self.parts;
        let words = if words.is_empty() { &[0][..] } else { words };
        upload_lists_once::<R, 6>(client, device, [lo, hi, hole_start, factors, words, more])
    }
}
