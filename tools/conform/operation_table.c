/* The operations that a case can name: one row each, and how its attributes become the library's options. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "operation.h"

#define X (call->in[0])

/* ---- options ---- */

static int32_t rank(ht_var x) { return ht_var_shape(x).rank; }
static int32_t spatial(const conform_call *call) { return rank(X) - 2; }

/* One number for each spatial axis; the library's default if the case gives none. */
static ht_axes axes(const conform_call *call, const char *key)
{
    ht_axes all = {{0, 0, 0}, 0};
    int32_t count = spatial(call);
    if (count < 1 || count > 3) return all;
    ht_shape sizes = conform_sizes(call->attributes, key, count, call->error);
    for (int32_t i = 0; i < sizes.rank; i++) all.at[i] = (int32_t)sizes.dim[i];
    all.given = sizes.rank > 0;
    return all;
}

/* The same as sizes of a result, which a case must give. */
static ht_shape size(const conform_call *call)
{
    if (json_is_null(json_object_get(call->attributes, "size")) || !json_object_get(call->attributes, "size"))
        ht_fail(call->error, HT_EINVALID, "attribute \"size\" is missing; expected it");
    return conform_sizes(call->attributes, "size", spatial(call), call->error);
}

/* Position of a word; the first one if the case says nothing. */
static int32_t word(const conform_call *call, const char *key, const char *const *words)
{
    return conform_word(call->attributes, key, words, 0, call->error);
}

static double real(const conform_call *call, const char *key, double otherwise)
{
    return conform_real(call->attributes, key, otherwise, call->error);
}

/* The library takes 0 as "the default"; a case that says 0 means it. */
static double option(const conform_call *call, const char *key, double otherwise)
{
    if (!json_is_number(json_object_get(call->attributes, key))) return real(call, key, otherwise);
    double value = real(call, key, otherwise);
    return value == 0 ? DBL_MIN : value;
}

static int flag(const conform_call *call, const char *key, int otherwise)
{
    return conform_flag(call->attributes, key, otherwise, call->error);
}

static int32_t whole(const conform_call *call, const char *key, int32_t otherwise)
{
    return conform_whole(call->attributes, key, otherwise, call->error);
}

/* `axis`, from the end if negative. */
static int32_t axis(const conform_call *call, int32_t otherwise)
{
    int32_t given = whole(call, "axis", otherwise);
    return given < 0 ? given + rank(X) : given;
}

/* ---- convolution and products ---- */

static ht_var conv(const conform_call *call)
{
    return ht_conv(X, call->in[1], .stride = axes(call, "stride"), .pad = axes(call, "padding"),
                   .dilation = axes(call, "dilation"), .groups = whole(call, "groups", 1));
}

static ht_var conv_transpose(const conform_call *call)
{
    return ht_conv_transpose(X, call->in[1], .stride = axes(call, "stride"), .pad = axes(call, "padding"),
                             .dilation = axes(call, "dilation"), .groups = whole(call, "groups", 1),
                             .output_pad = axes(call, "output_padding"));
}

static ht_var matmul(const conform_call *call)
{
    return ht_matmul(X, call->in[1], .transpose_a = flag(call, "transpose_a", 0), .transpose_b = flag(call, "transpose_b", 0));
}

static ht_var attention(const conform_call *call)
{
    return ht_attention(X, call->in[1], call->in[2], .scale = option(call, "scale", 0));
}

/* ---- normalisation ---- */

#define NORM(name) \
    static ht_var name(const conform_call *call) \
    { \
        return ht_##name(X, call->in[1], call->in[2], .eps = option(call, "eps", 0), \
                         .groups = whole(call, "groups", 0), .axes = whole(call, "axes", 0)); \
    }
NORM(batch_norm) NORM(instance_norm) NORM(group_norm) NORM(layer_norm)

/* ---- reductions along an axis ---- */

