/*
 * state.json of a checkpoint: the numbers beside the stores, with as many digits as read back to the same value. One
 * table says what they are called and where they stand; both directions walk it. Not the stores: checkpoint.c.
 */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "checkpoint.h"
#include "picture.h"

#define FORM 1 /* of the checkpoint: to be raised when an older reader could misunderstand it */
#define DIGITS 17

typedef enum kind { REAL, OPTIONAL_REAL, COUNT, SMALL_COUNT } kind; /* optional: NAN, null in the file */

typedef struct number {
    const char *name;
    kind kind;
    size_t offset;
} number;

static const number numbers[] = {
    {"round", COUNT, offsetof(genseg_state, round)},
    {"pretrained", COUNT, offsetof(genseg_state, pretrained)},
    {"best_score", OPTIONAL_REAL, offsetof(genseg_state, best_score)},
    {"best_round", COUNT, offsetof(genseg_state, best_round)},
    {"seconds", REAL, offsetof(genseg_state, seconds)},
    {"bound_seconds", REAL, offsetof(genseg_state, bound_seconds)},
    {"plateau_rate", REAL, offsetof(genseg_state, plateau.rate)},
    {"plateau_factor", REAL, offsetof(genseg_state, plateau.factor)},
    {"plateau_minimum", REAL, offsetof(genseg_state, plateau.minimum)},
    {"plateau_threshold", REAL, offsetof(genseg_state, plateau.threshold)},
    {"plateau_best", REAL, offsetof(genseg_state, plateau.best)},
    {"plateau_patience", SMALL_COUNT, offsetof(genseg_state, plateau.patience)},
    {"plateau_waited", SMALL_COUNT, offsetof(genseg_state, plateau.waited)},
    {"plateau_started", SMALL_COUNT, offsetof(genseg_state, plateau.started)},
};
enum { NUMBERS = (int)(sizeof numbers / sizeof *numbers) };

static ht_status no_memory(const char *path, ht_error *error)
{
    char place[GENSEG_PLACE];
    return ht_fail(error, HT_ENOMEM, "%s: no memory for its numbers; free some memory", genseg_place(path, place));
}

/* NULL for a real number that JSON cannot hold, or without memory. */
static json_t *value_of(const genseg_state *state, const number *n)
{
    const char *at = (const char *)state + n->offset;
    double real = 0;
    int64_t whole = 0;
    int32_t small = 0;
    if (n->kind == COUNT) {
        memcpy(&whole, at, sizeof whole);
        return json_integer(whole);
    }
    if (n->kind == SMALL_COUNT) {
        memcpy(&small, at, sizeof small);
        return json_integer(small);
    }
    memcpy(&real, at, sizeof real);
    return n->kind == OPTIONAL_REAL && isnan(real) ? json_null() : json_real(real);
}

static ht_status write_root(const char *path, json_t *root, ht_error *error)
{
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(DIGITS));
    if (!text) return no_memory(path, error);
    ht_status status = ht_file_write(path, text, strlen(text), error);
    free(text);
    return status;
}

ht_status genseg_numbers_write(const char *path, const genseg_state *state, ht_error *error)
{
    char place[GENSEG_PLACE];
    json_t *root = json_object(), *stores = json_object();
    bool whole = root && stores && json_object_set_new(root, "form", json_integer(FORM)) == 0;
    ht_status status = HT_OK;
    for (int32_t i = 0; i < NUMBERS && whole; i++) {
        json_t *value = value_of(state, &numbers[i]);
        if (!value && numbers[i].kind <= OPTIONAL_REAL)
            status = ht_fail(error, HT_EINVALID, "%s: %s is not finite; expected a number; go on from the checkpoint before",
                             genseg_place(path, place), numbers[i].name);
        whole = value && json_object_set_new(root, numbers[i].name, value) == 0;
    }
    for (int32_t i = 0; i < GENSEG_STORES && whole; i++) {
        int64_t tensors = state->store[i] ? ht_store_count(state->store[i]) : 0;
        whole = json_object_set_new(stores, genseg_store_names[i], json_integer(tensors)) == 0;
    }
    if (whole) whole = json_object_set(root, "stores", stores) == 0;
    if (whole) status = write_root(path, root, error);
    else if (status == HT_OK) status = no_memory(path, error);
    json_decref(stores);
    json_decref(root);
    return status;
}

/* A whole number from 0 to most. */
static bool read_count(const json_t *value, int64_t most, int64_t *to)
{
    *to = json_is_integer(value) ? json_integer_value(value) : -1;
    return *to >= 0 && *to <= most;
}

static bool read_number(const json_t *value, const number *n, genseg_state *state)
{
    char *at = (char *)state + n->offset;
    int64_t whole = 0;
    if (n->kind == COUNT || n->kind == SMALL_COUNT) {
        if (!read_count(value, n->kind == COUNT ? INT64_MAX : INT32_MAX, &whole)) return false;
        int32_t small = (int32_t)whole;
        if (n->kind == COUNT) memcpy(at, &whole, sizeof whole);
        else memcpy(at, &small, sizeof small);
        return true;
    }
    bool absent = n->kind == OPTIONAL_REAL && json_is_null(value);
    double real = absent ? (double)NAN : json_number_value(value);
    memcpy(at, &real, sizeof real);
    return absent || json_is_number(value);
}

static ht_status read_root(const char *path, const json_t *root, genseg_state *state, int64_t tensors[GENSEG_STORES],
                           ht_error *error)
{
    char place[GENSEG_PLACE];
    int64_t form = 0;
    genseg_place(path, place);
    if (!read_count(json_object_get(root, "form"), FORM, &form) || form != FORM)
        return ht_fail(error, HT_EFORMAT, "%s: not of form %d; expected what this version of genseg writes; use the version "
                       "that wrote it", place, FORM);
    for (int32_t i = 0; i < NUMBERS; i++)
        if (!read_number(json_object_get(root, numbers[i].name), &numbers[i], state))
            return ht_fail(error, HT_EFORMAT, "%s: %s is absent or out of its range; expected a %s", place, numbers[i].name,
                           numbers[i].kind <= OPTIONAL_REAL ? "number" : "whole number from 0");
    const json_t *stores = json_object_get(root, "stores");
    for (int32_t i = 0; i < GENSEG_STORES; i++)
        if (!read_count(json_object_get(stores, genseg_store_names[i]), INT32_MAX, &tensors[i]))
            return ht_fail(error, HT_EFORMAT, "%s: stores.%s is absent or out of its range; expected its number of tensors",
                           place, genseg_store_names[i]);
    return HT_OK;
}

ht_status genseg_numbers_read(const char *path, genseg_state *state, int64_t tensors[GENSEG_STORES], ht_error *error)
{
    char place[GENSEG_PLACE];
    json_error_t finding;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &finding);
    if (!root)
        return ht_fail(error, HT_EFORMAT, "%s:%d: no JSON (%.100s); expected one object", genseg_place(path, place),
                       finding.line, finding.text);
    ht_status status = read_root(path, root, state, tensors, error);
    json_decref(root);
    return status;
}
