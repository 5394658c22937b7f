/*
 * Filling new tensors. A number is a function of (seed, full name, element) alone: adding, removing or reordering
 * layers moves nobody else's numbers, and any number of threads gives the same bits.
 */
#include "internal.h"

#include <math.h>

#include <ht/random.h>

#include "base/internal.h"

/* Draws of four numbers: side by side in vector lanes, and by one thread, as many as fill a huge page in f32. */
#define LANES 128
#define GRAIN (1 << 17)

typedef struct filling {
    nn_init init;
    uint64_t key;
    int64_t count;
    ht_dtype dtype;
    void *to;
} filling;

/* Number k of draw first + i, for each i. Normals by Box and Muller, two from each pair of words. */
static void draw(const filling *f, int64_t first, double number[4][LANES])
{
    uint32_t word[4][LANES];
    const double centre = f->init.centre, spread = f->init.spread;
#pragma omp simd
    for (int64_t i = 0; i < LANES; i++) {
        const ht_philox r = ht_philox_draw(f->key, (uint64_t)(first + i), 0);
        word[0][i] = r.word[0];
        word[1][i] = r.word[1];
        word[2][i] = r.word[2];
        word[3][i] = r.word[3];
    }
    if (f->init.kind == NN_INIT_UNIFORM) {
        for (int32_t k = 0; k < 4; k++)
#pragma omp simd
            for (int64_t i = 0; i < LANES; i++) number[k][i] = centre + spread * (2 * ht_random_unit(word[k][i]) - 1);
        return;
    }
    for (int32_t k = 0; k < 4; k += 2)
#pragma omp simd
        for (int64_t i = 0; i < LANES; i++) {
            const ht_random_pair pair = ht_random_normals(word[k][i], word[k + 1][i]);
            number[k][i] = centre + spread * pair.first;
            number[k + 1][i] = centre + spread * pair.second;
        }
}

static void fill_draws(void *context, int64_t begin, int64_t end)
{
    const filling *f = context;
    double number[4][LANES];
    for (int64_t at = begin; at < end; at += LANES) {
        draw(f, at, number);
        const int64_t left = f->count - 4 * at, n = left < 4 * LANES ? left : 4 * LANES;
        if (f->dtype == HT_F64)
            for (int64_t i = 0; i < n; i++) ((double *)f->to + 4 * at)[i] = number[i & 3][i >> 2];
        else
            for (int64_t i = 0; i < n; i++) ((float *)f->to + 4 * at)[i] = (float)number[i & 3][i >> 2];
    }
}

static void fill_constant(void *context, int64_t begin, int64_t end)
{
    const filling *f = context;
    const int64_t last = 4 * end < f->count ? 4 * end : f->count;
    for (int64_t i = 4 * begin; i < last; i++)
        if (f->dtype == HT_F64) ((double *)f->to)[i] = f->init.centre;
        else ((float *)f->to)[i] = (float)f->init.centre;
}

ht_status hti_initialise(ht_store *store, const char *name, nn_init init, uint64_t seed, ht_error *error)
{
    int32_t index = ht_store_find(store, name);
    if (index < 0) return ht_fail(error, HT_EINTERNAL, "tensor \"%s\" is not in the store", name);
    if (!isfinite(init.centre) || !isfinite(init.spread))
        return ht_fail(error, HT_EINVALID, "initialisation with %g and %g; finite numbers were expected", init.centre,
                       init.spread);
    if (init.kind == NN_INIT_CONSTANT && init.centre == 0) return HT_OK; /* a new tensor is zero */
    filling f = {init, ht_random_key(seed, name), ht_shape_count(ht_store_shape(store, index)),
                 ht_store_dtype(store, index), ht_store_data(store, index)};
    const ht_device *device = ht_store_device(store);
    hti_parallel_for(device ? ht_device_threads(device) : 1, f.count / 4 + (f.count % 4 != 0), GRAIN,
                     init.kind == NN_INIT_CONSTANT ? fill_constant : fill_draws, &f);
    return HT_OK;
}
