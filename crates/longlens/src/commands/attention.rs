//! `longlens attention`: the attention map of one head, at any length.

use longlens_core::lens::{Lens, Rows};
use longlens_core::trace::{MapPick, RowPick};
use longlens_plot::color::ColorScale;
use longlens_plot::plots::{AttentionMap, Pooling};
use serde_json::json;

use crate::args::Attention;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::needle;
use crate::terminal::Terminal;

/// Weights below this look alike on a logarithmic scale.
const FLOOR: f64 = 1e-5;
/// Keys of a query that are listed.
const SHOWN_KEYS: usize = 8;
/// Most cells of a side that a picture can show.
const MAX_SIDE: usize = 4096;

pub fn run(args: &Attention) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let picture = super::picture(config.out.as_deref(), "attention.png")?;
    super::inputs::spare(&config, picture.as_slice(), &[needle::given(&args.prompt, &config).file.as_deref()])?;
    if args.side == 0 || args.side > MAX_SIDE {
        return Err(Failure::usage(format!("--side {} is out of range", args.side), format!("give 1 to {MAX_SIDE}")));
    }
    let mut lens = super::open(&terminal, &config)?;
    let prompt = needle::prompt(&args.prompt, &config, lens.as_ref())?;
    let n_tokens = prompt.tokens.len();
    let mut setup = config.setup(lens.model(), n_tokens)?;
    super::warn(&terminal, &config, lens.model(), &setup.plan, n_tokens)?;
    setup.watch.maps = vec![MapPick::whole(args.layer, args.head, args.side)];
    let row = args.query.map(|query| RowPick { layer: args.layer, head: args.head, query });
    setup.watch.rows.extend(row);
    let mut progress = terminal.progress("prefill");
    lens.begin(&setup)?;
    // logits are asked for as they are checked: weights that are not finite make no picture
    lens.feed(&prompt.tokens, Rows::Last, &mut progress)?;
    drop(progress);
    let trace = lens.trace();
    let map = &trace.maps[0];
    terminal.result(&json!({
        "run": trace.run, "layer": args.layer, "head": args.head, "n_tokens": n_tokens, "stride": map.stride,
        "side": map.side, "mean": map.mean, "max": map.max, "needle_tokens": prompt.needle,
        "query": args.query, "query_weights": trace.rows.first().map(|(_, weights)| weights),
    }))?;
    let pooled = if map.stride == 1 { "exact".into() } else { format!("{} tokens a cell", map.stride) };
    terminal.say(format_args!(
        "{}, {}, layer {}, head {}: {n_tokens} tokens, {} x {} cells, {pooled}",
        trace.run.method,
        trace.run.rope_text(),
        args.layer,
        args.head,
        map.side,
        map.side,
    ))?;
    if let Some((pick, weights)) = trace.rows.first() {
        describe_row(&terminal, lens.as_ref(), &prompt.tokens, pick.query, weights)?;
    }
    match &picture {
        Some(path) => {
            let pooling = if args.max { Pooling::Max } else { Pooling::Mean };
            let scale = if args.linear { ColorScale::Linear } else { ColorScale::Log { floor: FLOOR } };
            super::save(&terminal, &AttentionMap::pooled_map(&trace.run, map, pooling, scale), path)
        }
        None if config.json => Ok(()),
        None => terminal.note("give --out FILE.png or FILE.svg to draw it, or --json for the numbers"),
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
