//! What stands around the cells of heads × chunks: numbers of chunks above, words and a legend below.

use longlens_app::views::ranking::HeadOrder;
use longlens_plot::color::ColorScale;
use ratatui::layout::{Position, Rect};
use ratatui::text::Span;

use super::super::output::words::shortened;
use super::columns::{self, bar};
use super::inspected::{Inspected, joined, percent};
use super::{ALWAYS, CHOSEN, Layout, label, most};
use crate::panes::attention::notes::cut;
use crate::pen::Pen;
use crate::theme::{Depth, Pixel, Theme};

/// Most rows of the selected head's profile.
const PROFILE: u16 = 12;
/// Cells of the legend's colors.
const RAMP: usize = 6;

/// Tokens, chunks and the needle's place.
pub fn header(inspected: &Inspected, layout: &Layout, pen: &mut Pen) {
    let mut y = layout.area.y;
    let theme = pen.theme;
    if layout.above.tokens {
        ticks(layout, y, "token", inspected.heads.chunk_len, pen);
        y += 1;
    }
    let chunks_y = y;
    if layout.above.chunks {
        ticks(layout, y, "chunk", 1, pen);
        y += 1;
    }
    // where rows are few, the mark lies over the numbers
    let needle_y = if layout.above.needle { y } else { chunks_y };
    if let Some(chunks) = inspected.chunks.as_ref().filter(|_| layout.above.chunks) {
        let columns = layout.columns.of(chunks);
        let width = columns.len() * layout.columns.cells;
        pen.text(layout.x(columns.start), needle_y, &"▼".repeat(width), width as u16, theme.alarm());
        if layout.above.needle {
            pen.text(layout.area.x + 1, needle_y, "needle", layout.cells.x - layout.area.x - 1, theme.alarm());
        }
    }
    let (x, width) = layout.numbers;
    if width > 0 && layout.above.chunks {
        let order = inspected.ranking.map_or(HeadOrder::Layers, |ranking| ranking.order);
        let first = match order {
            HeadOrder::Entropy => "nats",
            HeadOrder::Distance => "tokens",
            _ if inspected.needle.is_some() => "needle",
            _ => "most on",
        };
        let has_hits = inspected.ranked_number((0, 0)).is_none();
        let text = format!(" {first:>0$}", usize::from(width) - 1);
        pen.text(x, chunks_y, &text, layout.area.right().saturating_sub(x), theme.faint());
        if has_hits && inspected.hits(0, 0).is_some() {
            let rest = layout.area.right().saturating_sub(x + width);
            pen.text(x + width, chunks_y, " hit", rest, theme.faint());
        }
    }
}

/// A row of numbers: the first of what every column holds.
fn ticks(layout: &Layout, y: u16, what: &str, factor: usize, pen: &mut Pen) {
    let (columns, style) = (layout.columns, pen.theme.faint());
    let gutter = layout.cells.x - layout.area.x;
    pen.text(layout.area.x + 1, y, what, gutter.saturating_sub(1), style);
    let digits = (columns.n_chunks.saturating_sub(1) * factor).to_string().len();
    let end = layout.cells.right();
    for column in (0..columns.n).step_by(columns.tick_step(digits)) {
        let text = (column * columns.per * factor).to_string();
        let x = layout.x(column) + (columns.cells.saturating_sub(text.len()) / 2) as u16;
        if usize::from(end.saturating_sub(x)) >= text.len() {
            pen.text(x, y, &text, text.len() as u16, style);
        }
    }
}

/// The selected head's attention on every chunk as bars below its columns, where rows are left.
pub fn profile(inspected: &Inspected, layout: &Layout, pen: &mut Pen) {
    let rest = layout.rest;
    if rest.height < 4 || rest.width == 0 {
        return;
    }
    let (theme, height) = (pen.theme, (rest.height - 2).min(PROFILE));
    let (layer, head) = inspected.selected;
    let mass = inspected.heads.mass(layer, head);
    let top = columns::largest(mass);
    let y = rest.y + 1;
    let gutter = layout.cells.x - layout.area.x;
    pen.text(layout.area.x + 1, y, &label(inspected.selected), gutter.saturating_sub(1), theme.accent());
    let text = format!("‾ {} linear", percent(top));
    pen.text(rest.right(), y, &text, layout.area.right() - rest.right(), theme.faint());
    let needle = inspected.chunks.as_ref().map_or(0..0, |chunks| layout.columns.of(chunks));
    for (column, mass) in layout.columns.pool(mass).enumerate() {
        let share = if top > 0.0 { mass / top } else { 0.0 };
        let eighths = (share * 8.0 * f32::from(height)).round() as usize;
        let style = if needle.contains(&column) { theme.text().patch(theme.alarm()) } else { theme.series(0) };
        // a blank cell between wide bars
        let width = if layout.columns.cells > 2 { layout.columns.cells - 1 } else { layout.columns.cells };
        for row in 0..height.min(eighths.div_ceil(8) as u16) {
            for at in 0..width {
                let place = Position::new(layout.x(column) + at as u16, y + height - 1 - row);
                if let Some(cell) = pen.buffer.cell_mut(place) {
                    cell.set_char(bar(eighths, usize::from(row))).set_style(style);
                }
            }
        }
    }
}

