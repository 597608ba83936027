//! Perplexity as a document grows: over its first `L` tokens, and over the last `k` of those.
//!
//! A token's loss does not depend on the tokens behind it, so one prefill of the longest length holds the losses of
//! all. That fails where something depends on the whole length: a group size or scaling factor set by `L`, or a
//! method that treats the prompt's end differently. Then each length gets its own prefill.

use longlens_core::lens::{Control, Lens};
use longlens_core::plan::Plan;
use longlens_core::rope::Rope;
use longlens_core::trace::RunRecord;
use serde::{Deserialize, Serialize};

use super::{Score, losses};
use crate::error::{EvalError, expect};
use crate::ledger::Ledger;
use crate::progress::Part;
use crate::setup::{PromptSize, SetupFor};

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByLength {
    /// Lengths in tokens, the document's first token included.
    pub lengths: Vec<usize>,
    /// `k` of the score over the last tokens; the trained context when not given.
    #[serde(default)]
    pub last: Option<usize>,
    /// Whether each length gets its own setup and prefill.
    #[serde(default)]
    pub prefill_per_length: bool,
}

/// Perplexity by length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthReport {
    /// How it was measured.
    pub protocol: String,
    /// What was run, for the longest length.
    pub run: RunRecord,
    /// One row per length, ascending.
    pub rows: Vec<LengthRow>,
    /// The losses behind the rows.
    pub losses: Vec<DocumentLoss>,
    /// Whether every document was run at every length; false after a cancellation.
    pub complete: bool,
}

/// Perplexity at one length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthRow {
    /// Tokens of context and text together.
    pub length: usize,
    /// Documents that are this long.
    pub n_documents: usize,
    /// Over all tokens but each document's first.
    pub all: Score,
    /// Over the last `k` tokens, or all when there are fewer.
    pub last: Score,
    /// What was run.
    pub run: RunRecord,
}

/// Losses of one prefill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentLoss {
    /// Index of the document, counted from 0 in the order in which they were given.
    pub document: usize,
    /// Tokens fed, from the document's first on.
    pub n_tokens: usize,
    /// Loss of token `t + 1` given tokens `..= t`, in nats.
    pub nll: Vec<f32>,
}

/// Losses of finished prefills, by document and tokens fed.
pub type LossLedger<'a> = dyn Ledger<(usize, usize), (DocumentLoss, RunRecord)> + 'a;

/// Measures perplexity at every length, over the documents that are that long.
///
/// Progress counts fed tokens. After a cancellation the rows come from the documents finished so far.
pub fn by_length(
    lens: &mut dyn Lens,
    setup_for: &mut SetupFor,
    documents: &[Vec<u32>],
    ask: &ByLength,
    control: &mut dyn Control,
    ledger: &mut LossLedger,
) -> Result<LengthReport, EvalError> {
    let mut lengths = ask.lengths.clone();
    lengths.sort_unstable();
    lengths.dedup();
    let (Some(&shortest), Some(&needed)) = (lengths.first(), lengths.last()) else {
        return Err(EvalError::Nothing { what: "lengths" });
    };
    expect(shortest >= 2, "length", shortest, "a whole number of at least 2")?;
    let last = ask.last.unwrap_or(lens.model().spec.trained_context);
    expect(last >= 1, "last", last, "a whole number of at least 1")?;
    let longest = documents.iter().map(Vec::len).max().unwrap_or(0);
    if longest < needed {
        return Err(EvalError::ShortDocuments { needed, longest });
    }

    let jobs = jobs(documents, &lengths, ask.prefill_per_length);
    let total = jobs.iter().map(|job| job.n_tokens).sum();
    let (mut before, mut done, mut complete) = (0, Vec::new(), true);
    for Job { document, n_tokens } in jobs {
        if let Some(known) = ledger.find(&(document, n_tokens)) {
            done.push(known);
            before += n_tokens;
            continue;
        }
        let setup = setup_for(PromptSize { target: n_tokens, n_tokens })?;
        let mut part = Part { control: &mut *control, before, size: n_tokens, total };
        let Some((nll, run)) = losses(lens, setup, &documents[document][..n_tokens], &mut part)? else {
            complete = false;
            break;
        };
        let part = (DocumentLoss { document, n_tokens, nll }, run);
        ledger.finished(&(document, n_tokens), &part);
        done.push(part);
        before += n_tokens;
    }

    let rows: Vec<LengthRow> =
        lengths.iter().filter_map(|length| row(*length, last, ask.prefill_per_length, &done)).collect();
    let run = rows.last().map(|row| row.run.clone()).unwrap_or_default();
    let losses: Vec<DocumentLoss> = done.into_iter().map(|(loss, _)| loss).collect();
    let prefill = if ask.prefill_per_length { "one prefill per length" } else { "one prefill for all lengths" };
    let n_documents = if documents.len() == 1 { "1 document".into() } else { format!("{} documents", documents.len()) };
    let scored = match (rows.first().map(|row| row.all.n_tokens), rows.last().map(|row| row.all.n_tokens)) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last} tokens"),
        (_, last) => format!("{} tokens", last.unwrap_or_default()),
    };
    let fewer = if shortest >= last { "" } else { ", or all where there are fewer" };
    let protocol = format!(
        "perplexity by length: {n_documents}, {scored} scored, {prefill}; `all` over every token but the first, `last` over \
         the last {last}{fewer}"
    );
    Ok(LengthReport { protocol, run, rows, losses, complete })
}

