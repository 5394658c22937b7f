/*
 * Weight gradients on the matrix unit, f32: sums over places of products of bf16 parts (split.h). The places of y go in steps of
 * 32, of which x lies as pairs of places, once from even and once from odd ones: a tap is then a shift by whole lines. Where
 * rows are short, each column of taps has an x of its own whose rows are as long as those of y; of very small images each
 * tap. Blocks of 32 filters and 32 channels are summed in chunks of steps that the problem fixes: bits do not depend on threads.
 */
#include "backend/cpu/conv.h"
#include "backend/cpu/loops.h"
#include "backend/cpu/split.h"

#ifdef HT_AMX

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/internal.h"

enum {
    SIDE = HTI_SPLIT_SIDE,
    LANES = HTI_SPLIT_LANES,
    LINE = HTI_SPLIT_LINE,
    STEP = HTI_SPLIT_STEP,
    PARTS = HTI_SPLIT_PARTS,
    MOST_KERNEL = 16,
    MOST_TAPS = 256,
    LEAST_PLACES = 64,          /* over all images; below it, other methods gather as fast as they compute */
    LEAST_PLACES_OF_MANY = 32,  /* where there are more taps than */
    MANY_TAPS = 16,
    LEAST_USES = 80,            /* of a number that is split, for x and y together */
    TAP = SIDE * SIDE + LANES,  /* numbers from the sums of one tap to those of the next: not to lie in one set of the cache */
    BAND_BYTES = 1 << 20,       /* of x, 32 channels of it: they stay in the second cache */
    SHARES = 8,                 /* of the places, each with sums of its own */
    UNEVEN = 8                  /* tasks of a thread, from which on it does not matter that some have one more */
};

/* How the taps along one axis reach x: tap t reads place (o + offset) step + shift - pad for place o of y. */
typedef struct reach {
    int64_t extent;           /* places of a shifted x that are read */
    int64_t shifts;
    int64_t shift[MOST_KERNEL], of[MOST_KERNEL], offset[MOST_KERNEL]; /* shift of[t] and offset of tap t */
} reach;

/* x shifted; its taps lie one after the other. */
typedef struct plane {
    int64_t row, column;      /* the shift */
    int64_t at;               /* bytes, in the x of 32 channels */
    bool pairs[2];            /* read from even places, and from odd ones */
    int64_t taps;
} plane;

typedef struct tap {
    int64_t tap, at;          /* the number of the tap in w; bytes in the plane */
} tap;

typedef struct weight_state {
    hti_conv_frame frame;
    int64_t taps, channel_blocks, filter_blocks;
    int64_t own_rows, own_columns; /* whether taps have planes of their own, by row and column of the kernel */
    int64_t images, rows, bands_of_image, bands; /* images and rows of y in a band */
    int64_t image_steps;      /* of the bands that hold an image, or of the one that holds several */
    reach row, column;
    int64_t image;            /* places of x for one image of the band */
    int64_t lines;            /* of pairs, in 16 channels of one part of a plane */
    int64_t blocks, steps;    /* of a run of places, of a band */
    bool together;            /* all planes at once */
    int64_t planes;
    plane plane[MOST_TAPS];
    tap tap[MOST_TAPS];
    int64_t shares;           /* 0: y is split for all */
    int64_t groups;           /* of blocks of filters, else */
    int64_t kept;             /* blocks whose sums a task or a share keeps */
    size_t x_bytes, y_bytes, sum_bytes, stage_bytes, thread_bytes;
    int64_t step[];           /* where the steps of a band lie in a plane, in bytes */
} weight_state;

/* ---- planning ---- */

static bool fits(const hti_conv_problem *p)
{
    const hti_conv_frame *f = &p->frame;
    if (p->face != HTI_CONV_TO_WEIGHT || p->dtype != HT_F32 || !p->usual || p->direct || p->rounded || p->axes > 2) return false;
    return f->groups == 1 && f->kernel[1] <= MOST_KERNEL && f->kernel[2] <= MOST_KERNEL;
}

