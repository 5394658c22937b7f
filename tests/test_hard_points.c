/*
 * Points at which frameworks are known to give wrong or useless derivatives, each by name, in f32 and f64: the value, the
 * first derivative and the derivative of that (along ones), as they must be. Then what must be refused there.
 *
 * Points whose tests stand elsewhere:
 *     batch norm, orders 1 to 3, training and evaluation; empty batches and sizes of 1 of every op      ht-gradcheck
 *     running variance unbiased, by formula; plateau: its truth table, NaN, equal values                test_nn.c
 *     softmax of infinities in rows; cross-entropy with classes, weights, ignored; largest of NaN        test_ops1.c
 *     moments of optimisers whose squares underflow; bits against a scalar reference                     test_optim.c
 *     Jaccard of two empty masks                                                                         test_ops2.c
 *     means of scores with and without empty masks                                                       test_evaluate.c
 *     convolutions against a direct sum at odd strides, dilation, groups                                 test_conv.c
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kit.h"
#include "tap.h"

enum { MOST = 8 };
#define INF INFINITY
#define FREE 1e99 /* an expected number of which nothing is said but that it is finite */

static ht_device *device;
static ht_store *moments[2]; /* of Adam: one for each type */

typedef struct point {
    const char *name;
    ht_var (*y)(ht_tape *tape, ht_var x); /* x: [n] */
    int32_t n, results;
    double x[MOST], value[MOST], slope[MOST], bend[MOST];
} point;

/* ---- recordings ---- */

#define POINT(name, expression)                    \
    static ht_var name(ht_tape *tape, ht_var x)    \
    {                                              \
        (void)tape;                                \
        return expression;                         \
    }
#define IMAGE(x, ...) ht_reshape(x, HT_SHAPE(__VA_ARGS__))
#define INDEX(...) ht_integers(tape, ((const int32_t[]){__VA_ARGS__}), HT_SHAPE(sizeof((int32_t[]){__VA_ARGS__}) / 4))

static ht_var constant(ht_tape *tape, double number, ht_shape shape) { return ht_fill(tape, number, shape); }

