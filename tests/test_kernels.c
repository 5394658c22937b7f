/*
 * Every kernel of the CPU (but convolution and matrix product) against a naive evaluation that knows logical indices
 * only: over ranks, sizes, number types, physical orders and broadcast views. Sums have equal bits for any number of
 * threads; random draws depend on neither order nor threads.
 */
#include "kernels.h"
#include "tap.h"

/* ---- pointwise ---- */
#define FACTOR (((const hti_affine_attributes *)attributes)->factor)
#define TERM (((const hti_affine_attributes *)attributes)->term)
REFERENCE(affine, FACTOR *A(0) + TERM)
REFERENCE(exp, exp(A(0)))
REFERENCE(expm1, expm1(A(0)))
REFERENCE(log, log(A(0)))
REFERENCE(log1p, log1p(A(0)))
REFERENCE(sqrt, sqrt(A(0)))
REFERENCE(rsqrt, 1 / sqrt(A(0)))
REFERENCE(square, A(0) * A(0))
REFERENCE(reciprocal, 1 / A(0))
REFERENCE(pow, pow(A(0), FACTOR))
REFERENCE(sin, sin(A(0)))
REFERENCE(cos, cos(A(0)))
REFERENCE(tanh, tanh(A(0)))
REFERENCE(sigmoid, 1 / (1 + exp(-A(0))))
REFERENCE(softplus, fmax(A(0), 0) + log1p(exp(-fabs(A(0)))))
REFERENCE(leaky_relu, A(0) > 0 ? A(0) : FACTOR *A(0))
REFERENCE(leaky_gate, A(0) > 0 ? 1 : FACTOR)
REFERENCE(abs, fabs(A(0)))
REFERENCE(sign, A(0) > 0 ? 1 : (A(0) < 0 ? -1 : 0))
REFERENCE(round, nearbyint(A(0)))
REFERENCE(positive, A(0) > 0 ? 1 : 0)
REFERENCE(add, A(0) + A(1))
REFERENCE(sub, A(0) - A(1))
REFERENCE(mul, A(0) * A(1))
REFERENCE(div, A(0) / A(1))
REFERENCE(greater, A(0) > A(1) ? 1 : 0)
REFERENCE(where, A(0) != 0 ? A(1) : A(2))
REFERENCE(cast, A(0))

typedef struct pointwise_case {
    hti_op_id id;
    int32_t inputs;
    reference want;
    double low, high, factor, term;
    bool integers;
} pointwise_case;

static const pointwise_case pointwise_cases[] = {
    {HTI_OP_affine, 1, want_affine, -3, 3, 0.5, -2, false},
    {HTI_OP_affine, 1, want_affine, -100, 100, 3, -2, true},
    {HTI_OP_exp, 1, want_exp, -8, 4, 0, 0, false},
    {HTI_OP_expm1, 1, want_expm1, -3, 3, 0, 0, false},
    {HTI_OP_log, 1, want_log, 0.01, 9, 0, 0, false},
    {HTI_OP_log1p, 1, want_log1p, -0.9, 9, 0, 0, false},
    {HTI_OP_sqrt, 1, want_sqrt, 0, 9, 0, 0, false},
    {HTI_OP_safe_sqrt, 1, want_sqrt, 0, 9, 0, 0, false},
    {HTI_OP_rsqrt, 1, want_rsqrt, 0.1, 9, 0, 0, false},
    {HTI_OP_square, 1, want_square, -3, 3, 0, 0, false},
    {HTI_OP_reciprocal, 1, want_reciprocal, 0.2, 3, 0, 0, false},
    {HTI_OP_pow, 1, want_pow, 0.1, 3, 2, 0, false},
    {HTI_OP_pow, 1, want_pow, 0.1, 3, 1, 0, false},
    {HTI_OP_pow, 1, want_pow, 0.1, 3, 0.5, 0, false},
    {HTI_OP_pow, 1, want_pow, 0.1, 3, -1, 0, false},
    {HTI_OP_pow, 1, want_pow, 0.1, 3, -0.5, 0, false},
    {HTI_OP_pow, 1, want_pow, 0.1, 3, 2.75, 0, false},
    {HTI_OP_sin, 1, want_sin, -9, 9, 0, 0, false},
    {HTI_OP_cos, 1, want_cos, -9, 9, 0, 0, false},
    {HTI_OP_tanh, 1, want_tanh, -6, 6, 0, 0, false},
    {HTI_OP_sigmoid, 1, want_sigmoid, -60, 60, 0, 0, false},
    {HTI_OP_softplus, 1, want_softplus, -60, 60, 0, 0, false},
    {HTI_OP_leaky_relu, 1, want_leaky_relu, -3, 3, 0.25, 0, false},
    {HTI_OP_leaky_gate, 1, want_leaky_gate, -3, 3, 0.25, 0, false},
    {HTI_OP_abs, 1, want_abs, -3, 3, 0, 0, false},
    {HTI_OP_sign, 1, want_sign, -3, 3, 0, 0, false},
    {HTI_OP_round, 1, want_round, -9, 9, 0, 0, false},
    {HTI_OP_positive, 1, want_positive, -3, 3, 0, 0, false},
    {HTI_OP_add, 2, want_add, -50, 50, 0, 0, true},
    {HTI_OP_sub, 2, want_sub, -50, 50, 0, 0, true},
    {HTI_OP_mul, 2, want_mul, -50, 50, 0, 0, true},
    {HTI_OP_div, 2, want_div, 0.5, 3, 0, 0, false},
    {HTI_OP_greater, 2, want_greater, -3, 3, 0, 0, true},
    {HTI_OP_where, 3, want_where, -3, 3, 0, 0, true},
};

