//! A model behind the seam: caches, plan and recorder of one sequence.

use std::sync::Arc;
use std::time::Instant;

use burn_tensor::{Int, Tensor, TensorData, activation::log_softmax};
use longlens_core::lens::{
    Cached, Control, KeptTensor, Lens, LensError, LensId, ModelInfo, Rows, Sequence, Setup, TextCodec,
};
use longlens_core::plan::Prefill;
use longlens_core::trace::{RunRecord, Trace, Watch};
use longlens_kernel::Kernels;

use crate::attention::{Attention, Problems};
use crate::cache::fork::LayerFork;
use crate::cache::{LayerCache, Memory, kept};
use crate::decoder::Decoder;
use crate::inspect::Inspection;
use crate::positions::Positions;
use crate::record::{Recorder, peak_memory};
use crate::tensors::numbers;

/// A decoder of any family as a [`Lens`].
pub struct DecoderLens<B: Kernels, D: Decoder<B>> {
    id: LensId,
    decoder: D,
    info: ModelInfo,
    text: Option<Box<dyn TextCodec>>,
    device: B::Device,
    /// Where keys and values of sequences are.
    memory: Memory,
    sequence: Option<Running<B>>,
}

/// One sequence in progress.
struct Running<B: Kernels> {
    attention: Attention<B>,
    caches: Vec<LayerCache<B>>,
    record: RunRecord,
    setup: Setup,
    n_tokens: usize,
    /// A step stopped half way: some layers hold its keys and some do not, so the sequence cannot go on.
    broken: bool,
    /// Tokens of the begun sequence, once another goes on from them.
    n_base: Option<usize>,
    /// Tokens that were not computed here.
    n_taken: usize,
    /// Those of them that another plan computed; their chunks have no summaries while `behind`.
    n_reused: usize,
    behind: bool,
    /// Logits of the newest token, `[1, vocab_size]`: they hold the loss of the next one.
    newest: Option<Tensor<B, 2>>,
}

/// What is kept of a sequence that others go on from.
struct Fork<B: Kernels> {
    layers: Vec<LayerFork<B>>,
    /// Logits of its last token, if they were asked for.
    newest: Option<Tensor<B, 2>>,
}

/// Tokens of a step whose layers are waited for, one by one: they take far longer than waiting.
const WAITED_FOR: usize = 256;
/// Rows of logits held at once while losses are computed.
const LOGIT_ROWS: usize = 256;

impl<B: Kernels, D: Decoder<B>> DecoderLens<B, D> {
    /// A decoder with its weights loaded.
    pub fn new(decoder: D, info: ModelInfo, text: Option<Box<dyn TextCodec>>, device: B::Device) -> Self {
        Self { id: LensId::unique(), decoder, info, text, device, memory: Memory::Device, sequence: None }
    }

    /// The same with keys and values of its sequences in the host's memory, if `offloads`; every result says so.
    #[must_use]
    pub fn offloading(mut self, offloads: bool) -> Self {
        if offloads {
            self.memory = Memory::Host;
            self.info.kernel_path += ", keys and values in the host's memory";
        }
        self
    }

    /// A plan ready for the first token.
    fn attention(&self, setup: &Setup, prompt: Prefill) -> Result<Attention<B>, LensError> {
        setup.plan.check_length(prompt.n_tokens)?;
        let spec = self.info.spec.trained_on(setup.trained_context).into_owned();
        let plan = Arc::new(setup.plan.clone());
        let recorder = Recorder::new(setup.watch.clone(), &spec, &plan, prompt, prompt.n_tokens)?;
        let positions = Positions::new(Arc::clone(&plan), &setup.rope, &spec, prompt, self.device.clone())?;
        let mut attention = Attention { problems: Problems { spec, plan, prompt, positions }, recorder };
        self.decoder.operations().iter().for_each(|operation| attention.recorder.ran(operation));
        Ok(attention)
    }

    /// Groups of heads with a rule in a layer.
    fn n_groups(&self, setup: &Setup, layer: usize) -> usize {
        setup.plan.groups(layer, self.info.spec.n_heads).len()
    }

