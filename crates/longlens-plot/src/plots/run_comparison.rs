//! Run comparison: where one run predicts better than another, what each wrote, and how the attention of one head differs.

mod outputs;

use crate::canvas::{Figure, PlotError};
use crate::color::{self, GRAY, INK, PALE, RULE, Rgb, WHITE};
use crate::frame::{self, ColorBar, Heading, Tick};
use crate::legend::{self, Entry, Sample};
use crate::scene::{Anchor, Panel, Rect, Scene};
use crate::{text, ticks};

use super::attention_map::{draw_axes, square};
use outputs::{columns, draw_line, first_difference, window, wrapped};

/// Two runs on the same text.
#[derive(Debug, Clone, PartialEq)]
pub struct RunComparison {
    /// Title and subtitle: what ran, and on which model.
    pub heading: Heading,
    /// The names of both runs.
    pub names: [String; 2],
    /// Log probability of each predicted token under the second run, minus that under the first; entry `t` is token `t + 1`.
    pub delta_log_prob: Vec<f32>,
    /// Generated tokens that both outputs share before they part.
    pub divergence: Option<usize>,
    /// What each run wrote; both empty when nothing was generated.
    pub outputs: [String; 2],
    /// How the attention of one head differs.
    pub map: Option<DifferenceMap>,
}

/// Attention of one head under the second run, minus that under the first.
#[derive(Debug, Clone, PartialEq)]
pub struct DifferenceMap {
    /// Decoder layer, from 0.
    pub layer: usize,
    /// Query head of the layer, from 0.
    pub head: usize,
    /// Tokens of the prompt.
    pub n_tokens: usize,
    /// Cells of a side.
    pub side: usize,
    /// Tokens per cell side; 1 when nothing is pooled.
    pub stride: usize,
    /// Row-major `[side, side]`, a query block per row; cells right of the diagonal are not read.
    pub cells: Vec<f32>,
}

const WIDTH: u32 = 1000;
const DELTA: f64 = 230.0;
const MAP: f64 = 470.0;
/// The least height at which the pictures can be read.
const LOW_DELTA: f64 = 110.0;
const LOW_MAP: f64 = 170.0;
/// Height of a line of an output.
const LINE: f64 = 18.0;
/// Lines of an output at most; those around the first difference are shown.
const MAX_LINES: usize = 6;
const GAP: f64 = 16.0;

impl Figure for RunComparison {
    fn size(&self) -> (u32, u32) {
        let legend = legend::height(&self.legend(), f64::from(WIDTH) - 2.0 * frame::MARGIN);
        let delta = if self.delta_log_prob.is_empty() { 0.0 } else { DELTA + GAP };
        let map = if self.map.is_some() { MAP + GAP } else { 0.0 };
        let height = 130.0 + legend + delta + self.outputs_height(f64::from(WIDTH) - 2.0 * frame::MARGIN) + map;
        (WIDTH, (height as u32).max(320))
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        if self.delta_log_prob.is_empty() && !self.has_outputs() && self.map.is_none() {
            return Err(PlotError::NoData { missing: "neither losses, outputs nor attention of two runs" });
        }
        if let Some(map) = &self.map {
            map.check()?;
        }
        let mut scene = Scene::new(size);
        let what = format!("{} against {}", self.names[1], self.names[0]);
        let room = frame::frame(&mut scene, &what, &self.heading, &self.legend());
        let [delta, outputs, map] = self.heights(room);
        let (delta_end, outputs_end) = (room.y0 + delta, room.y0 + delta + outputs);
        if delta > 0.0 {
            self.draw_delta(&mut scene, Rect { y1: delta_end - GAP, ..room });
        }
        if outputs > 0.0 {
            self.draw_outputs(&mut scene, Rect { y0: delta_end, y1: outputs_end, ..room });
        }
        if let Some(difference) = self.map.as_ref().filter(|_| map > 0.0) {
            difference.draw(&mut scene, Rect { y0: outputs_end, ..room }, &self.names[1]);
        }
        Ok(scene)
    }
}

