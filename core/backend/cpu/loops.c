/*
 * The strided loop behind every pointwise and moving kernel. The axes of all operands are merged into as few loops as
 * their strides allow; chunks are ranges of the flattened loop, cut into spans of whole rows.
 */
#include "backend/cpu/loops.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* Fewer elements than this in the innermost loop are not worth a vector loop of their own. */
#define SHORT_ROW 8

static int64_t distance(int64_t stride) { return stride < 0 ? -stride : stride; }

void hti_loop_swap(hti_loop *loop, int32_t a, int32_t b)
{
    const int64_t dim = loop->dim[a];
    loop->dim[a] = loop->dim[b];
    loop->dim[b] = dim;
    for (int32_t i = 0; i < loop->operands; i++) {
        const int64_t stride = loop->stride[i][a];
        loop->stride[i][a] = loop->stride[i][b];
        loop->stride[i][b] = stride;
    }
}

/* Insertion sort: the result's largest stride outermost. */
static void sort_axes(hti_loop *loop)
{
    for (int32_t k = 1; k < loop->rank; k++)
        for (int32_t j = k; j > 0 && distance(loop->stride[0][j - 1]) < distance(loop->stride[0][j]); j--)
            hti_loop_swap(loop, j - 1, j);
}

static bool mergeable(const hti_loop *loop, int32_t outer, int32_t inner)
{
    for (int32_t i = 0; i < loop->operands; i++)
        if (loop->stride[i][outer] != loop->stride[i][inner] * loop->dim[inner]) return false;
    return true;
}

static void merge_axes(hti_loop *loop)
{
    int32_t last = 0;
    for (int32_t k = 1; k < loop->rank; k++) {
        const bool merge = mergeable(loop, last, k);
        if (!merge) last++;
        loop->dim[last] = merge ? loop->dim[last] * loop->dim[k] : loop->dim[k];
        for (int32_t i = 0; i < loop->operands; i++) loop->stride[i][last] = loop->stride[i][k];
    }
    if (loop->rank > 0) loop->rank = last + 1;
}

hti_loop hti_loop_make(const hti_tensor *const *operand, int32_t operands)
{
    hti_loop loop = {.operands = operands, .count = 1};
    const ht_shape *shape = &operand[0]->shape;
    for (int32_t k = 0; k < shape->rank; k++) {
        loop.count *= shape->dim[k];
        if (shape->dim[k] == 1) continue;
        loop.dim[loop.rank] = shape->dim[k];
        for (int32_t i = 0; i < operands; i++) loop.stride[i][loop.rank] = operand[i]->stride[k];
        loop.rank++;
    }
    if (loop.count == 0) return loop;
    sort_axes(&loop);
    merge_axes(&loop);
    const int32_t inner = loop.rank - 1;
    if (loop.rank >= 2 && loop.dim[inner] < SHORT_ROW && loop.dim[inner - 1] > loop.dim[inner])
        hti_loop_swap(&loop, inner - 1, inner);
    if (loop.rank == 0) {
        loop.rank = 1;
        loop.dim[0] = 1;
        for (int32_t i = 0; i < operands; i++) loop.stride[i][0] = 1;
    }
    return loop;
}

typedef struct loop_context {
    const hti_loop *loop;
    hti_span_function function;
    char *base[HTI_OPERANDS];
    int64_t bytes[HTI_OPERANDS]; /* of one element */
    double p, q;
} loop_context;

/* Fills the span that starts at flat position `at` and does not pass `end`; returns how many elements it has. */
static int64_t make_span(const loop_context *c, int64_t at, int64_t end, hti_span *span)
{
    const hti_loop *loop = c->loop;
    const int32_t inner = loop->rank - 1;
    const int64_t n = loop->dim[inner], column = at % n;
    int64_t left = at / n, rows_left = 1;
    int64_t coordinate[HT_MAX_RANK] = {0};
    for (int32_t k = inner - 1; k >= 0; k--) {
        coordinate[k] = left % loop->dim[k];
        left /= loop->dim[k];
    }
    if (inner > 0) rows_left = loop->dim[inner - 1] - coordinate[inner - 1];
    const int64_t whole = (end - at) / n;
    if (column != 0 || whole == 0) {
        span->rows = 1;
        span->n = n - column < end - at ? n - column : end - at;
    } else {
        span->rows = whole < rows_left ? whole : rows_left;
        span->n = n;
    }
    for (int32_t i = 0; i < loop->operands; i++) {
        int64_t offset = column * loop->stride[i][inner];
        for (int32_t k = 0; k < inner; k++) offset += coordinate[k] * loop->stride[i][k];
        span->at[i] = c->base[i] + offset * c->bytes[i];
    }
    return span->rows * span->n;
}

static void run_chunk(void *context, int64_t begin, int64_t end)
{
    const loop_context *c = context;
    const int32_t inner = c->loop->rank - 1;
    hti_span span = {.p = c->p, .q = c->q};
    for (int32_t i = 0; i < c->loop->operands; i++) {
        span.inner[i] = c->loop->stride[i][inner];
        span.outer[i] = inner > 0 ? c->loop->stride[i][inner - 1] : 0;
    }
    while (begin < end) {
        begin += make_span(c, begin, end, &span);
        c->function(&span);
    }
}

void hti_loop_run(const hti_loop *loop, const hti_tensor *const *operand, hti_span_function function, double p,
                  double q, int32_t threads)
{
    if (loop->count == 0) return;
    loop_context c = {.loop = loop, .function = function, .p = p, .q = q};
    for (int32_t i = 0; i < loop->operands; i++) {
        c.base[i] = operand[i]->data;
        c.bytes[i] = (int64_t)ht_dtype_bytes(operand[i]->dtype);
    }
    /* Whole rows where rows are short: a chunk that ends within a row would split its vector loop. */
    const int64_t n = loop->dim[loop->rank - 1];
    const int64_t grain = n < HTI_GRAIN ? HTI_GRAIN / n * n : HTI_GRAIN;
    hti_parallel_for(threads, loop->count, grain, run_chunk, &c);
}

bool hti_is_row_major(const hti_tensor *tensor)
{
    int64_t expected = 1;
    for (int32_t k = tensor->shape.rank - 1; k >= 0; k--) {
        if (tensor->shape.dim[k] != 1 && tensor->stride[k] != expected) return false;
        expected *= tensor->shape.dim[k];
    }
    return true;
}

void hti_write_past_cache(char *to, const char *from, size_t bytes)
{
#if defined(__AVX512F__)
    if ((uintptr_t)to % HTI_LINE == 0 && bytes % HTI_LINE == 0) {
        for (size_t i = 0; i < bytes; i += 64) _mm512_stream_si512((void *)(to + i), _mm512_loadu_si512(from + i));
        return;
    }
#elif defined(__SSE2__)
    if ((uintptr_t)to % HTI_LINE == 0 && bytes % HTI_LINE == 0) {
        for (size_t i = 0; i < bytes; i += 16)
            _mm_stream_si128((__m128i *)(void *)(to + i), _mm_loadu_si128((const __m128i *)(const void *)(from + i)));
        return;
    }
#endif
    memcpy(to, from, bytes);
}

void hti_end_writes(void)
{
#if defined(__SSE2__)
    _mm_sfence();
#endif
}
