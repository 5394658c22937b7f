/*
 * Layers: parameters by name, then ops. Nothing here computes; each layer records what its entry in nn.h says, at its
 * caller's place, inside a scope with its full name, so that messages and dumps name the layer.
 */
#include "internal.h"

#include <math.h>
#include <stdio.h>

static const ht_var empty;

/* Opens the layer's scope; false if nothing can be recorded. */
static bool enter(nn_scope s, const char *name, ht_var x, const char *where)
{
    const char *full = hti_full_name(s, name, NULL, where);
    if (!full || !ht_ok(x)) return false;
    const char *title = *s.name ? nn_name(s, "%s/%s", s.name, full) : full;
    if (hti_stopped(s.tape)) return false;
    ht_scope_push(s.tape, title);
    return true;
}

static ht_var leave(nn_scope s, ht_var y)
{
    ht_scope_pop(s.tape);
    return y;
}

/* Shape that aligns a vector over the channels with x: 1 everywhere but at axis 1. */
static ht_shape over_channels(ht_shape x)
{
    ht_shape s = x;
    for (int32_t k = 0; k < s.rank; k++)
        if (k != 1) s.dim[k] = 1;
    return s;
}

static ht_var vector_to_channels(ht_var v, ht_var x, const char *where)
{
    return ht_reshape_(v, over_channels(ht_var_shape(x)), where);
}

/* Uniform in (-1/sqrt(fan), 1/sqrt(fan)) unless the caller says otherwise. */
static nn_init by_fan(nn_init init, double fan)
{
    return init.kind == NN_INIT_DEFAULT ? nn_uniform(1 / sqrt(fan > 0 ? fan : 1)) : init;
}

ht_var nn_dense_(nn_dense_args args)
{
    nn_scope s = args.scope;
    if (!enter(s, args.name, args.x, args.where)) return empty;
    ht_shape x = ht_var_shape(args.x);
    char text[HT_SHAPE_TEXT];
    if (x.rank < 2 || args.out < 1)
        return leave(s, ht_tape_fail(s.tape, args.where, HT_ESHAPE,
                                     "dense \"%s%s\": x is %s and out %lld; x [..., in] of rank 2 or more and out >= 1 were "
                                     "expected", s.prefix, args.name, ht_shape_text(x, text), (long long)args.out));
    int64_t in = x.dim[x.rank - 1];
    ht_var w = hti_parameter(s, "dense", args.name, "weight", HT_SHAPE(args.out, in), by_fan(args.init, (double)in), args.where);
    ht_var y = ht_matmul_((ht_matmul_args){.where = args.where, .a = args.x, .b = w, .transpose_b = 1});
    if (args.no_bias) return leave(s, y);
    ht_var b = hti_parameter(s, "dense", args.name, "bias", HT_SHAPE(args.out), by_fan(args.bias_init, (double)in), args.where);
    return leave(s, ht_add_(y, b, args.where));
}

/* An option over the axes: one number means every axis, 0 the default. */
static ht_axes over_axes(int32_t number, ht_axes each) { return each.given || number == 0 ? each : ht_all(number); }

/* Shape [first, second, kernel...] of a filter bank; *fan becomes the product of all but the first. */
static bool filter_shape(const nn_conv_args *args, const char *what, int64_t first, int64_t second, ht_shape *shape,
                         double *fan)
{
    *shape = ht_shape_of((const int64_t[]){first, second}, 2);
    *fan = (double)second;
    ht_axes kernel = over_axes(args->kernel, args->kernels);
    for (int32_t k = 0; k < ht_var_shape(args->x).rank - 2; k++) {
        int64_t size = kernel.given ? kernel.at[k] : 1;
        if (size < 1 || size > 1 << 20) {
            ht_tape_fail(args->scope.tape, args->where, HT_EINVALID, "%s \"%s%s\": kernel of size %lld; at least 1 was expected",
                         what, args->scope.prefix, args->name, (long long)size);
            return false;
        }
        shape->dim[shape->rank++] = size;
        *fan *= (double)size;
    }
    return true;
}

