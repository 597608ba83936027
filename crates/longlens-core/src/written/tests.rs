use proptest::prelude::*;

use super::*;
use crate::methods::Method;
use crate::plan::{Capacity, Prefill, Relation};
use crate::spec::ModelSpec;

type Answer = Result<Option<f64>, String>;

fn compiled(n_tokens: usize, relation: impl Fn(usize, usize) -> Option<f64>) -> Result<Plan, WriteError<String>> {
    let plan = from_relation("mine", "mine", n_tokens, |query, key| -> Answer { Ok(relation(query, key)) })?;
    agrees(&plan, n_tokens, relation);
    Ok(plan)
}

/// The plan says what the relation says, of every pair and of what follows from all pairs.
fn agrees(plan: &Plan, n_tokens: usize, relation: impl Fn(usize, usize) -> Option<f64>) {
    let prompt = Prefill { n_tokens };
    let mut highest = 0.0_f64;
    for i in 0..n_tokens {
        for j in 0..=i {
            let expected = relation(i, j);
            match plan.of(0, 0).relation(i, j, prompt) {
                Relation::Hidden => assert_eq!(expected, None, "query {i}, key {j}"),
                Relation::At(position, _) => {
                    let expected = expected.unwrap_or(f64::NAN);
                    assert!((position - expected).abs() <= 1e-9, "query {i}, key {j}: {position}, not {expected}");
                    highest = highest.max(expected);
                }
                Relation::Chosen { .. } => panic!("nothing is chosen"),
            }
            let n_spans = plan.of(0, 0).spans.iter().filter(|span| span.reach.sees(i, j)).count();
            assert_eq!(n_spans, usize::from(expected.is_some()), "query {i} meets key {j} {n_spans} times");
        }
        assert!((plan.highest_position(i + 1) - highest).abs() <= 1e-9);
    }
    assert_eq!(plan.covers(), Some(n_tokens));
}

fn spans(n_tokens: usize, relation: impl Fn(usize, usize) -> Option<f64>) -> usize {
    compiled(n_tokens, relation).unwrap().of(0, 0).spans.len()
}

fn distance(f: impl Fn(usize) -> Option<f64>) -> impl Fn(usize, usize) -> Option<f64> {
    move |i, j| f(i - j)
}

#[test]
fn what_depends_on_the_distance_takes_few_spans() {
    let n = 300;
    assert_eq!(spans(n, distance(|d| Some(d as f64))), 1, "full");
    assert_eq!(spans(n, distance(|_| Some(0.0))), 1, "no positions");
    assert_eq!(spans(n, distance(|d| Some(d.min(64) as f64))), 2, "ReRoPE");
    assert_eq!(spans(n, distance(|d| (d < 50).then_some(d as f64))), 1, "a window");
    assert_eq!(
        spans(n, distance(|d| Some(if d < 32 { d as f64 } else { 32.0 + (d as f64 - 32.0) / 7.0 }))),
        2,
        "leaky"
    );
    assert_eq!(spans(n, distance(|d| Some((d / 5) as f64))), 5, "grouped distances");
    assert_eq!(spans(n, distance(|d| Some((d / 5).min(9) as f64))), 6, "grouped distances up to a highest one");
    assert_eq!(spans(n, distance(|d| (d < 16 || d % 8 == 0).then_some(d as f64))), 1, "a window and every eighth");
    assert_eq!(spans(n, distance(|d| (d % 4 == 0).then_some((d / 4) as f64))), 1, "dilated");
    assert_eq!(spans(n, distance(|d| Some((1.0 + d as f64).ln().floor()))), 6, "steps of growing length");
}

