//! What must hold for every method, scaling and parameter, on a small random-weight checkpoint with grouped heads.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock};

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::plan::{Prefill, Relation};
use longlens_core::rope::RopeScaling;
use longlens_core::trace::{Chunks, Queries, Watch, WatchMass};
use longlens_kernel::linear::Storage;
use longlens_model::source::Source;
use proptest::prelude::*;

use crate::common::strategies::{any_method, any_rope, fixed_rope, one_rule};

/// Two ways to the same numbers differ by rounding alone; logits go up to about 10.
const TOLERANCE: f32 = 1e-4;

fn lens() -> MutexGuard<'static, Box<dyn Lens>> {
    static LENS: OnceLock<Mutex<Box<dyn Lens>>> = OnceLock::new();
    let open = || {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden/models/llama3-gqa");
        let source = Source::resolve(model.to_str().unwrap()).unwrap();
        Mutex::new(longlens_model::open::<Flex>(&source, Storage::F32, FlexDevice, "test").unwrap())
    };
    LENS.get_or_init(open).lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How a text is run.
#[derive(Debug, Clone)]
struct Run {
    method: String,
    rope: String,
    n_prompt: usize,
    prefill_chunk: usize,
    /// Tokens of each call; the last one takes the rest.
    calls: Vec<usize>,
}

fn tokens(n: usize) -> Vec<u32> {
    (0..n as u64).map(|i| ((i * 2_654_435_761 + 12_345) >> 7) as u32 % 256).collect()
}

fn logits(run: &Run, n_tokens: usize) -> Vec<f32> {
    let mut lens = lens();
    let method = Method::parse(&run.method).unwrap();
    let mut setup = Setup::new(&method, &lens.model().spec, run.n_prompt).unwrap();
    setup.rope = RopeScaling::parse(&run.rope).unwrap();
    setup.prefill_chunk = run.prefill_chunk;
    lens.begin(&setup).unwrap();
    let (tokens, mut at, mut logits) = (tokens(n_tokens), 0, Vec::new());
    for len in run.calls.iter().copied().chain([n_tokens]) {
        let end = (at + len).min(n_tokens);
        if at < end {
            logits.extend(lens.feed(&tokens[at..end], Rows::All, &mut ()).unwrap());
        }
        at = end;
    }
    logits
}

fn agree(a: &[f32], b: &[f32], what: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    prop_assert!(worst <= TOLERANCE, "{what}: logits differ by {worst}");
    Ok(())
}

fn whole(method: &str, rope: &str, n_prompt: usize) -> Run {
    Run { method: method.into(), rope: rope.into(), n_prompt, prefill_chunk: usize::MAX, calls: Vec::new() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_prompt_in_pieces_is_the_whole_prompt(
        method in any_method(), rope in any_rope(), n in 2..140usize, piece in 1..60usize, split in 0.0..1.0f64,
    ) {
        let expected = logits(&whole(&method, rope, n), n);
        let first = 1 + (split * (n - 1) as f64) as usize;
        let pieces = Run { prefill_chunk: piece, calls: vec![first], ..whole(&method, rope, n) };
        agree(&logits(&pieces, n), &expected, &format!("{pieces:?}"))?;
    }

    #[test]
    fn generated_tokens_see_what_prompt_tokens_see(
        method in one_rule(), rope in fixed_rope(), n in 2..110usize, part in 0.0..1.0f64,
    ) {
        let expected = logits(&whole(&method, rope, n), n);
        let n_prompt = 1 + (part * (n - 1) as f64) as usize;
        let one_by_one = Run { calls: std::iter::once(n_prompt).chain(vec![1; n - n_prompt]).collect(), ..whole(&method, rope, n_prompt) };
        agree(&logits(&one_by_one, n), &expected, &format!("{one_by_one:?}"))?;
    }

    #[test]
    fn a_prompt_whose_keys_all_stand_at_their_true_distance_is_plain_attention(method in any_method(), rope in fixed_rope()) {
        let plan = Method::parse(&method).unwrap().plan(&lens().model().spec).unwrap();
        let is_plain = |n_tokens: usize| {
            let pairs = (0..n_tokens).flat_map(|i| (0..=i).map(move |j| (i, j)));
            let mut of_rules = pairs.flat_map(|pair| plan.rules().iter().map(move |rule| (rule, pair)));
            of_rules.all(|(rule, (i, j))| {
                let at_distance = |position: f64| (position - (i - j) as f64).abs() < 1e-9;
                let relation = rule.relation(i, j, Prefill { n_tokens });
                let is_one = |factor: f64| (factor - 1.0).abs() < 1e-12;
                matches!(relation, Relation::At(position, _) if at_distance(position)) && is_one(rule.query_scale.at(i) * rule.amplitude(n_tokens))
            })
        };
        let n = (1..50).take_while(|n| is_plain(*n)).last();
        prop_assume!(n.is_some());
        let n = n.unwrap();
        agree(&logits(&whole(&method, rope, n), n), &logits(&whole("full", rope, n), n), &method)?;
    }

    #[test]
    fn attention_weights_of_any_query_sum_to_one(method in any_method(), n in 1..120usize, chunk_len in 1..40usize) {
        let mut lens = lens();
        let mut setup = Setup::new(&Method::parse(&method).unwrap(), &lens.model().spec, n).unwrap();
        setup.prefill_chunk = 50;
        setup.watch = Watch { mass: Some(WatchMass { chunks: Chunks::Every(chunk_len), queries: Queries::All }), nll: true, ..Watch::default() };
        lens.begin(&setup).unwrap();
        lens.feed(&tokens(n), Rows::None, &mut ()).unwrap();
        let trace = lens.trace();
        prop_assert_eq!(trace.nll.len(), n - 1);
        for layer in &trace.layers {
            let mass = layer.mass.as_ref().unwrap();
            prop_assert_eq!(&mass.queries, &(0..n).collect::<Vec<_>>());
            for row in 0..n {
                for head in 0..mass.n_heads {
                    let sum: f32 = mass.row(row, head).iter().sum();
                    prop_assert!((sum - 1.0).abs() < 1e-4, "{method}: query {row}, head {head}: {sum}");
                    prop_assert_eq!(mass.row(row, head).len(), row / chunk_len + 1);
                }
            }
        }
    }
}

#[test]
fn group_size_one_is_plain_attention_at_any_length() {
    let expected = logits(&whole("full", "none", 150), 150);
    for window in [1, 7, 64] {
        let method = format!("self_extend:group_size=1,neighbor_window={window}");
        agree(&logits(&whole(&method, "none", 150), 150), &expected, &method).unwrap();
    }
}

#[test]
fn a_choice_of_every_chunk_is_plain_attention() {
    // 64 tokens in chunks of 8: from 56 on, every chunk is chosen and stands at its true place. Under `dynamic` a choice
    // rotates all keys with the newest base, whatever the scaling says of other methods.
    let choice = "long_heads:chunk_len=8,attention_len=64,begin_len=56";
    for (rope, of_full) in [
        ("none", "none"),
        ("yarn:factor=8", "yarn:factor=8"),
        ("dynamic:factor=2,original=32", "dynamic:factor=2,original=32,rerotate=true"),
    ] {
        for n_prompt in [20, 58, 64] {
            let calls = |method: &str, rope: &str| Run {
                calls: std::iter::once(n_prompt).chain(vec![1; 64 - n_prompt]).collect(),
                ..whole(method, rope, n_prompt)
            };
            agree(&logits(&calls(choice, rope), 64), &logits(&calls("full", of_full), 64), rope).unwrap();
        }
    }
}