/* As measured against the other methods: splitting must be worth it, and blocks of 32 mostly full. */
static bool pays(const weight_state *s)
{
    const hti_conv_frame *f = &s->frame;
    const int64_t places = f->batch * f->out[1] * f->out[2], blocks = s->steps * s->channel_blocks * s->filter_blocks;
    const double used = (double)places * (double)f->channels * (double)f->filters / ((double)blocks * SIDE * SIDE * SIDE);
    const double of_x = (double)(f->filters * s->taps) / (double)(f->step[1] * f->step[2]);
    const double of_y = (double)(f->channels * s->taps), uses = of_x * of_y / (of_x + of_y);
    return s->taps > 1 && places >= (s->taps > MANY_TAPS ? LEAST_PLACES_OF_MANY : LEAST_PLACES) && used >= 0.625 &&
           uses >= LEAST_USES;
}

static void find_reach(const hti_conv_frame *f, int32_t axis, bool own, int64_t out, reach *r)
{
    int64_t most = 0;
    r->shifts = 0;
    for (int64_t t = 0; t < f->kernel[axis]; t++) {
        const int64_t at = t * f->dilation[axis], shift = own ? at : at % f->step[axis];
        r->offset[t] = own ? 0 : at / f->step[axis];
        if (r->offset[t] > most) most = r->offset[t];
        int64_t k = 0;
        while (k < r->shifts && r->shift[k] != shift) k++;
        if (k == r->shifts) r->shift[r->shifts++] = shift;
        r->of[t] = k;
    }
    r->extent = out + most;
}

/* Places of y that lie one after the other in x as well, in a band of so many images and rows; and how often. */
static int64_t run_of(const weight_state *s, int64_t images, int64_t rows)
{
    const int64_t width = s->frame.out[2];
    return !s->own_columns ? width : !s->own_rows ? rows * width : images * rows * width;
}

static int64_t runs_of(const weight_state *s, int64_t images, int64_t rows)
{
    return !s->own_columns ? images * rows : !s->own_rows ? images : 1;
}

static int64_t steps_of(const weight_state *s, int64_t images, int64_t rows)
{
    return runs_of(s, images, rows) * ((run_of(s, images, rows) + SIDE - 1) / SIDE);
}

/* Where run r of the band begins in a plane, in places. */
static int64_t run_begin(const weight_state *s, int64_t r)
{
    if (s->own_columns) return r * s->image;
    return r / s->rows * s->image + r % s->rows * s->column.extent;
}

/* Planes and taps, given the lengths of a band. */
static void place_taps(weight_state *s)
{
    const int64_t kernel_rows = s->frame.kernel[1], kernel_columns = s->frame.kernel[2];
    const int64_t part = 2 * s->lines * LINE, region = PARTS * part;
    int64_t at = 0, next = 0;
    s->planes = 0;
    s->x_bytes = 0;
    for (int64_t i = 0; i < s->row.shifts; i++)
        for (int64_t k = 0; k < s->column.shifts; k++) {
            plane *l = &s->plane[s->planes++];
            *l = (plane){s->row.shift[i], s->column.shift[k], s->together ? at : 0, {false, false}, 0};
            for (int64_t t = 0; t < kernel_rows * kernel_columns; t++) {
                const int64_t row = t / kernel_columns, column = t % kernel_columns;
                if (s->row.of[row] != i || s->column.of[column] != k) continue;
                const int64_t offset = s->row.offset[row] * s->column.extent + s->column.offset[column];
                s->tap[next++] = (tap){t, offset % 2 * region + offset / 2 * LINE};
                l->pairs[offset % 2] = true;
                l->taps++;
            }
            const int64_t end = l->at + (l->pairs[1] ? 2 : 1) * region; /* odd pairs alone are behind nothing */
            at = end;
            if ((size_t)end > s->x_bytes) s->x_bytes = (size_t)end;
        }
}

/* Lays out a band of so many images and rows. */
static void lay_out(weight_state *s, int64_t images, int64_t rows)
{
    s->images = images;
    s->rows = rows;
    find_reach(&s->frame, 1, s->own_rows, rows, &s->row);
    find_reach(&s->frame, 2, s->own_columns, s->frame.out[2], &s->column);
    if (!s->own_columns) s->column.extent += s->column.extent % 2; /* runs begin at even places */
    s->image = s->row.extent * s->column.extent;
    if (!s->own_rows) s->image += s->image % 2;
    s->blocks = (run_of(s, images, rows) + SIDE - 1) / SIDE;
    s->steps = steps_of(s, images, rows);
    const int64_t last = run_begin(s, runs_of(s, images, rows) - 1) + (s->blocks - 1) * SIDE;
    int64_t most = 0;
    for (int64_t i = 0; i < s->frame.kernel[1]; i++)
        for (int64_t k = 0; k < s->frame.kernel[2]; k++) {
            const int64_t offset = s->row.offset[i] * s->column.extent + s->column.offset[k];
            if (offset > most) most = offset;
        }
    s->lines = (last + most + SIDE) / 2;
    s->lines = (s->lines + LANES - 1) / LANES * LANES;
    place_taps(s);
}

