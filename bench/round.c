/*
 * One round as the peer runs it: the same losses, step sizes and optimisers, dropout by factors given from outside, from the
 * peer's file or from numbers of our own. The levels are those of ht-conform; phases come from the program's own profile.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ht/random.h>

#include "bench.h"
#include "genseg/round.h"
#include "tools/conform/levels.h"

/* The peer's rates; its look-ahead steps have those of the optimisers. */
static const double rate = 1e-5, architecture_rate = 1e-4;

/* A round while it is set up and run. */
typedef struct bench_case {
    const bench_options *options;
    const char *file;
    int32_t rounds;
    ht_error *error;
    ht_device *device;
    genseg_state state;
    ht_store *given;          /* batch and factors */
    conform_levels levels;
    ht_var factors[2][GENSEG_LEVELS_MAX];
    ht_vars hypergradient;
    ht_var losses[5];
    ht_program *program;
    double record_seconds, compile_seconds;
} bench_case;

static const char *const loss_names[] = {"gan", "disc", "fake", "real", "val"};
static const char *const uses[] = {"gan", "seg"};

/* ---- what the round starts from ---- */

/* The inputs by name, their shapes, and what stands in for them without a file. */
static void add_given(bench_case *c, const char *name, ht_shape shape, int binary, double scale)
{
    if (ht_store_add(c->given, name, HT_F32, shape, HT_BUFFER, c->error) < 0) return;
    float *numbers = ht_store_data(c->given, ht_store_find(c->given, name));
    uint64_t key = ht_random_key(1, name);
    int64_t count = ht_shape_count(shape), side = shape.dim[3];
    for (int64_t i = 0; i < count; i++) {
        double u = ht_random_unit(ht_random_word(key, 0, (uint64_t)i));
        /* masks are blocks: noise has no inside for a segmenter to learn */
        if (binary == 2) u = ht_random_unit(ht_random_word(key, 1, (uint64_t)(i / side / 8 * side + i % side / 8)));
        numbers[i] = (float)(scale * (binary ? (double)(u >= 0.5) : u));
    }
}

static void make_given(bench_case *c)
{
    const genseg_config *o = &c->options->config;
    ht_shape mask = HT_SHAPE(o->batch, 1, o->size, o->size), image = HT_SHAPE(o->batch, BENCH_CHANNELS, o->size, o->size);
    add_given(c, "batch.mask", mask, 2, 1);
    add_given(c, "batch.image", image, 0, 1);
    add_given(c, "batch.augmented", mask, 2, 1);
    add_given(c, "val.mask", mask, 2, 1);
    add_given(c, "val.image", image, 0, 1);
    for (int32_t use = 0; use < 2; use++) {
        for (int32_t i = 4; i < o->generator_levels - 1; i++) {
            char name[32];
            snprintf(name, sizeof name, "dropout.%s.%d", uses[use], (int)i);
            int64_t channels = (int64_t)o->generator_width * 8;
            add_given(c, name, HT_SHAPE(o->batch, channels, o->size >> i, o->size >> i), 1, 2);
        }
    }
}

/* Copies a tensor of the file to where it belongs; each must have a place. */
static void place(bench_case *c, const ht_store *file, int32_t index, int32_t *weights)
{
    static const char letters[] = "GHSA";
    const char *name = ht_store_name(file, index), *letter = name[1] == '.' ? strchr(letters, name[0]) : NULL;
    ht_store *to = letter ? c->state.store[letter - letters] : c->given;
    *weights += letter != NULL;
    ht_store_set(to, letter ? name + 2 : name, ht_store_data(file, index), ht_shape_count(ht_store_shape(file, index)),
                 c->error);
}

