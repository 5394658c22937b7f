/*
 * The TOML subset of toml.h. One pass over a text that was checked to be UTF-8 without stray control characters first,
 * so that strings and comments need no further care. Strings of an entry are decoded into one scratch buffer as long as
 * the text (an escape is never shorter than what it stands for); no allocation follows a claim of the file.
 */
#include "toml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORD_BYTES = 128 };

/* What a name in the file stands for. A table that is only a prefix of another may still get a header of its own. */
typedef enum name_kind { NAME_KEY = 1, NAME_TABLE, NAME_PREFIX } name_kind;

typedef struct name_entry {
    char text[GENSEG_TOML_KEY];
    name_kind kind;
} name_entry;

typedef struct reader {
    const char *file, *text;
    size_t bytes, at, line_start;
    int32_t line;
    char *scratch; /* strings of the present entry */
    size_t scratch_used;
    genseg_toml_value *items; /* array of the present entry   */
    int32_t item_space;
    name_entry *names;
    int32_t name_count, name_space;
    char table[GENSEG_TOML_KEY]; /* dotted, "" at the top        */
    genseg_toml_visit visit;
    void *context;
    ht_error *error;
} reader;

/* Column of a byte of the present line, in characters from 1. */
static int32_t column_of(const reader *r, size_t at)
{
    int32_t column = 1;
    for (size_t k = r->line_start; k < at && k < r->bytes; k++)
        if (((unsigned char)r->text[k] & 0xC0u) != 0x80u) column++;
    return column;
}

static ht_status refuse(const reader *r, size_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));
static ht_status refuse(const reader *r, size_t at, const char *format, ...)
{
    char place[GENSEG_PLACE_TEXT], what[256];
    va_list list;
    va_start(list, format);
    vsnprintf(what, sizeof what, format, list);
    va_end(list);
    return ht_fail(r->error, HT_EFORMAT, "%s: %s", genseg_place_text(r->file, r->line, column_of(r, at), place), what);
}

/* ---- characters ---- */

/* Value of a hexadecimal digit, 16 for anything else. */
static int hexadecimal(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 16;
}

/* May stand in a number, a boolean or a date: what a word is made of. */
static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("_+-.:", c));
}

static char peek(const reader *r) { return r->at < r->bytes ? r->text[r->at] : 0; }

static void skip_space(reader *r)
{
    while (peek(r) == ' ' || peek(r) == '\t') r->at++;
}

/* Passes one line end, if there is one here. */
static bool pass_newline(reader *r)
{
    if (peek(r) == '\r') r->at++;
    if (peek(r) != '\n') return false;
    r->at++;
    r->line++;
    r->line_start = r->at;
    return true;
}

static void skip_comment(reader *r)
{
    if (peek(r) != '#') return;
    while (r->at < r->bytes && peek(r) != '\n' && peek(r) != '\r') r->at++;
}

/* Space, a comment, and the end of the line or of the file. */
static ht_status end_line(reader *r, const char *after)
{
    skip_space(r);
    skip_comment(r);
    if (r->at >= r->bytes || pass_newline(r)) return HT_OK;
    return refuse(r, r->at, "there is more on the line after %s; expected its end; put each entry on a line of its own",
                  after);
}

/* Length of the UTF-8 character at c, or 0 if it is none. */
static size_t character_bytes(const unsigned char *c, size_t left)
{
    if (c[0] < 0x80) return 1;
    size_t count = c[0] >= 0xF0 ? 4 : c[0] >= 0xE0 ? 3 : 2;
    if (c[0] < 0xC2 || c[0] > 0xF4 || left < count) return 0;
    for (size_t k = 1; k < count; k++)
        if ((c[k] & 0xC0u) != 0x80u) return 0;
    if ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] > 0x9F) || (c[0] == 0xF0 && c[1] < 0x90) ||
        (c[0] == 0xF4 && c[1] > 0x8F))
        return 0;
    return count;
}

/* The whole text: UTF-8, and no control character but tab, line feed, and carriage return before line feed. */
static ht_status check_characters(reader *r)
{
    const unsigned char *c = (const unsigned char *)r->text;
    for (size_t k = 0; k < r->bytes;) {
        size_t count = character_bytes(c + k, r->bytes - k);
        if (!count) return refuse(r, k, "byte 0x%02X is not UTF-8; expected UTF-8 text; save the file as UTF-8", c[k]);
        bool line_end = c[k] == '\n' || (c[k] == '\r' && k + 1 < r->bytes && c[k + 1] == '\n');
        if ((c[k] < 0x20 && c[k] != '\t' && !line_end) || c[k] == 0x7F)
            return refuse(r, k, "control character 0x%02X; expected text; remove it", c[k]);
        k += count;
        if (c[k - 1] == '\n') {
            r->line++;
            r->line_start = k;
        }
    }
    r->line = 1;
    r->line_start = 0;
    return HT_OK;
}

