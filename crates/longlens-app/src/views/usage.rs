//! Chunks of the sequence, all heads together: how many heads chose each, or how much attention they pay it.

use std::ops::Range;
use std::sync::Arc;

use longlens_core::setting::{Info, Setting};
use longlens_core::trace::{Trace, Watch};
use longlens_plot::plots::{Axis, Kind, LinePlot, LinePoint, LineSeries, Reference};
use serde_json::{Map, Value, json};

use super::chunks::Shown;
use super::interactive::{Record, lines as page};
use super::{Plot, Subject, Table, TraceView};
use crate::heads::{Heads, chunks_text};
use crate::npz::Array;
use crate::problem::Problem;

/// A bar for every chunk.
pub struct Usage;

static INFO: Info = Info {
    name: "usage",
    title: "Chunks of all heads together",
    source: "LongHeads' choice (Lu et al., 2024, arXiv:2402.10685), or attention summed by chunk",
    summary: "how many of all heads chose each chunk, or how much attention they pay it where nothing is chosen",
    params: &[super::QUERY, super::CHUNK_LEN, super::SHOW],
};

impl TraceView for Usage {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn watch(&self, subject: &Subject, options: &Setting) -> Result<Watch, Problem> {
        Ok(Shown::of(subject, options)?.watch())
    }

    fn view(&self, subject: &Subject, options: &Setting, trace: &Arc<Trace>) -> Result<Plot, Problem> {
        let Shown { query, chunk_len, is_choice } = Shown::of(subject, options)?;
        let heads = Heads::of(trace, query)?;
        let shares = Shares::of(&heads, is_choice);
        let heading = subject.heading(&trace.run);
        let on_needle = subject.needle.as_ref().map(|needle| heads.chunks_of(needle));
        let points = shares.of_chunk.iter().enumerate().map(|(at, share)| LinePoint::new(at as f64, f64::from(*share)));
        let axis = |name: &str| Axis { name: name.to_owned(), ..Axis::default() };
        let figure = LinePlot {
            title: format!("{} chunk of {chunk_len} tokens, query {query}", shares.title()),
            subtitle: format!("{} · {}", heading.title, heading.subtitle),
            kind: Kind::Bar,
            x: axis("chunk"),
            y: axis(shares.what),
            series: vec![LineSeries { name: String::new(), points: points.collect() }],
            references: on_needle.iter().map(needle).collect(),
            ..LinePlot::default()
        };
        let text = shares.caption(on_needle.as_ref());
        let own = json!({ "share": shares.what, "n_heads": shares.n_heads, "query": query, "chunk_len": chunk_len });
        let arrays = vec![Array::list("share", shares.of_chunk.clone())];
        let n_rows = shares.of_chunk.len();
        let table = move || {
            let mut table = Table::new(&[
                ("chunk", ""),
                ("first_token", "token"),
                ("share", "share"),
                ("always", ""),
                ("needle", ""),
            ]);
            for (chunk, share) in shares.of_chunk.iter().enumerate() {
                let always = Some(shares.always[chunk]).filter(|_| shares.is_choice);
                let needle = on_needle.as_ref().map(|chunks| chunks.contains(&chunk));
                let first = chunk * chunk_len;
                table.push(vec![chunk.into(), first.into(), (*share).into(), always.into(), needle.into()]);
            }
            table
        };
        Ok(subject.plot(options, &trace.run, &own, text, figure).with(arrays, n_rows, table))
    }

    fn page(
        &self,
        subject: &Subject,
        options: &Setting,
        record: &mut Record,
    ) -> Result<Option<Map<String, Value>>, Problem> {
        let shown = Shown::of(subject, options)?;
        let heads = Heads::of(&Arc::new(record(&shown.watch())?), shown.query)?;
        let shares = Shares::of(&heads, shown.is_choice);
        let on_needle = subject.needle.as_ref().map(|needle| heads.chunks_of(needle));
        let lines = page::Lines {
            mark: "bar",
            x: ["chunk", ""],
            y: [shares.what, "share"],
            smooth: 1,
            by_token: false,
            chunk_len: Some(shown.chunk_len),
            marks: on_needle.iter().map(|chunks| (needle(chunks).at, "needle".to_owned())).collect(),
        };
        let x = (0..shares.of_chunk.len()).map(|chunk| chunk as f32).collect();
        let bars = page::Line { x, ..page::Line::new(shares.what, shares.of_chunk) };
        Ok(Some(page::page(&lines, &[bars], subject.pieces)))
    }
}

/// A mark at the middle of the needle's chunks.
fn needle(chunks: &Range<usize>) -> Reference {
    let at = (chunks.start + chunks.end - 1) as f64 / 2.0;
    Reference { is_vertical: true, at, label: "needle".to_owned() }
}

