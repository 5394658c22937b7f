/*
 * Rates of the CPU's convolutions, for seeing where time goes: the layers of genseg's preset `small`, three faces.
 *     bench_conv [THREADS [f64]]
 * GF/s = 2 x multiply-adds / time, padding taps counted; best of several runs. Packing is timed by itself.
 */
#include <omp.h>
#include <stdio.h>
#include <time.h>

#include "tests/conv_call.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *fill(const hti_tensor *t)
{
    int64_t count = ht_shape_count(t->shape);
    void *p = take(tensor_bytes(t));
    for (int64_t i = 0; p && i < count; i++) {
        double v = (double)(i * 7919 % 1000) / 1000.0 - 0.5;
        if (t->dtype == HT_F64)
            ((double *)p)[i] = v;
        else
            ((float *)p)[i] = (float)v;
    }
    return p;
}

typedef struct timing {
    double run, pack;
    char algorithm[64];
} timing;

static timing measure(const conv_case *c, hti_conv_face face, ht_dtype dtype, int32_t threads)
{
    timing t = {1e9, 0, "not planned"};
    conv_plan p;
    ht_error error = {0};
    if (conv_plan_make(&p, c, face, dtype, NULL, threads, &error) != HT_OK) return t;
    void *first = fill(&p.in[0]), *second = fill(&p.in[1]), *result = fill(&p.out);
    snprintf(t.algorithm, sizeof t.algorithm, "%s", p.choice.algorithm);
    conv_plan_run(&p, first, second, result); /* warm, and packed */
    if (p.packed) {
        hti_tensor from = p.in[1];
        from.data = second;
        double start = now();
        p.kernel->pack(p.choice.state, 1, &from, p.packed, threads);
        t.pack = now() - start;
    }
    hti_run run = {.attributes = &p.attributes, .in = p.in, .out = &p.out, .inputs = 2, .threads = threads,
                   .state = p.choice.state, .scratch = p.scratch};
    double begin = now();
    for (int32_t i = 0; i < 200 && (i < 3 || now() - begin < 0.15); i++) {
        double start = now();
        p.kernel->run(&run);
        double taken = now() - start;
        if (taken < t.run) t.run = taken;
    }
    conv_plan_free(&p);
    free(first);
    free(second);
    free(result);
    return t;
}

int main(int argc, char **argv)
{
    static const int64_t layers[][7] = {
        /* batch, channels, filters, size, kernel, stride, pad */
        {2, 3, 16, 128, 3, 1, 1}, {2, 16, 16, 128, 3, 1, 1}, {2, 32, 32, 64, 3, 1, 1}, {2, 64, 64, 32, 3, 1, 1},
        {2, 128, 128, 16, 3, 1, 1}, {2, 128, 128, 8, 3, 1, 1}, {2, 3, 16, 128, 4, 2, 1}, {2, 3, 16, 128, 8, 2, 3},
        {2, 16, 32, 64, 4, 2, 1}, {2, 16, 32, 64, 6, 2, 2}, {2, 16, 32, 64, 8, 2, 3}, {2, 32, 64, 32, 4, 2, 1},
        {2, 32, 64, 32, 6, 2, 2}, {2, 32, 64, 32, 8, 2, 3}, {2, 64, 128, 16, 4, 2, 1}, {2, 64, 128, 16, 6, 2, 2},
        {2, 64, 128, 16, 8, 2, 3}, {2, 128, 128, 8, 4, 2, 1}, {2, 128, 128, 8, 8, 2, 3}, {2, 128, 1, 15, 4, 1, 1},
        {2, 16, 1, 128, 1, 1, 0}, {2, 32, 16, 64, 2, 2, 0},
    };
    int32_t threads = argc > 1 ? (int32_t)atoi(argv[1]) : (int32_t)omp_get_max_threads();
    ht_dtype dtype = argc > 2 ? HT_F64 : HT_F32;
    printf("%d threads, %s; GF/s, packing in microseconds, algorithm\n", threads, ht_dtype_name(dtype));
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        const int64_t *l = layers[i];
        conv_case c = {.axes = 2, .groups = 1, .batch = l[0], .channels = l[1], .filters = l[2], .image = {l[3], l[3]},
                       .kernel = {l[4], l[4]}, .stride = {l[5], l[5]}, .pad = {l[6], l[6]}, .dilation = {1, 1}};
        int64_t out = case_out(&c, 0);
        double flop = 2.0 * (double)(l[0] * l[2] * out * out) * (double)(l[1] * l[4] * l[4]);
        printf("n%d %3d->%-3d at %3d k%ds%d ", (int)l[0], (int)l[1], (int)l[2], (int)l[3], (int)l[4], (int)l[5]);
        for (int32_t f = 0; f < 3; f++) {
            timing t = measure(&c, (hti_conv_face)f, dtype, threads);
            printf("| %6.1f %5.0f us %-38s", flop / t.run * 1e-9, t.pack * 1e6, t.algorithm);
        }
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
