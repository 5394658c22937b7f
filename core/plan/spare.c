/*
 * Not keeping what lies idle over the peak of memory and is quickly made again: packed and mixed weights, the weights of a
 * look-ahead, gradients of weights over a few places, concatenations, results of pointwise steps. Copies of the steps that
 * made it, from what is there anyway, make it once more before its next reader; if nothing read it before the peak, it is
 * only made later. Bits stay. All of it is a small part of the program's work; recompute.c does the rest under a limit.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

/* At most one part in so many of the program's work, in bytes moved, is done again; so many operations count as a byte. */
#define WORK_SHARE 52
#define FLOP_PER_BYTE 8.0
/* Values below one part in so many of the peak are left alone; a round of choosing saves one part in PIECE. */
#define GRAIN 1024
#define PIECE 12
#define ROUNDS 32
/* Steps of a chain; copies in all. */
#define CHAIN 24
#define COPIES 1024

typedef struct choice {
    int32_t buffer, reader; /* reader: the place of the next step that reads it */
    bool unread;            /* nothing read it before: its step only moves */
    double work, worth;     /* of making it again; bytes for a unit of that */
} choice;

typedef struct sparer {
    ht_program *p;
    /* by number of a step, copies behind all others: */
    int32_t *first, *reads, *made; /* buffers that it reads, reads[first[n]] to reads[first[n + 1] - 1]; that it makes */
    int32_t *reader, *next;        /* by such a reading: its step; the next reading of its buffer, in no order */
    bool *light;                   /* pointwise */
    /* by place, which is an index of `order`: */
    int32_t *order, *sorted, count; /* numbers of steps, as they run; another such list */
    int32_t *heavy;                /* steps before it that are not pointwise */
    size_t *live;
    int32_t *before, *gone;        /* the first copy before it; the round in which it went */
    /* by buffer: */
    int32_t *maker, *last;         /* places of the step that makes it, and of the last that reads it */
    int32_t *readings;             /* the first of its readings */
    int32_t *mark;                 /* the round in which a copy came to rely on it, or, negative, in which it was dropped */
    size_t *bytes;                 /* 0 of memory that is not the arena's */
    bool *kept, *stored, *inner;   /* by outputs or commits; by commits alone; likely to take no memory of its own */
    int32_t *then;                 /* by copy: the one behind it */
    choice *choices;
    int32_t chain[CHAIN], chained, copies, round, room;
    double work, allowance;
    bool short_of_memory;
} sparer;

static hti_step *step_at(const sparer *s, int32_t place) { return &s->p->steps.at[s->order[place]]; }

/* ---- what lives where ---- */

/* Tells what a step reads and makes, once its number is the last. */
static void describe(sparer *s, int32_t number)
{
    const hti_step *step = &s->p->steps.at[number];
    s->light[number] = hti_pointwise(step);
    s->made[number] = hti_made_by(s->p, step);
    s->first[number + 1] = s->first[number] + step->inputs;
    for (int32_t k = 0; k < step->inputs; k++) {
        const int32_t reading = s->first[number] + k, b = hti_read_by(s->p, step, k);
        s->reads[reading] = b;
        s->reader[reading] = number;
        s->next[reading] = s->readings[b];
        s->readings[b] = reading;
    }
}

/* Takes a step's readings of a buffer off its list; the others hang together. */
static void forget(sparer *s, int32_t number, int32_t b)
{
    for (int32_t *link = &s->readings[b]; *link != HTI_NOWHERE;)
        if (s->reader[*link] == number) *link = s->next[*link];
        else link = &s->next[*link];
}

/* The first place from `at` on that reads a buffer; HTI_NOWHERE: none. Copies have no place before the next round. */
static int32_t next_reader(const sparer *s, int32_t b, int32_t at)
{
    int32_t found = HTI_NOWHERE;
    for (int32_t k = s->readings[b]; k != HTI_NOWHERE; k = s->next[k]) {
        const int32_t place = s->maker[s->made[s->reader[k]]];
        if (place >= at && (found == HTI_NOWHERE || place < found)) found = place;
    }
    return found;
}

