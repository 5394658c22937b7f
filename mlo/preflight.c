/*
 * What is proven before anything is differentiated: that levels are what they must be, that each unknown is in exactly one
 * of them, and that it reaches its loss. A mistake that would make a silent zero stops here, with level and tensor named.
 */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "tape/tape_internal.h"

static bool fine(const mlo_recording *r) { return ht_tape_error(r->args.tape)->status == HT_OK; }

/* No unknown of level i is one of level k. */
static void check_apart(const mlo_recording *r, int32_t i, int32_t k)
{
    const mlo_args *a = &r->args;
    if (strcmp(a->levels[i].name, a->levels[k].name) == 0)
        ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: levels %d and %d share a name, \"%s\"; each needs its own", (int)k,
                     (int)i, a->levels[i].name);
    for (int32_t x = 0; x < r->start[i].count; x++)
        for (int32_t y = 0; y < r->start[k].count; y++)
            if (r->start[i].at[x].id == r->start[k].at[y].id)
                ht_tape_fail(a->tape, a->where, HT_EINVALID,
                             "mlo: levels \"%s\" and \"%s\" share the unknown \"%s\"; an unknown belongs to one level",
                             a->levels[k].name, a->levels[i].name, r->start[i].names[x]);
}

static void check_edges(const mlo_recording *r, int32_t i)
{
    const mlo_args *a = &r->args;
    const mlo_level *level = &a->levels[i];
    if (level->hold && mlo_find(r, level->hold) != a->count - 1)
        ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\" holds \"%s\"; only the last level can be held",
                     level->name, level->hold);
    if (level->hold && i == a->count - 1)
        ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: the last level, \"%s\", holds itself; nothing would be derived",
                     level->name);
    int32_t before = level->before ? mlo_find(r, level->before) : -1;
    if (level->before && (before < 0 || before >= i))
        ht_tape_fail(a->tape, a->where, HT_EINVALID,
                     "mlo: level \"%s\" comes before \"%s\" and its \"%s\"; expected a lower level: "
                                                     "levels step from the lowest to the last, without a cycle",
                     level->name, level->before, before >= 0 && r->start[before].count > 0 ? r->start[before].names[0] : "");
    if (!level->loss) ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\" has no loss", level->name);
}

static void check_rule(const mlo_recording *r, int32_t i, const char *from, mlo_rule rule)
{
    const mlo_args *a = &r->args;
    const mlo_level *level = &a->levels[i];
    bool implicit = rule.solver >= MLO_CG, scaled = rule.solver == MLO_NEUMANN || rule.solver == MLO_IDENTITY;
    char edge[200] = "";
    if (from) snprintf(edge, sizeof edge, ", edge from \"%s\",", from);
    if (r->steps[i] < 0 || (r->steps[i] == 0 && (!implicit || rule.solver == MLO_FIXED_POINT)))
        ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\"%s has .steps %d; expected one step or more, or "
                                                     "MLO_NO_STEPS with MLO_CG, MLO_NORMAL_CG, MLO_NEUMANN, MLO_IDENTITY",
                     level->name, edge, (int)level->steps);
    if (rule.solver < MLO_UNROLLED || rule.solver > MLO_IDENTITY)
        ht_tape_fail(a->tape, a->where, HT_EINVALID,
                     "mlo: level \"%s\"%s has .solver %d; expected one of mlo_solver", level->name,
                     edge, (int)rule.solver);
    if (rule.solver_steps < 0 || !(rule.damping >= 0) || !(rule.solver_rate >= 0))
        ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\"%s has .solver_steps %d, .solver_rate %g, .damping %g; "
                                                     "expected none below 0",
                     level->name, edge, (int)rule.solver_steps, rule.solver_rate, rule.damping);
    if (scaled && rule.solver_rate == 0 && level->rate == 0 && !ht_ok(level->rate_from))
        ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\"%s has no .solver_rate and no rate; its solver would give "
                                                     "zero", level->name, edge);
}

static void check_numbers(mlo_recording *r, int32_t i)
{
    const mlo_args *a = &r->args;
    const mlo_level *level = &a->levels[i];
    r->steps[i] = level->steps == MLO_NO_STEPS ? 0 : level->steps ? level->steps : 1;
    check_rule(r, i, NULL, mlo_rule_of(r, i, -1));
    for (int32_t e = 0; e < MLO_LEVELS_MAX && level->edges[e].from; e++) {
        const mlo_edge *edge = &level->edges[e];
        mlo_rule own = {edge->solver, edge->solver_steps, edge->solver_rate, edge->damping};
        mlo_rule whole = mlo_rule_of(r, i, mlo_find(r, edge->from));
        check_rule(r, i, edge->from, own.solver_steps < 0 || !(own.damping >= 0) || !(own.solver_rate >= 0) ? own : whole);
    }
    if (level->truncate < 0 || level->truncate > (r->steps[i] > 0 ? r->steps[i] : 0))
        ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\" has .truncate %d of %d steps; expected 0 to %d",
                     level->name, (int)level->truncate, (int)r->steps[i], (int)r->steps[i]);
}

