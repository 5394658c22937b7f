/*
 * Slices and pads as views. A slice that only steps of groups read is no step: they find its numbers within the value that
 * it is a part of. A pad is none either: they find a block, and zeros around it. What kernels of single ops read stays
 * dense.
 */
#include <stdlib.h>
#include <string.h>

#include "plan/fuse.h"

typedef struct viewer {
    ht_program *p;
    int32_t *maker; /* by buffer: the step that may become a view, or HTI_NOWHERE */
    int32_t *seen;  /* by such a step: the view; 0: none yet */
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
        hti_space space;
        for (int32_t k = 0; k < step->inputs; k++) {
            const int32_t maker = v->maker[value_at(v, step->in[k])->buffer];
            if (maker == HTI_NOWHERE) continue;
            const bool put_back = step->op->id == HTI_OP_pad && p->steps.at[maker].op->id == HTI_OP_slice &&
                                  v->maker[hti_made_by(p, step)] == s;
            if ((!put_back && !hti_space_of(p, step, &space)) || step->in[k] != p->steps.at[maker].out)
                read_otherwise(v, step->in[k]);
        }
    }
}

/* The value that stands for the result of a step; HTI_NOWHERE without memory. */
static int32_t view_of(viewer *v, int32_t step)
{
    if (v->seen[step]) return v->seen[step];
    const hti_step *from = &v->p->steps.at[step];
    const hti_block_attributes *block = from->attributes;
    hti_block_attributes *inside = hti_arena_take(&v->p->texts, sizeof *inside);
    hti_value *view = inside ? HTI_PUSH(v->p->values) : NULL;
    if (!view) return HTI_NOWHERE;
    const hti_value *whole = value_at(v, from->in[0]), *result = value_at(v, from->out);
    *view = (hti_value){.dtype = result->dtype, .shape = result->shape, .order = result->order, .view = true,
                        .buffer = whole->buffer, .offset = whole->offset, .inside = inside,
                        .in_order = {HTI_NOWHERE, HTI_NOWHERE}};
    memcpy(view->stride, whole->stride, sizeof view->stride);
    if (from->op->id == HTI_OP_pad) {
        *inside = (hti_block_attributes){.start = block->start, .size = whole->shape};
    } else {
        *inside = (hti_block_attributes){.size = result->shape};
        for (int32_t k = 0; k < view->shape.rank; k++) view->offset += block->start.dim[k] * view->stride[k];
    }
    return v->seen[step] = v->p->values.count - 1;
}

/* The step reads views where it can; false without memory. */
static bool take_views(viewer *v, hti_step *step)
{
    int32_t *in = NULL;
    for (int32_t k = 0; k < step->inputs; k++) {
        const int32_t maker = v->maker[value_at(v, step->in[k])->buffer];
        if (maker == HTI_NOWHERE) continue;
        const int32_t view = view_of(v, maker);
        if (!in) {
            in = hti_arena_array(&v->p->texts, step->inputs, sizeof *in);
            if (!in) return false;
            memcpy(in, step->in, (size_t)step->inputs * sizeof *in);
        }
        if (view == HTI_NOWHERE) return false;
        in[k] = view;
    }
    if (in) step->in = in;
    return true;
}

ht_status hti_plan_views(ht_program *p, ht_error *error)
{
    if (!p->backend->run_group || p->check) return HT_OK; /* nothing is fused */
    viewer v = {.p = p, .maker = calloc((size_t)p->buffers.count + 1, sizeof *v.maker),
                .seen = calloc((size_t)p->steps.count + 1, sizeof *v.seen)};
    bool fits = v.maker && v.seen;
    int32_t kept = 0;
    if (fits) mark(&v);
    for (int32_t s = 0; fits && s < p->steps.count; s++) fits = take_views(&v, &p->steps.at[s]);
    for (int32_t s = 0; fits && s < p->steps.count; s++)
        if (!v.seen[s]) p->steps.at[kept++] = p->steps.at[s];
    if (fits) p->facts.fused += p->steps.count - kept;
    if (fits) p->steps.count = kept;
    free(v.maker);
    free(v.seen);
    return fits ? HT_OK : ht_fail(error, HT_ENOMEM, "plan: the system gave no memory for the plan");
}
