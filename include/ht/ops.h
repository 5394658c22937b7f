/*
 * Recording operations: every op that a user can record, one entry each. Values in, a value out; errors stick to the
 * tape (tape.h). Pointwise ops of two or three operands broadcast as NumPy does: sizes are aligned at the last axis,
 * size 1 stretches. No op changes a number type but ht_cast.
 */
#ifndef HT_OPS_H
#define HT_OPS_H

#include <ht/tape.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- pointwise, one operand. Real types. Kinks: each derivative at a kink is stated. ---- */
#define HT_DECLARE_UNARY(name) ht_var ht_##name##_(ht_var x, const char *where)

/** e^x */
#define ht_exp(...) ht_exp_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(exp);
/** e^x - 1, accurate near 0 */
#define ht_expm1(...) ht_expm1_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(expm1);
/** natural logarithm */
#define ht_log(...) ht_log_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(log);
/** log(1 + x), accurate near 0 */
#define ht_log1p(...) ht_log1p_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(log1p);
/** square root; derivative at 0 is +infinity */
#define ht_sqrt(...) ht_sqrt_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(sqrt);
/** square root whose derivatives at 0 are taken as 0: for moments of optimisers, which touch 0 with zero slope */
#define ht_safe_sqrt(...) ht_safe_sqrt_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(safe_sqrt);
/** 1 / sqrt(x); +infinity at 0 */
#define ht_rsqrt(...) ht_rsqrt_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(rsqrt);
/** x * x */
#define ht_square(...) ht_square_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(square);
/** 1 / x */
#define ht_reciprocal(...) ht_reciprocal_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(reciprocal);
/** sine of an angle in radians */
#define ht_sin(...) ht_sin_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(sin);
/** cosine of an angle in radians */
#define ht_cos(...) ht_cos_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(cos);
/** hyperbolic tangent */
#define ht_tanh(...) ht_tanh_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(tanh);
/** 1 / (1 + e^-x), without overflow */
#define ht_sigmoid(...) ht_sigmoid_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(sigmoid);
/** log(1 + e^x), exact at every magnitude */
#define ht_softplus(...) ht_softplus_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(softplus);
/** the error function */
#define ht_erf(...) ht_erf_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(erf);
/** 1 less the error function, without cancellation */
#define ht_erfc(...) ht_erfc_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(erfc);
/** x / (1 + e^-x) */
#define ht_silu(...) ht_silu_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(silu);
/** x times the normal distribution function, exact */
#define ht_gelu(...) ht_gelu_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(gelu);
/** the approximation of ht_gelu by x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
#define ht_gelu_tanh(...) ht_gelu_tanh_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(gelu_tanh);
/** log(sigmoid(x)), exact at every magnitude */
#define ht_log_sigmoid(...) ht_log_sigmoid_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(log_sigmoid);
/** max(x, 0); derivative 0 at 0 */
#define ht_relu(...) ht_relu_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(relu);
/** |x|; derivative 0 at 0 */
#define ht_abs(...) ht_abs_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(abs);
/** -1, 0 or 1; carries no derivative */
#define ht_sign(...) ht_sign_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(sign);
/** nearest integer, halves to even; carries no derivative */
#define ht_round(...) ht_round_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(round);
/** -x */
#define ht_neg(...) ht_neg_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(neg);

