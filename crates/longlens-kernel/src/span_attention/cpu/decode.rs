//! A few queries against many keys: the keys are shared out among threads.
//!
//! Each thread merges its keys in a softmax of its own; the parts merge by their log-sum-exp.

use std::ops::Range;

use burn_flex::Flex;

use super::{Shape, SpanAttention};
use crate::cpu::rotate::rotate_row;
use crate::cpu::run::{self, Keys, Part};
use crate::cpu::simd::{Aligned, Arch, Simd, WithSimd};
use crate::cpu::{AngleTensors, Angles, Parts, RowTensor, Rows, in_turn};

/// Fewer queries than this share out keys.
pub(super) const FEWER: usize = 4;
/// Keys that are worth a task.
const SHARE: usize = 1024;

pub(super) fn attend(arch: Arch, problem: &SpanAttention<'_, Flex>, outs: &Parts<f32>, lses: &Parts<f32>) {
    let shape = Shape::of(problem);
    let Shape { n_heads, n_kv_heads, n_rep, seq_q, head_dim } = shape;
    let [query, key, value] = [&problem.query, &problem.key, &problem.value].map(|t| RowTensor::new(t.clone()));
    let queries: Vec<_> = problem.rotary.iter().map(|rotary| AngleTensors::new(&rotary.query)).collect();
    let keys: Vec<_> = problem.rotary.iter().map(|rotary| AngleTensors::new(&rotary.key)).collect();
    for row in 0..seq_q {
        let token = problem.first_query + row;
        let pieces = pieces(problem, token);
        let n_tasks = n_kv_heads * pieces.len();
        let mut parts: Vec<Vec<Part>> = (0..n_tasks).map(|_| Vec::new()).collect();
        let slots = Parts::new(&mut parts);
        let one = |task: usize, scores: &mut Aligned| {
            let (span, tokens) = pieces[task % pieces.len()].clone();
            let kv_head = task / pieces.len();
            let angles = keys[span].rows();
            let holes = problem.spans[span].reach.holes(token);
            let cap = problem.score.log2_cap();
            let keys = Keys { key: key.rows(), value: value.rows(), angles, kv_head, head_dim, holes, cap };
            let (query, angles) = (query.rows(), queries[span].rows());
            let scale = problem.score.factor(token) * std::f32::consts::LOG2_E;
            // SAFETY: every task has a slot of its own
            let slot = unsafe { slots.slice(task, 1) };
            slot[0] = arch.dispatch(Piece { query, angles, scale, row, token, n_rep, keys, tokens, scores });
        };
        let scratch = || run::scores(n_rep, head_dim);
        if n_kv_heads * pieces.iter().map(|(_, keys)| keys.len()).sum::<usize>() >= SHARE {
            in_turn(n_tasks, scratch, one);
        } else {
            let mut scores = scratch();
            (0..n_tasks).for_each(|task| one(task, &mut scores));
        }
        for head in 0..n_heads {
            let (kv_head, rep) = (head / n_rep, head % n_rep);
            let own = parts[kv_head * pieces.len()..(kv_head + 1) * pieces.len()].iter().map(|parts| &parts[rep]);
            // SAFETY: one thread, one head and row at a time
            let (out, lse) =
                unsafe { (outs.slice((row * n_heads + head) * head_dim, head_dim), lses.slice(head * seq_q + row, 1)) };
            lse[0] = Part::merge(own, out);
        }
    }
}

/// Span and keys of every task of a key head.
fn pieces(problem: &SpanAttention<'_, Flex>, token: usize) -> Vec<(usize, Range<usize>)> {
    let cut = |seen: Range<usize>| {
        let step = seen.len().div_ceil(seen.len().div_ceil(SHARE).max(1)).max(1);
        seen.clone().step_by(step).map(move |start| start..(start + step).min(seen.end))
    };
    let spans = problem.spans.iter().enumerate();
    spans.flat_map(|(at, span)| cut(span.reach.keys(token)).map(move |keys| (at, keys))).collect()
}

/// One query of every head of a key head, against some keys of one span.
struct Piece<'a> {
    query: Rows<'a>,
    angles: Angles<'a>,
    scale: f32,
    row: usize,
    token: usize,
    n_rep: usize,
    keys: Keys<'a>,
    tokens: Range<usize>,
    scores: &'a mut Aligned,
}

impl WithSimd for Piece<'_> {
    type Output = Vec<Part>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<Part> {
        let Self { keys, n_rep, .. } = self;
        let head_dim = keys.head_dim;
        let mut queries = vec![0.0; n_rep * head_dim];
        for (rep, out) in queries.chunks_mut(head_dim).enumerate() {
            let query = self.query.of(keys.kv_head * n_rep + rep, self.row, head_dim);
            rotate_row(simd, query, self.angles.row(self.token), self.scale, out);
        }
        let mut parts: Vec<Part> = (0..n_rep).map(|_| Part::new(head_dim)).collect();
        run::attend(simd, &keys, self.tokens, &queries, &mut parts, self.scores);
        parts
    }
}
