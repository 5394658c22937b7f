/*
 * Linear systems (H + damping) u = v as recorded values: H is never formed, only its products with vectors are. A solver
 * has a fixed number of steps. One that has converged goes on with steps of length exactly zero, chosen by ht_where with
 * safe denominators, so that neither value nor derivative divides by zero. Newton's step is one such system.
 */
#include "internal.h"

static ht_vars product(const mlo_system *s, ht_vars p)
{
    ht_vars q = ht_jvp_(s->gradient, s->w, p, s->where);
    if (s->damping == 0 || q.count == 0) return q;
    return ht_add_scaled_(q, p, ht_fill_(q.at[0].tape, s->damping, HT_SCALAR, s->where), s->where);
}

/* a / b where on, else 0. */
static ht_var quotient(ht_var on, ht_var a, ht_var b, const char *where)
{
    ht_var one = ht_fill_(a.tape, 1, HT_SCALAR, where), zero = ht_fill_(a.tape, 0, HT_SCALAR, where);
    return ht_where_(on, ht_div_(a, ht_where_(on, b, one, where), where), zero, where);
}

/* Whether a step changes anything: the residual is above rounding, and the denominator is not 0. */
static ht_var active(ht_var residual, ht_var floor, ht_var denominator, const char *where)
{
    ht_var zero = ht_fill_(floor.tape, 0, HT_SCALAR, where);
    ht_var divides = ht_greater_(ht_abs_(denominator, where), zero, where);
    return ht_mul_(ht_greater_(residual, floor, where), divides, where);
}

static ht_var rounding(ht_var square, const char *where)
{
    return ht_scale_(square, ht_tape_dtype(square.tape) == HT_F32 ? 1e-13 : 1e-30, where);
}

/*
 * Conjugate gradients (Hestenes and Stiefel, 1952) on H u = v; normal: on H H u = H v, without forming residuals of H H,
 * since H is symmetric.
 */
static ht_vars conjugate_gradients(const mlo_system *s, bool normal)
{
    const char *where = s->where;
    ht_vars x = {0}, r = s->v, g = normal ? product(s, r) : r, p = g;
    ht_var square = ht_dot_(g, g, where), floor = rounding(square, where);
    for (int32_t k = 0; k < s->steps && p.count > 0; k++) {
        ht_vars q = product(s, p);
        ht_var curvature = ht_dot_(normal ? q : p, q, where), on = active(square, floor, curvature, where);
        ht_var alpha = quotient(on, square, curvature, where);
        x = x.count > 0 ? ht_add_scaled_(x, p, alpha, where) : ht_scale_by_(p, alpha, where);
        r = ht_add_scaled_(r, q, ht_neg_(alpha, where), where);
        g = normal ? product(s, r) : r;
        ht_var next = ht_dot_(g, g, where);
        p = ht_add_scaled_(g, p, quotient(on, next, square, where), where);
        square = next;
    }
    return x;
}

static ht_vars neumann(const mlo_system *s, int32_t terms)
{
    ht_vars u = s->v;
    ht_var minus = ht_neg_(s->rate, s->where), one = ht_fill_(s->rate.tape, 1, HT_SCALAR, s->where);
    for (int32_t k = 1; k < terms; k++) { /* u = v + (1 - a H) u */
        ht_vars turned = product(s, u);
        u = ht_add_scaled_(ht_add_scaled_(s->v, u, one, s->where), turned, minus, s->where);
    }
    return ht_scale_by_(u, s->rate, s->where);
}

ht_vars mlo_solve(const mlo_system *s)
{
    if (s->gradient.count == 0 || s->v.count == 0) return (ht_vars){0};
    if (s->solver == MLO_CG || s->solver == MLO_NORMAL_CG) return conjugate_gradients(s, s->solver == MLO_NORMAL_CG);
    return neumann(s, s->solver == MLO_IDENTITY ? 1 : s->steps);
}

/* Unknowns that no gradient depends on would stay where they are: a step of zero that nobody asked for. */
static bool reaches_gradients(const mlo_newton_args *a)
{
    for (int32_t i = 0; i < a->weights.count; i++) {
        char cut[240] = "";
        bool reached = false;
        for (int32_t k = 0; k < a->gradients.count && !reached; k++)
            reached = ht_reaches(a->gradients.at[k], a->weights.at[i], cut, sizeof cut);
        if (reached) continue;
        ht_tape_fail(a->weights.at[i].tape, a->where, HT_EINVALID,
                     "mlo_newton: no gradient depends on unknown %d (\"%s\"): %s; expected a loss that is not linear in it, and "
                     "the values at which the gradients were recorded", (int)i, a->weights.names ? a->weights.names[i] : "", cut);
        return false;
    }
    return true;
}

ht_vars mlo_newton_(mlo_newton_args args)
{
    const char *where = args.where;
    ht_vars none = {0};
    if (args.weights.count == 0 || ht_tape_error(args.weights.at[0].tape)->status != HT_OK) return none;
    ht_tape *tape = args.weights.at[0].tape;
    if (args.gradients.count != args.weights.count || args.solver_steps < 0 || !(args.damping >= 0) || !(args.rate >= 0)) {
        ht_tape_fail(tape, where, HT_EINVALID, "mlo_newton: %d gradients of %d weights, .rate %g, .solver_steps %d, .damping %g; "
                     "expected one for each, and no number below 0", (int)args.gradients.count, (int)args.weights.count,
                     args.rate, (int)args.solver_steps, args.damping);
        return none;
    }
    if (!reaches_gradients(&args)) return none;
    mlo_system system = {where, args.gradients, args.weights, args.gradients, MLO_CG, args.solver_steps, args.damping, {0}};
    if (system.steps == 0) system.steps = MLO_SOLVER_STEPS;
    ht_vars u = mlo_solve(&system);
    ht_var rate = ht_ok(args.rate_from) ? args.rate_from : ht_fill_(tape, args.rate > 0 ? args.rate : 1, HT_SCALAR, where);
    return u.count == 0 ? none : ht_add_scaled_(args.weights, u, ht_neg_(rate, where), where);
}
