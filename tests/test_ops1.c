/*
 * Ops of activation, index, arrangement and reduction: values against naive loops on the host in f64 and f32, and the rules
 * at hard points (infinities, ties, bounds, nothing to count). Derivatives at ordinary points are test_gradients' business.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/ht.h>

#include "kernel/kernel.h"
#include "kernels.h"
#include "tap.h"

#define T float
#define HT_NAME(name) name##_f32
#include "kernel/index.inl"
#undef T
#undef HT_NAME

#define MOST 4096

static ht_device *device;
static double got[MOST];

/* Runs once and converts one output; the run's status. */
static ht_status run(ht_var y)
{
    ht_error error = {0};
    ht_program *program = ht_compile(y.tape, device, ht_list(y), .error = &error);
    if (!program) return tap_ok(0, "compiles: %s", error.message), error.status;
    const int64_t count = ht_shape_count(ht_var_shape(y));
    static double f64[MOST];
    static float f32[MOST];
    static int32_t i32[MOST];
    const ht_dtype type = ht_var_dtype(y);
    void *to = type == HT_F64 ? (void *)f64 : type == HT_F32 ? (void *)f32 : (void *)i32;
    const ht_status status = ht_run(program);
    ht_get_at(program, 0, to, count);
    for (int64_t i = 0; i < count; i++) got[i] = type == HT_F64 ? f64[i] : type == HT_F32 ? (double)f32[i] : i32[i];
    if (status != HT_OK && !strstr(ht_program_error(program)->message, "index is outside"))
        tap_ok(0, "runs: %s", ht_program_error(program)->message);
    ht_program_free(program);
    return status;
}

static int equals(const double *want, int64_t count, double tolerance)
{
    for (int64_t i = 0; i < count; i++)
        if (!close_to(got[i], want[i], tolerance)) {
            tap_ok(0, "place %d: %.17g for %.17g", (int)i, got[i], want[i]);
            return 0;
        }
    return 1;
}
#define NUMBERS(...) ((const double[]){__VA_ARGS__})
#define COUNT(...) ((int64_t)(sizeof(NUMBERS(__VA_ARGS__)) / sizeof(double)))
#define IS(y, ...) (run(y) == HT_OK && equals(NUMBERS(__VA_ARGS__), COUNT(__VA_ARGS__), 1e-6))
#define INTEGERS(tape, shape, ...) ht_integers(tape, ((const int32_t[]){__VA_ARGS__}), shape)

static ht_var gradient(ht_var y, ht_var x)
{
    return ht_vjp(ht_list(ht_sum(y)), ht_list(ht_fill(y.tape, 1, HT_SCALAR)), ht_list(x)).at[0];
}

/* ---- activations ---- */
static double want_gelu(double x) { return 0.5 * x * erfc(-x / sqrt(2)); }
static double want_gelu_tanh(double x) { return x / (1 + exp(-2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))); }
static double want_silu(double x) { return x / (1 + exp(-x)); }
static double want_log_sigmoid(double x) { return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)); }
static double want_elu(double x) { return x > 0 ? x : 0.5 * expm1(x); }
static double want_clamp(double x) { return fmin(fmax(x, -2), 3); }

typedef struct activation {
    const char *name;
    ht_var (*record)(ht_var x);
    double (*want)(double x);
} activation;
#define RECORD(name, ...) \
    static ht_var record_##name(ht_var x) { return __VA_ARGS__; }
RECORD(erf, ht_erf(x))
RECORD(erfc, ht_erfc(x))
RECORD(gelu, ht_gelu(x))
RECORD(gelu_tanh, ht_gelu_tanh(x))
RECORD(silu, ht_silu(x))
RECORD(log_sigmoid, ht_log_sigmoid(x))
RECORD(elu, ht_elu(x, 0.5))
RECORD(clamp, ht_clamp(x, -2, 3))

