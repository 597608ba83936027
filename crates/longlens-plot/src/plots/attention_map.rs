//! Attention map: how much each query attends to each key, for one head.

use std::ops::Range;

use longlens_core::trace::{PooledMap, RunRecord};

use super::categories::cut;
use crate::canvas::{Figure, PlotError};
use crate::color::{self, ALARM, ColorScale, GRAY, INK, Palette, Rgb};
use crate::frame::{self, ColorBar, Heading, Tick};
use crate::legend::{Entry, Sample};
use crate::scene::{Anchor, Panel, Rect, Scene};
use crate::{text, ticks};

/// Attention of one head, query by key.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionMap {
    /// Title and subtitle: what ran, and on which model.
    pub heading: Heading,
    /// Decoder layer, from 0.
    pub layer: usize,
    /// Query head of the layer, from 0.
    pub head: usize,
    /// Whether the head's output is zeros, whatever it attends to.
    pub is_off: bool,
    /// Tokens of a side: of the prompt, or of a part of it.
    pub n_tokens: usize,
    /// First query and first key of a part; both 0 for the whole map.
    pub origin: (usize, usize),
    /// Tokens per cell side; 1 when nothing is pooled.
    pub stride: usize,
    /// Cells of a side.
    pub side: usize,
    /// Row-major `[side, side]`, a query block per row; cells whose keys all come after their queries
    /// are not read.
    pub cells: Vec<f32>,
    /// What a cell of several tokens holds.
    pub pooling: Pooling,
    /// Linear, or by powers of ten.
    pub scale: ColorScale,
    /// Tokens of the prompt that tell the needle: their rows and columns are outlined.
    pub needle: Option<Range<usize>>,
    /// The token that is looked from: its row is outlined.
    pub query: Option<usize>,
    /// Texts of the queries and of the keys, a token a cell; empty where cells are too many or too large for words.
    pub words: [Vec<String>; 2],
}

/// What a cell of several tokens holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// Attention from a query to the whole key block, averaged over the block's queries.
    #[default]
    Mean,
    /// The largest single weight.
    Max,
}

impl Figure for AttentionMap {
    fn size(&self) -> (u32, u32) {
        (800, 740)
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        if self.side == 0 || self.n_tokens == 0 {
            return Err(PlotError::NoData { missing: "no attention map was recorded" });
        }
        if self.cells.len() != self.side * self.side {
            let expected = self.side * self.side;
            return Err(PlotError::Shape { what: "cells of an attention map", expected, found: self.cells.len() });
        }
        let mut scene = Scene::new(size);
        let off = if self.is_off { " (switched off: its output is zeros)" } else { "" };
        let what = format!("Attention of layer {}, head {}{off}", self.layer, self.head);
        let room = frame::frame(&mut scene, &what, &self.heading, &self.legend());
        let max = self.largest();
        let color = |amount| Palette::Inferno.at(amount);
        let bar = ColorBar { color: &color, ticks: self.scale.ticks(max), title: "attention weight" };
        let marks = self.marks();
        let room = Rect { y0: room.y0 + if marks.is_empty() { 0.0 } else { NAME_ROOM }, ..room };
        let worded = self.with_words(room, bar.width());
        let area = worded.map_or_else(|| square(room, self.n_tokens + self.origin.0, bar.width()), |(area, _)| area);
        if let Some((_, size)) = worded {
            self.draw_words(&mut scene, area, size);
        } else {
            draw_axes(&mut scene, area, self.n_tokens, self.origin, self.span());
        }

        // cells thinner than a pixel would vanish: several share one
        let per_cell = self.side.div_ceil(area.width() as usize);
        let side = self.side.div_ceil(per_cell);
        let panel = Panel { area, n_columns: side, n_rows: side };
        scene.panels.push(panel);
        scene.cells(&panel, |row, column| {
            let weight = self.pooled(row, column, per_cell);
            (weight > 0.0).then(|| color(self.scale.fraction(weight, max))) // no weight at all: not seen
        });
        scene.outline(area.inset(-1.0), 1.0, GRAY);
        for mark in &marks {
            self.draw_mark(&mut scene, area, mark);
        }
        bar.draw(&mut scene, area);
        Ok(scene)
    }
}

