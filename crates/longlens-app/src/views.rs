//! Every way to look at a result, made once for all faces: the figure, the table and the arrays behind it, and the sentence
//! that says what it shows. Command line, notebook and terminal only show or write what comes out of here.
//!
//! A view of one sequence is a [`TraceView`] in `views/<view>.rs` and a line of [`TRACE_VIEWS`]: it says what has to be recorded, and
//! makes a [`Plot`] of what was. Results that are no trace (a plan, a grid, losses of several runs) have a function here that returns a
//! [`Plot`].

use std::ops::Range;
use std::sync::Arc;

use longlens_core::lens::{ModelInfo, Setup};
use longlens_core::plan::Prefill;
use longlens_core::setting::{Fallback, Info, Kind, Param, Setting, SettingError};
use longlens_core::spec::ModelSpec;
use longlens_core::trace::{RunRecord, Trace, Watch};
use longlens_eval::document::Passage;
use longlens_plot::{Canvas, Figure, Ground, Heading};
use serde_json::{Map, Value, json};

use crate::npz::{self, Array};
use crate::problem::Problem;

pub mod attention;
pub mod chunks;
pub mod distance;
pub mod entropy;
mod grid;
pub mod interactive;
pub mod layers;
pub mod passages;
pub mod passkey;
pub mod perplexity;
mod positions;
pub mod ranking;
mod runs;
pub mod scores;
mod table;
pub mod usage;

pub use positions::positions;
pub use runs::{compare, losses};
pub use table::{Cell, Column, Table};

/// The views of one sequence. A new one is a file and a line here; command line, notebook and terminal show it under its name.
pub static TRACE_VIEWS: &[&dyn TraceView] = &[
    &attention::Attention,
    &chunks::Chunks,
    &layers::Layers,
    &distance::DISTANCE,
    &usage::Usage,
    &entropy::ENTROPY,
    &passages::Passages,
];

/// A view that is made from the trace of one sequence.
pub trait TraceView: Sync {
    /// Name, summary and options; text forms, functions of the notebook and help are made of it.
    fn info(&self) -> &'static Info;

    /// How many of its options, two at most, can be given without their names, in their order: `attention(trace, 3, 1)`.
    fn n_positional(&self) -> usize {
        0
    }

    /// What has to be recorded; an error says which option does not fit the sequence.
    fn watch(&self, subject: &Subject, options: &Setting) -> Result<Watch, Problem>;

    /// The view of a trace that recorded at least what [`TraceView::watch`] asks for.
    fn view(&self, subject: &Subject, options: &Setting, trace: &Arc<Trace>) -> Result<Plot, Problem>;

    /// What a page that answers to mouse and keys is made of; `record` looks at more of the sequence. The default, nothing, makes a page
    /// of picture and table.
    fn page(
        &self,
        _subject: &Subject,
        _options: &Setting,
        _record: &mut interactive::Record,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        Ok(None)
    }
}

/// The sequence that is looked at.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// What it ran on.
    pub model: &'a ModelInfo,
    /// How it ran.
    pub setup: &'a Setup,
    /// Tokens that were fed: the prompt, and what was generated or answered after it.
    pub n_tokens: usize,
    /// Tokens that tell the hidden key, if one is hidden.
    pub needle: Option<Range<usize>>,
    /// The token that is looked from where the options name none.
    pub query: usize,
    /// Tokens of a chunk where neither the options nor the method say.
    pub chunk_len: usize,
    /// The queries that give the answer, whose choices count for hit rates; nothing where no key is hidden.
    pub answer: Option<Range<usize>>,
    /// The settings that computed older keys, in a text, where the run reused those of another.
    pub base: Option<String>,
    /// The passages of the prompt's text; none where it is known as tokens alone.
    pub passages: &'a [Passage],
    /// The text of every token that was fed; none where the model came without a tokenizer.
    pub pieces: &'a [String],
}

/// What a face shows or writes.
#[derive(Debug, Clone)]
pub struct Plot {
    /// What it shows, in a sentence.
    pub text: String,
    /// The picture.
    pub figure: Arc<dyn Figure>,
    /// The numbers behind it as arrays; empty where there are none.
    pub arrays: Vec<Array>,
    /// What was run and what is shown, by name.
    pub about: Map<String, Value>,
    /// What ran for it.
    pub records: Vec<RunRecord>,
    /// What its picture and its page are drawn on.
    ground: Ground,
    /// What its page shows beside the table, where it has one of its own.
    page: Option<Map<String, Value>>,
    /// Rows of the table, and what makes it on demand: the table is larger than the data.
    table: Option<(usize, Arc<dyn MakeTable>)>,
}

/// A function that makes a table of numbers that it holds.
trait MakeTable: Send + Sync {
    fn table(&self) -> Table;
}

impl<F: Fn() -> Table + Send + Sync> MakeTable for F {
    fn table(&self) -> Table {
        self()
    }
}

