//! Chunk map: which chunks each head attends to, by choice or by mass, for one query.

use std::ops::Range;

use longlens_core::trace::{Chunks, Trace};

use crate::canvas::{Figure, PlotError};
use crate::color::{self, ALARM, ColorScale, GRAY, INK, PALE, Palette, Rgb, WHITE};
use crate::frame::{self, ColorBar, Heading, TICK_SIZE, Tick};
use crate::legend::{self, Entry, Sample};
use crate::scene::{Anchor, Panel, Rect, Scene};

/// Heads (rows) by chunks (columns) for one query token.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkMap {
    /// Title and subtitle: what ran, and on which model.
    pub heading: Heading,
    /// Chunks of the text.
    pub n_chunks: usize,
    /// Tokens of a chunk.
    pub chunk_len: usize,
    /// Token index of the query.
    pub query: usize,
    /// Chunks that hold the needle.
    pub needle: Option<Range<usize>>,
    /// Layer and head of those whose output is zeros: their rows are crossed.
    pub off: Vec<(usize, usize)>,
    /// What each head did.
    pub rows: ChunkRows,
}

/// What fills the rows.
#[derive(Debug, Clone, PartialEq)]
pub enum ChunkRows {
    /// The chunks that each head chose, and what their color tells.
    Choices(Vec<ChoiceRow>, ChoiceColor),
    /// Attention mass on every chunk.
    Mass(Vec<MassRow>, ColorScale),
}

/// The color of a pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChoiceColor {
    /// The head's scores, from its worst pick to its best.
    #[default]
    Score,
    /// The order of the head's picks.
    Rank,
}

/// The choice of one head.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoiceRow {
    /// Decoder layer, from 0.
    pub layer: usize,
    /// Query head of the layer, from 0.
    pub head: usize,
    /// The chunks it chose, in the order in which it ranks them.
    pub picks: Vec<ChunkPick>,
}

/// One chunk of a head's choice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChunkPick {
    /// Index of the chunk: it holds the tokens from `chunk * chunk_len` on.
    pub chunk: usize,
    /// Its score, if it has one.
    pub score: Option<f32>,
    /// Whether every choice holds it, whatever its score.
    pub forced: bool,
}

/// The attention of one head.
#[derive(Debug, Clone, PartialEq)]
pub struct MassRow {
    /// Decoder layer, from 0.
    pub layer: usize,
    /// Query head of the layer, from 0.
    pub head: usize,
    /// Share of the attention on each chunk; a short row ends at the query's own chunk.
    pub mass: Vec<f32>,
}

const FORCED: Rgb = Rgb(0xDD, 0xA0, 0xC4);
const FORCED_LINES: Rgb = Rgb(0x8E, 0x3B, 0x6E);
const NO_SCORE: Rgb = color::FILLS[0];
const PALETTE: Palette = Palette::Viridis;
/// Rows are never thinner than this; many rows make the page higher.
const ROW: f64 = 3.0;

