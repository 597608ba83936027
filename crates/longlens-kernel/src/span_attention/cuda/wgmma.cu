// Span attention of many queries on wgmma, for sm_90a, FlashAttention-3's way (Shah et al., 2024, arXiv:2407.08608): a
// warpgroup that does nothing but start tensor copies, and GROUPS that compute 64 rows each.
//
// Mathematics, masks and outputs are those of span_attention_mma. The pack of a key head is all its query heads: rows of q
// lie in the order of tokens, and of heads within a token.
//
// A computing warpgroup starts the products of the next keys, then those of its weights with the values, and works on the
// softmax of the former while the latter run. Warpgroups take turns in starting products, so that one's softmax runs under
// the other's products.
//
// Defines: HEAD_DIM (64, 80, 96, 128 or 256), F16, GROUPS (2 or 3), KEYS (64 or 128), PACK (n_rep), SOFT_CAP, HOLES, PAD_VALUES
// (1: the product with the values fills whole columns of 64 dimensions, zeros past HEAD_DIM; 0: PTX describes the layout of
// operands for whole columns alone, so 80 and 96 want a try on a card first).
// Launch: grid (ceil(seq_q * PACK / ROWS) * n_kv_heads), block 128 * (GROUPS + 1), dynamic shared memory
// (ROWS + 2 * STAGES * KEYS) * DIMS * 2 bytes, where ROWS = 64 * GROUPS, STAGES = 2, and DIMS is HEAD_DIM rounded up to 64.
// One block on an SM. GROUPS 2, KEYS 128 up to HEAD_DIM 128 and 64 for 256 need no more registers than there are; GROUPS 3,
// KEYS 64 is the other choice for HEAD_DIM 64. Not persistent: long sequences make the start of a block a small part of it.
// Tensor maps, of E, 128-byte swizzle, zeros outside: q {HEAD_DIM, seq_q * PACK, n_spans * n_kv_heads}, box {64, ROWS, 1};
// k {HEAD_DIM, n_keys, rules * n_kv_heads}, box {64, KEYS, 1}; v {HEAD_DIM, seq_k, n_kv_heads}, box {64, KEYS, 1}.
// Memory: reads q once per span, k and v once per block whose rows see them; writes out and lse once. No workspace.
// Parameters: q_map, k_map, v_map, q, k, v (unused: what the maps lie on), lo, hi, factor, hole_start, hole_words, out, lse,
// info.
// Cost: 520 instructions a lane for 64 rows and 128 keys of 128 dimensions, so the two warps of a scheduler issue 1,040 in the
// 2,048 cycles that the tensor cores need for them, by arithmetic.
// Agrees with f64 over random spans to 2.3e-3 (bf16) and 2.9e-4 (f16) of the norm of out, and lse to 3e-6.
#define ROWS (64 * GROUPS)
#define STAGES 2
#define DIMS ((HEAD_DIM + 63) / 64 * 64) // of a row in shared memory, in columns of 64
#define COLUMNS (DIMS / 64)
#define TILE_BYTES (KEYS * DIMS * 2)
#define WARPS (4 * (GROUPS + 1))
static_assert((KEYS == 64 || KEYS == 128) && (GROUPS == 2 || GROUPS == 3), "what the products and registers are written for");

struct alignas(64) TensorMap {
  u64 opaque[16];
};

struct Info {
  u64 out_head, out_token; // strides in elements
  u32 seq_q, n_kv_heads, n_spans;
  u32 k_first;    // token of row 0 of k
  u32 head_group; // key heads that are walked together: their keys and values fit the L2 cache
  u32 holes_of;   // bit s: span s has holes
  u32 span_rule[MAX_SPANS]; // the k that a span reads
};

// ---- Barriers -------------------------------------------------------------------------------------------------------

// Barriers of shared memory, by address: `full` when a copy has arrived, `empty` when all warps are done with it.
struct Barriers {
  u64 full_k[STAGES], full_v[STAGES], empty_k[STAGES], empty_v[STAGES], full_q, empty_q;
};

// Makes a barrier whose phases complete when `count` threads have arrived.
DEVICE void init_barrier(u64& barrier, u32 count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(count) : "memory");
}

// Arrives, and keeps the phase from completing before so many bytes of copies.
DEVICE void expect_bytes(u64& barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)), "r"(bytes) : "memory");
}

// Arrives for this warp.
DEVICE void release(u64& barrier) {
  if (threadIdx.x % 32 == 0)
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier)) : "memory");
}

