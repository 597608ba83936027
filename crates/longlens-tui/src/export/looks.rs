//! Views of the newest run's attention: heads × chunks, one head's map, layers × heads.

use std::cmp::Ordering;
use std::ops::Range;

use longlens_app::Problem;
use longlens_app::heads::Heads;
use longlens_app::npz::Array;
use longlens_app::runs::Run;
use longlens_app::steps::Picture;
use longlens_plot::color::ColorScale;
use longlens_plot::plots::{AttentionMap, ChunkMap, HeadGrid, Pooling};
use serde_json::json;

use super::csv::{Csv, flag, number};
use super::zoomed::ZoomedMap;
use super::{Content, about, heading, nothing, repeatable, run_of, with};
use crate::app::App;

/// Masses below this share look alike, as in `longlens chunks`.
const MASS_FLOOR: f64 = 1e-4;
/// Weights below this look alike, as in `longlens attention`.
const WEIGHT_FLOOR: f64 = 1e-5;

/// Chunks of every head from the selected query: chosen ones, or attention on each.
pub fn heads(app: &App) -> Result<Content, Problem> {
    let (run, heads) = looked(app)?;
    let needle = needle(app, run);
    // a choice is only told in the chunks that it was made of
    let chooses = heads.chooses() && own_chunk_len(app, run) == Some(heads.chunk_len);
    let mut figure = if chooses {
        ChunkMap::choices(heads.trace(), heads.query, heads.chunk_len)
    } else {
        ChunkMap::mass(heads.trace(), 0, ColorScale::Log { floor: MASS_FLOOR })
    };
    figure.heading = heading(app, run, &heads.run);
    if let Some(needle) = &needle {
        figure = figure.with_needle(needle.clone());
    }

    let (n_layers, n_heads) = heads.shape;
    let all = || (0..n_layers).flat_map(|layer| (0..n_heads).map(move |head| (layer, head)));
    let picks: Vec<_> =
        all().map(|(layer, head)| if chooses { heads.picks(layer, head) } else { Vec::new() }).collect();
    let columns = ["layer", "head", "chunk", "first_token", "mass", "chosen", "score", "forced", "needle"];
    let mut csv = Csv::new(&columns);
    let on_needle = needle.as_ref().map_or(0..0, |needle| heads.chunks_of(needle));
    for ((layer, head), picks) in all().zip(&picks) {
        for (chunk, mass) in heads.mass(layer, head).iter().enumerate() {
            let pick = picks.iter().find(|pick| pick.chunk == chunk);
            let told = |text: String| if chooses { text } else { String::new() };
            csv.row([
                layer.to_string(),
                head.to_string(),
                chunk.to_string(),
                (chunk * heads.chunk_len).to_string(),
                number(*mass),
                told(flag(pick.is_some())),
                pick.and_then(|pick| pick.score).map_or(String::new(), number),
                told(flag(pick.is_some_and(longlens_app::heads::Pick::is_forced))),
                flag(on_needle.contains(&chunk)),
            ]);
        }
    }
    let mut arrays = vec![mass_array(heads)];
    if chooses {
        let n_slots = picks.iter().map(Vec::len).max().unwrap_or(0);
        let mut chunks = vec![-1.0; picks.len() * n_slots];
        let mut scores = vec![f32::NAN; picks.len() * n_slots];
        for (row, picks) in picks.iter().enumerate() {
            for (slot, pick) in picks.iter().enumerate() {
                chunks[row * n_slots + slot] = pick.chunk as f32;
                scores[row * n_slots + slot] = pick.score.unwrap_or(f32::NAN);
            }
        }
        let shape = [n_layers, n_heads, n_slots];
        arrays.extend([Array::new("chunks", &shape, chunks), Array::new("scores", &shape, scores)]);
    }
    arrays.extend(needle_array(needle.as_ref()));
    let chunk_len = Some(heads.chunk_len).filter(|_| !chooses);
    let picture = match from_command(app, run, heads.query) {
        Ok(()) => Picture::Heads { query: heads.query, chunk_len },
        Err(why) => Picture::Other(format!("heads {why}")),
    };
    let fields = [
        ("view", json!("heads")),
        ("query", json!(heads.query)),
        ("chunk_len", json!(heads.chunk_len)),
        ("layer", json!(app.controls.layer)),
        ("head", json!(app.controls.head)),
    ];
    let about = with(about(app, run, &heads.run), &fields);
    let settings = run.settings.clone();
    Ok(Content { figure: Box::new(figure), csv: csv.finish(), arrays, about, picture, settings })
}

