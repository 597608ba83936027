//! A figure as cells of a terminal: each is two pixels, and texts are real letters in the cells where they stand.

use unicode_width::UnicodeWidthChar;

use super::{Screen, ScreenCell};
use crate::canvas::{Canvas, Figure, MIN_SIZE, Pixels, PlotError};
use crate::color::{Rgb, mix};
use crate::scene::{Anchor, Scene, Shape, Text};
use crate::terminal::cut;

/// Logical pixels of a cell where the page is not too small for that; cells are twice as high.
const CELL: f64 = 8.0;
/// Lines of data are drawn this wide, or they would vanish between pixels.
const STROKE: f64 = 5.0;

impl Screen {
    /// Columns and rows of a figure in its own proportions, at most so many of each. One that is higher than wide has many rows of data:
    /// it keeps all columns, in which they are told apart, and is as high as may be.
    pub fn fitting(figure: &dyn Figure, columns: usize, rows: usize) -> (usize, usize) {
        let (own_width, own_height) = figure.size();
        let ratio = f64::from(own_height) / f64::from(own_width);
        let most = (rows as f64 * 2.0 / ratio).floor().max(1.0) as usize;
        let columns = if ratio > 1.0 { columns } else { columns.min(most) };
        (columns, ((columns as f64 * ratio / 2.0).round() as usize).clamp(1, rows))
    }

    /// A figure on a page of `columns` by `rows` cells, at least one of each: half blocks (`▀`, the ink above, the ground
    /// below), and letters where its texts stand.
    pub fn of_figure(figure: &dyn Figure, columns: usize, rows: usize) -> Result<Self, PlotError> {
        // a page that is large enough for the figure
        let (min_width, min_height) = (f64::from(MIN_SIZE.0), f64::from(MIN_SIZE.1));
        let cell = CELL.max(min_width / columns as f64).max(min_height / (2.0 * rows as f64)).ceil();
        let size = ((columns as f64 * cell) as u32, (rows as f64 * 2.0 * cell) as u32);
        let mut scene = figure.scene(size)?;
        let texts = take_texts(&mut scene);
        let page = scene.page;
        let pixels = Canvas { size: Some(size), scale: 1.0 }.to_rgb(&Drawn(scene))?;
        let mut grid = Grid::of(&pixels, columns, rows, cell as u32);
        for text in &texts {
            grid.write(text, cell);
        }
        Ok(grid.screen(page))
    }
}

/// Takes the texts out of a scene, and makes thin lines of data wide enough to be seen.
fn take_texts(scene: &mut Scene) -> Vec<Text> {
    let mut texts = Vec::new();
    scene.shapes.retain_mut(|shape| match shape {
        Shape::Text(text) => {
            texts.push(text.clone());
            false
        }
        Shape::Line { width, .. } if *width > 1.2 => {
            *width = width.max(STROKE);
            true
        }
        _ => true,
    });
    texts
}

/// A scene that is there already.
#[derive(Debug)]
struct Drawn(Scene);

impl Figure for Drawn {
    fn size(&self) -> (u32, u32) {
        self.0.size
    }

    fn scene(&self, _: (u32, u32)) -> Result<Scene, PlotError> {
        Ok(self.0.clone())
    }
}

/// Cells of a figure.
struct Grid {
    columns: usize,
    /// Upper and lower color, row-major `[rows, columns]`.
    halves: Vec<[Rgb; 2]>,
    /// A letter and its color; `None` inside where a wide letter goes on.
    letters: Vec<Option<(Option<char>, Rgb)>>,
}

impl Grid {
    /// Each half is the mean of `side` by `side` pixels.
    fn of(pixels: &Pixels, columns: usize, rows: usize, side: u32) -> Self {
        let mean = |column: usize, half: usize| {
            let (x, y) = (column as u32 * side, half as u32 * side);
            let mut sum = [0u32; 3];
            for (dx, dy) in (0..side * side).map(|at| (at % side, at / side)) {
                let Rgb(r, g, b) = pixels.at(x + dx, y + dy);
                sum = [sum[0] + u32::from(r), sum[1] + u32::from(g), sum[2] + u32::from(b)];
            }
            let [r, g, b] = sum.map(|part| (part / (side * side)) as u8);
            Rgb(r, g, b)
        };
        let cells = (0..columns * rows).map(|at| (at % columns, at / columns));
        let halves = cells.map(|(column, row)| [mean(column, 2 * row), mean(column, 2 * row + 1)]).collect();
        Self { columns, halves, letters: vec![None; columns * rows] }
    }

    fn rows(&self) -> usize {
        self.halves.len() / self.columns
    }