/// Tokens whose rows, or columns, are outlined.
struct Mark {
    tokens: Range<usize>,
    is_query: bool,
    name: String,
    color: Rgb,
}

/// Room above a map for the names of outlined columns.
const NAME_ROOM: f64 = 10.0;
/// Letters of words at the axes, and of names of outlines.
const WORD_SIZES: [f64; 4] = [12.0, 11.0, 10.0, 9.0];
/// Most room that a word takes.
const WORD_ROOM: f64 = 110.0;
const NAME_SIZE: f64 = 11.0;
/// The color of the query's outline, among those of methods.
const QUERY_COLOR: usize = 5;

impl AttentionMap {
    /// The map that a trace recorded.
    pub fn pooled_map(run: &RunRecord, map: &PooledMap, pooling: Pooling, scale: ColorScale) -> Self {
        let cells = match pooling {
            Pooling::Mean => &map.mean,
            Pooling::Max => &map.max,
        };
        Self {
            heading: Heading::of_run(run),
            layer: map.pick.layer,
            head: map.pick.head,
            is_off: false,
            n_tokens: map.n_tokens,
            origin: map.pick.window.map_or((0, 0), |window| (window.query, window.key)),
            stride: map.stride,
            side: map.side,
            cells: cells.clone(),
            pooling,
            scale,
            needle: None,
            query: None,
            words: [Vec::new(), Vec::new()],
        }
    }

    /// Tokens of a side with what fills up the last cell.
    fn span(&self) -> f64 {
        self.side as f64 * self.stride.max(1) as f64
    }

    /// The outlines that lie in the map.
    fn marks(&self) -> Vec<Mark> {
        let inside = |tokens: &Range<usize>, first: usize| {
            let part = tokens.start.max(first)..tokens.end.min(first + self.n_tokens);
            Some(part).filter(|part| !part.is_empty())
        };
        let mut marks = Vec::new();
        if let Some(needle) = &self.needle {
            let tokens = match needle.len() {
                1 => format!("token {}", needle.start),
                _ => format!("tokens {}–{}", needle.start, needle.end.max(1) - 1),
            };
            let mark = |is_query| {
                let tokens_in = inside(needle, if is_query { self.origin.0 } else { self.origin.1 })?;
                Some(Mark { tokens: tokens_in, is_query, name: format!("needle, {tokens}"), color: ALARM })
            };
            marks.extend([false, true].into_iter().filter_map(mark));
        }
        let query = self.query.and_then(|query| inside(&(query..query + 1), self.origin.0));
        marks.extend(query.map(|tokens| {
            let name = format!("query {}", tokens.start);
            Mark { tokens, is_query: true, name, color: color::distinct(QUERY_COLOR) }
        }));
        marks
    }

