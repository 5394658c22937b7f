/* Movement: reshape, permute, slice <-> pad, concat. Linear, each closed with its transpose in this file. */
#include "rules.h"

static const ht_shape *target(const hti_call *call) { return &((const hti_shape_attributes *)call->attributes)->shape; }
static const hti_block_attributes *block(const hti_call *call) { return call->attributes; }

/* ---- reshape ---- */
static ht_status shape_reshape(const hti_call *call, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    out->shape = *target(call);
    out->dtype = ht_var_dtype(call->in[0]);
    if (ht_shape_count(out->shape) == ht_shape_count(hti_in_shape(call, 0))) return HT_OK;
    return ht_fail(error, HT_ESHAPE, "%s to %s; expected the same number of elements",
                   ht_shape_text(hti_in_shape(call, 0), a), ht_shape_text(out->shape, b));
}

/* a reshape back */
static ht_var transpose_reshape(const hti_call *call, int32_t input, ht_var cotangent)
{
    return ht_reshape_(cotangent, hti_in_shape(call, input), call->where);
}

ht_var ht_reshape_(ht_var x, ht_shape shape, const char *where)
{
    double value;
    if (ht_ok(x)) {
        if (ht_shape_equal(ht_var_shape(x), shape)) return x;
        if (hti_is(x, HTI_OP_reshape) && hti_inner(x)) return ht_reshape_(hti_node_of(x)->in[0], shape, where);
        if (hti_fill_value(x, &value) && ht_shape_count(shape) == ht_shape_count(ht_var_shape(x)) &&
            ht_var_dtype(x) == ht_tape_dtype(x.tape))
            return ht_fill_(x.tape, value, shape, where);
    }
    hti_shape_attributes a;
    memset(&a, 0, sizeof a);
    hti_shape_put(&a.shape, shape);
    return hti_emit(x.tape, HTI_OP_reshape, &a, &x, 1, where);
}

/* ---- permute ---- */
static ht_status shape_permute(const hti_call *call, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    const ht_shape *order = target(call);
    ht_shape in = hti_in_shape(call, 0);
    uint32_t seen = 0;
    out->dtype = ht_var_dtype(call->in[0]);
    out->shape = in;
    bool fits = order->rank == in.rank;
    for (int32_t i = 0; fits && i < in.rank; i++) {
        int64_t axis = order->dim[i];
        fits = axis >= 0 && axis < in.rank && !(seen >> axis & 1u);
        if (!fits) break;
        seen |= 1u << axis;
        out->shape.dim[i] = in.dim[axis];
    }
    if (fits) return HT_OK;
    return ht_fail(error, HT_ESHAPE, "order %s for %s; expected each axis once", ht_shape_text(*order, a),
                   ht_shape_text(in, b));
}

/* the inverse order */
static ht_var transpose_permute(const hti_call *call, int32_t input, ht_var cotangent)
{
    (void)input;
    const ht_shape *order = target(call);
    ht_shape inverse;
    memset(&inverse, 0, sizeof inverse);
    inverse.rank = order->rank;
    for (int32_t i = 0; i < order->rank; i++) inverse.dim[order->dim[i]] = i;
    return ht_permute_(cotangent, inverse, call->where);
}

ht_var ht_permute_(ht_var x, ht_shape order, const char *where)
{
    hti_shape_attributes a;
    memset(&a, 0, sizeof a);
    hti_shape_put(&a.shape, order);
    return hti_emit(x.tape, HTI_OP_permute, &a, &x, 1, where);
}

/* ---- slice <-> pad. A pad is a block at `start` inside a result of `size`; a slice takes that block out again. ---- */
static ht_status shape_slice(const hti_call *call, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT], c[HT_SHAPE_TEXT];
    const hti_block_attributes *at = block(call);
    ht_shape in = hti_in_shape(call, 0);
    out->shape = at->size;
    out->dtype = ht_var_dtype(call->in[0]);
    bool fits = at->start.rank == in.rank && at->size.rank == in.rank;
    for (int32_t i = 0; fits && i < in.rank; i++) {
        int64_t end;
        fits = at->start.dim[i] >= 0 && at->size.dim[i] >= 0 && hti_sum(at->start.dim[i], at->size.dim[i], &end) &&
               end <= in.dim[i];
    }
    if (fits) return HT_OK;
    return ht_fail(error, HT_ESHAPE, "block %s at %s of %s; expected a block inside", ht_shape_text(at->size, a),
                   ht_shape_text(at->start, b), ht_shape_text(in, c));
}

