//! Prompts: text, a document, or a pass key hidden in filler.

use std::path::Path;

use longlens_app::prompt::{self, NeedleAsk, PromptSource};
use longlens_app::settings::params;
use longlens_core::lens::{Conversation, Message};
use longlens_eval::passkey::Chat;
use rhai::plugin::*;

use crate::host::{Returned, host, raise, refuse};
use crate::options::Options;
use crate::running::OfCell;
use crate::values::Prompt;
use crate::values::data::to_json;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use longlens_app::prompt::{DocumentAsk, NeedleAsk, PromptSource};
    use rhai::{Array, Dynamic, Map};

    use super::{depth_of, key_text};
    use crate::functions::calls::count;
    use crate::host::{Returned, raise};
    use crate::values::Prompt;

    /// A prompt of this text, in tokens of the open model.
    ///
    /// ```rhai
    /// prompt("The pass key is").n_tokens
    /// ```
    #[rhai_fn(name = "prompt", return_raw)]
    pub fn prompt(context: NativeCallContext, text: &str) -> Returned<Prompt> {
        super::built(&context, &PromptSource::Text(text.into()))
    }

    /// A prompt of a conversation in the model's chat template, up to where its answer begins: turns with `role` (`user`, `assistant`,
    /// `system`) and `content`, or one text that a user says. A last turn of the assistant is an answer that was begun: the model goes
    /// on with it. A model without a template says so.
    ///
    /// ```rhai
    /// try { chat([#{ role: "system", content: "Be brief." }, #{ role: "user", content: "Hello!" }]).text } catch { "no chat template" }
    /// ```
    #[rhai_fn(name = "chat", return_raw)]
    pub fn chat(context: NativeCallContext, turns: Dynamic) -> Returned<Prompt> {
        super::said(&context, &turns, Map::new())
    }

    /// The same with options: `date` (what a template that asks for the date is told, as `"2024-07-26"`), `variables` (a map of
    /// what else a template asks for, as `enable_thinking`), and how the prompt ends where it is not as usual:
    /// `add_generation_prompt` (whether an answer begins) and `continue_final_message` (whether the last turn goes on).
    ///
    /// ```rhai
    /// try { chat("Hello!", #{ date: "2025-01-31", add_generation_prompt: false }).n_tokens } catch { 0 }
    /// ```
    #[rhai_fn(name = "chat", return_raw)]
    pub fn chat_with(context: NativeCallContext, turns: Dynamic, options: Map) -> Returned<Prompt> {
        super::said(&context, &turns, options)
    }

    /// A prompt with the text of a file: text, Markdown, HTML, PDF, or JSON lines with a `text` each.
    ///
    /// ```rhai
    /// save("A long story.", "story.txt");
    /// text("story.txt").n_tokens
    /// ```
    #[rhai_fn(name = "text", return_raw)]
    pub fn text(context: NativeCallContext, path: &str) -> Returned<Prompt> {
        super::of_file(&context, path, |file| PromptSource::File(file.into()))
    }

    /// A question about a file, which stands before it. `passages(trace(run(p, method)))` shows what its answer attended to.
    ///
    /// ```rhai
    /// save("A heron stands in the water. A boat waits.", "birds.txt");
    /// document("birds.txt", "What stands in the water?").n_tokens
    /// ```
    #[rhai_fn(name = "document", return_raw)]
    pub fn document(context: NativeCallContext, path: &str, question: Dynamic) -> Returned<Prompt> {
        document_with(context, path, question, Map::new())
    }

    /// The same with options: `chat` (whether it is what a user says in the model's chat template), `system` (what is said
    /// before, in a chat), `date`. Without a question, `()`, the document stands alone.
    ///
    /// ```rhai
    /// save("A heron stands in the water.", "birds.txt");
    /// document("birds.txt", "What stands there?", #{ chat: false })
    /// ```
    #[rhai_fn(name = "document", return_raw)]
    pub fn document_with(context: NativeCallContext, path: &str, question: Dynamic, options: Map) -> Returned<Prompt> {
        let mut options = Options::new("document", options, &["chat", "system", "date"])?;
        let (question, chat) = (super::question_of(&question)?, super::chat_of(&mut options)?);
        let ask = |file: &str| DocumentAsk { file: file.into(), question, chat };
        super::of_file(&context, path, |file| PromptSource::Document(ask(file)))
    }

    /// A pass key hidden in filler: `length` tokens in all, the key at `depth` (0 the start, 1 the end; or per cent, as `"25%"`).
    ///
    /// ```rhai
    /// needle(512, 0.25).key
    /// ```
    #[rhai_fn(name = "needle", return_raw)]
    pub fn needle(context: NativeCallContext, length: i64, depth: Dynamic) -> Returned<Prompt> {
        let (length, depth) = (count("length", length, 1)?, depth_of(&depth)?);
        super::hide(&context, NeedleAsk { length, depth, ..NeedleAsk::default() })
    }

    /// The same with options beside length and depth, those of the map below.
    ///
    /// ```rhai
    /// try { needle(512, 0.25, #{ chat: true, system: "Be brief." }).text } catch { "no chat template" }
    /// ```
    #[rhai_fn(name = "needle", return_raw)]
    pub fn needle_with(context: NativeCallContext, length: i64, depth: Dynamic, options: Map) -> Returned<Prompt> {
        let (length, depth) = (count("length", length, 1)?, depth_of(&depth)?);
        super::needle(&context, &NeedleAsk { length, depth, ..NeedleAsk::default() }, options)
    }

    /// The same with a key of your own.
    ///
    /// ```rhai
    /// needle(512, 0.25, 48213).key == "48213"
    /// ```
    #[rhai_fn(name = "needle", return_raw)]
    pub fn needle_of_key(context: NativeCallContext, length: i64, depth: Dynamic, key: Dynamic) -> Returned<Prompt> {
        let (length, depth, key) = (count("length", length, 1)?, depth_of(&depth)?, Some(key_text(&key)?));
        super::hide(&context, NeedleAsk { length, depth, key, ..NeedleAsk::default() })
    }

    /// The same from a map: `length`, `depth`, `key`, `template` (`longlens`, `long_heads`, `chunk_llama`, `long_lm`), `seed`, and
    /// `chat` (true where a user says it, in the model's chat template) with `system` (what the system says first) and `date`.
    ///
    /// ```rhai
    /// needle(#{ length: 600, depth: 1.0, template: "long_lm", seed: 7 })
    /// ```
    #[rhai_fn(name = "needle", return_raw)]
    pub fn needle_of_map(context: NativeCallContext, options: Map) -> Returned<Prompt> {
        super::needle(&context, &NeedleAsk::default(), options)
    }

    /// Tokens of a prompt.
    #[rhai_fn(get = "n_tokens", pure)]
    pub fn n_tokens(prompt: &mut Prompt) -> i64 {
        prompt.built.tokens.len() as i64
    }

    /// The ids of a prompt's tokens.
    #[rhai_fn(get = "tokens", pure)]
    pub fn tokens(prompt: &mut Prompt) -> Array {
        prompt.built.tokens.iter().map(|token| i64::from(*token).into()).collect()
    }

    /// The text of every token.
    #[rhai_fn(get = "pieces", pure)]
    pub fn pieces(prompt: &mut Prompt) -> Array {
        prompt.built.pieces.iter().map(|piece| piece.clone().into()).collect()
    }

    /// The whole text of a prompt.
    #[rhai_fn(get = "text", pure, return_raw)]
    pub fn whole_text(prompt: &mut Prompt) -> Returned<String> {
        prompt.model.text(|codec| codec.decode(&prompt.built.tokens).map_err(raise))
    }

    /// The key hidden in a prompt; `()` where none is.
    #[rhai_fn(get = "key", pure)]
    pub fn key(prompt: &mut Prompt) -> Dynamic {
        prompt.built.needle.as_ref().map_or(Dynamic::UNIT, |needle| needle.key.clone().into())
    }

    /// First and last token that tell the hidden key; `()` where none is hidden.
    #[rhai_fn(get = "needle", pure)]
    pub fn needle_tokens(prompt: &mut Prompt) -> Dynamic {
        prompt.built.needle.as_ref().map_or(Dynamic::UNIT, |needle| {
            let ends = [needle.tokens.start, needle.tokens.end.saturating_sub(1)];
            Dynamic::from_array(ends.map(|at| (at as i64).into()).to_vec())
        })
    }
}

