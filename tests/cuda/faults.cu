// Each kernel does one thing that a GPU would not forgive, or would not tell. The comment at a line
// names the fault that is expected there.

#include <assert.h>
#include <cuda_fp16.h>
#include <mma.h>

#ifndef LAZYT_DYNAMIC_SHARED
#define LAZYT_DYNAMIC_SHARED(type, name)                           \
    extern __shared__ __align__(16) unsigned char lazyt_dynamic[]; \
    type* name = reinterpret_cast<type*>(lazyt_dynamic)
#endif

#define FULL 0xffffffffu

extern "C" __global__ void none(float* a) {
    __shared__ float tile[64];
    tile[threadIdx.x] = a[threadIdx.x];
    __syncthreads();
    a[threadIdx.x] = tile[63 - threadIdx.x];
}

extern "C" __global__ void exit_before_barrier(float* a) {
    if (threadIdx.x == 40) return;
    __syncthreads();  // barrier
    a[threadIdx.x] = 1.0f;
}

extern "C" __global__ void two_barriers(float* a) {
    if (threadIdx.x < 32) {
        a[threadIdx.x] = 1.0f;
        __syncthreads();  // barrier
    } else {
        a[threadIdx.x] = 2.0f;
        __syncthreads();  // barrier
    }
}

extern "C" __global__ void barrier_and_shuffle(float* a) {
    float v = a[threadIdx.x];
    if (threadIdx.x % 32 < 16) {
        __syncthreads();  // barrier
    } else {
        v = __shfl_xor_sync(FULL, v, 1);
    }
    a[threadIdx.x] = v;
}

extern "C" __global__ void half_warp(float* a) {
    float v = a[threadIdx.x];
    if (threadIdx.x % 32 < 16) v += __shfl_xor_sync(FULL, v, 1);  // warp
    a[threadIdx.x] = v;
}

extern "C" __global__ void mask_lacks_lane(float* a) {
    a[threadIdx.x] = __shfl_sync(0x0000ffffu, a[threadIdx.x], 0);  // warp
}

extern "C" __global__ void reads_outside_mask(float* a) {
    float v = a[threadIdx.x];
    if (threadIdx.x % 32 < 16) v = __shfl_down_sync(0x0000ffffu, v, 1);  // warp
    a[threadIdx.x] = v;
}

extern "C" __global__ void masks_differ(float* a) {
    unsigned mask = threadIdx.x % 32 < 16 ? FULL : 0xffff0000u;
    a[threadIdx.x] = (float)__ballot_sync(mask, 1);  // warp
    __syncwarp();
}

extern "C" __global__ void partial_vote(int* a) {
    if (threadIdx.x != 7) a[threadIdx.x] = __any_sync(FULL, a[threadIdx.x]);  // warp
}

extern "C" __global__ void shared_past_end(float* a, int n) {
    __shared__ float before[64];
    __shared__ float tile[64];
    before[threadIdx.x] = 0.0f;
    tile[threadIdx.x + n] = a[threadIdx.x];  // shared bounds
    __syncthreads();
    a[threadIdx.x] = tile[threadIdx.x] + before[threadIdx.x];
}

extern "C" __global__ void shared_before_start(float* a, int n) {
    __shared__ float before[64];
    __shared__ float tile[64];
    before[threadIdx.x] = 0.0f;
    tile[(int)threadIdx.x - n] = a[threadIdx.x];  // shared bounds
    __syncthreads();
    a[threadIdx.x] = before[threadIdx.x];
}

extern "C" __global__ void dynamic_past_end(float* a) {
    LAZYT_DYNAMIC_SHARED(float, tile);
    tile[threadIdx.x] = a[threadIdx.x];  // shared bounds
    __syncthreads();
    a[threadIdx.x] = tile[0];
}

extern "C" __global__ void uninitialised(float* a) {
    __shared__ float tile[64];
    if (threadIdx.x != 5) tile[threadIdx.x] = a[threadIdx.x];
    __syncthreads();
    a[threadIdx.x] = tile[threadIdx.x];  // uninitialised shared
}

// The first block writes what the second then reads: on a GPU they are other multiprocessors'.
extern "C" __global__ void stale(float* a) {
    __shared__ float tile[64];
    if (blockIdx.x == 0) tile[threadIdx.x] = a[threadIdx.x];
    __syncthreads();
    a[blockIdx.x * 64 + threadIdx.x] = tile[threadIdx.x];  // uninitialised shared
}

// Passes in ascending order, where the left neighbour has already written.
extern "C" __global__ void missing_barrier(float* a) {
    __shared__ float tile[65];
    if (threadIdx.x == 0) tile[0] = 0.0f;
    tile[threadIdx.x + 1] = a[threadIdx.x];
    a[threadIdx.x] = tile[threadIdx.x];  // race or uninitialised shared
}

extern "C" __global__ void missing_second_barrier(float* a) {
    __shared__ float tile[64];
    for (int i = 0; i < 2; i++) {
        tile[threadIdx.x] = a[threadIdx.x];  // race
        __syncthreads();
        a[threadIdx.x] = tile[63 - threadIdx.x];  // race
    }
}

