//! `longlens chunks`: which chunks every head attends to.

use std::ops::Range;

use longlens_app::heads::Heads;
use longlens_app::views::chunks::{Chunks as Map, Shown};
use longlens_app::views::{ENDINGS, TraceView};
use longlens_core::setting::{Setting, Value};
use serde_json::json;

use super::plot::{Looks, SHOWN_HEADS, SHOWN_ROWS, viewed};
use crate::args::ChunksArgs;
use crate::config::RunConfig;
use crate::failure::Failure;
use crate::prompt;
use crate::terminal::Terminal;

/// Chunks of a head that are listed where it attends to all of them.
const SHOWN_CHUNKS: usize = 6;

pub fn run(args: &ChunksArgs) -> Result<(), Failure> {
    let config = RunConfig::new(&args.common)?;
    let terminal = Terminal::new(config.json);
    let picture = super::file(config.out.as_deref(), "chunks.png", &ENDINGS)?;
    crate::inputs::spare(&config, picture.as_slice(), &[prompt::given(&args.prompt, &config).file.as_deref()])?;
    let mut options = Setting::new(Map.info());
    let numbers = [("query", args.query), ("layer", args.layer), ("chunk_len", args.chunk_len)];
    for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
        options.set(name, &Value::Number(number as f64))?;
    }
    let asks_for_attention = args.attention || args.chunk_len.is_some();
    if asks_for_attention {
        options.set("show", &Value::Word("attention".into()))?;
    }
    let looks = Looks { is_page: super::is_page(picture.as_deref()), ..Looks::default() };
    let viewed = viewed(&terminal, &config, &args.prompt, &Map, &options, looks)?;
    let shown = Shown::of(&viewed.subject(), &options)?;
    let Shown { query, chunk_len, is_choice } = shown;
    if !asks_for_attention && !is_choice && viewed.subject().own_chunk_len().is_some() {
        terminal.note(format_args!("query {query} sees every key: showing attention, as nothing is chosen yet"))?;
    }
    let heads = Heads::of(&viewed.trace, query)?;
    let needle = viewed.prompt.needle.as_ref();
    let rows = rows(&heads, is_choice, args.layer, needle.map(|needle| heads.chunks_of(needle)).as_ref());
    terminal.result(&json!({
        "run": heads.run, "query": query, "chunk_len": chunk_len, "needle_tokens": needle,
        "kind": if is_choice { "choice" } else { "attention" }, "heads": rows.iter().map(Row::json).collect::<Vec<_>>(),
    }))?;
    if !config.json {
        describe(&terminal, &heads, shown, &rows, needle)?;
    }
    picture.map_or(Ok(()), |path| super::save_view(&terminal, &viewed.view, &path))
}

/// One head's chunks for the query.
struct Row {
    layer: usize,
    head: usize,
    /// Chunk and score (of a choice) or attention; of a choice none where the head attends to every key.
    chunks: Vec<(usize, f32)>,
    /// Share of the needle's chunks that were chosen, or the attention on them; nothing where there was no choice.
    needle: Option<f32>,
    margin: Option<f32>,
}

impl Row {
    fn json(&self) -> serde_json::Value {
        let number = |n: f32| if n.is_finite() { json!(n) } else { serde_json::Value::Null };
        let chunks: Vec<_> =
            self.chunks.iter().map(|(chunk, n)| json!({ "chunk": chunk, "value": number(*n) })).collect();
        json!({
            "layer": self.layer, "head": self.head, "chunks": chunks, "needle": self.needle,
            "margin": self.margin.map(number),
        })
    }
}

fn rows(heads: &Heads, is_choice: bool, layer: Option<usize>, needle: Option<&Range<usize>>) -> Vec<Row> {
    let row = |(layer, head)| {
        let chunks: Vec<(usize, f32)> = if is_choice {
            heads.picks(layer, head).iter().map(|pick| (pick.chunk, pick.score.unwrap_or(f32::NAN))).collect()
        } else {
            heads.mass(layer, head).iter().copied().enumerate().collect()
        };
        let on_needle = |needle: &Range<usize>| {
            let on = chunks.iter().filter(|(chunk, _)| needle.contains(chunk));
            if is_choice { on.count() as f32 / needle.len().max(1) as f32 } else { on.map(|(_, mass)| mass).sum() }
        };
        let margin = heads.margin(layer, head).filter(|_| is_choice);
        let needle = needle.filter(|_| !chunks.is_empty()).map(on_needle);
        Row { layer, head, chunks, needle, margin }
    };
    heads.all().filter(|(of, _)| layer.is_none_or(|layer| layer == *of)).map(row).collect()
}

fn describe(
    terminal: &Terminal,
    heads: &Heads,
    shown: Shown,
    rows: &[Row],
    needle: Option<&Range<usize>>,
) -> Result<(), Failure> {
    let Shown { query, chunk_len, is_choice } = shown;
    terminal.say(format_args!(
        "{}, {}, query {query} of {} tokens, chunks of {chunk_len}",
        heads.run.method,
        heads.run.rope_text(),
        heads.run.n_prompt.max(query + 1)
    ))?;
    if let Some(needle) = needle {
        let chunks = heads.chunks_of(needle);
        let (first, last) = (chunks.start, chunks.end - 1);
        terminal.say(format_args!(
            "needle: tokens {} to {}, chunks {first} to {last}",
            needle.start,
            needle.end - 1
        ))?;
    }
    terminal.say(if is_choice {
        "chosen chunks of every head, by number; share of the needle's chunks among them"
    } else {
        "chunks with most attention of every head, and their share; attention on the needle's chunks"
    })?;
    // of a large model those that fetch the needle come first
    let mut first: Vec<&Row> = rows.iter().collect();
    if rows.len() > SHOWN_ROWS {
        let share = |row: &Row| row.needle.unwrap_or_default();
        first.sort_by(|a, b| share(b).total_cmp(&share(a)));
        first.truncate(if needle.is_some() { SHOWN_HEADS } else { SHOWN_ROWS });
    }
    for row in &first {
        if row.chunks.is_empty() {
            terminal.say(format_args!("L{} H{}  attends to every key, chooses nothing", row.layer, row.head))?;
            continue;
        }
        let needle = row.needle.map_or(String::new(), |share| format!("  needle {:>3.0}%", 100.0 * share.max(0.0)));
        let mut chunks = row.chunks.clone();
        if !is_choice {
            chunks.sort_by(|a, b| b.1.total_cmp(&a.1));
            chunks.truncate(SHOWN_CHUNKS);
        }
        let shown: Vec<_> = chunks
            .iter()
            .map(|(chunk, n)| if is_choice { chunk.to_string() } else { format!("{chunk} ({:.0}%)", 100.0 * n) })
            .collect();
        terminal.say(format_args!("L{} H{}{needle}  {}", row.layer, row.head, shown.join(" ")))?;
    }
    match rows.len() - first.len() {
        0 => Ok(()),
        more => terminal.say(format_args!("and {more} more heads: --layer LAYER, --out FILE.csv or --json has them")),
    }
}
