//! A method is a plan: which keys each query meets, and at which positions their rotary embeddings stand.
//!
//! From the same plan come the kernels' tile schedule, the position picture, the capacity and the warnings.
//! A plan that exists is valid; nothing downstream checks it again. [`HeadPlan`] is what one head does, [`Plan`] gives every
//! head of every layer one of them.

use std::ops::Range;

pub use crate::positions::{PosMap, PosTable, Prefill};
use crate::ranges::numbers;
use crate::setting::SettingError;
use crate::spec::ModelSpec;

mod choice;
mod head;
mod intervene;
mod span;
mod table;
mod warning;
mod windows;

pub use choice::{ChunkChoice, ChunkScore, QueryRule, SlotPositions, Slots};
pub use head::{HeadPlan, QueryScale, Relation, Temperature};
pub use intervene::Refusal;
pub use span::{Reach, Span};
pub use table::{Holes, ReachTable, Written};
pub use warning::{Capacity, Warning};
pub use windows::LayerWindows;
use windows::Windows;

/// What one attention method does to any (query, key) of any layer and head.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The method's text form with every parameter written out.
    pub method: String,
    heads: Heads,
    /// What became of windows that layers of the model have of their own.
    windows: Windows,
}

/// Which rule every head follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Heads {
    /// Different rules, each once.
    rules: Vec<HeadPlan>,
    /// Groups of every layer; empty where all heads of all layers follow the only rule.
    layers: Vec<Vec<HeadGroup>>,
}

/// Consecutive query heads of a layer that follow one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadGroup {
    /// Either all query heads of one or more key heads, or some query heads of a single key head.
    pub heads: Range<usize>,
    /// The rule, by its place in [`Plan::rules`].
    pub rule: usize,
}

impl From<HeadPlan> for Heads {
    /// One rule for all heads.
    fn from(rule: HeadPlan) -> Self {
        Self { rules: vec![rule], layers: Vec::new() }
    }
}

impl Heads {
    /// A rule for every layer of `model`, the same for all its heads.
    pub fn by_layer(model: &ModelSpec, rule: impl Fn(usize) -> HeadPlan) -> Self {
        Self::by_head(model, |layer, _| rule(layer))
    }

    /// A rule for every layer and query head of `model`. Equal rules are kept once; neighbours that share one become a group.
    pub fn by_head(model: &ModelSpec, rule: impl Fn(usize, usize) -> HeadPlan) -> Self {
        let mut rules: Vec<HeadPlan> = Vec::new();
        let mut place = |rule: HeadPlan| {
            rules.iter().position(|known| *known == rule).unwrap_or_else(|| {
                rules.push(rule);
                rules.len() - 1
            })
        };
        let places = (0..model.n_layers)
            .map(|layer| (0..model.n_heads).map(|head| place(rule(layer, head))).collect::<Vec<_>>())
            .collect::<Vec<_>>();
        let layers = places.iter().map(|places| groups(places, model.n_rep())).collect();
        Self { layers: if rules.len() == 1 { Vec::new() } else { layers }, rules }
    }

    /// The rule of a head.
    pub fn of(&self, layer: usize, head: usize) -> &HeadPlan {
        let groups = self.layers.get(layer).map_or(&[][..], Vec::as_slice);
        &self.rules[groups.iter().find(|group| group.heads.contains(&head)).map_or(0, |group| group.rule)]
    }
}

/// Heads of one layer in groups of one rule each, from the rule of every head. `n_rep` heads share a key head: a group holds
/// all heads of its key heads, or some of one.
fn groups(rules: &[usize], n_rep: usize) -> Vec<HeadGroup> {
    let (mut groups, mut start) = (Vec::new(), 0);
    for alike in rules.chunk_by(|a, b| a == b) {
        let end = start + alike.len();
        let whole = start.next_multiple_of(n_rep).min(end);
        let part = (end / n_rep * n_rep).max(whole);
        let parts = [start..whole, whole..part, part..end].into_iter().filter(|heads| !heads.is_empty());
        groups.extend(parts.map(|heads| HeadGroup { heads, rule: alike[0] }));
        start = end;
    }
    groups
}

