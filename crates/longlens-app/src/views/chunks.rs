//! Chunks of the sequence that every head attends to from one query: those it chose, or its attention on each.

use std::sync::Arc;

use longlens_core::setting::{Fallback, Info, Kind, Param, Setting};
use longlens_core::trace::{self, Queries, Trace, Watch, WatchMass};
use longlens_plot::color::ColorScale;
use longlens_plot::plots::{ChunkMap, ChunkRows};
use serde_json::{Map, Value, json};

use super::interactive::{Record, heads as page};
use super::{Cell, Plot, Subject, Table, TraceView, layers};
use crate::heads::{self, Heads, Pick};
use crate::npz::Array;
use crate::problem::Problem;

/// Heads by chunks.
pub struct Chunks;

/// Shares of attention below this look alike.
const FLOOR: f64 = 1e-4;

static INFO: Info = Info {
    name: "chunks",
    title: "Chunks of every head",
    source: "LongHeads' choice (Lu et al., 2024, arXiv:2402.10685), or attention summed by chunk",
    summary: "which chunks every head attends to: those it chose where the method chooses chunks, else how much attention each gets",
    params: &[
        Param {
            name: "layer",
            alias: "",
            kind: Kind::Count(0),
            default: Fallback::Word("all layers"),
            help: "the layer whose heads are shown",
        },
        super::QUERY,
        super::CHUNK_LEN,
        super::SHOW,
    ],
};

/// What is shown from which query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The token that is looked from.
    pub query: usize,
    /// Tokens of a chunk.
    pub chunk_len: usize,
    /// Whether the choice is shown rather than attention.
    pub is_choice: bool,
}

impl Shown {
    /// What these options show of a sequence. A choice is shown only in the chunks that it was made of.
    pub fn of(subject: &Subject, options: &Setting) -> Result<Self, Problem> {
        let spec = &subject.model.spec;
        let query = subject.query(options)?;
        let chunk_len = heads::fitting_chunk_len(spec, query, subject.chunk_len(options));
        let is_own = subject.own_chunk_len() == Some(chunk_len);
        let is_choice = subject.chooses(query) && is_own && options.is("show", "choice", spec);
        Ok(Self { query, chunk_len, is_choice })
    }

    /// What has to be recorded for it.
    pub(super) fn watch(self) -> Watch {
        let queries = Queries::Of(vec![self.query]);
        let choices = if self.is_choice { queries.clone() } else { Queries::None };
        let mass = WatchMass { chunks: trace::Chunks::Every(self.chunk_len), queries };
        Watch { choices, mass: Some(mass), ..Watch::default() }
    }
}

impl TraceView for Chunks {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn n_positional(&self) -> usize {
        1
    }

    fn watch(&self, subject: &Subject, options: &Setting) -> Result<Watch, Problem> {
        subject.index(options, "layer", subject.model.spec.n_layers)?;
        Ok(Shown::of(subject, options)?.watch())
    }

    fn view(&self, subject: &Subject, options: &Setting, trace: &Arc<Trace>) -> Result<Plot, Problem> {
        let Shown { query, chunk_len, is_choice } = Shown::of(subject, options)?;
        let layer = subject.index(options, "layer", subject.model.spec.n_layers)?;
        let heads = Heads::of(trace, query)?;
        let is_choice = is_choice && heads.chooses();
        let mut figure = if is_choice {
            ChunkMap::choices(trace, query, chunk_len)
        } else {
            ChunkMap::mass(trace, heads.mass_row(), ColorScale::Log { floor: FLOOR })
        };
        figure.heading = subject.heading(&trace.run);
        figure.off = subject.switched_off();
        let is_shown = |of: usize| layer.is_none_or(|layer| layer == of);
        match &mut figure.rows {
            // heads that attend to every key have no choice to show
            ChunkRows::Choices(rows, _) => rows.retain(|row| is_shown(row.layer) && !row.picks.is_empty()),
            ChunkRows::Mass(rows, _) => rows.retain(|row| is_shown(row.layer)),
        }
        if let Some(needle) = &subject.needle {
            figure = figure.with_needle(needle.clone());
        }
        // those of a layer that is not shown have no row to mark
        figure.off.retain(|(layer, _)| is_shown(*layer));
        let kind = if is_choice { "chosen chunks" } else { "attention by chunk" };
        let whose = layer.map_or("every head".to_owned(), |layer| format!("the heads of layer {layer}"));
        let text = format!("{kind} of {whose} from token {query}, {}", trace.run.method);
        let own = json!({
            "kind": if is_choice { "choice" } else { "attention" }, "query": query, "chunk_len": chunk_len, "layer": layer,
        });
        let arrays = arrays(&heads, is_choice, layer, subject);
        let n_rows = arrays[0].data.len();
        let needle = subject.needle.clone();
        let table = move || table(&heads, is_choice, layer, needle.as_ref());
        Ok(subject.plot(options, &trace.run, &own, text, figure).with(arrays, n_rows, table))
    }