/// The colors of a loss and a gain of probability: strong, and pale for extremes.
fn sides() -> [(Rgb, Rgb); 2] {
    [-1.0, 1.0].map(|side| (color::diverging(side * 0.75), color::diverging(side * 0.32)))
}

impl RunComparison {
    /// Heights of the three parts. Outputs have that of their text, the pictures share what is left; a page too low for all
    /// loses the map first, then the outputs.
    fn heights(&self, room: Rect) -> [f64; 3] {
        let all = room.height();
        let outputs = self.outputs_height(room.width()).min(all * 0.5);
        let left = all - outputs;
        match (self.delta_log_prob.is_empty(), &self.map) {
            (true, None) => [0.0, all, 0.0],
            (true, Some(_)) => [0.0, outputs, left],
            (false, Some(_)) if left >= LOW_DELTA + LOW_MAP => {
                let delta = (left * DELTA / (DELTA + MAP)).max(LOW_DELTA);
                [delta, outputs, left - delta]
            }
            (false, _) if left >= LOW_DELTA => [left, outputs, 0.0],
            (false, _) => [all.max(60.0), 0.0, 0.0],
        }
    }

    fn has_outputs(&self) -> bool {
        self.outputs.iter().any(|output| !output.is_empty())
    }

    fn legend(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if !self.delta_log_prob.is_empty() {
            let [first, second] = sides();
            for (name, (fill, _)) in self.names.iter().zip([first, second]) {
                entries.push(Entry::new(Sample::Cell(fill), format!("better predicted by {name}")));
            }
            if self.delta_log_prob.len() > WIDTH as usize / 2 {
                entries.push(Entry::new(Sample::Note, "where tokens share a pixel: mean, and extremes in pale colors"));
            }
        }
        if let Some(map) = self.map.as_ref().filter(|map| map.stride > 1) {
            entries.push(Entry::new(Sample::Note, format!("cell = {0} × {0} tokens", map.stride)));
        }
        entries
    }

    fn draw_delta(&self, scene: &mut Scene, room: Rect) {
        let n_tokens = self.delta_log_prob.len();
        let finite = || self.delta_log_prob.iter().copied().filter(|delta| delta.is_finite()).map(f64::from);
        let (low, high) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
        let margin = (high - low).max(0.1) * 0.06;
        let (low, high) = (low - margin, high + margin);
        let values = ticks::linear(low, high, 5);
        let labels: Vec<_> = ticks::labels(&values).into_iter().map(|label| label.replace('-', "−")).collect();
        let title = "Δ log p";
        let x0 = room.x0 + frame::y_axis_width(&labels, title);
        let y1 = (room.y1 - frame::x_axis_height(&[], "token")).max(room.y0 + 12.0);
        let area = Rect { x0, y0: room.y0 + 6.0, x1: (room.x1 - 16.0).max(x0 + 16.0), y1 };
        scene.panels.push(Panel { area, n_columns: 1, n_rows: 1 });
        let x = |token: f64| area.x0 + area.width() * token / n_tokens as f64;
        let y = |delta: f64| area.y1 - area.height() * (delta - low) / (high - low);
        let y_ticks: Vec<_> = values.into_iter().zip(labels).map(|(value, label)| Tick::new(y(value), label)).collect();
        for tick in &y_ticks {
            scene.rect(Rect { y0: tick.at - 0.5, y1: tick.at + 0.5, ..area }, RULE);
        }

        let per_bar = n_tokens.div_ceil((area.width() as usize).max(1));
        let zero = y(0.0);
        for (at, deltas) in self.delta_log_prob.chunks(per_bar).enumerate() {
            let deltas: Vec<f64> = deltas.iter().copied().filter(|delta| delta.is_finite()).map(f64::from).collect();
            if deltas.is_empty() {
                continue;
            }
            let start = at * per_bar;
            let (from, to) = (x(start as f64), x((start + per_bar).min(n_tokens) as f64));
            // bars wide enough to be told apart have a gap
            let gap = if to - from >= 4.0 { 1.0 } else { 0.0 };
            let mut bar = |delta: f64, fill: Rgb| {
                let end = y(delta);
                // less than a pixel is not seen: a drawn rectangle is never thinner
                if (end - zero).abs() >= 0.5 {
                    scene.rect(Rect { x0: from, x1: to - gap, y0: end.min(zero), y1: end.max(zero) }, fill);
                }
            };
            let extremes = (deltas.iter().copied().fold(0.0, f64::min), deltas.iter().copied().fold(0.0, f64::max));
            let mean = deltas.iter().sum::<f64>() / deltas.len() as f64;
            let [(worse, pale_worse), (better, pale_better)] = sides();
            if per_bar > 1 {
                bar(extremes.0, pale_worse);
                bar(extremes.1, pale_better);
            }
            bar(mean, if mean < 0.0 { worse } else { better });
        }
        scene.rect(Rect { y0: zero - 0.5, y1: zero + 0.5, ..area }, GRAY);
        scene.outline(area.inset(-1.0), 1.0, GRAY);
        let place = |token: &usize| Tick::new(x(*token as f64 - 0.5), token.to_string());
        let tokens: Vec<_> = ticks::tokens(n_tokens, 8).iter().filter(|token| **token > 0).map(place).collect();
        frame::x_axis(scene, area, &tokens, "predicted token");
        frame::y_axis(scene, area, &y_ticks, title);
    }

