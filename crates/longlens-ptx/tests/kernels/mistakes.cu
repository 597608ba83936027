// Small kernels, each right and with one mistake. `mistakes.ptx` is this text, compiled for sm_90a.
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// reverses 64 numbers through shared memory
#define REVERSE(NAME, SYNC)                                                          \
  extern "C" __global__ void NAME(const u32* in, u32* out) {                         \
    __shared__ u32 tile[64];                                                         \
    tile[threadIdx.x] = in[threadIdx.x];                                             \
    SYNC;                                                                            \
    out[threadIdx.x] = tile[63 - threadIdx.x];                                       \
  }
REVERSE(reverse, __syncthreads())
REVERSE(reverse_without_sync, )

// two rounds through one tile: the second barrier keeps the next round's stores behind this round's reads
#define ROUNDS(NAME, SYNC)                                                           \
  extern "C" __global__ void NAME(const u32* in, u32* out) {                         \
    __shared__ u32 tile[64];                                                         \
    u32 sum = 0;                                                                     \
    for (u32 round = 0; round < 2; round++) {                                        \
      tile[threadIdx.x] = in[threadIdx.x] + round;                                   \
      __syncthreads();                                                               \
      sum += tile[63 - threadIdx.x];                                                 \
      SYNC;                                                                          \
    }                                                                                \
    out[threadIdx.x] = sum;                                                          \
  }
ROUNDS(rounds, __syncthreads())
ROUNDS(rounds_without_second_sync, )

// neighbors of one warp exchange numbers
#define NEIGHBORS(NAME, SYNC)                                                        \
  extern "C" __global__ void NAME(const u32* in, u32* out) {                         \
    __shared__ volatile u32 tile[32];                                                \
    ((u32*)tile)[threadIdx.x] = in[threadIdx.x];                                     \
    SYNC;                                                                            \
    out[threadIdx.x] = ((u32*)tile)[threadIdx.x ^ 1];                                \
  }
NEIGHBORS(neighbors, __syncwarp())
NEIGHBORS(neighbors_without_sync, asm volatile("" ::: "memory"))

// a counter in shared memory that one thread clears and all count up
#define COUNT(NAME, SYNC)                                                            \
  extern "C" __global__ void NAME(const u32* in, u32* out) {                         \
    __shared__ u32 count;                                                            \
    if (threadIdx.x == 0) count = 0;                                                 \
    SYNC;                                                                            \
    atomicAdd(&count, in[threadIdx.x]);                                              \
    __syncthreads();                                                                 \
    out[threadIdx.x] = count;                                                        \
  }
COUNT(count, __syncthreads())
COUNT(count_without_sync, )

// 16 bytes a thread by cp.async, read by another warp
#define COPY(NAME, WAIT)                                                             \
  extern "C" __global__ void NAME(const uint4* in, u32* out) {                       \
    __shared__ __align__(16) u32 tile[64 * 4];                                       \
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(tile + 4 * threadIdx.x)), \
                 "l"(in + threadIdx.x) : "memory");                                  \
    asm volatile("cp.async.commit_group;" ::: "memory");                             \
    WAIT;                                                                            \
    __syncthreads();                                                                 \
    out[threadIdx.x] = tile[4 * (63 - threadIdx.x)];                                 \
  }
COPY(copy, asm volatile("cp.async.wait_group 0;" ::: "memory"))
COPY(copy_without_wait, )

// two groups of copies, of which the first is used
#define GROUPS(NAME, OPEN)                                                           \
  extern "C" __global__ void NAME(const uint4* in, u32* out) {                       \
    __shared__ __align__(16) u32 tile[2][32 * 4];                                    \
    for (u32 stage = 0; stage < 2; stage++) {                                        \
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(tile[stage] + 4 * threadIdx.x)), \
                   "l"(in + 32 * stage + threadIdx.x) : "memory");                   \
      asm volatile("cp.async.commit_group;" ::: "memory");                           \
    }                                                                                \
    asm volatile("cp.async.wait_group " #OPEN ";" ::: "memory");                     \
    __syncwarp();                                                                    \
    out[threadIdx.x] = tile[0][4 * (31 - threadIdx.x)];                              \
  }
GROUPS(groups, 1)
GROUPS(groups_waiting_for_none, 2)