/* Both convolutions: they differ in the order of the filter's first two axes and in the op. */
static ht_var convolve(nn_conv_args args, const char *what, bool transposed)
{
    nn_scope s = args.scope;
    ht_shape x = ht_var_shape(args.x);
    int32_t groups = args.groups == 0 ? 1 : args.groups;
    char text[HT_SHAPE_TEXT];
    if (x.rank < 3 || x.rank > 5)
        return ht_tape_fail(s.tape, args.where, HT_ESHAPE, "%s \"%s%s\": x is %s; [N, C, spatial...] with 1 to 3 spatial axes "
                            "was expected", what, s.prefix, args.name, ht_shape_text(x, text));
    if (args.out < 1 || groups < 1 || x.dim[1] % groups != 0 || args.out % groups != 0)
        return ht_tape_fail(s.tape, args.where, HT_EINVALID, "%s \"%s%s\": %lld channels to %lld in %d groups; groups must "
                            "divide both", what, s.prefix, args.name, (long long)x.dim[1], (long long)args.out, groups);
    int64_t first = transposed ? x.dim[1] : args.out, second = (transposed ? args.out : x.dim[1]) / groups;
    ht_shape shape;
    double fan;
    if (!filter_shape(&args, what, first, second, &shape, &fan)) return empty;
    ht_conv_args call = {.where = args.where, .x = args.x, .stride = over_axes(args.stride, args.strides),
                         .pad = over_axes(args.pad, args.pads), .dilation = over_axes(args.dilation, args.dilations),
                         .output_pad = over_axes(args.output_pad, args.output_pads), .groups = groups};
    call.w = hti_parameter(s, what, args.name, "weight", shape, by_fan(args.init, fan), args.where);
    ht_var y = transposed ? ht_conv_transpose_(call) : ht_conv_(call);
    if (args.no_bias) return y;
    ht_var b = hti_parameter(s, what, args.name, "bias", HT_SHAPE(args.out), by_fan(args.bias_init, fan), args.where);
    return ht_add_(y, vector_to_channels(b, y, args.where), args.where);
}

ht_var nn_conv_(nn_conv_args args)
{
    if (!enter(args.scope, args.name, args.x, args.where)) return empty;
    return leave(args.scope, convolve(args, "conv", false));
}

ht_var nn_conv_transpose_(nn_conv_args args)
{
    if (!enter(args.scope, args.name, args.x, args.where)) return empty;
    return leave(args.scope, convolve(args, "conv_transpose", true));
}

/* centred / sqrt(variance + eps) * weight + bias */
static ht_var normalise(const nn_norm_args *args, const char *what, ht_var centred, ht_var variance)
{
    const char *where = args->where;
    int64_t channels = ht_var_shape(args->x).dim[1];
    nn_init init = args->init.kind == NN_INIT_DEFAULT ? nn_constant(1) : args->init;
    ht_var w = hti_parameter(args->scope, what, args->name, "weight", HT_SHAPE(channels), init, where);
    ht_var b = hti_parameter(args->scope, what, args->name, "bias", HT_SHAPE(channels), nn_constant(0), where);
    ht_var deviation = ht_sqrt_(ht_offset_(variance, hti_option(args->eps, 1e-5), where), where);
    ht_var gain = ht_div_(vector_to_channels(w, args->x, where), deviation, where);
    b = vector_to_channels(b, args->x, where);
    return ht_add_(ht_mul_(centred, gain, where), b, where);
}

/* Moves one running statistic towards the batch's, as a read and a write on the tape, so that two moves compose. */
static void move(const nn_norm_args *args, const char *part, double start, ht_var batch)
{
    const char *full, *where = args->where;
    int64_t channels = ht_var_shape(args->x).dim[1];
    ht_var running = hti_buffer(args->scope, "batch_norm", args->name, part, HT_SHAPE(channels), nn_constant(start), &full,
                                where);
    if (args->scope.freeze_statistics || !ht_ok(running)) return;
    double momentum = hti_option(args->momentum, 0.1);
    ht_var value = ht_reshape_(ht_stop_(batch, where), HT_SHAPE(channels), where);
    value = ht_scale_(value, momentum, where);
    value = ht_add_(ht_scale_(running, 1 - momentum, where), value, where);
    if (ht_ok(value)) ht_write_one_(args->scope.store, full, value, where);
}

/* Normalisation by the running statistics. */
static ht_var by_running(const nn_norm_args *args)
{
    const char *full, *where = args->where;
    ht_shape shape = HT_SHAPE(ht_var_shape(args->x).dim[1]);
    ht_var mean = hti_buffer(args->scope, "batch_norm", args->name, "running_mean", shape, nn_constant(0), &full, where);
    ht_var variance = hti_buffer(args->scope, "batch_norm", args->name, "running_var", shape, nn_constant(1), &full, where);
    ht_var centred = ht_sub_(args->x, vector_to_channels(mean, args->x, where), where);
    return normalise(args, "batch_norm", centred, vector_to_channels(variance, args->x, where));
}

