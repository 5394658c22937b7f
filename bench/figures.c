/* Small things that every benchmark needs: the clock, the median, numbers of JSON objects, and what the machine is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int32_t count)
{
    if (count < 1) return (double)NAN;
    qsort(values, (size_t)count, sizeof *values, ascending);
    return 0.5 * (values[(count - 1) / 2] + values[count / 2]);
}

double bench_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

json_t *bench_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

void bench_print(const json_t *object)
{
    json_dumpf(object, stdout, JSON_REAL_PRECISION(9) | JSON_COMPACT);
    putchar('\n');
}

static void processor(char *name, size_t bytes)
{
    char line[256];
    snprintf(name, bytes, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "model name", 10) != 0 || !strchr(line, ':')) continue;
        char *text = strchr(line, ':') + 1;
        text += strspn(text, " ");
        text[strcspn(text, "\n")] = 0;
        snprintf(name, bytes, "%.200s", text);
        break;
    }
    if (file) fclose(file);
}

static json_t *measure(void *context, ht_error *error)
{
    (void)error;
    int32_t threads = *(const int32_t *)context;
    double fma = bench_fma_rate(threads), triad = bench_triad_rate(threads);
    return json_pack("{s:o, s:o}", "fma_flop_per_second", bench_real(fma), "triad_bytes_per_second", bench_real(triad));
}

json_t *bench_machine(int32_t threads)
{
    char name[256];
    double load = 0;
    processor(name, sizeof name);
    if (getloadavg(&load, 1) != 1) load = (double)NAN;
    bench_child child = bench_fork(measure, &threads);
    json_t *machine = json_pack("{s:s, s:i, s:i, s:o}", "processor", name, "processors", (int)bench_processors(), "threads",
                                (int)threads, "load_before", bench_real(load));
    if (child.answer) json_object_update(machine, child.answer);
    json_decref(child.answer);
    return machine;
}
