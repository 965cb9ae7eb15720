/* Kernels of the engines `im2col`, `csr` and `bitmap`: float32, images as NCHW, one call runs a whole network.

A convolution is im2col and a matrix product: the pixels that a tile of outputs needs are packed into a panel of
depth x width floats, and each filter, a row of the weights, is multiplied with it. The formats differ in how a row lists
its weights: all of them (DENSE), values with their columns (CSR), or values with a bit for each column (BITMAP).
kernels.py compiles this file on the board and fills in `struct op`; the two must agree. */

#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum kind { CONV, DEPTHWISE, POOL, ADD, COPY };
enum format { DENSE, CSR, BITMAP };

struct op {
    const float *x, *y;          /* inputs; y of ADD only, or null */
    float *out;
    const float *weight, *bias;  /* bias may be null; of a mean POOL, weight holds 1 / values of each window */
    const uint32_t *rows;        /* CSR, BITMAP: where the values of each row begin, one more than rows */
    const void *index;           /* CSR: columns; BITMAP: words of 64 columns, the lowest bit first */
    float *panel;                /* room for `panel_floats` floats for each thread */
    int64_t panel_floats;
    int32_t kind, format, wide;  /* wide: columns are uint32, else uint16 */
    int32_t batch, ins, outs, groups;
    int32_t height, width, high, across;  /* pixels of the input and of the output */
    int32_t kernel[2], stride[2], padding[2], dilation[2];  /* down, across */
    int32_t offset;              /* COPY: the first channel in out */
    float low, high_limit;       /* outputs are kept between these */
};

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
#define ROWS 8  /* of weights at a time; with two vectors of outputs each they fill half of 32 registers */
#else
#define ROWS 6  /* three quarters of 16 */
#endif
#define WIDEST (4 * LANES)  /* outputs in the largest tile; dense rows take half of it at a time */
#define INLINE static inline __attribute__((always_inline))
#define SMALL 8192  /* operations that are not worth waking threads for */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float vec8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float vec4 __attribute__((vector_size(16), aligned(4), may_alias));

INLINE float within(const struct op *op, float value)
{
    return value < op->low ? op->low : value > op->high_limit ? op->high_limit : value;
}

/* Add the bias to rows `first` to `end` of sums, in place, and limit them. */
static void finish(const struct op *op, int first, int end, int width, float *out, int64_t pixels)
{
    for (int r = first; r < end; r++) {
        float bias = op->bias ? op->bias[r] : 0.0f, *row = out + r * pixels;
        for (int i = 0; i < width; i++)
            row[i] = within(op, row[i] + bias);
    }
}

/* `rows` rows of dense weights times `vectors` vectors of a panel; `row` is the first, among all groups. */
#define DENSE_BLOCK(NAME, VEC)                                                                                        \
    INLINE void NAME(const struct op *op, int row, int64_t depth, const float *panel, int64_t pitch, float *out,      \
                     int64_t pixels, const int rows, const int vectors)                                               \
    {                                                                                                                 \
        enum { N = sizeof(VEC) / 4 };                                                                                 \
        const float *weight = op->weight + row * depth;                                                               \
        VEC sum[ROWS][2];                                                                                             \
        _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)                                                        \
            _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)                                                 \
                sum[r][v] = (VEC){0};                                                                                 \
        for (int64_t k = 0; k < depth; k++) {                                                                         \
            VEC value[2];                                                                                             \
            _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)                                                 \
                value[v] = *(const VEC *)(panel + k * pitch + v * N);                                                 \
            _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)                                                    \
                _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)                                             \
                    sum[r][v] += weight[r * depth + k] * value[v];                                                    \
        }                                                                                                             \
        _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)                                                        \
            _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)                                                 \
                *(VEC *)(out + r * pixels + v * N) = sum[r][v];                                                       \
    }
DENSE_BLOCK(dense_block, vec)
DENSE_BLOCK(dense_block8, vec8)
DENSE_BLOCK(dense_block4, vec4)

#define DENSE_ROWS(BLOCK, VECTORS)                                                                                    \
    do {                                                                                                              \
        int r = first;                                                                                                \
        for (; r + ROWS <= end; r += ROWS)                                                                            \
            BLOCK(op, r, depth, at, width, to + r * pixels, pixels, ROWS, VECTORS);                                   \
        for (; r + 4 <= end; r += 4)                                                                                  \
            BLOCK(op, r, depth, at, width, to + r * pixels, pixels, 4, VECTORS);                                      \
        for (; r < end; r++)                                                                                          \
            BLOCK(op, r, depth, at, width, to + r * pixels, pixels, 1, VECTORS);                                      \
    } while (0)