    /// Height of the part that shows the outputs.
    fn outputs_height(&self, width: f64) -> f64 {
        if !self.has_outputs() {
            return 0.0;
        }
        let lines: usize =
            self.outputs.iter().map(|output| wrapped(output, columns(width)).len().clamp(1, MAX_LINES)).sum();
        LINE * (lines as f64 + 3.0) + GAP * 2.5
    }

    fn draw_outputs(&self, scene: &mut Scene, room: Rect) {
        let parted = first_difference(&self.outputs);
        let caption = match (parted, self.divergence) {
            (None, _) => "Both wrote the same".to_owned(),
            (Some(_), None) => "What each wrote, its first difference marked".to_owned(),
            (Some(_), Some(1)) => "What each wrote: the same for 1 token".to_owned(),
            (Some(_), Some(n)) => format!("What each wrote: the same for {n} tokens"),
        };
        let mut y = room.y0 + LINE / 2.0;
        scene.text(caption, (room.x0, y), Anchor::Start, 13.0, INK);
        y += LINE / 2.0 + 4.0;
        let n_columns = columns(room.width());
        // on a low page both outputs get the same number of lines
        let fitting = ((room.y1 - y - 2.0 * LINE - GAP) / LINE / 2.0).max(1.0) as usize;
        for ((name, output), (color, _)) in self.names.iter().zip(&self.outputs).zip(sides()) {
            y += LINE / 2.0;
            scene.rect(Rect { x0: room.x0, y0: y - 6.0, x1: room.x0 + 4.0, y1: y + 6.0 }, color);
            let name = text::wrap(name, 12.0, room.width() - 10.0).into_iter().next().unwrap_or_default();
            scene.text(name, (room.x0 + 10.0, y), Anchor::Start, 12.0, GRAY);
            y += LINE / 2.0;
            let lines = wrapped(output, n_columns);
            let shown = window(&lines, parted, fitting.min(MAX_LINES));
            let ground = Rect { x0: room.x0, y0: y, x1: room.x1, y1: y + LINE * shown.len().max(1) as f64 + 4.0 };
            scene.rect(ground, PALE);
            y += 2.0;
            if output.is_empty() {
                scene.text("nothing", (room.x0 + 10.0, y + LINE / 2.0), Anchor::Start, 12.0, GRAY);
                y += LINE;
            }
            let skipped = (shown.start > 0, shown.end < lines.len());
            for (row, (start, line)) in lines[shown.clone()].iter().enumerate() {
                let middle = y + LINE / 2.0;
                let last = row + 1 == shown.len();
                let n_chars = line.chars().count();
                let same = parted.map_or(n_chars, |at| at.saturating_sub(*start).min(n_chars));
                // an output that ends where the other goes on has its mark behind the end
                let end = start + n_chars + usize::from(shown.start + row + 1 == lines.len());
                let marked = parted.is_some_and(|at| (*start..end).contains(&at));
                draw_line(scene, (room.x0 + 10.0, middle), line, same, marked);
                if (row == 0 && skipped.0) || (last && skipped.1) {
                    scene.text("…", (room.x1 - 6.0, middle), Anchor::End, 13.0, GRAY);
                }
                y += LINE;
            }
            y += GAP / 2.0 + 2.0;
        }
    }
}

