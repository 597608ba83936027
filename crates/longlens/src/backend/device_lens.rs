//! A model on a device that has memory of its own and may fail: what does not fit is refused before it begins, and what the device's
//! runtime panics over becomes an error.

use longlens_core::lens::{Cached, Control, Lens, LensError, ModelInfo, Rows, Sequence, Setup, TextCodec};
use longlens_core::memory::{OnDevice, RunSize};
use longlens_core::plan::Prefill;
use longlens_core::trace::{Trace, Watch};
use longlens_kernel::DeviceMemory;

use super::hush;

/// A model on a device.
pub struct DeviceLens {
    lens: Box<dyn Lens>,
    memory: Box<dyn Fn() -> Option<DeviceMemory> + Send>,
    how: OnDevice,
    /// The device failed in the sequence that was begun: what it holds is not known.
    is_broken: bool,
}

impl DeviceLens {
    /// A model that was opened on a device; `memory` asks this.
    pub fn new(lens: Box<dyn Lens>, how: OnDevice, memory: impl Fn() -> Option<DeviceMemory> + Send + 'static) -> Self {
        Self { lens, memory: Box::new(memory), how, is_broken: false }
    }

    /// Does something on the device.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut dyn Lens) -> Result<T, LensError>) -> Result<T, LensError> {
        if self.is_broken {
            return Err(LensError::NotBegun);
        }
        let lens = &mut *self.lens;
        let done = hush::caught(std::panic::AssertUnwindSafe(move || work(lens)));
        done.unwrap_or_else(|reason| {
            self.is_broken = true;
            Err(self.failure(&reason))
        })
    }

    /// What a panic of the runtime means.
    fn failure(&self, reason: &str) -> LensError {
        match refused_bytes(reason) {
            Some(needed) => LensError::DeviceMemory { needed, free: self.free().unwrap_or(0) },
            None => LensError::Device(reason.lines().next().unwrap_or(reason).to_owned()),
        }
    }

    /// Bytes that a run can take: what nobody holds, and what the program holds and does not use.
    fn free(&self) -> Option<u64> {
        let memory = (self.memory)()?;
        Some(memory.free?.0 + memory.held.saturating_sub(memory.used))
    }

    /// The setup with the steps in which the prompt is computed, or why there is no room for it.
    fn placed(&self, setup: &Setup) -> Result<Setup, LensError> {
        let model = self.lens.model();
        let size = |prefill_chunk: usize| {
            let prompt = Prefill { n_tokens: setup.n_prompt };
            let size = RunSize::on_device(model, &setup.plan, prompt, setup.n_prompt, prefill_chunk, self.how);
            (size.total() - size.weights) as u64
        };
        let Some(free) = self.free() else { return Ok(self.in_steps(setup, |_| true)) };
        let needed = size(setup.prefill_chunk);
        if needed > free {
            return Err(LensError::DeviceMemory { needed, free });
        }
        Ok(self.in_steps(setup, |prefill_chunk| size(prefill_chunk) <= free))
    }

    /// Layer by layer where keys and values are fetched from the host and all of the prompt fits: in steps, each would fetch the keys
    /// of all before it.
    fn in_steps(&self, setup: &Setup, fits: impl Fn(usize) -> bool) -> Setup {
        let is_whole = self.how.offloads && fits(setup.n_prompt);
        Setup { prefill_chunk: if is_whole { setup.n_prompt } else { setup.prefill_chunk }, ..setup.clone() }
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
        self.is_broken = false;
        let setup = self.placed(setup)?;
        self.guarded(|lens| lens.begin(&setup))
    }

    fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
        self.guarded(|lens| lens.feed(tokens, want, control))
    }

    fn trace(&mut self) -> Trace {
        let device_peak = (self.memory)().map(|memory| memory.held);
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

    fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
        self.is_broken = false;
        let setup = self.placed(setup)?;
        self.guarded(|lens| lens.begin_from(&setup, prefix))
    }

    fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
        let device_peak = (self.memory)().map(|memory| memory.held);
        let trace = self.guarded(|lens| lens.inspect(watch, control))?;
        Ok(Trace { device_peak, ..trace })
    }
}

#[cfg(test)]
mod tests {
    use longlens_core::scripted::{ScriptedLens, induction};

    use super::*;
    use crate::backend::hush::tests::alone;

    /// A lens whose device fails in every prompt.
    struct Failing(ScriptedLens, &'static str);

    impl Lens for Failing {
        fn model(&self) -> &ModelInfo {
            self.0.model()
        }

        fn text(&self) -> Result<&dyn TextCodec, LensError> {
            self.0.text()
        }

        fn begin(&mut self, setup: &Setup) -> Result<(), LensError> {
            self.0.begin(setup)
        }

        fn feed(&mut self, tokens: &[u32], want: Rows, control: &mut dyn Control) -> Result<Vec<f32>, LensError> {
            let reason = self.1;
            // on a thread of the runtime, as devices do it; what the caller sees is another panic
            let task = move || assert!(reason.is_empty(), "{reason}");
            std::thread::spawn(task).join().expect("the device's thread answers");
            self.0.feed(tokens, want, control)
        }

        fn trace(&mut self) -> Trace {
            self.0.trace()
        }

        fn reuse(&mut self, setup: &Setup, keep: usize) -> Result<(), LensError> {
            self.0.reuse(setup, keep)
        }

        fn fork(&mut self, n_tokens: usize) -> Result<Sequence, LensError> {
            self.0.fork(n_tokens)
        }

        fn begin_from(&mut self, setup: &Setup, prefix: &Sequence) -> Result<(), LensError> {
            self.0.begin_from(setup, prefix)
        }

        fn inspect(&mut self, watch: &Watch, control: &mut dyn Control) -> Result<Trace, LensError> {
            self.0.inspect(watch, control)
        }
    }

    const GIB: u64 = 1 << 30;

    fn lens(reason: &'static str, free: u64, offloads: bool) -> DeviceLens {
        let memory = move || Some(DeviceMemory { free: Some((free, 80 * GIB)), held: 3 * GIB, used: 2 * GIB });
        DeviceLens::new(
            Box::new(Failing(ScriptedLens::new(induction), reason)),
            OnDevice { number: 2, offloads },
            memory,
        )
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
        assert_eq!(error.to_string(), "this takes 8.0 GiB of the device's memory, and 2.0 GiB are free");
        assert!(error.help().unwrap().contains("kv_offload"));
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
