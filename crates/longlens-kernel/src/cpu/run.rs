//! A few queries against a run of keys, rotated while they are read: what a generated token needs.
//!
//! Keys and values are read once, in the order in which they lie, so that the run costs what memory costs.

use std::ops::Range;

use longlens_core::plan::Holes;

use super::rotate::rotate_row;
use super::simd::{Aligned, Simd, dot, exp2, load, soft_cap, store};
use super::tile::{LOWEST, Values, lse};
use super::{Angles, Rows};

/// Keys whose scores are held at once.
const KEYS: usize = 128;

/// Keys and values of one key head.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub key: Rows<'a>,
    pub value: Rows<'a>,
    pub angles: Angles<'a>,
    pub kv_head: usize,
    pub head_dim: usize,
    /// Keys that the query does not see, if some between the first and the last are hidden.
    pub holes: Option<Holes<'a>>,
    /// Bound of scores in powers of two, if there is one.
    pub cap: Option<f32>,
}

/// Softmax of one query over the keys so far.
pub(crate) struct Part {
    max: f32,
    sum: f32,
    out: Vec<f32>,
}

impl Part {
    pub(crate) fn new(head_dim: usize) -> Self {
        Self { max: LOWEST, sum: 0.0, out: vec![0.0; head_dim] }
    }

    /// Merges parts by their maxima and sums; returns the log-sum-exp.
    pub(crate) fn merge<'a>(parts: impl Iterator<Item = &'a Self> + Clone, out: &mut [f32]) -> f32 {
        let max = parts.clone().map(|part| part.max).fold(LOWEST, f32::max);
        let mut sum = 0.0;
        out.fill(0.0);
        for part in parts {
            let share = (part.max - max).exp2();
            sum += share * part.sum;
            out.iter_mut().zip(&part.out).for_each(|(out, x)| *out += share * x);
        }
        let share = if sum == 0.0 { 0.0 } else { sum.recip() };
        for x in &mut *out {
            *x *= share;
        }
        lse(max, sum)
    }
}

/// Room for the scores of `n` queries and for one rotated key.
pub(crate) fn scores(n: usize, head_dim: usize) -> Aligned {
    Aligned::zeros(n * KEYS + head_dim)
}

/// Adds a run of keys to the parts of some queries, `[parts, head_dim]`, rotated and times `log2 e`. `scores` is room of
/// [`scores`].
#[inline(always)]
pub(crate) fn attend<S: Simd>(
    simd: S,
    keys: &Keys<'_>,
    tokens: Range<usize>,
    queries: &[f32],
    parts: &mut [Part],
    scores: &mut [f32],
) {
    let Keys { key, value, angles, kv_head, head_dim, holes, cap } = *keys;
    let (scores, rotated) = scores.split_at_mut(parts.len() * KEYS);
    for start in tokens.clone().step_by(KEYS) {
        let run = start..(start + KEYS).min(tokens.end);
        for (at, token) in run.clone().enumerate() {
            if holes.is_some_and(|holes| !holes.sees(token)) {
                scores.chunks_exact_mut(KEYS).for_each(|scores| scores[at] = f32::NEG_INFINITY);
                continue;
            }
            let (key, angles) = (key.of(kv_head, token, head_dim), angles.row(token));
            if parts.len() == 1 {
                scores[at] = rotated_dot(simd, queries, key, angles);
                continue;
            }
            rotate_row(simd, key, angles, 1.0, &mut rotated[..head_dim]);
            for (query, scores) in queries.chunks_exact(head_dim).zip(scores.chunks_exact_mut(KEYS)) {
                scores[at] = dot(simd, query, &rotated[..head_dim]);
            }
        }
        for (part, scores) in parts.iter_mut().zip(scores.chunks_exact_mut(KEYS)) {
            let scores = &mut scores[..run.len()];
            if let Some(bound) = cap {
                soft_cap(simd, scores, bound);
            }
            let max = scores.iter().copied().fold(part.max, f32::max);
            let kept = (part.max - max).exp2();
            part.sum = part.sum * kept + weigh(simd, scores, max);
            part.max = max;
            if kept < 1.0 {
                for x in &mut part.out {
                    *x *= kept;
                }
            }
        }
        let Some(holes) = holes else {
            add_all(simd, parts, scores, value.from(kv_head, run.start), run.len());
            continue;
        };
        for (at, token) in run.enumerate() {
            // no weight of zero either: hidden values may be anything
            if !holes.sees(token) {
                continue;
            }
            let value = value.of(kv_head, token, head_dim);
            for (part, scores) in parts.iter_mut().zip(scores.chunks_exact(KEYS)) {
                add(simd, &mut part.out, scores[at], value);
            }
        }
    }
}

