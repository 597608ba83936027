//! Measuring: pass keys over lengths and depths, perplexity over lengths.

use rhai::plugin::*;

#[export_module]
#[allow(clippy::needless_pass_by_value)] // the macro hands values over
pub mod functions {
    use rhai::{Array, Dynamic, Map};

    use crate::host::{Returned, raise};
    use crate::values::Table;

    /// Finds hidden keys over a grid of lengths and depths. Options: `lengths`, `depths`, `methods` (or `method`), `trials`,
    /// `template`, `seed`, `rope`, `layer_windows`, `model` (a handle or a name, for this call alone), and `chat` (true where a user says
    /// the prompts, in the model's chat template) with `system` (what the system says first) and `date`.
    ///
    /// ```rhai
    /// passkey(#{ lengths: [200, 400], depths: [0.0, 0.5], trials: 1, methods: [full(), "streaming:window=64"] })
    /// ```
    #[rhai_fn(name = "passkey", return_raw)]
    pub fn passkey(context: NativeCallContext, options: Map) -> Returned<Table> {
        super::passkey(&context, options)
    }

    /// Perplexity of the text in a file at several lengths, under plain attention. A file is one document; JSON lines
    /// (`.jsonl`) are one each, by their `text`.
    ///
    /// ```rhai
    /// save(prompt("Long ago there was a small town. ").text + needle(400, 0.5).text, "book.txt");
    /// perplexity("book.txt", [64, 128])
    /// ```
    #[rhai_fn(name = "perplexity", return_raw)]
    pub fn perplexity_of_file(context: NativeCallContext, path: &str, lengths: Array) -> Returned<Table> {
        let mut options = Map::new();
        options.insert("file".into(), path.into());
        options.insert("lengths".into(), lengths.into());
        super::perplexity(&context, options)
    }

    /// The same with options: `file` (or `text`; the held-out texts of the embedded model when absent), `split_documents` (true
    /// where blank lines separate documents), `tokens` (a file of token ids instead), `token_format` (`u16`, `u32` or `i64`
    /// where the file does not say enough), `lengths`, `methods` (or `method`), `documents` (at most), `last` (tokens that the
    /// second score counts), `rope`, `layer_windows`, `model` (a handle or a name, for this call alone). Documents shorter than
    /// the longest length are passed over.
    ///
    /// ```rhai
    /// save(needle(600, 0.5).text, "book.txt");
    /// perplexity(#{ file: "book.txt", lengths: [64, 256], methods: [full(), "sliding_window:window=64"] })
    /// ```
    #[rhai_fn(name = "perplexity", return_raw)]
    pub fn perplexity(context: NativeCallContext, options: Map) -> Returned<Table> {
        super::perplexity(&context, options)
    }

    /// Share of keys found: the mean of `found / trials` of a pass key table, or of some of its rows.
    ///
    /// ```rhai
    /// accuracy(passkey(#{ lengths: [200], depths: [0.5], trials: 2 }))
    /// ```
    #[rhai_fn(name = "accuracy", return_raw)]
    pub fn accuracy(table: &mut Table) -> Returned<f64> {
        let sum = |name: &str| -> Returned<f64> { Ok(table.0.table.numbers(name).map_err(raise)?.iter().sum()) };
        let (found, trials) = (sum("found")?, sum("trials")?);
        Ok(if trials > 0.0 { found / trials } else { f64::NAN })
    }

