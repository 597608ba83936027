//! Steps as cells of a notebook, in its text form: `// %%` begins a cell of code, `// %% [markdown]` prose.
//!
//! The language is known here by its text alone: it is written, never run.

use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::path::{Component, Path};

use longlens_app::prompt::{NeedleAsk, PromptSource};
use longlens_app::settings::{Settings, Swap, params};
use longlens_app::steps::{Picture, Ran, Start, Step, one_line, quoted};
use longlens_app::sweep::Evaluation;
use longlens_core::lens::{Conversation, Message};
use longlens_core::plan::LayerWindows;
use longlens_core::setting::Value;
use longlens_core::spec::ModelSpec;
use longlens_eval::passkey::{Chat, Grid, Template};
use longlens_eval::tasks::Task;

use longlens_app::views;

/// The steps as a notebook for the file `path`, a cell each. Prompts, runs and traces have names, so that a later cell uses
/// what an earlier one computed. What no function of the language does is left out, with a comment that says why.
pub fn cells(path: &Path, start: &Start, steps: &[Step], model: &ModelSpec) -> String {
    let mut text = header(path, start, steps);
    let trained = steps.first().and_then(|step| step.settings().trained_context);
    if start.model != EMBEDDED || start.adapter.is_some() || trained.is_some() {
        let _ = write!(text, "\n// %%\n{}\n", opening(start, trained));
    }
    let (names, counts) = (HashMap::new(), HashMap::new());
    let mut writer = Writer { start, model, trained, lines: Vec::new(), names, counts };
    for step in steps {
        let _ = write!(text, "\n// %%\n{}\n", writer.cell(step).join("\n"));
    }
    text
}

/// The model that a session opens by itself.
const EMBEDDED: &str = "embedded";
/// Bytes of named arguments that stay in one line.
const MAX_LINE: usize = 80;
/// Most tokens that `positions` draws.
const MAX_POSITIONS: usize = 1 << 20;

/// What the notebook is, and the flags that its cells cannot give.
fn header(path: &Path, start: &Start, steps: &[Step]) -> String {
    let mut flags = String::new();
    for (flag, value) in [("device", &start.device), ("weights", &start.weights)] {
        flags.extend(value.iter().map(|value| format!(" --{flag} {}", quoted(value))));
    }
    if start.kv_offload {
        flags.push_str(" --kv-offload");
    }
    let leaves = steps.iter().any(leaves_folder);
    let outside = if leaves { " --allow-outside" } else { "" };
    let file = quoted(&one_line(&path.display().to_string()));
    let mut paragraphs = vec![
        "# Steps taken in the longlens workbench".to_owned(),
        "Every step is a cell; pictures are written to their files again (`--overwrite` lets cells replace those of the \
         workbench). In the folder that the workbench was started in:"
            .to_owned(),
        format!("    longlens notebook run {file} --overwrite{flags}{outside}"),
    ];
    let notes = [
        (!flags.is_empty(), "Device and weights are given by these flags; a cell cannot choose them."),
        (leaves, "Some files lie outside that folder, or have absolute names: `--allow-outside` lets cells use them."),
        (steps.is_empty(), "Nothing was done yet."),
    ];
    paragraphs.extend(notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note.to_owned()));
    format!("// %% [markdown]\n// {}\n", paragraphs.join("\n//\n// "))
}

/// The line that opens the model, counted as trained on so many tokens.
fn opening(start: &Start, trained: Option<usize>) -> String {
    let trained = trained.map(|n| ("trained_context", n.to_string()));
    let adapter = start.adapter.as_ref().map(|adapter| ("adapter", literal(adapter)));
    call("open", &[literal(&start.model)], &trained.into_iter().chain(adapter).collect::<Vec<_>>()) + ";"
}

/// Whether a step uses a file that may lie outside the working directory.
fn leaves_folder(step: &Step) -> bool {
    let leaves = |path: &Path| path.is_absolute() || path.components().any(|part| part == Component::ParentDir);
    let reads = |source: &PromptSource| match source {
        PromptSource::File(path) => leaves(path),
        PromptSource::Document(ask) => leaves(&ask.file),
        _ => false,
    };
    match step {
        Step::Run(_, source) => reads(source),
        Step::Picture(Picture::Other(_), ..) | Step::Grid(..) => false,
        // files that a task is made from are named in its text
        Step::Evaluate(_, evaluation) => Task::parse(&evaluation.task)
            .is_ok_and(|task| task.given().any(|(_, value)| leaves(Path::new(&value.to_string())))),
        Step::Picture(picture, _, source, path) => {
            let behind: &[Ran] = match picture {
                Picture::Loss { runs, .. } => runs,
                Picture::Compare { runs, .. } => runs.as_slice(),
                _ => &[],
            };
            leaves(path) || source.iter().chain(behind.iter().map(|(_, source)| source)).any(reads)
        }
    }
}

