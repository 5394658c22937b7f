/*
 * Convolution by oneDNN 2, f32, or f32 from operands in bf16: activations channels last, weights in the format that the primitive likes best, which
 * the planner keeps packed. The data gradient at stride 1 is the forward primitive on weights turned round, which is
 * the better kernel; turning happens in packing. A weight gradient whose sum oneDNN would split by threads is cut into
 * slices fixed by the problem, one thread each, added in order. Implementations named "ref" are left to conv_gemm.c.
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
    SLICES = 8,           /* of a weight gradient, at most */
    BANDS = 4,            /* slices of a single image */
    BAND_ROWS = 4,        /* of the result in a band, at least */
    BAND_PLACES = 1024,   /* and at least so many places, or summing the slices costs more than it gives */
    SMALL_FLOP = 1 << 20,  /* below it one thread is enough, and what oneDNN does with many alters the bits */
    BF16_PLACES = 128,    /* of a weight gradient on bf16, over all images, at least */
    BLOCK_CHANNELS = 16,  /* of x over blocks of pixels, at most */
    SCRATCH_LIMIT = 64 << 20
};

/* The part of a convolution that one primitive computes, in its own words: source, weights, destination. */
typedef struct part_shape {
    int64_t batch, image[3], out[3], before[3], after[3];
} part_shape;

typedef struct slice {
    hti_primitive primitive;
    int64_t x, y;                 /* where it begins in x and y, in bytes */
} slice;

typedef struct onednn_state {
    dnnl_engine_t engine;
    hti_primitive_kind kind;
    int32_t threads, slice_count;
    bool sliced;                  /* one thread for each slice; else one slice, by all threads */
    slice slices[SLICES];
    size_t scratchpad;            /* of one primitive */
    bool blocked;                 /* computes x over blocks of pixels first, in scratch */
    hti_conv_frame blocks;
    size_t blocks_bytes;
    hti_weight_layout layout;
    char algorithm[96];
} onednn_state;

static int32_t team_of(const onednn_state *s)
{
    return s->threads < s->slice_count ? s->threads : s->slice_count;
}

/* ---- descriptors ---- */

/* Dense, channels last. */
static dnnl_status_t describe_activation(dnnl_memory_desc_t *md, int32_t axes, int64_t batch, int64_t channels,
                                         const int64_t places[3], dnnl_data_type_t type)
{
    dnnl_dims_t dims = {batch, channels}, strides = {0};
    int64_t stride = channels;
    strides[1] = 1;
    for (int32_t k = axes - 1; k >= 0; k--) {
        dims[2 + k] = places[3 - axes + k];
        strides[2 + k] = stride;
        stride *= places[3 - axes + k];
    }
    strides[0] = stride;
    return dnnl_memory_desc_init_by_strides(md, axes + 2, dims, type, strides);
}

static dnnl_status_t describe_part(const hti_conv_problem *p, hti_primitive_kind kind, const part_shape *part,
                                   hti_primitive_form *d)
{
    const hti_conv_frame *f = &p->frame;
    bool flipped = kind == HTI_FLIPPED;
    dnnl_data_type_t operands = p->rounded ? dnnl_bf16 : dnnl_f32;
    *d = (hti_primitive_form){.kind = kind, .algorithm = dnnl_convolution_direct, .operands = operands,
                              .most_scratch = SCRATCH_LIMIT};
    for (int32_t k = 0; k < p->axes; k++) {
        int32_t from = 3 - p->axes + k;
        d->steps[k] = f->step[from];
        d->dilations[k] = f->dilation[from] - 1; /* oneDNN counts the places between taps */
        d->before[k] = part->before[from];
        d->after[k] = part->after[from];
    }
    dnnl_status_t status = describe_activation(&d->source, p->axes, part->batch, flipped ? f->filters : f->channels,
                                               flipped ? part->out : part->image,
                                               kind == HTI_TO_INPUT ? dnnl_f32 : operands);
    if (status != dnnl_success) return status;
    status = describe_activation(&d->destination, p->axes, part->batch, flipped ? f->channels : f->filters,
                                 flipped ? part->image : part->out,
                                 kind == HTI_FORWARD || flipped ? dnnl_f32 : operands);
    return status != dnnl_success ? status : hti_primitive_weights(&d->weights, p, kind);
}

/* ---- planning ---- */

static ht_status pack_onednn(const void *own, const hti_conv_problem *p, const hti_tensor *from, void *packed,
                             int32_t threads)
{
    const onednn_state *s = own;
    (void)p;
    hti_weight_pack(&s->layout, from->data, packed, threads);
    return HT_OK;
}