    fn page(
        &self,
        subject: &Subject,
        options: &Setting,
        record: &mut Record,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        let Shown { query, chunk_len, is_choice } = Shown::of(subject, options)?;
        let layer = subject.index(options, "layer", subject.model.spec.n_layers)?;
        let shown = page::Shown { first: "chunks", query, chunk_len, layer, is_choice };
        page::page(subject, &shown, &layers::number(subject, &layers::score(subject)), record).map(Some)
    }
}

fn table(heads: &Heads, is_choice: bool, layer: Option<usize>, needle: Option<&std::ops::Range<usize>>) -> Table {
    let mut table =
        Table::new(&[("layer", ""), ("head", ""), ("chunk", ""), ("first_token", "token"), ("attention", "share")]);
    if is_choice {
        table = table.and("chosen", "").and("forced", "").and("score", "");
    }
    if needle.is_some() {
        table = table.and("needle", "");
    }
    let needle = needle.map(|needle| heads.chunks_of(needle));
    for (layer, head) in heads.all().filter(|(of, _)| layer.is_none_or(|layer| layer == *of)) {
        let picks = heads.picks(layer, head);
        for (chunk, attention) in heads.mass(layer, head).iter().enumerate() {
            let mut row: Vec<Cell> = [layer, head, chunk, chunk * heads.chunk_len].map(Into::into).to_vec();
            row.push((*attention).into());
            if is_choice {
                let pick = picks.iter().find(|pick| pick.chunk == chunk);
                // a head that attends to every key chooses no chunk, and leaves none out
                let of_choice = |flag: bool| Some(flag).filter(|_| !picks.is_empty()).into();
                let forced = pick.is_some_and(Pick::is_forced);
                row.extend([of_choice(pick.is_some()), of_choice(forced), pick.and_then(|pick| pick.score).into()]);
            }
            row.extend(needle.as_ref().map(|needle| needle.contains(&chunk).into()));
            table.push(row);
        }
    }
    table
}

/// `mass[layer, head, chunk]`; of a choice also `chunks[layer, head, slot]` (-1 where a head chose fewer) and their `scores`
/// (NaN where a chunk is always chosen).
fn arrays(heads: &Heads, is_choice: bool, layer: Option<usize>, subject: &Subject) -> Vec<Array> {
    let shown: Vec<_> = heads.all().filter(|(of, _)| layer.is_none_or(|layer| layer == *of)).collect();
    let (n_layers, n_heads) = (layer.map_or(heads.shape.0, |_| 1), heads.shape.1);
    let mass = shown.iter().flat_map(|(layer, head)| heads.mass(*layer, *head)).copied().collect();
    let mut arrays = vec![Array::new("mass", &[n_layers, n_heads, heads.n_chunks()], mass)];
    if is_choice {
        let picks: Vec<_> = shown.iter().map(|(layer, head)| heads.picks(*layer, *head)).collect();
        let n_slots = picks.iter().map(Vec::len).max().unwrap_or(0);
        let slots = |of: &dyn Fn(&Pick) -> f32, none: f32| -> Vec<f32> {
            picks.iter().flat_map(|picks| (0..n_slots).map(move |slot| picks.get(slot).map_or(none, of))).collect()
        };
        let shape = [n_layers, n_heads, n_slots];
        arrays.push(Array::new("chunks", &shape, slots(&|pick| pick.chunk as f32, -1.0)));
        arrays.push(Array::new("scores", &shape, slots(&|pick| pick.score.unwrap_or(f32::NAN), f32::NAN)));
    }
    arrays.extend(super::needle_array(subject));
    arrays
}
