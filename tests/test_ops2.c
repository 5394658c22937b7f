/*
 * Images and losses against naive loops on the host: resizing, pooling, sampling, norms, attention, losses, critics; in
 * f64 and f32. Hard points: one pixel, constant channels, empty masks, large logits. The adjoints that gather have equal
 * bits for any number of threads, and the element bodies of the GPU those of the CPU's loops. Derivatives are
 * test_gradients.c's matter.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/nn.h>

#include "kernel/place.h"
#include "kernel/resample.h"
#include "kernels.h"
#include "kit.h"
#include "tap.h"

#define T float
#define HT_NAME(name) name##_f32
#include "kernel/place.inl"
#include "kernel/resample.inl"
#undef T
#undef HT_NAME

enum { MOST_NUMBERS = 4096 };

static ht_device *device;

/* A value of random numbers in (low, high); `host` receives them as the tape holds them. */
static ht_var random_value(ht_tape *tape, double *host, uint64_t stream, double low, double high, ht_shape shape)
{
    const int64_t count = ht_shape_count(shape);
    kit_fill(host, count, stream, low, high);
    for (int64_t i = 0; i < count && ht_tape_dtype(tape) == HT_F32; i++) host[i] = (double)(float)host[i];
    return ht_constant(tape, host, shape);
}

/* Runs; of an f32 value the numbers as double. */
static int numbers_of(ht_var y, double *values) { return kit_run(device, ht_list(ht_cast(y, HT_F64)), values); }

/* Whether the value is want(place, context) everywhere, relative to the larger of 1 and that. */
typedef double (*wanted)(const void *context, const int64_t *at);
static void check(ht_var y, wanted want, const void *context, const char *name)
{
    double got[MOST_NUMBERS], worst = 0;
    const ht_shape shape = ht_var_shape(y);
    const int64_t count = ht_shape_count(shape);
    const double tolerance = ht_var_dtype(y) == HT_F32 ? 4e-6 : 1e-12;
    const char *type = ht_dtype_name(ht_var_dtype(y));
    if (!ht_ok(y) || count > MOST_NUMBERS || !numbers_of(y, got)) {
        tap_ok(0, "%s, %s: records and runs", name, type);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        const point p = point_at(shape, i);
        const double off = kit_difference(got[i], want(context, p.at));
        worst = off <= worst ? worst : off; /* NaN counts */
        if (isnan(off)) worst = INFINITY;
    }
    tap_ok(worst <= tolerance, "%s, %s: %.1e", name, type, worst);
}

/* ---- resizing and pooling ---- */

typedef struct picture {
    const double *x, *grid;
    int64_t channels, axes, from[3], to[3];
    int mode, border, corners;
} picture;
enum { NEAREST, LINEAR, CORNERS, MEAN };

/* The weight of position j in result i along one axis, by the words of the conventions. */
static double axis_weight(const picture *p, int32_t axis, int64_t i, int64_t j)
{
    const double n = (double)p->from[axis], size = (double)p->to[axis];
    if (p->mode == NEAREST) return j == (int64_t)floor((double)i * n / size + 1e-9);
    if (p->mode == MEAN) {
        const double begin = floor((double)i * n / size + 1e-9), end = ceil((double)(i + 1) * n / size - 1e-9);
        return (double)j >= begin && (double)j < end ? 1 / (end - begin) : 0;
    }
    double at = p->mode == CORNERS ? (size > 1 ? (double)i * (n - 1) / (size - 1) : 0) : ((double)i + 0.5) * n / size - 0.5;
    at = fmin(fmax(at, 0), n - 1);
    return fmax(0, 1 - fabs(at - (double)j));
}

static double want_resized(const void *context, const int64_t *at)
{
    const picture *p = context;
    int64_t pixels = 1;
    double sum = 0;
    for (int64_t k = 0; k < p->axes; k++) pixels *= p->from[k];
    for (int64_t i = 0; i < pixels; i++) {
        double weight = 1;
        int64_t rest = i;
        for (int32_t k = (int32_t)p->axes - 1; k >= 0; k--) {
            weight *= axis_weight(p, k, at[2 + k], rest % p->from[k]);
            rest /= p->from[k];
        }
        if (weight != 0) sum += weight * p->x[(at[0] * p->channels + at[1]) * pixels + i];
    }
    return sum;
}

