/*
 * Arrangements of one axis after another, each a take at places that are known when recorded: flip, roll, tile, repeat, steps
 * of a slice, padding by reflection and by the edge. Their adjoint is put: it gathers, whatever overlaps.
 */
#include <stdlib.h>

#include "rules.h"

/* Where place i of the result comes from; a and b are the arrangement's own numbers. */
typedef int64_t (*source)(int64_t i, int64_t size, int64_t a, int64_t b);

static int64_t stepped(int64_t i, int64_t size, int64_t first, int64_t step)
{
    (void)size;
    return first + i * step;
}
static int64_t wrapped(int64_t i, int64_t size, int64_t shift, int64_t unused)
{
    (void)unused;
    int64_t at = (i - shift % size) % size;
    return at < 0 ? at + size : at;
}
static int64_t stretched(int64_t i, int64_t size, int64_t times, int64_t unused)
{
    (void)size, (void)unused;
    return i / times;
}
static int64_t reflected(int64_t i, int64_t size, int64_t before, int64_t unused)
{
    (void)unused;
    int64_t at = i < before ? before - i : i - before;
    return at < size ? at : 2 * (size - 1) - at;
}
static int64_t held(int64_t i, int64_t size, int64_t before, int64_t unused)
{
    (void)unused;
    return i < before ? 0 : (i - before < size ? i - before : size - 1);
}

static ht_var arranged(ht_var x, int32_t axis, int64_t count, source from, int64_t a, int64_t b, const char *where)
{
    int64_t size = ht_var_shape(x).dim[axis];
    bool plain = count == size; /* nothing moves: nothing is recorded */
    if (!ht_ok(x)) return x;
    if (count > INT32_MAX || size > INT32_MAX)
        return ht_tape_fail(x.tape, where, HT_ESHAPE, "axis %d: %lld places from %lld; expected fewer than 2^31", (int)axis,
                            (long long)count, (long long)size);
    int32_t *place = malloc((size_t)(count + 1) * sizeof *place);
    if (!place) return ht_tape_fail(x.tape, where, HT_ENOMEM, "arrange: the system gave no memory");
    for (int64_t i = 0; i < count; i++) {
        place[i] = (int32_t)from(i, size, a, b);
        plain = plain && place[i] == i;
    }
    if (!plain) x = ht_take_(x, ht_integers_(x.tape, place, HT_SHAPE(count), where), axis, where);
    free(place);
    return x;
}

/* Whether each list has one entry per axis of x. */
static bool one_per_axis(const char *op, ht_var x, const ht_shape *list, int32_t lists, const char *where)
{
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT];
    for (int32_t i = 0; i < lists && ht_ok(x); i++) {
        if (list[i].rank == ht_var_shape(x).rank) continue;
        ht_tape_fail(x.tape, where, HT_ESHAPE, "%s: %s for %s; expected one entry per axis", op, ht_shape_text(list[i], a),
                     ht_shape_text(ht_var_shape(x), b));
        return false;
    }
    if (!ht_ok(x)) hti_refuse_empty(op, x, where);
    return ht_ok(x);
}

static ht_var refuse_axis(const char *op, ht_var x, int64_t axis, const char *where)
{
    char text[HT_SHAPE_TEXT];
    return ht_tape_fail(x.tape, where, HT_ESHAPE, "%s: axis %d of %s; expected an axis that exists", op, (int)axis,
                        ht_shape_text(ht_var_shape(x), text));
}

ht_var ht_flip_(ht_var x, ht_shape axes, const char *where)
{
    if (!ht_ok(x)) return hti_refuse_empty("flip", x, where);
    for (int32_t i = 0; i < axes.rank && ht_ok(x); i++) {
        ht_shape shape = ht_var_shape(x);
        if (axes.dim[i] < 0 || axes.dim[i] >= shape.rank) return refuse_axis("flip", x, axes.dim[i], where);
        int64_t size = shape.dim[axes.dim[i]];
        x = arranged(x, (int32_t)axes.dim[i], size, stepped, size - 1, -1, where);
    }
    return x;
}

ht_var ht_roll_(ht_var x, int64_t shift, int32_t axis, const char *where)
{
    if (!ht_ok(x)) return hti_refuse_empty("roll", x, where);
    if (axis < 0 || axis >= ht_var_shape(x).rank) return refuse_axis("roll", x, axis, where);
    return arranged(x, axis, ht_var_shape(x).dim[axis], wrapped, shift, 0, where);
}

