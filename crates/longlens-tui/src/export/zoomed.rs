//! A part of an attention map, with its own axes. The plot of whole maps reads only what is left of the diagonal.

use longlens_core::trace::{MapWindow, PooledMap};
use longlens_plot::color::{ColorScale, Palette, Rgb};
use longlens_plot::plots::Pooling;
use longlens_plot::scene::{Anchor, Panel, Rect, Scene, Shape, Text};
use longlens_plot::{Figure, Heading, PlotError};

/// One head's attention from some queries to some keys.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoomedMap {
    /// What ran.
    pub heading: Heading,
    /// The cells, and which part of the map they are.
    pub map: PooledMap,
    /// What a cell of several tokens holds.
    pub pooling: Pooling,
    /// Linear, or by powers of ten.
    pub scale: ColorScale,
}

const INK: Rgb = Rgb(34, 34, 34);
const GRAY: Rgb = Rgb(96, 96, 96);
const MARGIN: f64 = 16.0;
/// Cells of a side that are drawn at most; several share one that shows the largest.
const MAX_DRAWN: usize = 256;
/// Steps of the color bar.
const STEPS: usize = 64;

impl Figure for ZoomedMap {
    fn size(&self) -> (u32, u32) {
        (800, 740)
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        let map = &self.map;
        if map.side == 0 {
            return Err(PlotError::NoData { missing: "no attention map was recorded" });
        }
        let mut scene = Scene::new(size);
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        let top = self.draw_heading(&mut scene, width);
        let side = (width - 200.0).min(height - top - 84.0).max(16.0).floor();
        let area = Rect { x0: 90.0, y0: top, x1: 90.0 + side, y1: top + side };

        let max = self.cells().iter().copied().fold(0.0, f32::max).into();
        let color = |weight: f64| Palette::Inferno.at(self.scale.fraction(weight, max));
        let per_cell = map.side.div_ceil(MAX_DRAWN);
        let n_drawn = map.side.div_ceil(per_cell);
        // the last cells may stand for fewer tokens than the others
        let panel = Panel { area, n_columns: n_drawn, n_rows: n_drawn };
        scene.panels.push(panel);
        for (row, column) in (0..n_drawn * n_drawn).map(|at| (at / n_drawn, at % n_drawn)) {
            let weight = self.largest(row, column, per_cell);
            if weight > 0.0 {
                scene.shapes.push(Shape::Rect { area: panel.cell(row, column), fill: color(weight) });
            }
        }
        outline(&mut scene, area);
        self.draw_axes(&mut scene, area, n_drawn * per_cell * map.stride);
        self.draw_bar(&mut scene, area, max);
        let rule = match self.pooling {
            _ if map.stride <= 1 => "white: no weight, not seen".to_owned(),
            Pooling::Mean => format!(
                "cell = {0} × {0} tokens: attention to the whole key block, averaged over the block's queries",
                map.stride
            ),
            Pooling::Max => format!("cell = {0} × {0} tokens: the largest single weight", map.stride),
        };
        text(&mut scene, rule, (MARGIN, height - MARGIN), Anchor::Start, 12.0, GRAY);
        Ok(scene)
    }
}

impl ZoomedMap {
    fn window(&self) -> MapWindow {
        self.map.pick.window.unwrap_or(MapWindow { query: 0, key: 0, len: self.map.n_tokens })
    }

    fn cells(&self) -> &[f32] {
        match self.pooling {
            Pooling::Mean => &self.map.mean,
            Pooling::Max => &self.map.max,
        }
    }

    fn largest(&self, row: usize, column: usize, per_cell: usize) -> f64 {
        let block = |at: usize| at * per_cell..((at + 1) * per_cell).min(self.map.side);
        let cells = block(row).flat_map(|i| block(column).map(move |j| i * self.map.side + j));
        cells.map(|at| f64::from(self.cells()[at])).fold(0.0, f64::max)
    }

