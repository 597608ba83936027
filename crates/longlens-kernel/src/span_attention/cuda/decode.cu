// Span attention of few queries, 16 rows a block: row r is query r / PACK, head r % PACK. Bound by memory, so keys are read as
// they lie in the cache and turned on the way, straight from 16-byte loads into the operands of mma.sync, and no key passes
// shared memory.
//
// The keys of all spans are cut into tiles of 64, the tiles into splits, one block each; a warp has every fourth tile of its
// block. Warps meet in shared memory, splits in a workspace: the last block of its rows to finish combines them.
// Score, mask and empty queries are as in span_attention_mma.
//
// Turning: every span has a table of angles for queries and every rule one for keys, a row for each token: R(a) for the row at
// position a. The rows of a rule may compose: R(a) = S(a - b) R(b), S(n) for n steps on. Where they do and the positions of a
// tile's keys lie less than 64 after that of its first key, b, the keys are turned by S(a - b) (a table in shared memory) and
// the queries, once per tile, by R(query) * conj(R(b)). Elsewhere keys are turned by rows that come through the caches. Both
// round a turned key to E once.
//
// Defines: HEAD_DIM, F16, ROTARY_DIM (a multiple of 16), PACK (query heads of a block; divides n_rep), SOFT_CAP, HOLES, N_SPANS
// and N_RULES (1 to 8).
// Launch: grid (n_heads / PACK, n_splits, ceil(seq_q * PACK / 16)), block 128, dynamic shared memory
// max(4 * LOCAL * 1024 + 512 * PITCH, 256 * (HEAD_DIM + 8)) bytes, where PITCH = ROTARY_DIM / 2 + 4 and
// LOCAL = 2 * ceil(ROTARY_DIM / 64) + ceil((HEAD_DIM - ROTARY_DIM) / 32). n_splits = ceil(n_tiles / tiles_a_split).
// Memory: reads k and v once per pack and 16 rows, and 4 bytes a key for its position. Workspace: partial f32
// [n_heads / PACK][gridDim.z][n_splits][16][HEAD_DIM + 2]; arrived u32 [n_heads / PACK][gridDim.z], zeros before and after.
// Parameters: q, k, v, lo, hi, factor, hole_start, hole_words, tiles (span and first key, a multiple of 64, of each), cosines
// and sines of the queries of every span, cosines, sines and positions of the keys of every rule, offset_cos, offset_sin
// (S(0) to S(63), rows one after the other), partial, arrived, out, lse, info.
// Cost: 640 instructions a lane and 16 keys of 128 dimensions, 130 more for the queries of a tile: by arithmetic, 44 % of the
// issue slots of an H200 while 4.3 TB/s arrive. Two blocks on an SM; HEAD_DIM 256 spills up to 280 bytes.
// Agrees with f64 to 7.2e-3 (bf16) and 9.3e-4 (f16) of the norm of out, and lse to 2.3e-2 and 3.2e-3: queries and keys are
// rounded once more when they are turned.
#define TILE 64
#define WARPS 4
#define HALF_ROTARY (ROTARY_DIM / 2)
#define PITCH (HALF_ROTARY + 4)                       // floats of an offset row: eight keys lie in different banks
#define MERGED_ROW (HEAD_DIM + 8)                     // floats of a row of a warp's output in shared memory
#define PARTIAL_ROW (HEAD_DIM + 2)                    // output, maximum, sum

// `M(0), M(1), ... M(n - 1)`.
#define JOIN(a, b) a##b
#define LIST(n, M) JOIN(LIST_, n)(M)
#define LIST_1(M) M(0)
#define LIST_2(M) LIST_1(M), M(1)
#define LIST_3(M) LIST_2(M), M(2)
#define LIST_4(M) LIST_3(M), M(3)
#define LIST_5(M) LIST_4(M), M(4)
#define LIST_6(M) LIST_5(M), M(5)
#define LIST_7(M) LIST_6(M), M(6)
#define LIST_8(M) LIST_7(M), M(7)