static void take_file(bench_case *c)
{
    int32_t weights = 0, wanted = 0, given = ht_store_count(c->given);
    ht_store *file = ht_store_new(c->device);
    if (!file || ht_store_load(file, c->file, c->error) != HT_OK) {
        ht_fail(c->error, HT_ENOMEM, "no memory for the weights of %.300s", c->file);
        (void)ht_store_free(file);
        return;
    }
    for (int32_t i = 0; i < ht_store_count(file); i++) place(c, file, i, &weights);
    for (int32_t k = 0; k < CONFORM_LEVELS; k++)
        for (int32_t i = 0; i < ht_store_count(c->state.store[k]); i++)
            wanted += ht_store_role(c->state.store[k], i) == HT_PARAMETER;
    if (weights != wanted || ht_store_count(file) - weights != given)
        ht_fail(c->error, HT_EFORMAT, "%.300s: %d weights and %d other tensors; expected %d and %d", c->file, (int)weights,
                (int)(ht_store_count(file) - weights), (int)wanted, (int)given);
    (void)ht_store_free(file);
}

/* ---- recording ---- */

static ht_vars step_adam(ht_vars weights, ht_vars gradients, void *moments)
{
    return nn_adam(moments, weights, gradients, .rate = rate, .beta1 = 0.5, .beta2 = 0.999);
}

static ht_vars step_rmsprop(ht_vars weights, ht_vars gradients, void *moments)
{
    return nn_rmsprop(moments, weights, gradients, .rate = rate, .momentum = 0.9);
}

static ht_var input(const bench_case *c, const char *name)
{
    int32_t index = ht_store_find(c->given, name);
    return index < 0 ? (ht_var){0} : ht_input(c->levels.tape, name, ht_store_shape(c->given, index));
}

static void record_inputs(bench_case *c)
{
    conform_levels *l = &c->levels;
    l->mask = input(c, "batch.mask");
    l->image = input(c, "batch.image");
    l->augmented = input(c, "batch.augmented");
    l->val_mask = input(c, "val.mask");
    l->val_image = input(c, "val.image");
    for (int32_t use = 0; use < 2; use++) {
        for (int32_t i = 0; i < GENSEG_LEVELS_MAX; i++) {
            char name[32];
            snprintf(name, sizeof name, "dropout.%s.%d", uses[use], (int)i);
            c->factors[use][i] = input(c, ht_tape_text(l->tape, name));
        }
    }
}

static ht_vars record(bench_case *c)
{
    const genseg_config *o = &c->options->config;
    conform_levels *l = &c->levels;
    genseg_state *s = &c->state;
    for (int32_t i = 0; i < CONFORM_LEVELS; i++) l->store[i] = s->store[i];
    l->step[CONFORM_LEVEL_G] = (conform_step){step_adam, s->store[GENSEG_G_MOMENTS], rate};
    l->step[CONFORM_LEVEL_H] = (conform_step){step_adam, s->store[GENSEG_H_MOMENTS], rate};
    l->step[CONFORM_LEVEL_S] = (conform_step){step_rmsprop, s->store[GENSEG_S_MOMENTS], rate};
    l->gan = l->seg = genseg_networks_of(o, BENCH_CHANNELS);
    l->gan.segmentation = l->seg.segmentation = GENSEG_SEG_CE_DICE;
    l->gan.generator.factors = c->factors[0];
    l->seg.generator.factors = c->factors[1];
    l->gamma = 1;
    record_inputs(c);
    mlo_round round = conform_levels_record(l, genseg_method_of(o), MLO_SGD);
    ht_vars outputs = ht_list(round.loss[0], round.loss[1], l->on_generated, l->on_real);
    for (int32_t i = 0; i < outputs.count; i++) c->losses[i] = outputs.at[i];
    if (ht_tape_error(l->tape)->status != HT_OK) return outputs;
    for (int32_t i = 0; i < CONFORM_LEVEL_A; i++) ht_write(s->store[i], round.next[i]);
    if (o->hypergradient == GENSEG_H_NONE) return outputs;
    c->losses[4] = round.loss[3];
    c->hypergradient = o->hypergradient == GENSEG_H_TOTAL ? round.total : round.path;
    nn_scope A = nn_open(l->tape, s->store[GENSEG_A], .name = "A");
    ht_write(s->store[GENSEG_A], nn_adam(s->store[GENSEG_A_MOMENTS], nn_params(A), c->hypergradient,
                                         .rate = architecture_rate, .beta1 = 0.5, .beta2 = 0.999));
    return ht_vars_join(ht_vars_join(outputs, ht_list(c->losses[4])), c->hypergradient);
}

