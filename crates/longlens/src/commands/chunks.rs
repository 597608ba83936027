//! `longlens chunks`: which chunks every head attends to.

use longlens_core::trace::{ChunkMass, Queries, Trace, WatchMass};
use longlens_plot::color::ColorScale;
use longlens_plot::plots::{ChunkMap, ChunkRows};
use serde_json::{Value, json};

use crate::args::Chunks;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::needle::{self, Prompt};
use crate::terminal::Terminal;

/// Masses below this share look alike.
const FLOOR: f64 = 1e-4;

pub fn run(args: &Chunks) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let picture = super::picture(config.out.as_deref(), "chunks.png")?;
    super::inputs::spare(&config, picture.as_slice(), &[needle::given(&args.prompt, &config).file.as_deref()])?;
    let mut lens = super::open(&terminal, &config)?;
    let mut prompt = needle::prompt(&args.prompt, &config, lens.as_ref())?;
    // of a hidden key, the token that fetches its first digit can be looked at; it follows the prompt
    let n_prompt = prompt.tokens.len();
    let n_queries = n_prompt + usize::from(prompt.answer_start.is_some());
    let query = args.query.unwrap_or(n_queries.saturating_sub(1));
    if query >= n_queries {
        return Err(Failure::usage(
            format!("query {query} is not in the prompt of {n_prompt} tokens"),
            format!("queries go from 0 to {}", n_queries - 1),
        ));
    }
    if query == n_prompt {
        prompt.tokens.extend(prompt.answer_start);
    }
    let spec = lens.model().spec.clone();
    let n_tokens = prompt.tokens.len();
    if let Some(layer) = args.layer.filter(|layer| *layer >= spec.n_layers) {
        return Err(Failure::usage(
            format!("layer {layer} does not exist"),
            format!("layers go from 0 to {}", spec.n_layers - 1),
        ));
    }
    let mut setup = config.setup(lens.model(), n_tokens)?;
    super::warn(&terminal, &config, lens.model(), &setup.plan, n_tokens)?;
    // what a method does not choose can still be weighed, in chunks of any length
    let chooses = query >= setup.plan.first_choice(longlens_core::plan::Prompt { n_tokens });
    let by_mass = args.mass || args.chunk_len.is_some() || !chooses;
    let own_len = setup.plan.chunk_len().unwrap_or(spec.trained_context / 16);
    let chunk_len = args.chunk_len.filter(|_| by_mass).unwrap_or(own_len).max(1);
    if by_mass && !args.mass && setup.plan.chunk_len().is_some() && !chooses {
        terminal
            .note(format_args!("query {query} sees every key: showing attention mass, as nothing is chosen yet"))?;
    }
    if by_mass {
        setup.watch.mass = Some(WatchMass { chunk_len, queries: Queries::Of(vec![query]) });
    } else {
        setup.watch.choices = Queries::Of(vec![query]);
    }
    let mut progress = terminal.progress("prefill");
    lens.begin(&setup)?;
    // logits are asked for as they are checked: weights that are not finite make no picture
    lens.feed(&prompt.tokens, longlens_core::lens::Rows::Last, &mut progress)?;
    drop(progress);
    let trace = lens.trace();

    let rows = rows(&trace, args.layer, &prompt, chunk_len);
    terminal.result(&json!({
        "run": trace.run, "query": query, "chunk_len": chunk_len, "needle_tokens": prompt.needle, "kind": if by_mass { "mass" } else { "choice" },
        "heads": rows.iter().map(Row::json).collect::<Vec<_>>(),
    }))?;
    if !config.json {
        describe(&terminal, &trace, &rows, &prompt, query, chunk_len)?;
    }
    if let Some(path) = &picture {
        let mut figure = figure(&trace, by_mass, chunk_len);
        keep_layer(&mut figure, args.layer);
        if let Some(needle) = &prompt.needle {
            figure = figure.with_needle(needle.clone());
        }
        super::save(&terminal, &figure, path)?;
    }
    Ok(())
}

/// The picture of the first recorded query.
pub fn figure(trace: &Trace, by_mass: bool, chunk_len: usize) -> ChunkMap {
    if by_mass {
        ChunkMap::mass(trace, 0, ColorScale::Log { floor: FLOOR })
    } else {
        ChunkMap::choices(trace, 0, chunk_len)
    }
}