struct Info {
  u64 q_head, q_token, k_head, v_head, out_head, out_token; // strides in elements
  u32 k_row, v_row, seq_q, seq_k, n_heads, n_rep;
  u32 n_tiles, tiles_a_split, n_splits;
  u32 first_query, table_row; // token of query 0; stride of all tables of angles
  u32 composes, holes_of;     // bit r: the rows of rule r compose; bit s: span s has holes
  u32 span_rule[MAX_SPANS];
};

// The first row of this block among those of its pack.
DEVICE u32 first_row() { return blockIdx.z * 16; }

// Angles of tokens, row by row.
struct Table {
  const float *cos, *sin;

  DEVICE Angles angles(u32 token, u32 piece, const Info& info) const {
    const u64 at = (u64)token * info.table_row + piece * 8;
    return load_angles(cos + at, sin + at);
  }
};

// Where keys of a rule stand.
struct KeyTable {
  Table table;
  const u32* position;
};

// One of a list, without a copy of the list in memory.
template <class T, int N>
DEVICE T one_of(const T (&list)[N], u32 at) {
  T one = list[0];
#pragma unroll
  for (int n = 1; n < N; n++)
    if (n == at) one = list[n];
  return one;
}

// The tables of every span and rule, and the offsets in shared memory.
struct Positions {
  Table query_tables[N_SPANS];
  KeyTable key_tables[N_RULES];
  const float *offset_cos, *offset_sin;

  DEVICE Table queries(u32 span) const { return one_of(query_tables, span); }
  DEVICE KeyTable keys(u32 span, const Info& info) const { return one_of(key_tables, info.span_rule[span]); }
};

// The tile that a warp works on; `base` is the position of its first key.
struct TurnedTile {
  u32 span, key, base;
  bool by_offset, inner; // inner: every row sees all its keys
};

// Turns that key to where it stands.
DEVICE void turn_key(Row& row, u32 key, const TurnedTile& tile, const Positions& at, const Info& info) {
  const u32 token = min(key + threadIdx.x % 32 / 4, info.seq_k - 1);
  const KeyTable keys = at.keys(tile.span, info); // not kept in registers
  if (tile.by_offset) {
    const u32 from = (keys.position[token] - tile.base) * PITCH;
    turn_row(row, [&](u32 piece) { return load_angles(at.offset_cos + from + piece * 8, at.offset_sin + from + piece * 8); });
  } else {
    turn_row(row, [&](u32 piece) { return keys.table.angles(token, piece, info); });
  }
}

// The angles of a query: its own, less those of the tile's first key if keys turn by offset.
DEVICE Angles query_angles(u32 token, u32 piece, const TurnedTile& tile, const Positions& at, const Info& info) {
  Angles query = at.queries(tile.span).angles(info.first_query + token, piece, info);
  if (!tile.by_offset) return query;
  const Angles key = at.keys(tile.span, info).table.angles(tile.key, piece, info);
#pragma unroll
  for (int n = 0; n < 8; n++) {
    const float cos = query.cos[n] * key.cos[n] + query.sin[n] * key.sin[n];
    query.sin[n] = query.sin[n] * key.cos[n] - query.cos[n] * key.sin[n];
    query.cos[n] = cos;
  }
  return query;
}

// Tile `n` of the list.
DEVICE TurnedTile open_tile(const u32* tiles, u32 n, const Positions& at, const Masks& masks, const Info& info) {
  const u32 span = tiles[2 * n], key = tiles[2 * n + 1], rule = info.span_rule[span], lane = threadIdx.x % 32;
  TurnedTile tile = {span, key, 0, false, !masks.has_holes(span)};
#pragma unroll
  for (u32 row = first_row() + lane / 4; row < first_row() + 16; row += 8) {
    const u32 of = span * info.seq_q + row / PACK;
    if (row < info.seq_q * PACK) tile.inner = tile.inner && masks.lo[of] <= key && key + TILE <= masks.hi[of];
  }
  tile.inner = __all_sync(ALL_LANES, tile.inner) != 0;
  if (info.composes >> rule & 1) {
    const u32* position = at.keys(span, info).position;
    tile.base = position[key];
    const u32 near = position[min(key + lane, info.seq_k - 1)] - tile.base;
    const u32 far = position[min(key + 32 + lane, info.seq_k - 1)] - tile.base;
    tile.by_offset = __all_sync(ALL_LANES, near < TILE && far < TILE) != 0;
  }
  return tile;
}

