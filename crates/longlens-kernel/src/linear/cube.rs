//! Weights on a GPU, in the words of [`format`](super::cpu::format): row after row, blocks along `d_in`, decoded where they are
//! multiplied.
//!
//! Launch: for a few rows, [`LANES`] units per output, eight neighbouring weights each at a time, so that a product costs what reading
//! the words costs; for many, one cube of 256 units per 64 rows and 64 outputs, a block of weights at a time in shared memory.
//! Arithmetic is f32. Agreement as in [`linear`](super), with weights as they are stored.

use std::fmt;
use std::ops::Range;

use burn_cubecl::CubeRuntime;
use burn_cubecl::element::BoolElement;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::{DType, Tensor};
use cubecl::bytes::Bytes;
use cubecl::client::ComputeClient;
use cubecl::prelude::*;
use cubecl::server::Handle;
use cubecl::zspace::Strides;
use cubecl::zspace::metadata::Metadata;
use rayon::prelude::*;

use super::cpu::format;
use super::{Dense, Matrix, Storage, StoredWeights, Unsupported, Weights};
use crate::blocks::BlockType;
use crate::cube::{
    Gpu, GpuRuntime, LANES, Rows, array, buffer, cubes_for, empty, handle_array, has_tensor_cores, refused_device,
    tensor, upload,
};
use crate::in_f32;

mod decode;
mod kernels;

use decode::Kept;
use kernels::{OWN, Options, SIDE, ShapeLaunch, copy_words, embed, few_rows, many_rows};

/// A matrix on the device.
pub enum OnDevice<R: GpuRuntime, BT: BoolElement> {
    /// Words that kernels decode.
    Words(Words<R>),
    /// Numbers, where rows are no whole parts of eight weights or the device has no shuffles.
    Dense(Dense<Gpu<R, BT>>),
}

/// A matrix in words.
pub struct Words<R: CubeRuntime> {
    buffer: Handle,
    kept: Kept,
    d_out: usize,
    d_in: usize,
    /// `[d_out]`.
    bias: Option<Handle>,
    device: R::Device,
}

impl<R: GpuRuntime, BT: BoolElement> Clone for OnDevice<R, BT> {
    fn clone(&self) -> Self {
        match self {
            Self::Dense(dense) => Self::Dense(dense.clone()),
            Self::Words(of) => Self::Words(Words {
                buffer: of.buffer.clone(),
                bias: of.bias.clone(),
                device: of.device.clone(),
                ..*of
            }),
        }
    }
}

impl<R: GpuRuntime, BT: BoolElement> fmt::Debug for OnDevice<R, BT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense(dense) => dense.fmt(f),
            Self::Words(Words { kept, d_out, d_in, .. }) => write!(f, "OnDevice({kept:?}, {d_out} x {d_in})"),
        }
    }
}

impl<R: GpuRuntime, BT: BoolElement> OnDevice<R, BT> {
    /// Why no kernel here multiplies it, if none does.
    pub fn refused(&self) -> Option<&'static str> {
        matches!(self, Self::Dense(_))
            .then_some("rows are no multiple of 8 weights, or the device's planes are too small")
    }

    /// Whether so many rows meet it on tensor cores.
    pub fn on_tensor_cores(&self, n_rows: usize) -> bool {
        matches!(self, Self::Words(words) if words.on_tensor_cores(n_rows))
    }

    /// Products of some rows of `x`, `[n, d_in]`, into the same rows of `out`, `[n, d_out]`, which is f32; both are contiguous.
    ///
    /// # Panics
    ///
    /// If no kernel here multiplies the matrix, which [`refused`](Self::refused) tells.
    pub(crate) fn product_of_rows(&self, x: &CubeTensor<R>, rows: Range<usize>, out: &CubeTensor<R>) {
        let Self::Words(words) = self else { panic!("only words are multiplied here") };
        if !words.on_tensor_cores(rows.len()) {
            return words.decoded_product(x, rows, None, out);
        }
        let of_rows = tensor::<R, BT, 2>(x.clone()).slice([rows.clone(), 0..words.d_in]);
        let product = into_contiguous(buffer(words.product(of_rows, None, DType::F32)));
        let n = rows.len() * words.d_out;
        put_words::<R>(&out.client, &product.handle, &out.handle, rows.start * words.d_out, n);
    }
}

