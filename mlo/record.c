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

const char *mlo_stream(const mlo_point *at, const char *name)
{
    const mlo_recording *r = at->recording;
    char text[512];
    snprintf(text, sizeof text, "%s/%s", draw_name(at, &r->args.levels[at->phase->level]), name);
    const char *kept = ht_tape_text(r->args.tape, text);
    if (!kept) ht_tape_fail(r->args.tape, r->args.where, HT_ENOMEM, "mlo: the system gave no memory");
    return kept;
}

nn_scope mlo_at(const mlo_point *at, const char *name)
{
    const mlo_recording *r = at->recording;
    int32_t own = at->phase->level, i = mlo_find(r, name);
    const mlo_level *self = &r->args.levels[own];
    if (i < 0) {
        ht_tape_fail(r->args.tape, r->args.where, HT_EINVALID, "mlo: the loss of \"%s\", on which \"%s\" depends, asks for level "
                     "\"%s\"; there is none of that name",
                     self->name, r->start[own].count > 0 ? r->start[own].names[0] : "", name);
        return self->scope;
    }
    const mlo_level *level = &r->args.levels[i];
    ht_vars values = {0};
    if (i == own) values = at->own;
    else if (names(self->hold, name)) values = r->held;
    else values = names(self->before, name) ? r->start[i] : at->phase->seen[i];
    const char *draw = draw_name(at, self);
    if (values.count > 0) return nn_at(level->scope, values, .draw = draw);
    return nn_draw(level->scope, draw);
}

ht_var mlo_loss_at(const mlo_recording *r, const mlo_phase *phase, ht_vars own, int32_t step)
{
    const mlo_level *level = &r->args.levels[phase->level];
    mlo_point point = {r, phase, own, step};
    ht_scope_push(r->args.tape, level->name);
    ht_var loss = level->loss(&point, level->context);
    ht_scope_pop(r->args.tape);
    return loss;
}

static bool no_memory(const mlo_recording *r)
{
    ht_tape_fail(r->args.tape, r->args.where, HT_ENOMEM, "mlo: the system gave no memory");
    return false;
}

/* A phase of a level at the values that all levels have now; it becomes part of the round by add_phase. */
static mlo_phase *new_phase(mlo_recording *r, int32_t i, int32_t steps)
{
    mlo_phase *p = hti_arena_array(&r->args.tape->arena, 1, sizeof *p);
    mlo_taken *taken = hti_arena_array(&r->args.tape->arena, steps + 1, sizeof *taken);
    if (!p || !taken) {
        no_memory(r);
        return NULL;
    }
    *p = (mlo_phase){.level = i, .first = r->taken[i], .steps = steps, .previous = r->latest[i], .taken = taken,
                     .end = r->current[i]};
    memcpy(p->seen, r->current, sizeof p->seen);
    return p;
}

/* From now on the level has the values of the phase's end. */
static bool add_phase(mlo_recording *r, mlo_phase *p)
{
    if (r->phase_count == r->phase_room) {
        int32_t room = 2 * r->phase_room + MLO_LEVELS_MAX;
        mlo_phase **more = hti_arena_array(&r->args.tape->arena, room, sizeof *more);
        if (!more) return no_memory(r);
        for (int32_t i = 0; i < r->phase_count; i++) more[i] = r->phases[i];
        r->phases = more;
        r->phase_room = room;
    }
    r->current[p->level] = p->end;
    r->latest[p->level] = r->phase_count;
    r->phases[r->phase_count++] = p;
    r->since[p->level] = r->phase_count;
    return true;
}

/* Whether the level's loss comes back to it through a lower one by another way than recorded steps. */
static bool ruled(const mlo_recording *r, int32_t i) { return mlo_has_rules(r, r->between[i], MLO_UNROLLED); }

/*
 * Where a higher level has moved since, its values may have come from w: they are places of their own, for this level takes
 * the higher ones as they are.
 */
