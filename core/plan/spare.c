/*
 * Not keeping what lies idle over the peak of memory and is quickly made again: packed and mixed weights, a look-ahead's weights,
 * concatenations, results of pointwise steps. It is made once more before its next reader, by copies of the steps that made
 * it from what is there anyway; if nothing read it before the peak, it is only made later. No convolution or product is done
 * twice (recompute.c does that, under a limit), and all of it is a small part of the program's work.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

/* At most one part in so many of the program's work, in bytes moved, is done again. */
#define WORK_SHARE 40
/* So many operations take the time of moving a byte. */
#define FLOP_PER_BYTE 8.0
/* Values below one part in so many of the peak are left alone; a round of choosing is done when it saved one in PIECE. */
#define GRAIN 1024
#define PIECE 12
#define ROUNDS 48
/* Steps of a chain; copies in all. */
#define CHAIN 24
#define COPIES 1024

typedef struct choice {
    int32_t buffer, reader; /* the place of the next step that reads it */
    bool unread;            /* nothing read it before: its step only moves */
    double work, worth;     /* of making it again; bytes for a unit of that */
} choice;

typedef struct sparer {
    ht_program *p;
    int32_t *order, count;   /* numbers of steps, as they run: a place is an index of this */
    int32_t *maker, *last;   /* by buffer: places of the step that makes it, and of the last that reads it */
    int32_t *from, *read;    /* by buffer: places that read it, read[from[b]] to read[from[b + 1] - 1] */
    int32_t *heavy;          /* by place: steps before it that are not pointwise */
    size_t *live;            /* by place */
    bool *kept, *inner;      /* by buffer: outputs or commits take it; it is likely to take no memory of its own */
    bool *stored;            /* by buffer: of those kept, commits alone take it */
    int32_t *mark;           /* by buffer: the round in which it was dropped, or a copy came to rely on it */
    int32_t *before, *then, *gone; /* by place: its first copy; by copy: the one behind it; by place: the round it went in */
    choice *choices;
    int32_t chain[CHAIN], chained, copies, round;
    int32_t reads, room;     /* reads of all steps, and as many as there is room for */
    double work, allowance;
    bool short_of_memory;
} sparer;

static hti_step *step_at(const sparer *s, int32_t place) { return &s->p->steps.at[s->order[place]]; }
static size_t bytes_of(const sparer *s, int32_t buffer) { return s->p->buffers.at[buffer].bytes; }
static bool fixed(const sparer *s, int32_t buffer) { return s->p->buffers.at[buffer].fixed != NULL; }
static bool pointwise(const hti_step *step) { return step->kind == HTI_STEP_OP && step->kernel->pointwise; }

static int32_t made_by(const sparer *s, const hti_step *step)
{
    return step->out != HTI_NOWHERE ? s->p->values.at[step->out].buffer : step->packed;
}

static int32_t read_by(const sparer *s, const hti_step *step, int32_t k)
{
    return hti_reads_packed(step, k) ? step->packed_for[k] : s->p->values.at[step->in[k]].buffer;
}

/* ---- what lives where ---- */

/* In registers, or over its store. */
static bool stays_inner(const sparer *s, int32_t b)
{
    const int32_t made = s->maker[b];
    if (s->stored[b]) return made != HTI_NOWHERE && pointwise(step_at(s, made));
    if (made == HTI_NOWHERE || s->kept[b] || !pointwise(step_at(s, made)) || s->from[b] == s->from[b + 1]) return false;
    for (int32_t i = s->from[b]; i < s->from[b + 1]; i++)
        if (!pointwise(step_at(s, s->read[i])) || s->heavy[s->read[i]] != s->heavy[made]) return false;
    return true;
}

static void find_readers(sparer *s)
{
    const int32_t buffers = s->p->buffers.count;
    memset(s->from, 0, ((size_t)buffers + 2) * sizeof *s->from);
    for (int32_t b = 0; b < buffers; b++) {
        s->maker[b] = HTI_NOWHERE;
        s->last[b] = s->kept[b] ? s->count : HTI_NOWHERE;
    }
    for (int32_t i = 0; i < s->count; i++) {
        const hti_step *step = step_at(s, i);
        s->maker[made_by(s, step)] = i;
        s->heavy[i + 1] = s->heavy[i] + !pointwise(step);
        for (int32_t k = 0; k < step->inputs; k++) s->from[read_by(s, step, k) + 2]++;
    }
    for (int32_t b = 0; b < buffers; b++) s->from[b + 2] += s->from[b + 1];
    for (int32_t i = 0; i < s->count; i++)
        for (int32_t k = 0; k < step_at(s, i)->inputs; k++) {
            const int32_t b = read_by(s, step_at(s, i), k);
            s->read[s->from[b + 1]++] = i;
            if (s->last[b] < i) s->last[b] = i;
        }
}