POINT(logsumexp, ht_logsumexp(x, 0))
POINT(softmax, ht_softmax(x, 0))
POINT(log_softmax, ht_log_softmax(x, 0))
POINT(all_ignored, ht_softmax_cross_entropy(IMAGE(x, 2, 2), INDEX(9, 9), .ignoring = 1, .ignore = 9))
POINT(one_ignored, ht_softmax_cross_entropy(IMAGE(x, 2, 2), INDEX(0, 9), .ignoring = 1, .ignore = 9))
POINT(bce_one, ht_sigmoid_cross_entropy(x, constant(tape, 1, ht_var_shape(x))))
POINT(bce_zero, ht_sigmoid_cross_entropy(x, constant(tape, 0, ht_var_shape(x))))
POINT(bce_mask, ht_sigmoid_cross_entropy(x, ht_constant(tape, ((const double[]){1, 0, 0.25}), ht_var_shape(x))))
POINT(batch_norm, ht_batch_norm(IMAGE(x, 4, 1), .bias = constant(tape, 3, HT_SHAPE(1))))
POINT(layer_norm, ht_layer_norm(x, .bias = constant(tape, 3, ht_var_shape(x))))
POINT(instance_norm, ht_instance_norm(IMAGE(x, 1, 2, 1, 1), .bias = constant(tape, 3, HT_SHAPE(2))))
POINT(group_norm, ht_group_norm(IMAGE(x, 1, 2, 1, 1), .groups = 2, .bias = constant(tape, 3, HT_SHAPE(2))))
POINT(deviation, ht_deviation_axes(x, HT_SHAPE(0)))
POINT(variance, ht_variance_axes(x, HT_SHAPE(0)))
POINT(root, ht_sqrt(x))
POINT(safe_root, ht_safe_sqrt(x))
POINT(inverse_root, ht_rsqrt(x))
POINT(norm, ht_norm(ht_list(x)))
POINT(charbonnier, ht_charbonnier(x, 0.5))
POINT(where_first, ht_where(ht_greater(x, constant(tape, 0, ht_var_shape(x))), x, constant(tape, NAN, ht_var_shape(x))))
POINT(where_second, ht_where(constant(tape, 0, ht_var_shape(x)), ht_log(ht_stop(x)), x))
POINT(absolute, ht_abs(x))
POINT(rectified, ht_relu(x))
POINT(leaky, ht_leaky_relu(x, 0.25))
POINT(leaky_flat, ht_leaky_relu(x, 0))
POINT(leaky_negative, ht_leaky_relu(x, -0.5))
POINT(above_zero, ht_maximum(x, constant(tape, 0, ht_var_shape(x))))
POINT(clamped, ht_clamp(x, -1, 1))
POINT(windows, ht_max_pool(IMAGE(x, 1, 1, 2, 3), .kernel = ht_each(2, 2, 1), .stride = ht_all(1)))
POINT(windows_padded, ht_max_pool(IMAGE(x, 1, 1, 3), .kernel = ht_all(2), .stride = ht_all(2), .pad = ht_all(1)))
POINT(largest, ht_max_axes(x, HT_SHAPE(0)))
POINT(smallest, ht_min_axes(x, HT_SHAPE(0)))
POINT(power_zero, ht_pow(x, 0))
POINT(power_one, ht_pow(x, 1))
POINT(power_two, ht_pow(x, 2))
POINT(power_three, ht_pow(x, 3))
POINT(product, ht_mul(ht_slice(x, HT_SHAPE(0), HT_SHAPE(1)), ht_slice(x, HT_SHAPE(1), HT_SHAPE(1))))
POINT(log1p_near, ht_scale(ht_log1p(x), 1e20))
POINT(expm1_near, ht_scale(ht_expm1(x), 1e20))
POINT(from_one, ht_resize(IMAGE(x, 1, 1, 1), HT_SHAPE(3), .linear = 1, .align_corners = 1))
POINT(to_one, ht_resize(IMAGE(x, 1, 1, 3), HT_SHAPE(1), .linear = 1, .align_corners = 1))
POINT(centres_to_one, ht_resize(IMAGE(x, 1, 1, 3), HT_SHAPE(1), .linear = 1))
POINT(jumping, ht_conv(IMAGE(x, 1, 1, 5), constant(tape, 2, HT_SHAPE(1, 1, 1)), .stride = ht_all(3)))
POINT(dice, ht_dice_loss(x, constant(tape, 0, ht_var_shape(x)), 1))
POINT(dice_one, ht_dice_loss(x, constant(tape, 1, ht_var_shape(x)), 1))
POINT(jaccard, ht_jaccard_loss(x, constant(tape, 0, ht_var_shape(x)), 1))
POINT(attention, ht_attention(IMAGE(x, 2, 1), IMAGE(x, 2, 1), IMAGE(x, 2, 1)))
POINT(sigmoid, ht_sigmoid(x))
POINT(softplus, ht_softplus(x))
POINT(gelu, ht_gelu(x))
POINT(silu, ht_silu(x))
POINT(hinge, ht_hinge_loss(x, constant(tape, 1, ht_var_shape(x))))
POINT(focal, ht_focal_loss(x, constant(tape, 1, ht_var_shape(x)), 2, 0))

/* One step of Adam from no moments, with x as the gradient. */
static ht_var adam(ht_tape *tape, ht_var x)
{
    ht_store *store = moments[ht_tape_dtype(tape) == HT_F32];
    static const char *const names[] = {"w"};
    ht_var w = ht_fill(tape, 1, ht_var_shape(x));
    ht_vars next = nn_adam(store, ht_vars_new(tape, &w, names, 1), ht_vars_new(tape, &x, names, 1), .rate = 0.5, .read_only = 1);
    return next.count ? next.at[0] : (ht_var){0};
}

