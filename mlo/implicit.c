/*
 * Levels taken as converged. From dL/dw (w*, x) = 0 follows dw* = - H^-1 d(dL/dw), so a cotangent v of w* becomes
 * - d <dL/dw, u> / dx with H u = v; from w* = F(w*, x) follows the fixed point's form. The solver is recorded, so the
 * result is a value of the tape; its own derivative is that of the formula as recorded.
 */
#include "internal.h"

/* The rate that Neumann's series and the identity stand on. */
static ht_var rate_of(const mlo_recording *r, const mlo_level *level, const mlo_rule *rule)
{
    if (rule->solver_rate == 0 && ht_ok(level->rate_from)) return level->rate_from;
    return ht_fill_(r->args.tape, rule->solver_rate > 0 ? rule->solver_rate : level->rate, HT_SCALAR, r->args.where);
}

static int32_t terms(const mlo_rule *rule) { return rule->solver_steps > 0 ? rule->solver_steps : MLO_SOLVER_STEPS; }

/* Adds weight (d outputs / d what the level sees)' u; w is a leaf, whatever led to it. */
static void hand_on(mlo_walk *walk, int32_t p, ht_vars outputs, ht_vars u, ht_vars w, ht_var weight, int32_t group)
{
    const mlo_recording *r = walk->r;
    ht_vars others = mlo_leaves(walk, p), found = ht_vjp_(outputs, u, ht_vars_join(others, w), r->args.where);
    if (found.count < others.count) return;
    mlo_add_found(walk, p, ht_vars_new(r->args.tape, found.at, others.names, others.count), weight, group);
}

/* A level that is taken as converged at several places has the largest of their residuals. */
static void keep_residual(mlo_recording *r, int32_t i, ht_var residual)
{
    ht_var *kept = &r->round.residual[i];
    *kept = ht_ok(*kept) ? ht_maximum_(*kept, residual, r->args.where) : residual;
}

static void fixed_point(mlo_walk *walk, int32_t p, ht_vars v, int32_t group, const mlo_rule *rule)
{
    mlo_recording *r = walk->r;
    const char *where = r->args.where;
    const mlo_phase *phase = mlo_phase_of(walk, p);
    const mlo_taken *s = &phase->taken[phase->steps - 1];
    ht_var one = ht_fill_(r->args.tape, 1, HT_SCALAR, where);
    ht_vars u = v, leaves = ht_vars_join(s->w, mlo_leaves(walk, p));
    for (int32_t k = 1; k < terms(rule) && ht_tape_error(r->args.tape)->status == HT_OK; k++) {
        ht_vars pulled = ht_vjp_(s->next, u, leaves, where);
        u = ht_add_scaled_(v, ht_vars_new(r->args.tape, pulled.at, s->w.names, pulled.count ? s->w.count : 0), one, where);
    }
    hand_on(walk, p, s->next, u, s->w, (ht_var){0}, group);
    keep_residual(r, phase->level, ht_norm_(ht_add_scaled_(s->next, s->w, ht_neg_(one, where), where), where));
}

void mlo_implicit_rule(mlo_walk *walk, int32_t p, ht_vars v, int32_t group, const mlo_rule *rule)
{
    mlo_recording *r = walk->r;
    const mlo_phase *phase = mlo_phase_of(walk, p);
    const char *where = r->args.where;
    if (rule->solver == MLO_FIXED_POINT) {
        fixed_point(walk, p, v, group, rule);
        return;
    }
    ht_vars w = phase->end, gradient = mlo_gradient_at_end(r, phase);
    keep_residual(r, phase->level, ht_norm_(gradient, where));
    mlo_system system = {where, gradient, w, v, rule->solver, terms(rule), rule->damping, {0}};
    if (rule->solver == MLO_NEUMANN || rule->solver == MLO_IDENTITY)
        system.rate = rate_of(r, &r->args.levels[phase->level], rule);
    ht_var minus = ht_fill_(r->args.tape, -1, HT_SCALAR, where);
    hand_on(walk, p, gradient, mlo_solve(&system), w, minus, group);
}
