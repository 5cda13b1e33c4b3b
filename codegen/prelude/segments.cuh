// Reductions by segment: each row of the result gathers the values that name it.
//
//     values   [[1], [2], [3]]    at   [2, 0, 2]    rows   4
//     result   [[2], [0], [4], [0]]
//
// Values are (outer, count, inner), the result and what stood there before (outer, rows, inner). A
// thread owns an element of the result and takes its values in the order in which they stand, so
// that sums are those of a sequential loop, on every device; nothing is written twice, and a
// segment number that is no row is never met. Where a list of segment numbers is long it is sorted
// before (sort.cuh), and a row finds its own by binary search; a short one every row reads whole.
// After cuda.h and sort.cuh.
#ifndef LAZYT_SEGMENTS
#define LAZYT_SEGMENTS

namespace lz {

constexpr int COUNT_THREADS = 256, COUNT_BINS = 2048;

struct Segments {
    long long outer, rows, inner, count;
};

struct Last {
    template <class T>
    __device__ __forceinline__ T operator()(T a, T b) const { return b; }
};

// --- lists of segment numbers: one for all, or one for each line along the reduced axis -----------

// Sorted, each with the positions of the values: the keys of sort.cuh.
template <class I, class At, class Key>
struct SortedLists {
    const Key* keys;
    const unsigned* positions;
    I first, last;

    __device__ __forceinline__ void find(I line, I row, I count, I inner) {
        const I start = line * count;
        const Key key = key_of((At)row);
        first = lower_bound(keys, start, start + count, key);
        last = lower_bound(keys, first, start + count, (Key)(key + 1));
    }
    template <class Take>
    __device__ __forceinline__ void each(Take take) const {
#pragma unroll 8
        for (I m = first; m < last; m++) take((I)positions[m]);
    }
};

// As they are, at most 32 numbers long: a bit for each of those that are the row.
template <class I, class At>
struct ShortLists {
    const At* at;
    unsigned hits;

    __device__ __forceinline__ void find(I line, I row, I count, I inner) {
        const At* own = at + place_of(line, (I)0, count, inner);
        hits = 0;
        for (int n = 0; n < count; n++) hits |= (unsigned)(own[n * inner] == (At)row) << n;
    }
    template <class Take>
    __device__ __forceinline__ void each(Take take) const {
        for (unsigned rest = hits; rest; rest &= rest - 1) take((I)(__ffs((int)rest) - 1));
    }
};

// --- means ---------------------------------------------------------------------------------------

LZ_INLINE float mean_of(float total, long long count) { return total / (float)count; }
LZ_INLINE double mean_of(double total, long long count) { return total / (double)count; }
// Of integers: rounded down.
LZ_INLINE int32_t mean_of(int32_t total, long long count) {
    const int32_t terms = (int32_t)count;
    return total / terms - (total % terms < 0);
}
LZ_INLINE int64_t mean_of(int64_t total, long long count) {
    return total / count - (total % count < 0);
}

template <class T, class Wide>
struct Whole {  // what is reduced, as it is
    static __device__ __forceinline__ T of(Wide total, long long count) { return (T)total; }
};
template <class T, class Wide>
struct Mean {
    static __device__ __forceinline__ T of(Wide total, long long count) {
        return (T)mean_of((T)total, count);
    }
};

// --- the kernels ---------------------------------------------------------------------------------

// base: null for zeros. EACH: every line of values has a list of its own. include_base: whether it
// counts where something comes. Threads: x along inner, y along the rows of the result.
template <bool EACH, class Finish, class Wide, class I, class T, class Lists, class Combine>
__device__ __forceinline__ void gather_segments(const T* values, const T* base, T* result,
                                                Segments s, int include_base, Lists lists,
                                                Combine combine) {
    const I rows = (I)s.rows, inner = (I)s.inner, count = (I)s.count;
    const I at = (I)blockIdx.x * blockDim.y + threadIdx.y;
    if (at >= (I)s.outer * rows) return;
    const I outer = at / rows, row = at % rows;
    if (!EACH) lists.find(0, row, count, 1);
    for (I i = threadIdx.x; i < inner; i += blockDim.x) {
        if (EACH) lists.find(outer * inner + i, row, count, inner);
        const I place = at * inner + i;
        const T* own = values + (outer * count * inner + i);
        Wide total = base ? (Wide)base[place] : (Wide)0;
        I met = include_base;
        lists.each([&](I n) {
            const Wide value = (Wide)own[n * inner];
            total = met ? combine(total, value) : value;
            met++;
        });
        result[place] = Finish::of(total, met > 1 ? met : 1);
    }
}

__device__ __forceinline__ void clear_counts(int64_t* counts, long long bins) {
    const long long bin = (long long)blockIdx.x * COUNT_THREADS + threadIdx.x;
    if (bin < bins) counts[bin] = 0;
}

// How often each of 0, 1, …, bins - 1 is among the numbers. Few bins are counted by the block in
// shared memory before (own: COUNT_BINS elements). Sums of integers do not depend on the order of
// the additions.
__device__ __forceinline__ void count_numbers(const int64_t* numbers, int64_t* counts,
                                              long long length, long long bins, unsigned* own) {
    auto* total = reinterpret_cast<unsigned long long*>(counts);
    const bool few = bins <= COUNT_BINS;
    if (few) {
        for (int bin = threadIdx.x; bin < bins; bin += COUNT_THREADS) own[bin] = 0;
        __syncthreads();
    }
    const long long step = (long long)gridDim.x * COUNT_THREADS;
    for (long long n = (long long)blockIdx.x * COUNT_THREADS + threadIdx.x; n < length; n += step) {
        const long long number = numbers[n];
        if (number < 0 || number >= bins) continue;
        if (few) atomicAdd(&own[number], 1u);
        else atomicAdd(&total[number], 1ull);
    }
    if (few) {
        __syncthreads();
        for (int bin = threadIdx.x; bin < bins; bin += COUNT_THREADS)
            if (own[bin]) atomicAdd(&total[bin], (unsigned long long)own[bin]);
    }
}

}  // namespace lz

#endif
