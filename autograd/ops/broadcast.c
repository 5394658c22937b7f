/*
 * broadcast_to <-> sum_to: each is the other's transpose. On the tape both keep the rank; recording puts missing axes in
 * front by a reshape. Beside them the two reductions without a derivative, argmax and max_along.
 */
#include "rules.h"

static const ht_shape *target(const hti_call *call) { return &((const hti_shape_attributes *)call->attributes)->shape; }

/* `small` has the sizes of `large`, or 1. */
static bool stretches(ht_shape small, ht_shape large)
{
    if (small.rank != large.rank) return false;
    for (int32_t i = 0; i < small.rank; i++)
        if (small.dim[i] != large.dim[i] && small.dim[i] != 1) return false;
    return true;
}

static ht_status shape_broadcast(const hti_call *call, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    out->shape = *target(call);
    out->dtype = ht_var_dtype(call->in[0]);
    if (ht_shape_count(out->shape) >= 0 && stretches(hti_in_shape(call, 0), out->shape)) return HT_OK;
    return ht_fail(error, HT_ESHAPE, "%s does not stretch to %s; expected sizes that are equal or 1",
                   ht_shape_text(hti_in_shape(call, 0), a), ht_shape_text(out->shape, b));
}

static ht_status shape_sum(const hti_call *call, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    out->shape = *target(call);
    if (!stretches(out->shape, hti_in_shape(call, 0)))
        return ht_fail(error, HT_ESHAPE, "%s does not sum to %s; expected sizes that are equal or 1",
                       ht_shape_text(hti_in_shape(call, 0), a), ht_shape_text(out->shape, b));
    return hti_same_real(call, out, error);
}

/* sum_to, back to the shape of x */
static ht_var transpose_broadcast(const hti_call *call, int32_t input, ht_var cotangent)
{
    return ht_sum_to_(cotangent, hti_in_shape(call, input), call->where);
}

/* broadcast_to, over what was summed */
static ht_var transpose_sum(const hti_call *call, int32_t input, ht_var cotangent)
{
    return ht_broadcast_to_(cotangent, hti_in_shape(call, input), call->where);
}

static ht_var to_shape(hti_op_id op, ht_var x, ht_shape shape, const char *where)
{
    hti_shape_attributes a;
    memset(&a, 0, sizeof a);
    hti_shape_put(&a.shape, shape);
    return hti_emit(x.tape, op, &a, &x, 1, where);
}

/* The shape with 1s in front up to the rank. */
static ht_shape padded(ht_shape shape, int32_t rank)
{
    ht_shape out;
    memset(&out, 0, sizeof out);
    out.rank = rank;
    for (int32_t i = 0; i < rank; i++) {
        int32_t k = i - (rank - shape.rank);
        out.dim[i] = k < 0 ? 1 : shape.dim[k];
    }
    return out;
}

ht_var ht_broadcast_to_(ht_var x, ht_shape shape, const char *where)
{
    double value;
    if (ht_ok(x) && shape.rank >= 0 && shape.rank <= HT_MAX_RANK) {
        if (ht_shape_equal(ht_var_shape(x), shape)) return x;
        if (ht_var_shape(x).rank < shape.rank) x = ht_reshape_(x, padded(ht_var_shape(x), shape.rank), where);
        if (hti_fill_value(x, &value) && stretches(ht_var_shape(x), shape) && ht_var_dtype(x) == ht_tape_dtype(x.tape))
            return ht_fill_(x.tape, value, shape, where);
    }
    return to_shape(HTI_OP_broadcast_to, x, shape, where);
}

ht_var hti_before_stretch(ht_var x)
{
    hti_node *node = &x.tape->nodes[x.id];
    if (!hti_inner(x) && node->passed == 0) node->passed = x.tape->count;
    return node->in[0];
}

/* So many factors within one another are looked for. */
#define FACTORS 4

/* The input of a product that is the same wherever numbers are summed up; -1 without one. */
static int32_t constant_input(const hti_call *product, ht_shape to)
{
    for (int32_t k = 0; k < 2; k++)
        if (hti_is(product->in[k], HTI_OP_broadcast_to) && stretches(ht_var_shape(hti_node_of(product->in[k])->in[0]), to))
            return k;
    return -1;
}

/*
 * Whether x is such a product, or several added up; nothing else, lest what cancels be summed apart. A number counts only beside
 * such a factor: alone it costs a sum nothing, and the caller may have put it there against an overflow.
 */
static bool has_factor(ht_var x, ht_shape to, int32_t most, bool number)
{
    const hti_call call = hti_call_of(x);
    if (most == 0 || !hti_inner(x)) return false;
    switch (call.op->id) {
    case HTI_OP_affine:
        if (((const hti_affine_attributes *)call.attributes)->term != 0) return false;
        return number || has_factor(call.in[0], to, most - 1, false);
    case HTI_OP_mul: return constant_input(&call, to) >= 0;
    case HTI_OP_add:
    case HTI_OP_sub: return has_factor(call.in[0], to, most - 1, number) && has_factor(call.in[1], to, most - 1, number);
    default: return false;
    }
}

