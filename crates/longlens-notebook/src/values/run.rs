//! Runs: a prompt under a method, what it predicted, and what it said.

use std::fmt;
use std::rc::Rc;

use longlens_eval::generate::{Stop, StopReason, generate};
use longlens_workbench::runs::{self, RunAsk};
use longlens_workbench::settings::Settings;

use super::Prompt;
use crate::desk::{Desk, OpenModel, Returned, raise};

/// A run that is over.
#[derive(Clone)]
pub struct Run(pub Rc<RunValue>);

/// What a [`Run`] holds.
pub struct RunValue {
    /// Settings, losses, text.
    pub kept: runs::Run,
    /// What ran.
    pub prompt: Prompt,
    /// What it ran on.
    pub model: Rc<OpenModel>,
    /// Which sequence it was.
    pub sequence: u64,
}

impl Run {
    /// Runs a prompt: losses of all its tokens, then text until `stop`.
    pub fn perform(
        desk: &Desk,
        model: &Rc<OpenModel>,
        prompt: &Prompt,
        settings: Settings,
        stop: &Stop,
    ) -> Returned<Self> {
        let built = prompt.of(model)?;
        let setup = settings.setup(&model.info, built.tokens.len()).map_err(raise)?;
        let (sequence, spec) = (desk.next_sequence(), &model.info.spec);
        let ask = RunAsk { id: sequence, settings, base: None, prompt: built.clone(), query: None };
        let mut kept = runs::Run::new(&ask, &model.info.name, spec);
        let mut lens = model.lens(None)?;
        let mut work = desk.work(setup.plan.method.as_str());
        let sampling = &ask.settings.sampling;
        let said =
            generate(lens.as_mut(), &setup, &built.tokens, sampling, stop, &mut work, &mut |_| ()).map_err(raise)?;
        drop(work);
        if said.stop == StopReason::Cancelled {
            return Err(raise(longlens_core::lens::LensError::Cancelled));
        }
        let n_losses = built.tokens.len() - 1;
        let nll = said.trace.nll.get(..n_losses).unwrap_or_default().to_vec();
        kept.prefilled(said.run.clone(), nll, 1, said.seconds_to_first_token);
        kept.finish(&said);
        model.set_loaded(sequence);
        desk.ran(&kept.record);
        Ok(Self(Rc::new(RunValue { kept, prompt: prompt.clone(), model: model.clone(), sequence })))
    }

    /// Perplexity of the prompt; nothing for a prompt of one token.
    pub fn perplexity(&self) -> Option<f64> {
        self.0.kept.mean_nll.map(f64::exp)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunValue { kept, prompt, model, .. } = &*self.0;
        writeln!(f, "{} on {}", kept.settings.text(&model.info.spec), model.info.name)?;
        write!(f, "  prompt  {prompt}")?;
        if let (Some(loss), Some(perplexity)) = (kept.mean_nll, self.perplexity()) {
            write!(f, "\n  loss    {loss:.3} nats a token, perplexity {perplexity:.2}")?;
        }
        if !kept.output.is_empty() {
            write!(f, "\n  says    {:?}", kept.output)?;
        }
        match kept.found {
            Some(true) => f.write_str("\n  key     found"),
            Some(false) => f.write_str("\n  key     missed"),
            None => Ok(()),
        }
    }
}
