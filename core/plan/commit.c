/*
 * Updates in place. A pointwise step, or a group, whose results go into stores and nowhere else is put behind all others,
 * into the commit section, and writes there: an optimiser's weights and moments then need no memory of their own and no
 * copy. It may, where no other step of the section reads what it changes, and it reads that itself at the same places
 * and before. Nothing is decided for good: done again after the steps changed, it begins anew.
 */
#include <string.h>

#include "plan/plan.h"

enum { UNREAD = -1, TWICE = -2 };

typedef struct committer {
    ht_program *p;
    int32_t *commit;    /* by buffer: the commit that alone takes it, UNREAD or TWICE */
    bool *read;         /* by buffer: by a step, or an output */
    bool *late;         /* by step */
    int32_t *state;     /* buffers of stores that steps read, by address */
    int32_t *late_readers; /* by such buffer: steps of the commit section that read it */
    int32_t states;
} committer;

/* ---- results of a step, which has one, or as many as its group ---- */

static int32_t results(const hti_step *step) { return step->group ? step->group->outputs : 1; }

static int32_t result(const hti_step *step, int32_t k) { return step->group ? step->group_out[k] : step->out; }

/* The member that makes a result. */
static int32_t maker(const hti_step *step, int32_t k)
{
    int32_t m = 0;
    while (step->group && step->group->member[m].place != ~k) m++;
    return m;
}

static hti_buffer *buffer_of(const ht_program *p, int32_t value) { return &p->buffers.at[p->values.at[value].buffer]; }

static void *target(const committer *c, const hti_step *step, int32_t k)
{
    const hti_commit *commit = &c->p->commits.at[c->commit[c->p->values.at[result(step, k)].buffer]];
    return ht_store_data(commit->store, commit->index);
}

/* ---- who reads what ---- */

static void mark_reads(committer *c)
{
    const ht_program *p = c->p;
    for (int32_t i = 0; i < p->buffers.count; i++) c->commit[i] = UNREAD;
    for (int32_t i = 0; i < p->commits.count; i++) {
        const int32_t buffer = p->values.at[p->commits.at[i].value].buffer;
        c->commit[buffer] = c->commit[buffer] == UNREAD ? i : TWICE;
    }
    for (int32_t i = 0; i < p->outputs; i++) c->read[p->values.at[p->output_values[i]].buffer] = true;
    for (int32_t s = 0; s < p->steps.count; s++)
        for (int32_t k = 0; k < p->steps.at[s].inputs; k++) c->read[p->values.at[p->steps.at[s].in[k]].buffer] = true;
}

/* Of steps whose results are all taken by commits alone; else false. */
static bool updates(const committer *c, const hti_step *step)
{
    const bool pointwise = step->kind == HTI_STEP_GROUP || (step->kind == HTI_STEP_OP && step->kernel->pointwise);
    bool all = pointwise && results(step) > 0 && !(step->group && step->group->sums > 0);
    for (int32_t k = 0; all && k < results(step); k++) {
        const int32_t buffer = c->p->values.at[result(step, k)].buffer;
        all = c->commit[buffer] >= 0 && !c->read[buffer] && !c->p->buffers.at[buffer].fixed;
    }
    return all;
}

/*
 * Whether it keeps about as little: what it reads must live to the end, where its results need no memory. A part of a value
 * counts for itself: others read the rest.
 */
static bool saves(const committer *c, const hti_step *step)
{
    size_t kept = 0, saved = 0;
    for (int32_t k = 0; k < results(step); k++) saved += buffer_of(c->p, result(step, k))->bytes;
    for (int32_t k = 0; k < step->inputs; k++) {
        const hti_buffer *buffer = buffer_of(c->p, step->in[k]);
        const hti_value *value = &c->p->values.at[step->in[k]];
        const size_t part = (size_t)ht_shape_count(value->shape) * ht_dtype_bytes(value->dtype);
        if (!buffer->fixed) kept += value->inside && part < buffer->bytes ? part : buffer->bytes;
    }
    return kept <= saved + saved / 8;
}

static uintptr_t address_of(const ht_program *p, int32_t buffer) { return (uintptr_t)p->buffers.at[buffer].fixed; }

/* The buffer of a store's memory, as number in `state`, or HTI_NOWHERE if no step reads it. */
static int32_t state_of(const committer *c, const void *memory)
{
    int32_t low = 0, high = c->states;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        const uintptr_t at = address_of(c->p, c->state[middle]);
        if (at == (uintptr_t)memory) return middle;
        if (at < (uintptr_t)memory) low = middle + 1;
        else high = middle;
    }
    return HTI_NOWHERE;
}

