/*
 * The table of fields, and how a field is found by its key, its flag, or a misspelt key. Storing and showing: field.c.
 * To add a setting: one member in genseg_config, one row here, its values in the presets of config.c.
 */
#include "options.h"

#include <stdio.h>
#include <string.h>

enum { WORD = 256 }; /* bytes of a key or name with its NUL */

_Static_assert(sizeof(genseg_method) == sizeof(int32_t) && sizeof(genseg_select) == sizeof(int32_t),
               "choices are stored through int32_t");

#define MEMBER(name) .offset = offsetof(genseg_config, name), .bytes = sizeof(((genseg_config *)0)->name)
#define COUNT_MAX 1e9
#define SEED_MAX 9007199254740991.0 /* 2^53 - 1: exact in every reader of run.json */

/* A number: key, flag, kind, member, least, greatest, open ends, help. */
#define WHOLE(k, f, m, least, greatest, h)                                                                             \
    {                                                                                                                  \
        .key = k, .flag = f, .kind = GENSEG_FIELD_INTEGER, MEMBER(m), .low = least, .high = greatest, .help = h        \
    }
#define REAL(k, m, least, greatest, ends, h)                                                                           \
    {                                                                                                                  \
        .key = k, .kind = GENSEG_FIELD_REAL, MEMBER(m), .low = least, .high = greatest, .open = ends, .help = h        \
    }
#define CHOICE(k, f, m, list, h)                                                                                       \
    {                                                                                                                  \
        .key = k, .flag = f, .kind = GENSEG_FIELD_CHOICE, MEMBER(m), .names = list, .help = h                          \
    }