    /// The outline of a mark, as far as its rows or columns have cells that are not in the future.
    fn draw_mark(&self, scene: &mut Scene, area: Rect, mark: &Mark) {
        let (first_query, first_key) = self.origin;
        let place = |token: usize, first: usize| (token.saturating_sub(first) as f64 / self.span()).clamp(0.0, 1.0);
        let x = |token: usize| area.x0 + area.width() * place(token, first_key);
        let y = |token: usize| area.y0 + area.height() * place(token, first_query);
        let Range { start, end } = mark.tokens;
        let outline = if mark.is_query {
            Rect { x0: area.x0, x1: x(end).max(area.x0 + 4.0), y0: y(start), y1: y(end) }
        } else {
            Rect { x0: x(start), x1: x(end), y0: y(start).min(area.y1 - 4.0), y1: area.y1 }
        };
        // a line where tokens are thinner than one
        let (dx, dy) = ((3.0 - outline.width()).max(0.0) / 2.0, (3.0 - outline.height()).max(0.0) / 2.0);
        let outline = Rect { x0: outline.x0 - dx, x1: outline.x1 + dx, y0: outline.y0 - dy, y1: outline.y1 + dy };
        scene.outline(outline.inset(-1.5), 1.5, mark.color);
        let word = if mark.is_query { "query" } else { "needle" };
        if mark.is_query && mark.color == ALARM {
            // its columns say what it is
        } else if mark.is_query {
            // behind the row's last cell, where the future is blank
            let (x, width) = (outline.x1 + 5.0, text::width(word, NAME_SIZE));
            if x + width < area.x1 {
                scene.text(word, (x, outline.center().1), Anchor::Start, NAME_SIZE, mark.color);
            }
        } else {
            let half = text::width(word, NAME_SIZE) / 2.0;
            let at = outline.center().0.max(area.x0 + half).min(area.x1 - half);
            // below the diagonal there are weights: the word stands where its first letter is above it
            let later = (first_key as f64 - first_query as f64) * area.width() / self.span();
            let diagonal = area.y0 + (at - half - area.x0) + later;
            let y = (outline.y0.min(diagonal) - 8.0).max(area.y0 - 8.0);
            scene.text(word, (at, y), Anchor::Middle, NAME_SIZE, mark.color);
        }
    }

    /// The square that leaves room for words at both axes, and their size; nothing where there are none, or no room.
    fn with_words(&self, room: Rect, right: f64) -> Option<(Rect, f64)> {
        let [queries, keys] = &self.words;
        if self.side == 0 || queries.len() != self.side || keys.len() != self.side {
            return None;
        }
        let placed = |size: f64| {
            let widest = |words: &[String]| {
                let widths = words.iter().map(|word| text::width(&cut(word, size, WORD_ROOM), size));
                widths.fold(0.0, f64::max).ceil()
            };
            let axis = |words: &[String]| widest(words) + 10.0 + frame::TITLE_ROOM;
            let side = (room.width() - axis(queries) - right).min(room.height() - axis(keys) - 8.0).floor();
            let (x0, y0) = ((room.x0 + axis(queries)).round(), (room.y0 + 8.0).round());
            (Rect { x0, y0, x1: x0 + side, y1: y0 + side }, size)
        };
        WORD_SIZES.into_iter().map(placed).find(|(area, size)| area.height() >= (size + 1.0) * self.side as f64)
    }

    /// Words at both axes, those of outlined tokens in their color; titles name the tokens.
    fn draw_words(&self, scene: &mut Scene, area: Rect, size: f64) {
        let step = area.height() / self.side as f64;
        let marks = self.marks();
        let color = |token: usize, is_query: bool| {
            let mark = marks.iter().rev().find(|mark| mark.is_query == is_query && mark.tokens.contains(&token));
            mark.map_or(INK, |mark| mark.color)
        };
        let [queries, keys] = &self.words;
        for (at, word) in queries.iter().enumerate() {
            let y = area.y0 + step * (at as f64 + 0.5);
            let ink = color(self.origin.0 + at, true);
            scene.text(cut(word, size, WORD_ROOM), (area.x0 - 6.0, y), Anchor::End, size, ink);
        }
        for (at, word) in keys.iter().enumerate() {
            let x = area.x0 + step * (at as f64 + 0.5);
            let word = cut(word, size, WORD_ROOM);
            // a turned text is centered on its point
            let y = area.y1 + 6.0 + text::width(&word, size) / 2.0;
            scene.turned_text(word, (x, y), size, color(self.origin.1 + at, false));
        }
        let range = |first: usize| format!("{first} to {}", first + self.n_tokens.max(1) - 1);
        let widest = |words: &[String]| {
            words.iter().map(|word| text::width(&cut(word, size, WORD_ROOM), size)).fold(0.0, f64::max).ceil()
        };
        let below = (area.center().0, area.y1 + widest(keys) + 10.0 + frame::TITLE_ROOM / 2.0);
        scene.text(format!("key (tokens {})", range(self.origin.1)), below, Anchor::Middle, 13.0, INK);
        let left = (area.x0 - widest(queries) - 10.0 - frame::TITLE_ROOM / 2.0, area.center().1);
        scene.turned_text(format!("query (tokens {})", range(self.origin.0)), left, 13.0, INK);
    }

