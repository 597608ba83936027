//! Traces: where every head looks from one token, and on demand any head's map.

use std::rc::Rc;
use std::sync::Arc;

use longlens_app::Problem;
use longlens_app::heads::Heads;
use longlens_app::prompt;
use longlens_app::settings::Settings;
use longlens_app::views::layers::Layers;
use longlens_app::views::{Plot, Subject, TraceView};
use longlens_core::lens::{Rows, Setup};
use longlens_core::setting::Setting;
use longlens_core::trace::{self, Watch};

use super::Prompt;
use crate::host::{Host, OpenModel, Returned, raise, refuse};
use crate::shown::Shown;

/// Where every head looks from one token.
#[derive(Clone)]
pub struct Trace(pub Rc<TraceValue>);

/// What a figure of a trace shows.
pub struct ViewOfTrace {
    /// Of what.
    pub trace: Trace,
    /// Which view.
    pub view: &'static dyn TraceView,
    /// Its options.
    pub options: Setting,
}

/// What a [`Trace`] holds.
pub struct TraceValue {
    /// Attention of every head, from the query.
    pub heads: Heads,
    /// Losses of the prompt's tokens, in nats.
    pub nll: Vec<f32>,
    /// What ran, in tokens of the model.
    pub prompt: Prompt,
    /// What it ran on.
    pub model: Rc<OpenModel>,
    /// What was fed: the prompt, and of a hidden key's answer the first token.
    tokens: Vec<u32>,
    setup: Setup,
    sequence: u64,
    /// What was recorded of it.
    watch: Watch,
}

impl Trace {
    /// Tokens that a trace feeds behind the prompt: those of a hidden key's answer but for the last, each of which fetches the next.
    pub fn n_beyond(prompt: &Prompt) -> usize {
        prompt.built.needle.as_ref().map_or(0, |needle| needle.answer.len().saturating_sub(1))
    }

    /// Runs a prompt in tokens of `model`, with the tokens of an answer behind it but for the last, and looks from `query`; from the token
    /// that fetches a hidden key, else from the prompt's last one, when absent.
    pub fn perform(
        host: &Host,
        model: &Rc<OpenModel>,
        prompt: Prompt,
        answer: &[u32],
        settings: &Settings,
        query: Option<usize>,
        chunk_len: Option<usize>,
    ) -> Returned<Self> {
        let built = &prompt.built;
        let setup = settings.setup_to_inspect(&model.info.spec, built.tokens.len()).map_err(raise)?;
        let setup = Setup { takes_kept: built.takes_kept(), ..setup };
        let mut tokens = built.tokens.clone();
        tokens.extend(built.needle.iter().flat_map(|needle| &needle.answer).take(Self::n_beyond(&prompt)));
        let usual = if built.needle.is_some() { built.tokens.len() } else { built.tokens.len().saturating_sub(1) };
        tokens.extend(&answer[..answer.len().saturating_sub(1)]);
        let subject = Subject::new(&model.info, &setup, tokens.len(), None);
        let query = subject.fed(query.unwrap_or(usual.min(tokens.len() - 1))).map_err(raise)?;
        let own_len = subject.own_chunk_len();
        if let (Some(own), Some(given)) = (own_len, chunk_len)
            && own != given
        {
            return refuse(
                format!("chunks of {given} tokens do not fit this method, which chooses chunks of {own}"),
                "leave `chunk_len` out, or give it to the method",
            );
        }
        let chunk_len = own_len.or(chunk_len).unwrap_or(subject.chunk_len);
        let sequence = host.next_sequence();
        let (nll, record) = feed(host, model, &setup, &tokens, built.tokens.len(), sequence)?;
        let answering = match &built.needle {
            Some(_) => built.tokens.len() - 1..tokens.len(),
            None => query..query + 1,
        };
        let watch = Heads::watch(&model.info, query, answering, chunk_len);
        let inspected = model.lens(Some(sequence))?.inspect(&watch, &mut host.work("inspecting")).map_err(raise)?;
        let inspected = trace::Trace { run: record.clone(), ..inspected };
        let heads = Heads::new(inspected, query).expect("what was watched was recorded");
        host.ran(&record);
        let model = model.clone();
        Ok(Self(Rc::new(TraceValue { heads, nll, prompt, model, tokens, setup, sequence, watch })))
    }
}