/* Adam's four numbers of one network. */
#define ADAM(table, letter, what, decay_help)                                                                          \
    REAL("optimizer." table ".rate", letter##_rate, 0, 10, 0, "learning rate of Adam on " what),                       \
        REAL("optimizer." table ".beta1", letter##_beta1, 0, 1, 2, "memory of the first moment"),                      \
        REAL("optimizer." table ".beta2", letter##_beta2, 0, 1, 2, "memory of the second moment"),                     \
        REAL("optimizer." table ".weight_decay", letter##_decay, 0, 1, 0, decay_help)

static const genseg_field table[] = {
    {.key = "preset",
     .flag = "preset",
     .kind = GENSEG_FIELD_NAME,
     MEMBER(preset),
     .names = "small|paper",
     .help = "values to start from: minutes on a CPU, or the paper's"},
    {.key = "method",
     .flag = "method",
     .kind = GENSEG_FIELD_CHOICE,
     MEMBER(method),
     .names = "plain|genseg",
     .later = "rotate|flip|translate|combine|wgan|separate",
     .help = "how the segmenter is trained"},
    WHOLE("rounds", "rounds", rounds, 1, COUNT_MAX, "training rounds"),
    WHOLE("seed", "seed", seed, 0, SEED_MAX, "seed of every random draw"),
    WHOLE("threads", "threads", threads, 0, 1024, "threads of the CPU; 0 takes all"),
    CHOICE("convolution", "convolution", convolution, "auto|direct",
           "algorithms: the fastest whose error is about the direct one's, or that one alone"),
    CHOICE("precision", "precision", precision, "f32|bf16",
           "training: bf16 rounds operands of convolutions; sums, the rest and prediction stay f32"),
    {.key = "memory_limit",
     .flag = "memory-limit",
     .kind = GENSEG_FIELD_BYTES,
     MEMBER(memory_limit),
     .high = 1e15,
     .help = "bytes for what a round computes, as 500M or 2G; 0: no limit"},
    {.key = "device", .flag = "device", .kind = GENSEG_FIELD_DEVICE, MEMBER(device), .help = "where to compute"},

    WHOLE("data.size", NULL, size, 8, 4096, "side of the square network input in pixels"),
    WHOLE("data.batch", NULL, batch, 1, 1024, "pairs in a batch"),

    WHOLE("model.generator_width", NULL, generator_width, 1, 1024, "channels of the generator's first cell"),
    WHOLE("model.generator_levels", NULL, generator_levels, 2, 12, "cells on each side of the generator"),
    WHOLE("model.discriminator_width", NULL, discriminator_width, 1, 1024,
          "channels of the discriminator's first layer"),
    WHOLE("model.discriminator_layers", NULL, discriminator_layers, 1, 8, "layers of stride 2 of the discriminator"),
    WHOLE("model.unet_width", NULL, unet_width, 1, 1024, "channels of the segmenter's first level"),
    WHOLE("model.unet_depth", NULL, unet_depth, 1, 10, "halvings of the segmenter"),
    REAL("model.dropout", dropout, 0, 1, 2, "dropout probability of the generator"),
    CHOICE("model.search", "search", search, "encoder|decoder|both", "cells of the generator that are searched"),
    CHOICE("model.cells", NULL, cells, "auto|merged|separate", "form of a cell; all give the same numbers"),

    CHOICE("loss.segmentation", NULL, segmentation, "cross-entropy|cross-entropy+dice", "loss of the segmenter"),
    CHOICE("loss.gan", "gan-loss", gan, "pix2pix|minimax", "loss of the generator; minimax sets loss.l1 to 0"),
    REAL("loss.l1", l1, 0, 1e6, 0, "weight of |generated - real| in the generator's loss"),
    REAL("loss.gamma", gamma, 0, 1e6, 0, "weight of the real pairs in the segmenter's loss"),

    CHOICE("mlo.hypergradient", "hypergradient", hypergradient, "none|finite-difference|eq9|total",
           "derivative that moves the architecture"),
    CHOICE("mlo.lookahead", "lookahead", lookahead, "keep|restore",
           "a round's steps of G, H, S: kept, or taken again with the new A"),
    CHOICE("mlo.unroll", "unroll", unroll, "sgd|optimizer", "inner steps that are differentiated"),
    CHOICE("mlo.hypergradient_scale", "hypergradient-scale", hypergradient_scale, "steps|none",
           "divide the hypergradient by the step sizes on its path"),
    REAL("mlo.eta_g", eta_g, 0, 10, 0, "step size of Eq. 5 and 6; 0 takes the optimiser's rate"),
    REAL("mlo.eta_s", eta_s, 0, 10, 0, "step size of Eq. 7; 0 takes the optimiser's rate"),
    {.key = "mlo.mask_augment",
     .flag = "mask-augment",
     .kind = GENSEG_FIELD_AUGMENT,
     MEMBER(mask_augment),
     .names = "rotate|flip|translate",
     .help = "operations that make new masks"},
    {.key = "mlo.certify",
     .flag = "certify",
     .kind = GENSEG_FIELD_ROUNDS,
     MEMBER(certify),
     .low = 1,
     .high = COUNT_MAX,
     .help = "rounds at which the hypergradient is proven"},

    WHOLE("pretrain.steps", NULL, pretrain_steps, 0, COUNT_MAX, "steps of generator and discriminator before round 1"),
    REAL("pretrain.rate", pretrain_rate, 0, 10, 0, "learning rate of these steps"),

    REAL("optimizer.segmenter.rate", s_rate, 0, 10, 0, "learning rate of RMSprop on the segmenter"),
    REAL("optimizer.segmenter.momentum", s_momentum, 0, 1, 2, "momentum"),
    REAL("optimizer.segmenter.weight_decay", s_decay, 0, 1, 0, "weight decay"),
    WHOLE("optimizer.segmenter.plateau_patience", NULL, s_plateau_patience, 0, COUNT_MAX,
          "validations without a better score before the rate falls; 0 never"),
    REAL("optimizer.segmenter.plateau_factor", s_plateau_factor, 0, 1, 1, "factor by which it falls"),
    ADAM("generator", g, "the generator", "weight decay"),
    ADAM("discriminator", h, "the discriminator", "weight decay"),
    ADAM("architecture", a, "the architecture", "decoupled weight decay"),

    WHOLE("run.validate_every", NULL, validate_every, 1, COUNT_MAX, "rounds between validations"),
    WHOLE("run.checkpoint_every", NULL, checkpoint_every, 0, COUNT_MAX,
          "rounds between checkpoints; 0 only at the end"),
    WHOLE("run.picture_every", NULL, picture_every, 0, COUNT_MAX, "rounds between pictures; 0 never"),
    CHOICE("run.select", "select", select, "dice|jaccard", "validation score that chooses the best weights"),
    REAL("run.metric_threshold", metric_threshold, 0, 1, 3, "probability above which a pixel is foreground"),
};

enum { FIELDS = (int)(sizeof table / sizeof *table) };

/* ---- finding ---- */

int32_t genseg_config_fields(void) { return FIELDS; }

const char *genseg_config_key(int32_t field) { return table[field].key; }

char *genseg_config_value(const genseg_config *config, int32_t field, char *text, size_t bytes)
{
    return genseg_field_text(&table[field], config, text, bytes);
}

const genseg_field *genseg_field_at(int32_t index) { return &table[index]; }

const genseg_field *genseg_field_find(const char *key)
{
    for (int32_t k = 0; k < FIELDS; k++)
        if (!strcmp(table[k].key, key)) return &table[k];
    return NULL;
}

const genseg_field *genseg_field_of_flag(const char *flag)
{
    for (int32_t k = 0; k < FIELDS; k++)
        if (table[k].flag && !strcmp(table[k].flag, flag)) return &table[k];
    return NULL;
}

bool genseg_field_is_table(const char *name)
{
    size_t length = strlen(name);
    for (int32_t k = 0; k < FIELDS; k++)
        if (!strncmp(table[k].key, name, length) && table[k].key[length] == '.') return true;
    return false;
}

int32_t genseg_word_distance(const char *a, const char *b)
{
    /* three rows of the table of prefixes: the present one, the last, and the one before for swaps */
    int32_t rows[3][WORD];
    size_t n = strlen(a), m = strlen(b);
    if (n >= WORD || m >= WORD) return INT32_MAX;
    for (size_t j = 0; j <= m; j++) rows[0][j] = (int32_t)j;
    for (size_t i = 1; i <= n; i++) {
        int32_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = (int32_t)i;
        for (size_t j = 1; j <= m; j++) {
            int32_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

bool genseg_name_at(const char *names, int32_t index, char *text, size_t bytes)
{
    for (; names; index--) {
        const char *bar = strchr(names, '|');
        if (index == 0) {
            snprintf(text, bytes, "%.*s", bar ? (int)(bar - names) : (int)strlen(names), names);
            return true;
        }
        names = bar ? bar + 1 : NULL;
    }
    return false;
}

int32_t genseg_name_index(const char *names, const char *name)
{
    char known[WORD];
    for (int32_t k = 0; genseg_name_at(names, k, known, sizeof known); k++)
        if (!strcmp(known, name)) return k;
    return -1;
}

int32_t genseg_word_nearest(const char *word, const char *names, char *text, size_t bytes)
{
    char known[WORD];
    int32_t best = -1, least = INT32_MAX;
    for (int32_t k = 0; genseg_name_at(names, k, known, sizeof known); k++) {
        int32_t distance = genseg_word_distance(word, known);
        if (best >= 0 && distance >= least) continue;
        best = k;
        least = distance;
        snprintf(text, bytes, "%s", known);
    }
    return best;
}

void genseg_field_nearest(const char *key, bool tables, char *text, size_t bytes)
{
    int32_t least = INT32_MAX;
    const char *key_tail = strrchr(key, '.') ? strrchr(key, '.') + 1 : key;
    snprintf(text, bytes, "%s", tables ? "run" : "rounds");
    for (int32_t k = 0; k < FIELDS; k++) {
        char known[WORD];
        snprintf(known, sizeof known, "%s", table[k].key);
        char *tail = strrchr(known, '.');
        if (tables) {
            if (!tail) continue;
            *tail = 0;
        }
        int32_t distance = genseg_word_distance(key, known);
        /* the right key below the wrong table counts as near */
        if (!tables && tail) {
            int32_t alone = genseg_word_distance(key_tail, tail + 1);
            if (alone < INT32_MAX - 2 && alone + 2 < distance) distance = alone + 2;
        }
        if (distance < least) {
            least = distance;
            snprintf(text, bytes, "%s", known);
        }
    }
}
