/*
 * The derivative level by level, from the last one down. Stepped values are leaves here: a level whose stepped values have
 * the cotangent v hands it on, by the rule of its method, to what its loss sees. So every level may have another method.
 * Symbolic zeros (constants of zero, as VJP gives them) are left out, and show what no path reaches.
 */
#include "internal.h"
#include "tape/tape_internal.h"

bool mlo_is_zero(ht_var x)
{
    return hti_is(x, HTI_OP_fill) && ((const hti_fill_attributes *)hti_node_of(x)->attributes)->value == 0;
}

/* List k of the walk; those of the levels i and above are not below i. */
static ht_vars list_of(const mlo_recording *r, int32_t k, int32_t i)
{
    int32_t last = r->args.count - 1;
    ht_vars none = {0};
    if (k < last) return k < i ? r->stepped[k] : none;
    return k == last ? r->start[last] : r->held;
}

ht_vars mlo_leaves(const mlo_recording *r, int32_t i)
{
    ht_vars all = {0};
    for (int32_t k = 0; k <= r->args.count; k++) {
        ht_vars list = list_of(r, k, i);
        if (list.count > 0) all = all.count > 0 ? ht_vars_join(all, list) : list;
    }
    return all;
}

ht_var mlo_add_one(ht_var to, ht_var part, ht_var weight, const char *where)
{
    if (mlo_is_zero(part)) return to;
    if (ht_ok(weight)) part = ht_mul_(part, weight, where);
    return !ht_ok(to) || mlo_is_zero(to) ? part : ht_add_(to, part, where);
}

void mlo_add_found(mlo_walk *walk, int32_t i, ht_vars found, ht_var weight)
{
    const mlo_recording *r = walk->r;
    for (int32_t k = 0, at = 0; k <= r->args.count; k++) {
        ht_vars list = list_of(r, k, i), *to = &walk->cotangent[k];
        if (list.count == 0 || at + list.count > found.count) continue;
        ht_var *sum = hti_arena_array(&r->args.tape->arena, list.count, sizeof *sum);
        if (!sum) {
            ht_tape_fail(r->args.tape, r->args.where, HT_ENOMEM, "mlo: the system gave no memory");
            return;
        }
        for (int32_t m = 0; m < list.count; m++) {
            ht_var before = to->count > 0 ? to->at[m] : (ht_var){0};
            sum[m] = mlo_add_one(before, found.at[at + m], weight, r->args.where);
            if (!ht_ok(sum[m])) sum[m] = found.at[at + m];
        }
        *to = (ht_vars){sum, list.names, list.count};
        at += list.count;
    }
}

static void exact_rule(mlo_walk *walk, int32_t i, ht_vars v)
{
    const mlo_recording *r = walk->r;
    mlo_add_found(walk, i, ht_vjp_(r->stepped[i], v, mlo_leaves(r, i), r->args.where), (ht_var){0});
}

static bool live(ht_vars v)
{
    for (int32_t k = 0; k < v.count; k++)
        if (!mlo_is_zero(v.at[k])) return true;
    return false;
}

void mlo_walk_levels(mlo_recording *r)
{
    int32_t last = r->args.count - 1;
    mlo_walk walk = {.r = r};
    ht_var loss = r->round.loss[last];
    if (ht_shape_count(ht_var_shape(loss)) != 1) {
        char text[HT_SHAPE_TEXT];
        ht_tape_fail(r->args.tape, r->args.where, HT_ESHAPE, "mlo: the loss of level \"%s\" is %s; expected a single number",
                     r->args.levels[last].name, ht_shape_text(ht_var_shape(loss), text));
        return;
    }
    ht_var one = ht_fill_(r->args.tape, 1, ht_var_shape(loss), r->args.where);
    mlo_add_found(&walk, last, ht_vjp_(ht_list(loss), ht_list(one), mlo_leaves(r, last), r->args.where), (ht_var){0});
    for (int32_t i = last - 1; i >= 0; i--) {
        ht_vars v = walk.cotangent[i];
        mlo_solver solver = r->args.levels[i].solver;
        if (!live(v)) continue;
        if (solver >= MLO_CG) mlo_implicit_rule(&walk, i, v);
        else if (solver == MLO_DIFFERENCE || r->args.method == MLO_FINITE_DIFFERENCE) mlo_difference_rule(&walk, i, v);
        else exact_rule(&walk, i, v);
        if (ht_tape_error(r->args.tape)->status != HT_OK) return;
    }
    if (!mlo_check_found(&walk, last, "")) return;
    if (r->held.count > 0 && !mlo_check_found(&walk, last + 1, " by the edges that are held")) return;
    ht_vars path = walk.cotangent[last], direct = walk.cotangent[last + 1];
    r->round.path = ht_vars_new(r->args.tape, path.at, r->start[last].names, path.count);
    if (direct.count > 0) r->round.direct = ht_vars_new(r->args.tape, direct.at, r->start[last].names, direct.count);
}