#[test]
fn what_depends_on_query_and_key_takes_few_spans() {
    let n = 300;
    let d = |i: usize, j: usize| (i - j) as f64;
    let grouped = |i: usize, j: usize, g: usize| i as f64 / g as f64 - (j / g) as f64 - (i % g) as f64 / g as f64;
    let self_extend = |i, j| Some(if i - j < 40 { d(i, j) } else { grouped(i, j, 8) + 35.0 });
    assert_eq!(spans(n, self_extend), 2, "Self-Extend");
    let levels = |i, j| {
        Some(match i - j {
            0..30 => d(i, j),
            30..120 => grouped(i, j, 4) + 23.0,
            _ => grouped(i, j, 16) + 45.0,
        })
    };
    assert_eq!(spans(n, levels), 3, "two levels of groups");
    let sinks = |i: usize, j: usize| match (i - j < 20, j < 4) {
        (true, _) => Some(d(i, j)),
        (false, true) => Some(i.min(23) as f64 - j as f64),
        _ => None,
    };
    assert_eq!(spans(n, sinks), 2, "StreamingLLM");
    let blocks = |i: usize, j: usize| (i / 16 == j / 16 || j % 16 == 15).then_some(d(i, j));
    assert_eq!(spans(n, blocks), 1, "own block, and the last key of every one");
    let segments = |i: usize, j: usize| Some(if i / 50 == j / 50 { d(i, j) } else { (i / 50 - j / 50) as f64 * 100.0 });
    assert!(spans(n, segments) <= 3, "exact in a segment, one position per segment behind it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_listed_method_is_its_own_relation(
        text in crate::methods::tests::any_spans(), n in 1..200usize, trained in 1..80usize,
    ) {
        let listed = Method::parse(&text).unwrap().plan(&ModelSpec::tiny(64)).unwrap();
        let listed = Plan::new(text.clone(), listed.of(0, 0).clone());
        let plan = compiled(n, |i, j| match listed.of(0, 0).relation(i, j, Prefill { n_tokens: n }) {
            Relation::At(position, _) => Some(position),
            _ => None,
        }).unwrap();
        prop_assert!(plan.of(0, 0).spans.len() <= 3 * listed.of(0, 0).spans.len() + 3, "{}: {} spans", text, plan.of(0, 0).spans.len());
        prop_assert!((plan.highest_position(n) - listed.highest_position(n)).abs() < 1e-9);
        match (plan.capacity(trained), listed.capacity(trained)) {
            (Capacity::Tokens(written), Capacity::Tokens(listed)) => prop_assert_eq!(written, listed.min(n)),
            (written, _) => prop_assert_eq!(written, Capacity::Tokens(n)),
        }
    }

    #[test]
    fn relations_in_pieces_compile_and_agree(
        n in 1..160usize, edges in prop::array::uniform2(1..80usize), groups in prop::array::uniform3(1..9usize),
        shifts in prop::array::uniform3(-50.0..50.0f64), hole in 2..9usize, kinds in prop::array::uniform3(0..4u8),
    ) {
        let relation = |i: usize, j: usize| {
            let piece = usize::from(i - j >= edges[0]) + usize::from(i - j >= edges[0] + edges[1]);
            let g = groups[piece];
            match kinds[piece] {
                0 => Some((i / g) as f64 - (j / g) as f64 + shifts[piece]),
                1 => Some((i as f64 - j as f64) / g as f64 + shifts[piece]),
                2 => Some(shifts[piece]),
                _ => ((i + j).is_multiple_of(hole) || i == j).then(|| (i - j) as f64),
            }
        };
        compiled(n, relation).unwrap();
    }

    #[test]
    fn any_relation_compiles_exactly_or_is_refused(n in 1..60usize, seed in 0..1000usize, levels in 1..6usize) {
        let noise = |i: usize, j: usize| (i * 7919 + j * 104_729 + seed * 31) % 101;
        let relation = |i: usize, j: usize| (noise(i, j) % 3 > 0 || i == j).then(|| (noise(j, i) % levels) as f64);
        if let Err(error) = compiled(n, relation) {
            prop_assert!(matches!(error, WriteError::TooManySpans { .. }), "{}", error);
        }
    }

    #[test]
    fn distances_and_pairs_agree(n in 1..150usize, edge in 1..60usize, g in 1..9usize, hole in 1..5usize) {
        let f = |d: usize| (d < edge || d.is_multiple_of(hole)).then_some(if d < edge { d as f64 } else { (edge + (d - edge) / g) as f64 });
        let plan = from_distance("mine", "mine", n, |d| -> Answer { Ok(f(d)) }).unwrap();
        agrees(&plan, n, |i, j| f(i - j));
    }
}

