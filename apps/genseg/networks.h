/*
 * The three networks and their losses, as recordings: functions of scopes and values, nothing else. The same function at
 * other values (nn_at) is the network after a step. Names of parameters: as PyTorch's, listed at each network.
 */
#ifndef GENSEG_NETWORKS_H
#define GENSEG_NETWORKS_H

#include <ht/nn.h>

#include "config.h"

/* Kernels of the three candidates of a cell: 4-2-1, 6-2-2, 8-2-3 (kernel, stride, padding), in this order. */
enum { GENSEG_CANDIDATES = 3, GENSEG_LEVELS_MAX = 16 };

/**
 * Searchable U-shaped generator: `levels` halvings and as many doublings, channels width * min(2^i, 8).
 *     enc{i}.k{4,6,8}.weight  enc{i}.norm.{weight,bias}  dec{i}.k{4,6,8}.weight  dec0.k{4,6,8}.bias  dec{i}.norm.{weight,bias}
 * The part that is not searched has the 4x4 candidate alone. A: alpha.enc, alpha.dec [levels, 3], those that are searched.
 */
typedef struct genseg_generator {
    int32_t levels, width, channels; /* channels: of the image                                                   */
    genseg_search search;
    genseg_cells cells;
    double dropout;                  /* probability in decoder cells 4 <= i < levels - 1                         */
    int32_t smooth;                  /* 1: softplus in place of the leaky and the plain ReLU                     */
    const genseg_cells *forms;       /* NULL, or a form for each cell: encoder 0 .. levels-1, then decoder       */
    const ht_var *factors;           /* NULL, or [levels]: factors of dropout given from outside, empty for none */
} genseg_generator;

/**
 * Image of a mask: [N, 1, H, W] -> [N, channels, H, W] in (-1, 1). H and W are multiples of 2^levels (ESHAPE).
 * G: weights. A: architecture variables.
 */
ht_var genseg_generate(nn_scope G, nn_scope A, ht_var mask, const genseg_generator *net);
/** (x + 1) / 2: from the generator's range to the segmenter's. */
ht_var genseg_to_unit(ht_var generated);

/** Number of searched cells of an architecture store: encoder cells from the outside in, then decoder cells alike. */
int32_t genseg_alpha_cells(const ht_store *A);
/** softmax(alpha) of one of them, and its name ("enc0"), which lives as long as the program. EINVALID if there is none. */
ht_status genseg_alpha_weights(const ht_store *A, int32_t cell, double weight[GENSEG_CANDIDATES], char name[16],
                               ht_error *error);

/**
 * PatchGAN on (mask, image): `layers` 4x4 convolutions of stride 2 from `width` doubling, one of stride 1, then logits.
 *     conv{i}.weight  conv{0,last}.bias  norm{i}.{weight,bias}
 */
typedef struct genseg_discriminator {
    int32_t width, layers, smooth;
} genseg_discriminator;
/** Logits [N, 1, P, Q] of mask [N, 1, H, W] and image [N, C, H, W] in (-1, 1). */
ht_var genseg_discriminate(nn_scope H, ht_var mask, ht_var image, const genseg_discriminator *net);

/**
 * U-Net, widths width * 2^i for i = 0 .. depth.
 *     down{i}.conv{0,1}.weight  down{i}.norm{0,1}.{weight,bias}  level{i}.up.{weight,bias}  level{i}.conv{0,1}.weight
 *     level{i}.norm{0,1}.{weight,bias}  head.{weight,bias}
 */
typedef struct genseg_segmenter {
    int32_t width, depth;
    int32_t smooth; /* 1: softplus for ReLU, average for max pooling */
} genseg_segmenter;
/** Logits [N, 1, H, W] of an image [N, C, H, W] in [0, 1]. H and W are multiples of 2^depth (ESHAPE). */
ht_var genseg_segment(nn_scope S, ht_var image, const genseg_segmenter *net);

/** Everything that the levels need to know of networks and losses. */
typedef struct genseg_networks {
    genseg_generator generator;
    genseg_discriminator discriminator;
    genseg_segmenter segmenter;
    genseg_gan_loss gan;
    genseg_seg_loss segmentation;
    double l1;
} genseg_networks;
/** The networks of a configuration, for images of so many channels. */
genseg_networks genseg_networks_of(const genseg_config *config, int32_t channels);

/**
 * L_gan for the generator; image in [0, 1], fake in (-1, 1).
 *     pix2pix   BCE(H(mask, fake), 1) + l1 mean |fake - (2 image - 1)|      (smooth: sqrt(d^2 + 0.01) for |d|)
 *     minimax   Eq. (1): mean log H(mask, image) + mean log(1 - H(mask, fake)), no L1 term
 */
ht_var genseg_loss_gan(nn_scope H, ht_var mask, ht_var fake, ht_var image, const genseg_networks *nets);
/**
 * What the discriminator descends on; fake is held constant by asking for derivatives in H alone (a caller who wants
 * others stops it first: unstopped, H(mask, fake) is the value that genseg_loss_gan recorded).
 *     pix2pix   1/2 (BCE(H(mask, fake), 0) + BCE(H(mask, 2 image - 1), 1))
 *     minimax   minus Eq. (1)
 */
ht_var genseg_loss_discriminator(nn_scope H, ht_var mask, ht_var fake, ht_var image, const genseg_networks *nets);
/** L_seg: cross-entropy on the logits of S, plus the Dice loss of the whole batch if asked for. Image in [0, 1]. */
ht_var genseg_loss_segmenter(nn_scope S, ht_var image, ht_var mask, const genseg_networks *nets);

/** max(x, slope x), or softplus where derivatives must exist everywhere. Shared by the networks. */
ht_var genseg_activate(ht_var x, double slope, int32_t smooth);

#endif
