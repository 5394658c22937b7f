/*
 * The checker of derivatives, for users and for our own suite. Draws points and directions, runs, and judges: each number
 * is compared with one that was found in another way. Sizes of errors are relative to the sum of magnitudes that a number
 * is made of, so that cancellation is no excuse and no obstacle.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <ht/random.h>

#include "gradcheck.h"

/* Two ways through exact formulas agree up to rounding. */
#define AGREEMENT 1e-11
#define COORDINATES 2
/* Steps relative to the size of a move: the usual one, larger ones against rounding, smaller ones against kinks. */
static const double steps[] = {2e-3, 5e-3, 1.6e-2, 0.128, 8e-4, 2e-4, 5e-5, 1.25e-5, 3e-6, 7.5e-7};
#define STEPS ((int32_t)(sizeof steps / sizeof steps[0]))
#define LARGER_STEPS 3

/* One draw in progress. */
typedef struct draw {
    hti_gradcheck *g;
    ht_gradcheck_result *result;
    uint64_t key;
    int32_t number;
    double value;
    double scale[HTI_CHECK_ORDERS + 1]; /* of the scalar of each order: the sum of magnitudes */
} draw;

/* A derivative found by differences, for each order. */
typedef enum doubt { BELIEVED = 0, KINKED, DOUBTFUL, NOT_FINITE } doubt;
typedef struct differences {
    double value[HTI_CHECK_ORDERS];
    doubt why[HTI_CHECK_ORDERS];
} differences;

/* ---- random numbers ---- */

static double unit(uint64_t key, uint64_t stream, int64_t i) { return ht_random_unit(ht_random_word(key, stream, (uint64_t)i)); }

static void fill(double *numbers, int64_t count, uint64_t key, uint64_t stream, double low, double high)
{
    for (int64_t i = 0; i < count; i++) numbers[i] = low + (high - low) * unit(key, stream, i);
}

static void draw_point(draw *d)
{
    hti_gradcheck *g = d->g;
    double low = g->args->low, high = g->args->high;
    if (low == 0 && high == 0) low = -1, high = 1;
    for (int32_t k = 0; k < g->inputs; k++) {
        hti_checked *c = &g->checked[k];
        uint64_t stream = 8 * (uint64_t)k;
        double squares = 0;
        if (c->drawn) fill(c->base, c->count, d->key, stream, low, high);
        fill(c->direction, c->count, d->key, stream + 1, -1, 1);
        for (int32_t o = 0; o + 1 < g->orders; o++)
            fill(c->step[o], c->count, d->key, stream + 2 + (uint64_t)o, -1, 1);
        for (int64_t i = 0; i < c->count; i++) squares += c->base[i] * c->base[i];
        double typical = c->count > 0 ? sqrt(squares / (double)c->count) : 0;
        c->spread = c->drawn ? fmin((high - low) / 2, fmax(typical, DBL_MIN)) : typical > 0 ? fmin(typical, 1) : 1;
    }
    for (int32_t h = 0; h < g->helds; h++) {
        hti_held *held = &g->held[h];
        if (!held->drawn) continue;
        for (int64_t i = 0; i < held->count; i++) {
            double x = low + (high - low) * unit(d->key, 1000000 + (uint64_t)h, i);
            if (held->dtype == HT_F64) ((double *)held->numbers)[i] = x;
            else ((float *)held->numbers)[i] = (float)x;
        }
    }
}

/* Sets everything that stays during the draw; the probe has no directions, but what is not needed may be set. */
static void set_program(draw *d, ht_program *program)
{
    hti_gradcheck *g = d->g;
    for (int32_t h = 0; h < g->helds; h++) ht_set_named(program, g->held[h].input, g->held[h].numbers, g->held[h].count);
    if (g->args->set && g->args->set(program, g->args->context) != HT_OK && ht_program_error(program)->status == HT_OK)
        ht_fail(&g->error, HT_EINVALID, "gradcheck: .set gave up");
    for (int32_t k = 0; k < g->inputs; k++) {
        const hti_checked *c = &g->checked[k];
        ht_set(program, c->x, c->base, c->count);
        ht_set(program, c->along, c->direction, c->count);
        for (int32_t o = 0; o + 1 < g->orders; o++) ht_set(program, c->chain[o], c->step[o], c->count);
    }
}