static ht_var resized(ht_var x, ht_shape size, int mode)
{
    if (mode == MEAN) return ht_adaptive_avg_pool(x, size);
    return ht_resize(x, size, .linear = mode != NEAREST, .align_corners = mode == CORNERS);
}

static void test_resizing(ht_dtype dtype)
{
    static const char *const modes[] = {"nearest", "linear", "linear, corners aligned", "adaptive mean"};
    static const picture sizes[] = {
        {.channels = 3, .axes = 2, .from = {5, 4}, .to = {8, 7}},  {.channels = 3, .axes = 2, .from = {7, 8}, .to = {3, 5}},
        {.channels = 2, .axes = 1, .from = {6}, .to = {13}},       {.channels = 2, .axes = 3, .from = {2, 5, 3}, .to = {4, 2, 3}},
        {.channels = 1, .axes = 2, .from = {1, 1}, .to = {3, 2}},  {.channels = 2, .axes = 2, .from = {4, 6}, .to = {1, 1}},
        {.channels = 4, .axes = 2, .from = {3, 3}, .to = {3, 3}},
    };
    double x[MOST_NUMBERS];
    for (size_t k = 0; k < 4 * sizeof sizes / sizeof sizes[0]; k++) {
        picture p = sizes[k / 4];
        ht_shape shape = {(int32_t)p.axes + 2, {2, p.channels}}, size = {.rank = (int32_t)p.axes};
        p.x = x;
        p.mode = (int)(k % 4);
        for (int64_t i = 0; i < p.axes; i++) {
            shape.dim[2 + i] = p.from[i];
            size.dim[i] = p.to[i];
        }
        ht_tape *tape = ht_tape_new(dtype);
        char name[96], text[HT_SHAPE_TEXT];
        snprintf(name, sizeof name, "resize, %s to %s", modes[p.mode], ht_shape_text(size, text));
        check(resized(random_value(tape, x, k, -1, 1, shape), size, p.mode), want_resized, &p, name);
        ht_tape_free(tape);
    }
}

/* Windows of 3, stride 2, pad 1, over the numbers of the image alone. */
static double want_pooled(const void *context, const int64_t *at)
{
    const picture *p = context;
    double sum = 0, count = 0;
    for (int64_t h = 2 * at[2] - 1; h < 2 * at[2] + 2; h++)
        for (int64_t w = 2 * at[3] - 1; w < 2 * at[3] + 2; w++) {
            if (h < 0 || w < 0 || h >= p->from[0] || w >= p->from[1]) continue;
            sum += p->x[((at[0] * p->channels + at[1]) * p->from[0] + h) * p->from[1] + w];
            count++;
        }
    return sum / count;
}

static void test_pooling(ht_dtype dtype)
{
    double x[MOST_NUMBERS];
    const picture p = {.x = x, .channels = 3, .from = {5, 8}};
    ht_tape *tape = ht_tape_new(dtype);
    ht_var image = random_value(tape, x, 5, -1, 1, HT_SHAPE(2, 3, 5, 8));
    check(ht_avg_pool(image, .kernel = ht_all(3), .stride = ht_all(2), .pad = ht_all(1), .exclude_pad = 1), want_pooled, &p,
          "average pooling without the padding");
    ht_tape_free(tape);
}

/* ---- sampling ---- */

static double want_sampled(const void *context, const int64_t *at)
{
    const picture *p = context;
    const double *g = p->grid + ((at[0] * p->to[0] + at[2]) * p->to[1] + at[3]) * 2;
    double place[2], sum = 0;
    for (int k = 0; k < 2; k++) { /* row, then column */
        const double n = (double)p->from[k], c = g[1 - k];
        place[k] = p->corners ? (c + 1) / 2 * (n - 1) : ((c + 1) * n - 1) / 2;
        if (p->border) place[k] = fmin(fmax(place[k], 0), n - 1);
    }
    for (int64_t h = 0; h < p->from[0]; h++)
        for (int64_t w = 0; w < p->from[1]; w++)
            sum += fmax(0, 1 - fabs(place[0] - (double)h)) * fmax(0, 1 - fabs(place[1] - (double)w)) *
                   p->x[((at[0] * p->channels + at[1]) * p->from[0] + h) * p->from[1] + w];
    return sum;
}

