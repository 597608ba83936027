// Kernels with the copy engine and `wgmma`, each right and with one mistake. `hopper.ptx` is this text, compiled for sm_90a.
typedef unsigned int u32;
typedef unsigned long long u64;
typedef struct { alignas(64) u64 opaque[16]; } Map;

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void barrier_init(u32 b, u32 n) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(b), "r"(n) : "memory"); }
__device__ __forceinline__ void barrier_expect(u32 b, u32 n) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(n) : "memory"); }
__device__ __forceinline__ void barrier_arrive(u32 b) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b) : "memory"); }
__device__ __forceinline__ void barrier_wait(u32 b, u32 phase) {
  asm volatile("{ .reg .pred p;\nagain: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@!p bra again; }" ::"r"(b), "r"(phase) : "memory");
}
__device__ __forceinline__ void load(u32 to, const Map* map, u32 b, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(to), "l"(map), "r"(b), "r"(x), "r"(y) : "memory");
}
// rows of 128 bytes, swizzled: groups of 8 rows are 1024 bytes apart
__device__ __forceinline__ u64 descriptor(u32 a) { return (u64)((a & 0x3ffff) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62); }

// a box of 8 rows of 64 elements, loaded and written out as it lies in shared memory
#define LOAD(NAME, FILL, WAIT)                                                       \
  extern "C" __global__ void NAME(const __grid_constant__ Map map, u32* out, int x, int y) { \
    __shared__ __align__(1024) u32 tile[8 * 32];                                     \
    __shared__ u64 bar;                                                              \
    u32 b = shared_address(&bar);                                                    \
    if (threadIdx.x == 0) barrier_init(b, 1);                                        \
    FILL;                                                                            \
    __syncthreads();                                                                 \
    if (threadIdx.x == 0) { barrier_expect(b, sizeof(tile)); load(shared_address(tile), &map, b, x, y); } \
    WAIT;                                                                            \
    for (u32 n = threadIdx.x; n < 8 * 32; n += blockDim.x) out[n] = tile[n];         \
  }
#define PROXY_FENCE asm volatile("fence.proxy.async.shared::cta;" ::: "memory")
LOAD(box, , barrier_wait(b, 0))
LOAD(box_without_wait, , __syncthreads())
LOAD(box_over_stores, tile[threadIdx.x] = 1; PROXY_FENCE, barrier_wait(b, 0))
LOAD(box_over_stores_without_fence, tile[threadIdx.x] = 1, barrier_wait(b, 0))

// a ring of one stage: the consumer gives the stage back before the producer loads into it again
#define RING(NAME, TAKE, EARLY, LATE)                                                       \
  extern "C" __global__ void NAME(const __grid_constant__ Map map, u32* out) {       \
    __shared__ __align__(1024) u32 tile[8 * 32];                                     \
    __shared__ u64 bars[2];                                                          \
    u32 full = shared_address(bars), empty = full + 8, sum = 0;                      \
    if (threadIdx.x == 0) { barrier_init(full, 1); barrier_init(empty, 32); }        \
    __syncthreads();                                                                 \
    if (threadIdx.x >= 32) {                                                         \
      if (threadIdx.x == 32) for (u32 n = 0; n < 3; n++) {                           \
        TAKE(empty, (n & 1) ^ 1);                                                    \
        barrier_expect(full, sizeof(tile));                                          \
        load(shared_address(tile), &map, full, 0, 8 * n);                            \
      }                                                                              \
    } else {                                                                         \
      for (u32 n = 0; n < 3; n++) {                                                  \
        barrier_wait(full, n & 1);                                                   \
        EARLY;                                                                       \
        sum += tile[threadIdx.x];                                                    \
        LATE;                                                                        \
      }                                                                              \
      out[threadIdx.x] = sum;                                                        \
    }                                                                                \
  }
__device__ __forceinline__ void no_wait(u32, u32) {}
RING(ring, barrier_wait, , barrier_arrive(empty))
RING(ring_given_back_early, barrier_wait, barrier_arrive(empty), )
RING(ring_without_empty, no_wait, , barrier_arrive(empty))

