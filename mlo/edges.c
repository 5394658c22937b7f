/*
 * Edges between levels: found on the tape, from the loss of a level at its first step; those that were declared, to have a
 * method of their own, are held against them. An edge that is not there would choose a method for nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "tape/tape_internal.h"

static uint32_t bit(int32_t level) { return (uint32_t)1 << level; }
static uint32_t below(int32_t level) { return bit(level) - 1; }

static bool fine(const mlo_recording *r) { return ht_tape_error(r->args.tape)->status == HT_OK; }

static bool any_of(ht_vars list, const bool *marked)
{
    for (int32_t i = 0; i < list.count; i++)
        if (marked[list.at[i].id]) return true;
    return false;
}

/* The levels whose values a loss depends on by edges that carry a derivative, other levels' values being places of their own. */
static uint32_t seen_by(const mlo_recording *r, int32_t i, ht_var loss)
{
    const ht_tape *tape = r->args.tape;
    uint32_t found = 0;
    bool *marked = calloc((size_t)tape->count, sizeof *marked), *ends = calloc((size_t)tape->count, sizeof *ends);
    if (!marked || !ends) {
        ht_tape_fail(r->args.tape, r->args.where, HT_ENOMEM, "mlo: the system gave no memory");
    } else {
        for (int32_t k = 0; k < r->args.count; k++)
            for (int32_t m = 0; k != i && m < r->current[k].count; m++) ends[r->current[k].at[m].id] = true;
        marked[loss.id] = true;
        for (int32_t id = loss.id; id > 0; id--)
            for (int32_t k = 0; marked[id] && !ends[id] && k < tape->nodes[id].inputs; k++)
                if (hti_carries(tape->nodes[id].op, k)) marked[tape->nodes[id].in[k].id] = true;
        for (int32_t k = 0; k < r->args.count; k++)
            if (k != i && (any_of(r->current[k], marked) || (k == r->args.count - 1 && any_of(r->held, marked)))) found |= bit(k);
    }
    free(marked);
    free(ends);
    return found;
}

/* What level i sees of lower levels, and what these see of lower ones still. */
static uint32_t under(const mlo_recording *r, int32_t i)
{
    uint32_t found = r->sees[i] & below(i);
    for (int32_t k = i - 1; k >= 0; k--)
        if (found & bit(k)) found |= r->sees[k] & below(k);
    return found;
}

/* The lower levels whose values after one turn depend on those of level i, each before those that see it. */
static uint32_t depending(const mlo_recording *r, int32_t i)
{
    uint32_t found = 0;
    for (int32_t k = 0; k < i; k++)
        if (r->sees[k] & (bit(i) | (found & below(k)))) found |= bit(k);
    return found;
}

/* The same after any number of turns. */
static uint32_t moving(const mlo_recording *r, int32_t i)
{
    uint32_t found = bit(i), before = 0;
    while (found != before) {
        before = found;
        for (int32_t k = 0; k < i; k++)
            if (r->sees[k] & found) found |= bit(k);
    }
    return found & below(i);
}

mlo_rule mlo_rule_of(const mlo_recording *r, int32_t level, int32_t from)
{
    const mlo_level *l = &r->args.levels[level];
    mlo_rule rule = {l->solver, l->solver_steps, l->solver_rate, l->damping};
    for (int32_t e = 0; e < MLO_LEVELS_MAX && l->edges[e].from; e++) {
        const mlo_edge *edge = &l->edges[e];
        if (from < 0 || strcmp(edge->from, r->args.levels[from].name) != 0) continue;
        rule.solver = edge->solver;
        if (edge->solver_steps > 0) rule.solver_steps = edge->solver_steps;
        if (edge->solver_rate > 0) rule.solver_rate = edge->solver_rate;
        if (edge->damping > 0) rule.damping = edge->damping;
    }
    if (rule.solver == MLO_UNROLLED && r->args.method == MLO_FINITE_DIFFERENCE) rule.solver = MLO_DIFFERENCE;
    return rule;
}

bool mlo_has_rules(const mlo_recording *r, uint32_t levels, mlo_solver most)
{
    for (int32_t i = 0; i < r->args.count - 1; i++)
        for (int32_t k = -1; (levels & bit(i)) && k < r->args.count; k++)
            if (mlo_rule_of(r, i, k).solver > most) return true;
    return false;
}

void mlo_check_declared(const mlo_recording *r, int32_t i)
{
    const mlo_args *a = &r->args;
    const mlo_level *level = &a->levels[i];
    uint32_t named = 0;
    for (int32_t e = 0; e < MLO_LEVELS_MAX && level->edges[e].from; e++) {
        const char *from = level->edges[e].from;
        int32_t k = mlo_find(r, from);
        if (i == a->count - 1)
            ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: the last level, \"%s\", has an edge from \"%s\"; expected none: "
                                                         "nothing passes its steps", level->name, from);
        else if (k < 0)
            ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\" has an edge from level \"%s\"; there is none of that "
                                                         "name", level->name, from);
        else if (k == i)
            ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\" has an edge from itself; expected another level: an "
                                                         "edge from a level to itself is a cycle", level->name);
        else if (named & bit(k))
            ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\" has two edges from \"%s\", whose first unknown is "
                         "\"%s\"; expected one: a duplicate edge would have two methods", level->name, from,
                         r->start[k].count > 0 ? r->start[k].names[0] : "");
        else named |= bit(k);
    }
}