    /// Title and what was run; returns where the rest begins.
    fn draw_heading(&self, scene: &mut Scene, width: f64) -> f64 {
        let (pick, window) = (&self.map.pick, self.window());
        let part = |start: usize| format!("{start} to {}", start + window.len.saturating_sub(1));
        let what = format!(
            "Attention of layer {}, head {}: queries {}, keys {}",
            pick.layer,
            pick.head,
            part(window.query),
            part(window.key)
        );
        let mut y = MARGIN;
        for (line, size, color) in
            [(&what, 17.0, INK), (&self.heading.title, 14.0, INK), (&self.heading.subtitle, 12.0, GRAY)]
        {
            for line in wrapped(line, ((width - 2.0 * MARGIN) / (size * 0.56)) as usize) {
                y += size * 0.7;
                text(scene, line, (MARGIN, y), Anchor::Start, size, color);
                y += size * 0.7;
            }
        }
        (y + 16.0).round()
    }

    /// Token numbers below and on the left; the square stands for `span` tokens, the last of which may be beyond the window.
    fn draw_axes(&self, scene: &mut Scene, area: Rect, span: usize) {
        let window = self.window();
        let step = window.len.div_ceil(8).max(1).next_power_of_two();
        let marks = |start: usize| (start.next_multiple_of(step)..start + window.len).step_by(step);
        let share = |token: usize, start: usize| ((token - start) as f64 + 0.5) / span.max(1) as f64;
        for token in marks(window.key) {
            let x = area.x0 + area.width() * share(token, window.key);
            rect(scene, Rect { x0: x - 0.5, y0: area.y1, x1: x + 0.5, y1: area.y1 + 5.0 }, GRAY);
            text(scene, token.to_string(), (x, area.y1 + 14.0), Anchor::Middle, 12.0, INK);
        }
        for token in marks(window.query) {
            let y = area.y0 + area.height() * share(token, window.query);
            rect(scene, Rect { x0: area.x0 - 5.0, y0: y - 0.5, x1: area.x0, y1: y + 0.5 }, GRAY);
            text(scene, token.to_string(), (area.x0 - 8.0, y), Anchor::End, 12.0, INK);
        }
        text(scene, "key (token)", (area.center().0, area.y1 + 34.0), Anchor::Middle, 13.0, INK);
        turned(scene, "query (token)", (MARGIN + 6.0, area.center().1));
    }

    fn draw_bar(&self, scene: &mut Scene, area: Rect, max: f64) {
        let (x0, x1) = (area.x1 + 20.0, area.x1 + 34.0);
        let y = |amount: f64| area.y1 - area.height() * amount;
        for step in 0..STEPS {
            let (low, high) = (step as f64 / STEPS as f64, (step + 1) as f64 / STEPS as f64);
            rect(scene, Rect { x0, y0: y(high), x1, y1: y(low) }, Palette::Inferno.at(f64::midpoint(low, high)));
        }
        outline(scene, Rect { x0, x1, ..area });
        for amount in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let value = match self.scale {
                ColorScale::Linear => max * amount,
                ColorScale::Log { floor } => floor * (max.max(floor) / floor).powf(amount),
            };
            text(scene, number(value), (x1 + 6.0, y(amount)), Anchor::Start, 12.0, INK);
        }
        turned(scene, "attention weight", (x1 + 58.0, area.center().1));
    }
}

fn rect(scene: &mut Scene, area: Rect, fill: Rgb) {
    scene.shapes.push(Shape::Rect { area, fill });
}

fn outline(scene: &mut Scene, area: Rect) {
    let area = area.inset(-1.0);
    let corners = [(area.x0, area.y0), (area.x1, area.y0), (area.x1, area.y1), (area.x0, area.y1), (area.x0, area.y0)];
    scene.shapes.push(Shape::Line { points: corners.to_vec(), width: 1.0, color: GRAY });
}

fn text(scene: &mut Scene, text: impl Into<String>, at: (f64, f64), anchor: Anchor, size: f64, color: Rgb) {
    scene.shapes.push(Shape::Text(Text::new(text, at, anchor, size, color)));
}

fn turned(scene: &mut Scene, text: &str, at: (f64, f64)) {
    scene.shapes.push(Shape::Text(Text { turned: true, ..Text::new(text, at, Anchor::Middle, 13.0, INK) }));
}

/// A weight with three digits.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        small if small < 1e-3 => format!("{small:.1e}"),
        small if small < 0.1 => format!("{small:.4}"),
        _ => format!("{value:.3}"),
    }
}

/// Lines of at most `n_columns` characters, broken at blanks and commas.
fn wrapped(text: &str, n_columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_inclusive([' ', ',']) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.trim_end().chars().count() <= n_columns => *line += word,
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
