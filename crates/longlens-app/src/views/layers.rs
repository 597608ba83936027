//! Every head of a model as a small panel: how much of its attention goes to the needle, or far away, and where else.

use std::sync::Arc;

use longlens_core::setting::{Fallback, Info, Kind, Param, Setting};
use longlens_core::trace::{Trace, Watch};
use longlens_plot::color::ColorScale;
use serde_json::{Map, Value, json};

use super::interactive::{Record, heads::Number};
use super::{Cell, Plot, Subject, Table, TraceView, grid};
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
        grid::watch(subject, options)
    }

    fn view(&self, subject: &Subject, options: &Setting, trace: &Arc<Trace>) -> Result<Plot, Problem> {
        let heads = Heads::of(trace, subject.query(options)?)?;
        let needle = subject.needle.clone();
        let scores: Vec<f32> = heads.all().map(|(layer, head)| heads.score(layer, head, needle.as_ref())).collect();
        let name = score_name(&heads, subject);
        let is_log = options.is("scale", "log", &subject.model.spec);
        let scale = if is_log { ColorScale::Log { floor: FLOOR } } else { ColorScale::Linear };
        let figure = grid::figure(&heads, subject, name, scores.clone(), scale);
        let most = grid::first_of(&heads, &scores, false).map_or(String::new(), |(head, score)| {
            format!("most {name}: {}, {:.0}%", subject.head_name(head), 100.0 * score)
        });
        let text = grid::caption(&heads, &most);
        let shape = [heads.shape.0, heads.shape.1];
        let mut arrays = vec![Array::new("scores", &shape, scores.clone()), heads.mass_array()];
        let hits = needle.filter(|_| heads.chooses()).map(|needle| (needle, subject.answering(heads.query)));
        if let Some((needle, answering)) = &hits {
            let rate = |(layer, head)| {
                let (hits, asked) = heads.hits(layer, head, needle, answering);
                hits as f32 / asked.max(1) as f32
            };
            arrays.push(Array::new("hit_rate", &shape, heads.all().map(rate).collect()));
        }
        arrays.extend(super::needle_array(subject));
        let own = json!({ "query": heads.query, "chunk_len": heads.chunk_len, "score": name });
        let (n_rows, off) = (scores.len(), subject.switched_off());
        let table = move || {
            let mut table = Table::new(&[("layer", ""), ("head", ""), ("attention", "share")]);
            if hits.is_some() {
                table = table.and("hits", "").and("queries", "");
            }
            table = grid::with_off(table, &off);
            for ((layer, head), score) in heads.all().zip(&scores) {
                let mut row: Vec<Cell> = vec![layer.into(), head.into(), (*score).into()];
                let counted = hits.as_ref().map(|(needle, answering)| heads.hits(layer, head, needle, answering));
                row.extend(counted.into_iter().flat_map(|(hits, asked)| [hits.into(), asked.into()]));
                row.extend(grid::off_cell((layer, head), &off));
                table.push(row);
            }
            table
        };
        Ok(subject.plot(options, &trace.run, &own, text, figure).with(arrays, n_rows, table))
    }

    fn page(
        &self,
        subject: &Subject,
        options: &Setting,
        record: &mut Record,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        grid::page(subject, options, &number(subject, &score(subject)), record).map(Some)
    }
}

/// What ranks a head.
pub(super) fn score<'a>(subject: &'a Subject) -> impl Fn(&Heads, (usize, usize)) -> f32 + use<'a> {
    |heads, (layer, head)| heads.score(layer, head, subject.needle.as_ref())
}

/// The same as the number of a page.
pub(super) fn number<'a>(subject: &Subject, score: &'a dyn Fn(&Heads, (usize, usize)) -> f32) -> Number<'a> {
    let name = if subject.needle.is_some() { "attention on the needle" } else { FAR };
    Number { name, unit: "share", of: score, lowest_first: false }
}

/// The score where no key is hidden.
const FAR: &str = "attention far away and not on the first tokens";

fn score_name(heads: &Heads, subject: &Subject) -> &'static str {
    match subject.needle {
        Some(_) if heads.tokens_per_weight() == 1 => "attention on the needle",
        Some(_) => "attention on the needle's chunks",
        None => FAR,
    }
}