/** ht_leaky_relu(x, slope): x if x > 0, else slope x; derivative `slope` at 0 */
#define ht_leaky_relu(...) ht_leaky_relu_(__VA_ARGS__, HT_HERE)
ht_var ht_leaky_relu_(ht_var x, double slope, const char *where);
/** ht_elu(x, alpha): x if x > 0, else alpha (e^x - 1); derivative alpha at 0 */
#define ht_elu(...) ht_elu_(__VA_ARGS__, HT_HERE)
ht_var ht_elu_(ht_var x, double alpha, const char *where);
/** ht_clamp(x, low, high): x within bounds; derivative 1 at the bounds, 0 outside. NaN stays. EINVALID unless low <= high. */
#define ht_clamp(...) ht_clamp_(__VA_ARGS__, HT_HERE)
ht_var ht_clamp_(ht_var x, double low, double high, const char *where);
/** ht_scale(x, c): c x */
#define ht_scale(...) ht_scale_(__VA_ARGS__, HT_HERE)
ht_var ht_scale_(ht_var x, double factor, const char *where);
/** ht_offset(x, c): x + c */
#define ht_offset(...) ht_offset_(__VA_ARGS__, HT_HERE)
ht_var ht_offset_(ht_var x, double term, const char *where);
/** ht_affine(x, a, b): a x + b */
#define ht_affine(...) ht_affine_(__VA_ARGS__, HT_HERE)
ht_var ht_affine_(ht_var x, double factor, double term, const char *where);
/** ht_pow(x, p): x to the power of a number */
#define ht_pow(...) ht_pow_(__VA_ARGS__, HT_HERE)
ht_var ht_pow_(ht_var x, double exponent, const char *where);
/** ht_cast(x, dtype): the same numbers in another type. Between real types linear; to or from integers no derivative. */
#define ht_cast(...) ht_cast_(__VA_ARGS__, HT_HERE)
ht_var ht_cast_(ht_var x, ht_dtype dtype, const char *where);

/* ---- pointwise, two or three operands ---- */
#define HT_DECLARE_BINARY(name) ht_var ht_##name##_(ht_var a, ht_var b, const char *where)

/** a + b */
#define ht_add(...) ht_add_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(add);
/** a - b */
#define ht_sub(...) ht_sub_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(sub);
/** a b, element by element */
#define ht_mul(...) ht_mul_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(mul);
/** a / b */
#define ht_div(...) ht_div_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(div);
/** the larger one; of equals the derivative goes to a */
#define ht_maximum(...) ht_maximum_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(maximum);
/** the smaller one; of equals the derivative goes to a */
#define ht_minimum(...) ht_minimum_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(minimum);
/** 1 where a > b, else 0, in the type of a; carries no derivative */
#define ht_greater(...) ht_greater_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(greater);
/** 1 where a < b, else 0, in the type of a; carries no derivative */
#define ht_less(...) ht_less_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(less);
/** 1 where a = b, else 0, in the type of a; carries no derivative */
#define ht_equal(...) ht_equal_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(equal);
/** 1 where a >= b, else 0, in the type of a; no derivative. NaN is neither above, below nor equal. */
#define ht_greater_equal(...) ht_greater_equal_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(greater_equal);
/** 1 where a <= b, else 0, in the type of a; no derivative */
#define ht_less_equal(...) ht_less_equal_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(less_equal);
/** 1 where a is not b, or either is NaN, else 0, in the type of a; no derivative */
#define ht_not_equal(...) ht_not_equal_(__VA_ARGS__, HT_HERE)
HT_DECLARE_BINARY(not_equal);
/** ht_where(c, a, b): a where c is not 0, else b. No derivative in c; the branch not taken gets exactly 0. */
#define ht_where(...) ht_where_(__VA_ARGS__, HT_HERE)
ht_var ht_where_(ht_var condition, ht_var a, ht_var b, const char *where);

