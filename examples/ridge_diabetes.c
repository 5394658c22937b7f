/*
 * The penalty of a ridge regression on a real table, chosen by validation: benchmark problems C6 and C7, whose losses and
 * derivatives are known to 13 digits. The weights are solved for, not trained: Newton's step, which is exact after one. Then
 * the derivative in the penalty is taken twice: implicitly, and through the steps as they are on the tape.
 * usage: ridge_diabetes [FOLDER OF TABLES]
 */
#include <math.h>
#include <stdio.h>

#include <ht/mlo.h>

#include "dump.h"

typedef struct regression {
    ht_store *tables, *weights, *penalty;
    ht_var x, y, v, z; /* rows and targets to fit, rows and targets to judge by */
    mlo_level levels[2];
} regression;

/* "diabetes_NAME.npy" of a folder as the tensor NAME. */
static void load(ht_store *tables, const char *folder, const char *name, ht_error *error)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/diabetes_%s.npy", folder, name);
    ht_store_load_npy(tables, name, path, error);
}

/* C6: every row has length 1; rows in the order of the table "split", of which the first 296 are fitted. */
static void rows_of_length_one(ht_tape *tape, regression *r)
{
    ht_var x = ht_read_one(tape, r->tables, "data"), y = ht_reshape(ht_read_one(tape, r->tables, "target"), HT_SHAPE(442, 1));
    ht_var order = ht_read_one(tape, r->tables, "split");
    ht_var fit = ht_slice(order, HT_SHAPE(0), HT_SHAPE(296)), judge = ht_slice(order, HT_SHAPE(296), HT_SHAPE(146));
    x = ht_div(x, ht_sqrt(ht_sum_axes(ht_square(x), HT_SHAPE(1), .keep = 1)));
    r->x = ht_take(x, fit, 0);
    r->y = ht_take(y, fit, 0);
    r->v = ht_take(x, judge, 0);
    r->z = ht_take(y, judge, 0);
}

/* C7: the first 300 rows are fitted; their means and deviations standardise all. */
static void standardised(ht_tape *tape, regression *r)
{
    ht_var x = ht_read_one(tape, r->tables, "data"), y = ht_reshape(ht_read_one(tape, r->tables, "target"), HT_SHAPE(442, 1));
    ht_var first = ht_slice(x, HT_SHAPE(0, 0), HT_SHAPE(300, 10));
    ht_var mean = ht_mean_axes(first, HT_SHAPE(0), .keep = 1), deviation = ht_deviation_axes(first, HT_SHAPE(0), .keep = 1);
    x = ht_div(ht_sub(x, mean), deviation);
    y = ht_sub(y, ht_mean(ht_slice(y, HT_SHAPE(0, 0), HT_SHAPE(300, 1))));
    r->x = ht_slice(x, HT_SHAPE(0, 0), HT_SHAPE(300, 10));
    r->y = ht_slice(y, HT_SHAPE(0, 0), HT_SHAPE(300, 1));
    r->v = ht_slice(x, HT_SHAPE(300, 0), HT_SHAPE(142, 10));
    r->z = ht_slice(y, HT_SHAPE(300, 0), HT_SHAPE(142, 1));
}

static ht_var weights(nn_scope s) { return nn_parameter(s, "w", HT_SHAPE(10, 1), nn_constant(0)); }
static ht_var penalty(nn_scope s) { return nn_parameter(s, "theta", HT_SCALAR, nn_constant(0)); }

static ht_var fit_loss(const mlo_point *at, void *context)
{
    const regression *r = context;
    ht_var w = weights(mlo_at(at, "weights")), strength = ht_exp(penalty(mlo_at(at, "penalty")));
    ht_var price = ht_mul(strength, ht_sum(ht_square(w)));
    return ht_scale(ht_add(ht_l2_loss(ht_matmul(r->x, w), r->y), price), 0.5);
}

static ht_var judge_loss(const mlo_point *at, void *context)
{
    const regression *r = context;
    return ht_l2_loss(ht_matmul(r->v, weights(mlo_at(at, "weights"))), r->z);
}

static ht_vars newton(ht_vars w, ht_vars gradient, void *context)
{
    (void)context;
    return mlo_newton(w, gradient, .solver_steps = 20);
}

