/*
 * Kernels of the CPU that move numbers: nearly all are one strided copy (hti_copy) between a view of the input and a
 * view of the result. A copy whose two sides are contiguous along different axes runs in square tiles, so that each
 * cache line is read and written once.
 */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/loops.h"

/* Side of a tile of a transposing copy: 32 lines of 64 bytes on either side stay in the first cache. */
#define TILE 32

#define COPY_LOOPS(S, T)                                                              \
    static void copy_##S(const hti_span *span)                                        \
    {                                                                                 \
        const int64_t n = span->n, sy = span->inner[0], sx = span->inner[1];          \
        for (int64_t r = 0; r < span->rows; r++) {                                    \
            T *y = (T *)span->at[0] + r * span->outer[0];                             \
            const T *x = (const T *)span->at[1] + r * span->outer[1];                 \
            const T first = *x;                                                       \
            if (sy == 1 && sx == 1) HTI_EACH(y[i] = x[i]);                                \
            else if (sy == 1 && sx == 0) HTI_EACH(y[i] = first);                          \
            else HTI_EACH(y[i * sy] = x[i * sx]);                                         \
        }                                                                             \
    }
COPY_LOOPS(f32, float)
COPY_LOOPS(f64, double)
COPY_LOOPS(i32, int32_t)

typedef struct tile_context {
    hti_loop loop;   /* the last two axes are tiled */
    hti_span_function copy;
    char *to, *from;
    int64_t bytes, across; /* bytes of an element; tiles along the last axis */
    int64_t tiles;         /* per matrix */
} tile_context;

/* Eight lines of eight numbers, each step interleaving what lies 1, 2 and 4 lines apart. */
#define SQUARE 8
typedef int32_t lanes __attribute__((vector_size(SQUARE * sizeof(int32_t))));

