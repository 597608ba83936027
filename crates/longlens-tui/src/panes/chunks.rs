//! Chunks of the text, all heads together: how many heads chose each of them, or how much attention they pay it.

use std::ops::Range;

use longlens_app::Problem;
use longlens_app::npz::Array;
use longlens_app::runs::RunId;
use longlens_app::steps::Picture;
use longlens_plot::plots::{Axis, Kind, LinePlot, LinePoint, LineSeries};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;
use serde_json::json;

use super::heads::columns::{Columns, bar};
use super::heads::looked::{Looked, percent, placeholder};
use super::map::notes::{Notes, clean};
use crate::app::App;
use crate::export::csv::{Csv, flag, number};
use crate::export::{self, Content};
use crate::pen::Pen;
use crate::view::{Arrows, Step, View};

/// Chunks of the text, all heads together.
pub struct ChunksView;

/// Cells of the shares at the left.
const LABELS: u16 = 6;

impl View for ChunksView {
    fn name(&self) -> &'static str {
        "Chunks"
    }

    fn help(&self) -> &'static str {
        "how many heads chose each chunk of the text"
    }

    fn hints(&self) -> &'static str {
        "←→ query"
    }

    fn title(&self, app: &App) -> String {
        let query = app.heads.key().map_or(app.query(), |key| key.query);
        format!("{} · query {query} · all heads", self.name())
    }

    fn run(&self, app: &App) -> Option<RunId> {
        app.heads.key().map(|key| key.run)
    }

    fn is_stale(&self, app: &App) -> bool {
        app.heads.is_stale()
    }

    fn step(&self, _app: &App, Arrows { down, right, far }: Arrows) -> Step {
        if down != 0 { Step::Run(down) } else { Step::Query(right * if far { 16 } else { 1 }) }
    }

    fn draw(&self, app: &App, area: Rect, pen: &mut Pen) {
        let Some(looked) = Looked::of(app) else { return placeholder(app, area, pen) };
        let usage = Usage::of(&looked);
        let mut notes = Notes::new(area);
        notes.line(pen, vec![Span::styled(usage.summary(&looked), pen.theme.text())]);
        // bars and their axis; the chunks used most below them, where a taller pane has room
        let n_listed = (notes.left.height / 3).min(6);
        let plot = notes.rows(notes.left.height.saturating_sub(n_listed));
        bars(&looked, &usage, plot, pen);
        for chunk in usage.order().take(usize::from(n_listed)) {
            let style = usage.ink(chunk, &looked, pen);
            let tokens = chunk * looked.heads.chunk_len..((chunk + 1) * looked.heads.chunk_len).min(app.n_fed());
            let text: String = tokens.map(|token| app.piece(token)).collect();
            let share = Span::styled(format!("chunk {chunk:>4} {:>4} ", percent(usage.shares[chunk])), style);
            notes.line(pen, vec![share, Span::styled(clean(&text), pen.theme.faint())]);
        }
    }

    fn export(&self, app: &App) -> Result<Content, Problem> {
        let (run, heads) = export::looks::looked(app)?;
        let looked = Looked::of(app).ok_or_else(|| export::nothing(app, "no attention"))?;
        let usage = Usage::of(&looked);
        let mut csv = Csv::new(&["chunk", "first_token", "share", "always", "needle"]);
        for (chunk, share) in usage.shares.iter().enumerate() {
            let first = chunk * heads.chunk_len;
            let is_needle = usage.needle.contains(&chunk);
            csv.row([chunk.to_string(), first.to_string(), number(*share), flag(usage.always[chunk]), flag(is_needle)]);
        }
        let heading = export::heading(app, run, &heads.run);
        let points = usage.shares.iter().enumerate().map(|(at, share)| LinePoint::new(at as f64, f64::from(*share)));
        let axis = |name: &str| Axis { name: name.to_owned(), ..Axis::default() };
        let figure = LinePlot {
            title: format!("{} of each chunk of {} tokens, query {}", usage.what, heads.chunk_len, heads.query),
            subtitle: format!("{} · {}", heading.title, heading.subtitle),
            kind: Kind::Bar,
            x: axis("chunk"),
            y: axis(usage.what),
            series: vec![LineSeries { name: String::new(), points: points.collect() }],
            ..LinePlot::default()
        };
        let fields = [
            ("view", json!("chunks")),
            ("share", json!(usage.what)),
            ("n_heads", json!(usage.n_heads)),
            ("query", json!(heads.query)),
            ("chunk_len", json!(heads.chunk_len)),
        ];
        Ok(Content {
            figure: Box::new(figure),
            csv: csv.finish(),
            arrays: vec![Array::list("share", usage.shares.clone())],
            about: export::with(export::about(app, run, &heads.run), &fields),
            picture: Picture::Other("chunks, all heads together".into()),
            settings: run.settings.clone(),
        })
    }
}