static ht_var softmax(const conform_call *call) { return ht_softmax(X, axis(call, -1)); }
static ht_var log_softmax(const conform_call *call) { return ht_log_softmax(X, axis(call, -1)); }

static ht_var logsumexp(const conform_call *call)
{
    int32_t along = axis(call, -1);
    ht_var kept = ht_logsumexp(X, along);
    ht_shape shape = ht_var_shape(kept), dropped = shape;
    if (!ht_ok(kept)) return kept;
    dropped.rank--;
    for (int32_t i = along; i < dropped.rank; i++) dropped.dim[i] = shape.dim[i + 1];
    return ht_reshape(kept, dropped);
}

/* ---- pointwise ---- */

#define UNARY(name) \
    static ht_var name##_row(const conform_call *call) { return ht_##name(X); }
#define BINARY(name) \
    static ht_var name##_row(const conform_call *call) { return ht_##name(X, call->in[1]); }
UNARY(exp) UNARY(expm1) UNARY(log) UNARY(log1p) UNARY(sqrt) UNARY(square) UNARY(reciprocal) UNARY(sin) UNARY(cos)
UNARY(rsqrt) UNARY(erf) UNARY(erfc) UNARY(silu) UNARY(log_sigmoid) UNARY(tanh) UNARY(sigmoid) UNARY(softplus) UNARY(relu)
UNARY(abs) UNARY(neg) UNARY(sum) UNARY(mean)
BINARY(add) BINARY(sub) BINARY(mul) BINARY(div) BINARY(maximum) BINARY(minimum)

static ht_var leaky_relu(const conform_call *call) { return ht_leaky_relu(X, real(call, "slope", 0.01)); }
static ht_var elu(const conform_call *call) { return ht_elu(X, real(call, "alpha", 1)); }

static ht_var gelu(const conform_call *call)
{
    static const char *const words[] = {"none", "tanh", NULL};
    return word(call, "approximate", words) ? ht_gelu_tanh(X) : ht_gelu(X);
}

static ht_var clamp(const conform_call *call)
{
    return ht_clamp(X, real(call, "low", -INFINITY), real(call, "high", (double)INFINITY));
}

/* ---- pooling ---- */

static ht_var max_pool(const conform_call *call)
{
    return ht_max_pool(X, .kernel = axes(call, "kernel"), .stride = axes(call, "stride"), .pad = axes(call, "padding"));
}

static ht_var avg_pool(const conform_call *call)
{
    return ht_avg_pool(X, .kernel = axes(call, "kernel"), .stride = axes(call, "stride"), .pad = axes(call, "padding"),
                       .exclude_pad = !flag(call, "count_include_pad", 1));
}

static ht_var adaptive_avg_pool(const conform_call *call) { return ht_adaptive_avg_pool(X, size(call)); }

/* ---- other grids ---- */

static ht_var resize(const conform_call *call)
{
    static const char *const words[] = {"nearest", "linear", NULL};
    return ht_resize(X, size(call), .linear = word(call, "mode", words), .align_corners = flag(call, "align_corners", 0));
}

static ht_var grid_sample(const conform_call *call)
{
    static const char *const words[] = {"zeros", "border", NULL};
    return ht_grid_sample(X, call->in[1], .border = word(call, "padding_mode", words),
                          .align_corners = flag(call, "align_corners", 0));
}

static ht_var pad(const conform_call *call)
{
    static const char *const words[] = {"zeros", "reflect", "replicate", NULL};
    ht_shape side[2];
    for (int32_t i = 0; i < 2; i++) {
        const char *key = i ? "after" : "before";
        side[i] = conform_sizes(call->attributes, key, rank(X), call->error);
        side[i].rank = rank(X); /* zeros if the case gives none */
    }
    switch (word(call, "mode", words)) {
    case 1: return ht_pad_reflect(X, side[0], side[1]);
    case 2: return ht_pad_replicate(X, side[0], side[1]);
    default: return ht_pad(X, side[0], side[1]);
    }
}

/* ---- indices ---- */

