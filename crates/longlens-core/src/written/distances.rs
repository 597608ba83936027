//! Relations of the distance alone: stretches of distances that repeat with a period.
//!
//! In a stretch from distance `d0` on, `f(d) = base[(d - d0) mod p] + step * ((d - d0) div p)`. Plain and scaled distances have
//! the period 1, and `floor(d / g)` has `g`. Queries that leave the same rest `r = q mod p` share one rule for the keys:
//! with `q = p u + r`, `f(q - k) = step * u - key_pos(k)`. So a stretch takes as many spans as its period.

use std::ops::Range;

use super::draft::{Class, Draft};
use super::rows::Stop;
use super::{MAX_SPANS, same};

/// Distances that repeat with a period.
#[derive(Debug, Clone)]
pub struct Stretch {
    distances: Range<usize>,
    step: f64,
    /// Position of the first period, one per distance.
    base: Vec<f64>,
}

/// Cuts distances into stretches that take the fewest spans together; nothing where no small number of spans explains them.
/// `check` comes between any two numbers of spans that are tried, and its error ends the search.
pub fn cut<X>(profile: &[Option<f64>], mut check: impl FnMut() -> Result<(), X>) -> Result<Option<Vec<Stretch>>, X> {
    // a part of a stretch is a stretch, so of all ways to spend `n` spans the one that comes furthest is best
    let mut furthest: Vec<(usize, Option<Stretch>)> = vec![(next_seen(profile, 0), None)];
    while furthest[furthest.len() - 1].0 < profile.len() {
        let n = furthest.len();
        if n > MAX_SPANS {
            return Ok(None);
        }
        check()?;
        let ways = (1..=n).map(|period| Stretch::longest(profile, furthest[n - period].0, period));
        let best = ways.reduce(|best, way| if way.distances.end > best.distances.end { way } else { best });
        furthest.push((next_seen(profile, best.as_ref().map_or(0, |best| best.distances.end)), best));
    }
    let mut stretches = Vec::new();
    let mut n = furthest.len() - 1;
    while let Some(stretch) = furthest[n].1.take() {
        n -= stretch.base.len();
        stretches.push(stretch);
    }
    stretches.reverse();
    Ok(Some(stretches))
}

/// Positions of keys under every rule of every stretch.
pub fn rules(stretches: &[Stretch], n_tokens: usize) -> Vec<Vec<f64>> {
    let rule = |stretch: &Stretch, rest: usize| (0..n_tokens).map(|key| stretch.key_pos(rest, key)).collect();
    stretches.iter().flat_map(|stretch| (0..stretch.base.len()).map(move |rest| rule(stretch, rest))).collect()
}

/// Spans that say of every pair what the profile says of its distance. A span per stretch and rest. `check` comes before
/// every query.
pub fn draft<X>(
    profile: &[Option<f64>],
    stretches: &[Stretch],
    mut check: impl FnMut(usize) -> Result<(), X>,
) -> Result<Draft, Stop<X>> {
    let mut draft = Draft::new(rules(stretches, profile.len()));
    for rule in 0..draft.rules.len() {
        draft.add_span(rule);
    }
    let mut highest = f64::NEG_INFINITY;
    for query in 0..profile.len() {
        check(query).map_err(Stop::Read)?;
        highest = profile[query].map_or(highest, |position| highest.max(position));
        let mut first_span = 0;
        let mut classes = Vec::new();
        for stretch in stretches {
            let Range { start, end } = stretch.distances;
            let keys = (query + 1).saturating_sub(end)..(query + 1).saturating_sub(start);
            let seen = keys.filter(|key| profile[query - key].is_some()).map(|key| key as u32);
            let span = first_span + query % stretch.base.len();
            classes.push(Class { span, query_pos: stretch.query_pos(query), keys: seen.collect() });
            first_span += stretch.base.len();
        }
        draft.push(&classes, highest);
        if draft.is_too_large() {
            return Err(Stop::TooLarge);
        }
    }
    Ok(draft)
}

/// The first distance from `start` on that is seen.
fn next_seen(profile: &[Option<f64>], start: usize) -> usize {
    (start..profile.len()).find(|distance| profile[*distance].is_some()).unwrap_or(profile.len())
}

impl Stretch {
    /// The longest stretch of a period.
    fn longest(profile: &[Option<f64>], start: usize, period: usize) -> Self {
        let mut longest = Self::with_step(profile, start, period, None);
        // the step of two neighbours is known to fewer digits than the one of both ends
        for _ in 0..8 {
            let Some(step) = longest.1 else { break };
            let next = Self::with_step(profile, start, period, Some(step));
            if next.0.distances.end <= longest.0.distances.end {
                break;
            }
            longest = next;
        }
        longest.0
    }

    /// The longest stretch of a period and a step, by default the one between the first two distances a period apart; and
    /// the step between the two that are furthest apart.
    fn with_step(profile: &[Option<f64>], start: usize, period: usize, step: Option<f64>) -> (Self, Option<f64>) {
        let mut step = step;
        let mut first: Vec<Option<(usize, f64)>> = vec![None; period];
        let (mut end, mut widest, mut refined) = (profile.len(), 0, None);
        for (distance, position) in profile.iter().enumerate().skip(start) {
            let Some(position) = *position else { continue };
            let (at, turn) = ((distance - start) % period, (distance - start) / period);
            let Some((before, position_before)) = first[at] else {
                first[at] = Some((turn, position));
                continue;
            };
            let between = (position - position_before) / (turn - before) as f64;
            let step = *step.get_or_insert(between);
            if !same(position, position_before + step * (turn - before) as f64) {
                end = distance;
                break;
            }
            if turn - before > widest {
                (widest, refined) = (turn - before, Some(between));
            }
        }
        let step = step.unwrap_or(0.0);
        let base = first.into_iter().map(|first| first.map_or(0.0, |(turn, position)| position - step * turn as f64));
        (Self { distances: start..end, step, base: base.collect() }, refined)
    }

    fn query_pos(&self, query: usize) -> f64 {
        match self.base.as_slice() {
            // a formula that plain attention shares
            [base] => self.step * query as f64 + (base - self.step * self.distances.start as f64),
            base => self.step * (query / base.len()) as f64,
        }
    }

    /// Position of a key to queries that leave the rest `rest`.
    fn key_pos(&self, rest: usize, key: usize) -> f64 {
        let period = self.base.len();
        if period == 1 {
            return self.step * key as f64;
        }
        let distance = rest as i64 - key as i64 - self.distances.start as i64;
        let (at, turn) = (distance.rem_euclid(period as i64), distance.div_euclid(period as i64));
        -self.base[at as usize] - self.step * turn as f64
    }
}
