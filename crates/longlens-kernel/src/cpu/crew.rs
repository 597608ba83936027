//! Threads that wait awake for a moment: a generated token is some hundred products of tens of microseconds, and waking a sleeping
//! thread for each costs as much as the product.
//!
//! One job runs at a time; whoever calls works too, and waits only for the helpers that have joined. A helper that finds nothing to
//! join for [`AWAKE`] sleeps until the next job.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a helper waits awake.
const AWAKE: Duration = Duration::from_micros(60);
/// Looks between two glances at the clock, or at whether others want the processor.
const LOOKS: usize = 64;

/// Set while a job can be joined; below it stands how many have joined, above it the job's number.
const OPEN: u64 = 1 << 15;
const JOINED: u64 = OPEN - 1;
const NUMBER: u32 = 16;

struct Crew {
    /// Number of the job, whether it is open, and how many helpers are at it.
    gate: AtomicU64,
    job: UnsafeCell<Option<Job>>,
    panicked: AtomicBool,
    n_asleep: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    /// Held while a job runs; how many helpers there are.
    busy: Mutex<usize>,
}

/// A job that lives until it is closed and nobody is at it any more.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn() + Sync));

// SAFETY: `job` is written only by the holder of `busy`, before the gate opens, and read only by helpers that have joined; the closure is
// `Sync`
unsafe impl Sync for Crew {}

static CREW: Crew = Crew {
    gate: AtomicU64::new(0),
    job: UnsafeCell::new(None),
    panicked: AtomicBool::new(false),
    n_asleep: AtomicUsize::new(0),
    sleep: Mutex::new(()),
    wake: Condvar::new(),
    busy: Mutex::new(0),
};

/// Runs `work` here and on up to `n_helpers` helpers at once; returns whether it did: not while another job runs.
pub(super) fn run(n_helpers: usize, work: &(dyn Fn() + Sync)) -> bool {
    let mut n_there = match CREW.busy.try_lock() {
        Ok(n_there) => n_there,
        Err(TryLockError::Poisoned(n_there)) => n_there.into_inner(), // a job panicked, and was closed all the same
        Err(TryLockError::WouldBlock) => return false,
    };
    while *n_there < n_helpers {
        let helper = std::thread::Builder::new().name("longlens-kernel".into());
        if helper.spawn(|| CREW.help()).is_err() {
            break; // what cannot be had is done without
        }
        *n_there += 1;
    }
    // SAFETY: the lifetime is that of the call: the gate is closed, and nobody is at the job, before `Closing` lets go
    let job = Job(unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) });
    // SAFETY: nobody has joined, since the gate is closed, and this thread holds `busy`
    unsafe { *CREW.job.get() = Some(job) };
    let number = (CREW.gate.load(Ordering::Relaxed) >> NUMBER) + 1;
    CREW.gate.store(number << NUMBER | OPEN, Ordering::SeqCst);
    if CREW.n_asleep.load(Ordering::SeqCst) > 0 {
        drop(CREW.sleep.lock().unwrap_or_else(PoisonError::into_inner));
        CREW.wake.notify_all();
    }
    let closing = Closing;
    work();
    drop(closing);
    drop(n_there);
    true
}

/// Closes the gate and waits for those that have joined, also when the caller's own share panics.
struct Closing;

impl Drop for Closing {
    fn drop(&mut self) {
        CREW.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let mut looks = 0;
        while CREW.gate.load(Ordering::Acquire) & JOINED > 0 {
            wait(&mut looks);
        }
        let panicked = CREW.panicked.swap(false, Ordering::Relaxed);
        assert!(!panicked || std::thread::panicking(), "a thread of the kernels panicked");
    }
}

fn wait(looks: &mut usize) {
    *looks += 1;
    if looks.is_multiple_of(LOOKS) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

impl Crew {
    fn help(&self) {
        let mut done = 0;
        loop {
            let gate = self.next(done);
            done = gate >> NUMBER;
            if gate & OPEN == 0 {
                continue; // over before it was seen
            }
            if self.gate.compare_exchange(gate, gate + 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                // others joined or it was closed: look again
                done -= 1;
                continue;
            }
            // SAFETY: joined while the gate was open, so the caller waits, and wrote the job before
            let work = unsafe { &*(*self.job.get()).expect("written before the gate opened").0 };
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.gate.fetch_sub(1, Ordering::Release);
        }
    }

    /// The gate of a job after number `done`.
    fn next(&self, done: u64) -> u64 {
        let (started, mut looks) = (Instant::now(), 0);
        loop {
            let gate = self.gate.load(Ordering::SeqCst);
            if gate >> NUMBER != done {
                return gate;
            }
            wait(&mut looks);
            if looks.is_multiple_of(LOOKS) && started.elapsed() > AWAKE {
                let guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
                // counted before the last look, so that either this look sees a new job or its caller sees a sleeper
                self.n_asleep.fetch_add(1, Ordering::SeqCst);
                let asleep = |(): &mut ()| self.gate.load(Ordering::SeqCst) >> NUMBER == done;
                drop(self.wake.wait_while(guard, asleep).unwrap_or_else(PoisonError::into_inner));
                self.n_asleep.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs of `n` tasks, taken in turn.
    fn tasks(n: usize, sum: &AtomicUsize) -> impl Fn() + Sync {
        let next = AtomicUsize::new(0);
        move || {
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= n {
                    return;
                }
                sum.fetch_add(task + 1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn every_task_is_done_once_before_the_call_returns() {
        for round in 0..20_000 {
            let (sum, n) = (AtomicUsize::new(0), round % 50);
            let work = tasks(n, &sum);
            if !run(1 + round % 3, &work) {
                work(); // another test's job runs
            }
            assert_eq!(sum.load(Ordering::Relaxed), n * (n + 1) / 2);
            if round % 5_000 == 0 {
                std::thread::sleep(Duration::from_millis(2)); // helpers fall asleep
            }
        }
    }

    #[test]
    fn a_job_inside_a_job_is_refused_and_a_panic_passes_on() {
        let refused = AtomicBool::new(false);
        while !run(1, &|| refused.store(!run(1, &|| ()), Ordering::Relaxed)) {
            std::thread::yield_now();
        }
        assert!(refused.load(Ordering::Relaxed));
        let both_there = AtomicUsize::new(0);
        let here = std::thread::current().id();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let work = || {
                both_there.fetch_add(1, Ordering::SeqCst);
                while both_there.load(Ordering::SeqCst) < 2 {
                    std::thread::yield_now();
                }
                assert_eq!(std::thread::current().id(), here, "only the caller goes on");
            };
            while !run(1, &work) {
                std::thread::yield_now();
            }
        }));
        assert!(caught.is_err());
        let sum = AtomicUsize::new(0);
        while !run(1, &tasks(3, &sum)) {
            std::thread::yield_now();
        }
        assert_eq!(sum.load(Ordering::Relaxed), 6);
    }
}
