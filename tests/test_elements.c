/*
 * The element bodies that the GPU runs, called here one element at a time as its threads would, against the CPU's loops
 * (which the other tests compare with naive references). What both compute in one order must have equal bits.
 */
#include "kernel/kernel.h"
#include "kernels.h"
#include "tap.h"

#define T float
#define HT_NAME(name) name##_f32
#include "kernel/move.inl"
#include "kernel/random.inl"
#include "kernel/reduce.inl"
#include "kernel/window.inl"
#undef T
#undef HT_NAME

static float value(const hti_tensor *t, int64_t index) { return (float)get(t, point_at(t->shape, index)); }

static void test_moves(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        bench b = {.seed = seed};
        const ht_shape shape = random_shape(&b, (int32_t)pick(&b, 1, 4), 7);
        hti_block_attributes pad = {shape, shape};
        for (int32_t k = 0; k < shape.rank; k++) {
            pad.start.dim[k] = pick(&b, 0, 2);
            pad.size.dim[k] = shape.dim[k] + pad.start.dim[k] + pick(&b, 0, 2);
        }
        const hti_tensor x = random_tensor(&b, HT_F32, shape, (hti_order)(seed & 1), 0, -1, 1);
        const hti_tensor y = make(&b, HT_F32, pad.size, (hti_order)(seed & 1), 0);
        bad += run_op(&b, HTI_OP_pad, &pad, &x, 1, &y, 1) != HT_OK;
        for (int64_t i = 0; i < ht_shape_count(pad.size); i++)
            bad += value(&y, i) != k_pad_f32(x.data, i, shape.rank, pad.size.dim, pad.start.dim, shape.dim, x.stride);
        for (int64_t i = 0; i < ht_shape_count(shape); i++)
            bad += value(&x, i) != k_gather_f32(x.data, i, shape.rank, shape.dim, x.stride);
        drop(&b);
    }
    tap_ok(bad == 0, "gather and pad by element (%d off)", (int)bad);
}

static void test_sums(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        bench b = {.seed = seed};
        const ht_shape shape = random_shape(&b, (int32_t)pick(&b, 1, 4), 12), all = {shape.rank, {1, 1, 1, 1}};
        const hti_shape_attributes to = {all};
        const hti_tensor x = random_tensor(&b, HT_F32, shape, (hti_order)(seed & 1), 0, 0, 1);
        const hti_tensor y = make(&b, HT_F32, all, HTI_ROW, 0);
        bad += run_op(&b, HTI_OP_sum_to, &to, &x, 1, &y, 1) != HT_OK;
        const float sum = k_sum_f32(x.data, shape.rank, shape.dim, x.stride);
        bad += !close_to((double)sum, (double)value(&y, 0), 1e-6);
        drop(&b);
    }
    tap_ok(bad == 0, "sums by element agree to rounding (%d off)", (int)bad);
}

typedef struct pooling {
    hti_pool_attributes attributes;
    hti_window window;
    ht_shape image, windows;
} pooling;

static pooling random_pooling(bench *b)
{
    pooling p = {.attributes = {.axes = 3}};
    p.image = p.windows = HT_SHAPE(2, 5, 1, 1, 1);
    for (int32_t k = 0; k < 3; k++) {
        const int64_t kernel = pick(b, 1, 3), stride = pick(b, 1, 3), pad = pick(b, 0, kernel - 1);
        const int64_t image = pick(b, kernel, 7), windows = (image + 2 * pad - kernel) / stride + 1;
        p.attributes.kernel[k] = p.window.kernel[k] = kernel;
        p.attributes.stride[k] = p.window.stride[k] = stride;
        p.attributes.pad[k] = p.window.pad[k] = pad;
        p.attributes.image[k] = p.window.image[k] = p.image.dim[2 + k] = image;
        p.window.windows[k] = p.windows.dim[2 + k] = windows;
    }
    return p;
}

/* Where a tensor's image and channel of a place begin. */
static int64_t base(const hti_tensor *t, point p) { return p.at[0] * t->stride[0] + p.at[1] * t->stride[1]; }

