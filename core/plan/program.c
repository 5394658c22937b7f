/* A program's life: compile, set, run, get. The commit section comes last, is short, and is not interrupted. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

void ht_program_free(ht_program *p)
{
    if (!p) return;
    for (int32_t i = 0; i < p->states.count; i++) p->states.at[i].kernel->release(p->states.at[i].state);
    for (int32_t i = 0; i < p->buffers.count; i++)
        if (p->buffers.at[i].fixed && !p->buffers.at[i].state) p->backend->release(p->buffers.at[i].fixed);
    for (int32_t i = 0; i < p->stores.count; i++) hti_store_release(p->stores.at[i]);
    if (p->arena) p->backend->release(p->arena);
    free(p->buffers.at);
    free(p->values.at);
    free(p->steps.at);
    free(p->packings.at);
    free(p->states.at);
    free(p->commits.at);
    free(p->inputs.at);
    free(p->stores.at);
    hti_arena_free(&p->texts);
    hti_arena_free(&p->trial);
    free(p);
}

ht_status ht_precision_check(const ht_device *device, ht_precision precision, ht_error *error)
{
    const hti_backend *backend = hti_device_backend(device);
    if (precision == HT_PRECISION_TYPED) return HT_OK;
    if (precision != HT_PRECISION_BF16)
        return ht_fail(error, HT_EINVALID, "precision %d is none; expected one of ht_precision", (int)precision);
    const char *refused = backend->refuses_bf16 ? backend->refuses_bf16() : "the device has no kernels for it; expected the CPU";
    return refused ? ht_fail(error, HT_EUNSUPPORTED, "precision bf16: %s", refused) : HT_OK;
}

static ht_status check_arguments(const ht_compile_args *args, ht_error *error)
{
    if (!args->tape || !args->device) return ht_fail(error, HT_EINVALID, "compile: a tape and a device are needed");
    const ht_error *recorded = ht_tape_error(args->tape);
    if (recorded->status != HT_OK) {
        *error = *recorded;
        return error->status;
    }
    for (int32_t i = 0; i < args->outputs.count; i++)
        if (!ht_ok(args->outputs.at[i]) || args->outputs.at[i].tape != args->tape)
            return ht_fail(error, HT_EINVALID, "compile: output %d is not a value of the tape", (int)i);
    if (args->precision == HT_PRECISION_BF16 && ht_tape_dtype(args->tape) == HT_F64)
        return ht_fail(error, HT_EUNSUPPORTED, "compile: precision bf16: the tape's type is f64; expected f32, whose operands "
                       "are rounded");
    return ht_precision_check(args->device, args->precision, error); /* no fallback: refused before anything is planned */
}

ht_program *ht_compile_(ht_compile_args args)
{
    ht_error error = {0};
    ht_program *p = calloc(1, sizeof *p);
    if (!p) ht_fail(&error, HT_ENOMEM, "compile: the system gave no memory");
    if (p && check_arguments(&args, &error) == HT_OK) {
        p->device = args.device;
        p->backend = hti_device_backend(args.device);
        p->threads = ht_device_threads(args.device);
        p->interrupt = args.interrupt;
        p->check = args.check;
        p->profile = args.profile;
        p->convolution = args.convolution;
        p->precision = args.precision;
        if (hti_plan_build(p, args.tape, args.outputs, &error) == HT_OK && hti_plan_views(p, &error) == HT_OK &&
            hti_plan_late(p, &error) == HT_OK && hti_plan_repeat(p, &error) == HT_OK &&
            hti_plan_spare(p, &error) == HT_OK && hti_plan_within(p, args.memory_limit, &error) == HT_OK)
            hti_plan_allocate(p, &error);
    }
    if (error.status == HT_OK) return p;
    if (args.error && args.error->status == HT_OK) *args.error = error;
    ht_program_free(p);
    return NULL;
}

const ht_error *ht_program_error(const ht_program *p) { return &p->error; }

void ht_resume(ht_program *p)
{
    if (p->error.status == HT_EINTERRUPTED) p->error = (ht_error){0};
}

ht_program_facts ht_program_describe(const ht_program *p) { return p->facts; }

