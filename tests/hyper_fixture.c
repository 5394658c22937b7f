/* The small GenSeg of hyper_fixture.h. Everything is a function of the seed; nothing is read from files. */
#include "hyper_fixture.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

genseg_config hyper_config(uint64_t seed)
{
    genseg_config config;
    ht_error error = {HT_OK, ""};
    genseg_config_preset(&config, "small", &error);
    config.seed = (int64_t)seed;
    config.size = 16;
    config.batch = 2;
    config.generator_width = config.discriminator_width = config.unet_width = 2;
    config.generator_levels = 3;
    config.discriminator_layers = 2;
    config.unet_depth = 2;
    config.hypergradient = GENSEG_H_TOTAL;
    config.l1 = 10;
    config.eta_g = config.eta_s = 0.1;
    config.g_decay = config.h_decay = config.s_decay = 1e-3;
    config.s_momentum = 0.9;
    config.g_rate = config.h_rate = config.s_rate = 1e-2;
    return config;
}

/* ---- numbers ---- */

static double unit(uint64_t key, int64_t step, int64_t element)
{
    return ht_random_unit(ht_random_word(key, (uint64_t)step, (uint64_t)element));
}

/* Uniform in (-spread, spread) about what is there. */
static void scatter(ht_store *store, const char *part, double keep, double spread, uint64_t key)
{
    int64_t element = 0;
    for (int32_t i = 0; i < ht_store_count(store); i++) {
        if (ht_store_role(store, i) != HT_PARAMETER || !strstr(ht_store_name(store, i), part)) continue;
        double *numbers = ht_store_data(store, i);
        for (int64_t k = 0; k < ht_shape_count(ht_store_shape(store, i)); k++, element++)
            numbers[k] = keep * numbers[k] + spread * (2 * unit(key, 0, element) - 1);
    }
}

int64_t hyper_parameters(const ht_store *store)
{
    int64_t sum = 0;
    for (int32_t i = 0; i < ht_store_count(store); i++)
        if (ht_store_role(store, i) == HT_PARAMETER) sum += ht_shape_count(ht_store_shape(store, i));
    return sum;
}

double *hyper_alpha(const ht_store *A, int64_t index)
{
    for (int32_t i = 0; i < ht_store_count(A); i++) {
        int64_t count = ht_shape_count(ht_store_shape(A, i));
        if (index < count) return (double *)ht_store_data(A, i) + index;
        index -= count;
    }
    return NULL;
}

/* ---- the problem ---- */

int hyper_open(hyper_problem *p, ht_device *device, const genseg_config *config, ht_dtype real, int32_t smooth)
{
    ht_error error = {HT_OK, ""};
    *p = (hyper_problem){.device = device, .config = *config, .real = real, .fixed_dropout = smooth};
    p->nets = genseg_networks_of(config, 3);
    p->nets.generator.smooth = p->nets.discriminator.smooth = p->nets.segmenter.smooth = smooth;
    p->sizes = (genseg_sizes){config->batch, config->batch, config->size, 3};
    genseg_state narrow = {0};
    if (genseg_state_new(&narrow, config, &p->nets, device, &error) == HT_OK) {
        genseg_state_copy(&narrow, real, &p->state, &error);
        genseg_state_free(&narrow);
    }
    if (error.status != HT_OK) return tap_ok(0, "a small GenSeg: %s", error.message);
    if (smooth) {
        uint64_t key = ht_random_key((uint64_t)config->seed, "hyper");
        for (int32_t i = 0; i < HYPER_CELLS_MAX; i++)
            p->forms[i] = (i / 2 + i + config->seed) % 2 ? GENSEG_CELLS_MERGED : GENSEG_CELLS_SEPARATE;
        p->nets.generator.forms = p->forms;
        scatter(p->state.store[GENSEG_G], "weight", 1, 0.2, key);
        scatter(p->state.store[GENSEG_H], "weight", 1, 0.2, key + 1);
        scatter(p->state.store[GENSEG_A], "alpha", 0, 1, key + 2);
        p->synthesis = ht_store_copy(p->state.store[GENSEG_A], real, &error);
    }
    return error.status == HT_OK;
}

