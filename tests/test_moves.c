/*
 * Kernels that move numbers, pooling and its adjoints, and random draws, against naive references over shapes, orders
 * and number types.
 */
#include "kernels.h"
#include "tap.h"

static const ht_dtype all_types[] = {HT_F32, HT_F64, HT_I32};

static int64_t flat_of(ht_shape shape, point p)
{
    int64_t flat = 0;
    for (int32_t k = 0; k < shape.rank; k++) flat = flat * shape.dim[k] + p.at[k];
    return flat;
}

REFERENCE(same, A(0))

static double want_permute(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    (void)inputs;
    point q = {{0}};
    for (int32_t k = 0; k < in->shape.rank; k++)
        q.at[((const hti_shape_attributes *)attributes)->shape.dim[k]] = p.at[k];
    return get(in, q);
}
static double want_slice(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    (void)inputs;
    for (int32_t k = 0; k < in->shape.rank; k++) p.at[k] += ((const hti_block_attributes *)attributes)->start.dim[k];
    return get(in, p);
}
static double want_pad(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    (void)inputs;
    for (int32_t k = 0; k < in->shape.rank; k++) {
        p.at[k] -= ((const hti_block_attributes *)attributes)->start.dim[k];
        if (p.at[k] < 0 || p.at[k] >= in->shape.dim[k]) return 0;
    }
    return get(in, p);
}
static double want_concat(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    const int64_t axis = ((const hti_axis_attributes *)attributes)->axis;
    for (int32_t i = 0; i < inputs; i++) {
        if (p.at[axis] < in[i].shape.dim[axis]) return get(&in[i], p);
        p.at[axis] -= in[i].shape.dim[axis];
    }
    return NAN;
}

/* Copies between all pairs of orders, of small and of tiled sizes, from dense tensors and from views. */
static void test_copy(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        bench b = {.seed = seed};
        ht_shape shape = random_shape(&b, (int32_t)pick(&b, 0, 5), 8);
        if (seed % 8 == 0) shape = HT_SHAPE(pick(&b, 1, 3), pick(&b, 1, 100), pick(&b, 1, 40), pick(&b, 1, 40));
        const ht_dtype dtype = all_types[seed % 3];
        const uint32_t views = pick(&b, 0, 2) == 0 ? (uint32_t)pick(&b, 0, 255) : 0;
        const hti_tensor in = random_tensor(&b, dtype, shape, (hti_order)(seed & 1), views, -99, 99);
        const hti_tensor out = make(&b, dtype, shape, (hti_order)(seed >> 1 & 1), 0);
        bad += BACKEND->copy(&in, &out, 2) != HT_OK;
        for (int64_t i = 0; i < ht_shape_count(shape); i++) {
            const point p = point_at(shape, i);
            bad += get(&in, p) != get(&out, p);
        }
        drop(&b);
    }
    tap_ok(bad == 0, "copies between any two orders (%d off)", (int)bad);
}

static void test_permute(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        bench b = {.seed = seed};
        ht_shape shape = random_shape(&b, (int32_t)pick(&b, 1, 5), 7);
        if (seed % 10 == 0) shape = HT_SHAPE(pick(&b, 1, 99), pick(&b, 1, 4), pick(&b, 1, 99));
        hti_shape_attributes order = {shape};
        for (int32_t k = 0; k < shape.rank; k++) {
            const int32_t j = (int32_t)pick(&b, 0, k);
            order.shape.dim[k] = order.shape.dim[j];
            order.shape.dim[j] = k;
        }
        ht_shape to = shape;
        for (int32_t k = 0; k < shape.rank; k++) to.dim[k] = shape.dim[order.shape.dim[k]];
        const ht_dtype dtype = all_types[seed % 3];
        const hti_tensor in = random_tensor(&b, dtype, shape, HTI_ROW, 0, -99, 99);
        const hti_tensor out = make(&b, dtype, to, HTI_ROW, 0);
        bad += !agrees(&b, HTI_OP_permute, &order, &in, 1, &out, want_permute, 0);
        drop(&b);
    }
    tap_ok(bad == 0, "permute (%d off)", (int)bad);
}

