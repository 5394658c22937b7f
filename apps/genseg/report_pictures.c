/*
 * The report's pictures: strips made while training, and the best and worst cases with their outlines, embedded as they
 * are. Files are taken only if they are PNG and of a sensible size; a case's name never leads out of the run directory.
 */
#include "report.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRIPS 6
#define EXTREMES 5
#define PICTURE_BYTES ((size_t)16 << 20)
#define ALL_PICTURES_BYTES ((size_t)96 << 20)
#define CASES_SHOWN 2000

/* <img> of RUN/name, or one line that says why not. alt is any text. */
static void put_picture(genseg_html *html, genseg_report *report, const char *name, const char *alt)
{
    static const unsigned char signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    char *bytes;
    size_t count;
    const char *why = NULL;
    ht_status status = genseg_report_read(report->run, name, PICTURE_BYTES, &bytes, &count, NULL);
    if (status == HT_ENOMEM) html->refused = true;
    if (status != HT_OK) why = "picture cannot be read";
    else if (!bytes) why = "no picture";
    else if (count < 33 || memcmp(bytes, signature, 8) != 0 || memcmp(bytes + 12, "IHDR", 4) != 0) why = "file is no PNG";
    else if (count > ALL_PICTURES_BYTES - report->picture_bytes) why = "left out: too many bytes of pictures";
    if (why) {
        genseg_html_format(html, "<div class=\"empty\">%s</div>", why);
    } else {
        report->picture_bytes += count;
        genseg_html_raw(html, "<img alt=\"");
        genseg_html_text_start(html, alt, 200);
        genseg_html_raw(html, "\" src=\"data:image/png;base64,");
        genseg_html_base64(html, (const uint8_t *)bytes, count);
        genseg_html_raw(html, "\">");
    }
    free(bytes);
}

/* The round of "round-00100.png"; -1 for any other name. */
static long long strip_round(const char *name)
{
    static const char start[] = "round-";
    if (strncmp(name, start, sizeof start - 1) != 0) return -1;
    const char *p = name + sizeof start - 1;
    long long round = 0;
    int digits = 0;
    for (; isdigit((unsigned char)*p) && digits < 15; ++p, ++digits) round = round * 10 + (*p - '0');
    return digits > 0 && strcmp(p, ".png") == 0 ? round : -1;
}

typedef struct strip {
    long long round;
    char name[32];
} strip;

static int by_round(const void *a, const void *b)
{
    const strip *x = a, *y = b;
    return x->round != y->round ? (x->round > y->round) - (x->round < y->round) : strcmp(x->name, y->name);
}

/* All strips of RUN/pictures, by round; *count 0 if there are none. False without memory. */
static bool find_strips(const char *run, strip **out, size_t *count)
{
    char path[GENSEG_REPORT_PATH];
    size_t room = 0;
    *out = NULL;
    *count = 0;
    int length = snprintf(path, sizeof path, "%s/pictures", run);
    if (length < 0 || (size_t)length >= sizeof path) return true;
    DIR *folder = opendir(path);
    if (!folder) return errno != ENOMEM;
    bool fits = true;
    for (struct dirent *entry; fits && (entry = readdir(folder)) != NULL;) {
        long long round = strip_round(entry->d_name);
        if (round < 0) continue;
        if (*count == room) {
            room = room ? room * 2 : 64;
            strip *longer = realloc(*out, room * sizeof **out);
            if (longer) *out = longer;
            fits = longer != NULL;
            if (!fits) break;
        }
        (*out)[*count].round = round;
        snprintf((*out)[(*count)++].name, sizeof (*out)->name, "%.31s", entry->d_name);
    }
    closedir(folder);
    if (*count > 0) qsort(*out, *count, sizeof **out, by_round);
    return fits;
}

void genseg_report_strips(genseg_html *html, genseg_report *report)
{
    strip *strips;
    size_t count;
    genseg_report_heading(html, "pictures", "Generated pictures");
    if (!find_strips(report->run, &strips, &count)) {
        html->refused = true;
        free(strips);
        return;
    }
    if (count == 0) {
        genseg_report_absent(html, "pictures/", "No strips were drawn");
        free(strips);
        return;
    }
    size_t shown = count < STRIPS ? count : STRIPS;
    genseg_html_format(html, "<p>One row per sample: the augmented mask, the image that the generator makes of it, and the "
                       "real image of the original mask. %zu of %zu strips.</p><div class=\"grid three\">", shown, count);
    for (size_t i = 0; i < shown; ++i) {
        const strip *s = &strips[shown == 1 ? 0 : i * (count - 1) / (shown - 1)];
        char name[64], alt[64];
        snprintf(name, sizeof name, "pictures/%s", s->name);
        snprintf(alt, sizeof alt, "mask, generated and real image in round %lld", s->round);
        genseg_html_raw(html, "<figure class=\"picture\"><div class=\"parts\"><span>mask</span><span>generated</span>"
                              "<span>real</span></div>");
        put_picture(html, report, name, alt);
        genseg_html_raw(html, "<div class=\"words\"><b>Round ");
        genseg_html_number(html, (double)s->round, 15);
        genseg_html_raw(html, "</b></div></figure>");
    }
    genseg_html_raw(html, "</div>");
    free(strips);
}

/* ---- cases ---- */

typedef struct ranked {
    double dice;
    const char *name;
    int64_t row;
} ranked;

/* Worst first; equal ones by name and row, so that the order never depends on the sorting. */
static int worst_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->dice != y->dice) return x->dice < y->dice ? -1 : 1;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->row > y->row) - (x->row < y->row);
}

