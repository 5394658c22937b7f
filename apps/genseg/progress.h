/*
 * Progress for a person: a bar with the remaining time on a terminal, plain lines elsewhere, nothing when quiet. Plain
 * lines go to stdout, so that stderr holds the one line of a failure and nothing else.
 */
#ifndef GENSEG_PROGRESS_H
#define GENSEG_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct genseg_progress {
    char label[32];
    int64_t first, total, every;  /* done at the start; all; rounds between plain lines */
    double started, drawn;        /* seconds of the monotonic clock                     */
    FILE *to;                     /* NULL when quiet                                    */
    bool bar, dirty;              /* dirty: a bar stands on the present line            */
} genseg_progress;

/** done: rounds that a resumed run has behind it. every: rounds between plain lines; 0 gives about twenty lines. */
void genseg_progress_start(genseg_progress *progress, const char *label, int64_t done, int64_t total, int64_t every,
                           bool quiet);
/** After each round; text: a few words such as "loss 0.53  val Dice 0.61", or "". */
void genseg_progress_step(genseg_progress *progress, int64_t done, const char *text);
/** Clears the bar; text, if not "", stays as a last line. Also before any other output. */
void genseg_progress_stop(genseg_progress *progress, const char *text);

/** Seconds of the monotonic clock. */
double genseg_seconds(void);
/** "42 s", "3 min 05 s", "2 h 07 min". */
char *genseg_duration_text(double seconds, char *text, size_t bytes);

#endif
