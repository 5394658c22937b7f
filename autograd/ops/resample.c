/*
 * Resizing: resample <-> resample_back, each the other's transpose, along one axis. Resizing of images and adaptive
 * pooling are separable, so they are one such op for each axis that changes.
 */
#include "rules.h"

#include "kernel/resample.h"

static const hti_resample_attributes *attributes_of(const hti_call *call) { return call->attributes; }

static ht_status shape_between(const hti_call *call, bool back, hti_spec *out, ht_error *error)
{
    char text[HT_SHAPE_TEXT];
    const hti_resample_attributes *a = attributes_of(call);
    const int64_t from = back ? a->to : a->from, to = back ? a->from : a->to;
    out->shape = hti_in_shape(call, 0);
    if (a->axis < 0 || a->axis >= out->shape.rank || out->shape.dim[a->axis] != from || from < 1 || to < 1 ||
        from > HTI_RESAMPLE_MOST || to > HTI_RESAMPLE_MOST || a->mode < HTI_NEAREST || a->mode > HTI_WINDOW_MEAN)
        return ht_fail(error, HT_ESHAPE, "axis %d of %s from size %lld to %lld; expected that axis to have that size, and "
                       "sizes from 1 to 2^30", (int)a->axis, ht_shape_text(out->shape, text), (long long)from, (long long)to);
    out->shape.dim[a->axis] = to;
    if (ht_shape_count(out->shape) < 0)
        return ht_fail(error, HT_ESHAPE, "%s is too large", ht_shape_text(out->shape, text));
    return hti_same_real(call, out, error);
}

static ht_status shape_resample(const hti_call *call, hti_spec *out, ht_error *error)
{
    return shape_between(call, false, out, error);
}
static ht_status shape_back(const hti_call *call, hti_spec *out, ht_error *error)
{
    return shape_between(call, true, out, error);
}

/* resample_back */
static ht_var transpose_resample(const hti_call *c, int32_t input, ht_var g)
{
    (void)input;
    return hti_emit(g.tape, HTI_OP_resample_back, c->attributes, &g, 1, c->where);
}
/* resample */
static ht_var transpose_back(const hti_call *c, int32_t input, ht_var g)
{
    (void)input;
    return hti_emit(g.tape, HTI_OP_resample, c->attributes, &g, 1, c->where);
}

/* One op for each spatial axis whose size changes; with equal sizes every mode is the identity. */
static ht_var each_axis(const char *op, ht_var x, ht_shape size, hti_resampling mode, const char *where)
{
    ht_shape from = ht_var_shape(x);
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    if (!ht_ok(x)) return hti_refuse_empty(op, x, where);
    bool fits = from.rank >= 3 && from.rank <= 5 && size.rank == from.rank - 2;
    for (int32_t k = 0; fits && k < size.rank; k++) fits = size.dim[k] >= 1 && from.dim[k + 2] >= 1;
    if (!fits)
        return ht_tape_fail(x.tape, where, HT_ESHAPE, "%s: x is %s and the size %s; expected [N, C, spatial...] with 1 to 3 "
                            "spatial axes, and a size of at least 1 for each of them", op, ht_shape_text(from, a),
                            ht_shape_text(size, b));
    for (int32_t k = 0; k < size.rank; k++) {
        hti_resample_attributes attributes = {k + 2, mode, from.dim[k + 2], size.dim[k]};
        if (size.dim[k] != from.dim[k + 2]) x = hti_emit(x.tape, HTI_OP_resample, &attributes, &x, 1, where);
    }
    return x;
}

ht_var ht_resize_(ht_resize_args args)
{
    hti_resampling linear = args.align_corners ? HTI_LINEAR_CORNERS : HTI_LINEAR_CENTRES;
    if (args.align_corners && !args.linear)
        return ht_tape_fail(args.x.tape, args.where, HT_EINVALID, "resize: .align_corners without .linear; expected both: the "
                            "nearest number has no corners to align");
    return each_axis("resize", args.x, args.size, args.linear ? linear : HTI_NEAREST, args.where);
}

ht_var ht_adaptive_avg_pool_(ht_var x, ht_shape size, const char *where)
{
    return each_axis("adaptive_avg_pool", x, size, HTI_WINDOW_MEAN, where);
}

/* ---- descriptors and samples ---- */
static void print_sizes(const void *attributes, FILE *file)
{
    static const char *const names[] = {"?", "nearest", "linear", "linear, corners aligned", "mean"};
    const hti_resample_attributes *a = attributes;
    fprintf(file, " axis %d %lld:%lld %s", (int)a->axis, (long long)a->from, (long long)a->to, names[a->mode]);
}

#define SAMPLE(name, call)                                       \
    static ht_var record_##name(ht_tape *tape, const ht_var *in) \
    {                                                            \
        (void)tape;                                              \
        return call;                                             \
    }
