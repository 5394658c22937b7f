/*
 * The plain U-Net, beside the peer's: what a training step, a gradient and a Hessian-vector product cost, the product as
 * reverse over reverse and as forward over reverse. Everything is a process of its own and starts from the peer's file of
 * weights, batch and direction; without a peer from numbers of our own.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "bench.h"
#include "genseg/networks.h"

typedef enum unet_work { STEP, GRADIENT, HVP_REVERSE, HVP_FORWARD, WORKS } unet_work;
static const char *const names[WORKS] = {"step", "gradient", "hvp, reverse over reverse", "hvp, forward over reverse"};
static const double loss_tolerance = 1e-4, gradient_tolerance = 1e-4, product_tolerance = 1e-3;

static const char *const settings[] = {
    "",
    "--malloc keep",
    "--malloc keep --layout channels_last",
    "--malloc keep --compile inductor",
};
/* Whichever mode of the peer is the faster one counts, whichever is ours. */
static const char *const product_settings[] = {
    "--mode reverse",
    "--malloc keep --mode reverse",
    "--malloc keep --mode forward",
    "--malloc keep --mode reverse --layout channels_last",
    "--malloc keep --mode reverse --compile inductor",
};

typedef struct unet_case {
    const bench_options *options;
    unet_work work;
    const char *file;            /* state to start from, or NULL */
    int32_t rounds;
    ht_error *error;
    ht_device *device;
    ht_store *weights, *moments, *directions;
    ht_tape *tape;
    ht_var image, mask, loss;
    ht_vars values;              /* the gradient, or the product */
    ht_program *program;
} unet_case;

/* ---- recording ---- */

static void record(unet_case *c)
{
    const genseg_config *o = &c->options->config;
    genseg_networks nets = genseg_networks_of(o, BENCH_CHANNELS);
    nets.segmentation = GENSEG_SEG_CE_DICE;
    c->image = ht_input(c->tape, "batch.image", HT_SHAPE(o->batch, BENCH_CHANNELS, o->size, o->size));
    c->mask = ht_input(c->tape, "batch.mask", HT_SHAPE(o->batch, 1, o->size, o->size));
    nn_scope S = nn_open(c->tape, c->weights, .name = "S", .seed = 1, .freeze_statistics = 1);
    c->loss = genseg_loss_segmenter(S, c->image, c->mask, &nets);
    ht_vars parameters = nn_params(S);
    if (c->work <= GRADIENT) {
        c->values = ht_grad(c->loss, parameters);
    } else {
        for (int32_t i = 0; i < parameters.count; i++)
            ht_store_add(c->directions, parameters.names[i], HT_F32, ht_var_shape(parameters.at[i]), HT_PARAMETER, c->error);
        ht_vars direction = ht_read(c->tape, c->directions);
        if (c->work == HVP_FORWARD) c->values = ht_hvp(c->loss, parameters, direction);
        else c->values = ht_grad(ht_dot(ht_grad(c->loss, parameters), direction), parameters);
    }
    if (c->work == STEP)
        ht_write(c->weights, nn_rmsprop(c->moments, parameters, c->values, .rate = 1e-5, .momentum = 0.9));
}

/* ---- what it starts from ---- */

static void draw(const char *name, float *numbers, int64_t count)
{
    uint64_t key = ht_random_key(1, name);
    for (int64_t i = 0; i < count; i++) numbers[i] = (float)ht_random_unit(ht_random_word(key, 0, (uint64_t)i));
}

/* Sets an input of the program from the file, or from numbers in [0, 1). */
static void feed(const unet_case *c, const ht_store *file, ht_var input, const char *name)
{
    int64_t count = ht_shape_count(ht_var_shape(input));
    if (file) {
        int32_t index = ht_store_find(file, name);
        if (index < 0) ht_fail(c->error, HT_EFORMAT, "%.300s: no tensor \"%s\"; expected one", c->file, name);
        else ht_set(c->program, input, ht_store_data(file, index), ht_shape_count(ht_store_shape(file, index)));
        return;
    }
    float *numbers = malloc((size_t)count * sizeof *numbers);
    if (!numbers) {
        ht_fail(c->error, HT_ENOMEM, "no memory for a batch");
        return;
    }
    draw(name, numbers, count);
    ht_set(c->program, input, numbers, count);
    free(numbers);
}

static void take_store(const unet_case *c, const ht_store *file, ht_store *to, char letter)
{
    char name[300];
    for (int32_t i = 0; i < ht_store_count(to) && c->error->status == HT_OK; i++) {
        if (ht_store_role(to, i) != HT_PARAMETER) continue;
        snprintf(name, sizeof name, "%c.%s", letter, ht_store_name(to, i));
        int32_t index = ht_store_find(file, name);
        if (index < 0) ht_fail(c->error, HT_EFORMAT, "%.300s: no tensor \"%s\"; expected one", c->file, name);
        else ht_store_set(to, ht_store_name(to, i), ht_store_data(file, index), ht_shape_count(ht_store_shape(file, index)),
                          c->error);
    }
}

