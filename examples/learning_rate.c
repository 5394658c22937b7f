/*
 * A learning rate that is learned: five steps of Adam are recorded, each on its own slice of the data and at the rate
 * e^theta, and theta moves by the derivative of the validation loss through all five and their moments. The weights keep
 * the steps that were looked ahead, so training goes on while the rate is learned.
 */
#include <math.h>
#include <stdio.h>

#include <ht/mlo.h>

#include "dump.h"

enum { STEPS = 5, ROWS = 8, INPUTS = 6, CASES = ROWS * (STEPS + 1) }; /* the last slice is for validation */

typedef struct training {
    nn_scope rate;
    ht_store *moments;
    ht_var x, y;
} training;

static ht_var log_rate(nn_scope s) { return nn_parameter(s, "log_rate", HT_SCALAR, nn_constant(log(1e-3))); }

static ht_var loss_on(nn_scope s, const training *t, int32_t slice)
{
    ht_var x = ht_slice(t->x, HT_SHAPE(slice * ROWS, 0), HT_SHAPE(ROWS, INPUTS));
    ht_var y = ht_slice(t->y, HT_SHAPE(slice * ROWS, 0), HT_SHAPE(ROWS, 1));
    return ht_mean(ht_square(ht_sub(nn_dense(s, "linear", x, 1, .init = nn_constant(0)), y)));
}

static ht_var train_loss(const mlo_point *at, void *context)
{
    return loss_on(mlo_at(at, "weights"), context, mlo_step(at)); /* each step has its slice */
}

static ht_var validation_loss(const mlo_point *at, void *context)
{
    return loss_on(mlo_at(at, "weights"), context, STEPS);
}

static ht_vars step(ht_vars w, ht_vars gradient, void *context)
{
    const training *t = context;
    return nn_adam(t->moments, w, gradient, .rate_from = ht_exp(log_rate(t->rate)));
}

int main(int argc, char **argv)
{
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    ht_store *weights = ht_store_new(device), *rate = ht_store_new(device), *rate_moments = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    training t = {.rate = nn_open(tape, rate), .moments = ht_store_new(device)};
    t.x = ht_normal(tape, HT_SHAPE(CASES, INPUTS), .stream = "x");
    t.y = ht_sum_to(ht_mul(t.x, ht_normal(tape, HT_SHAPE(1, INPUTS), .stream = "truth")), HT_SHAPE(CASES, 1));
    nn_scope W = nn_open(tape, weights);
    loss_on(W, &t, 0); /* parameters exist once they were recorded */
    log_rate(t.rate);

    const mlo_level levels[] = {
        {"weights", W, train_loss, step, .context = &t, .steps = STEPS},
        {.name = "rate", .scope = t.rate, .loss = validation_loss, .context = &t},
    };
    mlo_round round = mlo_record(tape, levels, 2, .look_ahead = MLO_OPTIMIZER);
    ht_write(weights, round.next[0]);
    ht_write(rate, nn_adam(rate_moments, nn_params(t.rate), round.total, .rate = 0.1));
    if (dumped(argc, argv, tape)) return 0;
    ht_program *program = ht_compile(tape, device, ht_list(round.loss[1]), .error = &error);
    if (!program) return fprintf(stderr, "%s\n", error.message), 1;

    double first = NAN, last = NAN, learned = NAN;
    for (int i = 0; i < 40; i++) {
        ht_run(program);
        ht_get_at(program, 0, i ? &last : &first, 1);
    }
    ht_store_get(rate, "log_rate", &learned, 1, &error);
    printf("validation loss %.4g -> %.4g in 200 steps of Adam; the rate went from 0.001 to %.4g\n", first, last, exp(learned));
    ht_program_free(program);
    ht_tape_free(tape);
    ht_store_free(weights);
    ht_store_free(rate);
    ht_store_free(rate_moments);
    ht_store_free(t.moments);
    ht_device_close(device);
    return last < 0.01 * first && exp(learned) > 0.01 ? 0 : 1; /* at 0.001 it halves */
}