SAMPLE(nearest_up, ht_resize(in[0], HT_SHAPE(5, 7)))
SAMPLE(nearest_down, ht_resize(in[0], HT_SHAPE(2, 3)))
SAMPLE(linear_up, ht_resize(in[0], HT_SHAPE(5, 7), .linear = 1))
SAMPLE(linear_down, ht_resize(in[0], HT_SHAPE(2, 3), .linear = 1))
SAMPLE(linear_line, ht_resize(in[0], HT_SHAPE(8), .linear = 1))
SAMPLE(linear_volume, ht_resize(in[0], HT_SHAPE(3, 1, 4), .linear = 1))
SAMPLE(corners_up, ht_resize(in[0], HT_SHAPE(5, 7), .linear = 1, .align_corners = 1))
SAMPLE(corners_volume, ht_resize(in[0], HT_SHAPE(3, 1, 4), .linear = 1, .align_corners = 1))
SAMPLE(adaptive, ht_adaptive_avg_pool(in[0], HT_SHAPE(2, 3)))
SAMPLE(adaptive_up, ht_adaptive_avg_pool(in[0], HT_SHAPE(5, 7)))
SAMPLE(corners_of_nearest, ht_resize(in[0], HT_SHAPE(5, 7), .align_corners = 1))
SAMPLE(size_zero, ht_resize(in[0], HT_SHAPE(5, 0)))
SAMPLE(size_of_line, ht_adaptive_avg_pool(in[0], HT_SHAPE(3)))

static ht_var back(ht_var g, hti_resampling mode, int64_t from)
{
    hti_resample_attributes a = {2, mode, from, ht_var_shape(g).dim[2]};
    return hti_emit(g.tape, HTI_OP_resample_back, &a, &g, 1, HT_HERE);
}
SAMPLE(back_nearest, back(in[0], HTI_NEAREST, 7))
SAMPLE(back_linear, back(in[0], HTI_LINEAR_CENTRES, 3))
SAMPLE(back_corners, back(in[0], HTI_LINEAR_CORNERS, 7))
SAMPLE(back_mean, back(in[0], HTI_WINDOW_MEAN, 7))
SAMPLE(back_to_nothing, back(in[0], HTI_NEAREST, 0))

#define IMAGE {{4, {2, 2, 3, 4}}}
#define VOLUME {{5, {1, 2, 2, 3, 2}}}
static const hti_sample samples_resample[] = {
    {"nearest, larger", 1, IMAGE, 0, 0, record_nearest_up},
    {"nearest, smaller", 1, {{4, {1, 2, 5, 7}}}, 0, 0, record_nearest_down},
    {"linear, larger", 1, IMAGE, 0, 0, record_linear_up},
    {"linear, smaller", 1, {{4, {1, 2, 5, 7}}}, 0, 0, record_linear_down},
    {"linear, 1-d", 1, {{3, {2, 2, 3}}}, 0, 0, record_linear_line},
    {"linear, 3-d", 1, VOLUME, 0, 0, record_linear_volume},
    {"corners aligned", 1, IMAGE, 0, 0, record_corners_up},
    {"corners aligned, 3-d", 1, VOLUME, 0, 0, record_corners_volume},
    {"from one pixel", 1, {{4, {1, 2, 1, 1}}}, 0, 0, record_corners_up},
    {"adaptive average", 1, {{4, {1, 2, 5, 7}}}, 0, 0, record_adaptive},
    {"adaptive average, larger", 1, IMAGE, 0, 0, record_adaptive_up},
};
static const hti_reject rejects_resample[] = {
    {"nearest with corners", HT_EINVALID, "without .linear", 1, IMAGE, record_corners_of_nearest},
    {"size 0", HT_ESHAPE, "size of at least 1", 1, IMAGE, record_size_zero},
    {"one size for two axes", HT_ESHAPE, "size [3]", 1, IMAGE, record_size_of_line},
    {"no spatial axis", HT_ESHAPE, "spatial axes", 1, {{2, {3, 4}}}, record_nearest_up},
    {"an empty image", HT_ESHAPE, "[1,2,0,4]", 1, {{4, {1, 2, 0, 4}}}, record_nearest_up},
};
static const hti_sample samples_back[] = {
    {"nearest", 1, IMAGE, 0, 0, record_back_nearest},
    {"linear", 1, {{3, {1, 2, 7}}}, 0, 0, record_back_linear},
    {"corners aligned", 1, IMAGE, 0, 0, record_back_corners},
    {"mean", 1, IMAGE, 0, 0, record_back_mean},
};
static const hti_reject rejects_back[] = {
    {"size 0", HT_ESHAPE, "from 1 to 2^30", 1, IMAGE, record_back_to_nothing},
};
#define ROW(op, shape_, transpose_, samples_, rejects_)                                                               \
    const hti_op hti_op_##op = {.name = #op, .id = HTI_OP_##op, .kind = HTI_LINEAR, .inputs = 1,                      \
                                .attribute_bytes = sizeof(hti_resample_attributes), .shape = shape_,                  \
                                .transpose = transpose_, .print = print_sizes, HTI_SAMPLES(samples_),                 \
                                HTI_REJECTS(rejects_)};
ROW(resample, shape_resample, transpose_resample, samples_resample, rejects_resample)
ROW(resample_back, shape_back, transpose_back, samples_back, rejects_back)
