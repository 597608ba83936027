//! Commands that go on from a kept prompt.

use longlens_app::Problem;
use std::path::Path;

use longlens_app::kept::{KeptDocument, KeptFile, KeptLens, Manner};
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
    let file = KeptFile::open(&path).map_err(refused)?;
    let is_chat = file.document.as_ref().is_some_and(|kept| kept.chat.is_some());
    if given.chat && !is_chat || given.system.is_some() || given.date.is_some() || given.messages.is_some() {
        let help = "keep a document with `cache save --chat --file` (with --system where the system says something), and give what is asked \
                    with --question";
        return Err(Failure::usage("what follows this kept prompt is no turn of a conversation", help.to_owned()));
    }
    take_settings(config, &file)?;
    Ok(Some(file))
}

/// The same file for a conversation, whose document it has to hold in the chat template.
pub fn of_conversation(config: &mut RunConfig, path: &Path) -> Result<(KeptFile, KeptDocument), Failure> {
    let mut file = KeptFile::open(path).map_err(refused)?;
    let document = file.document.take().filter(|kept| kept.chat.is_some()).ok_or_else(|| {
        let help = "keep the document again with `cache save --chat --file`".to_owned();
        Failure::failed(format!("{} was not kept in the chat template", path.display()), Some(help))
    })?;
    take_settings(config, &file)?;
    Ok((file, document))
}

/// What the file was computed with stands in for what neither flags nor config give.
fn take_settings(config: &mut RunConfig, file: &KeptFile) -> Result<(), Failure> {
    let mut settings = Settings {
        max_tokens: config.settings.max_tokens,
        prefill_chunk: config.settings.prefill_chunk,
        sampling: config.settings.sampling.clone(),
        ..file.settings()?
    };
    config.given.apply(&mut settings)?;
    settings.trained_context = config.trained_context.or(settings.trained_context);
    config.settings = settings;
    Ok(())
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
