//! Functions of the language that take values out of lists and maps without reading a variable, as `this.pop()` does. They do
//! what the language's own do, let what they took be looked at, and filters take time that grows with the list, not its square.

use std::mem::take;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use rhai::{Array, Dynamic, Engine, FnPtr, INT, Map, NativeCallContext};

use super::Looker;
use crate::host::Returned;

pub fn register(engine: &mut Engine, looker: &Rc<Looker>) {
    let seen = || {
        let looker = looker.clone();
        move |value: Dynamic| {
            looker.sees(&value);
            value
        }
    };
    let see = seen();
    engine.register_fn("pop", move |list: &mut Array| see(list.pop().unwrap_or(Dynamic::UNIT)));
    let see = seen();
    engine.register_fn("shift", move |list: &mut Array| {
        see(if list.is_empty() { Dynamic::UNIT } else { list.remove(0) })
    });
    let see = seen();
    engine.register_fn("remove", move |list: &mut Array, at: INT| {
        let idx = if at < 0 { list.len().checked_sub(at.unsigned_abs() as usize) } else { usize::try_from(at).ok() };
        see(idx.filter(|idx| *idx < list.len()).map_or(Dynamic::UNIT, |idx| list.remove(idx)))
    });
    let see = seen();
    engine.register_fn("remove", move |map: &mut Map, name: &str| see(map.remove(name).unwrap_or(Dynamic::UNIT)));
    let see = seen();
    engine.register_fn("split", move |list: &mut Array, at: INT| {
        let (start, _) = part(list.len(), at, INT::MAX);
        see(list.split_off(start).into())
    });
    register_parts(engine, "drain", seen, |list, start, n| list.drain(start..start + n).collect());
    register_parts(engine, "retain", seen, |list, start, n| {
        let mut others: Array = list.drain(..start).collect();
        others.extend(list.drain(n..));
        others
    });
    register_filters(engine, &seen);
}

/// A function that takes out what a range names, or everything else.
fn register_parts<S: Fn(Dynamic) -> Dynamic + 'static>(
    engine: &mut Engine,
    name: &str,
    seen: impl Fn() -> S,
    take: fn(&mut Array, usize, usize) -> Array,
) {
    let of = move |list: &mut Array, start: INT, n: INT| {
        let (start, n) = part(list.len(), start, n);
        // a range of nothing takes nothing, whatever its place
        if n == 0 { Array::new() } else { take(list, start, n) }
    };
    let see = seen();
    engine.register_fn(name, move |list: &mut Array, start: INT, n: INT| see(of(list, start, n).into()));
    let see = seen();
    engine.register_fn(name, move |list: &mut Array, range: Range<INT>| {
        let start = range.start.max(0);
        see(of(list, start, range.end.max(start) - start).into())
    });
    let see = seen();
    engine.register_fn(name, move |list: &mut Array, range: RangeInclusive<INT>| {
        let start = (*range.start()).max(0);
        see(of(list, start, (*range.end()).max(start).min(INT::MAX - 1) - start + 1).into())
    });
}

/// `drain` takes out what a function says yes to, `retain` everything else.
fn register_filters<S: Fn(Dynamic) -> Dynamic + 'static>(engine: &mut Engine, seen: &impl Fn() -> S) {
    for (name, taken_if) in [("drain", true), ("retain", false)] {
        let see = seen();
        engine.register_fn(
            name,
            move |context: NativeCallContext, list: &mut Array, filter: FnPtr| -> Returned<Dynamic> {
                let (mut out, mut kept, mut failed) = (Array::new(), Array::new(), None);
                for (idx, mut value) in take(list).into_iter().enumerate() {
                    let is_taken = failed.is_none() && {
                        let idx = [Dynamic::from(idx as INT)];
                        let said = filter.call_raw_with_extra_args(name, &context, Some(&mut value), [], idx, Some(0));
                        says(said, &mut failed).is_some_and(|yes| yes == taken_if)
                    };
                    if is_taken { out.push(value) } else { kept.push(value) }
                }
                *list = kept;
                failed.map_or_else(|| Ok(see(out.into())), Err)
            },
        );
        let see = seen();
        engine.register_fn(
            name,
            move |context: NativeCallContext, map: &mut Map, filter: FnPtr| -> Returned<Dynamic> {
                let (mut out, mut kept, mut failed) = (Map::new(), Map::new(), None);
                for (key, mut value) in take(map) {
                    let is_taken = failed.is_none() && {
                        let named = [Dynamic::from(key.to_string())];
                        let said =
                            filter.call_raw_with_extra_args(name, &context, Some(&mut value), named, [], Some(1));
                        says(said, &mut failed).is_some_and(|yes| yes == taken_if)
                    };
                    if is_taken { &mut out } else { &mut kept }.insert(key, value);
                }
                *map = kept;
                failed.map_or_else(|| Ok(see(out.into())), Err)
            },
        );
    }
}

/// What a filter said; nothing after an error, which is kept.
fn says(said: Returned<Dynamic>, failed: &mut Option<Box<rhai::EvalAltResult>>) -> Option<bool> {
    match said {
        Ok(said) => Some(said.as_bool().unwrap_or(false)),
        Err(error) => {
            *failed = Some(error);
            None
        }
    }
}

/// Start and length of a part of a list, where a start below 0 counts from the end.
fn part(len: usize, start: INT, n: INT) -> (usize, usize) {
    let start = if start < 0 {
        len.saturating_sub(usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX))
    } else {
        usize::try_from(start).unwrap_or(usize::MAX).min(len)
    };
    (start, usize::try_from(n.max(0)).unwrap_or(usize::MAX).min(len - start))
}
