//! What the newest run says, and how fast; or what happened, line by line.

use std::ops::Range;

use longlens_app::Problem;
use longlens_app::bytes;
use longlens_app::runs::{Run, RunState};
use longlens_eval::generate::StopReason;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::app::{App, Level, Opening};
use crate::pen::Pen;
use crate::theme::Theme;

use words::{count, rate, seconds, wrap};

#[cfg(test)]
pub(super) mod rig;
pub(crate) mod words;

/// Characters of the prompt that stand before the answer.
const TAIL: usize = 40;
/// Bytes of a text that can be scrolled through.
const KEPT: usize = 1 << 14;

/// Draws the pane's inside.
pub fn draw(app: &App, area: Rect, pen: &mut Pen) {
    if app.show_log {
        return log(app, area, pen);
    }
    let Some(run) = app.run() else {
        let theme = pen.theme;
        let mut passage = Passage::default();
        match &app.opening {
            Opening::Failed(problem) => passage.problem(problem, theme),
            Opening::Waiting => passage.push("the model is being opened", theme.faint()),
            Opening::Done if app.prompt.waiting().is_some() => passage.push("the prompt is being made", theme.faint()),
            Opening::Done => passage.push("no run yet: n p o give a prompt", theme.faint()),
        }
        return scrolled(&passage.lines(area.width), app.scroll, area, pen);
    };
    // the text keeps at least as many rows as what is known about it
    let facts = packed(facts(app, run, pen.theme), area.width, (usize::from(area.height) / 2).min(3));
    let n_facts = facts.len() as u16;
    let body = Rect { height: area.height.saturating_sub(n_facts), ..area };
    let passage = said(run, pen.theme);
    scrolled(&passage.lines(body.width), app.scroll, body, pen);
    for (row, line) in facts.iter().enumerate() {
        pen.line(area.x, body.bottom() + row as u16, line, area.width);
    }
}

/// The end of the prompt, then the text; or what went wrong.
fn said(run: &Run, theme: Theme) -> Passage {
    let mut passage = Passage::default();
    if let RunState::Failed(problem) = &run.state {
        passage.problem(problem, theme);
        return passage;
    }
    let pieces = run.prompt.as_ref().map_or(&[][..], |prompt| &prompt.pieces);
    passage.push(&tail(pieces, TAIL), theme.faint());
    passage.push(newest(&run.output), theme.text());
    if matches!(run.state, RunState::Running | RunState::Generating) {
        passage.push("▌", theme.accent());
    }
    passage
}

/// The last characters of a prompt, on one line.
fn tail(pieces: &[String], n: usize) -> String {
    let mut last: Vec<char> = pieces.iter().rev().flat_map(|piece| piece.chars().rev()).take(n + 1).collect();
    if last.len() > n {
        last[n] = '…';
    }
    last.into_iter().rev().map(|c| if c == '\n' { '⏎' } else { c }).collect()
}

/// The end of a text, from a place that moves seldom, so that lines stay where they were broken.
fn newest(text: &str) -> &str {
    let start = text.len().saturating_sub(KEPT).next_multiple_of(KEPT / 4).min(text.len());
    &text[text.floor_char_boundary(start)..]
}

/// One thing that is known about a run; of higher ranks is told less often.
#[derive(Debug, Clone, PartialEq)]
struct Fact {
    rank: u8,
    text: String,
    style: Style,
}