impl std::fmt::Debug for dyn MakeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table")
    }
}

/// A view and its options from their text form, as `attention:layer=3,head=1`.
pub fn parse(text: &str) -> Result<(&'static dyn TraceView, Setting), SettingError> {
    let infos: Vec<&'static Info> = TRACE_VIEWS.iter().map(|view| view.info()).collect();
    let options = Setting::parse(text, "view", &infos)?;
    let view = TRACE_VIEWS.iter().find(|view| view.info().name == options.info().name);
    Ok((*view.expect("the catalog is made of the views"), options))
}

impl<'a> Subject<'a> {
    /// A sequence of `n_tokens`, at least one, that is looked at from the first token behind the prompt if there is one, which
    /// fetches a hidden key, else from the prompt's last.
    pub fn new(model: &'a ModelInfo, setup: &'a Setup, n_tokens: usize, needle: Option<Range<usize>>) -> Self {
        let chunk_len = default_chunk_len(&model.spec, setup.n_prompt);
        let answer = needle.is_some().then(|| setup.n_prompt.saturating_sub(1)..n_tokens);
        Self {
            model,
            setup,
            n_tokens,
            needle,
            query: setup.n_prompt.min(n_tokens.saturating_sub(1)),
            chunk_len,
            answer,
            base: None,
            passages: &[],
            pieces: &[],
        }
    }

    /// Tokens of the chunks that the method chooses, if it chooses any.
    pub fn own_chunk_len(&self) -> Option<usize> {
        self.setup.plan.chunk_len()
    }

    /// Whether the method chooses chunks for a query; the first queries of a sequence see every key.
    pub fn chooses(&self, query: usize) -> bool {
        query >= self.setup.plan.first_choice(Prefill { n_tokens: self.setup.n_prompt })
    }

    /// Layer and head of those whose output is zeros.
    pub fn switched_off(&self) -> Vec<(usize, usize)> {
        self.setup.plan.switched_off(&self.model.spec)
    }

    /// A head in words: `layer 3, head 1`, and whether it is switched off.
    fn head_name(&self, (layer, head): (usize, usize)) -> String {
        // what a head that is switched off attends to reaches nothing
        let off = if self.setup.plan.of(layer, head).is_off { " (switched off)" } else { "" };
        format!("layer {layer}, head {head}{off}")
    }

    /// The queries that give the answer, or the one query where no key is hidden.
    fn answering(&self, query: usize) -> Range<usize> {
        self.answer.clone().unwrap_or(query..query + 1)
    }

    /// The token that option `query` names, else the one that is looked from.
    fn query(&self, options: &Setting) -> Result<usize, Problem> {
        self.fed(self.count(options, "query").unwrap_or(self.query))
    }

    /// A query, if it was fed.
    pub fn fed(&self, query: usize) -> Result<usize, Problem> {
        if query < self.n_tokens {
            return Ok(query);
        }
        Err(Problem::new(
            format!("query {query} does not exist: {} tokens were fed", self.n_tokens),
            format!("queries go from 0 to {}", self.n_tokens - 1),
        ))
    }

    /// Tokens of a chunk: as an option says, else the method's, else what the face proposes.
    fn chunk_len(&self, options: &Setting) -> usize {
        self.count(options, "chunk_len").or(self.own_chunk_len()).unwrap_or(self.chunk_len)
    }

    /// The layer or head that an option names, of `n` there are.
    fn index(&self, options: &Setting, what: &str, n: usize) -> Result<Option<usize>, Problem> {
        match self.count(options, what) {
            Some(index) if index >= n => {
                Err(Problem::new(format!("{what} {index} does not exist"), format!("{what}s go from 0 to {}", n - 1)))
            }
            index => Ok(index),
        }
    }

    /// A whole number among the options; nothing where its default is said in words.
    fn count(&self, options: &Setting, name: &str) -> Option<usize> {
        options.number(name, &self.model.spec).map(|number| number as usize)
    }

    /// What a figure says above it; of reused keys also what computed them.
    fn heading(&self, run: &RunRecord) -> Heading {
        let mut heading = Heading::of_run(run);
        heading.subtitle.extend(self.base.iter().flat_map(|base| [" · older keys from ", base]));
        heading
    }

    /// A view of the sequence: its picture with the sentence that stands for it. `own` is added to the record of the run, as what
    /// the view is about.
    fn plot(
        &self,
        options: &Setting,
        run: &RunRecord,
        own: &Value,
        text: String,
        figure: impl Figure + 'static,
    ) -> Plot {
        let mut about = Map::new();
        about.insert("view".into(), json!(options.info().name));
        about.insert("run".into(), json!(run));
        about.extend(self.base.iter().map(|base| ("base".into(), json!(base))));
        about.insert("needle_tokens".into(), json!(self.needle));
        about.extend(own.as_object().cloned().unwrap_or_default());
        Plot { about, records: vec![run.clone()], ..Plot::new(text, figure) }
    }
}

