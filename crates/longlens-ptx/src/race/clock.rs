//! Clocks: what a thread knows of the others.

use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use crate::lanes::{WARP, lanes_of};

/// Something with a time of its own: a thread, or asynchronous work. Threads come first, by number.
pub(crate) type Agent = u32;

/// Barriers in shared memory that are kept apart.
pub(crate) const MOST_BARRIERS: u32 = 120;
/// Agents of asynchronous work beside the threads.
const ASYNC_AGENTS: u32 = 32 + 32 + 8 + MOST_BARRIERS;

/// Asynchronous work that keeps a time of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// `cp.async` of a warp's threads; its times are their groups.
    Copies { warp: u32 },
    /// Stores of the copy engine for a warp's threads.
    Stores { warp: u32 },
    /// `wgmma`; its times are groups.
    Products { warpgroup: u32 },
    /// Loads of the copy engine that a barrier counts; their times are its phases.
    Barrier { number: u32 },
}

impl Work {
    /// The agent's number in a block of that many threads.
    pub(crate) fn agent(self, threads: u32) -> Agent {
        threads
            + match self {
                Self::Copies { warp } => warp,
                Self::Stores { warp } => 32 + warp,
                Self::Products { warpgroup } => 64 + warpgroup,
                Self::Barrier { number } => 72 + number,
            }
    }
}

/// What knowledge is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cover {
    /// The order of ordinary accesses of a block.
    Order,
    /// What a fence between the proxies has covered.
    Proxy,
    /// What a fence for the whole device has covered, so that other blocks can learn of it.
    Device,
}

const COVERS: usize = 3;

/// How far a thread knows each agent to be, for each cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clock {
    threads: u32,
    times: Vec<u32>,
    /// What is known of other blocks: for addresses of atomic operations, how many that handed something on.
    handed_on: Vec<(u64, usize)>,
}

impl Clock {
    pub(crate) fn new(threads: u32) -> Self {
        let times = vec![0; COVERS * (threads + ASYNC_AGENTS) as usize];
        Self { threads, times, handed_on: Vec::new() }
    }

    pub(crate) fn threads(&self) -> u32 {
        self.threads
    }

    fn agents(&self) -> usize {
        self.times.len() / COVERS
    }

    /// Whether the agent's work up to a time is known to be done.
    pub(crate) fn knows(&self, agent: Agent, time: u32, cover: Cover) -> bool {
        self.times[agent as usize + cover as usize * self.agents()] >= time
    }

    pub(crate) fn learn(&mut self, agent: Agent, time: u32) {
        let known = &mut self.times[agent as usize];
        *known = (*known).max(time);
    }

    /// Learns everything that another clock knows.
    pub(crate) fn join(&mut self, other: &Self) {
        for (own, other) in self.times.iter_mut().zip(&other.times) {
            *own = (*own).max(*other);
        }
        for (address, count) in &other.handed_on {
            self.learn_handed_on(*address, *count);
        }
    }

    /// Learns what the first `count` atomic operations on an address handed on.
    pub(crate) fn learn_handed_on(&mut self, address: u64, count: usize) {
        match self.handed_on.iter_mut().find(|(known, _)| *known == address) {
            Some((_, known)) => *known = (*known).max(count),
            None => self.handed_on.push((address, count)),
        }
    }

    pub(crate) fn handed_on(&self) -> &[(u64, usize)] {
        &self.handed_on
    }

    /// What is known now is covered.
    fn fence(&mut self, cover: Cover) {
        let agents = self.agents();
        self.times.copy_within(0..agents, cover as usize * agents);
    }
}

/// The clocks of a warp's threads. Threads that know the same share one clock; a thread's own time is the warp's.
#[derive(Debug)]
pub(crate) struct WarpClock {
    first_thread: u32,
    lanes: [Rc<Clock>; WARP],
    /// The time of accesses that happen now.
    time: u32,
    /// Whether an access happened at this time.
    touched: bool,
}

impl WarpClock {
    pub(crate) fn new(warp: u32, threads: u32) -> Self {
        let start = Rc::new(Clock::new(threads));
        let lanes = std::array::from_fn(|_| Rc::clone(&start));
        Self { first_thread: warp * WARP as u32, lanes, time: 1, touched: false }
    }

    pub(crate) fn time(&self) -> u32 {
        self.time
    }

    pub(crate) fn touch(&mut self) {
        self.touched = true;
    }

    pub(crate) fn lane(&self, lane: usize) -> &Clock {
        &self.lanes[lane]
    }

    /// Passes on what these lanes know and did so far.
    pub(crate) fn release(&mut self, mask: u32, into: &mut Clock) {
        let mut last: Option<*const Clock> = None;
        for lane in lanes_of(mask) {
            let clock = Rc::as_ptr(&self.lanes[lane]);
            if last != Some(clock) {
                into.join(&self.lanes[lane]);
                last = Some(clock);
            }
            into.learn(self.first_thread + lane as u32, self.time);
        }
        self.time += 1;
        self.touched = false;
    }

    /// These lanes learn what a clock knows.
    pub(crate) fn acquire(&mut self, mask: u32, from: &Clock) {
        self.update(mask, |clock| clock.join(from));
    }

    /// These lanes learn that asynchronous work is done.
    pub(crate) fn learn(&mut self, mask: u32, agent: Agent, time: u32) {
        self.update(mask, |clock| clock.learn(agent, time));
    }

    /// Changes the clocks of lanes; those that shared one go on sharing.
    fn update(&mut self, mask: u32, change: impl Fn(&mut Clock)) {
        let mut done: Vec<(*const Clock, Rc<Clock>)> = Vec::new();
        // the old clocks stay alive until the end, so that a new one cannot get the address of an old one
        let mut old = Vec::new();
        for lane in lanes_of(mask) {
            let key = Rc::as_ptr(&self.lanes[lane]);
            let known = done.iter().find(|(old, _)| *old == key).map(|(_, new)| Rc::clone(new));
            let new = known.unwrap_or_else(|| {
                let mut clock = Clock::clone(&self.lanes[lane]);
                change(&mut clock);
                let new = Rc::new(clock);
                done.push((key, Rc::clone(&new)));
                new
            });
            old.push(std::mem::replace(&mut self.lanes[lane], new));
        }
    }

    /// Orders what these lanes did before what they all do next.
    pub(crate) fn synchronize(&mut self, mask: u32) {
        let first = Rc::as_ptr(&self.lanes[crate::lanes::first_lane(mask)]);
        if !self.touched && lanes_of(mask).all(|lane| Rc::as_ptr(&self.lanes[lane]) == first) {
            return;
        }
        let mut joined = Clock::clone(&self.lanes[crate::lanes::first_lane(mask)]);
        self.release(mask, &mut joined);
        let joined = Rc::new(joined);
        lanes_of(mask).for_each(|lane| self.lanes[lane] = Rc::clone(&joined));
    }

    /// A fence by these lanes: it covers what each knows and did.
    pub(crate) fn fence(&mut self, mask: u32, cover: Cover) {
        for lane in lanes_of(mask) {
            let mut clock = self.snapshot(lane);
            clock.fence(cover);
            self.lanes[lane] = Rc::new(clock);
        }
        self.time += 1;
        self.touched = false;
    }

    /// What a lane knows and did.
    pub(crate) fn snapshot(&self, lane: usize) -> Clock {
        let mut clock = Clock::clone(&self.lanes[lane]);
        clock.learn(self.first_thread + lane as u32, self.time);
        clock
    }
}

/// A quick hash for small integers.
pub(crate) type FastHash = BuildHasherDefault<Multiply>;

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
