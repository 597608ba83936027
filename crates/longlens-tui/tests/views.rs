//! What a person sees: every view at three sizes and in every depth of color, every dialog, and the moments before and
//! after a model is there. The frozen frames lie in `snapshots/`; what holds at every size is checked at every size.
//!
//! A snapshot holds a frame's text, then for each depth the [`colors`] of its cells, and a [`sketch`] of the view.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;

use common::{Rig, lens, options, text};
use longlens_app::Problem;
use longlens_app::runs::Speed;
use longlens_core::lens::Lens;
use longlens_core::methods::METHODS;
use longlens_core::printable::is_command;
use longlens_plot::color::Rgb;
use longlens_tui::app::{Action, App, Layout, TokenColor};
use longlens_tui::fields::FieldId;
use longlens_tui::headless::Headless;
use longlens_tui::panes::VIEWS;
use longlens_tui::pen::{Hit, Seen};
use longlens_tui::theme::{Depth, Theme, ThemeName};
use longlens_tui::{screen, shot};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

/// The depths that have colors.
const DEPTHS: [Depth; 3] = [Depth::True, Depth::Ansi256, Depth::Ansi16];
/// Styles that are listed one by one.
const LISTED: usize = 12;
/// Most columns and rows of a sketch.
const SKETCH: (usize, usize) = (48, 12);

/// A workbench with something in each view: a pinned run, a newer one that chooses chunks, the head that finds the
/// needle, and a finished grid.
fn workbench() -> Rig {
    let mut rig = Rig::ready();
    rig.keys("P long_heads ) > > g");
    steady(&mut rig);
    rig
}

/// Puts fixed times, speeds and memory in place of the measured ones. They differ from run to run and with them the
/// lengths of texts and what fits beside them, so blotting out digits in the drawn frame would not do.
fn steady(rig: &mut Headless) {
    for run in &mut rig.app.runs.list {
        run.prefill_seconds = run.prefill_seconds.map(|_| 0.25);
        run.live_speed = run.live_speed.map(|_| 64.0);
        run.speed = run.speed.map(|speed| Speed {
            to_first_token: 0.26,
            prefill: 2024.0,
            decode: Some(64.0),
            peak_memory: Some(112 << 20),
            ..speed
        });
    }
    rig.app.seconds = rig.app.seconds.map(|_| 0.25);
}

/// Draws the state as it is, and asks for nothing.
fn drawn(app: &App, width: u16, height: u16) -> (Buffer, Seen) {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    let seen = screen::draw(app, &mut buffer, None);
    (buffer, seen)
}

/// The text of a frame in the first of the depths, and the colors in each.
fn described(app: &mut App, (width, height): (u16, u16), depths: &[Depth], sketched: bool) -> String {
    let before = app.theme;
    let mut description = String::new();
    let mut first = String::new();
    for depth in depths {
        app.theme.depth = *depth;
        let (mut buffer, seen) = drawn(app, width, height);
        hide_lists(&mut buffer, &seen, app.theme);
        let text = uncounted(&text(&buffer));
        if first.is_empty() {
            writeln!(description, "{text}").unwrap();
            first = text;
        } else {
            for (row, (here, there)) in text.lines().zip(first.lines()).enumerate() {
                if here != there {
                    writeln!(description, "{depth:?} row {row}: {here}").unwrap();
                }
            }
        }
        writeln!(description, "\n{depth:?}\n{}", colors(&buffer)).unwrap();
        let view = seen.hits.iter().find(|(_, hit)| *hit == Hit::View(0));
        if let Some((area, _)) = view.filter(|_| sketched && *depth != Depth::Mono) {
            writeln!(description, "{}", sketch(&buffer, app.theme, *area)).unwrap();
        }
    }
    app.theme = before;
    description
}