static const ht_dtype all_types[] = {HT_F32, HT_F64, HT_I32};

static bool pointwise_holds(const pointwise_case *c, ht_dtype dtype, uint64_t seed)
{
    bench b = {.seed = seed};
    const bool large = seed % 16 == 0;
    ht_shape shape = random_shape(&b, (int32_t)pick(&b, 0, 5), 7);
    if (large) shape = HT_SHAPE(2, pick(&b, 1, 24), 31, pick(&b, 1, 40));
    const hti_order order = (hti_order)(seed & 1);
    const hti_affine_attributes attributes = {c->factor, c->term};
    hti_tensor in[3];
    for (int32_t k = 0; k < c->inputs; k++) {
        const uint32_t views = pick(&b, 0, 1) ? (uint32_t)pick(&b, 0, 255) : 0;
        const hti_order its = pick(&b, 0, 4) ? order : (hti_order)(1 - order);
        in[k] = random_tensor(&b, dtype, shape, its, views, c->low, c->high);
    }
    if (c->id == HTI_OP_where) {
        const hti_affine_attributes none = {0};
        const hti_tensor gate = make(&b, dtype, shape, order, 0);
        const hti_tensor pair[2] = {in[0], in[1]};
        if (run_op(&b, HTI_OP_greater, &none, pair, 2, &gate, 1) != HT_OK) return false;
        in[0] = gate;
    }
    const hti_tensor out = make(&b, dtype, shape, order, 0);
    const bool ok = agrees(&b, c->id, &attributes, in, c->inputs, &out, c->want, tolerance_of(dtype));
    drop(&b);
    return ok;
}

static void test_pointwise(void)
{
    const int32_t cases = (int32_t)(sizeof pointwise_cases / sizeof pointwise_cases[0]);
    for (int32_t i = 0; i < cases; i++) {
        const pointwise_case *c = &pointwise_cases[i];
        for (int32_t t = 0; t < (c->integers ? 3 : 2); t++) {
            if (all_types[t] != HT_I32 && c->integers && c->id == HTI_OP_affine) continue;
            int32_t bad = 0;
            for (uint64_t seed = 0; seed < 64; seed++) bad += !pointwise_holds(c, all_types[t], seed);
            tap_ok(bad == 0, "%s %s agrees with its formula (case %d, %d off)", "pointwise",
                   ht_dtype_name(all_types[t]), (int)c->id, (int)bad);
        }
    }
}

/* One number through a unary op. */
static double once(hti_op_id id, ht_dtype from, ht_dtype to, double x, double factor)
{
    bench b = {0};
    const hti_affine_attributes attributes = {factor, 0};
    const hti_tensor in = make(&b, from, HT_SCALAR, HTI_ROW, 0), out = make(&b, to, HT_SCALAR, HTI_ROW, 0);
    put(&in, (point){{0}}, x);
    const double y = run_op(&b, id, &attributes, &in, 1, &out, 1) == HT_OK ? get(&out, (point){{0}}) : -12345;
    drop(&b);
    return y;
}

