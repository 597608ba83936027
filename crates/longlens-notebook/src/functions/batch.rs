//! Many prompts in one call: what they begin alike with is computed once.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use longlens_app::settings::Settings;
use longlens_core::lens::Setup;
use longlens_eval::batch::{Answer, Batch, Key};
use longlens_eval::ledger::Ledger;
use rhai::plugin::*;
use rhai::{Array, Dynamic, Map};
use serde::{Deserialize, Serialize};

use crate::functions::calls::{self, RunRequest};
use crate::host::files::MAX_BYTES;
use crate::host::{Host, Returned, host, raise, refuse};
use crate::options::Options;
use crate::table::{Datum, Table as Rows};
use crate::values::{Prompt, Table, TableValue, to_prompt};

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::{Array, Dynamic, Map};

    use crate::host::Returned;
    use crate::values::Table;

    /// Continues many prompts (handles or texts) under a method, a row for each: what they begin alike with is computed once, and every
    /// answer is the one that its prompt has alone.
    ///
    /// ```rhai
    /// run(["The heron stands", "The boat waits", needle(300, 0.5)], full())
    /// ```
    #[rhai_fn(name = "run", return_raw)]
    pub fn run_all(context: NativeCallContext, prompts: Array, method: Dynamic) -> Returned<Table> {
        run_all_with(context, prompts, method, Map::new())
    }

    /// The same with the options of `run`, and `file`, a file that finished answers are kept in: the same call goes on where it was
    /// stopped.
    ///
    /// ```rhai
    /// run(["The heron stands", "The boat waits"], full(), #{ max_tokens: 4, file: "answers.jsonl" })
    /// ```
    #[rhai_fn(name = "run", return_raw)]
    pub fn run_all_with(context: NativeCallContext, prompts: Array, method: Dynamic, options: Map) -> Returned<Table> {
        super::run(&context, &prompts, &method, options)
    }
}

fn run(context: &NativeCallContext, prompts: &Array, method: &Dynamic, options: Map) -> Returned<Table> {
    let host = host(context);
    let known = [calls::run_options(), vec!["model", "file"]].concat();
    let mut options = Options::new("run", options, &known)?;
    let model = calls::model(&host, &mut options)?;
    let file = options.text("file")?;
    let prompts =
        prompts.iter().map(|prompt| to_prompt(&host, prompt, &model, "a prompt")).collect::<Returned<Vec<Prompt>>>()?;
    if prompts.is_empty() {
        return refuse("there are no prompts", "give at least one, as in run([\"The heron\"], full())");
    }
    let request = RunRequest::new(method, &mut options, Settings::default().max_tokens)?;
    let longest = prompts.iter().map(|prompt| prompt.built.tokens.len()).max().unwrap_or_default();
    let settings = request.settings(context, longest)?;
    let setup: Setup = settings.setup(&model.info.spec, longest).map_err(raise)?;
    let decides = format!(
        "{} {} {} {} {:?} {} {:?} {:?}",
        model.info.content,
        model.info.dtype,
        setup.plan.method,
        setup.rope,
        settings.sampling,
        settings.max_tokens,
        request.stop.strings,
        request.method.rules(context),
    );
    let mut lines = Lines::open(&host, file, decides)?;
    let tokens: Vec<Vec<u32>> = prompts.iter().map(|prompt| prompt.built.tokens.clone()).collect();
    // an answer is the same either way, and nobody asks for losses
    let takes_kept = prompts.iter().any(|prompt| prompt.built.takes_kept());
    let setup_of = |n_prompt: usize| Ok(Setup { takes_kept, ..settings.setup(&model.info.spec, n_prompt)? });
    let batch = Batch { setup: &setup_of, sampling: &settings.sampling, stop: &request.stop };
    let mut lens = model.lens(None)?;
    let mut work = host.work(setup.plan.method.as_str());
    let answers = batch.run(&mut *lens, &tokens, &mut lines, &mut work, &mut |_, _, _| ()).map_err(raise)?;
    drop((lens, work));
    if let Some(problem) = lines.failed {
        return Err(problem);
    }
    let Some(answers) = answers.into_iter().collect::<Option<Vec<Answer>>>() else {
        return Err(raise(longlens_core::lens::LensError::Cancelled));
    };
    let record = answers[0].generated.run.clone();
    host.ran(&record);
    let rows = prompts.iter().zip(&answers).enumerate().map(|(at, (prompt, answer))| row(at, prompt, answer));
    let value = TableValue { table: Rows::from_records(rows), records: vec![record], ..TableValue::default() };
    Ok(Table(Rc::new(value)))
}

fn row(at: usize, prompt: &Prompt, Answer { generated, n_shared }: &Answer) -> Vec<(&'static str, Datum)> {
    let text = &prompt.built.source.to_string();
    let found = prompt.built.needle.as_ref().map(|needle| generated.text.trim_start().starts_with(&needle.key));
    vec![
        ("prompt", Datum::Int(at as i64)),
        ("of", Datum::Text(text.clone())),
        ("text", Datum::Text(generated.text.clone())),
        ("found", found.map_or(Datum::Empty, Datum::Bool)),
        ("prompt_tokens", Datum::Int(generated.n_prompt as i64)),
        ("shared_tokens", Datum::Int(*n_shared as i64)),
        ("seconds", Datum::Real(generated.seconds)),
    ]
}

/// Finished answers in a file of lines, or nowhere.
struct Lines<'a> {
    host: &'a Host,
    file: Option<String>,
    /// All that decides an answer beside its prompt.
    decides: String,
    known: HashMap<u64, Answer>,
    failed: Option<Box<rhai::EvalAltResult>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    answer: Answer,
}

impl<'a> Lines<'a> {
    fn open(host: &'a Host, file: Option<String>, decides: String) -> Returned<Self> {
        let mut known = HashMap::new();
        if let Some(name) = &file {
            if crate::functions::files::ending(name) != "jsonl" {
                return refuse(format!("`{name}` is no name for finished answers"), "let it end in .jsonl");
            }
            let bytes = host.files().read_if_there(name, MAX_BYTES).map_err(raise)?.unwrap_or_default();
            for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.trim().is_empty()) {
                // a line that a kill cut short is computed again
                let Ok(Line { key, answer }) = serde_json::from_str(line) else {
                    if line.starts_with("{\"key\":") {
                        continue;
                    }
                    return refuse(format!("`{name}` holds something else than finished answers"), "give another name");
                };
                known.extend(u64::from_str_radix(&key, 16).ok().map(|key| (key, answer)));
            }
        }
        Ok(Self { host, file, decides, known, failed: None })
    }

    fn key(&self, prompt: &Key) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.decides, prompt).hash(&mut hasher);
        hasher.finish()
    }
}

impl Ledger<Key, Answer> for Lines<'_> {
    fn find(&mut self, key: &Key) -> Option<Answer> {
        self.known.get(&self.key(key)).cloned()
    }

    fn finished(&mut self, key: &Key, part: &Answer) {
        let Some(name) = &self.file else { return };
        let line = Line { key: format!("{:016x}", self.key(key)), answer: part.clone() };
        let line = serde_json::to_string(&line).expect("an answer is numbers and texts");
        if let Err(problem) = self.host.files().add_line(name, &line) {
            self.failed.get_or_insert(raise(problem));
        }
    }
}
