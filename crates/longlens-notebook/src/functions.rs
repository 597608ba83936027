//! What the language can do. A function is a documented `fn` in `functions/<topic>.rs`: help, completion and the tests of its
//! examples read its doc comment.

use rhai::Engine;
use rhai::plugin::*;

use crate::docs::signature;

mod basics;
mod batch;
mod calls;
mod evaluate;
pub(crate) mod files;
mod heads;
mod kept;
mod lists;
mod method;
mod model;
mod plot;
mod predicted;
mod prompt;
mod run;
mod session;
pub(crate) mod sweep;
mod table;
mod tasks;
mod trace;
mod view;

/// Every topic: its title, and its functions. Lists of functions show them in this order.
fn topics() -> Vec<(&'static str, Module)> {
    macro_rules! topic {
        ($title:literal: $($topic:ident),+) => {{
            let mut module = Module::new();
            $(combine_with_exported_module!(&mut module, "topic", $topic::functions);)+
            ($title, module)
        }};
    }
    let mut topics = vec![
        topic!("Models": model),
        topic!("Prompts": prompt),
        topic!("Methods and RoPE scalings": method, heads),
        topic!("Running a prompt": run, batch, predicted, kept, session),
        topic!("Looking inside": trace),
        topic!("Pictures of a trace": view),
        topic!("Measuring": evaluate, tasks, sweep),
        topic!("Pictures of tables and methods": plot),
        topic!("Tables and lists": table, lists),
        topic!("Files": files),
        topic!("Showing, help and time": basics),
    ];
    method::constructors(&mut topics[2].1);
    view::register(&mut topics[5].1);
    topics
}

/// Teaches an engine every function.
pub fn register(engine: &mut Engine) {
    let mut all = Module::new();
    for (_, functions) in topics() {
        all.combine(functions);
    }
    engine.register_global_module(all.into());
    table::iterate(engine);
}

/// Every topic's title with its functions, as their signatures.
pub fn by_topic() -> Vec<(&'static str, Vec<String>)> {
    let signatures = |functions: Module| {
        let mut engine = Engine::new_raw();
        engine.register_global_module(functions.into());
        engine.collect_fn_metadata(None, |info| signature(&info), false)
    };
    topics().into_iter().map(|(title, functions)| (title, signatures(functions))).collect()
}
