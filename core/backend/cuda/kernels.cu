/*
 * The kernels of the GPU: the bodies of core/kernel/ as __global__ functions, one thread per element of the result.
 * Compile with -fmad=false: a contracted product would have other bits than the CPU's. No host code is here; names are
 * C names, so that a driver can look them up: hti_cuda_NAME_TYPE.
 */
#include "kernel/kernel.h"
#include "kernel/place.h"
#include "kernel/resample.h"

#define T float
#define HT_NAME(name) name##_f32
#include "kernel/move.inl"
#include "kernel/pointwise.inl"
#include "kernel/random.inl"
#include "kernel/reduce.inl"
#include "kernel/window.inl"
#include "kernel/conv.inl"
#include "kernel/matmul.inl"
#include "kernel/place.inl"
#include "kernel/resample.inl"
#undef T
#undef HT_NAME
#define T double
#define HT_NAME(name) name##_f64
#include "kernel/move.inl"
#include "kernel/pointwise.inl"
#include "kernel/random.inl"
#include "kernel/reduce.inl"
#include "kernel/window.inl"
#include "kernel/conv.inl"
#include "kernel/matmul.inl"
#include "kernel/place.inl"
#include "kernel/resample.inl"
#undef T
#undef HT_NAME
#define T int32_t
#define HT_NAME(name) name##_i32
#include "kernel/integer.inl"
#include "kernel/move.inl"
#undef T
#undef HT_NAME

#define KERNEL extern "C" __global__ void
/* The element of this thread; threads behind the last element leave. */
#define ELEMENT(count)                                                        \
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;         \
    if (i >= (count)) return
/* Offset of this thread's element in operand k of the loop. */
#define AT(k) hti_offset(i, loop.rank, loop.dim, loop.stride[k])

/* ---- pointwise, and every strided copy (stop) ---- */
#define UNARY(name, S, Y, X)                                                  \
    KERNEL hti_cuda_##name##_##S(hti_loop loop, Y *y, const X *x, double p, double q) \
    {                                                                         \
        ELEMENT(loop.count);                                                  \
        y[AT(0)] = k_##name##_##S(x[AT(1)], p, q);                            \
    }
#define REAL_UNARY(name)                                                      \
    KERNEL hti_cuda_##name##_f32(hti_loop loop, float *y, const float *x, double p, double q) \
    {                                                                         \
        ELEMENT(loop.count);                                                  \
        y[AT(0)] = k_##name##_f32(x[AT(1)], (float)p, (float)q);              \
    }                                                                         \
    UNARY(name, f64, double, double)
#define BINARY(name, S, T)                                                    \
    KERNEL hti_cuda_##name##_##S(hti_loop loop, T *y, const T *a, const T *b) \
    {                                                                         \
        ELEMENT(loop.count);                                                  \
        y[AT(0)] = k_##name##_##S(a[AT(1)], b[AT(2)]);                        \
    }
#define REAL_BINARY(name) BINARY(name, f32, float) BINARY(name, f64, double)
#define WHERE(S, T)                                                           \
    KERNEL hti_cuda_where_##S(hti_loop loop, T *y, const T *c, const T *a, const T *b) \
    {                                                                         \
        ELEMENT(loop.count);                                                  \
        y[AT(0)] = k_where_##S(c[AT(1)], a[AT(2)], b[AT(3)]);                 \
    }
#define CASTS(to, Y) UNARY(to, f32, Y, float) UNARY(to, f64, Y, double) UNARY(to, i32, Y, int32_t)

HTI_UNARY_KERNELS(REAL_UNARY)
HTI_BINARY_KERNELS(REAL_BINARY)
WHERE(f32, float)
WHERE(f64, double)
CASTS(to_f32, float)
CASTS(to_f64, double)
CASTS(to_i32, int32_t)
UNARY(stop, i32, int32_t, int32_t)
UNARY(affine, i32, int32_t, int32_t)
BINARY(add, i32, int32_t)
BINARY(sub, i32, int32_t)
BINARY(mul, i32, int32_t)
BINARY(greater, i32, int32_t)
WHERE(i32, int32_t)

/* ---- pad, sums, largest along an axis ---- */

/* A block of x within a larger result (pad). The loop has all axes of the result, in logical order, none merged. */
typedef struct hti_cuda_block {
    int64_t start[HT_MAX_RANK], size[HT_MAX_RANK], stride[HT_MAX_RANK];
} hti_cuda_block;

/* Axes that are summed, with their strides in x. The loop runs over the result; its operand 1 is x at their start. */
typedef struct hti_cuda_axes {
    int32_t rank;
    int64_t dim[HT_MAX_RANK], stride[HT_MAX_RANK];
} hti_cuda_axes;

