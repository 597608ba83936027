// Attention over the chunks that each query chose (LongHeads, arXiv:2402.10685), exact per token, on mma.sync. Keys arrive
// turned: by their offset in the chunk where slots are packed, to their own position else. Slot s of query i stands at table
// row first_row[i] - s * step. Of the last slot's chunk only its first tail_len[i] keys are seen, of all others every key.
//
// A block has 64 rows: row r is token r / PACK, head r % PACK. It sorts their (chunk, row, slot) and cuts the list into units:
// up to 32 rows (16 for HEAD_DIM 256) that chose the same chunk, in TILES tiles of 16 rows or one. Its warps take units in
// turn: gather and turn the queries, attend to the chunk's keys straight from 16-byte loads, which warps on the same chunk
// share in the L1 cache, and fold the result into maximum, sum and output of each row in shared memory. Warps fold in the order
// of units, so results do not vary from run to run.
//
// Score and cap are as in span_attention_mma. Chosen chunks are whole and differ from one another and from the last slot's.
// One list for several tokens (tokens_a_list > 1) is the variant per block of queries.
//
// Defines: HEAD_DIM, F16, ROTARY_DIM (a multiple of 16), PACK (divides n_rep), SOFT_CAP.
// Launch: grid (ceil(seq_q * PACK / 64), n_heads / PACK), block 128, dynamic shared memory
// 4 * TILES * LOCAL * 1024 + 64 * PIECES_PADDED * 32 + 4 * n_sorted bytes, where LOCAL = 2 * ceil(ROTARY_DIM / 64) +
// ceil((HEAD_DIM - ROTARY_DIM) / 32), PIECES_PADDED = HEAD_DIM / 8 rounded up to a multiple of 8, and n_sorted is the smallest
// power of two that is at least 64 * n_slots (n_slots <= 128, chunk numbers < 65535).
// Memory: reads k and v once per unit, q once per unit; writes out and lse once. No workspace.
// Parameters: q, k, v, chunks, first_row, tail_len, factor, cos, sin, out, lse, info.
// Cost: 430 instructions a lane, 64 of them mma, for 32 rows and 16 keys of 128 dimensions; 300, of them 32, for 16 rows; some
// 700 a tile of a unit to turn and to fold. Two blocks on an SM.
// Agrees with f64 to 4.3e-3 (bf16) and 5.2e-4 (f16) of the norm of out, and lse to 1.4e-2 and 2.2e-3: turned queries are
// rounded.
#define WARPS 4
#define ROWS 64
#define NONE ALL_LANES
#define TILES (HEAD_DIM <= 128 ? 2 : 1) // of a unit

struct Info {
  u64 q_head, q_token, k_head, v_head, out_head, out_token; // strides in elements
  u32 k_row, v_row, seq_q, seq_k, n_heads, n_rep;
  u32 n_slots, n_sorted, chunk_len, step, table_row;
  u32 tokens_a_list, n_lists; // of chunks: [n_heads][n_lists][n_slots]
};

// What the queries are and where they stand.
struct Queries {
  const E* q; // of the pack's first head
  const u32 *first_row, *tail_len;
  const float *factor, *cos, *sin;
  u32 first; // row of the block's row 0 among all
};

// An entry of the sorted list.
DEVICE u32 entry_of(u32 chunk, u32 row, u32 slot) { return chunk << 16 | row << 10 | slot; }
DEVICE u32 chunk_of(u32 entry) { return entry >> 16; }
DEVICE u32 row_of(u32 entry) { return entry >> 10 & 63; }
DEVICE u32 slot_of(u32 entry) { return entry & 1023; }

// Running softmax of the block's rows in shared memory.
struct Folded {
  float max[ROWS], sum[ROWS];
};

