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
