/*
 * Lifetimes to offsets: walking the steps in order, each buffer takes the smallest hole that holds it, or the end of the
 * arena; a buffer that nothing needs any more becomes a hole. Then the steps' tensors get their addresses.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

#define ALIGNMENT ((size_t)64)

typedef struct hole {
    size_t offset, bytes;
} hole;

typedef struct holes {
    hole *at; /* by offset, no two touching */
    int32_t count, room;
    size_t end;
} holes;

static bool take(holes *free_list, size_t bytes, size_t *offset)
{
    int32_t best = -1;
    for (int32_t i = 0; i < free_list->count && (best < 0 || free_list->at[best].bytes > bytes); i++)
        if (free_list->at[i].bytes >= bytes && (best < 0 || free_list->at[i].bytes < free_list->at[best].bytes)) best = i;
    if (best < 0) { /* at the end; a hole that touches the end is used up first */
        hole *last = free_list->count ? &free_list->at[free_list->count - 1] : NULL;
        bool touches = last && last->offset + last->bytes == free_list->end;
        *offset = touches ? last->offset : free_list->end;
        if (touches) free_list->count--;
        if (__builtin_add_overflow(*offset, bytes, &free_list->end)) return false;
        return true;
    }
    *offset = free_list->at[best].offset;
    free_list->at[best].offset += bytes;
    free_list->at[best].bytes -= bytes;
    if (free_list->at[best].bytes == 0) {
        memmove(&free_list->at[best], &free_list->at[best + 1],
                (size_t)(free_list->count - best - 1) * sizeof *free_list->at);
        free_list->count--;
    }
    return true;
}

static bool give(holes *free_list, size_t offset, size_t bytes)
{
    if (bytes == 0) return true;
    int32_t i = 0;
    while (i < free_list->count && free_list->at[i].offset < offset) i++;
    hole *before = i > 0 ? &free_list->at[i - 1] : NULL, *after = i < free_list->count ? &free_list->at[i] : NULL;
    bool joins_before = before && before->offset + before->bytes == offset;
    bool joins_after = after && offset + bytes == after->offset;
    if (joins_before) {
        before->bytes += bytes + (joins_after ? after->bytes : 0);
        if (!joins_after) return true;
        memmove(after, after + 1, (size_t)(free_list->count - i - 1) * sizeof *after);
        free_list->count--;
        return true;
    }
    if (joins_after) {
        after->offset = offset;
        after->bytes += bytes;
        return true;
    }
    if (!hti_list_grow((void **)&free_list->at, &free_list->count, &free_list->room, sizeof *free_list->at)) return false;
    memmove(&free_list->at[i + 1], &free_list->at[i], (size_t)(free_list->count - i) * sizeof *free_list->at);
    free_list->at[i] = (hole){offset, bytes};
    free_list->count++;
    return true;
}

/* ---- lifetimes ---- */

static void begins(ht_program *p, int32_t buffer, int32_t step)
{
    if (buffer == HTI_NOWHERE) return;
    if (p->buffers.at[buffer].first == HTI_NOWHERE) p->buffers.at[buffer].first = step;
    if (p->buffers.at[buffer].last < step) p->buffers.at[buffer].last = step;
}

/* Of values that are used: a buffer that no step writes (of a leaf, or within a group) stays without a lifetime. */
static void lasts(ht_program *p, int32_t buffer, int32_t step)
{
    if (buffer != HTI_NOWHERE && p->buffers.at[buffer].last < step) p->buffers.at[buffer].last = step;
}

static void find_lifetimes(ht_program *p)
{
    for (int32_t i = 0; i < p->buffers.count; i++) p->buffers.at[i].first = p->buffers.at[i].last = HTI_NOWHERE;
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        for (int32_t k = 0; k < step->inputs; k++)
            lasts(p, hti_reads_packed(step, k) ? step->packed_for[k] : p->values.at[step->in[k]].buffer, s);
        if (step->out != HTI_NOWHERE) begins(p, p->values.at[step->out].buffer, s);
        begins(p, step->packed, s);
        begins(p, step->scratch, s);
        for (int32_t k = 0; step->group && k < step->group->outputs; k++)
            begins(p, p->values.at[step->group_out[k]].buffer, s);
        for (int32_t k = 0; step->group && k < step->group->sums; k++) {
            begins(p, p->values.at[step->sums[k].value].buffer, s);
            begins(p, step->sums[k].scratch, s);
        }
    }
    for (int32_t i = 0; i < p->outputs; i++) lasts(p, p->values.at[p->output_values[i]].buffer, INT32_MAX);
    for (int32_t i = 0; i < p->commits.count; i++) lasts(p, p->values.at[p->commits.at[i].value].buffer, INT32_MAX);
}

/* ---- results in the memory of inputs that die ---- */