static void test_activations(void)
{
    static const activation list[] = {
        {"erf", record_erf, erf},           {"erfc", record_erfc, erfc},       {"gelu", record_gelu, want_gelu},
        {"gelu by tanh", record_gelu_tanh, want_gelu_tanh},                    {"silu", record_silu, want_silu},
        {"log_sigmoid", record_log_sigmoid, want_log_sigmoid},                 {"elu", record_elu, want_elu},
        {"clamp", record_clamp, want_clamp},
    };
    double x[241], want[241];
    for (int32_t i = 0; i < 241; i++) x[i] = (i - 120) * 0.0625;
    for (size_t k = 0; k < sizeof list / sizeof *list; k++)
        for (int32_t type = HT_F32; type <= HT_F64; type++) {
            ht_tape *tape = ht_tape_new((ht_dtype)type);
            int ok = run(list[k].record(ht_constant(tape, x, HT_SHAPE(241)))) == HT_OK;
            const double tolerance = type == HT_F64 ? 2e-14 : 2e-5; /* relative: e^-x of x = 15 amplifies a rounding 15 times */
            for (int32_t i = 0; i < 241; i++) {
                want[i] = list[k].want(x[i]);
                ok = ok && fabs(got[i] - want[i]) <= tolerance * fabs(want[i]) + (type == HT_F64 ? 0 : 1e-37);
            }
            tap_ok(ok, "%s in %s, relative to its own size", list[k].name, ht_dtype_name((ht_dtype)type));
            ht_tape_free(tape);
        }
}

static void test_kinks(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_constant(tape, NUMBERS(-1e4, 0, 1e4), HT_SHAPE(3));
    ht_var slope = gradient(ht_elu(x, 0.5), x);
    tap_ok(IS(slope, 0, 0.5, 1), "elu: slope alpha at 0; no infinity of the branch not taken");
    tap_ok(IS(gradient(slope, x), 0, 0.5, 0), "elu: order 2");
    ht_var y = ht_constant(tape, NUMBERS(-2, -1, 0.5, 3, 4), HT_SHAPE(5));
    tap_ok(IS(gradient(ht_clamp(y, -1, 3), y), 0, 1, 1, 1, 0), "clamp: slope 1 at the bounds, 0 outside");
    ht_var z = ht_constant(tape, NUMBERS(NAN, 1, INFINITY), HT_SHAPE(3));
    tap_ok(IS(ht_clamp(z, 0, 2), NAN, 1, 2), "clamp: NaN stays");
    tap_ok(IS(ht_equal(z, z), 0, 1, 1), "equal: NaN is no number's equal");
    ht_tape_free(tape);
}

/* ---- the softmax family where there are infinities: rows of a constant, values, orders 1 and 2 ---- */
static void test_infinities(ht_dtype type)
{
    const double inf = INFINITY, rows[] = {-inf, -inf, -inf, 1, inf, 2, inf, 0, inf, -inf, 0, 0};
    const char *name = ht_dtype_name(type);
    ht_tape *tape = ht_tape_new(type);
    ht_var x = ht_constant(tape, rows, HT_SHAPE(4, 3));
    tap_ok(IS(ht_softmax(x, 1), 0, 0, 0, 0, 1, 0, 0.5, 0, 0.5, 0, 0.5, 0.5), "softmax of infinities, %s", name);
    tap_ok(IS(ht_log_softmax(x, 1), -inf, -inf, -inf, -inf, 0, -inf, log(0.5), -inf, log(0.5), -inf, log(0.5), log(0.5)),
           "log_softmax of infinities, %s", name);
    ht_var sum = ht_logsumexp(x, 1), slope = gradient(sum, x);
    tap_ok(IS(sum, -inf, inf, inf, log(2)), "logsumexp of infinities, %s", name);
    tap_ok(IS(slope, 0, 0, 0, 0, 1, 0, 0.5, 0, 0.5, 0, 0.5, 0.5), "logsumexp: derivative 0, one-hot, shared, %s", name);
    ht_var weights = ht_constant(tape, NUMBERS(1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3), HT_SHAPE(4, 3));
    tap_ok(IS(gradient(ht_mul(slope, weights), x), 0, 0, 0, 0, 0, 0, -0.5, 0, 0.5, 0, -0.25, 0.25),
           "logsumexp: order 2 is finite, %s", name);
    ht_var first = gradient(ht_mul(ht_softmax(x, 1), weights), x);
    tap_ok(IS(first, 0, 0, 0, 0, 0, 0, -0.5, 0, 0.5, 0, -0.25, 0.25), "softmax: order 1, %s", name);
    tap_ok(IS(ht_sum(gradient(ht_mul(first, weights), x)), 0), "softmax: order 2 is finite, %s", name);
    ht_tape_free(tape);
}