    /// The 95 % interval (Wilson) of `hits` of `trials`.
    ///
    /// ```rhai
    /// wilson(9, 10)
    /// ```
    #[rhai_fn(name = "wilson", return_raw)]
    pub fn wilson(hits: i64, trials: i64) -> Returned<Dynamic> {
        let (hits, trials) =
            (crate::functions::calls::count("hits", hits, 0)?, crate::functions::calls::count("trials", trials, 0)?);
        if hits > trials {
            return crate::host::refuse(format!("{hits} hits of {trials} trials are too many"), "give the hits first");
        }
        let (low, high) = longlens_eval::stats::wilson95(hits, trials);
        Ok(Dynamic::from_array(vec![low.into(), high.into()]))
    }
}

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use longlens_app::settings::{Settings, params};
use longlens_app::views;
use longlens_app::views::perplexity::Curve;
use longlens_core::lens::{Lens, LensError, Setup};
use longlens_core::trace::RunRecord;
use longlens_core::written;
use longlens_eval::EvalError;
use longlens_eval::ledger::Ledger;
use longlens_eval::passkey::{Grid, PasskeyReport, Template};
use longlens_eval::perplexity::{
    ByLength, Documents, by_length, depends_on_length, split_at_blank_lines, texts, token_file,
};
use longlens_eval::setup::{PromptSize, SetupFor};
use longlens_plot::color::Palette;
use rhai::{Map, NativeCallContext};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::calls::{self, subtitle, within};
use crate::hash::hash128;
use crate::host::{Host, OpenModel, Returned, host, raise, refuse};
use crate::options::Options;
use crate::running::OfCell;
use crate::table::Table as Rows;
use crate::values::fingerprint;
use crate::values::{Method, Table};

/// Tokens that a pass key's answer may have, at most, beyond its prompt.
const ANSWER: usize = 64;
/// Prompts of one cell.
const MAX_TRIALS: usize = 1_000_000;
/// Held-out texts that are read when nobody says how many.
const DOCUMENTS: usize = 4;

fn passkey(context: &NativeCallContext, options: Map) -> Returned<Table> {
    let host = host(context);
    let known = [
        "lengths",
        "depths",
        "methods",
        "method",
        "trials",
        "template",
        "seed",
        "rope",
        "layer_windows",
        "model",
        "chat",
        "system",
        "date",
    ];
    let mut options = Options::new("passkey", options, &known)?;
    let model = calls::model(&host, &mut options)?;
    let trained = model.info.spec.trained_context;
    let template = options.text("template")?.map(|name| name.parse().map_err(raise)).transpose()?;
    let grid = Grid {
        template: template.unwrap_or(Template::Longlens),
        chat: super::prompt::chat_of(&mut options)?,
        lengths: options.counts("lengths")?.unwrap_or_else(|| vec![trained, 2 * trained, 4 * trained]),
        depths: options.depths("depths")?.unwrap_or_else(|| vec![0.0, 0.25, 0.5, 0.75, 1.0]),
        trials: options.count("trials")?.unwrap_or(1),
        seed: options.setting(params::param("seed"))?.map_or(0, |seed| seed.number() as u64),
    };
    let longest = grid.lengths.iter().copied().max().unwrap_or(0);
    within("length", longest, params::MAX_PROMPT)?;
    within("trials", grid.trials, MAX_TRIALS)?;
    let conditions = calls::conditions(&mut options)?;
    let methods = calls::methods(&mut options)?;
    let (mut reports, started) = (Vec::new(), Instant::now());
    for (at, method) in methods.iter().enumerate() {
        let _part = host.part("passkey", (at, methods.len(), 0), started);
        let mut work = host.work(method.to_string());
        let measured = json!([fingerprint::model(&model), template, grid.chat, grid.trials, grid.seed]);
        let mut journal = Journal::new(context, method, &conditions, &measured);
        let ran = with_setups(context, &model, method, &conditions, ANSWER, |lens, setup_for| {
            longlens_eval::passkey::run(lens, setup_for, &grid, &mut work, &mut journal)
        });
        let report = journal.whole(ran?, |report| report.complete)?;
        report.cells.iter().for_each(|cell| host.ran(&cell.run));
        reports.push(report);
    }
    host.cells.borrow_mut().clear();
    passkey_table(&model, &reports)
}

/// Finished cells of a measurement. The session keeps them until the call that measures is whole, so that one which was
/// stopped goes on.
struct Journal {
    host: Rc<Host>,
    /// What decides the numbers, beside the key of a cell.
    decides: Value,
}