static void find_lives(sparer *s)
{
    for (int32_t b = 0; b < s->p->buffers.count; b++) s->last[b] = s->kept[b] ? s->count : HTI_NOWHERE;
    for (int32_t i = 0; i < s->count; i++) {
        const int32_t n = s->order[i];
        s->maker[s->made[n]] = i;
        s->heavy[i + 1] = s->heavy[i] + !s->light[n];
        for (int32_t k = s->first[n]; k < s->first[n + 1]; k++)
            if (s->last[s->reads[k]] < i) s->last[s->reads[k]] = i;
    }
}

/* In registers of a group, or over its store: what the step of a place makes. */
static bool stays_inner(const sparer *s, int32_t place)
{
    const int32_t b = s->made[s->order[place]], last = s->last[b];
    if (!s->light[s->order[place]]) return false;
    if (s->kept[b] || last == HTI_NOWHERE) return s->stored[b];
    return s->heavy[last] == s->heavy[place] && s->light[s->order[last]];
}

/* The first place at which a result takes memory of its own: behind its step, if it may be written over an input. */
static int32_t begins(const sparer *s, int32_t place)
{
    const int32_t n = s->order[place];
    const size_t bytes = s->bytes[s->made[n]];
    for (int32_t k = s->first[n]; s->light[n] && k < s->first[n + 1]; k++)
        if (s->last[s->reads[k]] == place && s->bytes[s->reads[k]] == bytes) return place + 1;
    return place;
}

/* The place of the peak. */
static int32_t measure(sparer *s)
{
    int32_t peak = 0;
    size_t live = 0, most = 0;
    find_lives(s);
    memset(s->live, 0, ((size_t)s->count + 2) * sizeof *s->live);
    for (int32_t i = 0; i < s->count; i++) {
        const int32_t b = s->made[s->order[i]];
        if (s->bytes[b] == 0) continue;
        s->inner[b] = stays_inner(s, i);
        if (s->inner[b]) continue;
        const int32_t first = begins(s, i), last = s->last[b] < i ? i : s->last[b];
        if (first > last) continue;
        s->live[first] += s->bytes[b]; /* differences, which wrap around below zero and back */
        if (last < s->count) s->live[last + 1] -= s->bytes[b];
    }
    for (int32_t i = 0; i < s->count; i++) {
        s->live[i] = live += s->live[i];
        if (live <= most) continue;
        most = live;
        peak = i;
    }
    return peak;
}

/* ---- making a value again ---- */

/* Of products those that take about as long as writing what they make. */
static bool repeatable(const sparer *s, const hti_step *step)
{
    if (step->kind != HTI_STEP_OP || step->kernel->pointwise) return true;
    if (step->kernel->flop) return hti_flop_of(s->p, step) / FLOP_PER_BYTE <= 4 * (double)s->bytes[hti_made_by(s->p, step)];
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
    if (s->mark[x] == -s->round) return false;
    return s->bytes[x] <= bytes / GRAIN || (!s->inner[x] && s->last[x] >= reader);
}

/* The steps that make a buffer again before a reader, in the order of their places; false if that is no cheap work. */
static bool find_chain(sparer *s, int32_t b, int32_t reader)
{
    s->chained = 0;
    s->chain[s->chained++] = s->maker[b];
    for (int32_t i = 0; i < s->chained; i++) {
        const int32_t n = s->order[s->chain[i]];
        if (!repeatable(s, &s->p->steps.at[n])) return false;
        for (int32_t k = s->first[n]; k < s->first[n + 1]; k++) {
            const int32_t x = s->reads[k];
            if (available(s, x, reader, s->bytes[b]) || in_chain(s, s->maker[x])) continue;
            if (s->chained == CHAIN) return false;
            s->chain[s->chained++] = s->maker[x];
        }
    }
    for (int32_t i = 1; i < s->chained; i++) {
        const int32_t place = s->chain[i];
        int32_t at = i;
        for (; at > 0 && s->chain[at - 1] > place; at--) s->chain[at] = s->chain[at - 1];
        s->chain[at] = place;
    }
    return true;
}

/* Bytes that a step moves: between pointwise steps that follow each other none. */
static double moved_by(const sparer *s, int32_t place, bool again)
{
    const int32_t n = s->order[place], out = s->made[n];
    const bool last = again && s->chain[s->chained - 1] == place;
    double bytes = s->light[n] && (again ? !last : s->inner[out]) ? 0 : (double)s->bytes[out];
    for (int32_t k = s->first[n]; k < s->first[n + 1]; k++) {
        const int32_t x = s->reads[k], made = s->maker[x];
        const bool both = made != HTI_NOWHERE && s->light[n] && s->light[s->order[made]];
        if (!both || !(again ? in_chain(s, made) : s->inner[x])) bytes += (double)s->bytes[s->p->buffers.at[x].state ? out : x];
    }
    return bytes + (again ? hti_flop_of(s->p, step_at(s, place)) / FLOP_PER_BYTE : 0);
}

