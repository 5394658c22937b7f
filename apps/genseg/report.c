/*
 * report.html: one page, no network, no script, from the files of a run directory alone. This file reads them, sets the
 * order of the sections, and writes what is short; charts, search and pictures have files of their own (report.h).
 * Equal files give equal bytes: there is no date here but those that the files hold.
 */
#include "report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ht/store.h>

#include "run.h"

static const genseg_table_form log_form = {
    .file = "log.csv", .name = {GENSEG_REPORT_LOG_NAMES}, .required = 1, .order = 2};
static const genseg_table_form alpha_form = {
    .file = "alpha.csv", .text = "cell", .name = {"round", "a4", "a6", "a8"}, .required = 4, .order = 1};
static const genseg_table_form proof_form = {
    .file = "certificate.csv",
    .name = {"round", "norm_f32", "norm_f64", "relative_error", "direction", "derivative", "difference",
             "difference_error", "kinks"},
    .required = 9, .order = 1};
static const genseg_table_form cases_form = {
    .file = "cases.csv", .text = "case",
    .name = {"dice", "jaccard", "precision", "recall", "true_positive", "false_positive", "false_negative",
             "truth_pixels", "predicted_pixels"},
    .required = 1};

void genseg_report_heading(genseg_html *html, const char *anchor, const char *title)
{
    genseg_html_format(html, "<h2 id=\"%s\">%s</h2>\n", anchor, title);
}

void genseg_report_absent(genseg_html *html, const char *file, const char *what)
{
    genseg_html_format(html, "<p class=\"note\">%s: the run directory has no <code>%s</code>, or nothing in it.</p>\n",
                       what, file);
}

void genseg_report_box(genseg_html *html, const char *kind, const char *title)
{
    genseg_html_format(html, "<div class=\"box %s\"><b>%s</b>", kind, title);
}

void genseg_report_figure(genseg_html *html, const genseg_chart *chart)
{
    genseg_html_raw(html, "<figure>");
    genseg_chart_write(html, chart);
    genseg_html_raw(html, "</figure>\n");
}

genseg_chart genseg_report_chart(const genseg_report *report, const char *title, const char *y_label)
{
    return (genseg_chart){.title = title, .y_label = y_label, .x = report->log.column[GENSEG_LOG_ROUND],
                          .count = report->log.count, .smooth = true};
}

void genseg_report_series(genseg_chart *chart, const char *name, const double *y)
{
    int32_t s = chart->series_count++;
    chart->series[s] = (genseg_series){name, y, s + 1};
}

/* ---- top of the page ---- */

static void put_fact(genseg_html *html, const genseg_facts *facts, const char *key, const char *before)
{
    const char *value = genseg_facts_find(facts, key);
    if (!value || !*value) return;
    genseg_html_raw(html, before);
    genseg_html_text_start(html, value, 80);
}

/* Whether the run has a generator: without one a page of what was not computed helps nobody. */
static bool generates(const genseg_report *report)
{
    const char *method = genseg_facts_find(&report->settings, "method");
    return !method || strcmp(method, "plain") != 0;
}

static void put_top(genseg_html *html, const genseg_report *report)
{
    static const char *const entry[][2] = {
        {"result", "Result"}, {"curves", "Curves"}, {"hypergradient", "Hypergradient"}, {"architecture", "Architecture"},
        {"certificate", "Certificate"}, {"pictures", "Generated pictures"}, {"cases", "Cases"},
        {"settings", "Settings"}, {"facts", "Run facts"}};
    enum { GENERATOR_FIRST = 2, GENERATOR_LAST = 5 };
    static const char *const data[] = {"data.name", "dataset.name", "data", "dataset"};
    genseg_html_raw(html, "<main>\n<header><h1>genseg run report</h1>\n<p class=\"lead\">");
    genseg_html_raw(html, genseg_report_searches(report) ? "a run with search" : "a run without search");
    put_fact(html, &report->settings, "method", " \xC2\xB7 method ");
    const char *name = NULL;
    for (size_t i = 0; i < sizeof data / sizeof data[0] && !name; ++i)
        name = genseg_facts_find(&report->run_facts, data[i]);
    if (name) {
        genseg_html_raw(html, " \xC2\xB7 data ");
        genseg_html_text_start(html, name, 120);
    }
    put_fact(html, &report->settings, "preset", " \xC2\xB7 preset ");
    put_fact(html, &report->settings, "data.size", " \xC2\xB7 size ");
    put_fact(html, &report->settings, "seed", " \xC2\xB7 seed ");
    genseg_html_raw(html, "</p></header>\n<nav>");
    for (size_t i = 0; i < sizeof entry / sizeof entry[0]; ++i)
        if (generates(report) || i < GENERATOR_FIRST || i > GENERATOR_LAST)
            genseg_html_format(html, "<a href=\"#%s\">%s</a>", entry[i][0], entry[i][1]);
    genseg_html_raw(html, "</nav>\n");
    genseg_report_alerts(html, report);
}