impl<R: GpuRuntime, BT: BoolElement> Matrix<Gpu<R, BT>> for OnDevice<R, BT> {
    fn check(storage: Storage) -> Result<(), Unsupported> {
        Kept::of(storage).map(|_| ()).ok_or(Unsupported(storage))
    }

    fn pack(weights: &Weights<'_>, storage: Storage, device: &R::Device) -> Self {
        let Weights { d_out, d_in, .. } = *weights;
        let kept = Kept::of(storage).filter(|_| takes::<R>(d_in, device));
        let Some(kept) = kept else { return Self::Dense(Dense::pack(weights, Storage::F32, device)) };
        let fill = |first: usize, n_words: usize, out: &mut [u32]| {
            let mut numbers = vec![0.0; out.len() / n_words * d_in];
            (weights.rows)(first, &mut numbers);
            for (row, out) in numbers.chunks_exact(d_in).zip(out.chunks_exact_mut(n_words)) {
                format::encode_row(storage, row, out);
            }
        };
        Self::Words(Words::upload(kept, storage, [d_out, d_in], weights.bias.as_deref(), device, fill))
    }

    fn pack_stored(weights: &StoredWeights<'_>, device: &R::Device) -> Self {
        let StoredWeights { kind, d_out, d_in, .. } = *weights;
        let storage = Storage::Blocks(kind);
        let kept = Kept::of(storage).filter(|_| takes::<R>(d_in, device));
        let kept = kept.filter(|kept| !matches!(kept, Kept::F32 | Kept::Bf16));
        let Some(kept) = kept else {
            let storage = if kind == BlockType::Bf16 { Storage::Bf16 } else { Storage::F32 };
            return weights.as_numbers(|weights| Self::pack(weights, storage, device));
        };
        let row_bytes = weights.row_bytes();
        let fill = |first: usize, n_words: usize, out: &mut [u32]| {
            let mut bytes = vec![0; out.len() / n_words * row_bytes];
            (weights.rows)(first, &mut bytes);
            for (row, out) in bytes.chunks_exact(row_bytes).zip(out.chunks_exact_mut(n_words)) {
                format::repack_row(kind, row, out);
            }
        };
        Self::Words(Words::upload(kept, storage, [d_out, d_in], weights.bias.as_deref(), device, fill))
    }

    fn shape(&self) -> [usize; 2] {
        match self {
            Self::Words(words) => [words.d_out, words.d_in],
            Self::Dense(dense) => dense.shape(),
        }
    }

    fn product(&self, x: Tensor<Gpu<R, BT>, 2>) -> Tensor<Gpu<R, BT>, 2> {
        match self {
            Self::Words(words) => words.product(x, None, DType::F32),
            Self::Dense(dense) => dense.product(in_f32(x)),
        }
    }

    fn product_add(&self, x: Tensor<Gpu<R, BT>, 2>, residual: Tensor<Gpu<R, BT>, 2>) -> Tensor<Gpu<R, BT>, 2> {
        match self {
            Self::Words(words) => words.product(x, Some(residual), DType::F32),
            Self::Dense(dense) => dense.product_add(in_f32(x), residual),
        }
    }

    fn attention_inputs<const N: usize>(matrices: [&Self; N], x: Tensor<Gpu<R, BT>, 2>) -> [Tensor<Gpu<R, BT>, 2>; N] {
        // all of one type, or none is turned into another
        let dtype = |matrix: &Self| if let Self::Words(words) = matrix { words.attention_type() } else { DType::F32 };
        let first = matrices.first().map_or(DType::F32, |matrix| dtype(matrix));
        let common = if matrices.iter().all(|matrix| dtype(matrix) == first) { first } else { DType::F32 };
        matrices.map(|matrix| match matrix {
            Self::Words(words) => words.product(x.clone(), None, common),
            Self::Dense(dense) => dense.product(in_f32(x.clone())),
        })
    }

