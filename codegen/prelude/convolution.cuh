// Convolutions as matrix products: the matrix of the windows is never in memory, its elements are
// found where they lie ("implicit GEMM": Chetlur et al. 2014, "cuDNN: efficient primitives for deep
// learning", section 3). After contraction.cuh.
//
// A column and a reduced position each say a part of where an element is, and of its coordinates in
// the image; an element whose coordinates are outside is zero. For a convolution of one dimension
// with stride 2, padding 1:
//
//     column (sample n, output o)     offset n * samples + (2 o - 1) * x     coordinate 2 o - 1
//     position (channel c, tap t)     offset c * channels + t * x            coordinate t
//
// These parts are kept in tables in shared memory, one for the columns of the tile and one for the
// positions of a slice, so that no division is done for an element.
#ifndef LAZYT_CONVOLUTION
#define LAZYT_CONVOLUTION

namespace lz {

// Of the right operand. reduced: its strides along the reduced axes. The others are for along[1]
// and so on, one for a dimension of the image: its extent, and the coordinate's start and steps.
struct Window {
    Axes reduced, bound, start, column_step, reduced_step;
};

// A part of where an element is: its offset, and its coordinates in SPACE dimensions.
template <class I, int SPACE>
struct __align__(sizeof(I) == 4 && SPACE ? 16 : sizeof(I)) Place {
    I offset;
    int at[3];

    __device__ __forceinline__ bool meets(const Place& other, const Axes& bound) const {
        bool inside = true;
#pragma unroll
        for (int d = 0; d < SPACE; d++)
            inside &= (unsigned)(at[d] + other.at[d]) < (unsigned)bound.along[d + 1];
        return inside;
    }
};
template <class I>
struct Place<I, 0> {
    I offset;

    __device__ __forceinline__ bool meets(const Place&, const Axes&) const { return true; }
};

// An operand whose elements are found by tables: for columns (or rows) of the tile, and for the
// reduced positions of two slices that take turns.
template <class I, class S, int AXES, int SPACE>
struct Gathered {
    using T = typename S::T;
    using Entry = Place<I, SPACE>;
    static constexpr bool TABLES = true;
    static constexpr int EACH = S::OUTER * S::K / S::THREADS;
    static constexpr int BYTES = (S::OUTER + 2 * S::K) * sizeof(Entry);
    static_assert(EACH * S::THREADS == S::OUTER * S::K && S::K <= S::THREADS,
                  "threads fill a slice");

    const T* source;
    const Reduced& extent;
    const Axes &stride, &step, &bound;
    I outer_count, first, count;
    Entry *outers, *positions;
    T staged[EACH];

    // stride, step: along the reduced axes.
    __device__ __forceinline__ Gathered(const T* source, const Reduced& extent, const Axes& stride,
                                        const Axes& step, const Axes& bound, I outer_count,
                                        const Block<I>& block, unsigned char* tables)
        : source(source),
          extent(extent),
          stride(stride),
          step(step),
          bound(bound),
          outer_count(outer_count),
          first(block.first),
          count(block.last - block.first),
          outers(reinterpret_cast<Entry*>(tables)),
          positions(outers + S::OUTER) {}

    __device__ __forceinline__ void prepare(I tile) {
        if (threadIdx.x >= S::K) return;
        I k = first + tile * S::K + (I)threadIdx.x;
        Entry entry;
        entry.offset = 0;
#pragma unroll
        for (int d = AXES - 1; d > 0; d--) {
            const I along = (I)extent.along[d], i = k % along;
            k /= along;
            entry.offset += i * (I)stride.along[d];
            if constexpr (SPACE > 0) entry.at[d - 1] = (int)i * (int)step.along[d];
        }
        entry.offset += k * (I)stride.along[0];
        positions[tile % 2 * S::K + threadIdx.x] = entry;
    }

    static __device__ __forceinline__ int outer_of(int i) {
        const int element = threadIdx.x + i * S::THREADS;
        return S::REDUCED ? element / S::K : element % S::OUTER;
    }
    static __device__ __forceinline__ int position_of(int i) {
        const int element = threadIdx.x + i * S::THREADS;
        return S::REDUCED ? element % S::K : element / S::OUTER;
    }

    __device__ __forceinline__ void load(I tile) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int outer = outer_of(i), k = position_of(i);
            const Entry &a = outers[outer], &b = positions[tile % 2 * S::K + k];
            const bool in = outer < outer_count && tile * S::K + k < count && a.meets(b, bound);
            staged[i] = in ? source[a.offset + b.offset] : T(0);
        }
    }

    __device__ __forceinline__ void store(typename S::Shared* slice) const {
#pragma unroll
        for (int i = 0; i < EACH; i++)
            slice[S::position(outer_of(i), position_of(i))] = S::Keep::of(staged[i]);
    }
};

// Rows have one stride.
template <class Tile, int AXES, class I>
struct GatheredLeft : Gathered<I, typename Tile::Left, AXES, 0> {
    using Base = Gathered<I, typename Tile::Left, AXES, 0>;

    __device__ __forceinline__ GatheredLeft(const typename Tile::T* source, const Contraction& c,
                                            const Block<I>& block, unsigned char* tables)
        : Base(source + (block.origin(c.left) + block.row * (I)c.left.row), c.reduced, c.left,
               c.left, c.left, block.rows - block.row, block, tables) {
        for (int r = threadIdx.x; r < Tile::M; r += Tile::THREADS)
            this->outers[r].offset = r * (I)c.left.row;
    }
};

template <class Tile, int AXES, class I>
struct GatheredRight : Gathered<I, typename Tile::Right, AXES, AXES - 1> {
    using Base = Gathered<I, typename Tile::Right, AXES, AXES - 1>;

    __device__ __forceinline__ GatheredRight(const typename Tile::T* source, const Contraction& c,
                                             const Window& w, const Block<I>& block,
                                             unsigned char* tables)
        : Base(source + block.origin(c.right), c.reduced, w.reduced, w.reduced_step, w.bound,
               block.columns - block.column, block, tables) {
        for (int j = threadIdx.x; j < Tile::N; j += Tile::THREADS) {
            const Column<I, AXES> column(c.result, block.column + j, block.columns);
            auto& entry = this->outers[j];
            entry.offset = 0;
#pragma unroll
            for (int d = 0; d < AXES; d++) {
                entry.offset += column.at[d] * (I)c.right.along[d];
                if (d > 0)
                    entry.at[d - 1] =
                        (int)column.at[d] * (int)w.column_step.along[d] + (int)w.start.along[d];
            }
        }
    }
};

}  // namespace lz

#endif