/* Each buffer that a step reads is counted once for it. */
static void count_states(committer *c, const hti_step *step, int32_t by)
{
    for (int32_t k = 0; k < step->inputs; k++) {
        const int32_t buffer = c->p->values.at[step->in[k]].buffer;
        bool before = !c->p->buffers.at[buffer].state;
        for (int32_t i = 0; i < k && !before; i++) before = c->p->values.at[step->in[i]].buffer == buffer;
        if (!before) c->late_readers[state_of(c, c->p->buffers.at[buffer].fixed)] += by;
    }
}

/* Whether the step may write a result over the memory of its store. */
static bool may_write(const committer *c, const hti_step *step, int32_t k)
{
    const hti_value *value = &c->p->values.at[result(step, k)];
    const void *memory = target(c, step, k);
    const int32_t state = state_of(c, memory);
    bool reads = false;
    for (int32_t i = 0; i < step->inputs; i++) {
        if (buffer_of(c->p, step->in[i])->fixed != memory) continue;
        reads = true;
        if (!hti_same_places(&c->p->values.at[step->in[i]], value) || hti_last_reader(step, i) > maker(step, k)) return false;
    }
    return state == HTI_NOWHERE || c->late_readers[state] == (reads ? 1 : 0);
}

/* ---- the whole ---- */

/* By address; Shell's sort. */
static void sort_states(committer *c)
{
    ht_program *p = c->p;
    for (int32_t i = 0; i < p->buffers.count; i++)
        if (p->buffers.at[i].state && c->read[i]) c->state[c->states++] = i;
    for (int32_t gap = c->states / 2; gap > 0; gap /= 2)
        for (int32_t i = gap; i < c->states; i++) {
            const int32_t moved = c->state[i];
            int32_t j = i;
            for (; j >= gap && address_of(p, c->state[j - gap]) > address_of(p, moved); j -= gap) c->state[j] = c->state[j - gap];
            c->state[j] = moved;
        }
}

static void choose_late(committer *c)
{
    ht_program *p = c->p;
    for (int32_t s = 0; s < p->steps.count; s++) {
        c->late[s] = updates(c, &p->steps.at[s]) && saves(c, &p->steps.at[s]);
        if (c->late[s]) count_states(c, &p->steps.at[s], 1);
    }
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        for (int32_t k = 0; c->late[s] && k < results(step); k++) {
            if (may_write(c, step, k)) continue;
            c->late[s] = false;
            count_states(c, step, -1);
        }
    }
    for (int32_t s = 0; s < p->steps.count; s++)
        for (int32_t k = 0; c->late[s] && k < results(&p->steps.at[s]); k++) {
            hti_buffer *buffer = buffer_of(p, result(&p->steps.at[s], k));
            p->commits.at[c->commit[buffer - p->buffers.at]].in_place = true;
            buffer->fixed = target(c, &p->steps.at[s], k);
            buffer->state = true;
        }
}

ht_status hti_plan_commit(ht_program *p, ht_error *error)
{
    const int32_t buffers = p->buffers.count + 1, steps = p->steps.count + 1;
    hti_arena arena = {0};
    p->commit_section = p->steps.count;
    for (int32_t i = 0; i < p->commits.count; i++) {
        hti_buffer *buffer = buffer_of(p, p->commits.at[i].value);
        if (p->commits.at[i].in_place) *buffer = (hti_buffer){.bytes = buffer->bytes};
        p->commits.at[i].in_place = false;
    }
    if (p->check || p->commits.count == 0) return HT_OK; /* check mode looks at results before they are anywhere */
    committer c = {.p = p, .commit = hti_arena_array(&arena, buffers, sizeof *c.commit),
                   .read = hti_arena_array(&arena, buffers, sizeof *c.read),
                   .late = hti_arena_array(&arena, steps, sizeof *c.late),
                   .state = hti_arena_array(&arena, buffers, sizeof *c.state),
                   .late_readers = hti_arena_array(&arena, buffers, sizeof *c.late_readers)};
    bool fits = c.commit && c.read && c.late && c.state && c.late_readers;
    if (fits) {
        mark_reads(&c);
        sort_states(&c);
        choose_late(&c);
        p->commit_section = hti_steps_last(p, c.late);
        fits = p->commit_section >= 0;
    }
    hti_arena_free(&arena);
    return fits ? HT_OK : ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
}
