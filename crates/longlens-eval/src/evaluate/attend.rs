//! What the token before the answer attends to: the share that every head gives to the evidence, and the passages that get the most.
//!
//! A head that fetches what is asked for gives much of its attention to the evidence at that token (Wu et al., 2024, "Retrieval Head
//! Mechanistically Explains Long-Context Factuality", arXiv:2404.15574, score heads by what the answer's own tokens copy; here it is
//! the attention itself, so that heads are told apart which look and do not copy).

use std::ops::Range;
use std::sync::Arc;

use longlens_core::lens::Lens;
use longlens_core::trace::{Chunks, Queries, Trace, Watch, WatchMass};
use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::sample::Sample;

/// What the token before the answer attended to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attended {
    /// Tokens that hold the answer, as pairs of the first and one past the last.
    pub evidence: Vec<(usize, usize)>,
    /// Attention to the evidence, `[n_layers][n_heads]`, to three digits; empty where the task does not know the evidence.
    pub heads: Vec<Vec<f32>>,
    /// The passages with the most attention over all heads, the highest first.
    pub passages: Vec<Passage>,
}

/// A passage of the prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// Its first token and one past its last.
    pub tokens: (usize, usize),
    /// Mean attention of all heads to it; the first token of the text, which takes what no other does, is left out.
    pub mass: f32,
    /// Its text.
    pub text: String,
}

/// Tokens of a passage.
pub const PASSAGE: usize = 48;
/// Passages that are kept.
const MOST: usize = 5;

/// Where to look in a prompt.
pub(super) struct Looks {
    /// First tokens of the parts whose attention is summed, ascending from 0.
    starts: Arc<[usize]>,
    evidence: Vec<Range<usize>>,
    n_tokens: usize,
}

impl Looks {
    /// Parts of a prompt: its first token, passages of equal length, and the evidence by itself.
    pub fn at(lens: &dyn Lens, sample: &Sample, tokens: &[u32]) -> Result<Self, EvalError> {
        let n_tokens = tokens.len();
        let mut evidence = Vec::new();
        if let (Some(text), false) = (sample.prompt.text(), sample.evidence.is_empty()) {
            let ends = ends(lens, text, tokens)?;
            for place in &sample.evidence {
                let first = ends.partition_point(|end| *end <= place.start);
                let last = ends.partition_point(|end| *end < place.end);
                evidence.push(first..(last + 1).min(n_tokens));
            }
        }
        let mut starts: Vec<usize> = [0, 1].into_iter().chain((0..n_tokens).step_by(PASSAGE).skip(1)).collect();
        starts.extend(evidence.iter().flat_map(|place| [place.start, place.end]));
        let is_inside = |start: usize| evidence.iter().any(|place| place.start < start && start < place.end);
        starts.retain(|start| *start < n_tokens && !is_inside(*start));
        starts.sort_unstable();
        starts.dedup();
        Ok(Self { starts: starts.into(), evidence, n_tokens })
    }

    /// What has to be recorded for it.
    pub fn watch(&self) -> Watch {
        let queries = Queries::Of(vec![self.n_tokens - 1]);
        Watch { mass: Some(WatchMass { chunks: Chunks::At(self.starts.clone()), queries }), ..Watch::default() }
    }

    /// What was recorded, summed.
    pub fn found(&self, lens: &dyn Lens, tokens: &[u32], trace: &Trace) -> Result<Attended, EvalError> {
        let mut sums = vec![0.0_f64; self.starts.len()];
        let (mut heads, mut n_heads) = (Vec::new(), 0);
        for layer in &trace.layers {
            let Some(mass) = layer.mass.as_ref().filter(|mass| !mass.mass.is_empty()) else { continue };
            let rows = (0..mass.n_heads).map(|head| mass.row(0, head));
            let mut of_layer = Vec::new();
            for row in rows {
                sums.iter_mut().zip(row).for_each(|(sum, mass)| *sum += f64::from(*mass));
                let is_evidence = |start: &usize| self.evidence.iter().any(|place| place.contains(start));
                let share: f32 =
                    row.iter().zip(&*self.starts).filter(|(_, start)| is_evidence(start)).map(|(mass, _)| mass).sum();
                of_layer.push((1000.0 * share).round() / 1000.0);
            }
            n_heads += mass.n_heads;
            heads.push(of_layer);
        }
        if self.evidence.is_empty() {
            heads.clear();
        }
        let mut by_mass: Vec<_> = (1..self.starts.len()).collect();
        by_mass.sort_by(|a, b| sums[*b].total_cmp(&sums[*a]).then(a.cmp(b)));
        let codec = lens.text()?;
        let passages = by_mass.into_iter().take(MOST).map(|at| {
            let (start, end) = (self.starts[at], self.starts.get(at + 1).copied().unwrap_or(self.n_tokens));
            let mass = (sums[at] / n_heads.max(1) as f64) as f32;
            Ok(Passage { tokens: (start, end), mass, text: codec.decode(&tokens[start..end])? })
        });
        let passages = passages.collect::<Result<_, EvalError>>()?;
        Ok(Attended { evidence: self.evidence.iter().map(|place| (place.start, place.end)).collect(), heads, passages })
    }
}

/// The byte of `text` that each token ends at.
fn ends(lens: &dyn Lens, text: &str, tokens: &[u32]) -> Result<Vec<usize>, EvalError> {
    let codec = lens.text()?;
    let mut ends = Vec::with_capacity(tokens.len());
    // tokens are decoded a few at a time, since a character may be spread over several, and each look is short
    let (mut done, mut start) = (0, 0);
    for at in 0..tokens.len() {
        let piece = codec.decode(&tokens[start..=at])?;
        let is_whole = !piece.ends_with('\u{FFFD}');
        let shown = match codec.special(tokens[at]) {
            Some(special) if text[done..].starts_with(&special) => special.len(),
            _ if is_whole => matching(&text[done..], &piece),
            _ => 0,
        };
        if is_whole {
            done += shown;
            start = at + 1;
        }
        ends.push(done);
    }
    Ok(ends)
}

/// Bytes of `text` that a piece of it takes; a blank that a tokenizer drops at the beginning of what it decodes is one of them.
fn matching(text: &str, piece: &str) -> usize {
    if text.starts_with(piece) {
        return piece.len();
    }
    let blanks = text.len() - text.trim_start_matches(' ').len();
    if text[blanks..].starts_with(piece.trim_start()) { blanks + piece.trim_start().len() } else { 0 }
}
