//! Many prompts under the same settings: what they begin alike with is computed once, and finished ones are not computed again.

use std::time::Instant;

use longlens_core::lens::{Control, Lens, LensError, Setup};
use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::generate::{Generated, Generation, Stop, StopReason, generate, go_on};
use crate::ledger::Ledger;
use crate::prefix::{LEAST_SHARED, Prefix};
use crate::progress::Part;
use crate::sampling::{Sampler, Sampling};

/// A prompt of a batch, continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What came.
    pub generated: Generated,
    /// Tokens of the prompt that were computed for an earlier one.
    pub n_shared: usize,
}

/// What tells the prompts of a batch apart: their tokens.
pub type Key = Vec<u32>;

/// How the prompts of a batch are run.
pub struct Batch<'a> {
    /// The setup of a prompt of so many tokens.
    pub setup: &'a dyn Fn(usize) -> Result<Setup, LensError>,
    /// How tokens are drawn: every prompt begins with the same seed, so that it has the answer that it has alone.
    pub sampling: &'a Sampling,
    /// When a text ends.
    pub stop: &'a Stop,
}

impl Batch<'_> {
    /// Continues every prompt, in an order in which prompts that begin alike follow each other. Answers stand in the order of the
    /// prompts; those that were not reached when it was cancelled are absent. `begins` hears of every prompt that begins: which one, and
    /// how many of all are finished.
    pub fn run<C: Control>(
        &self,
        lens: &mut dyn Lens,
        prompts: &[Vec<u32>],
        ledger: &mut dyn Ledger<Key, Answer>,
        control: &mut C,
        begins: &mut dyn FnMut(&mut C, usize, usize),
    ) -> Result<Vec<Option<Answer>>, EvalError> {
        let mut answers: Vec<Option<Answer>> = prompts.iter().map(|prompt| ledger.find(prompt)).collect();
        let mut left: Vec<usize> = (0..prompts.len()).filter(|at| answers[*at].is_none()).collect();
        left.sort_by(|a, b| prompts[*a].cmp(&prompts[*b]));
        let mut prefix = Prefix::default();
        for (turn, at) in left.iter().copied().enumerate() {
            begins(control, at, prompts.len() - left.len() + turn);
            let next = left.get(turn + 1).map(|next| &prompts[*next][..]);
            let answer = self.answer(lens, &mut prefix, &prompts[at], next, control)?;
            if answer.generated.stop == StopReason::Cancelled {
                return Ok(answers);
            }
            ledger.finished(&prompts[at], &answer);
            answers[at] = Some(answer);
        }
        Ok(answers)
    }

    /// Continues a prompt, and keeps what the `next` one begins alike with.
    fn answer(
        &self,
        lens: &mut dyn Lens,
        prefix: &mut Prefix,
        prompt: &[u32],
        next: Option<&[u32]>,
        control: &mut dyn Control,
    ) -> Result<Answer, EvalError> {
        let setup = (self.setup)(prompt.len())?;
        let setup = Setup { n_prompt: prompt.len(), ..setup };
        let alike = next.map_or(0, |next| prompt.iter().zip(next).take_while(|(a, b)| a == b).count());
        // both prompts have a token of their own behind it, for the logits that their text begins with
        let most = prompt.len().min(next.map_or(0, <[u32]>::len)).saturating_sub(1);
        let until = setup.plan.whole_blocks(alike.min(most));
        let is_kept = prefix.n_tokens() > 0;
        let shares = until >= LEAST_SHARED && Prefix::fits(lens, &setup, prompt.len(), until);
        if !shares && !is_kept {
            let generated = generate(lens, &setup, prompt, self.sampling, self.stop, control, &mut |_| {})?;
            return Ok(Answer { generated, n_shared: 0 });
        }
        let (started, sampler) = (Instant::now(), Sampler::new(self.sampling)?);
        let n_shared = prefix.begin(lens, &setup, prompt)?;
        let mut n_fed = n_shared;
        if shares && until > n_shared {
            let mut part = Part { control, before: n_shared, size: until - n_shared, total: prompt.len() };
            match prefix.keep(lens, prompt, (n_shared, until), &mut part) {
                Err(LensError::Cancelled) => {
                    let mut cut = Generation::new(lens, prompt, sampler, self.stop, started)?;
                    cut.take(Err(LensError::Cancelled))?;
                    return Ok(Answer { generated: cut.finish(lens), n_shared });
                }
                kept => kept?,
            }
            n_fed = until;
        }
        let mut part = Part { control, before: n_fed, size: prompt.len() - n_fed, total: prompt.len() };
        let generated = go_on(lens, (prompt, n_fed), self.sampling, self.stop, started, &mut part, &mut |_| {})?;
        Ok(Answer { generated, n_shared })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use longlens_core::lens::CancelToken;
    use longlens_core::methods::Method;
    use longlens_core::scripted::{ScriptedLens, induction, token_of};

    use super::*;

    fn tokens(text: &str) -> Vec<u32> {
        text.bytes().map(token_of).collect()
    }

    #[derive(Default)]
    struct Kept(HashMap<Key, Answer>, usize);

    impl Ledger<Key, Answer> for Kept {
        fn find(&mut self, key: &Key) -> Option<Answer> {
            self.0.get(key).cloned()
        }

        fn finished(&mut self, key: &Key, part: &Answer) {
            self.0.insert(key.clone(), part.clone());
            self.1 += 1;
        }
    }

    #[test]
    fn prompts_that_begin_alike_share_it_and_answer_as_alone() {
        let story = "The heron stands in the water and the boat waits for the evening. ";
        let texts = [
            format!("{story}The heron stands"),
            "A short one. A short".to_owned(),
            format!("{story}The boat waits"),
            format!("{story}The heron stands"),
            format!("{story}and the boat"),
        ];
        let prompts: Vec<Vec<u32>> = texts.iter().map(|text| tokens(text)).collect();
        let (sampling, stop) = (Sampling::default(), Stop { max_tokens: 7, ..Stop::default() });
        for (method, shares) in [("full", true), ("dual_chunk:temperature=yarn", false)] {
            let mut lens = ScriptedLens::new(induction);
            let spec = lens.model().spec.clone();
            let method = Method::parse(method).unwrap();
            let setup = |n: usize| Ok(Setup::new(&method, &spec, n)?);
            let batch = Batch { setup: &setup, sampling: &sampling, stop: &stop };
            let mut kept = Kept::default();
            let answers = batch.run(&mut lens, &prompts, &mut kept, &mut (), &mut |(), _, _| {}).unwrap();
            let mut n_shared = 0;
            for (prompt, answer) in prompts.iter().zip(&answers) {
                let answer = answer.as_ref().unwrap();
                let setup = Setup::new(&method, &spec, prompt.len()).unwrap();
                let mut other = ScriptedLens::new(induction);
                let alone = generate(&mut other, &setup, prompt, &sampling, &stop, &mut (), &mut |_| {}).unwrap();
                assert_eq!((&answer.generated.text, &answer.generated.run), (&alone.text, &alone.run));
                n_shared += answer.n_shared;
            }
            assert_eq!(n_shared > 2 * story.len(), shares, "{n_shared}");
            assert_eq!(kept.1, prompts.len());
            let again = batch.run(&mut lens, &prompts, &mut kept, &mut (), &mut |(), _, _| panic!("all are there"));
            let texts = |answers: &[Option<Answer>]| -> Vec<String> {
                answers.iter().flatten().map(|answer| answer.generated.text.clone()).collect()
            };
            assert_eq!(texts(&again.unwrap()), texts(&answers));
        }
    }

    #[test]
    fn a_batch_that_is_stopped_keeps_what_is_finished() {
        let prompts: Vec<Vec<u32>> = ["one two one", "three four three", "five six five"].map(tokens).into();
        let mut lens = ScriptedLens::new(induction);
        let spec = lens.model().spec.clone();
        let setup = |n: usize| Ok(Setup::new(&Method::full(), &spec, n)?);
        let (sampling, stop) = (Sampling::default(), Stop { max_tokens: 3, ..Stop::default() });
        let batch = Batch { setup: &setup, sampling: &sampling, stop: &stop };
        let (mut kept, token) = (Kept::default(), CancelToken::default());
        let mut control = token.clone();
        let mut stop_at_two = |_: &mut CancelToken, _: usize, n_done: usize| {
            if n_done == 2 {
                token.cancel();
            }
        };
        let answers = batch.run(&mut lens, &prompts, &mut kept, &mut control, &mut stop_at_two).unwrap();
        assert_eq!((answers.iter().flatten().count(), kept.1), (2, 2));
        let answers = batch.run(&mut lens, &prompts, &mut kept, &mut (), &mut |(), _, _| {}).unwrap();
        assert_eq!((answers.iter().flatten().count(), kept.1), (3, 3));
    }
}
