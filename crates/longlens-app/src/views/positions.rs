//! The relative position at which every query of a plan sees every key.

use longlens_core::brief;
use longlens_core::lens::ModelInfo;
use longlens_core::plan::{Plan, Prefill, Relation};
use longlens_core::rope::RopeScaling;
use longlens_plot::plots::{PositionMap, Seen};
use serde_json::json;

use super::{Plot, Table};
use crate::npz::Array;
use crate::problem::Problem;

/// Cells of a side at most, of table and arrays; longer prompts are sampled.
const MAX_SIDE: usize = 512;

/// Positions of a head over a prompt of `n_tokens`, at least one. `note` is said below the title besides model and scaling.
/// Arrays: `position[query, key]` (NaN where the data decides or the key is hidden), `seen[query, key]` (0 hidden, 1 at a
/// trained position, 2 at one if it is chosen, 3 at one that was never trained), `token[side]`.
pub fn positions(
    model: &ModelInfo,
    plan: &Plan,
    (layer, head): (usize, usize),
    rope: &RopeScaling,
    n_tokens: usize,
    note: Option<&str>,
) -> Result<Plot, Problem> {
    let trained = rope.resolve(&model.spec)?.reach();
    let reach = trained.unwrap_or(n_tokens);
    let trained_context = model.spec.trained_context;
    let mut subtitle = format!("{} · rope {rope} · trained on {trained_context} tokens", model.name);
    subtitle.extend(note.iter().flat_map(|note| [" · ", note]));
    let mut figure = PositionMap::new(plan, (layer, head), n_tokens, reach, subtitle);
    let side = n_tokens.min(MAX_SIDE);
    // the middle of each block stands for it, as in the picture
    let token = move |at: usize| usize::midpoint(at * n_tokens / side, (at + 1) * n_tokens / side - 1);
    let (seen, prompt) = (figure.cells(side), Prefill { n_tokens });
    let position = |at: usize| {
        let (query, key) = (token(at / side), token(at % side));
        match figure.rule.relation(query, key.min(query), prompt) {
            Relation::At(position, _) if key <= query => position as f32,
            Relation::Chosen { between: (low, high), forced } if key <= query && (forced || low >= high) => low as f32,
            _ => f32::NAN,
        }
    };
    let positions: Vec<f32> = (0..side * side).map(position).collect();
    let codes = seen.iter().map(|seen| code(*seen).0).collect();
    let arrays = vec![
        Array::new("position", &[side, side], positions.clone()),
        Array::new("seen", &[side, side], codes),
        Array::list("token", (0..side).map(|at| token(at) as f32).collect()),
    ];
    let table = move || {
        let mut table = Table::new(&[("query", "token"), ("key", "token"), ("seen", ""), ("position", "tokens")]);
        for (at, (seen, position)) in seen.iter().zip(&positions).enumerate() {
            let (query, key) = (token(at / side), token(at % side));
            if key <= query {
                table.push(vec![query.into(), key.into(), code(*seen).1.into(), (*position).into()]);
            }
        }
        table
    };
    let short = brief::name(&plan.method, trained_context);
    figure.heading.title = figure.heading.title.replacen(&plan.method, &short, 1);
    let highest = plan.highest_position(n_tokens);
    let text = format!("positions of {} at {n_tokens} tokens: highest {highest}, {reach} trained", plan.method);
    let about = json!({
        "view": "positions", "model": model.name, "method": plan.method, "layer": layer, "head": head, "rope": rope.to_string(), "n_tokens": n_tokens,
        "trained_positions": trained, "highest_position": highest,
        "seen": { "hidden": 0, "trained": 1, "if chosen": 2, "untrained": 3 },
    });
    let mut about = about.as_object().cloned().unwrap_or_default();
    about.extend(note.map(|note| ("note".into(), json!(note))));
    Ok(Plot { about, ..Plot::new(text, figure).with(arrays, side * (side + 1) / 2, table) })
}

/// What a cell shows, as a number of the array and a word of the table.
fn code(seen: Seen) -> (f32, &'static str) {
    match seen {
        Seen::Hidden => (0.0, "hidden"),
        Seen::At(_) => (1.0, "trained"),
        Seen::Depends => (2.0, "if chosen"),
        Seen::Untrained => (3.0, "untrained"),
    }
}
