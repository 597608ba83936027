//! The whole frame: where each pane goes at which size.

use longlens_app::pace;
use longlens_app::prompt::PromptSource;
use longlens_app::runs::RunState;
use longlens_core::printable::{excerpt, is_command, printable_line};
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use crate::app::{App, Focus, Level, Opening};
use crate::command::{self, Command};
use crate::fields::Field;
use crate::panes::VIEWS;
use crate::pen::{Hit, Pen, Seen};
use crate::view::View;
use crate::{dialogs, panes};

/// Below this nothing is drawn but a message.
pub const SMALLEST: (u16, u16) = (80, 24);

/// Draws the state into a frame; says what it shows where.
pub fn draw(app: &App, buffer: &mut Buffer, cell_pixels: Option<(u16, u16)>) -> Seen {
    let mut seen = Seen::default();
    let screen = buffer.area;
    let mut pen = Pen { buffer, theme: app.theme, seen: &mut seen, cell_pixels: cell_pixels.filter(|_| app.images) };
    pen.buffer.set_style(screen, app.theme.text());
    if screen.width < SMALLEST.0 || screen.height < SMALLEST.1 {
        too_small(screen, &mut pen);
        return seen;
    }
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(screen);
    header(app, head, &mut pen);
    footer(app, foot, &mut pen);
    let left_width = if screen.width >= 130 { 40 } else { 32 };
    let [left, right] = Layout::horizontal([Constraint::Length(left_width), Constraint::Fill(1)]).areas(body);
    let history_height = (left.height / 4).clamp(4, 14);
    let [controls, history] = Layout::vertical([Constraint::Fill(1), Constraint::Length(history_height)]).areas(left);
    pane(app, Focus::Controls, controls, "controls", Hit::Controls, &mut pen, panes::controls::draw);
    pane(app, Focus::History, history, "history", Hit::History, &mut pen, panes::history::draw);

    let strip = if right.height >= 44 {
        6
    } else if right.height >= 30 {
        5
    } else {
        4
    };
    let text = if right.height >= 44 {
        9
    } else if right.height >= 30 {
        7
    } else {
        5
    };
    let [tabs, views, tokens, output] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(strip),
        Constraint::Length(text),
    ])
    .areas(right);
    draw_views(app, tabs, views, &mut pen);
    let title = tokens_title(app);
    pane(app, Focus::Tokens, tokens, &title, Hit::Tokens, &mut pen, panes::tokens::draw);
    let title = if app.show_log { "log" } else { "output" };
    pane(app, Focus::Output, output, title, Hit::Output, &mut pen, panes::output::draw);
    if let Some(dialog) = &app.dialog {
        dialogs::draw(app, dialog, screen, &mut pen);
    }
    seen
}

fn pane(app: &App, focus: Focus, area: Rect, title: &str, hit: Hit, pen: &mut Pen, draw: fn(&App, Rect, &mut Pen)) {
    pen.hit(area, hit);
    let inside = pen.frame(area, title, app.layout.focus() == focus);
    if !inside.is_empty() {
        draw(app, inside, pen);
    }
}

/// Characters of a file's name in the header.
const FILE_NAME: usize = 24;

/// The file that the prompt is of, with what parts it from the tokens.
fn file_name(app: &App) -> String {
    let source = app.prompt.answer().map(|prompt| &prompt.source);
    let file = match source {
        Some(PromptSource::File(file)) => file,
        Some(PromptSource::Document(ask)) => &ask.file,
        Some(PromptSource::Kept(ask)) => &ask.file,
        _ => return String::new(),
    };
    let name = PromptSource::File(file.clone()).brief();
    format!("{}: ", printable_line(&excerpt(&name, 0, FILE_NAME).0))
}

fn tokens_title(app: &App) -> String {
    use crate::app::TokenColor;
    let behind = match app.token_color {
        TokenColor::Loss => "loss",
        TokenColor::Attention => "attention",
    };
    let piece: String = app.piece(app.query()).chars().map(|c| if is_command(c) { '⏎' } else { c }).collect();
    format!("tokens by {behind} · query {} “{piece}” of {}", app.query(), app.n_fed())
}

