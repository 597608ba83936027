//! Needle grid: how often the needle is found, by length and depth; one panel per method.

use crate::canvas::{Figure, PlotError};
use crate::color::{self, GRAY, INK, PALE, Palette, Rgb};
use crate::frame::{self, ColorBar, Heading, Tick};
use crate::legend::{Entry, Sample};
use crate::scene::{Anchor, Panel, Rect, Scene};
use crate::{text, ticks};

/// Accuracy by length and depth.
#[derive(Debug, Clone, PartialEq)]
pub struct NeedleGrid {
    /// Title and subtitle: what ran, and on which model.
    pub heading: Heading,
    /// Trained context of the model, in tokens.
    pub trained_context: usize,
    /// Lengths tested, in tokens, ascending.
    pub lengths: Vec<usize>,
    /// Depths tested: 0 is the start of the text, 1 its end; ascending.
    pub depths: Vec<f64>,
    /// One per method; a single one fills the page.
    pub panels: Vec<NeedlePanel>,
    /// Colors from 0 to 1.
    pub palette: Palette,
    /// What the amounts are of.
    pub measure: NeedleMeasure,
}

/// What the amounts of a grid are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NeedleMeasure {
    /// Tests that found the needle.
    #[default]
    Found,
    /// The score of a perfect answer.
    Score,
}

/// The results of one method.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NeedlePanel {
    /// The method's text form; shown when there are several panels.
    pub name: String,
    /// Row-major `[n_depths, n_lengths]`; nothing where no test has finished.
    pub cells: Vec<Option<NeedleCell>>,
}

/// The tests of one length and depth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NeedleCell {
    /// Share of tests that found the needle, 0 to 1.
    pub accuracy: f64,
    /// Tests behind it.
    pub n_trials: usize,
}

/// With fewer trials than this, a cell says how many.
pub const FEW_TRIALS: usize = 10;

const MISSING: Rgb = PALE;
const NAME_LINE: f64 = 16.0;
/// A panel is not narrower, as long as it has others beside it.
const LEAST_PANEL: f64 = 120.0;
/// Room between panels.
const GAP: f64 = 14.0;
const X_TITLE: &str = "length (tokens)";

impl Figure for NeedleGrid {
    fn size(&self) -> (u32, u32) {
        let rows = self.panels.len().div_ceil(self.n_across()) as u32;
        (if self.n_across() > 2 { 1300 } else { 1000 }, if rows < 2 { 650 } else { 150 + 320 * rows })
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        self.check()?;
        let mut scene = Scene::new(size);
        let mut room = frame::frame(&mut scene, self.measure.title(), &self.heading, &self.legend());

        let palette = |amount| self.palette.at(amount);
        let marks = ticks::linear(0.0, 1.0, 5).into_iter().map(|at| (at, percent(at))).collect();
        let bar = ColorBar { color: &palette, ticks: marks, title: self.measure.name() };
        room.x1 -= bar.width();

        // axis titles stand outside the panels, so that all panels are equal
        let inner = Rect { x0: room.x0 + frame::TITLE_ROOM, y1: room.y1 - frame::TITLE_ROOM, ..room };
        let across = self.n_across().min((inner.width() / LEAST_PANEL) as usize).max(1);
        let down = self.panels.len().div_ceil(across);
        let part = |room: f64, n: usize| (room - GAP * (n - 1) as f64) / n as f64;
        let (width, height) = (part(inner.width(), across), part(inner.height(), down));
        let mut bounds = inner;
        for (idx, panel) in self.panels.iter().enumerate() {
            let (column, row) = (idx % across, idx / across);
            let (x0, y0) = (inner.x0 + (width + GAP) * column as f64, inner.y0 + (height + GAP) * row as f64);
            let edges = Edges { left: column == 0, bottom: idx + across >= self.panels.len() };
            let area = self.panel(&mut scene, Rect { x0, y0, x1: x0 + width, y1: y0 + height }, panel, edges);
            bounds.y1 = area.y1;
            bounds.y0 = if idx == 0 { area.y0 } else { bounds.y0 };
        }
        bar.draw(&mut scene, bounds);
        Ok(scene)
    }
}

impl NeedleMeasure {
    fn title(self) -> &'static str {
        match self {
            Self::Found => "Needle retrieval by length and depth",
            Self::Score => "Score by length and depth",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Found => "needles found",
            Self::Score => "of a perfect answer",
        }
    }

    /// What rows are; scores are also of tasks whose evidence is no needle.
    fn depth(self) -> &'static str {
        match self {
            Self::Found => "depth of the needle (% of the text)",
            Self::Score => "depth of the evidence (% of the text)",
        }
    }
}

/// Which sides of a panel carry an axis title.
#[derive(Clone, Copy)]
struct Edges {
    left: bool,
    bottom: bool,
}

