//! `print` of several values, and `help`: functions that speak of any value.

use std::any::TypeId;

use rhai::{Dynamic, Engine, FuncRegistration, ImmutableString, Module, NativeCallContext};

use crate::docs::Docs;
use crate::functions::by_topic;
use crate::host::{Returned, host, refuse};
use crate::types::{a_type, plain_type};
use crate::values::{self, Table};

/// Values of one call: the language looks for a function of so many values of any kind, and for no more.
const MOST_VALUES: usize = 16;

/// Teaches an engine both.
pub fn register(engine: &mut Engine) {
    for n in 3..=MOST_VALUES {
        engine.register_raw_fn("print", vec![TypeId::of::<Dynamic>(); n], |context, values| {
            let said = values.iter_mut().map(|value| in_words(&context, value)).collect::<Returned<Vec<_>>>()?;
            Ok(ImmutableString::from(said.join(" ")))
        });
    }
    let mut module = Module::new();
    FuncRegistration::new("print")
        .in_global_namespace()
        .with_params_info(["first", "second", "()"])
        .with_comments(PRINT)
        .set_into_module(&mut module, |context: NativeCallContext, mut a: Dynamic, mut b: Dynamic| -> Returned<_> {
            Ok(ImmutableString::from(format!("{} {}", in_words(&context, &mut a)?, in_words(&context, &mut b)?)))
        });
    let help = |parameters: &[&str]| {
        let parameters = parameters.iter().chain(&["()"]).copied().collect::<Vec<_>>();
        FuncRegistration::new("help").in_global_namespace().with_params_info(parameters).with_comments(HELP)
    };
    help(&[]).set_into_module(&mut module, |context: NativeCallContext| {
        tell(&context, ABOUT_HELP);
    });
    help(&["value"]).set_into_module(&mut module, |context: NativeCallContext, value: Dynamic| -> Returned<()> {
        let docs = Docs::new(context.engine(), &by_topic());
        let told = match value.clone().into_immutable_string() {
            Ok(name) => of_name(&docs, &context, name.trim().trim_start_matches('?'))?,
            Err(_) => of_value(&docs, &value.flatten()),
        };
        tell(&context, &told);
        Ok(())
    });
    engine.register_global_module(module.into());
}

const PRINT: [&str; 5] = [
    "/// Prints a line of values, up to sixteen, with a space between two.",
    "///",
    "/// ```rhai",
    "/// print(\"loss\", 1.5, [1, 2])",
    "/// ```",
];

const ABOUT_HELP: &str = "help(\"needle\"), or ?needle, says what is known of a function; help(value) what a value has; %functions lists all";

const HELP: [&str; 5] = [
    "/// Says what is known of a function, by its name as a text, or what a value of any other kind has: properties and functions.",
    "///",
    "/// ```rhai",
    "/// help(\"needle\")",
    "/// ```",
];

fn tell(context: &NativeCallContext, text: &str) {
    host(context).tell(|out| out.print(&format!("{text}\n")));
}

/// A value as `print` says it.
fn in_words(context: &NativeCallContext, value: &mut Dynamic) -> Returned<String> {
    if value.read_lock::<Table>().is_some() {
        return Ok(values::printed(value));
    }
    let said = context.call_native_fn_raw("to_string", true, &mut [value])?;
    Ok(said.into_immutable_string().map_or_else(str::to_owned, |text| text.to_string()))
}

fn of_name(docs: &Docs, context: &NativeCallContext, name: &str) -> Returned<String> {
    if let Some(told) = docs.describe(name, false) {
        return Ok(told);
    }
    let own = context.iter_namespaces().flat_map(|functions| functions.gen_fn_signatures_with_mapper(Into::into));
    if let Some(signature) = own.into_iter().find(|signature| signature.starts_with(&format!("{name}("))) {
        return Ok(format!("{signature}\nwritten in this session"));
    }
    let near = super::close(name, docs.names()).map(|near| format!("did you mean help(\"{near}\")?"));
    refuse(
        format!("nothing is known of `{name}`"),
        near.unwrap_or_else(|| "%functions lists what there is; help(value) takes the value of a variable".into()),
    )
}

fn of_value(docs: &Docs, value: &Dynamic) -> String {
    let kind = plain_type(value.type_name());
    let properties = docs.properties(kind);
    let mut functions: Vec<&str> = docs
        .members(kind)
        .filter(|doc| !doc.is_property && !doc.name.contains(|c: char| !c.is_alphanumeric() && c != '_'))
        .map(|doc| doc.name.as_str())
        .filter(|name| !["to_string", "to_debug", "print", "debug"].contains(name))
        .collect();
    functions.dedup();
    let list = |what: &str, names: &[&str]| match names {
        [] => String::new(),
        names => format!("\n{what}: {}", names.join(", ")),
    };
    let properties: Vec<&str> = properties.iter().map(String::as_str).collect();
    let shown = values::text(value);
    let first = shown.lines().next().unwrap_or_default();
    let first: String = first.chars().take(100).collect();
    format!("{}: {first}{}{}", a_type(kind), list("properties", &properties), list("functions", &functions))
}