    /// A new sequence in the place of the old one; `cache` makes the cache of a layer whose heads have so many rules.
    fn start(
        &mut self,
        setup: &Setup,
        mode: &str,
        cache: impl Fn(usize, usize) -> LayerCache<B>,
    ) -> Result<(), LensError> {
        // the old sequence's memory is given back before the new one takes its own
        self.forget();
        let attention = self.attention(setup, Prefill { n_tokens: setup.n_prompt })?;
        let caches = (0..self.decoder.n_layers()).map(|layer| cache(layer, self.n_groups(setup, layer)));
        self.sequence = Some(Running {
            caches: caches.collect(),
            attention,
            record: self.record(setup, setup.n_prompt, mode),
            setup: setup.clone(),
            n_tokens: 0,
            broken: false,
            n_base: None,
            n_taken: 0,
            n_reused: 0,
            behind: false,
            newest: None,
        });
        Ok(())
    }

    /// What every result of a sequence says.
    fn record(&self, setup: &Setup, n_prompt: usize, mode: &str) -> RunRecord {
        let model = self.info.trained_on(setup.trained_context);
        RunRecord {
            model: model.name.clone(),
            method: setup.plan.method.clone(),
            rope: setup.rope.resolved(&model.spec).to_string(),
            dtype: model.dtype.clone(),
            kernel_path: model.kernel_path.clone(),
            mode: mode.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            n_prompt,
            trained_context: model.spec.trained_context,
            layer_windows: setup.plan.layer_windows().map(str::to_owned),
            warnings: model.warnings.iter().cloned().chain(setup.plan.windows().map(ToString::to_string)).collect(),
        }
    }
}

impl<B: Kernels, D: Decoder<B>> Lens for DecoderLens<B, D> {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn text(&self) -> Result<&dyn TextCodec, LensError> {
        self.text.as_deref().ok_or_else(|| LensError::NoTokenizer { model: self.info.source.clone() })
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
        let (memory, device) = (self.memory, self.device.clone());
        self.start(setup, "re-prefill", |_, n_groups| {
            LayerCache::new(setup.n_prompt, setup.keep_queries, n_groups, memory, device.clone())
        })
    }

    fn forget(&mut self) {
        self.sequence = None;
        B::release();
    }

    fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
        let sequence = self.sequence.as_ref().filter(|sequence| !sequence.broken).ok_or(LensError::NotBegun)?;
        sequence.setup.check_fork(n_tokens, sequence.n_tokens)?;
        let plan = &sequence.attention.problems.plan;
        let layer = |(layer, cache): (usize, &LayerCache<B>)| {
            let groups = plan.groups(layer, self.info.spec.n_heads).into_iter();
            let groups: Vec<_> = groups.map(|group| (group.heads, plan.rules()[group.rule].choice)).collect();
            cache.fork(n_tokens, &groups)
        };
        let layers: Vec<_> = sequence.caches.iter().enumerate().map(layer).collect();
        let bytes = layers.iter().map(LayerFork::n_numbers).sum::<usize>() * size_of::<f32>();
        let newest = sequence.newest.clone().filter(|_| n_tokens == sequence.n_tokens);
        let (setup, is_exact) = (sequence.setup.clone(), sequence.n_reused == 0);
        Ok(Sequence::new(self.id, setup, n_tokens, is_exact, bytes, Fork { layers, newest }))
    }

    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
        let (Fork { layers, newest }, n_tokens): (&Fork<B>, _) = (prefix.state(self.id)?, prefix.n_tokens);
        prefix.check(setup)?;
        let is_exact = prefix.serves(setup);
        let setup = Setup { keep_queries: prefix.needs_queries(setup), ..setup.clone() };
        let memory = self.memory;
        self.start(&setup, if is_exact { "re-prefill" } else { "reuse-kv" }, |layer, n_groups| {
            layers[layer].cache(setup.n_prompt, setup.keep_queries, (!is_exact).then_some(n_groups), memory)
        })?;
        if let Some(sequence) = &mut self.sequence {
            (sequence.n_tokens, sequence.n_taken) = (n_tokens, n_tokens);
            (sequence.n_reused, sequence.behind) = if is_exact { (0, false) } else { (n_tokens, true) };
            // logits of another plan say nothing of the loss under this one
            sequence.newest = newest.clone().filter(|_| is_exact);
        }
        Ok(())
    }

    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        let vocab_size = self.info.spec.vocab_size;
        if tokens.is_empty() {
            return Err(LensError::EmptyPrompt);
        }
        if let Some(position) = tokens.iter().position(|token| *token as usize >= vocab_size) {
            return Err(LensError::TokenOutOfRange { token: tokens[position], position, vocab_size });
        }
        let sequence = self.sequence.as_mut().filter(|sequence| !sequence.broken).ok_or(LensError::NotBegun)?;
        sequence.attention.problems.plan.check_length(sequence.n_tokens + tokens.len())?;
        let mut logits = Vec::new();
        let mut done = 0;
        while done < tokens.len() {
            let len = sequence.step_len(tokens.len() - done);
            let step = &tokens[done..done + len];
            let last = done + len == tokens.len();
            let rows = match want {
                Rows::Last if !last => Rows::None,
                want => want,
            };
            let result = sequence.step(&self.decoder, step, rows, &mut |layer, n_layers| {
                control.progress(done * n_layers + len * layer, tokens.len() * n_layers);
                if control.cancelled() { Err(LensError::Cancelled) } else { Ok(()) }
            });
            sequence.broken = result.is_err();
            logits.extend(result?);
            done += len;
        }
        Ok(logits)
    }

    fn trace(&mut self) -> Trace {
        let Some(sequence) = &self.sequence else { return Trace::default() };
        let prefill_chunk = sequence.prefill_chunk();
        Trace {
            run: sequence.record(),
            prefill_chunk,
            n_taken: sequence.n_taken,
            peak_memory: peak_memory(),
            ..sequence.attention.recorder.trace()
        }
    }

    fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
        let begun = self.sequence.as_ref().and_then(|sequence| Some((sequence, sequence.n_base()?)));
        let (sequence, n_base) = begun.ok_or(LensError::NotBegun)?;
        if keep > n_base {
            return Err(LensError::OutOfRange { what: "token", index: keep - 1, count: n_base });
        }
        if setup.plan.needs_queries() && keep > 0 && !sequence.keeps_queries() {
            return Err(LensError::NothingKept { what: "a choice of chunks" });
        }
        setup.plan.check_length(keep)?;
        let prompt = sequence.attention.problems.prompt;
        let (attention, record) = (self.attention(setup, prompt)?, self.record(setup, prompt.n_tokens, "reuse-kv"));
        let sequence = self.sequence.take().map(|mut sequence| {
            for (layer, cache) in sequence.caches.iter_mut().enumerate() {
                cache.go_back(keep, n_base, self.n_groups(setup, layer));
            }
            Running {
                attention,
                record,
                setup: Setup { n_prompt: prompt.n_tokens, keep_queries: sequence.setup.keep_queries, ..setup.clone() },
                n_tokens: keep,
                broken: false,
                n_base: Some(n_base),
                n_taken: keep,
                n_reused: keep,
                behind: true,
                newest: None,
                ..sequence
            }
        });
        self.sequence = sequence;
        Ok(())
    }

    fn cached(&mut self, layer: usize) -> Result<Cached, LensError> {
        let sequence = self.sequence.as_ref().filter(|sequence| !sequence.broken).ok_or(LensError::NotBegun)?;
        let n_layers = sequence.caches.len();
        let cache =
            sequence.caches.get(layer).ok_or(LensError::OutOfRange { what: "layer", index: layer, count: n_layers })?;
        let n_tokens = sequence.n_tokens;
        let query = cache.queries(0..n_tokens).ok_or(LensError::NothingKept { what: "a look at keys and values" })?;
        let (key, value) = cache.first(n_tokens);
        let cached = Cached { n_tokens, query: numbers(query), key: numbers(key), value: numbers(value) };
        B::check(&self.device).map_err(LensError::Device)?;
        Ok(cached)
    }

    fn kept(&self, setup: &Setup, n_tokens: usize) -> Result<Vec<KeptTensor>, LensError> {
        let spec = self.info.spec.trained_on(setup.trained_context);
        kept::tensors::<B>(&spec, setup, n_tokens, &self.device)
    }

    fn kept_numbers(&mut self, tensor: &KeptTensor) -> Result<Vec<u8>, LensError> {
        let sequence = self.sequence.as_ref().filter(|sequence| !sequence.broken).ok_or(LensError::NotBegun)?;
        let is_exact = sequence.n_reused == 0;
        let cache = sequence.caches.get(tensor.part.layer()).filter(|_| is_exact).ok_or(LensError::NoFile)?;
        let numbers = cache.kept(tensor).ok_or(LensError::NoFile)?;
        B::check(&self.device).map_err(LensError::Device)?;
        Ok(numbers)
    }

    fn restore(
        &mut self,
        setup: &Setup,
        n_tokens: usize,
        read: &mut dyn FnMut(&KeptTensor) -> Result<Vec<u8>, LensError>,
    ) -> Result<Sequence, LensError> {
        setup.plan.check_length(n_tokens)?;
        let tensors = self.kept(setup, n_tokens)?;
        let n_bytes = tensors.iter().map(KeptTensor::n_bytes).sum();
        let of_layers = tensors.chunk_by(|a, b| a.part.layer() == b.part.layer());
        let layers = of_layers.enumerate().map(|(layer, tensors)| {
            let sizes = (n_tokens, self.n_groups(setup, layer));
            kept::layer(tensors, sizes, self.memory, &self.device, &mut *read)
        });
        let layers: Vec<LayerFork<B>> = layers.collect::<Result<_, _>>()?;
        B::check(&self.device).map_err(LensError::Device)?;
        Ok(Sequence::new(self.id, setup.clone(), n_tokens, true, n_bytes, Fork { layers, newest: None }))
    }

    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
        let sequence = self.sequence.as_mut().filter(|sequence| !sequence.broken).ok_or(LensError::NotBegun)?;
        if !sequence.keeps_queries() {
            return Err(LensError::NothingKept { what: "an inspection" });
        }
        let prefill_chunk = sequence.prefill_chunk();
        let Running { attention, caches, n_tokens, n_reused, .. } = sequence;
        let watch = Watch { nll: false, attn_out: Vec::new(), beyond: 0, ..watch.clone() };
        let recorder = Recorder::new(
            watch,
            &attention.problems.spec,
            &attention.problems.plan,
            attention.problems.prompt,
            *n_tokens,
        )?;
        let trace = Inspection::new(attention, caches, recorder, *n_reused..*n_tokens, prefill_chunk).run(control)?;
        B::check(&self.device).map_err(LensError::Device)?;
        Ok(Trace { run: sequence.record(), peak_memory: peak_memory(), ..trace })
    }
}

