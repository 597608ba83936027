//! Stored numbers become a tensor: converted, checked and turned in one pass.

use std::num::NonZero;
use std::thread;

use burn::tensor::{DType, Element, TensorData};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;

/// A stored format that can be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Format {
    F32,
    F16,
    Bf16,
}

/// Numbers that cannot be used: NaN, infinity, or too large for the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unusable {
    /// Flat index of the first one, in the stored order.
    pub first: usize,
    pub value: f32,
    pub count: usize,
}

/// The numbers of a tensor in the format `target`, with its two axes swapped if `transposed`.
pub(super) fn read(
    bytes: &[u8],
    dtype: Dtype,
    shape: &[usize],
    transposed: bool,
    target: DType,
) -> Result<TensorData, Unusable> {
    let format = Format::of(dtype).unwrap_or_else(|| panic!("{dtype} was to be refused before"));
    let stored = Table { bytes, format, cols: if transposed { shape[1] } else { 1 } };
    match target {
        DType::F16 => stored.read(shape, transposed, f16::MAX.to_f32(), f16::from_f32),
        DType::BF16 => stored.read(shape, transposed, bf16::MAX.to_f32(), bf16::from_f32),
        _ => stored.read(shape, transposed, f32::MAX, |x| x),
    }
}

impl Format {
    pub fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    fn decode(self, bytes: &[u8], numbers: &mut [f32]) {
        match self {
            Self::F32 => {
                for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                    *number = f32::from_le_bytes(*bytes);
                }
            }
            Self::Bf16 => {
                for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks().0) {
                    *number = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
                }
            }
            Self::F16 => {
                let mut halves = [f16::ZERO; TILE_COLS];
                for (numbers, bytes) in numbers.chunks_mut(TILE_COLS).zip(bytes.chunks(2 * TILE_COLS)) {
                    for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
                        *half = f16::from_le_bytes(*bytes);
                    }
                    halves[..numbers.len()].convert_to_f32_slice(numbers);
                }
            }
        }
    }
}

/// Numbers as they are stored, row-major.
#[derive(Clone, Copy)]
struct Table<'a> {
    bytes: &'a [u8],
    format: Format,
    cols: usize,
}

/// A tile of this size stays in the nearest cache; rows are set apart a little further than its width, so that those of
/// a tile do not compete for the same cache lines.
const TILE_ROWS: usize = 32;
const TILE_COLS: usize = 256;
const STRIDE: usize = TILE_COLS + 16;

/// Fewer numbers than this are not worth a thread.
const THREAD_SHARE: usize = 1 << 20;

impl Table<'_> {
    fn read<T: Element + Default>(
        self,
        shape: &[usize],
        transposed: bool,
        limit: f32,
        narrow: impl Fn(f32) -> T + Copy + Send,
    ) -> Result<TensorData, Unusable> {
        let n_numbers: usize = shape.iter().product();
        let rows = if transposed { shape[0] } else { 1 };
        let mut out = vec![T::default(); n_numbers];
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let n_threads = cores.min(n_numbers.div_ceil(THREAD_SHARE)).max(1);
        // each thread writes whole output rows, which are columns of the table when it is transposed
        let n_lines = n_numbers / rows.max(1);
        let share = n_lines.div_ceil(n_threads).max(1);
        let found = thread::scope(|scope| {
            let work = |(part, out)| {
                move || {
                    let first = part * share;
                    if transposed {
                        self.turn(rows, first, out, limit, narrow)
                    } else {
                        self.copy(first, out, limit, narrow)
                    }
                }
            };
            let mut parts = out.chunks_mut((share * rows).max(1)).enumerate();
            let own = parts.next();
            let others: Vec<_> = parts.map(|part| scope.spawn(work(part))).collect();
            let own = own.and_then(|part| work(part)());
            let joined =
                others.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            joined.fold(own, merge)
        });
        let shape: Vec<usize> = if transposed { vec![shape[1], shape[0]] } else { shape.into() };
        found.map_or_else(|| Ok(TensorData::new(out, shape)), Err)
    }

    /// Numbers from `first` on, in their order.
    fn copy<T>(self, first: usize, out: &mut [T], limit: f32, narrow: impl Fn(f32) -> T) -> Option<Unusable> {
        let size = self.format.size();
        let mut numbers = [0.0; TILE_COLS];
        let mut unusable = None;
        for (tile, out) in out.chunks_mut(TILE_COLS).enumerate() {
            let at = first + tile * TILE_COLS;
            let numbers = &mut numbers[..out.len()];
            self.format.decode(&self.bytes[at * size..(at + out.len()) * size], numbers);
            unusable = merge(unusable, check(numbers, limit, at));
            for (out, number) in out.iter_mut().zip(numbers) {
                *out = narrow(*number);
            }
        }
        unusable
    }

    /// Columns from `first_col` on, each as a row of `rows` numbers.
    fn turn<T>(
        self,
        rows: usize,
        first_col: usize,
        out: &mut [T],
        limit: f32,
        narrow: impl Fn(f32) -> T,
    ) -> Option<Unusable> {
        let size = self.format.size();
        let mut numbers = vec![0.0; TILE_ROWS * STRIDE];
        let mut unusable = None;
        for first_row in (0..rows).step_by(TILE_ROWS) {
            let n_rows = TILE_ROWS.min(rows - first_row);
            for (tile, out) in out.chunks_mut(rows * TILE_COLS).enumerate() {
                let n_cols = out.len() / rows;
                for row in 0..n_rows {
                    let at = (first_row + row) * self.cols + first_col + tile * TILE_COLS;
                    let numbers = &mut numbers[row * STRIDE..][..n_cols];
                    self.format.decode(&self.bytes[at * size..(at + n_cols) * size], numbers);
                    unusable = merge(unusable, check(numbers, limit, at));
                }
                for (col, out) in out.chunks_mut(rows).enumerate() {
                    for (row, out) in out[first_row..first_row + n_rows].iter_mut().enumerate() {
                        *out = narrow(numbers[row * STRIDE + col]);
                    }
                }
            }
        }
        unusable
    }
}

