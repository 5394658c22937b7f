/*
 * Networks: scopes that turn names into parameters, layers, initialisation, optimisers, rates over time.
 * Knows nothing of levels. A network is one function of a scope and its inputs; the first recording of a name creates
 * the tensor in the scope's store, later ones find it. Options are designated initialisers, and zero takes the default.
 */
#ifndef HT_NN_H
#define HT_NN_H

#include <ht/ht.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- scopes ---- */

/**
 * Where layers find their parameters: a plain value, copied freely, alive as long as its tape. Its fields are for nn/
 * alone. Names are joined by '.': layer "norm" of nn_sub(s, "enc0") has the parameter "enc0.norm.weight".
 */
typedef struct nn_scope {
    ht_tape *tape;
    ht_store *store;
    const char *name, *prefix, *draw;
    ht_vars values;
    ht_var step;
    uint64_t seed;
    int32_t bound, evaluate, freeze_statistics, uninitialised;
} nn_scope;

typedef struct nn_open_args {
    const char *where;
    ht_tape *tape;
    ht_store *store;
    const char *name;
    uint64_t seed;
    ht_var step;
    int32_t evaluate, freeze_statistics, uninitialised;
} nn_open_args;
/**
 * Opens a scope on a store.
 *     nn_scope s = nn_open(tape, store, .seed = 1)
 *
 * .name               stands before the layers' names in messages, dumps and streams of draws, not in the store
 * .seed               of initialisation, drawn by parameter name, and of dropout                   (default 0)
 * .step               HT_I32 scalar that numbers the draws of dropout, as nn_count gives it         (default: always 0)
 * .evaluate           1: norms use running statistics, dropout passes everything                   (default 0: training)
 * .freeze_statistics  1: training, but running statistics are not written                          (default 0)
 * .uninitialised      1: new parameters stay zero: to count them, or to load them afterwards       (default 0)
 *
 * New tensors have the tape's type. A tensor that is there in another type is EDTYPE (see ht_store_copy), one of
 * another shape ESHAPE; both stick to the tape.
 */
#define nn_open(...) nn_open_((nn_open_args){.where = HT_HERE, __VA_ARGS__})
nn_scope nn_open_(nn_open_args args);

/** A part of a scope: its names stand below `name`. */
nn_scope nn_sub(nn_scope scope, const char *name);
/** A printf-style name in the tape's memory: nn_sub(s, nn_name(s, "enc%d", i)). "" if it is too long or memory ends. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
const char *nn_name(nn_scope scope, const char *format, ...);

/**
 * All parameters of the scope (of an nn_sub scope: those below it), with their full names, in the order in which the
 * store got them. Call it after the network was recorded, and before ht_write: from then on it gives the values written.
 * Of an nn_at scope: the values that it is bound to.
 * EINVALID if there are none.
 */
#define nn_params(...) nn_params_(__VA_ARGS__, HT_HERE)
ht_vars nn_params_(nn_scope scope, const char *where);

typedef struct nn_at_args {
    const char *where;
    nn_scope scope;
    ht_vars values;
    const char *draw;
    int32_t hold, evaluate;
} nn_at_args;
/**
 * The same names at other values: look-aheads, fast weights, probes.
 *     generator(nn_at(G, updated, .draw = "synthesis"), ...)
 *
 * values      found by their names; a parameter that is not among them is EINVALID
 * .draw       names this evaluation for random streams: equal names draw equal numbers    (default: that of the scope)
 * .hold       1: no derivative passes into the values                                     (default 0)
 * .evaluate   1: as in nn_open, on the store's running statistics                         (default: as the scope)
 *
 * Running statistics are never written by such a scope: a look-ahead leaves no trace.
 */
#define nn_at(...) nn_at_((nn_at_args){.where = HT_HERE, __VA_ARGS__})
nn_scope nn_at_(nn_at_args args);

/** The same scope, with its random streams named: equal names draw equal numbers. Running statistics are still written. */
nn_scope nn_draw(nn_scope scope, const char *draw);

/* ---- initialisation: a function of (seed, full name, element), whatever the order of recording ---- */