/// What is known about a run so far.
fn facts(app: &App, run: &Run, theme: Theme) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |rank, text: String, style| facts.push(Fact { rank, text, style });
    let key = run.prompt.as_ref().and_then(|prompt| prompt.needle.as_ref()).map(|needle| needle.key.as_str());
    match run.found {
        Some(true) => add(0, "✓ key found".to_owned(), theme.good()),
        Some(false) => add(0, format!("✗ key {} missed", key.unwrap_or_default()).replace("  ", " "), theme.alarm()),
        None => (),
    }
    let n_prompt = run.prompt.as_ref().map_or(run.record.n_prompt, |prompt| prompt.tokens.len());
    match (&run.state, run.prefill_seconds) {
        (RunState::Running, _) => {
            let progress = app.work.progress().filter(|progress| progress.total > 0);
            let share = progress.map_or(String::new(), |now| format!("{} % of ", 100 * now.done / now.total));
            add(0, format!("prefill {share}{} tok", count(n_prompt)), theme.warn());
        }
        (_, Some(took)) if run.base.is_some() => {
            let first = run.nll_from.saturating_sub(1).min(n_prompt);
            let text = format!("{} tok anew in {}", count(n_prompt - first), seconds(took));
            add(3, text, theme.text());
        }
        (_, Some(took)) => {
            let speed = run.speed.map_or(String::new(), |speed| format!(" ({} tok/s)", rate(speed.prefill)));
            let n_kept = run.nll_from.saturating_sub(1).min(n_prompt);
            let kept = if n_kept > 0 { format!("{} kept + ", count(n_kept)) } else { String::new() };
            let text = format!("prefill {kept}{} tok in {}{speed}", count(n_prompt - n_kept), seconds(took));
            add(3, text, theme.text());
        }
        (_, None) => (),
    }
    if let Some(speed) = run.speed {
        add(2, format!("first token {}", seconds(speed.to_first_token)), theme.text());
    }
    if let Some(decode) = run.speed.map_or(run.live_speed, |speed| speed.decode) {
        add(1, format!("{} tok/s", rate(decode)), theme.text());
    }
    if let Some(peak) = run.speed.and_then(|speed| speed.peak_memory) {
        add(5, format!("peak {}", bytes::text(peak as usize)), theme.text());
    }
    let stopped = run.speed.map(|speed| match speed.stop {
        StopReason::MaxTokens => format!("{} tok: max_tokens", count(run.generated.len())),
        StopReason::Eos => "ended by itself".to_owned(),
        StopReason::StopString => "stop string".to_owned(),
        StopReason::Cancelled => String::new(),
    });
    if run.state == RunState::Cancelled {
        add(0, "◼ cancelled".to_owned(), theme.warn());
    } else if let Some(text) = stopped.filter(|text| !text.is_empty()) {
        add(4, text, theme.faint());
    }
    match &run.base {
        Some(base) => {
            let text = format!("reuse-kv: keys of deeper layers come from {}", base.method);
            add(1, text, theme.warn());
        }
        None => add(6, run.settings.swap.name().to_owned(), theme.faint()),
    }
    facts
}

/// The facts in at most so many lines; those of the highest rank are left out first.
fn packed(mut facts: Vec<Fact>, width: u16, n_rows: usize) -> Vec<Line<'static>> {
    loop {
        let mut lines: Vec<Line> = Vec::new();
        let mut room = 0;
        for fact in &facts {
            let cells = Span::raw(&fact.text).width();
            let span = Span::styled(fact.text.clone(), fact.style);
            match lines.last_mut() {
                Some(line) if cells + 3 <= room => {
                    line.spans.extend([Span::raw(" · "), span]);
                    room -= cells + 3;
                }
                _ => {
                    room = usize::from(width).saturating_sub(cells);
                    lines.push(Line::from(span));
                }
            }
        }
        if lines.len() <= n_rows {
            return lines;
        }
        let Some((last, _)) = facts.iter().enumerate().rev().max_by_key(|(_, fact)| fact.rank) else { return lines };
        facts.remove(last);
    }
}

/// What happened, newest at the bottom.
fn log(app: &App, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    if app.log.lines().is_empty() {
        pen.text(area.x, area.y, "nothing happened yet", area.width, theme.faint());
        return;
    }
    let wanted = app.scroll.saturating_add(usize::from(area.height));
    let mut lines: Vec<Line> = Vec::new(); // newest first
    for (level, text) in app.log.lines().iter().rev() {
        let (sign, style) = match level {
            Level::Note => ("· ", theme.text()),
            Level::Warning => ("! ", theme.warn()),
            Level::Error => ("✗ ", theme.alarm()),
        };
        for (at, place) in wrap(text, area.width.saturating_sub(2)).into_iter().enumerate().rev() {
            let sign = Span::styled(if at == 0 { sign } else { "  " }, style);
            lines.push(Line::from(vec![sign, Span::styled(&text[place], style)]));
        }
        if lines.len() >= wanted {
            break;
        }
    }
    lines.reverse();
    scrolled(&lines, app.scroll, area, pen);
}

/// The lines that are shown: the last ones, or those so many further up.
fn visible(n_lines: usize, n_rows: usize, scroll: usize) -> Range<usize> {
    let end = n_lines - scroll.min(n_lines.saturating_sub(n_rows));
    end.saturating_sub(n_rows)..end
}

/// Draws the visible lines, and how many lie below them.
fn scrolled(lines: &[Line], scroll: usize, area: Rect, pen: &mut Pen) {
    pen.seen.scroll_max = lines.len().saturating_sub(usize::from(area.height));
    let seen = visible(lines.len(), usize::from(area.height), scroll);
    let below = lines.len() - seen.end;
    for (row, line) in lines[seen].iter().enumerate() {
        pen.line(area.x, area.y + row as u16, line, area.width);
    }
    if below > 0 && area.height > 0 {
        let text = format!(" ↓ {below} ");
        let width = (text.chars().count() as u16).min(area.width);
        pen.text(area.right() - width, area.bottom() - 1, &text, width, pen.theme.selected());
    }
}

/// Text in parts of different styles.
#[derive(Debug, Default)]
struct Passage {
    text: String,
    /// Where each part ends.
    parts: Vec<(usize, Style)>,
}

impl Passage {
    fn push(&mut self, text: &str, style: Style) {
        self.text.push_str(text);
        self.parts.push((self.text.len(), style));
    }

