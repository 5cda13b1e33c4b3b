/* What every generated CUDA C source begins with; semantics.h follows it.

   Types and constants for NVRTC, which has no C library; packs of neighbouring elements; indices over
   several axes; reductions of a warp, a row of threads, a block; mathematics under the names that the
   table of expressions uses. For example, the sum of a row by a block:

       double part = 0;
       for (int i = threadIdx.x; i < n; i += blockDim.x) part += x[i];
       const double sum = reduce_row(part, Sum(), shared);      // the same in every thread

   Compiles with nvcc and NVRTC (C++17) and behind runtime/cuda/host/cuda_host.h. */
#ifndef LAZYT_CUDA_H
#define LAZYT_CUDA_H

#ifdef __CUDACC_RTC__
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INT64_MIN (-9223372036854775807LL - 1)
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#else
#include <math.h>
#include <stdint.h>
#endif

#define LZ_INLINE __device__ __forceinline__

/* ---- Packs: neighbouring elements that one instruction loads or stores ----------------------- */

template <class T, int width>
struct __align__(sizeof(T) * width) Pack {
  T element[width];
  __device__ __forceinline__ T &operator[](int k) { return element[k]; }
  __device__ __forceinline__ const T &operator[](int k) const { return element[k]; }
};

template <int width, class T>
LZ_INLINE Pack<T, width> load(const T *from) {
  return *reinterpret_cast<const Pack<T, width> *>(from);
}

template <int width, class T>
LZ_INLINE void store(T *to, const Pack<T, width> &pack) {
  *reinterpret_cast<Pack<T, width> *>(to) = pack;
}

/* Whether packs may be taken at an address, and at every stride from it. */
template <int width, class T, class... Strides>
LZ_INLINE bool aligned(const T *address, Strides... strides) {
  return reinterpret_cast<size_t>(address) % (sizeof(T) * width) == 0 &&
         (... && (strides % width == 0));
}

/* ---- Indices over several axes, the last of which runs fastest -------------------------------

   Points first, first + step, first + 2 step, ... of the space of the extents. Division is for the
   beginning only: a step adds its own indices and carries. */

template <class Index, int rank>
struct Odometer {
  Index index[rank], step[rank], extent[rank];

  __device__ __forceinline__ Odometer(const Index (&extents)[rank], Index first, Index by) {
#pragma unroll
    for (int d = rank - 1; d > 0; d--) {
      extent[d] = extents[d];
      index[d] = first % extents[d], first /= extents[d];
      step[d] = by % extents[d], by /= extents[d];
    }
    extent[0] = extents[0], index[0] = first, step[0] = by;
  }
  __device__ __forceinline__ bool inside() const { return index[0] < extent[0]; }
  __device__ __forceinline__ Index operator[](int d) const { return index[d]; }
  __device__ __forceinline__ void advance() {
    Index carry = 0;
#pragma unroll
    for (int d = rank - 1; d > 0; d--) {
      index[d] += step[d] + carry;
      carry = index[d] >= extent[d];
      index[d] -= carry ? extent[d] : 0;
    }
    index[0] += step[0] + carry;
  }
};

/* ---- Reductions: in the same order on every device, their result known to all who take part ---- */

struct Sum {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};
struct Product {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a * b; }
};
struct Maximum {  /* a nan stays */
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const {
    return b > a || b != b ? b : a;
  }
};
struct Minimum {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const {
    return b < a || b != b ? b : a;
  }
};
struct Any {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a | b; }
};
struct All {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a & b; }
};

template <class T, class Combine>
LZ_INLINE T reduce_warp(T value, Combine combine) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2)
    value = combine(value, (T)__shfl_xor_sync(0xffffffffu, value, lanes));
  return value;
}

/* shared: one element a warp of the block. */
template <class T, class Combine>
LZ_INLINE T reduce_block(T value, Combine combine, T *shared) {
  const int thread = threadIdx.y * blockDim.x + threadIdx.x;
  const int warps = blockDim.x * blockDim.y / 32;
  value = reduce_warp(value, combine);
  if (thread % 32 == 0) shared[thread / 32] = value;
  __syncthreads();
  value = shared[0];
  for (int w = 1; w < warps; w++) value = combine(value, shared[w]);
  __syncthreads();
  return value;
}

/* Over threadIdx.x: a row of threads is a warp, or all of the block. */
template <class T, class Combine>
LZ_INLINE T reduce_row(T value, Combine combine, T *shared) {
  return blockDim.x == 32 ? reduce_warp(value, combine) : reduce_block(value, combine, shared);
}
LZ_INLINE void synchronize_row() {
  if (blockDim.x == 32) __syncwarp();
  else __syncthreads();
}

/* Over threadIdx.y, whose extent is a power of two. shared: one element a thread of the block. */
template <class T, class Combine>
LZ_INLINE T reduce_column(T value, Combine combine, T *shared) {
  T *own = shared + (threadIdx.y * blockDim.x + threadIdx.x);
  *own = value;
  __syncthreads();
  for (int rows = blockDim.y / 2; rows > 0; rows /= 2) {
    if (threadIdx.y < rows) *own = combine(*own, own[rows * blockDim.x]);
    __syncthreads();
  }
  value = shared[threadIdx.x];
  __syncthreads();
  return value;
}

/* ---- Mathematics ------------------------------------------------------------------------------

   CUDA's functions where they err by at most 2 ulp (CUDA C++ Programming Guide, "Mathematical
   Functions"); those of float32 that err by more are computed in double and rounded once. */