static ht_status shape_pad(const hti_call *call, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT], c[HT_SHAPE_TEXT];
    const hti_block_attributes *at = block(call);
    ht_shape in = hti_in_shape(call, 0);
    out->shape = at->size;
    bool fits = at->start.rank == in.rank && at->size.rank == in.rank;
    for (int32_t i = 0; fits && i < in.rank; i++) {
        int64_t end;
        fits = at->start.dim[i] >= 0 && hti_sum(at->start.dim[i], in.dim[i], &end) && end <= at->size.dim[i];
    }
    if (fits) return hti_same_real(call, out, error);
    return ht_fail(error, HT_ESHAPE, "%s at %s inside %s; expected sizes of padding >= 0 on every side",
                   ht_shape_text(in, a), ht_shape_text(at->start, b), ht_shape_text(at->size, c));
}

/* So many factors within one another change places with a block. */
#define FACTORS 6

/* The input of a product that repeats along all axes of which a block is but a part; -1 without one. */
static int32_t constant_input(const hti_call *product, ht_shape size)
{
    const ht_shape whole = ht_var_shape(product->self);
    for (int32_t k = 0; k < 2; k++) {
        bool repeats = hti_is(product->in[k], HTI_OP_broadcast_to);
        for (int32_t i = 0; i < whole.rank && repeats; i++)
            repeats = size.dim[i] == whole.dim[i] || ht_var_shape(hti_node_of(product->in[k])->in[0]).dim[i] == 1;
        if (repeats) return k;
    }
    return -1;
}

/*
 * Slices and pads change places with factors, pads with sums too: what is computed is then over the larger space, or from the
 * smaller one, and what was cut out of one value and goes back to its place is in one space with it. A pad of a slice reads
 * numbers where they are.
 */
static ht_var at_block(hti_op_id op, ht_var x, ht_shape start, ht_shape size, int32_t most, const char *where)
{
    hti_block_attributes a;
    const bool fits = most > 0 && ht_ok(x) && hti_inner(x) && start.rank == size.rank && size.rank == ht_var_shape(x).rank;
    const hti_call call = fits ? hti_call_of(x) : (hti_call){0};
    const hti_op_id id = fits ? call.op->id : HTI_OPS;
    const int32_t constant = id == HTI_OP_mul ? constant_input(&call, size) : -1;
    const bool scaled = id == HTI_OP_affine && ((const hti_affine_attributes *)call.attributes)->term == 0;
    const bool summed = op == HTI_OP_pad && (id == HTI_OP_add || id == HTI_OP_sub);
    if (scaled || summed || constant >= 0) {
        const ht_var part = at_block(op, call.in[constant == 0], start, size, most - 1, where);
        if (scaled) return ht_scale_(part, ((const hti_affine_attributes *)call.attributes)->factor, where);
        if (constant >= 0) return ht_mul_(part, hti_before_stretch(call.in[constant]), where);
        const ht_var other = at_block(op, call.in[1], start, size, most - 1, where);
        return id == HTI_OP_add ? ht_add_(part, other, where) : ht_sub_(part, other, where);
    }
    memset(&a, 0, sizeof a);
    hti_shape_put(&a.start, start);
    hti_shape_put(&a.size, size);
    return hti_emit(x.tape, op, &a, &x, 1, where);
}

/* pad: zeros around the cotangent */
static ht_var transpose_slice(const hti_call *call, int32_t input, ht_var cotangent)
{
    return at_block(HTI_OP_pad, cotangent, block(call)->start, hti_in_shape(call, input), FACTORS, call->where);
}

/* slice: the block that was padded */
static ht_var transpose_pad(const hti_call *call, int32_t input, ht_var cotangent)
{
    return at_block(HTI_OP_slice, cotangent, block(call)->start, hti_in_shape(call, input), FACTORS, call->where);
}