/* ---- reductions and broadcasts ---- */
/** Sum of all elements, a scalar. */
#define ht_sum(...) ht_sum_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(sum);
/** Mean of all elements, a scalar. */
#define ht_mean(...) ht_mean_(__VA_ARGS__, HT_HERE)
HT_DECLARE_UNARY(mean);
/** ht_sum_to(x, shape): sums over the axes that are 1 in shape (same rank) or that shape lacks in front. */
#define ht_sum_to(...) ht_sum_to_(__VA_ARGS__, HT_HERE)
ht_var ht_sum_to_(ht_var x, ht_shape shape, const char *where);
/** ht_mean_to(x, shape): the mean over the same axes. */
#define ht_mean_to(...) ht_mean_to_(__VA_ARGS__, HT_HERE)
ht_var ht_mean_to_(ht_var x, ht_shape shape, const char *where);
/** ht_broadcast_to(x, shape): repeats along axes of size 1 and along new axes in front. */
#define ht_broadcast_to(...) ht_broadcast_to_(__VA_ARGS__, HT_HERE)
ht_var ht_broadcast_to_(ht_var x, ht_shape shape, const char *where);
typedef struct ht_reduce_args {
    const char *where;
    ht_var x;
    ht_shape axes;    /* a list of axes: HT_SHAPE(0, 2) */
    int32_t keep;     /* 1: they stay, of size 1; 0: they go */
    int32_t unbiased; /* ht_variance_axes, ht_deviation_axes: 1 divides by one less */
} ht_reduce_args;
/** Sum over axes: ht_sum_axes(x, HT_SHAPE(2, 3), .keep = 1). ESHAPE unless the axes exist, each once. */
#define ht_sum_axes(...) ht_sum_axes_((ht_reduce_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_sum_axes_(ht_reduce_args args);
/** Mean over axes, as ht_sum_axes. EINVALID where there is no number. */
#define ht_mean_axes(...) ht_mean_axes_((ht_reduce_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_mean_axes_(ht_reduce_args args);
/** Variance over axes, without cancellation, as ht_sum_axes. EINVALID where there are too few numbers. */
#define ht_variance_axes(...) ht_variance_axes_((ht_reduce_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_variance_axes_(ht_reduce_args args);
/** Root of ht_variance_axes; derivative 0 at 0. */
#define ht_deviation_axes(...) ht_deviation_axes_((ht_reduce_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_deviation_axes_(ht_reduce_args args);
/** Largest over axes; of equals the first in row-major order has the derivative. A NaN wins. */
#define ht_max_axes(...) ht_max_axes_((ht_reduce_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_max_axes_(ht_reduce_args args);
/** Smallest over axes, as ht_max_axes. */
#define ht_min_axes(...) ht_min_axes_((ht_reduce_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_min_axes_(ht_reduce_args args);
/** ht_argmin(x, axis): index of the first smallest along an axis, which becomes 1; HT_I32, carries no derivative. */
#define ht_argmin(...) ht_argmin_(__VA_ARGS__, HT_HERE)
ht_var ht_argmin_(ht_var x, int32_t axis, const char *where);
/** ht_argmax(x, axis): index of the first largest along an axis, which becomes 1; HT_I32, carries no derivative. */
#define ht_argmax(...) ht_argmax_(__VA_ARGS__, HT_HERE)
ht_var ht_argmax_(ht_var x, int32_t axis, const char *where);
/** ht_max_along(x, axis): the largest along an axis, which becomes 1, as a constant (no derivative). */
#define ht_max_along(...) ht_max_along_(__VA_ARGS__, HT_HERE)
ht_var ht_max_along_(ht_var x, int32_t axis, const char *where);
/** ht_logsumexp(x, axis): log of the sum of e^x along an axis, which becomes 1; without overflow. All -infinity gives
 *  -infinity and no derivative; of +infinities the derivative is shared equally. */
#define ht_logsumexp(...) ht_logsumexp_(__VA_ARGS__, HT_HERE)
ht_var ht_logsumexp_(ht_var x, int32_t axis, const char *where);
/** ht_softmax(x, axis): e^x over its sum. A row of -infinity has probabilities and derivative 0; +infinities share 1. */
#define ht_softmax(...) ht_softmax_(__VA_ARGS__, HT_HERE)
ht_var ht_softmax_(ht_var x, int32_t axis, const char *where);
/** ht_log_softmax(x, axis): the logarithm of ht_softmax, without overflow. */
#define ht_log_softmax(...) ht_log_softmax_(__VA_ARGS__, HT_HERE)
ht_var ht_log_softmax_(ht_var x, int32_t axis, const char *where);

/* ---- lists ---- */
/** Inner product over two lists of equal shapes, a scalar. */
#define ht_dot(...) ht_dot_(__VA_ARGS__, HT_HERE)
ht_var ht_dot_(ht_vars u, ht_vars v, const char *where);
/** Euclidean norm over a list, a scalar; derivative 0 at 0. */
#define ht_norm(...) ht_norm_(__VA_ARGS__, HT_HERE)
ht_var ht_norm_(ht_vars u, const char *where);
/** u / norm(u) */
#define ht_unit(...) ht_unit_(__VA_ARGS__, HT_HERE)
ht_vars ht_unit_(ht_vars u, const char *where);
/** ht_scale_by(u, a): a u_i with a scalar value a; names of u. */
#define ht_scale_by(...) ht_scale_by_(__VA_ARGS__, HT_HERE)
ht_vars ht_scale_by_(ht_vars u, ht_var a, const char *where);
/** ht_add_scaled(u, v, a): u_i + a v_i with a scalar value a; names of u. */
#define ht_add_scaled(...) ht_add_scaled_(__VA_ARGS__, HT_HERE)
ht_vars ht_add_scaled_(ht_vars u, ht_vars v, ht_var a, const char *where);

