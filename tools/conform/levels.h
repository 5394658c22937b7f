/*
 * The four levels of a whole round on tensors given from outside: weights in stores, the batch and the factors of dropout
 * as values. The losses and their order are genseg's; what each level's step is, its caller says. Shared by ht-conform and
 * the benchmarks; knows neither files nor cases.
 */
#ifndef CONFORM_LEVELS_H
#define CONFORM_LEVELS_H

#include <ht/mlo.h>

#include "genseg/networks.h"

enum { CONFORM_LEVEL_G, CONFORM_LEVEL_H, CONFORM_LEVEL_S, CONFORM_LEVEL_A, CONFORM_LEVELS };

/** A step as mlo_level has it, with a context of its own; record NULL: w - rate g. */
typedef struct conform_step {
    ht_vars (*record)(ht_vars weights, ht_vars gradients, void *context);
    void *context;
    double rate;
} conform_step;

typedef struct conform_levels {
    /* what the caller fills */
    ht_tape *tape;
    ht_store *store[CONFORM_LEVELS];        /* weights, all there                              */
    conform_step step[CONFORM_LEVEL_A];           /* of G, H and S                                   */
    genseg_networks gan, seg;               /* they differ in the factors of dropout alone     */
    ht_var mask, image, augmented, val_mask, val_image;
    double gamma;
    /* what recording leaves */
    ht_var generated, on_generated, on_real; /* image in [0, 1]; the two parts of S's loss     */
} conform_levels;

/** Records one round. Running statistics are not written. */
mlo_round conform_levels_record(conform_levels *levels, mlo_method method, mlo_look_ahead look_ahead);

#endif
