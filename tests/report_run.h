/* The synthetic run directory of test_report.c, and small helpers for its files. Not for other tests. */
#ifndef TESTS_REPORT_RUN_H
#define TESTS_REPORT_RUN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ROUNDS 300

/* The run directory; set it before anything else here. */
extern char report_folder[512];

/* Path of a file in it; lent until the next call. */
const char *report_path(const char *name);
void report_put(const char *name, const void *bytes, size_t count);
void report_put_text(const char *name, const char *text);
/* The whole file with a 0 after it, or NULL; the caller frees it. */
char *report_get(const char *name, size_t *count);
/* A number in [0, 1) that depends on two numbers alone. */
double report_noise(uint64_t a, uint64_t b);
/* A field of a CSV file, quoted. */
void report_csv_field(FILE *file, const char *text);

void report_put_log(void);
/* hostile: the name of the last of 14 cells, or NULL. */
void report_put_alpha(const char *hostile);
/* names: of the cases, or NULL for plain ones. */
void report_put_cases(const char *const *names, int32_t count);
/* Every file and picture of a run. */
void report_put_run(void);

#endif
