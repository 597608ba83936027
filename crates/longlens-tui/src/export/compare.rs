//! Two runs side by side: losses, outputs, and the difference of one head's maps.

use std::fmt::Write;

use longlens_app::Problem;
use longlens_app::npz::Array;
use longlens_app::runs::{Run, divergence};
use longlens_app::steps::Picture;
use longlens_core::trace::PooledMap;
use longlens_plot::plots::{DifferenceMap, RunComparison};
use serde_json::{Value, json};

use super::csv::{Csv, number};
use super::tables::{common, of_tokens, ran, run_name};
use super::{Content, about};
use crate::app::App;

/// The two runs that are compared.
pub fn runs(app: &App) -> Result<Content, Problem> {
    let Some([a, b]) = app.compared() else {
        return Err(Problem::new("there are no two runs to compare yet", "mark two (c), or pin one (P)".to_owned()));
    };
    // tokens, and with them losses and maps, can only be compared in one prompt; behind it each goes its own way
    let is_same_prompt = a.source == b.source;
    let [first, second] = [a, b].map(of_tokens);
    let n_compared = if is_same_prompt { a.record.n_prompt.saturating_sub(1) } else { 0 };
    let delta: Vec<f32> = first.iter().zip(&second).take(n_compared).map(|(a, b)| a - b).collect();
    let maps = app.difference.keyed().filter(|(key, _)| is_same_prompt && key.runs == [a.id, b.id]);
    let map = maps.map(|(_, maps)| difference(maps));
    let head = map.as_ref().map(|map| (map.layer, map.head));

    let mut csv = Csv::new(&["token", "nll_a", "nll_b", "delta_log_prob"]);
    for at in 0..first.len().max(second.len()) {
        let cell = |list: &[f32]| number(list.get(at).copied().unwrap_or(f32::NAN));
        csv.row([(at + 1).to_string(), cell(&first), cell(&second), cell(&delta)]);
    }
    let ids = |tokens: &[u32]| tokens.iter().map(|token| *token as f32).collect();
    let mut arrays = vec![
        Array::list("nll_a", first),
        Array::list("nll_b", second),
        Array::list("delta_log_prob", delta.clone()),
        Array::list("generated_a", ids(&a.generated)),
        Array::list("generated_b", ids(&b.generated)),
    ];
    if let (Some((_, maps)), Some(map)) = (maps, &map) {
        let shape = [map.side, map.side];
        let [a, b] = maps.as_ref();
        arrays.extend([
            Array::new("map_a", &shape, a.mean.clone()),
            Array::new("map_b", &shape, b.mean.clone()),
            Array::new("map_difference", &shape, map.cells.clone()),
        ]);
    }
    let of = |run: &Run| Value::Object(about(app, run, &run.record));
    let about = json!({
        "view": "compare", "a": of(a), "b": of(b), "outputs": [a.output, b.output],
        "nll": "entry t is of token t + 1, in nats; delta_log_prob is of b, minus that of a",
        "layer": map.as_ref().map(|map| map.layer), "head": map.as_ref().map(|map| map.head),
        "tokens_per_cell": map.as_ref().map(|map| map.stride),
    });
    let mut heading = common(&[a, b]);
    if is_same_prompt && a.record.n_prompt > 0 {
        let _ = write!(heading.subtitle, " · prompt of {} tokens", a.record.n_prompt);
    }
    if map.as_ref().is_some_and(|map| map.cells.iter().any(|cell| cell.is_nan())) {
        heading.subtitle += " · attention differs only where both runs computed the query";
    }
    let figure = RunComparison {
        heading,
        names: names(app, [a, b]),
        // of reused keys hardly any token is computed again
        delta_log_prob: if delta.iter().any(|delta| delta.is_finite()) { delta } else { Vec::new() },
        divergence: divergence(&a.generated, &b.generated),
        outputs: [a.output.clone(), b.output.clone()],
        map,
    };
    let picture = if [a, b].iter().any(|run| run.base.is_some()) {
        Picture::Other("compare under reuse-kv".into())
    } else if is_same_prompt {
        Picture::Compare { runs: Box::new([ran(a), ran(b)]), head }
    } else {
        Picture::Other("compare of two prompts".into())
    };
    let settings = b.settings.clone();
    Ok(Content { figure: Box::new(figure), csv: csv.finish(), arrays, about, picture, settings })
}

/// What was run, with what tells them apart where that is the same.
fn names(app: &App, runs: [&Run; 2]) -> [String; 2] {
    let [a, b] = runs.map(|run| run_name(app, run));
    match (a == b, runs[0].source == runs[1].source) {
        (false, _) => [a, b],
        (true, false) => runs.map(|run| format!("{} {}", run_name(app, run), run.source)),
        (true, true) => runs.map(|run| format!("{} (run {})", run_name(app, run), run.id)),
    }
}

/// The second map minus the first, where both have any: queries whose keys were reused have no attention of their own.
fn difference([a, b]: &[PooledMap; 2]) -> DifferenceMap {
    let side = a.side;
    let has = |map: &PooledMap, row: usize| map.mean[row * side..(row + 1) * side].iter().any(|weight| *weight > 0.0);
    let both: Vec<bool> = (0..side).map(|row| has(a, row) && has(b, row)).collect();
    let cells = a.mean.iter().zip(&b.mean).enumerate();
    DifferenceMap {
        layer: a.pick.layer,
        head: a.pick.head,
        n_tokens: a.n_tokens,
        side,
        stride: a.stride,
        cells: cells.map(|(at, (a, b))| if both[at / side] { b - a } else { f32::NAN }).collect(),
    }
}
