/*
 * The programs of a run: GAN pre-training, the plain step, and the round of Eqs. (5) to (9) as one tape. All are written
 * against state.h and networks.h; the derivative is mlo's.
 */
#ifndef GENSEG_ROUND_H
#define GENSEG_ROUND_H

#include <ht/mlo.h>

#include "state.h"

/** Inputs of the programs, by name, images planar in [0, 1]:
 *     mask [B,1,s,s]  image [B,C,s,s]  augmented [B,1,s,s]  val_mask [V,1,s,s]  val_image [V,C,s,s]  rate []           */
typedef struct genseg_sizes {
    int32_t batch, val_batch, size, channels;
} genseg_sizes;

/** What a round leaves on the tape. Values that the configuration does not ask for are empty. */
typedef struct genseg_recording {
    ht_var loss_gan, loss_discriminator, loss_seg, loss_val;
    ht_vars path, direct, total;      /* hypergradient by path, unscaled; names "alpha.enc", "alpha.dec"          */
    ht_vars used;                     /* the one that moves A                                                    */
    ht_var norm_path, norm_direct, norm_used, cosine, alpha_step, alpha_decay_step;
} genseg_recording;

/**
 * Records one round. commit 1: the state's new values are written at the end of each run; 0: nothing is written (for the
 * certificate). method: how h is taken, whatever the configuration says.
 */
genseg_recording genseg_record_round(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                     const genseg_networks *nets, genseg_sizes sizes, mlo_method method, int32_t commit);
/** One step of S on real pairs alone; loss_seg. */
genseg_recording genseg_record_plain(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                     const genseg_networks *nets, genseg_sizes sizes);
/** One step of G and H at a fixed A; loss_gan, loss_discriminator. */
genseg_recording genseg_record_pretraining(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                                           const genseg_networks *nets, genseg_sizes sizes);
/** Generated images of masks, in [0, 1]: the value to get. Changes nothing. */
ht_var genseg_record_picture(ht_tape *tape, const genseg_state *state, const genseg_config *config,
                             const genseg_networks *nets, genseg_sizes sizes);

/** The method of mlo that a configuration asks for. */
mlo_method genseg_method_of(const genseg_config *config);

#endif