impl NeedleGrid {
    /// A grid of one method.
    pub fn single(
        heading: Heading,
        trained_context: usize,
        lengths: Vec<usize>,
        depths: Vec<f64>,
        cells: Vec<Option<NeedleCell>>,
    ) -> Self {
        let panels = vec![NeedlePanel { name: String::new(), cells }];
        Self {
            heading,
            trained_context,
            lengths,
            depths,
            panels,
            palette: Palette::default(),
            measure: NeedleMeasure::Found,
        }
    }

    fn check(&self) -> Result<(), PlotError> {
        if self.lengths.is_empty() || self.depths.is_empty() {
            return Err(PlotError::NoData { missing: "no length or no depth was tested" });
        }
        if self.results().next().is_none() {
            return Err(PlotError::NoData { missing: "no needle test has finished" });
        }
        let expected = self.lengths.len() * self.depths.len();
        match self.panels.iter().find(|panel| panel.cells.len() != expected) {
            Some(panel) => Err(PlotError::Shape { what: "cells of a needle grid", expected, found: panel.cells.len() }),
            None => Ok(()),
        }
    }

    /// The name above a panel; a single one is named by the heading.
    fn name_lines(&self, panel: &NeedlePanel, width: f64) -> Vec<String> {
        if self.panels.len() == 1 {
            return Vec::new();
        }
        text::wrap(&panel.name, 12.0, width - 4.0)
    }

    fn results(&self) -> impl Iterator<Item = NeedleCell> + '_ {
        self.panels.iter().flat_map(|panel| panel.cells.iter().copied().flatten())
    }

    fn n_across(&self) -> usize {
        match self.panels.len() {
            0 | 1 => 1,
            2 | 4 => 2,
            _ => 3,
        }
    }

    /// The number of trials, when every cell has the same.
    fn same_trials(&self) -> Option<usize> {
        let first = self.results().next()?.n_trials;
        self.results().all(|cell| cell.n_trials == first).then_some(first)
    }

    fn legend(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.panels.iter().any(|panel| panel.cells.contains(&None)) {
            entries.push(Entry::new(Sample::Hatched(MISSING, GRAY), "not finished"));
        }
        let note = match self.same_trials() {
            Some(n) if n < FEW_TRIALS => {
                format!("n = {n} per cell: few, one answer is {} of it", percent(1.0 / n.max(1) as f64))
            }
            Some(n) => format!("n = {n} per cell"),
            None if self.results().any(|cell| cell.n_trials < FEW_TRIALS) => {
                format!(
                    "cells with fewer than {FEW_TRIALS} tests say their n; a corner marks them where there is no room"
                )
            }
            None => format!("n ≥ {FEW_TRIALS} in every cell"),
        };
        entries.push(Entry::new(Sample::Note, note));
        entries
    }

    /// Draws one panel with its axes inside `room`, axis titles outside it; returns where the cells are.
    fn panel(&self, scene: &mut Scene, room: Rect, panel: &NeedlePanel, edges: Edges) -> Rect {
        let depth_labels: Vec<_> = self.depths.iter().map(|depth| percent(*depth)).collect();
        let name_lines = self.name_lines(panel, room.width());
        let name_room = self.panels.iter().map(|panel| self.name_lines(panel, room.width()).len()).max().unwrap_or(0);
        let area = Rect {
            x0: room.x0 + frame::y_axis_width(&depth_labels, ""),
            y0: room.y0 + name_room as f64 * NAME_LINE + 20.0,
            x1: room.x1,
            y1: room.y1 - frame::x_axis_height(&[], ""),
        };
        for (idx, line) in name_lines.into_iter().enumerate() {
            let y = room.y0 + NAME_LINE * (idx as f64 + 0.5);
            scene.text(line, (room.x0 + 4.0, y), Anchor::Start, 12.0, INK);
        }

        let cells = Panel { area, n_columns: self.lengths.len(), n_rows: self.depths.len() };
        scene.panels.push(cells);
        for (idx, result) in panel.cells.iter().enumerate() {
            let place = cells.cell(idx / self.lengths.len(), idx % self.lengths.len());
            if let Some(result) = result {
                self.cell(scene, place, *result);
            } else {
                scene.rect(place, MISSING);
                scene.hatch(place, 8.0, color::FILLS[2]);
            }
        }
        scene.outline(area.inset(-1.0), 1.0, GRAY);

        let x_ticks: Vec<_> = (self.lengths.iter().enumerate())
            .map(|(column, length)| Tick::new(cells.cell(0, column).center().0, length.to_string()))
            .collect();
        let y_ticks: Vec<_> = depth_labels
            .into_iter()
            .enumerate()
            .map(|(row, label)| Tick::new(cells.cell(row, 0).center().1, label))
            .collect();
        frame::x_axis(scene, area, &x_ticks, if edges.bottom { X_TITLE } else { "" });
        frame::y_axis(scene, area, &y_ticks, if edges.left { self.measure.depth() } else { "" });

        let n_trained = self.lengths.iter().filter(|length| **length <= self.trained_context).count();
        if n_trained < self.lengths.len() {
            frame::trained_line(scene, area, cells.cell(0, n_trained).x0, self.trained_context);
        }
        area
    }

    fn cell(&self, scene: &mut Scene, place: Rect, result: NeedleCell) {
        let fill = self.palette.at(result.accuracy);
        let ink = color::ink_on(fill);
        scene.rect(place, fill);
        let (x, y) = place.center();
        let label = percent(result.accuracy);
        let fits = |text: &str, size: f64, height: f64| {
            text::width(text, size) + 3.0 <= place.width() && height <= place.height()
        };
        // one size for all cells, none when the widest text has no room
        let size = [12.0, 10.0, 9.0].into_iter().find(|size| fits("100%", *size, size + 2.0));
        let marked = result.n_trials < FEW_TRIALS && self.same_trials().is_none();
        let count = format!("n={}", result.n_trials);
        let shift = if marked && fits(&count, 10.0, 30.0) { 6.0 } else { 0.0 };
        if let Some(size) = size {
            scene.text(label, (x, y - shift), Anchor::Middle, size, ink);
        }
        if shift > 0.0 {
            scene.text(count, (x, y + 8.0), Anchor::Middle, 10.0, ink);
        } else if marked {
            let side = 6.0_f64.min(place.width() / 2.0);
            scene.polygon([(place.x1 - side, place.y0), (place.x1, place.y0), (place.x1, place.y0 + side)], ink);
        }
    }
}

