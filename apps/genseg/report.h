/*
 * Inside of the report: what report.c and its neighbours share. Not for the rest of the application (run.h is).
 * Three layers: text that cannot be broken out of (report_text.c), readers of the run directory's files
 * (report_files.c, report_facts.c), and charts (report_chart.c). Memory trouble while writing is kept in the text
 * itself and asked for once, at the end.
 */
#ifndef GENSEG_REPORT_H
#define GENSEG_REPORT_H

#include <stdbool.h>

#include <ht/base.h>

/* ---- text: grows; after a refused allocation it takes nothing more ---- */
typedef struct genseg_html {
    char *text;
    size_t used, room;
    bool refused;
} genseg_html;

/** Appends our own mark-up as it is. Never call it with text that comes from a file. */
void genseg_html_raw(genseg_html *html, const char *markup);
/** Our own mark-up with numbers in it; at most 500 bytes at a time. Never %s with text that comes from a file. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void genseg_html_format(genseg_html *html, const char *format, ...);
/** Any bytes as text: mark-up, quotes, slashes and controls lose their meaning, broken UTF-8 becomes U+FFFD. */
void genseg_html_text(genseg_html *html, const char *text);
/** At most `limit` bytes of the text, with an ellipsis if there is more. */
void genseg_html_text_start(genseg_html *html, const char *text, size_t limit);
/** A number with so many significant digits, as 0.0123, 12,300 or 1.23x10^-5 in typeset form; a dash for NAN. */
void genseg_html_number(genseg_html *html, double value, int digits);
/** Always with a power of ten and all digits, for columns whose numbers are compared; a dash for NAN. */
void genseg_html_scientific(genseg_html *html, double value, int digits);
/** A number with so many decimals; a dash for NAN. */
void genseg_html_fixed(genseg_html *html, double value, int decimals);
void genseg_html_base64(genseg_html *html, const uint8_t *bytes, size_t count);
/** Document head with policy and style, up to and with <body>. */
void genseg_html_begin(genseg_html *html);

/* ---- files ---- */
#define GENSEG_REPORT_FILE_BYTES ((size_t)64 << 20)
#define GENSEG_REPORT_PATH 4096

/**
 * Reads RUN/name whole, with a 0 after it; *bytes NULL if there is no such file. A file that is not regular, larger
 * than limit, or unreadable: EIO or EFORMAT. The caller frees *bytes.
 */
ht_status genseg_report_read(const char *run, const char *name, size_t limit, char **bytes, size_t *count,
                             ht_error *error);

#define GENSEG_TABLE_COLUMNS 16

/* What to read from a CSV file. Columns are found by their names in the first line; others are passed over. */
typedef struct genseg_table_form {
    const char *file;
    const char *text;                        /* the one column of words, or NULL                      */
    const char *name[GENSEG_TABLE_COLUMNS];  /* columns of numbers, ended by NULL                     */
    int32_t required;                        /* the first so many must be there; others may be absent */
    int32_t order;                           /* column 0 is 1: never falling, 2: rising, 0: free      */
} genseg_table_form;

/* Numbers by column; NAN where the file has nothing. */
typedef struct genseg_table {
    bool present;     /* the file is there                                                      */
    bool unfinished;  /* its last line had no end and was left out                              */
    int64_t count;
    int32_t columns;
    double *column[GENSEG_TABLE_COLUMNS];
    const char **text;
    int64_t not_finite;         /* entries that say nan or inf                                  */
    int64_t not_finite_row;     /* the first of them                                            */
    int32_t not_finite_column;
    char *bytes;
    double *numbers;
} genseg_table;

/** Strict reader: EFORMAT names FILE:LINE and the finding. An absent file is no fault (present is false). */
ht_status genseg_table_read(const char *run, const genseg_table_form *form, genseg_table *out, ht_error *error);
void genseg_table_free(genseg_table *table);

/* Dotted keys and their values as text, in the file's order. */
typedef struct genseg_facts {
    bool present;
    int32_t count, room;
    int64_t left_out;  /* entries beyond the limit */
    char **key, **value;
} genseg_facts;

/** Reads a JSON object, flattened with dots. Absent file: present is false. Bad JSON: EFORMAT with line and column. */
ht_status genseg_facts_json(const char *run, const char *name, genseg_facts *out, ht_error *error);
/** Reads lines `key = value` under [tables]. Strings lose their quotes. */
ht_status genseg_facts_toml(const char *run, const char *name, genseg_facts *out, ht_error *error);
/** The value of a key, or NULL. */
const char *genseg_facts_find(const genseg_facts *facts, const char *key);
/** The value as a number; NAN if absent or no number. */
double genseg_facts_number(const genseg_facts *facts, const char *key);
void genseg_facts_free(genseg_facts *facts);

/* ---- charts ---- */
#define GENSEG_CHART_SERIES 4

typedef struct genseg_series {
    const char *name;
    const double *y;
    int32_t colour;  /* 1 to 4 */
} genseg_series;

