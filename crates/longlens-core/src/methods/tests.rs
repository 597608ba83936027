use proptest::prelude::*;

use super::*;
use crate::plan::{Capacity, Prefill, Relation};
use crate::setting::Kind;

#[path = "../../tests/common/any_setting.rs"]
mod any_setting;

use any_setting::any_setting;

/// Text forms of every method with random parameters, all of them possible.
pub fn any_method() -> impl Strategy<Value = String> {
    let possible = |text: String| {
        let plan = Method::parse(&text).unwrap().plan(&ModelSpec::tiny(64));
        plan.is_ok().then_some(text)
    };
    any_setting(&INFOS).prop_filter_map("impossible together", possible)
}

/// Text forms of methods whose plans are spans alone.
pub fn any_spans() -> impl Strategy<Value = String> {
    let is_spans = |text: &String| {
        Method::parse(text).unwrap().plan(&ModelSpec::tiny(64)).unwrap().first_choice(Prefill { n_tokens: 1 })
            == usize::MAX
    };
    any_method().prop_filter("a choice is no relation of positions", is_spans)
}

proptest! {
    #[test]
    fn a_list_is_parted_by_either_sign(first in any_method(), second in any_method(), third in any_method()) {
        let methods: Vec<_> = [&first, &second, &third].map(|text| Method::parse(text).unwrap()).into();
        for list in [format!("{first};{second};{third}"), format!("{first}, {second},{third}"), format!("{first};{second},{third}")] {
            prop_assert_eq!(Method::list(&list).unwrap(), methods.clone());
        }
    }

    #[test]
    fn the_text_form_prints_back(text in any_method()) {
        let method = Method::parse(&text).unwrap();
        prop_assert_eq!(Method::parse(&method.to_string()).unwrap(), method.clone());
        let table = serde_json::to_string(&method).unwrap();
        prop_assert_eq!(serde_json::from_str::<Method>(&table).unwrap(), method.clone());
        let table = toml::to_string(&method).unwrap();
        prop_assert_eq!(toml::from_str::<Method>(&table).unwrap(), method);
    }

    #[test]
    fn spans_of_a_query_are_disjoint(text in any_method(), n in 1..120usize) {
        let plan = Method::parse(&text).unwrap().plan(&ModelSpec::tiny(64)).unwrap();
        for (rule, i) in plan.rules().iter().flat_map(|rule| (0..n).map(move |i| (rule, i))) {
            let mut seen = vec![0; n];
            for span in &rule.spans {
                for j in span.reach.keys(i) {
                    prop_assert!(j <= i, "query {} sees the future key {}", i, j);
                    seen[j] += 1;
                }
            }
            prop_assert!(seen.iter().all(|count| *count <= 1), "query {} meets a key twice", i);
            prop_assert_eq!(seen[i], 1, "query {} misses itself", i);
        }
    }

    #[test]
    fn the_highest_position_and_capacity_are_those_of_the_definition(
        text in any_method(), n in 1..150usize, trained in 1..80usize,
    ) {
        let plan = Method::parse(&text).unwrap().plan(&ModelSpec::tiny(64)).unwrap();
        let highest = |n_tokens: usize| {
            let prompt = Prefill { n_tokens };
            let pairs = (0..n_tokens).flat_map(|i| (0..=i).map(move |j| (i, j)));
            let relations = pairs.flat_map(|(i, j)| plan.rules().iter().map(move |rule| rule.relation(i, j, prompt)));
            relations.map(|relation| match relation {
                Relation::Hidden => 0.0,
                Relation::At(position, _) => position,
                Relation::Chosen { between: (_, high), .. } => high,
            }).fold(0.0, f64::max)
        };
        // a prompt token of released LongHeads does not meet itself, so its nearest key stands at 1, never below 0
        let claimed = plan.highest_position(n);
        prop_assert!((claimed - highest(n)).abs() < 1e-9, "{} claims {claimed}, has {}", text, highest(n));
        match plan.capacity(trained) {
            Capacity::Tokens(tokens) if tokens < 150 => {
                prop_assert!(highest(tokens) <= trained as f64 - 1.0);
                prop_assert!(highest(tokens + 1) > trained as f64 - 1.0);
            }
            _ => prop_assert!(highest(n) <= trained as f64 - 1.0),
        }
    }

    #[test]
    fn a_short_prompt_is_plain_attention(text in any_method(), trained in 16..64usize) {
        // where the definition says so: below the window, the chunk, the begin length
        let plan = Method::parse(&text).unwrap().plan(&ModelSpec::tiny(trained)).unwrap();
        let spans = plan.rules().iter().flat_map(|rule| &rule.spans);
        let short = spans.map(|span| match span.reach {
            crate::plan::Reach::Nearer(w) => w,
            crate::plan::Reach::SameChunk(c) => c,
            _ => usize::MAX,
        }).min().unwrap().min(plan.first_choice(Prefill { n_tokens: 1000 })).min(60);
        for (rule, i) in plan.rules().iter().flat_map(|rule| (0..short).map(move |i| (rule, i))) {
            for j in 0..=i {
                let relation = rule.relation(i, j, Prefill { n_tokens: 1000 });
                let Relation::At(position, _) = relation else { panic!("{text}: ({i}, {j}) is {relation:?}") };
                prop_assert!((position - (i - j) as f64).abs() < 1e-9);
            }
        }
    }
}

