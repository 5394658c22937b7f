/*
 * Reads what a run left: whole files with a limit, and tables (CSV with quoted fields). Strict about what is there, so
 * that the report never shows a number that the file does not hold; an absent file is the caller's to judge. One rule is
 * lenient: a last line without its end is what a killed run leaves, so it is left out and said.
 */
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIELDS 64

/* Reads count bytes, no more and no fewer; false sets errno, 0 for a file that ended early. */
static bool read_all(int file, char *to, size_t count)
{
    for (size_t done = 0; done < count;) {
        ssize_t got = read(file, to + done, count - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            if (got == 0) errno = 0;
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

static ht_status read_open(int file, const char *path, size_t limit, char **bytes, size_t *count, ht_error *error)
{
    struct stat facts;
    if (fstat(file, &facts) != 0) return ht_fail(error, HT_EIO, "%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(facts.st_mode))
        return ht_fail(error, HT_EFORMAT, "%s: is no regular file; expected a file that genseg wrote; remove it", path);
    if (facts.st_size < 0 || (uint64_t)facts.st_size > limit)
        return ht_fail(error, HT_EFORMAT, "%s: has %lld bytes; expected at most %zu; remove it or shorten it", path,
                       (long long)facts.st_size, limit);
    *count = (size_t)facts.st_size;
    char *text = malloc(*count + 1);
    if (!text) return ht_fail(error, HT_ENOMEM, "%s: no memory for %zu bytes", path, *count);
    if (!read_all(file, text, *count)) {
        free(text);
        return ht_fail(error, HT_EIO, "%s: cannot be read: %s", path, errno ? strerror(errno) : "it became shorter");
    }
    text[*count] = 0;
    *bytes = text;
    return HT_OK;
}

ht_status genseg_report_read(const char *run, const char *name, size_t limit, char **bytes, size_t *count,
                             ht_error *error)
{
    char path[GENSEG_REPORT_PATH];
    *bytes = NULL;
    *count = 0;
    int length = snprintf(path, sizeof path, "%s/%s", run, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return ht_fail(error, HT_EINVALID, "%.60s...: the path is longer than %d bytes; expected a shorter one", run,
                       GENSEG_REPORT_PATH - 1);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not hold us */
    if (file < 0) {
        if (errno == ENOENT || errno == ENOTDIR) return HT_OK;
        return ht_fail(error, HT_EIO, "%s: cannot be read: %s", path, strerror(errno));
    }
    ht_status status = read_open(file, path, limit, bytes, count, error);
    close(file);
    return status;
}

/* One pass over a CSV text, which is cut into fields in place. */
typedef struct reader {
    const char *run, *file;
    char *at, *end;
    int64_t line, next_line;
    int32_t count;
    char *field[FIELDS];
    bool unfinished;
} reader;

typedef enum found { FOUND_RECORD, FOUND_END, FOUND_FAULT } found;

static found fault(const reader *r, ht_error *error, const char *what)
{
    ht_fail(error, HT_EFORMAT, "%.300s/%s:%lld: %s; repair the line or remove the file", r->run, r->file,
            (long long)r->line, what);
    return FOUND_FAULT;
}

/* Takes a quoted field at r->at (behind the first quote) out of its quotes. */
static bool unquote(reader *r)
{
    char *to = r->at;
    for (char *from = r->at; from < r->end; ++from) {
        if (*from == '\n') ++r->next_line;
        if (*from == '"') {
            if (from + 1 < r->end && from[1] == '"') ++from;
            else {
                *to = 0;
                r->at = from + 1;
                return true;
            }
        }
        *to++ = *from;
    }
    return false;
}

/* One field; the byte behind it stays readable in *behind. */
static found next_field(reader *r, char *behind, ht_error *error)
{
    if (r->count == FIELDS) return fault(r, error, "the line has more than 64 fields; expected those of its header");
    bool quoted = r->at < r->end && *r->at == '"';
    r->field[r->count++] = quoted ? ++r->at : r->at;
    if (quoted && !unquote(r)) {
        r->unfinished = true;
        return FOUND_END;
    }
    char *stop = r->at;
    while (!quoted && stop < r->end && *stop != ',' && *stop != '\n') ++stop;
    if (quoted && stop < r->end && *stop == '\r') ++stop;
    if (stop == r->end) {
        r->unfinished = true;
        return FOUND_END;
    }
    if (*stop != ',' && *stop != '\n')
        return fault(r, error, "text stands behind a closing quote; expected a comma or the line's end");
    *behind = *stop;
    if (!quoted && *behind == '\n' && stop > r->at && stop[-1] == '\r') stop[-1] = 0;
    *stop = 0;
    r->at = stop + 1;
    return FOUND_RECORD;
}

static found next_record(reader *r, ht_error *error)
{
    while (r->at < r->end && *r->at == '\n') {
        ++r->at;
        ++r->next_line;
    }
    r->line = r->next_line;
    r->count = 0;
    if (r->at == r->end) return FOUND_END;
    for (char behind = ','; behind != '\n';) {
        found what = next_field(r, &behind, error);
        if (what != FOUND_RECORD) return what;
    }
    ++r->next_line;
    return FOUND_RECORD;
}

/* A field as a number: empty is NAN and no fault. Blanks, hexadecimal and words but nan and inf are refused. */
static bool number_of(const char *field, double *out)
{
    *out = (double)NAN;
    if (!*field) return true;
    if (strspn(field, "+-.0123456789eEnNaAiIfFtTyY") != strlen(field)) return false;
    char *end;
    *out = strtod(field, &end);
    return *end == 0;
}

static found number_fault(const reader *r, ht_error *error, const char *column, const char *field)
{
    char shown[32], what[160];
    size_t i = 0;
    for (; field[i] && i < sizeof shown - 1; ++i) shown[i] = field[i];
    shown[i] = 0;
    for (i = 0; shown[i]; ++i)
        if (shown[i] < ' ' || shown[i] > '~') shown[i] = '?';
    snprintf(what, sizeof what, "the field %s is \"%s\"; expected a number or nothing", column, shown);
    return fault(r, error, what);
}

/* Where the form's columns stand in the header; -1 for one that is absent. */
static found read_header(reader *r, const genseg_table_form *form, int32_t place[GENSEG_TABLE_COLUMNS], int32_t *text,
                         int32_t *columns, ht_error *error)
{
    char what[128];
    found header = next_record(r, error);
    if (header == FOUND_FAULT) return header;
    if (header == FOUND_END) r->count = 0;
    *text = -1;
    for (int32_t c = 0; c < r->count && form->text; ++c)
        if (strcmp(r->field[c], form->text) == 0) *text = c;
    if (form->text && *text < 0) {
        snprintf(what, sizeof what, "the header has no column %s; expected the header that genseg writes", form->text);
        return fault(r, error, what);
    }
    *columns = 0;
    for (int32_t i = 0; i < GENSEG_TABLE_COLUMNS && form->name[i]; ++i) {
        place[i] = -1;
        for (int32_t c = 0; c < r->count; ++c)
            if (strcmp(r->field[c], form->name[i]) == 0) place[i] = c;
        if (place[i] < 0 && i < form->required) {
            snprintf(what, sizeof what, "the header has no column %s; expected the header that genseg writes",
                     form->name[i]);
            return fault(r, error, what);
        }
        ++*columns;
    }
    return FOUND_RECORD;
}

static found read_row(reader *r, const genseg_table_form *form, const int32_t *place, genseg_table *out,
                      ht_error *error)
{
    for (int32_t i = 0; i < out->columns; ++i) {
        double value = (double)NAN;
        const char *field = place[i] < 0 ? "" : r->field[place[i]];
        if (!number_of(field, &value)) return number_fault(r, error, form->name[i], field);
        if (*field && !isfinite(value) && out->not_finite++ == 0) {
            out->not_finite_row = out->count;
            out->not_finite_column = i;
        }
        out->column[i][out->count] = isfinite(value) ? value : (double)NAN;
    }
    if (form->order == 0) return FOUND_RECORD;
    double now = out->column[0][out->count];
    if (isnan(now) || now != floor(now) || fabs(now) > 1e15) return number_fault(r, error, form->name[0], r->field[place[0]]);
    if (out->count > 0) {
        double before = out->column[0][out->count - 1];
        if (now < before || (now == before && form->order == 2))
            return fault(r, error, "the round does not follow the one before; expected rising rounds");
    }
    return FOUND_RECORD;
}

static found read_rows(reader *r, const genseg_table_form *form, genseg_table *out, ht_error *error)
{
    int32_t place[GENSEG_TABLE_COLUMNS], text;
    found what = read_header(r, form, place, &text, &out->columns, error);
    if (what != FOUND_RECORD) return what;
    int32_t fields = r->count;

    /* a record needs a line of its own, so the line ends bound the rows */
    size_t rows = 1;
    for (const char *p = r->at; p < r->end && (p = memchr(p, '\n', (size_t)(r->end - p))) != NULL; ++p) ++rows;
    out->numbers = malloc(rows * (size_t)out->columns * sizeof(double) + 1); /* bounded by the file's limit */
    out->text = calloc(rows, sizeof *out->text);
    if (!out->numbers || !out->text) {
        ht_fail(error, HT_ENOMEM, "%.300s/%s: no memory for %zu lines", r->run, r->file, rows);
        return FOUND_FAULT;
    }
    for (int32_t i = 0; i < out->columns; ++i) out->column[i] = out->numbers + (size_t)i * rows;

    while ((what = next_record(r, error)) == FOUND_RECORD) {
        if (r->count != fields) {
            char words[96];
            snprintf(words, sizeof words, "the line has %d fields; expected %d as in the header", (int)r->count,
                     (int)fields);
            return fault(r, error, words);
        }
        if (read_row(r, form, place, out, error) == FOUND_FAULT) return FOUND_FAULT;
        out->text[out->count++] = text < 0 ? "" : r->field[text];
    }
    return what;
}

ht_status genseg_table_read(const char *run, const genseg_table_form *form, genseg_table *out, ht_error *error)
{
    memset(out, 0, sizeof *out);
    size_t count;
    ht_status status = genseg_report_read(run, form->file, GENSEG_REPORT_FILE_BYTES, &out->bytes, &count, error);
    if (status != HT_OK || !out->bytes) return status;
    out->present = true;
    reader r = {.run = run, .file = form->file, .at = out->bytes, .end = out->bytes + count, .line = 1, .next_line = 1};
    if (memchr(out->bytes, 0, count)) {
        genseg_table_free(out);
        return ht_fail(error, HT_EFORMAT, "%.300s/%s: holds zero bytes; expected a text file; remove it", run,
                       form->file);
    }
    if (read_rows(&r, form, out, error) == FOUND_FAULT) {
        genseg_table_free(out);
        return error && error->status != HT_OK ? error->status : HT_EFORMAT;
    }
    out->unfinished = r.unfinished;
    return HT_OK;
}

void genseg_table_free(genseg_table *table)
{
    free(table->bytes);
    free(table->numbers);
    free(table->text);
    memset(table, 0, sizeof *table);
}

int64_t genseg_column_computed(const double *values, int64_t count)
{
    int64_t found_count = 0;
    for (int64_t i = 0; i < count; ++i) found_count += !isnan(values[i]);
    return found_count;
}

int64_t genseg_column_nonzero(const double *values, int64_t count)
{
    int64_t found_count = 0;
    for (int64_t i = 0; i < count; ++i) found_count += !isnan(values[i]) && values[i] != 0;
    return found_count;
}
