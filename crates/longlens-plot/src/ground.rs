//! The ground that figures are drawn on: a light page, or a dark one for dark terminals and notebooks.
//!
//! Figures are made for a light page. On a dark one what is page, ink, axis, rule, line or mark has another color, found in one table;
//! palettes stay as they are, since they mean amounts, and so do the numbers that stand on their cells.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::canvas::{Figure, PlotError};
use crate::color::{self, ALARM, Rgb};
use crate::scene::{Scene, Shape};

/// What a figure is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Ground {
    /// Dark on a white page.
    #[default]
    Light,
    /// Light on a dark page.
    Dark,
}

/// The dark page.
const PAGE: Rgb = Rgb(24, 26, 30);
/// Methods' lines on a dark page, in their order: as light as their dark ones are dark.
const SERIES: [Rgb; 8] = [
    Rgb(0x4F, 0x9D, 0xFF),
    Rgb(0xFF, 0x7F, 0x2A),
    Rgb(0x14, 0xC9, 0x94),
    Rgb(0xE0, 0x8F, 0xBE),
    Rgb(0xF5, 0xB0, 0x1E),
    Rgb(0x8F, 0xD3, 0xFF),
    Rgb(0xF2, 0xF2, 0xF2),
    Rgb(0xE8, 0xDC, 0x3C),
];
/// The needle, and what leaves the trained range.
const DARK_ALARM: Rgb = Rgb(255, 86, 134);

impl Ground {
    /// All of them, in the order of help.
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    /// The name in flags and cells.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The ground of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ground| ground.name() == name)
    }

    /// The figure on this ground.
    #[must_use]
    pub fn under(self, figure: Arc<dyn Figure>) -> Arc<dyn Figure> {
        match self {
            Self::Light => figure,
            Self::Dark => Arc::new(OnDark(figure)),
        }
    }
}

/// A figure on a dark page.
#[derive(Debug)]
struct OnDark(Arc<dyn Figure>);

impl Figure for OnDark {
    fn size(&self) -> (u32, u32) {
        self.0.size()
    }

    fn scene(&self, size: (u32, u32)) -> Result<Scene, PlotError> {
        let mut scene = self.0.scene(size)?;
        scene.page = darkened(scene.page);
        scene.shapes.iter_mut().for_each(|shape| match shape {
            Shape::Rect { fill, .. } | Shape::Polygon { fill, .. } | Shape::Circle { fill, .. } => {
                *fill = darkened(*fill);
            }
            Shape::Line { color, .. } => *color = darkened(*color),
            Shape::Text(text) => text.color = darkened(text.color),
        });
        Ok(scene)
    }
}

/// A color of a light page on the dark one; those that are not in the table mean amounts.
fn darkened(color: Rgb) -> Rgb {
    static TABLE: LazyLock<HashMap<Rgb, Rgb>> = LazyLock::new(|| table().collect());
    TABLE.get(&color).copied().unwrap_or(color)
}

/// Every color of light pages that is no amount, with that of dark ones.
fn table() -> impl Iterator<Item = (Rgb, Rgb)> {
    let grays = [color::WHITE, color::PALE, color::RULE, color::GRAY, color::INK].into_iter().chain(color::FILLS);
    let grays = grays.map(|gray| {
        (gray, color::mix(Rgb(236, 237, 240), PAGE, f64::from(gray.0).mul_add(1.0 / 221.0, -34.0 / 221.0)))
    });
    let lines = (0..SERIES.len()).map(|idx| (color::distinct(idx), SERIES[idx])).chain([(ALARM, DARK_ALARM)]);
    // tints of lines go to the page, whichever it is
    let tints = lines
        .clone()
        .flat_map(|(light, dark)| color::TINTS.map(|share| (color::tint(light, share), color::mix(PAGE, dark, share))));
    let bars = color::BARS.into_iter().zip([Rgb(150, 166, 190), Rgb(88, 158, 232)]);
    grays.chain(lines).chain(tints).chain(bars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::Palette;

    fn luma(Rgb(r, g, b): Rgb) -> f64 {
        0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
    }

    #[test]
    fn the_page_is_dark_and_what_stands_on_it_is_light() {
        assert_eq!(darkened(color::WHITE), PAGE);
        let marks = (0..8).map(color::distinct).chain([color::INK, color::GRAY, ALARM]).chain(color::BARS);
        for mark in marks {
            assert!(luma(darkened(mark)) > luma(PAGE) + 90.0, "{mark:?} becomes {:?}", darkened(mark));
        }
        for ground in [color::PALE, color::RULE, color::tint(color::distinct(0), color::TINTS[0])] {
            assert!(luma(darkened(ground)) < 90.0, "{ground:?} becomes {:?}", darkened(ground));
        }
        assert_eq!(Ground::ALL.map(|ground| Ground::parse(ground.name())), Ground::ALL.map(Some));
        assert_eq!(Ground::parse("grey"), None);
    }

    #[test]
    fn amounts_and_the_numbers_on_them_stay_as_they_are() {
        for at in 0..=4096 {
            let amount = f64::from(at) / 4096.0;
            let colors = Palette::ALL.map(|palette| palette.at(amount));
            for color in colors.into_iter().chain([color::diverging(2.0 * amount - 1.0)]) {
                assert_eq!(darkened(color), color);
                assert_eq!(darkened(color::ink_on(color)), color::ink_on(color));
            }
        }
    }
}