// Weights of 16 keys from their products.
DEVICE void weigh_keys(u32 (&p)[1][4], Softmax& state, Output& out, float (&s)[2][4], const float (&scale)[2], u32 key,
                       const TurnedTile& tile, const Masks& masks) {
  float units[2] = {scale[0], scale[1]};
  if (SOFT_CAP > 0) cap_scores(s, units, SOFT_CAP);
  const u32 row = first_row() + threadIdx.x % 32 / 4;
  if (!tile.inner) hide_unseen(s, 0, {tile.span, key}, row, masks), hide_unseen(s, 1, {tile.span, key}, row + 8, masks);
  step_softmax(p, state, out, s, units);
}

// Turns the block's queries for a tile.
DEVICE void turn_queries(uint4* turned, const E* q, const TurnedTile& tile, const Positions& at, const Info& info) {
#pragma unroll 1
  for (u32 i = 0; i < 2; i++) {
    const u32 row = first_row() + threadIdx.x % 32 / 4 + 8 * i, token = row / PACK;
    const bool real = token < info.seq_q;
    const E* from = q + row % PACK * info.q_head + token * info.q_token;
    turn_query(turned, i, real ? from : nullptr, [&](u32 piece) { return query_angles(token, piece, tile, at, info); });
  }
}

// Copies the offset tables to shared memory.
DEVICE void copy_offsets(float* cos, float* sin, const float* from_cos, const float* from_sin) {
  for (u32 n = threadIdx.x; n < TILE * HALF_ROTARY; n += 32 * WARPS) {
    const u32 row = n / HALF_ROTARY, at = n % HALF_ROTARY;
    cos[row * PITCH + at] = from_cos[n];
    sin[row * PITCH + at] = from_sin[n];
  }
}

// Where four dimensions of a row of a warp's output lie in shared memory, so that the lanes of a warp meet different banks.
DEVICE u32 merged_at(u32 row, u32 four) { return row * MERGED_ROW + (four ^ four / 8 % 2) * 4; }

// Leaves the warp's output, relative to its own maximum, in shared memory, and its softmax in `stats` [16][2].
DEVICE void leave(float* merged, float (*stats)[2], const Softmax& state, const Output& out) {
  const u32 lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const u32 row = lane / 4 + 8 * i;
    const float sum = row_sum(state.sum[i]);
    if (lane % 4 == 0) stats[row][0] = state.max[i], stats[row][1] = sum;
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++)
#pragma unroll
      for (int column = 0; column < 2; column++) {
        const u32 piece = chunk * 8 + lane % 4 * 2 + column;
        if (piece >= PIECES) continue;
        const int c = 2 * i + column, o = chunk * 8;
#pragma unroll
        for (int half = 0; half < 8; half += 4)
          *reinterpret_cast<float4*>(merged + merged_at(row, piece * 2 + half / 4)) =
              make_float4(out[o + half][c], out[o + half + 1][c], out[o + half + 2][c], out[o + half + 3][c]);
      }
  }
}

// Maximum and sum of a row over all parts; all lanes of a warp call and get it.
template <class Parts>
DEVICE float2 whole_row(u32 n_parts, u32 row, const Parts& parts) {
  float max = LOWEST, sum = 0.f;
  for (u32 part = threadIdx.x % 32; part < n_parts; part += 32) {
    const float2 own = parts.stats(part, row);
    const float top = fmaxf(max, own.x);
    sum = sum * exp2_fast(max - top) + own.y * exp2_fast(own.x - top);
    max = top;
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const float other_max = __shfl_xor_sync(ALL_LANES, max, step), other_sum = __shfl_xor_sync(ALL_LANES, sum, step);
    const float top = fmaxf(max, other_max);
    sum = sum * exp2_fast(max - top) + other_sum * exp2_fast(other_max - top);
    max = top;
  }
  return make_float2(max, sum);
}