/* Cycles, about: of the products, and of splitting x once. */
static int64_t cost(const weight_state *s)
{
    const int64_t products = s->steps * s->taps * s->filter_blocks * 400;
    return products + (int64_t)s->x_bytes / LINE / PARTS * 25;
}

/* Whether rows of y are run through one by one, or all rows of an image, or all images. */
static void choose_planes(weight_state *s)
{
    int64_t least = INT64_MAX, best = 0;
    s->together = true;
    for (int64_t own = 0; own < 3; own++) {
        s->own_columns = own > 0;
        s->own_rows = own > 1;
        lay_out(s, s->frame.batch, s->frame.out[1]);
        if (cost(s) >= least) continue;
        least = cost(s);
        best = own;
    }
    s->own_columns = best > 0;
    s->own_rows = best > 1;
    lay_out(s, s->frame.batch, s->frame.out[1]);
}

/* What a band keeps in the second cache. */
static int64_t band_bytes(const weight_state *s)
{
    return (int64_t)s->x_bytes + (s->shares ? s->steps * s->filter_blocks * STEP : 0);
}

/* Bands of whole images, or of rows of one. */
static void cut_bands(weight_state *s)
{
    const int64_t rows = s->frame.out[1];
    int64_t images = s->frame.batch, parts = 1;
    s->together = !s->shares;
    lay_out(s, images, rows);
    const bool few = !s->shares && !s->own_rows && s->taps <= 2 * s->planes; /* y would come from memory for each plane */
    if (band_bytes(s) > (few ? 1 : 2) * BAND_BYTES) {
        s->together = few;
        lay_out(s, images, rows);
        while (band_bytes(s) > BAND_BYTES && images > 1) lay_out(s, images = (images + 1) / 2, rows);
        const int64_t least = s->shares ? 2 * SHARES * images / s->frame.batch : 1;
        while ((band_bytes(s) > BAND_BYTES || parts < least) && !s->own_rows && parts < rows) {
            parts++;
            lay_out(s, 1, (rows + parts - 1) / parts);
        }
    }
    s->bands_of_image = (rows + s->rows - 1) / s->rows;
    s->bands = (s->frame.batch + s->images - 1) / s->images * s->bands_of_image;
    s->image_steps = (s->bands_of_image - 1) * s->steps + steps_of(s, s->images, rows - (s->bands_of_image - 1) * s->rows);
}

/* Filters of a task: x is split again for each group of them, so that there are few. */
static void cut_groups(weight_state *s, int32_t threads)
{
    for (s->groups = 1; s->groups < s->filter_blocks; s->groups++) {
        const int64_t tasks = s->channel_blocks * s->groups;
        if (tasks % threads == 0 || tasks >= UNEVEN * threads) break;
    }
}

