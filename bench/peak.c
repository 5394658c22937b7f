/*
 * What the machine can do: fused multiply-adds from registers, and a = b + s c over arrays that no cache holds. Compiled
 * for the machine's own instruction set, with contraction on: each c * x + y is one instruction where there is one.
 */
#include <omp.h>
#include <stdlib.h>

#include "bench.h"

/* One vector register. */
#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

enum { CHAINS = 10, STEPS = 1 << 22, RUNS = 15 };

static float chains(float start)
{
    vector x = start + (vector){0.999f}, y = start + (vector){1e-3f};
    vector a = x, b = x + y, c = b + y, d = c + y, e = d + y, f = e + y, g = f + y, h = g + y, i = h + y, j = i + y;
    for (int32_t k = 0; k < STEPS; k++) {
        a = a * x + y;
        b = b * x + y;
        c = c * x + y;
        d = d * x + y;
        e = e * x + y;
        f = f * x + y;
        g = g * x + y;
        h = h * x + y;
        i = i * x + y;
        j = j * x + y;
    }
    vector sum = a + b + c + d + e + f + g + h + i + j;
    float all = 0;
    for (int32_t k = 0; k < LANES; k++) all += sum[k];
    return all;
}

double bench_fma_rate(int32_t threads)
{
    double best = 1e30;
    volatile float sink = 0, zero = 0;
    for (int32_t run = 0; run < RUNS; run++) {
        float sum = 0, start = zero;
        double begin = bench_now();
#pragma omp parallel num_threads(threads) reduction(+ : sum)
        sum += chains(start + (float)omp_get_thread_num() * 1e-6f);
        double taken = bench_now() - begin;
        if (taken < best) best = taken;
        sink = sum;
    }
    (void)sink;
    return 2.0 * CHAINS * LANES * STEPS * threads / best;
}

double bench_triad_rate(int32_t threads)
{
    const int64_t count = (int64_t)1 << 24; /* 64 MiB each */
    float *a = malloc(sizeof *a * (size_t)count), *b = malloc(sizeof *b * (size_t)count);
    float *c = malloc(sizeof *c * (size_t)count);
    double best = 1e30;
    for (int32_t run = 0; run < RUNS && a && b && c; run++) {
        double begin = bench_now();
#pragma omp parallel for simd num_threads(threads) schedule(static)
        for (int64_t i = 0; i < count; i++) {
            if (run == 0) b[i] = c[i] = (float)(i & 7);
            a[i] = b[i] + 3.0f * c[i];
        }
        double taken = bench_now() - begin;
        if (run > 0 && taken < best) best = taken;
    }
    volatile float sink = a ? a[count / 2] : 0;
    (void)sink;
    free(a);
    free(b);
    free(c);
    return 3.0 * sizeof(float) * (double)count / best;
}
