/*
 * 3x3 convolution at stride 1 by oneDNN's Winograd F(4x4, 3x3), f32: a quarter of the multiplications. It wants values
 * in blocks of 16 channels, so that bands of rows are converted on the way in and out, in scratch. A band lies between
 * rows of zeros or of its neighbours, so that all bands are alike. Bands are fixed by the problem, one thread each; small
 * images are one part for all threads. Where the algorithm does not pay, or errs much more, the next method takes over.
 */
#include "backend/cpu/conv.h"

#ifdef HT_ONEDNN

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/conv_packing.h"
#include "backend/cpu/conv_primitive.h"
#include "base/internal.h"

enum {
    BLOCK = 16,               /* channels kept together */
    RUN = 8,                  /* places that are converted at a time */
    LEAST_SIZE = 32,          /* of images; below it the direct kernels are as fast */
    LEAST_BAND_IMAGE = 64,    /* images from this size on are cut into bands: shared by threads, their bits would vary */
    BAND_ROWS = 64,
    LEAST_WEIGHT_SIZE = 128,  /* of images for a weight gradient; below it, its error is more than twice the direct one's */
    WEIGHT_BAND_ROWS = 32,
    WEIGHT_PARTS = 4,         /* of a weight gradient, about, each with a sum of its own */
    MOST_PARTS = 64,
    SCRATCH_LIMIT = 256 << 20
};

/* Rows [row, row + rows) of images [image, image + images). */
typedef struct band {
    hti_primitive primitive;
    int64_t image, images, row, rows;
} band;

typedef struct winograd_state {
    dnnl_engine_t engine;
    hti_primitive_kind kind;
    bool together;            /* one band, by all threads; else one thread for each band */
    int32_t threads, bands;
    int64_t width, source_channels, result_channels;
    size_t source_bytes, result_bytes, pad_bytes; /* of the largest band */
    hti_weight_layout layout;
    char algorithm[80];
    band band[];
} winograd_state;

/* ---- planning ---- */

static bool pays(const hti_conv_problem *p)
{
    const hti_conv_frame *f = &p->frame;
    int64_t least = p->face == HTI_CONV_TO_WEIGHT ? LEAST_WEIGHT_SIZE : LEAST_SIZE;
    bool fits = p->dtype == HT_F32 && p->usual && p->axes == 2 && f->groups == 1;
    for (int32_t k = 1; k < 3; k++)
        fits = fits && f->kernel[k] == 3 && f->step[k] == 1 && f->dilation[k] == 1 && f->pad[k] == 1 &&
               f->image[k] == f->out[k] && f->image[k] >= least;
    return fits && f->channels % BLOCK == 0 && f->filters % BLOCK == 0;
}

/* In blocks of 16 channels. */
static dnnl_status_t describe_blocks(dnnl_memory_desc_t *md, int64_t images, int64_t channels, int64_t rows, int64_t width)
{
    dnnl_dims_t dims = {images, channels, rows, width};
    return dnnl_memory_desc_init_by_tag(md, 4, dims, dnnl_f32, dnnl_aBcd16b);
}

static ht_status make_band(winograd_state *s, const hti_conv_problem *p, band *b, uint64_t *key)
{
    hti_primitive_form form = {.kind = s->kind, .algorithm = dnnl_convolution_winograd, .operands = dnnl_f32,
                               .most_scratch = SCRATCH_LIMIT, .steps = {1, 1}, .before = {0, 1}, .after = {0, 1}};
    dnnl_memory_desc_t weights;
    dnnl_status_t described = describe_blocks(&form.source, b->images, s->source_channels, b->rows + 2, s->width);
    if (described == dnnl_success)
        described = describe_blocks(&form.destination, b->images, s->result_channels, b->rows, s->width);
    if (described == dnnl_success) described = hti_primitive_weights(&form.weights, p, s->kind);
    if (described != dnnl_success) return hti_primitive_status(described);
    s->bands++;
    ht_status status = hti_primitive_make(&b->primitive, s->engine, &form, &weights);
    if (status != HT_OK) return status;
    const size_t *bytes = b->primitive.bytes;
    if (hti_lines(bytes[0]) > s->source_bytes) s->source_bytes = hti_lines(bytes[0]);
    if (hti_lines(bytes[2]) > s->result_bytes) s->result_bytes = hti_lines(bytes[2]);
    if (hti_lines(bytes[3]) > s->pad_bytes) s->pad_bytes = hti_lines(bytes[3]);
    uint64_t this_key = hti_weight_layout_key(&weights, s->kind == HTI_FLIPPED);
    if (s->bands > 1) return this_key == *key ? HT_OK : HT_EUNSUPPORTED;
    *key = this_key;
    return hti_weight_layout_read(&s->layout, p, s->kind == HTI_FLIPPED, &weights);
}