impl Journal {
    fn new(context: &NativeCallContext, method: &Method, conditions: &Settings, measured: &Value) -> Self {
        let rope = conditions.rope.as_ref().map(ToString::to_string);
        let windows = conditions.layer_windows.name();
        let decides = json!([measured, method.to_string(), method.rules(context), rope, windows]);
        Self { host: host(context), decides }
    }

    /// A report that was not cancelled; else an error, which says that finished cells are kept.
    fn whole<T>(&self, report: T, is_complete: impl Fn(&T) -> bool) -> Returned<T> {
        if is_complete(&report) {
            return Ok(report);
        }
        let n_kept = self.host.cells.borrow().len();
        if n_kept > 0 {
            self.host.advise(format!("{n_kept} finished cells are kept: run the same call again to go on"));
        }
        Err(raise(LensError::Cancelled))
    }
}

impl<K: Serialize, T: Serialize + DeserializeOwned> Ledger<K, T> for Journal {
    fn find(&mut self, key: &K) -> Option<T> {
        let key = json!([self.decides, key]).to_string();
        self.host.cells.borrow().get(&key).and_then(|part| serde_json::from_str(part).ok())
    }

    fn finished(&mut self, key: &K, part: &T) {
        if let Ok(part) = serde_json::to_string(part) {
            self.host.cells.borrow_mut().insert(json!([self.decides, key]).to_string(), part);
        }
    }
}

/// Measures with setups for a method that may be written in the session: what its functions say when they fail is the error.
pub(super) fn with_setups<T>(
    context: &NativeCallContext,
    model: &OpenModel,
    method: &Method,
    conditions: &Settings,
    beyond: usize,
    measure: impl FnOnce(&mut dyn Lens, &mut SetupFor) -> Result<T, EvalError>,
) -> Returned<T> {
    let mut failed = None;
    let mut setup_for = setup_for(context, model, method, conditions, beyond, &mut failed);
    let measured = measure(&mut *model.lens(None)?, &mut setup_for);
    drop(setup_for);
    measured.map_err(|error| failed.take().unwrap_or_else(|| raise(error)))
}

/// Makes setups for a method that may be written in the session; what the script says when it fails goes to `failed`.
fn setup_for<'a>(
    context: &'a NativeCallContext,
    model: &'a OpenModel,
    method: &'a Method,
    conditions: &'a Settings,
    beyond: usize,
    failed: &'a mut Option<Box<rhai::EvalAltResult>>,
) -> impl FnMut(PromptSize) -> Result<Setup, LensError> + 'a {
    let covers = move |n_tokens: usize| match method {
        Method::Plain(_) => n_tokens,
        // an answer is rarely as long as it may be: the last lengths are not lost for it
        Method::Written(_) => (n_tokens + beyond).min(written::MAX_TOKENS).max(n_tokens),
    };
    move |size| match method.of(context, covers(size.n_tokens.max(size.target))) {
        Ok(method) => Ok(Settings { method, ..conditions.clone() }.setup(&model.info.spec, size.n_tokens)?),
        Err(error) => {
            *failed = Some(error);
            Err(LensError::Cancelled)
        }
    }
}

fn passkey_table(model: &OpenModel, reports: &[PasskeyReport]) -> Returned<Table> {
    let mut records: Vec<RunRecord> = Vec::new();
    for cell in reports.iter().flat_map(|report| &report.cells) {
        if !records.contains(&cell.run) {
            records.push(cell.run.clone());
        }
    }
    Table::of_view(&views::passkey::passkey(reports, &model.info.spec, Palette::default()), records)
}