/* A declared edge is one by which the loss sees a value that a derivative is on its way to. */
static void check_seen(const mlo_recording *r, int32_t i, ht_var loss)
{
    const mlo_args *a = &r->args;
    const mlo_level *level = &a->levels[i];
    char cut[240] = "";
    for (int32_t e = 0; e < MLO_LEVELS_MAX && level->edges[e].from; e++) {
        int32_t k = mlo_find(r, level->edges[e].from);
        ht_vars values = level->hold && k == a->count - 1 ? r->held : r->current[k];
        if (k < 0 || values.count == 0 || (r->sees[i] & bit(k))) continue;
        ht_reaches(loss, values.at[0], cut, sizeof cut);
        ht_tape_fail(a->tape, a->where, HT_EINVALID,
                     "mlo: level \"%s\" has an edge from \"%s\" that does not exist: its loss does "
                     "not depend on \"%s\": %s%s", level->name, a->levels[k].name, r->start[k].names[0], cut,
                     level->before && !strcmp(level->before, a->levels[k].name) ? " (it sees that level before its steps)" : "");
    }
}

/* An edge from this level to a lower one is there for this level's derivative, which must pass the lower level. */
static void check_used(const mlo_recording *r, int32_t i)
{
    const mlo_args *a = &r->args;
    for (int32_t k = 0; k < i; k++)
        for (int32_t e = 0; e < MLO_LEVELS_MAX && a->levels[k].edges[e].from; e++)
            if (mlo_find(r, a->levels[k].edges[e].from) == i && !(under(r, i) & bit(k)))
                ht_tape_fail(a->tape, a->where, HT_EINVALID,
                             "mlo: level \"%s\" has an edge from \"%s\", but the loss of \"%s\" does "
                             "not depend on what \"%s\" becomes of \"%s\": no derivative passes there", a->levels[k].name,
                             a->levels[i].name, a->levels[i].name, a->levels[k].name, r->start[k].names[0]);
}

/* What a level whose loss comes back to it through lower ones cannot have. */
static void check_nested(const mlo_recording *r, int32_t i)
{
    const mlo_args *a = &r->args;
    const mlo_level *level = &a->levels[i];
    bool implicit = mlo_has_rules(r, bit(i), MLO_DIFFERENCE), mixed = false;
    for (int32_t k = 0; k < a->count; k++) {
        mlo_solver solver = mlo_rule_of(r, i, k).solver;
        mixed = mixed || solver != mlo_rule_of(r, i, -1).solver;
        if (solver == MLO_DIFFERENCE || solver == MLO_FIXED_POINT)
            ht_tape_fail(a->tape, a->where, HT_EINVALID,
                         "mlo: level \"%s\" is followed by a lower level that its loss sees; expected "
                         "MLO_UNROLLED, MLO_CG, MLO_NORMAL_CG, MLO_NEUMANN or MLO_IDENTITY for it: differences and fixed points "
                         "of its own step would leave the lower level where it is", level->name);
    }
    if (mixed && r->steps[i] > 1)
        ht_tape_fail(a->tape, a->where, HT_EINVALID,
                     "mlo: level \"%s\" takes %d steps, each followed by a lower level that its loss "
                     "sees; expected one method for all of its edges", level->name, (int)r->steps[i]);
    if (level->truncate > 0 && level->truncate < r->steps[i])
        ht_tape_fail(a->tape, a->where, HT_EINVALID,
                     "mlo: level \"%s\" has .truncate %d, and is followed by a lower level between "
                     "its steps; expected 0", level->name, (int)level->truncate);
    for (int32_t k = 0; k < i; k++) {
        if (!(r->follow[i] & bit(k)) || (r->steps[i] < 2 && !implicit)) continue;
        if (r->steps[k] == 0)
            ht_tape_fail(a->tape, a->where, HT_EINVALID,
                         "mlo: level \"%s\" has to follow \"%s\" but takes no steps; expected .steps "
                         "of 1 or more, not MLO_NO_STEPS", a->levels[k].name, level->name);
        else if (a->levels[k].before)
            ht_tape_fail(a->tape, a->where, HT_EINVALID,
                         "mlo: level \"%s\" follows \"%s\" more than once, and sees \"%s\" before "
                         "its steps; expected no .before there", a->levels[k].name, level->name, a->levels[k].before);
        else if (implicit && a->levels[k].step && a->look_ahead == MLO_OPTIMIZER)
            ht_tape_fail(a->tape, a->where, HT_EINVALID,
                         "mlo: level \"%s\" follows \"%s\" by its optimiser, whose state a solver for "
                         "\"%s\" would write; expected w - rate g below an implicit level (MLO_SGD)", a->levels[k].name,
                         level->name, level->name);
    }
}

bool mlo_find_edges(mlo_recording *r, const mlo_phase *phase, ht_var loss)
{
    int32_t i = phase->level;
    r->sees[i] = seen_by(r, i, loss);
    if (!fine(r)) return false;
    r->follow[i] = moving(r, i);
    r->between[i] = depending(r, i) & under(r, i);
    check_seen(r, i, loss);
    check_used(r, i);
    if (i < r->args.count - 1 && r->between[i]) check_nested(r, i);
    return fine(r);
}