/* ---- choosing ---- */

/* Whether a buffer that is made before the peak lies idle there and may be made again behind it. */
static bool consider(sparer *s, int32_t b, int32_t peak, choice *c)
{
    const size_t least = s->live[peak] / GRAIN > HTI_WORTH_AGAIN ? s->live[peak] / GRAIN : HTI_WORTH_AGAIN;
    if (s->bytes[b] < least || s->last[b] <= peak || s->inner[b]) return false;
    const int32_t next = next_reader(s, b, peak);
    if (next == HTI_NOWHERE || next == peak) return false;
    *c = (choice){.buffer = b, .reader = next, .unread = next_reader(s, b, 0) == next};
    if (!find_chain(s, b, c->reader)) return false;
    for (int32_t i = 0; i < s->chained; i++)
        if (!c->unread || s->chain[i] != s->maker[b]) c->work += moved_by(s, s->chain[i], true);
    c->worth = (double)s->bytes[b] / (c->work + 1);
    return true;
}

static int worth_first(const void *a, const void *b)
{
    const choice *x = a, *y = b;
    if (x->worth != y->worth) return x->worth > y->worth ? -1 : 1;
    return x->buffer < y->buffer ? -1 : 1;
}

/* Whether a choice, found by the state before this round, still stands, and there is room for it. */
static bool stands(sparer *s, const choice *c)
{
    int32_t reads = s->first[s->p->steps.count];
    if (s->mark[c->buffer] == s->round || s->work + c->work > s->allowance || !find_chain(s, c->buffer, c->reader)) return false;
    for (int32_t i = 0; i < s->chained; i++) reads += step_at(s, s->chain[i])->inputs;
    return s->copies + s->chained <= COPIES && reads <= s->room;
}

/* ---- copies ---- */

static int32_t new_buffer(sparer *s, size_t bytes)
{
    hti_buffer *buffer = HTI_PUSH(s->p->buffers);
    s->short_of_memory = s->short_of_memory || !buffer;
    if (!buffer) return 0;
    const int32_t b = s->p->buffers.count - 1;
    *buffer = (hti_buffer){.bytes = bytes};
    s->bytes[b] = bytes;
    s->maker[b] = s->readings[b] = HTI_NOWHERE;
    return b;
}

/* The step of a place reads another buffer in place of one. */
static void redirect(sparer *s, int32_t place, int32_t from, int32_t to)
{
    const int32_t number = s->order[place];
    s->short_of_memory = s->short_of_memory || !hti_redirect(s->p, &s->p->steps.at[number], from, to);
    forget(s, number, from);
    for (int32_t k = s->first[number]; k < s->first[number + 1]; k++) {
        if (s->reads[k] != from) continue;
        s->reads[k] = to;
        s->next[k] = s->readings[to];
        s->readings[to] = k;
    }
}

/* A copy of the step of a place, before another place; its number. */
static int32_t copy_step(sparer *s, int32_t place, int32_t before)
{
    ht_program *p = s->p;
    hti_step copy = *step_at(s, place), *to = HTI_PUSH(p->steps);
    const int32_t made = new_buffer(s, s->bytes[s->made[s->order[place]]]);
    s->short_of_memory = s->short_of_memory || !to;
    if (s->short_of_memory) return 0;
    if (copy.scratch != HTI_NOWHERE) copy.scratch = new_buffer(s, p->buffers.at[copy.scratch].bytes);
    if (copy.out == HTI_NOWHERE) copy.packed = made;
    else copy.out = hti_value_in(p, copy.out, made);
    s->short_of_memory = s->short_of_memory || (copy.out == HTI_NOWHERE && copy.packed == HTI_NOWHERE);
    *to = copy;
    if (s->short_of_memory) return 0;
    int32_t *link = &s->before[before];
    while (*link != HTI_NOWHERE) link = &s->then[*link];
    s->then[s->copies] = HTI_NOWHERE;
    *link = s->copies++;
    return p->steps.count - 1;
}