/// Tokens of a chunk where neither the user nor the method says: a part of the trained context, or of a shorter prompt, whose
/// profile would else have one step.
pub fn default_chunk_len(spec: &ModelSpec, n_prompt: usize) -> usize {
    let shorter = Some(n_prompt).filter(|n_tokens| (1..spec.trained_context).contains(n_tokens));
    shorter.unwrap_or(spec.trained_context).div_ceil(PARTS).max(1)
}

impl Plot {
    /// A picture with the sentence that stands for it, and no numbers behind it yet.
    pub fn new(text: impl Into<String>, figure: impl Figure + 'static) -> Self {
        let figure = Arc::new(figure);
        Self {
            text: text.into(),
            figure,
            arrays: Vec::new(),
            about: Map::new(),
            records: Vec::new(),
            ground: Ground::default(),
            page: None,
            table: None,
        }
    }

    /// The same with the numbers behind it, and a function that makes a table of so many rows of them.
    fn with(self, arrays: Vec<Array>, n_rows: usize, table: impl Fn() -> Table + Send + Sync + 'static) -> Self {
        Self { arrays, table: Some((n_rows, Arc::new(table))), ..self }
    }

    /// Rows of the table, at most; 0 for a picture alone.
    pub fn n_rows(&self) -> usize {
        self.table.as_ref().map_or(0, |(n_rows, _)| *n_rows)
    }

    /// The same with its picture on a ground, on which its page begins as well.
    #[must_use]
    pub fn on(self, ground: Ground) -> Self {
        Self { figure: ground.under(self.figure), ground, ..self }
    }

    /// The numbers behind it, one row per thing; nothing for a picture alone.
    pub fn table(&self) -> Option<Table> {
        self.table.as_ref().map(|(_, make)| make.table())
    }

    /// The view as a file with this ending, one of [`ENDINGS`]: the same bytes wherever it is written.
    pub fn bytes(&self, ending: &str) -> Result<Vec<u8>, Problem> {
        let no_numbers =
            || Problem::new("there are no numbers behind this picture", "end the name in .png or .svg".to_owned());
        match ending {
            "csv" => self.table().map(|table| table.to_csv().into_bytes()).ok_or_else(no_numbers),
            "html" => Ok(self.page()?.html().into_bytes()),
            "npz" if self.arrays.is_empty() => Err(no_numbers()),
            "npz" => {
                let about = Value::Object(self.about.clone()).to_string();
                npz::bytes(&self.arrays, &about).map_err(|error| Problem::new(error.to_string(), None))
            }
            _ => picture(self.figure.as_ref(), ending, &ENDINGS),
        }
    }
}

/// A figure as a `png` or `svg` file; another ending is refused with those that its owner can be written as.
pub fn picture(figure: &dyn Figure, ending: &str, endings: &[&str]) -> Result<Vec<u8>, Problem> {
    let drawn = match ending {
        "png" => Canvas::scaled(SCALE).to_png_bytes(figure),
        // a picture of lines is as sharp at any scale
        "svg" => Canvas::default().to_svg_string(figure).map(String::into_bytes),
        _ => {
            let help = format!("end the name in .{}", endings.join(", ."));
            return Err(Problem::new(format!("cannot write a picture as `.{ending}`"), help));
        }
    };
    drawn.map_err(|error| Problem::new(error.to_string(), error.help()))
}

/// The needle's first token, and the one after its last.
fn needle_array(subject: &Subject) -> Option<Array> {
    subject.needle.as_ref().map(|needle| Array::list("needle", vec![needle.start as f32, needle.end as f32]))
}

/// Endings of the files that a view can be written as.
pub const ENDINGS: [&str; 5] = ["png", "svg", "csv", "npz", "html"];
/// Pixels of a picture's file per logical pixel.
const SCALE: f64 = 2.0;
/// Chunks of the trained context, or of a shorter prompt, where nobody says how long chunks are.
const PARTS: usize = 16;
/// The option `query` of views that look from one token.
const QUERY: Param = Param {
    name: "query",
    alias: "",
    kind: Kind::Count(0),
    default: Fallback::Word("the last token; of a needle prompt the one that fetches the key"),
    help: "the token that is looked from",
};
/// The option `chunk_len` of views in chunks.
const CHUNK_LEN: Param = Param {
    name: "chunk_len",
    alias: "",
    kind: Kind::Count(1),
    default: Fallback::Word("the method's, else 1/16 of the trained context or of a shorter prompt"),
    help: "tokens of a chunk",
};
/// The option `show` of views of chunks that a method may choose.
const SHOW: Param = Param {
    name: "show",
    alias: "",
    kind: Kind::Word(&["choice", "attention"]),
    default: Fallback::Word("choice"),
    help: "chosen chunks where the method chooses, or the attention on every chunk",
};

#[cfg(test)]
mod tests;
