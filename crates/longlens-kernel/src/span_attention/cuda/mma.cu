// Span attention of many queries on mma.sync: one softmax over the keys of all spans of a query, FlashAttention-2's way
// (Dao, 2023, arXiv:2307.08691). Queries and keys arrive turned.
//
// score = factor[i] * q_i . k_j, capped to SOFT_CAP * tanh(score / SOFT_CAP) if that is not 0, for keys lo <= j < hi of each
// span, without its holes. A query that sees nothing gives out 0 and lse -1e30.
//
// Defines: HEAD_DIM (a multiple of 16), F16, WARPS, ROW_TILES (16-row tiles of a warp), KEYS (of a tile, a multiple of 32),
// SLOTS (2 or 3 tiles in shared memory), PACK (query heads of one key head that a block computes together, so that they
// share its keys; divides n_rep), SOFT_CAP (a float, 0 for none), HOLES (0 or 1).
// Launch: grid (ceil(seq_q * PACK / ROWS) * n_heads / PACK), block 32 * WARPS, dynamic shared memory
// (ROWS + SLOTS * KEYS) * HEAD_DIM * 2 bytes, where ROWS = 16 * ROW_TILES * WARPS. Later queries see more keys and go first.
// Tiles that fit the registers: WARPS 4, ROW_TILES 2, KEYS 64, SLOTS 3 up to HEAD_DIM 128, two blocks on an SM of 164 KiB;
// WARPS 8 (4 where a block has less than 132 KiB), ROW_TILES 1, KEYS 64, SLOTS 2 for 256.
// Memory: reads q once per span, k and v once per block whose rows see them; writes out and lse once. No workspace.
// Parameters: q, k, v, lo, hi, factor, hole_start, hole_words (any address without HOLES), out, lse, info.
// Cost: 981 instructions a lane (sm_80), 256 of them mma, for the 32 rows of a warp and 64 keys of 128 dimensions.
// Agrees with f64 over random spans to 2.3e-3 (bf16) and 3.3e-4 (f16) of the norm of out, and lse to 6e-6.
#define ROWS (16 * ROW_TILES * WARPS)
#define THREADS (32 * WARPS)
#define TILE_BYTES (KEYS * HEAD_DIM * 2)
static_assert(HEAD_DIM % 16 == 0 && KEYS % 32 == 0, "tiles of mma.sync, and words of holes");
static_assert(SLOTS == 2 || SLOTS == 3, "one or two copies ahead");

struct Info {
  u64 q_span, q_head, q_token, k_rule, k_head, v_head, out_head, out_token; // strides in elements
  u32 k_row, v_row;                                                         // strides in elements
  u32 seq_q, seq_k, n_heads, n_rep, n_spans;
  u32 k_first, n_keys; // token of row 0 of k, and its rows
  u32 head_group;      // key heads that are walked together: their keys and values fit the L2 cache
  u32 holes_of;        // bit s: span s has holes
  u32 span_rule[MAX_SPANS]; // the k that a span reads
};

// The part of a block.
struct Work {
  const E *k, *v; // of its key head
  u32 head, first_row;
};

// What a lane knows of a 16-row tile so far.
struct State {
  Softmax softmax;
  float out[HEAD_DIM / 8][4];
};

// What this block works on.
DEVICE Work block_work(const E* k, const E* v, const Info& info) {
  const u32 group = info.head_group * (info.n_rep / PACK);
  const Place place = place_of_block<ROWS>(info.seq_q * PACK, info.n_heads / PACK, group);
  const u32 head = place.pack * PACK, key_head = head / info.n_rep;
  return {k + key_head * info.k_head, v + key_head * info.v_head, head, place.first_row};
}

// Starts copying rows first .. first + KEYS of a matrix to a slot; rows that are not below `n_rows` become zeros.
DEVICE void copy_tile(u32 slot, const E* from, u32 first, u32 n_rows, u32 stride) {
  constexpr u32 rows_a_pass = THREADS / PIECES;
  const u32 start = threadIdx.x / PIECES, piece = threadIdx.x % PIECES;
  if (THREADS % PIECES != 0 && start >= rows_a_pass) return;
  from += (long long)(int)(first + start) * stride + piece * 8; // `first` may stand for a number below 0
#pragma unroll
  for (u32 pass = 0; pass < (KEYS + rows_a_pass - 1) / rows_a_pass; pass++) {
    const u32 row = pass * rows_a_pass + start;
    if (KEYS % rows_a_pass == 0 || row < KEYS) copy_async(slot + piece_offset(row, piece), from, first + row < n_rows);
    from += rows_a_pass * stride;
  }
}

// Starts the copy of the keys of a tile, if there is one, as a group.
DEVICE void copy_keys(u32 slot, const Work& work, Tile tile, const Info& info) {
  if (tile.span < info.n_spans)
    copy_tile(slot, work.k + info.span_rule[tile.span] * info.k_rule, tile.key - info.k_first, info.n_keys, info.k_row);
  commit_copies();
}

