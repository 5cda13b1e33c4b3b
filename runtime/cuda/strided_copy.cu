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

// The last axis is next to each other in `to` only, the one before it in `from` only: a block moves a
// tile of 32 x 32 through shared memory, so that threads side by side read and write side by side.
// The grid has a block for each tile of each point of the axes before those two.
enum { TILE = 32, TILE_STEP = 8 };

template <class T>
__device__ void strided_transpose(T (*tile)[TILE + 1], T* to, const T* from, int rank,
                                  const StridedGeometry& g) {
    long long rows = g.extent[rank - 2], columns = g.extent[rank - 1];
    long long across = (columns + TILE - 1) / TILE, left = blockIdx.x / across;
    long long column = (blockIdx.x - left * across) * TILE;
    long long down = (rows + TILE - 1) / TILE, next = left / down;
    long long row = (left - next * down) * TILE;
    for (int axis = rank - 3; axis >= 0; axis--) {
        left = next;
        next = left / g.extent[axis];
        long long at = left - next * g.extent[axis];
        to += at * g.to[axis];
        from += at * g.from[axis];
    }
    for (int i = threadIdx.y; i < TILE; i += TILE_STEP) {
        long long r = row + threadIdx.x, c = column + i;
        if (r < rows && c < columns)
            tile[i][threadIdx.x] = from[r * g.from[rank - 2] + c * g.from[rank - 1]];
    }
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += TILE_STEP) {
        long long r = row + i, c = column + threadIdx.x;
        if (r < rows && c < columns)
            to[r * g.to[rank - 2] + c * g.to[rank - 1]] = tile[threadIdx.x][i];
    }
}

extern "C" __global__ void strided_transpose_1(unsigned char* to, const unsigned char* from,
                                               int rank, const StridedGeometry g) {
    __shared__ unsigned char tile[TILE][TILE + 1];
    strided_transpose(tile, to, from, rank, g);
}
extern "C" __global__ void strided_transpose_2(unsigned short* to, const unsigned short* from,
                                               int rank, const StridedGeometry g) {
    __shared__ unsigned short tile[TILE][TILE + 1];
    strided_transpose(tile, to, from, rank, g);
}
extern "C" __global__ void strided_transpose_4(unsigned* to, const unsigned* from, int rank,
                                               const StridedGeometry g) {
    __shared__ unsigned tile[TILE][TILE + 1];
    strided_transpose(tile, to, from, rank, g);
}
extern "C" __global__ void strided_transpose_8(unsigned long long* to,
                                               const unsigned long long* from, int rank,
                                               const StridedGeometry g) {
    __shared__ unsigned long long tile[TILE][TILE + 1];
    strided_transpose(tile, to, from, rank, g);
}
