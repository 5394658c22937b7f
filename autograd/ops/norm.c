/*
 * Normalisations and attention, recorded in other ops at once. The variance is biased and taken in two passes: mean, then
 * squares of what is left. Before, the first number of each group is taken off as a constant, which changes no derivative:
 * then a group of equal numbers gives exact zeros, however large they are, and large offsets cost no digits.
 */
#include <math.h>

#include <ht/grad.h>

#include "rules.h"

static ht_shape ones(int32_t rank)
{
    ht_shape s = {.rank = rank};
    for (int32_t k = 0; k < rank; k++) s.dim[k] = 1;
    return s;
}

static const char *or_none(ht_var x, char text[HT_SHAPE_TEXT])
{
    return ht_ok(x) ? ht_shape_text(ht_var_shape(x), text) : "none";
}

/* False, with the tape's sticky error, unless gain and bias are absent or have the shape `each`, and eps is not negative. */
static bool options_fit(const char *op, const ht_norm_args *args, ht_shape each)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT], c[HT_SHAPE_TEXT];
    if (!(args->eps >= 0)) {
        ht_tape_fail(args->x.tape, args->where, HT_EINVALID, "%s: eps is %g; expected a number above 0, or 0 for the default "
                     "of 1e-5", op, args->eps);
        return false;
    }
    if ((!ht_ok(args->gain) || ht_shape_equal(ht_var_shape(args->gain), each)) &&
        (!ht_ok(args->bias) || ht_shape_equal(ht_var_shape(args->bias), each)))
        return true;
    ht_tape_fail(args->x.tape, args->where, HT_ESHAPE, "%s: gain is %s and bias %s; expected %s of both, or none", op,
                 or_none(args->gain, a), or_none(args->bias, b), ht_shape_text(each, c));
    return false;
}

/* x over groups that `statistic` has one number for; gain and bias take the shape `affine`, which stretches to x. */
static ht_var normalise(const ht_norm_args *args, ht_var x, ht_shape statistic, ht_shape affine)
{
    const char *where = args->where;
    ht_shape start = {.rank = statistic.rank};
    ht_var first = ht_slice_(x, start, statistic, where);
    if (!ht_ok(first)) return first;
    ht_var shifted = ht_sub_(x, ht_stop_(first, where), where);
    ht_var centred = ht_sub_(shifted, ht_mean_to_(shifted, statistic, where), where);
    ht_var variance = ht_mean_to_(ht_square_(centred, where), statistic, where);
    ht_var deviation = ht_sqrt_(ht_offset_(variance, args->eps == 0 ? 1e-5 : args->eps, where), where);
    ht_var factor = ht_reciprocal_(deviation, where);
    if (ht_ok(args->gain)) factor = ht_mul_(ht_reshape_(args->gain, affine, where), factor, where);
    ht_var y = ht_mul_(centred, factor, where);
    return ht_ok(args->bias) ? ht_add_(y, ht_reshape_(args->bias, affine, where), where) : y;
}

static ht_var wrong_shape(const char *op, const ht_norm_args *args, const char *expected)
{
    char text[HT_SHAPE_TEXT];
    return ht_tape_fail(args->x.tape, args->where, HT_ESHAPE, "%s: x is %s; expected %s", op,
                        ht_shape_text(ht_var_shape(args->x), text), expected);
}

ht_var ht_batch_norm_(ht_norm_args args)
{
    ht_shape x = ht_var_shape(args.x), channels = ones(x.rank);
    if (!ht_ok(args.x)) return hti_refuse_empty("batch_norm", args.x, args.where);
    if (x.rank < 2 || x.rank > 5 || ht_shape_count(x) < 1 || ht_shape_count(x) / x.dim[1] < 2)
        return wrong_shape("batch_norm", &args, "[N, C, spatial...] with two or more numbers for each channel: one alone has "
                                                "no variance");
    if (!options_fit("batch_norm", &args, HT_SHAPE(x.dim[1]))) return (ht_var){0};
    channels.dim[1] = x.dim[1];
    return normalise(&args, args.x, channels, channels);
}

