/*
 * Pointwise steps that only outputs and commits wait for are computed last, where that keeps less in memory. commit.c puts
 * most of an optimiser's updates there after fusing; here they stand there before, so that recompute.c, which walks steps
 * that are not fused yet, sees how long their gradients live. Steps that hang together by their results move together.
 * Before that sums are gathered where what they sum is made. It costs nothing and changes no number.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

/* What is known of a buffer. */
typedef struct piece {
    int32_t maker;      /* the step that makes it; HTI_NOWHERE of what is not in the arena */
    int32_t counted;    /* the part that it was counted for last */
    bool early, at_end; /* read by a step that stays; read by outputs or commits */
} piece;

typedef struct sorter {
    ht_program *p;
    piece *piece;  /* by buffer */
    int32_t *root; /* by step: a step of its part, itself at last; HTI_NOWHERE of steps that stay */
    double *saved; /* by part: bytes that live to the end now, less those that would */
} sorter;

static int32_t part_of(sorter *s, int32_t step)
{
    while (s->root[step] != step) step = s->root[step] = s->root[s->root[step]];
    return step;
}

static void mark(sorter *s)
{
    const ht_program *p = s->p;
    for (int32_t b = 0; b < p->buffers.count; b++) s->piece[b].maker = s->piece[b].counted = HTI_NOWHERE;
    for (int32_t i = 0; i < p->outputs; i++) s->piece[p->values.at[p->output_values[i]].buffer].at_end = true;
    for (int32_t i = 0; i < p->commits.count; i++) s->piece[p->values.at[p->commits.at[i].value].buffer].at_end = true;
    for (int32_t i = p->steps.count - 1; i >= 0; i--) {
        const hti_step *step = &p->steps.at[i];
        piece *made = &s->piece[hti_made_by(p, step)];
        made->maker = i;
        const bool late = !made->early && hti_pointwise(step);
        s->root[i] = late ? i : HTI_NOWHERE;
        for (int32_t k = 0; !late && k < step->inputs; k++) s->piece[hti_read_by(p, step, k)].early = true;
    }
}

/* Joins what hangs together, then weighs each part. */
static void weigh(sorter *s)
{
    const ht_program *p = s->p;
    for (int32_t i = 0; i < p->steps.count; i++)
        for (int32_t k = 0; s->root[i] != HTI_NOWHERE && k < p->steps.at[i].inputs; k++) {
            const int32_t maker = s->piece[hti_read_by(p, &p->steps.at[i], k)].maker;
            if (maker != HTI_NOWHERE && s->root[maker] != HTI_NOWHERE) s->root[part_of(s, maker)] = part_of(s, i);
        }
    for (int32_t i = 0; i < p->steps.count; i++) {
        const hti_step *step = &p->steps.at[i];
        if (s->root[i] == HTI_NOWHERE) continue;
        const int32_t part = part_of(s, i), made = hti_made_by(p, step);
        if (s->piece[made].at_end) s->saved[part] += (double)p->buffers.at[made].bytes;
        for (int32_t k = 0; k < step->inputs; k++) {
            const int32_t buffer = hti_read_by(p, step, k);
            piece *read = &s->piece[buffer];
            if (read->maker == HTI_NOWHERE || s->root[read->maker] != HTI_NOWHERE || read->counted == part) continue;
            read->counted = part;
            s->saved[part] -= (double)p->buffers.at[buffer].bytes;
        }
    }
}

void hti_steps_order(ht_program *p, int32_t *order)
{
    for (int32_t s = 0; s < p->steps.count; s++) {
        if (order[s] == s) continue;
        const hti_step first = p->steps.at[s];
        int32_t to = s;
        for (int32_t from; (from = order[to]) != s; to = from) {
            p->steps.at[to] = p->steps.at[from];
            order[to] = to;
        }
        p->steps.at[to] = first;
        order[to] = to;
    }
}