/*
 * What errors of an order are relative to: what its numbers and those that it is the difference of are summed up from; and
 * a thousandth of what the lower orders are, since saturated terms leave their rounding behind when they cancel.
 */
static double size_of(const draw *d, int32_t order)
{
    double most = 0;
    for (int32_t o = 0; o <= order; o++) most = fmax(most, d->scale[o]);
    return d->scale[order - 1] + d->scale[order] + 1e-3 * most + DBL_MIN;
}

/* ---- differences ---- */

/* Runs with one input moved; `branches` receives which branches were taken, `scalars` the value of each order. */
static void probe(draw *d, int32_t k, const double *direction, int64_t coordinate, double by, double *scalars,
                  double *branches)
{
    hti_gradcheck *g = d->g;
    hti_checked *c = &g->checked[k];
    for (int64_t i = 0; i < c->count; i++)
        c->moved[i] = c->base[i] + (direction ? by * direction[i] : i == coordinate ? by : 0);
    ht_set(g->probe, c->x, c->moved, c->count);
    ht_run(g->probe);
    for (int32_t o = 0; o < g->orders; o++) ht_get_at(g->probe, o, &scalars[o], 1);
    for (int32_t b = 0; b < g->branches; b++) {
        ht_get_at(g->probe, g->orders + b, branches, g->branch_count[b]);
        branches += g->branch_count[b];
    }
}

static bool same_branches(const hti_gradcheck *g)
{
    return memcmp(g->branch_base, g->branch_now, (size_t)g->branch_total * sizeof(double)) == 0;
}

/* Central differences at h, h/2 and h/4, extrapolated twice; their doubt is the change by the first time. False at a kink. */
static bool extrapolate(draw *d, int32_t k, const double *direction, int64_t coordinate, double h, double *value,
                        double *change)
{
    hti_gradcheck *g = d->g;
    double slope[3][HTI_CHECK_ORDERS], above[HTI_CHECK_ORDERS], below[HTI_CHECK_ORDERS];
    bool smooth = true;
    for (int32_t i = 0; i < 3 && smooth; i++) {
        double by = ldexp(h, -i);
        probe(d, k, direction, coordinate, by, above, g->branch_now);
        smooth = same_branches(g);
        probe(d, k, direction, coordinate, -by, below, g->branch_now);
        smooth = smooth && same_branches(g);
        for (int32_t o = 0; o < g->orders; o++) slope[i][o] = (above[o] - below[o]) / (2 * by);
    }
    for (int32_t o = 0; smooth && o < g->orders; o++) {
        double first = (4 * slope[1][o] - slope[0][o]) / 3, second = (4 * slope[2][o] - slope[1][o]) / 3;
        value[o] = (16 * second - first) / 15;
        change[o] = fabs(second - first);
    }
    return smooth;
}

/* Looks for a step that can be believed, for every order at once; what is believed at one step stays. */
static differences difference(draw *d, int32_t k, const double *direction, int64_t coordinate)
{
    hti_gradcheck *g = d->g;
    differences found;
    double value[HTI_CHECK_ORDERS], change[HTI_CHECK_ORDERS];
    int32_t open = g->orders;
    /* what is left after two extrapolations grows as h^6: a coarser tolerance allows a step that rounding moves less */
    double unit_step = g->checked[k].spread * pow(g->args->tolerance / 1e-8, 1.0 / 6);
    for (int32_t o = 0; o < g->orders; o++) found.why[o] = KINKED;
    for (int32_t s = 0; s < STEPS && open > 0; s++) {
        bool smooth = extrapolate(d, k, direction, coordinate, steps[s] * unit_step, value, change);
        if (!smooth && s <= LARGER_STEPS) s = LARGER_STEPS; /* a kink is near: only smaller steps */
        for (int32_t o = 0; smooth && o < g->orders; o++) {
            double allowed = g->args->tolerance * size_of(d, o + 1);
            if (found.why[o] == BELIEVED) continue;
            found.value[o] = value[o];
            found.why[o] = !isfinite(value[o]) ? NOT_FINITE : change[o] <= allowed ? BELIEVED : DOUBTFUL;
            open -= found.why[o] == BELIEVED;
        }
    }
    ht_set(g->probe, g->checked[k].x, g->checked[k].base, g->checked[k].count);
    return found;
}