void hyper_close(hyper_problem *p)
{
    genseg_state_free(&p->state);
    ht_store_free(p->synthesis);
    p->synthesis = NULL;
}

/* ---- batches: blobs and pictures that follow them ---- */

static void draw(const hyper_problem *p, const char *stream, int32_t channels, int32_t batch, double *masks, double *images)
{
    int32_t size = p->sizes.size;
    uint64_t key = ht_random_key((uint64_t)p->config.seed, stream);
    int64_t plane = (int64_t)size * size;
    for (int32_t n = 0; n < batch; n++) {
        double cx = 0.3 + 0.4 * unit(key, p->step, 4 * n), cy = 0.3 + 0.4 * unit(key, p->step, 4 * n + 1);
        double radius = 0.15 + 0.15 * unit(key, p->step, 4 * n + 2), phase = 6 * unit(key, p->step, 4 * n + 3);
        double wave = 0.1 + 0.05 * sin(phase);
        for (int64_t i = 0; i < plane; i++) {
            double x = (double)(i % size) / size - cx, y = (double)(i / size) / size - cy;
            double inside = x * x + y * y < radius * radius + wave * x * y;
            masks[n * plane + i] = inside;
            for (int32_t c = 0; images && c < channels; c++)
                images[(n * channels + c) * plane + i] =
                    0.45 + 0.2 * inside * (c + 1) / channels + wave * (3 * x + 2 * y * (c + 1)) +
                    0.3 * unit(key, p->step + 1000, (n * channels + c) * plane + i);
        }
    }
}

/* Sets one input from doubles, in the problem's type. */
static ht_status set(const hyper_problem *p, ht_program *program, const char *name, const double *numbers, int64_t count)
{
    if (!ht_has_input(program, name)) return HT_OK;
    if (p->real == HT_F64) return ht_set_named(program, name, numbers, count);
    float *narrow = malloc((size_t)count * sizeof *narrow);
    if (!narrow) return HT_ENOMEM;
    for (int64_t i = 0; i < count; i++) narrow[i] = (float)numbers[i];
    ht_status status = ht_set_named(program, name, narrow, count);
    free(narrow);
    return status;
}

ht_status hyper_feed(const hyper_problem *p, ht_program *program)
{
    genseg_sizes z = p->sizes;
    int64_t plane = (int64_t)z.size * z.size, masks = z.batch * plane, images = masks * z.channels;
    double *block = malloc((size_t)(2 * (masks + images)) * sizeof *block), rate = p->config.s_rate;
    if (!block) return HT_ENOMEM;
    double *mask = block, *other = block + masks, *image = block + 2 * masks, *val_image = image + images;
    draw(p, "training", z.channels, z.batch, mask, image);
    set(p, program, "mask", mask, masks);
    set(p, program, "image", image, images);
    draw(p, "augmented", z.channels, z.batch, other, NULL);
    set(p, program, "augmented", other, masks);
    draw(p, "validation", z.channels, z.val_batch, other, val_image);
    set(p, program, "val_mask", other, masks);
    set(p, program, "val_image", val_image, images);
    ht_status status = set(p, program, "rate", &rate, 1);
    free(block);
    return status;
}

int hyper_run(const hyper_problem *p, ht_program *program, double *scalars, int32_t count)
{
    hyper_feed(p, program);
    ht_run(program);
    for (int32_t i = 0; i < count; i++) {
        float narrow = 0;
        ht_get_at(program, i, p->real == HT_F64 ? (void *)&scalars[i] : (void *)&narrow, 1);
        if (p->real != HT_F64) scalars[i] = (double)narrow;
    }
    const ht_error *error = ht_program_error(program);
    return error->status == HT_OK || tap_ok(0, "a program of the small GenSeg: %s", error->message);
}

/* ---- recordings ---- */

