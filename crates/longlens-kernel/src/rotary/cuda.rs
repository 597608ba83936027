//! Rotation of rows of 16 bits by CUDA text (`cuda/turn_rows.cu`), 16 bytes at a time, and what texts read of rows that compose.

use std::sync::OnceLock;

use burn_cubecl::element::BoolElement;
use burn_cubecl::tensor::CubeTensor;
use burn_tensor::Tensor;
use cubecl::client::ComputeClient;
use cubecl::prelude::*;
use cubecl::server::Handle;
use longlens_core::rope::Steps;

use super::Rotary;
use super::cube::Table;
use crate::cube::{Choice, Gpu, GpuRuntime, Rows, empty, tensor};
use crate::cuda::{Info, Text, Variant, refused_types};

/// Whether the text rotates these heads on their device, and why not.
pub(crate) fn takes<R: GpuRuntime, BT: BoolElement>(
    rotary: &Rotary<Gpu<R, BT>>,
    x: &Tensor<Gpu<R, BT>, 3>,
) -> Choice<()> {
    let capability = R::cuda_capability(&x.device())?;
    let refused = refused_types(capability, &[x.dtype()])
        .or_else(|| (!x.dims()[2].is_multiple_of(8)).then_some("the size of a head is no multiple of 8"))
        .or_else(|| (!rotary.cos.dims()[1].is_multiple_of(8)).then_some("rotated dimensions are no multiple of 16"));
    Some(refused.map_or(Ok(()), Err))
}

/// Returns what [`reference`](super::reference) returns, of the type of `x`; [`takes`] says where.
pub(crate) fn rotate<R: GpuRuntime, BT: BoolElement>(
    rotary: &Rotary<Gpu<R, BT>>,
    x: Tensor<Gpu<R, BT>, 3>,
) -> Tensor<Gpu<R, BT>, 3> {
    let x = Rows::of(x, 8);
    let out = empty(&x.tensor, [x.heads, x.seq, x.width], x.tensor.dtype);
    let strides = Strides { n_rep: 1, group: x.seq * x.width, head: 0, row: x.width };
    turn_rows(&Table::of(rotary), 0, &x, (0, x.seq), &out, 0, strides);
    tensor(out)
}

/// Threads of a block.
const THREADS: usize = 256;
/// Parts that the heads of a row are shared out to, at most.
const PARTS: usize = 4;

/// Numbers from one place of the output to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strides {
    /// Heads come in groups of so many.
    pub n_rep: usize,
    /// From one group of heads to the next.
    pub group: usize,
    /// From one head of a group to the next.
    pub head: usize,
    pub row: usize,
}

/// Steps that a text turns keys by, at most.
pub(crate) const OFFSETS: usize = 64;

/// What leads from row to row of a table. It is uploaded when a text first asks for it.
#[derive(Debug)]
pub(crate) struct RowSteps {
    steps: Steps,
    uploaded: OnceLock<Uploaded>,
}

/// The same on a device.
#[derive(Debug)]
pub(crate) struct Uploaded {
    /// `[n_rows]`: position of every row, as a number that may come round.
    pub positions: Handle,
    /// `[OFFSETS, half]`: cosines of so many steps.
    pub cos: Handle,
    /// Their sines.
    pub sin: Handle,
}

impl RowSteps {
    pub fn new(steps: Steps) -> Self {
        Self { steps, uploaded: OnceLock::new() }
    }

    /// Whether steps of this table are steps of the other.
    pub fn turns_like(&self, other: &Self) -> bool {
        self.steps.inv_freq == other.steps.inv_freq
    }

    /// On the device where the table lies, which is the client's.
    pub fn on_device<R: Runtime>(&self, client: &ComputeClient<R>) -> &Uploaded {
        self.uploaded.get_or_init(|| {
            let (cos, sin) = self.steps.table(OFFSETS);
            Uploaded {
                positions: client.create_from_slice(i32::as_bytes(&self.steps.positions)),
                cos: client.create_from_slice(f32::as_bytes(&cos)),
                sin: client.create_from_slice(f32::as_bytes(&sin)),
            }
        })
    }
}

/// Rotates rows `from .. from + n_rows` of `x` by the table's rows from `first` on, into `out` from number `at` on.
pub(crate) fn turn_rows<R: GpuRuntime>(
    table: &Table<R>,
    first: usize,
    x: &Rows<R>,
    (from, n_rows): (usize, usize),
    out: &CubeTensor<R>,
    at: usize,
    strides: Strides,
) {
    let client = &out.client;
    let (head_dim, rotary_dim, dtype) = (x.width, 2 * table.half, x.tensor.dtype);
    let text = text(&Variant { head_dim, rotary_dim, dtype, pack: 1, soft_cap: None, has_holes: false });
    let items = rotary_dim / 16 + (x.width - rotary_dim) / 8;
    let info =
        Info::default().wide(x.head_stride).wide(x.row_stride).wide(strides.group).wide(strides.head).wide(strides.row);
    let info = [x.heads, strides.n_rep, n_rows, first, table.stride].into_iter().fold(info, Info::word);
    let bytes = x.tensor.dtype.size();
    // places inside a buffer are pointers here, which need no more than the alignment of 16 bytes
    let input = x.tensor.handle.clone().offset_start((from * x.row_stride * bytes) as u64);
    let output = out.handle.clone().offset_start((at * bytes) as u64);
    let (cos, sin) = table.handles();
    let grid = [(n_rows * items).div_ceil(THREADS), x.heads.min(PARTS), 1];
    R::launch_text(client, text, grid, &[], &[&input, cos, sin, &output], &info);
}

/// The text for heads of a size and type.
pub(crate) fn text(variant: &Variant) -> Text {
    Text::new("turn_rows", &[include_str!("cuda/turn_rows.cu")], &variant.defines(&[]), THREADS, 0)
}