    /// The largest weight of a `per_cell` by `per_cell` block, as far as it is below the diagonal.
    fn pooled(&self, row: usize, column: usize, per_cell: usize) -> f64 {
        let block = |at: usize| at * per_cell..((at + 1) * per_cell).min(self.side);
        let cells = block(row).flat_map(|i| block(column).take_while(move |j| self.meets(i, *j)).map(move |j| (i, j)));
        cells.map(|(i, j)| f64::from(self.cells[i * self.side + j])).fold(0.0, f64::max)
    }

    fn largest(&self) -> f64 {
        (0..self.side).map(|row| self.row_max(row)).fold(0.0, f64::max)
    }

    fn row_max(&self, row: usize) -> f64 {
        let met = self.cells[row * self.side..(row + 1) * self.side].iter().enumerate();
        met.take_while(|(column, _)| self.meets(row, *column)).map(|(_, weight)| *weight).fold(0.0, f32::max).into()
    }

    /// Whether any query of a row of cells comes after any key of a column.
    fn meets(&self, row: usize, column: usize) -> bool {
        let stride = self.stride.max(1);
        self.origin.1 + column * stride < self.origin.0 + (row + 1) * stride
    }

    fn legend(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::new(Sample::Cell(crate::color::WHITE), "no weight: not seen")];
        let mut marks = self.marks();
        marks.dedup_by(|a, b| a.name == b.name);
        entries.extend(marks.into_iter().map(|mark| Entry::new(Sample::Outline(mark.color), mark.name)));
        if self.stride <= 1 {
            return entries;
        }
        let rule = match self.pooling {
            Pooling::Mean => "attention to the whole key block, averaged over the block's queries",
            Pooling::Max => "the largest single weight",
        };
        entries.push(Entry::new(Sample::Note, format!("cell = {0} × {0} tokens: {rule}", self.stride)));
        entries
    }
}

/// The largest square with axes on its left and below, and `right` left free beside it.
pub(super) fn square(room: Rect, n_tokens: usize, right: f64) -> Rect {
    let left = frame::y_axis_width([n_tokens.to_string()], "query");
    let bottom = frame::x_axis_height(&[], "key");
    let side = (room.width() - left - right).min(room.height() - bottom - 8.0).max(16.0).floor();
    let (x0, y0) = ((room.x0 + left).round(), (room.y0 + 8.0).round());
    Rect { x0, y0, x1: x0 + side, y1: y0 + side }
}

