//! Sequences that go through a file: what comes back goes on as if nothing had happened.

use std::collections::HashMap;

use burn_flex::{Flex, FlexDevice};
use longlens_core::lens::{Lens, LensError, Setup};
use longlens_core::trace::Watch;
use longlens_kernel::linear::Storage;
use longlens_model::source::Source;
use proptest::prelude::*;

use crate::common::{TOLERANCE, agree, all_choices, close_call, embedded, feed, same_attention, two_layers, way};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_restored_sequence_goes_on_as_the_one_that_was_written(
        way in way(), n_prompt in 2..100usize, cut in 0.0..1.0f64, keeps: bool,
    ) {
        let mut lens = two_layers();
        let lens = lens.as_mut();
        let setup = Setup { keep_queries: keeps, ..way.setup(lens, n_prompt, all_choices()) };
        lens.begin(&setup).unwrap();
        let expected = feed(lens, 0, n_prompt + 5);
        let whole = lens.trace();
        prop_assume!(!close_call(&whole));
        let n_kept = setup.plan.whole_blocks(1 + (cut * (n_prompt - 1) as f64) as usize);
        prop_assume!(n_kept > 0);

        let asked = lens.kept(&setup, n_kept).unwrap();
        lens.begin(&Setup { watch: Watch::default(), ..setup.clone() }).unwrap();
        feed(lens, 0, n_kept);
        let file: HashMap<String, Vec<u8>> = asked
            .iter()
            .map(|tensor| (tensor.part.to_string(), lens.kept_numbers(tensor).unwrap()))
            .collect();
        prop_assert_eq!(file.len(), asked.len(), "names are unique");
        prop_assert!(asked.iter().all(|tensor| file[&tensor.part.to_string()].len() == tensor.n_bytes()));

        lens.forget();
        let restored = lens.restore(&setup, n_kept, &mut |tensor| Ok(file[&tensor.part.to_string()].clone())).unwrap();
        prop_assert!(restored.serves(&setup) && restored.n_tokens == n_kept);
        for _ in 0..2 {
            lens.begin_from(&setup, &restored).unwrap();
            let got = feed(lens, n_kept, n_prompt + 5);
            let vocab_size = lens.model().spec.vocab_size;
            agree(&got, &expected[n_kept * vocab_size..], TOLERANCE, "logits")?;
            prop_assert_eq!(&lens.trace().run, &whole.run);
            if keeps {
                same_attention(&lens.inspect(&all_choices(), &mut ()).unwrap(), &whole)?;
            }
        }
    }
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let mut lens = two_layers();
    let lens = lens.as_mut();
    let way = crate::common::Way::new("full", "none");
    let setup = Setup { keep_queries: false, ..way.setup(lens, 20, Watch::default()) };
    let tensors = lens.kept(&setup, 10).unwrap();
    lens.forget();
    assert!(matches!(lens.kept_numbers(&tensors[0]), Err(LensError::NotBegun)));
    lens.begin(&setup).unwrap();
    feed(lens, 0, 12);
    assert!(matches!(lens.kept_numbers(&tensors[0]), Err(LensError::NoFile)), "of another length");
    let with_queries = lens.kept(&Setup { keep_queries: true, ..setup.clone() }, 12).unwrap();
    let query = with_queries.iter().find(|tensor| tensor.part.to_string() == "layers.1.query").unwrap();
    assert!(matches!(lens.kept_numbers(query), Err(LensError::NoFile)), "queries that nobody kept");
    lens.reuse(&setup, 5).unwrap();
    feed(lens, 5, 10);
    assert!(matches!(lens.kept_numbers(&tensors[0]), Err(LensError::NoFile)), "keys of two plans");
    let failing = lens.restore(&setup, 10, &mut |_| Err(LensError::KeptFile("gone".into())));
    assert!(matches!(failing, Err(LensError::KeptFile(_))));
}

#[test]
fn models_are_told_apart_by_their_weights() {
    let content = |lens: &dyn Lens| lens.model().content.clone();
    let again = longlens_model::open::<Flex>(&Source::embedded(), Storage::Q8, FlexDevice, "test").unwrap();
    let embedded = content(embedded().as_ref());
    assert_eq!(embedded, content(again.as_ref()), "however they are kept");
    assert_eq!(embedded.len(), 16);
    let described = longlens_model::describe(&Source::embedded(), Storage::F32).unwrap();
    assert_eq!(embedded, described.content);
    assert_ne!(embedded, content(two_layers().as_ref()));
}
