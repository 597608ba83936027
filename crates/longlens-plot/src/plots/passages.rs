//! Passages of a text by the attention that each gains, with their words.

use crate::canvas::{Figure, PlotError};
use crate::color::{ALARM, GRAY, INK, PALE, Rgb};
use crate::frame::{self, Heading};
use crate::legend::{Entry, Sample};
use crate::scene::{Anchor, Rect, Scene};
use crate::text;

/// Passages, those that gain most first.
#[derive(Debug, Clone, PartialEq)]
pub struct Passages {
    /// What is shown, such as `Attention of 5 answer tokens`.
    pub title: String,
    /// What ran, and on which model.
    pub heading: Heading,
    /// The passages, in the order in which they are drawn.
    pub rows: Vec<PassageRow>,
}

/// One passage.
#[derive(Debug, Clone, PartialEq)]
pub struct PassageRow {
    /// Where it stands: `page 3`.
    pub place: String,
    /// Its words, shortened to the room there is.
    pub text: String,
    /// What it gains, as a share of all attention.
    pub gain: f32,
    /// Whether it tells the hidden key.
    pub is_needle: bool,
}

const BAR: Rgb = crate::color::BARS[1];
const SIZE: f64 = 13.0;
/// Height of a line of text.
const LINE: f64 = 18.0;
/// Lines of a passage's text.
const LINES: usize = 2;
/// Share of its room that a line of text fills at most: in cells of a terminal letters are wider than in a picture.
const FILLED: f64 = 0.82;
/// Room between two passages.
const GAP: f64 = 12.0;
/// Width of the places at least, and of the bars.
const COLUMNS: [f64; 2] = [104.0, 190.0];

impl Figure for Passages {
    fn size(&self) -> (u32, u32) {
        (1000, (130.0 + self.rows.len() as f64 * (LINES as f64 * LINE + GAP)).max(260.0) as u32)
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        if self.rows.is_empty() {
            return Err(PlotError::NoData { missing: "no passage has attention" });
        }
        let mut scene = Scene::new(size);
        let needle = self.rows.iter().any(|row| row.is_needle);
        let legend: Vec<Entry> =
            needle.then(|| Entry::new(Sample::Cell(ALARM), "holds the needle")).into_iter().collect();
        let room = frame::frame(&mut scene, &self.title, &self.heading, &legend);
        let largest = self.rows.iter().map(|row| row.gain).fold(0.0, f32::max).max(f32::MIN_POSITIVE);
        let height = room.height() / self.rows.len() as f64;
        let places = self.rows.iter().map(|row| text::width(&row.place, SIZE) + GAP).fold(COLUMNS[0], f64::max);
        for (at, row) in self.rows.iter().enumerate() {
            let y0 = room.y0 + at as f64 * height;
            row.draw(&mut scene, Rect { y0, y1: y0 + height, ..room }, places, row.gain / largest);
        }
        Ok(scene)
    }
}

impl PassageRow {
    /// Place, bar with its gain, and words; the bar is `part` of its column.
    fn draw(&self, scene: &mut Scene, area: Rect, places: f64, part: f32) {
        let bars = COLUMNS[1];
        let middle = area.y0 + LINE / 2.0;
        scene.text(&self.place, (area.x0, middle), Anchor::Start, SIZE, GRAY);
        let x0 = area.x0 + places;
        let ground = Rect { x0, y0: area.y0 + 2.0, x1: x0 + bars - 58.0, y1: area.y0 + LINE - 2.0 };
        scene.rect(ground, PALE);
        let color = if self.is_needle { ALARM } else { BAR };
        scene.rect(Rect { x1: x0 + ground.width() * f64::from(part), ..ground }, color);
        scene.text(format!("{:.1} %", 100.0 * self.gain), (ground.x1 + 6.0, middle), Anchor::Start, SIZE, INK);
        let x = x0 + bars;
        let n_lines = (((area.height() - GAP / 2.0) / LINE) as usize).clamp(1, LINES);
        let room = FILLED * (area.x1 - x);
        let mut lines = text::wrap(&self.text.split_whitespace().collect::<Vec<_>>().join(" "), SIZE, room);
        if lines.len() > n_lines {
            lines.truncate(n_lines);
            let last = &mut lines[n_lines - 1];
            // room for the sign that more follows
            while !last.is_empty() && text::width(&format!("{last} …"), SIZE) > room {
                last.pop();
            }
            last.push_str(" …");
        }
        for (at, line) in lines.iter().enumerate() {
            scene.text(line, (x, middle + at as f64 * LINE), Anchor::Start, SIZE, INK);
        }
    }
}