LZ_INLINE float lz_exp_f32(float x) { return expf(x); }
LZ_INLINE float lz_exp_nonpositive_f32(float x) { return expf(x); }
LZ_INLINE float lz_exp2_f32(float x) { return exp2f(x); }
LZ_INLINE float lz_expm1_f32(float x) { return expm1f(x); }
LZ_INLINE float lz_log_f32(float x) { return logf(x); }
LZ_INLINE float lz_log2_f32(float x) { return log2f(x); }
LZ_INLINE float lz_log10_f32(float x) { return log10f(x); }
LZ_INLINE float lz_log1p_f32(float x) { return log1pf(x); }
LZ_INLINE float lz_sin_f32(float x) { return sinf(x); }
LZ_INLINE float lz_cos_f32(float x) { return cosf(x); }
LZ_INLINE float lz_tan_f32(float x) { return (float)tan((double)x); }
LZ_INLINE float lz_asin_f32(float x) { return asinf(x); }
LZ_INLINE float lz_acos_f32(float x) { return acosf(x); }
LZ_INLINE float lz_atan_f32(float x) { return atanf(x); }
LZ_INLINE float lz_sinh_f32(float x) { return (float)sinh((double)x); }
LZ_INLINE float lz_cosh_f32(float x) { return coshf(x); }
LZ_INLINE float lz_tanh_f32(float x) { return tanhf(x); }
LZ_INLINE float lz_asinh_f32(float x) { return (float)asinh((double)x); }
LZ_INLINE float lz_acosh_f32(float x) { return (float)acosh((double)x); }
LZ_INLINE float lz_atanh_f32(float x) { return (float)atanh((double)x); }
LZ_INLINE float lz_erf_f32(float x) { return erff(x); }
LZ_INLINE float lz_erfc_f32(float x) { return erfcf(x); }
LZ_INLINE float lz_pow_f32(float x, float y) { return (float)pow((double)x, (double)y); }
LZ_INLINE float lz_atan2_f32(float y, float x) { return (float)atan2((double)y, (double)x); }
LZ_INLINE float lz_fmod_f32(float a, float b) { return fmodf(a, b); }

LZ_INLINE double lz_exp_f64(double x) { return exp(x); }
LZ_INLINE double lz_exp_nonpositive_f64(double x) { return exp(x); }
LZ_INLINE double lz_exp2_f64(double x) { return exp2(x); }
LZ_INLINE double lz_expm1_f64(double x) { return expm1(x); }
LZ_INLINE double lz_log_f64(double x) { return log(x); }
LZ_INLINE double lz_log2_f64(double x) { return log2(x); }
LZ_INLINE double lz_log10_f64(double x) { return log10(x); }
LZ_INLINE double lz_log1p_f64(double x) { return log1p(x); }
LZ_INLINE double lz_sin_f64(double x) { return sin(x); }
LZ_INLINE double lz_cos_f64(double x) { return cos(x); }
LZ_INLINE double lz_tan_f64(double x) { return tan(x); }
LZ_INLINE double lz_asin_f64(double x) { return asin(x); }
LZ_INLINE double lz_acos_f64(double x) { return acos(x); }
LZ_INLINE double lz_atan_f64(double x) { return atan(x); }
LZ_INLINE double lz_sinh_f64(double x) { return sinh(x); }
LZ_INLINE double lz_cosh_f64(double x) { return cosh(x); }
LZ_INLINE double lz_tanh_f64(double x) { return tanh(x); }
LZ_INLINE double lz_asinh_f64(double x) { return asinh(x); }
LZ_INLINE double lz_acosh_f64(double x) { return acosh(x); }
LZ_INLINE double lz_atanh_f64(double x) { return atanh(x); }
LZ_INLINE double lz_erf_f64(double x) { return erf(x); }
LZ_INLINE double lz_erfc_f64(double x) { return erfc(x); }
LZ_INLINE double lz_pow_f64(double x, double y) { return pow(x, y); }
LZ_INLINE double lz_atan2_f64(double y, double x) { return atan2(y, x); }
LZ_INLINE double lz_fmod_f64(double a, double b) { return fmod(a, b); }

LZ_INLINE float lz_div_by_total_f32(float a, float total) { return a / total; }
LZ_INLINE double lz_div_by_total_f64(double a, double total) { return a / total; }

/* From exp(-|x|), which cannot overflow; for small e, e / (1 + e) = e - e q, where the errors of q
   no longer count (as in math.h). */
LZ_INLINE float lz_sigmoid_f32(float x) {
  const float e = expf(-fabsf(x));
  const float q = (x < 0.0f ? e : 1.0f) / (1.0f + e);
  return x < -1.4f ? fmaf(-e, q, e) : q;
}
LZ_INLINE double lz_sigmoid_f64(double x) {
  const double e = exp(-fabs(x));
  const double q = (x < 0.0 ? e : 1.0) / (1.0 + e);
  return x < -1.4 ? fma(-e, q, e) : q;
}

/* ---- Integers wrap: a signed overflow is undefined, and nvcc makes use of that ---------------- */

#define LZ_WRAPPING(T, U, S)                                                                      \
  LZ_INLINE T lz_add_##S(T a, T b) { return (T)((U)a + (U)b); }                                   \
  LZ_INLINE T lz_sub_##S(T a, T b) { return (T)((U)a - (U)b); }                                   \
  LZ_INLINE T lz_mul_##S(T a, T b) { return (T)((U)a * (U)b); }                                   \
  LZ_INLINE T lz_neg_##S(T a) { return (T)((U)0 - (U)a); }                                        \
  LZ_INLINE T lz_abs_##S(T a) { return a < 0 ? lz_neg_##S(a) : a; }

LZ_WRAPPING(int32_t, uint32_t, i32)
LZ_WRAPPING(int64_t, uint64_t, i64)

#endif
