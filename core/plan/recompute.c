/*
 * Computing again instead of keeping: walks the steps in order within a budget of bytes, as a run would. Where room is
 * needed, the value with the largest bytes x steps to its next use / work to compute it again is dropped; the work is that
 * of all values it is made from that will not be there, so that of a chain some stay, like checkpoints. A step that reads a
 * dropped value is preceded by the steps that make it again, from what is kept. Every step is a function of what it reads
 * (draws too: of seed, stream, step and element), so bits stay. Which budget: limit.c. The idea is that of dynamic tensor
 * rematerialisation, with the next use known instead of guessed.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

/* Work is counted in bytes moved; so many operations take the time of a byte. */
#define FLOP_PER_BYTE 8.0
/* A budget that asks for more than so many times the work of the program is too small. */
#define MOST_WORK 8.0
/* A chain of dropped values is followed so far; beyond, it is dear enough. */
#define CHAIN 1024

/* One buffer of the arena, as the steps had it. */
typedef struct piece {
    size_t bytes;
    int32_t maker;       /* the step; HTI_NOWHERE of memory that is not the arena's */
    int32_t first, last; /* its reads in walk.use: first .. last - 1, by step; first moves on with the walk */
    int32_t begin;       /* where first was */
    int32_t now;         /* the buffer that has it at this point; HTI_NOWHERE: dropped, or not made yet */
    int32_t again;       /* of an inner piece: the buffer made for the sequence at work */
    int32_t wanted;      /* reads to come in the sequence at work */
    int32_t place;       /* in walk.resident */
    int32_t stamp;
    bool inner;          /* takes no memory; a group alone reads it */
} piece;

typedef struct walk {
    ht_program *p;
    hti_step *step; /* as they were */
    int32_t steps, pieces;
    piece *piece;
    int32_t *read, *read_first; /* by step: pieces that it reads; those of step `steps` are outputs and commits */
    int32_t *use;               /* by piece: steps that read it */
    double *work, *flop;        /* by step */
    int32_t *copy;              /* by value: its form in another buffer, made last */
    int32_t values;
    int32_t *resident, residents;
    int32_t *sequence, length, *listed; /* steps to be done again, ascending; by step: 1 + the step they are for */
    int32_t at, stamp;
    size_t used, budget;
    double done;
    HTI_LIST(int32_t) origin; /* by new step: the step it is */
    bool fits, short_of_memory;
} walk;

static int32_t buffer_of(const walk *w, int32_t value) { return w->p->values.at[value].buffer; }

/* The buffer that a step makes. */
static int32_t made_by(const walk *w, int32_t s)
{
    return hti_made_by(w->p, &w->step[s]);
}

static bool in_arena(const walk *w, int32_t b) { return w->piece[b].maker != HTI_NOWHERE; }

/* ---- what reads what ---- */

/* Pieces that step s reads, or, at the end, that outputs and commits do; with `to` NULL only their number. */
static int32_t reads_of(const walk *w, int32_t s, int32_t *to)
{
    int32_t count = 0;
#define READS(buffer)                        \
    do {                                     \
        const int32_t read_ = (buffer);      \
        if (to) to[count] = read_;           \
        count++;                             \
    } while (0)
    if (s < w->steps) {
        const hti_step *step = &w->step[s];
        for (int32_t k = 0; k < step->inputs; k++)
            READS(hti_reads_packed(step, k) ? step->packed_for[k] : buffer_of(w, step->in[k]));
        return count;
    }
    for (int32_t i = 0; i < w->p->outputs; i++) READS(buffer_of(w, w->p->output_values[i]));
    for (int32_t i = 0; i < w->p->commits.count; i++) READS(buffer_of(w, w->p->commits.at[i].value));
#undef READS
    return count;
}

