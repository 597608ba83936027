//! Operands of the barriers of a block, and fences.

use super::{Pred, Slot, Src};

/// Whether a thread waits at a barrier or only arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BarrierKind {
    Sync,
    Arrive,
}

/// Whom a fence orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    /// For the threads of a block.
    Block,
    /// For all blocks.
    Device,
    /// Between ordinary accesses and the copy engine.
    Proxy,
}

/// The number of the barrier that a cluster of one block has.
pub(crate) const CLUSTER_BARRIER: u64 = 16;

/// `bar.sync`, `bar.arrive` and `bar.red`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Barrier {
    pub kind: BarrierKind,
    pub id: Src,
    /// Threads that take part; all of the block where absent.
    pub threads: Option<Src>,
    pub reduce: Option<Reduce>,
    pub aligned: bool,
}

/// What `bar.red` computes from all threads' predicates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reduce {
    pub kind: ReduceKind,
    /// A predicate register, or a data register for `popc`.
    pub d: Slot,
    pub p: Pred,
}

/// Reductions of `bar.red`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReduceKind {
    Popc,
    And,
    Or,
}
