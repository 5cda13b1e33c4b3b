// Running reductions along an axis:
//
//     x        [1, 2, 3, 4]
//     result   [1, 3, 6, 10]       RunningSum
//
// Either a thread runs along a line by itself (scan_across: its neighbours run along neighbouring
// lines), or the lanes of a line, a warp or the block, take a piece of it at once (scan_along): each
// a few elements, then the lanes' totals by shuffles (Hillis, Steele, "Data parallel algorithms",
// 1986), then the next piece from where this one ended. A long line among few is cut into chunks:
// one launch leaves the total of each, a second scans every chunk from the totals before it. What is
// combined with what depends on the extents only. After cuda.h and sort.cuh, which has Rows.
#ifndef LAZYT_SCAN
#define LAZYT_SCAN

namespace lz {

constexpr int SCAN_THREADS = 256, SCAN_ITEMS = 4;

// --- what runs along -----------------------------------------------------------------------------

// A state begins as `none`, takes in an element with its position, and is stored at every place.
// Floats are added in double and rounded at each place; integers wrap.
template <class T, class Wide>
struct RunningSum {
    using State = Wide;
    T* result;
    static LZ_INLINE State none() { return 0; }
    static LZ_INLINE State of(T x, long long) { return (Wide)x; }
    static LZ_INLINE State combine(State a, State b) { return a + b; }
    template <class I>
    LZ_INLINE void store(I place, State s) const { result[place] = (T)s; }
};

template <class T, class Wide>
struct RunningProduct {
    using State = Wide;
    T* result;
    static LZ_INLINE State none() { return 1; }
    static LZ_INLINE State of(T x, long long) { return (Wide)x; }
    static LZ_INLINE State combine(State a, State b) { return a * b; }
    template <class I>
    LZ_INLINE void store(I place, State s) const { result[place] = (T)s; }
};

// log(exp(a) + exp(b)), from the larger one on.
template <class T>
struct RunningLogSum {
    using State = double;
    T* result;
    static LZ_INLINE State none() { return -INFINITY; }
    static LZ_INLINE State of(T x, long long) { return x; }
    static LZ_INLINE State combine(State a, State b) {
        const double larger = a > b || a != a ? a : b, other = a > b || a != a ? b : a;
        const double away = larger == other ? 0 : other - larger;
        return larger == -INFINITY ? larger : larger + log1p(exp(away));
    }
    template <class I>
    LZ_INLINE void store(I place, State s) const { result[place] = (T)s; }
};

// An element and its position, both of one size; none where the position is negative.
template <class V, class P>
struct Found {
    V value;
    P position;
};

// The largest element (or the smallest) and the last position that reached it; a nan stays.
template <class T, class V, class P, bool LARGEST>
struct RunningExtreme {
    using State = Found<V, P>;
    T* values;
    int64_t* positions;
    static LZ_INLINE State none() { return {0, -1}; }
    static LZ_INLINE State of(T x, long long k) { return {x, (P)k}; }
    static LZ_INLINE State combine(State a, State b) {
        const bool reached = LARGEST ? b.value >= a.value : b.value <= a.value;
        const bool later = a.position < 0 || reached || b.value != b.value;
        return b.position >= 0 && later ? b : a;
    }
    template <class I>
    LZ_INLINE void store(I place, State s) const {
        values[place] = (T)s.value;
        positions[place] = s.position;
    }
};

// The state of the lane `lanes` below, and that of lane `from`.
template <class State>
LZ_INLINE State from_below(State s, int lanes) {
    return __shfl_up_sync(~0u, s, lanes);
}
template <class V, class P>
LZ_INLINE Found<V, P> from_below(Found<V, P> s, int lanes) {
    return {__shfl_up_sync(~0u, s.value, lanes), __shfl_up_sync(~0u, s.position, lanes)};
}
template <class State>
LZ_INLINE State from_lane(State s, int from) {
    return __shfl_sync(~0u, s, from);
}
template <class V, class P>
LZ_INLINE Found<V, P> from_lane(Found<V, P> s, int from) {
    return {__shfl_sync(~0u, s.value, from), __shfl_sync(~0u, s.position, from)};
}

// --- scans ---------------------------------------------------------------------------------------

template <class I, class T, class Run>
__device__ __forceinline__ void scan_across(const T* x, Rows rows, Run run) {
    const I line = (I)blockIdx.x * SCAN_THREADS + threadIdx.x, extent = (I)rows.extent;
    if (line >= (I)rows.count) return;
    auto state = Run::none();
    I place = place_of(line, (I)0, extent, (I)rows.inner);
    for (I k = 0; k < extent; k++, place += (I)rows.inner) {
        state = Run::combine(state, Run::of(x[place], k));
        run.store(place, state);
    }
}

// A chunk of a line by LANES threads. STORES: else its total is left in totals, which hold one state
// for each chunk of each line. chunk: elements in one. shared: a state for each warp of the block.
template <int LANES, bool STORES, class I, class T, class Run>
__device__ __forceinline__ void scan_along(const T* x, Rows rows, long long chunk, Run run,
                                           typename Run::State* totals,
                                           typename Run::State* shared) {
    using State = typename Run::State;
    const I extent = (I)rows.extent, inner = (I)rows.inner;
    const I chunks = (extent + (I)chunk - 1) / (I)chunk;
    const int lane = threadIdx.x % LANES, warp = threadIdx.x / 32;
    const I piece = (I)blockIdx.x * (SCAN_THREADS / LANES) + threadIdx.x / LANES;
    const I line = piece / chunks, number = piece % chunks;
    if (line >= (I)rows.count) return;
    const I origin = place_of(line, (I)0, extent, inner);
    const I first = number * (I)chunk, end = min(first + (I)chunk, extent);

    State carry = Run::none();
    if (STORES)
        for (I c = 0; c < number; c++) carry = Run::combine(carry, totals[line * chunks + c]);
    for (I start = first; start < end; start += LANES * SCAN_ITEMS) {
        const I at = start + lane * SCAN_ITEMS;
        State own[SCAN_ITEMS];
#pragma unroll
        for (int v = 0; v < SCAN_ITEMS; v++) {
            own[v] = at + v < end ? Run::of(x[origin + (at + v) * inner], at + v) : Run::none();
            if (v > 0) own[v] = Run::combine(own[v - 1], own[v]);
        }
        State reached = own[SCAN_ITEMS - 1];
#pragma unroll
        for (int lanes = 1; lanes < 32; lanes *= 2) {
            const State below = from_below(reached, lanes);
            if (lane % 32 >= lanes) reached = Run::combine(below, reached);
        }
        State before = from_below(reached, 1);
        if (lane % 32 == 0) before = Run::none();
        State all = from_lane(reached, 31);
        if (LANES > 32) {
            if (lane % 32 == 31) shared[warp] = reached;
            __syncthreads();
            State warps = Run::none();
#pragma unroll
            for (int w = 0; w < LANES / 32; w++) {
                if (w == warp) before = Run::combine(warps, before);
                warps = Run::combine(warps, shared[w]);
            }
            all = warps;
            __syncthreads();
        }
        before = Run::combine(carry, before);
        if (STORES)
#pragma unroll
            for (int v = 0; v < SCAN_ITEMS; v++)
                if (at + v < end)
                    run.store(origin + (at + v) * inner, Run::combine(before, own[v]));
        carry = Run::combine(carry, all);
    }
    if (!STORES && lane == 0) totals[line * chunks + number] = carry;
}

}  // namespace lz

#endif
