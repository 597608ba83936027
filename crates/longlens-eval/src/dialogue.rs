//! Answers of a conversation, each of which goes on from the prompt of the one before.

use std::time::Instant;

use longlens_core::lens::{Control, Lens, LensError, Setup};

use crate::error::EvalError;
use crate::generate::{Generated, Generation, Stop, generate, go_on};
use crate::prefix::Prefix;
use crate::progress::Part;
use crate::sampling::{Sampler, Sampling};

/// What is kept of a conversation between its answers: the cache of the newest prompt.
///
/// A turn's prompt begins with the whole prompt of the turn before, so only what came since is computed, where that gives the
/// numbers of computing all anew: the answer, whose tokens were generated one by one, is then part of a prompt.
#[derive(Debug)]
pub struct Dialogue {
    sampling: Sampling,
    stop: Stop,
    prefix: Prefix,
}

impl Dialogue {
    /// A conversation whose answers are all drawn and ended so.
    pub fn new(sampling: Sampling, stop: Stop) -> Self {
        Self { sampling, stop, prefix: Prefix::default() }
    }

    /// What [`generate`] gives. A setup that records tokens of an earlier prompt runs its whole prompt, since only tokens that are fed are
    /// recorded.
    pub fn answer(
        &mut self,
        lens: &mut dyn Lens,
        setup: &Setup,
        prompt: &[u32],
        control: &mut dyn Control,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<Generated, EvalError> {
        let (sampling, stop) = (&self.sampling, &self.stop);
        let setup = Setup { n_prompt: prompt.len(), ..setup.clone() };
        // the last token is fed for its logits, so all before it are kept, but no block of queries is cut
        let last = setup.plan.whole_blocks(prompt.len().saturating_sub(1));
        let is_longer_alike = !setup.plan.depends_on_length() && !setup.rope.follows_length();
        let can_go_on = is_longer_alike && setup.watch.first_query() >= self.prefix.n_tokens();
        if last == 0 || !can_go_on || !Prefix::fits(lens, &setup, prompt.len(), last) {
            return generate(lens, &setup, prompt, sampling, stop, control, on_text);
        }
        let (started, sampler) = (Instant::now(), Sampler::new(sampling)?);
        let n_shared = self.prefix.begin(lens, &setup, prompt)?;
        let mut part = Part { control, before: n_shared, size: last - n_shared, total: prompt.len() };
        match self.prefix.keep(lens, prompt, (n_shared, last), &mut part) {
            Err(LensError::Cancelled) => {
                let mut cut = Generation::new(lens, prompt, sampler, stop, started)?;
                cut.take(Err(LensError::Cancelled))?;
                return Ok(cut.finish(lens));
            }
            kept => kept?,
        }
        let mut part = Part { control, before: last, size: prompt.len() - last, total: prompt.len() };
        go_on(lens, (prompt, last), sampling, stop, started, &mut part, on_text)
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::lens::{CancelToken, Conversation, Message, TextCodec};
    use longlens_core::methods::Method;
    use longlens_core::scripted::{ByteCodec, ScriptedLens, induction};

    use super::*;
    use crate::generate::StopReason;

    fn setup(lens: &ScriptedLens, method: &str, n_prompt: usize) -> Setup {
        Setup::new(&Method::parse(method).unwrap(), &lens.model().spec, n_prompt).unwrap()
    }

    fn tokens(turns: &[Message]) -> Vec<u32> {
        ByteCodec.encode(&ByteCodec.chat(&Conversation::new(turns)).unwrap(), false).unwrap()
    }

    /// Remembers what it was told.
    #[derive(Default)]
    struct Seen(Vec<(usize, usize)>);

    impl Control for Seen {
        fn progress(&mut self, done: usize, total: usize) {
            self.0.push((done, total));
        }
    }

    #[test]
    fn answers_are_those_of_prompts_that_are_computed_whole() {
        let (plain, stop) = (Sampling::default(), Stop { max_tokens: 12, ..Stop::default() });
        for (method, goes_on) in
            [("full", true), ("streaming:window=64", true), ("long_heads:variant=released,chunk_len=16", false)]
        {
            let (mut lens, mut other) = (ScriptedLens::new(induction), ScriptedLens::new(induction));
            let mut dialogue = Dialogue::new(plain.clone(), stop.clone());
            let (mut turns, mut n_before) = (Vec::new(), 0);
            for question in ["The key is 48213. What is it?", "Again: the key is", "And the key"] {
                turns.push(Message::user(question));
                let prompt = tokens(&turns);
                let setup = setup(&lens, method, prompt.len());
                let mut seen = Seen::default();
                let said = dialogue.answer(&mut lens, &setup, &prompt, &mut seen, &mut |_| {}).unwrap();
                let anew = generate(&mut other, &setup, &prompt, &plain, &stop, &mut (), &mut |_| {}).unwrap();
                assert_eq!((&said.tokens, said.stop, &said.run), (&anew.tokens, anew.stop, &anew.run), "{method}");
                assert!(seen.0.is_sorted() && seen.0.last() == Some(&(prompt.len(), prompt.len())));
                assert!(seen.0.iter().all(|(done, _)| *done >= n_before || !goes_on), "{method}: {:?}", seen.0);
                n_before = prompt.len() - 1;
                turns.push(Message::new("assistant", said.text));
            }
        }
    }

    #[test]
    fn a_cancelled_answer_is_what_was_said_until_then() {
        let mut lens = ScriptedLens::new(induction);
        let prompt = tokens(&[Message::user("Hello")]);
        let setup = setup(&lens, "full", prompt.len());
        let mut token = CancelToken::default();
        token.cancel();
        let mut dialogue = Dialogue::new(Sampling::default(), Stop::default());
        let cut = dialogue.answer(&mut lens, &setup, &prompt, &mut token, &mut |_| {}).unwrap();
        assert_eq!((cut.stop, cut.tokens.len(), cut.prefill_speed()), (StopReason::Cancelled, 0, None));
        let whole = dialogue.answer(&mut lens, &setup, &prompt, &mut (), &mut |_| {}).unwrap();
        assert_ne!(whole.stop, StopReason::Cancelled);
        assert!(whole.prefill_speed() > Some(0.0));
    }
}
