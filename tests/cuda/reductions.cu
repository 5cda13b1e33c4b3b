// Sums of a block: warps by shuffles, then the warps' sums through shared memory.

#ifndef LAZYT_DYNAMIC_SHARED
#define LAZYT_DYNAMIC_SHARED(type, name)                           \
    extern __shared__ __align__(16) unsigned char lazyt_dynamic[]; \
    type* name = reinterpret_cast<type*>(lazyt_dynamic)
#endif

#define FULL 0xffffffffu

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(FULL, v, d);
    return v;
}

// A row a block; blockDim.x is a multiple of 32.
extern "C" __global__ void row_sum(const float* __restrict__ x, float* __restrict__ out, int n) {
    __shared__ float partial[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float v = 0.0f;
    for (int i = threadIdx.x; i < n; i += blockDim.x) v += x[(size_t)blockIdx.x * n + i];
    v = warp_sum(v);
    if (lane == 0) partial[warp] = v;
    __syncthreads();
    if (warp == 0) {
        v = lane < blockDim.x / 32 ? partial[lane] : 0.0f;
        v = warp_sum(v);
        if (lane == 0) out[blockIdx.x] = v;
    }
}

// A tree in dynamic shared memory, of blockDim.x floats, a power of two.
extern "C" __global__ void tree_max(const float* __restrict__ x, float* __restrict__ out) {
    LAZYT_DYNAMIC_SHARED(float, best);
    const int t = threadIdx.x;
    best[t] = x[blockIdx.x * blockDim.x + t];
    __syncthreads();
    for (int d = blockDim.x / 2; d > 0; d /= 2) {
        if (t < d) best[t] = fmaxf(best[t], best[t + d]);
        __syncthreads();
    }
    if (t == 0) out[blockIdx.x] = best[0];
}

// An inclusive scan of a warp's 32 values in each block of one warp, through shuffles.
extern "C" __global__ void warp_scan(const int* __restrict__ x, int* __restrict__ out) {
    const int lane = threadIdx.x;
    int v = x[blockIdx.x * 32 + lane];
    for (int d = 1; d < 32; d *= 2) {
        int other = __shfl_up_sync(FULL, v, d);
        if (lane >= d) v += other;
    }
    out[blockIdx.x * 32 + lane] = v;
}

// A warp exchanges through shared memory, ordered by __syncwarp alone.
extern "C" __global__ void warp_reverse(const float* __restrict__ x, float* __restrict__ out) {
    __shared__ float tile[4][32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    tile[warp][lane] = x[threadIdx.x];
    __syncwarp();
    out[threadIdx.x] = tile[warp][31 - lane];
}

// Eight values a thread: segments of width 8, votes, the block's votes. 64 threads.
extern "C" __global__ void votes(const int* __restrict__ x, int* __restrict__ out) {
    const int t = threadIdx.x, lane = t % 32;
    const int v = x[t];
    int* mine = out + t * 12;
    mine[11] = __popc(__activemask());
    mine[0] = __shfl_sync(FULL, v, 3, 8);
    mine[1] = __shfl_down_sync(FULL, v, 2, 8);
    mine[2] = __shfl_up_sync(FULL, v, 2, 8);
    mine[3] = (int)__ballot_sync(FULL, v > 0);
    mine[4] = __any_sync(FULL, v > 0);
    mine[5] = __all_sync(FULL, v > 0);
    // The two halves of a warp meet each on its own.
    const unsigned half_mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
    mine[6] = lane < 16 ? __shfl_xor_sync(half_mask, v, 1) : __shfl_sync(half_mask, v, 16);
    mine[7] = __syncthreads_count(v > 0);
    mine[8] = __syncthreads_or(v > 1000);
    mine[9] = __syncthreads_and(v > -1000);
    mine[10] = (int)__double2int_rn(__shfl_xor_sync(FULL, v * 0.5, 16) * 2);
}