static mlo_round record(ht_tape *tape, regression *r, mlo_solver solver)
{
    nn_scope W = nn_open(tape, r->weights), P = nn_open(tape, r->penalty);
    weights(W); /* parameters exist once they were recorded */
    penalty(P);
    r->levels[0] = (mlo_level){"weights", W, fit_loss, .step = newton, .context = r, .steps = 2, .solver = solver,
                               .solver_steps = 20};
    r->levels[1] = (mlo_level){.name = "penalty", .scope = P, .loss = judge_loss, .context = r};
    return mlo_record(tape, r->levels, 2, .look_ahead = MLO_OPTIMIZER);
}

typedef struct answer {
    double theta, loss, derivative;
} answer;

/* Loss and derivative at each of three penalties, by one program. */
static ht_status solve(ht_device *device, regression *r, void (*table)(ht_tape *, regression *), mlo_solver solver,
                       answer found[3], ht_error *error)
{
    ht_tape *tape = ht_tape_new(HT_F64);
    table(tape, r);
    mlo_round round = record(tape, r, solver);
    ht_program *program = ht_compile(tape, device, ht_vars_join(ht_list(round.loss[1]), round.total), .error = error);
    ht_tape_free(tape);
    if (!program) return error->status;
    for (int i = 0; i < 3; i++) {
        ht_store_set(r->penalty, "theta", &found[i].theta, 1, error);
        ht_run(program);
        ht_get_at(program, 0, &found[i].loss, 1);
        ht_get_at(program, 1, &found[i].derivative, 1);
    }
    const ht_error *stopped = ht_program_error(program);
    if (stopped->status != HT_OK) ht_fail(error, stopped->status, "%s", stopped->message);
    ht_program_free(program);
    return error->status;
}

/* To a unit of the last digit that is known. */
static int agree(const answer *found, const answer *known)
{
    return fabs(found->loss - known->loss) <= 1e-12 * known->loss &&
           fabs(found->derivative - known->derivative) <= 1e-12 * fabs(known->derivative);
}

static const answer c6[3] = {
    {1, 28571.12203018, 325.7625725279}, {0, 28125.97815346, 557.9642988978}, {-3, 27008.05613417, -49.49977560177}};
static const answer c7[3] = {
    {0, 3004.729265063, 366.7280612715}, {-2, 2786.612713169, -18.91459562845}, {-5, 2811.012925942, 7.281438741229}};

static const struct {
    const char *name;
    void (*table)(ht_tape *, regression *);
    const answer *known;
    mlo_solver solver;
} ways[4] = {
    {"C6, implicit derivative, by conjugate gradients", rows_of_length_one, c6, MLO_CG},
    {"C7, the same", standardised, c7, MLO_CG},
    {"C6, derivative through Newton's steps", rows_of_length_one, c6, MLO_UNROLLED},
    {"C7, the same", standardised, c7, MLO_UNROLLED},
};

int main(int count, char **argument)
{
    const char *folder = count > 1 ? argument[1] : "examples/data";
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    regression r = {.tables = ht_store_new(device), .weights = ht_store_new(device), .penalty = ht_store_new(device)};
    int good = 1;
    load(r.tables, folder, "data", &error);
    load(r.tables, folder, "target", &error);
    load(r.tables, folder, "split", &error);

    ht_tape *tape = ht_tape_new(HT_F64);
    rows_of_length_one(tape, &r);
    record(tape, &r, MLO_CG);
    int shown = dumped(count, argument, tape);
    ht_tape_free(tape);
    for (int i = 0; i < 4 && !shown && error.status == HT_OK; i++) {
        const answer *known = ways[i].known;
        answer found[3] = {{known[0].theta, 0, 0}, {known[1].theta, 0, 0}, {known[2].theta, 0, 0}};
        if (solve(device, &r, ways[i].table, ways[i].solver, found, &error) != HT_OK) break;
        printf("%s\n", ways[i].name);
        for (int k = 0; k < 3; k++) {
            printf("  theta %2.0f: L = %.13g, dL/dtheta = %.13g\n", found[k].theta, found[k].loss, found[k].derivative);
            good = good && agree(&found[k], &known[k]);
        }
    }
    if (error.status != HT_OK) fprintf(stderr, "%s\n", error.message);
    else if (!shown) printf("%s\n", good ? "all digits as known" : "digits differ from the known ones");
    ht_store_free(r.tables);
    ht_store_free(r.weights);
    ht_store_free(r.penalty);
    ht_device_close(device);
    return good && error.status == HT_OK ? 0 : 1;
}