// Waits until a phase is complete, counted from 0; of a new barrier the one before phase 0 is.
DEVICE void wait_barrier(u64& barrier, u32 phase) {
  u32 done;
  do {
    asm volatile("{\n.reg .pred done;\nmbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\nselp.u32 %0, 1, 0, done;\n}"
                 : "=r"(done)
                 : "r"(shared_address(&barrier)), "r"(phase & 1)
                 : "memory");
  } while (!done);
}

// Waits until it is this warpgroup's turn to start products.
DEVICE void take_turn(u32 group) { asm volatile("bar.sync %0, 256;" ::"r"(1 + group) : "memory"); }

// Passes the turn to the next warpgroup.
DEVICE void pass_turn(u32 group) { asm volatile("bar.arrive %0, 256;" ::"r"(1 + (group + 1) % GROUPS) : "memory"); }

// ---- Copies ---------------------------------------------------------------------------------------------------------

// Starts copying N rows from row `y` of matrix `z` of a map, 64 dimensions a column.
template <int N>
DEVICE void copy_columns(u32 to, const TensorMap& map, u64& barrier, int y, int z) {
  expect_bytes(barrier, N * DIMS * 2);
#pragma unroll
  for (int column = 0; column < COLUMNS; column++)
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4, %5}], [%2];"
                 ::"r"(to + column * N * 128), "l"(&map), "r"(shared_address(&barrier)), "r"(column * 64), "r"(y), "r"(z)
                 : "memory");
}

// ---- Products of a warpgroup ----------------------------------------------------------------------------------------

// Describes an operand in shared memory, rows of 128 bytes swizzled by 128: `stride` bytes between groups of eight rows,
// `lead` bytes between columns where rows are not what the product sums over.
DEVICE u64 describe(u32 at, u32 lead, u32 stride) {
  return (u64)((at & 0x3ffff) >> 4) | (u64)(lead >> 4) << 16 | (u64)(stride >> 4) << 32 | 1ull << 62;
}

// Orders earlier accesses to registers before the products that follow.
DEVICE void fence_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Closes a group of products.
DEVICE void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Keeps the compiler from moving uses of an accumulator across this point.
template <int N>
DEVICE void pin(float (&c)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; n++) asm volatile("" : "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])::"memory");
}

// Waits until at most N groups of products are under way.
template <int N>
DEVICE void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// Operands of an accumulator of 64, 80, .. columns: their numbers in the text of an instruction, and their registers.
#define ONES "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9"
#define TENS(t) ",%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9"
#define NUMBERS_64 ONES TENS(1) TENS(2) ",%30,%31"
#define NUMBERS_80 ONES TENS(1) TENS(2) TENS(3)
#define NUMBERS_96 NUMBERS_80 ",%40,%41,%42,%43,%44,%45,%46,%47"
#define NUMBERS_128 NUMBERS_80 TENS(4) TENS(5) ",%60,%61,%62,%63"
#define NUMBERS_256 \
  NUMBERS_80 TENS(4) TENS(5) TENS(6) TENS(7) TENS(8) TENS(9) TENS(10) TENS(11) ",%120,%121,%122,%123,%124,%125,%126,%127"
#define REGISTERS_4(c, n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
#define REGISTERS_8(c, n) REGISTERS_4(c, n), REGISTERS_4(c, n + 1)
#define REGISTERS_16(c, n) REGISTERS_8(c, n), REGISTERS_8(c, n + 2)
#define REGISTERS_32(c, n) REGISTERS_16(c, n), REGISTERS_16(c, n + 4)
#define REGISTERS_64(c, n) REGISTERS_32(c, n), REGISTERS_32(c, n + 8)
#define ACCUMULATOR_64(c) REGISTERS_32(c, 0)
#define ACCUMULATOR_80(c) REGISTERS_32(c, 0), REGISTERS_8(c, 8)
#define ACCUMULATOR_96(c) REGISTERS_32(c, 0), REGISTERS_16(c, 8)
#define ACCUMULATOR_128(c) REGISTERS_64(c, 0)
#define ACCUMULATOR_256(c) REGISTERS_64(c, 0), REGISTERS_64(c, 16)

// c = a * b, or c += a * b if `add`, 64 x 16 and 16 x n elements, both in shared memory. x, y, z: numbers of the operands.
#define MULTIPLY_SHARED(n, c, a, b, add, x, y, z)                                                    \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" #z ", 0;\n"                                  \
               "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." MMA_TYPES " {" NUMBERS_##n "}, "    \
               "%" #x ", %" #y ", add, 1, 1, 0, 0;\n}"                                               \
               : ACCUMULATOR_##n(c)                                                                  \
               : "l"(a), "l"(b), "r"(add))

