/*
 * Configurations as a whole: presets, files, checks over several fields, the resolved copy, differences. What is known
 * of single fields stands in the table of options.c.
 */
#include "options.h"
#include "picture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/store.h>

/* A start that takes minutes on a CPU; tuned on validation data only. */
static const genseg_config small_preset = {
    .preset = "small",
    .method = GENSEG_GENSEG,
    .rounds = 300,
    .seed = 1,
    .device = "auto",
    .size = 128,
    .batch = 2,
    .generator_width = 16,
    .generator_levels = 7,
    .discriminator_width = 16,
    .discriminator_layers = 3,
    .unet_width = 16,
    .unet_depth = 4,
    .dropout = 0.5,
    .search = GENSEG_SEARCH_BOTH,
    .cells = GENSEG_CELLS_AUTO,
    .segmentation = GENSEG_SEG_CE_DICE,
    .gan = GENSEG_GAN_PIX2PIX,
    .l1 = 100,
    .gamma = 1,
    .hypergradient = GENSEG_H_EQ9,
    .unroll = GENSEG_UNROLL_SGD,
    .lookahead = GENSEG_LOOKAHEAD_KEEP,
    .hypergradient_scale = GENSEG_SCALE_STEPS,
    .mask_augment = GENSEG_AUGMENT_ROTATE | GENSEG_AUGMENT_FLIP | GENSEG_AUGMENT_TRANSLATE,
    .pretrain_steps = 100,
    .pretrain_rate = 2e-4,
    .s_rate = 1e-3,
    .s_plateau_factor = 0.1,
    .g_rate = 2e-4,
    .g_beta1 = 0.5,
    .g_beta2 = 0.999,
    .h_rate = 2e-4,
    .h_beta1 = 0.5,
    .h_beta2 = 0.999,
    .a_rate = 1e-2,
    .a_beta1 = 0.5,
    .a_beta2 = 0.999,
    .a_decay = 1e-5,
    .validate_every = 25,
    .checkpoint_every = 50,
    .picture_every = 50,
    .select = GENSEG_SELECT_DICE,
    .metric_threshold = 0.5,
};

/* The paper's settings, as far as they differ: genseg.md section 3. */
static void take_paper(genseg_config *config)
{
    snprintf(config->preset, sizeof config->preset, "paper");
    config->rounds = 5000;
    config->size = 256;
    config->generator_width = config->discriminator_width = config->unet_width = 64;
    config->generator_levels = 8;
    config->segmentation = GENSEG_SEG_CE;
    config->pretrain_steps = 4000;
    config->pretrain_rate = 2e-5;
    config->s_rate = 1e-5;
    config->s_momentum = 0.9;
    config->s_decay = 1e-3;
    config->s_plateau_patience = 2;
    config->g_rate = config->h_rate = 1e-5;
    config->g_decay = config->h_decay = 1e-3;
    config->a_rate = 1e-4;
    config->checkpoint_every = 250;
    config->picture_every = 250;
}

ht_status genseg_config_preset(genseg_config *config, const char *preset, ht_error *error)
{
    genseg_config made = small_preset;
    ht_status status = genseg_field_set_text(genseg_field_find("preset"), &made, preset, "preset", error);
    if (status) return status;
    if (!strcmp(preset, "paper")) take_paper(&made);
    *config = made;
    return HT_OK;
}

/* ---- files ---- */

typedef struct file_state {
    genseg_config config;
    bool l1_seen;
} file_state;

static ht_status take_entry(void *context, const genseg_toml_entry *entry, ht_error *error)
{
    file_state *state = context;
    char place[GENSEG_PLACE_TEXT], nearest[128];
    genseg_place_text(entry->file, entry->line, entry->column, place);
    bool header = entry->value.kind == GENSEG_TOML_TABLE;
    if (header && genseg_field_is_table(entry->key)) return HT_OK;
    const genseg_field *field = header ? NULL : genseg_field_find(entry->key);
    if (!field) {
        genseg_field_nearest(entry->key, header, nearest, sizeof nearest);
        const char *kind = header ? "table" : "key", *open = header ? "[" : "", *close = header ? "]" : "";
        return ht_fail(error, HT_EINVALID,
                       "%s: unknown %s %s%.80s%s; the nearest known one is %s%s%s; correct or remove it", place, kind,
                       open, entry->key, close, open, nearest, close);
    }
    double l1 = state->config.l1;
    genseg_place_text(entry->file, entry->value.line, entry->value.column, place);
    ht_status status = genseg_field_set(field, &state->config, &entry->value, place, error);
    /* minimax takes loss.l1 to 0 unless the file says otherwise, in whatever order */
    if (state->l1_seen && !strcmp(entry->key, "loss.gan")) state->config.l1 = l1;
    if (!strcmp(entry->key, "loss.l1")) state->l1_seen = true;
    return status;
}

ht_status genseg_config_file(genseg_config *config, const char *path, ht_error *error)
{
    file_state state = {.config = *config};
    ht_status status = genseg_toml_read(path, take_entry, &state, error);
    if (!status) *config = state.config;
    return status;
}

