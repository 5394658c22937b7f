/*
 * Filling new tensors. A number is a function of (seed, full name, element) alone: adding, removing or reordering
 * layers moves nobody else's numbers, and any number of threads gives the same bits.
 */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include <ht/random.h>

#include "base/internal.h"

#define TWO_PI 6.283185307179586476925286766559

typedef struct filling {
    nn_init init;
    uint64_t key;
    int64_t count;
    ht_dtype dtype;
    void *to;
} filling;

static void put(const filling *f, int64_t i, double value)
{
    if (f->dtype == HT_F64) ((double *)f->to)[i] = value;
    else ((float *)f->to)[i] = (float)value;
}

/* Four numbers from one draw; normals by Box and Muller, two from each pair of words. */
static void four(const filling *f, int64_t block, double out[4])
{
    ht_philox r = ht_philox_draw(f->key, (uint64_t)block, 0);
    for (int k = 0; k < 4; k += 2) {
        double u = ht_random_unit(r.word[k]), v = ht_random_unit(r.word[k + 1]);
        if (f->init.kind == NN_INIT_NORMAL) {
            double radius = sqrt(-2 * log(u)), angle = TWO_PI * v;
            u = radius * cos(angle);
            v = radius * sin(angle);
        } else {
            u = 2 * u - 1;
            v = 2 * v - 1;
        }
        out[k] = f->init.centre + f->init.spread * u;
        out[k + 1] = f->init.centre + f->init.spread * v;
    }
}

static void fill_blocks(void *context, int64_t begin, int64_t end)
{
    const filling *f = context;
    for (int64_t block = begin; block < end; block++) {
        double value[4] = {f->init.centre, f->init.centre, f->init.centre, f->init.centre};
        if (f->init.kind != NN_INIT_CONSTANT) four(f, block, value);
        for (int64_t k = 0; k < 4 && 4 * block + k < f->count; k++) put(f, 4 * block + k, value[k]);
    }
}

/* A store does not say how many threads its device has. */
static int32_t offered_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
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
                 ht_store_dtype(store, index), NULL};
    size_t bytes;
    if (!hti_bytes(f.count, ht_dtype_bytes(f.dtype), &bytes))
        return ht_fail(error, HT_ESHAPE, "its %lld numbers are more than memory can hold", (long long)f.count);
    f.to = malloc(bytes ? bytes : 1);
    if (!f.to) return ht_fail(error, HT_ENOMEM, "no %zu bytes to initialise it", bytes);
    hti_parallel_for(offered_threads(), (f.count + 3) / 4, 4096, fill_blocks, &f);
    ht_status status = ht_store_set(store, name, f.to, f.count, error);
    free(f.to);
    return status;
}
