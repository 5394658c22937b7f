/*
 * The networks of genseg: exact numbers of parameters at the paper's widths, sizes, names, and the forms of a searchable
 * cell against each other, values and gradients, in float64.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "networks.h"
#include "tap.h"

static ht_device *device;

static const genseg_generator paper = {.levels = 8, .width = 64, .channels = 3, .search = GENSEG_SEARCH_BOTH, .dropout = 0.5};

/* Numbers in all parameters of a store. */
static int64_t parameters(const ht_store *store)
{
    int64_t sum = 0;
    for (int32_t i = 0; i < ht_store_count(store); i++)
        if (ht_store_role(store, i) == HT_PARAMETER) sum += ht_shape_count(ht_store_shape(store, i));
    return sum;
}

/* Parameters of the generator as recorded for one mask. Nothing is initialised, so that no memory is touched. */
static int64_t count_generator(const genseg_generator *net, int64_t size, ht_shape *image)
{
    ht_store *g = ht_store_new(device), *a = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);
    ht_var mask = ht_input(tape, "mask", HT_SHAPE(2, 1, size, size));
    ht_var x = genseg_generate(nn_open(tape, g, .uninitialised = 1), nn_open(tape, a), mask, net);
    if (ht_tape_error(tape)->status) tap_ok(0, "generator: %s", ht_tape_error(tape)->message);
    *image = ht_var_shape(x);
    int64_t count = parameters(g);
    ht_tape_free(tape);
    ht_store_free(g);
    ht_store_free(a);
    return count;
}

static void test_counts(void)
{
    static const struct { genseg_search search; int32_t width, channels, levels; int64_t count; } table[] = {
        {GENSEG_SEARCH_BOTH, 64, 3, 8, 394424713}, {GENSEG_SEARCH_DECODER, 64, 3, 8, 272357513},
        {GENSEG_SEARCH_DECODER, 64, 1, 8, 272327811}, {GENSEG_SEARCH_DECODER, 32, 3, 8, 68103241},
        {GENSEG_SEARCH_DECODER, 16, 3, 8, 17032745}, {GENSEG_SEARCH_DECODER, 64, 3, 7, 207343753}};
    char text[HT_SHAPE_TEXT];
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        genseg_generator net = paper;
        net.search = table[i].search;
        net.width = table[i].width;
        net.channels = table[i].channels;
        net.levels = table[i].levels;
        ht_shape image;
        int64_t size = 1 << net.levels, count = count_generator(&net, size, &image);
        tap_ok(count == table[i].count, "generator, width %d, %d levels: %lld parameters, expected %lld", net.width, net.levels,
               (long long)count, (long long)table[i].count);
        tap_ok(ht_shape_equal(image, HT_SHAPE(2, net.channels, size, size)), "its image is %s", ht_shape_text(image, text));
    }
    static const genseg_discriminator judge = {.width = 64, .layers = 3};
    static const genseg_segmenter unet = {.width = 64, .depth = 4};
    for (int grey = 0; grey < 2; grey++) {
        int64_t channels = grey ? 1 : 3;
        ht_store *h = ht_store_new(device), *s = ht_store_new(device);
        ht_tape *tape = ht_tape_new(HT_F32);
        ht_var mask = ht_input(tape, "mask", HT_SHAPE(2, 1, 256, 256));
        ht_var image = ht_input(tape, "image", HT_SHAPE(2, channels, 256, 256));
        ht_var patches = genseg_discriminate(nn_open(tape, h, .uninitialised = 1), mask, image, &judge);
        ht_var logits = genseg_segment(nn_open(tape, s, .uninitialised = 1), image, &unet);
        tap_ok(parameters(h) == (grey ? 2764609 : 2766657), "discriminator: %lld parameters", (long long)parameters(h));
        tap_ok(parameters(s) == (grey ? 31036481 : 31037633), "U-Net: %lld parameters", (long long)parameters(s));
        tap_ok(ht_shape_equal(ht_var_shape(patches), HT_SHAPE(2, 1, 30, 30)), "30 by 30 patches of 256 by 256 pixels: %s",
               ht_shape_text(ht_var_shape(patches), text));
        tap_ok(ht_shape_equal(ht_var_shape(logits), HT_SHAPE(2, 1, 256, 256)), "a logit for each pixel: %s%s",
               ht_shape_text(ht_var_shape(logits), text), ht_tape_error(tape)->message);
        ht_tape_free(tape);
        ht_store_free(h);
        ht_store_free(s);
    }
}