/// Writes cells, and remembers the names of what they compute.
struct Writer<'a> {
    start: &'a Start,
    /// The model as the workbench opened it.
    model: &'a ModelSpec,
    /// What the model that is open counts as trained on.
    trained: Option<usize>,
    /// Lines of the cell that is being written.
    lines: Vec<String>,
    /// What has a name, by the expression that computes it and what its model counts as trained on: results are the same whenever
    /// these are.
    names: HashMap<(Option<usize>, String), String>,
    /// Names given so far that begin with a letter.
    counts: HashMap<&'static str, usize>,
}

impl Writer<'_> {
    /// The lines of a step's cell.
    fn cell(&mut self, step: &Step) -> Vec<String> {
        let written = match step {
            Step::Run(settings, source) => self.run_again(settings, source),
            Step::Picture(picture, settings, source, path) => {
                let path = path.display().to_string();
                let figure = self.picture(picture, settings, source.as_ref());
                let saved = figure.map(|figure| [format!("save({figure}, {});", literal(&path)), figure]);
                let shown = saved.map(|lines| self.lines.extend(lines));
                shown.map_err(|why| format!("the picture {} is left out: {why}", one_line(&path)))
            }
            Step::Grid(settings, grid) => {
                let grid = self.grid(settings, grid);
                let shown = grid.map(|grid| self.lines.push(grid));
                shown.map_err(|why| format!("a passkey grid is left out: {why}"))
            }
            Step::Evaluate(settings, evaluation) => {
                let table = self.evaluation(settings, evaluation);
                self.lines.push(table);
                Ok(())
            }
        };
        if let Err(why) = written {
            self.lines.push(format!("// {why}"));
        }
        std::mem::take(&mut self.lines)
    }

    fn run_again(&mut self, settings: &Settings, source: &PromptSource) -> Result<(), String> {
        if settings.swap == Swap::ReuseKv {
            self.lines.extend(
                [
                    "// in the workbench this run reused the cache of the one before (reuse-kv), which no function does;",
                    "// here the whole prompt runs under the method",
                ]
                .map(str::to_owned),
            );
        }
        let run = self.run(settings, source).map_err(|why| format!("a run is left out: {why}"))?;
        self.lines.push(run);
        Ok(())
    }

    /// The name of a picture.
    fn picture(
        &mut self,
        picture: &Picture,
        settings: &Settings,
        source: Option<&PromptSource>,
    ) -> Result<String, String> {
        let figure = match picture {
            Picture::View(text) => {
                let (view, options) = views::parse(text).map_err(|error| error.to_string())?;
                let trace = self.trace(settings, source)?;
                let literals = options.given().filter_map(|(name, value)| {
                    let param = view.info().params.iter().find(|param| param.name == name)?;
                    Some((name, param.literal(value)))
                });
                call(view.info().name, &[trace], &literals.collect::<Vec<_>>())
            }
            Picture::Positions { n_tokens, .. } if *n_tokens > MAX_POSITIONS => {
                return Err(format!("`positions` draws up to {MAX_POSITIONS} tokens, not {n_tokens}"));
            }
            Picture::Positions { n_tokens, layer, head } => {
                let usual = settings.plan(self.model).map_or(0, |plan| plan.first_layer());
                let places = [("layer", layer, usual), ("head", head, 0)];
                let places = places.into_iter().filter(|(_, at, usual)| *at != usual);
                let places = places.map(|(name, at, _)| (name, at.to_string()));
                let options: Vec<_> = self.conditions(settings).chain(places).collect();
                let figure = call("positions", &[self.method(settings), n_tokens.to_string()], &options);
                return Ok(self.computed(settings, "f", figure));
            }
            Picture::Loss { runs, smooth } => {
                let runs: Result<Vec<_>, _> =
                    runs.iter().map(|(settings, source)| self.run(settings, source)).collect();
                format!("losses([{}], {smooth})", runs?.join(", "))
            }
            Picture::Compare { runs, head } => {
                let [a, b] = runs.as_ref();
                let (a, b) = (self.run(&a.0, &a.1)?, self.run(&b.0, &b.1)?);
                if let Some((layer, head)) = head {
                    self.lines.push(format!(
                        "// the workbench's picture also compares the maps of layer {layer}, head {head}, which no function does"
                    ));
                }
                format!("compare({a}, {b})")
            }
            Picture::Grid(grid) => return self.grid(settings, grid),
            Picture::Scores(evaluation) => return Ok(self.evaluation(settings, evaluation)),
            Picture::Other(view) => return Err(format!("no function draws the view {}", one_line(view))),
        };
        Ok(self.name("f", figure))
    }

    /// The name of a run.
    fn run(&mut self, settings: &Settings, source: &PromptSource) -> Result<String, String> {
        let prompt = self.prompt(source)?;
        let mut options: Vec<_> = self.conditions(settings).collect();
        options.push(("max_tokens", settings.max_tokens.to_string()));
        seed(settings.sampling.seed)?;
        let Settings { max_tokens, layer_windows, .. } = *settings;
        let usual = Settings { max_tokens, layer_windows, ..Settings::default() };
        options.extend(settings.changed(&usual).map(|(param, value)| (param.name, param.literal(&value))));
        let expression = format!("run({prompt}, {}, {})", self.method(settings), map(&options));
        Ok(self.computed(settings, "r", expression))
    }

    /// The name of a trace.
    fn trace(&mut self, settings: &Settings, source: Option<&PromptSource>) -> Result<String, String> {
        let prompt = self.prompt(source.ok_or("its prompt is not known")?)?;
        let mut options: Vec<_> = self.conditions(settings).collect();
        options.extend(prefill_chunk(settings));
        Ok(self.computed(settings, "t", call("trace", &[prompt, self.method(settings)], &options)))
    }

    /// The name of a passkey grid.
    fn grid(&mut self, settings: &Settings, grid: &Grid) -> Result<String, String> {
        let lengths: Vec<_> = grid.lengths.iter().map(ToString::to_string).collect();
        let depths: Vec<_> = grid.depths.iter().map(number).collect();
        let mut options = vec![
            ("lengths", format!("[{}]", lengths.join(", "))),
            ("depths", format!("[{}]", depths.join(", "))),
            ("trials", grid.trials.to_string()),
            ("method", self.method(settings)),
        ];
        options.extend(self.conditions(settings));
        options.extend(template(grid.template));
        options.extend(seed(grid.seed)?);
        options.extend(chat(grid.chat.as_ref()));
        Ok(self.computed(settings, "g", format!("passkey({})", map(&options))))
    }

    /// The name of the scores of a task.
    fn evaluation(&mut self, settings: &Settings, evaluation: &Evaluation) -> String {
        let lengths: Vec<_> = evaluation.lengths.iter().map(ToString::to_string).collect();
        let mut options = Vec::new();
        if !lengths.is_empty() {
            options.push(("lengths", format!("[{}]", lengths.join(", "))));
        }
        options.push(("method", self.method(settings)));
        options.extend(self.conditions(settings));
        let expression = format!("evaluate({}, {})", literal(&evaluation.task), map(&options));
        self.computed(settings, "e", expression)
    }

    /// The name of a prompt.
    fn prompt(&mut self, source: &PromptSource) -> Result<String, String> {
        let expression = match source {
            PromptSource::Text(text) => format!("prompt({})", literal(text)),
            PromptSource::Kept(ask) => {
                format!("kept({}, {})", literal(&ask.file.display().to_string()), literal(&ask.text))
            }
            PromptSource::File(path) => format!("text({})", literal(&path.display().to_string())),
            PromptSource::Document(ask) => {
                let options = chat(ask.chat.as_ref());
                let file = literal(&ask.file.display().to_string());
                let question = ask.question.as_ref().map_or_else(|| "()".to_owned(), |text| literal(text));
                call("document", &[file, question], &options)
            }
            PromptSource::Needle(NeedleAsk { length, depth, key, template: wording, seed: start, chat: said }) => {
                let mut options = vec![("length", length.to_string()), ("depth", number(depth))];
                options.extend(key.iter().map(|key| ("key", literal(key))));
                options.extend(template(*wording));
                options.extend(seed(*start)?);
                options.extend(chat(said.as_ref()));
                format!("needle({})", map(&options))
            }
            PromptSource::Chat(conversation) => {
                let turn = |message: &Message| {
                    format!("#{{ role: {}, content: {} }}", literal(&message.role), literal(&message.content))
                };
                let turns: Vec<_> = conversation.messages.iter().map(turn).collect();
                format!("chat([{}], {})", turns.join(", "), map(&ending(conversation)))
            }
        };
        Ok(self.name("p", expression))
    }

    fn method(&self, settings: &Settings) -> String {
        literal(&settings.method.resolved(&self.model.trained_on(settings.trained_context)).to_string())
    }

    /// The scaling, where it is not the checkpoint's own, and windows of layers that are not treated in the usual way.
    fn conditions(&self, settings: &Settings) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let model = self.model.trained_on(settings.trained_context);
        let rope = settings.rope.as_ref().map(|rope| ("rope", literal(&rope.resolved(&model).to_string())));
        let windows = Some(settings.layer_windows).filter(|windows| *windows != LayerWindows::Auto);
        rope.into_iter().chain(windows.map(|windows| ("layer_windows", literal(windows.name()))))
    }

    /// The name of what an expression computes on the open model. One that counts as trained on something else than the settings say
    /// is opened again before.
    fn computed(&mut self, settings: &Settings, letter: &'static str, expression: String) -> String {
        let trained = settings.trained_context;
        let known = (trained, expression);
        if self.trained != trained && !self.names.contains_key(&known) {
            self.lines.push(opening(self.start, trained));
            self.trained = trained;
        }
        self.named(letter, known)
    }

    /// The name of what an expression makes on any model.
    fn name(&mut self, letter: &'static str, expression: String) -> String {
        self.named(letter, (None, expression))
    }

    /// The name of an expression, by what its model counts as trained on; a line that gives it one where it has none yet.
    fn named(&mut self, letter: &'static str, known: (Option<usize>, String)) -> String {
        if let Some(name) = self.names.get(&known) {
            return name.clone();
        }
        let expression = &known.1;
        let count = self.counts.entry(letter).or_default();
        *count += 1;
        let name = format!("{letter}{count}");
        self.lines.push(format!("let {name} = {expression};"));
        self.names.insert(known, name.clone());
        name
    }
}

