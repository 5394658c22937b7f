/* The command line of the benchmarks: a preset first, then single settings, whatever their order. */
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "genseg/options.h"

typedef struct option {
    const char *name, *value, *key; /* key: of the configuration; NULL: looked at below */
    const char *help;
} option;

static const option table[] = {
    {"--preset", "P", NULL, "paper (256 pixels, width 64), small (128, 16), tiny (16, 4); default paper"},
    {"--model", "M", NULL, "genseg: its rounds; unet: step, gradient and Hessian products of the U-Net; default genseg"},
    {"--only", "TEXT", NULL, "only the cases whose name has the text"},
    {"--size", "N", "data.size", "pixels of the square images; default: the preset's"},
    {"--batch", "N", "data.batch", "pairs in a batch; default 2"},
    {"--width", "N", NULL, "channels of the first layer of each network; default: the preset's"},
    {"--hypergradient", "H", "mlo.hypergradient", "none, finite-difference, eq9 or total; default eq9"},
    {"--search", "S", "model.search", "cells that are searched: encoder, decoder or both; default both"},
    {"--convolution", "C", "convolution", "auto or direct; default auto"},
    {"--precision", "P", "precision", "f32, or bf16 for the operands of convolutions and products; default f32"},
    {"--memory-limit", "BYTES", "memory_limit", "most for what our round computes, as 500M or 2G; default: no limit"},
    {"--repeat", "N", NULL, "measurements, of which the median counts; default 3"},
    {"--device", "D", "device", "where to compute; default auto"},
    {"--threads", "N", "threads", "of the CPU, ours and the peer's; default all"},
    {"--vs-torch", "=PYTHON", NULL, "beside PyTorch, in turns; default python3"},
    {"--peer", "FILE", NULL, "the peer's program; default ../shared/peers/torch_genseg.py, of ops bench/peer_ops.py"},
    {"--peer-limit", "SECONDS", NULL, "that one process of the peer may take; default 900"},
    {"--states", "N", NULL, "starts to try until the peer's result is ours; default 8"},
    {"--load-state", "FILE", NULL, "without the peer: start from a file of its --save-state"},
    {"--trace", "FILE", NULL, "where our steps' times go, for chrome://tracing and Perfetto"},
    {"--flame", "FILE", NULL, "the same as a flame graph, SVG"},
    {"--alone", NULL, NULL, "without the peer: each convolution and product of the round also alone; what share of it that is"},
    {"--convolution-error", NULL, NULL, "errors of convolutions against f64 instead of times"},
    {"--json", NULL, NULL, "one JSON object on one line"},
    {"--help", NULL, NULL, "this text"},
};
enum { OPTIONS = sizeof table / sizeof table[0] };

int32_t bench_processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

const char *bench_script(const char *name, char path[BENCH_PATH])
{
    snprintf(path, BENCH_PATH, "%s/bench/%s", BENCH_SOURCE_ROOT, name);
    return path;
}

static bool left_out(const char *name, const char *without)
{
    size_t length = strlen(name);
    for (const char *at = strstr(without, name); at; at = strstr(at + 1, name))
        if (at[length] == 0 || at[length] == ' ') return true;
    return false;
}

void bench_options_help(const char *about, const char *without)
{
    printf("%s\n", about);
    for (int32_t i = 0; i < OPTIONS; i++) {
        const option *o = &table[i];
        bool tight = o->value && o->value[0] == '=';
        char name[40];
        snprintf(name, sizeof name, "%s%s%s%s", o->name, tight ? "[" : o->value ? " " : "", o->value ? o->value : "",
                 tight ? "]" : "");
        if (!left_out(o->name, without)) printf("  %-24s%s\n", name, o->help);
    }
}

/* Networks of a preset; tiny is the peer's. */
static ht_status take_preset(genseg_config *config, const char *name, ht_error *error)
{
    bool tiny = strcmp(name, "tiny") == 0;
    if (!tiny && strcmp(name, "small") != 0 && strcmp(name, "paper") != 0)
        return ht_fail(error, HT_EINVALID, "--preset: '%.40s' is no preset; expected paper, small or tiny", name);
    ht_status status = genseg_config_preset(config, tiny ? "small" : name, error);
    config->batch = 2;
    if (!tiny || status != HT_OK) return status;
    config->size = 16;
    config->generator_width = config->discriminator_width = config->unet_width = 4;
    config->unet_depth = 2;
    config->discriminator_layers = 1;
    return status;
}

static ht_status number_of(const char *name, const char *text, double least, double *value, ht_error *error)
{
    char *end = NULL;
    *value = strtod(text, &end);
    if (end != text && *end == 0 && isfinite(*value) && *value >= least && *value <= 1e9) return HT_OK;
    return ht_fail(error, HT_EINVALID, "%s: '%.40s' is no number from %g to 1e9; expected one", name, text, least);
}

