/*
 * Pooling over 1 to 3 spatial axes. Max pooling chooses (pool_argmax, no derivative) and takes (pool_take <-> pool_put);
 * average pooling is a scaled window_sum <-> window_spread. Each pair is closed: one is the other's transpose.
 */
#include "rules.h"

static const hti_pool_attributes *attributes_of(const hti_call *call) { return call->attributes; }

static int64_t pooled_size(const hti_pool_attributes *a, int32_t i)
{
    int64_t room = a->image[i] + 2 * a->pad[i] - a->kernel[i];
    return room < 0 ? -1 : room / a->stride[i] + 1;
}

/* `image` says whether the shape has the unpooled or the pooled spatial sizes. */
static bool has_sizes(ht_shape shape, const hti_pool_attributes *a, bool image)
{
    bool fits = shape.rank == a->axes + 2;
    for (int32_t i = 0; fits && i < a->axes; i++)
        fits = shape.dim[i + 2] == (image ? a->image[i] : pooled_size(a, i)) && shape.dim[i + 2] > 0;
    return fits;
}

static ht_status shape_between(const hti_call *call, bool from_image, hti_spec *out, ht_error *error)
{
    char text[HT_SHAPE_TEXT];
    const hti_pool_attributes *a = attributes_of(call);
    if (!has_sizes(hti_in_shape(call, 0), a, from_image))
        return ht_fail(error, HT_ESHAPE, "%s; expected [N,C,spatial...] that the windows fit into",
                       ht_shape_text(hti_in_shape(call, 0), text));
    out->shape = hti_in_shape(call, 0);
    for (int32_t i = 0; i < a->axes; i++) out->shape.dim[i + 2] = from_image ? pooled_size(a, i) : a->image[i];
    for (int32_t i = 0; i < a->axes; i++)
        if (out->shape.dim[i + 2] < 1)
            return ht_fail(error, HT_ESHAPE, "%s leaves no window; expected a kernel that fits into the padded image",
                           ht_shape_text(hti_in_shape(call, 0), text));
    out->dtype = ht_var_dtype(call->in[0]);
    if (out->dtype == HT_I32) return ht_fail(error, HT_EDTYPE, "input 0 is i32; expected a real type (ht_cast)");
    return HT_OK;
}

static ht_status shape_pooled(const hti_call *call, hti_spec *out, ht_error *error)
{
    ht_status status = shape_between(call, true, out, error);
    if (call->op->id == HTI_OP_pool_argmax) out->dtype = HT_I32;
    return status;
}

static ht_status shape_unpooled(const hti_call *call, hti_spec *out, ht_error *error)
{
    return shape_between(call, false, out, error);
}

static ht_var emit(hti_op_id op, const hti_call *call, ht_var first, int32_t inputs)
{
    ht_var in[2] = {first, inputs == 2 ? call->in[1] : first};
    return hti_emit(first.tape, op, call->attributes, in, inputs, call->where);
}

/* pool_put at the same places */
static ht_var transpose_take(const hti_call *c, int32_t input, ht_var g)
{
    (void)input;
    return emit(HTI_OP_pool_put, c, g, 2);
}
/* pool_take at the same places */
static ht_var transpose_put(const hti_call *c, int32_t input, ht_var g)
{
    (void)input;
    return emit(HTI_OP_pool_take, c, g, 2);
}
/* window_spread */
static ht_var transpose_sum(const hti_call *c, int32_t input, ht_var g)
{
    (void)input;
    return emit(HTI_OP_window_spread, c, g, 1);
}
/* window_sum */
static ht_var transpose_spread(const hti_call *c, int32_t input, ht_var g)
{
    (void)input;
    return emit(HTI_OP_window_sum, c, g, 1);
}

