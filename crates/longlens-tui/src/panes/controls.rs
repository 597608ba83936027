//! The controls, and below them what their values would mean.

use longlens_app::Problem;
use longlens_app::bytes;
use longlens_app::pace;
use longlens_app::settings::{Checked, Forecast};
use longlens_core::methods::METHODS;
use longlens_core::plan::Capacity;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;

use super::output::words::{count, shortened, wrap};
use crate::app::{App, Focus};
use crate::command::{self, Command};
use crate::fields::{Field, FieldId};
use crate::pen::{Hit, Pen};
use crate::theme::{Depth, Theme};

/// Draws the pane's inside.
pub fn draw(app: &App, area: Rect, pen: &mut Pen) {
    let fields = app.fields();
    let kept = match area.height {
        0..6 => 0,
        6..13 => 3,
        13..20 => 6,
        20..32 => 9,
        _ => 11,
    };
    let n_rows = area.height - kept;
    let pages = pages(&fields, usize::from(n_rows));
    let selected = app.edit.as_ref().map_or(app.field, |edit| edit.field);
    let at = pages.iter().position(|page| page.contains(&Row::Field(selected))).unwrap_or(0);
    let page = &pages[at];
    for (row, place) in page.iter().zip(Rect { height: n_rows, ..area }.rows()) {
        match row {
            Row::Heading(name) => heading(app, name, place, pen),
            Row::Field(at) => {
                pen.hit(place, Hit::Field(*at));
                field(app, &fields[*at], (*at, selected), place, pen);
            }
        }
    }
    if kept == 0 {
        return;
    }
    let verdict = app.edit.as_ref().map_or(&app.verdict, |edit| &edit.verdict);
    // of a value that is typed it is not known yet
    let seconds = app.seconds.filter(|_| app.edit.is_none());
    let choosing = app.controls.settings.choosing(&app.opened.spec, app.n_prompt());
    let format = format_name(&app.model.dtype);
    let said =
        verdict_lines(verdict, (app.edit.is_some(), seconds), (format, choosing.as_deref()), area.width, pen.theme);
    let help = fields.get(selected).map_or(Vec::new(), |field| help_lines(field, area.width, pen.theme));
    // what is said may spread over rows that this page leaves free
    let free = n_rows.saturating_sub(page.len() as u16);
    let wanted = (1 + said.len() + help.len()) as u16;
    let height = wanted.clamp(kept, kept + free);
    let under = Rect { y: area.bottom() - height, height, ..area };
    rule("", pen.theme.faint(), Rect { height: 1, ..under }, pen);
    if pages.len() > 1 {
        let text = format!(" page {} of {} ", at + 1, pages.len());
        let width = (text.len() as u16).min(area.width);
        pen.text(area.right() - width, under.y, &text, width, pen.theme.faint());
    }
    let under = Rect { y: under.y + 1, height: height - 1, ..under };
    // help gives way to an error, and a long warning to help
    meaning(said, help, if verdict.is_err() { 0 } else { 2 }, under, pen);
}

/// A row of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Heading(&'static str),
    Field(usize),
}

/// The list in pages that begin with a section's heading: whole sections where they fit. Pages do not depend on what is
/// selected, so a clicked row stays under the mouse.
fn pages(fields: &[Field], n_rows: usize) -> Vec<Vec<Row>> {
    let mut pages: Vec<Vec<Row>> = vec![Vec::new()];
    let mut at = 0;
    while let Some(first) = fields.get(at) {
        let n = fields[at..].iter().take_while(|field| field.section == first.section).count();
        let page = pages.last().map_or(0, Vec::len);
        if page > 0 && page + n + 1 > n_rows {
            pages.push(Vec::new());
        }
        // without room for a heading and a field there are no headings
        let per_page = n_rows.saturating_sub(1).max(1);
        for (part, start) in (at..at + n).step_by(per_page).enumerate() {
            if part > 0 {
                pages.push(Vec::new());
            }
            let rows = start..(start + per_page).min(at + n);
            let Some(page) = pages.last_mut() else { continue };
            page.extend((n_rows > 1).then_some(Row::Heading(first.section)));
            page.extend(rows.map(Row::Field));
        }
        at += n;
    }
    pages
}

