//! Names of keys, as the table of commands, the README and scripted sessions write them.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key's name in the table of commands: `L`, `ctrl-r`, `shift-left`; nothing for keys that no command has.
pub fn name(key: KeyEvent) -> Option<String> {
    let base = match key.code {
        KeyCode::Char(' ') => "space".to_owned(),
        KeyCode::Char(c) => c.to_string(),
        KeyCode::BackTab => return Some("shift-tab".to_owned()),
        KeyCode::F(n) => format!("f{n}"),
        KeyCode::Tab => "tab".to_owned(),
        KeyCode::Enter => "enter".to_owned(),
        KeyCode::Esc => "esc".to_owned(),
        KeyCode::Up => "up".to_owned(),
        KeyCode::Down => "down".to_owned(),
        KeyCode::Left => "left".to_owned(),
        KeyCode::Right => "right".to_owned(),
        KeyCode::PageUp => "pageup".to_owned(),
        KeyCode::PageDown => "pagedown".to_owned(),
        KeyCode::Home => "home".to_owned(),
        KeyCode::End => "end".to_owned(),
        KeyCode::Delete => "delete".to_owned(),
        KeyCode::Backspace => "backspace".to_owned(),
        _ => return None,
    };
    let mut name = String::new();
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        name += "ctrl-";
    }
    if key.modifiers.contains(KeyModifiers::ALT) {
        name += "alt-";
    }
    // a capital or a sign already is the shifted key
    if key.modifiers.contains(KeyModifiers::SHIFT) && !matches!(key.code, KeyCode::Char(_)) {
        name += "shift-";
    }
    Some(name + &base)
}

/// The key of a name, as [`name`] writes it.
pub fn parse(name: &str) -> Option<KeyEvent> {
    let (mut rest, mut modifiers) = (name, KeyModifiers::NONE);
    for (prefix, modifier) in
        [("ctrl-", KeyModifiers::CONTROL), ("alt-", KeyModifiers::ALT), ("shift-", KeyModifiers::SHIFT)]
    {
        if let Some(after) = rest.strip_prefix(prefix) {
            (rest, modifiers) = (after, modifiers | modifier);
        }
    }
    let code = match rest {
        "tab" if modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
        "tab" => KeyCode::Tab,
        "enter" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pageup" => KeyCode::PageUp,
        "pagedown" => KeyCode::PageDown,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "delete" => KeyCode::Delete,
        "backspace" => KeyCode::Backspace,
        "space" => KeyCode::Char(' '),
        _ => {
            let mut letters = rest.chars();
            match (letters.next(), letters.as_str()) {
                (Some(letter), "") => KeyCode::Char(letter),
                (Some('f'), number) => KeyCode::F(number.parse().ok()?),
                _ => return None,
            }
        }
    };
    Some(KeyEvent::new(code, modifiers))
}
