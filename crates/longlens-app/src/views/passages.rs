//! Which passages of the prompt's text an answer attends to, and on which page or line they stand.
//!
//! Attention alone ranks badly: whatever is asked, heads rest on the first passage and on the last. So passages are ranked by what heads
//! gain: their attention while the answer is given, less that of the last tokens before it. In a small trial, eight questions to
//! SmolLM2-135M about seven short passages with the right answers fed, the right passage came first eight times by gain and twice by
//! attention.

use std::ops::Range;
use std::sync::Arc;

use longlens_core::setting::{Fallback, Info, Kind, Param, Setting};
use longlens_core::trace::{Chunks, Queries, Trace, Watch, WatchMass};
use longlens_eval::document::{Passage, Place};
use longlens_plot::plots::{PassageRow, Passages as Figure};
use serde::Serialize;
use serde_json::json;

use super::{Plot, Subject, Table, TraceView};
use crate::npz::Array;
use crate::problem::Problem;

/// The passages that an answer attends to most.
pub struct Passages;

static INFO: Info = Info {
    name: "passages",
    title: "Passages",
    source: "gain: attention during the answer minus that of the four tokens before it, a mean over heads; those that lose count as 0",
    summary: "which passages of the prompt's text an answer attends to, with their page or line",
    params: &[
        Param {
            name: "token",
            alias: "",
            kind: Kind::Count(0),
            default: Fallback::Word("all tokens of the answer; where there is none the last of the prompt"),
            help: "the token that is looked from",
        },
        Param {
            name: "top",
            alias: "",
            kind: Kind::Whole(1, 64),
            default: Fallback::Number(8.0),
            help: "passages of the picture, those that gain most attention first; the table has all",
        },
    ],
};

/// Tokens of an answer that are looked from at most: what is recorded of each is as much as there are passages and heads.
pub const MAX_QUERIES: usize = 64;

/// Tokens before the answer whose attention a gain is measured from.
const BEFORE: usize = 4;

/// The attention on every passage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attended {
    /// The queries that were looked from.
    pub queries: Range<usize>,
    /// Shares of attention by passage, in the order of the passages; a mean over all heads and queries.
    pub shares: Vec<f32>,
    /// What heads gain on each passage over the tokens before the queries: a mean over all heads, of which those that lose count as 0.
    pub gains: Vec<f32>,
    /// The same of every head, layer by layer.
    pub by_head: Vec<Vec<f32>>,
}

/// A passage with the attention on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// Where it stands.
    pub place: Place,
    /// Its text.
    pub text: String,
    /// Its share of attention.
    pub share: f32,
    /// What of it heads gained over the tokens just before the answer.
    pub gain: f32,
}

impl TraceView for Passages {
    fn info(&self) -> &'static Info {
        &INFO
    }

    fn watch(&self, subject: &Subject, options: &Setting) -> Result<Watch, Problem> {
        watch(subject.passages, queries(subject, options)?)
    }

    fn view(&self, subject: &Subject, options: &Setting, trace: &Arc<Trace>) -> Result<Plot, Problem> {
        let attended = Attended::of(trace, subject.passages, queries(subject, options)?);
        let top = options.number("top", &subject.model.spec).map_or(0, |top| top as usize);
        let needle = subject.needle.clone().unwrap_or_default();
        let rows: Vec<PassageRow> = attended.order().take(top).map(|at| row(subject, &attended, at, &needle)).collect();
        let looked = attended.looked_from(subject.setup.n_prompt);
        let (heading, text) = (subject.heading(&trace.run), attended.caption(subject.passages, &looked));
        let figure = Figure { title: format!("Passages that gain attention from {looked}"), heading, rows };
        let own = json!({ "queries": attended.queries });
        let (spec, n_passages) = (&subject.model.spec, subject.passages.len());
        let arrays = vec![
            Array::list("share", attended.shares.clone()),
            Array::list("gain", attended.gains.clone()),
            Array::new("by_head", &[spec.n_layers, spec.n_heads, n_passages], attended.by_head.concat()),
            Array::list("first_token", subject.passages.iter().map(|passage| passage.tokens.start as f32).collect()),
        ];
        let passages: Arc<[Passage]> = subject.passages.into();
        let n_rows = passages.len();
        let table = move || {
            let columns = [
                ("passage", ""),
                ("place", ""),
                ("first_token", "token"),
                ("share", "share"),
                ("gain", "share"),
                ("text", ""),
            ];
            let mut table = Table::new(&columns);
            for (at, passage) in passages.iter().enumerate() {
                table.push(vec![
                    at.into(),
                    passage.place.to_string().into(),
                    passage.tokens.start.into(),
                    attended.shares[at].into(),
                    attended.gains[at].into(),
                    passage.text.clone().into(),
                ]);
            }
            table
        };
        Ok(subject.plot(options, &trace.run, &own, text, figure).with(arrays, n_rows, table))
    }
}