impl Figure for ChunkMap {
    fn size(&self) -> (u32, u32) {
        (1000, 650.max(220 + (self.n_rows() as f64 * ROW) as u32))
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        if self.n_rows() == 0 || self.n_chunks == 0 || self.chunk_len == 0 {
            return Err(PlotError::NoData { missing: "no head's chunks were recorded for this query" });
        }
        if let Some(found) = self.highest_chunk().filter(|chunk| *chunk >= self.n_chunks) {
            return Err(PlotError::Shape { what: "chunks of a map", expected: self.n_chunks, found: found + 1 });
        }
        let what = match &self.rows {
            ChunkRows::Choices(..) => format!("Chunks chosen by each head for token {}", self.query),
            ChunkRows::Mass(..) => format!("Attention on each chunk, by head, from token {}", self.query),
        };
        let mut scene = Scene::new(size);
        let room = frame::frame(&mut scene, &what, &self.heading, &self.legend());
        let max = self.largest_mass();
        let bar = self.color_bar(max);

        let x_ticks = |area: &Panel| -> Vec<Tick> {
            let step = self.n_chunks.div_ceil(16).next_power_of_two();
            let tick = |chunk: usize| {
                let below = Some((chunk * self.chunk_len).to_string());
                Tick { at: area.cell(0, chunk).center().0, label: chunk.to_string(), below }
            };
            (0..self.n_chunks).step_by(step).map(tick).collect()
        };
        let x_title = format!("chunk of {} tokens (below: its first token)", self.chunk_len);
        let labels = self.labels();
        let left = frame::y_axis_width(labels.iter().map(|(layer, head)| name(*layer, Some(*head))), "head");
        let bottom = frame::x_axis_height(&[Tick { below: Some(String::new()), ..Tick::new(0.0, "") }], &x_title);
        let above = 16.0;
        let area = Rect { x0: room.x0 + left, y0: room.y0 + above, x1: room.x1 - bar.width(), y1: room.y1 - bottom };
        let panel = Panel { area, n_columns: self.n_chunks, n_rows: labels.len() };
        scene.panels.push(panel);
        scene.rect(area, PALE);
        match &self.rows {
            ChunkRows::Choices(rows, color) => draw_choices(&mut scene, &panel, rows, *color),
            ChunkRows::Mass(rows, scale) => draw_mass(&mut scene, &panel, rows, *scale, max),
        }
        draw_layers(&mut scene, &panel, &labels);
        for row in (0..labels.len()).filter(|row| self.off.contains(&labels[*row])) {
            // behind the row, where it is seen however thin the row is
            scene.cross((area.x1 + 8.0, panel.cell(row, 0).center().1), 4.0, INK);
        }
        scene.outline(area.inset(-1.0), 1.0, GRAY);
        if let Some(needle) = &self.needle {
            draw_needle(&mut scene, &panel, needle.start..needle.end.min(self.n_chunks));
        }
        frame::x_axis(&mut scene, area, &x_ticks(&panel), &x_title);
        frame::y_axis(&mut scene, area, &row_ticks(&panel, &labels), "head");
        bar.draw(&mut scene, area);
        Ok(scene)
    }
}

impl ChunkMap {
    /// The choices of chunks of `chunk_len` tokens that a trace recorded for the token `query`; empty when it recorded none.
    pub fn choices(trace: &Trace, query: usize, chunk_len: usize) -> Self {
        let mut rows = Vec::new();
        for (layer, choices) in trace.layers.iter().enumerate().filter_map(|(at, l)| Some((at, l.choices.as_ref()?))) {
            let row = choices.queries.iter().position(|known| *known == query);
            let Some(row) = row.filter(|_| choices.chunk_len == chunk_len) else { continue };
            rows.extend((0..choices.n_heads).map(|head| {
                let pick = |(chunk, score): (usize, f32)| {
                    let score = (!score.is_nan()).then_some(score);
                    ChunkPick { chunk, score, forced: score.is_none() }
                };
                ChoiceRow { layer, head, picks: choices.row(row, head).map(pick).collect() }
            }));
        }
        Self::new(trace, query, chunk_len, ChunkRows::Choices(rows, ChoiceColor::default()))
    }

    /// The attention mass that a trace recorded for the query at `row` of its recorded queries; empty when it recorded none.
    pub fn mass(trace: &Trace, row: usize, scale: ColorScale) -> Self {
        let (mut rows, mut query, mut chunk_len) = (Vec::new(), 0, 1);
        for (layer, mass) in trace.layers.iter().enumerate().filter_map(|(at, l)| Some((at, l.mass.as_ref()?))) {
            let Some(token) = mass.queries.get(row) else { continue };
            let Chunks::Every(len) = mass.chunks else { continue };
            (query, chunk_len) = (*token, len);
            rows.extend((0..mass.n_heads).map(|head| MassRow { layer, head, mass: mass.row(row, head).to_vec() }));
        }
        Self::new(trace, query, chunk_len, ChunkRows::Mass(rows, scale))
    }

    fn new(trace: &Trace, query: usize, chunk_len: usize, rows: ChunkRows) -> Self {
        let n_chunks = query / chunk_len.max(1) + 1;
        Self { heading: Heading::of_run(&trace.run), n_chunks, chunk_len, query, needle: None, off: Vec::new(), rows }
    }

