// Turns consecutive rows to the positions of consecutive table rows: out[head][r] = R(first + r) x[head][r].
//
// x'[m] = x[m] cos - x[m + half] sin, x'[m + half] = x[m + half] cos + x[m] sin, half = ROTARY_DIM / 2, in f32, rounded
// once; dimensions past ROTARY_DIM are copied. ROTARY_DIM is a multiple of 16.
//
// Defines: HEAD_DIM, F16, ROTARY_DIM.
// Launch: grid (ceil(n_rows * ITEMS / 256), parts), block 256, no shared memory, where
// ITEMS = ROTARY_DIM / 16 + (HEAD_DIM - ROTARY_DIM) / 8. A block turns every parts-th head from blockIdx.y on: few parts read
// the tables less often, many parts are more blocks.
// Memory: reads x and writes out once, 16 bytes a load; reads a table row per row and part.
// Parameters: x, cos, sin, out, info.
// Agrees with f64 to half a unit in the last place of E: 3.9e-3 (bf16) and 4.9e-4 (f16), relative.
#define ROTARY_PIECES (ROTARY_DIM / 16)
#define ITEMS (ROTARY_PIECES + (HEAD_DIM - ROTARY_DIM) / 8) // turned pairs of pieces and copied pieces of a row
static_assert(ROTARY_DIM % 16 == 0 && ROTARY_DIM <= HEAD_DIM, "partners that turn together are whole pieces");

struct Info {
  u64 x_head, x_row, out_group, out_head, out_row; // strides in elements
  u32 n_heads, n_rep; // heads in groups of n_rep: their outputs may interleave, as span_attention_wgmma wants its queries
  u32 n_rows, first, table_row; // first: table row of row 0; table_row: stride of cos and sin
};

extern "C" __global__ void __launch_bounds__(256)
turn_rows(const E* __restrict__ x, const float* __restrict__ cos, const float* __restrict__ sin,
          E* __restrict__ out, const __grid_constant__ Info info) {
  const u32 at = blockIdx.x * 256 + threadIdx.x, row = at / ITEMS, item = at % ITEMS;
  if (row >= info.n_rows) return;
  x += row * info.x_row;
  out += row * info.out_row;
  auto to = [&](u32 head) {
    return reinterpret_cast<uint4*>(out + head / info.n_rep * info.out_group + head % info.n_rep * info.out_head);
  };
  if (item < ROTARY_PIECES) {
    const u64 angle = (u64)(info.first + row) * info.table_row + item * 8;
    const Angles angles = load_angles(cos + angle, sin + angle);
    for (u32 head = blockIdx.y; head < info.n_heads; head += gridDim.y) {
      const uint4* from = reinterpret_cast<const uint4*>(x + head * info.x_head) + item;
      uint4 first = from[0], second = from[ROTARY_PIECES];
      turn_piece(first, second, angles);
      to(head)[item] = first;
      to(head)[item + ROTARY_PIECES] = second;
    }
  } else {
    const u32 piece = item + ROTARY_PIECES;
    for (u32 head = blockIdx.y; head < info.n_heads; head += gridDim.y)
      to(head)[piece] = reinterpret_cast<const uint4*>(x + head * info.x_head)[piece];
  }
}
