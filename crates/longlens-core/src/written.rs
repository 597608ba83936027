//! Methods that users write: a relation of query and key, asked pair by pair and compiled into a plan.
//!
//! A plan places a query and a key apart: `relation(q, k) = query_pos(q) - key_pos(k)` inside each span. So the compiler looks
//! for few spans, each with one table of key positions, that say what the relation says, for every pair. What depends on the
//! distance alone is cut into stretches that repeat with a period ([`distances`]); anything else is read query by query, from
//! the first on, and the tables grow with the keys ([`rows`]). Keys after the query are never asked for, so a method cannot
//! look ahead.
//!
//! Only differences of positions are said. Where a key keeps an older base than the query has (`dynamic` RoPE without
//! `rerotate`), scores also depend on where the difference lies, and a written method may differ there from a listed one of
//! the same relation.

use crate::plan::Plan;

mod distances;
mod draft;
mod rows;

use draft::Draft;
use rows::Stop;

/// Spans of a plan at most.
pub const MAX_SPANS: usize = 64;
/// Tokens that a relation can be written out for at most.
pub const MAX_TOKENS: usize = 1 << 15;
/// Largest relative position in either direction: larger ones are not told apart in 32 bits.
pub const MAX_POSITION: f64 = (1 << 24) as f64;
/// Bytes that tables may take.
const MAX_BYTES: usize = 1 << 28;
/// How far a plan's position may be from the relation's, for positions up to 10^5; larger ones are compared by digits. Four
/// steps of the compiler stay within 1e-9 together.
const TOLERANCE: f64 = 2.5e-10;
/// The same, relative to the position.
const RELATIVE: f64 = 2.5e-15;

/// Why a relation is no plan. `E` is what the function itself can fail with.
#[allow(missing_docs, reason = "what a field holds is said by the message that it stands in")]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WriteError<E> {
    /// The function failed.
    #[error("query {query}, key {key}: {error}")]
    Function {
        /// Query that was asked for.
        query: usize,
        /// Key that was asked for.
        key: usize,
        /// What the function says.
        error: E,
    },
    /// Whoever waits for the plan stopped it.
    #[error("{error}")]
    Stopped {
        /// Why.
        error: E,
    },
    /// NaN, infinity, or a number beyond [`MAX_POSITION`].
    #[error("query {query} sees key {key} at {}, which is not a position", short(.position))]
    NoPosition {
        query: usize,
        key: usize,
        /// What the function returned.
        position: f64,
    },
    /// A query without keys: its attention would have nothing to add up.
    #[error("query {query} sees no key")]
    SeesNothing { query: usize },
    /// More spans than [`MAX_SPANS`].
    #[error("query {query} needs more than {MAX_SPANS} rules of position")]
    TooManySpans {
        /// The first query that nothing known explains.
        query: usize,
    },
    /// No tokens, or more than [`MAX_TOKENS`].
    #[error("a method is written out for 1 to {MAX_TOKENS} tokens, not {n_tokens}")]
    Length {
        /// Tokens asked for.
        n_tokens: usize,
    },
    /// Tables beyond the memory allowed.
    #[error("the tables would take more than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
}

impl<E> WriteError<E> {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::Function { .. } | Self::Stopped { .. } => return None,
            Self::NoPosition { .. } => {
                format!("positions are finite numbers between -{MAX_POSITION} and {MAX_POSITION}")
            }
            Self::SeesNothing { .. } => "let every query see at least itself".into(),
            Self::TooManySpans { .. } => {
                "rotary embeddings place queries and keys apart: piece by piece, the relative position must be a number of the \
                 query minus a number of the key, as in `q - k` or `floor(q / 4) - floor(k / 4)`"
                    .into()
            }
            Self::Length { n_tokens: 0 } => "give the longest sequence that it is for".into(),
            Self::Length { .. } | Self::TooLarge => "write it out for fewer tokens".into(),
        };
        Some(text)
    }
}

