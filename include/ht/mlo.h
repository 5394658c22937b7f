/*
 * Multilevel optimisation: levels, each with unknowns, a loss and a step, and the derivative of the last loss with
 * respect to the last level's unknowns through the steps, or the optimality conditions, of all the others. Everything is
 * tape; nothing is approximated unless the method says so. Edges between levels are found on the tape, not declared.
 * docs/mlo.md says which estimator is which. All steps are recorded; ht_compile's .memory_limit bounds what a run keeps.
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
 *     of a lower level    after its steps (before them, if the loss' level names it in .before)
 *     of a higher level   as they are
 *     of its own          as they are at this step; at the first step its own opened scope, so that running statistics
 *                         are written, once
 *     held                the same values at a place of their own (.hold)
 * Dropout draws by the level's .draw and the number of the step, so that probes repeat the draws of the loss.
 * EINVALID, kept by the tape, if there is no level of that name.
 */
nn_scope mlo_at(const mlo_point *at, const char *level);
/** Number of the inner step that the loss is recorded for, from 0: chooses its slice of the data. 0 in the last level. */
int32_t mlo_step(const mlo_point *at);
/**
 * Name of a stream of random numbers that this loss alone draws, at this step: (the level's .draw, step, name). So each
 * level has its own batches, and a probe or a solver that records the loss once more has those of the step it belongs to:
 *     ht_uniform(tape, HT_SHAPE(32), round, .stream = mlo_stream(at, "batch"))
 * In the tape's memory; NULL, and ENOMEM at the tape, without memory.
 */
const char *mlo_stream(const mlo_point *at, const char *name);

/** For .steps: the values are converged as they stand in the store. Implicit solvers only. */
#define MLO_NO_STEPS (-1)

/**
 * How a derivative passes a level whose loss is L(w, x), w its unknowns, w* their values after its steps, x everything
 * else that the loss sees. v is the cotangent of w*, H the second derivative of L in w at w*, plus .damping.
 */
typedef enum mlo_solver {
    MLO_UNROLLED = 0, /* through the recorded steps, all of them or the last .truncate: exact                        */
    MLO_DIFFERENCE,   /* through the same steps; products with second derivatives of L by central differences         */
    MLO_CG,           /* - d<dL/dw, u>/dx,  H u = v by conjugate gradients: H symmetric, positive                     */
    MLO_NORMAL_CG,    /* the same u by conjugate gradients on H H u = H v: any H that is not singular                 */
    MLO_NEUMANN,      /* the same with u = a (1 + (1 - a H) + ... ) v, .solver_steps terms, a = .solver_rate          */
    MLO_FIXED_POINT,  /* w* = F(w*, x), F the last recorded step: u = (1 + F_w' + F_w'^2 + ...) v, then F_x' u         */
    MLO_IDENTITY      /* the same as MLO_NEUMANN with one term: u = a v, as if H were 1/a                             */
} mlo_solver;

/**
 * How the derivative passes a level on its way to another one whose values its loss sees: the edge from that level. Edges
 * are found on the tape; one is named only where its method is not the level's. 0 in the other fields: the level's.
 */
typedef struct mlo_edge {
    const char *from;            /* a lower level, the last one, or one between whose own loss comes back to this level */
    mlo_solver solver;
    int32_t solver_steps;
    double solver_rate, damping;
} mlo_edge;

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
    int32_t steps;                                        /* of the look-ahead (default 1), or MLO_NO_STEPS; of each
                                                             turn where a higher level is nested                   */
    int32_t truncate;                                     /* only so many last steps carry a derivative; 0: all   */
    mlo_solver solver;                                    /* how the derivative passes this level                 */
    int32_t solver_steps;                                 /* of the solver, all of them recorded     (default 10) */
    double solver_rate;                                   /* a of Neumann and identity (default: the level's rate) */
    double damping;                                       /* added to the second derivative, but of a fixed point
                                                             (default 0)                                           */
    mlo_edge edges[MLO_LEVELS_MAX];                       /* those with a method of their own:
                                                             {{.from = "penalty", .solver = MLO_CG}}               */
} mlo_level;

