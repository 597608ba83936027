//! Chat templates: a conversation becomes one text, as transformers' `apply_chat_template` renders it.
//!
//! A template is a program in Jinja that came with the checkpoint. It runs with a budget of steps and bytes (minijinja's fuel),
//! sees nothing but the conversation and the names of the special tokens, and its own refusals are passed on.

mod bounds;
mod dialect;
mod guard;
mod places;

use chrono::NaiveDate;
use longlens_core::lens::{Conversation, LensError};
use longlens_core::panics::caught;
use minijinja::value::{Serde, merge_maps};
use minijinja::{Environment, Error, Value, context};
use serde_json::Map;

pub(crate) use places::{find, text};

use crate::error::cut;

/// A checkpoint's template, compiled.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    /// What errors call the place it came from.
    place: String,
    compiled: Result<Environment<'static>, String>,
    /// `bos_token` and the like, as text.
    special: Map<String, serde_json::Value>,
}

/// Bytes of stack of the thread that renders; only those that are used take memory.
const STACK: usize = 512 << 20;
/// What is said where an answer that was begun is not in the text.
const LEFT_OUT: &str = "the chat template leaves out the last turn, which the model was to go on with";
/// A longer template is no template.
pub(crate) const MAX_LEN: usize = 1 << 20;

impl ChatTemplate {
    /// Compiles `text`, which stands in `place`; what is wrong with it is told when it is used, since a model with a broken template
    /// is still a model. `special` are the variables that name special tokens.
    pub fn new(place: &str, text: &str, special: Map<String, serde_json::Value>) -> Self {
        Self { place: place.into(), compiled: compile(text), special }
    }

    /// The text of a conversation.
    pub fn render(&self, conversation: &Conversation) -> Result<String, LensError> {
        let date = dialect::date(&conversation.date)?;
        // lists in lists, as deep as the budget allows, are taken apart on the stack
        let rendered = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("chat template".into()).stack_size(STACK);
            let render = || caught(|| conversation.rendered(|said| self.rendered(said, date)));
            let running = thread.spawn_scoped(scope, render);
            running.map_err(|error| error.to_string())?.join().map_err(|_| "it failed".to_owned())?
        });
        let text = rendered.flatten().and_then(|text| text.ok_or_else(|| LEFT_OUT.to_owned()));
        text.map_err(|problem| self.failed(&problem))
    }

    /// An error that names the template's place.
    fn failed(&self, problem: &str) -> LensError {
        LensError::ChatTemplate { file: self.place.clone(), problem: cut(problem).into_owned() }
    }

    fn rendered(&self, conversation: &Conversation, date: NaiveDate) -> Result<String, String> {
        let environment = self.compiled.as_ref().map_err(Clone::clone)?;
        let template = environment.get_template(NAME).map_err(|error| told(&error))?;
        // what comes later counts
        let given = merge_maps([
            context! { tools => (), documents => () },
            Value::from(Serde(&self.special)),
            Value::from(Serde(&conversation.variables)),
            context! {
                strftime_now => dialect::strftime(date),
                messages => Value::from(Serde(&conversation.messages)),
                add_generation_prompt => conversation.add_generation_prompt,
            },
        ]);
        template.render(given).map_err(|error| told(&error))
    }
}

const NAME: &str = "chat_template";

fn compile(text: &str) -> Result<Environment<'static>, String> {
    if text.len() > MAX_LEN {
        return Err(format!("its chat template has {} KiB, and {} are the most", text.len() >> 10, MAX_LEN >> 10));
    }
    let mut environment = dialect::environment().map_err(|error| told(&error))?;
    environment
        .add_template_owned(NAME, guard::guarded(&dialect::without_marks(text)))
        .map_err(|error| told(&error))?;
    Ok(environment)
}

/// What a template says, with its line where it is at fault itself.
fn told(error: &Error) -> String {
    if error.kind() == minijinja::ErrorKind::OutOfFuel {
        return "its chat template takes more steps or memory than a conversation needs: it may never end".into();
    }
    let said = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match (dialect::is_refusal(error), error.line()) {
        (true, _) => format!("the chat template refuses the conversation: {said}"),
        (false, Some(line)) => format!("line {line} of the chat template: {said}"),
        (false, None) => format!("the chat template: {said}"),
    }
}

#[cfg(test)]
mod tests;
