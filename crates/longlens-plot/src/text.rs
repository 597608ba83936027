//! Text: how wide it is, where it breaks, which pixels it covers.
//!
//! Plotters' own text drawing with `ab_glyph` leaves out each glyph's left bearing and sets lines a fifth of their height too
//! high (0.3.7, `style/font/ab_glyph.rs`), so pixels are drawn here from the same font.

use std::borrow::Cow;
use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, FontVec, OutlinedGlyph, PxScale, ScaleFont, point};
use unicode_width::UnicodeWidthChar;

use crate::color::INK;
use crate::fallback;
use crate::scene::{Anchor, Face, Point, Text};
use crate::script;

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

    /// What stands for `c` in pixels.
    fn glyph(self, c: char) -> Glyph {
        let alike = match c {
            '⟲' => '↺',
            '⟳' => '↻',
            _ => c,
        };
        if let Some((face, c)) = [(self, c), (self, alike), (Self::Sans, c)].into_iter().find(|(face, c)| face.has(*c))
        {
            return Glyph::Embedded(face, c);
        }
        if c.is_whitespace() {
            return Glyph::Blank(c);
        }
        match fallback::font_with(c) {
            Some(font) => Glyph::Installed(font, c),
            None if c.width() == Some(0) => Glyph::Blank(c),
            None => Glyph::Missing(c),
        }
    }
}

/// What is drawn for a character.
#[derive(Clone, Copy)]
enum Glyph {
    Embedded(Face, char),
    /// By a font of this machine.
    Installed(&'static FontVec, char),
    /// Nothing: a blank or a mark that no font knows.
    Blank(char),
    /// A box with the number of the character: no font of this machine draws it.
    Missing(char),
}

impl Glyph {
    fn advance(self, size: f64) -> f64 {
        match self {
            Self::Embedded(face, c) => advance(face.font(), c, size),
            Self::Installed(font, c) => advance(font, c, size),
            Self::Blank(c) => c.width().unwrap_or(0) as f64 * MONO_ADVANCE * size,
            Self::Missing(_) => size,
        }
    }