// Merges parts of every row, a warp per row: `parts` gives the maximum and sum of a row of a part, and its dimensions 2 n and
// 2 n + 1; `write(row, n, whole, total)` takes them merged.
template <class Parts, class Write>
DEVICE void merge(u32 n_parts, u32 n_rows, const Parts& parts, Write write) {
  for (u32 row = threadIdx.x / 32; row < n_rows; row += WARPS) {
    const float2 whole = whole_row(n_parts, row, parts);
    for (u32 n = threadIdx.x % 32; n < HEAD_DIM / 2; n += 32) {
      float2 total = make_float2(0.f, 0.f);
#pragma unroll 4
      for (u32 part = 0; part < n_parts; part++) {
        const float kept = exp2_fast(parts.stats(part, row).x - whole.x);
        const float2 x = parts.pair(part, row, n);
        total.x += x.x * kept, total.y += x.y * kept;
      }
      write(row, n, whole, total);
    }
  }
}

// Whether this block is the last of its splits; what the others wrote is then visible.
DEVICE bool is_last(u32* arrived, u32 n_splits) {
  __shared__ u32 last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(arrived, 1) == n_splits - 1;
    if (last) *arrived = 0;
    __threadfence();
  }
  __syncthreads();
  return last != 0;
}

// Goes through this warp's tiles from `n` to `end`.
DEVICE void attend(Softmax& state, Output (&out)[1], uint4* turned, const E* q, const Cache& cache, const float (&scale)[2],
                   const u32* tiles, u32 n, u32 end, const Positions& at, const Masks& masks, const Info& info) {
  Row keys[KEY_GROUPS];
  if (n < end) load_first_keys<true>(keys, cache, tiles[2 * n + 1]);
  for (; n < end; n += WARPS) {
    const TurnedTile tile = open_tile(tiles, n, at, masks, info);
    turn_queries(turned, q, tile, at, info);
#pragma unroll 1
    for (u32 key = tile.key; key < tile.key + TILE; key += 16) {
      const bool same = key + 16 < tile.key + TILE;
      const u32 next = same ? key + 16 : n + WARPS < end ? tiles[2 * (n + WARPS) + 1] : NO_KEY;
      attend_keys<true>(
          out, keys, turned, cache, key, next, [&](Row& row, u32 first) { turn_key(row, first, tile, at, info); },
          [&](int, u32(&p)[1][4], float(&s)[2][4]) { weigh_keys(p, state, out[0], s, scale, key, tile, masks); });
    }
  }
}

// What the warps of a block leave to each other in shared memory.
struct Warps {
  const float* merged;           // outputs, see merged_at
  const float (*softmax)[16][2]; // maximum and sum of each row

  DEVICE float2 stats(u32 warp, u32 row) const { return make_float2(softmax[warp][row][0], softmax[warp][row][1]); }
  DEVICE float2 pair(u32 warp, u32 row, u32 n) const {
    return *reinterpret_cast<const float2*>(merged + merged_at(warp * 16 + row, n / 2) + n % 2 * 2);
  }
};

// What the splits of a group of rows leave to each other in the workspace: [split][16][PARTIAL_ROW].
struct Splits {
  float* partial;

  DEVICE float* at(u32 split, u32 row) const { return partial + ((u64)split * 16 + row) * PARTIAL_ROW; }
  // not through the L1 cache, which does not see what other blocks write
  DEVICE float2 pair(u32 split, u32 row, u32 n) const { return __ldcg(reinterpret_cast<const float2*>(at(split, row)) + n); }
  DEVICE float2 stats(u32 split, u32 row) const { return pair(split, row, HEAD_DIM / 2); }
  DEVICE void keep(u32 split, u32 row, u32 n, float2 whole, float2 total) const {
    reinterpret_cast<float2*>(at(split, row))[n] = total;
    if (n == 0) reinterpret_cast<float2*>(at(split, row))[HEAD_DIM / 2] = whole;
  }
};

