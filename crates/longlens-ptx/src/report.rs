//! What a launch did, and what was wrong with it.

use std::collections::BTreeMap;
use std::fmt;

/// A line of the CUDA text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub line: u32,
    /// Where the function that holds the line was called, if the compiler inlined it.
    pub inlined_at: Option<u32>,
}

/// An instruction of the PTX text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub opcode: String,
    /// The whole instruction.
    pub text: String,
    /// Absent where the text was compiled without `-lineinfo`.
    pub line: Option<Line>,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.text.chars().take(100).collect();
        write!(f, "`{shown}`")?;
        match self.line {
            Some(Line { line, inlined_at: Some(outer) }) => write!(f, " (line {line}, inlined at line {outer})"),
            Some(Line { line, inlined_at: None }) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

/// A kind of mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mistake {
    /// An access outside every allocation, or to address 0.
    OutOfBounds,
    /// An address that is no multiple of the access's size.
    Misaligned,
    /// A store to a buffer that the caller gave as an input.
    ReadOnly,
    /// A read of memory that nobody wrote.
    UninitializedMemory,
    /// A read of a register that was never written.
    UninitializedRegister,
    /// Two accesses to a word without an order between them, at least one of which writes.
    Race,
    /// Shared memory written by ordinary stores, then used by the copy engine or `wgmma` without `fence.proxy.async`.
    MissingProxyFence,
    /// A register of an unfinished `wgmma` was read or written.
    UnfinishedWgmma,
    /// A register of a `wgmma` was written after the last `wgmma.fence`, or there was none before the first `wgmma`.
    MissingWgmmaFence,
    /// A barrier for whole warps that only some lanes of a warp reached.
    DivergentBarrier,
    /// A block that ended while copies from its shared memory were under way.
    UnfinishedStore,
    /// All warps wait.
    Deadlock,
    /// More instructions than the launch allows: a loop without end, or a wait for another block.
    TooLong,
    /// A `trap` instruction.
    Trap,
    /// A wrong use of an `mbarrier`, a tensor map, a descriptor or a collective instruction.
    Misuse,
}

/// A mistake and where it happened first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub mistake: Mistake,
    pub site: Site,
    /// The other instruction of a race.
    pub other: Option<Site>,
    pub block: [u32; 3],
    /// The thread's number in its block.
    pub thread: u32,
    pub detail: String,
    /// How often this instruction made this mistake.
    pub count: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.block;
        write!(f, "{:?} at {}", self.mistake, self.site)?;
        if let Some(other) = &self.other {
            write!(f, " with {other}")?;
        }
        write!(f, ", block ({x}, {y}, {z}), thread {}: {}", self.thread, self.detail)?;
        if self.count > 1 { write!(f, " ({} times)", self.count) } else { Ok(()) }
    }
}

/// Bytes that a launch read from and wrote to a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    pub buffer: String,
    pub loaded: u64,
    pub stored: u64,
}

/// Bank conflicts of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts {
    pub site: Site,
    /// How often a warp executed the instruction.
    pub accesses: u64,
    /// Passes through shared memory that an access without conflicts needs not.
    pub extra: u64,
}

/// What a launch did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    pub warp_instructions: u64,
    pub lane_instructions: u64,
    /// How often a warp executed each opcode.
    pub opcodes: BTreeMap<String, u64>,
    /// Products of a warp (`mma`).
    pub mma: u64,
    /// Products of a warpgroup (`wgmma`).
    pub wgmma: u64,
    pub traffic: Vec<Traffic>,
    pub conflicts: Vec<Conflicts>,
    /// Shared memory of a block: what is declared and what the launch adds.
    pub shared_bytes: u32,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Passes that bank conflicts add, over all instructions.
    pub fn extra_passes(&self) -> u64 {
        self.conflicts.iter().map(|conflicts| conflicts.extra).sum()
    }

    /// The findings of one kind.
    pub fn of(&self, mistake: Mistake) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.mistake == mistake)
    }

    /// Panics with every finding, if there is one.
    pub fn assert_clean(&self) {
        let all: Vec<String> = self.findings.iter().map(ToString::to_string).collect();
        assert!(all.is_empty(), "the launch has {} findings:\n{}", all.len(), all.join("\n"));
    }

    /// Panics if a shared access needs more passes than without bank conflicts.
    pub fn assert_no_conflicts(&self) {
        let lines = self.conflicts.iter().filter(|conflicts| conflicts.extra > 0);
        let all: Vec<String> =
            lines.map(|c| format!("{} extra passes in {} accesses at {}", c.extra, c.accesses, c.site)).collect();
        assert!(all.is_empty(), "bank conflicts:\n{}", all.join("\n"));
    }

    /// Adds the products and findings of other blocks.
    pub(crate) fn merge(&mut self, other: Self) {
        self.mma += other.mma;
        self.wgmma += other.wgmma;
        other.findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// Adds a finding, or counts it with those of the same instructions.
    pub(crate) fn add(&mut self, finding: Finding) {
        let same = |known: &&mut Finding| {
            known.mistake == finding.mistake && known.site == finding.site && known.other == finding.other
        };
        match self.findings.iter_mut().find(same) {
            Some(known) => known.count += finding.count,
            None => self.findings.push(finding),
        }
    }
}
