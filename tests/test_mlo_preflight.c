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
    /* the seven of features.md, M5 */
    DUPLICATE_EDGE, /* two methods for one edge                                  */
    CYCLE,          /* a level that comes before one above it                    */
    MISSING,        /* a loss asks for a level that is not there                 */
    CUT,            /* ht_stop on the path                                       */
    CUT_CAST,       /* an integer cast on the path                               */
    IN_NONE,        /* an unknown that no level has                              */
    IN_TWO,         /* an unknown in two levels                                  */
    /* others */
    DUPLICATE,      /* two levels of one name                                    */
    HELD_LOWER,     /* an edge is held that does not come from the last level    */
    STEP_LEAVES,    /* an optimiser that leaves an unknown out                   */
    UNUSED,         /* an unknown that its own loss does not see                 */
    SHORTCUT,       /* the lower level does not see the upper one                */
    NO_STEP,        /* unrolled without steps                                    */
    TOO_FAR,        /* truncated to more steps than there are                    */
    IMPLICIT_CUT,   /* as CUT, the level being implicit                          */
    EDGE_CUT,       /* an edge is named that ht_stop cuts                        */
    EDGE_MISSING,   /* an edge from a level that is not there                    */
    EDGE_SELF,      /* an edge from the level itself                             */
    EDGE_LAST,      /* an edge to the last level                                 */
    EDGE_STEPS,     /* an edge through steps that are not taken                  */
    EDGE_BELOW,     /* an edge from a level that the loss does not see           */
    EDGE_UNUSED,    /* an edge that no derivative passes                         */
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
    if (g->planted == CUT || g->planted == IMPLICIT_CUT || g->planted == EDGE_CUT) x = ht_stop(x);
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

/* A level that sees only itself and the weights before their steps: no derivative of its own passes them. */
static ht_var beside(const mlo_point *at, void *context)
{
    (void)context;
    return ht_sum(ht_square(ht_sub(parameter(mlo_at(at, "beside"), "c"), parameter(mlo_at(at, "weights"), "a"))));
}

static ht_var inner_and_beside(const mlo_point *at, void *context)
{
    ht_var product = ht_mul(parameter(mlo_at(at, "beside"), "c"), parameter(mlo_at(at, "weights"), "a"));
    return ht_add(inner(at, context), ht_sum(product));
}

static void declare_edges(mistake planted, mlo_level *weights, mlo_level *penalty)
{
    switch (planted) {
    case DUPLICATE_EDGE: weights->edges[1] = (mlo_edge){.from = "penalty", .solver = MLO_IDENTITY}; /* fall through */
    case EDGE_CUT: weights->edges[0] = (mlo_edge){.from = "penalty", .solver = MLO_CG}; break;
    case EDGE_MISSING: weights->edges[0] = (mlo_edge){.from = "penalties", .solver = MLO_CG}; break;
    case EDGE_SELF: weights->edges[0] = (mlo_edge){.from = "weights", .solver = MLO_CG}; break;
    case EDGE_LAST: penalty->edges[0] = (mlo_edge){.from = "weights", .solver = MLO_CG}; break;
    case EDGE_STEPS:
        weights->steps = MLO_NO_STEPS;
        weights->solver = MLO_CG;
        weights->edges[0] = (mlo_edge){.from = "penalty", .solver = MLO_UNROLLED};
        break;
    case EDGE_BELOW:
    case EDGE_UNUSED: weights->edges[0] = (mlo_edge){.from = "beside", .solver = MLO_CG}; break;
    default: break;
    }
}

