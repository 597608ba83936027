//! Relative positions of the method: at which distance each query sees each key, and which distances were never trained.

use std::cell::RefCell;
use std::rc::Rc;

use longlens_app::Problem;
use longlens_app::settings::Checked;
use longlens_core::plan::{Capacity, HeadPlan, Prefill, Relation};
use longlens_core::trace::MapWindow;
use longlens_plot::Heading;
use longlens_plot::plots::{PositionMap, Seen};
use ratatui::layout::Rect;
use ratatui::text::Span;

use self::words::{parts_of, position, reach_of, rule_of};
use super::attention::notes::{Notes, explain, number, swatch};
use super::attention::square::Square;
use crate::app::App;
use crate::export::{self, Content};
use crate::pen::{Pen, Raster};
use crate::theme::Pixel;
use crate::view::View;

mod words;

/// Columns that the panel beside the map needs.
const PANEL: u16 = 20;
/// Cells of a side of the map at most, as in exported pictures; larger images show each cell as a block.
const MAX_SIDE: usize = 256;

/// What is drawn: a plan over a text.
struct Planned {
    /// What the selected head does.
    rule: HeadPlan,
    n_tokens: usize,
    /// Positions from this on were never trained; past the text where the scaling follows the length.
    trained: usize,
}

/// Relative positions of the method.
pub struct PositionsView;

impl View for PositionsView {
    fn name(&self) -> &'static str {
        "Positions"
    }

    fn help(&self) -> &'static str {
        "relative positions of the method"
    }

    fn hints(&self) -> &'static str {
        "tab next pane"
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        export::contents::positions(app)
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        draw(app, area, pen);
    }
}

fn draw(app: &App, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let (checked, problem) = draft(app);
    let Some(checked) = checked else {
        let why = problem.map_or_else(String::new, ToString::to_string);
        let lead = "these settings give no positions:";
        return explain(pen, area, &[(lead, theme.text()), (&why, theme.alarm())]);
    };
    let n_prompt = app.n_prompt();
    let n_tokens = if n_prompt > 0 { n_prompt } else { 2 * app.model.spec.trained_context }.max(1);
    let trained = checked.forecast.trained.unwrap_or(usize::MAX >> 8);
    let rule = checked.plan.of(app.controls.layer, app.controls.head).clone();
    let planned = Planned { rule, n_tokens, trained };

    let window = MapWindow { query: 0, key: 0, len: n_tokens };
    let Some(mut square) = Square::fit(pen, area, window) else { return };
    if n_tokens < square.size.0 {
        square = square.even(pen, n_tokens, 1);
    }
    let side = square.size.0.min(square.size.1).clamp(1, MAX_SIDE);
    if pen.cell_pixels.is_some() {
        square.size = (side, side); // an image is stretched over its cells anyway
    }
    let map = planned.map(side);
    let (width, height) = square.size;
    let at = |x: usize, y: usize| map.cells[y * side / height * side + x * side / width];
    let top = map.top;
    pen.raster(square.area, &Raster::new(width, height, |x, y| pixel(at(x, y), top)));
    if problem.is_some() {
        pen.dim(square.area);
    }
    square.axes(pen, &(0..0));
    square.mark_query(pen, app.query(), theme.accent());

    let x = square.outside().right() + 2;
    let width = area.right().saturating_sub(x);
    if width >= PANEL {
        panel(app, &planned, (&checked, problem), &map, pen, Rect { x, width, ..area });
    }
}

/// What the controls ask for, a typed value included; where that is impossible, why, and what the newest run has.
fn draft(app: &App) -> (Option<Checked>, Option<&Problem>) {
    let typed = app.edit.as_ref().map(|edit| &edit.verdict);
    match (typed.unwrap_or(&app.verdict), &app.verdict) {
        (Ok(checked), _) => (Some(checked.clone()), None),
        (Err(problem), Ok(checked)) => (Some(checked.clone()), Some(problem)),
        (Err(problem), Err(_)) => {
            let newest = app.current.as_ref().and_then(|run| run.settings.check(&app.opened, app.n_prompt()).ok());
            (newest, Some(problem))
        }
    }
}

/// The cells of a map and the position of the palette's upper end.
struct Cells {
    cells: Vec<Seen>,
    top: f64,
}

/// What a map was computed from: rule, tokens, trained positions, cells of a side.
type Key = (HeadPlan, usize, usize, usize);

thread_local! {
    // frames come faster than plans change; each of two views may be shown in its own size
    static NEWEST: RefCell<Vec<(Key, Rc<Cells>)>> = const { RefCell::new(Vec::new()) };
}

