//! `longlens attention`: the attention map of one head, at any length.

use longlens_app::views::attention::{Attention as Map, MAX_SIDE};
use longlens_app::views::{ENDINGS, TraceView};
use longlens_core::lens::Lens;
use longlens_core::setting::{Setting, Value};
use serde_json::json;

use super::plot::{Looks, Viewed, viewed};
use crate::args::AttentionArgs;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::prompt;
use crate::terminal::Terminal;

/// Keys of a query that are listed.
const SHOWN_KEYS: usize = 8;

pub fn run(args: &AttentionArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let picture = super::file(config.out.as_deref(), "attention.png", &ENDINGS)?;
    crate::inputs::spare(&config, picture.as_slice(), &[prompt::given(&args.prompt, &config).file.as_deref()])?;
    if let Some(side) = args.side.filter(|side| !(1..=MAX_SIDE).contains(side)) {
        return Err(Failure::usage(format!("--side {side} is out of range"), format!("give 1 to {MAX_SIDE}")));
    }
    let mut options = Setting::new(Map.info());
    let numbers = [("layer", args.layer), ("head", Some(args.head)), ("side", args.side)];
    for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
        options.set(name, &Value::Number(number as f64))?;
    }
    for (name, word, is_given) in [("pooling", "max", args.max), ("scale", "linear", args.linear)] {
        if is_given {
            options.set(name, &Value::Word(word.into()))?;
        }
    }
    let looks = Looks { row: args.query, is_page: super::is_page(picture.as_deref()), ..Looks::default() };
    let Viewed { lens, prompt, setup, trace, view } = viewed(&terminal, &config, &args.prompt, &Map, &options, looks)?;
    let map = &trace.maps[0];
    terminal.result(&json!({
        "run": trace.run, "layer": map.pick.layer, "head": args.head, "n_tokens": setup.n_prompt, "stride": map.stride,
        "side": map.side, "mean": map.mean, "max": map.max, "needle_tokens": prompt.needle,
        "query": args.query, "query_weights": trace.rows.first().map(|(_, weights)| weights),
    }))?;
    terminal.say(&view.text)?;
    if let Some((pick, weights)) = trace.rows.first() {
        describe_row(&terminal, lens.as_ref(), &prompt.tokens, pick.query, weights)?;
    }
    match &picture {
        Some(path) => super::save_view(&terminal, &view, path),
        None if config.json => Ok(()),
        None => {
            terminal.note("give --out FILE.png or FILE.svg to draw it, FILE.html to look into it, FILE.csv, FILE.npz or --json for the numbers")
        }
    }
}

/// The keys that a query weighs most, with their text where the model has some.
fn describe_row(
    terminal: &Terminal,
    lens: &dyn Lens,
    tokens: &[u32],
    query: usize,
    weights: &[f32],
) -> Result<(), Failure> {
    let text = |token: usize| lens.text().and_then(|text| text.decode(&tokens[token..=token])).unwrap_or_default();
    let mut keys: Vec<usize> = (0..weights.len()).collect();
    keys.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]).then(a.cmp(b)));
    terminal.say(format_args!("query {query} {:?} looks at:", text(query)))?;
    for key in keys.into_iter().take(SHOWN_KEYS) {
        terminal.say(format_args!("{:>7.2}%  key {key:<7} {:?}", 100.0 * weights[key], text(key)))?;
    }
    Ok(())
}