/* Statistics of x itself in two passes: the mean, then the mean of squares of the centred values. */
static ht_var by_batch(const nn_norm_args *args, const char *what, ht_shape statistic, bool keep_running)
{
    const char *where = args->where;
    ht_shape x = ht_var_shape(args->x);
    int64_t values = ht_shape_count(x) / ht_shape_count(statistic);
    if (values < 2) {
        char text[HT_SHAPE_TEXT];
        return ht_tape_fail(args->scope.tape, where, HT_ESHAPE, "%s \"%s%s\": x is %s, which leaves one value for a variance; "
                            "two or more were expected: use a larger batch or image", what, args->scope.prefix, args->name,
                            ht_shape_text(x, text));
    }
    ht_var mean = ht_mean_to_(args->x, statistic, where);
    ht_var centred = ht_sub_(args->x, mean, where);
    ht_var variance = ht_mean_to_(ht_square_(centred, where), statistic, where);
    ht_var y = normalise(args, what, centred, variance);
    if (keep_running && ht_ok(y)) {
        move(args, "running_mean", 0, mean);
        move(args, "running_var", 1, ht_scale_(variance, (double)values / (double)(values - 1), where));
    }
    return y;
}

static ht_var wrong_rank(const nn_norm_args *args, const char *what, const char *expected)
{
    char text[HT_SHAPE_TEXT];
    return ht_tape_fail(args->scope.tape, args->where, HT_ESHAPE, "%s \"%s%s\": x is %s; %s was expected", what,
                        args->scope.prefix, args->name, ht_shape_text(ht_var_shape(args->x), text), expected);
}

ht_var nn_batch_norm_(nn_norm_args args)
{
    if (!enter(args.scope, args.name, args.x, args.where)) return empty;
    ht_shape x = ht_var_shape(args.x);
    ht_var y;
    if (x.rank < 2 || x.rank > 5 || ht_shape_count(x) < 1)
        y = wrong_rank(&args, "batch_norm", "[N, C] or [N, C, spatial...] with 1 to 3 spatial axes");
    else if (args.scope.evaluate)
        y = by_running(&args);
    else
        y = by_batch(&args, "batch_norm", over_channels(x), !args.scope.bound);
    return leave(args.scope, y);
}

ht_var nn_instance_norm_(nn_norm_args args)
{
    if (!enter(args.scope, args.name, args.x, args.where)) return empty;
    ht_shape x = ht_var_shape(args.x), statistic = over_channels(x);
    ht_var y;
    if (x.rank < 3 || x.rank > 5 || ht_shape_count(x) < 1) {
        y = wrong_rank(&args, "instance_norm", "[N, C, spatial...] with 1 to 3 spatial axes");
    } else {
        statistic.dim[0] = x.dim[0];
        y = by_batch(&args, "instance_norm", statistic, false);
    }
    return leave(args.scope, y);
}

/* The slash in front: the stream does not depend on scopes that happen to be open around this evaluation. */
const char *hti_stream(nn_scope scope, const char *full)
{
    const char *stream = nn_name(scope, "/%s/%s/%s", scope.draw, scope.name, full);
    return hti_stopped(scope.tape) ? NULL : stream;
}

/* Draws of the given shape, which stretches to that of x, keep x or not. */
static ht_var drop(nn_scope scope, const char *what, const char *name, ht_var x, double p, ht_shape draws, const char *where)
{
    if (!(p >= 0 && p < 1))
        return ht_tape_fail(scope.tape, where, HT_EINVALID, "%s \"%s%s\": probability %g; at least 0 and below 1 was "
                            "expected", what, scope.prefix, name ? name : "", p);
    if (p == 0 || scope.evaluate || !ht_ok(x)) return x;
    const char *full = hti_full_name(scope, name, NULL, where);
    const char *stream = full ? hti_stream(scope, full) : NULL;
    if (!stream) return empty;
    ht_var keep = ht_bernoulli_((ht_random_args){.where = where, .tape = scope.tape, .shape = draws, .step = scope.step,
                                                 .seed = scope.seed, .stream = stream, .probability = 1 - p});
    return ht_scale_(ht_mul_(x, keep, where), 1 / (1 - p), where);
}

ht_var nn_dropout_(nn_scope scope, const char *name, ht_var x, double p, const char *where)
{
    return drop(scope, "dropout", name, x, p, ht_var_shape(x), where);
}

ht_var nn_drop_path_(nn_scope scope, const char *name, ht_var x, double p, const char *where)
{
    ht_shape draws = ht_var_shape(x);
    for (int32_t k = 1; k < draws.rank; k++) draws.dim[k] = 1;
    return drop(scope, "drop_path", name, x, p, draws, where);
}
