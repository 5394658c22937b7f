/*
 * Convolution over 1 to 3 spatial axes: the three partial gradients of T(x, w, g) = <g, conv(x, w)>.
 *     conv(x, w) -> y      conv_input(g, w) -> x      conv_weight(x, g) -> w
 * Each is bilinear and its transposes are the other two: six rules of one call each, closed at any order.
 * Transposed convolution is conv_input. All three carry the same attributes, so the sizes of x and w are known to each.
 */
#include <inttypes.h>

#include "rules.h"

static const hti_conv_attributes *attributes_of(const hti_call *call) { return call->attributes; }

static ht_var emit(hti_op_id op, const hti_conv_attributes *a, ht_var first, ht_var second, const char *where)
{
    ht_var in[2] = {first, second};
    return hti_emit(hti_tape_of(in, 2), op, a, in, 2, where);
}

/* Output size along one axis; -1 if no window fits. */
static int64_t output_size(const hti_conv_attributes *a, int32_t i)
{
    int64_t reach = a->dilation[i] * (a->kernel[i] - 1) + 1, room = a->image[i] + 2 * a->pad[i] - reach;
    return room < 0 ? -1 : room / a->stride[i] + 1;
}

/* ---- shapes ---- */
static ht_status shape_conv(const hti_call *call, hti_spec *out, ht_error *error)
{
    char tx[HT_SHAPE_TEXT], tw[HT_SHAPE_TEXT];
    const hti_conv_attributes *a = attributes_of(call);
    ht_shape x = hti_in_shape(call, 0), w = hti_in_shape(call, 1);
    if (x.rank != a->axes + 2 || w.rank != x.rank)
        return ht_fail(error, HT_ESHAPE, "x %s and w %s; expected [N,C,spatial...] and [O,C/groups,spatial...] of 1 to 3 "
                       "spatial axes", ht_shape_text(x, tx), ht_shape_text(w, tw));
    if (x.dim[1] != w.dim[1] * a->groups || w.dim[0] % a->groups != 0 || w.dim[0] < 1 || w.dim[1] < 1)
        return ht_fail(error, HT_ESHAPE, "x %s has %d channels, w %s takes %d in %d groups; expected equal channels, at least "
                       "one, and filters that the groups divide", ht_shape_text(x, tx), (int)x.dim[1], ht_shape_text(w, tw),
                       (int)(w.dim[1] * a->groups), (int)a->groups);
    out->shape = x;
    out->shape.dim[1] = w.dim[0];
    for (int32_t i = 0; i < a->axes; i++) {
        out->shape.dim[i + 2] = output_size(a, i);
        if (out->shape.dim[i + 2] < 1 || x.dim[i + 2] != a->image[i] || w.dim[i + 2] != a->kernel[i])
            return ht_fail(error, HT_ESHAPE, "x %s with w %s leaves no output; expected a kernel that fits into the padded "
                           "image", ht_shape_text(x, tx), ht_shape_text(w, tw));
    }
    return hti_same_real(call, out, error);
}

static ht_status shape_conv_input(const hti_call *call, hti_spec *out, ht_error *error)
{
    char tg[HT_SHAPE_TEXT], tw[HT_SHAPE_TEXT];
    const hti_conv_attributes *a = attributes_of(call);
    ht_shape g = hti_in_shape(call, 0), w = hti_in_shape(call, 1);
    bool fits = g.rank == a->axes + 2 && w.rank == g.rank && g.dim[1] == w.dim[0] && w.dim[0] % a->groups == 0 &&
                w.dim[0] > 0 && w.dim[1] > 0;
    for (int32_t i = 0; fits && i < a->axes; i++)
        fits = a->image[i] > 0 && g.dim[i + 2] == output_size(a, i) && w.dim[i + 2] == a->kernel[i];
    if (!fits)
        return ht_fail(error, HT_ESHAPE, "x %s and w %s of a transposed convolution; expected [N,C,spatial...] and "
                       "[C,O/groups,spatial...], none of them empty but N", ht_shape_text(g, tg), ht_shape_text(w, tw));
    out->shape = g;
    out->shape.dim[1] = w.dim[1] * a->groups;
    for (int32_t i = 0; i < a->axes; i++) out->shape.dim[i + 2] = a->image[i];
    return hti_same_real(call, out, error);
}