double hti_flop_of(const ht_program *p, const hti_step *step)
{
    hti_tensor tensors[HTI_MAX_PACKED + 1];
    if (step->kind != HTI_STEP_OP || !step->kernel->flop || step->inputs > HTI_MAX_PACKED) return 0;
    for (int32_t k = 0; k <= step->inputs; k++) {
        const hti_value *value = &p->values.at[k < step->inputs ? step->in[k] : step->out];
        tensors[k] = (hti_tensor){.dtype = value->dtype, .shape = value->shape};
        memcpy(tensors[k].stride, value->stride, sizeof value->stride);
    }
    return step->kernel->flop(step->attributes, tensors, &tensors[step->inputs]);
}

/* Bytes that a step moves, and its operations. */
static void measure(walk *w, int32_t s)
{
    const hti_step *step = &w->step[s];
    w->flop[s] = hti_flop_of(w->p, step);
    w->work[s] = 1 + (double)w->p->buffers.at[made_by(w, s)].bytes + w->flop[s] / FLOP_PER_BYTE;
    for (int32_t k = 0; k < step->inputs; k++) w->work[s] += (double)w->p->buffers.at[buffer_of(w, step->in[k])].bytes;
}

static bool fill(walk *w, const bool *inner)
{
    const ht_program *p = w->p;
    int32_t total = 0;
    for (int32_t b = 0; b < w->pieces; b++)
        w->piece[b] = (piece){.bytes = inner[b] ? 0 : p->buffers.at[b].bytes, .maker = HTI_NOWHERE, .now = HTI_NOWHERE,
                              .again = HTI_NOWHERE, .inner = inner[b]};
    for (int32_t s = 0; s <= w->steps; s++) total += reads_of(w, s, NULL);
    w->read = calloc((size_t)total + 1, sizeof *w->read);
    w->use = calloc((size_t)total + 1, sizeof *w->use);
    if (!w->read || !w->use) return false;
    for (int32_t s = 0; s <= w->steps; s++) {
        w->read_first[s + 1] = w->read_first[s] + reads_of(w, s, w->read + w->read_first[s]);
        if (s == w->steps) break;
        w->piece[made_by(w, s)].maker = s;
        measure(w, s);
    }
    for (int32_t i = 0; i < total; i++) w->piece[w->read[i]].last++;
    for (int32_t b = 0, first = 0; b < w->pieces; b++) {
        first += w->piece[b].last;
        w->piece[b].begin = w->piece[b].first = w->piece[b].last = first - w->piece[b].last;
    }
    for (int32_t s = 0; s <= w->steps; s++)
        for (int32_t i = w->read_first[s]; i < w->read_first[s + 1]; i++) w->use[w->piece[w->read[i]].last++] = s;
    for (int32_t i = 0; i < w->values; i++) w->copy[i] = HTI_NOWHERE;
    return true;
}

/* The first step after the one at work that reads the piece; HTI_NOWHERE if none does. */
static int32_t next_use(const walk *w, int32_t b)
{
    piece *q = &w->piece[b];
    while (q->first < q->last && w->use[q->first] <= w->at) q->first++;
    return q->first < q->last ? w->use[q->first] : HTI_NOWHERE;
}

/* ---- keeping and dropping ---- */

static void keep(walk *w, int32_t b, int32_t buffer)
{
    piece *q = &w->piece[b];
    q->now = buffer;
    if (q->inner) return;
    w->used += q->bytes;
    q->place = w->residents;
    w->resident[w->residents++] = b;
}

static void drop(walk *w, int32_t b)
{
    piece *q = &w->piece[b];
    q->now = HTI_NOWHERE;
    w->used -= q->bytes;
    w->resident[q->place] = w->resident[--w->residents];
    w->piece[w->resident[q->place]].place = q->place;
}

static void drop_if_unused(walk *w, int32_t b)
{
    const piece *q = &w->piece[b];
    if (in_arena(w, b) && !q->inner && q->now != HTI_NOWHERE && q->wanted == 0 && next_use(w, b) == HTI_NOWHERE) drop(w, b);
}