static void release_onednn(void *own)
{
    onednn_state *s = own;
    if (!s) return;
    for (int32_t i = 0; i < s->slice_count; i++) hti_primitive_free(&s->slices[i].primitive);
    hti_weight_layout_free(&s->layout);
    if (s->engine) dnnl_engine_destroy(s->engine);
    free(s);
}

/* Adds a slice to the state; the first one decides the format, the others must choose the same. */
static ht_status add_slice(onednn_state *s, const hti_conv_problem *p, const part_shape *part, uint64_t *key)
{
    hti_primitive_form form;
    dnnl_memory_desc_t weights;
    ht_status status = hti_primitive_status(describe_part(p, s->kind, part, &form));
    if (status != HT_OK) return status;
    hti_primitive *made = &s->slices[s->slice_count++].primitive;
    status = hti_primitive_make(made, s->engine, &form, &weights);
    if (status != HT_OK) return status;
    if (hti_lines(made->bytes[3]) > s->scratchpad) s->scratchpad = hti_lines(made->bytes[3]);
    uint64_t this_key = hti_weight_layout_key(&weights, s->kind == HTI_FLIPPED);
    if (s->slice_count > 1 && this_key != *key) return HT_EUNSUPPORTED;
    *key = this_key;
    return s->slice_count > 1 ? HT_OK : hti_weight_layout_read(&s->layout, p, s->kind == HTI_FLIPPED, &weights);
}

/* The whole convolution as one part. */
static part_shape whole_part(const hti_conv_frame *f)
{
    part_shape part = {.batch = f->batch};
    for (int32_t k = 0; k < 3; k++) {
        part.image[k] = f->image[k];
        part.out[k] = f->out[k];
        part.before[k] = part.after[k] = f->pad[k];
    }
    return part;
}

/*
 * Whether oneDNN's sums would depend on its number of threads. Found by trying 1 to 16: a weight gradient's do where
 * it has few blocks of 16x16 channels to share out, or many places; with one spatial axis those of all faces do. On
 * bf16 the threads of a weight gradient also wait for each other in a loop, for milliseconds where another program runs.
 */
static bool sums_vary(const hti_conv_problem *p)
{
    const hti_conv_frame *f = &p->frame;
    int64_t outer = f->filters / f->groups, inner = f->channels / f->groups;
    int64_t blocks = f->groups * ((outer + 15) / 16) * ((inner + 15) / 16);
    int64_t weights = f->filters * inner * f->kernel[0] * f->kernel[1] * f->kernel[2];
    int64_t places = f->out[0] * f->out[1] * f->out[2];
    if (p->axes == 1) return true;
    return p->face == HTI_CONV_TO_WEIGHT &&
           (p->rounded || blocks < 32 || places >= 64 * 64 || (weights <= 150000 && places >= 32 * 32));
}

/* Bytes of a number of x and of y: operands may be bf16. */
static int64_t bytes_of_x(const hti_conv_problem *p) { return p->rounded && p->face != HTI_CONV_TO_INPUT ? 2 : 4; }
static int64_t bytes_of_y(const hti_conv_problem *p) { return p->rounded && p->face != HTI_CONV_FORWARD ? 2 : 4; }

/* Cuts part to rows [first, last) of y along the outermost axis, and notes where they and what they read begin. */
static bool cut_band(const hti_conv_problem *p, int64_t first, int64_t last, part_shape *part, slice *at)
{
    const hti_conv_frame *f = &p->frame;
    int32_t axis = 3 - p->axes;
    int64_t begin = first * f->step[axis] - f->pad[axis];
    int64_t end = (last - 1) * f->step[axis] - f->pad[axis] + (f->kernel[axis] - 1) * f->dilation[axis] + 1;
    int64_t low = begin > 0 ? begin : 0, high = end < f->image[axis] ? end : f->image[axis];
    part->before[axis] = low - begin;
    part->after[axis] = end - high;
    part->image[axis] = high - low;
    part->out[axis] = last - first;
    at->x += low * f->x[2 + axis] * bytes_of_x(p);
    at->y += first * f->y[2 + axis] * bytes_of_y(p);
    return high > low;
}

/* The forward primitive on weights turned round computes a data gradient at stride 1, if it need not crop. */
static bool turn_part(const hti_conv_frame *f, part_shape *part)
{
    bool fits = true;
    for (int32_t k = 0; k < 3; k++) {
        int64_t reach = (f->kernel[k] - 1) * f->dilation[k];
        part->before[k] = reach - f->pad[k];
        part->after[k] = f->image[k] - f->out[k] + reach - part->before[k];
        fits = fits && f->step[k] == 1 && part->before[k] >= 0 && part->after[k] >= 0;
    }
    return fits;
}

