// Which chunks every query chooses (LongHeads, arXiv:2402.10685, section 3.2; Quest, arXiv:2406.10774), scores never leaving
// the chip: score(i, c) = q_i . r_c in f32, the n_picks best of the candidates n_first .. candidates_end[i], of equal ones the
// lower chunk, of those that are not numbers none before a number.
//
// Slots of a query, in ascending order: chunks 0 .. n_first, its picks, n_newest chunks from candidates_end[i] on, tail[i].
//
// A block has ROWS rows: row r is query r / PACK, head r % PACK. In passes over CAPACITY candidates its warps score 16 chunks
// at a time, straight from 16-byte loads, and leave the scores in shared memory as numbers that sort like them. Then a warp
// picks row by row from those and from what is left of earlier passes: it finds the last pick's number bit by bit, from the
// highest bit in which they differ, until as many reach it as there are picks.
//
// Defines: HEAD_DIM (numbers of q_i and r_c, a multiple of 8), F16, ROTARY_DIM 0 (nothing turns), PACK (divides the heads that
// share representatives), ROWS (a multiple of 16), CAPACITY (a multiple of 128), PICKS (a multiple of 32, at least n_picks).
// Launch: grid (ceil(seq_q * PACK / ROWS), n_heads / PACK), block 128, dynamic shared memory
// ROWS * (LOCAL * 64 + (CAPACITY + 8) * 4 + PICKS * 8) bytes, where LOCAL = ceil(HEAD_DIM / 32). n_first + n_picks <=
// candidates_end[i].
// Memory: reads q once and r once per block; writes chunks once. No workspace.
// Parameters: q, r, candidates_end, tail, chunks, info.
// Cost of 32 rows of 128 numbers, 13 picks: 61,000 instructions of a warp for 512 candidates, 37,000 for 256, four fifths of
// them to pick.
// Agrees with a choice by f64 scores but where two differ by less than f32 rounding; none did in 9,600 rows.
#define WARPS 4
#define PITCH (CAPACITY + 8) // numbers of a row: what a warp writes at once lies in different banks
#define TILES (ROWS / 16)
static_assert(ROWS % 16 == 0 && CAPACITY % 128 == 0 && PICKS % 32 == 0, "the numbers of a row fill lanes");

struct Info {
  u64 q_head, q_row, r_head; // strides in elements
  u32 r_row, seq_q, n_heads, n_rep; // n_rep: heads that share representatives
  u32 n_chunks, n_slots, n_first, n_picks, n_newest;
};

// What is left of a row: numbers and chunks in ascending order of chunks.
struct Left {
  u32 number[PICKS], chunk[PICKS];
};

// A number that sorts like a score: 1 for what is no number; 0 is less than all.
DEVICE u32 sortable(float score) {
  const u32 bits = __float_as_uint(score);
  return score != score ? 1 : bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Scores 16 chunks of a pass for all rows.
DEVICE void score(u32* numbers, const uint4* queries, const Cache& cache, u32 pass, u32 at, const u32* end) {
  const u32 lane = threadIdx.x % 32;
  Row keys[2];
#pragma unroll
  for (int i = 0; i < 2; i++) load_key<false>(keys[i], cache, pass + at + 8 * i);
#pragma unroll
  for (int tile = 0; tile < TILES; tile++) {
    float s[1][2][4];
    clear(s[0]);
    multiply_keys<2>(s, 0, queries + tile * LOCAL * 64, keys);
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const u32 row = tile * 16 + lane / 4 + 8 * half, column = at + 8 * i + lane % 4 * 2, chunk = pass + column;
        const u32 first = chunk < end[row] ? sortable(s[0][i][2 * half]) : 0;
        const u32 second = chunk + 1 < end[row] ? sortable(s[0][i][2 * half + 1]) : 0;
        *reinterpret_cast<uint2*>(numbers + row * PITCH + column) = make_uint2(first, second);
      }
  }
}

// How many of the warp's numbers reach a bound.
template <int N>
DEVICE u32 count(const u32 (&held)[N], u32 bound) {
  u32 n = 0;
#pragma unroll
  for (int i = 0; i < N; i++) n += held[i] >= bound;
  return __reduce_add_sync(ALL_LANES, n);
}

// The greatest bound that at least `n` of more than `n` numbers reach, or a lower one that exactly `n` reach.
template <int N>
DEVICE u32 find_bound(const u32 (&held)[N], u32 n) {
  u32 most = 0, least = ALL_LANES;
#pragma unroll
  for (int i = 0; i < N; i++) most = max(most, held[i]), least = held[i] ? min(least, held[i]) : least;
  most = __reduce_max_sync(ALL_LANES, most), least = __reduce_min_sync(ALL_LANES, least);
  const u32 differ = most ^ least;
  int bit = differ ? 31 - __clz(differ) : -1;
  u32 bound = bit < 0 ? most : most >> bit >> 1 << bit << 1; // what they have in common
  for (; bit >= 0; bit--) {
    const u32 reach = count(held, bound | 1u << bit);
    if (reach >= n) bound |= 1u << bit;
    if (reach == n) break;
  }
  return max(bound, 1u);
}

