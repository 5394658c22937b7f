/*
 * A small GenSeg for tests of the hypergradient: networks, state, batches, and the procedure of Eqs. (5) to (8) recorded a
 * second time by hand, without mlo, from its formulas. In that recording the architecture of x = G'(M) stands in a store
 * of its own: moved together with the other one it is the whole procedure, left alone that of Eq. (9).
 */
#ifndef TESTS_HYPER_FIXTURE_H
#define TESTS_HYPER_FIXTURE_H

#include "round.h"

enum { HYPER_CELLS_MAX = 2 * GENSEG_LEVELS_MAX };

typedef struct hyper_problem {
    ht_device *device;
    genseg_config config;
    genseg_networks nets;
    genseg_sizes sizes;
    genseg_state state;
    ht_store *synthesis;                  /* architecture of x = G'(M) in hyper_procedure           */
    genseg_cells forms[HYPER_CELLS_MAX];
    int32_t fixed_dropout;                /* 1: factors of dropout that are constants of the seed   */
    ht_dtype real;
    int64_t step;                         /* which batch hyper_run gives                            */
} hyper_problem;

/** The configuration that the smallest networks have: 16 pixels, 3 levels, widths of 2. eta is 0.1. */
genseg_config hyper_config(uint64_t seed);

/**
 * State of the type given with weights of the configuration's seed. smooth: networks without kinks, weights and
 * architecture drawn wide enough that no derivative is small by accident, forms of cells in turn, fixed dropout.
 */
int hyper_open(hyper_problem *p, ht_device *device, const genseg_config *config, ht_dtype real, int32_t smooth);
void hyper_close(hyper_problem *p);

/** Sets the inputs of a program from batch p->step; those that it lacks are passed over. */
ht_status hyper_feed(const hyper_problem *p, ht_program *program);
/** Runs a program on batch p->step, a function of seed and step, and gets the first count of its outputs, all scalars. */
int hyper_run(const hyper_problem *p, ht_program *program, double *scalars, int32_t count);

/** The round as the application records it, on a tape of the problem's type. */
genseg_recording hyper_round(ht_tape *tape, hyper_problem *p, mlo_method method, int32_t commit);
/** The procedure by hand: L_val(S'(G'(A), A of synthesis)). gradients: NULL, or receives those of L_gan and L_seg. */
ht_var hyper_procedure(ht_tape *tape, hyper_problem *p, ht_vars *gradients);
/** Makes rounds that are kept, so that the optimisers' moments are warm. */
int hyper_warm(hyper_problem *p, int32_t rounds);
/** Cuts half of the channels of G and S off from what follows and clears their moments: their gradients are exactly 0. */
void hyper_starve(hyper_problem *p);

/** Numbers of the architecture; one of them, through both of its matrices. */
double *hyper_alpha(const ht_store *A, int64_t index);

/** Numbers in all parameters of a store. */
int64_t hyper_parameters(const ht_store *store);

#endif
