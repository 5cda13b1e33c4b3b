// Products of a matrix and a vector, which read every element of the matrix once:
//
//     result[row] = finish(sum over k of left[row, k] * right[k])
//
// Two ways, by how the matrix lies in memory: threads run along the reduced axis and add what they
// have (AlongReduced), or each has a row of its own (AlongRows). After contraction.cuh.
#ifndef LAZYT_MATRIX_VECTOR
#define LAZYT_MATRIX_VECTOR

namespace lz {

constexpr int VECTOR_THREADS = 256;

template <class I, class T>
struct Line {
    const T* source;
    I stride;
};

// LANES threads, a warp or the block, take a row.
template <class T_, int LANES>
struct AlongReduced {
    using T = T_;
    using Sum = typename Storage<T>::Sum;
    static constexpr int M = VECTOR_THREADS / LANES, N = 1, WARPS = VECTOR_THREADS / 32;
    static constexpr int BYTES = WARPS * sizeof(Sum), VECTOR = 16 / sizeof(T);
    static_assert(LANES == 32 || LANES == VECTOR_THREADS, "a row is a warp's or the block's");

    // Every thread of the row's returns the sum. row_stride: of the matrix.
    template <class I>
    static __device__ __forceinline__ void sum(Line<I, T> matrix, Line<I, T> vector, I row_stride,
                                               I rows, I count, Sum* memory, int& row, Sum& total,
                                               bool& mine) {
        const int lane = threadIdx.x % LANES;
        row = threadIdx.x / LANES;
        const T* from = matrix.source + row * row_stride;
        const bool wide = matrix.stride == 1 && vector.stride == 1 && count % VECTOR == 0 &&
                          row_stride % VECTOR == 0 && (unsigned long long)matrix.source % 16 == 0 &&
                          (unsigned long long)vector.source % 16 == 0;
        const I end = row < rows ? count : 0;
        total = 0;
        if (wide) {
#pragma unroll 4
            for (I k = lane * VECTOR; k < end; k += LANES * VECTOR) {
                __align__(16) T a[VECTOR], b[VECTOR];
                *reinterpret_cast<uint4*>(a) = *reinterpret_cast<const uint4*>(from + k);
                *reinterpret_cast<uint4*>(b) = *reinterpret_cast<const uint4*>(vector.source + k);
#pragma unroll
                for (int v = 0; v < VECTOR; v++)
                    total = multiply_add(Storage<T>::widen(a[v]), Storage<T>::widen(b[v]), total);
            }
        } else {
#pragma unroll 4
            for (I k = lane; k < end; k += LANES)
                total = multiply_add(Storage<T>::widen(from[k * matrix.stride]),
                                     Storage<T>::widen(vector.source[k * vector.stride]), total);
        }
#pragma unroll
        for (int step = 16; step > 0; step /= 2) total += __shfl_xor_sync(~0u, total, step);
        if (LANES > 32) {
            if (threadIdx.x % 32 == 0) memory[threadIdx.x / 32] = total;
            __syncthreads();
            total = 0;
#pragma unroll
            for (int w = 0; w < WARPS; w++) total += memory[w];
        }
        mine = lane == 0;
    }
};

// A thread takes a row of 32; each warp of the block a share of the reduced axis.
template <class T_>
struct AlongRows {
    using T = T_;
    using Sum = typename Storage<T>::Sum;
    static constexpr int M = 32, N = 1, WARPS = VECTOR_THREADS / 32;
    static constexpr int BYTES = WARPS * 32 * sizeof(Sum);

    template <class I>
    static __device__ __forceinline__ void sum(Line<I, T> matrix, Line<I, T> vector, I row_stride,
                                               I rows, I count, Sum* memory, int& row, Sum& total,
                                               bool& mine) {
        const int warp = threadIdx.x / 32;
        row = threadIdx.x % 32;
        const T* from = matrix.source + row * row_stride;
        const I end = row < rows ? count : 0;
        total = 0;
#pragma unroll 4
        for (I k = warp; k < end; k += WARPS)
            total = multiply_add(Storage<T>::widen(from[k * matrix.stride]),
                                 Storage<T>::widen(vector.source[k * vector.stride]), total);
        memory[threadIdx.x] = total;
        __syncthreads();
        total = 0;
#pragma unroll
        for (int w = 0; w < WARPS; w++) total += memory[w * 32 + row];
        mine = warp == 0;
    }
};

template <class Way, class I, class Finish>
__device__ __forceinline__ void multiply_vector(const typename Way::T* left,
                                                const typename Way::T* right, const Contraction& c,
                                                const Block<I>& block, unsigned char* memory,
                                                Finish finish) {
    int row;
    typename Way::Sum total;
    bool mine;
    Way::template sum<I>(
        {left + block.origin(c.left) + block.row * (I)c.left.row + block.first * (I)c.left.along[0],
         (I)c.left.along[0]},
        {right + block.origin(c.right) + block.first * (I)c.right.row, (I)c.right.row},
        (I)c.left.row, block.rows - block.row, block.last - block.first,
        reinterpret_cast<typename Way::Sum*>(memory), row, total, mine);
    if (mine && block.row + row < block.rows)
        finish(block.row + row, Column<I, 1>(c.result, 0, 1), total);
}

}  // namespace lz

#endif