static double want_same(const void *context, const int64_t *at)
{
    const picture *p = context;
    return p->x[((at[0] * p->channels + at[1]) * p->from[0] + at[2]) * p->from[1] + at[3]];
}

static void test_sampling(ht_dtype dtype)
{
    static const double identity[12] = {1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0};
    double x[MOST_NUMBERS], g[MOST_NUMBERS];
    for (int k = 0; k < 4; k++) {
        const picture p = {.x = x, .grid = g, .channels = 3, .from = {5, 4}, .to = {6, 7}, .border = k / 2, .corners = k % 2};
        ht_tape *tape = ht_tape_new(dtype);
        char name[96];
        snprintf(name, sizeof name, "grid sample, %s%s", p.border ? "border" : "zeros", p.corners ? ", corners aligned" : "");
        ht_var image = random_value(tape, x, 20, -1, 1, HT_SHAPE(2, 3, 5, 4));
        ht_var grid = random_value(tape, g, 21, -1.6, 1.6, HT_SHAPE(2, 6, 7, 2));
        check(ht_grid_sample(image, grid, .border = p.border, .align_corners = p.corners), want_sampled, &p, name);
        grid = ht_affine_grid(ht_constant(tape, identity, HT_SHAPE(2, 2, 3)), HT_SHAPE(5, 4), .align_corners = p.corners);
        check(ht_grid_sample(image, grid, .border = p.border, .align_corners = p.corners), want_same, &p, "the identity");
        ht_tape_free(tape);
    }
}

/* ---- norms and attention ---- */

/* x [2, 4, 3, 5]; mode 0 batch, 1 instance, 2 two groups, 3 layer over the last two axes. */
typedef struct normed {
    const double *x, *gain, *bias;
    int mode;
} normed;

static int64_t group_of(const normed *n, int64_t i)
{
    const int64_t channel = i / 15 % 4, image = i / 60;
    return n->mode == 0 ? channel : n->mode == 2 ? image * 2 + channel / 2 : image * 4 + channel;
}

static double want_normed(const void *context, const int64_t *at)
{
    const normed *n = context;
    const int64_t here = ((at[0] * 4 + at[1]) * 3 + at[2]) * 5 + at[3], group = group_of(n, here);
    const int64_t part = n->mode == 3 ? at[2] * 5 + at[3] : at[1];
    double sum = 0, square = 0, count = 0;
    for (int64_t i = 0; i < 120; i++) sum += group_of(n, i) == group ? n->x[i] : 0, count += group_of(n, i) == group;
    for (int64_t i = 0; i < 120; i++) square += group_of(n, i) == group ? pow(n->x[i] - sum / count, 2) : 0;
    return (n->x[here] - sum / count) / sqrt(square / count + 1e-5) * n->gain[part] + n->bias[part];
}

static ht_var norm_by(int mode, ht_var x, ht_var gain, ht_var bias)
{
    if (mode == 0) return ht_batch_norm(x, gain, bias);
    if (mode == 1) return ht_instance_norm(x, gain, bias);
    if (mode == 2) return ht_group_norm(x, gain, bias, .groups = 2);
    return ht_layer_norm(x, gain, bias, .axes = 2);
}

static const char *const norms[] = {"batch norm", "instance norm", "group norm", "layer norm"};

static void test_norms(ht_dtype dtype)
{
    double x[120], gain[15], bias[15];
    for (int mode = 0; mode < 8; mode++) {
        const normed n = {x, gain, bias, mode % 4};
        const double centre = mode < 4 ? 0 : 1e5;
        const ht_shape each = n.mode == 3 ? HT_SHAPE(3, 5) : HT_SHAPE(4);
        ht_tape *tape = ht_tape_new(dtype);
        ht_var value = random_value(tape, x, 30, centre - 2, centre + 2, HT_SHAPE(2, 4, 3, 5));
        ht_var g = random_value(tape, gain, 31, 0.5, 2, each), b = random_value(tape, bias, 32, -1, 1, each);
        char name[64];
        snprintf(name, sizeof name, "%s about %g", norms[n.mode], centre);
        if (dtype == HT_F64 && mode >= 4) { /* the host's own two passes lose what an offset of 1e5 costs */
            for (int i = 0; i < 120; i++) x[i] -= 1e5;
        }
        check(norm_by(n.mode, value, g, b), want_normed, &n, name);
        ht_tape_free(tape);
    }
}