static void test_special_values(void)
{
    for (int32_t t = 0; t < 2; t++) {
        const ht_dtype d = all_types[t];
        const char *name = ht_dtype_name(d);
        tap_ok(isnan(once(HTI_OP_sign, d, d, NAN, 0)) && once(HTI_OP_sign, d, d, 0, 0) == 0, "sign keeps NaN, %s",
               name);
        tap_ok(once(HTI_OP_round, d, d, 2.5, 0) == 2 && once(HTI_OP_round, d, d, -1.5, 0) == -2,
               "round takes halves to even, %s", name);
        tap_ok(once(HTI_OP_sigmoid, d, d, -1000, 0) == 0 && once(HTI_OP_sigmoid, d, d, 1000, 0) == 1,
               "sigmoid does not overflow, %s", name);
        tap_ok(once(HTI_OP_softplus, d, d, 1000, 0) == 1000 && once(HTI_OP_softplus, d, d, -1000, 0) == 0,
               "softplus does not overflow, %s", name);
        tap_ok(isnan(once(HTI_OP_exp, d, d, NAN, 0)) && isnan(once(HTI_OP_tanh, d, d, NAN, 0)) &&
                   isnan(once(HTI_OP_sigmoid, d, d, NAN, 0)) && isnan(once(HTI_OP_softplus, d, d, NAN, 0)) &&
                   isnan(once(HTI_OP_leaky_relu, d, d, NAN, 0.5)) && isnan(once(HTI_OP_log, d, d, -1, 0)),
               "NaN stays NaN, %s", name);
        tap_ok(once(HTI_OP_leaky_relu, d, d, 0, 0.5) == 0 && once(HTI_OP_leaky_gate, d, d, 0, 0.5) == 0.5,
               "the kink at 0 takes the slope, %s", name);
        tap_ok(isinf(once(HTI_OP_exp, d, d, 1000, 0)) && once(HTI_OP_exp, d, d, -1000, 0) == 0 &&
                   once(HTI_OP_exp, d, d, 0, 0) == 1 && isinf(once(HTI_OP_log, d, d, 0, 0)) &&
                   once(HTI_OP_log, d, d, 1, 0) == 0,
               "exp and log at their bounds, %s", name);
        tap_ok(once(HTI_OP_cast, d, HT_I32, -2.9, 0) == -2 && once(HTI_OP_cast, d, HT_I32, NAN, 0) == 0 &&
                   once(HTI_OP_cast, d, HT_I32, 1e20, 0) == INT32_MAX &&
                   once(HTI_OP_cast, d, HT_I32, -1e20, 0) == INT32_MIN,
               "cast to integers truncates and saturates, %s", name);
    }
}

static void test_cast(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 90; seed++) {
        bench b = {.seed = seed};
        const ht_dtype from = all_types[seed % 3], to = all_types[seed / 3 % 3];
        const ht_shape shape = random_shape(&b, (int32_t)pick(&b, 0, 4), 9);
        const hti_tensor whole = random_tensor(&b, HT_I32, shape, HTI_ROW, 0, -99, 99);
        const hti_tensor in = make(&b, from, shape, HTI_LAST, 0), out = make(&b, to, shape, HTI_LAST, 0);
        bad += !agrees(&b, HTI_OP_cast, NULL, &whole, 1, &in, want_cast, 0);
        bad += !agrees(&b, HTI_OP_cast, NULL, &in, 1, &out, want_cast, 0);
        drop(&b);
    }
    tap_ok(bad == 0, "casts keep whole numbers between all types (%d off)", (int)bad);
}

/* ---- sums ---- */
static bool is_summed(ht_shape from, ht_shape to, int32_t k) { return to.dim[k] == 1 && from.dim[k] != 1; }

/* The sum in long double, and the sum of magnitudes, which scales its rounding. */
static double exact_sum(const hti_tensor *x, ht_shape to, point p, double *magnitude)
{
    ht_shape inner = x->shape;
    for (int32_t k = 0; k < inner.rank; k++)
        if (!is_summed(x->shape, to, k)) inner.dim[k] = 1;
    const int64_t count = ht_shape_count(inner);
    long double sum = 0;
    *magnitude = 0;
    for (int64_t i = 0; i < count; i++) {
        point q = point_at(inner, i);
        for (int32_t k = 0; k < inner.rank; k++) q.at[k] += p.at[k];
        sum += (long double)get(x, q);
        *magnitude += fabs(get(x, q));
    }
    return (double)sum;
}

