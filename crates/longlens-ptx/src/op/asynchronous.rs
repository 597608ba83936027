//! Operands of asynchronous copies and of the barriers that count them.

use super::{Addr, Pred, Slot, Src};

/// Instructions on an `mbarrier` in shared memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MBarrier {
    pub addr: Addr,
    pub kind: MBarrierKind,
}

/// What is done with an `mbarrier`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MBarrierKind {
    Init {
        count: Src,
    },
    Invalidate,
    /// `state`: where the phase goes; `bytes`: transaction bytes expected first.
    Arrive {
        state: Slot,
        count: Src,
        bytes: Option<Src>,
        drop: bool,
    },
    ExpectTx {
        bytes: Src,
    },
    /// `parity`: whether `phase` is a parity or a state. `blocks`: `try_wait`, otherwise `test_wait`.
    Wait {
        p: Slot,
        phase: Src,
        parity: bool,
        blocks: bool,
    },
    /// The thread's copies so far arrive when they are done.
    CopiesArrive {
        increment: bool,
    },
    PendingCount {
        d: Slot,
        state: Src,
    },
}

/// `cp.async` of one thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CopyAsync {
    pub to: Addr,
    pub from: Addr,
    pub bytes: usize,
    /// Bytes that are read; the rest becomes zero.
    pub source_bytes: Option<Src>,
    pub ignore: Option<Pred>,
}

/// Copies of whole boxes by the copy engine.
#[derive(Debug, Clone)]
pub(crate) enum Bulk {
    Load {
        to: Addr,
        from: Addr,
        bytes: Src,
        barrier: Addr,
    },
    TensorLoad {
        to: Addr,
        map: Addr,
        coordinates: Vec<Src>,
        barrier: Addr,
    },
    Store {
        to: Addr,
        from: Addr,
        bytes: Src,
    },
    TensorStore {
        map: Addr,
        coordinates: Vec<Src>,
        from: Addr,
    },
    Commit,
    /// Groups that may stay open. That only the sources be read (`.read`) is taken as the whole store.
    Wait {
        pending: u32,
    },
}