/// Looks at all numbers without a branch; only a tile with a bad one is looked at again.
fn check(numbers: &[f32], limit: f32, at: usize) -> Option<Unusable> {
    let usable = |x: f32| x.abs() <= limit; // false for NaN
    if numbers.iter().fold(true, |all, x| all & usable(*x)) {
        return None;
    }
    let first = numbers.iter().position(|x| !usable(*x))?;
    let count = numbers.iter().filter(|x| !usable(**x)).count();
    Some(Unusable { first: at + first, value: numbers[first], count })
}

fn merge(a: Option<Unusable>, b: Option<Unusable>) -> Option<Unusable> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let earlier = if a.first <= b.first { a } else { b };
            Some(Unusable { count: a.count + b.count, ..earlier })
        }
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(numbers: &[f32], dtype: Dtype) -> Vec<u8> {
        match dtype {
            Dtype::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Dtype::F16 => numbers.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
        }
    }

    #[test]
    fn every_format_keeps_its_numbers_in_both_orders() {
        // sizes around and between tiles and threads; small whole numbers are exact in every format
        for (rows, cols) in [(1, 1), (3, 5), (32, 256), (33, 257), (64, 300), (2048, 1030)] {
            let numbers: Vec<f32> = (0..rows * cols).map(|n| (n % 251) as f32 - 125.0).collect();
            let turned: Vec<f32> =
                (0..cols).flat_map(|c| (0..rows).map(move |r| (r, c))).map(|(r, c)| numbers[r * cols + c]).collect();
            for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
                let bytes = bytes_of(&numbers, dtype);
                for target in [DType::F32, DType::F16, DType::BF16] {
                    for (transposed, shape, expected) in
                        [(false, [rows, cols], &numbers), (true, [cols, rows], &turned)]
                    {
                        let data = read(&bytes, dtype, &[rows, cols], transposed, target).unwrap();
                        assert_eq!((data.dtype, data.shape.to_vec()), (target, shape.to_vec()));
                        assert_eq!(
                            &data.convert::<f32>().to_vec::<f32>().unwrap(),
                            expected,
                            "{rows} x {cols} {dtype}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn unusable_numbers_are_found_wherever_they_are() {
        let (rows, cols) = (1100, 1030);
        for transposed in [false, true] {
            for (bad, target) in [(f32::NAN, DType::F32), (f32::NEG_INFINITY, DType::F32), (1e30, DType::F16)] {
                let mut numbers = vec![0.5; rows * cols];
                for at in [7 * cols + 900, 1099 * cols + 3] {
                    numbers[at] = bad;
                }
                let found =
                    read(&bytes_of(&numbers, Dtype::F32), Dtype::F32, &[rows, cols], transposed, target).unwrap_err();
                assert_eq!((found.first, found.count), (7 * cols + 900, 2));
                assert_eq!(found.value.to_bits(), bad.to_bits());
            }
        }
    }

    #[test]
    fn empty_tensors_and_single_numbers_are_fine() {
        assert_eq!(read(&[], Dtype::F32, &[0, 4], true, DType::F32).unwrap().shape.to_vec(), [4, 0]);
        assert_eq!(
            read(&bytes_of(&[2.0], Dtype::BF16), Dtype::BF16, &[1], false, DType::F32).unwrap().num_elements(),
            1
        );
    }
}
