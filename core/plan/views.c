/*
 * Slices and pads as views. A slice that only steps of groups read is no step: they find its numbers within the value that
 * it is a part of. A pad is none either: they find a block, and zeros around it. What kernels of single ops read stays
 * dense.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

typedef struct viewer {
    ht_program *p;
    int32_t *maker; /* by buffer: the step that may become a view, or HTI_NOWHERE */
} viewer;

static hti_value *value_at(const viewer *v, int32_t value) { return &v->p->values.at[value]; }

/* A block that is cut out of a value, or put into zeros. */
static bool may_be_view(const viewer *v, const hti_step *step)
{
    if (step->kind != HTI_STEP_OP || (step->op->id != HTI_OP_slice && step->op->id != HTI_OP_pad)) return false;
    const hti_value *from = value_at(v, step->in[0]), *to = value_at(v, step->out);
    return ht_shape_count(from->shape) > 0 && ht_shape_count(to->shape) > 0;
}

static void read_otherwise(viewer *v, int32_t value) { v->maker[value_at(v, value)->buffer] = HTI_NOWHERE; }

/* Leaves those that are read by groups alone, and under no other form. */
static void mark(viewer *v)
{
    const ht_program *p = v->p;
    for (int32_t b = 0; b < p->buffers.count; b++) v->maker[b] = HTI_NOWHERE;
    for (int32_t s = 0; s < p->steps.count; s++)
        if (may_be_view(v, &p->steps.at[s])) v->maker[value_at(v, p->steps.at[s].out)->buffer] = s;
    for (int32_t i = 0; i < p->outputs; i++) read_otherwise(v, p->output_values[i]);
    for (int32_t i = 0; i < p->commits.count; i++) read_otherwise(v, p->commits.at[i].value);
    for (int32_t s = p->steps.count - 1; s >= 0; s--) { /* readers before what they read */
        const hti_step *step = &p->steps.at[s];
        for (int32_t k = 0; k < step->inputs; k++) {
            const int32_t maker = v->maker[value_at(v, step->in[k])->buffer];
            if (maker == HTI_NOWHERE) continue;
            const bool put_back = step->op->id == HTI_OP_pad && p->steps.at[maker].op->id == HTI_OP_slice &&
                                  v->maker[hti_made_by(p, step)] == s;
            if ((!put_back && !hti_in_groups(p, step)) || step->in[k] != p->steps.at[maker].out)
                read_otherwise(v, step->in[k]);
        }
    }
}

/* The result of a step is seen where that comes from; false without memory. */
static bool see(const viewer *v, const hti_step *step)
{
    const hti_block_attributes *block = step->attributes;
    hti_block_attributes *inside = hti_arena_take(&v->p->texts, sizeof *inside);
    if (!inside) return false;
    const hti_value *whole = value_at(v, step->in[0]);
    hti_value *view = value_at(v, step->out);
    view->view = true;
    view->buffer = whole->buffer;
    view->offset = whole->offset;
    view->inside = inside;
    memcpy(view->stride, whole->stride, sizeof view->stride);
    if (step->op->id == HTI_OP_pad) {
        *inside = (hti_block_attributes){.start = block->start, .size = whole->shape};
    } else {
        *inside = (hti_block_attributes){.size = view->shape};
        for (int32_t k = 0; k < view->shape.rank; k++) view->offset += block->start.dim[k] * view->stride[k];
    }
    return true;
}

ht_status hti_plan_views(ht_program *p, ht_error *error)
{
    if (!p->backend->run_group || p->check) return HT_OK; /* nothing is fused */
    viewer v = {.p = p, .maker = calloc((size_t)p->buffers.count + 1, sizeof *v.maker)};
    bool fits = v.maker;
    int32_t kept = 0;
    if (fits) mark(&v);
    for (int32_t s = 0; fits && s < p->steps.count; s++) {
        if (v.maker[hti_made_by(p, &p->steps.at[s])] == s) fits = see(&v, &p->steps.at[s]);
        else p->steps.at[kept++] = p->steps.at[s];
    }
    if (fits) p->facts.fused += p->steps.count - kept, p->steps.count = kept;
    free(v.maker);
    return fits ? HT_OK : ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
}