/// A section's name; the methods' keys stand beside theirs.
fn heading(app: &App, name: &str, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    rule(name, theme.accent(), area, pen);
    if name != "method" {
        return;
    }
    let keys = METHODS.iter().enumerate().map(|(at, method)| {
        (command::key(Command::Method(at)), method.info.name == app.controls.settings.method.name())
    });
    let width = 2 * METHODS.len() as u16 + 1;
    if area.width < width + name.len() as u16 + 4 {
        return;
    }
    let mut x = area.right() - width;
    pen.text(x, area.y, &" ".repeat(width as usize), width, theme.text());
    for (key, chosen) in keys {
        pen.text(
            x + 1,
            area.y,
            key,
            1,
            if chosen { theme.accent().add_modifier(Modifier::UNDERLINED) } else { theme.faint() },
        );
        x += 2;
    }
}

/// A line across the pane that begins with a name.
fn rule(name: &str, style: Style, area: Rect, pen: &mut Pen) {
    let mut x = area.x + pen.text(area.x, area.y, name, area.width, style);
    if x > area.x {
        x += 1;
    }
    let rest = area.right().saturating_sub(x);
    pen.text(x, area.y, &"─".repeat(rest as usize), rest, pen.theme.faint());
}

/// One control: its name, and its value at the right between the arrows that change it.
fn field(app: &App, field: &Field, (at, selected): (usize, usize), area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let is_selected = at == selected;
    let focused = is_selected && app.layout.focus() == Focus::Controls;
    let mut style = if field.is_given { theme.text() } else { theme.faint() };
    if is_selected {
        style = theme.selected();
        if focused {
            style = style.add_modifier(Modifier::BOLD);
        }
        pen.buffer.set_style(area, style);
    }
    // where the row is reversed, ink would become ground
    let is_reversed = style.add_modifier.contains(Modifier::REVERSED);
    let arrow = if is_reversed { Style::new() } else { Style { bg: None, ..theme.accent() } };
    if focused {
        pen.text(area.x, area.y, "▸", area.width, arrow);
    }
    let edit = app.edit.as_ref().filter(|edit| edit.field == at);
    let value = edit.map_or(field.value.as_str(), |edit| edit.text.as_str());
    // one cell for the mark, one for the arrow at each side, one for the cursor, and blanks between
    let room = area.width.saturating_sub(6);
    let shown = end_of(value, room);
    let width = Span::raw(shown).width() as u16;
    let right = area.right().saturating_sub(2);
    let x = right.saturating_sub(width).max(area.x);
    let label_room = x.saturating_sub(area.x + if is_selected { 4 } else { 2 });
    pen.text(area.x + 1, area.y, &shortened(&field.label, label_room), label_room, style);
    let Some(edit) = edit else {
        pen.text(x, area.y, shown, area.right().saturating_sub(x), style);
        if is_selected && area.width > width + 6 {
            pen.text(x - 2, area.y, "‹", 1, arrow);
            pen.text(right + 1, area.y, "›", 1, arrow);
        }
        return;
    };
    let ink = if edit.verdict.is_err() { theme.alarm() } else { theme.accent() };
    let ink = if theme.depth == Depth::Mono { ink } else { Style { bg: style.bg, ..ink } };
    pen.text(x, area.y, shown, area.right().saturating_sub(x), ink);
    if right < area.right() && right > area.x {
        // a block in both depths: where rows are reversed, the cursor is not
        let cursor = if is_reversed { " " } else { "█" };
        pen.buffer[(right, area.y)].set_symbol(cursor).set_style(ink.remove_modifier(Modifier::REVERSED));
    }
}

/// The end of a text that fits.
fn end_of(text: &str, width: u16) -> &str {
    let skipped = text.chars().count().saturating_sub(usize::from(width));
    text.char_indices().nth(skipped).map_or("", |(at, _)| &text[at..])
}

