/*
 * Pointwise ops of two and three operands. Operands broadcast when recorded (an explicit broadcast_to, which the planner
 * turns into a view), so the ops themselves see equal shapes.
 */
#include "rules.h"

/* The common shape of two, as NumPy has it: sizes aligned at the last axis, 1 stretches. */
static bool common_shape(ht_shape a, ht_shape b, ht_shape *out)
{
    memset(out, 0, sizeof *out);
    out->rank = a.rank > b.rank ? a.rank : b.rank;
    for (int32_t i = 0; i < out->rank; i++) {
        int32_t ia = i - (out->rank - a.rank), ib = i - (out->rank - b.rank);
        int64_t da = ia < 0 ? 1 : a.dim[ia], db = ib < 0 ? 1 : b.dim[ib];
        if (da != db && da != 1 && db != 1) return false;
        out->dim[i] = da == 1 ? db : da;
    }
    return true;
}

bool hti_broadcast_pair(const char *op, ht_var *a, ht_var *b, const char *where)
{
    ht_tape *tape = a->tape ? a->tape : b->tape;
    if (!ht_ok(*a) || !ht_ok(*b)) {
        if (tape) ht_tape_fail(tape, where, HT_EINVALID, "%s: an input is an empty value; expected a recorded one", op);
        return false;
    }
    if (a->tape != b->tape) { /* said here, since a constant of the other tape would be folded without a look at it */
        ht_tape_fail(tape, where, HT_EINVALID, "%s: the inputs are of two tapes; expected values of one", op);
        return false;
    }
    ht_shape sa = ht_var_shape(*a), sb = ht_var_shape(*b), common;
    if (ht_shape_equal(sa, sb)) return true;
    char ta[HT_SHAPE_TEXT], tb[HT_SHAPE_TEXT];
    if (!common_shape(sa, sb, &common)) {
        ht_tape_fail(tape, where, HT_ESHAPE, "%s: %s and %s do not fit; expected sizes that are equal or 1", op,
                     ht_shape_text(sa, ta), ht_shape_text(sb, tb));
        return false;
    }
    *a = ht_broadcast_to_(*a, common, where);
    *b = ht_broadcast_to_(*b, common, where);
    return ht_ok(*a) && ht_ok(*b);
}

static ht_var binary(hti_op_id op, ht_var a, ht_var b, const char *where)
{
    if (!hti_broadcast_pair(hti_ops[op]->name, &a, &b, where)) return (ht_var){0};
    ht_var in[2] = {a, b};
    return hti_emit(a.tape, op, NULL, in, 2, where);
}

/* Constants that are one number everywhere turn the op into an affine map; x + 0 and 1 x vanish. */
ht_var ht_add_(ht_var a, ht_var b, const char *where)
{
    double value;
    if (!hti_broadcast_pair("add", &a, &b, where)) return (ht_var){0};
    if (hti_fill_value(b, &value)) return ht_offset_(a, value, where);
    if (hti_fill_value(a, &value)) return ht_offset_(b, value, where);
    return binary(HTI_OP_add, a, b, where);
}

ht_var ht_sub_(ht_var a, ht_var b, const char *where)
{
    double value;
    if (!hti_broadcast_pair("sub", &a, &b, where)) return (ht_var){0};
    if (hti_fill_value(b, &value)) return ht_offset_(a, -value, where);
    if (hti_fill_value(a, &value)) return ht_affine_(b, -1, value, where);
    return binary(HTI_OP_sub, a, b, where);
}

ht_var ht_mul_(ht_var a, ht_var b, const char *where)
{
    double value;
    if (!hti_broadcast_pair("mul", &a, &b, where)) return (ht_var){0};
    if (hti_fill_value(b, &value)) return ht_scale_(a, value, where);
    if (hti_fill_value(a, &value)) return ht_scale_(b, value, where);
    return binary(HTI_OP_mul, a, b, where);
}

ht_var ht_div_(ht_var a, ht_var b, const char *where)
{
    double value;
    if (!hti_broadcast_pair("div", &a, &b, where)) return (ht_var){0};
    if (hti_fill_value(a, &value)) return ht_scale_(ht_reciprocal_(b, where), value, where);
    return binary(HTI_OP_div, a, b, where);
}

