//! What the state says when it is asked: nothing here changes it.

use longlens_app::runs::{Run, RunState};
use longlens_app::views::default_chunk_len;

use super::App;
use crate::fields::{Around, Field, FieldId};

/// A method's chunks are those of the views where a prompt has so many of them.
const FEWEST_CHUNKS: usize = 3;

impl App {
    /// The newest run.
    pub fn run(&self) -> Option<&Run> {
        self.runs.get(self.current.as_ref()?.id)
    }

    /// The newest run that has something to show.
    pub fn shown_run(&self) -> Option<&Run> {
        self.runs.get(self.shown?)
    }

    /// Whether what is shown belongs to an older run than the newest.
    pub fn is_stale(&self) -> bool {
        self.current.as_ref().is_some_and(|run| self.shown != Some(run.id))
    }

    /// Tokens of the prompt; 0 while there is none.
    pub fn n_prompt(&self) -> usize {
        self.prompt.answer().map_or(0, |prompt| prompt.tokens.len())
    }

    /// Tokens whose attention can be looked at: the last generated one is never fed.
    pub fn n_fed(&self) -> usize {
        let generated = self.run().map_or(0, |run| run.generated.len());
        self.n_prompt() + generated.saturating_sub(1)
    }

    /// The query that matters most: the one that fetches the first digit of a hidden key, else the prompt's last token.
    pub fn default_query(&self) -> usize {
        let last = self.n_prompt().saturating_sub(1);
        let has_needle = self.prompt.answer().is_some_and(|prompt| prompt.needle.is_some());
        if has_needle && self.n_fed() > last + 1 { last + 1 } else { last }
    }

    /// The selected query token.
    pub fn query(&self) -> usize {
        self.controls.query.unwrap_or_else(|| self.default_query()).min(self.n_fed().saturating_sub(1))
    }

    /// Tokens of a chunk in the views: the method's own, else what the user chose.
    pub fn chunk_len(&self) -> usize {
        // one or two chunks of a short prompt would show nothing, and nothing is chosen among them
        let own = self.own_chunk.filter(|own| self.n_prompt() == 0 || FEWEST_CHUNKS * own <= self.n_prompt());
        let given = own.or(self.controls.chunk_len);
        given.unwrap_or_else(|| default_chunk_len(&self.model.spec, self.n_prompt()))
    }

    /// Layer and head after so many layers and heads, counted on through all of them.
    pub fn head_after(&self, layers: i64, heads: i64) -> (usize, usize) {
        let (n_layers, n_heads) = (self.model.spec.n_layers as i64, self.model.spec.n_heads as i64);
        let at = (self.controls.layer as i64 + layers) * n_heads + self.controls.head as i64 + heads;
        let at = at.clamp(0, n_layers * n_heads - 1);
        ((at / n_heads) as usize, (at % n_heads) as usize)
    }

    /// What fields depend on.
    pub fn around(&self) -> Around<'_> {
        Around {
            model: &self.opened,
            n_prompt: self.n_prompt(),
            n_fed: self.n_fed().max(1),
            default_query: self.default_query(),
            chunk_len: self.chunk_len(),
        }
    }

    /// The controls as they are shown.
    pub fn fields(&self) -> Vec<Field> {
        self.controls.fields(&self.around())
    }

    /// The text of a token of the prompt or of the newest run's answer.
    pub fn piece(&self, token: usize) -> &str {
        let n_prompt = self.n_prompt();
        let piece = if token < n_prompt {
            self.prompt.answer().and_then(|prompt| prompt.pieces.get(token))
        } else {
            self.run().and_then(|run| run.pieces.get(token - n_prompt))
        };
        piece.map_or("", String::as_str)
    }

    /// The run that the history has selected.
    pub fn selected_run(&self) -> Option<&Run> {
        let n = self.runs.list.len();
        self.runs.list.get(n.checked_sub(1 + self.history.min(n.saturating_sub(1)))?)
    }

    /// The two runs that are compared: the marked ones, else the newest pinned ones, else the newest run and the pinned one.
    pub fn compared(&self) -> Option<[&Run; 2]> {
        let marked: Vec<&Run> = self.marked.iter().filter_map(|id| self.runs.get(*id)).collect();
        if let [a, b] = marked[..] {
            return Some([a, b]);
        }
        let finished = |run: &&Run| matches!(run.state, RunState::Done | RunState::Cancelled | RunState::Generating);
        let mut pinned: Vec<&Run> = self.runs.pinned().filter(finished).collect();
        let newest = self.shown_run();
        match (pinned.pop(), newest) {
            (Some(b), Some(newest)) if newest.id != b.id => Some([b, newest]),
            (Some(b), _) => pinned.pop().map(|a| [a, b]),
            _ => None,
        }
    }

    /// A field's place by what it is.
    pub fn field_at(&self, id: FieldId) -> Option<usize> {
        self.fields().iter().position(|field| field.id == id)
    }
}