/// Maps that are kept.
const KEPT: usize = 2;

impl Planned {
    /// The map in `side` cells, computed anew only when something changed.
    fn map(&self, side: usize) -> Rc<Cells> {
        let key = (self.rule.clone(), self.n_tokens, self.trained, side);
        NEWEST.with_borrow_mut(|kept| {
            if let Some((_, cells)) = kept.iter().find(|(known, _)| *known == key) {
                return cells.clone();
            }
            let (rule, n_tokens, trained_context) = (self.rule.clone(), self.n_tokens, self.trained);
            let map = PositionMap { heading: Heading::default(), rule, n_tokens, trained_context };
            let cells = Rc::new(Cells { cells: map.cells(side), top: map.top() });
            kept.insert(0, (key, cells.clone()));
            kept.truncate(KEPT);
            cells
        })
    }

    fn relation(&self, query: usize, key: usize) -> Relation {
        self.rule.relation(query, key, Prefill { n_tokens: self.n_tokens })
    }

    /// What a query sees at a key.
    fn seen(&self, query: usize, key: usize) -> Seen {
        Seen::of(self.relation(query, key), self.trained)
    }
}

fn pixel(seen: Seen, top: f64) -> Pixel {
    match seen {
        Seen::Hidden => Pixel::Empty,
        Seen::At(position) => Pixel::Amount(position / top.max(1.0)),
        Seen::Depends => Pixel::Muted,
        Seen::Untrained => Pixel::Alarm,
    }
}

/// What the colors mean, what the plan warns of, and where the selected query stands.
fn panel(
    app: &App,
    planned: &Planned,
    (checked, problem): (&Checked, Option<&Problem>),
    map: &Cells,
    pen: &mut Pen,
    area: Rect,
) {
    let theme = pen.theme;
    let mut notes = Notes::new(area);
    let low = area.height < 16;
    if let Some(problem) = problem {
        notes.text(pen, &problem.to_string(), theme.alarm(), 4);
        notes.text(pen, "shown: the settings before", theme.faint(), 2);
    }
    if !low {
        notes.text(pen, &checked.plan.method, theme.accent(), 2);
        if checked.plan.rules().len() > 1 {
            let text = format!("layer {}, head {}", app.controls.layer, app.controls.head);
            notes.line(pen, vec![Span::styled(text, theme.faint())]);
        }
    }
    let what = if low { "positions" } else { "relative positions" };
    let what = format!("{what}, {} tokens", planned.n_tokens);
    notes.line(pen, vec![Span::styled(what, theme.text())]);
    notes.color_bar(pen, ("0", &number(map.top)), Pixel::Amount);
    let trained = checked.forecast.trained;
    let mut legend = Vec::new();
    if map.cells.contains(&Seen::Untrained) {
        let from = trained.map_or_else(String::new, |trained| format!(" (≥ {trained})"));
        let ways = [format!(" never trained{from}"), " never trained".to_owned()];
        let text = notes.fitting(1, &ways.each_ref().map(String::as_str)).to_owned();
        legend.push(vec![swatch(theme, Pixel::Alarm), Span::styled(text, theme.alarm())]);
    }
    if map.cells.contains(&Seen::Depends) {
        let text = notes.fitting(1, &[" seen if its chunk is chosen", " seen if chosen"]);
        legend.push(vec![swatch(theme, Pixel::Muted), Span::styled(text, theme.text())]);
    }
    for line in legend {
        notes.line(pen, line);
    }
    if !low {
        notes.gap(6);
    }
    let highest = planned.rule.highest_position(planned.n_tokens);
    let beyond = trained.is_some_and(|trained| highest >= trained as f64);
    let style = if beyond { theme.alarm() } else { theme.text() };
    let trained = trained.map_or_else(|| "any length".to_owned(), |trained| format!("up to {}", trained.max(1) - 1));
    notes.line_with(
        pen,
        vec![Span::styled(format!("highest {}", position(highest)), style)],
        vec![Span::styled(format!(", trained {trained}"), theme.text())],
    );
    let capacity = match checked.forecast.capacity {
        Capacity::Tokens(n_tokens) => format!("capacity {n_tokens} tokens"),
        Capacity::Unlimited => "capacity unlimited".to_owned(),
    };
    notes.line(pen, vec![Span::styled(capacity, theme.text())]);
    for warning in &checked.forecast.warnings {
        notes.text(pen, &format!("! {warning}"), theme.warn(), if low { 2 } else { 4 });
    }
    if !low {
        notes.gap(6);
        spans(planned, &mut notes, pen);
        notes.gap(6);
    }
    query(app, planned, map.top, &mut notes, pen);
}