static ht_status prepare_weight(const hti_conv_problem *p, void **own, hti_choice *choice)
{
    if (!fits(p) || !hti_split_runs()) return HT_EUNSUPPORTED;
    const hti_conv_frame *f = &p->frame;
    const int64_t most_steps = f->batch * f->out[1] * ((f->out[2] + SIDE - 1) / SIDE);
    weight_state *s = calloc(1, sizeof *s + (size_t)most_steps * sizeof s->step[0]);
    if (!s) return HT_ENOMEM;
    s->frame = *f;
    s->taps = f->kernel[1] * f->kernel[2];
    s->channel_blocks = (f->channels + SIDE - 1) / SIDE;
    s->filter_blocks = (f->filters + SIDE - 1) / SIDE;
    choose_planes(s);
    if (!pays(s)) {
        free(s);
        return HT_EUNSUPPORTED;
    }
    s->sum_bytes = (size_t)(s->taps * TAP) * sizeof(float);
    const int64_t units = s->channel_blocks * s->filter_blocks;
    if ((size_t)(SHARES * units) * s->sum_bytes <= (size_t)(s->steps * s->filter_blocks * STEP)) s->shares = SHARES;
    cut_bands(s);
    if (s->bands < 2 * SHARES && s->shares) {
        s->shares = 0;
        cut_bands(s);
    }
    if (!s->shares) cut_groups(s, p->threads);
    s->kept = s->shares ? units : s->together && s->bands == 1 ? 1 : (s->filter_blocks + s->groups - 1) / s->groups;
    s->y_bytes = (size_t)((s->shares ? s->steps : s->bands / s->bands_of_image * s->image_steps) * s->filter_blocks * STEP);
    s->stage_bytes = hti_lines((size_t)(SIDE * s->taps) * sizeof(float));
    s->thread_bytes = s->x_bytes + s->stage_bytes + (s->shares ? s->y_bytes : s->sum_bytes * (size_t)s->kept);
    for (int64_t k = 0; k < s->steps; k++)
        s->step[k] = (run_begin(s, k / s->blocks) + k % s->blocks * SIDE) / 2 * LINE;
    choice->scratch_bytes = s->thread_bytes * (size_t)p->threads +
                            (s->shares ? s->sum_bytes * (size_t)(s->kept * s->shares) : s->y_bytes);
    choice->algorithm = "split amx, to weights";
    *own = s;
    return HT_OK;
}

/* ---- running ---- */

typedef struct weight_job {
    const weight_state *s;
    const float *x, *y;
    float *w;
    char *shared;             /* the steps of y, or the sums of the shares */
    bool past_cache;
} weight_job;

/* One band: which images and rows of y. */
typedef struct band {
    int64_t image, images, row, rows, steps;
    int64_t first;            /* step, counted over all bands */
} band;

static band band_of(const weight_state *s, int64_t b)
{
    band d = {.image = b / s->bands_of_image * s->images, .row = b % s->bands_of_image * s->rows};
    d.images = s->frame.batch - d.image < s->images ? s->frame.batch - d.image : s->images;
    d.rows = s->frame.out[1] - d.row < s->rows ? s->frame.out[1] - d.row : s->rows;
    d.steps = steps_of(s, d.images, d.rows);
    d.first = b / s->bands_of_image * s->image_steps + b % s->bands_of_image * s->steps;
    return d;
}

/* Step k of the band for all filters; the steps of 32 filters lie one after the other, those of the next `apart` bytes on. */
static void split_y(const weight_job *j, const band *d, int64_t k, char *to, int64_t apart)
{
    const weight_state *s = j->s;
    const hti_conv_frame *f = &s->frame;
    const int64_t run = run_of(s, d->images, d->rows), blocks = (run + SIDE - 1) / SIDE;
    const int64_t in_run = k % blocks * SIDE, rows = run - in_run < SIDE ? run - in_run : SIDE;
    const int64_t place = (d->image * f->out[1] + d->row) * f->out[2] + k / blocks * run + in_run;
    for (int64_t o = 0; o < s->filter_blocks * SIDE; o += LANES) {
        const int64_t there = o < f->filters ? o : 0;
        hti_split_turned(j->y + place * f->filters + there, f->filters, rows, f->filters - o,
                         to + o / SIDE * apart + o % SIDE / LANES * (STEP / 6), STEP / 3);
    }
}

/* Goes through the places of a plane of x. */
typedef struct walk {
    const float *row;         /* of x, or NULL */
    int64_t image, i, k;      /* in the plane */
    int64_t left;             /* places of the image that remain */
} walk;

static void find_row(const weight_job *j, const band *d, const plane *l, walk *at)
{
    const weight_state *s = j->s;
    const hti_conv_frame *f = &s->frame;
    const int64_t row = (d->row + at->i) * f->step[1] + l->row - f->pad[1];
    const bool there = at->image < d->images && at->i < s->row.extent && row >= 0 && row < f->image[1];
    at->row = there ? j->x + ((d->image + at->image) * f->image[1] + row) * f->image[2] * f->channels : NULL;
}