#define SIG1 0.26894142136999512  /* 1 / (1 + e) */
#define DSIG1 0.19661193324148185 /* its slope at 1 */
static const point points[] = {
    {"logsumexp, all -infinity", logsumexp, 2, 1, {-INF, -INF}, {-INF}, {0, 0}, {0, 0}},
    {"logsumexp, one +infinity", logsumexp, 3, 1, {0, INF, -INF}, {INF}, {0, 1, 0}, {0, 0, 0}},
    {"logsumexp, two +infinities", logsumexp, 3, 1, {INF, 1, INF}, {INF}, {0.5, 0, 0.5}, {0, 0, 0}},
    {"logsumexp, huge", logsumexp, 2, 1, {1e30, 1e30}, {1e30}, {0.5, 0.5}, {0, 0}},
    {"softmax, all -infinity", softmax, 2, 2, {-INF, -INF}, {0, 0}, {0, 0}, {0, 0}},
    {"softmax, one +infinity", softmax, 2, 2, {INF, 3}, {1, 0}, {0, 0}, {0, 0}},
    {"softmax, two +infinities", softmax, 3, 3, {INF, 1, INF}, {0.5, 0, 0.5}, {-0.5, 0, 0.5}, {0, 0, 0}},
    {"log softmax, all -infinity", log_softmax, 2, 2, {-INF, -INF}, {-INF, -INF}, {0, 0}, {0, 0}},
    {"log softmax, far apart", log_softmax, 2, 2, {0, 1e4}, {-1e4, 0}, {1, -1}, {0, 0}},
    {"cross-entropy, all ignored", all_ignored, 4, 1, {1, 2, 3, 4}, {0}, {0, 0, 0, 0}, {0, 0, 0, 0}},
    {"cross-entropy, -infinity where ignored", one_ignored, 4, 1, {0, 0, -INF, -INF}, {0.69314718055994531}, {-0.5, 0.5, 0, 0},
     {0, 0, 0, 0}},
    {"cross-entropy, all ignored and NaN", all_ignored, 4, 1, {NAN, NAN, INF, -INF}, {0}, {0, 0, 0, 0}, {0, 0, 0, 0}},
    {"BCE with logits at 0", bce_one, 1, 1, {0}, {0.69314718055994531}, {-0.5}, {0.25}},
    {"BCE with logits, large and right", bce_one, 1, 1, {80}, {1.8048513878454153e-35}, {-1.8048513878454153e-35},
     {1.8048513878454153e-35}},
    {"BCE with logits, large and wrong", bce_one, 1, 1, {-1000}, {1000}, {-1}, {0}},
    {"BCE with logits, large and wrong, other class", bce_zero, 1, 1, {1000}, {1000}, {1}, {0}},
    {"BCE with logits, a mask of 1, 0 and 1/4", bce_mask, 3, 1, {80, -80, 0}, {0.69314718055994531 / 3},
     {-1.8048513878454153e-35 / 3, 1.8048513878454153e-35 / 3, 0.25 / 3},
     {1.8048513878454153e-35 / 3, 1.8048513878454153e-35 / 3, 0.25 / 3}},
    {"batch norm, constant input", batch_norm, 4, 4, {7, 7, 7, 7}, {3, 3, 3, 3}, {FREE, FREE, FREE, FREE}, {0, 0, 0, 0}},
    {"batch norm, constant and large", batch_norm, 4, 4, {1e6, 1e6, 1e6, 1e6}, {3, 3, 3, 3}, {FREE, FREE, FREE, FREE},
     {0, 0, 0, 0}},
    {"batch norm, spread far below eps", batch_norm, 4, 4, {1e-18, 0, 0, 1e-18}, {3, 3, 3, 3}, {FREE, FREE, FREE, FREE},
     {FREE, FREE, FREE, FREE}},
    {"layer norm of one number", layer_norm, 1, 1, {5}, {3}, {0}, {0}},
    {"instance norm of one pixel", instance_norm, 2, 2, {5, -4}, {3, 3}, {0, 0}, {0, 0}},
    {"group norm of one pixel", group_norm, 2, 2, {5, -4}, {3, 3}, {0, 0}, {0, 0}},
    {"deviation of a constant", deviation, 3, 1, {2, 2, 2}, {0}, {0, 0, 0}, {0, 0, 0}},
    {"variance of a constant", variance, 3, 1, {0.1, 0.1, 0.1}, {0}, {0, 0, 0}, {0, 0, 0}},
    {"sqrt at 0", root, 1, 1, {0}, {0}, {INF}, {-INF}},
    {"safe sqrt at 0", safe_root, 2, 2, {0, 4}, {0, 2}, {0, 0.5}, {0, -0.0625}},
    {"rsqrt at 0", inverse_root, 1, 1, {0}, {INF}, {-INF}, {INF}},
    {"norm at 0", norm, 3, 1, {0, 0, 0}, {0}, {0, 0, 0}, {0, 0, 0}},
    {"fused sqrt(x^2 + d^2) at 0", charbonnier, 1, 1, {0}, {0.5}, {0}, {2}},
    {"where, NaN not taken", where_first, 2, 2, {1, 2}, {1, 2}, {1, 2}, {0, 0}},
    {"where, log of a negative not taken", where_second, 2, 2, {-1, -2}, {-1, -2}, {1, 2}, {0, 0}},
    {"abs at 0", absolute, 3, 3, {0, -2, 2}, {0, 2, 2}, {0, -2, 3}, {0, 0, 0}},
    {"ReLU at 0 and -0", rectified, 2, 2, {0, -0.0}, {0, 0}, {0, 0}, {0, 0}},
    {"ReLU of the least normals", rectified, 2, 2, {FLT_MIN, -FLT_MIN}, {FLT_MIN, 0}, {1, 0}, {0, 0}},
    {"ReLU of subnormals", rectified, 2, 2, {0x1p-149, -0x1p-149}, {0x1p-149, 0}, {1, 0}, {0, 0}},
    {"leaky ReLU at 0", leaky, 2, 2, {0, -4}, {0, -1}, {0.25, 0.5}, {0, 0}},
    {"leaky ReLU of slope 0", leaky_flat, 3, 3, {0, -4, 4}, {0, 0, 4}, {0, 0, 3}, {0, 0, 0}},
    {"leaky ReLU of a negative slope", leaky_negative, 3, 3, {0, -4, 4}, {0, 2, 4}, {-0.5, -1, 3}, {0, 0, 0}},
    {"max(x, 0) at 0: of equals the first", above_zero, 2, 2, {0, -1}, {0, 0}, {1, 0}, {0, 0}},
    {"clamp at its bounds", clamped, 4, 4, {-1, 1, -2, 2}, {-1, 1, -1, 1}, {1, 2, 0, 0}, {0, 0, 0, 0}},
    {"max pool, ties: first in row-major order", windows, 6, 2, {5, 5, 5, 5, 5, 5}, {5, 5}, {1, 2, 0, 0, 0, 0}, {0}},
    {"max pool, all -infinity", windows, 6, 2, {-INF, -INF, -INF, -INF, -INF, -INF}, {-INF, -INF}, {1, 2, 0, 0, 0, 0}, {0}},
    {"max pool, all NaN", windows, 6, 2, {NAN, NAN, NAN, NAN, NAN, NAN}, {NAN, NAN}, {1, 2, 0, 0, 0, 0}, {0}},
    {"max pool, one NaN wins", windows, 6, 2, {9, 1, 1, 9, NAN, 1}, {NAN, NAN}, {0, 0, 0, 0, 3, 0}, {0}},
    {"max pool, padding never wins", windows_padded, 3, 2, {-5, -6, -7}, {-5, -6}, {1, 2, 0}, {0}},
    {"largest, ties: the first", largest, 3, 1, {2, 2, 2}, {2}, {1, 0, 0}, {0}},
    {"smallest, ties: the first", smallest, 3, 1, {1, 0, 0}, {0}, {0, 1, 0}, {0}},
    {"0 to the power 0", power_zero, 1, 1, {0}, {1}, {0}, {0}},
    {"0 to the power 1", power_one, 1, 1, {0}, {0}, {1}, {0}},
    {"0 to the power 2", power_two, 1, 1, {0}, {0}, {0}, {2}},
    {"0 to the power 3", power_three, 1, 1, {0}, {0}, {0}, {0}},
    {"a product of zeros", product, 2, 1, {0, 0}, {0}, {0, 0}, {1, 1}},
    {"log1p near 0", log1p_near, 1, 1, {1e-20}, {1}, {1e20}, {-1e20}},
    {"expm1 near 0", expm1_near, 1, 1, {1e-20}, {1}, {1e20}, {1e20}},
    {"resize from one pixel, corners aligned", from_one, 1, 3, {2}, {2, 2, 2}, {6}, {0}},
    {"resize to one pixel, corners aligned", to_one, 3, 1, {1, 2, 4}, {1}, {1, 0, 0}, {0}},
    {"resize to one pixel, centres", centres_to_one, 3, 1, {1, 2, 4}, {2}, {0, 1, 0}, {0}},
    {"convolution, stride above the kernel", jumping, 5, 2, {1, 2, 3, 4, 5}, {2, 8}, {2, 0, 0, 4, 0}, {0}},
    {"Dice, both empty", dice, 2, 1, {0, 0}, {0}, {1, 1}, {-4, -4}},
    {"Dice, one empty", dice_one, 2, 1, {0, 0}, {2.0 / 3}, {-5.0 / 9, -5.0 / 9}, {FREE, FREE}},
    {"Jaccard, both empty", jaccard, 2, 1, {0, 0}, {0}, {1, 1}, {-4, -4}},
    {"attention of equal keys", attention, 2, 2, {0, 0}, {0, 0}, {1.5, 1.5}, {0, 0}},
    {"sigmoid, far out", sigmoid, 2, 2, {-1e4, 1e4}, {0, 1}, {0, 0}, {0, 0}},
    {"sigmoid at +-1", sigmoid, 2, 2, {-1, 1}, {SIG1, 1 - SIG1}, {DSIG1, 2 * DSIG1}, {FREE, FREE}},
    {"softplus, far out", softplus, 2, 2, {-1e4, 1e4}, {0, 1e4}, {0, 2}, {0, 0}},
    {"GELU, far out", gelu, 2, 2, {-1e3, 1e3}, {0, 1e3}, {0, 2}, {0, 0}},
    {"SiLU, far out", silu, 2, 2, {-1e4, 1e4}, {0, 1e4}, {0, 2}, {0, 0}},
    {"hinge at the kink", hinge, 1, 1, {1}, {0}, {0}, {0}},
    {"focal loss, far out", focal, 1, 1, {1e3}, {0}, {0}, {0}},
    {"Adam, first step, zero gradient", adam, 2, 2, {0, 0}, {1, 1}, {FREE, FREE}, {FREE, FREE}},
};