static void test_blocks(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        bench b = {.seed = seed};
        const ht_shape shape = random_shape(&b, (int32_t)pick(&b, 1, 5), 8);
        hti_block_attributes cut = {shape, shape}, add = {shape, shape};
        const int32_t whole_axes = (int32_t)pick(&b, 0, shape.rank); /* that are not padded: kernels within larger ones */
        for (int32_t k = 0; k < shape.rank; k++) {
            cut.start.dim[k] = pick(&b, 0, shape.dim[k] - 1);
            cut.size.dim[k] = pick(&b, 1, shape.dim[k] - cut.start.dim[k]);
            add.start.dim[k] = k < whole_axes ? 0 : pick(&b, 0, 2);
            add.size.dim[k] = shape.dim[k] + (k < whole_axes ? 0 : add.start.dim[k] + pick(&b, 0, 2));
        }
        const ht_dtype dtype = all_types[seed % 3];
        const hti_order order = (hti_order)(seed & 1);
        const uint32_t views = pick(&b, 0, 3) == 0 ? (uint32_t)pick(&b, 0, 255) : 0;
        const hti_tensor in = random_tensor(&b, dtype, shape, order, views, -99, 99);
        const hti_tensor part = make(&b, dtype, cut.size, order, 0), whole = make(&b, dtype, add.size, order, 0);
        bad += !agrees(&b, HTI_OP_slice, &cut, &in, 1, &part, want_slice, 0);
        bad += !agrees(&b, HTI_OP_pad, &add, &in, 1, &whole, want_pad, 0);
        drop(&b);
    }
    tap_ok(bad == 0, "slice and pad (%d off)", (int)bad);
}

static void test_concat(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        bench b = {.seed = seed};
        const ht_shape shape = random_shape(&b, (int32_t)pick(&b, 1, 5), 8);
        const hti_axis_attributes attributes = {pick(&b, 0, shape.rank - 1)};
        const int32_t inputs = (int32_t)pick(&b, 1, 6);
        const ht_dtype dtype = all_types[seed % 3];
        const hti_order order = (hti_order)(seed & 1);
        hti_tensor in[6];
        ht_shape to = shape;
        to.dim[attributes.axis] = 0;
        for (int32_t i = 0; i < inputs; i++) {
            ht_shape part = shape;
            part.dim[attributes.axis] = pick(&b, 1, 5);
            to.dim[attributes.axis] += part.dim[attributes.axis];
            in[i] = random_tensor(&b, dtype, part, order, 0, -99, 99);
        }
        const hti_tensor out = make(&b, dtype, to, order, 0);
        bad += !agrees(&b, HTI_OP_concat, &attributes, in, inputs, &out, want_concat, 0);
        drop(&b);
    }
    tap_ok(bad == 0, "concat (%d off)", (int)bad);
}

/* ---- pooling ---- */
#define POOL ((const hti_pool_attributes *)attributes)

/* Image place of tap `tap` (row-major in the kernel) of the window at p; false in the padding. */
static bool tap_at(const hti_pool_attributes *pool, point p, int64_t tap, point *q)
{
    *q = p;
    for (int32_t k = (int32_t)pool->axes - 1; k >= 0; k--) {
        q->at[2 + k] = p.at[2 + k] * pool->stride[k] - pool->pad[k] + tap % pool->kernel[k];
        tap /= pool->kernel[k];
        if (q->at[2 + k] < 0 || q->at[2 + k] >= pool->image[k]) return false;
    }
    return true;
}
static int64_t taps_of(const hti_pool_attributes *pool)
{
    int64_t taps = 1;
    for (int32_t k = 0; k < pool->axes; k++) taps *= pool->kernel[k];
    return taps;
}
static int64_t image_flat(const hti_pool_attributes *pool, point q)
{
    int64_t flat = 0;
    for (int32_t k = 0; k < pool->axes; k++) flat = flat * pool->image[k] + q.at[2 + k];
    return flat;
}