static void test_refusals(void)
{
    ht_store *g = ht_store_new(device);
    ht_tape *tape = ht_tape_new(HT_F32);
    nn_scope G = nn_open(tape, g, .uninitialised = 1);
    genseg_generate(G, G, ht_input(tape, "mask", HT_SHAPE(2, 1, 192, 256)), &paper);
    const ht_error *e = ht_tape_error(tape);
    tap_ok(e->status == HT_ESHAPE && strstr(e->message, "192") && strstr(e->message, "2^8"), "192 pixels: %s", e->message);
    tap_ok(ht_store_count(g) == 0, "and no parameter was made");
    ht_tape_free(tape);
    ht_store_free(g);
}

enum { LEVELS = 3, SIZE = 16, BATCH = 2, CELLS = 2 * LEVELS, TENSORS = 64, IMAGE = BATCH * 2 * SIZE * SIZE };

static const genseg_cells merged[CELLS] = {1, 1, 1, 1, 1, 1}, separate[CELLS] = {2, 2, 2, 2, 2, 2};
static const genseg_cells mixed[CELLS] = {2, 1, 1, 1, 2, 0};

/* What one form gives: an image and the gradient of a loss in every weight and every alpha. */
typedef struct answer {
    double image[IMAGE];
    int32_t tensors;
    int64_t count[TENSORS];
    double *gradient[TENSORS];
} answer;

static int answer_of(ht_store *g, ht_store *a, const genseg_cells *forms, int32_t smooth, genseg_search search, answer *out)
{
    genseg_generator net = {.levels = LEVELS, .width = 3, .channels = 2, .search = search, .smooth = smooth, .forms = forms};
    ht_error error = {HT_OK, ""};
    ht_tape *tape = ht_tape_new(HT_F64);
    nn_scope G = nn_open(tape, g, .seed = 5, .freeze_statistics = 1), A = nn_open(tape, a, .seed = 6);
    static double number[BATCH * SIZE * SIZE];
    for (int i = 0; i < BATCH * SIZE * SIZE; i++) number[i] = sin(i * 0.7) > 0.3;
    ht_var image = genseg_generate(G, A, ht_constant(tape, number, HT_SHAPE(BATCH, 1, SIZE, SIZE)), &net);
    static double wave[IMAGE];
    for (int i = 0; i < IMAGE; i++) wave[i] = sin(i * 1.3 + 1);
    ht_var loss = ht_sum(ht_mul(image, ht_constant(tape, wave, HT_SHAPE(BATCH, 2, SIZE, SIZE))));
    ht_vars gradient = ht_grad(loss, ht_vars_join(nn_params(G), nn_params(A)));
    ht_program *program = ht_compile(tape, device, ht_vars_join(ht_list(image), gradient), .error = &error);
    int good = program && gradient.count <= TENSORS && ht_run(program) == HT_OK &&
               ht_get(program, image, out->image, IMAGE) == HT_OK;
    out->tensors = good ? gradient.count : 0;
    for (int32_t i = 0; i < out->tensors; i++) {
        out->count[i] = ht_shape_count(ht_var_shape(gradient.at[i]));
        out->gradient[i] = calloc((size_t)out->count[i], sizeof(double));
        good = good && out->gradient[i] && ht_get_at(program, i + 1, out->gradient[i], out->count[i]) == HT_OK;
    }
    if (!good) tap_ok(0, "generator in one form: %s", program ? ht_program_error(program)->message : error.message);
    ht_program_free(program);
    ht_tape_free(tape);
    return good;
}

static void drop(answer *x)
{
    for (int32_t i = 0; i < x->tensors; i++) free(x->gradient[i]);
    x->tensors = 0;
}

