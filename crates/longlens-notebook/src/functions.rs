//! What the language can do. A function is a documented `fn` in `functions/<topic>.rs`: help, completion and the tests of its
//! examples read its doc comment.

use rhai::Engine;
use rhai::plugin::*;

mod basics;
mod calls;
mod evaluate;
pub(crate) mod files;
mod method;
mod model;
mod plot;
mod prompt;
mod run;
pub(crate) mod sweep;
mod table;
mod trace;
mod view;

/// Teaches an engine every function.
pub fn register(engine: &mut Engine) {
    let mut all = Module::new();
    combine_with_exported_module!(&mut all, "basics", basics::functions);
    combine_with_exported_module!(&mut all, "evaluate", evaluate::functions);
    combine_with_exported_module!(&mut all, "files", files::functions);
    combine_with_exported_module!(&mut all, "method", method::functions);
    combine_with_exported_module!(&mut all, "model", model::functions);
    combine_with_exported_module!(&mut all, "plot", plot::functions);
    combine_with_exported_module!(&mut all, "prompt", prompt::functions);
    combine_with_exported_module!(&mut all, "run", run::functions);
    combine_with_exported_module!(&mut all, "sweep", sweep::functions);
    combine_with_exported_module!(&mut all, "table", table::functions);
    combine_with_exported_module!(&mut all, "trace", trace::functions);
    combine_with_exported_module!(&mut all, "view", view::functions);
    method::constructors(&mut all);
    view::register(&mut all);
    engine.register_global_module(all.into());
    table::iterate(engine);
}
