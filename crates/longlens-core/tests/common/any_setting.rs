//! Random entries of a catalog with random parameters, from the catalog alone: what is listed is tested.

use proptest::prelude::*;
use proptest::sample::select;

use super::{Info, Kind};

/// Text forms; values are in range one by one, and may be impossible together.
pub fn any_setting(infos: &[&'static Info]) -> BoxedStrategy<String> {
    let all = infos.to_vec();
    let of_info = move |info: &'static Info| {
        let values: Vec<_> = info.params.iter().map(|param| any_value(&param.kind, &all)).collect();
        values.prop_map(|values| {
            let pairs = info.params.iter().zip(values).map(|(param, value)| format!("{}={value}", param.name));
            let pairs = pairs.collect::<Vec<_>>().join(",");
            if pairs.is_empty() { info.name.to_owned() } else { format!("{}:{pairs}", info.name) }
        })
    };
    select(infos.to_vec()).prop_flat_map(of_info).boxed()
}

/// Values that fit a hundred tokens. Many counts divide others, as some methods ask for. Parts are any two of the others, so that
/// one layer may hold two rules that choose by chunks of unequal lengths.
fn any_value(kind: &Kind, infos: &[&'static Info]) -> BoxedStrategy<String> {
    match *kind {
        Kind::Count(min) => {
            let counts = prop_oneof![1..40usize, select(vec![1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48])];
            prop_oneof![9 => counts.prop_map(move |n| n.max(min)), 1 => Just(min)].prop_map(|n| n.to_string()).boxed()
        }
        Kind::Whole(min, max) => (min..=max.min(min + 40)).prop_map(|n| n.to_string()).boxed(),
        Kind::Between(min, max) => (min..=max).prop_map(|n| n.to_string()).boxed(),
        Kind::Above(above, max) => {
            (above..=max).prop_filter_map("above", move |n| (n > above).then(|| n.to_string())).boxed()
        }
        Kind::Real(min) => (0..16u32).prop_map(move |n| (min + f64::from(n) / 2.0).to_string()).boxed(),
        Kind::OffOr(above) => {
            let numbers = (1..40u32).prop_map(move |n| (above + f64::from(n)).to_string());
            prop_oneof![Just("off".to_owned()), numbers].boxed()
        }
        Kind::Word(words) => select(words).prop_map(str::to_owned).boxed(),
        Kind::Text => "[a-z]{1,8}".boxed(),
        Kind::Parts => {
            let is_whole = |info: &&&Info| info.params.iter().all(|param| param.kind != Kind::Parts);
            let whole: Vec<_> = infos.iter().filter(is_whole).copied().collect();
            (any_setting(&whole), any_setting(&whole), select(vec!["0-1", "1-2", "3", "2-"]))
                .prop_map(|(most, some, heads)| format!("0-={most}/0h{heads}={some}"))
                .boxed()
        }
    }
}