/* Slices of whole images, or of bands of rows if a weight gradient has few images: fixed by the problem. */
static ht_status add_slices(onednn_state *s, const hti_conv_problem *p, uint64_t *key)
{
    const hti_conv_frame *f = &p->frame;
    int64_t each = (f->batch + SLICES - 1) / SLICES, bands = (BANDS + f->batch - 1) / f->batch;
    int64_t rows = f->out[3 - p->axes];
    int64_t places = f->out[0] * f->out[1] * f->out[2];
    if (s->kind != HTI_TO_WEIGHT || rows < bands * BAND_ROWS || places < bands * BAND_PLACES) bands = 1;
    ht_status status = HT_OK;
    for (int64_t n = 0; n < f->batch && status == HT_OK; n += each)
        for (int64_t b = 0; b < bands && status == HT_OK; b++) {
            slice *c = &s->slices[s->slice_count];
            part_shape part = whole_part(f);
            if (s->kind == HTI_FLIPPED) turn_part(f, &part);
            part.batch = f->batch - n < each ? f->batch - n : each;
            c->x = n * f->x[0] * bytes_of_x(p);
            c->y = n * f->y[0] * bytes_of_y(p);
            if (bands > 1 && !cut_band(p, rows * b / bands, rows * (b + 1) / bands, &part, c)) return HT_EUNSUPPORTED;
            status = add_slice(s, p, &part, key);
        }
    return status;
}

static double flop_of(const hti_conv_frame *f)
{
    double flop = 2.0 * (double)f->batch * (double)f->filters * (double)(f->channels / f->groups);
    for (int32_t k = 0; k < 3; k++) flop *= (double)(f->out[k] * f->kernel[k]);
    return flop;
}

static ht_status plan(onednn_state *s, const hti_conv_problem *p, hti_primitive_kind kind, hti_choice *choice)
{
    const hti_conv_frame *f = &p->frame;
    uint64_t key = 0;
    ht_status status = hti_primitive_status(dnnl_engine_create(&s->engine, dnnl_cpu, 0));
    s->threads = flop_of(f) < SMALL_FLOP ? 1 : p->threads;
    s->sliced = sums_vary(p);
    part_shape part = whole_part(f);
    s->kind = kind;
    if (kind == HTI_FLIPPED && !turn_part(f, &part)) return HT_EUNSUPPORTED;
    hti_team(s->sliced ? 1 : s->threads); /* a primitive runs with as many threads as it was created with */
    if (status == HT_OK) status = s->sliced ? add_slices(s, p, &key) : add_slice(s, p, &part, &key);
    if (status != HT_OK) return status;
    choice->scratch_bytes = s->scratchpad * (size_t)team_of(s);
    if (s->kind == HTI_TO_WEIGHT) {
        choice->scratch_bytes += hti_lines(s->layout.bytes) * (size_t)s->slice_count;
    } else {
        choice->packed_bytes[1] = s->layout.bytes;
        choice->packed_key[1] = key;
    }
    char slices[24] = "";
    if (s->sliced) snprintf(slices, sizeof slices, ", %d slices", (int)s->slice_count);
    snprintf(s->algorithm, sizeof s->algorithm, "onednn %s%s%s%s", p->rounded ? "bf16 " : "",
             s->slices[0].primitive.implementation, s->kind == HTI_FLIPPED ? ", flipped" : "", slices);
    choice->algorithm = s->algorithm;
    return HT_OK;
}

static ht_status prepare_kind(const hti_conv_problem *p, hti_primitive_kind kind, void **own, hti_choice *choice)
{
    onednn_state *s = calloc(1, sizeof *s);
    if (!s) return HT_ENOMEM;
    *choice = (hti_choice){0};
    ht_status status = plan(s, p, kind, choice);
    if (status == HT_OK)
        *own = s;
    else
        release_onednn(s);
    return status;
}

/*
 * A data gradient of stride s to few channels wastes most of the vectors. Over blocks of s x s pixels it is one of
 * stride 1 to s s as many channels, with the same taps. Pixel i belongs to block (i + pad) / s.
 */