ht_var ht_greater_(ht_var a, ht_var b, const char *where) { return binary(HTI_OP_greater, a, b, where); }

ht_var ht_less_(ht_var a, ht_var b, const char *where) { return binary(HTI_OP_greater, b, a, where); }

ht_var ht_equal_(ht_var a, ht_var b, const char *where) { return binary(HTI_OP_equal, a, b, where); }

ht_var ht_greater_equal_(ht_var a, ht_var b, const char *where)
{
    ht_var equal = ht_equal_(a, b, where);
    return ht_add_(ht_greater_(a, b, where), equal, where);
}

ht_var ht_less_equal_(ht_var a, ht_var b, const char *where) { return ht_greater_equal_(b, a, where); }

ht_var ht_not_equal_(ht_var a, ht_var b, const char *where) { return ht_affine_(ht_equal_(a, b, where), -1, 1, where); }

ht_var hti_shift(ht_var x, ht_var largest, const char *where) { return binary(HTI_OP_shift, x, largest, where); }

ht_var ht_maximum_(ht_var a, ht_var b, const char *where) { return ht_where_(ht_greater_(b, a, where), b, a, where); }

ht_var ht_minimum_(ht_var a, ht_var b, const char *where) { return ht_where_(ht_greater_(a, b, where), b, a, where); }

ht_var ht_where_(ht_var condition, ht_var a, ht_var b, const char *where)
{
    if (!hti_broadcast_pair("where", &a, &b, where) || !hti_broadcast_pair("where", &condition, &a, where) ||
        !hti_broadcast_pair("where", &condition, &b, where))
        return (ht_var){0};
    ht_var in[3] = {condition, a, b};
    return hti_emit(a.tape, HTI_OP_where, NULL, in, 3, where);
}

/* ---- partial derivatives ---- */
/* 1 */
static ht_var d_add(const hti_call *c, int32_t k)
{
    (void)k;
    return hti_fill_like(c->self, 1, c->where);
}
/* 1 and -1 */
static ht_var d_sub(const hti_call *c, int32_t k) { return hti_fill_like(c->self, k == 0 ? 1 : -1, c->where); }
/* the other operand */
static ht_var d_mul(const hti_call *c, int32_t k) { return c->in[1 - k]; }
/* 1 / b and -y / b */
static ht_var d_div(const hti_call *c, int32_t k)
{
    ht_var inverse = ht_reciprocal_(c->in[1], c->where);
    return k == 0 ? inverse : ht_neg_(ht_mul_(c->self, inverse, c->where), c->where);
}

/*
 * The cotangent where the branch was taken, else 0: the selection is copied, never multiplied, so that the branch not
 * taken gets an exact zero even where it is NaN.
 */
static ht_var transpose_where(const hti_call *c, int32_t k, ht_var cotangent)
{
    ht_var zero = hti_fill_like(cotangent, 0, c->where);
    return k == 1 ? ht_where_(c->in[0], cotangent, zero, c->where) : ht_where_(c->in[0], zero, cotangent, c->where);
}

/* ---- descriptors and samples ---- */
#define PAIR {{2, {3, 4}}, {2, {3, 4}}}
#define BROADCAST {{4, {2, 3, 2, 2}}, {4, {1, 3, 1, 1}}}
#define SCALAR {{0, {0}}, {3, {2, 2, 3}}}
#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        (void)tape;                                              \
        return call;                                             \
    }
SAMPLE(add, ht_add(in[0], in[1]))
SAMPLE(sub, ht_sub(in[0], in[1]))
SAMPLE(mul, ht_mul(in[0], in[1]))
SAMPLE(div, ht_div(in[0], in[1]))
SAMPLE(greater, ht_greater(in[0], in[1]))
SAMPLE(where, ht_where(in[0], in[1], in[2]))
SAMPLE(maximum, ht_maximum(in[0], ht_offset(in[1], 0.0625)))
SAMPLE(self, ht_mul(in[0], in[0]))
SAMPLE(equal, ht_equal(ht_round(in[0]), ht_round(in[1])))
SAMPLE(less, ht_less(in[0], in[1]))
SAMPLE(clamp, ht_clamp(in[0], -0.5, 0.5))
SAMPLE(clamp_reversed, ht_clamp(in[0], 1, 0))
SAMPLE(softmax, ht_softmax(in[0], 1))
SAMPLE(log_softmax, ht_log_softmax(in[0], 0))
SAMPLE(logsumexp, ht_logsumexp(in[0], 2))

