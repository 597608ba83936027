//! Head grid: one small panel per head, colored by a score, with where in the text the head looks.

use std::ops::Range;

use crate::canvas::{Figure, PlotError};
use crate::color::{self, ALARM, ColorScale, GRAY, PALE, Palette, Rgb};
use crate::frame::{self, ColorBar, Heading, Tick};
use crate::legend::{self, Entry, Sample};
use crate::scene::{Anchor, Panel, Rect, Scene};
use crate::{text, ticks};

/// Layers (rows) by heads (columns) for one query token.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadGrid {
    /// Title and subtitle: what ran, and on which model.
    pub heading: Heading,
    /// Layers of the model.
    pub n_layers: usize,
    /// Query heads of a layer.
    pub n_heads: usize,
    /// Token index of the query.
    pub query: usize,
    /// What a score is: `retrieval score`.
    pub score_name: String,
    /// Row-major `[n_layers, n_heads]`; NaN where there is none.
    pub scores: Vec<f32>,
    /// Attention mass over equal parts of the text, one list per head; empty when not recorded.
    pub profiles: Vec<Vec<f32>>,
    /// Where the needle is, as a share of the text from 0 to 1.
    pub needle: Option<Range<f64>>,
    /// How a score becomes a color.
    pub scale: ColorScale,
    /// Layer and head of those whose output is zeros: they are crossed.
    pub off: Vec<(usize, usize)>,
}

const PALETTE: Palette = Palette::Viridis;
const PROFILE: Rgb = color::BARS[0];
const SCORE_SIZE: f64 = 12.0;

impl Figure for HeadGrid {
    fn size(&self) -> (u32, u32) {
        // panels are wider than high, and large enough to see a profile
        let height = (900.0 / self.n_heads.max(1) as f64 * 0.62).clamp(25.0, 90.0);
        (1000, (190.0 + height * self.n_layers as f64).max(320.0) as u32)
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        let n_panels = self.n_layers * self.n_heads;
        if n_panels == 0 {
            return Err(PlotError::NoData { missing: "no head has a score" });
        }
        let wrong = |what, found| Err(PlotError::Shape { what, expected: n_panels, found });
        if self.scores.len() != n_panels {
            return wrong("scores of a head grid", self.scores.len());
        }
        if !self.profiles.is_empty() && self.profiles.len() != n_panels {
            return wrong("profiles of a head grid", self.profiles.len());
        }
        let mut scene = Scene::new(size);
        let what = format!("{} of every head, from token {}", capitalized(&self.score_name), self.query);
        let room = frame::frame(&mut scene, &what, &self.heading, &self.legend());
        let max = self.scores.iter().copied().filter(|score| score.is_finite()).fold(0.0, f32::max).into();
        let color = |amount| PALETTE.at(amount);
        let bar = ColorBar { color: &color, ticks: self.scale.ticks(max), title: &self.score_name };
        let name = |at: usize, letter: char| format!("{letter}{at}");
        let left = frame::y_axis_width((0..self.n_layers).map(|layer| name(layer, 'L')), "layer");
        let bottom = frame::x_axis_height(&[], "head");
        let area = Rect {
            x0: room.x0 + left,
            y0: room.y0 + 4.0,
            x1: (room.x1 - bar.width()).max(room.x0 + left + 16.0),
            y1: (room.y1 - bottom).max(room.y0 + 20.0),
        };
        let panel = Panel { area, n_columns: self.n_heads, n_rows: self.n_layers };
        scene.panels.push(panel);
        let labels: Vec<_> = self.scores.iter().map(|score| label(*score)).collect();
        // all scores or none: a number here and there would look like a finding
        let widest = labels.iter().map(|label| text::width(label, 1.0)).fold(0.0, f64::max);
        for (at, label) in labels.iter().enumerate() {
            let cell = panel.cell(at / self.n_heads, at % self.n_heads);
            let (above, fill) = self.draw_head(&mut scene, cell, at, max);
            let is_off = self.off.contains(&(at / self.n_heads, at % self.n_heads));
            let radius = (above.height() * 0.3).min(above.width() * 0.3).min(4.5);
            // a cross stands before the number where both fit, else in its place
            let cross = if is_off { 2.0 * radius + 6.0 } else { 0.0 };
            let size = SCORE_SIZE.min(above.height() * 0.8).min((above.width() - 4.0) / widest);
            let beside = text::width(label, size) + 2.0 * cross <= above.width() - 4.0;
            // in cells of a terminal what comes first stays
            if is_off {
                let (x, y) = above.center();
                let x = if size >= 8.0 && beside { above.x0 + 4.0 + radius } else { x };
                scene.cross((x, y), radius, color::ink_on(fill));
            }
            if size >= 8.0 && (beside || !is_off) {
                scene.text(label, above.center(), Anchor::Middle, size, color::ink_on(fill));
            }
        }
        scene.outline(area.inset(-1.0), 1.0, GRAY);
        let heads: Vec<_> =
            (0..self.n_heads).map(|head| Tick::new(panel.cell(0, head).center().0, name(head, 'H'))).collect();
        let layers: Vec<_> =
            (0..self.n_layers).map(|layer| Tick::new(panel.cell(layer, 0).center().1, name(layer, 'L'))).collect();
        frame::x_axis(&mut scene, area, &heads, "head");
        frame::y_axis(&mut scene, area, &layers, "layer");
        bar.draw(&mut scene, area);
        Ok(scene)
    }
}

