/*
 * Convolution as matrix products: rows of taps are gathered (im2col) for a block of places and multiplied with the
 * weights. All three faces gather: the data gradient is cut into classes of places that the same taps reach, so that
 * each of its elements is written once and no zeros are multiplied. Blocks, and the slices of the weight gradient,
 * are fixed by the problem, products run on one thread each: bits do not depend on the number of threads.
 */
#include "backend/cpu/conv.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/internal.h"

enum {
    BLOCK_BYTES = 1 << 20,   /* of gathered rows: about what stays in a core's second cache */
    BLOCK_ROWS = 64,         /* at least so many, or the product is one of vectors */
    CHUNK_COLUMNS = 256,     /* of the weight gradient that one task computes, at least */
    TASKS = 8,               /* tasks that a weight gradient is cut into, at most, by slices of its places */
    PARTIAL_BYTES = 16 << 20,
    MAX_CLASSES = 4096
};

/* Along one axis: place j of a class lies at start + j spacing of the result, and its tap t reads place
 * j step + first + t apart of the source. Tap t is tap kernel_first + t kernel_apart of w. */
typedef struct class_axis {
    int64_t count, start, spacing;
    int64_t taps, first, apart, step;
    int64_t kernel_first, kernel_apart;
} class_axis;

/* Places of the result that are reached by the same taps. */
typedef struct place_class {
    class_axis axis[3];
    int64_t places, taps;
    int64_t first_tap;           /* its taps' place among the packed weights */
    int64_t block, first_block;  /* places in a block; blocks of the classes before */
    bool plain;                  /* one tap that reads places as they lie: nothing to gather */
} place_class;

typedef struct gemm_state {
    size_t bytes;                /* of one number */
    int64_t depth, width;        /* channels per group of the source and of the result */
    int64_t source_channels, result_channels;
    int64_t source[3], result[3];
    int64_t source_places, result_places;
    int64_t taps;                /* of the packed weights, over all classes */
    int64_t blocks, class_count;
    bool packed, spaced;         /* spaced: places of a class do not follow each other in the result */
    size_t rows_bytes, tile_bytes; /* what one thread needs: gathered rows, a tile of results */
    int64_t chunk, chunks; /* weight gradient: taps of a task, tasks over taps */
    int64_t slice, slices; /* blocks of a slice, slices */
    size_t partial_bytes;
    int64_t *order;              /* tap of w for each tap of the packed weights */
    place_class classes[];
} gemm_state;

/* ---- planning ---- */

static class_axis forward_axis(const hti_conv_frame *f, int32_t k)
{
    return (class_axis){.count = f->out[k], .spacing = 1, .taps = f->kernel[k], .first = -f->pad[k],
                        .apart = f->dilation[k], .step = f->step[k], .kernel_apart = 1};
}

/* The class of places start, start + step, ... of x: the taps r with (start + pad - r dilation) divisible by step,
 * from the last to the first, so that they read g in ascending order. */
static class_axis input_axis(const hti_conv_frame *f, int32_t k, int64_t start)
{
    int64_t step = f->step[k];
    class_axis a = {.count = (f->image[k] - start + step - 1) / step, .start = start, .spacing = step, .step = 1,
                    .apart = 1, .kernel_apart = -1};
    int64_t before = -1;
    for (int64_t r = f->kernel[k] - 1; r >= 0; r--) {
        int64_t reach = start + f->pad[k] - r * f->dilation[k];
        if (reach % step != 0) continue;
        if (a.taps == 0) {
            a.kernel_first = r;
            a.first = reach / step;
        } else if (a.taps == 1) {
            a.kernel_apart = r - before;
            a.apart = reach / step - a.first;
        }
        before = r;
        a.taps++;
    }
    return a;
}

/* Places in a block that gathers so many taps, and what a thread then needs. */
static void size_block(gemm_state *s, place_class *c, int64_t taps)
{
    int64_t row = taps * s->depth * (int64_t)s->bytes, fitting = row > 0 ? BLOCK_BYTES / row : c->places;
    c->block = fitting < BLOCK_ROWS ? BLOCK_ROWS : fitting;
    if (c->block > c->places) c->block = c->places;
    size_t rows = c->plain ? 0 : hti_lines((size_t)c->block * (size_t)row);
    size_t tile = s->spaced ? hti_lines((size_t)c->block * (size_t)s->width * s->bytes) : 0;
    if (rows > s->rows_bytes) s->rows_bytes = rows;
    if (tile > s->tile_bytes) s->tile_bytes = tile;
}

