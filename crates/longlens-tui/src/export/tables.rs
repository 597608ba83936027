//! Views that need no look into a run: positions of a method, the passkey grid, losses.

use std::fmt::Write;

use longlens_app::Problem;
use longlens_app::npz::Array;
use longlens_app::runs::Run;
use longlens_app::settings::{Settings, Swap};
use longlens_app::steps::{Picture, Ran};
use longlens_core::plan::{Prompt, Relation};
use longlens_core::trace::RunRecord;
use longlens_eval::passkey::{Grid, Template};
use longlens_plot::Heading;
use longlens_plot::plots::{LossCurve, LossSeries, NeedleGrid, PositionMap, Seen};
use serde_json::{Value, json};

use super::csv::{Csv, number};
use super::{Content, about, heading, nothing, with};
use crate::app::App;

/// Cells of a side at most, as in the picture; longer prompts are sampled.
const MAX_SIDE: usize = 256;

/// Relative positions of the settings over the prompt.
pub fn positions(app: &App) -> Result<Content, Problem> {
    let checked = app.verdict.as_ref().map_err(Clone::clone)?;
    let n_tokens = app.n_prompt();
    if n_tokens == 0 {
        return Err(nothing(app, "no prompt"));
    }
    let (settings, model) = (&app.controls.settings, &app.model);
    let trained = checked.forecast.trained;
    let mode = if settings.swap == Swap::ReuseKv { " · reuse-kv" } else { "" };
    let subtitle =
        format!("{} · rope {} · trained on {} tokens{mode}", model.name, checked.rope, model.spec.trained_context);
    let head = (app.controls.layer, app.controls.head);
    let figure = PositionMap::new(&checked.plan, head, n_tokens, trained.unwrap_or(n_tokens), subtitle);

    let side = n_tokens.min(MAX_SIDE);
    let seen = figure.cells(side);
    // the middle of each block stands for it
    let token =
        |at: usize| usize::midpoint(at * n_tokens / side, ((at + 1) * n_tokens / side - 1).max(at * n_tokens / side));
    let mut csv = Csv::new(&["query", "key", "seen", "position"]);
    let (mut codes, mut distances) = (Vec::with_capacity(seen.len()), Vec::with_capacity(seen.len()));
    for (at, seen) in seen.iter().enumerate() {
        let (query, key) = (token(at / side), token(at % side));
        let (code, name) = match seen {
            Seen::Hidden => (0.0, "hidden"),
            Seen::At(_) => (1.0, "trained"),
            Seen::Depends => (2.0, "if chosen"),
            Seen::Untrained => (3.0, "untrained"),
        };
        let position = match figure.rule.relation(query, key.min(query), Prompt { n_tokens }) {
            _ if key > query => f32::NAN,
            Relation::At(position, _) => position as f32,
            Relation::Chosen { between: (low, high), forced } if forced || low >= high => low as f32,
            Relation::Hidden | Relation::Chosen { .. } => f32::NAN,
        };
        codes.push(code);
        distances.push(position);
        if key <= query {
            csv.row([query.to_string(), key.to_string(), name.to_owned(), number(position)]);
        }
    }
    let tokens: Vec<f32> = (0..side).map(|at| token(at) as f32).collect();
    let arrays = vec![
        Array::new("position", &[side, side], distances),
        Array::new("seen", &[side, side], codes),
        Array::list("token", tokens),
    ];
    let record = RunRecord {
        model: model.name.clone(),
        method: checked.plan.method.clone(),
        rope: checked.rope.to_string(),
        dtype: model.dtype.clone(),
        kernel_path: model.kernel_path.clone(),
        mode: settings.swap.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        n_prompt: n_tokens,
        trained_context: model.spec.trained_context,
        warnings: model.warnings.clone(),
    };
    let prompt = app.prompt.answer().map(|prompt| prompt.source.to_string());
    let about = json!({
        "view": "positions", "run": record, "prompt": prompt, "trained_positions": trained,
        "seen": { "hidden": 0, "trained": 1, "if chosen": 2, "untrained": 3 },
    });
    let (settings, picture) = (settings.clone(), Picture::Positions(n_tokens));
    Ok(Content { figure: Box::new(figure), csv: csv.finish(), arrays, about, picture, settings })
}

