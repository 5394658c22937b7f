/* How far the values of two answers are apart: losses one by one, vectors as a whole. */
#include <math.h>

#include "bench.h"

double bench_losses_apart(const json_t *ours, const json_t *other)
{
    double worst = NAN;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)ours, key, value) {
        double a = json_number_value(value), b = bench_number(other, key);
        if (!json_object_get(other, key)) continue;
        double apart = fabs(a - b) / fmax(fabs(b), 1e-30);
        if (isnan(apart)) return INFINITY; /* a NaN agrees with nothing */
        worst = isnan(worst) ? apart : fmax(worst, apart);
    }
    return worst;
}

/* Appends all numbers of nested lists; -1 if something else stands there or there is no more room. */
static int32_t flatten(const json_t *list, double *numbers, int32_t count, int32_t room)
{
    size_t i;
    json_t *item;
    if (json_is_number(list) && count < room) {
        numbers[count] = json_number_value(list);
        return count + 1;
    }
    if (!json_is_array(list)) return -1;
    json_array_foreach(list, i, item) {
        count = flatten(item, numbers, count, room);
        if (count < 0) return -1;
    }
    return count;
}

double bench_vectors_apart(const json_t *ours, const json_t *other, double *cosine)
{
    enum { ROOM = 4096 };
    double a[ROOM], b[ROOM], gap = 0, aa = 0, bb = 0, ab = 0;
    int32_t count = 0, same = 0;
    const char *key;
    json_t *value;
    if (cosine) *cosine = NAN;
    if (!json_is_object(ours) || json_object_size(ours) != json_object_size(other)) return NAN;
    json_object_foreach((json_t *)ours, key, value) {
        count = flatten(value, a, count, ROOM);
        same = flatten(json_object_get(other, key), b, same, ROOM);
        if (count < 0 || count != same) return NAN;
    }
    for (int32_t i = 0; i < count; i++) {
        gap += (a[i] - b[i]) * (a[i] - b[i]);
        aa += a[i] * a[i];
        bb += b[i] * b[i];
        ab += a[i] * b[i];
    }
    if (cosine) *cosine = ab / sqrt(aa * bb);
    return sqrt(gap / bb);
}