static void finish_class(gemm_state *s, place_class *c)
{
    c->places = c->axis[0].count * c->axis[1].count * c->axis[2].count;
    c->taps = c->axis[0].taps * c->axis[1].taps * c->axis[2].taps;
    c->plain = c->taps == 1;
    for (int32_t k = 0; k < 3; k++) {
        const class_axis *a = &c->axis[k];
        c->plain = c->plain && a->first == 0 && a->step == 1 && a->count == s->source[k];
    }
    size_block(s, c, c->taps);
    c->first_tap = s->taps;
    c->first_block = s->blocks;
    s->taps += c->taps;
    s->blocks += (c->places + c->block - 1) / c->block;
}

static void make_classes(gemm_state *s, const hti_conv_problem *p)
{
    const hti_conv_frame *f = &p->frame;
    if (p->face != HTI_CONV_TO_INPUT) {
        for (int32_t k = 0; k < 3; k++) s->classes[0].axis[k] = forward_axis(f, k);
        finish_class(s, &s->classes[0]);
        return;
    }
    int64_t phases[3];
    for (int32_t k = 0; k < 3; k++) phases[k] = f->step[k] < f->image[k] ? f->step[k] : f->image[k];
    for (int64_t i = 0; i < s->class_count; i++) {
        place_class *c = &s->classes[i];
        c->axis[0] = input_axis(f, 0, i / phases[2] / phases[1]);
        c->axis[1] = input_axis(f, 1, i / phases[2] % phases[1]);
        c->axis[2] = input_axis(f, 2, i % phases[2]);
        finish_class(s, c);
    }
}

static int64_t count_classes(const hti_conv_problem *p)
{
    int64_t count = 1;
    if (p->face != HTI_CONV_TO_INPUT) return 1;
    for (int32_t k = 0; k < 3; k++) {
        int64_t phases = p->frame.step[k] < p->frame.image[k] ? p->frame.step[k] : p->frame.image[k];
        if (!hti_multiply(count, phases, &count) || count > MAX_CLASSES) return 0;
    }
    return count;
}

/* The weight gradient is cut twice: its columns by taps, and, if that gives few tasks, its places into slices whose
 * partial sums are added in order. */
static void plan_weight(gemm_state *s, const hti_conv_frame *f)
{
    place_class *c = &s->classes[0];
    s->chunk = (CHUNK_COLUMNS + s->depth - 1) / s->depth;
    if (s->chunk > s->taps) s->chunk = s->taps;
    s->chunks = (s->taps + s->chunk - 1) / s->chunk;
    s->rows_bytes = 0;
    size_block(s, c, s->chunk);
    s->blocks = (c->places + c->block - 1) / c->block;
    int64_t total = s->blocks * f->batch;
    s->partial_bytes = hti_lines((size_t)(f->filters * s->taps * s->depth) * s->bytes);
    int64_t tasks = s->chunks * f->groups, fitting = PARTIAL_BYTES / (int64_t)s->partial_bytes;
    s->slices = (TASKS + tasks - 1) / tasks;
    if (s->slices > fitting) s->slices = fitting;
    if (s->slices > total) s->slices = total;
    if (s->slices < 1) s->slices = 1;
    s->slice = (total + s->slices - 1) / s->slices;
    s->slices = (total + s->slice - 1) / s->slice;
}

/* Lists the taps of w in the order in which the classes want them. */
static bool order_taps(gemm_state *s, const hti_conv_frame *f)
{
    s->order = calloc((size_t)s->taps + 1, sizeof *s->order);
    for (int64_t i = 0; i < s->class_count && s->order; i++) {
        const place_class *c = &s->classes[i];
        const class_axis *a = c->axis;
        for (int64_t t = 0; t < c->taps; t++) {
            int64_t t2 = t % a[2].taps, t1 = t / a[2].taps % a[1].taps, t0 = t / a[2].taps / a[1].taps;
            int64_t r0 = a[0].kernel_first + t0 * a[0].kernel_apart, r1 = a[1].kernel_first + t1 * a[1].kernel_apart;
            int64_t r2 = a[2].kernel_first + t2 * a[2].kernel_apart;
            s->order[c->first_tap + t] = (r0 * f->kernel[1] + r1) * f->kernel[2] + r2;
        }
    }
    return s->order != NULL;
}

