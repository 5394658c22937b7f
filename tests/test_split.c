/*
 * Convolutions on the matrix unit (conv_split.c): errors against f64 beside those of the direct kernels, equal bits for any
 * number of threads, odd shapes, what is not finite. Linked with the kernels of the best instruction set of the build, and
 * skipped where the machine has no such unit.
 */
#include <math.h>

#include "backend/cpu/split.h"
#include "conv_call.h"
#include "tap.h"

#define COUNT(list) ((int32_t)(sizeof(list) / sizeof((list)[0])))
#define FACES 3

static const hti_conv_method *const method_of[FACES] = {&hti_conv_split, &hti_conv_split, &hti_conv_split_weight};

/* Root of the mean square of the difference, in parts of the exact values'. */
static double distance(const float *a, const double *exact, int64_t count)
{
    double sum = 0, all = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += ((double)a[i] - exact[i]) * ((double)a[i] - exact[i]);
        all += exact[i] * exact[i];
    }
    return sqrt(sum / (all + 1e-300));
}

static int64_t drawn(int64_t least, int64_t most)
{
    return least + (int64_t)((conv_uniform() + 1) / 2 * (double)(most - least + 1));
}

static bool takes(const conv_case *c, hti_conv_face face, const hti_conv_method *method)
{
    conv_plan p;
    ht_error error = {0};
    if (conv_plan_make(&p, c, face, HT_F32, method, 1, &error) != HT_OK) return false;
    const bool split = strncmp(p.choice.algorithm, "split amx", 9) == 0;
    conv_plan_free(&p);
    return split;
}

/* Errors of both, in the largest ratio of all cases. */
typedef struct worst {
    double ratio, error;
    int32_t taken[FACES];
} worst;

static void check_face(const conv_case *c, hti_conv_face face, const conv_operands *o, worst *w, char why[256])
{
    const hti_conv_method *method = method_of[face];
    const int32_t a = conv_first[face], b = conv_second[face];
    const int64_t count = o->count[conv_result[face]];
    conv_case plain = *c;
    plain.convolution = HT_CONVOLUTION_DIRECT;
    if (!takes(c, face, method)) return;
    w->taken[face]++;
    float *one = conv_call(c, face, HT_F32, method, 1, o->f32[a], o->f32[b], NULL, why);
    float *direct = conv_call(&plain, face, HT_F32, NULL, 2, o->f32[a], o->f32[b], NULL, why);
    double *exact = conv_call(c, face, HT_F64, NULL, 2, o->f64[a], o->f64[b], NULL, why);
    for (int32_t threads = 2; threads <= 5 && one; threads += 3) {
        float *more = conv_call(c, face, HT_F32, method, threads, o->f32[a], o->f32[b], NULL, why);
        if (more && memcmp(one, more, (size_t)count * sizeof *one) != 0)
            snprintf(why, 256, "%s: other bits with %d threads", conv_face_name[face], (int)threads);
        free(more);
    }
    if (one && direct && exact) {
        const double error = distance(one, exact, count), ratio = error / (distance(direct, exact, count) + 1e-9);
        if (!(error <= 1e-6) || !(ratio <= 2))
            snprintf(why, 256, "%s: off by %.2e, %.2f times as much as direct", conv_face_name[face], error, ratio);
        if (ratio > w->ratio) w->ratio = ratio;
        if (error > w->error) w->error = error;
    }
    free(one);
    free(direct);
    free(exact);
}

static void check_case(const conv_case *c, worst *w)
{
    char why[256] = "";
    conv_operands o = conv_operands_new(c);
    for (int32_t face = 0; face < FACES; face++)
        if (method_of[face]) check_face(c, (hti_conv_face)face, &o, w, why);
    conv_operands_free(&o);
    if (why[0])
        tap_ok(0, "[%d,%d->%d] %dx%d k%dx%d s%dx%d p%dx%d d%dx%d: %s", (int)c->batch, (int)c->channels, (int)c->filters,
               (int)c->image[0], (int)c->image[1], (int)c->kernel[0], (int)c->kernel[1], (int)c->stride[0], (int)c->stride[1],
               (int)c->pad[0], (int)c->pad[1], (int)c->dilation[0], (int)c->dilation[1], why);
}

/* Batches, channels, windows and sizes at random. */
static void check_random(int32_t cases)
{
    worst w = {0};
    for (int32_t i = 0; i < cases; i++) {
        conv_case c = {.axes = 2, .groups = 1, .batch = drawn(1, 3), .channels = 32 * drawn(1, 3) - drawn(0, 6),
                       .filters = 32 * drawn(1, 3) - drawn(0, 6)};
        for (int32_t k = 0; k < 2; k++) {
            c.kernel[k] = drawn(1, 8);
            c.stride[k] = drawn(0, 3) ? drawn(1, 2) : drawn(1, 3);
            c.pad[k] = drawn(0, 4);
            c.dilation[k] = drawn(0, 2) ? 1 : drawn(2, 3);
            const int64_t reach = c.dilation[k] * (c.kernel[k] - 1) + 1 - 2 * c.pad[k];
            c.image[k] = drawn(1, 36);
            if (c.image[k] < reach) c.image[k] = reach;
        }
        check_case(&c, &w);
    }
    for (int32_t face = 0; face < FACES; face++)
        if (method_of[face])
            tap_ok(w.taken[face] >= cases / 4, "%s: %d of %d random cases are taken", conv_face_name[face], (int)w.taken[face],
                   (int)cases);
    tap_ok(w.ratio > 0 && w.ratio <= 2, "random cases err %.2e of their results at most, and %.2f times as much as direct",
           w.error, w.ratio);
}

/* Layers as networks have them: several bands, chunks and shares, weights as they lie, weights and
 * results beyond the caches; all are taken unless asked for direct. */
