//! Going on under another method from cached keys and values.

use std::cell::Cell;

use longlens_core::lens::{Control, Lens, LensError, Rows, Setup};
use longlens_core::trace::{MapPick, Watch};
use proptest::prelude::*;

use crate::common::{
    TOLERANCE, Way, agree, all_choices, close_call, embedded, feed, grouped, one_layer, same_attention,
};
use crate::common::{tokens, two_layers, way};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Keys and values of one layer depend on no method.
    #[test]
    fn with_one_layer_another_method_goes_on_as_if_it_had_begun(
        before in way(), after in way(), n_prompt in 1..110usize, more in 0..30usize, keep in 0.0..1.0f64,
    ) {
        let n = n_prompt + more;
        let keep = (keep * (n + 1) as f64) as usize;
        goes_on_as_if_it_had_begun(one_layer().as_mut(), &before, &after, n_prompt, n, keep)?;
    }

    #[test]
    fn the_same_method_goes_on_where_it_was_and_another_destroys_nothing(
        way in way(), other in way(), n_prompt in 1..90usize, more in 0..20usize, keeps in [0.0..1.0f64, 0.0..1.0, 0.0..1.0],
        beyond in 0..400usize,
    ) {
        let mut lens = embedded();
        let (n, lens) = (n_prompt + more, lens.as_mut());
        lens.begin(&way.setup(lens, n_prompt, all_choices())).unwrap();
        let expected = feed(lens, 0, n);
        prop_assume!(!close_call(&lens.trace()));
        let vocab_size = lens.model().spec.vocab_size;
        for (turn, keep) in keeps.into_iter().enumerate() {
            let keep = (keep * (n + 1) as f64) as usize;
            if turn == 1 {
                // what another method writes goes away, however far past the cache's room it gets
                lens.reuse(&other.setup(lens, n_prompt, Watch::default()), keep).unwrap();
                feed(lens, keep, n + beyond);
            } else {
                lens.reuse(&way.setup(lens, n_prompt, Watch::default()), keep).unwrap();
                agree(&feed(lens, keep, n), &expected[keep * vocab_size..], TOLERANCE, "logits")?;
            }
        }
    }
}

/// Going on from `keep` tokens of another way gives what the whole way gives, where both have the same keys and values: logits,
/// choices, scores.
fn goes_on_as_if_it_had_begun(
    lens: &mut dyn Lens,
    before: &Way,
    after: &Way,
    n_prompt: usize,
    n: usize,
    keep: usize,
) -> Result<(), TestCaseError> {
    lens.begin(&after.setup(lens, n_prompt, all_choices())).unwrap();
    let expected = feed(lens, 0, n);
    let mut whole = lens.trace();
    prop_assume!(!close_call(&whole));
    lens.begin(&before.setup(lens, n_prompt, Watch::default())).unwrap();
    feed(lens, 0, n);
    lens.reuse(&after.setup(lens, n_prompt, all_choices()), keep).unwrap();
    let got = feed(lens, keep, n);
    agree(&got, &expected[expected.len() - got.len()..], TOLERANCE, "logits")?;
    let trace = lens.trace();
    prop_assert_eq!((trace.run.mode.as_str(), trace.run.n_prompt), ("reuse-kv", n_prompt));
    for layer in &mut whole.layers {
        let Some(choices) = &mut layer.choices else { continue };
        let earlier = choices.queries.iter().filter(|query| **query < keep).count();
        choices.queries.drain(..earlier);
        choices.chunks.drain(..earlier * choices.n_heads * choices.n_slots);
        choices.scores.drain(..earlier * choices.n_heads * choices.n_slots);
        choices.margins.drain(..earlier * choices.n_heads);
        layer.choices = layer.choices.take().filter(|choices| !choices.queries.is_empty());
    }
    same_attention(&trace, &whole)
}

#[test]
fn a_generated_chunk_is_summarised_at_its_own_moment() {
    let full = Way::new("full", "none");
    for variant in ["released", "consistent"] {
        let method = format!("long_heads:chunk_len=8,attention_len=32,variant={variant}");
        let choice = Way::new(&method, "dynamic:factor=4,original=16");
        for keep in [39, 40, 43, 64, 79] {
            goes_on_as_if_it_had_begun(one_layer().as_mut(), &full, &choice, 43, 80, keep).unwrap();
        }
    }
}