static void release_gemm(void *own)
{
    gemm_state *s = own;
    if (s) free(s->order);
    free(s);
}

/* Equal for equal layouts: what the weights are cut into, and the order of taps. */
static uint64_t layout_key(const gemm_state *s, const hti_conv_problem *p)
{
    const hti_conv_frame *f = &p->frame;
    int64_t sizes[] = {0x6D6D6567, p->face, (int64_t)s->bytes, f->groups, s->depth, s->width,
                       f->kernel[0], f->kernel[1], f->kernel[2]};
    uint64_t h = hti_hash(HTI_HASH_START, sizes, sizeof sizes);
    return hti_hash(h, s->order, (size_t)s->taps * sizeof *s->order);
}

static ht_status prepare_gemm(const hti_conv_problem *p, void **own, hti_choice *choice)
{
    const hti_conv_frame *f = &p->frame;
    int64_t inner = f->channels / f->groups, outer = f->filters / f->groups, classes = count_classes(p);
    bool input = p->face == HTI_CONV_TO_INPUT;
    /* One channel to one channel is a product of vectors: the plain loops are as fast. */
    if (!p->usual || !hti_gemm_built(p->dtype) || classes < 1 || (inner == 1 && outer == 1)) return HT_EUNSUPPORTED;
    gemm_state *s = calloc(1, sizeof *s + (size_t)classes * sizeof s->classes[0]);
    if (!s) return HT_ENOMEM;
    s->bytes = ht_dtype_bytes(p->dtype);
    s->depth = input ? outer : inner;
    s->width = input ? inner : outer;
    s->source_channels = input ? f->filters : f->channels;
    s->result_channels = input ? f->channels : f->filters;
    s->source_places = s->result_places = 1;
    for (int32_t k = 0; k < 3; k++) {
        s->source[k] = input ? f->out[k] : f->image[k];
        s->result[k] = input ? f->image[k] : f->out[k];
        s->source_places *= s->source[k];
        s->result_places *= s->result[k];
    }
    s->class_count = classes;
    s->spaced = classes > 1 || (input && (f->step[0] > 1 || f->step[1] > 1 || f->step[2] > 1));
    make_classes(s, p);
    if (!order_taps(s, f)) {
        release_gemm(s);
        return HT_ENOMEM;
    }
    if (p->face == HTI_CONV_TO_WEIGHT) {
        plan_weight(s, f);
        choice->scratch_bytes = s->partial_bytes * (size_t)s->slices;
    } else {
        s->packed = s->taps > 0;
        choice->packed_bytes[1] = s->packed ? (size_t)(f->groups * s->taps * s->depth * s->width) * s->bytes : 0;
        choice->packed_key[1] = s->packed ? layout_key(s, p) : 0;
    }
    choice->scratch_bytes += (s->rows_bytes + s->tile_bytes) * (size_t)p->threads;
    choice->algorithm = p->dtype == HT_F64 ? "im2col dgemm" : "im2col sgemm";
    *own = s;
    return HT_OK;
}

/* ---- weights: [group, tap, depth, width], the taps in the order of the classes ---- */

typedef struct packing {
    const gemm_state *s;
    const void *from;
    void *to;
    int64_t depth_step, width_step, group_step; /* in w, in elements */
} packing;

/* One task is one channel of the source: reads runs of taps, writes one row for every tap. */
#define DEFINE_PACK(name, type)                                                                             \
    static void name(const packing *k, int64_t group, int64_t d)                                            \
    {                                                                                                       \
        const gemm_state *s = k->s;                                                                         \
        const type *from = (const type *)k->from + group * k->group_step + d * k->depth_step;               \
        type *to = (type *)k->to + (group * s->taps * s->depth + d) * s->width;                             \
        for (int64_t w = 0; w < s->width; w++)                                                              \
            for (int64_t t = 0; t < s->taps; t++)                                                           \
                to[t * s->depth * s->width + w] = from[w * k->width_step + s->order[t]];                    \
    }