/* Whether a chain of work goes on through the piece: it is not there, or will not be at the step `when`. */
static bool enters(walk *w, int32_t b, int32_t when)
{
    piece *q = &w->piece[b];
    const bool there = q->now != HTI_NOWHERE && !q->inner && w->use[q->last - 1] >= when;
    if (!in_arena(w, b) || q->stamp == w->stamp || there) return false;
    q->stamp = w->stamp;
    return true;
}

/* Work to make the piece again with what it needs: all that is not there, or will not be when it is read next. */
static double chain_work(walk *w, int32_t b)
{
    int32_t stack[CHAIN], count = 0, entered = 0;
    const int32_t when = next_use(w, b);
    double work = 0;
    w->stamp++;
    w->piece[b].stamp = w->stamp;
    for (stack[count++] = b; count > 0;) {
        const int32_t s = w->piece[stack[--count]].maker;
        work += w->work[s];
        for (int32_t i = w->read_first[s]; i < w->read_first[s + 1]; i++)
            if (entered < CHAIN && enters(w, w->read[i], when)) {
                stack[count++] = w->read[i];
                entered++;
            }
    }
    return work;
}

/* False if too much is in use at once. */
static bool make_room(walk *w, size_t bytes)
{
    while (w->used > w->budget || bytes > w->budget - w->used) {
        int32_t best = HTI_NOWHERE;
        double most = 0;
        for (int32_t i = 0; i < w->residents; i++) {
            const int32_t b = w->resident[i];
            const piece *q = &w->piece[b];
            if (q->wanted > 0 || q->bytes == 0) continue;
            const double distance = (double)(next_use(w, b) - w->at);
            const double gain = (double)q->bytes * distance / chain_work(w, b);
            if (best != HTI_NOWHERE && (gain < most || (gain == most && b > best))) continue;
            best = b;
            most = gain;
        }
        if (best == HTI_NOWHERE) return false;
        drop(w, best);
    }
    return true;
}

/* ---- the new steps ---- */

static int32_t new_buffer(walk *w, int32_t like)
{
    hti_buffer *buffer = HTI_PUSH(w->p->buffers);
    if (!buffer) {
        w->short_of_memory = true;
        return like;
    }
    *buffer = (hti_buffer){.bytes = w->p->buffers.at[like].bytes};
    return w->p->buffers.count - 1;
}

/* The value in another buffer. */
static int32_t moved(walk *w, int32_t value, int32_t buffer)
{
    const int32_t last = w->copy[value];
    if (buffer == buffer_of(w, value)) return value;
    if (last != HTI_NOWHERE && buffer_of(w, last) == buffer) return last;
    hti_value *made = HTI_PUSH(w->p->values);
    if (!made) {
        w->short_of_memory = true;
        return value;
    }
    *made = w->p->values.at[value];
    made->buffer = buffer;
    return w->copy[value] = w->p->values.count - 1;
}

static int32_t buffer_now(const walk *w, int32_t b, bool again)
{
    const piece *q = &w->piece[b];
    if (!in_arena(w, b)) return b;
    return q->inner ? (again ? q->again : b) : q->now;
}

static void emit(walk *w, int32_t s, bool again)
{
    hti_step step = w->step[s];
    const int32_t out = made_by(w, s);
    int32_t *in = hti_arena_array(&w->p->texts, step.inputs, sizeof *in);
    for (int32_t k = 0; in && k < step.inputs; k++) {
        in[k] = step.in[k];
        if (hti_reads_packed(&step, k)) step.packed_for[k] = buffer_now(w, step.packed_for[k], again);
        else in[k] = moved(w, in[k], buffer_now(w, buffer_of(w, in[k]), again));
    }
    step.in = in;
    const int32_t buffer = again ? new_buffer(w, out) : out;
    if (step.out != HTI_NOWHERE) step.out = moved(w, step.out, buffer);
    else step.packed = buffer;
    if (again && step.scratch != HTI_NOWHERE) step.scratch = new_buffer(w, step.scratch);
    hti_step *to = in ? HTI_PUSH(w->p->steps) : NULL;
    int32_t *origin = to ? HTI_PUSH(w->origin) : NULL;
    if (origin) {
        *to = step;
        *origin = s;
    } else {
        w->short_of_memory = true;
    }
    if (w->piece[out].inner && again) w->piece[out].again = buffer;
    else keep(w, out, buffer);
}

