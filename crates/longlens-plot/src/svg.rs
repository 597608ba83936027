//! SVG: a scene as text. Plotters' own writer knows neither preserved spaces nor the length of a text, which a terminal needs.

use std::fmt::Write as _;

use longlens_core::printable::is_command;

use crate::color::Rgb;
use crate::scene::Face;
use crate::scene::{Anchor, Point, Rect, Scene, Shape, Text};
use crate::text;

/// The scene on a page of `size` pixels, `scale` pixels per logical pixel.
pub fn write(scene: &Scene, size: (u32, u32), scale: f64) -> String {
    let (width, height) = size;
    let family = Face::Sans.family();
    // rectangles stand on whole pixels with hard edges: cells meet without a seam at every zoom
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"{family}\" xml:space=\"preserve\">\n\
         <style>rect{{shape-rendering:crispEdges}}.m{{font-family:{}}}</style>\n",
        Face::Mono.family()
    );
    let page = Rect { x0: 0.0, y0: 0.0, x1: f64::from(width) / scale, y1: f64::from(height) / scale };
    shape(&mut svg, &Shape::Rect { area: page, fill: scene.page }, scale);
    for each in &scene.shapes {
        shape(&mut svg, each, scale);
    }
    svg.push_str("</svg>\n");
    svg
}

fn shape(svg: &mut String, shape: &Shape, scale: f64) {
    let written = match shape {
        Shape::Rect { area, fill } => {
            let [x0, y0, x1, y1] = [area.x0, area.y0, area.x1, area.y1].map(|side| (side * scale).round());
            let (width, height) = ((x1 - x0).max(1.0), (y1 - y0).max(1.0));
            writeln!(svg, r#"<rect x="{x0}" y="{y0}" width="{width}" height="{height}" fill="{}"/>"#, hex(*fill))
        }
        Shape::Line { points, width, color } => {
            let (points, width) = (places(points, scale), number((width * scale).max(1.0)));
            let color = hex(*color);
            writeln!(
                svg,
                r#"<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{width}" stroke-linejoin="round"/>"#
            )
        }
        Shape::Polygon { points, fill } => {
            writeln!(svg, r#"<polygon points="{}" fill="{}"/>"#, places(points, scale), hex(*fill))
        }
        Shape::Circle { center, radius, fill } => {
            let [x, y, r] = [center.0, center.1, *radius].map(|value| number(value * scale));
            writeln!(svg, r#"<circle cx="{x}" cy="{y}" r="{r}" fill="{}"/>"#, hex(*fill))
        }
        Shape::Text(text) => {
            line(svg, text, scale);
            Ok(())
        }
    };
    written.expect("a string takes any text");
}

fn line(svg: &mut String, text: &Text, scale: f64) {
    let size = text.size * scale;
    let (x, y) = (text.at.0 * scale, text.at.1 * scale);
    let baseline = number(y + size * text::HALF_CAPITAL);
    let mut attributes = format!(r#"x="{}" y="{baseline}" font-size="{}""#, number(x), number(size));
    let mut add = |attribute: &str| {
        attributes.push(' ');
        attributes.push_str(attribute);
    };
    match text.anchor {
        Anchor::Start => {}
        Anchor::Middle => add(r#"text-anchor="middle""#),
        Anchor::End => add(r#"text-anchor="end""#),
    }
    if text.face == Face::Mono {
        add(r#"class="m""#);
    }
    if text.bold {
        add(r#"font-weight="bold""#);
    }
    if text.italic {
        add(r#"font-style="italic""#);
    }
    if let Some(pitch) = text.pitch {
        let length = pitch * scale * text::line_cells(&text.text) as f64;
        add(&format!(r#"textLength="{}""#, number(length)));
    }
    if text.turned {
        add(&format!(r#"transform="rotate(-90 {} {})""#, number(x), number(y)));
    }
    writeln!(svg, r#"<text {attributes} fill="{}">{}</text>"#, hex(text.color), escaped(&text.text))
        .expect("a string takes any text");
}

fn places(points: &[Point], scale: f64) -> String {
    let place = |point: &Point| format!("{},{}", number(point.0 * scale), number(point.1 * scale));
    points.iter().map(place).collect::<Vec<_>>().join(" ")
}

/// At most two decimals.
fn number(value: f64) -> f64 {
    // adding 0 makes a negative zero positive
    (value * 100.0).round() / 100.0 + 0.0
}

fn hex(color: Rgb) -> String {
    format!("#{:02x}{:02x}{:02x}", color.0, color.1, color.2)
}

/// Without what XML reads as markup or refuses.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            c if is_command(c) => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::WHITE;

    #[test]
    fn text_is_escaped_and_its_length_told() {
        let mut scene = Scene::new((320, 240));
        let text = Text::new("a <&>\u{7}", (10.0, 20.0), Anchor::Start, 10.0, WHITE);
        scene.shapes.push(Shape::Text(Text { face: Face::Mono, pitch: Some(9.0), bold: true, ..text }));
        let svg = write(&scene, (640, 480), 2.0);
        let expected = r##"<text x="20" y="47.2" font-size="20" class="m" font-weight="bold" textLength="108" fill="#ffffff">a &lt;&amp;&gt;�</text>"##;
        assert!(svg.contains(expected), "{svg}");
        assert!(svg.contains(r##"<rect x="0" y="0" width="640" height="480" fill="#ffffff"/>"##));
    }
}
