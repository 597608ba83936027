//! What the processor's kernels share: instruction sets, packed keys, the tile of attention, and burn-flex's storage.
//!
//! Every kernel is generic over the instruction set and chosen at run time (`pulp`): AVX-512, AVX2 with FMA, NEON, or
//! portable code. Read `tile` first: it is the inner loop of all of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn_flex::{Flex, FlexTensor, Layout};
use burn_tensor::ops::IntTensorOps;
use burn_tensor::{Bytes, DType, Int, IntDType, Shape, Tensor, TensorPrimitive};

mod crew;
pub(crate) mod pages;
pub(crate) mod panels;
pub(crate) mod rotate;
pub(crate) mod run;
pub mod simd;
pub(crate) mod tile;

/// A tensor whose rows are read where they lie.
pub(crate) struct RowTensor {
    tensor: FlexTensor,
}

impl RowTensor {
    /// Holds `t`; copied first if the numbers of a row are not side by side.
    pub(crate) fn new<const D: usize>(t: Tensor<Flex, D>) -> Self {
        let tensor = t.into_primitive().tensor();
        let strides = tensor.layout().strides();
        let plain = strides[D - 1] == 1 && strides.iter().all(|s| *s >= 0);
        Self { tensor: if plain { tensor } else { tensor.to_contiguous() } }
    }

    /// Its numbers where they lie. Made once per task: asking burn-flex for a storage costs more than a row of it.
    pub(crate) fn rows(&self) -> Rows<'_> {
        let strides = self.tensor.layout().strides();
        let (of_matrix, of_row) = match strides {
            [matrix, row, _] => (*matrix as usize, *row as usize),
            [row, _] => (0, *row as usize),
            _ => unreachable!("a table or heads of rows"),
        };
        Rows { numbers: &self.tensor.storage::<f32>()[self.tensor.layout().start_offset()..], of_matrix, of_row }
    }
}

/// Rows of numbers, `[n_rows, width]` or `[n_matrices, n_rows, width]`.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    numbers: &'a [f32],
    of_matrix: usize,
    of_row: usize,
}

impl<'a> Rows<'a> {
    /// Everything from row `row` of matrix `at` on.
    pub(crate) fn from(&self, at: usize, row: usize) -> tile::Values<'a> {
        tile::Values { numbers: &self.numbers[at * self.of_matrix + row * self.of_row..], stride: self.of_row }
    }

    /// The first `len` numbers of row `row` of matrix `at`.
    #[inline(always)]
    pub(crate) fn of(&self, at: usize, row: usize, len: usize) -> &'a [f32] {
        let start = at * self.of_matrix + row * self.of_row;
        &self.numbers[start..start + len]
    }
}

/// A rotation's tables, read where they lie.
pub(crate) struct AngleTensors {
    cos: RowTensor,
    sin: RowTensor,
    half: usize,
}

impl AngleTensors {
    pub(crate) fn new(rotary: &crate::rotary::Rotary<Flex>) -> Self {
        let half = rotary.cos.dims()[1];
        Self { cos: RowTensor::new(rotary.cos.clone()), sin: RowTensor::new(rotary.sin.clone()), half }
    }

    pub(crate) fn rows(&self) -> Angles<'_> {
        Angles { cos: self.cos.rows(), sin: self.sin.rows(), half: self.half }
    }
}

/// Cosines and sines of rows.
#[derive(Clone, Copy)]
pub(crate) struct Angles<'a> {
    cos: Rows<'a>,
    sin: Rows<'a>,
    half: usize,
}

impl<'a> Angles<'a> {
    /// Cosines and sines of a row, `rotary_dim / 2` each.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> (&'a [f32], &'a [f32]) {
        (self.cos.of(0, row, self.half), self.sin.of(0, row, self.half))
    }
}

/// A tensor of these numbers, row-major.
pub(crate) fn tensor<const D: usize>(numbers: Vec<f32>, shape: [usize; D]) -> Tensor<Flex, D> {
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    Tensor::from_primitive(TensorPrimitive::Float(FlexTensor::new(Bytes::from_elems(numbers), layout, DType::F32)))
}

/// A tensor of these whole numbers, row-major.
pub(crate) fn int_tensor<const D: usize>(numbers: Vec<i32>, shape: [usize; D]) -> Tensor<Flex, D, Int> {
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    Tensor::from_primitive(FlexTensor::new(Bytes::from_elems(numbers), layout, DType::I32))
}

/// Whole numbers that are read where they lie: a block of rows, one after the other.
pub(crate) struct IntTensor {
    tensor: FlexTensor,
}

impl IntTensor {
    /// Holds `t`; copied first if its numbers are not side by side.
    pub(crate) fn new<const D: usize>(t: Tensor<Flex, D, Int>) -> Self {
        let tensor = t.into_primitive();
        let tensor = if tensor.dtype() == DType::I32 { tensor } else { Flex::int_cast(tensor, IntDType::I32) };
        Self { tensor: if tensor.layout().is_contiguous() { tensor } else { tensor.to_contiguous() } }
    }

    /// Its numbers, row-major.
    pub(crate) fn numbers(&self) -> &[i32] {
        &self.tensor.storage::<i32>()[self.tensor.layout().start_offset()..]
    }
}

/// Runs `body` for every task in order, the next free thread taking the next task, each with a scratch of its own.
///
/// Order matters where tasks are unequal: with the longest first, all threads end together.
pub(crate) fn in_turn<T>(n_tasks: usize, scratch: impl Fn() -> T + Sync, body: impl Fn(usize, &mut T) + Sync) {
    let n_threads = rayon::current_num_threads().min(n_tasks);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut scratch = scratch();
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= n_tasks {
                return;
            }
            body(task, &mut scratch);
        }
    };
    if n_threads <= 1 {
        return work();
    }
    if rayon::current_thread_index().is_none() && crew::run(n_threads - 1, &work) {
        return;
    }
    // on a thread of rayon's, or while another job runs, tasks are shared out among rayon's threads
    rayon::scope(|scope| {
        for _ in 1..n_threads {
            scope.spawn(|_| work());
        }
        work();
    });
}

/// An output that tasks fill in parts that do not overlap.
pub(crate) struct Parts<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: `slice` demands that no two users hold the same part.
unsafe impl<T: Send> Send for Parts<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Parts<T> {}

impl<T> Parts<T> {
    pub(crate) fn new(whole: &mut [T]) -> Self {
        Self { start: whole.as_mut_ptr(), len: whole.len() }
    }

    /// `len` numbers from `start` on.
    ///
    /// # Safety
    /// The slice that this was made of is still borrowed, and nobody else holds a number of this part.
    #[allow(clippy::mut_from_ref)] // parts are disjoint by the contract
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start + len <= self.len, "part {start}..{} of {}", start + len, self.len);
        // SAFETY: inside the slice by the check above, exclusive by the caller's promise
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