/* Memory that a step takes beside what it reads; a pointwise result is written over an input that dies. */
static size_t needs(const walk *w, int32_t s)
{
    const hti_step *step = &w->step[s];
    const size_t out = w->piece[made_by(w, s)].bytes;
    size_t bytes = step->scratch != HTI_NOWHERE ? w->p->buffers.at[step->scratch].bytes : 0;
    if (step->kind == HTI_STEP_OP && step->kernel->pointwise)
        for (int32_t i = w->read_first[s]; i < w->read_first[s + 1]; i++) {
            const piece *q = &w->piece[w->read[i]];
            if (in_arena(w, w->read[i]) && !q->inner && q->bytes == out && q->wanted == 1 &&
                next_use(w, w->read[i]) == HTI_NOWHERE)
                return bytes;
        }
    return bytes + out;
}

static void perform(walk *w, int32_t s, bool again)
{
    w->done += again ? w->work[s] : 0;
    w->fits = w->fits && make_room(w, needs(w, s));
    if (!w->fits) return;
    emit(w, s, again);
    for (int32_t i = w->read_first[s]; i < w->read_first[s + 1]; i++) {
        w->piece[w->read[i]].wanted--;
        drop_if_unused(w, w->read[i]);
    }
    drop_if_unused(w, made_by(w, s));
}

/* ---- sequences of steps that are done again ---- */

/* Lists the maker of a piece that is not there. A group's inner pieces are there for the group alone. */
static void list_maker(walk *w, int32_t b, bool again)
{
    const piece *q = &w->piece[b];
    if (!in_arena(w, b) || (q->inner ? !again : q->now != HTI_NOWHERE) || w->listed[q->maker] == w->at + 1) return;
    w->listed[q->maker] = w->at + 1;
    w->sequence[w->length++] = q->maker;
}

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

/* Steps before the one at work that must be done again for it, in order. */
static void find_sequence(walk *w)
{
    w->length = 0;
    for (int32_t i = w->read_first[w->at]; i < w->read_first[w->at + 1]; i++) {
        w->piece[w->read[i]].wanted++;
        list_maker(w, w->read[i], false);
    }
    for (int32_t n = 0; n < w->length; n++)
        for (int32_t i = w->read_first[w->sequence[n]]; i < w->read_first[w->sequence[n] + 1]; i++) {
            w->piece[w->read[i]].wanted++;
            list_maker(w, w->read[i], true);
        }
    qsort(w->sequence, (size_t)w->length, sizeof *w->sequence, ascending);
}

static void walk_steps(walk *w)
{
    double all = 0;
    for (int32_t s = 0; s < w->steps; s++) all += w->work[s];
    for (w->at = 0; w->at <= w->steps && w->fits && !w->short_of_memory; w->at++) {
        find_sequence(w);
        for (int32_t n = 0; n < w->length && w->fits && !w->short_of_memory; n++) perform(w, w->sequence[n], true);
        if (w->at < w->steps) perform(w, w->at, false);
        w->fits = w->fits && w->done <= MOST_WORK * all;
    }
}

/* ---- the end ---- */