/* ---- values ---- */

static void put_character(reader *r, uint32_t code)
{
    char *to = r->scratch + r->scratch_used;
    if (code < 0x80) {
        to[0] = (char)code;
        r->scratch_used += 1;
    } else if (code < 0x800) {
        to[0] = (char)(0xC0u | code >> 6);
        to[1] = (char)(0x80u | (code & 63u));
        r->scratch_used += 2;
    } else if (code < 0x10000) {
        to[0] = (char)(0xE0u | code >> 12);
        to[1] = (char)(0x80u | (code >> 6 & 63u));
        to[2] = (char)(0x80u | (code & 63u));
        r->scratch_used += 3;
    } else {
        to[0] = (char)(0xF0u | code >> 18);
        to[1] = (char)(0x80u | (code >> 12 & 63u));
        to[2] = (char)(0x80u | (code >> 6 & 63u));
        to[3] = (char)(0x80u | (code & 63u));
        r->scratch_used += 4;
    }
}

/* What follows a backslash. */
static ht_status read_escape(reader *r)
{
    static const char letters[] = "btnfr\"\\", meaning[] = "\b\t\n\f\r\"\\";
    size_t start = r->at - 1;
    char letter = peek(r);
    const char *found = letter ? strchr(letters, letter) : NULL;
    if (found) {
        r->at++;
        put_character(r, (unsigned char)meaning[found - letters]);
        return HT_OK;
    }
    if (letter != 'u' && letter != 'U')
        return refuse(r, start,
                      "unknown escape in a string; expected one of \\b \\t \\n \\f \\r \\\" \\\\ \\u \\U; "
                      "write \\\\ for a backslash, or single quotes around the text");
    int digits = letter == 'u' ? 4 : 8;
    uint32_t code = 0;
    r->at++;
    for (int k = 0; k < digits; k++, r->at++) {
        int digit = hexadecimal(peek(r));
        if (digit > 15)
            return refuse(r, start, "escape \\%c is cut short; expected %d hexadecimal digits; complete it", letter,
                          digits);
        code = code << 4 | (uint32_t)digit;
    }
    if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return refuse(r, start,
                      "escape stands for no character; expected U+0001 to U+10FFFF without surrogates; correct it");
    put_character(r, code);
    return HT_OK;
}

static ht_status read_string(reader *r, genseg_toml_value *value)
{
    char quote = peek(r);
    size_t start = r->at;
    if (r->at + 2 < r->bytes && r->text[r->at + 1] == quote && r->text[r->at + 2] == quote)
        return refuse(r, start, "a multi-line string; expected a string on one line; write it between single marks");
    r->at++;
    value->kind = GENSEG_TOML_STRING;
    value->text = r->scratch + r->scratch_used;
    for (;;) {
        if (r->at >= r->bytes || peek(r) == '\n' || peek(r) == '\r')
            return refuse(r, start, "a string without its end; expected %c before the end of the line; add it", quote);
        char c = r->text[r->at++];
        if (c == quote) break;
        if (c == '\\' && quote == '"') {
            ht_status status = read_escape(r);
            if (status) return status;
        } else {
            r->scratch[r->scratch_used++] = c;
        }
    }
    r->scratch[r->scratch_used++] = 0;
    return HT_OK;
}

/* true, false or a number: a run of the letters that these may have. */
static ht_status read_word(reader *r, genseg_toml_value *value)
{
    char word[WORD_BYTES];
    size_t start = r->at, length = 0;
    while (is_word(peek(r))) {
        if (length + 1 < sizeof word) word[length++] = peek(r);
        r->at++;
    }
    word[length] = 0;
    if (r->at - start > length)
        return refuse(r, start, "a value of %zu characters; expected a shorter number; round it", r->at - start);
    if (length == 0)
        return refuse(
            r, start,
            "no value here; expected a string in quotes, a number, true, false, or an array of these; add one");
    if (!strcmp(word, "true") || !strcmp(word, "false")) {
        value->kind = GENSEG_TOML_BOOLEAN;
        value->truth = word[0] == 't';
        return HT_OK;
    }
    const char *problem = genseg_toml_number(word, value);
    if (!problem) return HT_OK;
    return refuse(r, start, "%.60s %s; expected a number, true, false, or a string in quotes; correct it", word,
                  problem);
}

static ht_status read_scalar(reader *r, genseg_toml_value *value)
{
    value->line = r->line;
    value->column = column_of(r, r->at);
    if (peek(r) == '"' || peek(r) == '\'') return read_string(r, value);
    if (peek(r) == '[') return refuse(r, r->at, "an array inside an array; expected plain values; flatten it");
    if (peek(r) == '{')
        return refuse(r, r->at, "an inline table; expected plain values; write a table [name] of its own");
    return read_word(r, value);
}

