// Products of matrices, and what can be read as one, by tiles of a thread block:
//
//     result[row, column] = finish(sum over k of left[row, k] * right[k, column])
//
// A block computes a tile of the result. It brings a slice of `left` and one of `right`, K
// positions of the reduced axis deep, into shared memory, multiplies them from there, and meanwhile
// loads the next two into registers. What differs from kernel to kernel are types: the tile
// (RegisterTile here, TensorTile in tensor_cores.cuh), how an operand's elements are found
// (Strided, Gathered), and a function for what becomes of a sum. Extents and strides are numbers of
// the launch.
//
// With several shares the reduced axis is cut into as many pieces. Each leaves partial sums, which
// a second kernel adds in the order of the pieces: the result is the same on every device.
#ifndef LAZYT_CONTRACTION
#define LAZYT_CONTRACTION

namespace lz {

// Strides of an array, or the extents of the result, in elements, over up to three batch axes, the
// rows, and up to four axes that columns (of a left operand: reduced positions) are counted along.
struct Axes {
    long long start, batch[3], row, along[4];
};

// The reduced axis: its extent, of how many positions a share is, how many shares there are, and
// the axes its positions are counted along.
struct Reduced {
    long long extent, share, shares, unused[2], along[4];
};

// right.row is the stride along the reduced axis.
struct Contraction {
    Axes result;
    Reduced reduced;
    Axes left, right;
};

template <int COUNT>
struct Arrays {
    Axes of[COUNT];
};

// How elements of a type are computed with: in float, if they are smaller.
template <class T>
struct Storage {
    using Sum = T;
    static __device__ __forceinline__ T widen(T value) { return value; }
    static __device__ __forceinline__ T narrow(T value) { return value; }
};

__device__ __forceinline__ float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) {
    return fma(a, b, c);
}

// --- places --------------------------------------------------------------------------------------

// A column of the result: its position along each of the axes that columns are counted along.
template <class I, int AXES>
struct Column {
    I index, at[AXES];
    bool inside;

    __device__ __forceinline__ Column(const Axes& extent, I column, I columns)
        : index(column), inside(column < columns) {
#pragma unroll
        for (int d = AXES - 1; d > 0; d--) {
            const I along = (I)extent.along[d];
            at[d] = column % along;
            column /= along;
        }
        at[0] = column;
    }
};

template <class I, int AXES>
__device__ __forceinline__ I columns_of(const Axes& extent) {
    I columns = 1;
#pragma unroll
    for (int d = 0; d < AXES; d++) columns *= (I)extent.along[d];
    return columns;
}

// What a block computes: rows from `row`, columns from `column` of one product of the batch, summed
// over the positions [first, last) of the reduced axis.
template <class I>
struct Block {
    I rows, columns, row, column, batch[3], share, first, last;

    // Tiles are taken in bands of eight rows of tiles, so that blocks that run side by side share
    // both operands in the cache.
    template <int AXES>
    static __device__ __forceinline__ Block here(const Contraction& c, int height, int width) {
        Block b;
        b.rows = (I)c.result.row;
        b.columns = columns_of<I, AXES>(c.result);
        const I down = (b.rows + height - 1) / height, across = (b.columns + width - 1) / width;
        I rest = (I)blockIdx.x / (down * across);
        const I tile = (I)blockIdx.x - rest * down * across;
        const I band = tile / (8 * across), inside = tile - band * 8 * across;
        const I thick = down - 8 * band < 8 ? down - 8 * band : 8;
        b.row = (8 * band + inside % thick) * height;
        b.column = inside / thick * width;
#pragma unroll
        for (int d = 2; d >= 0; d--) {
            const I extent = (I)c.result.batch[d];
            b.batch[d] = rest % extent;
            rest /= extent;
        }
        b.share = rest;
        b.first = rest * (I)c.reduced.share;
        const I left = (I)c.reduced.extent - b.first, share = (I)c.reduced.share;
        b.last = b.first + (left < share ? left : share);
        return b;
    }

    __device__ __forceinline__ I origin(const Axes& stride) const {
        return (I)stride.start + batch[0] * (I)stride.batch[0] + batch[1] * (I)stride.batch[1] +
               batch[2] * (I)stride.batch[2];
    }

