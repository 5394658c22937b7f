/*
 * Values that need no memory: what a pointwise step makes is made where it is read, in registers, by each group that reads
 * it. The step moves to its readers, and copies of it stand where others read it later: it costs no pass over memory, and
 * spares the one that writes the value. Runs from the last step to the first, before fusing, so that a chain goes as a
 * whole, and what is kept, recomputed or laid out afterwards knows of it. Bits stay: it is the same step on the same numbers.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

/* Inputs smaller than the result by this factor, such as one number for each channel, count for nothing. */
#define SMALLER 8

/* Of a step; copies are steps behind all others. */
typedef struct stand {
    int32_t place;  /* it runs before the step that had this number; its own: it stayed */
    int32_t before; /* of a place: the first of those that came before it; HTI_NOWHERE: none */
    int32_t then;   /* of one of those: the next */
    int32_t window; /* what runs in one window may be in one group */
} stand;

/* A step that reads a buffer. */
typedef struct reading {
    int32_t step, place; /* it stood there when this was noted */
    int32_t next;        /* at the same place or before */
} reading;

/* A buffer. */
typedef struct source {
    int32_t readings; /* the last place first */
    int32_t last;     /* place of the last that reads it, or that is made from it there */
    int32_t root;     /* the one large buffer that it can be made from; itself, if there is not one alone */
    int32_t summed;   /* of a sum: 1 + the window that it was made in */
    bool kept;        /* outputs or commits take it */
    bool repeatable;
} source;

typedef struct repeater {
    ht_program *p;
    source *source;
    int32_t steps; /* those that were there */
    HTI_LIST(stand) stand;
    HTI_LIST(reading) reading;
    bool short_of_memory;
} repeater;

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

/* ---- what is there ---- */

static size_t bytes_of(const repeater *r, int32_t buffer) { return r->p->buffers.at[buffer].bytes; }
static source *source_of(const repeater *r, int32_t value) { return &r->source[r->p->values.at[value].buffer]; }

static bool is_large(const repeater *r, int32_t from, int32_t to)
{
    return !r->p->buffers.at[from].fixed && bytes_of(r, from) > bytes_of(r, to) / SMALLER;
}

/* The step stands at the place, and reads there what it reads. */
static void note(repeater *r, int32_t index, int32_t place)
{
    const hti_step *step = &r->p->steps.at[index];
    r->stand.at[index].place = place;
    for (int32_t k = 0; k < step->inputs; k++) {
        source *from = source_of(r, step->in[k]), *root = &r->source[from->root];
        if (hti_reads_packed(step, k)) continue;
        if (from->last < place) from->last = place;
        if (place != index && root->last < place) root->last = place;
        reading *made = from->repeatable ? HTI_PUSH(r->reading) : NULL;
        r->short_of_memory = r->short_of_memory || (from->repeatable && !made);
        if (!made) continue;
        int32_t *link = &from->readings;
        while (*link != HTI_NOWHERE && r->reading.at[*link].place > place) link = &r->reading.at[*link].next;
        *made = (reading){index, place, *link};
        *link = r->reading.count - 1;
    }
}

/* Whether the result may be made again, and from what. */
static void find_root(repeater *r, const hti_step *step)
{
    const int32_t to = r->p->values.at[step->out].buffer;
    int32_t root = HTI_NOWHERE;
    r->source[to].repeatable = !r->source[to].kept && !r->p->buffers.at[to].fixed && bytes_of(r, to) >= HTI_WORTH_AGAIN;
    for (int32_t k = 0; k < step->inputs && r->source[to].repeatable; k++) {
        const int32_t from = r->p->values.at[step->in[k]].buffer;
        if (!is_large(r, from, to)) continue;
        if (root != HTI_NOWHERE && root != r->source[from].root) return;
        root = r->source[from].root;
    }
    if (root != HTI_NOWHERE) r->source[to].root = root;
}

/* Windows end where no group goes on: behind steps that are in none, and before what reads a sum that a group makes. */
static void note_all(repeater *r)
{
    const ht_program *p = r->p;
    for (int32_t i = 0; i < p->outputs + p->commits.count; i++) {
        source *at_end = source_of(r, i < p->outputs ? p->output_values[i] : p->commits.at[i - p->outputs].value);
        at_end->kept = true;
        at_end->last = r->steps - 1;
    }
    for (int32_t s = 0, window = 0; s < r->steps && !r->short_of_memory; s++) {
        const hti_step *step = &p->steps.at[s];
        stand *to = HTI_PUSH(r->stand);
        r->short_of_memory = !to;
        if (!to) return;
        bool closes = false;
        for (int32_t k = 0; k < step->inputs; k++) closes = closes || source_of(r, step->in[k])->summed == window + 1;
        window += closes;
        *to = (stand){.before = HTI_NOWHERE, .window = window};
        note(r, s, s);
        if (hti_in_groups(p, step)) find_root(r, step);
        else if (hti_sum_columns(p, step) > 0) source_of(r, step->out)->summed = window + 1;
        else window++;
    }
}

/* ---- what is made again ---- */

/* Whether the reader may be in a group with a step that makes the value. */
static bool fits(const ht_program *p, int32_t made, const hti_step *by)
{
    const hti_value *value = &p->values.at[made];
    bool all = hti_in_groups(p, by) || hti_sum_columns(p, by) > 0;
    for (int32_t k = 0; k < by->inputs && all; k++)
        all = p->values.at[by->in[k]].buffer != value->buffer || hti_same_places(&p->values.at[by->in[k]], value);
    return all;
}

