/*
 * Facts: JSON objects and configuration lines as one flat list of dotted keys and texts, which serves lookup and tables.
 * Values stay text as the file has them; what they mean is for those who ask. Not the configuration's own reader.
 */
#include "report.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#define FACTS_LIMIT 4000
#define VALUE_BYTES 2000
#define KEY_BYTES 512
#define DEPTH 16

static char *copy_bytes(const char *text, size_t count)
{
    char *copy = malloc(count + 1);
    if (!copy) return NULL;
    memcpy(copy, text, count);
    copy[count] = 0;
    return copy;
}

/* False without memory. Long values are cut: a fact is for reading. */
static bool add_fact(genseg_facts *facts, const char *key, const char *value, size_t bytes)
{
    if (facts->count == FACTS_LIMIT) {
        ++facts->left_out;
        return true;
    }
    if (facts->count == facts->room) {
        int32_t room = facts->room ? facts->room * 2 : 64;
        char **keys = realloc(facts->key, (size_t)room * sizeof *keys);
        if (keys) facts->key = keys;
        char **values = realloc(facts->value, (size_t)room * sizeof *values);
        if (values) facts->value = values;
        if (!keys || !values) return false;
        facts->room = room;
    }
    bool cut = bytes > VALUE_BYTES;
    if (cut) {
        bytes = VALUE_BYTES;
        while (bytes > 0 && ((unsigned char)value[bytes] & 0xC0) == 0x80) --bytes;
    }
    char *name = copy_bytes(key, strlen(key)), *text = copy_bytes(value, bytes);
    if (cut && text) {
        char *longer = realloc(text, bytes + 4);
        if (longer) strcpy(longer + bytes, "\xE2\x80\xA6");
        else free(text);
        text = longer;
    }
    if (!name || !text) {
        free(name);
        free(text);
        return false;
    }
    facts->key[facts->count] = name;
    facts->value[facts->count++] = text;
    return true;
}

static bool is_plain(const json_t *value)
{
    return !json_is_object(value) && !json_is_array(value);
}

/* A number, word or string as text; at most `room` bytes of it are lent. */
static const char *plain_text(const json_t *value, char *space, size_t room)
{
    if (json_is_string(value)) return json_string_value(value);
    if (json_is_integer(value)) snprintf(space, room, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value)) {
        double number = json_real_value(value);
        /* the shortest form that reads back to the same number: 0.1, not 0.10000000000000001 */
        for (int digits = 1; digits <= 17; ++digits) {
            snprintf(space, room, "%.*g", digits, number);
            if (strtod(space, NULL) == number) break;
        }
    } else snprintf(space, room, "%s", json_is_true(value) ? "true" : json_is_false(value) ? "false" : "");
    return space;
}

/* An array of plain values in one line: "1, 100, 300". */
static bool add_list(genseg_facts *facts, const char *key, const json_t *list)
{
    char text[VALUE_BYTES + 64], space[64];
    size_t used = 0, shown = 0;
    for (; shown < json_array_size(list); ++shown) {
        const char *value = plain_text(json_array_get(list, shown), space, sizeof space);
        size_t bytes = strlen(value);
        if (bytes + 2 > VALUE_BYTES - used) break;
        if (shown > 0) {
            memcpy(text + used, ", ", 2);
            used += 2;
        }
        memcpy(text + used, value, bytes);
        used += bytes;
    }
    if (shown < json_array_size(list))
        used += (size_t)snprintf(text + used, sizeof text - used, " (%zu more)", json_array_size(list) - shown);
    return add_fact(facts, key, text, used);
}

static bool all_plain(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); ++i)
        if (!is_plain(json_array_get(list, i))) return false;
    return true;
}

/* Recursion is bounded by DEPTH. */
static bool flatten(genseg_facts *facts, const char *key, const json_t *value, int depth)
{
    char space[64], below[KEY_BYTES];
    if (is_plain(value)) {
        const char *text = plain_text(value, space, sizeof space);
        return add_fact(facts, key, text, strlen(text));
    }
    if (depth == DEPTH) return add_fact(facts, key, "\xE2\x80\xA6", 3);
    if (json_is_array(value)) {
        if (all_plain(value)) return add_list(facts, key, value);
        for (size_t i = 0; i < json_array_size(value); ++i) {
            snprintf(below, sizeof below, "%s.%zu", key, i);
            if (!flatten(facts, below, json_array_get(value, i), depth + 1)) return false;
        }
        return true;
    }
    /* an iterator, since the library's loop macro hides a cast */
    json_t *object = (json_t *)(uintptr_t)value;
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        snprintf(below, sizeof below, "%s%s%s", key, *key ? "." : "", json_object_iter_key(at));
        if (!flatten(facts, below, json_object_iter_value(at), depth + 1)) return false;
    }
    return true;
}