static void begin(unet_case *c)
{
    ht_store *file = c->file ? ht_store_new(c->device) : NULL;
    if (c->file && !file) ht_fail(c->error, HT_ENOMEM, "no memory for %.300s", c->file);
    if (file && ht_store_load(file, c->file, c->error) == HT_OK) {
        take_store(c, file, c->weights, 'S');
        take_store(c, file, c->directions, 'V');
    }
    for (int32_t i = 0; !file && i < ht_store_count(c->directions); i++)
        draw(ht_store_name(c->directions, i), ht_store_data(c->directions, i), ht_shape_count(ht_store_shape(c->directions, i)));
    if (c->error->status == HT_OK) feed(c, file, c->image, "batch.image");
    if (c->error->status == HT_OK) feed(c, file, c->mask, "batch.mask");
    (void)ht_store_free(file);
}

/* ---- running ---- */

static double norm_of(const unet_case *c)
{
    double sum = 0;
    for (int32_t i = 0; i < c->values.count; i++) {
        int64_t count = ht_shape_count(ht_var_shape(c->values.at[i]));
        float *numbers = malloc((size_t)count * sizeof *numbers);
        if (!numbers || ht_get(c->program, c->values.at[i], numbers, count) != HT_OK) sum = NAN;
        for (int64_t k = 0; numbers && k < count; k++) sum += (double)numbers[k] * (double)numbers[k];
        free(numbers);
    }
    return sqrt(sum);
}

static json_t *run(const unet_case *c)
{
    double *seconds = calloc((size_t)c->rounds, sizeof *seconds);
    float loss = NAN;
    json_t *answer = NULL;
    if (!seconds) ht_fail(c->error, HT_ENOMEM, "no memory for the times of %d runs", (int)c->rounds);
    if (seconds && ht_run(c->program) == HT_OK && ht_get(c->program, c->loss, &loss, 1) == HT_OK) {
        ht_program_facts facts = ht_program_describe(c->program);
        answer = json_pack("{s:o, s:o, s:f, s:I, s:I}", "loss", bench_real((double)loss), "norm", bench_real(norm_of(c)), "flop",
                           facts.flop, "kernels", (json_int_t)facts.instructions, "arena_bytes", (json_int_t)facts.arena_bytes);
        for (int32_t i = 0; i < c->rounds; i++) {
            double start = bench_now();
            (void)ht_run(c->program);
            seconds[i] = bench_now() - start;
        }
        json_object_set_new(answer, "seconds", bench_real(bench_median(seconds, c->rounds)));
    }
    const ht_error *finding = ht_program_error(c->program);
    if (finding->status != HT_OK) ht_fail(c->error, finding->status, "%s", finding->message);
    free(seconds);
    return answer;
}

static json_t *work(void *context, ht_error *error)
{
    unet_case *c = context;
    json_t *answer = NULL;
    c->error = error;
    c->device = ht_device_open(c->options->config.device, c->options->config.threads, error);
    if (c->device) {
        c->weights = ht_store_new(c->device);
        c->moments = ht_store_new(c->device);
        c->directions = ht_store_new(c->device);
        c->tape = ht_tape_new(HT_F32);
    }
    if (c->device && (!c->weights || !c->moments || !c->directions || !c->tape))
        ht_fail(error, HT_ENOMEM, "no memory for a tape and its stores");
    if (error->status == HT_OK) {
        record(c);
        c->program = ht_compile(c->tape, c->device, ht_vars_join(ht_list(c->loss), c->values), .error = error,
                                .convolution = (ht_convolution)c->options->config.convolution,
                                .memory_limit = (size_t)c->options->config.memory_limit);
    }
    if (c->program) begin(c);
    if (c->program && error->status == HT_OK) answer = run(c);
    ht_program_free(c->program);
    ht_tape_free(c->tape);
    (void)ht_store_free(c->weights);
    (void)ht_store_free(c->moments);
    (void)ht_store_free(c->directions);
    ht_device_close(c->device);
    if (error->status == HT_OK) return answer;
    json_decref(answer);
    return NULL;
}

/* ---- beside the peer ---- */

static bench_child run_ours(const bench_contest *contest, const char *state)
{
    unet_case c = {.options = contest->options, .work = *(const unet_work *)contest->context, .file = state, .rounds = 1};
    return bench_fork(work, &c);
}