/* The first place at which a result takes memory of its own: behind its step, if it may be written over an input. */
static int32_t begins(const sparer *s, int32_t b)
{
    const int32_t made = s->maker[b];
    const hti_step *step = step_at(s, made);
    for (int32_t k = 0; pointwise(step) && k < step->inputs; k++) {
        const int32_t x = read_by(s, step, k);
        if (!fixed(s, x) && s->last[x] == made && bytes_of(s, x) == bytes_of(s, b)) return made + 1;
    }
    return made;
}

/* The place of the peak. */
static int32_t measure(sparer *s)
{
    int32_t peak = 0;
    find_readers(s);
    memset(s->live, 0, ((size_t)s->count + 2) * sizeof *s->live);
    for (int32_t b = 0; b < s->p->buffers.count; b++) {
        s->inner[b] = stays_inner(s, b);
        if (s->maker[b] == HTI_NOWHERE || s->inner[b] || fixed(s, b)) continue;
        const int32_t first = begins(s, b), last = s->last[b] < s->maker[b] ? s->maker[b] : s->last[b];
        if (first > last) continue;
        s->live[first] += bytes_of(s, b); /* differences, which wrap around below zero and back */
        if (last < s->count) s->live[last + 1] -= bytes_of(s, b);
    }
    for (int32_t i = 1; i <= s->count; i++) s->live[i] += s->live[i - 1];
    for (int32_t i = 0; i < s->count; i++) {
        const int32_t scratch = step_at(s, i)->scratch;
        if (scratch != HTI_NOWHERE) s->live[i] += bytes_of(s, scratch);
        if (s->live[i] > s->live[peak]) peak = i;
    }
    return peak;
}

/* ---- making a value again ---- */

static double flop_of(const sparer *s, const hti_step *step)
{
    hti_tensor tensors[HTI_MAX_PACKED + 1];
    if (step->kind != HTI_STEP_OP || !step->kernel->flop || step->inputs > HTI_MAX_PACKED) return 0;
    for (int32_t k = 0; k <= step->inputs; k++) {
        const hti_value *value = &s->p->values.at[k < step->inputs ? step->in[k] : step->out];
        tensors[k] = (hti_tensor){.dtype = value->dtype, .shape = value->shape};
        memcpy(tensors[k].stride, value->stride, sizeof value->stride);
    }
    return step->kernel->flop(step->attributes, tensors, &tensors[step->inputs]);
}

/* Of products those that take about as long as writing what they make: gradients of weights over a few places. */
static bool repeatable(const sparer *s, const hti_step *step)
{
    if (step->kind != HTI_STEP_OP || step->kernel->pointwise) return true;
    if (step->kernel->flop) return flop_of(s, step) / FLOP_PER_BYTE <= 4 * (double)bytes_of(s, made_by(s, step));
    return step->scratch == HTI_NOWHERE && step->op->kind != HTI_CONSTANT;
}

static bool in_chain(const sparer *s, int32_t place)
{
    for (int32_t i = 0; i < s->chained; i++)
        if (s->chain[i] == place) return true;
    return false;
}

/* Whether a copy before `reader` finds x there; what is small may be kept for it. */
static bool available(const sparer *s, int32_t x, int32_t reader, size_t bytes)
{
    if (fixed(s, x) || bytes_of(s, x) <= bytes / GRAIN) return true;
    return !s->inner[x] && s->last[x] >= reader && s->mark[x] != -s->round;
}