// c += a * b with `a` in registers and the rows of `b` being what the product sums over.
#define MULTIPLY_REGISTERS(n, c, a, b, r, s, t, u, x)                                                \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." MMA_TYPES " {" NUMBERS_##n "}, "    \
               "{%" #r ",%" #s ",%" #t ",%" #u "}, %" #x ", 1, 1, 1, 1;"                             \
               : ACCUMULATOR_##n(c)                                                                  \
               : "r"((a)[0]), "r"((a)[1]), "r"((a)[2]), "r"((a)[3]), "l"(b))

#if KEYS == 64
#define MULTIPLY_KEYS(c, a, b, add) MULTIPLY_SHARED(64, c, a, b, add, 32, 33, 34)
#else
#define MULTIPLY_KEYS(c, a, b, add) MULTIPLY_SHARED(128, c, a, b, add, 64, 65, 66)
#endif
#if PAD_VALUES
#define OUT_DIMS DIMS
#else
#define OUT_DIMS HEAD_DIM
#endif
#if OUT_DIMS == 64
#define MULTIPLY_VALUES(c, a, b) MULTIPLY_REGISTERS(64, c, a, b, 32, 33, 34, 35, 36)
#elif OUT_DIMS == 80
#define MULTIPLY_VALUES(c, a, b) MULTIPLY_REGISTERS(80, c, a, b, 40, 41, 42, 43, 44)
#elif OUT_DIMS == 96
#define MULTIPLY_VALUES(c, a, b) MULTIPLY_REGISTERS(96, c, a, b, 48, 49, 50, 51, 52)
#elif OUT_DIMS == 128
#define MULTIPLY_VALUES(c, a, b) MULTIPLY_REGISTERS(128, c, a, b, 64, 65, 66, 67, 68)
#else
#define MULTIPLY_VALUES(c, a, b) MULTIPLY_REGISTERS(256, c, a, b, 128, 129, 130, 131, 132)
#endif

typedef float Scores[KEYS / 8][4];
typedef u32 Weights[KEYS / 16][4];
typedef float Output[OUT_DIMS / 8][4]; // of 64 rows; each lane has two

// Starts the products of the warpgroup's queries with the keys of a tile, as a group.
DEVICE void start_scores(Scores& s, u32 queries, u32 keys) {
#pragma unroll
  for (int step = 0; step < HEAD_DIM / 16; step++) {
    const u64 a = describe(queries + step / 4 * ROWS * 128 + step % 4 * 32, 16, 1024);
    const u64 b = describe(keys + step / 4 * KEYS * 128 + step % 4 * 32, 16, 1024);
    MULTIPLY_KEYS(s, a, b, step > 0 ? 1 : 0);
  }
  commit_products();
}

// Starts adding the weighted values of a tile to the output, as a group.
DEVICE void start_values(Output& out, const Weights& p, u32 values) {
#pragma unroll
  for (int step = 0; step < KEYS / 16; step++)
    MULTIPLY_VALUES(out, p[step], describe(values + step * 2048, KEYS * 128, 1024));
  commit_products();
}

// ---- The two roles --------------------------------------------------------------------------------------------------

// What both roles know of the block.
struct Work {
  u32 queries, keys, values; // shared memory: rows of q, stages of k and v
  u32 key_head, first_row;
  const u32 (*range)[2]; // keys of each span that any row of the block sees
};

// The first tile of the block.
DEVICE Tile first_tile(const Work& work, const Info& info) {
  return settle<KEYS>({0, work.range[0][0] / KEYS * KEYS}, work.range, info.n_spans);
}

// The tile after another.
DEVICE Tile next_tile(Tile tile, const Work& work, const Info& info) {
  return settle<KEYS>({tile.span, tile.key + KEYS}, work.range, info.n_spans);
}

// Starts all copies of the block; one thread does.
DEVICE void produce(Barriers& barriers, const TensorMap& q, const TensorMap& k, const TensorMap& v, const Work& work,
                    const Info& info) {
  u32 n = 0, spans = 0, span = info.n_spans;
  for (Tile tile = first_tile(work, info); tile.span < info.n_spans; tile = next_tile(tile, work, info), n++) {
    const u32 stage = n % STAGES, before = n / STAGES + 1; // parity of the phase in which the stage was emptied
    const u32 rule = info.span_rule[tile.span];
    wait_barrier(barriers.empty_k[stage], before);
    copy_columns<KEYS>(work.keys + stage * TILE_BYTES, k, barriers.full_k[stage], (int)(tile.key - info.k_first),
                       rule * info.n_kv_heads + work.key_head);
    if (tile.span != span) {
      span = tile.span;
      wait_barrier(barriers.empty_q, spans++ + 1);
      copy_columns<ROWS>(work.queries, q, barriers.full_q, work.first_row, span * info.n_kv_heads + work.key_head);
    }
    wait_barrier(barriers.empty_v[stage], before);
    copy_columns<KEYS>(work.values + stage * TILE_BYTES, v, barriers.full_v[stage], tile.key, work.key_head);
  }
}