/// What all heads together do with each chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// What the shares are of, in words.
    pub what: &'static str,
    /// Whether they are of the heads that choose; else they are attention.
    pub is_choice: bool,
    /// Of every chunk up to the query's own: the share of the heads that chose it, or its attention as a mean over all heads.
    pub of_chunk: Vec<f32>,
    /// Whether every choice holds a chunk, whatever its score.
    pub always: Vec<bool>,
    /// Heads that count.
    pub n_heads: usize,
}

impl Shares {
    /// Of the heads' choices for the query (`is_choice`), or of their attention where none of them chose.
    pub fn of(heads: &Heads, is_choice: bool) -> Self {
        let n_chunks = heads.n_chunks();
        let (mut sums, mut always, mut n_heads) = (vec![0.0; n_chunks], vec![false; n_chunks], 0);
        for (layer, head) in heads.all().filter(|_| is_choice) {
            let picks = heads.picks(layer, head);
            n_heads += usize::from(!picks.is_empty());
            for pick in picks {
                sums[pick.chunk] += 1.0;
                always[pick.chunk] |= pick.is_forced();
            }
        }
        let is_choice = n_heads > 0;
        for (layer, head) in heads.all().filter(|_| !is_choice) {
            n_heads += 1;
            sums.iter_mut().zip(heads.mass(layer, head)).for_each(|(sum, mass)| *sum += mass);
        }
        let of_chunk = sums.iter().map(|sum| sum / n_heads.max(1) as f32).collect();
        let what = if is_choice { "share of heads that chose it" } else { "mean attention of all heads" };
        Self { what, is_choice, of_chunk, always, n_heads }
    }

    fn title(&self) -> &'static str {
        if self.is_choice { "Share of the heads that chose each" } else { "Mean attention of all heads on each" }
    }

    /// One line: what is shown, and of a needle's chunks the attention on all of them, or the share of heads that chose the one
    /// chosen most.
    pub fn caption(&self, needle: Option<&Range<usize>>) -> String {
        let on_needle = needle.map_or(String::new(), |chunks| {
            let shares = self.of_chunk.iter().take(chunks.end).skip(chunks.start).copied();
            let on = if self.is_choice { shares.fold(0.0, f32::max) } else { shares.sum() };
            format!(" · needle in {}: {:.0}%", chunks_text(chunks), 100.0 * on)
        });
        if self.is_choice {
            let used = self.of_chunk.iter().filter(|share| **share > 0.0).count();
            return format!("{} heads chose {used} of {} chunks{on_needle}", self.n_heads, self.of_chunk.len());
        }
        format!("mean attention of {} heads on each chunk{on_needle}", self.n_heads)
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{Lens, Rows, Setup};
    use longlens_core::methods::Method;
    use longlens_core::scripted::ScriptedLens;

    use super::*;

    /// All heads of a model under a method, after 64 tokens with a needle in the third of eight chunks.
    fn shares(method: &str) -> (Shares, String) {
        let mut lens = ScriptedLens::saying("ok").attending(|_, _, _, key| if key / 8 == 2 { 9.0 } else { 1.0 });
        let method = Method::parse(method).unwrap();
        let watch = Heads::watch(lens.model(), 63, 63..63, 8);
        let setup = Setup { keep_queries: true, ..Setup::new(&method, &lens.model().spec, 64).unwrap() };
        lens.begin(&setup).unwrap();
        lens.feed(&[9; 64], Rows::None, &mut ()).unwrap();
        let heads = Heads::new(lens.inspect(&watch, &mut ()).unwrap(), 63).unwrap();
        let shares = Shares::of(&heads, true);
        let caption = shares.caption(Some(&heads.chunks_of(&(16..24))));
        (shares, caption)
    }

    #[test]
    fn choices_are_counted_over_all_heads_that_choose() {
        let (shares, caption) = shares("long_heads:chunk_len=8,attention_len=32,variant=consistent");
        assert!(shares.of_chunk.iter().all(|share| (0.0..=1.0).contains(share)), "{shares:?}");
        // each of the heads chose as many chunks as its attention holds
        let sum: f32 = shares.of_chunk.iter().sum();
        assert!((sum - 4.0).abs() < 1e-5, "{sum} chunks a head: {shares:?}");
        assert!(shares.always.contains(&true) && caption.contains("8 heads chose"), "{caption}");
    }

    #[test]
    fn without_a_choice_the_attention_of_all_heads_is_shown() {
        let (shares, caption) = shares("full");
        let sum: f32 = shares.of_chunk.iter().sum();
        assert!((sum - 1.0).abs() < 1e-4 && shares.of_chunk[2] > 0.5, "{shares:?}");
        assert!(
            caption.starts_with("mean attention of 8 heads") && caption.contains("needle in chunk 2: "),
            "{caption}"
        );
    }

    #[test]
    fn dense_layers_count_in_no_share_of_choices() {
        let (shares, caption) = shares("by_layer:0=full/1-=long_heads:chunk_len=8,attention_len=32");
        assert_eq!(shares.n_heads, 4, "{caption}");
        assert!((shares.of_chunk.iter().sum::<f32>() - 4.0).abs() < 1e-5, "{shares:?}");
    }
}
