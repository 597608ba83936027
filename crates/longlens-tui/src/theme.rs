//! Colors by role, for three themes and four depths of color.
//!
//! Everything that is drawn asks the theme, so a terminal with fewer colors, or none, needs no other code.

use longlens_plot::Ground;
use longlens_plot::color::{Palette, Rgb, distinct};
pub use longlens_plot::terminal::Depth;
use longlens_plot::terminal::{nearest_16, nearest_256};
use ratatui::style::{Color, Modifier, Style};

/// Which colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThemeName {
    /// Light on dark.
    #[default]
    Dark,
    /// Dark on light.
    Light,
    /// White on black, and nothing dimmed.
    HighContrast,
}

/// What a pixel of a picture means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pixel {
    /// Nothing.
    Empty,
    /// An amount from 0 to 1.
    Amount(f64),
    /// A difference from -1 to 1.
    Signed(f64),
    /// Outside the trained range.
    Alarm,
    /// Depends on the data.
    Muted,
}

/// Colors by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    /// Which colors.
    pub name: ThemeName,
    /// How many colors.
    pub depth: Depth,
}

impl ThemeName {
    /// Every theme.
    pub const ALL: [Self; 3] = [Self::Dark, Self::Light, Self::HighContrast];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::HighContrast => "high-contrast",
        }
    }

    /// The theme after this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::HighContrast,
            Self::HighContrast => Self::Dark,
        }
    }
}

impl Theme {
    /// A color as deep as the terminal shows.
    pub fn color(self, rgb: Rgb) -> Color {
        match self.depth {
            Depth::True => Color::Rgb(rgb.0, rgb.1, rgb.2),
            Depth::Ansi256 => Color::Indexed(nearest_256(rgb)),
            Depth::Ansi16 => FIRST[usize::from(nearest_16(rgb))],
            Depth::Mono => Color::Reset,
        }
    }

    /// The ground of everything.
    pub fn ground(self) -> Color {
        match (self.name, self.depth) {
            (_, Depth::Mono) => Color::Reset,
            (ThemeName::Dark, Depth::Ansi16) | (ThemeName::HighContrast, _) => Color::Black,
            (ThemeName::Light, Depth::Ansi16) => Color::White,
            _ => self.color(self.ground_rgb()),
        }
    }

    /// What figures stand on.
    pub fn figure_ground(self) -> Ground {
        match self.name {
            // without colors only shades are told apart, and ink is what is dark
            _ if self.depth == Depth::Mono => Ground::Light,
            ThemeName::Dark | ThemeName::HighContrast => Ground::Dark,
            ThemeName::Light => Ground::Light,
        }
    }

    /// The ground as a color for pictures.
    pub fn ground_rgb(self) -> Rgb {
        match self.name {
            ThemeName::Dark => Rgb(18, 20, 24),
            ThemeName::Light => Rgb(250, 250, 247),
            ThemeName::HighContrast => Rgb(0, 0, 0),
        }
    }

    fn ink_rgb(self) -> Rgb {
        match self.name {
            ThemeName::Dark => Rgb(214, 217, 224),
            ThemeName::Light => Rgb(36, 38, 44),
            ThemeName::HighContrast => Rgb(255, 255, 255),
        }
    }

    fn accent_rgb(self) -> Rgb {
        match self.name {
            ThemeName::Dark => Rgb(110, 178, 255),
            ThemeName::Light => Rgb(0, 92, 175),
            ThemeName::HighContrast => Rgb(0, 255, 255),
        }
    }

    fn alarm_rgb(self) -> Rgb {
        match self.name {
            ThemeName::Dark => Rgb(255, 92, 128),
            ThemeName::Light => Rgb(196, 12, 66),
            ThemeName::HighContrast => Rgb(255, 96, 96),
        }
    }

    fn good_rgb(self) -> Rgb {
        match self.name {
            ThemeName::Dark => Rgb(96, 208, 140),
            ThemeName::Light => Rgb(0, 120, 64),
            ThemeName::HighContrast => Rgb(0, 255, 0),
        }
    }

    fn warn_rgb(self) -> Rgb {
        match self.name {
            ThemeName::Dark => Rgb(240, 190, 84),
            ThemeName::Light => Rgb(150, 92, 0),
            ThemeName::HighContrast => Rgb(255, 255, 0),
        }
    }

    fn faint_rgb(self) -> Rgb {
        match self.name {
            ThemeName::Dark => Rgb(122, 128, 140),
            ThemeName::Light => Rgb(112, 116, 126),
            ThemeName::HighContrast => Rgb(220, 220, 220),
        }
    }

