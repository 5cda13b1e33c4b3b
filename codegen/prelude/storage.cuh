// Elements of 16 bits in CUDA C: kept in memory as such, computed with in float. After cuda.h; the
// names are those of storage.h.
#ifndef LAZYT_STORAGE
#define LAZYT_STORAGE

#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef __half lz_half;
typedef __nv_bfloat16 lz_bfloat16;

LZ_INLINE float lz_widen_f16(lz_half x) { return __half2float(x); }
LZ_INLINE lz_half lz_narrow_f16(float x) { return __float2half_rn(x); }
LZ_INLINE float lz_round_f16(float x) { return lz_widen_f16(lz_narrow_f16(x)); }
LZ_INLINE float lz_widen_bf16(lz_bfloat16 x) { return __bfloat162float(x); }
LZ_INLINE lz_bfloat16 lz_narrow_bf16(float x) { return __float2bfloat16_rn(x); }
LZ_INLINE float lz_round_bf16(float x) { return lz_widen_bf16(lz_narrow_bf16(x)); }

#endif