/* ---- movement ---- */
/** ht_reshape(x, shape): the same numbers, row-major, in another shape of equal count. */
#define ht_reshape(...) ht_reshape_(__VA_ARGS__, HT_HERE)
ht_var ht_reshape_(ht_var x, ht_shape shape, const char *where);
/** ht_permute(x, HT_SHAPE(axis...)): axis k of the result is axis order.dim[k] of x. */
#define ht_permute(...) ht_permute_(__VA_ARGS__, HT_HERE)
ht_var ht_permute_(ht_var x, ht_shape order, const char *where);
/** ht_slice(x, start, size): a block; start and size have one entry per axis. */
#define ht_slice(...) ht_slice_(__VA_ARGS__, HT_HERE)
ht_var ht_slice_(ht_var x, ht_shape start, ht_shape size, const char *where);
/** ht_pad(x, before, after): zeros around a block; one entry per axis. The adjoint of ht_slice. */
#define ht_pad(...) ht_pad_(__VA_ARGS__, HT_HERE)
ht_var ht_pad_(ht_var x, ht_shape before, ht_shape after, const char *where);
/** ht_concat(axis, list): one after the other along an axis; the other sizes agree. */
#define ht_concat(...) ht_concat_(__VA_ARGS__, HT_HERE)
ht_var ht_concat_(int32_t axis, ht_vars parts, const char *where);

/** ht_flip(x, HT_SHAPE(axis...)): backwards along these axes. */
#define ht_flip(...) ht_flip_(__VA_ARGS__, HT_HERE)
ht_var ht_flip_(ht_var x, ht_shape axes, const char *where);
/** ht_roll(x, shift, axis): place i goes to i + shift; what leaves at one end enters at the other. */
#define ht_roll(...) ht_roll_(__VA_ARGS__, HT_HERE)
ht_var ht_roll_(ht_var x, int64_t shift, int32_t axis, const char *where);
/** ht_tile(x, times): the whole, again and again; one number for each axis. */
#define ht_tile(...) ht_tile_(__VA_ARGS__, HT_HERE)
ht_var ht_tile_(ht_var x, ht_shape times, const char *where);
/** ht_repeat(x, times, axis): each slice along an axis, again and again. */
#define ht_repeat(...) ht_repeat_(__VA_ARGS__, HT_HERE)
ht_var ht_repeat_(ht_var x, int64_t times, int32_t axis, const char *where);
/** ht_slice_by(x, start, size, step): size places from start by steps, one entry per axis; a step may be negative, not 0. */
#define ht_slice_by(...) ht_slice_by_(__VA_ARGS__, HT_HERE)
ht_var ht_slice_by_(ht_var x, ht_shape start, ht_shape size, ht_shape step, const char *where);
/** ht_pad_reflect(x, before, after): padding by reflection; the edge is not repeated; less than the size; one entry per axis. */
#define ht_pad_reflect(...) ht_pad_reflect_(__VA_ARGS__, HT_HERE)
ht_var ht_pad_reflect_(ht_var x, ht_shape before, ht_shape after, const char *where);
/** ht_pad_replicate(x, before, after): padding by the edge's numbers; one entry per axis. */
#define ht_pad_replicate(...) ht_pad_replicate_(__VA_ARGS__, HT_HERE)
ht_var ht_pad_replicate_(ht_var x, ht_shape before, ht_shape after, const char *where);

