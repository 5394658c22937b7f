/*
 * Multilevel optimisation: levels, each with unknowns, a loss and a step, and the derivative of the last loss with
 * respect to the last level's unknowns through the steps of all the others. Everything is tape; nothing is approximated
 * unless the method says so. Edges between levels are found on the tape, not declared.
 */
#ifndef HT_MLO_H
#define HT_MLO_H

#include <ht/nn.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MLO_LEVELS_MAX 8

/** Where a loss is recorded: it gives each level's values as that loss sees them. Lives during the call only. */
typedef struct mlo_point mlo_point;

/**
 * The scope of a level at the values that the loss being recorded sees:
 *     of a lower level    after its step (before it, if the loss' level names it in .before)
 *     of a higher level   as they are
 *     of its own          as they are, and its own opened scope, so that running statistics are written
 *     held                the same values at a place of their own (.hold)
 * Dropout draws by the level's .draw, so that probes of a finite difference repeat the draws of the loss.
 * EINVALID, kept by the tape, if there is no level of that name.
 */
nn_scope mlo_at(const mlo_point *at, const char *level);

/** One level. Its parameters must exist in the scope's store: record the network once before. */
typedef struct mlo_level {
    const char *name;
    nn_scope scope;                                       /* its unknowns: all parameters of the scope            */
    ht_var (*loss)(const mlo_point *at, void *context);   /* records the loss, a scalar                           */
    /* records the optimiser's step from w with the gradient given, and what it keeps; NULL: w - rate g           */
    ht_vars (*step)(ht_vars w, ht_vars gradient, void *context);
    double rate;                                          /* of w - rate g, the step of Eqs. (5) to (7)           */
    ht_var rate_from;                                     /* instead of rate: a scalar value                      */
    void *context;                                        /* handed to loss and step                              */
    const char *hold;                                     /* level whose values are constant in this loss, or NULL */
    const char *before;                                   /* lower level that this loss sees before its step      */
    const char *draw;                                     /* names its random draws; NULL: the level's name. Equal
                                                             names share one evaluation                           */
} mlo_level;

/** How the derivative is taken. */
typedef enum mlo_method {
    MLO_UNROLL = 0,        /* exactly: reverse mode through the recorded steps                                     */
    MLO_FINITE_DIFFERENCE, /* mixed products by central differences of gradients, radius / |v|, common draws; DARTS */
    MLO_NONE               /* not at all: the last level's loss is not recorded                                     */
} mlo_method;

/** Which step of the lower levels the higher ones look through. */
typedef enum mlo_look_ahead {
    MLO_SGD = 0,  /* w - rate g, as Eqs. (5) to (7) print it                          */
    MLO_OPTIMIZER /* the optimiser's own step, differentiated through its moments     */
} mlo_look_ahead;

typedef struct mlo_args {
    const char *where;
    ht_tape *tape;
    const mlo_level *levels; /* lowest first; the last one is the one that the derivative is for */
    int32_t count;
    mlo_method method;
    mlo_look_ahead look_ahead;
    double radius;           /* of finite differences                              (default 0.01) */
} mlo_args;

/** What one round records. Lists of a level stand at the level's index. */
typedef struct mlo_round {
    ht_var loss[MLO_LEVELS_MAX];
    ht_vars gradient[MLO_LEVELS_MAX]; /* of the lower levels                                              */
    ht_vars next[MLO_LEVELS_MAX];     /* after the step that the optimiser takes: what ht_write keeps     */
    ht_vars path;                     /* derivative through every edge that is not held (Eq. 9)           */
    ht_vars direct;                   /* derivative through the held edges; count 0 if nothing is held    */
    ht_vars total;                    /* their sum: the total derivative                                  */
} mlo_round;

/**
 * Records one round: each lower level's loss, gradient and step, in order, then the last level's loss and its
 * derivative. Before anything is differentiated it is proven on the tape that each unknown of the last level reaches
 * its loss through edges that carry a derivative, along the held and along the other edges; if not, the tape's error
 * names level, tensor and the place of the cut.
 * EINVALID also for: two levels of one name or on one store, fewer than two levels, more than MLO_LEVELS_MAX.
 */
#define mlo_record(...) mlo_record_((mlo_args){.where = HT_HERE, __VA_ARGS__})
mlo_round mlo_record_(mlo_args args);

/**
 * Checks the total derivative of a recorded round, on an F64 tape, against differences of the last loss through the whole
 * round: every level steps anew at each point.
 *     mlo_check(&round, 3, nn_params(architecture), device, .seed = 1)
 * count is the number of levels; the values are the last level's unknowns; then follows what ht_gradcheck takes, of which
 * .value, .gradient and .orders are set here. Methods that approximate need a .tolerance.
 */
#define mlo_check(round, count, ...) mlo_check_(round, count, (ht_gradcheck_args){.where = HT_HERE, .inputs = __VA_ARGS__})
ht_gradcheck_result mlo_check_(const mlo_round *round, int32_t count, ht_gradcheck_args args);

#ifdef __cplusplus
}
#endif
#endif
