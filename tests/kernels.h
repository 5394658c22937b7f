/*
 * For the tests of kernels: tensors in any physical order or as broadcast views, numbers in them by logical place, and
 * a kernel run against a naive reference that knows logical places only.
 */
#ifndef TESTS_KERNELS_H
#define TESTS_KERNELS_H

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "backend/backend.h"
#include "base/internal.h"
#include "tape/attributes.h"

#define BACKEND hti_cpu_backend("cpu")
#define MOST_TENSORS 32

/* Tensors of one case, freed together, and its stream of random numbers. */
typedef struct bench {
    void *memory[MOST_TENSORS];
    int32_t count;
    uint64_t seed, drawn;
} bench;

typedef struct point {
    int64_t at[HT_MAX_RANK];
} point;

static inline double draw(bench *b, double low, double high)
{
    return low + (high - low) * ht_random_unit(ht_random_word(b->seed, 0, b->drawn++));
}
static inline int64_t pick(bench *b, int64_t low, int64_t high)
{
    return low + (int64_t)draw(b, 0, (double)(high - low + 1));
}

static inline void *take(bench *b, size_t bytes)
{
    void *memory = BACKEND->allocate(bytes);
    if (!memory || b->count == MOST_TENSORS) abort();
    memset(memory, 0xAA, bytes);
    return b->memory[b->count++] = memory;
}
static inline void drop(bench *b)
{
    while (b->count > 0) BACKEND->release(b->memory[--b->count]);
}

/* A dense tensor: row-major, or with axis 1 fastest; axes in `views` (bits) become broadcast ones. */
static inline hti_tensor make(bench *b, ht_dtype dtype, ht_shape shape, hti_order order, uint32_t views)
{
    hti_tensor t = {.dtype = dtype, .shape = shape};
    int64_t count = 1;
    if (order == HTI_LAST && shape.rank < 3) order = HTI_ROW;
    for (int32_t i = 0; i < shape.rank; i++) {
        int32_t k = shape.rank - 1 - i;
        if (order == HTI_LAST && i == 0) k = 1;
        else if (order == HTI_LAST && k < shape.rank - 1 && i < shape.rank - 1) k++;
        if (views >> k & 1u) continue;
        t.stride[k] = count;
        count *= shape.dim[k];
    }
    t.data = take(b, (size_t)count * ht_dtype_bytes(dtype));
    return t;
}

static inline int64_t offset_of(const hti_tensor *t, point p)
{
    int64_t offset = 0;
    for (int32_t k = 0; k < t->shape.rank; k++) offset += p.at[k] * t->stride[k];
    return offset;
}
static inline double get(const hti_tensor *t, point p)
{
    const int64_t i = offset_of(t, p);
    return t->dtype == HT_F32   ? (double)((const float *)t->data)[i]
           : t->dtype == HT_F64 ? ((const double *)t->data)[i]
                                : (double)((const int32_t *)t->data)[i];
}
static inline void put(const hti_tensor *t, point p, double x)
{
    const int64_t i = offset_of(t, p);
    if (t->dtype == HT_F32) ((float *)t->data)[i] = (float)x;
    else if (t->dtype == HT_F64) ((double *)t->data)[i] = x;
    else ((int32_t *)t->data)[i] = (int32_t)x;
}
static inline point point_at(ht_shape shape, int64_t index)
{
    point p = {{0}};
    for (int32_t k = shape.rank - 1; k >= 0; k--) {
        p.at[k] = index % shape.dim[k];
        index /= shape.dim[k];
    }
    return p;
}

static inline hti_tensor random_tensor(bench *b, ht_dtype dtype, ht_shape shape, hti_order order, uint32_t views,
                                       double low, double high)
{
    const hti_tensor t = make(b, dtype, shape, order, views);
    const int64_t count = ht_shape_count(shape);
    for (int64_t i = 0; i < count; i++) {
        double x = draw(b, low, high);
        if (dtype == HT_I32) x = floor(x);
        put(&t, point_at(shape, i), x);
    }
    return t;
}

static inline ht_shape random_shape(bench *b, int32_t rank, int64_t most)
{
    ht_shape shape = {.rank = rank};
    for (int32_t k = 0; k < rank; k++) shape.dim[k] = pick(b, 1, most);
    return shape;
}

static inline ht_status run_op(bench *b, hti_op_id id, const void *attributes, const hti_tensor *in, int32_t inputs,
                        const hti_tensor *out, int32_t threads)
{
    const hti_kernel *kernel = BACKEND->kernels[id];
    hti_choice choice = {0};
    ht_error error = {0};
    if (kernel->prepare && kernel->prepare(attributes, in, inputs, out, threads, &choice, &error) != HT_OK)
        return error.status;
    hti_run run = {.attributes = attributes, .in = in, .out = out, .inputs = inputs, .threads = threads};
    run.state = choice.state;
    if (choice.scratch_bytes > 0) run.scratch = take(b, choice.scratch_bytes);
    const ht_status status = kernel->run(&run);
    if (kernel->release) kernel->release(choice.state);
    return status;
}

static inline bool close_to(double x, double want, double tolerance)
{
    if (isnan(want)) return isnan(x);
    if (isinf(want) || x == want) return x == want;
    return fabs(x - want) <= tolerance * (1 + fabs(want));
}
static inline double tolerance_of(ht_dtype dtype)
{
    return dtype == HT_F32 ? 4 * (double)FLT_EPSILON : 8 * DBL_EPSILON;
}

/* What an op should give at a place of its result. */
typedef double (*reference)(const void *attributes, const hti_tensor *in, int32_t inputs, point p);

static inline bool agrees(bench *b, hti_op_id id, const void *attributes, const hti_tensor *in, int32_t inputs,
                   const hti_tensor *out, reference want, double tolerance)
{
    if (run_op(b, id, attributes, in, inputs, out, 2) != HT_OK) return false;
    const int64_t count = ht_shape_count(out->shape);
    for (int64_t i = 0; i < count; i++) {
        const point p = point_at(out->shape, i);
        if (!close_to(get(out, p), want(attributes, in, inputs, p), tolerance)) return false;
    }
    return true;
}

/* Attributes and inputs within a reference. */
#define A(k) get(&in[k], p)
#define REFERENCE(name, value)                                                                        \
    static double want_##name(const void *attributes, const hti_tensor *in, int32_t inputs, point p) \
    {                                                                                                 \
        (void)attributes, (void)inputs, (void)p;                                                      \
        return value;                                                                                 \
    }

#endif
