//! Characters that meet their neighbors: box drawing, block elements, shades and braille.

use std::f64::consts::FRAC_PI_2;

use crate::color::{Rgb, mix};
use crate::scene::{Point, Rect, Shape};

/// Whether a character is drawn here and not by the font.
pub fn is_joined(c: char) -> bool {
    matches!(c, '\u{2500}'..='\u{259F}' | '\u{2800}'..='\u{28FF}')
}

/// The shapes of a character in its cell.
pub fn shapes(c: char, cell: Rect, ink: Rgb, ground: Rgb) -> Vec<Shape> {
    let code = c as u32;
    match code {
        0x2500..=0x257F => Pen::new(cell, ink).draw(code),
        0x2591..=0x2593 => vec![Shape::Rect { area: cell, fill: mix(ground, ink, f64::from(code - 0x2590) / 4.0) }],
        0x2580..=0x259F => block(code, cell).into_iter().map(|area| Shape::Rect { area, fill: ink }).collect(),
        0x2800..=0x28FF => braille(code - 0x2800, cell, ink),
        _ => Vec::new(),
    }
}

/// The filled parts of a block element.
fn block(code: u32, cell: Rect) -> Vec<Rect> {
    let (x, y) = (|share: f64| cell.x0 + cell.width() * share, |share: f64| cell.y0 + cell.height() * share);
    let eighths = |n: u32| f64::from(n) / 8.0;
    match code {
        0x2580 => vec![Rect { y1: y(0.5), ..cell }],
        0x2581..=0x2588 => vec![Rect { y0: y(1.0 - eighths(code - 0x2580)), ..cell }],
        0x2589..=0x258F => vec![Rect { x1: x(eighths(0x2590 - code)), ..cell }],
        0x2590 => vec![Rect { x0: x(0.5), ..cell }],
        0x2594 => vec![Rect { y1: y(0.125), ..cell }],
        0x2595 => vec![Rect { x0: x(0.875), ..cell }],
        _ => {
            // upper left, upper right, lower left, lower right
            const QUADRANTS: [u8; 10] =
                [0b0010, 0b0001, 0b1000, 0b1011, 0b1001, 0b1110, 0b1101, 0b0100, 0b0110, 0b0111];
            let filled = QUADRANTS[(code - 0x2596) as usize];
            let halves = [(0.0, 0.5), (0.5, 1.0)];
            let quadrant = |at: usize| {
                let ((left, right), (top, bottom)) = (halves[at % 2], halves[at / 2]);
                Rect { x0: x(left), x1: x(right), y0: y(top), y1: y(bottom) }
            };
            (0..4).filter(|at| filled >> (3 - at) & 1 == 1).map(quadrant).collect()
        }
    }
}

/// Up to eight dots, as far from each other as from those of the next cell.
fn braille(bits: u32, cell: Rect, ink: Rgb) -> Vec<Shape> {
    const DOTS: [(u32, u32); 8] = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3)];
    let half = cell.width() * 0.155;
    let dot = |(column, row): (u32, u32)| {
        let x = cell.x0 + cell.width() * (f64::from(column) + 0.5) / 2.0;
        let y = cell.y0 + cell.height() * (f64::from(row) + 0.5) / 4.0;
        Shape::Rect { area: Rect { x0: x - half, x1: x + half, y0: y - half, y1: y + half }, fill: ink }
    };
    DOTS.into_iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1).map(|(_, place)| dot(place)).collect()
}

/// The arms of every line from U+2500: up, right, down, left; 0 none, 1 light, 2 heavy, 3 double. As Unicode names them; dots
/// stand for dashed, round and diagonal ones.
const ARMS: [&str; 8] = [
    "0101 0202 1010 2020 .... .... .... .... .... .... .... .... 0110 0210 0120 0220",
    "0011 0012 0021 0022 1100 1200 2100 2200 1001 1002 2001 2002 1110 1210 2110 1120",
    "2120 2210 1220 2220 1011 1012 2011 1021 2021 2012 1022 2022 0111 0112 0211 0212",
    "0121 0122 0221 0222 1101 1102 1201 1202 2101 2102 2201 2202 1111 1112 1211 1212",
    "2111 1121 2121 2112 2211 1122 1221 2212 1222 2122 2221 2222 .... .... .... ....",
    "0303 3030 0310 0130 0330 0013 0031 0033 1300 3100 3300 1003 3001 3003 1310 3130",
    "3330 1013 3031 3033 0313 0131 0333 1303 3101 3303 1313 3131 3333 .... .... ....",
    ".... .... .... .... 0001 1000 0100 0010 0002 2000 0200 0020 0201 1020 0102 2010",
];
const DOUBLE: u8 = 3;
/// Unit vectors of up, right, down, left.
const DIRECTIONS: [Point; 4] = [(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)];

