/* Compositions: recorded in other ops at once, so they need no rule, no kernel and no test of closure of their own. */
#include <math.h>

#include "rules.h"

/* ---- softmax family: the largest is taken out as a constant, which changes neither value nor derivative ---- */

static ht_var shifted(ht_var x, int32_t axis, const char *where)
{
    return hti_shift(x, ht_max_along_(x, axis, where), where);
}

static ht_shape without(ht_var x, int32_t axis)
{
    ht_shape shape = ht_var_shape(x);
    if (axis >= 0 && axis < shape.rank) shape.dim[axis] = 1;
    return shape;
}

/*
 * The sum of e^z is at least 1, or 0 where a row is -infinity throughout. `any` is 1 or 0 accordingly; the sum is 1 instead
 * of 0, so that neither values nor derivatives of any order hold 0 / 0 or 0 times infinity.
 */
typedef struct row_sum {
    ht_var any, sum;
} row_sum;

static row_sum sum_of(ht_var e, int32_t axis, const char *where)
{
    ht_var sum = ht_sum_to_(e, without(e, axis), where);
    ht_var any = hti_emit(sum.tape, HTI_OP_positive, NULL, &sum, 1, where);
    return (row_sum){any, ht_ok(any) ? ht_where_(any, sum, hti_fill_like(sum, 1, where), where) : any};
}

/* What is -infinity, and carries no derivative, in rows that are -infinity throughout. */
static ht_var or_nothing(ht_var any, ht_var x, const char *where)
{
    return ht_ok(any) && ht_ok(x) ? ht_where_(any, x, hti_fill_like(x, -INFINITY, where), where) : x;
}

ht_var ht_logsumexp_(ht_var x, int32_t axis, const char *where)
{
    row_sum row = sum_of(ht_exp_(shifted(x, axis, where), where), axis, where);
    ht_var most = ht_max_along_(x, axis, where);
    return or_nothing(row.any, ht_add_(ht_log_(row.sum, where), most, where), where);
}

ht_var ht_log_softmax_(ht_var x, int32_t axis, const char *where)
{
    ht_var z = shifted(x, axis, where);
    row_sum row = sum_of(ht_exp_(z, where), axis, where);
    return or_nothing(row.any, ht_sub_(z, ht_log_(row.sum, where), where), where);
}

ht_var ht_softmax_(ht_var x, int32_t axis, const char *where)
{
    ht_var e = ht_exp_(shifted(x, axis, where), where);
    return ht_div_(e, sum_of(e, axis, where).sum, where);
}

/* ---- losses ---- */

/*
 * t softplus(-z) + (1 - t) softplus(z), as softplus(u) - r u with u = z and r = t where t is at most 1/2, else u = -z and
 * r = 1 - t. For the shorter softplus(z) - z t loses what is left, and its slope, where t is 1 and z large.
 */
ht_var ht_sigmoid_cross_entropy_(ht_var logits, ht_var target, const char *where)
{
    double all;
    if (!hti_broadcast_pair("sigmoid_cross_entropy", &logits, &target, where)) return (ht_var){0};
    bool flat = hti_fill_value(target, &all) && (all == 0 || all == 1);
    if (flat) return ht_mean_(ht_softplus_(all == 0 ? logits : ht_neg_(logits, where), where), where);
    ht_var above = ht_greater_(target, hti_fill_like(target, 0.5, where), where);
    ht_var rest = ht_where_(above, ht_affine_(target, -1, 1, where), target, where);
    ht_var u = ht_mul_(ht_affine_(above, -2, 1, where), logits, where);
    ht_var lower = ht_mul_(rest, u, where);
    return ht_mean_(ht_sub_(ht_softplus_(u, where), lower, where), where);
}

ht_var ht_dice_loss_(ht_var p, ht_var t, double smooth, const char *where)
{
    ht_var overlap = ht_affine_(ht_sum_(ht_mul_(p, t, where), where), 2, smooth, where);
    ht_var truth = ht_sum_(t, where), size = ht_offset_(ht_add_(ht_sum_(p, where), truth, where), smooth, where);
    return ht_affine_(ht_div_(overlap, size, where), -1, 1, where);
}

ht_var ht_charbonnier_(ht_var x, double delta, const char *where)
{
    return ht_sqrt_(ht_offset_(ht_square_(x, where), delta * delta, where), where);
}

/* ---- lists ---- */

ht_var ht_dot_(ht_vars u, ht_vars v, const char *where)
{
    ht_var sum = {0};
    ht_tape *tape = hti_tape_of(u.at, u.count);
    if (u.count != v.count)
        return ht_tape_fail(tape, where, HT_ESHAPE, "dot: lists of %d and %d values", (int)u.count, (int)v.count);
    for (int32_t i = 0; i < u.count; i++) {
        if (!ht_shape_equal(ht_var_shape(u.at[i]), ht_var_shape(v.at[i])))
            return ht_tape_fail(tape, where, HT_ESHAPE, "dot: the shapes of entry %d differ", (int)i);
        ht_var part = ht_sum_(ht_mul_(u.at[i], v.at[i], where), where);
        sum = i == 0 ? part : ht_add_(sum, part, where);
    }
    return sum;
}

ht_var ht_norm_(ht_vars u, const char *where) { return ht_safe_sqrt_(ht_dot_(u, u, where), where); }

ht_vars ht_scale_by_(ht_vars u, ht_var a, const char *where)
{
    ht_tape *tape = hti_tape_of(u.at, u.count);
    ht_var *out = tape ? hti_arena_array(&tape->arena, u.count, sizeof *out) : NULL;
    if (!out) return hti_empties(tape, u);
    for (int32_t i = 0; i < u.count; i++) out[i] = ht_mul_(u.at[i], a, where);
    return ht_vars_new(tape, out, u.names, u.count);
}

ht_vars ht_unit_(ht_vars u, const char *where)
{
    return ht_scale_by_(u, ht_reciprocal_(ht_norm_(u, where), where), where);
}

ht_vars ht_add_scaled_(ht_vars u, ht_vars v, ht_var a, const char *where)
{
    ht_tape *tape = hti_tape_of(u.at, u.count);
    if (tape && u.count != v.count) {
        ht_tape_fail(tape, where, HT_ESHAPE, "add_scaled: lists of %d and %d values", (int)u.count, (int)v.count);
        return hti_empties(tape, u);
    }
    ht_var *out = tape ? hti_arena_array(&tape->arena, u.count, sizeof *out) : NULL;
    if (!out) return hti_empties(tape, u);
    for (int32_t i = 0; i < u.count; i++) out[i] = ht_add_(u.at[i], ht_mul_(v.at[i], a, where), where);
    return ht_vars_new(tape, out, u.names, u.count);
}
