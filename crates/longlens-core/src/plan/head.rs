//! What one attention head does to any (query, key).

use std::ops::Range;

use super::{ChunkChoice, PosMap, Prefill, Reach, SlotPositions, Span, Warning, Written};
use crate::rope::{Rope, RopeScaling};
use crate::setting::SettingError;
use crate::spec::{ModelSpec, Rotation};

/// The rule of one head: spans that a formula gives, or chunks that the data chooses.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HeadPlan {
    /// Key intervals with one position rule each; those of one query are disjoint, hold no key after it, and one holds the query
    /// itself.
    pub spans: Vec<Span>,
    /// Which queries meet chunks of keys that the data chooses instead of the spans.
    pub choice: Option<ChunkChoice>,
    /// Factor on each query's scores.
    pub query_scale: QueryScale,
    /// Factor on queries and keys that grows with the length seen.
    pub temperature: Option<Temperature>,
    /// Which frequencies rotate queries and keys.
    pub rotation: Rotation,
    /// How far the rule goes, if its spans are tables.
    pub written: Option<Written>,
    /// Chunks that are picked whatever they score, ascending; at most as many as are picked.
    pub forced: Vec<u32>,
    /// Whether the head's output is zeros.
    pub is_off: bool,
}

/// Factor on the scores of query `i`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum QueryScale {
    /// Scores stay as they are.
    #[default]
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

impl HeadPlan {
    /// A rule of spans alone.
    pub fn new(spans: impl Into<Vec<Span>>) -> Self {
        Self { spans: spans.into(), ..Self::default() }
    }

    /// Every key at its true distance.
    pub fn full() -> Self {
        Self::new([Span::new("all", Reach::Causal, PosMap::identity(), PosMap::identity())])
    }

    /// The newest `window` keys at their true distance.
    pub fn window(window: usize) -> Self {
        Self::new([Span::new("window", Reach::Nearer(window), PosMap::identity(), PosMap::identity())])
    }

    /// How query `i` sees key `j`.
    pub fn relation(&self, i: usize, j: usize, prompt: Prefill) -> Relation {
        if let Some(slots) = self.choice.as_ref().and_then(|choice| choice.query(i, prompt)) {
            return slots.relation(j);
        }
        let found = self.spans.iter().enumerate().find(|(_, span)| span.reach.sees(i, j));
        found.map_or(Relation::Hidden, |(at, span)| Relation::At(span.relative(i, j), at))
    }

    /// First query whose keys are chosen by the data; later ones all are. `usize::MAX` when there is no choice.
    pub fn first_choice(&self, prompt: Prefill) -> usize {
        self.choice.as_ref().map_or(usize::MAX, |choice| choice.first(prompt))
    }

    /// The highest relative position that a prompt of `n_tokens` uses. 0 for an empty prompt.
    pub fn highest_position(&self, n_tokens: usize) -> f64 {
        if self.rotation == Rotation::Off {
            return 0.0;
        }
        if let Some(written) = &self.written {
            return written.highest_position(n_tokens);
        }
        let dense = n_tokens.min(self.first_choice(Prefill { n_tokens }));
        let spans = self.spans.iter().map(|span| span.highest(dense)).fold(0.0, f64::max);
        self.choice.as_ref().map_or(spans, |choice| spans.max(choice.highest(n_tokens)))
    }

    /// What is unwise about the positions of a prompt of `n_tokens`, besides their number. Heads that do not rotate have none.
    pub(super) fn warnings(&self, n_tokens: usize, trained: usize) -> Vec<Warning> {
        if self.rotation == Rotation::Off {
            return Vec::new();
        }
        let highest = self.highest_position(n_tokens);
        let groups = self.spans.iter().any(|span| span.key_pos.divide > 1);
        let mut warnings = Vec::new();
        // a third: the window of exact positions alone may be a quarter
        if groups && n_tokens > trained && highest < trained as f64 / 3.0 {
            warnings.push(Warning::SparsePositions { highest, trained });
        }
        warnings.extend(self.seam(n_tokens));
        warnings
    }

    /// What an intervention names and a run of `n_tokens` does not have: hidden keys, forced chunks.
    pub(super) fn not_there(&self, n_tokens: usize) -> Option<Warning> {
        let hidden = self.spans.iter().filter_map(|span| match &span.reach {
            Reach::Part { keys, own: true, .. } if keys.end > n_tokens => Some(keys.clone()),
            _ => None,
        });
        let chunk_len = self.choice.as_ref().map_or(0, |choice| choice.chunk_len);
        let forced = self.forced.iter().map(|chunk| *chunk as usize * chunk_len..(*chunk as usize + 1) * chunk_len);
        // the run ends before a chunk is complete: it is never picked
        let forced = forced.filter(|tokens| tokens.end > n_tokens);
        let within = |what, tokens: Vec<Range<usize>>| {
            let first = tokens.iter().map(|tokens| tokens.start.max(n_tokens)).min()?;
            let last = tokens.iter().map(|tokens| tokens.end - 1).max()?;
            Some(Warning::NotThere { what, tokens: (first, last), n_tokens })
        };
        within("hidden keys", hidden.collect()).or_else(|| within("forced chunks", forced.collect()))
    }

    /// The largest jump of the relative position between a nearest span and the groups behind it.
    fn seam(&self, n_tokens: usize) -> Option<Warning> {
        let [near @ Span { reach: Reach::Nearer(w), .. }, far @ Span { reach: Reach::AtLeast(_), .. }] =
            &self.spans[..]
        else {
            return None;
        };
        // without groups a jump is what the method is for
        if far.key_pos.divide == 1 {
            return None;
        }
        let distance = *w;
        // where groups begin decides the jump, so one query of each place in a group is looked at, of huge groups some
        let queries = (distance..n_tokens).rev().take(far.query_pos.divide.min(INSPECTED));
        let steps = queries.map(|i| (near.relative(i, i + 1 - distance), far.relative(i, i - distance)));
        let off = |(inside, outside): &(f64, f64)| (outside - inside - 1.0).abs();
        let (inside, outside) = steps.max_by(|a, b| off(a).total_cmp(&off(b)))?;
        // a third of a position needs no 17 digits
        let outside_shown = (outside * 1000.0).round() / 1000.0;
        (off(&(inside, outside)) > 1e-9).then_some(Warning::UnevenSeam { distance, inside, outside: outside_shown })
    }

    /// The frequencies that rotate its queries and keys, of a model under a scaling.
    pub fn rope(&self, scaling: &RopeScaling, model: &ModelSpec) -> Result<Rope, SettingError> {
        let rope = match self.rotation {
            Rotation::Model => scaling.resolve(model)?,
            Rotation::Base(base) => Rope::plain(base, model.rotary_dim),
            Rotation::Off => Rope::still(model.rotary_dim),
        };
        let Some(choice) = self.choice else { return Ok(rope) };
        assert!(self.temperature.is_none(), "no method both chooses and scales by temperature");
        // a chosen chunk that moves from slot to slot is rotated afresh for every query, so no key keeps an older base
        Ok(if choice.slots == SlotPositions::Packed { rope.rerotating() } else { rope })
    }

    /// Factor on the rotated query and key of a token.
    pub fn amplitude(&self, seen: usize) -> f64 {
        self.temperature.map_or(1.0, |temperature| temperature.at(seen))
    }
}

/// Queries that the search for an uneven seam looks at, at most: a warning must not take longer than the run.
const INSPECTED: usize = 1 << 14;

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