/* ---- index: places are HT_I32. An index outside of its axis is never followed: it stops the run with EINVALID. ---- */
/** ht_integers(tape, numbers, shape): a constant of type HT_I32. */
#define ht_integers(...) ht_integers_(__VA_ARGS__, HT_HERE)
ht_var ht_integers_(ht_tape *tape, const int32_t *numbers, ht_shape shape, const char *where);
/** ht_take(x, index, axis): the slices of x at the index, which may have any rank and stands in place of the axis. */
#define ht_take(...) ht_take_(__VA_ARGS__, HT_HERE)
ht_var ht_take_(ht_var x, ht_var index, int32_t axis, const char *where);
/** ht_take_along(x, index, axis): another place for each line; the index has the sizes of x but along the axis. */
#define ht_take_along(...) ht_take_along_(__VA_ARGS__, HT_HERE)
ht_var ht_take_along_(ht_var x, ht_var index, int32_t axis, const char *where);
/** ht_put(x, index, source, axis): x with the slices of source added at the index; repeated places add up, in order. */
#define ht_put(...) ht_put_(__VA_ARGS__, HT_HERE)
ht_var ht_put_(ht_var x, ht_var index, ht_var source, int32_t axis, const char *where);
/** ht_one_hot(index, classes): 1 at the index along a new last axis, else 0, in the tape's type; all 0 for no class. */
#define ht_one_hot(...) ht_one_hot_(__VA_ARGS__, HT_HERE)
ht_var ht_one_hot_(ht_var index, int32_t classes, const char *where);

/* ---- matrix product ---- */
typedef struct ht_matmul_args {
    const char *where;
    ht_var a, b;
    int32_t transpose_a, transpose_b;
} ht_matmul_args;
/**
 * Matrix product over the last two axes; leading axes broadcast.
 *     ht_matmul(a, b, .transpose_b = 1)        [..., m, k] [..., k, n] -> [..., m, n]
 * ESHAPE if inner sizes or leading axes differ, or a rank is below 2. Multilinear; closed under differentiation.
 */
#define ht_matmul(...) ht_matmul_((ht_matmul_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_matmul_(ht_matmul_args args);

/* ---- convolution over 1, 2 or 3 spatial axes ---- */
/** One number per spatial axis. Zero-initialised it takes the default on every axis. */
typedef struct ht_axes {
    int32_t at[3];
    int32_t given; /* 0: the default */
} ht_axes;
/** The same number for every axis: .stride = ht_all(2). */
static inline ht_axes ht_all(int32_t n)
{
    ht_axes a = {{n, n, n}, 1};
    return a;
}
/** One number for each axis, in the order of the shape; surplus ones are not used: .pad = ht_each(1, 0, 0). */
static inline ht_axes ht_each(int32_t first, int32_t second, int32_t third)
{
    ht_axes a = {{first, second, third}, 1};
    return a;
}

typedef struct ht_conv_args {
    const char *where;
    ht_var x, w;
    ht_axes stride, pad, dilation, output_pad;
    int32_t groups;
} ht_conv_args;
/**
 * Cross-correlation of a batch with a filter bank ("convolution" in deep learning). For two spatial axes:
 *
 *     y[n,o,p,q] = sum over c,r,s of  x[n, c, p stride - pad + r dilation, q stride - pad + s dilation] * w[o,c,r,s]
 *
 * x          [N, C, spatial...]  real
 * w          [O, C/groups, spatial...]  dtype of x
 * .groups    divides C and O                     (default 1)
 * .stride    >= 1, every axis                    (default 1)
 * .pad       zeros on every side, >= 0           (default 0)
 * .dilation  distance of taps, >= 1              (default 1, that is none)
 * returns    [N, O, spatial...],  P = floor((H + 2 pad - dilation (R - 1) - 1) / stride) + 1, the others alike
 *
 * Errors     ESHAPE    rank, channels, or an empty output     EDTYPE  x and w differ
 *            EINVALID  stride or dilation < 1, pad < 0, groups < 1
 * Derivative multilinear; closed with its input adjoint and its weight adjoint, any order
 * Cost       2 N O P Q C/groups R S flop
 * Source     Deep Learning (2016), Eq. 9.6
 */
