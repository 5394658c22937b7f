/*
 * The toy of DARTS (Liu et al. 2019): weights w follow L_train = (w - a)^2, the architecture a follows L_val = a w - 2 a + 1.
 * Looking one step ahead, a sees that w will follow, and both end at the optimum (1, 1). Without (xi = 0) they end at (2, 2).
 */
#include <math.h>
#include <stdio.h>

#include <ht/mlo.h>

#include "dump.h"

static ht_var value(nn_scope s) { return nn_parameter(s, "value", HT_SCALAR, nn_constant(0)); }

static ht_var train_loss(const mlo_point *at, void *context)
{
    (void)context;
    ht_var w = value(mlo_at(at, "w")), a = value(mlo_at(at, "a"));
    return ht_square(ht_sub(w, a));
}

static ht_var validation_loss(const mlo_point *at, void *context)
{
    (void)context;
    ht_var w = value(mlo_at(at, "w")), a = value(mlo_at(at, "a")), twice = ht_scale(a, 2);
    return ht_offset(ht_sub(ht_mul(a, w), twice), 1);
}

/* The step that w keeps; the look-ahead is w - xi g. */
static ht_vars train_step(ht_vars w, ht_vars gradient, void *context)
{
    (void)context;
    return nn_sgd(w, gradient, .rate = 0.25);
}

static nn_scope scalar(ht_tape *tape, ht_store *store, double start)
{
    nn_scope s = nn_open(tape, store);
    nn_parameter(s, "value", HT_SCALAR, nn_constant(start));
    return s;
}

static double ends_at(ht_device *device, double xi, double end, int argc, char **argv)
{
    double a = NAN, w = NAN;
    ht_store *stored_a = ht_store_new(device), *stored_w = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope A = scalar(tape, stored_a, 2), W = scalar(tape, stored_w, -2);
    const mlo_level levels[] = {
        {"w", W, train_loss, train_step, .rate = xi},
        {.name = "a", .scope = A, .loss = validation_loss},
    };
    mlo_round round = mlo_record(tape, levels, 2);
    ht_write(stored_w, round.next[0]);
    ht_write(stored_a, nn_sgd(nn_params(A), round.total, .rate = 0.1));

    ht_error error = {0};
    int only_dump = dumped(argc, argv, tape);
    ht_program *program = only_dump ? NULL : ht_compile(tape, device, ht_list(round.loss[1]), .error = &error);
    for (int i = 0; program && i < 500; i++) ht_run(program);
    ht_store_get(stored_a, "value", &a, 1, &error);
    ht_store_get(stored_w, "value", &w, 1, &error);
    if (!only_dump) printf("xi = %.1f: (a, w) ends at (%.12f, %.12f) %s\n", xi, a, w, error.message);
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(stored_a);
    ht_store_free(stored_w);
    return only_dump ? 0 : fmax(fabs(a - end), fabs(w - end));
}

int main(int argc, char **argv)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    if (!device) return fprintf(stderr, "%s\n", error.message), 1;
    double without = ends_at(device, 0, 2, argc, argv), ahead = ends_at(device, 0.5, 1, argc, argv);
    ht_device_close(device);
    return without < 1e-9 && ahead < 1e-9 ? 0 : 1;
}