/* ---- result ---- */

static void open_tile(genseg_html *html, const char *kind, const char *name)
{
    genseg_html_format(html, "<div class=\"tile%s\"><div class=\"name\">%s", kind, name);
}

static void put_score_tile(genseg_html *html, const genseg_facts *metrics, const char *kind, const char *name,
                           const char *key)
{
    char part[64];
    open_tile(html, kind, name);
    const char *split = genseg_facts_find(metrics, "split");
    if (split) {
        genseg_html_raw(html, ", ");
        genseg_html_text_start(html, split, 20);
    }
    genseg_html_raw(html, "</div><div class=\"value\">");
    snprintf(part, sizeof part, "%s.mean", key);
    genseg_html_fixed(html, genseg_facts_number(metrics, part), 3);
    genseg_html_raw(html, " <small>\xC2\xB1\xC2\xA0");
    snprintf(part, sizeof part, "%s.sd", key);
    genseg_html_fixed(html, genseg_facts_number(metrics, part), 3);
    genseg_html_raw(html, "</small></div><div class=\"more\">mean \xC2\xB1 sd; median ");
    snprintf(part, sizeof part, "%s.median", key);
    genseg_html_fixed(html, genseg_facts_number(metrics, part), 3);
    genseg_html_raw(html, "</div></div>\n");
}

