//! Sequences that go on from the tokens of another.

use longlens_core::lens::{Lens, LensError, Rows, Setup};
use longlens_core::memory::CacheSize;
use longlens_core::plan::Prefill;
use longlens_core::scripted::ScriptedLens;
use longlens_core::trace::Watch;
use proptest::prelude::*;

use crate::common::{
    TOLERANCE, Way, agree, all_choices, close_call, feed, grouped, same_attention, tokens, two_layers, way,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn going_on_from_a_fork_is_as_if_all_had_been_fed(
        way in way(), n_prompt in 1..100usize, more in 0..20usize, cuts in [0.0..1.0f64, 0.0..1.0], keeps: bool,
    ) {
        let mut lens = two_layers();
        let (n, lens) = (n_prompt + more, lens.as_mut());
        let setup = Setup { keep_queries: keeps, ..way.setup(lens, n_prompt, all_choices()) };
        lens.begin(&setup).unwrap();
        let expected = feed(lens, 0, n);
        let whole = lens.trace();
        prop_assume!(!close_call(&whole));
        let vocab_size = lens.model().spec.vocab_size;
        // fed to a place in the prompt or behind it, and cut there or before
        let [fed, cut] = cuts;
        let fed = 1 + (fed * (n - 1) as f64) as usize;
        let cut = 1 + (cut * (fed - 1) as f64) as usize;
        lens.begin(&setup).unwrap();
        feed(lens, 0, fed);
        let fork = match lens.fork(cut) {
            Err(LensError::NothingKept { .. }) if !keeps && setup.plan.needs_queries() => lens.fork(fed).unwrap(),
            fork => fork.unwrap(),
        };
        prop_assert!(fork.serves(&setup));
        let forecast = CacheSize::of(&lens.model().spec, &setup.plan, Prefill { n_tokens: n_prompt }, fork.n_tokens);
        let forecast = forecast.forked(keeps) * size_of::<f32>();
        // bounds of keys that rotate anew are not kept
        prop_assert!(fork.bytes == forecast || fork.bytes < forecast && way.rope.ends_with("rerotate=true"));
        // any number of times, whatever happens between
        for _ in 0..2 {
            lens.begin_from(&setup, &fork).unwrap();
            let got = feed(lens, fork.n_tokens, n);
            agree(&got, &expected[fork.n_tokens * vocab_size..], TOLERANCE, "logits")?;
            prop_assert_eq!(&lens.trace().run, &whole.run);
            if keeps {
                // what the prefix attended to can be inspected too
                same_attention(&lens.inspect(&all_choices(), &mut ()).unwrap(), &whole)?;
            }
        }
    }

    #[test]
    fn another_way_goes_on_from_a_fork_as_it_does_from_the_cache(
        before in way(), after in way(), n_prompt in 1..90usize, more in 0..20usize, keep in 0.0..1.0f64,
    ) {
        let mut lens = two_layers();
        let (n, lens) = (n_prompt + more, lens.as_mut());
        let keep = 1 + (keep * (n - 1) as f64) as usize;
        let (before, after) = (before.setup(lens, n_prompt, Watch::default()), after.setup(lens, n_prompt, all_choices()));
        lens.begin(&before).unwrap();
        feed(lens, 0, n);
        let fork = lens.fork(keep).unwrap();
        prop_assume!(!fork.serves(&after));
        lens.reuse(&after, keep).unwrap();
        let expected = feed(lens, keep, n);
        let swapped = lens.trace();
        prop_assume!(!close_call(&swapped));
        lens.begin_from(&after, &fork).unwrap();
        agree(&feed(lens, keep, n), &expected, TOLERANCE, "logits")?;
        same_attention(&lens.trace(), &swapped)?;
        prop_assert_eq!(&lens.trace().run, &swapped.run);
    }
}

