//! A model on a device that has memory of its own and may fail: what does not fit is refused before it begins, and what the device's
//! runtime panics over becomes an error.

use longlens_core::lens::{Cached, Control, KeptTensor, Lens, LensError, ModelInfo, Rows, Sequence, Setup, TextCodec};
use longlens_core::memory::{CacheSize, OnDevice, RunSize};
use longlens_core::plan::Prefill;
use longlens_core::trace::{Trace, Watch};
use longlens_kernel::DeviceMemory;

use super::hush;

/// A model on a device.
pub struct DeviceLens {
    lens: Box<dyn Lens>,
    asks: Asks,
    how: OnDevice,
    /// There is no sequence that can be relied on: none has begun, or the device failed in it.
    is_broken: bool,
}

/// Who tells of memory.
pub struct Asks {
    /// Of the device's.
    pub device: Box<dyn Fn() -> Option<DeviceMemory> + Send>,
    /// How many bytes of the host's are free, where the system tells.
    pub host: fn() -> Option<u64>,
}

impl DeviceLens {
    /// A model that was opened on a device.
    pub fn new(lens: Box<dyn Lens>, how: OnDevice, asks: Asks) -> Self {
        Self { lens, asks, how, is_broken: false }
    }

    /// Goes on with a sequence on the device.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut dyn Lens) -> Result<T, LensError>) -> Result<T, LensError> {
        if self.is_broken { Err(LensError::NotBegun) } else { self.caught(work) }
    }

    /// Does something on the device.
    fn caught<T>(&mut self, work: impl FnOnce(&mut dyn Lens) -> Result<T, LensError>) -> Result<T, LensError> {
        let lens = &mut *self.lens;
        let reason = match hush::caught(std::panic::AssertUnwindSafe(move || work(lens))) {
            Ok(Err(LensError::Device(reason))) => hush::said().unwrap_or(reason),
            Err(reason) => reason,
            Ok(done) => return done,
        };
        self.is_broken = true;
        Err(failure(&reason))
    }

    /// Begins a sequence in the place of the one before, if there is room for it.
    fn anew(
        &mut self,
        setup: &Setup,
        begin: impl FnOnce(&mut dyn Lens, &Setup) -> Result<(), LensError>,
    ) -> Result<(), LensError> {
        self.is_broken = true; // until it has begun
        // the old sequence's memory counts as free
        self.caught(|lens| {
            lens.forget();
            Ok(())
        })?;
        let setup = self.placed(setup)?;
        self.caught(|lens| begin(lens, &setup))?;
        self.is_broken = false;
        Ok(())
    }

    /// The setup with the steps in which the prompt is computed, or why there is no room for it.
    fn placed(&self, setup: &Setup) -> Result<Setup, LensError> {
        let (model, n_tokens) = (self.lens.model(), setup.n_prompt);
        let how = OnDevice { keeps_queries: setup.keep_queries, ..self.how };
        let prompt = Prefill { n_tokens };
        if how.offloads {
            let cache = CacheSize::of(&model.spec, &setup.plan, prompt, n_tokens);
            let numbers = cache.keys_and_values + if how.keeps_queries { cache.queries } else { 0 };
            let needed = (numbers * how.number) as u64;
            if let Some(free) = (self.asks.host)().filter(|free| needed > *free) {
                return Err(LensError::HostMemory { needed, free });
            }
        }
        let size = |prefill_chunk: usize| {
            let size = RunSize::on_device(model, &setup.plan, prompt, n_tokens, prefill_chunk, how);
            (size.total() - size.weights) as u64
        };
        let Some(free) = (self.asks.device)().and_then(|memory| memory.available()) else { return Ok(setup.clone()) };
        let needed = size(setup.prefill_chunk);
        if needed > free {
            return Err(LensError::DeviceMemory { needed, free });
        }
        // layer by layer where keys and values are fetched from the host: in steps, each would fetch the keys of all before it
        let is_whole = how.offloads && size(n_tokens) <= free;
        Ok(Setup { prefill_chunk: if is_whole { n_tokens } else { setup.prefill_chunk }, ..setup.clone() })
    }
}

/// What a runtime means by what it says.
pub fn failure(reason: &str) -> LensError {
    match refused_bytes(reason) {
        Some(bytes) => LensError::DeviceBlock { bytes },
        None => LensError::Device(reason.lines().next().unwrap_or(reason).to_owned()),
    }
}

