/* Columns of one type (see convolution.c): `real` is float or double, NAME(x) its function's name. */

/* Calls `visit` with every run of the columns of channels [first, end) that meets the image: columns
 * start at `held`, elements of the image at `at`. Where nothing is met, columns become zero if
 * `filling`. */
static void NAME(columns)(const convolving *w, real *image, int64_t samples, int64_t first,
                          int64_t end, int64_t from, int64_t to, real *held, int filling)
{
    const convolution *c = w->c;
    const int64_t *s = c->image_strides, *k = c->kernel, *t = c->stride;
    int64_t width = w->line, step = s[4] * t[2];
    for (int64_t n = first; n < end; n++)
        for (int64_t k0 = 0; k0 < k[0]; k0++)
            for (int64_t k1 = 0; k1 < k[1]; k1++)
                for (int64_t k2 = 0; k2 < k[2]; k2++) {
                    int64_t a0 = k0 * c->dilation[0] - c->padding[0];
                    int64_t a1 = k1 * c->dilation[1] - c->padding[1];
                    int64_t a2 = k2 * c->dilation[2] - c->padding[2], lo, hi;
                    met(a2, c->spatial[2], t[2], width, &lo, &hi);
                    for (int64_t i = 0; i < samples; i++) {
                        real *plane = image + i * s[0] + n * s[1] + a2 * s[4];
                        for (int64_t l = from; l < to; l++, held += width) {
                            int64_t y0 = l / c->out[1] * t[0] + a0, y1 = l % c->out[1] * t[1] + a1;
                            int inside = y0 >= 0 && y0 < c->spatial[0] && y1 >= 0 &&
                                         y1 < c->spatial[1];
                            real *at = plane + y0 * s[2] + y1 * s[3];
                            if (filling) {
                                int64_t a = inside ? lo : width, b = inside ? hi : width, j = 0;
                                for (; j < a; j++)
                                    held[j] = 0;
                                if (step == 1)
                                    for (; j < b; j++)
                                        held[j] = at[j];
                                else
                                    for (; j < b; j++)
                                        held[j] = at[j * step];
                                for (; j < width; j++)
                                    held[j] = 0;
                            } else if (inside) {
                                if (step == 1)
                                    for (int64_t j = lo; j < hi; j++)
                                        at[j] += held[j];
                                else
                                    for (int64_t j = lo; j < hi; j++)
                                        at[j * step] += held[j];
                            }
                        }
                    }
                }
}

/* Copies the maps of a group at some lines of some samples to a matrix of a row each, or back. */
static void NAME(gather)(const convolving *w, real *maps, int64_t samples, int64_t from, int64_t to,
                         real *held, int back)
{
    const convolution *c = w->c;
    const int64_t *s = c->maps_strides;
    for (int64_t o = 0; o < c->each; o++)
        for (int64_t i = 0; i < samples; i++)
            for (int64_t l = from; l < to; l++, held += w->line) {
                real *at = maps + i * s[0] + o * s[1] + l / c->out[1] * s[2] + l % c->out[1] * s[3];
                if (back)
                    for (int64_t j = 0; j < w->line; j++)
                        at[j * s[4]] = held[j];
                else
                    for (int64_t j = 0; j < w->line; j++)
                        held[j] = at[j * s[4]];
            }
}

/* One piece: some samples, one group, some lines, some channels of the group. `to`: where a gradient
 * of weights is added. */
