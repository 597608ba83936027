//! Heads in the order of what they do: which the lists begin with, and which is selected.

use longlens_app::views::ranking::Ranking;

use super::{App, Level};

/// Heads that the key goes through, the best first.
const BEST: usize = 8;

impl App {
    /// Puts the heads of the newest inspection in order; the best is selected until somebody selects one.
    pub(super) fn rank(&mut self) {
        let needle = self.inspected_needle();
        self.ranking = self.heads.answer().map(|heads| Ranking::new(heads, self.order, needle.as_ref()));
        let best = self.ranking.as_ref().and_then(|ranking| ranking.best.first().copied());
        if let Some(best) = best.filter(|_| std::mem::take(&mut self.seeks_head)) {
            self.select(|controls| (controls.layer, controls.head) = best);
        }
    }

    /// Tokens of the needle in the prompt that the newest inspection was of.
    pub fn inspected_needle(&self) -> Option<std::ops::Range<usize>> {
        let run = self.runs.get(self.heads.key()?.run)?;
        let needle = run.prompt.as_ref()?.needle.as_ref()?.tokens.clone();
        Some(needle).filter(|tokens| !tokens.is_empty())
    }

    /// What lists of heads are put in order by, in words.
    pub fn order_name(&self) -> &'static str {
        let prompt = || self.prompt.answer().is_some_and(|prompt| prompt.needle.is_some());
        let has_needle = if self.heads.key().is_some() { self.inspected_needle().is_some() } else { prompt() };
        self.order.name(has_needle)
    }

    /// Puts lists of heads in the next order.
    pub(super) fn next_order(&mut self) {
        self.order = self.order.next();
        self.rank();
        let name = self.order_name();
        self.log.say(Level::Note, format!("heads by {name}"));
    }

    /// Selects the best head, and pressed again the next best.
    pub(super) fn best_head(&mut self) {
        let Some(ranking) = &self.ranking else {
            return self.log.say(Level::Warning, "no head was looked at yet: run a prompt first");
        };
        let selected = (self.controls.layer, self.controls.head);
        let best = &ranking.best[..ranking.best.len().min(BEST)];
        // only from where the key has led it goes on
        let before = self.walked.filter(|walked| *walked == selected);
        let at = best.iter().position(|head| Some(*head) == before).map_or(0, |at| (at + 1) % best.len());
        let Some(head) = best.get(at).copied() else { return };
        self.walked = Some(head);
        self.select(|controls| (controls.layer, controls.head) = head);
        self.log.say(Level::Note, format!("layer {} head {}: number {}", head.0, head.1, at + 1));
    }
}
