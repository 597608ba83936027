//! What a session holds beside its models, against what it may hold.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Machine, Room, live, share, size};

/// Counts what a session holds: everything that was allocated since it began, without weights and caches of models.
#[derive(Debug)]
pub struct Gauge {
    /// Bytes that were in use before the session; fewer once some of these are free.
    base: Cell<i64>,
    /// Bytes that models take.
    models: Arc<AtomicI64>,
    limit: Cell<u64>,
    /// What the running cell may reach.
    allowed: Cell<u64>,
    /// What was held when the machine was asked last.
    asked_at: Cell<u64>,
    /// Bytes that the machine must keep.
    least: u64,
}

/// Less than this left of the machine, and a cell is stopped; on small machines less.
const LEAST_LEFT: u64 = 512 << 20;
/// Growth after which the machine is asked again.
const ASK_AFTER: u64 = 64 << 20;
/// What a cell may use of its own where older ones fill the limit: enough to let go of a variable.
const SLACK: u64 = 1 << 20;

impl Default for Gauge {
    fn default() -> Self {
        let room = Machine::here().room().map_or(u64::MAX, |room| room.bytes);
        let limit = Cell::new(share());
        let (base, models) = (Cell::new(live() as i64), Arc::default());
        let (allowed, asked_at) = (Cell::new(u64::MAX), Cell::new(0));
        Self { base, models, limit, allowed, asked_at, least: LEAST_LEFT.min(room / 8) }
    }
}

impl Gauge {
    /// Bytes that are held. Where it would be less than nothing, something older than the session was freed; what cells make
    /// from then on counts all the same.
    pub fn held(&self) -> u64 {
        let held = (live() as i64) - self.base.get() - self.models.load(Ordering::Relaxed);
        self.base.set(self.base.get() + held.min(0));
        held.max(0) as u64
    }

    /// Sets the most that may be held.
    pub fn set_limit(&self, limit: u64) {
        self.limit.set(limit);
        self.begin();
    }

    /// A cell begins. One that finds the limit passed can still do what takes little.
    pub fn begin(&self) {
        self.allowed.set(self.limit.get().max(self.held().saturating_add(SLACK)));
    }

    /// Whether more is held than the running cell may.
    pub fn is_over(&self) -> bool {
        self.held() > self.allowed.get()
    }

    /// Whether so many bytes more would be too many, for the session or, where they are many, for the machine.
    pub fn lacks(&self, bytes: u64) -> bool {
        let is_short = |room: Room| room.bytes.saturating_sub(bytes) < self.least;
        self.held().saturating_add(bytes) > self.allowed.get()
            || bytes > ASK_AFTER && Machine::here().room().is_some_and(is_short)
    }

    /// Whether much was taken since the machine was asked last.
    pub fn has_grown(&self) -> bool {
        self.held() > self.asked_at.get().saturating_add(ASK_AFTER)
    }

    /// What the machine has left, where that is too little.
    pub fn shortage(&self) -> Option<Room> {
        self.asked_at.set(self.held());
        Machine::here().room().filter(|room| room.bytes < self.least)
    }

    /// The limit as people read it.
    pub fn limit(&self) -> String {
        size(self.limit.get())
    }

    /// What must be left of the machine, as people read it.
    pub fn least(&self) -> String {
        size(self.least)
    }

    /// Where models count what they take, which is not held by the session.
    pub fn models(&self) -> Arc<AtomicI64> {
        self.models.clone()
    }
}