// Merges the warps of this block, and the splits if this is the last of them.
DEVICE void finish(const Warps& warps, const Splits& splits, u32* arrived, E* out, float* lse, const Info& info) {
  const u32 n_rows = min(info.seq_q * PACK - first_row(), 16u);
  auto write = [&](u32 row, u32 n, float2 whole, float2 total) {
    const u32 at = first_row() + row, head = blockIdx.x * PACK + at % PACK, token = at / PACK;
    const float share = share_of(whole.y);
    reinterpret_cast<u32*>(out + head * info.out_head + token * info.out_token)[n] = pack(total.x * share, total.y * share);
    if (n == 0) lse[(u64)head * info.seq_q + token] = log_sum(whole.x, whole.y);
  };
  auto keep = [&](u32 row, u32 n, float2 whole, float2 total) { splits.keep(blockIdx.y, row, n, whole, total); };
  if (info.n_splits == 1) return merge(WARPS, n_rows, warps, write);
  merge(WARPS, n_rows, warps, keep);
  if (is_last(arrived, info.n_splits)) merge(info.n_splits, n_rows, splits, write);
}

#define QUERY_TABLE(n) const float *__restrict__ query_cos_##n, const float *__restrict__ query_sin_##n
#define QUERY_TABLE_OF(n) {query_cos_##n, query_sin_##n}
#define KEY_TABLE(n) const float *__restrict__ key_cos_##n, const float *__restrict__ key_sin_##n, const u32 *__restrict__ key_position_##n
#define KEY_TABLE_OF(n) {{key_cos_##n, key_sin_##n}, key_position_##n}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
span_attention_decode(const E* __restrict__ q, const E* __restrict__ k, const E* __restrict__ v, const u32* __restrict__ lo,
                      const u32* __restrict__ hi, const float* __restrict__ factor, const u32* __restrict__ hole_start,
                      const u32* __restrict__ hole_words, const u32* __restrict__ tiles, LIST(N_SPANS, QUERY_TABLE),
                      LIST(N_RULES, KEY_TABLE), const float* __restrict__ offset_cos, const float* __restrict__ offset_sin,
                      float* __restrict__ partial, u32* __restrict__ arrived, E* __restrict__ out, float* __restrict__ lse,
                      const __grid_constant__ Info info) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ float stats[WARPS][16][2];
  float* offsets = reinterpret_cast<float*>(shared + WARPS * LOCAL * 1024); // cosines, then sines
  const u32 warp = threadIdx.x / 32, head = blockIdx.x * PACK, key_head = head / info.n_rep;
  if (info.composes) copy_offsets(offsets, offsets + TILE * PITCH, offset_cos, offset_sin);
  __syncthreads();

  float scale[2]; // from products to units of log2
#pragma unroll
  for (int i = 0; i < 2; i++)
    scale[i] = factor[min((first_row() + threadIdx.x % 32 / 4 + 8 * i) / PACK, info.seq_q - 1)] * LOG2_E;
  Softmax state = empty_softmax();
  Output sums[1];
  clear(sums[0]);
  const Cache cache = {k + key_head * info.k_head, v + key_head * info.v_head, info.k_row, info.v_row, info.seq_k - 1};
  const Positions positions = {
      {LIST(N_SPANS, QUERY_TABLE_OF)}, {LIST(N_RULES, KEY_TABLE_OF)}, offsets, offsets + TILE * PITCH};
  const Masks masks = {lo, hi, hole_start, hole_words, info.seq_q, info.holes_of};
  const u32 first = blockIdx.y * info.tiles_a_split, end = min(first + info.tiles_a_split, info.n_tiles);
  uint4* turned = reinterpret_cast<uint4*>(shared) + warp * LOCAL * 64;
  attend(state, sums, turned, q + head * info.q_head, cache, scale, tiles, first + warp, end, positions, masks, info);
  __syncthreads(); // queries and offsets give their place to the outputs of the warps

  float* merged = reinterpret_cast<float*>(shared);
  leave(merged + warp * 16 * MERGED_ROW, stats[warp], state, sums[0]);
  __syncthreads();
  const u32 rows = blockIdx.x * gridDim.z + blockIdx.z; // this block's among all groups of 16
  const Splits splits = {partial + (u64)rows * info.n_splits * 16 * PARTIAL_ROW};
  finish({merged, stats}, splits, arrived + rows, out, lse, info);
}
