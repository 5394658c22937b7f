/*
 * Levels taken as converged. From dL/dw (w*, x) = 0 follows dw* = - H^-1 d(dL/dw), so a cotangent v of w* becomes
 * - d <dL/dw, u> / dx with H u = v; from w* = F(w*, x) follows the fixed point's form. The solver is recorded, so the
 * result is a value of the tape; its own derivative is that of the formula as recorded.
 */
#include "internal.h"

/* The rate that Neumann's series and the identity stand on. */
static ht_var rate_of(const mlo_recording *r, const mlo_level *level)
{
    if (level->solver_rate == 0 && ht_ok(level->rate_from)) return level->rate_from;
    return ht_fill_(r->args.tape, level->solver_rate > 0 ? level->solver_rate : level->rate, HT_SCALAR, r->args.where);
}

static int32_t terms(const mlo_level *level) { return level->solver_steps > 0 ? level->solver_steps : MLO_SOLVER_STEPS; }

/* Adds weight (d outputs / d what the level sees)' u; w is a leaf, whatever led to it. */
static void hand_on(mlo_walk *walk, int32_t i, ht_vars outputs, ht_vars u, ht_vars w, ht_var weight)
{
    const mlo_recording *r = walk->r;
    ht_vars others = mlo_leaves(r, i), found = ht_vjp_(outputs, u, ht_vars_join(others, w), r->args.where);
    if (found.count < others.count) return;
    mlo_add_found(walk, i, ht_vars_new(r->args.tape, found.at, others.names, others.count), weight);
}

static void fixed_point(mlo_walk *walk, int32_t i, ht_vars v)
{
    mlo_recording *r = walk->r;
    const char *where = r->args.where;
    const mlo_taken *s = &r->taken[i][r->steps[i] - 1];
    ht_var one = ht_fill_(r->args.tape, 1, HT_SCALAR, where);
    ht_vars u = v;
    for (int32_t k = 1; k < terms(&r->args.levels[i]); k++)
        u = ht_add_scaled_(v, ht_vjp_(s->next, u, s->w, where), one, where);
    hand_on(walk, i, s->next, u, s->w, (ht_var){0});
    r->round.residual[i] = ht_norm_(ht_add_scaled_(s->next, s->w, ht_neg_(one, where), where), where);
}

void mlo_implicit_rule(mlo_walk *walk, int32_t i, ht_vars v)
{
    mlo_recording *r = walk->r;
    const mlo_level *level = &r->args.levels[i];
    const char *where = r->args.where;
    if (level->solver == MLO_FIXED_POINT) {
        fixed_point(walk, i, v);
        return;
    }
    ht_vars w = r->stepped[i];
    int32_t step = r->steps[i] > 0 ? r->steps[i] - 1 : 0; /* the data and draws of the last step */
    ht_vars gradient = ht_grad_(mlo_loss_at(r, i, w, step), w, where);
    r->round.residual[i] = ht_norm_(gradient, where);
    mlo_system system = {where, gradient, w, v, level->solver, terms(level), level->damping, {0}};
    if (level->solver == MLO_NEUMANN || level->solver == MLO_IDENTITY) system.rate = rate_of(r, level);
    hand_on(walk, i, gradient, mlo_solve(&system), w, ht_fill_(r->args.tape, -1, HT_SCALAR, where));
}
