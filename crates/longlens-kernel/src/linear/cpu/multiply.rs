//! Products shared out to threads.

use std::marker::PhantomData;
use std::ops::Range;

use super::format::{self, Format, with_format};
use super::panels::Panels;
use super::{few, tile};
use crate::cpu::in_turn;
use crate::cpu::simd::{Simd, WithSimd};

/// A matrix that rows are multiplied with.
pub(super) struct Job<'a> {
    /// The matrix.
    pub panels: &'a Panels,
    /// `[n_rows, d_out]`.
    pub out: Out,
    /// Whether the product is added to what `out` holds.
    pub add: bool,
}

/// Results that tasks write; each writes rows and outputs of its own.
pub(super) struct Out {
    start: *mut f32,
    len: usize,
}

// SAFETY: tasks write through it to places that do not overlap
unsafe impl Sync for Out {}

impl Out {
    pub fn new(whole: &mut [f32]) -> Self {
        Self { start: whole.as_mut_ptr(), len: whole.len() }
    }

    /// Where a result stands.
    fn at(&self, index: usize) -> *mut f32 {
        assert!(index < self.len, "result {index} of {}", self.len);
        // SAFETY: inside by the check above
        unsafe { self.start.add(index) }
    }
}

/// Rows that are whole blocks.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    /// From the first row on.
    pub numbers: &'a [f32],
    /// Numbers from a row to the next.
    pub stride: usize,
    /// Rows, each a token.
    pub n_rows: usize,
    /// Numbers of a row.
    pub width: usize,
}

/// Fewer words than these are read by one thread: waking others would take longer.
const PARALLEL_WORDS: usize = 1 << 18;
/// Words of one task of [`Few`].
const TASK_WORDS: usize = 1 << 15;
/// Fewer multiplications than these are done by one thread.
const PARALLEL_PRODUCTS: usize = 1 << 22;
/// Rows of one task of [`Many`] at most: their numbers and a tile's weights stay in the second cache.
const TASK_ROWS: usize = 384;
/// Outputs of one task of [`Many`] at most.
const TASK_OUTPUTS: usize = 512;

/// Runs all jobs, of one instruction set, on the same rows.
pub(super) fn multiply(jobs: &[Job<'_>], x: &Input<'_>) {
    let Some(first) = jobs.first().filter(|_| x.n_rows > 0) else { return };
    assert!(x.numbers.len() >= (x.n_rows - 1) * x.stride + x.width, "{} rows of {}", x.n_rows, x.width);
    for job in jobs {
        assert_eq!(job.panels.lanes, first.panels.lanes, "one instruction set");
        assert!(x.width >= job.panels.width(), "rows of {} for blocks of {}", x.width, job.panels.width());
        assert_eq!(job.out.len, x.n_rows * job.panels.d_out, "room for every output");
    }
    first.panels.arch.dispatch(Multiply { jobs, x });
}

#[derive(Clone, Copy)]
struct Multiply<'a> {
    jobs: &'a [Job<'a>],
    x: &'a Input<'a>,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let few = self.jobs.iter().all(|job| self.x.n_rows <= format::facts(job.panels.storage).2);
        if few { self.few(simd) } else { self.many(simd) }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    fn few<S: Simd>(self, simd: S) {
        let parallel = self.jobs.iter().map(|job| job.panels.n_words()).sum::<usize>() >= PARALLEL_WORDS;
        let mut tasks = Vec::new();
        for job in self.jobs {
            let n_panels = job.panels.n_panels();
            let step = if parallel { (TASK_WORDS / job.panels.panel_len).max(1) } else { n_panels };
            tasks.extend((0..n_panels).step_by(step).map(|start| (job, start..(start + step).min(n_panels))));
        }
        let body = |(job, panels): &(&Job<'_>, Range<usize>)| {
            let few = Few { job, x: self.x, panels: panels.clone() };
            with_format!(job.panels.storage, F => simd.vectorize(As::<F>(few, PhantomData)));
        };
        if parallel {
            in_turn(tasks.len(), || (), |task, ()| body(&tasks[task]));
        } else {
            tasks.iter().for_each(body);
        }
    }

    #[inline(always)]
    fn many<S: Simd>(self, simd: S) {
        let n_rows = self.x.n_rows;
        let n_outputs: usize = self.jobs.iter().map(|job| job.panels.d_out).sum();
        let parallel = n_rows * self.x.width * n_outputs >= PARALLEL_PRODUCTS;
        let rows = n_rows.div_ceil(n_rows.div_ceil(TASK_ROWS)).next_multiple_of(tile::ROWS);
        // enough tasks that all threads end together
        let wanted = if parallel { (4 * rayon::current_num_threads()).div_ceil(n_rows.div_ceil(rows)) } else { 1 };
        let step = (n_outputs / wanted).min(TASK_OUTPUTS) / S::F32_LANES;
        let step = step.max(1).next_multiple_of(tile::panels_of_tile::<S>());
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
            let (job, panels, rows) = &tasks[task];
            simd.vectorize(Many { job, x: self.x, panels: panels.clone(), rows: rows.clone(), scratch });
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
    x: &'a Input<'a>,
    panels: Range<usize>,
}