/* A panel of one column times rows: products along the depth. */
static void dense_column(const struct op *op, int first, int end, int64_t depth, const float *panel, float *out,
                         int64_t pixels)
{
    for (int r = first; r < end; r++) {
        const float *weight = op->weight + r * depth;
        vec sum[4] = {{0}, {0}, {0}, {0}};
        int64_t k = 0;
        for (; k + 4 * LANES <= depth; k += 4 * LANES)
            for (int u = 0; u < 4; u++)
                sum[u] += *(const vec *)(weight + k + u * LANES) * *(const vec *)(panel + k + u * LANES);
        sum[0] += sum[1] + (sum[2] + sum[3]);
        float total = 0.0f;
        for (int i = 0; i < LANES; i++)
            total += sum[0][i];
        for (; k < depth; k++)
            total += weight[k] * panel[k];
        out[r * pixels] = total;
    }
}

static void dense(const struct op *op, int first, int end, int64_t depth, const float *panel, int width, float *out,
                  int64_t pixels)
{
    for (int done = 0; done < width;) {
        const float *at = panel + done;
        float *to = out + done;
        int left = width - done;
        if (left >= 2 * LANES) {
            DENSE_ROWS(dense_block, 2);
            done += 2 * LANES;
        } else if (left >= LANES) {
            DENSE_ROWS(dense_block, 1);
            done += LANES;
        } else if (left >= 8) {
            DENSE_ROWS(dense_block8, 1);
            done += 8;
        } else if (left >= 4) {
            DENSE_ROWS(dense_block4, 1);
            done += 4;
        } else {
            dense_column(op, first, end, depth, at, to, pixels);
            done += 1;
        }
    }
}

/* One sparse row times a panel of `vectors` vectors; several sums at a time, or each addition waits for the last. */
#define SPARSE_ROW(NAME, VEC, INDEX)                                                                                  \
    INLINE void NAME(const INDEX *index, const float *value, int64_t count,                                           \
                     const float *panel, float *out, const int vectors, const int sums)                               \
    {                                                                                                                 \
        enum { N = sizeof(VEC) / 4 };                                                                                 \
        VEC sum[8][4];                                                                                                \
        _Pragma("GCC unroll 8") for (int u = 0; u < sums; u++)                                                        \
            _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)                                                 \
                sum[u][v] = (VEC){0};                                                                                 \
        int64_t i = 0;                                                                                                \
        for (; i + sums <= count; i += sums)                                                                          \
            _Pragma("GCC unroll 8") for (int u = 0; u < sums; u++) {                                                  \
                const float *at = panel + (int64_t)index[i + u] * (vectors * N);                                      \
                _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)                                             \
                    sum[u][v] += value[i + u] * *(const VEC *)(at + v * N);                                           \
            }                                                                                                         \
        for (; i < count; i++) {                                                                                      \
            const float *at = panel + (int64_t)index[i] * (vectors * N);                                              \
            _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)                                                 \
                sum[0][v] += value[i] * *(const VEC *)(at + v * N);                                                   \
        }                                                                                                             \
        _Pragma("GCC unroll 8") for (int u = 1; u < sums; u++)                                                        \
            _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)                                                 \
                sum[0][v] += sum[u][v];                                                                               \
        _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)                                                     \
            *(VEC *)(out + v * N) = sum[0][v];                                                                        \
    }