/// Draws what the values would mean, and at the bottom help for the selected one, of which `least` lines stay.
fn meaning(said: Lines, help: Lines, least: usize, area: Rect, pen: &mut Pen) {
    let room = usize::from(area.height);
    let least = if room < 4 { 0 } else { least };
    let n_help = help.len().min(room.saturating_sub(said.len()).max(least));
    let said = cut(said, room - n_help, area.width).into_iter().zip(area.y..);
    let help = cut(help, n_help, area.width).into_iter().zip(area.bottom() - n_help as u16..);
    for ((style, text), y) in said.chain(help) {
        pen.text(area.x, y, &text, area.width, style);
    }
}

type Lines = Vec<(Style, String)>;

/// As many lines as fit, the last with a sign that there are more.
fn cut(mut lines: Lines, n: usize, width: u16) -> Lines {
    if lines.len() > n {
        lines.truncate(n);
        if let Some((_, last)) = lines.last_mut() {
            *last = shortened(last, width.saturating_sub(2));
            last.push_str(if last.ends_with('…') { "" } else { " …" });
        }
    }
    lines
}

fn push_wrapped(lines: &mut Lines, text: &str, indent: &str, width: u16, style: Style) {
    let places = wrap(text, width.saturating_sub(indent.len() as u16));
    lines.extend(places.into_iter().map(|place| (style, format!("{indent}{}", &text[place]))));
}

/// What is possible means: capacity, positions, memory, and the seconds that a run would take where they are known.
fn verdict_lines(
    verdict: &Result<Checked, Problem>,
    (typing, seconds): (bool, Option<f64>),
    (format, choosing): (&str, Option<&str>),
    width: u16,
    theme: Theme,
) -> Lines {
    let mut lines = Vec::new();
    match verdict {
        Ok(checked) => {
            forecast_lines(&checked.forecast, format, width, theme, &mut lines);
            if let Some(values) = choosing {
                let text = format!("nothing is chosen of so short a prompt; {values} would choose");
                push_wrapped(&mut lines, &text, "  ", width, theme.warn());
            }
            if let (Some(seconds), Some((_, capacity))) = (seconds, lines.first_mut()) {
                let ways = [" · about ", " · ~"].map(|about| format!("{about}{}", pace::text(seconds)));
                let room = usize::from(width).saturating_sub(capacity.chars().count());
                capacity.extend(ways.iter().find(|way| way.chars().count() <= room).map(String::as_str));
            }
        }
        Err(problem) => {
            let what = if typing { "✗ impossible: not sent" } else { "✗ impossible: nothing was run" };
            lines.push((theme.alarm(), what.to_owned()));
            push_wrapped(&mut lines, &problem.message, "  ", width, theme.alarm());
            if let Some(help) = &problem.help {
                push_wrapped(&mut lines, help, "  ", width, theme.text());
            }
        }
    }
    lines
}

/// The format of the weights, without what they are stored as.
pub fn format_name(dtype: &str) -> &str {
    dtype.split(" (").next().unwrap_or(dtype)
}

fn forecast_lines(forecast: &Forecast, format: &str, width: u16, theme: Theme, lines: &mut Lines) {
    let fits = |texts: [String; 2]| {
        let [long, short] = texts;
        if long.chars().count() <= usize::from(width) { long } else { short }
    };
    let n_tokens = forecast.n_tokens;
    lines.push(match forecast.capacity {
        Capacity::Unlimited => (theme.good(), "✓ capacity unlimited".to_owned()),
        Capacity::Tokens(n) if n_tokens > n => {
            let texts = [
                format!("! capacity {} of {} tokens", count(n), count(n_tokens)),
                format!("! capacity {n} of {n_tokens}"),
            ];
            (theme.warn(), fits(texts))
        }
        Capacity::Tokens(n) => (theme.good(), format!("✓ capacity {} tokens", count(n))),
    });
    let highest = (forecast.highest * 10.0).round() / 10.0;
    let (style, texts) = match forecast.trained {
        Some(trained) => {
            let beyond = forecast.highest > trained.saturating_sub(1) as f64;
            // what a scaling reaches is more than the model was trained on
            let of = if trained == forecast.trained_context { "trained" } else { "by the scaling" };
            let texts = [
                format!("  highest position {highest} of {trained} {of}"),
                format!("  highest {highest} of {trained} {of}"),
            ];
            (if beyond { theme.alarm() } else { theme.text() }, texts)
        }
        None => (theme.text(), [format!("  highest position {highest}"), format!("  highest {highest}")]),
    };
    lines.push((style, fits(texts)));
    let (weights, cache) = (bytes::text(forecast.weight_bytes), bytes::text(forecast.cache_bytes));
    let least = fits([format!("  {weights} {format} + {cache} kv"), format!("  {weights} + {cache} cache")]);
    let short = fits([format!("  {weights} {format} + {cache} cache"), least]);
    lines.push((theme.text(), fits([format!("  memory {weights} ({format}) + {cache} cache"), short])));
    if let Some(warning) = forecast.warnings.first() {
        push_wrapped(lines, &warning.to_string(), "  ", width, theme.warn());
    }
}

