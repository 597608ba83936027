//! An x axis of words: in lines below their place, or turned where places are narrow.

use crate::color::{GRAY, INK};
use crate::frame::{TICK_SIZE, TITLE_ROOM};
use crate::scene::{Anchor, Rect, Scene, Shape, Text};
use crate::{text, ticks};

/// How the words below a row of equal places are written.
pub struct Categories {
    /// Lines of every label.
    labels: Vec<Vec<String>>,
    turned: bool,
}

const LINE: f64 = TICK_SIZE * 1.25;
/// Further lines of a label are cut.
const MOST_LINES: usize = 4;
/// Places narrower than this hold words on one line or turned ones, in pixels.
const LEAST_LEVEL: f64 = 70.0;
/// Longest turned label, in pixels.
const MOST_TURNED: f64 = 150.0;

impl Categories {
    /// The best way to write `labels` into places `width` pixels wide; they take no more than a third of `height`, the room of
    /// data and axis together.
    pub fn new(labels: &[String], width: f64, height: f64) -> Self {
        let room = (width - 8.0).max(1.0);
        let most_lines = ((height / 3.0 / LINE) as usize).clamp(1, MOST_LINES);
        let level = labels.iter().map(|label| {
            let mut lines = text::wrap(label, TICK_SIZE, room);
            if lines.len() > most_lines {
                let rest = lines.split_off(most_lines - 1).concat();
                lines.push(cut(&rest, TICK_SIZE, room));
            }
            lines
        });
        let is_whole = |label: &String| text::width(label, TICK_SIZE) <= room;
        let turned = room < LEAST_LEVEL && !labels.iter().all(is_whole);
        let short = |label: &String| vec![cut(label, TICK_SIZE, MOST_TURNED.min(height / 3.0))];
        Self { labels: if turned { labels.iter().map(short).collect() } else { level.collect() }, turned }
    }

    /// Room the axis takes below the data.
    pub fn height(&self, title: &str) -> f64 {
        let widths = self.labels.iter().flatten().map(|line| text::width(line, TICK_SIZE));
        let labels = if self.turned {
            widths.fold(0.0, f64::max)
        } else {
            self.labels.iter().map(Vec::len).max().unwrap_or(0) as f64 * LINE
        };
        12.0 + labels + if title.is_empty() { 0.0 } else { TITLE_ROOM }
    }

    /// Marks, words and title below `area`; `place` gives the middle of each place. Words without room are left out evenly.
    pub fn draw(&self, scene: &mut Scene, area: Rect, place: impl Fn(usize) -> f64, title: &str) {
        let widest = |lines: &Vec<String>| lines.iter().map(|line| text::width(line, TICK_SIZE)).fold(0.0, f64::max);
        let width = |lines: &Vec<String>| if self.turned { TICK_SIZE } else { widest(lines) };
        let places: Vec<_> = self.labels.iter().enumerate().map(|(idx, lines)| (place(idx), width(lines))).collect();
        for ((lines, (x, _)), shown) in self.labels.iter().zip(&places).zip(ticks::evenly(&places, 2.0)) {
            if !shown {
                continue;
            }
            scene.rect(Rect { x0: x - 0.5, y0: area.y1, x1: x + 0.5, y1: area.y1 + 5.0 }, GRAY);
            for (row, line) in lines.iter().enumerate() {
                if self.turned {
                    let text = Text::new(line, (*x, area.y1 + 8.0), Anchor::End, TICK_SIZE, INK);
                    scene.shapes.push(Shape::Text(Text { turned: true, ..text }));
                } else {
                    let y = area.y1 + 8.0 + LINE * (row as f64 + 0.5);
                    scene.text(line, (*x, y), Anchor::Middle, TICK_SIZE, INK);
                }
            }
        }
        let y = area.y1 + self.height(title) - TITLE_ROOM / 2.0 + 4.0;
        scene.text(title, (area.center().0, y), Anchor::Middle, 13.0, INK);
    }
}

/// The text, or as much of it as `width` holds and `…`.
pub fn cut(text: &str, size: f64, width: f64) -> String {
    if text::width(text, size) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = text::width("…", size);
    for c in text.chars() {
        used += text::width(c.encode_utf8(&mut [0; 4]), size);
        if used > width {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_level_where_there_is_room() {
        let labels = ["full", "sliding window of 2048 tokens"].map(str::to_owned);
        let wide = Categories::new(&labels, 120.0, 500.0);
        assert!(!wide.turned && wide.labels[1] == ["sliding window of", "2048 tokens"], "{:?}", wide.labels);
        let long = Categories::new(&["many words ".repeat(20)], 90.0, 500.0);
        assert!(
            long.labels[0].len() == MOST_LINES && long.labels[0][MOST_LINES - 1].ends_with('…'),
            "{:?}",
            long.labels
        );
        let narrow = Categories::new(&labels, 30.0, 500.0);
        assert!(narrow.turned && narrow.height("") > wide.height(""));
        assert!(narrow.height("") <= MOST_TURNED + 12.0);
        let low = [Categories::new(&labels, 30.0, 90.0), Categories::new(&labels, 90.0, 90.0)];
        assert!(low.iter().all(|categories| categories.height("") <= 30.0 + 12.0));
    }

    #[test]
    fn a_cut_text_fits_and_says_so() {
        assert_eq!(cut("short", 12.0, 100.0), "short");
        let short = cut("a text that is far too long", 12.0, 60.0);
        assert!(short.ends_with('…') && text::width(&short, 12.0) <= 60.0, "{short}");
        assert_eq!(cut("abc", 12.0, 0.0), "…");
    }
}
