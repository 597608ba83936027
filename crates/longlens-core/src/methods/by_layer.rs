//! Methods by layer and head: the catalog's methods side by side in one model.
//!
//! Layers and heads use what they see differently (Wu et al., 2024, "Retrieval Head Mechanistically Explains Long-Context
//! Factuality", arXiv:2404.15574; Xiao et al., 2024, "`DuoAttention`", arXiv:2410.10819). Parts are written one after the other,
//! `0-1=full/2-=streaming:window=252`, and a later part replaces an earlier one where both hold:
//! `0-=streaming:window=252/3h5-7=full` gives three heads of layer 3 every key.

use crate::methods::places::Places;
use crate::methods::{Method, MethodInfo, TextForm};
use crate::plan::{HeadPlan, Heads, Plan};
use crate::setting::{Fallback, Info, Kind, Param, Setting, SettingError, Value};
use crate::spec::ModelSpec;

/// The one parameter: the parts.
pub(super) const LAYERS: &str = "layers";

/// Parts where none are given.
pub(super) const PLAIN: &str = "0-=full";

pub static METHOD: MethodInfo = MethodInfo {
    info: Info {
        name: "by_layer",
        title: "Methods by layer",
        source: "parts in the form of Xiao et al., 2024, arXiv:2410.10819",
        summary: "other methods, each in some layers or heads",
        params: &[Param {
            name: LAYERS,
            alias: "",
            kind: Kind::Parts,
            default: Fallback::Word(PLAIN),
            help: "the method of every layer or head, as in 0-1=full/2-=streaming; later parts win",
        }],
    },
    plan,
    text: TextForm { check, resolved },
};

/// A method in some layers, and there in some heads.
struct Part {
    places: Places,
    method: Method,
}

fn plan(setting: &Setting, model: &ModelSpec) -> Result<Heads, SettingError> {
    let parts = parts(&setting.value(LAYERS, model).to_string())?;
    parts.iter().try_for_each(|part| part.places.check(METHOD.info.name, model))?;
    let plans = parts.iter().map(|part| part.method.plan(model)).collect::<Result<Vec<Plan>, _>>()?;
    let rule = |layer: usize, head: usize| -> Option<HeadPlan> {
        parts.iter().rposition(|part| part.places.hold(layer, head)).map(|at| plans[at].of(layer, head).clone())
    };
    for (layer, head) in (0..model.n_layers).flat_map(|layer| (0..model.n_heads).map(move |head| (layer, head))) {
        if rule(layer, head).is_none() {
            return impossible(
                format!("every head has a method (layer {layer}, head {head} has none)"),
                format!("begin with a part for all of them, as in `0-=full/{layer}-=…`"),
            );
        }
    }
    Ok(Heads::by_head(model, |layer, head| rule(layer, head).expect("checked above")))
}

fn impossible<T>(inequality: String, nearest: String) -> Result<T, SettingError> {
    Err(SettingError::Impossible { owner: "by_layer", inequality, nearest })
}

/// Refuses parts that cannot be read, before a model is known.
fn check(setting: &Setting) -> Result<(), SettingError> {
    setting.given().try_for_each(|(_, value)| parts(&value.to_string()).map(drop))
}

/// The same with every default of `model` written out in the parts.
fn resolved(mut setting: Setting, model: &ModelSpec) -> Setting {
    let parts = parts(&setting.value(LAYERS, model).to_string()).expect("parts are checked when they are given");
    let text = parts.iter().map(|part| part.resolved(model).to_string()).collect::<Vec<_>>().join("/");
    setting.set(LAYERS, &Value::Word(text)).expect("parts that were read are written back as parts");
    setting
}

fn parts(text: &str) -> Result<Vec<Part>, SettingError> {
    text.split('/').map(part).collect()
}

fn part(text: &str) -> Result<Part, SettingError> {
    let bad = |expected: &str| SettingError::BadValue {
        owner: "by_layer",
        parameter: LAYERS,
        given: format!("`{text}`"),
        expected: expected.into(),
    };
    if text.contains(';') {
        return Err(bad("one part; `/` stands between parts, as in `0-1=full/2-=streaming`"));
    }
    let (place, method) =
        text.split_once('=').ok_or_else(|| bad("a part LAYERS=METHOD, as in `2-=streaming:window=252`"))?;
    let places = Places::parse(place).map_err(|expected| bad(&expected))?;
    let method = Method::parse(method)?;
    if method.name() == METHOD.info.name {
        return Err(bad("a method without parts of its own"));
    }
    Ok(Part { places, method })
}