static void settle(walk *w)
{
    ht_program *p = w->p;
    for (int32_t i = 0; i < p->outputs; i++)
        p->output_values[i] = moved(w, p->output_values[i], buffer_now(w, buffer_of(w, p->output_values[i]), false));
    for (int32_t i = 0; i < p->commits.count; i++) {
        int32_t *value = &p->commits.at[i].value;
        *value = moved(w, *value, buffer_now(w, buffer_of(w, *value), false));
    }
}

/* Steps whose result was dropped before anything read it only moved to a later place: the first ones go. */
static void leave_out_unread(walk *w, hti_recomputation *found)
{
    ht_program *p = w->p;
    bool *read = calloc((size_t)p->buffers.count + 1, sizeof *read);
    bool *seen = calloc((size_t)w->steps + 1, sizeof *seen);
    int32_t kept = 0;
    w->short_of_memory = w->short_of_memory || !read || !seen;
    if (w->short_of_memory) goto end;
    for (int32_t i = 0; i < p->outputs; i++) read[buffer_of(w, p->output_values[i])] = true;
    for (int32_t i = 0; i < p->commits.count; i++) read[buffer_of(w, p->commits.at[i].value)] = true;
    for (int32_t s = p->steps.count - 1; s >= 0; s--) {
        const hti_step *step = &p->steps.at[s];
        if (!read[step->out != HTI_NOWHERE ? buffer_of(w, step->out) : step->packed]) w->origin.at[s] = HTI_NOWHERE;
        for (int32_t k = 0; k < step->inputs && w->origin.at[s] != HTI_NOWHERE; k++)
            read[hti_reads_packed(step, k) ? step->packed_for[k] : buffer_of(w, step->in[k])] = true;
    }
    for (int32_t s = 0; s < p->steps.count; s++) {
        const int32_t origin = w->origin.at[s];
        if (origin == HTI_NOWHERE) continue;
        hti_step *step = &p->steps.at[kept++];
        *step = p->steps.at[s];
        step->recomputed = seen[origin];
        if (seen[origin]) {
            found->steps++;
            found->work += w->work[origin];
            found->flop += w->flop[origin];
        }
        seen[origin] = true;
    }
    p->steps.count = kept;
end:
    free(read);
    free(seen);
}

static void release(walk *w)
{
    free(w->step);
    free(w->piece);
    free(w->read);
    free(w->read_first);
    free(w->use);
    free(w->work);
    free(w->flop);
    free(w->copy);
    free(w->resident);
    free(w->sequence);
    free(w->listed);
    free(w->origin.at);
}

ht_status hti_plan_recompute(ht_program *p, const bool *inner, size_t budget, hti_recomputation *found, ht_error *error)
{
    walk w = {.p = p, .step = p->steps.at, .steps = p->steps.count, .pieces = p->buffers.count, .values = p->values.count,
              .budget = budget, .fits = true};
    const size_t steps = (size_t)w.steps + 2, pieces = (size_t)w.pieces + 1;
    *found = (hti_recomputation){0};
    p->steps.at = NULL;
    p->steps.count = p->steps.room = 0;
    w.piece = calloc(pieces, sizeof *w.piece);
    w.resident = calloc(pieces, sizeof *w.resident);
    w.copy = calloc((size_t)w.values + 1, sizeof *w.copy);
    w.read_first = calloc(steps, sizeof *w.read_first);
    w.work = calloc(steps, sizeof *w.work);
    w.flop = calloc(steps, sizeof *w.flop);
    w.sequence = calloc(steps, sizeof *w.sequence);
    w.listed = calloc(steps, sizeof *w.listed);
    w.short_of_memory = !w.piece || !w.resident || !w.copy || !w.read_first || !w.work || !w.flop || !w.sequence || !w.listed ||
                        !fill(&w, inner);
    if (!w.short_of_memory) walk_steps(&w);
    if (w.fits && !w.short_of_memory) {
        settle(&w);
        leave_out_unread(&w, found);
    }
    found->fits = w.fits;
    release(&w);
    return w.short_of_memory ? ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan") : HT_OK;
}
