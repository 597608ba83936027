//! Attention as a device computed it, beside its definition in f64: an error for every head.
//!
//! A prompt runs as any other does, then tokens one by one, so that kernels of prefill and of generated tokens are both seen. The
//! definition ([`oracle`]) is computed from the queries, keys and values that the run left in its cache, so an error of one layer is
//! none of the next.

use longlens_core::lens::{Cached, Control, Lens, LensError, Rows, Setup};
use longlens_core::plan::{HeadGroup, Prefill};
use longlens_core::trace::{Choices, Queries, RunRecord, Watch};
use serde::Serialize;

mod oracle;

use oracle::{Oracle, Turned};

/// What is verified.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The prompt, then the tokens that are fed one by one.
    pub tokens: &'a [u32],
    /// Layers; none: all of them.
    pub layers: Vec<usize>,
    /// Queries of the prompt that are compared, at most: the first, the last, and others evenly between. Tokens after the prompt all are.
    pub n_queries: usize,
}

/// How far one head is from its definition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadError {
    /// Layer of the head.
    pub layer: usize,
    /// Query head of that layer.
    pub head: usize,
    /// Largest difference, as a part of the largest number that the head should give.
    pub off: f64,
    /// Root of the mean squared difference, as a part of that of the numbers.
    pub off_rms: f64,
    /// The query of the largest difference.
    pub query: usize,
    /// Of a head that chooses chunks, the most by which a chunk that was left out scores above one that was taken, as a part of the
    /// query's largest score; 0 where all queries chose as the definition does, whose scores are f64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice_off: Option<f64>,
    /// Queries whose choice differs from that of the definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_other_choices: Option<usize>,
}

/// A run beside its definition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was run.
    pub run: RunRecord,
    /// Queries that were compared.
    pub queries: Vec<usize>,
    /// Whether all queries, keys and values have 16 bits: the kernels round what they turn then.
    pub has_sixteen_bits: bool,
    /// What the largest difference may be.
    pub limit: f64,
    /// Every head of the layers asked for.
    pub heads: Vec<HeadError>,
}

/// What attention in f32 may be off by: sums of thousands of keys in another order.
const LIMIT: f64 = 1e-4;
/// The same where queries and keys are rounded to 16 bits once they are turned, and weights before they meet values.
const LIMIT_OF_SIXTEEN_BITS: f64 = 2e-2;

impl HeadError {
    /// The larger of the errors of attention and of choice.
    pub fn worst(&self) -> f64 {
        self.off.max(self.choice_off.unwrap_or(0.0))
    }
}

impl Report {
    /// Heads that are further from their definition than they may be.
    pub fn wrong(&self) -> impl Iterator<Item = &HeadError> {
        self.heads.iter().filter(|head| head.worst() > self.limit)
    }
}

/// Runs `ask.tokens` under `setup` and compares every head of the layers asked for with its definition.
pub fn verify(
    lens: &mut dyn Lens,
    setup: &Setup,
    ask: &Ask<'_>,
    control: &mut dyn Control,
) -> Result<Report, LensError> {
    let spec = lens.model().spec.trained_on(setup.trained_context).into_owned();
    let layers: Vec<usize> = if ask.layers.is_empty() { (0..spec.n_layers).collect() } else { ask.layers.clone() };
    let queries = queries(setup.n_prompt, ask.tokens.len(), ask.n_queries);
    let watch = Watch {
        attn_out: layers.clone(),
        choices: Queries::Of(queries.clone()),
        beyond: ask.tokens.len() - setup.n_prompt,
        ..Watch::default()
    };
    let setup = Setup { watch, keep_queries: true, ..setup.clone() };
    lens.begin(&setup)?;
    let (prompt, after) = ask.tokens.split_at(setup.n_prompt);
    lens.feed(prompt, Rows::None, control)?;
    for token in after {
        lens.feed(&[*token], Rows::None, control)?;
    }
    let trace = lens.trace();
    let oracles = setup.plan.rules().iter().map(|rule| {
        let rope = rule.rope(&setup.rope, &spec)?;
        Ok(Oracle { spec: &spec, rule, rope, prompt: Prefill { n_tokens: setup.n_prompt } })
    });
    let oracles: Vec<Oracle<'_>> = oracles.collect::<Result<_, LensError>>()?;
    let (mut heads, mut has_sixteen_bits) = (Vec::new(), true);
    for (done, layer) in layers.iter().enumerate() {
        let cached = lens.cached(*layer)?;
        has_sixteen_bits &= [&cached.query, &cached.key, &cached.value].into_iter().all(|numbers| is_short(numbers));
        let of_layer = &trace.layers[*layer];
        for HeadGroup { heads: group, rule } in setup.plan.groups(*layer, spec.n_heads) {
            let mut turned = Turned::default();
            for head in group {
                control.progress(done * spec.n_heads + head, layers.len() * spec.n_heads);
                if control.cancelled() {
                    return Err(LensError::Cancelled);
                }
                let got = Got { out: &of_layer.attn_out, choices: of_layer.choices.as_ref() };
                heads.push(compare(&oracles[rule], &mut turned, &cached, (*layer, head), &queries, got));
            }
        }
    }
    let limit = if has_sixteen_bits { LIMIT_OF_SIXTEEN_BITS } else { LIMIT };
    Ok(Report { run: trace.run, queries, has_sixteen_bits, limit, heads })
}