    /// Writes a text unless another stands there already.
    fn write(&mut self, text: &Text, cell: f64) {
        let (column, row) = (text.at.0 / cell, (text.at.1 / (2.0 * cell)) as usize);
        let length = if text.turned { self.rows() } else { self.columns };
        let words = cut(text.text.trim(), length);
        let letters: Vec<Option<char>> = words
            .chars()
            .filter(|letter| letter.width().is_some_and(|width| width > 0))
            .flat_map(|letter| std::iter::once(Some(letter)).chain((1..letter.width().unwrap_or(1)).map(|_| None)))
            .collect();
        let span = letters.len();
        let places: Vec<usize> = if text.turned {
            // letters of a text that runs upwards stand below each other
            let first = row.saturating_sub(span / 2).min(self.rows().saturating_sub(span));
            (first..first + span).map(|row| row * self.columns + (column as usize).min(self.columns - 1)).collect()
        } else {
            let back = match text.anchor {
                Anchor::Start => 0.0,
                Anchor::Middle => span as f64 / 2.0,
                Anchor::End => span as f64,
            };
            let first = ((column - back).round().max(0.0) as usize).min(self.columns - span);
            let row = row.min(self.rows() - 1) * self.columns;
            (row + first..row + first + span).collect()
        };
        // texts of one row keep a cell between them
        let is_free = |at: usize| self.letters[at].is_none();
        let edges = if text.turned { Vec::new() } else { self.beside(&places) };
        if places.iter().copied().chain(edges).all(is_free) {
            for (place, letter) in places.into_iter().zip(letters) {
                self.letters[place] = Some((letter, text.color));
            }
        }
    }

    /// The cells left and right of some that stand in one row.
    fn beside(&self, places: &[usize]) -> Vec<usize> {
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return Vec::new() };
        let left = (first % self.columns > 0).then(|| first - 1);
        let right = ((last + 1) % self.columns > 0).then_some(last + 1);
        left.into_iter().chain(right).collect()
    }

    fn screen(&self, page: Rgb) -> Screen {
        let cell = |(halves, letter): (&[Rgb; 2], &Option<(Option<char>, Rgb)>)| {
            let [upper, lower] = *halves;
            let (symbol, ink, ground) = match letter {
                None => ("▀".to_owned(), upper, lower),
                Some((letter, ink)) => (letter.iter().collect(), *ink, mix(upper, lower, 0.5)),
            };
            ScreenCell { symbol, ink, ground, bold: false, italic: false, underlined: false, dim: false }
        };
        let cells = self.halves.iter().zip(&self.letters).map(cell).collect();
        Screen { columns: self.columns, rows: self.rows(), cells, background: page, title: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Rect;

    const BLUE: Rgb = Rgb(0, 0, 255);

    /// A blue upper half with a title, a curve in the lower half.
    #[derive(Debug)]
    struct Half;

    /// Of the shape of a grid of 30 layers.
    #[derive(Debug)]
    struct High;

    impl Figure for High {
        fn size(&self) -> (u32, u32) {
            (1000, 2050)
        }

        fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
            Half.scene(size)
        }
    }

    impl Figure for Half {
        fn size(&self) -> (u32, u32) {
            (400, 400)
        }

        fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
            let (width, height) = (f64::from(size.0), f64::from(size.1));
            let mut scene = Scene::new(size);
            scene.shapes.push(Shape::Rect { area: Rect { x0: 0.0, y0: 0.0, x1: width, y1: height / 2.0 }, fill: BLUE });
            let points = vec![(0.0, 0.8 * height), (width, 0.8 * height)];
            scene.shapes.push(Shape::Line { points, width: 2.0, color: Rgb(255, 0, 0) });
            let text = |text: &str, x: f64, y: f64, anchor| Text::new(text, (x, y), anchor, 12.0, Rgb(0, 0, 0));
            let texts = [
                text("title 漢", 0.0, 4.0, Anchor::Start),
                text("over it", 10.0, 4.0, Anchor::Start),
                text("end", width, 0.95 * height, Anchor::End),
                Text { turned: true, ..text("up", 0.5 * width, 0.6 * height, Anchor::Middle) },
            ];
            scene.shapes.extend(texts.map(Shape::Text));
            Ok(scene)
        }
    }

    #[test]
    fn texts_are_letters_and_the_rest_half_blocks() {
        let screen = Screen::of_figure(&Half, 40, 20).unwrap();
        assert_eq!(Screen::fitting(&Half, 40, 30), (40, 20));
        assert_eq!((Screen::fitting(&Half, 100, 30), Screen::fitting(&High, 100, 60)), ((60, 30), (100, 60)));
        assert_eq!(Screen::fitting(&High, 20, 60), (20, 21));
        let lines: Vec<String> =
            screen.cells.chunks(40).map(|row| row.iter().map(|cell| cell.symbol.as_str()).collect()).collect();
        assert!(lines[0].starts_with("title 漢") && !lines.concat().contains("over"), "{lines:?}");
        assert!(lines[19].ends_with("end") && lines[11..13].iter().all(|line| line.contains(['u', 'p'])), "{lines:?}");
        assert_eq!((&lines[1], screen.cells[40].ink, screen.cells[40].ground), (&"▀".repeat(40), BLUE, BLUE));
        let curve = &screen.cells[16 * 40 + 20];
        assert!(curve.ink != curve.ground, "the curve is there: {curve:?}");
    }

    #[test]
    fn any_size_has_a_page() {
        for (columns, rows) in [(1, 1), (7, 30), (40, 5), (100, 30)] {
            let screen = Screen::of_figure(&Half, columns, rows).unwrap();
            assert_eq!((screen.columns, screen.rows, screen.cells.len()), (columns, rows, columns * rows));
        }
    }
}
