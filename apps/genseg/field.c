/*
 * One field of the configuration: shown as it stands in a file, described, stored from a TOML value or from text. A
 * value that does not fit leaves the configuration as it was and gives the one message about such values.
 */
#include "options.h"
#include "picture.h"

#include <stdio.h>
#include <string.h>

enum { WORD = 256, ITEMS_SHOWN = 8 };

/* ---- showing ---- */

/* Appends to a text of at most `bytes`, cutting what does not fit. */
static void append(char *text, size_t bytes, const char *more)
{
    size_t used = strlen(text);
    if (used < bytes) snprintf(text + used, bytes - used, "%s", more);
}

/* A REAL is shown so that TOML reads it as a float. */
static void append_real(char *text, size_t bytes, double value)
{
    char number[GENSEG_NUMBER_TEXT];
    append(text, bytes, genseg_number_text(value, number));
    if (!strpbrk(number, ".enf")) append(text, bytes, ".0");
}

static void append_integer(char *text, size_t bytes, int64_t value)
{
    char number[GENSEG_NUMBER_TEXT];
    snprintf(number, sizeof number, "%lld", (long long)value);
    append(text, bytes, number);
}

/* names "a|b" as "a, b" */
static void append_names(char *text, size_t bytes, const char *names)
{
    char name[WORD];
    for (int32_t k = 0; genseg_name_at(names, k, name, sizeof name); k++) {
        if (k) append(text, bytes, ", ");
        append(text, bytes, name);
    }
}

static int64_t integer_of(const genseg_field *field, const genseg_config *config)
{
    const char *at = (const char *)config + field->offset;
    int64_t wide = 0;
    int32_t narrow = 0;
    if (field->bytes == sizeof wide) {
        memcpy(&wide, at, sizeof wide);
        return wide;
    }
    memcpy(&narrow, at, sizeof narrow);
    return narrow;
}

static void append_augment(const genseg_field *field, int64_t bits, char *text, size_t bytes)
{
    char name[WORD];
    bool first = true;
    if (bits == 0 || bits == 7) {
        append(text, bytes, bits ? "all" : "none");
        return;
    }
    for (int32_t k = 0; genseg_name_at(field->names, k, name, sizeof name); k++) {
        if (!(bits >> k & 1)) continue;
        if (!first) append(text, bytes, ",");
        append(text, bytes, name);
        first = false;
    }
}

char *genseg_field_text(const genseg_field *field, const genseg_config *config, char *text, size_t bytes)
{
    const char *at = (const char *)config + field->offset;
    char name[WORD] = "";
    double real = 0;
    if (bytes) text[0] = 0;
    switch (field->kind) {
    case GENSEG_FIELD_INTEGER:
    case GENSEG_FIELD_BYTES:
        append_integer(text, bytes, integer_of(field, config));
        return text;
    case GENSEG_FIELD_REAL:
        memcpy(&real, at, sizeof real);
        append_real(text, bytes, real);
        return text;
    case GENSEG_FIELD_ROUNDS:
        append(text, bytes, "[");
        for (int32_t k = 0; k < config->certify_count && k < GENSEG_CERTIFY_MAX; k++) {
            if (k) append(text, bytes, ", ");
            append_integer(text, bytes, config->certify[k]);
        }
        append(text, bytes, "]");
        return text;
    case GENSEG_FIELD_CHOICE:
        genseg_name_at(field->names, (int32_t)integer_of(field, config), name, sizeof name);
        break;
    case GENSEG_FIELD_AUGMENT:
        append_augment(field, integer_of(field, config), name, sizeof name);
        break;
    case GENSEG_FIELD_NAME:
    case GENSEG_FIELD_DEVICE:
        snprintf(name, sizeof name, "%.*s", (int)field->bytes, at);
        break;
    }
    append(text, bytes, "\"");
    append(text, bytes, name); /* only names that were accepted: nothing to escape */
    append(text, bytes, "\"");
    return text;
}