/* So many places; NULL where there is none. */
static void next_places(const weight_job *j, const band *d, const plane *l, walk *at, const float **to, int64_t count)
{
    const weight_state *s = j->s;
    const hti_conv_frame *f = &s->frame;
    for (int64_t n = 0; n < count; n++) {
        const int64_t column = at->k * f->step[2] + l->column - f->pad[2];
        to[n] = at->row && column >= 0 && column < f->image[2] ? at->row + column * f->channels : NULL;
        at->k++;
        if (--at->left == 0) {
            *at = (walk){.image = at->image + 1, .left = s->image};
            find_row(j, d, l, at);
        } else if (at->k == s->column.extent) {
            at->k = 0;
            at->i++;
            find_row(j, d, l, at);
        }
    }
}

/* 32 channels of a plane. */
static void split_x(const weight_job *j, const band *d, int64_t block, const plane *l, char *x)
{
    const weight_state *s = j->s;
    const int64_t half = s->lines * LINE, part = 2 * half, channels = s->frame.channels;
    const float *place[2][2 * LANES + 1];
    walk at = {.left = s->image};
    find_row(j, d, l, &at);
    next_places(j, d, l, &at, place[0], 2 * LANES + 1);
    for (int64_t line = 0; line < s->lines; line += LANES) {
        const float **now = place[line / LANES % 2], **next = place[1 - line / LANES % 2];
        next[0] = now[2 * LANES];
        next_places(j, d, l, &at, next + 1, 2 * LANES);
        for (int64_t n = 1; n <= 2 * LANES; n++) {
            if (!next[n]) continue;
            __builtin_prefetch(next[n] + block * SIDE);
            __builtin_prefetch(next[n] + block * SIDE + (block * SIDE + LANES < channels ? LANES : 0));
        }
        for (int64_t c = 0; c < 2; c++) {
            char *to = x + l->at + c * half + line * LINE;
            char *const both[2] = {l->pairs[0] ? to : NULL, l->pairs[1] ? to + PARTS * part : NULL};
            hti_split_both_pairs(now, block * SIDE + c * LANES, channels - block * SIDE - c * LANES, both, part);
        }
    }
}

static void add_sum(float *to, const float *from)
{
    for (int64_t i = 0; i < SIDE * SIDE; i++) to[i] += from[i];
}

/* What will be read soon, in two pieces; so many lines of it are asked for in each step. */
typedef struct soon {
    const char *at[2], *end[2];
    int64_t lines;
} soon;

/* Planes of x with the steps of y of a band. */
typedef struct products {
    const plane *plane, *end;
    const tap *tap;           /* the first of them */
    int64_t taps, steps;
    const char *x, *y;
    bool begin;               /* sums begin here */
    soon soon;
} products;

static void ask_ahead(soon *p, hti_split_pairs *block)
{
    const bool k = p->at[0] >= p->end[0];
    if (p->at[k] >= p->end[k]) return;
    block->ahead = p->at[k];
    block->each = p->lines;
    p->at[k] += p->lines * block->steps * LINE;
}

/* Adds to the sums of the taps. What is added lies there for a while, so that the matrix unit need not wait for it. */
static void add_products(const weight_state *s, products *p, float *sums)
{
    const int64_t chunks = (p->steps + HTI_SPLIT_STEPS - 1) / HTI_SPLIT_STEPS, half = s->lines * LINE;
    _Alignas(64) float sum[2][SIDE * SIDE];
    float *last = NULL;
    int64_t turn = 0;
    for (int64_t k = 0; k < chunks; k++) {
        const int64_t step = p->steps * k / chunks, end = p->steps * (k + 1) / chunks;
        const tap *t = p->tap;
        for (const plane *l = p->plane; l < p->end; l++)
            for (const tap *after = t + l->taps; t < after; t++) {
                const char *b = p->x + l->at + t->at;
                hti_split_pairs block = {.a = p->y + step * STEP, .b = {b, b + half}, .part = 2 * half,
                                         .step = s->step + step, .steps = end - step};
                ask_ahead(&p->soon, &block);
                float *to = sums + t->tap * TAP;
                const bool fresh = p->begin && k == 0;
                hti_split_multiply_pairs(&block, fresh ? to : sum[turn]);
                if (last) add_sum(last, sum[1 - turn]);
                last = fresh ? NULL : to;
                turn = fresh ? turn : 1 - turn;
            }
    }
    if (last) add_sum(last, sum[1 - turn]);
}