    /// What went wrong, and what helps.
    fn problem(&mut self, problem: &Problem, theme: Theme) {
        self.push(&format!("✗ {}", problem.message), theme.alarm());
        if let Some(help) = &problem.help {
            self.push(&format!("\n{help}"), theme.text());
        }
    }

    fn lines(&self, width: u16) -> Vec<Line<'_>> {
        let line = |place: Range<usize>| {
            let mut start = place.start;
            let mut spans = Vec::new();
            for (end, style) in &self.parts {
                let end = place.end.min(*end);
                if end > start {
                    spans.push(Span::styled(&self.text[start..end], *style));
                    start = end;
                }
            }
            Line::from(spans)
        };
        wrap(&self.text, width).into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use longlens_app::runs::Speed;
    use longlens_app::settings::Settings;

    use super::rig::{app, everywhere, run, shown};
    use super::*;

    #[test]
    fn scrolling_ends_at_the_first_line() {
        assert_eq!(visible(10, 3, 0), 7..10);
        assert_eq!(visible(10, 3, 2), 5..8);
        assert_eq!(visible(10, 3, usize::MAX / 4), 0..3);
        assert_eq!(visible(2, 3, 9), 0..2);
    }

    #[test]
    fn a_run_tells_what_is_known_as_it_becomes_known() {
        let mut app = app();
        run(&mut app, "full");
        let state = shown(draw, &app, 100, 6);
        assert!(state.contains('…') && state.contains('▌') && state.contains("prefill 506 tok"), "{state}");
        let first = app.runs.list.last_mut().unwrap();
        first.state = RunState::Done;
        (first.output, first.found, first.prefill_seconds) = ("12346".into(), Some(false), Some(0.02));
        let stop = StopReason::MaxTokens;
        let peak_memory = Some(112 << 20);
        first.speed = Some(Speed { to_first_token: 0.025, prefill: 25_300.0, decode: Some(1234.4), peak_memory, stop });
        let text = shown(draw, &app, 120, 6);
        let key = &app.prompt.answer().unwrap().needle.as_ref().unwrap().key;
        let facts = ["prefill 506 tok in 0.02 s (25,300 tok/s) · first token 0.03 s", "1,234 tok/s", "peak 112.0 MiB"];
        for fact in facts {
            assert!(text.contains(fact), "{fact} is missing:\n{text}");
        }
        assert!(text.contains(&format!("✗ key {key} missed")) && text.contains("is12346"), "{text}");
        // little room: the answer and how fast it came
        let text = shown(draw, &app, 46, 3);
        assert!(text.contains("missed") && text.contains("tok/s") && !text.contains("peak"), "{text}");
        everywhere(draw, &app);
    }

    #[test]
    fn reuse_and_problems_are_told() {
        let mut app = app();
        let one = run(&mut app, "full");
        (one.base, one.prefill_seconds, one.nll_from) = (Some(Settings::default()), Some(0.001), 506);
        one.state = RunState::Done;
        let text = shown(draw, &app, 100, 6);
        assert!(text.contains("1 tok anew in 1.0 ms") && text.contains("deeper layers come from full"), "{text}");
        run(&mut app, "full").state = RunState::Failed(Problem::new("no memory", "shorten the prompt".to_owned()));
        let text = shown(draw, &app, 100, 6);
        assert!(text.contains("✗ no memory\nshorten the prompt"), "{text}");
        everywhere(draw, &app);
    }

    #[test]
    fn a_model_that_cannot_be_opened_is_told_with_what_helps() {
        let mut app = app();
        assert!(shown(draw, &app, 40, 3).contains("the model is being opened"));
        app.opening = Opening::Failed(Problem::new("cannot read config.json", "give a folder".to_owned()));
        assert_eq!(shown(draw, &app, 40, 3).trim_end(), "✗ cannot read config.json\ngive a folder");
        everywhere(draw, &app);
    }

    #[test]
    fn the_log_shows_its_end_and_scrolls() {
        let mut app = app();
        app.show_log = true;
        for at in 0..20 {
            app.log.say(if at == 19 { Level::Error } else { Level::Note }, format!("line {at} of the log"));
        }
        assert_eq!(shown(draw, &app, 30, 2), "· line 18 of the log\n✗ line 19 of the log");
        app.scroll = 3;
        let text = shown(draw, &app, 30, 2);
        assert!(text.starts_with("· line 15") && text.contains("↓ 3"), "{text}");
        everywhere(draw, &app);
    }

    #[test]
    fn the_ends_of_texts_are_whole_characters() {
        assert_eq!(tail(&["ab".into(), "c\nd".into()], 3), "…c⏎d");
        assert_eq!(newest("short"), "short");
        let long = format!("a{}", "é".repeat(KEPT));
        assert!((KEPT / 2..=KEPT).contains(&newest(&long).len()));
    }
}