/// A call with its named arguments last, where there are any.
fn call(function: &str, arguments: &[String], options: &[(&str, String)]) -> String {
    let options = if options.is_empty() { String::new() } else { format!(", {}", map(options)) };
    format!("{function}({}{options})", arguments.join(", "))
}

fn prefill_chunk(settings: &Settings) -> Option<(&'static str, String)> {
    (settings.prefill_chunk != Settings::default().prefill_chunk)
        .then(|| ("prefill_chunk", settings.prefill_chunk.to_string()))
}

fn template(template: Template) -> Option<(&'static str, String)> {
    (template != Template::Longlens).then(|| ("template", literal(template.name())))
}

/// What the chat template is told, where prompts are put into one.
fn chat(chat: Option<&Chat>) -> Vec<(&'static str, String)> {
    let Some(chat) = chat else { return Vec::new() };
    let system = chat.system.as_ref().map(|system| ("system", literal(system)));
    [("chat", "true".to_owned())].into_iter().chain(system).chain([("date", literal(&chat.date))]).collect()
}

/// The date of a conversation, what else its template is told, and how it ends where the turns do not say so themselves.
fn ending(conversation: &Conversation) -> Vec<(&'static str, String)> {
    let mut options = vec![("date", literal(&conversation.date))];
    let usual = Conversation::asking(conversation.messages.clone());
    let ends = |said: &Conversation| (said.add_generation_prompt, said.continue_final_message);
    if ends(conversation) != ends(&usual) {
        options.push(("add_generation_prompt", conversation.add_generation_prompt.to_string()));
        options.push(("continue_final_message", conversation.continue_final_message.to_string()));
    }
    if !conversation.variables.is_empty() {
        options.push(("variables", json(&conversation.variables.clone().into())));
    }
    options
}

