//! Flags of the workbench and of a frame of it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use longlens_tui::images::ImageMode;
use longlens_tui::theme::{Depth, ThemeName};

use super::{CommonArgs, PromptArgs};

/// How the workbench begins.
#[derive(Debug, Clone, Default, Args)]
pub struct WorkbenchArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Bring back prompt, settings and pinned runs: of a session that ended unexpectedly, else of the last one
    #[arg(long)]
    pub resume: bool,
    /// Begin with the session in this file, as a cell's `workbench` writes it, and keep this one there; it is made where it is not there
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub session: Option<PathBuf>,
    /// Colours of the workbench
    #[arg(long, value_enum, default_value_t)]
    pub theme: Theme,
    /// How many colours the terminal shows
    #[arg(long, value_enum, default_value_t)]
    pub colors: Colors,
    /// Real images by kitty, sixel or iTerm2, where the terminal has them; half blocks otherwise
    #[arg(long, value_enum, default_value_t)]
    pub images: Images,
}

/// Colours of the workbench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Theme {
    /// Light on dark
    #[default]
    Dark,
    /// Dark on light
    Light,
    /// White on black, nothing dimmed
    HighContrast,
}

impl From<Theme> for ThemeName {
    fn from(theme: Theme) -> Self {
        match theme {
            Theme::Dark => Self::Dark,
            Theme::Light => Self::Light,
            Theme::HighContrast => Self::HighContrast,
        }
    }
}

/// How many colours a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Colors {
    /// What `NO_COLOR`, `COLORTERM` and `TERM` say
    #[default]
    Auto,
    /// 16 million
    True,
    /// 256
    #[value(name = "256")]
    Ansi256,
    /// 16
    #[value(name = "16")]
    Ansi16,
    /// None
    None,
}

impl From<Colors> for Depth {
    fn from(colors: Colors) -> Self {
        match colors {
            Colors::Auto => Self::of_terminal(),
            Colors::True => Self::True,
            Colors::Ansi256 => Self::Ansi256,
            Colors::Ansi16 => Self::Ansi16,
            Colors::None => Self::Mono,
        }
    }
}

/// Whether to draw real images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Images {
    /// Where the environment names a terminal that has them
    #[default]
    Auto,
    /// Wherever the terminal says that it has them
    On,
    /// Never
    Off,
}

impl From<Images> for ImageMode {
    fn from(images: Images) -> Self {
        match images {
            Images::Auto => Self::Auto,
            Images::On => Self::Always,
            Images::Off => Self::Never,
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct ScreenshotArgs {
    #[command(flatten)]
    pub workbench: WorkbenchArgs,
    /// Columns and rows
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "120x40")]
    pub size: String,
    /// Keys to press first, separated by blanks, as `L shift-left 2`; `text:` before text to type
    #[arg(long, value_name = "KEYS", default_value = "", allow_hyphen_values = true)]
    pub keys: String,
    /// Without a title bar
    #[arg(long)]
    pub bare: bool,
}