/* ---- the table ---- */

static int as_expected(const double *is, const double *expected, int32_t count, double tolerance)
{
    for (int32_t i = 0; i < count; i++) {
        double want = expected[i];
        if (want == FREE ? !isfinite(is[i]) : isnan(want) ? !isnan(is[i]) : isinf(want) ? is[i] != want
                         : !(fabs(is[i] - want) <= tolerance * fabs(want))) return 0;
    }
    return 1;
}

static int read(ht_program *program, int32_t output, int32_t count, ht_dtype dtype, double *to)
{
    float narrow[MOST];
    if (dtype == HT_F64) return ht_get_at(program, output, to, count) == HT_OK;
    if (ht_get_at(program, output, narrow, count) != HT_OK) return 0;
    for (int32_t i = 0; i < count; i++) to[i] = (double)narrow[i];
    return 1;
}

static void test_point(const point *p, ht_dtype dtype)
{
    static const double weight[MOST] = {1, 2, 3, 4, 5, 6, 7, 8}; /* of the results */
    ht_error error = {0};
    float narrow[MOST];
    double is[3][MOST] = {{0}};
    ht_tape *tape = ht_tape_new(dtype);
    ht_var x = ht_input(tape, "x", HT_SHAPE(p->n)), y = p->y(tape, x);
    ht_vars slope = ht_vjp(ht_list(y), ht_list(ht_constant(tape, weight, ht_var_shape(y))), ht_list(x));
    ht_vars bend = slope.count ? ht_vjp(slope, ht_list(ht_fill(tape, 1, HT_SHAPE(p->n))), ht_list(x)) : slope;
    ht_program *program = NULL;
    if (bend.count) program = ht_compile(tape, device, ht_list(y, slope.at[0], bend.at[0]), .error = &error);
    else error = *ht_tape_error(tape);
    for (int32_t i = 0; i < p->n; i++) narrow[i] = (float)p->x[i];
    int ran = program && ht_set(program, x, dtype == HT_F64 ? (const void *)p->x : narrow, p->n) == HT_OK;
    ran = ran && ht_run(program) == HT_OK;
    for (int32_t i = 0; i < 3; i++) ran = ran && read(program, i, i == 0 ? p->results : p->n, dtype, is[i]);
    double tolerance = dtype == HT_F64 ? 2e-12 : 8e-6;
    int good = ran && as_expected(is[0], p->value, p->results, tolerance) && as_expected(is[1], p->slope, p->n, tolerance) &&
               as_expected(is[2], p->bend, p->n, tolerance);
    tap_ok(good, "%s, %s: value %g %g, slope %g %g %g, bend %g %g %g %s", p->name, ht_dtype_name(dtype), is[0][0], is[0][1],
           is[1][0], is[1][1], is[1][2], is[2][0], is[2][1], is[2][2], error.message);
    ht_program_free(program);
    ht_tape_free(tape);
}