// Lists what the rows chose; slots that see nothing are left out.
DEVICE void list_entries(u32* entries, const int* chunks, const Queries& queries, const Info& info) {
  for (u32 n = threadIdx.x; n < info.n_sorted; n += 32 * WARPS) {
    const u32 row = n / info.n_slots, slot = n % info.n_slots, at = queries.first + row, token = at / PACK;
    const u32 head = blockIdx.y * PACK + at % PACK;
    u32 entry = NONE;
    if (row < ROWS && token < info.seq_q && (slot + 1 < info.n_slots || queries.tail_len[token] > 0))
      entry = entry_of(chunks[((u64)head * info.n_lists + token / info.tokens_a_list) * info.n_slots + slot], row, slot);
    entries[n] = entry;
  }
  __syncthreads();
}

// Sorts a power of two of numbers (Batcher's bitonic network).
DEVICE void sort(u32* numbers, u32 n) {
  for (u32 run = 2; run <= n; run *= 2)
    for (u32 distance = run / 2; distance > 0; distance /= 2) {
      for (u32 at = threadIdx.x; at < n / 2; at += 32 * WARPS) {
        const u32 low = at + (at & ~(distance - 1)), high = low + distance;
        const u32 a = numbers[low], b = numbers[high];
        const bool descending = low & run;
        if (a > b != descending) numbers[low] = b, numbers[high] = a;
      }
      __syncthreads();
    }
}

// How many entries from `start` on form a unit; 0 at the end.
DEVICE u32 unit_len(const u32* entries, u32 start, u32 n) {
  const u32 lane = threadIdx.x % 32, at = start + lane;
  if (start >= n || entries[start] == NONE) return 0;
  const bool in = lane < 16 * TILES && at < n && chunk_of(entries[at]) == chunk_of(entries[start]);
  return __popc(__ballot_sync(ALL_LANES, in));
}

// A tile of up to 16 entries.
struct Entries {
  const u32* first;
  u32 n;

  // The entry of row `i` of the lane's two; NONE past the end.
  DEVICE u32 of_lane(u32 i) const {
    const u32 at = threadIdx.x % 32 / 4 + 8 * i;
    return at < n ? first[at] : NONE;
  }
};

// What a lane knows of a tile.
struct UnitTile {
  u32 seen[2];    // keys of the chunk that each of its rows sees
  float scale[2]; // from products to units of log2
  u32 least;      // keys of the chunk that every row sees
};

// Opens a tile of a unit whose chunk has `whole` keys.
DEVICE UnitTile open_tile(const Entries& entries, u32 whole, const Queries& queries, const Info& info) {
  UnitTile tile;
  u32 least = whole;
#pragma unroll
  for (u32 i = 0; i < 2; i++) {
    const u32 entry = entries.of_lane(i);
    const u32 token = entry == NONE ? 0 : (queries.first + row_of(entry)) / PACK;
    const bool last = slot_of(entry) == info.n_slots - 1;
    tile.seen[i] = entry == NONE ? 0 : last ? min(queries.tail_len[token], whole) : whole;
    tile.scale[i] = queries.factor[token] * LOG2_E;
    if (entry != NONE) least = min(least, tile.seen[i]);
  }
  tile.least = __reduce_min_sync(ALL_LANES, least);
  return tile;
}

// Gathers and turns the queries of a tile.
DEVICE void turn_queries(uint4* turned, const Entries& entries, const Queries& queries, const Info& info) {
#pragma unroll
  for (u32 i = 0; i < 2; i++) {
    const u32 entry = entries.of_lane(i), at = queries.first + row_of(entry), token = at / PACK;
    const E* from = entry == NONE ? nullptr : queries.q + at % PACK * info.q_head + token * info.q_token;
    const u32 position = from ? queries.first_row[token] - slot_of(entry) * info.step : 0;
    const u64 angle = (u64)position * info.table_row;
    turn_query(turned, i, from,
               [&](u32 piece) { return load_angles(queries.cos + angle + piece * 8, queries.sin + angle + piece * 8); });
  }
}

