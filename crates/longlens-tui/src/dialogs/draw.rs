//! How dialogs look.

use longlens_app::pace;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::widgets::{Clear, Widget};

use super::{Dialog, Line, NEEDLE_LABELS, Question, document, found};
use crate::app::App;
use crate::command::ENTRIES;
use crate::fields::read_count;
use crate::panes::attention::notes::wrapped;
use crate::panes::output::words::shortened;
use crate::pen::{Hit, Pen};

/// What the lines of the needle builder mean.
const NEEDLE_HELP: [&str; NEEDLE_LABELS.len()] = [
    "tokens of the whole prompt, as 1024 or 4k",
    "where the key stands: 0 is the start, 1 the end",
    "letters and digits; empty draws one from the seed",
    "start of the random numbers",
    "wording: whose passkey script (left, right)",
    "whether a user says it, in the chat template (left, right)",
];

/// Draws the open dialog over the screen.
pub fn draw(app: &App, dialog: &Dialog, screen: Rect, pen: &mut Pen) {
    match dialog {
        Dialog::Help { scroll } => help(*scroll, screen, pen),
        Dialog::Palette { input, selected } => palette(input, *selected, screen, pen),
        Dialog::Needle { inputs, template, chat, selected } => {
            let words = [template.name(), off_on(chat.0)];
            let values = inputs.iter().map(Value::Typed).chain(words.map(Value::Word));
            let mut help = NEEDLE_HELP;
            let seconds = read_count(inputs[0].text().trim()).and_then(|n_tokens| app.seconds_of(n_tokens));
            let of_length = seconds.map(|seconds| format!("{}; takes about {}", NEEDLE_HELP[0], pace::text(seconds)));
            help[0] = of_length.as_deref().unwrap_or(NEEDLE_HELP[0]);
            let lines: Vec<_> = NEEDLE_LABELS.into_iter().zip(values).zip(help).collect();
            form(("needle prompt", "enter builds"), &lines, *selected, screen, pen);
        }
        Dialog::Document(open) => {
            let values = open.inputs.iter().map(Value::Typed).chain([Value::Word(off_on(open.chats))]);
            let lines: Vec<_> = document::LABELS.into_iter().zip(values).zip(document::HELP).collect();
            form(("a document and a question about it", "enter runs it"), &lines, open.selected, screen, pen);
        }
        Dialog::Text(editor) => {
            let height = screen.height.saturating_sub(4).min(24);
            let title = if editor.is_chat { "conversation: lines of system:, user:, assistant:" } else { "prompt" };
            let inside = window(screen, screen.width.saturating_sub(6).min(110), height, title, pen);
            let text = Rect { height: inside.height.saturating_sub(1), ..inside };
            let mut area = editor.area.clone();
            area.set_style(pen.theme.text());
            area.set_cursor_line_style(pen.theme.text());
            area.set_wrap_mode(ratatui_textarea::WrapMode::Word);
            (&area).render(text, pen.buffer);
            pen.text(inside.x, inside.bottom().saturating_sub(1), &editor.note(), inside.width, pen.theme.faint());
        }
        Dialog::Ask(question, input) => {
            let (title, help) = match question {
                Question::OpenFile => ("open a document", "enter opens · esc back"),
                Question::Rename(_) => ("name of the run", "enter names · empty for its text form · esc back"),
                Question::Export => {
                    ("export the view as", "writes .png .svg .csv .npz .html · enter writes · esc back")
                }
                Question::SaveConfig => {
                    ("save the settings as", "for `longlens … --config FILE` · enter writes · esc back")
                }
                Question::Record => {
                    ("save the steps as", ".rhai for notebook cells, .sh for commands · enter writes · esc back")
                }
            };
            let inside = window(screen, 70, 5, title, pen);
            typed(input, true, Rect { height: 1, ..inside }, pen);
            pen.text(inside.x, inside.y + 2, help, inside.width, pen.theme.faint());
        }
        Dialog::ConfirmQuit => {
            let inside = window(screen, 58, 5, "quit?", pen);
            let what = if app.work.is_busy() {
                "Something is still running; it will be lost."
            } else {
                "The session can be resumed."
            };
            pen.text(inside.x, inside.y, what, inside.width, pen.theme.text());
            pen.text(inside.x, inside.y + 2, "y quits · esc stays", inside.width, pen.theme.faint());
        }
    }
}

