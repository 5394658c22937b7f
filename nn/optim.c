/*
 * Optimisers as recorded updates. The state of a step (moments, its number) is read from a store and written back on
 * the tape, so that an update is part of the program, differentiable like anything else, and two of them compose.
 */
#include "internal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "tape/tape_internal.h"

static const ht_var empty;

/* What all optimisers share. */
typedef struct update {
    const char *where, *what;
    ht_tape *tape;
    ht_store *state;
    ht_vars w, g;
    double rate, weight_decay;
    ht_var rate_from;
    int32_t read_only;
} update;

static bool in_range(const update *u, const char *name, double value, double low, double high)
{
    if (value >= low && value <= high) return true;
    ht_tape_fail(u->tape, u->where, HT_EINVALID, "%s: %s is %g; a number from %g to %g was expected", u->what, name, value, low,
                 high);
    return false;
}

static bool lists_agree(const update *u)
{
    if (u->w.count < 1 || !u->w.names) {
        ht_tape_fail(u->tape, u->where, HT_EINVALID, "%s: %d weights%s; named weights, as nn_params gives them, were expected",
                     u->what, u->w.count, u->w.count ? " without names" : "");
        return false;
    }
    if (u->w.count != u->g.count) {
        ht_tape_fail(u->tape, u->where, HT_ESHAPE, "%s: %d weights and %d gradients; as many were expected", u->what, u->w.count,
                     u->g.count);
        return false;
    }
    for (int32_t i = 0; i < u->w.count; i++) {
        ht_shape w = ht_var_shape(u->w.at[i]), g = ht_var_shape(u->g.at[i]);
        if (ht_shape_equal(w, g)) continue;
        char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
        ht_tape_fail(u->tape, u->where, HT_ESHAPE, "%s: weight \"%s\" is %s and its gradient %s; equal shapes were expected",
                     u->what, u->w.names[i], ht_shape_text(w, a), ht_shape_text(g, b));
        return false;
    }
    return true;
}

/* Whether the update can be recorded; marks the tape if not. */
static bool begin(update *u, bool needs_state)
{
    u->tape = u->w.count > 0 && u->w.at ? u->w.at[0].tape : NULL;
    if (hti_stopped(u->tape) || !lists_agree(u)) return false;
    if (needs_state && !u->state) {
        ht_tape_fail(u->tape, u->where, HT_EINVALID, "%s: there is no store for its state; give it one of its own", u->what);
        return false;
    }
    if (ht_ok(u->rate_from) && ht_var_shape(u->rate_from).rank != 0) {
        char text[HT_SHAPE_TEXT];
        ht_tape_fail(u->tape, u->where, HT_ESHAPE, "%s: rate_from is %s; a scalar was expected", u->what,
                     ht_shape_text(ht_var_shape(u->rate_from), text));
        return false;
    }
    return in_range(u, "rate", u->rate, -DBL_MAX, DBL_MAX) && in_range(u, "weight_decay", u->weight_decay, 0, DBL_MAX);
}

/* rate times x */
static ht_var rated(const update *u, ht_var x)
{
    return ht_ok(u->rate_from) ? ht_mul_(x, u->rate_from, u->where) : ht_scale_(x, u->rate, u->where);
}

/* The gradient with its weight decay. */
static ht_var decayed(const update *u, int32_t i)
{
    ht_var g = u->g.at[i];
    return u->weight_decay > 0 ? ht_add_(g, ht_scale_(u->w.at[i], u->weight_decay, u->where), u->where) : g;
}

/* The name of a slot, in the tape's memory; NULL with the sticky error. */
static const char *slot_name(const update *u, const char *slot, int32_t i)
{
    char text[HTI_NAME_BYTES];
    int n = snprintf(text, sizeof text, "%s/%s", slot, u->w.names[i]);
    if (n > 0 && n < (int)sizeof text) return ht_tape_text(u->tape, text);
    ht_tape_fail(u->tape, u->where, HT_EINVALID, "%s: the name of slot \"%.40s...\" has %d bytes; at most %d were expected",
                 u->what, text, n, HTI_NAME_BYTES - 1);
    return NULL;
}