/* Constant groups: the result is the bias to the bit; first and second derivatives are finite. */
static void test_constant_groups(ht_dtype dtype, ht_shape shape)
{
    for (int mode = ht_shape_count(shape) == 4 ? 1 : 0; mode < 4; mode++) {
        double x[120], gain[120], bias[120], got[MOST_NUMBERS], off = 0;
        const int64_t count = ht_shape_count(shape);
        const ht_shape each = mode == 3 ? HT_SHAPE(shape.dim[2], shape.dim[3]) : HT_SHAPE(4);
        ht_tape *tape = ht_tape_new(dtype);
        for (int64_t i = 0; i < count; i++) x[i] = 123456.7;
        ht_var value = ht_constant(tape, x, shape);
        ht_var g = random_value(tape, gain, 41, 0.5, 2, each), b = random_value(tape, bias, 42, -1, 1, each);
        ht_var y = norm_by(mode, value, g, b), u = random_value(tape, x, 43, -1, 1, shape);
        ht_vars leaves = ht_list(value, g, b), first = ht_grad(ht_sum(ht_mul(ht_square(y), u)), leaves);
        ht_vars second = ht_grad(ht_dot(first, first), ht_list(value, g));
        ht_var parts[6] = {ht_cast(y, HT_F64)};
        int64_t all = count;
        for (int32_t k = 0; k < 3 && first.count == 3; k++) {
            parts[1 + k] = ht_cast(first.at[k], HT_F64);
            all += ht_shape_count(ht_var_shape(first.at[k]));
        }
        for (int32_t k = 0; k < 2 && second.count == 2; k++) {
            parts[4 + k] = ht_cast(second.at[k], HT_F64);
            all += ht_shape_count(ht_var_shape(second.at[k]));
        }
        int finite = kit_run(device, ht_list(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]), got);
        for (int64_t i = 0; i < all && finite; i++) finite = isfinite(got[i]);
        const int64_t space = shape.dim[2] * shape.dim[3];
        for (int64_t i = 0; i < count && finite; i++)
            off = fmax(off, fabs(got[i] - bias[mode == 3 ? i % space : i / space % 4]));
        tap_ok(finite && off == 0, "%s of one number everywhere, %lld of them, %s: the bias exactly, finite to order 2",
               norms[mode], (long long)count, ht_dtype_name(dtype));
        ht_tape_free(tape);
    }
}

typedef struct attended {
    const double *q, *k, *v;
} attended;

/* q [2, 3, 4], k [2, 5, 4], v [2, 5, 2] */
static double want_attended(const void *context, const int64_t *at)
{
    const attended *a = context;
    double sum = 0, weights = 0;
    for (int64_t m = 0; m < 5; m++) {
        double score = 0;
        for (int64_t d = 0; d < 4; d++) score += a->q[(at[0] * 3 + at[1]) * 4 + d] * a->k[(at[0] * 5 + m) * 4 + d];
        weights += exp(score / 2);
        sum += exp(score / 2) * a->v[(at[0] * 5 + m) * 2 + at[2]];
    }
    return sum / weights;
}

static void test_attention(ht_dtype dtype)
{
    double q[24], k[40], v[20];
    const attended a = {q, k, v};
    ht_tape *tape = ht_tape_new(dtype);
    ht_var y = ht_attention(random_value(tape, q, 50, -2, 2, HT_SHAPE(2, 3, 4)),
                            random_value(tape, k, 51, -2, 2, HT_SHAPE(2, 5, 4)),
                            random_value(tape, v, 52, -1, 1, HT_SHAPE(2, 5, 2)));
    check(y, want_attended, &a, "attention");
    ht_tape_free(tape);
}

/* ---- losses ---- */

enum { CASES = 7 };

