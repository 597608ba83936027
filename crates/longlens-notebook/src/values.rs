//! What the language's variables hold besides numbers, texts, lists and maps: handles that are cheap to copy, print well, and
//! draw themselves where there is a picture.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use longlens_app::kept::KeptFile;
use longlens_app::prompt;
use longlens_app::views::Plot;
use longlens_core::printable::excerpt;
use longlens_core::rope::RopeScaling;
use longlens_core::trace::RunRecord;
use longlens_eval::document::Document;
use longlens_plot::canvas;
use rhai::{Dynamic, ImmutableString, Map};

pub use self::html::Html;
pub use self::method::Method;
pub use self::run::Run;
pub use self::trace::{Trace, TraceValue, ViewOfTrace};
use crate::document::escaped;
use crate::host::{Host, OpenModel, Returned, raise, refuse};
use crate::options::wrong;
use crate::shown::Shown;
use crate::table::{self, TableError};

pub mod data;
pub mod fingerprint;
mod html;
mod method;
pub mod predicted;
mod run;
pub mod size;
mod trace;

/// A model that was opened.
#[derive(Clone)]
pub struct Model(pub Rc<OpenModel>);

#[derive(Clone, PartialEq)]
pub struct Rope(pub RopeScaling);

/// A prompt, made of tokens of one model.
#[derive(Clone)]
pub struct Prompt {
    /// What it is.
    pub built: Arc<prompt::Prompt>,
    /// Whose tokens it is made of.
    pub model: Rc<OpenModel>,
    /// The document that it tells, where it was read from a file.
    document: Option<Arc<Document>>,
}

/// A table, with what ran to fill it, and a picture where it has one.
#[derive(Clone)]
pub struct Table(pub Rc<TableValue>);

/// What a [`Table`] holds.
#[derive(Clone, Default)]
pub struct TableValue {
    /// The numbers.
    pub table: table::Table,
    /// Draws the whole table.
    pub figure: Option<Arc<dyn canvas::Figure>>,
    /// What ran to fill it.
    pub records: Vec<RunRecord>,
    /// How it was measured; empty where that goes without saying.
    pub protocol: String,
}

/// A picture, with the numbers behind it, and of a trace what it is a view of.
#[derive(Clone)]
pub struct Figure(pub Rc<Plot>, pub Option<Rc<ViewOfTrace>>);

/// A figure that is shown as a page, which answers to mouse and keys.
#[derive(Clone)]
pub struct Interactive(pub Rc<Plot>);

impl Model {
    /// In words.
    pub fn shown(&self) -> String {
        let info = &self.0.info;
        let spec = &info.spec;
        let grouped =
            if spec.n_kv_heads == spec.n_heads { String::new() } else { format!(" ({} of keys)", spec.n_kv_heads) };
        format!(
            "{} ({}): {} layers of {} heads{grouped}, {} parameters, trained on {} tokens, {}, {}",
            info.name,
            info.family,
            spec.n_layers,
            spec.n_heads,
            info.n_parameters,
            spec.trained_context,
            info.dtype,
            info.kernel_path
        )
    }
}

impl Prompt {
    /// A prompt made for a model; what a user should know of it is said.
    pub fn build(host: &Host, source: &prompt::PromptSource, model: &Rc<OpenModel>) -> Returned<Self> {
        let built = model.text(|codec| source.build(codec).map_err(raise))?;
        host.caution(&built.warnings);
        Ok(Self { built: Arc::new(built), model: model.clone(), document: None })
    }

    /// A prompt with a document that was read already; what a user should know of it is said.
    pub fn of_document(
        host: &Host,
        source: &prompt::PromptSource,
        document: impl Into<Arc<Document>>,
        model: &Rc<OpenModel>,
    ) -> Returned<Self> {
        let document = document.into();
        let built = model.text(|codec| source.of_document(&document, codec).map_err(raise))?;
        host.caution(&built.warnings);
        Ok(Self { built: Arc::new(built), model: model.clone(), document: Some(document) })
    }

    /// A prompt whose kept beginning is open already.
    pub fn of_kept(source: &prompt::PromptSource, file: &KeptFile, model: &Rc<OpenModel>) -> Returned<Self> {
        let built = model.text(|codec| source.of_kept(file, codec).map_err(raise))?;
        Ok(Self { built: Arc::new(built), model: model.clone(), document: None })
    }