/* Bands that one image is cut into. */
static int64_t count_bands(const hti_conv_problem *p)
{
    const hti_conv_frame *f = &p->frame;
    int64_t weight = p->face == HTI_CONV_TO_WEIGHT, rows = f->image[1];
    int64_t most = rows / (weight ? WEIGHT_BAND_ROWS : BAND_ROWS), bands = most;
    if (weight) bands = (WEIGHT_PARTS + f->batch - 1) / f->batch;
    if (bands > most) bands = most;
    return bands < 1 ? 1 : bands;
}

static size_t each_bytes(const winograd_state *s) { return s->source_bytes + s->result_bytes + s->pad_bytes; }

static int32_t team_of(const winograd_state *s) { return s->threads < s->bands ? s->threads : s->bands; }

static ht_status make_bands(winograd_state *s, const hti_conv_problem *p, int64_t parts, int64_t bands, uint64_t *key)
{
    const hti_conv_frame *f = &p->frame;
    ht_status status = hti_primitive_status(dnnl_engine_create(&s->engine, dnnl_cpu, 0));
    hti_team(s->together ? s->threads : 1); /* a primitive runs with as many threads as it was created with */
    for (int64_t i = 0; i < parts && status == HT_OK; i++)
        for (int64_t k = 0; k < bands && status == HT_OK; k++) {
            band *b = &s->band[i * bands + k];
            b->image = f->batch * i / parts;
            b->images = f->batch * (i + 1) / parts - b->image;
            b->row = f->image[1] * k / bands / 4 * 4; /* tiles are 4x4 */
            b->rows = (k + 1 < bands ? f->image[1] * (k + 1) / bands / 4 * 4 : f->image[1]) - b->row;
            status = make_band(s, p, b, key);
        }
    return status;
}

static void release_winograd(void *own)
{
    winograd_state *s = own;
    if (!s) return;
    for (int32_t i = 0; i < s->bands; i++) hti_primitive_free(&s->band[i].primitive);
    hti_weight_layout_free(&s->layout);
    if (s->engine) dnnl_engine_destroy(s->engine);
    free(s);
}

static ht_status prepare_winograd(const hti_conv_problem *p, void **own, hti_choice *choice)
{
    const hti_conv_frame *f = &p->frame;
    bool weight = p->face == HTI_CONV_TO_WEIGHT, flipped = p->face == HTI_CONV_TO_INPUT;
    bool together = !weight && (f->image[1] < LEAST_BAND_IMAGE || f->image[2] < LEAST_BAND_IMAGE);
    if (p->direct || !pays(p)) return HT_EUNSUPPORTED;
    int64_t bands = together ? 1 : count_bands(p), parts = together ? 1 : f->batch, most = MOST_PARTS / bands;
    if (parts > most) parts = most > 0 ? most : 1;
    winograd_state *s = calloc(1, sizeof *s + (size_t)(parts * bands) * sizeof s->band[0]);
    if (!s) return HT_ENOMEM;
    s->kind = weight ? HTI_TO_WEIGHT : flipped ? HTI_FLIPPED : HTI_FORWARD;
    s->together = together;
    s->threads = p->threads;
    s->width = f->image[2];
    s->source_channels = flipped ? f->filters : f->channels;
    s->result_channels = flipped ? f->channels : f->filters;
    uint64_t key = 0;
    int32_t before = hti_team(p->threads);
    ht_status status = make_bands(s, p, parts, bands, &key);
    hti_team(before);
    if (status != HT_OK) {
        release_winograd(s);
        return status;
    }
    choice->scratch_bytes = each_bytes(s) * (size_t)(together ? 1 : team_of(s));
    if (weight) {
        choice->scratch_bytes += hti_lines(s->layout.bytes) * (size_t)s->bands;
    } else {
        choice->packed_bytes[1] = s->layout.bytes;
        choice->packed_key[1] = key;
    }
    snprintf(s->algorithm, sizeof s->algorithm, "onednn %s%s, %d bands", s->band[0].primitive.implementation,
             flipped ? ", flipped" : "", (int)s->bands);
    choice->algorithm = s->algorithm;
    *own = s;
    return HT_OK;
}

static ht_status pack_winograd(const void *own, const hti_conv_problem *p, const hti_tensor *from, void *packed,
                               int32_t threads)
{
    (void)p;
    hti_weight_pack(&((const winograd_state *)own)->layout, from->data, packed, threads);
    return HT_OK;
}

/* ---- conversion ---- */

/* A band of a value with channels last, and the same in blocks, with `halo` rows more above and below. */
typedef struct conversion {
    const winograd_state *s;
    const band *b;
    int64_t channels, height, halo;
    float *last, *blocks;
} conversion;