extern "C" __global__ void missing_syncwarp(float* a) {
    __shared__ float tile[64];
    tile[threadIdx.x] = a[threadIdx.x];
    a[threadIdx.x] = tile[threadIdx.x ^ 1];  // race or uninitialised shared
}

extern "C" __global__ void syncwarp_across_warps(float* a) {
    __shared__ float tile[64];
    tile[threadIdx.x] = a[threadIdx.x];
    __syncwarp();
    a[threadIdx.x] = tile[threadIdx.x ^ 32];  // race or uninitialised shared
}

extern "C" __global__ void lost_update(float* a) {
    a[0] += 1.0f;  // race
}

extern "C" __global__ void blocks_overlap(float* a) {
    a[blockIdx.x + threadIdx.x] = 1.0f;  // race
}

extern "C" __global__ void global_past_end(const float* x, float* a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) a[i] = x[i];  // global bounds
}

extern "C" __global__ void global_before_start(float* a) {
    a[(int)threadIdx.x - 1] = 0.0f;  // global bounds
}

extern "C" __global__ void null_pointer(float* a) {
    a[threadIdx.x] = 0.0f;  // global bounds
}

extern "C" __global__ void atomic_past_end(float* a, int n) {
    atomicAdd(&a[n], 1.0f);  // global bounds
}

extern "C" __global__ void read_only(const float* x) {
    const_cast<float*>(x)[threadIdx.x] = 0.0f;  // global bounds
}

extern "C" __global__ void asserts(float* a) {
    assert(a[threadIdx.x] < 50.0f);  // assert
}

extern "C" __global__ void traps(float* a) {
    if (a[threadIdx.x] == 50.0f) __trap();  // trap
}

extern "C" __global__ void divides(int* a) {
    a[threadIdx.x] = 64 / a[threadIdx.x];  // trap
}

extern "C" __global__ void __launch_bounds__(64, 2) bounded(float* a) { a[threadIdx.x] = 1.0f; }

using namespace nvcuda;
using Sums = wmma::fragment<wmma::accumulator, 16, 16, 16, float>;
using Rows = wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major>;

// Some lane loads what another one has written.
extern "C" __global__ void fragment_too_early(float* a) {
    __shared__ __align__(32) half tile[2][256];
    half* own = tile[threadIdx.x / 32];
    for (int i = 0; i < 8; i++) own[threadIdx.x % 32 + 32 * i] = __float2half(a[threadIdx.x]);
    Rows rows;
    wmma::load_matrix_sync(rows, own, 16);  // uninitialised shared or race
    a[threadIdx.x] = __half2float(rows.x[0]);
}

extern "C" __global__ void fragment_read_too_early(float* a) {
    __shared__ __align__(32) float tile[2][256];
    Sums sums;
    wmma::fill_fragment(sums, 1.0f);
    wmma::store_matrix_sync(tile[threadIdx.x / 32], sums, 16, wmma::mem_row_major);
    a[threadIdx.x] = tile[threadIdx.x / 32][threadIdx.x % 32];  // uninitialised shared or race
}

extern "C" __global__ void fragment_of_half_a_warp(float* a) {
    __shared__ __align__(32) float tile[2][256];
    if (threadIdx.x % 32 >= 16) return;
    Sums sums;
    wmma::fill_fragment(sums, 1.0f);
    wmma::store_matrix_sync(tile[threadIdx.x / 32], sums, 16, wmma::mem_row_major);  // warp
}

extern "C" __global__ void fragment_of_two_matrices(float* a) {
    __shared__ __align__(32) float tile[2][256];
    Sums sums;
    wmma::fill_fragment(sums, 1.0f);
    wmma::store_matrix_sync(tile[threadIdx.x % 2], sums, 16, wmma::mem_row_major);  // warp
}

extern "C" __global__ void fragment_unaligned(float* a) {
    __shared__ __align__(32) float tile[2][264];
    Sums sums;
    wmma::fill_fragment(sums, 1.0f);
    wmma::store_matrix_sync(tile[threadIdx.x / 32] + 4, sums, 16, wmma::mem_row_major);  // warp
}

extern "C" __global__ void fragment_of_odd_rows(float* a) {
    __shared__ __align__(32) float tile[2][288];
    Sums sums;
    wmma::fill_fragment(sums, 1.0f);
    wmma::store_matrix_sync(tile[threadIdx.x / 32], sums, 18, wmma::mem_row_major);  // warp
}

extern "C" __global__ void fragment_past_end(float* a) {
    __shared__ __align__(32) float tile[256];
    if (threadIdx.x >= 32) return;
    Sums sums;
    wmma::fill_fragment(sums, 1.0f);
    wmma::store_matrix_sync(tile, sums, 20, wmma::mem_row_major);  // shared bounds
    __syncwarp();
    a[threadIdx.x] = tile[threadIdx.x];
}
