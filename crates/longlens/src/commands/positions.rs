//! `longlens positions`: where a method puts every (query, key), how far it carries, and what to know before running it.

use longlens_app::views::{ENDINGS, positions};
use longlens_core::picture;
use longlens_core::plan::{HeadPlan, Prefill, Relation};
use longlens_core::spec::ModelSpec;
use serde_json::json;

use crate::args::PositionsArgs;
use crate::config::{MAX_TOKENS, RunConfig, length};
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Longest prompt whose every position is printed.
const PRINTED: usize = 24;

pub fn run(args: &PositionsArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let picture = super::file(config.out.as_deref(), "positions.png", &ENDINGS)?;
    crate::inputs::spare(&config, picture.as_slice(), &[])?;
    let model = &super::describe(&terminal, &config)?;
    let plan = config.settings.plan(&model.spec)?;
    let rope = config.rope(model);
    let trained = rope.resolve(&model.spec)?.reach();
    let n_tokens = args.tokens.as_deref().map_or(Ok(2 * model.spec.trained_context), length)?;
    let (layer, head) = (args.layer.unwrap_or(plan.first_layer()), args.head);
    check_place(&model.spec, layer, head)?;

    if let Some(pair) = &args.pair {
        return say_pair(&terminal, plan.of(layer, head), pair, n_tokens);
    }

    if let Some(path) = &picture {
        super::save_view(&terminal, &positions(model, &plan, (layer, head), &rope, n_tokens, None)?, path)?;
    }
    let capacity = trained.map(|trained| plan.capacity(trained));
    let warnings: Vec<String> = plan.warnings(n_tokens, trained).iter().map(ToString::to_string).collect();
    let capacity_text = capacity.map_or("follows the length (dynamic base)".into(), |capacity| capacity.to_string());
    terminal.result(&json!({
        "model": model.name, "method": plan.method, "rope": rope.to_string(), "n_tokens": n_tokens,
        "trained_positions": trained, "highest_position": plan.highest_position(n_tokens),
        "capacity": capacity_text, "warnings": warnings,
        "layer": layer, "head": head, "spans": plan.of(layer, head).spans.iter().map(|span| span.name).collect::<Vec<_>>(),
        "places": plan.places(),
    }))?;
    if !config.json {
        if n_tokens <= PRINTED {
            terminal.say(picture::draw(plan.of(layer, head), n_tokens).trim_end())?;
        }
        terminal.say(format_args!("method            {}", plan.method))?;
        if plan.rules().len() > 1 {
            terminal.say(format_args!("rules             {}", plan.places().join(" | ")))?;
            terminal.say(format_args!("shown             layer {layer}, head {head}"))?;
        }
        terminal.say(format_args!("rope              {rope}"))?;
        terminal.say(format_args!("tokens            {n_tokens}"))?;
        terminal.say(format_args!("trained positions {}", reach_text(trained, model.spec.trained_context)))?;
        terminal.say(format_args!("highest position  {}", plan.highest_position(n_tokens)))?;
        terminal.say(format_args!("capacity          {capacity_text}"))?;
    }
    for warning in warnings {
        terminal.note(format_args!("warning: {warning}"))?;
    }
    Ok(())
}

/// Refuses a layer or a head that the model does not have.
fn check_place(spec: &ModelSpec, layer: usize, head: usize) -> Result<(), Failure> {
    for (what, index, count) in [("layer", layer, spec.n_layers), ("head", head, spec.n_heads)] {
        if index >= count {
            let help = format!("{what}s go from 0 to {}", count - 1);
            return Err(Failure::usage(format!("{what} {index} does not exist"), help));
        }
    }
    Ok(())
}

/// Says how one query and one key stand to each other.
fn say_pair(terminal: &Terminal, rule: &HeadPlan, pair: &str, n_tokens: usize) -> Result<(), Failure> {
    let (query, key) = read_pair(pair)?;
    if key > query {
        return Err(Failure::usage(
            format!("key {key} comes after query {query}"),
            "a query meets keys up to itself".to_owned(),
        ));
    }
    let relation = rule.relation(query, key, Prefill { n_tokens: n_tokens.max(query + 1) });
    terminal.result(&json!({ "query": query, "key": key, "relation": relation_text(relation) }))?;
    terminal.say(format_args!("query {query}, key {key}: {}", relation_text(relation)))
}

/// The positions that the model was trained on, or that a scaling claims.
fn reach_text(reach: Option<usize>, trained_context: usize) -> String {
    match reach {
        None => format!("follow the length; trained on {trained_context} tokens"),
        Some(reach) if reach == trained_context => format!("0 .. {}", reach - 1),
        Some(reach) => format!("0 .. {}, as the scaling claims; trained on {trained_context} tokens", reach - 1),
    }
}

fn read_pair(text: &str) -> Result<(usize, usize), Failure> {
    let pair = text.split_once(',').and_then(|(q, k)| Some((q.trim().parse().ok()?, k.trim().parse().ok()?)));
    let pair = pair.filter(|(query, key): &(usize, usize)| *query.max(key) <= MAX_TOKENS);
    pair.ok_or_else(|| Failure::usage(format!("`{text}` is not a pair"), "write QUERY,KEY as in `300,12`".to_owned()))
}

fn relation_text(relation: Relation) -> String {
    match relation {
        Relation::Hidden => "hidden".into(),
        Relation::At(position, _) => format!("relative position {position}"),
        Relation::Chosen { between: (low, _), forced: true } => {
            format!("relative position {low} (its chunk is always chosen)")
        }
        Relation::Chosen { between: (low, high), .. } if low >= high => {
            format!("relative position {low}, if its chunk is chosen")
        }
        Relation::Chosen { between: (low, high), .. } => {
            format!("relative position {low} to {high}, if its chunk is chosen")
        }
    }
}
