/*
 * Values that need no memory between their readers: what a pointwise step makes from one other value of the arena (2 x, a
 * gate of y, alpha g, w - r g) is made again, in registers, by the groups that read it later. That reads what it is made
 * from in its place, so it costs no pass over memory, and spares the one that writes it. Bits stay: it is the same step on
 * the same numbers. Runs before fusing, from the last step to the first, so that a chain is repeated as a whole.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

/* Inputs smaller than the result by this factor, such as one number for each channel, count for nothing. */
#define SMALLER 8
/* A value with more readers is left as it is. */
#define READERS 64

int32_t hti_value_in(ht_program *p, int32_t value, int32_t buffer)
{
    hti_value *made = HTI_PUSH(p->values);
    if (!made) return HTI_NOWHERE;
    *made = p->values.at[value];
    made->buffer = buffer;
    return p->values.count - 1;
}

bool hti_redirect(ht_program *p, hti_step *step, int32_t from, int32_t to)
{
    int32_t *in = hti_arena_array(&p->texts, step->inputs, sizeof *in); /* copies of a step share what they read */
    for (int32_t k = 0; in && k < step->inputs; k++) {
        in[k] = step->in[k];
        if (hti_reads_packed(step, k)) step->packed_for[k] = step->packed_for[k] == from ? to : step->packed_for[k];
        else if (p->values.at[in[k]].buffer == from) in[k] = hti_value_in(p, in[k], to);
        if (in[k] == HTI_NOWHERE) return false;
    }
    if (in) step->in = in;
    return in;
}

/* A step that reads a buffer; or a copy that does, which stands before that step. */
typedef struct reading {
    int32_t step, copy; /* copy: HTI_NOWHERE of the step itself */
    int32_t next;       /* of the same buffer; HTI_NOWHERE: the last */
} reading;

typedef struct repeater {
    ht_program *p;
    int32_t *heavy;    /* by step: steps before it that are not pointwise */
    int32_t *readings; /* by buffer: its first reading, the last to read it first */
    int32_t *before;   /* by step: the first of the copies before it */
    int32_t *then;     /* by copy: the one behind it */
    bool *kept;        /* by buffer: outputs or commits take it */
    bool *gone;        /* by step: copies alone are left of it */
    HTI_LIST(reading) reading;
    HTI_LIST(hti_step) copies;
    bool short_of_memory;
} repeater;

static int32_t buffer_of(const repeater *r, int32_t value) { return r->p->values.at[value].buffer; }

static void note(repeater *r, int32_t buffer, int32_t step, int32_t copy)
{
    reading *to = HTI_PUSH(r->reading);
    r->short_of_memory = r->short_of_memory || !to;
    if (!to) return;
    *to = (reading){step, copy, r->readings[buffer]};
    r->readings[buffer] = r->reading.count - 1;
}

static void note_all(repeater *r)
{
    const ht_program *p = r->p;
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        r->heavy[s + 1] = r->heavy[s] + !hti_pointwise(step);
        r->before[s] = HTI_NOWHERE;
        for (int32_t k = 0; k < step->inputs; k++)
            if (!hti_reads_packed(step, k)) note(r, buffer_of(r, step->in[k]), s, HTI_NOWHERE);
    }
    for (int32_t i = 0; i < p->outputs; i++) r->kept[buffer_of(r, p->output_values[i])] = true;
    for (int32_t i = 0; i < p->commits.count; i++) r->kept[buffer_of(r, p->commits.at[i].value)] = true;
}

/* Whether a step makes its result from at most one value that takes as much memory, and from fixed and small ones. */
static bool cheap(const repeater *r, const hti_step *step)
{
    if (!hti_pointwise(step)) return false; /* a packing has no value as its result */
    const hti_buffer *out = &r->p->buffers.at[buffer_of(r, step->out)];
    int32_t from = HTI_NOWHERE;
    if (out->fixed || out->bytes < HTI_WORTH_AGAIN || r->kept[buffer_of(r, step->out)]) return false;
    for (int32_t k = 0; k < step->inputs; k++) {
        const int32_t buffer = buffer_of(r, step->in[k]);
        const hti_buffer *in = &r->p->buffers.at[buffer];
        if (in->fixed || in->bytes <= out->bytes / SMALLER || buffer == from) continue;
        if (from != HTI_NOWHERE || in->bytes > out->bytes) return false;
        from = buffer;
    }
    return true;
}

static hti_step *reader(const repeater *r, const reading *at)
{
    return at->copy == HTI_NOWHERE ? &r->p->steps.at[at->step] : &r->copies.at[at->copy];
}

/* Whether a reader may be in one group with the step whose result it reads. */
static bool fits(const repeater *r, const hti_step *step, const hti_step *by)
{
    const hti_value *values = r->p->values.at;
    return hti_pointwise(by) && ht_shape_count(values[by->out].shape) == ht_shape_count(values[step->out].shape);
}

