//! Setups for prompts of many lengths.

use longlens_core::lens::{LensError, Setup};
use longlens_core::methods::Method;
use longlens_core::rope::RopeScaling;
use longlens_core::spec::ModelSpec;

/// Makes the setup of a prompt. What depends on the length, as a group size or a scaling factor, is decided there;
/// the number of prompt tokens and, for perplexity, what to record are filled in afterwards.
pub type SetupFor<'a> = dyn FnMut(PromptSize) -> Result<Setup, LensError> + 'a;

/// How long a prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptSize {
    /// Tokens asked for; the same for all prompts of a cell or row.
    pub target: usize,
    /// Tokens that are fed at once.
    pub n_tokens: usize,
}

/// The same method and scaling at every length.
pub fn fixed(
    method: Method,
    rope: RopeScaling,
    model: &ModelSpec,
) -> impl FnMut(PromptSize) -> Result<Setup, LensError> + use<> {
    let model = model.clone();
    move |size| Ok(Setup { rope: rope.clone(), ..Setup::new(&method, &model, size.n_tokens)? })
}