/// What keys that the data chooses are called.
const CHOSEN: &str = "chosen";

/// The rules of the plan by name.
fn spans(planned: &Planned, notes: &mut Notes, pen: &mut Pen) {
    let theme = pen.theme;
    let chosen = planned.rule.choice.map(|_| CHOSEN);
    let names = planned.rule.spans.iter().map(|span| span.name).chain(chosen);
    let wide = names.map(str::len).max().unwrap_or(0);
    for span in &planned.rule.spans {
        notes.line(
            pen,
            vec![
                Span::styled(format!("{:<wide$}  ", span.name), theme.accent()),
                Span::styled(reach_of(&span.reach), theme.text()),
            ],
        );
        if let Some(rule) = rule_of(span) {
            notes.line(pen, vec![Span::styled(format!("  at {rule}"), theme.faint())]);
        }
    }
    if let Some(choice) = planned.rule.choice {
        let from = planned.rule.first_choice(Prefill { n_tokens: planned.n_tokens });
        let text = format!("{} chunks of {} from query {from}", choice.n_slots, choice.chunk_len);
        notes.line(
            pen,
            vec![Span::styled(format!("{CHOSEN:<wide$}  "), theme.accent()), Span::styled(text, theme.text())],
        );
    }
}

/// Where the selected query stands: what it sees in words, and its position relative to each key as a curve.
fn query(app: &App, planned: &Planned, top: f64, notes: &mut Notes, pen: &mut Pen) {
    const HIGHEST: u16 = 6;
    let theme = pen.theme;
    let query = if app.n_prompt() > 0 { app.query() } else { planned.n_tokens - 1 };
    notes.line_with(
        pen,
        vec![Span::styled("▶ ", theme.accent()), Span::styled(format!("query {query} sees"), theme.text())],
        vec![Span::styled(if query < planned.n_tokens { "" } else { " (generated)" }, theme.faint())],
    );
    let lead = if notes.left.width < 30 { "" } else { "keys " };
    for (keys, what) in parts_of(planned, query) {
        let style = if what.contains('!') { theme.alarm() } else { theme.text() };
        let keys = format!("{}–{}", keys.start, keys.end - 1);
        let short = what.replace("in ", "").replace(" of ", "/");
        let ways = [format!("  {lead}{keys} {what}"), format!("  {keys} {what}"), format!("  {keys} {short}")];
        let text = notes.fitting(0, &ways.each_ref().map(String::as_str)).to_owned();
        notes.line(pen, vec![Span::styled(text, style)]);
    }
    if notes.left.height < 3 {
        return;
    }
    notes.gap(4);
    let rows = notes.rows(HIGHEST.min(notes.left.height.saturating_sub(1)));
    curve(planned, query, top, rows, pen);
    let row = notes.rows(1);
    let last = format!("key {query}");
    pen.text(row.x, row.y, "key 0", row.width, theme.faint());
    let wide = last.len() as u16;
    if row.width > wide + 8 {
        pen.text(row.right() - wide, row.y, &last, wide, theme.faint());
    }
}

/// The relative position of every key as a bar, the highest trained one as high as the rows.
fn curve(planned: &Planned, query: usize, top: f64, rows: Rect, pen: &mut Pen) {
    const PARTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (theme, columns) = (pen.theme, usize::from(rows.width));
    for column in 0..columns {
        let key = (2 * column + 1) * (query + 1) / (2 * columns);
        let seen = planned.seen(query, key.min(query));
        let (style, eighths) = match seen {
            Seen::Hidden => continue,
            Seen::At(position) => {
                let share = (position / top.max(1.0)).clamp(0.0, 1.0);
                (theme.accent(), (share * f64::from(rows.height) * 8.0).round().max(1.0) as usize)
            }
            Seen::Depends => (theme.faint(), 1),
            Seen::Untrained => (theme.alarm(), usize::from(rows.height) * 8),
        };
        for row in 0..rows.height {
            let part = eighths.saturating_sub(usize::from(rows.height - 1 - row) * 8).min(8);
            let sign = if part == 8 && seen == Seen::Untrained { '▒' } else { PARTS[part] };
            pen.text(rows.x + column as u16, rows.y + row, sign.encode_utf8(&mut [0; 4]), 1, style);
        }
    }
}