#define PAD(S, T)                                                                                 \
    KERNEL hti_cuda_pad_##S(hti_loop loop, hti_cuda_block block, T *y, const T *x)                \
    {                                                                                             \
        ELEMENT(loop.count);                                                                      \
        y[AT(0)] = k_pad_##S(x, i, loop.rank, loop.dim, block.start, block.size, block.stride);   \
    }
PAD(f32, float)
PAD(f64, double)
PAD(i32, int32_t)

#define SUM(S, T)                                                                                 \
    KERNEL hti_cuda_sum_to_##S(hti_loop loop, hti_cuda_axes axes, T *y, const T *x)               \
    {                                                                                             \
        ELEMENT(loop.count);                                                                      \
        y[AT(0)] = k_sum_##S(x + AT(1), axes.rank, axes.dim, axes.stride);                        \
    }
#define LARGEST(name, S, T, Y)                                                                    \
    KERNEL hti_cuda_##name##_##S(hti_loop loop, int64_t n, int64_t stride, Y *y, const T *x)      \
    {                                                                                             \
        ELEMENT(loop.count);                                                                      \
        y[AT(0)] = k_##name##_##S(x + AT(1), n, stride);                                          \
    }
SUM(f32, float)
SUM(f64, double)
LARGEST(argmax, f32, float, int32_t)
LARGEST(argmax, f64, double, int32_t)
LARGEST(max, f32, float, float)
LARGEST(max, f64, double, double)

/* ---- pooling: the result's elements are counted [image][three spatial axes][channel] ---- */

/* Strides of one tensor [N, C, spatial...] of a pooling. */
typedef struct hti_cuda_side {
    int64_t image, channel, spatial[3];
} hti_cuda_side;

typedef struct hti_cuda_pool {
    hti_window window;
    hti_cuda_side in[2], out;
    int64_t count, channels, size[3]; /* elements of the result, and its sizes */
} hti_cuda_pool;

typedef struct pool_place {
    int64_t image, channel, p[3];
} pool_place;

static __device__ inline pool_place place_of(const hti_cuda_pool *pool, int64_t i)
{
    pool_place at;
    at.channel = i % pool->channels;
    i /= pool->channels;
    for (int32_t k = 2; k >= 0; k--) {
        at.p[k] = i % pool->size[k];
        i /= pool->size[k];
    }
    at.image = i;
    return at;
}
/* Offset of the image and channel of a place; and of the place itself. */
static __device__ inline int64_t base_of(const hti_cuda_side *s, const pool_place *at)
{
    return at->image * s->image + at->channel * s->channel;
}
static __device__ inline int64_t offset_of(const hti_cuda_side *s, const pool_place *at)
{
    return base_of(s, at) + at->p[0] * s->spatial[0] + at->p[1] * s->spatial[1] + at->p[2] * s->spatial[2];
}

#define WINDOW(name, S, T, Y)                                                                     \
    KERNEL hti_cuda_##name##_##S(hti_cuda_pool pool, Y *y, const T *x)                            \
    {                                                                                             \
        ELEMENT(pool.count);                                                                      \
        const pool_place at = place_of(&pool, i);                                                 \
        y[offset_of(&pool.out, &at)] =                                                            \
            k_##name##_##S(&pool.window, x + base_of(&pool.in[0], &at), pool.in[0].spatial, at.p); \
    }
#define PLACES(S, T)                                                                              \
    KERNEL hti_cuda_pool_take_##S(hti_cuda_pool pool, T *y, const T *x, const int32_t *place)     \
    {                                                                                             \
        ELEMENT(pool.count);                                                                      \
        const pool_place at = place_of(&pool, i);                                                 \
        y[offset_of(&pool.out, &at)] =                                                            \
            k_pool_take_##S(&pool.window, x + base_of(&pool.in[0], &at), pool.in[0].spatial,      \
                            place[offset_of(&pool.in[1], &at)]);                                  \
    }                                                                                             \
    KERNEL hti_cuda_pool_put_##S(hti_cuda_pool pool, T *y, const T *g, const int32_t *place)      \
    {                                                                                             \
        ELEMENT(pool.count);                                                                      \
        const pool_place at = place_of(&pool, i);                                                 \
        y[offset_of(&pool.out, &at)] =                                                            \
            k_pool_put_##S(&pool.window, g + base_of(&pool.in[0], &at), pool.in[0].spatial,       \
                           place + base_of(&pool.in[1], &at), pool.in[1].spatial, at.p);          \
    }
WINDOW(pool_argmax, f32, float, int32_t)
WINDOW(pool_argmax, f64, double, int32_t)
WINDOW(window_sum, f32, float, float)
WINDOW(window_sum, f64, double, double)
WINDOW(window_spread, f32, float, float)
WINDOW(window_spread, f64, double, double)
PLACES(f32, float)
PLACES(f64, double)