    fn outline(self, size: f64, at: Point) -> Option<OutlinedGlyph> {
        match self {
            Self::Embedded(face, c) => outline(face.font(), c, size, at),
            Self::Installed(font, c) => outline(font, c, size, at),
            Self::Blank(_) | Self::Missing(_) => None,
        }
    }
}

fn advance(font: &impl Font, c: char, size: f64) -> f64 {
    f64::from(font.as_scaled(scale(font, size)).h_advance(font.glyph_id(c)))
}

fn outline(font: &impl Font, c: char, size: f64, (x, y): Point) -> Option<OutlinedGlyph> {
    let glyph = font.glyph_id(c).with_scale_and_position(scale(font, size), point(x as f32, y as f32));
    font.outline_glyph(glyph)
}

/// Cells of a terminal that a character fills: one, two where it is wide, none where it joins the one before.
pub fn cells(c: char) -> usize {
    c.width().unwrap_or(1)
}

/// Cells that a line fills.
pub fn line_cells(text: &str) -> usize {
    text.chars().map(cells).sum()
}

/// How wide a line of text is in the proportional face.
pub fn width(text: &str, size: f64) -> f64 {
    line_width(Face::Sans, text, size)
}

fn line_width(face: Face, text: &str, size: f64) -> f64 {
    script::visual(text).chars().map(|c| face.glyph(c).advance(size)).sum()
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
        pitch.map_or_else(|| line_width(text.face, &text.text, size), |pitch| pitch * line_cells(&text.text) as f64);
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
    // in cells of a terminal every letter has a place of its own
    let drawn = if pitch.is_some() { Cow::Borrowed(text.text.as_str()) } else { script::visual(&text.text) };
    for c in drawn.chars() {
        let glyph = text.face.glyph(c);
        let own = glyph.advance(size);
        let step = pitch.map_or(own, |pitch| pitch * cells(c) as f64);
        if let Glyph::Missing(c) = glyph {
            boxed(c, (pen, baseline), (step, size), |dx, dy, coverage| {
                let (dx, dy) = if text.turned { (dy, -dx) } else { (dx, dy) };
                pixel(x + dx, y + dy, coverage);
            });
        }
        if let Some(outline) = glyph.outline(size, (pen + (step - own) / 2.0, baseline)) {
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
        pen += step;
    }
}

/// Draws a box that holds a character's number in hexadecimal, in two rows; `at` is its left end on the baseline.
fn boxed(c: char, (left, baseline): Point, (step, size): (f64, f64), mut pixel: impl FnMut(i32, i32, f64)) {
    let (x0, x1) = ((left + 0.06 * step).round() as i32, (left + 0.94 * step).round() as i32);
    let (y0, y1) = ((baseline - 0.82 * size).round() as i32, (baseline + 0.18 * size).round() as i32);
    for x in x0..=x1 {
        pixel(x, y0, 0.6);
        pixel(x, y1, 0.6);
    }
    for y in y0 + 1..y1 {
        pixel(x0, y, 0.6);
        pixel(x1, y, 0.6);
    }
    let digits = format!("{:04X}", u32::from(c));
    let rows = [&digits[..digits.len() / 2], &digits[digits.len() / 2..]];
    let n_columns = rows[1].len() as f64;
    let digit_size = (0.46 * size).min((f64::from(x1 - x0) - 2.0) / n_columns / MONO_ADVANCE);
    let middle = f64::from(x0 + x1) / 2.0;
    for (row, digits) in rows.into_iter().enumerate() {
        let share = 0.27 + 0.46 * row as f64;
        let at = (middle, f64::from(y0) + share * f64::from(y1 - y0));
        let text = Text::new(digits, at, Anchor::Middle, digit_size, INK);
        rasterize(&Text { face: Face::Mono, ..text }, 1.0, &mut pixel as &mut dyn FnMut(i32, i32, f64));
    }
}

fn embedded(bytes: &'static [u8]) -> FontRef<'static> {
    FontRef::try_from_slice(bytes).expect("the embedded font is a font")
}

/// `ab_glyph` measures a font by its line height, everyone else by its em square.
fn scale(font: &impl Font, size: f64) -> PxScale {
    let height = font.height_unscaled();
    PxScale::from(size as f32 * height / font.units_per_em().unwrap_or(height))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(matches!(Face::Mono.glyph(c), Glyph::Embedded(..)) || c == '│', "{c}");
        }
    }

    /// Where a text puts ink: left, right, top and bottom.
    fn bounds(text: &Text) -> Option<[i32; 4]> {
        let mut bounds: Option<[i32; 4]> = None;
        rasterize(text, 1.0, |x, y, coverage| {
            if coverage > 0.3 {
                let [x0, x1, y0, y1] = bounds.unwrap_or([x, x, y, y]);
                bounds = Some([x0.min(x), x1.max(x), y0.min(y), y1.max(y)]);
            }
        });
        bounds
    }

    #[test]
    fn what_no_font_draws_is_a_box_with_its_number() {
        let at = |text: &str| Text::new(text, (0.0, 20.0), Anchor::Start, 30.0, INK);
        let [x0, x1, y0, y1] = bounds(&at("\u{10fffd}")).unwrap();
        assert!(x1 - x0 > 20 && y1 - y0 > 20, "{x0} {x1} {y0} {y1}");
        let ink = |text: &str| {
            let mut ink = Vec::new();
            rasterize(&at(text), 1.0, |x, y, coverage| ink.push((x, y, (coverage * 255.0) as u8)));
            ink
        };
        assert_ne!(ink("\u{10fffd}"), ink("\u{10fffc}"), "two characters, two numbers");
        // a blank, wide or not, and a mark that no font knows leave no ink
        assert_eq!(bounds(&at("\u{3000}\u{2003}\u{e0101}")), None);
        assert_eq!([cells('长'), cells('a'), cells('\u{301}')], [2, 1, 0]);
    }

    #[test]
    fn a_wide_character_takes_two_cells_of_a_line() {
        let line = |text: &str| {
            let text = Text::new(text, (0.0, 20.0), Anchor::Start, 15.0, INK);
            bounds(&Text { face: Face::Mono, pitch: Some(9.0), ..text }).unwrap()
        };
        let (wide, narrow) = (line("长长H"), line("aaaaH"));
        assert_eq!(wide[1], narrow[1], "both end with the same letter in the fifth cell");
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