fn too_small(screen: Rect, pen: &mut Pen) {
    let message = [
        format!("longlens needs {} x {} cells,", SMALLEST.0, SMALLEST.1),
        format!("this terminal has {} x {}.", screen.width, screen.height),
        "Make it larger, or the font smaller; q quits.".to_owned(),
    ];
    let y = screen.y + screen.height.saturating_sub(3) / 2;
    for (row, text) in message.iter().enumerate() {
        let x = screen.x + screen.width.saturating_sub(text.chars().count() as u16) / 2;
        pen.text(x, y + row as u16, text, screen.width, pen.theme.text());
    }
}

/// Model, method and mode.
fn header(app: &App, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let state = match &app.opening {
        Opening::Waiting => Span::styled(" opening …", theme.warn()),
        Opening::Failed(_) => Span::styled(" cannot be opened", theme.alarm()),
        Opening::Done => Span::raw(""),
    };
    let settings = &app.controls.settings;
    let mode = app.run().map(|run| run.record.mode.as_str()).filter(|mode| !mode.is_empty());
    let right = format!(" {} · {}{} tokens ", mode.unwrap_or(settings.swap.name()), file_name(app), app.n_prompt());
    let format = panes::controls::format_name(&app.model.dtype);
    let device = app.start.device.as_deref().unwrap_or("cpu");
    let offload = if app.start.kv_offload { " · keys and values in host memory" } else { "" };
    let place = [format!(" {format} · {device}{offload} ·{right}"), format!(" {format} · {device} ·{right}")];
    let left = app.model.name.chars().count() + settings.brief(&app.model.spec).chars().count() + 14;
    let fits = |text: &&String| left + text.chars().count() <= usize::from(area.width);
    let right = place.iter().find(fits).cloned().unwrap_or(right);
    let room = area.width.saturating_sub(right.chars().count() as u16);
    let line = Line::from(vec![
        Span::styled(" longlens ", theme.accent()),
        Span::styled(app.model.name.clone(), theme.text()),
        state,
        Span::styled("  ", theme.text()),
        Span::styled(settings.brief(&app.model.spec), theme.text()),
    ]);
    pen.line(area.x, area.y, &line, room);
    if line.width() > usize::from(room) {
        pen.text(area.x + room.saturating_sub(1), area.y, "…", 1, theme.text());
    }
    pen.text(area.x + room, area.y, &right, area.width - room, theme.faint());
}

/// Progress and the newest problem, or the keys that matter here.
fn footer(app: &App, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let mut x = area.x;
    if let Some(progress) = app.work.progress() {
        let percent = 100 * progress.done / progress.total.max(1);
        let left = progress.left().filter(|_| progress.done < progress.total);
        let left = left.map_or(String::new(), |left| format!(" · {} left", pace::text(left)));
        let text = format!(" {} {percent:>3}%{left} · ctrl-c stops ", progress.what);
        x += pen.text(x, area.y, &text, area.width, theme.warn());
    } else if (app.prompt.waiting().is_some() || app.work.is_busy()) && !matches!(app.opening, Opening::Failed(_)) {
        let is_running = app.run().is_some_and(|run| run.state == RunState::Running);
        let forecast = app.seconds.filter(|_| is_running && app.prompt.waiting().is_none());
        let text = forecast.map_or(" working … ".to_owned(), |s| format!(" working … about {} ", pace::text(s)));
        x += pen.text(x, area.y, &text, area.width, theme.warn());
    }
    let rest = area.right().saturating_sub(x);
    let newest = app.log.notice();
    // a problem needs the room more than the hints do
    let full = hints(app).chars().count();
    let is_cut = newest.is_some_and(|(_, text)| text.chars().count() + full + 2 > usize::from(rest));
    let short = area.width < 110 || is_cut || newest.is_some_and(|(level, _)| *level == Level::Error);
    let hints = if app.dialog.is_some() {
        "esc back ".to_owned()
    } else if short {
        ": all · ? keys · q quit ".to_owned()
    } else {
        hints(app)
    };
    let width = (hints.chars().count() as u16).min(rest);
    if let Some((level, text)) = newest {
        let style = match level {
            Level::Note => theme.faint(),
            Level::Warning => theme.warn(),
            Level::Error => theme.alarm(),
        };
        let room = rest.saturating_sub(width + 2);
        pen.text(x + 1, area.y, text, room, style);
        if text.chars().count() > usize::from(room) && room > 0 {
            pen.text(x + room, area.y, "…", 1, style);
        }
    }
    pen.text(area.right() - width, area.y, &hints, width, theme.faint());
}

