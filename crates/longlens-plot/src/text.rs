//! Text: how wide it is, where it breaks, which pixels it covers.
//!
//! Plotters' own text drawing with `ab_glyph` leaves out each glyph's left bearing and sets lines a fifth of their height too
//! high (0.3.7, `style/font/ab_glyph.rs`), so pixels are drawn here from the same font.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

use crate::scene::{Anchor, Text};

/// Which of the embedded fonts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Face {
    /// The proportional one, `DejaVu Sans`, for plots.
    #[default]
    Sans,
    /// The monospaced one, `DejaVu Sans Mono`, for terminals and what a model wrote.
    Mono,
}

type Embedded = LazyLock<FontRef<'static>>;
static SANS: Embedded = LazyLock::new(|| embedded(include_bytes!("../fonts/DejaVuSans.ttf")));
static MONO: Embedded = LazyLock::new(|| embedded(include_bytes!("../fonts/DejaVuSansMono.ttf")));

/// Half the height of a capital, in parts of the em square.
pub const HALF_CAPITAL: f64 = 0.36;
/// Width of every character of the monospaced face, in parts of the em square.
pub const MONO_ADVANCE: f64 = 0.602;

impl Face {
    /// Font families of SVG text, the embedded one first.
    pub(crate) fn family(self) -> &'static str {
        match self {
            Self::Sans => "DejaVu Sans, Verdana, sans-serif",
            Self::Mono => "DejaVu Sans Mono, Menlo, Consolas, monospace",
        }
    }

    /// Whether the embedded font draws this character.
    pub(crate) fn has(self, c: char) -> bool {
        self.font().glyph_id(c).0 != 0
    }

    fn font(self) -> &'static FontRef<'static> {
        match self {
            Self::Sans => &SANS,
            Self::Mono => &MONO,
        }
    }

    /// The face and character that stand for `c` in pixels.
    fn drawn(self, c: char) -> (Self, char) {
        let alike = match c {
            '⟲' => '↺',
            '⟳' => '↻',
            _ => c,
        };
        [(self, c), (self, alike), (Self::Sans, c)].into_iter().find(|(face, c)| face.has(*c)).unwrap_or((self, c))
    }
}

/// How wide a line of text is in the proportional face.
pub fn width(text: &str, size: f64) -> f64 {
    line_width(Face::Sans, text, size)
}

fn line_width(face: Face, text: &str, size: f64) -> f64 {
    text.chars().map(|c| advance(face.drawn(c), size)).sum()
}

fn advance((face, c): (Face, char), size: f64) -> f64 {
    let font = face.font().as_scaled(scale(face, size));
    f64::from(font.h_advance(font.glyph_id(c)))
}

/// Breaks a text into lines of at most `max_width`: after spaces, commas and colons, or anywhere when there is none.
pub fn wrap(text: &str, size: f64, max_width: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_inclusive([' ', ',', ':']) {
            if !line.is_empty() && width(&(line.clone() + word.trim_end()), size) > max_width {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
            }
            for c in word.chars() {
                if !line.is_empty() && c != ' ' && width(&format!("{line}{c}"), size) > max_width {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
        }
        let rest = line.trim_end();
        if !rest.is_empty() {
            lines.push(rest.to_owned());
        }
    }
    lines
}

/// Calls `pixel` with the place and coverage (0 to 1) of every pixel of a text drawn `zoom` times as large.
pub fn rasterize(text: &Text, zoom: f64, mut pixel: impl FnMut(i32, i32, f64)) {
    let size = text.size * zoom;
    let pitch = text.pitch.map(|pitch| pitch * zoom);
    let width =
        pitch.map_or_else(|| line_width(text.face, &text.text, size), |pitch| pitch * text.text.chars().count() as f64);
    let before = match text.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => -width / 2.0,
        Anchor::End => -width,
    };
    // drawn around the origin on whole pixels of the baseline, then moved, so that a turned text is the same text
    let (x, y) = ((text.at.0 * zoom).round() as i32, (text.at.1 * zoom).round() as i32);
    let baseline = (size * HALF_CAPITAL).round();
    let strokes = if text.bold { (size / 20.0).round().max(1.0) as i32 } else { 0 };
    let mut pen = before.round();
    for c in text.text.chars() {
        let (face, c) = text.face.drawn(c);
        let (font, px) = (face.font(), scale(face, size));
        let step = advance((face, c), size);
        let left = pitch.map_or(pen, |pitch| pen + (pitch - step) / 2.0);
        let glyph = font.glyph_id(c).with_scale_and_position(px, point(left as f32, baseline as f32));
        if let Some(outline) = font.outline_glyph(glyph) {
            let corner = outline.px_bounds().min;
            outline.draw(|column, row, coverage| {
                let (dx, dy) = (corner.x as i32 + column as i32, corner.y as i32 + row as i32);
                let coverage = f64::from(coverage).clamp(0.0, 1.0);
                let mut put = |dx: i32, coverage: f64| {
                    let (dx, dy) = if text.turned { (dy, -dx) } else { (dx, dy) };
                    pixel(x + dx, y + dy, coverage);
                };
                // a row of a leaning text moves by parts of a pixel
                let lean = if text.italic { (baseline - f64::from(dy)) * 0.2 } else { 0.0 };
                let (whole, part) = (lean.floor() as i32, lean - lean.floor());
                for stroke in 0..=strokes {
                    put(dx + whole + stroke, coverage * (1.0 - part));
                    if part > 0.0 {
                        put(dx + whole + stroke + 1, coverage * part);
                    }
                }
            });
        }
        pen += pitch.unwrap_or(step);
    }
}

