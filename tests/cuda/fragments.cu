// Products of matrices of a warp, d = a b + c, for the types and shapes of compute capability 8.0.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

struct Rows {
    using Layout = wmma::row_major;
    static constexpr bool ROWS = true;
};
struct Columns {
    using Layout = wmma::col_major;
    static constexpr bool ROWS = false;
};

template <int M, int N, int K, class T, class Left, class Right, class Stored, class Sum>
__device__ void multiply(const Stored* a, const Stored* b, const Sum* c, Sum* d) {
    wmma::fragment<wmma::matrix_a, M, N, K, T, typename Left::Layout> x;
    wmma::fragment<wmma::matrix_b, M, N, K, T, typename Right::Layout> y;
    wmma::fragment<wmma::accumulator, M, N, K, Sum> z;
    wmma::load_matrix_sync(x, a, Left::ROWS ? K : M);
    wmma::load_matrix_sync(y, b, Right::ROWS ? N : K);
    wmma::load_matrix_sync(z, c, M, wmma::mem_col_major);
    wmma::mma_sync(z, x, y, z);
    for (int i = 0; i < z.num_elements; i++) z.x[i] = z.x[i] + z.x[i];
    wmma::store_matrix_sync(d, z, N, wmma::mem_row_major);
}

extern "C" __global__ void half_rr(const half* a, const half* b, const float* c, float* d) {
    multiply<16, 16, 16, half, Rows, Rows>(a, b, c, d);
}
extern "C" __global__ void half_cr(const half* a, const half* b, const float* c, float* d) {
    multiply<32, 8, 16, half, Columns, Rows>(a, b, c, d);
}
extern "C" __global__ void half_rc(const half* a, const half* b, const half* c, half* d) {
    multiply<8, 32, 16, half, Rows, Columns>(a, b, c, d);
}
extern "C" __global__ void bfloat16_cc(const __nv_bfloat16* a, const __nv_bfloat16* b,
                                       const float* c, float* d) {
    multiply<16, 16, 16, __nv_bfloat16, Columns, Columns>(a, b, c, d);
}
extern "C" __global__ void bfloat16_rr(const __nv_bfloat16* a, const __nv_bfloat16* b,
                                       const float* c, float* d) {
    multiply<8, 32, 16, __nv_bfloat16, Rows, Rows>(a, b, c, d);
}
extern "C" __global__ void tf32_rc(const float* a, const float* b, const float* c, float* d) {
    multiply<16, 16, 8, wmma::precision::tf32, Rows, Columns>(a, b, c, d);
}

extern "C" __global__ void to_tf32(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = wmma::__float_to_tf32(x[i]);
}