#define ht_conv(...) ht_conv_((ht_conv_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_conv_(ht_conv_args args);
/**
 * Transposed convolution: the adjoint of ht_conv in its input.
 * x [N, C, spatial...], w [C, O/groups, spatial...]; options as ht_conv, .output_pad extra rows at the end (default 0).
 * returns [N, O, spatial...],  H = (P - 1) stride - 2 pad + dilation (R - 1) + output_pad + 1
 */
#define ht_conv_transpose(...) ht_conv_transpose_((ht_conv_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_conv_transpose_(ht_conv_args args);

/* ---- pooling over 1, 2 or 3 spatial axes ---- */
typedef struct ht_pool_args {
    const char *where;
    ht_var x;
    ht_axes kernel, stride, pad; /* stride defaults to kernel */
    int32_t exclude_pad;         /* of ht_avg_pool             */
} ht_pool_args;
/** Largest in each window, of equals the first in row-major order. x [N, C, spatial...]. Padding never wins. */
#define ht_max_pool(...) ht_max_pool_((ht_pool_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_max_pool_(ht_pool_args args);
/** Mean of each window, padding counted as zeros; with .exclude_pad = 1 over the numbers of the image alone. */
#define ht_avg_pool(...) ht_avg_pool_((ht_pool_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_avg_pool_(ht_pool_args args);

/* ---- resizing and sampling of images ---- */
typedef struct ht_resize_args {
    const char *where;
    ht_var x;
    ht_shape size;
    int32_t linear, align_corners;
} ht_resize_args;
/**
 * Another size for the spatial axes of x [N, C, spatial...], of which there are 1 to 3.
 *     ht_resize(x, HT_SHAPE(64, 64), .linear = 1)
 *
 * size            one for each spatial axis, each at least 1
 * .linear         0: result i is number floor(i n / size) of n (nearest); 1: linear between the two at hand   (default 0)
 * .align_corners  of linear: 0: pixels have an extent, centre i lies at (i + 1/2) n / size - 1/2, held at the first and
 *                 the last; 1: the first and last centres stay, centre i lies at i (n - 1) / (size - 1)   (default 0)
 *
 * Errors     ESHAPE  rank, or a size below 1     EINVALID  .align_corners without .linear
 * Derivative linear; closed with its adjoint, which gathers in a fixed order
 */
#define ht_resize(...) ht_resize_((ht_resize_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_resize_(ht_resize_args args);
/** ht_adaptive_avg_pool(x, size): result i is the mean of floor(i n / size) up to ceil((i + 1) n / size), every axis. */
#define ht_adaptive_avg_pool(...) ht_adaptive_avg_pool_(__VA_ARGS__, HT_HERE)
ht_var ht_adaptive_avg_pool_(ht_var x, ht_shape size, const char *where);

typedef struct ht_grid_sample_args {
    const char *where;
    ht_var x, grid;
    int32_t border, align_corners;
} ht_grid_sample_args;
/**
 * Bilinear samples of x [N, C, H, W] at the points grid [N, P, Q, 2] = (x, y), of which -1 to 1 is the image's extent.
 * returns [N, C, P, Q].
 *     ht_grid_sample(image, ht_affine_grid(theta, HT_SHAPE(64, 64)))
 *
 * .border         0: outside of the image there are zeros; 1: a point outside reads the nearest border   (default 0)
 * .align_corners  0: -1 and 1 are the outer edges of the first and last pixels; 1: their centres         (default 0)
 *
 * Errors     ESHAPE
 * Derivative in x and in the grid, any order. At a pixel's centre the slope is that to the right; of a point held at the
 *            border it is 0.
 */
#define ht_grid_sample(...) ht_grid_sample_((ht_grid_sample_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_grid_sample_(ht_grid_sample_args args);

typedef struct ht_affine_grid_args {
    const char *where;
    ht_var theta;
    ht_shape size;
    int32_t align_corners;
} ht_affine_grid_args;
/**
 * A grid for ht_grid_sample: theta [N, 2, 3] times (x, y, 1) at each pixel of a result of the size [P, Q]; the rows of
 * theta give x and y. returns [N, P, Q, 2]. theta = (1 0 0 / 0 1 0) is the identity. .align_corners as there.
 */
#define ht_affine_grid(...) ht_affine_grid_((ht_affine_grid_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_affine_grid_(ht_affine_grid_args args);

