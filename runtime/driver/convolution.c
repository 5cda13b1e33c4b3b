/* Convolutions and their gradients: matrix products over columns.
 *
 * The columns of an image are the matrix whose row (c, k) holds what kernel offset k of channel c
 * meets at every output position (Chellapilla, Puri, Simard 2006, "High performance convolutional
 * neural networks for document processing"):
 *
 *     maps = weights @ columns        columns = weights^T @ maps        weights = maps @ columns^T
 *
 * They are never there as a whole: a piece of work has those of some lines of a sample, or of a few
 * samples with few positions, and they stay in the cache. Threads share the pieces, each with
 * products of its own, so BLAS's threads rest meanwhile. Padding is not stored: what lies outside of
 * the image is zero in the columns, and columns outside of it are added nowhere.
 *
 * columns.c has what depends on the type. */

#include <string.h>

enum { FORWARD, TO_IMAGE, TO_WEIGHTS };
enum { COLUMN_BYTES = 1 << 19, FEW_POSITIONS = 128 };

/* What the words say. Extents and strides of three spatial dimensions each, strides in elements. */
typedef struct {
    int64_t call, kind, work, image, weights, maps;          /* function, its kind; places */
    int64_t threads, samples, groups, channels, each;        /* channels, maps of one group */
    int64_t spatial[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t image_strides[5], maps_strides[5], group_stride, row_stride;
} convolution;

/* How the work is cut. */
typedef struct {
    const convolution *c;
    char *image, *weights, *maps;
    int64_t positions, rows;    /* of a sample, of the columns */
    int64_t lines, line;        /* the positions as lines along the last dimension */
    int64_t together, at_once;  /* samples in a piece; lines in a piece, where that is one sample's */
    int64_t blocks, bands;      /* of samples, of lines */
    int64_t parts;              /* of a group's channels */
    int direct, flat;           /* the image is its own columns; maps lie as a matrix a sample */
} convolving;

/* Memory of a thread, which grows to what its largest piece needs. */
static void *scratch(size_t size)
{
    static __thread char *held;
    static __thread size_t most;
    if (size > most) {
        free(held);
        if (posix_memalign((void **)&held, 64, size) != 0)
            held = 0;
        most = held ? size : 0;
    }
    return held;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most_of(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Where an offset of the kernel meets the image: [*from, *to) of `out` positions. */
static void met(int64_t at, int64_t extent, int64_t stride, int64_t out, int64_t *from, int64_t *to)
{
    *from = at >= 0 ? 0 : least(out, up(-at, stride));
    *to = extent - at <= 0 ? 0 : least(out, up(extent - at, stride));
    if (*to < *from)
        *to = *from;
}

static void multiply(const convolution *c, int ta, int tb, int64_t rows, int64_t columns,
                     int64_t inner, const void *a, int64_t lda, const void *b, int64_t ldb,
                     int add, void *to, int64_t ldc)
{
    int64_t m[] = {c->call, c->kind, 0, 0, 0, ta, tb, rows, columns, inner, lda, ldb, ldc};
    one_product(m, a, b, to, add);
}

static void cut_work(convolving *w, int64_t item)
{
    const convolution *c = w->c;
    w->line = c->out[2], w->lines = c->out[0] * c->out[1];
    w->positions = w->line * w->lines;
    w->rows = c->channels * c->kernel[0] * c->kernel[1] * c->kernel[2];
    const int64_t *m = c->maps_strides, *s = c->image_strides;
    w->flat = (c->out[2] == 1 || m[4] == 1) && (c->out[1] == 1 || m[3] == c->out[2]) &&
              (c->out[0] == 1 || m[2] == c->out[1] * c->out[2]) &&
              (c->each == 1 || m[1] >= w->positions);
    w->direct = c->kernel[0] * c->kernel[1] * c->kernel[2] == 1 && s[1] >= w->positions;
    for (int d = 0; d < 3; d++) {
        int64_t flat = d == 2 ? 1 : d == 1 ? c->spatial[2] : c->spatial[1] * c->spatial[2];
        w->direct &= c->stride[d] == 1 && c->padding[d] == 0 && c->out[d] == c->spatial[d] &&
                     (c->out[d] == 1 || s[2 + d] == flat);
    }
    int64_t fits = most_of(1, COLUMN_BYTES / (item * w->rows * w->line));
    /* A part for every thread, if possible; but BLAS wants some positions at a time. */
    int64_t shared = up(w->lines * c->samples, 2 * c->threads);
    shared = most_of(shared, up(FEW_POSITIONS, w->line));
    w->at_once = least(w->lines, least(fits, shared));
    w->bands = up(w->lines, w->at_once);
    w->at_once = up(w->lines, w->bands);
    w->together = 1;
    if (w->bands == 1 && w->positions < FEW_POSITIONS && (c->samples > 1)) {
        w->together = least(c->samples, up(FEW_POSITIONS, w->positions));
        w->direct = 0;
    }
    w->blocks = up(c->samples, w->together);
    w->parts = 1;
}

/* The lines of a band, and the samples of a block. */
static int64_t from_line(const convolving *w, int64_t band) { return band * w->at_once; }
static int64_t to_line(const convolving *w, int64_t band)
{
    return least(w->lines, (band + 1) * w->at_once);
}