    // Where an array has its element for a point of the result.
    template <int AXES>
    __device__ __forceinline__ I place(const Axes& stride, I row, const Column<I, AXES>& c) const {
        I at = origin(stride) + row * (I)stride.row;
#pragma unroll
        for (int d = 0; d < AXES; d++) at += c.at[d] * (I)stride.along[d];
        return at;
    }

    // Where the partial sum of a point is: shares outermost, columns innermost.
    __device__ __forceinline__ I partial(const Axes& extent, I row, I column) const {
        const I product =
            (batch[0] * (I)extent.batch[1] + batch[1]) * (I)extent.batch[2] + batch[2];
        const I products = (I)(extent.batch[0] * extent.batch[1] * extent.batch[2]);
        return ((share * products + product) * rows + row) * columns + column;
    }
};

// --- operands ------------------------------------------------------------------------------------

// How an element is kept in shared memory: as what it is computed with.
template <class T>
struct Widened {
    using Shared = typename Storage<T>::Sum;
    static __device__ __forceinline__ Shared of(T value) { return Storage<T>::widen(value); }
};

// A slice of an operand in shared memory: OUTER rows (or columns) by K reduced positions. REDUCED:
// neighbours along the reduced axis lie side by side in device memory, and threads run along it.
// OUTER_MAJOR: in shared memory they do.
template <class T_, class Keep_, int OUTER_, int K_, int THREADS_, bool REDUCED_, bool OUTER_MAJOR>
struct Slice {
    using T = T_;
    using Keep = Keep_;
    using Shared = typename Keep::Shared;
    static constexpr int OUTER = OUTER_, K = K_, THREADS = THREADS_;
    static constexpr bool REDUCED = REDUCED_;
    static constexpr int PAD = 16 / sizeof(Shared);  // rows start in different banks
    static constexpr int PITCH = (OUTER_MAJOR ? K : OUTER) + PAD;
    static constexpr int SIZE = PITCH * (OUTER_MAJOR ? OUTER : K);
    static __device__ __forceinline__ int position(int outer, int k) {
        return OUTER_MAJOR ? outer * PITCH + k : k * PITCH + outer;
    }
};

// An operand with one stride along its rows (or columns) and one along the reduced axis. Threads
// take 16 bytes at once where strides, extents and the address are such that no load is cut short.
template <class I, class S>
struct Strided {
    using T = typename S::T;
    static constexpr int VECTOR = 16 / sizeof(T), FAST = S::REDUCED ? S::K : S::OUTER;
    static constexpr int GROUPS = S::OUTER * S::K / VECTOR;
    static constexpr int EACH = (GROUPS + S::THREADS - 1) / S::THREADS;
    static constexpr bool TABLES = false;
    static_assert(FAST % VECTOR == 0, "a row of the slice is whole vectors");

    const T* source;
    I outer_stride, reduced_stride, outer_count, count;
    bool wide;
    __align__(16) T staged[EACH][VECTOR];

    // source: of the first row of the tile and the first reduced position of the share.
    __device__ __forceinline__ Strided(const T* source, I outer_stride, I reduced_stride,
                                       I outer_count, I count)
        : source(source),
          outer_stride(outer_stride),
          reduced_stride(reduced_stride),
          outer_count(outer_count),
          count(count) {
        const I fast = S::REDUCED ? reduced_stride : outer_stride;
        const I slow = S::REDUCED ? outer_stride : reduced_stride;
        wide = fast == 1 && slow % VECTOR == 0 &&
               (S::REDUCED ? count : outer_count) % VECTOR == 0 &&
               (unsigned long long)source % 16 == 0;
    }

    __device__ __forceinline__ void prepare(I) {}

    __device__ __forceinline__ bool inside(int outer, I k) const {
        return outer < outer_count && k < count;
    }

