//! What the views of chunks, layers, usage and tokens ask of an inspection at all heads, and what they say while there is none.

use std::ops::Range;

use longlens_app::heads::{Heads, chunks_text};
use longlens_app::pace;
use longlens_app::runs::RunState;
use longlens_app::views::ranking::{HeadOrder, Ranking};
use ratatui::layout::Rect;
use ratatui::text::Span;

use super::super::output::words::shortened;
use crate::app::{App, Opening};
use crate::command::{Command, key};
use crate::pen::Pen;

/// The newest inspection and the needle of its own prompt.
pub struct Inspected<'a> {
    /// Where every head looks.
    pub heads: &'a Heads,
    /// Tokens of the needle.
    pub needle: Option<Range<usize>>,
    /// Its chunks.
    pub chunks: Option<Range<usize>>,
    /// The queries that give the answer, whose choices count for hit rates.
    pub answer: Range<usize>,
    /// Whether some head chose such chunks as are shown.
    pub chooses: bool,
    /// The selected layer and head.
    pub selected: (usize, usize),
    /// Their order, where it is not that of layers.
    pub ranking: Option<&'a Ranking>,
    /// Heads whose output is zeros.
    pub off: Vec<(usize, usize)>,
}

impl<'a> Inspected<'a> {
    /// What there is to show; nothing before the first inspection.
    pub fn of(app: &'a App) -> Option<Self> {
        let (key, heads) = app.heads.keyed()?;
        let (n_layers, n_heads) = heads.shape;
        if n_layers == 0 || n_heads == 0 {
            return None;
        }
        let needle = app.inspected_needle();
        Some(Self {
            heads,
            chunks: needle.as_ref().map(|needle| heads.chunks_of(needle)),
            needle,
            answer: key.answer.clone(),
            chooses: heads.chooses(),
            selected: (app.controls.layer.min(n_layers - 1), app.controls.head.min(n_heads - 1)),
            ranking: app.ranking.as_ref().filter(|ranking| ranking.heads.len() == n_layers * n_heads),
            off: app.switched_off(),
        })
    }

    /// A sign behind the name of a head whose output is zeros.
    pub fn sign(&self, head: (usize, usize)) -> &'static str {
        if self.off.contains(&head) { "×" } else { "" }
    }

    /// Whether heads stand in another order than that of layers.
    pub fn is_ranked(&self) -> bool {
        self.ranking.is_some_and(|ranking| ranking.order != HeadOrder::Layers)
    }

    /// The number that heads stand in the order of, where it is none that is shown anyway.
    pub fn ranked_number(&self, head: (usize, usize)) -> Option<String> {
        let ranking = self.ranking?;
        match ranking.order {
            HeadOrder::Entropy => Some(format!("{:.2}", ranking.number(head))),
            HeadOrder::Distance => Some(format!("{:.0}", ranking.number(head))),
            HeadOrder::Layers | HeadOrder::Score => None,
        }
    }

    /// The head at a place of the list.
    pub fn head_at(&self, place: usize) -> (usize, usize) {
        let listed = self.ranking.and_then(|ranking| ranking.heads.get(place).copied());
        listed.unwrap_or((place / self.heads.shape.1, place % self.heads.shape.1))
    }

    /// The selected head's place in the list.
    pub fn place(&self) -> usize {
        let (layer, head) = self.selected;
        self.ranking.map_or(layer * self.heads.shape.1 + head, |ranking| ranking.place(self.selected))
    }

    /// Layers and heads, all of them.
    pub fn all(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        self.heads.all()
    }

    /// Chosen chunks of a head and whether each was forced; none where it chooses none.
    pub fn picks(&self, layer: usize, head: usize) -> impl Iterator<Item = (usize, bool)> + use<> {
        let picks = if self.chooses { self.heads.picks(layer, head) } else { Vec::new() };
        picks.into_iter().map(|pick| (pick.chunk, pick.is_forced()))
    }

    /// How many heads chose a chunk of the needle, of how many that choose: others attend to every key.
    pub fn choosing(&self) -> (usize, usize) {
        let on_needle = |chunk: usize| self.chunks.as_ref().is_some_and(|chunks| chunks.contains(&chunk));
        self.all().fold((0, 0), |(n, n_heads), (layer, head)| {
            let mut picks = self.picks(layer, head).peekable();
            let chooses = picks.peek().is_some();
            (n + usize::from(picks.any(|(chunk, _)| on_needle(chunk))), n_heads + usize::from(chooses))
        })
    }

    /// Attention on the needle.
    pub fn on_needle(&self, layer: usize, head: usize) -> Option<f32> {
        self.needle.as_ref().map(|needle| self.heads.on(layer, head, needle))
    }

    /// How often a head's choices held the needle, of how many.
    pub fn hits(&self, layer: usize, head: usize) -> Option<(usize, usize)> {
        let hits = self.heads.hits(layer, head, self.needle.as_ref().filter(|_| self.chooses)?, &self.answer);
        Some(hits).filter(|(_, n)| *n > 0)
    }

    /// The needle's chunks in words.
    pub fn needle_name(&self) -> Option<String> {
        self.chunks.as_ref().map(chunks_text)
    }
}

