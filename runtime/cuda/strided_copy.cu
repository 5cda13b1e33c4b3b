// Elements from one strided array to another; strides are in elements, extents run from the
// outermost axis, and `rank` is at least 1.
struct StridedGeometry {
    long long extent[8], to[8], from[8];
};

template <class T>
__device__ void strided_copy(T* to, const T* from, long long total, int rank, const StridedGeometry& g) {
    long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += step) {
        long long left = i, target = 0, source = 0;
        for (int axis = rank - 1; axis > 0; axis--) {
            long long next = left / g.extent[axis], at = left - next * g.extent[axis];
            target += at * g.to[axis];
            source += at * g.from[axis];
            left = next;
        }
        to[target + left * g.to[0]] = from[source + left * g.from[0]];
    }
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
