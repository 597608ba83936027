//! Layers by heads, each a small panel with one number of its own and its attention by chunk below.
//!
//! A view of one number per head is a [`HeadMeasure`]; a view that says more of every head uses the parts here.

use std::sync::Arc;

use longlens_core::setting::{Info, Setting};
use longlens_core::trace::{Trace, Watch};
use longlens_plot::color::ColorScale;
use longlens_plot::plots::HeadGrid;
use serde_json::{Map, Value, json};

use super::interactive::{Record, heads as page};
use super::{Cell, Plot, Subject, Table, TraceView};
use crate::heads::Heads;
use crate::npz::Array;
use crate::problem::Problem;

/// A view of one number of every head.
pub struct HeadMeasure {
    /// Name, summary and options, which are `QUERY` and `CHUNK_LEN`; the name is also that of the table's column and of the array.
    pub info: &'static Info,
    /// The number's unit, such as `share`, `tokens` or `nats`.
    pub unit: &'static str,
    /// What the figure calls the number, before ` of every head, from token 7`.
    pub title: &'static str,
    /// The number of a layer's head.
    pub number: fn(&Heads, (usize, usize)) -> f32,
    /// Whether the remark is about the lowest number, not the highest.
    pub lowest_first: bool,
    /// What is said of a head, such as `layer 3, head 1`, and of its number.
    pub remark: fn(head: &str, number: f32) -> String,
}

impl TraceView for HeadMeasure {
    fn info(&self) -> &'static Info {
        self.info
    }

    fn watch(&self, subject: &Subject, options: &Setting) -> Result<Watch, Problem> {
        watch(subject, options)
    }

    fn view(&self, subject: &Subject, options: &Setting, trace: &Arc<Trace>) -> Result<Plot, Problem> {
        let heads = Heads::of(trace, subject.query(options)?)?;
        let numbers: Vec<f32> = heads.all().map(|head| (self.number)(&heads, head)).collect();
        let first = first_of(&heads, &numbers, self.lowest_first);
        let remark = first.map_or(String::new(), |(head, number)| (self.remark)(&subject.head_name(head), number));
        let figure = figure(&heads, subject, self.title, numbers.clone(), ColorScale::Linear);
        let arrays = vec![Array::new(self.info.name, &[heads.shape.0, heads.shape.1], numbers.clone())];
        let own = json!({ "query": heads.query, "tokens_per_weight": heads.tokens_per_weight() });
        let plot = subject.plot(options, &heads.run, &own, caption(&heads, &remark), figure);
        let (n_rows, off) = (numbers.len(), subject.switched_off());
        let columns = [("layer", ""), ("head", ""), (self.info.name, self.unit)];
        Ok(plot.with(arrays, n_rows, move || {
            let mut table = with_off(Table::new(&columns), &off);
            for ((layer, head), number) in heads.all().zip(&numbers) {
                let row: Vec<Cell> = vec![layer.into(), head.into(), (*number).into()];
                table.push(row.into_iter().chain(off_cell((layer, head), &off)).collect());
            }
            table
        }))
    }

    fn page(
        &self,
        subject: &Subject,
        options: &Setting,
        record: &mut Record,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        let number =
            page::Number { name: self.title, unit: self.unit, of: &self.number, lowest_first: self.lowest_first };
        page(subject, options, &number, record).map(Some)
    }
}

/// A table of heads with a column that says which are switched off, where some are.
pub(super) fn with_off(table: Table, off: &[(usize, usize)]) -> Table {
    if off.is_empty() { table } else { table.and("switched_off", "") }
}

/// What that column says of a head.
pub(super) fn off_cell(head: (usize, usize), off: &[(usize, usize)]) -> Option<Cell> {
    (!off.is_empty()).then(|| off.contains(&head).into())
}

/// The page of layers by heads, each with a number.
pub(super) fn page(
    subject: &Subject,
    options: &Setting,
    number: &page::Number,
    record: &mut Record,
) -> Result<Map<String, Value>, Problem> {
    let (query, chunk_len) = (subject.query(options)?, subject.chunk_len(options));
    let shown = page::Shown { first: "grid", query, chunk_len, layer: None, is_choice: false };
    page::page(subject, &shown, number, record)
}

/// Layer and head of the highest number, or the lowest, and that number; of equal ones the first.
pub(super) fn first_of(heads: &Heads, numbers: &[f32], lowest: bool) -> Option<((usize, usize), f32)> {
    let of_two = |first: ((usize, usize), f32), next: ((usize, usize), f32)| {
        let is_before = if lowest { next.1 < first.1 } else { next.1 > first.1 };
        if is_before { next } else { first }
    };
    heads.all().zip(numbers.iter().copied()).reduce(of_two)
}