typedef struct genseg_chart {
    const char *title, *y_label;       /* our own words                                                */
    const double *x;                   /* rounds                                                       */
    int64_t count;
    genseg_series series[GENSEG_CHART_SERIES];
    int32_t series_count;
    bool logarithmic, small, smooth;   /* small: a small multiple without caption                      */
    double low, high;                  /* the range of y if low < high, else found from the data       */
    bool has_line, has_mark;
    double line, mark;                 /* a horizontal reference and a marked round                    */
    const char *mark_name;
} genseg_chart;

/** Caption and picture of a figure that the caller opens and closes; says so if nothing of it was computed. */
void genseg_chart_write(genseg_html *html, const genseg_chart *chart);
/** Histogram of values in [0, 1] in bins of 1/20, with mean and median marked. NAN is passed over. */
void genseg_histogram_write(genseg_html *html, const double *values, int64_t count, double mean, double median);

/* ---- the whole run, and sections that live in files of their own ---- */
enum {
    GENSEG_LOG_ROUND, GENSEG_LOG_SECONDS, GENSEG_LOG_GAN, GENSEG_LOG_DISCRIMINATOR, GENSEG_LOG_SEG, GENSEG_LOG_VAL,
    GENSEG_LOG_NORM, GENSEG_LOG_EQ9, GENSEG_LOG_DIRECT, GENSEG_LOG_COSINE, GENSEG_LOG_STEP, GENSEG_LOG_DECAY,
    GENSEG_LOG_LARGEST, GENSEG_LOG_VAL_DICE, GENSEG_LOG_VAL_JACCARD, GENSEG_LOG_RATE
};
/* Their names, in the same order: those of GENSEG_LOG_COLUMNS in run.h. */
#define GENSEG_REPORT_LOG_NAMES                                                                                        \
    "round", "seconds", "loss_gan", "loss_discriminator", "loss_seg", "loss_val", "hypergradient_norm",                \
        "hypergradient_norm_eq9", "hypergradient_norm_direct", "hypergradient_cosine", "alpha_step",                   \
        "alpha_decay_step", "alpha_largest", "val_dice", "val_jaccard", "segmenter_rate"
enum { GENSEG_ALPHA_ROUND, GENSEG_ALPHA_4, GENSEG_ALPHA_6, GENSEG_ALPHA_8 };
enum {
    GENSEG_PROOF_ROUND, GENSEG_PROOF_F32, GENSEG_PROOF_F64, GENSEG_PROOF_RELATIVE, GENSEG_PROOF_DIRECTION,
    GENSEG_PROOF_DERIVATIVE, GENSEG_PROOF_DIFFERENCE, GENSEG_PROOF_DIFFERENCE_RELATIVE, GENSEG_PROOF_KINKS
};
enum {
    GENSEG_CASES_DICE, GENSEG_CASES_JACCARD, GENSEG_CASES_PRECISION, GENSEG_CASES_RECALL, GENSEG_CASES_TRUE_POSITIVE,
    GENSEG_CASES_FALSE_POSITIVE, GENSEG_CASES_FALSE_NEGATIVE, GENSEG_CASES_TRUTH, GENSEG_CASES_PREDICTED
};

typedef struct genseg_report {
    const char *run;
    genseg_table log, alpha, proof, cases;
    genseg_facts metrics, settings, run_facts;
    size_t picture_bytes;  /* of pictures that are in the report by now */
} genseg_report;

/** A section's heading, which the list of contents leads to. */
void genseg_report_heading(genseg_html *html, const char *anchor, const char *title);
/** A chart as a figure of its own. */
void genseg_report_figure(genseg_html *html, const genseg_chart *chart);
/** A chart over the rounds of log.csv without series. */
genseg_chart genseg_report_chart(const genseg_report *report, const char *title, const char *y_label);
void genseg_report_series(genseg_chart *chart, const char *name, const double *y);
/** 1 if the run is one that searches an architecture, by its settings or, without them, by its files. */
bool genseg_report_searches(const genseg_report *report);
/** "14 of its entries are ...": one box of the top of the page; close it with genseg_html_raw(html, "</div>"). */
void genseg_report_box(genseg_html *html, const char *kind, const char *title);
/** "There is no NAME in the run directory": the one line of a section without its file. */
void genseg_report_absent(genseg_html *html, const char *file, const char *what);

/** Certificate table (report_search.c). */
void genseg_report_certificate(genseg_html *html, const genseg_report *report);
/** Candidates' weights, one small chart per cell (report_search.c). */
void genseg_report_architecture(genseg_html *html, const genseg_report *report);
/** ||h|| by path, cosine, steps (report_search.c). */
void genseg_report_hypergradient(genseg_html *html, const genseg_report *report);
/** Boxes about what must not be overlooked: cut path, unmoved architecture, not-finite numbers (report_search.c). */
void genseg_report_alerts(genseg_html *html, const genseg_report *report);
/** Strips "mask | generated | real" (report_pictures.c). */
void genseg_report_strips(genseg_html *html, genseg_report *report);
/** Histogram, best and worst cases, all cases (report_pictures.c). */
void genseg_report_cases(genseg_html *html, genseg_report *report);

/** Number of entries of a column that are computed, and of those that are computed and not 0. */
int64_t genseg_column_computed(const double *values, int64_t count);
int64_t genseg_column_nonzero(const double *values, int64_t count);

#endif