ht_var ht_slice_(ht_var x, ht_shape start, ht_shape size, const char *where)
{
    if (ht_ok(x) && ht_shape_equal(size, ht_var_shape(x)) && start.rank == size.rank) {
        bool whole = true;
        for (int32_t i = 0; i < start.rank; i++) whole = whole && start.dim[i] == 0;
        if (whole) return x;
    }
    return at_block(HTI_OP_slice, x, start, size, FACTORS, where);
}

ht_var ht_pad_(ht_var x, ht_shape before, ht_shape after, const char *where)
{
    ht_shape in = ht_var_shape(x), size = in;
    bool zero = true;
    for (int32_t i = 0; i < in.rank && i < before.rank && i < after.rank; i++) {
        int64_t sum;
        bool fits = after.dim[i] >= 0 && hti_sum(in.dim[i], before.dim[i], &sum) && hti_sum(sum, after.dim[i], &sum);
        size.dim[i] = fits ? sum : -1;
        zero = zero && before.dim[i] == 0 && after.dim[i] == 0;
    }
    if (ht_ok(x) && zero && before.rank == in.rank && after.rank == in.rank) return x;
    if (after.rank != in.rank) size.rank = after.rank;
    return at_block(HTI_OP_pad, x, before, size, FACTORS, where);
}

/* ---- concat ---- */
static ht_status shape_concat(const hti_call *call, hti_spec *out, ht_error *error)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    int64_t axis = ((const hti_axis_attributes *)call->attributes)->axis;
    out->shape = hti_in_shape(call, 0);
    if (axis < 0 || axis >= out->shape.rank)
        return ht_fail(error, HT_ESHAPE, "axis %d of %s; expected an axis that exists", (int)axis,
                       ht_shape_text(out->shape, a));
    for (int32_t k = 1; k < call->inputs; k++) {
        ht_shape part = hti_in_shape(call, k), expected = hti_in_shape(call, 0);
        if (part.rank == expected.rank) expected.dim[axis] = part.dim[axis];
        if (!ht_shape_equal(part, expected) || !hti_sum(out->shape.dim[axis], part.dim[axis], &out->shape.dim[axis]))
            return ht_fail(error, HT_ESHAPE, "%s and %s along axis %d; expected the other sizes to agree",
                           ht_shape_text(hti_in_shape(call, 0), a), ht_shape_text(part, b), (int)axis);
    }
    return hti_same_real(call, out, error);
}

/* slice: the part of the cotangent that the input became */
static ht_var transpose_concat(const hti_call *call, int32_t input, ht_var cotangent)
{
    int64_t axis = ((const hti_axis_attributes *)call->attributes)->axis;
    ht_shape start;
    memset(&start, 0, sizeof start);
    start.rank = ht_var_shape(cotangent).rank;
    for (int32_t k = 0; k < input; k++) start.dim[axis] += hti_in_shape(call, k).dim[axis];
    return ht_slice_(cotangent, start, hti_in_shape(call, input), call->where);
}

ht_var ht_concat_(int32_t axis, ht_vars parts, const char *where)
{
    hti_axis_attributes a = {axis};
    if (parts.count == 1) return parts.at[0];
    return hti_emit(hti_tape_of(parts.at, parts.count), HTI_OP_concat, &a, parts.at, parts.count, where);
}

/* ---- printing ---- */
static void print_order(const void *attributes, FILE *file)
{
    char text[HT_SHAPE_TEXT];
    fprintf(file, " %s", ht_shape_text(((const hti_shape_attributes *)attributes)->shape, text));
}

static void print_start(const void *attributes, FILE *file)
{
    char text[HT_SHAPE_TEXT];
    fprintf(file, " from %s", ht_shape_text(((const hti_block_attributes *)attributes)->start, text));
}

/* ---- descriptors and samples ---- */
#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        (void)tape;                                              \
        return call;                                             \
    }