/* ---- take and put as kernels: any physical order, views, threads ---- */
static double want_take(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    const hti_take_attributes *a = attributes;
    (void)inputs;
    p.at[a->axis] = (int64_t)get(&in[1], p);
    return get(&in[0], p);
}

static double want_put(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    const hti_take_attributes *a = attributes;
    const int64_t here = p.at[a->axis];
    double sum = 0;
    (void)inputs;
    for (int64_t k = 0; k < in[0].shape.dim[a->axis]; k++) {
        p.at[a->axis] = k;
        if ((int64_t)get(&in[1], p) == here) sum += get(&in[0], p);
    }
    return sum;
}

typedef struct place_case {
    hti_take_attributes attributes;
    hti_tensor in[2], out;
    hti_op_id id;
} place_case;

static place_case random_case(bench *b, ht_dtype dtype, hti_op_id id)
{
    const int32_t rank = (int32_t)pick(b, 1, 5);
    ht_shape large = random_shape(b, rank, b->seed % 7 == 0 && rank < 3 ? 600 : 5), index = large;
    place_case c = {.attributes = {pick(b, 0, rank - 1), 0}, .id = id};
    const hti_order order = (hti_order)(b->seed & 1);
    uint32_t views = 0;
    c.attributes.size = large.dim[c.attributes.axis];
    index.dim[c.attributes.axis] = pick(b, 1, 9);
    if (b->seed % 3 == 0) views = ((1u << rank) - 1) & ~(1u << c.attributes.axis); /* one index for all lines */
    else if (b->seed % 3 == 1) views = 1u << pick(b, 0, rank - 1);
    c.in[1] = random_tensor(b, HT_I32, index, order, views, 0, (double)c.attributes.size);
    c.in[0] = random_tensor(b, dtype, id == HTI_OP_take ? large : index, order, b->seed % 5 == 0, -1, 1);
    c.out = make(b, dtype, id == HTI_OP_take ? index : large, order, 0);
    return c;
}

/* The GPU's element bodies have the loops' bits. */
static bool same_bits(const place_case *c)
{
    const int64_t axis = c->attributes.axis, size = c->attributes.size;
    for (int64_t i = 0; i < ht_shape_count(c->out.shape); i++) {
        point p = point_at(c->out.shape, i), start = p;
        start.at[axis] = 0;
        const float *x = (const float *)c->in[0].data + offset_of(&c->in[0], start);
        const int32_t *place = (const int32_t *)c->in[1].data + offset_of(&c->in[1], c->id == HTI_OP_take ? p : start);
        const float want = c->id == HTI_OP_take
                               ? k_take_f32(x, size, c->in[0].stride[axis], *place)
                               : k_put_f32(x, c->in[0].stride[axis], place, c->in[1].stride[axis],
                                           c->in[1].shape.dim[axis], p.at[axis]);
        if ((float)get(&c->out, p) != want) return false;
    }
    return true;
}

static void test_places(void)
{
    int32_t wrong = 0, bits = 0, outside = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        bench b = {.seed = seed};
        const ht_dtype dtype = seed & 2 ? HT_F32 : HT_F64;
        const bool taking = seed & 4;
        place_case c = random_case(&b, dtype, taking ? HTI_OP_take : HTI_OP_put);
        wrong += !agrees(&b, c.id, &c.attributes, c.in, 2, &c.out, taking ? want_take : want_put, tolerance_of(dtype));
        bits += dtype == HT_F32 && !same_bits(&c);
        const point last = point_at(c.in[1].shape, ht_shape_count(c.in[1].shape) - 1);
        put(&c.in[1], last, seed & 8 ? -1 : (double)c.attributes.size);
        outside += run_op(&b, c.id, &c.attributes, c.in, 2, &c.out, 2) != HT_EINVALID;
        drop(&b);
    }
    tap_ok(wrong == 0, "take and put agree with naive loops (%d off)", (int)wrong);
    tap_ok(bits == 0, "their element bodies have the loops' bits (%d off)", (int)bits);
    tap_ok(outside == 0, "places outside of the axis are refused (%d not)", (int)outside);
}