/// `q · R k`: a key rotated in registers.
#[inline(always)]
fn rotated_dot<S: Simd>(simd: S, query: &[f32], key: &[f32], (cos, sin): (&[f32], &[f32])) -> f32 {
    let half = cos.len();
    let (q, q_beyond) = query.split_at(2 * half);
    let (k, k_beyond) = key.split_at(2 * half);
    let ((q1, q2), (k1, k2)) = (q.split_at(half), k.split_at(half));
    let mut sum = simd.splat_f32s(0.0);
    let lanes = S::F32_LANES;
    let whole = half / lanes * lanes;
    for m in (0..whole).step_by(lanes) {
        // SAFETY: `m + lanes <= half`, the length of all six
        sum = unsafe {
            let q = (load(simd, q1.as_ptr().add(m)), load(simd, q2.as_ptr().add(m)));
            let k = (load(simd, k1.as_ptr().add(m)), load(simd, k2.as_ptr().add(m)));
            pair(simd, q, k, load(simd, cos.as_ptr().add(m)), load(simd, sin.as_ptr().add(m)), sum)
        };
    }
    if whole < half {
        let q = (simd.partial_load_f32s(&q1[whole..]), simd.partial_load_f32s(&q2[whole..]));
        let k = (simd.partial_load_f32s(&k1[whole..]), simd.partial_load_f32s(&k2[whole..]));
        sum = pair(simd, q, k, simd.partial_load_f32s(&cos[whole..]), simd.partial_load_f32s(&sin[whole..]), sum);
    }
    for (q, k) in q_beyond.chunks(lanes).zip(k_beyond.chunks(lanes)) {
        sum = simd.mul_add_e_f32s(simd.partial_load_f32s(q), simd.partial_load_f32s(k), sum);
    }
    simd.reduce_sum_f32s(sum)
}

/// `sum + q1 (k1 cos - k2 sin) + q2 (k2 cos + k1 sin)`, sorted by what the angle multiplies.
#[inline(always)]
fn pair<S: Simd>(
    simd: S,
    (q1, q2): (S::f32s, S::f32s),
    (k1, k2): (S::f32s, S::f32s),
    cos: S::f32s,
    sin: S::f32s,
    sum: S::f32s,
) -> S::f32s {
    let straight = simd.mul_add_e_f32s(q1, k1, simd.mul_f32s(q2, k2));
    let crossed = simd.sub_f32s(simd.mul_f32s(q2, k1), simd.mul_f32s(q1, k2));
    simd.mul_add_e_f32s(cos, straight, simd.mul_add_e_f32s(sin, crossed, sum))
}

/// Scores become weights `2^(s - max)`; returns their sum.
#[inline(always)]
fn weigh<S: Simd>(simd: S, scores: &mut [f32], max: f32) -> f32 {
    let mut sum = simd.splat_f32s(0.0);
    let max = simd.splat_f32s(max);
    let whole = scores.len() / S::F32_LANES * S::F32_LANES;
    let (vectors, rest) = scores.split_at_mut(whole);
    for x in vectors.chunks_exact_mut(S::F32_LANES) {
        // SAFETY: a chunk is one vector
        unsafe {
            let weight = exp2(simd, simd.sub_f32s(load(simd, x.as_ptr()), max));
            sum = simd.add_f32s(sum, weight);
            store(simd, x.as_mut_ptr(), weight);
        }
    }
    if !rest.is_empty() {
        let weight = exp2(simd, simd.sub_f32s(simd.partial_load_f32s(rest), max));
        simd.partial_store_f32s(rest, weight);
    }
    simd.reduce_sum_f32s(sum) + rest.iter().sum::<f32>()
}