/// The plan of a relation: `relation(query, key)` is the relative position, or nothing where the query does not see the key.
/// It is asked for `key <= query < n_tokens`, up to three times for each pair, and must answer the same every time.
///
/// `name` stands in errors, `text` in titles. The plan says the same as the relation to 1e-9 (relative to positions beyond
/// 10^5), for every pair.
pub fn from_relation<E>(
    name: &str,
    text: &str,
    n_tokens: usize,
    relation: impl FnMut(usize, usize) -> Result<Option<f64>, E>,
) -> Result<Plan, WriteError<E>> {
    from_relation_checked(name, text, n_tokens, relation, |_, _| Ok(()))
}

/// The same for those who wait: `check(done, total)` is told before every query, in every pass over them, how many of all
/// pairs are done at most, and stops the compiler with its error.
pub fn from_relation_checked<E>(
    name: &str,
    text: &str,
    n_tokens: usize,
    mut relation: impl FnMut(usize, usize) -> Result<Option<f64>, E>,
    check: impl FnMut(usize, usize) -> Result<(), E>,
) -> Result<Plan, WriteError<E>> {
    check_length(n_tokens)?;
    let mut ask = |query: usize, key: usize| {
        let error = |error| WriteError::Function { query, key, error };
        checked(query, key, relation(query, key).map_err(error)?)
    };
    let mut passes = Passes { check, n_tokens, pass: 0 };
    // the last query sees every distance there is
    let profile =
        (0..n_tokens).map(|distance| ask(n_tokens - 1, n_tokens - 1 - distance)).collect::<Result<Vec<_>, _>>()?;
    let stretches = distances::cut(&profile, || passes.at(0))?;
    if let Some(stretches) = &stretches
        && profile[0].is_some()
        && depends_on_distance(&profile, &mut ask, &mut passes)?
    {
        passes.pass += 1;
        let draft = distances::draft(&profile, stretches, |query| passes.at(query)).map_err(into_error)?;
        return draft.into_plan(name, text);
    }
    passes.pass += 1;
    let rules = stretches.map_or(Vec::new(), |stretches| distances::rules(&stretches, n_tokens));
    let read = |query: usize, row: &mut Vec<(u32, f64)>| {
        passes.at(query)?;
        for key in (0..=query).rev() {
            row.extend(ask(query, key)?.map(|position| (key as u32, position)));
        }
        if row.is_empty() { Err(WriteError::SeesNothing { query }) } else { Ok(()) }
    };
    let draft = rows::explain(n_tokens, rules, read).map_err(into_error)?;
    simpler(draft, &mut passes)?.into_plan(name, text)
}

/// The plan of a relation that depends on the distance alone: `relation(query - key)`, asked once for each distance.
/// Otherwise as [`from_relation`]; errors name a distance as a query that sees key 0.
pub fn from_distance<E>(
    name: &str,
    text: &str,
    n_tokens: usize,
    relation: impl FnMut(usize) -> Result<Option<f64>, E>,
) -> Result<Plan, WriteError<E>> {
    from_distance_checked(name, text, n_tokens, relation, |_, _| Ok(()))
}

/// The same for those who wait, as [`from_relation_checked`].
pub fn from_distance_checked<E>(
    name: &str,
    text: &str,
    n_tokens: usize,
    mut relation: impl FnMut(usize) -> Result<Option<f64>, E>,
    check: impl FnMut(usize, usize) -> Result<(), E>,
) -> Result<Plan, WriteError<E>> {
    check_length(n_tokens)?;
    let mut ask = |query: usize| {
        let error = |error| WriteError::Function { query, key: 0, error };
        checked(query, 0, relation(query).map_err(error)?)
    };
    let profile = (0..n_tokens).map(&mut ask).collect::<Result<Vec<_>, _>>()?;
    if profile[0].is_none() {
        // the first query has no other key
        return Err(WriteError::SeesNothing { query: 0 });
    }
    let mut passes = Passes { check, n_tokens, pass: 0 };
    if let Some(stretches) = distances::cut(&profile, || passes.at(0))? {
        passes.pass += 1;
        let draft = distances::draft(&profile, &stretches, |query| passes.at(query)).map_err(into_error)?;
        return draft.into_plan(name, text);
    }
    from_relation_checked(name, text, n_tokens, |query, key| Ok(profile[query - key]), passes.check)
}