/* ---- points that need more than one row ---- */

static double run_one(ht_var y, ht_var x, const double *numbers, int64_t count)
{
    ht_error error = {0};
    double value = NAN;
    ht_program *program = ht_compile(y.tape, device, ht_list(y), .error = &error);
    if (program && ht_set(program, x, numbers, count) == HT_OK && ht_run(program) == HT_OK) ht_get_at(program, 0, &value, 1);
    else tap_ok(0, "runs: %s", error.message);
    ht_program_free(program);
    return value;
}

/* L(x, 1) = L(-x, 0) and dL(x, 1) = -dL(-x, 0), over all exponents, to the last bit. */
static void test_antisymmetry(void)
{
    int32_t off = 0, zero = 0;
    for (int32_t e = -1070; e < 1020; e++) {
        ht_tape *tape = ht_tape_new(HT_F64);
        ht_var x = ht_input(tape, "x", HT_SHAPE(1)), minus = ht_neg(x);
        ht_var right = bce_one(tape, x), left = bce_zero(tape, minus);
        ht_var slopes = ht_sub(ht_grad(right, ht_list(x)).at[0], ht_grad(left, ht_list(x)).at[0]);
        ht_var gap = ht_add(ht_abs(ht_sub(right, left)), ht_abs(ht_reshape(slopes, HT_SCALAR)));
        double at = ldexp(1.25, e), below = -at;
        off += run_one(gap, x, &at, 1) != 0;
        off += run_one(gap, x, &below, 1) != 0;
        if (at < 700 && at > 30) zero += run_one(ht_grad(right, ht_list(x)).at[0], x, &at, 1) == 0;
        ht_tape_free(tape);
        if (e < -60 || e > 20) e += 24; /* every exponent where something happens, every 25th elsewhere */
    }
    tap_ok(off == 0, "BCE with logits: L(x, 1) = L(-x, 0), and the slopes, over all exponents (%d differ)", (int)off);
    tap_ok(zero == 0, "BCE with logits: no slope that f64 can hold is lost (%d are 0)", (int)zero);
}