SAMPLE(reshape, ht_reshape(in[0], HT_SHAPE(6, 4)))
SAMPLE(permute, ht_permute(in[0], HT_SHAPE(2, 0, 1)))
SAMPLE(permute_twice, ht_permute(in[0], HT_SHAPE(0, 0, 1)))
SAMPLE(slice, ht_slice(in[0], HT_SHAPE(0, 1, 1, 0), HT_SHAPE(2, 2, 1, 2)))
SAMPLE(slice_outside, ht_slice(in[0], HT_SHAPE(0, 2), HT_SHAPE(3, 3)))
SAMPLE(pad, ht_pad(in[0], HT_SHAPE(0, 1, 2, 0), HT_SHAPE(0, 0, 1, 1)))
SAMPLE(pad_negative, ht_pad(in[0], HT_SHAPE(0, -1), HT_SHAPE(0, 0)))
SAMPLE(concat, ht_concat(1, ht_list(in[0], in[1], in[0])))

static const hti_sample samples_reshape[] = {{"rank 3 to 2", 1, {{3, {2, 3, 4}}}, 0, 0, record_reshape}};
static const hti_reject rejects_reshape[] = {
    {"other count", HT_ESHAPE, "same number of elements", 1, {{2, {5, 5}}}, record_reshape},
};
const hti_op hti_op_reshape = {.name = "reshape", .id = HTI_OP_reshape, .kind = HTI_LINEAR, .inputs = 1,
                               .attribute_bytes = sizeof(hti_shape_attributes), .alias = HTI_ALIAS_RESHAPE,
                               .shape = shape_reshape,
                               .transpose = transpose_reshape, HTI_SAMPLES(samples_reshape),
                               HTI_REJECTS(rejects_reshape)};

static const hti_sample samples_permute[] = {{"rotation of axes", 1, {{3, {2, 3, 4}}}, 0, 0, record_permute}};
static const hti_reject rejects_permute[] = {
    {"one axis twice", HT_ESHAPE, "each axis once", 1, {{3, {2, 3, 4}}}, record_permute_twice},
};
const hti_op hti_op_permute = {.name = "permute", .id = HTI_OP_permute, .kind = HTI_LINEAR, .inputs = 1,
                               .attribute_bytes = sizeof(hti_shape_attributes), .shape = shape_permute,
                               .transpose = transpose_permute, .print = print_order, HTI_SAMPLES(samples_permute),
                               HTI_REJECTS(rejects_permute)};

static const hti_sample samples_slice[] = {{"image block", 1, {{4, {2, 3, 3, 2}}}, 0, 0, record_slice}};
static const hti_reject rejects_slice[] = {
    {"block outside", HT_ESHAPE, "block inside", 1, {{2, {3, 4}}}, record_slice_outside},
};
const hti_op hti_op_slice = {.name = "slice", .id = HTI_OP_slice, .kind = HTI_LINEAR, .inputs = 1,
                             .attribute_bytes = sizeof(hti_block_attributes), .shape = shape_slice,
                             .transpose = transpose_slice,
                             .print = print_start, HTI_SAMPLES(samples_slice), HTI_REJECTS(rejects_slice)};

static const hti_sample samples_pad[] = {{"image", 1, {{4, {2, 2, 2, 2}}}, 0, 0, record_pad}};
static const hti_reject rejects_pad[] = {
    {"negative", HT_ESHAPE, "padding >= 0", 1, {{2, {3, 4}}}, record_pad_negative},
};
const hti_op hti_op_pad = {.name = "pad", .id = HTI_OP_pad, .kind = HTI_LINEAR, .inputs = 1,
                           .attribute_bytes = sizeof(hti_block_attributes), .shape = shape_pad,
                           .transpose = transpose_pad,
                           .print = print_start, HTI_SAMPLES(samples_pad), HTI_REJECTS(rejects_pad)};

static const hti_sample samples_concat[] = {{"channels", 2, {{4, {2, 1, 2, 2}}, {4, {2, 3, 2, 2}}}, 0, 0, record_concat}};
static const hti_reject rejects_concat[] = {
    {"other sizes", HT_ESHAPE, "other sizes to agree", 2, {{2, {3, 4}}, {2, {2, 4}}}, record_concat},
};
const hti_op hti_op_concat = {.name = "concat", .id = HTI_OP_concat, .kind = HTI_LINEAR, .inputs = HTI_ANY_INPUTS,
                              .attribute_bytes = sizeof(hti_axis_attributes), .shape = shape_concat,
                              .transpose = transpose_concat,
                              .print = hti_print_axis, HTI_SAMPLES(samples_concat), HTI_REJECTS(rejects_concat)};
