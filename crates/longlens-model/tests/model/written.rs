//! Methods written out pair by pair compute what the methods of the catalog compute.

use std::convert::Infallible;

use longlens_core::lens::{LensError, Rows, Setup};
use longlens_core::plan::{HeadPlan, Heads, Plan, Prefill, Relation};
use longlens_core::setting::SettingError;
use longlens_core::spec::ModelSpec;
use longlens_core::trace::{Chunks, MapPick, MapWindow, Queries, RowPick, Watch, WatchMass};
use longlens_core::written;
use proptest::prelude::*;

use crate::common::strategies::{any_spans, fixed_rope};
use crate::common::{Way, agree, embedded, feed, same_attention, tokens, two_layers};

/// Two ways to the same plan differ by the rounding of angles alone.
const TOLERANCE: f32 = 1e-5;

/// The relations of a plan, compiled rule by rule; factors on the scores stay as they are.
fn written_out(plan: &Plan, model: &ModelSpec, n_tokens: usize) -> Plan {
    let compile = |rule: &HeadPlan| {
        let relation = |query, key| {
            Ok::<_, Infallible>(match rule.relation(query, key, Prefill { n_tokens }) {
                Relation::At(position, _) => Some(position),
                _ => None,
            })
        };
        let compiled = written::from_relation("mine", "mine", n_tokens, relation).unwrap();
        HeadPlan { query_scale: rule.query_scale, temperature: rule.temperature, ..compiled.of(0, 0).clone() }
    };
    let compiled: Vec<_> = plan.rules().iter().map(compile).collect();
    let place = |layer, head| plan.rules().iter().position(|rule| rule == plan.of(layer, head)).unwrap();
    Plan::new("mine", Heads::by_head(model, |layer, head| compiled[place(layer, head)].clone()))
}

fn everything(n: usize) -> Watch {
    let window = Some(MapWindow { query: n / 2, key: n / 4, len: n / 3 + 1 });
    Watch {
        rows: vec![RowPick { layer: 0, head: 1, query: n - 1 }, RowPick { layer: 1, head: 3, query: n / 2 }],
        maps: vec![MapPick::whole(0, 0, 9), MapPick { window, ..MapPick::whole(1, 2, 7) }],
        mass: Some(WatchMass { chunks: Chunks::Every(5), queries: Queries::All }),
        ..Watch::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_listed_method_and_its_own_relation_compute_the_same(
        method in any_spans(), rope in prop_oneof![4 => fixed_rope(), 1 => Just("dynamic:factor=2,original=32,rerotate=true")], n_prompt in 2..100usize, more in 0..12usize, chunk in 1..60usize,
        keep in 0.0..1.0f64,
    ) {
        let mut lens = two_layers();
        let (n, lens) = (n_prompt + more, lens.as_mut());
        let listed = Way::new(&method, rope).setup(lens, n_prompt, everything(n_prompt));
        let written = Setup { plan: written_out(&listed.plan, &lens.model().spec, n), prefill_chunk: chunk, ..listed.clone() };
        lens.begin(&listed).unwrap();
        let expected = feed(lens, 0, n);
        let (trace, inspected) = (lens.trace(), lens.inspect(&everything(n), &mut ()).unwrap());

        lens.begin(&written).unwrap();
        agree(&feed(lens, 0, n), &expected, TOLERANCE, "logits")?;
        same_attention(&lens.trace(), &trace)?;
        same_attention(&lens.inspect(&everything(n), &mut ()).unwrap(), &inspected)?;

        let keep = (keep * (n + 1) as f64) as usize;
        lens.reuse(&written, keep).unwrap();
        let vocab_size = lens.model().spec.vocab_size;
        agree(&feed(lens, keep, n), &expected[keep * vocab_size..], TOLERANCE, "logits after a swap")?;
    }
}

#[test]
fn holes_count_in_every_phase_and_leave_the_rest_alone() {
    let mut lens = embedded();
    let lens = lens.as_mut();
    let n = 90;
    // of four tokens three are hidden from everyone, except at a distance below 4
    let relation = |query: usize, key: usize| {
        Ok::<_, Infallible>((query - key < 4 || key.is_multiple_of(4)).then(|| (query - key) as f64))
    };
    let plan = written::from_relation("sparse", "sparse", n, relation).unwrap();
    let setup = Setup { plan, ..Way::new("full", "none").setup(lens, 60, everything(60)) };
    lens.begin(&setup).unwrap();
    let whole = feed(lens, 0, n);
    let rows = lens.inspect(&everything(n), &mut ()).unwrap().rows;
    for (pick, row) in rows {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        for (key, weight) in row.iter().enumerate() {
            assert_eq!(*weight > 0.0, pick.query - key < 4 || key.is_multiple_of(4), "query {}, key {key}", pick.query);
        }
    }
    // one token at a time from the first on takes the other body
    lens.begin(&Setup { prefill_chunk: 1, watch: Watch::default(), ..setup }).unwrap();
    agree(&feed(lens, 0, n), &whole, crate::common::TOLERANCE, "logits").unwrap();
}

#[test]
fn sequences_longer_than_the_plan_are_refused_and_nothing_is_lost() {
    let mut lens = two_layers();
    let lens = lens.as_mut();
    let full = Way::new("full", "none").setup(lens, 20, Watch::default());
    let short = Setup { plan: written_out(&full.plan, &lens.model().spec, 21), ..full.clone() };
    let too_long = |result: Result<(), LensError>| {
        matches!(result, Err(LensError::Setting(SettingError::TooLong { covers: 21, n_tokens: 22, .. })))
    };
    assert!(too_long(lens.begin(&Setup { n_prompt: 22, ..short.clone() })));
    lens.begin(&short).unwrap();
    feed(lens, 0, 20);
    assert!(too_long(lens.feed(&tokens(22)[20..], Rows::None, &mut ()).map(drop)));
    feed(lens, 20, 21);
    lens.begin(&full).unwrap();
    let expected = feed(lens, 0, 24);
    assert!(too_long(lens.reuse(&short, 22)));
    lens.reuse(&full, 22).unwrap();
    let vocab_size = lens.model().spec.vocab_size;
    agree(&feed(lens, 22, 24), &expected[22 * vocab_size..], crate::common::TOLERANCE, "logits").unwrap();
}
