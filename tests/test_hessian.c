/*
 * Benchmark problem C5: products with second derivatives of every network, f64, to 1e-12: symmetric, linear in the direction,
 * and the same forward over reverse as reverse over reverse. Directions are random in all weights at once, also across
 * networks: what the segmenter's loss hands on to the generator and its architecture.
 */
#include <math.h>
#include <stdio.h>

#include "kit.h"
#include "networks.h"
#include "tap.h"

enum { EDGE = 16 };

static ht_device *device;

static ht_vars random_like(ht_vars leaves, const char *stream)
{
    ht_var at[256];
    char text[300];
    int32_t count = leaves.count < 256 ? leaves.count : 256;
    for (int32_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%s%d", stream, (int)i);
        at[i] = ht_normal(leaves.at[i].tape, ht_var_shape(leaves.at[i]), .stream = text, .seed = 5);
    }
    return ht_vars_new(leaves.at[0].tape, at, leaves.names, count);
}

static void check(const char *name, ht_var loss, ht_vars leaves)
{
    ht_tape *tape = loss.tape;
    ht_var two = ht_fill(tape, 2, HT_SCALAR), minus = ht_fill(tape, -1, HT_SCALAR), three = ht_fill(tape, -3, HT_SCALAR);
    ht_vars u = random_like(leaves, "u"), v = random_like(leaves, "v");
    ht_vars g = ht_grad(loss, leaves), hu = ht_jvp(g, leaves, u), hv = ht_hvp(loss, leaves, v), ru = ht_vjp(g, u, leaves);
    ht_vars mixed = ht_hvp(loss, leaves, ht_add_scaled(ht_scale_by(u, two), v, three));
    ht_vars sum = ht_add_scaled(ht_scale_by(hu, two), hv, three);
    double is[6];
    ht_vars outputs = ht_list(ht_dot(v, hu), ht_dot(u, hv), ht_norm(ht_add_scaled(mixed, sum, minus)), ht_norm(mixed),
                              ht_norm(ht_add_scaled(ru, hu, minus)), ht_norm(hu));
    const ht_error *error = ht_tape_error(tape);
    int recorded = error->status == HT_OK && leaves.count < 256;
    if (!tap_ok(recorded, "%s, %d tensors %s", name, (int)leaves.count, error->message)) return;
    if (!kit_run(device, outputs, is)) return;
    tap_ok(fabs(is[0] - is[1]) <= 1e-12 * fabs(is[1]), "%s: v'Hu = %.16g, u'Hv = %.16g", name, is[0], is[1]);
    tap_ok(is[2] <= 1e-12 * is[3], "%s: H(2u - 3v) is 2Hu - 3Hv but for %.1e", name, is[2] / is[3]);
    tap_ok(is[4] <= 1e-12 * is[5] && is[5] > 0, "%s: reverse over reverse is forward over reverse but for %.1e", name,
           is[4] / is[5]);
}

static void check_genseg(int32_t smooth, genseg_gan_loss gan)
{
    static const char *const kind[] = {"with kinks", "smooth"};
    const genseg_networks nets = {
        .generator = {.levels = 4, .width = 4, .channels = 3, .search = GENSEG_SEARCH_BOTH, .smooth = smooth},
        .discriminator = {.width = 4, .layers = 2, .smooth = smooth},
        .segmenter = {.width = 4, .depth = 2, .smooth = smooth}, .gan = gan, .l1 = 10};
    char name[80];
    ht_store *store[4];
    nn_scope scope[4];
    ht_tape *tape = ht_tape_new(HT_F64);
    for (int i = 0; i < 4; i++) {
        store[i] = ht_store_new(device);
        scope[i] = nn_open(tape, store[i], .seed = 1 + (uint64_t)i, .freeze_statistics = 1);
    }
    nn_scope G = scope[0], A = scope[1], H = scope[2], S = scope[3];
    ht_var mask = ht_bernoulli(tape, HT_SHAPE(2, 1, EDGE, EDGE), .stream = "mask", .probability = 0.4);
    ht_var image = ht_uniform(tape, HT_SHAPE(2, 3, EDGE, EDGE), .stream = "image");
    ht_var fake = genseg_generate(G, A, mask, &nets.generator);
    ht_var deceive = genseg_loss_gan(H, mask, fake, image, &nets), judge = genseg_loss_discriminator(H, mask, fake, image, &nets);
    ht_var segment = genseg_loss_segmenter(S, genseg_to_unit(fake), mask, &nets);
    ht_vars generator = ht_vars_join(nn_params(G), nn_params(A));
    snprintf(name, sizeof name, "generator and architecture, %s, %s", gan == GENSEG_GAN_MINIMAX ? "minimax" : "pix2pix",
             kind[smooth]);
    check(name, deceive, generator);
    snprintf(name, sizeof name, "discriminator, %s", kind[smooth]);
    check(name, judge, nn_params(H));
    snprintf(name, sizeof name, "segmenter, %s", kind[smooth]);
    check(name, segment, nn_params(S));
    snprintf(name, sizeof name, "segmenter on the generator, %s", kind[smooth]);
    check(name, segment, ht_vars_join(nn_params(S), generator));
    ht_tape_free(tape);
    for (int i = 0; i < 4; i++) ht_store_free(store[i]);
}

static void check_kit(const char *name, kit_net net)
{
    ht_store *store = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope s = nn_open(tape, store, .seed = 1, .freeze_statistics = 1);
    ht_var z = kit_logits(s, ht_normal(tape, HT_SHAPE(2, 3, EDGE, EDGE), .stream = "image"), net);
    ht_var target = ht_bernoulli(tape, ht_var_shape(z), .stream = "target", .probability = 0.4);
    check(name, ht_sigmoid_cross_entropy(z, target), nn_params(s));
    ht_tape_free(tape);
    ht_store_free(store);
}

int main(void)
{
    ht_error error = {0};
    device = ht_device_open("cpu", 1, &error);
    if (!tap_ok(device != NULL, "device %s", error.message)) return tap_done();
    check_genseg(0, GENSEG_GAN_PIX2PIX);
    check_genseg(1, GENSEG_GAN_MINIMAX);
    check_kit("small U, average pooling", (kit_net){.width = 4, .dropout = 0.3});
    check_kit("small U, max pooling", (kit_net){.width = 4, .peaks = 1});
    ht_device_close(device);
    return tap_done();
}
