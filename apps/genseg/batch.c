/* Sampling without state: shuffles by Fisher and Yates from counter-based draws, one for each epoch. */
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "batch.h"

/* Entry i of the epoch's order. Orders are short; making one anew for each step costs nothing that shows. */
static void shuffled(uint64_t key, uint64_t epoch, int32_t count, int32_t *order)
{
    for (int32_t i = 0; i < count; i++) order[i] = i;
    for (int32_t i = count - 1; i > 0; i--) {
        int32_t k = (int32_t)(((uint64_t)ht_random_word(key, epoch, (uint64_t)i) * (uint64_t)(i + 1)) >> 32);
        int32_t swapped = order[i];
        order[i] = order[k];
        order[k] = swapped;
    }
}

void genseg_batch_pick(uint64_t seed, const char *stream, int64_t step, int32_t batch, int32_t count, int32_t *picked)
{
    int32_t *order = count > 0 ? malloc((size_t)count * sizeof *order) : NULL;
    int64_t batches = count / batch > 0 ? count / batch : 1;
    if (order) shuffled(ht_random_key(seed, stream), (uint64_t)(step / batches), count, order);
    for (int32_t i = 0; i < batch; i++) {
        int32_t at = (int32_t)(((step % batches) * batch + i) % (count > 0 ? count : 1));
        picked[i] = order ? order[at] : at;
    }
    free(order);
}

void genseg_batch_copy(const genseg_split *split, const int32_t *picked, int32_t batch, int32_t channels, int32_t size,
                       float *images, float *masks)
{
    size_t pixels = (size_t)size * (size_t)size;
    for (int32_t i = 0; i < batch; i++) {
        const genseg_case *c = &split->cases[picked[i]];
        size_t image = pixels * (size_t)channels;
        if (images) memcpy(images + (size_t)i * image, c->image, image * sizeof *images);
        if (masks) memcpy(masks + (size_t)i * pixels, c->mask_small, pixels * sizeof *masks);
    }
}

void genseg_batch_augment(const float *masks, int32_t batch, int32_t size, int32_t operations, uint64_t seed,
                          int64_t step, float *augmented)
{
    size_t pixels = (size_t)size * (size_t)size;
    uint64_t key = ht_random_key(seed, "augmentation");
    for (int32_t i = 0; i < batch; i++)
        genseg_augment_mask(masks + (size_t)i * pixels, size, operations, key, (uint64_t)(step * batch + i),
                            augmented + (size_t)i * pixels);
}
