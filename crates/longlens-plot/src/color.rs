//! Colors: palettes for amounts, distinct colors for methods, and how a number becomes a place on a palette.
//!
//! Viridis, cividis, inferno and purple-orange come from the `colorous` crate; they read the same to color-blind eyes and in print.
//! The colors of methods are Okabe and Ito's, 2008, "Color Universal Design".

use crate::ticks;

/// Red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rgb(pub u8, pub u8, pub u8);

/// A color for every amount from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Palette {
    /// Dark violet to yellow.
    #[default]
    Viridis,
    /// Dark blue to yellow, made for color-blind eyes.
    Cividis,
    /// Black to light yellow.
    Inferno,
    /// The red, yellow and green of the published needle tests; not for color-blind eyes.
    RedYellowGreen,
}

/// How an amount becomes a place on a palette.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ColorScale {
    /// From 0 to the largest amount.
    #[default]
    Linear,
    /// By powers of ten; amounts below `floor` look like `floor`.
    Log {
        /// Smallest amount told apart.
        floor: f64,
    },
}

pub(crate) const WHITE: Rgb = Rgb(255, 255, 255);
pub(crate) const INK: Rgb = Rgb(34, 34, 34);
pub(crate) const GRAY: Rgb = Rgb(96, 96, 96);
pub(crate) const RULE: Rgb = Rgb(226, 226, 226);
pub(crate) const PALE: Rgb = Rgb(240, 240, 240);
/// Ink on cells, whose colors are the same on every page: so it is none of a page's.
const ON_LIGHT: Rgb = Rgb(33, 33, 36);
const ON_DARK: Rgb = Rgb(254, 254, 252);
/// Grays of cells that stand for no amount.
pub(crate) const FILLS: [Rgb; 3] = [Rgb(150, 150, 150), Rgb(176, 176, 176), Rgb(190, 190, 190)];
/// Grays and blues of bars beside cells.
pub(crate) const BARS: [Rgb; 2] = [Rgb(72, 84, 100), Rgb(52, 116, 180)];
/// How much of a line's color its tints have: bands, their edges, and lines of methods beyond the eighth.
pub(crate) const TINTS: [f64; 5] = [0.16, 0.25, 0.4, 0.45, 0.7];
/// Marks what leaves the trained range, and the needle; in no palette.
pub const ALARM: Rgb = Rgb(226, 24, 86);

const OKABE_ITO: [Rgb; 8] = [
    Rgb(0x00, 0x72, 0xB2),
    Rgb(0xD5, 0x5E, 0x00),
    Rgb(0x00, 0x9E, 0x73),
    Rgb(0xCC, 0x79, 0xA7),
    Rgb(0xE6, 0x9F, 0x00),
    Rgb(0x56, 0xB4, 0xE9),
    Rgb(0x00, 0x00, 0x00),
    Rgb(0xB8, 0xA8, 0x00), // their yellow, darkened to show on white
];

impl Palette {
    /// Every palette, in the order of help and menus.
    pub const ALL: [Self; 4] = [Self::Viridis, Self::Cividis, Self::Inferno, Self::RedYellowGreen];

    /// The name in configs and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viridis => "viridis",
            Self::Cividis => "cividis",
            Self::Inferno => "inferno",
            Self::RedYellowGreen => "red_yellow_green",
        }
    }

    /// The palette of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|palette| palette.name() == name)
    }

    /// The color of an amount; amounts outside 0 to 1 look like the nearer end.
    pub fn at(self, amount: f64) -> Rgb {
        let amount = if amount.is_nan() { 0.0 } else { amount.clamp(0.0, 1.0) };
        let gradient = match self {
            Self::Viridis => colorous::VIRIDIS,
            Self::Cividis => colorous::CIVIDIS,
            Self::Inferno => colorous::INFERNO,
            Self::RedYellowGreen if amount < 0.5 => {
                return mix(Rgb(0xF0, 0x49, 0x6E), Rgb(0xEB, 0xB8, 0x39), amount * 2.0);
            }
            Self::RedYellowGreen => return mix(Rgb(0xEB, 0xB8, 0x39), Rgb(0x0C, 0xD7, 0x9F), amount * 2.0 - 1.0),
        };
        let colorous::Color { r, g, b } = gradient.eval_continuous(amount);
        Rgb(r, g, b)
    }
}

impl ColorScale {
    /// Where `value` lies between nothing (0) and `max` (1).
    pub fn fraction(self, value: f64, max: f64) -> f64 {
        match self {
            _ if max <= 0.0 || value.is_nan() => 0.0,
            Self::Linear => (value / max).clamp(0.0, 1.0),
            Self::Log { floor } => {
                let (floor, low, high) = (positive(floor), positive(floor).log10(), max.log10());
                if high <= low { 1.0 } else { ((value.max(floor).log10() - low) / (high - low)).clamp(0.0, 1.0) }
            }
        }
    }