/* slot = keep * slot + take * x: reads the slot (zero when new), writes it back unless read_only, gives its new value. */
static ht_var accumulate(const update *u, const char *slot, int32_t i, double keep, double take, ht_var x)
{
    const char *name = slot_name(u, slot, i);
    if (!name) return empty;
    hti_wanted t = {u->where, u->what, name, ht_tape_dtype(u->tape), ht_var_shape(u->w.at[i]), HT_BUFFER};
    bool created;
    if (!hti_tensor_obtain(u->tape, u->state, &t, &created)) return empty;
    ht_var old = ht_read_one_(u->tape, u->state, name, u->where);
    ht_var part = take == 1 ? x : ht_scale_(x, take, u->where);
    ht_var now = ht_add_(ht_scale_(old, keep, u->where), part, u->where);
    if (!u->read_only && ht_ok(now)) ht_write_one_(u->state, name, now, u->where);
    return now;
}

/* The new value of weight i. */
typedef ht_var (*rule)(const update *u, int32_t i, const void *options);

/* Applies a rule to every weight: the new values under the old names, all empty if recording stopped. */
static ht_vars record_all(const update *u, rule each, const void *options)
{
    enum { CHUNK = 64 };
    ht_var chunk[CHUNK];
    ht_vars all = {NULL, NULL, 0};
    for (int32_t from = 0; from < u->w.count && !hti_stopped(u->tape); from += CHUNK) {
        int32_t n = u->w.count - from < CHUNK ? u->w.count - from : CHUNK;
        for (int32_t k = 0; k < n; k++) chunk[k] = each(u, from + k, options);
        if (hti_stopped(u->tape)) break;
        ht_vars part = ht_vars_new(u->tape, chunk, u->w.names + from, n);
        all = all.count ? ht_vars_join(all, part) : part;
    }
    return hti_stopped(u->tape) ? hti_empties(u->tape, u->w) : all;
}

ht_var nn_count_(nn_count_args args)
{
    if (hti_stopped(args.tape)) return empty;
    if (!args.store)
        return ht_tape_fail(args.tape, args.where, HT_EINVALID, "nn_count: there is no store; a counter needs one to last");
    hti_wanted t = {args.where, "counter", args.name ? args.name : "", HT_I32, HT_SCALAR, HT_BUFFER};
    bool created;
    if (!hti_tensor_obtain(args.tape, args.store, &t, &created)) return empty;
    ht_var before = ht_read_one_(args.tape, args.store, t.name, args.where);
    if (args.read_only) return before;
    /* F64 holds every I32 exactly, F32 does not */
    ht_var after = ht_offset_(ht_cast_(before, HT_F64, args.where), 1, args.where);
    after = ht_cast_(after, HT_I32, args.where);
    if (ht_ok(after)) ht_write_one_(args.store, t.name, after, args.where);
    return before;
}

/* ---- stochastic gradient descent ---- */

static ht_var sgd_rule(const update *u, int32_t i, const void *options)
{
    const nn_sgd_args *o = options;
    ht_var g = decayed(u, i);
    if (o->momentum > 0) g = accumulate(u, "buffer", i, o->momentum, 1, g);
    return ht_sub_(u->w.at[i], rated(u, g), u->where);
}

ht_vars nn_sgd_(nn_sgd_args args)
{
    update u = {.where = args.where, .what = "nn_sgd", .state = args.store, .w = args.weights, .g = args.gradients,
                .rate = args.rate, .weight_decay = args.weight_decay, .rate_from = args.rate_from,
                .read_only = args.read_only};
    args.momentum = hti_option(args.momentum, 0);
    if (!begin(&u, args.momentum > 0) || !in_range(&u, "momentum", args.momentum, 0, 1)) return hti_empties(u.tape, u.w);
    return record_all(&u, sgd_rule, &args);
}

/* ---- RMSprop ---- */