static const hti_reject rejects_add[] = {
    {"sizes that do not fit", HT_ESHAPE, "[3,4] and [3,5]", 2, {{2, {3, 4}}, {2, {3, 5}}}, record_add},
};

#define ROW(op, partial_, ...)                                                                                 \
    static const hti_sample samples_##op[] = {__VA_ARGS__};                                                    \
    const hti_op hti_op_##op = {.name = #op, .id = HTI_OP_##op, .kind = HTI_POINTWISE, .inputs = 2,            \
                                .shape = hti_shape_pointwise, .partial = partial_,                             \
                                HTI_SAMPLES(samples_##op), HTI_REJECTS(rejects_add)};
ROW(add, d_add, {"equal shapes", 2, PAIR, 0, 0, record_add}, {"per channel", 2, BROADCAST, 0, 0, record_add})
ROW(sub, d_sub, {"equal shapes", 2, PAIR, 0, 0, record_sub}, {"per channel", 2, BROADCAST, 0, 0, record_sub})
ROW(mul, d_mul, {"equal shapes", 2, PAIR, 0, 0, record_mul}, {"per channel", 2, BROADCAST, 0, 0, record_mul},
    {"by a scalar", 2, SCALAR, 0, 0, record_mul}, {"by itself", 1, PAIR, 0, 0, record_self})
ROW(div, d_div, {"equal shapes", 2, PAIR, 0.4, 2, record_div}, {"per channel", 2, BROADCAST, 0.4, 2, record_div})

static const hti_sample samples_greater[] = {{"equal shapes", 2, PAIR, 0, 0, record_greater},
                                             {"less, per channel", 2, BROADCAST, 0, 0, record_less}};
const hti_op hti_op_greater = {.name = "greater", .id = HTI_OP_greater, .kind = HTI_CONSTANT, .inputs = 2,
                               .branch = HTI_BRANCH_VALUE, .shape = hti_shape_pointwise, HTI_SAMPLES(samples_greater)};

static const hti_sample samples_equal[] = {{"rounded numbers", 2, PAIR, -3, 3, record_equal}};
const hti_op hti_op_equal = {.name = "equal", .id = HTI_OP_equal, .kind = HTI_CONSTANT, .inputs = 2,
                             .branch = HTI_BRANCH_VALUE, .shape = hti_shape_pointwise, HTI_SAMPLES(samples_equal)};

/* The largest is a constant to it: what the softmax family makes of the difference does not depend on it. */
static const hti_sample samples_shift[] = {
    {"softmax", 1, {{2, {3, 5}}}, -2, 2, record_softmax},
    {"log_softmax of rows", 1, {{2, {4, 3}}}, -2, 2, record_log_softmax},
    {"logsumexp along the last axis", 1, {{3, {1, 2, 5}}}, -2, 2, record_logsumexp},
};
const hti_op hti_op_shift = {.name = "shift", .id = HTI_OP_shift, .kind = HTI_POINTWISE, .inputs = 2, .carries = 1,
                             .shape = hti_shape_pointwise, .partial = d_add, HTI_SAMPLES(samples_shift)};

static const hti_sample samples_where[] = {
    {"equal shapes", 3, {{2, {3, 4}}, {2, {3, 4}}, {2, {3, 4}}}, 0, 0, record_where},
    {"maximum", 2, PAIR, 0, 0, record_maximum},
    {"clamp", 1, {{1, {11}}}, -0.9, 0.9, record_clamp},
};
static const hti_reject rejects_where[] = {
    {"bounds of a clamp in the wrong order", HT_EINVALID, "low <= high", 1, {{1, {3}}}, record_clamp_reversed},
};
const hti_op hti_op_where = {.name = "where", .id = HTI_OP_where, .kind = HTI_LINEAR, .inputs = 3, .carries = 6,
                             .shape = hti_shape_pointwise, .transpose = transpose_where, HTI_SAMPLES(samples_where),
                             HTI_REJECTS(rejects_where)};
