/*
 * Pointwise ops of one operand, one row each: partial derivative as recorded ops, and samples. The scalar formulas stand
 * in core/kernel/pointwise.inl. Rules at kinks: relu'(0) = 0, leaky'(0) = slope, abs'(0) = 0.
 */
#include "rules.h"

ht_status hti_same_real(const hti_call *call, hti_spec *out, ht_error *error)
{
    out->dtype = ht_var_dtype(call->in[0]);
    for (int32_t k = 0; k < call->inputs; k++) {
        ht_dtype is = ht_var_dtype(call->in[k]);
        if (is == HT_I32) return ht_fail(error, HT_EDTYPE, "input %d is i32; expected a real type (ht_cast)", (int)k);
        if (is != out->dtype)
            return ht_fail(error, HT_EDTYPE, "inputs are %s and %s; expected one type (ht_cast)",
                           ht_dtype_name(out->dtype), ht_dtype_name(is));
    }
    return HT_OK;
}

ht_status hti_shape_pointwise(const hti_call *call, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    out->shape = hti_in_shape(call, 0);
    for (int32_t k = 1; k < call->inputs; k++)
        if (!ht_shape_equal(out->shape, hti_in_shape(call, k)))
            return ht_fail(error, HT_ESHAPE, "%s and %s differ; expected equal shapes", ht_shape_text(out->shape, a),
                           ht_shape_text(hti_in_shape(call, k), b));
    return hti_same_real(call, out, error);
}

ht_var hti_refuse_empty(const char *op, ht_var x, const char *where)
{
    if (!x.tape) return x;
    return ht_tape_fail(x.tape, where, HT_EINVALID, "%s: an input is an empty value; expected a recorded one", op);
}

ht_var hti_fill_like(ht_var x, double value, const char *where)
{
    return ht_cast_(ht_fill_(x.tape, value, ht_var_shape(x), where), ht_var_dtype(x), where);
}

bool hti_fill_value(ht_var x, double *value)
{
    if (!hti_is(x, HTI_OP_fill)) return false;
    *value = ((const hti_fill_attributes *)hti_node_of(x)->attributes)->value;
    return true;
}

ht_var hti_with_numbers(hti_op_id op, ht_var x, double factor, double term, const char *where)
{
    hti_affine_attributes a;
    memset(&a, 0, sizeof a);
    a.factor = factor;
    a.term = term;
    return hti_emit(x.tape, op, &a, &x, 1, where);
}

static double number(const hti_call *c) { return ((const hti_affine_attributes *)c->attributes)->factor; }

/* ---- partial derivatives: x = c->in[0], y = c->self. The comment behind each is its line in docs/ops.md. ---- */
#define X (c->in[0])
#define Y (c->self)
#define W (c->where)
#define PARTIAL(name, value)                                     \
    static ht_var d_##name(const hti_call *c, int32_t input)     \
    {                                                            \
        (void)input;                                             \
        return value;                                            \
    }