/* Largest difference of two answers, relative to the largest number of each tensor. */
static double difference(const answer *a, const answer *b)
{
    double worst = a->tensors == b->tensors ? 0 : INFINITY;
    for (int32_t t = -1; t < a->tensors; t++) {
        const double *x = t < 0 ? a->image : a->gradient[t], *y = t < 0 ? b->image : b->gradient[t];
        double off = 0, largest = 1e-300;
        for (int64_t i = 0; i < (t < 0 ? IMAGE : a->count[t]); i++) {
            off = fabs(x[i] - y[i]) <= off ? off : fabs(x[i] - y[i]);
            largest = fmax(largest, fabs(x[i]));
        }
        worst = off / largest <= worst ? worst : off / largest;
    }
    return worst;
}

static void test_forms(genseg_search search, int32_t smooth)
{
    static answer one, other;
    const genseg_cells *forms[] = {separate, mixed};
    static const char *const words[] = {"separate", "mixed"};
    ht_store *g = ht_store_new(device), *a = ht_store_new(device);
    if (!answer_of(g, a, merged, smooth, search, &one)) return;
    tap_ok(genseg_alpha_cells(a) == (search == GENSEG_SEARCH_BOTH ? 2 * LEVELS : LEVELS), "searched cells are counted");
    for (int f = 0; f < 2; f++) {
        if (!answer_of(g, a, forms[f], smooth, search, &other)) return;
        double off = difference(&one, &other);
        tap_ok(off <= 1e-12, "search %d, smooth %d: merged and %s cells agree, image and %d gradients, to %.1e", (int)search,
               smooth, words[f], one.tensors, off);
        drop(&other);
    }
    drop(&one);
    ht_store_free(g);
    ht_store_free(a);
}

/* Mean of log(1 + e^z) - z t. */
static double cross_entropy(const double *z, const double *t, double every, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += log1p(exp(-fabs(z[i]))) + fmax(z[i], 0) - z[i] * (t ? t[i] : every);
    return sum / n;
}

enum { PIXELS = BATCH * SIZE * SIZE, PATCHES = BATCH * 2 * 2 };

