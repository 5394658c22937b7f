/*
 * The configuration: presets, the way through a file and back, every key with every wrong value, the nearest key,
 * checks over several fields, differences. The TOML reader itself: test_toml.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ht/random.h>

#include "config.h"
#include "options.h"
#include "tap.h"

static char folder[] = "/tmp/genseg-config-XXXXXX";
static char path[64];

static void write_text(const char *text)
{
    FILE *file = fopen(path, "wb");
    if (!file) exit(1);
    fputs(text, file);
    fclose(file);
}

/* Reads a text as file over the preset small. */
static ht_status read_text(const char *text, genseg_config *config, ht_error *error)
{
    *error = (ht_error){0};
    genseg_config_preset(config, "small", NULL);
    write_text(text);
    return genseg_config_file(config, path, error);
}

static int same(const genseg_config *a, const genseg_config *b)
{
    char text[512];
    return !genseg_config_difference(a, b, text, sizeof text);
}

static void test_presets(void)
{
    genseg_config small, paper, other;
    ht_error error = {0};
    tap_ok(!genseg_config_preset(&small, "small", &error) && !genseg_config_check(&small, &error), "small: %s",
           error.message);
    tap_ok(!genseg_config_preset(&paper, "paper", &error) && !genseg_config_check(&paper, &error), "paper: %s",
           error.message);
    tap_ok(paper.size == 256 && paper.rounds == 5000 && paper.generator_levels == 8 && paper.pretrain_steps == 4000 &&
               paper.s_rate == 1e-5 && paper.s_momentum == 0.9 && paper.s_decay == 1e-3 && paper.g_rate == 1e-5 &&
               paper.h_decay == 1e-3 && paper.a_rate == 1e-4 && paper.a_decay == 1e-5 && paper.gamma == 1 &&
               paper.segmentation == GENSEG_SEG_CE && paper.l1 == 100 && paper.s_plateau_patience == 2,
           "paper has the paper's values");
    tap_ok(small.size == 128 && small.rounds == 300 && small.generator_levels == 7 && small.s_rate == 1e-3 &&
               small.a_rate == 1e-2 && small.g_decay == 0 && small.search == GENSEG_SEARCH_BOTH &&
               small.hypergradient == GENSEG_H_EQ9 && small.validate_every == 25,
           "small has the issue's values");
    tap_ok(genseg_config_preset(&other, "papr", &error) == HT_EINVALID && strstr(error.message, "paper"),
           "an unknown preset names the nearest: %s", error.message);
}

/* A value that the field takes, other from draw to draw. */
static void random_value(const genseg_field *field, uint64_t draw, uint64_t k, char *text, size_t bytes)
{
    double unit = ht_random_unit(ht_random_word(5, draw, 2 * k));
    uint32_t word = ht_random_word(5, draw, 2 * k + 1);
    char name[64];
    int32_t names = 0;
    while (field->names && genseg_name_at(field->names, names, name, sizeof name)) names++;
    switch (field->kind) {
    case GENSEG_FIELD_INTEGER:
        snprintf(text, bytes, "%.0f", field->low + (double)(int64_t)(unit * (field->high - field->low)));
        return;
    case GENSEG_FIELD_BYTES:
        snprintf(text, bytes, word & 1 ? "%u" : "%uM", word % 100000);
        return;
    case GENSEG_FIELD_REAL:
        snprintf(text, bytes, "%.17e", field->low + unit * (field->high - field->low));
        return;
    case GENSEG_FIELD_CHOICE:
    case GENSEG_FIELD_NAME:
        genseg_name_at(field->names, (int32_t)(word % (uint32_t)names), text, bytes);
        return;
    case GENSEG_FIELD_DEVICE:
        snprintf(text, bytes, "%s", word & 1 ? "cpu" : "auto");
        return;
    case GENSEG_FIELD_AUGMENT:
        snprintf(text, bytes, "%s", word % 3 == 0 ? "none" : word % 3 == 1 ? "translate,flip" : "rotate");
        return;
    case GENSEG_FIELD_ROUNDS:
        snprintf(text, bytes, "%s", word & 1 ? "" : "1,100,300");
        return;
    }
}

static void test_round_trip(void)
{
    int broken = 0, refused = 0;
    for (uint64_t draw = 0; draw < 200; draw++) {
        genseg_config config, back;
        ht_error error = {0};
        genseg_config_preset(&config, draw & 1 ? "small" : "paper", NULL);
        genseg_config_preset(&back, draw & 1 ? "paper" : "small", NULL);
        for (int32_t k = 0; draw > 1 && k < genseg_config_fields(); k++) {
            char value[64];
            random_value(genseg_field_at(k), draw, (uint64_t)k, value, sizeof value);
            if (genseg_config_set(&config, genseg_config_key(k), value, &error)) refused++;
        }
        if (genseg_config_write(&config, path, &error) || genseg_config_file(&back, path, &error) ||
            !same(&config, &back) || memcmp(config.certify, back.certify, sizeof config.certify))
            broken++;
        if (broken || refused) {
            tap_ok(0, "draw %llu: %s", (unsigned long long)draw, error.message);
            return;
        }
    }
    tap_ok(1, "200 configurations come back from their files");
}