/* Factors of dropout of each decoder cell whose output joins a skip, 0 or 2. */
static void record_factors(ht_tape *tape, const hyper_problem *p, ht_var factors[GENSEG_LEVELS_MAX])
{
    uint64_t key = ht_random_key((uint64_t)p->config.seed, "factors");
    for (int32_t i = 0; i < GENSEG_LEVELS_MAX; i++) factors[i] = (ht_var){0};
    for (int32_t i = 1; i < p->nets.generator.levels; i++) {
        int64_t channels = (int64_t)p->nets.generator.width << (i - 1), side = p->sizes.size >> i;
        int64_t count = p->sizes.batch * channels * side * side;
        double *numbers = malloc((size_t)count * sizeof *numbers);
        for (int64_t k = 0; numbers && k < count; k++) numbers[k] = unit(key, i, k) < 0.5 ? 0 : 2;
        if (numbers) factors[i] = ht_constant(tape, numbers, HT_SHAPE(p->sizes.batch, channels, side, side));
        free(numbers);
    }
}

genseg_recording hyper_round(ht_tape *tape, hyper_problem *p, mlo_method method, int32_t commit)
{
    ht_var factors[GENSEG_LEVELS_MAX];
    genseg_networks nets = p->nets;
    if (p->fixed_dropout) {
        record_factors(tape, p, factors);
        nets.generator.factors = factors;
    }
    return genseg_record_round(tape, &p->state, &p->config, &nets, p->sizes, method, commit);
}

static ht_vars generator_step(const hyper_problem *p, ht_vars w, ht_vars g)
{
    const genseg_config *o = &p->config;
    if (o->unroll == GENSEG_UNROLL_SGD) return nn_sgd(w, g, .rate = o->eta_g);
    return nn_adam(p->state.store[GENSEG_G_MOMENTS], w, g, .rate = o->g_rate, .beta1 = o->g_beta1, .beta2 = o->g_beta2,
                   .weight_decay = o->g_decay, .read_only = 1);
}

static ht_vars segmenter_step(const hyper_problem *p, ht_vars w, ht_vars g)
{
    const genseg_config *o = &p->config;
    if (o->unroll == GENSEG_UNROLL_SGD) return nn_sgd(w, g, .rate = o->eta_s);
    return nn_rmsprop(p->state.store[GENSEG_S_MOMENTS], w, g, .rate = o->s_rate, .momentum = o->s_momentum,
                      .weight_decay = o->s_decay, .read_only = 1);
}

ht_var hyper_procedure(ht_tape *tape, hyper_problem *p, ht_vars *gradients)
{
    ht_var factors[GENSEG_LEVELS_MAX];
    genseg_networks nets = p->nets;
    genseg_sizes z = p->sizes;
    record_factors(tape, p, factors);
    nets.generator.factors = factors;
    ht_var mask = ht_input(tape, "mask", HT_SHAPE(z.batch, 1, z.size, z.size));
    ht_var image = ht_input(tape, "image", HT_SHAPE(z.batch, z.channels, z.size, z.size));
    ht_var augmented = ht_input(tape, "augmented", HT_SHAPE(z.batch, 1, z.size, z.size));
    ht_var val_mask = ht_input(tape, "val_mask", HT_SHAPE(z.val_batch, 1, z.size, z.size));
    ht_var val_image = ht_input(tape, "val_image", HT_SHAPE(z.val_batch, z.channels, z.size, z.size));
    nn_scope scope[4];
    for (int32_t i = 0; i < 4; i++) scope[i] = nn_open(tape, p->state.store[i], .freeze_statistics = 1);
    nn_scope G = scope[GENSEG_G], H = scope[GENSEG_H], S = scope[GENSEG_S], A = scope[GENSEG_A];
    nn_scope X = nn_open(tape, p->synthesis);
    ht_vars g = nn_params(G), s = nn_params(S);
    ht_var loss_gan = genseg_loss_gan(H, mask, genseg_generate(G, A, mask, &nets.generator), image, &nets);
    ht_vars g_gradient = ht_grad(loss_gan, g);
    nn_scope next_G = nn_at(G, generator_step(p, g, g_gradient));
    ht_var generated = ht_affine(genseg_generate(next_G, X, augmented, &nets.generator), 0.5, 0.5);
    ht_var loss_seg = ht_add(genseg_loss_segmenter(S, generated, augmented, &nets),
                             ht_scale(genseg_loss_segmenter(S, image, mask, &nets), p->config.gamma));
    ht_vars s_gradient = ht_grad(loss_seg, s);
    if (gradients) *gradients = ht_vars_join(g_gradient, s_gradient);
    return genseg_loss_segmenter(nn_at(S, segmenter_step(p, s, s_gradient)), val_image, val_mask, &nets);
}