/* False, with the tape's sticky error, if the options are out of range. Padding above half a window would leave windows empty. */
static bool take_options(const ht_pool_args *args, const char *op, hti_pool_attributes *a)
{
    ht_shape x = ht_var_shape(args->x);
    memset(a, 0, sizeof *a);
    a->axes = x.rank - 2;
    bool fits = ht_ok(args->x) && a->axes >= 1 && a->axes <= 3 && args->kernel.given;
    for (int32_t i = 0; fits && i < a->axes; i++) {
        a->kernel[i] = args->kernel.at[i];
        a->stride[i] = args->stride.given ? args->stride.at[i] : args->kernel.at[i];
        a->pad[i] = args->pad.given ? args->pad.at[i] : 0;
        a->image[i] = x.dim[i + 2];
        fits = a->kernel[i] >= 1 && a->stride[i] >= 1 && a->pad[i] >= 0 && 2 * a->pad[i] <= a->kernel[i];
    }
    char text[HT_SHAPE_TEXT];
    if (!fits && args->x.tape)
        ht_tape_fail(args->x.tape, args->where, HT_EINVALID,
                     "%s: x is %s; expected a kernel and stride >= 1, 0 <= pad <= kernel / 2, 1 to 3 spatial axes", op,
                     ht_shape_text(x, text));
    return fits;
}

ht_var ht_max_pool_(ht_pool_args args)
{
    hti_pool_attributes a;
    if (!take_options(&args, "max_pool", &a)) return (ht_var){0};
    ht_var index = hti_emit(args.x.tape, HTI_OP_pool_argmax, &a, &args.x, 1, args.where);
    ht_var in[2] = {args.x, index};
    return hti_emit(args.x.tape, HTI_OP_pool_take, &a, in, 2, args.where);
}

/* The numbers of the image under each window, [1, 1, spatial...]: the sums of an image of ones. */
static ht_var window_counts(ht_var x, const hti_pool_attributes *a, const char *where)
{
    ht_shape shape = ht_var_shape(x);
    shape.dim[0] = shape.dim[1] = 1;
    ht_var ones = ht_cast_(ht_fill_(x.tape, 1, shape, where), ht_var_dtype(x), where);
    return hti_emit(x.tape, HTI_OP_window_sum, a, &ones, 1, where);
}

ht_var ht_avg_pool_(ht_pool_args args)
{
    hti_pool_attributes a;
    bool padded = false;
    if (!take_options(&args, "avg_pool", &a)) return (ht_var){0};
    double window = 1;
    for (int32_t i = 0; i < a.axes; i++) {
        window *= (double)a.kernel[i];
        padded = padded || a.pad[i] > 0;
    }
    ht_var sum = hti_emit(args.x.tape, HTI_OP_window_sum, &a, &args.x, 1, args.where);
    if (!ht_ok(sum) || !padded || !args.exclude_pad) return ht_scale_(sum, 1 / window, args.where);
    return ht_mul_(sum, ht_reciprocal_(window_counts(args.x, &a, args.where), args.where), args.where);
}

/* ---- descriptors and samples ---- */
#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        (void)tape;                                              \
        return call;                                             \
    }
SAMPLE(max, ht_max_pool(in[0], .kernel = ht_all(2)))
SAMPLE(max_overlapping, ht_max_pool(in[0], .kernel = ht_all(3), .stride = ht_all(2), .pad = ht_all(1)))
SAMPLE(average, ht_avg_pool(in[0], .kernel = ht_all(2)))
SAMPLE(average_overlapping, ht_avg_pool(in[0], .kernel = ht_each(3, 2, 1), .stride = ht_all(1), .pad = ht_each(1, 0, 0)))
SAMPLE(average_of_image, ht_avg_pool(in[0], .kernel = ht_each(3, 2, 1), .stride = ht_all(1), .pad = ht_all(1),
                                     .exclude_pad = 1))
SAMPLE(kernel_zero, ht_max_pool(in[0], .kernel = ht_all(0)))

/* The transposes, reached as a user reaches them: as the gradient of a weighted sum, which is linear in the weights. */
static ht_var weighted(const ht_var *in, ht_var y, hti_op_id op)
{
    if (!ht_ok(y)) return y;
    const hti_node *node = hti_node_of(y);
    hti_call call = {in[0].tape, node->op, node->attributes, node->in, node->inputs, y, HT_HERE};
    return emit(op, &call, in[1], node->inputs);
}
SAMPLE(put, weighted(in, ht_max_pool(in[0], .kernel = ht_all(3), .stride = ht_all(2), .pad = ht_all(1)), HTI_OP_pool_put))
static ht_var record_spread(ht_tape *tape, const ht_var *in)
{
    (void)tape;
    ht_var sum = ht_avg_pool(in[0], .kernel = ht_all(2), .stride = ht_all(1));
    return weighted(in, hti_is(sum, HTI_OP_affine) ? hti_node_of(sum)->in[0] : sum, HTI_OP_window_spread);
}
static ht_var record_argmax(ht_tape *tape, const ht_var *in)
{
    ht_var pooled = ht_max_pool(in[0], .kernel = ht_all(2));
    return ht_ok(pooled) ? ht_cast(hti_node_of(pooled)->in[1], ht_tape_dtype(tape)) : pooled;
}

