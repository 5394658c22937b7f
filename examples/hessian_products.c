/*
 * Hessian-vector products of three small networks held against each other: u'Hv = v'Hu; H(u + 2 v) = H u + 2 H v; and forward
 * over reverse = reverse over reverse. Nothing is compared with a difference, so the identities hold to rounding.
 */
#include <math.h>
#include <stdio.h>

#include <ht/nn.h>

#include "dump.h"

enum { CASES = 2, SIZE = 8, NETWORKS = 3, NUMBERS = 3 };

/* An encoder and a decoder with a skip, batch norm, dropout; a critic of patches; a perceptron with a softmax. */
static ht_var segment(nn_scope s, ht_var image)
{
    ht_var a = ht_tanh(nn_batch_norm(s, "norm", nn_conv(s, "down", image, 6, .kernel = 4, .stride = 2, .pad = 1)));
    ht_var b = ht_silu(nn_dropout(s, "drop", nn_conv(s, "deep", a, 6, .kernel = 3, .pad = 2, .dilation = 2), 0.3));
    ht_var up = nn_conv_transpose(s, "up", ht_add(a, b), 1, .kernel = 4, .stride = 2, .pad = 1);
    return nn_sigmoid_cross_entropy(up, ht_affine(ht_sin(image), 0.5, 0.5));
}

static ht_var criticise(nn_scope s, ht_var image)
{
    ht_var a = ht_leaky_relu(nn_conv(s, "c1", image, 6, .kernel = 4, .stride = 2, .pad = 1), 0.2);
    ht_var b = ht_leaky_relu(nn_instance_norm(s, "norm", nn_conv(s, "c2", a, 8, .kernel = 3, .pad = 1, .groups = 2)), 0.2);
    return ht_mean(ht_square(nn_conv(s, "c3", b, 1, .kernel = 3, .pad = 1)));
}

static ht_var classify(nn_scope s, ht_var image)
{
    ht_var x = ht_reshape(image, HT_SHAPE(CASES, SIZE * SIZE));
    ht_var p = ht_softmax(nn_dense(s, "out", ht_gelu(nn_dense(s, "hidden", x, 12)), 5), 1);
    return ht_mean(ht_square(ht_offset(p, -0.3)));
}

/* Random numbers in the shapes of the weights. */
static ht_vars direction(ht_vars w, const char *name)
{
    ht_var d[32];
    char stream[64];
    for (int32_t i = 0; i < w.count; i++) {
        snprintf(stream, sizeof stream, "%s of %s", name, w.names[i]);
        d[i] = ht_normal(w.at[0].tape, ht_var_shape(w.at[i]), .stream = ht_tape_text(w.at[0].tape, stream));
    }
    return ht_vars_new(w.at[0].tape, d, w.names, w.count);
}

/* |a - b| / |b| */
static ht_var apart(ht_vars a, ht_vars b)
{
    ht_var minus = ht_fill(a.at[0].tape, -1, HT_SCALAR), size = ht_norm(b);
    return ht_div(ht_norm(ht_add_scaled(a, b, minus)), size);
}

int main(int argc, char **argv)
{
    static const char *const names[NETWORKS] = {"segmenter", "critic", "perceptron"};
    static ht_var (*const networks[NETWORKS])(nn_scope, ht_var) = {segment, criticise, classify};
    ht_error error = {0};
    ht_device *device = ht_device_open("cpu", 1, &error);
    ht_tape *tape = ht_tape_new(HT_F64);
    ht_store *stores[NETWORKS];
    ht_var image = ht_normal(tape, HT_SHAPE(CASES, 1, SIZE, SIZE), .stream = "image"), found[NETWORKS * NUMBERS];
    for (int i = 0; i < NETWORKS; i++) {
        stores[i] = ht_store_new(device);
        nn_scope s = nn_open(tape, stores[i], .name = names[i], .seed = 1, .freeze_statistics = 1);
        ht_var loss = networks[i](s, image);
        ht_vars w = nn_params(s), u = direction(w, "u"), v = direction(w, "v");
        ht_vars Hu = ht_hvp(loss, w, u), Hv = ht_hvp(loss, w, v); /* forward over reverse */
        ht_var uHv = ht_dot(u, Hv), vHu = ht_dot(v, Hu), two = ht_fill(tape, 2, HT_SCALAR), size = ht_abs(vHu);
        found[i * NUMBERS] = ht_div(ht_abs(ht_sub(uHv, vHu)), size);
        ht_vars sum = ht_add_scaled(Hu, Hv, two);
        found[i * NUMBERS + 1] = apart(ht_hvp(loss, w, ht_add_scaled(u, v, two)), sum);
        found[i * NUMBERS + 2] = apart(ht_grad(ht_dot(ht_grad(loss, w), u), w), Hu); /* reverse over reverse */
    }
    if (dumped(argc, argv, tape)) return 0;
    ht_program *program = ht_compile(tape, device, ht_list_(found, NETWORKS * NUMBERS), .error = &error);
    if (!program || ht_run(program) != HT_OK) return fprintf(stderr, "%s\n", error.message), 1;
    double worst = 0;
    for (int i = 0; i < NETWORKS; i++) {
        double off[NUMBERS];
        for (int k = 0; k < NUMBERS; k++) {
            ht_get_at(program, i * NUMBERS + k, &off[k], 1);
            if (!(off[k] <= worst)) worst = off[k];
        }
        printf("%-10s symmetry %.1e, linearity %.1e, reverse over reverse %.1e\n", names[i], off[0], off[1], off[2]);
    }
    printf("worst %.1e\n", worst);
    ht_program_free(program);
    ht_tape_free(tape);
    for (int i = 0; i < NETWORKS; i++) ht_store_free(stores[i]);
    ht_device_close(device);
    return worst < 1e-12 ? 0 : 1;
}