    fn rows(&self, rows: &[u32]) -> Tensor<Gpu<R, BT>, 2> {
        match self {
            Self::Words(words) => tensor(words.rows(rows, DType::F32)),
            Self::Dense(dense) => dense.rows(rows),
        }
    }
}

/// Whether rows of so many weights are kept in words.
fn takes<R: CubeRuntime>(d_in: usize, device: &R::Device) -> bool {
    d_in.is_multiple_of(8) && refused_device(&R::client(device)).is_none()
}

/// Rows that units meet with every weight that they decode.
const FEW_ROWS: usize = 8;
/// Units of a cube for a few rows.
const FEW_UNITS: u32 = 64;
/// Words that are on their way to the device at once: a matrix of gigabytes is never on this side whole.
const STAGE: usize = 1 << 23;
/// Rows from which a matrix that is kept in few bits is decoded whole, once for all of them, where tensor cores then multiply it.
const MANY_ROWS: usize = 128;

impl<R: GpuRuntime> Words<R> {
    /// `fill(first, n_words, words)` makes the words of consecutive rows, `n_words` each, from row `first` on.
    fn upload(
        kept: Kept,
        storage: Storage,
        [d_out, d_in]: [usize; 2],
        bias: Option<&[f32]>,
        device: &R::Device,
        fill: impl Fn(usize, usize, &mut [u32]) + Sync,
    ) -> Self {
        let client = R::client(device);
        let n_words = format::row_words(storage, d_in);
        let n_rows = (STAGE / n_words.max(1)).clamp(1, d_out.max(1)); // of a stage
        let made = |rows: Range<usize>| {
            let mut words = vec![0u32; rows.len() * n_words];
            let parts = words.par_chunks_mut((ROWS_AT_ONCE * n_words).max(1)).enumerate();
            parts.for_each(|(at, out)| fill(rows.start + at * ROWS_AT_ONCE, n_words, out));
            client.create(Bytes::from_elems(words))
        };
        let buffer = if n_rows >= d_out {
            made(0..d_out)
        } else {
            let whole = client.empty(d_out * n_words * size_of::<u32>());
            for start in (0..d_out).step_by(n_rows) {
                let rows = start..(start + n_rows).min(d_out);
                put_words::<R>(&client, &made(rows.clone()), &whole, start * n_words, rows.len() * n_words);
            }
            whole
        };
        let bias = bias.map(|bias| client.create_from_slice(f32::as_bytes(bias)));
        Self { buffer, kept, d_out, d_in, bias, device: device.clone() }
    }

    /// The type in which the device attends to what these weights give: 16 bits where it has tensor cores for them, unless
    /// weights are kept in 32.
    fn attention_type(&self) -> DType {
        // numbers beyond the range of f16 are usual between layers
        if has_tensor_cores::<R>(&self.device) && self.kept != Kept::F32 { DType::BF16 } else { DType::F32 }
    }

