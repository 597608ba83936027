//! Traces: where every head looks from one token, and on demand any head's map.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use longlens_core::lens::{Rows, Setup};
use longlens_core::plan;
use longlens_core::trace::{self, Watch};
use longlens_plot::Heading;
use longlens_plot::canvas::Figure;
use longlens_plot::color::ColorScale;
use longlens_plot::plots::HeadGrid;
use longlens_workbench::heads::Heads;
use longlens_workbench::settings::Settings;

use super::Prompt;
use crate::desk::{Desk, OpenModel, Returned, raise, refuse};
use crate::shown::Shown;

/// Where every head looks from one token.
#[derive(Clone)]
pub struct Trace(pub Rc<TraceValue>);

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
}

/// Tokens of a chunk where the method has none: a sixteenth of the trained context.
const PARTS: usize = 16;
/// Masses below this share look alike.
const FLOOR: f64 = 1e-3;

impl Trace {
    /// Tokens that a trace feeds behind the prompt: the first of a hidden key's answer, which fetches those that follow it.
    pub fn n_beyond(prompt: &Prompt) -> usize {
        prompt.built.needle.as_ref().map_or(0, |needle| usize::from(needle.answer.len() > 1))
    }

    /// Runs a prompt in tokens of `model` and looks from `query`; from the token that fetches a hidden key, else from the last one, when absent.
    pub fn perform(
        desk: &Desk,
        model: &Rc<OpenModel>,
        prompt: Prompt,
        settings: &Settings,
        query: Option<usize>,
        chunk_len: Option<usize>,
    ) -> Returned<Self> {
        let built = &prompt.built;
        let setup = settings.setup_to_inspect(&model.info.spec, built.tokens.len()).map_err(raise)?;
        let mut tokens = built.tokens.clone();
        tokens.extend(built.needle.iter().flat_map(|needle| &needle.answer).take(Self::n_beyond(&prompt)));
        let query = query.unwrap_or(tokens.len() - 1);
        if query >= tokens.len() {
            return refuse(
                format!("token {query} is not in the prompt of {} tokens", tokens.len()),
                format!("queries go from 0 to {}", tokens.len() - 1),
            );
        }
        let own_len = setup.plan.chunk_len();
        if let (Some(own), Some(given)) = (own_len, chunk_len)
            && own != given
        {
            return refuse(
                format!("chunks of {given} tokens do not fit this method, which chooses chunks of {own}"),
                "leave `chunk_len` out, or give it to the method",
            );
        }
        let chunk_len = own_len.or(chunk_len).unwrap_or((model.info.spec.trained_context / PARTS).max(1));
        let sequence = desk.next_sequence();
        let (nll, record) = feed(desk, model, &setup, &tokens, built.tokens.len(), sequence)?;
        let answering = match &built.needle {
            Some(_) => built.tokens.len() - 1..tokens.len(),
            None => query..query + 1,
        };
        let watch = Heads::watch(&model.info, query, answering, chunk_len);
        let looked = model.lens(Some(sequence))?.look(&watch, &mut desk.work("look")).map_err(raise)?;
        let looked = trace::Trace { run: record.clone(), ..looked };
        let heads = Heads::new(looked, query).expect("what was watched was recorded");
        desk.ran(&record);
        Ok(Self(Rc::new(TraceValue { heads, nll, prompt, model: model.clone(), tokens, setup, sequence })))
    }
}

/// Runs tokens, the first `n_prompt` of them as the prompt; returns the losses of the prompt's tokens.
fn feed(
    desk: &Desk,
    model: &Rc<OpenModel>,
    setup: &Setup,
    tokens: &[u32],
    n_prompt: usize,
    sequence: u64,
) -> Returned<(Vec<f32>, trace::RunRecord)> {
    let mut lens = model.lens(None)?;
    let mut work = desk.work(setup.plan.method.as_str());
    lens.begin(setup).map_err(raise)?;
    lens.feed(&tokens[..n_prompt], Rows::None, &mut work).map_err(raise)?;
    let told = lens.trace();
    for token in &tokens[n_prompt..] {
        lens.feed(&[*token], Rows::None, &mut work).map_err(raise)?;
    }
    model.set_loaded(sequence);
    Ok((told.nll, told.run))
}

impl TraceValue {
    /// What another watch records of the same tokens; they are run again where the model has run others since.
    pub fn look(&self, desk: &Desk, watch: &Watch) -> Returned<trace::Trace> {
        if !self.model.holds(self.sequence) {
            let n_prompt = self.setup.n_prompt;
            feed(desk, &self.model, &self.setup, &self.tokens, n_prompt, self.sequence)?;
        }
        let mut lens = self.model.lens(Some(self.sequence))?;
        lens.look(watch, &mut desk.work("look")).map_err(raise)
    }

    /// The hidden key's tokens, if one is hidden.
    pub fn needle(&self) -> Option<Range<usize>> {
        self.prompt.built.needle.as_ref().map(|needle| needle.tokens.clone())
    }

    /// Layers and query heads.
    pub fn shape(&self) -> (usize, usize) {
        self.heads.shape
    }

    /// Whether the method chose chunks for the query.
    pub fn chooses(&self) -> bool {
        let prompt = plan::Prompt { n_tokens: self.setup.n_prompt };
        self.heads.chooses() && self.heads.query >= self.setup.plan.first_choice(prompt)
    }

    /// How much of its attention a head spends on the hidden key, or far away where none is hidden.
    pub fn score(&self, layer: usize, head: usize) -> f32 {
        match self.needle() {
            Some(needle) => self.heads.on(layer, head, &needle),
            None => self.heads.far(layer, head),
        }
    }

    /// What [`TraceValue::score`] counts.
    pub fn score_name(&self) -> &'static str {
        if self.needle().is_some() { "attention on the needle" } else { "far attention" }
    }

    /// Every head as a small panel, coloured by its score.
    pub fn grid(&self) -> Arc<dyn Figure> {
        let (n_layers, n_heads) = self.shape();
        let heads = || (0..n_layers * n_heads).map(move |at| (at / n_heads, at % n_heads));
        let n = (self.heads.query + 1) as f64;
        Arc::new(HeadGrid {
            heading: Heading::of_run(&self.heads.run),
            n_layers,
            n_heads,
            query: self.heads.query,
            score_name: self.score_name().into(),
            scores: heads().map(|(layer, head)| self.score(layer, head)).collect(),
            profiles: heads().map(|(layer, head)| self.heads.mass(layer, head).to_vec()).collect(),
            needle: self.needle().map(|needle| needle.start as f64 / n..(needle.end as f64 / n).min(1.0)),
            scale: ColorScale::Log { floor: FLOOR },
        })
    }
}

impl Trace {
    /// In words, and as a grid of heads.
    pub fn shown(&self) -> Shown {
        let value = &*self.0;
        let (n_layers, n_heads) = value.shape();
        let best = (0..n_layers * n_heads)
            .map(|at| (at / n_heads, at % n_heads))
            .max_by(|a, b| value.score(a.0, a.1).total_cmp(&value.score(b.0, b.1)));
        let mut text = format!(
            "trace of {}: {n_layers} layers of {n_heads} heads, from token {}",
            value.heads.run.method, value.heads.query
        );
        if let Some((layer, head)) = best {
            let (share, name) = (100.0 * value.score(layer, head), value.score_name());
            text = format!("{text}; most {name}: layer {layer}, head {head}, {share:.0}%");
        }
        Shown::figure(text, value.grid())
    }
}
