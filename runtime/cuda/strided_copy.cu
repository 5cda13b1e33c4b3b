// Elements from one strided array to another; strides are in elements, extents run from the
// outermost axis, and `rank` is at least 1.
struct StridedGeometry {
    long long extent[8], to[8], from[8];
};

// Index: the type that holds `total`. Division of 64 bits is slow on a GPU.
template <class T, class Index>
__device__ void strided_elements(T* to, const T* from, Index total, int rank,
                                 const StridedGeometry& g) {
    Index step = (Index)gridDim.x * blockDim.x;
    for (Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
        Index left = i;
        long long target = 0, source = 0;
        for (int axis = rank - 1; axis > 0; axis--) {
            Index extent = (Index)g.extent[axis], next = left / extent, at = left - next * extent;
            target += at * g.to[axis];
            source += at * g.from[axis];
            left = next;
        }
        to[target + left * g.to[0]] = from[source + left * g.from[0]];
    }
}

template <class T>
__device__ void strided_copy(T* to, const T* from, long long total, int rank,
                             const StridedGeometry& g) {
    // The last step may pass `total` by as much as the grid has threads, 2^28 at most.
    if (total < (1LL << 31)) strided_elements<T, unsigned>(to, from, (unsigned)total, rank, g);
    else strided_elements<T, unsigned long long>(to, from, total, rank, g);
}

extern "C" __global__ void strided_copy_1(unsigned char* to, const unsigned char* from,
                                          long long total, int rank, const StridedGeometry g) {
    strided_copy(to, from, total, rank, g);
}
extern "C" __global__ void strided_copy_2(unsigned short* to, const unsigned short* from,
                                          long long total, int rank, const StridedGeometry g) {
    strided_copy(to, from, total, rank, g);
}
extern "C" __global__ void strided_copy_4(unsigned* to, const unsigned* from, long long total,
                                          int rank, const StridedGeometry g) {
    strided_copy(to, from, total, rank, g);
}
extern "C" __global__ void strided_copy_8(unsigned long long* to, const unsigned long long* from,
                                          long long total, int rank, const StridedGeometry g) {
    strided_copy(to, from, total, rank, g);
}