static ht_var take(const conform_call *call) { return ht_take(X, call->in[1], axis(call, 0)); }
static ht_var put(const conform_call *call) { return ht_put(X, call->in[1], call->in[2], axis(call, 0)); }

/* ---- losses ---- */

static ht_var softmax_cross_entropy(const conform_call *call) { return ht_softmax_cross_entropy(X, call->in[1]); }

static ht_var sigmoid_cross_entropy(const conform_call *call) { return ht_sigmoid_cross_entropy(X, call->in[1]); }
static ht_var dice_loss(const conform_call *call) { return ht_dice_loss(X, call->in[1], real(call, "smooth", 1)); }

/* ---- the table ---- */

enum { INDEX_1 = 1 << 1 }; /* in.1 holds whole numbers */

#define CONVOLUTION "stride padding dilation groups"
#define POOLING "kernel stride padding"
#define POINTWISE(name, operands) {#name, name##_row, operands, 0, ""}

static const conform_row table[] = {
    {"conv", conv, 2, 0, CONVOLUTION},
    {"conv_transpose", conv_transpose, 2, 0, CONVOLUTION " output_padding"},
    {"matmul", matmul, 2, 0, "transpose_a transpose_b"},
    {"attention", attention, 3, 0, "scale"},
    {"batch_norm", batch_norm, 3, 0, "eps"},
    {"instance_norm", instance_norm, 3, 0, "eps"},
    {"group_norm", group_norm, 3, 0, "eps groups"},
    {"layer_norm", layer_norm, 3, 0, "eps axes"},
    {"softmax", softmax, 1, 0, "axis"},
    {"log_softmax", log_softmax, 1, 0, "axis"},
    {"logsumexp", logsumexp, 1, 0, "axis"},
    POINTWISE(relu, 1), POINTWISE(softplus, 1), POINTWISE(tanh, 1), POINTWISE(sigmoid, 1), POINTWISE(exp, 1),
    POINTWISE(expm1, 1), POINTWISE(log, 1), POINTWISE(log1p, 1), POINTWISE(sqrt, 1), POINTWISE(rsqrt, 1), POINTWISE(square, 1),
    POINTWISE(reciprocal, 1), POINTWISE(sin, 1), POINTWISE(cos, 1), POINTWISE(abs, 1), POINTWISE(neg, 1),
    POINTWISE(sum, 1), POINTWISE(mean, 1),
    POINTWISE(add, 2), POINTWISE(sub, 2), POINTWISE(mul, 2), POINTWISE(div, 2), POINTWISE(maximum, 2), POINTWISE(minimum, 2),
    POINTWISE(erf, 1), POINTWISE(erfc, 1), POINTWISE(silu, 1), POINTWISE(log_sigmoid, 1),
    {"elu", elu, 1, 0, "alpha"},
    {"gelu", gelu, 1, 0, "approximate"},
    {"clamp", clamp, 1, 0, "low high"},
    {"leaky_relu", leaky_relu, 1, 0, "slope"},
    {"max_pool", max_pool, 1, 0, POOLING},
    {"avg_pool", avg_pool, 1, 0, POOLING " count_include_pad"},
    {"adaptive_avg_pool", adaptive_avg_pool, 1, 0, "size"},
    {"resize", resize, 1, 0, "size mode align_corners"},
    {"grid_sample", grid_sample, 2, 0, "padding_mode align_corners"},
    {"pad", pad, 1, 0, "before after mode"},
    {"take", take, 2, INDEX_1, "axis"},
    {"put", put, 3, INDEX_1, "axis"},
    {"softmax_cross_entropy", softmax_cross_entropy, 2, INDEX_1, ""},
    {"sigmoid_cross_entropy", sigmoid_cross_entropy, 2, 0, ""},
    {"dice_loss", dice_loss, 2, 0, "smooth"},
};

const conform_row *conform_operation_row(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].name, name) == 0) return &table[i];
    return NULL;
}