/** How the derivative is taken. */
typedef enum mlo_method {
    MLO_UNROLL = 0,        /* by each level's .solver                                                              */
    MLO_FINITE_DIFFERENCE, /* the same, with MLO_DIFFERENCE for MLO_UNROLLED: common draws, radius / |v|; DARTS      */
    MLO_NONE               /* not at all: the last level's loss is not recorded                                     */
} mlo_method;

/** Which step of the lower levels the higher ones look through. */
typedef enum mlo_look_ahead {
    MLO_SGD = 0,  /* w - rate g, as Eqs. (5) to (7) print it                                                    */
    MLO_OPTIMIZER /* the optimiser's own step, differentiated through its moments. Several steps chain only if
                     the step writes its state (no .read_only)                                                  */
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
    ht_var loss[MLO_LEVELS_MAX];      /* of lower levels: at the first step                               */
    ht_vars gradient[MLO_LEVELS_MAX]; /* of the lower levels, at the first step                           */
    ht_vars next[MLO_LEVELS_MAX];     /* what ht_write keeps: after the look-ahead; where the look-ahead is
                                         MLO_SGD and the level has a .step, after one step by it          */
    ht_var residual[MLO_LEVELS_MAX];  /* of levels with an implicit solver: |dL/dw| at w*, |F(w) - w| of a
                                         fixed point. Implicit derivatives mean nothing where it is large  */
    ht_vars path;                     /* derivative through every edge that is not held (Eq. 9)           */
    ht_vars direct;                   /* derivative through the held edges; count 0 if nothing is held    */
    ht_vars total;                    /* their sum: the total derivative                                  */
} mlo_round;

/**
 * Records one round: each lower level's loss, gradient and steps, in order, then the last level's loss and its
 * derivative. A derivative is a value of the tape by whatever method: solvers record a fixed number of steps, and those
 * that come after convergence change nothing.
 *
 * A level whose own loss sees a lower one that follows it is nested: its gradient is the total derivative of its loss, by
 * the rule of each edge, and before each of its steps but the first the lower levels that follow it take their steps anew,
 * from where they are. Nested levels are unrolled, or by CG, normal CG, Neumann or identity.
 *
 * EINVALID, naming level and tensor, for: two levels of one name; an unknown in two levels; an unknown that is read
 * below a loss and is in no level (ht_stop what is meant to be constant); a level that no level is named after; .hold or
 * .before of a level that does not come where it must; a step that does not give one value for each unknown; an unknown
 * that does not reach its own loss, or one of the last level that does not reach the last loss through edges that carry
 * a derivative, along the held and along the other edges: with the place of the cut; an edge that is named twice, does not
 * exist or that no derivative passes; a nested level by a method that it cannot have; fewer than two levels, more than
 * MLO_LEVELS_MAX.
 */
#define mlo_record(...) mlo_record_((mlo_args){.where = HT_HERE, __VA_ARGS__})
mlo_round mlo_record_(mlo_args args);

typedef struct mlo_newton_args {
    const char *where;
    ht_vars weights, gradients;
    double rate;
    ht_var rate_from;
    int32_t solver_steps;
    double damping;
} mlo_newton_args;
/**
 * Newton's step for levels that are solved and not only trained: w - rate (H + damping)^-1 g, H the derivative of the
 * gradients g in the weights w, by .solver_steps steps of conjugate gradients (default 10). H must be symmetric and positive.
 * .rate or .rate_from is 1 by default; far from the solution the whole step may lead away, and nothing here looks for it.
 * As a level's .step it needs MLO_OPTIMIZER.
 *     return mlo_newton(w, gradient, .solver_steps = 20);
 * EINVALID for a weight that no gradient depends on.
 */
#define mlo_newton(...) mlo_newton_((mlo_newton_args){.where = HT_HERE, __VA_ARGS__})
ht_vars mlo_newton_(mlo_newton_args args);

/* ---- methods side by side ---- */

