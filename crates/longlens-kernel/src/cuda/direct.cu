// Operands of mma.sync straight from 16-byte loads, for kernels whose keys meet few rows: neither keys nor values pass shared
// memory. Stands between the prelude and the kernel. Needs ROTARY_DIM, a multiple of 16.
//
// The products do not care in which order dimensions or keys come as long as both operands agree. So a lane loads whole
// pieces of 8 dimensions of its key, and four lanes share a key. Partners that turn together are pieces of the same lane.
#define PAIRS (ROTARY_DIM / 16)                    // pieces of the first half that is turned
#define PAIR_ROUNDS ((PAIRS + 3) / 4)              // of four lanes
#define REST_ROUNDS ((PIECES - 2 * PAIRS + 3) / 4) // of four lanes, through the pieces that are not turned
#define LOCAL (2 * PAIR_ROUNDS + REST_ROUNDS)      // pieces of a row that a lane has
#define CHUNKS ((PIECES + 7) / 8)                  // of 64 dimensions of the values
#define CHUNKS_AT_ONCE (CHUNKS > 2 ? 1 : CHUNKS)   // that are in registers together
#define EARLY (CHUNKS == CHUNKS_AT_ONCE)           // registers suffice to load keys and values before they are needed
#define KEY_GROUPS (EARLY ? 2 : 1)                 // groups of 8 keys that are in registers together
#define NO_KEY ALL_LANES
static_assert(ROTARY_DIM % 16 == 0 && ROTARY_DIM <= HEAD_DIM, "partners that turn together are whole pieces");

// The pieces that a lane has of a row, zeros where it has none.
struct Row {
  uint4 at[LOCAL];
};

// Keys and values of a key head; rows past the last one are read as the last one.
struct Cache {
  const E *k, *v;
  u32 k_row, v_row, last;
};

// Weighted values of 16 rows: out[8 c + j] has dimension j of the pieces 8 c .. 8 c + 7 in its columns.
typedef float Output[8 * CHUNKS][4];

// The piece with index `n` among those of this lane: pairs of pieces first, then what is not turned. PIECES if there is none.
DEVICE u32 local_piece(int n) {
  const u32 lane = threadIdx.x % 4, pair = n / 2 * 4 + lane, rest = 2 * PAIRS + (n - 2 * PAIR_ROUNDS) * 4 + lane;
  if (n >= 2 * PAIR_ROUNDS) return rest < PIECES ? rest : PIECES;
  return pair + 1 <= PAIRS ? pair + n % 2 * PAIRS : PIECES;
}

// Loads a piece; past the L1 cache if it is read ONCE.
template <bool ONCE>
DEVICE uint4 load_piece(const E* at) {
  uint4 x;
  if (ONCE)
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "l"(at));
  else
    asm volatile("ld.global.nc.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "l"(at));
  return x;
}

// Loads the pieces of key `key` + lane / 4.
template <bool ONCE>
DEVICE void load_key(Row& row, const Cache& cache, u32 key) {
  const E* from = cache.k + (u64)min(key + threadIdx.x % 32 / 4, cache.last) * cache.k_row;
#pragma unroll
  for (int n = 0; n < LOCAL; n++) {
    const u32 piece = local_piece(n);
    row.at[n] = piece < PIECES ? load_piece<ONCE>(from + piece * 8) : make_uint4(0, 0, 0, 0);
  }
}

// Loads 64 dimensions of four keys each; a lane has piece lane / 4 of keys 2 (lane % 4), the next, and both 8 later.
template <bool ONCE>
DEVICE void load_values(u32 (&values)[4][4], const Cache& cache, u32 key, int chunk) {
  const u32 lane = threadIdx.x % 32, piece = chunk * 8 + lane / 4;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const E* from = cache.v + (u64)min(key + lane % 4 * 2 + i % 2 + i / 2 * 8, cache.last) * cache.v_row;
    const uint4 x = piece < PIECES ? load_piece<ONCE>(from + piece * 8) : make_uint4(0, 0, 0, 0);
    values[i][0] = x.x, values[i][1] = x.y, values[i][2] = x.z, values[i][3] = x.w;
  }
}

// Turns the pieces of a row; `angles(piece)` gives the angles of a piece of the first half.
template <class Of>
DEVICE void turn_row(Row& row, Of angles) {
#pragma unroll
  for (int n = 0; n < 2 * PAIR_ROUNDS; n += 2) {
    const u32 piece = local_piece(n);
    if (piece < PIECES) turn_piece(row.at[n], row.at[n + 1], angles(piece));
  }
}

