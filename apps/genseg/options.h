/*
 * The table of configuration fields: dotted key, flag, kind, range, help. Everything that takes or shows a setting walks
 * it: flags, file, --set, help, the resolved copy. For the configuration and the command line; others see config.h.
 */
#ifndef GENSEG_OPTIONS_H
#define GENSEG_OPTIONS_H

#include "config.h"
#include "toml.h"

typedef enum genseg_field_kind {
    GENSEG_FIELD_INTEGER,     /* int32_t or int64_t, by bytes                      */
    GENSEG_FIELD_BYTES,       /* int64_t: bytes; in text also 500M, 2G             */
    GENSEG_FIELD_REAL,        /* double                                            */
    GENSEG_FIELD_CHOICE,      /* enum: position of the name in names               */
    GENSEG_FIELD_NAME,        /* char[]: one of names                              */
    GENSEG_FIELD_DEVICE,      /* char[]: auto, cpu                                 */
    GENSEG_FIELD_AUGMENT,     /* bits in the order of names, or "all", "none"      */
    GENSEG_FIELD_ROUNDS       /* ascending rounds and their number                 */
} genseg_field_kind;

typedef struct genseg_field {
    const char *key;          /* dotted: "optimizer.segmenter.rate"                */
    const char *flag;         /* without --, or NULL                               */
    genseg_field_kind kind;
    size_t offset, bytes;
    double low, high;         /* of numbers                                        */
    int32_t open;             /* bits: 1 low, 2 high is itself outside             */
    const char *names;        /* "none|eq9|total"                                  */
    const char *later;        /* names of the contract that this version lacks     */
    const char *help;
} genseg_field;

/** 0 <= index < genseg_config_fields(). */
const genseg_field *genseg_field_at(int32_t index);
/** Field of a dotted key, or of a flag without its dashes; NULL if there is none. */
const genseg_field *genseg_field_find(const char *key);
const genseg_field *genseg_field_of_flag(const char *flag);
/** The known key that is nearest to a wrong one; table names if tables is true. */
void genseg_field_nearest(const char *key, bool tables, char *text, size_t bytes);
/** Whether some key begins with "table.". */
bool genseg_field_is_table(const char *table);

/** Stores a value; EINVALID leaves the configuration as it was. place begins the message: "--rounds", "FILE:3:10". */
ht_status genseg_field_set(const genseg_field *field, genseg_config *config, const genseg_toml_value *value,
                           const char *place, ht_error *error);
/** The same from text as flags give it: 1e-4, both, 1,100,300. */
ht_status genseg_field_set_text(const genseg_field *field, genseg_config *config, const char *value, const char *place,
                                ht_error *error);
/** The value as it stands in a file. */
char *genseg_field_text(const genseg_field *field, const genseg_config *config, char *text, size_t bytes);
/** What the field takes: "a whole number from 1 to 9", "one of encoder, decoder, both". */
char *genseg_field_expected(const genseg_field *field, char *text, size_t bytes);

/** Edits (insert, delete, replace, swap of neighbours) between two words of at most 255 bytes. */
int32_t genseg_word_distance(const char *a, const char *b);
/** Copies name number `index` of a list "a|b|c"; false behind its end. */
bool genseg_name_at(const char *names, int32_t index, char *text, size_t bytes);
/** Position of a name in such a list, or -1. */
int32_t genseg_name_index(const char *names, const char *name);
/** Position of the nearest name in a list "a|b|c"; the name is copied into text. */
int32_t genseg_word_nearest(const char *word, const char *names, char *text, size_t bytes);

#endif
