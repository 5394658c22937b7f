/*
 * Pointwise steps that are read long after they are computed move to just before their first reader, so that they become
 * part of its group: their results are neither written nor kept. Only where that keeps no more in memory. What stands
 * nearer, fusing reaches by itself.
 */
#include <stdlib.h>

#include "plan/plan.h"

/* Steps that a group stays open for, and more. */
#define FAR 64
/* Moving one step makes room for another. */
#define PASSES 3

typedef struct reads {
    int32_t *at, *first; /* of buffer b: the steps at[first[b]] .. at[first[b + 1] - 1]; the count of steps: outputs, commits */
} reads;

typedef struct place {
    int32_t anchor, step; /* where the step goes: before all that stands at the anchor and has a larger number */
} place;

typedef struct sinker {
    ht_program *p;
    reads reads;
    place *place; /* by step */
} sinker;

static int32_t read_by(const ht_program *p, const hti_step *step, int32_t k)
{
    return hti_reads_packed(step, k) ? step->packed_for[k] : p->values.at[step->in[k]].buffer;
}

/* Every read as (buffer, step), in order of steps; with `to` NULL their numbers are counted into first[buffer + 1]. */
static void visit(sinker *s, int32_t *to)
{
    const ht_program *p = s->p;
#define READ(buffer, step)                                  \
    do {                                                    \
        const int32_t b_ = (buffer);                        \
        if (to) s->reads.at[to[b_]++] = (step);             \
        else s->reads.first[b_ + 1]++;                      \
    } while (0)
    for (int32_t i = 0; i < p->steps.count; i++)
        for (int32_t k = 0; k < p->steps.at[i].inputs; k++) READ(read_by(p, &p->steps.at[i], k), i);
    for (int32_t i = 0; i < p->outputs; i++) READ(p->values.at[p->output_values[i]].buffer, p->steps.count);
    for (int32_t i = 0; i < p->commits.count; i++) READ(p->values.at[p->commits.at[i].value].buffer, p->steps.count);
#undef READ
}

static bool find_reads(sinker *s)
{
    const int32_t buffers = s->p->buffers.count;
    s->reads.first = calloc((size_t)buffers + 2, sizeof *s->reads.first);
    int32_t *next = calloc((size_t)buffers + 1, sizeof *next);
    if (s->reads.first && next) {
        visit(s, NULL);
        for (int32_t b = 0; b < buffers; b++) s->reads.first[b + 1] += s->reads.first[b];
        for (int32_t b = 0; b < buffers; b++) next[b] = s->reads.first[b];
        s->reads.at = calloc((size_t)s->reads.first[buffers] + 1, sizeof *s->reads.at);
        if (s->reads.at) visit(s, next);
    }
    free(next);
    return s->reads.at;
}

/* The first reader of the step's result: the step, or the count of steps. HTI_NOWHERE if there is none. */
static int32_t first_reader(const sinker *s, int32_t buffer)
{
    int32_t best = HTI_NOWHERE;
    for (int32_t i = s->reads.first[buffer]; i < s->reads.first[buffer + 1]; i++) {
        const int32_t step = s->reads.at[i];
        if (best == HTI_NOWHERE || s->place[step].anchor < s->place[best].anchor) best = step;
    }
    return best;
}

/* Whether something else than the step reads the buffer at the anchor or later. */
static bool stays(const sinker *s, int32_t buffer, int32_t step, int32_t anchor)
{
    bool any = s->p->buffers.at[buffer].fixed;
    for (int32_t i = s->reads.first[buffer]; i < s->reads.first[buffer + 1] && !any; i++)
        any = s->reads.at[i] != step && s->place[s->reads.at[i]].anchor >= anchor;
    return any;
}

static bool sinks(sinker *s, int32_t index)
{
    const ht_program *p = s->p;
    const hti_step *step = &p->steps.at[index];
    if (!hti_may_fuse(p, step)) return false;
    const int32_t made = p->values.at[step->out].buffer, reader = first_reader(s, made);
    if (reader == HTI_NOWHERE || reader == p->steps.count || s->place[reader].anchor - s->place[index].anchor <= FAR) return false;
    const hti_step *to = &p->steps.at[reader];
    if (!hti_may_fuse(p, to) || ht_shape_count(p->values.at[to->out].shape) != ht_shape_count(p->values.at[step->out].shape))
        return false;
    size_t kept = 0;
    for (int32_t k = 0; k < step->inputs; k++) {
        const int32_t buffer = p->values.at[step->in[k]].buffer;
        bool counted = stays(s, buffer, index, s->place[reader].anchor);
        for (int32_t i = 0; i < k; i++) counted = counted || p->values.at[step->in[i]].buffer == buffer;
        if (!counted) kept += p->buffers.at[buffer].bytes;
    }
    if (kept > p->buffers.at[made].bytes) return false;
    s->place[index].anchor = s->place[reader].anchor;
    return true;
}

static int in_order(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->anchor != y->anchor) return x->anchor < y->anchor ? -1 : 1;
    return x->step < y->step ? -1 : 1;
}

static bool rearrange(sinker *s)
{
    ht_program *p = s->p;
    hti_step *sorted = calloc((size_t)p->steps.count + 1, sizeof *sorted);
    if (!sorted) return false;
    qsort(s->place, (size_t)p->steps.count, sizeof *s->place, in_order);
    for (int32_t i = 0; i < p->steps.count; i++) sorted[i] = p->steps.at[s->place[i].step];
    free(p->steps.at);
    p->steps.at = sorted;
    p->steps.room = p->steps.count;
    return true;
}

ht_status hti_plan_sink(ht_program *p, ht_error *error)
{
    if (!p->backend->run_group || p->check) return HT_OK; /* nothing is fused */
    sinker s = {.p = p, .place = calloc((size_t)p->steps.count + 1, sizeof *s.place)};
    bool fits = s.place && find_reads(&s), moved = true;
    for (int32_t i = 0; fits && i <= p->steps.count; i++) s.place[i] = (place){i, i};
    for (int32_t pass = 0; fits && moved && pass < PASSES; pass++) {
        moved = false;
        for (int32_t i = p->steps.count - 1; i >= 0; i--)
            if (sinks(&s, i)) moved = true;
    }
    fits = fits && rearrange(&s);
    free(s.reads.at);
    free(s.reads.first);
    free(s.place);
    return fits ? HT_OK : ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
}
