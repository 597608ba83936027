//! How deeply values may lie inside values.
//!
//! Copying, comparing and freeing a value takes some stack for each level of it, in the language's own code, which counts no
//! levels. A loop that puts a value or a function into a new one makes one level a round, and a million of them are more than
//! any stack. To get there a cell must read a variable, or take a value out of a list, for every level; so one read in a thousand
//! is looked at, and a cell that went too far is stopped long before the stack is full.

use std::cell::Cell;
use std::rc::Rc;

use rhai::{Array, Dynamic, Engine, FnPtr, INT, Map, NativeCallContext};

use crate::desk::{Desk, Exhausted, desk};
use crate::values::Method;

/// Levels of a value.
const MOST_LEVELS: usize = 256;
/// Reads between two looks, on average.
const LOOK_EVERY: u32 = 1000;
/// Values that one look goes through.
const MOST_SEEN: usize = 10_000;

/// Which reads are looked at: by chance, so that no rhythm of a cell passes between them.
struct Dice {
    state: Cell<u64>,
    left: Cell<u32>,
}

impl Dice {
    fn new() -> Self {
        Self { state: Cell::new(0x9e37_79b9_7f4a_7c15), left: Cell::new(1) }
    }

    fn next(&self) -> u64 {
        let mut state = self.state.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.state.set(state);
        state
    }

    fn is_due(&self) -> bool {
        let left = self.left.get() - 1;
        self.left.set(left);
        if left == 0 {
            self.left.set(1 + (self.next() % u64::from(2 * LOOK_EVERY)) as u32);
        }
        left == 0
    }
}

/// Looks at variables as they are read, and at values as they are taken out of lists and maps.
pub fn watch(engine: &mut Engine, desk_of_session: &Rc<Desk>) {
    let (dice, desk_of_session) = (Dice::new(), desk_of_session.clone());
    #[allow(deprecated)] // volatile, its documentation says, not deprecated
    engine.on_var(move |name, _, context| {
        if dice.is_due() && context.scope().get(name).is_some_and(|value| is_too_deep(value, dice.next())) {
            desk_of_session.exhaust(Exhausted::Levels);
        }
        Ok(None)
    });
    engine.register_fn("pop", |context: NativeCallContext, list: &mut Array| {
        taken(&context, list.pop().unwrap_or(Dynamic::UNIT))
    });
    engine.register_fn("shift", |context: NativeCallContext, list: &mut Array| {
        taken(&context, if list.is_empty() { Dynamic::UNIT } else { list.remove(0) })
    });
    engine.register_fn("remove", |context: NativeCallContext, list: &mut Array, at: INT| {
        let idx = if at < 0 { list.len().checked_sub(at.unsigned_abs() as usize) } else { usize::try_from(at).ok() };
        taken(&context, idx.filter(|idx| *idx < list.len()).map_or(Dynamic::UNIT, |idx| list.remove(idx)))
    });
    engine.register_fn("remove", |context: NativeCallContext, map: &mut Map, name: &str| {
        taken(&context, map.remove(name).unwrap_or(Dynamic::UNIT))
    });
}

fn taken(context: &NativeCallContext, value: Dynamic) -> Dynamic {
    if (value.is_array() || value.is_map() || value.is_fnptr()) && is_too_deep(&value, 0) {
        desk(context).exhaust(Exhausted::Levels);
    }
    value
}

/// Whether a value has too many levels, as far as one look tells; `chance` decides where in long lists it begins.
fn is_too_deep(value: &Dynamic, chance: u64) -> bool {
    let mut look = Look { left: MOST_SEEN, chance };
    look.goes_on(value, 0)
}

struct Look {
    left: usize,
    chance: u64,
}

impl Look {
    fn goes_on(&mut self, value: &Dynamic, level: usize) -> bool {
        if level > MOST_LEVELS {
            return true;
        }
        // what is being changed right now cannot be read
        if self.left == 0 || value.is_locked() {
            return false;
        }
        self.left -= 1;
        if let Ok(list) = value.as_array_ref() {
            let start = if list.is_empty() { 0 } else { (self.chance % list.len() as u64) as usize };
            let (before, from) = list.split_at(start);
            return from.iter().chain(before).take(MOST_SEEN).any(|value| self.goes_on(value, level + 1));
        }
        if let Ok(map) = value.as_map_ref() {
            return map.values().take(MOST_SEEN).any(|value| self.goes_on(value, level + 1));
        }
        if let Some(function) = value.read_lock::<FnPtr>() {
            return self.captured(&function, level);
        }
        if let Some(method) = value.read_lock::<Method>()
            && let Method::Written(written) = &*method
        {
            return written.functions().any(|function| self.captured(function, level));
        }
        false
    }

    /// What a function captured.
    fn captured(&mut self, function: &FnPtr, level: usize) -> bool {
        function.iter_curry().any(|value| self.goes_on(value, level + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_wherever_they_are() {
        let mut deep = Dynamic::from(1_i64);
        for _ in 0..300 {
            deep = Dynamic::from_array(vec![0_i64.into(), deep]);
        }
        assert!(is_too_deep(&deep, 0) && is_too_deep(&deep, 7));
        let flat = Dynamic::from_array(vec![1_i64.into(); 100_000]);
        assert!(!is_too_deep(&flat, 5));
        let map: Map = [("a".into(), flat), ("b".into(), deep)].into_iter().collect();
        assert!(is_too_deep(&Dynamic::from_map(map), 99_999) || MOST_SEEN < 100_000);
        let every = Dice::new();
        let n_looks = (0..1_000_000).filter(|_| every.is_due()).count();
        assert!((800..1200).contains(&n_looks), "{n_looks}");
    }
}