/// A question is a text, and `()` is none.
fn question_of(question: &rhai::Dynamic) -> Returned<Option<String>> {
    if question.is_unit() {
        return Ok(None);
    }
    let text = question.clone().into_string();
    text.map(Some).map_err(|_| crate::options::wrong("the question", "a text, or ()", question))
}

/// A prompt with the text of a file that cells may read.
pub(super) fn of_file(
    context: &rhai::NativeCallContext,
    name: &str,
    source: impl FnOnce(&str) -> PromptSource,
) -> Returned<Prompt> {
    let host = host(context);
    let bytes = crate::functions::files::read(&host, name)?;
    let document = prompt::document(Path::new(name), bytes, &OfCell).map_err(raise)?;
    Prompt::of_document(&host, &source(name), document, &host.model()?)
}

/// A depth is a number, whole or not, or a text in per cent.
fn depth_of(depth: &rhai::Dynamic) -> Returned<f64> {
    crate::options::depth(depth).unwrap_or_else(|| {
        Err(crate::options::wrong("the depth", "a number from 0 to 1, or per cent as \"50%\"", depth))
    })
}

/// A key is digits, given as text or as a number.
fn key_text(key: &rhai::Dynamic) -> Returned<String> {
    let number = key.as_int().ok().filter(|key| *key >= 0).map(|key| key.to_string());
    let text = number.or_else(|| key.clone().into_string().ok());
    text.ok_or_else(|| crate::options::wrong("the key", "digits, as text or as a whole number", key))
}