/// The needle in words, the selected head in words, the legend.
pub fn foot(inspected: &Inspected, layout: &Layout, scale: ColorScale, pen: &mut Pen) {
    let (area, theme) = (layout.area, pen.theme);
    let mut y = area.bottom();
    let line = |y: u16| Rect { x: area.x + 1, y, width: area.width.saturating_sub(1), height: 1 };
    if layout.foot.legend {
        y -= 1;
        legend(inspected, layout, line(y), scale, pen);
    }
    if layout.foot.detail {
        y -= 1;
        let row = line(y);
        let name = format!("{} ", label(inspected.selected));
        let taken = pen.text(row.x, y, &name, row.width, theme.accent());
        let text = detail(inspected, usize::from(row.width - taken));
        pen.text(row.x + taken, y, &text, row.width - taken, theme.text());
    }
    if layout.foot.summary {
        y -= 1;
        let row = line(y);
        let style = if inspected.needle.is_some() { theme.text().patch(theme.alarm()) } else { theme.text() };
        let (shown, n) = (&layout.heads, inspected.heads.shape.0 * inspected.heads.shape.1);
        let rows =
            if shown.len() < n { format!("rows {}–{} of {n}", shown.start + 1, shown.end) } else { String::new() };
        // which rows are shown comes first, then the needle's chunk and who chose it, in few words where there is no room
        let (parts, width) = (summary(inspected), rows.chars().count() as u16);
        let rest = if width > 0 && width < row.width { row.width - width - 1 } else { row.width };
        let least = joined(&parts[..parts.len().min(2)], usize::MAX).chars().count();
        let text = match brief(inspected) {
            Some(brief) if least > usize::from(rest) && brief.chars().count() <= usize::from(rest) => brief,
            _ => joined(&parts, usize::from(rest)),
        };
        pen.text(row.x, y, &shortened(&text, rest), rest, style);
        pen.text(row.right() - width.min(row.width), y, &shortened(&rows, row.width), width, theme.faint());
    }
}

/// What all heads do with the needle.
pub fn summary(inspected: &Inspected) -> Vec<String> {
    let (Some(needle), Some(name)) = (&inspected.needle, inspected.needle_name()) else {
        let len = inspected.heads.chunk_len;
        return vec![
            format!("{} chunks of {len} tokens", inspected.heads.n_chunks()),
            "no needle in this prompt".into(),
        ];
    };
    if needle.start > inspected.heads.query {
        return vec![format!("needle: {name}"), "behind this query".into()];
    }
    let mut parts = vec![format!("needle: {name}")];
    if inspected.chooses {
        let (n, n_heads) = inspected.choosing();
        parts.push(format!("chosen by {n} of {n_heads} heads"));
    }
    let share = |at: &(usize, usize)| inspected.on_needle(at.0, at.1).unwrap_or(0.0);
    let best = inspected.all().map(|at| (at, share(&at))).reduce(|best, at| if at.1 > best.1 { at } else { best });
    parts.extend(best.map(|(at, share)| format!("most from {}{} {}", label(at), inspected.sign(at), percent(share))));
    parts.push(format!("tokens {}–{}", needle.start, needle.end - 1));
    parts
}

/// The needle's chunks and how many heads chose them, in few words.
fn brief(inspected: &Inspected) -> Option<String> {
    let (needle, name) = (inspected.needle.as_ref()?, inspected.needle_name()?);
    if !inspected.chooses || needle.start > inspected.heads.query {
        return None;
    }
    let (n, n_heads) = inspected.choosing();
    Some(format!("▼ {name} chosen by {n} of {n_heads}"))
}