impl<B: Kernels> Running<B> {
    /// Tokens that the begun sequence computed whole; none that can be relied on if it broke.
    fn n_base(&self) -> Option<usize> {
        self.n_base.or((!self.broken).then_some(self.n_tokens))
    }

    /// What the results of this sequence say: with what was computed by a reference so far, where that is not everything.
    fn record(&self) -> RunRecord {
        let kernel_path = self.attention.recorder.kernel_path(&self.record.kernel_path);
        RunRecord { kernel_path, ..self.record.clone() }
    }

    fn keeps_queries(&self) -> bool {
        self.caches.iter().all(LayerCache::keeps_queries)
    }

    /// Tokens of a step of the prompt at most.
    fn prefill_chunk(&self) -> usize {
        self.setup.prefill_chunk.max(1)
    }

    /// Tokens of the next step when `left` are waiting: steps end with the prompt.
    fn step_len(&self, left: usize) -> usize {
        let prompt_left = self.attention.problems.prompt.n_tokens.saturating_sub(self.n_tokens);
        match prompt_left {
            // where keys rotate anew with every length, a generated token needs a call of its own
            0 if self.attention.problems.positions.any_rerotates() => 1,
            0 => left.min(self.prefill_chunk()),
            _ => {
                let end = self.setup.plan.step_end(self.n_tokens, self.prefill_chunk());
                left.min(end - self.n_tokens).min(prompt_left)
            }
        }
    }