ht_var ht_repeat_(ht_var x, int64_t times, int32_t axis, const char *where)
{
    int64_t count = 0;
    if (!ht_ok(x)) return hti_refuse_empty("repeat", x, where);
    if (axis < 0 || axis >= ht_var_shape(x).rank) return refuse_axis("repeat", x, axis, where);
    if (times < 1 || !hti_multiply(ht_var_shape(x).dim[axis], times, &count))
        return ht_tape_fail(x.tape, where, HT_EINVALID, "repeat: %lld times; expected at least once", (long long)times);
    return arranged(x, axis, count, stretched, times, 0, where);
}

ht_var ht_tile_(ht_var x, ht_shape times, const char *where)
{
    if (!one_per_axis("tile", x, &times, 1, where)) return (ht_var){0};
    for (int32_t k = 0; k < times.rank && ht_ok(x); k++) {
        int64_t size = ht_var_shape(x).dim[k], count = 0;
        if (times.dim[k] < 1 || !hti_multiply(size, times.dim[k], &count))
            return ht_tape_fail(x.tape, where, HT_EINVALID, "tile: %lld times along axis %d; expected at least once",
                                (long long)times.dim[k], (int)k);
        x = arranged(x, k, count, wrapped, 0, 0, where);
    }
    return x;
}

/* Places first, first + step, ... of an axis: all of them within it? */
static bool within(int64_t first, int64_t count, int64_t step, int64_t size)
{
    int64_t way, last;
    if (count < 0 || step == 0 || first < 0) return false;
    if (count == 0) return first <= size;
    return first < size && hti_multiply(count - 1, step, &way) && hti_sum(first, way, &last) && last >= 0 && last < size;
}

ht_var ht_slice_by_(ht_var x, ht_shape start, ht_shape size, ht_shape step, const char *where)
{
    ht_shape lists[3] = {start, size, step};
    char text[HT_SHAPE_TEXT];
    if (!one_per_axis("slice_by", x, lists, 3, where)) return (ht_var){0};
    for (int32_t k = 0; k < start.rank && ht_ok(x); k++) {
        if (!within(start.dim[k], size.dim[k], step.dim[k], ht_var_shape(x).dim[k]))
            return ht_tape_fail(x.tape, where, HT_ESHAPE, "slice_by: %lld places from %lld by steps of %lld along axis %d of "
                                "%s; expected places inside, and no step of 0", (long long)size.dim[k],
                                (long long)start.dim[k], (long long)step.dim[k], (int)k,
                                ht_shape_text(ht_var_shape(x), text));
        x = arranged(x, k, size.dim[k], stepped, start.dim[k], step.dim[k], where);
    }
    return x;
}

/* A reflection does not repeat the edge, so it has size - 1 places to give. */
static ht_var padded(const char *op, ht_var x, ht_shape before, ht_shape after, source from, const char *where)
{
    ht_shape lists[2] = {before, after};
    char a[HT_SHAPE_TEXT], b[HT_SHAPE_TEXT], c[HT_SHAPE_TEXT];
    if (!one_per_axis(op, x, lists, 2, where)) return (ht_var){0};
    for (int32_t k = 0; k < before.rank && ht_ok(x); k++) {
        int64_t size = ht_var_shape(x).dim[k], low = before.dim[k], high = after.dim[k], sum = 0;
        int64_t most = from == reflected && size > 0 ? size - 1 : (size > 0 ? INT64_MAX : 0);
        bool fits = low >= 0 && high >= 0 && low <= most && high <= most;
        if (!fits || !hti_sum(size, low, &sum) || !hti_sum(sum, high, &sum))
            return ht_tape_fail(x.tape, where, HT_EINVALID, "%s: %s before and %s after %s; expected padding >= 0%s", op,
                                ht_shape_text(before, a), ht_shape_text(after, b), ht_shape_text(ht_var_shape(x), c),
                                from == reflected ? ", less than the size" : " of axes that are not empty");
        x = arranged(x, k, sum, from, low, 0, where);
    }
    return x;
}

ht_var ht_pad_reflect_(ht_var x, ht_shape before, ht_shape after, const char *where)
{
    return padded("pad_reflect", x, before, after, reflected, where);
}

ht_var ht_pad_replicate_(ht_var x, ht_shape before, ht_shape after, const char *where)
{
    return padded("pad_replicate", x, before, after, held, where);
}