static bool block_problem(const hti_conv_problem *p, hti_conv_problem *blocks)
{
    const hti_conv_frame *f = &p->frame;
    hti_conv_frame *b = &blocks->frame;
    int64_t phases = 1;
    *blocks = *p;
    for (int32_t k = 0; k < 3; k++) {
        if (f->dilation[k] != 1 || f->step[k] > BLOCK_CHANNELS) return false;
        phases *= f->step[k];
        b->kernel[k] = (f->kernel[k] + f->step[k] - 1) / f->step[k];
        b->pad[k] = f->pad[k] / f->step[k];
        b->image[k] = (f->image[k] - 1 + f->pad[k]) / f->step[k] - b->pad[k] + 1;
        b->step[k] = 1;
    }
    b->channels = phases * f->channels;
    return p->axes > 1 && f->groups == 1 && phases > 1 && b->channels <= BLOCK_CHANNELS;
}

static ht_status prepare_blocks(const hti_conv_problem *p, void **own, hti_choice *choice)
{
    hti_conv_problem blocks;
    if (!block_problem(p, &blocks)) return HT_EUNSUPPORTED;
    ht_status status = prepare_kind(&blocks, HTI_FLIPPED, own, choice);
    if (status != HT_OK) return status;
    onednn_state *s = *own;
    const hti_conv_frame *b = &blocks.frame;
    status = hti_weight_layout_unblock(&s->layout, &p->frame, b);
    if (status != HT_OK) {
        release_onednn(s);
        return status;
    }
    s->blocked = true;
    s->blocks = *b;
    int64_t count = b->batch * b->image[0] * b->image[1] * b->image[2] * b->channels;
    s->blocks_bytes = hti_lines((size_t)count * sizeof(float));
    choice->scratch_bytes += s->blocks_bytes;
    choice->packed_key[1] = hti_hash(choice->packed_key[1], p->frame.step, sizeof p->frame.step);
    choice->packed_key[1] = hti_hash(choice->packed_key[1], p->frame.kernel, sizeof p->frame.kernel);
    snprintf(s->algorithm, sizeof s->algorithm, "onednn %s%s, flipped, over blocks", p->rounded ? "bf16 " : "",
             s->slices[0].primitive.implementation);
    return HT_OK;
}

/* A weight gradient of few places is as long as writing it takes, and slices, which bf16 needs, write it more than once. */
static bool rounding_pays(const hti_conv_problem *p)
{
    const hti_conv_frame *f = &p->frame;
    return p->face != HTI_CONV_TO_WEIGHT || f->batch * f->out[0] * f->out[1] * f->out[2] >= BF16_PLACES;
}

/* Whether every place of x belongs to one tap of one place of y: then a product of matrices needs no more gathering than
 * moving rows, and beats oneDNN's gradients. */
static bool tiles(const hti_conv_frame *f)
{
    int64_t taps = 1;
    bool tiled = true;
    for (int32_t k = 0; k < 3; k++) {
        taps *= f->kernel[k];
        tiled = tiled && f->kernel[k] == f->step[k] && f->pad[k] == 0 && f->dilation[k] == 1;
    }
    return tiled && taps > 1 && f->groups == 1;
}

static ht_status prepare_onednn(const hti_conv_problem *p, void **own, hti_choice *choice)
{
    if (p->dtype != HT_F32 || !p->usual) return HT_EUNSUPPORTED;
    /* To one channel oneDNN is no better than a dot product in every lane; GEMM is. */
    if (p->frame.filters == 1 && p->frame.channels > 1 && p->face != HTI_CONV_TO_INPUT) return HT_EUNSUPPORTED;
    if (tiles(&p->frame) && p->face != HTI_CONV_FORWARD && !p->rounded && p->frame.channels >= BLOCK_CHANNELS)
        return HT_EUNSUPPORTED;
    for (int32_t k = 0; k < 3; k++) { /* oneDNN infers the size of y, so it must be the usual one */
        const hti_conv_frame *f = &p->frame;
        int64_t room = f->image[k] + 2 * f->pad[k] - f->dilation[k] * (f->kernel[k] - 1) - 1;
        if (room < 0 || f->out[k] != room / f->step[k] + 1) return HT_EUNSUPPORTED;
    }
    if (p->rounded && !rounding_pays(p)) return HT_EUNSUPPORTED;
    int32_t before = hti_team(p->threads);
    ht_status status = HT_EUNSUPPORTED;
    if (p->face == HTI_CONV_FORWARD) status = prepare_kind(p, HTI_FORWARD, own, choice);
    if (p->face == HTI_CONV_TO_WEIGHT) status = prepare_kind(p, HTI_TO_WEIGHT, own, choice);
    if (p->face == HTI_CONV_TO_INPUT) {
        status = prepare_blocks(p, own, choice);
        if (status == HT_EUNSUPPORTED) status = prepare_kind(p, HTI_FLIPPED, own, choice);
        if (status == HT_EUNSUPPORTED) status = prepare_kind(p, HTI_TO_INPUT, own, choice);
    }
    hti_team(before);
    return status;
}

