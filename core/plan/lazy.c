/*
 * Which values are lazy: large, cheap to make, and read by groups alone. They are written nowhere; each group that reads one
 * makes it again in registers (fuse.c). Only marks are made here, by the steps before they are fused.
 */
#include <string.h>

#include "plan/fuse.h"

/* Elements: smaller values stay in the caches. */
#define LAZY_LEAST 65536
/* A value that is read within so many steps may keep one more value for so long. */
#define LAZY_SOON 24

typedef struct finder {
    const ht_program *program;
    hti_lazy *lazy;
} finder;

static const hti_value *value_of(const ht_program *p, int32_t value) { return &p->values.at[value]; }
static const hti_step *step_of(const finder *f, int32_t step) { return &f->program->steps.at[step]; }

/* ---- spaces ---- */

bool hti_space_of(const ht_program *p, const hti_step *step, hti_space *s)
{
    if (step->kind != HTI_STEP_OP || !step->kernel->pointwise || step->inputs > HTI_MEMBER_INPUTS) return false;
    const hti_value *out = value_of(p, step->out);
    *s = (hti_space){.dtype = out->dtype, .count = ht_shape_count(out->shape)};
    if ((s->dtype != HT_F32 && s->dtype != HT_F64) || out->view || s->count == 0) return false;
    for (int32_t k = 0; k < step->inputs; k++)
        if (value_of(p, step->in[k])->dtype != s->dtype) return false;
    for (int32_t k = 0; k < out->shape.rank; k++) {
        if (out->shape.dim[k] == 1) continue;
        int32_t at = s->rank++;
        for (; at > 0 && out->stride[s->axis[at - 1]] < out->stride[k]; at--) s->axis[at] = s->axis[at - 1];
        s->axis[at] = k;
    }
    for (int32_t k = 0; k < s->rank; k++) s->dim[k] = out->shape.dim[s->axis[k]];
    return true;
}

bool hti_dense_in(const hti_space *s, const hti_value *value)
{
    int64_t expected = 1;
    if (value->inside) return false;
    for (int32_t k = s->rank - 1; k >= 0; k--) {
        if (value->stride[s->axis[k]] != expected) return false;
        expected *= s->dim[k];
    }
    return true;
}

hti_tensor hti_described(const hti_value *value)
{
    hti_tensor t = {.dtype = value->dtype, .shape = value->shape};
    memcpy(t.stride, value->stride, sizeof t.stride);
    return t;
}

/* ---- marks ---- */

/* Whether a step reads input k as groups read: dense, with the step, or as a sum that a group can make. */
static bool reads_in_group(const finder *f, const hti_step *step, int32_t k)
{
    hti_space s;
    const hti_value *value = value_of(f->program, step->in[k]);
    if (hti_space_of(f->program, step, &s)) return hti_dense_in(&s, value);
    if (step->kind != HTI_STEP_OP || step->op->id != HTI_OP_sum_to || !f->program->backend->group_sum) return false;
    const hti_tensor x = hti_described(value), y = hti_described(value_of(f->program, step->out));
    return !value->view && !value_of(f->program, step->out)->view && f->program->backend->group_sum(&x, &y) > 0;
}

static void mark_reads(finder *f, int32_t *maker)
{
    const ht_program *p = f->program;
    for (int32_t i = 0; i < p->buffers.count; i++) maker[i] = HTI_NOWHERE;
    for (int32_t s = 0; s < p->steps.count; s++) {
        const hti_step *step = step_of(f, s);
        for (int32_t k = 0; k < step->inputs; k++) {
            hti_lazy *l = &f->lazy[value_of(f->program, step->in[k])->buffer];
            const int32_t made = maker[value_of(f->program, step->in[k])->buffer];
            l->last = s;
            l->stuck = l->stuck || made == HTI_NOWHERE || !reads_in_group(f, step, k) ||
                       !hti_same_places(value_of(p, step_of(f, made)->out), value_of(p, step->in[k]));
        }
        if (step->out != HTI_NOWHERE) maker[value_of(f->program, step->out)->buffer] = s;
    }
    for (int32_t i = 0; i < p->outputs; i++) f->lazy[value_of(f->program, p->output_values[i])->buffer].stuck = true;
    for (int32_t i = 0; i < p->commits.count; i++) f->lazy[value_of(f->program, p->commits.at[i].value)->buffer].stuck = true;
}

/* Adds what a dense input is made from; false if that is too much. */
static bool add_leaves(const finder *f, hti_lazy *l, int32_t buffer)
{
    const hti_lazy *from = &f->lazy[buffer];
    const bool whole = from->step == HTI_NOWHERE;
    l->ops += whole ? 0 : from->ops;
    for (int32_t n = 0; n < (whole ? 1 : from->leaves); n++) {
        const int32_t leaf = whole ? buffer : from->leaf[n];
        int32_t k = 0;
        while (k < l->leaves && l->leaf[k] != leaf) k++;
        if (k == HTI_LAZY_LEAVES || f->program->buffers.at[leaf].state) return false; /* for stores to be written in place */
        if (k == l->leaves) l->leaf[l->leaves++] = leaf;
    }
    return l->ops <= HTI_LAZY_OPS;
}

/* A lazy value may be made from the buffer, or what that is made from, as late as that. */
static void extend(finder *f, int32_t buffer, int32_t last)
{
    hti_lazy *l = &f->lazy[buffer];
    if (l->last < last) l->last = last;
    if (l->step == HTI_NOWHERE) return;
    const hti_step *step = step_of(f, l->step);
    for (int32_t k = 0; k < step->inputs; k++) extend(f, value_of(f->program, step->in[k])->buffer, last);
}

/* Decides for the result of one step, those before it being decided. */
static void mark_lazy(finder *f, int32_t index)
{
    const hti_step *step = step_of(f, index);
    hti_space s;
    if (!hti_space_of(f->program, step, &s) || s.count < LAZY_LEAST || !step->op->light) return;
    hti_lazy *l = &f->lazy[value_of(f->program, step->out)->buffer];
    if (l->stuck || l->last == HTI_NOWHERE) return;
    l->ops = 1;
    l->leaves = 0;
    for (int32_t k = 0; k < step->inputs; k++) {
        const hti_value *value = value_of(f->program, step->in[k]);
        if ((hti_dense_in(&s, value) || value->inside) && !add_leaves(f, l, value->buffer)) return;
    }
    bool kept = l->leaves < HTI_LAZY_LEAVES || l->last - index <= LAZY_SOON;
    for (int32_t k = 0; k < l->leaves; k++) kept = kept || f->lazy[l->leaf[k]].last >= l->last;
    if (!kept) return;
    l->step = index;
    for (int32_t k = 0; k < step->inputs; k++) extend(f, value_of(f->program, step->in[k])->buffer, l->last);
}

void hti_find_lazy(const ht_program *program, hti_lazy *lazy, int32_t *maker)
{
    finder f = {.program = program, .lazy = lazy};
    mark_reads(&f, maker);
    for (int32_t s = 0; s < program->steps.count; s++) mark_lazy(&f, s);
}
