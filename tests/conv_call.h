/*
 * One convolution called as the planner calls it: prepare, pack, run, release, with guarded memory that holds NaN
 * before; and random operands for it. For test_conv.c and test_bf16.c; not a test by itself.
 */
#ifndef TESTS_CONV_CALL_H
#define TESTS_CONV_CALL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/conv.h"
#include "tape/attributes.h"

#define GUARD 64

typedef struct conv_case {
    int32_t axes, groups;
    int64_t batch, channels, filters;
    int64_t image[3], kernel[3], stride[3], pad[3], dilation[3];
    ht_convolution convolution;
    ht_precision precision;
} conv_case;

typedef struct conv_plan {
    const hti_kernel *kernel;
    hti_conv_attributes attributes;
    hti_tensor in[2], out;
    hti_choice choice;
    void *packed[2], *scratch;
    int32_t threads;
} conv_plan;

/* Memory of NaN with a guard behind it. */
static inline void *take(size_t bytes)
{
    size_t whole = (bytes + GUARD + 63) / 64 * 64;
    unsigned char *p = aligned_alloc(64, whole);
    if (p) memset(p, 0xFF, whole);
    return p;
}

static inline int guarded(const void *memory, size_t bytes)
{
    const unsigned char *p = memory;
    for (size_t i = bytes; p && i < bytes + GUARD; i++)
        if (p[i] != 0xFF) return 0;
    return 1;
}

static inline int64_t case_out(const conv_case *c, int32_t k)
{
    return (c->image[k] + 2 * c->pad[k] - c->dilation[k] * (c->kernel[k] - 1) - 1) / c->stride[k] + 1;
}

/* Without data. which: 0 x, 1 w, 2 y. */
static inline hti_tensor case_tensor(const conv_case *c, ht_dtype dtype, int32_t which)
{
    hti_tensor t = {.dtype = dtype, .shape = {.rank = c->axes + 2}};
    int64_t *dim = t.shape.dim, next = 1;
    dim[0] = which == 1 ? c->filters : c->batch;
    dim[1] = which == 0 ? c->channels : which == 1 ? c->channels / c->groups : c->filters;
    for (int32_t k = 0; k < c->axes; k++)
        dim[2 + k] = which == 0 ? c->image[k] : which == 1 ? c->kernel[k] : case_out(c, k);
    if (which != 1) {
        t.stride[1] = 1;
        next = dim[1];
    }
    for (int32_t k = c->axes + 1; k >= 0; k--) {
        if (k == 1 && which != 1) continue;
        t.stride[k] = next;
        next *= dim[k];
    }
    return t;
}

static inline size_t tensor_bytes(const hti_tensor *t)
{
    return (size_t)ht_shape_count(t->shape) * ht_dtype_bytes(t->dtype);
}

/* Plans with one method, or through the backend's table if method is NULL. */
static inline ht_status conv_plan_make(conv_plan *p, const conv_case *c, hti_conv_face face, ht_dtype dtype,
                                       const hti_conv_method *method, int32_t threads, ht_error *error)
{
    static const hti_kernel *const table[] = {&hti_cpu_conv, &hti_cpu_conv_input, &hti_cpu_conv_weight};
    static const int32_t which[3][3] = {{0, 1, 2}, {2, 1, 0}, {0, 2, 1}};
    *p = (conv_plan){.kernel = table[face], .threads = threads};
    p->choice.convolution = c->convolution;
    p->choice.precision = c->precision;
    p->attributes.axes = c->axes;
    p->attributes.groups = c->groups;
    for (int32_t k = 0; k < c->axes; k++) {
        p->attributes.stride[k] = c->stride[k];
        p->attributes.pad[k] = c->pad[k];
        p->attributes.dilation[k] = c->dilation[k];
        p->attributes.image[k] = c->image[k];
        p->attributes.kernel[k] = c->kernel[k];
    }
    p->in[0] = case_tensor(c, dtype, which[face][0]);
    p->in[1] = case_tensor(c, dtype, which[face][1]);
    p->out = case_tensor(c, dtype, which[face][2]);
    ht_status status =
        method ? hti_conv_prepare(method, face, &p->attributes, p->in, &p->out, threads, &p->choice, error)
               : p->kernel->prepare(&p->attributes, p->in, 2, &p->out, threads, &p->choice, error);
    if (status != HT_OK) return status;
    p->scratch = take(p->choice.scratch_bytes);
    for (int32_t k = 0; k < 2; k++) p->packed[k] = p->choice.packed_bytes[k] > 0 ? take(p->choice.packed_bytes[k]) : NULL;
    return HT_OK;
}