static void check_layers(void)
{
    static const int64_t layers[][7] = {
        /* batch, channels, filters, size, kernel, stride, pad */
        {2, 64, 64, 64, 3, 1, 1}, {1, 32, 32, 184, 3, 1, 1}, {2, 256, 320, 16, 3, 1, 1}, {2, 32, 64, 33, 8, 2, 3},
        {3, 128, 96, 12, 4, 2, 1}, {1, 320, 64, 20, 3, 1, 1}, {2, 512, 512, 16, 4, 1, 1}, {1, 32, 64, 184, 8, 2, 3},
    };
    /* Steps and dilations that leave all taps of a data gradient to one kind of places. */
    static const conv_case shared = {2, 1, 2, 32, 192, {33, 31}, {8, 8}, {3, 3}, {9, 8}, {3, 3}, 0, 0};
    /* A weight gradient that gathers x for each tap. */
    static const conv_case tiny = {2, 1, 6, 64, 60, {4, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 0, 0};
    worst w = {0};
    int32_t left = 0, direct = 0;
    for (int32_t i = 0; i < COUNT(layers); i++) {
        const int64_t *l = layers[i];
        conv_case c = {.axes = 2, .groups = 1, .batch = l[0], .channels = l[1], .filters = l[2]};
        for (int32_t k = 0; k < 2; k++) {
            c.image[k] = l[3];
            c.kernel[k] = l[4];
            c.stride[k] = l[5];
            c.pad[k] = l[6];
            c.dilation[k] = 1;
        }
        conv_case plain = c;
        plain.convolution = HT_CONVOLUTION_DIRECT;
        for (int32_t face = 0; face < FACES; face++) {
            left += method_of[face] && !takes(&c, (hti_conv_face)face, NULL);
            direct += takes(&plain, (hti_conv_face)face, NULL);
        }
        check_case(&c, &w);
    }
    check_case(&shared, &w);
    check_case(&tiny, &w);
    tap_ok(left == 0 && direct == 0, "layers of networks are taken, unless they are asked for directly");
    tap_ok(w.ratio > 0 && w.ratio <= 2, "layers err %.2e of their results at most, and %.2f times as much as direct", w.error,
           w.ratio);
}

/* What is infinite or not a number reaches the results that a direct kernel would spoil by it, and no others. */
static void check_spoilt(void)
{
    conv_case c = {.axes = 2, .groups = 1, .batch = 2, .channels = 57, .filters = 60, .image = {19, 30}, .kernel = {3, 3},
                   .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}};
    for (int32_t face = 0; face < FACES; face++) {
        char why[256] = "";
        int32_t differ = 0;
        conv_case plain = c;
        plain.convolution = HT_CONVOLUTION_DIRECT;
        if (!method_of[face]) continue;
        for (int32_t which = 0; which < 2; which++) {
            conv_operands o = conv_operands_new(&c);
            const int32_t a = conv_first[face], b = conv_second[face];
            const int64_t count = o.count[conv_result[face]];
            o.f32[a][o.count[a] / 3] = which ? (float)NAN : (float)INFINITY;
            float *split = conv_call(&c, (hti_conv_face)face, HT_F32, method_of[face], 2, o.f32[a], o.f32[b], NULL, why);
            float *direct = conv_call(&plain, (hti_conv_face)face, HT_F32, &hti_conv_reference, 2, o.f32[a], o.f32[b], NULL, why);
            for (int64_t i = 0; i < count && split && direct; i++) differ += !isfinite(split[i]) != !isfinite(direct[i]);
            free(split);
            free(direct);
            conv_operands_free(&o);
        }
        tap_ok(differ == 0 && !why[0], "%s: %d results are finite in one way alone%s%s", conv_face_name[face], (int)differ,
               why[0] ? ": " : "", why);
    }
}

/* One packing serves all convolutions of the same weights; a data gradient has its own, by its steps and padding. */
static void check_keys(void)
{
    conv_case c = {.axes = 2, .groups = 1, .batch = 2, .channels = 64, .filters = 64, .image = {24, 24}, .kernel = {4, 4},
                   .stride = {2, 2}, .pad = {1, 1}, .dilation = {1, 1}};
    conv_case more = c, other = c;
    more.batch = 3;
    other.pad[0] = 2;
    uint64_t key[2][3];
    for (int32_t face = 0; face < 2; face++)
        for (int32_t i = 0; i < 3; i++) {
            conv_plan p;
            ht_error error = {0};
            const conv_case *one = i == 0 ? &c : i == 1 ? &more : &other;
            if (conv_plan_make(&p, one, (hti_conv_face)face, HT_F32, &hti_conv_split, 2, &error) != HT_OK) {
                tap_ok(0, "%s", error.message);
                return;
            }
            key[face][i] = p.choice.packed_key[1];
            conv_plan_free(&p);
        }
    tap_ok(key[0][0] == key[0][1] && key[0][0] == key[0][2] && key[1][0] == key[1][1], "one packing serves other batches");
    tap_ok(key[0][0] != key[1][0] && key[1][0] != key[1][2], "a data gradient has a packing of its own, by its padding");
}

int main(void)
{
    const char *set = strchr(hti_cpu_backend("cpu")->name, ':') + 1;
    const char *missing = strcmp(set, "baseline") == 0 || strcmp(set, "v3") == 0 ? "this machine has no AVX-512"
                          : !hti_conv_split.prepare ? "the compiler of this build knows no matrix unit"
                          : !hti_split_runs()       ? "this machine has no matrix unit, or its system lends it to nobody"
                                                    : NULL;
    if (missing) {
        tap_skip("%s", missing);
        return tap_done();
    }
    check_random(40);
    check_layers();
    check_spoilt();
    check_keys();
    return tap_done();
}