static void test_variance(void)
{
    enum { COUNT = 4096 };
    static double x[COUNT];
    static const double offset[] = {1e5, 0, 0}, size[] = {1, 1e-30, 1e30};
    for (int k = 0; k < 3; k++) {
        long double mean = 0, sum = 0;
        for (int i = 0; i < COUNT; i++) x[i] = (double)(float)(offset[k] + size[k] * kit_uniform(5, i));
        for (int i = 0; i < COUNT; i++) mean += (long double)x[i] / COUNT;
        for (int i = 0; i < COUNT; i++) sum += ((long double)x[i] - mean) * ((long double)x[i] - mean) / COUNT;
        ht_tape *tape = ht_tape_new(HT_F64), *single = ht_tape_new(HT_F32);
        ht_var in = ht_input(tape, "x", HT_SHAPE(COUNT));
        double is = run_one(variance(tape, in), in, x, COUNT);
        tap_ok(fabs(is / (double)sum - 1) <= 1e-12, "variance at %g +- %g, f64: off by %.1e", offset[k], size[k],
               is / (double)sum - 1);
        if (k == 0) { /* squares of 1e-30 and 1e30 are beyond f32 */
            static float narrow[COUNT];
            float got = NAN;
            for (int i = 0; i < COUNT; i++) narrow[i] = (float)x[i];
            ht_var s = ht_input(single, "x", HT_SHAPE(COUNT)), v = variance(single, s);
            ht_program *program = ht_compile(single, device, ht_list(v));
            if (program && ht_set(program, s, narrow, COUNT) == HT_OK && ht_run(program) == HT_OK)
                ht_get_at(program, 0, &got, 1);
            tap_ok(fabs((double)got / (double)sum - 1) <= 1e-6, "variance at 1e5 +- 1, f32: off by %.1e",
                   (double)got / (double)sum - 1);
            ht_program_free(program);
        }
        ht_tape_free(tape);
        ht_tape_free(single);
    }
}

