//! Interventions on heads: what a method does is changed in some heads, and everything else stays.
//!
//! They follow a method's text form, `full/8h3=off/10h0-2=streaming:window=128`, and a later one acts on what earlier ones left:
//!
//! - `off`: the head's output is zero, as in Wu et al., 2024, "Retrieval Head Mechanistically Explains Long-Context Factuality",
//!   arXiv:2404.15574, section 4. What it would have attended to is recorded all the same.
//! - `hide:512-540`: keys of these tokens are hidden from later queries, the attention knockout of Geva et al., 2023, "Dissecting
//!   Recall of Factual Associations in Auto-Regressive Language Models", arXiv:2304.14767, section 4.
//! - `force:12,13`: these chunks are among those that the head chooses, whatever they score.
//! - a method: its rule takes the place of the head's own.

use std::fmt;
use std::ops::Range;

use crate::methods::METHODS;
use crate::methods::places::{Places, range};
use crate::plan::{HeadPlan, LayerWindows, Plan, Refusal};
use crate::setting::SettingError;
use crate::spec::ModelSpec;

use super::Method;

/// What is changed in some heads.
#[derive(Debug, Clone, PartialEq)]
pub struct Intervention {
    places: Places,
    change: Change,
}

#[derive(Debug, Clone, PartialEq)]
enum Change {
    Off,
    /// Token ranges, in the order given.
    Hide(Vec<Range<usize>>),
    /// Chunk indices, ascending.
    Force(Vec<u32>),
    Method(Box<Method>),
}

/// The name of interventions where settings have names.
pub const HEADS: &str = "heads";

/// Parts a text form into that of the method and those of interventions. A method that has parts of its own keeps all before the
/// first one that is no method's.
pub(super) fn split(text: &str, has_parts: impl Fn(&str) -> bool) -> (&str, Vec<&str>) {
    let name = text.split([':', '/']).next().unwrap_or_default().trim();
    let takes = has_parts(name);
    let mut at = 0;
    let ends = text.match_indices('/').map(|(at, _)| at).filter(|slash| {
        let next = text[slash + 1..].split('/').next().unwrap_or_default();
        !takes || is_change(next)
    });
    let Some(first) = ends.into_iter().next() else { return (text, Vec::new()) };
    at += first;
    (&text[..at], text[at + 1..].split('/').collect())
}

/// Whether a part is an intervention and no method's: `8h3=off`.
fn is_change(part: &str) -> bool {
    let word = part.split_once('=').map_or("", |(_, change)| change.split(':').next().unwrap_or_default().trim());
    ["off", "hide", "force"].contains(&word)
}

impl Intervention {
    /// A head whose output is zero.
    pub fn off(layer: usize, head: usize) -> Self {
        Self { places: Places::head(layer, head), change: Change::Off }
    }

    /// Reads one part of a text form; `owner` names the method in errors.
    pub(super) fn parse(text: &str, owner: &'static str) -> Result<Self, SettingError> {
        let bad = |expected: &str| SettingError::BadValue {
            owner,
            parameter: HEADS,
            given: format!("`{}`", text.trim()),
            expected: expected.into(),
        };
        let (places, change) =
            text.split_once('=').ok_or_else(|| bad("an intervention PLACE=CHANGE, as in `8h3=off`"))?;
        let places = Places::parse(places).map_err(|expected| bad(&expected))?;
        let (word, rest) = change.split_once(':').unwrap_or((change, ""));
        let listed = || rest.split(',').map(str::trim).filter(|one| !one.is_empty());
        let change = match word.trim() {
            "off" if rest.trim().is_empty() => Change::Off,
            "hide" => {
                let tokens = |one: &str| {
                    let tokens = range(one).filter(|tokens| *tokens.end() < usize::MAX && !tokens.is_empty())?;
                    Some(*tokens.start()..tokens.end() + 1)
                };
                let hidden: Option<Vec<_>> = listed().map(tokens).collect();
                Change::Hide(hidden.filter(|hidden| !hidden.is_empty()).ok_or_else(|| {
                    bad("`hide` with tokens, first and last of each range, as in `hide:512-540,600-610`")
                })?)
            }
            "force" => {
                let chunks: Option<Vec<u32>> = listed().map(|one| one.parse().ok()).collect();
                let mut chunks = chunks
                    .filter(|chunks| !chunks.is_empty())
                    .ok_or_else(|| bad("`force` with chunks, as in `force:12,13`"))?;
                chunks.sort_unstable();
                chunks.dedup();
                Change::Force(chunks)
            }
            name if METHODS.iter().any(|method| method.info.name == name) => {
                let method = Method::parse(change)?;
                if method.parts().is_some() {
                    return Err(bad("a method without parts of its own"));
                }
                Change::Method(Box::new(method))
            }
            _ => {
                return Err(bad(
                    "one of `off`, `hide:FIRST-LAST`, `force:CHUNK,CHUNK` and a method with its parameters",
                ));
            }
        };
        Ok(Self { places, change })
    }