/* The steps that make a buffer again before a reader, in the order of their places; false if that is no cheap work. */
static bool find_chain(sparer *s, int32_t b, int32_t reader)
{
    s->chained = 0;
    s->chain[s->chained++] = s->maker[b];
    for (int32_t n = 0; n < s->chained; n++) {
        const hti_step *step = step_at(s, s->chain[n]);
        if (!repeatable(s, step)) return false;
        for (int32_t k = 0; k < step->inputs; k++) {
            const int32_t x = read_by(s, step, k);
            if (available(s, x, reader, bytes_of(s, b)) || in_chain(s, s->maker[x])) continue;
            if (s->chained == CHAIN) return false;
            s->chain[s->chained++] = s->maker[x];
        }
    }
    for (int32_t n = 1; n < s->chained; n++) { /* sorts */
        const int32_t place = s->chain[n];
        int32_t at = n;
        for (; at > 0 && s->chain[at - 1] > place; at--) s->chain[at] = s->chain[at - 1];
        s->chain[at] = place;
    }
    return true;
}

/* Bytes that a step moves; between pointwise steps nothing is. */
static double moved_by(const sparer *s, int32_t place, bool chain)
{
    const hti_step *step = step_at(s, place);
    const int32_t out = made_by(s, step);
    double bytes = chain && pointwise(step) && s->chain[s->chained - 1] != place ? 0 : (double)bytes_of(s, out);
    for (int32_t k = 0; k < step->inputs; k++) {
        const int32_t x = read_by(s, step, k), made = s->maker[x];
        const bool register_kept = s->inner[x] && !chain;
        if (register_kept || (chain && made != HTI_NOWHERE && in_chain(s, made) && pointwise(step) && pointwise(step_at(s, made))))
            continue;
        bytes += (double)bytes_of(s, s->p->buffers.at[x].state ? out : x);
    }
    return bytes + (chain ? flop_of(s, step) / FLOP_PER_BYTE : 0);
}

/* ---- choosing ---- */

/* Whether a buffer lies idle at the peak and may be made again behind it. */
static bool consider(sparer *s, int32_t b, int32_t peak, choice *c)
{
    if (fixed(s, b) || s->maker[b] == HTI_NOWHERE || s->maker[b] >= peak || s->last[b] <= peak || s->inner[b] ||
        bytes_of(s, b) < s->live[peak] / GRAIN)
        return false;
    int32_t next = s->from[b];
    while (next < s->from[b + 1] && s->read[next] < peak) next++;
    if (next == s->from[b + 1] || s->read[next] == peak) return false;
    *c = (choice){.buffer = b, .reader = s->read[next], .unread = next == s->from[b]};
    if (!find_chain(s, b, c->reader)) return false;
    for (int32_t n = 0; n < s->chained; n++)
        if (!c->unread || s->chain[n] != s->maker[b]) c->work += moved_by(s, s->chain[n], true);
    c->worth = (double)bytes_of(s, b) / (c->work + 1);
    return true;
}

static int worth_first(const void *a, const void *b)
{
    const choice *x = a, *y = b;
    if (x->worth != y->worth) return x->worth > y->worth ? -1 : 1;
    return x->buffer < y->buffer ? -1 : 1;
}

/* Whether the choice, found by the state before this round, still stands, and there is room for it. */
static bool stands(sparer *s, const choice *c)
{
    int32_t reads = 0;
    if (s->mark[c->buffer] == s->round || s->work + c->work > s->allowance || !find_chain(s, c->buffer, c->reader)) return false;
    for (int32_t n = 0; n < s->chained; n++) reads += step_at(s, s->chain[n])->inputs;
    s->reads += reads;
    return s->copies + s->chained <= COPIES && s->reads <= s->room;
}

/* ---- copies ---- */

static int32_t moved(sparer *s, int32_t value, int32_t buffer)
{
    hti_value *made = HTI_PUSH(s->p->values);
    s->short_of_memory = s->short_of_memory || !made;
    if (!made) return value;
    *made = s->p->values.at[value];
    made->buffer = buffer;
    return s->p->values.count - 1;
}

/* Lets a step read another buffer in place of one. */
static void redirect(sparer *s, hti_step *step, int32_t from, int32_t to)
{
    int32_t *in = hti_arena_array(&s->p->texts, step->inputs, sizeof *in);
    s->short_of_memory = s->short_of_memory || !in;
    for (int32_t k = 0; in && k < step->inputs; k++) {
        in[k] = step->in[k];
        if (hti_reads_packed(step, k)) step->packed_for[k] = step->packed_for[k] == from ? to : step->packed_for[k];
        else if (s->p->values.at[in[k]].buffer == from) in[k] = moved(s, in[k], to);
    }
    if (in) step->in = in;
}