typedef enum nn_init_kind { NN_INIT_DEFAULT = 0, NN_INIT_CONSTANT, NN_INIT_NORMAL, NN_INIT_UNIFORM } nn_init_kind;
/** A way to fill a new tensor. The zero value is the layer's default. */
typedef struct nn_init {
    nn_init_kind kind;
    double centre, spread;
} nn_init;
/** Every number the same. */
static inline nn_init nn_constant(double value)
{
    nn_init i = {NN_INIT_CONSTANT, value, 0};
    return i;
}
/** Normal with a mean of 0 and this deviation. */
static inline nn_init nn_normal(double deviation)
{
    nn_init i = {NN_INIT_NORMAL, 0, deviation};
    return i;
}
/** Normal with this mean and deviation. */
static inline nn_init nn_normal_about(double mean, double deviation)
{
    nn_init i = {NN_INIT_NORMAL, mean, deviation};
    return i;
}
/** Uniform in (-bound, bound). */
static inline nn_init nn_uniform(double bound)
{
    nn_init i = {NN_INIT_UNIFORM, 0, bound};
    return i;
}

typedef struct nn_parameter_args {
    const char *where;
    nn_scope scope;
    const char *name;
    ht_shape shape;
    nn_init init;
} nn_parameter_args;
/**
 * A parameter of a model's own.
 *     ht_var alpha = nn_parameter(A, "alpha", HT_SHAPE(8, 3), nn_normal(1e-3))
 * .init is zeros by default.
 */
#define nn_parameter(...) nn_parameter_((nn_parameter_args){.where = HT_HERE, __VA_ARGS__})
ht_var nn_parameter_(nn_parameter_args args);

/* ---- layers: (scope, name, x, ...). Parameters NAME.weight, NAME.bias as in PyTorch. ---- */

typedef struct nn_dense_args {
    const char *where;
    nn_scope scope;
    const char *name;
    ht_var x;
    int64_t out;
    int32_t no_bias;
    nn_init init, bias_init;
} nn_dense_args;
/**
 * y = x W' + b over the last axis: x [..., in], W [out, in], b [out]. By default W and b are uniform in
 * (-1/sqrt(in), 1/sqrt(in)).
 *     nn_dense(s, "linear", x, 10)
 */
#define nn_dense(...) nn_dense_((nn_dense_args){.where = HT_HERE, __VA_ARGS__})
ht_var nn_dense_(nn_dense_args args);

typedef struct nn_conv_args {
    const char *where;
    nn_scope scope;
    const char *name;
    ht_var x;
    int64_t out;
    /* one number for every axis, or one for each, which counts where it is given: .kernel = 3, .kernels = ht_each(3, 1, 1) */
    int32_t kernel, stride, pad, dilation, output_pad;
    ht_axes kernels, strides, pads, dilations, output_pads;
    int32_t groups, no_bias;
    nn_init init, bias_init;
} nn_conv_args;
/**
 * Convolution of x [N, C, spatial...] over 1, 2 or 3 axes with W [out, C/groups, kernel...] and a bias for each channel.
 * .kernel, .stride, .dilation, .groups are 1 by default, .pad 0. By default W and b are uniform in
 * (-1/sqrt(fan), 1/sqrt(fan)), fan = C/groups times the kernel's size.
 *     nn_conv(s, "c1", image, 32, .kernel = 3, .pad = 1)
 * See also ht_conv.
 */
#define nn_conv(...) nn_conv_((nn_conv_args){.where = HT_HERE, __VA_ARGS__})
ht_var nn_conv_(nn_conv_args args);
/** Transposed convolution with W [C, out/groups, kernel...]; .output_pad 0 by default; fan = out/groups times kernel. */
#define nn_conv_transpose(...) nn_conv_transpose_((nn_conv_args){.where = HT_HERE, __VA_ARGS__})
ht_var nn_conv_transpose_(nn_conv_args args);