impl DifferenceMap {
    fn check(&self) -> Result<(), PlotError> {
        if self.side == 0 || self.n_tokens == 0 {
            return Err(PlotError::NoData { missing: "no difference of attention was recorded" });
        }
        let expected = self.side * self.side;
        if self.cells.len() != expected {
            return Err(PlotError::Shape { what: "cells of a difference map", expected, found: self.cells.len() });
        }
        Ok(())
    }

    fn draw(&self, scene: &mut Scene, room: Rect, name: &str) {
        let head = format!("Attention of layer {}, head {}", self.layer, self.head);
        let caption = text::wrap(&format!("{head}: more (purple) or less (orange) under {name}"), 13.0, room.width());
        let caption = if caption.len() == 1 { caption.concat() } else { head };
        scene.text(caption, (room.x0, room.y0 + LINE / 2.0), Anchor::Start, 13.0, INK);
        let max = self.largest();
        let color = |amount: f64| color::diverging(amount * 2.0 - 1.0);
        let label = |value: f64| ticks::number(value).replace('-', "−");
        let ticks = [(0.0, label(-max)), (0.5, "0".to_owned()), (1.0, label(max))];
        let bar = ColorBar { color: &color, ticks: ticks.to_vec(), title: "Δ attention weight" };
        let room = Rect { y0: room.y0 + LINE + 2.0, ..room };
        let at_left = square(room, self.n_tokens, bar.width());
        // in the middle of the page
        let free = (room.x1 - at_left.x1 - bar.width()).max(0.0) / 2.0;
        let area = Rect { x0: at_left.x0 + free.floor(), x1: at_left.x1 + free.floor(), ..at_left };
        draw_axes(scene, area, self.n_tokens, (0, 0), self.side as f64 * self.stride.max(1) as f64);
        // cells thinner than a pixel share one
        let per_cell = self.side.div_ceil(area.width() as usize);
        let side = self.side.div_ceil(per_cell);
        let panel = Panel { area, n_columns: side, n_rows: side };
        scene.panels.push(panel);
        scene.rect(area, WHITE);
        scene.cells(&panel, |row, column| {
            let shown = (column <= row).then(|| self.pooled(row, column, per_cell));
            shown.map(|difference| color::diverging(if max > 0.0 { difference / max } else { 0.0 }))
        });
        scene.outline(area.inset(-1.0), 1.0, GRAY);
        bar.draw(scene, area);
    }

    /// The difference furthest from none of a `per_cell` by `per_cell` block, as far as it is below the diagonal.
    fn pooled(&self, row: usize, column: usize, per_cell: usize) -> f64 {
        let block = |at: usize| at * per_cell..((at + 1) * per_cell).min(self.side);
        let cells = block(row).flat_map(|i| block(column).filter(move |j| *j <= i).map(move |j| (i, j)));
        let differences =
            cells.map(|(i, j)| f64::from(self.cells[i * self.side + j])).filter(|value| value.is_finite());
        differences.fold(0.0, |most, value| if value.abs() > f64::abs(most) { value } else { most })
    }

