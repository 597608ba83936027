use proptest::prelude::*;
use serde_json::{Value, json};

use super::{NumPy, Python};

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/golden-eval/rng.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn times<T: Into<Value>>(n: usize, draw: impl FnMut() -> T) -> Value {
    std::iter::repeat_with(draw).take(n).map(Into::into).collect::<Vec<Value>>().into()
}

#[test]
fn python_draws_what_it_drew() {
    let golden = golden();
    let seeds = golden["python"].as_object().unwrap();
    assert_eq!(seeds.len(), 5);
    for (seed, calls) in seeds {
        let fresh = || Python::seed(seed.parse().unwrap());
        for (call, expected) in calls.as_object().unwrap() {
            let mut random = fresh();
            let up_to = |n: u64| (0..n).collect::<Vec<u64>>();
            let drawn = match call.as_str() {
                "getrandbits32" => times(8, || random.getrandbits(32) as u64),
                "random" => times(4, || random.random()),
                "getrandbits128" => json!(random.getrandbits(128).to_string()),
                "randint_1000000_9999999" => times(6, || random.randint(1_000_000, 9_999_999)),
                "choice_of_range_6000000" => times(6, || *random.choice(&up_to(6_000_000))),
                "choices_26_k5_three_times" => times(3, || random.choices(&up_to(26), 5)),
                "shuffle_range_12" => {
                    let mut items = up_to(12);
                    random.shuffle(&mut items);
                    json!(items)
                }
                sample => {
                    let (n_items, n) = sample.strip_prefix("sample_range_").unwrap().split_once("_k").unwrap();
                    json!(random.sample(&up_to(n_items.parse().unwrap()), n.parse().unwrap()))
                }
            };
            assert_eq!(drawn, *expected, "seed {seed}, {call}");
        }
    }
}

#[test]
fn numpy_draws_what_it_drew() {
    let golden = golden();
    let seeds = golden["numpy"].as_object().unwrap();
    assert_eq!(seeds.len(), 4);
    for (seed, calls) in seeds {
        for (call, expected) in calls.as_object().unwrap() {
            let mut random = NumPy::seed(seed.parse().unwrap());
            let drawn = match call.as_str() {
                "raw32" => times(6, || random.next_u32()),
                "randint_0_7168_then_1_50000" => json!([random.randint(0, 7168), random.randint(1, 50_000)]),
                "randint_50000_500000" => times(4, || random.randint(50_000, 500_000)),
                "randint_10000_99999" => times(4, || random.randint(10_000, 99_999)),
                other => panic!("no recipe for {other}"),
            };
            assert_eq!(drawn, *expected, "seed {seed}, {call}");
        }
    }
}

#[test]
fn a_seed_has_no_sign_and_an_identifier_its_version() {
    assert_eq!(Python::seed(-7).getrandbits(128), Python::seed(7).getrandbits(128));
    // the bits of `rng.json` for seed 42, with version 4 and the variant of RFC 4122 written over them
    assert_eq!(Python::seed(42).getrandbits(128), 252_336_560_693_540_533_935_881_068_298_825_202_077);
    assert_eq!(Python::seed(42).uuid(), "bdd640fb-0667-4ad1-9c80-317fa3b1799d");
}

proptest! {
    #[test]
    fn draws_stay_in_their_range(seed in any::<u32>(), low in -1000..1000i64, span in 1..100_000i64) {
        let mut numpy = NumPy::seed(seed);
        let mut python = Python::seed(i128::from(seed));
        for _ in 0..20 {
            prop_assert!((low..low + span).contains(&numpy.randint(low, low + span)));
            prop_assert!((low..=low + span).contains(&python.randint(low, low + span)));
            prop_assert!((0.0..1.0).contains(&python.random()));
        }
    }

    #[test]
    fn a_sample_has_no_place_twice(seed in any::<u32>(), n_items in 0..300usize, part in 0..=100usize) {
        let items: Vec<usize> = (0..n_items).collect();
        let mut drawn = Python::seed(i128::from(seed)).sample(&items, n_items * part / 100);
        let n = drawn.len();
        drawn.sort_unstable();
        drawn.dedup();
        prop_assert_eq!(drawn.len(), n);
        let mut shuffled = items.clone();
        Python::seed(i128::from(seed)).shuffle(&mut shuffled);
        shuffled.sort_unstable();
        prop_assert_eq!(shuffled, items);
    }
}