int32_t hti_steps_last(ht_program *p, const bool *last)
{
    int32_t *order = malloc(((size_t)p->steps.count + 1) * sizeof *order), count = 0;
    if (!order) return -1;
    for (int32_t s = 0; s < p->steps.count; s++)
        if (!last[s]) order[count++] = s;
    const int32_t first = count;
    for (int32_t s = 0; s < p->steps.count; s++)
        if (last[s]) order[count++] = s;
    hti_steps_order(p, order);
    free(order);
    return first;
}

static bool is_small(const ht_program *p, int32_t value)
{
    const hti_value *v = &p->values.at[value];
    return (size_t)ht_shape_count(v->shape) * ht_dtype_bytes(v->dtype) < HTI_WORTH_AGAIN;
}

/*
 * Steps from small values to small ones go right before the first that reads their results, and small sums of large values
 * right behind the step that makes these: then one group makes all of its sums, since nothing reads one before the last is
 * made. place: room by step, with `by`, the step that a step goes to, and `order`; maker, reader: by buffer.
 */
static void gather_sums(ht_program *p, int32_t *place, int32_t *by, int32_t *order, int32_t *maker, int32_t *reader)
{
    for (int32_t b = 0; b < p->buffers.count; b++) maker[b] = reader[b] = HTI_NOWHERE;
    for (int32_t s = 0; s < p->steps.count; s++) maker[hti_made_by(p, &p->steps.at[s])] = s;
    for (int32_t s = p->steps.count - 1; s >= 0; s--) {
        const hti_step *step = &p->steps.at[s];
        bool small = step->kind == HTI_STEP_OP && is_small(p, step->out), from_small = small;
        for (int32_t k = 0; k < step->inputs; k++) from_small = from_small && is_small(p, step->in[k]);
        const int32_t to = from_small ? reader[hti_made_by(p, step)]
                           : small && step->op->id == HTI_OP_sum_to ? maker[hti_read_by(p, step, 0)] : HTI_NOWHERE;
        by[s] = to == HTI_NOWHERE ? s : to;
        place[by[s] + 1]++;
        for (int32_t k = 0; k < step->inputs; k++) {
            int32_t *first = &reader[hti_read_by(p, step, k)];
            if (*first == HTI_NOWHERE || by[s] < *first) *first = by[s];
        }
    }
    for (int32_t s = 0; s < p->steps.count; s++) place[s + 1] += place[s];
    for (int32_t s = 0; s < p->steps.count; s++) order[place[by[s]]++] = s;
    hti_steps_order(p, order);
}

ht_status hti_plan_late(ht_program *p, ht_error *error)
{
    const int32_t steps = p->steps.count + 1;
    hti_arena arena = {0};
    sorter s = {.p = p, .piece = hti_arena_array(&arena, p->buffers.count + 1, sizeof *s.piece)};
    s.root = hti_arena_array(&arena, steps, sizeof *s.root);
    s.saved = hti_arena_array(&arena, steps, sizeof *s.saved);
    bool *late = hti_arena_array(&arena, steps, sizeof *late);
    int32_t *place = hti_arena_array(&arena, steps, sizeof *place);
    int32_t *order = hti_arena_array(&arena, steps, sizeof *order);
    int32_t *maker = hti_arena_array(&arena, p->buffers.count + 1, sizeof *maker);
    int32_t *reader = hti_arena_array(&arena, p->buffers.count + 1, sizeof *reader);
    bool fits = s.piece && s.root && s.saved && late && place && order && maker && reader;
    if (fits) {
        gather_sums(p, place, s.root, order, maker, reader);
        mark(&s);
        weigh(&s);
        for (int32_t i = 0; i < p->steps.count; i++) late[i] = s.root[i] != HTI_NOWHERE && s.saved[part_of(&s, i)] > 0;
        fits = hti_steps_last(p, late) >= 0;
    }
    hti_arena_free(&arena);
    return fits ? HT_OK : ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
}
