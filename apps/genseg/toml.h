/*
 * Reader of a flat, strict subset of TOML 1.0: tables, and keys with strings, integers, floats, booleans and arrays of these.
 * Not a TOML library: no dates, inline tables, arrays of tables, dotted or quoted keys, multi-line strings. What is
 * accepted is valid TOML 1.0 with the same values; what is not is refused with FILE:LINE:COLUMN. Nothing is kept: each
 * entry is shown to a visitor once. Also the two number conversions that do not depend on the locale.
 */
#ifndef GENSEG_TOML_H
#define GENSEG_TOML_H

#include <stdbool.h>

#include <ht/base.h>

enum {
    GENSEG_TOML_BYTES = 1 << 20,   /* largest file                        */
    GENSEG_TOML_NAMES = 4096,      /* keys and tables in one file         */
    GENSEG_TOML_ITEMS = 4096,      /* values in one array                 */
    GENSEG_TOML_KEY = 256,         /* bytes of a dotted key with its NUL  */
    GENSEG_NUMBER_TEXT = 32,       /* bytes of a number as text           */
    GENSEG_PLACE_TEXT = 208        /* bytes of FILE:LINE:COLUMN as text   */
};

typedef enum genseg_toml_kind {
    GENSEG_TOML_TABLE = 1,
    GENSEG_TOML_STRING,
    GENSEG_TOML_INTEGER,
    GENSEG_TOML_FLOAT,
    GENSEG_TOML_BOOLEAN,
    GENSEG_TOML_ARRAY
} genseg_toml_kind;

typedef struct genseg_toml_value genseg_toml_value;
struct genseg_toml_value {
    genseg_toml_kind kind;
    int32_t line, column;               /* from 1; columns count characters        */
    const char *text;                   /* STRING: UTF-8, without NUL inside       */
    int64_t integer;                    /* INTEGER                                 */
    double number;                      /* FLOAT, and INTEGER as a real number     */
    bool truth;                         /* BOOLEAN                                 */
    const genseg_toml_value *items;     /* ARRAY                                   */
    int32_t count;
};

/** One table header (kind TABLE) or one key with its value, lent during the visit. */
typedef struct genseg_toml_entry {
    const char *file;                   /* shortened for messages                  */
    const char *key;                    /* dotted, with the table: "a.b.key"       */
    int32_t line, column;               /* of the key                              */
    genseg_toml_value value;
} genseg_toml_entry;

/** Called for every entry in order; a status that is not HT_OK ends the reading. */
typedef ht_status (*genseg_toml_visit)(void *context, const genseg_toml_entry *entry, ht_error *error);

/** Reads a regular file of at most GENSEG_TOML_BYTES. EIO (cannot be read), EFORMAT, EINVALID, ENOMEM, or the visitor's. */
ht_status genseg_toml_read(const char *path, genseg_toml_visit visit, void *context, ht_error *error);
/** The same over text in memory; name stands for the file in messages. */
ht_status genseg_toml_parse(const char *name, const char *text, size_t bytes, genseg_toml_visit visit, void *context,
                            ht_error *error);

/** Reads a TOML integer or float from a whole text. NULL if it is one, else what is wrong in a few words. */
const char *genseg_toml_number(const char *text, genseg_toml_value *value);

/** Shortest of 15, 16 or 17 digits that reads back to the same number; decimal point whatever the locale. */
char *genseg_number_text(double value, char text[GENSEG_NUMBER_TEXT]);

/** FILE:LINE:COLUMN, or FILE alone for line 0; a long name keeps its end, what a terminal must not see is escaped. */
char *genseg_place_text(const char *file, int32_t line, int32_t column, char text[GENSEG_PLACE_TEXT]);

#endif