/* ---- index ops as recorded ---- */
static void test_index(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_constant(tape, NUMBERS(1, 2, 3, 4, 5, 6), HT_SHAPE(2, 3));
    ht_var table = INTEGERS(tape, HT_SHAPE(2, 2), 2, 0, 0, 1);
    ht_var taken = ht_take(x, table, 1);
    tap_ok(ht_shape_equal(ht_var_shape(taken), HT_SHAPE(2, 2, 2)), "take: the index stands in place of the axis");
    tap_ok(IS(taken, 3, 1, 1, 2, 6, 4, 4, 5), "take: an index of rank 2");
    tap_ok(IS(gradient(taken, x), 2, 1, 1, 2, 1, 1), "take: repeated places add up in the derivative");
    ht_var rows = ht_constant(tape, NUMBERS(10, 20, 30, 40, 50, 60, 70, 80, 90), HT_SHAPE(3, 3));
    ht_var added = ht_put(x, INTEGERS(tape, HT_SHAPE(3), 1, 0, 1), rows, 0);
    tap_ok(IS(added, 41, 52, 63, 84, 105, 126), "put: adds into a copy; repeated places add up");
    tap_ok(IS(ht_take(x, INTEGERS(tape, HT_SCALAR, 1), 0), 4, 5, 6), "take: an index of rank 0 drops the axis");
    ht_var none = ht_take(x, ht_integers(tape, (const int32_t[]){0}, HT_SHAPE(0)), 0);
    tap_ok(run(none) == HT_OK && ht_shape_count(ht_var_shape(none)) == 0, "take: at no place");
    tap_ok(IS(gradient(none, x), 0, 0, 0, 0, 0, 0), "put: of nothing is 0");
    tap_ok(IS(ht_one_hot(INTEGERS(tape, HT_SHAPE(3), 1, -1, 2), 2), 0, 1, 0, 0, 0, 0), "one_hot: no class is all 0");
    tap_ok(run(ht_take(x, INTEGERS(tape, HT_SHAPE(2), 0, 2), 0)) == HT_EINVALID, "take: 2 of 2 stops the run");
    tap_ok(run(ht_take(x, INTEGERS(tape, HT_SHAPE(1), -1), 1)) == HT_EINVALID, "take: -1 stops the run");
    tap_ok(run(ht_put(x, INTEGERS(tape, HT_SHAPE(1), 7), ht_fill(tape, 1, HT_SHAPE(1, 3)), 0)) == HT_EINVALID,
           "put: 7 of 2 stops the run");
    tap_ok(ht_tape_error(tape)->status == HT_OK, "nothing was refused: %s", ht_tape_error(tape)->message);
    ht_tape_free(tape);
    tape = ht_tape_new(HT_F32);
    const int32_t big[] = {INT32_MAX, INT32_MIN, 16777217};
    ht_var whole = ht_integers(tape, big, HT_SHAPE(3));
    tap_ok(IS(ht_equal(ht_cast(whole, HT_F64), ht_cast(ht_integers(tape, big, HT_SHAPE(3)), HT_F64)), 1, 1, 1) &&
               run(whole) == HT_OK && got[2] == 16777217,
           "integers: exact on a tape of f32");
    ht_tape_free(tape);
}