static double want_pool_argmax(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    double best = 0;
    int64_t flat = -1;
    (void)inputs;
    for (int64_t tap = 0; tap < taps_of(POOL); tap++) {
        point q;
        if (!tap_at(POOL, p, tap, &q)) continue;
        const double v = get(in, q);
        if (flat >= 0 && !(v > best) && !(isnan(v) && !isnan(best))) continue;
        best = v;
        flat = image_flat(POOL, q);
    }
    return (double)flat;
}
static double want_pool_take(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    (void)inputs;
    int64_t flat = (int64_t)get(&in[1], p);
    for (int32_t k = (int32_t)POOL->axes - 1; k >= 0; k--) {
        p.at[2 + k] = flat % POOL->image[k];
        flat /= POOL->image[k];
    }
    return get(in, p);
}
static double want_window_sum(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    double sum = 0;
    (void)inputs;
    for (int64_t tap = 0; tap < taps_of(POOL); tap++) {
        point q;
        if (tap_at(POOL, p, tap, &q)) sum += get(in, q);
    }
    return sum;
}
/* The adjoints by definition: all windows, all taps; put counts those at the window's place. */
static double adjoint(const hti_pool_attributes *pool, const hti_tensor *in, bool puts, point p)
{
    ht_shape windows = in->shape;
    windows.dim[0] = windows.dim[1] = 1;
    double sum = 0;
    for (int64_t i = 0; i < ht_shape_count(windows); i++) {
        point w = point_at(windows, i), q;
        w.at[0] = p.at[0];
        w.at[1] = p.at[1];
        for (int64_t tap = 0; tap < taps_of(pool); tap++) {
            if (!tap_at(pool, w, tap, &q) || image_flat(pool, q) != image_flat(pool, p)) continue;
            if (!puts || (int64_t)get(&in[1], w) == image_flat(pool, p)) sum += get(in, w);
        }
    }
    return sum;
}
REFERENCE(pool_put, adjoint(attributes, in, true, p))
REFERENCE(window_spread, adjoint(attributes, in, false, p))

static bool pooling_holds(uint64_t seed)
{
    bench b = {.seed = seed};
    hti_pool_attributes pool = {.axes = pick(&b, 1, 3)};
    ht_shape image = {.rank = 2 + (int32_t)pool.axes, .dim = {pick(&b, 1, 2), pick(&b, 1, 3) * pick(&b, 1, 6)}};
    if (pool.axes == 1) image.dim[1] = 300; /* more than one tile */
    ht_shape windows = image;
    for (int32_t k = 0; k < pool.axes; k++) {
        pool.kernel[k] = pick(&b, 1, 4);
        pool.stride[k] = pick(&b, 1, 4);
        pool.pad[k] = pick(&b, 0, pool.kernel[k] - 1);
        image.dim[2 + k] = pool.image[k] = pick(&b, pool.kernel[k], pool.kernel[k] + 5);
        windows.dim[2 + k] = (pool.image[k] + 2 * pool.pad[k] - pool.kernel[k]) / pool.stride[k] + 1;
    }
    const ht_dtype dtype = all_types[seed & 1];
    const hti_order order = seed % 4 == 3 ? HTI_ROW : HTI_LAST;
    const double exact = tolerance_of(dtype);
    hti_tensor whole = random_tensor(&b, HT_I32, image, order, 0, -4, 4), x = make(&b, dtype, image, order, 0);
    bool ok = agrees(&b, HTI_OP_cast, NULL, &whole, 1, &x, want_same, 0);
    if (seed % 5 == 0) put(&x, point_at(image, pick(&b, 0, ht_shape_count(image) - 1)), NAN);
    const hti_tensor index = make(&b, HT_I32, windows, order, 0), taken = make(&b, dtype, windows, order, 0);
    const hti_tensor sums = make(&b, dtype, windows, order, 0), back = make(&b, dtype, image, order, 0);
    const hti_tensor g = random_tensor(&b, dtype, windows, order, 0, -1, 1);
    const hti_tensor x_index[2] = {x, index}, g_index[2] = {g, index};
    ok = ok && agrees(&b, HTI_OP_pool_argmax, &pool, &x, 1, &index, want_pool_argmax, 0);
    ok = ok && agrees(&b, HTI_OP_pool_take, &pool, x_index, 2, &taken, want_pool_take, 0);
    ok = ok && agrees(&b, HTI_OP_pool_put, &pool, g_index, 2, &back, want_pool_put, exact);
    ok = ok && agrees(&b, HTI_OP_window_sum, &pool, &x, 1, &sums, want_window_sum, 16 * exact);
    ok = ok && agrees(&b, HTI_OP_window_spread, &pool, &g, 1, &back, want_window_spread, 16 * exact);
    drop(&b);
    return ok;
}