/* Losses against their formulas, from the logits and images that the same networks give. */
static void test_losses(int32_t smooth)
{
    genseg_networks nets = {.generator = {.levels = 2, .width = 3, .channels = 2, .smooth = smooth, .search = GENSEG_SEARCH_BOTH},
                            .discriminator = {.width = 4, .layers = 2, .smooth = smooth}, .l1 = 100,
                            .segmenter = {.width = 4, .depth = 2, .smooth = smooth}, .segmentation = GENSEG_SEG_CE_DICE};
    genseg_networks printed = nets;
    printed.gan = GENSEG_GAN_MINIMAX;
    printed.segmentation = GENSEG_SEG_CE;
    ht_store *store[4];
    nn_scope s[4];
    ht_tape *tape = ht_tape_new(HT_F64);
    for (int i = 0; i < 4; i++) {
        store[i] = ht_store_new(device);
        s[i] = nn_open(tape, store[i], .seed = (uint64_t)i);
    }
    static double m[PIXELS], picture[IMAGE], fake[IMAGE], on_fake[PATCHES], on_real[PATCHES], logits[PIXELS];
    for (int i = 0; i < PIXELS; i++) m[i] = sin(i * 0.7) > 0.3;
    for (int i = 0; i < IMAGE; i++) picture[i] = 0.5 + 0.5 * sin(i * 1.3 + 1);
    ht_var mask = ht_constant(tape, m, HT_SHAPE(BATCH, 1, SIZE, SIZE));
    ht_var image = ht_constant(tape, picture, HT_SHAPE(BATCH, 2, SIZE, SIZE));
    ht_var x = genseg_generate(s[0], s[1], mask, &nets.generator);
    ht_vars out = ht_list(x, genseg_discriminate(s[2], mask, x, &nets.discriminator),
                          genseg_discriminate(s[2], mask, ht_affine(image, 2, -1), &nets.discriminator),
                          genseg_segment(s[3], genseg_to_unit(x), &nets.segmenter), genseg_loss_gan(s[2], mask, x, image, &nets),
                          genseg_loss_discriminator(s[2], mask, x, image, &nets), genseg_loss_gan(s[2], mask, x, image, &printed),
                          genseg_loss_discriminator(s[2], mask, x, image, &printed),
                          genseg_loss_segmenter(s[3], genseg_to_unit(x), mask, &nets),
                          genseg_loss_segmenter(s[3], genseg_to_unit(x), mask, &printed));
    ht_error error = {HT_OK, ""};
    ht_program *program = ht_compile(tape, device, out, .error = &error);
    if (!tap_ok(program != NULL, "the losses compile: %s", error.message)) return;
    double *to[] = {fake, on_fake, on_real, logits}, loss[6], gap = 0, overlap = 0, both = 0;
    static const int64_t numbers[] = {IMAGE, PATCHES, PATCHES, PIXELS};
    ht_run(program);
    for (int i = 0; i < 10; i++) ht_get_at(program, i, i < 4 ? to[i] : &loss[i - 4], i < 4 ? numbers[i] : 1);
    tap_ok(ht_program_error(program)->status == HT_OK, "and run: %s", ht_program_error(program)->message);
    for (int i = 0; i < IMAGE; i++) {
        double d = fake[i] - (2 * picture[i] - 1);
        gap += (smooth ? sqrt(d * d + 0.01) : fabs(d)) / IMAGE;
    }
    for (int i = 0; i < PIXELS; i++) {
        double p = 1 / (1 + exp(-logits[i]));
        overlap += p * m[i];
        both += p + m[i];
    }
    double told = cross_entropy(on_fake, NULL, 0, PATCHES) + cross_entropy(on_real, NULL, 1, PATCHES);
    double plain = cross_entropy(logits, m, 0, PIXELS), dice = 1 - (2 * overlap + 1e-6) / (both + 1e-6);
    double expected[] = {cross_entropy(on_fake, NULL, 1, PATCHES) + 100 * gap, told / 2, -told, told, plain + dice, plain};
    static const char *const words[] = {"gan, pix2pix", "discriminator, pix2pix", "gan, minimax", "discriminator, minimax",
                                        "segmenter with Dice", "segmenter"};
    for (int i = 0; i < 6; i++)
        tap_ok(fabs(loss[i] - expected[i]) <= 1e-12 * fabs(expected[i]), "%s, smooth %d: %.12g, expected %.12g", words[i],
               (int)smooth, loss[i], expected[i]);
    ht_program_free(program);
    ht_tape_free(tape);
    for (int i = 0; i < 4; i++) ht_store_free(store[i]);
}

static void test_alpha(void)
{
    static const double alpha[6] = {0, 0, 0, 100, 101, -2000};
    double weight[GENSEG_CANDIDATES];
    char name[16];
    ht_error error = {HT_OK, ""};
    ht_store *a = ht_store_new(device);
    ht_store_add(a, "alpha.dec", HT_F64, HT_SHAPE(2, 3), HT_PARAMETER, &error);
    ht_store_set(a, "alpha.dec", alpha, 6, &error);
    genseg_alpha_weights(a, 1, weight, name, &error);
    double high = 1 / (1 + exp(-1.0));
    tap_ok(error.status == HT_OK && strcmp(name, "dec1") == 0 && fabs(weight[1] - high) < 1e-15 && weight[2] == 0,
           "softmax of %s: %.3f %.3f %.3f", name, weight[0], weight[1], weight[2]);
    tap_ok(genseg_alpha_weights(a, 2, weight, name, &error) == HT_EINVALID, "there is no third cell: %s", error.message);
    ht_store_free(a);
}

int main(void)
{
    ht_error error = {HT_OK, ""};
    device = ht_device_open("cpu", 2, &error);
    if (!tap_ok(device != NULL, "a device: %s", error.message)) return tap_done();
    test_counts();
    test_refusals();
    test_alpha();
    test_forms(GENSEG_SEARCH_BOTH, 0);
    test_forms(GENSEG_SEARCH_BOTH, 1);
    test_forms(GENSEG_SEARCH_DECODER, 0);
    test_forms(GENSEG_SEARCH_ENCODER, 1);
    test_losses(0);
    test_losses(1);
    ht_device_close(device);
    return tap_done();
}
