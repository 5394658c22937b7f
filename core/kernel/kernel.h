/*
 * What every kernel body (*.inl) shares: one text that compiles as C and as CUDA. A body is included once per number
 * type, after `#define T float` and `#define HT_NAME(name) name##_f32`, and holds functions that compute ONE element
 * of a result in gather form: no atomics, one fixed order of summation. How elements are spread over threads, vector
 * lanes and tiles is no matter of these files, but of core/backend/.
 */
#ifndef HTI_KERNEL_H
#define HTI_KERNEL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <ht/base.h>
#include <ht/random.h>

#if defined(__CUDACC__)
#define HT_DEVICE static __device__ inline
#else
#define HT_DEVICE static inline
#endif

/* Most operands of a pointwise kernel: the result and three inputs. */
#define HTI_OPERANDS 4

/* Of every sum: partial sums side by side, and numbers, or lines, after which they are added up. */
#define HTI_SUM_LANES 16
#define HTI_SUM_BLOCK 1024
#define HTI_SUM_LINES 32

/*
 * A nest of loops over operands of one shape, outermost axis first. Axes of size 1 are dropped, axes that all operands
 * cross with one stride are merged, and the order is that of operand 0 in memory.
 */
typedef struct hti_loop {
    int32_t rank, operands;
    int64_t count;
    int64_t dim[HT_MAX_RANK];
    int64_t stride[HTI_OPERANDS][HT_MAX_RANK];
} hti_loop;

/* Offset of element `index`, counted row-major over dim, in a tensor of these strides. */
HT_DEVICE int64_t hti_offset(int64_t index, int32_t rank, const int64_t *dim, const int64_t *stride)
{
    int64_t offset = 0;
    for (int32_t k = rank - 1; k >= 0; k--) {
        offset += index % dim[k] * stride[k];
        index /= dim[k];
    }
    return offset;
}

/*
 * Pooling windows over an image of three spatial axes; axes that are not there have size 1. Window p of an axis covers
 * the image positions p stride - pad + [0, kernel).
 */
typedef struct hti_window {
    int64_t image[3], windows[3], kernel[3], stride[3], pad[3];
} hti_window;

typedef struct hti_range {
    int64_t begin, end;
} hti_range;

/* Image positions under window p. */
HT_DEVICE hti_range hti_taps(const hti_window *w, int32_t axis, int64_t p)
{
    const int64_t first = p * w->stride[axis] - w->pad[axis], last = first + w->kernel[axis];
    hti_range r = {first < 0 ? 0 : first, last > w->image[axis] ? w->image[axis] : last};
    return r;
}

/* Windows over image position h: those with p stride <= h + pad and p stride > h + pad - kernel. */
HT_DEVICE hti_range hti_covers(const hti_window *w, int32_t axis, int64_t h)
{
    const int64_t s = w->stride[axis], last = (h + w->pad[axis]) / s + 1, past = h + w->pad[axis] - w->kernel[axis];
    hti_range r = {past < 0 ? 0 : past / s + 1, last > w->windows[axis] ? w->windows[axis] : last};
    return r;
}

/* Position of a spatial place, counted row-major in the image. */
HT_DEVICE int64_t hti_flat(const hti_window *w, int64_t a, int64_t b, int64_t c)
{
    return (a * w->image[1] + b) * w->image[2] + c;
}

/* The pointwise kernels by number of inputs: for each name there is k_NAME in pointwise.inl. */
#define HTI_UNARY_KERNELS(X)                                                                                      \
    X(stop) X(affine) X(exp) X(expm1) X(log) X(log1p) X(sqrt) X(safe_sqrt) X(rsqrt) X(square) X(reciprocal) X(pow)\
    X(sin) X(cos) X(tanh) X(sigmoid) X(erf) X(erfc) X(softplus) X(leaky_relu) X(leaky_gate) X(abs) X(sign) X(round)\
    X(positive)
#define HTI_BINARY_KERNELS(X) X(add) X(sub) X(mul) X(div) X(greater) X(equal) X(shift)

#include "kernel/math.inl"

/* The mathematical functions by type: math_exp_f32, math_exp_f64, ... Of f32, those of math.inl are our own. */
#define HTI_MATH_F32(name) \
    HT_DEVICE float math_##name##_f32(float x) { return name##f(x); }
#define HTI_MATH_F64(name) \
    HT_DEVICE double math_##name##_f64(double x) { return name(x); }
#define HTI_MATH(name) HTI_MATH_F32(name) HTI_MATH_F64(name)
HTI_MATH_F64(exp)
HTI_MATH_F64(log)
HTI_MATH_F64(log1p)
HTI_MATH_F64(tanh)
HTI_MATH_F64(expm1)
HTI_MATH(sqrt)
HTI_MATH_F64(sin)
HTI_MATH_F64(cos)
HTI_MATH_F64(erf)
HTI_MATH_F64(erfc)
HTI_MATH(fabs)
HTI_MATH(rint)
#undef HTI_MATH
#undef HTI_MATH_F32
#undef HTI_MATH_F64
HT_DEVICE float math_pow_f32(float x, float y) { return powf(x, y); }
HT_DEVICE double math_pow_f64(double x, double y) { return pow(x, y); }

#endif