/// What views with a panel per head record.
pub(super) fn watch(subject: &Subject, options: &Setting) -> Result<Watch, Problem> {
    let query = subject.query(options)?;
    Ok(Heads::watch(subject.model, query, subject.answering(query), subject.chunk_len(options)))
}

/// A panel per head with its number, and below where the head looks. `numbers`: row-major `[n_layers, n_heads]`.
pub(super) fn figure(heads: &Heads, subject: &Subject, name: &str, numbers: Vec<f32>, scale: ColorScale) -> HeadGrid {
    // the last chunk is drawn as wide as the others, also where the query's token does not fill it
    let spanned = (heads.n_chunks() * heads.chunk_len) as f64;
    let share = |token: usize| token as f64 / spanned;
    HeadGrid {
        heading: subject.heading(&heads.run),
        n_layers: heads.shape.0,
        n_heads: heads.shape.1,
        query: heads.query,
        score_name: name.to_owned(),
        scores: numbers,
        profiles: heads.all().map(|(layer, head)| heads.mass(layer, head).to_vec()).collect(),
        needle: subject.needle.as_ref().map(|needle| share(needle.start)..share(needle.end).min(1.0)),
        scale,
        off: subject.switched_off(),
    }
}

/// What a grid of heads is of, what stands out in it, and whether single keys or whole chunks were counted.
pub(super) fn caption(heads: &Heads, remark: &str) -> String {
    let (n_layers, n_heads) = heads.shape;
    let counted = match heads.tokens_per_weight() {
        1 => String::new(),
        n_tokens => format!(" (counted in chunks of {n_tokens} tokens)"),
    };
    let method = &heads.run.method;
    format!("{n_layers} layers of {n_heads} heads from token {}; {remark}{counted}; {method}", heads.query)
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{Lens, Rows, Setup};
    use longlens_core::methods::Method;
    use longlens_core::scripted::ScriptedLens;

    use super::*;
    use crate::views::layers::Layers;

    #[test]
    fn the_needle_stands_where_its_chunks_are_drawn() {
        let mut lens = ScriptedLens::saying("ok");
        let setup = Setup::new(&Method::full(), &lens.model().spec, 61).unwrap();
        let model = lens.model().clone();
        let subject = Subject { chunk_len: 16, ..Subject::new(&model, &setup, 61, Some(16..48)) };
        let watch = Layers.watch(&subject, &Setting::new(Layers.info())).unwrap();
        lens.begin(&Setup { keep_queries: true, ..setup.clone() }).unwrap();
        lens.feed(&[9; 61], Rows::None, &mut ()).unwrap();
        let heads = Heads::new(lens.inspect(&watch, &mut ()).unwrap(), 60).unwrap();
        // four chunks are drawn equally wide, though the last one has 13 tokens
        let grid = figure(&heads, &subject, "score", vec![0.0; 8], ColorScale::Linear);
        assert_eq!(grid.needle, Some(0.25..0.75));
    }

    #[test]
    fn numbers_made_of_whole_chunks_are_told_as_such() {
        let mut lens = ScriptedLens::saying("ok");
        let setup = Setup::new(&Method::full(), &lens.model().spec, 61).unwrap();
        let model = lens.model().clone();
        let subject = Subject { chunk_len: 16, ..Subject::new(&model, &setup, 61, None) };
        lens.begin(&Setup { keep_queries: true, ..setup.clone() }).unwrap();
        lens.feed(&[9; 61], Rows::None, &mut ()).unwrap();
        for view in [&super::super::entropy::ENTROPY, &super::super::distance::DISTANCE] {
            let options = Setting::new(view.info());
            let whole = view.watch(&subject, &options).unwrap();
            let by_chunk = Watch { rows: Vec::new(), ..whole.clone() };
            for (watch, n_tokens) in [(whole, 1), (by_chunk, 16)] {
                let trace = Arc::new(lens.inspect(&watch, &mut ()).unwrap());
                let plot = view.view(&subject, &options, &trace).unwrap();
                assert_eq!(plot.about["tokens_per_weight"], n_tokens);
                assert_eq!(plot.text.contains("counted in chunks of 16 tokens"), n_tokens == 16, "{}", plot.text);
            }
        }
    }
}