extern "C" __global__ void uninitialized_shared(u32* out) {
  __shared__ u32 tile[64];
  if (threadIdx.x < 63) tile[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = tile[63 - threadIdx.x];
}

extern "C" __global__ void uninitialized_global(const u32* in, u32* out) { out[threadIdx.x] = in[threadIdx.x]; }

extern "C" __global__ void read_at(const u32* in, u32* out, u32 at) { out[threadIdx.x] = in[at + threadIdx.x]; }

extern "C" __global__ void write_at(u32* out, u32 at) { out[at + threadIdx.x] = 1; }

extern "C" __global__ void wide_read_at(const unsigned char* in, u64* out, u32 at) { *out = *(const u64*)(in + at); }

extern "C" __global__ void shared_at(u32* out, u32 at) {
  extern __shared__ u32 tile[];
  tile[at] = threadIdx.x;
  out[threadIdx.x] = tile[at];
}

// a barrier that one half of the block never reaches
extern "C" __global__ void half_barrier(u32* out) {
  if (threadIdx.x < 32) asm volatile("bar.sync 1, 64;" ::: "memory");
  out[threadIdx.x] = 1;
}

// a barrier for whole warps that only the lower lanes reach
extern "C" __global__ void divergent_barrier(u32* out) {
  if (threadIdx.x % 32 < 16) asm volatile("bar.sync 0;" ::: "memory");
  out[threadIdx.x] = 1;
}

extern "C" __global__ void wait_for_other_block(volatile u32* flag) {
  if (blockIdx.x == 0) while (*flag == 0) {}
  else *flag = 1;
}

extern "C" __global__ void stops_itself(u32* out) {
  if (threadIdx.x == 5) __trap();
  out[threadIdx.x] = 1;
}

// every thread writes a number; the last block to arrive adds what all have written
#define LAST_BLOCK(NAME, FENCE, SYNC, COUNT)                                         \
  extern "C" __global__ void NAME(const u32* in, u32* parts, u32* count, u32* out) { \
    __shared__ bool last;                                                            \
    parts[blockIdx.x * 32 + threadIdx.x] = in[blockIdx.x * 32 + threadIdx.x];        \
    FENCE;                                                                           \
    SYNC;                                                                            \
    if (threadIdx.x == 0) last = COUNT == gridDim.x - 1;                             \
    __syncthreads();                                                                 \
    if (last && threadIdx.x == 31) {                                                 \
      u32 sum = 0;                                                                   \
      for (u32 i = 0; i < gridDim.x * 32; i++) sum += ((volatile u32*)parts)[i];     \
      *out = sum;                                                                    \
    }                                                                                \
  }
LAST_BLOCK(last_block_adds, __threadfence(), __syncthreads(), atomicAdd(count, 1))
LAST_BLOCK(last_block_adds_without_fence, , __syncthreads(), atomicAdd(count, 1))
LAST_BLOCK(last_block_adds_without_sync, __threadfence(), , atomicAdd(count, 1))
LAST_BLOCK(last_block_adds_without_count, __threadfence(), __syncthreads(), blockIdx.x)

// rows of 64 elements: without the swizzle all eight rows of a matrix start at one bank
#define MATRIX(NAME, PIECE)                                                          \
  extern "C" __global__ void NAME(const uint4* in, u32* out) {                       \
    __shared__ __align__(128) uint4 tile[16 * 8];                                    \
    u32 lane = threadIdx.x, r[4];                                                    \
    for (u32 n = lane; n < 16 * 8; n += 32) { u32 row = n / 8, piece = n % 8; tile[row * 8 + (PIECE)] = in[n]; } \
    __syncwarp();                                                                    \
    u32 row = lane % 16, piece = lane / 16;                                          \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"  \
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                    \
                 : "r"(shared_address(tile + row * 8 + (PIECE))) : "memory");        \
    for (u32 i = 0; i < 4; i++) out[lane * 4 + i] = r[i];                            \
  }
MATRIX(matrix_with_swizzle, piece ^ (row & 7))
MATRIX(matrix_without_swizzle, piece)

// a product of 16 x 16 and 16 x 8, with the rows of A in the place the instruction wants them or not
#define PRODUCT(NAME, ROW)                                                           \
  extern "C" __global__ void NAME(const u32* a, const u32* b, float* out) {          \
    u32 lane = threadIdx.x, g = lane / 4, t = lane % 4, x[4], y[2];                  \
    float c[4] = {0, 0, 0, 0};                                                       \
    for (u32 i = 0; i < 4; i++) x[i] = a[(ROW + 8 * (i % 2)) * 8 + t + 4 * (i / 2)]; \
    for (u32 i = 0; i < 2; i++) y[i] = b[g * 8 + t + 4 * i];                         \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                    \
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1])); \
    for (u32 i = 0; i < 4; i++) out[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = c[i];   \
  }
PRODUCT(product, g)
PRODUCT(product_with_wrong_rows, (g ^ 1))