static ht_status shape_conv_weight(const hti_call *call, hti_spec *out, ht_error *error)
{
    char tx[HT_SHAPE_TEXT], tg[HT_SHAPE_TEXT];
    const hti_conv_attributes *a = attributes_of(call);
    ht_shape x = hti_in_shape(call, 0), g = hti_in_shape(call, 1);
    bool fits = x.rank == a->axes + 2 && g.rank == x.rank && x.dim[0] == g.dim[0] && x.dim[1] % a->groups == 0 &&
                g.dim[1] % a->groups == 0 && x.dim[1] > 0 && g.dim[1] > 0;
    for (int32_t i = 0; fits && i < a->axes; i++)
        fits = x.dim[i + 2] == a->image[i] && g.dim[i + 2] == output_size(a, i);
    if (!fits)
        return ht_fail(error, HT_ESHAPE, "x %s and output gradient %s do not fit one convolution; expected [N,C,spatial...] and "
                       "[N,O,spatial...] with the sizes of its result", ht_shape_text(x, tx), ht_shape_text(g, tg));
    out->shape = x;
    out->shape.dim[0] = g.dim[1];
    out->shape.dim[1] = x.dim[1] / a->groups;
    for (int32_t i = 0; i < a->axes; i++) out->shape.dim[i + 2] = a->kernel[i];
    return hti_same_real(call, out, error);
}

/* ---- transposes ---- */
/* in x: conv_input(g, w); in w: conv_weight(x, g) */
static ht_var transpose_conv(const hti_call *c, int32_t input, ht_var g)
{
    return input == 0 ? emit(HTI_OP_conv_input, attributes_of(c), g, c->in[1], c->where)
                      : emit(HTI_OP_conv_weight, attributes_of(c), c->in[0], g, c->where);
}

/* in g: conv(x, w); in w: conv_weight(x, g), with x the cotangent */
static ht_var transpose_conv_input(const hti_call *c, int32_t input, ht_var x)
{
    return input == 0 ? emit(HTI_OP_conv, attributes_of(c), x, c->in[1], c->where)
                      : emit(HTI_OP_conv_weight, attributes_of(c), x, c->in[0], c->where);
}

/* in x: conv_input(g, w); in g: conv(x, w), with w the cotangent. A number before a cotangent that is larger comes behind. */
static ht_var transpose_conv_weight(const hti_call *c, int32_t input, ht_var w)
{
    double factor = 1;
    if (hti_is(w, HTI_OP_affine) && hti_inner(w) && ht_shape_count(ht_var_shape(w)) > ht_shape_count(hti_in_shape(c, input))) {
        const hti_affine_attributes *outside = hti_node_of(w)->attributes;
        factor = outside->term == 0 ? outside->factor : 1;
        w = outside->term == 0 ? hti_node_of(w)->in[0] : w;
    }
    const ht_var part = input == 0 ? emit(HTI_OP_conv_input, attributes_of(c), c->in[1], w, c->where)
                                   : emit(HTI_OP_conv, attributes_of(c), c->in[0], w, c->where);
    return ht_affine_(part, factor, 0, c->where);
}

/* ---- recording ---- */
static bool take_options(const ht_conv_args *args, hti_conv_attributes *a)
{
    ht_shape w = ht_var_shape(args->w);
    memset(a, 0, sizeof *a);
    a->axes = w.rank - 2;
    a->groups = args->groups ? args->groups : 1;
    bool fits = a->axes >= 1 && a->axes <= 3 && a->groups >= 1;
    for (int32_t i = 0; fits && i < a->axes; i++) {
        a->stride[i] = args->stride.given ? args->stride.at[i] : 1;
        a->dilation[i] = args->dilation.given ? args->dilation.at[i] : 1;
        a->pad[i] = args->pad.given ? args->pad.at[i] : 0;
        a->kernel[i] = w.dim[i + 2];
        int64_t reach;
        fits = a->stride[i] >= 1 && a->dilation[i] >= 1 && a->pad[i] >= 0 && a->kernel[i] >= 1 &&
               hti_multiply(a->dilation[i], a->kernel[i], &reach) && reach < INT32_MAX;
    }
    return fits;
}

