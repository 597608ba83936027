//! What was done in the terminal workbench, as files that do it again: commands of the shell here, and cells of a notebook.

use std::fmt::Write;
use std::path::Path;

use longlens_app::Problem;
use longlens_app::prompt::PromptSource;
use longlens_app::settings::{Settings, Swap};
use longlens_app::steps::{Picture, Start, Step, one_line, quoted};
use longlens_core::lens::Conversation;
use longlens_core::plan::LayerWindows;
use longlens_core::setting::{Param, Value};
use longlens_core::spec::ModelSpec;
use longlens_eval::passkey::{Chat, Template};

use longlens_notebook::steps::cells;

/// The steps as a file's ending asks for them: `.rhai` for [`cells`], `.sh` for a [`script`]. Other endings are refused.
pub fn write(path: &Path, start: &Start, steps: &[Step], model: &ModelSpec) -> Result<String, Problem> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("rhai") => Ok(cells(path, start, steps, model)),
        Some("sh") => Ok(script(start, steps, model)),
        _ => Err(Problem::new(
            format!("{} does not say what to write the steps as", path.display()),
            "end the name in .rhai for notebook cells, or in .sh for commands".to_owned(),
        )),
    }
}

/// A shell script that takes the steps again, one command each.
fn script(start: &Start, steps: &[Step], model: &ModelSpec) -> String {
    let mut text = String::from("#!/bin/sh\n# steps taken in the longlens workbench, as commands\nset -e\n");
    for step in steps {
        text.push('\n');
        text += &command(start, step, model);
    }
    text
}

/// One step as a command, with the prompt behind it where it is long.
pub fn command(start: &Start, step: &Step, model: &ModelSpec) -> String {
    match step {
        Step::Run(settings, source) => {
            let mut line = format!("longlens generate{}", flags(start, settings, model));
            let _ = write!(line, " --max-tokens {}{}", settings.max_tokens, sampling(settings));
            let note = match settings.swap {
                Swap::RePrefill => "",
                Swap::ReuseKv => "# in the workbench this run reused the cache of the one before (reuse-kv)\n",
            };
            format!("{note}{}", with_prompt(&line, Some(source)))
        }
        Step::Picture(picture, settings, source, path) => {
            let path = path.display().to_string();
            // what a view shows of a prompt needs the prompt; positions are of a plan alone
            let (drawn, prompt) = match picture {
                Picture::View(text) => (format!("plot {}", quoted(text)), source.as_ref()),
                Picture::Positions { n_tokens, layer, head } => {
                    (format!("positions --tokens {n_tokens} --layer {layer} --head {head}"), None)
                }
                _ => {
                    let (path, view) = (one_line(&path), one_line(picture.view()));
                    return format!("# {path} shows the view {view}, which no command draws\n");
                }
            };
            let line = format!("longlens {drawn}{} --out {}", flags(start, settings, model), quoted(&path));
            with_prompt(&line, prompt)
        }
        Step::Grid(settings, grid) => {
            let list = |items: Vec<String>| items.join(",");
            format!(
                "longlens passkey{} --template {} --lengths {} --depths {} --trials {} --seed {}{}\n",
                flags(start, settings, model),
                grid.template,
                list(grid.lengths.iter().map(ToString::to_string).collect()),
                list(grid.depths.iter().map(ToString::to_string).collect()),
                grid.trials,
                grid.seed,
                chat(grid.chat.as_ref()),
            )
        }
        Step::Evaluate(settings, evaluation) => {
            let lengths: Vec<_> = evaluation.lengths.iter().map(ToString::to_string).collect();
            let lengths = if lengths.is_empty() { String::new() } else { format!(" --lengths {}", lengths.join(",")) };
            format!("longlens evaluate {}{}{lengths}\n", quoted(&evaluation.task), flags(start, settings, model))
        }
    }
}

