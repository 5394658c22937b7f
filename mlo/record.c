/*
 * One round of levels on a tape: losses, gradients, steps, and the exact derivative of the last loss through all of them,
 * which is one reverse pass over what was recorded. Levels with a rule of their own are walked one by one (walk.c).
 */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "tape/tape_internal.h"

int32_t mlo_find(const mlo_recording *r, const char *name)
{
    for (int32_t i = 0; i < r->args.count; i++)
        if (strcmp(r->args.levels[i].name, name) == 0) return i;
    return -1;
}

static bool names(const char *one, const char *other) { return one && strcmp(one, other) == 0; }

int32_t mlo_step(const mlo_point *at) { return at->step; }

/* Each step draws anew; what is recorded again for one step draws what that step drew. */
static const char *draw_name(const mlo_point *at, const mlo_level *self)
{
    const char *draw = self->draw ? self->draw : self->name;
    if (at->step == 0) return draw;
    char text[256];
    snprintf(text, sizeof text, "%s#%d", draw, (int)at->step);
    const char *kept = ht_tape_text(at->recording->args.tape, text);
    return kept ? kept : draw;
}

nn_scope mlo_at(const mlo_point *at, const char *name)
{
    const mlo_recording *r = at->recording;
    const mlo_level *self = &r->args.levels[at->level];
    int32_t i = mlo_find(r, name);
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
    const char *draw = draw_name(at, self);
    if (values.count > 0) return nn_at(level->scope, values, .draw = draw);
    return nn_draw(level->scope, draw);
}

ht_var mlo_loss_at(const mlo_recording *r, int32_t level, ht_vars own, int32_t step)
{
    mlo_point point = {r, level, own, step};
    ht_scope_push(r->args.tape, r->args.levels[level].name);
    ht_var loss = r->args.levels[level].loss(&point, r->args.levels[level].context);
    ht_scope_pop(r->args.tape);
    return loss;
}

static ht_vars plain_step(const mlo_level *level, ht_vars w, ht_vars gradient, const char *where)
{
    return nn_sgd_((nn_sgd_args){.where = where, .weights = w, .gradients = gradient, .rate = level->rate,
                                 .rate_from = level->rate_from});
}

/* One step of the look-ahead; the first one has its gradient already. */
static bool take(mlo_recording *r, int32_t i, int32_t t)
{
    const mlo_level *level = &r->args.levels[i];
    mlo_taken *s = &r->taken[i][t];
    s->w = t > 0 ? r->taken[i][t - 1].next : r->start[i];
    s->gradient = r->round.gradient[i];
    if (t > 0) {
        if (level->truncate > 0 && t == r->steps[i] - level->truncate) s->w = ht_stop_all_(s->w, r->args.where);
        s->gradient = ht_grad_(mlo_loss_at(r, i, s->w, t), s->w, r->args.where);
    }
    bool own = level->step && r->args.look_ahead == MLO_OPTIMIZER;
    if (level->step && (own || t == 0)) s->next = level->step(s->w, s->gradient, level->context);
    if (level->step && t == 0) r->round.next[i] = s->next;
    if (level->step && (own || t == 0) && !mlo_check_step(r, i, s->next)) return false;
    if (!own) s->next = plain_step(level, s->w, s->gradient, r->args.where);
    if (!level->step || own) r->round.next[i] = s->next;
    r->stepped[i] = s->next;
    return ht_tape_error(r->args.tape)->status == HT_OK;
}

static bool lower_level(mlo_recording *r, int32_t i)
{
    mlo_round *round = &r->round;
    round->loss[i] = mlo_loss_at(r, i, (ht_vars){0}, 0);
    if (ht_tape_error(r->args.tape)->status != HT_OK || !mlo_check_reach(r, i, r->start[i], "")) return false;
    round->gradient[i] = ht_grad_(round->loss[i], r->start[i], r->args.where);
    r->stepped[i] = round->next[i] = r->start[i];
    if (r->steps[i] == 0) return true;
    r->taken[i] = hti_arena_array(&r->args.tape->arena, r->steps[i], sizeof *r->taken[i]);
    if (!r->taken[i]) {
        ht_tape_fail(r->args.tape, r->args.where, HT_ENOMEM, "mlo: the system gave no memory");
        return false;
    }
    for (int32_t t = 0; t < r->steps[i]; t++)
        if (!take(r, i, t)) return false;
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

/* The derivative, by one reverse pass if it goes through recorded steps alone. */
static void derive(mlo_recording *r)
{
    int32_t last = r->args.count - 1;
    bool recorded = true; /* every path lies on the tape */
    for (int32_t i = 0; i < last; i++) recorded = recorded && r->args.levels[i].solver <= MLO_DIFFERENCE;
    if (recorded && (!mlo_check_reach(r, last, r->start[last], "") ||
                     !mlo_check_reach(r, last, r->held, " by the edges that are held")))
        return;
    bool unrolled = r->args.method == MLO_UNROLL;
    for (int32_t i = 0; i < last; i++) unrolled = unrolled && r->args.levels[i].solver == MLO_UNROLLED;
    if (unrolled) exact(r);
    else mlo_walk_levels(r);
    sum(r);
}

mlo_round mlo_record_(mlo_args args)
{
    mlo_recording r = {.args = args};
    if (r.args.radius == 0) r.args.radius = 0.01;
    if (!args.tape || ht_tape_error(args.tape)->status != HT_OK || !mlo_check_levels(&r)) return r.round;
    int32_t last = args.count - 1;
    bool holds = false;
    for (int32_t i = 0; i < last; i++) holds = holds || args.levels[i].hold;
    if (holds) r.held = ht_stop_all_(r.start[last], args.where);
    for (int32_t i = 0; i < last; i++)
        if (!lower_level(&r, i)) return r.round;
    if (args.method == MLO_NONE) return r.round;
    r.round.loss[last] = mlo_loss_at(&r, last, (ht_vars){0}, 0);
    if (ht_tape_error(args.tape)->status == HT_OK && mlo_check_owners(&r)) derive(&r);
    return r.round;
}
