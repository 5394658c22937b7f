/*
 * Augmentation of masks: rotation, flip and translation in random order, composed into one affine map and sampled once
 * by nearest neighbour, so that three operations do not blur an edge three times. Knows nothing of images, which are
 * never augmented. Every number is drawn whatever the subset, so one operation alone does what it does among others.
 */
#include <math.h>
#include <stdbool.h>

#include <ht/random.h>

#include "config.h"
#include "data.h"

#define ROTATION_MAX    0.26179938779914943654 /* 15 degrees */
#define TRANSLATION_MAX 0.1                    /* of the side */

/* From a pixel of the result to where it comes from, about the centre: x = a u + b v + c, y = d u + e v + f. */
typedef struct affine {
    double a, b, c, d, e, f;
} affine;

/* inner(outer(p)): coordinates pass the operation that was applied last first. */
static affine after(affine inner, affine outer)
{
    return (affine){inner.a * outer.a + inner.b * outer.d,           inner.a * outer.b + inner.b * outer.e,
                    inner.a * outer.c + inner.b * outer.f + inner.c, inner.d * outer.a + inner.e * outer.d,
                    inner.d * outer.b + inner.e * outer.e,           inner.d * outer.c + inner.e * outer.f + inner.f};
}

/* sin and cos by their series, exact to the last bits for such small angles and the same on every machine. */
static affine rotation(double angle)
{
    double q = angle * angle;
    double sine = angle * (1 - q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72 * (1 - q / 110)))));
    double cosine = 1 - q / 2 * (1 - q / 12 * (1 - q / 30 * (1 - q / 56 * (1 - q / 90 * (1 - q / 132)))));
    return (affine){cosine, sine, 0, -sine, cosine, 0};
}

/* A number of (-1, 1). */
static double symmetric(uint32_t word)
{
    return 2.0 * ht_random_unit(word) - 1.0;
}

void genseg_augment_mask(const float *from, int32_t size, int32_t operations, uint64_t key, uint64_t counter, float *to)
{
    static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    ht_philox r = ht_philox_draw(key, counter, 0), t = ht_philox_draw(key, counter, 1);
    const uint8_t *order = orders[(uint64_t)r.word[0] * 6 >> 32];
    affine each[3] = {
        rotation(ROTATION_MAX * symmetric(r.word[1])),
        {r.word[2] >> 31 ? -1.0 : 1.0, 0, 0, 0, 1, 0},
        {1, 0, TRANSLATION_MAX * size * symmetric(t.word[0]), 0, 1, TRANSLATION_MAX * size * symmetric(t.word[1])}};
    static const int32_t bits[3] = {GENSEG_AUGMENT_ROTATE, GENSEG_AUGMENT_FLIP, GENSEG_AUGMENT_TRANSLATE};
    affine map = {1, 0, 0, 0, 1, 0};
    for (int i = 0; i < 3; i++)
        if (operations & bits[order[i]]) map = after(map, each[order[i]]);
    double centre = size / 2.0;
    for (int32_t y = 0; y < size; y++) {
        for (int32_t x = 0; x < size; x++) {
            double u = x + 0.5 - centre, v = y + 0.5 - centre;
            double column = floor(map.a * u + map.b * v + map.c + centre),
                   row = floor(map.d * u + map.e * v + map.f + centre);
            bool inside = column >= 0 && column < size && row >= 0 && row < size;
            to[(size_t)y * (size_t)size + (size_t)x] =
                inside ? from[(size_t)row * (size_t)size + (size_t)column] : 0.0f;
        }
    }
}
