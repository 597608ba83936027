//! Products shared out to threads.

use std::marker::PhantomData;
use std::ops::Range;

use super::format::{BLOCK, Bf16, F32, Format, Q4, Q8};
use super::panels::Panels;
use super::{few, tile};
use crate::cpu::in_turn;
use crate::cpu::simd::{Simd, WithSimd};
use crate::linear::Storage;

/// A matrix that `x` is multiplied with.
struct Job<'a> {
    panels: &'a Panels,
    out: Out, // [n_rows, d_out]
    /// Whether the product is added to what `out` holds.
    add: bool,
}

/// Results that tasks write; each writes rows and outputs of its own.
struct Out {
    start: *mut f32,
    len: usize,
}

// SAFETY: tasks write through it to places that do not overlap
unsafe impl Sync for Out {}

impl Out {
    fn new(whole: &mut [f32]) -> Self {
        Self { start: whole.as_mut_ptr(), len: whole.len() }
    }

    /// Where a result stands.
    fn at(&self, index: usize) -> *mut f32 {
        assert!(index < self.len, "result {index} of {}", self.len);
        // SAFETY: inside by the check above
        unsafe { self.start.add(index) }
    }
}

/// Fewer words than these are read by one thread: waking others would take longer.
const PARALLEL_WORDS: usize = 1 << 17;
/// Words of one task of [`Few`].
const TASK_WORDS: usize = 1 << 15;
/// Fewer multiplications than these are done by one thread.
const PARALLEL_PRODUCTS: usize = 1 << 20;
/// Rows of one task of [`Many`] at most: their numbers and a tile's weights stay in the second cache.
const TASK_ROWS: usize = 384;
/// Outputs of one task of [`Many`] at most.
const TASK_OUTPUTS: usize = 512;

/// All jobs, of one instruction set, on the same rows.
fn multiply(jobs: &[Job<'_>], x: &Rows) {
    if x.n_rows == 0 {
        return;
    }
    for job in jobs {
        assert_eq!(x.width, job.panels.d_in, "rows as wide as the matrix");
    }
    // blocks are whole: short rows are filled up with zeros
    let width = x.width.next_multiple_of(BLOCK);
    let mut copy = Aligned::default();
    let (start, stride) = if width == x.width {
        (x.row(0).as_ptr(), x.stride)
    } else {
        copy = Aligned::zeros(x.n_rows * width);
        for (row, out) in copy.chunks_exact_mut(width).enumerate() {
            out[..x.width].copy_from_slice(x.row(row));
        }
        (copy.as_ptr(), width)
    };
    let arch = jobs[0].panels.arch;
    let input = Input { start, stride, n_rows: x.n_rows };
    arch.dispatch(Multiply { jobs, x: &input });
    drop(copy);
}

/// Rows that are whole blocks.
struct Input {
    start: *const f32,
    stride: usize,
    n_rows: usize,
}

// SAFETY: the rows are only read, and outlive the products
unsafe impl Sync for Input {}

struct Multiply<'a> {
    jobs: &'a [Job<'a>],
    x: &'a Input,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.x.n_rows <= few::ROWS { self.few(simd) } else { self.many(simd) }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn few<S: Simd>(&self, simd: S) {
        let n_words: usize = self.jobs.iter().map(|job| job.panels.lines.len() * LINE).sum();
        let mut tasks = Vec::new();
        for job in self.jobs {
            let panels = job.panels;
            let step = if n_words < PARALLEL_WORDS { panels.n_panels() } else { (TASK_WORDS / panels.panel_len).max(1) };
            tasks.extend((0..panels.n_panels()).step_by(step).map(|start| {
                (job, start..(start + step).min(panels.n_panels()))
            }));
        }
        let body = |(job, range): &(&Job<'_>, Range<usize>)| {
            let few = Few { job, x: self.x, range: range.clone() };
            match job.panels.storage {
                Storage::F32 => simd.vectorize(Inside::<_, F32>::new(few)),
                Storage::Bf16 => simd.vectorize(Inside::<_, Bf16>::new(few)),
                Storage::Q8 => simd.vectorize(Inside::<_, Q8>::new(few)),
                Storage::Q4 => simd.vectorize(Inside::<_, Q4>::new(few)),
            }
        };
        if n_words < PARALLEL_WORDS {
            tasks.iter().for_each(body);
        } else {
            in_turn(tasks.len(), || (), |task, ()| body(&tasks[task]));
        }
    }

    #[inline(always)]
    fn many<S: Simd>(&self, simd: S) {
        let n_rows = self.x.n_rows;
        let n_products: usize = self.jobs.iter().map(|job| n_rows * job.panels.d_in * job.panels.d_out).sum();
        let parallel = n_products >= PARALLEL_PRODUCTS;
        let rows = n_rows.div_ceil(n_rows.div_ceil(TASK_ROWS)).next_multiple_of(tile::ROWS);
        let n_panels: usize = self.jobs.iter().map(|job| job.panels.n_panels()).sum();
        // enough tasks that all threads end together
        let wanted = if parallel { (4 * rayon::current_num_threads()).div_ceil(n_rows.div_ceil(rows)) } else { 1 };
        let step = (n_panels / wanted).clamp(1, (TASK_OUTPUTS / S::F32_LANES).max(1));
        let step = step.next_multiple_of(tile::panels_of_tile::<S>());
        let mut tasks = Vec::new();
        for job in self.jobs {
            let n_panels = job.panels.n_panels();
            for start in (0..n_panels).step_by(step) {
                // neighbours in time read the same weights
                for row in (0..n_rows).step_by(rows) {
                    tasks.push((job, start..(start + step).min(n_panels), row..(row + rows).min(n_rows)));
                }
            }
        }
        let scratch = || tile::Scratch::new(S::F32_LANES);
        let body = |task: usize, scratch: &mut tile::Scratch| {
            let (job, range, rows) = &tasks[task];
            let many = Many { job, x: self.x, range: range.clone(), rows: rows.clone(), scratch };
            match job.panels.storage {
                Storage::F32 => simd.vectorize(Inside::<_, F32>::new(many)),
                Storage::Bf16 => simd.vectorize(Inside::<_, Bf16>::new(many)),
                Storage::Q8 => simd.vectorize(Inside::<_, Q8>::new(many)),
                Storage::Q4 => simd.vectorize(Inside::<_, Q4>::new(many)),
            }
        };
        if parallel {
            in_turn(tasks.len(), scratch, body);
        } else {
            let mut scratch = scratch();
            (0..tasks.len()).for_each(|task| body(task, &mut scratch));
        }
    }
}