ht_var ht_instance_norm_(ht_norm_args args)
{
    ht_shape x = ht_var_shape(args.x), channels = ones(x.rank), statistic = ones(x.rank);
    if (!ht_ok(args.x)) return hti_refuse_empty("instance_norm", args.x, args.where);
    if (x.rank < 3 || x.rank > 5 || ht_shape_count(x) < 1)
        return wrong_shape("instance_norm", &args, "[N, C, spatial...] with 1 to 3 spatial axes, not empty");
    if (!options_fit("instance_norm", &args, HT_SHAPE(x.dim[1]))) return (ht_var){0};
    statistic.dim[0] = x.dim[0];
    statistic.dim[1] = channels.dim[1] = x.dim[1];
    return normalise(&args, args.x, statistic, channels);
}

/* Seen as [N, groups, channels of a group, everything else]. */
ht_var ht_group_norm_(ht_norm_args args)
{
    ht_shape x = ht_var_shape(args.x);
    if (!ht_ok(args.x)) return hti_refuse_empty("group_norm", args.x, args.where);
    if (x.rank < 2 || x.rank > 5 || ht_shape_count(x) < 1)
        return wrong_shape("group_norm", &args, "[N, C, spatial...] with at most 3 spatial axes, not empty");
    if (args.groups < 1 || x.dim[1] % args.groups != 0)
        return ht_tape_fail(args.x.tape, args.where, HT_EINVALID, "group_norm: %lld channels in %d groups; expected a number "
                            "of groups, at least 1, that divides them", (long long)x.dim[1], (int)args.groups);
    if (!options_fit("group_norm", &args, HT_SHAPE(x.dim[1]))) return (ht_var){0};
    int64_t groups = args.groups, each = x.dim[1] / groups, space = ht_shape_count(x) / (x.dim[0] * x.dim[1]);
    ht_var seen = ht_reshape_(args.x, HT_SHAPE(x.dim[0], groups, each, space), args.where);
    ht_var y = normalise(&args, seen, HT_SHAPE(x.dim[0], groups, 1, 1), HT_SHAPE(1, groups, each, 1));
    return ht_ok(y) ? ht_reshape_(y, x, args.where) : y;
}

ht_var ht_layer_norm_(ht_norm_args args)
{
    ht_shape x = ht_var_shape(args.x), statistic = x, affine = x, each = {0};
    int32_t axes = args.axes == 0 ? 1 : args.axes;
    if (!ht_ok(args.x)) return hti_refuse_empty("layer_norm", args.x, args.where);
    if (axes < 1 || axes > x.rank || ht_shape_count(x) < 1)
        return wrong_shape("layer_norm", &args, "as many axes as .axes says, at least 1, and not empty");
    for (int32_t k = 0; k < x.rank; k++) {
        if (k < x.rank - axes) affine.dim[k] = 1;
        else each.dim[each.rank++] = x.dim[k], statistic.dim[k] = 1;
    }
    return options_fit("layer_norm", &args, each) ? normalise(&args, args.x, statistic, affine) : (ht_var){0};
}

ht_var ht_attention_(ht_attention_args args)
{
    ht_shape q = ht_var_shape(args.q);
    if (!ht_ok(args.q)) return hti_refuse_empty("attention", args.q, args.where);
    if (q.rank < 2 || q.dim[q.rank - 1] < 1) {
        char text[HT_SHAPE_TEXT];
        return ht_tape_fail(args.q.tape, args.where, HT_ESHAPE, "attention: q is %s; expected [..., L, d]",
                            ht_shape_text(q, text));
    }
    double scale = args.scale == 0 ? 1 / sqrt((double)q.dim[q.rank - 1]) : args.scale;
    ht_matmul_args products = {.where = args.where, .a = ht_scale_(args.q, scale, args.where), .b = args.k, .transpose_b = 1};
    ht_var scores = ht_matmul_(products);
    if (!ht_ok(scores)) return scores;
    ht_var weights = ht_softmax_(scores, ht_var_shape(scores).rank - 1, args.where);
    return ht_matmul_((ht_matmul_args){.where = args.where, .a = weights, .b = args.v});
}