/* "[a.b]\nkey = VALUE\n" for a dotted key. */
static void one_key(const char *key, const char *value, char *text, size_t bytes)
{
    const char *dot = strrchr(key, '.');
    if (dot)
        snprintf(text, bytes, "[%.*s]\n%s = %s\n", (int)(dot - key), key, dot + 1, value);
    else
        snprintf(text, bytes, "%s = %s\n", key, value);
}

static void refuse_in_file(const genseg_field *field, const char *value, int *checked, int *wrong)
{
    genseg_config config, small;
    ht_error error;
    char text[512], expected[32];
    const char *dot = strrchr(field->key, '.');
    genseg_config_preset(&small, "small", NULL);
    one_key(field->key, value, text, sizeof text);
    ht_status status = read_text(text, &config, &error);
    snprintf(expected, sizeof expected, "toml:%d:%d: ", dot ? 2 : 1, (int)strlen(dot ? dot + 1 : field->key) + 4);
    *checked += 1;
    if (status == HT_EINVALID && strstr(error.message, expected) && strstr(error.message, field->key) &&
        strstr(error.message, "; expected ") && same(&config, &small))
        return;
    *wrong += 1;
    tap_ok(0, "%s = %s: %s", field->key, value, status ? error.message : "taken");
}

static void test_wrong_values(void)
{
    int checked = 0, wrong = 0;
    for (int32_t k = 0; k < genseg_config_fields(); k++) {
        const genseg_field *field = genseg_field_at(k);
        bool whole = field->kind == GENSEG_FIELD_INTEGER || field->kind == GENSEG_FIELD_BYTES;
        bool number = whole || field->kind == GENSEG_FIELD_REAL;
        char value[64], text[GENSEG_NUMBER_TEXT];
        static const char *const never[] = {"true", "nan", "'no such word'", "['x']", "-1", "'1'", "''"};
        for (size_t n = 0; n < sizeof never / sizeof *never; n++) refuse_in_file(field, never[n], &checked, &wrong);
        if (!number) {
            refuse_in_file(field, "1", &checked, &wrong);
            refuse_in_file(field, field->kind == GENSEG_FIELD_ROUNDS ? "[1, 1]" : "[]", &checked, &wrong);
            refuse_in_file(field, field->kind == GENSEG_FIELD_ROUNDS ? "[0]" : "0.5", &checked, &wrong);
            continue;
        }
        refuse_in_file(field, "inf", &checked, &wrong);
        refuse_in_file(field, "-inf", &checked, &wrong);
        refuse_in_file(field, "[1]", &checked, &wrong);
        refuse_in_file(field, whole ? "0.5" : "-1e-300", &checked, &wrong);
        refuse_in_file(field, "9223372036854775807", &checked, &wrong);
        snprintf(value, sizeof value, "%.0f", field->low - 1);
        refuse_in_file(field, value, &checked, &wrong);
        snprintf(value, sizeof value, "%.0f", field->high + 1);
        refuse_in_file(field, value, &checked, &wrong);
        if (field->open & 1) refuse_in_file(field, genseg_number_text(field->low, text), &checked, &wrong);
        if (field->open & 2) refuse_in_file(field, genseg_number_text(field->high, text), &checked, &wrong);
    }
    tap_ok(!wrong, "%d wrong values are refused at their place, by key, with what was expected", checked);
}

static void test_limits(void)
{
    int wrong = 0;
    for (int32_t k = 0; k < genseg_config_fields(); k++) {
        const genseg_field *field = genseg_field_at(k);
        genseg_config config;
        ht_error error;
        char text[512], value[GENSEG_TEXT], number[32];
        if (field->kind != GENSEG_FIELD_INTEGER && field->kind != GENSEG_FIELD_BYTES && field->kind != GENSEG_FIELD_REAL)
            continue;
        for (int side = 1; side <= 2; side++) {
            if (field->open & side) continue;
            snprintf(number, sizeof number, "%.0f", side == 1 ? field->low : field->high);
            one_key(field->key, number, text, sizeof text);
            if (read_text(text, &config, &error) ||
                strtod(genseg_config_value(&config, k, value, sizeof value), NULL) != strtod(number, NULL)) {
                wrong++;
                tap_ok(0, "%s = %s: %s", field->key, number, error.message);
            }
        }
    }
    tap_ok(!wrong, "every closed end of a range is taken, integers where real numbers are meant too");
}

