// Elements of 16 bits: kept in memory as such, computed with in float. After contraction.cuh.
#ifndef LAZYT_HALVES
#define LAZYT_HALVES

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace lz {

template <>
struct Storage<__half> {
    using Sum = float;
    static __device__ __forceinline__ float widen(__half value) { return __half2float(value); }
    static __device__ __forceinline__ __half narrow(float value) { return __float2half_rn(value); }
};
template <>
struct Storage<__nv_bfloat16> {
    using Sum = float;
    static __device__ __forceinline__ float widen(__nv_bfloat16 value) {
        return __bfloat162float(value);
    }
    static __device__ __forceinline__ __nv_bfloat16 narrow(float value) {
        return __float2bfloat16_rn(value);
    }
};

}  // namespace lz

#endif