/// A frame whose lists do not say how many entries there are.
fn uncounted(text: &str) -> String {
    // at the end of the lower frame
    let count =
        |line: &str| line.strip_suffix('╯')?.trim_end_matches(['─', ' ', '↓']).rsplit_once(" of ")?.1.parse().ok();
    let is_count = |line: &str| count(line).is_some_and(|n: usize| n > 0);
    let hidden = |line: &str| line.replace(|c: char| c.is_ascii_digit(), "#");
    text.split('\n')
        .map(|line| if is_count(line) { hidden(line) } else { line.to_owned() })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Empties what lists all methods and all views in a frame, their keys and the tabs, so that a new one changes no snapshot
/// but those of the lists. Dialogs over them stay.
fn hide_lists(buffer: &mut Buffer, seen: &Seen, theme: Theme) {
    let dialog = seen.hits.iter().find(|(_, hit)| *hit == Hit::Entry(usize::MAX)).map_or(Rect::ZERO, |(area, _)| *area);
    let tabs = seen.hits.iter().filter(|(_, hit)| matches!(hit, Hit::Tab(..))).map(|(area, _)| *area);
    let controls = seen.hits.iter().find(|(_, hit)| *hit == Hit::Controls).map_or(Rect::ZERO, |(area, _)| *area);
    let keys = controls.rows().filter_map(|row| {
        let begins = |(x, sign): (u16, char)| buffer[(row.x + 1 + x, row.y)].symbol() == sign.encode_utf8(&mut [0; 4]);
        // the heading of the methods; the name of the first field stands a cell further in
        let is_heading = !row.is_empty() && row.right() > row.x + 8 && (0..).zip("method ".chars()).all(begins);
        is_heading.then(|| Rect { x: row.x + 8, width: row.width - 9, ..row })
    });
    for place in tabs.chain(keys).collect::<Vec<_>>().into_iter().flat_map(Rect::positions) {
        if !dialog.contains(place) {
            buffer[place].reset();
            buffer[place].set_style(theme.text());
        }
    }
}

/// How many cells have which style, most first. The rare ones, shades of pictures, are told together: how many there
/// are, and a number that is another one when any of them is.
fn colors(buffer: &Buffer) -> String {
    let mut counts = BTreeMap::new();
    for cell in &buffer.content {
        *counts.entry(style(cell)).or_insert(0_usize) += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n)); // stable: by name where there are as many
    let listed = if counts.len() > LISTED + 1 { LISTED } else { counts.len() };
    let mut lines: Vec<String> = counts[..listed].iter().map(|(style, n)| format!("{n:>6}  {style}")).collect();
    let rest = &counts[listed..];
    if !rest.is_empty() {
        let n: usize = rest.iter().map(|(_, n)| n).sum();
        // FNV-1a
        let digest = rest.iter().flat_map(|(style, n)| format!("{style} {n};").into_bytes());
        let digest = digest.fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        lines.push(format!("{n:>6}  in {} more styles, together {digest:08x}", rest.len()));
    }
    lines.join("\n")
}

/// A cell's colors and modifiers; a blank has no ink that could be seen.
fn style(cell: &Cell) -> String {
    let seen = Modifier::REVERSED | Modifier::UNDERLINED;
    let ink = if cell.symbol() == " " && !cell.modifier.intersects(seen) { "blank".into() } else { color(cell.fg) };
    let modifiers = cell.modifier.iter_names().fold(String::new(), |text, (name, _)| text + " " + &name.to_lowercase());
    format!("{ink} on {}{modifiers}", color(cell.bg))
}

fn color(color: Color) -> String {
    match color {
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Indexed(at) => format!("color {at}"),
        Color::Reset => "default".into(),
        named => format!("{named:?}"),
    }
}

