// What the compiler makes of ordinary CUDA C++: calls, local arrays, tables, tails of loops, functions of the mathematics library.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ int table[5] = {3, 1, 4, 1, 5};
__constant__ float weights[3] = {0.5f, 1.5f, -2.f};

__device__ __noinline__ float horner(const float* c, int n, float x) {
  float y = 0;
  for (int i = n - 1; i >= 0; i--) y = y * x + c[i];
  return y;
}

extern "C" __global__ void mathematics(const float* x, float* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float v = x[i], c[4] = {1.f, v, weights[i % 3], (float)table[i % 5]};
  c[i & 3] += 1.f;
  float* o = out + i * 8;
  o[0] = horner(c, 4, v);
  o[1] = expf(v) + logf(fabsf(v) + 1.f);
  o[2] = sinf(v) * cosf(v) + tanhf(v);
  o[3] = sqrtf(v * v + 2.f) / (1.f + v * v) + rsqrtf(v * v + 3.f);
  o[4] = powf(fabsf(v) + 0.5f, 1.7f) + fmodf(v, 0.3f);
  o[5] = floorf(v * 10.f) + rintf(v * 7.f) + truncf(v * 3.f);
  o[6] = __half2float(__float2half(v)) + __bfloat162float(__float2bfloat16(v));
  switch (i % 7) {
    case 0: o[7] = v + 1.f; break;
    case 1: o[7] = v * 2.f; break;
    case 2: o[7] = v - horner(c, 2, v); break;
    case 3: o[7] = -v; break;
    case 4: o[7] = v * v; break;
    case 5: o[7] = 0.25f; break;
    default: o[7] = v / 3.f;
  }
}

extern "C" __global__ void integers(const u64* x, u64* out) {
  u64 a = x[threadIdx.x], b = x[threadIdx.x + 1] | 1;
  int s = (int)a, t = (int)b;
  u64* o = out + threadIdx.x * 6;
  o[0] = a / b + a % (b >> 20 | 1);
  o[1] = __umul64hi(a, b) + (u64)(s / (t >> 3 | 1)) + (u64)(s % 7);
  o[2] = __popcll(a) + __clzll(b) + __ffs(s) + __brev(t) + (u64)__byte_perm(s, t, 0x5140);
  o[3] = (u64)((long long)a >> (t & 63)) ^ (a << (s & 63));
  o[4] = (u64)(u32)__dp4a(s, t, 5) + __funnelshift_l(s, t, t & 31);
  o[5] = (u64)(signed char)s + (u64)(short)t + (u64)min(s, t) + (u64)max((u32)s, (u32)t);
}

extern "C" __global__ void halves(const __half2* x, const __nv_bfloat162* y, float* out) {
  __half2 a = x[threadIdx.x], b = x[threadIdx.x + 1];
  __nv_bfloat162 c = y[threadIdx.x], d = y[threadIdx.x + 1];
  __half2 h = __hfma2(a, b, __hmax2(a, b));
  __nv_bfloat162 g = __hadd2(__hmul2(c, d), __hmin2(c, d));
  float* o = out + threadIdx.x * 6;
  o[0] = __low2float(h);
  o[1] = __high2float(h);
  o[2] = __bfloat162float(g.x);
  o[3] = __bfloat162float(g.y);
  o[4] = __hgt(a.x, b.x) ? 1.f : 0.f;
  o[5] = __hle(c.y, d.y) ? 1.f : 0.f;
}

// sums of a warp and a block, and atomic operations on f32, f64 and pairs of halves
extern "C" __global__ void sums(const float* x, float* out, double* total, __half2* pairs) {
  __shared__ float parts[4];
  float v = x[threadIdx.x];
  for (int d = 16; d > 0; d /= 2) v += __shfl_down_sync(~0u, v, d);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
  if (__syncthreads_or(v < -1e30f)) return;
  if (threadIdx.x == 0) out[0] = parts[0] + parts[1] + parts[2] + parts[3];
  atomicAdd(out + 1, x[threadIdx.x]);
  atomicAdd(total, (double)x[threadIdx.x]);
  atomicAdd(pairs, __floats2half2_rn(1.f, 0.5f));
}
