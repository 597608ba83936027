//! What is kept of a sequence so that others can go on from it.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{LensError, Setup};
use crate::plan::{ChunkChoice, ChunkScore};

/// Keys and values of a sequence's tokens, kept apart from the model: a copy that can be gone on from any number of times.
/// One belongs to the lens that made it.
pub struct Sequence {
    /// How its tokens were run; queries are among what is kept where [`Setup::keep_queries`] says so.
    pub setup: Setup,
    /// How many tokens it holds, from the first of the sequence on.
    pub n_tokens: usize,
    /// Whether all of them were computed under `setup`, none taken over from another plan.
    pub is_exact: bool,
    /// Bytes of memory.
    pub bytes: usize,
    lens: LensId,
    state: Box<dyn Any + Send>,
}

/// Tells lenses apart: an open model takes one, and no other has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LensId(u64);

impl LensId {
    /// One that nobody had before.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Sequence {
    /// The first `n_tokens` tokens of a sequence that `lens` runs, which keeps its own `state` of them.
    pub fn new(
        lens: LensId,
        setup: Setup,
        n_tokens: usize,
        is_exact: bool,
        bytes: usize,
        state: impl Any + Send,
    ) -> Self {
        Self { setup, n_tokens, is_exact, bytes, lens, state: Box::new(state) }
    }

    /// What `lens` kept; [`LensError::OtherModel`] when another made the sequence.
    pub fn state<T: 'static>(&self, lens: LensId) -> Result<&T, LensError> {
        self.state.downcast_ref().filter(|_| self.lens == lens).ok_or(LensError::OtherModel)
    }

    /// Whether the tokens would be computed alike under `setup`, so that a sequence that goes on from them is exact: they were
    /// computed under the same plan and scaling, which either do not depend on how long the prompt is, or meet a prompt of the
    /// same length.
    pub fn serves(&self, setup: &Setup) -> bool {
        let in_both = self.n_tokens <= self.setup.n_prompt.min(setup.n_prompt);
        // a block of queries that was cut chose without those behind the cut
        let is_whole = setup.plan.whole_blocks(self.n_tokens) == self.n_tokens
            || self.n_tokens >= setup.n_prompt && setup.n_prompt == self.setup.n_prompt;
        let any_length = in_both && !setup.plan.depends_on_length() && !setup.rope.follows_length();
        self.is_exact
            && is_whole
            && self.setup.plan == setup.plan
            && self.setup.rope == setup.rope
            && self.setup.trained_context == setup.trained_context
            && (any_length || self.setup.n_prompt == setup.n_prompt)
    }

    /// Whether a sequence that goes on under `setup` keeps queries: where it is asked to, and where another plan's chunks are
    /// summarised anew from them.
    pub fn needs_queries(&self, setup: &Setup) -> bool {
        setup.keep_queries || !self.serves(setup) && setup.plan.needs_queries()
    }

    /// Refuses what cannot go on from these tokens: a prompt that ends among them, unless theirs ended there
    /// ([`LensError::ShortPrompt`]); queries that were not kept ([`LensError::NothingKept`]); a plan for fewer tokens.
    pub fn check(&self, setup: &Setup) -> Result<(), LensError> {
        if self.n_tokens > setup.n_prompt && setup.n_prompt != self.setup.n_prompt {
            return Err(LensError::ShortPrompt { n_tokens: setup.n_prompt, n_prefix: self.n_tokens });
        }
        if self.needs_queries(setup) && !self.setup.keep_queries {
            return Err(LensError::NothingKept { what: "a sequence that goes on from a fork" });
        }
        Ok(setup.plan.check_length(self.n_tokens)?)
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sequence {{ {} tokens of {}, {} bytes }}", self.n_tokens, self.setup.plan.method, self.bytes)
    }
}

impl Setup {
    /// Refuses a fork at `n_tokens` of a sequence of `of` tokens that runs so: of no token ([`LensError::EmptyFork`]), of more than
    /// there are ([`LensError::OutOfRange`]), and inside a chunk whose summary needs queries that were not kept
    /// ([`LensError::NothingKept`]).
    pub fn check_fork(&self, n_tokens: usize, of: usize) -> Result<(), LensError> {
        match n_tokens {
            0 => return Err(LensError::EmptyFork),
            n if n > of => return Err(LensError::OutOfRange { what: "token", index: n - 1, count: of }),
            _ => {}
        }
        // queries of the chunk that is not complete yet are always there
        let is_whole = |ChunkChoice { score, chunk_len: w, .. }: ChunkChoice| {
            score != ChunkScore::Summary || n_tokens.is_multiple_of(w) || n_tokens / w == of / w
        };
        if self.keep_queries || self.plan.rules().iter().filter_map(|rule| rule.choice).all(is_whole) {
            return Ok(());
        }
        Err(LensError::NothingKept { what: "a cut inside a chunk" })
    }
}
