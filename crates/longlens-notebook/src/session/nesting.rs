//! How deeply values may lie inside values.
//!
//! Copying, comparing and freeing a value takes some stack for each level of it, in the language's own code, which counts no
//! levels. A loop that puts a value or a function into a new one makes one level a round, and a million of them are more than
//! any stack. To get there a cell must read a variable, or take a value out of a list or a map, for every level; so one of these
//! in a thousand is looked at, and a cell that went too far is stopped long before the stack is full.
//!
//! A look at a value of up to [`SEEN`] values inside goes through all of them. Of larger ones half of all looks go through twice
//! as many, a quarter through four times as many and so on, so that every value is looked at as a whole some time, and all
//! looks together cost a few dozen values for each read.

mod taken;

use std::cell::Cell;
use std::rc::Rc;

use rhai::{Dynamic, Engine, FnPtr};

use crate::host::Host;
use crate::running::Exhausted;
use crate::values::Method;

/// Levels of a value.
const MOST_LEVELS: usize = 256;
/// Reads between two looks, on average.
const LOOK_EVERY: u32 = 1000;
/// Values that every look goes through.
const SEEN: usize = 1000;
/// The largest look goes through so many times 2 as many.
const DOUBLINGS: u32 = 13;

/// Looks at some of the values that cells read.
struct Looker {
    host: Rc<Host>,
    dice: Dice,
}

/// Which reads are looked at: by chance, so that no rhythm of a cell passes between them.
struct Dice {
    state: Cell<u64>,
    left: Cell<u32>,
}

/// Looks at variables as they are read, and at values as they are taken out of lists and maps.
pub fn watch(engine: &mut Engine, host: &Rc<Host>) {
    let looker = Rc::new(Looker { host: host.clone(), dice: Dice::new() });
    taken::register(engine, &looker);
    #[allow(deprecated)] // volatile, its documentation says, not deprecated
    engine.on_var(move |name, _, context| {
        if looker.dice.is_due()
            && let Some(value) = context.scope().get(name)
        {
            looker.look(value);
        }
        Ok(None)
    });
}

impl Looker {
    /// Stops the cell if this value, which it just took out of another, has too many levels.
    fn sees(&self, value: &Dynamic) {
        if self.dice.is_due() {
            self.look(value);
        }
    }

    fn look(&self, value: &Dynamic) {
        if Look::new(&self.dice).is_too_deep(value) {
            self.host.exhaust(Exhausted::Levels);
        }
    }
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

/// One look at a value.
struct Look {
    /// Values that it may still go through.
    left: usize,
    /// Where in lists and maps it begins.
    chance: u64,
}

impl Look {
    fn new(dice: &Dice) -> Self {
        let n_doublings = dice.next().trailing_zeros().min(DOUBLINGS);
        Self { left: SEEN << n_doublings, chance: dice.next() }
    }

    /// Whether a value has too many levels, as far as this look goes.
    fn is_too_deep(&mut self, value: &Dynamic) -> bool {
        self.goes_on(value, 0)
    }

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
            let (before, from) = list.split_at(self.start(list.len()));
            return self.any(from.iter().chain(before), level);
        }
        if let Ok(map) = value.as_map_ref() {
            let start = self.start(map.len());
            return self.any(map.values().skip(start).chain(map.values().take(start)), level);
        }
        if let Some(function) = value.read_lock::<FnPtr>() {
            return self.any(function.iter_curry(), level);
        }
        if let Some(method) = value.read_lock::<Method>()
            && let Method::Written(written) = &*method
        {
            return written.functions().any(|function| self.any(function.iter_curry(), level));
        }
        false
    }

    fn start(&self, len: usize) -> usize {
        (self.chance % len.max(1) as u64) as usize
    }

    /// Whether one of the values inside has too many levels.
    fn any<'a>(&mut self, mut inside: impl Iterator<Item = &'a Dynamic>, level: usize) -> bool {
        while self.left > 0 {
            match inside.next() {
                Some(value) if self.goes_on(value, level + 1) => return true,
                Some(_) => {}
                None => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use rhai::Map;

    use super::*;

    fn deep(n_levels: usize) -> Dynamic {
        (0..n_levels).fold(Dynamic::from(1_i64), |deep, _| Dynamic::from_array(vec![0_i64.into(), deep]))
    }

    fn flat(n: usize) -> Dynamic {
        Dynamic::from_array(vec![1_i64.into(); n])
    }

    fn map(values: Vec<Dynamic>) -> Dynamic {
        Dynamic::from_map(
            values.into_iter().enumerate().map(|(at, value)| (format!("{at:09}").into(), value)).collect(),
        )
    }

    #[test]
    fn one_look_goes_through_all_of_a_small_value() {
        let dice = Dice::new();
        for _ in 0..200 {
            let found = |value: Dynamic| Look::new(&dice).is_too_deep(&value);
            assert!(found(deep(MOST_LEVELS + 1)) && !found(deep(MOST_LEVELS)));
            assert!(found(map(vec![flat(400), deep(MOST_LEVELS)])), "the last of a map");
            assert!(found(map(vec![deep(MOST_LEVELS), flat(400)])), "the first of a map");
            assert!(found(Dynamic::from_array(vec![flat(200), deep(MOST_LEVELS), flat(200)])));
            assert!(!found(map(vec![flat(400), deep(MOST_LEVELS - 1)])));
        }
    }

    #[test]
    fn large_values_are_looked_at_as_a_whole_some_time() {
        let dice = Dice::new();
        let filled = |n: usize, at: usize| {
            let values = (0..n).map(|idx| if idx == at { deep(MOST_LEVELS) } else { 1_i64.into() });
            values.collect::<Vec<_>>()
        };
        for (name, value) in [
            ("first", Dynamic::from_array(filled(50_000, 0))),
            ("last", Dynamic::from_array(filled(50_000, 49_999))),
            ("of a map", map(filled(50_000, 49_999))),
            ("behind a large one", map(vec![flat(50_000), deep(MOST_LEVELS)])),
        ] {
            let n_looks = (1..10_000).find(|_| Look::new(&dice).is_too_deep(&value));
            assert!(n_looks.is_some_and(|n| n < 500), "{name}: {n_looks:?} looks");
        }
    }

    #[test]
    fn looks_cost_little_however_much_there_is() {
        let (dice, rows) = (Dice::new(), Dynamic::from_array(vec![flat(10_000); 100]));
        let (mut n_looks, mut n_seen) = (0_usize, 0);
        for _ in 0..1_000_000 {
            if dice.is_due() {
                let mut look = Look::new(&dice);
                let most = look.left;
                assert!(!look.is_too_deep(&rows));
                (n_looks, n_seen) = (n_looks + 1, n_seen + most - look.left);
            }
        }
        assert!((800..1200).contains(&n_looks), "{n_looks}");
        assert!(n_seen < 50 * 1_000_000, "{n_seen} values for a million reads");
    }

    #[test]
    fn what_a_function_captured_counts() {
        let captured: Vec<Dynamic> = vec![flat(10), deep(MOST_LEVELS)];
        let mut function = FnPtr::new("f").unwrap();
        for value in captured {
            function.add_curry(value);
        }
        assert!(Look::new(&Dice::new()).is_too_deep(&Dynamic::from(function)));
        assert!(!Look::new(&Dice::new()).is_too_deep(&Dynamic::from_map(Map::new())));
    }
}