bool hti_same_places(const hti_value *a, const hti_value *b)
{
    if (a->dtype != b->dtype || a->view || b->view || a->shape.rank != b->shape.rank) return false;
    for (int32_t k = 0; k < a->shape.rank; k++)
        if (a->shape.dim[k] != b->shape.dim[k] || (a->shape.dim[k] > 1 && a->stride[k] != b->stride[k])) return false;
    return true;
}

int32_t hti_last_reader(const hti_step *step, int32_t k)
{
    int32_t last = 0;
    for (int32_t m = 0; step->group && m < step->group->members; m++)
        for (int32_t i = 0; i < step->group->member[m].inputs; i++)
            if (step->group->member[m].source[i] == ~k) last = m;
    return last;
}

/*
 * A pointwise result may be written over an input that nothing needs afterwards: each of its numbers was read by then, if
 * all who read that memory are no later members, and find the numbers at the same places.
 */
static void place_over_input(ht_program *p, int32_t s, int32_t out, int32_t member, int32_t *moved)
{
    const hti_step *step = &p->steps.at[s];
    const hti_value *result = &p->values.at[out];
    const hti_buffer *own = &p->buffers.at[result->buffer];
    if (own->fixed || own->last == s) return; /* what nothing reads would leave its place to the next result of the step */
    for (int32_t k = 0; k < step->inputs; k++) {
        const int32_t from = moved[p->values.at[step->in[k]].buffer];
        const hti_buffer *buffer = &p->buffers.at[from];
        bool fits = !buffer->fixed && buffer->last == s && buffer->bytes == p->buffers.at[result->buffer].bytes;
        for (int32_t i = 0; fits && i < step->inputs; i++)
            if (moved[p->values.at[step->in[i]].buffer] == from)
                fits = hti_same_places(&p->values.at[step->in[i]], result) && hti_last_reader(step, i) <= member;
        if (!fits) continue;
        moved[result->buffer] = from;
        p->buffers.at[from].last = p->buffers.at[result->buffer].last;
        p->buffers.at[result->buffer].first = p->buffers.at[result->buffer].last = HTI_NOWHERE;
        return;
    }
}

static ht_status reuse_inputs(ht_program *p, ht_error *error)
{
    int32_t *moved = malloc(((size_t)p->buffers.count + 1) * sizeof *moved);
    if (!moved) return ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the layout");
    for (int32_t i = 0; i < p->buffers.count; i++) moved[i] = i;
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        if (step->kind == HTI_STEP_OP && step->kernel->pointwise) place_over_input(p, s, step->out, 0, moved);
        for (int32_t m = 0; step->group && m < step->group->members; m++)
            if (step->group->member[m].place < 0)
                place_over_input(p, s, step->group_out[~step->group->member[m].place], m, moved);
    }
    for (int32_t i = 0; i < p->values.count; i++) p->values.at[i].buffer = moved[p->values.at[i].buffer];
    free(moved);
    return HT_OK;
}

/* ---- placing ---- */

