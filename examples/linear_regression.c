/* Linear regression: one training step - loss, gradient, update - is one program, replayed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <ht/nn.h>

enum { N = 64, FEATURES = 3 };

int main(int argc, char **argv)
{
    /* y = 1 x0 - 2 x1 + 3 x2 + 0.5, on points of a fixed pattern */
    const float truth[FEATURES] = {1, -2, 3};
    float x[N * FEATURES], y[N], loss = 0;
    for (int i = 0; i < N; i++) {
        y[i] = 0.5F;
        for (int k = 0; k < FEATURES; k++) {
            x[i * FEATURES + k] = (float)sin(1.7 * i + 2.3 * k * i);
            y[i] += truth[k] * x[i * FEATURES + k];
        }
    }

    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 0, &error);
    ht_store *parameters = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);

    nn_scope s = nn_open(tape, parameters, .seed = 1);
    ht_var in = ht_input(tape, "x", HT_SHAPE(N, FEATURES)), out = ht_input(tape, "y", HT_SHAPE(N, 1));
    ht_var mse = ht_mean(ht_square(ht_sub(nn_dense(s, "linear", in, 1), out)));
    ht_vars w = nn_params(s);
    ht_write(parameters, nn_sgd(w, ht_grad(mse, w), .rate = 0.3)); /* what the store holds after each run */

    if (argc > 1 && strcmp(argv[argc - 1], "--dump") == 0) return ht_dump(tape, stdout), 0;
    ht_program *step = ht_compile(tape, device, ht_list(mse), .error = &error);
    if (!step) return fprintf(stderr, "%s\n", error.message), 1; /* a wrong call above is reported here, with its line */
    ht_set(step, in, x, N * FEATURES);
    ht_set(step, out, y, N);
    for (int i = 0; i < 300; i++) ht_run(step);
    if (ht_get(step, mse, &loss, 1) != HT_OK) return fprintf(stderr, "%s\n", ht_program_error(step)->message), 1;

    float weight[FEATURES], bias;
    ht_store_get(parameters, "linear.weight", weight, FEATURES, &error);
    ht_store_get(parameters, "linear.bias", &bias, 1, &error);
    printf("loss %.2g, weights %.4f %.4f %.4f, bias %.4f\n", (double)loss, (double)weight[0], (double)weight[1],
           (double)weight[2], (double)bias);

    ht_program_free(step);
    ht_tape_free(tape);
    ht_store_free(parameters);
    ht_device_close(device);
    return loss < 1e-6F ? 0 : 1;
}