PARTIAL(affine, hti_fill_like(X, number(c), W)) /* the factor */
PARTIAL(exp, Y) /* y */
PARTIAL(expm1, ht_offset_(Y, 1, W)) /* y + 1 */
PARTIAL(log, ht_reciprocal_(X, W)) /* 1 / x */
PARTIAL(log1p, ht_reciprocal_(ht_offset_(X, 1, W), W)) /* 1 / (1 + x) */
PARTIAL(sqrt, ht_scale_(ht_reciprocal_(Y, W), 0.5, W)) /* 1 / (2 y) */
PARTIAL(rsqrt, ht_scale_(ht_mul_(Y, ht_square_(Y, W), W), -0.5, W)) /* -y^3 / 2 */
PARTIAL(square, ht_scale_(X, 2, W)) /* 2 x */
PARTIAL(reciprocal, ht_neg_(ht_square_(Y, W), W)) /* -y^2 */
PARTIAL(pow, ht_scale_(ht_pow_(X, number(c) - 1, W), number(c), W)) /* p x^(p - 1) */
PARTIAL(sin, ht_cos_(X, W)) /* cos x */
PARTIAL(cos, ht_neg_(ht_sin_(X, W), W)) /* -sin x */
PARTIAL(tanh, ht_affine_(ht_square_(Y, W), -1, 1, W)) /* 1 - y^2 */
PARTIAL(sigmoid, ht_mul_(Y, ht_sigmoid_(ht_neg_(X, W), W), W)) /* y sigmoid(-x); not y (1 - y), which cancels for large x */
PARTIAL(softplus, ht_sigmoid_(X, W)) /* sigmoid(x) */
#define TWO_BY_ROOT_PI 1.1283791670955126
PARTIAL(erf, ht_scale_(ht_exp_(ht_neg_(ht_square_(X, W), W), W), TWO_BY_ROOT_PI, W)) /* 2 / sqrt(pi) e^(-x^2) */
PARTIAL(erfc, ht_scale_(ht_exp_(ht_neg_(ht_square_(X, W), W), W), -TWO_BY_ROOT_PI, W)) /* -2 / sqrt(pi) e^(-x^2) */
/* Above 0 is y where x is, unless the slope is negative; and y is kept for what reads it, where x often is not. */
PARTIAL(leaky_relu, hti_with_numbers(HTI_OP_leaky_gate, number(c) >= 0 ? Y : X, number(c), 0, W)) /* 1 above 0, else the slope */
PARTIAL(abs, ht_sign_(X, W)) /* sign(x) */

/* 1 / (2 y), at 0: 0. There the inner root is taken of 1, so that no infinity is formed that a later zero turns into NaN. */
static ht_var d_safe_sqrt(const hti_call *c, int32_t input)
{
    (void)input;
    ht_var above = hti_emit(X.tape, HTI_OP_positive, NULL, &X, 1, W);
    ht_var safe = ht_where_(above, X, hti_fill_like(X, 1, W), W);
    ht_var zero = hti_fill_like(X, 0, W);
    return ht_where_(above, ht_scale_(ht_reciprocal_(ht_sqrt_(safe, W), W), 0.5, W), zero, W);
}

static void print_affine(const void *attributes, FILE *file)
{
    const hti_affine_attributes *a = attributes;
    fprintf(file, " %.17g %.17g", a->factor, a->term);
}

static void print_factor(const void *attributes, FILE *file)
{
    fprintf(file, " %.17g", ((const hti_affine_attributes *)attributes)->factor);
}

/* ---- samples: the op alone, at a rank 2 shape, and on sides of its kink or inside its domain ---- */
#define MATRIX {{2, {3, 4}}}
#define LINE {{1, {7}}}
#define SAMPLE(name, call)                                             \
    static ht_var record_##name(ht_tape *tape, const ht_var *in)       \
    {                                                                  \
        (void)tape;                                                    \
        return call;                                                   \
    }