/* Space, comments and line ends, as they may stand between the values of an array. */
static void skip_lines(reader *r)
{
    do {
        skip_space(r);
        skip_comment(r);
    } while (pass_newline(r));
}

/* A list with room for one more than `count`; NULL, and the reason, without memory: the list is what it was. */
static void *grown(reader *r, void *list, int32_t count, int32_t *space, size_t bytes, const char *what)
{
    char place[GENSEG_PLACE_TEXT];
    if (count < *space) return list;
    int32_t wanted = *space ? 2 * *space : 64;
    void *more = realloc(list, (size_t)wanted * bytes);
    if (more) *space = wanted;
    else ht_fail(r->error, HT_ENOMEM, "%s: no memory for %s; expected a few kilobytes", genseg_place_text(r->file, 0, 0, place),
                 what);
    return more;
}

static ht_status add_item(reader *r, int32_t count, genseg_toml_value item)
{
    genseg_toml_value *items = grown(r, r->items, count, &r->item_space, sizeof *items, "an array");
    if (!items) return HT_ENOMEM;
    r->items = items;
    items[count] = item;
    return HT_OK;
}

static ht_status read_array(reader *r, genseg_toml_value *value)
{
    size_t start = r->at++;
    int32_t start_line = r->line, start_column = column_of(r, start), count = 0;
    for (;;) {
        skip_lines(r);
        if (peek(r) == ']') break;
        if (r->at >= r->bytes) {
            char place[GENSEG_PLACE_TEXT];
            return ht_fail(r->error, HT_EFORMAT, "%s: an array without its end; expected ]; add it",
                           genseg_place_text(r->file, start_line, start_column, place));
        }
        if (count == GENSEG_TOML_ITEMS)
            return refuse(r, r->at, "an array of more than %d values; expected at most that many; shorten it",
                          GENSEG_TOML_ITEMS);
        genseg_toml_value item = {0};
        ht_status status = read_scalar(r, &item);
        if (!status) status = add_item(r, count, item);
        if (status) return status;
        count++;
        skip_lines(r);
        if (peek(r) == ',')
            r->at++;
        else if (peek(r) != ']' && r->at < r->bytes)
            return refuse(r, r->at, "no comma after a value of an array; expected , or ]; add it");
    }
    r->at++;
    *value = (genseg_toml_value){
        .kind = GENSEG_TOML_ARRAY, .line = start_line, .column = start_column, .items = r->items, .count = count};
    return HT_OK;
}

/* ---- names ---- */

/* Enters a dotted name; a table may be named again only if it was a mere prefix so far. */
static ht_status enter_name(reader *r, size_t at, const char *name, name_kind kind)
{
    for (int32_t k = 0; k < r->name_count; k++) {
        name_entry *known = &r->names[k];
        if (strcmp(known->text, name)) continue;
        if (kind == NAME_PREFIX && known->kind != NAME_KEY) return HT_OK;
        if (kind == NAME_TABLE && known->kind == NAME_PREFIX) {
            known->kind = NAME_TABLE;
            return HT_OK;
        }
        return refuse(r, at, "%.100s is there already; expected each key and table once; remove one of the two", name);
    }
    if (r->name_count == GENSEG_TOML_NAMES)
        return refuse(r, at, "more than %d keys and tables; expected at most that many; shorten the file",
                      GENSEG_TOML_NAMES);
    name_entry *names = grown(r, r->names, r->name_count, &r->name_space, sizeof *names, "its keys");
    if (!names) return HT_ENOMEM;
    r->names = names;
    name_entry *entry = &names[r->name_count++];
    snprintf(entry->text, sizeof entry->text, "%s", name);
    entry->kind = kind;
    return HT_OK;
}

