/* What the files of mlo/ share: the state of one recording, and the walk that derives it level by level. */
#ifndef MLO_INTERNAL_H
#define MLO_INTERNAL_H

#include <stdbool.h>

#include <ht/mlo.h>

/* One inner step: from w, with the gradient there, to next. */
typedef struct mlo_taken {
    ht_vars w, gradient, next;
} mlo_taken;

typedef struct mlo_recording {
    mlo_args args;
    mlo_round round;
    ht_vars start[MLO_LEVELS_MAX];     /* the unknowns' values when the round begins          */
    ht_vars stepped[MLO_LEVELS_MAX];   /* after the look-ahead; count 0 before it is recorded */
    ht_vars held;                      /* the last level's values at a place of their own     */
    mlo_taken *taken[MLO_LEVELS_MAX];  /* the steps of the look-ahead, in the tape's memory    */
    int32_t steps[MLO_LEVELS_MAX];
} mlo_recording;

struct mlo_point {
    const mlo_recording *recording;
    int32_t level;   /* whose loss is recorded                                             */
    ht_vars own;     /* its values, if not those of the start: a step, a probe; count 0    */
    int32_t step;
};

/*
 * Cotangents so far, of the lists through which levels see each other: list i < last is the stepped values of level i,
 * `last` the last level's values, `last + 1` the held ones.
 */
typedef struct mlo_walk {
    mlo_recording *r;
    ht_vars cotangent[MLO_LEVELS_MAX + 1];
} mlo_walk;

/* The loss of a level at a point. */
ht_var mlo_loss_at(const mlo_recording *r, int32_t level, ht_vars own, int32_t step);
/* The level of that name, or -1. */
int32_t mlo_find(const mlo_recording *r, const char *name);

/* ---- preflight.c: each says whether recording goes on; if not, the tape has the error ---- */
bool mlo_check_levels(mlo_recording *r);
/* Whether the step of a level gave one value of the right shape for each unknown. */
bool mlo_check_step(const mlo_recording *r, int32_t level, ht_vars next);
/* Whether each unknown of a level reaches the loss. */
bool mlo_check_reach(const mlo_recording *r, int32_t level, ht_vars unknowns, const char *along);
/* Whether every parameter that is read below a loss belongs to a level. */
bool mlo_check_owners(const mlo_recording *r);
/* The same as mlo_check_reach for what a walk found: a symbolic zero is an unknown that nothing reaches. */
bool mlo_check_found(const mlo_walk *walk, int32_t list, const char *along);

/* ---- walk.c ---- */
/* path and direct, level by level, each by its rule. */
void mlo_walk_levels(mlo_recording *r);
/* What level i's loss, or the last one, can depend on: the lists below i, the last level's, the held. */
ht_vars mlo_leaves(const mlo_recording *r, int32_t i);
/* Adds weight times what was found for mlo_leaves(i). An empty weight is 1. */
void mlo_add_found(mlo_walk *walk, int32_t i, ht_vars found, ht_var weight);
/* One value more: to + weight part, with symbolic zeros left out. */
ht_var mlo_add_one(ht_var to, ht_var part, ht_var weight, const char *where);
bool mlo_is_zero(ht_var x);

/* ---- the rules: hand the cotangent v of level i's stepped values on ---- */
void mlo_difference_rule(mlo_walk *walk, int32_t i, ht_vars v);
void mlo_implicit_rule(mlo_walk *walk, int32_t i, ht_vars v);

/* ---- solve.c: u of (H + damping) u = v, H = d gradient / d w ---- */
typedef struct mlo_system {
    const char *where;
    ht_vars gradient, w, v;
    mlo_solver solver;
    int32_t steps;
    double damping;
    ht_var rate; /* a scalar */
} mlo_system;
ht_vars mlo_solve(const mlo_system *system);

/* ---- run.c: programs of mlo_compare and mlo_check ---- */
/* Compiles and sets inputs; the program leaves no trace: it has none of the tape's writes. NULL and a filled record if refused. */
ht_program *mlo_program(const mlo_problem *problem, ht_tape *tape, ht_device *device, ht_vars outputs, size_t memory_limit,
                        ht_error *error);
/* Numbers in all of a list. */
int64_t mlo_numbers(ht_vars list);
/* Those of an output, or of a list of outputs from `first` on, as doubles: the tape's type is dtype. */
ht_status mlo_get(ht_program *program, int32_t first, const int64_t *counts, int32_t outputs, ht_dtype dtype, double *to);
double mlo_norm(const double *v, int64_t count);
/* The residuals that a round has, as outputs. */
ht_vars mlo_residuals(const mlo_round *round);

#endif