/// The queries that are compared.
fn queries(n_prompt: usize, n_tokens: usize, n: usize) -> Vec<usize> {
    let n = n.clamp(1, n_prompt.max(1));
    let last = n_prompt.saturating_sub(1);
    let of_prompt = (0..n).map(|at| if n == 1 { last } else { at * last / (n - 1) });
    of_prompt.chain(n_prompt..n_tokens).collect()
}

/// Whether bf16 or f16 holds all of them. Numbers of 32 bits seldom end in as many zeros, thousands of them never.
fn is_short(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.to_bits().trailing_zeros() >= 13)
}

/// What a run gave of a layer.
#[derive(Clone, Copy)]
struct Got<'a> {
    /// `[n_tokens, n_heads * head_dim]`.
    out: &'a [f32],
    choices: Option<&'a Choices>,
}

fn compare(
    oracle: &Oracle<'_>,
    turned: &mut Turned,
    cached: &Cached,
    (layer, head): (usize, usize),
    queries: &[usize],
    got: Got<'_>,
) -> HeadError {
    let (d, n_heads) = (oracle.spec.head_dim, oracle.spec.n_heads);
    let (mut off, mut query_off, mut largest, mut squares, mut squares_off) = (0.0f64, 0, 0.0f64, 0.0, 0.0);
    let (mut choice_off, mut n_other, mut chooses) = (0.0f64, 0, false);
    for query in queries {
        let recorded = got.choices.and_then(|choices| recorded(choices, *query, head));
        let found = oracle.attend(turned, cached, head, *query, recorded);
        if let Some(regret) = found.regret {
            chooses = true;
            choice_off = choice_off.max(finite(regret));
            n_other += usize::from(regret > 0.0);
        }
        let out = &got.out[(query * n_heads + head) * d..][..d];
        for (got, expected) in out.iter().map(|x| f64::from(*x)).zip(&found.out) {
            let difference = finite((got - expected).abs());
            if difference > off {
                (off, query_off) = (difference, *query);
            }
            largest = largest.max(expected.abs());
            squares += expected * expected;
            squares_off += difference * difference;
        }
    }
    HeadError {
        layer,
        head,
        off: off / largest.clamp(f64::MIN_POSITIVE, f64::MAX),
        off_rms: (squares_off / squares.max(f64::MIN_POSITIVE)).sqrt(),
        query: query_off,
        choice_off: chooses.then_some(choice_off),
        n_other_choices: chooses.then_some(n_other),
    }
}

/// The number, or more than any limit: what is no number is lost in a maximum.
fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { f64::INFINITY }
}

/// The complete chunks that a head chose for a query, where they were recorded.
fn recorded(choices: &Choices, query: usize, head: usize) -> Option<&[i32]> {
    let at = choices.queries.binary_search(&query).ok()?;
    let row = &choices.chunks[(at * choices.n_heads + head) * choices.n_slots..][..choices.n_slots];
    row.iter().any(|chunk| *chunk >= 0).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_spread_from_first_to_last_and_generated_ones_all_there() {
        assert_eq!(queries(100, 103, 4), [0, 33, 66, 99, 100, 101, 102]);
        assert_eq!(queries(3, 3, 64), [0, 1, 2]);
        assert_eq!(queries(9, 9, 1), [8]);
    }

    #[test]
    fn sixteen_bits_are_known_by_their_zeros() {
        assert!(is_short(&[1.0, -0.5, 0.0, f32::from_bits(0x3F9D_0000)]));
        assert!(!is_short(&[1.0, 0.1]));
    }
}
