//! Operands of matrix products.

use super::{Pred, Slot, Src};

/// Element types of matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Element {
    F16,
    Bf16,
    Tf32,
    S8,
    U8,
}

/// `mma`: a product of one warp.
#[derive(Debug, Clone)]
pub(crate) struct Mma {
    /// Columns of A: 8, 16 or 32. A has 16 rows, B has 8 columns.
    pub k: usize,
    pub a_type: Element,
    pub b_type: Element,
    /// Accumulators of f32 or s32; otherwise pairs of f16.
    pub wide: bool,
    pub d: Vec<Slot>,
    pub a: Vec<Src>,
    pub b: Vec<Src>,
    pub c: Vec<Src>,
}

/// Where A of a `wgmma` comes from: a shared matrix is named by its descriptor.
#[derive(Debug, Clone)]
pub(crate) enum WgmmaA {
    Registers(Vec<Src>),
    Shared(Src),
}

/// `wgmma`: a product of 64 × 16 and 16 × `n` of a warpgroup.
#[derive(Debug, Clone)]
pub(crate) struct Wgmma {
    pub n: usize,
    pub element: Element,
    pub wide: bool,
    pub d: Vec<Slot>,
    pub a: WgmmaA,
    pub b: Src,
    /// Whether the accumulators are added to.
    pub scale_d: Pred,
    /// One of the operands counts with the other sign.
    pub negate: bool,
    /// A and B lie in shared memory with their rows contiguous.
    pub transpose: [bool; 2],
}