typedef struct nn_norm_args {
    const char *where;
    nn_scope scope;
    const char *name;
    ht_var x;
    double eps, momentum;
    nn_init init;
} nn_norm_args;
/**
 * Batch normalisation of x [N, C] or [N, C, spatial...]: (x - mean) / sqrt(variance + eps) * weight + bias for each
 * channel, with the biased variance of the batch. The buffers NAME.running_mean and NAME.running_var move by .momentum
 * towards the batch's mean and unbiased variance, one move for each recording; evaluation uses them.
 * .eps is 1e-5, .momentum 0.1, .init (of the weight) nn_constant(1) by default.
 * ESHAPE in training if a channel has one value only: its variance means nothing.
 */
#define nn_batch_norm(...) nn_batch_norm_((nn_norm_args){.where = HT_HERE, __VA_ARGS__})
ht_var nn_batch_norm_(nn_norm_args args);
/** The same over the spatial axes of each case alone, x [N, C, spatial...]; no running statistics. */
#define nn_instance_norm(...) nn_instance_norm_((nn_norm_args){.where = HT_HERE, __VA_ARGS__})
ht_var nn_instance_norm_(nn_norm_args args);

/**
 * nn_dropout(s, "drop", x, p): in training each number becomes 0 with probability p, else x / (1 - p).
 * Stream of the draws: the evaluation's .draw, the scope's .name, the layer's full name; step and seed of the scope.
 * EINVALID unless 0 <= p < 1.
 */
#define nn_dropout(...) nn_dropout_(__VA_ARGS__, HT_HERE)
ht_var nn_dropout_(nn_scope scope, const char *name, ht_var x, double p, const char *where);

/** The same for each case of a batch as a whole, x [N, ...]: the branch of a residual block. */
#define nn_drop_path(...) nn_drop_path_(__VA_ARGS__, HT_HERE)
ht_var nn_drop_path_(nn_scope scope, const char *name, ht_var x, double p, const char *where);

/* ---- critics (Wasserstein) ---- */

/** nn_critic_loss(real, fake): mean of the fake scores less mean of the real ones, which a critic makes small. */
#define nn_critic_loss(...) nn_critic_loss_(__VA_ARGS__, HT_HERE)
ht_var nn_critic_loss_(ht_var real, ht_var fake, const char *where);
/**
 * nn_between(s, "mix", a, b): a + u (b - a) with one u in (0, 1) for each case, drawn as nn_dropout draws.
 * ESHAPE unless a and b are batches of one shape.
 */
#define nn_between(...) nn_between_(__VA_ARGS__, HT_HERE)
ht_var nn_between_(nn_scope scope, const char *name, ht_var a, ht_var b, const char *where);
/**
 * nn_gradient_penalty(scores, points, norm): mean over the cases of (|d sum(scores) / d point| - norm)^2, the points
 * [N, ...] with scores recorded on them. It is recorded like any value, so a loss that contains it has derivatives. Where
 * a slope is 0 its length has derivative 0. A critic that mixes the cases (batch norm) has no slope of its own for each.
 *     ht_var x = nn_between(C, "mix", image, fake);
 *     loss = ht_add(nn_critic_loss(real, made), ht_scale(nn_gradient_penalty(critic(C, x), x, 1), 10));
 * Source: Gulrajani et al. (2017), Eq. 3.
 */
#define nn_gradient_penalty(...) nn_gradient_penalty_(__VA_ARGS__, HT_HERE)
ht_var nn_gradient_penalty_(ht_var scores, ht_var points, double norm, const char *where);

/** Loss on logits; see ops.h. */
#define nn_sigmoid_cross_entropy(...) ht_sigmoid_cross_entropy(__VA_ARGS__)

/* ---- optimisers: recorded, differentiable updates. They give new values, which ht_write makes the store's. ---- */

/** For options whose default is not 0: stands for 0. */
#define NN_NONE (-1.0)

typedef struct nn_count_args {
    const char *where;
    ht_tape *tape;
    ht_store *store;
    const char *name;
    int32_t read_only;
} nn_count_args;
/**
 * A counter in a store, HT_I32: the value before this run; each run adds one (with .read_only = 1 it does not).
 *     nn_open(tape, store, .step = nn_count(tape, state, "round"))
 */
#define nn_count(...) nn_count_((nn_count_args){.where = HT_HERE, __VA_ARGS__})
ht_var nn_count_(nn_count_args args);