#[test]
fn whole_numbers_may_count_in_1024s() {
    let read = |text: &str| Method::parse(text).map(|method| method.to_string());
    assert_eq!(read("self_extend:neighbor_window=2k").unwrap(), read("self_extend:neighbor_window=2048").unwrap());
    assert!(read("self_extend:neighbor_window=2kk").is_err());
}

#[test]
fn errors_name_what_is_wrong_and_what_would_work() {
    let say = |text: &str| {
        let error = Method::parse(text).and_then(|method| method.plan(&ModelSpec::tiny(256))).unwrap_err();
        format!("{error} | {}", error.help().unwrap_or_default())
    };
    insta::assert_snapshot!(say("self_extent:group_size=4"), @"unknown method `self_extent` | did you mean `self_extend`?");
    insta::assert_snapshot!(say("rope"), @"unknown method `rope` | did you mean `rerope`?");
    insta::assert_snapshot!(say("self_extend:groupsize=4"), @"`self_extend` has no parameter `groupsize` | did you mean `group_size`?");
    insta::assert_snapshot!(say("self_extend:group_size"), @"cannot read `self_extend:group_size`: `group_size` has no `=` | write `name:key=value,key=value`");
    insta::assert_snapshot!(say("long_heads:window_size=4"), @"`long_heads` has no parameter `window_size` | did you mean `chunk_len`?");
    insta::assert_snapshot!(say("self_extend:group_size=4,group_size=8"), @"cannot read `self_extend:group_size=4,group_size=8`: `group_size` is given twice | write `name:key=value,key=value`");
    insta::assert_snapshot!(say("self_extend:group_size=0"), @"`self_extend`: group_size = 0 is not a whole number of at least 1 and below 10^12 | ");
    insta::assert_snapshot!(say("dual_chunk:chunk_size=48,local_window=48"), @"`dual_chunk` is impossible with these values: local_window < chunk_size (48 < 48) does not hold | set local_window to at most 47, or chunk_size to at least 49");
    insta::assert_snapshot!(say("long_heads:chunk_len=16,attention_len=200"), @"`long_heads` is impossible with these values: attention_len mod chunk_len = 0 (200 mod 16 = 8) does not hold | set attention_len to 192 or 208");
    insta::assert_snapshot!(say("long_heads:chunk_len=64,attention_len=128"), @"`long_heads` is impossible with these values: attention_len >= 4 * chunk_len (128 >= 256) does not hold | set attention_len to at least 256, or chunk_len to at most 32");
    insta::assert_snapshot!(say("long_heads:chunk_len=16,attention_len=256,begin_len=200"), @"`long_heads` is impossible with these values: begin_len >= attention_len - chunk_len (200 >= 240) does not hold | set begin_len to at least 240");
}

#[test]
fn a_method_from_a_script_has_a_name_a_text_and_a_plan_and_no_more() {
    let relation = |distance: usize| Ok::<_, std::convert::Infallible>(Some(distance.min(4) as f64));
    let plan = crate::written::from_distance("capped", "capped(4)", 6, relation).unwrap();
    let (model, method) = (ModelSpec::tiny(64), Method::written("capped", plan.clone()));
    assert_eq!((method.name(), method.to_string().as_str()), ("capped", "capped(4)"));
    assert_eq!(
        (method.setting().is_none(), method.resolved(&model), method.plan(&model)),
        (true, method.clone(), Ok(plan))
    );
    let json = serde_json::to_string(&method).unwrap();
    assert_eq!(json, r#"{"name":"capped","text":"capped(4)"}"#);
    let error = serde_json::from_str::<Method>(&json).unwrap_err().to_string();
    insta::assert_snapshot!(error, @"`capped` was written in a script and exists only where that script runs; run the script that defines it at line 1 column 36");
    let error = method.with("window", &Value::Number(4.0)).unwrap_err();
    insta::assert_snapshot!(format!("{error} | {}", error.help().unwrap()), @"`capped` was written in a script and has no parameter `window` | change the script, or choose a method of the catalog");
    insta::assert_snapshot!(crate::picture::draw(Method::written("capped", from_table()).plan(&model).unwrap().of(0, 0), 6), @"
    0
    1 0
    2 . 0
    3 . 1 0
    3 . 2 1 0
    3 . 3 2 1 0
    ");
}

fn from_table() -> Plan {
    let relation =
        |i: usize, j: usize| Ok::<_, std::convert::Infallible>((j != 1 || i == 1).then(|| (i - j).min(3) as f64));
    crate::written::from_relation("holes", "holes", 6, relation).unwrap()
}

#[test]
fn every_parameter_has_help_and_a_default_of_its_kind() {
    let model = ModelSpec::tiny(256);
    for info in INFOS.iter().chain(crate::rope::SCALINGS.iter()) {
        assert!(!info.summary.is_empty() && !info.source.is_empty(), "{}", info.name);
        for param in info.params {
            let value = Setting::new(info).value(param.name, &model);
            let worded = matches!(
                (&value, param.kind),
                (crate::setting::Value::Word(_), crate::setting::Kind::Count(_) | crate::setting::Kind::Real(_))
            );
            assert!(worded || param.kind.accepts(&value), "{}: default of {}", info.name, param.name);
            assert!(!param.help.is_empty());
        }
    }
}