static void put_score(genseg_html *html, const char *name, double value)
{
    genseg_html_format(html, "%s ", name);
    genseg_html_fixed(html, value, 3);
}

static void put_case(genseg_html *html, genseg_report *report, const ranked *r)
{
    const genseg_table *cases = &report->cases;
    char path[512];
    genseg_html_raw(html, "<figure class=\"picture\">");
    int length = snprintf(path, sizeof path, "predictions/%s-overlay.png", r->name);
    if (strchr(r->name, '/') || length < 0 || (size_t)length >= sizeof path)
        genseg_html_raw(html, "<div class=\"empty\">no picture</div>");
    else put_picture(html, report, path, r->name);
    genseg_html_raw(html, "<div class=\"words\"><b>");
    put_score(html, "Dice", r->dice);
    genseg_html_raw(html, "</b><br>");
    genseg_html_text_start(html, r->name, 60);
    genseg_html_raw(html, "<br>");
    put_score(html, "precision", cases->column[GENSEG_CASES_PRECISION][r->row]);
    put_score(html, ", recall", cases->column[GENSEG_CASES_RECALL][r->row]);
    genseg_html_raw(html, "</div></figure>");
}

static void put_extremes(genseg_html *html, genseg_report *report, const ranked *order, int64_t count)
{
    int64_t worst = count / 2 < EXTREMES ? count / 2 : EXTREMES;
    int64_t best = count - worst < EXTREMES ? count - worst : EXTREMES;
    genseg_html_raw(html, "<h3>Best cases</h3><div class=\"grid five\">");
    for (int64_t i = 0; i < best; ++i) put_case(html, report, &order[count - 1 - i]);
    genseg_html_raw(html, "</div>");
    if (worst == 0) return;
    genseg_html_raw(html, "<h3>Worst cases</h3><div class=\"grid five\">");
    for (int64_t i = 0; i < worst; ++i) put_case(html, report, &order[i]);
    genseg_html_raw(html, "</div>");
}

static void put_all_cases(genseg_html *html, const genseg_table *cases)
{
    static const char *const name[] = {"Dice", "Jaccard", "precision", "recall", "true +", "false +", "false \xE2\x88\x92",
                                       "true pixels", "predicted pixels"};
    genseg_html_format(html, "<details><summary>All %lld cases as a table</summary><div class=\"scroll\"><table><thead>"
                       "<tr><th>Case</th>", (long long)cases->count);
    for (size_t k = 0; k < sizeof name / sizeof name[0]; ++k)
        genseg_html_format(html, "<th class=\"number\">%s</th>", name[k]);
    genseg_html_raw(html, "</tr></thead><tbody>");
    int64_t shown = cases->count < CASES_SHOWN ? cases->count : CASES_SHOWN;
    for (int64_t i = 0; i < shown; ++i) {
        genseg_html_raw(html, "<tr><td class=\"text\">");
        genseg_html_text_start(html, cases->text[i], 120);
        genseg_html_raw(html, "</td>");
        for (int32_t k = 0; k < (int32_t)(sizeof name / sizeof name[0]); ++k) {
            genseg_html_raw(html, "<td class=\"number\">");
            if (k <= GENSEG_CASES_RECALL) genseg_html_fixed(html, cases->column[k][i], 4);
            else genseg_html_number(html, cases->column[k][i], 12);
            genseg_html_raw(html, "</td>");
        }
        genseg_html_raw(html, "</tr>");
    }
    genseg_html_raw(html, "</tbody></table></div>");
    if (shown < cases->count)
        genseg_html_format(html, "<p class=\"note\">The first %lld; the rest is in cases.csv.</p>", (long long)shown);
    genseg_html_raw(html, "</details>");
}

static double middle_of(const ranked *order, int64_t count)
{
    return count % 2 ? order[count / 2].dice : (order[count / 2 - 1].dice + order[count / 2].dice) / 2;
}

void genseg_report_cases(genseg_html *html, genseg_report *report)
{
    const genseg_table *cases = &report->cases;
    genseg_report_heading(html, "cases", "Cases");
    if (!cases->present || cases->count == 0) {
        genseg_report_absent(html, "cases.csv", "No cases were evaluated");
        return;
    }
    ranked *order = malloc((size_t)cases->count * sizeof *order); /* bounded by the file's limit */
    double *dice = malloc((size_t)cases->count * sizeof *dice);
    int64_t count = 0;
    double sum = 0;
    for (int64_t i = 0; i < cases->count && order && dice; ++i) {
        double value = cases->column[GENSEG_CASES_DICE][i];
        if (isnan(value) || cases->column[GENSEG_CASES_TRUTH][i] == 0) continue;
        order[count] = (ranked){value, cases->text[i], i};
        dice[count++] = value;
        sum += value;
    }
    if (!order || !dice) html->refused = true;
    else if (count == 0) genseg_html_raw(html, "<p class=\"note\">The true mask of every case is empty.</p>");
    else {
        qsort(order, (size_t)count, sizeof *order, worst_first);
        genseg_html_format(html, "<p>%lld cases whose true mask is not empty", (long long)count);
        if (count < cases->count)
            genseg_html_format(html, "; %lld more are empty or were not scored and are left out here",
                               (long long)(cases->count - count));
        genseg_html_raw(html, ". Outlines: <span class=\"key\"><i class=\"truth\"></i>true mask</span>, "
                              "<span class=\"key\"><i class=\"predicted\"></i>predicted mask</span>; "
                              "dashed where they meet.</p>");
        genseg_histogram_write(html, dice, count, sum / (double)count, middle_of(order, count));
        put_extremes(html, report, order, count);
    }
    put_all_cases(html, cases);
    free(order);
    free(dice);
}