/* Packs what the plan wants packed, and runs. */
static inline ht_status conv_plan_run(conv_plan *p, void *first, void *second, void *result)
{
    p->in[0].data = first;
    p->in[1].data = second;
    p->out.data = result;
    for (int32_t k = 0; k < 2; k++) {
        if (!p->packed[k]) continue;
        ht_status status = p->kernel->pack(p->choice.state, k, &p->in[k], p->packed[k], p->threads);
        if (status != HT_OK) return status;
        p->in[k].data = p->packed[k];
    }
    hti_run run = {.attributes = &p->attributes, .in = p->in, .out = &p->out, .inputs = 2, .threads = p->threads,
                   .state = p->choice.state, .scratch = p->scratch};
    return p->kernel->run(&run);
}

/* Returns 1 if nothing was written behind scratch and packed inputs. */
static inline int conv_plan_free(conv_plan *p)
{
    int intact = guarded(p->scratch, p->choice.scratch_bytes);
    for (int32_t k = 0; k < 2; k++) intact = intact && guarded(p->packed[k], p->choice.packed_bytes[k]);
    p->kernel->release(p->choice.state);
    free(p->scratch);
    for (int32_t k = 0; k < 2; k++) free(p->packed[k]);
    return intact;
}

/* Of the faces: conv, conv_input, conv_weight. Which of x, w, y they take and give. */
static const int32_t conv_first[] = {0, 2, 0}, conv_second[] = {1, 1, 2}, conv_result[] = {2, 0, 1};
static const char *const conv_face_name[] = {"conv", "conv_input", "conv_weight"};

/* Runs twice; the result as fresh memory, or NULL. A note in `why` of what was wrong; a second run must not see the first. */
static inline void *conv_call(const conv_case *c, hti_conv_face face, ht_dtype dtype, const hti_conv_method *method,
                              int32_t threads, void *first, void *second, bool *rounds, char why[256])
{
    conv_plan p;
    ht_error error = {0};
    const char *name = conv_face_name[face];
    ht_status status = conv_plan_make(&p, c, face, dtype, method, threads, &error);
    if (status != HT_OK) {
        snprintf(why, 256, "%s prepare: %.200s", name, error.message);
        return NULL;
    }
    size_t bytes = tensor_bytes(&p.out);
    void *result[2] = {take(bytes), take(bytes)};
    for (int32_t again = 0; again < 2 && status == HT_OK; again++) status = conv_plan_run(&p, first, second, result[again]);
    if (status != HT_OK) snprintf(why, 256, "%s by %.100s: status %d", name, p.choice.algorithm, status);
    else if (memcmp(result[0], result[1], bytes) != 0)
        snprintf(why, 256, "%s by %.100s: other bits again", name, p.choice.algorithm);
    if (!guarded(result[0], bytes) || !guarded(result[1], bytes)) snprintf(why, 256, "%s: wrote behind its result", name);
    if (rounds) *rounds = p.choice.rounds;
    if (!conv_plan_free(&p)) snprintf(why, 256, "%s: wrote behind scratch or packed inputs", name);
    free(result[1]);
    return result[0];
}

static uint64_t conv_seed = 1;

/* In (-1, 1). */
static inline double conv_uniform(void)
{
    conv_seed = conv_seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(conv_seed >> 40) / (double)(1 << 23) - 1.0;
}

/* The numbers of x, w, y (as cotangent) in both types: f32 holds them exactly. */
typedef struct conv_operands {
    double *f64[3];
    float *f32[3];
    int64_t count[3];
} conv_operands;

static inline conv_operands conv_operands_new(const conv_case *c)
{
    conv_operands o = {0};
    for (int32_t k = 0; k < 3; k++) {
        hti_tensor t = case_tensor(c, HT_F64, k);
        o.count[k] = ht_shape_count(t.shape);
        o.f64[k] = take((size_t)o.count[k] * sizeof(double));
        o.f32[k] = take((size_t)o.count[k] * sizeof(float));
        for (int64_t i = 0; i < o.count[k]; i++) {
            o.f32[k][i] = (float)conv_uniform();
            o.f64[k][i] = (double)o.f32[k][i];
        }
    }
    return o;
}

static inline void conv_operands_free(conv_operands *o)
{
    for (int32_t k = 0; k < 3; k++) {
        free(o->f64[k]);
        free(o->f32[k]);
    }
}

#endif
