// Helper functions of all kernels. The host writes `#define` lines above this text and the text of one kernel below it:
// HEAD_DIM, and F16 (0: bf16, 1: f16), which is the element type E of queries, keys, values and outputs.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE __device__ __forceinline__
#define ALL_LANES 0xffffffffu
#define INFINITY __int_as_float(0x7f800000)
#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f
#define LOWEST -1e30f         // where a running maximum starts: below every score, yet finite
#define PIECES (HEAD_DIM / 8) // 16-byte pieces of a row

// ---- Elements -------------------------------------------------------------------------------------------------------

#if F16
typedef __half E;
#define MMA_TYPES "f16.f16"

// Two numbers as a pair of elements; `low` has the lower address.
DEVICE u32 pack(float low, float high) {
  __half2 pair = __floats2half2_rn(low, high);
  return *reinterpret_cast<u32*>(&pair);
}

// The two numbers of a pair.
DEVICE float2 unpack(u32 pair) { return __half22float2(*reinterpret_cast<__half2*>(&pair)); }
#else
typedef __nv_bfloat16 E;
#define MMA_TYPES "bf16.bf16"

// Two numbers as a pair of elements; `low` has the lower address.
DEVICE u32 pack(float low, float high) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<u32*>(&pair);
}

// The two numbers of a pair.
DEVICE float2 unpack(u32 pair) { return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)); }
#endif

// ---- Arithmetic -----------------------------------------------------------------------------------------------------

// 2 to the power of x; 0 at minus infinity.
DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1 / x; 0 at infinity.
DEVICE float reciprocal_fast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// cap * tanh(y) where x = 2 y * log2(e); tanh.approx would be off by 5e-4 of the cap.
DEVICE float soft_cap(float x, float cap) { return cap - 2.f * cap * reciprocal_fast(1.f + exp2_fast(x)); }

// The largest number of the four lanes that hold a row of an accumulator.
DEVICE float row_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
  return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

// The sum over the four lanes that hold a row of an accumulator.
DEVICE float row_sum(float x) {
  x += __shfl_xor_sync(ALL_LANES, x, 1);
  return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

// Natural logarithm of a sum of powers of two that is relative to 2^max; LOWEST for an empty sum.
DEVICE float log_sum(float max, float sum) { return sum > 0.f ? (max + __log2f(sum)) * LN_2 : LOWEST; }

// ---- Turning --------------------------------------------------------------------------------------------------------

// Eight angles: those of a piece of the first half of a row and of its partner in the second half.
struct Angles {
  float cos[8], sin[8];
};

// Eight floats from a 16-byte aligned address.
DEVICE void load_floats(float (&to)[8], const float* from) {
  const float4 a = reinterpret_cast<const float4*>(from)[0], b = reinterpret_cast<const float4*>(from)[1];
  to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w;
  to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

// The angles at these addresses.
DEVICE Angles load_angles(const float* cos, const float* sin) {
  Angles angles;
  load_floats(angles.cos, cos);
  load_floats(angles.sin, sin);
  return angles;
}

// Turns a pair of elements and its partner by two angles, rounding once.
DEVICE void turn_pair(u32& first, u32& second, const Angles& by, int at) {
  const float2 x = unpack(first), y = unpack(second);
  first = pack(x.x * by.cos[at] - y.x * by.sin[at], x.y * by.cos[at + 1] - y.y * by.sin[at + 1]);
  second = pack(y.x * by.cos[at] + x.x * by.sin[at], y.y * by.cos[at + 1] + x.y * by.sin[at + 1]);
}

// Turns a piece of the first half of a row and its partner in the second half.
DEVICE void turn_piece(uint4& first, uint4& second, const Angles& by) {
  turn_pair(first.x, second.x, by, 0);
  turn_pair(first.y, second.y, by, 2);
  turn_pair(first.z, second.z, by, 4);
  turn_pair(first.w, second.w, by, 6);
}

// ---- Shared memory --------------------------------------------------------------------------------------------------

// The address of shared memory as PTX wants it.
DEVICE u32 shared_address(const void* at) { return static_cast<u32>(__cvta_generic_to_shared(at)); }

// Byte offset of a piece of a row of HEAD_DIM elements in shared memory. Pieces are exchanged so that the same piece of
// eight consecutive rows lies in eight different bank groups, without padding for any HEAD_DIM.
DEVICE u32 piece_offset(u32 row, u32 piece) {
  constexpr u32 group = PIECES % 8 == 0 ? 8 : PIECES % 4 == 0 ? 4 : 2; // pieces that are exchanged with one another
  return row * (HEAD_DIM * 2) + ((piece ^ (row / (8 / group) % group)) << 4);
}

// Starts copying 16 bytes to shared memory; zeros where `inside` is false.
DEVICE void copy_async(u32 to, const void* from, bool inside) {
  const int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}

// Closes a group of copies.
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N groups of this thread's copies are under way.
template <int N>
DEVICE void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ---- Tensor cores ---------------------------------------------------------------------------------------------------

// Four 8 x 8 matrices; lane 8 i + r has the address of row r of matrix i.
DEVICE void load_matrices(u32 (&to)[4], u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
}

// Four 8 x 8 matrices, each transposed.
DEVICE void load_matrices_transposed(u32 (&to)[4], u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
}

// c += a * b of 16 x 16 and 16 x 8 elements. Lane l holds of c rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next.
DEVICE void multiply_add(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32." MMA_TYPES ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