    fn largest(&self) -> f64 {
        (0..self.side)
            .map(|row| (0..=row).map(|column| self.pooled(row, column, 1).abs()).fold(0.0, f64::max))
            .fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::{Canvas, Pixels};
    use crate::color::ALARM;
    use crate::scene::Shape;

    fn figure(outputs: [&str; 2], map: Option<DifferenceMap>) -> RunComparison {
        RunComparison {
            heading: Heading::default(),
            names: ["full".to_owned(), "dual_chunk".to_owned()],
            delta_log_prob: vec![2.0, -1.0, 0.0, f32::NAN],
            divergence: Some(2),
            outputs: outputs.map(str::to_owned),
            map,
        }
    }

    fn map() -> DifferenceMap {
        DifferenceMap { layer: 1, head: 2, n_tokens: 2, side: 2, stride: 1, cells: vec![0.0, 9.0, -0.5, 0.25] }
    }

    fn drawn(figure: &RunComparison) -> (Pixels, Vec<Panel>) {
        (Canvas::default().to_rgb(figure).unwrap(), figure.scene(figure.size()).unwrap().panels)
    }

    #[test]
    fn gains_stand_above_losses() {
        let (pixels, panels) = drawn(&figure(["", ""], None));
        let area = panels[0].area;
        let column = |token: f64| -> Vec<u32> {
            let x = (area.x0 + area.width() * (token + 0.5) / 4.0) as u32;
            let [(worse, _), (better, _)] = sides();
            let rows =
                |color: Rgb| (area.y0 as u32..area.y1 as u32).filter(|y| pixels.at(x, *y) == color).count() as u32;
            vec![rows(better), rows(worse)]
        };
        let height = area.height() as u32;
        assert!(column(0.0)[0] > height / 2 && column(0.0)[1] == 0);
        assert!(column(1.0)[1] > height / 4 && column(1.0)[0] == 0);
        assert_eq!([column(2.0), column(3.0)], [vec![0, 0], vec![0, 0]]);
    }

    #[test]
    fn differences_are_colored_on_both_sides_of_white() {
        let (pixels, panels) = drawn(&figure(["", ""], Some(map())));
        let at = |row, column| {
            let (x, y) = panels[1].cell(row, column).center();
            pixels.at(x as u32, y as u32)
        };
        assert_eq!([at(0, 0), at(0, 1)], [color::diverging(0.0), WHITE]);
        assert_eq!([at(1, 0), at(1, 1)], [color::diverging(-1.0), color::diverging(0.5)]);
    }

    #[test]
    fn the_first_difference_is_marked_in_both_outputs() {
        let marks = |outputs: [&str; 2]| {
            let scene = figure(outputs, None).scene((1000, 600)).unwrap();
            let marked = |shape: &&Shape| matches!(shape, Shape::Rect { fill: ALARM, .. });
            scene.shapes.iter().filter(marked).count()
        };
        assert_eq!([marks(["the key is 12", "the key is 57"]), marks(["the key", "the key is"])], [2, 2]);
        assert_eq!([marks(["same", "same"]), marks(["", ""])], [0, 0]);
        let svg = Canvas::default().to_svg_string(&figure(["the key is 12", "the key is 57"], None)).unwrap();
        for text in [">the key is</text>", ">1</text>", ">2</text>", "the same for 2 tokens"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }

    #[test]
    fn a_late_difference_is_shown() {
        let same = "word ".repeat(400);
        let svg = Canvas::default().to_svg_string(&figure([&(same.clone() + "a"), &(same + "b")], None)).unwrap();
        assert!(svg.contains(">a</text>") && svg.contains(">b</text>"));
    }

    #[test]
    fn any_part_may_be_missing_but_not_all() {
        let whole = figure(["a", "b"], Some(map()));
        let parts = [
            RunComparison { delta_log_prob: Vec::new(), ..whole.clone() },
            RunComparison { map: None, ..whole.clone() },
            figure(["", "only the second"], Some(map())),
            figure(["", ""], None),
            RunComparison { delta_log_prob: vec![0.1; 70_000], ..whole.clone() },
            RunComparison { delta_log_prob: vec![f32::NAN], ..whole.clone() },
        ];
        for part in parts {
            drawn(&part);
        }
        let nothing = RunComparison { delta_log_prob: Vec::new(), ..figure(["", ""], None) };
        assert!(matches!(nothing.scene((1000, 600)).unwrap_err(), PlotError::NoData { .. }));
        let short = figure(["", ""], Some(DifferenceMap { cells: vec![1.0; 3], ..map() }));
        assert!(matches!(short.scene((1000, 600)).unwrap_err(), PlotError::Shape { expected: 4, found: 3, .. }));
    }
}