fn embedded(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).expect("the embedded font is a font")
}

/// `ab_glyph` measures a font by its line height, everyone else by its em square.
fn scale(face: Face, size: f64) -> PxScale {
    let font = face.font();
    let em = font.units_per_em().expect("the embedded font has an em square");
    PxScale::from(size as f32 * font.height_unscaled() / em)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::INK;

    #[test]
    fn long_text_breaks_at_its_joints_and_keeps_every_character() {
        let text = "long_heads:chunk_len=64,attention_len=1024,begin_len=1024,variant=released";
        let lines = wrap(text, 14.0, 200.0);
        assert!(lines.len() > 1 && lines.iter().all(|line| width(line, 14.0) <= 200.0), "{lines:?}");
        assert_eq!(lines.concat(), text);
        assert_eq!(wrap("wwwwwwwwwwww", 14.0, 40.0).concat(), "wwwwwwwwwwww");
        assert_eq!(wrap("", 14.0, 40.0), [""; 0]);
    }

    #[test]
    fn a_line_is_centered_on_its_point() {
        let text = Text::new("H", (50.0, 50.0), Anchor::Middle, 20.0, INK);
        let (mut x, mut y) = ((i32::MAX, i32::MIN), (i32::MAX, i32::MIN));
        rasterize(&text, 1.0, |px, py, coverage| {
            if coverage > 0.5 {
                x = (x.0.min(px), x.1.max(px));
                y = (y.0.min(py), y.1.max(py));
            }
        });
        assert!((x.0 + x.1 - 100).abs() <= 2 && (y.0 + y.1 - 100).abs() <= 2, "{x:?} {y:?}");
    }

    #[test]
    fn the_monospaced_face_is_as_wide_as_it_says_and_draws_what_terminals_show() {
        for c in "iW│→✓✗●○▶◀▲▼★⟲…·⇧⏎α≤×".chars() {
            assert!((line_width(Face::Mono, &c.to_string(), 100.0) - 60.2).abs() < 0.1 || c == '│', "{c}");
            let (face, drawn) = Face::Mono.drawn(c);
            assert!(face.has(drawn) || c == '│', "{c}");
        }
    }

    #[test]
    fn bold_text_covers_more_and_leaning_text_moves_its_top() {
        let plain =
            Text { face: Face::Mono, pitch: Some(9.0), ..Text::new("l", (0.0, 20.0), Anchor::Start, 15.0, INK) };
        let ink = |text: &Text| {
            let (mut all, mut top) = (0.0, (0.0, 0.0));
            rasterize(text, 1.0, |x, y, coverage| {
                all += coverage;
                if y < 18 {
                    top = (top.0 + f64::from(x) * coverage, top.1 + coverage);
                }
            });
            (all, top.0 / top.1)
        };
        let (bold, italic) = (Text { bold: true, ..plain.clone() }, Text { italic: true, ..plain.clone() });
        assert!(ink(&bold).0 > ink(&plain).0 * 1.5);
        assert!(ink(&italic).1 > ink(&plain).1 + 1.0);
    }
}