static void record(mistake planted, mlo_round *round, ht_error *error)
{
    ht_store *stores[4];
    for (int i = 0; i < 4; i++) stores[i] = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    graph g = {planted, nn_open(tape, stores[2], .name = "other")};
    nn_scope W = nn_open(tape, stores[0], .name = "weights"), X = nn_open(tape, stores[1], .name = "penalty");
    nn_scope C = nn_open(tape, stores[3], .name = "beside");
    parameter(W, "a");
    parameter(W, "b");
    parameter(X, "theta");
    parameter(C, "c");
    mlo_level levels[] = {
        {"weights", W, planted == EDGE_UNUSED ? inner_and_beside : inner, .rate = 0.1, .context = &g,
         .before = planted == CYCLE ? "penalty" : NULL, .step = planted == STEP_LEAVES ? forgetful : NULL,
         .hold = planted == HELD_LOWER ? "weights" : NULL, .steps = planted == NO_STEP ? MLO_NO_STEPS : 2,
         .truncate = planted == TOO_FAR ? 3 : 0, .solver = planted == IMPLICIT_CUT ? MLO_CG : MLO_UNROLLED},
        {.name = "beside", .scope = C, .loss = beside, .rate = 0.1, .before = "weights"},
        {.name = planted == DUPLICATE ? "weights" : "penalty", .scope = planted == IN_TWO ? W : X, .loss = outer},
    };
    declare_edges(planted, &levels[0], &levels[2]);
    *round = mlo_record(tape, levels, 3);
    *error = *ht_tape_error(tape);
    ht_tape_free(tape);
    for (int i = 0; i < 4; i++) ht_store_free(stores[i]);
}

int main(void)
{
    static const char *const words[MISTAKES][4] = {
        [DUPLICATE_EDGE] = {"a duplicate edge", "level \"weights\"", "two edges from \"penalty\"", "\"theta\""},
        [CYCLE] = {"a cycle", "\"weights\"", "comes before \"penalty\" and its \"theta\"", "cycle"},
        [MISSING] = {"a missing level", "the loss of \"weights\", on which \"a\"", "level \"penalties\"", "there is none"},
        [CUT] = {"a cut path", "\"theta\" of level \"penalty\"", "cut at", "by stop"},
        [CUT_CAST] = {"an integer cast on the path", "\"theta\" of level \"penalty\"", "cut at", "by truncate"},
        [IN_NONE] = {"an unknown in no optimiser", "the loss of level \"weights\"", "\"gain\"", "unknown of no level"},
        [IN_TWO] = {"an unknown in two", "\"weights\" and \"penalty\"", "share the unknown", "\"a\""},
        [DUPLICATE] = {"two levels of one name", "levels", "share a name", "\"weights\""},
        [HELD_LOWER] = {"a lower level that is held", "level \"weights\" holds \"weights\"", "last level", ""},
        [STEP_LEAVES] = {"a step that leaves one out", "the step of level \"weights\"", "1 values for 2 unknowns", "\"b\""},
        [UNUSED] = {"an unknown without use", "\"b\" of level \"weights\"", "does not reach its loss", "no path"},
        [SHORTCUT] = {"a level that sees nothing above", "\"theta\" of level \"penalty\"", "does not reach", "no path"},
        [NO_STEP] = {"unrolling no steps", "level \"weights\"", ".steps -1", "expected"},
        [TOO_FAR] = {"truncating to more than all", "level \"weights\"", ".truncate 3 of 2", "expected"},
        [IMPLICIT_CUT] = {"a cut path, implicit", "\"theta\" of level \"penalty\"", "cut at", "by stop"},
        [EDGE_CUT] = {"an edge that is cut", "an edge from \"penalty\" that does not exist", "\"theta\"", "by stop"},
        [EDGE_MISSING] = {"an edge from nowhere", "level \"weights\"", "\"penalties\"", "there is none"},
        [EDGE_SELF] = {"an edge from itself", "level \"weights\"", "itself", "cycle"},
        [EDGE_LAST] = {"an edge to the last level", "last level, \"penalty\"", "\"weights\"", "expected none"},
        [EDGE_STEPS] = {"an edge through no steps", "level \"weights\", edge from \"penalty\"", ".steps -1", "MLO_CG"},
        [EDGE_BELOW] = {"an edge that is not there", "an edge from \"beside\" that does not exist", "\"c\"", "no path"},
        [EDGE_UNUSED] = {"an edge that is not passed", "an edge from \"beside\"", "\"a\"", "no derivative passes"},
    };
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    for (mistake m = NONE; m < MISTAKES; m++) {
        mlo_round round;
        record(m, &round, &error);
        int named = m != NONE;
        for (int i = 1; named && i < 4; i++) named = strstr(error.message, words[m][i]) != NULL;
        if (m == NONE) tap_ok(error.status == HT_OK && round.total.count == 1, "the faultless graph passes: %s", error.message);
        else tap_ok(error.status == HT_EINVALID && named && round.total.count == 0, "%s stops: %s", words[m][0], error.message);
    }
    ht_device_close(device);
    return tap_done();
}