static ht_vars recorded_gradient(mlo_recording *r, int32_t i, ht_var loss, ht_vars w)
{
    const char *where = r->args.where;
    ht_vars leaves = w;
    for (int32_t k = i + 1; k < r->args.count; k++)
        if (r->latest[k] >= 0) leaves = ht_vars_join(leaves, r->current[k]);
    if (leaves.count == w.count || !ht_ok(loss)) return ht_grad_(loss, w, where);
    ht_vars found = ht_vjp_(ht_list(loss), ht_list(ht_fill_(loss.tape, 1, ht_var_shape(loss), where)), leaves, where);
    for (int32_t m = 0; m < w.count && m < found.count; m++)
        if (mlo_is_zero(found.at[m]))
            ht_tape_fail(r->args.tape, where, HT_EINVALID,
                         "mlo: \"%s\" of level \"%s\" does not reach its loss once the level has "
                         "stepped; its derivative would be zero", r->start[i].names[m], r->args.levels[i].name);
    return found.count < w.count ? found : ht_vars_new(r->args.tape, found.at, w.names, w.count);
}

/* The derivative of a level's loss in its own values, through what follows it too. */
static ht_vars own_gradient(mlo_recording *r, int32_t i, ht_var loss, ht_vars w, int32_t since)
{
    return ruled(r, i) ? mlo_walk_phases(r, i, loss, w, since, r->between[i]) : recorded_gradient(r, i, loss, w);
}

static ht_vars plain_step(const mlo_level *level, ht_vars w, ht_vars gradient, const char *where)
{
    return nn_sgd_((nn_sgd_args){.where = where, .weights = w, .gradients = gradient, .rate = level->rate,
                                 .rate_from = level->rate_from});
}

/* Step t of a phase; the first one of a level has its gradient already. */
static bool take(mlo_recording *r, mlo_phase *p, int32_t t)
{
    int32_t i = p->level, number = p->first + t;
    const mlo_level *level = &r->args.levels[i];
    mlo_taken *s = &p->taken[t];
    s->w = p->end;
    s->gradient = r->round.gradient[i];
    if (number > 0) {
        if (level->truncate > 0 && p->offset + t == r->steps[i] - level->truncate) s->w = ht_stop_all_(s->w, r->args.where);
        s->gradient = own_gradient(r, i, mlo_loss_at(r, p, s->w, number), s->w, r->since[i]);
    }
    bool own = level->step && r->args.look_ahead == MLO_OPTIMIZER;
    if (level->step && (own || number == 0)) s->next = level->step(s->w, s->gradient, level->context);
    if (level->step && number == 0) r->round.next[i] = s->next;
    if (level->step && (own || number == 0) && !mlo_check_step(r, i, s->next)) return false;
    if (!own) s->next = plain_step(level, s->w, s->gradient, r->args.where);
    if (!level->step || own) r->round.next[i] = s->next;
    p->end = s->next;
    return ht_tape_error(r->args.tape)->status == HT_OK;
}

/* The level's loss and gradient where the round begins. */
static bool first_loss(mlo_recording *r, const mlo_phase *p)
{
    int32_t i = p->level;
    r->round.loss[i] = mlo_loss_at(r, p, (ht_vars){0}, 0);
    if (!mlo_find_edges(r, p, r->round.loss[i])) return false;
    if (!ruled(r, i) && !mlo_check_reach(r, i, r->start[i], "")) return false;
    r->round.gradient[i] = own_gradient(r, i, r->round.loss[i], r->start[i], 0);
    r->round.next[i] = r->start[i];
    return true;
}

static bool turn(mlo_recording *r, int32_t i);

/* What moves with a level takes its steps once more. */
static bool follow(mlo_recording *r, int32_t i)
{
    for (int32_t k = 0; k < i; k++)
        if ((r->follow[i] >> k & 1) && !turn(r, k)) return false;
    return true;
}