/* ---- normalisation and attention ---- */
typedef struct ht_norm_args {
    const char *where;
    ht_var x, gain, bias;
    double eps;
    int32_t groups, axes;
} ht_norm_args;
/**
 * (x - mean) / sqrt(variance + eps) * gain + bias, with the biased variance of each group of numbers.
 *     ht_batch_norm(x, gain, bias)                a group for each channel
 *     ht_instance_norm(x, gain, bias)             for each case and channel
 *     ht_group_norm(x, gain, bias, .groups = 4)   for each case and C / groups channels in a row
 *     ht_layer_norm(x, gain, bias, .axes = 2)     for everything before the last .axes axes
 *
 * x           [N, C, spatial...]; of ht_layer_norm any shape. In ht_batch_norm and ht_group_norm there may be no spatial axis.
 * gain, bias  [C]; of ht_layer_norm the shape of the last axes. Each may be left out           (default: 1 and 0)
 * .eps        0 stands for the default                                                          (default 1e-5)
 * .groups     divides C; no default           .axes  (default 1)
 *
 * A group of equal numbers, or of one, gives exactly `bias`, and derivatives that are finite at every order.
 * Errors      ESHAPE  rank, gain or bias, an empty x, one number alone for a channel in ht_batch_norm
 *             EINVALID  groups, eps < 0
 * Derivative  in x, gain and bias, any order. Running statistics: see nn_batch_norm.
 */
#define ht_batch_norm(...) ht_batch_norm_((ht_norm_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_batch_norm_(ht_norm_args args);
/** ht_instance_norm(x, gain, bias): a group for each case and channel. See ht_batch_norm. */
#define ht_instance_norm(...) ht_instance_norm_((ht_norm_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_instance_norm_(ht_norm_args args);
/** ht_group_norm(x, gain, bias, .groups = 4): a group for each case and C / groups channels in a row. See ht_batch_norm. */
#define ht_group_norm(...) ht_group_norm_((ht_norm_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_group_norm_(ht_norm_args args);
/** ht_layer_norm(x, gain, bias, .axes = 2): a group for everything before the last axes. See ht_batch_norm. */
#define ht_layer_norm(...) ht_layer_norm_((ht_norm_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_layer_norm_(ht_norm_args args);

typedef struct ht_attention_args {
    const char *where;
    ht_var q, k, v;
    double scale;
} ht_attention_args;
/**
 * softmax(q k' scale) v, the softmax over the keys: q [..., L, d], k [..., M, d], v [..., M, e] -> [..., L, e]; leading
 * axes broadcast. .scale is 1 / sqrt(d) by default.
 *     ht_attention(q, k, v)
 */
#define ht_attention(...) ht_attention_((ht_attention_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_attention_(ht_attention_args args);

/* ---- losses between a value and a target; means over all elements, scalars ---- */
/** Mean of |x - target|; derivative 0 where they are equal. */
#define ht_l1_loss(...) ht_l1_loss_(__VA_ARGS__, HT_HERE)
ht_var ht_l1_loss_(ht_var x, ht_var target, const char *where);
/** Mean of (x - target)^2. */
#define ht_l2_loss(...) ht_l2_loss_(__VA_ARGS__, HT_HERE)
ht_var ht_l2_loss_(ht_var x, ht_var target, const char *where);
/** ht_hinge_loss(scores, side): mean of max(0, 1 - score side), with side -1 or 1; derivative 0 at the kink. */
#define ht_hinge_loss(...) ht_hinge_loss_(__VA_ARGS__, HT_HERE)
ht_var ht_hinge_loss_(ht_var scores, ht_var side, const char *where);
/** ht_jaccard_loss(p, t, smooth): 1 - (sum p t + smooth) / (sum p + sum t - sum p t + smooth) over all elements. */
#define ht_jaccard_loss(...) ht_jaccard_loss_(__VA_ARGS__, HT_HERE)
ht_var ht_jaccard_loss_(ht_var probabilities, ht_var target, double smooth, const char *where);
/**
 * ht_weighted_cross_entropy(logits, target, weight): mean of -(weight t log p + (1 - t) log(1 - p)), p = sigmoid(logit):
 * a positive counts `weight` times. The weight broadcasts: one number, or [1, C, 1, 1].
 */