/* NONE and NUMBERS stand for two arguments each: the bytes of the attributes, and how to print them. */
#define ROW_OF(op, kind_, branch_, partial_, bytes_, print_, ...)                                                  \
    static const hti_sample samples_##op[] = {__VA_ARGS__};                                                        \
    const hti_op hti_op_##op = {.name = #op, .id = HTI_OP_##op, .kind = kind_, .inputs = 1,                        \
                                .attribute_bytes = bytes_, .branch = branch_,                                      \
                                .shape = hti_shape_pointwise, .partial = partial_, .print = print_, HTI_SAMPLES(samples_##op)};
#define ROW(op, kind_, ...) ROW_OF(op, kind_, HTI_NO_BRANCH, __VA_ARGS__)
#define KINKED(op, kind_, ...) ROW_OF(op, kind_, HTI_BRANCH_SIGN, __VA_ARGS__)
#define STEPPED(op, kind_, ...) ROW_OF(op, kind_, HTI_BRANCH_VALUE, __VA_ARGS__)
#define NONE 0, NULL
#define NUMBERS(print_) sizeof(hti_affine_attributes), print_
#define ANY(op) {"around zero", 1, MATRIX, -1.5, 1.5, record_##op}
#define ABOVE(op) {"above zero", 1, MATRIX, 0.3, 2, record_##op}
#define BELOW(op) {"below zero", 1, MATRIX, -2, -0.3, record_##op}

SAMPLE(affine, ht_affine(in[0], -1.5, 0.25))
SAMPLE(exp, ht_exp(in[0]))
SAMPLE(expm1, ht_expm1(in[0]))
SAMPLE(log, ht_log(in[0]))
SAMPLE(log1p, ht_log1p(in[0]))
SAMPLE(sqrt, ht_sqrt(in[0]))
SAMPLE(safe_sqrt, ht_safe_sqrt(in[0]))
SAMPLE(rsqrt, ht_rsqrt(in[0]))
SAMPLE(square, ht_square(in[0]))
SAMPLE(reciprocal, ht_reciprocal(in[0]))
SAMPLE(pow, ht_pow(in[0], 2.5))
SAMPLE(sin, ht_sin(in[0]))
SAMPLE(cos, ht_cos(in[0]))
SAMPLE(tanh, ht_tanh(in[0]))
SAMPLE(sigmoid, ht_sigmoid(in[0]))
SAMPLE(softplus, ht_softplus(in[0]))
SAMPLE(erf, ht_erf(in[0]))
SAMPLE(erfc, ht_erfc(in[0]))
SAMPLE(gelu, ht_gelu(in[0]))
SAMPLE(gelu_tanh, ht_gelu_tanh(in[0]))
SAMPLE(silu, ht_silu(in[0]))
SAMPLE(log_sigmoid, ht_log_sigmoid(in[0]))
SAMPLE(elu, ht_elu(in[0], 0.75))
SAMPLE(leaky_relu, ht_leaky_relu(in[0], 0.2))
SAMPLE(leaky_gate, hti_with_numbers(HTI_OP_leaky_gate, in[0], 0.2, 0, HT_HERE))
SAMPLE(abs, ht_abs(in[0]))
SAMPLE(sign, ht_sign(in[0]))
SAMPLE(round, ht_round(in[0]))
SAMPLE(positive, hti_emit(in[0].tape, HTI_OP_positive, NULL, in, 1, HT_HERE))

ROW(affine, HTI_POINTWISE, d_affine, NUMBERS(print_affine), ANY(affine))
ROW(exp, HTI_POINTWISE, d_exp, NONE, ANY(exp))
ROW(expm1, HTI_POINTWISE, d_expm1, NONE, ANY(expm1), {"elu above zero", 1, MATRIX, 0.3, 2, record_elu},
    {"elu below zero", 1, LINE, -2, -0.3, record_elu})
ROW(log, HTI_POINTWISE, d_log, NONE, ABOVE(log))
ROW(log1p, HTI_POINTWISE, d_log1p, NONE, ABOVE(log1p))
ROW(sqrt, HTI_POINTWISE, d_sqrt, NONE, ABOVE(sqrt))
ROW(safe_sqrt, HTI_POINTWISE, d_safe_sqrt, NONE, ABOVE(safe_sqrt))
ROW(rsqrt, HTI_POINTWISE, d_rsqrt, NONE, ABOVE(rsqrt), {"one number", 1, {{1, {1}}}, 0.3, 2, record_rsqrt})
ROW(square, HTI_POINTWISE, d_square, NONE, ANY(square))
ROW(reciprocal, HTI_POINTWISE, d_reciprocal, NONE, ABOVE(reciprocal), BELOW(reciprocal))
ROW(pow, HTI_POINTWISE, d_pow, NUMBERS(print_factor), ABOVE(pow))
ROW(sin, HTI_POINTWISE, d_sin, NONE, ANY(sin))
ROW(cos, HTI_POINTWISE, d_cos, NONE, ANY(cos))
ROW(tanh, HTI_POINTWISE, d_tanh, NONE, ANY(tanh))
ROW(sigmoid, HTI_POINTWISE, d_sigmoid, NONE, ANY(sigmoid), {"silu", 1, MATRIX, -3, 3, record_silu},
    {"gelu by tanh", 1, LINE, -2, 2, record_gelu_tanh})
ROW(softplus, HTI_POINTWISE, d_softplus, NONE, ANY(softplus), {"log_sigmoid", 1, LINE, -3, 3, record_log_sigmoid})
ROW(erf, HTI_POINTWISE, d_erf, NONE, ANY(erf), {"one number", 1, {{1, {1}}}, -2, 2, record_erf})
ROW(erfc, HTI_POINTWISE, d_erfc, NONE, ANY(erfc), {"gelu", 1, MATRIX, -2, 2, record_gelu},
    {"gelu far below zero", 1, LINE, -4, -2, record_gelu})
KINKED(leaky_relu, HTI_POINTWISE, d_leaky_relu, NUMBERS(print_factor), ABOVE(leaky_relu), BELOW(leaky_relu))
KINKED(leaky_gate, HTI_CONSTANT, NULL, NUMBERS(print_factor), ABOVE(leaky_gate), BELOW(leaky_gate))
KINKED(abs, HTI_POINTWISE, d_abs, NONE, ABOVE(abs), BELOW(abs))
KINKED(sign, HTI_CONSTANT, NULL, NONE, ABOVE(sign), BELOW(sign))
STEPPED(round, HTI_CONSTANT, NULL, NONE, ABOVE(round))
KINKED(positive, HTI_CONSTANT, NULL, NONE, ABOVE(positive), BELOW(positive))

/* ---- recording ---- */
#define RECORD(op) \
    ht_var ht_##op##_(ht_var x, const char *where) { return hti_emit(x.tape, HTI_OP_##op, NULL, &x, 1, where); }

RECORD(exp)
RECORD(expm1)
RECORD(log)
RECORD(log1p)
RECORD(sqrt)
RECORD(safe_sqrt)
RECORD(rsqrt)
RECORD(square)
RECORD(reciprocal)
RECORD(sin)
RECORD(cos)
RECORD(tanh)
RECORD(sigmoid)
RECORD(softplus)
RECORD(erf)
RECORD(erfc)
RECORD(abs)
RECORD(sign)
RECORD(round)

ht_var ht_leaky_relu_(ht_var x, double slope, const char *where)
{
    return hti_with_numbers(HTI_OP_leaky_relu, x, slope, 0, where);
}

ht_var ht_relu_(ht_var x, const char *where) { return ht_leaky_relu_(x, 0, where); }

ht_var ht_pow_(ht_var x, double exponent, const char *where)
{
    if (!ht_ok(x)) return hti_with_numbers(HTI_OP_pow, x, exponent, 0, where);
    if (exponent == 0) return hti_fill_like(x, 1, where);
    if (exponent == 1) return x;
    if (exponent == 2) return ht_square_(x, where);
    return hti_with_numbers(HTI_OP_pow, x, exponent, 0, where);
}

/* a (f x + t) + b is one affine map; of a constant it is a constant. */
ht_var ht_affine_(ht_var x, double factor, double term, const char *where)
{
    double value;
    if (ht_ok(x) && factor == 1 && term == 0) return x;
    if (hti_fill_value(x, &value)) return hti_fill_like(x, factor * value + term, where);
    if (hti_is(x, HTI_OP_affine) && hti_inner(x)) {
        const hti_node *node = hti_node_of(x);
        const hti_affine_attributes *inner = node->attributes;
        return ht_affine_(node->in[0], factor * inner->factor, factor * inner->term + term, where);
    }
    return hti_with_numbers(HTI_OP_affine, x, factor, term, where);
}

ht_var ht_scale_(ht_var x, double factor, const char *where) { return ht_affine_(x, factor, 0, where); }
ht_var ht_offset_(ht_var x, double term, const char *where) { return ht_affine_(x, 1, term, where); }
ht_var ht_neg_(ht_var x, const char *where) { return ht_affine_(x, -1, 0, where); }