/// Bytes of a block that the runtime could not get, where that is what it says.
fn refused_bytes(reason: &str) -> Option<u64> {
    let (_, rest) = reason.split_once("can't allocate buffer of size: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Lens for DeviceLens {
    fn model(&self) -> &ModelInfo {
        self.lens.model()
    }

    fn text(&self) -> Result<&dyn TextCodec, LensError> {
        self.lens.text()
    }

    fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
        self.anew(setup, |lens, setup| lens.begin(setup))
    }

    fn forget(&mut self) {
        self.lens.forget();
    }

    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        self.guarded(|lens| lens.feed(tokens, want, control))
    }

    fn trace(&mut self) -> Trace {
        let device_peak = (self.asks.device)().map(|memory| memory.held);
        let mut trace = Trace { device_peak, ..self.lens.trace() };
        // parts of a step end before the device has computed them
        trace.seconds.retain(|phase, _| ["prefill", "decode"].contains(phase));
        trace
    }

    fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
        self.guarded(|lens| lens.reuse(setup, keep))
    }

    fn cached(&mut self, layer: usize) -> Result<Cached, LensError> {
        self.guarded(|lens| lens.cached(layer))
    }

    fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
        self.guarded(|lens| lens.fork(n_tokens))
    }

    fn kept(&self, setup: &Setup, n_tokens: usize) -> Result<Vec<KeptTensor>, LensError> {
        self.lens.kept(setup, n_tokens)
    }

    fn kept_numbers(&mut self, tensor: &KeptTensor) -> Result<Vec<u8>, LensError> {
        self.guarded(|lens| lens.kept_numbers(tensor))
    }

    fn restore(
        &mut self,
        setup: &Setup,
        n_tokens: usize,
        read: &mut dyn FnMut(&KeptTensor) -> Result<Vec<u8>, LensError>,
    ) -> Result<Sequence, LensError> {
        self.guarded(|lens| lens.restore(setup, n_tokens, read))
    }

    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
        self.anew(setup, |lens, setup| lens.begin_from(setup, prefix))
    }

    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
        let device_peak = (self.asks.device)().map(|memory| memory.held);
        let trace = self.guarded(|lens| lens.inspect(watch, control))?;
        Ok(Trace { device_peak, ..trace })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use longlens_core::scripted::{ScriptedLens, induction};

    use super::*;
    use crate::backend::hush::tests::alone;

    /// Runs something on a thread such as runtimes have.
    fn spawn(task: impl FnOnce() + Send + 'static) -> std::thread::Result<()> {
        std::thread::Builder::new().name("DSD-0-0".to_owned()).spawn(task).unwrap().join()
    }

    /// A lens whose device fails in every prompt.
    struct Failing {
        lens: ScriptedLens,
        reason: &'static str,
        has_sequence: Arc<AtomicBool>,
    }

    impl Failing {
        fn new(reason: &'static str) -> Self {
            Self { lens: ScriptedLens::new(induction), reason, has_sequence: Arc::default() }
        }
    }

    impl Lens for Failing {
        fn model(&self) -> &ModelInfo {
            self.lens.model()
        }

        fn text(&self) -> Result<&dyn TextCodec, LensError> {
            self.lens.text()
        }

        fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
            self.has_sequence.store(true, Ordering::SeqCst);
            self.lens.begin(setup)
        }

        fn forget(&mut self) {
            self.has_sequence.store(false, Ordering::SeqCst);
        }

        fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
            let reason = self.reason;
            // on a thread of the runtime, as devices do it; what the caller sees is another panic
            let task = move || assert!(reason.is_empty(), "{reason}");
            spawn(task).expect("the device's thread answers");
            self.lens.feed(tokens, want, control)
        }

        fn trace(&mut self) -> Trace {
            self.lens.trace()
        }

        fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
            self.lens.reuse(setup, keep)
        }

        fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
            self.lens.fork(n_tokens)
        }

        fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
            self.lens.begin_from(setup, prefix)
        }

        fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
            self.lens.inspect(watch, control)
        }
    }

    const GIB: u64 = 1 << 30;

    fn lens(reason: &'static str, free: u64, offloads: bool) -> DeviceLens {
        let memory = move || Some(DeviceMemory { free: Some((free, 80 * GIB)), held: 3 * GIB, used: 2 * GIB });
        let how = OnDevice { number: 2, offloads, keeps_queries: false };
        let asks = Asks { device: Box::new(memory), host: || Some(100 * GIB) };
        DeviceLens::new(Box::new(Failing::new(reason)), how, asks)
    }

    fn setup(lens: &dyn Lens, n_prompt: usize) -> Setup {
        Setup::new(&longlens_core::methods::Method::full(), &lens.model().spec, n_prompt).unwrap()
    }

    #[test]
    fn a_block_that_cannot_be_had_is_an_error_and_the_next_run_begins_anew() {
        let _alone = alone();
        let mut lens = lens(
            "called `Result::unwrap()` on an `Err` value: can't allocate buffer of size: 8589934592\nat 0",
            GIB,
            false,
        );
        let setup = setup(&lens, 3);
        lens.begin(&setup).unwrap();
        let error = lens.feed(&[5, 6, 7], Rows::Last, &mut ()).unwrap_err();
        assert_eq!(error.to_string(), "the device gives no block of 8.0 GiB");
        assert!(error.help().unwrap().contains("kv_offload"));
        assert!(matches!(lens.feed(&[5], Rows::Last, &mut ()), Err(LensError::NotBegun)));
        // a prompt that is refused brings the broken sequence not back
        assert!(lens.begin(&Setup { n_prompt: 1 << 28, ..setup.clone() }).is_err());
        assert!(matches!(lens.feed(&[5], Rows::Last, &mut ()), Err(LensError::NotBegun)));
        lens.begin(&setup).unwrap();
    }

    #[test]
    fn other_failures_say_what_the_device_said_first() {
        let _alone = alone();
        let mut lens = lens("the driver is gone\nsecond line", GIB, false);
        let setup = setup(&lens, 1);
        lens.begin(&setup).unwrap();
        let error = lens.feed(&[5], Rows::Last, &mut ()).unwrap_err();
        assert_eq!(error.to_string(), "the device failed: the driver is gone");
    }

    #[test]
    fn failures_that_the_runtime_goes_on_after_are_told_by_what_panicked_first() {
        let _alone = alone();
        let mut lens = lens("", GIB, false);
        let setup = setup(&lens, 1);
        lens.begin(&setup).unwrap();
        let said = "called `Result::unwrap()` on an `Err` value: can't allocate buffer of size: 268435456\nbacktrace";
        let gone = || LensError::Device("couldn't find resource for that handle".to_owned());
        let error = lens.guarded::<()>(|_| {
            assert!(spawn(move || panic!("{said}")).is_err());
            Err(gone())
        });
        assert_eq!(error.unwrap_err().to_string(), "the device gives no block of 0.2 GiB");
        lens.begin(&setup).unwrap();
        let error = lens.guarded::<()>(|_| Err(gone()));
        assert_eq!(error.unwrap_err().to_string(), "the device failed: couldn't find resource for that handle");
    }

    #[test]
    fn a_prompt_without_room_is_refused_before_it_begins() {
        let mut lens = lens("", 0, false);
        let long = setup(&lens, 1 << 24);
        let Err(LensError::DeviceMemory { needed, free }) = lens.begin(&long) else { panic!("it has no room") };
        assert!(needed > free && free == GIB, "what the program holds and does not use counts as free");
        let short = setup(&lens, 100);
        lens.begin(&short).unwrap();
        assert_eq!(lens.trace().device_peak, Some(3 * GIB));
    }

    #[test]
    fn a_prompt_without_room_on_the_host_is_refused_too() {
        let mut lens = lens("", 1 << 50, true);
        let long = setup(&lens, 1 << 28);
        let Err(LensError::HostMemory { needed, free }) = lens.begin(&long) else { panic!("the host has no room") };
        assert!(needed > free && free == 100 * GIB);
        assert!(lens.begin(&Setup { keep_queries: true, ..long }).is_err());
    }

    #[test]
    fn the_sequence_before_does_not_count() {
        let failing = Failing::new("");
        let has_sequence = Arc::clone(&failing.has_sequence);
        let memory = move || {
            let used = if has_sequence.load(Ordering::SeqCst) { 3 * GIB } else { 0 };
            Some(DeviceMemory { free: Some((0, 80 * GIB)), held: 3 * GIB, used })
        };
        let asks = Asks { device: Box::new(memory), host: || None };
        let how = OnDevice { number: 2, offloads: false, keeps_queries: false };
        let mut lens = DeviceLens::new(Box::new(failing), how, asks);
        let setup = setup(&lens, 100);
        for _ in 0..3 {
            lens.begin(&setup).unwrap();
        }
    }

    #[test]
    fn a_prompt_goes_layer_by_layer_where_keys_are_fetched_and_all_of_it_fits() {
        let offloading = lens("", 60 * GIB, true);
        let asked = setup(&offloading, 10_000);
        assert_eq!(offloading.placed(&asked).unwrap().prefill_chunk, 10_000);
        let steps = asked.prefill_chunk;
        assert_eq!(lens("", 60 * GIB, false).placed(&asked).unwrap().prefill_chunk, steps);
        // room for steps, none for all at once
        let tight = lens("", 0, true);
        let long = setup(&tight, 1 << 20);
        assert_eq!(tight.placed(&long).map(|setup| setup.prefill_chunk).ok(), Some(steps));
    }
}