// Lets the rows of a unit attend to the first `most` keys of its chunk, which begins with key `first`.
template <int T>
DEVICE void attend(Softmax (&state)[T], Output (&out)[T], const uint4* turned, const Cache& cache, u32 first, u32 most,
                   const UnitTile (&tiles)[T]) {
  Row keys[KEY_GROUPS];
  load_first_keys<false>(keys, cache, first);
#pragma unroll 1
  for (u32 key = 0; key < most; key += 16) {
    const u32 next = key + 16 < most ? first + key + 16 : NO_KEY;
    attend_keys<false>(
        out, keys, turned, cache, first + key, next, [](Row&, u32) {},
        [&](int t, u32(&p)[1][4], float(&s)[2][4]) {
          float units[2] = {tiles[t].scale[0], tiles[t].scale[1]};
          if (SOFT_CAP > 0) cap_scores(s, units, SOFT_CAP);
          if (key + 16 > tiles[t].least) {
            hide(s, 0, key, 0, tiles[t].seen[0], nullptr);
            hide(s, 1, key, 0, tiles[t].seen[1], nullptr);
          }
          step_softmax(p, state[t], out[t], s, units);
        });
  }
}

// Where a lane of a row keeps four dimensions of the output: halves of pieces, in the order in which warps hold them.
DEVICE u32 folded_at(u32 row, u32 piece, u32 half) {
  return (((piece / 8 * 2 + piece % 2) * 2 + half) * ROWS + row) * 4 + piece % 8 / 2;
}

// Folds a tile of a unit into its rows.
DEVICE void fold(Folded& folded, float4* output, const Entries& entries, const Softmax& state, const Output& out) {
  const u32 lane = threadIdx.x % 32, entry[2] = {entries.of_lane(0), entries.of_lane(1)};
  float kept[2], added[2];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const u32 row = row_of(entry[i]);
    const float old = folded.max[row], max = fmaxf(old, state.max[i]);
    kept[i] = exp2_fast(old - max), added[i] = exp2_fast(state.max[i] - max);
    const float sum = folded.sum[row] * kept[i] + row_sum(state.sum[i]) * added[i];
    __syncwarp();
    if (entry[i] != NONE && lane % 4 == 0) folded.max[row] = max, folded.sum[row] = sum;
    __syncwarp();
  }
#pragma unroll
  for (int n = 0; n < 8 * CHUNKS; n++) { // halves of pieces, of the first row and of the second
    const int i = n % 2, o = n / 8 * 8 + n / 2 % 2 * 4, column = n / 4 % 2, c = 2 * i + column;
    if (entry[i] == NONE) continue;
    float4& to = output[folded_at(row_of(entry[i]), n / 8 * 8 + lane % 4 * 2 + column, n / 2 % 2)];
    to.x = to.x * kept[i] + out[o][c] * added[i], to.y = to.y * kept[i] + out[o + 1][c] * added[i];
    to.z = to.z * kept[i] + out[o + 2][c] * added[i], to.w = to.w * kept[i] + out[o + 3][c] * added[i];
  }
}

// Waits for the warp that has the unit before.
DEVICE void wait_turn(u32 unit) { asm volatile("bar.sync %0, 64;" ::"r"(1 + unit % WARPS) : "memory"); }

// Lets the warp that has `unit` go on.
DEVICE void pass_turn(u32 unit) { asm volatile("bar.arrive %0, 64;" ::"r"(1 + unit % WARPS) : "memory"); }

// Computes a unit in T tiles, and folds it when its turn comes.
template <int T>
DEVICE void attend_unit(Folded& folded, float4* output, uint4* turned, const u32* entries, u32 len, u32 unit, bool is_last,
                        const Queries& queries, const Cache& cache, const Info& info) {
  const u32 first = chunk_of(entries[0]) * info.chunk_len, whole = min(info.chunk_len, info.seq_k - first);
  UnitTile tiles[T];
  Softmax state[T];
  Output out[T];
  u32 most = 0;
#pragma unroll
  for (int t = 0; t < T; t++) {
    const Entries of_tile = {entries + 16 * t, len - 16 * t};
    tiles[t] = open_tile(of_tile, whole, queries, info);
    turn_queries(turned + t * LOCAL * 64, of_tile, queries, info);
    state[t] = empty_softmax();
    clear(out[t]);
    most = max(most, max(tiles[t].seen[0], tiles[t].seen[1]));
  }
  attend(state, out, turned, cache, first, __reduce_max_sync(ALL_LANES, most), tiles);
  if (unit > 0) wait_turn(unit);
#pragma unroll
  for (int t = 0; t < T; t++) fold(folded, output, {entries + 16 * t, len - 16 * t}, state[t], out[t]);
  if (!is_last) pass_turn(unit + 1);
}

