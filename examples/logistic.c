/*
 * Logistic regression with one penalty for each weight, on a real table: benchmark problem C8. The lower level is solved by
 * Newton's steps, so the derivative of the validation loss in the 30 penalties is known to rounding; how near do the cheap
 * methods come? Implicit ones start from the solution, unrolled ones from zero.
 * usage: logistic [FOLDER OF TABLES]
 */
#include <math.h>
#include <stdio.h>

#include <ht/mlo.h>

#include "dump.h"

#define ROWS 569
#define FITTED 380 /* rows; the others judge */
#define FEATURES 30
#define RATE 0.5   /* of the gradient steps and of Neumann's series: below 2 / (largest second derivative, 3.3) */

typedef struct regression {
    ht_store *tables, *weights, *penalties;
    ht_var x, t, v, s; /* rows and classes to fit, rows and classes to judge by */
    mlo_level levels[2];
} regression;

static ht_var weights(nn_scope s) { return nn_parameter(s, "w", HT_SHAPE(FEATURES, 1), nn_constant(0)); }
static ht_var penalties(nn_scope s) { return nn_parameter(s, "theta", HT_SHAPE(FEATURES, 1), nn_constant(-4)); }

/* Standardised by the means and deviations of the rows that are fitted. */
static void open_tables(ht_tape *tape, regression *r)
{
    ht_var x = ht_read_one(tape, r->tables, "data");
    ht_var t = ht_reshape(ht_cast(ht_read_one(tape, r->tables, "target"), HT_F64), HT_SHAPE(ROWS, 1));
    ht_var first = ht_slice(x, HT_SHAPE(0, 0), HT_SHAPE(FITTED, FEATURES));
    ht_var mean = ht_mean_axes(first, HT_SHAPE(0), .keep = 1), deviation = ht_deviation_axes(first, HT_SHAPE(0), .keep = 1);
    x = ht_div(ht_sub(x, mean), deviation);
    r->x = ht_slice(x, HT_SHAPE(0, 0), HT_SHAPE(FITTED, FEATURES));
    r->t = ht_slice(t, HT_SHAPE(0, 0), HT_SHAPE(FITTED, 1));
    r->v = ht_slice(x, HT_SHAPE(FITTED, 0), HT_SHAPE(ROWS - FITTED, FEATURES));
    r->s = ht_slice(t, HT_SHAPE(FITTED, 0), HT_SHAPE(ROWS - FITTED, 1));
}

static ht_var fit_loss(const mlo_point *at, void *context)
{
    const regression *r = context;
    ht_var w = weights(mlo_at(at, "weights")), strength = ht_exp(penalties(mlo_at(at, "penalties")));
    ht_var misfit = ht_sigmoid_cross_entropy(ht_matmul(r->x, w), r->t);
    return ht_add(misfit, ht_scale(ht_sum(ht_mul(strength, ht_square(w))), 0.5));
}

static ht_var judge_loss(const mlo_point *at, void *context)
{
    const regression *r = context;
    return ht_sigmoid_cross_entropy(ht_matmul(r->v, weights(mlo_at(at, "weights"))), r->s);
}

static ht_vars newton(ht_vars w, ht_vars gradient, void *context)
{
    (void)context;
    return mlo_newton(w, gradient, .solver_steps = 60);
}

static mlo_args record(ht_tape *tape, void *context)
{
    regression *r = context;
    nn_scope W = nn_open(tape, r->weights), P = nn_open(tape, r->penalties);
    open_tables(tape, r);
    weights(W); /* parameters exist once they were recorded */
    penalties(P);
    r->levels[0] = (mlo_level){"weights", W, fit_loss, .rate = RATE, .context = r};
    r->levels[1] = (mlo_level){.name = "penalties", .scope = P, .loss = judge_loss, .context = r};
    return (mlo_args){.tape = tape, .levels = r->levels, .count = 2};
}

/* The same with a lower level that is solved. */
static mlo_round record_solved(ht_tape *tape, regression *r)
{
    mlo_args args = record(tape, r);
    r->levels[0].step = newton;
    r->levels[0].steps = 15;
    r->levels[0].solver = MLO_CG;
    r->levels[0].solver_steps = 60;
    return mlo_record(tape, args.levels, args.count, .look_ahead = MLO_OPTIMIZER);
}

/* Solves the lower level, keeps the weights, and gives loss, exact derivative, and the gradient that is left. */
static ht_status solve(ht_device *device, regression *r, double *loss, double derivative[FEATURES], double *residual,
                       ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    mlo_round round = record_solved(tape, r);
    ht_write(r->weights, round.next[0]);
    ht_vars outputs = ht_vars_join(ht_list(round.loss[1], round.residual[0]), round.total);
    ht_program *program = ht_compile(tape, device, outputs, .error = error);
    ht_tape_free(tape);
    if (!program) return error->status;
    ht_run(program);
    ht_get_at(program, 0, loss, 1);
    ht_get_at(program, 1, residual, 1);
    ht_status status = ht_get_at(program, 2, derivative, FEATURES);
    if (status != HT_OK) ht_fail(error, status, "%s", ht_program_error(program)->message);
    ht_program_free(program);
    return status;
}

