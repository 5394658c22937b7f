/*
 * Everything of a run that changes while it trains: nine stores and the few host-side numbers beside them. And the
 * checkpoint, which is exactly this.
 */
#ifndef GENSEG_STATE_H
#define GENSEG_STATE_H

#include <ht/nn.h>

#include "config.h"
#include "networks.h"

enum {
    GENSEG_G, GENSEG_H, GENSEG_S, GENSEG_A,                                     /* weights of the levels */
    GENSEG_G_MOMENTS, GENSEG_H_MOMENTS, GENSEG_S_MOMENTS, GENSEG_A_MOMENTS,     /* of their optimisers   */
    GENSEG_CLOCK,                                                               /* counter of the draws  */
    GENSEG_STORES
};

typedef struct genseg_state {
    ht_device *device;
    ht_store *store[GENSEG_STORES];
    int64_t round;          /* rounds that are done                                          */
    int64_t pretrained;     /* GAN steps that are done                                       */
    nn_plateau plateau;     /* of the segmenter's rate                                       */
    double best_score;      /* of the selection metric on the validation split; NAN: none   */
    int64_t best_round;
    double seconds;         /* of the rounds so far, with their validations                  */
    double bound_seconds;   /* of them: spent in the rounds' programs                        */
} genseg_state;

/** Stores with initialised weights: the networks are recorded once for their parameters. channels: of the images. */
ht_status genseg_state_new(genseg_state *state, const genseg_config *config, const genseg_networks *nets,
                           ht_device *device, ht_error *error);
/** The same with weights of zero, which take no memory yet: for what asks for their shapes alone. */
ht_status genseg_state_blank(genseg_state *state, const genseg_config *config, const genseg_networks *nets,
                             ht_device *device, ht_error *error);
void genseg_state_free(genseg_state *state);
/** A copy of all stores in another real type, on the same device; the caller frees it. */
ht_status genseg_state_copy(const genseg_state *from, ht_dtype dtype, genseg_state *to, ht_error *error);
/** Hash of all stores (not of the seconds): equal states have equal hashes. */
uint64_t genseg_state_hash(const genseg_state *state);

/**
 * Writes RUN/checkpoints/round-NNNNNN (every store as safetensors, state.json, MANIFEST last), durably; keeps the last two.
 */
ht_status genseg_checkpoint_write(const char *run, const genseg_state *state, ht_error *error);
/**
 * Reads the newest checkpoint whose manifest verifies. warning (bytes large) receives one line if a newer one was damaged,
 * else "". EFORMAT naming the damaged file if none is left; EIO or EINVALID if there is none at all.
 */
ht_status genseg_checkpoint_read(const char *run, genseg_state *state, char *warning, size_t bytes, ht_error *error);

#endif
