//! Rows of keys or values in the host's memory, for sequences that a device has no room for.

use std::ops::Range;

use burn_tensor::{DType, Tensor, TensorData};
use longlens_kernel::Kernels;

/// Rows `[heads, capacity, width]` of numbers of any type.
#[derive(Debug)]
pub struct HostRows {
    bytes: Vec<u8>,
    dtype: DType,
    heads: usize,
    capacity: usize,
    width: usize,
}

impl HostRows {
    /// Room for rows such as those of `like`, `[heads, seq, width]`.
    pub fn new<B: Kernels>(capacity: usize, like: &Tensor<B, 3>) -> Self {
        let ([heads, _, width], dtype) = (like.dims(), like.dtype());
        Self { bytes: vec![0; heads * capacity * width * dtype.size()], dtype, heads, capacity, width }
    }

    /// Rows that there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The same rows with room for more.
    #[must_use]
    pub fn grown(self, capacity: usize) -> Self {
        let row = self.width * self.dtype.size();
        let mut bytes = vec![0; self.heads * capacity * row];
        let kept = self.capacity.min(capacity) * row;
        for (to, from) in bytes.chunks_exact_mut(capacity * row).zip(self.bytes.chunks_exact(self.capacity * row)) {
            to[..kept].copy_from_slice(&from[..kept]);
        }
        Self { bytes, capacity, ..self }
    }

    /// A copy of some rows.
    #[must_use]
    pub fn part(&self, rows: Range<usize>) -> Self {
        let (row, n) = (self.width * self.dtype.size(), rows.len());
        let mut bytes = Vec::with_capacity(self.heads * n * row);
        for of_head in self.bytes.chunks_exact((self.capacity * row).max(1)) {
            bytes.extend_from_slice(&of_head[rows.start * row..rows.end * row]);
        }
        Self { bytes, capacity: n, ..*self }
    }

    /// Numbers of all rows there is room for.
    pub fn n_numbers(&self) -> usize {
        self.heads * self.capacity * self.width
    }

    /// Writes all rows of `part` from row `at` on.
    pub fn put(&mut self, at: usize, part: &Self) {
        let row = self.width * self.dtype.size();
        let heads = self.bytes.chunks_exact_mut(self.capacity * row).zip(part.bytes.chunks_exact(part.capacity * row));
        heads.for_each(|(to, from)| to[at * row..][..from.len()].copy_from_slice(from));
    }

    /// Writes `new`, `[heads, seq, width]`, from row `at` on.
    pub fn write<B: Kernels>(&mut self, at: usize, new: Tensor<B, 3>) {
        let (seq, row) = (new.dims()[1], self.width * self.dtype.size());
        if seq == 0 {
            return;
        }
        let data = new.into_data();
        assert_eq!(data.dtype, self.dtype, "rows of a cache are of one type");
        let heads = self.bytes.chunks_exact_mut(self.capacity * row).zip(data.as_bytes().chunks_exact(seq * row));
        heads.for_each(|(to, from)| to[at * row..][..from.len()].copy_from_slice(from));
    }

    /// Rows of every head on the device, `[heads, rows, width]`.
    pub fn rows<B: Kernels>(&self, rows: Range<usize>, device: &B::Device) -> Tensor<B, 3> {
        let n = rows.len();
        let pieces = (0..self.heads).map(|head| (head, rows.clone()));
        self.gathered(pieces, [self.heads, n, self.width], device)
    }

    /// Rows of some heads one after the other on the device, in the shape that holds them.
    pub fn gathered<B: Kernels, const D: usize>(
        &self,
        pieces: impl Iterator<Item = (usize, Range<usize>)>,
        shape: [usize; D],
        device: &B::Device,
    ) -> Tensor<B, D> {
        let row = self.width * self.dtype.size();
        let mut bytes = Vec::with_capacity(shape.iter().product::<usize>() * self.dtype.size());
        for (head, rows) in pieces {
            bytes.extend_from_slice(&self.bytes[(head * self.capacity + rows.start) * row..][..rows.len() * row]);
        }
        Tensor::from_data(TensorData::from_bytes_vec(bytes, shape, self.dtype), (device, self.dtype))
    }
}