    /// A role's color: exact, or the one of the 16 that means it.
    fn role(self, rgb: Rgb, of_16: Color) -> Style {
        match self.depth {
            Depth::Mono => Style::new(),
            Depth::Ansi16 => Style::new().fg(of_16),
            _ => Style::new().fg(self.color(rgb)),
        }
    }

    /// Plain text on the ground.
    pub fn text(self) -> Style {
        let of_16 = if self.name == ThemeName::Light { Color::Black } else { Color::White };
        let style = self.role(self.ink_rgb(), of_16);
        if self.depth == Depth::Mono { style } else { style.bg(self.ground()) }
    }

    /// Text that steps back.
    pub fn faint(self) -> Style {
        match (self.depth, self.name) {
            (Depth::Mono, _) => Style::new().add_modifier(Modifier::DIM),
            (_, ThemeName::HighContrast) => self.role(self.faint_rgb(), Color::White),
            _ => self.role(self.faint_rgb(), Color::DarkGray),
        }
    }

    /// Titles and keys.
    pub fn accent(self) -> Style {
        let of_16 = if self.name == ThemeName::Light { Color::Blue } else { Color::LightCyan };
        self.role(self.accent_rgb(), of_16).add_modifier(Modifier::BOLD)
    }

    /// Errors, impossible values, the needle.
    pub fn alarm(self) -> Style {
        let of_16 = if self.name == ThemeName::Light { Color::Red } else { Color::LightRed };
        self.role(self.alarm_rgb(), of_16).add_modifier(Modifier::BOLD)
    }

    /// What went well.
    pub fn good(self) -> Style {
        let of_16 = if self.name == ThemeName::Light { Color::Green } else { Color::LightGreen };
        self.role(self.good_rgb(), of_16)
    }

    /// What is unwise.
    pub fn warn(self) -> Style {
        let of_16 = if self.name == ThemeName::Light { Color::Magenta } else { Color::LightYellow };
        self.role(self.warn_rgb(), of_16)
    }

    /// The edge of a pane.
    pub fn edge(self, focused: bool) -> Style {
        if focused { self.accent() } else { self.faint() }
    }

    /// The selected line of a list.
    pub fn selected(self) -> Style {
        match self.depth {
            Depth::Mono | Depth::Ansi16 => Style::new().add_modifier(Modifier::REVERSED),
            _ => {
                let ground = match self.name {
                    ThemeName::Dark => Rgb(44, 58, 82),
                    ThemeName::Light => Rgb(208, 224, 244),
                    ThemeName::HighContrast => Rgb(0, 72, 160),
                };
                self.text().bg(self.color(ground))
            }
        }
    }

    /// The color of the run at `idx` in charts.
    pub fn series(self, idx: usize) -> Style {
        const ON_DARK: [Rgb; 8] = [
            Rgb(86, 180, 233),
            Rgb(230, 159, 0),
            Rgb(60, 200, 150),
            Rgb(222, 140, 185),
            Rgb(240, 228, 66),
            Rgb(120, 150, 255),
            Rgb(230, 120, 60),
            Rgb(235, 235, 235),
        ];
        const OF_16: [Color; 6] = [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Blue, Color::Red];
        let rgb = if self.name == ThemeName::Light { distinct(idx) } else { ON_DARK[idx % ON_DARK.len()] };
        self.role(rgb, OF_16[idx % OF_16.len()])
    }

    /// A color halfway to the ground.
    pub fn faded(self, color: Color) -> Color {
        let Color::Rgb(r, g, b) = color else { return color };
        let ground = self.ground_rgb();
        let half = |a: u8, b: u8| ((u16::from(a) * 11 + u16::from(b) * 9) / 20) as u8;
        Color::Rgb(half(r, ground.0), half(g, ground.1), half(b, ground.2))
    }

    /// The exact color of a pixel, for images.
    pub fn pixel_rgb(self, pixel: Pixel) -> Rgb {
        match pixel {
            Pixel::Empty => self.ground_rgb(),
            Pixel::Amount(amount) => Palette::Viridis.at(amount),
            Pixel::Signed(amount) => signed(amount, self.ground_rgb()),
            Pixel::Alarm => Rgb(226, 24, 86),
            Pixel::Muted => Rgb(120, 120, 128),
        }
    }

