/*
 * A penalty chosen by validation: w minimises |X w - y|^2 / 2 + e^theta |w|^2 / 2, theta minimises |V w - z|^2 / 2. The
 * derivative in theta is known in closed form. All methods of mlo are compared on it, and the one in use is checked
 * against differences of the procedure. `weights` and `penalty` outlive every tape; the levels are recorded anew on each.
 */
#include <math.h>
#include <stdio.h>

#include <ht/mlo.h>

#include "dump.h"

static const double X[] = {0.9, 0.1, -0.3, 0.8, 0.5, 0.4, -0.7, 0.6, 0.2, -1.0, 0.4, 0.3};
static const double y[] = {1.2, 0.4, 0.9, -0.2, -0.8, 0.7};
static const double V[] = {0.6, -0.2, 0.1, 0.9, -0.5, -0.4, 0.8, 0.7}, z[] = {0.5, 0.6, -0.9, 1.1};

typedef struct ridge {
    ht_store *weights, *penalty;
    mlo_level levels[2];
} ridge;

static ht_var weights(nn_scope s) { return nn_parameter(s, "w", HT_SHAPE(2, 1), nn_constant(0)); }
static ht_var penalty(nn_scope s) { return nn_parameter(s, "theta", HT_SCALAR, nn_constant(-0.5)); }

static ht_var half_square(ht_var x) { return ht_scale(ht_sum(ht_square(x)), 0.5); }

static ht_var residual(ht_var w, const double *rows, const double *target, int64_t count)
{
    ht_var m = ht_constant(w.tape, rows, HT_SHAPE(count, 2)), t = ht_constant(w.tape, target, HT_SHAPE(count, 1));
    return ht_sub(ht_matmul(m, w), t);
}

static ht_var fit(const mlo_point *at, void *context)
{
    (void)context;
    ht_var w = weights(mlo_at(at, "weights")), theta = penalty(mlo_at(at, "penalty"));
    ht_var size = half_square(w), price = ht_mul(ht_exp(theta), size);
    return ht_add(half_square(residual(w, X, y, 6)), price);
}

static ht_var validate(const mlo_point *at, void *context)
{
    (void)context;
    return half_square(residual(weights(mlo_at(at, "weights")), V, z, 4));
}

static mlo_args record(ht_tape *tape, void *context)
{
    ridge *r = context;
    nn_scope W = nn_open(tape, r->weights), P = nn_open(tape, r->penalty);
    weights(W); /* parameters exist once they were recorded */
    penalty(P);
    r->levels[0] = (mlo_level){"weights", W, fit, .rate = 0.4, .steps = 100, .solver = MLO_CG, .solver_steps = 20};
    r->levels[1] = (mlo_level){.name = "penalty", .scope = P, .loss = validate};
    return (mlo_args){.tape = tape, .levels = r->levels, .count = 2};
}

/* u with (X'X + e^theta) u = right */
static void solve(double theta, const double right[2], double u[2])
{
    double a = exp(theta), b = 0, d = exp(theta);
    for (int i = 0; i < 6; i++) {
        a += X[2 * i] * X[2 * i];
        b += X[2 * i] * X[2 * i + 1];
        d += X[2 * i + 1] * X[2 * i + 1];
    }
    u[0] = (d * right[0] - b * right[1]) / (a * d - b * b);
    u[1] = (a * right[1] - b * right[0]) / (a * d - b * b);
}

/* - e^theta w'(X'X + e^theta)^-1 V'(V w - z) */
static double closed_form(double theta)
{
    double right[2] = {0}, v[2] = {0}, w[2], u[2];
    for (int i = 0; i < 12; i++) right[i % 2] += X[i] * y[i / 2];
    solve(theta, right, w);
    for (int i = 0; i < 8; i++) v[i % 2] += V[i] * (V[2 * (i / 2)] * w[0] + V[2 * (i / 2) + 1] * w[1] - z[i / 2]);
    solve(theta, v, u);
    return -exp(theta) * (u[0] * w[0] + u[1] * w[1]);
}

/* The recorded derivative, off from the closed form by so much; and whether it is that of the procedure. */
static double derivative(ht_device *device, ridge *r, int *checked, ht_error *error)
{
    double h = NAN;
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_args problem = record(tape, r);
    mlo_round round = mlo_record(tape, problem.levels, problem.count);
    ht_program *program = ht_compile(tape, device, round.total, .error = error);
    if (program) {
        ht_run(program);
        ht_get_at(program, 0, &h, 1);
    }
    printf("dL/dtheta by CG %.12f, closed form %.12f\n", h, closed_form(-0.5));
    ht_gradcheck_result found = mlo_check(&round, 2, nn_params(problem.levels[1].scope), device, .seed = 1);
    printf("against differences of the procedure: %d checks, worst %.1e %s\n", (int)found.checks, found.worst, found.message);
    *checked = found.status == HT_OK && found.checks > 0 && found.failed + found.skipped == 0;
    ht_program_free(program);
    ht_tape_free(tape);
    return fabs(h - closed_form(-0.5));
}

int main(int argc, char **argv)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    ridge r = {.weights = ht_store_new(device), .penalty = ht_store_new(device)};
    int checked = 0;
    if (argc > 1) {
        ht_tape *tape = ht_tape_new(HT_F64);
        mlo_args problem = record(tape, &r);
        mlo_record(tape, problem.levels, problem.count);
        if (dumped(argc, argv, tape)) return 0;
        ht_tape_free(tape);
    }
    double off = derivative(device, &r, &checked, &error);

    mlo_problem problem = {record, NULL, &r};
    mlo_row rows[MLO_VARIANTS];
    int32_t count = mlo_compare(device, problem, rows, MLO_VARIANTS, .error = &error);
    mlo_compare_print(rows, count, stdout);

    if (error.status != HT_OK) fprintf(stderr, "%s\n", error.message);
    ht_store_free(r.weights);
    ht_store_free(r.penalty);
    ht_device_close(device);
    return off < 1e-12 && count == MLO_VARIANTS && checked ? 0 : 1;
}