#define SPARSE(INDEX)                                                                                                 \
    SPARSE_ROW(row_##INDEX, vec, INDEX)                                                                               \
    SPARSE_ROW(row8_##INDEX, vec8, INDEX)                                                                             \
    SPARSE_ROW(row4_##INDEX, vec4, INDEX)                                                                             \
    INLINE void column_##INDEX(const INDEX *index, const float *value, int64_t count,                                 \
                               const float *panel, float *out)                                                        \
    {                                                                                                                 \
        float sum[4] = {0, 0, 0, 0};                                                                                  \
        int64_t i = 0;                                                                                                \
        for (; i + 4 <= count; i += 4)                                                                                \
            for (int u = 0; u < 4; u++)                                                                               \
                sum[u] += value[i + u] * panel[index[i + u]];                                                         \
        for (; i < count; i++)                                                                                        \
            sum[0] += value[i] * panel[index[i]];                                                                     \
        sum[0] += sum[1] + (sum[2] + sum[3]);                                                                         \
        *out = sum[0];                                                                                                \
    }                                                                                                                 \
    static void sparse_##INDEX(const INDEX *index, const float *value, int64_t count,                                 \
                               const float *panel, int width, float *out)                                             \
    {                                                                                                                 \
        if (width == 4 * LANES)                                                                                       \
            row_##INDEX(index, value, count, panel, out, 4, 2);                                                       \
        else if (width == 2 * LANES)                                                                                  \
            row_##INDEX(index, value, count, panel, out, 2, 4);                                                       \
        else if (width == LANES)                                                                                      \
            row_##INDEX(index, value, count, panel, out, 1, 8);                                                       \
        else if (width == 8)                                                                                          \
            row8_##INDEX(index, value, count, panel, out, 1, 4);                                                      \
        else if (width == 4)                                                                                          \
            row4_##INDEX(index, value, count, panel, out, 1, 4);                                                      \
        else                                                                                                          \
            column_##INDEX(index, value, count, panel, out);                                                          \
    }
SPARSE(uint16_t)
SPARSE(uint32_t)

/* The columns of a row whose bits are set, in order; returns their number. */
static int64_t columns_of(const uint64_t *words, int64_t depth, uint32_t *columns)
{
    int64_t count = 0;
    for (int64_t base = 0; base < depth; base += 64)
        for (uint64_t word = words[base / 64]; word; word &= word - 1)
            columns[count++] = (uint32_t)base + (uint32_t)__builtin_ctzll(word);
    return count;
}

/* Rows `first` to `end` (among all groups) times a panel of `width` pixels; out points at pixel 0 of row 0. */
static void multiply(const struct op *op, int first, int end, int64_t depth, const float *panel, int width, float *out,
                     int64_t pixels, uint32_t *columns)
{
    if (op->format == DENSE)
        dense(op, first, end, depth, panel, width, out, pixels);
    for (int r = first; op->format != DENSE && r < end; r++) {
        uint32_t begin = op->rows[r];
        int64_t count = op->rows[r + 1] - begin;
        const float *value = op->weight + begin;
        float *to = out + r * pixels;
        if (op->format == BITMAP) {
            columns_of((const uint64_t *)op->index + r * ((depth + 63) / 64), depth, columns);
            sparse_uint32_t(columns, value, count, panel, width, to);
        } else if (op->wide) {
            sparse_uint32_t((const uint32_t *)op->index + begin, value, count, panel, width, to);
        } else {
            sparse_uint16_t((const uint16_t *)op->index + begin, value, count, panel, width, to);
        }
    }
    finish(op, first, end, width, out, pixels);
}

/* The pixels of a row that lie inside the image, seen from a place of the window: from `*low` up to `*high`. */
INLINE void inside(int shift, int stride, int width, int across, int *low, int *high)
{
    *low = shift < 0 ? (-shift + stride - 1) / stride : 0;
    *high = shift < width ? (width - shift + stride - 1) / stride : 0;
    *high = *high < across ? *high : across;
    *low = *low < *high ? *low : *high;
}

/* im2col of `count` output pixels from `first` on: depth x count floats. `x` points at the first channel of the group.
 * Row by row of the output, and in it place by place of the window, so that the edges are found once for all channels. */
static void pack(const struct op *op, const float *x, int channels, int first, int count, float *panel)
{
    int64_t area = (int64_t)op->height * op->width, step = (int64_t)op->kernel[0] * op->kernel[1] * count;
    int row = first / op->across, column = first % op->across;
    for (int done = 0, n; done < count; done += n, row++, column = 0) {
        n = op->across - column < count - done ? op->across - column : count - done;
        float *place = panel + done;
        for (int ky = 0; ky < op->kernel[0]; ky++)
            for (int kx = 0; kx < op->kernel[1]; kx++, place += count) {
                int down = row * op->stride[0] + ky * op->dilation[0] - op->padding[0], low = 0, high = 0;
                int stride = op->stride[1], shift = column * stride + kx * op->dilation[1] - op->padding[1];
                if (down >= 0 && down < op->height)
                    inside(shift, stride, op->width, n, &low, &high);
                const float *from = x + (int64_t)down * op->width + shift;
                float *to = place;
                for (int c = 0; c < channels; c++, from += area, to += step) {
                    for (int i = 0; i < low; i++)
                        to[i] = 0.0f;
                    if (stride == 1)
                        memcpy(to + low, from + low, (size_t)(high - low) * sizeof(float));
                    else
                        for (int i = low; i < high; i++)
                            to[i] = from[(int64_t)i * stride];
                    for (int i = high; i < n; i++)
                        to[i] = 0.0f;
                }
            }
    }
}

/* Tiles of `pixels` pixels: of the widest as many as fit, then one each of the smaller ones, then single pixels. */
static void tile_of(int number, int pixels, int *first, int *width)
{
    int full = pixels / WIDEST, left = pixels % WIDEST;
    *first = (number < full ? number : full) * WIDEST;
    *width = WIDEST;
    if (number < full)
        return;
    for (number -= full, *width = WIDEST / 2; *width >= 4; *width /= 2)
        if (left & *width) {
            if (number-- == 0)
                return;
            *first += *width;
        }
    *width = 1;
    *first += number;
}

static int tiles_of(int pixels)
{
    int left = pixels % WIDEST, count = pixels / WIDEST + (left & 3);
    for (int width = WIDEST / 2; width >= 4; width /= 2)
        count += (left & width) != 0;
    return count;
}

static int own_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

/* A piece of a convolution: rows `from` to `to` of a group, for one tile of one image. */
static void conv_tile(const struct op *op, int image, int group, int tile, int from, int to, float *panel, int packed)
{
    int channels = op->ins / op->groups, rows = op->outs / op->groups, first, width;
    int64_t pixels = (int64_t)op->high * op->across, area = (int64_t)op->height * op->width;
    int64_t depth = (int64_t)channels * op->kernel[0] * op->kernel[1];
    tile_of(tile, (int)pixels, &first, &width);
    if (!packed)
        pack(op, op->x + ((int64_t)image * op->ins + group * channels) * area, channels, first, width, panel);
    if (from < to)
        multiply(op, group * rows + from, group * rows + to, depth, panel, width,
                 op->out + (int64_t)image * op->outs * pixels + first, pixels,
                 (uint32_t *)op->panel + (own_thread() + 1) * op->panel_floats - depth);
}

/* Threads share the tiles; where these are too few, they share the rows of each tile. */
static void conv(const struct op *op, int threads)
{
    int tiles = tiles_of(op->high * op->across), rows = op->outs / op->groups;
    int pieces = op->batch * op->groups * tiles;
    if (threads == 1 || pieces >= threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int i = 0; i < pieces; i++)
            conv_tile(op, i / (op->groups * tiles), i / tiles % op->groups, i % tiles, 0, rows,
                      op->panel + own_thread() * op->panel_floats, 0);
        return;
    }
    int share = (rows + threads - 1) / threads;
    share = (share + ROWS - 1) / ROWS * ROWS;
    for (int i = 0; i < pieces; i++) {
        int image = i / (op->groups * tiles), group = i / tiles % op->groups, tile = i % tiles;
        conv_tile(op, image, group, tile, 0, 0, op->panel, 0);
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int t = 0; t < threads; t++) {
            int from = t * share < rows ? t * share : rows, to = from + share < rows ? from + share : rows;
            conv_tile(op, image, group, tile, from, to, op->panel, 1);
        }
    }
}