fn help_lines(field: &Field, width: u16, theme: Theme) -> Lines {
    let mut lines = Vec::new();
    push_wrapped(&mut lines, field.help, "", width, theme.faint());
    // the methods have their keys above
    if field.id != FieldId::Method {
        push_wrapped(&mut lines, &field.range, "", width, theme.faint());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::output::rig::{app, everywhere, shown};
    use super::*;
    use crate::app::Edit;

    #[test]
    fn every_field_is_on_one_page_that_begins_with_its_section() {
        let app = app();
        let fields = app.fields();
        for n_rows in 1..40 {
            let pages = pages(&fields, n_rows);
            let rows: Vec<Row> = pages.iter().flatten().copied().collect();
            let listed = rows.iter().filter_map(|row| if let Row::Field(at) = row { Some(*at) } else { None });
            assert!(listed.eq(0..fields.len()), "{n_rows} rows");
            assert!(pages.iter().all(|page| page.len() <= n_rows), "{n_rows} rows");
            assert!(n_rows == 1 || pages.iter().all(|page| matches!(page[0], Row::Heading(_))), "{n_rows} rows");
        }
    }

    #[test]
    fn the_selected_field_is_visible_with_its_help() {
        let mut app = app();
        let fields = app.fields();
        for (at, field) in fields.iter().enumerate() {
            app.field = at;
            let text = shown(draw, &app, 38, 24);
            let row = text.lines().find(|line| line.contains('›')).unwrap_or_else(|| panic!("{text}"));
            assert!(row.contains(&field.label) && row.contains(&format!("‹ {} ›", field.value)), "{row}");
            let start = field.help.split(' ').next().unwrap();
            assert!(text.contains(start), "{text}");
        }
    }

    #[test]
    fn an_impossible_value_is_marked_as_not_sent() {
        let mut app = app();
        assert!(shown(draw, &app, 38, 30).contains("highest position"));
        let verdict = Err(Problem::new("group_size = 0 is not possible", "1 or more".to_owned()));
        app.edit = Some(Edit { field: 3, text: "0".into(), verdict: verdict.clone() });
        let text = shown(draw, &app, 38, 20);
        assert!(text.contains("0█") && text.contains("✗ impossible: not sent"), "{text}");
        assert!(text.contains("group_size = 0 is not possible") && text.contains("  1 or more"), "{text}");
        everywhere(draw, &app);
        (app.edit, app.verdict) = (None, verdict);
        assert!(shown(draw, &app, 38, 20).contains("✗ impossible: nothing was run"));
        everywhere(draw, &app);
    }

    #[test]
    fn what_is_cut_says_so() {
        let style = Style::new();
        let lines: Lines = ["one two", "three", "four"].map(|text| (style, text.to_owned())).to_vec();
        let texts = |n, width| cut(lines.clone(), n, width).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts(2, 20), ["one two", "three …"]);
        assert_eq!(texts(1, 6), ["one…"]);
        assert_eq!(texts(3, 6).len(), 3);
    }
}