size_t hti_plan_rounded(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

/* Buffers by the step that starts them, and by the one that ends them, as linked lists over indices. */
typedef struct agenda {
    int32_t *starts, *ends, *next_start, *next_end;
} agenda;

static bool fill_agenda(agenda *order, const ht_program *p, size_t below)
{
    size_t steps = (size_t)p->steps.count + 1, buffers = (size_t)p->buffers.count + 1;
    order->starts = calloc(steps, sizeof(int32_t));
    order->ends = calloc(steps, sizeof(int32_t));
    order->next_start = calloc(buffers, sizeof(int32_t));
    order->next_end = calloc(buffers, sizeof(int32_t));
    if (!order->starts || !order->ends || !order->next_start || !order->next_end) return false;
    for (int32_t i = 0; i < p->buffers.count; i++) {
        const hti_buffer *buffer = &p->buffers.at[i];
        if (buffer->fixed || buffer->first == HTI_NOWHERE || buffer->bytes >= below) continue;
        int32_t first = buffer->first < p->steps.count ? buffer->first : p->steps.count;
        int32_t last = buffer->last < p->steps.count ? buffer->last : p->steps.count;
        order->next_start[i] = order->starts[first];
        order->starts[first] = i + 1;
        order->next_end[i] = order->ends[last];
        order->ends[last] = i + 1;
    }
    return true;
}

ht_status hti_plan_place(ht_program *p, size_t base, size_t below, ht_error *error)
{
    agenda order = {0};
    holes free_list = {.end = base};
    bool fits = fill_agenda(&order, p, below);
    for (int32_t s = 0; fits && s <= p->steps.count; s++) {
        for (int32_t i = order.starts[s]; fits && i; i = order.next_start[i - 1]) {
            hti_buffer *buffer = &p->buffers.at[i - 1];
            fits = take(&free_list, hti_plan_rounded(buffer->bytes), &buffer->offset);
        }
        for (int32_t i = order.ends[s]; fits && i && s < p->steps.count; i = order.next_end[i - 1])
            fits = give(&free_list, p->buffers.at[i - 1].offset, hti_plan_rounded(p->buffers.at[i - 1].bytes));
    }
    p->arena_bytes = free_list.end;
    p->facts.arena_bytes = free_list.end;
    free(free_list.at);
    free(order.starts);
    free(order.ends);
    free(order.next_start);
    free(order.next_end);
    return fits ? HT_OK : ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the layout");
}

static ht_status allocate(ht_program *p, ht_error *error)
{
    p->arena = p->backend->allocate(p->arena_bytes ? p->arena_bytes : ALIGNMENT);
    if (!p->arena)
        return ht_fail(error, HT_ENOMEM, "plan: the program needs %.1f MB of memory and the system refused it; a smaller "
                       "batch or image needs less", (double)p->arena_bytes * 1e-6);
    return HT_OK;
}

static void *address(const ht_program *p, int32_t buffer)
{
    const hti_buffer *at = &p->buffers.at[buffer];
    return at->fixed ? at->fixed : (char *)p->arena + at->offset;
}

static void *place_of(const ht_program *p, const hti_value *value)
{
    return (char *)address(p, value->buffer) + value->offset * (int64_t)ht_dtype_bytes(value->dtype);
}

static void fill_tensor(const ht_program *p, const hti_step *step, int32_t index, bool normalise, hti_tensor *t)
{
    const hti_value *value = &p->values.at[index];
    *t = hti_described(value);
    t->data = place_of(p, value);
    if (!normalise || value->view || !hti_orders_agree(value->shape)) return;
    /* Both orders coincide: hand the strides over in the form that the kernel works in. */
    bool image = step->kernel->order == HTI_CONV || step->kernel->order == HTI_CONV_WEIGHT ||
                 step->kernel->order == HTI_LAST_ONLY;
    bool weight = (step->kernel->order == HTI_CONV && step->inputs > 1 && index == step->in[1]) ||
                  (step->kernel->order == HTI_CONV_WEIGHT && index == step->out);
    hti_dense_strides(value->shape, image && !weight ? HTI_LAST : HTI_ROW, t->stride);
}

static ht_status fill_step(ht_program *p, hti_step *step, ht_error *error)
{
    if (step->kind == HTI_STEP_GROUP) {
        for (int32_t k = 0; k < step->inputs; k++) step->group->input[k].data = place_of(p, &p->values.at[step->in[k]]);
        for (int32_t k = 0; k < step->group->outputs; k++)
            step->group->output[k].data = place_of(p, &p->values.at[step->group_out[k]]);
        for (int32_t k = 0; k < step->group->sums; k++) {
            step->group->sum[k].output = address(p, p->values.at[step->sums[k].value].buffer);
            if (step->sums[k].scratch != HTI_NOWHERE) step->group->sum[k].scratch = address(p, step->sums[k].scratch);
        }
        return HT_OK;
    }
    step->tensors = hti_arena_array(&p->texts, step->inputs + 1, sizeof *step->tensors);
    if (!step->tensors) return ht_fail(error, HT_ENOMEM, "plan: the system gave no memory");
    bool is_op = step->kind == HTI_STEP_OP;
    for (int32_t k = 0; k < step->inputs; k++) {
        fill_tensor(p, step, step->in[k], is_op, &step->tensors[k]);
        if (is_op && k < HTI_MAX_PACKED && step->packed_for[k] != HTI_NOWHERE)
            step->tensors[k].data = address(p, step->packed_for[k]);
    }
    if (step->out != HTI_NOWHERE) fill_tensor(p, step, step->out, is_op, &step->tensors[step->inputs]);
    return HT_OK;
}

ht_status hti_plan_offsets(ht_program *p, ht_error *error)
{
    hti_plan_join(p);
    if (hti_plan_commit(p, error) != HT_OK) return error->status;
    find_lifetimes(p);
    if (reuse_inputs(p, error) != HT_OK) return error->status;
    p->facts.value_bytes = 0;
    for (int32_t i = 0; i < p->buffers.count; i++)
        if (!p->buffers.at[i].fixed && p->buffers.at[i].first != HTI_NOWHERE) p->facts.value_bytes += p->buffers.at[i].bytes;
    if (hti_plan_place(p, 0, SIZE_MAX, error) != HT_OK) return error->status;
    return hti_plan_squeeze(p, error);
}

ht_status hti_plan_allocate(ht_program *p, ht_error *error)
{
    if (allocate(p, error) != HT_OK) return error->status;
    for (int32_t s = 0; s < p->steps.count; s++)
        if (fill_step(p, &p->steps.at[s], error) != HT_OK) return error->status;
    p->facts.instructions = p->steps.count + p->commits.count;
    return HT_OK;
}