/* Implicit methods see the weights as they are in the store; the identity takes the second derivative for 1. */
static const mlo_variant implicit[] = {
    {.name = "identity", .solver = MLO_IDENTITY, .steps = MLO_NO_STEPS, .solver_rate = 1},
    {.name = "Neumann, 1 term", .solver = MLO_NEUMANN, .steps = MLO_NO_STEPS, .solver_steps = 1},
    {.name = "Neumann, 10 terms", .solver = MLO_NEUMANN, .steps = MLO_NO_STEPS, .solver_steps = 10},
    {.name = "Neumann, 30 terms", .solver = MLO_NEUMANN, .steps = MLO_NO_STEPS, .solver_steps = 30},
    {.name = "Neumann, 100 terms", .solver = MLO_NEUMANN, .steps = MLO_NO_STEPS, .solver_steps = 100},
    {.name = "CG, 1 step", .solver = MLO_CG, .steps = MLO_NO_STEPS, .solver_steps = 1},
    {.name = "CG, 5 steps", .solver = MLO_CG, .steps = MLO_NO_STEPS, .solver_steps = 5},
    {.name = "CG, 10 steps", .solver = MLO_CG, .steps = MLO_NO_STEPS, .solver_steps = 10},
    {.name = "CG, 20 steps", .solver = MLO_CG, .steps = MLO_NO_STEPS, .solver_steps = 20},
};
static const mlo_variant unrolled[] = {
    {.name = "unrolled, 10 steps", .steps = 10},
    {.name = "unrolled, 100 steps", .steps = 100},
    {.name = "unrolled, 1000 steps", .steps = 1000},
};
#define IMPLICIT ((int32_t)(sizeof implicit / sizeof *implicit))
#define UNROLLED ((int32_t)(sizeof unrolled / sizeof *unrolled))

/* The rows of both tables, one after the other. Those that unroll start from zero: from a store that is new. */
static int32_t compare(ht_device *device, regression *r, const double exact[FEATURES], mlo_row rows[IMPLICIT + UNROLLED],
                       ht_error *error)
{
    mlo_problem problem = {record, NULL, r};
    ht_store *solved = r->weights;
    int32_t count = mlo_compare(device, problem, rows, IMPLICIT, implicit, IMPLICIT, .reference = exact,
                                .reference_count = FEATURES, .error = error);
    r->weights = ht_store_new(device);
    if (count == IMPLICIT)
        count += mlo_compare(device, problem, rows + IMPLICIT, UNROLLED, unrolled, UNROLLED, .reference = exact,
                             .reference_count = FEATURES, .error = error);
    ht_store_free(r->weights);
    r->weights = solved;
    return count;
}

static void load(ht_store *tables, const char *folder, ht_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/breast_cancer_data.npy", folder);
    ht_store_load_npy(tables, "data", path, error);
    snprintf(path, sizeof path, "%s/breast_cancer_target.npy", folder);
    ht_store_load_npy(tables, "target", path, error);
}

int main(int count, char **argument)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    regression r = {.tables = ht_store_new(device), .weights = ht_store_new(device), .penalties = ht_store_new(device)};
    double loss = NAN, residual = NAN, exact[FEATURES] = {0}, square = 0;
    mlo_row rows[IMPLICIT + UNROLLED];
    int32_t made = 0;
    load(r.tables, count > 1 ? argument[1] : "examples/data", &error);
    ht_tape *tape = ht_tape_new(HT_F64);
    record_solved(tape, &r);
    int shown = dumped(count, argument, tape);
    ht_tape_free(tape);
    if (!shown && error.status == HT_OK && solve(device, &r, &loss, exact, &residual, &error) == HT_OK)
        made = compare(device, &r, exact, rows, &error);
    if (error.status != HT_OK) fprintf(stderr, "%s\n", error.message);
    if (!shown) mlo_compare_print(rows, made > 0 ? made : 0, stdout);
    for (int32_t i = 0; i < made; i++) printf("%s: off by %.10g\n", rows[i].name, rows[i].error);
    for (int i = 0; i < FEATURES; i++) square += exact[i] * exact[i];
    if (!shown) printf("L_val = %.10g, norm of its derivative %.10g; gradient left below %.1e\n", loss, sqrt(square), residual);
    ht_store_free(r.tables);
    ht_store_free(r.weights);
    ht_store_free(r.penalties);
    ht_device_close(device);
    return shown || (made == IMPLICIT + UNROLLED && residual < 1e-14) ? 0 : 1;
}
