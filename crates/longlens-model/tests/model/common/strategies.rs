//! Methods and scalings with parameters that fit a hundred tokens.

use longlens_core::methods::{INFOS, Method};
use longlens_core::plan::HeadPlan;
use longlens_core::setting::{Info, Kind};
use longlens_core::spec::ModelSpec;
use proptest::prelude::*;

use any_setting::any_setting;

#[path = "../../../../longlens-core/tests/common/any_setting.rs"]
mod any_setting;

/// Every method.
pub fn any_method() -> impl Strategy<Value = String> {
    methods(|_| true)
}

/// Every method, some with interventions on heads.
pub fn any_intervened() -> impl Strategy<Value = String> {
    let any_change = prop_oneof![
        3 => Just(String::new()),
        1 => Just("/0h1=off".to_owned()),
        1 => (0..60usize, 1..20usize).prop_map(|(at, len)| format!("/0h2-3=hide:{at}-{}", at + len)),
        1 => (0..9u32).prop_map(|chunk| format!("/0h0=force:{chunk}")),
        1 => Just("/0h2-3=streaming:n_sink=2,window=11/0h3=off".to_owned()),
    ];
    (any_method(), any_change).prop_map(|(method, change)| {
        let text = format!("{method}{change}");
        let is_possible = Method::parse(&text).unwrap().plan(&ModelSpec::tiny(64)).is_ok();
        if is_possible { text } else { method }
    })
}

/// Methods with one rule for prompt and generated tokens.
pub fn one_rule() -> impl Strategy<Value = String> {
    methods(|rule| rule.temperature.is_none() && rule.choice.is_none_or(|choice| choice.in_prompt == choice.generated))
}

/// Methods whose plans are spans alone.
pub fn any_spans() -> impl Strategy<Value = String> {
    methods(|rule| rule.choice.is_none())
}

fn methods(is_wanted: fn(&HeadPlan) -> bool) -> impl Strategy<Value = String> {
    any_setting(&INFOS).prop_filter_map("another kind, or impossible together", move |text| {
        let plan = Method::parse(&text).unwrap().plan(&ModelSpec::tiny(64)).ok()?;
        plan.rules().iter().all(is_wanted).then_some(text)
    })
}

/// Scalings whose frequencies follow no length.
pub fn fixed_rope() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("none"),
        Just("linear:factor=4"),
        Just("ntk:factor=4"),
        Just("yarn:factor=8"),
        Just("llama3:factor=8,original=32"),
    ]
}

/// Every scaling.
pub fn any_rope() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => fixed_rope(),
        1 => Just("dynamic:factor=2,original=32"),
        1 => Just("dynamic:factor=2,original=32,rerotate=true"),
    ]
}