impl HeadGrid {
    /// One head: the color of its score above, its profile below where there is room for one. Returns the colored part.
    fn draw_head(&self, scene: &mut Scene, cell: Rect, at: usize, max: f64) -> (Rect, Rgb) {
        let gap = if cell.width().min(cell.height()) >= 12.0 { 1.0 } else { 0.0 };
        let cell = cell.inset(gap);
        let profile = self.profiles.get(at).filter(|profile| !profile.is_empty() && cell.height() >= 13.0);
        let share = if cell.height() >= 40.0 { 0.55 } else { 0.45 };
        let split = if profile.is_some() { (cell.y1 - cell.height() * share).round() } else { cell.y1 };
        let (above, below) = (Rect { y1: split, ..cell }, Rect { y0: split, ..cell });
        let score = f64::from(self.scores[at]);
        let fill = if score.is_nan() { PALE } else { PALETTE.at(self.scale.fraction(score, max)) };
        scene.rect(above, fill);
        if let Some(profile) = profile {
            self.draw_profile(scene, below, profile);
        }
        (above, fill)
    }

    /// Bars over the text, as high as the head's largest; those on the needle stand out.
    fn draw_profile(&self, scene: &mut Scene, area: Rect, profile: &[f32]) {
        scene.rect(area, PALE);
        let needle = |share: f64| area.x0 + area.width() * share.clamp(0.0, 1.0);
        // a low strip has no room for a ground
        if let Some(range) = self.needle.as_ref().filter(|_| area.height() >= 16.0) {
            let ground = Rect { x0: needle(range.start), x1: needle(range.end), ..area };
            scene.rect(ground, color::tint(ALARM, 0.25));
        }
        // bars thinner than a pixel share one, which shows the largest
        let per_bar = profile.len().div_ceil((area.width() as usize).max(1));
        let bars: Vec<f32> = profile
            .chunks(per_bar)
            .map(|bins| bins.iter().copied().filter(|mass| mass.is_finite()).fold(0.0, f32::max))
            .collect();
        let largest = bars.iter().copied().fold(0.0, f32::max);
        if largest <= 0.0 {
            return;
        }
        let place = |bar: usize| (bar * per_bar).min(profile.len()) as f64 / profile.len() as f64;
        for (at, mass) in bars.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
            let (start, end) = (place(at), place(at + 1));
            let on_needle = self.needle.as_ref().is_some_and(|needle| start < needle.end && needle.start < end);
            let height = (area.height() - 1.0) * f64::from(mass / largest);
            // less than a pixel is not seen: a drawn rectangle is never thinner
            if height >= 0.8 {
                let bar = Rect { x0: needle(start), x1: needle(end), y0: area.y1 - height, y1: area.y1 };
                scene.rect(bar, if on_needle { ALARM } else { PROFILE });
            }
        }
    }

    fn legend(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if self.profiles.iter().any(|profile| !profile.is_empty()) {
            let name = "attention over the text, start to end; each head to its own largest";
            entries.push(Entry::new(Sample::Cell(PROFILE), name));
            if self.needle.is_some() {
                entries.push(Entry::new(Sample::Cell(ALARM), "on the needle"));
            }
        }
        if self.scores.iter().any(|score| score.is_nan()) {
            entries.push(Entry::new(Sample::Cell(PALE), "no score"));
        }
        entries.extend((!self.off.is_empty()).then(legend::switched_off));
        entries
    }
}

fn label(score: f32) -> String {
    if score.is_nan() { "–".to_owned() } else { ticks::number(score.into()).replace('-', "−") }
}