impl Plan {
    /// A plan with this text form.
    pub fn new(method: impl Into<String>, heads: impl Into<Heads>) -> Self {
        Self { method: method.into(), heads: heads.into(), windows: Windows::default() }
    }

    /// The same with another rule for every head of `model`, under the text `method`.
    pub(crate) fn with_heads(self, method: String, model: &ModelSpec, rule: impl Fn(usize, usize) -> HeadPlan) -> Self {
        Self { method, heads: Heads::by_head(model, rule), ..self }
    }

    /// The different rules, each once. Most methods have one.
    pub fn rules(&self) -> &[HeadPlan] {
        &self.heads.rules
    }

    /// The rule of a head.
    pub fn of(&self, layer: usize, head: usize) -> &HeadPlan {
        self.heads.of(layer, head)
    }

    /// Layer and head of those heads of `model` whose output is zeros, layer by layer.
    pub fn switched_off(&self, model: &ModelSpec) -> Vec<(usize, usize)> {
        if !self.rules().iter().any(|rule| rule.is_off) {
            return Vec::new();
        }
        let all = (0..model.n_layers).flat_map(|layer| (0..model.n_heads).map(move |head| (layer, head)));
        all.filter(|(layer, head)| self.of(*layer, *head).is_off).collect()
    }

    /// The heads of a layer, of which there are `n_heads`, in groups of one rule each.
    pub fn groups(&self, layer: usize, n_heads: usize) -> Vec<HeadGroup> {
        match self.heads.layers.get(layer) {
            Some(groups) => groups.clone(),
            None => vec![HeadGroup { heads: 0..n_heads, rule: 0 }],
        }
    }

    /// Where the rules hold, in words, as `layers 0-1` or `layer 3, heads 0-7`; nothing where one rule holds everywhere.
    pub fn places(&self) -> Vec<String> {
        let place = |rule: usize| {
            let all_heads = |groups: &Vec<HeadGroup>| groups.iter().all(|group| group.rule == rule);
            let whole: Vec<usize> = self.layers_where(all_heads).collect();
            let mut words = numbers("layer", &whole).into_iter().collect::<Vec<_>>();
            let of_some = |groups: &Vec<HeadGroup>| !all_heads(groups) && groups.iter().any(|group| group.rule == rule);
            for layer in self.layers_where(of_some) {
                let mine = self.heads.layers[layer].iter().filter(|group| group.rule == rule);
                let heads: Vec<usize> = mine.flat_map(|group| group.heads.clone()).collect();
                words.extend(numbers("head", &heads).map(|heads| format!("layer {layer}, {heads}")));
            }
            words.join("; ")
        };
        if self.heads.layers.is_empty() { Vec::new() } else { (0..self.rules().len()).map(place).collect() }
    }

    /// Layers whose groups of heads satisfy `such`.
    fn layers_where(&self, such: impl Fn(&Vec<HeadGroup>) -> bool) -> impl Iterator<Item = usize> {
        self.heads.layers.iter().enumerate().filter(move |(_, groups)| such(groups)).map(|(layer, _)| layer)
    }

    /// First query whose keys are chosen by the data in some head; `usize::MAX` when there is none.
    pub fn first_choice(&self, prompt: Prefill) -> usize {
        self.rules().iter().map(|rule| rule.first_choice(prompt)).min().unwrap_or(usize::MAX)
    }

    /// Tokens of a chunk under the first rule that chooses chunks; other rules may have chunks of another length
    /// ([`Plan::chunks_of`]).
    pub fn chunk_len(&self) -> Option<usize> {
        self.rules().iter().find_map(|rule| rule.choice.as_ref()).map(|choice| choice.chunk_len)
    }

    /// `(chunk_len, n_slots)` of a layer of `n_heads` query heads: the chunk length of its first group that chooses, and the most
    /// slots among its groups with that chunk length. `(0, 0)` where none chooses.
    pub fn chunks_of(&self, layer: usize, n_heads: usize) -> (usize, usize) {
        let choices: Vec<ChunkChoice> =
            self.groups(layer, n_heads).iter().filter_map(|group| self.rules()[group.rule].choice).collect();
        let chunk_len = choices.first().map_or(0, |choice| choice.chunk_len);
        let alike = choices.iter().filter(|choice| choice.chunk_len == chunk_len);
        (chunk_len, alike.map(|choice| choice.n_slots).max().unwrap_or(0))
    }

