//! Whether the terminal has a dark ground.

use std::io::IsTerminal;
use std::time::Duration;

use longlens_plot::Ground;
use terminal_colorsaurus::{QueryOptions, ThemeMode, theme_mode};

use crate::tty::is_dumb;

/// A terminal that answers does so at once; one far away is not waited for.
const PATIENCE: Duration = Duration::from_millis(250);

/// What `COLORFGBG` says, else what the terminal says when it is asked (OSC 11); nothing where neither does.
pub fn of_terminal() -> Option<Ground> {
    if let Some(ground) = of_variable(&std::env::var("COLORFGBG").unwrap_or_default()) {
        return Some(ground);
    }
    let is_there = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !is_there || is_dumb() || std::env::var_os("NO_COLOR").is_some() {
        return None;
    }
    let mut options = QueryOptions::default();
    options.timeout = PATIENCE;
    match theme_mode(options).ok()? {
        ThemeMode::Dark => Some(Ground::Dark),
        ThemeMode::Light => Some(Ground::Light),
    }
}

/// `15;0`, or `15;default;0`: numbers of the ink and of the ground among the 16 colours.
fn of_variable(text: &str) -> Option<Ground> {
    let (_, ground) = text.rsplit_once(';')?;
    match ground.trim().parse::<u8>().ok()? {
        0..=6 | 8 => Some(Ground::Dark),
        7 | 9..=15 => Some(Ground::Light),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ground_is_read_from_the_variable_that_terminals_set() {
        let read = ["15;0", "0;15", "12;8", "15;default;0", "0;default", "7", "", "0;99"].map(of_variable);
        let (dark, light) = (Some(Ground::Dark), Some(Ground::Light));
        assert_eq!(read, [dark, light, dark, dark, None, None, None, None]);
    }
}