    /// The same prompt in tokens of `model`.
    fn of(&self, host: &Host, model: &Rc<OpenModel>) -> Returned<Self> {
        if Rc::ptr_eq(model, &self.model) {
            return Ok(self.clone());
        }
        // the file may be another by now, or one that cells may not read
        match &self.document {
            Some(document) => Self::of_document(host, &self.built.source, document.clone(), model),
            None => Self::build(host, &self.built.source, model),
        }
    }
}

impl Figure {
    /// A picture that is of no trace.
    pub fn new(plot: Plot) -> Self {
        Self(plot.into(), None)
    }

    /// The same with what its page shows: of a trace the model is asked for more.
    pub fn with_page(&self, host: &Host) -> Returned<Rc<Plot>> {
        let Some(view) = &self.1 else { return Ok(self.0.clone()) };
        Ok(Plot::clone(&self.0).with_page(view.page(host)?).into())
    }
}

impl Interactive {
    /// Pixels of the frame in a notebook.
    const HEIGHT: u32 = 860;

    /// The page in a frame, with the picture beside it for where scripts do not run.
    fn shown(&self) -> Shown {
        let shown = Shown::figure(self.0.text.clone(), self.0.figure.clone());
        match self.0.page() {
            Ok(page) => Shown { frame: Some(page.frame(Self::HEIGHT)), ..shown },
            Err(_) => shown,
        }
    }
}

/// Bytes of a row of a view's table at most, and of the same row in the language.
const ROW_BYTES: u64 = 640;

impl Table {
    /// A table without a picture.
    pub fn plain(table: table::Table) -> Self {
        Self(Rc::new(TableValue { table, ..TableValue::default() }))
    }

    /// The numbers behind a view, with its picture; `records` are of what ran for it.
    pub fn of_view(view: &Plot, records: Vec<RunRecord>) -> Returned<Self> {
        // as a table of the language it is there a second time, each number in a cell of its own
        crate::running::room_for(view.n_rows() as u64 * ROW_BYTES).map_err(|full| raise(TableError::from(full)))?;
        let Some(numbers) = view.table() else {
            return refuse("there are no numbers behind this picture", "it was drawn from a table that you have");
        };
        let table = table::Table::of_view(&numbers).map_err(raise)?;
        let (figure, protocol) = (Some(view.figure.clone()), view.text.clone());
        Ok(Self(Rc::new(TableValue { table, figure, records, protocol })))
    }

    /// The rows that are kept, with the same picture.
    pub fn keeping(&self, is_kept: impl Fn(&[table::Datum]) -> bool) -> Returned<Self> {
        let TableValue { table, figure, records, protocol } = &*self.0;
        let rows = table.rows().iter().filter(|row| is_kept(row)).cloned().collect();
        let table = table::Table::new(table.columns().to_vec(), rows).map_err(raise)?;
        let (figure, records, protocol) = (figure.clone(), records.clone(), protocol.clone());
        Ok(Self(Rc::new(TableValue { table, figure, records, protocol })))
    }

    /// A table made from this one: the same runs, no picture.
    #[must_use]
    pub fn with(&self, table: table::Table) -> Self {
        let (records, protocol) = (self.0.records.clone(), self.0.protocol.clone());
        Self(Rc::new(TableValue { table, figure: None, records, protocol }))
    }
}

/// Reads a prompt, in tokens of `model`: a handle, or a text.
pub fn to_prompt(host: &Host, value: &Dynamic, model: &Rc<OpenModel>, what: &str) -> Returned<Prompt> {
    let value = value.flatten_clone();
    if let Some(prompt) = value.clone().try_cast::<Prompt>() {
        return prompt.of(host, model);
    }
    match value.clone().into_immutable_string() {
        Ok(text) => Prompt::build(host, &prompt::PromptSource::Text(text.to_string()), model),
        Err(_) => Err(wrong(what, "a prompt or a text", &value)),
    }
}

/// Reads a scaling: a handle, or its text form.
pub fn to_rope(value: &Dynamic, what: &str) -> Returned<RopeScaling> {
    let value = value.flatten_clone();
    if let Some(rope) = value.clone().try_cast::<Rope>() {
        return Ok(rope.0);
    }
    match value.clone().into_immutable_string() {
        Ok(text) => RopeScaling::parse(&text).map_err(raise),
        Err(_) => Err(wrong(what, "a RoPE scaling, as in rope(\"yarn:factor=8\")", &value)),
    }
}