/// Some panels times a few rows.
struct Few<'a> {
    job: &'a Job<'a>,
    x: &'a Input,
    range: Range<usize>,
}

/// Some panels times some of many rows.
struct Many<'a> {
    job: &'a Job<'a>,
    x: &'a Input,
    range: Range<usize>,
    rows: Range<usize>,
    scratch: &'a mut tile::Scratch,
}

/// A task under a format.
struct Inside<T, F> {
    task: T,
    format: std::marker::PhantomData<F>,
}

impl<T, F> Inside<T, F> {
    fn new(task: T) -> Self {
        Self { task, format: std::marker::PhantomData }
    }
}

impl<F: Format> WithSimd for Inside<Few<'_>, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Few { job, x, range } = self.task;
        let panels = job.panels;
        let mut rows = [x.start; few::ROWS];
        for (r, row) in rows.iter_mut().enumerate() {
            // SAFETY: a row of the input
            *row = unsafe { x.start.add(r.min(x.n_rows - 1) * x.stride) };
        }
        let mut sums = [0.0; few::ROWS * MAX_LANES];
        for panel in range {
            let words = panels.words(panel).as_ptr();
            let product = few::Panel { words, n_blocks: panels.n_blocks, x: rows, n_rows: x.n_rows };
            // SAFETY: the panel has that many blocks, the rows are as long, and `sums` takes a vector for each
            unsafe { product.multiply::<S, F>(simd, sums.as_mut_ptr()) };
            let outputs = panel * S::F32_LANES..((panel + 1) * S::F32_LANES).min(panels.d_out);
            for (r, sums) in sums.chunks(S::F32_LANES).take(x.n_rows).enumerate() {
                let out = job.out.at(r * panels.d_out + outputs.start);
                // SAFETY: the rest of a row, and every task has panels of its own
                let out = unsafe { std::slice::from_raw_parts_mut(out, outputs.len()) };
                for (at, out) in out.iter_mut().enumerate() {
                    let bias = panels.bias.as_ref().map_or(0.0, |bias| bias[outputs.start + at]);
                    *out = sums[at] + bias + if job.add { *out } else { 0.0 };
                }
            }
        }
    }
}

/// More lanes than any instruction set has.
const MAX_LANES: usize = 16;

impl<F: Format> WithSimd for Inside<Many<'_>, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Many { job, x, range, rows, scratch } = self.task;
        let panels = job.panels;
        let first = range.start * S::F32_LANES;
        let n_outputs = (range.end * S::F32_LANES).min(panels.d_out) - first;
        let task = tile::Task {
            words: panels.words(range.start).as_ptr(),
            panel_len: panels.panel_len,
            n_panels: range.len(),
            n_blocks: panels.n_blocks,
            x: x.start,
            x_stride: x.stride,
            rows,
            out: job.out.at(first),
            out_stride: panels.d_out,
            n_outputs,
            bias: panels.bias.as_ref().map(|bias| &bias[first..]),
            add: job.add,
        };
        // SAFETY: panels and rows are whole blocks, and the outputs are the task's own
        unsafe { task.run::<S, F>(simd, scratch) };
    }
}