/* Outputs and commits that take a buffer take another. */
static void hand_over(sparer *s, int32_t from, int32_t to)
{
    ht_program *p = s->p;
    for (int32_t i = 0; s->kept[from] && i < p->outputs + p->commits.count; i++) {
        int32_t *value = i < p->outputs ? &p->output_values[i] : &p->commits.at[i - p->outputs].value;
        if (p->values.at[*value].buffer == from) *value = hti_value_in(p, *value, to);
        s->short_of_memory = s->short_of_memory || *value == HTI_NOWHERE;
        if (*value == HTI_NOWHERE) return;
    }
    s->kept[to] = s->kept[from];
    s->stored[to] = s->stored[from];
    s->kept[from] = s->stored[from] = false;
}

static void apply(sparer *s, const choice *c)
{
    int32_t from[CHAIN], to[CHAIN];
    for (int32_t i = 0; i < s->chained; i++) {
        from[i] = s->made[s->order[s->chain[i]]];
        const int32_t number = copy_step(s, s->chain[i], c->reader);
        for (int32_t k = 0; k < i && !s->short_of_memory; k++)
            s->short_of_memory = !hti_redirect(s->p, &s->p->steps.at[number], from[k], to[k]);
        if (s->short_of_memory) return;
        describe(s, number);
        to[i] = s->made[number];
        for (int32_t k = s->first[number]; k < s->first[number + 1]; k++) s->mark[s->reads[k]] = s->round;
    }
    for (int32_t at = c->reader; at != HTI_NOWHERE; at = next_reader(s, c->buffer, at))
        redirect(s, at, c->buffer, to[s->chained - 1]);
    hand_over(s, c->buffer, to[s->chained - 1]);
    s->mark[c->buffer] = -s->round;
    if (c->unread) s->gone[s->maker[c->buffer]] = s->round;
    s->work += c->work;
}

/* The order with this round's copies where they belong, and without the steps that only moved. */
static void reorder(sparer *s)
{
    const int32_t copy = s->p->steps.count - s->copies;
    int32_t count = 0;
    for (int32_t i = 0; i < s->count; i++) {
        for (int32_t k = s->before[i]; k != HTI_NOWHERE; k = s->then[k]) s->sorted[count++] = copy + k;
        const int32_t n = s->order[i];
        if (s->gone[i] != s->round) s->sorted[count++] = n;
        else s->maker[s->made[n]] = HTI_NOWHERE;
        for (int32_t k = s->first[n]; s->gone[i] == s->round && k < s->first[n + 1]; k++) forget(s, n, s->reads[k]);
    }
    memcpy(s->order, s->sorted, (size_t)count * sizeof *s->order);
    s->count = count;
}

/* ---- the whole ---- */

/* Makes the peak a little lower; false if that cannot be. */
static bool lower(sparer *s)
{
    const int32_t peak = measure(s);
    int32_t found = 0;
    size_t saved = 0;
    for (int32_t i = 0; i < peak; i++) found += consider(s, s->made[s->order[i]], peak, &s->choices[found]);
    if (found > 0) qsort(s->choices, (size_t)found, sizeof *s->choices, worth_first);
    for (int32_t i = 0; i <= s->count; i++) s->before[i] = HTI_NOWHERE;
    for (int32_t i = 0; i < found && saved < s->live[peak] / PIECE && !s->short_of_memory; i++) {
        if (!stands(s, &s->choices[i])) continue;
        apply(s, &s->choices[i]);
        saved += s->bytes[s->choices[i].buffer];
    }
    if (saved > 0 && !s->short_of_memory) reorder(s);
    return saved > 0 && !s->short_of_memory;
}

/* The order without what was read by steps alone that only moved: copies make it again for them. */
static void sweep(sparer *s)
{
    int32_t first = s->count;
    bool *read = s->inner; /* by buffer: of use no more */
    memcpy(read, s->kept, (size_t)s->p->buffers.count * sizeof *read);
    for (int32_t i = s->count - 1; i >= 0; i--) {
        const int32_t n = s->order[i];
        if (!read[s->made[n]]) continue;
        for (int32_t k = s->first[n]; k < s->first[n + 1]; k++) read[s->reads[k]] = true;
        s->sorted[--first] = n;
    }
    s->count -= first;
    memcpy(s->order, &s->sorted[first], (size_t)s->count * sizeof *s->order);
}

