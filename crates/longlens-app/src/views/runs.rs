//! Views of several runs: losses by token, and two runs of one prompt side by side.

use std::fmt::Write;

use longlens_core::spec::ModelSpec;
use longlens_core::trace::PooledMap;
use longlens_plot::Heading;
use longlens_plot::page::packed;
use longlens_plot::plots::{DifferenceMap, LossCurve, LossSeries, RunComparison};
use serde_json::{Map, Value, json};

use super::interactive::lines as page;
use super::{Cell, Plot, Table};
use crate::npz::Array;
use crate::runs::{Run, divergence};
use crate::settings::Settings;

/// Losses by token of runs, at least one, smoothed over `smooth` tokens; the last one's settings say where the trained context ends on
/// a model that was opened as `spec`. Every run has a name of its own. Arrays: `nll_<id>` of
/// every run, whose entry `t` is the loss of token `t + 1` in nats, NaN before the first token that has one.
pub fn losses(runs: &[(&Run, String)], spec: &ModelSpec, smooth: usize) -> Plot {
    let (only, full): (Vec<&Run>, Vec<String>) = runs.iter().cloned().unzip();
    let short = brief_names(&only, &full, spec);
    let series = only.iter().zip(short).map(|(run, name)| LossSeries { name, nll: by_token(run) }).collect();
    let names: Vec<_> = runs.iter().map(|(_, name)| name.as_str()).collect();
    let text = format!("loss by token of {}", names.join(", "));
    let heading = match runs {
        [(one, _)] => of_one(one, spec),
        _ => common(&runs.iter().map(|(run, _)| *run).collect::<Vec<_>>()),
    };
    let array = |run: &Run| format!("nll_{}", run.id);
    let arrays = runs.iter().map(|(run, _)| Array::list(array(run), by_token(run))).collect();
    let rows: Vec<_> = runs
        .iter()
        .map(|(run, name)| (run.id, name.clone(), run.source.to_string(), run.nll_from, run.prompt_nll().to_vec()))
        .collect();
    let table = move || {
        let columns = [("run", ""), ("settings", ""), ("prompt", ""), ("token", "token"), ("nll", "nats")];
        let mut table = Table::new(&columns);
        for (id, name, prompt, first, nll) in &rows {
            for (at, loss) in nll.iter().enumerate() {
                let same = [Cell::Count(*id as usize), name.as_str().into(), prompt.as_str().into()];
                table.push(same.into_iter().chain([(first + at).into(), (*loss).into()]).collect());
            }
        }
        table
    };
    let of = |(run, _): &(&Run, String)| {
        let mut about = about(run, spec);
        about.insert("array".into(), json!(array(run)));
        Value::Object(about)
    };
    let mut about = Map::new();
    about.insert("view".into(), json!("loss"));
    about.insert("nll".into(), json!("entry t is the loss of token t + 1, in nats"));
    about.insert("runs".into(), runs.iter().map(of).collect());
    let last = runs.last().and_then(|(run, _)| run.settings.trained_context);
    let trained_context = spec.trained_on(last).trained_context;
    let figure = LossCurve { heading, trained_context, series, smooth };
    let records = runs.iter().map(|(run, _)| run.record.clone()).collect();
    let n_rows = runs.iter().map(|(run, _)| run.nll.len()).sum();
    let page = losses_page(runs, smooth, trained_context);
    Plot { about, records, ..Plot::new(text, figure).with(arrays, n_rows, table) }.with_page(Some(page))
}