    __device__ __forceinline__ void load(I tile) {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int group = threadIdx.x + i * S::THREADS;
            if (GROUPS % S::THREADS && group >= GROUPS) continue;
            const int fast = group % (FAST / VECTOR) * VECTOR, slow = group / (FAST / VECTOR);
            const int outer = S::REDUCED ? slow : fast;
            const I k = tile * S::K + (S::REDUCED ? fast : slow);
            const I at = outer * outer_stride + k * reduced_stride;
            if (wide) {
                uint4 bits = make_uint4(0, 0, 0, 0);
                if (inside(outer, k)) bits = *reinterpret_cast<const uint4*>(source + at);
                *reinterpret_cast<uint4*>(staged[i]) = bits;
            } else {
#pragma unroll
                for (int v = 0; v < VECTOR; v++) {
                    const bool in = S::REDUCED ? inside(outer, k + v) : inside(outer + v, k);
                    const I step = v * (S::REDUCED ? reduced_stride : outer_stride);
                    staged[i][v] = in ? source[at + step] : T(0);
                }
            }
        }
    }

    __device__ __forceinline__ void store(typename S::Shared* slice) const {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int group = threadIdx.x + i * S::THREADS;
            if (GROUPS % S::THREADS && group >= GROUPS) continue;
            const int fast = group % (FAST / VECTOR) * VECTOR, slow = group / (FAST / VECTOR);
#pragma unroll
            for (int v = 0; v < VECTOR; v++) {
                const int outer = S::REDUCED ? slow : fast + v, k = S::REDUCED ? fast + v : slow;
                slice[S::position(outer, k)] = S::Keep::of(staged[i][v]);
            }
        }
    }
};

template <class Tile, class I>
__device__ __forceinline__ Strided<I, typename Tile::Left> strided_left(
    const typename Tile::T* source, const Contraction& c, const Block<I>& b) {
    const I row = (I)c.left.row, along = (I)c.left.along[0];
    return {source + (b.origin(c.left) + b.row * row + b.first * along), row, along, b.rows - b.row,
            b.last - b.first};
}
template <class Tile, class I>
__device__ __forceinline__ Strided<I, typename Tile::Right> strided_right(
    const typename Tile::T* source, const Contraction& c, const Block<I>& b) {
    const I row = (I)c.right.row, along = (I)c.right.along[0];
    return {source + (b.origin(c.right) + b.column * along + b.first * row), along, row,
            b.columns - b.column, b.last - b.first};
}

// --- tiles ---------------------------------------------------------------------------------------

// The slices of all steps, multiplied by the tile's own method. Two pairs of slices take turns.
template <class Tile, class I, class Left, class Right>
__device__ __forceinline__ void accumulate(Tile& tile, Left& left, Right& right,
                                           const Block<I>& block, unsigned char* bytes) {
    auto* const memory = reinterpret_cast<typename Tile::Shared*>(bytes);
    const I steps = (block.last - block.first + Tile::K - 1) / Tile::K;
    if (Left::TABLES || Right::TABLES) {
        left.prepare(0), right.prepare(0);
        left.prepare(1), right.prepare(1);
        __syncthreads();
    }
    left.load(0), right.load(0);
    left.store(memory), right.store(memory + Tile::Left::SIZE);
    __syncthreads();
    for (I step = 0; step < steps; step++) {
        const bool more = step + 1 < steps;
        const int now = step % 2 * Tile::STAGE, next = Tile::STAGE - now;
        if (more) left.load(step + 1), right.load(step + 1);
        left.prepare(step + 2), right.prepare(step + 2);
        tile.multiply(memory + now, memory + now + Tile::Left::SIZE);
        if (more) left.store(memory + next), right.store(memory + next + Tile::Left::SIZE);
        __syncthreads();
    }
}

// An M by N tile by ordinary arithmetic: a thread has TM by TN sums in registers. LEFT, RIGHT:
// whether neighbours along the reduced axis of an operand lie side by side in device memory.
//
// Its rows and columns come in pieces of 16 bytes, spread over the tile, so that the threads of a
// warp read neighbouring pieces.
template <class T_, int M_, int N_, int K_, int TM, int TN, bool LEFT, bool RIGHT>
struct RegisterTile {
    using T = T_;
    using Sum = typename Storage<T>::Sum;
    using Shared = Sum;
    static constexpr int M = M_, N = N_, K = K_, THREADS = (M / TM) * (N / TN);
    static constexpr int PIECE = 16 / sizeof(Sum);
    using Left = Slice<T, Widened<T>, M, K, THREADS, LEFT, false>;
    using Right = Slice<T, Widened<T>, N, K, THREADS, RIGHT, false>;
    static constexpr int STAGE = Left::SIZE + Right::SIZE;
    static constexpr int SLAB = (M / TM) * N;  // a row of each thread's sums, on its way out
    static constexpr int BYTES = (STAGE > SLAB ? STAGE : SLAB) * 2 * sizeof(Sum);
    static_assert(TM % PIECE == 0 && TN % PIECE == 0 && THREADS % N == 0, "pieces fill the tile");