// Starts the copy of the values of a tile, if there is one, as a group.
DEVICE void copy_values(u32 slot, const Work& work, Tile tile, const Info& info) {
  if (tile.span < info.n_spans) copy_tile(slot, work.v, tile.key, info.seq_k, info.v_row);
  commit_copies();
}

// Starts the copy of the block's queries as they stand in a span; they belong to the next group.
DEVICE void copy_queries(u32 to, const E* q, const Work& work, u32 span, const Info& info) {
  q += span * info.q_span + work.head * info.q_head;
#pragma unroll 1
  for (u32 n = threadIdx.x; n < ROWS * PIECES; n += THREADS) {
    const u32 row = work.first_row + n / PIECES, piece = n % PIECES;
    const E* from = q + row / PACK * info.q_token + row % PACK * info.q_head + piece * 8;
    copy_async(to + piece_offset(n / PIECES, piece), from, row < info.seq_q * PACK);
  }
}

// The products of the warp's queries with the keys of a tile.
DEVICE void products(float (&s)[ROW_TILES][KEYS / 8][4], u32 queries, u32 keys, u32 warp_row) {
  const u32 lane = threadIdx.x % 32;
#pragma unroll
  for (int t = 0; t < ROW_TILES; t++) clear(s[t]);
#pragma unroll
  for (int step = 0; step < HEAD_DIM / 16; step++) {
    u32 a[ROW_TILES][4];
#pragma unroll
    for (int t = 0; t < ROW_TILES; t++)
      load_matrices(a[t], queries + piece_offset(warp_row + t * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
    for (int n = 0; n < KEYS / 8; n += 2) {
      u32 b[4];
      load_matrices(b, keys + piece_offset(n * 8 + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2));
#pragma unroll
      for (int t = 0; t < ROW_TILES; t++) {
        multiply_add(s[t][n], a[t], b[0], b[1]);
        multiply_add(s[t][n + 1], a[t], b[2], b[3]);
      }
    }
  }
}

// Adds the weighted values of a tile to the output.
DEVICE void add_values(State (&state)[ROW_TILES], const u32 (&p)[ROW_TILES][KEYS / 16][4], u32 values) {
  const u32 lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 0; step < KEYS / 16; step++)
#pragma unroll
    for (int n = 0; n < HEAD_DIM / 8; n += 2) {
      u32 b[4];
      load_matrices_transposed(b, values + piece_offset(step * 16 + lane % 16, n + lane / 16));
#pragma unroll
      for (int t = 0; t < ROW_TILES; t++) {
        multiply_add(state[t].out[n], p[t][step], b[0], b[1]);
        multiply_add(state[t].out[n + 1], p[t][step], b[2], b[3]);
      }
    }
}

// Writes the warp's output, 16 bytes a lane, through its own rows of shared memory.
DEVICE void store(const State (&state)[ROW_TILES], unsigned char* rows, u32 warp_row, const Work& work, E* out, float* lse,
                  const Info& info) {
  const u32 lane = threadIdx.x % 32, first = work.first_row;
#pragma unroll
  for (int t = 0; t < ROW_TILES; t++)
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const u32 row = warp_row + t * 16 + lane / 4 + 8 * i, token = (first + row) / PACK;
      const float sum = row_sum(state[t].softmax.sum[i]), share = share_of(sum);
#pragma unroll
      for (int n = 0; n < HEAD_DIM / 8; n++)
        *reinterpret_cast<u32*>(rows + piece_offset(row, n) + lane % 4 * 4) =
            pack(state[t].out[n][2 * i] * share, state[t].out[n][2 * i + 1] * share);
      if (lane % 4 == 0 && first + row < info.seq_q * PACK)
        lse[(u64)(work.head + (first + row) % PACK) * info.seq_q + token] = log_sum(state[t].softmax.max[i], sum);
    }
  __syncwarp();
  for (u32 n = lane; n < 16 * ROW_TILES * PIECES; n += 32) {
    const u32 row = warp_row + n / PIECES, piece = n % PIECES, at = first + row;
    if (at < info.seq_q * PACK)
      *reinterpret_cast<uint4*>(out + (work.head + at % PACK) * info.out_head + at / PACK * info.out_token + piece * 8) =
          *reinterpret_cast<const uint4*>(rows + piece_offset(row, piece));
  }
}

// Scores of a tile from its products, their part in the running softmax, and weights `p`.
DEVICE void weigh_tile(u32 (&p)[ROW_TILES][KEYS / 16][4], State (&state)[ROW_TILES], float (&s)[ROW_TILES][KEYS / 8][4],
                       const float* scale, Tile tile, const Bounds& seen, u32 warp_row, const Work& work, const Masks& masks) {
  const bool whole = tile.key >= seen.all_lo && tile.key + KEYS <= seen.all_hi;
  const bool inner = whole && !masks.has_holes(tile.span);
#pragma unroll
  for (int t = 0; t < ROW_TILES; t++) {
    const u32 row = warp_row + t * 16 + threadIdx.x % 32 / 4; // and row + 8
    float units[2] = {scale[row], scale[row + 8]};
    if (SOFT_CAP > 0) cap_scores(s[t], units, SOFT_CAP);
    if (!inner) {
      hide_unseen(s[t], 0, tile, work.first_row + row, masks);
      hide_unseen(s[t], 1, tile, work.first_row + row + 8, masks);
    }
    step_softmax(p[t], state[t].softmax, state[t].out, s[t], units);
  }
}