static void test_unknown(void)
{
    genseg_config config;
    ht_error error;
    int missed = 0;
    /* each key, misspelt by a swap of two letters, a lost letter, and a doubled one */
    for (int32_t k = 0; k < genseg_config_fields(); k++) {
        const char *key = genseg_config_key(k), *dot = strrchr(key, '.');
        for (int kind = 0; kind < 3; kind++) {
            char misspelt[128], expected[256], text[256];
            size_t at = (dot ? (size_t)(dot - key) + 1 : 0) + 1, length = strlen(key);
            snprintf(misspelt, sizeof misspelt, "%s", key);
            if (kind == 0) {
                misspelt[at] = key[at + 1];
                misspelt[at + 1] = key[at];
            } else if (kind == 1) {
                memmove(misspelt + at, key + at + 1, length - at);
            } else {
                memmove(misspelt + at + 1, key + at, length - at + 1);
            }
            if (genseg_field_find(misspelt)) continue;
            one_key(misspelt, "1", text, sizeof text);
            snprintf(expected, sizeof expected, "unknown key %s; the nearest known one is %s;", misspelt, key);
            if (read_text(text, &config, &error) == HT_EINVALID && strstr(error.message, expected)) continue;
            missed++;
            tap_ok(0, "%s: %s", misspelt, error.message);
        }
    }
    tap_ok(!missed, "every misspelt key names the key that was meant");
    tap_ok(read_text("[optimiser.segmenter]\n", &config, &error) == HT_EINVALID && strstr(error.message, ":1:2: ") &&
               strstr(error.message, "[optimizer.segmenter]"),
           "an unknown table names the nearest: %s", error.message);
    tap_ok(read_text("rate = 1\n", &config, &error) == HT_EINVALID && strstr(error.message, ".rate"),
           "a key below the wrong table: %s", error.message);
    tap_ok(read_text("rounds = 5\nrounds = 6\n", &config, &error) == HT_EFORMAT && strstr(error.message, ":2:1: "),
           "a key twice: %s", error.message);
    error = (ht_error){0};
    tap_ok(genseg_config_set(&config, "modle.size", "1", &error) == HT_EINVALID && strstr(error.message, "nearest"),
           "set: %s", error.message);
    error = (ht_error){0};
    tap_ok(genseg_config_set(&config, "optimizer.segmenter.rate", "1e-4", &error) == HT_OK && config.s_rate == 1e-4,
           "set takes a number");
    tap_ok(genseg_config_set(&config, "method", "rotate", &error) == HT_EINVALID &&
               strstr(error.message, "not in this version"),
           "a method of a later version: %s", error.message);
    error = (ht_error){0};
    tap_ok(genseg_config_set(&config, "device", "cuda:0", &error) == HT_EINVALID &&
               strstr(error.message, "no CUDA device"),
           "cuda: %s", error.message);
}

static void test_together(void)
{
    static const struct {
        const char *key, *value, *words;
    } wrong[] = {{"data.size", "100", "data.size: "},
                 {"model.generator_levels", "8", "model.generator_levels = 8"},
                 {"model.unet_depth", "8", "model.unet_depth = 8"},
                 {"model.discriminator_layers", "6", "model.discriminator_layers: "},
                 {"mlo.certify", "1,301", "mlo.certify: round 301"}};
    genseg_config config, other;
    ht_error error = {0};
    char text[512];
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        error = (ht_error){0};
        genseg_config_preset(&config, "small", NULL);
        tap_ok(!genseg_config_set(&config, wrong[k].key, wrong[k].value, &error) &&
                   genseg_config_check(&config, &error) == HT_EINVALID && strstr(error.message, wrong[k].words),
               "check: %s", error.message);
    }
    error = (ht_error){0};
    genseg_config_preset(&config, "small", NULL);
    config.dropout = 1.5;
    tap_ok(genseg_config_check(&config, &error) == HT_EINVALID && strstr(error.message, "model.dropout"),
           "check looks at single fields again: %s", error.message);
    genseg_config_preset(&config, "small", NULL);
    other = config;
    tap_ok(!genseg_config_difference(&config, &other, text, sizeof text), "no difference of equal ones");
    other.a_beta2 = 0.9990000000000001;
    tap_ok(genseg_config_difference(&config, &other, text, sizeof text) == 1 &&
               !strcmp(text, "optimizer.architecture.beta2 is 0.999 against 0.9990000000000001"),
           "difference: %s", text);
    tap_ok(!read_text("[loss]\ngan = \"minimax\"\n", &config, &error) && config.l1 == 0, "minimax has no L1 term");
    tap_ok(!read_text("[loss]\nl1 = 3\ngan = \"minimax\"\n", &config, &error) && config.l1 == 3,
           "unless the file says so");
}

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/c.toml", folder);
    test_presets();
    test_round_trip();
    test_wrong_values();
    test_limits();
    test_unknown();
    test_together();
    unlink(path);
    tap_ok(rmdir(folder) == 0, "nothing is left in the scratch folder");
    return tap_done();
}