fn capitalized(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::{Canvas, Pixels};

    fn figure(n_layers: usize, n_heads: usize) -> HeadGrid {
        let n_panels = n_layers * n_heads;
        HeadGrid {
            heading: Heading::default(),
            n_layers,
            n_heads,
            query: 99,
            score_name: "retrieval score".to_owned(),
            scores: (0..n_panels).map(|at| at as f32 / (n_panels - 1) as f32).collect(),
            profiles: vec![vec![0.1, 0.8, 0.0, 0.4]; n_panels],
            needle: Some(0.3..0.45),
            scale: ColorScale::Linear,
            off: Vec::new(),
        }
    }

    fn drawn(figure: &HeadGrid) -> (Pixels, Panel) {
        (Canvas::default().to_rgb(figure).unwrap(), figure.scene(figure.size()).unwrap().panels[0])
    }

    #[test]
    fn scores_are_colors_and_bars_stand_on_the_needle() {
        let (pixels, panel) = drawn(&figure(2, 3));
        for at in 0..6 {
            let cell = panel.cell(at / 3, at % 3);
            assert_eq!(pixels.at(cell.x0 as u32 + 3, cell.y0 as u32 + 3), PALETTE.at(at as f64 / 5.0), "head {at}");
            let low = |share: f64| pixels.at((cell.x0 + cell.width() * share) as u32, cell.y1 as u32 - 4);
            assert_eq!([low(0.12), low(0.37), low(0.62), low(0.87)], [PROFILE, ALARM, PALE, PROFILE], "head {at}");
            let high =
                |share: f64| pixels.at((cell.x0 + cell.width() * share) as u32, (cell.y0 + cell.height() * 0.5) as u32);
            assert_eq!([high(0.12), high(0.37)], [PALE, ALARM], "only the largest bar is high");
        }
    }

    #[test]
    fn a_thousand_heads_still_show_their_colors() {
        let mut figure = figure(32, 32);
        figure.scores = vec![0.0; 1024];
        figure.scores[5 * 32 + 7] = 0.9;
        let (pixels, panel) = drawn(&figure);
        let color = |layer: usize, head: usize| {
            let cell = panel.cell(layer, head);
            pixels.at(cell.x0 as u32 + 2, cell.y0 as u32 + 2)
        };
        assert_eq!([color(5, 7), color(7, 5)], [PALETTE.at(1.0), PALETTE.at(0.0)]);
    }

    #[test]
    fn heads_that_are_switched_off_are_crossed_at_every_size() {
        for (n_layers, n_heads) in [(2, 3), (30, 9), (32, 32)] {
            let figure = HeadGrid { off: vec![(1, 2)], ..figure(n_layers, n_heads) };
            let scene = figure.scene(figure.size()).unwrap();
            let crosses: Vec<_> = (scene.shapes.iter())
                .filter_map(|shape| match shape {
                    crate::scene::Shape::Text(text) if text.text == "×" => Some(text.at),
                    _ => None,
                })
                .collect();
            let cell = scene.panels[0].cell(1, 2);
            let inside = |(x, y): &(f64, f64)| cell.x0 < *x && *x < cell.x1 && cell.y0 < *y && *y < cell.y1;
            // that of the legend lies below the panels
            assert!(
                crosses.len() == 2 && crosses.iter().filter(|at| inside(at)).count() == 1,
                "{crosses:?} in {cell:?}"
            );
            assert!(Canvas::default().to_svg_string(&figure).unwrap().contains("switched off"));
            let cells = crate::screen::Screen::of_figure(&figure, 100, 60).unwrap().cells;
            assert!(
                cells.iter().filter(|cell| cell.symbol == "×").count() == 2,
                "{n_layers} x {n_heads} in a terminal"
            );
        }
    }

    #[test]
    fn scores_alone_suffice_and_missing_ones_are_pale() {
        let mut figure = HeadGrid { profiles: Vec::new(), needle: None, ..figure(1, 2) };
        figure.scores[0] = f32::NAN;
        let (pixels, panel) = drawn(&figure);
        let cell = panel.cell(0, 0);
        assert_eq!(pixels.at(cell.x0 as u32 + 3, cell.y1 as u32 - 4), PALE);
        assert!(Canvas::default().to_svg_string(&figure).unwrap().contains("no score"));
    }

    #[test]
    fn nothing_and_contradictions_are_errors() {
        let error = |figure: &HeadGrid| figure.scene((1000, 650)).unwrap_err();
        assert!(matches!(error(&HeadGrid { n_heads: 0, ..figure(1, 2) }), PlotError::NoData { .. }));
        assert!(matches!(
            error(&HeadGrid { n_heads: 3, ..figure(1, 2) }),
            PlotError::Shape { expected: 3, found: 2, .. }
        ));
        let profiles = HeadGrid { profiles: vec![Vec::new()], ..figure(1, 2) };
        assert_eq!(error(&profiles).to_string(), "profiles of a head grid: expected 2, got 1");
    }
}
