/* A training run at work: shared by the files that make it (train.c, certificate.c, artefacts.c). */
#ifndef GENSEG_TRAINER_H
#define GENSEG_TRAINER_H

#include "batch.h"
#include "commands.h"
#include "data.h"
#include "evaluate.h"
#include "round.h"
#include "run.h"
#include "state.h"

/* The numbers that a program gives after each run. */
enum {
    GENSEG_LOSS_GAN, GENSEG_LOSS_DISCRIMINATOR, GENSEG_LOSS_SEG, GENSEG_LOSS_VAL,
    GENSEG_NORM_USED, GENSEG_NORM_PATH, GENSEG_NORM_DIRECT, GENSEG_COSINE, GENSEG_ALPHA_STEP, GENSEG_DECAY_STEP,
    GENSEG_NUMBERS
};

/** A program, and where its numbers stand among its outputs (-1: not computed). */
typedef struct genseg_program {
    ht_program *program;
    int32_t position[GENSEG_NUMBERS];
    int32_t vector, vectors; /* first output and number of outputs of the hypergradient in use, tensor by tensor */
} genseg_program;

typedef struct genseg_trainer {
    const genseg_job *job;
    genseg_config config;
    genseg_dataset data;
    genseg_networks nets;
    genseg_sizes sizes;
    genseg_state state;
    genseg_program round;
    genseg_predictor *predictor;
    float *mask, *image, *augmented, *val_mask, *val_image; /* the present batch */
    genseg_log *log, *alpha, *certificate;
    genseg_events *events;
    double value[GENSEG_NUMBERS];                            /* of the last run; NAN: not computed */
    bool began;                                              /* from here on, what fails is an output */
    double largest;                                          /* softmax weight over all cells */
    double h_moved, h_norm;                                  /* sums over the rounds of this process: 0 if h moved nothing */
    int64_t searched;                                        /* how many these are: none if it was resumed at the end      */
} genseg_trainer;

/** Sets the inputs of a program of f32 or f64 (real) from the present batch. Inputs that it lacks are passed over. */
ht_status genseg_trainer_feed(const genseg_trainer *t, ht_program *program, ht_dtype real);

/** At a certified round, before it runs: h of f32 and of f64 and differences of the procedure; rows of certificate.csv. */
ht_status genseg_certify(genseg_trainer *t, ht_error *error);

/** Rows of alpha.csv for the present round; fills t->largest. */
ht_status genseg_alpha_rows(genseg_trainer *t, ht_error *error);
/** RUN/pictures/round-NNNNN.png and an event: mask | generated | real, one row for each case of the first batch. */
ht_status genseg_picture_round(const genseg_trainer *t, ht_error *error);

#endif
