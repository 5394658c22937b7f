/*
 * Convolution of few places with many weights, f32: the deep layers of a generator, where packing the weights would take
 * as long as using them once. The taps of every place are gathered in the order of row-major weights, channel and then
 * tap, so that GEMM reads or writes the weights where they lie. A task is a chunk of channels. Chunks, blocks of rows and
 * slices of the sum over channels are fixed by the problem, products run on one thread each: bits do not depend on threads.
 */
#include "backend/cpu/conv.h"

#ifdef HT_ONEDNN

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/conv_packing.h"
#include "base/internal.h"

enum {
    FEW_PLACES = 128,        /* over all images: packing takes as long as computing */
    SOME_PLACES = 512,       /* where oneDNN's kernels of larger steps are the slower ones, whatever packing takes */
    SOME_TAPS = 16,          /* up to which its forward kernel is the faster one with that many places */
    LEAST_WEIGHTS = 1 << 16,
    MOST_TAPS = 256,
    LINE = 16,               /* channels of a chunk are a multiple of a cache line's, where there are so many */
    COLUMNS = 1024,          /* of a chunk, channels times taps, about: with its rows it stays in the second cache */
    ROWS = 256,              /* places that are multiplied at a time, at most */
    SLICES = 8               /* of the sum over channels, at most */
};

typedef struct deep_state {
    int64_t places, taps, channels, filters, image_places;
    int64_t chunk, chunks;   /* channels of a task, tasks over channels */
    int64_t rows, slices;
    size_t gathered_bytes, tile_bytes, partial_bytes;
    int32_t from[];          /* [place, tap]: the place of x that it reads, counted over all images, or -1 outside */
} deep_state;

/* ---- planning ---- */

static bool pays(const hti_conv_problem *p, int64_t places, int64_t taps)
{
    const hti_conv_frame *f = &p->frame;
    bool steps = f->step[0] > 1 || f->step[1] > 1 || f->step[2] > 1;
    bool some = steps && places <= SOME_PLACES && (p->face != HTI_CONV_FORWARD || taps > SOME_TAPS);
    return p->dtype == HT_F32 && p->usual && !p->rounded && f->groups == 1 && (places <= FEW_PLACES || some) && taps > 1 &&
           taps <= MOST_TAPS && f->filters >= LINE && f->channels >= LINE && f->filters * f->channels * taps >= LEAST_WEIGHTS;
}

/* The place of the image that tap t of place o reads along an axis, or -1. */
static int64_t reached(const hti_conv_frame *f, int32_t axis, int64_t o, int64_t t)
{
    int64_t at = o * f->step[axis] - f->pad[axis] + t * f->dilation[axis];
    return at < f->image[axis] ? at : -1;
}

/* The taps of place o of an image. */
static int32_t *fill_taps(const hti_conv_frame *f, int64_t image, const int64_t o[3], int32_t *to)
{
    for (int64_t t0 = 0; t0 < f->kernel[0]; t0++) {
        const int64_t i0 = reached(f, 0, o[0], t0);
        for (int64_t t1 = 0; t1 < f->kernel[1]; t1++) {
            const int64_t i1 = reached(f, 1, o[1], t1), row = ((image * f->image[0] + i0) * f->image[1] + i1) * f->image[2];
            for (int64_t t2 = 0; t2 < f->kernel[2]; t2++) {
                const int64_t i2 = reached(f, 2, o[2], t2);
                *to++ = i0 >= 0 && i1 >= 0 && i2 >= 0 ? (int32_t)(row + i2) : -1;
            }
        }
    }
    return to;
}

static void fill_places(deep_state *s, const hti_conv_frame *f)
{
    int32_t *to = s->from;
    int64_t o[3];
    for (int64_t image = 0; image < f->batch; image++)
        for (o[0] = 0; o[0] < f->out[0]; o[0]++)
            for (o[1] = 0; o[1] < f->out[1]; o[1]++)
                for (o[2] = 0; o[2] < f->out[2]; o[2]++) to = fill_taps(f, image, o, to);
}