/*
 * The sum with its factors drawn out; `number`: a number alone is one. In derivatives of norms what is then left to sum is summed
 * already, or at hand at the same time: one pass over memory less.
 */
static ht_var sum(ht_var x, ht_shape to, int32_t most, bool number, const char *where)
{
    if (!has_factor(x, to, most, number)) return to_shape(HTI_OP_sum_to, x, to, where);
    const hti_call call = hti_call_of(x);
    const int32_t constant = call.op->id == HTI_OP_mul ? constant_input(&call, to) : -1;
    const ht_var a = sum(call.in[constant == 0], to, most - 1, true, where);
    if (call.op->id == HTI_OP_affine) return ht_scale_(a, ((const hti_affine_attributes *)call.attributes)->factor, where);
    if (constant >= 0) return ht_mul_(a, hti_before_stretch(call.in[constant]), where);
    const ht_var b = sum(call.in[1], to, most - 1, true, where);
    return call.op->id == HTI_OP_add ? ht_add_(a, b, where) : ht_sub_(a, b, where);
}

ht_var ht_sum_to_(ht_var x, ht_shape shape, const char *where)
{
    if (!ht_ok(x) || shape.rank < 0 || shape.rank > ht_var_shape(x).rank) return to_shape(HTI_OP_sum_to, x, shape, where);
    ht_shape full = padded(shape, ht_var_shape(x).rank);
    if (!ht_shape_equal(ht_var_shape(x), full)) x = sum(x, full, stretches(full, ht_var_shape(x)) ? FACTORS : 0, false, where);
    return ht_shape_equal(full, shape) ? x : ht_reshape_(x, shape, where);
}

ht_var ht_sum_(ht_var x, const char *where) { return ht_sum_to_(x, HT_SCALAR, where); }

static double divisor(ht_var x, ht_shape to)
{
    int64_t from_count = ht_shape_count(ht_var_shape(x)), to_count = ht_shape_count(to);
    return to_count > 0 && from_count > 0 ? (double)to_count / (double)from_count : 1;
}

ht_var ht_mean_to_(ht_var x, ht_shape shape, const char *where)
{
    return ht_scale_(ht_sum_to_(x, shape, where), divisor(x, shape), where);
}

ht_var ht_mean_(ht_var x, const char *where) { return ht_mean_to_(x, HT_SCALAR, where); }

/* ---- along one axis ---- */

static ht_status shape_along(const hti_call *call, hti_spec *out, ht_error *error)
{
    char text[HT_SHAPE_TEXT];
    int64_t axis = ((const hti_axis_attributes *)call->attributes)->axis;
    out->shape = hti_in_shape(call, 0);
    if (axis < 0 || axis >= out->shape.rank || out->shape.dim[axis] < 1)
        return ht_fail(error, HT_ESHAPE, "axis %d of %s; expected an axis with at least one element", (int)axis,
                       ht_shape_text(out->shape, text));
    out->shape.dim[axis] = 1;
    ht_status status = hti_same_real(call, out, error);
    if (call->op->id == HTI_OP_argmax) out->dtype = HT_I32;
    return status;
}

static ht_var along(hti_op_id op, ht_var x, int32_t axis, const char *where)
{
    hti_axis_attributes a = {axis};
    return hti_emit(x.tape, op, &a, &x, 1, where);
}

ht_var ht_argmax_(ht_var x, int32_t axis, const char *where) { return along(HTI_OP_argmax, x, axis, where); }
ht_var ht_max_along_(ht_var x, int32_t axis, const char *where) { return along(HTI_OP_max_along, x, axis, where); }

void hti_print_axis(const void *attributes, FILE *file)
{
    fprintf(file, " axis %d", (int)((const hti_axis_attributes *)attributes)->axis);
}

/* ---- descriptors and samples ---- */
#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        (void)tape;                                              \
        return call;                                             \
    }
