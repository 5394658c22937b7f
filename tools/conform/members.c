/* Members of JSON objects as numbers, words and lists, with messages that name the member. */
#include <math.h>
#include <string.h>

#include "conform.h"

static const json_t *member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

ht_status conform_known(const json_t *object, const char *words, ht_error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        size_t length = strlen(key);
        int found = 0;
        for (const char *at = words; *at && !found; at += strspn(at, " ")) {
            size_t word = strcspn(at, " ");
            found = word == length && memcmp(at, key, length) == 0;
            at += word;
        }
        if (!found)
            return ht_fail(error, HT_EINVALID, "unknown attribute \"%.64s\"; %s%s", key,
                           *words ? "expected one of: " : "expected none", words);
    }
    return HT_OK;
}

double conform_real(const json_t *object, const char *key, double otherwise, ht_error *error)
{
    const json_t *value = member(object, key);
    if (!value) return otherwise;
    if (json_is_number(value) && isfinite(json_number_value(value))) return json_number_value(value);
    ht_fail(error, HT_EFORMAT, "\"%s\" is no number; expected one", key);
    return otherwise;
}

static int whole(const json_t *value, int32_t *number)
{
    double real = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(fabs(real) <= INT32_MAX) || real != floor(real)) return 0;
    *number = (int32_t)real;
    return 1;
}

int32_t conform_whole(const json_t *object, const char *key, int32_t otherwise, ht_error *error)
{
    const json_t *value = member(object, key);
    int32_t number = otherwise;
    if (value && !whole(value, &number)) ht_fail(error, HT_EFORMAT, "\"%s\" is no whole number; expected one", key);
    return number;
}

int conform_flag(const json_t *object, const char *key, int otherwise, ht_error *error)
{
    const json_t *value = member(object, key);
    int32_t number = 0;
    if (!value) return otherwise;
    if (json_is_boolean(value)) return json_is_true(value);
    if (whole(value, &number) && (number == 0 || number == 1)) return number;
    ht_fail(error, HT_EFORMAT, "\"%s\" is neither true nor false; expected one of them", key);
    return otherwise;
}

int32_t conform_word(const json_t *object, const char *key, const char *const *words, int32_t otherwise, ht_error *error)
{
    const json_t *value = member(object, key);
    if (!value) return otherwise;
    for (int32_t i = 0; words[i]; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), words[i]) == 0) return i;
    ht_fail(error, HT_EINVALID, "\"%s\" is unknown: \"%.32s\"; expected \"%s\"%s", key,
            json_is_string(value) ? json_string_value(value) : "no word", words[0], words[1] ? " or another of its words" : "");
    return otherwise;
}

ht_shape conform_sizes(const json_t *object, const char *key, int32_t count, ht_error *error)
{
    const json_t *value = member(object, key);
    ht_shape sizes = HT_SCALAR;
    if (!value || count < 0 || count > HT_MAX_RANK) return sizes;
    int list = json_is_array(value), good = !list || json_array_size(value) == (size_t)count;
    for (int32_t i = 0; i < count && good; i++) {
        int32_t number = 0;
        good = whole(list ? json_array_get(value, (size_t)i) : value, &number);
        sizes.dim[i] = number;
    }
    sizes.rank = good ? count : 0;
    if (!good) ht_fail(error, HT_EFORMAT, "\"%s\" is no list of %d whole numbers; expected one for each axis", key, count);
    return sizes;
}
