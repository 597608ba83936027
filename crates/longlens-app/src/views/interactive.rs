//! Pages that answer to mouse and keys: what each view puts into one, beside the table and what was run.
//!
//! A page is made of numbers that are recorded for it alone, so that it says the same whatever was looked at before; it has a size that
//! mail takes, and says what it left out for that.

use longlens_core::trace::{Trace, Watch};
use longlens_plot::Ground;
use longlens_plot::page::{Page, packed};
use serde_json::{Map, Value, json};

use super::{Plot, Subject, Table, TraceView};
use crate::problem::Problem;

pub(super) mod heads;
pub(super) mod lines;
pub(super) mod map;

/// Records more of a sequence that has run, as [`longlens_core::lens::Lens::inspect`] does.
pub type Record<'a> = dyn FnMut(&Watch) -> Result<Trace, Problem> + 'a;

/// Letters of a page's packed arrays at most; script, styles, table and what was run come to less than 200,000.
const ROOM: usize = 1_500_000;
/// Letters of the prompt's text at most.
const TEXT_ROOM: usize = 700_000;
/// Rows of a table that a page holds; beyond them it holds the first.
const MAX_ROWS: usize = 3000;
/// A table of more rows is not made for a page.
const MAX_MADE: usize = 1 << 18;

impl Subject<'_> {
    /// The page of one of the views of a trace; `record` looks at more of the sequence. Nothing where the view has a picture and a
    /// table alone.
    pub fn page(
        &self,
        view: &dyn TraceView,
        options: &longlens_core::setting::Setting,
        record: &mut Record,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        let page = view.page(self, options, record)?;
        Ok(page.map(|mut page| {
            page.insert("needle".into(), json!(self.needle.as_ref().map(|needle| [needle.start, needle.end])));
            page.insert("n_tokens".into(), json!(self.n_tokens));
            page.insert("n_prompt".into(), json!(self.setup.n_prompt));
            page.insert("off".into(), json!(self.switched_off()));
            page
        }))
    }
}

/// What a page still has room for, and what it had none for.
pub(super) struct Room {
    left: usize,
    left_out: Vec<String>,
    stored: Vec<String>,
}

impl Room {
    pub fn new() -> Self {
        Self { left: ROOM, left_out: Vec::new(), stored: Vec::new() }
    }

    /// The packed thing where there is room for it, else nothing; `what` is then told.
    pub fn take(&mut self, what: impl Into<String>, packed: Value) -> Value {
        let size = packed::size(&packed);
        if size > self.left {
            self.left_out.push(what.into());
            return Value::Null;
        }
        self.left -= size;
        packed
    }

    /// A sentence on what is stored.
    pub fn says(&mut self, sentence: impl Into<String>) {
        self.stored.push(sentence.into());
    }

    /// The tokens of the text, the first ones where all do not fit.
    pub fn texts(&mut self, pieces: &[String]) -> Value {
        let mut n = pieces.len();
        if n == 0 {
            self.says("The text of the tokens is not stored: the model came without a tokenizer.");
            return Value::Null;
        }
        let packed = loop {
            let packed = packed::texts(&pieces[..n]);
            if packed::size(&packed) <= self.left.min(TEXT_ROOM) || n == 1 {
                break packed;
            }
            n /= 2;
        };
        if n < pieces.len() {
            self.says(format!("The text of the first {n} of {} tokens is stored.", pieces.len()));
        } else {
            self.says(format!("The text of all {n} tokens is stored."));
        }
        self.take("the text", packed)
    }

    /// The sentences on what is stored and what is not.
    pub fn sentences(mut self) -> Value {
        if !self.left_out.is_empty() {
            self.stored.push(format!("Left out, to keep the file small: {}.", self.left_out.join("; ")));
        }
        json!(self.stored)
    }
}

/// How exact shares are that [`packed::shares`] stores.
pub(super) fn on_shares() -> String {
    format!(
        "Where many shares are stored, each takes 8 bits on a logarithmic scale: right to {:.1} % of itself, and 0 below {:e}.",
        100.0 * packed::share_error(),
        packed::FLOOR
    )
}

impl Plot {
    /// The same with what its page shows beside the table; without that a page shows the picture.
    #[must_use]
    pub fn with_page(self, page: Option<Map<String, Value>>) -> Self {
        Self { page, ..self }
    }

    /// The view as a page that answers to mouse and keys.
    pub fn page(&self) -> Result<Page, Problem> {
        let mut data = Map::new();
        let view = self.about["view"].as_str().unwrap_or("view");
        data.insert("view".into(), json!(view));
        data.insert("text".into(), json!(self.text));
        // a light page may turn dark where its reader's system is
        data.extend((self.ground == Ground::Dark).then(|| ("theme".into(), json!(self.ground.name()))));
        if let Some(page) = &self.page {
            data.extend(page.clone());
        } else {
            data.insert("kind".into(), json!("picture"));
            data.insert("picture".into(), json!(String::from_utf8_lossy(&self.bytes("svg")?)));
        }
        data.insert("about".into(), Value::Object(self.about.clone()));
        data.insert("records".into(), json!(self.records));
        data.insert("table".into(), self.table_of_page());
        let methods: Vec<&str> = self.records.iter().map(|run| run.method.as_str()).collect();
        let title = if methods.is_empty() { view.to_owned() } else { format!("{view} · {}", methods.join(", ")) };
        Ok(Page { title: format!("{title} · longlens"), data })
    }

    /// The table as a page holds it: columns, rows of texts and numbers, and how many rows there are in all.
    fn table_of_page(&self) -> Value {
        if self.n_rows() > MAX_MADE {
            return Value::Null;
        }
        let Some(Table { columns, mut rows }) = self.table() else { return Value::Null };
        let n_rows = rows.len();
        rows.truncate(MAX_ROWS);
        let mut table = Table { columns, rows }.to_json();
        table["n_rows"] = json!(n_rows);
        table
    }
}