/* ---- arrangements ---- */
static void test_arrangements(void)
{
    ht_tape *tape = ht_tape_new(HT_F32);
    ht_var x = ht_constant(tape, NUMBERS(1, 2, 3, 4, 5, 6), HT_SHAPE(2, 3)), one = ht_constant(tape, NUMBERS(7), HT_SHAPE(1));
    ht_var line = ht_constant(tape, NUMBERS(1, 2, 3, 4), HT_SHAPE(4));
    tap_ok(IS(ht_flip(x, HT_SHAPE(1)), 3, 2, 1, 6, 5, 4) && IS(ht_flip(x, HT_SHAPE(1, 0)), 6, 5, 4, 3, 2, 1), "flip");
    tap_ok(ht_flip(one, HT_SHAPE(0)).id == one.id, "flip of one number records nothing");
    tap_ok(IS(ht_roll(line, 1, 0), 4, 1, 2, 3) && IS(ht_roll(line, -5, 0), 2, 3, 4, 1) && ht_roll(line, 8, 0).id == line.id,
           "roll");
    tap_ok(IS(ht_tile(x, HT_SHAPE(2, 1)), 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6) && IS(ht_tile(one, HT_SHAPE(3)), 7, 7, 7), "tile");
    tap_ok(IS(ht_repeat(x, 2, 1), 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6), "repeat");
    tap_ok(IS(ht_slice_by(line, HT_SHAPE(0), HT_SHAPE(2), HT_SHAPE(2)), 1, 3) &&
               IS(ht_slice_by(line, HT_SHAPE(3), HT_SHAPE(2), HT_SHAPE(-3)), 4, 1) &&
               IS(ht_slice_by(line, HT_SHAPE(1), HT_SHAPE(3), HT_SHAPE(1)), 2, 3, 4),
           "slice by steps");
    ht_var reflected = ht_pad_reflect(line, HT_SHAPE(3), HT_SHAPE(2)), held = ht_pad_replicate(line, HT_SHAPE(2), HT_SHAPE(5));
    tap_ok(IS(reflected, 4, 3, 2, 1, 2, 3, 4, 3, 2), "padding by reflection");
    tap_ok(IS(gradient(reflected, line), 1, 3, 3, 2), "its adjoint");
    tap_ok(IS(held, 1, 1, 1, 2, 3, 4, 4, 4, 4, 4, 4), "padding by the edge, beyond the size");
    tap_ok(IS(gradient(held, line), 3, 1, 1, 6), "its adjoint");
    tap_ok(ht_pad_reflect(one, HT_SHAPE(0), HT_SHAPE(0)).id == one.id, "padding by nothing records nothing");
    tap_ok(!ht_ok(ht_pad_reflect(line, HT_SHAPE(0), HT_SHAPE(4))), "a reflection of the whole size is refused");
    ht_tape_free(tape);
}

/* ---- reductions ---- */
static void test_reductions(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    double x[60], sum[3] = {0}, mean[4] = {0}, largest[3], smallest = INFINITY, square[3] = {0};
    for (int32_t i = 0; i < 60; i++) x[i] = sin(i * 1.7) + i % 7;
    for (int32_t k = 0; k < 3; k++) largest[k] = -INFINITY;
    for (int32_t i = 0; i < 60; i++) { /* [4, 3, 5] */
        sum[i / 5 % 3] += x[i];
        mean[i / 15] += x[i] / 15;
        largest[i / 5 % 3] = fmax(largest[i / 5 % 3], x[i]);
        smallest = fmin(smallest, x[i]);
    }
    for (int32_t i = 0; i < 60; i++) square[i / 5 % 3] += pow(x[i] - sum[i / 5 % 3] / 20, 2);
    ht_var v = ht_constant(tape, x, HT_SHAPE(4, 3, 5)), y = ht_sum_axes(v, HT_SHAPE(2, 0));
    tap_ok(ht_shape_equal(ht_var_shape(y), HT_SHAPE(3)) && run(y) == HT_OK && equals(sum, 3, 1e-13), "sum over axes 2 and 0");
    y = ht_mean_axes(v, HT_SHAPE(1, 2), .keep = 1);
    tap_ok(ht_shape_equal(ht_var_shape(y), HT_SHAPE(4, 1, 1)) && run(y) == HT_OK && equals(mean, 4, 1e-13), "mean, axes kept");
    y = ht_max_axes(v, HT_SHAPE(0, 2));
    tap_ok(ht_shape_equal(ht_var_shape(y), HT_SHAPE(3)) && run(y) == HT_OK && equals(largest, 3, 0), "largest over outer axes");
    tap_ok(run(ht_min_axes(v, HT_SHAPE(0, 1, 2))) == HT_OK && equals(&smallest, 1, 0), "smallest of all");
    for (int32_t k = 0; k < 3; k++) sum[k] = square[k] / 20, largest[k] = sqrt(square[k] / 19);
    tap_ok(run(ht_variance_axes(v, HT_SHAPE(0, 2))) == HT_OK && equals(sum, 3, 1e-13), "variance, biased");
    tap_ok(run(ht_deviation_axes(v, HT_SHAPE(0, 2), .unbiased = 1)) == HT_OK && equals(largest, 3, 1e-13), "deviation, unbiased");
    tap_ok(ht_sum_axes(v, HT_SCALAR).id == v.id && ht_max_axes(v, HT_SCALAR).id == v.id, "over no axes nothing happens");
    ht_tape_free(tape);
}

