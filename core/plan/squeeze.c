/*
 * Offsets a second time, for arenas with holes in them: the largest buffers first, each at the lowest place where nothing
 * lies that lives at the same time. Placing by steps (layout.c) is faster and as good where many values live at once; where
 * few large ones do, it can leave a third of the arena empty. The many small ones are placed by steps, behind the large.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

/* An arena larger than the bytes that live together by less than one part in so many is good enough. */
#define WASTE 32
/* Buffers below one part in so many of what lives together are small. */
#define SMALL 2048

static bool in_arena(const hti_buffer *b) { return !b->fixed && b->first != HTI_NOWHERE && b->bytes > 0; }

ht_status hti_plan_peak(const ht_program *p, int32_t *step, size_t *bytes, ht_error *error)
{
    int64_t *change = calloc((size_t)p->steps.count + 2, sizeof *change), live = 0, most = 0;
    if (!change) return ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the layout");
    for (int32_t i = 0; i < p->buffers.count; i++) {
        const hti_buffer *b = &p->buffers.at[i];
        if (!in_arena(b)) continue;
        change[b->first < p->steps.count ? b->first : p->steps.count] += (int64_t)hti_plan_rounded(b->bytes);
        if (b->last < p->steps.count) change[b->last + 1] -= (int64_t)hti_plan_rounded(b->bytes);
    }
    *step = 0;
    for (int32_t s = 0; s <= p->steps.count; s++) {
        live += change[s];
        if (live <= most) continue;
        most = live;
        *step = s < p->steps.count ? s : p->steps.count - 1;
    }
    *bytes = (size_t)most;
    free(change);
    return HT_OK;
}

static int larger_first(const void *a, const void *b)
{
    const hti_buffer *x = *(const hti_buffer *const *)a, *y = *(const hti_buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : 1;
}

/* A buffer that has its place. */
typedef struct placed {
    size_t offset, end;
    int32_t first, last;
    hti_buffer *buffer;
} placed;

/* Where a buffer goes among those that are placed, which stand by their offsets; and its number among them. */
static size_t find_place(const hti_buffer *b, const placed *at, int32_t count, int32_t *number)
{
    const size_t bytes = hti_plan_rounded(b->bytes);
    const int32_t first = b->first, last = b->last;
    size_t end = 0;
    int32_t i = 0;
    for (; i < count; i++) {
        if (at[i].first > last || first > at[i].last) continue;
        if (at[i].offset >= end && at[i].offset - end >= bytes) break;
        if (at[i].end > end) end = at[i].end;
    }
    while (i > 0 && at[i - 1].offset >= end) i--;
    *number = i;
    return end;
}

/* Places what is not small; where that ends, or SIZE_MAX without memory. */
static size_t place_large(hti_buffer *const *order, int32_t count)
{
    placed *at = malloc(((size_t)count + 1) * sizeof *at);
    size_t end = at ? 0 : SIZE_MAX;
    for (int32_t i = 0; at && i < count; i++) {
        int32_t number;
        const size_t offset = find_place(order[i], at, i, &number);
        memmove(&at[number + 1], &at[number], (size_t)(i - number) * sizeof *at);
        at[number] = (placed){offset, offset + hti_plan_rounded(order[i]->bytes), order[i]->first, order[i]->last, order[i]};
        if (at[number].end > end) end = at[number].end;
    }
    for (int32_t i = 0; at && i < count; i++) at[i].buffer->offset = at[i].offset;
    free(at);
    return end;
}

ht_status hti_plan_squeeze(ht_program *p, ht_error *error)
{
    int32_t step, count = 0;
    size_t live, before = p->arena_bytes;
    if (hti_plan_peak(p, &step, &live, error) != HT_OK) return error->status;
    if (before - live <= live / WASTE) return HT_OK;
    hti_buffer **order = calloc((size_t)p->buffers.count + 1, sizeof *order);
    for (int32_t i = 0; order && i < p->buffers.count; i++)
        if (in_arena(&p->buffers.at[i]) && p->buffers.at[i].bytes >= live / SMALL) order[count++] = &p->buffers.at[i];
    if (order) qsort(order, (size_t)count, sizeof *order, larger_first);
    const size_t end = order ? place_large(order, count) : SIZE_MAX;
    free(order);
    if (end == SIZE_MAX) return ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the layout");
    if (hti_plan_place(p, end, live / SMALL, error) != HT_OK) return error->status;
    return p->arena_bytes < before ? HT_OK : hti_plan_place(p, 0, SIZE_MAX, error);
}