/// A picture of a picture: one letter for a block of cells, the commonest color that is not the ground's.
/// `r o y g c b p` are hues from red to purple, capital where light; `. - + #` grays from dark to white.
fn sketch(buffer: &Buffer, theme: Theme, area: Rect) -> String {
    let screen = shot::screen(buffer, theme, None);
    let inside = Rect::new(area.x + 1, area.y + 1, area.width - 2, area.height - 2);
    let (columns, rows) = (usize::from(inside.width), usize::from(inside.height));
    let block = (columns.div_ceil(SKETCH.0), rows.div_ceil(SKETCH.1));
    // what is seen of a cell, where that is not the ground
    let seen = |x: usize, y: usize| {
        let at = (usize::from(inside.y) + y) * screen.columns + usize::from(inside.x) + x;
        let (cell, drawn) = (&buffer.content[at], &screen.cells[at]);
        let is_blank = cell.symbol() == " ";
        let color = if is_blank == cell.modifier.contains(Modifier::REVERSED) { cell.fg } else { cell.bg };
        (color != theme.ground()).then(|| hue(if is_blank { drawn.ground } else { drawn.ink }))
    };
    let letter = |at_x: usize, at_y: usize| {
        let mut counts = BTreeMap::new();
        for y in at_y * block.1..rows.min((at_y + 1) * block.1) {
            for x in at_x * block.0..columns.min((at_x + 1) * block.0) {
                if let Some(letter) = seen(x, y) {
                    *counts.entry(letter).or_insert(0_usize) += 1;
                }
            }
        }
        counts.into_iter().max_by_key(|(_, n)| *n).map_or(' ', |(letter, _)| letter)
    };
    let line = |y| (0..columns.div_ceil(block.0)).map(|x| letter(x, y)).collect::<String>();
    let lines = (0..rows.div_ceil(block.1)).map(|y| format!("  |{}|", line(y)));
    lines.collect::<Vec<_>>().join("\n")
}

/// The letter of a color.
fn hue(Rgb(r, g, b): Rgb) -> char {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let (chroma, luma) = (most - least, (2 * u32::from(r) + 5 * u32::from(g) + u32::from(b)) / 8);
    if chroma < 40 {
        return ['.', '-', '+', '#'][(luma / 64) as usize];
    }
    let [red, green, blue] = [r, g, b].map(f32::from);
    let sixth = match most {
        _ if most == r => ((green - blue) / f32::from(chroma)).rem_euclid(6.0),
        _ if most == g => (blue - red) / f32::from(chroma) + 2.0,
        _ => (red - green) / f32::from(chroma) + 4.0,
    };
    let letter = match sixth {
        0.25..0.75 => 'o',
        0.75..1.4 => 'y',
        1.4..2.5 => 'g',
        2.5..3.4 => 'c',
        3.4..4.3 => 'b',
        4.3..5.6 => 'p',
        _ => 'r',
    };
    if luma >= 128 { letter.to_ascii_uppercase() } else { letter }
}

/// Compares with the file of this name.
fn check(name: &str, description: &str) {
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!(name, description) });
}

/// Every view at a size, in the depths that have colors.
fn every_view(width: u16, height: u16, depths: &[Depth], suffix: &str) {
    let mut rig = workbench();
    for (at, view) in VIEWS.iter().enumerate() {
        rig.show(at);
        rig.app.theme.depth = depths[0];
        // what is computed in the size in which it is shown
        rig.frame(width, height);
        steady(&mut rig);
        let description = described(&mut rig.app, (width, height), depths, true);
        check(&format!("{}_{width}x{height}{suffix}", view.name().to_lowercase()), &description);
    }
}

#[test]
fn every_view_in_80_columns() {
    every_view(80, 24, &DEPTHS, "");
}

#[test]
fn every_view_in_120_columns() {
    every_view(120, 40, &DEPTHS, "");
}

#[test]
fn every_view_in_200_columns() {
    every_view(200, 60, &DEPTHS, "");
}

#[test]
fn every_view_without_colors() {
    every_view(100, 30, &[Depth::Mono], "_no_color");
}

/// A workbench after these keys, in one size.
fn after(name: &str, keys: &str, size: (u16, u16), depths: &[Depth]) {
    let mut rig = Rig::ready();
    rig.keys("long_heads ) > >");
    rig.frame(size.0, size.1);
    rig.keys(keys);
    rig.frame(size.0, size.1);
    steady(&mut rig);
    check(name, &described(&mut rig.app, size, depths, false));
}

#[test]
fn two_views() {
    after("split_beside", "1 | 2", (140, 40), &[Depth::True]);
    after("split_below", "1 | 2", (80, 30), &[Depth::True]);
}