static void test_ties(void)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = ht_constant(tape, NUMBERS(1, 3, 3, 3, 0, 3, 0, 0), HT_SHAPE(2, 4));
    tap_ok(IS(gradient(ht_max_axes(x, HT_SHAPE(1)), x), 0, 1, 0, 0, 0, 1, 0, 0), "of equal largest the first has the derivative");
    tap_ok(IS(gradient(ht_min_axes(x, HT_SHAPE(1)), x), 1, 0, 0, 0, 1, 0, 0, 0), "of equal smallest too");
    tap_ok(IS(gradient(ht_max_axes(x, HT_SHAPE(0, 1)), x), 0, 1, 0, 0, 0, 0, 0, 0), "over all axes: first in row-major order");
    tap_ok(IS(ht_argmin(x, 1), 0, 0) && IS(ht_argmax(x, 1), 1, 1), "argmin and argmax: first of equals");
    ht_var nan = ht_constant(tape, NUMBERS(1, NAN, 3, -INFINITY, -INFINITY, -INFINITY), HT_SHAPE(2, 3));
    tap_ok(IS(ht_max_axes(nan, HT_SHAPE(1)), NAN, -INFINITY) && IS(ht_min_axes(nan, HT_SHAPE(1)), NAN, -INFINITY),
           "NaN wins; all -infinity is -infinity");
    tap_ok(IS(gradient(ht_max_axes(nan, HT_SHAPE(1)), nan), 0, 1, 0, 1, 0, 0), "their derivative is one place each");
    ht_var same = ht_fill(tape, 2.5, HT_SHAPE(4)), c = ht_constant(tape, NUMBERS(2.5, 2.5, 2.5, 2.5), HT_SHAPE(4));
    ht_var slope = gradient(ht_deviation_axes(c, HT_SHAPE(0)), c);
    tap_ok(IS(slope, 0, 0, 0, 0) && IS(gradient(ht_mul(slope, same), c), 0, 0, 0, 0),
           "deviation of equal numbers: derivative 0 at orders 1 and 2");
    ht_tape_free(tape);
}

/* Far from 0 beside its spread, and at both ends of the range. */
static void test_variance(void)
{
    double x[1000], y[1000], mean = 0, want = 0;
    for (int32_t i = 0; i < 1000; i++) mean += (x[i] = (double)(float)(1e5 + sin(i * 3.1) * 1.4)) / 1000;
    for (int32_t i = 0; i < 1000; i++) want += (x[i] - mean) * (x[i] - mean) / 1000;
    ht_tape *tape = ht_tape_new(HT_F32);
    const int ran = run(ht_variance_axes(ht_constant(tape, x, HT_SHAPE(1000)), HT_SHAPE(0))) == HT_OK;
    tap_ok(ran && fabs(got[0] / want - 1) <= 1e-6, "variance of numbers near 1e5 in f32 (%.9g for %.9g)", got[0], want);
    ht_tape_free(tape);
    tape = ht_tape_new(HT_F64);
    tap_ok(run(ht_variance_axes(ht_constant(tape, x, HT_SHAPE(1000)), HT_SHAPE(0))) == HT_OK && fabs(got[0] / want - 1) <= 1e-11,
           "the same in f64");
    for (int32_t sign = -1; sign <= 1; sign += 2) {
        for (int32_t i = 0; i < 1000; i++) y[i] = (x[i] - 1e5) * pow(10, 30 * sign);
        const double scaled = want * pow(10, 60 * sign);
        tap_ok(run(ht_variance_axes(ht_constant(tape, y, HT_SHAPE(1000)), HT_SHAPE(0))) == HT_OK &&
                   fabs(got[0] / scaled - 1) <= 1e-9,
               "variance of numbers about 1e%d", (int)(30 * sign));
    }
    ht_tape_free(tape);
}