/// What all heads together do with each chunk.
struct Usage {
    /// What the shares are of.
    what: &'static str,
    /// The share of the heads that chose a chunk; where nothing is chosen, its attention as a mean over all heads.
    shares: Vec<f32>,
    /// Whether a chunk is in every choice by rule, whatever it scores.
    always: Vec<bool>,
    /// Heads that count.
    n_heads: usize,
    /// Chunks of the needle.
    needle: Range<usize>,
}

impl Usage {
    fn of(looked: &Looked) -> Self {
        let n_chunks = looked.heads.n_chunks();
        let needle = looked.chunks.clone().unwrap_or(0..0);
        let (mut chosen, mut always, mut n_heads) = (vec![0.0; n_chunks], vec![false; n_chunks], 0);
        for (layer, head) in looked.all() {
            let before = n_heads;
            for (chunk, is_forced) in looked.picks(layer, head) {
                n_heads = before + 1;
                chosen[chunk] += 1.0;
                always[chunk] |= is_forced;
            }
        }
        if n_heads > 0 {
            let shares = chosen.iter().map(|n| n / n_heads as f32).collect();
            return Self { what: "share of heads that chose it", shares, always, n_heads, needle };
        }
        let mut sums = vec![0.0; n_chunks];
        for (layer, head) in looked.all() {
            for (sum, mass) in sums.iter_mut().zip(looked.heads.mass(layer, head)) {
                *sum += mass;
            }
        }
        let n_heads = looked.all().count();
        let shares = sums.iter().map(|sum| sum / n_heads as f32).collect();
        Self { what: "mean attention of all heads", shares, always, n_heads, needle }
    }

    /// Chunks by their share, the largest first; those that every choice holds come last.
    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let mut order: Vec<usize> = (0..self.shares.len()).filter(|chunk| self.shares[*chunk] > 0.0).collect();
        order.sort_by(|a, b| self.always[*a].cmp(&self.always[*b]).then(self.shares[*b].total_cmp(&self.shares[*a])));
        order.into_iter()
    }

    /// One line: what is shown, and how much of it falls on the needle.
    fn summary(&self, looked: &Looked) -> String {
        let used = self.shares.iter().filter(|share| **share > 0.0).count();
        let most = self.needle.clone().map(|chunk| self.shares[chunk]).fold(0.0, f32::max);
        let needle =
            looked.needle_name().map_or(String::new(), |name| format!(" · needle in {name}: {}", percent(most)));
        if looked.chooses && self.n_heads > 0 {
            let n_chunks = self.shares.len();
            return format!("{} heads chose {used} of {n_chunks} chunks{needle}", self.n_heads);
        }
        format!("mean attention of {} heads on each chunk{needle}", self.n_heads)
    }

    fn ink(&self, chunk: usize, looked: &Looked, pen: &Pen) -> Style {
        match () {
            () if self.needle.contains(&chunk) => pen.theme.alarm(),
            () if looked.chooses && self.always[chunk] => pen.theme.faint(),
            () => pen.theme.accent(),
        }
    }
}