static const hti_sample samples_argmax[] = {{"2x2", 1, {{4, {2, 2, 4, 4}}}, 0, 0, record_argmax}};
const hti_op hti_op_pool_argmax = {.name = "pool_argmax", .id = HTI_OP_pool_argmax, .kind = HTI_CONSTANT, .inputs = 1,
                                   .attribute_bytes = sizeof(hti_pool_attributes), .branch = HTI_BRANCH_VALUE,
                                   .shape = shape_pooled, HTI_SAMPLES(samples_argmax)};

static const hti_sample samples_take[] = {
    {"2x2", 1, {{4, {2, 2, 4, 6}}}, 0, 0, record_max},
    {"3x3 stride 2, padded", 1, {{4, {1, 2, 5, 5}}}, 0, 0, record_max_overlapping},
    {"1-d", 1, {{3, {2, 2, 6}}}, 0, 0, record_max},
    {"3-d", 1, {{5, {1, 1, 4, 2, 2}}}, 0, 0, record_max},
};
static const hti_reject rejects_take[] = {
    {"kernel 0", HT_EINVALID, "kernel and stride", 1, {{4, {1, 1, 4, 4}}}, record_kernel_zero},
    {"kernel above image", HT_ESHAPE, "no window", 1, {{4, {1, 1, 1, 4}}}, record_max},
};
const hti_op hti_op_pool_take = {.name = "pool_take", .id = HTI_OP_pool_take, .kind = HTI_LINEAR, .inputs = 2,
                                 .carries = 1, .attribute_bytes = sizeof(hti_pool_attributes), .shape = shape_pooled,
                                 .transpose = transpose_take, HTI_SAMPLES(samples_take), HTI_REJECTS(rejects_take)};

static const hti_sample samples_put[] = {
    {"3x3 stride 2, padded", 2, {{4, {1, 2, 5, 5}}, {4, {1, 2, 3, 3}}}, 0, 0, record_put},
};
const hti_op hti_op_pool_put = {.name = "pool_put", .id = HTI_OP_pool_put, .kind = HTI_LINEAR, .inputs = 2, .carries = 1,
                                .attribute_bytes = sizeof(hti_pool_attributes), .shape = shape_unpooled,
                                .transpose = transpose_put, HTI_SAMPLES(samples_put)};

static const hti_sample samples_sum[] = {
    {"2x2", 1, {{4, {2, 2, 4, 4}}}, 0, 0, record_average},
    {"overlapping, by axis", 1, {{4, {1, 2, 4, 3}}}, 0, 0, record_average_overlapping},
    {"padding not counted", 1, {{4, {1, 2, 4, 3}}}, 0, 0, record_average_of_image},
};
const hti_op hti_op_window_sum = {.name = "window_sum", .id = HTI_OP_window_sum, .kind = HTI_LINEAR, .inputs = 1,
                                  .attribute_bytes = sizeof(hti_pool_attributes), .shape = shape_pooled,
                                  .transpose = transpose_sum, HTI_SAMPLES(samples_sum)};

static const hti_sample samples_spread[] = {
    {"2x2 overlapping", 2, {{4, {1, 2, 4, 4}}, {4, {1, 2, 3, 3}}}, 0, 0, record_spread},
};
const hti_op hti_op_window_spread = {.name = "window_spread", .id = HTI_OP_window_spread, .kind = HTI_LINEAR, .inputs = 1,
                                     .attribute_bytes = sizeof(hti_pool_attributes), .shape = shape_unpooled,
                                     .transpose = transpose_spread, HTI_SAMPLES(samples_spread)};