static ht_var rmsprop_rule(const update *u, int32_t i, const void *options)
{
    const nn_rmsprop_args *o = options;
    const char *where = u->where;
    ht_var g = decayed(u, i);
    ht_var q = accumulate(u, "square", i, o->smoothing, 1 - o->smoothing, ht_square_(g, where));
    ht_var b = ht_div_(g, ht_offset_(ht_safe_sqrt_(q, where), o->eps, where), where);
    if (o->momentum > 0) b = accumulate(u, "buffer", i, o->momentum, 1, b);
    return ht_sub_(u->w.at[i], rated(u, b), where);
}

ht_vars nn_rmsprop_(nn_rmsprop_args args)
{
    update u = {.where = args.where, .what = "nn_rmsprop", .state = args.state, .w = args.weights, .g = args.gradients,
                .rate = args.rate, .weight_decay = args.weight_decay, .rate_from = args.rate_from,
                .read_only = args.read_only};
    args.smoothing = hti_option(args.smoothing, 0.99);
    args.momentum = hti_option(args.momentum, 0);
    args.eps = hti_option(args.eps, 1e-8);
    if (!begin(&u, true) || !in_range(&u, "smoothing", args.smoothing, 0, 1) || !in_range(&u, "momentum", args.momentum, 0, 1))
        return hti_empties(u.tape, u.w);
    return record_all(&u, rmsprop_rule, &args);
}

/* ---- Adam ---- */

typedef struct adam {
    double beta1, beta2, eps, decoupled;
    ht_var first, second; /* scalars: rate / (1 - beta1^t), 1 / (1 - beta2^t) */
} adam;

static ht_var adam_rule(const update *u, int32_t i, const void *options)
{
    const adam *o = options;
    const char *where = u->where;
    ht_var g = decayed(u, i), w = u->w.at[i];
    ht_var m = accumulate(u, "m", i, o->beta1, 1 - o->beta1, g);
    ht_var v = accumulate(u, "v", i, o->beta2, 1 - o->beta2, ht_square_(g, where));
    ht_var size = ht_offset_(ht_safe_sqrt_(ht_mul_(v, o->second, where), where), o->eps, where);
    ht_var step = ht_div_(ht_mul_(m, o->first, where), size, where);
    if (o->decoupled > 0) w = ht_sub_(w, rated(u, ht_scale_(w, o->decoupled, where)), where);
    return ht_sub_(w, step, where);
}

/* 1 / (1 - beta^t). As 1 - e^(t log beta) through expm1: at t = 1 and beta near 1 the plain difference loses digits. */
static ht_var correction(ht_var t, double beta, const char *where)
{
    if (beta <= 0) return ht_fill_(t.tape, 1, HT_SCALAR, where);
    return ht_reciprocal_(ht_neg_(ht_expm1_(ht_scale_(t, log(beta), where), where), where), where);
}

static ht_vars record_adam(nn_adam_args args, const char *what, bool decoupled)
{
    update u = {.where = args.where, .what = what, .state = args.state, .w = args.weights, .g = args.gradients,
                .rate = args.rate, .weight_decay = args.weight_decay, .rate_from = args.rate_from,
                .read_only = args.read_only};
    const char *where = args.where;
    adam o = {.beta1 = hti_option(args.beta1, 0.9), .beta2 = hti_option(args.beta2, 0.999), .eps = hti_option(args.eps, 1e-8)};
    if (!begin(&u, true) || !in_range(&u, "beta1", o.beta1, 0, 0x1.fffffffffffffp-1) ||
        !in_range(&u, "beta2", o.beta2, 0, 0x1.fffffffffffffp-1))
        return hti_empties(u.tape, u.w);
    if (decoupled) {
        o.decoupled = u.weight_decay;
        u.weight_decay = 0;
    }
    ht_var before = nn_count_((nn_count_args){where, u.tape, u.state, "step", u.read_only});
    ht_var t = ht_cast_(ht_offset_(ht_cast_(before, HT_F64, where), 1, where), ht_tape_dtype(u.tape), where);
    o.first = rated(&u, correction(t, o.beta1, where));
    o.second = correction(t, o.beta2, where);
    return record_all(&u, adam_rule, &o);
}

ht_vars nn_adam_(nn_adam_args args) { return record_adam(args, "nn_adam", false); }

ht_vars nn_adamw_(nn_adam_args args) { return record_adam(args, "nn_adamw", true); }
