//! The attention map of one head, whole or a part of it, pooled where it is longer than the picture has cells.

use std::sync::Arc;

use longlens_core::printable::is_command;
use longlens_core::setting::{Fallback, Info, Kind, Param, Setting};
use longlens_core::trace::{MapPick, MapWindow, PooledMap, Trace, Watch};
use longlens_plot::color::ColorScale;
use longlens_plot::plots::{AttentionMap, Pooling};
use serde_json::{Map, Value, json};

use super::interactive::{Record, map as page};
use super::{Plot, Subject, Table, TraceView};
use crate::npz::Array;
use crate::problem::Problem;

/// The map of one head.
pub struct Attention;

/// Weights below this look alike on a logarithmic scale.
const FLOOR: f64 = 1e-5;
/// Tokens of a side that have words at the axes.
const MAX_WORDS: usize = 64;
/// Cells of a side: no picture shows more of them one by one.
pub const SIDE: usize = 512;
/// Most cells of a side that are recorded.
pub const MAX_SIDE: usize = 4096;

static INFO: Info = Info {
    name: "attention",
    title: "Attention map",
    source: "Weights of one head, query by key",
    summary: "how much every query attends to every key, for one head",
    params: &[
        Param {
            name: "layer",
            alias: "",
            kind: Kind::Count(0),
            default: Fallback::Word("the first that the method acts on"),
            help: "the layer",
        },
        Param { name: "head", alias: "", kind: Kind::Count(0), default: Fallback::Number(0.0), help: "the query head" },
        Param {
            name: "side",
            alias: "",
            kind: Kind::Whole(1, MAX_SIDE as u64),
            default: Fallback::Number(SIDE as f64),
            help: "cells of a side at most; longer prompts are pooled",
        },
        Param {
            name: "pooling",
            alias: "",
            kind: Kind::Word(&["mean", "max"]),
            default: Fallback::Word("mean"),
            help: "what a cell of several tokens holds: attention to its keys, averaged over its queries, or its largest weight",
        },
        Param {
            name: "scale",
            alias: "",
            kind: Kind::Word(&["log", "linear"]),
            default: Fallback::Word("log"),
            help: "colours by powers of ten or in proportion",
        },
        Param {
            name: "first_query",
            alias: "",
            kind: Kind::Count(0),
            default: Fallback::Word("the first"),
            help: "first query of a part",
        },
        Param {
            name: "first_key",
            alias: "",
            kind: Kind::Count(0),
            default: Fallback::Word("the first"),
            help: "first key of a part",
        },
        Param {
            name: "len",
            alias: "",
            kind: Kind::Count(1),
            default: Fallback::Word("up to the last token of the prompt"),
            help: "tokens of a side of a part",
        },
        Param {
            name: "query",
            alias: "",
            kind: Kind::Count(0),
            default: Fallback::Word("the token that is looked from, at most the prompt's last"),
            help: "the token whose row is outlined",
        },
    ],
};

impl TraceView for Attention {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn n_positional(&self) -> usize {
        2
    }

    fn watch(&self, subject: &Subject, options: &Setting) -> Result<Watch, Problem> {
        Ok(Watch { maps: vec![pick(subject, options)?], ..Watch::default() })
    }

