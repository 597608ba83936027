//! Spans in the making: one table of key positions each, and per query a position and the keys it meets.

use std::sync::{Arc, LazyLock};

use super::{MAX_BYTES, MAX_SPANS, WriteError};
use crate::plan::{HeadPlan, Plan, PosMap, Reach, ReachTable, Span, Written};

/// Spans that explain the first queries of a relation.
#[derive(Debug, Default)]
pub struct Draft {
    /// Key positions of every rule; NaN of keys that a rule has never been asked about.
    pub rules: Vec<Vec<f64>>,
    spans: Vec<DraftSpan>,
    /// The highest relative position of queries up to each.
    highest: Vec<f64>,
}

#[derive(Debug, Default)]
struct DraftSpan {
    rule: usize,
    query_pos: Vec<f64>,
    reach: ReachTable,
    n_pairs: usize,
}

/// Keys of one query that one span serves.
#[derive(Debug)]
pub struct Class {
    /// Which span it belongs to, by its place among those of the draft.
    pub span: usize,
    /// Where the query stands.
    pub query_pos: f64,
    /// The keys, ascending.
    pub keys: Vec<u32>,
}

impl Draft {
    /// No query yet.
    pub fn new(rules: Vec<Vec<f64>>) -> Self {
        Self { rules, ..Self::default() }
    }

    pub fn n_tokens(&self) -> usize {
        self.highest.len()
    }

    pub fn n_spans(&self) -> usize {
        self.spans.len()
    }

    /// Whether the tables take more memory than they may.
    pub fn is_too_large(&self) -> bool {
        self.spans.iter().map(|span| span.reach.bytes()).sum::<usize>() > MAX_BYTES
    }

    /// Starts a span without keys so far.
    pub fn add_span(&mut self, rule: usize) -> usize {
        let mut span = DraftSpan { rule, ..DraftSpan::default() };
        for _ in 0..self.n_tokens() {
            span.query_pos.push(0.0);
            span.reach.push(&[]);
        }
        self.spans.push(span);
        self.spans.len() - 1
    }

    /// Adds the next query: what its keys are to each span, and its highest relative position.
    pub fn push(&mut self, classes: &[Class], highest: f64) {
        self.highest.push(self.highest.last().copied().unwrap_or(0.0).max(highest));
        for class in classes {
            let span = &mut self.spans[class.span];
            span.query_pos.push(class.query_pos);
            span.reach.push(&class.keys);
            span.n_pairs += class.keys.len();
        }
        let n_tokens = self.n_tokens();
        for span in self.spans.iter_mut().filter(|span| span.query_pos.len() < n_tokens) {
            span.query_pos.push(0.0);
            span.reach.push(&[]);
        }
    }

    /// What the spans say of a query's keys, newest first.
    pub fn read(&self, query: usize, row: &mut Vec<(u32, f64)>) {
        for span in &self.spans {
            let (at, holes) = (span.query_pos[query], span.reach.holes(query));
            let keys = span.reach.keys(query).filter(|key| holes.is_none_or(|holes| holes.sees(*key)));
            row.extend(keys.map(|key| (key as u32, at - self.rules[span.rule][key])));
        }
        row.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(*key));
    }

    /// The rules that some span uses, the most used first.
    pub fn rules_by_use(&self) -> Vec<Vec<f64>> {
        let mut uses = vec![0; self.rules.len()];
        self.spans.iter().for_each(|span| uses[span.rule] += span.n_pairs);
        let mut order: Vec<_> = (0..self.rules.len()).filter(|rule| uses[*rule] > 0).collect();
        order.sort_by_key(|rule| std::cmp::Reverse(uses[*rule]));
        order.into_iter().map(|rule| self.rules[rule].clone()).collect()
    }

    /// The plan of spans that explain every query.
    pub fn into_plan<E>(self, name: &str, text: &str) -> Result<Plan, WriteError<E>> {
        if self.is_too_large() {
            return Err(WriteError::TooLarge);
        }
        let key_pos: Vec<_> = self.rules.iter().map(|rule| KeyPos::of(rule)).collect();
        let spans = self.spans.into_iter().filter(|span| span.n_pairs > 0).enumerate().map(|(at, span)| {
            let KeyPos { map, shift } = &key_pos[span.rule];
            let query_pos: Vec<f64> = span.query_pos.iter().map(|position| position - shift).collect();
            let used = |query: &usize| !span.reach.keys(*query).is_empty();
            let query_map = match (0..query_pos.len()).find(used).map(|query| query_pos[query] - query as f64) {
                Some(shift) if (0..query_pos.len()).filter(used).all(|i| same_bits(query_pos[i], i as f64 + shift)) => {
                    PosMap::identity().shift(shift)
                }
                _ => PosMap::written(query_pos),
            };
            Span::new(&NAMES[at], Reach::Table(Arc::new(span.reach)), query_map, map.clone())
        });
        let written = Some(Written::new(name, self.highest));
        Ok(Plan::new(text, HeadPlan { written, ..HeadPlan::new(spans.collect::<Vec<_>>()) }))
    }
}

/// What pictures call the spans.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| (1..=MAX_SPANS).map(|n| format!("rule {n}")).collect());

/// A rule of a span, and what it lies above the draft's own.
struct KeyPos {
    map: PosMap,
    shift: f64,
}

impl KeyPos {
    /// A formula where there is one, so that it is the same for every span and reads well; else the table.
    fn of(rule: &[f64]) -> Self {
        let mut known = rule.iter().enumerate().filter(|(_, position)| !position.is_nan());
        let Some((key, first)) = known.next().map(|(key, first)| (key as f64, *first)) else {
            return Self { map: PosMap::constant(0.0), shift: 0.0 };
        };
        // whole numbers alone are moved without rounding
        if first.fract() == 0.0 && known.clone().all(|(j, position)| same_bits(*position, j as f64 + first - key)) {
            return Self { map: PosMap::identity(), shift: first - key };
        }
        if first.fract() == 0.0 && known.all(|(_, position)| same_bits(*position, first)) {
            return Self { map: PosMap::constant(0.0), shift: first };
        }
        // keys that nobody meets stand anywhere
        let table: Vec<f64> = rule.iter().map(|position| if position.is_nan() { 0.0 } else { *position }).collect();
        Self { map: PosMap::written(table), shift: 0.0 }
    }
}

/// Equal, with no allowance for rounding; 0 and -0 are the same place.
fn same_bits(a: f64, b: f64) -> bool {
    (a - b).abs() <= 0.0
}