/// The tokens that the options or the answer name.
fn queries(subject: &Subject, options: &Setting) -> Result<Range<usize>, Problem> {
    match options.number("token", &subject.model.spec) {
        Some(token) => subject.fed(token as usize).map(|token| token..token + 1),
        None => Ok(answer(subject.setup.n_prompt, subject.n_tokens)),
    }
}

/// The queries that give an answer, [`MAX_QUERIES`] at most: each predicts the token after it. Of `n_tokens` fed tokens the first
/// `n_prompt` are the prompt's; without an answer it is the prompt's last.
pub fn answer(n_prompt: usize, n_tokens: usize) -> Range<usize> {
    let last = n_prompt.saturating_sub(1);
    last..n_tokens.clamp(last + 1, last + MAX_QUERIES)
}

/// The tokens that a gain is measured from.
fn before(queries: &Range<usize>) -> Range<usize> {
    queries.start.saturating_sub(BEFORE)..queries.start
}

/// What to record of these queries.
pub fn watch(passages: &[Passage], queries: Range<usize>) -> Result<Watch, Problem> {
    if passages.is_empty() {
        return Err(Problem::new("this prompt has no text whose passages could be shown", None));
    }
    let mut starts: Vec<usize> = passages.iter().map(|passage| passage.tokens.start).collect();
    starts.extend(passages.last().map(|last| last.tokens.end));
    starts.insert(0, 0);
    let queries = before(&queries).start..queries.end;
    let mass = WatchMass { chunks: Chunks::At(starts.into()), queries: Queries::Of(queries.collect()) };
    Ok(Watch { mass: Some(mass), ..Watch::default() })
}

/// Shares of attention by passage, a mean over these queries, of every head, layer by layer; 0 where none of them was recorded.
fn by_head(trace: &Trace, n_passages: usize, queries: &Range<usize>) -> Vec<Vec<f32>> {
    let mut heads = Vec::new();
    for mass in trace.layers.iter().filter_map(|layer| layer.mass.as_ref()) {
        let rows: Vec<usize> = (0..mass.queries.len()).filter(|row| queries.contains(&mass.queries[*row])).collect();
        heads.extend((0..mass.n_heads).map(|head| {
            let mut shares = vec![0.0; n_passages];
            for row in &rows {
                // what stands before the first passage is the first chunk
                let mass = mass.row(*row, head).iter().skip(1);
                shares.iter_mut().zip(mass).for_each(|(sum, mass)| *sum += mass / rows.len() as f32);
            }
            shares
        }));
    }
    heads
}

impl Attended {
    /// The attention that a trace recorded.
    pub fn of(trace: &Trace, passages: &[Passage], queries: Range<usize>) -> Self {
        let (answer, before) =
            (by_head(trace, passages.len(), &queries), by_head(trace, passages.len(), &before(&queries)));
        let mean = |of: &dyn Fn(usize) -> f32| (0..answer.len()).map(of).sum::<f32>() / answer.len().max(1) as f32;
        let shares = (0..passages.len()).map(|at| mean(&|head| answer[head][at])).collect();
        let gains =
            (0..passages.len()).map(|at| mean(&|head| (answer[head][at] - before[head][at]).max(0.0))).collect();
        Self { queries, shares, gains, by_head: answer }
    }

