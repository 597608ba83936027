//! Relations read query by query: the cheapest explanation of each row by rules that earlier rows left.
//!
//! A row is cut into runs of keys, each explained by one rule with the query at one place. Rules are tables of key positions;
//! the plain ones are known from the start, others begin with a row that nothing explains and learn each key when they are
//! first asked about it. Costs decide: what is known and in use is nearly free, learning a key costs little, another
//! span for a rule costs more with each, and a new rule costs most. Every explanation is exact, the costs only keep the
//! number of spans small.

use super::draft::{Class, Draft};
use super::{MAX_SPANS, same};

/// Why reading stopped.
#[derive(Debug)]
pub enum Stop<X> {
    /// The row could not be read.
    Read(X),
    /// This query needs more spans than a plan may have.
    TooManySpans { query: usize },
    /// The tables take more memory than they may.
    TooLarge,
}

/// Another run of keys in a span that is there.
const RUN: f64 = 0.1;
/// Another run in a span that serves this query already: the span gets holes.
const AGAIN: f64 = 1e-3;
/// One key that a rule learns.
const LEARN: f64 = 5e-3;
/// A new rule.
const NEW_RULE: f64 = 3.0;

/// Explains `n_tokens` rows. `read` adds a query's keys and relative positions, newest key first; at least one.
pub fn explain<X>(
    n_tokens: usize,
    rules: Vec<Vec<f64>>,
    mut read: impl FnMut(usize, &mut Vec<(u32, f64)>) -> Result<(), X>,
) -> Result<Draft, Stop<X>> {
    let plain = [(0..n_tokens).map(|key| key as f64).collect(), vec![0.0; n_tokens]];
    let mut known: Vec<Vec<f64>> = Vec::new();
    for rule in rules.into_iter().chain(plain) {
        if !known.contains(&rule) {
            known.push(rule);
        }
    }
    let mut rows = Rows { spans_of: vec![Vec::new(); known.len()], draft: Draft::new(known) };
    let mut row = Vec::new();
    for query in 0..n_tokens {
        row.clear();
        read(query, &mut row).map_err(Stop::Read)?;
        let path = rows.cheapest(&row).ok_or(Stop::TooManySpans { query })?;
        rows.accept(&row, &path).ok_or(Stop::TooManySpans { query })?;
        if rows.draft.is_too_large() {
            return Err(Stop::TooLarge);
        }
    }
    Ok(rows.draft)
}

struct Rows {
    draft: Draft,
    /// The spans of every rule.
    spans_of: Vec<Vec<usize>>,
}

/// The cheapest way found so far to explain a row up to some place.
#[derive(Debug, Clone)]
struct Label {
    cost: f64,
    /// Where the last run began.
    from: usize,
    /// The rule and the query's place of the last run, as an index of `classes`.
    last: usize,
    /// Rules and places in use up to here.
    classes: Vec<(usize, f64)>,
}

/// A run of keys with one rule.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: usize,
    rule: usize,
    query_pos: f64,
}

/// A rule that is not there yet.
const NEW: usize = usize::MAX;

impl Rows {
    /// The cheapest runs that explain a row, in order; nothing when every way takes too many spans.
    fn cheapest(&self, row: &[(u32, f64)]) -> Option<Vec<Run>> {
        let mut labels: Vec<Option<Label>> = vec![None; row.len() + 1];
        labels[0] = Some(Label { cost: 0.0, from: 0, last: 0, classes: Vec::new() });
        let may_add = self.draft.n_spans() < MAX_SPANS;
        for start in 0..row.len() {
            let Some(label) = labels[start].take() else { continue };
            let bound = labels[row.len()].as_ref().map_or(f64::INFINITY, |label| label.cost);
            if label.cost < bound {
                for rule in 0..self.draft.rules.len() {
                    self.runs(rule, &row[start..], |len, n_learned, query_pos| {
                        let run = Run { end: start + len, rule, query_pos };
                        let step = self.step(&label, &run) + LEARN * n_learned as f64;
                        relax(&mut labels, start, &label, &run, step);
                    });
                }
                if may_add {
                    let run = Run { end: row.len(), rule: NEW, query_pos: 0.0 };
                    relax(&mut labels, start, &label, &run, NEW_RULE + LEARN * (row.len() - start) as f64);
                }
            }
            labels[start] = Some(label);
        }
        let mut runs = Vec::new();
        let mut end = row.len();
        while end > 0 {
            let label = labels[end].as_ref()?;
            let (rule, query_pos) = label.classes[label.last];
            runs.push(Run { end, rule, query_pos });
            end = label.from;
        }
        runs.reverse();
        Some(runs)
    }

