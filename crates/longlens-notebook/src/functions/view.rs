//! A function for every view of a trace, made of its definition: a new view needs no line here.

use longlens_app::views::{TRACE_VIEWS, TraceView};
use longlens_core::setting::{Info, Setting};
use rhai::plugin::*;
use rhai::{FuncRegistration, Map};

use super::method::{documentation, setting_value};
use crate::host::{Returned, host, raise};
use crate::values::{Figure, Trace, ViewOfTrace};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use crate::host::{Returned, host};
    use crate::values::{Figure, Interactive, Table};

    /// A picture as a page that answers to mouse and keys: tokens and numbers below the mouse, other heads and queries, a map that zooms from the
    /// whole text to single words. Shown in a frame of the notebook; `save(figure, "name.html")` writes the same as a file.
    ///
    /// ```rhai
    /// interactive(chunks(trace(needle(300, 0.5), full())))
    /// ```
    #[rhai_fn(name = "interactive", return_raw)]
    pub fn interactive(context: NativeCallContext, figure: Figure) -> Returned<Interactive> {
        figure.with_page(&host(&context)).map(Interactive)
    }

    /// The numbers behind a picture of a trace, a method or runs, as a table.
    ///
    /// ```rhai
    /// table(chunks(trace(needle(400, 0.5), full()), 1)).sort_down("attention").head(3)
    /// ```
    #[rhai_fn(name = "table", return_raw)]
    pub fn table_of_figure(figure: &mut Figure) -> Returned<Table> {
        Table::of_view(&figure.0, figure.0.records.clone())
    }
}

/// Registers every view, as in `chunks(trace)`, `chunks(trace, 1)` and `chunks(trace, 1, #{ query: 20 })`.
pub fn register(module: &mut Module) {
    for view in TRACE_VIEWS {
        let info = view.info();
        let arguments = [", 1", ", 2"][..view.n_positional()].concat();
        let call = format!("{}(trace(needle(300, 0.5), full()){arguments})", info.name);
        let comments = documentation(info, &call);
        let names: Vec<String> =
            info.params.iter().take(view.n_positional()).map(|param| format!("{}: i64", param.name)).collect();
        let new = |n_given: usize, with_options: bool| {
            let mut params = vec!["trace: Trace"];
            params.extend(names[..n_given].iter().map(String::as_str));
            params.extend(with_options.then_some("options: Map"));
            params.push("Figure");
            FuncRegistration::new(info.name)
                .in_global_namespace()
                .with_purity(true)
                .with_params_info(params)
                .with_comments(&comments)
        };
        new(0, false).set_into_module(module, move |context: NativeCallContext, trace: &mut Trace| {
            drawn(&context, *view, trace, &[], &Map::new())
        });
        new(0, true).set_into_module(module, move |context: NativeCallContext, trace: &mut Trace, options: Map| {
            drawn(&context, *view, trace, &[], &options)
        });
        if view.n_positional() >= 1 {
            new(1, false).set_into_module(module, move |context: NativeCallContext, trace: &mut Trace, a: i64| {
                drawn(&context, *view, trace, &[a], &Map::new())
            });
            new(1, true).set_into_module(
                module,
                move |context: NativeCallContext, trace: &mut Trace, a: i64, options: Map| {
                    drawn(&context, *view, trace, &[a], &options)
                },
            );
        }
        if view.n_positional() >= 2 {
            new(2, false).set_into_module(
                module,
                move |context: NativeCallContext, trace: &mut Trace, a: i64, b: i64| {
                    drawn(&context, *view, trace, &[a, b], &Map::new())
                },
            );
            new(2, true).set_into_module(
                module,
                move |context: NativeCallContext, trace: &mut Trace, a: i64, b: i64, options: Map| {
                    drawn(&context, *view, trace, &[a, b], &options)
                },
            );
        }
    }
}

/// The picture of a view: its first options by place, the others by name.
fn drawn(
    context: &NativeCallContext,
    view: &'static dyn TraceView,
    trace: &Trace,
    given: &[i64],
    named: &Map,
) -> Returned<Figure> {
    let info: &'static Info = view.info();
    let mut options = Setting::new(info);
    for (param, value) in info.params.iter().zip(given) {
        options.set(param.name, &setting_value(param.name, &(*value).into())?).map_err(raise)?;
    }
    for (name, value) in named.iter().filter(|(_, value)| !value.is_unit()) {
        options.set(name, &setting_value(name, value)?).map_err(raise)?;
    }
    let plot = trace.0.view(&host(context), view, &options)?;
    let of = ViewOfTrace { trace: trace.clone(), view, options };
    Ok(Figure(plot.into(), Some(of.into())))
}