#[test]
fn losses_go_on_across_a_fork() {
    let mut lens = two_layers();
    let lens = lens.as_mut();
    let setup = Way::new("full", "none").setup(lens, 40, Watch { nll: true, ..Watch::default() });
    lens.begin(&setup).unwrap();
    feed(lens, 0, 40);
    let whole = lens.trace().nll;
    lens.begin(&setup).unwrap();
    feed(lens, 0, 25);
    let fork = lens.fork(25).unwrap();
    lens.begin_from(&setup, &fork).unwrap();
    feed(lens, 25, 40);
    agree(&lens.trace().nll, &whole[24..], TOLERANCE, "losses").unwrap();
}

#[test]
fn a_fork_of_what_another_way_computed_is_not_exact_and_loses_nothing() {
    let mut lens = two_layers();
    let lens = lens.as_mut();
    let full = Way::new("full", "none").setup(lens, 50, Watch::default());
    let choosing = Way::new("long_heads:chunk_len=4,attention_len=16", "none").setup(lens, 50, Watch::default());
    lens.begin(&full).unwrap();
    feed(lens, 0, 50);
    lens.reuse(&choosing, 40).unwrap();
    let expected = feed(lens, 40, 50);
    // forked before and after the swapped sequence fed anything, and gone on from without keeping queries
    lens.reuse(&choosing, 40).unwrap();
    let before = lens.fork(40).unwrap();
    feed(lens, 40, 45);
    let after = lens.fork(40).unwrap();
    assert!(!before.serves(&choosing) && !after.serves(&choosing), "their tokens were computed under another method");
    for (fork, keep_queries) in [(&before, true), (&before, false), (&after, true), (&after, false)] {
        lens.begin_from(&Setup { keep_queries, ..choosing.clone() }, fork).unwrap();
        agree(&feed(lens, 40, 50), &expected, TOLERANCE, "logits").unwrap();
        assert_eq!(lens.trace().run.mode, "reuse-kv");
    }
}

#[test]
fn what_cannot_be_forked_is_refused_and_nothing_is_lost() {
    let mut lens = two_layers();
    let lens = lens.as_mut();
    let full = Setup { keep_queries: false, ..Way::new("full", "none").setup(lens, 40, Watch::default()) };
    let choosing = Way::new("long_heads:chunk_len=4,attention_len=16", "none").setup(lens, 40, Watch::default());
    lens.begin(&full).unwrap();
    feed(lens, 0, 30);
    assert!(matches!(lens.fork(31), Err(LensError::OutOfRange { what: "token", index: 30, count: 30 })));
    assert!(matches!(lens.fork(0), Err(LensError::EmptyFork)));
    let fork = lens.fork(30).unwrap();
    assert!(matches!(lens.begin_from(&choosing, &fork), Err(LensError::NothingKept { .. })));
    let short = Setup { n_prompt: 29, ..full.clone() };
    assert!(matches!(lens.begin_from(&short, &fork), Err(LensError::ShortPrompt { n_tokens: 29, n_prefix: 30 })));
    assert!(
        matches!(grouped(2).begin_from(&full, &fork), Err(LensError::OtherModel)),
        "a model of the same shape is another"
    );
    assert!(matches!(ScriptedLens::saying("").begin_from(&full, &fork), Err(LensError::OtherModel)));
    // the sequence that was forked goes on
    let expected = feed(lens, 30, 45);
    lens.begin_from(&full, &fork).unwrap();
    agree(&feed(lens, 30, 45), &expected, TOLERANCE, "logits").unwrap();
    // inside a chunk without the queries of it
    let choosing = Setup { keep_queries: false, ..choosing };
    lens.begin(&choosing).unwrap();
    feed(lens, 0, 30);
    assert!(matches!(lens.fork(21), Err(LensError::NothingKept { .. })));
    assert_eq!(lens.fork(20).unwrap().n_tokens, 20);
    assert!(lens.feed(&tokens(31)[30..], Rows::Last, &mut ()).is_ok());
}