DEFINE_PACK(pack_f32, float)
DEFINE_PACK(pack_f64, double)

static void pack_tasks(void *context, int64_t begin, int64_t end)
{
    const packing *k = context;
    for (int64_t i = begin; i < end; i++) {
        if (k->s->bytes == sizeof(double))
            pack_f64(k, i / k->s->depth, i % k->s->depth);
        else
            pack_f32(k, i / k->s->depth, i % k->s->depth);
    }
}

static ht_status pack_gemm(const void *own, const hti_conv_problem *p, const hti_tensor *from, void *packed,
                           int32_t threads)
{
    const gemm_state *s = own;
    const hti_conv_frame *f = &p->frame;
    int64_t taps = f->kernel[0] * f->kernel[1] * f->kernel[2], inner = f->channels / f->groups;
    bool input = p->face == HTI_CONV_TO_INPUT;
    packing k = {.s = s, .from = from->data, .to = packed,
                 .depth_step = input ? inner * taps : taps, .width_step = input ? taps : inner * taps,
                 .group_step = f->filters / f->groups * inner * taps};
    hti_parallel_for(threads, f->groups * s->depth, 1, pack_tasks, &k);
    return HT_OK;
}

/* ---- gathering ---- */

typedef struct gathering {
    const gemm_state *s;
    const place_class *c;
    const char *source;          /* first channel of the group, first place of the image */
    int64_t tap_begin, tap_end;
} gathering;

/* Taps [t, end) of the innermost axis, whose first tap reads place `base` of a line; NULL for lines outside. */
static char *gather_taps(const gathering *g, char *to, const char *line, int64_t base, int64_t t, int64_t end)
{
    const gemm_state *s = g->s;
    size_t each = (size_t)s->depth * s->bytes;
    int64_t apart = g->c->axis[2].apart, size = s->source[2], pitch = s->source_channels * (int64_t)s->bytes;
    if (!line) {
        memset(to, 0, (size_t)(end - t) * each);
        return to + (size_t)(end - t) * each;
    }
    if (apart == 1 && s->depth == s->source_channels) { /* neighbouring taps are neighbours in memory */
        int64_t low = base + t < 0 ? -(base + t) : 0, high = base + end > size ? base + end - size : 0;
        int64_t inside = end - t - low - high;
        if (inside > 0) {
            memset(to, 0, (size_t)low * each);
            memcpy(to + (size_t)low * each, line + (base + t + low) * pitch, (size_t)inside * each);
            memset(to + (size_t)(low + inside) * each, 0, (size_t)high * each);
        } else {
            memset(to, 0, (size_t)(end - t) * each);
        }
        return to + (size_t)(end - t) * each;
    }
    for (; t < end; t++, to += each) {
        int64_t at = base + t * apart;
        if (at >= 0 && at < size)
            memcpy(to, line + at * pitch, each);
        else
            memset(to, 0, each);
    }
    return to;
}

static char *gather_place(const gathering *g, char *to, int64_t place)
{
    const gemm_state *s = g->s;
    const class_axis *a = g->c->axis;
    int64_t b2 = place % a[2].count * a[2].step + a[2].first;
    int64_t b1 = place / a[2].count % a[1].count * a[1].step + a[1].first;
    int64_t b0 = place / a[2].count / a[1].count * a[0].step + a[0].first;
    int64_t pitch = s->source_channels * (int64_t)s->bytes;
    for (int64_t t0 = 0; t0 < a[0].taps; t0++) {
        int64_t i0 = b0 + t0 * a[0].apart;
        for (int64_t t1 = 0; t1 < a[1].taps; t1++) {
            int64_t before = (t0 * a[1].taps + t1) * a[2].taps, i1 = b1 + t1 * a[1].apart;
            int64_t begin = g->tap_begin > before ? g->tap_begin - before : 0;
            int64_t end = g->tap_end - before < a[2].taps ? g->tap_end - before : a[2].taps;
            if (begin >= end) continue;
            bool inside = i0 >= 0 && i0 < s->source[0] && i1 >= 0 && i1 < s->source[1];
            const char *line = inside ? g->source + (i0 * s->source[1] + i1) * s->source[2] * pitch : NULL;
            to = gather_taps(g, to, line, b2, begin, end);
        }
    }
    return to;
}