ht_status genseg_facts_json(const char *run, const char *name, genseg_facts *out, ht_error *error)
{
    memset(out, 0, sizeof *out);
    char *bytes;
    size_t count;
    ht_status status = genseg_report_read(run, name, GENSEG_REPORT_FILE_BYTES, &bytes, &count, error);
    if (status != HT_OK || !bytes) return status;
    json_error_t finding;
    json_t *root = json_loadb(bytes, count, JSON_REJECT_DUPLICATES, &finding);
    free(bytes);
    if (!root) {
        for (char *p = finding.text; *p; ++p)
            if (*p < ' ' || *p > '~') *p = '?';
        return ht_fail(error, HT_EFORMAT, "%.200s/%s:%d:%d: is no JSON (%s); expected one object; remove the file", run,
                       name, finding.line, finding.column, finding.text);
    }
    bool fits = true;
    out->present = true;
    if (!json_is_object(root))
        status = ht_fail(error, HT_EFORMAT, "%.300s/%s: holds no JSON object; expected one object; remove the file", run,
                         name);
    else fits = flatten(out, "", root, 0);
    json_decref(root);
    if (!fits) status = ht_fail(error, HT_ENOMEM, "%.300s/%s: no memory for its entries", run, name);
    if (status != HT_OK) genseg_facts_free(out);
    return status;
}

/* Trims blanks at both ends, in place. */
static char *trim(char *text)
{
    while (isspace((unsigned char)*text)) ++text;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1])) --end;
    *end = 0;
    return text;
}

/* Cuts a comment off: the first # outside of quotes. */
static void cut_comment(char *line)
{
    bool quoted = false;
    for (char *p = line; *p; ++p) {
        if (*p == '\\' && quoted && p[1]) ++p;
        else if (*p == '"') quoted = !quoted;
        else if (*p == '#' && !quoted) {
            *p = 0;
            return;
        }
    }
}

static bool add_setting(genseg_facts *facts, char *line, char table[KEY_BYTES])
{
    char key[2 * KEY_BYTES];
    cut_comment(line);
    line = trim(line);
    size_t bytes = strlen(line);
    if (bytes == 0) return true;
    if (line[0] == '[' && line[bytes - 1] == ']') {
        line[bytes - 1] = 0;
        snprintf(table, KEY_BYTES, "%s", trim(line + 1));
        return true;
    }
    char *equals = strchr(line, '=');
    if (!equals) return add_fact(facts, "", line, bytes); /* not ours to judge: shown as it stands */
    *equals = 0;
    snprintf(key, sizeof key, "%s%s%.*s", table, *table ? "." : "", KEY_BYTES - 1, trim(line));
    char *value = trim(equals + 1);
    bytes = strlen(value);
    if (bytes >= 2 && value[0] == '"' && value[bytes - 1] == '"') {
        ++value;
        bytes -= 2;
    }
    return add_fact(facts, key, value, bytes);
}

ht_status genseg_facts_toml(const char *run, const char *name, genseg_facts *out, ht_error *error)
{
    memset(out, 0, sizeof *out);
    char *bytes, table[KEY_BYTES] = "";
    size_t count;
    ht_status status = genseg_report_read(run, name, GENSEG_REPORT_FILE_BYTES, &bytes, &count, error);
    if (status != HT_OK || !bytes) return status;
    out->present = true;
    bool fits = true;
    for (char *line = bytes; fits && line < bytes + count;) {
        char *end = memchr(line, '\n', (size_t)(bytes + count - line));
        if (!end) end = bytes + count;
        *end = 0;
        fits = add_setting(out, line, table);
        line = end + 1;
    }
    free(bytes);
    if (fits) return HT_OK;
    genseg_facts_free(out);
    return ht_fail(error, HT_ENOMEM, "%.300s/%s: no memory for its entries", run, name);
}

const char *genseg_facts_find(const genseg_facts *facts, const char *key)
{
    for (int32_t i = 0; i < facts->count; ++i)
        if (strcmp(facts->key[i], key) == 0) return facts->value[i];
    return NULL;
}

double genseg_facts_number(const genseg_facts *facts, const char *key)
{
    const char *text = genseg_facts_find(facts, key);
    if (!text || !*text) return (double)NAN;
    char *end;
    double value = strtod(text, &end);
    return *end == 0 && isfinite(value) ? value : (double)NAN;
}

void genseg_facts_free(genseg_facts *facts)
{
    for (int32_t i = 0; i < facts->count; ++i) {
        free(facts->key[i]);
        free(facts->value[i]);
    }
    free(facts->key);
    free(facts->value);
    memset(facts, 0, sizeof *facts);
}
