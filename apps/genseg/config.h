/*
 * Configuration: one table of fields serves flags, file, --set, help and the resolved copy in a run directory.
 * Preset first, file next, flags last.
 */
#ifndef GENSEG_CONFIG_H
#define GENSEG_CONFIG_H

#include <ht/base.h>

#define GENSEG_TEXT 1024
#define GENSEG_CERTIFY_MAX 64
#define GENSEG_AGREEMENT   1e-2 /* of h in f32 with h in f64, in a certificate: the bound of genseg.md, section 1 */

typedef enum genseg_method { GENSEG_PLAIN, GENSEG_GENSEG } genseg_method; /* the others: a later issue; refused by name */
typedef enum genseg_hypergradient {
    GENSEG_H_NONE,
    GENSEG_H_FINITE_DIFFERENCE,
    GENSEG_H_EQ9,
    GENSEG_H_TOTAL
} genseg_hypergradient;
typedef enum genseg_unroll { GENSEG_UNROLL_SGD, GENSEG_UNROLL_OPTIMIZER } genseg_unroll;
typedef enum genseg_lookahead { GENSEG_LOOKAHEAD_KEEP, GENSEG_LOOKAHEAD_RESTORE } genseg_lookahead;
typedef enum genseg_search { GENSEG_SEARCH_ENCODER, GENSEG_SEARCH_DECODER, GENSEG_SEARCH_BOTH } genseg_search;
typedef enum genseg_cells { GENSEG_CELLS_AUTO, GENSEG_CELLS_MERGED, GENSEG_CELLS_SEPARATE } genseg_cells;
typedef enum genseg_scale { GENSEG_SCALE_STEPS, GENSEG_SCALE_NONE } genseg_scale;
typedef enum genseg_gan_loss { GENSEG_GAN_PIX2PIX, GENSEG_GAN_MINIMAX } genseg_gan_loss;
typedef enum genseg_seg_loss { GENSEG_SEG_CE, GENSEG_SEG_CE_DICE } genseg_seg_loss;
typedef enum genseg_select { GENSEG_SELECT_DICE, GENSEG_SELECT_JACCARD } genseg_select;

enum { GENSEG_AUGMENT_ROTATE = 1, GENSEG_AUGMENT_FLIP = 2, GENSEG_AUGMENT_TRANSLATE = 4 };

typedef struct genseg_config {
    /* table "" (top) */
    char preset[16];             /* small | paper                                                   */
    genseg_method method;
    int64_t rounds, seed;
    int32_t threads;             /* 0: all                                                          */
    int32_t convolution;         /* an ht_convolution: "auto" | "direct"                            */
    int32_t precision;           /* an ht_precision: "f32" | "bf16"                                 */
    int64_t memory_limit;        /* bytes of the arena of the training programs; 0: none             */
    char device[32];             /* auto | cpu | cuda[:N]; cuda is refused by name for now          */

    /* table [data] */
    int32_t size, batch;         /* pixels of the square network input; pairs per batch             */

    /* table [model] */
    int32_t generator_width, generator_levels, discriminator_width, discriminator_layers, unet_width, unet_depth;
    double dropout;
    genseg_search search;
    genseg_cells cells;

    /* table [loss] */
    genseg_seg_loss segmentation; /* "cross-entropy" | "cross-entropy+dice"                         */
    genseg_gan_loss gan;          /* "pix2pix" | "minimax"                                          */
    double l1, gamma;

    /* table [mlo] */
    genseg_hypergradient hypergradient;
    genseg_unroll unroll;
    genseg_lookahead lookahead;
    genseg_scale hypergradient_scale;
    double eta_g, eta_s;          /* 0: the optimisers' rates                                       */
    int32_t mask_augment;         /* bits GENSEG_AUGMENT_*; "rotate,flip,translate", "all", "none"  */
    int64_t certify[GENSEG_CERTIFY_MAX];
    int32_t certify_count;        /* rounds, from 1                                                 */

    /* table [pretrain] */
    int64_t pretrain_steps;       /* GAN steps before round 1                                       */
    double pretrain_rate;

    /* table [optimizer.segmenter]: RMSprop */
    double s_rate, s_momentum, s_decay;             /* s_decay: weight decay                        */
    int32_t s_plateau_patience;                     /* validations without a better score           */
    double s_plateau_factor;
    /* tables [optimizer.generator], [optimizer.discriminator], [optimizer.architecture]: Adam */
    double g_rate, g_beta1, g_beta2, g_decay;
    double h_rate, h_beta1, h_beta2, h_decay;
    double a_rate, a_beta1, a_beta2, a_decay;       /* a_decay: decoupled                           */

    /* table [run] */
    int64_t validate_every, checkpoint_every, picture_every;  /* rounds                             */
    genseg_select select;
    double metric_threshold;      /* probability above which a pixel is foreground: 0.5             */
} genseg_config;

/** Values of a preset ("small", "paper"); EINVALID names the nearest one. */
ht_status genseg_config_preset(genseg_config *config, const char *preset, ht_error *error);
/** Strict TOML subset over the present values. Unknown keys: EINVALID with FILE:LINE:COLUMN and the nearest known key. */
ht_status genseg_config_file(genseg_config *config, const char *path, ht_error *error);
/** One field by its dotted name, as --set and the flags give it: "optimizer.segmenter.rate", "1e-4". */
ht_status genseg_config_set(genseg_config *config, const char *key, const char *value, ht_error *error);
/** Checks ranges and combinations (size divisible by 2^levels, ...); the message names the dotted key. */
ht_status genseg_config_check(const genseg_config *config, ht_error *error);
/** Writes the resolved configuration as TOML that genseg_config_file reads back to the same values. */
ht_status genseg_config_write(const genseg_config *config, const char *path, ht_error *error);
/** First field in which two configurations differ, as dotted key and both values in text; 0 if they agree. For --resume. */
int genseg_config_difference(const genseg_config *a, const genseg_config *b, char *text, size_t bytes);
/** The value of one field as text, as it stands in the file ("true", "1e-05", "\"both\""); for the report. */
int32_t genseg_config_fields(void);
const char *genseg_config_key(int32_t field);
char *genseg_config_value(const genseg_config *config, int32_t field, char *text, size_t bytes);

#endif