/// What a line of a form holds.
enum Value<'a> {
    Typed(&'a Line),
    /// One of a few words, which arrows choose.
    Word(&'a str),
}

fn off_on(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// A form: lines with their labels and help, of which the selected one's is shown. Title and what enter does come first.
fn form((title, enter): (&str, &str), lines: &[((&str, Value), &str)], selected: usize, screen: Rect, pen: &mut Pen) {
    let n = lines.len() as u16;
    let inside = window(screen, 66, n + 6, title, pen);
    for (at, ((label, value), _)) in lines.iter().enumerate() {
        let line = Rect { y: inside.y + at as u16, height: 1, ..inside };
        pen.hit(line, Hit::Entry(at));
        let style = if at == selected { pen.theme.accent() } else { pen.theme.text() };
        pen.text(line.x, line.y, label, 10, style);
        let room = Rect { x: line.x + 11, width: line.width.saturating_sub(11), ..line };
        match value {
            Value::Typed(input) => typed(input, at == selected, room, pen),
            Value::Word(word) => {
                pen.text(room.x, room.y, &format!("‹ {word} ›"), room.width, style);
            }
        }
    }
    let help = lines.get(selected).map_or("", |(_, help)| help);
    pen.text(inside.x, inside.y + n + 1, help, inside.width, pen.theme.faint());
    let keys = format!("{enter} · tab next · esc back");
    pen.text(inside.x, inside.y + n + 3, &keys, inside.width, pen.theme.faint());
}

/// A cleared, framed window in the middle of the screen; returns the room inside, a cell away from its edge.
fn window(screen: Rect, width: u16, height: u16, title: &str, pen: &mut Pen) -> Rect {
    let (width, height) = (width.min(screen.width), height.min(screen.height));
    let x = screen.x + (screen.width - width) / 2;
    let y = screen.y + (screen.height - height) / 2;
    let area = Rect { x, y, width, height };
    Clear.render(area, pen.buffer);
    pen.buffer.set_style(area, pen.theme.text());
    // pictures would lie over the window
    pen.seen.images.clear();
    pen.hit(area, Hit::Entry(usize::MAX));
    let inside = pen.frame(area, title, true);
    Rect { x: inside.x + 1, width: inside.width.saturating_sub(2), ..inside }
}

/// A line of typed text with its cursor.
fn typed(line: &Line, active: bool, area: Rect, pen: &mut Pen) {
    let mut text = line.0.clone();
    let style = pen.theme.text().add_modifier(Modifier::UNDERLINED);
    text.set_style(style);
    text.set_cursor_line_style(style);
    if !active {
        text.set_cursor_style(style);
    }
    (&text).render(area, pen.buffer);
}

/// Cells of the keys in the help, and where their text begins.
const KEYS: (u16, u16) = (14, 17);

/// A row of the help.
enum Row {
    Title(&'static str),
    /// An entry by its place, and how its text begins.
    Entry(usize, String),
    /// What follows of it, two cells in.
    More(String),
}

/// Every command below the title of its group; `scroll` commands are skipped.
fn help(scroll: usize, screen: Rect, pen: &mut Pen) {
    let height = screen.height.saturating_sub(2);
    let inside = window(screen, 100, height, "keys (esc closes)", pen);
    let width = inside.width.saturating_sub(KEYS.1);
    let mut rows = Vec::new();
    // the row that each command begins with; that of its title for the first of a group
    let mut starts = Vec::new();
    let mut group = "";
    for (at, entry) in ENTRIES.iter().enumerate() {
        starts.push(rows.len());
        if entry.group != group {
            group = entry.group;
            rows.push(Row::Title(group));
        }
        let text = format!("{}: {}", entry.name, entry.help);
        let begins = wrapped(&text, usize::from(width)).swap_remove(0);
        let more = text[begins.len()..].trim_start();
        rows.push(Row::Entry(at, begins));
        if !more.is_empty() {
            rows.extend(wrapped(more, usize::from(width.saturating_sub(2))).into_iter().map(Row::More));
        }
    }
    let room = usize::from(inside.height);
    let wanted = starts.get(scroll).copied().unwrap_or(rows.len());
    let first = wanted.min(rows.len().saturating_sub(room));
    let shown = &rows[first..rows.len().min(first + room)];
    for (y, row) in (inside.y..).zip(shown) {
        match row {
            Row::Title(title) => {
                pen.text(inside.x, y, title, inside.width, pen.theme.accent());
            }
            Row::Entry(at, text) => {
                let keys = shortened(&ENTRIES[*at].keys.join(" "), KEYS.0);
                pen.text(inside.x + 2, y, &keys, KEYS.0, pen.theme.warn());
                pen.text(inside.x + KEYS.1, y, text, width, pen.theme.text());
            }
            Row::More(text) => {
                pen.text(inside.x + KEYS.1 + 2, y, text, width, pen.theme.text());
            }
        }
    }
    let mut seen = shown.iter().filter_map(|row| if let Row::Entry(at, _) = row { Some(at + 1) } else { None });
    let Some(from) = seen.next().filter(|_| shown.len() < rows.len()) else { return };
    let to = seen.next_back().unwrap_or(from);
    let before = if first > 0 { "↑ " } else { "" };
    let after = if first + room < rows.len() { " ↓" } else { "" };
    let text = format!(" {before}{from}–{to} of {}{after} ", ENTRIES.len());
    let wide = (text.chars().count() as u16).min(inside.width);
    pen.text(inside.right() - wide, inside.bottom(), &text, wide, pen.theme.warn());
}

fn palette(input: &Line, selected: usize, screen: Rect, pen: &mut Pen) {
    let height = screen.height.saturating_sub(4).min(22);
    let inside = window(screen, 90, height, "do", pen);
    typed(input, true, Rect { height: 1, ..inside }, pen);
    let entries = found(input.text());
    if entries.is_empty() {
        pen.text(inside.x, inside.y + 2, "nothing is called that", inside.width, pen.theme.faint());
    }
    let room = usize::from(inside.height.saturating_sub(2));
    let selected = selected.min(entries.len().saturating_sub(1));
    let first = (selected + 1).saturating_sub(room);
    for (row, entry) in entries.iter().skip(first).take(room).enumerate() {
        let line = Rect { y: inside.y + 2 + row as u16, height: 1, ..inside };
        pen.hit(line, Hit::Entry(first + row));
        if first + row == selected {
            pen.buffer.set_style(line, pen.theme.selected());
        }
        let style = if first + row == selected { pen.theme.selected() } else { pen.theme.text() };
        let mut x = line.x;
        for (text, width) in [(entry.name.as_str(), 22), (&entry.keys.join(" "), 11), (&entry.help, u16::MAX)] {
            let room = width.min(line.right().saturating_sub(x));
            pen.text(x, line.y, &shortened(text, room), room, style);
            x = x.saturating_add(room + 1);
        }
    }
}