/// Query and key axes of a square that spans `span` tokens from the first query and key in `origin`; the last of them may be
/// padding.
pub(super) fn draw_axes(scene: &mut Scene, area: Rect, n_tokens: usize, origin: (usize, usize), span: f64) {
    let last = n_tokens.saturating_sub(1);
    let ticks = |start: f64, length: f64, first: usize| -> Vec<Tick> {
        let place = |token: usize| Tick::new(start + length * (token as f64 + 0.5) / span, (first + token).to_string());
        ticks::tokens(last, 8).into_iter().map(place).collect()
    };
    frame::x_axis(scene, area, &ticks(area.x0, area.width(), origin.1), "key (token)");
    frame::y_axis(scene, area, &ticks(area.y0, area.height(), origin.0), "query (token)");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::Canvas;
    use crate::color::WHITE;

    fn map(side: usize, cells: Vec<f32>, scale: ColorScale) -> AttentionMap {
        let heading = Heading::default();
        AttentionMap {
            heading,
            layer: 3,
            head: 1,
            is_off: false,
            n_tokens: side,
            origin: (0, 0),
            stride: 1,
            side,
            cells,
            pooling: Pooling::Mean,
            scale,
            needle: None,
            query: None,
            words: [Vec::new(), Vec::new()],
        }
    }

    #[test]
    fn cells_are_colored_by_weight_and_the_future_is_blank() {
        let cells = vec![1.0, 9.0, 0.01, 0.1];
        for scale in [ColorScale::Linear, ColorScale::Log { floor: 1e-4 }] {
            let map = map(2, cells.clone(), scale);
            let panel = map.scene(map.size()).unwrap().panels[0];
            let pixels = Canvas::default().to_rgb(&map).unwrap();
            let at = |row, column| {
                let (x, y) = panel.cell(row, column).center();
                pixels.at(x as u32, y as u32)
            };
            let color = |weight| Palette::Inferno.at(scale.fraction(f64::from(weight), 1.0));
            assert_eq!([at(0, 0), at(0, 1)], [Palette::Inferno.at(1.0), WHITE]);
            assert_eq!([at(1, 0), at(1, 1)], [color(0.01f32), color(0.1)]);
        }
    }

    #[test]
    fn a_part_is_blank_where_its_keys_come_later() {
        let whole = map(2, vec![1.0; 4], ColorScale::Linear);
        let blank = |origin: (usize, usize)| {
            let part = AttentionMap { origin, ..whole.clone() };
            let panel = part.scene(part.size()).unwrap().panels[0];
            let pixels = Canvas::default().to_rgb(&part).unwrap();
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(row, column)| {
                let (x, y) = panel.cell(row, column).center();
                pixels.at(x as u32, y as u32) == WHITE
            })
        };
        assert_eq!(blank((0, 0)), [false, true, false, false]);
        assert_eq!(blank((900, 20)), [false; 4]);
        assert_eq!(blank((20, 21)), [true, true, false, true]);
        let svg = Canvas::default().to_svg_string(&AttentionMap { origin: (900, 20), ..whole }).unwrap();
        assert!(svg.contains(">900<") && svg.contains(">20<"), "axes name tokens of the prompt");
    }

    #[test]
    fn a_single_hot_cell_survives_a_small_page() {
        let side = 1000;
        let mut cells = vec![0.0; side * side];
        cells[700 * side + 301] = 1.0;
        let map = map(side, cells, ColorScale::Linear);
        let pixels = Canvas::default().to_rgb(&map).unwrap();
        let area = map.scene(map.size()).unwrap().panels[0].area;
        let mut inside =
            (area.y0 as u32..area.y1 as u32).flat_map(|y| (area.x0 as u32..area.x1 as u32).map(move |x| (x, y)));
        assert!(inside.any(|(x, y)| pixels.at(x, y) == Palette::Inferno.at(1.0)));
    }

    #[test]
    fn the_word_of_the_needle_covers_no_weight() {
        let side = 1017;
        for needle in [1..3, 500..520, 512..513, 900..990] {
            let map = AttentionMap {
                needle: Some(needle.clone()),
                query: Some(1000),
                ..map(side, vec![1.0; side * side], ColorScale::Linear)
            };
            let scene = map.scene(map.size()).unwrap();
            let area = scene.panels[0].area;
            let word = scene.shapes.iter().find_map(|shape| match shape {
                crate::scene::Shape::Text(text) if text.text == "needle" => Some(text.clone()),
                _ => None,
            });
            let word = word.unwrap();
            let left = word.at.0 - text::width("needle", word.size) / 2.0;
            let diagonal = area.y0 + (left - area.x0);
            assert!(word.at.1 + word.size / 2.0 <= diagonal, "{needle:?}: {:?} and {diagonal}", word.at);
        }
    }

    #[test]
    fn the_title_names_layer_and_head_and_pooling() {
        let pooled = AttentionMap { stride: 16, n_tokens: 30, ..map(2, vec![1.0; 4], ColorScale::Linear) };
        let svg = Canvas::default().to_svg_string(&pooled).unwrap();
        assert!(svg.contains("layer 3, head 1") && svg.contains("16 × 16 tokens"));
    }

    #[test]
    fn cells_that_are_no_square_are_an_error() {
        let error = map(2, vec![1.0; 3], ColorScale::Linear).scene((800, 740)).unwrap_err();
        assert_eq!(error.to_string(), "cells of an attention map: expected 4, got 3");
    }
}