bool mlo_check_levels(mlo_recording *r)
{
    const mlo_args *a = &r->args;
    if (a->count < 2 || a->count > MLO_LEVELS_MAX) {
        ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: %d levels; expected 2 to %d", (int)a->count, MLO_LEVELS_MAX);
        return false;
    }
    for (int32_t i = 0; i < a->count && fine(r); i++) {
        if (!a->levels[i].name) {
            ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level %d has no name; each needs its own", (int)i);
            return false;
        }
        r->start[i] = nn_params_(a->levels[i].scope, a->where);
        for (int32_t k = 0; k < i; k++) check_apart(r, i, k);
    }
    for (int32_t i = 0; i < a->count && fine(r); i++) {
        check_edges(r, i);
        mlo_check_declared(r, i);
        if (i < a->count - 1 && fine(r)) check_numbers(r, i);
    }
    return fine(r);
}

bool mlo_check_step(const mlo_recording *r, int32_t level, ht_vars next)
{
    const mlo_args *a = &r->args;
    ht_vars w = r->start[level];
    if (!fine(r)) return false;
    const char *lacks = NULL;
    for (int32_t i = 0; i < w.count && !lacks; i++)
        if (i >= next.count || !ht_ok(next.at[i]) || !ht_shape_equal(ht_var_shape(next.at[i]), ht_var_shape(w.at[i])))
            lacks = w.names[i];
    if (!lacks && next.count == w.count) return true;
    ht_tape_fail(a->tape, a->where, HT_EINVALID,
                 "mlo: the step of level \"%s\" gives %d values for %d unknowns, and none that fits \"%s\"; expected one for "
                 "each, in their order", a->levels[level].name, (int)next.count, (int)w.count, lacks ? lacks : "any more");
    return false;
}

bool mlo_check_reach(const mlo_recording *r, int32_t level, ht_vars unknowns, const char *along)
{
    char cut[240];
    for (int32_t i = 0; i < unknowns.count; i++) {
        if (ht_reaches(r->round.loss[level], unknowns.at[i], cut, sizeof cut)) continue;
        ht_tape_fail(r->args.tape, r->args.where, HT_EINVALID,
                     "mlo: \"%s\" of level \"%s\" does not reach its loss%s: %s; its derivative would be zero",
                     unknowns.names[i], r->args.levels[level].name, along, cut);
        return false;
    }
    return true;
}

/* The level that has a value among its unknowns, or -1. */
static int32_t owner(const mlo_recording *r, int32_t id)
{
    for (int32_t i = 0; i < r->args.count; i++)
        for (int32_t k = 0; k < r->start[i].count; k++)
            if (r->start[i].at[k].id == id) return i;
    return -1;
}

bool mlo_check_owners(const mlo_recording *r)
{
    const ht_tape *tape = r->args.tape;
    for (int32_t s = 0; s < tape->slot_count; s++) {
        const hti_slot *slot = &tape->slots[s];
        if (ht_store_role(slot->store, slot->index) != HT_PARAMETER || slot->written || owner(r, slot->value.id) >= 0) continue;
        for (int32_t i = 0; i < r->args.count; i++) {
            if (!ht_reaches(r->round.loss[i], slot->value, NULL, 0)) continue;
            ht_tape_fail(r->args.tape, r->args.where, HT_EINVALID,
                         "mlo: the loss of level \"%s\" depends on \"%s\", which is an unknown of no level; give it to one "
                         "(networks are recorded once before), or make it constant by ht_stop or nn_at(.hold = 1)",
                         r->args.levels[i].name, ht_store_name(slot->store, slot->index));
            return false;
        }
    }
    return true;
}

bool mlo_check_found(const mlo_walk *walk, int32_t list, const char *along)
{
    const mlo_recording *r = walk->r;
    int32_t level = walk->level;
    ht_vars unknowns = list == walk->count ? r->start[level] : r->held, found = walk->cotangent[list];
    char cut[240] = "";
    for (int32_t i = 0; i < unknowns.count && fine(r); i++) {
        if (i < found.count && !mlo_is_zero(found.at[i])) continue;
        int32_t k = level;
        while (k >= 0 && ht_reaches(r->round.loss[k], unknowns.at[i], cut, sizeof cut)) k--;
        for (int32_t m = 0; m < level && !strncmp(cut, "no path", 7); m++)
            ht_reaches(r->round.loss[m], unknowns.at[i], cut, sizeof cut);
        ht_tape_fail(r->args.tape, r->args.where, HT_EINVALID,
                     "mlo: \"%s\" of level \"%s\" does not reach its loss%s through the levels between: %s; its derivative "
                     "would be zero", unknowns.names[i], r->args.levels[level].name, along, *cut ? cut : "no path leads there");
    }
    return fine(r);
}
