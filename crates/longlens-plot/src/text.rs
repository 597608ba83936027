//! Text: how wide it is, where it breaks, which pixels it covers.
//!
//! Plotters' own text drawing with `ab_glyph` leaves out each glyph's left bearing and sets lines a fifth of their height too
//! high (0.3.7, `style/font/ab_glyph.rs`), so pixels are drawn here from the same font.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

use crate::scene::{Anchor, Text};

/// Font families of SVG text, the embedded one first.
pub const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(include_bytes!("../fonts/DejaVuSans.ttf")).expect("the embedded font is a font")
});

/// Half the height of a capital, in parts of the em square.
const HALF_CAPITAL: f64 = 0.36;

/// How wide a line of text is.
pub fn width(text: &str, size: f64) -> f64 {
    let font = FONT.as_scaled(scale(size));
    text.chars().map(|c| f64::from(font.h_advance(font.glyph_id(c)))).sum()
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
    let px = scale(size);
    let font = FONT.as_scaled(px);
    let before = match text.anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => -width(&text.text, size) / 2.0,
        Anchor::End => -width(&text.text, size),
    };
    // drawn around the origin on whole pixels of the baseline, then moved, so that a turned text is the same text
    let (x, y) = ((text.at.0 * zoom).round() as i32, (text.at.1 * zoom).round() as i32);
    let baseline = (size * HALF_CAPITAL).round() as f32;
    let mut pen = before.round() as f32;
    for c in text.text.chars() {
        let id = font.glyph_id(c);
        if let Some(outline) = FONT.outline_glyph(id.with_scale_and_position(px, point(pen, baseline))) {
            let corner = outline.px_bounds().min;
            outline.draw(|column, row, coverage| {
                let (dx, dy) = (corner.x as i32 + column as i32, corner.y as i32 + row as i32);
                let (dx, dy) = if text.turned { (dy, -dx) } else { (dx, dy) };
                pixel(x + dx, y + dy, f64::from(coverage).clamp(0.0, 1.0));
            });
        }
        pen += font.h_advance(id);
    }
}

/// `ab_glyph` measures a font by its line height, everyone else by its em square.
fn scale(size: f64) -> PxScale {
    let em = FONT.units_per_em().expect("the embedded font has an em square");
    PxScale::from(size as f32 * FONT.height_unscaled() / em)
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
        let text = Text {
            text: "H".into(),
            at: (50.0, 50.0),
            anchor: Anchor::Middle,
            size: 20.0,
            color: crate::color::INK,
            turned: false,
        };
        let (mut x, mut y) = ((i32::MAX, i32::MIN), (i32::MAX, i32::MIN));
        rasterize(&text, 1.0, |px, py, coverage| {
            if coverage > 0.5 {
                x = (x.0.min(px), x.1.max(px));
                y = (y.0.min(py), y.1.max(py));
            }
        });
        assert!((x.0 + x.1 - 100).abs() <= 2 && (y.0 + y.1 - 100).abs() <= 2, "{x:?} {y:?}");
    }
}