    /// `x`: `[seq, d_in]`; returns `[seq, d_out]` of a type, with `residual` added, which is f32 and makes the result f32. Many rows meet
    /// weights of at most 16 bits on tensor cores, which take both rounded to bf16.
    fn product<BT: BoolElement>(
        &self,
        x: Tensor<Gpu<R, BT>, 2>,
        residual: Option<Tensor<Gpu<R, BT>, 2>>,
        dtype: DType,
    ) -> Tensor<Gpu<R, BT>, 2> {
        let n_rows = x.dims()[0];
        let weight = self.on_tensor_cores(n_rows).then(|| self.bf16_numbers());
        let product = weight.and_then(|weight| {
            let (x, weight) = (x.clone().cast(DType::BF16), tensor::<R, BT, 2>(weight).swap_dims(0, 1));
            // sums are f32, and stay so
            matmul(buffer(x), buffer(weight), None, MatmulStrategy::Cube, DType::F32).ok()
        });
        let Some(product) = product else {
            let (x, residual) =
                (into_contiguous(buffer(x)), residual.map(|residual| into_contiguous(buffer(residual))));
            let out = empty(&x, [n_rows, self.d_out], dtype);
            self.decoded_product(&x, 0..n_rows, residual.as_ref(), &out);
            return tensor(out);
        };
        let product: Tensor<Gpu<R, BT>, 2> = tensor(product);
        let product = match &self.bias {
            Some(bias) => {
                let (client, shape) = (R::client(&self.device), burn_tensor::Shape::from([1, self.d_out]));
                let bias = CubeTensor::new_contiguous(client, self.device.clone(), shape, bias.clone(), DType::F32);
                product + tensor::<R, BT, 2>(bias)
            }
            None => product,
        };
        match residual {
            Some(residual) => residual + product,
            None => product.cast(dtype),
        }
    }

    /// Whether so many rows meet the matrix on tensor cores: numbers of 32 bits are not rounded, and numbers of few bits are decoded for
    /// enough rows to pay for it.
    fn on_tensor_cores(&self, n_rows: usize) -> bool {
        let least = match self.kept {
            Kept::F32 => return false,
            Kept::Bf16 => FEW_ROWS + 1,
            _ => MANY_ROWS,
        };
        n_rows >= least && self.attention_type() == DType::BF16
    }

    /// The matrix as bf16 numbers: where they lie, where that is what the words are, else decoded into a buffer of its own.
    fn bf16_numbers(&self) -> CubeTensor<R> {
        if self.kept != Kept::Bf16 {
            let all: Vec<u32> = (0..self.d_out as u32).collect();
            return self.rows(&all, DType::BF16);
        }
        let stride = 2 * self.buffer.size_in_used() as usize / size_of::<u32>() / self.d_out.max(1);
        let mut weight = CubeTensor::new_contiguous(
            R::client(&self.device),
            self.device.clone(),
            burn_tensor::Shape::from([self.d_out, self.d_in]),
            self.buffer.clone(),
            DType::BF16,
        );
        *weight.meta = Metadata::new(weight.meta.shape().clone(), Strides::new(&[stride, 1]));
        weight
    }

    /// Products of some rows of `x` into the same rows of `out`, by kernels that decode words; both, and the residual, are contiguous.
    fn decoded_product(
        &self,
        x: &CubeTensor<R>,
        rows: Range<usize>,
        residual: Option<&CubeTensor<R>>,
        out: &CubeTensor<R>,
    ) {
        let (seq, first) = (rows.len(), rows.start as u32);
        let options = Options { kept: self.kept, has_bias: self.bias.is_some(), has_residual: residual.is_some() };
        let unused = || array(x);
        let arguments = (
            handle_array(&self.buffer, size_of::<u32>()),
            self.bias.as_ref().map_or_else(unused, |bias| handle_array(bias, size_of::<f32>())),
            residual.map_or_else(unused, array),
        );
        let client = x.client.clone();
        // SAFETY: every index is below the lengths that the shapes give
        unsafe {
            if seq <= FEW_ROWS {
                few_rows::launch_unchecked::<R>(
                    &client,
                    cubes_for(self.d_out, (FEW_UNITS / LANES) as usize),
                    CubeDim::new_1d(FEW_UNITS),
                    array(x),
                    arguments.0,
                    arguments.1,
                    arguments.2,
                    array(out),
                    self.d_out as u32,
                    self.d_in as u32,
                    first,
                    seq,
                    options,
                    x.dtype.into(),
                    out.dtype.into(),
                );
            } else {
                let count = CubeCount::Static(seq.div_ceil(SIDE) as u32, self.d_out.div_ceil(SIDE) as u32, 1);
                many_rows::launch_unchecked::<R>(
                    &client,
                    count,
                    CubeDim::new_1d((SIDE / OWN * SIDE / OWN) as u32),
                    array(x),
                    arguments.0,
                    arguments.1,
                    arguments.2,
                    array(out),
                    ShapeLaunch::new(
                        seq as u32,
                        self.d_out as u32,
                        (self.d_in / 8) as u32,
                        (self.d_in / 4) as u32,
                        (self.buffer.size_in_used() as usize / size_of::<u32>() / self.d_out.max(1)) as u32,
                        0,
                        0,
                        1,
                        first,
                    ),
                    options,
                    x.dtype.into(),
                    out.dtype.into(),
                );
            }
        }
    }