/* ---- set and get ---- */

static ht_status set_input(ht_program *p, hti_named_input *input, const void *numbers, int64_t count)
{
    if (input->value == HTI_NOWHERE) return HT_OK; /* recorded, but nothing in the program needs it */
    const hti_value *value = &p->values.at[input->value];
    char text[HT_SHAPE_TEXT];
    if (count != ht_shape_count(value->shape))
        return ht_fail(&p->error, HT_ESHAPE, "set \"%s\": %" PRId64 " numbers for %s", input->name, count,
                       ht_shape_text(value->shape, text));
    if (count > 0) memcpy(p->buffers.at[value->buffer].fixed, numbers, (size_t)count * ht_dtype_bytes(value->dtype));
    input->set = true;
    return HT_OK;
}

/* Inputs that nobody set before the first run are zero. */
static void clear_inputs(ht_program *p)
{
    for (int32_t i = 0; i < p->inputs.count; i++) {
        const int32_t value = p->inputs.at[i].set ? HTI_NOWHERE : p->inputs.at[i].value;
        const hti_buffer *buffer = value == HTI_NOWHERE ? NULL : &p->buffers.at[p->values.at[value].buffer];
        if (buffer) memset(buffer->fixed, 0, buffer->bytes);
    }
}

ht_status ht_set(ht_program *p, ht_var input, const void *numbers, int64_t count)
{
    if (p->error.status != HT_OK) return p->error.status;
    for (int32_t i = 0; i < p->inputs.count; i++)
        if (p->inputs.at[i].node == input.id) return set_input(p, &p->inputs.at[i], numbers, count);
    return ht_fail(&p->error, HT_EINVALID, "set: the value is no input; expected one that ht_input gave");
}

int ht_has_input(const ht_program *p, const char *name)
{
    for (int32_t i = 0; i < p->inputs.count; i++)
        if (strcmp(p->inputs.at[i].name, name) == 0) return 1;
    return 0;
}

ht_status ht_set_named(ht_program *p, const char *name, const void *numbers, int64_t count)
{
    if (p->error.status != HT_OK) return p->error.status;
    for (int32_t i = 0; i < p->inputs.count; i++)
        if (strcmp(p->inputs.at[i].name, name) == 0) return set_input(p, &p->inputs.at[i], numbers, count);
    return ht_fail(&p->error, HT_EINVALID, "set: no input is named \"%.200s\"; expected a name given to ht_input", name);
}

ht_status ht_get_at(ht_program *p, int32_t output, void *numbers, int64_t count)
{
    if (p->error.status != HT_OK) return p->error.status;
    if (output < 0 || output >= p->outputs || p->runs == 0)
        return ht_fail(&p->error, HT_EINVALID, "get: output %d of %d, after %" PRId64 " runs; expected one of the outputs "
                       "given to compile, after a run", (int)output, (int)p->outputs, p->runs);
    const hti_value *value = &p->values.at[p->output_values[output]];
    char text[HT_SHAPE_TEXT];
    if (count != ht_shape_count(value->shape))
        return ht_fail(&p->error, HT_ESHAPE, "get output %d: %" PRId64 " numbers for %s", (int)output, count,
                       ht_shape_text(value->shape, text));
    const hti_buffer *buffer = &p->buffers.at[value->buffer];
    const void *data = buffer->fixed ? buffer->fixed : (const char *)p->arena + buffer->offset;
    if (count > 0) memcpy(numbers, data, (size_t)count * ht_dtype_bytes(value->dtype));
    return HT_OK;
}

ht_status ht_get(ht_program *p, ht_var output, void *numbers, int64_t count)
{
    if (p->error.status != HT_OK) return p->error.status;
    for (int32_t i = 0; i < p->outputs; i++)
        if (p->output_nodes[i] == output.id) return ht_get_at(p, i, numbers, count);
    return ht_fail(&p->error, HT_EINVALID, "get: the value is not one of the outputs given to compile");
}

/* ---- run ---- */

