//! What makes two values the same to a sweep: a function with all that it calls and captured, a prompt with its tokens.

use rhai::{Array, Dynamic, FnPtr, Map, Module, NativeCallContext, ScriptFuncDef, locked_read};
use serde_json::{Value, json};

use self::body::without_places;
use super::{Method, Model, Prompt, Run, Table, Trace};
use crate::hash::hash128;
use crate::host::OpenModel;
use crate::values::data::to_json;

mod body;

/// A value as JSON that changes when the value does; what [`to_json`] says of handles is for readers and leaves things out.
pub fn value(context: &NativeCallContext, of: &Dynamic) -> Value {
    Writer::new(context).value(of)
}

/// A function with what it captured, every function of the session that it calls, and the constants that they name. Where it
/// stands in a cell does not count, nor do comments.
pub fn function(context: &NativeCallContext, function: &FnPtr) -> Value {
    Writer::new(context).function(function)
}

/// A model, as far as its numbers go.
pub fn model(model: &OpenModel) -> Value {
    let info = &model.info;
    // sizes that follow the trained context follow the one that is used
    let contexts = [info.spec.trained_context, info.spec.original_context];
    json!([info.source, info.dtype, info.kernel_path, hash128(&model.files), contexts])
}

/// Writes values down. What functions share and what they name is written once: it may lead back to them.
struct Writer<'a> {
    context: &'a NativeCallContext<'a>,
    /// Variables that functions share, by where they lie.
    shared: Vec<*const Dynamic>,
    /// Constants, by their names.
    constants: Vec<String>,
}

impl<'a> Writer<'a> {
    fn new(context: &'a NativeCallContext<'a>) -> Self {
        Self { context, shared: Vec::new(), constants: Vec::new() }
    }

    fn value(&mut self, of: &Dynamic) -> Value {
        if of.is_shared() {
            let place = of.read_lock::<Dynamic>().map(|inside| std::ptr::from_ref(&*inside));
            if let Some(known) = self.shared.iter().position(|known| Some(*known) == place) {
                return json!(["shared", known]);
            }
            self.shared.extend(place);
        }
        let of = of.flatten_clone();
        if let Some(list) = of.read_lock::<Array>() {
            return list.iter().map(|entry| self.value(entry)).collect();
        }
        if let Some(map) = of.read_lock::<Map>() {
            return map.iter().map(|(name, entry)| (name.to_string(), self.value(entry))).collect();
        }
        if let Ok(number) = of.as_float() {
            // JSON has no NaN and nothing infinite
            return json!(["float", format!("{number:?}")]);
        }
        if let Some(pointer) = of.clone().try_cast::<FnPtr>() {
            return self.function(&pointer);
        }
        if let Some(Method::Written(written)) = of.clone().try_cast::<Method>() {
            let rules: Vec<_> = written.functions().map(|rule| self.function(rule)).collect();
            return json!([written.name, rules]);
        }
        if let Some(prompt) = of.clone().try_cast::<Prompt>() {
            return json!([prompt.to_string(), hash128(&format!("{:?}", prompt.built.tokens))]);
        }
        if let Some(table) = of.clone().try_cast::<Table>() {
            return json!(["table", hash128(&String::from_utf8_lossy(&table.0.table.to_json()))]);
        }
        if let Some(run) = of.clone().try_cast::<Run>() {
            let kept = &run.0.kept;
            return json!([
                run.to_string(),
                hash128(&format!("{:?} {:?}", run.0.prompt.built.tokens, kept.prompt_nll()))
            ]);
        }
        if let Some(trace) = of.clone().try_cast::<Trace>() {
            let tokens = &trace.0.prompt.built.tokens;
            return json!([trace.shown().text, hash128(&format!("{tokens:?} {:?}", trace.0.nll))]);
        }
        if let Some(open) = of.clone().try_cast::<Model>() {
            return model(&open.0);
        }
        // whole numbers and others, texts and methods are told apart: they act differently
        json!([of.type_name(), to_json(&of)])
    }

    fn function(&mut self, function: &FnPtr) -> Value {
        let captured: Vec<_> = function.curry().iter().map(|captured| self.value(captured)).collect();
        let mut seen: Vec<String> = vec![function.fn_name().to_owned()];
        let (mut text, mut constants, mut at) = (String::new(), Vec::new(), 0);
        while at < seen.len() {
            let name = seen[at].clone();
            for (params, body) in bodies(self.context, &name) {
                // functions without a name are called after their place
                let shown = if name.contains('$') { "" } else { name.as_str() };
                text.extend([shown, "(", &params.join(", "), ") ", &without_places(&body), "\n"]);
                for word in words(&body) {
                    if !seen.iter().any(|known| known == word) {
                        seen.push(word.to_owned());
                    }
                }
                constants.extend(body.split(GLOBAL).skip(1).filter_map(|rest| words(rest).next()).map(str::to_owned));
            }
            at += 1;
        }
        let constants: Vec<_> = constants.iter().filter_map(|name| self.constant(name)).collect();
        // a function of longlens itself has no body here
        let name = if text.is_empty() { function.fn_name() } else { "" };
        json!([name, hash128(&text), captured, constants])
    }

    /// A constant of the cell that runs, the first time that it is named.
    fn constant(&mut self, name: &str) -> Option<Value> {
        if self.constants.iter().any(|known| known == name) {
            return None;
        }
        #[allow(deprecated)] // volatile, its documentation says, not deprecated
        let known = self.context.store_data().global.constants?;
        let of = locked_read(&known)?.get(name).cloned()?;
        self.constants.push(name.to_owned());
        Some(json!([name, self.value(&of)]))
    }
}

/// What stands before the name of a constant where a function names one.
const GLOBAL: &str = "global::";

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