fn perplexity(context: &NativeCallContext, options: Map) -> Returned<Table> {
    let host = host(context);
    let known = [
        "file",
        "text",
        "split_documents",
        "tokens",
        "token_format",
        "lengths",
        "methods",
        "method",
        "documents",
        "last",
        "rope",
        "layer_windows",
        "model",
    ];
    let mut options = Options::new("perplexity", options, &known)?;
    let model = calls::model(&host, &mut options)?;
    let trained = model.info.spec.trained_context;
    let lengths = options.counts("lengths")?.unwrap_or_else(|| (0..4).map(|n| trained << n).collect());
    let longest = lengths.iter().copied().max().unwrap_or(1);
    let documents = documents(&host, &model, &mut options, longest)?;
    let last = options.count("last")?;
    let conditions = calls::conditions(&mut options)?;
    let methods = calls::methods(&mut options)?;
    let rope = conditions.rope(&model.info.spec);
    let frequencies = rope.resolve(&model.info.spec).map_err(raise)?;
    let (mut curves, mut records, started) = (Vec::new(), Vec::new(), Instant::now());
    for (at, method) in methods.iter().enumerate() {
        let settings = Settings { method: method.of(context, longest)?, ..conditions.clone() };
        let plan = settings.plan(&model.info.spec).map_err(raise)?;
        let prefill_per_length = depends_on_length(&plan, &frequencies);
        let ask = ByLength { lengths: lengths.clone(), last, prefill_per_length };
        let _part = host.part("perplexity", (at, methods.len(), 0), started);
        let mut work = host.work(method.to_string());
        let measured =
            json!([fingerprint::model(&model), hash128(&format!("{:?}", documents.tokens)), last, prefill_per_length]);
        let mut journal = Journal::new(context, method, &conditions, &measured);
        let ran = with_setups(context, &model, method, &conditions, 0, |lens, setup_for| {
            by_length(lens, setup_for, &documents.tokens, &ask, &mut work, &mut journal)
        });
        let report = journal.whole(ran?, |report| report.complete)?;
        host.ran(&report.run);
        records.push(report.run.clone());
        curves.push(Curve::of_documents(report.run.method.clone(), report).noting(documents.note().as_deref()));
    }
    host.cells.borrow_mut().clear();
    let subtitle = subtitle(&model.info, &rope);
    match views::perplexity::perplexity(&curves, trained, last.unwrap_or(trained), &subtitle) {
        Some(view) => Table::of_view(&view, records),
        None => Ok(Table::plain(Rows::default())),
    }
}

/// What the options name: a file of texts or of token ids, or the texts that come with the model. `longest` is what a
/// document needs.
fn documents(host: &Host, model: &OpenModel, options: &mut Options, longest: usize) -> Returned<Documents> {
    let (file, text) = (options.text("file")?, options.text("text")?);
    let split = options.flag("split_documents")?.unwrap_or(false);
    let tokens = options.text("tokens")?;
    let format = options.text("token_format")?.map(|name| name.parse().map_err(raise)).transpose()?;
    let at_most = options.count("documents")?;
    if at_most == Some(0) {
        return refuse("there are no documents to measure", "give `documents` 1 or more");
    }
    let named: Vec<_> = [&file, &text, &tokens].into_iter().flatten().collect();
    if named.len() > 1 {
        return refuse("`perplexity` measures one file", "keep one of `file` (or `text`) and `tokens`");
    }
    if let Some(name) = tokens {
        let bytes = super::files::read(host, &name)?;
        let ids = token_file(Path::new(&name), &bytes, model.info.spec.vocab_size, format).map_err(raise)?;
        return Documents::of_file(ids, longest, at_most.unwrap_or(usize::MAX)).map_err(raise);
    }
    let (texts, at_most) = match file.or(text) {
        Some(name) => {
            let bytes = super::files::read(host, &name)?;
            let texts = texts(Path::new(&name), bytes, split, &OfCell).map_err(raise)?;
            texts.warnings.iter().for_each(|warning| host.note(warning));
            (texts.documents, at_most.unwrap_or(usize::MAX))
        }
        None => match host.held_out(model) {
            Some(text) => {
                let texts = split_at_blank_lines(&text).into_iter().map(str::to_owned).collect();
                (texts, at_most.unwrap_or(DOCUMENTS))
            }
            None => return refuse("there is no text to measure", "name a file, as in `file: \"book.txt\"`"),
        },
    };
    model.text(|codec| Documents::encode(codec, &texts, longest, at_most).map_err(raise))
}
