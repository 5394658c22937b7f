/*
 * A run directory: its files, and what is written while training. All writing is durable (temporary name, fsync, rename)
 * except log.csv and the events, which are appended and flushed round by round and cut back to the checkpoint's round on
 * resume.
 *
 *   RUN/config.toml run.json log.csv events.out.tfevents.* alpha.csv certificate.csv checkpoints/ best.safetensors
 *       metrics.json cases.csv pictures/ predictions/ report.html
 */
#ifndef GENSEG_RUN_H
#define GENSEG_RUN_H

#include <math.h>

#include "config.h"
#include "data.h"

/* One logged round. An entry that was not computed is NAN and is written empty. */
typedef struct genseg_log_row {
    int64_t round;
    double seconds;                                          /* of all rounds so far */
    double loss_gan, loss_discriminator, loss_seg, loss_val;
    double hypergradient_norm, hypergradient_norm_eq9, hypergradient_norm_direct, hypergradient_cosine;
    double alpha_step, alpha_decay_step, alpha_largest;      /* largest softmax weight over all cells */
    double val_dice, val_jaccard, segmenter_rate;
} genseg_log_row;
#define GENSEG_LOG_COLUMNS                                                                                             \
    "round,seconds,loss_gan,loss_discriminator,loss_seg,loss_val,hypergradient_norm,hypergradient_norm_eq9,"          \
    "hypergradient_norm_direct,hypergradient_cosine,alpha_step,alpha_decay_step,alpha_largest,val_dice,val_jaccard,"  \
    "segmenter_rate"
#define GENSEG_LOG_VALUES 15
/* The entries of a row behind its round, in the order of the columns. */
void genseg_log_values(const genseg_log_row *row, double values[GENSEG_LOG_VALUES]);

/* log.csv while training. It belongs to one thread at a time. */
typedef struct genseg_log genseg_log;
/**
 * Opens RUN/log.csv. resume_round 0: a new one, with its header. Else it is cut back to the rows of rounds <= resume_round
 * (a torn last row goes too); a missing one begins anew. NULL and EIO, EFORMAT (another header, a row without a round)
 * or ENOMEM. The caller closes it.
 */
genseg_log *genseg_log_open(const char *run, int64_t resume_round, ht_error *error);
/** Appends one row and flushes it. Rounds must ascend (EINVALID). EIO names the file. */
ht_status genseg_log_append(genseg_log *log, const genseg_log_row *row, ht_error *error);
/** Forces what was appended onto the disk: before a checkpoint that counts on it. */
ht_status genseg_log_sync(genseg_log *log, ht_error *error);
/**
 * The same for a table of its own (alpha.csv, certificate.csv): header with its newline; several rows may have one round.
 */
genseg_log *genseg_table_open(const char *run, const char *name, const char *header, int64_t resume_round,
                              ht_error *error);
/** Appends a row, without its newline, and flushes it. Its first column is the round, never below the one before. */
ht_status genseg_table_append(genseg_log *table, const char *row, ht_error *error);
/** NULL is allowed. */
void genseg_log_close(genseg_log *log);

/* The same numbers and the pictures for TensorBoard: events.out.tfevents.*, one file for each start of the run. */
typedef struct genseg_events genseg_events;
/**
 * Begins a new file in RUN, later by name than those that are there, out of which the events of rounds > resume_round are
 * cut (a torn last one goes too). NULL and EIO, EFORMAT or ENOMEM. The caller closes it.
 */
genseg_events *genseg_events_open(const char *run, int64_t resume_round, ht_error *error);
/** One event: a scalar for each column of log.csv but the round, which is the step. NAN: not computed, not written. */
ht_status genseg_events_append(genseg_events *events, const genseg_log_row *row, ht_error *error);
/** The RGB PNG at path as a picture of the round. EFORMAT if it is none. */
ht_status genseg_events_picture(genseg_events *events, int64_t round, const char *tag, const char *path, ht_error *error);
/** As genseg_log_sync. */
ht_status genseg_events_sync(genseg_events *events, ht_error *error);
/** NULL is allowed. */
void genseg_events_close(genseg_events *events);

/* One evaluated case of cases.csv. */
typedef struct genseg_case_row {
    const char *name;
    genseg_score score;
    int64_t truth_pixels, predicted_pixels, width, height;
} genseg_case_row;

typedef struct genseg_summary {
    double mean, sd, median;
} genseg_summary;
/* Mean, sample deviation (n - 1; 0 for n = 1), median. */
genseg_summary genseg_summarise(const double *values, int32_t count);

typedef struct genseg_metrics {
    char split[8];
    int32_t cases, cases_empty;   /* cases_empty: true mask is empty                                    */
    genseg_summary dice, jaccard, precision, recall;
    genseg_summary dice_nonempty; /* over the cases whose true mask is not empty                        */
    char selection_metric[16];    /* dice | jaccard: what chose best.safetensors                        */
    int64_t selection_round;
} genseg_metrics;

/** Writes metrics.json (contract section 2; numbers with 17 digits) and cases.csv into the folder. */
ht_status genseg_metrics_write(const char *folder, const genseg_metrics *metrics, const genseg_case_row *rows,
                               int32_t count, ht_error *error);
/** Makes report.html in the run directory from the files there alone. */
ht_status genseg_report_write(const char *run, ht_error *error);

#endif
