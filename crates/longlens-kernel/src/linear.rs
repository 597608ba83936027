//! Products with the weights of a linear layer: `y = x W^T + b`.
//!
//! Weights come row by row, `[d_out, d_in]` as Hugging Face stores them, and go into whatever form a backend multiplies
//! best: a [`Matrix`]. [`Dense`] is a plain tensor, for any backend, and the reference of all others.
//!
//! Agreement of a product with the sum in f64: 2e-6 of `sum |x| |w| + |b|`, with `w` as it is stored.

use std::fmt;
use std::str::FromStr;

use burn_tensor::backend::Backend;
use burn_tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::blocks::BlockType;

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;

/// What multiplies many rows with weights of at most 16 bits, where a device has tensor cores.
#[cfg(feature = "cube")]
pub const ON_TENSOR_CORES: &str = "tensor cores, of CubeCL";

/// How weights are kept in memory. Arithmetic is f32 with all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Storage {
    /// As they are.
    #[default]
    F32,
    /// The upper half of every number, rounded.
    Bf16,
    /// 8 bits and a scale for every 32 weights of an output.
    Q8,
    /// 4 bits and a scale and minimum for every 32 weights of an output.
    Q4,
    /// The blocks of a file, which [`Matrix::pack_stored`] takes: every weight is exactly the file's.
    Blocks(BlockType),
}

impl Storage {
    /// Every way in which numbers can be kept.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::Q8, Self::Q4];

    /// The text form.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Q8 => "q8",
            Self::Q4 => "q4",
            Self::Blocks(kind) => kind.name(),
        }
    }

    /// Bytes that `n` weights take, scales included.
    pub fn bytes(self, n: usize) -> usize {
        match self {
            Self::F32 => n.saturating_mul(4),
            Self::Bf16 => n.saturating_mul(2),
            Self::Q8 => n.saturating_mul(9) / 8,
            Self::Q4 => n.saturating_mul(5) / 8,
            Self::Blocks(kind) => n.div_ceil(kind.weights()).saturating_mul(kind.bytes()),
        }
    }

    /// Bits of a weight, scales included.
    pub fn bits(self) -> f64 {
        (8 * self.bytes(256)) as f64 / 256.0
    }

    /// The largest weight it takes.
    pub fn limit(self) -> f32 {
        match self {
            Self::F32 | Self::Blocks(_) => f32::MAX,
            Self::Bf16 => f32::from_bits(0x7F7F_0000),
            Self::Q8 | Self::Q4 => 1e35,
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Storage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|storage| storage.name() == text).ok_or_else(|| format!("one of {}", known()))
    }
}

/// A backend that does not keep weights this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported(pub Storage);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weights are kept as {} on the processor only", self.0)
    }
}

impl std::error::Error for Unsupported {}

/// Weights on their way into a matrix.
pub struct Weights<'a> {
    /// Outputs.
    pub d_out: usize,
    /// Inputs.
    pub d_in: usize,
    /// `rows(first, numbers)` fills `numbers` with consecutive rows of `[d_out, d_in]`, from row `first` on. It is called
    /// from several threads, once for every row.
    pub rows: &'a (dyn Fn(usize, &mut [f32]) + Sync),
    /// `[d_out]`.
    pub bias: Option<Vec<f32>>,
}

impl fmt::Debug for Weights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weights {{ {} x {}, bias: {} }}", self.d_out, self.d_in, self.bias.is_some())
    }
}

/// Weights on their way into a matrix, in the blocks of a file.
pub struct StoredWeights<'a> {
    /// How a row is stored.
    pub kind: BlockType,
    /// Outputs.
    pub d_out: usize,
    /// Inputs: whole blocks.
    pub d_in: usize,
    /// `rows(first, bytes)` fills `bytes` with consecutive rows, [`BlockType::row_bytes`] each, from row `first` on. It is called from
    /// several threads, once for every row.
    pub rows: &'a (dyn Fn(usize, &mut [u8]) + Sync),
    /// `[d_out]`.
    pub bias: Option<Vec<f32>>,
}

impl fmt::Debug for StoredWeights<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, d_out, d_in, bias, .. } = self;
        write!(f, "StoredWeights {{ {kind}, {d_out} x {d_in}, bias: {} }}", bias.is_some())
    }
}