/// The second of two runs compared with the first: losses where both have one prompt, outputs, and one head's maps where they
/// were recorded for both. Arrays: `nll_a`, `nll_b`, `delta_log_prob` (of the second minus that of the first), the tokens
/// `generated_a` and `generated_b`, and `map_a`, `map_b`, `map_difference`.
pub fn compare([a, b]: [&Run; 2], names: [String; 2], maps: Option<&[PooledMap; 2]>, spec: &ModelSpec) -> Plot {
    // tokens, and with them losses and maps, can only be compared in one prompt; behind it each goes its own way
    let is_same_prompt = a.same_prompt(b);
    let [first, second] = [a, b].map(by_token);
    let n_compared = if is_same_prompt { a.record.n_prompt.saturating_sub(1) } else { 0 };
    let delta: Vec<f32> = first.iter().zip(&second).take(n_compared).map(|(a, b)| a - b).collect();
    let maps = maps.filter(|_| is_same_prompt);
    let map = maps.map(difference);
    let ids = |tokens: &[u32]| tokens.iter().map(|token| *token as f32).collect();
    let mut arrays = vec![
        Array::list("nll_a", first.clone()),
        Array::list("nll_b", second.clone()),
        Array::list("delta_log_prob", delta.clone()),
        Array::list("generated_a", ids(&a.generated)),
        Array::list("generated_b", ids(&b.generated)),
    ];
    if let (Some([a, b]), Some(map)) = (maps, &map) {
        let shape = [map.side, map.side];
        arrays.extend([
            Array::new("map_a", &shape, a.mean.clone()),
            Array::new("map_b", &shape, b.mean.clone()),
            Array::new("map_difference", &shape, map.cells.clone()),
        ]);
    }
    let about = json!({
        "view": "compare", "a": about(a, spec), "b": about(b, spec), "outputs": [a.output, b.output],
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
    let page = compare_page([a, b], &names, &delta, map.as_ref(), spec.trained_context);
    let names: [String; 2] = brief_names(&[a, b], &names, spec).try_into().unwrap_or(names);
    let text = match a.nll_from.max(b.nll_from).saturating_sub(1) {
        0 => format!("loss over the {n_compared} tokens after the first of {}", a.source),
        // of tokens that were taken over there is none
        n_taken => format!(
            "loss over the last {} of {} tokens, those that both runs computed, of {}",
            n_compared.saturating_sub(n_taken),
            a.record.n_prompt,
            a.source
        ),
    };
    let figure = RunComparison {
        heading,
        names,
        // of reused keys hardly any token is computed again
        delta_log_prob: if delta.iter().any(|delta| delta.is_finite()) { delta.clone() } else { Vec::new() },
        divergence: divergence(&a.generated, &b.generated),
        outputs: [a.output.clone(), b.output.clone()],
        map,
    };
    let n_rows = first.len().max(second.len());
    let table = move || {
        let columns = [("token", "token"), ("nll_a", "nats"), ("nll_b", "nats"), ("delta_log_prob", "nats")];
        let mut table = Table::new(&columns);
        for at in 0..n_rows {
            let cell = |list: &[f32]| Cell::from(list.get(at).copied());
            table.push(vec![(at + 1).into(), cell(&first), cell(&second), cell(&delta)]);
        }
        table
    };
    let about = about.as_object().cloned().unwrap_or_default();
    let records = vec![a.record.clone(), b.record.clone()];
    Plot { about, records, ..Plot::new(text, figure).with(arrays, n_rows, table) }.with_page(Some(page))
}

/// Lines of losses with the texts of their tokens.
fn losses_page(runs: &[(&Run, String)], smooth: usize, trained_context: usize) -> Map<String, Value> {
    let lines: Vec<_> = runs.iter().map(|(run, name)| page::Line::new(name.clone(), by_token(run))).collect();
    // of several prompts no token has one text
    let one = runs.first().map(|(run, _)| *run).filter(|first| runs.iter().all(|(run, _)| run.same_prompt(first)));
    by_tokens(smooth, trained_context, &lines, one)
}

/// Losses token by token along the text of a run, while its prompt is known.
fn by_tokens(smooth: usize, trained_context: usize, lines: &[page::Line], of: Option<&Run>) -> Map<String, Value> {
    let (x, y, marks) =
        (["token", "token"], ["loss", "nats"], vec![(trained_context as f64, "trained context".into())]);
    let shown = page::Lines { mark: "line", x, y, smooth, by_token: true, chunk_len: None, marks };
    let prompt = of.and_then(|run| run.prompt.as_ref());
    let mut page = page::page(&shown, lines, prompt.map_or(&[], |prompt| &prompt.pieces));
    let needle = prompt.and_then(|prompt| prompt.needle.as_ref());
    page.insert("needle".into(), json!(needle.map(|needle| [needle.tokens.start, needle.tokens.end])));
    page
}

/// The difference of two runs by token, their losses, outputs and the difference of a head's maps.
fn compare_page(
    runs: [&Run; 2],
    names: &[String; 2],
    delta: &[f32],
    map: Option<&DifferenceMap>,
    trained_context: usize,
) -> Map<String, Value> {
    let mut lines: Vec<_> = runs
        .iter()
        .zip(names)
        .map(|(run, name)| page::Line { panel: 1, ..page::Line::new(name.clone(), by_token(run)) })
        .collect();
    if delta.iter().any(|delta| delta.is_finite()) {
        let name = "loss of the first minus loss of the second".to_owned();
        lines.insert(0, page::Line { signed: true, ..page::Line::new(name, delta.to_vec()) });
    }
    let smooth = (delta.len() / 100).clamp(1, 32);
    let mut page = by_tokens(smooth, trained_context, &lines, Some(runs[0]).filter(|run| run.same_prompt(runs[1])));
    page.insert("outputs".into(), json!([[names[0], runs[0].output], [names[1], runs[1].output]]));
    page.insert(
        "difference".into(),
        json!(map.map(|map| {
            json!({
                "layer": map.layer, "head": map.head, "side": map.side, "stride": map.stride,
                "cells": packed::numbers(&[map.side, map.side], &map.cells),
            })
        })),
    );
    page
}

/// Names of runs that tell their settings, with short ones in their places.
fn brief_names(runs: &[&Run], names: &[String], spec: &ModelSpec) -> Vec<String> {
    let settings: Vec<&Settings> = runs.iter().map(|run| &run.settings).collect();
    let short = Settings::brief_names(&settings, spec);
    let shortened = names
        .iter()
        .zip(settings)
        .zip(&short)
        .map(|((name, settings), short)| name.replacen(&settings.text(spec), short, 1));
    let shortened: Vec<String> = shortened.collect();
    // names that tell of prompts or what computed the cache still tell runs apart
    let n_distinct = |names: &[String]| names.iter().collect::<std::collections::HashSet<_>>().len();
    if n_distinct(&shortened) == n_distinct(names) { shortened } else { names.to_vec() }
}

/// Loss of token `t + 1` at `t`, whatever token was the first that had one.
fn by_token(run: &Run) -> Vec<f32> {
    let unknown = run.nll_from.saturating_sub(1);
    std::iter::repeat_n(f32::NAN, unknown).chain(run.prompt_nll().iter().copied()).collect()
}

/// What every view says of a run.
fn about(run: &Run, spec: &ModelSpec) -> Map<String, Value> {
    let about = json!({
        "run": run.record, "settings": run.settings.text(spec), "name": run.name, "prompt": run.source.to_string(),
        "base": run.base.as_ref().map(|base| base.text(spec)),
    });
    about.as_object().cloned().unwrap_or_default()
}

/// The heading of one run; of reused keys also what computed them.
fn of_one(run: &Run, spec: &ModelSpec) -> Heading {
    let mut heading = Heading::of_run(&run.record);
    if let Some(base) = &run.base {
        let _ = write!(heading.subtitle, " · older keys from {}", base.text(spec));
    }
    heading
}

/// The heading of several runs: their prompts, and what they share.
fn common(runs: &[&Run]) -> Heading {
    let listed = |of: &dyn Fn(&Run) -> String| {
        let mut all: Vec<String> = runs.iter().map(|run| of(run)).filter(|text| !text.is_empty()).collect();
        all.sort();
        all.dedup();
        all.join(", ")
    };
    let parts = [
        listed(&|run| run.record.model.clone()),
        listed(&|run| run.record.rope_text()),
        listed(&|run| run.record.dtype.clone()),
        listed(&|run| run.record.kernel_path.clone()),
    ];
    let subtitle = parts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · ");
    Heading { title: listed(&|run| run.source.to_string()), subtitle }
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