/* ---- judging ---- */

typedef struct check {
    int32_t input, order; /* order from 1 */
    const char *oracle;
    double got, expected, allowed;
    doubt why;
} check;

static void judge(draw *d, check c)
{
    static const char *const reasons[] = {"", "a kink is nearer than the smallest step", "no step gives a difference to "
                                          "believe", "the difference is not finite"};
    ht_gradcheck_result *r = d->result;
    char where[160];
    double scale = size_of(d, c.order), off = fabs(c.got - c.expected), relative = off == 0 ? 0 : off / scale;
    bool skipped = (c.why == KINKED || c.why == DOUBTFUL) && isfinite(c.got);
    bool good = !skipped && c.why == BELIEVED && isfinite(c.got) && relative <= c.allowed;
    bool first = good ? false : skipped ? r->skipped == 0 && r->failed == 0 : r->failed == 0;
    r->checks++;
    r->failed += !good && !skipped;
    r->skipped += skipped;
    if (!skipped && !(relative <= r->worst)) r->worst = relative;
    if (!first) return;
    snprintf(where, sizeof where, "input \"%.60s\", order %d, %s, seed %llu, draw %d", d->g->checked[c.input].name,
             (int)c.order, c.oracle, (unsigned long long)d->g->args->seed, (int)d->number);
    if (skipped) snprintf(r->message, sizeof r->message, "%s: skipped: %s", where, reasons[c.why]);
    else if (c.why == NOT_FINITE)
        snprintf(r->message, sizeof r->message, "%s: got %.17g; %s", where, c.got, reasons[c.why]);
    else
        snprintf(r->message, sizeof r->message, "%s: got %.17g; expected %.17g; they differ by %.3g of the size %.3g; allowed "
                 "are %.3g", where, c.got, c.expected, relative, scale, c.allowed);
}

static double exact_of(const draw *d, int32_t order, int32_t input, hti_exact which)
{
    double x = NAN;
    ht_get_at(d->g->exact, HTI_EXACT_KINDS * (d->g->inputs * (order - 1) + input) + (int32_t)which, &x, 1);
    return x;
}

/* The sums of magnitudes that the scalars of all orders are made of, from the gradients. */
static void measure(draw *d)
{
    hti_gradcheck *g = d->g;
    d->scale[0] = fabs(d->value);
    for (int32_t o = 0; o < g->orders; o++) {
        d->scale[o + 1] = 0;
        for (int32_t k = 0; k < g->inputs; k++) {
            const hti_checked *c = &g->checked[k];
            ht_get_at(g->exact, HTI_EXACT_KINDS * (g->inputs * o + k) + HTI_EXACT_GRADIENT, c->gradient[o], c->count);
            for (int64_t i = 0; i < c->count; i++) d->scale[o + 1] += fabs(c->gradient[o][i]);
        }
    }
}

static void check_formulas(draw *d, int32_t k)
{
    hti_gradcheck *g = d->g;
    for (int32_t order = g->args->from; order <= g->orders; order++) {
        check c = {k, order, "duality", exact_of(d, order, k, HTI_EXACT_REVERSE), exact_of(d, order, k, HTI_EXACT_FORWARD),
                   AGREEMENT, BELIEVED};
        judge(d, c);
        if (order == 1) continue;
        c.oracle = "mixed";
        c.got = exact_of(d, order, k, HTI_EXACT_FORWARD_LAST);
        c.expected = exact_of(d, order, k, HTI_EXACT_REVERSE_LAST);
        judge(d, c);
    }
}

