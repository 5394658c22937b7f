/* A finished (or still going) run as what it is good for: its configuration and its best segmenter, ready to predict. */
#ifndef GENSEG_TRAINED_H
#define GENSEG_TRAINED_H

#include "evaluate.h"

typedef struct genseg_trained {
    genseg_config config;
    int32_t channels;     /* of the images that it was trained on       */
    char metric[16];      /* what chose the weights, and of which round */
    int64_t round;
    ht_device *device;
    ht_store *segmenter;
    genseg_predictor *predictor;
} genseg_trained;

/**
 * Reads RUN/config.toml and RUN/best.safetensors. EINVALID if there is no run or no segmenter yet, EFORMAT, ESHAPE or
 * EDTYPE if the weights are not those of the configuration. Nothing in RUN changes. The caller closes it.
 */
ht_status genseg_trained_open(const char *run, const volatile int *interrupt, genseg_trained *out, ht_error *error);
/** Reads best.safetensors into an empty store and checks it against the hash in its metadata, if it
 * has one. EFORMAT if they differ. */
ht_status genseg_weights_load(ht_store *store, const char *path, ht_error *error);
/** Also a zero-initialised one. */
void genseg_trained_close(genseg_trained *trained);

#endif