// shared memory to a tensor
#define STORE(NAME, FENCE, WAIT)                                                     \
  extern "C" __global__ void NAME(const __grid_constant__ Map map, const u32* in) {  \
    __shared__ __align__(1024) u32 tile[8 * 32];                                     \
    for (u32 n = threadIdx.x; n < 8 * 32; n += blockDim.x) tile[n] = in[n];          \
    FENCE;                                                                           \
    __syncthreads();                                                                 \
    if (threadIdx.x == 0) {                                                          \
      asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(&map), "r"(shared_address(tile)), "r"(0), "r"(4) : "memory"); \
      asm volatile("cp.async.bulk.commit_group;" ::: "memory");                      \
      WAIT;                                                                          \
    }                                                                                \
  }
#define STORE_WAIT asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory")
STORE(store, PROXY_FENCE, STORE_WAIT)
STORE(store_without_fence, , STORE_WAIT)
STORE(store_without_wait, PROXY_FENCE, )

#define WGMMA(C, A, B, SCALE) asm volatile("{ .reg .pred p; setp.ne.b32 p, %6, 0;\n wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, p, 1, 1, 0, 0; }" : "+f"(C[0]), "+f"(C[1]), "+f"(C[2]), "+f"(C[3]) : "l"(A), "l"(B), "r"(SCALE))
#define WGMMA_FENCE asm volatile("wgmma.fence.sync.aligned;" ::: "memory")
#define WGMMA_COMMIT asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")
#define WGMMA_WAIT asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory")

// A [64][64] times B [8][64] transposed, through swizzled shared memory
#define PRODUCT(NAME, PROXY, FENCE, WAIT)                                            \
  extern "C" __global__ void NAME(const uint4* a, const uint4* b, float* out) {      \
    __shared__ __align__(1024) uint4 left[64 * 8], right[8 * 8];                     \
    for (u32 n = threadIdx.x; n < 64 * 8; n += 128) left[n ^ (n / 8 % 8)] = a[n];    \
    if (threadIdx.x < 64) right[threadIdx.x ^ (threadIdx.x / 8 % 8)] = b[threadIdx.x]; \
    PROXY;                                                                           \
    __syncthreads();                                                                 \
    float c[4] = {0, 0, 0, 0};                                                       \
    asm volatile("mul.f32 %0, %0, %4; mul.f32 %1, %1, %4; mul.f32 %2, %2, %4; mul.f32 %3, %3, %4;" : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "f"(1.f)); \
    FENCE;                                                                           \
    for (u32 k = 0; k < 4; k++) WGMMA(c, descriptor(shared_address(left) + 32 * k), descriptor(shared_address(right) + 32 * k), 1); \
    WGMMA_COMMIT;                                                                    \
    WAIT;                                                                            \
    u32 g = threadIdx.x / 4 % 8 + threadIdx.x / 32 * 16, t = threadIdx.x % 4;        \
    for (u32 i = 0; i < 4; i++) out[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = c[i];   \
  }
PRODUCT(product, PROXY_FENCE, WGMMA_FENCE, WGMMA_WAIT)
PRODUCT(product_without_proxy_fence, , WGMMA_FENCE, WGMMA_WAIT)
PRODUCT(product_without_fence, PROXY_FENCE, , WGMMA_WAIT)
PRODUCT(product_without_wait, PROXY_FENCE, WGMMA_FENCE, )

// the operand is overwritten while the product may still read it
extern "C" __global__ void product_overwritten(const uint4* a, const uint4* b, float* out) {
  __shared__ __align__(1024) uint4 left[64 * 8], right[8 * 8];
  for (u32 n = threadIdx.x; n < 64 * 8; n += 128) left[n ^ (n / 8 % 8)] = a[n];
  if (threadIdx.x < 64) right[threadIdx.x ^ (threadIdx.x / 8 % 8)] = b[threadIdx.x];
  PROXY_FENCE;
  __syncthreads();
  float c[4];
  WGMMA_FENCE;
  for (u32 k = 0; k < 4; k++) WGMMA(c, descriptor(shared_address(left) + 32 * k), descriptor(shared_address(right) + 32 * k), k > 0 ? 1 : 0);
  WGMMA_COMMIT;
  if (threadIdx.x < 64) right[threadIdx.x] = make_uint4(0, 0, 0, 0);
  WGMMA_WAIT;
  for (u32 i = 0; i < 4; i++) out[threadIdx.x * 4 + i] = c[i];
}
