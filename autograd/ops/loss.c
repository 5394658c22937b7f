/* Losses that are recorded in other ops at once; those of the logistic and Dice kind that came first are in compose.c. */
#include "rules.h"

ht_var ht_l1_loss_(ht_var x, ht_var target, const char *where)
{
    return ht_mean_(ht_abs_(ht_sub_(x, target, where), where), where);
}

ht_var ht_l2_loss_(ht_var x, ht_var target, const char *where)
{
    return ht_mean_(ht_square_(ht_sub_(x, target, where), where), where);
}

ht_var ht_hinge_loss_(ht_var scores, ht_var side, const char *where)
{
    return ht_mean_(ht_relu_(ht_affine_(ht_mul_(scores, side, where), -1, 1, where), where), where);
}

ht_var ht_jaccard_loss_(ht_var p, ht_var t, double smooth, const char *where)
{
    ht_var both = ht_sum_(ht_mul_(p, t, where), where);
    ht_var truth = ht_sum_(t, where), either = ht_sub_(ht_add_(ht_sum_(p, where), truth, where), both, where);
    ht_var below = ht_offset_(either, smooth, where);
    return ht_affine_(ht_div_(ht_offset_(both, smooth, where), below, where), -1, 1, where);
}

/* -log p and -log(1 - p) of a logit are both softplus, exact at every magnitude. */
ht_var ht_weighted_cross_entropy_(ht_var logits, ht_var target, ht_var weight, const char *where)
{
    ht_var missed = ht_softplus_(ht_neg_(logits, where), where);
    ht_var miss = ht_mul_(ht_mul_(target, weight, where), missed, where);
    ht_var alarmed = ht_softplus_(logits, where);
    ht_var alarm = ht_mul_(ht_affine_(target, -1, 1, where), alarmed, where);
    return ht_mean_(ht_add_(miss, alarm, where), where);
}

/* (1 - p)^f = exp(-f softplus(z)): smooth where a power of 0 would not be. */
static ht_var focused(ht_var cost, ht_var opposite, double focus, const char *where)
{
    return focus == 0 ? cost : ht_mul_(cost, ht_exp_(ht_scale_(opposite, -focus, where), where), where);
}

ht_var ht_focal_loss_(ht_var logits, ht_var target, double focus, double balance, const char *where)
{
    if (!(focus >= 0) || !(balance >= 0 && balance < 1))
        return ht_tape_fail(logits.tape, where, HT_EINVALID, "focal_loss: focus %g and balance %g; expected a focus of at "
                            "least 0, and a balance from 0 to below 1", focus, balance);
    ht_var miss = ht_softplus_(ht_neg_(logits, where), where), alarm = ht_softplus_(logits, where);
    ht_var positive = ht_mul_(target, focused(miss, alarm, focus, where), where), rest = focused(alarm, miss, focus, where);
    ht_var negative = ht_mul_(ht_affine_(target, -1, 1, where), rest, where);
    if (balance > 0) {
        positive = ht_scale_(positive, balance, where);
        negative = ht_scale_(negative, 1 - balance, where);
    }
    return ht_mean_(ht_add_(positive, negative, where), where);
}