/// Whether losses depend on how long the prompt is, so that each length needs a prefill of its own
/// ([`ByLength::prefill_per_length`]): where scores or positions follow the length seen.
pub fn depends_on_length(plan: &Plan, rope: &Rope) -> bool {
    plan.depends_on_length() || rope.is_dynamic()
}

/// A prefill that is still to run: of a document its first `n_tokens`.
struct Job {
    document: usize,
    n_tokens: usize,
}

/// The longest first where lengths share a prefill; otherwise by length, so that early rows are complete early.
fn jobs(documents: &[Vec<u32>], lengths: &[usize], per_length: bool) -> Vec<Job> {
    let long_enough = |n_tokens: usize| {
        let documents = documents.iter().enumerate().filter(move |(_, tokens)| tokens.len() >= n_tokens);
        documents.map(move |(document, _)| Job { document, n_tokens })
    };
    if per_length {
        return lengths.iter().flat_map(|length| long_enough(*length)).collect();
    }
    let longest_of = |tokens: &Vec<u32>| lengths.iter().rev().find(|length| **length <= tokens.len()).copied();
    let jobs = documents.iter().enumerate();
    jobs.filter_map(|(document, tokens)| Some(Job { document, n_tokens: longest_of(tokens)? })).collect()
}

/// The scores at `length`; `None` when no document reached it.
fn row(length: usize, last: usize, per_length: bool, done: &[(DocumentLoss, RunRecord)]) -> Option<LengthRow> {
    let is_used = |loss: &DocumentLoss| loss.n_tokens == length || (!per_length && loss.n_tokens > length);
    let used: Vec<_> = done.iter().filter(|(loss, _)| is_used(loss)).collect();
    let (_, run) = used.first()?;
    let all = used.iter().map(|(loss, _)| &loss.nll[..length - 1]);
    let tail = used.iter().map(|(loss, _)| &loss.nll[(length - 1).saturating_sub(last)..length - 1]);
    Some(LengthRow { length, n_documents: used.len(), all: Score::of(all), last: Score::of(tail), run: run.clone() })
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{CancelToken, Setup};
    use longlens_core::methods::Method;
    use longlens_core::plan::Prefill;
    use longlens_core::rope::RopeScaling;
    use longlens_core::scripted::ScriptedLens;
    use longlens_core::spec::ModelSpec;

    use super::*;
    use crate::setup::fixed;

    /// Gives the token after `n` others the loss `n / 100`, whatever it is: `1 / exp(loss)` of the probability is on 9.
    fn growing() -> ScriptedLens {
        ScriptedLens::new(|seen, logits| {
            let probability = (-(seen.len() as f32) / 100.0).exp();
            let others = logits.len() as f32 - 1.0;
            logits.fill(((1.0 - probability) / others).ln());
            logits[9] = probability.ln();
        })
    }

    fn measure(ask: &ByLength, control: &mut dyn Control) -> (LengthReport, Vec<usize>) {
        let mut lens = growing();
        let model = lens.model().spec.clone();
        let mut setups = Vec::new();
        let mut setup_for = |size: PromptSize| {
            setups.push(size.target);
            Ok(Setup::new(&Method::full(), &model, size.n_tokens)?)
        };
        let documents = [vec![9; 50], vec![9; 30]];
        let report = by_length(&mut lens, &mut setup_for, &documents, ask, control, &mut ()).unwrap();
        (report, setups)
    }

    #[test]
    fn one_prefill_holds_every_length() {
        let ask = ByLength { lengths: vec![50, 20, 5], last: Some(10), prefill_per_length: false };
        let (report, setups) = measure(&ask, &mut ());
        assert_eq!(setups, [50, 20]);
        let found: Vec<_> = report.rows.iter().map(|row| (row.length, row.n_documents, row.last.n_tokens)).collect();
        assert_eq!(found, [(5, 2, 8), (20, 2, 20), (50, 1, 10)]);
        // losses are 0.01, 0.02, … 0.49
        let expected: [(f64, f64); 3] = [(0.025, 0.025), (0.1, 0.145), (0.25, 0.445)];
        for (row, (all, last)) in report.rows.iter().zip(expected) {
            assert!((row.all.mean_nll - all).abs() < 1e-5 && (row.last.mean_nll - last).abs() < 1e-5, "{row:?}");
            assert!((row.last.perplexity - last.exp()).abs() < 1e-4);
        }
        assert!(report.complete && report.losses[0].nll.len() == 49);
        insta::assert_snapshot!(report.protocol, @"perplexity by length: 2 documents, 8 to 49 tokens scored, one prefill for all lengths; `all` over every token but the first, `last` over the last 10, or all where there are fewer");
    }

    #[test]
    fn a_prefill_per_length_gives_each_its_setup() {
        let mut ask = ByLength { lengths: vec![20, 50], last: Some(10), prefill_per_length: true };
        let (report, setups) = measure(&ask, &mut ());
        assert_eq!(setups, [20, 20, 50]);
        assert_eq!(report.rows.iter().map(|row| row.run.n_prompt).collect::<Vec<_>>(), [20, 50]);
        ask.prefill_per_length = false;
        let shared = measure(&ask, &mut ()).0;
        assert!(report.rows.iter().zip(&shared.rows).all(|(a, b)| (a.all, a.last) == (b.all, b.last)));
    }

    #[test]
    fn rules_that_follow_the_length_need_a_prefill_each_and_others_do_not() {
        let model = ModelSpec::tiny(64);
        let (n_short, n_long) = (80, 200);
        for (method, rope, expected) in [
            ("full", "none", false),
            ("full", "yarn:factor=4", false),
            ("full", "dynamic:factor=4", true),
            ("dual_chunk:chunk_size=48,local_window=8", "none", false),
            ("long_heads:chunk_len=4,attention_len=32", "none", false),
            ("long_heads:chunk_len=4,attention_len=32,variant=released", "none", false),
            ("long_heads:chunk_len=4,attention_len=32,begin_len=100,variant=released", "none", false),
        ] {
            let plan = Method::parse(method).unwrap().plan(&model).unwrap();
            let rope = RopeScaling::parse(rope).unwrap().resolve(&model).unwrap();
            let depends = depends_on_length(&plan, &rope);
            assert_eq!(depends, expected, "{method}, {rope:?}");
            if !depends {
                let relation = |i: usize, j: usize, n_tokens: usize| plan.of(1, 0).relation(i, j, Prefill { n_tokens });
                let mut pairs = (0..n_short).flat_map(|i| (0..=i).map(move |j| (i, j)));
                let differs = pairs.find(|(i, j)| relation(*i, *j, n_short) != relation(*i, *j, n_long));
                assert_eq!(differs, None, "{method}: this pair differs in the longer prompt");
            }
        }
    }

    #[test]
    fn a_uniform_model_is_as_surprised_as_its_vocabulary_is_large() {
        let mut lens = ScriptedLens::new(|_, _| {});
        let mut setup_for = fixed(Method::full(), RopeScaling::none(), &lens.model().spec);
        let ask = ByLength { lengths: vec![40], last: None, prefill_per_length: false };
        let report = by_length(&mut lens, &mut setup_for, &[(0..40).collect()], &ask, &mut (), &mut ()).unwrap();
        assert!((report.rows[0].all.perplexity - 258.0).abs() < 1e-3);
        assert_eq!(report.rows[0].last.n_tokens, 39, "all there are, when fewer than the trained context");
    }

    #[test]
    fn cancelling_keeps_finished_documents() {
        /// Cancels once half is done.
        struct Half(CancelToken);
        impl Control for Half {
            fn progress(&mut self, done: usize, total: usize) {
                if 2 * done > total {
                    self.0.cancel();
                }
            }
            fn cancelled(&self) -> bool {
                self.0.is_cancelled()
            }
        }
        let ask = ByLength { lengths: vec![20, 50], last: None, prefill_per_length: false };
        let (report, _) = measure(&ask, &mut Half(CancelToken::default()));
        assert_eq!((report.complete, report.losses.len(), report.rows[0].n_documents), (false, 1, 1));
    }

    #[test]
    fn too_much_is_refused() {
        let mut lens = growing();
        let mut setup_for = fixed(Method::full(), RopeScaling::none(), &lens.model().spec);
        let mut say = |lengths: &[usize]| {
            let ask = ByLength { lengths: lengths.to_vec(), last: None, prefill_per_length: false };
            let error = by_length(&mut lens, &mut setup_for, &[vec![9; 50]], &ask, &mut (), &mut ()).unwrap_err();
            format!("{error} | {}", error.help().unwrap_or_default())
        };
        insta::assert_snapshot!(say(&[20, 51]), @"no document has 51 tokens: the longest has 50 | measure at most 50 tokens, or longer text");
        insta::assert_snapshot!(say(&[1, 20]), @"length = 1 is not a whole number of at least 2 |");
        insta::assert_snapshot!(say(&[]), @"there are no lengths | give at least one of the lengths");
    }
}