SAMPLE(broadcast_channel, ht_broadcast_to(in[0], HT_SHAPE(2, 3, 2, 2)))
SAMPLE(broadcast_front, ht_broadcast_to(in[0], HT_SHAPE(2, 3)))
SAMPLE(sum_all, ht_sum(in[0]))
SAMPLE(sum_channel, ht_sum_to(in[0], HT_SHAPE(1, 3, 1, 1)))
SAMPLE(sum_rows, ht_sum_to(in[0], HT_SHAPE(1, 4)))
SAMPLE(mean, ht_mean_to(in[0], HT_SHAPE(3, 1)))
SAMPLE(sum_axes, ht_sum_axes(in[0], HT_SHAPE(2, 0)))
SAMPLE(mean_axes, ht_mean_axes(in[0], HT_SHAPE(1), .keep = 1))
SAMPLE(variance_axes, ht_variance_axes(in[0], HT_SHAPE(0, 2)))
SAMPLE(unbiased, ht_deviation_axes(in[0], HT_SHAPE(1), .keep = 1, .unbiased = 1))
SAMPLE(argmin, ht_cast(ht_argmin(in[0], 0), ht_tape_dtype(tape)))
SAMPLE(argmax, ht_cast(ht_argmax(in[0], 1), ht_tape_dtype(tape)))
SAMPLE(max_along, ht_max_along(in[0], 0))
SAMPLE(argmax_axis, ht_argmax(in[0], 2))

static const hti_sample samples_broadcast[] = {
    {"per channel", 1, {{4, {1, 3, 1, 1}}}, 0, 0, record_broadcast_channel},
    {"axes in front", 1, {{1, {3}}}, 0, 0, record_broadcast_front},
};
static const hti_reject rejects_broadcast[] = {
    {"size that does not stretch", HT_ESHAPE, "does not stretch", 1, {{1, {2}}}, record_broadcast_front},
};
const hti_op hti_op_broadcast_to = {.name = "broadcast_to", .id = HTI_OP_broadcast_to, .kind = HTI_LINEAR, .inputs = 1,
                                    .attribute_bytes = sizeof(hti_shape_attributes),
                                    .alias = HTI_ALIAS_BROADCAST, .shape = shape_broadcast,
                                    .transpose = transpose_broadcast, HTI_SAMPLES(samples_broadcast),
                                    HTI_REJECTS(rejects_broadcast)};

static const hti_sample samples_sum[] = {
    {"all", 1, {{3, {2, 3, 2}}}, 0, 0, record_sum_all},
    {"per channel", 1, {{4, {2, 3, 2, 2}}}, 0, 0, record_sum_channel},
    {"rows", 1, {{2, {3, 4}}}, 0, 0, record_sum_rows},
    {"mean of columns", 1, {{2, {3, 4}}}, 0, 0, record_mean},
    {"over outer axes", 1, {{3, {2, 3, 5}}}, 0, 0, record_sum_axes},
    {"mean, axis kept", 1, {{3, {2, 7, 1}}}, 0, 0, record_mean_axes},
    {"variance", 1, {{3, {2, 3, 5}}}, 0, 0, record_variance_axes},
    {"deviation, unbiased", 1, {{2, {3, 5}}}, 0, 0, record_unbiased},
};
static const hti_reject rejects_sum[] = {
    {"variance of one number", HT_EINVALID, "1 numbers; expected at least 2", 1, {{2, {3, 1}}}, record_unbiased},
    {"axis that is not there", HT_ESHAPE, "axes that exist", 1, {{2, {3, 1}}}, record_sum_axes},
    {"size that is not 1", HT_ESHAPE, "does not sum to", 1, {{2, {3, 5}}}, record_sum_rows},
};
const hti_op hti_op_sum_to = {.name = "sum_to", .id = HTI_OP_sum_to, .kind = HTI_LINEAR, .inputs = 1,
                              .attribute_bytes = sizeof(hti_shape_attributes), .shape = shape_sum,
                              .transpose = transpose_sum, HTI_SAMPLES(samples_sum), HTI_REJECTS(rejects_sum)};

static const hti_sample samples_argmax[] = {{"matrix", 1, {{2, {3, 4}}}, 0, 0, record_argmax},
                                            {"argmin of columns", 1, {{2, {5, 1}}}, 0, 0, record_argmin}};
static const hti_reject rejects_argmax[] = {
    {"axis out of range", HT_ESHAPE, "axis 2", 1, {{2, {3, 4}}}, record_argmax_axis},
};
const hti_op hti_op_argmax = {.name = "argmax", .id = HTI_OP_argmax, .kind = HTI_CONSTANT, .inputs = 1,
                              .attribute_bytes = sizeof(hti_axis_attributes), .branch = HTI_BRANCH_VALUE,
                              .shape = shape_along, .print = hti_print_axis, HTI_SAMPLES(samples_argmax),
                              HTI_REJECTS(rejects_argmax)};
static const hti_sample samples_max[] = {{"matrix", 1, {{2, {3, 4}}}, 0, 0, record_max_along}};
const hti_op hti_op_max_along = {.name = "max_along", .id = HTI_OP_max_along, .kind = HTI_CONSTANT, .inputs = 1,
                                 .attribute_bytes = sizeof(hti_axis_attributes), .shape = shape_along,
                                 .print = hti_print_axis, HTI_SAMPLES(samples_max)};
