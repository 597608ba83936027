//! What makes two values the same to a sweep: a function with all that it calls and captured, a prompt with its tokens.

use rhai::{Array, Dynamic, FnPtr, Map, Module, NativeCallContext, ScriptFuncDef};
use serde_json::{Value, json};

use crate::data::to_json;
use crate::values::{Method, Model, Prompt, Run, Table, Trace};

/// A value as JSON that changes when the value does; what [`to_json`] says of handles is for readers and leaves things out.
pub fn value(context: &NativeCallContext, of: &Dynamic) -> Value {
    let of = of.flatten_clone();
    if let Some(list) = of.read_lock::<Array>() {
        return list.iter().map(|entry| value(context, entry)).collect();
    }
    if let Some(map) = of.read_lock::<Map>() {
        return map.iter().map(|(name, entry)| (name.to_string(), value(context, entry))).collect();
    }
    if let Some(pointer) = of.clone().try_cast::<FnPtr>() {
        return function(context, &pointer);
    }
    if let Some(Method::Written(written)) = of.clone().try_cast::<Method>() {
        let rules: Vec<_> = written.functions().map(|rule| function(context, rule)).collect();
        return json!([written.name, rules]);
    }
    if let Some(prompt) = of.clone().try_cast::<Prompt>() {
        return json!([prompt.to_string(), hash(&format!("{:?}", prompt.built.tokens))]);
    }
    if let Some(table) = of.clone().try_cast::<Table>() {
        return json!(["table", hash(&String::from_utf8_lossy(&table.0.table.to_json()))]);
    }
    if let Some(run) = of.clone().try_cast::<Run>() {
        let kept = &run.0.kept;
        return json!([run.to_string(), hash(&format!("{:?} {:?}", run.0.prompt.built.tokens, kept.prompt_nll()))]);
    }
    if let Some(trace) = of.clone().try_cast::<Trace>() {
        let tokens = &trace.0.prompt.built.tokens;
        return json!([trace.shown().text, hash(&format!("{tokens:?} {:?}", trace.0.nll))]);
    }
    if let Some(model) = of.clone().try_cast::<Model>() {
        return self::model(&model.0.info);
    }
    // whole numbers and others, texts and methods are told apart: they act differently
    json!([of.type_name(), to_json(&of)])
}

/// A model, as far as its numbers go.
pub fn model(info: &longlens_core::lens::ModelInfo) -> Value {
    json!([info.source, info.dtype, info.kernel_path])
}

/// A function with what it captured, and every function of the session that it calls. Where it stands in a cell does not
/// count, nor do comments.
pub fn function(context: &NativeCallContext, function: &FnPtr) -> Value {
    let captured: Vec<_> = function.curry().iter().map(|captured| value(context, captured)).collect();
    let mut seen: Vec<String> = vec![function.fn_name().to_owned()];
    let (mut text, mut at) = (String::new(), 0);
    while at < seen.len() {
        let name = seen[at].clone();
        for (params, body) in bodies(context, &name) {
            // functions without a name are called after their place
            let shown = if name.contains('$') { "" } else { name.as_str() };
            text.extend([shown, "(", &params.join(", "), ") ", &without_places(&body), "\n"]);
            for word in words(&body) {
                if !seen.iter().any(|known| known == word) {
                    seen.push(word.to_owned());
                }
            }
        }
        at += 1;
    }
    // a function of longlens itself has no body here
    let name = if text.is_empty() { function.fn_name() } else { "" };
    json!([name, hash(&text), captured])
}

/// Parameters and bodies of the session's functions of a name, the one with the fewest parameters first.
fn bodies(context: &NativeCallContext, name: &str) -> Vec<(Vec<String>, String)> {
    let named = |module: &Module| {
        let written =
            |def: &ScriptFuncDef| (def.params.iter().map(ToString::to_string).collect(), format!("{:?}", def.body));
        let mine = module.iter_script_fn_info().filter(|(_, _, known, ..)| *known == name);
        mine.map(|(.., def)| written(def)).collect::<Vec<(Vec<String>, String)>>()
    };
    let mut found: Vec<_> = context.iter_namespaces().flat_map(named).collect();
    found.sort_by_key(|(params, _)| params.len());
    found
}

/// Names in a written-out body.
fn words(body: &str) -> impl Iterator<Item = &str> {
    body.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
        .filter(|word| word.starts_with(|c: char| !c.is_ascii_digit()))
}

/// A written-out body without lines and columns (`3:14`) and without the names that come from them, texts left as they are.
fn without_places(body: &str) -> String {
    let mut kept = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("'\"'") {
            3
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if first.is_ascii_digit() {
            let place = rest.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '-')).unwrap_or(rest.len());
            if rest[..place].contains(':') {
                rest = &rest[place..];
                continue;
            }
            rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        kept.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    nameless(&kept)
}

/// What stands before the number in the name of a function without a name.
const ANONYMOUS: &str = "anon$";

fn nameless(text: &str) -> String {
    let mut parts = text.split(ANONYMOUS);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + ANONYMOUS + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

/// FNV-1a over 128 bits: short, and the same in every session.
fn hash(text: &str) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    format!("{:032x}", text.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_left_out_and_texts_are_kept() {
        let body = r#"[Var(("a\"1:2", '"' @ 3:14), FnPtr(anon$0f3b, 12) @ 1:2-3:4, 5:6-7), 1.5 @ none, 1-2]"#;
        let expected = r#"[Var(("a\"1:2", '"' @ ), FnPtr(anon$, 12) @ , ), 1.5 @ none, 1-2]"#;
        assert_eq!(without_places(body), expected);
        assert_eq!(hash(""), "6c62272e07bb014262b821756295c58d");
        assert_eq!(hash("a"), "d228cb696f1a8caf78912b704e4a8964");
    }
}
