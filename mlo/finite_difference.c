/*
 * The approximation that others use (DARTS; Betty's "darts"), for comparison only. A step from w with the gradient g, whose
 * result has the cotangent v, hands on u = (d step / d gradient)' v, and then
 *     d <gradient(w), u> / dx  ~  ( grad_x L(w + e u) - grad_x L(w - e u) ) / 2e,      e = radius / |u|
 * in everything x that its loss sees, w itself included if another step led there. Both probes record the loss with the
 * draws of the step (common random numbers); no weight is moved, since the probes are values of their own. Eqs. (10), (11).
 */
#include "internal.h"

static ht_vars part(ht_vars of, int32_t first, int32_t count, ht_vars named, ht_tape *tape)
{
    ht_vars none = {0};
    return of.count < first + count ? none : ht_vars_new(tape, of.at + first, named.names, count);
}

static ht_vars gradients(ht_var loss, ht_vars leaves, const char *where)
{
    return ht_vjp_(ht_list(loss), ht_list(ht_fill_(loss.tape, 1, ht_var_shape(loss), where)), leaves, where);
}

/* Hands v on past step t of phase p, and gives the cotangent of the values that the step came from. */
static ht_vars step_product(mlo_walk *walk, int32_t p, int32_t t, ht_vars v, int32_t group)
{
    mlo_recording *r = walk->r;
    const char *where = r->args.where;
    ht_tape *tape = r->args.tape;
    const mlo_phase *phase = mlo_phase_of(walk, p);
    const mlo_taken *s = &phase->taken[t];
    ht_vars others = mlo_leaves(walk, p);
    int32_t count = s->w.count;
    ht_vars pulled = ht_vjp_(s->next, v, ht_vars_join(ht_vars_join(s->gradient, s->w), others), where);
    ht_vars u = part(pulled, 0, count, s->w, tape), from = part(pulled, count, count, s->w, tape);
    mlo_add_found(walk, p, part(pulled, 2 * count, others.count, others, tape), (ht_var){0}, group); /* a step that sees them */
    ht_var tiny = ht_fill_(tape, 1e-30, HT_SCALAR, where);
    ht_var epsilon = ht_scale_(ht_reciprocal_(ht_maximum_(ht_norm_(u, where), tiny, where), where), r->args.radius, where);
    ht_var weight = ht_scale_(ht_reciprocal_(epsilon, where), 0.5, where);
    for (int32_t side = 0; side < 2; side++) {
        ht_vars probe = ht_add_scaled_(s->w, u, side ? ht_neg_(epsilon, where) : epsilon, where);
        ht_var loss = mlo_loss_at(r, phase, probe, phase->first + t);
        ht_vars found = gradients(loss, ht_vars_join(others, probe), where);
        ht_var factor = side ? ht_neg_(weight, where) : weight;
        mlo_add_found(walk, p, part(found, 0, others.count, others, tape), factor, group);
        if (t > 0 || phase->previous >= walk->since)
            from = ht_add_scaled_(from, part(found, others.count, count, s->w, tape), factor, where);
    }
    return from;
}

void mlo_difference_rule(mlo_walk *walk, int32_t p, ht_vars v, int32_t group)
{
    const mlo_recording *r = walk->r;
    const mlo_phase *phase = mlo_phase_of(walk, p);
    int32_t truncate = r->args.levels[phase->level].truncate, first = truncate > 0 ? phase->steps - truncate : 0;
    for (int32_t t = phase->steps - 1; t >= first && ht_tape_error(r->args.tape)->status == HT_OK; t--)
        v = step_product(walk, p, t, v, group);
    if (truncate == 0 && phase->previous >= walk->since) mlo_add_chain(walk, p, v);
}
