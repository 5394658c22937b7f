/*
 * Benchmark problems C6 and C7 by the code of the example itself, which is part of this test, so that they run under
 * sanitizers too; the same derivative against differences of the whole procedure; what mlo_newton refuses.
 */
#include <string.h>

int example_main(int count, char **argument);
#define main example_main
#include "../examples/ridge_diabetes.c"
#undef main

#include "tap.h"

static void check_digits(ht_device *device, regression *r, const char *name, void (*table)(ht_tape *, regression *),
                         mlo_solver solver, const answer known[3])
{
    ht_error error = {0};
    answer found[3] = {{known[0].theta, 0, 0}, {known[1].theta, 0, 0}, {known[2].theta, 0, 0}};
    tap_ok(solve(device, r, table, solver, found, &error) == HT_OK, "%s is solved %s", name, error.message);
    for (int i = 0; i < 3; i++)
        tap_ok(agree(&found[i], &known[i]), "%s, theta %g: %.13g, %.13g", name, known[i].theta, found[i].loss,
               found[i].derivative);
}

static void check_differences(ht_device *device, regression *r)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    standardised(tape, r);
    mlo_round round = record(tape, r, MLO_CG);
    ht_gradcheck_result found = mlo_check(&round, 2, nn_params(r->levels[1].scope), device, .seed = 1);
    tap_ok(found.status == HT_OK && found.checks > 0 && found.failed + found.skipped == 0,
           "C7 against differences of the procedure: %d checks, worst %.1e %s", (int)found.checks, found.worst, found.message);
    ht_tape_free(tape);
}

/* A step that cannot be taken marks the tape with the caller's line and what is wrong. */
static void expect_refused(regression *r, const char *name, const char *words, double damping, int linear, int fewer)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope s = nn_open(tape, r->weights);
    ht_vars w = ht_list(weights(s), ht_fill(tape, 1, HT_SCALAR));
    ht_var loss = ht_add(ht_sum(linear ? w.at[0] : ht_square(w.at[0])), ht_square(w.at[1]));
    ht_vars gradient = ht_grad(loss, w);
    if (fewer) gradient = ht_list(gradient.at[0]);
    ht_vars next = mlo_newton(w, gradient, .damping = damping);
    const ht_error *error = ht_tape_error(tape);
    tap_ok(next.count == 0 && error->status == HT_EINVALID && strstr(error->message, words) &&
               strstr(error->message, "test_ridge_table.c"), "mlo_newton refuses %s: %s", name, error->message);
    ht_tape_free(tape);
}

int main(void)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    regression r = {.tables = ht_store_new(device), .weights = ht_store_new(device), .penalty = ht_store_new(device)};
    load(r.tables, TESTS_FOLDER "/../examples/data", "data", &error);
    load(r.tables, TESTS_FOLDER "/../examples/data", "target", &error);
    load(r.tables, TESTS_FOLDER "/../examples/data", "split", &error);
    if (!tap_ok(error.status == HT_OK, "the tables are read %s", error.message)) return tap_done();
    check_digits(device, &r, "C6 by conjugate gradients", rows_of_length_one, MLO_CG, c6);
    check_digits(device, &r, "C7 by conjugate gradients", standardised, MLO_CG, c7);
    check_digits(device, &r, "C7 by normal conjugate gradients", standardised, MLO_NORMAL_CG, c7);
    check_digits(device, &r, "C6 through Newton's steps", rows_of_length_one, MLO_UNROLLED, c6);
    check_digits(device, &r, "C7 through Newton's steps", standardised, MLO_UNROLLED, c7);
    check_differences(device, &r);
    expect_refused(&r, "a loss that is linear in a weight", "no gradient depends on unknown 0", 0, 1, 0);
    expect_refused(&r, "a gradient too few", "1 gradients of 2 weights", 0, 0, 1);
    expect_refused(&r, "damping below 0", ".damping -1", -1, 0, 0);
    ht_store_free(r.tables);
    ht_store_free(r.weights);
    ht_store_free(r.penalty);
    ht_device_close(device);
    return tap_done();
}