/// Draws lines of one cell.
struct Pen {
    cell: Rect,
    ink: Rgb,
    /// Where lines cross: on a pixel's middle, so that both have whole pixels.
    center: Point,
    /// Width of a light line.
    light: f64,
    shapes: Vec<Shape>,
}

impl Pen {
    fn new(cell: Rect, ink: Rgb) -> Self {
        let unit = cell.width() / 9.0;
        let center = (cell.x0 + 4.5 * unit, cell.y0 + cell.height() / 2.0 - 0.5 * unit);
        Self { cell, ink, center, light: 1.08 * unit, shapes: Vec::new() }
    }

    fn draw(mut self, code: u32) -> Vec<Shape> {
        match code {
            0x2504..=0x250B => self.dashes(code & 1 == 1, code >> 1 & 1 == 1, if code < 0x2508 { 3 } else { 4 }),
            0x254C..=0x254F => self.dashes(code & 1 == 1, code >> 1 & 1 == 1, 2),
            0x256D..=0x2570 => self.arc(code - 0x256D),
            0x2571..=0x2573 => self.diagonals(code - 0x2570),
            _ => {
                let at = (code - 0x2500) as usize;
                let arms = &ARMS[at / 16].as_bytes()[at % 16 * 5..][..4];
                let weights = [arms[0], arms[1], arms[2], arms[3]].map(|digit| digit - b'0');
                // left and right first: a line across many cells stays one rectangle
                [3, 1, 0, 2].into_iter().filter(|side| weights[*side] > 0).for_each(|side| self.arm(side, weights));
            }
        }
        self.shapes
    }

    fn thickness(&self, weight: u8) -> f64 {
        if weight == 2 { self.light * 2.5 } else { self.light }
    }

    /// A line from near the center to the edge; two when it is double, which turn where they meet other double lines.
    fn arm(&mut self, side: usize, weights: [u8; 4]) {
        let [left, opposite, right] = [3, 2, 1].map(|turn| weights[(side + turn) % 4]);
        let thickness = self.thickness(weights[side]);
        let gap = self.cell.width() / 9.0;
        if weights[side] != DOUBLE {
            let start = match (left == DOUBLE, right == DOUBLE) {
                (true, true) if opposite == 0 => gap,
                (true, false) | (false, true) if opposite == 0 => -gap,
                _ => 0.0,
            };
            // a corner is filled by the wider line
            let fill = [left, right, weights[side]].map(|weight| if weight > 0 { self.thickness(weight) } else { 0.0 });
            let fill = fill.into_iter().fold(0.0, f64::max) / 2.0;
            self.bar(side, start - fill, 0.0, thickness);
            return;
        }
        for (near, far, across) in [(left, right, -gap), (right, left, gap)] {
            let start = match (near == DOUBLE, far == DOUBLE) {
                (true, _) => gap,
                (false, true) if opposite == 0 => -gap,
                _ => 0.0,
            };
            self.bar(side, start - thickness / 2.0, across, thickness);
        }
    }

    /// A bar from `start` (along the arm, from the center) to the edge, `across` beside its middle.
    fn bar(&mut self, side: usize, start: f64, across: f64, thickness: f64) {
        let (dx, dy) = DIRECTIONS[side];
        let (cx, cy) = self.center;
        let edge = match side {
            0 => cy - self.cell.y0,
            1 => self.cell.x1 - cx,
            2 => self.cell.y1 - cy,
            _ => cx - self.cell.x0,
        };
        if edge - start < 1e-6 {
            return;
        }
        // right of the direction of travel
        let (middle_x, middle_y) = (cx - dy * across, cy + dx * across);
        let half = thickness / 2.0;
        let corner =
            |along: f64, beside: f64| (middle_x + dx * along - dy * beside, middle_y + dy * along + dx * beside);
        let (a, b) = (corner(start, -half), corner(edge, half));
        let area = Rect { x0: a.0.min(b.0), y0: a.1.min(b.1), x1: a.0.max(b.0), y1: a.1.max(b.1) };
        self.shapes.push(Shape::Rect { area, fill: self.ink });
    }