#[test]
fn lists_of_methods_and_views() {
    let mut rig = Rig::ready();
    let lists = |rig: &mut Rig, width| {
        let (buffer, _) = drawn(&rig.app, width, 30);
        text(&buffer).lines().skip(1).take(2).collect::<Vec<_>>().join("\n")
    };
    let wide = lists(&mut rig, 120);
    rig.keys("long_heads 2 |");
    check("lists", &[wide, lists(&mut rig, 80), lists(&mut rig, 160)].join("\n\n"));
}

#[test]
fn dialogs() {
    let all = [Depth::True, Depth::Ansi16, Depth::Mono];
    // behind the methods, and of what no new view is among: either would change the whole frame
    after("dialog_help", &format!("?{}", " down".repeat(METHODS.len())), (80, 24), &all);
    after("dialog_help_end", "? end", (80, 24), &[Depth::True]);
    after("dialog_palette", ": text:zoom down", (80, 24), &all);
    after("dialog_palette_nothing", ": text:zzzz", (80, 24), &[Depth::True]);
    after("dialog_needle", "n tab text:5", (80, 24), &all);
    after("dialog_document", "d text:report.pdf tab text:Who?", (80, 24), &all);
    after("dialog_text", "p text:a enter text:second", (80, 24), &all);
    after("dialog_export", "e", (80, 24), &all);
}

#[test]
fn other_themes() {
    for (name, theme, key) in
        [("theme_light", ThemeName::Light, "1"), ("theme_high_contrast", ThemeName::HighContrast, "6")]
    {
        let mut rig = workbench();
        rig.keys(key);
        rig.app.theme.name = theme;
        rig.frame(100, 30);
        steady(&mut rig);
        check(name, &described(&mut rig.app, (100, 30), &DEPTHS, true));
    }
}

#[test]
fn a_terminal_that_is_too_small() {
    let mut rig = Rig::ready();
    let all = [(79, 24), (80, 23), (44, 5), (20, 2), (1, 1)].map(|size| {
        let frame = described(&mut rig.app, size, &[Depth::True], false);
        format!("{} x {}\n{frame}", size.0, size.1)
    });
    check("too_small", &all.join("\n"));
}

#[test]
fn an_impossible_value_is_typed() {
    let mut rig = Rig::ready();
    rig.keys("long_heads");
    rig.app.layout = Layout::new(rig.app.layout.shown()[0], None);
    rig.app.field = rig.app.field_at(FieldId::Param("chunk_len")).unwrap();
    rig.keys("enter ctrl-u");
    rig.type_text("24");
    rig.frame(100, 30);
    steady(&mut rig);
    check("impossible_typed", &described(&mut rig.app, (100, 30), &DEPTHS, false));
    // taken, it is shown and not run
    rig.keys("enter");
    check("impossible_taken", &described(&mut rig.app, (100, 30), &[Depth::True], false));
}

#[test]
fn before_a_model_is_there_and_when_it_never_is() {
    // nothing that the worker tells is taken in
    let mut rig = Rig::new();
    check("opening", &described(&mut rig.app, (100, 30), &DEPTHS, false));
    let help = "a checkpoint is a folder with config.json and *.safetensors".to_owned();
    let problem = Problem::new("cannot read /models/missing/config.json: no such file", help);
    let mut failed = Headless::new(lens().model().clone(), options(), || Err(problem)).unwrap();
    failed.settle().unwrap();
    check("failed", &described(&mut failed.app, (100, 30), &DEPTHS, false));
}

#[test]
fn an_old_result_steps_back_while_a_new_one_is_computed() {
    let mut rig = Rig::ready();
    rig.frame(100, 30);
    steady(&mut rig);
    rig.key("long_heads");
    check("stale", &described(&mut rig.app, (100, 30), &[Depth::True, Depth::Ansi16], true));
}