static ht_status prepare_deep(const hti_conv_problem *p, void **own, hti_choice *choice)
{
    const hti_conv_frame *f = &p->frame;
    int64_t places = f->batch * f->out[0] * f->out[1] * f->out[2], taps = f->kernel[0] * f->kernel[1] * f->kernel[2];
    int64_t image_places = f->batch * f->image[0] * f->image[1] * f->image[2];
    if (!pays(p, places, taps) || image_places > INT32_MAX) return HT_EUNSUPPORTED;
    deep_state *s = calloc(1, sizeof *s + (size_t)(places * taps) * sizeof s->from[0]);
    if (!s) return HT_ENOMEM;
    *s = (deep_state){.places = places, .taps = taps, .channels = f->channels, .filters = f->filters,
                      .image_places = image_places, .rows = places < ROWS ? places : ROWS, .slices = 1};
    s->chunk = COLUMNS / taps / LINE * LINE;
    if (s->chunk < LINE) s->chunk = LINE;
    if (s->chunk > s->channels) s->chunk = s->channels;
    s->chunks = (s->channels + s->chunk - 1) / s->chunk;
    s->gathered_bytes = hti_lines((size_t)(s->rows * s->chunk * taps) * sizeof(float));
    s->tile_bytes = hti_lines((size_t)(s->chunk * taps) * sizeof(float));
    if (p->face == HTI_CONV_FORWARD) {
        s->slices = s->chunks < SLICES ? s->chunks : SLICES;
        s->partial_bytes = hti_lines((size_t)(places * s->filters) * sizeof(float));
    }
    fill_places(s, f);
    choice->scratch_bytes = s->partial_bytes * (size_t)s->slices + (s->gathered_bytes + s->tile_bytes) * (size_t)p->threads;
    choice->algorithm = "weights as they lie, sgemm";
    *own = s;
    return HT_OK;
}

/* ---- running ---- */

typedef struct deep_job {
    const deep_state *s;
    hti_conv_face face;
    float *x, *w, *y, *partials; /* whichever of the first three is the result */
    int32_t status;
} deep_job;

/* Channels [first, first + count) of the rows of a block: one task's part of them. */
typedef struct piece {
    int64_t first, count, row, rows;
} piece;

/* gathered[place][channel][tap] from channels last. */
static void gather(const deep_job *j, const piece *c, float *tile, float *gathered)
{
    const deep_state *s = j->s;
    for (int64_t p = 0; p < c->rows; p++) {
        const int32_t *from = s->from + (c->row + p) * s->taps;
        for (int64_t t = 0; t < s->taps; t++) {
            float *to = tile + t * c->count;
            if (from[t] < 0)
                memset(to, 0, (size_t)c->count * sizeof *to);
            else
                memcpy(to, j->x + from[t] * s->channels + c->first, (size_t)c->count * sizeof *to);
        }
        hti_tile_to_rows(tile, s->taps, s->taps, c->count, gathered + p * c->count * s->taps);
    }
}

/* The adjoint: adds to x, places and taps in ascending order. */
static void scatter(const deep_job *j, const piece *c, float *tile, const float *gathered)
{
    const deep_state *s = j->s;
    for (int64_t p = 0; p < c->rows; p++) {
        const int32_t *from = s->from + (c->row + p) * s->taps;
        hti_tile_from_rows(gathered + p * c->count * s->taps, c->count * s->taps, s->taps, s->taps, c->count, tile);
        for (int64_t t = 0; t < s->taps; t++) {
            if (from[t] < 0) continue;
            float *to = j->x + from[t] * s->channels + c->first;
            for (int64_t i = 0; i < c->count; i++) to[i] += tile[t * c->count + i];
        }
    }
}

static ht_status run_piece(const deep_job *j, const piece *c, float *result, bool add, float *tile, float *gathered)
{
    const deep_state *s = j->s;
    int64_t columns = c->count * s->taps, all = s->channels * s->taps;
    float *weights = j->w + c->first * s->taps, *values = j->y + c->row * s->filters;
    hti_gemm_args g;
    if (j->face != HTI_CONV_TO_INPUT) gather(j, c, tile, gathered);
    if (j->face == HTI_CONV_FORWARD)
        g = (hti_gemm_args){.m = s->filters, .n = c->rows, .k = columns, .a = weights, .row_a = all, .b = gathered,
                            .row_b = columns, .transpose_b = true, .c = result + c->row, .row_c = s->places};
    else if (j->face == HTI_CONV_TO_WEIGHT)
        g = (hti_gemm_args){.m = s->filters, .n = columns, .k = c->rows, .a = values, .row_a = s->filters,
                            .transpose_a = true, .b = gathered, .row_b = columns, .c = weights, .row_c = all};
    else
        g = (hti_gemm_args){.m = c->rows, .n = columns, .k = s->filters, .a = values, .row_a = s->filters, .b = weights,
                            .row_b = all, .c = gathered, .row_c = columns};
    g.add = add;
    ht_status status = hti_gemm(HT_F32, &g);
    if (j->face == HTI_CONV_TO_INPUT) scatter(j, c, tile, gathered);
    return status;
}