/* Sums [tap][tile of filters][tile of channels][16][16] of a block become numbers of w, a filter at a time. */
static void write_weights(const weight_job *j, int64_t channels, int64_t filters, const float *sums, float *stage)
{
    const weight_state *s = j->s;
    const hti_conv_frame *f = &s->frame;
    const int64_t taps = s->taps, c = channels * SIDE, o = filters * SIDE;
    const int64_t there = f->channels - c < SIDE ? f->channels - c : SIDE;
    for (int64_t k = 0; k < SIDE && o + k < f->filters; k++) {
        for (int64_t tile = 0; tile < 2; tile++)
            for (int64_t t = 0; t < taps; t += LANES)
                hti_split_turn(sums + t * TAP + (k / LANES * 2 + tile) * 256 + k % LANES * LANES,
                               LANES, TAP, taps - t, LANES, stage + tile * LANES * taps + t, taps);
        float *to = j->w + ((o + k) * f->channels + c) * taps;
        const size_t bytes = (size_t)(there * taps) * sizeof *to;
        if (j->past_cache) hti_write_past_cache((char *)to, (const char *)stage, bytes);
        else memcpy(to, stage, bytes);
    }
}

static products products_of(const weight_state *s, const band *d, int64_t first, int64_t count, const char *x, bool begin)
{
    products p = {.plane = s->plane + first, .end = s->plane + first + count, .tap = s->tap, .steps = d->steps, .x = x,
                  .begin = begin};
    for (const plane *l = s->plane; l < p.plane; l++) p.tap += l->taps;
    for (const plane *l = p.plane; l < p.end; l++) p.taps += l->taps;
    return p;
}

/* A block of channels with a group of blocks of filters. */
static void run_task(const weight_job *j, int64_t task, char *own)
{
    const weight_state *s = j->s;
    const int64_t channels = task / s->groups, group = task % s->groups, sum = (int64_t)(s->sum_bytes / sizeof(float));
    const int64_t from = s->filter_blocks * group / s->groups, to = s->filter_blocks * (group + 1) / s->groups;
    const int64_t apart = (int64_t)s->y_bytes / s->filter_blocks, count = s->together ? s->planes : 1;
    char *x = own;
    float *stage = (float *)(void *)(own + s->x_bytes), *sums = (float *)(void *)(own + s->x_bytes + s->stage_bytes);
    for (int64_t b = 0; b < s->bands; b++) {
        const band d = band_of(s, b);
        for (int64_t l = 0; l < s->planes; l += count) {
            for (int64_t i = l; i < l + count; i++) split_x(j, &d, channels, &s->plane[i], x);
            products p = products_of(s, &d, l, count, x, b == 0);
            const int64_t chunk = d.steps < HTI_SPLIT_STEPS ? d.steps : HTI_SPLIT_STEPS;
            for (int64_t o = from; o < to; o++) {
                float *mine = sums + (s->kept > 1 ? o - from : 0) * sum;
                p.y = j->shared + o * apart + d.first * STEP;
                p.soon = (soon){{p.y, p.y + apart}, {p.y + d.steps * STEP, o + 1 < to ? p.y + apart + chunk * STEP : NULL},
                                (STEP / LINE + p.taps - 1) / p.taps};
                p.soon.at[0] += chunk * STEP;
                add_products(s, &p, mine);
                if (b + 1 == s->bands && l + count == s->planes) write_weights(j, channels, o, mine, stage);
            }
        }
    }
}

/* What band b reads of y and x, to be asked for within so many steps. */
static soon soon_of(const weight_job *j, int64_t b, int64_t steps)
{
    const hti_conv_frame *f = &j->s->frame;
    const band d = band_of(j->s, b);
    const int64_t top = d.row * f->step[1] - f->pad[1], below = (d.row + d.rows - 1) * f->step[1] + f->kernel[1] - f->pad[1];
    const int64_t first = d.image * f->image[1] + (top > 0 ? top : 0);
    const int64_t last = (d.image + d.images - 1) * f->image[1] + (below < f->image[1] ? below : f->image[1]);
    const float *y = j->y + (d.image * f->out[1] + d.row) * f->out[2] * f->filters;
    const float *y_end = y + ((d.images - 1) * f->out[1] + d.rows) * f->out[2] * f->filters;
    const float *x = j->x + first * f->image[2] * f->channels, *x_end = j->x + last * f->image[2] * f->channels;
    const int64_t lines = (y_end - y + x_end - x) / LANES;
    return (soon){{(const char *)y, (const char *)x}, {(const char *)y_end, (const char *)x_end}, (lines + steps - 1) / steps};
}