/// `95%`; rounding never turns a miss into 100% or a hit into 0%.
fn percent(share: f64) -> String {
    let rounded = (share * 100.0).round();
    let honest = if share < 1.0 { rounded.min(99.0) } else { rounded };
    let honest = if share > 0.0 { honest.max(1.0) } else { honest };
    format!("{honest}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::{Canvas, Pixels};

    /// Two depths by three lengths, trained on 1024: found, found, half; found, not finished, never.
    fn grid() -> NeedleGrid {
        let cell = |accuracy| Some(NeedleCell { accuracy, n_trials: 20 });
        let cells = vec![cell(1.0), cell(1.0), cell(0.5), cell(1.0), None, cell(0.0)];
        NeedleGrid::single(Heading::default(), 1024, vec![512, 1024, 2048], vec![0.0, 1.0], cells)
    }

    /// The color near a corner of a cell, away from its text.
    fn corner(pixels: &Pixels, panel: &Panel, row: usize, column: usize) -> Rgb {
        let cell = panel.cell(row, column);
        pixels.at(cell.x0 as u32 + 12, cell.y1 as u32 - 12)
    }

    #[test]
    fn cells_have_the_color_of_their_accuracy() {
        for palette in Palette::ALL {
            let grid = NeedleGrid { palette, ..grid() };
            let panel = grid.scene(grid.size()).unwrap().panels[0];
            let pixels = Canvas::default().to_rgb(&grid).unwrap();
            assert_eq!(corner(&pixels, &panel, 0, 0), palette.at(1.0));
            assert_eq!(corner(&pixels, &panel, 0, 2), palette.at(0.5));
            assert_eq!(corner(&pixels, &panel, 1, 2), palette.at(0.0));
            let missing = panel.cell(1, 1).inset(8.0);
            let xs = missing.x0 as u32..missing.x1 as u32;
            assert!(xs.clone().any(|x| pixels.at(x, missing.y0 as u32) == MISSING));
            assert!(xs.clone().any(|x| pixels.at(x, missing.y0 as u32) != MISSING), "unfinished cells are hatched");
        }
    }

    #[test]
    fn a_dashed_line_stands_where_lengths_pass_the_trained_context() {
        let panel = grid().scene(grid().size()).unwrap().panels[0];
        let pixels = Canvas::default().to_rgb(&grid()).unwrap();
        let alarm = |column: usize| pixels.at(panel.cell(0, column).x0.round() as u32, panel.area.y0 as u32 + 2);
        assert_eq!(alarm(2), color::ALARM);
        assert_ne!(alarm(1), color::ALARM);
        let within = NeedleGrid { trained_context: 4096, ..grid() };
        assert!(!Canvas::default().to_svg_string(&within).unwrap().contains("trained context"));
    }

    #[test]
    fn few_trials_are_marked() {
        let svg = |n: [usize; 2]| {
            let cells = n.map(|n_trials| Some(NeedleCell { accuracy: 0.5, n_trials })).to_vec();
            let grid = NeedleGrid::single(Heading::default(), 512, vec![256, 512], vec![0.5], cells);
            Canvas::default().to_svg_string(&grid).unwrap()
        };
        assert!(svg([20, 5]).contains("n=5"));
        assert!(svg([5, 5]).contains("n = 5 per cell: few"));
        assert!(svg([20, 20]).contains("n = 20 per cell<"));
    }

    #[test]
    fn rounding_hides_no_miss_and_no_hit() {
        assert_eq!([0.0, 0.001, 0.954, 0.999, 1.0].map(percent), ["0%", "1%", "95%", "99%", "100%"]);
    }
}
