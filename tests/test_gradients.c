/*
 * Walks the registry: every op on every sample of its own, in f64. Orders 1 to 3 along random directions, in forward and in
 * reverse mode, against Richardson-extrapolated central differences of the order before; <u, J v> = <J'u, v>; calls that
 * must be refused, with their words. An op without samples fails. The same for the list of compositions.c.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/ht.h>

#include "tap.h"
#include "tape/op.h"

extern const hti_op compositions; /* compositions.c */

#define ORDERS 3
#define INPUTS 4

static double uniform(uint64_t stream, int64_t i) { return ht_random_unit(ht_random_word(7, stream, (uint64_t)i)); }

typedef struct problem {
    ht_program *program;
    const hti_sample *sample;
    double *x[INPUTS], *u[ORDERS][INPUTS];
    int64_t count[INPUTS];
    double value[2 * ORDERS + 1]; /* s0; forward s1 s2 s3; reverse r1 r2 r3 */
} problem;

static bool run_at(problem *p, int32_t order, double step)
{
    char name[16];
    for (int32_t k = 0; k < p->sample->inputs; k++) {
        double *moved = malloc((size_t)(p->count[k] + 1) * sizeof *moved);
        for (int64_t i = 0; i < p->count[k]; i++) moved[i] = p->x[k][i] + (order < 0 ? 0 : step * p->u[order][k][i]);
        snprintf(name, sizeof name, "x%d", (int)k);
        ht_set_named(p->program, name, moved, p->count[k]);
        free(moved);
    }
    ht_run(p->program);
    for (int32_t i = 0; i < 2 * ORDERS + 1; i++) ht_get_at(p->program, i, &p->value[i], 1);
    return ht_program_error(p->program)->status == HT_OK;
}

/* Derivative of output `of` along direction `order`: central differences at h and h/2, extrapolated; two pairs give the doubt. */
static double difference(problem *p, int32_t of, int32_t order)
{
    const double h = 2e-3;
    double d[3];
    for (int32_t i = 0; i < 3; i++) {
        double step = ldexp(h, -i), above, below;
        run_at(p, order, step);
        above = p->value[of];
        run_at(p, order, -step);
        below = p->value[of];
        d[i] = (above - below) / (2 * step);
    }
    double first = (4 * d[1] - d[0]) / 3, second = (4 * d[2] - d[1]) / 3;
    return (16 * second - first) / 15;
}

static ht_var scalar_of(ht_tape *tape, ht_var y)
{
    int64_t count = ht_shape_count(ht_var_shape(y));
    double *c = malloc((size_t)(count + 1) * sizeof *c);
    for (int64_t i = 0; i < count; i++) c[i] = 2 * uniform(99, i) - 1;
    ht_var weights = ht_constant(tape, c, ht_var_shape(y));
    free(c);
    return ht_sum(ht_mul(y, weights));
}

static bool prepare(problem *p, ht_device *device, const hti_sample *sample, ht_error *error)
{
    *p = (problem){.sample = sample};
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x[INPUTS], u[ORDERS][INPUTS];
    char name[16];
    double low = sample->low, high = sample->high;
    if (low == 0 && high == 0) low = -1, high = 1;
    for (int32_t k = 0; k < sample->inputs; k++) {
        snprintf(name, sizeof name, "x%d", (int)k);
        p->count[k] = ht_shape_count(sample->shape[k]);
        p->x[k] = malloc((size_t)(p->count[k] + 1) * sizeof(double));
        for (int64_t i = 0; i < p->count[k]; i++) p->x[k][i] = low + (high - low) * uniform((uint64_t)k, i);
        x[k] = ht_input(tape, name, sample->shape[k]);
        for (int32_t o = 0; o < ORDERS; o++) {
            p->u[o][k] = malloc((size_t)(p->count[k] + 1) * sizeof(double));
            for (int64_t i = 0; i < p->count[k]; i++) p->u[o][k][i] = 2 * uniform((uint64_t)(10 + 4 * o + k), i) - 1;
            u[o][k] = ht_constant(tape, p->u[o][k], sample->shape[k]);
        }
    }
    ht_vars in = ht_vars_new(tape, x, NULL, sample->inputs);
    ht_var forward[ORDERS + 1], reverse[ORDERS + 1], outputs[2 * ORDERS + 1];
    forward[0] = reverse[0] = outputs[0] = scalar_of(tape, sample->record(tape, x));
    for (int32_t o = 0; o < ORDERS; o++) {
        ht_vars direction = ht_vars_new(tape, u[o], NULL, sample->inputs);
        ht_vars pushed = ht_jvp(ht_list(forward[o]), in, direction);
        ht_vars pulled = ht_vjp(ht_list(reverse[o]), ht_list(ht_fill(tape, 1, HT_SCALAR)), in);
        if (pushed.count < 1 || pulled.count < 1) break;
        outputs[1 + o] = forward[o + 1] = pushed.at[0];
        outputs[1 + ORDERS + o] = reverse[o + 1] = ht_dot(pulled, direction);
    }
    if (ht_tape_error(tape)->status == HT_OK && ht_verify(tape, error) == HT_OK)
        p->program = ht_compile(tape, device, ht_vars_new(tape, outputs, NULL, 2 * ORDERS + 1), .error = error);
    else if (error->status == HT_OK) *error = *ht_tape_error(tape);
    ht_tape_free(tape);
    return p->program != NULL;
}