// Turns a query, row lane / 4 + 8 i of 16, and leaves this lane's pieces in its own places of shared memory; zeros for null.
template <class Of>
DEVICE void turn_query(uint4* turned, u32 i, const E* query, Of angles) {
  const u32 lane = threadIdx.x % 32;
  auto load = [&](u32 piece) {
    return query && piece < PIECES ? reinterpret_cast<const uint4*>(query)[piece] : make_uint4(0, 0, 0, 0);
  };
#pragma unroll
  for (int n = 0; n < LOCAL; n += n < 2 * PAIR_ROUNDS ? 2 : 1) {
    const u32 piece = local_piece(n);
    uint4 x = load(piece);
    if (n < 2 * PAIR_ROUNDS) {
      uint4 partner = load(piece + PAIRS);
      if (query && piece < PIECES) turn_piece(x, partner, angles(piece));
      turned[((n + 1) * 2 + i) * 32 + lane] = partner;
    }
    turned[(n * 2 + i) * 32 + lane] = x;
  }
}

// Adds the products of T tiles of 16 rows with N groups of 8 keys, from group `first` on.
template <int N, int T>
DEVICE void multiply_keys(float (&s)[T][2][4], int first, const uint4* turned, const Row* keys) {
  const u32 lane = threadIdx.x % 32;
#pragma unroll
  for (int n = 0; n < LOCAL; n++)
#pragma unroll
    for (int t = 0; t < T; t++) {
      const uint4* at = turned + (t * LOCAL + n) * 64 + lane;
      const uint4 low = at[0], high = at[32]; // rows lane / 4 and 8 later
      const u32 a[4] = {low.x, high.x, low.y, high.y}, b[4] = {low.z, high.z, low.w, high.w};
#pragma unroll
      for (int i = 0; i < N; i++) {
        multiply_add(s[t][first + i], a, keys[i].at[n].x, keys[i].at[n].y);
        multiply_add(s[t][first + i], b, keys[i].at[n].z, keys[i].at[n].w);
      }
    }
}

// Adds 64 dimensions of the weighted values of 16 keys to T tiles.
template <int T>
DEVICE void add_values(Output (&out)[T], int chunk, const u32 (&p)[T][1][4], const u32 (&values)[4][4]) {
#pragma unroll
  for (int j = 0; j < 8; j++) { // dimension j of two keys becomes a pair
    const u32 halves = j % 2 ? 0x7632 : 0x5410;
    const u32 b0 = __byte_perm(values[0][j / 2], values[1][j / 2], halves);
    const u32 b1 = __byte_perm(values[2][j / 2], values[3][j / 2], halves);
#pragma unroll
    for (int t = 0; t < T; t++) multiply_add(out[t][chunk * 8 + j], p[t][0], b0, b1);
  }
}

// Loads the keys that attend_keys expects to be loaded when it starts with `key`.
template <bool ONCE>
DEVICE void load_first_keys(Row (&keys)[KEY_GROUPS], const Cache& cache, u32 key) {
#pragma unroll
  for (int i = 0; EARLY && i < KEY_GROUPS; i++) load_key<ONCE>(keys[i], cache, key + 8 * i);
}

// Lets T tiles of 16 rows attend to the 16 keys from `key` on. `turn(row, first)` turns the keys from `first` on,
// `weigh(t, p, s)` makes weights of the products of tile t. Loads keep ahead of the products, those of the keys from `next` on
// included, unless it is NO_KEY.
template <bool ONCE, int T, class Turn, class Weigh>
DEVICE void attend_keys(Output (&out)[T], Row (&keys)[KEY_GROUPS], const uint4* turned, const Cache& cache, u32 key, u32 next,
                        Turn turn, Weigh weigh) {
  constexpr int ahead = !EARLY ? 0 : T == 1 ? CHUNKS : 1; // chunks of values that registers suffice to load before the products
  u32 values[CHUNKS_AT_ONCE][4][4], p[T][1][4];
  float s[T][2][4];
#pragma unroll
  for (int t = 0; t < T; t++) clear(s[t]);
#pragma unroll
  for (int chunk = 0; chunk < ahead; chunk++) load_values<ONCE>(values[chunk], cache, key, chunk);
#pragma unroll
  for (int i = 0; i < 2; i += KEY_GROUPS) {
#pragma unroll
    for (int j = 0; j < KEY_GROUPS; j++) {
      if (!EARLY) load_key<ONCE>(keys[j], cache, key + 8 * i);
      turn(keys[j], key + 8 * (i + j));
    }
    multiply_keys<KEY_GROUPS>(s, i, turned, keys);
  }
  if (next != NO_KEY) load_first_keys<ONCE>(keys, cache, next);
#pragma unroll
  for (int t = 0; t < T; t++) weigh(t, p[t], s[t]);
#pragma unroll
  for (int chunk = ahead; EARLY && chunk < CHUNKS; chunk++) load_values<ONCE>(values[chunk], cache, key, chunk);
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; chunk++) {
    if (!EARLY) load_values<ONCE>(values[0], cache, key, chunk);
    add_values(out, chunk, p, values[EARLY ? chunk : 0]);
  }
}