static ht_var refuse(const ht_conv_args *args, const char *op)
{
    char tx[HT_SHAPE_TEXT], tw[HT_SHAPE_TEXT];
    ht_var in[2] = {args->x, args->w};
    return ht_tape_fail(hti_tape_of(in, 2), args->where, HT_EINVALID,
                        "%s: x %s, w %s: expected stride and dilation >= 1, pad >= 0, groups >= 1, 0 <= output_pad < stride, "
                        "1 to 3 spatial axes, a kernel that is not empty", op, ht_shape_text(ht_var_shape(args->x), tx),
                        ht_shape_text(ht_var_shape(args->w), tw));
}

ht_var ht_conv_(ht_conv_args args)
{
    hti_conv_attributes a;
    if (ht_ok(args.x) && ht_ok(args.w) && !take_options(&args, &a)) return refuse(&args, "conv");
    if (!ht_ok(args.x) || !ht_ok(args.w)) memset(&a, 0, sizeof a);
    ht_shape x = ht_var_shape(args.x);
    for (int32_t i = 0; i < a.axes && i + 2 < x.rank; i++) a.image[i] = x.dim[i + 2];
    return emit(HTI_OP_conv, &a, args.x, args.w, args.where);
}

ht_var ht_conv_transpose_(ht_conv_args args)
{
    hti_conv_attributes a;
    if (!ht_ok(args.x) || !ht_ok(args.w)) {
        memset(&a, 0, sizeof a);
        return emit(HTI_OP_conv_input, &a, args.x, args.w, args.where);
    }
    if (!take_options(&args, &a)) return refuse(&args, "conv_transpose");
    ht_shape x = ht_var_shape(args.x);
    for (int32_t i = 0; i < a.axes && i + 2 < x.rank; i++) {
        int64_t extra = args.output_pad.given ? args.output_pad.at[i] : 0, steps;
        if (extra < 0 || extra >= a.stride[i] || !hti_multiply(x.dim[i + 2] - 1, a.stride[i], &steps))
            return refuse(&args, "conv_transpose");
        a.image[i] = steps - 2 * a.pad[i] + a.dilation[i] * (a.kernel[i] - 1) + extra + 1;
    }
    return emit(HTI_OP_conv_input, &a, args.x, args.w, args.where);
}

static void print_conv(const void *attributes, FILE *file)
{
    const hti_conv_attributes *a = attributes;
    for (int32_t i = 0; i < a->axes; i++)
        fprintf(file, "%s%" PRId64 "/%" PRId64 "/%" PRId64, i ? "," : " k/s/p=", a->kernel[i], a->stride[i], a->pad[i]);
    if (a->groups != 1) fprintf(file, " groups=%d", (int)a->groups);
}

/* ---- samples: every option, 1 to 3 axes, odd sizes ---- */
#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        (void)tape;                                              \
        return call;                                             \
    }
SAMPLE(plain, ht_conv(in[0], in[1]))
SAMPLE(padded, ht_conv(in[0], in[1], .pad = ht_all(1)))
SAMPLE(halving, ht_conv(in[0], in[1], .stride = ht_all(2), .pad = ht_all(1)))
SAMPLE(uneven, ht_conv(in[0], in[1], .stride = ht_each(2, 1, 1), .pad = ht_each(0, 2, 0), .dilation = ht_each(1, 2, 1)))
SAMPLE(grouped, ht_conv(in[0], in[1], .groups = 2, .pad = ht_all(1)))
SAMPLE(sparse, ht_conv(in[0], in[1], .stride = ht_all(3)))
SAMPLE(up, ht_conv_transpose(in[0], in[1], .stride = ht_all(2), .pad = ht_all(1)))
SAMPLE(up_extra, ht_conv_transpose(in[0], in[1], .stride = ht_all(2), .output_pad = ht_all(1)))
SAMPLE(up_grouped, ht_conv_transpose(in[0], in[1], .groups = 2))
SAMPLE(stride_zero, ht_conv(in[0], in[1], .stride = ht_all(0)))

/* conv_weight has no entry of its own: it is recorded as the transpose of conv in its filter. */
static ht_var record_weight(ht_tape *tape, const ht_var *in)
{
    (void)tape;
    hti_conv_attributes a;
    memset(&a, 0, sizeof a);
    a.axes = 2;
    a.groups = 1;
    for (int32_t i = 0; i < 2; i++) {
        a.stride[i] = 2;
        a.pad[i] = a.dilation[i] = 1;
        a.kernel[i] = 3;
        a.image[i] = ht_var_shape(in[0]).dim[i + 2];
    }
    return emit(HTI_OP_conv_weight, &a, in[0], in[1], HT_HERE);
}

