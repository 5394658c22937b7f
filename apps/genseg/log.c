/*
 * What a run writes about itself in numbers: log.csv, metrics.json, cases.csv. Numbers have as many digits as read back
 * to the same value; what was not computed is empty (CSV) or null (JSON), never 0.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ht/store.h>

#include "picture.h"
#include "run.h"
#include "toml.h"

static const char log_header[] = GENSEG_LOG_COLUMNS "\n";

/* A table whose rows begin with their round: log.csv, and others with several rows for a round. */
struct genseg_log {
    FILE *file;
    char *path;
    int64_t round; /* of the last row */
};

/* folder/name in new memory; NULL without memory */
static char *join_path(const char *folder, const char *name)
{
    size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path) snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

static ht_status no_memory(const char *what, ht_error *error)
{
    char shown[GENSEG_PLACE];
    return ht_fail(error, HT_ENOMEM, "%s: no memory; expected room for its text; close other programs",
                   genseg_place(what, shown));
}

static ht_status refused(const char *path, ht_error *error)
{
    char shown[GENSEG_PLACE];
    return ht_fail(error, HT_EIO, "%s: %s; expected a file that can be written; look at the disk",
                   genseg_place(path, shown), strerror(errno));
}

/* ---- log.csv ---- */

/* The whole file in new memory. A missing one is empty text. */
static ht_status read_all(const char *path, char **text, size_t *bytes, ht_error *error)
{
    struct stat facts;
    char shown[GENSEG_PLACE];
    *text = NULL;
    *bytes = 0;
    FILE *file = fopen(path, "rbe");
    if (!file) return errno == ENOENT ? HT_OK : refused(path, error);
    ht_status status = HT_OK;
    if (fstat(fileno(file), &facts) || !S_ISREG(facts.st_mode))
        status = ht_fail(error, HT_EFORMAT, "%s: not a regular file; expected the log of a run; move it away",
                         genseg_place(path, shown));
    else if (!(*text = malloc((size_t)facts.st_size + 1)))
        status = no_memory(path, error);
    else
        *bytes = fread(*text, 1, (size_t)facts.st_size, file);
    if (!status && ferror(file)) status = refused(path, error);
    fclose(file);
    return status;
}

/* The round that a row begins with, or -1. */
static int64_t row_round(const char *row, const char *end)
{
    int64_t round = 0;
    const char *c = row;
    for (; c < end && *c >= '0' && *c <= '9'; c++)
        if (__builtin_mul_overflow(round, 10, &round) || __builtin_add_overflow(round, *c - '0', &round)) return -1;
    return c > row && c < end && *c == ',' ? round : -1;
}

/* How many bytes of a log belong to rounds up to `last`; sets the last round kept. */
static ht_status kept_bytes(const genseg_log *log, const char *header, const char *text, size_t bytes, int64_t last,
                            size_t *kept, int64_t *round, ht_error *error)
{
    const char *path = log->path;
    bool one_each = header == log_header; /* one row for a round */
    size_t at = strlen(header);
    char shown[GENSEG_PLACE];
    if (bytes < at || memcmp(text, header, at))
        return ht_fail(error, HT_EFORMAT,
                       "%s: line 1 is not this version's header; expected %.20s...; "
                       "move the file away to begin a new one",
                       genseg_place(path, shown), header);
    *round = -1;
    for (int64_t line = 2; at < bytes; line++) {
        const char *end = memchr(text + at, '\n', bytes - at);
        if (!end) break; /* torn while it was written */
        int64_t found = row_round(text + at, end);
        if (one_each ? found <= *round : found < *round)
            return ht_fail(error, HT_EFORMAT,
                           "%s: line %lld has no round above %lld; expected ascending rounds; "
                           "move the file away to begin a new one",
                           genseg_place(path, shown), (long long)line, (long long)*round);
        if (found > last) break;
        *round = found;
        at = (size_t)(end - text) + 1;
    }
    *kept = at;
    return HT_OK;
}

genseg_log *genseg_log_open(const char *run, int64_t resume_round, ht_error *error)
{
    return genseg_table_open(run, "log.csv", log_header, resume_round, error);
}