static void test_losses(void)
{
    static const char *const names[] = {"L1", "L2", "hinge", "Jaccard", "weighted cross entropy", "focal", "focal, no balance",
                                        "critic"};
    double z[CASES], t[CASES], got[8], want[8] = {0}, both = 0, either = 0;
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x = random_value(tape, z, 60, -3, 3, HT_SHAPE(CASES)), y = random_value(tape, t, 61, 0, 1, HT_SHAPE(CASES));
    ht_vars all = ht_list(ht_l1_loss(x, y), ht_l2_loss(x, y), ht_hinge_loss(x, y), ht_jaccard_loss(ht_square(x), y, 0.5),
                          ht_weighted_cross_entropy(x, y, ht_fill(tape, 3, HT_SCALAR)), ht_focal_loss(x, y, 1.5, 0.3),
                          ht_focal_loss(x, y, 0, 0), nn_critic_loss(x, y));
    for (int i = 0; i < CASES; i++) {
        const double p = 1 / (1 + exp(-z[i])), hit = -t[i] * log(p), other = -(1 - t[i]) * log(1 - p);
        want[0] += fabs(z[i] - t[i]) / CASES;
        want[1] += (z[i] - t[i]) * (z[i] - t[i]) / CASES;
        want[2] += fmax(0, 1 - z[i] * t[i]) / CASES;
        both += z[i] * z[i] * t[i];
        either += z[i] * z[i] + t[i];
        want[4] += (3 * hit + other) / CASES;
        want[5] += (0.3 * pow(1 - p, 1.5) * hit + 0.7 * pow(p, 1.5) * other) / CASES;
        want[6] += (hit + other) / CASES;
        want[7] += (t[i] - z[i]) / CASES;
    }
    want[3] = 1 - (both + 0.5) / (either - both + 0.5);
    int ran = kit_run(device, all, got);
    for (int i = 0; i < 8; i++)
        tap_ok(ran && kit_difference(got[i], want[i]) <= 1e-12, "%s: %.15g, expected %.15g", names[i], got[i], want[i]);
    ht_tape_free(tape);
}

static void test_hard_losses(ht_dtype dtype)
{
    static const double large[4] = {1000, -1000, 1000, -1000}, target[4] = {1, 0, 0, 1}, zero[4] = {0};
    double got[11];
    ht_tape *tape = ht_tape_new(dtype);
    ht_var z = ht_constant(tape, large, HT_SHAPE(4)), t = ht_constant(tape, target, HT_SHAPE(4));
    ht_var focal = ht_focal_loss(z, t, 2, 0), empty = ht_constant(tape, zero, HT_SHAPE(4));
    ht_vars first = ht_grad(focal, ht_list(z)), second = ht_grad(ht_sum(first.at[0]), ht_list(z));
    int ran = kit_run(device, ht_list(ht_cast(focal, HT_F64), ht_cast(first.at[0], HT_F64), ht_cast(second.at[0], HT_F64),
                                      ht_cast(ht_jaccard_loss(empty, empty, 1e-6), HT_F64)), got);
    tap_ok(ran && got[0] == 500, "focal loss of logits 1000, %s: %g", ht_dtype_name(dtype), got[0]);
    tap_ok(ran && got[1] == 0 && got[2] == 0 && got[3] == 0.25 && got[4] == -0.25, "its slopes: %g %g %g %g", got[1], got[2],
           got[3], got[4]);
    tap_ok(ran && got[5] == 0 && got[6] == 0 && got[7] == 0 && got[8] == 0, "and no curvature");
    tap_ok(ran && got[9] == 0, "Jaccard of two empty masks: %g", got[9]);
    ht_tape_free(tape);
}

/* ---- nn: drop path, critics ---- */

