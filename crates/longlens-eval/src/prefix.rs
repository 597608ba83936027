//! What prompts begin alike with, computed once.

use longlens_core::lens::{Control, Lens, LensError, Rows, Sequence, Setup};
use longlens_core::memory::CacheSize;
use longlens_core::plan::Prefill;

/// Shorter beginnings are computed again: a copy of the cache costs more.
pub const LEAST_SHARED: usize = 32;

/// Bytes of a cache that are kept a second time at most.
const MOST_KEPT: usize = 2 << 30;

/// The cache of what an earlier prompt begins with, and its tokens.
#[derive(Debug, Default)]
pub struct Prefix(Option<(Sequence, Vec<u32>)>);

impl Prefix {
    /// Begins the sequence of a prompt, after what is kept where that is exact ([`Sequence::serves`]); returns how many of its
    /// tokens it has, never all of them. `setup` is for a prompt of this length.
    pub fn begin(&mut self, lens: &mut dyn Lens, setup: &Setup, tokens: &[u32]) -> Result<usize, LensError> {
        let is_shared = |(sequence, of): &&(Sequence, Vec<u32>)| {
            sequence.serves(setup) && of.len() < tokens.len() && tokens.starts_with(of)
        };
        if let Some((sequence, of)) = self.0.as_ref().filter(is_shared) {
            lens.begin_from(setup, sequence)?;
            return Ok(of.len());
        }
        self.0 = None; // its memory is given back before the new sequence takes its own
        lens.begin(setup)?;
        Ok(0)
    }

    /// Tokens that are kept.
    pub fn n_tokens(&self) -> usize {
        self.0.as_ref().map_or(0, |(_, of)| of.len())
    }

    /// Whether the first `until` tokens of a prompt are few enough to be kept a second time.
    pub fn fits(lens: &dyn Lens, setup: &Setup, n_prompt: usize, until: usize) -> bool {
        let size = CacheSize::of(&lens.model().spec, &setup.plan, Prefill { n_tokens: n_prompt }, until);
        size.forked(setup.keep_queries) * size_of::<f32>() <= MOST_KEPT
    }

    /// Feeds the tokens of a prompt up to `until`, of which the sequence has the first `n_fed`, and keeps them for the next prompt.
    pub fn keep(
        &mut self,
        lens: &mut dyn Lens,
        tokens: &[u32],
        (n_fed, until): (usize, usize),
        control: &mut dyn Control,
    ) -> Result<(), LensError> {
        if n_fed == until {
            return Ok(()); // a prompt that was there before
        }
        lens.feed(&tokens[n_fed..until], Rows::None, control)?;
        self.0 = None; // its memory is given back before the next one takes its own
        self.0 = match lens.fork(until) {
            Ok(sequence) => Some((sequence, tokens[..until].to_vec())),
            Err(LensError::NothingKept { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(())
    }
}
