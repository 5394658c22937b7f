/*
 * mlo_compare and mlo_check on problems whose answers are known: what they must find out, what they must not call wrong, and
 * that they leave every store as it was.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quadratic.h"
#include "tap.h"

#define N QUADRATIC_N

static ht_device *device;

static void test_compare(void)
{
    quadratic q = quadratic_make(device, 55, 1);
    quadratic_converge(&q);
    q.level[0] = (mlo_level){.rate = 0.5, .steps = 60, .solver_steps = 40};
    uint64_t before[2] = {ht_store_hash(q.X), ht_store_hash(q.W)};
    mlo_problem problem = {quadratic_record, NULL, &q};
    mlo_row rows[MLO_VARIANTS];
    ht_error error = {0};
    int32_t n = mlo_compare(device, problem, rows, MLO_VARIANTS, .error = &error);
    if (!tap_ok(n == MLO_VARIANTS, "mlo_compare gives %d rows: %s", (int)n, error.message)) return;
    static const double most[MLO_VARIANTS] = {0, 10, 1e-8, 10, 1e-5, 1e-5, 1e-9, 1e-9};
    for (int i = 0; i < n; i++)
        tap_ok(rows[i].status == HT_OK && rows[i].error <= most[i] && rows[i].cosine > 0.5 && rows[i].cosine < 1 + 1e-12 &&
                   rows[i].seconds > 0 && rows[i].arena_bytes > 0, "%s: error %.1e, cosine %.6f, residual %.1e%s", rows[i].name,
               rows[i].error, rows[i].cosine, rows[i].residual, rows[i].note);
    tap_ok(rows[1].error > 1e-3 && rows[3].error > 1e-3, "one step and the identity are seen to be approximations");
    tap_ok(before[0] == ht_store_hash(q.X) && before[1] == ht_store_hash(q.W), "comparing changes no store");
    FILE *file = tmpfile();
    if (file) mlo_compare_print(rows, n, file);
    tap_ok(file && ftell(file) > 500, "the table has its rows");
    if (file) fclose(file);
    quadratic_release(&q);
}

static void test_check(void)
{
    quadratic q = quadratic_make(device, 66, 1);
    q.cubic = 0.3;
    q.level[0] = (mlo_level){.rate = 0.3, .steps = 4};
    mlo_problem problem = {quadratic_record, NULL, &q};
    mlo_check_row rows[4];
    ht_error error = {0};
    uint64_t before[2] = {ht_store_hash(q.X), ht_store_hash(q.W)};
    mlo_check_report report = mlo_check(device, problem, rows, 4, .seed = 3, .error = &error);
    tap_ok(report.ok && report.judged == 4, "mlo_check agrees with the exact derivative: error %.1e %s",
           report.worst >= 0 ? rows[report.worst].error : NAN, error.message);
    tap_ok(before[0] == ht_store_hash(q.X) && before[1] == ht_store_hash(q.W), "checking changes no store");
    q.level[0].truncate = 3;
    report = mlo_check(device, problem, rows, 4, .seed = 3);
    tap_ok(!report.ok && report.judged == 4, "a truncated derivative is found out: error %.1e", rows[0].error);
    q.level[0] = (mlo_level){.rate = 0.3, .steps = 100, .solver = MLO_CG};
    report = mlo_check(device, problem, rows, 4, .seed = 3);
    tap_ok(report.ok && report.residual < 1e-10, "CG where the level is converged: error %.1e, residual %.1e",
           report.worst >= 0 ? rows[report.worst].error : NAN, report.residual);
    q.level[0].steps = 3;
    report = mlo_check(device, problem, rows, 4, .seed = 3);
    tap_ok(!report.ok && report.residual > 1e-3, "CG where it is not: it differs, and the residual, %.1e, says why",
           report.residual);
    quadratic_release(&q);
}

/* ---- optimisers, kinks, held edges ---- */

typedef struct trained {
    quadratic q;
    ht_store *moments;
    int adam;
} trained;

