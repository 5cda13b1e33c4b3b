// Tiles multiplied by the matrix units of compute capability 7.5 (float16) and 8.0 (bfloat16, and
// float32 rounded to tf32), through nvcuda::wmma. After contraction.cuh and halves.cuh.
#ifndef LAZYT_TENSOR_CORES
#define LAZYT_TENSOR_CORES

#include <mma.h>

namespace lz {

// What a fragment holds, how deep it is, and how its elements are kept in shared memory.
template <class T>
struct Matrix {
    using Element = T;
    using Shared = T;
    static constexpr int DEPTH = 16;
    static __device__ __forceinline__ T of(T value) { return value; }
};
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
template <>
struct Matrix<float> {
    using Element = nvcuda::wmma::precision::tf32;
    using Shared = float;
    static constexpr int DEPTH = 8;
    static __device__ __forceinline__ float of(float value) {
        return nvcuda::wmma::__float_to_tf32(value);
    }
};
#endif

template <bool ROWS>
struct Order {
    using Layout = nvcuda::wmma::row_major;
};
template <>
struct Order<false> {
    using Layout = nvcuda::wmma::col_major;
};

// An M by N tile: a warp has TM by TN sums in fragments of 16 by 16. In shared memory an operand
// lies as in device memory (LEFT, RIGHT: neighbours along the reduced axis side by side); fragments
// are loaded from either order.
template <class T_, int M_, int N_, int K_, int TM, int TN, bool LEFT, bool RIGHT>
struct TensorTile {
    using T = T_;
    using Sum = float;
    using Shared = typename Matrix<T>::Shared;
    using Element = typename Matrix<T>::Element;
    static constexpr int M = M_, N = N_, K = K_, DEPTH = Matrix<T>::DEPTH;
    static constexpr int WARPS = (M / TM) * (N / TN), THREADS = 32 * WARPS;
    using Left = Slice<T, Matrix<T>, M, K, THREADS, LEFT, LEFT>;
    using Right = Slice<T, Matrix<T>, N, K, THREADS, RIGHT, RIGHT>;
    static constexpr int STAGE = Left::SIZE + Right::SIZE;
    static constexpr int PITCH = 16 + 4;  // of a fragment of sums on its way out
    static constexpr int SLICES = 2 * STAGE * sizeof(Shared),
                         OUT = WARPS * 16 * PITCH * sizeof(Sum);
    static constexpr int BYTES = SLICES > OUT ? SLICES : OUT;

    nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, DEPTH, float> sums[TM / 16][TN / 16];
    int row, column;

    __device__ __forceinline__ TensorTile()
        : row(threadIdx.x / 32 / (N / TN) * TM), column(threadIdx.x / 32 % (N / TN) * TN) {
#pragma unroll
        for (int i = 0; i < TM / 16; i++)
#pragma unroll
            for (int j = 0; j < TN / 16; j++) nvcuda::wmma::fill_fragment(sums[i][j], 0.0f);
    }

    __device__ __forceinline__ void multiply(const Shared* left, const Shared* right) {
        using namespace nvcuda::wmma;
#pragma unroll
        for (int k = 0; k < K; k += DEPTH) {
            fragment<matrix_a, 16, 16, DEPTH, Element, typename Order<LEFT>::Layout> a[TM / 16];
            fragment<matrix_b, 16, 16, DEPTH, Element, typename Order<!RIGHT>::Layout> b[TN / 16];
#pragma unroll
            for (int i = 0; i < TM / 16; i++)
                load_matrix_sync(a[i], left + Left::position(row + 16 * i, k), Left::PITCH);
#pragma unroll
            for (int j = 0; j < TN / 16; j++)
                load_matrix_sync(b[j], right + Right::position(column + 16 * j, k), Right::PITCH);
#pragma unroll
            for (int i = 0; i < TM / 16; i++)
#pragma unroll
                for (int j = 0; j < TN / 16; j++) mma_sync(sums[i][j], a[i], b[j], sums[i][j]);
        }
    }

    // As RegisterTile's, a fragment after the other through the warp's own shared memory.
    template <class Describe, class Each>
    __device__ __forceinline__ void hand_out(Sum* memory, Describe describe, Each each) {
        Sum* out = memory + threadIdx.x / 32 * 16 * PITCH;
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int j = 0; j < TN / 16; j++) {
            const auto mine = describe(column + 16 * j + lane % 16);
#pragma unroll
            for (int i = 0; i < TM / 16; i++) {
                nvcuda::wmma::store_matrix_sync(out, sums[i][j], PITCH,
                                                nvcuda::wmma::mem_row_major);
                __syncwarp();
#pragma unroll 1
                for (int r = lane / 16; r < 16; r += 2)
                    each(row + 16 * i + r, mine, out[r * PITCH + lane % 16]);
                __syncwarp();
            }
        }
    }
};

}  // namespace lz

#endif
