/* What the files of mlo/ share: the state of one recording, its phases, and the walk that derives them one by one. */
#ifndef MLO_INTERNAL_H
#define MLO_INTERNAL_H

#include <stdbool.h>

#include <ht/mlo.h>

/* One inner step: from w, with the gradient there, to next. */
typedef struct mlo_taken {
    ht_vars w, gradient, next;
} mlo_taken;

/*
 * Steps of one level, in a row, while all other levels stand still. Most levels have one phase. A level whose own loss
 * comes back to it through a lower one has a phase for each step, and the lower one a phase before each of them.
 */
typedef struct mlo_phase {
    int32_t level;
    int32_t first, steps;          /* number of the first step; how many there are                   */
    int32_t offset;                /* steps of the same turn in earlier phases                       */
    int32_t previous;              /* the phase whose end this one begins with, or -1                */
    ht_vars seen[MLO_LEVELS_MAX];  /* values of all levels as it began                               */
    mlo_taken *taken;              /* in the tape's memory                                           */
    ht_vars end;
} mlo_phase;

typedef struct mlo_recording {
    mlo_args args;
    mlo_round round;
    ht_vars start[MLO_LEVELS_MAX];     /* the unknowns' values when the round begins                       */
    ht_vars current[MLO_LEVELS_MAX];   /* their values now                                                 */
    ht_vars held;                      /* the last level's values at a place of their own                  */
    mlo_phase **phases;                /* in the order of recording                                        */
    int32_t phase_count, phase_room;
    int32_t latest[MLO_LEVELS_MAX];    /* a level's latest phase, or -1                                    */
    int32_t since[MLO_LEVELS_MAX];     /* how many phases there were when its current values came about    */
    int32_t steps[MLO_LEVELS_MAX];     /* of one turn                                                      */
    int32_t taken[MLO_LEVELS_MAX];     /* steps so far                                                     */
    uint32_t sees[MLO_LEVELS_MAX];     /* bit k: the loss, at its first step, depends on values of level k */
    uint32_t follow[MLO_LEVELS_MAX];   /* bit k: lower level k moves when this one does                    */
    uint32_t between[MLO_LEVELS_MAX];  /* those through which this level's loss comes back to it: nested   */
} mlo_recording;

struct mlo_point {
    const mlo_recording *recording;
    const mlo_phase *phase; /* whose level's loss is recorded, and what it sees                   */
    ht_vars own;            /* its values, if not those of the start: a step, a probe; count 0    */
    int32_t step;
};

/* How the derivative passes an edge: the level's fields, or those of the edge. */
typedef struct mlo_rule {
    mlo_solver solver;
    int32_t solver_steps;
    double solver_rate, damping;
} mlo_rule;

/*
 * Cotangents so far, of the lists through which levels see each other: list k < count is the end of phase since + k, list
 * `count` the unknowns that are derived for, `count + 1` the held ones. Lists of one group have one rule.
 */
typedef struct mlo_walk {
    mlo_recording *r;
    int32_t level;          /* whose unknowns they are */
    ht_vars target, held;
    int32_t since, count;
    ht_vars *cotangent;     /* of what was seen by others   */
    ht_vars *chain;         /* of what the level's own next phase began with */
    int32_t *group;
    int32_t chained;        /* the phase whose beginning has its cotangent already */
} mlo_walk;

/* ---- record.c ---- */
/* The loss of a phase's level. */
ht_var mlo_loss_at(const mlo_recording *r, const mlo_phase *phase, ht_vars own, int32_t step);
/* The level of that name, or -1. */
int32_t mlo_find(const mlo_recording *r, const char *name);
/*
 * The gradient of a level's loss at its end of a phase, for a rule that takes it as converged: with the data and draws of
 * the last step, and what follows the level stepped anew. The recording is left as it was.
 */
ht_vars mlo_gradient_at_end(mlo_recording *r, const mlo_phase *phase);

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

/* ---- edges.c ---- */
/* Finds what the loss of a level depends on, once it is recorded, and which levels move with this one. */
bool mlo_find_edges(mlo_recording *r, const mlo_phase *phase, ht_var loss);
/* Whether the edges of a level, as they are declared, can be: before anything is recorded. */
void mlo_check_declared(const mlo_recording *r, int32_t level);
mlo_rule mlo_rule_of(const mlo_recording *r, int32_t level, int32_t from);
/* Whether some edge of the levels in the set goes by another rule than the recorded steps, all of them. */
bool mlo_has_rules(const mlo_recording *r, uint32_t levels, mlo_solver most);

/* ---- walk.c ---- */
/*
 * d loss / d target, phase by phase from the last one down to `since`, each edge by its rule; for the last level path and
 * direct, for another one the list. Only levels of the set are walked.
 */
ht_vars mlo_walk_phases(mlo_recording *r, int32_t level, ht_var loss, ht_vars target, int32_t since, uint32_t levels);
/* What phase p of a walk depends on beside its own level: ends of earlier phases, the target, the held. p = count: the loss. */
ht_vars mlo_leaves(const mlo_walk *walk, int32_t p);
/* Adds weight times what was found for mlo_leaves(p), in the lists of a group. An empty weight is 1. */
void mlo_add_found(mlo_walk *walk, int32_t p, ht_vars found, ht_var weight, int32_t group);
/* Adds to the cotangent of the values that phase p began with. */
void mlo_add_chain(mlo_walk *walk, int32_t p, ht_vars part);
const mlo_phase *mlo_phase_of(const mlo_walk *walk, int32_t p);
bool mlo_is_zero(ht_var x);

/* ---- the rules: hand the cotangent v of the end of phase p on to the lists of a group ---- */
void mlo_difference_rule(mlo_walk *walk, int32_t p, ht_vars v, int32_t group);
void mlo_implicit_rule(mlo_walk *walk, int32_t p, ht_vars v, int32_t group, const mlo_rule *rule);

#define MLO_SOLVER_STEPS 10 /* where none are given */

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
/* Compiles without the tape's writes, so that nothing is left behind, and sets inputs. NULL and a filled record if refused. */
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