/* ---- cross-entropy ---- */
static double naive_entropy(const double *z, const int32_t *target, const double *weight, int32_t ignore)
{
    double sum = 0, total = 0; /* z [2, 3, 2, 2] */
    for (int32_t n = 0; n < 2; n++)
        for (int32_t i = 0; i < 4; i++) {
            const int32_t t = target[n * 4 + i];
            double e = 0;
            if (t == ignore) continue;
            for (int32_t c = 0; c < 3; c++) e += exp(z[(n * 3 + c) * 4 + i]);
            sum += weight[t] * (log(e) - z[(n * 3 + t) * 4 + i]);
            total += weight[t];
        }
    return sum / total;
}

static void test_entropy(ht_dtype type)
{
    static const int32_t target[] = {0, 1, 2, 2, 1, 0, 0, 2}, all[] = {1, 1, 1, 1, 1, 1, 1, 1};
    static const int32_t wrong[] = {0, 1, 2, 3, 1, 0, 0, 2};
    const double weight[] = {0.5, 2, 3}, even[] = {1, 1, 1}, tolerance = type == HT_F64 ? 1e-14 : 1e-6;
    const char *name = ht_dtype_name(type);
    double z[24];
    for (int32_t i = 0; i < 24; i++) z[i] = 3 * sin(i * 2.3);
    ht_tape *tape = ht_tape_new(type);
    ht_var logits = ht_constant(tape, z, HT_SHAPE(2, 3, 2, 2)), places = ht_integers(tape, target, HT_SHAPE(2, 2, 2));
    ht_var weights = ht_constant(tape, weight, HT_SHAPE(3));
    double want = naive_entropy(z, target, even, -1);
    tap_ok(run(ht_softmax_cross_entropy(logits, places)) == HT_OK && equals(&want, 1, tolerance), "cross-entropy, %s", name);
    want = naive_entropy(z, target, weight, -1);
    tap_ok(run(ht_softmax_cross_entropy(logits, places, weights)) == HT_OK && equals(&want, 1, tolerance), "weighted, %s", name);
    want = naive_entropy(z, target, weight, 2);
    tap_ok(run(ht_softmax_cross_entropy(logits, places, weights, .ignoring = 1, .ignore = 2)) == HT_OK &&
               equals(&want, 1, tolerance),
           "weighted, one class ignored, %s", name);
    ht_var none = ht_softmax_cross_entropy(logits, ht_integers(tape, all, HT_SHAPE(2, 2, 2)), .ignoring = 1, .ignore = 1);
    static const double zeros[24];
    tap_ok(IS(none, 0) && run(gradient(none, logits)) == HT_OK && equals(zeros, 24, 0), "all ignored: loss and slope 0, %s",
           name);
    for (int32_t c = 0; c < 3; c++) z[c * 4] = -INFINITY;
    ht_var infinite = ht_constant(tape, z, HT_SHAPE(2, 3, 2, 2));
    ht_var loss = ht_softmax_cross_entropy(infinite, places, .ignoring = 1, .ignore = 0), slope = gradient(loss, infinite);
    want = naive_entropy(z, target, even, 0);
    tap_ok(run(loss) == HT_OK && equals(&want, 1, tolerance), "ignored logits may be -infinity, %s", name);
    int finite = run(slope) == HT_OK && run(gradient(ht_square(slope), infinite)) == HT_OK;
    for (int32_t i = 0; i < 24; i++) finite = finite && isfinite(got[i]);
    tap_ok(finite && got[0] == 0, "their derivatives are 0, the others' finite, orders 1 and 2, %s", name);
    tap_ok(run(ht_softmax_cross_entropy(logits, ht_integers(tape, wrong, HT_SHAPE(2, 2, 2)))) == HT_EINVALID,
           "class 3 of 3 stops the run, %s", name);
    ht_tape_free(tape);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 2, &error);
    if (!device) return tap_ok(0, "device: %s", error.message), tap_done();
    test_activations();
    test_kinks();
    test_infinities(HT_F32);
    test_infinities(HT_F64);
    test_places();
    test_index();
    test_arrangements();
    test_reductions();
    test_ties();
    test_variance();
    test_entropy(HT_F32);
    test_entropy(HT_F64);
    ht_device_close(device);
    return tap_done();
}
