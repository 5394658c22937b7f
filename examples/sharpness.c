/*
 * Sharpness of a minimum: the largest eigenvalue of the Hessian of a small convolutional network's loss, by power iteration
 * with exact Hessian-vector products. The direction lives in a store, so each run of one program is one iteration.
 */
#include <math.h>
#include <stdio.h>

#include <ht/nn.h>

#include "dump.h"

static ht_var network(nn_scope s, ht_var image)
{
    ht_var a = ht_tanh(nn_batch_norm(s, "norm", nn_conv(s, "conv1", image, 8, .kernel = 3, .pad = 1)));
    ht_var b = ht_softplus(nn_conv(s, "conv2", a, 8, .kernel = 4, .stride = 2, .pad = 1));
    return nn_conv_transpose(s, "up", b, 1, .kernel = 4, .stride = 2, .pad = 1);
}

int main(int argc, char **argv)
{
    enum { N = 2, SIZE = 16, PIXELS = N * SIZE * SIZE };
    double image[PIXELS], mask[PIXELS], sharpness = 0, previous = 0;
    for (int i = 0; i < PIXELS; i++) {
        image[i] = sin(0.37 * i) * cos(0.011 * i);
        mask[i] = sin(0.05 * i) > 0.3;
    }

    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 0, &error);
    ht_store *weights = ht_store_new(device), *direction = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);

    nn_scope s = nn_open(tape, weights, .seed = 1, .freeze_statistics = 1);
    ht_var x = ht_input(tape, "image", HT_SHAPE(N, 1, SIZE, SIZE)), t = ht_input(tape, "mask", HT_SHAPE(N, 1, SIZE, SIZE));
    ht_var loss = ht_sigmoid_cross_entropy(network(s, x), t);
    ht_vars w = nn_params(s);

    for (int i = 0; i < w.count; i++) { /* a direction of the weights' names and shapes, ones to begin with */
        int index = ht_store_add(direction, w.names[i], HT_F64, ht_var_shape(w.at[i]), HT_PARAMETER, &error);
        double *numbers = ht_store_data(direction, index);
        for (int64_t k = 0; k < ht_shape_count(ht_var_shape(w.at[i])); k++) numbers[k] = 1;
    }
    ht_vars u = ht_unit(ht_read(tape, direction));
    ht_vars Hu = ht_hvp(loss, w, u); /* forward over reverse */
    ht_write(direction, Hu);

    if (dumped(argc, argv, tape)) return 0;
    ht_program *iteration = ht_compile(tape, device, ht_list(ht_dot(u, Hu)), .error = &error);
    if (!iteration) return fprintf(stderr, "%s\n", error.message), 1;
    ht_set(iteration, x, image, PIXELS);
    ht_set(iteration, t, mask, PIXELS);
    int steps = 0;
    do {
        previous = sharpness;
        ht_run(iteration);
        if (ht_get_at(iteration, 0, &sharpness, 1) != HT_OK)
            return fprintf(stderr, "%s\n", ht_program_error(iteration)->message), 1;
    } while (++steps < 500 && fabs(sharpness - previous) > 1e-10 * fabs(sharpness));
    printf("largest eigenvalue %.8f after %d products\n", sharpness, steps);

    ht_program_free(iteration);
    ht_tape_free(tape);
    ht_store_free(weights);
    ht_store_free(direction);
    ht_device_close(device);
    return steps < 500 ? 0 : 1;
}