static ht_status run_step(const ht_program *p, const hti_step *step)
{
    if (step->kind == HTI_STEP_GROUP) return p->backend->run_group(step->group, p->threads);
    const hti_tensor *out = &step->tensors[step->inputs];
    if (step->kind == HTI_STEP_COPY) return p->backend->copy(&step->tensors[0], out, p->threads);
    if (step->kind == HTI_STEP_PACK) {
        void *packed = (char *)p->arena + p->buffers.at[step->packed].offset;
        return step->kernel->pack(step->choice->state, step->packed_input, &step->tensors[0], packed, p->threads);
    }
    hti_run run = {.attributes = step->attributes, .in = step->tensors, .out = out, .inputs = step->inputs,
                   .threads = p->threads, .state = step->choice ? step->choice->state : NULL};
    if (step->scratch != HTI_NOWHERE) run.scratch = (char *)p->arena + p->buffers.at[step->scratch].offset;
    return step->kernel->run(&run);
}

/* Whether a dense or strided real tensor has only finite numbers. */
static bool all_finite(const hti_tensor *t)
{
    int64_t count = ht_shape_count(t->shape);
    for (int64_t i = 0; i < count; i++) {
        double x = t->dtype == HT_F32 ? (double)((const float *)t->data)[i]
                                      : t->dtype == HT_F64 ? ((const double *)t->data)[i] : 0;
        if (!isfinite(x)) return false;
    }
    return true;
}

static void stop_clock(hti_clock *clock, int64_t start)
{
    clock->nanoseconds += (double)(hti_nanoseconds() - start);
    clock->runs++;
}

static ht_status commit(ht_program *p)
{
    for (int32_t i = 0; i < p->commits.count; i++) {
        const hti_commit *commit = &p->commits.at[i];
        if (commit->in_place) continue;
        const hti_value *value = &p->values.at[commit->value];
        size_t bytes = (size_t)ht_shape_count(value->shape) * ht_dtype_bytes(value->dtype);
        memcpy(ht_store_data(commit->store, commit->index), (char *)p->arena + p->buffers.at[value->buffer].offset, bytes);
    }
    return HT_OK;
}

static void wake(void *program, int64_t begin, int64_t end)
{
    const hti_commit *commit = ((const ht_program *)program)->commits.at + begin;
    for (; begin < end; begin++, commit++)
        hti_memory_wake(ht_store_data(commit->store, commit->index), hti_store_bytes(commit->store, commit->index));
}

ht_status ht_run(ht_program *p)
{
    if (p->error.status != HT_OK) return p->error.status;
    if (p->runs == 0) {
        clear_inputs(p);
        hti_parallel_for(p->threads, p->commits.count, 1, wake, p);
    }
    for (int32_t s = 0; s < p->steps.count; s++) {
        hti_step *step = &p->steps.at[s];
        if (s < p->commit_section && p->interrupt && *p->interrupt)
            return ht_fail(&p->error, HT_EINTERRUPTED, "run: stopped on request before step %d of %d; nothing was changed",
                           (int)s, (int)p->steps.count);
        int64_t start = p->profile ? hti_nanoseconds() : 0;
        ht_status status = run_step(p, step);
        if (p->profile) stop_clock(&step->clock, start);
        if (status == HT_EINVALID) /* a kernel that reads places looks at them only here */
            return ht_fail(&p->error, status, "%s: %s \"%s\": an index is outside of its axis; expected 0 to the axis's size "
                           "less 1", step->where, step->op->name, step->scope);
        if (status != HT_OK)
            return ht_fail(&p->error, status, "%s: %s \"%s\": the kernel (%s) gave up", step->where, step->op->name,
                           step->scope, hti_algorithm(step) ? hti_algorithm(step) : p->backend->name);
        if (p->check && step->kind == HTI_STEP_OP && !all_finite(&step->tensors[step->inputs]))
            return ht_fail(&p->error, HT_EINVALID, "%s: %s \"%s\": the result holds a NaN or an infinity; every result "
                           "before it is finite", step->where, step->op->name, step->scope);
    }
    p->runs++;
    int64_t start = p->profile ? hti_nanoseconds() : 0;
    ht_status status = commit(p);
    if (p->profile) stop_clock(&p->commit_clock, start);
    return status;
}
