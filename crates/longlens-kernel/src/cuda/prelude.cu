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

// ---- Online softmax -------------------------------------------------------------------------------------------------

// The running maximum is raised only when scores pass it by so much: weights stay below 2^8 and nothing is lost, because
// sum and output are relative to the same maximum.
#define SLACK 8.f

// Maximum (in units of log2) and this lane's part of the sum, of the two rows that the lane has of an accumulator.
struct Softmax {
  float max[2], sum[2];
};

// The softmax of nothing.
DEVICE Softmax empty_softmax() { return {{LOWEST, LOWEST}, {0.f, 0.f}}; }

// Fills an accumulator with zeros.
template <int N>
DEVICE void clear(float (&c)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; n++) c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0.f;
}

// Turns products into cap * tanh(score / cap). `units` leads from products to units of log2 before, and from the result after.
template <int N>
DEVICE void cap_scores(float (&s)[N][4], float (&units)[2], float cap) {
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      // tanh(y) = 1 - 2 / (1 + exp(2 y)): tanh.approx would be off by 5e-4 of the cap
      const float power = exp2_fast(s[n][i] * (units[i / 2] * (2.f / cap)));
      s[n][i] = cap * LOG2_E - 2.f * cap * LOG2_E * reciprocal_fast(1.f + power);
    }
  units[0] = units[1] = 1.f;
}

// Hides keys from row `i` of the lane's two: all outside from .. to, and those whose bit in `words` is 0, if that is not
// null; words[0] stands for the 32 keys around `from`. Column 0 is `key`: a multiple of 32, or of 16 if N is 2.
template <int N>
DEVICE void hide(float (&s)[N][4], int i, u32 key, u32 from, u32 to, const u32* words) {
  const u32 column = threadIdx.x % 4 * 2;
  u32 seen = ALL_LANES;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const u32 first = key + n * 8;
    if (n % 4 == 0 && words) seen = first / 32 >= from / 32 && first < to ? words[first / 32 - from / 32] >> (first % 32) : 0;
#pragma unroll
    for (int j = 0; j < 2; j++) {
      const u32 at = first + column + j;
      if (at < from || at >= to || !(seen >> (n % 4 * 8 + column + j) & 1)) s[n][2 * i + j] = -INFINITY;
    }
  }
}

// Raises the maximum where scores have passed it. Whether any lane of the warp did; then `kept` is what the output so far is
// worth, the sum being adjusted already.
template <int N>
DEVICE bool raise_max(Softmax& state, float (&kept)[2], const float (&s)[N][4], const float (&units)[2]) {
  float top[2] = {-INFINITY, -INFINITY};
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) top[i / 2] = fmaxf(top[i / 2], s[n][i]);
  const bool passed = top[0] * units[0] > state.max[0] + SLACK || top[1] * units[1] > state.max[1] + SLACK;
  if (!__any_sync(ALL_LANES, passed)) return false;
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const float max = fmaxf(state.max[i], row_max(top[i]) * units[i]);
    kept[i] = exp2_fast(state.max[i] - max);
    state.max[i] = max;
    state.sum[i] *= kept[i];
  }
  return true;
}

// Multiplies the two rows of an accumulator.
template <int N>
DEVICE void scale_rows(float (&c)[N][4], const float (&by)[2]) {
#pragma unroll
  for (int n = 0; n < N; n++) c[n][0] *= by[0], c[n][1] *= by[0], c[n][2] *= by[1], c[n][3] *= by[1];
}

// Turns scores into weights and adds them to the sums.
template <int N>
DEVICE void weigh(Softmax& state, float (&s)[N][4], const float (&units)[2]) {
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int i = 0; i < 2; i++) {
      s[n][2 * i] = exp2_fast(fmaf(s[n][2 * i], units[i], -state.max[i]));
      s[n][2 * i + 1] = exp2_fast(fmaf(s[n][2 * i + 1], units[i], -state.max[i]));
      state.sum[i] += s[n][2 * i] + s[n][2 * i + 1];
    }
}

// Weights as the left operand of the product with the values.
template <int N>
DEVICE void pack_weights(u32 (&p)[N / 2][4], const float (&s)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; n++) {
    p[n / 2][n % 2 * 2] = pack(s[n][0], s[n][1]);
    p[n / 2][n % 2 * 2 + 1] = pack(s[n][2], s[n][3]);
  }
}

// One step of the running softmax: scores become weights `p`, and the output so far is relative to the new maximum.
template <int N, int M>
DEVICE void step_softmax(u32 (&p)[N / 2][4], Softmax& state, float (&out)[M][4], float (&s)[N][4], const float (&units)[2]) {
  float kept[2];
  if (raise_max(state, kept, s, units)) scale_rows(out, kept);
  weigh(state, s, units);
  pack_weights(p, s);
}

// Natural logarithm of a whole sum; LOWEST for an empty one.
DEVICE float log_sum(float max, float sum) { return sum > 0.f ? (max + __log2f(sum)) * LN_2 : LOWEST; }

// What to multiply an output with to make it an average; 0 for an empty sum.
DEVICE float share_of(float sum) { return sum > 0.f ? 1.f / sum : 0.f; }