static inline void copy_square(int32_t *y, int64_t y_stride, const int32_t *x, int64_t x_stride)
{
    lanes a[SQUARE], b[SQUARE];
    for (int32_t i = 0; i < SQUARE; i++) memcpy(&a[i], x + i * x_stride, sizeof a[i]);
    for (int32_t i = 0; i < 8; i += 2) {
        b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int32_t i = 0; i < 8; i += i % 4 == 1 ? 3 : 1) {
        a[i] = __builtin_shufflevector(b[i], b[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        a[i + 2] = __builtin_shufflevector(b[i], b[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int32_t i = 0; i < 4; i++) {
        b[i] = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        b[i + 4] = __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
    for (int32_t i = 0; i < SQUARE; i++) memcpy(y + i * y_stride, &b[i], sizeof b[i]);
}

/* A tile of four-byte numbers: whole squares in registers, and what is left over number by number. */
static void copy_squares(const hti_span *tile, hti_span_function copy)
{
    const int64_t rows = tile->rows / SQUARE * SQUARE, n = tile->n / SQUARE * SQUARE;
    int32_t *y = tile->at[0];
    const int32_t *x = tile->at[1];
    const int64_t y_stride = tile->outer[0], x_stride = tile->inner[1];
    for (int64_t k = 0; k < n; k += SQUARE)
        for (int64_t r = 0; r < rows; r += SQUARE) copy_square(y + r * y_stride + k, y_stride, x + k * x_stride + r, x_stride);
    hti_span rest = *tile;
    if (n < tile->n) {
        rest.at[0] = y + n;
        rest.at[1] = (int32_t *)(uintptr_t)(x + n * x_stride);
        rest.n = tile->n - n;
        copy(&rest);
    }
    if (rows < tile->rows && n > 0) {
        rest.at[0] = y + rows * y_stride;
        rest.at[1] = (int32_t *)(uintptr_t)(x + rows);
        rest.rows = tile->rows - rows;
        rest.n = n;
        copy(&rest);
    }
}

static void copy_tiles(void *context, int64_t begin, int64_t end)
{
    const tile_context *c = context;
    const hti_loop *loop = &c->loop;
    const int32_t column = loop->rank - 1, row = loop->rank - 2;
    for (int64_t t = begin; t < end; t++) {
        const int64_t tile = t % c->tiles;
        const int64_t r = tile / c->across * TILE, k = tile % c->across * TILE;
        int64_t to = hti_offset(t / c->tiles, row, loop->dim, loop->stride[0]);
        int64_t from = hti_offset(t / c->tiles, row, loop->dim, loop->stride[1]);
        to += r * loop->stride[0][row] + k * loop->stride[0][column];
        from += r * loop->stride[1][row] + k * loop->stride[1][column];
        hti_span span = {.at = {c->to + to * c->bytes, c->from + from * c->bytes}};
        span.rows = loop->dim[row] - r < TILE ? loop->dim[row] - r : TILE;
        span.n = loop->dim[column] - k < TILE ? loop->dim[column] - k : TILE;
        for (int32_t i = 0; i < 2; i++) {
            span.outer[i] = loop->stride[i][row];
            span.inner[i] = loop->stride[i][column];
        }
        if (c->bytes == 4 && span.inner[0] == 1 && span.outer[1] == 1) copy_squares(&span, c->copy);
        else c->copy(&span);
    }
}

/* The axis along which `from` is contiguous, if it is not the result's innermost; else -1. */
static int32_t transposed_axis(const hti_loop *loop)
{
    const int32_t inner = loop->rank - 1;
    if (loop->rank < 2 || loop->stride[1][inner] == 1 || loop->stride[1][inner] == 0) return -1;
    for (int32_t k = 0; k < inner; k++)
        if (loop->stride[1][k] == 1) return k;
    return -1;
}

static void copy_transposed(tile_context *c, int32_t axis, int32_t threads)
{
    hti_loop *loop = &c->loop;
    const int32_t row = loop->rank - 2;
    int64_t *lists[] = {loop->dim, loop->stride[0], loop->stride[1]};
    for (int32_t i = 0; i < 3; i++) {
        const int64_t kept = lists[i][row];
        lists[i][row] = lists[i][axis];
        lists[i][axis] = kept;
    }
    c->across = (loop->dim[row + 1] + TILE - 1) / TILE;
    c->tiles = (loop->dim[row] + TILE - 1) / TILE * c->across;
    const int64_t matrices = loop->count / (loop->dim[row] * loop->dim[row + 1]);
    hti_parallel_for(threads, matrices * c->tiles, HTI_GRAIN / (TILE * TILE), copy_tiles, c);
}

/* ---- rows ---- */

/* Longer rows are for vector loops over all of them. */
#define ROW_BYTES 4096
/* So far ahead memory is asked for: processors do not see through rows with gaps. */
#define AHEAD 4096

static inline void copy_row(char *to, const char *from, int64_t bytes)
{
    for (int64_t k = 0; k < bytes; k += HTI_LINE) __builtin_prefetch(from + AHEAD + k);
    memcpy(to, from, (size_t)bytes);
}

static void copy_row_past_cache(char *to, const char *from, int64_t bytes)
{
    for (int64_t k = 0; k < bytes; k += HTI_LINE) __builtin_prefetch(from + AHEAD + k);
    hti_write_past_cache(to, from, (size_t)bytes);
}

void hti_copy_rows(const hti_rows *r)
{
    const int64_t planes = r->planes, rows = r->rows, to_step = r->to_step, from_step = r->from_step;
    const int64_t to_next = r->to_plane - rows * to_step, from_next = r->from_plane - rows * from_step;
    char *to = r->to;
    const char *from = r->from;
#define ROWS_BY(copy, n)                                                        \
    for (int64_t p = 0; p < planes; p++, to += to_next, from += from_next)      \
        for (int64_t i = 0; i < rows; i++, to += to_step, from += from_step)    \
            copy(to, from, n);                                                  \
    return
    if (r->past_cache && r->bytes > HTI_LINE) { ROWS_BY(copy_row_past_cache, r->bytes); }
    switch (r->bytes) {
    case 4: ROWS_BY(copy_row, 4);
    case 8: ROWS_BY(copy_row, 8);
    case 12: ROWS_BY(copy_row, 12);
    case 16: ROWS_BY(copy_row, 16);
    case 24: ROWS_BY(copy_row, 24);
    case 32: ROWS_BY(copy_row, 32);
    case 48: ROWS_BY(copy_row, 48);
    case 64: ROWS_BY(copy_row, 64);
    default: ROWS_BY(copy_row, r->bytes);
    }
#undef ROWS_BY
}

/* Rows, numbered over all axes but the last, which is a row. */
typedef struct row_context {
    hti_loop loop;
    char *to, *from;
    int64_t bytes; /* of an element */
    bool past_cache;
} row_context;

static void copy_row_range(void *context, int64_t begin, int64_t end)
{
    const row_context *c = context;
    const hti_loop *l = &c->loop;
    const int32_t row = l->rank - 1;
    hti_rows r = {.planes = 1, .past_cache = c->past_cache, .bytes = l->dim[row] * c->bytes,
                  .to_step = l->stride[0][row - 1] * c->bytes, .from_step = l->stride[1][row - 1] * c->bytes};
    for (int64_t at = begin; at < end; at += r.rows) {
        r.to = c->to + hti_offset(at, row, l->dim, l->stride[0]) * c->bytes;
        r.from = c->from + hti_offset(at, row, l->dim, l->stride[1]) * c->bytes;
        const int64_t left = l->dim[row - 1] - at % l->dim[row - 1];
        r.rows = left < end - at ? left : end - at;
        hti_copy_rows(&r);
    }
    hti_end_writes();
}

/* The loop with rows that both sides have side by side innermost, and at least one axis of rows; false without. */
static bool has_rows(hti_loop *loop)
{
    int32_t inner = loop->rank - 1;
    if (loop->rank > 1 && loop->stride[0][inner - 1] == 1 && loop->stride[1][inner - 1] == 1)
        hti_loop_swap(loop, inner - 1, inner);
    return loop->rank > 1 && loop->stride[0][inner] == 1 && loop->stride[1][inner] == 1;
}

ht_status hti_copy(const hti_tensor *from, const hti_tensor *to, int32_t threads)
{
    if (from->dtype != to->dtype) return HT_EDTYPE;
    const hti_span_function copy = to->dtype == HT_F32 ? copy_f32 : to->dtype == HT_F64 ? copy_f64 : copy_i32;
    const hti_tensor *operand[] = {to, from};
    const hti_loop loop = hti_loop_make(operand, 2);
    if (loop.count == 0) return HT_OK;
    row_context rows = {.loop = loop, .to = to->data, .from = from->data, .bytes = (int64_t)ht_dtype_bytes(to->dtype)};
    const int64_t length = has_rows(&rows.loop) ? rows.loop.dim[rows.loop.rank - 1] : 0;
    if (length > 0 && length * rows.bytes <= ROW_BYTES) {
        rows.past_cache = loop.count * rows.bytes >= HTI_PAST_CACHE;
        hti_parallel_for(threads, loop.count / length, HTI_GRAIN / length + 1, copy_row_range, &rows);
        return HT_OK;
    }
    const int32_t axis = transposed_axis(&loop);
    if (axis < 0) {
        hti_loop_run(&loop, operand, copy, 0, 0, threads);
        return HT_OK;
    }
    tile_context c = {.loop = loop, .copy = copy, .to = to->data, .from = from->data};
    c.bytes = (int64_t)ht_dtype_bytes(to->dtype);
    copy_transposed(&c, axis, threads);
    return HT_OK;
}

/* The block of `tensor` that begins at start and has the given sizes. */
static hti_tensor block_of(const hti_tensor *tensor, const int64_t *start, const int64_t *size)
{
    hti_tensor block = *tensor;
    int64_t offset = 0;
    for (int32_t k = 0; k < tensor->shape.rank; k++) {
        offset += start[k] * tensor->stride[k];
        block.shape.dim[k] = size[k];
    }
    block.data = (char *)tensor->data + offset * (int64_t)ht_dtype_bytes(tensor->dtype);
    return block;
}

static ht_status fill_zero(const hti_tensor *to, int32_t threads)
{
    double zero = 0; /* of any type */
    const hti_tensor from = {.data = &zero, .dtype = to->dtype, .shape = to->shape};
    return hti_copy(&from, to, threads);
}

static ht_status run_permute(const hti_run *run)
{
    const hti_shape_attributes *order = run->attributes;
    hti_tensor view = run->in[0];
    for (int32_t k = 0; k < view.shape.rank; k++) {
        view.shape.dim[k] = run->in[0].shape.dim[order->shape.dim[k]];
        view.stride[k] = run->in[0].stride[order->shape.dim[k]];
    }
    return hti_copy(&view, run->out, run->threads);
}

static ht_status run_slice(const hti_run *run)
{
    const hti_block_attributes *attributes = run->attributes;
    const hti_tensor view = block_of(&run->in[0], attributes->start.dim, attributes->size.dim);
    return hti_copy(&view, run->out, run->threads);
}

/* Zeros before and behind the block along each axis; axes to the left of it are already cut to the block. */
static ht_status run_pad(const hti_run *run)
{
    const hti_block_attributes *attributes = run->attributes;
    const hti_tensor *x = &run->in[0];
    int64_t start[HT_MAX_RANK] = {0}, size[HT_MAX_RANK] = {0};
    memcpy(size, run->out->shape.dim, sizeof size);
    for (int32_t k = 0; k < x->shape.rank; k++) {
        const int64_t first = attributes->start.dim[k], behind = first + x->shape.dim[k];
        start[k] = 0;
        size[k] = first;
        hti_tensor zeros = block_of(run->out, start, size);
        ht_status status = fill_zero(&zeros, run->threads);
        start[k] = behind;
        size[k] = run->out->shape.dim[k] - behind;
        zeros = block_of(run->out, start, size);
        if (status == HT_OK) status = fill_zero(&zeros, run->threads);
        if (status != HT_OK) return status;
        start[k] = first;
        size[k] = x->shape.dim[k];
    }
    const hti_tensor block = block_of(run->out, start, size);
    return hti_copy(x, &block, run->threads);
}

static ht_status run_concat(const hti_run *run)
{
    const int64_t axis = ((const hti_axis_attributes *)run->attributes)->axis;
    int64_t start[HT_MAX_RANK] = {0};
    for (int32_t i = 0; i < run->inputs; i++) {
        const hti_tensor part = block_of(run->out, start, run->in[i].shape.dim);
        const ht_status status = run->in[i].data == part.data ? HT_OK : hti_copy(&run->in[i], &part, run->threads);
        if (status != HT_OK) return status; /* what is there already was made there */
        start[axis] += run->in[i].shape.dim[axis];
    }
    return HT_OK;
}

const hti_kernel hti_cpu_permute = {.run = run_permute, .order = HTI_ROW_ONLY, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_slice = {.run = run_slice, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_pad = {.run = run_pad, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
const hti_kernel hti_cpu_concat = {.run = run_concat, .order = HTI_FOLLOW, .views = HTI_ANY_VIEW};