/// What a record says, as a map of the language.
pub fn record_map(record: &RunRecord) -> Map {
    let mut map = Map::new();
    let texts = [
        ("model", &record.model),
        ("method", &record.method),
        ("rope", &record.rope),
        ("dtype", &record.dtype),
        ("kernel_path", &record.kernel_path),
        ("mode", &record.mode),
        ("version", &record.version),
    ];
    for (name, text) in texts {
        map.insert(name.into(), text.clone().into());
    }
    map.extend(record.layer_windows.iter().map(|windows| ("layer_windows".into(), windows.clone().into())));
    map.insert("n_prompt".into(), (record.n_prompt as i64).into());
    map
}

/// How a value is shown after a cell; nothing for `()`.
pub fn show(value: &Dynamic) -> Option<Shown> {
    let value = value.flatten_clone();
    if value.is_unit() {
        return None;
    }
    if let Some(table) = value.clone().try_cast::<Table>() {
        return Some(table.shown());
    }
    if let Some(figure) = value.clone().try_cast::<Figure>() {
        return Some(Shown::figure(figure.0.text.clone(), figure.0.figure.clone()));
    }
    if let Some(interactive) = value.clone().try_cast::<Interactive>() {
        return Some(interactive.shown());
    }
    if let Some(trace) = value.clone().try_cast::<Trace>() {
        return Some(trace.shown());
    }
    if let Some(html) = value.clone().try_cast::<Html>() {
        return Some(html.shown());
    }
    Some(Shown::text(text(&value)))
}

/// A value in words, for people: texts as they are at the top, in quotes inside lists and maps. Of long lists and texts inside
/// others the start.
pub fn text(value: &Dynamic) -> String {
    match value.clone().into_immutable_string() {
        Ok(text) => text.to_string(),
        Err(_) => nested(value, 0, Extent::Start),
    }
}

/// The same with everything that is in it, for tables and files.
pub fn whole_text(value: &Dynamic) -> String {
    match value.clone().into_immutable_string() {
        Ok(text) => text.to_string(),
        Err(_) => nested(value, 0, Extent::Whole),
    }
}

/// How much of long lists and texts is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Start,
    Whole,
}

/// What `print` says of a value: a table's rows, everything else in words.
pub fn printed(value: &Dynamic) -> String {
    match value.clone().try_cast::<Table>() {
        Some(table) => table.shown().text,
        None => text(value),
    }
}

/// Lines shorter than this keep a list or a map together.
const LINE: usize = 100;
/// Entries shorter than this share lines.
const SHORT: usize = 24;
/// Characters of a text in a list or a map that are written out.
const LETTERS: usize = 10_000;
/// Entries of a list that are written out.
const ENTRIES: usize = 200;

fn nested(value: &Dynamic, depth: usize, extent: Extent) -> String {
    let value = value.flatten_clone();
    let most = if extent == Extent::Whole { usize::MAX } else { ENTRIES };
    if depth > 16 && extent == Extent::Start {
        return "…".into();
    }
    if let Some(list) = value.read_lock::<rhai::Array>() {
        let parts = list.iter().take(most).map(|part| nested(part, depth + 1, extent));
        return bracketed(parts.collect(), list.len(), ["[", "]"], depth);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let is_plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
        let named = |name: &str| if is_plain(name) { name.to_owned() } else { format!("{name:?}") };
        let parts =
            map.iter().take(most).map(|(name, part)| format!("{}: {}", named(name), nested(part, depth + 1, extent)));
        return bracketed(parts.collect(), map.len(), ["#{", "}"], depth);
    }
    if let Some(sign) = value.as_char().ok().filter(|_| depth > 0) {
        return format!("{sign:?}");
    }
    match value.clone().try_cast::<Run>() {
        // what it says line by line is for the top
        Some(run) if depth > 0 => format!("run of {}", run.to_string().lines().next().unwrap_or_default()),
        _ => plain(&value, extent),
    }
}

/// Parts in brackets, on one line where they fit; short ones share lines.
fn bracketed(mut parts: Vec<String>, n: usize, [open, close]: [&str; 2], depth: usize) -> String {
    if parts.len() < n {
        parts.push(format!("… {} more", n - parts.len()));
    }
    let line = parts.join(", ");
    if line.chars().count() + 4 * depth < LINE && !line.contains('\n') {
        return format!("{open}{line}{close}");
    }
    let indent = "    ".repeat(depth + 1);
    let is_short = open == "[" && parts.iter().all(|part| part.chars().count() < SHORT && !part.contains('\n'));
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if is_short && line.chars().count() + part.chars().count() + indent.len() < LINE => {
                *line = format!("{line}, {part}");
            }
            _ => lines.push(part),
        }
    }
    format!("{open}\n{indent}{}\n{}{close}", lines.join(&format!(",\n{indent}")), "    ".repeat(depth))
}