/// Runs tokens, the first `n_prompt` of them as the prompt; returns the losses of the prompt's tokens.
fn feed(
    host: &Host,
    model: &Rc<OpenModel>,
    setup: &Setup,
    tokens: &[u32],
    n_prompt: usize,
    sequence: u64,
) -> Returned<(Vec<f32>, trace::RunRecord)> {
    let mut lens = model.lens(None)?;
    let mut work = host.work(setup.plan.method.as_str());
    lens.begin(setup).map_err(raise)?;
    lens.feed(&tokens[..n_prompt], Rows::None, &mut work).map_err(raise)?;
    let told = lens.trace();
    // tokens that were taken over from a kept prompt have no losses, nor has the first that was computed
    let unknown = std::iter::repeat_n(f32::NAN, told.n_taken);
    let nll = unknown.chain(told.nll).collect();
    for token in &tokens[n_prompt..] {
        lens.feed(&[*token], Rows::None, &mut work).map_err(raise)?;
    }
    model.set_loaded(sequence);
    Ok((nll, told.run))
}

impl TraceValue {
    /// What another watch records of the same tokens; they are run again where the model has run others since.
    pub fn inspect(&self, host: &Host, watch: &Watch) -> Returned<trace::Trace> {
        if !self.model.holds(self.sequence) {
            let n_prompt = self.setup.n_prompt;
            feed(host, &self.model, &self.setup, &self.tokens, n_prompt, self.sequence)?;
        }
        let mut lens = self.model.lens(Some(self.sequence))?;
        lens.inspect(watch, &mut host.work("inspecting")).map_err(raise)
    }

    /// What ran: how, its tokens, and the model's number for the sequence.
    pub fn fed(&self) -> (&Setup, &[u32], u64) {
        (&self.setup, &self.tokens, self.sequence)
    }

    /// Layers and query heads.
    pub fn shape(&self) -> (usize, usize) {
        self.heads.shape
    }

    /// What views are made of.
    fn subject(&self) -> Subject<'_> {
        let needle = self.prompt.built.needle.as_ref().map(|needle| needle.tokens.clone());
        let subject = Subject::new(&self.model.info, &self.setup, self.tokens.len(), needle);
        let passages = &self.prompt.built.passages;
        let pieces = &self.prompt.built.pieces;
        Subject { query: self.heads.query, chunk_len: self.heads.chunk_len, passages, pieces, ..subject }
    }

    /// A view with its options; what was not recorded for it is looked at now.
    pub fn view(&self, host: &Host, view: &dyn TraceView, options: &Setting) -> Returned<Plot> {
        let subject = self.subject();
        let watch = view.watch(&subject, options).map_err(raise)?;
        let trace = if watch.is_part_of(&self.watch) {
            self.heads.trace().clone()
        } else {
            Arc::new(trace::Trace { run: self.heads.run.clone(), ..self.inspect(host, &watch)? })
        };
        view.view(&subject, options, &trace).map_err(raise)
    }

    /// Every head as a small panel: what was recorded suffices for it.
    pub fn layers(&self) -> Returned<Plot> {
        Layers.view(&self.subject(), &Setting::new(Layers.info()), self.heads.trace()).map_err(raise)
    }
}

impl ViewOfTrace {
    /// What its page shows: the model looks at the sequence again.
    pub fn page(&self, host: &Host) -> Returned<Option<serde_json::Map<String, serde_json::Value>>> {
        let trace = &self.trace.0;
        let pieces =
            trace.model.text(|codec| prompt::shown_pieces(&trace.tokens, codec).map_err(raise)).unwrap_or_default();
        let subject = Subject { pieces: &pieces, ..trace.subject() };
        // what ended the recording is told as it was raised
        let mut raised = None;
        let page = subject.page(self.view, &self.options, &mut |watch| {
            trace.inspect(host, watch).map_err(|error| {
                let problem = Problem::new(error.to_string(), None);
                raised = Some(error);
                problem
            })
        });
        match raised {
            Some(error) => Err(error),
            None => page.map_err(raise),
        }
    }
}

impl Trace {
    /// In words, and as a grid of heads.
    pub fn shown(&self) -> Shown {
        match self.0.layers() {
            Ok(view) => Shown::figure(format!("trace of {}", view.text), view.figure),
            Err(error) => Shown::text(error.to_string()),
        }
    }
}