    /// Rows of the matrix as numbers of a type.
    fn rows(&self, rows: &[u32], dtype: DType) -> CubeTensor<R> {
        let client = R::client(&self.device);
        let indices = upload(&client, rows);
        let handle = client.empty(rows.len() * self.d_in * dtype.size());
        let shape = burn_tensor::Shape::from([rows.len(), self.d_in]);
        let out = CubeTensor::new_contiguous(client.clone(), self.device.clone(), shape, handle, dtype);
        let n = rows.len() * self.d_in / 8;
        // SAFETY: tokens are below the vocabulary's size, which callers check
        unsafe {
            embed::launch_unchecked::<R>(
                &client,
                cubes_for(n, FEW_UNITS as usize),
                CubeDim::new_1d(FEW_UNITS),
                handle_array(&indices, size_of::<u32>()),
                handle_array(&self.buffer, size_of::<u32>()),
                array(&out),
                n as u32,
                self.d_in as u32,
                self.kept,
                dtype.into(),
            );
        }
        out
    }
}

/// Writes `n` words of `from` into `to` from word `at` on.
fn put_words<R: GpuRuntime>(client: &ComputeClient<R>, from: &Handle, to: &Handle, at: usize, n: usize) {
    // SAFETY: both buffers are at least so long
    unsafe {
        copy_words::launch_unchecked::<R>(
            client,
            cubes_for(n, FEW_UNITS as usize),
            CubeDim::new_1d(FEW_UNITS),
            handle_array(from, size_of::<u32>()),
            handle_array(to, size_of::<u32>()),
            at as u32,
            n as u32,
        );
    }
}

/// Rows of the matrix whose words one thread makes.
const ROWS_AT_ONCE: usize = 64;

/// Products of every head's rows with the rows of its group, `[heads, seq, n]`: `x` is `[heads, seq, width]`, `rows`
/// `[groups, n, width]`, both f32 with a width that is a multiple of 8.
pub(crate) fn products_of_heads<R: CubeRuntime>(x: &Rows<R>, rows: &Rows<R>) -> CubeTensor<R> {
    assert_eq!(rows.tensor.dtype, DType::F32, "what represents chunks has 32 bits");
    let out = empty(&x.tensor, [x.heads, x.seq, rows.seq], DType::F32);
    let options = Options { kept: Kept::F32, has_bias: false, has_residual: false };
    let count = CubeCount::Static(x.seq.div_ceil(SIDE) as u32, rows.seq.div_ceil(SIDE) as u32, x.heads as u32);
    // SAFETY: every index is below the lengths that the shapes give
    unsafe {
        many_rows::launch_unchecked::<R>(
            &out.client,
            count,
            CubeDim::new_1d((SIDE / OWN * SIDE / OWN) as u32),
            x.arg(),
            rows.arg(),
            x.arg(),
            x.arg(),
            array(&out),
            ShapeLaunch::new(
                x.seq as u32,
                rows.seq as u32,
                (x.width / 8) as u32,
                (x.row_stride / 4) as u32,
                rows.row_stride as u32,
                (x.head_stride / 4) as u32,
                rows.head_stride as u32,
                (x.heads / rows.heads) as u32,
                0,
            ),
            options,
            x.storage(),
            out.dtype.into(),
        );
    }
    out
}