static void put_score_tiles(genseg_html *html, const genseg_report *report)
{
    const genseg_facts *metrics = &report->metrics;
    if (!metrics->present) return;
    put_score_tile(html, metrics, " main", "Dice", "dice");
    put_score_tile(html, metrics, "", "Jaccard", "jaccard");
    open_tile(html, "", "Cases</div><div class=\"value\">");
    genseg_html_number(html, genseg_facts_number(metrics, "cases"), 12);
    genseg_html_raw(html, "</div><div class=\"more\">with an empty true mask: ");
    genseg_html_number(html, genseg_facts_number(metrics, "cases_empty"), 12);
    genseg_html_raw(html, "</div></div>\n");
    open_tile(html, "", "Selected round</div><div class=\"value\">");
    genseg_html_number(html, genseg_facts_number(metrics, "selection.round"), 12);
    genseg_html_raw(html, "</div><div class=\"more\">by validation ");
    put_fact(html, metrics, "selection.metric", "");
    genseg_html_raw(html, "</div></div>\n");
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of the rounds' times, NAN if there are none; in *all the time of all. The log counts on from round to round. */
static double median_seconds(const genseg_table *log, double *all, bool *refused)
{
    const double *seconds = log->column[GENSEG_LOG_SECONDS];
    double *sorted = malloc((size_t)log->count * sizeof *sorted + 1), median = (double)NAN;
    if (!sorted) *refused = true;
    size_t count = 0;
    *all = 0;
    for (int64_t i = 0; i < log->count && sorted; ++i) {
        if (!(seconds[i] >= *all)) continue;
        sorted[count++] = seconds[i] - *all;
        *all = seconds[i];
    }
    if (count > 0) {
        qsort(sorted, count, sizeof *sorted, ascending);
        median = sorted[count / 2];
    }
    free(sorted);
    return median;
}

/* 3725 as "1 h 02 min". */
static void put_duration(genseg_html *html, double seconds)
{
    if (!(seconds >= 0 && seconds < 1e9)) genseg_html_number(html, seconds, 4);
    else if (seconds < 120) {
        genseg_html_number(html, seconds, 3);
        genseg_html_raw(html, " s");
    } else if (seconds < 7200) genseg_html_format(html, "%.0f min", seconds / 60);
    else {
        long long minutes = (long long)(seconds / 60);
        genseg_html_format(html, "%lld h %02lld min", minutes / 60, minutes % 60);
    }
}

static void put_run_tiles(genseg_html *html, const genseg_report *report)
{
    const genseg_table *log = &report->log;
    double all, median = median_seconds(log, &all, &html->refused);
    open_tile(html, "", "Rounds</div><div class=\"value\">");
    genseg_html_number(html, log->count > 0 ? log->column[GENSEG_LOG_ROUND][log->count - 1] : 0, 15);
    genseg_html_raw(html, "</div><div class=\"more\">");
    if (genseg_facts_find(&report->settings, "rounds")) {
        genseg_html_raw(html, "of ");
        genseg_html_number(html, genseg_facts_number(&report->settings, "rounds"), 15);
        genseg_html_raw(html, " that were set");
    }
    genseg_html_raw(html, "</div></div>\n");
    open_tile(html, "", "Time per round</div><div class=\"value\">");
    genseg_html_number(html, median, 3);
    genseg_html_raw(html, isnan(median) ? "</div><div class=\"more\">"
                                        : " <small>s</small></div><div class=\"more\">median; all rounds ");
    if (!isnan(median)) put_duration(html, all);
    genseg_html_raw(html, "</div></div>\n");
    if (!genseg_facts_find(&report->settings, "method")) return;
    open_tile(html, "", "Method</div><div class=\"value\">");
    put_fact(html, &report->settings, "method", "");
    genseg_html_raw(html, "</div><div class=\"more\">");
    if (generates(report)) put_fact(html, &report->settings, "model.search", "search ");
    else genseg_html_raw(html, "no generator");
    genseg_html_raw(html, "</div></div>\n");
    open_tile(html, "", "Hypergradient</div><div class=\"value\">");
    if (genseg_report_searches(report)) {
        put_fact(html, &report->settings, "mlo.hypergradient", "");
        genseg_html_raw(html, "</div><div class=\"more\">");
        put_fact(html, &report->settings, "mlo.unroll", "unroll ");
        put_fact(html, &report->settings, "mlo.hypergradient_scale", ", scale ");
    } else genseg_html_raw(html, "none</div><div class=\"more\">no search");
    genseg_html_raw(html, "</div></div>\n");
}

static void put_metrics_table(genseg_html *html, const genseg_facts *metrics)
{
    static const char *const row[][2] = {{"dice", "Dice"}, {"dice_nonempty", "Dice, true mask not empty"},
                                         {"jaccard", "Jaccard"}, {"precision", "Precision"}, {"recall", "Recall"}};
    static const char *const part[3] = {"mean", "sd", "median"};
    genseg_html_raw(html, "<div class=\"scroll\"><table class=\"compact\"><thead><tr><th>Per case</th>"
                          "<th class=\"number\">mean</th><th class=\"number\">sd</th><th class=\"number\">median</th>"
                          "</tr></thead><tbody>");
    for (size_t i = 0; i < sizeof row / sizeof row[0]; ++i) {
        genseg_html_format(html, "<tr><td>%s</td>", row[i][1]);
        for (int32_t p = 0; p < 3; ++p) {
            char key[64];
            snprintf(key, sizeof key, "%s.%s", row[i][0], part[p]);
            genseg_html_raw(html, "<td class=\"number\">");
            genseg_html_fixed(html, genseg_facts_number(metrics, key), 4);
            genseg_html_raw(html, "</td>");
        }
        genseg_html_raw(html, "</tr>");
    }
    genseg_html_raw(html, "</tbody></table></div>\n"
                          "<p class=\"note\">At each image\xE2\x80\x99s original size. "
                          "Both masks empty counts as 1, one empty as 0.</p>\n");
}

static void put_result(genseg_html *html, const genseg_report *report)
{
    genseg_report_heading(html, "result", "Result");
    genseg_html_raw(html, "<div class=\"tiles\">");
    put_score_tiles(html, report);
    put_run_tiles(html, report);
    genseg_html_raw(html, "</div>\n");
    if (report->metrics.present) put_metrics_table(html, &report->metrics);
    else genseg_report_absent(html, "metrics.json", "The run has not been evaluated");
}

/* ---- curves ---- */

static void put_curves(genseg_html *html, const genseg_report *report)
{
    static const struct {
        int32_t column;
        const char *title;
    } loss[] = {{GENSEG_LOG_SEG, "Segmentation loss, training"}, {GENSEG_LOG_VAL, "Segmentation loss, validation"},
                {GENSEG_LOG_GAN, "Generator loss"}, {GENSEG_LOG_DISCRIMINATOR, "Discriminator loss"}};
    const genseg_table *log = &report->log;
    double selected = genseg_facts_number(&report->metrics, "selection.round");
    genseg_report_heading(html, "curves", "Curves");
    genseg_html_raw(html, "<div class=\"grid two\">");
    for (size_t i = 0; i < (generates(report) ? sizeof loss / sizeof loss[0] : 1); ++i) {
        genseg_chart chart = genseg_report_chart(report, loss[i].title, "loss");
        genseg_report_series(&chart, "loss", log->column[loss[i].column]);
        genseg_report_figure(html, &chart);
    }
    genseg_chart overlap = genseg_report_chart(report, "Overlap on the validation set", "mean over cases");
    overlap.smooth = false;
    overlap.has_mark = !isnan(selected);
    overlap.mark = selected;
    overlap.mark_name = "selected";
    genseg_report_series(&overlap, "Dice", log->column[GENSEG_LOG_VAL_DICE]);
    genseg_report_series(&overlap, "Jaccard", log->column[GENSEG_LOG_VAL_JACCARD]);
    genseg_report_figure(html, &overlap);
    genseg_chart rate = genseg_report_chart(report, "Step size of the segmenter", "learning rate");
    rate.smooth = false;
    rate.logarithmic = true;
    genseg_report_series(&rate, "rate", log->column[GENSEG_LOG_RATE]);
    genseg_report_figure(html, &rate);
    genseg_html_raw(html, "</div>\n");
}

/* ---- settings and facts ---- */

/* The part of a key before its last dot: the table it belongs to. */
static size_t table_length(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? (size_t)(dot - key) : 0;
}

static void put_settings(genseg_html *html, const genseg_facts *facts)
{
    genseg_report_heading(html, "settings", "Settings");
    if (!facts->present || facts->count == 0) {
        genseg_report_absent(html, "config.toml", "The settings are not known");
        return;
    }
    genseg_html_raw(html, "<div class=\"columns\">");
    for (int32_t i = 0, end; i < facts->count; i = end) {
        size_t length = table_length(facts->key[i]);
        char title[128];
        snprintf(title, sizeof title, "%.*s", (int)(length < 120 ? length : 120), facts->key[i]);
        genseg_html_raw(html, "<section><h3>");
        genseg_html_text(html, length ? title : "general");
        genseg_html_raw(html, "</h3><table><tbody>");
        for (end = i; end < facts->count && table_length(facts->key[end]) == length &&
                      strncmp(facts->key[end], facts->key[i], length) == 0; ++end) {
            genseg_html_raw(html, "<tr><td class=\"key-name\">");
            genseg_html_text_start(html, facts->key[end] + length + (length ? 1 : 0), 200);
            genseg_html_raw(html, "</td><td class=\"text mono\">");
            genseg_html_text(html, facts->value[end]);
            genseg_html_raw(html, "</td></tr>");
        }
        genseg_html_raw(html, "</tbody></table></section>");
    }
    genseg_html_raw(html, "</div>\n");
}

static void put_facts(genseg_html *html, const genseg_facts *facts)
{
    enum { OPEN = 80 };
    genseg_report_heading(html, "facts", "Run facts");
    if (!facts->present || facts->count == 0) {
        genseg_report_absent(html, "run.json", "Build, machine and data are not known");
        return;
    }
    for (int32_t i = 0; i < facts->count; ++i) {
        if (i == OPEN)
            genseg_html_format(html, "</tbody></table></div><details><summary>%d more entries</summary>"
                               "<div class=\"scroll\"><table><tbody>", (int)(facts->count - OPEN));
        if (i == 0) genseg_html_raw(html, "<div class=\"scroll\"><table><tbody>");
        genseg_html_raw(html, "<tr><td class=\"key-name\">");
        genseg_html_text(html, facts->key[i]);
        genseg_html_raw(html, "</td><td class=\"text mono\">");
        genseg_html_text(html, *facts->value[i] ? facts->value[i] : "none");
        genseg_html_raw(html, "</td></tr>");
    }
    genseg_html_raw(html, "</tbody></table></div>");
    if (facts->count > OPEN) genseg_html_raw(html, "</details>");
    if (facts->left_out > 0)
        genseg_html_format(html, "<p class=\"note\">%lld more entries are in run.json.</p>", (long long)facts->left_out);
}

/* ---- the whole ---- */

static ht_status load(genseg_report *report, ht_error *error)
{
    const char *run = report->run;
    ht_status status = genseg_table_read(run, &log_form, &report->log, error);
    if (status == HT_OK && !report->log.present)
        status = ht_fail(error, HT_EINVALID, "%.300s: holds no log.csv; expected a run directory that genseg train made; "
                         "name that directory", run);
    if (status == HT_OK) status = genseg_table_read(run, &alpha_form, &report->alpha, error);
    if (status == HT_OK) status = genseg_table_read(run, &proof_form, &report->proof, error);
    if (status == HT_OK) status = genseg_table_read(run, &cases_form, &report->cases, error);
    if (status == HT_OK) status = genseg_facts_json(run, "metrics.json", &report->metrics, error);
    if (status == HT_OK) status = genseg_facts_json(run, "run.json", &report->run_facts, error);
    if (status == HT_OK) status = genseg_facts_toml(run, "config.toml", &report->settings, error);
    return status;
}

static void unload(genseg_report *report)
{
    genseg_table_free(&report->log);
    genseg_table_free(&report->alpha);
    genseg_table_free(&report->proof);
    genseg_table_free(&report->cases);
    genseg_facts_free(&report->metrics);
    genseg_facts_free(&report->run_facts);
    genseg_facts_free(&report->settings);
}

static void put_page(genseg_html *html, genseg_report *report)
{
    genseg_html_begin(html);
    put_top(html, report);
    put_result(html, report);
    put_curves(html, report);
    if (generates(report)) {
        genseg_report_hypergradient(html, report);
        genseg_report_architecture(html, report);
        genseg_report_certificate(html, report);
        genseg_report_strips(html, report);
    }
    genseg_report_cases(html, report);
    put_settings(html, &report->settings);
    put_facts(html, &report->run_facts);
    genseg_html_raw(html, "\n<footer>Made by <code>genseg report</code> from the files of the run directory. One file: "
                          "no network, no script.</footer>\n</main>\n</body>\n</html>\n");
}

ht_status genseg_report_write(const char *run, ht_error *error)
{
    char path[GENSEG_REPORT_PATH];
    genseg_report report = {.run = run};
    genseg_html html = {0};
    if (!run || !*run) return ht_fail(error, HT_EINVALID, "report: there is no run directory; expected its path");
    int length = snprintf(path, sizeof path, "%s/report.html", run);
    if (length < 0 || (size_t)length >= sizeof path)
        return ht_fail(error, HT_EINVALID, "report: the path of the run directory is longer than %d bytes; expected a "
                       "shorter one", GENSEG_REPORT_PATH - 1);
    ht_status status = load(&report, error);
    if (status == HT_OK) {
        put_page(&html, &report);
        if (html.refused) status = ht_fail(error, HT_ENOMEM, "%.300s: no memory for the report", path);
        else status = ht_file_write(path, html.text, html.used, error);
    }
    unload(&report);
    free(html.text);
    return status;
}
