// Storage in half and bfloat16, arithmetic in float or in the type itself.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void to_half(const float* __restrict__ x, __half* __restrict__ y, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = __float2half_rn(x[i]);
}

extern "C" __global__ void from_half(const __half* __restrict__ x, float* __restrict__ y, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = __half2float(x[i]);
}

extern "C" __global__ void to_bfloat16(const float* __restrict__ x, __nv_bfloat16* __restrict__ y,
                                       int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = __float2bfloat16(x[i]);
}

extern "C" __global__ void from_bfloat16(const __nv_bfloat16* __restrict__ x, float* __restrict__ y,
                                         int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        y[i] = __bfloat162float(x[i]);
}

// The sum, difference, product, quotient and fused product of halves, one after another.
extern "C" __global__ void half_arithmetic(const __half* __restrict__ a,
                                           const __half* __restrict__ b,
                                           const __half* __restrict__ c, __half* __restrict__ out,
                                           int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    out[i] = a[i] + b[i];
    out[n + i] = __hsub(a[i], b[i]);
    out[2 * n + i] = a[i] * b[i];
    out[3 * n + i] = __hdiv(a[i], b[i]);
    out[4 * n + i] = __hfma(a[i], b[i], c[i]);
    out[5 * n + i] = __hgt(a[i], b[i]) ? a[i] : __hneg(b[i]);
}

// n pairs.
extern "C" __global__ void half2_fma(const __half2* __restrict__ a, const __half2* __restrict__ b,
                                     __half2* __restrict__ out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float2 f = __half22float2(a[i]);
    out[i] = __hfma2(a[i], b[i], __floats2half2_rn(f.y, f.x));
}

extern "C" __global__ void bfloat16_scale(const __nv_bfloat16* __restrict__ x,
                                          __nv_bfloat16* __restrict__ y, float s, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = __float2bfloat16(__bfloat162float(x[i]) * s);
}