/* A copy of the step of a place, before another; its number among the steps. */
static int32_t copy_step(sparer *s, int32_t place, int32_t before)
{
    ht_program *p = s->p;
    hti_step *copy = HTI_PUSH(p->steps);
    hti_buffer *buffer = HTI_PUSH(p->buffers);
    s->short_of_memory = s->short_of_memory || !copy || !buffer;
    if (s->short_of_memory) return 0;
    const int32_t number = p->steps.count - 1;
    *copy = *step_at(s, place);
    *buffer = (hti_buffer){.bytes = bytes_of(s, made_by(s, copy))};
    if (copy->scratch != HTI_NOWHERE) { /* one that both had would live from one to the other */
        hti_buffer *scratch = HTI_PUSH(p->buffers);
        s->short_of_memory = s->short_of_memory || !scratch;
        if (!scratch) return 0;
        const hti_buffer made = p->buffers.at[p->buffers.count - 2];
        *scratch = made;
        p->buffers.at[p->buffers.count - 2] = (hti_buffer){.bytes = bytes_of(s, copy->scratch)};
        copy->scratch = p->buffers.count - 2;
    }
    if (copy->out != HTI_NOWHERE) copy->out = moved(s, copy->out, p->buffers.count - 1);
    else copy->packed = p->buffers.count - 1;
    int32_t *to = &s->before[before];
    while (*to != HTI_NOWHERE) to = &s->then[*to];
    s->then[s->copies] = HTI_NOWHERE;
    *to = s->copies++;
    return number;
}

static void apply(sparer *s, const choice *c)
{
    ht_program *p = s->p;
    int32_t from[CHAIN], made[CHAIN];
    for (int32_t n = 0; n < s->chained && !s->short_of_memory; n++) {
        from[n] = made_by(s, step_at(s, s->chain[n]));
        const int32_t number = copy_step(s, s->chain[n], c->reader);
        made[n] = p->buffers.count - 1;
        for (int32_t k = 0; k < n; k++) redirect(s, &p->steps.at[number], from[k], made[k]);
        for (int32_t k = 0; k < p->steps.at[number].inputs; k++) s->mark[read_by(s, &p->steps.at[number], k)] = s->round;
    }
    if (s->short_of_memory) return;
    for (int32_t i = s->from[c->buffer]; i < s->from[c->buffer + 1]; i++)
        if (s->read[i] >= c->reader) redirect(s, step_at(s, s->read[i]), c->buffer, made[s->chained - 1]);
    for (int32_t i = 0; s->last[c->buffer] == s->count && i < p->outputs; i++)
        if (p->values.at[p->output_values[i]].buffer == c->buffer)
            p->output_values[i] = moved(s, p->output_values[i], made[s->chained - 1]);
    for (int32_t i = 0; s->last[c->buffer] == s->count && i < p->commits.count; i++)
        if (p->values.at[p->commits.at[i].value].buffer == c->buffer)
            p->commits.at[i].value = moved(s, p->commits.at[i].value, made[s->chained - 1]);
    s->kept[made[s->chained - 1]] = s->last[c->buffer] == s->count;
    s->kept[c->buffer] = false;
    s->mark[c->buffer] = -s->round;
    if (c->unread) s->gone[s->maker[c->buffer]] = s->round;
    s->work += c->work;
}

/* The order with this round's copies where they belong, and without the steps that only moved. */
static void reorder(sparer *s, int32_t *order)
{
    const int32_t first = s->p->steps.count - s->copies;
    int32_t count = 0;
    for (int32_t i = 0; i < s->count; i++) {
        for (int32_t k = s->before[i]; k != HTI_NOWHERE; k = s->then[k]) order[count++] = first + k;
        if (s->gone[i] != s->round) order[count++] = s->order[i];
    }
    memcpy(s->order, order, (size_t)count * sizeof *order);
    s->count = count;
}

/* ---- the whole ---- */

