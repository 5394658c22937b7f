/*
 * The approximation that others use (DARTS; Betty's "darts"), for comparison only. Levels are walked from the last down.
 * A level whose stepped values have the cotangent v hands on, through its step, u = (d step / d gradient)' v, and then
 *     d <gradient(w), u> / dx  ~  ( grad_x L(w + e u) - grad_x L(w - e u) ) / 2e,      e = radius / |u|
 * in everything x that its loss sees. Both probes record the loss with the draws of the round (common random numbers);
 * no weight is moved, since the probes are values of their own. Eqs. (10), (11).
 */
#include <stdbool.h>

#include "internal.h"

/* Lists, one behind the other, and their cotangents so far: stepped values of each lower level, the last level's, held. */
typedef struct sinks {
    ht_vars all;                      /* joined: leaves of every gradient, so that no path is counted twice */
    ht_vars cotangent;
    int32_t first[MLO_LEVELS_MAX + 1]; /* of each list; the list after the last one holds the held copies   */
} sinks;

static ht_vars part(const mlo_recording *r, const sinks *to, ht_vars of, int32_t list)
{
    int32_t lists = r->args.count, end = list < lists ? to->first[list + 1] : to->all.count;
    ht_vars none = {0};
    if (of.count < to->all.count || end <= to->first[list]) return none;
    const ht_vars *named = list < lists - 1 ? &r->stepped[list] : &r->start[lists - 1];
    return ht_vars_new(r->args.tape, of.at + to->first[list], named->names, end - to->first[list]);
}

static ht_vars gradients(ht_var loss, const sinks *to, const char *where)
{
    return ht_vjp_(ht_list(loss), ht_list(ht_fill_(loss.tape, 1, ht_var_shape(loss), where)), to->all, where);
}

/* w + e u as a constant: u was made from values of the levels above, and is no way for the probe to see them. */
static ht_vars probe(const mlo_recording *r, int32_t i, ht_vars u, ht_var epsilon)
{
    return ht_stop_all_(ht_add_scaled_(r->start[i], u, epsilon, r->args.where), r->args.where);
}

static void level_product(const mlo_recording *r, sinks *to, int32_t i)
{
    const char *where = r->args.where;
    ht_vars u = ht_vjp_(r->stepped[i], part(r, to, to->cotangent, i), r->round.gradient[i], where);
    ht_var tiny = ht_fill_(r->args.tape, 1e-30, HT_SCALAR, where);
    ht_var epsilon = ht_scale_(ht_reciprocal_(ht_maximum_(ht_norm_(u, where), tiny, where), where), r->args.radius, where);
    ht_var above = mlo_loss_at(r, i, probe(r, i, u, epsilon));
    ht_var below = mlo_loss_at(r, i, probe(r, i, u, ht_neg_(epsilon, where)));
    ht_var weight = ht_scale_(ht_reciprocal_(epsilon, where), 0.5, where);
    to->cotangent = ht_add_scaled_(to->cotangent, gradients(above, to, where), weight, where);
    to->cotangent = ht_add_scaled_(to->cotangent, gradients(below, to, where), ht_neg_(weight, where), where);
}

/* Whether the step of a level matters for the last loss at all. */
static bool matters(const mlo_recording *r, int32_t i)
{
    for (int32_t k = 0; k < r->stepped[i].count; k++)
        if (ht_reaches(r->round.loss[r->args.count - 1], r->stepped[i].at[k], NULL, 0)) return true;
    return false;
}

void mlo_differences(mlo_recording *r)
{
    int32_t last = r->args.count - 1;
    sinks to = {0};
    for (int32_t i = 0; i < last; i++) {
        to.first[i] = to.all.count;
        to.all = ht_vars_join(to.all, r->stepped[i]);
    }
    to.first[last] = to.all.count;
    to.all = ht_vars_join(to.all, r->start[last]);
    to.first[last + 1] = to.all.count;
    to.all = ht_vars_join(to.all, r->held);
    to.cotangent = gradients(r->round.loss[last], &to, r->args.where);
    for (int32_t i = last - 1; i >= 0; i--)
        if (matters(r, i)) level_product(r, &to, i);
    r->round.path = part(r, &to, to.cotangent, last);
    r->round.direct = part(r, &to, to.cotangent, last + 1);
}