    /// Tokens of the prompt that a step ends at multiples of, so that queries which choose together are computed together.
    pub fn query_block(&self) -> usize {
        let blocks = self.rules().iter().filter_map(|rule| rule.choice).map(|choice| choice.query_block);
        let common = |all: usize, one: usize| (all..).step_by(all).find(|n| n.is_multiple_of(one)).unwrap_or(all);
        blocks.fold(1, common)
    }

    /// Where a step of the prompt from token `start` on ends that is to hold `most` tokens: at a block of queries before that, or with
    /// the first one.
    pub fn step_end(&self, start: usize, most: usize) -> usize {
        self.whole_blocks(start.saturating_add(most)).max(self.whole_blocks(start) + self.query_block())
    }

    /// The most of the first `n_tokens` tokens of a prompt after which a sequence may be cut without cutting a block of queries.
    pub fn whole_blocks(&self, n_tokens: usize) -> usize {
        n_tokens / self.query_block() * self.query_block()
    }

    /// Whether summaries of chunks are computed from cached queries, so that a sequence which kept none cannot go on under this
    /// plan.
    pub fn needs_queries(&self) -> bool {
        self.rules().iter().filter_map(|rule| rule.choice).any(|choice| choice.score == ChunkScore::Summary)
    }

    /// Whether scores of prompt tokens depend on how long the whole prompt is.
    ///
    /// A choice of chunks does not make them: where a rule counts generated tokens differently, its first choice moves with the
    /// prompt's end, but a query inside the prompt meets the same keys however long the prompt is.
    pub fn depends_on_length(&self) -> bool {
        self.rules().iter().any(|rule| rule.temperature.is_some())
    }

    /// The highest relative position that a prompt of `n_tokens` uses in any head. 0 for an empty prompt.
    pub fn highest_position(&self, n_tokens: usize) -> f64 {
        self.rules().iter().map(|rule| rule.highest_position(n_tokens)).fold(0.0, f64::max)
    }

    /// Tokens that the plan covers; nothing where it goes on for ever.
    pub fn covers(&self) -> Option<usize> {
        self.written().map(Written::n_tokens).min()
    }

    fn written(&self) -> impl Iterator<Item = &Written> {
        self.rules().iter().filter_map(|rule| rule.written.as_ref())
    }

    /// Refuses sequences of `n_tokens` that are longer than the plan.
    pub fn check_length(&self, n_tokens: usize) -> Result<(), SettingError> {
        match self.written().find(|written| n_tokens > written.n_tokens()) {
            Some(written) => {
                let (name, covers) = (written.name.clone(), written.n_tokens());
                Err(SettingError::TooLong { name, covers, n_tokens })
            }
            None => Ok(()),
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

    /// What a user should know before running `n_tokens` on a model with `trained` positions; nothing of positions where it is
    /// not known which are trained.
    pub fn warnings(&self, n_tokens: usize, trained: Option<usize>) -> Vec<Warning> {
        // a window that the run does without is no news where it would hide nothing
        let is_news = |warning: &&Warning| match warning {
            Warning::WindowsReplaced { window } | Warning::WindowsIgnored { window, .. } => n_tokens > *window,
            _ => true,
        };
        let mut warnings: Vec<Warning> = self.windows().into_iter().filter(is_news).cloned().collect();
        let not_there = self.rules().iter().filter_map(|rule| rule.not_there(n_tokens));
        not_there.for_each(|warning| {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        });
        let Some(trained) = trained else { return warnings };
        let highest = self.highest_position(n_tokens);
        if let Capacity::Tokens(capacity) = self.capacity(trained)
            && n_tokens > capacity
        {
            warnings.push(Warning::BeyondCapacity { capacity, n_tokens, highest, trained });
        }
        for warning in self.rules().iter().flat_map(|rule| rule.warnings(n_tokens, trained)) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        warnings
    }
}

/// Longer than any prompt, short enough to add to.
const FAR: usize = 1 << 48;

#[cfg(test)]
mod tests;