/* ---- running ---- */

typedef struct spreading {
    const onednn_state *s;
    const hti_conv_frame *f;
    const float *from;
    float *to;
} spreading;

/* From blocks to pixels, lines [begin, end) of all images. */
static void spread_lines(void *context, int64_t begin, int64_t end)
{
    const spreading *k = context;
    const hti_conv_frame *f = k->f, *b = &k->s->blocks;
    for (int64_t line = begin; line < end; line++) {
        int64_t n = line / f->image[1] / f->image[0], i0 = line / f->image[1] % f->image[0] + f->pad[0];
        int64_t i1 = line % f->image[1] + f->pad[1];
        int64_t row = (n * b->image[0] + i0 / f->step[0] - b->pad[0]) * b->image[1] + i1 / f->step[1] - b->pad[1];
        int64_t phase = (i0 % f->step[0] * f->step[1] + i1 % f->step[1]) * f->step[2];
        float *to = k->to + line * f->image[2] * f->channels;
        for (int64_t i = f->pad[2]; i < f->image[2] + f->pad[2]; i++, to += f->channels) {
            const float *from = k->from + (row * b->image[2] + i / f->step[2] - b->pad[2]) * b->channels +
                                (phase + i % f->step[2]) * f->channels;
            for (int64_t c = 0; c < f->channels; c++) to[c] = from[c];
        }
    }
}

/* Runs slice i with its part of the operands; a weight gradient goes to the slice's own memory. */
static ht_status run_part(onednn_state *s, const hti_run *run, int32_t i, char *pad)
{
    slice *c = &s->slices[i];
    char *in0 = run->in[0].data, *in1 = run->in[1].data, *out = run->out->data, *partial = run->scratch;
    if (s->kind == HTI_TO_WEIGHT) {
        void *handle[4] = {in0 + c->x, partial + (size_t)i * hti_lines(s->layout.bytes), in1 + c->y, pad};
        return hti_primitive_run(&c->primitive, handle);
    }
    if (s->kind == HTI_TO_INPUT) {
        void *handle[4] = {out + c->x, in1, in0 + c->y, pad};
        return hti_primitive_run(&c->primitive, handle);
    }
    bool flipped = s->kind == HTI_FLIPPED;
    if (s->blocked) out = run->scratch;
    void *handle[4] = {in0 + (flipped ? c->y : c->x), in1, out + (flipped ? c->x : c->y), pad};
    return hti_primitive_run(&c->primitive, handle);
}

static ht_status run_sliced(onednn_state *s, const hti_run *run, char *pads)
{
    int32_t status = HT_OK;
#pragma omp parallel num_threads(team_of(s))
    {
        char *pad = hti_behind(pads, s->scratchpad * (size_t)omp_get_thread_num());
        omp_set_num_threads(1); /* what the primitives were created for */
#pragma omp for schedule(dynamic)
        for (int32_t i = 0; i < s->slice_count; i++) {
            ht_status one = run_part(s, run, i, pad);
            if (one != HT_OK) {
#pragma omp atomic write
                status = (int32_t)one;
            }
        }
    }
    return (ht_status)status;
}

static ht_status run_onednn(void *own, const hti_conv_problem *p, const hti_run *run)
{
    onednn_state *s = own;
    size_t each = hti_lines(s->layout.bytes);
    char *pads = hti_behind(run->scratch, s->kind == HTI_TO_WEIGHT ? each * (size_t)s->slice_count : s->blocks_bytes);
    int32_t before = hti_team(s->threads);
    ht_status status = s->sliced ? run_sliced(s, run, pads) : run_part(s, run, 0, pads);
    if (status == HT_OK && s->kind == HTI_TO_WEIGHT) {
        hti_weight_unpack(&s->layout, run->scratch, (int64_t)(each / sizeof(float)), s->slice_count, run->out->data,
                          s->threads);
    }
    if (status == HT_OK && s->blocked) {
        spreading k = {s, &p->frame, run->scratch, run->out->data};
        hti_parallel_for(s->threads, p->frame.batch * p->frame.image[0] * p->frame.image[1], 64, spread_lines, &k);
    }
    hti_team(before);
    return status;
}

const hti_conv_method hti_conv_onednn = {.prepare = prepare_onednn, .run = run_onednn, .pack = pack_onednn,
                                         .release = release_onednn};

#else

const hti_conv_method hti_conv_onednn = {0}; /* not in this build */

#endif