impl Part {
    fn resolved(&self, model: &ModelSpec) -> Self {
        Self { places: self.places.clone(), method: self.method.resolved(model) }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.places, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Capacity;

    fn planned(text: &str) -> Result<Plan, SettingError> {
        Method::parse(text).and_then(|method| method.plan(&ModelSpec { n_layers: 4, ..ModelSpec::tiny(64) }))
    }

    #[test]
    fn every_layer_and_head_has_the_rule_of_the_last_part_that_names_it() {
        let plan = planned("by_layer:0-=sliding_window:window=8/1-2=full/2h1-2=streaming:window=6").unwrap();
        let names =
            |layer: usize, head: usize| plan.of(layer, head).spans.iter().map(|span| span.name).collect::<Vec<_>>();
        assert_eq!(
            [names(0, 3), names(1, 0), names(2, 0), names(2, 1)],
            [vec!["window"], vec!["all"], vec!["all"], vec!["window", "sinks"]]
        );
        assert_eq!(plan.rules().len(), 3);
        assert_eq!(plan.places(), ["layers 0, 3", "layer 1; layer 2, heads 0, 3", "layer 2, heads 1-2"]);
        let heads: Vec<_> = plan.groups(2, 4).into_iter().map(|group| group.heads).collect();
        assert_eq!(heads, [0..1, 1..3, 3..4]);
        assert_eq!(plan.capacity(64), Capacity::Tokens(64), "the narrowest rule decides");
    }

    #[test]
    fn defaults_are_written_out_in_every_part() {
        let model = ModelSpec::tiny(64);
        let method = Method::parse("by_layer:0=full/1-=streaming").unwrap();
        assert_eq!(method.to_string(), "by_layer:layers=0=full/1-=streaming");
        let resolved = method.resolved(&model);
        assert_eq!(resolved.to_string(), "by_layer:layers=0=full/1-=streaming:n_sink=4,window=60");
        assert_eq!(Method::parse(&resolved.to_string()).unwrap(), resolved);
        assert_eq!(resolved.plan(&model).unwrap().method, method.plan(&model).unwrap().method);
    }

    #[test]
    fn parts_that_cannot_be_are_refused() {
        let say = |text: &str| {
            let error = planned(text).unwrap_err();
            format!("{error} | {}", error.help().unwrap_or_default())
        };
        insta::assert_snapshot!(say("by_layer:0-1=full"), @"`by_layer` is impossible with these values: every head has a method (layer 2, head 0 has none) does not hold | begin with a part for all of them, as in `0-=full/2-=…`");
        insta::assert_snapshot!(say("by_layer:0-=full/7=streaming"), @"`by_layer` is impossible with these values: layer < 4 (7 < 4) does not hold | the model has 4 layers; `3-` goes on to the last one");
        insta::assert_snapshot!(say("by_layer:0-=full/1h9=streaming"), @"`by_layer` is impossible with these values: head < 4 (9 < 4) does not hold | the model has 4 heads; `3-` goes on to the last one");
        insta::assert_snapshot!(say("by_layer:0-=full/x=streaming"), @"`by_layer`: layers = `x=streaming` is not a part for layers as in `3`, `0-1`, `2-`, or heads of them as in `3h0-7` |");
        insta::assert_snapshot!(say("by_layer:0-1=full;2-=streaming"), @"`by_layer`: layers = `0-1=full;2-=streaming` is not one part; `/` stands between parts, as in `0-1=full/2-=streaming` |");
        insta::assert_snapshot!(say("by_layer:0-=full/3-1=streaming"), @"`by_layer`: layers = `3-1=streaming` is not a part whose numbers ascend, as in `1-3` |");
        insta::assert_snapshot!(say("by_layer:0-=full/3"), @"`by_layer`: layers = `3` is not a part LAYERS=METHOD, as in `2-=streaming:window=252` |");
        insta::assert_snapshot!(say("by_layer:0-=fall"), @"unknown method `fall` | did you mean `full`?");
        insta::assert_snapshot!(say("by_layer:0-=by_layer"), @"`by_layer`: layers = `0-=by_layer` is not a method without parts of its own |");
        insta::assert_snapshot!(say("by_layer:0-=streaming:window=0"), @"`streaming`: window = 0 is not a whole number of at least 1 and below 10^12 |");
    }
}