/* Each filter on its own channel: one place of the window after the other, over all rows of the image. */
static void depthwise(const struct op *op, int threads)
{
    int planes = op->batch * op->ins, window = op->kernel[0] * op->kernel[1], stride = op->stride[1];
    int64_t pixels = (int64_t)op->high * op->across;
    int rows[op->kernel[0]][2], columns[op->kernel[1]][2];  /* of the output, for which each place is in the image */
    for (int k = 0; k < op->kernel[0]; k++)
        inside(k * op->dilation[0] - op->padding[0], op->stride[0], op->height, op->high, &rows[k][0], &rows[k][1]);
    for (int k = 0; k < op->kernel[1]; k++)
        inside(k * op->dilation[1] - op->padding[1], stride, op->width, op->across, &columns[k][0], &columns[k][1]);
#pragma omp parallel for num_threads(threads) schedule(static) if (planes * pixels * window > SMALL)
    for (int p = 0; p < planes; p++) {
        const float *x = op->x + (int64_t)p * op->height * op->width;
        const float *weight = op->weight + (int64_t)(p % op->ins) * window;
        float *out = op->out + p * pixels, bias = op->bias ? op->bias[p % op->ins] : 0.0f;
        for (int i = 0; i < pixels; i++)
            out[i] = bias;
        for (int k = 0; k < window; k++) {
            int ky = k / op->kernel[1], kx = k % op->kernel[1], low = columns[kx][0], high = columns[kx][1];
            int down = ky * op->dilation[0] - op->padding[0], right = kx * op->dilation[1] - op->padding[1];
            float factor = weight[k];
            for (int oy = rows[ky][0]; oy < rows[ky][1]; oy++) {
                const float *from = x + (int64_t)(oy * op->stride[0] + down) * op->width + right;
                float *to = out + (int64_t)oy * op->across;
                if (stride == 1)
                    for (int i = low; i < high; i++)
                        to[i] += factor * from[i];
                else if (stride == 2)
                    for (int i = low; i < high; i++)
                        to[i] += factor * from[2 * i];
                else
                    for (int i = low; i < high; i++)
                        to[i] += factor * from[(int64_t)i * stride];
            }
        }
        for (int i = 0; i < pixels; i++)
            out[i] = within(op, out[i]);
    }
}