/* Some of the bands, all blocks. */
static void run_share(const weight_job *j, int64_t share, char *own)
{
    const weight_state *s = j->s;
    const int64_t sum = (int64_t)(s->sum_bytes / sizeof(float)), apart = (int64_t)s->y_bytes / s->filter_blocks;
    const int64_t begin = s->bands * share / s->shares, end = s->bands * (share + 1) / s->shares;
    const int64_t count = s->together ? s->planes : 1;
    float *sums = (float *)(void *)j->shared + share * s->kept * sum;
    char *x = own, *y = own + s->x_bytes + s->stage_bytes;
    for (int64_t b = begin; b < end; b++) {
        const band d = band_of(s, b);
        for (int64_t k = 0; k < d.steps; k++) split_y(j, &d, k, y + k * STEP, apart);
        soon next = soon_of(j, b + 1 < end ? b + 1 : b, d.steps * s->taps * s->kept);
        for (int64_t c = 0; c < s->channel_blocks; c++)
            for (int64_t l = 0; l < s->planes; l += count) {
                for (int64_t i = l; i < l + count; i++) split_x(j, &d, c, &s->plane[i], x);
                products p = products_of(s, &d, l, count, x, b == begin);
                p.soon = next;
                for (int64_t o = 0; o < s->filter_blocks; o++) {
                    p.y = y + o * apart;
                    add_products(s, &p, sums + (c * s->filter_blocks + o) * sum);
                }
                next = p.soon;
            }
    }
}

/* The shares of a block, in order. */
static void finish_block(const weight_job *j, int64_t unit, char *own)
{
    const weight_state *s = j->s;
    const int64_t count = (int64_t)(s->sum_bytes / sizeof(float));
    float *sums = (float *)(void *)j->shared + unit * count;
    for (int64_t k = 1; k < s->shares; k++) {
        const float *more = sums + k * s->kept * count;
        for (int64_t i = 0; i < count; i++) sums[i] += more[i];
    }
    write_weights(j, unit / s->filter_blocks, unit % s->filter_blocks, sums, (float *)(void *)(own + s->x_bytes));
}

static ht_status run_weight(void *own, const hti_conv_problem *p, const hti_run *run)
{
    const weight_state *s = own;
    weight_job j = {.s = s, .x = run->in[0].data, .y = run->in[1].data, .w = run->out->data, .shared = run->scratch};
    const size_t shared = s->shares ? s->sum_bytes * (size_t)(s->kept * s->shares) : s->y_bytes;
    const int64_t apart = (int64_t)s->y_bytes / s->filter_blocks;
    j.past_cache = (size_t)(s->frame.filters * s->frame.channels * s->taps) * sizeof(float) >= HTI_PAST_CACHE;
    const int32_t team = run->threads < p->threads ? run->threads : p->threads;
#pragma omp parallel num_threads(team)
    {
        char *mine = (char *)run->scratch + shared + s->thread_bytes * (size_t)omp_get_thread_num();
        hti_split_begin();
        if (s->shares) {
#pragma omp for schedule(dynamic)
            for (int64_t k = 0; k < s->shares; k++) run_share(&j, k, mine);
#pragma omp for schedule(dynamic)
            for (int64_t k = 0; k < s->kept; k++) finish_block(&j, k, mine);
        } else {
            for (int64_t b = 0; b < s->bands; b++) {
                const band d = band_of(s, b);
#pragma omp for schedule(static) nowait
                for (int64_t k = 0; k < d.steps; k++) split_y(&j, &d, k, j.shared + (d.first + k) * STEP, apart);
            }
#pragma omp barrier
#pragma omp for schedule(dynamic)
            for (int64_t t = 0; t < s->channel_blocks * s->groups; t++) run_task(&j, t, mine);
        }
        hti_split_end();
        hti_end_writes();
    }
    return HT_OK;
}

const hti_conv_method hti_conv_split_weight = {.prepare = prepare_weight, .run = run_weight, .release = free};

#else

const hti_conv_method hti_conv_split_weight = {0}; /* not in this build */

#endif
