/*
 * Concatenations in place. What a group makes, and a concatenation reads last, is written at once where the whole has it, in
 * rows as far apart as the whole's; others find it there. The concatenation copies only its other parts, or is no step. Runs
 * on fused steps: from here on a buffer may have several writers.
 */
#include <string.h>

#include "plan/plan.h"

static bool is_kept(const ht_program *p, int32_t buffer)
{
    bool kept = false;
    for (int32_t i = 0; i < p->outputs; i++) kept = kept || p->values.at[p->output_values[i]].buffer == buffer;
    for (int32_t i = 0; i < p->commits.count; i++) kept = kept || p->values.at[p->commits.at[i].value].buffer == buffer;
    return kept;
}

/* The output of a group that a concatenation reads as `part`, or NULL if that must have memory of its own. */
static hti_group_output *output_of(const ht_program *p, int32_t concat, const hti_value *part)
{
    hti_group_output *output = NULL;
    int32_t reads = 0;
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = &p->steps.at[s];
        if (step->out != HTI_NOWHERE && p->values.at[step->out].buffer == part->buffer) return NULL;
        for (int32_t k = 0; k < step->inputs; k++) {
            const hti_value *value = &p->values.at[step->in[k]];
            if (value->buffer != part->buffer) continue;
            /* Groups and copies take views; kernels that say so, but what they prepare is for dense inputs. */
            const bool dense = step->kernel && (step->kernel->prepare || !(step->kernel->views >> 31));
            if (dense || s > concat || !hti_same_places(value, part)) return NULL;
            reads += s == concat;
        }
        for (int32_t k = 0; step->group && k < step->group->outputs; k++) {
            if (p->values.at[step->group_out[k]].buffer != part->buffer) continue;
            if (output) return NULL; /* made again by a later group */
            output = &step->group->output[k];
        }
    }
    return reads == 1 && !is_kept(p, part->buffer) ? output : NULL;
}

/* Whoever writes or reads the buffer, all before `end`, finds it in another, from so many elements on. */
static void move_in(ht_program *p, int32_t end, int32_t buffer, const hti_group_output *rows, const hti_value *whole,
                    int64_t from)
{
    for (int32_t s = 0; s < end; s++) {
        const hti_step *step = &p->steps.at[s];
        for (int32_t k = 0; step->group && k < step->inputs; k++) {
            int64_t *stride = step->group->input[k].stride;
            for (int32_t i = 0; p->values.at[step->in[k]].buffer == buffer && i < step->group->rank; i++)
                if (stride[i] >= rows->row) stride[i] = stride[i] / rows->row * rows->step;
        }
    }
    for (int32_t i = 0; i < p->values.count; i++) {
        hti_value *value = &p->values.at[i];
        if (value->buffer != buffer) continue;
        value->buffer = whole->buffer;
        value->offset = from;
        value->view = true;
        memcpy(value->stride, whole->stride, sizeof value->stride);
    }
}

static void join(ht_program *p, int32_t concat)
{
    hti_step *step = &p->steps.at[concat];
    const hti_value *whole = &p->values.at[step->out];
    const int64_t axis = ((const hti_axis_attributes *)step->attributes)->axis;
    int32_t joined = 0;
    if (is_kept(p, whole->buffer)) return; /* commit.c takes a group that makes what a store takes for its update */
    for (int64_t k = 0, from = 0; k < step->inputs; k++) {
        const hti_value *part = &p->values.at[step->in[k]];
        const bool fits = !part->view && part->order == whole->order && p->buffers.at[part->buffer].bytes >= HTI_WORTH_AGAIN;
        hti_group_output *output = fits ? output_of(p, concat, part) : NULL;
        if (output) {
            *output = (hti_group_output){.row = part->stride[axis] * part->shape.dim[axis],
                                         .step = whole->stride[axis] * whole->shape.dim[axis]};
            move_in(p, concat, part->buffer, output, whole, from);
            joined++;
        }
        from += part->shape.dim[axis] * whole->stride[axis];
    }
    if (joined == step->inputs) step->out = HTI_NOWHERE;
}

void hti_plan_join(ht_program *p)
{
    int32_t kept = 0;
    for (int32_t s = 0; s < p->steps.count; s++)
        if (p->steps.at[s].kind == HTI_STEP_OP && p->steps.at[s].op->id == HTI_OP_concat) join(p, s);
    for (int32_t s = 0; s < p->steps.count; s++)
        if (p->steps.at[s].kind != HTI_STEP_OP || p->steps.at[s].out != HTI_NOWHERE) p->steps.at[kept++] = p->steps.at[s];
    p->facts.fused += p->steps.count - kept;
    p->steps.count = kept;
}
