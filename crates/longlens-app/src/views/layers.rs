//! Every head of a model as a small panel: how much of its attention goes to the needle, or far away, and where else.

use std::sync::Arc;

use longlens_core::setting::{Fallback, Info, Kind, Param, Setting};
use longlens_core::trace::{Trace, Watch};
use longlens_plot::color::ColorScale;
use longlens_plot::plots::HeadGrid;
use serde_json::json;

use super::{Cell, Plot, Subject, Table, TraceView};
use crate::heads::Heads;
use crate::npz::Array;
use crate::problem::Problem;

/// Layers by heads.
pub struct Layers;

/// Shares below this look alike on a logarithmic scale.
const FLOOR: f64 = 1e-3;

static INFO: Info = Info {
    name: "layers",
    title: "Attention of every head",
    source: "Retrieval heads: Wu et al., 2024, arXiv:2404.15574",
    summary: "how much every head attends to the hidden key, or far away where none is hidden, and where else",
    params: &[
        super::QUERY,
        super::CHUNK_LEN,
        Param {
            name: "scale",
            alias: "",
            kind: Kind::Word(&["linear", "log"]),
            default: Fallback::Word("linear"),
            help: "colours in proportion or by powers of ten",
        },
    ],
};

impl TraceView for Layers {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn watch(&self, subject: &Subject, options: &Setting) -> Result<Watch, Problem> {
        watch(subject, options)
    }

    fn view(&self, subject: &Subject, options: &Setting, trace: &Arc<Trace>) -> Result<Plot, Problem> {
        let heads = Heads::of(trace, subject.query(options)?)?;
        let needle = subject.needle.clone();
        let scores: Vec<f32> = heads.all().map(|head| score(&heads, subject, head)).collect();
        let name = score_name(&heads, subject);
        let is_log = options.is("scale", "log", &subject.model.spec);
        let scale = if is_log { ColorScale::Log { floor: FLOOR } } else { ColorScale::Linear };
        let figure = grid(&heads, subject, name, scores.clone(), scale);
        let most = by_score(&heads, &scores).first().map_or(String::new(), |(layer, head)| {
            let share = 100.0 * scores[layer * heads.shape.1 + head];
            format!("most {name}: layer {layer}, head {head}, {share:.0}%")
        });
        let text = caption(&heads, &most);
        let shape = [heads.shape.0, heads.shape.1];
        let mut arrays = vec![Array::new("scores", &shape, scores.clone()), heads.mass_array()];
        // how often a choice holds the needle is known only in the chunks that it was made of
        let counts = heads.chooses() && subject.own_chunk_len() == Some(heads.chunk_len);
        let hits = needle.filter(|_| counts).map(|needle| (needle, subject.answering(heads.query)));
        if let Some((needle, answering)) = &hits {
            let rate = |(layer, head)| {
                let (hits, asked) = heads.hits(layer, head, needle, answering);
                hits as f32 / asked.max(1) as f32
            };
            arrays.push(Array::new("hit_rate", &shape, heads.all().map(rate).collect()));
        }
        arrays.extend(super::needle_array(subject));
        let own = json!({ "query": heads.query, "chunk_len": heads.chunk_len, "score": name });
        let n_rows = scores.len();
        let table = move || {
            let mut table = Table::new(&[("layer", ""), ("head", ""), ("attention", "share")]);
            if hits.is_some() {
                table = table.and("hits", "").and("queries", "");
            }
            for ((layer, head), score) in heads.all().zip(&scores) {
                let mut row: Vec<Cell> = vec![layer.into(), head.into(), (*score).into()];
                let counted = hits.as_ref().map(|(needle, answering)| heads.hits(layer, head, needle, answering));
                row.extend(counted.into_iter().flat_map(|(hits, asked)| [hits.into(), asked.into()]));
                table.push(row);
            }
            table
        };
        Ok(subject.plot(options, &trace.run, &own, text, figure).with(arrays, n_rows, table))
    }
}

/// What views with a panel per head record.
pub(super) fn watch(subject: &Subject, options: &Setting) -> Result<Watch, Problem> {
    let query = subject.query(options)?;
    Ok(Heads::watch(subject.model, query, subject.answering(query), subject.chunk_len(options)))
}