static void test_drop_path(void)
{
    double x[48], got[48], kept = 0, mixed[48], other[48];
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope s = nn_open(tape, store, .seed = 3);
    ht_var value = random_value(tape, x, 70, 1, 2, HT_SHAPE(16, 3)), b = random_value(tape, other, 71, 1, 2, HT_SHAPE(16, 3));
    int ok = numbers_of(nn_drop_path(s, "drop", value, 0.5), got);
    for (int n = 0; n < 16 && ok; n++) {
        kept += got[3 * n] != 0;
        for (int i = 3 * n; i < 3 * n + 3; i++) ok = ok && got[i] == (got[3 * n] != 0 ? 2 * x[i] : 0);
    }
    tap_ok(ok && kept > 0 && kept < 16, "drop path keeps or drops whole cases: %g of 16 kept", kept);
    ok = numbers_of(nn_between(s, "mix", value, b), mixed);
    for (int i = 0; i < 48 && ok; i++) {
        const double share = (mixed[i - i % 3] - x[i - i % 3]) / (other[i - i % 3] - x[i - i % 3]);
        ok = share > 0 && share < 1 && kit_difference(mixed[i], x[i] + share * (other[i] - x[i])) < 1e-12;
    }
    tap_ok(ok, "points between two batches: one share for each case");
    nn_scope still = nn_open(tape, store, .evaluate = 1);
    ht_var same = nn_drop_path(still, "drop", value, 0.5);
    tap_ok(same.id == value.id, "in evaluation drop path passes everything");
    tap_ok(!ht_ok(nn_drop_path(s, "drop", value, 1)) && strstr(ht_tape_error(tape)->message, "drop_path \"drop\""),
           "refused: %s", ht_tape_error(tape)->message);
    ht_tape_free(tape);
    ht_store_free(store);
}

static void test_penalty(void)
{
    double x[6], w[3], got[9];
    static const double nothing[3] = {0};
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var points = random_value(tape, x, 80, -1, 1, HT_SHAPE(2, 3)), weight = random_value(tape, w, 81, 1, 2, HT_SHAPE(3, 1));
    ht_var flat = ht_constant(tape, nothing, HT_SHAPE(3, 1));
    ht_var penalty = nn_gradient_penalty(ht_matmul(points, weight), points, 1);
    ht_var none = nn_gradient_penalty(ht_matmul(points, flat), points, 1);
    ht_vars all = ht_list(penalty, none, ht_grad(penalty, ht_list(weight)).at[0], ht_grad(none, ht_list(flat)).at[0]);
    const double norm = sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2]);
    int ok = kit_run(device, all, got);
    tap_ok(ok && kit_difference(got[0], (norm - 1) * (norm - 1)) <= 1e-12, "penalty of a linear critic: %.15g", got[0]);
    for (int i = 0; i < 3 && ok; i++) ok = kit_difference(got[2 + i], 2 * (norm - 1) * w[i] / norm) <= 1e-12;
    tap_ok(ok, "and its gradient in the weights");
    tap_ok(got[1] == 1 && got[5] == 0 && got[6] == 0 && got[7] == 0, "of a flat critic it is 1, with slope 0");
    ht_tape_free(tape);
}

/* ---- kernels: threads, orders, element bodies ---- */

static int resample_agrees(uint64_t seed)
{
    bench b = {.seed = seed};
    const int back = (int)(seed / 4 % 2);
    ht_shape shape = random_shape(&b, (int32_t)pick(&b, 2, 5), 7), result = shape;
    hti_resample_attributes a = {pick(&b, 0, shape.rank - 1), (int64_t)(seed % 4) + 1, 0, 0};
    if (seed % 16 >= 12) shape.dim[a.axis] = result.dim[a.axis] = pick(&b, 20, 40); /* lanes along the axis */
    const int64_t other = pick(&b, 1, seed % 32 >= 16 ? 40 : 9);
    a.from = back ? other : shape.dim[a.axis];
    a.to = back ? shape.dim[a.axis] : other;
    const int64_t from = shape.dim[a.axis], to = result.dim[a.axis] = back ? a.from : a.to;
    const hti_order order = (hti_order)(seed / 8 % 2);
    const hti_op_id op = back ? HTI_OP_resample_back : HTI_OP_resample;
    const hti_tensor x = random_tensor(&b, HT_F32, shape, order, 0, -1, 1);
    const hti_tensor y = make(&b, HT_F32, result, order, 0), many = make(&b, HT_F32, result, order, 0);
    int agrees = run_op(&b, op, &a, &x, 1, &y, 1) == HT_OK && run_op(&b, op, &a, &x, 1, &many, 4) == HT_OK;
    const int64_t count = ht_shape_count(result), inner = y.stride[a.axis];
    for (int64_t i = 0; i < count && agrees; i++) {
        const float *line = (const float *)x.data + i / inner / to * from * inner + i % inner;
        const float want = back ? k_resample_back_f32(&a, line, inner, i / inner % to)
                                : k_resample_f32(&a, line, inner, i / inner % to);
        agrees = want == ((const float *)y.data)[i];
    }
    agrees = agrees && memcmp(y.data, many.data, (size_t)count * sizeof(float)) == 0;
    drop(&b);
    return agrees;
}