/// A share as a whole number of percent.
pub fn percent(share: f32) -> String {
    format!("{:.0}%", 100.0 * share)
}

/// Says why there is nothing yet, and what to do.
pub fn placeholder(app: &App, area: Rect, pen: &mut Pen) {
    let theme = pen.theme;
    let (text, help, style) = match (&app.opening, app.run().map(|run| &run.state)) {
        (Opening::Failed(problem), _) => {
            (format!("the model cannot be opened: {}", problem.message), problem.help.clone(), theme.alarm())
        }
        (Opening::Waiting, _) => ("opening the model…".to_owned(), None, theme.text()),
        _ if app.prompt.waiting().is_some() => ("building the prompt…".to_owned(), None, theme.text()),
        (_, Some(RunState::Failed(problem))) => {
            let help = problem.help.clone().unwrap_or_else(|| format!("press {} to run again", key(Command::Rerun)));
            (problem.message.clone(), Some(help), theme.alarm())
        }
        _ if app.work.is_busy() => (computing(app), None, theme.text()),
        (_, None) => {
            let help = format!("{} takes a file, {} types one", key(Command::OpenFile), key(Command::TypeText));
            (format!("press {} to build a needle prompt", key(Command::Needle)), Some(help), theme.text())
        }
        (_, Some(_)) => (format!("press {} to run the prompt", key(Command::Rerun)), None, theme.text()),
    };
    let told = |text: &str, style| {
        let lines = wrapped(text, usize::from(area.width.saturating_sub(2)));
        lines.into_iter().map(|line| (line, style)).collect::<Vec<_>>()
    };
    let help = help.map_or_else(Vec::new, |help| told(&help, theme.faint()));
    // where not all of it fits, what it begins with; the pane of the output has the rest
    let begins = text.split_once(": ").map_or(text.as_str(), |(begins, _)| begins);
    let ways = [[told(&text, style), help].concat(), told(&text, style), told(begins, style)];
    let fits = ways.iter().find(|lines| lines.len() <= usize::from(area.height));
    let lines = fits.unwrap_or(&ways[2]).iter().take(usize::from(area.height)).collect::<Vec<_>>();
    let y = area.y + (area.height - lines.len() as u16) / 2;
    for (row, (line, style)) in lines.iter().enumerate() {
        let x = area.x + area.width.saturating_sub(Span::raw(line.as_str()).width() as u16) / 2;
        pen.text(x, y + row as u16, &shortened(line, area.right() - x), area.right() - x, *style);
    }
}

/// How far the work is, and how long it will take where that is known.
fn computing(app: &App) -> String {
    let progress = app.work.progress().filter(|progress| progress.done > 0);
    match (progress.and_then(|progress| Some((progress, progress.left()?))), app.seconds) {
        (Some((progress, left)), _) => {
            let percent = 100 * progress.done / progress.total.max(1);
            format!("computing… {} {percent}%, {} left", progress.what, pace::text(left))
        }
        (None, Some(seconds)) if app.run().is_some_and(|run| run.state == RunState::Running) => {
            format!("computing… about {}", pace::text(seconds))
        }
        _ => "computing…".to_owned(),
    }
}