// What the block keeps in shared memory.
struct Shared {
  u32 queries, slots;          // addresses of its rows of q, and of the ring of tiles
  const Bounds (*seen)[WARPS]; // of each span, by the rows of each warp
  const u32 (*range)[2];       // keys of each span that any row of the block sees
  const float* scale;          // of each row, from products to units of log2
};

// Goes through the tiles of the block. Keys and values pass through a ring of slots, K0 V0 K1 V1 ..; copies run SLOTS - 1 of
// them ahead of the products.
DEVICE void attend(State (&state)[ROW_TILES], const E* q, const Shared& shared, u32 warp_row, const Work& work,
                   const Masks& masks, const Info& info) {
  u32 used = 0; // slot of the next products
  auto slot = [&](u32 later) {
    return shared.slots + (used + later < SLOTS ? used + later : used + later - SLOTS) * TILE_BYTES;
  };
  Tile tile = settle<KEYS>({0, shared.range[0][0] / KEYS * KEYS}, shared.range, info.n_spans);
  u32 copied_span = tile.span; // whose queries are in shared memory
  if (tile.span < info.n_spans) copy_queries(shared.queries, q, work, tile.span, info);
  copy_keys(slot(0), work, tile, info);
  if (SLOTS == 3) copy_values(slot(1), work, tile, info);

  while (tile.span < info.n_spans) {
    const Tile next = settle<KEYS>({tile.span, tile.key + KEYS}, shared.range, info.n_spans);
    const Bounds& bounds = shared.seen[tile.span][threadIdx.x / 32];
    const bool meets = tile.key < bounds.any_hi && tile.key + KEYS > bounds.any_lo;
    u32 p[ROW_TILES][KEYS / 16][4];

    if (tile.span == copied_span) wait_copies<SLOTS - 2>();
    else wait_copies<0>(); // the queries came with the latest copies
    __syncthreads();
    copied_span = tile.span;
    if (SLOTS == 2) copy_values(slot(1), work, tile, info);
    else copy_keys(slot(2), work, next, info);
    if (meets) {
      float s[ROW_TILES][KEYS / 8][4];
      products(s, shared.queries, slot(0), warp_row);
      weigh_tile(p, state, s, shared.scale, tile, bounds, warp_row, work, masks);
    }

    used = used + 1 == SLOTS ? 0 : used + 1;
    wait_copies<SLOTS - 2>();
    __syncthreads();
    // all warps are done with the queries of this span
    if (next.span != tile.span && next.span < info.n_spans) copy_queries(shared.queries, q, work, next.span, info);
    if (SLOTS == 2) copy_keys(slot(1), work, next, info);
    else copy_values(slot(2), work, next, info);
    if (meets) add_values(state, p, slot(0));
    used = used + 1 == SLOTS ? 0 : used + 1;
    tile = next;
  }
  wait_copies<0>();
}

extern "C" __global__ void __launch_bounds__(THREADS)
span_attention_mma(const E* __restrict__ q, const E* __restrict__ k, const E* __restrict__ v, const u32* __restrict__ lo,
                   const u32* __restrict__ hi, const float* __restrict__ factor, const u32* __restrict__ hole_start,
                   const u32* __restrict__ hole_words, E* __restrict__ out, float* __restrict__ lse,
                   const __grid_constant__ Info info) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ Bounds seen[MAX_SPANS][WARPS];
  __shared__ u32 range[MAX_SPANS][2];
  __shared__ float scale[ROWS];
  const u32 warp_row = threadIdx.x / 32 * 16 * ROW_TILES, queries = shared_address(shared);
  const Work work = block_work(k, v, info);
  for (u32 row = threadIdx.x; row < ROWS; row += THREADS)
    scale[row] = factor[min((work.first_row + row) / PACK, info.seq_q - 1)] * LOG2_E;
  const Masks masks = {lo, hi, hole_start, hole_words, info.seq_q, info.holes_of};
  find_bounds<16 * ROW_TILES>(seen, range, info.n_spans, work.first_row + warp_row, masks);

  State state[ROW_TILES];
#pragma unroll
  for (int t = 0; t < ROW_TILES; t++) state[t].softmax = empty_softmax(), clear(state[t].out);
  attend(state, q, {queries, queries + ROWS * HEAD_DIM * 2, seen, range, scale}, warp_row, work, masks, info);
  store(state, shared, warp_row, work, out, lse, info);
}