static int32_t window_at(const repeater *r, int32_t place) { return r->stand.at[place].window; }

/*
 * Whether the step may run at the place: in its own window, or if at most one large buffer must then be kept longer than it
 * is anyway. That is no larger than the result, which need not be kept.
 */
static bool cheap(const repeater *r, int32_t index, int32_t place)
{
    const hti_step *step = &r->p->steps.at[index];
    const int32_t to = r->p->values.at[step->out].buffer, window = window_at(r, place);
    int32_t longer = HTI_NOWHERE;
    for (int32_t k = 0; k < step->inputs && window_at(r, index) < window; k++) {
        const int32_t from = r->p->values.at[step->in[k]].buffer, root = r->source[from].root;
        if (!is_large(r, from, to) || root == longer || window_at(r, r->source[root].last) >= window) continue;
        if (longer != HTI_NOWHERE || bytes_of(r, root) > bytes_of(r, to)) return false;
        longer = root;
    }
    return true;
}

/* A copy of the step, which makes another buffer. */
static int32_t copied(repeater *r, int32_t index)
{
    ht_program *p = r->p;
    hti_step *copy = HTI_PUSH(p->steps);
    hti_buffer *buffer = HTI_PUSH(p->buffers);
    stand *to = HTI_PUSH(r->stand);
    r->short_of_memory = r->short_of_memory || !copy || !buffer || !to;
    if (r->short_of_memory) return index;
    *copy = p->steps.at[index];
    *buffer = (hti_buffer){.bytes = p->buffers.at[p->values.at[copy->out].buffer].bytes};
    copy->out = hti_value_in(p, copy->out, p->buffers.count - 1);
    r->short_of_memory = copy->out == HTI_NOWHERE;
    return p->steps.count - 1;
}

/* The reading itself or the first behind it by a step that is still where it was. */
static int32_t standing(const repeater *r, int32_t i)
{
    while (i != HTI_NOWHERE && r->stand.at[r->reading.at[i].step].place != r->reading.at[i].place) i = r->reading.at[i].next;
    return i;
}

/* From the last readers back: those of a window share a copy, and the first of all have the step itself. */
static void take_step(repeater *r, int32_t index)
{
    ht_program *p = r->p;
    if (!hti_in_groups(p, &p->steps.at[index])) return;
    const int32_t made = p->values.at[p->steps.at[index].out].buffer;
    int32_t i = standing(r, r->source[made].readings);
    while (i != HTI_NOWHERE && !r->short_of_memory) {
        const int32_t last = i, window = window_at(r, r->reading.at[i].place);
        int32_t place = 0;
        bool all = r->source[made].repeatable;
        for (; i != HTI_NOWHERE && window_at(r, r->reading.at[i].place) == window; i = standing(r, r->reading.at[i].next)) {
            place = r->reading.at[i].place;
            all = all && fits(p, p->steps.at[index].out, &p->steps.at[r->reading.at[i].step]);
        }
        if (!all || !cheap(r, index, place)) return;
        const int32_t number = i == HTI_NOWHERE ? index : copied(r, index);
        for (int32_t n = last; number != index && n != i && !r->short_of_memory; n = standing(r, r->reading.at[n].next))
            r->short_of_memory = !hti_redirect(p, &p->steps.at[r->reading.at[n].step], made,
                                               p->values.at[p->steps.at[number].out].buffer);
        note(r, number, place);
        r->stand.at[number].then = r->stand.at[place].before;
        r->stand.at[place].before = number;
    }
}

/* The steps where they belong. */
static void settle(repeater *r)
{
    ht_program *p = r->p;
    hti_step *all = calloc((size_t)p->steps.count + 1, sizeof *all);
    int32_t count = 0;
    r->short_of_memory = !all;
    if (!all) return;
    for (int32_t s = 0; s < r->steps; s++) {
        for (int32_t i = r->stand.at[s].before; i != HTI_NOWHERE; i = r->stand.at[i].then) all[count++] = p->steps.at[i];
        if (r->stand.at[s].place == s) all[count++] = p->steps.at[s];
    }
    free(p->steps.at);
    p->steps.at = all;
    p->facts.repeated = count - r->steps;
    p->steps.count = p->steps.room = count;
}

ht_status hti_plan_repeat(ht_program *p, ht_error *error)
{
    if (!p->backend->run_group || p->check) return HT_OK; /* without groups a copy would be a pass over memory */
    repeater r = {.p = p, .source = calloc((size_t)p->buffers.count + 1, sizeof *r.source), .steps = p->steps.count};
    r.short_of_memory = !r.source;
    for (int32_t b = 0; b < p->buffers.count && r.source; b++) r.source[b] = (source){.readings = HTI_NOWHERE, .root = b};
    if (!r.short_of_memory) note_all(&r);
    for (int32_t s = r.steps - 1; s >= 0 && !r.short_of_memory; s--) take_step(&r, s);
    if (!r.short_of_memory) settle(&r);
    free(r.source);
    free(r.stand.at);
    free(r.reading.at);
    return r.short_of_memory ? ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan") : HT_OK;
}