/* Line `at` of the band in blocks, and in *last the same row of the image, or NULL outside of it. */
static float *line_of(const conversion *c, int64_t at, float **last)
{
    int64_t rows = c->b->rows + 2 * c->halo, image = at / rows, row = c->b->row + at % rows - c->halo;
    bool inside = row >= 0 && row < c->height;
    *last = inside ? c->last + ((c->b->image + image) * c->height + row) * c->s->width * c->channels : NULL;
    return c->blocks + (image * (c->channels / BLOCK) * rows + at % rows) * c->s->width * BLOCK;
}

/* From channels last to blocks, whole cache lines at a time, and a few places of every block in turn: both sides are
 * then short runs in memory, however far the blocks lie apart. */
static void to_blocks(void *context, int64_t begin, int64_t end)
{
    const conversion *c = context;
    int64_t width = c->s->width, plane = (c->b->rows + 2 * c->halo) * width * BLOCK;
    for (int64_t at = begin; at < end; at++) {
        float *last, *line = line_of(c, at, &last);
        for (int64_t first = 0; first < width; first += RUN)
            for (int64_t k = 0; k < c->channels / BLOCK; k++) {
                int64_t places = width - first < RUN ? width - first : RUN;
                float *to = line + k * plane + first * BLOCK;
                if (!last) memset(to, 0, (size_t)(places * BLOCK) * sizeof *to);
                for (int64_t i = 0; last && i < places; i++)
                    memcpy(to + i * BLOCK, last + (first + i) * c->channels + k * BLOCK, BLOCK * sizeof *to);
            }
    }
}

static void from_blocks(void *context, int64_t begin, int64_t end)
{
    const conversion *c = context;
    int64_t width = c->s->width, plane = (c->b->rows + 2 * c->halo) * width * BLOCK;
    for (int64_t at = begin; at < end; at++) {
        float *last, *line = line_of(c, at, &last);
        for (int64_t i = 0; i < width; i++)
            for (int64_t k = 0; k < c->channels / BLOCK; k++)
                memcpy(last + i * c->channels + k * BLOCK, line + k * plane + i * BLOCK, BLOCK * sizeof *last);
    }
}

static void convert(const conversion *c, hti_body body)
{
    conversion own = *c;
    int64_t lines = c->b->images * (c->b->rows + 2 * c->halo);
    hti_parallel_for(c->s->together ? c->s->threads : 1, lines, 4, body, &own);
}

/* ---- running ---- */

static ht_status run_band(winograd_state *s, const hti_conv_frame *f, const hti_run *run, int32_t i, char *own)
{
    band *b = &s->band[i];
    float *source = (float *)(void *)own, *result = (float *)(void *)(own + s->source_bytes);
    bool weight = s->kind == HTI_TO_WEIGHT;
    conversion x = {s, b, s->source_channels, f->image[1], 1, run->in[0].data, source};
    conversion y = {s, b, s->result_channels, f->image[1], 0, weight ? run->in[1].data : run->out->data, result};
    void *weights = weight ? (char *)run->scratch + (size_t)i * hti_lines(s->layout.bytes) : run->in[1].data;
    void *handle[4] = {source, weights, result, own + s->source_bytes + s->result_bytes};
    convert(&x, to_blocks);
    if (weight) convert(&y, to_blocks);
    ht_status status = hti_primitive_run(&b->primitive, handle);
    if (!weight) convert(&y, from_blocks);
    return status;
}

static ht_status run_bands(winograd_state *s, const hti_conv_frame *f, const hti_run *run, char *scratch)
{
    int32_t status = HT_OK;
#pragma omp parallel num_threads(team_of(s))
    {
        char *own = scratch + each_bytes(s) * (size_t)omp_get_thread_num();
        omp_set_num_threads(1); /* what the primitives were created for */
#pragma omp for schedule(dynamic)
        for (int32_t i = 0; i < s->bands; i++) {
            ht_status one = run_band(s, f, run, i, own);
            if (one != HT_OK) {
#pragma omp atomic write
                status = (int32_t)one;
            }
        }
    }
    return (ht_status)status;
}

static ht_status run_winograd(void *own, const hti_conv_problem *p, const hti_run *run)
{
    winograd_state *s = own;
    size_t partial = hti_lines(s->layout.bytes);
    char *scratch = hti_behind(run->scratch, s->kind == HTI_TO_WEIGHT ? partial * (size_t)s->bands : 0);
    int32_t before = hti_team(s->threads);
    ht_status status = s->together ? run_band(s, &p->frame, run, 0, scratch) : run_bands(s, &p->frame, run, scratch);
    if (status == HT_OK && s->kind == HTI_TO_WEIGHT)
        hti_weight_unpack(&s->layout, run->scratch, (int64_t)(partial / sizeof(float)), s->bands, run->out->data,
                          s->threads);
    hti_team(before);
    return status;
}

const hti_conv_method hti_conv_winograd = {.prepare = prepare_winograd, .run = run_winograd, .pack = pack_winograd,
                                           .release = release_winograd};

#else

const hti_conv_method hti_conv_winograd = {0}; /* not in this build */

#endif