static void append_range(const genseg_field *field, char *text, size_t bytes)
{
    char low[GENSEG_NUMBER_TEXT], high[GENSEG_NUMBER_TEXT], range[WORD];
    if (field->kind != GENSEG_FIELD_REAL)
        snprintf(range, sizeof range, " from %.0f to %.0f", field->low, field->high);
    else
        snprintf(range, sizeof range, " %s %s and %s %s", field->open & 1 ? "above" : "from",
                 genseg_number_text(field->low, low), field->open & 2 ? "below" : "up to",
                 genseg_number_text(field->high, high));
    append(text, bytes, range);
}

char *genseg_field_expected(const genseg_field *field, char *text, size_t bytes)
{
    if (bytes) text[0] = 0;
    switch (field->kind) {
    case GENSEG_FIELD_INTEGER:
        append(text, bytes, "a whole number");
        append_range(field, text, bytes);
        break;
    case GENSEG_FIELD_BYTES:
        append(text, bytes, "bytes as a whole number, or with k, M or G as 500M,");
        append_range(field, text, bytes);
        break;
    case GENSEG_FIELD_REAL:
        append(text, bytes, "a number");
        append_range(field, text, bytes);
        break;
    case GENSEG_FIELD_CHOICE:
    case GENSEG_FIELD_NAME:
        append(text, bytes, "one of ");
        append_names(text, bytes, field->names);
        break;
    case GENSEG_FIELD_DEVICE:
        append(text, bytes, "auto or cpu");
        break;
    case GENSEG_FIELD_AUGMENT:
        append(text, bytes, "all, none, or some of ");
        append_names(text, bytes, field->names);
        append(text, bytes, " with commas between");
        break;
    case GENSEG_FIELD_ROUNDS: {
        char most[WORD];
        snprintf(most, sizeof most, "at most %d ascending whole numbers", GENSEG_CERTIFY_MAX);
        append(text, bytes, most);
        append_range(field, text, bytes);
        break;
    }
    }
    return text;
}

/* ---- storing ---- */

static void append_found(char *text, size_t bytes, const genseg_toml_value *value)
{
    char shown[GENSEG_PLACE];
    switch (value->kind) {
    case GENSEG_TOML_STRING:
        append(text, bytes, "'");
        append(text, bytes, genseg_place(value->text, shown));
        append(text, bytes, "'");
        break;
    case GENSEG_TOML_INTEGER:
        append_integer(text, bytes, value->integer);
        break;
    case GENSEG_TOML_FLOAT:
        append_real(text, bytes, value->number);
        break;
    case GENSEG_TOML_BOOLEAN:
        append(text, bytes, value->truth ? "true" : "false");
        break;
    case GENSEG_TOML_TABLE:
        append(text, bytes, "a table");
        break;
    case GENSEG_TOML_ARRAY:
        append(text, bytes, "[");
        for (int32_t k = 0; k < value->count && k < ITEMS_SHOWN; k++) {
            bool nested = value->items[k].kind == GENSEG_TOML_ARRAY;
            append(text, bytes, k ? ", " : "");
            if (nested) append(text, bytes, "an array");
            else append_found(text, bytes, &value->items[k]);
        }
        append(text, bytes, value->count > ITEMS_SHOWN ? ", ...]" : "]");
        break;
    }
}

/* The one message about a value that does not fit, with the nearest name or the preset's value as what to do. */
static ht_status refuse(const genseg_field *field, const genseg_toml_value *value, const char *place, ht_error *error)
{
    char found[GENSEG_PLACE + 2] = "", expected[224], hint[96] = "";
    append_found(found, sizeof found, value);
    genseg_field_expected(field, expected, sizeof expected);
    if (field->names && value->kind == GENSEG_TOML_STRING && field->kind != GENSEG_FIELD_AUGMENT) {
        char nearest[64];
        genseg_word_nearest(value->text, field->names, nearest, sizeof nearest);
        snprintf(hint, sizeof hint, "the nearest is %s", nearest);
    } else {
        genseg_config small;
        char normal[64];
        genseg_config_preset(&small, "small", NULL);
        snprintf(hint, sizeof hint, "the preset small has %s", genseg_field_text(field, &small, normal, sizeof normal));
    }
    return ht_fail(error, HT_EINVALID, "%s: %s is %s; expected %s; %s", place, field->key, found, expected, hint);
}