/* A copy of the step before the first of the readers, which read it from there on. */
static void repeat(repeater *r, int32_t index, const reading *readers, int32_t count)
{
    const hti_step *step = &r->p->steps.at[index];
    const int32_t from = buffer_of(r, step->out);
    hti_buffer *buffer = HTI_PUSH(r->p->buffers);
    hti_step *copy = HTI_PUSH(r->copies);
    r->short_of_memory = r->short_of_memory || !buffer || !copy;
    if (r->short_of_memory) return;
    *buffer = (hti_buffer){.bytes = r->p->buffers.at[from].bytes};
    *copy = *step;
    const int32_t made = r->copies.count - 1, to = r->p->buffers.count - 1;
    copy->out = hti_value_in(r->p, copy->out, to);
    int32_t *then = realloc(r->then, (size_t)r->copies.count * sizeof *then);
    r->short_of_memory = !then || copy->out == HTI_NOWHERE;
    if (then) r->then = then;
    if (r->short_of_memory) return;
    r->then[made] = r->before[readers[0].step];
    r->before[readers[0].step] = made;
    for (int32_t k = 0; k < step->inputs; k++) note(r, buffer_of(r, step->in[k]), readers[0].step, made);
    for (int32_t i = 0; i < count && !r->short_of_memory; i++)
        r->short_of_memory = !hti_redirect(r->p, reader(r, &readers[i]), from, to);
}

/* Readers by their places; more than there is room for: -1. */
static int32_t gather(const repeater *r, int32_t buffer, reading sorted[READERS])
{
    int32_t count = 0;
    for (int32_t i = r->readings[buffer]; i != HTI_NOWHERE; i = r->reading.at[i].next) {
        int32_t at = count;
        if (r->reading.at[i].copy == HTI_NOWHERE && r->gone[r->reading.at[i].step]) continue;
        if (++count > READERS) return -1;
        for (; at > 0 && sorted[at - 1].step > r->reading.at[i].step; at--) sorted[at] = sorted[at - 1];
        sorted[at] = r->reading.at[i];
    }
    return count;
}

/* From the last readers back: those with nothing but pointwise steps between them may share a copy. */
static void take_step(repeater *r, int32_t index)
{
    const hti_step *step = &r->p->steps.at[index];
    reading readers[READERS];
    if (!cheap(r, step)) return;
    int32_t last = gather(r, buffer_of(r, step->out), readers) - 1, first;
    for (r->gone[index] = last >= 0; last >= 0; last = first - 1) {
        first = last;
        bool all = fits(r, step, reader(r, &readers[last]));
        while (first > 0 && r->heavy[readers[first - 1].step] == r->heavy[readers[last].step]) {
            first--;
            all = all && fits(r, step, reader(r, &readers[first]));
        }
        r->gone[index] = all && r->heavy[readers[first].step] != r->heavy[index] && !r->short_of_memory;
        if (!r->gone[index]) return;
        repeat(r, index, &readers[first], last - first + 1);
    }
}

/* The steps with the copies where they belong. */
static void insert(repeater *r)
{
    ht_program *p = r->p;
    hti_step *all = calloc((size_t)p->steps.count + (size_t)r->copies.count + 1, sizeof *all);
    int32_t count = 0;
    r->short_of_memory = r->short_of_memory || !all;
    if (!all) return;
    for (int32_t s = 0; s < p->steps.count; s++) {
        for (int32_t i = r->before[s]; i != HTI_NOWHERE; i = r->then[i]) all[count++] = r->copies.at[i];
        if (!r->gone[s]) all[count++] = p->steps.at[s];
    }
    free(p->steps.at);
    p->steps.at = all;
    p->facts.repeated = count - p->steps.count;
    p->steps.count = p->steps.room = count;
}

ht_status hti_plan_repeat(ht_program *p, ht_error *error)
{
    if (!p->backend->run_group || p->check) return HT_OK; /* without groups a copy would be a pass over memory */
    const int32_t buffers = p->buffers.count + 1, steps = p->steps.count + 1;
    hti_arena arena = {0};
    repeater r = {.p = p, .heavy = hti_arena_array(&arena, steps, sizeof *r.heavy),
                  .readings = hti_arena_array(&arena, buffers, sizeof *r.readings),
                  .before = hti_arena_array(&arena, steps, sizeof *r.before),
                  .kept = hti_arena_array(&arena, buffers, sizeof *r.kept),
                  .gone = hti_arena_array(&arena, steps, sizeof *r.gone)};
    r.short_of_memory = !r.heavy || !r.readings || !r.before || !r.kept || !r.gone;
    for (int32_t b = 0; b < p->buffers.count && r.readings; b++) r.readings[b] = HTI_NOWHERE;
    if (!r.short_of_memory) note_all(&r);
    for (int32_t s = p->steps.count - 1; s >= 0 && !r.short_of_memory; s--) take_step(&r, s);
    if (!r.short_of_memory) insert(&r);
    free(r.then);
    free(r.reading.at);
    free(r.copies.at);
    hti_arena_free(&arena);
    return r.short_of_memory ? ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan") : HT_OK;
}