static int NAME(one)(const convolving *w, int64_t block, int64_t group, int64_t band, int64_t part,
                     real *to)
{
    const convolution *c = w->c;
    int64_t sample = block * w->together, samples = least(w->together, c->samples - sample);
    int64_t from = from_line(w, band), until = to_line(w, band);
    int64_t width = samples * (until - from) * w->line;
    int64_t first = c->channels * part / w->parts, end = c->channels * (part + 1) / w->parts;
    int64_t taps = w->rows / c->channels, rows = taps * (end - first);
    const int64_t *is = c->image_strides, *ms = c->maps_strides;
    real *image = (real *)w->image + sample * is[0] + group * c->channels * is[1];
    real *maps = (real *)w->maps + sample * ms[0] + group * c->each * ms[1];
    real *weights = (real *)w->weights + group * c->group_stride + first * taps;
    int plain = w->flat && w->together == 1; /* maps are read or written where they are */
    real *columns = image + first * is[1] + from * w->line, *held = maps + from * w->line;
    int64_t column_step = is[1], map_step = ms[1];
    real *room = scratch(sizeof *room * (size_t)((w->direct ? 0 : rows * width) +
                                                 (plain ? 0 : c->each * width) + 1));
    if (!room)
        return OUT_OF_MEMORY;
    if (!plain)
        held = room, room += c->each * width, map_step = width;
    if (!w->direct)
        columns = room, column_step = width;
    if (!w->direct && c->work != TO_IMAGE)
        NAME(columns)(w, image, samples, first, end, from, until, columns, 1);
    if (!plain && c->work != FORWARD)
        NAME(gather)(w, maps, samples, from, until, held, 0);
    switch (c->work) {
    case FORWARD:
        multiply(c, 0, 0, c->each, width, rows, weights, c->row_stride, columns, column_step, 0,
                 held, map_step);
        if (!plain)
            NAME(gather)(w, maps, samples, from, until, held, 1);
        break;
    case TO_WEIGHTS:
        multiply(c, 0, 1, c->each, rows, width, held, map_step, columns, column_step, 1,
                 to + group * c->group_stride, c->row_stride);
        break;
    case TO_IMAGE:
        multiply(c, 1, 0, rows, width, c->each, weights, c->row_stride, held, map_step, 0, columns,
                 column_step);
        if (!w->direct)
            NAME(columns)(w, image, samples, first, end, from, until, columns, 0);
        break;
    }
    return 0;
}

/* Pieces [lo, hi). To an image, one has all lines of a block of samples, which overlap. */
static int NAME(pieces)(char *const *p, const int64_t *n, int64_t lo, int64_t hi, void *t)
{
    const convolving *w = (const convolving *)p[0];
    const convolution *c = w->c;
    int failed = 0;
    (void)n;
    for (int64_t u = lo; u < hi && !failed; u++) {
        if (c->work != TO_IMAGE) {
            int64_t band = u % w->bands, group = u / w->bands % c->groups;
            failed = NAME(one)(w, u / w->bands / c->groups, group, band, 0, t);
            continue;
        }
        int64_t part = u % w->parts, group = u / w->parts % c->groups;
        int64_t block = u / w->parts / c->groups, sample = block * w->together;
        int64_t first = c->channels * part / w->parts, end = c->channels * (part + 1) / w->parts;
        if (!w->direct)
            for (int64_t i = sample; i < least(c->samples, sample + w->together); i++)
                memset((real *)w->image + i * c->image_strides[0] +
                           (group * c->channels + first) * c->image_strides[1],
                       0, sizeof(real) * (size_t)((end - first) * c->image_strides[1]));
        for (int64_t band = 0; band < w->bands && !failed; band++)
            failed = NAME(one)(w, block, group, band, part, 0);
    }
    return failed;
}

static int NAME(convolve)(const convolution *c, const place *places)
{
    convolving w = {c, places[c->image].at, places[c->weights].at, places[c->maps].at};
    cut_work(&w, sizeof(real));
    int64_t units = w.blocks * c->groups * w.bands, threads = c->threads, partials = 0;
    char *p[] = {(char *)&w};
    if (c->work == TO_IMAGE) {
        int64_t found = w.blocks * c->groups;
        w.parts = least(c->channels, most_of(1, up(2 * threads, found)));
        units = found * w.parts;
    }
    size_t size = sizeof(real) * (size_t)(c->groups * c->group_stride);
    int64_t pieces = threads > 1 ? least(units, c->work == TO_WEIGHTS ? threads : MOST_PIECES) : 1;
    char *sums = w.weights;
    if (c->work == TO_WEIGHTS) {
        /* Each piece adds to weights of its own, the first to the result. */
        memset(w.weights, 0, size);
        partials = up((int64_t)size, sizeof(double));
        if (pieces > 1 && !(sums = calloc((size_t)(pieces * partials), sizeof(double))))
            return OUT_OF_MEMORY;
    }
    blas_rests();
    int failed = in_pieces(NAME(pieces), p, 0, units, pieces, threads, 0, (double *)sums, partials);
    blas_works();
    if (c->work == TO_WEIGHTS && pieces > 1) {
        for (int64_t k = 0; k < pieces; k++) {
            const real *part = (const real *)((double *)sums + k * partials);
            for (int64_t i = 0; i < (int64_t)(size / sizeof(real)); i++)
                ((real *)w.weights)[i] += part[i];
        }
        free(sums);
    }
    return failed;
}