#[test]
fn what_is_no_plan_is_refused_with_the_place() {
    let say = |result: Result<Plan, WriteError<String>>| {
        let error = result.unwrap_err();
        format!("{error} | {}", error.help().unwrap_or_default())
    };
    let pairs = |n, f: &dyn Fn(usize, usize) -> Answer| say(from_relation("mine", "mine", n, f));
    insta::assert_snapshot!(pairs(0, &|_, _| Ok(None)), @"a method is written out for 1 to 32768 tokens, not 0 | give the longest sequence that it is for");
    insta::assert_snapshot!(pairs(40_000, &|_, _| Ok(None)), @"a method is written out for 1 to 32768 tokens, not 40000 | write it out for fewer tokens");
    insta::assert_snapshot!(pairs(9, &|i, j| Ok((i != 4 && i >= j).then_some(0.0))), @"query 4 sees no key | let every query see at least itself");
    insta::assert_snapshot!(pairs(9, &|i, j| Ok(Some(if i == 5 { f64::NAN } else { j as f64 }))), @"query 5 sees key 5 at NaN, which is not a position | positions are finite numbers between -16777216 and 16777216");
    insta::assert_snapshot!(pairs(9, &|i, j| Ok(Some((i - j) as f64 * 1e7))), @"query 8 sees key 6 at 20000000, which is not a position | positions are finite numbers between -16777216 and 16777216");
    insta::assert_snapshot!(pairs(9, &|i, j| if i == 7 { Err("boom".into()) } else { Ok(Some(j as f64)) }), @"query 7, key 0: boom |");
    insta::assert_snapshot!(pairs(9, &|_, j| Ok(Some(if j == 8 { -1e300 } else { 0.0 }))), @"query 8 sees key 8 at -1e300, which is not a position | positions are finite numbers between -16777216 and 16777216");
    insta::assert_snapshot!(pairs(300, &|i, j| Ok(Some(((i * j) % 97) as f64))), @"query 118 needs more than 64 rules of position | rotary embeddings place queries and keys apart: piece by piece, the relative position must be a number of the query minus a number of the key, as in `q - k` or `floor(q / 4) - floor(k / 4)`");
    insta::assert_snapshot!(say(from_distance("mine", "mine", 9, |d| Ok((d > 0).then_some(1.0)))), @"query 0 sees no key | let every query see at least itself");
}

#[test]
fn sequences_longer_than_the_table_are_refused() {
    let plan = compiled(10, |i, j| Some((i - j) as f64)).unwrap();
    assert!(plan.check_length(10).is_ok());
    let error = plan.check_length(11).unwrap_err();
    insta::assert_snapshot!(format!("{error} | {}", error.help().unwrap()), @"`mine` was written out for 10 tokens, the sequence needs 11 | write it out for at least 11 tokens, or feed fewer");
    assert!(
        (0..=10).all(|j| plan.of(0, 0).relation(10, j, Prefill { n_tokens: 20 }) == Relation::Hidden),
        "past its end it shows nothing"
    );
}

type Pairs<'a> = &'a dyn Fn(usize, usize) -> Option<f64>;

#[test]
fn whoever_waits_is_told_before_every_query_and_can_stop_any_pass() {
    let n = 60;
    let pieces = |i: usize, j: usize| Some(((i / 7).min(5) as f64) - (j / 7).min(5) as f64);
    let grouped = |i: usize, j: usize| Some(((i - j) / 5) as f64);
    let noise = |i: usize, j: usize| Some((((i - j) * 7919) % 101) as f64);
    let stopped_after = |limit: usize, relation: Pairs, is_distance: bool| {
        let (mut told, mut last) = (0, 0);
        let check = |done: usize, total: usize| {
            told += 1;
            assert!((last..total).contains(&done), "{done} of {total} after {last}");
            last = done;
            if told > limit { Err("stop".to_owned()) } else { Ok(()) }
        };
        let result = if is_distance {
            from_distance_checked("mine", "mine", n, |d| -> Answer { Ok(relation(d, 0)) }, check)
        } else {
            from_relation_checked("mine", "mine", n, |i, j| -> Answer { Ok(relation(i, j)) }, check)
        };
        (told, result)
    };
    for (name, relation, is_distance) in [
        ("pieces", &pieces as Pairs, false),
        ("grouped", &grouped, false),
        ("grouped distances", &grouped, true),
        ("noise", &noise, true),
    ] {
        let (told, whole) = stopped_after(usize::MAX, relation, is_distance);
        assert!(told >= n, "{name}: told {told} times");
        assert!(whole.is_ok() || name == "noise", "{name}: {whole:?}");
        for limit in 0..told {
            let (_, result) = stopped_after(limit, relation, is_distance);
            let expected = WriteError::Stopped { error: "stop".to_owned() };
            assert_eq!(result.unwrap_err(), expected, "{name}, at {limit} of {told}");
        }
    }
}
