//! Perplexity against length, a line per method.

use longlens_core::brief;
use longlens_core::trace::RunRecord;
use longlens_eval::perplexity::{LengthReport, SlidingReport};
use longlens_plot::Heading;
use longlens_plot::plots::{Perplexity, PerplexityPoint, PerplexitySeries};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::interactive::lines as page;
use super::{Plot, Table};
use crate::npz::Array;

/// One method's line: a point per length.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    /// What it is called.
    pub name: String,
    /// How it was measured.
    pub protocol: String,
    /// The same on one line, for all points of a picture.
    #[serde(skip)]
    pub caption: String,
    /// By length, ascending.
    pub points: Vec<Point>,
    /// Whether everything was run.
    pub complete: bool,
    /// Everything behind the points.
    pub reports: Vec<Report>,
}

/// Perplexity at one length.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// Tokens of a document's beginning, or of a window.
    pub n_tokens: usize,
    /// Over all tokens of a document or window.
    pub perplexity: f64,
    /// Tokens behind that number.
    pub n_scored: usize,
    /// Over the last tokens of each document alone; nothing for sliding windows.
    pub perplexity_of_last: Option<f64>,
    /// Tokens behind that number.
    pub n_scored_of_last: usize,
    /// Documents or windows.
    pub n_texts: usize,
    /// What was run.
    pub run: RunRecord,
}

/// Results of either protocol.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// One prefill per document.
    ByLength(LengthReport),
    /// Windows of one length.
    Sliding(SlidingReport),
}

impl Curve {
    /// From one prefill per document.
    pub fn of_documents(name: String, report: LengthReport) -> Self {
        let points = report.rows.iter().map(|row| Point {
            n_tokens: row.length,
            perplexity: row.all.perplexity,
            n_scored: row.all.n_tokens,
            perplexity_of_last: Some(row.last.perplexity),
            n_scored_of_last: row.last.n_tokens,
            n_texts: row.n_documents,
            run: row.run.clone(),
        });
        let (points, protocol, complete) = (points.collect(), report.protocol.clone(), report.complete);
        let caption = protocol.clone();
        Self { name, protocol, caption, points, complete, reports: vec![Report::ByLength(report)] }
    }

    /// From windows of several lengths, of which there should be `n_lengths`. `every` is the tokens between windows, or at most
    /// so many where windows may be shorter (`is_most`).
    pub fn of_windows(
        name: String,
        n_lengths: usize,
        reports: Vec<SlidingReport>,
        every: usize,
        is_most: bool,
    ) -> Self {
        let points = reports.iter().map(|report| Point {
            n_tokens: report.run.n_prompt,
            perplexity: report.perplexity,
            n_scored: report.window_nll.len() * (report.run.n_prompt - 1),
            perplexity_of_last: None,
            n_scored_of_last: 0,
            n_texts: report.window_nll.len(),
            run: report.run.clone(),
        });
        let complete = reports.len() == n_lengths && reports.iter().all(|report| report.complete);
        let protocol: Vec<_> = reports.iter().map(|report| report.protocol.as_str()).collect();
        let points: Vec<Point> = points.collect();
        let caption = if let [one] = &protocol[..] {
            (*one).to_owned()
        } else {
            let scored: Vec<_> = points.iter().map(|point| point.n_scored.to_string()).collect();
            let shorter = if points.iter().any(|point| point.n_tokens < every) && is_most { " at most" } else { "" };
            format!(
                "sliding windows of each length every {every} tokens{shorter}, {} tokens scored; mean of the windows' losses",
                scored.join(", ")
            )
        };
        let protocol = protocol.join("\n");
        let reports = reports.into_iter().map(Report::Sliding).collect();
        Self { name, protocol, caption, points, complete, reports }
    }

    /// The same with what else is to be known of how it was measured.
    #[must_use]
    pub fn noting(mut self, note: Option<&str>) -> Self {
        for text in [&mut self.protocol, &mut self.caption] {
            text.extend(note.iter().flat_map(|note| ["; ", note]));
        }
        self
    }
}

