//! Decoded instructions.

mod asynchronous;
mod barrier;
mod matrix;

pub(crate) use asynchronous::{Bulk, CopyAsync, MBarrier, MBarrierKind};
pub(crate) use barrier::{Barrier, BarrierKind, CLUSTER_BARRIER, Fence, Reduce, ReduceKind};
pub(crate) use matrix::{Element, Mma, Wgmma, WgmmaA};

use crate::lanes::{AluFn, CompareFn};
use crate::lower::Conversion;

/// A register's number in a warp's file.
pub(crate) type Slot = u32;
/// The destination `_`: the result is dropped.
pub(crate) const SINK: Slot = Slot::MAX;

/// A function of four operands of one lane.
pub(crate) type FourFn = fn(u64, u64, u64, u64) -> u64;

/// An operand: a register or a constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Src {
    Reg(Slot),
    Imm(u64),
}

/// A predicate operand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pred {
    Reg { slot: Slot, negated: bool },
    Const(bool),
}

/// An instruction and the predicate that it waits for.
#[derive(Debug, Clone)]
pub(crate) struct Instruction {
    pub guard: Option<Pred>,
    pub op: Op,
}

/// Logic of predicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
    /// The first operand alone.
    Move,
    Not,
}

/// A state space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    Global,
    Shared,
    Local,
    /// Parameters of the kernel.
    Param,
    /// Parameters of device functions, at fixed places of a lane's own memory.
    Frame,
}

/// An address: a register or constant, and an offset.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addr {
    pub space: Space,
    pub base: Src,
    pub offset: i64,
}

/// An arithmetic instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alu {
    pub run: AluFn,
    pub d: Slot,
    pub a: Src,
    pub b: Src,
    pub c: Src,
    /// `.ftz` of f32.
    pub flush: bool,
    /// `.sat` of f32: into 0..=1, NaN becomes 0.
    pub saturate: bool,
}

/// `setp`: comparison, then combination with a predicate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SetP {
    pub run: CompareFn,
    pub d: Slot,
    pub complement: Slot,
    pub a: Src,
    pub b: Src,
    pub flush: bool,
    pub combine: Option<(Logic, Pred)>,
}

/// `ld`: one address, one or more registers.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub addr: Addr,
    pub d: Vec<Slot>,
    /// Bytes of an element.
    pub bytes: usize,
    /// Sign-extended to the register.
    pub signed: bool,
    /// Through the read-only cache (`.nc`), which does not see what the kernel writes.
    pub read_only: bool,
    pub order: Order,
}

/// `st`.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub addr: Addr,
    pub values: Vec<Src>,
    pub bytes: usize,
    pub order: Order,
}

/// Whether other threads may take part in an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// An ordinary access, which races with others.
    Weak,
    /// Volatile and relaxed: meant for use between threads.
    Strong,
    /// Acquire and release: it hands on what a thread knows as well.
    Ordered,
}

/// `atom` and `red`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Atomic {
    pub addr: Addr,
    /// The new value from (old, operand, second operand).
    pub run: AluFn,
    /// `SINK` for `red`.
    pub d: Slot,
    pub b: Src,
    pub c: Src,
    pub bytes: usize,
    pub order: Order,
}

/// Special registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    LaneId,
    WarpId,
    NWarpId,
    /// A count that grows with every executed instruction.
    Clock,
    DynamicShared,
    TotalShared,
    LaneMask(LaneMask),
    Constant(u32),
}

/// The lanes that `%lanemask_…` names, as seen from the lane itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneMask {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Modes of `vote`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vote {
    Ballot,
    Any,
    All,
    Uniform,
}

/// Modes of `shfl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// An instruction that all lanes of `members` execute together.
#[derive(Debug, Clone)]
pub(crate) struct Collective {
    pub members: Src,
    pub kind: CollectiveKind,
}

/// What lanes do together.
#[derive(Debug, Clone)]
pub(crate) enum CollectiveKind {
    WarpSync,
    Shuffle {
        mode: Shuffle,
        d: Slot,
        p: Slot,
        a: Src,
        b: Src,
        c: Src,
    },
    Vote {
        mode: Vote,
        d: Slot,
        p: Pred,
    },
    /// `all`: `match.all`, whose predicate is `p`.
    Match {
        all: bool,
        d: Slot,
        p: Slot,
        a: Src,
    },
    Redux {
        run: AluFn,
        d: Slot,
        a: Src,
    },
    Elect {
        d: Slot,
        p: Slot,
    },
    LoadMatrix {
        d: Vec<Slot>,
        addr: Addr,
        transposed: bool,
    },
    StoreMatrix {
        values: Vec<Src>,
        addr: Addr,
        transposed: bool,
    },
    MoveMatrix {
        d: Slot,
        a: Src,
    },
    Mma(Box<Mma>),
    Wgmma(Box<Wgmma>),
    WgmmaFence,
    WgmmaCommit,
    WgmmaWait {
        pending: u32,
    },
    SetMaxRegisters,
}

/// A call of a device function.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The first instruction of the function.
    pub target: u32,
    /// Bytes of the caller's memory that become parameters: (from, to, bytes).
    pub arguments: Vec<(u32, u32, u32)>,
    pub results: Vec<(u32, u32, u32)>,
}

/// What an instruction does.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Alu(Alu),
    /// `bfi` and `lop3`, which read four operands.
    Four {
        run: FourFn,
        d: Slot,
        operands: [Src; 4],
    },
    Convert {
        conversion: Conversion,
        d: Slot,
        a: Src,
        b: Src,
    },
    /// `add.cc`, `subc`, `mad.lo.cc` …: arithmetic through the carry flag.
    Carry(Carry),
    SetP(SetP),
    Logic {
        logic: Logic,
        d: Slot,
        a: Pred,
        b: Pred,
    },
    Select {
        d: Slot,
        a: Src,
        b: Src,
        p: Pred,
    },
    Move {
        d: Slot,
        a: Src,
    },
    Special {
        d: Slot,
        which: Special,
    },
    /// Parts of `bits` bits into one register, lowest first.
    Pack {
        d: Slot,
        parts: Vec<Src>,
        bits: u32,
    },
    Unpack {
        d: Vec<Slot>,
        a: Src,
        bits: u32,
    },
    Load(Load),
    Store(Store),
    Atomic(Atomic),
    Prefetch,
    /// Whether a generic address lies in a space.
    IsSpace {
        d: Slot,
        a: Src,
        space: Space,
    },
    Branch {
        target: u32,
    },
    BranchIndex {
        index: Src,
        targets: Vec<u32>,
    },
    Call(Box<Call>),
    Return,
    Exit,
    Trap,
    Barrier(Barrier),
    /// `membar` and `fence`.
    Fence(Fence),
    ActiveMask {
        d: Slot,
    },
    Collective(Collective),
    CopyAsync(CopyAsync),
    CopyCommit,
    /// Groups that may stay open.
    CopyWait {
        pending: u32,
    },
    MBarrier(MBarrier),
    Bulk(Bulk),
    Nop,
}

/// An arithmetic instruction with the carry flag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carry {
    pub kind: CarryKind,
    pub d: Slot,
    pub a: Src,
    pub b: Src,
    pub c: Src,
    pub reads: bool,
    pub writes: bool,
    pub bytes: usize,
}

/// Arithmetic with the carry flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CarryKind {
    Add,
    Sub,
    MadLo,
    MadHi,
}