static void check_direction(draw *d, int32_t k)
{
    hti_gradcheck *g = d->g;
    differences found = difference(d, k, g->checked[k].direction, -1);
    for (int32_t order = g->args->from; order <= g->orders; order++)
        judge(d, (check){k, order, "difference", exact_of(d, order, k, HTI_EXACT_REVERSE), found.value[order - 1],
                         g->args->tolerance, found.why[order - 1]});
}

/* Two entries of the gradient; the one that is further off, or that cannot be believed, speaks for both. */
static void check_coordinates(draw *d, int32_t k)
{
    hti_gradcheck *g = d->g;
    const hti_checked *in = &g->checked[k];
    check worst[HTI_CHECK_ORDERS];
    for (int32_t o = 0; o < g->orders; o++) worst[o] = (check){k, o + 1, "coordinate", 0, 0, g->args->tolerance, BELIEVED};
    for (int32_t i = 0; i < COORDINATES && in->count > 0; i++) {
        int64_t at = (int64_t)(unit(d->key, 2000000 + (uint64_t)k, i) * (double)in->count);
        differences found = difference(d, k, NULL, at);
        for (int32_t o = 0; o < g->orders; o++) {
            check c = worst[o];
            c.got = in->gradient[o][at];
            c.expected = found.value[o];
            c.why = found.why[o];
            bool settled = worst[o].why != BELIEVED || !isfinite(worst[o].got);
            bool further = !(fabs(c.got - c.expected) <= fabs(worst[o].got - worst[o].expected));
            if (!settled && (c.why != BELIEVED || further || i == 0)) worst[o] = c;
        }
    }
    for (int32_t order = g->args->from; order <= g->orders; order++) judge(d, worst[order - 1]);
}

static void run_draw(hti_gradcheck *g, ht_gradcheck_result *result, int32_t number)
{
    draw d = {.g = g, .result = result, .number = number, .key = ht_random_mix(g->args->seed, (uint64_t)number)};
    double scalars[HTI_CHECK_ORDERS];
    draw_point(&d);
    set_program(&d, g->exact);
    set_program(&d, g->probe);
    ht_run(g->exact);
    probe(&d, 0, NULL, -1, 0, scalars, g->branch_base);
    d.value = scalars[0];
    measure(&d);
    for (int32_t k = 0; k < g->inputs; k++) {
        if (g->args->gradient.count == 0) check_formulas(&d, k);
        check_direction(&d, k);
        check_coordinates(&d, k);
    }
}

ht_gradcheck_result ht_gradcheck_(ht_gradcheck_args args)
{
    ht_gradcheck_result result = {0};
    if (args.orders == 0) args.orders = args.gradient.count > 0 ? 1 : 2;
    if (args.from == 0) args.from = 1;
    if (args.draws == 0) args.draws = 1;
    if (args.tolerance == 0) args.tolerance = 1e-8;
    hti_gradcheck g = {.args = &args, .orders = args.orders};
    if (args.orders < 1 || args.orders > HTI_CHECK_ORDERS || args.from < 1 || args.from > args.orders || args.draws < 1 ||
        !(args.tolerance > 0) || !(args.low <= args.high))
        ht_fail(&g.error, HT_EINVALID, "gradcheck: orders %d to %d, %d draws, tolerance %g, range %g to %g; expected 1 <= from "
                "<= orders <= %d, at least one draw, a tolerance above 0, low <= high", (int)args.from, (int)args.orders,
                (int)args.draws, args.tolerance, args.low, args.high, HTI_CHECK_ORDERS);
    else if (hti_gradcheck_record(&g))
        for (int32_t i = 0; i < args.draws && g.error.status == HT_OK; i++) {
            run_draw(&g, &result, i);
            if (ht_program_error(g.exact)->status != HT_OK) g.error = *ht_program_error(g.exact);
            if (ht_program_error(g.probe)->status != HT_OK) g.error = *ht_program_error(g.probe);
        }
    if (g.error.status != HT_OK) {
        result.status = g.error.status;
        snprintf(result.message, sizeof result.message, "%s: %.400s", args.where, g.error.message);
    }
    ht_program_free(g.exact);
    ht_program_free(g.probe);
    ht_tape_free(g.tape);
    return result;
}
