/* What a run writes about itself: log.csv with its way back on resume, the summary of values, metrics.json, cases.csv.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"
#include "tap.h"

static char folder[] = "/tmp/genseg-log-XXXXXX";

static char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *text_of(const char *name)
{
    static char text[1 << 16];
    FILE *file = fopen(path_of(name), "rb");
    size_t got = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file) fclose(file);
    text[got] = 0;
    return text;
}

static void append_text(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "ab");
    if (!file) exit(1);
    fputs(text, file);
    fclose(file);
}

static genseg_log_row row_of(int64_t round)
{
    return (genseg_log_row){round, 0.1, 2,   0.69314718055994529, 1e-5, NAN, NAN, NAN, NAN, -0.5, 0, 0, 1,
                            NAN,   NAN, 1e-3};
}

static const char *const header = GENSEG_LOG_COLUMNS "\n";
static const char *const fields = ",0.1,2,0.6931471805599453,1e-05,,,,,-0.5,0,0,1,,,0.001\n";

/* The log is the header and these rounds. */
static int holds(int64_t first, int64_t last)
{
    char expected[1 << 14];
    size_t used = (size_t)snprintf(expected, sizeof expected, "%s", header);
    for (int64_t k = first; k <= last; k++)
        used += (size_t)snprintf(expected + used, sizeof expected - used, "%lld%s", (long long)k, fields);
    return !strcmp(text_of("log.csv"), expected);
}

static int write_rounds(int64_t resume, int64_t first, int64_t last)
{
    ht_error error = {0};
    genseg_log *log = genseg_log_open(folder, resume, &error);
    int good = log != NULL;
    for (int64_t k = first; good && k <= last; k++) {
        genseg_log_row row = row_of(k);
        good = !genseg_log_append(log, &row, &error);
    }
    if (good) good = !genseg_log_sync(log, &error);
    genseg_log_close(log);
    return good;
}

static void test_log(void)
{
    ht_error error = {0};
    tap_ok(write_rounds(0, 1, 10) && holds(1, 10), "a new log has its header and ten rows");
    tap_ok(write_rounds(6, 7, 8) && holds(1, 8), "resumed after round 6 it goes on with round 7");
    append_text("log.csv", "9,0.1,2");
    tap_ok(write_rounds(8, 9, 9) && holds(1, 9), "a torn last row goes");
    tap_ok(write_rounds(20, 21, 20) && holds(1, 9), "a later checkpoint cuts nothing");
    genseg_log *log = genseg_log_open(folder, 9, &error);
    genseg_log_row again = row_of(9);
    tap_ok(log && genseg_log_append(log, &again, &error) == HT_EINVALID, "a round twice: %s", error.message);
    genseg_log_close(log);
    tap_ok(write_rounds(0, 0, 1) && holds(0, 1), "a new run begins its log anew, round 0 allowed");
    append_text("log.csv", "x,1\n");
    error = (ht_error){0};
    log = genseg_log_open(folder, 5, &error);
    tap_ok(!log && error.status == HT_EFORMAT && strstr(error.message, "line 4"), "a row without a round: %s",
           error.message);
    unlink(path_of("log.csv"));
    append_text("log.csv", "round,other\n1,2\n");
    error = (ht_error){0};
    log = genseg_log_open(folder, 5, &error);
    tap_ok(!log && error.status == HT_EFORMAT && strstr(error.message, "line 1"), "another header: %s", error.message);
    unlink(path_of("log.csv"));
    tap_ok(write_rounds(5, 6, 7) && holds(6, 7), "a missing log begins anew");
    unlink(path_of("log.csv"));
    error = (ht_error){0};
    log = genseg_log_open("/proc/nowhere", 0, &error);
    tap_ok(!log && error.status == HT_EIO, "a folder that is not there: %s", error.message);
}

static void test_summary(void)
{
    const double odd[] = {3, 1, 2}, even[] = {4, 1, 2, 3}, one[] = {0.5};
    genseg_summary a = genseg_summarise(odd, 3), b = genseg_summarise(even, 4), c = genseg_summarise(one, 1),
                   d = genseg_summarise(NULL, 0);
    tap_ok(a.mean == 2 && a.sd == 1 && a.median == 2, "three values");
    tap_ok(b.mean == 2.5 && fabs(b.sd - sqrt(5.0 / 3)) < 1e-15 && b.median == 2.5, "four values");
    tap_ok(c.mean == 0.5 && c.sd == 0 && c.median == 0.5, "one value has deviation 0");
    tap_ok(isnan(d.mean) && isnan(d.sd) && isnan(d.median), "no values have no mean");
}

static void test_metrics(void)
{
    genseg_metrics metrics = {.split = "test",
                              .cases = 4,
                              .cases_empty = 1,
                              .dice = {0.1 + 0.2, 0.25, 0.5},
                              .dice_nonempty = {NAN, NAN, NAN},
                              .selection_metric = "dice",
                              .selection_round = 25};
    const char *names[] = {"plain", "=1+1", "a,b \"c\"", "-x\n"};
    genseg_case_row rows[4];
    ht_error error = {0};
    for (int k = 0; k < 4; k++)
        rows[k] = (genseg_case_row){names[k], {0.5, 1.0 / 3, 1, NAN, 7, 8, 9}, 16, 15, 640, 480};
    tap_ok(!genseg_metrics_write(folder, &metrics, rows, 4, &error), "written: %s", error.message);
    const char *values = ",0.5,0.3333333333333333,1,";
    const char *text = text_of("cases.csv");
    tap_ok(!strncmp(text, "case,dice,jaccard,", 18) && strstr(text, "\n\"plain\"") && strstr(text, values),
           "cases.csv");
    tap_ok(strstr(text, "\n\"'=1+1\"") && strstr(text, "\n\"a,b \"\"c\"\"\"") && strstr(text, "\n\"'-x\n\""),
           "names are quoted, formulas are text");
    tap_ok(strstr(text, ",1,,7,8,9,16,15,640,480\n") != NULL, "what was not computed is empty");
    text = text_of("metrics.json");
    tap_ok(strstr(text, "\"dice\": {\"mean\": 0.30000000000000004, \"sd\": 0.25, \"median\": 0.5}") != NULL,
           "numbers keep their digits");
    tap_ok(strstr(text, "\"dice_nonempty\": {\"mean\": null") &&
               strstr(text, "\"selection\": {\"metric\": \"dice\", \"round\": 25}"),
           "null where nothing was computed");
    char command[256];
    snprintf(command, sizeof command,
             "python3 -c 'import json,sys; m = json.load(open(sys.argv[1])); sys.exit(m[\"cases\"] != 4)' %s",
             path_of("metrics.json"));
    if (system("python3 -c pass >/dev/null 2>&1"))
        tap_skip("python3 is not here");
    else
        tap_ok(system(command) == 0, "metrics.json is JSON");
    unlink(path_of("metrics.json"));
    unlink(path_of("cases.csv"));
}

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    test_log();
    test_summary();
    test_metrics();
    tap_ok(rmdir(folder) == 0, "nothing half-written is left");
    return tap_done();
}