    /// The same map with the chunks that hold these needle tokens outlined.
    #[must_use]
    pub fn with_needle(mut self, tokens: Range<usize>) -> Self {
        let chunks = tokens.start / self.chunk_len.max(1)..tokens.end.div_ceil(self.chunk_len.max(1));
        self.needle = (!tokens.is_empty()).then_some(chunks);
        self
    }

    fn n_rows(&self) -> usize {
        match &self.rows {
            ChunkRows::Choices(rows, _) => rows.len(),
            ChunkRows::Mass(rows, _) => rows.len(),
        }
    }

    /// Layer and head of every row.
    fn labels(&self) -> Vec<(usize, usize)> {
        match &self.rows {
            ChunkRows::Choices(rows, _) => rows.iter().map(|row| (row.layer, row.head)).collect(),
            ChunkRows::Mass(rows, _) => rows.iter().map(|row| (row.layer, row.head)).collect(),
        }
    }

    fn highest_chunk(&self) -> Option<usize> {
        match &self.rows {
            ChunkRows::Choices(rows, _) => rows.iter().flat_map(|row| &row.picks).map(|pick| pick.chunk).max(),
            ChunkRows::Mass(rows, _) => rows.iter().filter_map(|row| row.mass.len().checked_sub(1)).max(),
        }
    }

    fn largest_mass(&self) -> f64 {
        let ChunkRows::Mass(rows, _) = &self.rows else { return 1.0 };
        rows.iter().flat_map(|row| &row.mass).copied().fold(0.0, f32::max).into()
    }

    fn color_bar(&self, max: f64) -> ColorBar<'static> {
        let (ticks, title) = match &self.rows {
            ChunkRows::Choices(_, ChoiceColor::Score) => {
                (vec![(0.0, "lowest".to_owned()), (1.0, "highest".to_owned())], "score among the head's picks")
            }
            ChunkRows::Choices(_, ChoiceColor::Rank) => {
                (vec![(0.0, "last".to_owned()), (1.0, "first".to_owned())], "rank among the head's picks")
            }
            ChunkRows::Mass(_, scale) => (scale.ticks(max), "share of the head's attention"),
        };
        ColorBar { color: &|amount| PALETTE.at(amount), ticks, title }
    }

    fn legend(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let ChunkRows::Choices(rows, _) = &self.rows {
            let picks = || rows.iter().flat_map(|row| &row.picks);
            entries.push(Entry::new(Sample::Cell(PALE), "not chosen"));
            if picks().any(|pick| pick.forced) {
                entries.push(Entry::new(Sample::Hatched(FORCED, FORCED_LINES), "always chosen"));
            }
            if picks().any(|pick| !pick.forced && pick.score.is_none()) {
                entries.push(Entry::new(Sample::Cell(NO_SCORE), "chosen, score not recorded"));
            }
        } else {
            entries.push(Entry::new(Sample::Cell(PALE), "no weight: not visible to the query"));
        }
        if self.needle.is_some() {
            entries.push(Entry::new(Sample::Outline(ALARM), "holds the needle"));
        }
        entries.extend((!self.off.is_empty()).then(legend::switched_off));
        entries
    }
}

fn draw_choices(scene: &mut Scene, panel: &Panel, rows: &[ChoiceRow], color: ChoiceColor) {
    for (row, choice) in rows.iter().enumerate() {
        // forced picks last: where chunks are thinner than a pixel they stay visible
        for pick in choice.picks.iter().filter(|pick| !pick.forced) {
            let fill = pick.score.map_or(NO_SCORE, |score| PALETTE.at(amount(score, &choice.picks, color)));
            scene.rect(panel.cell(row, pick.chunk), fill);
        }
        for pick in choice.picks.iter().filter(|pick| pick.forced) {
            let place = panel.cell(row, pick.chunk);
            scene.rect(place, FORCED);
            if place.width() >= 6.0 && place.height() >= 6.0 {
                scene.hatch(place, 6.0, FORCED_LINES);
            }
        }
    }
}

