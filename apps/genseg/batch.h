/* Which cases a step sees: a function of the seed and the number of the step alone, so a resumed run needs no position. */
#ifndef GENSEG_BATCH_H
#define GENSEG_BATCH_H

#include "config.h"
#include "data.h"

#define GENSEG_BATCH_MAX 256

/**
 * Cases of a step: epochs of a shuffled order, whole batches only. With fewer cases than the batch they repeat.
 * stream names the shuffles; batch <= GENSEG_BATCH_MAX.
 */
void genseg_batch_pick(uint64_t seed, const char *stream, int64_t step, int32_t batch, int32_t count, int32_t *picked);

/** Copies a batch of images [batch, channels, size, size] and masks [batch, 1, size, size]; either may be NULL. */
void genseg_batch_copy(const genseg_split *split, const int32_t *picked, int32_t batch, int32_t channels, int32_t size,
                       float *images, float *masks);
/** The masks of a batch, each augmented (data.h) by its own draw: seed, step and place in the batch name it. */
void genseg_batch_augment(const float *masks, int32_t batch, int32_t size, int32_t operations, uint64_t seed,
                          int64_t step, float *augmented);

#endif