#[test]
fn chunks_of_two_lengths_are_summarised_each_at_its_own_moment() {
    let chosen = |chunk_len: usize| format!("long_heads:chunk_len={chunk_len},attention_len={}", 4 * chunk_len);
    // the same method in the first layer, so the second one's keys and values are the same too
    let way = |second: usize| {
        let method = format!("by_layer:0={}/1={}", chosen(16), chosen(second));
        Way::new(&method, "dynamic:factor=64,original=16")
    };
    for keep in [39, 43, 55, 64, 79] {
        goes_on_as_if_it_had_begun(two_layers().as_mut(), &way(16), &way(6), 43, 80, keep).unwrap();
    }
}

#[test]
fn what_was_not_kept_cannot_be_inspected() {
    let mut lens = two_layers();
    let lens = lens.as_mut();
    let (full, choice) = (Way::new("full", "none"), Way::new("long_heads:chunk_len=4,attention_len=16", "none"));
    let (full, choice) = (full.setup(lens, 30, Watch::default()), choice.setup(lens, 30, Watch::default()));
    lens.begin(&Setup { keep_queries: false, ..full.clone() }).unwrap();
    feed(lens, 0, 30);
    let nothing_kept = |result: Result<(), LensError>| matches!(result, Err(LensError::NothingKept { .. }));
    assert!(nothing_kept(lens.inspect(&Watch::default(), &mut ()).map(drop)));
    assert!(nothing_kept(lens.reuse(&choice, 29)));
    lens.reuse(&full, 29).unwrap();
    assert!(nothing_kept(lens.inspect(&Watch::default(), &mut ()).map(drop)), "the begun sequence decides");
    lens.reuse(&choice, 0).unwrap();
    assert_eq!(feed(lens, 0, 1).len(), 256);
}

/// Stops at the `n`-th question.
struct StopAt(Cell<usize>);

impl Control for StopAt {
    fn cancelled(&self) -> bool {
        self.0.set(self.0.get().wrapping_sub(1));
        self.0.get() == 0
    }
}

#[test]
fn a_stopped_swap_or_inspection_leaves_the_begun_sequence_whole() {
    let mut lens = embedded();
    let lens = lens.as_mut();
    let n = 90;
    let (full, choice) = (Way::new("full", "none"), Way::new("long_heads:chunk_len=4,attention_len=16", "none"));
    let (full, choice) = (full.setup(lens, n, Watch::default()), choice.setup(lens, n, Watch::default()));
    lens.begin(&full).unwrap();
    let expected = feed(lens, 0, n);
    for at in 1..=9 {
        lens.reuse(&choice, 60).unwrap();
        let stopped = lens.feed(&tokens(n)[60..], Rows::Last, &mut StopAt(Cell::new(at)));
        assert!(matches!(stopped, Err(LensError::Cancelled)));
        assert!(matches!(lens.feed(&[1], Rows::Last, &mut ()), Err(LensError::NotBegun)));
        assert!(matches!(lens.inspect(&Watch::default(), &mut ()), Err(LensError::NotBegun)));
    }
    // the rows that a stopped swap wrote over are back
    lens.reuse(&full, 80).unwrap();
    let vocab_size = lens.model().spec.vocab_size;
    agree(&feed(lens, 80, n), &expected[80 * vocab_size..], TOLERANCE, "logits").unwrap();

    let watch = Watch { maps: vec![MapPick::whole(1, 0, 8), MapPick::whole(2, 1, 8)], ..Watch::default() };
    let stopped = lens.inspect(&watch, &mut StopAt(Cell::new(2)));
    assert!(matches!(stopped, Err(LensError::Cancelled)));
    assert_eq!(lens.inspect(&watch, &mut ()).unwrap().maps.len(), 2);
    feed(lens, n, n + 1);

    // of a begun sequence that broke nothing is whole
    lens.begin(&full).unwrap();
    assert!(lens.feed(&tokens(n), Rows::Last, &mut StopAt(Cell::new(2))).is_err());
    assert!(matches!(lens.reuse(&full, 1), Err(LensError::NotBegun)));
}

#[test]
fn a_sequence_comes_first() {
    let mut lens = grouped(1);
    let setup = Way::new("full", "none").setup(lens.as_ref(), 3, Watch::default());
    assert!(matches!(lens.reuse(&setup, 0), Err(LensError::NotBegun)));
    assert!(matches!(lens.inspect(&Watch::default(), &mut ()), Err(LensError::NotBegun)));
    lens.begin(&setup).unwrap();
    assert!(lens.inspect(&all_choices(), &mut ()).unwrap().rows.is_empty());
}
