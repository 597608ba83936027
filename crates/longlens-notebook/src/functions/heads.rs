//! Interventions on heads: what a method does is changed in some of them.

use longlens_core::methods::HEADS;
use longlens_core::setting::Value;
use rhai::plugin::*;
use rhai::{Array, Dynamic};

use crate::host::{Returned, raise, refuse};
use crate::options::wrong;
use crate::values::{Method, Table};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use longlens_core::methods::Intervention;
    use rhai::Dynamic;

    use super::{catalogued, intervened, pairs};
    use crate::functions::calls::index;
    use crate::host::{Returned, raise};
    use crate::values::Method;

    /// A method with interventions on heads in their text form, each in some layers or heads: `off` (the head's output is zero),
    /// `hide:FIRST-LAST` (later queries do not meet the keys of these tokens), `force:CHUNK,CHUNK` (these chunks are among those that
    /// it chooses), or another method. A later one acts on what earlier ones left; an empty text takes all of them back.
    ///
    /// ```rhai
    /// intervene(full(), "2h1=off/1h0-2=streaming:window=64")
    /// ```
    #[rhai_fn(name = "intervene", return_raw)]
    pub fn intervene(method: Dynamic, heads: &str) -> Returned<Method> {
        intervened(catalogued(&method)?, heads)
    }

    /// A method with one more intervention, the same in several heads: a table with the columns `layer` and `head`, or an array of such
    /// pairs. The heads that fetch the key do not see it:
    ///
    /// ```rhai
    /// let p = needle(300, 0.5);
    /// let fetching = retrieval_heads(trace(p, full())).head(3);
    /// run(p, intervene(full(), fetching, `hide:${p.needle[0]}-${p.needle[1]}`)).found
    /// ```
    #[rhai_fn(name = "intervene", return_raw)]
    pub fn intervene_in(method: Dynamic, heads: Dynamic, change: &str) -> Returned<Method> {
        let method = catalogued(&method)?;
        let given = std::iter::once(method.interventions_text()).filter(|given| !given.is_empty());
        let changed = pairs(&heads)?.into_iter().map(|(layer, head)| format!("{layer}h{head}={change}"));
        let all: Vec<String> = given.chain(changed).collect();
        intervened(method, &all.join("/"))
    }

    /// A method with one more head whose output is zero.
    ///
    /// ```rhai
    /// switch_off(full(), 2, 1)
    /// ```
    #[rhai_fn(name = "switch_off", return_raw)]
    pub fn switch_off(method: Dynamic, layer: i64, head: i64) -> Returned<Method> {
        let (layer, head) = (index("layer", layer, usize::MAX)?, index("head", head, usize::MAX)?);
        catalogued(&method)?.and(Intervention::off(layer, head)).map(Method::Plain).map_err(raise)
    }

    /// A method with heads whose output is zero: a table with the columns `layer` and `head`, or an array of such pairs. The heads
    /// that fetch the key, and what is left without them:
    ///
    /// ```rhai
    /// let p = needle(300, 0.5);
    /// let fetching = retrieval_heads(trace(p, full())).head(3);
    /// run(p, switch_off(full(), fetching)).found
    /// ```
    #[rhai_fn(name = "switch_off", return_raw)]
    pub fn switch_off_all(method: Dynamic, heads: Dynamic) -> Returned<Method> {
        let off = |method: longlens_core::methods::Method, (layer, head)| method.and(Intervention::off(layer, head));
        pairs(&heads)?.into_iter().try_fold(catalogued(&method)?, off).map(Method::Plain).map_err(raise)
    }
}

/// A method of the catalog.
fn catalogued(method: &Dynamic) -> Returned<longlens_core::methods::Method> {
    match Method::read(method, "the method")? {
        Method::Plain(method) => Ok(method),
        Method::Written(written) => refuse(
            format!("`{}` is a method of your own, in which no head can be changed", written.name),
            "change a method of the catalog, or hide keys in its function `sees`",
        ),
    }
}

/// The method with other interventions.
fn intervened(method: longlens_core::methods::Method, heads: &str) -> Returned<Method> {
    method.with(HEADS, &Value::Word(heads.into())).map(Method::Plain).map_err(raise)
}

/// Layers and heads of a table or an array.
fn pairs(heads: &Dynamic) -> Returned<Vec<(usize, usize)>> {
    let heads = heads.flatten_clone();
    let expected = "a table with the columns layer and head, or an array of pairs, as in [[2, 1], [3, 0]]";
    let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as usize);
    if let Some(table) = heads.clone().try_cast::<Table>() {
        let numbers = |name: &str| table.0.table.numbers(name).map_err(raise);
        let (layers, heads_of) = (numbers("layer")?, numbers("head")?);
        let both = layers.into_iter().zip(heads_of).map(|(layer, head)| whole(layer).zip(whole(head)));
        return both.collect::<Option<_>>().ok_or_else(|| wrong("the heads", expected, &heads));
    }
    let pair = |pair: &Dynamic| {
        let pair = pair.read_lock::<Array>()?;
        let [layer, head] = &pair[..] else { return None };
        let number = |value: &Dynamic| value.as_int().ok().and_then(|number| usize::try_from(number).ok());
        number(layer).zip(number(head))
    };
    let list = heads.read_lock::<Array>().and_then(|list| list.iter().map(pair).collect::<Option<Vec<_>>>());
    list.ok_or_else(|| wrong("the heads", expected, &heads))
}