/// Adds `n` values, row by row of `values`, times their weights to the parts.
#[inline(always)]
fn add_all<S: Simd>(simd: S, parts: &mut [Part], weights: &[f32], values: Values<'_>, n: usize) {
    let mut first = 0;
    while first < parts.len() {
        let (parts, weights) = (&mut parts[first..], &weights[first * KEYS..]);
        first += match parts.len() {
            1 => add_each::<S, 1>(simd, parts, weights, values, n),
            2 => add_each::<S, 2>(simd, parts, weights, values, n),
            _ => add_each::<S, 3>(simd, parts, weights, values, n),
        };
    }
}

/// The same for the first `R` parts, whose sums stay in registers for a few vectors of dimensions at a time; returns `R`.
#[inline(always)]
fn add_each<S: Simd, const R: usize>(
    simd: S,
    parts: &mut [Part],
    weights: &[f32],
    values: Values<'_>,
    n: usize,
) -> usize {
    let (lanes, head_dim) = (S::F32_LANES, parts[0].out.len());
    assert!(n > 0 && n <= KEYS && weights.len() >= R * KEYS && parts.len() >= R, "{n} weights of {R}");
    assert!(values.numbers.len() >= (n - 1) * values.stride + head_dim, "values of {n} keys");
    let whole = head_dim / lanes * lanes;
    let mut d = 0;
    while d < whole {
        // SAFETY: `d` and as many vectors end before the row does, and there are `n` rows and weights
        unsafe {
            d += lanes
                * match (whole - d) / lanes {
                    4.. => add_vectors::<S, R, 4>(simd, parts, weights, values, n, d),
                    2.. => add_vectors::<S, R, 2>(simd, parts, weights, values, n, d),
                    _ => add_vectors::<S, R, 1>(simd, parts, weights, values, n, d),
                };
        }
    }
    if whole < head_dim {
        for at in 0..n {
            let value = &values.numbers[at * values.stride..][whole..head_dim];
            for (part, weights) in parts[..R].iter_mut().zip(weights.chunks_exact(KEYS)) {
                add(simd, &mut part.out[whole..], weights[at], value);
            }
        }
    }
    R
}

/// The same for `DV` vectors from dimension `d` on; returns `DV`.
///
/// # Safety
/// The vectors are inside a row and a part, and there are `n` rows and weights.
#[inline(always)]
unsafe fn add_vectors<S: Simd, const R: usize, const DV: usize>(
    simd: S,
    parts: &mut [Part],
    weights: &[f32],
    values: Values<'_>,
    n: usize,
    d: usize,
) -> usize {
    let lanes = S::F32_LANES;
    let mut sums = [[simd.splat_f32s(0.0); DV]; R];
    // SAFETY: as the caller promises
    unsafe {
        for r in 0..R {
            for v in 0..DV {
                sums[r][v] = load(simd, parts[r].out.as_ptr().add(d + v * lanes));
            }
        }
        for at in 0..n {
            let row = values.numbers.as_ptr().add(at * values.stride + d);
            let mut value = [simd.splat_f32s(0.0); DV];
            for v in 0..DV {
                value[v] = load(simd, row.add(v * lanes));
            }
            for r in 0..R {
                let weight = simd.splat_f32s(*weights.as_ptr().add(r * KEYS + at));
                for v in 0..DV {
                    sums[r][v] = simd.mul_add_e_f32s(weight, value[v], sums[r][v]);
                }
            }
        }
        for r in 0..R {
            for v in 0..DV {
                store(simd, parts[r].out.as_mut_ptr().add(d + v * lanes), sums[r][v]);
            }
        }
    }
    DV
}

/// `out += weight * value`.
#[inline(always)]
fn add<S: Simd>(simd: S, out: &mut [f32], weight: f32, value: &[f32]) {
    let lanes = S::F32_LANES;
    let weight = simd.splat_f32s(weight);
    for (out, value) in out.chunks_mut(lanes).zip(value.chunks(lanes)) {
        if out.len() == lanes {
            // SAFETY: both hold one vector
            unsafe {
                let sum = simd.mul_add_e_f32s(weight, load(simd, value.as_ptr()), load(simd, out.as_ptr()));
                store(simd, out.as_mut_ptr(), sum);
            }
        } else {
            let sum = simd.mul_add_e_f32s(weight, simd.partial_load_f32s(value), simd.partial_load_f32s(out));
            simd.partial_store_f32s(out, sum);
        }
    }
}