static ht_status take(const option *o, const char *value, bench_options *options, ht_error *error)
{
    double number = 0;
    ht_status status = HT_OK;
    if (o->key) return genseg_field_set_text(genseg_field_find(o->key), &options->config, value, o->name, error);
    if (strcmp(o->name, "--repeat") == 0) {
        status = number_of(o->name, value, 1, &number, error);
        options->repeat = status == HT_OK ? (int32_t)fmin(number, 1000) : 1;
    } else if (strcmp(o->name, "--states") == 0) {
        status = number_of(o->name, value, 1, &number, error);
        options->states = status == HT_OK ? (int32_t)fmin(number, 1000) : 1;
    } else if (strcmp(o->name, "--width") == 0) {
        status = number_of(o->name, value, 1, &number, error);
        int32_t width = status == HT_OK ? (int32_t)fmin(number, 1024) : 1;
        options->config.generator_width = options->config.discriminator_width = options->config.unet_width = width;
    } else if (strcmp(o->name, "--model") == 0) {
        options->unet = strcmp(value, "unet") == 0;
        if (!options->unet && strcmp(value, "genseg") != 0)
            return ht_fail(error, HT_EINVALID, "--model: '%.40s' is no model; expected genseg or unet", value);
    } else if (strcmp(o->name, "--only") == 0) {
        options->only = value;
    } else if (strcmp(o->name, "--peer-limit") == 0) {
        status = number_of(o->name, value, 1, &options->peer_limit, error);
    } else if (strcmp(o->name, "--vs-torch") == 0) {
        options->vs_torch = true;
        if (value) options->python = value;
    } else if (strcmp(o->name, "--peer") == 0) {
        snprintf(options->peer, sizeof options->peer, "%s", value);
    } else if (strcmp(o->name, "--load-state") == 0) {
        options->state = value;
    } else if (strcmp(o->name, "--trace") == 0) {
        options->trace = value;
    } else if (strcmp(o->name, "--flame") == 0) {
        options->flame = value;
    } else if (strcmp(o->name, "--alone") == 0) {
        options->alone = true;
    } else if (strcmp(o->name, "--convolution-error") == 0) {
        options->convolution_error = true;
    } else if (strcmp(o->name, "--json") == 0) {
        options->json = true;
    } else if (strcmp(o->name, "--help") == 0) {
        options->help = true;
    }
    return status;
}

/* Walks the words once: the preset alone, or all the others. */
static ht_status walk(int count, char **words, const char *without, bool presets, bench_options *options, ht_error *error)
{
    for (int i = 1; i < count; i++) {
        size_t length = strcspn(words[i], "=");
        const char *value = words[i][length] ? words[i] + length + 1 : NULL;
        const option *o = NULL;
        for (int32_t k = 0; k < OPTIONS && !o; k++)
            if (strlen(table[k].name) == length && strncmp(table[k].name, words[i], length) == 0) o = &table[k];
        if (!o || left_out(o->name, without))
            return ht_fail(error, HT_EINVALID, "%.40s: unknown option; expected one that --help lists", words[i]);
        bool optional = o->value && o->value[0] == '=';
        if (!o->value && value)
            return ht_fail(error, HT_EINVALID, "%s: has the value %.40s; expected none", o->name, value);
        if (o->value && !optional && !value && i + 1 < count) value = words[++i];
        if (o->value && !optional && !value) return ht_fail(error, HT_EINVALID, "%s: no value; expected one", o->name);
        bool preset = strcmp(o->name, "--preset") == 0;
        if (preset != presets) continue;
        ht_status status = preset ? take_preset(&options->config, value, error) : take(o, value, options, error);
        if (status != HT_OK) return status;
    }
    return HT_OK;
}

ht_status bench_options_read(int count, char **words, const char *without, const char *peer, bench_options *options,
                             ht_error *error)
{
    *options = (bench_options){.repeat = 3, .states = 8, .python = "python3", .peer_limit = 900};
    ht_status status = take_preset(&options->config, "paper", error);
    if (status == HT_OK) status = walk(count, words, without, true, options, error);
    if (status == HT_OK) status = walk(count, words, without, false, options, error);
    if (status != HT_OK || options->help) return status;
    genseg_config *config = &options->config;
    /* as many halvings as the size allows, at most the paper's: the peer counts alike */
    config->generator_levels = 0;
    while (config->generator_levels < 8 && config->size % (2 << config->generator_levels) == 0) config->generator_levels++;
    if (config->generator_levels < 2)
        return ht_fail(error, HT_EINVALID, "--size: %d pixels cannot be halved twice; expected a multiple of 4, such as 256",
                       (int)config->size);
    if (config->threads == 0) config->threads = bench_processors();
    if (strcmp(config->device, "auto") == 0) snprintf(config->device, sizeof config->device, "cpu");
    if (!options->peer[0]) {
        snprintf(options->peer, sizeof options->peer, "%s", peer);
        if (access(options->peer, R_OK) != 0) snprintf(options->peer, sizeof options->peer, "%s/%s", BENCH_SOURCE_ROOT, peer);
    }
    if (options->vs_torch && options->alone)
        return ht_fail(error, HT_EINVALID, "--alone: beside --vs-torch; expected one of them, since each turn would measure it");
    if (options->vs_torch && access(options->peer, R_OK) != 0)
        return ht_fail(error, HT_EINVALID, "--peer: %.300s cannot be read; expected the peer's program", options->peer);
    if (options->vs_torch && config->search == GENSEG_SEARCH_ENCODER)
        return ht_fail(error, HT_EINVALID, "--search encoder: the peer has none such; expected decoder or both");
    return genseg_config_check(config, error);
}