#define ht_weighted_cross_entropy(...) ht_weighted_cross_entropy_(__VA_ARGS__, HT_HERE)
ht_var ht_weighted_cross_entropy_(ht_var logits, ht_var target, ht_var weight, const char *where);
/**
 * ht_focal_loss(logits, target, focus, balance): mean of -(b t (1 - p)^focus log p + (1 - b)(1 - t) p^focus log(1 - p)),
 * exact at every magnitude. A balance of 0 leaves both factors, b and 1 - b, out. EINVALID unless focus >= 0 and
 * 0 <= balance < 1. Source: Lin et al. (2017), Eq. 5.
 */
#define ht_focal_loss(...) ht_focal_loss_(__VA_ARGS__, HT_HERE)
ht_var ht_focal_loss_(ht_var logits, ht_var target, double focus, double balance, const char *where);

/* ---- losses on logits; means over all elements, scalars ---- */
/** ht_sigmoid_cross_entropy(logits, target): mean of t softplus(-z) + (1 - t) softplus(z), value and slope exact
 *  at every magnitude; target in [0, 1]. */
#define ht_sigmoid_cross_entropy(...) ht_sigmoid_cross_entropy_(__VA_ARGS__, HT_HERE)
ht_var ht_sigmoid_cross_entropy_(ht_var logits, ht_var target, const char *where);
typedef struct ht_softmax_cross_entropy_args {
    const char *where;
    ht_var logits;    /* [N, C, ...]                                                            */
    ht_var target;    /* [N, ...] of HT_I32: the class, 0 to C - 1                              */
    ht_var weights;   /* [C], >= 0; empty: 1                                                    */
    int32_t ignoring; /* 1: targets equal to `ignore` do not count                              */
    int32_t ignore;
} ht_softmax_cross_entropy_args;
/**
 * Mean of -log softmax(logits)[target], weighted by the weights of the target classes.
 *     ht_softmax_cross_entropy(logits, target, .ignoring = 1, .ignore = 255)
 * Logits of ignored targets may be anything; if none counts, the loss and its derivatives are 0. A target that is no class
 * stops the run (see ht_take). ESHAPE, EDTYPE if the shapes or the type of the target do not fit.
 */
#define ht_softmax_cross_entropy(...) \
    ht_softmax_cross_entropy_((ht_softmax_cross_entropy_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_softmax_cross_entropy_(ht_softmax_cross_entropy_args args);
/** ht_dice_loss(p, t, smooth): 1 - (2 sum p t + smooth) / (sum p + sum t + smooth) over all elements. */
#define ht_dice_loss(...) ht_dice_loss_(__VA_ARGS__, HT_HERE)
ht_var ht_dice_loss_(ht_var probabilities, ht_var target, double smooth, const char *where);
/** ht_charbonnier(x, delta): sqrt(x^2 + delta^2), a smooth |x|, elementwise. */
#define ht_charbonnier(...) ht_charbonnier_(__VA_ARGS__, HT_HERE)
ht_var ht_charbonnier_(ht_var x, double delta, const char *where);

/* ---- random numbers: functions of (seed, stream, step, element); they carry no derivative ---- */
typedef struct ht_random_args {
    const char *where;
    ht_tape *tape;
    ht_shape shape;
    ht_var step;        /* HT_I32 scalar that the program advances; empty: step 0 always                 */
    uint64_t seed;
    const char *stream; /* the stream's name: equal names at one step give equal numbers                   */
    double probability; /* ht_bernoulli: of 1                                                            */
} ht_random_args;
/** Uniform in (0, 1). */
#define ht_uniform(...) ht_uniform_((ht_random_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_uniform_(ht_random_args args);
/** Standard normal (Box-Muller). */
#define ht_normal(...) ht_normal_((ht_random_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_normal_(ht_random_args args);
/** 1 with the probability given, else 0. */
#define ht_bernoulli(...) ht_bernoulli_((ht_random_args){.where = HT_HERE, __VA_ARGS__})
ht_var ht_bernoulli_(ht_random_args args);

#ifdef __cplusplus
}
#endif
#endif