static bool pooling_agrees(uint64_t seed)
{
    bench b = {.seed = seed};
    const pooling p = random_pooling(&b);
    const hti_window *w = &p.window;
    const hti_tensor x = random_tensor(&b, HT_F32, p.image, HTI_LAST, 0, -1, 1);
    const hti_tensor g = random_tensor(&b, HT_F32, p.windows, HTI_LAST, 0, -1, 1);
    const hti_tensor index = make(&b, HT_I32, p.windows, HTI_LAST, 0), taken = make(&b, HT_F32, p.windows, HTI_LAST, 0);
    const hti_tensor sum = make(&b, HT_F32, p.windows, HTI_LAST, 0), spread = make(&b, HT_F32, p.image, HTI_LAST, 0);
    const hti_tensor put_back = make(&b, HT_F32, p.image, HTI_LAST, 0);
    const hti_tensor x_index[2] = {x, index}, g_index[2] = {g, index};
    bool ok = run_op(&b, HTI_OP_pool_argmax, &p.attributes, &x, 1, &index, 1) == HT_OK &&
              run_op(&b, HTI_OP_pool_take, &p.attributes, x_index, 2, &taken, 1) == HT_OK &&
              run_op(&b, HTI_OP_pool_put, &p.attributes, g_index, 2, &put_back, 1) == HT_OK &&
              run_op(&b, HTI_OP_window_sum, &p.attributes, &x, 1, &sum, 1) == HT_OK &&
              run_op(&b, HTI_OP_window_spread, &p.attributes, &g, 1, &spread, 1) == HT_OK;
    const float *from = x.data, *cotangent = g.data;
    const int32_t *places = index.data;
    for (int64_t i = 0; i < ht_shape_count(p.windows); i++) {
        const point at = point_at(p.windows, i);
        const int32_t best = k_pool_argmax_f32(w, from + base(&x, at), x.stride + 2, at.at + 2);
        ok = ok && best == (int32_t)get(&index, at);
        ok = ok && k_pool_take_f32(w, from + base(&x, at), x.stride + 2, best) == value(&taken, i);
        ok = ok && k_window_sum_f32(w, from + base(&x, at), x.stride + 2, at.at + 2) == value(&sum, i);
    }
    for (int64_t i = 0; i < ht_shape_count(p.image); i++) {
        const point at = point_at(p.image, i);
        ok = ok && k_pool_put_f32(w, cotangent + base(&g, at), g.stride + 2, places + base(&index, at),
                                  index.stride + 2, at.at + 2) == value(&put_back, i);
        ok = ok && k_window_spread_f32(w, cotangent + base(&g, at), g.stride + 2, at.at + 2) == value(&spread, i);
    }
    drop(&b);
    return ok;
}

static void test_pooling(void)
{
    int32_t bad = 0;
    for (uint64_t seed = 0; seed < 60; seed++) bad += !pooling_agrees(seed);
    tap_ok(bad == 0, "pooling by element has the loops' bits (%d off)", (int)bad);
}

static void test_draws(void)
{
    bench b = {0};
    const hti_random_attributes attributes = {.key = 5, .probability = 0.4, .shape = HT_SHAPE(3, 4, 41, 7)};
    const hti_op_id ids[] = {HTI_OP_uniform, HTI_OP_normal, HTI_OP_bernoulli};
    int32_t bad = 0;
    for (int32_t k = 0; k < 3; k++) {
        const hti_tensor y = make(&b, HT_F32, attributes.shape, HTI_LAST, 0);
        bad += run_op(&b, ids[k], &attributes, NULL, 0, &y, 2) != HT_OK;
        for (int64_t i = 0; i < ht_shape_count(y.shape); i++) {
            const float want = k == 0   ? k_uniform_f32(attributes.key, 0, i)
                               : k == 1 ? k_normal_f32(attributes.key, 0, i)
                                        : k_bernoulli_f32(attributes.key, 0, i, attributes.probability);
            bad += want != value(&y, i);
        }
    }
    drop(&b);
    tap_ok(bad == 0, "draws by element have the loops' bits (%d off)", (int)bad);
}

int main(void)
{
    test_moves();
    test_sums();
    test_pooling();
    test_draws();
    return tap_done();
}