    fn step<D: Decoder<B>>(
        &mut self,
        decoder: &D,
        tokens: &[u32],
        want: Rows,
        on_layer: &mut dyn FnMut(usize, usize) -> Result<(), LensError>,
    ) -> Result<Vec<f32>, LensError> {
        let (first, n_layers) = (self.n_tokens, decoder.n_layers());
        let phase = if first < self.attention.problems.prompt.n_tokens { "prefill" } else { "decode" };
        if self.behind {
            let started = Instant::now();
            self.attention.catch_up(self.n_reused, &mut self.caches, || on_layer(0, n_layers))?;
            for phase in ["choose", phase] {
                self.attention.recorder.spend(phase, started);
            }
            self.behind = false;
        }
        let started = Instant::now();
        self.attention.problems.positions.cover(first + tokens.len());
        self.attention.recorder.spend("positions", started);
        let started = Instant::now();
        let mut hidden = decoder.embed(tokens);
        for layer in 0..n_layers {
            on_layer(layer, n_layers)?;
            let (attention, cache) = (&mut self.attention, &mut self.caches[layer]);
            hidden = decoder.layer(layer, hidden, &mut |new| Ok(attention.attend(layer, first, new, cache)))?;
            if tokens.len() >= WAITED_FOR {
                // devices take work in advance: who stops, or looks at how far it is, means what is done
                B::wait(&hidden.device()).map_err(LensError::Device)?;
            }
        }
        self.n_tokens += tokens.len();
        debug_assert!(self.caches.iter().all(|cache| cache.n_tokens() == self.n_tokens));
        let logits = self.read_out(decoder, &hidden, tokens, want);
        B::check(&hidden.device()).map_err(LensError::Device)?;
        self.attention.recorder.spend(phase, started);
        on_layer(n_layers, n_layers)?;
        logits
    }

    /// Logits and losses of a step, a block of rows at a time: all rows at once would not fit a large vocabulary.
    fn read_out<D: Decoder<B>>(
        &mut self,
        decoder: &D,
        hidden: &Tensor<B, 2>,
        tokens: &[u32],
        want: Rows,
    ) -> Result<Vec<f32>, LensError> {
        let started = Instant::now();
        let [seq, d_model] = hidden.dims();
        let first = self.n_tokens - seq;
        let losses = self.attention.recorder.watch().nll;
        let from = if losses || want == Rows::All { 0 } else { seq - 1 };
        let mut wanted = Vec::new();
        if want != Rows::None || losses {
            if losses && let Some(newest) = self.newest.take() {
                self.attention.recorder.losses(&nll(newest, &tokens[..1], first)?);
            }
            for start in (from..seq).step_by(LOGIT_ROWS) {
                let end = (start + LOGIT_ROWS).min(seq);
                let logits = decoder.logits(hidden.clone().slice([start..end, 0..d_model])); // [rows, vocab_size]
                let vocab_size = logits.dims()[1];
                if losses {
                    let known = (end + 1).min(seq) - start - 1; // rows whose next token is in this step
                    if known > 0 {
                        let rows = logits.clone().slice([0..known, 0..vocab_size]);
                        self.attention.recorder.losses(&nll(
                            rows,
                            &tokens[start + 1..=start + known],
                            first + start + 1,
                        )?);
                    }
                    if end == seq {
                        self.newest = Some(logits.clone().slice([end - start - 1..end - start, 0..vocab_size]));
                    }
                }
                match want {
                    Rows::All => wanted.extend(numbers(logits)),
                    Rows::Last if end == seq => {
                        let last = logits.slice([end - start - 1..end - start, 0..vocab_size]);
                        wanted.extend(numbers(last));
                    }
                    _ => {}
                }
            }
        }
        let first = first + if want == Rows::All { 0 } else { seq - 1 };
        let vocab_size = wanted.len() / if want == Rows::All { seq } else { 1 };
        if let Some(at) = wanted.iter().position(|logit| !logit.is_finite()) {
            return Err(LensError::NotFinite { position: first + at / vocab_size });
        }
        self.attention.recorder.spend("logits", started);
        Ok(wanted)
    }
}

/// Negative log-likelihood of `targets`, the first of which is token `first`, under rows of logits, in nats.
fn nll<B: Kernels>(logits: Tensor<B, 2>, targets: &[u32], first: usize) -> Result<Vec<f32>, LensError> {
    let targets: Vec<i32> = targets.iter().map(|token| *token as i32).collect();
    let n_rows = targets.len();
    let targets = Tensor::<B, 2, Int>::from_data(TensorData::new(targets, [n_rows, 1]), &logits.device());
    let nll = numbers(-log_softmax(logits, 1).gather(1, targets));
    match nll.iter().position(|loss| !loss.is_finite()) {
        Some(at) => Err(LensError::NotFinite { position: first + at - 1 }),
        None => Ok(nll),
    }
}
