/* Images, data sets, mask augmentation, metrics: everything about pictures that knows nothing of training. */
#ifndef GENSEG_DATA_H
#define GENSEG_DATA_H

#include <ht/base.h>

/** A decoded picture, 8 bits, interleaved, 1 (grey) or 3 (RGB) channels. The caller frees pixels. */
typedef struct genseg_picture {
    int32_t width, height, channels;
    uint8_t *pixels;
} genseg_picture;

/** Reads PNG or JPEG by content. Grey stays grey, palette and 16 bit become 8-bit RGB or grey, alpha is dropped. */
ht_status genseg_picture_read(const char *path, genseg_picture *out, ht_error *error);
/** PNG through a temporary name, fsync, rename. */
ht_status genseg_picture_write(const char *path, const genseg_picture *picture, ht_error *error);
/** PNG in memory; the caller frees *bytes. */
ht_status genseg_picture_encode(const genseg_picture *picture, uint8_t **bytes, size_t *count, ht_error *error);
void genseg_picture_free(genseg_picture *picture);

/** Planar float image [channels, size, size] in [0, 1] (area average when shrinking, bilinear when growing). */
ht_status genseg_resize_image(const genseg_picture *from, int32_t channels, int32_t size, float *to, ht_error *error);
/** Nearest neighbour of a 0/1 mask. */
void genseg_resize_mask(const uint8_t *from, int32_t width, int32_t height, int32_t size, float *to);
/** Bilinear (half-pixel centres) from [size, size] probabilities to the original size. */
void genseg_resize_probability(const float *from, int32_t size, int32_t width, int32_t height, float *to);

typedef struct genseg_case {
    char *name;                    /* the stem                                                        */
    char *image_path, *mask_path;  /* NULL for phantom; mask_path NULL where there is no mask          */
    int32_t width, height;         /* original                                                        */
    uint8_t *mask;                 /* [height, width], 0 or 1, original size; NULL without mask        */
    float *image;                  /* [channels, size, size] in [0, 1]                                */
    float *mask_small;             /* [size, size], 0 or 1                                            */
    uint64_t hash;                 /* of image and mask bytes                                         */
    uint64_t image_hash;           /* of the image's alone: the same one in two splits is a leak      */
    uint64_t seed;                 /* phantom's, to draw it again                                     */
} genseg_case;

typedef struct genseg_split {
    genseg_case *cases;            /* sorted by name */
    int32_t count;
} genseg_split;

typedef struct genseg_dataset {
    char *name;
    genseg_split train, val, test;
    int32_t size, channels;        /* channels: 3, or 1 if every image is grey                          */
    uint64_t hash;                 /* of the names and contents of the splits that were read */
    char *warnings;                /* lines parted by newlines, or NULL: what was read, but deserves a look */
} genseg_dataset;

enum { GENSEG_TRAIN = 1, GENSEG_VAL = 2, GENSEG_TEST = 4 };

/**
 * Reads the named splits (bits) of a folder train|val|test/{images,masks}, or draws "phantom" (seeded by phantom_seed).
 * channels 0: as found. threads (1 or more) share the cases; what comes out does not depend on them.
 * Every fault is one message naming the file, the finding, and what to do; EINVALID / EFORMAT / EIO.
 */
ht_status genseg_dataset_open(const char *path, int32_t splits, int32_t size, int32_t channels, uint64_t phantom_seed,
                              int32_t threads, genseg_dataset *out, ht_error *error);
/** Reads every image of one folder, without masks, for prediction; they stand in out->test. */
ht_status genseg_dataset_images(const char *folder, int32_t size, int32_t channels, int32_t threads, genseg_dataset *out,
                                ht_error *error);
void genseg_dataset_free(genseg_dataset *dataset);
/** The case's picture at its original size, RGB; phantom is drawn again. The caller frees it. */
ht_status genseg_case_picture(const genseg_case *c, genseg_picture *out, ht_error *error);

/** Draws phantom case `index` of a split: size x size RGB and its exact mask. Deterministic; frozen (a test holds its hash). */
ht_status genseg_phantom_draw(uint64_t seed, int32_t split, int32_t index, int32_t size, genseg_picture *image,
                              uint8_t **mask, ht_error *error);

/**
 * One augmented mask: rotation (+-15 degrees), flip (probability 1/2, horizontal) and translation (+-10 % of the side),
 * those of `operations` (GENSEG_AUGMENT_* bits of config.h), in random order, nearest neighbour, zero fill. key and counter
 * name the draw (ht/random.h): equal ones give equal masks. genseg.md section 1, step 2.
 */
void genseg_augment_mask(const float *from, int32_t size, int32_t operations, uint64_t key, uint64_t counter, float *to);

/** Overlap of two 0/1 masks. Both empty: 1; one empty: 0 (the declared rule). */
typedef struct genseg_score {
    double dice, jaccard, precision, recall;
    int64_t true_positive, false_positive, false_negative;
} genseg_score;
genseg_score genseg_score_masks(const uint8_t *predicted, const uint8_t *truth, int64_t count);

#endif