/// A bar for every chunk, or the tallest of those that share a column, above the numbers of the chunks.
fn bars(looked: &Looked, usage: &Usage, area: Rect, pen: &mut Pen) {
    let columns = Columns::fit(usage.shares.len(), usize::from(area.width.saturating_sub(LABELS)));
    let height = area.height.saturating_sub(1);
    if height == 0 || columns.n == 0 {
        return;
    }
    let top = if looked.chooses { 1.0 } else { usage.shares.iter().copied().fold(1e-6, f32::max) };
    pen.text(area.x, area.y, &format!("{:>5}", percent(top)), LABELS, pen.theme.faint());
    let x = |column: usize| area.x + LABELS + (column * columns.cells) as u16;
    for column in 0..columns.n {
        let chunks = column * columns.per..((column + 1) * columns.per).min(usage.shares.len());
        // the needle's chunk stands for its column: it is what one looks for
        let tallest = |a: &usize, b: &usize| usage.shares[*a].total_cmp(&usage.shares[*b]);
        let needle = chunks.clone().find(|chunk| usage.needle.contains(chunk));
        let Some(chunk) = needle.or_else(|| chunks.max_by(tallest)) else { continue };
        let eighths = (usage.shares[chunk] / top * 8.0 * f32::from(height)).round() as usize;
        let style = usage.ink(chunk, looked, pen);
        // a cell between bars that are wide enough for one
        let wide = columns.cells - usize::from(columns.cells > 2);
        for row in 0..usize::from(height) {
            let sign = bar(eighths, row).to_string().repeat(wide);
            pen.text(x(column), area.y + height - 1 - row as u16, &sign, wide as u16, style);
        }
    }
    let (y, digits) = (area.y + height, usage.shares.len().to_string().len());
    pen.text(area.x, y, "chunk", LABELS, pen.theme.faint());
    for column in (0..columns.n).step_by(columns.tick_step(digits)) {
        let text = (column * columns.per).to_string();
        let room = area.right().saturating_sub(x(column));
        if usize::from(room) >= text.len() {
            pen.text(x(column), y, &text, room, pen.theme.faint());
        }
    }
}

#[cfg(test)]
mod tests {
    use longlens_app::heads::Heads;
    use longlens_core::lens::Lens;
    use longlens_core::scripted::ScriptedLens;

    use super::*;

    /// All heads of a model under a method, after 64 tokens with a needle in the third of eight chunks.
    fn usage(method: &str) -> (Usage, String) {
        use longlens_core::lens::{Rows, Setup};
        let mut lens = ScriptedLens::saying("ok").attending(|_, _, _, key| if key / 8 == 2 { 9.0 } else { 1.0 });
        let method = longlens_core::methods::Method::parse(method).unwrap();
        let watch = Heads::watch(lens.model(), 63, 63..63, 8);
        let setup = Setup { keep_queries: true, ..Setup::new(&method, &lens.model().spec, 64).unwrap() };
        lens.begin(&setup).unwrap();
        lens.feed(&[9; 64], Rows::None, &mut ()).unwrap();
        let heads = Heads::new(lens.inspect(&watch, &mut ()).unwrap(), 63).unwrap();
        let (chooses, needle) = (heads.chooses(), 16..24);
        let chunks = Some(heads.chunks_of(&needle));
        let looked = Looked { heads: &heads, needle: Some(needle), chunks, chooses, selected: (0, 0) };
        let usage = Usage::of(&looked);
        let summary = usage.summary(&looked);
        (usage, summary)
    }

    #[test]
    fn choices_are_counted_over_all_heads_that_choose() {
        let (usage, summary) = usage("long_heads:chunk_len=8,attention_len=32,variant=consistent");
        assert!(usage.shares.iter().all(|share| (0.0..=1.0).contains(share)), "{:?}", usage.shares);
        // each of the heads chose as many chunks as its attention holds
        let sum: f32 = usage.shares.iter().sum();
        assert!((sum - 4.0).abs() < 1e-5, "{sum} chunks a head: {:?}", usage.shares);
        assert!(usage.always.contains(&true) && summary.contains("8 heads chose"), "{summary}");
        let last = usage.order().last().unwrap();
        assert!(usage.always[last], "what every choice holds says least");
    }

    #[test]
    fn without_a_choice_the_attention_of_all_heads_is_shown() {
        let (usage, summary) = usage("full");
        let sum: f32 = usage.shares.iter().sum();
        assert!((sum - 1.0).abs() < 1e-4 && usage.order().next() == Some(2), "{:?}", usage.shares);
        assert!(
            summary.starts_with("mean attention of 8 heads") && summary.contains("needle in chunk 2: "),
            "{summary}"
        );
    }
}