/* ---- what is refused ---- */

typedef struct refusal {
    const char *name;
    ht_var (*y)(ht_tape *tape, ht_var x);
    ht_status status;
    const char *words;
} refusal;

POINT(one_value, ht_batch_norm(IMAGE(x, 1, 4)))
POINT(one_number, ht_variance_axes(ht_slice(x, HT_SHAPE(0), HT_SHAPE(1)), HT_SHAPE(0), .unbiased = 1))
POINT(wide_padding, ht_max_pool(IMAGE(x, 1, 1, 4), .kernel = ht_all(2), .stride = ht_all(1), .pad = ht_all(2)))
POINT(large_kernel, ht_conv(IMAGE(x, 1, 1, 4), constant(tape, 1, HT_SHAPE(1, 1, 5))))
POINT(large_output_pad, ht_conv_transpose(IMAGE(x, 1, 1, 4), constant(tape, 1, HT_SHAPE(1, 1, 3)), .stride = ht_all(2),
                                          .output_pad = ht_all(2)))
POINT(too_large_a_class, ht_softmax_cross_entropy(IMAGE(x, 2, 2), INDEX(0, 2)))
POINT(a_negative_class, ht_softmax_cross_entropy(IMAGE(x, 2, 2), INDEX(-1, 0)))

/* Refused when recorded, or, what is known by its numbers alone, when run. */
static void test_refusals(void)
{
    static const refusal refusals[] = {
        {"batch norm of one value per channel", one_value, HT_ESHAPE, "[1,4]"},
        {"unbiased variance of one number", one_number, HT_EINVALID, "1 numbers"},
        {"padding larger than half a window", wide_padding, HT_EINVALID, "kernel / 2"},
        {"a kernel larger than the image", large_kernel, HT_ESHAPE, "leaves no output"},
        {"output padding as large as the stride", large_output_pad, HT_EINVALID, "output_pad < stride"},
        {"a class beyond the last", too_large_a_class, HT_EINVALID, "outside of its axis"},
        {"a negative class", a_negative_class, HT_EINVALID, "outside of its axis"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        static const double numbers[4] = {1, 2, 3, 4};
        ht_error error = {0};
        ht_tape *tape = ht_tape_new(HT_F64);
        ht_var x = ht_input(tape, "x", HT_SHAPE(4)), y = refusals[i].y(tape, x);
        ht_program *program = ht_ok(y) ? ht_compile(tape, device, ht_list(y), .error = &error) : NULL;
        if (program) {
            ht_set(program, x, numbers, 4);
            ht_run(program);
        }
        const ht_error *said = program ? ht_program_error(program) : ht_tape_error(tape);
        tap_ok(said->status == refusals[i].status && strstr(said->message, refusals[i].words) &&
               strstr(said->message, "expected"), "%s is refused: %s", refusals[i].name, said->message);
        ht_program_free(program);
        ht_tape_free(tape);
    }
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    for (int i = 0; i < 2; i++) moments[i] = ht_store_new(device);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        test_point(&points[i], HT_F64);
        test_point(&points[i], HT_F32);
    }
    test_antisymmetry();
    test_variance();
    test_refusals();
    for (int i = 0; i < 2; i++) ht_store_free(moments[i]);
    ht_device_close(device);
    return tap_done();
}