/* The steps as they run. */
static void settle(sparer *s)
{
    ht_program *p = s->p;
    int32_t *const out = s->gone, all = s->count; /* by number of a step: of use no more */
    for (int32_t n = 0; n < p->steps.count; n++) out[n] = true;
    for (int32_t i = 0; i < s->count; i++) out[s->order[i]] = false;
    for (int32_t n = 0; n < p->steps.count; n++)
        if (out[n]) s->order[all++] = n;
    hti_steps_order(p, s->order);
    p->facts.repeated += s->count - (p->steps.count - s->copies);
    p->facts.recomputed_flop = -p->facts.flop;
    p->steps.count = s->count;
    for (int32_t i = 0; i < s->count; i++) p->facts.recomputed_flop += hti_flop_of(p, &p->steps.at[i]);
}

static bool prepare(sparer *s, hti_arena *arena)
{
    const ht_program *p = s->p;
    const int32_t steps = p->steps.count + COPIES + 2, buffers = p->buffers.count + 2 * COPIES + 3;
    int32_t **const by_step[] = {&s->first, &s->made, &s->order, &s->sorted, &s->heavy, &s->before, &s->gone};
    int32_t **const by_buffer[] = {&s->maker, &s->last, &s->readings, &s->mark};
    int32_t **const by_reading[] = {&s->reads, &s->reader, &s->next};
    bool **const flags[] = {&s->kept, &s->stored, &s->inner}, fits = true;
    s->room = CHAIN * COPIES;
    for (int32_t n = 0; n < p->steps.count; n++) s->room += p->steps.at[n].inputs;
    for (size_t i = 0; i < 7; i++) fits = (*by_step[i] = hti_arena_array(arena, steps, sizeof(int32_t))) && fits;
    for (size_t i = 0; i < 4; i++) fits = (*by_buffer[i] = hti_arena_array(arena, buffers, sizeof(int32_t))) && fits;
    for (size_t i = 0; i < 3; i++) fits = (*flags[i] = hti_arena_array(arena, buffers, sizeof(bool))) && fits;
    for (size_t i = 0; i < 3; i++) fits = (*by_reading[i] = hti_arena_array(arena, s->room, sizeof(int32_t))) && fits;
    s->light = hti_arena_array(arena, steps, sizeof *s->light);
    s->live = hti_arena_array(arena, steps, sizeof *s->live);
    s->bytes = hti_arena_array(arena, buffers, sizeof *s->bytes);
    s->then = hti_arena_array(arena, COPIES, sizeof *s->then);
    s->choices = hti_arena_array(arena, buffers, sizeof *s->choices);
    if (!fits || !s->light || !s->live || !s->bytes || !s->then || !s->choices) return false;
    for (int32_t b = 0; b < p->buffers.count; b++) s->maker[b] = s->readings[b] = HTI_NOWHERE;
    for (int32_t n = 0; n < p->steps.count; n++) {
        s->order[s->count++] = n;
        describe(s, n);
    }
    for (int32_t b = 0; b < p->buffers.count; b++) s->bytes[b] = p->buffers.at[b].fixed ? 0 : p->buffers.at[b].bytes;
    for (int32_t i = 0; i < p->commits.count; i++) {
        const int32_t b = p->values.at[p->commits.at[i].value].buffer;
        s->kept[b] = s->stored[b] = true;
    }
    for (int32_t i = 0; i < p->outputs; i++) {
        const int32_t b = p->values.at[p->output_values[i]].buffer;
        s->kept[b] = true;
        s->stored[b] = false;
    }
    return true;
}

ht_status hti_plan_spare(ht_program *p, ht_error *error)
{
    hti_arena arena = {0};
    sparer s = {.p = p, .round = 1};
    if (p->check) return HT_OK;
    s.short_of_memory = !prepare(&s, &arena);
    if (!s.short_of_memory) (void)measure(&s);
    for (int32_t i = 0; i < s.count && !s.short_of_memory; i++) s.allowance += moved_by(&s, i, false);
    s.allowance = (s.allowance + p->facts.flop / FLOP_PER_BYTE) / WORK_SHARE;
    while (s.round <= ROUNDS && !s.short_of_memory && lower(&s)) s.round++;
    if (!s.short_of_memory && s.copies > 0) sweep(&s);
    if (!s.short_of_memory && s.copies > 0) settle(&s);
    hti_arena_free(&arena);
    return s.short_of_memory ? ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan") : HT_OK;
}