    /// The color of a pixel in a cell.
    pub fn pixel(self, pixel: Pixel) -> Color {
        match (self.depth, pixel) {
            (Depth::Mono, _) => Color::Reset,
            (_, Pixel::Empty) => self.ground(),
            (Depth::Ansi16, Pixel::Amount(amount)) => {
                // dark to light, as the palette is; the least is not the ground, which is nothing at all
                const RAMP: [Color; 5] =
                    [Color::Blue, Color::LightBlue, Color::Cyan, Color::LightGreen, Color::LightYellow];
                let at = ((amount.clamp(0.0, 1.0) * 4.0).round() as usize).min(4);
                // on a light ground the least is the lightest
                if self.name == ThemeName::Light { RAMP[4 - at] } else { RAMP[at] }
            }
            (Depth::Ansi16, Pixel::Signed(amount)) => {
                const RAMP: [Color; 5] =
                    [Color::LightBlue, Color::Blue, Color::Black, Color::Yellow, Color::LightYellow];
                RAMP[((amount.clamp(-1.0, 1.0) * 2.0 + 2.0).round() as usize).min(4)]
            }
            (Depth::Ansi16, Pixel::Alarm) => Color::LightRed,
            (Depth::Ansi16, Pixel::Muted) => Color::DarkGray,
            _ => self.color(self.pixel_rgb(pixel)),
        }
    }

    /// A sign for a pixel where there are no colors: darker means more ink.
    pub fn shade(pixel: Pixel) -> char {
        const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];
        match pixel {
            Pixel::Empty => ' ',
            Pixel::Amount(amount) => SHADES[((amount.clamp(0.0, 1.0) * 4.0).round() as usize).min(4)],
            Pixel::Signed(amount) if amount > 0.1 => '+',
            Pixel::Signed(amount) if amount < -0.1 => '-',
            Pixel::Signed(_) => '·',
            Pixel::Alarm => '!',
            Pixel::Muted => '?',
        }
    }

    /// Ink that reads on the color of a pixel.
    pub fn ink_on(self, pixel: Pixel) -> Style {
        match self.depth {
            Depth::Mono => Style::new(),
            Depth::Ansi16 => {
                let is_light = matches!(
                    self.pixel(pixel),
                    Color::LightGreen | Color::LightYellow | Color::Green | Color::Cyan | Color::White | Color::Yellow
                );
                Style::new().fg(if is_light { Color::Black } else { Color::White }).bg(self.pixel(pixel))
            }
            _ => {
                let ground = self.pixel_rgb(pixel);
                let luma = 0.299 * f64::from(ground.0) + 0.587 * f64::from(ground.1) + 0.114 * f64::from(ground.2);
                let ink = if luma > 140.0 { Rgb(16, 16, 16) } else { Rgb(245, 245, 245) };
                Style::new().fg(self.color(ink)).bg(self.color(ground))
            }
        }
    }
}

/// Blue below 0, orange above, the ground between.
fn signed(amount: f64, ground: Rgb) -> Rgb {
    let end = if amount < 0.0 { Rgb(64, 140, 255) } else { Rgb(255, 160, 40) };
    let share = if amount.is_nan() { 0.0 } else { amount.abs().min(1.0).sqrt() };
    let part = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
    Rgb(part(ground.0, end.0), part(ground.1, end.1), part(ground.2, end.2))
}

/// The 16 of every terminal, in the order of their numbers.
pub const FIRST: [Color; 16] = [
    Color::Black,
    Color::Red,
    Color::Green,
    Color::Yellow,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::Gray,
    Color::DarkGray,
    Color::LightRed,
    Color::LightGreen,
    Color::LightYellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::White,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_fall_back_to_the_nearest() {
        let theme = Theme { name: ThemeName::Dark, depth: Depth::Ansi16 };
        assert_eq!(theme.color(Rgb(250, 250, 250)), Color::White);
        let theme = Theme { name: ThemeName::Dark, depth: Depth::Mono };
        assert_eq!((theme.pixel(Pixel::Alarm), theme.text()), (Color::Reset, Style::new()));
    }

    #[test]
    fn more_is_never_darker_in_16_colors_or_none() {
        let shades: Vec<char> = (0..=4).map(|at| Theme::shade(Pixel::Amount(f64::from(at) / 4.0))).collect();
        assert_eq!(shades, ['·', '░', '▒', '▓', '█']);
        let theme = Theme { name: ThemeName::Dark, depth: Depth::Ansi16 };
        assert_eq!(theme.pixel(Pixel::Amount(0.0)), Color::Blue);
        assert_eq!(theme.pixel(Pixel::Amount(1.0)), Color::LightYellow);
    }

    #[test]
    fn little_is_not_nothing() {
        for name in ThemeName::ALL {
            for depth in [Depth::True, Depth::Ansi256, Depth::Ansi16] {
                let theme = Theme { name, depth };
                let others = [Pixel::Empty, Pixel::Alarm, Pixel::Muted].map(|pixel| theme.pixel(pixel));
                for at in 0..=8 {
                    let amount = theme.pixel(Pixel::Amount(f64::from(at) / 8.0));
                    assert!(!others.contains(&amount), "{at} of 8 in {theme:?}");
                }
            }
        }
        assert_ne!(Theme::shade(Pixel::Amount(0.0)), Theme::shade(Pixel::Empty));
    }
}
