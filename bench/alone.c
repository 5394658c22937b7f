/*
 * Each convolution and matrix product of a program once more, alone: the same op on tensors of the same shapes, compiled with the
 * same choices. What a step takes within the program beyond that is the price of its neighbours: cold caches, threads to wake.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "plan/profile.h"

/* Equal steps of a program: the first of them, how many there are, and the time of all in a run. */
typedef struct alike {
    hti_part part;
    int32_t steps;
    double nanoseconds;
} alike;

/* What decides how a kernel computes is the op, its attributes and the shapes. */
static bool same(const ht_program *p, const hti_step *x, const hti_step *y)
{
    if (x->op != y->op || x->inputs != y->inputs) return false;
    if (x->op->attribute_bytes && memcmp(x->attributes, y->attributes, x->op->attribute_bytes) != 0) return false;
    for (int32_t i = 0; i < x->inputs; i++)
        if (!ht_shape_equal(p->values.at[x->in[i]].shape, p->values.at[y->in[i]].shape)) return false;
    return true;
}

/* Seconds of the step alone: the mean of a few runs behind one that warms. */
static double time_alone(const ht_program *p, const hti_part *part, ht_device *device, const genseg_config *o, ht_error *error)
{
    enum { RUNS = 3 };
    double seconds = NAN;
    ht_tape *tape = ht_tape_new(HT_F32);
    const hti_step *step = part->step;
    ht_var in[4], out;
    if (!tape || step->inputs > 4) {
        ht_fail(error, HT_ENOMEM, "%s alone: no tape for its %d inputs", part->name, (int)step->inputs);
        ht_tape_free(tape);
        return seconds;
    }
    for (int32_t i = 0; i < step->inputs; i++) in[i] = ht_input(tape, i ? "b" : "a", p->values.at[step->in[i]].shape);
    out = hti_emit(tape, step->op->id, step->attributes, in, step->inputs, HT_HERE);
    ht_program *alone = ht_compile(tape, device, ht_list(out), .error = error, .profile = 1,
                                   .convolution = (ht_convolution)o->convolution, .precision = (ht_precision)o->precision);
    for (int32_t i = 0; alone && i < step->inputs; i++) bench_fill(alone, in[i], "alone", error);
    if (alone && error->status == HT_OK && ht_run(alone) == HT_OK) bench_steps_clear(alone);
    for (int32_t i = 0; alone && i < RUNS; i++) (void)ht_run(alone);
    for (int32_t i = 0; alone && i < bench_steps(alone); i++) {
        const hti_part found = hti_part_at(alone, i);
        if (found.step->op == step->op && strcmp(found.name, part->name) == 0) seconds = found.nanoseconds * 1e-9;
    }
    if (alone && ht_program_error(alone)->status != HT_OK)
        ht_fail(error, ht_program_error(alone)->status, "%s alone: %.300s", part->name, ht_program_error(alone)->message);
    ht_program_free(alone);
    ht_tape_free(tape);
    return seconds;
}

json_t *bench_steps_alone(const ht_program *program, ht_device *device, const genseg_config *config, ht_error *error)
{
    const int32_t steps = bench_steps(program);
    alike *all = calloc((size_t)steps + 1, sizeof *all);
    int32_t count = 0;
    double within = 0, alone = 0;
    if (!all) ht_fail(error, HT_ENOMEM, "no memory for %d kinds of steps", (int)steps);
    for (int32_t s = 0; all && s < steps; s++) {
        const hti_part part = hti_part_at(program, s);
        int32_t i = 0;
        if (part.work != HTI_WORK_PRODUCT) continue;
        while (i < count && !same(program, all[i].part.step, part.step)) i++;
        if (i == count) all[count++].part = part;
        all[i].steps++;
        all[i].nanoseconds += part.nanoseconds;
    }
    for (int32_t i = 0; i < count && error->status == HT_OK; i++) {
        within += all[i].nanoseconds * 1e-9;
        alone += all[i].steps * time_alone(program, &all[i].part, device, config, error);
    }
    free(all);
    return json_pack("{s:i, s:o, s:o, s:o}", "kinds", (int)count, "round_seconds", bench_real(within), "alone_seconds",
                     bench_real(alone), "fraction", bench_real(alone / within));
}
