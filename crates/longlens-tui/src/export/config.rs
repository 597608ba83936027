//! The settings as a file that the commands take with `--config`.

use std::fmt::Write;

use longlens_app::prompt::PromptSource;
use longlens_app::settings::{Swap, params};
use longlens_app::sweep::Evaluation;
use longlens_core::lens::{Conversation, Message};
use longlens_core::setting::{Setting, Value};
use longlens_eval::passkey::{Chat, Grid, Template};
use longlens_eval::tasks::Task;

use crate::app::App;
use crate::fields::PASSKEY;

/// The settings as a TOML file that every command takes with `--config`.
pub fn config(app: &App) -> String {
    let (settings, model) = (&app.controls.settings, &app.model.spec);
    let mut text = String::from(
        "# settings of the longlens workbench, for `longlens generate`, `passkey` and the other commands: --config FILE\n",
    );
    if settings.swap == Swap::ReuseKv {
        text += "# the workbench went on from an older run's cache (reuse-kv); commands run every prompt anew\n";
    }
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} = {value}");
    };
    line("model", &word(&app.start.model));
    line("method", &word(&settings.method.resolved(model).to_string()));
    settings.rope.iter().for_each(|rope| line("rope", &word(&rope.resolved(model).to_string())));
    app.start.device.iter().for_each(|device| line("device", &word(device)));
    app.start.weights.iter().for_each(|weights| line("weights", &word(weights)));
    if app.start.kv_offload {
        line("kv_offload", "true");
    }
    settings.trained_context.iter().for_each(|n_tokens| line("trained_context", &n_tokens.to_string()));
    app.start.adapter.iter().for_each(|adapter| line("adapter", &word(adapter)));
    let (own, sampling): (Vec<_>, Vec<_>) = params::text().partition(|param| params::TOP_LEVEL.contains(&param.name));
    for param in own {
        line(param.name, &param.literal(&settings.get(param)));
    }
    if let Some(prompt) = app.prompt.answer() {
        let _ = write!(text, "\n[prompt]\n{}", source(&prompt.source));
    }
    text += "\n[sampling]\n";
    for param in sampling {
        let _ = writeln!(text, "{} = {}", param.name, param.literal(&settings.get(param)));
    }
    let grid = grid(app);
    let _ = write!(
        text,
        "\n[passkey]\ntemplate = {}\nlengths = {:?}\ndepths = {:?}\ntrials = {}\n{}",
        word(&grid.template.to_string()),
        grid.lengths,
        grid.depths,
        grid.trials,
        grid.chat.as_ref().map_or(String::new(), chat),
    );
    text
}

/// Where the prompt comes from, as a table's lines.
fn source(source: &PromptSource) -> String {
    match source {
        PromptSource::Chat(conversation) => {
            let turn = |message: &Message| {
                format!("{{ role = {}, content = {} }}", word(&message.role), word(&message.content))
            };
            let turns: Vec<_> = conversation.messages.iter().map(turn).collect();
            let mut text = format!("messages = [{}]\ndate = {}\n", turns.join(", "), word(&conversation.date));
            // how it ends is told where the turns do not say so themselves
            let usual = Conversation::asking(conversation.messages.clone());
            if (conversation.add_generation_prompt, conversation.continue_final_message)
                != (usual.add_generation_prompt, usual.continue_final_message)
            {
                let (answers, goes_on) = (conversation.add_generation_prompt, conversation.continue_final_message);
                let _ = write!(text, "add_generation_prompt = {answers}\ncontinue_final_message = {goes_on}\n");
            }
            if let Ok(variables) = toml::Value::try_from(&conversation.variables)
                && !conversation.variables.is_empty()
            {
                let _ = writeln!(text, "variables = {variables}");
            }
            text
        }
        PromptSource::Text(text) => format!("text = {}\n", word(text)),
        PromptSource::Kept(ask) => {
            let text = if ask.text.is_empty() { String::new() } else { format!("text = {}\n", word(&ask.text)) };
            format!("cache = {}\n{text}", word(&ask.file.to_string_lossy()))
        }
        PromptSource::File(path) => format!("file = {}\n", word(&path.to_string_lossy())),
        PromptSource::Document(ask) => {
            let (file, chat) = (word(&ask.file.to_string_lossy()), ask.chat.as_ref().map_or(String::new(), chat));
            let question = ask.question.as_ref().map_or(String::new(), |text| format!("question = {}\n", word(text)));
            format!("file = {file}\n{question}{chat}")
        }
        PromptSource::Needle(ask) => {
            let key = ask.key.as_ref().map_or(String::new(), |key| format!(":{key}"));
            let needle = word(&format!("{}:{}{key}", ask.length, ask.depth));
            let chat = ask.chat.as_ref().map_or(String::new(), chat);
            format!("needle = {needle}\ntemplate = {}\nseed = {}\n{chat}", word(ask.template.name()), ask.seed)
        }
    }
}

/// The chat template's, as a table's lines.
fn chat(chat: &Chat) -> String {
    let system = chat.system.as_ref().map_or(String::new(), |system| format!("system = {}\n", word(system)));
    format!("chat = true\n{system}date = {}\n", word(&chat.date))
}

/// The passkey grid that the controls ask for.
pub fn grid(app: &App) -> Grid {
    let (form, trained) = (&app.controls.grid, app.model.spec.trained_context);
    let powers = (0..).map(|power| 1usize << power).take_while(|times| *times <= form.up_to);
    let lengths = powers.map(|times| trained * times).filter(|length| *length <= params::MAX_PROMPT).collect();
    let last = form.n_depths.saturating_sub(1).max(1) as f64;
    let depths = match form.n_depths {
        1 => vec![0.5],
        n => (0..n).map(|at| (at as f64 / last * 1e4).round() / 1e4).collect(),
    };
    let seed = app.controls.settings.sampling.seed;
    Grid {
        template: Template::Longlens,
        chat: form.chat.then(Chat::default),
        lengths,
        depths,
        trials: form.trials,
        seed,
    }
}

/// The task and the lengths that the controls ask for; nothing where it is pass keys. Where the task can be asked for samples, depths and a
/// chat template and its text says nothing of them, the controls do.
pub fn evaluation(app: &App) -> Option<Evaluation> {
    let form = &app.controls.grid;
    let mut task = Task::parse(&form.task).ok().filter(|_| form.task != PASSKEY)?;
    let asked = [
        ("samples", Some(Value::Number(form.trials as f64))),
        ("depths", Some(Value::Number(form.n_depths as f64))),
        ("template", form.chat.then(|| Value::Word("model".into()))),
    ];
    for (name, value) in asked.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let is_open = is_open(&task, name);
        // what a task does not take stays as it has it
        let _ = is_open.then(|| task.set(name, &value));
    }
    let lengths = if is_open(&task, "length") { grid(app).lengths } else { Vec::new() };
    Some(Evaluation { task: task.to_string(), lengths })
}

/// Whether a task has a setting of which its text says nothing.
fn is_open(task: &Setting, name: &str) -> bool {
    task.info().params.iter().any(|param| param.name == name) && !task.given().any(|(given, _)| given == name)
}

/// A word as TOML has it.
fn word(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