fn keep_layer(figure: &mut ChunkMap, layer: Option<usize>) {
    let Some(layer) = layer else { return };
    match &mut figure.rows {
        ChunkRows::Choices(rows, _) => rows.retain(|row| row.layer == layer),
        ChunkRows::Mass(rows, _) => rows.retain(|row| row.layer == layer),
    }
}

/// One head's chunks for the query.
struct Row {
    layer: usize,
    head: usize,
    /// Chunk and score (of a choice) or mass.
    chunks: Vec<(usize, f32)>,
    /// Share of the needle's chunks that were chosen, or the mass on them.
    needle: Option<f32>,
    margin: Option<f32>,
}

impl Row {
    fn json(&self) -> Value {
        let number = |n: f32| if n.is_finite() { json!(n) } else { Value::Null };
        let chunks: Vec<_> =
            self.chunks.iter().map(|(chunk, n)| json!({ "chunk": chunk, "value": number(*n) })).collect();
        json!({
            "layer": self.layer, "head": self.head, "chunks": chunks, "needle": self.needle,
            "margin": self.margin.map(number),
        })
    }
}

fn rows(trace: &Trace, layer: Option<usize>, prompt: &Prompt, chunk_len: usize) -> Vec<Row> {
    let needle = prompt.needle.as_ref().map(|needle| needle.start / chunk_len..needle.end.div_ceil(chunk_len));
    let mut rows = Vec::new();
    for (at, of_layer) in trace.layers.iter().enumerate() {
        if layer.is_some_and(|layer| layer != at) {
            continue;
        }
        if let Some(choices) = of_layer.choices.as_ref().filter(|choices| !choices.queries.is_empty()) {
            rows.extend((0..choices.n_heads).map(|head| {
                let chunks: Vec<_> = choices.row(0, head).collect();
                let hits = |needle: &std::ops::Range<usize>| {
                    let hits = chunks.iter().filter(|(chunk, _)| needle.contains(chunk)).count();
                    hits as f32 / needle.len().max(1) as f32
                };
                let needle = needle.as_ref().map(hits);
                Row { layer: at, head, needle, margin: choices.margins.get(head).copied(), chunks }
            }));
        }
        if let Some(mass) = of_layer.mass.as_ref().filter(|mass: &&ChunkMass| !mass.queries.is_empty()) {
            rows.extend((0..mass.n_heads).map(|head| {
                let chunks: Vec<_> = mass.row(0, head).iter().copied().enumerate().collect();
                let on = |needle: &std::ops::Range<usize>| {
                    chunks.iter().filter(|(chunk, _)| needle.contains(chunk)).map(|(_, mass)| *mass).sum()
                };
                Row { layer: at, head, needle: needle.as_ref().map(on), margin: None, chunks }
            }));
        }
    }
    rows
}

fn describe(
    terminal: &Terminal,
    trace: &Trace,
    rows: &[Row],
    prompt: &Prompt,
    query: usize,
    chunk_len: usize,
) -> Result<(), Failure> {
    terminal.say(format_args!(
        "{}, {}, query {query} of {} tokens, chunks of {chunk_len}",
        trace.run.method,
        trace.run.rope_text(),
        trace.run.n_prompt
    ))?;
    if let Some(needle) = &prompt.needle {
        let (first, last) = (needle.start / chunk_len, needle.end.div_ceil(chunk_len) - 1);
        terminal.say(format_args!(
            "needle: tokens {} to {}, chunks {first} to {last}",
            needle.start,
            needle.end - 1
        ))?;
    }
    let kind = if rows.iter().any(|row| row.margin.is_some()) {
        "chosen chunks of every head, by number; share of the needle's chunks among them"
    } else {
        "chunks with most attention of every head, and their share; attention on the needle's chunks"
    };
    terminal.say(kind)?;
    for row in rows {
        let needle = row.needle.map_or(String::new(), |share| format!("  needle {:>3.0}%", 100.0 * share.max(0.0)));
        let mut chunks = row.chunks.clone();
        let mass = row.margin.is_none();
        if mass {
            chunks.sort_by(|a, b| b.1.total_cmp(&a.1));
            chunks.truncate(6);
        }
        let shown: Vec<_> = chunks
            .iter()
            .map(|(chunk, n)| if mass { format!("{chunk} ({:.0}%)", 100.0 * n) } else { chunk.to_string() })
            .collect();
        terminal.say(format_args!("L{} H{}{needle}  {}", row.layer, row.head, shown.join(" ")))?;
    }
    Ok(())
}