static void prepare(bench_case *c)
{
    const genseg_config *o = &c->options->config;
    genseg_networks nets = genseg_networks_of(o, BENCH_CHANNELS);
    c->device = ht_device_open(o->device, o->threads, c->error);
    if (!c->device || genseg_state_new(&c->state, o, &nets, c->device, c->error) != HT_OK) return;
    c->given = ht_store_new(c->device);
    c->levels.tape = ht_tape_new(HT_F32);
    if (!c->given || !c->levels.tape) ht_fail(c->error, HT_ENOMEM, "no memory for a tape and its inputs");
    if (c->error->status == HT_OK) make_given(c);
    if (c->error->status == HT_OK && c->file) take_file(c);
    if (c->error->status != HT_OK) return;
    ht_tape *first = c->levels.tape; /* recorded once before: the first recording of a name makes its tensor, as large as it is */
    (void)record(c);
    c->levels = (conform_levels){.tape = ht_tape_new(HT_F32)};
    ht_tape_free(first);
    if (!c->levels.tape) ht_fail(c->error, HT_ENOMEM, "no memory for a tape");
    if (c->error->status != HT_OK) return;
    double start = bench_now();
    ht_vars outputs = record(c);
    c->record_seconds = bench_now() - start;
    start = bench_now();
    c->program = ht_compile(c->levels.tape, c->device, outputs, .error = c->error, .profile = 1,
                            .convolution = (ht_convolution)c->options->config.convolution,
                            .precision = (ht_precision)c->options->config.precision,
                            .memory_limit = (size_t)c->options->config.memory_limit);
    c->compile_seconds = bench_now() - start;
    for (int32_t i = 0; c->program && i < ht_store_count(c->given); i++)
        if (ht_has_input(c->program, ht_store_name(c->given, i)))
            ht_set_named(c->program, ht_store_name(c->given, i), ht_store_data(c->given, i),
                         ht_shape_count(ht_store_shape(c->given, i)));
}

/* ---- what is said of it ---- */

/* A phase: the level whose loss a step belongs to, before or after the validation loss began; "update" for no level. */
static const char *phase_of(const bench_step *step, bool *validated)
{
    static const char *const before[] = {"G step", "H step", "S step", "validation"};
    static const char *const after[] = {"hypergradient, G", "hypergradient, H", "hypergradient, S", "validation"};
    static const char letters[] = "GHSA";
    const char *letter = step->scope[0] && (step->scope[1] == 0 || step->scope[1] == '/') ? strchr(letters, step->scope[0])
                                                                                          : NULL;
    if (!letter) return "update and others";
    *validated = *validated || *letter == 'A';
    return (*validated ? after : before)[letter - letters];
}

/* Seconds, bytes, operations and steps, added up by phase, or by what a step does. */
static json_t *shares(const bench_case *c, bool by_phase)
{
    json_t *all = json_object();
    bool validated = false;
    for (int32_t i = 0; i < bench_steps(c->program); i++) {
        bench_step step = bench_step_at(c->program, i);
        const char *name = by_phase ? phase_of(&step, &validated) : step.name;
        json_t *phase = json_object_get(all, name);
        double seconds = step.seconds / c->rounds, gigabytes = step.bytes * 1e-9, flop = step.flop;
        json_int_t kernels = 1;
        if (phase) {
            seconds += bench_number(phase, "seconds");
            gigabytes += bench_number(phase, "gigabytes");
            flop += bench_number(phase, "flop");
            kernels += json_integer_value(json_object_get(phase, "kernels"));
        }
        json_object_set_new(all, name, json_pack("{s:f, s:f, s:f, s:I}", "seconds", seconds, "gigabytes", gigabytes, "flop",
                                                 flop, "kernels", kernels));
    }
    return all;
}

