//! Short names of methods, for tables, legends and titles. The text form with every parameter stays in records and files.

use crate::methods::Method;
use crate::setting::{Kind, Value};
use crate::spec::ModelSpec;

/// The short name of a method's text form: `name:key=value` with the parameters alone that are not as usual on a model that was trained
/// on `trained_context` tokens. What is no method of the catalog stays as it is.
pub fn name(text: &str, trained_context: usize) -> String {
    names(&[text], trained_context).swap_remove(0)
}

/// Short names of methods that stand beside one another: the parameters that are not as usual, and of several of one name those that
/// differ among them. Equal texts have equal names, different texts different ones, and each name alone is the same method.
pub fn names<T: AsRef<str>>(texts: &[T], trained_context: usize) -> Vec<String> {
    let model = ModelSpec::tiny(trained_context.max(1));
    let methods: Vec<Option<Method>> = texts.iter().map(|text| listed(text.as_ref(), &model)).collect();
    let short = |(text, method): (&T, &Option<Method>)| {
        let Some(method) = method else { return text.as_ref().to_owned() };
        let alike: Vec<&Method> = methods.iter().flatten().filter(|other| other.name() == method.name()).collect();
        let is_told = |key: &str| {
            let own = value(method, key, &model);
            usual(method, key, &model) != own || alike.iter().any(|other| value(other, key, &model) != own)
        };
        of(method, is_told, &model)
    };
    texts.iter().zip(&methods).map(short).collect()
}

/// The method of a text, every parameter written out.
fn listed(text: &str, model: &ModelSpec) -> Option<Method> {
    Method::parse(text).ok().filter(|method| method.setting().is_some()).map(|method| method.resolved(model))
}

fn value(method: &Method, key: &str, model: &ModelSpec) -> Option<Value> {
    method.setting().map(|setting| setting.value(key, model))
}

/// What a parameter has where it is not given and the others are.
fn usual(method: &Method, key: &str, model: &ModelSpec) -> Option<Value> {
    value(&method.clone().without(key).resolved(model), key, model)
}

fn of(method: &Method, is_told: impl Fn(&str) -> bool, model: &ModelSpec) -> String {
    let Some(setting) = method.setting() else { return method.to_string() };
    let told = setting.info().params.iter().filter(|param| is_told(param.name));
    let told: Vec<String> = told
        .map(|param| match setting.value(param.name, model) {
            Value::Word(parts) if matches!(param.kind, Kind::Parts) => of_parts(&parts, model),
            value => format!("{}={value}", param.name),
        })
        .collect();
    let parameters = if told.is_empty() { String::new() } else { format!(":{}", told.join(",")) };
    let changes = match method.interventions() {
        [] => String::new(),
        _ => format!("/{}", of_parts(&method.interventions_text(), model)),
    };
    format!("{}{parameters}{changes}", method.name())
}

/// Parts `LAYERS=METHOD`, their methods short.
fn of_parts(text: &str, model: &ModelSpec) -> String {
    let short = |part: &str| match part.split_once('=') {
        Some((place, method)) => format!("{place}={}", name(method, model.trained_context)),
        None => part.to_owned(),
    };
    text.split('/').map(short).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::methods::tests::any_method;

    const TRAINED: usize = 256;

    /// As records have it.
    fn full(text: &str) -> String {
        Method::parse(text).unwrap().resolved(&ModelSpec::tiny(TRAINED)).to_string()
    }

    #[test]
    fn what_is_as_usual_is_not_told() {
        let short = |text: &str| name(&full(text), TRAINED);
        assert_eq!(short("full"), "full");
        for method in ["self_extend", "long_heads", "quest", "streaming", "dual_chunk"] {
            assert_eq!(short(method), method);
        }
        assert_eq!(short("self_extend:group_size=3"), "self_extend:group_size=3");
        assert_eq!(
            short("self_extend:group_size=3/1h2=off/0=streaming:n_sink=2"),
            "self_extend:group_size=3/1h2=off/0=streaming:n_sink=2"
        );
        assert_eq!(short("by_layer:0=full/1=self_extend:group_size=3"), "by_layer:0=full/1=self_extend:group_size=3");
        // the same number may be usual on one model and not on another
        let window = full("sliding_window");
        assert_eq!(name(&window, TRAINED), "sliding_window");
        assert!(name(&window, 4 * TRAINED).starts_with("sliding_window:"), "{window}");
        assert_eq!(name("from a script", TRAINED), "from a script");
    }

    #[test]
    fn of_methods_alike_what_differs_among_them_is_told() {
        let texts = ["self_extend:group_size=3", "self_extend:group_size=5", "full", "long_heads"].map(full);
        let short = names(&texts, TRAINED);
        assert_eq!(short, ["self_extend:group_size=3", "self_extend:group_size=5", "full", "long_heads"]);
        let texts = ["long_heads:chunk_len=8,query_block=1", "long_heads:chunk_len=8,query_block=2"].map(full);
        assert_eq!(
            names(&texts, TRAINED),
            ["long_heads:chunk_len=8,query_block=1", "long_heads:chunk_len=8,query_block=2"],
            "what they share is told as well where it is not as usual"
        );
        let twice = ["self_extend:group_size=3", "self_extend:group_size=3"].map(full);
        assert_eq!(names(&twice, TRAINED), ["self_extend:group_size=3"; 2]);
    }

    proptest! {
        #[test]
        fn a_short_name_alone_is_the_same_method_and_several_stay_apart(
            methods in prop::collection::vec(any_method(), 1..5),
        ) {
            let model = ModelSpec::tiny(TRAINED);
            let texts: Vec<String> = methods.iter().map(|method| full(method)).collect();
            for text in &texts {
                let again = Method::parse(&name(text, TRAINED)).unwrap();
                prop_assert_eq!(&again.resolved(&model).to_string(), text);
            }
            let short = names(&texts, TRAINED);
            for (name, text) in short.iter().zip(&texts) {
                prop_assert_eq!(&Method::parse(name).unwrap().resolved(&model).to_string(), text, "beside {:?}", &short);
            }
            for (a, b) in (0..texts.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                prop_assert_eq!(short[a] == short[b], texts[a] == texts[b], "{} {}", &texts[a], &texts[b]);
            }
        }
    }
}