/// The selected head's map, or the part of it that is shown.
pub fn map(app: &App) -> Result<Content, Problem> {
    let (key, map) = app.map.keyed().ok_or_else(|| nothing(app, "no attention map"))?;
    let run = run_of(app, key.run)?;
    let heading = heading(app, run, &run.record);
    let pooling = if app.zoom.max { Pooling::Max } else { Pooling::Mean };
    let scale = if app.zoom.log { ColorScale::Log { floor: WEIGHT_FLOOR } } else { ColorScale::Linear };
    let (first_query, first_key) = map.pick.window.map_or((0, 0), |window| (window.query, window.key));
    let start = |first: usize, cell: usize| first + cell * map.stride;

    let mut csv = Csv::new(&["query", "key", "n_tokens", "mean", "max"]);
    for at in 0..map.side * map.side {
        let (query, key) = (start(first_query, at / map.side), start(first_key, at % map.side));
        // a cell that has no key up to its last query is empty by definition
        if key < query + map.stride {
            let cell = [query, key, map.stride].map(|n| n.to_string()).into_iter();
            csv.row(cell.chain([number(map.mean[at]), number(map.max[at])]));
        }
    }
    let shape = [map.side, map.side];
    let starts = |first: usize| (0..map.side).map(|cell| start(first, cell) as f32).collect();
    let arrays = vec![
        Array::new("mean", &shape, map.mean.clone()),
        Array::new("max", &shape, map.max.clone()),
        Array::list("query", starts(first_query)),
        Array::list("key", starts(first_key)),
    ];
    let fields = [
        ("view", json!("map")),
        ("query", json!(app.query())),
        ("layer", json!(map.pick.layer)),
        ("head", json!(map.pick.head)),
        ("tokens_per_cell", json!(map.stride)),
        ("window", json!(key.window)),
    ];
    let about = with(about(app, run, &run.record), &fields);
    let settings = run.settings.clone();
    let figure: Box<dyn longlens_plot::Figure> = if key.window.is_some() {
        Box::new(ZoomedMap { heading, map: map.clone(), pooling, scale })
    } else {
        Box::new(AttentionMap { heading, ..AttentionMap::pooled_map(&run.record, map, pooling, scale) })
    };
    let picture = match repeatable(app, run) {
        // a prompt that runs again has no text behind it
        Ok(()) if key.window.is_some_and(|window| window.query >= run.record.n_prompt) => {
            Picture::Other("map, zoomed in on the answer".into())
        }
        Ok(()) => Picture::Map {
            layer: map.pick.layer,
            head: map.pick.head,
            side: map.pick.side,
            max: app.zoom.max,
            linear: !app.zoom.log,
            window: key.window,
        },
        Err(why) => Picture::Other(format!("map {why}")),
    };
    Ok(Content { figure, csv: csv.finish(), arrays, about, picture, settings })
}