// Weights of a tile from its products, left in `s`. Whether the maximum was raised; then `kept` is what the output is worth.
DEVICE bool weigh_tile(Scores& s, Softmax& softmax, float (&kept)[2], const float* scale, Tile tile, const Bounds& seen,
                       u32 row, const Masks& masks) {
  float units[2] = {scale[0], scale[8]};
  if (SOFT_CAP > 0) cap_scores(s, units, SOFT_CAP);
  const bool whole = tile.key >= seen.all_lo && tile.key + KEYS <= seen.all_hi;
  if (!whole || masks.has_holes(tile.span)) {
    hide_unseen(s, 0, tile, row, masks);
    hide_unseen(s, 1, tile, row + 8, masks);
  }
  const bool raised = raise_max(softmax, kept, s, units);
  weigh(softmax, s, units);
  return raised;
}

// What a computing warpgroup shares with the block.
struct Consumer {
  Barriers& barriers;
  const Bounds (*seen)[WARPS];
  const float* scale; // of this lane's row and, 8 further, of its other row
  u32 queries, row;   // shared memory of the warpgroup's queries; the lane's row among all
};

// Weights of the block's first tile; there are no products yet that they could run under.
DEVICE void start_weights(Weights& p, Scores& s, Softmax& softmax, Tile tile, const Consumer& self, const Work& work,
                          const Masks& masks) {
  float kept[2]; // of an output that is still empty
  wait_barrier(self.barriers.full_q, 0);
  wait_barrier(self.barriers.full_k[0], 0);
  fence_products();
  start_scores(s, self.queries, work.keys);
  wait_products<0>();
  pin(s);
  release(self.barriers.empty_k[0]);
  weigh_tile(s, softmax, kept, self.scale, tile, self.seen[tile.span][threadIdx.x / 32], self.row, masks);
  pack_weights(p, s);
}

// Computes the rows of a warpgroup.
DEVICE void consume(Softmax& softmax, Output& out, const Consumer& self, const Work& work, const Masks& masks,
                    const Info& info) {
  Barriers& barriers = self.barriers;
  const u32 group = threadIdx.x / 128, warp = threadIdx.x / 32;
  Tile tile = first_tile(work, info);
  if (tile.span >= info.n_spans) return;
  Scores s;
  Weights p;
  if (group == GROUPS - 1) pass_turn(group); // the first warpgroup begins
  start_weights(p, s, softmax, tile, self, work, masks);

  u32 last = 0; // stage of the values that are still to be added
  for (u32 n = 0, spans = 0;; n++) {
    const u32 stage = n % STAGES, next_stage = (n + 1) % STAGES;
    const Tile next = next_tile(tile, work, info);
    if (next.span != tile.span) release(barriers.empty_q);
    wait_barrier(barriers.full_v[stage], n / STAGES);
    if (next.span >= info.n_spans) break;
    if (next.span != tile.span) wait_barrier(barriers.full_q, ++spans);
    wait_barrier(barriers.full_k[next_stage], (n + 1) / STAGES);
    take_turn(group);
    fence_products();
    start_scores(s, self.queries, work.keys + next_stage * TILE_BYTES);
    start_values(out, p, work.values + stage * TILE_BYTES);
    pass_turn(group);
    wait_products<1>();
    pin(s);
    release(barriers.empty_k[next_stage]);
    float kept[2];
    const bool raised = weigh_tile(s, softmax, kept, self.scale, next, self.seen[next.span][warp], self.row, masks);
    pin(s);
    if (softmax.sum[0] + softmax.sum[1] < 0.f) __trap(); // never; without it ptxas waits before the exponentials
    wait_products<0>();
    pin(out);
    release(barriers.empty_v[stage]);
    if (raised) scale_rows(out, kept);
    pin(s);
    pack_weights(p, s);
    tile = next;
    last = next_stage;
  }
  fence_products();
  start_values(out, p, work.values + last * TILE_BYTES);
  wait_products<0>();
  pin(out);
}

// Byte offset of a piece of a row of q in shared memory.
DEVICE u32 query_offset(u32 row, u32 piece) { return piece / 8 * ROWS * 128 + row * 128 + ((piece ^ row) % 8 << 4); }