/** A problem that can be recorded again and again. What it writes into stores is not carried out here. */
typedef struct mlo_problem {
    /* opens its scopes on the tape, fills its levels (in memory of the context's), and returns .levels, .count, ... */
    mlo_args (*record)(ht_tape *tape, void *context);
    ht_status (*set)(ht_program *program, void *context);  /* sets the inputs that the program has; NULL: there are none */
    void *context;
} mlo_problem;

/**
 * A method by name. Fields stand for those of every lower level, and of all its edges; steps, truncate, ...: 0 leaves the
 * level's.
 */
typedef struct mlo_variant {
    const char *name;
    mlo_method method;
    mlo_solver solver;
    int32_t steps, truncate, solver_steps;
    double solver_rate, damping, radius;
    int32_t as_given; /* 1: .solver and .edges stay the levels' */
    size_t memory_limit;     /* of ht_compile: values are computed again so that the arena keeps it; 0: none */
} mlo_variant;

typedef struct mlo_row {
    const char *name;
    ht_status status;        /* of this variant; what follows is 0 unless HT_OK, and note says why */
    char note[160];
    double error, cosine;    /* against the first row or .reference: |h - h0| / |h0|, and the cosine between them */
    double norm, residual;   /* |h|; the largest residual of the implicit levels                    */
    double seconds;          /* of one ht_run, measured: the shortest of three                      */
    size_t arena_bytes;      /* what the compiled program holds for values                          */
    int64_t instructions;
    int64_t recomputed;      /* instructions that run again for .memory_limit */
} mlo_row;

typedef struct mlo_compare_args {
    ht_device *device;
    mlo_problem problem;
    mlo_row *rows;               /* the caller's, `room` of them                                   */
    int32_t room;
    const mlo_variant *variants; /* the first one is what the others are compared with             */
    int32_t count;               /* 0: mlo_variants                                                */
    const double *reference;     /* instead of the first row: a derivative known otherwise, tensor after tensor, of
                                    reference_count numbers in all                                 */
    int64_t reference_count;
    ht_dtype dtype;              /* of the tape, and of the problem's stores      (default HT_F64) */
    ht_error *error;
} mlo_compare_args;

#define MLO_VARIANTS 9
/** Unrolled, last step only, finite difference, identity, Neumann, fixed point, CG, normal CG, as the levels are given. */
extern const mlo_variant mlo_variants[MLO_VARIANTS];

/**
 * The total derivative of one problem by several methods, each recorded, compiled and run on its own. Returns the
 * number of rows, or -1 with a filled record if the first variant cannot be had, or has another count of numbers than the
 * reference. Stores are as before.
 */
#define mlo_compare(...) mlo_compare_((mlo_compare_args){__VA_ARGS__})
int32_t mlo_compare_(mlo_compare_args args);
/** The rows as a table. */
void mlo_compare_print(const mlo_row *rows, int32_t count, FILE *file);
/**
 * The same as JSON (UTF-8, as names are), for another program: a list of objects with the members method, error, cosine, norm,
 * residual, seconds, arena_bytes, instructions, or method and refused. Numbers have 17 digits; null: not finite.
 */
void mlo_compare_json(const mlo_row *rows, int32_t count, FILE *file);

/**
 * Checks the total derivative of a recorded round, on an F64 tape, against differences of the last loss through the whole
 * round: every level steps anew at each point.
 *     mlo_check(&round, 3, nn_params(architecture), device, .seed = 1)
 * count is the number of levels; the values are the last level's unknowns, as they were read before any ht_write to them;
 * then follows what ht_gradcheck takes, of which .value, .gradient and .orders are set here. Methods that approximate need
 * a .tolerance. A level with an implicit solver must have so many .steps that they converge: where the check fails, the
 * message says what residual they leave.
 */
#define mlo_check(round, count, ...) mlo_check_(round, count, (ht_gradcheck_args){.where = HT_HERE, .inputs = __VA_ARGS__})
ht_gradcheck_result mlo_check_(const mlo_round *round, int32_t count, ht_gradcheck_args args);

#ifdef __cplusplus
}
#endif
#endif
