//! Runs: a prompt under a method, what it predicted, and what it said.

use std::fmt;
use std::rc::Rc;

use longlens_app::runs::{self, RunAsk};
use longlens_app::settings::Settings;
use longlens_core::lens::Setup;
use longlens_eval::generate::{Stop, StopReason, generate};

use rhai::NativeCallContext;

use super::{Method, Prompt};
use crate::host::{OpenModel, Returned, host, raise, refuse};

/// A run that is over.
#[derive(Clone)]
pub struct Run(pub Rc<RunValue>);

/// What a [`Run`] holds.
pub struct RunValue {
    /// Settings, losses, text.
    pub kept: runs::Run,
    /// What ran, in tokens of the model.
    pub prompt: Prompt,
    /// What it ran on.
    pub model: Rc<OpenModel>,
    /// Which sequence it was.
    pub sequence: u64,
    /// What the functions of a written method were, as [`Method::rules`] has them.
    pub rules: Option<String>,
    /// How tokens attended.
    method: Method,
}

impl Run {
    /// Runs a prompt in tokens of `model`: losses of all its tokens, then text until `stop`. `settings` hold `method` as a
    /// plan.
    pub fn perform(
        context: &NativeCallContext,
        model: &Rc<OpenModel>,
        prompt: Prompt,
        method: &Method,
        settings: Settings,
        stop: &Stop,
    ) -> Returned<Self> {
        let (host, built) = (&*host(context), &prompt.built);
        let (method, rules) = (method.clone(), method.rules(context));
        let setup = settings.setup_to_inspect(&model.info.spec, built.tokens.len()).map_err(raise)?;
        let setup = Setup { takes_kept: built.takes_kept(), ..setup };
        let (sequence, spec) = (host.next_sequence(), &model.info.spec);
        let ask = RunAsk { id: sequence, settings, base: None, prompt: built.clone(), query: None };
        let mut kept = runs::Run::new(&ask, &model.info.name, spec);
        let mut lens = model.lens(None)?;
        let mut work = host.work(setup.plan.method.as_str());
        let sampling = &ask.settings.sampling;
        let said =
            generate(&mut *lens, &setup, &built.tokens, sampling, stop, &mut work, &mut |_| ()).map_err(raise)?;
        drop((lens, work));
        if said.stop == StopReason::Cancelled {
            return Err(raise(longlens_core::lens::LensError::Cancelled));
        }
        // the first token that is computed has no loss: nobody said what came before it
        let nll_from = said.trace.n_taken + 1;
        let nll = said.trace.nll.get(..built.tokens.len() - nll_from).unwrap_or_default().to_vec();
        kept.prefilled(said.run.clone(), nll, nll_from, said.seconds_to_first_token.unwrap_or(said.seconds));
        kept.finish(&said);
        model.set_loaded(sequence);
        host.ran(&kept.record);
        Ok(Self(Rc::new(RunValue { kept, prompt, model: model.clone(), sequence, rules, method })))
    }

    /// Perplexity of the prompt; nothing for a prompt of one token.
    pub fn perplexity(&self) -> Option<f64> {
        self.0.kept.mean_nll.map(f64::exp)
    }
}

impl RunValue {
    /// The settings of the run for sequences of `n_tokens`. A written method that was written out for fewer is written out
    /// again, if its functions are what they were.
    pub fn settings(&self, context: &NativeCallContext, n_tokens: usize) -> Returned<Settings> {
        let settings = self.kept.settings.clone();
        let plan = settings.plan(&self.model.info.spec).map_err(raise)?;
        if plan.check_length(n_tokens).is_ok() {
            return Ok(settings);
        }
        if self.method.rules(context) != self.rules {
            return refuse(
                format!("the functions of {} changed since this run", self.method),
                "run it again, or trace the prompt under the new method",
            );
        }
        Ok(Settings { method: self.method.of(context, n_tokens)?, ..settings })
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunValue { kept, prompt, model, .. } = &*self.0;
        writeln!(f, "{} on {}", kept.settings.text(&model.info.spec), model.info.name)?;
        write!(f, "  prompt  {prompt}")?;
        if let (Some(loss), Some(perplexity)) = (kept.mean_nll, self.perplexity()) {
            write!(f, "\n  loss    {loss:.3} nats a token, perplexity {perplexity:.2}")?;
            if kept.nll_from > 1 {
                let (n_scored, n_prompt) = (kept.mean_from(0).1, kept.record.n_prompt);
                write!(f, "; of the last {n_scored} of {n_prompt} tokens, as the others were taken over")?;
            }
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
