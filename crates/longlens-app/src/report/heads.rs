//! How much every head attended to the evidence before the answer, as a mean over samples.

use std::collections::BTreeMap;

use longlens_eval::evaluate::{Record, once_each};
use longlens_plot::page::packed;
use serde::Serialize;
use serde_json::{Value, json};

use super::tables::Tables;

/// Attention to the evidence in samples of one task under one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// The task's table.
    pub table: usize,
    /// What answered.
    pub subject: usize,
    /// Samples.
    pub n: usize,
    /// Layers.
    pub n_layers: usize,
    /// Heads of a layer.
    pub n_heads: usize,
    /// Mean share, row-major `[n_layers, n_heads]`.
    pub means: Vec<f32>,
    /// The heads that attend to it most, the highest first.
    pub top: Vec<TopHead>,
}

/// A head that attends to the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TopHead {
    /// Its layer.
    pub layer: usize,
    /// Its number in the layer.
    pub head: usize,
    /// Mean share of its attention.
    pub mean: f64,
    /// The same over samples that were answered right.
    pub of_hits: Option<f64>,
    /// The same over the others.
    pub of_misses: Option<f64>,
}

/// Heads in a table.
const TOP: usize = 20;
/// A share of a perfect score from which an answer counts as right.
const HIT: f64 = 0.5;

/// Attention for each task and subject of which it was recorded; samples whose model has another shape are left out.
pub fn attention(records: &[Record], tables: &Tables) -> Vec<Attention> {
    let mut by_place: BTreeMap<(usize, usize), Vec<&Record>> = BTreeMap::new();
    for record in once_each(records) {
        let has_heads = record.attended.as_ref().is_some_and(|attended| !attended.heads.is_empty());
        let place = tables.place_of(record).zip(tables.subject_of(record)).filter(|_| has_heads);
        if let Some(((table, _), subject)) = place {
            by_place.entry((table, subject)).or_default().push(record);
        }
    }
    by_place.into_iter().filter_map(|((table, subject), records)| of_place(table, subject, &records)).collect()
}

fn of_place(table: usize, subject: usize, records: &[&Record]) -> Option<Attention> {
    let heads = |record: &Record| record.attended.as_ref().map(|attended| attended.heads.clone()).unwrap_or_default();
    let first = heads(records.first()?);
    let (n_layers, n_heads) = (first.len(), first.iter().map(Vec::len).max()?);
    let rows: Vec<(bool, Vec<f32>)> = records
        .iter()
        .map(|record| (record.share().unwrap_or(0.0) >= HIT, heads(record)))
        .filter(|(_, heads)| heads.len() == n_layers && heads.iter().all(|layer| layer.len() == n_heads))
        .map(|(is_hit, heads)| (is_hit, heads.concat()))
        .collect();
    let mean = |at: usize, is: &dyn Fn(bool) -> bool| {
        let shares: Vec<f64> =
            rows.iter().filter(|(is_hit, _)| is(*is_hit)).map(|(_, row)| f64::from(row[at])).collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    };
    let means: Vec<f64> = (0..n_layers * n_heads).map(|at| mean(at, &|_| true)).collect::<Option<_>>()?;
    let mut order: Vec<usize> = (0..means.len()).collect();
    order.sort_by(|a, b| means[*b].total_cmp(&means[*a]).then(a.cmp(b)));
    let top = order.into_iter().take(TOP).map(|at| TopHead {
        layer: at / n_heads,
        head: at % n_heads,
        mean: means[at],
        of_hits: mean(at, &|is_hit| is_hit),
        of_misses: mean(at, &|is_hit| !is_hit),
    });
    Some(Attention {
        table,
        subject,
        n: rows.len(),
        n_layers,
        n_heads,
        top: top.collect(),
        means: means.iter().map(|mean| *mean as f32).collect(),
    })
}

/// The same as the page's script reads it.
pub(super) fn packed(all: &[Attention]) -> Value {
    let one = |of: &Attention| {
        json!({
            "table": of.table, "subject": of.subject, "n": of.n, "n_layers": of.n_layers, "n_heads": of.n_heads, "top": of.top,
            "means": packed::numbers(&[of.n_layers, of.n_heads], &of.means),
        })
    };
    json!(all.iter().map(one).collect::<Vec<_>>())
}