    fn view(&self, subject: &Subject, options: &Setting, trace: &Arc<Trace>) -> Result<Plot, Problem> {
        let pick = pick(subject, options)?;
        let map = trace.maps.iter().find(|map| map.pick == pick);
        let map = map.ok_or_else(|| Problem::new("no attention map was recorded", None))?;
        let spec = &subject.model.spec;
        let pooling = if options.is("pooling", "max", spec) { Pooling::Max } else { Pooling::Mean };
        let scale =
            if options.is("scale", "linear", spec) { ColorScale::Linear } else { ColorScale::Log { floor: FLOOR } };
        let heading = subject.heading(&trace.run);
        let last = subject.setup.n_prompt.saturating_sub(1);
        let query = subject.fed(subject.count(options, "query").unwrap_or(subject.query.min(last)))?;
        let figure = AttentionMap {
            heading,
            needle: subject.needle.clone(),
            query: Some(query),
            is_off: subject.setup.plan.of(pick.layer, pick.head).is_off,
            words: words(map, subject.pieces),
            ..AttentionMap::pooled_map(&trace.run, map, pooling, scale)
        };
        let (shape, [query, key]) = ([map.side, map.side], starts(map));
        let pooled = if map.stride == 1 { "exact".to_owned() } else { format!("{} tokens a cell", map.stride) };
        let text = format!(
            "attention of {}, {}, {}: {} tokens, {} x {} cells, {pooled}",
            subject.head_name((pick.layer, pick.head)),
            trace.run.method,
            trace.run.rope_text(),
            map.n_tokens,
            map.side,
            map.side
        );
        let arrays = vec![
            Array::new("mean", &shape, map.mean.clone()),
            Array::new("max", &shape, map.max.clone()),
            Array::list("query", query.map(|token| token as f32).collect()),
            Array::list("key", key.map(|token| token as f32).collect()),
        ];
        let own = json!({
            "layer": pick.layer, "head": pick.head, "tokens_per_cell": map.stride, "side": map.side, "window": pick.window,
        });
        // without the cells whose keys all come later
        let (n_rows, run, trace) = (map.side * map.side, &trace.run, trace.clone());
        let table = move || trace.maps.iter().find(|map| map.pick == pick).map_or_else(|| Table::new(&[]), table);
        Ok(subject.plot(options, run, &own, text, figure).with(arrays, n_rows, table))
    }

    fn page(
        &self,
        subject: &Subject,
        options: &Setting,
        record: &mut Record,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        let MapPick { layer, head, .. } = pick(subject, options)?;
        page::page(subject, (layer, head), record).map(Some)
    }
}

fn pick(subject: &Subject, options: &Setting) -> Result<MapPick, Problem> {
    let spec = &subject.model.spec;
    let layer = subject.index(options, "layer", spec.n_layers)?.unwrap_or(subject.setup.plan.first_layer());
    let head = subject.index(options, "head", spec.n_heads)?.unwrap_or(0);
    let side = options.count("side", spec);
    let part = ["first_query", "first_key", "len"].map(|name| subject.count(options, name));
    let window = part.iter().any(Option::is_some).then(|| {
        let [query, key, len] = part;
        let query = query.unwrap_or(0);
        let rest = subject.setup.n_prompt.saturating_sub(query).max(1);
        MapWindow { query, key: key.unwrap_or(0), len: len.unwrap_or(rest) }
    });
    Ok(MapPick { layer, head, side, window })
}

/// Texts of queries and keys where every cell is a token and they are few enough to be read; of a token behind the prompt its number.
fn words(map: &PooledMap, pieces: &[String]) -> [Vec<String>; 2] {
    if map.stride > 1 || map.side > MAX_WORDS || pieces.is_empty() {
        return [Vec::new(), Vec::new()];
    }
    let text = |token: usize| pieces.get(token).map_or_else(|| token.to_string(), |piece| word(piece));
    starts(map).map(|tokens| tokens.map(text).collect())
}

/// A token's text on one line; a sign for one that has no ink.
fn word(piece: &str) -> String {
    let shown: String = piece
        .chars()
        .map(|c| {
            if c == '\n' {
                '⏎'
            } else if is_command(c) {
                '·'
            } else {
                c
            }
        })
        .collect();
    let trimmed = shown.trim();
    if trimmed.is_empty() { "·".to_owned() } else { trimmed.to_owned() }
}

/// First queries and first keys of the cells.
fn starts(map: &PooledMap) -> [impl Iterator<Item = usize>; 2] {
    let (side, stride) = (map.side, map.stride);
    let (query, key) = map.pick.window.map_or((0, 0), |window| (window.query, window.key));
    [query, key].map(|first| (0..side).map(move |cell| first + cell * stride))
}

fn table(map: &PooledMap) -> Table {
    let columns = [("query", "token"), ("key", "token"), ("n_tokens", "tokens"), ("mean", "share"), ("max", "share")];
    let mut table = Table::new(&columns);
    let [queries, keys] = starts(map);
    let keys: Vec<usize> = keys.collect();
    for (row, query) in queries.enumerate() {
        for (column, key) in keys.iter().enumerate() {
            // a cell that has no key up to its last query is empty by definition
            if *key < query + map.stride {
                let at = row * map.side + column;
                let numbers = [map.mean[at].into(), map.max[at].into()];
                table.push([query, *key, map.stride].map(Into::into).into_iter().chain(numbers).collect());
            }
        }
    }
    table
}