/// A value that JSON has, as cells write it.
fn json(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "()".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => literal(text),
        Value::Array(list) => format!("[{}]", list.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entries = map.iter().map(|(name, value)| format!("{}: {}", literal(name), json(value)));
            format!("#{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The start of random numbers, where it is not 0.
fn seed(seed: u64) -> Result<Option<(&'static str, String)>, String> {
    let accepted = params::param("seed").check(&Value::Number(seed as f64));
    accepted.map_err(|_| format!("functions take no seed as large as {seed}"))?;
    Ok((seed != 0).then(|| ("seed", seed.to_string())))
}

/// Named arguments, in lines of their own where one line would be long.
fn map(options: &[(&str, String)]) -> String {
    let pairs: Vec<_> = options.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let line = pairs.join(", ");
    if line.len() <= MAX_LINE { format!("#{{ {line} }}") } else { format!("#{{\n    {},\n}}", pairs.join(",\n    ")) }
}

/// A number with a point: numbers without one are whole.
fn number(value: impl Display) -> String {
    let text = value.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

/// A text between double quotes, in one line. Between backticks, `${` would begin an expression.
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal += "\\n",
            '\r' => literal += "\\r",
            '\t' => literal += "\\t",
            // the last two end lines for some editors
            _ if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(literal, "\\u{:04x}", u32::from(c));
            }
            _ => literal.push(c),
        }
    }
    literal.push('"');
    literal
}