/// Where a score stands among the scores of its head, from 0 to 1.
fn amount(score: f32, picks: &[ChunkPick], color: ChoiceColor) -> f64 {
    let scores = || picks.iter().filter(|pick| !pick.forced).filter_map(|pick| pick.score);
    let (low, high) = scores().fold((score, score), |(low, high), other| (low.min(other), high.max(other)));
    let share = match color {
        ChoiceColor::Score => (score - low) / (high - low),
        ChoiceColor::Rank => {
            let below = scores().filter(|other| *other < score).count();
            below as f32 / (scores().count().max(2) - 1) as f32
        }
    };
    // a single pick is the best
    if high > low { share.into() } else { 1.0 }
}

fn draw_mass(scene: &mut Scene, panel: &Panel, rows: &[MassRow], scale: ColorScale, max: f64) {
    // chunks thinner than a pixel share one, which shows the largest
    let per_cell = panel.n_columns.div_ceil((panel.area.width() as usize).max(1));
    if per_cell == 1 {
        scene.cells(panel, |row, chunk| {
            let seen = rows[row].mass.get(chunk).filter(|mass| **mass > 0.0);
            seen.map(|mass| PALETTE.at(scale.fraction((*mass).into(), max)))
        });
        return;
    }
    for (row, mass) in rows.iter().enumerate() {
        for (cell, chunks) in mass.mass.chunks(per_cell).enumerate() {
            let largest = chunks.iter().copied().fold(0.0, f32::max);
            if largest > 0.0 {
                let block = panel.block(row..row + 1, cell * per_cell..cell * per_cell + chunks.len());
                scene.rect(block, PALETTE.at(scale.fraction(largest.into(), max)));
            }
        }
    }
}

/// A rule where a new layer begins.
fn draw_layers(scene: &mut Scene, panel: &Panel, labels: &[(usize, usize)]) {
    let width = if panel.area.height() / labels.len() as f64 >= 6.0 { 2.0 } else { 1.0 };
    for row in (1..labels.len()).filter(|row| labels[*row].0 != labels[row - 1].0) {
        let y = panel.cell(row, 0).y0;
        scene.rect(Rect { y0: y - width / 2.0, y1: y + width / 2.0, ..panel.area }, WHITE);
    }
}

fn draw_needle(scene: &mut Scene, panel: &Panel, chunks: Range<usize>) {
    if chunks.is_empty() {
        return;
    }
    let place = panel.block(0..panel.n_rows, chunks);
    scene.outline(place.inset(-3.0), 1.0, WHITE);
    scene.outline(place.inset(-2.0), 2.0, ALARM);
    let x = place.center().0.max(panel.area.x0 + 22.0).min(panel.area.x1 - 22.0);
    scene.text("needle", (x, panel.area.y0 - 10.0), Anchor::Middle, 11.0, ALARM);
}

/// A label per head while they fit, else one per layer.
fn row_ticks(panel: &Panel, labels: &[(usize, usize)]) -> Vec<Tick> {
    let row_height = panel.area.height() / labels.len() as f64;
    let middle = |rows: Range<usize>| panel.block(rows, 0..1).center().1;
    if row_height >= TICK_SIZE + 1.0 {
        let tick =
            |(row, (layer, head)): (usize, &(usize, usize))| Tick::new(middle(row..row + 1), name(*layer, Some(*head)));
        return labels.iter().enumerate().map(tick).collect();
    }
    let mut layers = Vec::new();
    let mut start = 0;
    for group in labels.chunk_by(|a, b| a.0 == b.0) {
        layers.push(Tick::new(middle(start..start + group.len()), name(group[0].0, None)));
        start += group.len();
    }
    layers
}