/// That, in a format.
struct As<'a, F>(Few<'a>, PhantomData<F>);

/// Lanes of the widest instruction set.
const MAX_LANES: usize = 16;

impl<F: Format> WithSimd for As<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Few { job: Job { panels, out, add }, x, panels: range } = self.0;
        assert!(S::F32_LANES <= MAX_LANES, "{} lanes", S::F32_LANES);
        let mut rows = [x.numbers.as_ptr(); few::ROWS];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = x.numbers[r.min(x.n_rows - 1) * x.stride..].as_ptr();
        }
        let mut sums = [0.0; few::ROWS * MAX_LANES];
        for panel in range {
            let words = panels.words(panel).as_ptr();
            let product = few::Panel { words, n_blocks: panels.n_blocks, x: rows, n_rows: x.n_rows };
            // SAFETY: the panel has that many blocks, the rows are as long, and `sums` takes a vector for each
            unsafe { product.multiply::<S, F>(simd, sums.as_mut_ptr()) };
            let outputs = panel * S::F32_LANES..((panel + 1) * S::F32_LANES).min(panels.d_out);
            for (r, sums) in sums.chunks(S::F32_LANES).take(x.n_rows).enumerate() {
                let out = out.at(r * panels.d_out + outputs.start);
                // SAFETY: the outputs of a panel in a row, and every task has panels of its own
                let out = unsafe { std::slice::from_raw_parts_mut(out, outputs.len()) };
                for (at, out) in out.iter_mut().enumerate() {
                    let bias = panels.bias.as_ref().map_or(0.0, |bias| bias[outputs.start + at]);
                    *out = sums[at] + bias + if *add { *out } else { 0.0 };
                }
            }
        }
    }
}

/// Some panels times some of many rows.
struct Many<'a> {
    job: &'a Job<'a>,
    x: &'a Input<'a>,
    panels: Range<usize>,
    rows: Range<usize>,
    scratch: &'a mut tile::Scratch,
}

impl WithSimd for Many<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { job: Job { panels, out, add }, x, panels: range, rows, scratch } = self;
        let first = range.start * S::F32_LANES;
        let task = tile::Task {
            storage: panels.storage,
            words: panels.words(range.start),
            panel_len: panels.panel_len,
            n_panels: range.len(),
            n_blocks: panels.n_blocks,
            x: x.numbers.as_ptr(),
            x_stride: x.stride,
            rows,
            out: out.at(first),
            out_stride: panels.d_out,
            n_outputs: (range.end * S::F32_LANES).min(panels.d_out) - first,
            bias: panels.bias.as_ref().map(|bias| &bias[first..]),
            add: *add,
        };
        // SAFETY: panels and rows are whole blocks, and the outputs are the task's own
        unsafe { task.run(simd, scratch) };
    }
}
