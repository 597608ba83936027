//! Pages of lines: losses by token, bars by chunk, perplexity by length.

use longlens_plot::page::packed;
use serde_json::{Map, Value, json};

use super::Room;

/// A line.
pub struct Line {
    /// What it is of.
    pub name: String,
    /// Places of its points; where it is empty 1, 2, 3 and so on.
    pub x: Vec<f32>,
    /// Its numbers, NaN where one is not known.
    pub y: Vec<f32>,
    /// The panel that it stands in, from above.
    pub panel: usize,
    /// Whether its numbers go to both sides of 0.
    pub signed: bool,
}

impl Line {
    /// A line of the first panel whose points stand one after the other.
    pub fn new(name: impl Into<String>, y: Vec<f32>) -> Self {
        Self { name: name.into(), x: Vec::new(), y, panel: 0, signed: false }
    }
}

/// How lines are shown.
pub struct Lines<'a> {
    /// `line` or `bar`.
    pub mark: &'a str,
    /// What stands along the axes, with units.
    pub x: [&'a str; 2],
    pub y: [&'a str; 2],
    /// Points that are averaged, at first.
    pub smooth: usize,
    /// Whether places are tokens of the text.
    pub by_token: bool,
    /// Tokens of a chunk, where places are chunks.
    pub chunk_len: Option<usize>,
    /// Vertical marks with their names.
    pub marks: Vec<(f64, String)>,
}

/// The data of such a page. Points of a line without places of its own stand at 1, 2, 3, … : a loss is that of the token it predicts.
pub fn page(shown: &Lines, lines: &[Line], pieces: &[String]) -> Map<String, Value> {
    let mut room = Room::new();
    let texts = if shown.by_token || shown.chunk_len.is_some() { room.texts(pieces) } else { Value::Null };
    let n_points = lines.iter().map(|line| line.y.len()).max().unwrap_or(0);
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| {
            let y = room.take(format!("the line of {}", line.name), packed::numbers(&[line.y.len()], &line.y));
            let x = if line.x.is_empty() { Value::Null } else { packed::numbers(&[line.x.len()], &line.x) };
            json!({ "name": line.name, "x": x, "y": y, "panel": line.panel, "signed": line.signed })
        })
        .filter(|line| !line["y"].is_null())
        .collect();
    let step = lines.iter().filter_map(|line| line["y"]["step"].as_f64()).fold(0.0, f64::max);
    room.says(match step {
        0.0 => format!("All {n_points} numbers of a line, as they are."),
        _ => format!("All {n_points} numbers of a line, each right to {:.1e}.", step / 2.0),
    });
    let data = json!({
        "kind": "lines", "mark": shown.mark, "x": shown.x, "y": shown.y, "smooth": shown.smooth, "by_token": shown.by_token,
        "chunk_len": shown.chunk_len, "marks": shown.marks, "lines": lines, "texts": texts, "stored": room.sentences(),
    });
    data.as_object().cloned().unwrap_or_default()
}