static void store_integer(const genseg_field *field, genseg_config *config, int64_t value)
{
    char *at = (char *)config + field->offset;
    int32_t narrow = (int32_t)value;
    if (field->bytes == sizeof value)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &narrow, sizeof narrow);
}

static bool in_range(const genseg_field *field, double value)
{
    bool low = field->open & 1 ? value > field->low : value >= field->low;
    bool high = field->open & 2 ? value < field->high : value <= field->high;
    return low && high; /* false for NaN */
}

/* Ascending whole numbers, all of them or none. */
static bool store_rounds(const genseg_field *field, genseg_config *config, const genseg_toml_value *value)
{
    int64_t rounds[GENSEG_CERTIFY_MAX] = {0};
    if (value->kind != GENSEG_TOML_ARRAY || value->count > GENSEG_CERTIFY_MAX) return false;
    for (int32_t k = 0; k < value->count; k++) {
        const genseg_toml_value *item = &value->items[k];
        if (item->kind != GENSEG_TOML_INTEGER || !in_range(field, item->number)) return false;
        if (k && item->integer <= rounds[k - 1]) return false;
        rounds[k] = item->integer;
    }
    memcpy(config->certify, rounds, sizeof rounds);
    config->certify_count = value->count;
    return true;
}

/* Bits of "rotate,flip"; -1 if a word is unknown, missing or twice. */
static int32_t augment_bits(const genseg_field *field, const char *text)
{
    int32_t bits = 0;
    if (!strcmp(text, "all")) return 7;
    if (!strcmp(text, "none")) return 0;
    for (;;) {
        char word[16];
        size_t length = strcspn(text, ",");
        if (length >= sizeof word) return -1;
        snprintf(word, sizeof word, "%.*s", (int)length, text);
        int32_t index = genseg_name_index(field->names, word);
        if (index < 0 || bits >> index & 1) return -1;
        bits |= 1 << index;
        if (!text[length]) return bits;
        text += length + 1;
    }
}

/* Kinds that are words: names, the device, augmentation. */
static ht_status store_word(const genseg_field *field, genseg_config *config, const genseg_toml_value *value,
                            const char *place, ht_error *error)
{
    if (value->kind != GENSEG_TOML_STRING) return refuse(field, value, place, error);
    const char *word = value->text;
    if (field->kind == GENSEG_FIELD_AUGMENT) {
        int32_t bits = augment_bits(field, word);
        if (bits < 0) return refuse(field, value, place, error);
        store_integer(field, config, bits);
        return HT_OK;
    }
    if (field->kind == GENSEG_FIELD_DEVICE) {
        if (!strncmp(word, "cuda", 4) &&
            (!word[4] || (word[4] == ':' && word[5] && !word[5 + strspn(word + 5, "0123456789")])))
            return ht_fail(error, HT_EINVALID,
                           "%s: device is %.20s, and this build has no CUDA device; expected auto or cpu; "
                           "give one of these",
                           place, word);
        if (strcmp(word, "auto") && strcmp(word, "cpu")) return refuse(field, value, place, error);
    } else {
        if (field->later && genseg_name_index(field->later, word) >= 0) {
            char expected[128];
            return ht_fail(error, HT_EINVALID, "%s: %s %s is not in this version; expected %s; give one of these",
                           place, field->key, word, genseg_field_expected(field, expected, sizeof expected));
        }
        int32_t index = genseg_name_index(field->names, word);
        if (index < 0) return refuse(field, value, place, error);
        if (field->kind == GENSEG_FIELD_CHOICE) {
            store_integer(field, config, index);
            return HT_OK;
        }
    }
    snprintf((char *)config + field->offset, field->bytes, "%s", word);
    return HT_OK;
}