static void test_pooling(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 300; seed++) bad += !pooling_holds(seed);
    tap_ok(bad == 0, "pooling over 1 to 3 axes and its adjoints (%d off)", (int)bad);
}

/* ---- random draws ---- */
#define DRAW ((const hti_random_attributes *)attributes)

static uint64_t step_of(const hti_tensor *in, int32_t inputs)
{
    return inputs > 0 ? (uint64_t)get(in, (point){{0}}) : 0;
}
static double want_uniform(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    return ht_random_unit(ht_random_word(DRAW->key, step_of(in, inputs), (uint64_t)flat_of(DRAW->shape, p)));
}
static double want_bernoulli(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    return want_uniform(attributes, in, inputs, p) < DRAW->probability ? 1 : 0;
}
static double want_normal(const void *attributes, const hti_tensor *in, int32_t inputs, point p)
{
    const uint64_t key = ht_random_mix(DRAW->key, 1), first = 2 * (uint64_t)flat_of(DRAW->shape, p);
    const double u = ht_random_unit(ht_random_word(key, step_of(in, inputs), first));
    const double v = ht_random_unit(ht_random_word(key, step_of(in, inputs), first + 1));
    return sqrt(-2 * log(u)) * cos(2 * acos(-1) * v);
}

static void test_random(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        bench b = {.seed = seed};
        ht_shape shape = random_shape(&b, (int32_t)pick(&b, 0, 4), 9);
        if (seed % 10 == 0) shape = HT_SHAPE(2, 3, 101, 67);
        const hti_random_attributes attributes = {.key = seed * 77, .probability = 0.3, .shape = shape};
        const hti_tensor step = random_tensor(&b, HT_I32, HT_SCALAR, HTI_ROW, 0, 0, 9);
        const hti_tensor out = make(&b, all_types[seed & 1], shape, (hti_order)(seed >> 1 & 1), 0);
        const int32_t inputs = (int32_t)pick(&b, 0, 1);
        bad += !agrees(&b, HTI_OP_uniform, &attributes, &step, inputs, &out, want_uniform, 0);
        bad += !agrees(&b, HTI_OP_bernoulli, &attributes, &step, inputs, &out, want_bernoulli, 0);
        bad += !agrees(&b, HTI_OP_normal, &attributes, &step, inputs, &out, want_normal, tolerance_of(out.dtype));
        drop(&b);
    }
    tap_ok(bad == 0, "draws are functions of key, step and logical element (%d off)", (int)bad);
    const float most = (float)ht_random_unit(UINT32_MAX), least = (float)ht_random_unit(0);
    tap_ok(most < 1 && least > 0, "a uniform draw lies within (0, 1) in f32 too");
}

static void test_table(void)
{
    int32_t missing = 0;
    for (int32_t id = HTI_OP_stop; id < HTI_OPS; id++) missing += !hti_ops[id]->alias && !BACKEND->kernels[id];
    tap_ok(missing == 0, "every op but leaves and views has a kernel (%d missing)", (int)missing);
    void *none = BACKEND->allocate(0), *large = BACKEND->allocate((size_t)9 << 20);
    tap_ok(none && large && (uintptr_t)large % 64 == 0, "memory is aligned, of no bytes too");
    tap_ok(!BACKEND->allocate(SIZE_MAX - 3), "memory that cannot be is refused");
    BACKEND->release(none);
    BACKEND->release(large);
}

int main(void)
{
    test_copy();
    test_permute();
    test_blocks();
    test_concat();
    test_pooling();
    test_random();
    test_table();
    return tap_done();
}