/* ---- states that are worth a test ---- */

int hyper_warm(hyper_problem *p, int32_t rounds)
{
    ht_error error = {HT_OK, ""};
    ht_tape *tape = ht_tape_new(p->real);
    genseg_recording r = hyper_round(tape, p, MLO_UNROLL, 1);
    ht_program *program = ht_compile(tape, p->device, ht_list(r.loss_val), .error = &error);
    ht_tape_free(tape);
    int good = program || tap_ok(0, "rounds that warm the moments: %s", error.message);
    double loss;
    for (int32_t i = 0; good && i < rounds; i++, p->step++) good = hyper_run(p, program, &loss, 1);
    ht_program_free(program);
    ht_store_assign(p->synthesis, p->state.store[GENSEG_A], &error);
    return good && error.status == HT_OK;
}

/* Whether a channel is one of those that are cut off: every odd one. Skips join an even number of channels. */
static bool dead(int64_t channel) { return channel % 2 == 1; }

/* Clears the moments of what leads into channels that nothing reads. */
static void clear_moments(const ht_store *moments, const char *slot, const char *name, ht_shape shape, int32_t axis)
{
    char full[300];
    snprintf(full, sizeof full, "%s/%s", slot, name);
    int32_t index = ht_store_find(moments, full);
    if (index < 0) return;
    double *numbers = ht_store_data(moments, index);
    int64_t below = 1;
    for (int32_t a = axis + 1; a < shape.rank; a++) below *= shape.dim[a];
    for (int64_t k = 0; k < ht_shape_count(shape); k++)
        if (dead(k / below % shape.dim[axis])) numbers[k] = 0;
}

static void starve(const ht_store *weights, const ht_store *moments)
{
    static const char *const slots[] = {"m", "v", "square", "buffer"};
    for (int32_t i = 0; i < ht_store_count(weights); i++) {
        const char *name = ht_store_name(weights, i);
        ht_shape shape = ht_store_shape(weights, i);
        if (ht_store_role(weights, i) != HT_PARAMETER) continue;
        /* W[out, in, ...] of a convolution, W[in, out, ...] of a transposed one */
        int32_t transposed = strncmp(name, "dec", 3) == 0 || strstr(name, ".up.") != NULL;
        int32_t out = shape.rank == 4 ? transposed : 0, in = 1 - out;
        bool last = strncmp(name, "head", 4) == 0 || strncmp(name, "dec0", 4) == 0;
        for (int32_t k = 0; !last && k < 4; k++) clear_moments(moments, slots[k], name, shape, out);
        if (shape.rank != 4) continue;
        int64_t below = (in == 0 ? shape.dim[1] : 1) * shape.dim[2] * shape.dim[3];
        /* an innermost channel is read by dec2 alone: more of them can go, to make up for the last cell */
        bool innermost = strncmp(name, "dec2", 4) == 0;
        double *numbers = ht_store_data(weights, i);
        for (int64_t k = 0; k < ht_shape_count(shape); k++) {
            int64_t channel = k / below % shape.dim[in];
            if (dead(channel) || (innermost && channel >= shape.dim[in] / 2)) numbers[k] = 0;
        }
    }
}

void hyper_starve(hyper_problem *p)
{
    starve(p->state.store[GENSEG_G], p->state.store[GENSEG_G_MOMENTS]);
    starve(p->state.store[GENSEG_S], p->state.store[GENSEG_S_MOMENTS]);
}