/// Every head: how much it attends to the needle, and where else.
pub fn layers(app: &App) -> Result<Content, Problem> {
    let (run, heads) = looked(app)?;
    let needle = needle(app, run);
    let (n_layers, n_heads) = heads.shape;
    let all = || (0..n_layers).flat_map(|layer| (0..n_heads).map(move |head| (layer, head)));
    let scores: Vec<f32> = match &needle {
        Some(needle) => all().map(|(layer, head)| heads.on(layer, head, needle)).collect(),
        None => all().map(|(layer, head)| heads.far(layer, head)).collect(),
    };
    let score_name = match needle {
        Some(_) if heads.row(0, 0).is_some() => "attention on the needle",
        Some(_) => "attention on the needle's chunks",
        None => "attention far away and not on the first tokens",
    };
    // how often a head's choice holds the needle is only known in the chunks that it was made of
    let counts = heads.chooses() && own_chunk_len(app, run) == Some(heads.chunk_len);
    let hits = |(layer, head)| needle.as_ref().filter(|_| counts).map(|needle| heads.hits(layer, head, needle));
    let mut csv = Csv::new(&["layer", "head", "score", "hits", "n_choices"]);
    for ((layer, head), score) in all().zip(&scores) {
        let (hit, n) = hits((layer, head)).map_or_else(Default::default, |(hit, n)| (hit.to_string(), n.to_string()));
        csv.row([layer.to_string(), head.to_string(), number(*score), hit, n]);
    }
    let mut arrays = vec![Array::new("scores", &[n_layers, n_heads], scores.clone()), mass_array(heads)];
    let rates: Option<Vec<f32>> = all().map(|at| hits(at).map(|(hit, n)| hit as f32 / n.max(1) as f32)).collect();
    arrays.extend(rates.map(|rates| Array::new("hit_rate", &[n_layers, n_heads], rates)));
    arrays.extend(needle_array(needle.as_ref()));
    let spanned = (heads.n_chunks() * heads.chunk_len) as f64;
    let figure = HeadGrid {
        heading: heading(app, run, &heads.run),
        n_layers,
        n_heads,
        query: heads.query,
        score_name: score_name.to_owned(),
        scores,
        profiles: all().map(|(layer, head)| heads.mass(layer, head).to_vec()).collect(),
        needle: needle.map(|needle| needle.start as f64 / spanned..needle.end as f64 / spanned),
        scale: ColorScale::Linear,
    };
    let fields = [
        ("view", json!("layers")),
        ("score", json!(score_name)),
        ("query", json!(heads.query)),
        ("chunk_len", json!(heads.chunk_len)),
        ("layer", json!(app.controls.layer)),
        ("head", json!(app.controls.head)),
    ];
    let about = with(about(app, run, &heads.run), &fields);
    let picture = match from_command(app, run, heads.query) {
        Ok(()) => {
            let chunk_len = Some(heads.chunk_len).filter(|_| own_chunk_len(app, run).is_none());
            Picture::Layers { query: heads.query, chunk_len }
        }
        Err(why) => Picture::Other(format!("layers {why}")),
    };
    let settings = run.settings.clone();
    Ok(Content { figure: Box::new(figure), csv: csv.finish(), arrays, about, picture, settings })
}

/// Where every head of a run looks.
pub fn looked(app: &App) -> Result<(&Run, &Heads), Problem> {
    let (key, heads) = app.heads.keyed().ok_or_else(|| nothing(app, "no attention"))?;
    Ok((run_of(app, key.run)?, heads))
}

/// Tokens that tell the hidden key in a run's own prompt.
fn needle(app: &App, run: &Run) -> Option<Range<usize>> {
    let open = app.prompt.answer().filter(|prompt| prompt.source == run.source);
    Some(run.prompt.as_ref().or(open)?.needle.as_ref()?.tokens.clone())
}

/// Tokens of a chunk that the run's method chooses.
fn own_chunk_len(app: &App, run: &Run) -> Option<usize> {
    run.settings.method.plan(&app.model.spec).ok()?.chunk_len()
}

/// Whether `longlens chunks` sees what this query saw: tokens of the prompt, and behind it the first of the right answer.
fn from_command(app: &App, run: &Run, query: usize) -> Result<(), &'static str> {
    repeatable(app, run)?;
    let Some(prompt) = &run.prompt else { return Err("of another prompt") };
    let n_prompt = prompt.tokens.len();
    let answer = prompt.needle.as_ref().map(|needle| &needle.answer).filter(|answer| answer.len() > 1);
    let is_right = answer.is_some_and(|answer| run.generated.first() == answer.first());
    // the command takes that token as one of the prompt, which can decide whether it chooses
    let chooses = |n_tokens: usize| {
        let plan = run.settings.method.plan(&app.model.spec);
        plan.is_ok_and(|plan| plan.first_choice(longlens_core::plan::Prompt { n_tokens }) <= query)
    };
    match query.cmp(&n_prompt) {
        Ordering::Less => Ok(()),
        Ordering::Equal if is_right && chooses(n_prompt) == chooses(n_prompt + 1) => Ok(()),
        _ => Err("from a token of the answer"),
    }
}

fn mass_array(heads: &Heads) -> Array {
    let (n_layers, n_heads) = heads.shape;
    let mass = |layer| (0..n_heads).flat_map(move |head| heads.mass(layer, head).iter().copied());
    Array::new("mass", &[n_layers, n_heads, heads.n_chunks()], (0..n_layers).flat_map(mass).collect())
}

/// The needle's first token, and the one after its last.
fn needle_array(needle: Option<&Range<usize>>) -> Option<Array> {
    needle.map(|needle| Array::list("needle", vec![needle.start as f32, needle.end as f32]))
}