fn plain(value: &Dynamic, extent: Extent) -> String {
    if value.is_unit() {
        return "()".into();
    }
    if let Ok(text) = value.clone().into_immutable_string() {
        let most = if extent == Extent::Whole { usize::MAX } else { LETTERS };
        return format!("{:?}", excerpt(&text, 0, most).0);
    }
    if let Ok(number) = value.as_float() {
        return number_text(number);
    }
    if let Some(model) = value.clone().try_cast::<Model>() {
        return model.shown();
    }
    if let Some(method) = value.clone().try_cast::<Method>() {
        return method.to_string();
    }
    if let Some(rope) = value.clone().try_cast::<Rope>() {
        return rope.0.to_string();
    }
    if let Some(prompt) = value.clone().try_cast::<Prompt>() {
        return prompt.to_string();
    }
    if let Some(run) = value.clone().try_cast::<Run>() {
        return run.to_string();
    }
    if let Some(trace) = value.clone().try_cast::<Trace>() {
        return trace.shown().text;
    }
    if let Some(table) = value.clone().try_cast::<Table>() {
        let (rows, columns) = (table.0.table.n_rows(), table.0.table.columns().len());
        return format!("table of {rows} rows, {columns} columns");
    }
    if let Some(figure) = value.clone().try_cast::<Figure>() {
        return figure.0.text.clone();
    }
    if let Some(interactive) = value.clone().try_cast::<Interactive>() {
        return format!("page of {}", interactive.0.text);
    }
    if let Some(function) = value.clone().try_cast::<rhai::FnPtr>() {
        return if function.is_anonymous() { "a function".into() } else { format!("function {}", function.fn_name()) };
    }
    if let Some(html) = value.clone().try_cast::<Html>() {
        return html.text();
    }
    if let Some(problem) = value.clone().try_cast::<longlens_app::Problem>() {
        return problem.message;
    }
    value.to_string()
}

/// A number with as many digits as tell it apart, and at least one after the point.
pub fn number_text(number: f64) -> String {
    let size = number.abs();
    if number.is_finite() && size != 0.0 && !(1e-4..1e15).contains(&size) {
        format!("{number:e}")
    } else {
        format!("{number:?}")
    }
}

thread_local! {
    /// Characters of a line of a table; a session and what it shows live on one thread.
    static WIDTH: Cell<usize> = const { Cell::new(120) };
}

/// Sets how wide the lines of tables may be from now on, in this thread's session.
pub fn set_width(columns: usize) {
    WIDTH.set(columns.clamp(40, 400));
}

impl Table {
    /// Rows that are shown; the rest is counted.
    const ROWS: usize = 40;
    /// The table as text, HTML and picture.
    pub fn shown(&self) -> Shown {
        let value = &self.0;
        let mut text = value.table.to_text(Self::ROWS, WIDTH.get());
        let mut html = value.table.to_html(Self::ROWS);
        if !value.protocol.is_empty() {
            text = format!("{}\n{}", text.trim_end(), value.protocol);
            let lines: Vec<String> = value.protocol.lines().map(escaped).collect();
            html = format!("{html}\n<p>{}</p>", lines.join("<br>"));
        }
        let caption = match value.protocol.as_str() {
            "" => "picture of the table below".to_owned(),
            protocol => format!("picture of the table below: {protocol}"),
        };
        Shown { html: Some(html), figure: value.figure.clone(), caption, ..Shown::text(text.trim_end()) }
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} tokens", self.built.source, self.built.tokens.len())?;
        let Some(needle) = &self.built.needle else { return Ok(()) };
        write!(f, ", key {} in tokens {} to {}", needle.key, needle.tokens.start, needle.tokens.end.saturating_sub(1))
    }
}

/// A text of the language.
pub fn string(text: impl Into<ImmutableString>) -> Dynamic {
    Dynamic::from(text.into())
}

/// A number as labels show it: whole ones without a point.
pub fn short_number(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { format!("{number:.0}") } else { number_text(number) }
}
