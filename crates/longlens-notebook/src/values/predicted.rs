//! What a model predicts behind tokens of a sequence: one logit for every token of the vocabulary.

use std::ops::Range;
use std::rc::Rc;

use longlens_core::lens::{Rows, Setup};
use longlens_core::trace::{RunRecord, Watch};

use super::{Prompt, Run, Trace};
use crate::host::{Host, OpenModel, Returned, raise};

/// A sequence whose predictions are asked for.
pub struct Asked {
    /// What runs.
    pub model: Rc<OpenModel>,
    /// Its tokens: the prompt, then those that are fed one by one.
    pub tokens: Vec<u32>,
    /// The token behind which predictions are read where nobody says which.
    pub usual: usize,
    setup: Setup,
    /// The model's number for it, where it ran before.
    sequence: Option<u64>,
}

/// Logits behind some tokens of a sequence.
pub struct Predicted {
    /// The tokens that they stand behind, in growing order.
    pub positions: Vec<usize>,
    /// `[positions, vocab_size]`.
    pub logits: Vec<f32>,
    /// What ran.
    pub record: RunRecord,
}

/// Tokens of a step that gives logits at most: each gives as many numbers as the vocabulary has tokens.
const AT_ONCE: usize = 64;

impl Asked {
    /// A prompt under these settings.
    pub fn of_prompt(model: Rc<OpenModel>, prompt: &Prompt, setup: Setup) -> Self {
        let tokens = prompt.built.tokens.clone();
        Self { model, usual: tokens.len() - 1, tokens, setup, sequence: None }
    }

    /// The sequence of a trace, from the token that it looks from.
    pub fn of_trace(trace: &Trace) -> Self {
        let (setup, tokens, sequence) = trace.0.fed();
        Self {
            model: trace.0.model.clone(),
            usual: trace.0.heads.query,
            tokens: tokens.to_vec(),
            setup: setup.clone(),
            sequence: Some(sequence),
        }
    }

    /// The sequence of a run: its prompt, and what it said.
    pub fn of_run(run: &Run, setup: Setup) -> Self {
        let (value, prompt) = (&run.0, &run.0.prompt.built.tokens);
        let said = &value.kept.generated[..value.kept.generated.len().saturating_sub(1)];
        let tokens = [prompt, said].concat();
        Self { model: value.model.clone(), usual: prompt.len() - 1, tokens, setup, sequence: Some(value.sequence) }
    }

    /// Logits behind these tokens, each given once and in growing order. What comes before the first of them is not computed again
    /// where the model still holds it.
    pub fn predict(&self, host: &Host, positions: Vec<usize>) -> Returned<Predicted> {
        let Self { model, tokens, .. } = self;
        let n_logits = positions.len() as u64 * model.info.spec.vocab_size as u64;
        host.room_for(n_logits * size_of::<f32>() as u64)?;
        let setup = Setup { watch: Watch::default(), keep_queries: false, ..self.setup.clone() };
        let first = positions[0];
        let held = self.sequence.filter(|sequence| first > 0 && model.holds(*sequence));
        let prefix = held.map(|sequence| model.lens(Some(sequence))?.fork(first).map_err(raise)).transpose()?;
        let mut lens = model.lens(None)?;
        match &prefix {
            Some(prefix) => lens.begin_from(&setup, prefix),
            None => lens.begin(&setup),
        }
        .map_err(raise)?;
        let mut work = host.work(setup.plan.method.as_str());
        let mut logits = Vec::new();
        let begun = if prefix.is_some() { first } else { 0 };
        for (tokens_of_step, rows) in steps(begun, &positions, setup.n_prompt) {
            logits.extend(lens.feed(&tokens[tokens_of_step], rows, &mut work).map_err(raise)?);
        }
        let record = lens.trace().run;
        host.ran(&record);
        Ok(Predicted { positions, logits, record })
    }
}

/// How tokens from `begun` to the last position are fed: which give logits, those of the prompt together and others one by one.
fn steps(begun: usize, positions: &[usize], n_prompt: usize) -> Vec<(Range<usize>, Rows)> {
    let mut steps: Vec<(Range<usize>, Rows)> = Vec::new();
    let mut fed = begun;
    let mut left = positions;
    while let Some(&next) = left.first() {
        let (range, rows) = if fed < next {
            (fed..next, Rows::None)
        } else {
            let together = left.iter().zip(next..).take_while(|(position, at)| **position == *at).count();
            (next..next + together.min(AT_ONCE), Rows::All)
        };
        let end = if range.start < n_prompt { range.end.min(n_prompt) } else { range.start + 1 };
        if rows == Rows::All {
            left = &left[end - range.start..];
        }
        steps.push((range.start..end, rows));
        fed = end;
    }
    steps
}

impl Predicted {
    /// The logits behind one of the positions.
    pub fn row(&self, at: usize) -> &[f32] {
        let n_vocab = self.logits.len() / self.positions.len();
        &self.logits[at * n_vocab..(at + 1) * n_vocab]
    }

    /// The most probable tokens behind one of the positions, best first: token, logit, probability.
    pub fn best(&self, at: usize, n: usize) -> Vec<(u32, f32, f64)> {
        let row = self.row(at);
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| f64::from(logit - largest).exp();
        let sum: f64 = row.iter().map(|logit| weight(*logit)).sum();
        let mut order: Vec<u32> = (0..row.len() as u32).collect();
        // equal ones by their numbers
        order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b)));
        let told = |token: u32| (token, row[token as usize], weight(row[token as usize]) / sum);
        order.into_iter().take(n).map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_goes_in_together_and_what_follows_one_by_one() {
        let told = |begun, positions: &[usize], n_prompt| {
            let steps = steps(begun, positions, n_prompt);
            let step = |(range, rows): &(Range<usize>, Rows)| {
                format!("{}..{}{}", range.start, range.end, if *rows == Rows::All { "*" } else { "" })
            };
            steps.iter().map(step).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(0, &[9], 10), "0..9 9..10*");
        assert_eq!(told(9, &[9], 10), "9..10*");
        assert_eq!(told(0, &[0, 1, 2, 5], 10), "0..3* 3..5 5..6*");
        assert_eq!(told(0, &[12], 10), "0..10 10..11 11..12 12..13*");
        assert_eq!(told(0, &[9, 10, 11], 10), "0..9 9..10* 10..11* 11..12*");
        let all: Vec<usize> = (0..150).collect();
        assert_eq!(told(0, &all, 150), "0..64* 64..128* 128..150*");
    }

    #[test]
    fn probabilities_sum_to_one_and_the_best_come_first() {
        let logits = vec![0.0, 2.0, 1.0, 2.0];
        let predicted = Predicted { positions: vec![7], logits, record: RunRecord::default() };
        let best = predicted.best(0, 9);
        assert_eq!(best.iter().map(|(token, ..)| *token).collect::<Vec<_>>(), [1, 3, 2, 0]);
        assert!((best.iter().map(|(.., probability)| probability).sum::<f64>() - 1.0).abs() < 1e-12);
        let ratio = best[0].2 / best[3].2;
        assert!((ratio - 2f64.exp()).abs() < 1e-9, "{ratio}");
    }
}