/// A conversation from a list of turns, or from one text.
fn said(context: &rhai::NativeCallContext, turns: &rhai::Dynamic, options: rhai::Map) -> Returned<Prompt> {
    let wrong =
        || crate::options::wrong("a conversation", "a text, or a list of turns with `role` and `content`", turns);
    let mut options =
        Options::new("chat", options, &["date", "variables", "add_generation_prompt", "continue_final_message"])?;
    let turn = |turn: &rhai::Dynamic| {
        let turn = turn.read_lock::<rhai::Map>()?;
        let part = |name: &str| turn.get(name)?.clone().into_string().ok();
        (turn.len() == 2).then(|| Some(Message::new(part("role")?, part("content")?)))?
    };
    let messages: Vec<Message> = match turns.read_lock::<rhai::Array>() {
        Some(list) => list.iter().map(turn).collect::<Option<_>>().ok_or_else(wrong)?,
        None => vec![Message::user(turns.clone().into_string().map_err(|_| wrong())?)],
    };
    let usual = Conversation::asking(messages);
    // who asks for one ending does not want the usual one
    let (answers, goes_on) = (options.flag("add_generation_prompt")?, options.flag("continue_final_message")?);
    let is_usual = answers.is_none() && goes_on.is_none();
    let variables = match options.take("variables").map(|value| to_json(&value)) {
        None => serde_json::Map::new(),
        Some(serde_json::Value::Object(variables)) => variables,
        Some(_) => return refuse("option `variables` of `chat` must be a map", "as #{ enable_thinking: false }"),
    };
    let conversation = Conversation {
        add_generation_prompt: if is_usual {
            usual.add_generation_prompt
        } else {
            answers.unwrap_or(goes_on != Some(true))
        },
        continue_final_message: if is_usual { usual.continue_final_message } else { goes_on.unwrap_or(false) },
        variables,
        ..usual.dated(options.text("date")?.as_deref())
    };
    built(context, &PromptSource::Chat(conversation))
}

/// What the chat template is told, where the option `chat` puts prompts into one.
pub(super) fn chat_of(options: &mut Options) -> Returned<Option<Chat>> {
    let (chats, system, date) = (options.flag("chat")?, options.text("system")?, options.text("date")?);
    Chat::given(chats == Some(true), system, date)
        .or_else(|_| refuse("`system` and `date` are told to a chat template", "add `chat: true`"))
}

/// A needle prompt with what `options` say beside `plain`.
fn needle(context: &rhai::NativeCallContext, plain: &NeedleAsk, options: rhai::Map) -> Returned<Prompt> {
    let known = ["length", "depth", "key", "template", "seed", "chat", "system", "date"];
    let mut options = Options::new("needle", options, &known)?;
    let template = options.text("template")?.map(|name| name.parse().map_err(raise)).transpose()?;
    let ask = NeedleAsk {
        length: options.count("length")?.unwrap_or(plain.length),
        depth: options.depth("depth")?.unwrap_or(plain.depth),
        key: options.take("key").map(|key| key_text(&key)).transpose()?,
        template: template.unwrap_or(plain.template),
        seed: options.setting(params::param("seed"))?.map_or(plain.seed, |seed| seed.number() as u64),
        chat: chat_of(&mut options)?,
    };
    hide(context, ask)
}

fn hide(context: &rhai::NativeCallContext, ask: NeedleAsk) -> Returned<Prompt> {
    built(context, &PromptSource::Needle(ask))
}

/// A prompt for the open model.
fn built(context: &rhai::NativeCallContext, source: &PromptSource) -> Returned<Prompt> {
    let host = host(context);
    Prompt::build(&host, source, &host.model()?)
}