/// Perplexity of some methods; nothing while no length is finished. `last` is how many tokens of a document the second score
/// counts; `subtitle` says on what model. Arrays: `n_tokens`, `perplexity` and `perplexity_last` (NaN for windows) of the points
/// of every method in turn, `method` with the number of each point's.
pub fn perplexity(curves: &[Curve], trained_context: usize, last: usize, subtitle: &str) -> Option<Plot> {
    let shown = |point: &Point| PerplexityPoint {
        n_tokens: point.n_tokens,
        perplexity: point.perplexity_of_last.unwrap_or(point.perplexity),
        n_scored: if point.perplexity_of_last.is_some() { point.n_scored_of_last } else { point.n_scored },
    };
    let names: Vec<_> = curves.iter().map(|curve| &curve.name).collect();
    let series: Vec<_> = brief::names(&names, trained_context)
        .into_iter()
        .zip(curves)
        .filter(|(_, curve)| !curve.points.is_empty())
        .map(|(name, curve)| PerplexitySeries { name, points: curve.points.iter().map(shown).collect() })
        .collect();
    let points: Vec<_> =
        curves.iter().enumerate().flat_map(|(at, curve)| curve.points.iter().map(move |point| (at, point))).collect();
    let (_, first) = points.first()?;
    // lines may have been measured in two ways; a picture names both
    let mut protocols: Vec<&str> = curves.iter().map(|curve| curve.caption.as_str()).collect();
    protocols.sort_unstable();
    protocols.dedup();
    let protocol = protocols.join("; or, where parameters follow the length, ");
    let title = scored(points.iter().map(|(_, point)| *point), last);
    let interrupted = if curves.iter().all(|curve| curve.complete) { "" } else { " · interrupted" };
    let heading = Heading { title, subtitle: format!("{subtitle}{interrupted}; {protocol}") };
    let list = |name: &str, of: &dyn Fn(&Point) -> f64| {
        Array::list(name, points.iter().map(|(_, point)| of(point) as f32).collect())
    };
    let arrays = vec![
        list("n_tokens", &|point| point.n_tokens as f64),
        list("perplexity", &|point| point.perplexity),
        list("perplexity_last", &|point| point.perplexity_of_last.unwrap_or(f64::NAN)),
        Array::list("method", points.iter().map(|(at, _)| *at as f32).collect()),
    ];
    let about = json!({ "view": "perplexity", "methods": names, "run": first.run, "last": last, "protocol": protocol });
    let rows: Vec<_> = points.iter().map(|(at, point)| (curves[*at].name.clone(), (*point).clone())).collect();
    let (n_rows, records) = (rows.len(), points.iter().map(|(_, point)| point.run.clone()).collect());
    let table = move || {
        let mut table = Table::new(&[
            ("method", ""),
            ("length", "tokens"),
            ("perplexity", ""),
            ("perplexity_last", ""),
            ("documents", ""),
            ("scored", "tokens"),
        ]);
        for (name, point) in &rows {
            table.push(vec![
                name.as_str().into(),
                point.n_tokens.into(),
                point.perplexity.into(),
                point.perplexity_of_last.into(),
                point.n_texts.into(),
                point.n_scored.into(),
            ]);
        }
        table
    };
    let page = page_of(&series, trained_context);
    let figure = Perplexity { heading, trained_context, series, cap: None };
    let about = about.as_object().cloned().unwrap_or_default();
    Some(Plot { about, records, ..Plot::new(protocol, figure).with(arrays, n_rows, table) }.with_page(Some(page)))
}

/// Over which tokens of a text the numbers are; `last` is how many at most.
fn scored<'a>(points: impl Iterator<Item = &'a Point>, last: usize) -> String {
    let of_last = points.filter(|point| point.perplexity_of_last.is_some() && point.n_texts > 0);
    let counts: Vec<usize> = of_last.map(|point| point.n_scored_of_last / point.n_texts).collect();
    match (counts.iter().min(), counts.iter().max()) {
        // nothing predicts a text's first token
        (Some(fewest), _) if *fewest + 1 >= last => format!("over the last {last} tokens"),
        (Some(fewest), Some(most)) if fewest == most => format!("over all {} tokens but the first", most + 1),
        (Some(fewest), Some(most)) if *most < last => {
            format!("over all {} to {} tokens but the first", fewest + 1, most + 1)
        }
        (Some(_), _) => format!("over the last {last} tokens, or all but the first where there are fewer"),
        _ => "over whole windows".into(),
    }
}

/// A line a method, by length.
fn page_of(series: &[PerplexitySeries], trained_context: usize) -> Map<String, Value> {
    let lines: Vec<_> = series
        .iter()
        .map(|series| {
            let x = series.points.iter().map(|point| point.n_tokens as f32).collect();
            let y = series.points.iter().map(|point| point.perplexity as f32).collect();
            page::Line { x, ..page::Line::new(series.name.clone(), y) }
        })
        .collect();
    let marks = vec![(trained_context as f64, "trained context".to_owned())];
    let shown = page::Lines {
        mark: "line",
        x: ["length", "tokens"],
        y: ["perplexity", ""],
        smooth: 1,
        by_token: false,
        chunk_len: None,
        marks,
    };
    page::page(&shown, &lines, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A point of two documents whose last tokens were scored, at most `last` of them.
    fn point(n_tokens: usize, last: usize) -> Point {
        Point {
            n_tokens,
            perplexity: 9.0,
            n_scored: 2 * (n_tokens - 1),
            perplexity_of_last: Some(8.0),
            n_scored_of_last: 2 * last.min(n_tokens - 1),
            n_texts: 2,
            run: RunRecord::default(),
        }
    }

    #[test]
    fn the_title_says_which_tokens_were_scored() {
        let title = |lengths: &[usize], last: usize| {
            let points: Vec<Point> = lengths.iter().map(|length| point(*length, last)).collect();
            scored(points.iter(), last)
        };
        assert_eq!(title(&[64, 512], 8192), "over all 64 to 512 tokens but the first");
        assert_eq!(title(&[512], 8192), "over all 512 tokens but the first");
        assert_eq!([title(&[512, 1024], 256), title(&[256, 512], 256)], ["over the last 256 tokens"; 2]);
        assert_eq!(title(&[64, 1024], 256), "over the last 256 tokens, or all but the first where there are fewer");
        let windows = Point { perplexity_of_last: None, n_scored_of_last: 0, ..point(64, 8) };
        assert_eq!(scored([&windows].into_iter(), 256), "over whole windows");
    }

    #[test]
    fn names_tell_what_is_not_as_usual_also_beside_others() {
        let curve = |name: &str| Curve {
            name: name.into(),
            protocol: String::new(),
            caption: String::new(),
            points: vec![point(64, 32)],
            complete: true,
            reports: Vec::new(),
        };
        let texts = ["self_extend:group_size=4,neighbor_window=32", "self_extend:group_size=8,neighbor_window=32"];
        let plot = perplexity(&texts.map(curve), 256, 32, "tiny").unwrap();
        let svg = String::from_utf8(plot.bytes("svg").unwrap()).unwrap();
        assert!(texts.iter().all(|text| svg.contains(text)), "{svg}");
    }
}