impl StoredWeights<'_> {
    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        let bytes = self.kind.row_bytes(self.d_in);
        bytes.unwrap_or_else(|| panic!("a row of {} is whole blocks of {}", self.d_in, self.kind))
    }

    /// Calls `pack` with the numbers that the blocks stand for.
    pub fn as_numbers<T>(&self, pack: impl FnOnce(&Weights<'_>) -> T) -> T {
        let row_bytes = self.row_bytes();
        let rows = |first: usize, numbers: &mut [f32]| {
            let mut bytes = vec![0; numbers.len() / self.d_in.max(1) * row_bytes];
            (self.rows)(first, &mut bytes);
            self.kind.decode(&bytes, numbers);
        };
        pack(&Weights { d_out: self.d_out, d_in: self.d_in, rows: &rows, bias: self.bias.clone() })
    }
}

/// Weights in the form that a backend multiplies.
pub trait Matrix<B: Backend>: Clone + fmt::Debug + Send + Sync + 'static {
    /// Whether weights can be kept this way.
    fn check(_storage: Storage) -> Result<(), Unsupported> {
        Ok(())
    }

    /// Keeps `weights` as `storage`, which [`Self::check`] allows and which is no file's blocks; no weight is larger than
    /// [`Storage::limit`].
    fn pack(weights: &Weights<'_>, storage: Storage, device: &B::Device) -> Self;

    /// Keeps `weights` in their blocks where the backend decodes these in its products, else as 32 bits each.
    fn pack_stored(weights: &StoredWeights<'_>, device: &B::Device) -> Self {
        weights.as_numbers(|weights| Self::pack(weights, Storage::F32, device))
    }

    /// `[d_out, d_in]`.
    fn shape(&self) -> [usize; 2];

    /// `x`: `[seq, d_in]`; returns `[seq, d_out]`.
    fn product(&self, x: Tensor<B, 2>) -> Tensor<B, 2>;

    /// Products of the same rows with several matrices.
    fn products<const N: usize>(matrices: [&Self; N], x: Tensor<B, 2>) -> [Tensor<B, 2>; N] {
        matrices.map(|matrix| matrix.product(x.clone()))
    }

    /// Products of the same rows with the matrices of queries, keys and values, of the type in which the device attends.
    fn attention_inputs<const N: usize>(matrices: [&Self; N], x: Tensor<B, 2>) -> [Tensor<B, 2>; N] {
        Self::products(matrices, x)
    }

    /// The product plus `residual`, `[seq, d_out]`; written in its place where nobody else holds it.
    fn product_add(&self, x: Tensor<B, 2>, residual: Tensor<B, 2>) -> Tensor<B, 2> {
        residual + self.product(x)
    }

    /// Rows of the matrix without the bias, `[rows, d_in]`: with tokens for rows, an embedding.
    fn rows(&self, rows: &[u32]) -> Tensor<B, 2>;
}

/// A plain tensor.
#[derive(Debug, Clone)]
pub struct Dense<B: Backend> {
    weight: Tensor<B, 2>,       // [d_out, d_in]
    bias: Option<Tensor<B, 2>>, // [1, d_out]
}

impl<B: Backend> Matrix<B> for Dense<B> {
    fn check(storage: Storage) -> Result<(), Unsupported> {
        if storage == Storage::F32 { Ok(()) } else { Err(Unsupported(storage)) }
    }

    fn pack(weights: &Weights<'_>, storage: Storage, device: &B::Device) -> Self {
        assert_eq!(storage, Storage::F32, "checked before");
        let Weights { d_out, d_in, .. } = *weights;
        let numbers = gather(weights);
        let upload = |numbers, shape: [usize; 2]| Tensor::from_data(TensorData::new(numbers, shape), device);
        Self { weight: upload(numbers, [d_out, d_in]), bias: weights.bias.clone().map(|bias| upload(bias, [1, d_out])) }
    }

    fn shape(&self) -> [usize; 2] {
        self.weight.dims()
    }

    fn product(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let product = x.matmul(self.weight.clone().swap_dims(0, 1));
        match &self.bias {
            Some(bias) => product + bias.clone(),
            None => product,
        }
    }

    fn rows(&self, rows: &[u32]) -> Tensor<B, 2> {
        let indices: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
        let indices = Tensor::<B, 1, Int>::from_data(TensorData::new(indices, [rows.len()]), &self.weight.device());
        self.weight.clone().select(0, indices)
    }
}

/// All numbers of the weights, row-major.
fn gather(weights: &Weights<'_>) -> Vec<f32> {
    let Weights { d_out, d_in, rows, .. } = *weights;
    let mut numbers = vec![0.0; d_out * d_in];
    let step = ROWS_AT_ONCE.min(d_out.max(1));
    numbers.par_chunks_mut((step * d_in).max(1)).enumerate().for_each(|(at, out)| rows(at * step, out));
    numbers
}

const ROWS_AT_ONCE: usize = 64;

#[cfg(all(test, feature = "flex"))]
mod tests;