/// A panel per head with its score, and below where the head looks. `scores`: row-major `[n_layers, n_heads]`.
fn grid(heads: &Heads, subject: &Subject, name: &str, scores: Vec<f32>, scale: ColorScale) -> HeadGrid {
    // the last chunk is drawn as wide as the others, also where the query's token does not fill it
    let spanned = (heads.n_chunks() * heads.chunk_len) as f64;
    let share = |token: usize| token as f64 / spanned;
    HeadGrid {
        heading: subject.heading(&heads.run),
        n_layers: heads.shape.0,
        n_heads: heads.shape.1,
        query: heads.query,
        score_name: name.to_owned(),
        scores,
        profiles: heads.all().map(|(layer, head)| heads.mass(layer, head).to_vec()).collect(),
        needle: subject.needle.as_ref().map(|needle| share(needle.start)..share(needle.end).min(1.0)),
        scale,
    }
}

/// What a grid of heads is of, and what stands out in it.
fn caption(heads: &Heads, what: &str) -> String {
    let (n_layers, n_heads) = heads.shape;
    format!("{n_layers} layers of {n_heads} heads from token {}; {what}; {}", heads.query, heads.run.method)
}

/// A number that every head has.
pub(super) struct Measure {
    /// Its name as a column and an array.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What the figure calls it.
    pub title: &'static str,
}

/// A view of one number of every head, row-major `[n_layers, n_heads]`, of which `what` says what stands out.
pub(super) fn measured(
    subject: &Subject,
    options: &Setting,
    heads: Heads,
    measure: &Measure,
    numbers: Vec<f32>,
    what: &str,
) -> Plot {
    let figure = grid(&heads, subject, measure.title, numbers.clone(), ColorScale::Linear);
    let arrays = vec![Array::new(measure.name, &[heads.shape.0, heads.shape.1], numbers.clone())];
    // of very long prompts only attention by chunk is recorded
    let tokens_per_weight = if heads.row(0, 0).is_some() { 1 } else { heads.chunk_len };
    let own = json!({ "query": heads.query, "tokens_per_weight": tokens_per_weight });
    let plot = subject.plot(options, &heads.run, &own, caption(&heads, what), figure);
    let (n_rows, columns) = (numbers.len(), [("layer", ""), ("head", ""), (measure.name, measure.unit)]);
    plot.with(arrays, n_rows, move || {
        let mut table = Table::new(&columns);
        for ((layer, head), number) in heads.all().zip(&numbers) {
            table.push(vec![layer.into(), head.into(), (*number).into()]);
        }
        table
    })
}

/// Heads by their scores, the highest first.
fn by_score(heads: &Heads, scores: &[f32]) -> Vec<(usize, usize)> {
    let mut order: Vec<_> = heads.all().zip(scores).collect();
    order.sort_by(|a, b| b.1.total_cmp(a.1));
    order.into_iter().map(|(head, _)| head).collect()
}

/// Attention on the hidden key, or far away where none is hidden.
fn score(heads: &Heads, subject: &Subject, (layer, head): (usize, usize)) -> f32 {
    match &subject.needle {
        Some(needle) => heads.on(layer, head, needle),
        None => heads.far(layer, head),
    }
}

fn score_name(heads: &Heads, subject: &Subject) -> &'static str {
    match subject.needle {
        Some(_) if heads.row(0, 0).is_some() => "attention on the needle",
        Some(_) => "attention on the needle's chunks",
        None => "attention far away and not on the first tokens",
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{Lens, Rows, Setup};
    use longlens_core::methods::Method;
    use longlens_core::scripted::ScriptedLens;

    use super::*;

    #[test]
    fn the_needle_stands_where_its_chunks_are_drawn() {
        let mut lens = ScriptedLens::saying("ok");
        let setup = Setup::new(&Method::full(), &lens.model().spec, 61).unwrap();
        let model = lens.model().clone();
        let subject = Subject { chunk_len: 16, ..Subject::new(&model, &setup, 61, Some(16..48)) };
        let watch = Layers.watch(&subject, &Setting::new(&INFO)).unwrap();
        lens.begin(&Setup { keep_queries: true, ..setup.clone() }).unwrap();
        lens.feed(&[9; 61], Rows::None, &mut ()).unwrap();
        let heads = Heads::new(lens.inspect(&watch, &mut ()).unwrap(), 60).unwrap();
        // four chunks are drawn equally wide, though the last one has 13 tokens
        let grid = grid(&heads, &subject, "score", vec![0.0; 8], ColorScale::Linear);
        assert_eq!(grid.needle, Some(0.25..0.75));
    }
}