/// The keys that matter where the focus is.
fn hints(app: &App) -> String {
    let own = match app.layout.focus() {
        Focus::Controls => app.fields().get(app.field).map_or("", Field::hints),
        Focus::View(pane) => app.layout.shown()[pane].hints(),
        Focus::Tokens => "←→ query · ↑↓ far",
        Focus::Output => "↑↓ scroll · v log",
        Focus::History => "enter restores · P pins · c compares",
    };
    format!("{own} · : all · ? keys · q quit ")
}

/// Tabs above one view or two.
fn draw_views(app: &App, tabs: Rect, area: Rect, pen: &mut Pen) {
    let panes = if app.layout.shown().len() == 1 {
        vec![(0, tabs, area)]
    } else if area.width >= 90 {
        let halves = [Constraint::Fill(1), Constraint::Fill(1)];
        let [a, b] = Layout::horizontal(halves).areas(area);
        let [tabs_a, tabs_b] = Layout::horizontal(halves).areas(tabs);
        vec![(0, tabs_a, a), (1, tabs_b, b)]
    } else {
        // too narrow for two columns: the second view lies below the first
        let [a, between, b] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        vec![(0, tabs, a), (1, between, b)]
    };
    for (place, tabs, area) in panes {
        draw_tabs(app, place, tabs, pen);
        let view = app.layout.shown()[place];
        pen.hit(area, Hit::View(place));
        let focused = app.layout.focus() == Focus::View(place);
        let run = view.run(app);
        let is_older = run.is_some() && run != app.current.as_ref().map(|run| run.id);
        let title = view.title(app) + if is_older { " · the run before" } else { "" };
        let inside = pen.frame(area, &title, focused);
        if inside.is_empty() {
            continue;
        }
        view.draw(app, inside, pen);
        if view.is_stale(app) {
            pen.dim(inside);
        }
    }
}

/// Letters of a tab's name that still tell it from others.
const FEWEST_LETTERS: usize = 3;
/// A name that is cut has fewer letters than this.
const MOST_LETTERS: usize = 16;

fn draw_tabs(app: &App, place: usize, area: Rect, pen: &mut Pen) {
    let mut x = area.x + 1;
    // names with room around them, closer together, cut short, or numbers alone; but for the view that is shown
    let named = |at: usize, view: &dyn View, (letters, end): (usize, &str)| {
        let is_shown = *view == *app.layout.shown()[place];
        let name: String = view.name().chars().take(if is_shown { usize::MAX } else { letters }).collect();
        let key = command::key(Command::View(at));
        [" ", key, if name.is_empty() || key.is_empty() { "" } else { " " }, &name, end].concat()
    };
    let fits = |form: &(usize, &str)| {
        let width: usize = VIEWS.iter().enumerate().map(|(at, view)| named(at, *view, *form).chars().count()).sum();
        width < usize::from(area.width)
    };
    let cut = (FEWEST_LETTERS..MOST_LETTERS).rev().map(|letters| (letters, ""));
    let mut forms = [(usize::MAX, " "), (usize::MAX, "")].into_iter().chain(cut);
    let form = forms.find(fits).unwrap_or((0, " "));
    for (at, view) in VIEWS.iter().enumerate() {
        let is_shown = *view == app.layout.shown()[place];
        let text = named(at, *view, form);
        let width = text.chars().count() as u16;
        if x + width > area.right() {
            break;
        }
        let style = if is_shown { pen.theme.selected() } else { pen.theme.faint() };
        pen.text(x, area.y, &text, width, style);
        pen.hit(Rect { x, y: area.y, width, height: 1 }, Hit::Tab(place, at));
        x += width;
    }
}