    /// Marks of a color bar: places from 0 to 1 and what stands there.
    pub(crate) fn ticks(self, max: f64) -> Vec<(f64, String)> {
        let mut values = match self {
            Self::Linear => ticks::linear(0.0, max, 5),
            Self::Log { floor } => ticks::decades(positive(floor), max),
        };
        let highest = values.last().copied().unwrap_or(0.0);
        let label = |value: f64| match self {
            Self::Linear => ticks::number(value),
            Self::Log { floor } if value <= floor * 1.001 => format!("≤ {}", ticks::power_of_ten(value)),
            Self::Log { .. } => ticks::power_of_ten(value),
        };
        let mut marks: Vec<_> = values.drain(..).map(|value| (self.fraction(value, max), label(value))).collect();
        if max > highest * 1.001 {
            marks.push((1.0, ticks::number(max)));
        }
        marks
    }
}

/// The color of the method at `idx`; colors repeat after eight.
pub fn distinct(idx: usize) -> Rgb {
    OKABE_ITO[idx % OKABE_ITO.len()]
}

/// The color of a difference from -1 (dark orange) over 0 (nearly white) to 1 (dark purple); differences outside look like the
/// nearer end. `ColorBrewer`'s purple and orange, which color-blind eyes tell apart.
pub fn diverging(difference: f64) -> Rgb {
    let amount = if difference.is_nan() { 0.5 } else { f64::midpoint(difference.clamp(-1.0, 1.0), 1.0) };
    let colorous::Color { r, g, b } = colorous::PURPLE_ORANGE.eval_continuous(1.0 - amount);
    Rgb(r, g, b)
}

/// Black or white, whichever reads better on `fill`.
pub fn ink_on(fill: Rgb) -> Rgb {
    let luma = 0.299 * f64::from(fill.0) + 0.587 * f64::from(fill.1) + 0.114 * f64::from(fill.2);
    if luma > 140.0 { ON_LIGHT } else { ON_DARK }
}

/// A color mixed into the page, of which it keeps one of [`TINTS`].
pub(crate) fn tint(color: Rgb, share: f64) -> Rgb {
    debug_assert!(TINTS.contains(&share), "{share}");
    mix(WHITE, color, share)
}

/// A floor that has a logarithm.
fn positive(floor: f64) -> f64 {
    floor.max(1e-12)
}

/// From `a` (0) to `b` (1).
pub fn mix(a: Rgb, b: Rgb, amount: f64) -> Rgb {
    let part = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * amount).round() as u8;
    Rgb(part(a.0, b.0), part(a.1, b.1), part(a.2, b.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn palettes_end_where_they_should() {
        assert_eq!(Palette::RedYellowGreen.at(0.0), Rgb(0xF0, 0x49, 0x6E));
        assert_eq!(Palette::RedYellowGreen.at(0.5), Rgb(0xEB, 0xB8, 0x39));
        assert_eq!(Palette::RedYellowGreen.at(7.0), Rgb(0x0C, 0xD7, 0x9F));
        assert_eq!((Palette::Viridis.at(0.0), Palette::Viridis.at(1.0)), (Rgb(68, 1, 84), Rgb(253, 231, 37)));
        for palette in Palette::ALL {
            assert_eq!(Palette::parse(palette.name()), Some(palette));
        }
    }

    #[test]
    fn differences_have_two_sides_and_a_pale_middle() {
        let [less, none, more] = [-1.0, 0.0, 1.0].map(diverging);
        assert!(less.0 > less.2 + 80, "orange: {less:?}");
        assert!(more.2 > more.0 + 20, "purple: {more:?}");
        assert!([none.0, none.1, none.2].iter().all(|part| *part > 230), "{none:?}");
        assert_eq!([diverging(f64::NAN), diverging(9.0)], [none, more]);
    }

    #[test]
    fn a_log_scale_counts_powers_of_ten() {
        let scale = ColorScale::Log { floor: 1e-4 };
        let at = |value| (scale.fraction(value, 1.0) * 100.0).round() as i32;
        assert_eq!([at(1.0), at(1e-2), at(1e-4), at(0.0), at(f64::NAN)], [100, 50, 0, 0, 0]);
        assert_eq!(ColorScale::Log { floor: 0.0 }.ticks(1.0).len(), 13);
        let labels: Vec<_> = scale.ticks(1.0).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["≤ 10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "1"]);
    }
}