static ht_vars optimiser(ht_vars w, ht_vars gradient, void *context)
{
    trained *t = context;
    if (t->adam) return nn_adam(t->moments, w, gradient, .rate = 0.05);
    return nn_rmsprop(t->moments, w, gradient, .rate = 0.05, .momentum = 0.5);
}

/* Half of the weights are not seen by this loss' data: their gradients are exactly zero. */
static ht_var half_blind(const mlo_point *at, void *context)
{
    (void)context;
    static const double mask[N] = {1, 0, 1, 0};
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x"), m = ht_constant(w.tape, mask, HT_SHAPE(N));
    ht_var seen = ht_mul(w, m);
    return ht_add(ht_sum(ht_mul(ht_exp(x), ht_square(seen))), ht_sum(ht_sin(ht_mul(seen, x))));
}

static mlo_args record_trained(ht_tape *tape, void *context)
{
    trained *t = context;
    mlo_args args = quadratic_record(tape, &t->q);
    t->q.level[0] = (mlo_level){"w", t->q.level[0].scope, half_blind, optimiser, .context = t, .steps = 5};
    args.look_ahead = MLO_OPTIMIZER;
    return args;
}

static void test_optimiser(int adam)
{
    trained t = {.q = quadratic_make(device, 77, 1), .moments = ht_store_new(device), .adam = adam};
    mlo_problem problem = {record_trained, NULL, &t};
    mlo_check_row rows[3];
    ht_error error = {0};
    uint64_t before = ht_store_hash(t.q.W), moments = 0;
    mlo_check_report report = mlo_check(device, problem, rows, 1, .error = &error);
    moments = ht_store_hash(t.moments);
    report = mlo_check(device, problem, rows, 3, .seed = 8, .error = &error);
    tap_ok(report.ok && report.judged == 3, "5 steps of %s, half of the gradients 0: error %.1e %s", adam ? "Adam" : "RMSprop",
           report.worst >= 0 ? rows[report.worst].error : NAN, error.message);
    tap_ok(before == ht_store_hash(t.q.W) && moments == ht_store_hash(t.moments), "weights and moments are as before");
    ht_store_free(t.moments);
    quadratic_release(&t.q);
}

/* A kink at x = 0: no difference across it proves anything. */
static ht_var kinked(const mlo_point *at, void *context)
{
    (void)context;
    ht_var w = quadratic_value(at, "w"), x = quadratic_value(at, "x");
    return quadratic_half_square(ht_sub(w, ht_relu(ht_scale(x, 2))));
}

static mlo_args record_kinked(ht_tape *tape, void *context)
{
    quadratic *q = context;
    mlo_args args = quadratic_record(tape, q);
    q->level[0].loss = kinked;
    return args;
}

static void test_kinks(void)
{
    quadratic q = quadratic_make(device, 88, 1);
    static const double near[N] = {1e-3, 0.5, -2e-3, 1}, on[N] = {0};
    mlo_problem problem = {record_kinked, NULL, &q};
    mlo_check_row rows[6];
    q.level[0] = (mlo_level){.rate = 0.3, .steps = 2};
    ht_store_set(q.X, "value", near, N, NULL);
    mlo_check_report report = mlo_check(device, problem, rows, 6, .seed = 4);
    tap_ok(report.ok && report.judged == 6, "kinks nearby are stepped around: %d judged, error %.1e, step %.1e",
           (int)report.judged, report.worst >= 0 ? rows[report.worst].error : NAN, rows[0].step);
    ht_store_set(q.X, "value", on, N, NULL);
    report = mlo_check(device, problem, rows, 6, .seed = 4);
    tap_ok(!report.ok && report.judged == 0 && rows[0].kinks > 0, "on a kink nothing is judged, and nothing is called wrong");
    FILE *file = tmpfile();
    if (file) mlo_check_print(&report, rows, file);
    tap_ok(file && ftell(file) > 300, "the table says so");
    if (file) fclose(file);
    quadratic_release(&q);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device: %s", error.message)) return tap_done();
    test_compare();
    test_check();
    test_optimiser(1);
    test_optimiser(0);
    test_kinks();
    ht_device_close(device);
    return tap_done();
}