/* The steps of a level, from where it is. A nested one is followed before each of them, so each is a phase. */
static bool turn(mlo_recording *r, int32_t i)
{
    mlo_phase *p = new_phase(r, i, r->steps[i]);
    if (!p || (p->first == 0 && !first_loss(r, p))) return false;
    int32_t each = r->between[i] && r->steps[i] > 0 ? 1 : r->steps[i], phases = each > 0 ? r->steps[i] / each : 1;
    for (int32_t k = 0; k < phases; k++) {
        if (k > 0 && (!follow(r, i) || !(p = new_phase(r, i, each)))) return false;
        p->steps = each;
        p->offset = k * each;
        for (int32_t t = 0; t < each; t++)
            if (!take(r, p, t)) return false;
        r->taken[i] += each;
        if (!add_phase(r, p)) return false;
    }
    return ht_tape_error(r->args.tape)->status == HT_OK;
}

ht_vars mlo_gradient_at_end(mlo_recording *r, const mlo_phase *phase)
{
    int32_t i = phase->level, step = phase->steps > 0 ? phase->first + phase->steps - 1 : phase->first;
    mlo_phase here = *phase;
    mlo_recording kept = *r;
    ht_vars none = {0};
    if (r->between[i]) {
        memcpy(r->current, phase->seen, sizeof r->current);
        r->current[i] = phase->end;
        if (!follow(r, i)) return none;
        memcpy(here.seen, r->current, sizeof here.seen);
    }
    ht_vars gradient = own_gradient(r, i, mlo_loss_at(r, &here, phase->end, step), phase->end, kept.phase_count);
    memcpy(kept.round.residual, r->round.residual, sizeof kept.round.residual);
    kept.phases = r->phases;
    kept.phase_room = r->phase_room;
    *r = kept;
    return gradient;
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
    uint32_t lower = ((uint32_t)1 << last) - 1;
    if (!mlo_has_rules(r, lower, MLO_DIFFERENCE) && /* then every path lies on the tape */
        (!mlo_check_reach(r, last, r->start[last], "") ||
         !mlo_check_reach(r, last, r->held, " by the edges that are held")))
        return;
    if (mlo_has_rules(r, lower, MLO_UNROLLED)) mlo_walk_phases(r, last, r->round.loss[last], r->start[last], 0, lower);
    else exact(r);
    sum(r);
}

/* The last level's loss, at what the lower ones became, and its derivative. */
static void last_level(mlo_recording *r)
{
    int32_t last = r->args.count - 1;
    mlo_phase *p = new_phase(r, last, 0);
    if (!p) return;
    r->round.loss[last] = mlo_loss_at(r, p, (ht_vars){0}, 0);
    if (ht_tape_error(r->args.tape)->status != HT_OK) return;
    if (mlo_check_owners(r) && mlo_find_edges(r, p, r->round.loss[last])) derive(r);
}

/* Of a round that was refused, every list may still be looked at. */
static mlo_round given(const mlo_recording *r)
{
    mlo_round round = r->round;
    ht_vars *lists[] = {&round.path, &round.direct, &round.total};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (!lists[i]->at) *lists[i] = hti_empties(r->args.tape, *lists[i]);
    for (int32_t i = 0; i < MLO_LEVELS_MAX; i++) {
        if (!round.gradient[i].at) round.gradient[i] = hti_empties(r->args.tape, round.gradient[i]);
        if (!round.next[i].at) round.next[i] = hti_empties(r->args.tape, round.next[i]);
    }
    return round;
}

mlo_round mlo_record_(mlo_args args)
{
    mlo_recording r = {.args = args};
    if (r.args.radius == 0) r.args.radius = 0.01;
    if (!args.tape || ht_tape_error(args.tape)->status != HT_OK || !mlo_check_levels(&r)) return given(&r);
    int32_t last = args.count - 1;
    bool holds = false;
    for (int32_t i = 0; i < last; i++) holds = holds || args.levels[i].hold;
    if (holds) r.held = ht_stop_all_(r.start[last], args.where);
    for (int32_t i = 0; i <= last; i++) {
        r.current[i] = r.start[i];
        r.latest[i] = -1;
    }
    for (int32_t i = 0; i < last; i++)
        if (!turn(&r, i)) return given(&r);
    if (args.method != MLO_NONE) last_level(&r);
    return given(&r);
}