/// What the selected head does.
fn detail(inspected: &Inspected, width: usize) -> String {
    let (layer, head) = inspected.selected;
    let on_needle = inspected.on_needle(layer, head).map(|share| format!("needle {}", percent(share)));
    let off = Some("switched off".to_owned()).filter(|_| !inspected.sign((layer, head)).is_empty());
    let mut parts: Vec<String> = off.into_iter().chain(on_needle).collect();
    parts.extend(inspected.hits(layer, head).map(|(hit, n)| format!("hit {hit}/{n}")));
    let mass = inspected.heads.mass(layer, head);
    if !inspected.chooses {
        parts.extend(most(mass).map(|(chunk, mass)| format!("most on chunk {chunk} {}", percent(mass))));
        parts.extend(mass.first().map(|mass| format!("first chunk {}", percent(*mass))));
        parts.extend(mass.last().map(|mass| format!("its own chunk {}", percent(*mass))));
        return joined(&parts, width);
    }
    let mut picks = inspected.heads.picks(layer, head);
    let forced = picks.iter().filter(|pick| pick.is_forced()).take(6);
    let always: Vec<String> = forced.map(|pick| pick.chunk.to_string()).collect();
    if !always.is_empty() {
        parts.push(format!("always {}", always.join(" ")));
    }
    picks.retain(|pick| !pick.is_forced());
    picks.sort_by(|a, b| b.score.unwrap_or(0.0).total_cmp(&a.score.unwrap_or(0.0)));
    if picks.is_empty() {
        parts.push("none by score".to_owned());
        return joined(&parts, width);
    }
    // chunk and score of as many picks as fit, the best first
    let mut text = joined(&parts, width);
    let mut before = " · chunk:score ";
    let mut n_cells = text.chars().count();
    for pick in picks {
        let told = format!("{before}{}:{:.2}", pick.chunk, pick.score.unwrap_or(0.0)).replace('-', "−");
        n_cells += told.chars().count();
        if n_cells > width {
            break;
        }
        text.push_str(&told);
        before = " ";
    }
    text
}

fn legend(inspected: &Inspected, layout: &Layout, row: Rect, scale: ColorScale, pen: &mut Pen) {
    // in many words, in few, then without the signs that are told elsewhere
    let ways = [(true, true), (false, true), (false, false)];
    let width = usize::from(row.width);
    let ways = ways.map(|(is_long, has_needle)| words(inspected, layout, (is_long, has_needle), scale, pen.theme));
    let fits = |spans: &Vec<Span>| spans.iter().map(Span::width).sum::<usize>() <= width;
    let [long, short, least] = ways;
    let spans = [long, short].into_iter().find(fits).unwrap_or(least);
    pen.line(row.x, row.y, &cut(spans, width), row.width);
}

/// What the signs and the colors of the cells mean.
fn words(
    inspected: &Inspected,
    layout: &Layout,
    (is_long, has_needle): (bool, bool),
    scale: ColorScale,
    theme: Theme,
) -> Vec<Span<'static>> {
    let mut spans: Vec<Span> = Vec::new();
    let mut sign = |sign: &'static str, style, long: &'static str, short: &'static str| {
        spans.push(Span::styled(sign, style));
        spans.push(Span::styled(if is_long { format!(" {long}  ") } else { format!(" {short} ") }, theme.faint()));
    };
    if inspected.chooses && theme.depth == Depth::Mono {
        sign(CHOSEN, theme.text(), "chosen: little–much", if has_needle { "chosen: little–much" } else { "chosen" });
        sign(ALWAYS, theme.text(), "always chosen", "always");
    } else if inspected.chooses {
        sign("●", theme.text(), "chosen", "chosen");
        sign("○", theme.text(), "always chosen", "always");
    }
    if has_needle && inspected.needle.is_some() {
        sign("▼", theme.alarm(), "needle's chunk", "needle");
    }
    if !inspected.off.is_empty() {
        sign("×", theme.text(), "switched off", "off");
    }
    let (low, name) = match scale {
        ColorScale::Linear => ("0", "linear"),
        ColorScale::Log { .. } => ("≤ 1e-4", "log"),
    };
    let what = if theme.depth == Depth::Mono { "shade" } else { "colour" };
    spans.push(Span::styled(
        if is_long { format!("{what}: attention, {name} {low} ") } else { format!("{name} {low} ") },
        theme.faint(),
    ));
    spans.extend(ramp(theme, if is_long { RAMP } else { RAMP / 2 }));
    spans.push(Span::styled(" 1", theme.faint()));
    let per = layout.columns.per;
    if per > 1 {
        let text = if is_long { format!("  {per} chunks a column") } else { format!(" {per}/col") };
        spans.push(Span::styled(text, theme.warn()));
    }
    spans
}

/// The colors from nothing to all.
pub fn ramp(theme: Theme, n: usize) -> impl Iterator<Item = Span<'static>> {
    (0..n).map(move |at| {
        let pixel = Pixel::Amount(at as f64 / (n.max(2) - 1) as f64);
        if theme.depth == Depth::Mono {
            Span::raw(Theme::shade(pixel).to_string())
        } else {
            Span::styled(" ", theme.ink_on(pixel))
        }
    })
}
