/*
 * Activations and bounds as compositions: recorded in other ops at once, in forms that keep their accuracy where the value
 * is small and that form no infinity in a branch that is not taken. Samples stand with the op that does most of the work.
 */
#include "rules.h"

ht_var ht_silu_(ht_var x, const char *where) { return ht_mul_(x, ht_sigmoid_(x, where), where); }

ht_var ht_log_sigmoid_(ht_var x, const char *where)
{
    return ht_neg_(ht_softplus_(ht_neg_(x, where), where), where);
}

/* The normal distribution function is erfc(-x / sqrt 2) / 2: exact below zero too, where 1 + erf would cancel. */
ht_var ht_gelu_(ht_var x, const char *where)
{
    const double root_half = 0.70710678118654752;
    return ht_mul_(x, ht_scale_(ht_erfc_(ht_scale_(x, -root_half, where), where), 0.5, where), where);
}

/* (1 + tanh u) / 2 = sigmoid(2 u), which does not cancel either. */
ht_var ht_gelu_tanh_(ht_var x, const char *where)
{
    const double twice_root = 1.5957691216057308; /* 2 sqrt(2 / pi) */
    ht_var factor = ht_affine_(ht_square_(x, where), 0.044715 * twice_root, twice_root, where);
    return ht_mul_(x, ht_sigmoid_(ht_mul_(x, factor, where), where), where);
}

ht_var ht_elu_(ht_var x, double alpha, const char *where)
{
    ht_var above = hti_emit(x.tape, HTI_OP_positive, NULL, &x, 1, where);
    if (!ht_ok(above)) return above;
    ht_var low = ht_where_(above, hti_fill_like(x, 0, where), x, where);
    return ht_where_(above, x, ht_scale_(ht_expm1_(low, where), alpha, where), where);
}

ht_var ht_clamp_(ht_var x, double low, double high, const char *where)
{
    if (!ht_ok(x)) return hti_refuse_empty("clamp", x, where);
    if (!(low <= high))
        return ht_tape_fail(x.tape, where, HT_EINVALID, "clamp: bounds %g and %g; expected low <= high", low, high);
    ht_var least = hti_fill_like(x, low, where), most = hti_fill_like(x, high, where);
    ht_var raised = ht_where_(ht_less_(x, least, where), least, x, where);
    return ht_where_(ht_greater_(raised, most, where), most, raised, where);
}