/// Model, device, method and scaling.
fn flags(start: &Start, settings: &Settings, model: &ModelSpec) -> String {
    let model = &model.trained_on(settings.trained_context);
    let mut flags = vec![("model", start.model.clone())];
    flags.extend(start.device.iter().map(|device| ("device", device.clone())));
    flags.extend(start.weights.iter().map(|weights| ("weights", weights.clone())));
    flags.extend(settings.trained_context.iter().map(|n_tokens| ("trained-context", n_tokens.to_string())));
    flags.extend(start.adapter.iter().map(|adapter| ("adapter", adapter.clone())));
    flags.push(("method", settings.method.resolved(model).to_string()));
    flags.extend(settings.rope.iter().map(|rope| ("rope", rope.resolved(model).to_string())));
    flags.push(("prefill-chunk", settings.prefill_chunk.to_string()));
    if settings.layer_windows != LayerWindows::Auto {
        flags.push(("layer-windows", settings.layer_windows.name().to_owned()));
    }
    let offload = start.kv_offload.then(|| " --kv-offload".to_owned());
    flags
        .iter()
        .flat_map(|(name, value)| [" --".to_owned(), (*name).to_owned(), " ".to_owned(), quoted(value)])
        .chain(offload)
        .collect()
}

/// What of the sampling is not as usual.
fn sampling(settings: &Settings) -> String {
    let Settings { max_tokens, prefill_chunk, layer_windows, .. } = *settings;
    let usual = Settings { max_tokens, prefill_chunk, layer_windows, ..Settings::default() };
    let flag = |(param, value): (&Param, Value)| format!(" --{} {value}", param.name.replace('_', "-"));
    settings.changed(&usual).map(flag).collect::<Vec<_>>().concat()
}

/// Flags that put prompts into the chat template, where they are.
fn chat(chat: Option<&Chat>) -> String {
    let Some(chat) = chat else { return String::new() };
    let system = chat.system.as_ref().map_or(String::new(), |system| format!(" --system {}", quoted(system)));
    format!(" --chat{system} --date {}", quoted(&chat.date))
}

fn with_prompt(line: &str, source: Option<&PromptSource>) -> String {
    match source {
        None => format!("{line}\n"),
        Some(PromptSource::Kept(ask)) => {
            let text = if ask.text.is_empty() { String::new() } else { format!(" --prompt {}", quoted(&ask.text)) };
            format!("{line} --cache {}{text}\n", quoted(&ask.file.display().to_string()))
        }
        Some(PromptSource::File(path)) => format!("{line} --file {}\n", quoted(&path.display().to_string())),
        Some(PromptSource::Document(ask)) => {
            let file = quoted(&ask.file.display().to_string());
            let question =
                ask.question.as_ref().map_or(String::new(), |question| format!(" --question {}", quoted(question)));
            format!("{line} --file {file}{question}{}\n", chat(ask.chat.as_ref()))
        }
        Some(PromptSource::Text(text)) => {
            // `--file` leaves out one newline at the end, which the here-document adds
            // one of as many words as the text has lines, and one more, is none of its lines
            let words = (0..=text.lines().count()).map(|n| format!("END{n}"));
            let end = words.into_iter().find(|end| !text.lines().any(|line| line == end)).unwrap_or_default();
            format!("{line} --file - <<'{end}'\n{text}\n{end}\n")
        }
        Some(PromptSource::Chat(conversation)) => {
            // turns alone where they say the rest
            let usual = Conversation::asking(conversation.messages.clone()).dated(Some(&conversation.date));
            let says_all = *conversation == usual;
            let turns = serde_json::to_string(&conversation.messages).expect("texts are JSON");
            let json = if says_all { turns } else { serde_json::to_string(conversation).expect("texts are JSON") };
            format!("{line} --messages {} --date {}\n", quoted(&json), quoted(&conversation.date))
        }
        Some(PromptSource::Needle(ask)) => {
            let key = ask.key.as_ref().map_or(String::new(), |key| format!(":{key}"));
            let template = match ask.template {
                Template::Longlens => String::new(),
                other => format!(" --needle-template {other}"),
            };
            let chat = chat(ask.chat.as_ref());
            format!("{line} --needle {}:{}{key}{template} --needle-seed {}{chat}\n", ask.length, ask.depth, ask.seed)
        }
    }
}

#[cfg(test)]
mod tests;
