//! What each run wrote, side by side, the first token at which they part marked.

use longlens_app::runs::{Run, divergence};
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::side;
use crate::panes::attention::notes::{Notes, clean, fitting, wide};
use crate::pen::Pen;

/// Narrower than this the texts stand below each other.
const SIDE_BY_SIDE: u16 = 36;

/// Both texts, as far as there is room; the marked tokens are always seen.
pub fn draw(runs: [&Run; 2], notes: &mut Notes, pen: &mut Pen) {
    let theme = pen.theme;
    let [a, b] = runs;
    let parted = divergence(&a.generated, &b.generated);
    let (n_a, n_b) = (a.generated.len(), b.generated.len());
    let caption = match parted {
        _ if n_a.max(n_b) == 0 => "nothing was written yet".to_owned(),
        Some(0) => "they part at the first token".to_owned(),
        Some(at) => format!("they part after {at} {}", if at == 1 { "token" } else { "tokens" }),
        None if n_a == n_b => "both wrote the same".to_owned(),
        None => format!("{} goes on after {} tokens", if n_a > n_b { "A" } else { "B" }, n_a.min(n_b)),
    };
    let style = if parted.is_some() { theme.alarm() } else { theme.faint() };
    notes.line(pen, vec![Span::styled(caption, style)]);
    let room = notes.left;
    let halves = if room.width >= SIDE_BY_SIDE {
        let width = (room.width - 2) / 2;
        [Rect { width, ..room }, Rect { x: room.x + width + 2, width, ..room }]
    } else {
        let height = room.height / 2;
        [Rect { height, ..room }, Rect { y: room.y + height, height: room.height - height, ..room }]
    };
    for (at, (run, room)) in runs.into_iter().zip(halves).enumerate() {
        text(run, parted, side(theme, at), room, pen);
    }
}

fn text(run: &Run, parted: Option<usize>, style: Style, room: Rect, pen: &mut Pen) {
    if room.width < 3 || room.height == 0 {
        return;
    }
    let theme = pen.theme;
    let lines = lines(&run.pieces, usize::from(room.width) - 2);
    let marked = parted.and_then(|token| lines.iter().position(|line| line.iter().any(|(at, _)| *at == token)));
    // the marked line stands in the middle of what does not fit
    let height = usize::from(room.height);
    let first = marked.unwrap_or(0).saturating_sub(height / 2).min(lines.len().saturating_sub(height));
    for (y, line) in (room.y..room.bottom()).zip(&lines[first..]) {
        pen.text(room.x, y, "▌", 1, style);
        let spans = line.iter().map(|(at, piece)| {
            let style = match parted {
                Some(parted) if *at == parted => theme.alarm().add_modifier(Modifier::REVERSED),
                Some(parted) if *at < parted => theme.faint(),
                _ => theme.text(),
            };
            Span::styled(piece.clone(), style)
        });
        pen.line(room.x + 2, y, &Line::from(spans.collect::<Vec<_>>()), room.width - 2);
    }
    let mark = match run.found {
        _ if lines.len() >= height => return,
        Some(true) => ("✓ key found", theme.good()),
        Some(false) => ("✗ key not found", theme.alarm()),
        None => return,
    };
    let y = room.y + lines.len() as u16;
    pen.text(room.x, y, "▌", 1, style);
    pen.text(room.x + 2, y, mark.0, room.width - 2, mark.1);
}

/// Tokens in lines of at most `width` cells: each part with the token that it is of. A line ends where the text has one.
fn lines(pieces: &[String], width: usize) -> Vec<Vec<(usize, String)>> {
    let width = width.max(1);
    let mut lines = vec![Vec::new()];
    let mut taken = 0;
    for (at, piece) in pieces.iter().enumerate() {
        let mut rest = clean(piece);
        // a token goes to the next line whole where it fits there
        if taken > 0 && taken + wide(&rest) > width && wide(&rest) <= width {
            lines.push(Vec::new());
            taken = 0;
        }
        while !rest.is_empty() {
            let mut part = fitting(&rest, width - taken);
            if part.is_empty() {
                if taken > 0 {
                    lines.push(Vec::new());
                    taken = 0;
                    continue;
                }
                part = rest.chars().take(1).collect();
            }
            if let Some(end) = part.find('⏎') {
                part.truncate(end + '⏎'.len_utf8());
            }
            rest.drain(..part.len());
            taken += wide(&part);
            let ends = part.ends_with('⏎') || taken >= width;
            if let Some(line) = lines.last_mut() {
                line.push((at, part));
            }
            if ends {
                lines.push(Vec::new());
                taken = 0;
            }
        }
    }
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(pieces: &[&str], width: usize) -> Vec<String> {
        let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        let show = |line: Vec<(usize, String)>| {
            let parts: Vec<_> = line.iter().map(|(at, part)| format!("{at}:{part}")).collect();
            parts.join(" ")
        };
        lines(&pieces, width).into_iter().map(show).collect()
    }

    #[test]
    fn tokens_stay_whole_and_know_their_place() {
        assert_eq!(wrapped(&["ab", "cd", "ef"], 5), ["0:ab 1:cd", "2:ef"]);
        assert_eq!(wrapped(&["abcdefg", "h"], 3), ["0:abc", "0:def", "0:g 1:h"]);
        assert_eq!(wrapped(&["a\nb", "c"], 9), ["0:a⏎", "0:b 1:c"]);
        assert_eq!(wrapped(&["漢", "", "字"], 1), ["0:漢", "2:字"]);
        assert!(wrapped(&[], 4).is_empty());
    }
}