/// The passkey grid that is shown, as far as it is done.
pub fn grid(app: &App) -> Result<Content, Problem> {
    let empty = || Problem::new("there is no passkey grid to export yet", "run one (g)".to_owned());
    let grid = app.grids.shown().ok_or_else(empty)?;
    if grid.cells.iter().all(Option::is_none) {
        let help = if grid.running { "wait for its first cell" } else { "run one (g)" };
        return Err(Problem::new("no cell of this passkey grid is done", help.to_owned()));
    }
    // every cell has prompts of its own length
    let mut heading = Heading::of_run(&RunRecord { n_prompt: 0, ..grid.record.clone() });
    let prompts = if grid.trials == 1 { "1 prompt".to_owned() } else { format!("{} prompts", grid.trials) };
    let _ = write!(heading.subtitle, " · {prompts} a cell, seed {}", grid.settings.sampling.seed);
    if grid.cells.iter().any(Option::is_none) {
        heading.subtitle += if grid.running { " · not finished" } else { " · interrupted" };
    }
    let mut csv = Csv::new(&["length", "depth", "accuracy", "n_trials"]);
    for (at, cell) in grid.cells.iter().enumerate() {
        let (depth, length) = (grid.depths[at / grid.lengths.len()], grid.lengths[at % grid.lengths.len()]);
        let (accuracy, n) = cell.map_or((String::new(), 0), |cell| (cell.accuracy.to_string(), cell.n_trials));
        csv.row([length.to_string(), depth.to_string(), accuracy, n.to_string()]);
    }
    let shape = [grid.depths.len(), grid.lengths.len()];
    let accuracy = grid.cells.iter().map(|cell| cell.map_or(f32::NAN, |cell| cell.accuracy as f32)).collect();
    let n_trials = grid.cells.iter().map(|cell| cell.map_or(0.0, |cell| cell.n_trials as f32)).collect();
    let arrays = vec![
        Array::new("accuracy", &shape, accuracy),
        Array::new("n_trials", &shape, n_trials),
        Array::list("lengths", grid.lengths.iter().map(|length| *length as f32).collect()),
        Array::list("depths", grid.depths.iter().map(|depth| *depth as f32).collect()),
    ];
    let about = json!({
        "view": "grid", "run": RunRecord { n_prompt: 0, ..grid.record.clone() }, "settings": grid.text,
        "trials": grid.trials, "seed": grid.settings.sampling.seed,
    });
    let (lengths, depths) = (grid.lengths.clone(), grid.depths.clone());
    let trained = app.model.spec.trained_context;
    let figure = NeedleGrid::single(heading, trained, lengths.clone(), depths.clone(), grid.cells.clone());
    let seed = grid.settings.sampling.seed;
    let asked = Grid { template: Template::Longlens, lengths, depths, trials: grid.trials, seed };
    let (settings, picture) = (grid.settings.clone(), Picture::Grid(asked));
    Ok(Content { figure: Box::new(figure), csv: csv.finish(), arrays, about, picture, settings })
}

/// Losses of the pinned runs and of the one that is shown.
pub fn loss(app: &App) -> Result<Content, Problem> {
    let shown = app.shown_run();
    let unpinned = shown.filter(|run| !run.pinned);
    let runs: Vec<&Run> = app.runs.pinned().chain(unpinned).filter(|run| !run.nll.is_empty()).collect();
    let Some(newest) = runs.last().copied() else { return Err(nothing(app, "no loss")) };
    let mut csv = Csv::new(&["run", "settings", "prompt", "token", "nll"]);
    for run in &runs {
        let same = [run.id.to_string(), run_name(app, run), run.source.to_string()];
        for (at, loss) in run.prompt_nll().iter().enumerate() {
            let own = [(run.nll_from + at).to_string(), number(*loss)];
            csv.row(same.iter().cloned().chain(own));
        }
    }
    let arrays = runs.iter().map(|run| Array::list(format!("nll_{}", run.id), of_tokens(run))).collect();
    let longest = runs.iter().map(|run| run.nll_from + run.nll.len()).max().unwrap_or(0);
    let series = |run: &&Run| LossSeries { name: run_name(app, run), nll: of_tokens(run) };
    // as in the pane
    let smooth = (longest / 100).clamp(1, 32);
    let heading = match runs[..] {
        [one] => heading(app, one, &one.record),
        _ => common(&runs),
    };
    let figure = LossCurve {
        heading,
        trained_context: app.model.spec.trained_context,
        series: runs.iter().map(series).collect(),
        smooth,
    };
    let of = |run: &&Run| with(about(app, run, &run.record), &[("array", json!(format!("nll_{}", run.id)))]);
    let about = json!({
        "view": "loss", "nll": "entry t is the loss of token t + 1, in nats",
        "runs": runs.iter().map(of).collect::<Vec<Value>>(),
    });
    let settings = shown.unwrap_or(newest).settings.clone();
    let picture = if runs.iter().any(|run| run.base.is_some()) {
        Picture::Other("loss under reuse-kv".into())
    } else {
        Picture::Loss { runs: runs.iter().map(|run| ran(run)).collect(), smooth }
    };
    Ok(Content { figure: Box::new(figure), csv: csv.finish(), arrays, about, picture, settings })
}

/// Loss of token `t + 1` at `t`, whatever token was the first that had one.
pub fn of_tokens(run: &Run) -> Vec<f32> {
    let unknown = run.nll_from.saturating_sub(1);
    std::iter::repeat_n(f32::NAN, unknown).chain(run.prompt_nll().iter().copied()).collect()
}

/// What a run of a whole prompt is known by.
pub fn ran(run: &Run) -> Ran {
    (Settings { swap: Swap::RePrefill, ..run.settings.clone() }, run.source.clone())
}

/// What was run, after the user's name for it where it has one.
pub fn run_name(app: &App, run: &Run) -> String {
    let base = run.base.as_ref().map_or(String::new(), |base| format!(" after {}", base.text(&app.model.spec)));
    let text = format!("{}{base}", run.settings.text(&app.model.spec));
    run.name.as_ref().map_or(text.clone(), |name| format!("{name}: {text}"))
}

/// The heading of several runs: their prompts, and what they share.
pub fn common(runs: &[&Run]) -> Heading {
    let listed = |of: &dyn Fn(&Run) -> String| {
        let mut all: Vec<String> = runs.iter().map(|run| of(run)).filter(|text| !text.is_empty()).collect();
        all.sort();
        all.dedup();
        all.join(", ")
    };
    let subtitle = [
        listed(&|run| run.record.model.clone()),
        listed(&|run| run.record.dtype.clone()),
        listed(&|run| run.record.kernel_path.clone()),
    ];
    let title = listed(&|run| run.source.to_string());
    Heading { title, subtitle: subtitle.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" · ") }
}