/*
 * What all optimisers share. weights carry names; gradients have their shapes and order.
 * .rate or .rate_from   a number, or a scalar value (an input that the host sets)
 * .weight_decay         g + weight_decay w stands for g                                              (default 0)
 * .read_only            1: the step is recorded, state is read and not written: for look-aheads        (default 0)
 * State (moments) stands in a store of its own under SLOT/NAME, in the tape's type, "step" as HT_I32. The derivative
 * passes through weights and gradients; moments are what the store holds.
 */
typedef struct nn_sgd_args {
    const char *where;
    ht_vars weights, gradients;
    double rate;
    ht_var rate_from;
    double momentum, weight_decay;
    ht_store *store;
    int32_t read_only;
} nn_sgd_args;
/** w - rate b,  b = momentum b + g. A .momentum other than 0 needs .store for b ("buffer/NAME"). */
#define nn_sgd(...) nn_sgd_((nn_sgd_args){.where = HT_HERE, __VA_ARGS__})
ht_vars nn_sgd_(nn_sgd_args args);

typedef struct nn_rmsprop_args {
    const char *where;
    ht_store *state;
    ht_vars weights, gradients;
    double rate;
    ht_var rate_from;
    double smoothing, momentum, eps, weight_decay;
    int32_t read_only;
} nn_rmsprop_args;
/**
 * q = smoothing q + (1 - smoothing) g^2,  b = momentum b + g / (sqrt(q) + eps),  w - rate b.
 * .smoothing 0.99, .momentum 0, .eps 1e-8 by default. Slots "square/NAME", "buffer/NAME".
 */
#define nn_rmsprop(...) nn_rmsprop_((nn_rmsprop_args){.where = HT_HERE, __VA_ARGS__})
ht_vars nn_rmsprop_(nn_rmsprop_args args);

typedef struct nn_adam_args {
    const char *where;
    ht_store *state;
    ht_vars weights, gradients;
    double rate;
    ht_var rate_from;
    double beta1, beta2, eps, weight_decay;
    int32_t read_only;
} nn_adam_args;
/**
 * m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
 * w - rate m/(1 - beta1^t) / (sqrt(v/(1 - beta2^t)) + eps),  t the number of this step, from 1.
 * .beta1 0.9, .beta2 0.999, .eps 1e-8 by default. Slots "m/NAME", "v/NAME", "step".
 * Source: Kingma, Ba (2015), Algorithm 1.
 */
#define nn_adam(...) nn_adam_((nn_adam_args){.where = HT_HERE, __VA_ARGS__})
ht_vars nn_adam_(nn_adam_args args);
/** Decoupled weight decay: the step above with the plain g, and w (1 - rate weight_decay) for w. */
#define nn_adamw(...) nn_adamw_((nn_adam_args){.where = HT_HERE, __VA_ARGS__})
ht_vars nn_adamw_(nn_adam_args args);

/* ---- rates over time: on the host, for .rate_from ---- */

/** Plain values, so that a checkpoint can hold them. The zero value of all but rate, patience and factor is right. */
typedef struct nn_plateau {
    double rate, factor, minimum; /* factor: the rate is multiplied by it; minimum: never below */
    double threshold;             /* a score is better if above best + threshold |best|         */
    double best;
    int32_t patience, waited, started;
} nn_plateau;
/**
 * Takes the next score (larger is better) and returns the rate to go on with: after more than `patience` scores in a
 * row that are not better than the best one the rate falls, and waiting begins anew. NaN is not better than anything.
 */
double nn_plateau_step(nn_plateau *plateau, double score);

/** Rate of a round, from 0. Constant falls: rate factor^(round / every), whole number of falls; every < 1: none. */
double nn_rate_step(double rate, double factor, int64_t every, int64_t round);
/** Half a cosine from `rate` at round 0 to `last` at round `rounds`, `last` thereafter. */
double nn_rate_cosine(double rate, double last, int64_t rounds, int64_t round);
/** A straight line from `rate` at round 0 to `last` at round `rounds`, `last` thereafter. */
double nn_rate_linear(double rate, double last, int64_t rounds, int64_t round);

#ifdef __cplusplus
}
#endif
#endif
