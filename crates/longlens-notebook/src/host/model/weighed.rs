//! What a model takes of the memory, apart from what cells hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use longlens_app::Problem;
use longlens_app::kept::{KeptFile, KeptLens, Manner};
use longlens_core::lens::{Cached, Control, KeptTensor, Lens, LensError, ModelInfo, Rows, Sequence, Setup, TextCodec};
use longlens_core::trace::{Trace, Watch};

use crate::memory::live;

/// A model that counts as its own what it keeps: its weights, and what its caches grow by while it computes. What it hands out
/// (logits, traces) is its caller's, and so is everything that is allocated between two of its steps.
pub struct Weighed {
    lens: KeptLens,
    /// Behind the model, since what is freed with it must be freed before it is no longer counted.
    share: Share,
}

/// The part of one model in what all models take.
struct Share {
    bytes: i64,
    of: Arc<AtomicI64>,
}

impl Weighed {
    /// A model that has just been opened and takes so many bytes of those that all models take.
    pub fn new(lens: Box<dyn Lens>, bytes: i64, of: Arc<AtomicI64>) -> Self {
        let mut share = Share { bytes: 0, of };
        share.takes(bytes);
        Self { lens: KeptLens::new(lens, None, Manner::Lenient), share }
    }

    /// Takes what a file holds in the place of what was kept.
    pub fn take(&mut self, file: &KeptFile) -> Result<(), Problem> {
        let _step = Step { share: &mut self.share, before: live(), handed_out: 0 };
        self.lens.take(file)
    }

    /// A step in which caches may grow or go.
    fn step(&mut self) -> (&mut dyn Lens, Step<'_>) {
        (&mut self.lens, Step { share: &mut self.share, before: live(), handed_out: 0 })
    }
}

impl Share {
    fn takes(&mut self, bytes: i64) {
        self.bytes += bytes;
        self.of.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// One step; it is counted when it ends, also in an error or a panic.
struct Step<'a> {
    share: &'a mut Share,
    before: u64,
    handed_out: usize,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.share.takes(live() as i64 - self.before as i64 - self.handed_out as i64);
    }
}

impl Lens for Weighed {
    fn model(&self) -> &ModelInfo {
        self.lens.model()
    }

    fn text(&self) -> Result<&dyn TextCodec, LensError> {
        self.lens.text()
    }

    fn forget(&mut self) {
        let (lens, _step) = self.step();
        lens.forget();
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
        let (lens, _step) = self.step();
        lens.begin(setup)
    }

    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        let (lens, mut step) = self.step();
        let logits = lens.feed(tokens, want, control)?;
        step.handed_out = logits.capacity() * size_of::<f32>();
        Ok(logits)
    }

    fn trace(&mut self) -> Trace {
        self.lens.trace()
    }

    fn cached(&mut self, layer: usize) -> Result<Cached, LensError> {
        self.lens.cached(layer)
    }

    fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
        let (lens, _step) = self.step();
        lens.reuse(setup, keep)
    }

    fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
        let (lens, _step) = self.step();
        lens.fork(n_tokens)
    }

    fn kept(&self, setup: &Setup, n_tokens: usize) -> Result<Vec<KeptTensor>, LensError> {
        self.lens.kept(setup, n_tokens)
    }

    fn kept_numbers(&mut self, tensor: &KeptTensor) -> Result<Vec<u8>, LensError> {
        self.lens.kept_numbers(tensor)
    }

    fn restore(
        &mut self,
        setup: &Setup,
        n_tokens: usize,
        read: &mut dyn FnMut(&KeptTensor) -> Result<Vec<u8>, LensError>,
    ) -> Result<Sequence, LensError> {
        let (lens, _step) = self.step();
        lens.restore(setup, n_tokens, read)
    }

    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
        let (lens, _step) = self.step();
        lens.begin_from(setup, prefix)
    }

    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
        self.lens.inspect(watch, control)
    }
}