    /// The same with every default of `model` written out.
    pub(super) fn resolved(&self, model: &ModelSpec) -> Self {
        let change = match &self.change {
            Change::Method(method) => Change::Method(Box::new(method.resolved(model))),
            other => other.clone(),
        };
        Self { places: self.places.clone(), change }
    }

    /// The text of a part of the method, where it is one.
    pub(super) fn as_part(&self) -> Option<String> {
        matches!(self.change, Change::Method(_)).then(|| self.to_string())
    }

    /// What a head does after it; `place` is its layer and head.
    fn of(&self, rule: HeadPlan, method: Option<&Plan>, place: (usize, usize)) -> Result<HeadPlan, Refusal> {
        match &self.change {
            Change::Off => Ok(rule.off()),
            Change::Hide(hidden) => rule.hiding(hidden),
            Change::Force(chunks) => rule.forcing(chunks),
            Change::Method(_) => Ok(method.map_or(rule, |plan| plan.of(place.0, place.1).clone())),
        }
    }
}

/// `plan` of the method `owner` after `interventions`, with `text` as its own.
pub(super) fn apply(
    plan: Plan,
    (owner, text): (&'static str, String),
    interventions: &[Intervention],
    model: &ModelSpec,
    windows: LayerWindows,
) -> Result<Plan, SettingError> {
    let mut plans = Vec::new();
    for one in interventions {
        one.places.check(owner, model).map_err(|error| match error {
            SettingError::Impossible { owner, inequality, nearest } => {
                SettingError::Impossible { owner, inequality: format!("{inequality} in `{one}`"), nearest }
            }
            other => other,
        })?;
        plans.push(match &one.change {
            Change::Method(method) => Some(method.plan_with(model, windows)?),
            _ => None,
        });
    }
    let rule = |layer: usize, head: usize| {
        let mut rule = plan.of(layer, head).clone();
        for (one, method) in interventions.iter().zip(&plans).filter(|(one, _)| one.places.hold(layer, head)) {
            rule = one.of(rule, method.as_ref(), (layer, head)).map_err(|(claim, nearest)| {
                let inequality = format!("{claim} (`{one}`, layer {layer}, head {head})");
                SettingError::Impossible { owner, inequality, nearest }
            })?;
        }
        Ok(rule)
    };
    let rules: Vec<Vec<HeadPlan>> = (0..model.n_layers)
        .map(|layer| (0..model.n_heads).map(|head| rule(layer, head)).collect())
        .collect::<Result<_, _>>()?;
    Ok(plan.with_heads(text, model, |layer, head| rules[layer][head].clone()))
}

impl fmt::Display for Intervention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.places)?;
        let listed = |word: &str, items: Vec<String>| format!("{word}:{}", items.join(","));
        match &self.change {
            Change::Off => f.write_str("off"),
            Change::Hide(hidden) => {
                let tokens = hidden.iter().map(|tokens| match tokens.len() {
                    1 => tokens.start.to_string(),
                    _ => format!("{}-{}", tokens.start, tokens.end - 1),
                });
                f.write_str(&listed("hide", tokens.collect()))
            }
            Change::Force(chunks) => f.write_str(&listed("force", chunks.iter().map(u32::to_string).collect())),
            Change::Method(method) => method.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::methods::tests::any_method;
    use crate::plan::{Prefill, Relation};

    fn four_layers() -> ModelSpec {
        ModelSpec { n_layers: 4, ..ModelSpec::tiny(64) }
    }

    fn planned(text: &str) -> Result<Plan, SettingError> {
        Method::parse(text).and_then(|method| method.plan(&four_layers()))
    }

    #[test]
    fn what_lies_beyond_the_end_is_told() {
        let warned = |text: &str, n_tokens: usize| {
            let warnings = planned(text).unwrap().warnings(n_tokens, None);
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(warned("full/1h2=hide:5-9", 10), [""; 0]);
        let hidden = "hidden keys lie beyond these 10 tokens: tokens 10-12, counted from 0";
        assert_eq!(warned("full/1h2=hide:5-9,9-12/2h0-1=hide:5-9", 10), [hidden]);
        let forces = "long_heads:chunk_len=4,attention_len=24/1h2=force:2,3";
        assert_eq!(warned(forces, 16), [""; 0]);
        assert_eq!(warned(forces, 15), ["forced chunks lie beyond these 15 tokens: token 15, counted from 0"]);
    }

    fn any_intervention() -> impl Strategy<Value = String> {
        let place = prop_oneof![
            (0..4usize).prop_map(|layer| layer.to_string()),
            (0..4usize, 0..4usize).prop_map(|(layer, head)| format!("{layer}h{head}")),
            Just("1-2h0-1".to_owned()),
            Just("0-".to_owned()),
        ];
        let change = prop_oneof![
            Just("off".to_owned()),
            Just("hide:3-9,12".to_owned()),
            Just("force:2,5".to_owned()),
            Just("streaming:n_sink=1,window=8".to_owned()),
            Just("full".to_owned()),
        ];
        (place, change).prop_map(|(place, change)| format!("{place}={change}"))
    }

    proptest! {
        #[test]
        fn every_form_is_read_back(method in any_method(), parts in prop::collection::vec(any_intervention(), 0..4)) {
            let text = parts.iter().fold(method, |text, part| format!("{text}/{part}"));
            let method = Method::parse(&text).unwrap();
            prop_assert_eq!(&Method::parse(&method.to_string()).unwrap(), &method);
            let json = serde_json::to_string(&method).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Method>(&json).unwrap(), &method);
            let table = toml::to_string(&method).unwrap();
            prop_assert_eq!(&toml::from_str::<Method>(&table).unwrap(), &method);
            prop_assert_eq!(Method::list(&format!("full,{text};quest,{text}")).unwrap().len(), 4);
            if let Ok(plan) = method.plan(&four_layers()) {
                let resolved = method.resolved(&four_layers());
                prop_assert_eq!(&plan.method, &resolved.to_string());
                let again = resolved.plan(&four_layers()).unwrap();
                prop_assert_eq!(again.rules(), plan.rules());
            }
        }
    }

    #[test]
    fn heads_that_are_named_change_and_no_others() {
        let plan = planned("full/1h2=off/2=streaming:n_sink=2,window=6/2h0=off/3h1-2=hide:4-7").unwrap();
        let of = |layer: usize, head: usize| {
            let rule = plan.of(layer, head);
            (rule.is_off, rule.spans.iter().map(|span| span.name).collect::<Vec<_>>())
        };
        assert_eq!([of(0, 0), of(1, 1)], [(false, vec!["all"]), (false, vec!["all"])]);
        assert_eq!([of(1, 2), of(2, 0)], [(true, vec!["all"]), (true, vec!["window", "sinks"])]);
        assert_eq!(of(2, 3), (false, vec!["window", "sinks"]));
        let sees = |i: usize, j: usize| plan.of(3, 1).relation(i, j, Prefill { n_tokens: 20 }) != Relation::Hidden;
        let row = |i: usize| (0..=i).map(|j| if sees(i, j) { '*' } else { '.' }).collect::<String>();
        assert_eq!([row(3), row(5), row(8), row(10)], ["****", "****.*", "****....*", "****....***"]);
        assert_eq!(
            plan.places(),
            [
                "layer 0; layer 1, heads 0-1, 3; layer 3, heads 0, 3",
                "layer 1, head 2",
                "layer 2, head 0",
                "layer 2, heads 1-3",
                "layer 3, heads 1-2"
            ]
        );
        assert_eq!(plan.method, "full/1h2=off/2=streaming:n_sink=2,window=6/2h0=off/3h1-2=hide:4-7");
    }

    #[test]
    fn a_later_intervention_acts_on_what_earlier_ones_left() {
        let plan = planned("full/0-=off/0h1=full").unwrap();
        assert_eq!([plan.of(0, 0).is_off, plan.of(0, 1).is_off], [true, false]);
        let off = plan.switched_off(&four_layers());
        assert_eq!((off.len(), off[0], off[1]), (15, (0, 0), (0, 2)));
        assert_eq!(planned("full").unwrap().switched_off(&four_layers()), []);
        assert_eq!(planned("full/2h1=off").unwrap().switched_off(&four_layers()), [(2, 1)]);
    }

    #[test]
    fn parameters_change_under_interventions_that_stay() {
        let method = Method::parse("streaming:window=8/1h2=off").unwrap();
        let wider = method.clone().with("window", &crate::setting::Value::Number(16.0)).unwrap();
        assert_eq!(wider.to_string(), "streaming:window=16/1h2=off");
        let more = wider.and(Intervention::off(3, 0)).unwrap();
        assert_eq!(more.interventions_text(), "1h2=off/3h0=off");
        let other = more.clone().toggled(1, 2).unwrap().toggled(2, 2).unwrap();
        assert_eq!(other.interventions_text(), "3h0=off/2h2=off");
        assert_eq!(more.with_interventions("").unwrap().to_string(), "streaming:window=16");
        assert_eq!(method.name(), "streaming");
    }

    #[test]
    fn a_method_of_parts_takes_interventions_behind_them() {
        let method = Method::parse("by_layer:0-=full/1-=streaming:window=8/2h0=off/3=full").unwrap();
        assert_eq!(method.to_string(), "by_layer:layers=0-=full/1-=streaming:window=8/2h0=off/3=full");
        assert_eq!(method.interventions_text(), "2h0=off/3=full");
        let typed = crate::setting::Value::Word("0-=full/1h0=off".into());
        let typed = method.with("layers", &typed).unwrap();
        assert_eq!(typed.to_string(), "by_layer:layers=0-=full/1h0=off/2h0=off/3=full");
    }

    #[test]
    fn interventions_that_cannot_be_are_refused() {
        let say = |text: &str| {
            let error = planned(text).unwrap_err();
            format!("{error} | {}", error.help().unwrap_or_default())
        };
        insta::assert_snapshot!(say("full/8h3=off"), @"`full` is impossible with these values: layer < 4 (8 < 4) in `8h3=off` does not hold | the model has 4 layers; `3-` goes on to the last one");
        insta::assert_snapshot!(say("full/1h9=off"), @"`full` is impossible with these values: head < 4 (9 < 4) in `1h9=off` does not hold | the model has 4 heads; `3-` goes on to the last one");
        insta::assert_snapshot!(say("full/1h2"), @"`full`: heads = `1h2` is not an intervention PLACE=CHANGE, as in `8h3=off` |");
        insta::assert_snapshot!(say("full/1h2=of"), @"`full`: heads = `1h2=of` is not one of `off`, `hide:FIRST-LAST`, `force:CHUNK,CHUNK` and a method with its parameters |");
        insta::assert_snapshot!(say("full/1h2=hide"), @"`full`: heads = `1h2=hide` is not `hide` with tokens, first and last of each range, as in `hide:512-540,600-610` |");
        insta::assert_snapshot!(say("full/1h2=hide:9-4"), @"`full`: heads = `1h2=hide:9-4` is not `hide` with tokens, first and last of each range, as in `hide:512-540,600-610` |");
        insta::assert_snapshot!(say("full/1h2=hide:4-"), @"`full`: heads = `1h2=hide:4-` is not `hide` with tokens, first and last of each range, as in `hide:512-540,600-610` |");
        insta::assert_snapshot!(say("full/1h2=force:3"), @"`full` is impossible with these values: the head chooses chunks (`1h2=force:3`, layer 1, head 2) does not hold | take a method that chooses chunks");
        insta::assert_snapshot!(say("long_heads:chunk_len=4,attention_len=16/1h2=force:1,2,3"), @"`long_heads` is impossible with these values: forced chunks <= chunks picked by score (3 <= 1) (`1h2=force:1,2,3`, layer 1, head 2) does not hold | force at most 1, or let the method attend to more chunks");
        insta::assert_snapshot!(say("long_heads:chunk_len=4,attention_len=16/1h2=hide:4-7"), @"`long_heads` is impossible with these values: keys are met by spans alone (`1h2=hide:4-7`, layer 1, head 2) does not hold | give the head a method without a choice of chunks first, or force other chunks");
        insta::assert_snapshot!(say("full/1h2=by_layer:0-=full"), @"`full`: heads = `1h2=by_layer:0-=full` is not a method without parts of its own |");
        insta::assert_snapshot!(say("full/1h2=streaming:window=0"), @"`streaming`: window = 0 is not a whole number of at least 1 and below 10^12 |");
        insta::assert_snapshot!(say("full/"), @"`full`: heads = `` is not an intervention PLACE=CHANGE, as in `8h3=off` |");
    }
}