/* Makes the peak a little lower; false if that cannot be. */
static bool lower(sparer *s, int32_t *order)
{
    const int32_t peak = measure(s);
    int32_t found = 0;
    size_t saved = 0;
    for (int32_t b = 0; b < s->p->buffers.count; b++) found += consider(s, b, peak, &s->choices[found]);
    if (found > 0) qsort(s->choices, (size_t)found, sizeof *s->choices, worth_first);
    for (int32_t i = 0; i <= s->count; i++) s->before[i] = HTI_NOWHERE;
    for (int32_t i = 0; i < found && saved < s->live[peak] / PIECE && !s->short_of_memory; i++) {
        if (!stands(s, &s->choices[i])) continue;
        apply(s, &s->choices[i]);
        saved += bytes_of(s, s->choices[i].buffer);
    }
    if (saved > 0 && !s->short_of_memory) reorder(s, order);
    return saved > 0 && !s->short_of_memory;
}

static void settle(sparer *s)
{
    ht_program *p = s->p;
    hti_step *steps = calloc((size_t)s->count + 1, sizeof *steps);
    s->short_of_memory = s->short_of_memory || !steps;
    if (!steps) return;
    for (int32_t i = 0; i < s->count; i++) steps[i] = *step_at(s, i);
    p->facts.repeated += s->count - (p->steps.count - s->copies);
    free(p->steps.at);
    p->steps.at = steps;
    p->steps.count = p->steps.room = s->count;
}

static bool prepare(sparer *s)
{
    const ht_program *p = s->p;
    for (int32_t i = 0; i < p->steps.count; i++) {
        s->order[s->count++] = i;
        s->reads += p->steps.at[i].inputs;
    }
    s->room = 2 * s->reads + CHAIN;
    s->read = calloc((size_t)s->room, sizeof *s->read);
    if (!s->read) return false;
    for (int32_t i = 0; i < p->commits.count; i++) {
        const int32_t buffer = p->values.at[p->commits.at[i].value].buffer;
        s->kept[buffer] = s->stored[buffer] = true;
    }
    for (int32_t i = 0; i < p->outputs; i++) {
        const int32_t buffer = p->values.at[p->output_values[i]].buffer;
        s->kept[buffer] = true;
        s->stored[buffer] = false;
    }
    (void)measure(s);
    for (int32_t i = 0; i < s->count; i++) s->allowance += moved_by(s, i, false);
    s->allowance = (s->allowance + p->facts.flop / FLOP_PER_BYTE) / WORK_SHARE;
    return true;
}

ht_status hti_plan_spare(ht_program *p, ht_error *error)
{
    if (p->check) return HT_OK;
    enum { BY_PLACE = 6, BY_BUFFER = 4 };
    const size_t places = (size_t)p->steps.count + COPIES + 2, buffers = (size_t)p->buffers.count + 2 * COPIES + 3;
    int32_t *numbers = calloc(BY_PLACE * places + BY_BUFFER * buffers + COPIES, sizeof *numbers), *at = numbers;
    sparer s = {.p = p, .live = calloc(places, sizeof *s.live), .kept = calloc(buffers, sizeof *s.kept),
                .stored = calloc(buffers, sizeof *s.stored),
                .inner = calloc(buffers, sizeof *s.inner), .choices = calloc(buffers, sizeof *s.choices)};
    s.short_of_memory = !numbers || !s.live || !s.kept || !s.stored || !s.inner || !s.choices;
    int32_t *order = at, **const by_place[] = {&s.order, &s.heavy, &s.before, &s.gone};
    int32_t **const by_buffer[] = {&s.maker, &s.last, &s.from, &s.mark};
    if (!s.short_of_memory) {
        at += places;
        for (size_t i = 0; i < sizeof by_place / sizeof *by_place; i++, at += places) *by_place[i] = at;
        for (size_t i = 0; i < sizeof by_buffer / sizeof *by_buffer; i++, at += buffers) *by_buffer[i] = at;
        s.then = at;
        s.short_of_memory = !prepare(&s);
    }
    for (s.round = 1; s.round <= ROUNDS && !s.short_of_memory && lower(&s, order);) s.round++;
    if (!s.short_of_memory && s.copies > 0) settle(&s);
    free(numbers);
    free(s.live);
    free(s.kept);
    free(s.stored);
    free(s.inner);
    free(s.choices);
    free(s.read);
    return s.short_of_memory ? ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan") : HT_OK;
}