/// Words in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Joins parts with ` · ` as long as they fit; the first always stands.
pub fn joined(parts: &[String], width: usize) -> String {
    let mut text = String::new();
    for part in parts {
        let longer = text.chars().count() + 3 + part.chars().count();
        match text.is_empty() {
            true => text.push_str(part),
            false if longer <= width => {
                text.push_str(" · ");
                text.push_str(part);
            }
            false => (),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use longlens_app::Problem;
    use longlens_app::settings::Settings;
    use longlens_app::steps::Start;
    use longlens_app::worker::Event;
    use longlens_core::lens::Lens;
    use longlens_core::scripted::ScriptedLens;
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::app::{Action, Options};
    use crate::panes;
    use crate::pen::Seen;
    use crate::theme::{Depth, ThemeName};

    #[test]
    fn parts_that_do_not_fit_are_left_out() {
        let parts = ["needle: chunk 17", "chosen by 5 of 24 heads", "tokens 1–2"].map(str::to_owned);
        assert_eq!(joined(&parts, 80), "needle: chunk 17 · chosen by 5 of 24 heads · tokens 1–2");
        assert_eq!(joined(&parts, 30), "needle: chunk 17 · tokens 1–2");
        assert_eq!(joined(&parts, 3), "needle: chunk 17");
    }

    #[test]
    fn before_there_is_something_to_show_the_next_step_is_told() {
        let lens = ScriptedLens::saying("ok");
        let start = Start { model: "scripted".into(), ..Start::default() };
        let mut app = App::new(
            lens.model().clone(),
            Options {
                start,
                write_steps: |_, _, steps, _| Ok(format!("{steps:?}")),
                settings: Settings::default(),
                prompt: None,
                theme: ThemeName::Dark,
                depth: Depth::True,
                resume: None,
                hint: false,
                notes: Vec::new(),
            },
        );
        let text = |app: &App, width, height| {
            let area = Rect::new(0, 0, width, height);
            let mut text = String::new();
            for draw in [panes::chunks::draw, panes::layers::draw, panes::tokens::draw] {
                let (mut buffer, mut seen) = (Buffer::empty(area), Seen::default());
                draw(app, area, &mut Pen { buffer: &mut buffer, theme: app.theme, seen: &mut seen, cell_pixels: None });
                text.extend(buffer.content.iter().map(ratatui::buffer::Cell::symbol));
            }
            text
        };
        assert_eq!(text(&app, 40, 3).matches("opening the model…").count(), 3);
        let job = |app: &mut App, event| drop(app.update(Action::Job(event)));
        job(&mut app, Event::Opened(Ok(Box::new(lens.model().clone()))));
        assert_eq!(text(&app, 40, 3).matches("building the prompt…").count(), 3);
        job(&mut app, Event::Prompt(1, Err(Problem::new("no such file", None))));
        job(&mut app, Event::Idle(1));
        assert_eq!(text(&app, 40, 3).matches("press n to build a needle prompt").count(), 3);
        app.opening = Opening::Failed(Problem::new("no file weights.safetensors", "give a folder".to_owned()));
        assert_eq!(text(&app, 70, 3).matches("the model cannot be opened: no file weights.safetensors").count(), 3);
        // the help is in the pane of the output
        assert_eq!(text(&app, 40, 1).matches("the model cannot be opened").count(), 3);
        assert!(!text(&app, 40, 1).contains("no file"));
        for (width, height) in (1..30).flat_map(|width| (1..6).map(move |height| (width, height))) {
            text(&app, width, height);
        }
    }

    #[test]
    fn long_messages_are_broken_between_words() {
        assert_eq!(wrapped("press n to build", 8), ["press n", "to build"]);
        assert_eq!(wrapped("unbreakable a", 0), ["unbreakable", "a"]);
    }
}