genseg_log *genseg_table_open(const char *run, const char *name, const char *header, int64_t resume_round,
                              ht_error *error)
{
    genseg_log *log = calloc(1, sizeof *log);
    char *text = NULL;
    size_t bytes = 0, kept = 0;
    ht_status status = HT_OK;
    if (!log || !(log->path = join_path(run, name))) {
        no_memory(run, error);
        free(log);
        return NULL;
    }
    log->round = -1;
    if (resume_round > 0) status = read_all(log->path, &text, &bytes, error);
    if (!status && bytes) status = kept_bytes(log, header, text, bytes, resume_round, &kept, &log->round, error);
    if (!status && !kept) status = ht_file_write(log->path, header, strlen(header), error);
    if (!status && kept && kept < bytes) status = ht_file_write(log->path, text, kept, error);
    free(text);
    if (!status && !(log->file = fopen(log->path, "abe"))) status = refused(log->path, error);
    if (!status) return log;
    genseg_log_close(log);
    return NULL;
}

ht_status genseg_table_append(genseg_log *table, const char *row, ht_error *error)
{
    if (fputs(row, table->file) < 0 || fputc('\n', table->file) < 0 || fflush(table->file))
        return refused(table->path, error);
    return HT_OK;
}

static void put_number(FILE *file, double value)
{
    char number[GENSEG_NUMBER_TEXT];
    fprintf(file, ",%s", isnan(value) ? "" : genseg_number_text(value, number));
}

void genseg_log_values(const genseg_log_row *row, double values[GENSEG_LOG_VALUES])
{
    /* in the order of GENSEG_LOG_COLUMNS */
    const double all[GENSEG_LOG_VALUES] = {row->seconds,
                                           row->loss_gan,
                                           row->loss_discriminator,
                                           row->loss_seg,
                                           row->loss_val,
                                           row->hypergradient_norm,
                                           row->hypergradient_norm_eq9,
                                           row->hypergradient_norm_direct,
                                           row->hypergradient_cosine,
                                           row->alpha_step,
                                           row->alpha_decay_step,
                                           row->alpha_largest,
                                           row->val_dice,
                                           row->val_jaccard,
                                           row->segmenter_rate};
    memcpy(values, all, sizeof all);
}

ht_status genseg_log_append(genseg_log *log, const genseg_log_row *row, ht_error *error)
{
    double values[GENSEG_LOG_VALUES];
    char shown[GENSEG_PLACE];
    if (row->round <= log->round)
        return ht_fail(error, HT_EINVALID,
                       "%s: round %lld after round %lld; expected ascending rounds; append each once",
                       genseg_place(log->path, shown), (long long)row->round, (long long)log->round);
    genseg_log_values(row, values);
    fprintf(log->file, "%lld", (long long)row->round);
    for (size_t k = 0; k < GENSEG_LOG_VALUES; k++) put_number(log->file, values[k]);
    fputc('\n', log->file);
    if (fflush(log->file) || ferror(log->file)) return refused(log->path, error);
    log->round = row->round;
    return HT_OK;
}

ht_status genseg_log_sync(genseg_log *log, ht_error *error)
{
    if (fflush(log->file) || fsync(fileno(log->file))) return refused(log->path, error);
    return HT_OK;
}

void genseg_log_close(genseg_log *log)
{
    if (!log) return;
    if (log->file) fclose(log->file);
    free(log->path);
    free(log);
}

/* ---- metrics ---- */

static int by_value(const void *a, const void *b)
{
    double x = 0, y = 0;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

genseg_summary genseg_summarise(const double *values, int32_t count)
{
    genseg_summary none = {NAN, NAN, NAN}, found = {0};
    if (count < 1) return none;
    for (int32_t k = 0; k < count; k++) found.mean += values[k];
    found.mean /= count;
    for (int32_t k = 0; k < count; k++) found.sd += (values[k] - found.mean) * (values[k] - found.mean);
    found.sd = count > 1 ? sqrt(found.sd / (count - 1)) : 0;
    double *sorted = malloc((size_t)count * sizeof *sorted);
    if (!sorted) return none;
    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    found.median = count % 2 ? sorted[count / 2] : 0.5 * (sorted[count / 2 - 1] + sorted[count / 2]);
    free(sorted);
    return found;
}

static void put_json_number(FILE *to, double value)
{
    char number[GENSEG_NUMBER_TEXT];
    fputs(isfinite(value) ? genseg_number_text(value, number) : "null", to);
}

static void put_json_text(FILE *to, const char *text)
{
    fputc('"', to);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(to, "\\%c", *c);
        else if (*c < 0x20 || *c == 0x7F)
            fprintf(to, "\\u%04x", *c);
        else
            fputc(*c, to);
    }
    fputc('"', to);
}