fn name(layer: usize, head: Option<usize>) -> String {
    head.map_or_else(|| format!("L{layer}"), |head| format!("L{layer} H{head}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use longlens_core::trace::{Choices, ChunkMass, LayerTrace};

    use crate::canvas::Canvas;

    fn trace() -> Trace {
        let choices = Choices {
            queries: vec![39],
            chunk_len: 4,
            n_heads: 2,
            n_slots: 4,
            chunks: vec![0, 2, 4, 8, 0, 3, 8, -1],
            scores: vec![f32::NAN, 1.0, 5.0, f32::NAN, f32::NAN, 2.0, f32::NAN, f32::NAN],
            margins: vec![1.0, 1.0],
        };
        let mass = ChunkMass {
            chunks: Chunks::Every(20),
            queries: vec![39],
            n_heads: 2,
            mass: vec![vec![0.25, 0.75, 1.0, 0.0]],
        };
        let layer = LayerTrace { choices: Some(choices), mass: Some(mass), attn_out: Vec::new() };
        Trace { layers: vec![layer], ..Trace::default() }
    }

    #[test]
    fn picks_are_colored_by_score_and_forced_ones_differ() {
        let map = ChunkMap::choices(&trace(), 39, 4).with_needle(9..11);
        assert_eq!((map.query, map.n_chunks, map.needle.clone()), (39, 10, Some(2..3)));
        let panel = map.scene(map.size()).unwrap().panels[0];
        let pixels = Canvas::default().to_rgb(&map).unwrap();
        let at = |row, chunk| {
            let (x, y) = panel.cell(row, chunk).center();
            pixels.at(x as u32, y as u32)
        };
        assert_eq!([at(0, 2), at(0, 4)], [PALETTE.at(0.0), PALETTE.at(1.0)]);
        assert_eq!([at(1, 3), at(1, 4), at(0, 9)], [PALETTE.at(1.0), PALE, PALE]);
        let cell = panel.cell(1, 8).inset(2.0);
        let colors: Vec<_> = (cell.x0 as u32..cell.x1 as u32).map(|x| pixels.at(x, cell.y0 as u32)).collect();
        assert!(colors.contains(&FORCED) && colors.iter().any(|color| *color != FORCED), "forced picks are hatched");
    }

    #[test]
    fn the_needle_is_outlined() {
        let map = ChunkMap::choices(&trace(), 39, 4).with_needle(9..11);
        let panel = map.scene(map.size()).unwrap().panels[0];
        let place = panel.block(0..2, 2..3);
        let pixels = Canvas::default().to_rgb(&map).unwrap();
        let (x, y) = place.center();
        assert_eq!(pixels.at(x as u32, place.y0.round() as u32 - 1), ALARM);
        assert_eq!(pixels.at(place.x0.round() as u32 - 1, y as u32 + 20), ALARM);
        assert!(Canvas::default().to_svg_string(&map).unwrap().contains("holds the needle"));
    }

    #[test]
    fn rows_of_heads_that_are_switched_off_are_crossed() {
        let map = ChunkMap { off: vec![(0, 1)], ..ChunkMap::choices(&trace(), 39, 4) };
        let panel = map.scene(map.size()).unwrap().panels[0];
        let crosses = map.scene(map.size()).unwrap().shapes.into_iter().filter_map(|shape| match shape {
            crate::scene::Shape::Text(text) if text.text == "×" => Some(text.at),
            _ => None,
        });
        let behind = |(x, y): (f64, f64)| x > panel.area.x1 && panel.cell(1, 0).y0 < y && y < panel.cell(1, 0).y1;
        assert_eq!(crosses.filter(|at| behind(*at)).count(), 1);
        assert!(Canvas::default().to_svg_string(&map).unwrap().contains("switched off"));
    }

    #[test]
    fn mass_is_colored_up_to_the_largest_and_none_is_not_seen() {
        let map = ChunkMap::mass(&trace(), 0, ColorScale::Linear);
        let panel = map.scene(map.size()).unwrap().panels[0];
        let pixels = Canvas::default().to_rgb(&map).unwrap();
        let at = |row, chunk| {
            let (x, y) = panel.cell(row, chunk).center();
            pixels.at(x as u32, y as u32)
        };
        assert_eq!([at(0, 0), at(0, 1), at(1, 0)], [0.25, 0.75, 1.0].map(|mass| PALETTE.at(mass)));
        // a chunk that gets nothing at all is not seen, which is more than little
        assert_eq!(at(1, 1), PALE);
    }

    #[test]
    fn nothing_recorded_and_chunks_beyond_the_text_are_errors() {
        let error = |map: &ChunkMap| map.scene(map.size()).unwrap_err();
        assert!(matches!(error(&ChunkMap::choices(&Trace::default(), 39, 4)), PlotError::NoData { .. }));
        let short = ChunkMap { n_chunks: 5, ..ChunkMap::choices(&trace(), 39, 4) };
        assert!(matches!(error(&short), PlotError::Shape { expected: 5, found: 9, .. }));
    }
}