/// Passes over all queries: the test for distances, the explanation, and up to two simpler ones.
const N_PASSES: usize = 4;

/// Tells whoever waits how far the passes are.
struct Passes<C> {
    check: C,
    n_tokens: usize,
    /// The pass that runs.
    pass: usize,
}

impl<C> Passes<C> {
    /// A pass comes to this query.
    fn at<E>(&mut self, query: usize) -> Result<(), WriteError<E>>
    where
        C: FnMut(usize, usize) -> Result<(), E>,
    {
        let pairs = |n: usize| n * (n + 1) / 2;
        let all = pairs(self.n_tokens);
        (self.check)(self.pass * all + pairs(query), N_PASSES * all).map_err(|error| WriteError::Stopped { error })
    }
}

fn check_length<E>(n_tokens: usize) -> Result<(), WriteError<E>> {
    if (1..=MAX_TOKENS).contains(&n_tokens) { Ok(()) } else { Err(WriteError::Length { n_tokens }) }
}

fn checked<E>(query: usize, key: usize, position: Option<f64>) -> Result<Option<f64>, WriteError<E>> {
    match position {
        Some(position) if !position.is_finite() || position.abs() > MAX_POSITION => {
            Err(WriteError::NoPosition { query, key, position })
        }
        position => Ok(position),
    }
}

/// Whether every pair agrees with what the last query says of its distance. A few queries that tell most relations apart
/// are asked first.
fn depends_on_distance<E>(
    profile: &[Option<f64>],
    ask: &mut impl FnMut(usize, usize) -> Result<Option<f64>, WriteError<E>>,
    passes: &mut Passes<impl FnMut(usize, usize) -> Result<(), E>>,
) -> Result<bool, WriteError<E>> {
    let n_tokens = profile.len();
    let first = [n_tokens.saturating_sub(2), n_tokens / 2, n_tokens / 3];
    let first = first.into_iter().map(|query| (query, 0));
    for (query, done) in first.chain((0..n_tokens).map(|query| (query, query))) {
        passes.at(done)?;
        for key in 0..=query {
            let same = match (ask(query, key)?, profile[query - key]) {
                (Some(position), Some(known)) => same(position, known),
                (position, known) => position.is_none() && known.is_none(),
            };
            if !same {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether two positions are the same but for rounding.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE.max(RELATIVE * a.abs())
}

fn into_error<E>(stop: Stop<WriteError<E>>) -> WriteError<E> {
    match stop {
        Stop::Read(error) => error,
        Stop::TooManySpans { query } => WriteError::TooManySpans { query },
        Stop::TooLarge => WriteError::TooLarge,
    }
}

/// The same spans explained once more by the rules that they ended with: what a rule learned late serves the first queries
/// too, and rules that were only needed on the way fall out.
fn simpler<E>(
    mut draft: Draft,
    passes: &mut Passes<impl FnMut(usize, usize) -> Result<(), E>>,
) -> Result<Draft, WriteError<E>> {
    for _ in 0..2 {
        passes.pass += 1;
        let read = |query: usize, row: &mut Vec<(u32, f64)>| {
            passes.at(query)?;
            draft.read(query, row);
            Ok(())
        };
        match rows::explain(draft.n_tokens(), draft.rules_by_use(), read) {
            Ok(next) if next.n_spans() < draft.n_spans() => draft = next,
            Err(Stop::Read(stopped)) => return Err(stopped),
            _ => break,
        }
    }
    Ok(draft)
}

/// A number in few signs: 1e300 has 301 digits.
#[allow(clippy::trivially_copy_pass_by_ref)] // the text of an error has its fields by reference
fn short(position: &f64) -> String {
    if position.abs() < 1e16 { position.to_string() } else { format!("{position:e}") }
}

#[cfg(test)]
mod tests;