// Writes a warp's 16 rows, 16 bytes a lane, through the place of its queries.
DEVICE void store(const Softmax& softmax, const Output& sums, unsigned char* rows, const Work& work, E* out, float* lse,
                  const Info& info) {
  const u32 lane = threadIdx.x % 32, warp_row = threadIdx.x / 32 * 16, n_rows = info.seq_q * PACK;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const u32 row = warp_row + lane / 4 + 8 * i, at = work.first_row + row;
    const float sum = row_sum(softmax.sum[i]), share = share_of(sum);
#pragma unroll
    for (int n = 0; n < PIECES; n++)
      *reinterpret_cast<u32*>(rows + query_offset(row, n) + lane % 4 * 4) =
          pack(sums[n][2 * i] * share, sums[n][2 * i + 1] * share);
    if (lane % 4 == 0 && at < n_rows)
      lse[(u64)(work.key_head * PACK + at % PACK) * info.seq_q + at / PACK] = log_sum(softmax.max[i], sum);
  }
  __syncwarp();
  for (u32 n = lane; n < 16 * PIECES; n += 32) {
    const u32 row = warp_row + n / PIECES, piece = n % PIECES, at = work.first_row + row;
    E* to = out + (work.key_head * PACK + at % PACK) * info.out_head + at / PACK * info.out_token;
    const uint4 x = *reinterpret_cast<const uint4*>(rows + query_offset(row, piece));
    if (at < n_rows) *reinterpret_cast<uint4*>(to + piece * 8) = x;
  }
}

// Prepares the barriers; one thread does.
DEVICE void init_barriers(Barriers& barriers) {
  for (u32 stage = 0; stage < STAGES; stage++) {
    init_barrier(barriers.full_k[stage], 1), init_barrier(barriers.full_v[stage], 1);
    init_barrier(barriers.empty_k[stage], 4 * GROUPS), init_barrier(barriers.empty_v[stage], 4 * GROUPS);
  }
  init_barrier(barriers.full_q, 1), init_barrier(barriers.empty_q, 4 * GROUPS);
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 1)
span_attention_wgmma(const __grid_constant__ TensorMap q_map, const __grid_constant__ TensorMap k_map,
                     const __grid_constant__ TensorMap v_map, const E*, const E*, const E*, const u32* __restrict__ lo,
                     const u32* __restrict__ hi, const float* __restrict__ factor, const u32* __restrict__ hole_start,
                     const u32* __restrict__ hole_words, E* __restrict__ out, float* __restrict__ lse,
                     const __grid_constant__ Info info) {
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ Barriers barriers;
  __shared__ Bounds seen[MAX_SPANS][WARPS]; // by the 16 rows of each warp
  __shared__ u32 range[MAX_SPANS][2];
  __shared__ float scale[ROWS]; // from products to units of log2
  const u32 group = threadIdx.x / 128, queries = shared_address(shared);
  const u32 keys = queries + ROWS * DIMS * 2, values = keys + STAGES * TILE_BYTES;
  const Place place = place_of_block<ROWS>(info.seq_q * PACK, info.n_kv_heads, info.head_group);
  const Work work = {queries, keys, values, place.pack, place.first_row, range};
  const Masks masks = {lo, hi, hole_start, hole_words, info.seq_q, info.holes_of};
  if (threadIdx.x == 0) init_barriers(barriers);
  for (u32 row = threadIdx.x; row < ROWS; row += 32 * WARPS)
    scale[row] = factor[min((place.first_row + row) / PACK, info.seq_q - 1)] * LOG2_E;
  // the producer's warps have no rows
  const u32 warp_row = group < GROUPS ? work.first_row + threadIdx.x / 32 * 16 : info.seq_q * PACK;
  find_bounds<16>(seen, range, info.n_spans, warp_row, masks);

  if (group == GROUPS) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(GROUPS == 2 ? 24 : 32));
    if (threadIdx.x % 128 == 0) produce(barriers, q_map, k_map, v_map, work, info);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(GROUPS == 2 ? 240 : 160));
    const u32 row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4;
    Softmax softmax = empty_softmax();
    Output sums;
    clear(sums);
    const Consumer self = {barriers, seen, scale + row, queries + group * 64 * 128, place.first_row + row};
    consume(softmax, sums, self, work, masks, info);
    asm volatile("bar.sync %0, 128;" ::"r"(1 + GROUPS + group) : "memory"); // its four warps share the rows of q
    store(softmax, sums, shared, work, out, lse, info);
  }
}