ht_status genseg_config_set(genseg_config *config, const char *key, const char *value, ht_error *error)
{
    const genseg_field *field = genseg_field_find(key);
    char nearest[128], shown[GENSEG_PLACE];
    if (field) return genseg_field_set_text(field, config, value, key, error);
    genseg_field_nearest(key, false, nearest, sizeof nearest);
    return ht_fail(error, HT_EINVALID, "%s: unknown key; the nearest known one is %s; correct it",
                   genseg_place(key, shown), nearest);
}

/* Room for a text, doubled as needed; no memory makes it sticky. */
typedef struct growing {
    char *text;
    size_t used, space;
    bool short_of_memory;
} growing;

static void put(growing *to, const char *text)
{
    size_t length = strlen(text);
    if (to->short_of_memory) return;
    if (to->used + length + 1 > to->space) {
        size_t space = 2 * (to->used + length + 1);
        char *more = realloc(to->text, space);
        if (!more) {
            to->short_of_memory = true;
            return;
        }
        to->text = more;
        to->space = space;
    }
    memcpy(to->text + to->used, text, length + 1);
    to->used += length;
}

ht_status genseg_config_write(const genseg_config *config, const char *path, ht_error *error)
{
    growing to = {0};
    char present[128] = "", value[GENSEG_TEXT], shown[GENSEG_PLACE];
    put(&to, "# Resolved configuration of a genseg run; genseg train --config reads it.\n");
    for (int32_t k = 0; k < genseg_config_fields(); k++) {
        const genseg_field *field = genseg_field_at(k);
        const char *dot = strrchr(field->key, '.');
        size_t length = dot ? (size_t)(dot - field->key) : 0;
        /* the table keeps keys of one TOML table together */
        if (strlen(present) != length || strncmp(present, field->key, length)) {
            snprintf(present, sizeof present, "%.*s", (int)length, field->key);
            put(&to, "\n[");
            put(&to, present);
            put(&to, "]\n");
        }
        put(&to, dot ? dot + 1 : field->key);
        put(&to, " = ");
        put(&to, genseg_field_text(field, config, value, sizeof value));
        put(&to, "  # ");
        put(&to, field->help);
        put(&to, "\n");
    }
    ht_status status = to.short_of_memory
                           ? ht_fail(error, HT_ENOMEM, "%s: no memory to write the configuration; expected %zu bytes",
                                     genseg_place(path, shown), to.used)
                           : ht_file_write(path, to.text, to.used, error);
    free(to.text);
    return status;
}

/* ---- checks over several fields ---- */

ht_status genseg_config_check(const genseg_config *config, ht_error *error)
{
    /* each field by its own rule again: a configuration may have been filled by code */
    for (int32_t k = 0; k < genseg_config_fields(); k++) {
        const genseg_field *field = genseg_field_at(k);
        genseg_config copy = *config;
        char value[GENSEG_TEXT];
        genseg_field_text(field, config, value, sizeof value);
        size_t length = strlen(value);
        char *bare = value;
        if (value[0] == '"' && length >= 2) {
            value[length - 1] = 0;
            bare++;
        }
        ht_status status = genseg_field_set_text(field, &copy, bare, field->key, error);
        if (status) return status;
    }
    int32_t size = config->size, levels = config->generator_levels, depth = config->unet_depth;
    if (size % (1 << levels))
        return ht_fail(error, HT_EINVALID,
                       "data.size: %d pixels cannot be halved %d times; expected a multiple of %d for "
                       "model.generator_levels = %d; change one of the two",
                       (int)size, (int)levels, 1 << levels, (int)levels);
    if (size % (1 << depth))
        return ht_fail(error, HT_EINVALID,
                       "data.size: %d pixels cannot be halved %d times; expected a multiple of %d for "
                       "model.unet_depth = %d; change one of the two",
                       (int)size, (int)depth, 1 << depth, (int)depth);
    if (size >> config->discriminator_layers < 3)
        return ht_fail(error, HT_EINVALID,
                       "model.discriminator_layers: %d layers leave no patch of %d pixels; expected data.size of "
                       "at least %d; take fewer layers",
                       (int)config->discriminator_layers, (int)size, 3 << config->discriminator_layers);
    if (config->certify_count && config->certify[config->certify_count - 1] > config->rounds)
        return ht_fail(error, HT_EINVALID,
                       "mlo.certify: round %lld comes after the last one; expected rounds from 1 to %lld; "
                       "leave it out or raise rounds",
                       (long long)config->certify[config->certify_count - 1], (long long)config->rounds);
    return HT_OK;
}

int genseg_config_difference(const genseg_config *a, const genseg_config *b, char *text, size_t bytes)
{
    char of_a[GENSEG_TEXT], of_b[GENSEG_TEXT];
    for (int32_t k = 0; k < genseg_config_fields(); k++) {
        genseg_config_value(a, k, of_a, sizeof of_a);
        genseg_config_value(b, k, of_b, sizeof of_b);
        if (!strcmp(of_a, of_b)) continue;
        snprintf(text, bytes, "%s is %.100s against %.100s", genseg_config_key(k), of_a, of_b);
        return 1;
    }
    return 0;
}