/* ---- random draws: the loop runs over the logical shape, row-major; step is NULL or one number ---- */
#define DRAW(name, S, T, value)                                                                   \
    KERNEL hti_cuda_##name##_##S(hti_loop loop, T *y, uint64_t key, double probability, const int32_t *step) \
    {                                                                                             \
        ELEMENT(loop.count);                                                                      \
        const uint64_t now = step ? (uint64_t)(int64_t)*step : 0;                                 \
        (void)probability;                                                                        \
        y[AT(0)] = value;                                                                         \
    }
#define DRAWS(S, T)                                                                               \
    DRAW(uniform, S, T, k_uniform_##S(key, now, i))                                               \
    DRAW(normal, S, T, k_normal_##S(key, now, i))                                                 \
    DRAW(bernoulli, S, T, k_bernoulli_##S(key, now, i, probability))
DRAWS(f32, float)
DRAWS(f64, double)

/* ---- convolution and matrix product, for shapes that no library takes ---- */
#define FRAMED(name, S, T, frame_type)                                                            \
    KERNEL hti_cuda_##name##_##S(frame_type frame, int64_t count, T *y, const T *a, const T *b)   \
    {                                                                                             \
        ELEMENT(count);                                                                           \
        hti_##name##_element_##S(&frame, a, b, y, i);                                             \
    }
#define REAL_FRAMED(name, frame_type) FRAMED(name, f32, float, frame_type) FRAMED(name, f64, double, frame_type)
REAL_FRAMED(conv, hti_conv_frame)
REAL_FRAMED(conv_input, hti_conv_frame)
REAL_FRAMED(conv_weight, hti_conv_frame)
REAL_FRAMED(matmul, hti_matmul_frame)

/* ---- resizing along one axis: both sides [outer][axis][inner]; `size` is that of the result's axis ---- */
#define RESAMPLE(name, S, T)                                                                      \
    KERNEL hti_cuda_##name##_##S(hti_resample_attributes a, int64_t count, int64_t size, int64_t from, int64_t inner, \
                                 T *y, const T *x)                                                \
    {                                                                                             \
        ELEMENT(count);                                                                           \
        const int64_t row = i / inner, line = row / size * from * inner + i % inner;              \
        y[i] = k_##name##_##S(&a, x + line, inner, row % size);                                   \
    }
RESAMPLE(resample, f32, float)
RESAMPLE(resample, f64, double)
RESAMPLE(resample_back, f32, float)
RESAMPLE(resample_back, f64, double)

/* ---- images at points: elements are counted [image][pixel or point][channel], rows and columns are [image][point] ---- */

/* `in` and `out` are strides; spatial[0] is not used: the axes are spatial[1] and spatial[2]. */
typedef struct hti_cuda_places {
    hti_cuda_side in, out;
    int64_t image[2], images, points, channels;
} hti_cuda_places;

/* The lists of points by pixel that place_put reads: one thread for each image. */
KERNEL hti_cuda_place_list(hti_cuda_places at, const int32_t *row, const int32_t *column, int32_t *first, int32_t *list)
{
    ELEMENT(at.images);
    hti_place_list(at.image, at.points, row + i * at.points, column + i * at.points,
                   first + i * (at.image[0] * at.image[1] + 1), list + i * at.points);
}

#define POINTS(S, T)                                                                              \
    KERNEL hti_cuda_place_take_##S(hti_cuda_places at, T *y, const T *x, const int32_t *row, const int32_t *column) \
    {                                                                                             \
        ELEMENT(at.images * at.points * at.channels);                                             \
        const int64_t channel = i % at.channels, point = i / at.channels, image = point / at.points; \
        y[image * at.out.image + channel * at.out.channel + point % at.points * at.out.spatial[2]] = \
            k_place_take_##S(at.image, x + image * at.in.image + channel * at.in.channel, &at.in.spatial[1], \
                             row[point], column[point]);                                          \
    }                                                                                             \
    KERNEL hti_cuda_place_put_##S(hti_cuda_places at, T *y, const T *g, const int32_t *first, const int32_t *list) \
    {                                                                                             \
        const int64_t pixels = at.image[0] * at.image[1];                                         \
        ELEMENT(at.images * pixels * at.channels);                                                \
        const int64_t channel = i % at.channels, pixel = i / at.channels % pixels, image = i / at.channels / pixels; \
        const int32_t *begin = first + image * (pixels + 1) + pixel;                              \
        y[image * at.out.image + channel * at.out.channel + pixel * at.out.spatial[2]] =          \
            k_place_put_##S(g + image * at.in.image + channel * at.in.channel, at.in.spatial[2],  \
                            list + image * at.points, begin[0], begin[1]);                        \
    }
POINTS(f32, float)
POINTS(f64, double)
