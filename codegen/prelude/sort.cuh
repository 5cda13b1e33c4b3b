// Sorting the rows of an array, stably, nan last:
//
//     row          [3, nan, 1, 1]
//     entries      (1, 2) (1, 3) (3, 0) (nan, 1)     a key and the position it stood at
//
// A key is an unsigned integer whose order is that of the elements (Herf, "Radix Tricks", 2001):
// all nans are one key, and so are both zeros. No two entries of a row are equal, since equal keys
// are ordered by position; whatever network sorts them sorts stably.
//
// A block sorts a tile in shared memory by Batcher's bitonic network ("Sorting networks and their
// applications", 1968): one long run, or many short rows. Runs of longer rows are merged pairwise:
// an entry's place is its own rank plus that in the other run, found by binary search (Satish,
// Harris, Garland, "Designing efficient sorting algorithms for manycore GPUs", 2009). After cuda.h.
#ifndef LAZYT_SORT
#define LAZYT_SORT

namespace lz {

constexpr int SORT_THREADS = 256, SORT_TILE = 2048;

// Rows along an axis: element k of row r lies at (r / inner * extent + k) * inner + r % inner.
struct Rows {
    long long count, extent, inner;
};

template <class I>
LZ_INLINE I place_of(I row, I k, I extent, I inner) {
    return (row / inner * extent + k) * inner + row % inner;
}

// --- keys ----------------------------------------------------------------------------------------

LZ_INLINE unsigned key_of(int32_t x) { return (unsigned)x ^ 0x80000000u; }
LZ_INLINE unsigned key_of(int16_t x) { return key_of((int32_t)x); }
LZ_INLINE unsigned key_of(int8_t x) { return key_of((int32_t)x); }
LZ_INLINE unsigned key_of(uint8_t x) { return x; }
LZ_INLINE unsigned long long key_of(int64_t x) { return (unsigned long long)x ^ (1ull << 63); }
LZ_INLINE unsigned key_of(float x) {
    const unsigned bits = x == 0 ? 0 : __float_as_uint(x);
    return x != x ? ~0u : bits >> 31 ? ~bits : bits | 0x80000000u;
}
LZ_INLINE unsigned long long key_of(double x) {
    const unsigned long long bits = x == 0 ? 0 : (unsigned long long)__double_as_longlong(x);
    return x != x ? ~0ull : bits >> 63 ? ~bits : bits | 1ull << 63;
}

template <class Key>
LZ_INLINE bool before(Key a, unsigned at_a, Key b, unsigned at_b) {
    return a < b || (a == b && at_a < at_b);
}

// How many of the sorted keys [first, last) come before `key`, counted from 0 on.
template <class I, class Key>
LZ_INLINE I lower_bound(const Key* keys, I first, I last, Key key) {
    while (first < last) {
        const I middle = first + (last - first) / 2;
        if (keys[middle] < key) first = middle + 1;
        else last = middle;
    }
    return first;
}

// --- sorting -------------------------------------------------------------------------------------

// Sorts every run of `length` elements of every row, or whole rows where they are shorter. length:
// a power of two, at most SORT_TILE. descending: the order of the elements; equal ones stay as they
// were. Every block takes SORT_TILE / length runs. key, position: shared, SORT_TILE elements.
template <class I, class T, class Key>
__device__ __forceinline__ void sort_runs(const T* x, Key* keys, unsigned* positions, Rows rows,
                                          int length, int descending, Key* key,
                                          unsigned* position) {
    const I extent = (I)rows.extent, pieces = (extent + length - 1) / length;
    const I first_run = (I)blockIdx.x * (SORT_TILE / length);

    for (int e = threadIdx.x; e < SORT_TILE; e += SORT_THREADS) {
        const I run = first_run + e / length, row = run / pieces;
        const I k = run % pieces * length + e % length;
        const bool there = row < (I)rows.count && k < extent;
        // What is not there comes behind everything, a nan too.
        Key own = ~(Key)0;
        if (there) {
            own = key_of(x[place_of(row, k, extent, (I)rows.inner)]);
            if (descending) own = ~own;
        }
        key[e] = own;
        position[e] = there ? (unsigned)k : ~0u;
    }
    for (int size = 2; size <= length; size *= 2)
        for (int step = size / 2; step > 0; step /= 2) {
            __syncthreads();
            for (int pair = threadIdx.x; pair < SORT_TILE / 2; pair += SORT_THREADS) {
                const int low = 2 * pair - pair % step, high = low + step;
                const bool ascending = (low % length & size) == 0;
                const Key a = key[low], b = key[high];
                const unsigned at_a = position[low], at_b = position[high];
                if (before(b, at_b, a, at_a) == ascending) {
                    key[low] = b, key[high] = a;
                    position[low] = at_b, position[high] = at_a;
                }
            }
        }
    __syncthreads();
    for (int e = threadIdx.x; e < SORT_TILE; e += SORT_THREADS) {
        const I run = first_run + e / length, row = run / pieces;
        const I k = run % pieces * length + e % length;
        if (row < (I)rows.count && k < extent) {
            keys[row * extent + k] = key[e];
            positions[row * extent + k] = position[e];
        }
    }
}

// Merges neighbouring runs of `length` entries of every row, a thread an entry.
template <class I, class Key>
__device__ __forceinline__ void merge_runs(const Key* keys, const unsigned* positions,
                                           Key* merged_keys, unsigned* merged_positions, Rows rows,
                                           long long length) {
    const I extent = (I)rows.extent, run = (I)length, total = (I)rows.count * extent;
    const I entry = (I)blockIdx.x * SORT_THREADS + threadIdx.x;
    if (entry >= total) return;
    const I k = entry % extent, row = entry - k;  // the row's first entry
    const I both = k - k % (2 * run);             // where the two runs begin
    const bool right = k % (2 * run) >= run;
    const I middle = min(both + run, extent);
    const I start = right ? both : middle, end = right ? middle : min(middle + run, extent);
    const Key key = keys[entry];
    const unsigned position = positions[entry];
    I low = start, high = end;
    while (low < high) {
        const I at = low + (high - low) / 2;
        if (before(keys[row + at], positions[row + at], key, position)) low = at + 1;
        else high = at;
    }
    const I place = row + k - (right ? run : 0) + (low - start);
    merged_keys[place] = key;
    merged_positions[place] = position;
}

// --- what sorted rows are for --------------------------------------------------------------------

// The first `count` elements of every sorted row, and where each stood.
template <class I, class T>
__device__ __forceinline__ void take_first(const T* x, const unsigned* positions, T* values,
                                           int64_t* indices, Rows rows, long long count) {
    const I extent = (I)rows.extent, inner = (I)rows.inner, taken = (I)count;
    const I result = (I)blockIdx.x * SORT_THREADS + threadIdx.x;
    if (result >= (I)rows.count * taken) return;
    // Results are numbered as they lie in memory.
    const I row = result / (taken * inner) * inner + result % inner;
    const I rank = result / inner % taken;
    const unsigned position = positions[row * extent + rank];
    values[result] = x[place_of(row, (I)position, extent, inner)];
    indices[result] = position;
}

// Which place of a sorted row is taken: a fixed one; or that of the lower median of the row, or of
// its first nan; or of the median of what is no nan.
struct Fixed {
    long long rank;
    template <class I>
    __device__ __forceinline__ I of(I numbers, I extent) const { return (I)rank; }
};
struct Median {
    template <class I>
    __device__ __forceinline__ I of(I numbers, I extent) const {
        return numbers < extent ? numbers : (extent - 1) / 2;
    }
};
struct NanMedian {
    template <class I>
    __device__ __forceinline__ I of(I numbers, I extent) const {
        return numbers > 0 ? (numbers - 1) / 2 : 0;
    }
};

template <class T>
LZ_INLINE bool is_nan(T x) { return x != x; }

// One element of every sorted row, a thread a row.
template <class I, class T, class Key, class Choice>
__device__ __forceinline__ void take_one(const T* x, const Key* keys, const unsigned* positions,
                                         T* values, int64_t* indices, Rows rows, Choice choice) {
    const I extent = (I)rows.extent, row = (I)blockIdx.x * SORT_THREADS + threadIdx.x;
    if (row >= (I)rows.count) return;
    const I first = row * extent;
    // Nans are the largest keys.
    I numbers = extent;
    if (is_nan(x[place_of(row, (I)positions[first + extent - 1], extent, (I)rows.inner)]))
        numbers = lower_bound(keys, first, first + extent, (Key)~(Key)0) - first;
    const unsigned position = positions[first + choice.of(numbers, extent)];
    values[row] = x[place_of(row, (I)position, extent, (I)rows.inner)];
    indices[row] = position;
}

// The most frequent element of every row, the smallest of several, and where its last one stood. A
// nan equals nothing. A block a row: every thread looks at the ends of runs of equal keys. longest,
// ends: shared, an element a thread.
template <class I, class T, class Key>
__device__ __forceinline__ void take_mode(const T* x, const Key* keys, const unsigned* positions,
                                          T* values, int64_t* indices, Rows rows, I* longest,
                                          I* ends) {
    const I extent = (I)rows.extent, row = (I)blockIdx.x, first = row * extent;
    I length = 0, end = 0;
    for (I k = threadIdx.x; k < extent; k += SORT_THREADS) {
        const Key key = keys[first + k];
        const bool last = k + 1 == extent || keys[first + k + 1] != key;
        const T value = x[place_of(row, (I)positions[first + k], extent, (I)rows.inner)];
        if (!last && !is_nan(value)) continue;
        const I start = is_nan(value) ? k : lower_bound(keys, first, first + k, key) - first;
        if (k - start + 1 > length) length = k - start + 1, end = k;
    }
    longest[threadIdx.x] = length, ends[threadIdx.x] = end;
    for (int threads = SORT_THREADS / 2; threads > 0; threads /= 2) {
        __syncthreads();
        if (threadIdx.x < threads) {
            const int other = threadIdx.x + threads;
            const bool more = longest[other] > longest[threadIdx.x];
            const bool same = longest[other] == longest[threadIdx.x];
            if (more || (same && ends[other] < ends[threadIdx.x])) {
                longest[threadIdx.x] = longest[other];
                ends[threadIdx.x] = ends[other];
            }
        }
    }
    if (threadIdx.x == 0) {
        const unsigned position = positions[first + ends[0]];
        values[row] = x[place_of(row, (I)position, extent, (I)rows.inner)];
        indices[row] = position;
    }
}

// Where each value goes in its ascending row: before equal elements, or (right) behind them. Values
// of row r are those from r * per_row on; with one row for all, per_row is how many there are.
template <class I, class T, class P>
__device__ __forceinline__ void search_sorted(const T* sorted, const T* values, P* places,
                                              long long count, long long per_row, long long extent,
                                              int right) {
    const I at = (I)blockIdx.x * SORT_THREADS + threadIdx.x;
    if (at >= (I)count) return;
    const I first = at / (I)per_row * (I)extent;
    const auto key = key_of(values[at]);
    I low = first, high = first + (I)extent;
    while (low < high) {
        const I middle = low + (high - low) / 2;
        const auto other = key_of(sorted[middle]);
        if (other < key || (right && other == key)) low = middle + 1;
        else high = middle;
    }
    places[at] = (P)(low - first);
}

}  // namespace lz

#endif