/* Right, and with equal bits for 1, 2 and 4 threads. */
static bool sum_holds(bench *b, const hti_tensor *x, ht_shape to, hti_order order)
{
    const hti_shape_attributes attributes = {to};
    hti_tensor out[3];
    const size_t bytes = (size_t)ht_shape_count(to) * ht_dtype_bytes(x->dtype);
    for (int32_t i = 0; i < 3; i++) {
        out[i] = make(b, x->dtype, to, order, 0);
        if (run_op(b, HTI_OP_sum_to, &attributes, x, 1, &out[i], 1 << i) != HT_OK) return false;
        if (memcmp(out[0].data, out[i].data, bytes) != 0) return false;
    }
    for (int64_t i = 0; i < ht_shape_count(to); i++) {
        double magnitude = 0;
        const point p = point_at(to, i);
        const double want = exact_sum(x, to, p, &magnitude);
        const double epsilon = x->dtype == HT_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
        if (fabs(get(&out[0], p) - want) > 4 * epsilon * magnitude) return false;
    }
    return true;
}

static void test_sum_shapes(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 600; seed++) {
        bench b = {.seed = seed};
        const ht_shape shape = random_shape(&b, (int32_t)pick(&b, 0, 5), seed % 4 == 0 ? 40 : 7);
        if (ht_shape_count(shape) > 200000) continue;
        ht_shape to = shape;
        for (int32_t k = 0; k < to.rank; k++)
            if (pick(&b, 0, 1)) to.dim[k] = 1;
        const hti_order order = (hti_order)(seed & 1);
        const uint32_t views = pick(&b, 0, 2) == 0 ? (uint32_t)pick(&b, 0, 255) : 0;
        const hti_tensor x = random_tensor(&b, seed & 2 ? HT_F32 : HT_F64, shape, order, views, -1, 2);
        bad += !sum_holds(&b, &x, to, order);
        drop(&b);
    }
    tap_ok(bad == 0, "sums over any axes in any order, equal for 1, 2 and 4 threads (%d off)", (int)bad);
}

typedef struct sum_case {
    const char *name;
    ht_shape from, to;
    hti_order order;
} sum_case;

/* Sizes that need several parts. */
static void test_long_sums(void)
{
    const sum_case cases[] = {
        {"channels last to channels", HT_SHAPE(2, 48, 90, 70), HT_SHAPE(1, 48, 1, 1), HTI_LAST},
        {"row-major to channels", HT_SHAPE(3, 10, 90, 70), HT_SHAPE(1, 10, 1, 1), HTI_ROW},
        {"three channels last to channels", HT_SHAPE(2, 3, 200, 130), HT_SHAPE(1, 3, 1, 1), HTI_LAST},
        {"everything", HT_SHAPE(3, 7, 130, 110), HT_SHAPE(1, 1, 1, 1), HTI_LAST},
        {"everything of one axis", HT_SHAPE(300001), HT_SHAPE(1), HTI_ROW},
        {"leading axis", HT_SHAPE(5000, 70), HT_SHAPE(1, 70), HTI_ROW},
        {"wide rows", HT_SHAPE(300, 700), HT_SHAPE(1, 700), HTI_ROW},
        {"trailing axis", HT_SHAPE(70, 5000), HT_SHAPE(70, 1), HTI_ROW},
        {"short trailing axis", HT_SHAPE(50000, 3), HT_SHAPE(50000, 1), HTI_ROW},
        {"channels away", HT_SHAPE(2, 4, 120, 110), HT_SHAPE(2, 1, 120, 110), HTI_LAST},
        {"images away", HT_SHAPE(20, 30, 20, 20), HT_SHAPE(1, 30, 20, 20), HTI_LAST},
        {"to image and channel", HT_SHAPE(3, 30, 70, 60), HT_SHAPE(3, 30, 1, 1), HTI_LAST},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int32_t t = 0; t < 2; t++) {
            bench b = {.seed = i};
            const hti_tensor x = random_tensor(&b, all_types[t], cases[i].from, cases[i].order, 0, -1, 2);
            tap_ok(sum_holds(&b, &x, cases[i].to, cases[i].order), "sum %s, %s", cases[i].name,
                   ht_dtype_name(all_types[t]));
            drop(&b);
        }
}

/* Sizes of 0 are shapes too. */
static void test_empty(void)
{
    bench b = {0};
    const hti_tensor x = make(&b, HT_F32, HT_SHAPE(0, 3), HTI_ROW, 0), y = make(&b, HT_F32, HT_SHAPE(0, 3), HTI_ROW, 0);
    tap_ok(sum_holds(&b, &x, HT_SHAPE(1, 3), HTI_ROW) && sum_holds(&b, &x, HT_SHAPE(1, 1), HTI_ROW),
           "a sum of nothing is 0");
    tap_ok(agrees(&b, HTI_OP_exp, NULL, &x, 1, &y, want_exp, 0) && sum_holds(&b, &x, HT_SHAPE(0, 3), HTI_ROW) &&
               BACKEND->copy(&x, &y, 2) == HT_OK,
           "nothing is done to nothing");
    drop(&b);
}