static bench_child run_peer(const bench_contest *contest, int32_t setting, const char *state, int32_t seed)
{
    static const char *const peer_names[WORKS] = {"step", "gradient", "hvp", "hvp"};
    const genseg_config *o = &contest->options->config;
    bench_words words = {0};
    bench_words_lend(&words, contest->options->python);
    bench_words_lend(&words, contest->program);
    bench_words_lend(&words, "--peer");
    bench_words_lend(&words, contest->options->peer);
    bench_words_add(&words, "--what", peer_names[*(const unet_work *)contest->context]);
    bench_words_number(&words, "--size", o->size);
    bench_words_number(&words, "--batch", o->batch);
    bench_words_number(&words, "--channels", BENCH_CHANNELS);
    bench_words_number(&words, "--width", o->unet_width);
    bench_words_number(&words, "--depth", o->unet_depth);
    bench_words_number(&words, "--threads", o->threads);
    if (seed >= 0) bench_words_number(&words, "--seed", seed);
    bench_words_lend(&words, seed >= 0 ? "--save-state" : "--load-state");
    bench_words_lend(&words, state);
    bench_words_split(&words, contest->settings[setting]);
    return bench_program(words.word, contest->options->peer_limit);
}

static double apart(const json_t *a, const json_t *b, const char *key)
{
    double x = bench_number(a, key), y = bench_number(b, key);
    return fabs(x - y) / fmax(fabs(y), 1e-30);
}

static bool agree(double tolerance, const json_t *ours, const json_t *answer, json_t *told)
{
    double loss = apart(ours, answer, "loss"), norm = apart(ours, answer, "norm");
    bool same = loss <= loss_tolerance && norm <= tolerance;
    json_object_set_new(told, "loss_apart", bench_real(loss));
    json_object_set_new(told, "norm_apart", bench_real(norm));
    json_object_set_new(told, "agrees", json_boolean(same));
    return same;
}

static bool gradients_agree(const json_t *ours, const json_t *answer, json_t *told)
{
    return agree(gradient_tolerance, ours, answer, told);
}

static bool products_agree(const json_t *ours, const json_t *answer, json_t *told)
{
    return agree(product_tolerance, ours, answer, told);
}

static json_t *measure(const bench_options *options, unet_work what, ht_error *error)
{
    char program[BENCH_PATH];
    bool product = what > GRADIENT;
    bench_contest contest = {.options = options, .settings = product ? product_settings : settings,
                             .count = product ? sizeof product_settings / sizeof *settings : sizeof settings / sizeof *settings,
                             .ours = run_ours, .peer = run_peer, .agrees = product ? products_agree : gradients_agree,
                             .context = &what, .outlasts = true, .program = bench_script("peer_unet.py", program)};
    json_t *ours = NULL, *result = NULL;
    if (options->vs_torch) {
        result = bench_contest_hold(&contest, &ours, error);
    } else {
        unet_case c = {.options = options, .work = what, .rounds = options->repeat};
        bench_child child = bench_fork(work, &c);
        if (child.answer) result = bench_alone(&child);
        else ht_fail(error, HT_EINTERNAL, "%s: %s", names[what], child.problem);
        ours = child.answer;
    }
    static const char *const same[] = {"loss", "norm", "flop", "kernels", "arena_bytes"};
    for (size_t i = 0; result && i < sizeof same / sizeof same[0]; i++)
        json_object_set(result, same[i], json_object_get(ours, same[i]));
    json_decref(ours);
    return result;
}

json_t *bench_unet(const bench_options *options, const json_t *machine, ht_error *error)
{
    const genseg_config *o = &options->config;
    json_t *all = json_object();
    for (int32_t k = 0; k < WORKS && error->status == HT_OK; k++) {
        json_t *one = measure(options, (unet_work)k, error);
        if (one) json_object_set_new(all, names[k], one);
    }
    const json_t *gradient = json_object_get(all, names[GRADIENT]);
    double ours = bench_number(gradient, "ours_seconds"), peer = bench_number(gradient, "peer_seconds");
    for (int32_t k = 0; k < WORKS && error->status == HT_OK; k++) {
        json_t *one = json_object_get(all, names[k]);
        double rate = bench_number(one, "flop") / bench_number(one, "ours_seconds");
        json_object_set_new(one, "flop_per_second", bench_real(rate));
        json_object_set_new(one, "fraction_of_peak", bench_real(rate / bench_number(machine, "fma_flop_per_second")));
        json_object_set_new(one, "ours_to_gradient", bench_real(bench_number(one, "ours_seconds") / ours));
        json_object_set_new(one, "peer_to_gradient", bench_real(bench_number(one, "peer_seconds") / peer));
    }
    json_t *result = json_pack("{s:s, s:o, s:O, s:{s:i, s:i, s:i, s:i, s:s, s:i}}", "model", "unet", "works", all, "machine",
                               (json_t *)machine, "options", "size", o->size, "batch", o->batch, "width", o->unet_width, "depth",
                               o->unet_depth, "device", o->device, "threads", o->threads);
    if (error->status == HT_OK) return result;
    json_decref(result);
    return NULL;
}
