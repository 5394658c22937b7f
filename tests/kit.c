/* See kit.h. */
#include "kit.h"

#include <math.h>
#include <stdlib.h>

#include "tap.h"

double kit_uniform(uint64_t stream, int64_t i)
{
    return 2 * ht_random_unit(ht_random_word(11, stream, (uint64_t)i)) - 1;
}

void kit_fill(double *numbers, int64_t count, uint64_t stream, double low, double high)
{
    for (int64_t i = 0; i < count; i++) numbers[i] = low + (high - low) * 0.5 * (1 + kit_uniform(stream, i));
}

int32_t kit_tensor(ht_store *store, const char *name, ht_dtype dtype, ht_shape shape, double low, double high)
{
    ht_error error = {0};
    int32_t index = ht_store_add(store, name, dtype, shape, HT_PARAMETER, &error);
    if (index < 0) return tap_ok(0, "store: %s", error.message), -1;
    for (int64_t i = 0; i < ht_shape_count(shape); i++) {
        double x = low + (high - low) * 0.5 * (1 + kit_uniform(ht_random_key(1, name), i));
        if (dtype == HT_F64) ((double *)ht_store_data(store, index))[i] = x;
        else ((float *)ht_store_data(store, index))[i] = (float)x;
    }
    return index;
}

int kit_run(ht_device *device, ht_vars outputs, double *values)
{
    ht_error error = {0};
    if (outputs.count < 1) return tap_ok(0, "there is something to run"), 0;
    ht_program *program = ht_compile(outputs.at[0].tape, device, outputs, .error = &error);
    if (!program) return tap_ok(0, "compiles: %s", error.message), 0;
    ht_status status = ht_run(program);
    for (int32_t i = 0; i < outputs.count; i++) {
        int64_t count = ht_shape_count(ht_var_shape(outputs.at[i]));
        status = ht_get_at(program, i, values, count);
        values += count;
    }
    if (status != HT_OK) tap_ok(0, "runs: %s", ht_program_error(program)->message);
    ht_program_free(program);
    return status == HT_OK;
}

ht_status kit_set(ht_program *program, const char *name, ht_dtype dtype, int64_t count, uint64_t stream, double low, double high)
{
    double *wide = malloc((size_t)count * sizeof *wide);
    float *narrow = malloc((size_t)count * sizeof *narrow);
    kit_fill(wide, count, stream, low, high);
    for (int64_t i = 0; i < count; i++) narrow[i] = (float)wide[i];
    ht_status status = ht_set_named(program, name, dtype == HT_F64 ? (void *)wide : (void *)narrow, count);
    free(wide);
    free(narrow);
    return status;
}

double kit_difference(double a, double b) { return fabs(a - b) / fmax(1, fabs(b)); }

ht_var kit_logits(nn_scope s, ht_var x, kit_net net)
{
    ht_var skip = nn_batch_norm(s, "norm", nn_conv(s, "in", x, net.width, .kernel = 3, .pad = 1));
    skip = net.peaks ? ht_relu(skip) : ht_leaky_relu(skip, 0.2);
    ht_var y = net.peaks ? ht_max_pool(skip, .kernel = ht_all(2)) : ht_avg_pool(skip, .kernel = ht_all(2));
    y = ht_tanh(nn_conv(s, "middle", y, 2 * net.width, .kernel = 3, .pad = 1));
    y = nn_conv_transpose(s, "up", y, net.width, .kernel = 4, .stride = 2, .pad = 1);
    y = nn_dropout(s, "drop", ht_concat(1, ht_list(skip, y)), net.dropout);
    return nn_conv(s, "out", y, 1);
}

kit_step kit_step_new(kit_step_args a)
{
    ht_error error = {0};
    kit_step step = {.store = ht_store_new(a.device), .state = ht_store_new(a.device), .dtype = a.dtype, .x = a.x};
    ht_tape *tape = ht_tape_new(a.dtype);
    nn_scope s = nn_open(tape, step.store, .seed = 5, .step = nn_count(tape, step.state, "round"));
    ht_var x = ht_input(tape, "x", a.x), y = ht_input(tape, "y", HT_SHAPE(a.x.dim[0], 1, a.x.dim[2], a.x.dim[3]));
    ht_var loss = a.loss(kit_logits(s, x, a.net), y);
    ht_vars w = nn_params(s), g = ht_grad(loss, w);
    if (a.steepness > 0) g = ht_grad(ht_add(loss, ht_scale(ht_dot(g, g), a.steepness)), w);
    ht_write(step.store, nn_adam(.state = step.state, .weights = w, .gradients = g, .rate = 1e-2));
    step.program = ht_compile(tape, a.device, ht_list(loss), .error = &error, .check = a.check, .profile = a.check);
    ht_tape_free(tape);
    if (!step.program) tap_ok(0, "compiles: %s", error.message);
    return step;
}

void kit_step_set(const kit_step *step, uint64_t round)
{
    int64_t image = step->x.dim[0] * step->x.dim[2] * step->x.dim[3];
    kit_set(step->program, "x", step->dtype, image * step->x.dim[1], 2 * round, 0, 1);
    kit_set(step->program, "y", step->dtype, image, 2 * round + 1, 0, 1);
}

void kit_step_free(kit_step *step)
{
    ht_program_free(step->program);
    ht_store_free(step->store);
    ht_store_free(step->state);
}