static void put_summary(FILE *to, const char *name, genseg_summary summary)
{
    fprintf(to, "  \"%s\": {\"mean\": ", name);
    put_json_number(to, summary.mean);
    fputs(", \"sd\": ", to);
    put_json_number(to, summary.sd);
    fputs(", \"median\": ", to);
    put_json_number(to, summary.median);
    fputs("},\n", to);
}

static void put_metrics(FILE *to, const genseg_metrics *metrics)
{
    fputs("{\n  \"split\": ", to);
    put_json_text(to, metrics->split);
    fprintf(to, ",\n  \"cases\": %d,\n  \"cases_empty\": %d,\n", (int)metrics->cases, (int)metrics->cases_empty);
    put_summary(to, "dice", metrics->dice);
    put_summary(to, "jaccard", metrics->jaccard);
    put_summary(to, "precision", metrics->precision);
    put_summary(to, "recall", metrics->recall);
    put_summary(to, "dice_nonempty", metrics->dice_nonempty);
    fputs("  \"selection\": {\"metric\": ", to);
    put_json_text(to, metrics->selection_metric);
    fprintf(to, ", \"round\": %lld}\n}\n", (long long)metrics->selection_round);
}

/*
 * RFC 4180: quotes around, inner quotes doubled. A name that a spreadsheet would take for a formula gets an apostrophe
 * in front, as spreadsheets themselves mark text.
 */
static void put_csv_text(FILE *to, const char *text)
{
    fputc('"', to);
    if (*text && strchr("=+-@\t\r\n", *text)) fputc('\'', to);
    for (; *text; text++) {
        if (*text == '"') fputc('"', to);
        fputc(*text, to);
    }
    fputc('"', to);
}

static void put_cases(FILE *to, const genseg_case_row *rows, int32_t count)
{
    fputs("case,dice,jaccard,precision,recall,true_positive,false_positive,false_negative,truth_pixels,"
          "predicted_pixels,width,height\n",
          to);
    for (int32_t k = 0; k < count; k++) {
        const genseg_case_row *row = &rows[k];
        put_csv_text(to, row->name);
        put_number(to, row->score.dice);
        put_number(to, row->score.jaccard);
        put_number(to, row->score.precision);
        put_number(to, row->score.recall);
        fprintf(to, ",%lld,%lld,%lld,%lld,%lld,%lld,%lld\n", (long long)row->score.true_positive,
                (long long)row->score.false_positive, (long long)row->score.false_negative,
                (long long)row->truth_pixels, (long long)row->predicted_pixels, (long long)row->width,
                (long long)row->height);
    }
}

/* Either metrics.json (rows NULL) or cases.csv, made in memory and written durably. */
static ht_status write_one(const char *folder, const char *name, const genseg_metrics *metrics,
                           const genseg_case_row *rows, int32_t count, ht_error *error)
{
    char *text = NULL, *path = join_path(folder, name);
    size_t bytes = 0;
    FILE *to = path ? open_memstream(&text, &bytes) : NULL;
    ht_status status = HT_OK;
    if (!to) {
        free(path);
        return no_memory(folder, error);
    }
    if (metrics)
        put_metrics(to, metrics);
    else
        put_cases(to, rows, count);
    bool complete = !ferror(to);
    if (fclose(to) || !complete) status = no_memory(path, error);
    if (!status) status = ht_file_write(path, text, bytes, error);
    free(text);
    free(path);
    return status;
}

ht_status genseg_metrics_write(const char *folder, const genseg_metrics *metrics, const genseg_case_row *rows,
                               int32_t count, ht_error *error)
{
    ht_status status = write_one(folder, "cases.csv", NULL, rows, count, error);
    return status ? status : write_one(folder, "metrics.json", metrics, NULL, 0, error);
}