// Picks a row's best among `n_left` that are left and `n_new` numbers of a pass, NEW at most; they are what is left then.
template <int NEW>
DEVICE void pick(Left& left, u32 n_left, const u32* numbers, u32 pass, u32 n_new, u32 n_picks) {
  const u32 lane = threadIdx.x % 32, before = (1u << lane) - 1;
  constexpr int n_held = (PICKS + NEW) / 32;
  u32 held[n_held], chunk[n_held];
#pragma unroll
  for (int i = 0; i < n_held; i++) {
    const u32 at = i * 32 + lane - (i < PICKS / 32 ? 0 : PICKS);
    const bool is_left = i < PICKS / 32, in = at < (is_left ? n_left : n_new);
    held[i] = !in ? 0 : is_left ? left.number[at] : numbers[at];
    chunk[i] = in && is_left ? left.chunk[at] : pass + at;
  }
  const u32 bound = n_left + n_new > n_picks ? find_bound(held, n_picks) : 1;
  const u32 reach = count(held, bound), above = reach > n_picks ? count(held, bound + 1) : reach;
  u32 n_equal = n_picks - above, n = 0; // of those that are equal to the bound, so many may come if not all can
  if (reach <= n_picks) n_equal = reach;
  __syncwarp();
#pragma unroll
  for (int i = 0; i < n_held; i++) {
    const bool equal = held[i] == bound;
    const u32 equals = __ballot_sync(ALL_LANES, equal);
    const bool picked = held[i] > bound || equal && __popc(equals & before) < n_equal;
    const u32 all = __ballot_sync(ALL_LANES, picked);
    if (picked) left.number[n + __popc(all & before)] = held[i], left.chunk[n + __popc(all & before)] = chunk[i];
    n += __popc(all), n_equal -= min(n_equal, (u32)__popc(equals));
  }
  __syncwarp();
}

// The same, looking at no more numbers than a row has.
DEVICE void pick_some(Left& left, u32 n_left, const u32* numbers, u32 pass, u32 n_new, const Info& info) {
  if (n_new <= CAPACITY / 4) pick<CAPACITY / 4>(left, n_left, numbers, pass, n_new, info.n_picks);
  else if (n_new <= CAPACITY / 2) pick<CAPACITY / 2>(left, n_left, numbers, pass, n_new, info.n_picks);
  else pick<CAPACITY>(left, n_left, numbers, pass, n_new, info.n_picks);
}

// Writes the slots of a row.
DEVICE void store(int* slots, const Left& left, u32 end, u32 tail, const Info& info) {
  for (u32 slot = threadIdx.x % 32; slot < info.n_slots; slot += 32) {
    const u32 pick = slot - info.n_first, newest = pick - info.n_picks;
    slots[slot] = slot < info.n_first      ? slot
                  : pick < info.n_picks    ? left.chunk[pick]
                  : newest < info.n_newest ? end + newest
                                           : tail;
  }
}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
choose_chunks(const E* __restrict__ q, const E* __restrict__ r, const u32* __restrict__ candidates_end,
              const u32* __restrict__ tail, int* __restrict__ chunks, const __grid_constant__ Info info) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ u32 end[ROWS], last_end;
  uint4* queries = reinterpret_cast<uint4*>(shared);
  u32* numbers = reinterpret_cast<u32*>(queries + TILES * LOCAL * 64);
  Left* left = reinterpret_cast<Left*>(numbers + ROWS * PITCH);
  const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = blockIdx.y * PACK;
  const u32 first = (gridDim.x - 1 - blockIdx.x) * ROWS, n_rows = info.seq_q * PACK; // later queries have more candidates
  const Cache cache = {r + head / info.n_rep * info.r_head, nullptr, info.r_row, 0, info.n_chunks - 1};

  if (threadIdx.x == 0) last_end = 0;
  __syncthreads();
  for (u32 row = threadIdx.x; row < ROWS; row += 32 * WARPS) {
    end[row] = first + row < n_rows ? candidates_end[(first + row) / PACK] : 0;
    atomicMax(&last_end, end[row]);
  }
  for (u32 tile = warp; tile < TILES; tile += WARPS)
    for (u32 i = 0; i < 2; i++) {
      const u32 at = first + tile * 16 + lane / 4 + 8 * i;
      const E* query = at < n_rows ? q + (head + at % PACK) * info.q_head + at / PACK * info.q_row : nullptr;
      turn_query(queries + tile * LOCAL * 64, i, query, [](u32) { return Angles(); });
    }
  __syncthreads();

  for (u32 pass = info.n_first; pass < last_end; pass += CAPACITY) {
    for (u32 at = warp * 16; at < CAPACITY && pass + at < last_end; at += 16 * WARPS)
      score(numbers, queries, cache, pass, at, end);
    __syncthreads();
    const u32 n_left = min(pass - info.n_first, info.n_picks); // of rows whose candidates do not end before
    for (u32 row = warp; row < ROWS; row += WARPS)
      if (pass < end[row]) pick_some(left[row], n_left, numbers + row * PITCH, pass, min(CAPACITY, end[row] - pass), info);
    __syncthreads();
  }
  for (u32 row = warp; row < ROWS && first + row < n_rows; row += WARPS) {
    const u32 at = first + row, query = at / PACK;
    store(chunks + ((u64)(head + at % PACK) * info.seq_q + query) * info.n_slots, left[row], end[row], tail[query], info);
  }
}
