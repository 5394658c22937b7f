/*
 * One round of levels on a tape: losses, gradients, steps, and the exact derivative of the last loss through all of them,
 * which is one reverse pass over what was recorded.
 */
#include <stdbool.h>
#include <string.h>

#include "internal.h"

static int32_t find(const mlo_recording *r, const char *name)
{
    for (int32_t i = 0; i < r->args.count; i++)
        if (strcmp(r->args.levels[i].name, name) == 0) return i;
    return -1;
}

static bool names(const char *one, const char *other) { return one && strcmp(one, other) == 0; }

nn_scope mlo_at(const mlo_point *at, const char *name)
{
    const mlo_recording *r = at->recording;
    const mlo_level *self = &r->args.levels[at->level];
    int32_t i = find(r, name);
    if (i < 0) {
        ht_tape_fail(r->args.tape, r->args.where, HT_EINVALID, "mlo: the loss of \"%s\" asks for level \"%s\"; there is none",
                     self->name, name);
        return self->scope;
    }
    const mlo_level *level = &r->args.levels[i];
    ht_vars values = {0};
    if (i == at->level) values = at->own;
    else if (names(self->hold, name)) values = r->held;
    else values = i < at->level && !names(self->before, name) ? r->stepped[i] : r->start[i];
    const char *draw = self->draw ? self->draw : self->name;
    if (values.count > 0) return nn_at(level->scope, values, .draw = draw);
    return nn_draw(level->scope, draw);
}

ht_var mlo_loss_at(const mlo_recording *r, int32_t level, ht_vars own)
{
    mlo_point point = {r, level, own};
    ht_scope_push(r->args.tape, r->args.levels[level].name);
    ht_var loss = r->args.levels[level].loss(&point, r->args.levels[level].context);
    ht_scope_pop(r->args.tape);
    return loss;
}

static bool check_levels(mlo_recording *r)
{
    const mlo_args *a = &r->args;
    if (a->count < 2 || a->count > MLO_LEVELS_MAX) {
        ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: %d levels; expected 2 to %d", (int)a->count, MLO_LEVELS_MAX);
        return false;
    }
    for (int32_t i = 0; i < a->count; i++) {
        const mlo_level *level = &a->levels[i];
        r->start[i] = nn_params_(level->scope, a->where);
        for (int32_t k = 0; k < i; k++)
            if (strcmp(level->name, a->levels[k].name) == 0 || (r->start[i].count > 0 && r->start[k].count > 0 &&
                                                                r->start[i].at[0].id == r->start[k].at[0].id))
                ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: levels \"%s\" and \"%s\" share a name or their unknowns; an "
                             "unknown belongs to one level", a->levels[k].name, level->name);
        if (level->hold && find(r, level->hold) != a->count - 1)
            ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\" holds \"%s\"; only the last level can be held",
                         level->name, level->hold);
        if (level->before && (find(r, level->before) < 0 || find(r, level->before) >= i))
            ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\" comes before \"%s\"; expected a lower level",
                         level->name, level->before);
        if (!level->loss)
            ht_tape_fail(a->tape, a->where, HT_EINVALID, "mlo: level \"%s\" has no loss", level->name);
    }
    return ht_tape_error(a->tape)->status == HT_OK;
}

static ht_vars plain_step(const mlo_level *level, ht_vars w, ht_vars gradient, const char *where)
{
    return nn_sgd_((nn_sgd_args){.where = where, .weights = w, .gradients = gradient, .rate = level->rate,
                                 .rate_from = level->rate_from});
}

static void lower_level(mlo_recording *r, int32_t i)
{
    const mlo_level *level = &r->args.levels[i];
    mlo_round *round = &r->round;
    round->loss[i] = mlo_loss_at(r, i, (ht_vars){0});
    round->gradient[i] = ht_grad_(round->loss[i], r->start[i], r->args.where);
    if (level->step) round->next[i] = level->step(r->start[i], round->gradient[i], level->context);
    bool own = level->step && r->args.look_ahead == MLO_OPTIMIZER;
    r->stepped[i] = own ? round->next[i] : plain_step(level, r->start[i], round->gradient[i], r->args.where);
    if (!level->step) round->next[i] = r->stepped[i];
}

/* Each unknown of the list must reach the last loss; the message says which one does not, and where it is cut. */
static bool reaches(const mlo_recording *r, ht_vars unknowns, const char *along)
{
    int32_t last = r->args.count - 1;
    char cut[240];
    for (int32_t i = 0; i < unknowns.count; i++) {
        if (ht_reaches(r->round.loss[last], unknowns.at[i], cut, sizeof cut)) continue;
        ht_tape_fail(r->args.tape, r->args.where, HT_EINVALID,
                     "mlo: \"%s\" of level \"%s\" does not reach its loss%s: %s; its derivative would be zero",
                     unknowns.names[i], r->args.levels[last].name, along, cut);
        return false;
    }
    return true;
}

static void exact(mlo_recording *r)
{
    mlo_round *round = &r->round;
    int32_t last = r->args.count - 1, count = r->start[last].count;
    ht_vars all = ht_grad_(round->loss[last], ht_vars_join(r->start[last], r->held), r->args.where);
    if (all.count < count) return;
    round->path = ht_vars_new(r->args.tape, all.at, r->start[last].names, count);
    if (r->held.count > 0) round->direct = ht_vars_new(r->args.tape, all.at + count, r->start[last].names, count);
}

static void sum(mlo_recording *r)
{
    mlo_round *round = &r->round;
    round->total = round->path;
    if (round->direct.count == 0 || round->path.count == 0) return;
    ht_var one = ht_fill(r->args.tape, 1, HT_SCALAR);
    round->total = ht_add_scaled(round->path, round->direct, one);
}

mlo_round mlo_record_(mlo_args args)
{
    mlo_recording r = {.args = args};
    if (r.args.radius == 0) r.args.radius = 0.01;
    if (!args.tape || ht_tape_error(args.tape)->status != HT_OK || !check_levels(&r)) return r.round;
    int32_t last = args.count - 1;
    bool holds = false;
    for (int32_t i = 0; i < last; i++) holds = holds || args.levels[i].hold;
    if (holds) r.held = ht_stop_all_(r.start[last], args.where);
    for (int32_t i = 0; i < last; i++) lower_level(&r, i);
    if (args.method == MLO_NONE) return r.round;
    r.round.loss[last] = mlo_loss_at(&r, last, (ht_vars){0});
    if (ht_tape_error(args.tape)->status != HT_OK) return r.round;
    if (!reaches(&r, r.start[last], "") || !reaches(&r, r.held, " by the edges that are held")) return r.round;
    if (args.method == MLO_UNROLL) exact(&r);
    else mlo_differences(&r);
    sum(&r);
    return r.round;
}