    /// Passages with any attention, those that gain most first.
    pub fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let mut order: Vec<usize> = (0..self.gains.len()).filter(|at| self.shares[*at] > 0.0).collect();
        let key = |at: usize| (self.gains[at], self.shares[at]);
        order.sort_by(|a, b| key(*b).0.total_cmp(&key(*a).0).then(key(*b).1.total_cmp(&key(*a).1)));
        order.into_iter()
    }

    /// The `n` passages that gain most.
    pub fn evidence(&self, passages: &[Passage], n: usize) -> Vec<Evidence> {
        let evidence = |at: usize| {
            let Passage { place, text, .. } = &passages[at];
            Evidence { place: *place, text: text.clone(), share: self.shares[at], gain: self.gains[at] }
        };
        self.order().take(n).map(evidence).collect()
    }

    fn looked_from(&self, n_prompt: usize) -> String {
        match self.queries.len() {
            1 if self.queries.start + 1 == n_prompt => "the last token of the prompt".to_owned(),
            1 => format!("token {}", self.queries.start),
            MAX_QUERIES => format!("the first {MAX_QUERIES} tokens of an answer"),
            n => format!("an answer of {n} tokens"),
        }
    }

    fn caption(&self, passages: &[Passage], looked: &str) -> String {
        let sum: f32 = self.shares.iter().sum();
        let most = self.order().next().map_or(String::new(), |at| {
            format!("; the largest gain, {:.1} %, is that of {}", 100.0 * self.gains[at], passages[at].place)
        });
        let n = passages.len();
        let passages = if n == 1 { "passage" } else { "passages" };
        format!("{looked}: {:.1} % of attention on {n} {passages}{most}", 100.0 * sum)
    }
}

fn row(subject: &Subject, attended: &Attended, at: usize, needle: &Range<usize>) -> PassageRow {
    let Passage { place, text, tokens } = &subject.passages[at];
    let is_needle = tokens.start < needle.end && needle.start < tokens.end;
    PassageRow { place: place.to_string(), text: text.clone(), gain: attended.gains[at], is_needle }
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{Lens, Rows, Setup};
    use longlens_core::methods::Method;
    use longlens_core::scripted::ScriptedLens;
    use longlens_eval::document::{Document, locate};

    use super::*;

    /// Two paragraphs of a letter a token, and a prompt whose answer begins at the token after it.
    fn passages() -> (Vec<Passage>, usize) {
        let document = Document::plain(["a", "b"].map(|letter| letter.repeat(100)).join("\n\n"));
        let pieces: Vec<String> = document.text.chars().chain("? ".chars()).map(String::from).collect();
        (locate(&document, &document.text, &pieces), pieces.len())
    }

    #[test]
    fn passages_are_ranked_by_what_heads_gain_while_the_answer_is_given() {
        let (passages, n_prompt) = passages();
        assert_eq!(passages.iter().map(|passage| passage.tokens.clone()).collect::<Vec<_>>(), [0..100, 102..202]);
        // heads rest on the first passage always, and half as much on the second once they answer
        let rule = move |_, _, query: usize, key: usize| match key {
            0..100 => 1.0,
            102..202 if query + 1 >= n_prompt => 0.5,
            _ => 0.0,
        };
        let mut lens = ScriptedLens::saying("ok").attending(rule);
        let (model, n_tokens) = (lens.model().clone(), n_prompt + 2);
        let setup = Setup::new(&Method::full(), &model.spec, n_prompt).unwrap();
        let subject = Subject { passages: &passages, ..Subject::new(&model, &setup, n_tokens, None) };
        let options = Setting::new(&INFO);
        let watch = Passages.watch(&subject, &options).unwrap();
        lens.begin(&Setup { keep_queries: true, ..setup.clone() }).unwrap();
        lens.feed(&vec![9; n_prompt], Rows::None, &mut ()).unwrap();
        for _ in n_prompt..n_tokens {
            lens.feed(&[9], Rows::None, &mut ()).unwrap();
        }
        let trace = Arc::new(lens.inspect(&watch, &mut ()).unwrap());
        let attended = Attended::of(&trace, &passages, answer(n_prompt, n_tokens));
        assert_eq!((attended.queries.clone(), attended.order().next()), (n_prompt - 1..n_tokens, Some(1)));
        assert!((attended.shares[0] - 2.0 / 3.0).abs() < 1e-4 && attended.gains[0] == 0.0, "{attended:?}");
        assert!((attended.gains[1] - 1.0 / 3.0).abs() < 1e-4, "{attended:?}");
        let plot = Passages.view(&subject, &options, &trace).unwrap();
        assert!(plot.text.contains("the largest gain, 33.3 %, is that of line 3"), "{}", plot.text);
        assert_eq!(plot.table().unwrap().rows.len(), 2);
        let nothing = Passages.watch(&Subject { passages: &[], ..subject }, &options).unwrap_err();
        assert!(nothing.to_string().contains("no text"), "{nothing}");
    }
}