static double largest(const hti_tensor *x, int64_t axis, point p, int64_t *index)
{
    double best = 0;
    for (int64_t i = 0; i < x->shape.dim[axis]; i++) {
        p.at[axis] = i;
        const double v = get(x, p);
        if (i > 0 && !(v > best) && !(isnan(v) && !isnan(best))) continue;
        best = v;
        *index = i;
    }
    return best;
}
static double want_argmax(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    (void)inputs;
    int64_t index = 0;
    (void)largest(in, ((const hti_axis_attributes *)attributes)->axis, p, &index);
    return (double)index;
}
static double want_max_along(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    (void)inputs;
    int64_t index = 0;
    return largest(in, ((const hti_axis_attributes *)attributes)->axis, p, &index);
}

static void test_largest(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        bench b = {.seed = seed};
        ht_shape shape = random_shape(&b, (int32_t)pick(&b, 1, 4), 9);
        /* Some go in vector lanes. */
        if (seed % 4 == 3) shape = HT_SHAPE(2, pick(&b, 1, 150), seed % 8 == 3 ? 1 : pick(&b, 250, 300));
        const ht_dtype dtype = all_types[seed & 1];
        const hti_axis_attributes attributes = {seed % 4 == 3 ? 1 : pick(&b, 0, shape.rank - 1)};
        const double least = seed % 3 == 0 ? -4 : 0; /* the largest is often zero */
        hti_tensor x = random_tensor(&b, HT_I32, shape, HTI_ROW, 0, least, least + 4), y = make(&b, dtype, shape, HTI_ROW, 0);
        bad += !agrees(&b, HTI_OP_cast, NULL, &x, 1, &y, want_cast, 0);
        if (seed % 5 == 0)
            for (int32_t i = 0; i < 2; i++) put(&y, point_at(shape, pick(&b, 0, ht_shape_count(shape) - 1)), NAN);
        ht_shape to = shape;
        to.dim[attributes.axis] = 1;
        const hti_tensor index = make(&b, HT_I32, to, HTI_ROW, 0), value = make(&b, dtype, to, HTI_ROW, 0);
        bad += !agrees(&b, HTI_OP_argmax, &attributes, &y, 1, &index, want_argmax, 0);
        bad += !agrees(&b, HTI_OP_max_along, &attributes, &y, 1, &value, want_max_along, 0);
        drop(&b);
    }
    tap_ok(bad == 0, "the first largest, and the first NaN, along any axis (%d off)", (int)bad);
}

/* A large number among small ones takes the whole loop elsewhere, but no bit of the others. */
static void test_turns(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 8; seed++) {
        bench b = {.seed = seed};
        const hti_op_id op = seed % 2 ? HTI_OP_sin : HTI_OP_cos;
        const ht_shape shape = HT_SHAPE(pick(&b, 1, 5), pick(&b, 17, 70));
        const int64_t count = ht_shape_count(shape), at = pick(&b, 0, count - 1);
        const hti_tensor x = random_tensor(&b, HT_F32, shape, HTI_ROW, 0, -8000, 8000);
        const hti_tensor near = make(&b, HT_F32, shape, HTI_ROW, 0), far = make(&b, HT_F32, shape, HTI_ROW, 0);
        bad += run_op(&b, op, NULL, &x, 1, &near, 1) != HT_OK;
        ((float *)x.data)[at] = seed < 4 ? 1e6f : INFINITY;
        bad += run_op(&b, op, NULL, &x, 1, &far, 1) != HT_OK;
        const float large = ((float *)far.data)[at], want = seed % 2 ? sinf(1e6f) : cosf(1e6f);
        bad += seed < 4 ? large != want : !isnan(large);
        ((float *)far.data)[at] = ((float *)near.data)[at];
        bad += memcmp(near.data, far.data, (size_t)count * sizeof(float)) != 0;
        drop(&b);
    }
    tap_ok(bad == 0, "sin and cos of small numbers have equal bits beside large ones (%d off)", (int)bad);
}

int main(void)
{
    test_turns();
    test_pointwise();
    test_special_values();
    test_cast();
    test_sum_shapes();
    test_long_sums();
    test_empty();
    test_largest();
    return tap_done();
}
