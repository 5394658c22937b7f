/* The steps of a compiled program with .profile = 1: their time, and what they read, write and compute in one run. */
#include "bench.h"
#include "plan/plan.h"

/* An axis of stride 0 repeats its numbers. */
static double bytes_of(const ht_program *p, int32_t index)
{
    const hti_value *value = &p->values.at[index];
    double count = (double)ht_dtype_bytes(value->dtype);
    for (int32_t k = 0; k < value->shape.rank; k++)
        if (value->stride[k] != 0 || value->shape.dim[k] == 0) count *= (double)value->shape.dim[k];
    return count;
}

static const char *name_of(const hti_step *step)
{
    if (step->kind == HTI_STEP_COPY) return "reorder";
    if (step->kind == HTI_STEP_GROUP) return "fused";
    return step->kind == HTI_STEP_PACK ? "pack" : step->op->name;
}

int32_t bench_steps(const ht_program *p) { return p->steps.count; }

bench_step bench_step_at(const ht_program *p, int32_t index)
{
    const hti_step *step = &p->steps.at[index];
    bench_step s = {.name = name_of(step), .scope = step->scope ? step->scope : "", .algorithm = step->choice.algorithm,
                    .seconds = step->nanoseconds * 1e-9};
    for (int32_t k = 0; k < step->inputs; k++) s.bytes += bytes_of(p, step->in[k]);
    if (step->out != HTI_NOWHERE) s.bytes += bytes_of(p, step->out);
    for (int32_t k = 0; step->group && k < step->group->outputs; k++) s.bytes += bytes_of(p, step->group_out[k]);
    if (step->kind == HTI_STEP_PACK) s.bytes += (double)p->buffers.at[step->packed].bytes;
    if (step->kind == HTI_STEP_OP && step->kernel->flop)
        s.flop = step->kernel->flop(step->attributes, step->tensors, &step->tensors[step->inputs]);
    return s;
}

void bench_steps_clear(ht_program *p)
{
    for (int32_t s = 0; s < p->steps.count; s++) p->steps.at[s].nanoseconds = 0;
}
