//! Every sample in columns of packed numbers and distinct texts, so that ten thousand fit into a file that mail takes.

use std::collections::HashMap;

use longlens_eval::evaluate::{Outcome, Record, once_each};
use longlens_plot::page::packed;
use serde_json::{Map, Value, json};

use super::tables::Tables;

/// How much of long texts is kept, from all of it to hardly any; the first with which the columns have room is taken.
const CUTS: [Cut; 5] = [
    Cut { output: usize::MAX, passage: usize::MAX, n_passages: usize::MAX },
    Cut { output: 8000, passage: 400, n_passages: 5 },
    Cut { output: 2000, passage: 240, n_passages: 3 },
    Cut { output: 600, passage: 120, n_passages: 1 },
    Cut { output: 160, passage: 0, n_passages: 0 },
];
/// Letters of all columns at most; script, styles and tables come to little beside them.
pub const ROOM: usize = 8_000_000;

/// Letters of texts at most, and how many passages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    output: usize,
    passage: usize,
    n_passages: usize,
}

/// Texts, each kept once.
#[derive(Default)]
struct Texts {
    at: HashMap<String, u32>,
    all: Vec<String>,
}

impl Texts {
    fn put(&mut self, text: &str) -> u32 {
        if let Some(at) = self.at.get(text) {
            return *at;
        }
        let at = self.all.len() as u32;
        self.at.insert(text.to_owned(), at);
        self.all.push(text.to_owned());
        at
    }
}