static void release(problem *p)
{
    ht_program_free(p->program);
    for (int32_t k = 0; k < INPUTS; k++) {
        free(p->x[k]);
        for (int32_t o = 0; o < ORDERS; o++) free(p->u[o][k]);
    }
}

static void check_sample(ht_device *device, const hti_op *op, const hti_sample *sample)
{
    problem p;
    ht_error error = {0};
    if (!prepare(&p, device, sample, &error)) {
        tap_ok(0, "%s (%s): records and compiles: %s", op->name, sample->name, error.message);
        release(&p);
        return;
    }
    bool ran = run_at(&p, -1, 0);
    double exact[2 * ORDERS + 1];
    memcpy(exact, p.value, sizeof exact);
    for (int32_t o = 0; o < ORDERS; o++) {
        double scale = fmax(1, fabs(exact[1 + o])), numeric = difference(&p, o, o);
        double tolerance = sample->tolerance > 0 ? sample->tolerance : 1e-8;
        if (op->kind == HTI_CONSTANT && exact[1 + o] == 0) numeric = 0; /* constant by decree, though its value moves */
        tap_ok(ran && fabs(exact[1 + o] - numeric) <= tolerance * scale, "%s (%s), order %d: JVP %.12g, difference %.12g", op->name,
               sample->name, (int)o + 1, exact[1 + o], numeric);
        tap_ok(ran && fabs(exact[1 + o] - exact[1 + ORDERS + o]) <= 1e-12 * scale,
               "%s (%s), order %d: forward %.16g equals reverse %.16g", op->name, sample->name, (int)o + 1, exact[1 + o],
               exact[1 + ORDERS + o]);
    }
    if (!ran) printf("# %s\n", ht_program_error(p.program)->message);
    release(&p);
}

static void check_reject(const hti_op *op, const hti_reject *reject)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_var x[INPUTS];
    char name[16];
    for (int32_t k = 0; k < reject->inputs; k++) {
        snprintf(name, sizeof name, "x%d", (int)k);
        x[k] = ht_input(tape, name, reject->shape[k]);
    }
    ht_var y = reject->record(tape, x);
    const ht_error *error = ht_tape_error(tape);
    tap_ok(!ht_ok(y) && error->status == reject->status && strstr(error->message, reject->words) &&
               strstr(error->message, ".c:"),
           "%s refuses %s: %s", op->name, reject->name, error->message);
    ht_tape_free(tape);
}

static void check_op(ht_device *device, const hti_op *op)
{
    tap_ok(op->sample_count > 0, "%s has samples", op->name);
    for (int32_t i = 0; i < op->sample_count; i++) check_sample(device, op, &op->samples[i]);
    for (int32_t i = 0; i < op->reject_count; i++) check_reject(op, &op->rejects[i]);
}

int main(void)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    if (!device) return tap_ok(0, "device: %s", error.message), tap_done();
    for (int32_t id = 0; id < HTI_OPS; id++)
        if (hti_ops[id]->kind != HTI_LEAF) check_op(device, hti_ops[id]);
    check_op(device, &compositions);
    ht_device_close(device);
    return tap_done();
}
