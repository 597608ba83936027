//! Questions about one or two of many documents, of `SQuAD` and `HotpotQA`.
//!
//! Documents of a prompt are the question's own, then those of the same article, then any others; all are shuffled. Where there are fewer
//! than fit, the scripts take all of them, over again from the first. A question is a sample, in the order of the file.

use longlens_core::lens::TextCodec;

use super::QA;
use super::fit::{self, Drawn, Fit, Purpose, Script};
use crate::error::EvalError;
use crate::random::Python;
use crate::sample::Wrapper;
use crate::tasks::{Ask, Samples};

mod files;

pub use files::{Questions, Source};

/// Draws documents around questions.
pub struct Documents {
    questions: Questions,
    seed: u64,
    random: Python,
    wrapper: Wrapper,
}

/// The samples of a file.
pub fn samples(ask: &Ask<'_>, source: Source) -> Result<Samples, EvalError> {
    let name = ask.file("file", source.help())?;
    let questions = Questions::read(source, &name, ask.files)?;
    let (n_asked, n_held) = (ask.n_samples(), questions.all.len());
    let script = Documents::seeded(questions, ask.seed(), ask.wrapper());
    let fit = Fit::new(ask, &QA, 10);
    let mut samples = fit::samples(ask, fit, script)?;
    if n_held < n_asked {
        // the script never ends at the first question that it has not
        samples.n = n_held;
        samples.notes.push(format!("{name} has {n_held} questions, so there are as many samples"));
    }
    Ok(samples)
}

impl Documents {
    pub fn seeded(questions: Questions, seed: u64, wrapper: Wrapper) -> Self {
        Self { questions, seed, random: Python::seed(seed.into()), wrapper }
    }

    /// Documents around the question of a number.
    fn around(&mut self, at: usize, n: usize) -> Vec<usize> {
        let question = &self.questions.all[at];
        let (own, same) = (&question.own, &question.same_article);
        let n_held = self.questions.documents.len();
        let mut documents: Vec<usize> = if n >= n_held {
            (0..n_held).cycle().take(n).collect()
        } else if n.saturating_sub(own.len()) > same.len() {
            let is_taken = |document: &usize| own.contains(document) || same.contains(document);
            let others: Vec<_> = (0..n_held).filter(|document| !is_taken(document)).collect();
            let n_others = (n - own.len() - same.len()).min(others.len());
            let others = self.random.sample(&others, n_others);
            own.iter().chain(same).copied().chain(others).collect()
        } else {
            let others = self.random.sample(same, n.saturating_sub(own.len()));
            own.iter().copied().chain(others).collect()
        };
        Python::seed(self.seed.into()).shuffle(&mut documents);
        documents
    }
}

const TASK: &str =
    "Answer the question based on the given documents. Only give me the answer and do not output any other words.";

impl Script for Documents {
    fn draw(&mut self, codec: &dyn TextCodec, n_pieces: usize, purpose: Purpose) -> Result<Option<Drawn>, EvalError> {
        let at = if let Purpose::Sample(at) = purpose { at } else { 0 };
        let documents = self.around(at, n_pieces);
        let question = &self.questions.all[at];
        let (mut context, mut told) = (Vec::new(), Vec::new());
        for (number, document) in documents.into_iter().enumerate() {
            let text = &self.questions.documents[document];
            let titled = format!("Document {}:\n{text}", number + 1);
            if question.own.contains(&document) && question.answers.iter().any(|answer| text.contains(&**answer)) {
                told.push(titled.clone());
            }
            context.push(titled);
        }
        let said = format!(
            "{TASK}\n\nThe following are given documents.\n\n{}\n\n{TASK}\n\nQuestion: {}",
            context.join("\n\n"),
            question.text
        );
        let prompt = self.wrapper.wrap(codec, &said, " Answer:")?;
        Ok(Some(Drawn { prompt, answers: question.answers.clone(), told, depth: None }))
    }
}