/* A whole number, or a text of one with a power of 1000 behind it. */
static bool bytes_of(const genseg_toml_value *value, int64_t *size)
{
    static const char powers[] = "kMG";
    char digits[24];
    genseg_toml_value whole = {0};
    *size = value->integer;
    if (value->kind == GENSEG_TOML_INTEGER) return true;
    const size_t length = value->kind == GENSEG_TOML_STRING ? strlen(value->text) : 0;
    const char *power = length > 0 ? strchr(powers, value->text[length - 1]) : NULL;
    if (!power || length > sizeof digits) return false;
    snprintf(digits, sizeof digits, "%.*s", (int)length - 1, value->text);
    if (genseg_toml_number(digits, &whole) || whole.kind != GENSEG_TOML_INTEGER) return false;
    *size = whole.integer;
    for (const char *at = powers; at <= power; at++)
        if (__builtin_mul_overflow(*size, 1000, size)) return false;
    return true;
}

ht_status genseg_field_set(const genseg_field *field, genseg_config *config, const genseg_toml_value *value,
                           const char *place, ht_error *error)
{
    int64_t size = 0;
    bool whole = value->kind == GENSEG_TOML_INTEGER, number = whole || value->kind == GENSEG_TOML_FLOAT;
    switch (field->kind) {
    case GENSEG_FIELD_INTEGER:
        if (!whole || !in_range(field, value->number)) break;
        store_integer(field, config, value->integer);
        return HT_OK;
    case GENSEG_FIELD_BYTES:
        if (!bytes_of(value, &size) || !in_range(field, (double)size)) break;
        store_integer(field, config, size);
        return HT_OK;
    case GENSEG_FIELD_REAL:
        if (!number || !in_range(field, value->number)) break;
        memcpy((char *)config + field->offset, &value->number, sizeof value->number);
        return HT_OK;
    case GENSEG_FIELD_ROUNDS:
        if (!store_rounds(field, config, value)) break;
        return HT_OK;
    case GENSEG_FIELD_CHOICE:
    case GENSEG_FIELD_NAME:
    case GENSEG_FIELD_DEVICE:
    case GENSEG_FIELD_AUGMENT: {
        ht_status status = store_word(field, config, value, place, error);
        /* Eq. (1) as printed has no such term: genseg.md section 1 */
        if (!status && field->offset == offsetof(genseg_config, gan) && config->gan == GENSEG_GAN_MINIMAX)
            config->l1 = 0;
        return status;
    }
    }
    return refuse(field, value, place, error);
}

/* "1,100,300", "[1, 100]" or "" as an array; false if a part is no number. */
static bool split_rounds(const char *text, genseg_toml_value items[GENSEG_CERTIFY_MAX + 1], int32_t *count)
{
    size_t length = strlen(text);
    *count = 0;
    if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
        text++;
        length -= 2;
    }
    if (length == 0) return true;
    for (;;) {
        char word[32];
        size_t part = 0;
        while (length && *text == ' ') text++, length--;
        while (part < length && text[part] != ',') part++;
        if (part >= sizeof word || *count > GENSEG_CERTIFY_MAX) return false;
        snprintf(word, sizeof word, "%.*s", (int)part, text);
        if (genseg_toml_number(word, &items[(*count)++])) return false;
        if (part == length) return true;
        text += part + 1;
        length -= part + 1;
    }
}

ht_status genseg_field_set_text(const genseg_field *field, genseg_config *config, const char *text, const char *place,
                                ht_error *error)
{
    genseg_toml_value items[GENSEG_CERTIFY_MAX + 1] = {0}, value = {.kind = GENSEG_TOML_STRING, .text = text};
    int32_t count = 0;
    /* what is no number stays a string and is refused as one */
    if (field->kind == GENSEG_FIELD_INTEGER || field->kind == GENSEG_FIELD_REAL || field->kind == GENSEG_FIELD_BYTES)
        genseg_toml_number(text, &value);
    else if (field->kind == GENSEG_FIELD_ROUNDS && split_rounds(text, items, &count))
        value = (genseg_toml_value){.kind = GENSEG_TOML_ARRAY, .items = items, .count = count};
    return genseg_field_set(field, config, &value, place, error);
}