/* ---- running ---- */

typedef struct gemm_job {
    const gemm_state *s;
    const hti_conv_problem *p;
    const char *source, *other;  /* other: packed weights, or the cotangent */
    char *result, *scratch;      /* result: of the weight gradient, the partial sums */
    int32_t status;
} gemm_job;

static void note_status(gemm_job *j, ht_status status)
{
    if (status == HT_OK) return;
#pragma omp atomic write
    j->status = (int32_t)status;
}

/* Rows of a block as GEMM reads them: gathered into `rows`, or where they lie. */
static const char *block_rows(const gemm_job *j, const place_class *c, int64_t image, int64_t group, int64_t first,
                              int64_t count, int64_t tap_begin, int64_t tap_end, char *rows, int64_t *row)
{
    const gemm_state *s = j->s;
    int64_t begin = image * s->source_places * s->source_channels + group * s->depth;
    const char *source = j->source + begin * (int64_t)s->bytes;
    if (c->plain) {
        *row = s->source_channels;
        return source + first * s->source_channels * (int64_t)s->bytes;
    }
    gathering g = {s, c, source, tap_begin, tap_end};
    char *to = rows;
    for (int64_t i = 0; i < count; i++) to = gather_place(&g, to, first + i);
    *row = (tap_end - tap_begin) * s->depth;
    return rows;
}

/* Moves a tile of results to their places, or zeros if no tap reaches them. */
static void spread_tile(const gemm_job *j, const place_class *c, int64_t image, int64_t group, int64_t first,
                        int64_t count, const char *tile)
{
    const gemm_state *s = j->s;
    const class_axis *a = c->axis;
    size_t each = (size_t)s->width * s->bytes;
    for (int64_t i = 0; i < count; i++) {
        int64_t place = first + i;
        int64_t i2 = place % a[2].count * a[2].spacing + a[2].start;
        int64_t i1 = place / a[2].count % a[1].count * a[1].spacing + a[1].start;
        int64_t i0 = place / a[2].count / a[1].count * a[0].spacing + a[0].start;
        int64_t at = image * s->result_places + (i0 * s->result[1] + i1) * s->result[2] + i2;
        char *to = j->result + (at * s->result_channels + group * s->width) * (int64_t)s->bytes;
        if (tile)
            memcpy(to, tile + (size_t)i * each, each);
        else
            memset(to, 0, each);
    }
}

static void run_block(gemm_job *j, int64_t task, char *scratch)
{
    const gemm_state *s = j->s;
    int64_t block = task % s->blocks, group = task / s->blocks % j->p->frame.groups;
    int64_t image = task / s->blocks / j->p->frame.groups;
    const place_class *c = s->classes;
    for (int64_t low = 0, high = s->class_count; high - low > 1;) { /* the last class that begins at or before block */
        int64_t middle = (low + high) / 2;
        if (s->classes[middle].first_block <= block)
            low = middle;
        else
            high = middle;
        c = &s->classes[low];
    }
    int64_t first = (block - c->first_block) * c->block;
    int64_t count = c->places - first < c->block ? c->places - first : c->block;
    if (c->taps == 0) {
        spread_tile(j, c, image, group, first, count, NULL);
        return;
    }
    char *tile = hti_behind(scratch, s->rows_bytes);
    hti_gemm_args g = {.m = count, .n = s->width, .k = c->taps * s->depth, .row_b = s->width};
    g.a = block_rows(j, c, image, group, first, count, 0, c->taps, scratch, &g.row_a);
    g.b = j->other + (group * s->taps + c->first_tap) * s->depth * s->width * (int64_t)s->bytes;
    if (s->spaced) {
        g.c = tile;
        g.row_c = s->width;
    } else {
        int64_t at = (image * s->result_places + first) * s->result_channels + group * s->width;
        g.c = j->result + at * (int64_t)s->bytes;
        g.row_c = s->result_channels;
    }
    note_status(j, hti_gemm(j->p->dtype, &g));
    if (s->spaced) spread_tile(j, c, image, group, first, count, tile);
}

