/*
 * The convolution kernels of the CPU backend: reads a call into one geometry, and asks the methods in turn who takes
 * it. What a method does is in conv_split.c, conv_split_weight.c, conv_winograd.c, conv_deep.c and conv_onednn.c (f32),
 * conv_gemm.c (f32 and f64) and conv_reference.c (anything). With HT_PRECISION_BF16 oneDNN is asked first, for f32 results
 * of operands rounded to bf16.
 */
#include "backend/cpu/conv.h"

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/bf16.h"
#include "base/internal.h"
#include "tape/attributes.h"

typedef struct conv_state {
    const hti_conv_method *method;
    hti_conv_problem problem;
    void *own;
} conv_state;

/* Which tensor is x, w, y for each face. */
typedef struct conv_operands {
    const hti_tensor *x, *w, *y;
} conv_operands;

static conv_operands operands_of(hti_conv_face face, const hti_tensor *in, const hti_tensor *out)
{
    if (face == HTI_CONV_FORWARD) return (conv_operands){&in[0], &in[1], out};
    if (face == HTI_CONV_TO_INPUT) return (conv_operands){out, &in[1], &in[0]};
    return (conv_operands){&in[0], out, &in[1]};
}

/* Sizes and strides of a tensor of `axes` spatial axes on five axes. */
static void read_axes(const hti_tensor *t, int32_t axes, int64_t size[5], int64_t stride[5])
{
    for (int32_t k = 0; k < 5; k++) {
        int32_t from = k < 2 ? k : k - (3 - axes);
        bool there = k < 2 || from >= 2;
        size[k] = there ? t->shape.dim[from] : 1;
        stride[k] = there ? t->stride[from] : 0;
    }
}

/* Whether strides are those of a dense tensor in the given order of axes, outermost first; axes of size 1 may have
 * any stride, and get the dense one. */
static bool make_dense(const int64_t size[5], int64_t stride[5], const int32_t order[5])
{
    int64_t expected = 1;
    for (int32_t k = 4; k >= 0; k--) {
        int32_t axis = order[k];
        if (size[axis] == 1) stride[axis] = expected;
        if (stride[axis] != expected || !hti_multiply(expected, size[axis], &expected)) return false;
    }
    return true;
}

/* Whether an input is rounded as it lies, in place of being packed as weights are. */
static bool rounds_input(const conv_state *s, int32_t input)
{
    return s->problem.rounded && (input == 0 || s->problem.face == HTI_CONV_TO_WEIGHT);
}

static bool read_problem(hti_conv_face face, const hti_conv_attributes *a, const hti_tensor *in,
                         const hti_tensor *out, hti_conv_problem *p)
{
    static const int32_t last[5] = {0, 2, 3, 4, 1}, row[5] = {0, 1, 2, 3, 4};
    conv_operands o = operands_of(face, in, out);
    hti_conv_frame *f = &p->frame;
    int64_t x[5], w[5], y[5];
    if (a->axes < 1 || a->axes > 3 || a->groups < 1) return false;
    int32_t rank = a->axes + 2;
    if (o.x->shape.rank != rank || o.w->shape.rank != rank || o.y->shape.rank != rank) return false;
    read_axes(o.x, a->axes, x, f->x);
    read_axes(o.w, a->axes, w, f->w);
    read_axes(o.y, a->axes, y, f->y);
    p->usual = make_dense(x, f->x, last);
    p->usual = make_dense(w, f->w, row) && p->usual;
    p->usual = make_dense(y, f->y, last) && p->usual;
    f->batch = x[0];
    f->channels = x[1];
    f->filters = y[1];
    f->groups = a->groups;
    for (int32_t k = 0; k < 3; k++) {
        int32_t from = k - (3 - a->axes);
        f->image[k] = x[2 + k];
        f->kernel[k] = w[2 + k];
        f->out[k] = y[2 + k];
        f->step[k] = from >= 0 ? a->stride[from] : 1;
        f->pad[k] = from >= 0 ? a->pad[from] : 0;
        f->dilation[k] = from >= 0 ? a->dilation[from] : 1;
        if (f->step[k] < 1 || f->pad[k] < 0 || f->dilation[k] < 1) return false;
        if (f->image[k] < 1 || f->kernel[k] < 1 || f->out[k] < 1) return false;
    }
    return f->batch >= 0 && f->batch == y[0] && f->filters == w[0] && f->channels > 0 &&
           f->channels % f->groups == 0 && f->filters % f->groups == 0 && w[1] == f->channels / f->groups &&
           o.x->dtype == o.w->dtype && o.x->dtype == o.y->dtype;
}

/* On operands rounded to bf16: one rounding of a value serves all its uses, weights are rounded as they are packed. */
static ht_status prepare_rounded(conv_state *s, const hti_tensor *in, hti_choice *choice)
{
    s->problem.rounded = true;
    s->method = &hti_conv_onednn;
    ht_status status = s->method->prepare(&s->problem, &s->own, choice);
    s->problem.rounded = choice->rounds = status == HT_OK;
    for (int32_t k = 0; k < 2; k++)
        if (rounds_input(s, k)) hti_bf16_pack_choose(choice, k, &in[k]);
    return status;
}