/// Calls with a frame of every size from 80 x 24 to 140 x 50. Views, depths, themes and what stands beside the view
/// take turns, so that each meets many sizes.
fn at_every_size(rigs: &mut [Rig], mut check: impl FnMut(&App, &Buffer, &Seen)) {
    const ALL: [Depth; 4] = [Depth::True, Depth::Ansi256, Depth::Ansi16, Depth::Mono];
    let sizes = (24..=50).flat_map(|height| (80..=140).map(move |width| (width, height)));
    for (turn, (width, height)) in sizes.enumerate() {
        let at = turn % rigs.len();
        let app = &mut rigs[at].app;
        let [first, second] = [turn, turn / VIEWS.len() + 1].map(|at| VIEWS[at % VIEWS.len()]);
        app.layout = Layout::new(first, (turn % 3 == 0).then_some(second));
        app.theme = Theme { name: ThemeName::ALL[turn / 4 % 3], depth: ALL[turn / 5 % 4] };
        app.show_log = turn % 11 == 0;
        app.token_color = if turn % 2 == 0 { TokenColor::Loss } else { TokenColor::Attention };
        app.zoom.log = turn % 13 > 3;
        app.field = turn % app.fields().len();
        let (buffer, seen) = drawn(app, width, height);
        check(app, &buffer, &seen);
    }
}

/// A workbench on a text that would break a frame where it is taken as it is.
fn odd() -> Rig {
    let mut rig = Rig::ready();
    rig.keys("p");
    let text =
        "tab\there \u{1b}[31mred\u{7}\u{8}\u{0} é 漢字 e\u{301} 👩\u{200d}🚀 \u{202e}right\u{ad} \u{feff}\u{9b}2J\n\n";
    rig.act(Action::Paste(text.repeat(12)));
    rig.keys("ctrl-s");
    rig.keys("P long_heads");
    steady(&mut rig);
    rig
}

#[test]
fn colors_are_those_that_the_terminal_has() {
    at_every_size(&mut [workbench()], |app, buffer, _| {
        for cell in &buffer.content {
            for color in [cell.fg, cell.bg, cell.underline_color] {
                let is_possible = match app.theme.depth {
                    Depth::True => true,
                    Depth::Ansi256 => !matches!(color, Color::Rgb(..)),
                    Depth::Ansi16 => !matches!(color, Color::Rgb(..) | Color::Indexed(_)),
                    Depth::Mono => color == Color::Reset,
                };
                assert!(
                    is_possible,
                    "{color:?} of `{}` in {:?}, view {:?}",
                    cell.symbol(),
                    app.theme,
                    app.layout.shown()
                );
            }
        }
    });
}

#[test]
fn cells_hold_signs_that_a_terminal_draws_as_they_are() {
    at_every_size(&mut [workbench(), odd()], |app, buffer, _| {
        for (at, cell) in buffer.content.iter().enumerate() {
            let control = cell.symbol().chars().find(|c| is_command(*c));
            let (x, y) = buffer.pos_of(at);
            assert!(control.is_none(), "{control:?} at {x}, {y} of {:?}, view {:?}", buffer.area, app.layout.shown());
        }
    });
}

#[test]
fn nothing_lies_on_the_frames_of_panes() {
    at_every_size(&mut [workbench(), odd()], |app, buffer, seen| {
        let panes = seen
            .hits
            .iter()
            .filter(|(_, hit)| matches!(hit, Hit::Controls | Hit::History | Hit::Tokens | Hit::Output | Hit::View(_)));
        let mut n_panes = 0;
        for (area, hit) in panes {
            n_panes += 1;
            let sign = |x, y| buffer[(x, y)].symbol();
            let told =
                || format!("{hit:?} at {area:?} of {:?}, view {:?}\n{}", buffer.area, app.layout.shown(), text(buffer));
            let (left, right, top, bottom) = (area.x, area.right() - 1, area.y, area.bottom() - 1);
            let corners = [sign(left, top), sign(right, top), sign(left, bottom), sign(right, bottom)];
            assert_eq!(corners, ["╭", "╮", "╰", "╯"], "{}", told());
            for y in top + 1..bottom {
                assert_eq!((sign(left, y), sign(right, y)), ("│", "│"), "row {y}: {}", told());
            }
            for x in left + 1..right {
                assert_eq!(sign(x, bottom), "─", "column {x}: {}", told());
            }
        }
        assert_eq!(n_panes, 4 + app.layout.shown().len());
    });
}