    /// Offers the runs of keys at the start of `row` that a rule explains: their length, how many of the keys it would learn,
    /// and where the query stands.
    fn runs(&self, rule: usize, row: &[(u32, f64)], mut offer: impl FnMut(usize, usize, f64)) {
        let table = &self.draft.rules[rule];
        let mut query_pos = None;
        let (mut len, mut n_unknown, mut learned) = (0, 0, 0);
        let mut end = row.len();
        for (at, (key, position)) in row.iter().enumerate() {
            let known = table[*key as usize];
            if known.is_nan() {
                if n_unknown == 0 && len > 0 {
                    offer(len, 0, query_pos.unwrap_or(0.0));
                }
                n_unknown += 1;
                continue;
            }
            let place = *query_pos.get_or_insert(position + known);
            if !same(*position, place - known) {
                end = at;
                break;
            }
            (len, learned) = (at + 1, n_unknown);
        }
        let Some(query_pos) = query_pos.filter(|_| len > 0) else { return };
        offer(len, learned, query_pos);
        if end > len && end == row.len() {
            offer(end, n_unknown, query_pos);
        }
    }

    /// What a run costs after what explains the row up to it.
    fn step(&self, label: &Label, run: &Run) -> f64 {
        let n_used = label.classes.iter().filter(|(rule, _)| *rule == run.rule).count();
        if label.classes.iter().any(|class| is_class(class, run)) {
            AGAIN
        } else if n_used < self.spans_of[run.rule].len() {
            RUN
        } else {
            RUN + (n_used + 1) as f64
        }
    }

    /// Adds a row as its runs say; nothing when there are too many spans.
    fn accept(&mut self, row: &[(u32, f64)], runs: &[Run]) -> Option<()> {
        let mut classes: Vec<(usize, Class)> = Vec::new();
        let mut start = 0;
        for run in runs {
            let keys = &row[start..run.end];
            start = run.end;
            let open = classes.iter().position(|(rule, class)| is_class(&(*rule, class.query_pos), run));
            let at = if let Some(at) = open {
                at
            } else {
                let (rule, span) = self.span_for(run.rule, &classes)?;
                classes.push((rule, Class { span, query_pos: run.query_pos, keys: Vec::new() }));
                classes.len() - 1
            };
            let (rule, class) = &mut classes[at];
            for (key, position) in keys {
                let known = &mut self.draft.rules[*rule][*key as usize];
                if known.is_nan() {
                    *known = class.query_pos - position;
                }
                class.keys.push(*key);
            }
        }
        let mut classes: Vec<Class> = classes.into_iter().map(|(_, class)| class).collect();
        for class in &mut classes {
            class.keys.reverse();
        }
        let highest = row.iter().map(|(_, position)| *position).fold(f64::NEG_INFINITY, f64::max);
        self.draft.push(&classes, highest);
        Some(())
    }

    /// A span of a rule that this row does not use yet.
    fn span_for(&mut self, rule: usize, classes: &[(usize, Class)]) -> Option<(usize, usize)> {
        let rule = if rule == NEW {
            let n_tokens = self.draft.rules[0].len();
            self.draft.rules.push(vec![f64::NAN; n_tokens]);
            self.spans_of.push(Vec::new());
            self.spans_of.len() - 1
        } else {
            rule
        };
        let n_used = classes.iter().filter(|(used, _)| *used == rule).count();
        if n_used == self.spans_of[rule].len() {
            if self.draft.n_spans() == MAX_SPANS {
                return None;
            }
            let span = self.draft.add_span(rule);
            self.spans_of[rule].push(span);
        }
        Some((rule, self.spans_of[rule][n_used]))
    }
}

/// Whether a run goes on with a rule and a place in use.
fn is_class((rule, query_pos): &(usize, f64), run: &Run) -> bool {
    *rule == run.rule && query_pos.to_bits() == run.query_pos.to_bits()
}

/// Keeps a run's end if that is the cheapest way there.
fn relax(labels: &mut [Option<Label>], from: usize, label: &Label, run: &Run, step: f64) {
    let cost = label.cost + step;
    if labels[run.end].as_ref().is_some_and(|known| known.cost <= cost) {
        return;
    }
    let mut classes = label.classes.clone();
    let open = classes.iter().position(|class| is_class(class, run));
    let last = open.unwrap_or_else(|| {
        classes.push((run.rule, run.query_pos));
        classes.len() - 1
    });
    if classes.len() <= MAX_SPANS {
        labels[run.end] = Some(Label { cost, from, last, classes });
    }
}