ht_status hti_conv_prepare(const hti_conv_method *method, hti_conv_face face, const void *attributes,
                           const hti_tensor *in, const hti_tensor *out, int32_t threads, hti_choice *choice,
                           ht_error *error)
{
    static const char *const names[] = {"conv", "conv_input", "conv_weight"};
    const hti_conv_method *all[] = {&hti_conv_split, &hti_conv_split_weight, &hti_conv_winograd, &hti_conv_deep,
                                    &hti_conv_onednn, &hti_conv_gemm, &hti_conv_reference};
    const int32_t count = sizeof all / sizeof all[0];
    conv_state *s = calloc(1, sizeof *s);
    if (!s) return ht_fail(error, HT_ENOMEM, "%s: no memory for its plan", names[face]);
    ht_status status = HT_EINTERNAL;
    s->problem.face = face;
    s->problem.threads = threads > 0 ? threads : 1;
    s->problem.dtype = out->dtype;
    s->problem.direct = choice->convolution == HT_CONVOLUTION_DIRECT;
    bool rounded = choice->precision == HT_PRECISION_BF16 && out->dtype == HT_F32;
    *choice = (hti_choice){0};
    if (ht_shape_count(in[0].shape) == 0 || ht_shape_count(in[1].shape) == 0 || ht_shape_count(out->shape) == 0) {
        choice->algorithm = "zeros";
        choice->state = s; /* without a method */
        return HT_OK;
    }
    if (read_problem(face, attributes, in, out, &s->problem)) {
        status = HT_EUNSUPPORTED;
        s->problem.axes = ((const hti_conv_attributes *)attributes)->axes;
        if (rounded && (!method || method == &hti_conv_onednn)) status = prepare_rounded(s, in, choice);
        for (int32_t k = 0; k < count && status == HT_EUNSUPPORTED; k++) {
            if (!all[k]->prepare || (method && method != all[k])) continue;
            *choice = (hti_choice){0};
            status = all[k]->prepare(&s->problem, &s->own, choice);
            s->method = all[k];
        }
    }
    if (status == HT_OK) {
        choice->state = s;
        return HT_OK;
    }
    free(s);
    *choice = (hti_choice){0};
    if (status == HT_EINTERNAL)
        return ht_fail(error, status, "%s: shapes do not belong to its attributes; the shape rule should refuse this",
                       names[face]);
    return ht_fail(error, status, "%s: %s", names[face],
                   status == HT_ENOMEM ? "no memory for its plan"
                                       : "not for numbers of this type; f32 or f64 was expected");
}

static ht_status prepare_forward(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out,
                                 int32_t threads, hti_choice *choice, ht_error *error)
{
    (void)inputs;
    return hti_conv_prepare(NULL, HTI_CONV_FORWARD, attributes, in, out, threads, choice, error);
}

static ht_status prepare_input(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out,
                               int32_t threads, hti_choice *choice, ht_error *error)
{
    (void)inputs;
    return hti_conv_prepare(NULL, HTI_CONV_TO_INPUT, attributes, in, out, threads, choice, error);
}

static ht_status prepare_weight(const void *attributes, const hti_tensor *in, int32_t inputs, const hti_tensor *out,
                                int32_t threads, hti_choice *choice, ht_error *error)
{
    (void)inputs;
    return hti_conv_prepare(NULL, HTI_CONV_TO_WEIGHT, attributes, in, out, threads, choice, error);
}

static ht_status run_conv(const hti_run *run)
{
    const conv_state *s = run->state;
    if (!s->method) { /* sums of nothing, if there is any place for them; the result is dense */
        memset(run->out->data, 0, (size_t)ht_shape_count(run->out->shape) * ht_dtype_bytes(run->out->dtype));
        return HT_OK;
    }
    return s->method->run(s->own, &s->problem, run);
}

static ht_status pack_conv(void *state, int32_t input, const hti_tensor *from, void *packed, int32_t threads)
{
    const conv_state *s = state;
    if (rounds_input(s, input)) {
        hti_bf16_pack(from, packed, threads);
        return HT_OK;
    }
    if (input != 1 || !s->method->pack) return HT_EINTERNAL;
    return s->method->pack(s->own, &s->problem, from, packed, threads);
}

static void release_conv(void *state)
{
    conv_state *s = state;
    if (!s) return;
    if (s->method && s->method->release) s->method->release(s->own);
    free(s);
}

/* Twice the products over places and taps, those that fall on padding included: 2 N O P C/groups K for every face. */
static double count_conv(hti_conv_face face, const void *attributes, const hti_tensor *in, const hti_tensor *out)
{
    const hti_conv_attributes *a = attributes;
    conv_operands o = operands_of(face, in, out);
    double flop = 2.0 * (double)ht_shape_count(o.y->shape) * (double)o.w->shape.dim[1];
    for (int32_t k = 0; k < a->axes; k++) flop *= (double)a->kernel[k];
    return flop;
}

static double count_forward(const void *attributes, const hti_tensor *in, const hti_tensor *out)
{
    return count_conv(HTI_CONV_FORWARD, attributes, in, out);
}

static double count_input(const void *attributes, const hti_tensor *in, const hti_tensor *out)
{
    return count_conv(HTI_CONV_TO_INPUT, attributes, in, out);
}

static double count_weight(const void *attributes, const hti_tensor *in, const hti_tensor *out)
{
    return count_conv(HTI_CONV_TO_WEIGHT, attributes, in, out);
}

const hti_kernel hti_cpu_conv = {.run = run_conv, .order = HTI_CONV, .prepare = prepare_forward,
                                 .release = release_conv, .pack = pack_conv, .flop = count_forward};
const hti_kernel hti_cpu_conv_input = {.run = run_conv, .order = HTI_CONV, .prepare = prepare_input,
                                       .release = release_conv, .pack = pack_conv, .flop = count_input};
const hti_kernel hti_cpu_conv_weight = {.run = run_conv, .order = HTI_CONV_WEIGHT, .prepare = prepare_weight,
                                        .release = release_conv, .pack = pack_conv, .flop = count_weight};
