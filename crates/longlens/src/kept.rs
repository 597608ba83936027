//! Commands that go on from a kept prompt.

use longlens_app::Problem;
use longlens_app::kept::{KeptFile, KeptLens, Manner};
use longlens_app::settings::Settings;
use longlens_core::lens::{Lens, Setup};

use crate::args::PromptArgs;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::prompt;

/// The file that `--cache` names, whose settings stand in for those that neither flags nor config give.
pub fn file(config: &mut RunConfig, prompt: &PromptArgs) -> Result<Option<KeptFile>, Failure> {
    let given = prompt::given(prompt, config);
    let Some(path) = given.cache else { return Ok(None) };
    if given.chat || given.system.is_some() || given.messages.is_some() {
        let help =
            "keep the whole conversation in one prompt, or give what follows the kept text with --prompt or --question";
        return Err(Failure::usage("what follows a kept prompt is no turn of a conversation", help.to_owned()));
    }
    let file = KeptFile::open(&path).map_err(refused)?;
    let mut settings = Settings {
        max_tokens: config.settings.max_tokens,
        prefill_chunk: config.settings.prefill_chunk,
        sampling: config.settings.sampling.clone(),
        ..file.settings()?
    };
    config.given.apply(&mut settings)?;
    settings.trained_context = config.trained_context.or(settings.trained_context);
    config.settings = settings;
    Ok(Some(file))
}

/// What a file does not serve is no wrong flag.
pub fn refused(problem: Problem) -> Failure {
    Failure::failed(problem.message, problem.help)
}

/// Refuses a model that is another than the file's, before anything is asked of it.
pub fn check_model(file: Option<&KeptFile>, lens: &dyn Lens) -> Result<(), Failure> {
    file.map_or(Ok(()), |file| file.check_model(lens.model()).map_err(refused))
}

/// `lens`, going on from the file where there is one. Refuses a prompt, and settings of its run, that cannot.
pub fn go_on(
    mut lens: Box<dyn Lens>,
    file: Option<KeptFile>,
    setup: &Setup,
    tokens: &[u32],
) -> Result<Box<dyn Lens>, Failure> {
    let Some(file) = file else { return Ok(lens) };
    let kept = file.load(lens.as_mut()).map_err(refused)?;
    kept.check(setup, tokens).map_err(refused)?;
    Ok(Box::new(KeptLens::new(lens, Some(kept), Manner::Strict)))
}