// Goes through the units; each warp has every fourth.
DEVICE void attend_units(Folded& folded, float4* output, uint4* turned, const u32* entries, const Queries& queries,
                         const Cache& cache, const Info& info) {
  u32 len = unit_len(entries, 0, info.n_sorted);
  for (u32 unit = 0, start = 0; len > 0; unit++) {
    const u32 next_len = unit_len(entries, start + len, info.n_sorted);
    if (unit % WARPS == threadIdx.x / 32) {
      if (len > 16)
        attend_unit<TILES>(folded, output, turned, entries + start, len, unit, next_len == 0, queries, cache, info);
      else
        attend_unit<1>(folded, output, turned, entries + start, len, unit, next_len == 0, queries, cache, info);
    }
    start += len;
    len = next_len;
  }
  __syncthreads();
}

// Writes the rows of the block.
DEVICE void store(const Folded& folded, const float4* output, const Queries& queries, E* out, float* lse, const Info& info) {
  for (u32 n = threadIdx.x; n < ROWS * PIECES; n += 32 * WARPS) {
    const u32 row = n / PIECES, piece = n % PIECES, at = queries.first + row, head = blockIdx.y * PACK + at % PACK;
    const u32 token = at / PACK;
    if (token >= info.seq_q) return;
    const float share = share_of(folded.sum[row]);
    const float4 a = output[folded_at(row, piece, 0)], b = output[folded_at(row, piece, 1)];
    reinterpret_cast<uint4*>(out + head * info.out_head + token * info.out_token)[piece] =
        make_uint4(pack(a.x * share, a.y * share), pack(a.z * share, a.w * share), pack(b.x * share, b.y * share),
                   pack(b.z * share, b.w * share));
    if (piece == 0) lse[(u64)head * info.seq_q + token] = log_sum(folded.max[row], folded.sum[row]);
  }
}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
chunk_attention_mma(const E* __restrict__ q, const E* __restrict__ k, const E* __restrict__ v, const int* __restrict__ chunks,
                    const u32* __restrict__ first_row, const u32* __restrict__ tail_len, const float* __restrict__ factor,
                    const float* __restrict__ cos, const float* __restrict__ sin, E* __restrict__ out, float* __restrict__ lse,
                    const __grid_constant__ Info info) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ Folded folded;
  constexpr u32 n_output = ROWS * CHUNKS * 16; // float4
  float4* output = reinterpret_cast<float4*>(shared + WARPS * TILES * LOCAL * 1024);
  u32* entries = reinterpret_cast<u32*>(output + n_output);
  const u32 head = blockIdx.y * PACK, key_head = head / info.n_rep;
  // later tokens first: they have the most chunks to choose from, and the first ones may have none
  const Queries queries = {q + head * info.q_head, first_row, tail_len, factor, cos, sin, (gridDim.x - 1 - blockIdx.x) * ROWS};
  const Cache cache = {k + key_head * info.k_head, v + key_head * info.v_head, info.k_row, info.v_row, info.seq_k - 1};

  for (u32 row = threadIdx.x; row < ROWS; row += 32 * WARPS) folded.max[row] = LOWEST, folded.sum[row] = 0.f;
  for (u32 n = threadIdx.x; n < n_output; n += 32 * WARPS) output[n] = make_float4(0.f, 0.f, 0.f, 0.f);
  list_entries(entries, chunks, queries, info);
  sort(entries, info.n_sorted);
  uint4* turned = reinterpret_cast<uint4*>(shared) + threadIdx.x / 32 * TILES * LOCAL * 64;
  attend_units(folded, output, turned, entries, queries, cache, info);
  store(folded, output, queries, out, lse, info);
}