/// Columns of numbers and of texts by name.
#[derive(Default)]
struct Columns {
    whole: Vec<(&'static str, Vec<u32>)>,
    exact: Vec<(&'static str, Vec<f64>)>,
    texts: Vec<(&'static str, Texts)>,
}

impl Columns {
    fn whole(&mut self, name: &'static str, value: usize) {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        match self.whole.iter_mut().find(|(known, _)| *known == name) {
            Some((_, column)) => column.push(value),
            None => self.whole.push((name, vec![value])),
        }
    }

    fn exact(&mut self, name: &'static str, value: Option<f64>) {
        let value = value.unwrap_or(f64::NAN);
        match self.exact.iter_mut().find(|(known, _)| *known == name) {
            Some((_, column)) => column.push(value),
            None => self.exact.push((name, vec![value])),
        }
    }

    /// A text as its number among the distinct ones of `name`, in a column of the same name.
    fn text(&mut self, name: &'static str, text: &str) {
        let known = self.texts.iter().position(|(known, _)| *known == name);
        let place = known.unwrap_or_else(|| {
            self.texts.push((name, Texts::default()));
            self.texts.len() - 1
        });
        let at = self.texts[place].1.put(text);
        self.whole(name, at as usize);
    }

    fn packed(&self) -> (Value, usize) {
        let mut size = 0;
        let mut map = |columns: Vec<(&'static str, Value)>| -> Value {
            size += columns.iter().map(|(_, packed)| packed::size(packed)).sum::<usize>();
            Value::Object(columns.into_iter().map(|(name, packed)| (name.to_owned(), packed)).collect::<Map<_, _>>())
        };
        let whole = map(self.whole.iter().map(|(name, column)| (*name, packed::whole(column))).collect());
        let exact = map(self.exact.iter().map(|(name, column)| (*name, packed::exact(column))).collect());
        let texts = map(self.texts.iter().map(|(name, texts)| (*name, packed::texts(&texts.all))).collect());
        (json!({ "whole": whole, "exact": exact, "texts": texts }), size)
    }
}

/// The columns of all samples. Where they have no room long texts are cut, and then the last samples are left out; `stored` says so.
pub(super) fn columns(records: &[Record], tables: &Tables) -> Value {
    let records = once_each(records);
    let with = |mut columns: Value, n: usize, stored: Vec<String>| {
        columns["n"] = json!(n);
        columns["stored"] = json!(stored);
        columns
    };
    for cut in CUTS {
        let (columns, size) = filled(&records, tables, cut).packed();
        if size <= ROOM {
            return with(columns, records.len(), said(cut, &records));
        }
    }
    let (mut n, last) = (records.len(), CUTS[CUTS.len() - 1]);
    loop {
        n /= 2;
        let (columns, size) = filled(&records[..n], tables, last).packed();
        if size <= ROOM || n == 0 {
            let mut stored = said(last, &records);
            stored.push(format!("Only the first {n} of {} samples are stored; tables are of all.", records.len()));
            return with(columns, n, stored);
        }
    }
}

/// What a cut took, as sentences.
fn said(cut: Cut, records: &[&Record]) -> Vec<String> {
    let mut said =
        vec!["Prompts are not stored: their SHA-256 is, and the task with its settings makes them again.".to_owned()];
    let is_cut = |record: &&&Record| record.answer().is_some_and(|answer| answer.output.chars().count() > cut.output);
    let n = records.iter().filter(is_cut).count();
    if n > 0 {
        said.push(format!("Answers are cut to {} letters to keep the file small; {n} are longer.", cut.output));
    }
    if cut.n_passages < usize::MAX && records.iter().any(|record| record.attended.is_some()) {
        said.push(format!(
            "Of passages at most {} a sample are stored, cut to {} letters.",
            cut.n_passages, cut.passage
        ));
    }
    said
}

fn filled(records: &[&Record], tables: &Tables, cut: Cut) -> Columns {
    let mut columns = Columns::default();
    for record in records {
        put(&mut columns, record, tables, cut);
    }
    columns
}

fn put(columns: &mut Columns, record: &Record, tables: &Tables, cut: Cut) {
    let (table, column) = tables.place_of(record).unwrap_or((0, 0));
    columns.whole("table", table);
    columns.whole("column", column);
    columns.whole("subject", tables.subject_of(record).unwrap_or(0));
    columns.exact("depth", record.depth);
    columns.text("id", &record.id);
    columns.text("setting", &record.setting);
    columns.text("key", record.key.get(..12).unwrap_or(&record.key));
    columns.text("prompt", &record.prompt_sha256);
    columns.text("template", &record.template);
    columns.text("kernel_path", &record.run.kernel_path);
    columns.text("version", &record.run.version);
    columns.text("answers", &serde_json::to_string(&record.answers).unwrap_or_default());
    columns.whole("mode", usize::from(record.mode == longlens_eval::scorers::Mode::Fixed));
    columns.whole("n_prompt", record.n_prompt);
    columns.whole("n_shared", record.n_shared);
    columns.whole("n_truncated", record.n_truncated);
    columns.exact("seconds", Some(record.seconds));
    columns.exact("finished", Some(record.finished as f64));
    put_outcome(columns, record, cut);
    put_attended(columns, record, cut);
}

fn put_outcome(columns: &mut Columns, record: &Record, cut: Cut) {
    let kind = match &record.outcome {
        Outcome::Answered(_) => "answered",
        Outcome::Measured { .. } => "measured",
        Outcome::Skipped => "skipped",
    };
    columns.text("outcome", kind);
    let loss = match &record.outcome {
        Outcome::Measured { mean_nll, n_scored, .. } => Some((*mean_nll, *n_scored)),
        _ => None,
    };
    columns.exact("loss", loss.map(|(loss, _)| loss));
    columns.whole("n_scored", loss.map_or(0, |(_, n)| n));
    let answer = record.answer();
    // per cent of a perfect answer; an exception has none
    let per_cent = |value: &Value, scale: f64| Some(100.0 * longlens_eval::evaluate::number(value)? / scale);
    columns.exact("faithful", answer.and_then(|answer| per_cent(&answer.faithful, answer.scale)));
    columns.exact("fixed", answer.and_then(|answer| per_cent(&answer.fixed, answer.scale)));
    // as the scorer gave them, where that is more than a number
    let whole = |value: &Value| match value {
        Value::Bool(_) | Value::Number(_) => String::new(),
        value => value.to_string(),
    };
    columns.text("faithful_value", &answer.map(|answer| whole(&answer.faithful)).unwrap_or_default());
    columns.text("fixed_value", &answer.map(|answer| whole(&answer.fixed)).unwrap_or_default());
    columns.text("scorer", answer.map_or("", |answer| &answer.scorer));
    let stop = answer.and_then(|answer| serde_json::to_value(answer.stop).ok());
    columns.text("stop", stop.as_ref().and_then(Value::as_str).unwrap_or_default());
    columns.whole("n_generated", answer.map_or(0, |answer| answer.n_generated));
    columns.exact("first_token", answer.map(|answer| answer.seconds_to_first_token));
    columns.text("output", &answer.map(|answer| first(&answer.output, cut.output)).unwrap_or_default());
    let extracted = answer.and_then(|answer| answer.extracted.as_deref());
    columns.whole("has_extracted", usize::from(extracted.is_some()));
    columns.text("extracted", &first(extracted.unwrap_or_default(), cut.output));
}

fn put_attended(columns: &mut Columns, record: &Record, cut: Cut) {
    let attended = record.attended.as_ref();
    columns.text("evidence", &attended.map(|of| json!(of.evidence).to_string()).unwrap_or_default());
    let shares = attended
        .into_iter()
        .flat_map(|of| of.heads.iter().enumerate())
        .flat_map(|(layer, heads)| heads.iter().enumerate().map(move |(head, share)| (layer, head, *share)));
    let top = shares.max_by(|a, b| a.2.total_cmp(&b.2).then((b.0, b.1).cmp(&(a.0, a.1))));
    columns.whole("top_layer", top.map_or(0, |(layer, ..)| layer));
    columns.whole("top_head", top.map_or(0, |(_, head, _)| head));
    columns.exact("top_share", top.map(|(.., share)| f64::from(share)));
    // each passage by itself, since methods that are compared look at the same ones
    let passages = attended.map(|of| &of.passages[..]).unwrap_or_default();
    let kept = &passages[..passages.len().min(cut.n_passages)];
    columns.whole("n_passages", kept.len());
    for passage in kept {
        let text = first(&passage.text, cut.passage);
        columns.text("passage", &text);
        columns.whole("passage_start", passage.tokens.0);
        columns.whole("passage_end", passage.tokens.1);
        columns.exact("passage_mass", Some(f64::from(passage.mass)));
    }
}

/// The first letters of a text, with a sign where some are missing.
fn first(text: &str, n: usize) -> String {
    match text.char_indices().nth(n) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
