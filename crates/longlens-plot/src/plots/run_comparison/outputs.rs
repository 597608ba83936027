//! What two runs wrote, line by line.

use std::ops::Range;

use longlens_core::printable::is_command;

use crate::color::{ALARM, GRAY, INK, Rgb, WHITE};
use crate::scene::Face;
use crate::scene::{Anchor, Point, Rect, Scene, Shape, Text};
use crate::text::{MONO_ADVANCE, cells};

/// Width of a character: whole pixels, so that readers that round advances agree.
const PITCH: f64 = 8.0;

/// Characters of a line of output; room for a mark that text was left out stays free.
pub fn columns(width: f64) -> usize {
    ((width - 40.0) / PITCH).max(4.0) as usize
}

/// The index of the first character that differs.
pub fn first_difference([a, b]: &[String; 2]) -> Option<usize> {
    if a == b {
        return None;
    }
    Some(a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count())
}

/// Lines of at most `n_columns` cells with the index of their first character; a line break of the text shows as a sign.
pub fn wrapped(output: &str, n_columns: usize) -> Vec<(usize, String)> {
    let shown = |c: char| match c {
        '\n' => '↵',
        '\t' => '→',
        c if is_command(c) => '·',
        c => c,
    };
    let chars: Vec<char> = output.chars().map(shown).collect();
    let mut lines = Vec::new();
    let mut start = 0;
    while start < chars.len() {
        let mut used = 0;
        let fitting = chars[start..].iter().take_while(|c| {
            used += cells(**c);
            used <= n_columns
        });
        let mut end = start + fitting.count().max(1);
        if end < chars.len() {
            // behind the last blank, unless that leaves half of the line free
            let blank = chars[start..end].iter().rposition(|c| *c == ' ' || *c == '↵');
            end = blank.map(|at| start + at + 1).filter(|at| at - start > (end - start) / 2).unwrap_or(end);
        }
        lines.push((start, chars[start..end].iter().collect()));
        start = end;
    }
    lines
}

/// Which of the lines are shown: from the one before the first difference, or from the first.
pub fn window(lines: &[(usize, String)], parted: Option<usize>, n_lines: usize) -> Range<usize> {
    let holds = parted.map_or(0, |at| lines.iter().take_while(|(start, _)| *start <= at).count().saturating_sub(1));
    let first = if n_lines > 2 { holds.saturating_sub(1) } else { holds };
    let first = first.min(lines.len().saturating_sub(n_lines));
    first..(first + n_lines).min(lines.len())
}

/// One line: gray for the `same` characters that both outputs share, the next one marked if `marked`, the rest in ink.
pub fn draw_line(scene: &mut Scene, (x, y): Point, line: &str, same: usize, marked: bool) {
    let place = |idx: usize| x + line.chars().take(idx).map(cells).sum::<usize>() as f64 * PITCH;
    if marked {
        let ground = Rect { x0: place(same) - 1.0, x1: place(same + 1) + 1.0, y0: y - 8.0, y1: y + 8.0 };
        scene.rect(ground, ALARM);
    }
    let mut part = |columns: Range<usize>, color: Rgb| {
        let text: String = line.chars().skip(columns.start).take(columns.len()).collect();
        // blanks at the ends are only places: not every reader of an SVG keeps them
        let blanks = text.chars().take_while(|c| *c == ' ').count();
        if !text.trim().is_empty() {
            let at = (place(columns.start + blanks), y);
            let text = Text::new(text.trim_matches(' '), at, Anchor::Start, PITCH / MONO_ADVANCE, color);
            scene.shapes.push(Shape::Text(Text { face: Face::Mono, pitch: Some(PITCH), ..text }));
        }
    };
    let behind = if marked { same + 1 } else { same };
    part(0..same, GRAY);
    part(same..behind, WHITE);
    part(behind..line.chars().count().max(behind), INK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_outputs_show_the_lines_around_the_difference() {
        let same = "word ".repeat(400);
        let lines = wrapped(&same, 50);
        assert!(lines.iter().all(|(_, line)| line.chars().count() <= 50));
        assert_eq!(lines.iter().map(|(_, line)| line.as_str()).collect::<String>(), same);
        assert_eq!((window(&lines, Some(1001), 6), window(&lines, None, 6)), (19..25, 0..6));
        assert_eq!(window(&lines, Some(5000), 6), 34..40);
    }
}
