//! Steps as commands of the shell.

use std::fmt::Write;

use longlens_core::setting::{Param, Value};
use longlens_core::spec::ModelSpec;
use longlens_eval::passkey::Template;

use super::{Picture, Start, Step, one_line};
use crate::prompt::PromptSource;
use crate::settings::{Settings, Swap};

/// A shell script that takes the steps again, one command each.
pub fn script(start: &Start, steps: &[Step], model: &ModelSpec) -> String {
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
                "longlens passkey{} --template {} --lengths {} --depths {} --trials {} --seed {}\n",
                flags(start, settings, model),
                grid.template,
                list(grid.lengths.iter().map(ToString::to_string).collect()),
                list(grid.depths.iter().map(ToString::to_string).collect()),
                grid.trials,
                grid.seed,
            )
        }
    }
}

/// Model, device, method and scaling.
fn flags(start: &Start, settings: &Settings, model: &ModelSpec) -> String {
    let mut flags = vec![("model", start.model.clone())];
    flags.extend(start.device.iter().map(|device| ("device", device.clone())));
    flags.extend(start.weights.iter().map(|weights| ("weights", weights.clone())));
    flags.extend(start.trained_context.iter().map(|n_tokens| ("trained-context", n_tokens.to_string())));
    flags.push(("method", settings.method.resolved(model).to_string()));
    flags.extend(settings.rope.iter().map(|rope| ("rope", rope.resolved(model).to_string())));
    flags.push(("prefill-chunk", settings.prefill_chunk.to_string()));
    flags
        .iter()
        .flat_map(|(name, value)| [" --".to_owned(), (*name).to_owned(), " ".to_owned(), quoted(value)])
        .collect()
}

/// What of the sampling is not as usual.
fn sampling(settings: &Settings) -> String {
    let usual =
        Settings { max_tokens: settings.max_tokens, prefill_chunk: settings.prefill_chunk, ..Settings::default() };
    let flag = |(param, value): (&Param, Value)| format!(" --{} {value}", param.name.replace('_', "-"));
    settings.changed(&usual).map(flag).collect::<Vec<_>>().concat()
}

fn with_prompt(line: &str, source: Option<&PromptSource>) -> String {
    match source {
        None => format!("{line}\n"),
        Some(PromptSource::File(path)) => format!("{line} --file {}\n", quoted(&path.display().to_string())),
        Some(PromptSource::Text(text)) => {
            // `--file` leaves out one newline at the end, which the here-document adds
            // one of as many words as the text has lines, and one more, is none of its lines
            let words = (0..=text.lines().count()).map(|n| format!("END{n}"));
            let end = words.into_iter().find(|end| !text.lines().any(|line| line == end)).unwrap_or_default();
            format!("{line} --file - <<'{end}'\n{text}\n{end}\n")
        }
        Some(PromptSource::Needle(ask)) => {
            let key = ask.key.as_ref().map_or(String::new(), |key| format!(":{key}"));
            let template = match ask.template {
                Template::Longlens => String::new(),
                other => format!(" --needle-template {other}"),
            };
            format!("{line} --needle {}:{}{key}{template} --needle-seed {}\n", ask.length, ask.depth, ask.seed)
        }
    }
}

/// A word for the shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:,./@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::methods::Method;
    use longlens_eval::sampling::Sampling;

    use super::*;
    use crate::prompt::NeedleAsk;

    #[test]
    fn steps_read_as_commands() {
        let start = Start { model: "my models/llama".into(), device: Some("cuda".into()), ..Start::default() };
        let settings = Settings { method: Method::parse("long_heads:chunk_len=16").unwrap(), ..Settings::default() };
        let needle = PromptSource::Needle(NeedleAsk { key: Some("12345".into()), seed: 3, ..NeedleAsk::default() });
        let steps = [
            Step::Run(settings.clone(), needle.clone()),
            Step::Run(
                Settings {
                    sampling: Sampling { temperature: 0.5, seed: 2, ..Sampling::default() },
                    ..Settings::default()
                },
                PromptSource::Text("It's\nEND0".into()),
            ),
            Step::Picture(Picture::View("chunks:query=1000".into()), settings.clone(), Some(needle), "a b.png".into()),
            Step::Picture(Picture::Positions { n_tokens: 512, layer: 1, head: 0 }, settings, None, "p.svg".into()),
        ];
        insta::assert_snapshot!(script(&start, &steps, &ModelSpec::tiny(256)), @r"
        #!/bin/sh
        # steps taken in the longlens workbench, as commands
        set -e

        longlens generate --model 'my models/llama' --device cuda --method long_heads:chunk_len=16,attention_len=256,begin_len=256,variant=consistent --prefill-chunk 2048 --max-tokens 16 --needle 1024:0.5:12345 --needle-seed 3

        longlens generate --model 'my models/llama' --device cuda --method full --prefill-chunk 2048 --max-tokens 16 --temperature 0.5 --seed 2 --file - <<'END1'
        It's
        END0
        END1

        longlens plot chunks:query=1000 --model 'my models/llama' --device cuda --method long_heads:chunk_len=16,attention_len=256,begin_len=256,variant=consistent --prefill-chunk 2048 --out 'a b.png' --needle 1024:0.5:12345 --needle-seed 3

        longlens positions --tokens 512 --layer 1 --head 0 --model 'my models/llama' --device cuda --method long_heads:chunk_len=16,attention_len=256,begin_len=256,variant=consistent --prefill-chunk 2048 --out p.svg
        ");
    }
}