/* A chunk of channels, or, forward, all chunks of a slice of them. */
static ht_status run_task(const deep_job *j, int64_t task, float *tile, float *gathered)
{
    const deep_state *s = j->s;
    bool forward = j->face == HTI_CONV_FORWARD;
    int64_t begin = forward ? s->chunks * task / s->slices : task;
    int64_t end = forward ? s->chunks * (task + 1) / s->slices : task + 1;
    float *result = j->partials + task * (int64_t)(s->partial_bytes / sizeof(float));
    ht_status status = HT_OK;
    for (int64_t k = begin; k < end; k++) {
        piece c = {.first = k * s->chunk};
        c.count = s->channels - c.first < s->chunk ? s->channels - c.first : s->chunk;
        for (int64_t i = 0; i < s->image_places && j->face == HTI_CONV_TO_INPUT; i++)
            memset(j->x + i * s->channels + c.first, 0, (size_t)c.count * sizeof *j->x);
        for (; c.row < s->places && status == HT_OK; c.row += s->rows) {
            c.rows = s->places - c.row < s->rows ? s->places - c.row : s->rows;
            bool add = forward ? k > begin : j->face == HTI_CONV_TO_WEIGHT && c.row > 0;
            status = run_piece(j, &c, result, add, tile, gathered);
        }
    }
    return status;
}

/* Adds the slices, which are [filter][place], in order. */
static void add_slices(void *context, int64_t begin, int64_t end)
{
    const deep_job *j = context;
    const deep_state *s = j->s;
    int64_t apart = (int64_t)(s->partial_bytes / sizeof(float));
    for (int64_t o = begin; o < end; o++)
        for (int64_t p = 0; p < s->places; p++) {
            const float *part = j->partials + o * s->places + p;
            float sum = part[0];
            for (int64_t k = 1; k < s->slices; k++) sum += part[k * apart];
            j->y[p * s->filters + o] = sum;
        }
}

static ht_status run_deep(void *own, const hti_conv_problem *p, const hti_run *run)
{
    const deep_state *s = own;
    bool forward = p->face == HTI_CONV_FORWARD;
    deep_job j = {.s = s, .face = p->face, .partials = run->scratch};
    j.x = p->face == HTI_CONV_TO_INPUT ? run->out->data : run->in[0].data;
    j.w = p->face == HTI_CONV_TO_WEIGHT ? run->out->data : run->in[1].data;
    j.y = forward ? run->out->data : p->face == HTI_CONV_TO_INPUT ? run->in[0].data : run->in[1].data;
    char *scratch = (char *)run->scratch + s->partial_bytes * (size_t)s->slices;
    int64_t tasks = forward ? s->slices : s->chunks;
    int32_t team = run->threads < p->threads ? run->threads : p->threads;
    if (team > tasks) team = (int32_t)tasks;
#pragma omp parallel num_threads(team)
    {
        char *mine = scratch + (s->gathered_bytes + s->tile_bytes) * (size_t)omp_get_thread_num();
        float *gathered = (float *)(void *)mine, *tile = (float *)(void *)(mine + s->gathered_bytes);
        omp_set_num_threads(1); /* a team of one would let the library open its own */
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < tasks; t++) {
            ht_status one = run_task(&j, t, tile, gathered);
            if (one != HT_OK) {
#pragma omp atomic write
                j.status = (int32_t)one;
            }
        }
    }
    if (forward) hti_parallel_for(team, s->filters, LINE, add_slices, &j);
    return (ht_status)j.status;
}

static void release_deep(void *own) { free(own); }

const hti_conv_method hti_conv_deep = {.prepare = prepare_deep, .run = run_deep, .release = release_deep};

#else

const hti_conv_method hti_conv_deep = {0}; /* not in this build */

#endif
