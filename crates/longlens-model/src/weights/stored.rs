//! A tensor in a file, whatever the file's format: name, shape, number format, and where its numbers lie.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use longlens_kernel::blocks::BlockType;

use super::adapter::Delta;
use super::numbers::{self, Format, Table, Unusable};
use crate::source::Mapped;

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, Stored>;

/// A tensor in a file.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    part: Arc<Mapped>,
    format: Format,
    shape: Vec<usize>,
    /// The bytes of its numbers; with strides, of the whole that it is a view into.
    range: Range<usize>,
    order: Order,
    /// What is added to every number, where a format keeps it shifted.
    offset: f32,
    /// What an adapter adds.
    delta: Option<Arc<Delta>>,
}

/// How the numbers lie.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Order {
    /// Row-major.
    Rows,
    /// Row-major, and the rows of every head are interleaved: those of its first half stand in even places, those of its second
    /// in odd ones.
    Interleaved { head_dim: usize },
    /// Number `[i, j, ..]` is number `i * strides[0] + j * strides[1] + ..`.
    Strided(Vec<usize>),
}

impl Stored {
    /// A row-major tensor whose numbers begin at byte `start`; `None` where they do not fit the file.
    pub fn new(part: &Arc<Mapped>, format: Format, shape: Vec<usize>, start: usize) -> Option<Self> {
        let n_numbers = shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size))?;
        let end = start.checked_add(format.n_bytes(n_numbers)?)?;
        (end <= part.len()).then(|| Self {
            part: Arc::clone(part),
            format,
            shape,
            range: start..end,
            order: Order::Rows,
            offset: 0.0,
            delta: None,
        })
    }

    /// A view into the bytes `range`, numbers of one to eight bytes; `None` where it leaves them.
    pub fn strided(
        part: &Arc<Mapped>,
        format: Format,
        shape: Vec<usize>,
        strides: Vec<usize>,
        range: Range<usize>,
    ) -> Option<Self> {
        let mut row_major = vec![1; shape.len()];
        for at in (1..shape.len()).rev() {
            row_major[at - 1] = shape[at].checked_mul(row_major[at])?;
        }
        let is_empty = shape.contains(&0);
        let counts = |(at, size): (usize, &usize)| *size <= 1 || strides[at] == row_major[at];
        if is_empty || shape.iter().enumerate().all(counts) {
            return Self::new(part, format, shape, range.start).filter(|stored| stored.range.end <= range.end);
        }
        let mut last = 0usize;
        for (size, stride) in shape.iter().zip(&strides) {
            last = last.checked_add((size - 1).checked_mul(*stride)?)?;
        }
        let end = range.start.checked_add(format.n_bytes(last.checked_add(1)?)?)?;
        shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size))?;
        (end <= range.end && range.end <= part.len()).then(|| Self {
            part: Arc::clone(part),
            format,
            shape,
            range,
            order: Order::Strided(strides),
            offset: 0.0,
            delta: None,
        })
    }

    /// The same tensor, the rows of whose heads are stored with their halves interleaved.
    pub fn interleaved(self, head_dim: usize) -> Self {
        Self { order: Order::Interleaved { head_dim }, ..self }
    }

    /// The same tensor with `offset` added to every number.
    pub fn shifted(self, offset: f32) -> Self {
        Self { offset, ..self }
    }

    /// The same tensor with what an adapter adds to it.
    pub fn changed(self, delta: Arc<Delta>) -> Self {
        Self { delta: Some(delta), ..self }
    }

    /// The same numbers in another shape.
    pub fn reshaped(self, shape: Vec<usize>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.n_numbers(), "as many numbers");
        Self { shape, ..self }
    }

    /// Part `index` of `n` equal ones along the first dimension, without that dimension where it is one.
    pub fn part(&self, index: usize, n: usize) -> Option<Self> {
        let (first, rest) = self.shape.split_first()?;
        if self.order != Order::Rows || !first.is_multiple_of(n) {
            return None;
        }
        let shape = if *first == n { rest.to_vec() } else { [&[first / n], rest].concat() };
        let n_bytes = self.format.n_bytes(shape.iter().product())?;
        Self::new(&self.part, self.format, shape, self.range.start + index * n_bytes)
    }

    /// Rows `first ..` of the tensor, `n` of them.
    pub fn rows_of(&self, first: usize, n: usize) -> Option<Self> {
        let (_, rest) = self.shape.split_first().filter(|(size, _)| first + n <= **size)?;
        let n_bytes = self.format.n_bytes(rest.iter().product())?;
        let shape = [&[n], rest].concat();
        Self::new(&self.part, self.format, shape, self.range.start + first * n_bytes)
            .filter(|_| self.order == Order::Rows)
    }

    /// Whether an adapter adds to its numbers.
    pub fn is_changed(&self) -> bool {
        self.delta.is_some()
    }

    /// Whether its rows have `width` numbers, in whole blocks.
    pub fn has_rows_of(&self, block: BlockType, width: usize) -> bool {
        self.width() == width && width.is_multiple_of(block.weights())
    }

    /// Whether its rows lie in the file as blocks of `kind`, in whatever order.
    pub fn is_stored_as(&self, kind: BlockType) -> bool {
        let of_format = match self.format {
            Format::F32 => Some(BlockType::F32),
            Format::F16 => Some(BlockType::F16),
            Format::Bf16 => Some(BlockType::Bf16),
            Format::Block(block) => Some(block),
            _ => None,
        };
        of_format == Some(kind) && self.delta.is_none() && self.width().is_multiple_of(kind.weights())
    }

    /// Copies the bytes of a row, which are whole blocks.
    pub fn copy_row(&self, row: usize, out: &mut [u8]) {
        let bytes = &self.part[self.range.clone()];
        let n = out.len();
        match &self.order {
            Order::Rows => out.copy_from_slice(&bytes[row * n..][..n]),
            Order::Interleaved { head_dim } => out.copy_from_slice(&bytes[interleaved(row, *head_dim) * n..][..n]),
            Order::Strided(strides) => {
                // numbers of whole bytes, each where it lies
                let width = self.width().max(1);
                let size = n / width;
                for (column, out) in out.chunks_exact_mut(size).enumerate() {
                    out.copy_from_slice(&bytes[self.place(row * width + column, strides) * size..][..size]);
                }
            }
        }
    }

    pub fn format(&self) -> Format {
        self.format
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn n_numbers(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes that its numbers take in the file.
    pub fn n_bytes(&self) -> usize {
        self.format.n_bytes(self.n_numbers()).unwrap_or(0)
    }

    /// The bytes of its numbers, row-major and little endian, at any alignment, where they lie so.
    pub fn plain(&self) -> Option<&[u8]> {
        (self.order == Order::Rows && self.offset == 0.0 && self.delta.is_none())
            .then(|| &self.part[self.range.clone()])
    }

    /// Whether both hold the same numbers, in whatever formats.
    pub fn is_same(&self, other: &Self) -> bool {
        if self.shape != other.shape {
            return false;
        }
        if let (Some(ours), Some(theirs)) = (self.plain(), other.plain())
            && self.format == other.format
        {
            return ours == theirs;
        }
        if !self.format.is_readable() || !other.format.is_readable() {
            return false;
        }
        let width = self.width().max(1);
        let (mut ours, mut theirs) = (vec![0.0; width], vec![0.0; width]);
        (0..self.n_numbers() / width).all(|row| {
            self.read(row * width, &mut ours, f32::MAX);
            other.read(row * width, &mut theirs, f32::MAX);
            ours.iter().zip(&theirs).all(|(a, b)| a.to_bits() == b.to_bits())
        })
    }

    /// Numbers of a row: of all dimensions but the first.
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Writes the numbers from `first` on to `out`, row-major; returns those whose magnitude is not up to `limit`. The format can
    /// be read.
    pub fn read(&self, first: usize, out: &mut [f32], limit: f32) -> Option<Unusable> {
        let found = self.read_stored(first, out, limit);
        let Some(delta) = &self.delta else { return found };
        delta.add(first, out);
        found.or_else(|| numbers::check(out, limit, first))
    }

    fn read_stored(&self, first: usize, out: &mut [f32], limit: f32) -> Option<Unusable> {
        let table = Table::new(&self.part[self.range.clone()], self.format);
        match &self.order {
            Order::Rows => table.read(first, out, limit),
            Order::Interleaved { head_dim } => {
                let width = self.width().max(1);
                let mut found = None;
                let (mut at, mut rest) = (first, out);
                while !rest.is_empty() {
                    let (row, column) = (at / width, at % width);
                    let (piece, after) = rest.split_at_mut((width - column).min(rest.len()));
                    let start = interleaved(row, *head_dim) * width + column;
                    let unusable = table.read(start, piece, limit);
                    found = Unusable::merge(found, unusable.map(|it| Unusable { first: it.first - start + at, ..it }));
                    at += piece.len();
                    rest = after;
                }
                found
            }
            Order::Strided(strides) => {
                let mut found = None;
                for (at, out) in (first..).zip(out) {
                    let unusable = table.read(self.place(at, strides), std::slice::from_mut(out), limit);
                    found = Unusable::merge(found, unusable.map(|it| Unusable { first: at, ..it }));
                }
                found
            }
        }
    }

    /// What is added to every number that was read.
    pub fn offset(&self) -> f32 {
        self.offset
    }

    /// Where number `at`, counted row-major, lies in a view.
    fn place(&self, at: usize, strides: &[usize]) -> usize {
        let mut rest = at;
        let mut place = 0;
        for (size, stride) in self.shape.iter().zip(strides).rev() {
            place += rest % size * stride;
            rest /= size;
        }
        place
    }

    /// Gives back the memory that holds what was read of it, where the system offers that.
    pub fn forget(&self) {
        self.part.forget(&self.range);
    }
}

/// The stored row of row `row`, where the halves of every head of `head_dim` rows are interleaved.
fn interleaved(row: usize, head_dim: usize) -> usize {
    let (head, inside, half) = (row / head_dim, row % head_dim, head_dim / 2);
    head * head_dim + inside % half * 2 + inside / half
}

/// The row whose place is `stored` there: the other way round.
pub(super) fn head_row(stored: usize, head_dim: usize) -> usize {
    let (head, inside, half) = (stored / head_dim, stored % head_dim, head_dim / 2);
    head * head_dim + inside % 2 * half + inside / 2
}