static int place_agrees(uint64_t seed)
{
    bench b = {.seed = seed};
    const ht_shape image = HT_SHAPE(2, pick(&b, 1, 5), pick(&b, 1, 4), pick(&b, 1, 4));
    const ht_shape points = HT_SHAPE(2, 1, pick(&b, 1, 7), pick(&b, 1, 7));
    ht_shape taken = points;
    taken.dim[1] = image.dim[1];
    const hti_order order = (hti_order)(seed % 2);
    const hti_place_attributes a = {{image.dim[2], image.dim[3]}};
    const int64_t pixels = image.dim[2] * image.dim[3], many = points.dim[2] * points.dim[3];
    const hti_tensor row = random_tensor(&b, HT_I32, points, order, 0, -1, 5);
    const hti_tensor column = random_tensor(&b, HT_I32, points, order, 0, -1, 5);
    const hti_tensor x = random_tensor(&b, HT_F32, image, order, 0, -1, 1), y = make(&b, HT_F32, taken, order, 0);
    const hti_tensor g = make(&b, HT_F32, image, order, 0), threads = make(&b, HT_F32, image, order, 0);
    const hti_tensor take_in[3] = {x, row, column}, put_in[3] = {y, row, column};
    int agrees = run_op(&b, HTI_OP_place_take, &a, take_in, 3, &y, 1) == HT_OK &&
                 run_op(&b, HTI_OP_place_put, &a, put_in, 3, &g, 1) == HT_OK &&
                 run_op(&b, HTI_OP_place_put, &a, put_in, 3, &threads, 4) == HT_OK;
    int32_t first[17], list[49];
    for (int64_t n = 0; n < 2 && agrees; n++) {
        const int32_t *r = (const int32_t *)row.data + n * many, *c = (const int32_t *)column.data + n * many;
        hti_place_list(a.image, many, r, c, first, list);
        for (int64_t k = 0; k < image.dim[1] * (many + pixels); k++) {
            const int64_t channel = k % image.dim[1], i = k / image.dim[1];
            const float *from = (const float *)x.data + n * x.stride[0] + channel * x.stride[1];
            const float *to = (const float *)y.data + n * y.stride[0] + channel * y.stride[1];
            const float *put = (const float *)g.data + n * g.stride[0] + channel * g.stride[1];
            if (i < many) agrees = agrees && to[i * y.stride[3]] == k_place_take_f32(a.image, from, &x.stride[2], r[i], c[i]);
            else
                agrees = agrees && put[(i - many) * g.stride[3]] ==
                                       k_place_put_f32(to, y.stride[3], list, first[i - many], first[i - many + 1]);
        }
    }
    agrees = agrees && memcmp(g.data, threads.data, (size_t)ht_shape_count(image) * sizeof(float)) == 0;
    drop(&b);
    return agrees;
}

static void test_kernels(void)
{
    int resample = 0, place = 0;
    for (uint64_t seed = 0; seed < 160; seed++) {
        resample += !resample_agrees(seed);
        place += !place_agrees(seed);
    }
    tap_ok(resample == 0, "resampling: loops, element bodies and threads have equal bits (%d off)", resample);
    tap_ok(place == 0, "points: loops, element bodies and threads have equal bits (%d off)", place);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 2, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    for (int k = 0; k < 2; k++) {
        const ht_dtype dtype = k ? HT_F32 : HT_F64;
        test_resizing(dtype);
        test_pooling(dtype);
        test_sampling(dtype);
        test_norms(dtype);
        test_constant_groups(dtype, HT_SHAPE(2, 4, 3, 5));
        test_constant_groups(dtype, HT_SHAPE(1, 4, 1, 1));
        test_attention(dtype);
        test_hard_losses(dtype);
    }
    test_losses();
    test_drop_path();
    test_penalty();
    test_kernels();
    ht_device_close(device);
    return tap_done();
}
