// What the kernels of span attention share: spans of keys per query, their holes, and the walk over key tiles. Stands between
// the prelude and the kernel. A row of a block is query row / PACK of head row % PACK of its pack of heads.
#define MAX_SPANS 8

// A key tile of a span.
struct Tile {
  u32 span, key;
};

// Which keys a query sees: the intervals [span][query], where their bits in the words of holes begin (none: ALL_LANES), and
// the words, 32 keys each, aligned to multiples of 32: word hole_start + j / 32 - lo / 32, bit j % 32, is 1 for a seen key.
struct Masks {
  const u32 *lo, *hi, *hole_start, *hole_words;
  u32 seq_q, holes_of; // bit s: span s has holes

  DEVICE bool has_holes(u32 span) const { return HOLES && holes_of >> span & 1; }
};

// Keys [any_lo, any_hi) are seen by at least one row, [all_lo, all_hi) by every row.
struct Bounds {
  u32 any_lo, any_hi, all_lo, all_hi;
};

// Hides the keys from tile.key on that row `row` of all does not see; it is row `i` of the lane's two.
template <int N>
DEVICE void hide_unseen(float (&s)[N][4], int i, Tile tile, u32 row, const Masks& masks) {
  const u32 of = tile.span * masks.seq_q + min(row / PACK, masks.seq_q - 1);
  const u32 from = masks.lo[of], to = row < masks.seq_q * PACK ? masks.hi[of] : 0;
  const u32* words = nullptr;
  if (masks.has_holes(tile.span) && masks.hole_start[of] != ALL_LANES) words = masks.hole_words + masks.hole_start[of];
  hide(s, i, tile.key, from, to, words);
}

// The place of a block of rows: a pack of heads, and its row 0 among all rows of the pack.
struct Place {
  u32 pack, first_row;
};

// Blocks walk `group` packs together, whose keys and values fit the L2 cache, from the last rows, which see most, to the first.
template <u32 ROWS_OF_BLOCK>
DEVICE Place place_of_block(u32 n_rows, u32 n_packs, u32 group) {
  const u32 n_blocks = (n_rows + ROWS_OF_BLOCK - 1) / ROWS_OF_BLOCK; // of a pack
  const u32 first_pack = blockIdx.x / (group * n_blocks) * group, in_group = min(group, n_packs - first_pack);
  const u32 at = blockIdx.x - first_pack * n_blocks;
  return {first_pack + at % in_group, (n_blocks - 1 - at / in_group) * ROWS_OF_BLOCK};
}

// What the rows of this warp see of a span: lane r looks at row r.
template <int ROWS_OF_WARP>
DEVICE Bounds warp_bounds(u32 first_row, u32 span, const Masks& masks) {
  const u32 lane = threadIdx.x % 32, row = first_row + lane;
  Bounds b = {ALL_LANES, 0, 0, ALL_LANES};
  if (lane < ROWS_OF_WARP && row < masks.seq_q * PACK) {
    const u32 of = span * masks.seq_q + row / PACK, from = masks.lo[of], to = masks.hi[of];
    b = from < to ? Bounds{from, to, from, to} : Bounds{ALL_LANES, 0, 0, 0};
  }
  return {__reduce_min_sync(ALL_LANES, b.any_lo), __reduce_max_sync(ALL_LANES, b.any_hi),
          __reduce_max_sync(ALL_LANES, b.all_lo), __reduce_min_sync(ALL_LANES, b.all_hi)};
}

// Finds what each warp and what the whole block sees of every span.
template <int ROWS_OF_WARP, int N>
DEVICE void find_bounds(Bounds (*seen)[N], u32 (*range)[2], u32 n_spans, u32 first_row, const Masks& masks) {
  if (threadIdx.x < MAX_SPANS) range[threadIdx.x][0] = ALL_LANES, range[threadIdx.x][1] = 0;
  __syncthreads();
  for (u32 span = 0; span < n_spans; span++) {
    const Bounds bounds = warp_bounds<ROWS_OF_WARP>(first_row, span, masks);
    if (threadIdx.x % 32 != 0) continue;
    seen[span][threadIdx.x / 32] = bounds;
    if (bounds.any_lo < bounds.any_hi) atomicMin(&range[span][0], bounds.any_lo), atomicMax(&range[span][1], bounds.any_hi);
  }
  __syncthreads();
}

// The first tile of N keys at or after `tile` that the block has to compute; span n_spans when there is none.
template <u32 N>
DEVICE Tile settle(Tile tile, const u32 (*range)[2], u32 n_spans) {
  while (tile.span < n_spans && tile.key >= range[tile.span][1]) {
    tile.span++;
    tile.key = tile.span < n_spans ? range[tile.span][0] / N * N : 0;
  }
  return tile;
}