    fn dashes(&mut self, heavy: bool, vertical: bool, n_dashes: u32) {
        let half = self.thickness(if heavy { 2 } else { 1 }) / 2.0;
        let Rect { x0, y0, .. } = self.cell;
        let length = if vertical { self.cell.height() } else { self.cell.width() };
        for dash in 0..n_dashes {
            let [start, end] = [0.2, 0.8].map(|share| (f64::from(dash) + share) * length / f64::from(n_dashes));
            let area = if vertical {
                Rect { x0: self.center.0 - half, x1: self.center.0 + half, y0: y0 + start, y1: y0 + end }
            } else {
                Rect { x0: x0 + start, x1: x0 + end, y0: self.center.1 - half, y1: self.center.1 + half }
            };
            self.shapes.push(Shape::Rect { area, fill: self.ink });
        }
    }

    /// A quarter circle between two arms: ╭ ╮ ╯ ╰.
    fn arc(&mut self, corner: u32) {
        let [horizontal, vertical] = [[1, 2], [3, 2], [3, 0], [1, 0]][corner as usize];
        let (dx, dy) = (DIRECTIONS[horizontal].0, DIRECTIONS[vertical].1);
        let (cx, cy) = self.center;
        let r = self.cell.width() / 2.0;
        let middle = (cx + dx * r, cy + dy * r);
        let point = |step: i32| {
            let angle = f64::from(step) / 8.0 * FRAC_PI_2;
            (middle.0 - dx * r * angle.cos(), middle.1 - dy * r * angle.sin())
        };
        let points = (0..=8).map(point).collect();
        self.shapes.push(Shape::Line { points, width: self.light, color: self.ink });
        self.bar(vertical, r, 0.0, self.light);
        self.bar(horizontal, r, 0.0, self.light);
    }

    fn diagonals(&mut self, which: u32) {
        let Rect { x0, y0, x1, y1 } = self.cell;
        for (bit, ends) in [(1, [(x0, y1), (x1, y0)]), (2, [(x0, y0), (x1, y1)])] {
            if which & bit != 0 {
                self.shapes.push(Shape::Line { points: ends.to_vec(), width: self.light, color: self.ink });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Rect = Rect { x0: 0.0, y0: 0.0, x1: 9.0, y1: 18.0 };

    /// Which pixels of a cell a character covers, as rectangles are rounded.
    fn covers(c: char, x: u32, y: u32) -> bool {
        shapes(c, CELL, crate::color::INK, crate::color::WHITE).iter().any(|shape| match shape {
            Shape::Rect { area, .. } => {
                let within = |from: f64, to: f64, at: u32| (from.round()..to.round()).contains(&f64::from(at));
                within(area.x0, area.x1, x) && within(area.y0, area.y1, y)
            }
            _ => false,
        })
    }

    /// Which edges a character reaches: up, right, down, left.
    fn reaches(c: char) -> [bool; 4] {
        let row = |y| (0..9).any(|x| covers(c, x, y));
        let column = |x| (0..18).any(|y| covers(c, x, y));
        [row(0), column(8), row(17), column(0)]
    }

    #[test]
    fn arms_reach_the_edges_their_names_say() {
        let (up, right, down, left) = ([true, false, false, false], 1, 2, 3);
        assert_eq!(reaches('╵'), up);
        for (c, sides) in
            [('┌', [right, down]), ('┛', [0, left]), ('╗', [left, down]), ('═', [left, right]), ('┖', [0, right])]
        {
            let expected = [0, 1, 2, 3].map(|side| sides.contains(&side));
            assert_eq!(reaches(c), expected, "{c}");
        }
        for c in ['┼', '╬', '╋', '╪', '╫', '╂'] {
            assert_eq!(reaches(c), [true; 4], "{c}");
        }
    }

    #[test]
    fn double_corners_turn_without_crossing() {
        // ╔: the outer line turns at its own corner, the inner one inside it
        assert!(covers('╔', 3, 7) && covers('╔', 5, 9) && !covers('╔', 4, 8) && !covers('╔', 2, 7));
        // ╬ leaves its middle free
        assert!(!covers('╬', 4, 8) && covers('╬', 3, 7) && covers('╬', 5, 9));
    }

    #[test]
    fn blocks_and_dots_stand_where_unicode_says() {
        assert!(covers('▁', 0, 17) && !covers('▁', 0, 14));
        assert!(covers('▏', 0, 0) && !covers('▏', 2, 0));
        assert!(covers('▞', 8, 0) && covers('▞', 0, 17) && !covers('▞', 0, 0) && !covers('▞', 8, 17));
        assert!(covers('▙', 0, 0) && covers('▙', 0, 17) && covers('▙', 8, 17) && !covers('▙', 8, 0));
        assert!(covers('⠁', 2, 2) && !covers('⠁', 6, 2) && covers('⢀', 6, 15) && !covers('⢀', 6, 11));
    }
}