static bool is_bare(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* Appends one bare key to a dotted name. */
static ht_status read_name(reader *r, char name[GENSEG_TOML_KEY])
{
    size_t start = r->at, used = strlen(name);
    if (peek(r) == '"' || peek(r) == '\'')
        return refuse(r, start, "a key in quotes; expected a plain key; remove the quotes");
    if (used) name[used++] = '.';
    while (is_bare(peek(r))) {
        if (used + 2 >= GENSEG_TOML_KEY)
            return refuse(r, start, "a key of more than %d bytes; expected a shorter one; shorten it",
                          GENSEG_TOML_KEY - 2);
        name[used++] = r->text[r->at++];
    }
    name[used] = 0;
    if (r->at == start)
        return refuse(r, start, "no key here; expected KEY = VALUE, [TABLE] or # comment; correct the line");
    return HT_OK;
}

static ht_status read_table(reader *r)
{
    size_t start = r->at++, inside;
    ht_status status = HT_OK;
    if (peek(r) == '[')
        return refuse(r, start, "an array of tables; expected a table [name]; use one pair of brackets");
    r->table[0] = 0;
    skip_space(r);
    inside = r->at;
    for (;;) {
        status = read_name(r, r->table);
        if (status) return status;
        skip_space(r);
        if (peek(r) != '.') break;
        r->at++;
        skip_space(r);
        status = enter_name(r, inside, r->table, NAME_PREFIX);
        if (status) return status;
    }
    if (peek(r) != ']') return refuse(r, r->at, "a table header without its end; expected ]; add it");
    r->at++;
    status = enter_name(r, inside, r->table, NAME_TABLE);
    genseg_toml_entry entry = {.file = r->file, .key = r->table, .line = r->line, .column = column_of(r, inside)};
    entry.value = (genseg_toml_value){.kind = GENSEG_TOML_TABLE, .line = r->line, .column = entry.column};
    if (!status) status = end_line(r, "a table header");
    return status ? status : r->visit(r->context, &entry, r->error);
}

static ht_status read_pair(reader *r)
{
    char key[GENSEG_TOML_KEY];
    size_t start = r->at;
    int32_t line = r->line, column = column_of(r, start);
    genseg_toml_value value = {0};
    memcpy(key, r->table, sizeof key);
    ht_status status = read_name(r, key);
    if (!status) status = enter_name(r, start, key, NAME_KEY);
    if (status) return status;
    skip_space(r);
    if (peek(r) == '.') return refuse(r, r->at, "a dotted key; expected a plain key; put it below a table [name]");
    if (peek(r) != '=') return refuse(r, r->at, "no = after key %.100s; expected KEY = VALUE; add it", key);
    r->at++;
    skip_space(r);
    r->scratch_used = 0;
    status = peek(r) == '[' ? read_array(r, &value) : read_scalar(r, &value);
    if (!status) status = end_line(r, "a value");
    if (status) return status;
    genseg_toml_entry entry = {.file = r->file, .key = key, .line = line, .column = column, .value = value};
    return r->visit(r->context, &entry, r->error);
}

ht_status genseg_toml_parse(const char *name, const char *text, size_t bytes, genseg_toml_visit visit, void *context,
                            ht_error *error)
{
    char place[GENSEG_PLACE_TEXT];
    reader r = {
        .file = name, .text = text, .bytes = bytes, .line = 1, .visit = visit, .context = context, .error = error};
    if (bytes > GENSEG_TOML_BYTES)
        return ht_fail(error, HT_EFORMAT, "%s: more than %d bytes; expected a configuration; name another file",
                       genseg_place_text(name, 0, 0, place), GENSEG_TOML_BYTES);
    r.scratch = malloc(bytes + 1);
    if (!r.scratch)
        return ht_fail(error, HT_ENOMEM, "%s: no memory to read it; expected %zu bytes",
                       genseg_place_text(name, 0, 0, place), bytes + 1);
    ht_status status = check_characters(&r);
    while (!status && r.at < r.bytes) {
        skip_space(&r);
        skip_comment(&r);
        if (r.at >= r.bytes) break;
        if (pass_newline(&r)) continue;
        status = peek(&r) == '[' ? read_table(&r) : read_pair(&r);
    }
    free(r.scratch);
    free(r.items);
    free(r.names);
    return status;
}

ht_status genseg_toml_read(const char *path, genseg_toml_visit visit, void *context, ht_error *error)
{
    char place[GENSEG_PLACE_TEXT];
    genseg_place_text(path, 0, 0, place);
    /* not blocking, so that a FIFO is refused and not waited for */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat facts;
    if (file < 0 || fstat(file, &facts)) {
        ht_fail(error, HT_EIO, "%s: %s; expected a configuration file; check the path", place, strerror(errno));
        if (file >= 0) close(file);
        return HT_EIO;
    }
    size_t used = 0, space = GENSEG_TOML_BYTES + 1;
    char *text = NULL;
    ht_status status = HT_OK;
    if (!S_ISREG(facts.st_mode))
        status =
            ht_fail(error, HT_EFORMAT, "%s: not a regular file; expected a configuration file; check the path", place);
    else if (!(text = malloc(space)))
        status = ht_fail(error, HT_ENOMEM, "%s: no memory to read it; expected %zu bytes", place, space);
    while (!status && used < space) {
        ssize_t got = read(file, text + used, space - used);
        if (got == 0) break;
        if (got > 0)
            used += (size_t)got;
        else if (errno != EINTR)
            status =
                ht_fail(error, HT_EIO, "%s: %s; expected a configuration file; check the path", place, strerror(errno));
    }
    close(file);
    if (!status) status = genseg_toml_parse(path, text, used, visit, context, error);
    free(text);
    return status;
}