/* One slice of the places, one group, one chunk of taps: partial[slice][filter][tap][channel]. */
static void run_slice(gemm_job *j, int64_t task, char *scratch)
{
    const gemm_state *s = j->s;
    const hti_conv_frame *f = &j->p->frame;
    const place_class *c = s->classes;
    int64_t chunk = task % s->chunks, group = task / s->chunks % f->groups, slice = task / s->chunks / f->groups;
    int64_t tap_begin = chunk * s->chunk, tap_end = tap_begin + s->chunk < s->taps ? tap_begin + s->chunk : s->taps;
    int64_t total = s->blocks * f->batch, begin = slice * s->slice;
    int64_t end = begin + s->slice < total ? begin + s->slice : total;
    int64_t at = (group * s->width * s->taps + tap_begin) * s->depth;
    hti_gemm_args g = {.m = s->width, .n = (tap_end - tap_begin) * s->depth, .row_a = f->filters,
                       .row_c = s->taps * s->depth, .transpose_a = true};
    g.c = j->result + slice * (int64_t)s->partial_bytes + at * (int64_t)s->bytes;
    for (int64_t b = begin; b < end; b++) {
        int64_t image = b / s->blocks, first = b % s->blocks * c->block;
        g.k = c->places - first < c->block ? c->places - first : c->block;
        g.b = block_rows(j, c, image, group, first, g.k, tap_begin, tap_end, scratch, &g.row_b);
        g.a = j->other + ((image * s->result_places + first) * f->filters + group * s->width) * (int64_t)s->bytes;
        g.add = b > begin;
        note_status(j, hti_gemm(j->p->dtype, &g));
    }
}

/* Sums the slices in order and turns [filter][tap][channel] into [filter][channel][tap]. */
#define DEFINE_FINISH(name, type)                                                                           \
    static void name(const gemm_job *j, type *w, int64_t filter)                                            \
    {                                                                                                       \
        const gemm_state *s = j->s;                                                                         \
        int64_t each = s->taps * s->depth;                                                                  \
        for (int64_t c = 0; c < s->depth; c++)                                                              \
            for (int64_t t = 0; t < s->taps; t++) {                                                         \
                const char *at = j->result + (filter * each + t * s->depth + c) * (int64_t)sizeof(type);    \
                type sum = *(const type *)(const void *)at;                                                 \
                for (int64_t k = 1; k < s->slices; k++)                                                     \
                    sum += *(const type *)(const void *)(at + k * (int64_t)s->partial_bytes);               \
                w[filter * each + c * s->taps + t] = sum;                                                   \
            }                                                                                               \
    }
DEFINE_FINISH(finish_f32, float)
DEFINE_FINISH(finish_f64, double)

static ht_status run_gemm(void *own, const hti_conv_problem *p, const hti_run *run)
{
    const gemm_state *s = own;
    bool weight = p->face == HTI_CONV_TO_WEIGHT;
    gemm_job j = {.s = s, .p = p, .source = run->in[0].data, .other = run->in[1].data, .scratch = run->scratch};
    j.result = weight ? j.scratch : run->out->data;
    if (weight) j.scratch += s->partial_bytes * (size_t)s->slices;
    int64_t tasks = p->frame.groups * (weight ? s->chunks * s->slices : s->blocks * p->frame.batch);
    int32_t team = run->threads < p->threads ? run->threads : p->threads;
    if (team > tasks) team = (int32_t)tasks;
#pragma omp parallel num_threads(team)
    {
        char *mine = hti_behind(j.scratch, (s->rows_bytes + s->tile_bytes) * (size_t)omp_get_thread_num());
        omp_set_num_threads(1); /* a team of one would let the library open its own */
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < tasks; t++) {
            if (weight)
                run_slice(&j, t, mine);
            else
                run_block(&j, t, mine);
        }
        if (weight) {
#pragma omp for schedule(static)
            for (int64_t o = 0; o < p->frame.filters; o++) {
                if (p->dtype == HT_F64)
                    finish_f64(&j, run->out->data, o);
                else
                    finish_f32(&j, run->out->data, o);
            }
        }
    }
    return (ht_status)j.status;
}

const hti_conv_method hti_conv_gemm = {.prepare = prepare_gemm, .run = run_gemm, .pack = pack_gemm,
                                       .release = release_gemm};
