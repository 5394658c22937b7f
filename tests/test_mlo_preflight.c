/*
 * Planted mistakes of level graphs. Each must stop before anything is differentiated, and the message must name the level
 * and the tensor: a derivative that is silently zero, or that of another problem, is worse than none. The faultless graph passes.
 */
#include <stdio.h>
#include <string.h>

#include <ht/mlo.h>

#include "tap.h"

typedef enum mistake {
    NONE,
    DUPLICATE,      /* two levels of one name                                    */
    CYCLE,          /* a level that comes before one above it                    */
    HELD_LOWER,     /* an edge is held that does not come from the last level    */
    MISSING,        /* a loss asks for a level that is not there                 */
    CUT,            /* ht_stop on the path                                       */
    CUT_CAST,       /* an integer cast on the path                               */
    IN_NONE,        /* an unknown that no level has                              */
    STEP_LEAVES,    /* an optimiser that leaves an unknown out                   */
    IN_TWO,         /* an unknown in two levels                                  */
    UNUSED,         /* an unknown that its own loss does not see                 */
    SHORTCUT,       /* the lower level does not see the upper one                */
    NO_STEP,        /* unrolled without steps                                    */
    TOO_FAR,        /* truncated to more steps than there are                    */
    IMPLICIT_CUT,   /* as CUT, the level being implicit                          */
    MISTAKES
} mistake;

static ht_device *device;

static ht_var parameter(nn_scope s, const char *name) { return nn_parameter(s, name, HT_SHAPE(2), nn_constant(0.5)); }

typedef struct graph {
    mistake planted;
    nn_scope stray;
} graph;

static ht_var inner(const mlo_point *at, void *context)
{
    const graph *g = context;
    nn_scope w = mlo_at(at, "weights");
    ht_var x = parameter(mlo_at(at, g->planted == MISSING ? "penalties" : "penalty"), "theta");
    if (g->planted == CUT || g->planted == IMPLICIT_CUT) x = ht_stop(x);
    if (g->planted == CUT_CAST) x = ht_cast(ht_cast(x, HT_I32), HT_F64);
    if (g->planted == SHORTCUT) x = ht_fill(x.tape, 0.5, HT_SHAPE(2));
    ht_var a = parameter(w, "a"), b = g->planted == UNUSED ? a : parameter(w, "b");
    ht_var loss = ht_sum(ht_add(ht_mul(ht_exp(x), ht_square(a)), ht_square(ht_sub(b, a))));
    if (g->planted == IN_NONE) loss = ht_add(loss, ht_sum(ht_mul(parameter(g->stray, "gain"), a)));
    return loss;
}

static ht_var outer(const mlo_point *at, void *context)
{
    (void)context;
    nn_scope w = mlo_at(at, "weights");
    return ht_sum(ht_square(ht_offset(ht_add(parameter(w, "a"), parameter(w, "b")), -1)));
}

static ht_vars forgetful(ht_vars w, ht_vars gradient, void *context)
{
    (void)context;
    ht_vars next = nn_sgd(w, gradient, .rate = 0.1);
    next.count--;
    return next;
}

static void record(mistake planted, mlo_round *round, ht_error *error)
{
    ht_store *weights = ht_store_new(device), *penalty = ht_store_new(device), *other = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    graph g = {planted, nn_open(tape, other, .name = "other")};
    nn_scope W = nn_open(tape, weights, .name = "weights"), X = nn_open(tape, penalty, .name = "penalty");
    parameter(W, "a");
    parameter(W, "b");
    parameter(X, "theta");
    mlo_level levels[] = {
        {"weights", W, inner, .rate = 0.1, .context = &g, .before = planted == CYCLE ? "penalty" : NULL,
         .step = planted == STEP_LEAVES ? forgetful : NULL, .hold = planted == HELD_LOWER ? "weights" : NULL,
         .steps = planted == NO_STEP ? MLO_NO_STEPS : 2, .truncate = planted == TOO_FAR ? 3 : 0,
         .solver = planted == IMPLICIT_CUT ? MLO_CG : MLO_UNROLLED},
        {.name = planted == DUPLICATE ? "weights" : "penalty", .scope = planted == IN_TWO ? W : X, .loss = outer},
    };
    *round = mlo_record(tape, levels, 2);
    *error = *ht_tape_error(tape);
    ht_tape_free(tape);
    ht_store_free(weights);
    ht_store_free(penalty);
    ht_store_free(other);
}

int main(void)
{
    static const char *const words[MISTAKES][3] = {
        [DUPLICATE] = {"levels", "share a name", "\"weights\""},
        [CYCLE] = {"\"weights\"", "comes before \"penalty\"", "cycle"},
        [HELD_LOWER] = {"level \"weights\" holds \"weights\"", "last level", ""},
        [MISSING] = {"the loss of \"weights\"", "level \"penalties\"", "there is none"},
        [CUT] = {"\"theta\" of level \"penalty\"", "cut at", "by stop"},
        [CUT_CAST] = {"\"theta\" of level \"penalty\"", "cut at", "by truncate"},
        [IN_NONE] = {"the loss of level \"weights\"", "\"gain\"", "unknown of no level"},
        [STEP_LEAVES] = {"the step of level \"weights\"", "1 values for 2 unknowns", "\"b\""},
        [IN_TWO] = {"\"weights\" and \"penalty\"", "share the unknown", "\"a\""},
        [UNUSED] = {"\"b\" of level \"weights\"", "does not reach its loss", "no path"},
        [SHORTCUT] = {"\"theta\" of level \"penalty\"", "does not reach", "no path"},
        [NO_STEP] = {"level \"weights\"", ".steps -1", "expected"},
        [TOO_FAR] = {"level \"weights\"", ".truncate 3 of 2", "expected"},
        [IMPLICIT_CUT] = {"\"theta\" of level \"penalty\"", "cut at", "by stop"},
    };
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    for (mistake m = NONE; m < MISTAKES; m++) {
        mlo_round round;
        record(m, &round, &error);
        int named = m != NONE;
        for (int i = 0; named && i < 3; i++) named = strstr(error.message, words[m][i]) != NULL;
        if (m == NONE) tap_ok(error.status == HT_OK && round.total.count == 1, "the faultless graph passes: %s", error.message);
        else tap_ok(error.status == HT_EINVALID && named && round.total.count == 0, "mistake %d stops: %s", (int)m, error.message);
    }
    ht_device_close(device);
    return tap_done();
}
