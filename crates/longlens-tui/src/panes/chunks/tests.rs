use longlens_app::heads::Heads;
use longlens_core::lens::{Lens, Rows, Setup};
use longlens_core::methods::Method;
use longlens_core::scripted::ScriptedLens;
use ratatui::buffer::Buffer;

use super::*;
use crate::pen::Seen;
use crate::theme::ThemeName;

/// Where the needle of [`heads`] stands.
const NEEDLE: Range<usize> = 20..24;

/// An inspection from token 63; head 2 of layer 1 looks at the needle.
fn heads(method: &str, chunk_len: usize) -> Heads {
    let inspect = |layer, head, _, key| if (layer, head) == (1, 2) && NEEDLE.contains(&key) { 50.0 } else { 1.0 };
    let mut lens = ScriptedLens::saying("ok").attending(inspect);
    let method = Method::parse(method).unwrap();
    let setup = Setup { keep_queries: true, ..Setup::new(&method, &lens.model().spec, 64).unwrap() };
    lens.begin(&setup).unwrap();
    lens.feed(&[9; 64], Rows::None, &mut ()).unwrap();
    let watch = Heads::watch(lens.model(), 63, 60..63, chunk_len);
    Heads::new(lens.inspect(&watch, &mut ()).unwrap(), 63).unwrap()
}

fn inspected(heads: &Heads, selected: (usize, usize)) -> Inspected<'_> {
    let chunks = Some(heads.chunks_of(&NEEDLE));
    Inspected {
        heads,
        needle: Some(NEEDLE),
        chunks,
        answer: 60..63,
        chooses: heads.chooses(),
        selected,
        ranking: None,
        off: Vec::new(),
    }
}

/// The pane's rows as text, and what a click would hit.
fn drawn(inspected: &Inspected, depth: Depth, width: u16, height: u16) -> (Vec<String>, Seen) {
    let area = Rect::new(0, 0, width, height);
    let (mut buffer, mut seen) = (Buffer::empty(area), Seen::default());
    let theme = Theme { name: ThemeName::Dark, depth };
    let mut pen = Pen { buffer: &mut buffer, theme, seen: &mut seen, cell_pixels: None };
    show(inspected, area, true, &mut pen);
    let row = |row: &[ratatui::buffer::Cell]| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
    (buffer.content.chunks(usize::from(width)).map(row).collect(), seen)
}

#[test]
fn choices_and_the_needle_are_told_in_signs_and_words() {
    let heads = heads("long_heads:chunk_len=4,attention_len=16", 4);
    let inspected = inspected(&heads, (1, 2));
    let (rows, seen) = drawn(&inspected, Depth::True, 84, 14);
    let text = rows.join("\n");
    for part in ["needle: chunk 5", "chosen by 1 of 8 heads", "hit 3/3", "▼", "always 0 14 15 · chunk:score 5:"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let row = |name: &str| rows.iter().find(|row| row.contains(name)).unwrap();
    // chunks 0, 14 and 15 are always chosen
    assert_eq!((row("L1 H2").matches('○').count(), row("L1 H2").matches('●').count()), (3, 1));
    assert!(row("L1 H2").contains("3/3") && row("L0 H0").contains("0/3"));
    let y = rows.iter().position(|row| row.contains("L1 H2")).unwrap() as u16;
    assert_eq!(seen.at(30, y).map(|(_, hit)| hit), Some(Hit::Head(1, 2)));
}

#[test]
fn without_colors_the_signs_of_choices_tell_how_much() {
    let theme = Theme { name: ThemeName::Dark, depth: Depth::Mono };
    let signs = |mark| [0.0, 0.5, 1.0].map(|amount| chosen(theme, mark, Pixel::Amount(amount)));
    assert_eq!((signs(Mark::Chosen), signs(Mark::Forced)), (['o', 'O', '@'], ['-', '=', '#']));
    assert_eq!(chosen(theme, Mark::Chosen, Pixel::Empty), 'o');
    let heads = heads("long_heads:chunk_len=4,attention_len=16", 4);
    let text = drawn(&inspected(&heads, (1, 2)), Depth::Mono, 50, 14).0.join("\n");
    assert!(text.contains('@') && text.contains("oO@ chosen -=# always") && text.contains("≤ 1e-4"), "{text}");
    assert!(!text.contains('●'), "{text}");
}

#[test]
fn rows_that_are_out_of_sight_are_told() {
    let heads = heads("long_heads:chunk_len=4,attention_len=16", 4);
    let text = drawn(&inspected(&heads, (1, 2)), Depth::True, 44, 11).0.join("\n");
    assert!(text.contains("rows 2–8 of 8") && text.contains("chunk 5 chosen by 1 of 8"), "{text}");
    let text = drawn(&inspected(&heads, (1, 2)), Depth::True, 30, 11).0.join("\n");
    assert!(text.contains("needle: chunk 5 rows 2–8 of 8"), "{text}");
}

#[test]
fn without_choices_there_are_no_signs_of_them() {
    let heads = heads("full", 4);
    let text = drawn(&inspected(&heads, (0, 0)), Depth::Mono, 84, 14).0.join("\n");
    assert!(text.contains("needle: chunk 5 · most from L1 H2") && !text.contains("chosen by"), "{text}");
    assert!(!text.contains('●') && !text.contains("hit"), "{text}");
    assert!(text.contains('[') && text.contains(']'), "without colors the needle stands in brackets\n{text}");
}

#[test]
fn the_selected_head_is_shown_at_every_size() {
    for (method, chunk_len) in [("long_heads:chunk_len=4,attention_len=16", 4), ("full", 1), ("full", 64)] {
        let heads = heads(method, chunk_len);
        for (width, height) in (1..100).step_by(3).flat_map(|width| (1..32).map(move |height| (width, height))) {
            for selected in [(0, 0), (1, 3)] {
                let (_, seen) = drawn(&inspected(&heads, selected), Depth::Ansi16, width, height);
                let hit = Hit::Head(selected.0, selected.1);
                assert!(seen.hits.iter().any(|(_, seen)| *seen == hit), "{selected:?} in {width} x {height}");
                let inside = Rect::new(0, 0, width, height);
                assert!(seen.hits.iter().all(|(area, _)| area.intersection(inside) == *area));
            }
        }
    }
}

#[test]
fn layers_are_apart_where_there_is_room() {
    let heads = heads("full", 4);
    let inspected = inspected(&heads, (0, 0));
    let gap = |height| Layout::new(&inspected, Rect::new(0, 0, 80, height)).gap;
    assert_eq!([gap(10), gap(30)], [0, 1]);
    let layout = Layout::new(&inspected, Rect::new(0, 0, 80, 7));
    assert_eq!(layout.heads.len(), 4, "{layout:?}");
}
