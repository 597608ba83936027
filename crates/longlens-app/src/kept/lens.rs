//! A model that goes on from a kept prompt wherever a prompt begins with it.

use longlens_core::lens::{Cached, Control, KeptTensor, Lens, LensError, ModelInfo, Rows, Sequence, Setup, TextCodec};
use longlens_core::trace::{MapPick, Queries, Trace, Watch};

use super::{Kept, KeptFile};
use crate::problem::Problem;

/// A lens that does not compute the tokens of a kept prompt again: sequences that may take them over ([`Setup::takes_kept`]), begin with
/// them, and run under what they were computed with go on from them. Everything else runs as without.
pub struct KeptLens {
    lens: Box<dyn Lens>,
    kept: Option<Kept>,
    manner: Manner,
    /// The setup of a sequence that was begun and has no token yet.
    begun: Option<Setup>,
}

impl KeptLens {
    /// `lens`, which made the sequence of `kept`, where one is there yet.
    pub fn new(lens: Box<dyn Lens>, kept: Option<Kept>, manner: Manner) -> Self {
        Self { lens, kept, manner, begun: None }
    }

    /// Takes what a file holds in the place of what was kept; after an error nothing is kept.
    pub fn take(&mut self, file: &KeptFile) -> Result<(), Problem> {
        self.kept = None; // its memory is given back before the next one takes its own
        self.kept = Some(file.load(self.lens.as_mut())?);
        Ok(())
    }

    /// Why a sequence that begins with `tokens` cannot go on from `kept`.
    fn refused(&self, kept: &Kept, setup: &Setup, tokens: &[u32], want: Rows) -> Result<(), LensError> {
        let (n_kept, name) = (kept.tokens.len(), &kept.name);
        self.refused_beginning(kept, setup, tokens)?;
        if want == Rows::All {
            return Err(LensError::KeptFile(format!(
                "{name} keeps the first {n_kept} tokens, and their logits are asked for"
            )));
        }
        if tokens.len() <= n_kept {
            return Err(LensError::KeptFile(format!(
                "{name} keeps {n_kept} tokens, and the prompt has no more of them"
            )));
        }
        Ok(())
    }

    /// The same of its beginning alone, which more may follow.
    fn refused_beginning(&self, kept: &Kept, setup: &Setup, tokens: &[u32]) -> Result<(), LensError> {
        let (n_kept, name) = (kept.tokens.len(), &kept.name);
        kept.check(setup, tokens).map_err(|problem| LensError::KeptFile(problem.to_string()))?;
        if looks_before(&setup.watch, n_kept) || self.manner == Manner::Strict && setup.watch.nll {
            return Err(LensError::KeptFile(format!(
                "{name} keeps the first {n_kept} tokens, and this run looks at what they attended to or at their losses"
            )));
        }
        Ok(())
    }
}

/// What becomes of sequences that cannot go on from what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// They are refused with the reason; so are those whose losses are asked for, since those of kept tokens are not there. Every
    /// sequence is to take them over, whether it says so or not.
    Strict,
    /// They are computed whole. Losses, where they are asked for, begin behind the kept tokens.
    Lenient,
}

/// Whether anything is recorded of the first `n` tokens.
fn looks_before(watch: &Watch, n: usize) -> bool {
    let early = |queries: &Queries| match queries {
        Queries::None => false,
        Queries::All => true,
        Queries::Of(queries) => queries.iter().any(|query| *query < n),
    };
    let is_early = |map: &MapPick| map.window.is_none_or(|window| window.query < n);
    early(&watch.choices)
        || !watch.attn_out.is_empty()
        || watch.mass.as_ref().is_some_and(|mass| early(&mass.queries))
        || watch.rows.iter().any(|row| row.query < n)
        || watch.maps.iter().any(is_early)
}

impl Lens for KeptLens {
    fn model(&self) -> &ModelInfo {
        self.lens.model()
    }

    fn text(&self) -> Result<&dyn TextCodec, LensError> {
        self.lens.text()
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
        let takes = setup.takes_kept || self.manner == Manner::Strict;
        self.begun = takes.then(|| setup.clone());
        self.lens.begin(setup)
    }

    fn forget(&mut self) {
        self.begun = None;
        self.lens.forget();
    }

    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        let Some((setup, kept)) = self.begun.take().zip(self.kept.as_ref()) else {
            return self.lens.feed(tokens, want, control);
        };
        if tokens.len() == kept.tokens.len()
            && want == Rows::None
            && self.refused_beginning(kept, &setup, tokens).is_ok()
        {
            // no more than what is kept: more of the sequence comes in the next call
            self.lens.begin_from(&setup, &kept.sequence)?;
            return Ok(Vec::new());
        }
        match self.refused(kept, &setup, tokens, want) {
            Ok(()) => {
                self.lens.begin_from(&setup, &kept.sequence)?;
                self.lens.feed(&tokens[kept.tokens.len()..], want, control)
            }
            Err(error) if self.manner == Manner::Strict => {
                self.lens.forget();
                Err(error)
            }
            Err(_) => self.lens.feed(tokens, want, control),
        }
    }

    fn trace(&mut self) -> Trace {
        self.lens.trace()
    }

    fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
        self.begun = None;
        self.lens.reuse(setup, keep)
    }

    fn cached(&mut self, layer: usize) -> Result<Cached, LensError> {
        self.lens.cached(layer)
    }

    fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
        self.lens.fork(n_tokens)
    }

    fn kept(&self, setup: &Setup, n_tokens: usize) -> Result<Vec<KeptTensor>, LensError> {
        self.lens.kept(setup, n_tokens)
    }

    fn kept_numbers(&mut self, tensor: &KeptTensor) -> Result<Vec<u8>, LensError> {
        self.lens.kept_numbers(tensor)
    }

    fn restore(
        &mut self,
        setup: &Setup,
        n_tokens: usize,
        read: &mut dyn FnMut(&KeptTensor) -> Result<Vec<u8>, LensError>,
    ) -> Result<Sequence, LensError> {
        self.lens.restore(setup, n_tokens, read)
    }

    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
        self.begun = None;
        self.lens.begin_from(setup, prefix)
    }

    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
        self.lens.inspect(watch, control)
    }
}