    struct __align__(16) Piece {
        Sum of[PIECE];
    };

    Sum sums[TM][TN];
    int down, across;

    __device__ __forceinline__ RegisterTile()
        : down(threadIdx.x / (N / TN)), across(threadIdx.x % (N / TN)) {
#pragma unroll
        for (int i = 0; i < TM; i++)
#pragma unroll
            for (int j = 0; j < TN; j++) sums[i][j] = 0;
    }

    static __device__ __forceinline__ int row(int i, int down) {
        return i / PIECE * (M / TM * PIECE) + down * PIECE + i % PIECE;
    }
    static __device__ __forceinline__ int column(int j, int across) {
        return j / PIECE * (N / TN * PIECE) + across * PIECE + j % PIECE;
    }

    __device__ __forceinline__ void multiply(const Sum* left, const Sum* right) {
#pragma unroll
        for (int k = 0; k < K; k++) {
            Piece a[TM / PIECE], b[TN / PIECE];
#pragma unroll
            for (int i = 0; i < TM / PIECE; i++)
                a[i] =
                    *reinterpret_cast<const Piece*>(left + Left::position(row(i * PIECE, down), k));
#pragma unroll
            for (int j = 0; j < TN / PIECE; j++)
                b[j] = *reinterpret_cast<const Piece*>(
                    right + Right::position(column(j * PIECE, across), k));
#pragma unroll
            for (int i = 0; i < TM; i++)
#pragma unroll
                for (int j = 0; j < TN; j++)
                    sums[i][j] = multiply_add(a[i / PIECE].of[i % PIECE],
                                              b[j / PIECE].of[j % PIECE], sums[i][j]);
        }
    }

    // Hands out every sum by way of shared memory, neighbouring columns to neighbouring threads:
    // each(row, column) of the tile. describe(column) says what a thread needs of its column.
    template <class Describe, class Each>
    __device__ __forceinline__ void hand_out(Sum* memory, Describe describe, Each each) {
        const auto mine = describe((int)threadIdx.x % N);
#pragma unroll
        for (int i = 0; i < TM; i++) {
            Sum* slab = memory + i % 2 * SLAB;
#pragma unroll
            for (int j = 0; j < TN; j++) slab[down * N + column(j, across)] = sums[i][j];
            __syncthreads();
#pragma unroll 1
            for (int r = threadIdx.x / N; r < M / TM; r += THREADS / N)
                each(row(i, r), mine, slab[r * N + threadIdx.x % N]);
        }
    }
};

// The sums of a tile, with the rows and columns that the result has.
template <int AXES, class I, class Tile, class Finish>
__device__ __forceinline__ void finish_tile(Tile& tile, const Contraction& c, const Block<I>& block,
                                            unsigned char* memory, Finish finish) {
    tile.hand_out(
        reinterpret_cast<typename Tile::Sum*>(memory),
        [&](int column) { return Column<I, AXES>(c.result, block.column + column, block.columns); },
        [&](int row, const Column<I, AXES>& column, typename Tile::Sum sum) {
            if (block.row + row < block.rows && column.inside) finish(block.row + row, column, sum);
        });
}

// --- partial sums --------------------------------------------------------------------------------

// Adds what the shares left, a thread a point of the result.
template <int AXES, class I, class Sum, class Finish>
__device__ __forceinline__ void add_shares(const Contraction& c, const Sum* partial,
                                           Finish finish) {
    Block<I> block;
    block.rows = (I)c.result.row;
    block.columns = columns_of<I, AXES>(c.result);
    const I product = block.rows * block.columns;
    const I total = product * (I)(c.result.batch[0] * c.result.batch[1] * c.result.batch[2]);
    const I point = (I)blockIdx.x * blockDim.x + threadIdx.x;
    if (point >= total) return;
    Sum sum = 0;
    for (I share = 0; share < (I)c.reduced.shares; share++) sum += partial[share * total + point];
    I rest = point / product;
#pragma unroll
    for (int d = 2; d >= 0; d--) {
        block.batch[d] = rest % (I)c.result.batch[d];
        rest /= (I)c.result.batch[d];
    }
    const I within = point % product;
    finish(block, within / block.columns,
           Column<I, AXES>(c.result, within % block.columns, block.columns), sum);
}

}  // namespace lz

#endif