static const hti_sample samples_conv[] = {
    {"1-d", 2, {{3, {2, 2, 5}}, {3, {3, 2, 3}}}, 0, 0, record_plain},
    {"3x3 padded", 2, {{4, {2, 2, 4, 3}}, {4, {3, 2, 3, 3}}}, 0, 0, record_padded},
    {"4x4 stride 2", 2, {{4, {1, 2, 6, 4}}, {4, {2, 2, 4, 4}}}, 0, 0, record_halving},
    {"stride, pad and dilation by axis", 2, {{4, {1, 2, 5, 4}}, {4, {2, 2, 2, 3}}}, 0, 0, record_uneven},
    {"two groups", 2, {{4, {1, 4, 3, 3}}, {4, {2, 2, 3, 3}}}, 0, 0, record_grouped},
    {"stride above kernel", 2, {{4, {1, 1, 7, 7}}, {4, {2, 1, 2, 2}}}, 0, 0, record_sparse},
    {"3-d", 2, {{5, {1, 2, 3, 3, 2}}, {5, {2, 2, 2, 2, 2}}}, 0, 0, record_plain},
    {"1x1", 2, {{4, {2, 3, 2, 2}}, {4, {1, 3, 1, 1}}}, 0, 0, record_plain},
};
static const hti_reject rejects_conv[] = {
    {"channels", HT_ESHAPE, "channels", 2, {{4, {1, 3, 4, 4}}, {4, {2, 2, 3, 3}}}, record_plain},
    {"kernel above image", HT_ESHAPE, "no output", 2, {{4, {1, 2, 2, 2}}, {4, {2, 2, 3, 3}}}, record_plain},
    {"stride 0", HT_EINVALID, "stride", 2, {{4, {1, 2, 4, 4}}, {4, {2, 2, 3, 3}}}, record_stride_zero},
};
const hti_op hti_op_conv = {.name = "conv", .id = HTI_OP_conv, .kind = HTI_MULTILINEAR, .inputs = 2,
                            .attribute_bytes = sizeof(hti_conv_attributes), .shape = shape_conv,
                            .transpose = transpose_conv,
                            .print = print_conv, HTI_SAMPLES(samples_conv), HTI_REJECTS(rejects_conv)};

static const hti_sample samples_input[] = {
    {"4x4 stride 2", 2, {{4, {1, 2, 3, 2}}, {4, {2, 2, 4, 4}}}, 0, 0, record_up},
    {"output padding", 2, {{4, {1, 2, 2, 2}}, {4, {2, 3, 3, 3}}}, 0, 0, record_up_extra},
    {"two groups", 2, {{4, {1, 4, 2, 2}}, {4, {4, 2, 2, 2}}}, 0, 0, record_up_grouped},
    {"1-d", 2, {{3, {2, 2, 3}}, {3, {2, 1, 4}}}, 0, 0, record_up},
};
static const hti_reject rejects_input[] = {
    {"channels", HT_ESHAPE, "transposed", 2, {{4, {1, 3, 4, 4}}, {4, {2, 2, 3, 3}}}, record_up},
};
const hti_op hti_op_conv_input = {.name = "conv_input", .id = HTI_OP_conv_input, .kind = HTI_MULTILINEAR, .inputs = 2,
                                  .attribute_bytes = sizeof(hti_conv_attributes), .shape = shape_conv_input,
                                  .transpose = transpose_conv_input, .print = print_conv, HTI_SAMPLES(samples_input),
                                  HTI_REJECTS(rejects_input)};

static const hti_sample samples_weight[] = {
    {"3x3 stride 2", 2, {{4, {2, 2, 5, 5}}, {4, {2, 3, 3, 3}}}, 0, 0, record_weight},
};
static const hti_reject rejects_weight[] = {
    {"sizes", HT_ESHAPE, "do not fit", 2, {{4, {2, 2, 5, 5}}, {4, {2, 3, 4, 4}}}, record_weight},
};
const hti_op hti_op_conv_weight = {.name = "conv_weight", .id = HTI_OP_conv_weight, .kind = HTI_MULTILINEAR, .inputs = 2,
                                   .attribute_bytes = sizeof(hti_conv_attributes), .shape = shape_conv_weight,
                                   .transpose = transpose_conv_weight, .print = print_conv, HTI_SAMPLES(samples_weight),
                                   HTI_REJECTS(rejects_weight)};