/* Losses and hypergradient of the first round, in the peer's form. */
static void tell_values(const bench_case *c, json_t *answer)
{
    json_t *losses = json_object(), *h = json_object();
    for (int32_t i = 0; i < 5; i++) {
        float value = NAN;
        if (ht_ok(c->losses[i]) && ht_get(c->program, c->losses[i], &value, 1) == HT_OK)
            json_object_set_new(losses, loss_names[i], bench_real((double)value));
    }
    for (int32_t i = 0; i < c->hypergradient.count; i++) {
        float numbers[GENSEG_LEVELS_MAX * GENSEG_CANDIDATES];
        int64_t count = ht_shape_count(ht_var_shape(c->hypergradient.at[i]));
        if (ht_get(c->program, c->hypergradient.at[i], numbers, count) != HT_OK) continue;
        json_t *list = json_array();
        for (int64_t k = 0; k < count; k++) json_array_append_new(list, bench_real((double)numbers[k]));
        json_object_set_new(h, c->hypergradient.names[i], list);
    }
    json_object_set_new(answer, "losses", losses);
    json_object_set_new(answer, "hypergradient", c->hypergradient.count ? h : json_null());
    if (!c->hypergradient.count) json_decref(h);
}

static void write_profile(const bench_case *c, ht_profile_form form, const char *path)
{
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!path) return;
    if (!file) {
        ht_fail(c->error, HT_EIO, "%.300s: %s; expected a file that can be written", path, strerror(errno));
        return;
    }
    ht_profile(c->program, form, file, c->error);
    fclose(file);
}

static void run(bench_case *c, json_t *answer)
{
    double *seconds = calloc((size_t)c->rounds, sizeof *seconds), start = bench_now();
    if (!seconds || ht_run(c->program) != HT_OK) goto end;
    json_object_set_new(answer, "first_seconds", json_real(bench_now() - start));
    tell_values(c, answer);
    bench_steps_clear(c->program);
    json_t *all = json_array();
    for (int32_t i = 0; i < c->rounds && ht_program_error(c->program)->status == HT_OK; i++) {
        start = bench_now();
        (void)ht_run(c->program);
        seconds[i] = bench_now() - start;
        json_array_append_new(all, json_real(seconds[i]));
    }
    json_object_set_new(answer, "seconds", bench_real(bench_median(seconds, c->rounds)));
    json_object_set_new(answer, "seconds_all", all);
    json_object_set_new(answer, "phases", shares(c, true));
    json_object_set_new(answer, "kinds", shares(c, false));
    ht_program_facts facts = ht_program_describe(c->program);
    json_object_set_new(answer, "record_seconds", json_real(c->record_seconds));
    json_object_set_new(answer, "plan_seconds", json_real(c->compile_seconds - facts.prepare_seconds));
    json_object_set_new(answer, "primitives_seconds", json_real(facts.prepare_seconds));
    json_object_set_new(answer, "value_bytes", json_integer((json_int_t)facts.value_bytes));
    json_object_set_new(answer, "flop", json_real(facts.flop));
    json_object_set_new(answer, "kernels", json_integer(facts.instructions));
    json_object_set_new(answer, "arena_bytes", json_integer((json_int_t)facts.arena_bytes));
    if (c->options->alone && c->error->status == HT_OK)
        json_object_set_new(answer, "alone", bench_steps_alone(c->program, c->device, &c->options->config, c->error));
    write_profile(c, HT_PROFILE_TRACE, c->options->trace);
    write_profile(c, HT_PROFILE_FLAME, c->options->flame);
    json_object_set_new(answer, "recomputed", json_integer(facts.recomputed));
    json_object_set_new(answer, "recomputed_flop", json_real(facts.recomputed_flop));
end:
    if (!seconds) ht_fail(c->error, HT_ENOMEM, "no memory for the times of %d rounds", (int)c->rounds);
    const ht_error *finding = ht_program_error(c->program);
    if (finding->status != HT_OK) ht_fail(c->error, finding->status, "%s", finding->message);
    free(seconds);
}

static json_t *work(void *context, ht_error *error)
{
    bench_case *c = context;
    json_t *answer = json_object();
    c->error = error;
    prepare(c);
    if (c->program) run(c, answer);
    ht_program_free(c->program);
    ht_tape_free(c->levels.tape);
    (void)ht_store_free(c->given);
    genseg_state_free(&c->state);
    ht_device_close(c->device);
    if (error->status == HT_OK) return answer;
    json_decref(answer);
    return NULL;
}

bench_child bench_round(const bench_options *options, const char *state, int32_t rounds)
{
    bench_case c = {.options = options, .file = state, .rounds = rounds};
    return bench_fork(work, &c);
}
