//! Changes that can be taken back.

/// Changes that are kept.
const KEPT: usize = 500;

/// Values that changes replaced, and those that were taken back.
#[derive(Debug, Clone)]
pub struct Undo<T> {
    before: Vec<T>,
    after: Vec<T>,
}

impl<T> Default for Undo<T> {
    fn default() -> Self {
        Self { before: Vec::new(), after: Vec::new() }
    }
}

impl<T: Clone> Undo<T> {
    /// Keeps what a change replaced; what was taken back before is gone.
    pub(super) fn remember(&mut self, before: T) {
        self.before.push(before);
        self.after.clear();
        if self.before.len() > KEPT {
            self.before.remove(0);
        }
    }

    /// The value before the last change, or the one that was taken back last; the present one goes to the other side.
    pub(super) fn travel(&mut self, back: bool, now: &T) -> Option<T> {
        let (from, to) = if back { (&mut self.before, &mut self.after) } else { (&mut self.after, &mut self.before) };
        let value = from.pop()?;
        to.push(now.clone());
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_change_forgets_what_was_taken_back() {
        let mut undo = Undo::default();
        undo.remember(1);
        undo.remember(2);
        assert_eq!((undo.travel(true, &3), undo.travel(true, &2), undo.travel(true, &1)), (Some(2), Some(1), None));
        assert_eq!(undo.travel(false, &1), Some(2));
        undo.remember(2);
        assert_eq!((undo.travel(false, &9), undo.travel(true, &9)), (None, Some(2)));
    }
}