/* The mean of each window where there are factors, else its largest value. */
static void pool(const struct op *op, int threads)
{
    int planes = op->batch * op->ins, work = planes * op->high * op->across * op->kernel[0] * op->kernel[1];
#pragma omp parallel for num_threads(threads) schedule(static) if (work > SMALL)
    for (int p = 0; p < planes; p++) {
        const float *x = op->x + (int64_t)p * op->height * op->width;
        float *out = op->out + (int64_t)p * op->high * op->across;
        for (int oy = 0; oy < op->high; oy++)
            for (int ox = 0; ox < op->across; ox++) {
                float found = op->weight ? 0.0f : -__builtin_inff();
                for (int ky = 0; ky < op->kernel[0]; ky++) {
                    int down = oy * op->stride[0] + ky * op->dilation[0] - op->padding[0];
                    if (down < 0 || down >= op->height)
                        continue;
                    for (int kx = 0; kx < op->kernel[1]; kx++) {
                        int right = ox * op->stride[1] + kx * op->dilation[1] - op->padding[1];
                        if (right < 0 || right >= op->width)
                            continue;
                        float value = x[(int64_t)down * op->width + right];
                        if (op->weight)
                            found += value;
                        else
                            found = value > found ? value : found;
                    }
                }
                int64_t place = (int64_t)oy * op->across + ox;
                out[place] = within(op, op->weight ? found * op->weight[place] : found);
            }
    }
}

static void add(const struct op *op, int threads)
{
    int64_t count = (int64_t)op->batch * op->ins * op->height * op->width;
    if (op->y) {
#pragma omp parallel for num_threads(threads) schedule(static) if (count > SMALL)
        for (int64_t i = 0; i < count; i++)
            op->out[i] = within(op, op->x[i] + op->y[i]);
    } else {
#pragma omp parallel for num_threads(threads) schedule(static) if (count > SMALL)
        for (int64_t i = 0; i < count; i++)
            op->out[i] = within(op, op->x[i]);
    }
}

/* The channels of x become those of out from `offset` on. */
static void copy(const struct op *op)
{
    int64_t area = (int64_t)op->height * op->width, part = op->ins * area;
    for (int i = 0; i < op->batch; i++)
        memcpy(op->out + ((int64_t)i * op->outs + op->offset) * area, op->x + i * part, (size_t)part * sizeof(float));
}

void hakd_run(const struct op *ops, int count, int threads)
{
    for (const struct op *op = ops; op < ops + count; op++)
        switch (op->kind) {
        case CONV: conv(op, threads); break;
        case DEPTHWISE: depthwise(op, threads); break;
        case POOL: pool(op, threads); break;
        case ADD: add(op, threads); break;
        case COPY: copy(op); break;
        }
}

int hakd_widest(void) { return WIDEST; }
int hakd_op_bytes(void) { return (int)sizeof(struct op); }
